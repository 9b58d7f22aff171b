//! Event source mappings: a poller for each that is to poll, and the states between settled ones.
//!
//! A reconciler: whatever has changed, it compares what is stored with which pollers there are. Where nodes share a database,
//! a mapping is worked on by the node that has its lease; the others look again from time to time.

mod poll;

use super::add;
use crate::{
    Error, Functions, data,
    model::{Mapping, MappingState},
};
use base::{Millis, QueueSource, RequestId, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{
    Commit,
    leases::{self, Lease},
};
use tokio::{
    sync::{Notify, watch},
    task::{Id, JoinError, JoinSet},
};

/// After an error of the store.
const RETRY: Duration = Duration::from_secs(1);

/// What became of messages since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappingCounts {
    /// Mappings that poll on this node now.
    pub pollers: u64,
    /// Messages received.
    pub polled: u64,
    /// Messages that no filter wanted.
    pub filtered: u64,
    /// Invocations.
    pub invoked: u64,
    /// Invocations that the platform refused: throttled, no memory, no environment.
    pub refused: u64,
    /// Messages deleted after they were worked on.
    pub deleted: u64,
    /// Messages left to become visible again.
    pub failed: u64,
    /// Messages that have come back to their function too often, and were not handed to it.
    pub looped: u64,
}

/// What the operations and the task share.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    notify: Notify,
    /// Bytes of messages that pollers hold.
    held: AtomicU64,
    pollers: AtomicU64,
    polled: AtomicU64,
    filtered: AtomicU64,
    invoked: AtomicU64,
    refused: AtomicU64,
    deleted: AtomicU64,
    failed: AtomicU64,
    looped: AtomicU64,
}

impl Mappings {
    /// A mapping is not what it was.
    pub(crate) fn changed(&self) {
        self.notify.notify_one();
    }

    pub(super) fn counts(&self) -> MappingCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MappingCounts {
            pollers: read(&self.pollers),
            polled: read(&self.polled),
            filtered: read(&self.filtered),
            invoked: read(&self.invoked),
            refused: read(&self.refused),
            deleted: read(&self.deleted),
            failed: read(&self.failed),
            looped: read(&self.looped),
        }
    }
}

/// A poller that has not been told to stop.
struct Polling {
    revision: i64,
    /// Dropped to stop it.
    _stop: watch::Sender<()>,
}

struct Driver {
    functions: Arc<Functions>,
    queues: Arc<dyn QueueSource>,
    polling: HashMap<RequestId, Polling>,
    /// Pollers, also those that are finishing what they have received.
    running: JoinSet<RequestId>,
    /// Which mapping a task is for.
    tasks: HashMap<Id, RequestId>,
    leases: HashMap<RequestId, Lease>,
}

