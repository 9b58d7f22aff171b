//! A node with telemetry only, on SQLite; on the PostgreSQL server that `NEAP_TEST_POSTGRES` names, if it is set.

use base::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use store::{Database, Durability, Location, Migration};
use telemetry::{Settings, Telemetry};
use wire::Gateway;

/// 2026-11-21T00:00:00Z.
pub(crate) const START: i64 = 1_795_219_200_000;
pub(crate) const DAY: i64 = 86_400_000;

#[derive(Clone)]
pub(crate) struct Manual(pub(crate) Arc<AtomicI64>);
impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

struct Counter(AtomicU64);
impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let drawn = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = (drawn ^ drawn >> 16).to_le_bytes()[0];
        }
    }
}

struct Anybody;
impl Credentials for Anybody {
    fn lookup(&self, _: &str, _: Option<&str>, _: Timestamp) -> Result<Credential, CredentialError> {
        Ok(Credential { secret: None, principal: Principal::Root { account: AccountId::DEFAULT } })
    }
}
impl Authorize for Anybody {
    fn authorize(&self, _: &Principal, _: &str, _: &str) -> Result<(), Denied> {
        Ok(())
    }
}

pub(crate) struct Node {
    pub(crate) telemetry: Telemetry,
    pub(crate) clock: Manual,
    pub(crate) db: Database,
    gateway: Gateway,
}

pub(crate) fn region() -> Region {
    "us-east-1".parse().unwrap()
}

/// A schema for each folder: its name in hexadecimal digits.
fn schema(folder: &Path) -> String {
    let name = folder.file_name().unwrap().as_encoded_bytes();
    name.iter().fold(String::from("t"), |schema, byte| format!("{schema}{byte:02x}"))
}

impl Node {
    pub(crate) fn open(folder: &Path) -> Node {
        Node::with(folder, Settings::default())
    }

    pub(crate) fn with(folder: &Path, settings: Settings) -> Node {
        Node::on(folder, settings, telemetry::MIGRATIONS)
    }

    pub(crate) fn on(folder: &Path, settings: Settings, migrations: &'static [Migration]) -> Node {
        let location = match std::env::var("NEAP_TEST_POSTGRES") {
            Ok(url) => Location::Postgres { url, schema: schema(folder) },
            Err(_) => {
                Location::Sqlite { path: folder.join("telemetry.sqlite"), durability: Durability::Relaxed }
            }
        };
        let db = Database::open(location, migrations).unwrap();
        let clock = Manual(Arc::new(AtomicI64::new(START)));
        // No two lives of a node draw the same.
        static LIVES: AtomicU64 = AtomicU64::new(0);
        let life = LIVES.fetch_add(1, Ordering::Relaxed) << 16;
        let entropy = Arc::new(Counter(AtomicU64::new(life + u64::from(std::process::id()))));
        let telemetry = Telemetry::new(db.clone(), Arc::new(clock.clone()), entropy.clone(), settings);
        let ports = wire::Ports {
            credentials: Arc::new(Anybody),
            authorize: Arc::new(Anybody),
            clock: Arc::new(clock.clone()),
            entropy,
        };
        let gateway = Gateway::new(ports, wire::Settings::new(false, region()));
        let gateway = gateway
            .service(telemetry.logs())
            .service(telemetry.usage())
            .service(telemetry.monitoring())
            .service(telemetry.tracing());
        Node { telemetry, clock, db, gateway }
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    async fn send(&self, request: http::Request<Full<Bytes>>) -> (u16, Value) {
        let response = self.gateway.handle(request, wire::Connection::default()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        (status, value)
    }

    /// An operation of CloudWatch Logs; `Err` is the error's code.
    pub(crate) async fn logs(&self, operation: &str, input: Value) -> Result<Value, String> {
        let request = http::Request::post("/")
            .header("x-amz-target", format!("Logs_20140328.{operation}"))
            .header("content-type", "application/x-amz-json-1.1")
            .body(Full::new(Bytes::from(input.to_string())));
        let (status, body) = self.send(request.unwrap()).await;
        if status == 200 { Ok(body) } else { Err(body["__type"].as_str().unwrap_or_default().to_owned()) }
    }

    /// An operation of CloudWatch; `Err` is the error's code and text.
    pub(crate) async fn metrics(&self, operation: &str, input: Value) -> Result<Value, String> {
        let request = http::Request::post("/")
            .header("x-amz-target", format!("GraniteServiceVersion20100801.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(Bytes::from(input.to_string())));
        let (status, body) = self.send(request.unwrap()).await;
        let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
        if status == 200 { Ok(body) } else { Err(format!("{} {}", text("__type"), text("message"))) }
    }

    pub(crate) async fn put(&self, path: &str, input: &Value) -> (u16, Value) {
        let request = http::Request::put(path)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(input.to_string())));
        self.send(request.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(http::Request::delete(path).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, input: Value) -> (u16, Value) {
        self.send(http::Request::post(path).body(Full::new(Bytes::from(input.to_string()))).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(http::Request::get(path).body(Full::default()).unwrap()).await
    }

    /// Logs as a function does.
    pub(crate) fn log(&self, group: &str, stream: &str, lines: &[(i64, &str)]) {
        let events =
            lines.iter().map(|(at, message)| LogEvent { at: Timestamp(*at), message: (*message).to_owned() });
        self.telemetry.append(AccountId::DEFAULT, &region(), group, stream, events.collect());
    }
}

/// The messages of a page.
pub(crate) fn messages(page: &Value) -> Vec<String> {
    page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}
