//! cgroups v1, v2 and both at once: finding them, one group per sandbox, limits, counters, freezing.
//!
//! Everything lives in `neap-INSTANCE-RUN` beneath the daemon's own cgroup in each hierarchy, so that limits set on the
//! daemon from outside hold for its sandboxes too, and so that leftovers are recognised by name.

mod detect;
mod group;

pub(crate) use detect::{Hierarchy, Layout, Role, Version};
pub(crate) use group::Group;

use rustix::process::{Pid, Signal};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The cgroups of one run of a daemon: a folder in each hierarchy that it uses.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) homes: Vec<Home>,
}

/// One hierarchy's folders of a run.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) version: Version,
    pub(crate) roles: Vec<Role>,
    /// The run's folder: `functions` and, sometimes, `daemon` are in it.
    folder: PathBuf,
    /// The sandboxes' groups are made here.
    pub(crate) functions: PathBuf,
    /// Where the daemon's processes belong before and after the run, if they are in the run's `daemon` meanwhile.
    before: Option<PathBuf>,
    /// v2: folders that give these controllers to their children.
    giving: Vec<PathBuf>,
    controllers: Vec<&'static str>,
}

/// What the folders of [`Settings::instance`](crate::Settings::instance) begin with.
fn prefix(instance: &str) -> String {
    format!("neap-{instance}-")
}

/// CPU weight of all functions together, beside that of the daemon ([`Settings::daemon_cpu_weight`](crate::Settings)).
const FUNCTIONS_WEIGHT: u16 = 1_000;

/// CPU weight of the whole run beside what else is in the daemon's cgroup. A group counts as one process, however many are
/// in it: with the weight of one, a node would get less of a busy machine than any single program on it.
fn run_weight() -> u16 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cpus.saturating_mul(1_000)).unwrap_or(u16::MAX).min(10_000)
}

impl Run {
    /// Makes the folders of a run named by the daemon's process id, and moves the daemon where it has its own weight (or,
    /// on v2, must be). Failing midway leaves what the next sweep removes.
    pub(crate) fn begin(layout: &Layout, instance: &str, daemon_weight: Option<u16>) -> io::Result<Run> {
        let name = format!("{}{}", prefix(instance), std::process::id());
        let mut homes = Vec::new();
        for hierarchy in &layout.used {
            let home = match hierarchy.version {
                Version::V1 => begin_v1(hierarchy, &name, daemon_weight)?,
                Version::V2 => begin_v2(hierarchy, &hierarchy.own, &name, daemon_weight)
                    .or_else(|_| begin_v2(hierarchy, &hierarchy.mount, &name, daemon_weight))?,
            };
            homes.push(home);
        }
        Ok(Run { homes })
    }

    /// Lets everything frozen run (and so die).
    pub(crate) fn thaw_all(&self) {
        for home in &self.homes {
            thaw_below(&home.functions);
        }
    }

    /// Kills every sandbox's processes.
    pub(crate) fn kill_all(&self) {
        for home in &self.homes {
            kill_below(&home.functions);
        }
    }

