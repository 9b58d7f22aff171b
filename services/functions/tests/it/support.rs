//! Fakes, a world to run the service in, and a client.

use crate::queues::FakeQueues;
use base::{
    AccountId, Answer, Authorize, Clock, CodeSha256, Credential, CredentialError, Credentials, Denied,
    Entropy, Execute, ExecuteError, Executed, FunctionError, FunctionErrorKind, FunctionSpec, Future,
    Invocation, LaunchError, MemoryMib, PackageError, Packages, PrepareError, Pressure, Principal,
    Provisioned, Region, RuntimeCatalog, RuntimeRefused, RuntimeSupport, ThrottleReason, Timer, Timestamp,
    Unpacked, VersionKey,
};
use base64::Engine as _;
use bytes::Bytes;
use functions::{Functions, MIGRATIONS, Settings};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{BlobLocation, Blobs, Database, Durability, Location};
use tokio::{sync::watch, task::JoinSet};
use wire::{Connection, Gateway, Ports};

pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/x";

pub(crate) struct ManualClock(watch::Sender<i64>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.borrow())
    }
}

impl Timer for ManualClock {
    fn sleep_until(&self, at: Timestamp) -> base::Future<'static, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            // The clock of a test that has ended stands still.
            if now.wait_for(|now| *now >= at.0).await.is_err() {
                std::future::pending().await
            }
        })
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::SeqCst);
        let digest = Sha256::digest(next.to_be_bytes());
        buffer.iter_mut().zip(digest.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
}

struct Everyone;

impl Authorize for Everyone {
    fn authorize(&self, _: &Principal, _: &str, _: &str) -> Result<(), Denied> {
        Ok(())
    }
}

impl Credentials for Everyone {
    fn lookup(&self, _: &str, _: Option<&str>, _: Timestamp) -> Result<Credential, CredentialError> {
        Ok(Credential { secret: None, principal: Principal::Root { account: base::AccountId::DEFAULT } })
    }
}

/// Takes any bytes that do not begin with `bad` for a zip.
pub(crate) struct FakePackages {
    pub(crate) unpacked: Mutex<HashSet<CodeSha256>>,
    pub(crate) unpackings: AtomicU64,
    /// Sets of layers that functions had when the service last said so.
    pub(crate) retained: Mutex<Vec<Vec<CodeSha256>>>,
    /// The package whose functions are never ready.
    pub(crate) stuck: Mutex<Option<CodeSha256>>,
    open: watch::Sender<bool>,
}

impl FakePackages {
    /// From now on unpacking waits (false) or goes through (true).
    pub(crate) fn gate(&self, open: bool) {
        self.open.send_replace(open);
    }
}

impl Packages for FakePackages {
    fn unpack(&self, zip: Bytes) -> Future<'_, Result<Unpacked, PackageError>> {
        Box::pin(async move {
            let mut open = self.open.subscribe();
            open.wait_for(|open| *open).await.unwrap();
            self.unpackings.fetch_add(1, Ordering::SeqCst);
            if zip.starts_with(b"bad") {
                return Err(PackageError::NotZip("no end of central directory".into()));
            }
            let code = CodeSha256(Sha256::digest(&zip).into());
            self.unpacked.lock().unwrap().insert(code);
            let size = base::ByteCount(zip.len() as u64);
            Ok(Unpacked { code, zipped: size, unpacked: size })
        })
    }
    fn prepare(&self, code: &CodeSha256, _: &str) -> Future<'_, Result<(), PackageError>> {
        let stuck = *self.stuck.lock().unwrap() == Some(*code);
        Box::pin(async move { if stuck { std::future::pending().await } else { Ok(()) } })
    }
    fn has(&self, code: &CodeSha256) -> bool {
        self.unpacked.lock().unwrap().contains(code)
    }
    fn remove(&self, code: &CodeSha256) -> Future<'_, ()> {
        self.unpacked.lock().unwrap().remove(code);
        Box::pin(async {})
    }
    fn size(&self, code: &CodeSha256) -> Future<'_, Result<base::ByteCount, PackageError>> {
        // Every package is of one size: that of none is known here.
        let _ = code;
        Box::pin(async { Ok(base::ByteCount(1)) })
    }
    fn retain_layers(&self, used: Vec<Vec<CodeSha256>>, _: base::Millis) -> Future<'_, ()> {
        *self.retained.lock().unwrap() = used;
        Box::pin(async {})
    }
}

