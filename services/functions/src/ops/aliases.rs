//! CreateAlias, GetAlias, ListAliases, UpdateAlias, DeleteAlias.

use super::{
    list::{page, page_size, read_marker},
    provisioned::refuse_snap_started_alias,
};
use crate::{
    Error, Functions,
    api::{
        AliasConfiguration, AliasRequest, CreateAliasRequest, ListAliasesRequest, ListAliasesResponse,
        UpdateAliasRequest,
    },
    asking, data,
    logic::{
        aliases,
        names::{self, Form},
        settings,
    },
    model::{Alias, FunctionId},
};
use base::Version;
use store::Tx;
use wire::{Context, Violations};

impl Functions {
    pub(crate) async fn create_alias(
        &self,
        context: &Context,
        input: CreateAliasRequest,
    ) -> Result<AliasConfiguration, Error> {
        let id = alias_owner(context, "lambda:CreateAlias", &input.function_name)?;
        aliases::check_name(&input.name)?;
        let alias = Alias {
            version: aliases::version(&id, &input.function_version)?,
            weights: aliases::weights(input.routing_config.as_ref(), &input.function_version)?,
            description: input.description.unwrap_or_default(),
            revision: self.fresh_id(),
            name: input.name,
            id,
        };
        settings::description(&alias.description)?;
        let made = alias.clone();
        self.db
            .write(move |tx| {
                data::function(tx, &alias.id)?.ok_or_else(|| Error::NotFound(alias.id.arn()))?;
                versions_exist(tx, &alias)?;
                if data::alias(tx, &alias.id, &alias.name)?.is_some() {
                    return Err(Error::AliasExists(alias.arn()));
                }
                data::put_alias(tx, &alias)
            })
            .await?;
        self.specs.invalidate(&made.id);
        Ok(AliasConfiguration::of(made))
    }

    pub(crate) async fn get_alias(
        &self,
        context: &Context,
        input: AliasRequest,
    ) -> Result<AliasConfiguration, Error> {
        let id = alias_owner(context, "lambda:GetAlias", &input.function_name)?;
        let alias = self.db.read(move |tx| existing(tx, &id, &input.name)).await?;
        Ok(AliasConfiguration::of(alias))
    }

    pub(crate) async fn list_aliases(
        &self,
        context: &Context,
        input: ListAliasesRequest,
    ) -> Result<ListAliasesResponse, Error> {
        let id = alias_owner(context, "lambda:ListAliases", &input.function_name)?;
        let size = page_size(input.max_items, Violations::default())?;
        let (after, _) = read_marker(input.marker.as_deref())?;
        let version = input.function_version.map(|word| aliases::version(&id, &word)).transpose()?;
        let found = self
            .db
            .read(move |tx| {
                data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                data::list_aliases(tx, &id, &after, version, size + 1)
            })
            .await?;
        let (found, next_marker) = page(found, size, |alias| (&alias.name, 0));
        Ok(ListAliasesResponse {
            next_marker,
            aliases: found.into_iter().map(AliasConfiguration::of).collect(),
        })
    }

    pub(crate) async fn update_alias(
        &self,
        context: &Context,
        input: UpdateAliasRequest,
    ) -> Result<AliasConfiguration, Error> {
        let id = alias_owner(context, "lambda:UpdateAlias", &input.function_name)?;
        settings::description(input.description.as_deref().unwrap_or_default())?;
        let version =
            input.function_version.as_deref().map(|word| aliases::version(&id, word)).transpose()?;
        let (changed, revision) = (id.clone(), self.fresh_id());
        let alias = self
            .db
            .write(move |tx| {
                let mut alias = existing(tx, &id, &input.name)?;
                if input.revision_id.as_ref().is_some_and(|wanted| *wanted != alias.revision.to_string()) {
                    return Err(Error::StaleRevision);
                }
                alias.version = version.unwrap_or(alias.version);
                match &input.routing_config {
                    None => aliases::check_weights(&alias.weights, &alias.version.to_string())?,
                    given => alias.weights = aliases::weights(given.as_ref(), &alias.version.to_string())?,
                }
                if let Some(description) = &input.description {
                    alias.description.clone_from(description);
                }
                alias.revision = revision;
                versions_exist(tx, &alias)?;
                refuse_snap_started_alias(tx, &alias)?;
                data::put_alias(tx, &alias)?;
                Ok(alias)
            })
            .await?;
        self.specs.invalidate(&changed);
        self.reservations_changed().await;
        Ok(AliasConfiguration::of(alias))
    }

    pub(crate) async fn delete_alias(&self, context: &Context, input: AliasRequest) -> Result<(), Error> {
        let id = alias_owner(context, "lambda:DeleteAlias", &input.function_name)?;
        let changed = id.clone();
        self.db
            .write(move |tx| {
                data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                // One that is not there is deleted already.
                data::delete_alias(tx, &id, &input.name)?;
                data::delete_configs_of(tx, &id, Some(&input.name))
            })
            .await?;
        self.specs.invalidate(&changed);
        self.reservations_changed().await;
        Ok(())
    }
}

fn alias_owner(context: &Context, action: &'static str, name: &str) -> Result<FunctionId, Error> {
    asking(context, action, |asker| names::unqualified(asker, name, Form::Plain))
}

fn existing(tx: &mut Tx<'_>, id: &FunctionId, name: &str) -> Result<Alias, Error> {
    data::function(tx, id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
    data::alias(tx, id, name)?.ok_or_else(|| Error::AliasNotFound(id.qualified_arn(name)))
}

fn versions_exist(tx: &mut Tx<'_>, alias: &Alias) -> Result<(), Error> {
    let others = alias.weights.keys().filter_map(|word| word.parse().ok());
    for version in std::iter::once(alias.version).chain(others) {
        if data::version_of(tx, &alias.id, version)?.is_none() {
            return Err(Error::NotFound(alias.id.qualified_arn(version)));
        }
    }
    Ok(())
}

impl Alias {
    /// Whether deleting the version would leave the alias without it.
    pub(crate) fn refers_to(&self, version: Version) -> bool {
        self.version == version || self.weights.contains_key(&version.to_string())
    }
}
