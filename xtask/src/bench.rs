//! `cargo xtask bench NAME`: floors and Neap in one run, alternating, printed as Markdown for `docs/performance.md`.
//!
//! A floor is the least work that any implementation must do. The ratio to it is the result; absolute figures depend
//! on the machine and on what else it does, which is why each table shows the load.

pub(crate) mod apps;
mod burst;
mod cold;
mod compare;
mod floors;
mod idle;
mod noisy;
pub(crate) mod options;
mod queue;
mod rounds;
pub(crate) mod setup;
mod stream;
mod table;
mod warm;
mod wasm;

use options::Options;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

const USAGE: &str = "usage: cargo xtask bench NAME [OPTIONS]

warm      invocations of environments that are there, at 1, 16 and 64 connections
cold      cold starts one after the other, with their phases
burst     1, 100 and 1,000 simultaneous requests to one cold function, and to a hundred
idle      memory and launch of an idle node, and what deployed functions cost it
floors    the floors of warm alone
noisy     a function beside neighbours that use up processors, memory, processes, the disk
queue     messages sent, received and deleted, beside the store; growth of messages, queues, groups
stream    function URLs beside Invoke, streamed answers, provisioned environments beside cold ones
wasm      WebAssembly: cold starts and new instances beside a bare server with the engine, warm rate by function URL, memory
compare   what could be run instead (workerd, Deno, functions frameworks, serverless-offline, wasmtime serve)
          beside Neap; only what --install has installed
store     durable writes of the store beside plain SQLite
fleet     what the fleet adds to a warm call
policy    cold starts and idle memory of keep-alive policies, on generated traces in virtual time; --seeds N,
          --functions N, --hours N
sandbox   starts of the bare sandbox

options of warm, cold, burst, idle, floors, noisy, queue, stream, wasm and compare:
  --quick              one short round of everything
  --rounds N           rounds of each measurement, default 3
  --seconds N          length of one warm measurement, default 3
  --colds N            cold starts of each runtime, default 60
  --histogram          percentiles of each phase of cold starts
  --size N             requests at once of a burst, default 1, 100 and 1000; may be repeated
  --app NAME           Python, Node.js, Java or Rust, default all; may be repeated
  --beside FILE        another build, measured in the same rounds (warm)
  --stock FOLDER       with awslambdaric installed in it, for Python 3.11: measures the Runtime API by that client too (warm)
  --bootstrap FILE     a built `bootstrap` executable to measure as Rust's instead of the least one
  --connections N      of warm measurements, and clients of queues, default 1, 16 and 64; may be repeated
  --growth N           of queue: messages, queues and groups at most, default 100000; from 1000
  --install            of compare: install the other tools, in their pinned versions, in the cache folder
  --neap FILE          a binary to measure instead of building one
  --component FILE     wasm: a component to measure besides the lean one instead of the tests' of JavaScript
  --floor FILE         wasm: the built example bench_floor of neap-wasm instead of building it";

/// What the figures are made of, in words, for any error.
pub(crate) type Outcome<T> = Result<T, String>;

/// Runs `bench` with the arguments after it.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Outcome<()> {
    let args: Vec<String> = args.collect();
    let (name, rest) = args.split_first().map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
    if cfg!(debug_assertions)
        && matches!(
            name,
            "warm" | "cold" | "burst" | "idle" | "floors" | "noisy" | "queue" | "stream" | "wasm" | "compare"
        )
    {
        // The floors and the load generator are in this program: they must be as optimised as what they measure.
        let mut own = vec!["run", "--release", "--quiet", "--package", "xtask", "--", "bench"];
        own.extend(args.iter().map(String::as_str));
        return cargo(&own);
    }
    match name {
        "warm" => warm::run(&Options::parse(rest)?),
        "cold" => cold::run(&Options::parse(rest)?),
        "burst" => burst::run(&Options::parse(rest)?),
        "idle" => idle::run(&Options::parse(rest)?),
        "floors" => warm::floors(&Options::parse(rest)?),
        "noisy" => noisy::run(&Options::parse(rest)?),
        "queue" => queue::run(&Options::parse(rest)?),
        "stream" => stream::run(&Options::parse(rest)?),
        "compare" => compare::run(&Options::parse(rest)?),
        "wasm" => wasm::run(&Options::parse(rest)?),
        "store" => cargo(&["bench", "--package", "neap-store", "--bench", "store"]),
        "fleet" => cargo(&["bench", "--package", "neap-fleet", "--bench", "warm_path"]),
        "policy" => {
            let mut bench = vec!["bench", "--package", "neap-fleet", "--bench", "policy", "--"];
            bench.extend(rest.iter().map(String::as_str));
            cargo(&bench)
        }
        "sandbox" => cargo(&["run", "--release", "--package", "neap-sandbox", "--example", "bench_spawn"]),
        // How this program starts its own floors.
        floors::ECHO | floors::LOOP | floors::STOCK => floors::serve(name, rest),
        _ => Err(USAGE.to_owned()),
    }
}

fn cargo(args: &[&str]) -> Outcome<()> {
    let status = Command::new(cargo_path()).args(args).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed: {status}", args.join(" "))) }
}

/// What a cargo command prints.
fn cargo_output(args: &[&str]) -> Outcome<String> {
    let output = Command::new(cargo_path()).args(args).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("cargo {} failed: {}", args.join(" "), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
