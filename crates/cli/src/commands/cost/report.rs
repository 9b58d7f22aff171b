//! Tables of costs for people.

use super::dollars;
use crate::{
    args,
    client::usage::{Bill, Cost, FunctionUsage, Provisioned, Usage, Used},
    output::{Paint, table},
};

/// The functions, dearest first, and the bill they add up to.
pub(super) fn functions(usage: &Usage, book: args::Book, paint: Paint) -> String {
    let dollars = |function: &FunctionUsage| cost(&function.used, book).parse::<f64>().unwrap_or_default();
    let mut functions: Vec<_> = usage.functions.iter().collect();
    functions.sort_by(|one, other| dollars(other).total_cmp(&dollars(one)));
    let rows = functions.into_iter().map(|function| row(&function.function, &function.used, book)).collect();
    with_bill(used_table("FUNCTION", rows), usage, book, paint)
}

/// The days of a month.
pub(super) fn days(usage: &Usage, book: args::Book, paint: Paint) -> String {
    let rows = usage.days.iter().map(|day| row(&day.day, &day.used, book)).collect();
    with_bill(used_table("DAY", rows), usage, book, paint)
}

fn cost(used: &Used, book: args::Book) -> &str {
    used.cost.get(book.as_str()).map_or("0.00", String::as_str)
}

fn row(name: &str, used: &Used, book: args::Book) -> Vec<String> {
    vec![
        name.to_owned(),
        used.invocations.to_string(),
        used.errors.to_string(),
        used.cold_starts.to_string(),
        used.billed_ms.to_string(),
        format!("{:.3}", used.gb_seconds),
        format!("{:.3}", used.reserved_gb_seconds),
        format!("$ {}", cost(used, book)),
    ]
}

fn used_table(first: &str, rows: Vec<Vec<String>>) -> String {
    let header = [first, "CALLS", "ERRORS", "COLD", "BILLED MS", "GB-S", "RESERVED GB-S", "COST"];
    table(&header, &[1, 2, 3, 4, 5, 6, 7], rows)
}

/// What the amounts do not hold, below them.
pub(super) fn with_omissions(mut text: String, usage: &Usage) -> String {
    for omission in &usage.not_included {
        text.push_str(&format!("\n\n{omission}"));
    }
    text
}

/// Both charges of provisioned concurrency together.
fn provisioned_cost(charges: &Provisioned) -> String {
    let both = [charges.provisioned_cost.as_str(), charges.reserved_cost.as_str()];
    dollars::sum(both.into_iter().filter(|cost| !cost.is_empty())).unwrap_or_default()
}

fn with_bill(mut text: String, usage: &Usage, book: args::Book, paint: Paint) -> String {
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
    let charges = &bill.provisioned;
    let provisioned = match provisioned_cost(charges).as_str() {
        "0.00" => String::new(),
        _ => format!(
            "\nprovisioned concurrency: {:.3} GB-seconds reserved: $ {}, {:.3} run: $ {}",
            charges.reserved_gb_seconds,
            charges.reserved_cost,
            charges.provisioned_gb_seconds,
            charges.provisioned_cost
        ),
    };
    format!(
        "{}\nrequests: {} of which {} free: $ {}\nGB-seconds: {:.3} of which {:.3} free: $ {}{provisioned}{scratch}",
        paint.bold(&format!("{month} by the prices of {}: $ {}", bill.title, bill.total)),
        bill.requests,
        bill.requests_free,
        bill.requests_cost,
        bill.gb_seconds,
        bill.gb_seconds_free,
        bill.duration_cost,
    )
}

/// Bills of several months.
pub(super) fn months(months: &[Usage], book: args::Book) -> String {
    let rows = months.iter().flat_map(|usage| {
        usage.books.iter().filter(|bill| bill.name == book.as_str()).map(|bill| {
            vec![
                usage.month.clone(),
                bill.requests.to_string(),
                format!("{:.3}", bill.gb_seconds),
                format!("$ {}", bill.requests_cost),
                format!("$ {}", bill.duration_cost),
                format!("$ {}", provisioned_cost(&bill.provisioned)),
                format!("$ {}", bill.total),
            ]
        })
    });
    let header = ["MONTH", "CALLS", "GB-S", "REQUESTS", "DURATION", "PROVISIONED", "COST"];
    table(&header, &[1, 2, 3, 4, 5, 6], rows.collect())
}

