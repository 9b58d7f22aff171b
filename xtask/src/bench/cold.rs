//! `bench cold`: cold starts one after the other, with their phases.

use super::{
    Outcome,
    apps::{self, App},
    cargo_output, floors,
    options::Options,
    setup::{apps, await_runtime, binary, cpus, create, kernel, leave, metrics, progress, renew, start},
    table::{Table, ms},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use testkit::{
    client::{self, Client},
    node::Node,
    process,
    stats::{median, percentile},
};

const PHASES: [&str; 4] = ["queue", "sandbox", "boot", "init"];

/// A node whose environments all begin with the fork or boot of their interpreter.
const NO_CELLS: &str = "[runtimes]\ninstall_sdks = false\nstem_cells_max = 0\n";

/// How cold starts of an app begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A cell waits: an interpreter, or a sandbox for an executable.
    Cell,
    /// None does.
    NoCell,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Cell => ", cell ready",
            Way::NoCell => ", no cell",
        }
    }
}

/// Waits until a cell waits for a function.
pub(super) fn cell_ready(node: &Node) -> Outcome<()> {
    for _ in 0..10_000 {
        let ready = metrics(node)?.lines().any(|line| {
            line.starts_with("neap_stem_cells{")
                && line.contains("state=\"ready\"")
                && line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0) > 0.0
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
pub(super) fn run(options: &Options) -> Outcome<()> {
    println!("## Cold starts\n");
    println!("`cargo xtask bench cold`, {} processors, {}.", cpus(), kernel());
    let neap = &binary(options)?;
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
    let mut histograms = Vec::new();
    let ways = |app| [(app, Way::Cell), (app, Way::NoCell)];
    for (app, way) in apps(options).into_iter().flat_map(ways) {
        let node = match way {
            Way::NoCell => Node::start(neap, NO_CELLS).map_err(|error| error.to_string())?,
            Way::Cell => start(neap)?,
        };
        let client = node.client();
        let name = format!("{}{}", app.name(), way.name());
        create(&client, app, "cold", options.bootstrap.as_deref())?;
        if way == Way::Cell {
            one(&client, "cold", 0)?;
        }
        let (mut spans, mut floor, mut phases) = (Vec::new(), Vec::new(), Vec::new());
        let mut fork = floors::ForkFloor::start(app)?;
        let cell = if way == Way::Cell { floors::CellFloor::start(app)? } else { None };
        for number in 0..options.colds {
            if number % 20 == 0 {
                progress(&format!("cold start {number} of {name}"));
            }
            renew(&client, "cold", number)?;
            if number == 0 && (app, way) != (App::Node, Way::NoCell) {
                // What is started once for all is no part of a cold start.
                one(&client, "cold", number)?;
                await_runtime(&node, app)?;
                renew(&client, "cold", options.colds)?;
            }
            if way == Way::Cell {
                cell_ready(&node)?;
            }
            let before = phase_sums(&node)?;
            let (span, _) = one(&client, "cold", number)?;
            spans.push(span);
            phases.push(phases_since(&node, &before)?);
            let took = match (&mut fork, &cell) {
                (Some(fork), _) => Some(fork.fork()?),
                (None, Some(cell)) => Some(cell.first()?),
                // That of executables is the bare sandbox, measured before.
                (None, None) if app == App::Rust => None,
                (None, None) => Some(floors::process_start(app)?),
            };
            floor.extend(took.map(|took| took.as_secs_f64() * 1e6));
        }
        leave(node)?;
        spans.sort_unstable();
        if options.histogram {
            histograms.push(histogram(&name, &spans, &phases));
        }
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
    for (name, histogram) in &histograms {
        histogram.print(&format!("Percentiles of cold starts by phase, ms: {name}"));
    }
    println!(
        "\nOf the client's whole request; phases p50 / p99 in ms. Floor: for Python the bare sandbox and the bare fork of a"
    );
    println!(
        "process with the same modules, which loads the handler and answers one event; for Node.js and Java a plain process that"
    );
    println!("starts the interpreter and does so; for executables the bare sandbox.");
    println!("With a cell ready: an interpreter that waits in a bare sandbox, and then does the rest.");
    if let Some(bare) = bare {
        println!("\n```text\n{}\n```", bare.trim_end());
    }
    Ok(())
}

const PERCENTILES: [(&str, f64); 9] = [
    ("p10", 0.1),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("longest", 1.0),
];

/// The distribution of each phase, and of what a request takes besides them. Percentiles of phases do not add up: a start
/// that is slow in one is not in all. `spans` are sorted, `phases` in the order of the starts.
fn histogram(name: &str, spans: &[Duration], phases: &[Option<Phases>]) -> (String, Table) {
    let mut heads = vec!["phase"];
    heads.extend(PERCENTILES.map(|(name, _)| name));
    let mut table = Table::new(&heads);
    let mut row = |what: &str, mut us: Vec<f64>| {
        us.sort_by(f64::total_cmp);
        let cells = PERCENTILES.map(|(_, share)| ms(percentile(&us, share)));
        let mut shown: Vec<&dyn std::fmt::Display> = vec![&what];
        shown.extend(cells.iter().map(|cell| cell as &dyn std::fmt::Display));
        table.row(&shown);
    };
    for (at, phase) in PHASES.iter().enumerate() {
        row(phase, phases.iter().flatten().map(|phases| phases[at]).collect());
    }
    row("phases together", phases.iter().flatten().map(|phases| phases.iter().sum()).collect());
    row("whole request", spans.iter().map(|span| span.as_secs_f64() * 1e6).collect());
    (format!("{name}, {} starts", spans.len()), table)
}

/// One invocation over a new connection: how long, and the answer.
pub(super) fn one(client: &Client, function: &str, number: usize) -> Outcome<(Duration, client::Response)> {
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

/// The median in the line `sandbox … p50 N`.
fn sandbox_median_us(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.trim_start().starts_with("sandbox "))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "p50");
    words.nth(1)?.parse().ok()
}
