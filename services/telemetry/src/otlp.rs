//! Export to an OpenTelemetry collector: a span for each invocation and for the parts of its start, the lines that functions
//! log, and the metrics, by OTLP.
//!
//! Invocations and lines wait in bounded buffers and leave in batches; what the buffers cannot take is dropped, counted, and
//! shown in the metrics. A batch is kept until the collector has taken or refused it, so that what waited while it was down
//! arrives later, perhaps twice. Nothing is kept over the end of the process but what its last attempt brings away.
//! Metrics are the sums since the start of the process at each interval: a lost one is told by the next.
//!
//! Source: OpenTelemetry Protocol 1.x.

pub mod grpc;
mod message;
mod metrics;
mod queue;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod segments;
mod spans;
mod tree;

use crate::{Metric, MetricKind};
use base::{
    AccountId, Clock, InvocationRecord, InvocationSpan, LogEvent, Region, RequestEnd, RequestId, Timestamp,
    TracedRequest, VersionKey, Within,
};
use queue::Queue;
use segments::Exported;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time};

/// Bytes of invocations and segments that wait, and those of one batch.
const TRACE_BYTES_MAX: usize = 8 * 1024 * 1024;
const TRACE_BYTES_BATCH: usize = 512 * 1024;
/// What an invocation takes, its strings included.
const INVOCATION_BYTES: usize = 1024;
/// Bytes of log lines that wait, and those of one batch.
const LOG_BYTES_MAX: usize = 16 * 1024 * 1024;
const LOG_BYTES_BATCH: usize = 1024 * 1024;
/// What a line takes besides its text.
const LOG_OVERHEAD: usize = 256;
/// The longest wait after failures in a row; the first is the interval, or a second if that is longer.
const RETRY_LAST: Duration = Duration::from_secs(30);
const RETRY_FIRST_MAX: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last batches.
const LAST_MAX: Duration = Duration::from_secs(3);

/// What is exported, and when.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between batches.
    pub interval: Duration,
    /// Spans of invocations.
    pub traces: bool,
    /// What `/_neap/metrics` shows.
    pub metrics: bool,
    /// Lines of functions.
    pub logs: bool,
    /// How messages are encoded.
    pub encoding: Encoding,
    /// Version of this program, as the scope's.
    pub version: &'static str,
}

/// How messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The JSON of Protocol Buffers.
    Json,
    /// Protocol Buffers.
    Protobuf,
}

/// Whom it is exported to.
pub trait Collector: Send + Sync {
    /// Sends a batch, encoded as [`Settings::encoding`] says, and reads the answer. Bounded in time.
    ///
    /// # Errors
    /// No answer came, and why: it is sent again.
    fn export(&self, signal: Signal, body: Arc<Vec<u8>>) -> base::Future<'_, Result<Answer, String>>;
}

/// A collector's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took the batch; the message of its answer tells what it has left out.
    Taken(Vec<u8>),
    /// It takes the batch another time.
    Later {
        /// Not before.
        after: Option<Duration>,
        /// What it said.
        why: String,
    },
    /// It will never take the batch, and what it said.
    Refused(String),
}

/// Kinds of what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Lines.
    Logs,
    /// Sums, distributions and gauges.
    Metrics,
}

impl Signal {
    const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    const fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }

    /// Where it goes by HTTP, behind an endpoint's path.
    pub const fn path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
        }
    }

    /// Where it goes by gRPC.
    pub const fn method(self) -> &'static str {
        match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// A batch on its way.
#[derive(Clone)]
struct Pending {
    body: Arc<Vec<u8>>,
    items: u64,
}

/// What becomes spans.
enum Recorded {
    Invocation(Box<InvocationRecord>),
    Request(Box<Request>),
    Segment(Box<Exported>),
}

/// [`TracedRequest`], kept.
struct Request {
    key: VersionKey,
    invoked_arn: String,
    request_id: RequestId,
    span: InvocationSpan,
    began: Timestamp,
    ended: Timestamp,
    how: RequestEnd,
}

/// A line and where it was written.
pub(crate) struct Line {
    account: AccountId,
    region: Region,
    group: String,
    stream: String,
    event: LogEvent,
    within: Option<Within>,
    seen: Timestamp,
}

/// What one signal has come to.
#[derive(Default)]
struct Lane {
    pending: Mutex<Option<Pending>>,
    urgent: Notify,
    exported: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// Exports from one node.
pub struct Exporter {
    settings: Settings,
    collector: Arc<dyn Collector>,
    clock: Arc<dyn Clock>,
    since: Timestamp,
    recorded: Queue<Recorded>,
    lines: Queue<Line>,
    lanes: [Lane; 3],
}

impl Exporter {
    /// Nothing is sent until [`Exporter::run`] runs.
    pub fn new(settings: Settings, collector: Arc<dyn Collector>, clock: Arc<dyn Clock>) -> Exporter {
        Exporter {
            since: clock.now(),
            recorded: Queue::new(TRACE_BYTES_MAX),
            lines: Queue::new(LOG_BYTES_MAX),
            lanes: Default::default(),
            settings,
            collector,
            clock,
        }
    }

