//! `bench burst`: simultaneous requests to cold functions, from one to a thousand, on one function and on a hundred.

use super::{
    Outcome,
    apps::{self, App},
    floors::Floor,
    options::Options,
    setup::{apps, await_runtime, binary, counter, cpus, create, kernel, leave, progress, renew, start},
    table::{Table, mib, ms},
};
use testkit::{
    client::Client,
    load::{self, Burst},
    node::Node,
    process,
    stats::percentile,
};

/// Functions that are cold at once; a burst of fewer requests reaches as many functions.
const FUNCTIONS: usize = 100;

pub(super) fn run(options: &Options) -> Outcome<()> {
    println!("## Bursts\n");
    println!("`cargo xtask bench burst`, {} processors, {}.", cpus(), kernel());
    let neap = binary(options)?;
    let heads = [
        "burst",
        "answered",
        "429",
        "failed",
        "p50 ms",
        "p99 ms",
        "all after ms",
        "floor ms",
        "ratio",
        "starts",
        "node MiB at most",
        "environments MiB",
        "each MiB",
        "load",
    ];
    let mut table = Table::new(&heads);
    let mut reasons = Vec::new();
    for app in apps(options) {
        for functions in [1, FUNCTIONS] {
            for size in options.sizes.iter().copied().filter(|size| functions == 1 || *size >= functions) {
                progress(&format!("{size} on {functions}, {}", app.name()));
                // A node for each, so that its memory is that of this burst.
                let node = start(&neap)?;
                let row = measure(&node, app, size, functions, options);
                leave(node)?;
                let (cells, burst) = row?;
                let cells: Vec<&dyn std::fmt::Display> =
                    cells.iter().map(|cell| cell as &dyn std::fmt::Display).collect();
                table.row(&cells);
                let told = burst.refused.into_iter().chain(burst.failed);
                reasons.extend(
                    told.map(|(why, count)| {
                        format!("{size} on {functions}, {}: {count} × {why}", app.name())
                    }),
                );
            }
        }
    }
    table.print("Bursts of cold invocations");
    println!(
        "\nFloor: a server that passes the requests to bare processes of the handler, up to a hundred, without isolation, each"
    );
    println!("started for this burst.  Memory of environments is their");
    println!(
        "proportional share after the burst, each: divided by their number. Refusals and failures, by what they say:"
    );
    for reason in reasons {
        println!("- {reason}");
    }
    Ok(())
}

/// One burst on a node of its own: the row, and what was not answered.
fn measure(
    node: &Node,
    app: App,
    size: usize,
    functions: usize,
    options: &Options,
) -> Outcome<(Vec<String>, Burst)> {
    let client = node.client();
    for number in 0..functions {
        create(&client, app, &name(number), options.bootstrap.as_deref())?;
    }
    await_runtime(node, app)?;
    // What is started once for all is no part of a cold start; the function that was called is made cold again.
    super::cold::one(&client, &name(0), 0)?;
    await_runtime(node, app)?;
    renew(&client, &name(0), 0)?;
    let requests = requests(&client, size, functions)?;
    let floor = floor_ms(app, &requests)?;
    let before = counter(node, "neap_environment_starts_total")?;
    let burst = load::burst(node.address, &requests).map_err(|error| error.to_string())?;
    let started = counter(node, "neap_environment_starts_total")? - before;
    let environments = counter(node, "neap_environments")?;
    let own = |name: &str, pid: u32| pid == node.pid() || name == "neap-spawner";
    let memory: u64 = process::named_tree(node.pid())
        .into_iter()
        .filter(|(pid, name)| !own(name, *pid))
        .map(|(pid, _)| process::memory(pid).proportional)
        .sum();
    let micros = |share| ms(percentile(&burst.answered, share).as_secs_f64() * 1e6);
    let all = burst.took.as_secs_f64() * 1e6;
    let row = vec![
        format!("{size} on {functions}, {}", app.name()),
        burst.answered.len().to_string(),
        burst.refused.values().sum::<usize>().to_string(),
        burst.failed.values().sum::<usize>().to_string(),
        micros(0.5),
        micros(0.99),
        ms(all),
        ms(floor),
        format!("{:.2}", all / floor),
        started.to_string(),
        mib(process::memory(node.pid()).peak),
        mib(memory),
        mib(memory / (environments.max(1.0) as u64)),
        format!("{:.1}", process::load_average()),
    ];
    Ok((row, burst))
}

fn name(number: usize) -> String {
    format!("burst{number}")
}

/// The requests go to the functions in turn.
fn requests(client: &Client, size: usize, functions: usize) -> Outcome<Vec<bytes::Bytes>> {
    (0..size)
        .map(|number| client.invocation(&name(number % functions), apps::event(number).as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// Until the floor has answered all of them.
fn floor_ms(app: App, requests: &[bytes::Bytes]) -> Outcome<f64> {
    let floor = Floor::bare_loop(app)?;
    let burst = load::burst(floor.address, requests).map_err(|error| error.to_string())?;
    match burst.failed.into_iter().next() {
        Some((why, _)) => Err(format!("the floor failed: {why}")),
        None => Ok(burst.took.as_secs_f64() * 1e6),
    }
}
