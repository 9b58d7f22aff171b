//! What processes use, read from `/proc`, and how they are ended.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs,
    process::Child,
    time::{Duration, Instant},
};

/// Kernel ticks per second in `/proc/PID/stat`; fixed for user space.
const TICKS_PER_S: u64 = 100;

/// Processor time that `pid` has used itself, in steps of 10 ms; zero once it is gone.
pub fn cpu(pid: u32) -> Duration {
    let ticks = stat(pid).map_or(0, |stat| stat.ticks);
    Duration::from_millis(ticks * 1000 / TICKS_PER_S)
}

/// Processor time of `pid` and all its living descendants.
pub fn cpu_of_tree(pid: u32) -> Duration {
    tree(pid).into_iter().map(cpu).sum()
}

/// Processor time of the calling thread, precisely.
pub fn cpu_of_thread() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    /// Most resident so far.
    pub peak: u64,
    /// Its share, pages shared with others divided among them; needs the right to read it.
    pub proportional: u64,
}

/// Memory of `pid`; zeros once it is gone.
pub fn memory(pid: u32) -> Memory {
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Memory {
        resident: field(&status, "VmRSS"),
        peak: field(&status, "VmHWM"),
        proportional: field(&rollup, "Pss"),
    }
}

/// `pid` and all its living descendants, with their names.
pub fn named_tree(pid: u32) -> Vec<(u32, String)> {
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    tree(pid).into_iter().map(|pid| (pid, name(pid))).collect()
}

/// `pid` and all its living descendants.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(stat) = stat(child) {
            children.entry(stat.parent).or_default().push(child);
        }
    }
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        all.extend(children.remove(&parent).unwrap_or_default());
        at += 1;
    }
    all
}

/// Asks `child` to end, waits for it, and kills it after `patience`. Its descendants that live on.
pub fn end(child: &mut Child, patience: Duration) -> Vec<u32> {
    if !matches!(child.try_wait(), Ok(None)) {
        return Vec::new();
    }
    let mut rest = tree(child.id());
    signal(child.id(), Signal::TERM);
    let asked = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if asked.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    rest.retain(|pid| memory(*pid).resident > 0);
    rest
}

/// Kills a process that the caller has started, or that such a one has left behind.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It fails only if the process is gone.
        let _ = kill_process(pid, signal);
    }
}

/// The machine's load over the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

struct Stat {
    parent: u32,
    /// User and system time.
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Stat { parent, ticks: user + system })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        assert!(memory(pid).resident > 0);
        assert!(tree(pid).contains(&pid));
        assert!(stat(pid).is_some_and(|stat| stat.parent > 0));
        assert!(cpu_of_thread() > Duration::ZERO);
    }
}
