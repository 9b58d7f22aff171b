//! `bench compare`: Neap beside what could be run instead, in one run and in alternating rounds. Everybody answers the same
//! requests with the same handler, over plain HTTP without signatures.

mod first;
mod kit;
mod tools;

use super::{
    Outcome,
    apps::App,
    options::Options,
    rounds::{self, Figures, Server},
    setup::{self, binary, cpus, kernel, leave, progress},
    table::{Table, mib, ms, thousands},
    wasm,
};
use bytes::Bytes;
use kit::Kit;
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, process::Command, time::Duration};
use testkit::{
    node::Node,
    package::{self, File},
    process,
};
use tools::{Running, Stage, Tool, told};

/// Its name on every node of Neap.
const FUNCTION: &str = "hello";
/// Connections of warm measurements.
const CONNECTIONS: [usize; 2] = [1, 16];
/// Different requests to each.
const REQUESTS: usize = 256;
/// How long everybody is left alone before memory is read.
const IDLE: Duration = Duration::from_secs(3);

/// In which language a handler is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    JavaScript,
    Python,
    WebAssembly,
}

impl Language {
    const ALL: [Language; 3] = [Language::JavaScript, Language::Python, Language::WebAssembly];

    /// As Neap's runtime of it is called.
    fn name(self) -> &'static str {
        match self {
            Language::JavaScript => "Node.js",
            Language::Python => "Python",
            Language::WebAssembly => "WebAssembly",
        }
    }

    fn isolation(self) -> &'static str {
        match self {
            Language::JavaScript | Language::Python => {
                "a sandbox of namespaces, cgroup, seccomp and Landlock for each environment; up to as many processes as requests at once"
            }
            Language::WebAssembly => {
                "WebAssembly instance for each request, process shared; a thread for each processor"
            }
        }
    }
}

/// A request to whoever serves at `host`.
fn asked(host: &str, number: usize) -> Bytes {
    wasm::request(host, number)
}

/// The answer to it. The component has no JSON reader: it answers the same to everybody.
fn expected(language: Language, number: usize) -> Value {
    match language {
        Language::JavaScript | Language::Python => json!({ "message": format!("hello caller {number}") }),
        Language::WebAssembly => json!("ok"),
    }
}

/// A node of Neap with the function of one language, which has a URL for everyone.
struct Platform {
    node: Node,
    language: Language,
    host: String,
}

impl Platform {
    fn start(neap: &Path, language: Language, component: &Path) -> Outcome<Platform> {
        let file = |name, content: &[u8]| {
            package::zip(&[File { name, content, executable: false }]).map_err(|error| error.to_string())
        };
        let (runtime, zip) = match language {
            Language::JavaScript => {
                (App::Node.runtime(), file("index.js", include_bytes!("../../compare/handlers/index.js"))?)
            }
            Language::Python => {
                (App::Python.runtime(), file("app.py", include_bytes!("../../compare/handlers/app.py"))?)
            }
            Language::WebAssembly => {
                let content = std::fs::read(component).map_err(|error| error.to_string())?;
                (("provided.al2023", "bootstrap"), file("bootstrap.wasm", &content)?)
            }
        };
        let node = setup::start(neap)?;
        let client = node.client();
        setup::deploy(&client, FUNCTION, runtime, &zip)?;
        let host = setup::open(&client, FUNCTION, "BUFFERED")?;
        Ok(Platform { node, language, host })
    }

    /// The whole answer on a new connection.
    fn answer(&self, number: usize) -> Outcome<Duration> {
        first::answer(self.node.address, &asked(&self.host, number), &expected(self.language, number))
    }
}

pub(super) fn run(options: &Options) -> Outcome<()> {
    println!("## Comparisons\n");
    println!("`cargo xtask bench compare`, {} processors, {}.", cpus(), kernel());
    let kit = Kit::open(options.install)?;
    let neap = binary(options)?;
    let stage = Stage::new(&kit)?;
    let tools = present(&neap, &kit, &stage)?;
    if tools.is_empty() {
        return Err("there is nothing to compare with: --install installs it".to_owned());
    }
    warm(options, &neap, &kit, &stage, &tools)?;
    first::run(options, &neap, &kit, &stage, &tools)?;
    println!(
        "\nFrom the start of what is new, or from the request to what makes it, to the whole answer on a new connection. Of Neap: an"
    );
    println!(
        "environment after the function's configuration was changed (Node.js in a stem cell that waits, Python forked from a zygote), and"
    );
    println!("a node whose folder has the function.");
    Ok(())
}

