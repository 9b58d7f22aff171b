//! Lambda functions: their configuration, code, versions and invocation.
//!
//! Owns: the Lambda API's function part ([`api`]), the rules of names, configurations, states and retries ([`logic`]),
//! the tables of functions, versions, packages and accepted asynchronous invocations, and the background work on them.
//! Must never know: how functions are run ([`base::Execute`]), unpacked ([`base::Packages`]) or which runtimes there are
//! ([`base::RuntimeCatalog`]); other services; SQL outside `data`.
//!
//! # For the composition root
//! - [`Functions::new`] opens nothing and starts nothing; the database must be open with [`MIGRATIONS`].
//! - Register it with the gateway, mount [`Functions::download`] at [`DOWNLOAD_PATH`] and [`Functions::serve_url`] at
//!   [`URL_PATH`] and for the host label `lambda-url`, and spawn [`Functions::run_events`],
//!   [`Functions::run_mappings`], [`Functions::run_habits`] and [`Functions::run_upkeep`], each in one task of the node: all are safe to
//!   abort and to run on many nodes.
//! - Whatever changes functions goes through this type: the invoke path reads them from memory.

mod answer;
pub mod api;
mod cache;
mod code;
mod data;
mod download;
mod error;
pub mod logic;
pub mod model;
mod ops;
mod reservations;
mod snapstart;
mod tasks;
mod url;

pub use data::MIGRATIONS;
pub use download::DOWNLOAD_PATH;
pub use error::Error;
pub use logic::url::URL_PATH;
pub use tasks::{EventCounts, MappingCounts};

use base::{
    ByteCount, Deliver, Entropy, Execute, HabitKey, Habits, Meter, Millis, Packages, QueueSource, QueueStep,
    QueuedEvent, RequestId, RuntimeCatalog, Spending, Timer, Timestamp, VersionKey, limits,
};
use logic::{dispatch::Bounds, names::Asker, retry::Waits};
use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicU64, Ordering},
};
use store::{Blobs, Database};
use tokio::sync::{Notify, OnceCell};

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node, the same after a restart: leases of its earlier lives are void. Default `local`.
    pub node: String,
    /// How long CreateFunction and UpdateFunctionCode wait for unpacking before they answer `Pending` or `InProgress`.
    /// Default 20 s.
    pub unpack_wait: Millis,
    /// How long they wait in addition for what is made of a package before its functions can start. Default 1 s.
    pub prepare_wait: Millis,
    /// How long a package that nobody references is kept: longer than any upload and any invocation. Default 20 min.
    pub package_grace: Millis,
    /// Between looks for work that no signal announced: packages to remove, versions still pending, events of nodes
    /// that are gone. Default 5 min.
    pub upkeep_every: Millis,
    /// All code of an account and region. Default 75 GB.
    pub code_storage_max: ByteCount,
    /// Concurrent invocations of an account and region. Default 1,000.
    pub account_concurrency: u32,
    /// Functions kept in memory for the invoke path. Default 50,000.
    pub cached_functions_max: usize,
    /// Asynchronous invocations.
    pub events: EventSettings,
    /// How often to look for what other nodes on the same database have changed; `None`: there are none. Default none.
    pub shared_every: Option<Millis>,
    /// The share of traces, from 0 to 1, whose invocations are recorded as spans though nothing else asks for it; what their
    /// headers decide is followed. Default none.
    pub span_share: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            node: "local".to_owned(),
            unpack_wait: Millis(20_000),
            prepare_wait: Millis(1_000),
            package_grace: Millis(20 * 60_000),
            upkeep_every: Millis(5 * 60_000),
            code_storage_max: limits::CODE_STORAGE_MAX,
            account_concurrency: limits::ACCOUNT_CONCURRENCY,
            cached_functions_max: 50_000,
            events: EventSettings::default(),
            shared_every: None,
            span_share: 0.0,
        }
    }
}

/// What can be set about asynchronous invocations.
#[derive(Clone, Debug)]
pub struct EventSettings {
    /// How many run at once.
    pub bounds: Bounds,
    /// When they are retried.
    pub waits: Waits,
    /// How long a node that went silent keeps its events from other nodes; renewed at a third of it. Default 60 s.
    pub lease: Millis,
    /// Accepted invocations that may wait; beyond it 429. Default 1,000,000.
    pub backlog_max: u64,
}

impl Default for EventSettings {
    fn default() -> EventSettings {
        EventSettings {
            bounds: Bounds::default(),
            waits: Waits::default(),
            lease: Millis(60_000),
            backlog_max: 1_000_000,
        }
    }
}

