//! What an environment gets of a processor while others want it too.
//!
//! Weights are in proportion to memory, as on Lambda. With nothing else, a function that is called for a fraction of a
//! millisecond beside neighbours that compute for minutes waits for their time slices, the longer the less memory it has: its
//! slowest calls take tens of times as long. So an environment is *prompt* when an invocation begins, with a multiple of its
//! weight, and *settled* once the invocation has run for [`PROMPT`]: whoever computes for long yields to whoever does not, and
//! among each kind memory decides. An idle environment stays prompt, so that a short invocation changes no weight.

use sandbox::{CpuQuota, CpuWeight, Sandbox};
use std::time::Duration;
use tokio::time::Instant;

/// How long an invocation is prompt. Covers most invocations of interactive functions, and several time slices.
const PROMPT: Duration = Duration::from_millis(20);
/// Weight of a prompt environment against its settled one.
const MULTIPLE: u16 = 16;

/// The share of one running program, which has the largest weight until its initialisation is over.
#[derive(Debug)]
pub(crate) struct Share {
    settled: CpuWeight,
    quota: Option<CpuQuota>,
    /// When the invocation that runs stops being prompt; `None` when it has, or none runs.
    until: Option<Instant>,
    is_settled: bool,
}

impl Share {
    /// `weight` is what its memory buys.
    pub(crate) fn new(weight: CpuWeight, quota: Option<CpuQuota>) -> Share {
        Share { settled: weight, quota, until: None, is_settled: false }
    }

    /// Initialisation is over: from here on memory decides.
    pub(crate) fn initialised(&mut self, sandbox: &Sandbox) {
        self.set(sandbox, false);
    }

    /// An invocation begins.
    pub(crate) fn begin(&mut self, sandbox: &Sandbox, now: Instant) {
        self.until = Some(now + PROMPT);
        if self.is_settled {
            self.set(sandbox, false);
        }
    }

    /// When [`Share::settle`] is due.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The invocation has run for long.
    pub(crate) fn settle(&mut self, sandbox: &Sandbox) {
        self.until = None;
        self.set(sandbox, true);
    }

    fn set(&mut self, sandbox: &Sandbox, settled: bool) {
        let weight = match settled {
            true => self.settled,
            false => CpuWeight::new(self.settled.get().saturating_mul(MULTIPLE)),
        };
        match sandbox.set_cpu(weight, self.quota) {
            Ok(()) => self.is_settled = settled,
            Err(error) => tracing::warn!(%error, "CPU share could not be set"),
        }
    }
}
