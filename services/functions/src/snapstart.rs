//! Versions with SnapStart: their initialisation when they are published, and what the fleet is told of them.

use crate::{
    Error, Functions, data,
    model::{Condition, FailureCode, FunctionId, Qualifier, Target, VersionRecord},
};
use base::{FunctionSpec, PrepareError, Version, limits};
use futures_util::future;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How much longer than an initialisation may take the room for it is waited for, before somebody else is seen to.
const ROOM_WAIT: Duration = Duration::from_secs(60);

/// What the fleet was told: versions of which environments wait initialised.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Mutex<BTreeMap<(FunctionId, Version), Arc<FunctionSpec>>>);

/// Initialises versions that wait for it, side by side, and settles each. An error means that one is still open.
pub(crate) async fn initialise_all(functions: &Functions, versions: Vec<VersionRecord>) -> Result<(), Error> {
    let outcomes = future::join_all(versions.into_iter().map(|record| initialise(functions, record))).await;
    outcomes.into_iter().collect()
}

async fn initialise(functions: &Functions, record: VersionRecord) -> Result<(), Error> {
    let id = record.id.clone();
    let Some(function) = functions.db.read(move |tx| data::function(tx, &id)).await? else { return Ok(()) };
    let spec = Arc::new(record.spec(&record.deployment, &function));
    let key = spec.key.clone();
    if let Err(error) = functions.code.ensure_all(&spec).await {
        tracing::error!(function = %key.name, version = %key.version, %error, "a package is missing on this node");
    }
    let longest = limits::SNAPSTART_INIT_MAX.max(spec.timeout.millis()).duration() + ROOM_WAIT;
    let prepared = tokio::time::timeout(longest, functions.execute.prepare(spec)).await;
    let failure = match prepared {
        Ok(Ok(())) => None,
        Ok(Err(PrepareError::Function { reason, timed_out })) => {
            let code = match timed_out {
                true => FailureCode::FunctionErrorInitTimeout,
                false => FailureCode::FunctionError,
            };
            Some(Condition::Failed { code, reason })
        }
        Ok(Err(error @ PrepareError::Node(_))) => return Err(Error::NotInitialised(error.to_string())),
        Err(_elapsed) => return Err(Error::NotInitialised("no memory was free for it".to_owned())),
    };
    let failed = failure.is_some();
    let (id, version, deployment) = (record.id.clone(), record.version, record.deployment.id);
    let there = functions
        .db
        .write(move |tx| {
            let found = data::version_of(tx, &record.id, record.version)?;
            // Deleted meanwhile; perhaps another function has its name since.
            let Some(mut found) = found.filter(|found| found.deployment.id == deployment) else {
                return Ok::<_, Error>(false);
            };
            if found.condition == Condition::Creating {
                found.condition = failure.clone().unwrap_or(Condition::Active);
                data::put_version(tx, &found)?;
            }
            Ok(true)
        })
        .await?;
    if failed || !there {
        tracing::info!(function = %id.name, %version, "a version was not initialised");
        functions.execute.retire(&key);
    }
    functions.specs.invalidate(&id);
    Ok(())
}

impl Functions {
    /// Tells the fleet of every version of which environments are to wait, so that each node has its own, also after a start,
    /// and of those that another node has deleted.
    pub(crate) async fn tell_prepared(&self) -> Result<(), Error> {
        let mut told = self.prepared.0.lock().await;
        let wanted = self.db.read(data::snap_started).await?;
        for place in &wanted {
            let (id, version) = place;
            let target = Target { id: id.clone(), qualifier: Some(Qualifier::Version(*version)) };
            let served = match self.load(&target, *version).await {
                Ok(served) => served,
                // It is being deleted, or its package is unpacked: the upkeep comes again.
                Err(error) => {
                    tracing::debug!(function = %target.arn(), %error, "not initialised ahead yet");
                    continue;
                }
            };
            if told.get(place) == Some(&served.spec) {
                continue;
            }
            if let Err(error) = self.code.ensure_all(&served.spec).await {
                tracing::error!(function = %target.arn(), %error, "a package is missing on this node");
                continue;
            }
            // Nobody waits for it here.
            drop(self.execute.prepare(served.spec.clone()));
            if let Some(before) = told.insert(place.clone(), served.spec.clone())
                && before.key != served.spec.key
            {
                self.execute.retire(&before.key);
            }
        }
        told.retain(|place, spec| {
            let stays = wanted.contains(place);
            if !stays {
                self.execute.retire(&spec.key);
            }
            stays
        });
        Ok(())
    }
}
