//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.

use crate::{
    Error, Functions,
    api::{Concurrency, FunctionRequest, PutFunctionConcurrencyRequest},
    asking, data,
    logic::{
        names::{self, Form},
        provisioned::ProvisionedConcurrency,
    },
    model::FunctionId,
};
use base::limits;
use wire::{Context, Violations};

impl Functions {
    pub(crate) async fn put_function_concurrency(
        &self,
        context: &Context,
        input: PutFunctionConcurrencyRequest,
    ) -> Result<Concurrency, Error> {
        let id = asking(context, "lambda:PutFunctionConcurrency", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        let wanted = input.reserved_concurrent_executions;
        let mut violations = Violations::default();
        violations.range("reservedConcurrentExecutions", wanted, 0..=i64::from(i32::MAX));
        let Ok(wanted) = u32::try_from(wanted) else {
            return Err(Error::Constraints(violations.to_string()));
        };
        self.reserve(id, Some(wanted)).await?;
        Ok(Concurrency { reserved_concurrent_executions: Some(wanted) })
    }

    pub(crate) async fn get_function_concurrency(
        &self,
        context: &Context,
        input: FunctionRequest,
    ) -> Result<Concurrency, Error> {
        let id = asking(context, "lambda:GetFunctionConcurrency", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        self.db
            .read(move |tx| match data::function(tx, &id)? {
                Some(function) => {
                    Ok(Concurrency { reserved_concurrent_executions: function.reserved_concurrency })
                }
                None => Err(Error::NotFound(id.arn())),
            })
            .await
    }

    pub(crate) async fn delete_function_concurrency(
        &self,
        context: &Context,
        input: FunctionRequest,
    ) -> Result<(), Error> {
        let id = asking(context, "lambda:DeleteFunctionConcurrency", |asker| {
            names::unqualified(asker, &input.function_name, Form::Plain)
        })?;
        self.reserve(id, None).await
    }

    async fn reserve(&self, id: FunctionId, wanted: Option<u32>) -> Result<(), Error> {
        let account_max = u64::from(self.settings.account_concurrency);
        let changed = id.clone();
        self.db
            .write(move |tx| {
                let mut function = data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                let provisioned: u64 = data::list_configs::<ProvisionedConcurrency>(tx, &id, "", i64::MAX)?
                    .iter()
                    .map(|(_, config)| u64::from(config.requested))
                    .sum();
                if wanted.is_some_and(|wanted| u64::from(wanted) < provisioned) {
                    return Err(Error::InvalidParameter(format!(
                        "ReservedConcurrentExecutions for function is below its provisioned concurrency of [{provisioned}]."
                    )));
                }
                let own = function.reserved_concurrency.map_or(provisioned, u64::from);
                let others = data::own_concurrency(tx, id.account, &id.region)?.saturating_sub(own);
                let min = u64::from(limits::UNRESERVED_CONCURRENCY_MIN);
                if let Some(wanted) = wanted
                    && wanted > 0
                    && others + u64::from(wanted) + min > account_max
                {
                    return Err(Error::InvalidParameter(format!(
                        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{min}]."
                    )));
                }
                function.reserved_concurrency = wanted;
                data::update_function(tx, &function)
            })
            .await?;
        self.specs.invalidate(&changed);
        self.reservations_changed().await;
        Ok(())
    }
}
