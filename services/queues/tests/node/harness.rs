//! A node with queues only, on SQLite; on the PostgreSQL server that `NEAP_TEST_POSTGRES` names, if it is set. It can be ended at
//! any moment and opened again, as after kill -9.

use base::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use queues::{Queues, Settings};
use serde_json::{Value, json};
use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{Database, Durability, Location};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};
use wire::Gateway;

/// 2026-11-21T00:00:00Z.
const START: i64 = 1_795_219_200_000;

/// What is awaited comes within this, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that only the test moves.
#[derive(Clone)]
pub(crate) struct Manual(watch::Sender<i64>);

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.borrow())
    }
}

impl Timer for Manual {
    fn sleep_until(&self, at: Timestamp) -> Future<'static, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            if now.wait_for(|now| *now >= at.0).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

struct Counter(AtomicU64);
impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let drawn = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            chunk.copy_from_slice(&drawn[8 - chunk.len()..]);
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

/// What a node has between two crashes.
struct Life {
    runtime: Runtime,
    gateway: Arc<Gateway>,
}

pub(crate) struct Node {
    folder: PathBuf,
    clock: Manual,
    life: Option<Life>,
}

impl Node {
    pub(crate) fn open(folder: &Path) -> Node {
        let mut node =
            Node { folder: folder.to_owned(), clock: Manual(watch::Sender::new(START)), life: None };
        node.begin();
        node
    }

    fn begin(&mut self) {
        let location = match std::env::var("NEAP_TEST_POSTGRES") {
            Ok(url) => {
                let name = self.folder.file_name().unwrap().as_encoded_bytes();
                let schema = name.iter().fold("q".to_owned(), |schema, byte| format!("{schema}{byte:02x}"));
                Location::Postgres { url, schema }
            }
            Err(_) => {
                Location::Sqlite { path: self.folder.join("queues.sqlite"), durability: Durability::Relaxed }
            }
        };
        let db = Database::open(location, queues::MIGRATIONS).unwrap();
        // No two lives of a node draw the same.
        static LIVES: AtomicU64 = AtomicU64::new(1);
        let life = LIVES.fetch_add(1, Ordering::Relaxed) << 32;
        let entropy = Arc::new(Counter(AtomicU64::new(life)));
        let clock = Arc::new(self.clock.clone());
        let queues = Queues::new(db, clock.clone(), entropy.clone(), Arc::new(Anybody), Settings::default());
        let ports =
            wire::Ports { credentials: Arc::new(Anybody), authorize: Arc::new(Anybody), clock, entropy };
        let region = "us-east-1".parse().unwrap();
        let gateway = Gateway::new(ports, wire::Settings::new(false, region)).service(queues.clone());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(queues.run(std::future::pending()));
        self.life = Some(Life { runtime, gateway: Arc::new(gateway) });
    }

    /// Ends the node wherever its work is, and opens it again. What it had begun to write is written wholly or not at all.
    pub(crate) fn crash(&mut self) {
        let Life { runtime, gateway } = self.life.take().unwrap();
        // Ends every task of the node where it waits.
        drop(runtime);
        // The last owner of the database waits until its files are closed.
        assert_eq!(Arc::strong_count(&gateway), 1);
        drop(gateway);
        self.begin();
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    /// Lets the node's background work go on for a moment.
    pub(crate) fn turn(&self) {
        self.life().runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().0
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.clock.0.send_modify(|now| *now += ms);
    }

    /// An operation; `Err` is the error's shape.
    pub(crate) fn call(&self, operation: &str, input: Value) -> Result<Value, String> {
        let Life { runtime, gateway } = self.life();
        runtime.block_on(request(Arc::clone(gateway), operation, input))
    }

    /// Begins an operation and crashes after `turns` turns of the runtime; its answer, if there was one before.
    pub(crate) fn cut(
        &mut self,
        operation: &'static str,
        input: Value,
        turns: u32,
    ) -> Option<Result<Value, String>> {
        let Life { runtime, gateway } = self.life();
        let call = runtime.spawn(request(Arc::clone(gateway), operation, input));
        let answer = runtime.block_on(async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            if call.is_finished() { call.await.ok() } else { None }
        });
        self.crash();
        answer
    }

    pub(crate) fn create(&self, name: &str, attributes: Value) -> String {
        let made = self.call("CreateQueue", json!({"QueueName": name, "Attributes": attributes}));
        made.unwrap()["QueueUrl"].as_str().unwrap().to_owned()
    }

    pub(crate) fn depth(&self, url: &str) -> Depth {
        let told = self.call("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["All"]}));
        let told = told.unwrap();
        let number = |name: &str| told["Attributes"][name].as_str().unwrap().parse().unwrap();
        Depth {
            visible: number("ApproximateNumberOfMessages"),
            in_flight: number("ApproximateNumberOfMessagesNotVisible"),
            delayed: number("ApproximateNumberOfMessagesDelayed"),
        }
    }

    /// Awaits that a queue has so many messages.
    pub(crate) fn has(&self, url: &str, messages: usize) -> Result<(), String> {
        let began = std::time::Instant::now();
        loop {
            let depth = self.depth(url);
            if depth.total() == messages {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{depth:?} does not become {messages}"));
            }
            self.turn();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) visible: usize,
    pub(crate) in_flight: usize,
    pub(crate) delayed: usize,
}

impl Depth {
    pub(crate) fn total(self) -> usize {
        self.visible + self.in_flight + self.delayed
    }
}

async fn request(gateway: Arc<Gateway>, operation: impl Display, input: Value) -> Result<Value, String> {
    let request = http::Request::post("/")
        .header("host", "localhost")
        .header("x-amz-target", format!("AmazonSQS.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .body(Full::new(Bytes::from(input.to_string())));
    let response = gateway.handle(request.unwrap(), wire::Connection::default()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let value: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    match status {
        200 => Ok(value),
        _ => Err(value["__type"].as_str().unwrap_or_default().to_owned()),
    }
}
