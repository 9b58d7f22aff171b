//! A component's HTTP response as a function's answer. Pure.

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response::Parts};
use runtimes::HostedError;
use serde_json::{Map, Value, json};

/// Content type that announces a prelude, and what ends it. Source: Lambda's documentation of response streaming.
pub(crate) const PRELUDE_TYPE: &str = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END: [u8; 8] = [0; 8];
/// Characters of a failed answer that are told.
const SHOWN: usize = 1_000;
/// Type of the failure to answer an event with success.
const ERROR_STATUS: &str = "Function.ErrorStatus";

/// A response in payload format 2.0.
pub(crate) fn described(parts: &Parts, body: &Bytes) -> Bytes {
    let mut object = head(parts);
    match std::str::from_utf8(body) {
        Ok(text) => {
            object.insert("body".into(), text.into());
            object.insert("isBase64Encoded".into(), false.into());
        }
        Err(_) => {
            object.insert("body".into(), base64::engine::general_purpose::STANDARD.encode(body).into());
            object.insert("isBase64Encoded".into(), true.into());
        }
    }
    Value::Object(object).to_string().into()
}

/// What comes before the body of a streamed response.
pub(crate) fn prelude(parts: &Parts) -> Bytes {
    let mut bytes = Value::Object(head(parts)).to_string().into_bytes();
    bytes.extend_from_slice(&PRELUDE_END);
    bytes.into()
}

/// The answer to an event: the body, if the status says that it is one.
pub(crate) fn answer(status: StatusCode, body: Bytes) -> Result<Bytes, HostedError> {
    if status.is_success() {
        return Ok(body);
    }
    // A function that tells its error the way that runtimes do is passed on.
    if let Ok(Value::Object(told)) = serde_json::from_slice::<Value>(&body)
        && told.get("errorMessage").is_some_and(Value::is_string)
    {
        let kind = told.get("errorType").and_then(Value::as_str).unwrap_or(ERROR_STATUS).to_owned();
        return Err(HostedError::Reported { kind, payload: body });
    }
    let text: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
    let colon = if text.is_empty() { "" } else { ": " };
    Err(HostedError::reported(ERROR_STATUS, &format!("the function answered {status}{colon}{text}")))
}

/// `statusCode`, `headers`, `cookies`.
fn head(parts: &Parts) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("statusCode".into(), parts.status.as_u16().into());
    object.insert("headers".into(), headers(&parts.headers));
    let cookies: Vec<Value> =
        parts.headers.get_all(header::SET_COOKIE).iter().map(|value| text(value.as_bytes())).collect();
    if !cookies.is_empty() {
        object.insert("cookies".into(), cookies.into());
    }
    object
}

/// Each name once: several values of one are joined as HTTP has it.
fn headers(headers: &HeaderMap) -> Value {
    let mut object = Map::new();
    for name in headers.keys().filter(|name| *name != header::SET_COOKIE) {
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        object.insert(name.as_str().to_owned(), text(&values.join(&b", "[..])));
    }
    Value::Object(object)
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    fn parts() -> Parts {
        let response = Response::builder().status(201).header("x-a", "1").header("x-a", "2");
        let response = response.header("set-cookie", "a=1; Path=/").header("set-cookie", "b=2");
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn responses_are_described_in_payload_format_2() {
        let read = |body: &'static [u8]| -> Value {
            serde_json::from_slice(&described(&parts(), &Bytes::from_static(body))).unwrap()
        };
        assert_eq!(
            read("ü".as_bytes()),
            json!({"statusCode": 201, "headers": {"x-a": "1, 2"}, "cookies": ["a=1; Path=/", "b=2"],
                   "body": "ü", "isBase64Encoded": false})
        );
        assert_eq!(read(b"\xff")["body"], "/w==");
        let prelude = prelude(&parts());
        let (json, end) = prelude.split_at(prelude.len() - 8);
        assert_eq!(end, [0; 8]);
        assert_eq!(serde_json::from_slice::<Value>(json).unwrap()["statusCode"], 201);
    }

    #[test]
    fn only_success_is_an_answer() {
        let failure = |status: u16, body: &'static str| match answer(
            StatusCode::from_u16(status).unwrap(),
            body.into(),
        )
        .unwrap_err()
        {
            HostedError::Reported { kind, payload } => (kind, String::from_utf8(payload.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(StatusCode::ACCEPTED, "1".into()).unwrap(), "1");
        let (kind, payload) = failure(503, "no");
        assert_eq!(kind, "Function.ErrorStatus");
        assert!(payload.contains("the function answered 503 Service Unavailable: no"), "{payload}");
        assert!(failure(302, "").1.contains("302 Found\""));
        let own = r#"{"errorType":"KeyError","errorMessage":"x"}"#;
        assert_eq!(failure(500, own), ("KeyError".to_owned(), own.to_owned()));
        assert_eq!(failure(500, r#"{"errorMessage":7}"#).0, "Function.ErrorStatus");
    }
}
