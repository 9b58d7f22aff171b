//! What the tests of environments share: a node that starts real sandboxes, ports that remember, packages from sources.
#![allow(dead_code)] // each test program uses a part

use base::{
    AccountId, After, Answer, BadArn, Clock, CodeSha256, Entropy, Environment, Executed, FunctionSpec,
    Initialization, Invocation, InvocationRecord, Launch, LogEvent, LogFormat, LogSettings, LogSink,
    MemoryMib, Meter, Micros, Packages, Region, Release, RequestId, Seconds, SessionCredentials, Sessions,
    Timestamp, Version, VersionKey,
};
use bytes::Bytes;
use runtimes::{Platform, Ports, Runtimes, Settings};
use std::{
    io::{Cursor, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Ends a test that this host cannot run, saying so.
#[macro_export]
macro_rules! need_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
    };
}

/// Everything that environments tell the outside.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) log: Mutex<Vec<(String, String, LogEvent)>>,
    pub(crate) records: Mutex<Vec<InvocationRecord>>,
}

impl LogSink for World {
    fn append(&self, _: AccountId, _: &Region, group: &str, stream: &str, events: Vec<LogEvent>) {
        let mut log = self.log.lock().unwrap();
        log.extend(events.into_iter().map(|event| (group.to_owned(), stream.to_owned(), event)));
    }
}

impl Meter for World {
    fn record(&self, record: InvocationRecord) {
        self.records.lock().unwrap().push(record);
    }
    fn throttled(&self, _: &VersionKey, _: &str) {}
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).unwrap();
    }
}

impl Sessions for World {
    fn issue(
        &self,
        role: &str,
        session: &str,
        seconds: u32,
    ) -> base::Future<'_, Result<SessionCredentials, BadArn>> {
        let token = format!("{role}/{session}");
        let expires = self.now().plus_ms(i64::from(seconds) * 1000);
        Box::pin(async move {
            Ok(SessionCredentials { access_key: "ASIATEST".into(), secret: "secret".into(), token, expires })
        })
    }
}

/// Answers each connection with the function's name.
impl Platform for World {
    fn serve(&self, connection: tokio::net::TcpStream, spec: Arc<FunctionSpec>) -> base::Future<'static, ()> {
        answer_with_name(connection, spec)
    }

    fn serve_pipe(
        &self,
        connection: tokio::io::DuplexStream,
        spec: Arc<FunctionSpec>,
    ) -> base::Future<'static, ()> {
        answer_with_name(connection, spec)
    }
}

fn answer_with_name(
    mut connection: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    spec: Arc<FunctionSpec>,
) -> base::Future<'static, ()> {
    Box::pin(async move {
        let mut buffer = [0; 1024];
        let _ = connection.read(&mut buffer).await;
        let name = spec.key.name.as_str();
        let reply =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}", name.len());
        let _ = connection.write_all(reply.as_bytes()).await;
    })
}

pub(crate) struct Node {
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) world: Arc<World>,
    sandboxes: sandbox::Sandboxes,
    launched: Mutex<Vec<std::sync::Weak<dyn Environment>>>,
    folder: tempfile::TempDir,
}

impl Node {
    pub(crate) fn start() -> Node {
        Node::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Node {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let instance = format!("run{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Each test process has its own uids, so that tests that run at once cannot meet.
        let first = 1_000_000_000 + std::process::id() * 64;
        let sandboxes = sandbox::Sandboxes::start(sandbox::Settings {
            uids: first..first + 64,
            prepared: 1,
            daemon_cpu_weight: None,
            ..sandbox::Settings::new(instance)
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        // Roots and libraries take time to make: kept from run to run, and shared by the tests.
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("runtimes");
        let mut settings = Settings::new(folder.path().join("code"), kept);
        change(&mut settings);
        let world = Arc::new(World::default());
        let ports = Ports {
            logs: world.clone(),
            meter: world.clone(),
            sessions: world.clone(),
            clock: world.clone(),
            entropy: world.clone(),
            platform: world.clone(),
        };
        let runtimes = Runtimes::new(settings, sandboxes.clone(), ports).unwrap();
        Node { runtimes, world, sandboxes, launched: Mutex::default(), folder }
    }

    /// A function of these files. `shape` changes its configuration.
    pub(crate) async fn function(
        &self,
        runtime: &str,
        files: &[(&str, &[u8])],
        shape: impl FnOnce(&mut FunctionSpec),
    ) -> Function<'_> {
        let code = self.runtimes.unpack(package(files)).await.unwrap().code;
        let mut spec = spec(runtime, code);
        shape(&mut spec);
        Function { node: self, spec: Arc::new(spec) }
    }

    pub(crate) async fn python(&self, source: &str) -> Function<'_> {
        self.function("python3.11", &[("app.py", source.as_bytes())], |_| {}).await
    }

    pub(crate) async fn javascript(&self, source: &str) -> Function<'_> {
        self.function("nodejs20.x", &[("app.js", source.as_bytes())], |_| {}).await
    }

    /// Where a package is.
    pub(crate) fn code(&self, code: &CodeSha256) -> PathBuf {
        self.folder.path().join("code").join(code.to_string())
    }

    /// Messages of the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.world.log.lock().unwrap().iter().map(|(_, _, event)| event.message.clone()).collect()
    }

