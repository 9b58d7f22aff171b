//! What calls at one memory size took and cost. Pure.

use super::cost::dollars;
use crate::{
    args::Workload,
    client::{functions::Invoked, usage::Cost},
    error::Error,
};
use base::MemoryMib;
use serde::Serialize;
use std::collections::BTreeMap;

/// Requests that costs are told for.
const MILLION: u64 = 1_000_000;

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// Why the function failed.
    failure: Option<String>,
    run_ms: f64,
    billed_ms: u64,
    memory_used_mb: u64,
    init_ms: Option<f64>,
}

impl Sample {
    /// From an invocation whose log's end was asked for.
    pub(super) fn of(invoked: &Invoked) -> Result<Sample, Error> {
        let tail = invoked.log_tail.as_deref().unwrap_or_default();
        let failure = invoked
            .function_error
            .as_ref()
            .map(|_| String::from_utf8_lossy(&invoked.payload).chars().take(200).collect());
        report(tail, failure).ok_or_else(|| Error::Answer {
            operation: "Invoke".to_owned(),
            reason: "the log of the call has no REPORT line".to_owned(),
        })
    }
}

/// Reads the last REPORT line of a log.
fn report(tail: &str, failure: Option<String>) -> Option<Sample> {
    let line = tail.lines().rev().find(|line| line.starts_with("REPORT "))?;
    let fields: BTreeMap<&str, &str> = line
        .split('\t')
        .filter_map(|field| field.split_once(": "))
        .map(|(name, value)| (name.trim(), value.split(' ').next().unwrap_or_default()))
        .collect();
    let number = |name: &str| fields.get(name)?.parse::<f64>().ok();
    Some(Sample {
        failure,
        run_ms: number("Duration")?,
        billed_ms: fields.get("Billed Duration")?.parse().ok()?,
        memory_used_mb: fields.get("Max Memory Used")?.parse().ok()?,
        init_ms: number("Init Duration"),
    })
}

/// One memory size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Point {
    pub(super) memory_mb: u32,
    /// Calls that failed, the first one included.
    pub(super) failures: usize,
    /// What the first failure said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    /// Initialisation of the first call's environment.
    pub(super) init_ms: Option<f64>,
    /// Of the calls after the first that succeeded, if one did.
    #[serde(flatten)]
    pub(super) measured: Option<Measured>,
}

/// Calls that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Measured {
    pub(super) calls: u64,
    pub(super) mean_ms: f64,
    pub(super) median_ms: f64,
    pub(super) max_ms: f64,
    pub(super) memory_used_mb: u64,
    /// Book to US dollars for a million calls, without free tier.
    pub(super) cost_per_million: BTreeMap<&'static str, String>,
    /// Billed milliseconds to number of calls.
    #[serde(skip)]
    pub(super) billed: BTreeMap<u64, u64>,
}

impl Point {
    /// From the calls at one size; the first started the environment.
    pub(super) fn of(memory: MemoryMib, samples: &[Sample]) -> Point {
        let failed: Vec<_> = samples.iter().filter_map(|sample| sample.failure.clone()).collect();
        let warm: Vec<_> = samples.iter().skip(1).filter(|sample| sample.failure.is_none()).collect();
        Point {
            memory_mb: memory.0,
            failures: failed.len(),
            failure: failed.first().cloned(),
            init_ms: samples.first().and_then(|sample| sample.init_ms),
            measured: Measured::of(&warm),
        }
    }
}

impl Measured {
    fn of(samples: &[&Sample]) -> Option<Measured> {
        let mut times: Vec<f64> = samples.iter().map(|sample| sample.run_ms).collect();
        times.sort_by(f64::total_cmp);
        let (max_ms, count) = (*times.last()?, times.len());
        let (upper, lower) = (times.get(count / 2)?, times.get((count - 1) / 2)?);
        let mut billed: BTreeMap<u64, u64> = BTreeMap::new();
        samples.iter().for_each(|sample| *billed.entry(sample.billed_ms).or_default() += 1);
        Some(Measured {
            calls: count as u64,
            mean_ms: times.iter().sum::<f64>() / count as f64,
            median_ms: (upper + lower) / 2.0,
            max_ms,
            memory_used_mb: samples.iter().map(|sample| sample.memory_used_mb).max().unwrap_or_default(),
            cost_per_million: BTreeMap::new(),
            billed,
        })
    }

    /// A million times all calls: each is rounded by itself.
    pub(super) fn workloads(&self, memory: MemoryMib) -> Vec<Workload> {
        let workloads = self.billed.iter().map(|(duration_ms, calls)| Workload {
            requests: calls * MILLION,
            duration_ms: *duration_ms,
            memory_mb: memory.0,
        });
        workloads.collect()
    }

    /// Takes over what [`Measured::workloads`] cost. `None` if a list of prices is missing.
    pub(super) fn price(&mut self, costs: &[Cost], arm: bool) -> Option<()> {
        let aws = if arm { "aws-arm" } else { "aws-x86" };
        for (book, name) in [("aws", aws), ("azure", "azure"), ("google", "google")] {
            let cost = costs.iter().find(|cost| cost.name == name)?;
            self.cost_per_million.insert(book, dollars::divided(&cost.total, self.calls)?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(run_ms: f64, billed_ms: u64) -> Sample {
        Sample { failure: None, run_ms, billed_ms, memory_used_mb: 40, init_ms: None }
    }

    #[test]
    fn the_last_report_of_a_log_is_read() {
        let tail = "REPORT RequestId: 1\tDuration: 9.00 ms\tBilled Duration: 9 ms\nREPORT RequestId: 2\tDuration: 1.25 ms\t\
                    Billed Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 37 MB\tInit Duration: 80.50 ms\t\n";
        let found = report(tail, None).unwrap();
        assert_eq!(
            (found.run_ms, found.billed_ms, found.memory_used_mb, found.init_ms),
            (1.25, 2, 37, Some(80.5))
        );
        for bad in [
            "",
            "REPORT ",
            "REPORT RequestId: 1\tDuration: x ms\tBilled Duration: 2 ms\tMax Memory Used: 3 MB",
        ] {
            assert_eq!(report(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn the_first_call_and_failed_ones_are_not_measured() {
        let failed = Sample { failure: Some("no".into()), ..sample(500.0, 500) };
        let cold = Sample { init_ms: Some(80.0), ..sample(100.0, 180) };
        let point =
            Point::of(MemoryMib(256), &[cold, sample(1.0, 1), sample(4.0, 4), failed, sample(1.0, 1)]);
        let measured = point.measured.clone().unwrap();
        assert_eq!((point.failures, point.init_ms, measured.calls), (1, Some(80.0), 3));
        assert_eq!((measured.mean_ms, measured.median_ms, measured.max_ms), (2.0, 1.0, 4.0));
        let workload = |requests, duration_ms| Workload { requests, duration_ms, memory_mb: 256 };
        assert_eq!(measured.workloads(MemoryMib(256)), [workload(2_000_000, 1), workload(1_000_000, 4)]);
        assert_eq!(Point::of(MemoryMib(128), &[sample(1.0, 1)]).measured, None);
    }
}
