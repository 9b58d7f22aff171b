//! Logs and queries over them, metering, prices, metrics and alarms.
//!
//! Owns: the ports [`base::LogSink`] and [`base::Meter`]; the operations of CloudWatch Logs ([`Telemetry::logs`])
//! and CloudWatch ([`Telemetry::monitoring`]); those of X-Ray that keep and show traces ([`Telemetry::tracing`]); Neap's own usage API ([`Telemetry::usage`]); price books ([`prices`]); filter patterns ([`pattern`]); Prometheus text
//! ([`Telemetry::prometheus`]); export to an OpenTelemetry collector ([`otlp`]).
//! Must never know: functions, environments, how requests are signed.
//!
//! # What survives what
//! | | kill -9 of the node | power loss |
//! |---|---|---|
//! | log events of functions | all but the last [`Settings::log_flush`] (200 ms) | the last seconds may be lost |
//! | `PutLogEvents`, groups, streams, tags, retention | everything answered | everything answered |
//! | usage (what is charged) | all but the last [`Settings::usage_flush`] (500 ms), 5 ms before it (`inbox.rs`) and a commit | the same |
//! | reserved time of provisioned concurrency | nothing: what is reserved is stored before the change is answered | the same |
//! | budgets, and what was told of them | everything answered | everything answered |
//! | `PutMetricData`, `PutTraceSegments` | everything answered | everything answered |
//! | trace segments of functions, by datagram, and of their invocations | all but the last 200 ms and a commit | the same |
//! | metrics of functions: AWS/Lambda, embedded in logs | all but the last [`Settings::metrics_flush`] (2 s) and a commit | the same |
//! | results of Insights queries, the last invocations, Prometheus metrics | nothing: memory only | nothing |
//!
//! Functions' log events wait in a bounded buffer, so that logging never waits for the disk; whatever reads logs flushes it
//! first, so that events are visible at once. What the buffer cannot take is dropped, counted in `neap_log_events_dropped`, and
//! told in the stream itself. They are stored as compressed chunks, found by their time range.
//!
//! Usage is summed in memory by function version, memory size, processor and day, and added to the stored sums in one
//! transaction, which also notes the batch's number: a batch whose outcome was unknown is added once, never twice. `reserved` charges
//! what provisioned concurrency holds ready. Metrics of functions are stored in the same way; whatever reads metrics flushes them first.
//!
//! # Where to look
//! `api` lists the operations, `logs.rs` does them, `search.rs` reads events page by page, `logic.rs` and `chunk.rs` have the rules
//! and the stored form, `inbox.rs`, `buffer.rs` and `meter.rs` what waits in memory, `tasks.rs` flushes and clears, `data.rs` has all SQL. `cloudwatch`
//! are metrics, `alarms` alarms on them, `insights` queries over logs; each has a `data.rs` of its own where it has tables.
//! `prices.rs` has the price books, `estimate.rs` what is computed from them, `budgets` amounts that are told of and kept to.

mod alarms;
pub mod api;
mod budgets;
mod buffer;
mod chunk;
mod cloudwatch;
mod data;
mod error;
pub mod estimate;
mod inbox;
pub mod insights;
mod logic;
mod logs;
mod meter;
mod metrics;
mod model;
pub mod otlp;
pub mod pattern;
pub mod prices;
mod reserved;
mod search;
mod tasks;
mod timeline;
pub mod xray;

pub use error::Error;
pub use metrics::{Metric, MetricKind};