    /// Ends the environments that are left, then everything: in this order, since an environment freezes itself when idle
    /// and what is frozen while the node ends does not die.
    pub(crate) async fn stop(self) {
        let launched = std::mem::take(&mut *self.launched.lock().unwrap());
        for environment in launched.iter().filter_map(std::sync::Weak::upgrade) {
            environment.stop().await;
        }
        self.sandboxes.shutdown().await;
    }
}

pub(crate) struct Function<'a> {
    node: &'a Node,
    pub(crate) spec: Arc<FunctionSpec>,
}

impl Function<'_> {
    pub(crate) async fn launch(&self) -> Running {
        let launched =
            self.node.runtimes.launch(self.spec.clone(), Initialization::OnDemand, Micros(0)).await;
        self.running(launched.unwrap())
    }

    /// One that was started otherwise.
    pub(crate) fn running(&self, environment: Arc<dyn Environment>) -> Running {
        self.node.launched.lock().unwrap().push(Arc::downgrade(&environment));
        Running { environment, arn: format!("arn:function:{}", self.spec.key.name) }
    }
}

pub(crate) struct Running {
    pub(crate) environment: Arc<dyn Environment>,
    arn: String,
}

/// What came of one invocation.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) id: RequestId,
    pub(crate) executed: Executed,
    pub(crate) after: After,
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(&self) -> serde_json::Value {
        match &self.executed.answer {
            Answer::Buffered(body) => serde_json::from_slice(body).unwrap(),
            Answer::Failed(error) => panic!("{}", String::from_utf8_lossy(&error.payload)),
            Answer::Streamed { .. } => panic!("a stream"),
        }
    }

    #[track_caller]
    pub(crate) fn error(&self) -> serde_json::Value {
        match &self.executed.answer {
            Answer::Failed(error) => serde_json::from_slice(&error.payload).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn tail(&self) -> String {
        String::from_utf8(self.executed.tail.clone().unwrap_or_default().to_vec()).unwrap()
    }
}

impl Running {
    /// Invokes with a tail and waits until what becomes of the environment is known.
    pub(crate) async fn call(&self, payload: &str) -> Done {
        let (id, executed, after) = self.begin(payload).await;
        Done { id, executed, after: after.await.unwrap() }
    }

    /// Invokes; the last is told when the environment is released.
    pub(crate) async fn begin(
        &self,
        payload: &str,
    ) -> (RequestId, Executed, tokio::sync::oneshot::Receiver<After>) {
        let (told, after) = tokio::sync::oneshot::channel();
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        let request_id = RequestId::from_random(random);
        let call = Invocation {
            request_id,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            invoked_arn: self.arn.as_str().into(),
            body: base::ArrivingBody::default(),
            client_context: Some(r#"{"custom":{"k":"v"}}"#.into()),
            trace: None,
            span: None,
            tail: true,
            streamed: false,
            waited: Micros(0),
            cold: false,
            provisioned: false,
        };
        let release = Release::new(move |after| {
            let _ = told.send(after);
        });
        let executed = self.environment.clone().invoke(call, release).await;
        (request_id, executed, after)
    }
}

pub(crate) fn spec(runtime: &str, code: CodeSha256) -> FunctionSpec {
    FunctionSpec {
        key: VersionKey {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
            version: Version::Latest,
            revision: RequestId::from_random([0; 16]),
            tenant: None,
        },
        runtime: runtime.into(),
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }.into(),
        handler: "app.handler".into(),
        code,
        layers: Vec::new(),
        memory: MemoryMib(128),
        timeout: Seconds(10),
        scratch: MemoryMib(512),
        variables: Default::default(),
        role: "arn:aws:iam::000000000000:role/r".into(),
        logs: LogSettings { group: "/aws/lambda/f".into(), format: LogFormat::Text },
        reserved_concurrency: None,
        idle_keep: None,
        snap_start: false,
    }
}

/// A zip of files; those named `bootstrap` or ending in `.sh` can be executed.
pub(crate) fn package(files: &[(&str, &[u8])]) -> Bytes {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let executable = *name == "bootstrap" || name.ends_with(".sh");
        let mode = if executable { 0o755 } else { 0o644 };
        writer.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(mode)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner().into()
}
