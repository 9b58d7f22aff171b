//! DeleteFunction.

use crate::{
    Error, Functions,
    api::QualifiedRequest,
    asking, data,
    logic::names::{self, Form},
    model::{Qualifier, VersionRecord},
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
        if target.qualifier == Some(Qualifier::Version(Version::Latest)) {
            return Err(Error::invalid("$LATEST version cannot be deleted without deleting the function."));
        }
        let (id, now) = (target.id.clone(), self.now());
        let (deleted, events) = self
            .db
            .write(move |tx| {
                if data::function(tx, &target.id)?.is_none() {
                    return Err(Error::NotFound(target.arn()));
                }
                let Some(_) = &target.qualifier else {
                    let versions = data::versions_of(tx, &target.id)?;
                    data::delete_versions(tx, &target.id)?;
                    data::delete_function(tx, &target.id)?;
                    release(tx, &versions, now)?;
                    return Ok((versions, data::delete_events_of(tx, &target.id)?));
                };
                let found = match target.version() {
                    Some(version) => data::version_of(tx, &target.id, version)?,
                    None => None,
                };
                let version = found.ok_or_else(|| Error::NotFound(target.arn()))?;
                data::delete_version(tx, &target.id, version.version)?;
                release(tx, std::slice::from_ref(&version), now)?;
                Ok((vec![version], 0))
            })
            .await?;
        self.specs.invalidate(&id);
        self.events.dropped_with_function(events);
        for record in &deleted {
            if let Some(serving) = record.serving() {
                self.execute.retire(&record.key(serving));
            }
        }
        Ok(())
    }
}

/// Packages that lose a reference are kept for a while: invocations of them may still run.
fn release(tx: &mut Tx<'_>, versions: &[VersionRecord], now: Timestamp) -> Result<(), Error> {
    let mut codes: Vec<_> = versions
        .iter()
        .flat_map(|record| [Some(&record.deployment), record.condition.serving()])
        .flatten()
        .map(|deployment| deployment.code)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes.into_iter().try_for_each(|code| data::touch_package(tx, code, now))
}
