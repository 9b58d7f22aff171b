//! The port by which the fleet starts and feeds execution environments.

use crate::{FunctionSpec, Future, InvocationSpan, Micros, RequestId};
use bytes::Bytes;
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

/// Starts execution environments.
pub trait Launch: Send + Sync {
    /// Starts an environment of `spec` and runs its initialisation. Resolves when it can take an invocation.
    /// `queued` is how long its first caller has waited for permission to start; it becomes [`Phases::queue`].
    ///
    /// A failing or too slow initialisation (more than [`crate::limits::INIT_MAX`]) is not an error here: as on
    /// Lambda it is repeated inside the first invocation, which then reports it. Ahead of invocations
    /// ([`Initialization::Provisioned`], [`Initialization::Proactive`], [`Initialization::SnapStart`]) it is
    /// [`LaunchError::Initialisation`].
    /// Cancel-safe: dropping the future ends the environment.
    fn launch(
        &self,
        spec: Arc<FunctionSpec>,
        how: Initialization,
        queued: Micros,
    ) -> Future<'_, Result<Arc<dyn Environment>, LaunchError>>;
}

/// Why an environment is started: Lambda's `AWS_LAMBDA_INITIALIZATION_TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialization {
    /// `on-demand`: a request waits for it.
    OnDemand,
    /// `provisioned-concurrency`: kept ready ahead of requests.
    Provisioned,
    /// `on-demand` as well: started ahead of a request that is expected, which is not charged for it.
    Proactive,
    /// `snap-start`: initialised before there was a request; waits frozen, and is restored for the first one.
    SnapStart,
}

/// An environment could not be started; says nothing about the user's code.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No interpreter on this host serves the runtime.
    #[error("runtime {runtime} is not available: {reason}")]
    RuntimeUnavailable {
        /// Runtime identifier.
        runtime: String,
        /// What is missing.
        reason: String,
    },
    /// The unpacked package is gone from this node.
    #[error("code package {0} is not on this node")]
    CodeMissing(crate::CodeSha256),
    /// The function's initialisation failed, where no invocation waits for it.
    #[error("initialisation failed: {reason}")]
    Initialisation {
        /// Lambda's error type, and what else is known.
        reason: String,
        /// Whether it took too long.
        timed_out: bool,
    },
    /// The host refused a part of the sandbox.
    #[error("sandbox: {0}")]
    Sandbox(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One execution environment: serves one invocation at a time.
pub trait Environment: Send + Sync {
    /// Runs `call`. The caller guarantees that no other invocation is running in this environment.
    ///
    /// `release` is told what becomes of the environment: after a buffered answer before or soon after this future
    /// resolves, after a streamed one when the stream has ended. Enforces the function's timeout; never fails:
    /// whatever happens to the function is a [`FunctionError`]. Dropping the future lets the invocation run on.
    fn invoke(self: Arc<Self>, call: Invocation, release: Release) -> Future<'static, Executed>;
    /// How its start went.
    fn phases(&self) -> Phases;
    /// Resident memory now, for the node's budget; may lag by a second.
    fn memory_bytes(&self) -> u64;
    /// Resolves if the environment ends while idle.
    fn ended(&self) -> Future<'static, Exit>;
    /// Ends it: SIGTERM where Lambda would send it, then kill; resolves when nothing of it is left.
    fn stop(self: Arc<Self>) -> Future<'static, ()>;
}

/// What the duration of a start consisted of, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Waiting for permission to start (parallel-start bound).
    pub queue: Micros,
    /// Namespaces, mounts, cgroup, until the first instruction of the runtime.
    pub sandbox: Micros,
    /// Runtime boot until user code begins to load.
    pub boot: Micros,
    /// The user's own initialisation.
    pub init: Micros,
}

/// One event for one environment.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Identity; the same for each attempt of an asynchronous event.
    pub request_id: RequestId,
    /// The event, JSON for all managed runtimes.
    pub payload: Bytes,
    /// The ARN as the caller named it (with its qualifier).
    pub invoked_arn: Arc<str>,
    /// The body of the request that the event describes, where it comes while the function runs; then the event has none.
    pub body: ArrivingBody,
    /// `ClientContext`, decoded from base64.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id` to pass on.
    pub trace: Option<String>,
    /// Present when it is to be recorded as a span; then `trace` names [`InvocationSpan::run`] as the parent.
    pub span: Option<InvocationSpan>,
    /// Whether [`Executed`] must bring the end of the log ([`crate::limits::LOG_TAIL_MAX`]).
    pub tail: bool,
    /// Whether the caller passes pieces of the answer on. Runtimes that choose between the forms of [`Answer`] themselves
    /// do not ask; WebAssembly functions answer in pieces only then.
    pub streamed: bool,
    /// Time that the call waited for an environment; set by the fleet.
    pub waited: Micros,
    /// Whether it waited for the start of its environment, of which it is the first; set by the fleet.
    pub cold: bool,
    /// Whether it runs on the version's provisioned concurrency; set by the fleet.
    pub provisioned: bool,
}

