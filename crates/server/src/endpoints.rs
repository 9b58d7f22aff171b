//! What is served beside the AWS operations: health, metrics, and in `neap dev` what local-development tools expect.

use crate::{Mode, environments::Environments, system::SystemClock};
use base::{Clock as _, Millis, QueueDepth};
use bytes::Bytes;
use fleet::{Fleet, Totals};
use functions::Functions;
use http::{Method, StatusCode};
use identity::Identity;
use queues::Queues;
use runtimes::Runtimes;
use scaling::Scaling;
use std::{collections::BTreeMap, sync::Arc};
use telemetry::{
    Metric, MetricKind, Telemetry,
    api::{logs::Logs, monitoring::Monitoring, tracing::Tracing, usage::Usage},
};
use wire::{Arriving, Gateway, RawRequest, RawResponse, Verifier};

/// What the endpoints are about.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) functions: &'a Arc<Functions>,
    pub(crate) queues: &'a Arc<Queues>,
    pub(crate) scaling: &'a Arc<Scaling>,
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) metrics: &'a Metrics,
    pub(crate) runtimes: &'a Arc<Runtimes>,
    pub(crate) clock: &'a Arc<SystemClock>,
}

/// Mounts the endpoints. They are not signed, function URLs apart, which look after themselves: they tell nothing of
/// functions' code, variables or payloads, and the only one that changes anything exists in development mode alone, which
/// is bound to loopback.
pub(crate) fn mount(gateway: Gateway, mode: Mode, parts: Parts<'_>, verifier: Verifier) -> Gateway {
    let Parts { functions, queues, scaling, telemetry, metrics, runtimes, clock } = parts;
    let runtimes = runtimes.clone();
    let gateway = gateway.mount("/_neap/health", move |_: RawRequest| {
        // Functions may be deployed and called meanwhile; their first start waits.
        let state = if runtimes.prepared() { "ready" } else { "preparing" };
        async move { json(format!(r#"{{"status":"ok","runtimes":"{state}"}}"#)) }
    });
    let metrics = metrics.clone();
    let gateway = gateway.mount("/_neap/metrics", move |_: RawRequest| {
        let text = metrics();
        async { RawResponse::new(StatusCode::OK, Bytes::from(text)).header("content-type", METRICS) }
    });
    let packages = functions.clone();
    let gateway = gateway
        .mount(functions::DOWNLOAD_PATH, move |request: RawRequest| packages.clone().download(request));
    let (verifier, served) = (Arc::new(verifier), functions.clone());
    let urls =
        move |request: RawRequest, body: Arriving| served.clone().serve_url(verifier.clone(), request, body);
    let body_max = base::limits::PAYLOAD_SYNC_MAX.0 as usize;
    let gateway = gateway.mount_arriving(functions::URL_PATH, body_max, urls.clone()).mount_host_arriving(
        "lambda-url",
        body_max,
        urls,
    );
    if mode == Mode::Serve {
        return gateway;
    }
    let names: Vec<&str> = gateway.apis().map(|api| api.name).collect();
    let health = health(&names);
    let (functions, telemetry, clock) = (functions.clone(), telemetry.clone(), clock.clone());
    let (queues, scaling) = (queues.clone(), scaling.clone());
    gateway
        .mount("/_neap/clock", move |request: RawRequest| std::future::ready(set_clock(&clock, request)))
        .mount("/_localstack/health", move |_: RawRequest| {
            let health = health.clone();
            async { json(health) }
        })
        .mount("/_localstack/state/reset", move |request: RawRequest| {
            let (functions, telemetry) = (functions.clone(), telemetry.clone());
            let (queues, scaling) = (queues.clone(), scaling.clone());
            async move {
                if request.method != Method::POST {
                    return RawResponse::text(StatusCode::METHOD_NOT_ALLOWED, "state is reset by POST");
                }
                let outcome = async {
                    scaling.reset().await.map_err(|error| error.to_string())?;
                    functions.reset().await.map_err(|error| error.to_string())?;
                    queues.reset().await.map_err(|error| error.to_string())?;
                    telemetry.reset().await.map_err(|error| error.to_string())
                };
                match outcome.await {
                    Ok(()) => RawResponse::new(StatusCode::OK, Bytes::new()),
                    Err(error) => RawResponse::text(StatusCode::INTERNAL_SERVER_ERROR, &error),
                }
            }
        })
}

/// How far the clock can be moved on at once: a year.
const ADVANCE_MAX_MS: u64 = 366 * 24 * 3_600_000;

/// What `POST /_neap/clock` says.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    /// By how much the node's clock is moved on.
    advance_ms: u64,
}

/// Shows the clock of a development node, and by POST moves it on: whatever waits for a time that has come happens.
fn set_clock(clock: &SystemClock, request: RawRequest) -> RawResponse {
    match request.method {
        Method::GET => {}
        Method::POST => match serde_json::from_slice(&request.body) {
            Ok(Advance { advance_ms }) if advance_ms <= ADVANCE_MAX_MS => {
                clock.advance(Millis(advance_ms));
            }
            Ok(Advance { advance_ms }) => {
                let text = format!("advance_ms of {advance_ms} exceeds {ADVANCE_MAX_MS}");
                return RawResponse::text(StatusCode::BAD_REQUEST, &text);
            }
            Err(error) => {
                let text = format!(r#"expected {{"advance_ms": milliseconds}}: {error}"#);
                return RawResponse::text(StatusCode::BAD_REQUEST, &text);
            }
        },
        _ => {
            return RawResponse::text(
                StatusCode::METHOD_NOT_ALLOWED,
                "the clock is read by GET and moved by POST",
            );
        }
    }
    json(format!(r#"{{"now_ms":{},"ahead_ms":{}}}"#, clock.now().0, clock.ahead().0))
}

/// The metrics of now, as Prometheus text.
pub(crate) type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The content type of the metrics.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn json(text: String) -> RawResponse {
    RawResponse::new(StatusCode::OK, Bytes::from(text)).header("content-type", "application/json")
}

/// The health document of the ecosystem's local tools: only services that exist are listed.
fn health(names: &[&str]) -> String {
    let services: Vec<String> = names
        .iter()
        .filter(|name| !name.starts_with("neap"))
        .map(|name| format!(r#""{name}":"running""#))
        .collect();
    format!(
        r#"{{"services":{{{}}},"edition":"neap","version":"{}"}}"#,
        services.join(","),
        env!("CARGO_PKG_VERSION")
    )
}

/// What is shown beside telemetry's own metrics.
pub(crate) fn shown(fleet: &Fleet, functions: &Functions, telemetry: &Telemetry) -> Vec<Metric> {
    let mut shown = environments(fleet);
    shown.extend(events(functions));
    shown.extend(mappings(functions));
    shown.push(counter(
        "neap_habits_written",
        "Habits of functions written down, to be known after a restart",
        functions.habits_written(),
    ));
    shown.push(counter(
        "neap_trace_datagrams_dropped",
        "Datagrams of functions to the X-Ray daemon that were no segments or did not fit",
        telemetry.trace_datagrams_dropped(),
    ));
    shown.extend(telemetry.trace_daemons());
    shown
}

/// What the fleet is doing now, and what became of its environments.
fn environments(fleet: &Fleet) -> Vec<Metric> {
    let snapshot = fleet.snapshot();
    // Revisions and tenants of one version are one series.
    let mut states = BTreeMap::new();
    for pool in &snapshot.pools {
        let key = &pool.key;
        for (state, count) in [
            ("idle", pool.idle - pool.prepared),
            ("snapstart", pool.prepared),
            ("busy", pool.busy),
            ("starting", pool.starting),
            ("stopping", pool.stopping),
        ] {
            let series = (key.account, key.name.clone(), key.version, state);
            *states.entry(series).or_insert(0_u32) += count;
        }
    }
    let mut metrics: Vec<Metric> = (states.into_iter())
        .map(|((account, function, version, state), count)| Metric {
            kind: MetricKind::Gauge,
            name: "neap_environments",
            help: "Execution environments by state",
            labels: vec![
                ("account", account.to_string()),
                ("function", function.to_string()),
                ("version", version.to_string()),
                ("state", state.to_owned()),
            ],
            value: count.into(),
        })
        .collect();
    let Totals {
        starts,
        foreseen,
        foreseen_used,
        prepared,
        prepared_used,
        renewed,
        start_failures,
        expired,
        evicted,
        node_full,
        turns_waited,
        turns_in_vain,
        ..
    } = snapshot.totals;
    let (used, max) = (snapshot.memory_used.bytes().0, snapshot.memory_max.bytes().0);
    metrics.extend([
        counter("neap_environment_starts", "Starts of environments begun", starts),
        counter("neap_environment_prestarts", "Of these, starts ahead of calls that were expected", foreseen),
        counter("neap_environment_prestarts_used", "Of these, such that a call has used", foreseen_used),
        counter(
            "neap_snapstart_starts",
            "Of these, starts of versions with SnapStart ahead of calls",
            prepared,
        ),
        counter("neap_snapstart_restores", "Of these, such that a call has used", prepared_used),
        counter(
            "neap_snapstart_renewals",
            "Environments that waited for a call too long and were replaced",
            renewed,
        ),
        counter("neap_environment_start_failures", "Starts of environments that failed", start_failures),
        counter("neap_environments_expired", "Idle environments ended because their time was over", expired),
        counter("neap_environments_evicted", "Idle environments ended to make room", evicted),
        counter("neap_invocations_node_full", "Invocations refused for want of memory", node_full),
        counter(
            "neap_invocation_turns",
            "Invocations that waited for their turn, since no processor had time",
            turns_waited,
        ),
        counter("neap_invocation_turns_in_vain", "Of these, such that then began without", turns_in_vain),
        gauge("neap_memory_configured_bytes", "Memory that live environments are configured for", used),
        gauge("neap_memory_limit_bytes", "What the configured memory may reach", max),
    ]);
    metrics
}

/// What became of zygotes, and of the starts that could have been theirs.
pub(crate) fn zygotes(runtimes: &Runtimes) -> Vec<Metric> {
    let counts = runtimes.zygotes();
    let mut metrics = vec![gauge("neap_zygotes", "Zygotes that take starts", counts.ready)];
    for (how, count) in [("forked", counts.forked), ("executed", counts.executed)] {
        let starts = counter("neap_zygote_starts", "Starts of runtimes that have zygotes, by how", count);
        metrics.push(Metric { labels: vec![("how", how.to_owned())], ..starts });
    }
    for (why, count) in counts.ended {
        let ended = counter("neap_zygotes_ended", "Ends of zygotes, by reason", count);
        metrics.push(Metric { labels: vec![("reason", why.as_str().to_owned())], ..ended });
    }
    metrics
}

/// What became of messages since the node began.
pub(crate) fn messages(totals: queues::Totals) -> Vec<Metric> {
    let queues::Totals { sent, received, deleted, empty_receives, dead_lettered } = totals;
    let by_step = |(step, count)| Metric {
        labels: vec![("step", String::from(step))],
        ..counter("neap_queue_messages", "Messages of queues, by what was done with them", count)
    };
    let mut metrics: Vec<Metric> =
        [("sent", sent), ("received", received), ("deleted", deleted), ("dead-lettered", dead_lettered)]
            .map(by_step)
            .into();
    metrics.push(counter("neap_queue_empty_receives", "Receives that found nothing", empty_receives));
    metrics
}

/// What queues hold.
pub(crate) fn depths(measured: &queues::Measured) -> Vec<Metric> {
    let of_one = |(key, depth): &(queues::model::QueueKey, QueueDepth)| {
        let labels = vec![
            ("account", key.account.to_string()),
            ("region", key.region.to_string()),
            ("queue", key.name.to_string()),
        ];
        let by_state = |(state, count)| Metric {
            labels: labels.iter().cloned().chain([("state", String::from(state))]).collect(),
            ..gauge("neap_queue_depth", "Messages of a queue, as of the last minute", count)
        };
        let states = [("visible", depth.visible), ("in-flight", depth.in_flight), ("delayed", depth.delayed)];
        let mut metrics: Vec<Metric> = states.map(by_state).into();
        let age = gauge(
            "neap_queue_oldest_message_age_seconds",
            "Since the oldest message of a queue was sent, as of the last minute",
            depth.oldest_age.0 / 1_000,
        );
        metrics.push(Metric { labels, ..age });
        metrics
    };
    measured.iter().flat_map(of_one).collect()
}

/// Interpreters that wait for functions, and what became of those before.
pub(crate) fn stem_cells(cells: &runtimes::CellSnapshot) -> Vec<Metric> {
    let mut metrics = vec![
        counter("neap_stem_cells_made", "Stem cells that were made ready", cells.made),
        counter("neap_stem_cells_used", "Stem cells that became the process of a function", cells.used),
        counter(
            "neap_stem_cells_missed",
            "Starts that could have used a stem cell and found none",
            cells.missed,
        ),
        counter(
            "neap_stem_cells_lost",
            "Stem cells that ended while they waited or did not answer",
            cells.lost,
        ),
    ];
    for kind in &cells.kinds {
        let labels = [("runtime", kind.runtime.clone()), ("memory_mb", kind.memory.0.to_string())];
        for (state, count) in [("ready", kind.ready), ("starting", kind.starting)] {
            let mut labels = labels.to_vec();
            labels.push(("state", state.to_owned()));
            metrics.push(Metric { labels, ..gauge("neap_stem_cells", "Stem cells by state", count.into()) });
        }
        metrics.push(Metric {
            labels: labels.to_vec(),
            ..gauge("neap_stem_cells_resident_bytes", "Memory in use by waiting stem cells", kind.resident.0)
        });
    }
    metrics
}

/// What became of messages of event source mappings.
fn mappings(functions: &Functions) -> Vec<Metric> {
    let counts = functions.mapping_counts();
    vec![
        gauge("neap_event_source_pollers", "Event source mappings that this node polls", counts.pollers),
        counter("neap_event_source_polled", "Messages received from event sources", counts.polled),
        counter("neap_event_source_filtered", "Messages that no filter wanted", counts.filtered),
        counter("neap_event_source_invoked", "Batches that functions were invoked with", counts.invoked),
        counter(
            "neap_event_source_refused",
            "Batches without environment: throttled, no memory, no start",
            counts.refused,
        ),
        counter("neap_event_source_deleted", "Messages deleted when they were done with", counts.deleted),
        counter("neap_event_source_failed", "Messages left to become visible again", counts.failed),
        counter(
            "neap_event_source_looped",
            "Messages kept from a function that they have come back to too often",
            counts.looped,
        ),
    ]
}

/// What became of asynchronous invocations.
fn events(functions: &Functions) -> Vec<Metric> {
    let counts = functions.event_counts();
    let mut metrics = vec![
        counter(
            "neap_response_streams_abandoned",
            "Streamed answers whose reader left before the end",
            functions.abandoned_streams(),
        ),
        gauge("neap_events_backlog", "Asynchronous invocations waiting or running", counts.backlog),
        counter("neap_events_accepted", "Asynchronous invocations put on disk", counts.accepted),
        counter(
            "neap_events_succeeded",
            "Asynchronous invocations answered by their function",
            counts.succeeded,
        ),
        counter("neap_event_attempts_failed", "Attempts that ended in a function error", counts.failed),
        counter(
            "neap_event_attempts_refused",
            "Attempts without environment: throttled, no memory, no start",
            counts.refused,
        ),
    ];
    for (reason, count) in [
        ("retries_exhausted", counts.dropped_exhausted),
        ("too_old", counts.dropped_aged),
        ("unrunnable", counts.dropped_unrunnable),
    ] {
        let dropped = counter("neap_events_dropped", "Asynchronous invocations given up, by reason", count);
        metrics.push(Metric { labels: vec![("reason", reason.to_owned())], ..dropped });
    }
    metrics
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric { kind: MetricKind::Counter, name, help, labels: Vec::new(), value: value as f64 }
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric { kind: MetricKind::Gauge, name, help, labels: Vec::new(), value: value as f64 }
}

/// The list of operations that work, as Markdown: the content of `docs/operations.md`.
pub fn operations() -> String {
    wire::operations_page([
        Functions::API,
        Queues::API,
        queues::api::Inspection::API,
        Scaling::API,
        Identity::API,
        Logs::API,
        Monitoring::API,
        Tracing::API,
        Usage::API,
        Environments::API,
    ])
}