struct Catalog;

impl RuntimeCatalog for Catalog {
    fn check(&self, runtime: &str, _: &str, _: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        match runtime {
            "python3.12" => Ok(RuntimeSupport { warning: None, actual: "Python 3.12.1".into() }),
            "python3.9" => Ok(RuntimeSupport {
                warning: Some("runs on Python 3.12.1".into()),
                actual: "Python 3.12.1".into(),
            }),
            _ => Err(RuntimeRefused::Unknown {
                runtime: runtime.into(),
                known: "python3.12, python3.9".into(),
            }),
        }
    }
}

/// What a fake environment does with a call.
pub(crate) enum Act {
    Echo,
    Answer(String),
    Fail,
    Throttle,
    NodeFull,
    CodeMissing,
    RuntimeMissing,
    Hang,
}

type Script = Box<dyn FnMut(&FunctionSpec, &Invocation) -> Act + Send>;

/// Remembers its calls and does what its script says.
pub(crate) struct FakeExecute {
    script: Mutex<Script>,
    pub(crate) calls: Mutex<Vec<(Arc<FunctionSpec>, Invocation)>>,
    pub(crate) retired: Mutex<Vec<VersionKey>>,
    /// What each account has reserved, as last told.
    pub(crate) reserved: Mutex<BTreeMap<(String, String), u32>>,
    /// Environments to be ready, by version, as last told.
    pub(crate) provisioned: Mutex<BTreeMap<String, u32>>,
    /// Versions to be initialised ahead, as told.
    pub(crate) prepared: Mutex<Vec<VersionKey>>,
    /// How that fails, if it does.
    pub(crate) unprepared: Mutex<Option<PrepareError>>,
}

impl FakeExecute {
    pub(crate) fn script(&self, script: impl FnMut(&FunctionSpec, &Invocation) -> Act + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(spec, _)| spec.key.name.as_str() == name).count()
    }
}

impl Execute for FakeExecute {
    fn execute(
        &self,
        spec: Arc<FunctionSpec>,
        call: Invocation,
    ) -> Future<'static, Result<Executed, ExecuteError>> {
        let act = (self.script.lock().unwrap())(&spec, &call);
        self.calls.lock().unwrap().push((Arc::clone(&spec), call.clone()));
        let tail = call.tail.then(|| Bytes::from_static(b"REPORT"));
        let answer = |answer| Ok(Executed { answer, tail });
        let outcome = match act {
            Act::Echo => answer(Answer::Buffered(call.payload)),
            Act::Answer(text) => answer(Answer::Buffered(text.into())),
            Act::Fail => answer(Answer::Failed(FunctionError {
                kind: FunctionErrorKind::Unhandled,
                payload: r#"{"errorMessage":"boom","errorType":"Error"}"#.into(),
            })),
            Act::Throttle => Err(ExecuteError::Throttled(
                ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded,
            )),
            Act::NodeFull => Err(ExecuteError::NodeFull { wanted: MemoryMib(128) }),
            Act::CodeMissing => Err(ExecuteError::Launch(Arc::new(LaunchError::CodeMissing(spec.code)))),
            Act::RuntimeMissing => Err(ExecuteError::Launch(Arc::new(LaunchError::RuntimeUnavailable {
                runtime: spec.runtime.clone(),
                reason: "removed".into(),
            }))),
            Act::Hang => return Box::pin(std::future::pending()),
        };
        Box::pin(async move { outcome })
    }
    fn provision(&self, spec: Arc<FunctionSpec>, count: u32) {
        self.provisioned.lock().unwrap().insert(spec.key.version.to_string(), count);
    }
    fn provisioned(&self, key: &VersionKey) -> Provisioned {
        let ready = self.provisioned.lock().unwrap().get(&key.version.to_string()).copied();
        Provisioned { ready: ready.unwrap_or_default(), failure: None }
    }
    fn prepare(&self, spec: Arc<FunctionSpec>) -> Future<'static, Result<(), PrepareError>> {
        self.prepared.lock().unwrap().push(spec.key.clone());
        let outcome = self.unprepared.lock().unwrap().clone().map_or(Ok(()), Err);
        Box::pin(async move { outcome })
    }
    fn retire(&self, key: &VersionKey) {
        self.retired.lock().unwrap().push(key.clone());
    }
    fn reserve(&self, account: AccountId, region: &Region, total: u32) {
        self.reserved.lock().unwrap().insert((account.to_string(), region.to_string()), total);
    }
    fn pressure(&self, _: &VersionKey) -> Pressure {
        Pressure::default()
    }
}

