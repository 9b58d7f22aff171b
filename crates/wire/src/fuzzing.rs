//! One function for each parser of outside bytes: called by the fuzz targets, and here by property tests.
//! Each takes any bytes, must not panic, and asserts what holds for every input. `seeds/` begins both.

// A panic is how a target reports what must not be.
#![allow(clippy::panic)]

use crate::{
    Connection, Context, HostRoute, RawRequest, RawResponse, Service,
    coding::{Gunzip, gunzip},
    protocol::{members::Failure, query::flat::Node, rest_json},
    route::{Head, Router, split_target},
    sign::{Payload as SignedPayload, Signer},
    sigv4::{
        canonical::{Canonical, PathStyle},
        claim, keys,
        verify::{self, Payload, check_signature},
    },
};
use base::{Fault, ServiceError, Timestamp};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Deserialize;
use std::{collections::BTreeMap, io::Write, time::Duration};

const NOW: Timestamp = Timestamp(1_440_938_160_000);
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The bytes as lines of text; there is always another one.
fn lines(data: &[u8]) -> impl FnMut() -> String {
    let text = String::from_utf8_lossy(data).into_owned();
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    lines.reverse();
    move || lines.pop().unwrap_or_default()
}

/// `authorization` and the headers beside it, a line each.
pub fn authorization(data: &[u8]) {
    let mut line = lines(data);
    let mut headers = HeaderMap::new();
    for name in ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "date"] {
        if let Ok(value) = HeaderValue::from_bytes(line().as_bytes()) {
            headers.insert(name, value);
        }
    }
    examine(&headers, "");
}

/// A query string with presigned parameters.
pub fn presigned(data: &[u8]) {
    examine(&HeaderMap::new(), &String::from_utf8_lossy(data));
}

/// Reads a claim and goes on with it as the gateway does.
fn examine(headers: &HeaderMap, query: &str) {
    let Ok(Some(claim)) = claim::read(headers, query) else { return };
    let in_time = verify::check_scope(&claim, "iam", NOW, Duration::from_secs(900), None);
    if in_time.is_ok() {
        assert_eq!(claim.service, "iam");
        assert!(claim.signs("host") || claim.signs(":authority"));
        assert!(claim.stamp.starts_with(claim.date.as_ref()));
    }
    if let Ok(payload) = Payload::of(&claim) {
        let hash = if let Payload::Declared(hash) = payload { hash } else { "x" };
        let (method, uri) = (Method::GET, Uri::from_static("/"));
        let head = verify::Head { method: &method, uri: &uri, headers, authority: "localhost" };
        let key = keys::derive("a secret nobody guesses", claim.scope());
        assert!(check_signature(&claim, key, head, hash).is_err(), "a guessed signature was accepted");
    }
}

/// Path, query, header value and body, a line each: the canonical form, and that what we sign is what we verify.
pub fn canonical(data: &[u8]) {
    let mut line = lines(data);
    let (path, query, value, body) = (line(), line(), line(), line());
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert("x-amz-meta", value);
    }
    for style in [PathStyle::Normalised, PathStyle::AsIs] {
        let canonical = Canonical {
            method: "GET",
            path: &path,
            query: &query,
            headers: &headers,
            authority: "localhost",
            signed_headers: "host;x-amz-meta",
            payload_hash: "H",
            style,
        };
        let mut text = Vec::new();
        canonical.write(&mut text);
        let text = String::from_utf8_lossy(&text);
        let mut written = text.split('\n');
        let (_, _, first) = (written.next(), written.next(), written.next().unwrap_or_default());
        // The canonical query is its own canonical form.
        let mut again = Vec::new();
        Canonical { query: first, ..canonical }.write(&mut again);
        assert_eq!(text.as_bytes(), again.as_slice());
    }
    let Ok(uri) = format!("http://localhost/{path}?{query}").parse::<Uri>() else { return };
    let signer =
        Signer { access_key: "AKID", secret: SECRET, token: None, region: "us-east-1", service: "iam" };
    let payload = SignedPayload::Signed(body.as_bytes());
    if signer.sign(&Method::POST, &uri, &mut headers, payload, NOW).is_err() {
        return;
    }
    let Ok(Some(claim)) = claim::read(&headers, "") else { panic!("our own claim cannot be read") };
    assert!(verify::check_scope(&claim, "iam", NOW, Duration::ZERO, None).is_ok());
    let head = verify::Head { method: &Method::POST, uri: &uri, headers: &headers, authority: "localhost" };
    let hash = crate::sigv4::hex_sha256(body.as_bytes());
    let key = keys::derive(SECRET, claim.scope());
    let outcome = check_signature(&claim, key, head, std::str::from_utf8(&hash).unwrap_or_default());
    assert!(outcome.is_ok(), "our own signature does not hold");
}

