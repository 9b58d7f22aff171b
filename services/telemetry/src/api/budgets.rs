//! PutBudget, ListBudgets, DeleteBudget.

use super::{costs::check_amount, usage::Usage};
use crate::{
    Error, Telemetry,
    budgets::{
        ALERTS_MAX, BOOK_NAMES, BUDGETS_MAX, Budget, Definition, PERCENT_MAX, Standing, data, percent,
    },
    prices::Usd,
};
use base::{Arn, FunctionName, Region};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wire::{Context, Violations};

/// Told at these percentages if none are given.
const ALERTS_DEFAULT: [u32; 2] = [80, 100];

/// `PutBudget`.
#[derive(Debug, Deserialize)]
pub struct PutBudgetRequest {
    /// `[A-Za-z0-9_-]{1,64}`.
    name: String,
    /// US dollars a month, more than 0.
    amount: String,
    /// Only this function in the request's region; default: the account in all regions. It need not exist yet.
    function: Option<String>,
    /// `aws` (default), `azure`, `google`, `google-gen1`.
    book: Option<String>,
    /// Whether the free tier is there; default: yes.
    free_tier: Option<bool>,
    /// Percentages from 1 to 1,000 at which to tell; default: 80 and 100.
    alerts: Option<Vec<i64>>,
    /// Whether invocations are refused when the amount is spent; default: no.
    cap: Option<bool>,
    /// ARN of a function of the account that is invoked with each alert.
    notify: Option<String>,
}

/// A budget and how far it is spent this month.
#[derive(Debug, Serialize)]
pub struct BudgetStatus {
    name: String,
    region: Region,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<FunctionName>,
    amount: String,
    book: String,
    free_tier: bool,
    alerts: Vec<u32>,
    cap: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<String>,
    spent: String,
    percent: u64,
    /// Percentages reached this month.
    reached: Vec<u32>,
    /// Whether invocations are refused now.
    capped: bool,
}

/// `ListBudgets`.
#[derive(Debug, Deserialize)]
pub struct ListBudgetsRequest {}

/// All budgets of the account, by name.
#[derive(Debug, Serialize)]
pub struct ListBudgetsResponse {
    budgets: Vec<BudgetStatus>,
}

