//! `bench wasm`: a new instance from its request to its whole answer, beside a bare HTTP server with the same engine in a process of
//! its own; first calls of new environments; the warm rate by function URL; what idle functions keep in memory.

use super::{
    Outcome, cargo,
    options::Options,
    setup::{CONFIG, active, built, cpus, kernel, leave, open, progress, renew},
    table::{Table, mib, ms, thousands},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};
use testkit::{
    client::Client,
    load::{self, Plan},
    node::Node,
    package::{self, File},
    process,
    stats::percentile,
};

/// Where the component of the black-box tests is, without its program, and that program.
const FRAME: &str = include_str!("../../../tests/wasm/component.wat");
const LEAN: &str = include_str!("../../../tests/wasm/lean.wat");
/// The place of the program in the frame.
const PLACE: &str = "    CORE\n";
/// Different requests to a function.
const REQUESTS: usize = 64;
/// Requests of a burst.
const BURST: usize = 100;
/// Connections of the warm rate.
const CONNECTIONS: usize = 16;
/// Makes the tests' component of JavaScript.
const WORKSHOP: &str = "tests/wasm/workshop.py";
/// What a host name is to the floor, which asks for none.
const NO_HOST: &str = "localhost";

/// A component that is measured.
struct Subject {
    name: String,
    function: &'static str,
    file: PathBuf,
    memory_mb: u32,
    /// Functions that are deployed to see what each keeps in memory.
    idle: usize,
}

pub(super) fn run(options: &Options) -> Outcome<()> {
    let neap = match &options.neap {
        Some(path) => path.clone(),
        None => built()?,
    };
    println!("## WebAssembly\n");
    println!("`cargo xtask bench wasm`, {} processors, {}.", cpus(), kernel());
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let subjects = subjects(options, folder.path())?;
    let node = Node::start(&neap, CONFIG).map_err(|error| error.to_string())?;
    let measured = measure(options, &node, &subjects);
    leave(node)?;
    measured
}

fn subjects(options: &Options, folder: &Path) -> Outcome<Vec<Subject>> {
    let file = self::lean(folder)?;
    let lean =
        Subject { name: "lean component".to_owned(), function: "lean", file, memory_mb: 128, idle: 100 };
    let mut subjects = vec![lean];
    match &options.component {
        Some(file) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = file.clone();
            subjects.push(Subject { name, function: "given", file, memory_mb: 256, idle: 4 });
        }
        None => match javascript() {
            Ok(file) => {
                let name = "JavaScript component".to_owned();
                subjects.push(Subject { name, function: "js", file, memory_mb: 256, idle: 4 });
            }
            Err(reason) => println!("\nSkipped: the JavaScript component, since {reason}."),
        },
    }
    Ok(subjects)
}

/// The tests' component of JavaScript, made by its published tool; else why it is not.
fn javascript() -> Result<PathBuf, String> {
    progress("making the JavaScript component");
    let made = Command::new("python3").args([WORKSHOP, "javascript"]).output();
    let made = made.map_err(|error| format!("python3 cannot be started: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match made.status.success() {
        true => Ok(said(&made.stdout).into()),
        false => Err(said(&made.stderr).lines().last().unwrap_or("its tool failed").to_owned()),
    }
}

/// Writes the lean component to a folder.
pub(super) fn lean(folder: &Path) -> Outcome<PathBuf> {
    let binary = wat::parse_str(FRAME.replace(PLACE, LEAN)).map_err(|error| error.to_string())?;
    let file = folder.join("lean.wasm");
    std::fs::write(&file, binary).map(|()| file).map_err(|error| error.to_string())
}

fn measure(options: &Options, node: &Node, subjects: &[Subject]) -> Outcome<()> {
    let client = node.client();
    let mut places = Vec::new();
    for subject in subjects {
        progress(&format!("compiling {}", subject.name));
        places.push((deploy(&client, subject)?, Floor::start(options, &subject.file)?));
    }
    let mut table = Table::new(&[
        "new instance to its whole answer",
        "p50 ms",
        "p99 ms",
        "ratio p50",
        "ratio p99",
        "load",
    ]);
    for (subject, (host, floor)) in subjects.iter().zip(&mut places) {
        cold(options, &client, subject, host, floor, &mut table)?;
    }
    table.print("Cold starts");
    println!(
        "\nBoth servers as seen by a client with a new connection, which is there before the time begins; the bare engine inside \
         its process, without a client; alternating."
    );
    let mut table = Table::new(&[
        "at once on a cold function",
        "answered",
        "p50 ms",
        "p99 ms",
        "all after ms",
        "load",
        "ratio",
    ]);
    for (subject, (host, floor)) in subjects.iter().zip(&places) {
        burst(&client, subject, host, floor, &mut table)?;
    }
    table.print("Bursts");
    let heads = ["by HTTP", "conn.", "ops/s", "p50 ms", "p99 ms", "errors", "load", "ratio"];
    let mut table = Table::new(&heads);
    for (subject, (host, floor)) in subjects.iter().zip(&places) {
        for connections in [1, CONNECTIONS] {
            let name = format!("floor: hyper + bare engine, {}", subject.name);
            let bare = warm(options, floor.address, NO_HOST, &name, connections, None, &mut table)?;
            let name = format!("Neap, {}", subject.name);
            warm(options, client.address, host, &name, connections, Some(bare), &mut table)?;
        }
    }
    table.print("A new instance for each request, one after the other");
    println!("\nNeap's memory after this: {} MiB resident.", mib(process::memory(node.pid()).resident));
    drop(places);
    let mut table =
        Table::new(&["idle functions", "number", "KiB each, deployed", "KiB each, with an environment"]);
    for subject in subjects {
        idle(node, &client, subject, &mut table)?;
    }
    table.print("Resident memory of the daemon");
    Ok(())
}

/// Creates the function with a URL for everyone; the URL's host.
fn deploy(client: &Client, subject: &Subject) -> Outcome<String> {
    create(client, subject, subject.function, b"")?;
    open(client, subject.function, "BUFFERED")
}

/// Creates a function; `mark` makes its package one of its own.
fn create(client: &Client, subject: &Subject, name: &str, mark: &[u8]) -> Outcome<()> {
    let content =
        std::fs::read(&subject.file).map_err(|error| format!("{}: {error}", subject.file.display()))?;
    let zip = package::zip(&[
        File { name: "bootstrap.wasm", content: &content, executable: false },
        File { name: "mark", content: mark, executable: false },
    ]);
    let function = json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap",
        "MemorySize": subject.memory_mb, "Timeout": 30, "Role": "arn:aws:iam::000000000000:role/bench",
        "Code": { "ZipFile": STANDARD.encode(zip.map_err(|error| error.to_string())?) },
    });
    let created = client.lambda(&Method::POST, "/2015-03-31/functions", &function);
    created.map_err(|error| error.to_string())?;
    active(client, name)
}

