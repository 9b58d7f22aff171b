//! DeleteFunction.

use crate::{
    Error, Functions,
    api::QualifiedRequest,
    asking, data,
    logic::names::{self, Form},
    model::{FunctionId, Qualifier, VersionRecord},
};
use base::{Timestamp, Version};
use store::Tx;
use wire::Context;

impl Functions {
    pub(crate) async fn delete_function(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<(), Error> {
        let target = asking(context, "lambda:DeleteFunction", |asker| {
            names::target(asker, &input.function_name, input.qualifier.as_deref(), Form::Namespaced)
        })?;
        let whole = target.qualifier.is_none();
        if target.qualifier == Some(Qualifier::Version(Version::Latest)) {
            return Err(Error::invalid("$LATEST version cannot be deleted without deleting the function."));
        }
        if let Some(Qualifier::Alias(_)) = target.qualifier {
            return Err(Error::invalid("Aliases are deleted by DeleteAlias, not by DeleteFunction."));
        }
        let (id, now) = (target.id.clone(), self.now());
        let (deleted, events) = self
            .db
            .write(move |tx| {
                if data::function(tx, &target.id)?.is_none() {
                    return Err(Error::NotFound(target.arn()));
                }
                let Some(_) = &target.qualifier else { return remove(tx, &target.id, now) };
                let found = data::version_named(tx, &target)?;
                let version = found.ok_or_else(|| Error::NotFound(target.arn()))?;
                refuse_referenced(tx, &version)?;
                data::delete_version(tx, &target.id, version.version)?;
                data::delete_configs_of(tx, &target.id, Some(&target.word()))?;
                release(tx, std::slice::from_ref(&version), now)?;
                Ok((vec![version], 0))
            })
            .await?;
        self.forget(&id, &deleted, events);
        if whole {
            self.uncount(&id);
        }
        self.reservations_changed().await;
        Ok(())
    }

    /// Deletes every function of every account, with its versions and waiting events, and every layer. For `neap dev`: nobody is asked.
    ///
    /// # Errors
    /// Those of the store; what was deleted before stays deleted.
    pub async fn reset(&self) -> Result<(), Error> {
        for id in self.db.read(data::all_functions).await? {
            let (gone, now) = (id.clone(), self.now());
            let (deleted, events) = self.db.write(move |tx| remove(tx, &gone, now)).await?;
            self.forget(&id, &deleted, events);
            self.uncount(&id);
        }
        self.db.write(data::delete_mappings).await?;
        self.mappings.changed();
        self.db.write(data::delete_layers).await?;
        self.reservations_changed().await;
        Ok(())
    }

    /// What is kept in memory and in environments of versions that are deleted.
    fn uncount(&self, id: &FunctionId) {
        if let Some(meter) = self.meter.get() {
            meter.deleted(id.account, &id.region, &id.name);
        }
    }

    fn forget(&self, id: &FunctionId, deleted: &[VersionRecord], events: u64) {
        self.specs.invalidate(id);
        self.events.dropped_with_function(events);
        for record in deleted {
            if let Some(serving) = record.serving() {
                self.execute.retire(&record.key(serving));
            }
            // Also while it is initialised.
            if record.snap_starts() {
                self.execute.retire(&record.key(&record.deployment));
            }
        }
    }
}

/// Refuses to delete what an alias needs.
fn refuse_referenced(tx: &mut Tx<'_>, version: &VersionRecord) -> Result<(), Error> {
    let aliases = data::list_aliases(tx, &version.id, "", None, i64::MAX)?;
    let names: Vec<&str> = aliases
        .iter()
        .filter(|alias| alias.refers_to(version.version))
        .map(|alias| alias.name.as_str())
        .collect();
    if names.is_empty() { Ok(()) } else { Err(Error::Referenced(names.join(", "))) }
}

/// Removes a function with all that belongs to it; the number is that of its waiting events.
fn remove(tx: &mut Tx<'_>, id: &FunctionId, now: Timestamp) -> Result<(Vec<VersionRecord>, u64), Error> {
    let versions = data::versions_of(tx, id)?;
    data::delete_versions(tx, id)?;
    data::delete_aliases_of(tx, id)?;
    data::delete_configs_of(tx, id, None)?;
    data::delete_function(tx, id)?;
    release(tx, &versions, now)?;
    Ok((versions, data::delete_events_of(tx, id)?))
}

/// Packages that lose a reference are kept for a while: invocations of them may still run.
fn release(tx: &mut Tx<'_>, versions: &[VersionRecord], now: Timestamp) -> Result<(), Error> {
    let mut codes: Vec<_> = versions
        .iter()
        .flat_map(|record| [Some(&record.deployment), record.condition.serving()])
        .flatten()
        .flat_map(|deployment| {
            let layers = deployment.configuration.layers.iter().map(|layer| layer.code);
            std::iter::once(deployment.code).chain(layers)
        })
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes.into_iter().try_for_each(|code| data::touch_package(tx, code, now))
}