/// The same usage by every list of prices, and beside a machine if one is given.
pub(crate) fn alternatives(costs: &[Cost]) -> String {
    let rows = costs.iter().map(|cost| {
        vec![
            cost.name.clone(),
            cost.rounding.clone(),
            format!("{:.3}", cost.gb_seconds),
            format!("$ {}", cost.requests_cost),
            format!("$ {}", cost.duration_cost),
            format!("$ {}", cost.processor_cost),
            format!("$ {}", provisioned_cost(&cost.provisioned)),
            format!("$ {}", cost.total),
            format!("$ {}", cost.total_without_free_tier),
        ]
    });
    let header = [
        "PRICES",
        "ROUNDED UP TO",
        "GB-S",
        "REQUESTS",
        "DURATION",
        "PROCESSOR",
        "PROVISIONED",
        "COST",
        "NO FREE TIER",
    ];
    let mut text = table(&header, &[2, 3, 4, 5, 6, 7, 8], rows.collect());
    let compared: Vec<_> =
        costs.iter().filter_map(|cost| Some((&cost.title, cost.break_even.as_ref()?))).collect();
    let Some((_, first)) = compared.first() else { return text };
    text.push_str(&format!(
        "\n\nbeside a machine that is always on for $ {} a month:\n",
        first.machine_price
    ));
    let rows = compared.iter().map(|(title, even)| {
        let (requests, rate) = match even.requests {
            Some(requests) => (requests.to_string(), format!("{:.3}", even.requests_per_second)),
            None => ("any".to_owned(), String::new()),
        };
        vec![
            (*title).clone(),
            even.cheaper.clone(),
            requests,
            rate,
            format!("{:.2}", even.concurrency),
            format!("{:.0}", even.memory_mb),
        ]
    });
    let header = ["PRICES", "CHEAPER NOW", "UP TO CALLS/MONTH", "CALLS/S", "AT ONCE", "MB"];
    text.push_str(&table(&header, &[2, 3, 4, 5], rows.collect()));
    text.push_str(
        "\nthe machine is cheaper beyond that, if it can carry so many calls at once with so much memory",
    );
    text
}

/// Memory sizes that would suit better.
pub(super) fn advice(usage: &Usage, book: args::Book) -> String {
    let mut rows = Vec::new();
    for function in &usage.functions {
        for line in &function.lines {
            let Some(advice) = &line.advice else { continue };
            rows.push(vec![
                function.function.clone(),
                line.version.clone(),
                line.used.invocations.to_string(),
                line.memory_mb.to_string(),
                (line.used.memory_used_max_bytes.div_ceil(1024 * 1024)).to_string(),
                advice.memory_mb.to_string(),
                advice.saving.get(book.as_str()).map_or_else(String::new, |saving| format!("$ {saving}")),
            ]);
        }
    }
    if rows.is_empty() {
        return format!("the memory of every function that ran in {} suits what it used", usage.month);
    }
    let header = ["FUNCTION", "VERSION", "CALLS", "MB NOW", "MB USED", "MB ADVISED", "SAVES"];
    let text = table(&header, &[2, 3, 4, 5, 6], rows);
    format!(
        "{text}\n\nMB USED is the most that one call used in {}. SAVES is without free tier and with run times as they \
         are; less memory comes with less processor time: see how run times change with `neap tune FUNCTION`.",
        usage.month
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use serde_json::json;

    const OUTPUT: Output = Output { json: false, colour_out: false, colour_err: false, live: false };

    fn usage() -> Usage {
        serde_json::from_value(json!({
            "account": "000000000000",
            "month": "2026-01",
            "functions": [
                {"function": "a", "region": "us-east-1", "invocations": 2, "errors": 0, "timeouts": 0, "cold_starts": 1,
                 "billed_ms": 7, "run_ms": 1.0, "init_ms": 1.0, "gb_seconds": 0.5, "cost": {"aws": "0.10", "azure": "9.00"},
                 "lines": [{"version": "$LATEST", "memory_mb": 1024, "architecture": "x86_64", "invocations": 2, "errors": 0,
                    "cold_starts": 1, "billed_ms": 7, "gb_seconds": 0.5, "memory_used_max_bytes": 1048577, "cost": {},
                    "advice": {"memory_mb": 128, "change": "lower", "saving": {"aws": "0.07"}}}]},
                {"function": "b", "region": "us-east-1", "invocations": 3, "errors": 1, "timeouts": 0, "cold_starts": 1,
                 "billed_ms": 9, "run_ms": 1.0, "init_ms": 1.0, "gb_seconds": 1.5, "cost": {"aws": "1.20", "azure": "0.00"}, "lines": []},
            ],
            "books": [
                {"name": "aws", "title": "AWS Lambda", "requests": 5, "requests_free": 5, "requests_cost": "0.00", "gb_seconds": 2.0,
                 "gb_seconds_free": 2.0, "duration_cost": "1.30", "scratch_cost": "0.00", "total": "1.30"},
            ],
            "days": [{"day": "2026-01-31", "invocations": 5, "errors": 1, "cold_starts": 2, "billed_ms": 16, "gb_seconds": 2.0,
                "cost": {"aws": "1.30"}}],
        }))
        .unwrap()
    }

    #[test]
    fn a_report_has_the_dearest_function_first_and_the_bill_below() {
        let (usage, paint) = (usage(), OUTPUT.paint());
        let text = functions(&usage, args::Book::Aws, paint);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("b ") && lines[1].ends_with("$ 1.20"), "{text}");
        assert!(lines[2].starts_with("a ") && lines[2].ends_with("$ 0.10"), "{text}");
        assert!(text.contains("2026-01 by the prices of AWS Lambda: $ 1.30"), "{text}");
        assert!(functions(&usage, args::Book::Azure, paint).lines().nth(1).unwrap().starts_with("a "));
        let text = days(&usage, args::Book::Aws, paint);
        assert!(text.lines().nth(1).unwrap().starts_with("2026-01-31 "), "{text}");
    }

    #[test]
    fn advice_tells_what_is_used_and_what_would_do() {
        let text = advice(&usage(), args::Book::Aws);
        let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["a", "$LATEST", "2", "1024", "2", "128", "$", "0.07"]);
        assert!(advice(&Usage { functions: Vec::new(), ..usage() }, args::Book::Aws).contains("suits"));
    }
}
