//! One unary call of gRPC over HTTP/2: the frame of its message, and what its answer means. Pure.
//!
//! ```text
//! body    = compressed (1 byte, 0 or 1) length (4 bytes, big endian) message
//! answer  = headers, body, trailers with grpc-status, grpc-message, grpc-status-details-bin; without a body these are headers
//! ```
//! Sources: gRPC over HTTP/2; OpenTelemetry Protocol, "OTLP/gRPC response" and "OTLP/gRPC throttling".

use super::Answer;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode_str;
use prost::Message;
use std::time::Duration;

/// Content type of requests and answers.
pub const CONTENT_TYPE: &str = "application/grpc";

/// Binary trailers come with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// `grpc-status` codes that another attempt may help, by OTLP: cancelled, deadline exceeded, aborted, out of range,
/// unavailable, data loss.
const TRANSIENT: [u32; 6] = [1, 4, 10, 11, 14, 15];
/// The same, if the collector says when.
const RESOURCE_EXHAUSTED: u32 = 8;

/// What an answer says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trailers<'a> {
    /// `grpc-status`.
    pub status: Option<&'a str>,
    /// `grpc-message`.
    pub message: Option<&'a str>,
    /// `grpc-status-details-bin`.
    pub details: Option<&'a str>,
}

/// A request's body.
pub fn frame(message: &[u8], compressed: bool) -> Vec<u8> {
    // A batch is some megabytes at most.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(u8::from(compressed));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// What an answer means. Without a status it is told by HTTP's.
pub fn answer(http_status: u16, trailers: Trailers<'_>, body: &[u8]) -> Answer {
    let Some(code) = trailers.status.and_then(|status| status.trim().parse::<u32>().ok()) else {
        let why = format!("HTTP status {http_status} without grpc-status");
        return match http_status {
            // As gRPC maps them to UNAVAILABLE; an answer that breaks off is no answer.
            200 | 429 | 502..=504 => Answer::Later { after: None, why },
            _ => Answer::Refused(why),
        };
    };
    let text = percent_decode_str(trailers.message.unwrap_or_default()).decode_utf8_lossy().into_owned();
    let why = format!("gRPC status {code}: {text}");
    match code {
        0 => Answer::Taken(unframe(body).map(<[u8]>::to_vec).unwrap_or_default()),
        RESOURCE_EXHAUSTED => match retry_delay(trailers) {
            Some(after) => Answer::Later { after: Some(after), why },
            None => Answer::Refused(why),
        },
        _ if TRANSIENT.contains(&code) => Answer::Later { after: retry_delay(trailers), why },
        _ => Answer::Refused(why),
    }
}

/// The message of the first frame; no compression was offered.
fn unframe(body: &[u8]) -> Option<&[u8]> {
    let (head, rest) = body.split_first_chunk::<5>()?;
    let [0, length @ ..] = *head else { return None };
    rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_delay(trailers: Trailers<'_>) -> Option<Duration> {
    let bytes = BASE64.decode(trailers.details?.trim()).ok()?;
    let status = Status::decode(bytes.as_slice()).ok()?;
    let is_retry = |detail: &&Detail| detail.type_url.rsplit('/').next() == Some(RETRY_INFO);
    let info = RetryInfo::decode(status.details.iter().find(is_retry)?.value.as_slice()).ok()?;
    let delay = info.retry_delay.unwrap_or_default();
    let nanos = u32::try_from(delay.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn details(seconds: i64) -> String {
        let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos: 500_000_000 }) };
        let detail =
            Detail { type_url: format!("type.googleapis.com/{RETRY_INFO}"), value: info.encode_to_vec() };
        BASE64.encode(Status { details: vec![Detail::default(), detail] }.encode_to_vec())
    }

    #[test]
    fn what_is_taken_later_and_refused() {
        let told = |status, details: Option<&str>| {
            answer(
                200,
                Trailers { status: Some(status), message: Some("a%20b"), details },
                &frame(b"xy", false),
            )
        };
        assert_eq!(told("0", None), Answer::Taken(b"xy".to_vec()));
        let (after, why) = (None, "gRPC status 14: a b".to_owned());
        assert_eq!(told("14", None), Answer::Later { after, why });
        let with = details(2);
        for (status, details, after) in [
            ("14", Some(with.as_str()), Some(Duration::from_millis(2_500))),
            ("8", Some(with.trim_end_matches('=')), Some(Duration::from_millis(2_500))),
            ("4", Some("%"), None),
        ] {
            assert!(
                matches!(told(status, details), Answer::Later { after: told, .. } if told == after),
                "{status}"
            );
        }
        for (status, details) in
            [("8", None), ("8", Some(details(-1).as_str())), ("3", Some(&with)), ("16", None)]
        {
            assert!(matches!(told(status, details), Answer::Refused(_)), "{status}");
        }
        let without = |http| answer(http, Trailers::default(), b"");
        assert!(matches!(without(503), Answer::Later { .. }) && matches!(without(404), Answer::Refused(_)));
        for broken in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x09x", b"\x01\0\0\0\x01x"] {
            let trailers = Trailers { status: Some("0"), ..Trailers::default() };
            assert_eq!(answer(200, trailers, broken), Answer::Taken(Vec::new()));
        }
    }

    proptest! {
        #[test]
        fn any_answer_means_something(
            http in any::<u16>(), status in "[0-9 ]{0,3}", text in ".{0,20}", details in "[A-Za-z0-9+/=]{0,40}",
            body in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let trailers = Trailers { status: Some(&status), message: Some(&text), details: Some(&details) };
            answer(http, trailers, &body);
        }
    }
}
