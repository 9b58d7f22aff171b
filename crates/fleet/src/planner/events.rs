//! What the planner is told, and what it wants done.

use base::{AccountId, EnvironmentId, MemoryMib, Region, ThrottleReason, VersionKey};

/// A moment: microseconds since 1970, as the wall clock stood when the fleet began; from then on it goes as time does, however
/// that clock is set. Habits are kept beyond the fleet's life, so its moments mean the same to a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// Microseconds from `earlier` until now; zero if that is in the future.
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `us` microseconds later.
    pub const fn plus(self, us: u64) -> Tick {
        Tick(self.0.saturating_add(us))
    }
}

/// One call, by a number of the driver's choice that it never uses twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What a call needs.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The pool.
    pub key: &'a VersionKey,
    /// Memory of each of its environments.
    pub memory: MemoryMib,
    /// Concurrency reserved for its function; part of the account's [`Event::Reserve`].
    pub reserved: Option<u32>,
    /// Microseconds for which its environments may be idle; as [`crate::Limits::keep_alive`] says where it does not.
    pub keep_us: Option<u64>,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A caller asks to run a call.
    Request {
        /// The call.
        call: CallId,
        /// What it needs.
        demand: Demand<'a>,
    },
    /// The caller of a queued call has left.
    Cancelled(CallId),
    /// A start has succeeded.
    Ready(EnvironmentId),
    /// A start has failed, and nothing is left of it.
    LaunchFailed {
        /// Which.
        environment: EnvironmentId,
        /// Whether another attempt can succeed.
        transient: bool,
    },
    /// The call of an environment has ended.
    Released {
        /// Which.
        environment: EnvironmentId,
        /// Whether it may serve another.
        reusable: bool,
    },
    /// An environment has ended by itself.
    Broken(EnvironmentId),
    /// Nothing is left of an environment that was to stop.
    Ended(EnvironmentId),
    /// So many environments are to be there for a pool, whether or not anybody calls; until told otherwise.
    Provision {
        /// What each needs.
        demand: Demand<'a>,
        /// How many.
        count: u32,
        /// From when on: at once unless it is in the future. Of what is planned for later, the last told counts.
        from: Tick,
    },
    /// So many environments are to wait initialised for a pool that have served nobody; until it is retired.
    Prepare {
        /// What each needs.
        demand: Demand<'a>,
        /// How many.
        count: u32,
        /// Whether somebody waits for the first.
        urgent: bool,
    },
    /// Environments may be started from this ahead of the calls that habits of an earlier life let expect.
    Expect {
        /// What each needs.
        demand: Demand<'a>,
    },
    /// No further call comes for this revision, whoever its tenants are.
    Retire(&'a VersionKey),
    /// The functions of an account have so much concurrency reserved together, those without environments included.
    Reserve {
        /// The account.
        account: AccountId,
        /// Where.
        region: &'a Region,
        /// Sum of the reservations.
        total: u32,
    },
    /// Time has passed; due at [`super::Planner::wake`].
    Tick,
    /// The node shuts down: queued and new calls are refused, environments end after their call.
    Drain,
    /// The time for draining is over: everything ends.
    Kill,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run the call there.
    Assign {
        /// The call.
        call: CallId,
        /// Where.
        environment: EnvironmentId,
        /// How long it was queued, in microseconds.
        waited_us: u64,
        /// Whether it waited, and is that environment's first call.
        cold: bool,
    },
    /// Answer the call with an error.
    Refuse {
        /// The call.
        call: CallId,
        /// Why.
        why: Refusal,
    },
    /// Start an environment: of the function of `call`, which is queued and stays so, or ahead of calls
    /// ([`super::Planner::key_of`] tells for which pool).
    Launch {
        /// The new environment.
        environment: EnvironmentId,
        /// Because of which call; `None` ahead of calls.
        call: Option<CallId>,
        /// How long that call has waited, in microseconds.
        queued_us: u64,
    },
    /// End the environment, or give up its start; [`Event::Ended`] must follow.
    Stop(EnvironmentId),
}

/// Why a call is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A bound of concurrency or rate.
    Throttled(ThrottleReason),
    /// No memory.
    NodeFull {
        /// What an environment needs.
        wanted: MemoryMib,
    },
    /// No environment could be started; the failure is the one just reported.
    LaunchFailed,
    /// The node shuts down.
    ShuttingDown,
}
