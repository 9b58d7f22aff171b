//! What the wire adds to a call: a signed Invoke through [`Gateway::handle`] with an operation that does nothing, beside
//! the least that verification must do (hash the payload and the canonical request, one keyed hash) and call it.
//! Prints nanoseconds per request, the best of some rounds; asserts only that requests are answered.
//!
//! `cargo run --release -p neap-wire --example hot_path [seconds]`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation ends the measurement")]

use base::{
    AccountId, Authorize, Clock, Credential, CredentialError, Credentials, Denied, Entropy, Fault, Principal,
    ServiceError, Timestamp,
};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq;
use wire::{
    Connection, Context, Gateway, Ports, RawRequest, RawResponse,
    sign::{Payload, Signer},
};

const NOW: Timestamp = Timestamp(1_795_255_200_000);
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const URI: &str = "http://127.0.0.1:4566/2015-03-31/functions/hello/invocations";

struct Nothing;

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

wire::api! {
    /// As many routes as Lambda's invoke path has to be told from.
    impl Nothing;
    name: "lambda";
    protocol: rest_json;
    operations {
        CreateFunction => any(RawRequest) -> RawResponse {
            http: POST "/2015-03-31/functions" 201,
            allow: everyone,
            errors: [],
        }
        PublishVersion => any(RawRequest) -> RawResponse {
            http: POST "/2015-03-31/functions/{FunctionName}/versions" 201,
            allow: everyone,
            errors: [],
        }
        Invoke => any(RawRequest) -> RawResponse {
            http: POST "/2015-03-31/functions/{FunctionName}/invocations" 200,
            body_max: 6 * 1024 * 1024,
            allow: "lambda:InvokeFunction" on invoked,
            errors: [],
        }
    }
    missing: [
        CreateAlias: POST "/2015-03-31/functions/{FunctionName}/aliases",
        AddPermission: POST "/2015-03-31/functions/{FunctionName}/policy"
    ];
}

impl Nothing {
    fn invoked(&self, context: &Context, request: &RawRequest) -> String {
        context.arn("lambda", request.label("FunctionName").unwrap_or_default())
    }

    async fn any(&self, _: &Context, request: RawRequest) -> Result<RawResponse, Never> {
        Ok(RawResponse::new(StatusCode::OK, request.body))
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl Authorize for Fixed {
    fn authorize(&self, _: &Principal, _: &str, _: &str) -> Result<(), Denied> {
        Ok(())
    }
}

impl Credentials for Fixed {
    fn lookup(&self, _: &str, _: Option<&str>, _: Timestamp) -> Result<Credential, CredentialError> {
        Ok(Credential {
            secret: Some(SECRET.into()),
            principal: Principal::Root { account: AccountId::DEFAULT },
        })
    }
}

/// The headers that an SDK sends.
fn request(payload: &Bytes) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "127.0.0.1:4566"),
        ("accept-encoding", "identity"),
        ("user-agent", "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux md/arch#x86_64 lang/python#3.12.3"),
        ("x-amz-invocation-type", "RequestResponse"),
        ("amz-sdk-invocation-id", "2f6b1c7e-5a41-4a3e-9d0a-0c8a6f0f1d11"),
        ("amz-sdk-request", "attempt=1"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    headers.insert("content-length", payload.len().into());
    let uri = Uri::from_static(URI);
    let signer =
        Signer { access_key: KEY, secret: SECRET, token: None, region: "us-east-1", service: "lambda" };
    signer.sign(&Method::POST, &uri, &mut headers, Payload::Signed(payload), NOW).unwrap();
    let mut request = Request::new(Full::new(payload.clone()));
    *request.method_mut() = Method::POST;
    // As a server reads it.
    *request.uri_mut() = Uri::from_static("/2015-03-31/functions/hello/invocations");
    *request.headers_mut() = headers;
    request
}

fn gateway(verify: bool) -> Gateway {
    let ports = Ports {
        credentials: Arc::new(Fixed),
        authorize: Arc::new(Fixed),
        clock: Arc::new(Fixed),
        entropy: Arc::new(Fixed),
    };
    Gateway::new(ports, wire::Settings::new(verify, "us-east-1".parse().unwrap())).service(Arc::new(Nothing))
}

/// Best nanoseconds per call among batches that take `spend` together.
fn best(spend: Duration, batch: usize, mut run: impl FnMut(usize) -> Duration) -> f64 {
    let end = Instant::now() + spend;
    let mut best = f64::MAX;
    while Instant::now() < end {
        best = best.min(run(batch).as_nanos() as f64 / batch as f64);
    }
    best
}

fn through(gateway: &Gateway, payload: &Bytes, spend: Duration, batch: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let template = request(payload);
    best(spend, batch, |batch| {
        let requests: Vec<_> = std::iter::repeat_n(template.clone(), batch).collect();
        runtime.block_on(async {
            let began = Instant::now();
            for request in requests {
                let response = gateway.handle(request, Connection::default()).await;
                assert_eq!(response.status(), StatusCode::OK);
                black_box(response);
            }
            began.elapsed()
        })
    })
}

/// Hash the payload, hash the canonical request, sign the string to sign, compare.
fn floor(payload: &Bytes, spend: Duration, batch: usize) -> f64 {
    let canonical = "POST\n/2015-03-31/functions/hello/invocations\n\nhost:127.0.0.1:4566\nx-amz-date:20261121T100000Z\nx-amz-invocation-type:RequestResponse\n\nhost;x-amz-date;x-amz-invocation-type\n";
    let head = "AWS4-HMAC-SHA256\n20261121T100000Z\n20261121/us-east-1/lambda/aws4_request\n";
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    best(spend, batch, |batch| {
        let began = Instant::now();
        for _ in 0..batch {
            let mut hex = [0; 64];
            hex::encode_to_slice(Sha256::digest(black_box(payload)), &mut hex).unwrap();
            let canonical = Sha256::new().chain_update(black_box(canonical)).chain_update(hex).finalize();
            hex::encode_to_slice(canonical, &mut hex).unwrap();
            let mut mac = key.clone();
            mac.update(head.as_bytes());
            mac.update(&hex);
            black_box(bool::from(mac.finalize().into_bytes().ct_eq(&[0; 32])));
        }
        began.elapsed()
    })
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let spend = Duration::from_secs_f64(seconds);
    println!("{:>9}  {:>10} {:>10} {:>12}  ns per request", "payload", "floor", "verified", "not verified");
    let (verified, believed) = (gateway(true), gateway(false));
    for (bytes, batch) in [(2, 2_000), (1_024, 2_000), (65_536, 200), (6 * 1024 * 1024, 4)] {
        let payload = Bytes::from(vec![b'x'; bytes]);
        let floor = floor(&payload, spend, batch);
        let full = through(&verified, &payload, spend, batch);
        let plain = through(&believed, &payload, spend, batch);
        println!("{bytes:>9}  {floor:>10.0} {full:>10.0} {plain:>12.0}");
    }
}
