//! Neap's own API: the execution environments of this node, and why each is kept.
//!
//! REST-JSON under `/_neap/v1/`, signing name `neap-fleet`, member names in snake case.

use base::{Fault, ServiceError};
use fleet::{Fleet, PoolSnapshot};
use runtimes::Runtimes;
use serde::Serialize;
use std::sync::Arc;
use wire::Context;

/// The node's environments.
pub(crate) struct Environments {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) runtimes: Arc<Runtimes>,
}

/// Nothing of this service fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match *self {}
    }
    fn fault(&self) -> Fault {
        match *self {}
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
            errors: [],
        }
    }
    missing: [];
}

/// An input without members.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct NoInput {}

/// The environments of an account.
#[derive(Debug, Serialize)]
pub(crate) struct ListEnvironmentsResponse {
    /// By function, version and tenant.
    environments: Vec<EnvironmentView>,
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
    /// `busy` or `idle`.
    state: &'static str,
    memory_mb: u32,
    resident_bytes: u64,
    /// How long its start took: queue, sandbox, boot and init together.
    start_ms: f64,
    /// How long it has been idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_s: Option<u64>,
    /// Why it is there, and until when.
    kept: String,
}

impl Environments {
    async fn list_environments(
        &self,
        context: &Context,
        _: NoInput,
    ) -> Result<ListEnvironmentsResponse, Error> {
        let mut answer = ListEnvironmentsResponse {
            environments: Vec::new(),
            starting: 0,
            waiting: 0,
            stem_cells: self.stem_cells(),
        };
        let snapshot = self.fleet.snapshot();
        for pool in snapshot.pools.iter().filter(|pool| pool.key.account == context.account) {
            answer.starting += pool.starting;
            answer.waiting += pool.queued;
            answer.environments.extend(views(pool));
        }
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

fn views(pool: &PoolSnapshot) -> impl Iterator<Item = EnvironmentView> {
    // The most recently used are the last to go, and so those that the floor keeps.
    let beyond = pool.environments.len().saturating_sub(pool.floor as usize);
    let mut idle_longest_first: Vec<u64> = pool.environments.iter().filter_map(|one| one.idle_us).collect();
    idle_longest_first.sort_unstable_by(|one, other| other.cmp(one));
    pool.environments.iter().map(move |one| {
        let phases = one.phases;
        let start_us = phases.queue.0 + phases.sandbox.0 + phases.boot.0 + phases.init.0;
        let rank = one.idle_us.and_then(|idle| idle_longest_first.iter().position(|other| *other == idle));
        EnvironmentView {
            function: pool.key.name.to_string(),
            region: pool.key.region.to_string(),
            version: pool.key.version.to_string(),
            tenant: pool.key.tenant.as_ref().map(ToString::to_string),
            state: if one.busy { "busy" } else { "idle" },
            memory_mb: pool.memory.0,
            resident_bytes: one.resident.0,
            start_ms: start_us as f64 / 1000.0,
            idle_s: one.idle_us.map(|us| us / 1_000_000),
            kept: why(pool, one.idle_us, rank.is_some_and(|rank| rank < beyond)),
        }
    })
}

fn why(pool: &PoolSnapshot, idle_us: Option<u64>, dispensable: bool) -> String {
    let Some(idle_us) = idle_us else {
        return if pool.retired {
            "ends after its call: replaced".to_owned()
        } else {
            "runs a call".to_owned()
        };
    };
    if !dispensable {
        return format!("provisioned: {} are kept ready", pool.floor);
    }
    let keep_s = pool.keep_us / 1_000_000;
    let left_s = pool.keep_us.saturating_sub(idle_us).div_ceil(1_000_000);
    format!("idle environments are kept {keep_s} s: ends in {left_s} s unless called or its memory is needed")
}
