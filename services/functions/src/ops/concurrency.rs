//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.

use crate::{
    Error, Functions,
    api::{Concurrency, FunctionRequest, PutFunctionConcurrencyRequest},
    asking, data,
    logic::names::{self, Form},
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
                let (_, reserved) = data::function_totals(tx, id.account.as_str(), id.region.as_str())?;
                let others = reserved.saturating_sub(u64::from(function.reserved_concurrency.unwrap_or_default()));
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
