//! The spawner: two small processes forked from the daemon, in which every sandbox begins.
//!
//! The *keeper* is the daemon's child. It forks the *worker*, waits until that ends, then until every process that the
//! worker started has ended, removes the run's cgroups, and ends. The worker is single-threaded: it takes requests from a
//! socket, clones, and ends when the daemon's end of the socket is closed, in whatever way the daemon ended. Each sandbox's
//! init asks the kernel to be killed when the worker ends. So nothing survives the daemon, the worker or the keeper;
//! only cgroups do if the keeper itself is killed, until the next start sweeps them.

pub(crate) mod attach;
pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod init;
pub(crate) mod program;
pub(crate) mod protocol;
pub(crate) mod zygote;

use crate::{cgroup, sys};
use protocol::{Report, Step};
use rustix::{
    fd::AsFd,
    net::{AddressFamily, SocketFlags, SocketType},
    process::Signal,
};
use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

/// What the worker's children need and share.
pub(crate) struct Common {
    /// Compiled system call filter; `None` where the settings accept its absence.
    pub(crate) filter: Option<Vec<libc::sock_filter>>,
    /// Whether to use Landlock.
    pub(crate) landlock: bool,
    /// Last capability that the kernel knows.
    pub(crate) last_capability: u32,
    /// What [`masked`] says.
    pub(crate) masked: Vec<&'static CStr>,
    /// Whether sandboxes have the daemon's uid: it cannot give others away.
    pub(crate) shared_uid: bool,
}

/// What `/proc` shows of the machine that no runtime needs, or that only its administrator should see.
const MASKED: [&CStr; 14] = [
    c"/proc/cmdline",
    c"/proc/config.gz",
    c"/proc/interrupts",
    c"/proc/kallsyms",
    c"/proc/kcore",
    c"/proc/key-users",
    c"/proc/keys",
    c"/proc/kmsg",
    c"/proc/modules",
    c"/proc/sched_debug",
    c"/proc/slabinfo",
    c"/proc/sysrq-trigger",
    c"/proc/timer_list",
    c"/proc/vmallocinfo",
];

/// Those of the masked files that this kernel has and does not keep from ordinary users anyway: each costs a start some
/// microseconds.
pub(crate) fn masked() -> Vec<&'static CStr> {
    let open = |file: &CStr| rustix::fs::lstat(file).is_ok_and(|stat| stat.st_mode & 0o007 != 0);
    MASKED.into_iter().filter(|file| open(file)).collect()
}

/// The daemon's side of the spawner.
#[derive(Debug)]
pub(crate) struct Spawner {
    socket: OwnedFd,
    keeper: i32,
}

impl Spawner {
    /// Forks keeper and worker. `run` is removed by the keeper at the end.
    pub(crate) fn start(common: Common, run: &cgroup::Run) -> io::Result<Spawner> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        for socket in [&ours, &theirs] {
            // Best effort: with the default buffer large requests queue less deep.
            let _ =
                rustix::net::sockopt::set_socket_send_buffer_size_force(socket, 4 * protocol::REQUEST_MAX);
        }
        match sys::fork()? {
            sys::Forked::Child => keeper(theirs, common, run),
            sys::Forked::Parent(keeper) => {
                drop(theirs);
                rustix::io::ioctl_fionbio(&ours, true)?;
                Ok(Spawner { socket: ours, keeper })
            }
        }
    }

    /// Where requests go; non-blocking.
    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Host process id of the keeper.
    pub(crate) fn keeper(&self) -> i32 {
        self.keeper
    }

    /// Tells the worker to end, without waiting.
    pub(crate) fn close(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl Drop for Spawner {
    /// Ends everything and waits for it: some milliseconds.
    fn drop(&mut self) {
        self.close();
        if let Err(error) = sys::wait_for(self.keeper) {
            // `shutdown` has waited for it already.
            if error.raw_os_error() != Some(libc::ECHILD) {
                tracing::warn!(%error, "the spawner could not be waited for");
            }
        }
    }
}

/// Makes this process independent of terminal, signals and descriptors of the daemon. `socket` becomes descriptor 4,
/// below it are /dev/null four times, so that received descriptors are never 0–3.
fn detach(socket: OwnedFd) -> io::Result<OwnedFd> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2] {
        sys::set_signal(signal, true);
    }
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"neap-spawner");
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    let high = |descriptor: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(descriptor, 16);
    let sources = vec![high(&null)?, high(&null)?, high(&null)?, high(&null)?, high(&socket)?];
    std::mem::forget((null, socket)); // closed with everything else
    sys::install_descriptors(sources)
}

/// Between the keeper's attempts to end what is left.
const LAST_KILLS_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

fn keeper(socket: OwnedFd, common: Common, run: &cgroup::Run) -> ! {
    let Ok(socket) = detach(socket) else { sys::exit_now(1) };
    // Orphaned inits come to the keeper, so that it can wait for them.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let keeper = rustix::process::getpid();
    match sys::fork() {
        Ok(sys::Forked::Child) => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(keeper) {
                sys::exit_now(1); // the keeper ended before the signal was asked for
            }
            worker(&socket, &common)
        }
        Ok(sys::Forked::Parent(worker)) => {
            drop(socket);
            sys::close_range(4, u32::MAX);
            while let Ok(Some((ended, _))) = sys::wait_any(true) {
                if ended == worker {
                    break;
                }
            }
            // The kernel is killing the sandboxes; whoever was born a moment too late for that is killed here. Frozen
            // processes do not die before they are thawed, and the daemon may still freeze one: hence again and again.
            while sys::has_children() {
                run.kill_all();
                run.thaw_all();
                std::thread::sleep(LAST_KILLS_EVERY);
                while let Ok(Some(_)) = sys::wait_any(false) {}
            }
            run.remove();
            sys::exit_now(0)
        }
        Err(_) => sys::exit_now(1),
    }
}

