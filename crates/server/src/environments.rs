//! Neap's own API: the execution environments of this node, and why each is kept.
//!
//! REST-JSON under `/_neap/v1/`, signing name `neap-fleet`, member names in snake case.

use base::{Fault, ServiceError, Timestamp};
use fleet::{EnvironmentStatus, Fleet, Kept, PoolSnapshot, Prestart, keepalive::Why};
use runtimes::Runtimes;
use scaling::{Planned, Scaling};
use serde::Serialize;
use std::sync::Arc;
use wire::Context;

/// The node's environments.
pub(crate) struct Environments {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) scaling: Arc<Scaling>,
}

/// Why the service fails.
#[derive(Debug, thiserror::Error)]
#[error("what is scheduled could not be read: {0}")]
pub(crate) struct Error(#[from] scaling::Error);

impl ServiceError for Error {
    fn code(&self) -> &str {
        "InternalFailure"
    }
    fn fault(&self) -> Fault {
        Fault::Us
    }
}

wire::api! {
    /// Neap's own operations on environments.
    impl Environments;
    name: "neap-fleet";
    protocol: rest_json;

    operations {
        /// The execution environments of the account on this node, what they do, and why they are kept.
        ListEnvironments => list_environments(NoInput) -> ListEnvironmentsResponse {
            http: GET "/_neap/v1/environments" 200,
            allow: "neap:ListEnvironments" on "*",
            errors: [InternalFailure],
        }
    }
    missing: [];
}

/// An input without members.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct NoInput {}

/// The environments of an account.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ListEnvironmentsResponse {
    /// By function, version and tenant.
    environments: Vec<EnvironmentView>,
    /// Environments that are to be started ahead of calls, in the order in which they are due.
    planned: Vec<PlannedView>,
    /// Starts under way.
    starting: u32,
    /// Calls that wait for an environment.
    waiting: u32,
    /// Interpreters of the node that wait for functions of any account.
    stem_cells: Vec<StemCellsView>,
}

/// Stem cells that can stand in for each other.
#[derive(Debug, Serialize)]
pub(crate) struct StemCellsView {
    runtime: String,
    /// Memory size of the functions that they can become.
    memory_mb: u32,
    ready: u32,
    starting: u32,
    resident_bytes: u64,
}

/// One environment.
#[derive(Debug, Serialize)]
pub(crate) struct EnvironmentView {
    function: String,
    region: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// `busy`; without a call `provisioned`, `snapstart` (initialised ahead, and not yet used), `pre-started` (ahead of a call that is expected, and not yet used) or `idle`.
    state: &'static str,
    memory_mb: u32,
    resident_bytes: u64,
    /// How long its start took: queue, sandbox, boot and init together.
    start_ms: f64,
    /// How long it has been idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_s: Option<u64>,
    /// When it ends if nobody calls it and its memory is not needed; absent where it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_in_s: Option<u64>,
    /// Why it is there, and until when.
    kept: String,
}

/// A start ahead of calls.
#[derive(Debug, Serialize)]
pub(crate) struct PlannedView {
    function: String,
    region: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// When; 0 if it is time.
    starts_in_s: u64,
    /// How many environments.
    count: u32,
    /// Why then.
    why: String,
}

impl Environments {
    async fn list_environments(
        &self,
        context: &Context,
        _: NoInput,
    ) -> Result<ListEnvironmentsResponse, Error> {
        let mut answer =
            ListEnvironmentsResponse { stem_cells: self.stem_cells(), ..ListEnvironmentsResponse::default() };
        let snapshot = self.fleet.snapshot();
        for pool in snapshot.pools.iter().filter(|pool| pool.key.account == context.account) {
            answer.starting += pool.starting;
            answer.waiting += pool.queued;
            answer.environments.extend(pool.environments.iter().map(|one| view(pool, one)));
            answer.planned.extend(planned(pool));
        }
        let floors = self.scaling.planned(context.account, FLOORS_MAX).await?;
        answer.planned.extend(floors.into_iter().filter_map(|planned| floor(planned, context.now)));
        answer.planned.sort_by(|one, other| {
            (one.starts_in_s, &one.function).cmp(&(other.starts_in_s, &other.function))
        });
        answer.environments.sort_by(|one, other| {
            let place =
                |view: &EnvironmentView| (view.function.clone(), view.version.clone(), view.tenant.clone());
            place(one).cmp(&place(other))
        });
        Ok(answer)
    }

