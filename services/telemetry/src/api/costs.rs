//! Costs by other prices: what the same load would cost, break-even with a machine, and advice about memory.

use crate::{
    Error,
    estimate::{self, ALTERNATIVES, Alternative},
    prices::{BOOKS, Line, Usd},
};
use base::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Violations;

/// Workloads of one estimate.
const WORKLOADS_MAX: usize = 100;
/// Requests a month of one workload: a trillion.
const REQUESTS_MAX: i64 = 1_000_000_000_000;

/// `EstimateCost`.
#[derive(Debug, Deserialize)]
pub struct EstimateCostRequest {
    /// 1 to 100.
    workloads: Vec<Workload>,
    /// Whether the free tiers are still there; default: yes.
    free_tier: Option<bool>,
    /// US dollars a month of a machine that is always on, to compare with.
    machine_price: Option<String>,
}

/// Invocations of one kind in a month.
#[derive(Debug, Deserialize)]
pub struct Workload {
    /// How many; up to 1,000,000,000,000.
    requests: i64,
    /// How long each runs, in milliseconds; up to 900,000.
    duration_ms: i64,
    /// Memory configured; 128 to 10,240.
    memory_mb: i64,
    /// Scratch space configured; 512 (default) to 10,240.
    scratch_mb: Option<i64>,
}

/// What the workloads together would cost.
#[derive(Debug, Serialize)]
pub struct EstimateCostResponse {
    /// By each list of prices.
    alternatives: Vec<Cost>,
}

/// What usage costs by one list of prices; amounts in US dollars, exact.
#[derive(Debug, Serialize)]
pub struct Cost {
    name: &'static str,
    title: &'static str,
    /// How time and memory are rounded.
    rounding: &'static str,
    requests_cost: String,
    gb_seconds: f64,
    duration_cost: String,
    processor_cost: String,
    scratch_cost: String,
    /// Run on provisioned concurrency, and reserved; zero where the list has no such prices.
    provisioned_cost: String,
    reserved_cost: String,
    total: String,
    /// The total if the free tier were used up by something else.
    total_without_free_tier: String,
    /// With the machine, if one is given and there were requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    break_even: Option<BreakEven>,
}

/// Comparison with a machine that is always on.
#[derive(Debug, Serialize)]
pub struct BreakEven {
    machine_price: String,
    /// Which costs less for the usage as it is: `functions` or `machine`.
    cheaper: &'static str,
    /// Requests a month of this kind up to which functions cost no more; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// The same per second, on average.
    requests_per_second: f64,
    /// Invocations running at the same time then, on average: what the machine would have to carry.
    concurrency: f64,
    /// Memory that they hold, on average.
    memory_mb: f64,
}

/// A memory size that would suit better than the present one.
#[derive(Debug, Serialize)]
pub struct Advice {
    memory_mb: u32,
    /// `lower` or `raise`.
    change: &'static str,
    /// Book → US dollars that the same usage would cost less, without the free tier and if run times stayed the same;
    /// they may not, since processor time comes with memory. Absent for `raise`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    saving: BTreeMap<&'static str, String>,
}

impl EstimateCostRequest {
    pub(super) fn check(&self, found: &mut Violations) {
        found.range("workloads", self.workloads.len(), 1..=WORKLOADS_MAX);
        for workload in &self.workloads {
            found.range("requests", workload.requests, 0..=REQUESTS_MAX);
            let longest = i64::from(limits::TIMEOUT.end().0) * 1_000;
            found.range("duration_ms", workload.duration_ms, 0..=longest);
            let memory = i64::from(limits::MEMORY.start().0)..=i64::from(limits::MEMORY.end().0);
            found.range("memory_mb", workload.memory_mb, memory);
            let scratch = i64::from(limits::SCRATCH.start().0)..=i64::from(limits::SCRATCH.end().0);
            found.range("scratch_mb", workload.scratch_mb.unwrap_or(*scratch.start()), scratch);
        }
        check_amount(found, "machine_price", self.machine_price.as_deref());
    }