    /// Takes an invocation that is over. Never blocks.
    pub fn record(&self, record: &InvocationRecord) {
        if !self.settings.traces || record.traced.is_none() {
            return;
        }
        self.wait(INVOCATION_BYTES, || Recorded::Invocation(Box::new(record.clone())));
    }

    /// Takes a request that has no run. Never blocks.
    pub fn answered(&self, request: TracedRequest<'_>) {
        if !self.settings.traces {
            return;
        }
        let TracedRequest { key, invoked_arn, request_id, span, began, ended, how } = request;
        self.wait(INVOCATION_BYTES, || {
            let (key, invoked_arn) = (key.clone(), invoked_arn.to_owned());
            Recorded::Request(Box::new(Request { key, invoked_arn, request_id, span, began, ended, how }))
        });
    }

    /// Takes a segment of X-Ray's. Never blocks.
    pub(crate) fn segment(&self, size: usize, make: impl FnOnce() -> Exported) {
        if self.settings.traces {
            self.wait(size, || Recorded::Segment(Box::new(make())));
        }
    }

    fn wait(&self, size: usize, make: impl FnOnce() -> Recorded) {
        let lane = self.lane(Signal::Traces);
        match self.recorded.push(size, make) {
            Some(waiting) if waiting >= TRACE_BYTES_BATCH => lane.urgent.notify_one(),
            Some(_) => {}
            None => add(&lane.dropped, 1),
        }
    }

    /// Takes lines. Never blocks.
    pub fn append(
        &self,
        account: AccountId,
        region: &Region,
        group: &str,
        stream: &str,
        events: &[LogEvent],
        within: &[Option<Within>],
    ) {
        if !self.settings.logs {
            return;
        }
        let (lane, seen) = (self.lane(Signal::Logs), self.clock.now());
        for (index, event) in events.iter().enumerate() {
            let pushed = self.lines.push(event.message.len() + LOG_OVERHEAD, || Line {
                account,
                region: region.clone(),
                group: group.to_owned(),
                stream: stream.to_owned(),
                event: event.clone(),
                within: within.get(index).copied().flatten(),
                seen,
            });
            match pushed {
                Some(waiting) if waiting >= LOG_BYTES_BATCH => lane.urgent.notify_one(),
                Some(_) => {}
                None => add(&lane.dropped, 1),
            }
        }
    }

    /// Exports until `stop` resolves, then what is left, for at most three seconds. `metrics` is the Prometheus text of now. End it
    /// after everything that logs or meters.
    pub async fn run(&self, metrics: impl Fn() -> String + Sync, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.export(Signal::Traces, &metrics) => {}
            () = self.export(Signal::Logs, &metrics) => {}
            () = self.export(Signal::Metrics, &metrics) => {}
        }
        let last = async {
            tokio::join!(
                self.send_all(Signal::Traces, &metrics),
                self.send_all(Signal::Logs, &metrics),
                self.send_all(Signal::Metrics, &metrics)
            )
        };
        let ended = time::timeout(LAST_MAX, last).await;
        if !matches!(ended, Ok((Ok(()), Ok(()), Ok(())))) {
            tracing::warn!(
                invocations = self.recorded.len(),
                lines = self.lines.len(),
                "not everything reached the OTLP collector before the end"
            );
        }
    }

    /// How exporting goes, for the node's metrics.
    pub fn counts(&self) -> Vec<Metric> {
        let mut all = Vec::new();
        for signal in Signal::ALL.into_iter().filter(|signal| self.is_exported(*signal)) {
            let lane = self.lane(signal);
            let counts: [(&str, &str, &AtomicU64); 4] = [
                (
                    "neap_otlp_exported",
                    "Invocations and segments, log lines and metric snapshots that the OTLP collector has taken",
                    &lane.exported,
                ),
                ("neap_otlp_dropped", "The same, dropped because the buffer was full", &lane.dropped),
                ("neap_otlp_refused", "The same, refused by the collector for good", &lane.refused),
                ("neap_otlp_failures", "Attempts at exporting that failed and are repeated", &lane.failures),
            ];
            all.extend(counts.into_iter().map(|(name, help, count)| Metric {
                kind: MetricKind::Counter,
                name,
                help,
                labels: vec![("signal", signal.name().to_owned())],
                value: count.load(Ordering::Relaxed) as f64,
            }));
        }
        all
    }

