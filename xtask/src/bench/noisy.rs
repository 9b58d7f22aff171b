//! `bench noisy`: what a function's neighbours cost it. The victim's warm invocations alone, then beside functions that use up
//! one thing each, in alternating rounds on one node; the ratio to the same round alone is the result.

use super::{
    Outcome,
    apps::App,
    options::Options,
    setup::{CONFIG, active, binary, cpus, create, kernel, leave, progress, ring},
    table::{Table, ms, thousands},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::json;
use std::time::Duration;
use testkit::{
    client::{self, Client},
    load::{self, Plan},
    node::Node,
    package::{self, File},
    process,
    stats::{median, percentile},
};

/// A function that does one thing until its time is over.
struct Neighbour {
    what: &'static str,
    name: &'static str,
    /// Done again and again.
    body: &'static str,
}

const NEIGHBOURS: [Neighbour; 4] = [
    Neighbour { what: "CPU-bound", name: "cpu", body: "sum(range(10000))" },
    Neighbour {
        what: "memory-churning",
        name: "memory",
        body: "block = mmap.mmap(-1, 128 << 20); block[::4096] = bytes(32768); block.close()",
    },
    Neighbour {
        what: "fork-heavy",
        name: "fork",
        body: "child = os.fork(); child or os._exit(0); os.waitpid(child, 0)",
    },
    Neighbour {
        what: "disk-writing",
        name: "disk",
        body: "file = os.open('/tmp/x', os.O_CREAT | os.O_WRONLY | os.O_TRUNC); os.write(file, DATA); os.fsync(file); os.close(file)",
    },
];

/// Of each neighbour: as many as there are processors, so that they could take them all.
fn neighbours() -> usize {
    cpus()
}

/// How long it takes until neighbours that were called are all at work, cold starts included.
const SETTLING: Duration = Duration::from_secs(1);

pub(super) fn run(options: &Options) -> Outcome<()> {
    let neap = binary(options)?;
    println!("## Noisy neighbours\n");
    println!("`cargo xtask bench noisy`, {} processors, {}.", cpus(), kernel());
    let node = Node::start(&neap, CONFIG).map_err(|error| error.to_string())?;
    let measured = measure(options, &node);
    leave(node)?;
    measured
}

/// One measurement of the victim.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    /// p50 and p99 against the same round alone.
    p50_ratio: Vec<f64>,
    p99_ratio: Vec<f64>,
    errors: u64,
}

fn measure(options: &Options, node: &Node) -> Outcome<()> {
    let client = node.client();
    create(&client, App::Python, "victim", options.bootstrap.as_deref())?;
    for neighbour in &NEIGHBOURS {
        deploy(&client, neighbour)?;
    }
    // Starts what is needed.
    victim(options, &client)?;
    let mut all: Vec<Rounds> = (0..=NEIGHBOURS.len()).map(|_| Rounds::default()).collect();
    for round in 0..options.rounds {
        let mut alone = (0.0, 0.0);
        for (at, rounds) in all.iter_mut().enumerate() {
            let neighbour = at.checked_sub(1).and_then(|at| NEIGHBOURS.get(at));
            progress(&format!("round {}: {}", round + 1, neighbour.map_or("alone", |one| one.what)));
            let outcome = match neighbour {
                Some(neighbour) => beside(neighbour, options, &client)?,
                None => victim(options, &client)?,
            };
            let p50 = f64::from(percentile(&outcome.latencies_us, 0.5));
            let p99 = f64::from(percentile(&outcome.latencies_us, 0.99));
            if neighbour.is_none() {
                alone = (p50, p99);
            }
            rounds.per_second.push(outcome.per_second());
            rounds.p50_us.push(p50);
            rounds.p99_us.push(p99);
            rounds.p50_ratio.push(p50 / alone.0.max(1.0));
            rounds.p99_ratio.push(p99 / alone.1.max(1.0));
            rounds.errors += outcome.errors;
        }
    }
    let heads = ["victim", "ops/s", "p50 ms", "p99 ms", "p50 ratio", "p99 ratio", "errors"];
    let mut table = Table::new(&heads);
    let names = std::iter::once("alone".to_owned())
        .chain(NEIGHBOURS.iter().map(|one| format!("beside {} {}", neighbours(), one.what)));
    for (name, rounds) in names.zip(all) {
        table.row(&[
            &name,
            &thousands(median(rounds.per_second)),
            &ms(median(rounds.p50_us)),
            &ms(median(rounds.p99_us)),
            &format!("{:.2}", median(rounds.p50_ratio)),
            &format!("{:.2}", median(rounds.p99_ratio)),
            &rounds.errors,
        ]);
    }
    table.print("A Python function's warm invocations, one connection");
    println!("\nMedians of {} rounds; load {:.1} at the end.", options.rounds, process::load_average());
    println!(
        "Ratios are against the victim alone in the same round. The load generator is on the same processors."
    );
    Ok(())
}

/// The victim under load.
fn victim(options: &Options, client: &Client) -> Outcome<load::Outcome> {
    let plan = Plan {
        address: client.address,
        connections: 1,
        warm_up: Duration::from_millis(500),
        measured: options.measured,
        requests: ring(client, "victim")?,
    };
    let (outcome, (), ()) = load::run(&plan, || ()).map_err(|error| error.to_string())?;
    match &outcome.first_error {
        Some(error) if outcome.answers == 0 => Err(format!("the victim only fails: {error}")),
        Some(_) | None => Ok(outcome),
    }
}

/// The victim under load while neighbours work.
fn beside(neighbour: &Neighbour, options: &Options, client: &Client) -> Outcome<load::Outcome> {
    let span = SETTLING + Duration::from_millis(700) + options.measured;
    let event = format!("{}", span.as_secs_f64());
    std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..neighbours()).map(|_| scope.spawn(|| call(client, neighbour.name, &event))).collect();
        std::thread::sleep(SETTLING);
        let outcome = victim(options, client);
        for done in calls {
            match done.join() {
                Ok(done) => done?,
                Err(_) => return Err("a neighbour's call panicked".to_owned()),
            }
        }
        outcome
    })
}

/// Lets a neighbour work.
fn call(client: &Client, name: &str, event: &str) -> Outcome<()> {
    let request = client.invocation(name, event.as_bytes()).map_err(|error| error.to_string())?;
    let answer = client::send(client.address, &request).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status == 200 && text.parse::<u64>().is_ok_and(|times| times > 0) {
        return Ok(());
    }
    Err(format!("neighbour {name}: {} {text}", answer.status))
}

fn deploy(client: &Client, neighbour: &Neighbour) -> Outcome<()> {
    let source = format!(
        "import mmap, os, time\nDATA = bytes(4 << 20)\ndef handler(event, context):\n    end, times = time.monotonic() + event, 0\n    \
         while time.monotonic() < end:\n        {}\n        times += 1\n    return times\n",
        neighbour.body
    );
    let zip = package::zip(&[File { name: "app.py", content: source.as_bytes(), executable: false }])
        .map_err(|error| error.to_string())?;
    let (runtime, handler) = App::Python.runtime();
    let function = json!({
        "FunctionName": neighbour.name, "Runtime": runtime, "Handler": handler, "MemorySize": 512, "Timeout": 120,
        "Role": "arn:aws:iam::000000000000:role/bench", "Code": { "ZipFile": STANDARD.encode(zip) },
    });
    let created = client.lambda(&Method::POST, "/2015-03-31/functions", &function);
    created.map_err(|error| format!("{}: {error}", neighbour.name))?;
    active(client, neighbour.name)
}
