//! The port by which invocations are metered.

use crate::{MemoryMib, Micros, Millis, Phases, RequestId, Timestamp, VersionKey};

/// Counts invocations. Never blocks the caller.
pub trait Meter: Send + Sync {
    /// Called once for each invocation that was started; a throttled one by [`Meter::throttled`] instead.
    fn record(&self, record: InvocationRecord);
    /// An invocation refused by a concurrency bound: metered as a metric, never charged.
    fn throttled(&self, key: &VersionKey);
}

/// What one invocation used.
#[derive(Clone, Debug)]
pub struct InvocationRecord {
    /// Which version ran.
    pub key: VersionKey,
    /// Which call.
    pub request_id: RequestId,
    /// `x86_64` or `arm64`: priced apart.
    pub architecture: String,
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
    /// Present when this invocation started the environment.
    pub cold: Option<Phases>,
    /// How it ended.
    pub outcome: Outcome,
    /// Asynchronous invocations are counted apart.
    pub waited: Micros,
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
