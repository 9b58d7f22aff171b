//! What a request claims about its signer: the `Authorization` header or presigned parameters.

use super::{ALGORITHM, EXPIRES_MAX_S, TERMINATOR, keys::Scope, time};
use crate::{Error, names};
use base::Timestamp;
use http::{
    HeaderMap,
    header::{self, AsHeaderName},
};
use std::borrow::Cow;

/// A request's claim, read but not proved.
#[derive(Debug, PartialEq)]
pub(crate) struct Claim<'a> {
    pub(crate) access_key: Cow<'a, str>,
    pub(crate) date: Cow<'a, str>,
    pub(crate) region: Cow<'a, str>,
    pub(crate) service: Cow<'a, str>,
    pub(crate) signed_headers: Cow<'a, str>,
    pub(crate) signature: [u8; 32],
    /// As the string to sign has it.
    pub(crate) stamp: Cow<'a, str>,
    pub(crate) signed_at: Timestamp,
    pub(crate) token: Option<Cow<'a, str>>,
    /// Validity in seconds of a presigned URL.
    pub(crate) expires_s: Option<u32>,
    /// `x-amz-content-sha256`, from the header or the presigned parameters.
    pub(crate) payload_hash: Option<Cow<'a, str>>,
}

/// A claim that cannot be read, in AWS's words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Parts are missing or malformed.
    Incomplete(String),
    /// The credential scope is wrong.
    Scope(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Incomplete(text) => Error::IncompleteSignature(text),
            Refusal::Scope(text) => Error::SignatureScope(text),
        }
    }
}

impl Claim<'_> {
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { date: &self.date, region: &self.region, service: &self.service }
    }

    /// Whether `name` (lower case) is among the signed headers.
    pub(crate) fn signs(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed == name)
    }

    pub(crate) fn presigned(&self) -> bool {
        self.expires_s.is_some()
    }
}

/// Reads the claim; `None` if the request makes none.
pub(crate) fn read<'a>(headers: &'a HeaderMap, query: &'a str) -> Result<Option<Claim<'a>>, Refusal> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let value = value.to_str().map_err(|_| incomplete("Authorization header is not readable text"))?;
        return from_header(value, headers).map(Some);
    }
    match query.contains("X-Amz-") {
        true => from_query(query, headers),
        false => Ok(None),
    }
}

fn incomplete(text: impl Into<String>) -> Refusal {
    Refusal::Incomplete(text.into())
}

fn text_of(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn from_header<'a>(value: &'a str, headers: &'a HeaderMap) -> Result<Claim<'a>, Refusal> {
    let (algorithm, rest) = value.trim_start().split_once(' ').unwrap_or((value, ""));
    if algorithm != ALGORITHM {
        return Err(incomplete(format!("Unsupported AWS 'algorithm': '{}'.", shorten(algorithm))));
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            return Err(incomplete(format!(
                "'{}' not a valid key=value pair (missing equal-sign) in Authorization header.",
                shorten(part)
            )));
        };
        match key {
            "Credential" => credential = Some(value),
            "SignedHeaders" => signed_headers = Some(value),
            "Signature" => signature = Some(value),
            // Others are ignored, as AWS does.
            _ => {}
        }
    }
    let stamp_header = text_of(headers, &names::X_AMZ_DATE);
    let date_header = stamp_header.or_else(|| text_of(headers, header::DATE));
    let lacks: Vec<&str> = [
        (credential.is_none(), "Authorization header requires 'Credential' parameter."),
        (signature.is_none(), "Authorization header requires 'Signature' parameter."),
        (signed_headers.is_none(), "Authorization header requires 'SignedHeaders' parameter."),
        (
            date_header.is_none(),
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ),
    ]
    .into_iter()
    .filter_map(|(lacks, text)| lacks.then_some(text))
    .collect();
    let (Some(credential), Some(signed_headers), Some(signature), Some(stamp)) =
        (credential, signed_headers, signature, date_header)
    else {
        return Err(incomplete(lacks.join(" ")));
    };
    let signed_at = match stamp_header {
        Some(stamp) => time::parse_compact(stamp),
        None => time::parse_date_header(stamp),
    };
    let Some(signed_at) = signed_at else {
        return Err(incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            shorten(stamp)
        )));
    };
    let stamp = match stamp_header {
        Some(stamp) => Cow::Borrowed(stamp),
        None => Cow::Owned(time::compact(signed_at)),
    };
    let parts = Credential::read(Cow::Borrowed(credential))?;
    Ok(Claim {
        access_key: parts.access_key,
        date: parts.date,
        region: parts.region,
        service: parts.service,
        signed_headers: Cow::Borrowed(signed_headers),
        signature: read_signature(signature),
        stamp,
        signed_at,
        token: text_of(headers, &names::X_AMZ_SECURITY_TOKEN).map(Cow::Borrowed),
        expires_s: None,
        payload_hash: text_of(headers, &names::X_AMZ_CONTENT_SHA256).map(Cow::Borrowed),
    })
}

