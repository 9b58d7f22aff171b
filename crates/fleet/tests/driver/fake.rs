//! A launcher whose environments echo their event.

use base::{
    AccountId, After, Answer, CodeSha256, Environment, Executed, Exit, FunctionSpec, Future, Initialization,
    Invocation, InvocationRecord, Launch, LaunchError, LogFormat, LogSettings, MemoryMib, Meter, Micros,
    Phases, ProvisionedCall, Release, RequestId, Seconds, Version, VersionKey,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// How the world behaves.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) launch_ms: u64,
    pub(crate) run_ms: u64,
    pub(crate) reusable: bool,
    /// So many starts fail at first.
    pub(crate) launch_failures: usize,
    pub(crate) launch_panics: bool,
    pub(crate) missing_code: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            launch_ms: 1,
            run_ms: 0,
            reusable: true,
            launch_failures: 0,
            launch_panics: false,
            missing_code: false,
        }
    }
}

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) cold: bool,
    pub(crate) waited: Micros,
    pub(crate) provisioned: bool,
}

pub(crate) struct World {
    /// For the environments, which report to it.
    me: Weak<World>,
    script: Script,
    launched: AtomicUsize,
    attempts: AtomicUsize,
    stopped: AtomicUsize,
    finished: AtomicUsize,
    throttled: AtomicUsize,
    running: AtomicUsize,
    most_at_once: AtomicUsize,
    calls: Mutex<Vec<Called>>,
    how: Mutex<Vec<Initialization>>,
    metered: Mutex<Vec<(bool, u32, u32)>>,
    crash: watch::Sender<Option<Exit>>,
    changed: Notify,
}

struct Echo {
    world: Arc<World>,
    at_once: AtomicUsize,
    queued: Micros,
}

pub(crate) fn spec(name: &str) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        key: VersionKey {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
            version: Version::Latest,
            revision: RequestId::from_random([1; 16]),
            tenant: None,
        },
        runtime: "python3.12".to_owned(),
        architecture: "x86_64".into(),
        handler: "app.handler".to_owned(),
        code: CodeSha256([0; 32]),
        layers: Vec::new(),
        memory: MemoryMib(128),
        timeout: Seconds(3),
        scratch: MemoryMib(512),
        variables: BTreeMap::new(),
        role: "arn:aws:iam::000000000000:role/r".to_owned(),
        logs: LogSettings { group: "/aws/lambda/f".to_owned(), format: LogFormat::Text },
        reserved_concurrency: None,
        idle_keep: None,
        snap_start: false,
    })
}

pub(crate) fn call(payload: &'static [u8]) -> Invocation {
    Invocation {
        request_id: RequestId::from_random([2; 16]),
        payload: payload.into(),
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        body: base::ArrivingBody::default(),
        client_context: None,
        trace: None,
        span: None,
        tail: false,
        streamed: false,
        waited: Micros(0),
        cold: false,
        provisioned: false,
    }
}

impl World {
    pub(crate) fn new(script: Script) -> Arc<World> {
        Arc::new_cyclic(|me| World {
            me: me.clone(),
            script,
            launched: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            stopped: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            throttled: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            calls: Mutex::new(Vec::new()),
            how: Mutex::new(Vec::new()),
            metered: Mutex::default(),
            crash: watch::Sender::new(None),
            changed: Notify::new(),
        })
    }

    pub(crate) fn launched(&self) -> usize {
        self.launched.load(SeqCst)
    }

    pub(crate) fn stopped(&self) -> usize {
        self.stopped.load(SeqCst)
    }

    pub(crate) fn finished(&self) -> usize {
        self.finished.load(SeqCst)
    }

    pub(crate) fn throttled(&self) -> usize {
        self.throttled.load(SeqCst)
    }

    /// Invocations metered as running now.
    pub(crate) fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    pub(crate) fn most_at_once_in_one(&self) -> usize {
        self.most_at_once.load(SeqCst)
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.lock().unwrap().clone()
    }