/// A service with its surroundings; survives restarts of the service.
pub(crate) struct World {
    folder: tempfile::TempDir,
    settings: Settings,
    entropy: Arc<Counting>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) execute: Arc<FakeExecute>,
    pub(crate) packages: Arc<FakePackages>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) queues: Arc<FakeQueues>,
    pub(crate) blobs: Blobs,
    gateway: Gateway,
    tasks: JoinSet<()>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> World {
        let mut settings = Settings::default();
        change(&mut settings);
        World::on(tempfile::tempdir().unwrap(), settings)
    }

    /// On what a folder has already.
    pub(crate) fn on(folder: tempfile::TempDir, settings: Settings) -> World {
        let clock = Arc::new(ManualClock(watch::Sender::new(1_763_721_060_000)));
        let execute = Arc::new(FakeExecute {
            script: Mutex::new(Box::new(|_, _| Act::Echo)),
            calls: Mutex::default(),
            retired: Mutex::default(),
            reserved: Mutex::default(),
            provisioned: Mutex::default(),
            prepared: Mutex::default(),
            unprepared: Mutex::default(),
        });
        let packages = Arc::new(FakePackages {
            unpacked: Mutex::default(),
            unpackings: AtomicU64::new(0),
            retained: Mutex::default(),
            stuck: Mutex::default(),
            open: watch::Sender::new(true),
        });
        let entropy = Arc::new(Counting(AtomicU64::new(0)));
        let queues = FakeQueues::new(Arc::clone(&clock));
        let (functions, gateway, blobs) = assemble(&folder, &settings, &entropy, &clock, &execute, &packages);
        functions.poll_queues(Arc::clone(&queues) as _);
        World {
            folder,
            settings,
            entropy,
            clock,
            execute,
            packages,
            functions,
            queues,
            blobs,
            gateway,
            tasks: JoinSet::new(),
        }
    }

    /// Ends the service as `kill -9` would, as far as that is possible inside one process, and starts it anew.
    pub(crate) async fn restart(&mut self) {
        self.tasks.shutdown().await;
        let (functions, gateway, blobs) =
            assemble(&self.folder, &self.settings, &self.entropy, &self.clock, &self.execute, &self.packages);
        (self.functions, self.gateway, self.blobs) = (functions, gateway, blobs);
        self.functions.poll_queues(Arc::clone(&self.queues) as _);
    }

    /// The name of the node from its next start on.
    pub(crate) fn rename(&mut self, node: &str) {
        self.settings.node = node.to_owned();
    }

    pub(crate) fn run_events(&mut self) {
        self.tasks.spawn(Arc::clone(&self.functions).run_events(std::future::pending()));
    }

    pub(crate) fn run_mappings(&mut self) {
        self.tasks.spawn(Arc::clone(&self.functions).run_mappings(std::future::pending()));
    }

    pub(crate) fn run_upkeep(&mut self) {
        self.tasks.spawn(Arc::clone(&self.functions).run_upkeep(std::future::pending()));
    }

    /// Moves the clock and has the tasks look at it.
    pub(crate) fn pass(&self, ms: i64) {
        self.clock.0.send_modify(|now| *now += ms);
        self.functions.wake();
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, &[], body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost:4566");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = self.gateway.handle(request, Connection::default()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn create(&self, name: &str) -> Reply {
        self.create_with(name, json!({})).await
    }

    pub(crate) async fn create_with(&self, name: &str, more: Value) -> Reply {
        let mut body = json!({
            "FunctionName": name, "Role": ROLE, "Runtime": "python3.12", "Handler": "app.handler",
            "Code": { "ZipFile": zip("one") },
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call("POST", "/2015-03-31/functions", body).await
    }

    pub(crate) async fn get(&self, name: &str) -> Reply {
        self.call("GET", &format!("/2015-03-31/functions/{name}"), Value::Null).await
    }

    pub(crate) async fn configuration(&self, name: &str) -> Reply {
        self.call("GET", &format!("/2015-03-31/functions/{name}/configuration"), Value::Null).await
    }

    pub(crate) async fn update(&self, name: &str, body: Value) -> Reply {
        self.call("PUT", &format!("/2015-03-31/functions/{name}/configuration"), body).await
    }

    pub(crate) async fn update_code(&self, name: &str, body: Value) -> Reply {
        self.call("PUT", &format!("/2015-03-31/functions/{name}/code"), body).await
    }

    pub(crate) async fn invoke(&self, name: &str, headers: &[(&str, &str)], payload: &str) -> Reply {
        self.send("POST", &format!("/2015-03-31/functions/{name}/invocations"), headers, payload.into()).await
    }

    pub(crate) async fn send_event(&self, name: &str, payload: &str) -> String {
        let reply = self.invoke(name, &[("x-amz-invocation-type", "Event")], payload).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.header("x-amzn-requestid").unwrap().to_owned()
    }
}

fn assemble(
    folder: &tempfile::TempDir,
    settings: &Settings,
    entropy: &Arc<Counting>,
    clock: &Arc<ManualClock>,
    execute: &Arc<FakeExecute>,
    packages: &Arc<FakePackages>,
) -> (Arc<Functions>, Gateway, Blobs) {
    let db = Database::open(location(folder), MIGRATIONS).unwrap();
    let blobs = Blobs::open(BlobLocation::Disk { folder: folder.path().join("blobs") }).unwrap();
    let functions = Functions::new(
        db,
        blobs.clone(),
        Arc::clone(execute) as _,
        Arc::clone(packages) as _,
        Arc::new(Catalog),
        Arc::clone(clock) as _,
        Arc::clone(entropy) as _,
        settings.clone(),
    );
    let ports = Ports {
        credentials: Arc::new(Everyone),
        authorize: Arc::new(Everyone),
        clock: Arc::clone(clock) as _,
        entropy: Arc::clone(entropy) as _,
    };
    let download = Arc::clone(&functions);
    let gateway = Gateway::new(ports, wire::Settings::new(false, "us-east-1".parse().unwrap()))
        .service(Arc::clone(&functions))
        .mount(functions::DOWNLOAD_PATH, move |request| Arc::clone(&download).download(request));
    (functions, gateway, blobs)
}

/// A database of the world's own: a file, or, where `NEAP_TEST_POSTGRES` says how to reach a server, a schema there.
pub(crate) fn location(folder: &tempfile::TempDir) -> Location {
    match std::env::var("NEAP_TEST_POSTGRES") {
        Ok(url) => {
            let digest = Sha256::digest(folder.path().as_os_str().as_encoded_bytes());
            let schema =
                digest.iter().take(8).fold("functions_".to_owned(), |name, byte| format!("{name}{byte:02x}"));
            Location::Postgres { url, schema }
        }
        Err(_) => {
            let path = folder.path().join("functions.sqlite");
            Location::Sqlite { path, durability: Durability::Relaxed }
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.json()
    }

    /// Code and text of an error with its status.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, String, String) {
        assert!(self.status >= 400, "{self:?}");
        let body = self.json();
        let text = body.get("message").or(body.get("Message")).and_then(Value::as_str).unwrap_or_default();
        (self.status, self.header("x-amzn-errortype").unwrap_or_default().to_owned(), text.to_owned())
    }

    /// Asserts an error by status, code and text.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, text: &str) {
        assert_eq!(self.error(), (status, code.to_owned(), text.to_owned()));
    }
}

/// Base64 of what the fake takes for a package.
pub(crate) fn zip(content: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(content)
}

/// Hash of that package.
pub(crate) fn hash(content: &str) -> CodeSha256 {
    CodeSha256(Sha256::digest(content).into())
}

/// Waits until `holds`, at most 20 s.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "did not come true: {what}");
}