/// `DeleteBudget`.
#[derive(Debug, Deserialize)]
pub struct DeleteBudgetRequest {
    /// Which.
    name: String,
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl PutBudgetRequest {
    pub(super) fn check(&self, found: &mut Violations) {
        found.pattern("name", &self.name, "[A-Za-z0-9_-]{1,64}", is_name(&self.name));
        check_amount(found, "amount", Some(&self.amount));
        if self.amount.parse() == Ok(Usd(0)) {
            found.add(&self.amount, "amount", "Member must be greater than 0");
        }
        if let Some(function) = &self.function {
            found.pattern(
                "function",
                function,
                "[a-zA-Z0-9-_]{1,64}",
                function.parse::<FunctionName>().is_ok(),
            );
        }
        if let Some(book) = &self.book {
            found.one_of("book", book, &BOOK_NAMES);
        }
        let alerts = self.alerts.as_deref().unwrap_or_default();
        found.range("alerts", alerts.len(), 0..=ALERTS_MAX);
        for percent in alerts {
            found.range("alerts", *percent, 1..=i64::from(PERCENT_MAX));
        }
    }

    fn definition(&self, context: &Context) -> Result<Definition, Error> {
        let notify = self.notify.as_deref().map(|arn| notified(context, arn)).transpose()?;
        let mut alerts: Vec<u32> = match &self.alerts {
            None => ALERTS_DEFAULT.to_vec(),
            Some(alerts) => alerts.iter().filter_map(|percent| u32::try_from(*percent).ok()).collect(),
        };
        alerts.sort_unstable();
        alerts.dedup();
        let function = self.function.as_deref().map(str::parse).transpose();
        let amount: Usd = self.amount.parse().map_err(|error| Error::Invalid(format!("amount: {error}")))?;
        Ok(Definition {
            region: context.region.clone(),
            function: function.map_err(|error: base::BadFunctionName| Error::Invalid(error.to_string()))?,
            amount: amount.to_string(),
            book: self.book.clone().unwrap_or_else(|| BOOK_NAMES[0].to_owned()),
            free_tier: self.free_tier.unwrap_or(true),
            alerts,
            cap: self.cap.unwrap_or(false),
            notify,
        })
    }
}

/// A function that the caller may have invoked.
fn notified(context: &Context, text: &str) -> Result<String, Error> {
    let unfit = || {
        Error::Invalid(format!(
            "notify: {text:?} is not the ARN of a Lambda function of this account and region"
        ))
    };
    let arn: Arn = text.parse().map_err(|_| unfit())?;
    let own = &*arn.service == "lambda"
        && arn.region.as_ref() == Some(&context.region)
        && arn.account == Some(context.account)
        && arn.resource.starts_with("function:");
    if !own {
        return Err(unfit());
    }
    context.authorize("lambda:InvokeFunction", text)?;
    Ok(text.to_owned())
}

impl Usage {
    pub(super) async fn put_budget(
        &self,
        context: &Context,
        input: PutBudgetRequest,
    ) -> Result<BudgetStatus, Error> {
        let definition = input.definition(context)?;
        let budget = Budget { account: context.account, name: input.name.clone(), definition };
        let now = context.now;
        self.0
            .db
            .write(move |tx| {
                let names = data::names(tx, budget.account)?;
                if names.len() >= BUDGETS_MAX && !names.contains(&budget.name) {
                    return Err(Error::Invalid(format!("an account has at most {BUDGETS_MAX} budgets")));
                }
                Ok(data::put(tx, &budget, now)?)
            })
            .await?;
        let found = self.statuses(context).await?.into_iter().find(|budget| budget.name == input.name);
        // Somebody else has removed it since.
        found.ok_or(Error::NoSuchBudget(input.name))
    }

    pub(super) async fn list_budgets(
        &self,
        context: &Context,
        _: ListBudgetsRequest,
    ) -> Result<ListBudgetsResponse, Error> {
        Ok(ListBudgetsResponse { budgets: self.statuses(context).await? })
    }

    pub(super) async fn delete_budget(
        &self,
        context: &Context,
        input: DeleteBudgetRequest,
    ) -> Result<(), Error> {
        let (account, name) = (context.account, input.name.clone());
        let there = self.0.db.write(move |tx| data::delete(tx, account, &name)).await?;
        if !there {
            return Err(Error::NoSuchBudget(input.name));
        }
        // Its cap ends before this is answered.
        Telemetry { inner: Arc::clone(&self.0) }.look_at_budgets().await
    }

    /// The account's budgets with what was counted until now; caps are set by it.
    pub(super) async fn statuses(&self, context: &Context) -> Result<Vec<BudgetStatus>, Error> {
        self.0.flush_usage().await?;
        let telemetry = Telemetry { inner: Arc::clone(&self.0) };
        let standings = telemetry.standings().await?;
        let own = standings.into_iter().filter(|standing| standing.budget.account == context.account);
        Ok(own.map(BudgetStatus::from).collect())
    }
}

impl From<Standing> for BudgetStatus {
    fn from(standing: Standing) -> BudgetStatus {
        let capped = standing.capped();
        let percent = percent(standing.spent, standing.budget.amount());
        let Budget { name, definition, .. } = standing.budget;
        let Definition { region, function, amount, book, free_tier, alerts, cap, notify } = definition;
        let reached = alerts.iter().copied().filter(|alert| u64::from(*alert) <= percent).collect();
        let spent = standing.spent.to_string();
        BudgetStatus {
            name,
            region,
            function,
            amount,
            book,
            free_tier,
            alerts,
            cap,
            notify,
            spent,
            percent,
            reached,
            capped,
        }
    }
}