    /// Removes the run's folders, which must be empty of sandboxes, and moves the daemon's processes back where they were.
    /// Waits up to a second for those that are ending: they can be neither moved nor left alone.
    pub(crate) fn remove(&self) {
        for home in &self.homes {
            remove_below(&home.functions);
            let taken: Vec<String> = home.controllers.iter().map(|name| format!("-{name}")).collect();
            for folder in home.giving.iter().rev() {
                let _ = std::fs::write(folder.join("cgroup.subtree_control"), taken.join(" "));
            }
            for _ in 0..100 {
                if let Some(before) = &home.before {
                    move_all(&home.folder.join(DAEMON), before);
                }
                remove_below(&home.folder);
                if home.before.is_none() || !home.folder.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// The daemon's own group within a run's.
const DAEMON: &str = "daemon";

/// Moves every process of a group to another one, as far as the kernel allows it.
fn move_all(from: &Path, to: &Path) {
    for pid in std::fs::read_to_string(from.join("cgroup.procs")).unwrap_or_default().lines() {
        let _ = std::fs::write(to.join("cgroup.procs"), pid);
    }
}

fn begin_v1(hierarchy: &Hierarchy, name: &str, daemon_weight: Option<u16>) -> io::Result<Home> {
    let folder = hierarchy.own.join(name);
    make(&folder)?;
    if hierarchy.roles.contains(&Role::CpuWeight) {
        let weight = crate::CpuWeight::new(run_weight());
        // The kernel bounds shares itself; without this the run is only slower beside other work.
        let _ = std::fs::write(folder.join("cpu.shares"), group::shares(weight).to_string());
    }
    if hierarchy.roles.contains(&Role::Memory) {
        // Kernels before 5.11 have it off by default; newer ones know nothing else.
        let _ = std::fs::write(folder.join("memory.use_hierarchy"), "1");
    }
    let weighed = daemon_weight.filter(|_| hierarchy.roles.contains(&Role::CpuWeight));
    let moved = weighed.is_some_and(|weight| match weigh_daemon_v1(&folder.join(DAEMON), weight) {
        Ok(()) => true,
        Err(error) => {
            // For example a daemon under a real-time policy, which needs no weight.
            tracing::warn!(%error, "the daemon has no CPU weight of its own");
            false
        }
    });
    let functions = if moved { folder.join("functions") } else { folder.clone() };
    make(&functions)?;
    if moved {
        let weight = crate::CpuWeight::new(FUNCTIONS_WEIGHT);
        std::fs::write(functions.join("cpu.shares"), group::shares(weight).to_string())?;
    }
    Ok(Home {
        version: Version::V1,
        roles: hierarchy.roles.clone(),
        folder,
        functions,
        before: moved.then(|| hierarchy.own.clone()),
        giving: Vec::new(),
        controllers: Vec::new(),
    })
}

fn weigh_daemon_v1(daemon: &Path, weight: u16) -> io::Result<()> {
    make(daemon)?;
    std::fs::write(daemon.join("cpu.shares"), group::shares(crate::CpuWeight::new(weight)).to_string())?;
    std::fs::write(daemon.join("cgroup.procs"), "0")
}

/// A cgroup with processes cannot give controllers to its children (the root alone can): the daemon moves into a leaf.
/// Where other processes share the daemon's cgroup that does not help, and `base` has to be the root.
fn begin_v2(hierarchy: &Hierarchy, base: &Path, name: &str, daemon_weight: Option<u16>) -> io::Result<Home> {
    let folder = base.join(name);
    let (functions, daemon) = (folder.join("functions"), folder.join(DAEMON));
    let controllers: Vec<&'static str> = hierarchy.roles.iter().filter_map(|role| role.v2()).collect();
    let mut home = Home {
        version: Version::V2,
        roles: hierarchy.roles.clone(),
        folder,
        functions,
        before: None,
        giving: Vec::new(),
        controllers,
    };
    let made = (|| {
        make(&home.folder)?;
        make(&home.functions)?;
        if home.controllers.is_empty() {
            return Ok(());
        }
        make(&daemon)?;
        std::fs::write(daemon.join("cgroup.procs"), "0")?;
        home.before = Some(hierarchy.own.clone());
        let given: Vec<String> = home.controllers.iter().map(|name| format!("+{name}")).collect();
        for folder in [base, &home.folder, &home.functions] {
            std::fs::write(folder.join("cgroup.subtree_control"), given.join(" "))?;
            if folder != hierarchy.mount {
                home.giving.push(folder.to_owned());
            }
        }
        if let Some(weight) = daemon_weight.filter(|_| hierarchy.roles.contains(&Role::CpuWeight)) {
            std::fs::write(daemon.join("cpu.weight"), weight.clamp(1, 10_000).to_string())?;
            std::fs::write(home.functions.join("cpu.weight"), FUNCTIONS_WEIGHT.to_string())?;
            // Without this the run is only slower beside other work.
            let _ = std::fs::write(home.folder.join("cpu.weight"), run_weight().to_string());
        }
        Ok(())
    })();
    match made {
        Ok(()) => Ok(home),
        Err(error) => {
            Run { homes: vec![home] }.remove();
            Err(error)
        }
    }
}

/// Makes a folder; one that is there already is fine.
fn make(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn thaw_below(folder: &Path) {
    for child in children(folder) {
        thaw_below(&child);
    }
    let _ = std::fs::write(folder.join("freezer.state"), "THAWED");
    let _ = std::fs::write(folder.join("cgroup.freeze"), "0");
}

fn remove_below(folder: &Path) {
    for child in children(folder) {
        remove_below(&child);
    }
    // What cannot be removed now is swept at the next start.
    let _ = std::fs::remove_dir(folder);
}

fn kill_below(folder: &Path) -> usize {
    let mut killed = 0;
    for child in children(folder) {
        killed += kill_below(&child);
    }
    for pid in std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            killed += 1;
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    killed
}

/// Ends and removes what earlier runs of the instance left anywhere in the hierarchies. Other runs that still live
/// cannot exist: the data folder's lock sees to it. Returns how many cgroups were found. Waits up to a second for the end
/// of killed processes.
pub(crate) fn sweep(layout: &Layout, instance: &str) -> usize {
    let prefix = prefix(instance);
    let mut found = Vec::new();
    for hierarchy in &layout.used {
        find(&hierarchy.mount, &prefix, 0, &mut found);
    }
    // All at once: what is frozen in one hierarchy dies only when it is thawed there, and is in the way in all others.
    for _ in 0..100 {
        found.iter().for_each(|folder| thaw_below(folder));
        if found.iter().map(|folder| kill_below(folder)).sum::<usize>() == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    found.iter().for_each(|folder| remove_below(folder));
    found.len()
}

/// Depth to which leftovers are looked for: deeper than any service manager or container engine nests.
const DEPTH_MAX: usize = 8;

fn find(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<PathBuf>) {
    for child in children(folder) {
        let name = child.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours = name.strip_prefix(prefix).is_some_and(|run| run.bytes().all(|byte| byte.is_ascii_digit()));
        if ours {
            found.push(child);
        } else if depth < DEPTH_MAX {
            find(&child, prefix, depth + 1, found);
        }
    }
}
