//! The port by which services run a function version.

use crate::{AccountId, Executed, FunctionSpec, Future, Invocation, LaunchError, Region, VersionKey};
use std::sync::Arc;

/// Runs invocations on environments, starting and keeping them as needed.
pub trait Execute: Send + Sync {
    /// Runs `call` on an environment of `spec`.
    ///
    /// Cancel-safety: once an environment has taken the call, dropping the future does not stop it.
    fn execute(
        &self,
        spec: Arc<FunctionSpec>,
        call: Invocation,
    ) -> Future<'static, Result<Executed, ExecuteError>>;
    /// Keeps `count` environments of `spec` there ahead of calls, until told otherwise: provisioned concurrency. They
    /// are started as others are, and again when they end; what of the account's concurrency they take is part of
    /// [`Execute::reserve`]. Zero: none.
    fn provision(&self, spec: Arc<FunctionSpec>, count: u32);
    /// How [`Execute::provision`] goes.
    fn provisioned(&self, key: &VersionKey) -> Provisioned;
    /// Keeps environments of `spec`, a version with SnapStart, initialised and waiting for their first call, until the version
    /// is retired: as many as the node is set to, while it has memory that nobody else wants. Resolves when the first of them
    /// is there, or to why its start failed; the node goes on trying all the same.
    /// Limit: an initialisation may take [`crate::limits::SNAPSTART_INIT_MAX`], or the function's timeout if that is longer.
    /// Source: Lambda developer guide, SnapStart. Cancel-safe.
    fn prepare(&self, spec: Arc<FunctionSpec>) -> Future<'static, Result<(), PrepareError>>;
    /// No further call comes for this key: idle environments end now, busy ones after their call.
    fn retire(&self, key: &VersionKey);
    /// All functions of an account and region have `total` concurrency for themselves, reserved or provisioned, invoked or not; what is left
    /// of the account's is for functions without reservation. Zero until told.
    fn reserve(&self, account: AccountId, region: &Region, total: u32);
    /// How busy a function (all versions) and its account are.
    fn pressure(&self, key: &VersionKey) -> Pressure;
}

/// Environments of a version that are kept ready ahead of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Ready or busy.
    pub ready: u32,
    /// Why the last start failed, if it did.
    pub failure: Option<String>,
}

/// No environment of a version could be initialised ahead of its calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The function's own code failed, or took too long: so will the next attempt.
    #[error("{reason}")]
    Function {
        /// What went wrong.
        reason: String,
        /// Whether it took too long.
        timed_out: bool,
    },
    /// The node could not start it: says nothing about the function. Retry later.
    #[error("no environment could be initialised: {0}")]
    Node(String),
}

/// Concurrency in use now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Invocations of the function running or waiting for a start.
    pub function: u32,
    /// The same for the whole account.
    pub account: u32,
}

/// The call was not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A bound of concurrency or rate is reached. Retry later.
    #[error("Rate Exceeded.")]
    Throttled(ThrottleReason),
    /// This node has no memory for another environment, and none that it could end. Retry later.
    #[error("no memory left on this node for another environment of {wanted}")]
    NodeFull {
        /// What the environment would have needed.
        wanted: crate::MemoryMib,
    },
    /// No environment could be started.
    #[error(transparent)]
    Launch(Arc<LaunchError>),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// `Reason` of Lambda's `TooManyRequestsException`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleReason {
    /// The account's (unreserved) concurrency is in use.
    ConcurrentInvocationLimitExceeded,
    /// The function's reserved concurrency is in use.
    ReservedFunctionConcurrentInvocationLimitExceeded,
    /// Requests per second exceed ten times the reserved concurrency.
    ReservedFunctionInvocationRateLimitExceeded,
    /// Requests per second exceed ten times the account's concurrency.
    FunctionInvocationRateLimitExceeded,
    /// The caller's request rate on the API is exceeded.
    CallerRateLimitExceeded,
}

impl ThrottleReason {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            ThrottleReason::ConcurrentInvocationLimitExceeded => "ConcurrentInvocationLimitExceeded",
            ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded => {
                "ReservedFunctionConcurrentInvocationLimitExceeded"
            }
            ThrottleReason::ReservedFunctionInvocationRateLimitExceeded => {
                "ReservedFunctionInvocationRateLimitExceeded"
            }
            ThrottleReason::FunctionInvocationRateLimitExceeded => "FunctionInvocationRateLimitExceeded",
            ThrottleReason::CallerRateLimitExceeded => "CallerRateLimitExceeded",
        }
    }
}