    fn stem_cells(&self) -> Vec<StemCellsView> {
        let kinds = self.runtimes.cells().kinds.into_iter();
        kinds
            .map(|kind| StemCellsView {
                runtime: kind.runtime,
                memory_mb: kind.memory.0,
                ready: kind.ready,
                starting: kind.starting,
                resident_bytes: kind.resident.0,
            })
            .collect()
    }
}

fn view(pool: &PoolSnapshot, one: &EnvironmentStatus) -> EnvironmentView {
    let phases = one.phases;
    let start_us = phases.queue.0 + phases.sandbox.0 + phases.boot.0 + phases.init.0;
    let ends_in_s = match one.kept {
        Kept::Waiting { ends_in_us, .. } => Some(ends_in_us.div_ceil(SECOND)),
        Kept::Busy | Kept::Last | Kept::Provisioned | Kept::Prepared { .. } => None,
    };
    EnvironmentView {
        function: pool.key.name.to_string(),
        region: pool.key.region.to_string(),
        version: pool.key.version.to_string(),
        tenant: pool.key.tenant.as_ref().map(ToString::to_string),
        state: match one.kept {
            Kept::Busy | Kept::Last => "busy",
            Kept::Provisioned => "provisioned",
            Kept::Prepared { .. } => "snapstart",
            Kept::Waiting { prestarted: true, .. } => "pre-started",
            Kept::Waiting { prestarted: false, .. } => "idle",
        },
        memory_mb: pool.memory.0,
        resident_bytes: one.resident.0,
        start_ms: start_us as f64 / 1000.0,
        idle_s: one.idle_us.map(|us| us / SECOND),
        ends_in_s,
        kept: kept(pool, one.kept),
    }
}

/// A start that is planned and has not begun.
fn planned(pool: &PoolSnapshot) -> Option<PlannedView> {
    let Prestart { in_us, ends_in_us, count, why } = pool.prestart?;
    if pool.idle + pool.busy + pool.starting >= count {
        return None;
    }
    let end = ends_in_us.map_or(String::new(), |us| format!(": ends {} unless called", after(us)));
    Some(PlannedView {
        function: pool.key.name.to_string(),
        region: pool.key.region.to_string(),
        version: pool.key.version.to_string(),
        tenant: pool.key.tenant.as_ref().map(ToString::to_string),
        starts_in_s: in_us.div_ceil(SECOND),
        count,
        why: format!("{}{end}", reason(why)),
    })
}

/// Scheduled changes of floors that are shown.
const FLOORS_MAX: u32 = 1_000;

/// A change of what is provisioned that a scheduled action makes; one that sets no minimum starts nothing.
fn floor(planned: Planned, now: Timestamp) -> Option<PlannedView> {
    let Planned { of, action, at, min, .. } = planned;
    let count = min?;
    Some(PlannedView {
        function: of.name.to_string(),
        region: of.region.to_string(),
        version: of.qualifier,
        tenant: None,
        starts_in_s: u64::try_from(at.0.saturating_sub(now.0)).unwrap_or_default().div_ceil(1_000),
        count,
        why: format!("scheduled action {action}: at least {count} are kept ready from then on"),
    })
}

fn kept(pool: &PoolSnapshot, kept: Kept) -> String {
    match kept {
        Kept::Busy => "runs a call".to_owned(),
        Kept::Last => "ends after its call: replaced, or the node ends".to_owned(),
        Kept::Provisioned => format!("provisioned: {} are kept ready", pool.floor),
        Kept::Prepared { renewed_in_us } => format!(
            "snapstart: {} of its version wait initialised, unless the memory is needed; renewed {}",
            pool.prepare,
            after(renewed_in_us)
        ),
        Kept::Waiting { ends_in_us, why, .. } => {
            let end = after(ends_in_us);
            format!("{}: ends {end} unless called or its memory is needed", reason(why))
        }
    }
}

/// Why environments are kept so long, or started then.
fn reason(why: Why) -> String {
    match why {
        Why::Setting { keep_us } => format!("idle environments are kept {} s", keep_us / SECOND),
        Why::Unlearned { seen, keep_us } => {
            format!("kept {} s while its calls are not known ({seen} gaps seen)", keep_us / SECOND)
        }
        Why::Rhythm { period_us } => format!("called every {}", span(period_us)),
        Why::Gaps { seen, percent } => {
            format!("learned from {seen} gaps between calls: the next comes by then with {percent} %")
        }
        Why::Schedule => "scheduled".to_owned(),
    }
}

const SECOND: u64 = 1_000_000;

fn after(us: u64) -> String {
    format!("in {} s", us.div_ceil(SECOND))
}

/// A length of time with about three digits.
fn span(us: u64) -> String {
    let s = us as f64 / 1e6;
    match s {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6_000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
