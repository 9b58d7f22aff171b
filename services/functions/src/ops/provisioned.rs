//! Put-, Get-, Delete- and ListProvisionedConcurrencyConfigs.

use super::list::{page, page_size, read_marker};
use crate::{
    Error, Functions,
    api::{
        ListProvisionedConcurrencyRequest, ListProvisionedConcurrencyResponse, ProvisionedConcurrencyConfig,
        PutProvisionedConcurrencyRequest, QualifiedRequest,
    },
    asking, data,
    logic::{
        names::{self, Form},
        provisioned::{self, ProvisionedConcurrency},
    },
    model::{Alias, FunctionId, Qualifier, Target, VersionRecord},
};
use base::{Fault, Future, NotScaled, Scale, Scaled, ServiceError as _, Version, limits};
use store::Tx;
use wire::{Context, Violations};

impl Functions {
    pub(crate) async fn put_provisioned_concurrency_config(
        &self,
        context: &Context,
        input: PutProvisionedConcurrencyRequest,
    ) -> Result<ProvisionedConcurrencyConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:PutProvisionedConcurrencyConfig", name, qualifier)?;
        let wanted = input.provisioned_concurrent_executions;
        let mut violations = Violations::default();
        violations.range("provisionedConcurrentExecutions", wanted, 1..=i64::from(i32::MAX));
        let requested = u32::try_from(wanted).ok().filter(|_| violations.is_empty());
        let requested = requested.ok_or_else(|| Error::Constraints(violations.to_string()))?;
        let config = self.provision(&target, requested).await?;
        self.with_status(&target, config).await
    }

    /// Asks for `requested` environments of a version or an alias.
    async fn provision(&self, target: &Target, requested: u32) -> Result<ProvisionedConcurrency, Error> {
        let account_max = u64::from(self.settings.account_concurrency);
        let config = ProvisionedConcurrency { requested, modified: self.now() };
        let asked = target.clone();
        self.db
            .write(move |tx| {
                let version = exists(tx, &asked)?;
                refuse_snap_started(tx, &asked)?;
                if version.deployment.configuration.per_tenant {
                    return Err(Error::invalid(
                        "Provisioned concurrency is not supported for functions with tenancy configuration.",
                    ));
                }
                refuse_double(tx, &asked)?;
                refuse_beyond(tx, &asked, requested, account_max)?;
                data::put_config(tx, &asked.id, &asked.word(), &config)
            })
            .await?;
        self.reservations_changed().await;
        Ok(config)
    }

    pub(crate) async fn get_provisioned_concurrency_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<ProvisionedConcurrencyConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:GetProvisionedConcurrencyConfig", name, qualifier)?;
        let asked = target.clone();
        let found = self
            .db
            .read(move |tx| {
                exists(tx, &asked)?;
                data::config::<ProvisionedConcurrency>(tx, &asked.id, &asked.word())
            })
            .await?;
        self.with_status(&target, found.ok_or(Error::NoProvisioned)?).await
    }

    pub(crate) async fn delete_provisioned_concurrency_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<(), Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:DeleteProvisionedConcurrencyConfig", name, qualifier)?;
        self.unprovision(target).await
    }

    async fn unprovision(&self, target: Target) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                exists(tx, &target)?;
                data::delete_config::<ProvisionedConcurrency>(tx, &target.id, &target.word())
            })
            .await?;
        self.reservations_changed().await;
        Ok(())
    }

    pub(crate) async fn list_provisioned_concurrency_configs(
        &self,
        context: &Context,
        input: ListProvisionedConcurrencyRequest,
    ) -> Result<ListProvisionedConcurrencyResponse, Error> {
        let id = asking(context, "lambda:ListProvisionedConcurrencyConfigs", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        let size = page_size(input.max_items, Violations::default())?;
        let (after, _) = read_marker(input.marker.as_deref())?;
        let owner = id.clone();
        let found = self
            .db
            .read(move |tx| {
                data::function(tx, &owner)?.ok_or_else(|| Error::NotFound(owner.arn()))?;
                data::list_configs::<ProvisionedConcurrency>(tx, &owner, &after, size + 1)
            })
            .await?;
        let (found, next_marker) = page(found, size, |(qualifier, _)| (qualifier, 0));
        let mut configs = Vec::new();
        for (word, config) in found {
            let target = Target { id: id.clone(), qualifier: Some(Qualifier::of(&word)) };
            let mut shown = self.with_status(&target, config).await?;
            shown.function_arn = Some(target.arn());
            configs.push(shown);
        }
        Ok(ListProvisionedConcurrencyResponse { next_marker, provisioned_concurrency_configs: configs })
    }

    async fn requested(&self, target: Target) -> Result<u32, Error> {
        let found = self.db.read(move |tx| {
            exists(tx, &target)?;
            data::config::<ProvisionedConcurrency>(tx, &target.id, &target.word())
        });
        Ok(found.await?.map_or(0, |config| config.requested))
    }

    async fn with_status(
        &self,
        target: &Target,
        config: ProvisionedConcurrency,
    ) -> Result<ProvisionedConcurrencyConfig, Error> {
        let ready = self.provisioned(target).await;
        let requested = config.requested;
        let (status, status_reason) = provisioned::status(requested, ready.ready, ready.failure.as_deref());
        Ok(ProvisionedConcurrencyConfig {
            function_arn: None,
            requested_provisioned_concurrent_executions: requested,
            available_provisioned_concurrent_executions: ready.ready.min(requested),
            allocated_provisioned_concurrent_executions: ready.ready.min(requested),
            status,
            status_reason,
            last_modified: provisioned::time(config.modified),
        })
    }
}