pub(super) async fn run(functions: Arc<Functions>, stop: impl Future<Output = ()> + Send) {
    let mut stop = pin!(stop);
    let Ok(queues) = functions.queues() else { return stop.await };
    let mut driver = Driver {
        functions,
        queues,
        polling: HashMap::new(),
        running: JoinSet::new(),
        tasks: HashMap::new(),
        leases: HashMap::new(),
    };
    loop {
        let round = async {
            match driver.reconcile().await {
                Ok(()) => driver.wait().await,
                Err(error) => {
                    tracing::error!(%error, "event source mappings wait for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        tokio::select! {
            () = &mut stop => break,
            () = round => {}
        }
    }
    driver.end().await;
}

impl Driver {
    /// Makes it so that what is stored is done.
    async fn reconcile(&mut self) -> Result<(), Error> {
        let mappings = self.functions.db.read(data::all_mappings).await?;
        let known: HashSet<RequestId> = mappings.iter().map(|mapping| mapping.id).collect();
        self.polling.retain(|id, _| known.contains(id));
        self.leases.retain(|id, _| known.contains(id));
        for mapping in mappings {
            self.reconcile_one(mapping).await?;
        }
        let pollers = u64::try_from(self.polling.len()).unwrap_or_default();
        self.functions.mappings.pollers.store(pollers, Ordering::Relaxed);
        Ok(())
    }

    async fn reconcile_one(&mut self, mapping: Mapping) -> Result<(), Error> {
        let (id, revision) = (mapping.id, mapping.revision);
        if !self.leased(&mapping).await? {
            self.polling.remove(&id);
            return Ok(());
        }
        let current = self.polling.get(&id).is_some_and(|polling| polling.revision == revision);
        if !current {
            self.polling.remove(&id);
        }
        let state = mapping.state;
        if mapping.enabled {
            if !current {
                self.begin(mapping);
            }
        } else if self.tasks.values().any(|task| *task == id) {
            // What was received is being finished; its end brings us here again.
            return Ok(());
        }
        if state.settled() {
            return Ok(());
        }
        let enabled = self.polling.contains_key(&id);
        self.functions
            .db
            .write(move |tx| match (state, enabled) {
                (MappingState::Deleting, _) => data::delete_mapping(tx, id),
                (_, true) => data::settle_mapping(tx, id, revision, MappingState::Enabled),
                (_, false) => data::settle_mapping(tx, id, revision, MappingState::Disabled),
            })
            .await
    }

    fn begin(&mut self, mapping: Mapping) {
        let (stop, stopped) = watch::channel(());
        let (id, revision) = (mapping.id, mapping.revision);
        let poll =
            poll::run(Arc::clone(&self.functions), Arc::clone(&self.queues), Arc::new(mapping), stopped);
        let task = self.running.spawn(async move {
            poll.await;
            id
        });
        self.tasks.insert(task.id(), id);
        self.polling.insert(id, Polling { revision, _stop: stop });
    }

    /// Whether this node is the one to work on a mapping.
    async fn leased(&mut self, mapping: &Mapping) -> Result<bool, Error> {
        if self.functions.settings.shared_every.is_none() {
            return Ok(true);
        }
        if mapping.state == MappingState::Disabled {
            return Ok(self.leases.remove(&mapping.id).is_none());
        }
        let (now, ttl) = (self.functions.now(), self.functions.settings.events.lease);
        let held = self.leases.get(&mapping.id).cloned();
        if held.as_ref().is_some_and(|lease| !renewable(lease, now, ttl)) {
            return Ok(true);
        }
        let (name, holder) =
            (format!("event-source-mapping/{}", mapping.id), self.functions.events.holder.clone());
        let lease = self
            .functions
            .db
            .write_at(Commit::Written, move |tx| match &held {
                Some(lease) => match leases::renew(tx, lease, now, ttl) {
                    Ok(lease) => Ok(Some(lease)),
                    Err(store::Error::LeaseLost { .. }) => Ok(None),
                    Err(error) => Err(Error::from(error)),
                },
                None => Ok(leases::acquire(tx, &name, &holder, now, ttl)?),
            })
            .await?;
        match lease {
            Some(lease) => self.leases.insert(mapping.id, lease),
            None => self.leases.remove(&mapping.id),
        };
        Ok(self.leases.contains_key(&mapping.id))
    }

    /// Waits until something has changed.
    async fn wait(&mut self) {
        let functions = Arc::clone(&self.functions);
        let every = functions.settings.shared_every.unwrap_or(functions.settings.upkeep_every);
        tokio::select! {
            () = functions.mappings.notify.notified() => {}
            Some(ended) = self.running.join_next_with_id() => self.note(ended),
            () = tokio::time::sleep(every.duration()) => {}
        }
    }

    fn note(&mut self, ended: Result<(Id, RequestId), JoinError>) {
        let (task, broken) = match ended {
            Ok((task, _)) => (task, false),
            Err(error) => {
                tracing::error!(%error, "the poller of an event source mapping broke off");
                (error.id(), true)
            }
        };
        if let Some(id) = self.tasks.remove(&task)
            && broken
        {
            // It begins anew.
            self.polling.remove(&id);
        }
    }

    /// Ends all pollers and waits for what they have invoked.
    async fn end(mut self) {
        self.polling.clear();
        while let Some(ended) = self.running.join_next_with_id().await {
            self.note(ended);
        }
        let held: Vec<Lease> = self.leases.into_values().collect();
        let released = self
            .functions
            .db
            .write_at(Commit::Written, move |tx| {
                held.iter().try_for_each(|lease| leases::release(tx, lease)).map_err(Error::from)
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "leases of event source mappings end by themselves");
        }
    }
}

/// Whether a third of a lease has passed.
fn renewable(lease: &Lease, now: Timestamp, ttl: Millis) -> bool {
    let left = lease.expires.0.saturating_sub(now.0);
    left < i64::try_from(ttl.0).unwrap_or(i64::MAX) / 3 * 2
}
