//! `bench wasm`: a new instance from its request to its whole answer, beside the bare engine with the same settings in a process of
//! its own; first calls of new environments; the warm rate by function URL.

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
/// Connections of the warm rate.
const CONNECTIONS: usize = 16;

/// A component that is measured.
struct Subject {
    name: String,
    function: &'static str,
    file: PathBuf,
    memory_mb: u32,
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
    let file = lean(folder)?;
    let mut subjects =
        vec![Subject { name: "lean component".to_owned(), function: "lean", file, memory_mb: 128 }];
    if let Some(file) = &options.component {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        subjects.push(Subject { name, function: "given", file: file.clone(), memory_mb: 256 });
    }
    Ok(subjects)
}

/// Writes the lean component to a folder.
pub(super) fn lean(folder: &Path) -> Outcome<PathBuf> {
    let binary = wat::parse_str(FRAME.replace(PLACE, LEAN)).map_err(|error| error.to_string())?;
    let file = folder.join("lean.wasm");
    std::fs::write(&file, binary).map(|()| file).map_err(|error| error.to_string())
}

fn measure(options: &Options, node: &Node, subjects: &[Subject]) -> Outcome<()> {
    let client = node.client();
    let mut hosts = Vec::new();
    for subject in subjects {
        progress(&format!("compiling {}", subject.name));
        hosts.push(deploy(&client, subject)?);
    }
    let mut table = Table::new(&[
        "new instance to its whole answer",
        "p50 ms",
        "p99 ms",
        "ratio p50",
        "ratio p99",
        "load",
    ]);
    for (subject, host) in subjects.iter().zip(&hosts) {
        cold(options, &client, subject, host, &mut table)?;
    }
    table.print("Cold starts");
    println!(
        "\nNeap's as seen by the client of a function URL, floor in its own process without a client; alternating."
    );
    let mut table = Table::new(&["by function URL", "conn.", "ops/s", "p50 ms", "p99 ms", "errors", "load"]);
    for (subject, host) in subjects.iter().zip(&hosts) {
        warm(options, &client, subject, host, &mut table)?;
    }
    table.print("A new instance for each request, at once");
    println!("\nNeap's memory after this: {} MiB resident.", mib(process::memory(node.pid()).resident));
    Ok(())
}

/// Creates the function with a URL for everyone; the URL's host.
fn deploy(client: &Client, subject: &Subject) -> Outcome<String> {
    let content =
        std::fs::read(&subject.file).map_err(|error| format!("{}: {error}", subject.file.display()))?;
    let zip = package::zip(&[File { name: "bootstrap.wasm", content: &content, executable: false }]);
    let function = json!({
        "FunctionName": subject.function, "Runtime": "provided.al2023", "Handler": "bootstrap",
        "MemorySize": subject.memory_mb, "Timeout": 30, "Role": "arn:aws:iam::000000000000:role/bench",
        "Code": { "ZipFile": STANDARD.encode(zip.map_err(|error| error.to_string())?) },
    });
    let created = client.lambda(&Method::POST, "/2015-03-31/functions", &function);
    created.map_err(|error| error.to_string())?;
    active(client, subject.function)?;
    open(client, subject.function, "BUFFERED")
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

fn cold(options: &Options, client: &Client, subject: &Subject, host: &str, table: &mut Table) -> Outcome<()> {
    let mut floor = Floor::start(options, &subject.file)?;
    let (mut bare, mut again, mut first) = (Vec::new(), Vec::new(), Vec::new());
    // What is made once for all is no part of a cold start.
    ask(client, host, 0)?;
    floor.one(0)?;
    for number in 1..=options.colds {
        if number % 20 == 1 {
            progress(&format!("cold start {number} of {}", subject.name));
        }
        bare.push(floor.one(number)?);
        again.push(ask(client, host, number)?);
        renew(client, subject.function, number)?;
        first.push(ask(client, host, number)?);
    }
    let load = format!("{:.1}", process::load_average());
    let micros = |spans: &mut Vec<Duration>, share| {
        spans.sort_unstable();
        percentile(spans, share).as_secs_f64() * 1e6
    };
    let floors = [micros(&mut bare, 0.5), micros(&mut bare, 0.99)];
    let rows = [
        (format!("floor: bare engine, {}", subject.name), bare),
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

/// One request by a connection of its own, which is there before the time begins.
fn ask(client: &Client, host: &str, number: usize) -> Outcome<Duration> {
    let requests = [request(host, number)];
    let burst = load::burst(client.address, &requests).map_err(|error| error.to_string())?;
    match burst.answered.first() {
        Some(span) => Ok(*span),
        None => Err(format!("the function at {host} did not answer with 200")),
    }
}

fn warm(options: &Options, client: &Client, subject: &Subject, host: &str, table: &mut Table) -> Outcome<()> {
    for connections in [1, CONNECTIONS] {
        progress(&format!("{} at {connections} connections", subject.name));
        let plan = Plan {
            address: client.address,
            connections,
            warm_up: Duration::from_millis(500),
            measured: options.measured,
            requests: (0..REQUESTS).map(|number| request(host, number)).collect(),
        };
        let (outcome, (), ()) = load::run(&plan, || ()).map_err(|error| error.to_string())?;
        if outcome.answers == 0 {
            return Err(format!("{}: {:?}", subject.name, outcome.first_error));
        }
        let micros = |share| ms(f64::from(percentile(&outcome.latencies_us, share)));
        table.row(&[
            &subject.name,
            &connections,
            &thousands(outcome.per_second()),
            &micros(0.5),
            &micros(0.99),
            &outcome.errors,
            &format!("{:.1}", process::load_average()),
        ]);
    }
    Ok(())
}

/// The bare engine in a process of its own; ends when dropped, since its standard input closes.
struct Floor {
    child: Child,
    /// `None` only while it is dropped.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
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
        let mut floor = Floor { child, input: Some(input), output: BufReader::new(output) };
        match floor.line()?.as_str() {
            "ready" => Ok(floor),
            other => Err(format!("the floor said {other:?}")),
        }
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
