//! Neap's own API: what functions used and what that costs, and the last invocations.
//!
//! REST-JSON under `/_neap/v1/`, signing name `neap`, member names in snake case. Amounts of money are decimal strings in US
//! dollars, exact to a trillionth; GB-seconds are numbers, for showing.

use super::budgets::{
    BudgetStatus, DeleteBudgetRequest, ListBudgetsRequest, ListBudgetsResponse, PutBudgetRequest,
};
use super::costs::{self, Advice, Cost, EstimateCostRequest, EstimateCostResponse};
use crate::{
    Error, Inner, data,
    logic::DAY_MS,
    meter::{self, UsageKey},
    prices::{self, AWS_BY_100_MS, BOOKS, Bill, Book, Line, Usd},
};
use base::{InvocationRecord, Outcome, Region, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use wire::{Context, Violations};

/// Usage and invocations of this node. See [`crate::Telemetry::usage`].
pub struct Usage(pub(crate) Arc<Inner>);

/// Invocations shown when no limit is given.
const RECORDS_DEFAULT: usize = 50;

wire::api! {
    /// Neap's own operations.
    impl Usage;
    name: "neap";
    protocol: rest_json;

    operations {
        /// What each function of the account used in a month, and what that costs at AWS, Azure and Google.
        GetUsage => get_usage(GetUsageRequest) -> GetUsageResponse {
            http: GET "/_neap/v1/usage" 200,
            query: ["month" => month, "increment" => increment, "by" => by, "machine_price" => machine_price],
            check: GetUsageRequest::check,
            allow: "neap:GetUsage" on "*",
            errors: [ValidationException, ServiceUnavailableException],
        }
        /// What a month of such invocations would cost at AWS, Azure and Google, and where a machine that is always on
        /// would be cheaper.
        EstimateCost => estimate_cost(EstimateCostRequest) -> EstimateCostResponse {
            http: POST "/_neap/v1/estimate" 200,
            check: EstimateCostRequest::check,
            allow: "neap:EstimateCost" on "*",
            errors: [ValidationException],
        }
        /// Creates or replaces a budget; with a cap that is spent already, invocations are refused from the answer on.
        PutBudget => put_budget(PutBudgetRequest) -> BudgetStatus {
            http: PUT "/_neap/v1/budgets/{name}" 200,
            check: PutBudgetRequest::check,
            allow: "neap:PutBudget" on "*",
            errors: [ValidationException, InvalidParameterException, AccessDeniedException, ServiceUnavailableException],
        }
        /// All budgets of the account, and how far they are spent this month.
        ListBudgets => list_budgets(ListBudgetsRequest) -> ListBudgetsResponse {
            http: GET "/_neap/v1/budgets" 200,
            allow: "neap:ListBudgets" on "*",
            errors: [ServiceUnavailableException],
        }
        /// Removes a budget; what it refused may run again.
        DeleteBudget => delete_budget(DeleteBudgetRequest) -> () {
            http: DELETE "/_neap/v1/budgets/{name}" 204,
            allow: "neap:DeleteBudget" on "*",
            errors: [ResourceNotFoundException, ServiceUnavailableException],
        }
        /// The last invocations on this node, newest first; kept in memory only.
        ListInvocations => list_invocations(ListInvocationsRequest) -> ListInvocationsResponse {
            http: GET "/_neap/v1/invocations" 200,
            query: ["function" => function, "limit" => limit],
            check: ListInvocationsRequest::check,
            allow: "neap:ListInvocations" on "*",
            errors: [ValidationException],
        }
    }
}

/// `GetUsage`.
#[derive(Debug, Deserialize)]
pub struct GetUsageRequest {
    /// `YYYY-MM`, UTC; default: this month.
    month: Option<String>,
    /// Rounding of time in AWS's book: `1ms` (default) or `100ms`, as it was until December 2020.
    increment: Option<String>,
    /// `day`: with the days of the account and of each function.
    by: Option<String>,
    /// US dollars a month of a machine that is always on, to compare with.
    machine_price: Option<String>,
}

impl GetUsageRequest {
    fn check(&self, found: &mut Violations) {
        if let Some(month) = &self.month {
            found.pattern("month", month, "\\d{4}-(0[1-9]|1[0-2])", Month::parse(month).is_some());
        }
        if let Some(increment) = &self.increment {
            found.one_of("increment", increment, &["1ms", "100ms"]);
        }
        if let Some(by) = &self.by {
            found.one_of("by", by, &["day"]);
        }
        costs::check_amount(found, "machine_price", self.machine_price.as_deref());
    }
}

/// A month's usage.
#[derive(Debug, Serialize)]
pub struct GetUsageResponse {
    account: String,
    /// `YYYY-MM`.
    month: String,
    /// By name, then region.
    functions: Vec<FunctionUsage>,
    /// AWS, Azure, Google: each for the whole account, with its free tier.
    books: Vec<BookBill>,
    /// What all of it would cost by each list of prices.
    alternatives: Vec<Cost>,
    /// Days with usage, all functions together; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Vec<DayUsage>>,
    /// Budgets, in the present month.
    budgets: Vec<BudgetStatus>,
    /// What these amounts do not hold.
    not_included: Vec<&'static str>,
}

/// Said where there was provisioned concurrency: only AWS's books have prices for it.
const NOT_INCLUDED: &str = "the prices of Azure and Google are those of functions that start on demand: what ran on \
                            provisioned concurrency is charged there as all other run time, and the time for which it was \
                            reserved is not charged";

/// One day, UTC.
#[derive(Debug, Serialize)]
pub struct DayUsage {
    /// `YYYY-MM-DD`.
    day: String,
    #[serde(flatten)]
    used: Used,
}

/// One function's usage, all versions together.
#[derive(Debug, Serialize)]
pub struct FunctionUsage {
    function: String,
    region: Region,
    #[serde(flatten)]
    used: Used,
    /// By version, memory size and processor.
    lines: Vec<LineUsage>,
    /// Only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Vec<DayUsage>>,
}

/// One version's usage with one memory size on one processor kind.
#[derive(Debug, Serialize)]
pub struct LineUsage {
    version: String,
    memory_mb: u32,
    architecture: &'static str,
    #[serde(flatten)]
    used: Used,
    /// A memory size that would suit better.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<Advice>,
}

/// Sums, and the share of each book's bill in US dollars.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Used {
    invocations: u64,
    errors: u64,
    timeouts: u64,
    cold_starts: u64,
    billed_ms: u64,
    /// Run time without initialisation.
    run_ms: f64,
    /// Initialisation charged.
    init_ms: f64,
    gb_seconds: f64,
    /// The part of it that ran on provisioned concurrency.
    provisioned_gb_seconds: f64,
    /// Reserved as provisioned concurrency.
    reserved_gb_seconds: f64,
    /// Most memory that an invocation used; 0: not measured.
    memory_used_max_bytes: u64,
    /// Book → US dollars.
    cost: BTreeMap<&'static str, String>,
}