/// A host name.
pub fn host(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let route = HostRoute::parse(&text);
    if let Some(resource) = &route.resource {
        assert!(!resource.is_empty() && text.to_ascii_lowercase().contains(&**resource));
    }
    assert_eq!(route, HostRoute::parse(&text.to_ascii_uppercase()), "the case of letters matters");
}

/// A body in gzip: unpacked within its bound, and what was packed comes back.
pub fn gzip(data: &[u8]) {
    const MAX: usize = 4096;
    if let Ok(body) = gunzip(data, MAX) {
        assert!(body.len() <= MAX);
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packed.write_all(data).and_then(|()| packed.finish());
    let Ok(packed) = packed else { panic!("nothing can fail in memory") };
    assert!(gunzip(&packed, data.len()).is_ok_and(|body| body == data));
    if let Some(less) = data.len().checked_sub(1) {
        assert!(matches!(gunzip(&packed, less), Err(Gunzip::Exceeded)));
    }
    // Cut off or with something behind it, it is refused.
    let cut = packed.get(..packed.len() / 2).unwrap_or_default();
    assert!(gunzip(cut, data.len()).is_err());
    let behind = [packed.as_slice(), b"x"].concat();
    assert!(gunzip(&behind, data.len()).is_err());
}

/// A form of the query protocol.
pub fn members(data: &[u8]) {
    let Ok(node) = Node::read(data) else { return };
    let _: Result<Shape, Failure> = Shape::deserialize(node);
    let Ok(node) = Node::read(data) else { return };
    let _: Result<serde_json::Value, Failure> = serde_json::Value::deserialize(node);
}

/// Method and path, query, target, host, body, a line each: recognition and binding.
pub fn binding(data: &[u8]) {
    let mut line = lines(data);
    let (path, query, target, host, body) = (line(), line(), line(), line(), line());
    let (prefix, operation) = split_target(&target);
    assert!(target.ends_with(operation) && target.starts_with(prefix));

    let mut router = Router::default();
    router.add(Service::api(&Toy));
    let mut headers = HeaderMap::new();
    if let (Ok(value), false) = (HeaderValue::from_bytes(target.as_bytes()), target.is_empty()) {
        headers.insert("x-amz-target", value);
    }
    let host = HostRoute::parse(&host);
    for method in [Method::GET, Method::POST] {
        let scope = (query.len() % 2 == 0).then_some("toy");
        let head =
            Head { method: &method, path: &path, query: &query, headers: &headers, host: &host, scope };
        router.recognise(&head);
    }
    router.action(None, &target, Some(&query), None);

    let Ok(uri) = format!("http://localhost/?{query}").parse::<Uri>() else { return };
    let request = RawRequest {
        method: Method::POST,
        uri,
        headers,
        body: Bytes::from(body.clone()),
        labels: vec![("Name", path)],
        host,
        connection: Connection::default(),
        request_id: base::RequestId::from_random([0; 16]),
    };
    let route = Service::api(&Toy).operations.first().and_then(|operation| operation.http.as_ref());
    let _: Result<Shape, Failure> = rest_json::read(route, &request, body.as_bytes());
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(dead_code)] // Only read into.
struct Shape {
    name: String,
    number: Option<i32>,
    ratio: Option<f64>,
    flag: Option<bool>,
    kind: Option<Kind>,
    #[serde(default)]
    list: Vec<Inner>,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, Vec<u8>>,
}

#[derive(Deserialize)]
#[allow(dead_code)] // Only read into.
enum Kind {
    One,
    Two,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(dead_code)] // Only read into.
struct Inner {
    key: Option<String>,
    inner: Option<Box<Inner>>,
}

struct Toy;

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl ServiceError for Never {
    fn code(&self) -> &str {
        "Never"
    }
    fn fault(&self) -> Fault {
        Fault::Us
    }
}

crate::api! {
    /// Toy.
    impl Toy;
    name: "toy";
    protocol: rest_json, json11("Toy_2025"), query("2025-01-01", "x");
    operations {
        Put => any(RawRequest) -> RawResponse {
            http: POST "/toys/{Name}" 200,
            query: ["Number" => Number, "list" => Texts, "flag" => Flag, "kind" => Kind],
            headers: ["x-amz-target" => Ratio],
            allow: everyone,
            errors: [],
        }
        Deep => any(RawRequest) -> RawResponse {
            http: GET "/toys/{Name}/parts/{Part+}" 200,
            allow: everyone,
            errors: [],
        }
    }
    missing: [Gone: GET "/toys/{Name}/gone"];
}

impl Toy {
    async fn any(&self, _: &Context, _: RawRequest) -> Result<RawResponse, Never> {
        Err(Never)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    const AUTHORIZATION: &[&str] =
        &[include_str!("fuzzing/seeds/authorization/1"), include_str!("fuzzing/seeds/authorization/2")];
    const PRESIGNED: &[&str] = &[include_str!("fuzzing/seeds/presigned/1")];
    const CANONICAL: &[&str] =
        &[include_str!("fuzzing/seeds/canonical/1"), include_str!("fuzzing/seeds/canonical/2")];
    const HOSTS: &[&str] = &[
        include_str!("fuzzing/seeds/host/1"),
        include_str!("fuzzing/seeds/host/2"),
        include_str!("fuzzing/seeds/host/3"),
        include_str!("fuzzing/seeds/host/4"),
    ];
    const MEMBERS: &[&str] =
        &[include_str!("fuzzing/seeds/members/1"), include_str!("fuzzing/seeds/members/2")];
    const BINDING: &[&str] =
        &[include_str!("fuzzing/seeds/binding/1"), include_str!("fuzzing/seeds/binding/2")];

    /// Random bytes, or a seed with some bytes replaced, removed or repeated.
    fn inputs(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 0..6);
        let mutated = (select(seeds), edits).prop_map(|(seed, edits)| {
            let mut bytes = seed.as_bytes().to_vec();
            for (at, byte, kind) in edits {
                let at = at.index(bytes.len() + 1);
                match kind {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    2 => bytes.insert(at, byte),
                    _ => {
                        let piece = bytes[at..].iter().take(usize::from(byte)).copied().collect::<Vec<_>>();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            bytes
        });
        prop_oneof![1 => vec(any::<u8>(), 0..200), 1 => "\\PC{0,200}".prop_map(String::into_bytes), 6 => mutated]
    }

    macro_rules! hold_for_any_bytes {
        ($($target:ident $seeds:ident),*) => {
            proptest! {
                #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]
                $(
                    #[test]
                    fn $target(data in inputs($seeds)) {
                        super::$target(&data);
                    }
                )*
            }
        };
    }

    hold_for_any_bytes! {
        authorization AUTHORIZATION, presigned PRESIGNED, canonical CANONICAL, host HOSTS, members MEMBERS, binding BINDING,
        gzip MEMBERS
    }
}
