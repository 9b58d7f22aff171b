//! `neap cost`: what the functions used, and what that costs by providers' prices.

pub(crate) mod dollars;
mod report;
mod tags;

use super::{Ending, budget::warning as budget_warning, client};
use crate::{
    args::{self, CostBy},
    client::{
        Client,
        usage::{Cost, Question, Usage},
    },
    error::Error,
    output::Output,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use report::alternatives;

/// Runs the command.
pub(crate) async fn run(arguments: args::Cost, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    if !arguments.estimate.is_empty() {
        return estimate(&client, &arguments, output).await;
    }
    if let Some(key) = &arguments.tag {
        return by_tag(&client, &arguments, key, output).await;
    }
    match arguments.by {
        CostBy::Month => by_month(&client, &arguments, output).await,
        CostBy::Day | CostBy::Function => one_month(&client, &arguments, output).await,
    }
}

fn question(arguments: &args::Cost) -> Question<'_> {
    Question {
        month: arguments.month.as_deref(),
        increment: arguments.increment.map(args::Increment::as_str),
        by: (arguments.by == CostBy::Day).then_some("day"),
        machine_price: arguments.machine_price.as_deref(),
    }
}

async fn one_month(client: &Client, arguments: &args::Cost, output: Output) -> Result<Ending, Error> {
    let answer = client.usage(question(arguments)).await?;
    if output.json {
        // As the node says it: all books and all lines.
        output.json_document(&answer);
        return Ok(Ending::Success);
    }
    let usage: Usage = read(answer)?;
    for budget in &usage.budgets {
        if let Some(warning) = budget_warning(budget) {
            output.note(&output.paint_err().yellow(&warning));
        }
    }
    if usage.functions.is_empty() {
        output.note(&format!("nothing was used in {}", usage.month));
        return Ok(Ending::Success);
    }
    let (book, paint) = (arguments.book, output.paint());
    let text = if arguments.advice {
        report::advice(&usage, book)
    } else if arguments.what_if || arguments.machine_price.is_some() {
        report::with_omissions(alternatives(&usage.alternatives), &usage)
    } else if arguments.by == CostBy::Day {
        report::days(&usage, book, paint)
    } else {
        report::functions(&usage, book, paint)
    };
    let own_prices = matches!(book, args::Book::Aws) || arguments.advice || arguments.what_if;
    let text = if own_prices || arguments.machine_price.is_some() {
        text
    } else {
        report::with_omissions(text, &usage)
    };
    output.line(&text);
    Ok(Ending::Success)
}

/// Each month has free tiers of its own.
async fn by_month(client: &Client, arguments: &args::Cost, output: Output) -> Result<Ending, Error> {
    let latest = arguments.month.clone().unwrap_or_else(this_month);
    let mut months = Vec::new();
    for month in months_until(&latest, arguments.months) {
        months.push(client.usage(Question { month: Some(&month), ..question(arguments) }).await?);
    }
    if output.json {
        output.json_document(&json!({ "months": months }));
        return Ok(Ending::Success);
    }
    let months = months.into_iter().map(read).collect::<Result<Vec<Usage>, _>>()?;
    output.line(&report::months(&months, arguments.book));
    Ok(Ending::Success)
}

/// The tags are those that the functions have now; a deleted function has none.
async fn by_tag(client: &Client, arguments: &args::Cost, key: &str, output: Output) -> Result<Ending, Error> {
    let usage: Usage = read(client.usage(question(arguments)).await?)?;
    let mut tagged = Vec::new();
    for function in &usage.functions {
        let arn =
            format!("arn:aws:lambda:{}:{}:function:{}", function.region, usage.account, function.function);
        let region = function.region.parse().map_err(|_| unreadable("it names an impossible region"))?;
        let value = match client.in_region(region).tags(&arn).await {
            Ok(mut tags) => tags.remove(key),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        tagged.push((value, function));
    }
    let groups = tags::groups(&tagged).ok_or_else(|| unreadable("an amount is not a decimal number"))?;
    if output.json {
        output.json_document(&json!({ "month": usage.month, "tag": key, "groups": groups }));
    } else {
        output.line(&tags::report(key, &groups, arguments.book));
    }
    Ok(Ending::Success)
}

async fn estimate(client: &Client, arguments: &args::Cost, output: Output) -> Result<Ending, Error> {
    let answer = client.estimate(&arguments.estimate, true, arguments.machine_price.as_deref()).await?;
    if output.json {
        output.json_document(&answer);
        return Ok(Ending::Success);
    }
    output.line(&alternatives(&priced(answer)?));
    Ok(Ending::Success)
}

/// The lists of prices in an estimate.
pub(crate) fn priced(mut estimate: Value) -> Result<Vec<Cost>, Error> {
    read(estimate.get_mut("alternatives").map(Value::take).unwrap_or_default())
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Error> {
    serde_json::from_value(answer).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(reason: &str) -> Error {
    Error::Answer { operation: "GetUsage".to_owned(), reason: reason.to_owned() }
}

fn this_month() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m").to_string()
}

/// `count` months in order, the last being `latest` (`YYYY-MM`).
fn months_until(latest: &str, count: u32) -> Vec<String> {
    let Ok(latest) = format!("{latest}-01").parse::<jiff::civil::Date>() else { return Vec::new() };
    let before = |months: u32| latest.checked_sub(jiff::Span::new().months(i64::from(months))).ok();
    let mut months: Vec<_> =
        (0..count).filter_map(before).map(|month| month.strftime("%Y-%m").to_string()).collect();
    months.reverse();
    months
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_counted_back_over_the_year() {
        assert_eq!(months_until("2026-02", 3), ["2025-12", "2026-01", "2026-02"]);
        assert_eq!(months_until("2026-02", 1), ["2026-02"]);
    }
}
