//! The life of one execution environment, as the planner sees it.

use crate::planner::{CallId, Tick};
use base::EnvironmentId;

/// Life of one execution environment.
/// `Booting → Idle ⇄ Busy → Stopping → Gone`; `Draining` is `Busy` without a future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Its start is under way.
    Booting {
        /// When it began.
        since: Tick,
    },
    /// Ready, without a call.
    Idle {
        /// When its last call, or its start, ended.
        since: Tick,
        /// Whether it ever served a call.
        used: bool,
    },
    /// Runs a call.
    Busy {
        /// Which.
        call: CallId,
    },
    /// Runs its last call; ends when that does.
    Draining {
        /// Which.
        call: CallId,
    },
    /// Is being ended; its memory counts until nothing of it is left.
    Stopping {
        /// A call that was running when it was ended by force, and is not yet answered.
        call: Option<CallId>,
    },
    /// Nothing is left of it.
    Gone,
}

/// What can happen to an [`Environment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Its start has succeeded.
    Ready,
    /// A call is given to it.
    Take(CallId),
    /// Its call has ended.
    Release {
        /// Whether it may serve another.
        reusable: bool,
    },
    /// It ended by itself.
    Break,
    /// It is to end: at once without a call, after its call otherwise.
    Stop,
    /// It is to end at once, call or not.
    Kill,
    /// Nothing is left of it.
    End,
}

/// An event that cannot happen in this state: a fault of the fleet or of its [`base::Launch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The environment's state does not allow it.
    #[error("environment {id:?} is {state:?}, which excludes {transition:?}")]
    Transition {
        /// Which environment.
        id: EnvironmentId,
        /// Its state.
        state: Environment,
        /// What was reported.
        transition: Transition,
    },
    /// No such environment is alive.
    #[error("environment {0:?} is not alive")]
    UnknownEnvironment(EnvironmentId),
    /// No such call is queued.
    #[error("call {0:?} is not queued")]
    UnknownCall(CallId),
}

impl Environment {
    /// Total and pure: the state after `transition`, or `None` where this state excludes it.
    pub fn on(self, transition: Transition, now: Tick) -> Option<Environment> {
        use Environment::{Booting, Busy, Draining, Gone, Idle, Stopping};
        use Transition::{Break, End, Kill, Ready, Release, Stop, Take};
        match (self, transition) {
            (Booting { .. }, Ready) => Some(Idle { since: now, used: false }),
            (Booting { .. }, Stop | Kill) => Some(Stopping { call: None }),
            // The start has failed.
            (Booting { .. }, End) => Some(Gone),
            (Booting { .. }, Take(_) | Release { .. } | Break) => None,

            (Idle { .. }, Take(call)) => Some(Busy { call }),
            (Idle { .. }, Break | Stop | Kill) => Some(Stopping { call: None }),
            (Idle { .. }, Ready | Release { .. } | End) => None,

            (Busy { .. }, Release { reusable: true }) => Some(Idle { since: now, used: true }),
            (Busy { .. }, Release { reusable: false }) => Some(Stopping { call: None }),
            (Busy { call }, Break | Stop) => Some(Draining { call }),
            (Busy { call }, Kill) => Some(Stopping { call: Some(call) }),
            (Busy { .. }, Ready | Take(_) | End) => None,

            (Draining { .. }, Release { .. }) => Some(Stopping { call: None }),
            (Draining { call }, Break | Stop) => Some(Draining { call }),
            (Draining { call }, Kill) => Some(Stopping { call: Some(call) }),
            (Draining { .. }, Ready | Take(_) | End) => None,

            // Its start succeeded while the wish to end it was on its way, or it ended meanwhile.
            (Stopping { call }, Ready | Break | Stop | Kill) => Some(Stopping { call }),
            (Stopping { call: Some(_) }, Release { .. }) => Some(Stopping { call: None }),
            (Stopping { .. }, End) => Some(Gone),
            (Stopping { call: None }, Release { .. }) | (Stopping { .. }, Take(_)) => None,

            (Gone, Ready | Take(_) | Release { .. } | Break | Stop | Kill | End) => None,
        }
    }

    /// The call that occupies it.
    pub fn call(self) -> Option<CallId> {
        match self {
            Environment::Busy { call } | Environment::Draining { call } => Some(call),
            Environment::Stopping { call } => call,
            Environment::Booting { .. } | Environment::Idle { .. } | Environment::Gone => None,
        }
    }
}
