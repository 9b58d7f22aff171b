//! What may grow, measured from outside.

use super::load::Window;
use std::{collections::BTreeSet, fmt, fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};
use testkit::{client, node::Node, process, stats::median};

/// The state of a node at the end of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) operations: usize,
    pub(super) wrong: usize,
    /// Of the daemon itself, and of the spawner's processes.
    pub(super) daemon_kib: f64,
    pub(super) spawner_kib: f64,
    /// Open descriptors of both.
    pub(super) descriptors: f64,
    pub(super) processes: f64,
    pub(super) namespaces: f64,
    pub(super) mounts: f64,
    pub(super) cgroups: f64,
    /// The data folder without its runtimes, logs and what is counted with them.
    pub(super) state_kib: f64,
    /// What telemetry keeps, and the node's own log.
    pub(super) records_kib: f64,
    pub(super) environments: f64,
    pub(super) backlog: f64,
    pub(super) warm_us: f64,
    pub(super) cold_us: f64,
    pub(super) cpu: Duration,
}

impl Sample {
    pub(super) fn heads() -> &'static str {
        " min    ops  wrong  daemon MiB  spawner MiB   fds  procs  envs  ns  mounts  cgroups  state MiB  records MiB  \
         backlog  warm ms  cold ms  CPU s"
    }

    /// `own` are the node's own processes: those that it had before there was a function.
    pub(super) fn take(node: &Node, own: &[u32], at: Duration, window: Window) -> Sample {
        let tree = process::tree(node.pid());
        let metrics = client::get(node.address, "/_neap/metrics");
        let metrics =
            metrics.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default();
        let (state, records) = disk(node.data());
        let spawners = own.iter().filter(|pid| **pid != node.pid());
        Sample {
            at,
            operations: window.operations,
            wrong: window.wrong,
            daemon_kib: kib(process::memory(node.pid()).resident),
            spawner_kib: spawners.map(|pid| kib(process::memory(*pid).resident)).sum(),
            descriptors: own.iter().map(|pid| entries(&format!("/proc/{pid}/fd")) as f64).sum(),
            processes: tree.len() as f64,
            namespaces: namespaces(&tree, own) as f64,
            mounts: own.iter().map(|pid| lines(&format!("/proc/{pid}/mountinfo")) as f64).sum(),
            cgroups: cgroups(Path::new("/sys/fs/cgroup"), &format!("-{}", node.pid()), false) as f64,
            state_kib: kib(state),
            records_kib: kib(records),
            environments: sum(&metrics, "neap_environments"),
            backlog: sum(&metrics, "neap_events_backlog"),
            warm_us: median(window.warm_us),
            cold_us: median(window.cold_us),
            cpu: process::cpu(node.pid()),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>4.1} {:>6} {:>6} {:>11.1} {:>12.1} {:>5} {:>6} {:>5} {:>3} {:>7} {:>8} {:>10.1} {:>12.1} {:>8} {:>8.2} {:>8.2} {:>6.1}",
            self.at.as_secs_f64() / 60.0,
            self.operations,
            self.wrong,
            self.daemon_kib / 1024.0,
            self.spawner_kib / 1024.0,
            self.descriptors,
            self.processes,
            self.environments,
            self.namespaces,
            self.mounts,
            self.cgroups,
            self.state_kib / 1024.0,
            self.records_kib / 1024.0,
            self.backlog,
            self.warm_us / 1000.0,
            self.cold_us / 1000.0,
            self.cpu.as_secs_f64(),
        )
    }
}

fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn lines(file: &str) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Namespaces that a process of the node is in, or that one of `own` holds open.
fn namespaces(tree: &[u32], own: &[u32]) -> usize {
    let mut found = BTreeSet::new();
    let folders = tree
        .iter()
        .map(|pid| format!("/proc/{pid}/ns"))
        .chain(own.iter().map(|pid| format!("/proc/{pid}/fd")));
    for folder in folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let kind = target.split_once(":[").map(|(kind, _)| kind);
            if matches!(kind, Some("cgroup" | "ipc" | "mnt" | "net" | "pid" | "time" | "user" | "uts")) {
                found.insert(target);
            }
        }
    }
    found.len()
}

/// Folders below those whose name ends as `ending` says.
fn cgroups(folder: &Path, ending: &str, inside: bool) -> usize {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    folders
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let inside = inside || (name.starts_with("neap-") && name.ends_with(ending));
            usize::from(inside) + cgroups(&entry.path(), ending, inside)
        })
        .sum()
}

/// Bytes that the files of the data folder take: of state, and of records, which grow with every call by design.
fn disk(data: &Path) -> (u64, u64) {
    let (mut state, mut records) = (0, 0);
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                // The first comes and goes with what runs, the other is prepared once.
                if name != "scratch" && name != "runtimes" {
                    folders.push(entry.path());
                }
            } else if name.starts_with("telemetry") || name == "log" {
                records += 512 * metadata.blocks();
            } else {
                state += 512 * metadata.blocks();
            }
        }
    }
    (state, records)
}

/// A metric, summed over its labels.
fn sum(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter_map(|line| line.rsplit_once(' '));
    lines
        .filter(|(key, _)| key.split('{').next() == Some(name))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}