use api::{logs::Logs, monitoring::Monitoring, tracing::Tracing, usage::Usage};
use base::{
    AccountId, Clock, Entropy, FunctionName, InvocationRecord, InvokeLater, LogEvent, LogSink, MessageStep,
    Meter, MeteredQueue, ProvisionedCall, QueueDepth, QueueStep, QueuedEvent, Region, RequestId, Reserved,
    Scaled, Spending, Timestamp, TracedRequest, Utilization, VersionKey,
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use store::{Database, Migration};
use tokio::sync::{Mutex, Notify};

/// The schema of telemetry's database: for [`store::Database::open`].
pub const MIGRATIONS: &[Migration] = data::MIGRATIONS;

/// Bounds of the database that it works on. What is written is hardly read again before it is old, and merging small chunks of
/// logs goes through all pages that they have: a page cache of the default size would only hold memory, 2 MB do the same.
#[must_use]
pub fn limits() -> store::Limits {
    store::Limits { cache_kib: 2000, ..store::Limits::default() }
}

/// Bounds and intervals.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Log events that wait in memory, their overhead included; one stream may use a quarter. Default 64 MiB.
    pub log_buffer_bytes: usize,
    /// Longest wait of a log event before it is stored. Default 200 ms.
    pub log_flush: Duration,
    /// Longest wait of an invocation before it is counted in the store. Default 500 ms.
    pub usage_flush: Duration,
    /// Longest wait of what functions did before it is in the store as metrics. Default 2 s.
    pub metrics_flush: Duration,
    /// Invocations kept for display. Default 1,000.
    pub records: usize,
    /// Metrics of an account and region; a new one beyond it is refused. Default 100,000.
    pub metrics_max: i64,
    /// Trace segments of an account and region; the oldest go first beyond it. Default 1,000,000.
    pub segments_max: i64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            log_buffer_bytes: 64 * 1024 * 1024,
            log_flush: Duration::from_millis(200),
            usage_flush: Duration::from_millis(500),
            metrics_flush: Duration::from_secs(2),
            records: 1_000,
            metrics_max: 100_000,
            segments_max: 1_000_000,
        }
    }
}

/// Telemetry of one node; clones share it.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

/// What its services share.
pub(crate) struct Inner {
    db: Database,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    settings: Settings,
    buffer: buffer::Buffer,
    /// Of flushes, one at a time.
    packer: Arc<std::sync::Mutex<chunk::Packer>>,
    inbox: inbox::Inbox,
    counting: meter::Counting,
    gathering: cloudwatch::gathering::Gathering,
    metrics: metrics::Metrics,
    arrivals: xray::Arrivals,
    daemons: xray::daemons::Daemons,
    exporter: OnceLock<Arc<otlp::Exporter>>,
    /// A batch whose commit is not known to have succeeded.
    logs_kept: Mutex<Option<tasks::LogBatch>>,
    usage_kept: Mutex<Option<Arc<meter::Batch>>>,
    metrics_kept: Mutex<Option<Arc<cloudwatch::gathering::Batch>>>,
    /// Something waits to be flushed.
    logs_wait: Notify,
    logs_urgent: Notify,
    usage_wait: Notify,
    metrics_wait: Notify,
    /// There is an alarm; there is an action to be done.
    alarms_wait: Notify,
    actions_wait: Notify,
    invoke: OnceLock<Arc<dyn InvokeLater>>,
    budgets: budgets::Keeping,
    queries: insights::run::Queries,
}

impl Telemetry {
    /// On a database opened with [`MIGRATIONS`]. Nothing is flushed by itself until [`Telemetry::run`] runs.
    pub fn new(
        db: Database,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
    ) -> Telemetry {
        let mut tag = [0];
        entropy.fill(&mut tag);
        let instance = RequestId::new(&*entropy);
        let inner = Inner {
            buffer: buffer::Buffer::new(&settings, tag[0]),
            packer: Arc::default(),
            inbox: inbox::Inbox::default(),
            counting: meter::Counting::new(instance, settings.records),
            gathering: cloudwatch::gathering::Gathering::new(instance),
            metrics: metrics::Metrics::new(),
            arrivals: xray::Arrivals::default(),
            daemons: xray::daemons::Daemons::default(),
            exporter: OnceLock::new(),
            logs_kept: Mutex::new(None),
            usage_kept: Mutex::new(None),
            metrics_kept: Mutex::new(None),
            logs_wait: Notify::new(),
            logs_urgent: Notify::new(),
            usage_wait: Notify::new(),
            metrics_wait: Notify::new(),
            alarms_wait: Notify::new(),
            actions_wait: Notify::new(),
            invoke: OnceLock::new(),
            budgets: budgets::Keeping::default(),
            queries: insights::run::Queries::default(),
            db,
            clock,
            entropy,
            settings,
        };
        Telemetry { inner: Arc::new(inner) }
    }

    /// CloudWatch Logs, for the gateway.
    pub fn logs(&self) -> Arc<Logs> {
        Arc::new(Logs(Arc::clone(&self.inner)))
    }

