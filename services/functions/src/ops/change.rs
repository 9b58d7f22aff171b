//! UpdateFunctionCode and UpdateFunctionConfiguration.

use super::{
    create::charge,
    publish::{Ids, check_revision, publish},
};
use crate::{
    Error, Functions,
    api::{FunctionConfiguration, UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest},
    asking, data,
    logic::{
        layers,
        names::{self, Form},
        settings,
        states::{Shown, configuration, state_word},
    },
    model::{Condition, Configuration, Deployment, FunctionId, Target, VersionRecord},
};
use base::{Version, VersionKey};
use wire::Context;

impl Functions {
    pub(crate) async fn update_function_code(
        &self,
        context: &Context,
        mut input: UpdateFunctionCodeRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let id = asking(context, "lambda:UpdateFunctionCode", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        let architecture = settings::architecture(input.architectures.as_deref())?;
        if input.image_uri.is_some() {
            return Err(Error::invalid(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ));
        }
        if input.publish_to.is_some() {
            return Err(Error::Unsupported { member: "PublishTo", reason: "leave it out" });
        }
        let zip = settings::source(input.code())?;
        let before = self.latest_to_change(&id, input.revision_id.as_deref()).await?;
        let configured = &before.deployment.configuration;
        let support = self.catalog.check(
            &configured.runtime,
            architecture.as_deref().unwrap_or(&configured.architecture),
            &configured.handler,
        )?;

        let uploaded = self.upload(zip, &configured.runtime).await?;
        if let Some(size) = uploaded.unpacked {
            layers::check_size(size, &configured.layers)?;
        }
        self.refuse_layers(uploaded.code, configured)?;
        let (revision, deployment, now) = (self.fresh_id(), self.fresh_id(), self.now());
        let change = move |latest: &mut VersionRecord| {
            let mut next = latest.deployment.clone();
            (next.id, next.code, next.code_size) = (deployment, uploaded.code, uploaded.size);
            if let Some(architecture) = &architecture {
                next.configuration.architecture.clone_from(architecture);
            }
            latest.note.clone_from(&support.warning);
            (latest.revision, latest.modified) = (revision, now);
            replace(latest, next, uploaded.ready);
        };
        if input.dry_run.unwrap_or_default() {
            let mut imagined = before;
            change(&mut imagined);
            return Ok(configuration(&imagined, id.arn(), Shown::Whole));
        }
        let published = input.publish.unwrap_or_default().then(|| Ids::new(self));
        let code_max = self.settings.code_storage_max;
        let (record, retired) = self
            .db
            .write(move |tx| {
                let (mut function, mut latest) = data::function_and_latest(tx, &id)?;
                check_changeable(&latest, input.revision_id.as_deref())?;
                let before = latest.clone();
                change(&mut latest);
                data::delete_version(tx, &id, latest.version)?;
                charge(tx, &latest, code_max)?;
                if let Some(size) = uploaded.unpacked {
                    // They may have changed since.
                    layers::check_size(size, &latest.deployment.configuration.layers)?;
                }
                data::put_version(tx, &latest)?;
                data::touch_package(tx, before.deployment.code, now)?;
                let retired = retired(&before, &latest);
                let record = match published {
                    Some(ids) => publish(tx, &mut function, &mut latest, None, ids, code_max)?,
                    None => latest,
                };
                Ok::<_, Error>((record, retired))
            })
            .await?;
        self.changed(&record, retired).await;
        let arn = match published {
            Some(_) => record.id.qualified_arn(record.version),
            None => record.id.arn(),
        };
        Ok(configuration(&record, arn, Shown::Whole))
    }

    pub(crate) async fn update_function_configuration(
        &self,
        context: &Context,
        mut input: UpdateFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let id = asking(context, "lambda:UpdateFunctionConfiguration", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        let wanted = input.wanted();
        let (record, retired) = loop {
            let before = self.latest_to_change(&id, input.revision_id.as_deref()).await?;
            let mut configured = settings::update(&before.deployment.configuration, &wanted, id.account)?;
            if let (Some(target), true) = (&configured.dead_letters, wanted.dead_letters.is_some()) {
                self.check_target(&configured.role, &id, target).await?;
            }
            let action = "lambda:UpdateFunctionConfiguration";
            if let Some(layers) = self.wanted_layers(context, action, wanted.layers.as_deref()).await? {
                self.check_size(before.deployment.code, &layers).await?;
                configured.layers = layers;
            }
            self.refuse_layers(before.deployment.code, &configured)?;
            let support =
                self.catalog.check(&configured.runtime, &configured.architecture, &configured.handler)?;
            if let Some(changed) = self.reconfigure(before, configured, support.warning).await? {
                break changed;
            }
        };
        self.changed(&record, retired).await;
        Ok(configuration(&record, id.arn(), Shown::Whole))
    }

    /// Puts a configuration in place of `before`'s; `None` if `before` is no longer what there is.
    async fn reconfigure(
        &self,
        before: VersionRecord,
        configured: Configuration,
        note: Option<String>,
    ) -> Result<Option<(VersionRecord, Option<VersionKey>)>, Error> {
        let same = configured.runs_like(&before.deployment.configuration);
        let next = Deployment {
            id: if same { before.deployment.id } else { self.fresh_id() },
            configuration: configured,
            ..before.deployment.clone()
        };
        let mut after =
            VersionRecord { revision: self.fresh_id(), modified: self.now(), note, ..before.clone() };
        replace(&mut after, next, before.condition == Condition::Active);
        let retired = retired(&before, &after);
        let written = self
            .db
            .write(move |tx| {
                let (_, latest) = data::function_and_latest(tx, &before.id)?;
                if latest != before {
                    return Ok::<_, Error>(None);
                }
                data::put_version(tx, &after)?;
                for layer in &before.deployment.configuration.layers {
                    // Invocations that have it may still run.
                    data::touch_package(tx, layer.code, after.modified)?;
                }
                Ok(Some(after.clone()))
            })
            .await?;
        Ok(written.map(|record| (record, retired)))
    }

    /// `$LATEST` as it is, if a change is possible at all: saves the upload where the outcome is known.
    async fn latest_to_change(
        &self,
        id: &FunctionId,
        revision: Option<&str>,
    ) -> Result<VersionRecord, Error> {
        let wanted = id.clone();
        let (_, latest) = self.db.read(move |tx| data::function_and_latest(tx, &wanted)).await?;
        check_changeable(&latest, revision)?;
        Ok(latest)
    }

    /// After a change is committed.
    async fn changed(&self, record: &VersionRecord, retired: Option<VersionKey>) {
        let in_use = self.specs.invalidate(&record.id);
        if let Some(key) = retired {
            self.execute.retire(&key);
        }
        if !record.condition.settled() {
            self.upkeep.notify_one();
        }
        if in_use {
            self.read_ahead(&record.id).await;
        }
    }

    /// Reads what invocations of a function in use need to know before the first one after a change, which would wait for it.
    /// Where that cannot be read, the invocation says why.
    pub(crate) async fn read_ahead(&self, id: &FunctionId) {
        let target = Target { id: id.clone(), qualifier: None };
        let _ = self.load(&target, Version::Latest).await;
    }
}

/// One change at a time, and only of the revision that the caller has seen.
fn check_changeable(latest: &VersionRecord, revision: Option<&str>) -> Result<(), Error> {
    check_revision(latest, revision)?;
    match &latest.condition {
        Condition::Updating { .. } => Err(Error::UpdateInProgress(latest.id.arn())),
        Condition::Creating => Err(Error::NotActive(state_word(&latest.condition))),
        Condition::Active | Condition::Failed { .. } | Condition::UpdateFailed { .. } => Ok(()),
    }
}

/// Puts `next` in place; what serves until its package is `ready` is what served before.
fn replace(latest: &mut VersionRecord, next: Deployment, ready: bool) {
    latest.condition = match (ready, latest.serving()) {
        (true, _) => Condition::Active,
        (false, Some(serving)) => Condition::Updating { serving: Box::new(serving.clone()) },
        (false, None) => Condition::Creating,
    };
    latest.deployment = next;
}

/// The pool that no invocation will reach any more.
fn retired(before: &VersionRecord, after: &VersionRecord) -> Option<VersionKey> {
    let (was, is) = (before.serving()?, after.serving()?);
    (was.id != is.id).then(|| before.key(was))
}
