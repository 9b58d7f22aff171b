//! When the parts of an invocation began and ended, in microseconds since 1970: for spans and for segments. Pure.

use base::{InvocationRecord, InvocationTimes, Micros, Phases, Timestamp};

/// Of one invocation.
pub(crate) struct Timeline {
    /// When it came to the fleet.
    pub(crate) arrived: i64,
    /// When it was handed to its environment.
    pub(crate) began: i64,
    /// When the runtime had answered.
    pub(crate) answered: i64,
    /// When the environment was done with it.
    pub(crate) ended: i64,
    /// Of the environment, where the invocation waited for it.
    pub(crate) start: Option<Start>,
}

/// A start that an invocation waited for: when its parts were over.
pub(crate) struct Start {
    pub(crate) queued: i64,
    pub(crate) began: i64,
    pub(crate) isolated: i64,
    pub(crate) booted: i64,
    pub(crate) ready: i64,
}

impl Timeline {
    pub(crate) fn of(record: &InvocationRecord, times: &InvocationTimes) -> Timeline {
        let began = micros(times.began);
        let arrived = began - signed(record.waited);
        Timeline {
            arrived,
            began,
            answered: began + signed(times.answered.min(record.run)),
            ended: began + signed(record.run),
            start: record.cold.and_then(|phases| awaited(times, &phases, arrived, began)),
        }
    }

    /// When the first part began.
    pub(crate) fn first(&self) -> i64 {
        self.start.as_ref().map_or(self.arrived, |start| start.queued.min(self.arrived))
    }
}

/// `None` where the environment was ready before the call came: its start cost the call nothing.
fn awaited(times: &InvocationTimes, phases: &Phases, arrived: i64, began: i64) -> Option<Start> {
    let started = micros(times.started);
    let total = signed(phases.sandbox) + signed(phases.boot) + signed(phases.init);
    // Times are told in whole milliseconds: what ends after the run began has begun earlier.
    let started = started.min(began - total);
    let isolated = started + signed(phases.sandbox);
    let booted = isolated + signed(phases.boot);
    let ready = booted + signed(phases.init);
    (ready > arrived).then(|| Start {
        queued: started - signed(phases.queue),
        began: started,
        isolated,
        booted,
        ready,
    })
}

/// Microseconds since 1970.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.0.saturating_mul(1_000)
}

fn signed(took: Micros) -> i64 {
    i64::try_from(took.0).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}