/// Pieces of a request's body. An error: the rest will not come.
pub type BodyStream = Pin<Box<dyn futures_core::Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A request's body that may still be on its way. Clones are the same body, which is read once.
#[derive(Clone, Default)]
pub struct ArrivingBody(Option<Arc<Mutex<Option<BodyStream>>>>);

impl ArrivingBody {
    /// Of pieces.
    pub fn new(pieces: BodyStream) -> ArrivingBody {
        ArrivingBody(Some(Arc::new(Mutex::new(Some(pieces)))))
    }

    /// The pieces, for whoever comes first. `None`: there is no such body, or it was taken.
    pub fn take(&self) -> Option<BodyStream> {
        self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for ArrivingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ArrivingBody" } else { "none" })
    }
}

/// An invocation's result.
#[derive(Debug)]
pub struct Executed {
    /// What the function answered.
    pub answer: Answer,
    /// The end of the log, if asked for and the answer is not streamed.
    pub tail: Option<Bytes>,
}

/// What a function answered.
pub enum Answer {
    /// One body.
    Buffered(Bytes),
    /// It failed.
    Failed(FunctionError),
    /// A body in pieces, begun before the function has ended.
    Streamed {
        /// Content type that the runtime gave.
        content_type: Option<String>,
        /// The pieces; the last is [`Chunk::End`].
        chunks: ChunkStream,
    },
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Buffered(body) => write!(f, "Buffered({} bytes)", body.len()),
            Answer::Failed(error) => write!(f, "Failed({error:?})"),
            Answer::Streamed { content_type, .. } => write!(f, "Streamed({content_type:?})"),
        }
    }
}

/// Pieces of a streamed answer.
pub type ChunkStream = Pin<Box<dyn futures_core::Stream<Item = Chunk> + Send>>;

/// A piece of a streamed answer.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes.
    Data(Bytes),
    /// Always the last: how it ended, and the end of the log if asked for.
    End {
        /// The failure, if it failed midway.
        error: Option<FunctionError>,
        /// The end of the log.
        tail: Option<Bytes>,
    },
}

/// A failure of the function: its own error, a crash, a timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// As in `X-Amz-Function-Error`.
    pub kind: FunctionErrorKind,
    /// JSON with `errorMessage`, `errorType` and, where the runtime gives them, `stackTrace`, `requestId`.
    pub payload: Bytes,
}

/// `X-Amz-Function-Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionErrorKind {
    /// The runtime reported it as handled.
    Handled,
    /// Everything else.
    Unhandled,
    /// An environment of a version with SnapStart could not be restored for the invocation: its hooks failed, or took longer
    /// than [`crate::limits::SNAPSTART_RESTORE_MAX`].
    Restore {
        /// Whether they took too long.
        timed_out: bool,
    },
}

impl FunctionErrorKind {
    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            FunctionErrorKind::Handled => "Handled",
            FunctionErrorKind::Unhandled | FunctionErrorKind::Restore { .. } => "Unhandled",
        }
    }
}

/// What becomes of an environment after an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is clean and takes the next.
    Reusable,
    /// It is or will be gone and takes no other.
    Gone(Exit),
}

/// Why an environment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Stopped by the fleet.
    Stopped,
    /// Its process exited by itself.
    Crashed,
    /// Killed for exceeding its memory.
    OutOfMemory,
    /// An invocation exceeded its time.
    TimedOut,
    /// Its initialisation failed.
    InitFailed,
    /// It broke the runtime's protocol.
    Misbehaved,
}

/// Tells the owner of an environment what became of it: exactly once, [`Exit::Crashed`] if dropped untold.
pub struct Release(Option<Box<dyn FnOnce(After) + Send>>);

impl Release {
    /// `told` runs once, on whatever thread ends the invocation; it must not block.
    pub fn new(told: impl FnOnce(After) + Send + 'static) -> Release {
        Release(Some(Box::new(told)))
    }

    /// Reports.
    pub fn tell(mut self, after: After) {
        if let Some(told) = self.0.take() {
            told(after);
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(After::Gone(Exit::Crashed));
        }
    }
}
