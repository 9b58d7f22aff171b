//! `bench warm`: invocations of environments that are there, against their floors.

use super::{
    Outcome,
    apps::App,
    floors::{self, Floor},
    options::Options,
    setup::{apps, binary, cpus, create, kernel, leave, progress, ring, start},
    table::{Table, mib, ms, thousands},
};
use std::{net::SocketAddr, time::Duration};
use testkit::{
    client::{Client, Credentials},
    load::{self, Plan},
    process,
    stats::{median, percentile},
};

/// What is put under load.
struct Target {
    name: String,
    address: SocketAddr,
    pid: u32,
    /// The target that this one is divided by.
    floor: Option<usize>,
    app: Option<App>,
}

impl Target {
    fn of(server: &Floor, name: String, floor: Option<usize>) -> Target {
        Target { name, address: server.address, pid: server.pid(), floor, app: None }
    }
}

/// One round of one target.
struct Round {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    own_cpu_us: f64,
    all_cpu_us: f64,
    generator_cpu_us: f64,
}

/// The floors alone, for this machine.
pub(super) fn floors(options: &Options) -> Outcome<()> {
    println!("## Floors\n");
    println!("`cargo xtask bench floors`, {} processors, {}.", cpus(), kernel());
    let echo = Floor::echo()?;
    let nobody = Credentials { access_key: "AKIA0000000000000000".to_owned(), secret: "secret".to_owned() };
    let client = Client { address: echo.address, credentials: nobody };
    let mut targets = vec![Target::of(&echo, "floor: hyper echo".to_owned(), None)];
    let mut servers = Vec::new();
    for app in apps(options) {
        add_floor(app, &mut targets, &mut servers)?;
    }
    compare(options, &client, &targets)?;
    alone(options)
}

pub(super) fn run(options: &Options) -> Outcome<()> {
    println!("## Warm invocations\n");
    println!("`cargo xtask bench warm`, {} processors, {}.", cpus(), kernel());
    println!("Latencies as seen by the client. Load generator, floors and Neap share the machine.");
    let node = start(&binary(options)?)?;
    let client = node.client();
    let echo = Floor::echo()?;
    let mut targets = vec![Target::of(&echo, "floor: hyper echo".to_owned(), None)];
    let mut servers = Vec::new();
    for app in apps(options) {
        create(&client, app, function(app), options.bootstrap.as_deref())?;
        let floor = add_floor(app, &mut targets, &mut servers)?;
        targets.push(Target {
            name: format!("Neap, {}", app.name()),
            address: node.address,
            pid: node.pid(),
            floor: floor.or(Some(0)),
            app: Some(app),
        });
    }
    compare(options, &client, &targets)?;
    let memory = process::memory(node.pid());
    println!(
        "\nNeap's own process after this: {} MiB resident, {} MiB at most.",
        mib(memory.resident),
        mib(memory.peak)
    );
    leave(node)?;
    alone(options)
}

/// Starts the floor with the handler of `app`, where there is one; returns its place among the targets.
fn add_floor(app: App, targets: &mut Vec<Target>, servers: &mut Vec<Floor>) -> Outcome<Option<usize>> {
    let Some(server) = Floor::bare_loop(app)? else { return Ok(None) };
    targets.push(Target::of(&server, format!("floor: hyper + bare {} loops", app.name()), Some(0)));
    servers.push(server);
    Ok(Some(targets.len() - 1))
}

fn compare(options: &Options, client: &Client, targets: &[Target]) -> Outcome<()> {
    let heads = [
        "what",
        "conn.",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "CPU µs/op",
        "with functions",
        "generator",
        "errors",
        "load",
        "ratio",
    ];
    let mut table = Table::new(&heads);
    for &connections in &options.connections {
        measure(options, client, targets, connections, &mut table)?;
    }
    table.print("Warm invocations, hello in JSON, signed requests");
    println!(
        "\nRatio: operations per second against the floor with the same handler (for that floor: against the echo)."
    );
    println!(
        "CPU: of the server process, then with its child processes, then of the load generator, each per operation."
    );
    Ok(())
}

