//! `bench warm`: invocations of environments that are there, against their floors.

use super::{
    Outcome,
    apps::{self, App},
    floors::{self, Floor},
    options::Options,
    rounds::{self, Server},
    setup::{active, apps, binary, cpus, create, deploy, kernel, leave, ring, start},
    table::{Table, mib, ms, thousands},
};
use http::Method;
use serde_json::json;
use std::net::SocketAddr;
use testkit::{
    client::{Client, Credentials},
    node::Node,
    process,
    stats::percentile,
};

/// What is put under load.
struct Target<'n> {
    name: String,
    address: SocketAddr,
    pid: u32,
    /// The target that this one is divided by.
    floor: Option<usize>,
    /// What is called and where, unless it is a floor.
    function: Option<(&'n Node, &'static str)>,
}

impl Target<'_> {
    fn of(server: &Floor, name: String, floor: Option<usize>) -> Self {
        Target { name, address: server.address, pid: server.pid(), floor, function: None }
    }
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
    let beside = options.beside.as_deref().map(start).transpose()?;
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
            floor: Some(floor),
            function: Some((&node, function(app))),
        });
        if let Some(beside) = &beside {
            create(&beside.client(), app, function(app), options.bootstrap.as_deref())?;
            targets.push(Target {
                name: format!("Neap beside it, {}", app.name()),
                address: beside.address,
                pid: beside.pid(),
                floor: Some(floor),
                function: Some((beside, function(app))),
            });
        }
        if let (App::Python, Some(folder)) = (app, &options.stock) {
            create_stock(&client, &apps::stock_package(folder)?)?;
            let server = Floor::stock(folder)?;
            targets.push(Target::of(&server, "floor: hyper + awslambdaric".to_owned(), Some(0)));
            servers.push(server);
            let floor = targets.len() - 1;
            targets.push(Target {
                name: "Neap, Python by awslambdaric".to_owned(),
                address: node.address,
                pid: node.pid(),
                floor: Some(floor),
                function: Some((&node, STOCK)),
            });
        }
    }
    compare(options, &client, &targets)?;
    let memory = process::memory(node.pid());
    println!(
        "\nNeap's own process after this: {} MiB resident, {} MiB at most.",
        mib(memory.resident),
        mib(memory.peak)
    );
    drop(targets);
    leave(node)?;
    beside.map_or(Ok(()), leave)?;
    alone(options)
}

/// Starts the floor with the handler of `app`; returns its place among the targets.
fn add_floor(app: App, targets: &mut Vec<Target<'_>>, servers: &mut Vec<Floor>) -> Outcome<usize> {
    let server = Floor::bare_loop(app)?;
    targets.push(Target::of(&server, format!("floor: hyper + bare {} loops", app.name()), Some(0)));
    servers.push(server);
    Ok(targets.len() - 1)
}

fn compare(options: &Options, client: &Client, targets: &[Target<'_>]) -> Outcome<()> {
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
        let spans = floors::loop_alone(app, options.measured)?;
        let mean = spans.iter().map(|&us| f64::from(us)).sum::<f64>() / spans.len().max(1) as f64;
        let (p50, p99) = (percentile(&spans, 0.5), percentile(&spans, 0.99));
        table.row(&[&app.name(), &thousands(1e6 / mean.max(1.0)), &p50, &p99]);
    }
    table.print("The handlers without any server");
    Ok(())
}

/// All targets at one number of connections; adds a row of medians for each.
fn measure(
    options: &Options,
    client: &Client,
    targets: &[Target<'_>],
    connections: usize,
    table: &mut Table,
) -> Outcome<()> {
    let servers: Vec<_> = targets
        .iter()
        .map(|target| Server { name: &target.name, address: target.address, pid: target.pid })
        .collect();
    // Floors take any request; theirs are signed too, so that they parse the same bytes.
    let requests = |at: usize| match targets[at].function {
        Some((node, function)) => ring(&node.client(), function),
        None => ring(client, "floor"),
    };
    let figures = rounds::alternate(options, connections, &servers, requests)?;
    for (target, own) in targets.iter().zip(&figures) {
        let ratio = target.floor.map_or_else(String::new, |floor| {
            format!("{:.2}", own.per_second / figures[floor].per_second.max(1.0))
        });
        table.row(&[
            &target.name,
            &connections,
            &thousands(own.per_second),
            &ms(own.p50_us),
            &ms(own.p99_us),
            &format!("{:.1}", own.own_cpu_us),
            &format!("{:.1}", own.all_cpu_us),
            &format!("{:.1}", own.generator_cpu_us),
            &own.errors,
            &format!("{:.1}", own.load),
            &ratio,
        ]);
    }
    Ok(())
}

/// Name of the function that brings the stock client of the Runtime API.
const STOCK: &str = "stock";

/// The last Python for which that client makes no thread for each event, which takes it half a millisecond.
const STOCK_RUNTIME: (&str, &str) = ("python3.11", "app.handler");

/// Creates it: its wrapper starts the client in place of Neap's own program.
fn create_stock(client: &Client, package: &[u8]) -> Outcome<()> {
    deploy(client, STOCK, STOCK_RUNTIME, package)?;
    let path = format!("/2015-03-31/functions/{STOCK}/configuration");
    let change =
        json!({ "Environment": { "Variables": { "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper" } } });
    client.lambda(&Method::PUT, &path, &change).map_err(|error| error.to_string())?;
    active(client, STOCK)
}

fn function(app: App) -> &'static str {
    match app {
        App::Python => "python",
        App::Node => "node",
        App::Java => "java",
        App::Rust => "rust",
    }
}
