//! A function's answer as an HTTP response: payload format 2.0, and the prelude of streamed answers.
//!
//! Source: Lambda's documentation of function URLs and of response streaming.

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

/// Content type by which a runtime tells that a prelude comes first.
pub const PRELUDE_TYPE: &str = "application/vnd.awslambda.http-integration-response";
/// What ends a prelude.
const SEPARATOR: [u8; 8] = [0; 8];
/// Longest prelude: HTTP heads are not longer.
const PRELUDE_MAX: usize = 64 * 1024;

/// Status and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status.
    pub status: StatusCode,
    /// Headers, `set-cookie` among them.
    pub headers: HeaderMap,
}

/// Why an answer is no HTTP response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// A member has a wrong type or value.
    #[error("{0} is not as payload format 2.0 has it")]
    Member(&'static str),
    /// The prelude does not end.
    #[error("no separator within {PRELUDE_MAX} bytes of the prelude")]
    LongPrelude,
}

impl Head {
    /// 200 with a content type.
    pub fn ok(content_type: &str) -> Head {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(content_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        Head { status: StatusCode::OK, headers }
    }

    /// From an object with `statusCode`, `headers` and `cookies`; `content_type` where it names none.
    fn of(object: &serde_json::Map<String, Value>, content_type: &'static str) -> Result<Head, BadAnswer> {
        let status = object.get("statusCode").map_or(Some(200), |code| match code {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        let status = status
            .and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok())
            .filter(|status| (200..600).contains(&status.as_u16()))
            .ok_or(BadAnswer::Member("statusCode"))?;
        let mut headers = HeaderMap::new();
        match object.get("headers") {
            None | Some(Value::Null) => {}
            Some(Value::Object(given)) => {
                for (name, value) in given {
                    add(&mut headers, name, value).ok_or(BadAnswer::Member("headers"))?;
                }
            }
            Some(_) => return Err(BadAnswer::Member("headers")),
        }
        match object.get("cookies") {
            None | Some(Value::Null) => {}
            Some(Value::Array(cookies)) => {
                for cookie in cookies {
                    add(&mut headers, "set-cookie", cookie).ok_or(BadAnswer::Member("cookies"))?;
                }
            }
            Some(_) => return Err(BadAnswer::Member("cookies")),
        }
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        Ok(Head { status, headers })
    }
}

/// Adds a header; those of the connection and of the body's length are ours to set.
fn add(headers: &mut HeaderMap, name: &str, value: &Value) -> Option<()> {
    let name: HeaderName = name.parse().ok()?;
    let value = match value {
        Value::String(text) => {
            HeaderValue::from_str(text).or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
        }
        Value::Number(number) => HeaderValue::from_str(&number.to_string()),
        Value::Bool(flag) => HeaderValue::from_str(&flag.to_string()),
        Value::Null => return Some(()),
        Value::Array(_) | Value::Object(_) => return None,
    };
    let value = value.ok()?;
    let ours = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::TRAILER,
        header::UPGRADE,
    ];
    if !ours.contains(&name) && name != "keep-alive" {
        headers.append(name, value);
    }
    Some(())
}

/// Reads a whole answer: an object with `statusCode`, or anything else as the body of a 200.
pub fn buffered(payload: &Bytes) -> Result<(Head, Bytes), BadAnswer> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| BadAnswer::NotJson)?;
    let object = match value {
        Value::Object(object) if object.contains_key("statusCode") => object,
        Value::String(text) => return Ok((Head::ok("application/json"), text.into())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Ok((Head::ok("application/json"), payload.clone()));
        }
    };
    let head = Head::of(&object, "application/json")?;
    let body = match object.get("body") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(BadAnswer::Member("body")),
    };
    let body = match object.get("isBase64Encoded") {
        None | Some(Value::Null | Value::Bool(false)) => Bytes::from(body),
        Some(Value::Bool(true)) => base64::engine::general_purpose::STANDARD
            .decode(body)
            .map_err(|_| BadAnswer::Member("body"))?
            .into(),
        Some(_) => return Err(BadAnswer::Member("isBase64Encoded")),
    };
    Ok((head, body))
}

/// Collects the prelude of a streamed answer: JSON, then eight zero bytes, then the body.
#[derive(Debug, Default)]
pub struct Prelude {
    held: BytesMut,
}

