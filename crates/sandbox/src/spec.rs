//! What a sandbox is made from.

use base::MemoryMib;
use std::{ffi::OsString, os::fd::OwnedFd, path::PathBuf};

/// A host path shown read-only inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File or folder on the host, absolute. Its parents need not be readable by the program.
    pub host: PathBuf,
    /// Where it appears inside, absolute.
    pub inside: PathBuf,
}

impl Attachment {
    /// `host` shown at `inside`.
    pub fn new(host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Attachment {
        Attachment { host: host.into(), inside: inside.into() }
    }

    /// `path` shown under its own name.
    pub fn same(path: impl Into<PathBuf>) -> Attachment {
        let path = path.into();
        Attachment { host: path.clone(), inside: path }
    }
}

/// A symbolic link inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateLink {
    /// Where the link is, absolute.
    pub inside: PathBuf,
    /// What it says; resolved inside.
    pub target: PathBuf,
}

/// A small read-only file inside, world-readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFile {
    /// Where it is, absolute.
    pub inside: PathBuf,
    /// Its content.
    pub content: Vec<u8>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// The read-only root that a runtime's sandboxes share.
///
/// Every root has `/dev` (null, zero, full, random, urandom, fd, stdin, stdout, stderr), `/proc`, `/tmp`, `/var/task`, `/opt`
/// and `/etc` with passwd, group, hosts, nsswitch.conf and resolv.conf; this adds to it. Parents of named paths are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateSpec {
    /// For messages, e.g. `python3.12`.
    pub name: String,
    /// Host paths shown read-only, in this order: one that lies beneath another comes after it, and must exist in it.
    pub binds: Vec<Attachment>,
    /// Symbolic links, e.g. `/lib64` → `usr/lib64`.
    pub links: Vec<TemplateLink>,
    /// Generated files; one named like a generated `/etc` file replaces it.
    pub files: Vec<TemplateFile>,
    /// Empty folders: mount points for [`Spec::attachments`].
    pub folders: Vec<PathBuf>,
}

/// A template that was built. Cheap to clone; lives until its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) shared: std::sync::Arc<crate::sandboxes::TemplateShared>,
}

impl Template {
    /// [`TemplateSpec::name`].
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

/// Share of CPU time under contention: 1–10,000, 100 is one ordinary share. Not a limit: idle time is free to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuWeight(u16);

impl CpuWeight {
    /// The largest, used while a function initialises.
    pub const MAX: CpuWeight = CpuWeight(10_000);

    /// Clamps into 1–10,000.
    pub const fn new(weight: u16) -> CpuWeight {
        CpuWeight(if weight < 1 {
            1
        } else if weight > 10_000 {
            10_000
        } else {
            weight
        })
    }

    /// In proportion to memory as on Lambda, where 1,769 MB have one full CPU: here weight 100.
    pub const fn of_memory(memory: MemoryMib) -> CpuWeight {
        let weight = (memory.0 as u64 * 100).div_ceil(1769);
        CpuWeight::new(if weight > 10_000 { 10_000 } else { weight as u16 })
    }

    /// The weight, as cgroup v2 counts it.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Hard limit of CPU time in thousandths of one CPU: 1,000 is one CPU. At least 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuQuota(pub u32);

/// One program to run.
#[derive(Debug)]
pub struct Spec {
    /// The root.
    pub template: Template,
    /// Host folder shown read-only, without devices and set-uid, at [`crate::TASK`]; its files must be world-readable.
    pub task: Option<PathBuf>,
    /// Further host paths, read-only, at folders (or, for files, at files) that the root has.
    pub attachments: Vec<Attachment>,
    /// Size of `/tmp`; on disk, 512 MB is kept ready and other sizes are made by the start. See [`crate::Scratch`].
    pub scratch: MemoryMib,
    /// Memory of all processes together, page cache that they cause included; no swap. At least 8.
    pub memory: MemoryMib,
    /// Processes and threads, our init included. Default 1,024.
    pub processes: u32,
    /// Open descriptors per process. Default 1,024.
    pub descriptors: u32,
    /// CPU under contention; see [`crate::Sandbox::set_cpu`].
    pub cpu_weight: CpuWeight,
    /// Hard CPU limit, if any.
    pub cpu_quota: Option<CpuQuota>,
    /// Program (path inside) and its arguments; not empty, unless the sandbox is `waiting`.
    pub argv: Vec<OsString>,
    /// The whole environment. Secrets: never logged.
    pub env: Vec<(OsString, OsString)>,
    /// Programs (paths inside) that are started before the program and run beside it; default none. With any, the program
    /// itself is started by [`crate::Sandbox::begin`], and its end ends the sandbox only after theirs.
    pub companions: Vec<PathBuf>,
    /// Their whole environment.
    pub companion_env: Vec<(OsString, OsString)>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// Becomes descriptor 3.
    pub channel: Option<OwnedFd>,
    /// Forks the program, which is then what its image makes of `argv` and `env`, instead of executing it; not with
    /// `companions`. When it cannot, the program is executed. Default none.
    pub zygote: Option<std::sync::Arc<crate::Zygote>>,
    /// Whether the program is named later, by [`crate::Sandbox::begin_as`]: then `argv` and `env` are empty, `cwd` is `/`, and
    /// there are neither `companions` nor a `zygote`. The start resolves when every wall is up; one process waits inside.
    /// Default no.
    pub waiting: bool,
    /// Whether [`crate::Sandbox::attach`] is wanted. Default no: it costs a descriptor.
    pub attachable: bool,
}

impl Spec {
    /// `argv` in `template` with Lambda's defaults: 128 MB of memory, 512 MB of scratch space, 1,024 processes and descriptors.
    pub fn new(template: Template, argv: Vec<OsString>) -> Spec {
        let memory = MemoryMib(128);
        Spec {
            template,
            task: None,
            attachments: Vec::new(),
            scratch: MemoryMib(512),
            memory,
            processes: 1_024,
            descriptors: 1_024,
            cpu_weight: CpuWeight::MAX,
            cpu_quota: None,
            argv,
            env: Vec::new(),
            companions: Vec::new(),
            companion_env: Vec::new(),
            cwd: PathBuf::from("/"),
            channel: None,
            zygote: None,
            waiting: false,
            attachable: false,
        }
    }

    /// [`Spec::new`] without a program: `waiting`, and `attachable`.
    pub fn waiting(template: Template) -> Spec {
        Spec { waiting: true, attachable: true, ..Spec::new(template, Vec::new()) }
    }
}
