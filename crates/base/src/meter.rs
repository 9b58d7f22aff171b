//! The port by which invocations are metered.

use crate::{
    AccountId, FunctionName, Future, InvocationSpan, MemoryMib, Micros, Millis, Phases, Region, RequestId,
    Timestamp, VersionKey,
};
use std::sync::Arc;

/// Counts invocations. Never blocks the caller.
pub trait Meter: Send + Sync {
    /// Called once for each invocation that was started; a throttled one by [`Meter::throttled`] instead.
    fn record(&self, record: InvocationRecord);
    /// An invocation refused by a concurrency bound: metered as a metric, never charged. `invoked_arn` is the function as the
    /// caller named it.
    fn throttled(&self, key: &VersionKey, invoked_arn: &str);
    /// One more invocation runs on an environment; `reserved`: the function has concurrency of its own.
    fn began(&self, key: &VersionKey, reserved: bool) {
        let _ = (key, reserved);
    }
    /// One invocation fewer; called once for each [`Meter::began`].
    fn ended(&self, key: &VersionKey, reserved: bool) {
        let _ = (key, reserved);
    }
    /// One invocation of a version that has provisioned concurrency begins; after [`Meter::began`].
    fn provisioned(&self, call: ProvisionedCall<'_>) {
        let _ = call;
    }
    /// From now on exactly this is reserved as provisioned concurrency, of all functions of all accounts. Resolves when that is on disk
    /// or its failure is told in the log; what has failed is tried again.
    fn reserved(&self, all: Vec<Reserved>) -> Future<'static, ()> {
        drop(all);
        Box::pin(std::future::ready(()))
    }
    /// Something has happened to an asynchronous invocation.
    fn queued(&self, event: QueuedEvent<'_>, what: QueueStep) {
        let _ = (event, what);
    }
    /// A function was deleted: what is counted in memory under its name ends.
    fn deleted(&self, account: AccountId, region: &Region, name: &FunctionName) {
        let _ = (account, region, name);
    }
    /// One request has done something with messages of a queue.
    fn messages(&self, queue: MeteredQueue<'_>, what: MessageStep<'_>) {
        let _ = (queue, what);
    }
    /// What a queue held at the end of a minute.
    fn depth(&self, queue: MeteredQueue<'_>, depth: QueueDepth) {
        let _ = (queue, depth);
    }
    /// A request in a trace that is recorded has ended without an environment's part.
    fn answered(&self, request: TracedRequest<'_>) {
        let _ = request;
    }
}

/// A request that no environment had part in.
#[derive(Clone, Copy, Debug)]
pub struct TracedRequest<'a> {
    /// Which version was meant.
    pub key: &'a VersionKey,
    /// The function as the caller named it.
    pub invoked_arn: &'a str,
    /// Which request.
    pub request_id: RequestId,
    /// Its place in its trace.
    pub span: InvocationSpan,
    /// When it came.
    pub began: Timestamp,
    /// When it was answered.
    pub ended: Timestamp,
    /// How.
    pub how: RequestEnd,
}

/// How a request ends that no environment had part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// An asynchronous event is on disk.
    Accepted,
    /// An invocation was refused, with this HTTP status.
    Refused(u16),
}

/// Environments of one version that are reserved as provisioned concurrency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Which version.
    pub key: VersionKey,
    /// `x86_64` or `arm64`: priced apart.
    pub architecture: String,
    /// Memory size configured.
    pub memory: MemoryMib,
    /// How many environments.
    pub count: u32,
}

/// How an invocation of a version with provisioned concurrency begins.
#[derive(Clone, Copy, Debug)]
pub struct ProvisionedCall<'a> {
    /// Which version.
    pub key: &'a VersionKey,
    /// The function as the caller named it.
    pub invoked_arn: &'a str,
    /// Whether it runs on provisioned concurrency, or beyond it.
    pub within: bool,
    /// Invocations that run on provisioned concurrency, this one included.
    pub running: u32,
    /// Environments provisioned.
    pub provisioned: u32,
}

