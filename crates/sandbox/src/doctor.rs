//! What this host gives to sandboxes, what is missing and what that costs.

use crate::{
    Ranges, Settings, Weakness,
    cgroup::{Layout, Role, Version},
    egress, scratch, seccomp, sys, users, zygote,
};

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In order of importance.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether sandboxes can run without accepting any weakness.
    pub fn complete(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Missing)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name, e.g. `memory-limit`.
    pub name: &'static str,
    /// Verdict.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What its state costs; empty when [`Status::Ok`].
    pub consequence: String,
}

/// Verdict of a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, with a cost.
    Degraded,
    /// Sandboxes are refused unless the settings accept its absence (or at all, as the consequence says).
    Missing,
}

impl Status {
    /// Lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Degraded => "degraded",
            Status::Missing => "missing",
        }
    }
}

/// Looks at this host. Changes nothing; takes some milliseconds; blocks.
pub fn doctor() -> Report {
    let layout = Layout::detect().unwrap_or_default();
    let mut checks = vec![root(), kernel(), namespaces(), mounts()];
    for (name, role, weakness) in [
        ("memory-limit", Role::Memory, Some(Weakness::NoMemoryLimit)),
        ("process-limit", Role::Processes, Some(Weakness::NoProcessLimit)),
        ("cpu-weight", Role::CpuWeight, Some(Weakness::NoCpuWeight)),
        ("freezer", Role::Freeze, Some(Weakness::NoFreezer)),
        ("cpu-accounting", Role::CpuUse, None),
    ] {
        checks.push(cgroup(&layout, name, role, weakness));
    }
    checks.extend([swap(&layout), filter(), landlock(), egress(), scratch(), zygotes()]);
    Report { checks }
}

fn ok(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, status: Status::Ok, detail: detail.into(), consequence: String::new() }
}

fn degraded(name: &'static str, detail: impl Into<String>, consequence: impl Into<String>) -> Check {
    Check { name, status: Status::Degraded, detail: detail.into(), consequence: consequence.into() }
}

fn missing(name: &'static str, detail: impl Into<String>, consequence: impl Into<String>) -> Check {
    Check { name, status: Status::Missing, detail: detail.into(), consequence: consequence.into() }
}

/// The consequence of a weakness that settings can accept.
fn acceptable(weakness: Weakness) -> String {
    format!("{}; functions are refused unless `{}` is accepted", weakness.consequence(), weakness.name())
}

fn root() -> Check {
    match rustix::process::geteuid().as_raw() {
        0 if users::are_missing(&Settings::new("").uids) => missing(
            "root",
            "root of a user namespace without uids to give away",
            acceptable(Weakness::NoOwnUid),
        ),
        0 => ok("root", "running as root"),
        uid if users::holds_in_user_namespace(|| true) => {
            let detail = format!("running as uid {uid}, as root of a user namespace");
            missing("root", detail, acceptable(Weakness::NoOwnUid))
        }
        uid => missing(
            "root",
            format!("running as uid {uid}, and the host refuses unprivileged user namespaces"),
            "functions are refused: no sandbox can be made without either",
        ),
    }
}

/// Oldest kernel that has every call used: mount_setattr came with 5.12, cgroup kills of whole groups are not used.
const KERNEL_MIN: (u32, u32) = (5, 12);

fn kernel() -> Check {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        ok("kernel", format!("Linux {release}"))
    } else {
        let (major, minor) = KERNEL_MIN;
        let needed = format!("functions are refused: Linux {major}.{minor} or newer is needed");
        missing("kernel", format!("Linux {release}"), needed)
    }
}

fn namespaces() -> Check {
    let all = ["pid", "mnt", "uts", "ipc", "net", "cgroup"];
    let absent: Vec<&str> =
        all.into_iter().filter(|kind| !std::path::Path::new("/proc/self/ns").join(kind).exists()).collect();
    if absent.is_empty() {
        ok("namespaces", all.join(", "))
    } else {
        let detail = format!("the kernel lacks {}", absent.join(", "));
        missing("namespaces", detail, "functions are refused: no sandbox can be made without them")
    }
}