    /// Why environments were started.
    pub(crate) fn how(&self) -> Vec<Initialization> {
        self.how.lock().unwrap().clone()
    }

    /// How each call of a version with provisioned concurrency was metered: whether it ran on it, and how much of it was in use.
    pub(crate) fn metered(&self) -> Vec<(bool, u32, u32)> {
        std::mem::take(&mut *self.metered.lock().unwrap())
    }

    /// Ends every environment as if it had ended by itself.
    pub(crate) fn crash_all(&self, exit: Exit) {
        self.crash.send_replace(Some(exit));
    }

    pub(crate) async fn until(&self, holds: impl Fn(&World) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if holds(self) {
                break;
            }
            changed.await;
        }
        // What the fleet does right after is done when nothing else can run.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.crash.send_replace(None);
    }
}

impl Launch for World {
    fn launch(
        &self,
        spec: Arc<FunctionSpec>,
        how: Initialization,
        queued: Micros,
    ) -> Future<'_, Result<Arc<dyn Environment>, LaunchError>> {
        self.how.lock().unwrap().push(how);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(self.script.launch_ms)).await;
            assert!(!self.script.launch_panics, "as scripted");
            if self.script.missing_code {
                return Err(LaunchError::CodeMissing(spec.code));
            }
            if self.attempts.fetch_add(1, SeqCst) < self.script.launch_failures {
                return Err(LaunchError::Sandbox("as scripted".into()));
            }
            self.launched.fetch_add(1, SeqCst);
            let world = self.me.upgrade().expect("it is running");
            Ok(Arc::new(Echo { world, at_once: AtomicUsize::new(0), queued }) as Arc<dyn Environment>)
        })
    }
}

impl Environment for Echo {
    fn invoke(self: Arc<Self>, call: Invocation, release: Release) -> Future<'static, Executed> {
        // The invocation runs on when its caller leaves.
        let running = tokio::spawn(async move {
            let at_once = self.at_once.fetch_add(1, SeqCst) + 1;
            self.world.most_at_once.fetch_max(at_once, SeqCst);
            self.world.calls.lock().unwrap().push(Called {
                cold: call.cold,
                waited: call.waited,
                provisioned: call.provisioned,
            });
            tokio::time::sleep(Duration::from_millis(self.world.script.run_ms)).await;
            self.at_once.fetch_sub(1, SeqCst);
            self.world.finished.fetch_add(1, SeqCst);
            let reusable = self.world.script.reusable;
            release.tell(if reusable { After::Reusable } else { After::Gone(Exit::Crashed) });
            Executed { answer: Answer::Buffered(call.payload), tail: None }
        });
        Box::pin(async move { running.await.expect("the fake does not panic") })
    }

    fn phases(&self) -> Phases {
        Phases { queue: self.queued, ..Phases::default() }
    }

    fn memory_bytes(&self) -> u64 {
        1_000_000
    }

    fn ended(&self) -> Future<'static, Exit> {
        let mut crash = self.world.crash.subscribe();
        Box::pin(async move {
            let exit = crash.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
            match exit {
                Some(exit) => exit,
                None => std::future::pending().await,
            }
        })
    }

    fn stop(self: Arc<Self>) -> Future<'static, ()> {
        Box::pin(async move {
            self.world.stopped.fetch_add(1, SeqCst);
            self.world.changed.notify_waiters();
        })
    }
}

impl Meter for World {
    fn record(&self, _: InvocationRecord) {}

    fn throttled(&self, _: &VersionKey, _: &str) {
        self.throttled.fetch_add(1, SeqCst);
    }

    fn provisioned(&self, call: ProvisionedCall<'_>) {
        self.metered.lock().unwrap().push((call.within, call.running, call.provisioned));
    }

    fn began(&self, _: &VersionKey, _: bool) {
        self.running.fetch_add(1, SeqCst);
    }

    fn ended(&self, _: &VersionKey, _: bool) {
        self.running.fetch_sub(1, SeqCst);
    }
}
