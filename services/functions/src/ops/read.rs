//! GetFunction, GetFunctionConfiguration, GetAccountSettings.

use crate::{
    Error, Functions,
    api::{
        AccountLimit, AccountSettings, AccountUsage, Concurrency, FunctionCodeLocation,
        FunctionConfiguration, GetFunctionResponse, Nothing, QualifiedRequest,
    },
    asking, data,
    logic::{
        names::{self, Form},
        states::{Shown, configuration},
    },
    model::{FunctionRecord, Target, VersionRecord},
};
use base::limits;
use store::Tx;
use wire::Context;

impl Functions {
    pub(crate) async fn get_function(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<GetFunctionResponse, Error> {
        let target = asking(context, "lambda:GetFunction", |asker| {
            names::target(asker, &input.function_name, input.qualifier.as_deref(), Form::Namespaced)
        })?;
        let arn = target.arn();
        let (function, record) = self.find(target).await?;
        let location = self.links().await?.url(&context.authority, record.deployment.code, self.now());
        let reserved = function.reserved_concurrency;
        Ok(GetFunctionResponse {
            configuration: configuration(&record, arn, Shown::Whole),
            code: FunctionCodeLocation { repository_type: "S3", location },
            tags: function.tags,
            concurrency: reserved.map(|_| Concurrency { reserved_concurrent_executions: reserved }),
        })
    }

    pub(crate) async fn get_function_configuration(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let target = asking(context, "lambda:GetFunctionConfiguration", |asker| {
            names::target(asker, &input.function_name, input.qualifier.as_deref(), Form::Namespaced)
        })?;
        let arn = target.arn();
        let (_, record) = self.find(target).await?;
        Ok(configuration(&record, arn, Shown::Whole))
    }

    pub(crate) async fn get_account_settings(
        &self,
        context: &Context,
        _: Nothing,
    ) -> Result<AccountSettings, Error> {
        let (account, region) = (context.account, context.region.clone());
        let (code_bytes, functions, own) = self
            .db
            .read(move |tx| {
                let code_bytes = data::code_bytes(tx, account.as_str(), region.as_str())?;
                let functions = data::function_count(tx, account.as_str(), region.as_str())?;
                Ok::<_, Error>((code_bytes, functions, data::own_concurrency(tx, account, &region)?))
            })
            .await?;
        let concurrency = self.settings.account_concurrency;
        Ok(AccountSettings {
            account_limit: AccountLimit {
                total_code_size: self.settings.code_storage_max.0,
                code_size_unzipped: limits::PACKAGE_UNPACKED_MAX.0,
                code_size_zipped: limits::PACKAGE_ZIPPED_MAX.0,
                concurrent_executions: concurrency,
                unreserved_concurrent_executions: concurrency
                    .saturating_sub(u32::try_from(own).unwrap_or(u32::MAX)),
            },
            account_usage: AccountUsage { total_code_size: code_bytes, function_count: functions },
        })
    }

    /// The version that a request names, with its function.
    pub(crate) async fn find(&self, target: Target) -> Result<(FunctionRecord, VersionRecord), Error> {
        self.db.read(move |tx| find(tx, &target)).await
    }
}

/// The version that a request names, with its function.
pub(crate) fn find(tx: &mut Tx<'_>, target: &Target) -> Result<(FunctionRecord, VersionRecord), Error> {
    let function = data::function(tx, &target.id)?;
    let record = data::version_named(tx, target)?;
    function.zip(record).ok_or_else(|| Error::NotFound(target.arn()))
}
