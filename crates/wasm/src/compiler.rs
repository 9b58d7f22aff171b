//! The compiler, in a process of its own: whatever a program makes it do, the daemon goes on.
//!
//! The process is this program again with a hidden command. It is given the program as standard input, a file for the machine
//! code as standard output, and nothing else: no environment, no other descriptor. Before it reads it takes from itself what
//! [`sandbox::only_compute`] says. What it writes is loaded by the daemon as machine code: who takes the compiler over by the
//! program that it compiles can do in the daemon what that program's machine code can, and nothing to other programs' code.

use crate::{artefacts::PROGRAM_MAX, engine, program};
use base::{ByteCount, Seconds};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::MemfdFlags,
    process::{Pid, PidfdFlags, Signal},
};
use sandbox::Computing;
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus},
};

/// The priority of compilers beneath that of the rest. Source: nice(1).
const NICE: i32 = 15;
/// Stack of the thread that compiles: the compiler recurses.
const STACK: usize = 16 * 1024 * 1024;
/// Most bytes of machine code.
const WRITTEN_MAX: ByteCount = ByteCount(2 << 30);
/// How many times its processor time a compiler may take, since a busy machine gives it little.
const PATIENCE: i64 = 20;
/// What is read of what a compiler says.
const SAID_MAX: u64 = 4 * 1024;
/// The status of a command that has said why it failed.
const REFUSED: i32 = 1;
/// How the standard library says that an allocation failed.
const NO_MEMORY: [&str; 2] = ["memory allocation of", "annot allocate memory"];

/// What one compilation may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Processor time. Default 300 s.
    pub processor: Seconds,
    /// Memory, as addresses. Default 2 GiB.
    pub memory: ByteCount,
    /// Whether its system calls are filtered, which is not to be had on every host.
    pub filtered: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { processor: Seconds(300), memory: ByteCount(2 << 30), filtered: true }
    }
}

/// How programs are compiled.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// What is executed, with the arguments after which [`Bounds`] follow as seconds, bytes and 0 or 1; it calls
    /// [`compile`]. Empty: the calling thread compiles, without bounds; for tests.
    pub command: Vec<OsString>,
    /// What it may use.
    pub bounds: Bounds,
}

/// Why there is no machine code.
#[derive(Debug)]
pub(crate) enum Error {
    /// It cannot be made of this program.
    Refused(String),
    /// The host's fault.
    Host(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Host(error)
    }
}

impl Compiler {
    /// Compiles `input` into `output`. Blocks.
    pub(crate) fn run(&self, mut input: File, mut output: File) -> Result<(), Error> {
        let Some((name, arguments)) = self.command.split_first() else {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes)?;
            let engine = engine::compiling().map_err(Error::Refused)?;
            let compiled = program::compile(&engine, &bytes).map_err(Error::Refused)?;
            return Ok(output.write_all(&compiled)?);
        };
        let bounds = self.bounds;
        let mut said =
            File::from(rustix::fs::memfd_create("compiler", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
        let mut child = Command::new(name)
            .args(arguments)
            .args([
                bounds.processor.0.to_string(),
                bounds.memory.0.to_string(),
                u8::from(bounds.filtered).to_string(),
            ])
            .env_clear()
            // Each further arena reserves addresses, which are counted.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(input)
            .stdout(output)
            .stderr(said.try_clone()?)
            .spawn()?;
        let status = wait(&mut child, i64::from(bounds.processor.0) * PATIENCE);
        if status.is_err() {
            child.kill()?;
            child.wait()?;
        }
        let mut text = Vec::new();
        said.rewind()?;
        said.take(SAID_MAX).read_to_end(&mut text)?;
        match status? {
            None => Err(Error::Refused(format!(
                "compiling it has not come to an end within {} s",
                i64::from(bounds.processor.0) * PATIENCE
            ))),
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::Refused(failure(status, &String::from_utf8_lossy(&text), &bounds))),
        }
    }
}

/// Waits for the end of a process; `None`: it was ended, since it did not come.
fn wait(child: &mut Child, seconds: i64) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let end = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    loop {
        match rustix::event::poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Why a compiler failed, by its end and what it said. Pure.
fn failure(status: ExitStatus, said: &str, bounds: &Bounds) -> String {
    let said = said.trim();
    if NO_MEMORY.iter().any(|words| said.contains(words)) {
        return format!("compiling it takes more than {} MiB of memory", bounds.memory.0 >> 20);
    }
    let signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    if signal(Signal::XCPU) {
        return format!("compiling it takes more than {} s of processor time", bounds.processor.0);
    }
    if signal(Signal::XFSZ) {
        return format!("its machine code is larger than {} MiB", WRITTEN_MAX.0 >> 20);
    }
    if status.code() == Some(REFUSED) && !said.is_empty() {
        return said.to_owned();
    }
    // What a compiler that has failed says of itself is for the log.
    tracing::warn!(%status, said, "the compiler of WebAssembly failed");
    format!("the compiler failed ({status})")
}

/// What the process does that [`Compiler::command`] names, with the arguments that it is given; whether it succeeded. Why
/// it did not is said on standard error, and the command is to end with status 1.
pub fn compile(bounds: Bounds) -> bool {
    compiled(bounds).inspect_err(|reason| eprintln!("{reason}")).is_ok()
}

fn compiled(bounds: Bounds) -> Result<(), String> {
    let told = |error: io::Error| format!("the compiler cannot work on this host: {error}");
    // Without it functions wait for the compiler.
    let _ = rustix::process::setpriority_process(None, NICE);
    // For who looks at the machine.
    let _ = rustix::thread::set_name(c"neap-compiler");
    let engine = engine::compiling()?;
    let Bounds { processor, memory, filtered } = bounds;
    sandbox::only_compute(Computing { processor, memory, written: WRITTEN_MAX, filtered }).map_err(told)?;
    let work = move || {
        let mut bytes = Vec::new();
        io::stdin().lock().take(PROGRAM_MAX).read_to_end(&mut bytes).map_err(told)?;
        let compiled = program::compile(&engine, &bytes)?;
        let mut output = io::stdout().lock();
        output.write_all(&compiled).and_then(|()| output.flush()).map_err(told)
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).map_err(told)?;
    thread.join().unwrap_or_else(|_| Err("the compiler failed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_the_program_wanted_too_much_of() {
        let bounds = Bounds { processor: Seconds(7), memory: ByteCount(64 << 20), filtered: true };
        let told = |status: i32, said: &str| failure(ExitStatus::from_raw(status), said, &bounds);
        assert!(told(6, "memory allocation of 99 bytes failed").contains("more than 64 MiB of memory"));
        assert!(told(Signal::XCPU.as_raw(), "").contains("more than 7 s of processor time"));
        assert!(told(Signal::XFSZ.as_raw(), "").contains("machine code is larger"));
        assert_eq!(told(REFUSED << 8, "it is no module\n"), "it is no module");
        assert!(told(Signal::SEGV.as_raw(), "secret").starts_with("the compiler failed"));
        assert!(!told(101 << 8, "secret").contains("secret"));
    }
}
