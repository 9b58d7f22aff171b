//! SnapStart: what happens to an environment that was initialised ahead when its first call comes.
//!
//! There is no copy of memory: what waits is an environment like any other, frozen, in a sandbox of its own, with its own
//! credentials, random state and `/tmp`. How many wait, and for how long, is the fleet's matter; that nothing forks has its
//! reason in `docs/security.md`. A start that finds none initialises in full, and is restored by its first call as well, so
//! that hooks always run.

use crate::{
    failure::{Failure, payload},
    journal::{Entry, InitFailed, Journal},
    link::{Report, Said},
    process::{Process, until},
};
use base::{Clock, FunctionSpec, Micros, limits};
use tokio::time::Instant;

/// What callers see as the error's type where hooks took too long.
const TOO_SLOW: &str = "Runtime.RestoreTimeout";

/// How long an initialisation may take.
pub(crate) fn init_max(spec: &FunctionSpec) -> base::Millis {
    limits::SNAPSTART_INIT_MAX.max(spec.timeout.millis())
}

/// Whether a restore failed since it took too long.
pub(crate) fn took_too_long(failure: &Failure) -> bool {
    matches!(failure, Failure::Reported(report) if report.kind == TOO_SLOW)
}

/// Thaws an initialised process and runs its hooks; how long that took.
pub(crate) async fn restore(
    clock: &dyn Clock,
    journal: &Journal,
    process: &mut Process,
) -> Result<Micros, Failure> {
    let began = Instant::now();
    journal.add(Entry::RestoreStart { at: clock.now() });
    let outcome = restored(process, began + limits::SNAPSTART_RESTORE_MAX.duration()).await;
    let took = Micros::of(began.elapsed());
    let mut lines = Vec::new();
    process.output.drain(clock.now(), &mut lines);
    journal.add_lines(&mut lines);
    let failed = outcome
        .as_ref()
        .err()
        .map(|failure| InitFailed { timed_out: took_too_long(failure), kind: failure.kind().to_owned() });
    journal.restore_runtime_done(clock.now(), failed.as_ref());
    journal.add(Entry::RestoreReport { at: clock.now(), took, failed });
    outcome.map(|()| took)
}

async fn restored(process: &mut Process, deadline: Instant) -> Result<(), Failure> {
    if let Err(error) = process.sandbox.thaw() {
        tracing::warn!(%error, "an environment for SnapStart could not be thawed");
    }
    process.begin_invocation(Instant::now());
    match until(deadline, process.link.restore()).await {
        // A program of the user's own, which has no hooks.
        Some(Ok(false)) => return Ok(()),
        // An error here is the process's end, and is told as that below.
        Some(Ok(true) | Err(_)) => {}
        None => return Err(too_slow()),
    }
    match process.next(deadline).await {
        Ok(Said::Restored) => Ok(()),
        Ok(Said::RestoreError(report)) => Err(Failure::Reported(report)),
        Err(Failure::TimedOut) => Err(too_slow()),
        Err(failure) => Err(failure),
        Ok(
            Said::Waiting
            | Said::Booted
            | Said::Ready
            | Said::InitError(_)
            | Said::Response(_)
            | Said::TooLarge
            | Said::Error { .. }
            | Said::StreamStart { .. }
            | Said::StreamData(_)
            | Said::StreamEnd
            | Said::StreamError(_),
        ) => Err(Failure::Misbehaved("an answer before it was restored")),
    }
}

fn too_slow() -> Failure {
    let seconds = limits::SNAPSTART_RESTORE_MAX.0 / 1000;
    let message = format!("the hooks after the restore took longer than {seconds} seconds");
    Failure::Reported(Report { kind: TOO_SLOW.to_owned(), payload: payload(TOO_SLOW, &message) })
}
