//! Looking at budgets: setting caps and telling alerts.

use super::{Budget, GROUP, Standing, data, percent};
use crate::{Error, Telemetry, api::usage::Month, data as usage, logic::DAY_MS, meter};
use base::{AccountId, LogEvent, LogSink, NotInvoked, RequestId};
use serde_json::json;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};
use store::Tx;

/// Looked at again after so long at most: what other nodes stored counts too.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// An account's usage of a month.
type Rows = Vec<(meter::UsageKey, meter::Usage)>;

impl Telemetry {
    /// Sets the caps of budgets as the store says: before the first invocation.
    ///
    /// # Errors
    /// Those of the store; the caps are as they were.
    pub async fn look_at_budgets(&self) -> Result<(), Error> {
        self.standings().await.map(drop)
    }

    /// Looks at budgets for ever, whenever usage has been stored.
    pub(crate) async fn watch_budgets(&self) {
        loop {
            let begun = tokio::time::Instant::now();
            if let Err(error) = self.look_at_budgets().await {
                tracing::warn!(%error, "budgets could not be looked at, tried again later");
            }
            // However much there is to look at, it takes a fifth of the time at most.
            tokio::time::sleep(begun.elapsed() * 4).await;
            // No budget: nothing wakes the node before one is made here, or a minute has passed.
            tokio::select! {
                () = self.inner.budgets.stored.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// All budgets of all accounts by what is stored; caps hold and alerts are told then.
    pub(crate) async fn standings(&self) -> Result<Vec<Standing>, Error> {
        let keeping = &self.inner.budgets;
        let _turn = keeping.turn.lock().await;
        let now = self.inner.clock.now();
        let month =
            Month::of(now).ok_or_else(|| Error::Invalid("the clock is beyond all months".to_owned()))?;
        let (first, last) = month.days();
        let standings = self.inner.db.read(move |tx| read(tx, first, last)).await?;
        keeping.any.store(!standings.is_empty(), Ordering::Relaxed);
        keeping.caps.set(&standings);
        for standing in &standings {
            for percent in standing.due() {
                self.tell(standing, percent, &month.text(), first).await?;
            }
        }
        Ok(standings)
    }

    /// Tells an alert, then notes that.
    async fn tell(&self, standing: &Standing, reached: u32, month: &str, first: i64) -> Result<(), Error> {
        let Budget { account, name, definition } = &standing.budget;
        let (spent, amount) = (standing.spent.to_string(), standing.budget.amount());
        let alert = json!({
            "event": "budget",
            "budget": name,
            "account": account.as_str(),
            "region": definition.region,
            "function": definition.function,
            "month": month,
            "threshold_percent": reached,
            "percent": percent(standing.spent, amount),
            "spent": spent,
            "amount": amount.to_string(),
            "book": definition.book,
            "capped": standing.capped(),
        });
        if let Some(function) = &definition.notify {
            let notified = self.notify(function, &alert).await;
            match notified {
                Ok(()) => {}
                Err(NotInvoked::NotNow(error)) => {
                    tracing::warn!(budget = name, function, error, "a budget's alert waits for its function");
                    return Ok(());
                }
                Err(NotInvoked::Never(error)) => {
                    tracing::warn!(
                        budget = name,
                        function,
                        error,
                        "a budget's alert cannot reach its function"
                    );
                }
            }
        }
        let capped = standing.capped();
        tracing::warn!(budget = name, %account, percent = reached, spent, %amount, capped, "a budget is spent");
        let now = self.inner.clock.now();
        let event = LogEvent { at: now, message: alert.to_string() };
        self.append(*account, &definition.region, GROUP, name, vec![event]);
        self.inner.flush_logs().await?;
        let (account, name) = (*account, name.clone());
        self.inner.db.write(move |tx| data::note_told(tx, account, &name, first, reached, now)).await?;
        Ok(())
    }

    async fn notify(&self, function: &str, alert: &serde_json::Value) -> Result<(), NotInvoked> {
        let Some(invoke) = self.inner.invoke.get() else {
            return Err(NotInvoked::NotNow("functions cannot be invoked yet".to_owned()));
        };
        let arn = function.parse().map_err(|error: base::BadArn| NotInvoked::Never(error.to_string()))?;
        let request = RequestId::new(&*self.inner.entropy);
        // Of the account itself, for the account itself.
        invoke.invoke_later(None, arn, request, alert.to_string().into(), None).await
    }
}

fn read(tx: &mut Tx<'_>, first: i64, last: i64) -> Result<Vec<Standing>, store::Error> {
    let budgets = data::all(tx)?;
    let mut rows: BTreeMap<AccountId, Rows> = BTreeMap::new();
    let mut standings = Vec::with_capacity(budgets.len());
    for budget in budgets {
        let rows = match rows.entry(budget.account) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(usage::usage_between(tx, budget.account, first, last)?)
            }
        };
        let told = data::told(tx, budget.account, &budget.name, first)?;
        let until = base::Timestamp(last.saturating_add(1).saturating_mul(DAY_MS));
        standings.push(Standing { spent: budget.spent(rows), budget, told, until });
    }
    Ok(standings)
}