fn mounts() -> Check {
    let root = rustix::process::geteuid().is_root();
    if if root { sys::has_mount_calls() } else { users::holds_in_user_namespace(sys::has_mount_calls) } {
        ok("detached-mounts", "open_tree, move_mount and mount_setattr work")
    } else {
        missing(
            "detached-mounts",
            "the kernel, or a filter around Neap, refuses them",
            "functions are refused: their code could not be attached",
        )
    }
}

fn cgroup(layout: &Layout, name: &'static str, role: Role, weakness: Option<Weakness>) -> Check {
    let Some(hierarchy) = layout.serving(role) else {
        let detail = "no cgroup hierarchy that may be written serves it";
        return match weakness {
            Some(weakness) => missing(name, detail, acceptable(weakness)),
            None => degraded(name, detail, "CPU time of functions is reported as 0"),
        };
    };
    let version = match hierarchy.version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    };
    ok(name, format!("cgroup {version} at {}", hierarchy.own.display()))
}

fn swap(layout: &Layout) -> Check {
    let swapping = std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    let limited = layout.serving(Role::Memory).is_some_and(|hierarchy| match hierarchy.version {
        Version::V1 => hierarchy.own.join("memory.memsw.limit_in_bytes").exists(),
        // The root has no such file, and a kernel with it gives it to every child.
        Version::V2 => hierarchy.own == hierarchy.mount || hierarchy.own.join("memory.swap.max").exists(),
    });
    match (swapping, limited) {
        (false, _) => ok("swap", "the host has no swap space"),
        (true, true) => ok("swap", "functions are kept from it"),
        (true, false) => degraded(
            "swap",
            "the host has swap space, and the kernel does not account for it",
            "functions can use swap space beyond their memory; boot with swapaccount=1, or switch swap off",
        ),
    }
}

fn filter() -> Check {
    if seccomp::available() {
        let instructions = seccomp::compile().len();
        ok("seccomp", format!("filter of {instructions} instructions"))
    } else {
        let detail = "no seccomp filters for this kernel and processor";
        missing("seccomp", detail, acceptable(Weakness::NoSeccomp))
    }
}

/// The newest Landlock version that is used.
const LANDLOCK_BEST: u32 = 6;

fn landlock() -> Check {
    match sys::landlock_abi() {
        0 => missing(
            "landlock",
            "not in the kernel, or not enabled at boot (parameter `lsm=`)",
            acceptable(Weakness::NoLandlock),
        ),
        abi if abi < LANDLOCK_BEST => degraded(
            "landlock",
            format!("version {abi}"),
            format!("rights that came with later versions, up to {LANDLOCK_BEST}, are not restricted by it"),
        ),
        abi => ok("landlock", format!("version {abi}")),
    }
}

/// Whether functions can reach the internet, by trying it in a namespace that is thrown away.
fn egress() -> Check {
    let tried = || egress::probe(&Ranges::default()).map(drop);
    let result = if rustix::process::geteuid().is_root() {
        std::thread::scope(|scope| scope.spawn(tried).join())
            .unwrap_or_else(|_| Err(std::io::Error::other("trying it panicked")))
    } else if users::holds_in_user_namespace(|| egress::probe(&Ranges::default()).is_ok()) {
        Ok(())
    } else {
        Err(std::io::Error::other("not to be had in a user namespace of this host"))
    };
    match result {
        Ok(()) => ok("egress", "functions can reach the internet, without any change to this host's network"),
        Err(error) => degraded(
            "egress",
            format!(
                "{error}; the kernel needs network namespaces, nf_tables with tproxy and reject, nfnetlink_queue"
            ),
            "functions reach Neap only; a node with `network.egress = \"internet\"` does not start",
        ),
    }
}

fn scratch() -> Check {
    match scratch::host_lack() {
        None => ok("scratch-space", "each function's /tmp is a disk image of its own behind a loop device"),
        Some(lack) => degraded(
            "scratch-space",
            format!("each function's /tmp is in memory: {lack}"),
            "what a function keeps in /tmp counts against its memory size",
        ),
    }
}

fn zygotes() -> Check {
    let root = rustix::process::geteuid().is_root();
    match zygote::refused(!root || users::are_missing(&Settings::new("").uids)) {
        None => ok("zygotes", "Python functions are forked from an interpreter that is started once"),
        Some(reason) => {
            degraded("zygotes", reason, "each start of a Python function starts the interpreter, some 20 ms")
        }
    }
}