/// What the account's month costs by one book.
#[derive(Debug, Serialize)]
pub struct BookBill {
    name: &'static str,
    title: &'static str,
    requests: u64,
    requests_free: u64,
    requests_cost: String,
    /// As this book rounds time and memory.
    gb_seconds: f64,
    gb_seconds_free: f64,
    duration_cost: String,
    processor_cost: String,
    scratch_cost: String,
    /// Run on provisioned concurrency; zero where the book has no price of its own for it.
    provisioned_gb_seconds: f64,
    provisioned_cost: String,
    /// Reserved as provisioned concurrency; zero where the book has no price for it.
    reserved_gb_seconds: f64,
    reserved_cost: String,
    total: String,
}

/// `ListInvocations`.
#[derive(Debug, Deserialize)]
pub struct ListInvocationsRequest {
    /// Only this function's.
    function: Option<String>,
    /// 1 to 1,000; default 50.
    limit: Option<i64>,
}

impl ListInvocationsRequest {
    fn check(&self, found: &mut Violations) {
        if let Some(limit) = self.limit {
            found.range("limit", limit, 1..=1_000);
        }
    }
}

/// The last invocations.
#[derive(Debug, Serialize)]
pub struct ListInvocationsResponse {
    invocations: Vec<Invocation>,
}

/// One invocation.
#[derive(Debug, Serialize)]
pub struct Invocation {
    request_id: String,
    function: String,
    region: Region,
    version: String,
    architecture: String,
    /// RFC 3339.
    at: String,
    memory_mb: u32,
    memory_used_bytes: u64,
    init_ms: f64,
    run_ms: f64,
    billed_ms: u64,
    waited_ms: f64,
    /// `success`, `error`, `timeout`, `out_of_memory`.
    outcome: &'static str,
    /// Phases of the start that this invocation waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_start: Option<ColdStart>,
}

