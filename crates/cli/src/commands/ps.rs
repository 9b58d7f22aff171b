//! `neap ps`: the execution environments of the node, and why each is kept.

use super::{Ending, client};
use crate::{
    args,
    client::Call,
    error::Error,
    output::{Output, Paint, size, table},
};
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

/// What the node answers.
#[derive(Debug, Serialize, Deserialize)]
struct Environments {
    environments: Vec<Environment>,
    planned: Vec<Planned>,
    starting: u32,
    waiting: u32,
    stem_cells: Vec<StemCells>,
}

/// Interpreters that wait for functions of one kind.
#[derive(Debug, Serialize, Deserialize)]
struct StemCells {
    runtime: String,
    memory_mb: u32,
    ready: u32,
    starting: u32,
    resident_bytes: u64,
}

/// One environment.
#[derive(Debug, Serialize, Deserialize)]
struct Environment {
    function: String,
    region: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    state: String,
    memory_mb: u32,
    resident_bytes: u64,
    start_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_in_s: Option<u64>,
    kept: String,
}

/// Environments that are to be started ahead of calls.
#[derive(Debug, Serialize, Deserialize)]
struct Planned {
    function: String,
    region: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    starts_in_s: u64,
    count: u32,
    why: String,
}

/// Runs the command.
pub(crate) async fn run(arguments: args::List, output: Output) -> Result<Ending, Error> {
    let found: Environments = client(&arguments.connection)?
        .json(Call {
            service: "neap-fleet",
            operation: "ListEnvironments",
            method: Method::GET,
            path: "/_neap/v1/environments".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        })
        .await?;
    if output.json {
        output.json_document(&found);
        return Ok(Ending::Success);
    }
    if found.environments.is_empty() {
        output.note("no environments: nothing was called lately, and nothing runs");
    } else {
        output.line(&listing(&found.environments, output.paint()));
    }
    for one in &found.planned {
        let version = version(&one.version, one.tenant.as_ref());
        output.note(&format!(
            "{} {version}: {} to be started in {} s: {}",
            one.function, one.count, one.starts_in_s, one.why
        ));
    }
    if found.starting + found.waiting > 0 {
        output.note(&format!("{} starting, {} calls waiting", found.starting, found.waiting));
    }
    for kind in &found.stem_cells {
        output.note(&format!(
            "{} of {} MB: {} interpreters wait for functions, {} in all; {} more boot",
            kind.runtime,
            kind.memory_mb,
            kind.ready,
            size(kind.resident_bytes),
            kind.starting
        ));
    }
    Ok(Ending::Success)
}

fn listing(environments: &[Environment], paint: Paint) -> String {
    let rows = environments.iter().map(|one| row(one, paint)).collect();
    let header = ["FUNCTION", "VERSION", "STATE", "MEMORY", "RESIDENT", "START", "KEPT"];
    table(&header, &[3, 4, 5], rows)
}

fn row(one: &Environment, paint: Paint) -> Vec<String> {
    let version = version(&one.version, one.tenant.as_ref());
    let state = if one.state == "busy" { paint.green("busy") } else { one.state.clone() };
    vec![
        one.function.clone(),
        version,
        state,
        format!("{} MB", one.memory_mb),
        size(one.resident_bytes),
        format!("{:.1} ms", one.start_ms),
        one.kept.clone(),
    ]
}

fn version(version: &str, tenant: Option<&String>) -> String {
    match tenant {
        Some(tenant) => format!("{version} for {tenant}"),
        None => version.to_owned(),
    }
}
