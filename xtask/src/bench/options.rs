//! The options that benches share.

use super::Outcome;
use std::{path::PathBuf, time::Duration};

/// Of warm measurements, unless chosen.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Requests at once of bursts, unless chosen.
const SIZES: [usize; 3] = [1, 100, 1_000];

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) colds: usize,
    pub(crate) launches: usize,
    pub(crate) bootstrap: Option<PathBuf>,
    /// A folder that awslambdaric is installed in, for the Python of the functions that are measured.
    pub(crate) stock: Option<PathBuf>,
    pub(crate) neap: Option<PathBuf>,
    /// Another build of the same, measured in the same rounds.
    pub(crate) beside: Option<PathBuf>,
    /// A WebAssembly component besides the lean one.
    pub(crate) component: Option<PathBuf>,
    /// A built floor of WebAssembly.
    pub(crate) floor: Option<PathBuf>,
    /// Numbers of connections of warm measurements.
    pub(crate) connections: Vec<usize>,
    /// Up to how many messages, queues and groups growth is measured.
    pub(crate) growth: usize,
    /// Requests at once in bursts.
    pub(crate) sizes: Vec<usize>,
    /// Whether percentiles of each phase are printed.
    pub(crate) histogram: bool,
    /// Whether what Neap is compared with is installed first.
    pub(crate) install: bool,
    /// The runtimes that are measured; all that there are when empty.
    pub(crate) apps: Vec<String>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Outcome<Options> {
        let mut options = Options {
            rounds: 3,
            measured: Duration::from_secs(3),
            colds: 60,
            launches: 7,
            bootstrap: None,
            stock: None,
            neap: None,
            beside: None,
            component: None,
            floor: None,
            connections: Vec::new(),
            growth: 100_000,
            sizes: Vec::new(),
            histogram: false,
            install: false,
            apps: Vec::new(),
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
                "--stock" => options.stock = Some(value()?.into()),
                "--bootstrap" => options.bootstrap = Some(value()?.into()),
                "--connections" => options.connections.push(number(value()?)?),
                "--growth" => options.growth = number(value()?)?,
                "--size" => options.sizes.push(number(value()?)?),
                "--histogram" => options.histogram = true,
                "--install" => options.install = true,
                "--app" => options.apps.push(value()?.clone()),
                "--component" => options.component = Some(value()?.into()),
                "--floor" => options.floor = Some(value()?.into()),
                "--neap" => options.neap = Some(value()?.into()),
                "--beside" => options.beside = Some(value()?.into()),
                other => return Err(format!("unknown option {other}\n\n{}", super::USAGE)),
            }
        }
        if options.connections.is_empty() {
            options.connections.extend(CONNECTIONS);
        }
        if options.sizes.is_empty() {
            options.sizes.extend(SIZES);
        }
        Ok(options)
    }
}

pub(crate) fn number(text: &str) -> Outcome<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(format!("{text} is not a number from 1")),
    }
}
