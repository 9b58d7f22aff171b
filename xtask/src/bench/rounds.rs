//! Warm measurements of several servers in alternating rounds, so that what else the machine does befalls all of them.

use super::{Outcome, options::Options, setup::progress};
use bytes::Bytes;
use std::{net::SocketAddr, time::Duration};
use testkit::{
    load::{self, Plan},
    process,
    stats::{median, percentile},
};

/// What is put under load.
pub(super) struct Server<'a> {
    pub(super) name: &'a str,
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
}

/// Of one round; then their medians.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Processor time of the server's process for each answer.
    pub(super) own_cpu_us: f64,
    /// The same with its descendants.
    pub(super) all_cpu_us: f64,
    pub(super) generator_cpu_us: f64,
    /// Of all rounds.
    pub(super) errors: u64,
    /// After the last round.
    pub(super) load: f64,
}

/// Every server at one number of connections, in alternating rounds. `requests` makes those of the server at a place.
pub(super) fn alternate(
    options: &Options,
    connections: usize,
    servers: &[Server<'_>],
    requests: impl Fn(usize) -> Outcome<Vec<Bytes>>,
) -> Outcome<Vec<Figures>> {
    let mut rounds: Vec<Vec<Figures>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for (at, server) in servers.iter().enumerate() {
            progress(&format!("{connections} connections, round {}: {}", round + 1, server.name));
            let plan = Plan {
                address: server.address,
                connections,
                warm_up: options.measured.mul_f64(0.4).max(Duration::from_millis(500)),
                measured: options.measured,
                requests: requests(at)?,
            };
            if round == 0 {
                // Everything that this many connections need is started before the first measurement.
                load::run(&plan, || ()).map_err(|error| format!("{}: {error}", server.name))?;
            }
            rounds[at].push(one(&plan, server)?);
        }
    }
    Ok(rounds.iter().map(|rounds| medians(rounds)).collect())
}

fn one(plan: &Plan, server: &Server<'_>) -> Outcome<Figures> {
    let counters = || (process::cpu(server.pid), process::cpu_of_tree(server.pid));
    let (outcome, before, after) = load::run(plan, counters).map_err(|error| error.to_string())?;
    if let Some(error) = &outcome.first_error {
        progress(&format!("  an error: {error}"));
    }
    if outcome.answers == 0 {
        return Err(format!("{} answered nothing: {:?}", server.name, outcome.first_error));
    }
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / outcome.answers.max(1) as f64;
    Ok(Figures {
        per_second: outcome.per_second(),
        p50_us: f64::from(percentile(&outcome.latencies_us, 0.5)),
        p99_us: f64::from(percentile(&outcome.latencies_us, 0.99)),
        own_cpu_us: each(after.0.saturating_sub(before.0)),
        all_cpu_us: each(after.1.saturating_sub(before.1)),
        generator_cpu_us: each(outcome.cpu),
        errors: outcome.errors,
        load: process::load_average(),
    })
}

fn medians(rounds: &[Figures]) -> Figures {
    let middle = |of: fn(&Figures) -> f64| median(rounds.iter().map(of).collect());
    Figures {
        per_second: middle(|round| round.per_second),
        p50_us: middle(|round| round.p50_us),
        p99_us: middle(|round| round.p99_us),
        own_cpu_us: middle(|round| round.own_cpu_us),
        all_cpu_us: middle(|round| round.all_cpu_us),
        generator_cpu_us: middle(|round| round.generator_cpu_us),
        errors: rounds.iter().map(|round| round.errors).sum(),
        load: rounds.last().map_or(0.0, |round| round.load),
    }
}
