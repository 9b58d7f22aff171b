//! What keep-alive policies cost on traces of the published shape: cold starts and memory of idle environments.
//! `--seeds N` (default 3), `--functions N` (default 1,000), `--hours N` (default 168).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken expectation ends the bench"
)]

#[path = "../tests/planner/random.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod random;
#[path = "../tests/planner/replay.rs"]
mod replay;
#[path = "../tests/planner/traces.rs"]
mod traces;

use fleet::KeepAlive;
use replay::{Outcome, limits, replay};
use traces::{HOUR_US, Shape, generate};

fn option(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map_or(default, |value| value.parse().expect("a number"))
}

fn line(policy: &str, outcome: &Outcome) {
    let (starts, ahead, used) = outcome.starts;
    println!(
        "| {policy:<16} | {:>9} | {:>10.2} | {:>13.1} | {:>11.1} | {:>11.1} | {:>14.1} | {:>8} | {:>7} | {:>7} |",
        outcome.calls,
        outcome.cold_percent(),
        outcome.cold_percent_by_function(),
        outcome.cold_percentile(50),
        outcome.cold_percentile(75),
        outcome.idle_gib_hours(),
        starts,
        ahead,
        used,
    );
}

fn main() {
    let shape = Shape {
        functions: option("--functions", 1_000) as usize,
        hours: option("--hours", 168),
        calls_max: 20_000,
    };
    println!("{shape:?}\n");
    println!(
        "| policy           |     calls | cold, % of | cold, mean of | half of the | 75 % of the | idle memory,   |   starts | ahead   | of these|"
    );
    println!(
        "|                  |           |      calls | functions, %  | functions:  | functions:  |      GiB-hours |          | of calls|    used |"
    );
    println!(
        "|------------------|----------:|-----------:|--------------:|------------:|------------:|---------------:|---------:|--------:|--------:|"
    );
    for seed in 1..=option("--seeds", 3) {
        let trace = generate(seed, shape);
        let policies = [
            ("fixed, 10 min", KeepAlive::Fixed, HOUR_US / 6),
            ("fixed, 1 h", KeepAlive::Fixed, HOUR_US),
            ("learned", KeepAlive::Learned, HOUR_US / 6),
        ];
        for (name, keep_alive, keep_us) in policies {
            let outcome = replay(&trace, shape.hours, limits(keep_alive, keep_us));
            line(&format!("{name} ({seed})"), &outcome);
        }
    }
}
