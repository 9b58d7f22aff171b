//! `neap cost`: what the functions used in a month, and what that costs by a provider's prices.

use super::{Ending, client};
use crate::{
    args,
    client::usage::{Bill, FunctionUsage, Usage},
    error::Error,
    output::{Output, Paint, table},
};

/// Runs the command.
pub(crate) async fn run(arguments: args::Cost, output: Output) -> Result<Ending, Error> {
    let increment = arguments.increment.map(args::Increment::as_str);
    let answer = client(&arguments.connection)?.usage(arguments.month.as_deref(), increment).await?;
    if output.json {
        // As the node says it: all books and all lines.
        output.json_document(&answer);
        return Ok(Ending::Success);
    }
    let usage: Usage = serde_json::from_value(answer)
        .map_err(|error| Error::Answer { operation: "GetUsage".to_owned(), reason: error.to_string() })?;
    if usage.functions.is_empty() {
        output.note(&format!("nothing was used in {}", usage.month));
    } else {
        output.line(&report(&usage, arguments.book, output.paint()));
    }
    Ok(Ending::Success)
}

/// The functions, dearest first, and the bill they add up to.
fn report(usage: &Usage, book: args::Book, paint: Paint) -> String {
    let cost = |function: &FunctionUsage| function.cost.get(book.as_str()).cloned().unwrap_or_default();
    let dollars = |function: &FunctionUsage| cost(function).parse::<f64>().unwrap_or_default();
    let mut functions: Vec<_> = usage.functions.iter().collect();
    functions.sort_by(|one, other| dollars(other).total_cmp(&dollars(one)));
    let rows = functions
        .into_iter()
        .map(|function| {
            vec![
                function.function.clone(),
                function.invocations.to_string(),
                function.errors.to_string(),
                function.cold_starts.to_string(),
                function.billed_ms.to_string(),
                format!("{:.3}", function.gb_seconds),
                format!("$ {}", cost(function)),
            ]
        })
        .collect();
    let header = ["FUNCTION", "CALLS", "ERRORS", "COLD", "BILLED MS", "GB-S", "COST"];
    let mut text = table(&header, &[1, 2, 3, 4, 5, 6], rows);
    for bill in usage.books.iter().filter(|bill| bill.name == book.as_str()) {
        text.push_str(&format!("\n\n{}", summary(&usage.month, bill, paint)));
    }
    text
}

fn summary(month: &str, bill: &Bill, paint: Paint) -> String {
    let scratch = match bill.scratch_cost.as_str() {
        "0.00" => String::new(),
        cost => format!("\nscratch space: $ {cost}"),
    };
    format!(
        "{}\nrequests: {} of which {} free: $ {}\nGB-seconds: {:.3} of which {:.3} free: $ {}{scratch}",
        paint.bold(&format!("{month} by the prices of {}: $ {}", bill.title, bill.total)),
        bill.requests,
        bill.requests_free,
        bill.requests_cost,
        bill.gb_seconds,
        bill.gb_seconds_free,
        bill.duration_cost,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_dearest_function_first_and_the_bill_below() {
        let usage: Usage = serde_json::from_value(serde_json::json!({
            "account": "000000000000",
            "month": "2026-01",
            "functions": [
                {"function": "a", "region": "us-east-1", "invocations": 2, "errors": 0, "timeouts": 0, "cold_starts": 1,
                 "billed_ms": 7, "run_ms": 1.0, "init_ms": 1.0, "gb_seconds": 0.5, "cost": {"aws": "0.10", "azure": "9.00"}, "lines": []},
                {"function": "b", "region": "us-east-1", "invocations": 3, "errors": 1, "timeouts": 0, "cold_starts": 1,
                 "billed_ms": 9, "run_ms": 1.0, "init_ms": 1.0, "gb_seconds": 1.5, "cost": {"aws": "1.20", "azure": "0.00"}, "lines": []},
            ],
            "books": [
                {"name": "aws", "title": "AWS Lambda", "requests": 5, "requests_free": 5, "requests_cost": "0.00", "gb_seconds": 2.0,
                 "gb_seconds_free": 2.0, "duration_cost": "1.30", "scratch_cost": "0.00", "total": "1.30"},
            ],
        }))
        .unwrap();
        let output = Output { json: false, colour_out: false, colour_err: false, live: false };
        let text = report(&usage, args::Book::Aws, output.paint());
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("b ") && lines[1].ends_with("$ 1.20"), "{text}");
        assert!(lines[2].starts_with("a ") && lines[2].ends_with("$ 0.10"), "{text}");
        assert!(text.contains("2026-01 by the prices of AWS Lambda: $ 1.30"), "{text}");
        assert!(report(&usage, args::Book::Azure, output.paint()).lines().nth(1).unwrap().starts_with("a "));
    }
}