/// Phases in milliseconds.
#[derive(Debug, Serialize)]
pub struct ColdStart {
    queue_ms: f64,
    sandbox_ms: f64,
    boot_ms: f64,
    init_ms: f64,
}

impl Usage {
    async fn get_usage(&self, context: &Context, input: GetUsageRequest) -> Result<GetUsageResponse, Error> {
        let month = match &input.month {
            None => Month::of(context.now),
            Some(text) => Month::parse(text),
        };
        let month = month.ok_or_else(|| Error::Invalid("month is not a month".to_owned()))?;
        // What was counted until now is shown at once.
        self.0.flush_usage().await?;
        self.0.charge_reserved().await?;
        let (account, (first, last)) = (context.account, month.days());
        let rows = self.0.db.read(move |tx| data::usage_between(tx, account, first, last)).await?;
        let by_100 = input.increment.as_deref() == Some("100ms");
        let books =
            BOOKS.map(|book| if by_100 && book.name == AWS_BY_100_MS.name { AWS_BY_100_MS } else { book });
        let machine = costs::amount("machine_price", input.machine_price.as_deref())?;
        let mut answer =
            report(account.to_string(), month.text(), &rows, &books, input.by.is_some(), machine);
        if Month::of(context.now) == Some(month) {
            answer.budgets = self.statuses(context).await?;
        }
        Ok(answer)
    }

    async fn estimate_cost(
        &self,
        _: &Context,
        input: EstimateCostRequest,
    ) -> Result<EstimateCostResponse, Error> {
        input.answer()
    }

    async fn list_invocations(
        &self,
        context: &Context,
        input: ListInvocationsRequest,
    ) -> Result<ListInvocationsResponse, Error> {
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(RECORDS_DEFAULT);
        let wanted = |record: &InvocationRecord| {
            record.key.account == context.account
                && input.function.as_deref().is_none_or(|name| name == record.key.name.as_str())
        };
        self.0.count();
        let invocations = self.0.counting.records(limit, wanted).into_iter().map(Invocation::from).collect();
        Ok(ListInvocationsResponse { invocations })
    }
}

/// The answer, from the sums of a month. Pure.
fn report(
    account: String,
    month: String,
    rows: &[(UsageKey, meter::Usage)],
    books: &[Book],
    by_day: bool,
    machine: Option<Usd>,
) -> GetUsageResponse {
    let lines: Vec<Line> = rows.iter().map(|(key, usage)| key.line(usage)).collect();
    let any_provisioned =
        lines.iter().any(|line| line.meters.reserved_ms > 0 || line.meters.provisioned_ms > 0);
    let bills: Vec<(&Book, Bill)> = books.iter().map(|book| (book, book.charge(&lines))).collect();
    let month_rows = MonthRows { rows, lines: &lines, bills: &bills };
    let all: Vec<usize> = (0..rows.len()).collect();
    // Rows of one function lie together.
    let same = |a: &UsageKey, b: &UsageKey| a.function == b.function && a.region == b.region;
    let functions = all.chunk_by(|&a, &b| same(&rows[a].0, &rows[b].0)).filter_map(|own| {
        let (key, _) = &rows[*own.first()?];
        Some(FunctionUsage {
            function: key.function.to_string(),
            region: key.region.clone(),
            used: month_rows.used(own),
            lines: month_rows.by_line(own),
            days: by_day.then(|| month_rows.by_day(own)),
        })
    });
    GetUsageResponse {
        account,
        month,
        functions: functions.collect(),
        books: bills.iter().map(|(book, bill)| BookBill::of(book, bill)).collect(),
        alternatives: costs::alternatives(&lines, true, machine),
        days: by_day.then(|| month_rows.by_day(&all)),
        budgets: Vec::new(),
        not_included: any_provisioned.then_some(NOT_INCLUDED).into_iter().collect(),
    }
}

/// The rows of a month in their order, and what they cost by each book.
struct MonthRows<'a> {
    rows: &'a [(UsageKey, meter::Usage)],
    lines: &'a [Line],
    bills: &'a [(&'a Book, Bill)],
}