fn worker(socket: &OwnedFd, common: &Common) -> ! {
    // Not the daemon's session keyring, which every sandbox would inherit.
    sys::new_session_keyring();
    // Ended children vanish at once; their exit is reported by their init and by pidfd.
    sys::set_signal(libc::SIGCHLD, true);
    let home = attach::Home::open();
    let mut buffer = vec![0; protocol::REQUEST_MAX + 1];
    loop {
        let (length, descriptors) = match protocol::receive(socket.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(_) => sys::exit_now(0),
            Ok(received) => received,
        };
        let received_ns = sys::monotonic_ns();
        let mut descriptors = descriptors.into_iter();
        let Some(control) = descriptors.next() else { continue };
        let bytes = buffer.get(..length).unwrap_or_default();
        let mut reader = protocol::Reader::new(bytes);
        let done = match reader.kind() {
            Some(protocol::SPAWN) => spawn(&control, reader, descriptors, common, home.as_ref(), received_ns),
            Some(protocol::TEMPLATE) => build(&control, reader),
            Some(protocol::ZYGOTE) => zygote::start(&control, reader, descriptors, common, received_ns),
            Some(protocol::ATTACH) => attach(&control, reader, descriptors, home.as_ref()),
            _ => Err((Step::Request, io::ErrorKind::InvalidData.into())),
        };
        if let Err((step, error)) = done {
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            let _ = protocol::report(&control, Report::Failed { step, errno, index: 0 }, None);
        }
    }
}

type Failed = (Step, io::Error);

fn spawn(
    control: &OwnedFd,
    reader: protocol::Reader<'_>,
    descriptors: impl Iterator<Item = OwnedFd>,
    common: &Common,
    home: Option<&attach::Home>,
    received_ns: u64,
) -> Result<(), Failed> {
    let request = init::Request::decode(reader, descriptors)
        .ok_or_else(|| (Step::Request, io::ErrorKind::InvalidData.into()))?;
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    let cgroup = request.birth_cgroup.as_ref().map(AsFd::as_fd);
    match sys::clone_process(namespaces, cgroup).map_err(|error| (Step::Clone, error))? {
        sys::Forked::Child => {
            if let Some(home) = home {
                home.leave();
            }
            init::run(control, &request, common)
        }
        sys::Forked::Parent(cloned) => {
            let report = Report::Cloned { pid: cloned.pid.cast_unsigned(), received_ns };
            if protocol::report(control, report, Some(cloned.pidfd.as_fd())).is_err() {
                // Nobody waits for it any more.
                let _ = rustix::process::pidfd_send_signal(&cloned.pidfd, Signal::KILL);
            }
            Ok(())
        }
    }
}

fn build(control: &OwnedFd, reader: protocol::Reader<'_>) -> Result<(), Failed> {
    let root =
        builder::Root::decode(reader).ok_or_else(|| (Step::Request, io::ErrorKind::InvalidData.into()))?;
    match sys::fork().map_err(|error| (Step::Clone, error))? {
        sys::Forked::Parent(_) => Ok(()),
        sys::Forked::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let outcome = match root.build() {
                Ok(namespace) => protocol::report(control, Report::Built, Some(namespace.as_fd())),
                Err(failed) => protocol::report(control, failed, None),
            };
            sys::exit_now(i32::from(outcome.is_err()))
        }
    }
}

/// Done by this process itself, if it can come back from the sandbox; else by a child that does not.
fn attach(
    control: &OwnedFd,
    reader: protocol::Reader<'_>,
    mut descriptors: impl Iterator<Item = OwnedFd>,
    home: Option<&attach::Home>,
) -> Result<(), Failed> {
    let order = attach::Order::decode(reader, &mut descriptors);
    let order = order.ok_or_else(|| (Step::Request, io::ErrorKind::InvalidData.into()))?;
    // When nobody hears it any more, that was the caller's choice.
    let tell = |said| protocol::report(control, said, None);
    if let Some(home) = home {
        let said = order.carry_out();
        if let Err(error) = home.come_back() {
            // Every later start would take the sandbox's files for the host's: all ends, as when this process crashes.
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            let _ = tell(Report::Failed { step: Step::Return, errno, index: 0 });
            sys::exit_now(1);
        }
        let _ = tell(said);
        return Ok(());
    }
    match sys::fork().map_err(|error| (Step::Clone, error))? {
        sys::Forked::Parent(_) => Ok(()),
        sys::Forked::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let outcome = tell(order.carry_out());
            sys::exit_now(i32::from(outcome.is_err()))
        }
    }
}

/// Raw number, for error-free use between clone and exec.
pub(crate) fn raw(descriptor: &OwnedFd) -> i32 {
    descriptor.as_raw_fd()
}
