//! Segment documents and the datagrams that carry them. Pure.
//!
//! ```text
//! datagram = {"format": "json", "version": 1} "\n" document
//! ```
//! Source: X-Ray developer guide, "segment documents" and "sending trace data to the X-Ray daemon".

use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest document.
pub(crate) const DOCUMENT_MAX: usize = 64 * 1024;
const NAME_MAX: usize = 200;
/// The first day of a trace identifier may lie so far before its segments, in seconds; else it is no time.
const AGE_MAX_S: i64 = 30 * 86_400;

/// What is known of a segment besides its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// 16 hexadecimal digits.
    pub id: String,
    /// `1-`, 8 digits, `-`, 24 digits.
    pub trace: String,
    /// When its trace began, in seconds since 1970: by the trace's identifier if that tells a time, else its own.
    pub trace_began_s: i64,
    /// Begin in milliseconds since 1970.
    pub start_ms: i64,
    /// Whether it is over.
    pub complete: bool,
}

/// Why a document is no segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is too long.
    #[error("the document of {0} bytes exceeds 65536")]
    TooLong(usize),
    /// It is no JSON object.
    #[error("the document is no JSON object")]
    NotJson,
    /// A member is missing or wrong.
    #[error("{0}")]
    Member(&'static str),
}

impl Refused {
    /// `ErrorCode`.
    pub const fn code(&self) -> &'static str {
        match self {
            Refused::TooLong(_) => "SegmentTooLarge",
            Refused::NotJson => "ParseError",
            Refused::Member(_) => "InvalidSegment",
        }
    }
}

/// The members that are looked at.
#[derive(Deserialize)]
struct Members {
    id: Option<Value>,
    trace_id: Option<Value>,
    name: Option<Value>,
    start_time: Option<Value>,
    end_time: Option<Value>,
    in_progress: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<Value>,
    parent_id: Option<Value>,
}

/// Reads a document.
///
/// # Errors
/// It is no segment, and why.
pub fn parse(document: &str) -> Result<Segment, Refused> {
    if document.len() > DOCUMENT_MAX {
        return Err(Refused::TooLong(document.len()));
    }
    let all: Map<String, Value> = serde_json::from_str(document).map_err(|_| Refused::NotJson)?;
    let members: Members = serde_json::from_value(Value::Object(all)).map_err(|_| Refused::NotJson)?;
    let wrong = Refused::Member;
    let id = members.id.as_ref().and_then(Value::as_str).filter(|id| is_hex(id, 16));
    let id = id.ok_or(wrong("id must be 16 hexadecimal digits"))?;
    let trace = members.trace_id.as_ref().and_then(Value::as_str).and_then(trace_id);
    let trace =
        trace.ok_or(wrong("trace_id must be 1-, 8 hexadecimal digits, -, and 24 hexadecimal digits"))?;
    let name = members.name.as_ref().and_then(Value::as_str).map(|name| name.chars().count());
    if !name.is_some_and(|length| (1..=NAME_MAX).contains(&length)) {
        return Err(wrong("name must have 1 to 200 characters"));
    }
    let start = members.start_time.as_ref().and_then(seconds);
    let start = start.ok_or(wrong("start_time must be a number of seconds since 1970"))?;
    let end = match &members.end_time {
        None | Some(Value::Null) => None,
        Some(end) => Some(seconds(end).ok_or(wrong("end_time must be a number of seconds since 1970"))?),
    };
    let in_progress = members.in_progress == Some(Value::Bool(true));
    if end.is_none() && !in_progress {
        return Err(wrong("end_time must be there unless in_progress is true"));
    }
    let within = match &members.kind {
        None | Some(Value::Null) => false,
        Some(Value::String(kind)) if kind == "subsegment" => true,
        Some(_) => return Err(wrong("type must be subsegment or left out")),
    };
    let parent = members.parent_id.as_ref().filter(|parent| !parent.is_null());
    if parent.is_some_and(|parent| !parent.as_str().is_some_and(|parent| is_hex(parent, 16))) {
        return Err(wrong("parent_id must be 16 hexadecimal digits"));
    }
    if within && parent.is_none() {
        return Err(wrong("parent_id must be there for a subsegment"));
    }
    let start_ms = (start * 1_000.0) as i64;
    let start_s = start_ms.div_euclid(1_000);
    let told = trace.get(2..10).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or_default();
    let is_time = (start_s - AGE_MAX_S..=start_s + 86_400).contains(&told);
    Ok(Segment {
        id: id.to_ascii_lowercase(),
        trace,
        trace_began_s: if is_time { told } else { start_s },
        start_ms,
        complete: end.is_some() && !in_progress,
    })
}

