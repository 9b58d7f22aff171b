//! SQS: queues, standard and FIFO.
//!
//! Owns: the SQS API ([`api`]), the rules of names, attributes, policies, messages and receipts ([`logic`]), the tables of queues
//! and messages, and the background work on them: retention, purges, deleted queues, moves from dead-letter queues.
//! Must never know: functions and other services; SQL outside `data`.
//!
//! # For the composition root
//! - [`Queues::new`] opens nothing and starts nothing; the database must be open with [`MIGRATIONS`].
//! - Register it with the gateway, spawn [`Queues::run`] in one task of the node (safe to abort, and to run on many nodes), and give it
//!   to others as [`base::QueueSource`] and, for ARNs of SQS, as [`base::Deliver`].
//!
//! # Durability
//! What was sent is on disk before the answer. Receives, deletions and changes of visibility are *written* on standard queues: they
//! survive kill -9, and a power failure at worst has a message received again. On FIFO queues they are on disk too, since an order
//! is promised.

pub mod api;
mod data;
mod error;
mod gauges;
pub mod logic;
pub mod model;
mod ops;
mod ports;
mod signals;
mod tasks;

pub use data::MIGRATIONS;
pub use error::Error;
pub use gauges::Measured;

use base::{
    Authorize, Denied, Entropy, MessageStep, Meter, MeteredQueue, Principal, RequestId, ServiceCaller, Timer,
    Timestamp,
};
use logic::policy::{Verdict, Who};
use model::{Queue, QueueKey};
use signals::Signals;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};
use store::Database;
use tasks::UpkeepAt;
use tokio::sync::Notify;

/// After a queue is deleted its name rests so long. Source: SQS API reference, `CreateQueue`.
pub(crate) const DELETED_S: i64 = 60;
/// Between purges of a queue. Source: SQS API reference, `PurgeQueue`.
pub(crate) const PURGE_REST_S: i64 = 60;
/// Messages in flight. Source: SQS quotas, standard and FIFO.
pub(crate) const IN_FLIGHT_MAX: u64 = 120_000;
/// Entries of a batch. Source: SQS quotas.
pub(crate) const BATCH_MAX: usize = 10;
/// Bytes of a batch. Source: SQS quotas.
pub(crate) const BATCH_BYTES_MAX: usize = 1_048_576;
/// Queues kept in memory for the hot paths.
const CACHED_MAX: usize = 50_000;
/// Attempts at a change of a queue that others change too.
const ATTEMPTS: usize = 5;

/// What can be set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether other nodes use the same database: who waits for messages then looks for theirs each second. Default no.
    pub shared: bool,
}

/// What became of messages since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages deleted.
    pub deleted: u64,
    /// Receives that found nothing.
    pub empty_receives: u64,
    /// Messages moved to dead-letter queues.
    pub dead_lettered: u64,
}

/// The service.
pub struct Queues {
    db: Database,
    clock: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
    authorize: Arc<dyn Authorize>,
    settings: Settings,
    cache: RwLock<HashMap<QueueKey, Arc<Queue>>>,
    signals: Signals,
    /// Wakes the background work.
    work: Notify,
    upkeep_at: UpkeepAt,
    meter: OnceLock<Arc<dyn Meter>>,
    measured: RwLock<Arc<gauges::Measured>>,
}

impl Queues {
    /// A service over its ports. `db` must have been opened with [`MIGRATIONS`].
    pub fn new(
        db: Database,
        clock: Arc<dyn Timer>,
        entropy: Arc<dyn Entropy>,
        authorize: Arc<dyn Authorize>,
        settings: Settings,
    ) -> Arc<Queues> {
        Arc::new(Queues {
            db,
            clock,
            entropy,
            authorize,
            settings,
            cache: RwLock::default(),
            signals: Signals::default(),
            work: Notify::new(),
            upkeep_at: UpkeepAt::new(),
            meter: OnceLock::new(),
            measured: RwLock::default(),
        })
    }

    /// Counts messages with `meter`. Set once, before the first request; nothing is counted otherwise.
    pub fn meter_messages(&self, meter: Arc<dyn Meter>) {
        // A second call would change nothing.
        let _ = self.meter.set(meter);
    }

    pub(crate) fn count(&self, queue: &Queue, what: MessageStep<'_>) {
        if let Some(meter) = self.meter.get() {
            let QueueKey { account, region, name } = &queue.key;
            meter.messages(MeteredQueue { account: *account, region, name }, what);
        }
    }

    /// What became of messages since the node began.
    pub fn totals(&self) -> Totals {
        self.signals.totals()
    }

    /// Forgets all queues and messages, for tests on a development node.
    pub async fn reset(&self) -> Result<(), Error> {
        self.db.write(data::forget_all).await?;
        self.cache.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.signals.forget_all();
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn fresh_id(&self) -> RequestId {
        RequestId::new(&*self.entropy)
    }

    /// A queue, from memory where it is known. It may have changed: what is done with it says [`Error::Stale`] then.
    async fn queue(&self, key: &QueueKey) -> Result<Arc<Queue>, Error> {
        if let Some(known) = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(Arc::clone(known));
        }
        let wanted = key.clone();
        let found = self.db.read(move |tx| data::queue(tx, &wanted)).await?.ok_or(Error::NoQueue)?;
        let found = Arc::new(found);
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(key.clone(), Arc::clone(&found));
        Ok(found)
    }

    /// A queue as it is now.
    async fn read_anew(&self, key: &QueueKey) -> Result<Arc<Queue>, Error> {
        self.forget(key);
        self.queue(key).await
    }

    fn forget(&self, key: &QueueKey) {
        self.cache.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Does something with a queue, again if it has changed since it was read.
    async fn with<T, F>(&self, key: &QueueKey, act: impl Fn(Arc<Queue>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        for _ in 0..ATTEMPTS {
            match act(self.queue(key).await?).await {
                Err(Error::Stale) => self.forget(key),
                done => return done,
            }
        }
        Err(Error::Stale)
    }

    /// Refuses what neither the account nor the queue's policy allows.
    fn allowed(&self, who: &Principal, action: &str, queue: &Queue) -> Result<(), Error> {
        let resource = queue.key.arn().to_string();
        let policy = queue.settings.policy.as_ref();
        let verdict =
            policy.map_or(Verdict::Silent, |policy| policy.verdict(Who::Principal(who), action, &resource));
        let own = who.account() == queue.key.account;
        let reason = match verdict {
            Verdict::Deny => "an explicit deny in a resource-based policy",
            Verdict::Allow => return Ok(()),
            Verdict::Silent if own => return Ok(self.authorize.authorize(who, action, &resource)?),
            Verdict::Silent => "no resource-based policy allows the action",
        };
        Err(Denied { who: who.arn(), action: action.to_owned(), resource, reason }.into())
    }

    /// The same for a service, which the queue's policy alone can allow it.
    fn allowed_to_service(&self, caller: &ServiceCaller, action: &str, queue: &Queue) -> Result<(), Error> {
        let resource = queue.key.arn().to_string();
        let policy = queue.settings.policy.as_ref();
        match policy.map_or(Verdict::Silent, |policy| policy.verdict(Who::Service(caller), action, &resource))
        {
            Verdict::Allow => Ok(()),
            Verdict::Deny | Verdict::Silent => Err(Denied {
                who: caller.service.to_owned(),
                action: action.to_owned(),
                resource,
                reason: "no resource-based policy allows the action",
            }
            .into()),
        }
    }
}
