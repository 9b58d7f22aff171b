//! What the fleet is told of the concurrency that functions have for themselves: the sums of what is reserved or
//! provisioned, so that what belongs to functions that were never invoked is kept free as well, and which environments
//! are to be ready ahead of invocations; and what telemetry is told of these, to charge for them.

use crate::{
    Error, Functions, data,
    logic::{
        aliases::Route,
        provisioned::{self, ProvisionedConcurrency},
    },
    model::{FunctionId, Qualifier, Target},
};
use base::{AccountId, FunctionSpec, Provisioned, Region, Reserved, Version, VersionKey};
use std::{collections::BTreeMap, sync::Arc};
use store::Tx;
use tokio::sync::{Mutex, OnceCell};

/// What the fleet was told.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// Held while reading and telling: who tells last has read last.
    told: Mutex<Told>,
    /// Set once everything was told.
    first: OnceCell<()>,
}

#[derive(Debug, Default)]
struct Told {
    totals: BTreeMap<(AccountId, Region), u32>,
    floors: Floors<Arc<FunctionSpec>>,
    /// What is charged; `None`: nobody was told in this node's life.
    reserved: Option<Vec<Reserved>>,
}

/// Environments to be ready of each version, with something about it.
type Floors<T> = BTreeMap<(FunctionId, Version), (u32, T)>;

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

    /// Tells the fleet everything that differs from what it was told.
    pub(crate) async fn tell_reservations(&self) -> Result<(), Error> {
        let mut told = self.reservations.told.lock().await;
        let (totals, floors, charged) = self
            .db
            .read(|tx| {
                let floors = floors(tx)?;
                let reserved = reserved(tx, &floors)?;
                Ok::<_, Error>((data::own_concurrency_by_account(tx)?, floors, reserved))
            })
            .await?;
        if let Some(meter) = self.meter.get()
            && told.reserved.as_ref() != Some(&charged)
        {
            meter.reserved(charged.clone()).await;
            told.reserved = Some(charged);
        }
        for (account, region) in told.totals.keys().filter(|key| !totals.contains_key(key)) {
            self.execute.reserve(*account, region, 0);
        }
        for ((account, region), total) in &totals {
            self.execute.reserve(*account, region, *total);
        }
        told.totals = totals;
        for (key, (count, ())) in &floors {
            let (id, version) = key;
            let target = Target { id: id.clone(), qualifier: Some(Qualifier::Version(*version)) };
            match self.load(&target, *version).await {
                Ok(served) => {
                    let before = told.floors.insert(key.clone(), (*count, served.spec.clone()));
                    if before.is_none_or(|before| before != (*count, served.spec.clone())) {
                        // Nobody may have asked this node for the function yet.
                        if let Err(error) = self.code.ensure_all(&served.spec).await {
                            tracing::error!(function = %target.arn(), %error, "a package is missing on this node");
                        }
                        self.execute.provision(served.spec.clone(), *count);
                    }
                }
                // Its package is still being unpacked: the upkeep comes again.
                Err(error) => tracing::debug!(function = %target.arn(), %error, "not provisioned yet"),
            }
        }
        told.floors.retain(|key, (_, spec)| {
            let stays = floors.contains_key(key);
            if !stays {
                self.execute.provision(spec.clone(), 0);
            }
            stays
        });
        Ok(())
    }

    /// How many of the environments that are to be ready for a version or an alias are.
    pub(crate) async fn provisioned(&self, target: &Target) -> Provisioned {
        let told = self.reservations.told.lock().await;
        let named = target.clone();
        let shares = self.db.read(move |tx| shares(tx, &named)).await.unwrap_or_default();
        let parts = shares.into_iter().filter_map(|(version, share)| {
            let (_, spec) = told.floors.get(&(target.id.clone(), version))?;
            Some((share, self.execute.provisioned(&spec.key)))
        });
        provisioned::total(parts)
    }
}

/// What is to be ready of each version.
fn floors(tx: &mut Tx<'_>) -> Result<Floors<()>, Error> {
    let mut floors: Floors<()> = BTreeMap::new();
    for (id, word, _) in data::all_configs::<ProvisionedConcurrency>(tx)? {
        let target = Target { id: id.clone(), qualifier: Some(Qualifier::of(&word)) };
        for (version, share) in shares(tx, &target)? {
            floors.entry((id.clone(), version)).or_default().0 += share;
        }
    }
    Ok(floors)
}

/// What is charged for, whether or not its environments could be started yet.
fn reserved(tx: &mut Tx<'_>, floors: &Floors<()>) -> Result<Vec<Reserved>, Error> {
    let mut all = Vec::new();
    for ((id, version), (count, ())) in floors {
        let Some(record) = data::version_of(tx, id, *version)? else { continue };
        let FunctionId { account, region, name } = id.clone();
        let key = VersionKey {
            account,
            region,
            name,
            version: *version,
            revision: record.deployment.id,
            tenant: None,
        };
        let configuration = record.deployment.configuration;
        let (architecture, memory) = (configuration.architecture, configuration.memory);
        all.push(Reserved { key, architecture, memory, count: *count });
    }
    Ok(all)
}

/// How what is provisioned for a version or an alias is divided.
fn shares(tx: &mut Tx<'_>, target: &Target) -> Result<Vec<(Version, u32)>, Error> {
    let config: Option<ProvisionedConcurrency> = data::config(tx, &target.id, &target.word())?;
    let Some(config) = config else { return Ok(Vec::new()) };
    Ok(match &target.qualifier {
        Some(Qualifier::Version(version)) => vec![(*version, config.requested)],
        Some(Qualifier::Alias(name)) => match data::alias(tx, &target.id, name)? {
            Some(alias) => {
                let (first, other) = Route::of(&alias).parts();
                provisioned::shares(config.requested, first, other)
            }
            None => Vec::new(),
        },
        None => Vec::new(),
    })
}