/// Lists everybody with versions; the tools that are installed and answer rightly.
fn present(neap: &Path, kit: &Kit, stage: &Stage) -> Outcome<Vec<Tool>> {
    println!("\nWho is compared, and what isolates a function from others and from the host:\n");
    let version = told(Command::new(neap).arg("--version"))?;
    for language in Language::ALL {
        println!("- Neap, {}, {version}: {}", language.name(), language.isolation());
    }
    for (name, program) in [("Node.js", "node"), ("Python", "python3")] {
        match told(Command::new(program).arg("--version")) {
            Ok(version) => println!("- ({name} of Neap and of the others: {version})"),
            Err(why) => println!("- ({name}: {why})"),
        }
    }
    let mut tools = Vec::new();
    for tool in Tool::ALL {
        let answered = tool.version(kit).and_then(|version| {
            let running = Running::start(tool, kit, stage)?;
            let host = running.address.to_string();
            first::answer(running.address, &asked(&host, 0), &expected(tool.language(), 0))
                .map_err(|error| format!("{error}; it said: {}", running.complaint()))?;
            Ok(version)
        });
        match answered {
            Ok(version) => {
                println!("- {}, {version}: {}", tool.name(), tool.isolation());
                tools.push(tool);
            }
            Err(why) => println!("- **skipped**: {}: {why}", tool.name()),
        }
    }
    Ok(tools)
}

/// Who is put under load.
struct Target {
    name: String,
    address: SocketAddr,
    host: String,
    pid: u32,
    /// The row of Neap that is divided by this one.
    against: Option<usize>,
    /// With one request answered.
    memory_before: u64,
}

impl Target {
    fn new(name: String, address: SocketAddr, host: String, pid: u32, against: Option<usize>) -> Target {
        Target { name, address, host, pid, against, memory_before: memory(pid) }
    }
}

/// Memory of a process and its descendants, pages that are shared counted once, in bytes.
fn memory(pid: u32) -> u64 {
    process::tree(pid).into_iter().map(|pid| process::memory(pid).proportional).sum()
}

fn warm(options: &Options, neap: &Path, kit: &Kit, stage: &Stage, tools: &[Tool]) -> Outcome<()> {
    let (mut platforms, mut running, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for language in Language::ALL {
        let tools: Vec<Tool> =
            tools.iter().copied().filter(|tool| tool.is_warm() && tool.language() == language).collect();
        if tools.is_empty() {
            continue;
        }
        progress(&format!("starting everybody of {}", language.name()));
        let platform = Platform::start(neap, language, &stage.component())?;
        platform.answer(0)?;
        let own = targets.len();
        let (address, pid) = (platform.node.address, platform.node.pid());
        targets.push(Target::new(
            format!("Neap, {}", language.name()),
            address,
            platform.host.clone(),
            pid,
            None,
        ));
        platforms.push(platform);
        for tool in tools {
            let started = Running::start(tool, kit, stage)?;
            let (address, host) = (started.address, started.address.to_string());
            first::answer(address, &asked(&host, 0), &expected(language, 0))?;
            targets.push(Target::new(tool.name().to_owned(), address, host, started.pid(), Some(own)));
            running.push(started);
        }
    }
    let heads = [
        "what",
        "conn.",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "CPU µs/op",
        "errors",
        "load",
        "Neap ÷ it, ops/s",
        "Neap ÷ it, CPU",
    ];
    let mut table = Table::new(&heads);
    for connections in CONNECTIONS {
        measure(options, &targets, connections, &mut table)?;
    }
    table.print("Warm requests, hello in JSON, plain HTTP");
    println!(
        "\nCPU: of all processes of the tool, for each request. The load generator shares the processors."
    );
    remember(&targets);
    drop(running);
    platforms.into_iter().try_for_each(|platform| leave(platform.node))
}

fn measure(options: &Options, targets: &[Target], connections: usize, table: &mut Table) -> Outcome<()> {
    let servers: Vec<Server<'_>> = targets
        .iter()
        .map(|target| Server { name: &target.name, address: target.address, pid: target.pid })
        .collect();
    let requests = |at: usize| Ok((0..REQUESTS).map(|number| asked(&targets[at].host, number)).collect());
    let figures = rounds::alternate(options, connections, &servers, requests)?;
    for (target, own) in targets.iter().zip(&figures) {
        let ratio = |of: fn(&Figures) -> f64| {
            target
                .against
                .map_or_else(String::new, |at| format!("{:.2}", of(&figures[at]) / of(own).max(1e-9)))
        };
        table.row(&[
            &target.name,
            &connections,
            &thousands(own.per_second),
            &ms(own.p50_us),
            &ms(own.p99_us),
            &format!("{:.1}", own.all_cpu_us),
            &own.errors,
            &format!("{:.1}", own.load),
            &ratio(|figures| figures.per_second),
            &ratio(|figures| figures.all_cpu_us),
        ]);
    }
    Ok(())
}

/// Memory of everybody once the load is over.
fn remember(targets: &[Target]) {
    std::thread::sleep(IDLE);
    let heads = ["what", "processes", "MiB after one request", "MiB idle after the run", "Neap ÷ it"];
    let mut table = Table::new(&heads);
    let after: Vec<u64> = targets.iter().map(|target| memory(target.pid)).collect();
    for (target, &bytes) in targets.iter().zip(&after) {
        let ratio =
            target.against.map_or_else(String::new, |at| format!("{:.2}", after[at] as f64 / bytes as f64));
        let processes = process::tree(target.pid).len();
        table.row(&[&target.name, &processes, &mib(target.memory_before), &mib(bytes), &ratio]);
    }
    table.print("Memory");
    println!(
        "\nOf all processes, shared pages counted once. Neap's has the daemon, the spawner, a zygote or stem cells, and an environment for"
    );
    println!("each connection of before, which stay until they have been idle for a while.");
}
