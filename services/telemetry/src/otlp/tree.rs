//! What messages are made of, and how they and their answers are encoded.

use super::{
    Encoding,
    message::{Any, AnyValue, ExportAnswer, KeyValue, Resource, Scope},
};
use prost::Message;
use serde::Serialize;
use serde_json::Value;

/// Attributes of a resource, a span or a point.
#[derive(Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(self, key: &str, value: impl Into<String>) -> Attributes {
        self.and(key, Any::Text(value.into()))
    }

    /// Beyond what is signed it is the largest that is.
    pub(super) fn number(self, key: &str, value: u64) -> Attributes {
        self.and(key, Any::Whole(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    pub(super) fn truth(self, key: &str, value: bool) -> Attributes {
        self.and(key, Any::Truth(value))
    }

    fn and(mut self, key: &str, value: Any) -> Attributes {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) });
        self
    }

    pub(super) fn done(self) -> Vec<KeyValue> {
        self.0
    }

    pub(super) fn resource(self) -> Option<Resource> {
        Some(Resource { attributes: self.0 })
    }
}

/// This program as the scope of what it says.
pub(super) fn scope(version: &str) -> Option<Scope> {
    Some(Scope { name: "neap".to_owned(), version: version.to_owned() })
}

/// Nanoseconds since 1970 in microseconds' steps.
pub(super) fn nanos(at_us: i64) -> u64 {
    u64::try_from(at_us).unwrap_or_default().saturating_mul(1_000)
}

/// A message as bytes.
pub(super) fn encode(encoding: Encoding, message: &(impl Message + Serialize)) -> Vec<u8> {
    match encoding {
        Encoding::Json => serde_json::to_vec(message).unwrap_or_default(),
        Encoding::Protobuf => message.encode_to_vec(),
    }
}

/// What a collector that took a batch has left out of it. An answer that cannot be read is one that leaves out nothing.
pub(super) fn rejected(encoding: Encoding, body: &[u8]) -> u64 {
    match encoding {
        Encoding::Json => rejected_in_json(body),
        Encoding::Protobuf => {
            let partial = ExportAnswer::decode(body).unwrap_or_default().partial_success;
            partial.and_then(|partial| u64::try_from(partial.rejected).ok()).unwrap_or_default()
        }
    }
}

fn rejected_in_json(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(partial) = answer.get("partialSuccess").and_then(Value::as_object) else { return 0 };
    let counts = partial.iter().filter(|(name, _)| name.starts_with("rejected"));
    // A 64-bit integer is a string here, and a number for those who forget it.
    counts.filter_map(|(_, count)| count.as_u64().or_else(|| count.as_str()?.parse().ok())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::message::PartialSuccess;
    use proptest::prelude::*;

    #[test]
    fn rejections_are_counted_in_every_form() {
        let json = |body| rejected(Encoding::Json, body);
        assert_eq!(json(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#), 3);
        assert_eq!(json(br#"{"partialSuccess":{"rejectedLogRecords":2}}"#), 2);
        for none in [&b""[..], b"{}", br#"{"partialSuccess":{}}"#, b"[1]", b"\x0a\x00"] {
            assert_eq!(json(none), 0);
        }
        let protobuf = |rejected| {
            let partial_success = Some(PartialSuccess { rejected, error_message: "x".to_owned() });
            ExportAnswer { partial_success }.encode_to_vec()
        };
        assert_eq!(rejected(Encoding::Protobuf, &protobuf(3)), 3);
        for none in [&b""[..], b"{}", b"\x0a\x00", &protobuf(-1)] {
            assert_eq!(rejected(Encoding::Protobuf, none), 0);
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            rejected(Encoding::Json, &body);
            rejected(Encoding::Protobuf, &body);
        }
    }
}