/// The handlers without any server.
fn alone(options: &Options) -> Outcome<()> {
    let mut table = Table::new(&["bare loop over a socket pair", "events/s", "p50 µs", "p99 µs"]);
    for app in apps(options) {
        let Some(spans) = floors::loop_alone(app, options.measured)? else { continue };
        let mean = spans.iter().map(|&us| f64::from(us)).sum::<f64>() / spans.len().max(1) as f64;
        let (p50, p99) = (percentile(&spans, 0.5), percentile(&spans, 0.99));
        table.row(&[&app.name(), &thousands(1e6 / mean.max(1.0)), &p50, &p99]);
    }
    table.print("The handlers without any server");
    Ok(())
}

/// All targets at one number of connections, in alternating rounds; adds a row of medians for each.
fn measure(
    options: &Options,
    client: &Client,
    targets: &[Target],
    connections: usize,
    table: &mut Table,
) -> Outcome<()> {
    let mut rounds: Vec<Vec<Round>> = targets.iter().map(|_| Vec::new()).collect();
    let mut errors = vec![0; targets.len()];
    let mut loads = vec![0.0; targets.len()];
    for round in 0..options.rounds {
        for (at, target) in targets.iter().enumerate() {
            progress(&format!("{} connections, round {}: {}", connections, round + 1, target.name));
            // Floors take any request; theirs are signed too, so that they parse the same bytes.
            let requests = ring(client, target.app.map_or("floor", function))?;
            let plan = Plan {
                address: target.address,
                connections,
                warm_up: options.measured.mul_f64(0.4).max(Duration::from_millis(500)),
                measured: options.measured,
                requests,
            };
            if round == 0 {
                // Everything that this many connections need is started before the first measurement.
                load::run(&plan, || ()).map_err(|error| format!("{}: {error}", target.name))?;
            }
            let counters = || (process::cpu(target.pid), process::cpu_of_tree(target.pid));
            let (outcome, before, after) = load::run(&plan, counters).map_err(|error| error.to_string())?;
            if let Some(error) = &outcome.first_error {
                progress(&format!("  an error: {error}"));
            }
            if outcome.answers == 0 {
                return Err(format!("{} answered nothing: {:?}", target.name, outcome.first_error));
            }
            errors[at] += outcome.errors;
            loads[at] = process::load_average();
            let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / outcome.answers.max(1) as f64;
            rounds[at].push(Round {
                per_second: outcome.per_second(),
                p50_us: f64::from(percentile(&outcome.latencies_us, 0.5)),
                p99_us: f64::from(percentile(&outcome.latencies_us, 0.99)),
                own_cpu_us: each(after.0.saturating_sub(before.0)),
                all_cpu_us: each(after.1.saturating_sub(before.1)),
                generator_cpu_us: each(outcome.cpu),
            });
        }
    }
    let middle = |at: usize, of: fn(&Round) -> f64| median(rounds[at].iter().map(of).collect());
    for (at, target) in targets.iter().enumerate() {
        let rate = middle(at, |round| round.per_second);
        let ratio = target.floor.map_or_else(String::new, |floor| {
            format!("{:.2}", rate / middle(floor, |round| round.per_second).max(1.0))
        });
        table.row(&[
            &target.name,
            &connections,
            &thousands(rate),
            &ms(middle(at, |round| round.p50_us)),
            &ms(middle(at, |round| round.p99_us)),
            &format!("{:.1}", middle(at, |round| round.own_cpu_us)),
            &format!("{:.1}", middle(at, |round| round.all_cpu_us)),
            &format!("{:.1}", middle(at, |round| round.generator_cpu_us)),
            &errors[at],
            &format!("{:.1}", loads[at]),
            &ratio,
        ]);
    }
    Ok(())
}

fn function(app: App) -> &'static str {
    match app {
        App::Python => "python",
        App::Node => "node",
        App::Rust => "rust",
    }
}
