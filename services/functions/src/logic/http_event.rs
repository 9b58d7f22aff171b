//! An HTTP request as an event: payload format 2.0.
//!
//! Source: Lambda's documentation of function URLs, and API Gateway's of the format. Members without a value are left
//! out, as in real events.

use base::{AccountId, RequestId, Timestamp};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};
use serde::Serialize;
use std::{borrow::Cow, collections::BTreeMap};

/// A request for a function.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path, as sent.
    pub path: &'a str,
    /// Query, as sent, without the question mark.
    pub query: &'a str,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body.
    pub body: &'a Bytes,
    /// Id of the function URL.
    pub api_id: &'a str,
    /// Host name that was asked.
    pub domain: &'a str,
    /// Address of the client.
    pub source_ip: &'a str,
    /// Of the invocation.
    pub request_id: RequestId,
    /// When it came.
    pub at: Timestamp,
    /// Trace header for the function.
    pub trace: &'a str,
    /// The same as `traceparent`, for a request that brings only the other form.
    pub w3c: Option<&'a str>,
    /// Who signed it, where somebody must have.
    pub signer: Option<Signer<'a>>,
}

/// Who signed a request.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// Account.
    pub account: AccountId,
    /// Access key.
    pub access_key: &'a str,
    /// ARN.
    pub arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<Cow<'a, str>>,
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<Cow<'a, str>, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: Cow<'a, str>,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Authorizer<'a>>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: String,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
struct Authorizer<'a> {
    iam: Iam<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Iam<'a> {
    access_key: &'a str,
    account_id: String,
    caller_id: &'a str,
    cognito_identity: Option<()>,
    principal_org_id: Option<()>,
    user_arn: &'a str,
    user_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: Cow<'a, str>,
    protocol: &'static str,
    source_ip: &'a str,
    user_agent: String,
}

impl Incoming<'_> {
    /// The event.
    pub fn event(&self) -> Bytes {
        let (body, is_base64_encoded) = body(self.headers, self.body);
        let path = percent_encoding::percent_decode_str(self.path).decode_utf8_lossy();
        let event = Event {
            version: "2.0",
            route_key: "$default",
            raw_path: self.path,
            raw_query_string: self.query,
            cookies: cookies(self.headers),
            headers: self.shown_headers(),
            query_string_parameters: parameters(self.query),
            request_context: RequestContext {
                account_id: self.signer.map_or(Cow::Borrowed("anonymous"), |s| s.account.to_string().into()),
                api_id: self.api_id,
                authorizer: self.signer.map(|signer| Authorizer {
                    iam: Iam {
                        access_key: signer.access_key,
                        account_id: signer.account.to_string(),
                        caller_id: signer.access_key,
                        cognito_identity: None,
                        principal_org_id: None,
                        user_arn: signer.arn,
                        user_id: signer.access_key,
                    },
                }),
                domain_name: self.domain,
                domain_prefix: self.domain.split('.').next().unwrap_or_default(),
                http: Http {
                    method: self.method.as_str(),
                    path,
                    protocol: "HTTP/1.1",
                    source_ip: self.source_ip,
                    user_agent: text(self.headers, &header::USER_AGENT),
                },
                request_id: self.request_id.to_string(),
                route_key: "$default",
                stage: "$default",
                time: time(self.at),
                time_epoch: self.at.0,
            },
            body,
            is_base64_encoded,
        };
        serde_json::to_vec(&event).unwrap_or_default().into()
    }

    fn shown_headers(&self) -> BTreeMap<&str, String> {
        let mut shown: BTreeMap<&str, String> = BTreeMap::new();
        for name in self.headers.keys().filter(|name| *name != header::COOKIE) {
            shown.insert(name.as_str(), text(self.headers, name));
        }
        shown.entry("host").or_insert_with(|| self.domain.to_owned());
        shown.insert("x-amzn-trace-id", self.trace.to_owned());
        if let Some(w3c) = self.w3c {
            shown.entry("traceparent").or_insert_with(|| w3c.to_owned());
        }
        let forwarded = match shown.get("x-forwarded-for") {
            Some(before) => format!("{before}, {}", self.source_ip),
            None => self.source_ip.to_owned(),
        };
        shown.insert("x-forwarded-for", forwarded);
        shown.entry("x-forwarded-proto").or_insert_with(|| "http".to_owned());
        shown
    }
}

/// All values of a header, joined by commas.
fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<Cow<'_, str>> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(",")
}

fn cookies(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    let mut cookies = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        match String::from_utf8_lossy(value.as_bytes()) {
            Cow::Borrowed(line) => cookies.extend(line.split(';').map(|one| Cow::Borrowed(one.trim()))),
            Cow::Owned(line) => cookies.extend(line.split(';').map(|one| Cow::Owned(one.trim().to_owned()))),
        }
    }
    cookies.retain(|cookie| !cookie.is_empty());
    cookies
}