/// What functions of packages of their own add to the daemon's memory: deployed, and called once.
fn idle(node: &Node, client: &Client, subject: &Subject, table: &mut Table) -> Outcome<()> {
    let resident = || process::memory(node.pid()).resident;
    let each = |from: u64, to: u64| to.saturating_sub(from) / 1024 / subject.idle as u64;
    let names: Vec<String> =
        (0..subject.idle).map(|number| format!("{}-{number}", subject.function)).collect();
    progress(&format!("deploying {} of {}", subject.idle, subject.name));
    let before = resident();
    for name in &names {
        create(client, subject, name, name.as_bytes())?;
    }
    let deployed = resident();
    for name in &names {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answer = client.lambda(&Method::POST, &path, &json!({ "name": "caller" }));
        answer.map_err(|error| error.to_string())?;
    }
    table.row(&[&subject.name, &subject.idle, &each(before, deployed), &each(before, resident())]);
    Ok(())
}

/// A body that differs from call to call.
fn body(number: usize) -> String {
    format!(r#"{{"name":"caller {number}"}}"#)
}

pub(super) fn request(host: &str, number: usize) -> Bytes {
    let body = body(number);
    let length = body.len();
    Bytes::from(format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
}

fn cold(
    options: &Options,
    client: &Client,
    subject: &Subject,
    host: &str,
    floor: &mut Floor,
    table: &mut Table,
) -> Outcome<()> {
    let (mut bare, mut served, mut again, mut first) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // What is made once for all is no part of a cold start.
    ask(client.address, host, 0)?;
    ask(floor.address, NO_HOST, 0)?;
    floor.one(0)?;
    for number in 1..=options.colds {
        if number % 20 == 1 {
            progress(&format!("cold start {number} of {}", subject.name));
        }
        bare.push(floor.one(number)?);
        served.push(ask(floor.address, NO_HOST, number)?);
        again.push(ask(client.address, host, number)?);
        renew(client, subject.function, number)?;
        first.push(ask(client.address, host, number)?);
    }
    let load = format!("{:.1}", process::load_average());
    let micros = |spans: &mut Vec<Duration>, share| {
        spans.sort_unstable();
        percentile(spans, share).as_secs_f64() * 1e6
    };
    let floors = [micros(&mut served, 0.5), micros(&mut served, 0.99)];
    let rows = [
        (format!("bare engine without a client, {}", subject.name), bare),
        (format!("floor: hyper + bare engine, {}", subject.name), served),
        (format!("Neap, {}", subject.name), again),
        (format!("Neap, {}, first of an environment", subject.name), first),
    ];
    for (name, mut spans) in rows {
        let figures = [micros(&mut spans, 0.5), micros(&mut spans, 0.99)];
        let ratio = |at: usize| format!("{:.2}", figures[at] / floors[at]);
        table.row(&[&name, &ms(figures[0]), &ms(figures[1]), &ratio(0), &ratio(1), &load]);
    }
    Ok(())
}

/// Requests at the same moment to a function whose configuration has just changed, and to the floor.
fn burst(client: &Client, subject: &Subject, host: &str, floor: &Floor, table: &mut Table) -> Outcome<()> {
    progress(&format!("burst of {}", subject.name));
    renew(client, subject.function, 0)?;
    let servers = [("floor: hyper + bare engine", floor.address, NO_HOST), ("Neap", client.address, host)];
    let mut bare = None;
    for (name, address, host) in servers {
        let requests: Vec<Bytes> = (0..BURST).map(|number| request(host, number)).collect();
        let burst = load::burst(address, &requests).map_err(|error| error.to_string())?;
        let all = burst.took.as_secs_f64() * 1e6;
        let micros = |share| ms(percentile(&burst.answered, share).as_secs_f64() * 1e6);
        table.row(&[
            &format!("{BURST}, {name}, {}", subject.name),
            &burst.answered.len(),
            &micros(0.5),
            &micros(0.99),
            &ms(all),
            &format!("{:.1}", process::load_average()),
            &bare.map_or_else(String::new, |bare: f64| format!("{:.2}", all / bare)),
        ]);
        bare.get_or_insert(all);
    }
    Ok(())
}

/// One request by a connection of its own, which is there before the time begins.
fn ask(address: SocketAddr, host: &str, number: usize) -> Outcome<Duration> {
    let requests = [request(host, number)];
    let burst = load::burst(address, &requests).map_err(|error| error.to_string())?;
    match burst.answered.first() {
        Some(span) => Ok(*span),
        None => Err(format!("{host} did not answer with 200: {:?}", burst.failed)),
    }
}

/// The rate; `floor`: that of the floor.
fn warm(
    options: &Options,
    address: SocketAddr,
    host: &str,
    name: &str,
    connections: usize,
    floor: Option<f64>,
    table: &mut Table,
) -> Outcome<f64> {
    progress(&format!("{name} at {connections} connections"));
    let plan = Plan {
        address,
        connections,
        warm_up: Duration::from_millis(500),
        measured: options.measured,
        requests: (0..REQUESTS).map(|number| request(host, number)).collect(),
    };
    let (outcome, (), ()) = load::run(&plan, || ()).map_err(|error| error.to_string())?;
    if outcome.answers == 0 {
        return Err(format!("{name}: {:?}", outcome.first_error));
    }
    let micros = |share| ms(f64::from(percentile(&outcome.latencies_us, share)));
    table.row(&[
        &name,
        &connections,
        &thousands(outcome.per_second()),
        &micros(0.5),
        &micros(0.99),
        &outcome.errors,
        &format!("{:.1}", process::load_average()),
        &floor.map_or_else(String::new, |floor| format!("{:.2}", outcome.per_second() / floor)),
    ]);
    Ok(outcome.per_second())
}

/// A bare HTTP server with the engine, in a process of its own; ends when dropped, since its standard input closes.
struct Floor {
    child: Child,
    /// `None` only while it is dropped.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Of its HTTP server.
    address: SocketAddr,
}

impl Floor {
    fn start(options: &Options, file: &Path) -> Outcome<Floor> {
        const EXAMPLE: [&str; 6] =
            ["--release", "--quiet", "--package", "neap-wasm", "--example", "bench_floor"];
        let mut command = match &options.floor {
            Some(program) => Command::new(program),
            None => {
                progress("building the floor");
                cargo(&[&["build"][..], &EXAMPLE].concat())?;
                let mut command = Command::new(super::cargo_path());
                command.arg("run").args(EXAMPLE).arg("--");
                command
            }
        };
        let told = |error: std::io::Error| format!("the floor: {error}");
        let mut child =
            command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(told)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("both are piped".to_owned());
        };
        let address = SocketAddr::from(([0; 4], 0));
        let mut floor = Floor { child, input: Some(input), output: BufReader::new(output), address };
        let line = floor.line()?;
        floor.address = line.parse().map_err(|_| format!("the floor said {line:?}"))?;
        Ok(floor)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line.trim().to_owned())
    }

    /// From before an instance is made until its answer is whole.
    fn one(&mut self, number: usize) -> Outcome<Duration> {
        if let Some(input) = &mut self.input {
            writeln!(input, "{}", body(number)).map_err(|error| error.to_string())?;
        }
        let line = self.line()?;
        let nanos = line.split(' ').next().and_then(|nanos| nanos.parse().ok());
        nanos.map(Duration::from_nanos).ok_or_else(|| format!("the floor said {line:?}"))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // The end of its input is what ends it, cargo before it included.
        self.input.take();
        let _ = self.child.wait();
    }
}
