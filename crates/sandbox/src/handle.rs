//! One running sandbox.

use crate::{CpuQuota, CpuWeight, Error};
use base::{ByteCount, Micros};
use std::{net::TcpListener, os::fd::OwnedFd};

/// One program in its sandbox. Dropping it kills everything inside; [`Sandbox::kill`] also waits for the end.
#[derive(Debug)]
pub struct Sandbox {
    timing: Timing,
}

impl Sandbox {
    /// Number of its slot: small, unique among live sandboxes of this node, reused; for log lines.
    pub fn slot(&self) -> u32 {
        0
    }

    /// Host uid of its processes.
    pub fn uid(&self) -> u32 {
        0
    }

    /// Host process id of its init; for `ps` on the host only, since it may be reused after the end.
    pub fn pid(&self) -> u32 {
        0
    }

    /// Read end of its standard output, non-blocking. `None` the second time.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Read end of its standard error, non-blocking. `None` the second time.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Listener at [`crate::RUNTIME_API`] inside, non-blocking. `None` the second time.
    /// Drop it and what it accepted when the sandbox has ended: only then is the network namespace reused.
    pub fn take_runtime_api(&mut self) -> Option<TcpListener> {
        None
    }

    /// Listener at [`crate::PLATFORM`] inside, non-blocking. As [`Sandbox::take_runtime_api`].
    pub fn take_platform(&mut self) -> Option<TcpListener> {
        None
    }

    /// What the start consisted of.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Resolves when the program has ended (at once if it has); what it left running is being killed then.
    /// Any number of callers. Cancel-safe.
    pub async fn exited(&self) -> Exited {
        Exited { exit: Exit::Code(0), oom: false }
    }

    /// Memory in use now: all processes, scratch space in memory, and active page cache; without cache that the
    /// kernel would drop first. Blocks for microseconds.
    pub fn memory_now(&self) -> Result<ByteCount, Error> {
        Ok(ByteCount(0))
    }

    /// Most memory in use at once since the start, page cache included, at most the limit. Blocks for microseconds.
    pub fn memory_peak(&self) -> Result<ByteCount, Error> {
        Ok(ByteCount(0))
    }

    /// Processes killed for exceeding the memory limit since the start; the first also ends the sandbox.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        Ok(0)
    }

    /// CPU time used by all its processes since the start.
    pub fn cpu_used(&self) -> Result<Micros, Error> {
        Ok(Micros(0))
    }

    /// Stops all its processes where they are, until [`Sandbox::thaw`]. Returns when the kernel has been told; they stop
    /// within microseconds.
    pub fn freeze(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Lets them run on.
    pub fn thaw(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Changes share and limit of CPU, e.g. down from [`CpuWeight::MAX`] after initialisation.
    pub fn set_cpu(&self, weight: CpuWeight, quota: Option<CpuQuota>) -> Result<(), Error> {
        let _ = (weight, quota);
        Ok(())
    }

    /// Asks the program to end: SIGTERM to its first process. Thaws it.
    pub fn terminate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Kills everything inside; resolves when nothing is left of it. Idempotent. Cancel-safe: the kill goes on.
    pub async fn kill(&self) {}
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Status of its first process.
    pub exit: Exit,
    /// Whether the sandbox exceeded its memory limit (then it was killed as a whole).
    pub oom: bool,
}

/// Status of the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exited by itself with this code.
    Code(u8),
    /// Ended by this signal; 9 too when the whole sandbox was killed.
    Signal(u8),
}

/// What a start consisted of, in microseconds, in order; they add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Slot taken (or made, when none was ready) and limits set.
    pub slot: Micros,
    /// Request on its way to and through the spawner, until the new process runs.
    pub clone: Micros,
    /// Namespaces entered, cgroups joined, file systems attached.
    pub mounts: Micros,
    /// Privileges dropped, Landlock and seccomp in place.
    pub lockdown: Micros,
    /// Until the program's image is loaded, and the daemon knows.
    pub exec: Micros,
    /// From the call of spawn to its return.
    pub total: Micros,
}
