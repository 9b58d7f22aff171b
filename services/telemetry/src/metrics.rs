//! Metrics of invocations and logs, as Prometheus text.

use base::{AccountId, FunctionName, InvocationRecord, Outcome, Region};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge as PrometheusGauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

/// Functions with series of their own; the rest is counted together as `_other`.
const FUNCTIONS_MAX: usize = 2_000;
/// Seconds; from a warm call of an executable to the longest run.
const DURATION_BUCKETS: [f64; 16] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 900.0];
/// Seconds; from a pooled sandbox to the longest initialisation.
const PHASE_BUCKETS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// A value shown beside telemetry's own, e.g. how many environments are idle.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// E.g. `neap_environments`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Name and value of each label.
    pub labels: Vec<(&'static str, String)>,
    /// The value now.
    pub value: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Function {
    account: String,
    region: String,
    function: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionError {
    account: String,
    region: String,
    function: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionPhase {
    account: String,
    region: String,
    function: String,
    phase: &'static str,
}

type GaugeFamily = Family<Vec<(String, String)>, PrometheusGauge<f64, AtomicU64>>;

pub(crate) struct Metrics {
    registry: Registry,
    /// Functions that have series of their own.
    known: Mutex<HashSet<(AccountId, Region, FunctionName)>>,
    invocations: Family<Function, Counter>,
    errors: Family<FunctionError, Counter>,
    throttles: Family<Function, Counter>,
    billed: Family<Function, Counter>,
    duration: Family<Function, Histogram, fn() -> Histogram>,
    cold_starts: Family<Function, Counter>,
    phases: Family<FunctionPhase, Histogram, fn() -> Histogram>,
    pub(crate) log_events: Counter,
    pub(crate) log_bytes: Counter,
    pub(crate) log_dropped: Counter,
    pub(crate) flush_failures: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let durations: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let phases: fn() -> Histogram = || Histogram::new(PHASE_BUCKETS);
        let mut metrics = Metrics {
            registry: Registry::default(),
            known: Mutex::default(),
            invocations: Family::default(),
            errors: Family::default(),
            throttles: Family::default(),
            billed: Family::default(),
            duration: Family::new_with_constructor(durations),
            cold_starts: Family::default(),
            phases: Family::new_with_constructor(phases),
            log_events: Counter::default(),
            log_bytes: Counter::default(),
            log_dropped: Counter::default(),
            flush_failures: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("neap_invocations", "Invocations started", metrics.invocations.clone());
        registry.register(
            "neap_errors",
            "Invocations that ended in an error, by kind",
            metrics.errors.clone(),
        );
        registry.register(
            "neap_throttles",
            "Invocations refused by a concurrency bound",
            metrics.throttles.clone(),
        );
        registry.register("neap_billed_milliseconds", "Milliseconds charged", metrics.billed.clone());
        registry.register(
            "neap_duration_seconds",
            "Run time of invocations without initialisation",
            metrics.duration.clone(),
        );
        registry.register(
            "neap_cold_starts",
            "Invocations that started an environment",
            metrics.cold_starts.clone(),
        );
        registry.register(
            "neap_cold_start_phase_seconds",
            "Parts of a cold start: waiting for permission, sandbox, runtime boot, the user's initialisation",
            metrics.phases.clone(),
        );
        registry.register("neap_log_events", "Log events taken from functions", metrics.log_events.clone());
        registry.register("neap_log_bytes", "Message bytes of these", metrics.log_bytes.clone());
        registry.register(
            "neap_log_events_dropped",
            "Log events dropped because the buffer was full",
            metrics.log_dropped.clone(),
        );
        registry.register(
            "neap_telemetry_flush_failures",
            "Flushes of logs or usage that failed and were kept for another attempt",
            metrics.flush_failures.clone(),
        );
        metrics
    }

    fn labels(&self, account: AccountId, region: &Region, name: &FunctionName) -> Function {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account, region.clone(), name.clone());
        let own = known.contains(&key) || (known.len() < FUNCTIONS_MAX && known.insert(key));
        Function {
            account: account.to_string(),
            region: region.to_string(),
            function: if own { name.to_string() } else { "_other".to_owned() },
        }
    }

    pub(crate) fn record(&self, record: &InvocationRecord) {
        let labels = self.labels(record.key.account, &record.key.region, &record.key.name);
        self.invocations.get_or_create(&labels).inc();
        self.billed.get_or_create(&labels).inc_by(record.billed.0);
        self.duration.get_or_create(&labels).observe(seconds(record.run));
        if let Some(kind) = error_kind(record.outcome) {
            let Function { account, region, function } = labels.clone();
            self.errors.get_or_create(&FunctionError { account, region, function, kind }).inc();
        }
        if let Some(phases) = record.cold {
            self.cold_starts.get_or_create(&labels).inc();
            for (phase, took) in [
                ("queue", phases.queue),
                ("sandbox", phases.sandbox),
                ("boot", phases.boot),
                ("init", phases.init),
            ] {
                let Function { account, region, function } = labels.clone();
                let labels = FunctionPhase { account, region, function, phase };
                self.phases.get_or_create(&labels).observe(seconds(took));
            }
        }
    }

    pub(crate) fn throttled(&self, account: AccountId, region: &Region, name: &FunctionName) {
        self.throttles.get_or_create(&self.labels(account, region, name)).inc();
    }

    /// All of it, and `gauges`, in the OpenMetrics text format.
    pub(crate) fn text(&self, gauges: &[Gauge]) -> Result<String, fmt::Error> {
        let mut shown = Registry::default();
        let mut families: Vec<(&str, GaugeFamily)> = Vec::new();
        for gauge in gauges {
            let at = families.iter().position(|(name, _)| *name == gauge.name).unwrap_or_else(|| {
                let family = GaugeFamily::default();
                shown.register(gauge.name, gauge.help, family.clone());
                families.push((gauge.name, family));
                families.len() - 1
            });
            let labels =
                gauge.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            families[at].1.get_or_create(&labels).set(gauge.value);
        }
        let mut buffer = String::new();
        text::encode_registry(&mut buffer, &self.registry)?;
        text::encode_registry(&mut buffer, &shown)?;
        text::encode_eof(&mut buffer)?;
        Ok(buffer)
    }
}

fn seconds(took: base::Micros) -> f64 {
    took.0 as f64 / 1e6
}

fn error_kind(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Success => None,
        Outcome::Error => Some("error"),
        Outcome::Timeout => Some("timeout"),
        Outcome::OutOfMemory => Some("out_of_memory"),
    }
}