impl MonthRows<'_> {
    /// Sums over some rows, with their share of each bill.
    fn used(&self, own: &[usize]) -> Used {
        let mut sum = meter::Usage::default();
        own.iter().for_each(|&i| sum.add(&self.rows[i].1));
        let time: prices::MemoryTime = own.iter().map(|&i| prices::AWS.time(&self.lines[i])).sum();
        let provisioned: prices::MemoryTime =
            own.iter().map(|&i| prices::AWS.provisioned_time(&self.lines[i])).sum();
        let reserved: prices::MemoryTime =
            own.iter().map(|&i| prices::AWS.reserved_time(&self.lines[i])).sum();
        let cost = self.bills.iter().map(|(book, bill)| {
            let cost: Usd = own.iter().map(|&i| bill.lines[i]).sum();
            (book.name, cost.to_string())
        });
        Used {
            invocations: sum.meters.requests,
            errors: sum.errors,
            timeouts: sum.timeouts,
            cold_starts: sum.cold_starts,
            billed_ms: sum.meters.ms,
            run_ms: sum.run_us as f64 / 1e3,
            init_ms: sum.init_us as f64 / 1e3,
            gb_seconds: time.as_gb_seconds(),
            provisioned_gb_seconds: provisioned.as_gb_seconds(),
            reserved_gb_seconds: reserved.as_gb_seconds(),
            memory_used_max_bytes: sum.memory_used_max,
            cost: cost.collect(),
        }
    }

    /// Some rows of one function by version, memory size and processor.
    fn by_line(&self, own: &[usize]) -> Vec<LineUsage> {
        let kind = |i: usize| {
            let UsageKey { version, memory_mib, processor, .. } = &self.rows[i].0;
            (*version, *memory_mib, *processor)
        };
        let lines = own.chunk_by(|&a, &b| kind(a) == kind(b)).filter_map(|own| {
            let (version, memory_mb, processor) = kind(*own.first()?);
            let mut sum = meter::Usage::default();
            own.iter().for_each(|&i| sum.add(&self.rows[i].1));
            let line = Line { memory_mib: memory_mb, processor, meters: sum.meters };
            Some(LineUsage {
                version: version.to_string(),
                memory_mb,
                architecture: processor.as_str(),
                used: self.used(own),
                advice: Advice::of(&line, sum.memory_used_max),
            })
        });
        lines.collect()
    }

    /// Some rows by day.
    fn by_day(&self, own: &[usize]) -> Vec<DayUsage> {
        let mut days: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for &i in own {
            days.entry(self.rows[i].0.day).or_default().push(i);
        }
        let days = days.into_iter().map(|(day, own)| DayUsage {
            day: jiff::Timestamp::from_millisecond(day.saturating_mul(DAY_MS))
                .map(|start| start.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
                .unwrap_or_default(),
            used: self.used(&own),
        });
        days.collect()
    }
}

impl BookBill {
    fn of(book: &Book, bill: &Bill) -> BookBill {
        BookBill {
            name: book.name,
            title: book.title,
            requests: bill.requests,
            requests_free: bill.requests_free,
            requests_cost: bill.requests_cost.to_string(),
            gb_seconds: bill.duration.as_gb_seconds(),
            gb_seconds_free: bill.duration_free.as_gb_seconds(),
            duration_cost: bill.duration_cost.to_string(),
            processor_cost: bill.processor_cost.to_string(),
            scratch_cost: bill.scratch_cost.to_string(),
            provisioned_gb_seconds: bill.provisioned.as_gb_seconds(),
            provisioned_cost: bill.provisioned_cost.to_string(),
            reserved_gb_seconds: bill.reserved.as_gb_seconds(),
            reserved_cost: bill.reserved_cost.to_string(),
            total: bill.total().to_string(),
        }
    }
}

impl From<InvocationRecord> for Invocation {
    fn from(record: InvocationRecord) -> Invocation {
        Invocation {
            request_id: record.request_id.to_string(),
            function: record.key.name.to_string(),
            region: record.key.region,
            version: record.key.version.to_string(),
            architecture: record.architecture.as_ref().to_owned(),
            at: jiff::Timestamp::from_millisecond(record.at.0).unwrap_or_default().to_string(),
            memory_mb: record.memory.0,
            memory_used_bytes: record.memory_used_bytes,
            init_ms: record.init.as_ms(),
            run_ms: record.run.as_ms(),
            billed_ms: record.billed.0,
            waited_ms: record.waited.as_ms(),
            outcome: match record.outcome {
                Outcome::Success => "success",
                Outcome::Error => "error",
                Outcome::Timeout => "timeout",
                Outcome::OutOfMemory => "out_of_memory",
            },
            cold_start: record.cold.map(|phases| ColdStart {
                queue_ms: phases.queue.as_ms(),
                sandbox_ms: phases.sandbox.as_ms(),
                boot_ms: phases.boot.as_ms(),
                init_ms: phases.init.as_ms(),
            }),
        }
    }
}

