//! What a node's operator decides about sandboxes.

use crate::egress::Network;
use std::{ops::Range, path::PathBuf};

/// Configuration of [`crate::Sandboxes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names this node on this host, so that leftovers of an earlier run are recognised: 1–32 of `a-z0-9`. Two daemons that
    /// run at once on a host must differ in it; derive it from the data folder.
    pub instance: String,
    /// Host uids (and gids) given to sandboxes, one each; nobody else on the host may use them. Default 100,000..165,536.
    pub uids: Range<u32>,
    /// Sandboxes at once, at most; fewer where the limit of open descriptors affords fewer. Default 2,000.
    pub live_max: usize,
    /// Slots (network namespace, cgroup, uid) kept ready. Each costs about 0.3 MB of kernel memory. Default 64.
    pub prepared: usize,
    /// Slots kept for reuse after a burst, at most. Default 128.
    pub prepared_max: usize,
    /// CPU weight of the daemon against all sandboxes together (each of which has at most [`crate::CpuWeight::MAX`]); `None`
    /// leaves the daemon's cgroup alone. Default 10,000.
    pub daemon_cpu_weight: Option<u16>,
    /// Where `/tmp` of sandboxes is. Default: [`Scratch::Memory`].
    pub scratch: Scratch,
    /// What sandboxes reach. Default: [`Network::PlatformOnly`].
    pub network: Network,
    /// Isolation that may be missing. Default: none.
    pub allow_weaker: Vec<Weakness>,
}

impl Settings {
    /// Defaults for the instance of that name.
    pub fn new(instance: impl Into<String>) -> Settings {
        Settings {
            instance: instance.into(),
            uids: 100_000..165_536,
            live_max: 2_000,
            prepared: 64,
            prepared_max: 128,
            daemon_cpu_weight: Some(10_000),
            scratch: Scratch::Memory,
            network: Network::PlatformOnly,
            allow_weaker: Vec::new(),
        }
    }
}

/// Where `/tmp` of sandboxes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// In memory: what is kept there counts against [`crate::Spec::memory`].
    Memory,
    /// In image files in this folder, which is this node's alone and is made if need be; they have no name and vanish with
    /// their sandbox. What is kept there does not count against memory. Where the host cannot do it (see
    /// [`crate::doctor()`]) or fails to, it is in memory, and a warning is logged.
    Disk(PathBuf),
}

/// A part of the isolation that a host may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weakness {
    /// No own uid for each environment: they share the daemon's, and namespaces alone keep them apart.
    NoOwnUid,
    /// No memory limit: one function can exhaust the host's memory.
    NoMemoryLimit,
    /// No limit on processes: a fork bomb fills the host's process table.
    NoProcessLimit,
    /// No CPU weights: functions and daemon compete as equals.
    NoCpuWeight,
    /// No freezer: what a function leaves running between invocations keeps running.
    NoFreezer,
    /// No seccomp filter: the kernel's whole surface is exposed.
    NoSeccomp,
    /// No Landlock: one of several layers that keep files unreachable is missing.
    NoLandlock,
}

impl Weakness {
    /// Every weakness, in the order in which they are checked.
    pub const ALL: [Weakness; 7] = [
        Weakness::NoOwnUid,
        Weakness::NoMemoryLimit,
        Weakness::NoProcessLimit,
        Weakness::NoCpuWeight,
        Weakness::NoFreezer,
        Weakness::NoSeccomp,
        Weakness::NoLandlock,
    ];

    /// As it is written in configuration files, e.g. `no-memory-limit`.
    pub const fn name(self) -> &'static str {
        match self {
            Weakness::NoOwnUid => "no-own-uid",
            Weakness::NoMemoryLimit => "no-memory-limit",
            Weakness::NoProcessLimit => "no-process-limit",
            Weakness::NoCpuWeight => "no-cpu-weight",
            Weakness::NoFreezer => "no-freezer",
            Weakness::NoSeccomp => "no-seccomp",
            Weakness::NoLandlock => "no-landlock",
        }
    }

    /// What the host must give so that it is not missing.
    pub const fn wants(self) -> &'static str {
        match self {
            Weakness::NoOwnUid => "an own uid for each environment",
            Weakness::NoMemoryLimit => "a memory limit",
            Weakness::NoProcessLimit => "a process limit",
            Weakness::NoCpuWeight => "CPU weights",
            Weakness::NoFreezer => "freezing",
            Weakness::NoSeccomp => "a system call filter",
            Weakness::NoLandlock => "Landlock",
        }
    }

    /// What its absence costs.
    pub const fn consequence(self) -> &'static str {
        match self {
            Weakness::NoOwnUid => "functions have the daemon's uid: namespaces alone keep them apart",
            Weakness::NoMemoryLimit => {
                "one function can exhaust the host's memory, and what it uses is not measured"
            }
            Weakness::NoProcessLimit => "a fork bomb can fill the host's process table",
            Weakness::NoCpuWeight => "functions and daemon compete for CPU as equals",
            Weakness::NoFreezer => "what a function leaves running between invocations keeps running",
            Weakness::NoSeccomp => "every system call of the kernel is exposed to functions",
            Weakness::NoLandlock => "one of the layers that keep host files unreachable is missing",
        }
    }
}

impl std::fmt::Display for Weakness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.wants())
    }
}

impl std::str::FromStr for Weakness {
    type Err = String;
    /// The inverse of [`Weakness::name`]; the error names the known ones.
    fn from_str(text: &str) -> Result<Weakness, String> {
        Weakness::ALL.into_iter().find(|known| known.name() == text).ok_or_else(|| {
            let known: Vec<_> = Weakness::ALL.iter().map(|known| known.name()).collect();
            format!("unknown weakness {text:?}; known are {}", known.join(", "))
        })
    }
}
