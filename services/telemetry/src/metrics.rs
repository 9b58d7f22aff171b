//! Metrics of invocations and logs, as Prometheus text.

use base::{AccountId, FunctionName, InvocationRecord, Outcome, Region};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
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
pub struct Metric {
    /// The same for all of a name.
    pub kind: MetricKind,
    /// E.g. `neap_environments`; that of a counter is shown with `_total` behind it.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Name and value of each label.
    pub labels: Vec<(&'static str, String)>,
    /// The value now.
    pub value: f64,
}

/// What a [`Metric`]'s value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
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

/// Labels of errors and of a cold start's parts.
const ERROR_KINDS: [&str; 3] = ["error", "timeout", "out_of_memory"];
const PHASES: [&str; 4] = ["queue", "sandbox", "boot", "init"];

/// One function's series without further labels.
struct Series {
    labels: Function,
    invocations: Counter,
    throttles: Counter,
    billed: Counter,
    duration: Histogram,
    cold_starts: Counter,
}

type Labels = Vec<(String, String)>;

/// All values shown under one name.
enum Shown {
    Counter(Family<Labels, Counter<f64, AtomicU64>>),
    Gauge(Family<Labels, Gauge<f64, AtomicU64>>),
}

impl Shown {
    fn new(metric: &Metric, registry: &mut Registry) -> Shown {
        match metric.kind {
            MetricKind::Counter => {
                let family = Family::default();
                registry.register(metric.name, metric.help, Family::clone(&family));
                Shown::Counter(family)
            }
            MetricKind::Gauge => {
                let family = Family::default();
                registry.register(metric.name, metric.help, Family::clone(&family));
                Shown::Gauge(family)
            }
        }
    }

    fn set(&self, labels: &Labels, value: f64) {
        match self {
            Shown::Counter(family) => {
                family.get_or_create(labels).inc_by(value);
            }
            Shown::Gauge(family) => {
                family.get_or_create(labels).set(value);
            }
        }
    }
}

pub(crate) struct Metrics {
    registry: Registry,
    /// Series of each function, found once.
    functions: Mutex<HashMap<(AccountId, Region, FunctionName), Arc<Series>>>,
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
    pub(crate) metric_points_dropped: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let durations: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let phases: fn() -> Histogram = || Histogram::new(PHASE_BUCKETS);
        let mut metrics = Metrics {
            registry: Registry::default(),
            functions: Mutex::default(),
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
            metric_points_dropped: Counter::default(),
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
            "Flushes of logs, usage or metrics that failed and were kept for another attempt",
            metrics.flush_failures.clone(),
        );
        registry.register(
            "neap_metric_points_dropped",
            "Points of functions' metrics left out: too many at once, or too many metrics",
            metrics.metric_points_dropped.clone(),
        );
        metrics
    }

    fn series(&self, account: AccountId, region: &Region, name: &FunctionName) -> Arc<Series> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let room = functions.len() < FUNCTIONS_MAX;
        let key = (account, region.clone(), name.clone());
        if let Some(series) = functions.get(&key) {
            return Arc::clone(series);
        }
        let labels = Function {
            account: account.to_string(),
            region: region.to_string(),
            function: if room { name.to_string() } else { "_other".to_owned() },
        };
        let series = Arc::new(Series {
            invocations: self.invocations.get_or_create_owned(&labels),
            throttles: self.throttles.get_or_create_owned(&labels),
            billed: self.billed.get_or_create_owned(&labels),
            duration: self.duration.get_or_create_owned(&labels),
            cold_starts: self.cold_starts.get_or_create_owned(&labels),
            labels,
        });
        if room {
            functions.insert(key, Arc::clone(&series));
        }
        series
    }

    /// Invocations of one function.
    pub(crate) fn record(&self, of_one: &[InvocationRecord]) {
        let Some(InvocationRecord { key, .. }) = of_one.first() else { return };
        let series = self.series(key.account, &key.region, &key.name);
        series.invocations.inc_by(of_one.len() as u64);
        series.billed.inc_by(of_one.iter().map(|record| record.billed.0).sum());
        for record in of_one {
            series.duration.observe(seconds(record.run));
            if let Some(kind) = error_kind(record.outcome) {
                let Function { account, region, function } = series.labels.clone();
                self.errors.get_or_create(&FunctionError { account, region, function, kind }).inc();
            }
            if let Some(phases) = record.cold {
                series.cold_starts.inc();
                let took = [phases.queue, phases.sandbox, phases.boot, phases.init];
                for (phase, took) in PHASES.into_iter().zip(took) {
                    let Function { account, region, function } = series.labels.clone();
                    let labels = FunctionPhase { account, region, function, phase };
                    self.phases.get_or_create(&labels).observe(seconds(took));
                }
            }
        }
    }

    pub(crate) fn throttled(&self, account: AccountId, region: &Region, name: &FunctionName) {
        self.series(account, region, name).throttles.inc();
    }

    /// Ends the series of a function that is no more: names come and go, and each has a hundred lines. An invocation that is
    /// metered after this begins them anew.
    pub(crate) fn forget(&self, account: AccountId, region: &Region, name: &FunctionName) {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(series) = functions.remove(&(account, region.clone(), name.clone())) else { return };
        self.invocations.remove(&series.labels);
        self.throttles.remove(&series.labels);
        self.billed.remove(&series.labels);
        self.duration.remove(&series.labels);
        self.cold_starts.remove(&series.labels);
        for kind in ERROR_KINDS {
            let Function { account, region, function } = series.labels.clone();
            self.errors.remove(&FunctionError { account, region, function, kind });
        }
        for phase in PHASES {
            let Function { account, region, function } = series.labels.clone();
            self.phases.remove(&FunctionPhase { account, region, function, phase });
        }
    }

    /// All of it, and `others`, in the OpenMetrics text format.
    pub(crate) fn text(&self, others: &[Metric]) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        let mut shown: HashMap<&str, Shown> = HashMap::new();
        for metric in others {
            let family = shown.entry(metric.name).or_insert_with(|| Shown::new(metric, &mut registry));
            let labels =
                metric.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            family.set(&labels, metric.value);
        }
        let mut buffer = String::new();
        text::encode_registry(&mut buffer, &self.registry)?;
        text::encode_registry(&mut buffer, &registry)?;
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
