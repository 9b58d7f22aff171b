//! What queues hold, measured each minute: for the meter, and for who looks at this node.
//!
//! Measured are queues with messages, and those that were used in the last six hours, as on SQS. With none of them nothing is done
//! until one is used. Of several nodes one measures in each minute.

use crate::{Error, Queues, data, model::QueueKey};
use base::{MeteredQueue, Millis, QueueDepth, Timestamp};
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
    time::Duration,
};
use store::{Commit, leases};

const EVERY_MS: i64 = 60_000;
/// The lease of a minute ends before the next begins.
const LEASE: Millis = Millis(59_000);
/// Minutes after its last use in which a queue without messages is still measured. Source: SQS developer guide, "Monitoring Amazon SQS
/// queues using CloudWatch".
pub(crate) const USED_MINUTES: u32 = 360;
/// Queues measured at once: others have their turn between.
const PAGE: i64 = 200;
/// After an error of the store.
const RETRY: Duration = Duration::from_secs(5);

/// Queues with what they held when they were last measured, by id.
pub type Measured = Vec<(QueueKey, QueueDepth)>;

impl Queues {
    /// What queues held when this node last measured them.
    pub fn measured(&self) -> Arc<Measured> {
        Arc::clone(&self.measured.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Measures queues, for ever. Abort-safe.
    pub(crate) async fn measure(&self) {
        loop {
            let next = Timestamp((self.now().0.div_euclid(EVERY_MS) + 1) * EVERY_MS);
            self.clock.sleep_until(next).await;
            let used = self.signals.minute();
            match self.measure_once(&used).await {
                // Nothing is to be done before somebody uses a queue; other nodes may have.
                Ok(0) if used.is_empty() && !self.settings.shared => self.signals.used.notified().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "the measuring of queues waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn measure_once(&self, used: &HashSet<i64>) -> Result<usize, Error> {
        if self.settings.shared && !self.is_measuring().await? {
            self.show(Measured::new());
            return Ok(0);
        }
        let filled = self.db.read(data::filled).await?;
        let wanted: Arc<HashSet<i64>> = Arc::new(filled.union(used).copied().collect());
        let (mut after, mut all) = (0, Measured::new());
        while !wanted.is_empty() {
            let (now, these) = (self.now(), Arc::clone(&wanted));
            let page = self.db.read(move |tx| data::depths(tx, &these, after, PAGE, now)).await?;
            let Some(last) = page.last else { break };
            after = last;
            for (key, depth) in page.depths {
                if let Some(meter) = self.meter.get() {
                    let QueueKey { account, region, name } = &key;
                    meter.depth(MeteredQueue { account: *account, region, name }, depth);
                }
                all.push((key, depth));
            }
        }
        let count = all.len();
        self.show(all);
        Ok(count)
    }

    fn show(&self, all: Measured) {
        *self.measured.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }

    /// Whether this node is the one to measure in this minute.
    async fn is_measuring(&self) -> Result<bool, Error> {
        let (now, holder) = (self.now(), self.fresh_id().to_string());
        let taken = self
            .db
            .write_at(Commit::Written, move |tx| leases::acquire(tx, "queue-gauges", &holder, now, LEASE))
            .await?;
        Ok(taken.is_some())
    }
}
