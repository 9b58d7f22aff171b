//! Create-, Get-, Update-, Delete- and ListFunctionUrlConfigs.

use super::list::{page, page_size, read_marker};
use crate::{
    Error, Functions,
    api::{
        CreateFunctionUrlConfigRequest, FunctionUrlConfig, ListFunctionUrlConfigsRequest,
        ListFunctionUrlConfigsResponse, QualifiedRequest, UpdateFunctionUrlConfigRequest,
    },
    asking, data,
    logic::{
        names::{self, Form},
        url::{self, FunctionUrl, InvokeMode},
    },
    model::{FunctionId, Qualifier, Target, VersionRecord},
};
use store::Tx;
use wire::{Context, Violations};

impl Functions {
    pub(crate) async fn create_function_url_config(
        &self,
        context: &Context,
        input: CreateFunctionUrlConfigRequest,
    ) -> Result<FunctionUrlConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:CreateFunctionUrlConfig", name, qualifier)?;
        let wanted = url::wanted(Some(&input.auth_type), input.invoke_mode.as_deref(), input.cors)?;
        let Some(auth) = wanted.auth else { return Err(Error::invalid("AuthType is missing.")) };
        let now = self.now();
        let made = FunctionUrl {
            id: url::new_id(&*self.entropy),
            auth,
            mode: wanted.mode.unwrap_or(InvokeMode::Buffered),
            cors: wanted.cors,
            created: now,
            modified: now,
        };
        let (shown, asked) = (made.clone(), target.clone());
        self.db
            .write(move |tx| {
                if exists(tx, &asked)?.deployment.configuration.per_tenant {
                    return Err(Error::invalid(
                        "Function URLs are not supported for functions with tenancy configuration.",
                    ));
                }
                if data::config::<FunctionUrl>(tx, &asked.id, &asked.word())?.is_some() {
                    return Err(Error::UrlExists(asked.arn()));
                }
                data::put_config(tx, &asked.id, &asked.word(), &made)
            })
            .await?;
        self.specs.invalidate(&target.id);
        Ok(FunctionUrlConfig::of(context, &target, shown))
    }

    pub(crate) async fn get_function_url_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<FunctionUrlConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:GetFunctionUrlConfig", name, qualifier)?;
        let asked = target.clone();
        let found = self.db.read(move |tx| existing(tx, &asked)).await?;
        Ok(FunctionUrlConfig::of(context, &target, found))
    }

    pub(crate) async fn update_function_url_config(
        &self,
        context: &Context,
        input: UpdateFunctionUrlConfigRequest,
    ) -> Result<FunctionUrlConfig, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:UpdateFunctionUrlConfig", name, qualifier)?;
        let wanted = url::wanted(input.auth_type.as_deref(), input.invoke_mode.as_deref(), input.cors)?;
        let (asked, now) = (target.clone(), self.now());
        let changed = self
            .db
            .write(move |tx| {
                let mut known = existing(tx, &asked)?;
                known.auth = wanted.auth.unwrap_or(known.auth);
                known.mode = wanted.mode.unwrap_or(known.mode);
                known.cors = wanted.cors.clone().or(known.cors);
                known.modified = now;
                data::put_config(tx, &asked.id, &asked.word(), &known)?;
                Ok::<_, Error>(known)
            })
            .await?;
        self.specs.invalidate(&target.id);
        Ok(FunctionUrlConfig::of(context, &target, changed))
    }

    pub(crate) async fn delete_function_url_config(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<(), Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:DeleteFunctionUrlConfig", name, qualifier)?;
        let changed = target.id.clone();
        self.db
            .write(move |tx| {
                existing(tx, &target)?;
                data::delete_config::<FunctionUrl>(tx, &target.id, &target.word())
            })
            .await?;
        self.specs.invalidate(&changed);
        Ok(())
    }

    pub(crate) async fn list_function_url_configs(
        &self,
        context: &Context,
        input: ListFunctionUrlConfigsRequest,
    ) -> Result<ListFunctionUrlConfigsResponse, Error> {
        let id = asking(context, "lambda:ListFunctionUrlConfigs", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        let size = page_size(input.max_items, Violations::default())?;
        let (after, _) = read_marker(input.marker.as_deref())?;
        let owner = id.clone();
        let found = self
            .db
            .read(move |tx| {
                data::function(tx, &owner)?.ok_or_else(|| Error::NotFound(owner.arn()))?;
                data::list_configs::<FunctionUrl>(tx, &owner, &after, size + 1)
            })
            .await?;
        let (found, next_marker) = page(found, size, |(qualifier, _)| (qualifier, 0));
        let configs = found
            .into_iter()
            .map(|(word, url)| FunctionUrlConfig::of(context, &of_word(&id, &word), url))
            .collect();
        Ok(ListFunctionUrlConfigsResponse { next_marker, function_url_configs: configs })
    }
}

/// What a stored qualifier stands for.
pub(crate) fn of_word(id: &FunctionId, word: &str) -> Target {
    let alias = match Qualifier::of(word) {
        alias @ Qualifier::Alias(_) => Some(alias),
        Qualifier::Version(_) => None,
    };
    Target { id: id.clone(), qualifier: alias }
}

fn named(
    context: &Context,
    action: &'static str,
    name: &str,
    qualifier: Option<&str>,
) -> Result<Target, Error> {
    let target = asking(context, action, |asker| names::target(asker, name, qualifier, Form::Plain))?;
    url::check_place(&target)?;
    Ok(target)
}

fn exists(tx: &mut Tx<'_>, target: &Target) -> Result<VersionRecord, Error> {
    data::function(tx, &target.id)?.ok_or_else(|| Error::NotFound(target.arn()))?;
    data::version_named(tx, target)?.ok_or_else(|| Error::NotFound(target.arn()))
}

fn existing(tx: &mut Tx<'_>, target: &Target) -> Result<FunctionUrl, Error> {
    exists(tx, target)?;
    data::config(tx, &target.id, &target.word())?.ok_or(Error::NoResource)
}