/// The document of a datagram; `None` if it is none of the daemon's.
pub fn of_datagram(datagram: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Header {
        format: String,
        version: u32,
    }
    let (header, document) = std::str::from_utf8(datagram).ok()?.split_once('\n')?;
    let header: Header = serde_json::from_str(header).ok()?;
    (header.format == "json" && header.version == 1).then_some(document)
}

/// A trace identifier in its one form: X-Ray's, or 32 digits as OpenTelemetry has it.
pub(crate) fn trace_id(text: &str) -> Option<String> {
    if is_hex(text, 32) {
        let (time, unique) = text.split_at_checked(8)?;
        return Some(format!("1-{time}-{unique}").to_ascii_lowercase());
    }
    let (time, unique) = text.strip_prefix("1-")?.split_once('-')?;
    (is_hex(time, 8) && is_hex(unique, 24)).then(|| text.to_ascii_lowercase())
}

/// Seconds since 1970 within what timestamps can tell: until the year 9999.
pub(crate) fn seconds(value: &Value) -> Option<f64> {
    value.as_f64().filter(|seconds| (0.0..253_402_300_800.0).contains(seconds))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn good() -> Value {
        json!({ "id": "70DE5B6F19FF9A0A", "trace_id": "1-581cf771-a006649127e371903a2de979", "name": "f",
            "start_time": 1_478_293_361.25, "end_time": 1_478_293_361.5 })
    }

    #[test]
    fn a_segment_tells_where_it_belongs() {
        let segment = parse(&good().to_string()).unwrap();
        assert_eq!(
            (segment.id.as_str(), segment.trace.as_str()),
            ("70de5b6f19ff9a0a", "1-581cf771-a006649127e371903a2de979")
        );
        assert_eq!(
            (segment.trace_began_s, segment.start_ms, segment.complete),
            (0x581c_f771, 1_478_293_361_250, true)
        );
        let mut of_otel = good();
        of_otel["trace_id"] = "ffffffffa006649127e371903a2de979".into();
        let segment = parse(&of_otel.to_string()).unwrap();
        assert_eq!(
            (segment.trace.as_str(), segment.trace_began_s),
            ("1-ffffffff-a006649127e371903a2de979", 1_478_293_361)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (member, value) in [
            ("id", json!("70de5b6f19ff9a0")),
            ("id", json!(7)),
            ("trace_id", json!("1-581cf771")),
            ("name", json!("")),
            ("name", json!("x".repeat(201))),
            ("start_time", json!("now")),
            ("start_time", json!(-1)),
            ("end_time", json!(null)),
            ("end_time", json!(1e300)),
            ("type", json!("segment")),
            ("parent_id", json!("x")),
        ] {
            let mut bad = good();
            bad[member] = value;
            let refused = parse(&bad.to_string()).unwrap_err();
            assert!(refused.to_string().starts_with(member), "{member}: {refused}");
        }
        let mut orphan = good();
        orphan["type"] = "subsegment".into();
        assert!(parse(&orphan.to_string()).unwrap_err().to_string().starts_with("parent_id"));
        assert_eq!(parse("[]"), Err(Refused::NotJson));
        assert_eq!(parse(&" ".repeat(65_537)), Err(Refused::TooLong(65_537)));
    }

    #[test]
    fn datagrams_have_a_header() {
        assert_eq!(of_datagram(b"{\"format\": \"json\", \"version\": 1}\n{}"), Some("{}"));
        for bad in ["{}", "{}\n{}", "{\"format\":\"json\",\"version\":2}\n{}", "", "\n", "x\n{}"] {
            assert_eq!(of_datagram(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in any::<f64>(), id in ".{0,40}") {
            let _ = of_datagram(&bytes);
            let _ = parse(&String::from_utf8_lossy(&bytes));
            let mut odd = good();
            odd["start_time"] = json!(start);
            odd["trace_id"] = id.into();
            let _ = parse(&odd.to_string());
        }
    }
}
