//! Who makes a request: the claim, the credential behind it, and the proof.

use crate::{
    Error, Settings, names,
    sigv4::{
        claim::{self, Claim, Refusal},
        hex_sha256,
        keys::Cache,
        verify::{self, Head, Payload},
    },
};
use base::{AccountId, Credential, Credentials, Principal, Region, Timestamp};
use http::{HeaderMap, Uri, header, request::Parts};
use std::sync::Arc;

/// What a request claims: nothing, something, or something unreadable.
pub(crate) struct Claimed<'a>(Result<Option<Claim<'a>>, Refusal>);

/// Reads a request's claim.
pub(crate) fn claim(parts: &Parts) -> Claimed<'_> {
    Claimed(claim::read(&parts.headers, parts.uri.query().unwrap_or_default()))
}

impl Claimed<'_> {
    /// Service in the credential scope.
    pub(crate) fn scope_service(&self) -> Option<&str> {
        Some(self.0.as_ref().ok()?.as_ref()?.service.as_ref())
    }
}

/// `Host`, or `:authority` under HTTP/2.
pub(crate) fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default()
}

/// What is left to do once the body is there.
pub(crate) enum Pending {
    /// The signature is proved, or need not be; the body may still have to match its declared hash.
    Proved(Principal),
    /// The signature needs the body's hash.
    NeedsBody(Credential),
}

/// A caller that is known.
pub(crate) struct Proof {
    pub(crate) principal: Principal,
    pub(crate) access_key: Option<Box<str>>,
}

/// Proves claims.
pub(crate) struct Authenticator {
    credentials: Arc<dyn Credentials>,
    keys: Cache,
    verify: bool,
    skew_max: std::time::Duration,
    /// That of most requests: its text need not be made again.
    region: Region,
}

impl Authenticator {
    pub(crate) fn new(credentials: Arc<dyn Credentials>, settings: &Settings) -> Authenticator {
        Authenticator {
            credentials,
            keys: Cache::new(),
            verify: settings.verify,
            skew_max: settings.skew_max,
            region: settings.region.clone(),
        }
    }

    /// Everything that can be said before the body is read, and the region of the credential scope: nobody unknown makes us
    /// read one. `service` is `None` where the request is for none of ours.
    pub(crate) fn begin(
        &self,
        claimed: &Claimed<'_>,
        service: Option<&str>,
        parts: &Parts,
        authority: &str,
        now: Timestamp,
    ) -> Result<(Pending, Option<Region>), Error> {
        if !self.verify {
            let claim = claimed.0.as_ref().ok().and_then(Option::as_ref);
            let region = claim.and_then(|claim| claim.region.parse().ok());
            return Ok((Pending::Proved(self.believe(claimed, now)), region));
        }
        let claim = match &claimed.0 {
            Ok(Some(claim)) => claim,
            Ok(None) => return Err(Error::MissingAuthentication),
            Err(refusal) => return Err(refusal.clone().into()),
        };
        let credential = self
            .credentials
            .lookup(&claim.access_key, claim.token.as_deref(), now)
            .map_err(Error::Credential)?;
        let service = service.unwrap_or(&claim.service);
        let region = verify::check_scope(claim, service, now, self.skew_max, Some(&self.region))?;
        if parts.headers.contains_key(&names::X_AMZ_TARGET) && !claim.signs("x-amz-target") {
            let text = "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.";
            return Err(Error::SignatureScope(text.to_owned()));
        }
        let pending = match Payload::of(claim)? {
            Payload::Computed => Pending::NeedsBody(credential),
            Payload::Unsigned => {
                self.prove(claim, &credential, parts, authority, crate::sigv4::UNSIGNED_PAYLOAD)?;
                Pending::Proved(credential.principal)
            }
            Payload::Declared(hash) => {
                self.prove(claim, &credential, parts, authority, hash)?;
                Pending::Proved(credential.principal)
            }
        };
        Ok((pending, Some(region)))
    }

    /// The rest, with the body.
    pub(crate) fn finish(
        &self,
        pending: Pending,
        claimed: &Claimed<'_>,
        parts: &Parts,
        authority: &str,
        body: &[u8],
    ) -> Result<Proof, Error> {
        let claim = claimed.0.as_ref().ok().and_then(Option::as_ref);
        let principal = match (pending, claim) {
            (Pending::Proved(principal), None) => principal,
            (Pending::Proved(principal), Some(claim)) => {
                if self.verify {
                    Payload::of(claim)?.check_body(body)?;
                }
                principal
            }
            (Pending::NeedsBody(_), None) => return Err(Error::MissingAuthentication),
            (Pending::NeedsBody(credential), Some(claim)) => {
                let hash = hex_sha256(body);
                let hash = std::str::from_utf8(&hash).unwrap_or_default();
                self.prove(claim, &credential, parts, authority, hash)?;
                credential.principal
            }
        };
        Ok(Proof { principal, access_key: claim.map(|claim| claim.access_key.as_ref().into()) })
    }

    fn prove(
        &self,
        claim: &Claim<'_>,
        credential: &Credential,
        parts: &Parts,
        authority: &str,
        payload_hash: &str,
    ) -> Result<(), Error> {
        // A credential without secret proves nothing where signatures count.
        let secret = credential.secret.as_deref().ok_or(Error::SignatureMismatch)?;
        let key = self.keys.get(&claim.access_key, secret, claim.scope());
        let head = Head { method: &parts.method, uri: &parts.uri, headers: &parts.headers, authority };
        verify::check_signature(claim, key, head, payload_hash)
    }

    /// Without verification: whoever the access key names, else the default account's owner.
    fn believe(&self, claimed: &Claimed<'_>, now: Timestamp) -> Principal {
        let named =
            claimed.0.as_ref().ok().and_then(Option::as_ref).and_then(|claim| {
                self.credentials.lookup(&claim.access_key, claim.token.as_deref(), now).ok()
            });
        named.map_or(Principal::Root { account: AccountId::DEFAULT }, |credential| credential.principal)
    }
}
