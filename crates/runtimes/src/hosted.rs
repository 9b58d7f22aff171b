//! What an environment owes the platform when its code runs inside the daemon: the same log, record, variables and words for
//! failures as an environment with a process of its own.

use crate::{
    Ports, Settings,
    conclusion::{Conclusion, First, Moment, charged, credentials_end, trace_of},
    failure::{Failure, RESPONSE_MAX},
    journal::{self, Entry, InitFailed, Journal},
    link::Report,
    output::Splitter,
    variables::{self, Start},
};
use base::{
    Exit, FunctionError, FunctionSpec, Initialization, Invocation, LaunchError, Micros, Phases, Timestamp,
};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long what an invocation wrote may wait for company on its way to the log.
const FLUSH_AFTER: Duration = Duration::from_millis(30);
/// Variables that speak of a file system, of processes or of sockets, which hosted code does not have.
const OF_PROCESSES: [&str; 9] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
];

/// An environment whose code runs inside the daemon.
pub struct Hosted {
    spec: Arc<FunctionSpec>,
    how: Initialization,
    ports: Ports,
    settings: Arc<Settings>,
    journal: Journal,
    variables: Vec<(String, String)>,
    started: Instant,
    started_at: Timestamp,
    /// Whether somebody is about to flush the journal.
    armed: AtomicBool,
}

/// An invocation under way.
#[derive(Clone, Debug)]
pub struct Begun {
    began: Moment,
    /// When it must be over.
    pub deadline: Instant,
    /// The same for the function.
    pub deadline_at: Timestamp,
    /// Trace header for the function.
    pub trace: String,
    first: Option<First>,
}

/// What an invocation in the daemon failed of.
#[derive(Clone, Debug)]
pub enum HostedError {
    /// It took longer than the function's timeout.
    TimedOut,
    /// It wanted more memory than the function has.
    OutOfMemory,
    /// It ended with this status.
    Exited(u8),
    /// It trapped: how.
    Trapped(String),
    /// The function answered with a failure: its type, and the JSON for the caller.
    Reported {
        /// Error type.
        kind: String,
        /// `{"errorType": …, "errorMessage": …}`.
        payload: Bytes,
    },
    /// The answer exceeds what a buffered one may have.
    TooLarge,
    /// A streamed answer exceeds [`base::limits::PAYLOAD_STREAM_MAX`].
    StreamTooLarge,
    /// It cannot be run at all.
    Unrunnable(String),
}

impl HostedError {
    /// Largest buffered answer, in bytes: [`base::limits::PAYLOAD_SYNC_MAX`] and what Lambda grants beyond.
    pub const RESPONSE_MAX: usize = RESPONSE_MAX;

    /// A failure that the function tells.
    pub fn reported(kind: &str, message: &str) -> HostedError {
        HostedError::Reported { kind: kind.to_owned(), payload: crate::failure::payload(kind, message) }
    }

    fn failure(self) -> Failure {
        match self {
            HostedError::TimedOut => Failure::TimedOut,
            HostedError::OutOfMemory => {
                Failure::Exited(sandbox::Exited { exit: sandbox::Exit::Signal(9), oom: true })
            }
            HostedError::Exited(code) => {
                Failure::Exited(sandbox::Exited { exit: sandbox::Exit::Code(code), oom: false })
            }
            HostedError::Trapped(how) => Failure::Trapped(how),
            HostedError::Reported { kind, payload } => Failure::Reported(Report { kind, payload }),
            HostedError::TooLarge => Failure::TooLarge,
            HostedError::StreamTooLarge => Failure::StreamTooLarge,
            HostedError::Unrunnable(reason) => Failure::NoEntrypoint(reason),
        }
    }
}

/// How an invocation ended, told.
#[derive(Debug)]
pub struct Ended {
    /// What the caller gets where it failed.
    pub error: Option<FunctionError>,
    /// The end of the log, if asked for.
    pub tail: Option<Bytes>,
    /// Why the environment must not serve on.
    pub exit: Option<Exit>,
}