impl Scale for Functions {
    fn capacity(&self, of: Scaled) -> Future<'_, Result<u32, NotScaled>> {
        Box::pin(async move { self.requested(scaled(of)?).await.map_err(not_scaled) })
    }

    fn scale(&self, of: Scaled, count: u32) -> Future<'_, Result<(), NotScaled>> {
        Box::pin(async move {
            let target = scaled(of)?;
            match count {
                0 => self.unprovision(target).await,
                _ => self.provision(&target, count).await.map(|_| ()),
            }
            .map_err(not_scaled)
        })
    }
}

fn scaled(of: Scaled) -> Result<Target, NotScaled> {
    let id = FunctionId { account: of.account, region: of.region, name: of.name };
    match Qualifier::of(&of.qualifier) {
        Qualifier::Version(Version::Latest) => Err(NotScaled::Refused(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.".to_owned(),
        )),
        qualifier => Ok(Target { id, qualifier: Some(qualifier) }),
    }
}

fn not_scaled(error: Error) -> NotScaled {
    match error.fault() {
        Fault::NotFound => NotScaled::Missing(error.to_string()),
        Fault::Throttled | Fault::Us | Fault::Dependency | Fault::Unavailable => {
            NotScaled::NotNow(error.to_string())
        }
        Fault::Invalid
        | Fault::Unauthenticated
        | Fault::Denied
        | Fault::Conflict
        | Fault::Precondition
        | Fault::TooLarge
        | Fault::Unsupported => NotScaled::Refused(error.to_string()),
    }
}

fn named(
    context: &Context,
    action: &'static str,
    name: &str,
    qualifier: Option<&str>,
) -> Result<Target, Error> {
    let target = asking(context, action, |asker| names::target(asker, name, qualifier, Form::Plain))?;
    match target.qualifier {
        Some(Qualifier::Alias(_) | Qualifier::Version(Version::Published(_))) => Ok(target),
        Some(Qualifier::Version(Version::Latest)) => Err(Error::invalid(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        )),
        None => {
            let mut violations = Violations::default();
            violations.missing("qualifier");
            Err(Error::Constraints(violations.to_string()))
        }
    }
}

