//! The JSON form of OTLP: 64-bit integers are strings, identifiers hexadecimal, enumerations numbers.

use serde_json::{Value, json};

/// Attributes of a resource, a span or a point.
#[derive(Default)]
pub(super) struct Attributes(Vec<Value>);

impl Attributes {
    pub(super) fn text(mut self, key: &str, value: impl Into<String>) -> Attributes {
        self.0.push(json!({ "key": key, "value": { "stringValue": value.into() } }));
        self
    }

    pub(super) fn number(mut self, key: &str, value: u64) -> Attributes {
        self.0.push(json!({ "key": key, "value": { "intValue": value.to_string() } }));
        self
    }

    pub(super) fn truth(mut self, key: &str, value: bool) -> Attributes {
        self.0.push(json!({ "key": key, "value": { "boolValue": value } }));
        self
    }

    pub(super) fn done(self) -> Value {
        Value::Array(self.0)
    }
}

/// This program as the scope of what it says.
pub(super) fn scope(version: &str) -> Value {
    json!({ "name": "neap", "version": version })
}

/// Nanoseconds since 1970 in microseconds' steps.
pub(super) fn nanos(at_us: i64) -> String {
    at_us.max(0).saturating_mul(1_000).to_string()
}

/// What a collector that took a batch has left out of it.
pub(super) fn rejected(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(partial) = answer.get("partialSuccess").and_then(Value::as_object) else { return 0 };
    let counts = partial.iter().filter(|(name, _)| name.starts_with("rejected"));
    // A 64-bit integer is a string here, and a number for those who forget it.
    counts.filter_map(|(_, count)| count.as_u64().or_else(|| count.as_str()?.parse().ok())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_counted_in_every_form() {
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#), 3);
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedLogRecords":2}}"#), 2);
        for none in [&b""[..], b"{}", br#"{"partialSuccess":{}}"#, b"[1]", b"\x0a\x00"] {
            assert_eq!(rejected(none), 0);
        }
    }
}
