//! Whether something grows: the last third of the samples after the warm-up against the first. Compared are medians; of what follows
//! the number of environments, and with it whatever else the machine does, the least: a leak raises that too.

use super::sample::Sample;
use testkit::stats::median;

/// The share of the samples in which caches, pools and idle environments reach their size. Packages of deleted functions
/// are kept for 20 minutes and looked for every 10, so that of an hour the first half grows.
const WARM_UP: f64 = 0.5;

/// A figure and by how much its last third may be above its first.
struct Rule {
    name: &'static str,
    value: fn(&Sample) -> f64,
    of: fn(Vec<f64>) -> f64,
    /// Of the first third's.
    factor: f64,
    /// On top.
    slack: f64,
    unit: &'static str,
}

/// Figures of the node's own memory and of kernel objects do not grow: what is allowed is the scatter of a steady state,
/// whose number of idle environments changes. Latencies scatter with what else the machine does, and are allowed half more.
const RULES: [Rule; 12] = [
    Rule { name: "wrong answers", value: |s| s.wrong as f64, of: median, factor: 1.0, slack: 0.0, unit: "" },
    Rule {
        name: "memory of the daemon",
        value: |s| s.daemon_kib,
        of: median,
        factor: 1.05,
        slack: 2048.0,
        unit: "KiB",
    },
    Rule {
        name: "memory of the spawner",
        value: |s| s.spawner_kib,
        of: median,
        factor: 1.05,
        slack: 512.0,
        unit: "KiB",
    },
    Rule { name: "descriptors", value: |s| s.descriptors, of: least, factor: 1.05, slack: 16.0, unit: "" },
    Rule { name: "processes", value: |s| s.processes, of: least, factor: 1.05, slack: 8.0, unit: "" },
    Rule { name: "namespaces", value: |s| s.namespaces, of: least, factor: 1.05, slack: 24.0, unit: "" },
    Rule { name: "mounts", value: |s| s.mounts, of: median, factor: 1.0, slack: 4.0, unit: "" },
    Rule { name: "cgroups", value: |s| s.cgroups, of: least, factor: 1.05, slack: 16.0, unit: "" },
    Rule {
        name: "state on disk",
        value: |s| s.state_kib,
        of: median,
        factor: 1.05,
        slack: 4096.0,
        unit: "KiB",
    },
    Rule { name: "environments", value: |s| s.environments, of: least, factor: 1.05, slack: 4.0, unit: "" },
    Rule { name: "warm latency", value: |s| s.warm_us, of: median, factor: 1.5, slack: 100.0, unit: "µs" },
    Rule { name: "cold latency", value: |s| s.cold_us, of: median, factor: 1.5, slack: 2000.0, unit: "µs" },
];

/// Records grow with each call; per operation they must not. Files grow in steps: compared are the warm-up and what follows.
const RECORDS: Rule = Rule {
    name: "records on disk per operation",
    value: |_| 0.0,
    of: median,
    factor: 1.25,
    slack: 0.1,
    unit: "KiB",
};

fn least(values: Vec<f64>) -> f64 {
    values.into_iter().reduce(f64::min).unwrap_or_default()
}

/// Prints a line for each figure; how many of them grew.
pub(super) fn judge(samples: &[Sample]) -> usize {
    let warm = (samples.len() as f64 * WARM_UP).ceil() as usize;
    let steady = samples.get(warm..).unwrap_or_default();
    let third = steady.len() / 3;
    if third == 0 {
        println!("too few samples to judge growth: {} after the warm-up, 3 are needed", steady.len());
        return 1;
    }
    let (first, last) = (&steady[..third], &steady[steady.len() - third..]);
    println!("\n{third} samples each, after {warm} of warm-up:");
    let mut grown = 0;
    for rule in &RULES {
        let of = |part: &[Sample]| (rule.of)(part.iter().map(rule.value).collect());
        grown += usize::from(verdict(rule, of(first), of(last)));
    }
    if let (Some(one), Some(two)) =
        (per_operation(samples.get(..warm).unwrap_or_default()), per_operation(steady))
    {
        grown += usize::from(verdict(&RECORDS, one, two));
    }
    grown
}

fn verdict(rule: &Rule, first: f64, last: f64) -> bool {
    let limit = first * rule.factor + rule.slack;
    let grown = last > limit;
    println!(
        "{:<30} {first:>12.2} → {last:>12.2} {:<4} at most {limit:>12.2}  {}",
        rule.name,
        rule.unit,
        if grown { "GROWN" } else { "steady" }
    );
    grown
}

/// Growth of records from the first to the last of some samples, for each operation between them.
fn per_operation(part: &[Sample]) -> Option<f64> {
    let (first, last) = (part.first()?, part.last()?);
    let operations: usize = part.get(1..)?.iter().map(|sample| sample.operations).sum();
    (operations > 0).then(|| (last.records_kib - first.records_kib) / operations as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(daemon_kib: impl Fn(usize) -> f64) -> Vec<Sample> {
        (0..60).map(|at| Sample { daemon_kib: daemon_kib(at), operations: 1, ..Sample::default() }).collect()
    }

    #[test]
    fn a_slow_leak_is_a_trend_and_a_warm_up_is_none() {
        assert_eq!(judge(&samples(|_| 30_000.0)), 0);
        assert_eq!(judge(&samples(|at| 20_000.0 + 1_000.0 * at.min(28) as f64)), 0);
        assert_eq!(judge(&samples(|at| 30_000.0 + 300.0 * at as f64)), 1);
    }

    #[test]
    fn a_busy_moment_is_no_leak_and_a_raised_floor_is_one() {
        let descriptors = |of: fn(usize) -> f64| {
            let samples =
                (0..60).map(|at| Sample { descriptors: of(at), operations: 1, ..Sample::default() });
            judge(&samples.collect::<Vec<_>>())
        };
        assert_eq!(descriptors(|at| if at > 52 { 2_400.0 } else { 1_900.0 }), 0);
        assert_eq!(descriptors(|at| 1_900.0 + 10.0 * at as f64), 1);
    }

    #[test]
    fn too_few_samples_are_not_passed() {
        assert_eq!(judge(&samples(|_| 1.0)[..3]), 1);
    }
}