impl Prelude {
    /// Takes a piece; the head and the rest of the piece once the prelude is whole.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Option<(Head, Bytes)>, BadAnswer> {
        let from = self.held.len().saturating_sub(SEPARATOR.len() - 1);
        self.held.extend_from_slice(piece);
        let found =
            self.held.get(from..).unwrap_or_default().windows(SEPARATOR.len()).position(|w| w == SEPARATOR);
        let Some(at) = found.map(|at| from + at) else {
            return if self.held.len() > PRELUDE_MAX { Err(BadAnswer::LongPrelude) } else { Ok(None) };
        };
        if at > PRELUDE_MAX {
            return Err(BadAnswer::LongPrelude);
        }
        let prelude = self.held.split_to(at);
        let rest = self.held.split_off(SEPARATOR.len()).freeze();
        let object = serde_json::from_slice(&prelude).map_err(|_| BadAnswer::NotJson)?;
        Ok(Some((Head::of(&object, "application/octet-stream")?, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(payload: &'static str) -> Result<(Head, Bytes), BadAnswer> {
        buffered(&Bytes::from_static(payload.as_bytes()))
    }

    #[test]
    fn answers_without_a_status_are_the_body() {
        for (payload, body) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#""text""#, "text"),
            ("null", "null"),
            ("[1]", "[1]"),
            ("3", "3"),
            (r#"{"body":"x"}"#, r#"{"body":"x"}"#),
        ] {
            assert_eq!(
                read(payload).unwrap(),
                (Head::ok("application/json"), Bytes::from(body)),
                "{payload}"
            );
        }
    }

    #[test]
    fn answers_with_a_status_are_responses() {
        let (head, body) = read(
            r#"{"statusCode":"201","headers":{"X-A":"1","x-n":2,"x-b":true,"content-type":"text/html","Content-Length":"9"},
                "cookies":["a=1; Path=/","b=2"],"body":"aGk=","isBase64Encoded":true}"#,
        )
        .unwrap();
        assert_eq!((head.status.as_u16(), &body[..]), (201, &b"hi"[..]));
        assert_eq!(head.headers["x-a"], "1");
        assert_eq!(head.headers["x-n"], "2");
        assert_eq!(head.headers["x-b"], "true");
        assert_eq!(head.headers["content-type"], "text/html");
        assert!(!head.headers.contains_key("content-length"));
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
        let (head, body) = read(r#"{"statusCode":204}"#).unwrap();
        assert_eq!((head.headers["content-type"].to_str().unwrap(), body.len()), ("application/json", 0));
    }

    #[test]
    fn malformed_answers_are_told_apart() {
        for bad in [
            "{",
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":1000}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":200,"headers":[]}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
            r#"{"statusCode":200,"headers":{"a":"b\nc"}}"#,
            r#"{"statusCode":200,"cookies":"a=1"}"#,
            r#"{"statusCode":200,"body":{}}"#,
            r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"isBase64Encoded":"yes"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prelude_may_be_cut_anywhere() {
        let whole =
            b"{\"statusCode\":404,\"headers\":{\"x\":\"y\"},\"cookies\":[\"c=1\"]}\0\0\0\0\0\0\0\0body\0\0";
        for cut in 0..=whole.len() {
            let mut prelude = Prelude::default();
            let (first, second) = whole.split_at(cut);
            let (head, mut rest) = match prelude.feed(first).unwrap() {
                Some((head, rest)) => (head, [&rest[..], second].concat()),
                None => {
                    let (head, rest) = prelude.feed(second).unwrap().unwrap();
                    (head, rest.to_vec())
                }
            };
            assert_eq!((head.status.as_u16(), head.headers.len()), (404, 3));
            assert_eq!(rest.split_off(4), b"\0\0");
            assert_eq!(rest, b"body");
        }
        assert_eq!(Prelude::default().feed(&[b'x'; PRELUDE_MAX + 1]), Err(BadAnswer::LongPrelude));
        assert_eq!(Prelude::default().feed(b"x\0\0\0\0\0\0\0\0"), Err(BadAnswer::NotJson));
    }

    proptest! {
        #[test]
        fn any_answer_is_a_response_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..200), text in r#"\{"statusCode":(200|"2"),"(headers|cookies|body)":[ -~]{0,20}\}"#) {
            let _ = buffered(&payload.clone().into());
            let _ = buffered(&text.into());
            let _ = Prelude::default().feed(&payload);
        }
    }
}