/// Decoded parameters; those that come more than once, joined by commas.
fn parameters(query: &str) -> BTreeMap<Cow<'_, str>, String> {
    let mut parameters: BTreeMap<Cow<'_, str>, String> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name)
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

/// Text as it is, everything else in base64. Source: observed of HTTP APIs, which take a form for binary too.
fn body<'a>(headers: &HeaderMap, body: &'a Bytes) -> (Option<Cow<'a, str>>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    match std::str::from_utf8(body) {
        Ok(text) if is_text(headers) => (Some(text.into()), false),
        Ok(_) | Err(_) => (Some(base64::engine::general_purpose::STANDARD.encode(body).into()), true),
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&kind)
        || (kind.starts_with("application/") && (kind.ends_with("+json") || kind.ends_with("+xml")))
}

/// As in access logs: `12/Mar/2020:19:03:58 +0000`.
fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map(|at| at.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn event(method: &Method, path: &str, query: &str, headers: &HeaderMap, body: &[u8]) -> Value {
        let incoming = Incoming {
            method,
            path,
            query,
            headers,
            body: &Bytes::copy_from_slice(body),
            api_id: "abc",
            domain: "abc.lambda-url.us-east-1.localhost",
            source_ip: "192.0.2.1",
            request_id: RequestId::from_random([7; 16]),
            at: Timestamp(1_583_348_638_390),
            trace: "Root=1",
            w3c: None,
            signer: None,
        };
        serde_json::from_slice(&incoming.event()).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_request_is_told_as_documented() {
        let headers = headers(&[
            ("Cookie", "a=1; b=2"),
            ("cookie", "c=3"),
            ("X-Two", "1"),
            ("x-two", "2"),
            ("User-Agent", "agent"),
            ("content-type", "application/json; charset=utf-8"),
            ("x-forwarded-for", "198.51.100.7"),
        ]);
        let told = event(&Method::POST, "/my/pa%20th", "p=1&p=%C3%BC&q=", &headers, b"{\"x\":1}");
        assert_eq!(told["version"], "2.0");
        assert_eq!(told["rawPath"], "/my/pa%20th");
        assert_eq!(told["rawQueryString"], "p=1&p=%C3%BC&q=");
        assert_eq!(told["cookies"], json!(["a=1", "b=2", "c=3"]));
        assert_eq!(told["headers"]["x-two"], "1,2");
        assert_eq!(told["headers"]["x-forwarded-for"], "198.51.100.7, 192.0.2.1");
        assert!(told["headers"].get("cookie").is_none());
        assert_eq!(told["queryStringParameters"], json!({"p": "1,ü", "q": ""}));
        assert_eq!((&told["body"], &told["isBase64Encoded"]), (&json!("{\"x\":1}"), &json!(false)));
        let context = &told["requestContext"];
        assert_eq!(context["accountId"], "anonymous");
        assert_eq!((&context["domainPrefix"], &context["apiId"]), (&json!("abc"), &json!("abc")));
        assert_eq!(
            context["http"],
            json!({"method": "POST", "path": "/my/pa th", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                   "userAgent": "agent"})
        );
        assert_eq!(context["time"], "04/Mar/2020:19:03:58 +0000");
        assert_eq!(context["timeEpoch"], 1_583_348_638_390_i64);
        assert!(context.get("authorizer").is_none());
    }

    #[test]
    fn what_is_not_text_is_base64() {
        let encoded = |kind: &str, body: &[u8]| {
            let told = event(&Method::POST, "/", "", &headers(&[("content-type", kind)]), body);
            told["isBase64Encoded"].as_bool().unwrap()
        };
        assert!(!encoded("text/plain", b"x") && !encoded("application/problem+json", b"{}"));
        assert!(encoded("image/png", b"x") && encoded("application/x-www-form-urlencoded", b"a=1"));
        assert!(encoded("text/plain", b"\xff"));
        let told = event(&Method::GET, "/", "", &HeaderMap::new(), b"");
        assert!(told.get("body").is_none() && told["isBase64Encoded"] == false);
        assert!(told.get("cookies").is_none() && told.get("queryStringParameters").is_none());
    }

    proptest! {
        #[test]
        fn any_request_becomes_an_event(path in "/[!-~]{0,30}", query in "[!-~]{0,40}", value in proptest::collection::vec(32u8..=255, 0..30), body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut headers = HeaderMap::new();
            for name in [header::COOKIE, header::CONTENT_TYPE, header::USER_AGENT] {
                if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            let told = event(&Method::PUT, &path, &query, &headers, &body);
            prop_assert_eq!(&told["rawQueryString"], &json!(query));
        }
    }
}
