//! What the fleet is doing: for metrics and `neap ps`.

use crate::keepalive::Why;
use base::{ByteCount, EnvironmentId, MemoryMib, Phases, VersionKey};

/// A consistent picture of one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Every pool that has an environment or a queued call.
    pub pools: Vec<PoolSnapshot>,
    /// Configured memory of all live environments.
    pub memory_used: MemoryMib,
    /// What [`Snapshot::memory_used`] may reach: the budget times the overcommit.
    pub memory_max: MemoryMib,
    /// Starts that count against the bound of parallel starts.
    pub starts_running: u32,
    /// The bound.
    pub starts_parallel: u32,
    /// Sums since the node began.
    pub totals: Totals,
}

/// One pool.
#[derive(Clone, Debug)]
pub struct PoolSnapshot {
    /// Whose.
    pub key: VersionKey,
    /// Configured memory of each of its environments.
    pub memory: MemoryMib,
    /// Ready, without a call.
    pub idle: u32,
    /// Running a call.
    pub busy: u32,
    /// Being started.
    pub starting: u32,
    /// Being ended.
    pub stopping: u32,
    /// Calls waiting for an environment.
    pub queued: u32,
    /// Environments that are kept whether or not anybody calls: provisioned concurrency.
    pub floor: u32,
    /// Of [`PoolSnapshot::idle`], those that wait initialised for their first call: SnapStart.
    pub prepared: u32,
    /// How many of them there are to be.
    pub prepare: u32,
    /// When environments are next started ahead of calls, if that is planned.
    pub prestart: Option<Prestart>,
    /// Whether it was replaced by another revision.
    pub retired: bool,
    /// Resident memory of its environments together; filled by [`crate::Fleet::snapshot`].
    pub resident: ByteCount,
    /// Its ready environments; filled by [`crate::Fleet::snapshot`].
    pub environments: Vec<EnvironmentStatus>,
}

/// One ready environment.
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentStatus {
    /// Which.
    pub id: EnvironmentId,
    /// Whether it runs a call.
    pub busy: bool,
    /// Microseconds since its last call or its start; `None` while it runs a call.
    pub idle_us: Option<u64>,
    /// Why it is there.
    pub kept: Kept,
    /// Resident memory.
    pub resident: ByteCount,
    /// How its start went.
    pub phases: Phases,
}

/// Why an environment is there, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It runs a call.
    Busy,
    /// It runs its last call.
    Last,
    /// Its pool's floor needs it: provisioned concurrency.
    Provisioned,
    /// It was initialised ahead and waits for its first call: SnapStart.
    Prepared {
        /// It is replaced in so many microseconds.
        renewed_in_us: u64,
    },
    /// It waits for a call, and ends without one.
    Waiting {
        /// In so many microseconds.
        ends_in_us: u64,
        /// Why then.
        why: Why,
        /// Whether it was started ahead of calls that are expected, and has served none.
        prestarted: bool,
    },
}

/// Environments that are to be started ahead of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prestart {
    /// In so many microseconds; zero if it is time.
    pub in_us: u64,
    /// They end in so many microseconds if no call comes; `None`: they stay.
    pub ends_in_us: Option<u64>,
    /// How many.
    pub count: u32,
    /// Why then.
    pub why: Why,
}

/// Sums since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls given to an environment.
    pub calls: u64,
    /// Of these, calls that waited and were the first of their environment.
    pub cold: u64,
    /// Of these, calls that had to wait.
    pub waited: u64,
    /// Starts begun.
    pub starts: u64,
    /// Of these, starts ahead of calls that were expected.
    pub foreseen: u64,
    /// Of these, such that a call has used.
    pub foreseen_used: u64,
    /// Of these, starts of environments that are to wait initialised for their first call: SnapStart.
    pub prepared: u64,
    /// Of these, such that a call has used.
    pub prepared_used: u64,
    /// Environments that waited so and were ended since they were too old.
    pub renewed: u64,
    /// Starts that failed.
    pub start_failures: u64,
    /// Idle environments ended because their time was over.
    pub expired: u64,
    /// Idle environments ended to make room.
    pub evicted: u64,
    /// Calls refused by a concurrency, rate or scaling bound.
    pub throttled: u64,
    /// Calls refused for want of memory.
    pub node_full: u64,
    /// Calls refused since no environment could be started.
    pub launch_refused: u64,
    /// Calls whose caller left while they were queued.
    pub cancelled: u64,
    /// Calls that waited for their turn, since no processor had time; filled by [`crate::Fleet::snapshot`].
    pub turns_waited: u64,
    /// Of these, calls that then began without; filled by [`crate::Fleet::snapshot`].
    pub turns_in_vain: u64,
}
