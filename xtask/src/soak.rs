//! `cargo xtask soak`: a node under mixed load for as long as told. Each window its means of growth are sampled and
//! printed; at the end the last third of them is held against the first third after the warm-up, and a trend fails.

mod load;
mod sample;
mod trend;

use crate::bench::{Outcome, options, setup};
use load::Load;
use sample::Sample;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use testkit::process;

const USAGE: &str = "usage: cargo xtask soak [OPTIONS]

A node under mixed load: warm calls, cold starts of many functions, URL streams, errors, timeouts, exits, deployments, updates,
deletions and asynchronous events. Fails when memory, descriptors, processes, namespaces, mounts, cgroups, disk per
operation or latency grow, or when an answer is wrong.

--minutes N     how long, default 60
--rate N        operations per second, default 20
--window S      seconds between two samples, default 60
--neap FILE     a binary to run instead of building one";

struct Options {
    minutes: usize,
    rate: usize,
    window: usize,
    neap: Option<PathBuf>,
}

fn parse(args: impl Iterator<Item = String>) -> Outcome<Options> {
    let mut options = Options { minutes: 60, rate: 20, window: 60, neap: None };
    let mut args = args;
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value\n\n{USAGE}"));
        match name.as_str() {
            "--minutes" => options.minutes = options::number(&value()?)?,
            "--rate" => options.rate = options::number(&value()?)?,
            "--window" => options.window = options::number(&value()?)?,
            "--neap" => options.neap = Some(value()?.into()),
            other => return Err(format!("unknown option {other}\n\n{USAGE}")),
        }
    }
    Ok(options)
}

/// Runs `soak` with the arguments after it.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Outcome<()> {
    let options = parse(args)?;
    let neap = match &options.neap {
        Some(path) => path.clone(),
        None => setup::built()?,
    };
    println!(
        "soak of {} minutes at {} operations per second, {} processors, {}",
        options.minutes,
        options.rate,
        setup::cpus(),
        setup::kernel()
    );
    let node = setup::start(&neap)?;
    let own = process::tree(node.pid());
    let load = Load::start(&node, options.rate)?;
    println!("{}", Sample::heads());
    let (began, window) = (Instant::now(), Duration::from_secs(options.window as u64));
    let length = Duration::from_secs(60 * options.minutes as u64);
    let mut samples = Vec::new();
    let mut number = 0;
    while began.elapsed() < length {
        number += 1;
        let next = began + window * number;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let sample = Sample::take(&node, &own, began.elapsed(), load.window());
        println!("{sample}");
        samples.push(sample);
    }
    let failures = load.stop();
    setup::leave(node)?;
    let grown = trend::judge(&samples);
    for error in &failures {
        println!("wrong answer: {error}");
    }
    match (grown, failures.len()) {
        (0, 0) => Ok(()),
        (grown, wrong) => {
            Err(format!("the soak failed: {grown} figures grew, {wrong} kinds of wrong answers"))
        }
    }
}
