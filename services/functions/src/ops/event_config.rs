//! Put-, Update-, Get-, DeleteFunctionEventInvokeConfig and ListFunctionEventInvokeConfigs: how asynchronous invocations of a
//! function, version or alias are retried.

use super::list::{page, read_marker};
use crate::{
    Error, Functions,
    api::{
        EventConfigRequest, FunctionEventInvokeConfig, ListEventConfigsRequest, ListEventConfigsResponse,
        QualifiedRequest,
    },
    asking, data,
    logic::{
        event_config,
        names::{self, Form},
    },
    model::{EventConfig, Target},
};
use store::Tx;
use wire::{Context, Violations};

/// Entries of a page. Source: Lambda API reference.
const PAGE_MAX: i64 = 50;

impl Functions {
    pub(crate) async fn put_function_event_invoke_config(
        &self,
        context: &Context,
        input: EventConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        self.set(context, "lambda:PutFunctionEventInvokeConfig", input, false).await
    }

    pub(crate) async fn update_function_event_invoke_config(
        &self,
        context: &Context,
        input: EventConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        self.set(context, "lambda:UpdateFunctionEventInvokeConfig", input, true).await
    }

    /// Writes a configuration anew; with `merge` what the request leaves out stays.
    async fn set(
        &self,
        context: &Context,
        action: &'static str,
        input: EventConfigRequest,
        merge: bool,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        let target = named(context, action, &input.function_name, input.qualifier.as_deref())?;
        let wanted = event_config::wanted(&input, &target.id)?;
        for arn in [&wanted.on_success, &wanted.on_failure].into_iter().flatten().flatten() {
            self.check_destination(&target, arn).await?;
        }
        let (named, now) = (target.clone(), self.now());
        let config = self
            .db
            .write(move |tx| {
                if data::function(tx, &target.id)?.is_none() || data::version_named(tx, &target)?.is_none() {
                    return Err(Error::NoFunction);
                }
                let mut config = match merge {
                    true => existing(tx, &target)?,
                    false => EventConfig {
                        modified: now,
                        retries_max: None,
                        age_max: None,
                        on_success: None,
                        on_failure: None,
                    },
                };
                config.modified = now;
                wanted.clone().apply(&mut config);
                data::put_config(tx, &target.id, &target.word(), &config)?;
                Ok(config)
            })
            .await?;
        self.specs.invalidate(&named.id);
        Ok(FunctionEventInvokeConfig::of(&named.id, &named.word(), &config))
    }

    pub(crate) async fn get_function_event_invoke_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<FunctionEventInvokeConfig, Error> {
        let action = "lambda:GetFunctionEventInvokeConfig";
        let target = named(context, action, &input.function_name, input.qualifier.as_deref())?;
        let asked = target.clone();
        let config = self.db.read(move |tx| existing(tx, &asked)).await?;
        Ok(FunctionEventInvokeConfig::of(&target.id, &target.word(), &config))
    }

    pub(crate) async fn delete_function_event_invoke_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<(), Error> {
        let action = "lambda:DeleteFunctionEventInvokeConfig";
        let target = named(context, action, &input.function_name, input.qualifier.as_deref())?;
        let id = target.id.clone();
        self.db
            .write(move |tx| {
                existing(tx, &target)?;
                data::delete_config::<EventConfig>(tx, &target.id, &target.word())
            })
            .await?;
        self.specs.invalidate(&id);
        Ok(())
    }

    pub(crate) async fn list_function_event_invoke_configs(
        &self,
        context: &Context,
        input: ListEventConfigsRequest,
    ) -> Result<ListEventConfigsResponse, Error> {
        let id = asking(context, "lambda:ListFunctionEventInvokeConfigs", |asker| {
            names::unqualified(asker, &input.function_name, Form::Namespaced)
        })?;
        let size = input.max_items.unwrap_or(PAGE_MAX);
        let mut violations = Violations::default();
        violations.range("maxItems", size, 1..=PAGE_MAX);
        if !violations.is_empty() {
            return Err(Error::Constraints(violations.to_string()));
        }
        let (after, _) = read_marker(input.marker.as_deref())?;
        let owner = id.clone();
        let found = self
            .db
            .read(move |tx| {
                data::function(tx, &owner)?.ok_or(Error::NoFunction)?;
                data::list_configs(tx, &owner, &after, size + 1)
            })
            .await?;
        let (found, next_marker) = page(found, size, |(qualifier, _)| (qualifier, 0));
        let shown = |(qualifier, config): &(String, _)| FunctionEventInvokeConfig::of(&id, qualifier, config);
        let configs = found.iter().map(shown).collect();
        Ok(ListEventConfigsResponse { function_event_invoke_configs: configs, next_marker })
    }
}

fn named(
    context: &Context,
    action: &'static str,
    name: &str,
    qualifier: Option<&str>,
) -> Result<Target, Error> {
    asking(context, action, |asker| names::target(asker, name, qualifier, Form::Namespaced))
}

fn existing(tx: &mut Tx<'_>, target: &Target) -> Result<EventConfig, Error> {
    let word = target.word();
    data::config(tx, &target.id, &word)?.ok_or_else(|| Error::NoEventConfig(target.id.qualified_arn(word)))
}
