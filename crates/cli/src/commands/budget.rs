//! `neap budget`: amounts that the account or a function may cost in a month.

use super::{Ending, client};
use crate::{
    args::{self, BudgetCommand},
    client::usage::Budget,
    error::Error,
    output::{Output, table},
};
use serde_json::{Value, json};

/// Runs the command.
pub(crate) async fn run(arguments: args::Budget, output: Output) -> Result<Ending, Error> {
    match arguments.command {
        BudgetCommand::Set(arguments) => set(arguments, output).await,
        BudgetCommand::Ls(arguments) => list(&arguments, output).await,
        BudgetCommand::Rm(arguments) => remove(&arguments, output).await,
    }
}

async fn set(arguments: args::BudgetSet, output: Output) -> Result<Ending, Error> {
    let input = json!({
        "amount": arguments.amount,
        "function": arguments.function,
        "book": arguments.book.as_str(),
        "free_tier": !arguments.no_free_tier,
        "alerts": arguments.alert,
        "cap": arguments.cap,
        "notify": arguments.notify,
    });
    let answer = client(&arguments.connection)?.put_budget(&arguments.name, &input).await?;
    if output.json {
        output.json_document(&answer);
    } else {
        let budget: Budget = read("PutBudget", answer)?;
        output.line(&report(&[budget]));
    }
    Ok(Ending::Success)
}

async fn list(arguments: &args::List, output: Output) -> Result<Ending, Error> {
    let mut answer = client(&arguments.connection)?.budgets().await?;
    if output.json {
        output.json_document(&answer);
        return Ok(Ending::Success);
    }
    let budgets: Vec<Budget> =
        read("ListBudgets", answer.get_mut("budgets").map(Value::take).unwrap_or_default())?;
    if budgets.is_empty() {
        output.note("no budgets; set one with `neap budget set NAME --amount USD`");
    } else {
        output.line(&report(&budgets));
    }
    Ok(Ending::Success)
}

async fn remove(arguments: &args::Remove, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    for name in &arguments.names {
        client.delete_budget(name).await?;
        if !output.json {
            output.line(&format!("removed {name}"));
        }
    }
    if output.json {
        output.json_document(&json!({ "removed": arguments.names }));
    }
    Ok(Ending::Success)
}

fn read<T: serde::de::DeserializeOwned>(operation: &str, answer: Value) -> Result<T, Error> {
    serde_json::from_value(answer)
        .map_err(|error| Error::Answer { operation: operation.to_owned(), reason: error.to_string() })
}

fn report(budgets: &[Budget]) -> String {
    let rows = budgets.iter().map(|budget| {
        let alerts: Vec<_> = budget.alerts.iter().map(|percent| format!("{percent}%")).collect();
        vec![
            budget.name.clone(),
            budget.function.clone().unwrap_or_else(|| "(account)".to_owned()),
            budget.book.clone(),
            format!("$ {}", budget.amount),
            format!("$ {}", budget.spent),
            format!("{}%", budget.percent),
            alerts.join(" "),
            state(budget).to_owned(),
        ]
    });
    let header = ["BUDGET", "OF", "PRICES", "A MONTH", "SPENT", "", "ALERTS", "STATE"];
    table(&header, &[3, 4, 5], rows.collect())
}

fn state(budget: &Budget) -> &'static str {
    match (budget.capped, budget.cap, budget.percent >= 100) {
        (true, _, _) => "stopped",
        (false, true, _) => "caps",
        (false, false, true) => "exceeded",
        (false, false, false) => "",
    }
}

/// What to say of a budget that has reached an alert.
pub(crate) fn warning(budget: &Budget) -> Option<String> {
    if budget.reached.is_empty() && !budget.capped {
        return None;
    }
    let (name, spent, amount) = (&budget.name, &budget.spent, &budget.amount);
    let of = budget
        .function
        .as_deref()
        .map_or_else(|| "the account".to_owned(), |name| format!("function {name}"));
    let stopped = if budget.capped { "; further invocations are refused" } else { "" };
    Some(format!("budget {name}: {of} has used {}% of it, $ {spent} of $ {amount}{stopped}", budget.percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(percent: u64, reached: &[u32], cap: bool) -> Budget {
        Budget {
            name: "b".into(),
            function: Some("f".into()),
            amount: "1.00".into(),
            book: "aws".into(),
            alerts: vec![80, 100],
            cap,
            spent: "0.90".into(),
            percent,
            reached: reached.to_vec(),
            capped: cap && percent >= 100,
        }
    }

    #[test]
    fn a_reached_alert_is_a_warning() {
        assert_eq!(warning(&budget(79, &[], true)), None);
        let text = warning(&budget(90, &[80], true)).unwrap();
        assert_eq!(text, "budget b: function f has used 90% of it, $ 0.90 of $ 1.00");
        assert!(
            warning(&budget(100, &[80, 100], true)).unwrap().ends_with("further invocations are refused")
        );
        assert!(report(&[budget(100, &[], true)]).contains("stopped"));
        assert!(report(&[budget(100, &[], false)]).contains("exceeded"));
    }
}