impl Hosted {
    /// Begins the log of a new environment. `version`: what runs it, e.g. `wasm:48`. Errors: the role is not one.
    pub async fn open(
        spec: Arc<FunctionSpec>,
        how: Initialization,
        version: &str,
        ports: Ports,
        settings: Arc<Settings>,
    ) -> Result<Arc<Hosted>, LaunchError> {
        let started = Instant::now();
        let started_at = ports.clock.now();
        let credentials = ports
            .sessions
            .issue(&spec.role, spec.key.name.as_str(), settings.credentials_seconds)
            .await
            .map_err(|error| LaunchError::Sandbox(error.into()))?;
        let mut random = [0; 16];
        ports.entropy.fill(&mut random);
        let stream = journal::stream_name(started_at, spec.key.version, random);
        let journal = Journal::new(spec.clone(), stream, version.to_owned(), ports.logs.clone());
        journal.add(Entry::InitStart { at: started_at, how });
        let all = variables::assemble(&Start {
            spec: &spec,
            how,
            log_stream: journal.stream(),
            credentials: &credentials,
            endpoint: &settings.endpoint,
            runtime: &[],
            managed: false,
        });
        let text = |value: std::ffi::OsString| value.into_string().unwrap_or_default();
        let variables = all.into_iter().map(|(name, value)| (text(name), text(value)));
        let variables = variables
            .filter(|(name, _)| !OF_PROCESSES.contains(&name.as_str()) || spec.variables.contains_key(name));
        let variables = variables.collect();
        let armed = AtomicBool::new(false);
        Ok(Arc::new(Hosted { spec, how, ports, settings, journal, variables, started, started_at, armed }))
    }

    /// What it is an environment of.
    pub fn spec(&self) -> &Arc<FunctionSpec> {
        &self.spec
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Environment variables.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Tells how the initialisation went, which took since [`Hosted::open`].
    pub fn initialised(&self, failure: Option<&HostedError>) {
        let at = self.ports.clock.now();
        let failed = failure.map(|error| InitFailed {
            timed_out: matches!(error, HostedError::TimedOut),
            kind: error.clone().failure().kind().to_owned(),
        });
        let took = Micros::of(self.started.elapsed());
        self.journal.add(Entry::InitReport { at, how: self.how, phase: "init", took, failed });
    }

    /// An invocation begins; `first`: how the environment started, if it is its first.
    pub fn begin(&self, call: &Invocation, first: Option<Phases>) -> Begun {
        let timeout = self.spec.timeout.millis();
        let began = Moment::now(&*self.ports.clock);
        let Moment { at, instant } = began;
        self.journal.add(Entry::Start { at, id: call.request_id, span: call.span, tail: call.tail });
        Begun {
            began,
            deadline: instant + timeout.duration(),
            deadline_at: at.plus_ms(timeout.0 as i64),
            trace: call.trace.clone().unwrap_or_else(|| trace_of(&call.request_id.to_string(), at)),
            first: first.map(|phases| {
                let charged = charged(self.how, &phases);
                First { phases, charged, restored: None, ahead: false }
            }),
        }
    }

    /// Takes what the function prints, from here on.
    pub fn printer(self: &Arc<Self>) -> Printer {
        Printer { hosted: self.clone(), splitter: Splitter::default() }
    }

    /// Writes the end of an invocation into log and record.
    pub fn end(
        self: &Arc<Self>,
        call: &Invocation,
        begun: &Begun,
        memory_bytes: u64,
        outcome: Result<usize, HostedError>,
    ) -> Ended {
        let outcome = outcome.map_err(HostedError::failure);
        let ended = Moment::now(&*self.ports.clock);
        let conclusion = Conclusion {
            call,
            how: self.how,
            began: begun.began,
            ended,
            started_at: self.started_at,
            first: begun.first,
            answered: Micros::of(ended.since(begun.began)),
            memory_bytes,
            outcome: outcome.as_ref().map(|produced| *produced),
        };
        let tail = conclusion.write(&self.spec, &self.journal, &self.ports);
        self.flush_soon();
        let failure = outcome.err();
        let mut exit = failure.as_ref().and_then(Failure::ends);
        if exit.is_none() && credentials_end(&self.settings, &self.spec, self.started, begun.began.instant) {
            exit = Some(Exit::Stopped);
        }
        let error = failure.map(|failure| failure.error(call.request_id, self.spec.timeout));
        Ended { error, tail, exit }
    }

    /// Sends what waits to the log.
    pub fn flush(&self) {
        self.journal.flush();
    }

    fn flush_soon(self: &Arc<Self>) {
        if self.armed.swap(true, Ordering::AcqRel) {
            return;
        }
        let hosted = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FLUSH_AFTER).await;
            hosted.armed.store(false, Ordering::Release);
            hosted.journal.flush();
        });
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.journal.flush();
    }
}

/// Output of a function on its way to its log.
pub struct Printer {
    hosted: Arc<Hosted>,
    splitter: Splitter,
}

impl Printer {
    /// Takes bytes; complete lines are logged.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut lines = Vec::new();
        self.splitter.feed(bytes, self.hosted.ports.clock.now(), &mut lines);
        if !lines.is_empty() {
            self.hosted.journal.add_lines(&mut lines);
            self.hosted.flush_soon();
        }
    }

    /// Logs what is left of an unfinished line.
    pub fn finish(&mut self) {
        let mut lines = Vec::new();
        self.splitter.finish(self.hosted.ports.clock.now(), &mut lines);
        self.hosted.journal.add_lines(&mut lines);
    }
}