    /// Alarms invoke functions through `invoke`. Set once, before [`Telemetry::run`]; until then their actions wait.
    pub fn invoke_through(&self, invoke: Arc<dyn InvokeLater>) {
        // A second call would change nothing.
        let _ = self.inner.invoke.set(invoke);
    }

    /// Evaluates every alarm and does every action now instead of within a minute.
    ///
    /// # Errors
    /// Those of the store; what is left is done next time.
    pub async fn evaluate_alarms(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.inner.evaluate_alarms(i64::MAX).await?;
        self.inner.do_actions().await?;
        Ok(())
    }

    /// CloudWatch, for the gateway.
    pub fn monitoring(&self) -> Arc<Monitoring> {
        Arc::new(Monitoring(Arc::clone(&self.inner)))
    }

    /// X-Ray, for the gateway.
    pub fn tracing(&self) -> Arc<Tracing> {
        Arc::new(Tracing(Arc::clone(&self.inner)))
    }

    /// Tells `exporter` of segments too. Set once, before anything runs; a second call would change nothing.
    pub fn export_through(&self, exporter: Arc<otlp::Exporter>) {
        let _ = self.inner.exporter.set(exporter);
    }

    /// Takes a datagram that a function sent to the X-Ray daemon. Never blocks; what cannot be kept is dropped and counted.
    pub fn trace_datagram(&self, key: &VersionKey, datagram: &[u8]) {
        self.inner.datagram(key.account, &key.region, key.name.as_str(), datagram);
    }

    /// What X-Ray daemons have told of themselves, for the node's metrics.
    pub fn trace_daemons(&self) -> Vec<Metric> {
        self.inner.daemons.shown()
    }

    /// How many of these were dropped, for the node's metrics.
    pub fn trace_datagrams_dropped(&self) -> u64 {
        self.inner.segments_dropped()
    }

    /// Neap's own usage API, for the gateway.
    pub fn usage(&self) -> Arc<Usage> {
        Arc::new(Usage(Arc::clone(&self.inner)))
    }

    /// Flushes and clears in the background until `stop` resolves, then flushes what is left and returns. End it after
    /// everything that logs or meters.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = self.inner.run(stop) => {}
            () = self.watch_budgets() => {}
            () = self.inner.count_when_woken() => {}
        }
    }

    /// Stores now what waits in memory.
    ///
    /// # Errors
    /// Those of the store; what could not be stored is kept for the next flush.
    pub async fn flush(&self) -> Result<(), store::Error> {
        self.inner.flush_logs().await?;
        self.inner.flush_usage().await?;
        self.inner.flush_metrics().await?;
        self.inner.flush_segments().await
    }

    /// Removes expired and deleted log events now instead of within a minute, and merges small chunks now instead of within
    /// half an hour.
    ///
    /// # Errors
    /// Those of the store; what is left is done next time.
    pub async fn clear(&self) -> Result<(), store::Error> {
        self.inner.clear().await?;
        self.inner.age_metrics().await?;
        self.inner.expire_history().await?;
        self.inner.clear_segments().await?;
        self.inner.merge().await
    }

    /// Deletes all logs and all usage of every account. For `neap dev`: nobody is asked.
    ///
    /// # Errors
    /// Those of the store; nothing is deleted then.
    pub async fn reset(&self) -> Result<(), store::Error> {
        self.flush().await?;
        self.inner.queries.forget();
        self.inner.db.write(data::delete_everything).await
    }

    /// All metrics and `others` in the OpenMetrics text format, content type
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn prometheus(&self, others: &[Metric]) -> String {
        self.inner.count();
        self.inner.metrics.text(others).unwrap_or_default()
    }
}

impl Spending for Telemetry {
    fn refusal(&self, key: &VersionKey) -> Option<String> {
        self.inner.budgets.caps.refusal(key, || self.inner.clock.now())
    }
}

impl Utilization for Telemetry {
    fn utilization(
        &self,
        of: Scaled,
        from: Timestamp,
        until: Timestamp,
    ) -> base::Future<'_, Result<Vec<(Timestamp, f64)>, String>> {
        Box::pin(async move {
            let found = self.inner.utilization(of, from, until).await;
            found.map_err(|error| error.to_string())
        })
    }
}

