//! What functions did, on its way to being counted: who serves an invocation only puts it here, and all of some milliseconds is
//! counted together, on another thread. Whatever reads counts has it done first, so that nobody sees fewer.

use crate::{Inner, cloudwatch::gathering::minute};
use base::{InvocationRecord, Timestamp, VersionKey};
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Longest wait here, while nobody reads.
const COUNT_EVERY: Duration = Duration::from_millis(5);
/// Entries that wait at most; then who brings one counts.
const WAITING_MAX: usize = 4_096;
/// Entries of each kind that there is room for all the time.
const ROOM_KEPT: usize = 512;

/// What waits.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Held while counting, so that no two swap the order.
    counting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    invocations: Vec<InvocationRecord>,
    /// In order.
    steps: Vec<Step>,
}

/// How many run has changed.
pub(crate) struct Step {
    pub(crate) key: VersionKey,
    /// Whether its function has reserved concurrency.
    pub(crate) reserved: bool,
    pub(crate) at: Timestamp,
    pub(crate) begins: bool,
}

impl Inner {
    /// An invocation has ended.
    pub(crate) fn invoked(&self, record: InvocationRecord) {
        self.bring(|waiting| {
            waiting.invocations.push(record);
            waiting.invocations.len()
        });
    }

    /// One begins to run, or is over.
    pub(crate) fn stepped(&self, step: Step) {
        self.bring(|waiting| {
            waiting.steps.push(step);
            waiting.steps.len()
        });
    }

    fn bring(&self, put: impl FnOnce(&mut Waiting) -> usize) {
        let length = put(&mut lock(&self.inbox.waiting));
        if length >= WAITING_MAX {
            self.count();
        }
        self.inbox.arrived.notify_one();
    }

    /// Counts all that has come before the call.
    pub(crate) fn count(&self) {
        let mut all = lock(&self.inbox.counting);
        // Left by a panic, and counted in part: twice would be worse.
        all.steps.clear();
        all.invocations.clear();
        mem::swap(&mut *all, &mut *lock(&self.inbox.waiting));
        if all.invocations.is_empty() && all.steps.is_empty() {
            return;
        }
        // What comes together is mostly of few functions: each sum is looked up once for all that is added to it.
        for of_one in all.steps.chunk_by(|step, next| step.reserved == next.reserved && step.key == next.key)
        {
            self.gathering.stepped(of_one);
        }
        for of_one in all.invocations.chunk_by(in_one_sum) {
            self.metrics.record(of_one);
            self.gathering.record(of_one);
            of_one.iter().for_each(|record| self.show_invocation(record));
            if self.counting.add(of_one) {
                self.usage_wait.notify_one();
            }
        }
        all.steps.clear();
        self.counting.keep(all.invocations.drain(..));
        all.invocations.shrink_to(ROOM_KEPT);
        all.steps.shrink_to(ROOM_KEPT);
        self.metrics_wait.notify_one();
    }

    /// Counts while something comes.
    pub(crate) async fn count_when_woken(self: &Arc<Self>) {
        loop {
            self.inbox.arrived.notified().await;
            tokio::time::sleep(COUNT_EVERY).await;
            let inner = Arc::clone(self);
            // Not cut off; a panic in it has been logged.
            let _ = tokio::task::spawn_blocking(move || inner.count()).await;
        }
    }
}

/// Whether both are counted in the same sums.
fn in_one_sum(record: &InvocationRecord, next: &InvocationRecord) -> bool {
    let size = |record: &InvocationRecord| (record.memory, minute(record.at));
    size(record) == size(next)
        && record.key == next.key
        && record.invoked_arn == next.invoked_arn
        && record.architecture == next.architecture
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
