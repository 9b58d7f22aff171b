//! Background work: asynchronous invocations, the upkeep of packages, and what other nodes change.

mod changes;
mod destinations;
mod events;
mod habits;
mod mappings;
mod upkeep;

pub use mappings::MappingCounts;
pub(crate) use mappings::Mappings;

use crate::{Functions, model::FunctionId};
use base::Timestamp;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

impl Functions {
    /// Runs accepted asynchronous invocations until `stop` resolves, then waits for those that are running.
    /// Abort-safe: what it held is taken up again at the next start, or by another node after the lease.
    pub async fn run_events(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        events::run(self, stop).await;
    }

    /// Keeps packages as functions need them, until `stop` resolves: unpacks what versions wait for and what is
    /// missing on this node, removes what nobody references. Abort-safe.
    pub async fn run_upkeep(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        upkeep::run(self, stop).await;
    }

    /// Polls the queues of event source mappings, until `stop` resolves; then waits for the invocations that are running.
    /// Abort-safe: messages that were received become visible again.
    pub async fn run_mappings(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        mappings::run(self, stop).await;
    }

    /// What became of messages of event source mappings since this process began.
    pub fn mapping_counts(&self) -> MappingCounts {
        self.mappings.counts()
    }

    /// Writes down what the fleet learns of functions, each minute and when `stop` resolves, and begins with telling it what to start
    /// for calls that earlier lives let expect. Abort-safe.
    pub async fn run_habits(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        habits::run(self, stop).await;
    }

    /// Sees what other nodes on the same database change, until `stop` resolves; within [`crate::Settings::shared_every`], or not
    /// at all where that is not set. Abort-safe.
    pub async fn run_changes(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        match self.settings.shared_every {
            Some(every) => changes::run(self, every, stop).await,
            None => stop.await,
        }
    }

    /// Looks for due events and upkeep now, e.g. after a clock was set.
    pub fn wake(&self) {
        self.events.rescan();
        self.upkeep.notify_one();
    }

    /// Asynchronous invocations since this process began.
    pub fn event_counts(&self) -> EventCounts {
        self.events.counts()
    }
}

/// What became of asynchronous invocations since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Waiting or running now.
    pub backlog: u64,
    /// Put on disk.
    pub accepted: u64,
    /// Answered by their function.
    pub succeeded: u64,
    /// Attempts that ended in a function error.
    pub failed: u64,
    /// Attempts that the platform refused: throttled, no memory, no environment.
    pub refused: u64,
    /// Given up after their last retry.
    pub dropped_exhausted: u64,
    /// Given up for their age.
    pub dropped_aged: u64,
    /// Given up because there is nothing to run them: deleted, or reserved concurrency 0.
    pub dropped_unrunnable: u64,
}

/// What the invoke path and the event task share.
#[derive(Debug)]
pub(crate) struct Events {
    /// This life of this process, in leases.
    pub(crate) holder: String,
    due: Mutex<Told>,
    pub(crate) notify: Notify,
    counters: Counters,
}

/// What the event task has not heard yet. Bounded by the number of functions.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Functions with new events, and since when.
    pub(crate) due: HashMap<FunctionId, Timestamp>,
    /// Whether to look into the store for everything that is due.
    pub(crate) rescan: bool,
}

#[derive(Debug, Default)]
struct Counters {
    backlog: AtomicU64,
    accepted: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    dropped_exhausted: AtomicU64,
    dropped_aged: AtomicU64,
    dropped_unrunnable: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Events {
    pub(crate) fn new(holder: String) -> Events {
        Events { holder, due: Mutex::default(), notify: Notify::new(), counters: Counters::default() }
    }

    /// Events waiting or running, as far as this process knows.
    pub(crate) fn backlog(&self) -> u64 {
        self.counters.backlog.load(Ordering::Relaxed)
    }

    /// An event is on disk.
    pub(crate) fn accepted(&self, id: FunctionId, at: Timestamp) {
        add(&self.counters.accepted, 1);
        add(&self.counters.backlog, 1);
        self.due.lock().unwrap_or_else(PoisonError::into_inner).due.entry(id).or_insert(at);
        self.notify.notify_one();
    }

    /// A function was deleted with `count` events.
    pub(crate) fn dropped_with_function(&self, count: u64) {
        add(&self.counters.dropped_unrunnable, count);
        self.left(count);
    }

    /// Asks the event task to look into the store.
    pub(crate) fn rescan(&self) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).rescan = true;
        self.notify.notify_one();
    }

    /// Takes what has been told.
    pub(crate) fn take(&self) -> Told {
        std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn left(&self, count: u64) {
        let less = |backlog: u64| Some(backlog.saturating_sub(count));
        let _ = self.counters.backlog.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn counts(&self) -> EventCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        EventCounts {
            backlog: read(&counters.backlog),
            accepted: read(&counters.accepted),
            succeeded: read(&counters.succeeded),
            failed: read(&counters.failed),
            refused: read(&counters.refused),
            dropped_exhausted: read(&counters.dropped_exhausted),
            dropped_aged: read(&counters.dropped_aged),
            dropped_unrunnable: read(&counters.dropped_unrunnable),
        }
    }
}
