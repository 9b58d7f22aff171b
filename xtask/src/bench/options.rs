//! The options of `bench invoke`.

use super::Outcome;
use std::{path::PathBuf, time::Duration};

/// Of warm measurements, unless chosen.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Parts that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Warm,
    Cold,
    Burst,
    Idle,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) measured: Duration,
    pub(super) colds: usize,
    pub(super) launches: usize,
    pub(super) parts: Vec<Part>,
    pub(super) bootstrap: Option<PathBuf>,
    pub(super) neap: Option<PathBuf>,
    /// Numbers of connections of warm measurements.
    pub(super) connections: Vec<usize>,
    /// Up to how many messages, queues and groups growth is measured.
    pub(super) growth: usize,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> Outcome<Options> {
        let mut options = Options {
            rounds: 3,
            measured: Duration::from_secs(3),
            colds: 60,
            launches: 7,
            parts: Vec::new(),
            bootstrap: None,
            neap: None,
            connections: Vec::new(),
            growth: 100_000,
        };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--quick" => {
                    (options.rounds, options.colds, options.launches) = (1, 10, 2);
                    options.measured = Duration::from_secs(1);
                    options.growth = 1_000;
                }
                "--rounds" => options.rounds = number(value()?)?,
                "--seconds" => options.measured = Duration::from_secs(number(value()?)? as u64),
                "--colds" => options.colds = number(value()?)?,
                "--only" => options.parts.push(match value()?.as_str() {
                    "warm" => Part::Warm,
                    "cold" => Part::Cold,
                    "burst" => Part::Burst,
                    "idle" => Part::Idle,
                    other => return Err(format!("no part is called {other}")),
                }),
                "--bootstrap" => options.bootstrap = Some(value()?.into()),
                "--connections" => options.connections.push(number(value()?)?),
                "--growth" => options.growth = number(value()?)?,
                "--neap" => options.neap = Some(value()?.into()),
                other => return Err(format!("unknown option {other}\n\n{}", super::USAGE)),
            }
        }
        if options.connections.is_empty() {
            options.connections.extend(CONNECTIONS);
        }
        Ok(options)
    }

    pub(super) fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

fn number(text: &str) -> Outcome<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(format!("{text} is not a number from 1")),
    }
}
