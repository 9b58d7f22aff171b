//! An Invoke request taken apart and checked, cheapest first.

use super::trace::brought_trace;
use crate::{Error, asking, logic::names, model::Target};
use base::{TenantId, TraceHeader, limits};
use base64::Engine as _;
use bytes::Bytes;
use http::HeaderName;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use wire::{Context, RawRequest, Violations};

/// Payloads up to this many bytes are copied, so that the buffer that the request came in serves the next one.
const COPIED_MAX: usize = 4 * 1024;

// Parsed once: each warm invocation asks for all of them.
static INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
static LOG_TYPE: HeaderName = HeaderName::from_static("x-amz-log-type");
static TENANT_ID: HeaderName = HeaderName::from_static("x-amz-tenant-id");
static DURABLE_EXECUTION_NAME: HeaderName = HeaderName::from_static("x-amz-durable-execution-name");
static CLIENT_CONTEXT: HeaderName = HeaderName::from_static("x-amz-client-context");

/// `InvocationType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

impl Kind {
    /// What Invoke takes.
    pub(super) const ALL: [Kind; 3] = [Kind::Event, Kind::RequestResponse, Kind::DryRun];
    /// What InvokeWithResponseStream takes.
    pub(super) const STREAMED: [Kind; 2] = [Kind::RequestResponse, Kind::DryRun];

    const fn as_str(self) -> &'static str {
        match self {
            Kind::RequestResponse => "RequestResponse",
            Kind::Event => "Event",
            Kind::DryRun => "DryRun",
        }
    }
}

/// An Invoke request, checked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) tail: bool,
    pub(super) client_context: Option<String>,
    pub(super) trace: Option<TraceHeader>,
    pub(super) tenant: Option<TenantId>,
    pub(super) payload: Bytes,
}

/// Reads a request for an invocation of one of `kinds`.
pub(super) fn read(context: &Context, mut request: RawRequest, kinds: &[Kind]) -> Result<Wanted, Error> {
    let mut violations = Violations::default();
    let word = request.header(&INVOCATION_TYPE).unwrap_or(Kind::RequestResponse.as_str());
    let kind = kinds.iter().copied().find(|kind| kind.as_str() == word);
    if kind.is_none() {
        let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        violations.one_of("invocationType", word, &words);
    }
    let kind = kind.unwrap_or(Kind::DryRun);
    let tail = match request.header(&LOG_TYPE) {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(other) => {
            violations.one_of("logType", other, &["None", "Tail"]);
            false
        }
    };
    let tenant = request.header(&TENANT_ID).and_then(|word| {
        violations.length("tenantId", word, 1..=256);
        let tenant = word.parse().ok();
        violations.pattern(
            "tenantId",
            word,
            r"[a-zA-Z0-9\._:\/=+\-@ ]+",
            tenant.is_some() || word.len() > 256,
        );
        tenant
    });
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    if request.headers.contains_key(&DURABLE_EXECUTION_NAME) {
        return Err(Error::Unsupported { member: "DurableExecutionName", reason: "leave it out" });
    }
    let text = request.label("FunctionName").unwrap_or_default();
    let qualifier = request.query("Qualifier");
    let target =
        asking(context, "lambda:InvokeFunction", |asker| names::invoked(asker, text, qualifier.as_deref()))?;
    let client_context = request.header(&CLIENT_CONTEXT).map(client_context).transpose()?;
    let trace = brought_trace(&request);
    let payload = payload(std::mem::take(&mut request.body), kind)?;
    Ok(Wanted {
        target,
        kind,
        tail: tail && kind == Kind::RequestResponse,
        client_context,
        trace,
        tenant,
        payload,
    })
}

/// JSON within the bound; nothing stands for an empty object.
fn payload(body: Bytes, kind: Kind) -> Result<Bytes, Error> {
    let max_bytes = match kind {
        Kind::Event => limits::PAYLOAD_ASYNC_MAX.0,
        Kind::RequestResponse | Kind::DryRun => limits::PAYLOAD_SYNC_MAX.0,
    };
    if body.len() as u64 > max_bytes {
        return Err(Error::PayloadTooLarge { max_bytes });
    }
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let text = std::str::from_utf8(&body).map_err(|error| Error::PayloadNotJson(error.to_string()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| Error::PayloadNotJson(error.to_string()))?;
    Ok(if body.len() <= COPIED_MAX { Bytes::copy_from_slice(&body) } else { body })
}

/// Base64 of a JSON object.
fn client_context(header: &str) -> Result<String, Error> {
    if header.len() as u64 > limits::CLIENT_CONTEXT_MAX.0 {
        return Err(Error::ClientContext);
    }
    let decoded =
        base64::engine::general_purpose::STANDARD.decode(header).map_err(|_| Error::ClientContext)?;
    let text = String::from_utf8(decoded).map_err(|_| Error::ClientContext)?;
    serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&text).map_err(|_| Error::ClientContext)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payloads_are_json_within_their_bound() {
        for good in ["{}", "null", " [1, 2]\n", r#""x""#, "1e3"] {
            assert_eq!(payload(good.into(), Kind::Event).unwrap(), good);
        }
        for bad in ["{", "{} {}", "nul", "{'a': 1}", "\u{1}"] {
            let told = payload(bad.into(), Kind::Event).unwrap_err().to_string();
            assert!(told.starts_with("Could not parse request body into json: "), "{told}");
        }
        assert!(payload(Bytes::from_static(b"\"\xff\""), Kind::Event).is_err());
        assert_eq!(payload(Bytes::new(), Kind::RequestResponse).unwrap(), "{}");
        let large = Bytes::from(format!("\"{}\"", "x".repeat(1024 * 1024)));
        assert_eq!(
            payload(large.clone(), Kind::Event).unwrap_err().to_string(),
            "Request must be smaller than 1048576 bytes for the InvokeFunction operation"
        );
        assert!(payload(large, Kind::RequestResponse).is_ok());
        // Nesting needs no stack.
        assert!(payload("[".repeat(500_000).into(), Kind::Event).is_err());
    }

    #[test]
    fn client_contexts_are_objects() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(client_context(&encode(r#"{"custom": {"a": 1}}"#)).unwrap(), r#"{"custom": {"a": 1}}"#);
        for bad in [
            encode("[]"),
            encode("x"),
            "%".to_owned(),
            encode(&format!("{{\"a\":\"{}\"}}", "x".repeat(4000))),
        ] {
            assert!(client_context(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_payload_and_context_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = payload(Bytes::from(bytes), Kind::Event);
            let _ = client_context(&text);
        }
    }
}