impl LogSink for Telemetry {
    fn append(&self, account: AccountId, region: &Region, group: &str, stream: &str, events: Vec<LogEvent>) {
        let Inner { buffer, metrics, clock, logs_wait, logs_urgent, .. } = &*self.inner;
        if !logic::is_group_name(group) || !logic::is_stream_name(stream) {
            metrics.log_dropped.inc_by(events.len() as u64);
            tracing::error!(
                group,
                stream,
                events = events.len(),
                "log events for an impossible name dropped"
            );
            return;
        }
        if events.is_empty() {
            return;
        }
        let now = clock.now();
        let place = cloudwatch::logic::Place { account, region: region.clone() };
        for event in &events {
            if let Some(points) = cloudwatch::embedded::points(&place, &event.message, now) {
                self.inner.gathering.add(points);
                self.inner.metrics_wait.notify_one();
            }
        }
        let key = model::StreamKey {
            account,
            region: region.clone(),
            group: group.to_owned(),
            stream: stream.to_owned(),
        };
        let appended = buffer.append(key, events, now);
        metrics.log_events.inc_by(appended.events);
        metrics.log_bytes.inc_by(appended.bytes);
        metrics.log_dropped.inc_by(appended.dropped.events);
        if appended.first {
            logs_wait.notify_one();
        }
        if appended.flush {
            logs_urgent.notify_one();
        }
    }
}

impl Meter for Telemetry {
    fn record(&self, record: InvocationRecord) {
        self.inner.invoked(record);
    }

    fn reserved(&self, all: Vec<Reserved>) -> base::Future<'static, ()> {
        let change = reserved::Change { at: self.inner.clock.now(), all: reserved::allocations(all) };
        self.inner.counting.reserved(change);
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            if let Err(error) = inner.flush_usage().await {
                tracing::error!(%error, "what is reserved could not be stored, tried again");
                inner.usage_wait.notify_one();
            }
        })
    }

    fn provisioned(&self, call: ProvisionedCall<'_>) {
        self.inner.gathering.provisioned(call, self.inner.clock.now());
        self.inner.metrics_wait.notify_one();
    }

    fn throttled(&self, key: &VersionKey, invoked_arn: &str) {
        self.inner.metrics.throttled(key.account, &key.region, &key.name);
        self.inner.gathering.throttled(key, invoked_arn, self.inner.clock.now());
        self.inner.metrics_wait.notify_one();
    }

    fn began(&self, key: &VersionKey, reserved: bool) {
        let at = self.inner.clock.now();
        self.inner.stepped(inbox::Step { key: key.clone(), reserved, at, begins: true });
    }

    fn ended(&self, key: &VersionKey, reserved: bool) {
        let at = self.inner.clock.now();
        self.inner.stepped(inbox::Step { key: key.clone(), reserved, at, begins: false });
    }

    fn queued(&self, event: QueuedEvent<'_>, step: QueueStep) {
        self.inner.gathering.queued(event, step, self.inner.clock.now());
        self.inner.metrics_wait.notify_one();
    }

    fn deleted(&self, account: AccountId, region: &Region, name: &FunctionName) {
        self.inner.count();
        self.inner.metrics.forget(account, region, name);
    }

    fn messages(&self, queue: MeteredQueue<'_>, what: MessageStep<'_>) {
        self.inner.gathering.messages(queue, what, self.inner.clock.now());
        self.inner.metrics_wait.notify_one();
    }

    fn depth(&self, queue: MeteredQueue<'_>, depth: QueueDepth) {
        self.inner.gathering.depth(queue, depth, self.inner.clock.now());
        self.inner.metrics_wait.notify_one();
    }

    fn answered(&self, request: TracedRequest<'_>) {
        self.inner.show_request(&request);
    }
}

/// The ARN of a version, as a resource of the cloud.
pub(crate) fn resource_arn(key: &VersionKey) -> String {
    let resource = match key.version {
        base::Version::Latest => format!("function:{}", key.name),
        base::Version::Published(number) => format!("function:{}:{number}", key.name),
    };
    base::Arn::new("lambda", Some(&key.region), key.account, &resource).to_string()
}