    fn is_exported(&self, signal: Signal) -> bool {
        match signal {
            Signal::Traces => self.settings.traces,
            Signal::Logs => self.settings.logs,
            Signal::Metrics => self.settings.metrics,
        }
    }

    fn lane(&self, signal: Signal) -> &Lane {
        let [traces, logs, metrics] = &self.lanes;
        match signal {
            Signal::Traces => traces,
            Signal::Logs => logs,
            Signal::Metrics => metrics,
        }
    }

    /// Sends one signal for ever; each waits by itself, so that one that is refused holds up no other.
    async fn export(&self, signal: Signal, metrics: &(impl Fn() -> String + Sync)) {
        if !self.is_exported(signal) {
            return std::future::pending().await;
        }
        let lane = self.lane(signal);
        let mut again: Option<Duration> = None;
        loop {
            match again {
                None => tokio::select! {
                    () = time::sleep(self.settings.interval) => {}
                    () = lane.urgent.notified() => {}
                },
                Some(wait) => time::sleep(wait).await,
            }
            again = match self.send_all(signal, metrics).await {
                Ok(()) => None,
                Err(asked) => {
                    let first = self.settings.interval.min(RETRY_FIRST_MAX);
                    let own = again.map_or(first, |wait| wait * 2);
                    Some(asked.unwrap_or(own).max(own).min(RETRY_LAST))
                }
            };
        }
    }

    /// Sends what waits, batch by batch. An error is a batch to be sent again later, after the time that the collector asks for.
    async fn send_all(
        &self,
        signal: Signal,
        metrics: &(impl Fn() -> String + Sync),
    ) -> Result<(), Option<Duration>> {
        if !self.is_exported(signal) {
            return Ok(());
        }
        let lane = self.lane(signal);
        loop {
            let kept = lane.lock().clone();
            let Some(pending) = kept.or_else(|| self.batch(signal, metrics)) else { return Ok(()) };
            // Sums of later are worth more than these.
            if signal != Signal::Metrics {
                *lane.lock() = Some(pending.clone());
            }
            self.send(signal, &pending).await?;
            lane.lock().take();
            if signal == Signal::Metrics {
                return Ok(());
            }
        }
    }

    fn batch(&self, signal: Signal, metrics: &impl Fn() -> String) -> Option<Pending> {
        let (version, encoding) = (self.settings.version, self.settings.encoding);
        let (body, items) = match signal {
            Signal::Traces => {
                let recorded = self.recorded.take(TRACE_BYTES_BATCH);
                let items = recorded.len();
                let (mut records, mut requests, mut segments) = (Vec::new(), Vec::new(), Vec::new());
                for one in recorded {
                    match one {
                        Recorded::Invocation(record) => records.push(*record),
                        Recorded::Request(request) => requests.push(*request),
                        Recorded::Segment(segment) => segments.push(*segment),
                    }
                }
                let message = spans::traces(&records, &requests, &segments, version);
                (tree::encode(encoding, &message), items)
            }
            Signal::Logs => {
                let lines = self.lines.take(LOG_BYTES_BATCH);
                (tree::encode(encoding, &spans::logs(&lines, version)), lines.len())
            }
            Signal::Metrics => {
                let message = metrics::export(&metrics(), version, self.since, self.clock.now());
                (tree::encode(encoding, &message), 1)
            }
        };
        (items > 0).then(|| Pending { body: Arc::new(body), items: items as u64 })
    }

    /// One attempt: taken and refused are both done with.
    async fn send(&self, signal: Signal, pending: &Pending) -> Result<(), Option<Duration>> {
        let lane = self.lane(signal);
        let answer = match self.collector.export(signal, Arc::clone(&pending.body)).await {
            Ok(answer) => answer,
            Err(error) => {
                lane.failed(signal, &error);
                return Err(None);
            }
        };
        match answer {
            Answer::Taken(message) => {
                let rejected = tree::rejected(self.settings.encoding, &message).min(pending.items);
                add(&lane.refused, rejected);
                add(&lane.exported, pending.items - rejected);
                Ok(())
            }
            Answer::Later { after, why } => {
                lane.failed(signal, &why);
                Err(after)
            }
            Answer::Refused(why) => {
                add(&lane.refused, pending.items);
                tracing::error!(signal = signal.name(), why, "the OTLP collector refuses a batch");
                Ok(())
            }
        }
    }
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, signal: Signal, error: &str) {
        // Once for each time that it goes away would need its return; once in a run of doublings is little enough.
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before.is_power_of_two() || before == 0 {
            tracing::warn!(
                signal = signal.name(),
                error,
                "the OTLP collector takes nothing; it is tried again"
            );
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