    pub(super) fn answer(self) -> Result<EstimateCostResponse, Error> {
        let machine = amount("machine_price", self.machine_price.as_deref())?;
        // The bounds are checked: nothing is cut here.
        let lines: Vec<Line> = self
            .workloads
            .iter()
            .map(|workload| {
                estimate::workload(
                    workload.requests.max(0) as u64,
                    workload.duration_ms.max(0) as u64,
                    u32::try_from(workload.memory_mb).unwrap_or(u32::MAX),
                    workload.scratch_mb.and_then(|mb| u32::try_from(mb).ok()).unwrap_or(0),
                )
            })
            .collect();
        Ok(EstimateCostResponse {
            alternatives: alternatives(&lines, self.free_tier.unwrap_or(true), machine),
        })
    }
}

/// An amount of money is well-formed.
pub(super) fn check_amount(found: &mut Violations, member: &str, text: Option<&str>) {
    if let Some(text) = text {
        found.pattern(member, text, "\\d{1,13}(\\.\\d{1,12})?", text.parse::<Usd>().is_ok());
    }
}

/// A well-formed amount of money.
pub(super) fn amount(member: &str, text: Option<&str>) -> Result<Option<Usd>, Error> {
    let read = text.map(|text| text.parse().map_err(|error| Error::Invalid(format!("{member}: {error}"))));
    read.transpose()
}

/// What usage costs by each list of prices.
pub(super) fn alternatives(lines: &[Line], free_tier: bool, machine: Option<Usd>) -> Vec<Cost> {
    let priced = ALTERNATIVES.map(|alternative| match free_tier {
        true => alternative,
        false => Alternative { book: alternative.book.without_free_tier(), ..alternative },
    });
    priced.iter().map(|alternative| Cost::of(alternative, lines, machine)).collect()
}

impl Cost {
    fn of(alternative: &Alternative, lines: &[Line], machine: Option<Usd>) -> Cost {
        let (bill, paid) = alternative.charge(lines);
        let break_even = machine.and_then(|machine| {
            let found = estimate::break_even(alternative, lines, machine)?;
            Some(BreakEven {
                machine_price: machine.to_string(),
                cheaper: if bill.total() <= machine { "functions" } else { "machine" },
                requests: found.requests,
                requests_per_second: found.requests.unwrap_or_default() as f64 / estimate::MONTH_S as f64,
                concurrency: found.concurrency,
                memory_mb: found.memory_mib,
            })
        });
        Cost {
            name: alternative.name,
            title: alternative.title,
            rounding: alternative.rounding,
            requests_cost: bill.requests_cost.to_string(),
            gb_seconds: bill.duration.as_gb_seconds(),
            duration_cost: bill.duration_cost.to_string(),
            processor_cost: bill.processor_cost.to_string(),
            scratch_cost: bill.scratch_cost.to_string(),
            provisioned_cost: bill.provisioned_cost.to_string(),
            reserved_cost: bill.reserved_cost.to_string(),
            total: bill.total().to_string(),
            total_without_free_tier: paid.to_string(),
            break_even,
        }
    }
}

impl Advice {
    /// For what one memory size of a function used.
    pub(super) fn of(line: &Line, used_max_bytes: u64) -> Option<Advice> {
        let memory_mb = estimate::right_size(line.memory_mib, used_max_bytes)?;
        if memory_mb > line.memory_mib {
            return Some(Advice { memory_mb, change: "raise", saving: BTreeMap::new() });
        }
        let saving = BOOKS.iter().map(|book| {
            let cost = |line: Line| book.without_free_tier().charge(&[line]).total();
            let (now, then) = (cost(*line), cost(Line { memory_mib: memory_mb, ..*line }));
            (book.name, Usd(now.0.saturating_sub(then.0)).to_string())
        });
        Some(Advice { memory_mb, change: "lower", saving: saving.collect() })
    }
}
