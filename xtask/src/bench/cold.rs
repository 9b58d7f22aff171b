//! Cold starts: one after the other with their phases, and bursts.

use super::{
    Outcome,
    apps::{self, App},
    cargo_output, floors,
    invoke::{active, apps, create, leave, progress, start},
    options::Options,
    table::{Table, ms},
};
use http::Method;
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};
use testkit::{
    client::{self, Client},
    load,
    node::Node,
    process,
    stats::{median, percentile},
};

const PHASES: [&str; 4] = ["queue", "sandbox", "boot", "init"];
const BURST: usize = 100;

/// A node whose environments all begin with the boot of their interpreter.
const NO_CELLS: &str = "[runtimes]\ninstall_sdks = false\nstem_cells_max = 0\n";

/// How cold starts of an app begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is but one.
    Only,
    /// An interpreter waits.
    Cell,
    /// None does.
    NoCell,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Only => "",
            Way::Cell => ", cell ready",
            Way::NoCell => ", no cell",
        }
    }
}

fn ways(app: App) -> Vec<(App, Way)> {
    match app {
        App::Node => vec![(app, Way::Cell), (app, Way::NoCell)],
        App::Python | App::Rust => vec![(app, Way::Only)],
    }
}

/// Waits until an interpreter waits for a function.
fn cell_ready(node: &Node) -> Outcome<()> {
    for _ in 0..10_000 {
        let ready = metrics(node)?.lines().any(|line| {
            line.starts_with("neap_stem_cells{") && line.contains("state=\"ready\"") && !line.ends_with(" 0")
        });
        if ready {
            // Its boot has left traces in the processor's queues and caches, as have the questions.
            std::thread::sleep(Duration::from_millis(20));
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err("no stem cell became ready".to_owned())
}

/// Microseconds of each phase of one cold start, in the order of [`PHASES`].
type Phases = [f64; 4];

/// Cold starts one after the other: each on a configuration that was just changed.
pub(super) fn starts(options: &Options, neap: &Path) -> Outcome<()> {
    progress("bare sandbox");
    let bare = cargo_output(&[
        "run",
        "--release",
        "--quiet",
        "--package",
        "neap-sandbox",
        "--example",
        "bench_spawn",
    ])
    .inspect_err(|error| progress(error))
    .ok();
    let sandbox_us = bare.as_deref().and_then(sandbox_median_us);
    let heads =
        ["cold start", "p50 ms", "p99 ms", "queue", "sandbox", "boot", "init", "floor ms", "ratio", "load"];
    let mut table = Table::new(&heads);
    for (app, way) in apps(options).into_iter().flat_map(ways) {
        let node = match way {
            Way::NoCell => Node::start(neap, NO_CELLS).map_err(|error| error.to_string())?,
            Way::Only | Way::Cell => start(neap)?,
        };
        let client = node.client();
        let name = format!("{}{}", app.name(), way.name());
        create(&client, app, "cold", options)?;
        if way == Way::Cell {
            one(&client, "cold", 0)?;
        }
        let (mut spans, mut floor, mut phases) = (Vec::new(), Vec::new(), Vec::new());
        let mut fork = floors::ForkFloor::start(app)?;
        for number in 0..options.colds {
            if number % 20 == 0 {
                progress(&format!("cold start {number} of {name}"));
            }
            renew(&client, "cold", number)?;
            if number == 0 && way != Way::NoCell {
                // What is started once for all is no part of a cold start.
                one(&client, "cold", number)?;
                await_zygote(&node, app)?;
                renew(&client, "cold", options.colds)?;
            }
            if way == Way::Cell {
                cell_ready(&node)?;
            }
            let before = phase_sums(&node)?;
            let (span, _) = one(&client, "cold", number)?;
            spans.push(span);
            phases.push(phases_since(&node, &before)?);
            let took = match (&mut fork, way) {
                (Some(fork), _) => Some(fork.fork()?),
                (None, Way::Cell) => floors::stem_start(app)?,
                (None, Way::Only | Way::NoCell) => floors::process_start(app)?,
            };
            floor.extend(took.map(|took| took.as_secs_f64() * 1e6));
        }
        leave(node)?;
        spans.sort_unstable();
        let micros = |span: Duration| span.as_secs_f64() * 1e6;
        let (p50, p99) = (micros(percentile(&spans, 0.5)), micros(percentile(&spans, 0.99)));
        let phase = |at: usize| {
            let mut values: Vec<f64> = phases.iter().flatten().map(|phases| phases[at]).collect();
            values.sort_by(f64::total_cmp);
            if values.is_empty() {
                return "–".to_owned();
            }
            format!("{} / {}", ms(percentile(&values, 0.5)), ms(percentile(&values, 0.99)))
        };
        let floor = match (floor.is_empty(), fork) {
            (true, _) => sandbox_us,
            (false, None) => Some(median(floor)),
            // A fork alone is in no sandbox.
            (false, Some(_)) => sandbox_us.map(|sandbox| sandbox + median(floor)),
        };
        table.row(&[
            &name,
            &ms(p50),
            &ms(p99),
            &phase(0),
            &phase(1),
            &phase(2),
            &phase(3),
            &floor.map_or_else(|| "–".to_owned(), ms),
            &floor.map_or_else(|| "–".to_owned(), |floor| format!("{:.2}", p50 / floor)),
            &format!("{:.1}", process::load_average()),
        ]);
    }
    table.print("Cold starts, one after the other");
    println!(
        "\nOf the client's whole request; phases p50 / p99 in ms. Floor: for Python the bare sandbox and the bare fork of a"
    );
    println!(
        "process with the same modules, which loads the handler and answers one event; for Node.js a plain process that"
    );
    println!("starts the interpreter and does so; for executables the bare sandbox.");
    println!("With a cell ready: a plain process that has booted before, and then does the rest.");
    if let Some(bare) = bare {
        println!("\n```text\n{}\n```", bare.trim_end());
    }
    Ok(())
}

/// All at once on one cold function, and one each on many cold functions.
pub(super) fn bursts(options: &Options, neap: &Path) -> Outcome<()> {
    let heads =
        ["burst", "answered", "p50 ms", "p99 ms", "all after ms", "starts", "errors", "memory MiB", "load"];
    let mut table = Table::new(&heads);
    for app in apps(options) {
        let node = start(neap)?;
        let client = node.client();
        progress(&format!("burst of {BURST} on one function, {}", app.name()));
        create(&client, app, "one", options)?;
        await_zygote(&node, app)?;
        let requests: Result<Vec<_>, _> =
            (0..BURST).map(|number| client.invocation("one", apps::event(number).as_bytes())).collect();
        burst_row(&node, &format!("{BURST} on one function, {}", app.name()), requests, &mut table)?;

        progress(&format!("burst of {BURST} on {BURST} functions, {}", app.name()));
        for number in 0..BURST {
            create(&client, app, &format!("each{number}"), options)?;
        }
        let requests: Result<Vec<_>, _> = (0..BURST)
            .map(|number| client.invocation(&format!("each{number}"), apps::event(number).as_bytes()))
            .collect();
        burst_row(&node, &format!("{BURST} on {BURST} functions, {}", app.name()), requests, &mut table)?;
        leave(node)?;
    }
    table.print("Bursts of cold invocations");
    Ok(())
}

fn burst_row(
    node: &Node,
    name: &str,
    requests: Result<Vec<bytes::Bytes>, testkit::Error>,
    table: &mut Table,
) -> Outcome<()> {
    let before = counter(node, "neap_environment_starts_total")?;
    let requests = requests.map_err(|error| error.to_string())?;
    let (spans, errors) = load::burst(node.address, &requests).map_err(|error| error.to_string())?;
    let started = counter(node, "neap_environment_starts_total")? - before;
    let memory: u64 =
        process::tree(node.pid()).into_iter().map(|pid| process::memory(pid).proportional).sum();
    let micros = |share| ms(percentile(&spans, share).as_secs_f64() * 1e6);
    table.row(&[
        &name,
        &spans.len(),
        &micros(0.5),
        &micros(0.99),
        &micros(1.0),
        &started,
        &errors,
        &super::table::mib(memory),
        &format!("{:.1}", process::load_average()),
    ]);
    Ok(())
}

/// Waits until starts of the app are forked, if they ever are.
fn await_zygote(node: &Node, app: apps::App) -> Outcome<()> {
    for _ in 0..if matches!(app, apps::App::Python) { 1_000 } else { 0 } {
        if counter(node, "neap_zygotes")? > 0.0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Changes the configuration, so that no environment of before serves.
pub(super) fn renew(client: &Client, function: &str, number: usize) -> Outcome<()> {
    let path = format!("/2015-03-31/functions/{function}/configuration");
    let change = json!({ "Environment": { "Variables": { "ROUND": number.to_string() } } });
    client.lambda(&Method::PUT, &path, &change).map_err(|error| error.to_string())?;
    active(client, function)
}

/// One invocation over a new connection: how long, and the answer.
fn one(client: &Client, function: &str, number: usize) -> Outcome<(Duration, client::Response)> {
    let request =
        client.invocation(function, apps::event(number).as_bytes()).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let response = client.send(&request).map_err(|error| error.to_string())?;
    let took = began.elapsed();
    if response.status == 200 && !response.head.to_ascii_lowercase().contains("x-amz-function-error") {
        return Ok((took, response));
    }
    Err(format!("{function} answered {}: {}", response.status, String::from_utf8_lossy(&response.body)))
}

/// Sums of all phases in the node's metrics, in microseconds, and how many starts they are of.
#[derive(Clone, Debug, Default)]
struct PhaseSums {
    us: BTreeMap<&'static str, f64>,
    starts: f64,
}

fn phase_sums(node: &Node) -> Outcome<PhaseSums> {
    let text = metrics(node)?;
    let mut sums = PhaseSums::default();
    for line in text.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        for phase in PHASES {
            if !name.contains(&format!("phase=\"{phase}\"")) {
                continue;
            }
            if name.starts_with("neap_cold_start_phase_seconds_sum") {
                *sums.us.entry(phase).or_default() += value * 1e6;
            } else if phase == "sandbox" && name.starts_with("neap_cold_start_phase_seconds_count") {
                sums.starts += value;
            }
        }
    }
    Ok(sums)
}

/// Phases of the one cold start since `before`; it is metered soon after its answer. `None` if it never is.
fn phases_since(node: &Node, before: &PhaseSums) -> Outcome<Option<Phases>> {
    for _ in 0..100 {
        let now = phase_sums(node)?;
        if now.starts >= before.starts + 1.0 {
            let since = |phase| {
                let value = |sums: &PhaseSums| sums.us.get(phase).copied().unwrap_or(0.0);
                value(&now) - value(before)
            };
            return Ok(Some(PHASES.map(since)));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(None)
}

/// A metric, summed over its labels.
fn counter(node: &Node, metric: &str) -> Outcome<f64> {
    let text = metrics(node)?;
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| name.split('{').next() == Some(metric))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    if values.is_empty() { Err(format!("the node has no metric {metric}")) } else { Ok(values.iter().sum()) }
}

fn metrics(node: &Node) -> Outcome<String> {
    let answer = client::get(node.address, "/_neap/metrics").map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// The median in the line `sandbox … p50 N`.
fn sandbox_median_us(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.trim_start().starts_with("sandbox "))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "p50");
    words.nth(1)?.parse().ok()
}
