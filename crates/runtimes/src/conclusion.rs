//! The end of an invocation: what its log and its record say, whatever it ran in.

use crate::{
    Ports, Settings,
    failure::Failure,
    journal::{self, Ended, Entry, Journal, Status},
};
use base::{
    Clock, FunctionSpec, Initialization, Invocation, InvocationRecord, InvocationTimes, Micros, Millis,
    Outcome, Phases, Timestamp,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// Credentials must be valid at least this much longer than an invocation takes.
const CREDENTIALS_MARGIN: Duration = Duration::from_secs(300);

/// A moment by the wall clock, for logs, and by the one that never goes back, for durations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) instant: Instant,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Moment {
        Moment { at: clock.now(), instant: Instant::now() }
    }

    pub(crate) fn since(self, earlier: Moment) -> Duration {
        self.instant.duration_since(earlier.instant)
    }
}

/// An invocation that is over.
pub(crate) struct Conclusion<'a> {
    pub(crate) call: &'a Invocation,
    /// Why its environment was started.
    pub(crate) how: Initialization,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    /// When its environment began to start.
    pub(crate) started_at: Timestamp,
    /// On the environment's first invocation: how the start went, and what of it is charged.
    pub(crate) first: Option<First>,
    /// How long the runtime's part took.
    pub(crate) answered: Micros,
    /// Most memory used.
    pub(crate) memory_bytes: u64,
    /// Bytes of the answer.
    pub(crate) outcome: Result<usize, &'a Failure>,
}

/// What an environment's first invocation is told of its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    /// How what it may have waited for went.
    pub(crate) phases: Phases,
    /// What of it is charged.
    pub(crate) charged: Micros,
    /// SnapStart: how long the restore took.
    pub(crate) restored: Option<Micros>,
    /// SnapStart: it was initialised before, which is not a part of this invocation.
    pub(crate) ahead: bool,
}

impl Conclusion<'_> {
    /// Writes log and record; the tail if the caller wants it.
    pub(crate) fn write(self, spec: &FunctionSpec, journal: &Journal, ports: &Ports) -> Option<Bytes> {
        let Conclusion { call, outcome, first, .. } = self;
        let id = call.request_id;
        let at = self.ended.at;
        // A timeout is reported as what was agreed, not as what the timer made of it.
        let run = match outcome {
            Err(Failure::TimedOut) => Micros(spec.timeout.millis().0 * 1000),
            Ok(_) | Err(_) => Micros::of(self.ended.since(self.began)),
        };
        if let Err(failure) = outcome
            && let Some(text) = failure.log_line(id, spec.timeout)
        {
            journal.add(Entry::Note { at, text, stamped: matches!(failure, Failure::TimedOut) });
        }
        let charged = first.map_or(Micros(0), |first| first.charged);
        let billed: Millis = (charged + run).ceil_ms();
        let used = self.memory_bytes.min(spec.memory.bytes().0);
        journal.add(Entry::End(Ended {
            at,
            id,
            run,
            billed,
            memory_used_mb: used.div_ceil(1024 * 1024),
            start: first.filter(|first| !first.ahead).map(|first| Box::new(first.phases)),
            restored: first.and_then(|first| first.restored),
            produced: outcome.unwrap_or(0),
            status: status(outcome),
        }));
        ports.meter.record(InvocationRecord {
            key: spec.key.clone(),
            invoked_arn: call.invoked_arn.clone(),
            request_id: id,
            architecture: spec.architecture.clone(),
            at,
            memory: spec.memory,
            scratch: spec.scratch,
            memory_used_bytes: used,
            init: charged,
            run,
            billed,
            provisioned: call.provisioned,
            cold: first.filter(|_| is_cold(self.how, call)).map(|first| first.phases),
            outcome: outcome.err().map_or(Outcome::Success, Failure::outcome),
            waited: call.waited,
            traced: call.span.map(|span| InvocationTimes {
                span,
                began: self.began.at,
                started: self.started_at,
                answered: self.answered.min(run),
            }),
        });
        call.tail.then(|| journal.take_tail())
    }
}

/// What of a start the environment's first invocation is charged: nothing where it was made ahead of calls.
pub(crate) fn charged(how: Initialization, phases: &Phases) -> Micros {
    match how {
        Initialization::OnDemand => journal::init_duration(phases),
        Initialization::Provisioned | Initialization::Proactive | Initialization::SnapStart => Micros(0),
    }
}

/// Whether the first call of an environment had to wait for its start.
fn is_cold(how: Initialization, call: &Invocation) -> bool {
    matches!(how, Initialization::OnDemand | Initialization::SnapStart) || call.waited > Micros(0)
}

/// How an invocation ended, as reports say it.
pub(crate) fn status(outcome: Result<usize, &Failure>) -> Status {
    match outcome {
        Ok(_) => Status::Success,
        Err(Failure::TimedOut) => Status::Timeout,
        Err(failure @ (Failure::Reported(_) | Failure::TooLarge | Failure::StreamTooLarge)) => {
            Status::Error { kind: failure.kind().into(), shown: failure.kind().starts_with("Runtime.") }
        }
        Err(
            failure @ (Failure::Exited(_)
            | Failure::Misbehaved(_)
            | Failure::NoEntrypoint(_)
            | Failure::Trapped(_)
            | Failure::Extension { .. }),
        ) => Status::Error { kind: failure.kind().into(), shown: true },
    }
}

/// Whether the credentials of an environment that started at `started` might end within its next invocation.
pub(crate) fn credentials_end(
    settings: &Settings,
    spec: &FunctionSpec,
    started: Instant,
    began: Instant,
) -> bool {
    let valid = Duration::from_secs(settings.credentials_seconds.into());
    let longest = spec.timeout.millis().duration() + CREDENTIALS_MARGIN;
    began.duration_since(started) + longest > valid.max(longest * 2)
}

/// A trace identifier for a call that brings none: unsampled, derived from its request id.
pub(crate) fn trace_of(id: &str, now: Timestamp) -> String {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let (root, parent) = digits.split_at_checked(24).unwrap_or(("", ""));
    let seconds = u32::try_from(now.0 / 1000).unwrap_or(0);
    format!("Root=1-{seconds:08x}-{root};Parent={parent}{root:.8};Sampled=0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::RequestId;

    #[test]
    fn made_traces_have_the_documented_form() {
        let id = RequestId::from_random([0xab; 16]).to_string();
        let trace = trace_of(&id, Timestamp(1_000_000));
        let (root, rest) = trace.split_once(";Parent=").unwrap();
        assert!(root.starts_with("Root=1-000003e8-") && root.len() == 40, "{trace}");
        assert_eq!(rest.split_once(';').unwrap().0.len(), 16, "{trace}");
    }
}