fn exists(tx: &mut Tx<'_>, target: &Target) -> Result<VersionRecord, Error> {
    data::function(tx, &target.id)?.ok_or_else(|| Error::NotFound(target.arn()))?;
    data::version_named(tx, target)?.ok_or_else(|| Error::NotFound(target.arn()))
}

/// Source: Lambda's guide, SnapStart, limitations: one or the other.
fn refuse_snap_started(tx: &mut Tx<'_>, target: &Target) -> Result<(), Error> {
    let alias = match &target.qualifier {
        Some(Qualifier::Alias(name)) => data::alias(tx, &target.id, name)?,
        Some(Qualifier::Version(_)) | None => None,
    };
    let snap_starts = match alias {
        Some(alias) => alias_snap_starts(tx, &alias)?,
        None => exists(tx, target)?.snap_starts(),
    };
    if snap_starts { Err(Error::SnapStartProvisioned) } else { Ok(()) }
}

/// Whether an alias leads to a version with SnapStart.
fn alias_snap_starts(tx: &mut Tx<'_>, alias: &Alias) -> Result<bool, Error> {
    let others = alias.weights.keys().filter_map(|word| word.parse().ok());
    for version in std::iter::once(alias.version).chain(others) {
        if data::version_of(tx, &alias.id, version)?.is_some_and(|record| record.snap_starts()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same when an alias is changed.
pub(super) fn refuse_snap_started_alias(tx: &mut Tx<'_>, alias: &Alias) -> Result<(), Error> {
    let provisioned = data::config::<ProvisionedConcurrency>(tx, &alias.id, &alias.name)?.is_some();
    if provisioned && alias_snap_starts(tx, alias)? {
        return Err(Error::SnapStartProvisioned);
    }
    Ok(())
}

/// A version's environments are provisioned either for itself or for an alias.
fn refuse_double(tx: &mut Tx<'_>, target: &Target) -> Result<(), Error> {
    let configured = data::list_configs::<ProvisionedConcurrency>(tx, &target.id, "", i64::MAX)?;
    for (word, _) in configured {
        match (&target.qualifier, Qualifier::of(&word)) {
            (Some(Qualifier::Version(version)), Qualifier::Alias(name)) => {
                if data::alias(tx, &target.id, &name)?.is_some_and(|alias| alias.refers_to(*version)) {
                    return Err(Error::invalid("Version is pointed by a Provisioned Concurrency alias"));
                }
            }
            (Some(Qualifier::Alias(name)), Qualifier::Version(version)) => {
                if data::alias(tx, &target.id, name)?.is_some_and(|alias| alias.refers_to(version)) {
                    return Err(Error::invalid(
                        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
                    ));
                }
            }
            (Some(_) | None, _) => {}
        }
    }
    Ok(())
}

/// Provisioned concurrency comes out of the function's reservation, or else out of what the account has left.
fn refuse_beyond(tx: &mut Tx<'_>, target: &Target, requested: u32, account_max: u64) -> Result<(), Error> {
    let configured = data::list_configs::<ProvisionedConcurrency>(tx, &target.id, "", i64::MAX)?;
    let word = target.word();
    let others: u64 =
        configured.iter().filter(|(other, _)| *other != word).map(|(_, c)| u64::from(c.requested)).sum();
    let before: u64 = configured.iter().map(|(_, config)| u64::from(config.requested)).sum();
    let after = others + u64::from(requested);
    let function = data::function(tx, &target.id)?.ok_or_else(|| Error::NotFound(target.arn()))?;
    if let Some(reserved) = function.reserved_concurrency {
        return if after > u64::from(reserved) {
            Err(Error::invalid(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
            ))
        } else {
            Ok(())
        };
    }
    let (account, region) = (target.id.account, &target.id.region);
    let own = data::own_concurrency(tx, account, region)?.saturating_sub(before);
    let min = u64::from(limits::UNRESERVED_CONCURRENCY_MIN);
    let left = account_max.saturating_sub(own).saturating_sub(min);
    if after > left {
        return Err(Error::InvalidParameter(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{left}]."
        )));
    }
    Ok(())
}
