//! Application Auto Scaling: schedules and target tracking of functions' provisioned concurrency.
//!
//! Owns: the API ([`api`]), the rules of schedule expressions and of target tracking ([`logic`]), the tables of scalable targets,
//! scheduled actions, policies and activities, and the background work that carries them out.
//! Must never know: functions ([`base::Scale`]), metrics ([`base::Utilization`]) and other services; SQL outside `data`.
//!
//! # For the composition root
//! - [`Scaling::new`] opens nothing and starts nothing; the database must be open with [`MIGRATIONS`].
//! - Register it with the gateway, and spawn [`Scaling::run`] in one task of the node: it is safe to abort, and of several nodes on one
//!   database one does the work, by a lease.
//!
//! # What survives
//! What was answered is on disk, and so is what an action has changed before it is carried out: after kill -9 the work goes on where
//! it was. An action that was due while no node ran is carried out once, late; of several, in the order in which they were due.

pub mod api;
mod data;
mod error;
pub mod logic;
mod model;
mod ops;
mod tasks;

pub use data::MIGRATIONS;
pub use error::Error;
pub use model::Planned;

use base::{AccountId, Entropy, RequestId, Scale, Timer, Timestamp, Utilization};
use std::sync::Arc;
use store::Database;
use tokio::sync::Notify;

/// What can be set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether other nodes use the same database. Default no.
    pub shared: bool,
}

/// The service.
pub struct Scaling {
    db: Database,
    clock: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
    scale: Arc<dyn Scale>,
    utilization: Arc<dyn Utilization>,
    settings: Settings,
    /// Wakes the background work.
    work: Notify,
}

impl Scaling {
    /// A service over its ports. `db` must have been opened with [`MIGRATIONS`].
    pub fn new(
        db: Database,
        clock: Arc<dyn Timer>,
        entropy: Arc<dyn Entropy>,
        scale: Arc<dyn Scale>,
        utilization: Arc<dyn Utilization>,
        settings: Settings,
    ) -> Arc<Scaling> {
        Arc::new(Scaling { db, clock, entropy, scale, utilization, settings, work: Notify::new() })
    }

    /// The changes of an account's floors that are to come, the next ones first, at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn planned(&self, account: AccountId, limit: u32) -> Result<Vec<Planned>, Error> {
        let coming = self.db.read(move |tx| data::coming(tx, account, i64::from(limit))).await?;
        let planned = |action: model::Action| {
            let (min, max) = (action.plan.min, action.plan.max);
            Some(Planned { of: action.of, action: action.name, at: action.next?, min, max })
        };
        Ok(coming.into_iter().filter_map(planned).collect())
    }

    /// Forgets all targets with what belongs to them, for tests on a development node.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn reset(&self) -> Result<(), Error> {
        self.db.write(data::forget_all).await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn fresh_id(&self) -> String {
        RequestId::new(&*self.entropy).to_string()
    }
}
