//! An event as the HTTP request that a component gets. Pure.
//!
//! An event in payload format 2.0 (a function URL's, or one that a caller made) is told as the request that it describes.
//! Any other is a POST with the event as its body and the attributes of a CloudEvent in binary mode as its headers. Sources:
//! Lambda's documentation of function URLs; CloudEvents 1.0, HTTP protocol binding.

use base::{Invocation, TenantId, Timestamp};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap};

/// Begins the names of headers that tell of the invocation; those that a client sends are taken away. The names are those of
/// the Runtime API.
const OF_INVOCATION: &str = "lambda-runtime-";
/// Where events go unless the function's handler is a path.
const ROOT: &str = "/";
/// The CloudEvents type of an event that was invoked with.
const EVENT_TYPE: &str = "neap.lambda.invocation";

/// What an event asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) request: Request<Bytes>,
    /// Whether it describes a request, so that the answer is to describe a response.
    pub(crate) http: bool,
}

/// An event of payload format 2.0, of which this much is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    raw_path: Cow<'a, str>,
    #[serde(borrow, default)]
    raw_query_string: Cow<'a, str>,
    #[serde(borrow, default)]
    cookies: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    request_context: RequestContext<'a>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    #[serde(borrow, default)]
    domain_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    http: Http<'a>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

/// What an invocation tells besides its event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) at: Timestamp,
    pub(crate) deadline_at: Timestamp,
    pub(crate) trace: &'a str,
    pub(crate) tenant: Option<&'a TenantId>,
    /// The function's handler.
    pub(crate) handler: &'a str,
}

/// The request for an invocation.
pub(crate) fn request(call: &Invocation, told: &Told<'_>) -> Wanted {
    let described = serde_json::from_slice::<Described<'_>>(&call.payload).ok();
    let described = described.filter(|described| described.version == "2.0");
    let (mut request, http) = match described.and_then(|described| described.request()) {
        Some(request) => (request, true),
        None => (event(call, told), false),
    };
    about(request.headers_mut(), call, told);
    Wanted { request, http }
}