/// A calendar month, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Month(jiff::civil::Date);

impl Month {
    /// `YYYY-MM`.
    fn parse(text: &str) -> Option<Month> {
        let (year, month) = text.split_once('-')?;
        let digits =
            |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Month)
    }

    pub(crate) fn of(now: Timestamp) -> Option<Month> {
        let now = jiff::Timestamp::from_millisecond(now.0).ok()?;
        Some(Month(now.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month()))
    }

    pub(crate) fn text(self) -> String {
        format!("{:04}-{:02}", self.0.year(), self.0.month())
    }

    /// First and last day, in days since 1970-01-01.
    pub(crate) fn days(self) -> (i64, i64) {
        let day = |date: jiff::civil::Date| {
            let midnight = date.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
            midnight.map_or(0, |midnight| midnight.timestamp().as_millisecond().div_euclid(DAY_MS))
        };
        (day(self.0), day(self.0.last_of_month()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::{Meters, Processor};

    #[test]
    fn months_have_their_days() {
        assert_eq!(Month::parse("1970-01").unwrap().days(), (0, 30));
        assert_eq!(Month::parse("2024-02").unwrap().days(), (19_754, 19_782));
        assert_eq!(Month::of(Timestamp(19_782 * DAY_MS + DAY_MS - 1)).unwrap().text(), "2024-02");
        for bad in ["", "2024", "2024-13", "2024-00", "24-01", "2024-1", "2024-01-01"] {
            assert_eq!(Month::parse(bad), None, "{bad}");
        }
    }

    fn row(function: &str, version: &str, count: u64) -> (UsageKey, meter::Usage) {
        let key = UsageKey {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            function: function.parse().unwrap(),
            version: version.parse().unwrap(),
            memory_mib: 1024,
            processor: Processor::X86,
            day: 0,
        };
        let meters = Meters {
            requests: count,
            ms: count * 1_000,
            ms_by_100: count * 1_000,
            ms_least_100: count * 1_000,
            ..Meters::default()
        };
        (key, meter::Usage { meters, ..meter::Usage::default() })
    }

    #[test]
    fn functions_share_the_bill_in_proportion() {
        // 800,000 GB-s of which 400,000 are free; a quarter of it by a.
        let rows = [row("a", "1", 100_000), row("a", "$LATEST", 100_000), row("b", "1", 600_000)];
        let report = report("000000000000".into(), "2026-11".into(), &rows, &BOOKS, false, None);
        assert_eq!(report.books[0].total, "6.66668");
        let [a, b] = &report.functions[..] else { panic!("two functions") };
        assert_eq!((a.function.as_str(), a.used.invocations, a.lines.len()), ("a", 200_000, 2));
        assert_eq!((a.used.cost["aws"].as_str(), b.used.cost["aws"].as_str()), ("1.66667", "5.00001"));
        assert_eq!(a.lines[0].used.cost["azure"], "0.80");
        assert_eq!(a.used.gb_seconds, 200_000.0);
    }

    #[test]
    fn days_share_the_bill_of_their_month() {
        let on = |day: i64, (key, usage): (UsageKey, meter::Usage)| (UsageKey { day, ..key }, usage);
        let rows =
            [on(0, row("a", "1", 100_000)), on(1, row("a", "1", 100_000)), on(1, row("b", "1", 600_000))];
        let report = report("000000000000".into(), "1970-01".into(), &rows, &BOOKS, true, None);
        let cost = |days: &[DayUsage]| -> Vec<(String, String)> {
            days.iter().map(|day| (day.day.clone(), day.used.cost["azure"].clone())).collect()
        };
        let days = cost(report.days.as_deref().unwrap());
        assert_eq!(days, [("1970-01-01".into(), "0.80".into()), ("1970-01-02".into(), "5.60".into())]);
        let [a, b] = &report.functions[..] else { panic!("two functions") };
        assert_eq!(cost(a.days.as_deref().unwrap()).len(), 2);
        assert_eq!(cost(b.days.as_deref().unwrap()), [("1970-01-02".into(), "4.80".into())]);
        // Both days of a are one line.
        assert_eq!((a.lines.len(), a.lines[0].used.invocations), (1, 200_000));
    }
}