fn from_query<'a>(query: &'a str, headers: &'a HeaderMap) -> Result<Option<Claim<'a>>, Refusal> {
    let mut found: [Option<Cow<'a, str>>; 8] = Default::default();
    const NAMES: [&str; 8] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    ];
    const REQUIRED: usize = 5;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if let Some(at) = NAMES.iter().position(|name| *name == key)
            && let Some(slot) = found.get_mut(at)
        {
            *slot = Some(value);
        }
    }
    if found.iter().take(4).all(Option::is_none) {
        return Ok(None);
    }
    let lacks: Vec<String> = NAMES
        .iter()
        .zip(&found)
        .take(REQUIRED)
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| format!("AWS query-string parameters must include '{name}'."))
        .collect();
    let [
        Some(algorithm),
        Some(credential),
        Some(signature),
        Some(signed_headers),
        Some(stamp),
        expires,
        token,
        payload_hash,
    ] = found
    else {
        return Err(incomplete(format!("{} Re-examine the query-string parameters.", lacks.join(" "))));
    };
    if algorithm != ALGORITHM {
        return Err(incomplete(format!("Unsupported AWS 'algorithm': '{}'.", shorten(&algorithm))));
    }
    let signed_at = time::parse_compact(&stamp).ok_or_else(|| {
        incomplete(format!(
            "X-Amz-Date must be formatted via ISO-8601 'basic format': '{}'.",
            shorten(&stamp)
        ))
    })?;
    let expires_s = match expires {
        // As long as a header's signature would be valid.
        None => 900,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| (1..=EXPIRES_MAX_S).contains(seconds))
            .ok_or_else(|| incomplete("X-Amz-Expires must be between 1 and 604800 seconds (one week)."))?,
    };
    let parts = Credential::read(credential)?;
    Ok(Some(Claim {
        access_key: parts.access_key,
        date: parts.date,
        region: parts.region,
        service: parts.service,
        signed_headers,
        signature: read_signature(&signature),
        stamp,
        signed_at,
        token,
        expires_s: Some(expires_s),
        payload_hash: payload_hash
            .or_else(|| text_of(headers, &names::X_AMZ_CONTENT_SHA256).map(Cow::Borrowed)),
    }))
}

/// `KEY/YYYYMMDD/REGION/SERVICE/aws4_request`.
struct Credential<'a> {
    access_key: Cow<'a, str>,
    date: Cow<'a, str>,
    region: Cow<'a, str>,
    service: Cow<'a, str>,
}

impl<'a> Credential<'a> {
    fn read(text: Cow<'a, str>) -> Result<Credential<'a>, Refusal> {
        match text {
            Cow::Borrowed(text) => Credential::parts(text).map(|parts| {
                let [access_key, date, region, service] = parts.map(Cow::Borrowed);
                Credential { access_key, date, region, service }
            }),
            Cow::Owned(text) => Credential::parts(&text).map(|parts| {
                let [access_key, date, region, service] = parts.map(|part| Cow::Owned(part.to_owned()));
                Credential { access_key, date, region, service }
            }),
        }
    }

    fn parts(text: &str) -> Result<[&str; 4], Refusal> {
        let mut parts = text.split('/');
        let mut next = || parts.next();
        let (Some(access_key), Some(date), Some(region), Some(service), Some(terminator), None) =
            (next(), next(), next(), next(), next(), next())
        else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{}'",
                shorten(text)
            )));
        };
        if terminator != TERMINATOR {
            return Err(Refusal::Scope(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                shorten(terminator)
            )));
        }
        Ok([access_key, date, region, service])
    }
}

/// 64 hexadecimal digits. What is no signature at all can match nothing: all zeros stand for it.
fn read_signature(text: &str) -> [u8; 32] {
    let mut signature = [0; 32];
    match hex::decode_to_slice(text, &mut signature) {
        Ok(()) => signature,
        Err(_) => [0; 32],
    }
}

/// Outside text that goes into messages, bounded.
fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}