/// The service.
pub struct Functions {
    pub(crate) db: Database,
    pub(crate) code: code::Code,
    pub(crate) execute: Arc<dyn Execute>,
    pub(crate) catalog: Arc<dyn RuntimeCatalog>,
    pub(crate) clock: Arc<dyn Timer>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) specs: cache::Specs,
    pub(crate) reservations: reservations::Reservations,
    pub(crate) events: tasks::Events,
    pub(crate) mappings: tasks::Mappings,
    /// Wakes the upkeep: a version waits for its package.
    pub(crate) upkeep: Notify,
    /// Made of a secret that all nodes on the same database share.
    pub(crate) links: OnceCell<download::Links>,
    /// Streamed answers whose reader left before the end.
    pub(crate) abandoned_streams: Arc<AtomicU64>,
    meter: OnceLock<Arc<dyn Meter>>,
    spending: OnceLock<Arc<dyn Spending>>,
    pub(crate) queues: OnceLock<Arc<dyn QueueSource>>,
    pub(crate) deliver: OnceLock<Arc<dyn Deliver>>,
    pub(crate) prepared: snapstart::Prepared,
    pub(crate) habits: OnceLock<Arc<dyn Habits>>,
    /// Versions whose calls earlier lives let expect, until the fleet was told how to start them.
    pub(crate) expected: Mutex<Vec<HabitKey>>,
    pub(crate) habits_written: AtomicU64,
}

impl Functions {
    /// A service over its ports. `db` must have been opened with [`MIGRATIONS`].
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        db: Database,
        blobs: Blobs,
        execute: Arc<dyn Execute>,
        packages: Arc<dyn Packages>,
        catalog: Arc<dyn RuntimeCatalog>,
        clock: Arc<dyn Timer>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
    ) -> Arc<Functions> {
        Arc::new(Functions {
            db,
            code: code::Code::new(blobs, packages),
            execute,
            catalog,
            specs: cache::Specs::new(settings.cached_functions_max),
            reservations: reservations::Reservations::default(),
            events: tasks::Events::new(RequestId::new(&*entropy).to_string()),
            mappings: tasks::Mappings::default(),
            upkeep: Notify::new(),
            links: OnceCell::new(),
            abandoned_streams: Arc::default(),
            meter: OnceLock::new(),
            spending: OnceLock::new(),
            queues: OnceLock::new(),
            deliver: OnceLock::new(),
            prepared: snapstart::Prepared::default(),
            habits: OnceLock::new(),
            expected: Mutex::default(),
            habits_written: AtomicU64::new(0),
            clock,
            entropy,
            settings,
        })
    }

    /// Streamed answers whose reader left before the end; their functions run on.
    pub fn abandoned_streams(&self) -> u64 {
        self.abandoned_streams.load(Ordering::Relaxed)
    }

    /// Tells `meter` what becomes of asynchronous invocations. Set once, before anything is invoked; nobody is told otherwise.
    pub fn meter_events(&self, meter: Arc<dyn Meter>) {
        // A second call would change nothing.
        let _ = self.meter.set(meter);
    }

    /// Asks `spending` before each invocation. Set once, before anything is invoked; nothing is capped otherwise.
    pub fn capped_by(&self, spending: Arc<dyn Spending>) {
        // A second call would change nothing.
        let _ = self.spending.set(spending);
    }

    /// Polls `queues` for event source mappings. Set once, before [`Functions::run_mappings`]; without it there are none.
    pub fn poll_queues(&self, queues: Arc<dyn QueueSource>) {
        // A second call would change nothing.
        let _ = self.queues.set(queues);
    }

    /// Hands what becomes of asynchronous invocations to destinations and dead-letter queues through `deliver`. Set once, before
    /// anything is invoked; without it both are refused.
    pub fn deliver_through(&self, deliver: Arc<dyn Deliver>) {
        // A second call would change nothing.
        let _ = self.deliver.set(deliver);
    }

    /// Keeps what `habits` learns of functions. Set once, before [`Functions::recall_habits`]; nothing outlives the node otherwise.
    pub fn remember(&self, habits: Arc<dyn Habits>) {
        // A second call would change nothing.
        let _ = self.habits.set(habits);
    }

    /// Refuses an invocation that a budget's cap forbids; a metered throttle then.
    pub(crate) fn affordable(&self, key: &VersionKey, invoked_arn: &str) -> Result<(), Error> {
        let Some(reason) = self.spending.get().and_then(|spending| spending.refusal(key)) else {
            return Ok(());
        };
        if let Some(meter) = self.meter.get() {
            meter.throttled(key, invoked_arn);
        }
        Err(Error::BudgetSpent(reason))
    }

    pub(crate) fn meter(&self, id: &model::FunctionId, invoked_arn: &str, step: QueueStep) {
        if let Some(meter) = self.meter.get() {
            let model::FunctionId { account, region, name, .. } = id;
            meter.queued(QueuedEvent { account: *account, region, name, invoked_arn }, step);
        }
    }

    /// An invocation was stopped because it had come back to its function too often.
    pub(crate) fn meter_loop(&self, served: &cache::Served, invoked_arn: &str) {
        if let Some(meter) = self.meter.get() {
            let VersionKey { account, region, name, .. } = &served.spec.key;
            meter.queued(QueuedEvent { account: *account, region, name, invoked_arn }, QueueStep::Looped);
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn fresh_id(&self) -> RequestId {
        RequestId::new(&*self.entropy)
    }
}

/// Runs `act` as the asker of a request for `action`.
pub(crate) fn asking<T>(
    context: &wire::Context,
    action: &'static str,
    act: impl FnOnce(Asker<'_>) -> T,
) -> T {
    let who = || context.principal.arn();
    act(Asker { account: context.account, region: &context.region, who: &who, action })
}