impl Described<'_> {
    /// `None`: it describes none.
    fn request(self) -> Option<Request<Bytes>> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 8);
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name.as_ref()).ok()?;
            if !name.as_str().starts_with(OF_INVOCATION) {
                headers.append(name, HeaderValue::try_from(value.as_ref()).ok()?);
            }
        }
        if !self.cookies.is_empty() {
            headers.insert(header::COOKIE, HeaderValue::try_from(self.cookies.join("; ")).ok()?);
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority =
            host.or(self.request_context.domain_name.as_deref()).unwrap_or("localhost").to_owned();
        let target = match self.raw_query_string.as_ref() {
            "" => self.raw_path.into_owned(),
            query => format!("{}?{query}", self.raw_path),
        };
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(target).build().ok()?;
        let body = match (self.body, self.is_base64_encoded) {
            (None, _) => Bytes::new(),
            (Some(text), false) => Bytes::from(text.into_owned()),
            (Some(text), true) => {
                base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).ok()?.into()
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(self.request_context.http.method.as_bytes()).ok()?;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Any other event.
fn event(call: &Invocation, told: &Told<'_>) -> Request<Bytes> {
    let path = if told.handler.starts_with('/') { told.handler } else { ROOT };
    let at = |path: &str| Uri::builder().scheme("http").authority("localhost").path_and_query(path).build();
    let mut request = Request::new(call.payload.clone());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = at(path).or_else(|_| at(ROOT)).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(call.payload.len()));
    set(headers, "ce-specversion", "1.0");
    set(headers, "ce-type", EVENT_TYPE);
    set(headers, "ce-source", &call.invoked_arn);
    set(headers, "ce-id", &call.request_id.to_string());
    set(headers, "ce-time", &runtimes::rfc3339(told.at));
    request
}

/// What the Runtime API tells with an event.
fn about(headers: &mut HeaderMap, call: &Invocation, told: &Told<'_>) {
    set(headers, "lambda-runtime-aws-request-id", &call.request_id.to_string());
    set(headers, "lambda-runtime-deadline-ms", &told.deadline_at.0.to_string());
    set(headers, "lambda-runtime-invoked-function-arn", &call.invoked_arn);
    set(headers, "lambda-runtime-trace-id", told.trace);
    set(headers, "x-amzn-trace-id", told.trace);
    if let Some(context) = &call.client_context {
        set(headers, "lambda-runtime-client-context", context);
    }
    if let Some(tenant) = told.tenant {
        set(headers, "lambda-runtime-aws-tenant-id", tenant.as_str());
    }
}

/// Sets a header whose value may be any text: what a header cannot hold leaves it out.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Micros, RequestId};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn wanted(payload: impl Into<Bytes>, handler: &str) -> Wanted {
        let call = Invocation {
            request_id: RequestId::from_random([0; 16]),
            payload: payload.into(),
            invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            body: base::ArrivingBody::default(),
            client_context: Some("{\"a\":1}".into()),
            trace: None,
            span: None,
            tail: false,
            streamed: false,
            waited: Micros(0),
            provisioned: false,
            cold: false,
        };
        let told = Told {
            at: Timestamp(0),
            deadline_at: Timestamp(3_000),
            trace: "Root=1-0-0",
            tenant: None,
            handler,
        };
        request(&call, &told)
    }

    fn described() -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/a%20b", "rawQueryString": "x=1&x=2",
            "cookies": ["c=1", "d=2"], "isBase64Encoded": true, "body": "aGk=",
            "headers": {"host": "abc.example", "x-two": "1,2", "lambda-runtime-deadline-ms": "9999999999999"},
            "requestContext": {"domainName": "abc.example", "http": {"method": "PUT", "path": "/a b"}},
        })
    }

    #[test]
    fn a_described_request_is_made_again() {
        let Wanted { request, http } = wanted(described().to_string(), "bootstrap");
        assert!(http);
        assert_eq!((request.method(), request.uri().path()), (&Method::PUT, "/a%20b"));
        assert_eq!(request.uri().query(), Some("x=1&x=2"));
        assert_eq!(request.headers()["cookie"], "c=1; d=2");
        assert_eq!(request.headers()["x-two"], "1,2");
        assert_eq!(request.headers()["lambda-runtime-deadline-ms"], "3000", "not the client's");
        assert_eq!(request.body(), "hi");
    }

    #[test]
    fn every_other_event_is_a_cloud_event() {
        let mut without_method = described();
        without_method["requestContext"]["http"] = json!({});
        let mut old = described();
        old["version"] = json!("1.0");
        let mut bad_body = described();
        bad_body["body"] = json!("%");
        for payload in ["1".to_owned(), without_method.to_string(), old.to_string(), bad_body.to_string()] {
            let Wanted { request, http } = wanted(payload.clone(), "bootstrap");
            assert!(!http);
            assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/"));
            let of = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(of("content-type"), "application/json");
            assert_eq!(of("ce-id"), "00000000-0000-4000-8000-000000000000");
            assert_eq!(of("ce-source"), "arn:aws:lambda:us-east-1:000000000000:function:f");
            assert_eq!((of("ce-specversion"), of("ce-type")), ("1.0".into(), EVENT_TYPE.into()));
            assert_eq!(of("ce-time"), "1970-01-01T00:00:00.000Z");
            assert_eq!(of("lambda-runtime-client-context"), "{\"a\":1}");
            assert_eq!(request.body(), &payload);
        }
        assert_eq!(wanted("1", "/events").request.uri().path(), "/events");
        assert_eq!(wanted("1", "/ {").request.uri().path(), "/");
    }

    proptest! {
        #[test]
        fn any_event_becomes_a_request(bytes: Vec<u8>, path in "\\PC{0,12}", query in "\\PC{0,12}", method in "\\PC{0,6}", value in "\\PC{0,12}") {
            wanted(bytes, &path);
            let mut event = described();
            event["rawPath"] = json!(path);
            event["rawQueryString"] = json!(query);
            event["requestContext"]["http"]["method"] = json!(method);
            event["headers"]["x-two"] = json!(value);
            wanted(event.to_string(), &value);
        }
    }
}
