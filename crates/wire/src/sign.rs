//! Signing requests as a client: the same canonical form as the verifier's.

use crate::sigv4::{
    ALGORITHM, EXPIRES_MAX_S, TERMINATOR, UNSIGNED_PAYLOAD,
    canonical::{Canonical, PathStyle, write_escaped},
    hex_sha256, keys,
    time::compact,
    verify::sign_digest,
};
use base::Timestamp;
use http::{HeaderMap, HeaderValue, Method, Uri, header::InvalidHeaderValue, uri::InvalidUri};

/// Who signs, for what.
#[derive(Clone)]
pub struct Signer<'a> {
    /// Access key.
    pub access_key: &'a str,
    /// Secret access key.
    pub secret: &'a str,
    /// Session token of short-lived credentials.
    pub token: Option<&'a str>,
    /// Region of the credential scope.
    pub region: &'a str,
    /// Signing name, e.g. `lambda`.
    pub service: &'a str,
}

impl std::fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} for {} in {})", self.access_key, self.service, self.region)
    }
}

/// How the body takes part in the signature.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// By its hash.
    Signed(&'a [u8]),
    /// Not at all: `x-amz-content-sha256: UNSIGNED-PAYLOAD`.
    Unsigned,
}

/// The request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URI has no authority and the request no `host` header.
    #[error("the request names no host")]
    NoHost,
    /// Access key, token or region cannot stand in a header.
    #[error("credentials cannot stand in a header")]
    Header(#[from] InvalidHeaderValue),
    /// The presigned URI is not valid.
    #[error("the presigned URI is not valid")]
    Uri(#[from] InvalidUri),
    /// Outside 1..=604,800 s.
    #[error("validity of {seconds} s is outside 1..={EXPIRES_MAX_S} s")]
    Expires {
        /// As asked for.
        seconds: u32,
    },
}

impl Signer<'_> {
    /// Signs by headers: sets `host` (unless set), `x-amz-date`, `x-amz-security-token`, `authorization`, and
    /// `x-amz-content-sha256` where the body is not signed or the service is S3. Signed are `host`, `content-type`
    /// and every `x-amz-*` header present.
    pub fn sign(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        payload: Payload<'_>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let authority = self.authority(uri, headers)?;
        if !headers.contains_key("host") {
            headers.insert("host", HeaderValue::from_str(&authority)?);
        }
        let stamp = compact(at);
        headers.insert("x-amz-date", HeaderValue::from_str(&stamp)?);
        if let Some(token) = self.token {
            headers.insert("x-amz-security-token", HeaderValue::from_str(token)?);
        }
        let hash = payload.hash();
        if matches!(payload, Payload::Unsigned) || self.service == "s3" {
            headers.insert("x-amz-content-sha256", HeaderValue::from_str(&hash)?);
        }
        let signed_headers = signed_headers(headers);
        let signature = self.signature(
            Canonical {
                method: method.as_str(),
                path: uri.path(),
                query: uri.query().unwrap_or_default(),
                headers,
                authority: &authority,
                signed_headers: &signed_headers,
                payload_hash: &hash,
                style: PathStyle::of(self.service),
            },
            &stamp,
        );
        let scope = self.scope(&stamp);
        let value = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
            self.access_key
        );
        headers.insert("authorization", HeaderValue::from_str(&value)?);
        Ok(())
    }

    /// Signs by query parameters, valid for `seconds` (1..=604,800). The body takes part as `payload` says; S3's URLs
    /// use [`Payload::Unsigned`], others the hash of the body, usually empty. `headers` that are present are signed
    /// and must be sent as they are.
    pub fn presign(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        payload: Payload<'_>,
        seconds: u32,
        at: Timestamp,
    ) -> Result<Uri, Error> {
        if !(1..=EXPIRES_MAX_S).contains(&seconds) {
            return Err(Error::Expires { seconds });
        }
        let authority = self.authority(uri, headers)?;
        let stamp = compact(at);
        let mut headers = headers.clone();
        headers.insert("host", HeaderValue::from_str(&authority)?);
        let signed_headers = signed_headers(&headers);
        let credential = format!("{}/{}", self.access_key, self.scope(&stamp));
        let seconds = seconds.to_string();
        let mut query = uri.query().unwrap_or_default().to_owned();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            let mut escaped = Vec::new();
            write_escaped(value.as_bytes(), b"", &mut escaped);
            query.push_str(name);
            query.push('=');
            query.push_str(&String::from_utf8_lossy(&escaped));
        };
        add("X-Amz-Algorithm", ALGORITHM);
        add("X-Amz-Credential", &credential);
        add("X-Amz-Date", &stamp);
        add("X-Amz-Expires", &seconds);
        add("X-Amz-SignedHeaders", &signed_headers);
        if let Some(token) = self.token {
            add("X-Amz-Security-Token", token);
        }
        if matches!(payload, Payload::Unsigned) && self.service != "s3" {
            add("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD);
        }
        let signature = self.signature(
            Canonical {
                method: method.as_str(),
                path: uri.path(),
                query: &query,
                headers: &headers,
                authority: &authority,
                signed_headers: &signed_headers,
                payload_hash: &payload.hash(),
                style: PathStyle::of(self.service),
            },
            &stamp,
        );
        let before = match uri.scheme_str() {
            Some(scheme) => format!("{scheme}://{authority}"),
            None => String::new(),
        };
        Ok(format!("{before}{}?{query}&X-Amz-Signature={signature}", uri.path()).parse()?)
    }

    fn authority(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, Error> {
        if let Some(host) = headers.get("host").and_then(|host| host.to_str().ok()) {
            return Ok(host.to_owned());
        }
        let authority = uri.authority().ok_or(Error::NoHost)?;
        // Clients leave the scheme's own port out of `Host`.
        match (uri.scheme_str(), authority.port_u16()) {
            (Some("http"), Some(80)) | (Some("https"), Some(443)) => Ok(authority.host().to_owned()),
            _ => Ok(authority.as_str().to_owned()),
        }
    }

    fn scope(&self, stamp: &str) -> String {
        let date = stamp.get(..8).unwrap_or_default();
        format!("{date}/{}/{}/{TERMINATOR}", self.region, self.service)
    }

    fn signature(&self, canonical: Canonical<'_>, stamp: &str) -> String {
        let date = stamp.get(..8).unwrap_or_default();
        let scope = keys::Scope { date, region: self.region, service: self.service };
        let key = keys::derive(self.secret, scope);
        hex::encode(sign_digest(key, stamp, scope, &canonical.digest()))
    }
}

impl Payload<'_> {
    fn hash(&self) -> String {
        match self {
            Payload::Signed(body) => String::from_utf8_lossy(&hex_sha256(body)).into_owned(),
            Payload::Unsigned => UNSIGNED_PAYLOAD.to_owned(),
        }
    }
}

fn signed_headers(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| matches!(*name, "host" | "content-type") || name.starts_with("x-amz-"))
        .collect();
    names.sort_unstable();
    names.join(";")
}
