//! Whether a claim is proved.

use super::{
    ALGORITHM, TERMINATOR, UNSIGNED_PAYLOAD,
    canonical::{Canonical, PathStyle},
    claim::Claim,
    hex_sha256, hex32,
    keys::SigningKey,
    time,
};
use crate::Error;
use base::Timestamp;
use hmac::Mac;
use http::{HeaderMap, Method, Uri};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Checks everything of a claim that needs neither secret nor body.
pub(crate) fn check_scope(
    claim: &Claim<'_>,
    service: &str,
    now: Timestamp,
    skew: Duration,
    usual: Option<&base::Region>,
) -> Result<base::Region, Error> {
    let scope = |text: String| Err(Error::SignatureScope(text));
    if !claim.stamp.starts_with(claim.date.as_ref()) || claim.date.len() != 8 {
        let day = claim.stamp.get(..8).unwrap_or_default();
        return scope(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{day}', from '{}'.",
            claim.date, claim.stamp
        ));
    }
    if claim.service != service {
        return scope(format!("Credential should be scoped to correct service: '{service}'."));
    }
    let text = claim.region.as_ref();
    let usual = usual.filter(|usual| usual.as_str() == text).cloned();
    let Some(region) = usual.or_else(|| text.parse().ok()) else {
        return scope(format!("Credential should be scoped to a valid region, not '{text}'."));
    };
    if !claim.signs("host") && !claim.signs(":authority") {
        return scope("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned());
    }
    let skew_ms = i64::try_from(skew.as_millis()).unwrap_or(i64::MAX);
    let (minutes, stamp, time_now) = (skew.as_secs() / 60, &claim.stamp, || time::compact(now));
    let latest = now.plus_ms(skew_ms);
    if claim.signed_at > latest {
        let latest = time::compact(latest);
        return scope(format!(
            "Signature not yet current: {stamp} is still later than {latest} ({} + {minutes} min.)",
            time_now()
        ));
    }
    match claim.expires_s {
        Some(seconds) if now > claim.signed_at.plus_ms(i64::from(seconds) * 1000) => {
            let end = time::compact(claim.signed_at.plus_ms(i64::from(seconds) * 1000));
            scope(format!("Signature expired: {end} is now earlier than {}", time_now()))
        }
        None if claim.signed_at < now.plus_ms(-skew_ms) => {
            let earliest = time::compact(now.plus_ms(-skew_ms));
            scope(format!(
                "Signature expired: {stamp} is now earlier than {earliest} ({} - {minutes} min.)",
                time_now()
            ))
        }
        Some(_) | None => Ok(region),
    }
}

/// How the body takes part in the signature.
#[derive(Debug, PartialEq)]
pub(crate) enum Payload<'a> {
    /// By a hash that the request declares; the body is compared with it once it is read.
    Declared(&'a str),
    /// Not at all.
    Unsigned,
    /// By its hash, which the verifier computes.
    Computed,
}

impl<'a> Payload<'a> {
    /// What the claim says. Chunked signatures (`STREAMING-…`) are refused by name.
    pub(crate) fn of(claim: &'a Claim<'_>) -> Result<Payload<'a>, Error> {
        match claim.payload_hash.as_deref() {
            Some(UNSIGNED_PAYLOAD) => Ok(Payload::Unsigned),
            Some(hash) if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Payload::Declared(hash))
            }
            Some(other) => Err(Error::PayloadSigning(other.chars().take(64).collect())),
            // Presigned S3 URLs never sign the body. Source: S3 API reference, query string authentication.
            None if claim.presigned() && claim.service == "s3" => Ok(Payload::Unsigned),
            None => Ok(Payload::Computed),
        }
    }

    /// Whether the body is the declared one.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), Error> {
        match self {
            Payload::Declared(hash) if !hash.as_bytes().eq_ignore_ascii_case(&hex_sha256(body)) => {
                Err(Error::SignatureMismatch)
            }
            Payload::Declared(_) | Payload::Unsigned | Payload::Computed => Ok(()),
        }
    }
}

/// What of a request the signature covers besides the body.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// `:authority` or `Host`.
    pub(crate) authority: &'a str,
}

/// Compares the claimed signature with ours, in constant time.
pub(crate) fn check_signature(
    claim: &Claim<'_>,
    key: SigningKey,
    head: Head<'_>,
    payload_hash: &str,
) -> Result<(), Error> {
    let digest = Canonical {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: head.headers,
        authority: head.authority,
        signed_headers: &claim.signed_headers,
        payload_hash,
        style: PathStyle::of(&claim.service),
    }
    .digest();
    let ours = sign_digest(key, &claim.stamp, claim.scope(), &digest);
    match bool::from(ours.ct_eq(&claim.signature)) {
        true => Ok(()),
        false => Err(Error::SignatureMismatch),
    }
}

/// The signature of the string to sign.
pub(crate) fn sign_digest(
    mut key: SigningKey,
    stamp: &str,
    scope: super::keys::Scope<'_>,
    digest: &[u8; 32],
) -> [u8; 32] {
    for part in [
        ALGORITHM,
        "\n",
        stamp,
        "\n",
        scope.date,
        "/",
        scope.region,
        "/",
        scope.service,
        "/",
        TERMINATOR,
        "\n",
    ] {
        key.update(part.as_bytes());
    }
    key.update(&hex32(digest));
    key.finalize().into_bytes().into()
}