/// An asynchronous invocation on its way.
#[derive(Clone, Copy, Debug)]
pub struct QueuedEvent<'a> {
    /// Owner of the function.
    pub account: AccountId,
    /// Where.
    pub region: &'a Region,
    /// Function.
    pub name: &'a FunctionName,
    /// The function as the caller named it.
    pub invoked_arn: &'a str,
}

/// What happens to an asynchronous invocation, or to one that never becomes an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueStep {
    /// It is on disk.
    Received,
    /// An attempt begins, so long after it was received.
    Attempted(Millis),
    /// It is given up.
    Dropped,
    /// What became of it could not be told to a destination.
    NotTold,
    /// It could not be put into the dead-letter queue.
    NotBuried,
    /// A chain of invocations came back too often and ends.
    Looped,
}

/// A queue whose messages are counted.
#[derive(Clone, Copy, Debug)]
pub struct MeteredQueue<'a> {
    /// Its owner.
    pub account: AccountId,
    /// Where.
    pub region: &'a Region,
    /// Its name.
    pub name: &'a str,
}

/// What one request did with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageStep<'a> {
    /// They are on disk; the bytes of each, attributes included.
    Sent(&'a [usize]),
    /// So many were received.
    Received(usize),
    /// A receive found nothing.
    EmptyReceive,
    /// So many were deleted.
    Deleted(usize),
    /// So many repeated an earlier one of a FIFO queue and were not sent again.
    Deduplicated(usize),
}

/// Messages of a queue by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Can be received.
    pub visible: u64,
    /// Received and hidden.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
    /// Since the oldest was sent; zero without messages.
    pub oldest_age: Millis,
    /// Groups with messages in flight, of a FIFO queue.
    pub groups_in_flight: Option<u64>,
    /// Of a standard queue with messages of groups.
    pub quiet: Option<QuietDepth>,
}

/// What a standard queue holds apart from the backlogs of its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietDepth {
    /// Groups with a backlog.
    pub noisy_groups: u64,
    /// Can be received.
    pub visible: u64,
    /// Received and hidden.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
    /// Since the oldest was sent, about; zero without messages.
    pub oldest_age: Millis,
}

/// What one invocation used.
#[derive(Clone, Debug)]
pub struct InvocationRecord {
    /// Which version ran.
    pub key: VersionKey,
    /// The function as the caller named it, with its qualifier.
    pub invoked_arn: Arc<str>,
    /// Which call.
    pub request_id: RequestId,
    /// `x86_64` or `arm64`: priced apart.
    pub architecture: Arc<str>,
    /// When it started.
    pub at: Timestamp,
    /// Memory size configured, the basis of charging.
    pub memory: MemoryMib,
    /// Scratch space configured.
    pub scratch: MemoryMib,
    /// Most memory used, in bytes.
    pub memory_used_bytes: u64,
    /// Initialisation that this invocation is charged for: zero when warm.
    pub init: Micros,
    /// Run time.
    pub run: Micros,
    /// ceil(init + run).
    pub billed: Millis,
    /// Whether it ran on provisioned concurrency: priced apart.
    pub provisioned: bool,
    /// Present when this invocation waited for the start of its environment.
    pub cold: Option<Phases>,
    /// How it ended.
    pub outcome: Outcome,
    /// Asynchronous invocations are counted apart.
    pub waited: Micros,
    /// Present when it is to be recorded as a span.
    pub traced: Option<InvocationTimes>,
}

/// An invocation as a span, and when its parts began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvocationTimes {
    /// Its place in its trace.
    pub span: InvocationSpan,
    /// When it was handed to its environment.
    pub began: Timestamp,
    /// When its environment began to start.
    pub started: Timestamp,
    /// From `began` until the runtime had answered; extensions may have worked on after it.
    pub answered: Micros,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Success,
    /// The function reported an error or crashed.
    Error,
    /// It exceeded its time.
    Timeout,
    /// It exceeded its memory.
    OutOfMemory,
}
