//! What a node remembers of queues between requests: who waits for messages, how many calls there were, how many messages may be
//! in flight. Nothing that is lost with it matters.

use crate::{Error, IN_FLIGHT_MAX, gauges::USED_MINUTES};
use base::{Entropy, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// Calls of one operation per second on a FIFO queue without high throughput; a batch is one. Source: SQS quotas.
const FIFO_RATE_MAX: u32 = 300;

/// One receive of so many begins with the backlogs of a standard queue's groups.
const BACKLOGS_TURN: u64 = 4;

/// Of one queue.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// One of those who wait for messages; woken for each that comes.
    pub(crate) one: Notify,
    /// All that only want to know.
    pub(crate) all: Notify,
    /// Received and not deleted, at most.
    pub(crate) in_flight: AtomicI64,
    receives: AtomicU64,
    /// Minutes since its last use.
    unused: AtomicU32,
    rates: [Mutex<(i64, u32)>; 3],
    pub(crate) counts: Counts,
}

/// Since the node began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) deleted: AtomicU64,
    pub(crate) empty: AtomicU64,
    pub(crate) buried: AtomicU64,
}

/// Operations with rates of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Send,
    Receive,
    Settle,
}

impl Signal {
    /// Tells that `count` messages may be visible.
    pub(crate) fn wake(&self, count: usize) {
        for _ in 0..count.min(10) {
            self.one.notify_one();
        }
        self.all.notify_waiters();
    }

    /// Whether this receive is one that begins with the backlogs of groups, so that they are not forgotten.
    pub(crate) fn is_backlogs_turn(&self) -> bool {
        self.receives.fetch_add(1, Ordering::Relaxed) % BACKLOGS_TURN == BACKLOGS_TURN - 1
    }

    /// Counts a call; refuses it beyond the rate.
    pub(crate) fn admit(&self, kind: Kind, now: Timestamp) -> Result<(), Error> {
        let Some(rate) = self.rates.get(kind as usize) else { return Ok(()) };
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0 / 1_000;
        if rate.0 != second {
            *rate = (second, 0);
        }
        if rate.1 >= FIFO_RATE_MAX {
            return Err(Error::Throttled(FIFO_RATE_MAX));
        }
        rate.1 += 1;
        Ok(())
    }
}

/// Of all queues that were used; bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    all: Mutex<HashMap<i64, Arc<Signal>>>,
    /// Told when a queue is used that was not for a while.
    pub(crate) used: Notify,
}

impl Signals {
    /// Those of a queue, which is used with it.
    pub(crate) fn of(&self, queue: i64) -> Arc<Signal> {
        let signal = {
            let mut all = self.lock();
            Arc::clone(all.entry(queue).or_insert_with(|| {
                self.used.notify_one();
                // What was in flight before the node began is counted by the first receive.
                let in_flight = AtomicI64::new(i64::try_from(IN_FLIGHT_MAX).unwrap_or(i64::MAX));
                Arc::new(Signal { in_flight, ..Signal::default() })
            }))
        };
        if signal.unused.load(Ordering::Relaxed) > 0
            && signal.unused.swap(0, Ordering::Relaxed) >= USED_MINUTES
        {
            self.used.notify_one();
        }
        signal
    }

    /// Lets a minute pass: the queues that were used in the last six hours.
    pub(crate) fn minute(&self) -> HashSet<i64> {
        let all = self.lock();
        let used = all.iter().filter(|(_, signal)| {
            let unused = signal.unused.load(Ordering::Relaxed);
            if unused < USED_MINUTES {
                signal.unused.store(unused + 1, Ordering::Relaxed);
            }
            unused < USED_MINUTES
        });
        used.map(|(queue, _)| *queue).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Arc<Signal>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a deleted queue; who waits hears of it.
    pub(crate) fn forget(&self, queue: i64) {
        let gone = self.lock().remove(&queue);
        if let Some(gone) = gone {
            gone.one.notify_waiters();
            gone.all.notify_waiters();
        }
    }

    /// Forgets all queues.
    pub(crate) fn forget_all(&self) {
        let ids: Vec<i64> = self.lock().keys().copied().collect();
        ids.into_iter().for_each(|id| self.forget(id));
    }

    /// Sums over all queues.
    pub(crate) fn totals(&self) -> crate::Totals {
        let all = self.lock();
        let mut totals = crate::Totals::default();
        for signal in all.values() {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            totals.sent += read(&signal.counts.sent);
            totals.received += read(&signal.counts.received);
            totals.deleted += read(&signal.counts.deleted);
            totals.empty_receives += read(&signal.counts.empty);
            totals.dead_lettered += read(&signal.counts.buried);
        }
        totals
    }
}

/// A number that nobody foresees; not negative.
pub(crate) fn nonce(entropy: &dyn Entropy) -> i64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    i64::from_be_bytes(bytes) & i64::MAX
}
