//! What is served beside the AWS operations: health, metrics, and in `neap dev` what local-development tools expect.

use crate::Mode;
use bytes::Bytes;
use fleet::Fleet;
use functions::Functions;
use http::{Method, StatusCode};
use identity::Identity;
use std::sync::Arc;
use telemetry::{
    Gauge, Telemetry,
    api::{logs::Logs, usage::Usage},
};
use wire::{Gateway, RawRequest, RawResponse};

/// Mounts the endpoints. They are not signed: they tell nothing of functions' code, variables or payloads, and the
/// only one that changes anything exists in development mode alone, which is bound to loopback.
pub(crate) fn mount(
    gateway: Gateway,
    mode: Mode,
    functions: &Arc<Functions>,
    telemetry: &Telemetry,
    fleet: &Arc<Fleet>,
) -> Gateway {
    let gateway = gateway.mount("/_neap/health", |_: RawRequest| async { json(r#"{"status":"ok"}"#.into()) });
    let (gauges, metrics) = (fleet.clone(), telemetry.clone());
    let gateway = gateway.mount("/_neap/metrics", move |_: RawRequest| {
        let text = metrics.prometheus(&environments(&gauges));
        async { RawResponse::new(StatusCode::OK, Bytes::from(text)).header("content-type", METRICS) }
    });
    let packages = functions.clone();
    let gateway = gateway
        .mount(functions::DOWNLOAD_PATH, move |request: RawRequest| packages.clone().download(request));
    if mode == Mode::Serve {
        return gateway;
    }
    let names: Vec<&str> = gateway.apis().map(|api| api.name).collect();
    let health = health(&names);
    let (functions, telemetry) = (functions.clone(), telemetry.clone());
    gateway
        .mount("/_localstack/health", move |_: RawRequest| {
            let health = health.clone();
            async { json(health) }
        })
        .mount("/_localstack/state/reset", move |request: RawRequest| {
            let (functions, telemetry) = (functions.clone(), telemetry.clone());
            async move {
                if request.method != Method::POST {
                    return RawResponse::text(StatusCode::METHOD_NOT_ALLOWED, "state is reset by POST");
                }
                let outcome = async {
                    functions.reset().await.map_err(|error| error.to_string())?;
                    telemetry.reset().await.map_err(|error| error.to_string())
                };
                match outcome.await {
                    Ok(()) => RawResponse::new(StatusCode::OK, Bytes::new()),
                    Err(error) => RawResponse::text(StatusCode::INTERNAL_SERVER_ERROR, &error),
                }
            }
        })
}

/// The content type of the metrics.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn json(text: String) -> RawResponse {
    RawResponse::new(StatusCode::OK, Bytes::from(text)).header("content-type", "application/json")
}

/// The health document of the ecosystem's local tools: only services that exist are listed.
fn health(names: &[&str]) -> String {
    let services: Vec<String> =
        names.iter().filter(|name| **name != "neap").map(|name| format!(r#""{name}":"running""#)).collect();
    format!(
        r#"{{"services":{{{}}},"edition":"neap","version":"{}"}}"#,
        services.join(","),
        env!("CARGO_PKG_VERSION")
    )
}

/// What the fleet is doing now.
fn environments(fleet: &Fleet) -> Vec<Gauge> {
    let snapshot = fleet.snapshot();
    let mut gauges = Vec::new();
    for pool in &snapshot.pools {
        let key = &pool.key;
        for (state, count) in [
            ("idle", pool.idle),
            ("busy", pool.busy),
            ("starting", pool.starting),
            ("stopping", pool.stopping),
        ] {
            gauges.push(Gauge {
                name: "neap_environments",
                help: "Execution environments by state",
                labels: vec![
                    ("account", key.account.to_string()),
                    ("function", key.name.to_string()),
                    ("version", key.version.to_string()),
                    ("state", state.to_owned()),
                ],
                value: count.into(),
            });
        }
    }
    let totals = &snapshot.totals;
    for (name, help, value) in [
        ("neap_starts", "Starts of environments begun since the node began", totals.starts),
        ("neap_starts_failed", "Starts that failed since the node began", totals.start_failures),
        ("neap_environments_expired", "Idle environments ended because their time was over", totals.expired),
        ("neap_environments_evicted", "Idle environments ended to make room", totals.evicted),
        ("neap_invocations_node_full", "Invocations refused for want of memory", totals.node_full),
        (
            "neap_memory_configured_bytes",
            "Memory that live environments are configured for",
            snapshot.memory_used.bytes().0,
        ),
        ("neap_memory_limit_bytes", "What the configured memory may reach", snapshot.memory_max.bytes().0),
    ] {
        gauges.push(Gauge { name, help, labels: Vec::new(), value: value as f64 });
    }
    gauges
}

/// The list of operations that work, as Markdown: the content of `docs/operations.md`.
pub fn operations() -> String {
    wire::operations_page([Functions::API, Identity::API, Logs::API, Usage::API])
}
