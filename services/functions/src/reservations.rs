//! What the fleet is told of reserved concurrency: the sums that the store has, so that what is reserved for functions
//! that were never invoked is kept free as well.

use crate::{Error, Functions, data};
use base::{AccountId, Region};
use std::collections::BTreeMap;
use tokio::sync::{Mutex, OnceCell};

/// What the fleet was told.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// Held while reading and telling: who tells last has read last.
    told: Mutex<BTreeMap<(AccountId, Region), u32>>,
    /// Set once everything was told.
    first: OnceCell<()>,
}

impl Functions {
    /// Makes sure that the fleet was told once; before any function is invoked. Reads no store afterwards.
    pub(crate) async fn reservations_known(&self) -> Result<(), Error> {
        self.reservations.first.get_or_try_init(|| self.tell_reservations()).await.copied()
    }

    /// After a change is committed and before it is acknowledged. What fails here is made up for by the upkeep: the
    /// change itself stands.
    pub(crate) async fn reservations_changed(&self) {
        if let Err(error) = self.tell_reservations().await {
            tracing::error!(%error, "reservations could not be read again");
            self.upkeep.notify_one();
        }
    }

    /// Tells the fleet every sum that differs from what it was told.
    pub(crate) async fn tell_reservations(&self) -> Result<(), Error> {
        let mut told = self.reservations.told.lock().await;
        let now = self.db.read(data::reservations).await?;
        for (account, region) in told.keys().filter(|key| !now.contains_key(key)) {
            self.execute.reserve(*account, region, 0);
        }
        for ((account, region), total) in &now {
            self.execute.reserve(*account, region, *total);
        }
        *told = now;
        Ok(())
    }
}
