//! CreateFunction.

use super::publish::{Ids, publish};
use crate::{
    Error, Functions,
    api::{CreateFunctionRequest, FunctionConfiguration},
    asking, data,
    logic::{
        layers, names, settings,
        states::{Shown, configuration},
        tags,
    },
    model::{Condition, Deployment, FunctionId, FunctionRecord, VersionRecord},
};
use base::{AccountId, Region, Version};
use std::collections::BTreeMap;
use store::Tx;
use wire::Context;

impl Functions {
    pub(crate) async fn create_function(
        &self,
        context: &Context,
        mut input: CreateFunctionRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let id = asking(context, "lambda:CreateFunction", |asker| {
            names::new_function(asker, &input.function_name)
        })?;
        let wanted = input.wanted();
        let mut configured = settings::create(&wanted, &id.name, id.account)?;
        let tags = tags::merge(&BTreeMap::new(), &input.tags.unwrap_or_default())?;
        let zip = settings::source(input.code)?;
        let support =
            self.catalog.check(&configured.runtime, &configured.architecture, &configured.handler)?;
        self.refuse_taken(&id).await?;
        if let Some(target) = &configured.dead_letters {
            self.check_target(&configured.role, &id, target).await?;
        }
        let layers = self.wanted_layers(context, "lambda:CreateFunction", wanted.layers.as_deref()).await?;
        configured.layers = layers.unwrap_or_default();

        let uploaded = self.upload(zip, &configured.runtime).await?;
        if let Some(size) = uploaded.unpacked {
            layers::check_size(size, &configured.layers)?;
        }
        self.refuse_layers(uploaded.code, &configured)?;
        let latest = VersionRecord {
            id: id.clone(),
            version: Version::Latest,
            revision: self.fresh_id(),
            modified: self.now(),
            deployment: Deployment {
                id: self.fresh_id(),
                code: uploaded.code,
                code_size: uploaded.size,
                configuration: configured,
            },
            condition: if uploaded.ready { Condition::Active } else { Condition::Creating },
            note: support.warning,
            origin: String::new(),
        };
        let function = FunctionRecord { id: id.clone(), last_version: 0, tags, reserved_concurrency: None };
        let published = input.publish.unwrap_or_default().then(|| Ids::new(self));
        let code_max = self.settings.code_storage_max;
        let record = self
            .db
            .write(move |tx| {
                let (mut function, mut latest) = (function.clone(), latest.clone());
                if !data::insert_function(tx, &function)? {
                    return Err(Error::AlreadyExists(function.id.name.to_string()));
                }
                charge(tx, &latest, code_max)?;
                data::put_version(tx, &latest)?;
                match published {
                    Some(ids) => publish(tx, &mut function, &mut latest, None, ids, code_max),
                    None => Ok(latest),
                }
            })
            .await?;
        // A function of the same name may have been deleted a moment ago.
        self.specs.invalidate(&id);
        if !record.condition.settled() {
            self.upkeep.notify_one();
        }
        Ok(configuration(&record, id.arn(), Shown::Created))
    }

    /// Saves the upload where the outcome is known.
    async fn refuse_taken(&self, id: &FunctionId) -> Result<(), Error> {
        let wanted = id.clone();
        match self.db.read(move |tx| data::function(tx, &wanted)).await? {
            Some(_) => Err(Error::AlreadyExists(id.name.to_string())),
            None => Ok(()),
        }
    }
}

/// Refuses a version whose code would not fit the account's storage beside what is there.
pub(crate) fn charge(tx: &mut Tx<'_>, added: &VersionRecord, max: base::ByteCount) -> Result<(), Error> {
    charge_bytes(tx, added.id.account, &added.id.region, added.deployment.code_size, max)
}

/// The same for any code of an account and region.
pub(crate) fn charge_bytes(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    added: u64,
    max: base::ByteCount,
) -> Result<(), Error> {
    let present = data::code_bytes(tx, account.as_str(), region.as_str())?;
    match present.saturating_add(added) > max.0 {
        true => Err(Error::CodeStorage { max }),
        false => Ok(()),
    }
}
