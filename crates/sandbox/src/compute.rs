//! Processes that read bytes of strangers, compute, and write what comes of it: compilers.
//!
//! Such a process is this program again, executed; it takes from itself what it does not need, before it looks at a byte.
//! Less than a sandbox and enough: without opening, connecting, executing, forking and signalling there is nothing that
//! namespaces and mounts would keep it from.

use crate::{seccomp, sys};
use base::{ByteCount, Seconds};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use std::io;

/// Where the kernel reads how willingly it may kill this process when the machine's memory is used up, and the most.
const OOM_SCORE: (&str, &str) = ("/proc/self/oom_score_adj", "1000");

/// What such a process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computing {
    /// Processor time; then SIGXCPU ends it.
    pub processor: Seconds,
    /// Addresses, and so memory; allocations beyond fail.
    pub memory: ByteCount,
    /// Bytes of a file that it writes; then SIGXFSZ ends it.
    pub written: ByteCount,
    /// Whether its system calls are filtered. `false` only where weaker isolation is accepted
    /// ([`crate::Weakness::NoSeccomp`]).
    pub filtered: bool,
}

/// From here on this process reads and writes descriptors 0 to 2, and computes. It ends with the thread that started it, is
/// the first to go when the machine's memory is used up, and leaves no core. Errors: the kernel refuses one of these; then
/// nothing of strangers may be looked at.
pub fn only_compute(computing: Computing) -> io::Result<()> {
    sys::close_range(3, u32::MAX);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    // Without it the kernel chooses by itself.
    let _ = std::fs::write(OOM_SCORE.0, OOM_SCORE.1);
    let seconds = u64::from(computing.processor.0);
    // A second between the two: the first says why.
    limit(Resource::Cpu, seconds, seconds + 1)?;
    limit(Resource::As, computing.memory.0, computing.memory.0)?;
    limit(Resource::Fsize, computing.written.0, computing.written.0)?;
    limit(Resource::Core, 0, 0)?;
    if computing.filtered {
        if !seccomp::available() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel has no seccomp filters"));
        }
        sys::filter_calls(&seccomp::compile_computing())?;
    }
    Ok(())
}

fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    // Nobody but root raises a limit that is set already.
    let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
    Ok(rustix::process::setrlimit(resource, limit)?)
}
