//! One running sandbox.

mod attach;
mod begin;

use crate::{
    CpuQuota, CpuWeight, Error,
    egress::Relay,
    network,
    sandboxes::{Node, next_report},
    slots::Slot,
    spawner::protocol::{Report, Step},
    sys,
};
use base::{ByteCount, Micros};
use begin::Orders;
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType},
    process::Signal,
};
use std::{
    net::{TcpListener, UdpSocket},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{io::unix::AsyncFd, sync::watch};

/// One program in its sandbox. Dropping it kills everything inside; [`Sandbox::kill`] also waits for the end.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    life: watch::Receiver<Life>,
    news: watch::Receiver<News>,
    /// The program, for messages; empty where it is named later.
    program: PathBuf,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    beside: Option<(OwnedFd, OwnedFd)>,
    runtime_api: Option<TcpListener>,
    platform: Option<TcpListener>,
    traces: Option<UdpSocket>,
    timing: Timing,
    forked: bool,
}

/// What handle and watching task share.
#[derive(Debug)]
struct Shared {
    node: Arc<Node>,
    /// Taken when nothing of the sandbox is left.
    slot: Mutex<Option<Slot>>,
    index: u32,
    uid: u32,
    pid: u32,
    process: OwnedFd,
    frozen: AtomicBool,
    last: Mutex<Last>,
    /// Its mount namespace, if paths may be attached. It keeps the scratch space: dropped before the slot is put back.
    mounts: Mutex<Option<Arc<OwnedFd>>>,
    orders: Mutex<Orders>,
}

/// Counters as they were when the program had ended.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    memory_peak: u64,
    oom_kills: u64,
    cpu_us: u64,
}

/// What is known of a program that begins after its sandbox, and of those that accompany it.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    /// Whether the program was started, or the step at which that failed, with the error number.
    begun: Option<Result<(), (Step, i32)>>,
    /// The first companion that ended.
    lost: Option<(u32, Exit)>,
    /// A bit for each companion that has ended; those beyond the 64th share the last.
    ended: u64,
}

impl News {
    fn hear(&mut self, report: Report) {
        match report {
            Report::Begun => self.begun = Some(Ok(())),
            Report::Failed { step, errno, .. } => self.begun = Some(Err((step, errno))),
            Report::CompanionExited { index, status } => {
                self.lost = self.lost.or(Some((index, Exit::of(status))));
                self.ended |= 1 << index.min(63);
            }
            Report::Cloned { .. }
            | Report::Executed { .. }
            | Report::Exited { .. }
            | Report::Built
            | Report::Mounted
            | Report::Attached => {}
        }
    }
}

/// `Running → Exited → Gone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// The program has ended; what it left is being killed.
    Exited(Exited),
    /// Nothing of it is left.
    Gone(Exited),
}

/// What a start ended with.
pub(crate) struct Parts {
    pub(crate) node: Arc<Node>,
    pub(crate) slot: Slot,
    pub(crate) pid: u32,
    pub(crate) process: OwnedFd,
    pub(crate) control: AsyncFd<OwnedFd>,
    /// Whether its program is named later.
    pub(crate) waiting: bool,
    /// Standard output and error.
    pub(crate) streams: (OwnedFd, OwnedFd),
    /// Those of the companions.
    pub(crate) beside: Option<(OwnedFd, OwnedFd)>,
    pub(crate) timing: Timing,
    /// Wait status of a program that has ended already.
    pub(crate) status: Option<i32>,
    /// The companion that has ended already, and its wait status.
    pub(crate) lost: Option<(u32, i32)>,
    pub(crate) program: PathBuf,
    /// Whether it was forked from a zygote.
    pub(crate) forked: bool,
    /// Its mount namespace, where that was asked for.
    pub(crate) mounts: Option<OwnedFd>,
}

impl Sandbox {
    /// Begins to watch a program that was just started.
    pub(crate) fn watch(parts: Parts) -> Result<Sandbox, Error> {
        let Parts {
            node,
            slot,
            pid,
            process,
            control,
            waiting,
            streams,
            beside,
            timing,
            status,
            lost,
            program,
            forked,
            mounts,
        } = parts;
        let control = Arc::new(control);
        let orders = if waiting { Orders::Awaited(Arc::clone(&control)) } else { Orders::Named };
        let shared = Arc::new(Shared {
            node,
            orders: Mutex::new(orders),
            index: slot.index,
            uid: slot.uid,
            pid,
            process,
            frozen: AtomicBool::new(false),
            last: Mutex::default(),
            mounts: Mutex::new(mounts.map(Arc::new)),
            slot: Mutex::new(Some(slot)),
        });
        // From here on `Shared`'s drop cleans up.
        let context = shared.node.egress.as_ref();
        let watched = shared.with_slot(|slot| {
            let relay = context.and_then(|context| Some((slot.network.lend_doors()?, context)));
            let namespace = &slot.network.namespace;
            let relay = relay.map(|(doors, context)| Relay::start(doors, namespace, context)).transpose()?;
            let watched = Watched {
                ended: status.map(Exit::of),
                control,
                process: sys::wait_readable(shared.process.try_clone()?)?,
                oom: slot.group.take_oom_event().map(sys::wait_readable).transpose()?,
            };
            let platform = slot.network.platform.as_ref().map(TcpListener::try_clone).transpose()?;
            let traces = slot.network.traces.as_ref().map(UdpSocket::try_clone).transpose()?;
            Ok((watched, slot.network.runtime_api.try_clone()?, platform, traces, relay))
        });
        let (watched, runtime_api, platform, traces, relay) = watched?;
        let (told, life) = watch::channel(Life::Running);
        let mut known = News::default();
        if let Some((index, status)) = lost {
            known.hear(Report::CompanionExited { index, status });
        }
        let (heard, news) = watch::channel(known);
        tokio::spawn(watched.until_gone(Arc::clone(&shared), relay, told, heard));
        Ok(Sandbox {
            shared,
            life,
            news,
            program,
            stdout: Some(streams.0),
            stderr: Some(streams.1),
            beside,
            runtime_api: Some(runtime_api),
            platform,
            traces,
            timing,
            forked,
        })
    }

    /// Number of its slot: small, unique among live sandboxes of this node, reused; for log lines.
    pub fn slot(&self) -> u32 {
        self.shared.index
    }

    /// uid (and gid) of its processes: on the host too, unless the daemon runs without root
    /// ([`Weakness::NoOwnUid`](crate::Weakness::NoOwnUid)).
    pub fn uid(&self) -> u32 {
        self.shared.uid
    }

    /// Host process id of its init; for `ps` on the host only, since it may be reused after the end.
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// Read end of its standard output, non-blocking. `None` the second time.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// Read end of its standard error, non-blocking. `None` the second time.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// Read ends of standard output and error of its companions, non-blocking. `None` without any, and the second time.
    pub fn take_companion_output(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        self.beside.take()
    }

    /// Resolves when a companion has ended (at once if one has): which, and how. Pends for ever without any.
    /// Any number of callers. Cancel-safe.
    pub async fn companion_exited(&self) -> (usize, Exit) {
        let mut news = self.news.clone();
        let lost = news.wait_for(|news| news.lost.is_some()).await.map(|news| news.lost);
        match lost {
            Ok(Some((index, exit))) => (index as usize, exit),
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Resolves when the companions with these numbers have all ended, or nothing of the sandbox is left. Cancel-safe.
    pub async fn companions_gone(&self, which: &[usize]) {
        let wanted = which.iter().fold(0, |mask, index| mask | 1_u64 << (*index).min(63));
        let mut news = self.news.clone();
        // An error means that the watching task has ended with the sandbox.
        let _ = news.wait_for(|news| news.ended & wanted == wanted).await;
    }

    /// A socket of its network namespace, for connections to what it listens on: at 127.0.0.1 there are only its own
    /// processes. [`Error::Ended`] when nothing is left. Drop it with the sandbox, as the listeners. Cancel-safe.
    pub async fn socket(&self) -> Result<tokio::net::TcpSocket, Error> {
        let failed = Error::step("making a socket inside");
        let namespace = self.shared.with_slot(|slot| slot.network.namespace.try_clone())?;
        let (told, made) = tokio::sync::oneshot::channel();
        // A thread of its own, since it stays in the namespace.
        let thread = std::thread::Builder::new().name("socket".to_owned());
        let work = move || {
            let socket = network::enter(&namespace).and_then(|()| {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                Ok(rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
            });
            let _ = told.send(socket);
        };
        if let Err(error) = thread.spawn(work) {
            return Err(failed(error));
        }
        match made.await {
            Ok(Ok(socket)) => Ok(tokio::net::TcpSocket::from_std_stream(socket.into())),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(Error::Ended),
        }
    }

    /// Listener at [`crate::RUNTIME_API`] inside, non-blocking. `None` the second time.
    /// Drop it and what it accepted when the sandbox has ended: only then is the network namespace reused.
    pub fn take_runtime_api(&mut self) -> Option<TcpListener> {
        self.runtime_api.take()
    }

    /// Listener at [`crate::PLATFORM`] inside, non-blocking. As [`Sandbox::take_runtime_api`]. `None` too where sandboxes
    /// reach nothing ([`crate::Network::Nothing`]).
    pub fn take_platform(&mut self) -> Option<TcpListener> {
        self.platform.take()
    }

    /// Socket at [`crate::TRACES`] inside, non-blocking. As [`Sandbox::take_platform`].
    pub fn take_traces(&mut self) -> Option<UdpSocket> {
        self.traces.take()
    }

    /// Whether the program was forked from [`crate::Spec::zygote`].
    pub fn is_forked(&self) -> bool {
        self.forked
    }

    /// What the start consisted of.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Resolves when the program has ended (at once if it has); what it left running is being killed then.
    /// Any number of callers. Cancel-safe.
    pub async fn exited(&self) -> Exited {
        let mut life = self.life.clone();
        let ended = life.wait_for(|life| !matches!(life, Life::Running)).await.map(|life| *life);
        match ended {
            Ok(Life::Exited(exited) | Life::Gone(exited)) => exited,
            // The watching task is gone with its runtime: so will be the sandbox.
            Ok(Life::Running) | Err(_) => Exited::KILLED,
        }
    }

    /// Memory in use now: all processes, scratch space, and active page cache; without cache that the kernel would drop
    /// first. Blocks for microseconds. [`Error::Ended`] when nothing is left.
    pub fn memory_now(&self) -> Result<ByteCount, Error> {
        self.shared.with_slot(|slot| slot.group.memory_now()).map(ByteCount)
    }

    /// Most memory in use at once since the start, scratch space and page cache included, at most the limit; also after
    /// the end. Blocks for microseconds.
    pub fn memory_peak(&self) -> Result<ByteCount, Error> {
        self.shared.counter(|slot| slot.group.memory_peak(), |last| last.memory_peak).map(ByteCount)
    }

    /// Processes killed for exceeding the memory limit since the start; the first also ends the sandbox. Also after the
    /// end.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        self.shared.counter(|slot| slot.group.oom_kills(), |last| last.oom_kills)
    }

    /// CPU time used by all its processes since the start; also after the end.
    pub fn cpu_used(&self) -> Result<Micros, Error> {
        self.shared.counter(|slot| slot.group.cpu_used_us(), |last| last.cpu_us).map(Micros)
    }

    /// Stops all its processes where they are, until [`Sandbox::thaw`]. Returns when the kernel has been told; they stop
    /// within microseconds.
    pub fn freeze(&self) -> Result<(), Error> {
        self.shared.frozen.store(true, Ordering::SeqCst);
        self.shared.with_slot(|slot| slot.group.freeze())
    }

    /// Lets them run on. Cheap when it is not frozen.
    pub fn thaw(&self) -> Result<(), Error> {
        self.shared.thaw()
    }

    /// Changes share and limit of CPU, e.g. down from [`CpuWeight::MAX`] after initialisation.
    pub fn set_cpu(&self, weight: CpuWeight, quota: Option<CpuQuota>) -> Result<(), Error> {
        self.shared.with_slot(|slot| slot.group.set_cpu(weight, quota))
    }

    /// Asks the program to end: SIGTERM to its first process. Thaws it.
    pub fn terminate(&self) -> Result<(), Error> {
        match rustix::process::pidfd_send_signal(&self.shared.process, Signal::TERM) {
            // It has ended already.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(Error::step("signalling")(error)),
        }
        match self.shared.thaw() {
            Ok(()) | Err(Error::Ended) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Kills everything inside; resolves when nothing is left of it. Idempotent. Cancel-safe: the kill goes on.
    pub async fn kill(&self) {
        self.shared.kill_now();
        let mut life = self.life.clone();
        // An error means that the watching task is gone with its runtime; then there is nobody to wait with.
        let _ = life.wait_for(|life| matches!(life, Life::Gone(_))).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.kill_now();
    }
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Option<Slot>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_slot<T>(&self, f: impl FnOnce(&mut Slot) -> std::io::Result<T>) -> Result<T, Error> {
        f(self.slot().as_mut().ok_or(Error::Ended)?).map_err(Error::step("using the sandbox's cgroup"))
    }

    /// A counter as it is now, or as it was at the end.
    fn counter(
        &self,
        now: impl FnOnce(&Slot) -> std::io::Result<u64>,
        last: impl FnOnce(&Last) -> u64,
    ) -> Result<u64, Error> {
        match self.with_slot(|slot| now(slot)) {
            Err(Error::Ended) => Ok(last(&self.last.lock().unwrap_or_else(PoisonError::into_inner))),
            result => result,
        }
    }

    fn thaw(&self) -> Result<(), Error> {
        if self.frozen.swap(false, Ordering::SeqCst) {
            self.with_slot(|slot| slot.group.thaw())?;
        }
        Ok(())
    }

    /// Kills the init, and with it everything. Does nothing when it is gone.
    fn kill_now(&self) {
        match rustix::process::pidfd_send_signal(&self.process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::error!(pid = self.pid, %error, "a sandbox could not be killed"),
        }
        // On cgroup v1 a frozen process dies when it is thawed.
        match self.thaw() {
            Ok(()) | Err(Error::Ended) => {}
            Err(error) => tracing::error!(pid = self.pid, %error, "a killed sandbox could not be thawed"),
        }
    }

    /// Keeps the counters for later.
    fn settle(&self) -> Last {
        let last = match self.slot().as_ref() {
            None => Last::default(),
            Some(slot) => Last {
                memory_peak: slot.group.memory_peak().unwrap_or(0),
                oom_kills: slot.group.oom_kills().unwrap_or(0),
                cpu_us: slot.group.cpu_used_us().unwrap_or(0),
            },
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        last
    }
}

impl Drop for Shared {
    /// With the slot still here, the watching task was dropped before the end.
    fn drop(&mut self) {
        self.kill_now();
        self.forget_mounts();
        if let Some(slot) = self.slot().take() {
            self.node.slots.put_back(slot, self.process.try_clone().ok());
        }
    }
}

/// What the watching task waits for.
struct Watched {
    /// Known before watching began.
    ended: Option<Exit>,
    control: Arc<AsyncFd<OwnedFd>>,
    process: AsyncFd<OwnedFd>,
    oom: Option<AsyncFd<OwnedFd>>,
}

impl Watched {
    async fn until_gone(
        self,
        shared: Arc<Shared>,
        relay: Option<Relay>,
        told: watch::Sender<Life>,
        news: watch::Sender<News>,
    ) {
        let (exit, told_oom) = self.until_exit(&news).await;
        if told_oom {
            shared.kill_now();
        }
        let oom = shared.settle().oom_kills > 0 || told_oom;
        let exited = Exited { exit, oom };
        told.send_replace(Life::Exited(exited));
        // Whoever is left in the sandbox is ended by the kernel with the init, which ends after its report, or, where
        // companions run on, when it is killed.
        let listen = async {
            while let Ok(Some((report, _))) = next_report(&self.control).await {
                news.send_modify(|news| news.hear(report));
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = self.process.readable() => {}
            () = listen => {}
        }
        shared.settle();
        let doors = match relay {
            Some(relay) => relay.end().await,
            None => None,
        };
        shared.forget_mounts();
        shared.forget_orders();
        if let Some(mut slot) = shared.slot().take() {
            if let Some(doors) = doors {
                slot.network.take_back(doors);
            }
            shared.node.slots.put_back(slot, None);
        }
        told.send_replace(Life::Gone(exited));
    }

    /// Waits for the program's end, or for the memory limit: whether it was that.
    async fn until_exit(&self, news: &watch::Sender<News>) -> (Exit, bool) {
        if let Some(exit) = self.ended {
            return (exit, false);
        }
        let oom = async {
            match &self.oom {
                Some(event) => drop(event.readable().await),
                None => std::future::pending().await,
            }
        };
        let report = async {
            loop {
                match next_report(&self.control).await {
                    Ok(Some((Report::Exited { status }, _))) => return Exit::of(status),
                    Ok(Some((report, _))) => news.send_modify(|news| news.hear(report)),
                    Ok(None) | Err(_) => return Exit::Signal(9),
                }
            }
        };
        tokio::select! {
            biased;
            exit = report => (exit, false),
            _ = self.process.readable() => (Exit::Signal(9), false),
            () = oom => (Exit::Signal(9), true),
        }
    }
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Status of its first process.
    pub exit: Exit,
    /// Whether the sandbox exceeded its memory limit (then it was killed as a whole).
    pub oom: bool,
}

impl Exited {
    const KILLED: Exited = Exited { exit: Exit::Signal(9), oom: false };
}

/// Status of the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exited by itself with this code.
    Code(u8),
    /// Ended by this signal; 9 too when the whole sandbox was killed.
    Signal(u8),
}

impl Exit {
    /// From a wait status. Source: wait(2).
    fn of(status: i32) -> Exit {
        let [low, high, ..] = status.to_le_bytes();
        match low & 0x7f {
            0 => Exit::Code(high),
            signal => Exit::Signal(signal),
        }
    }
}

/// What a start consisted of, in microseconds, in order; they add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Slot taken (or made, when none was ready), limits set, pipes made.
    pub slot: Micros,
    /// Request on its way to the spawner, which may be busy with others.
    pub request: Micros,
    /// Process created.
    pub clone: Micros,
    /// Cgroups joined, namespaces entered, file systems attached.
    pub mounts: Micros,
    /// Privileges dropped, Landlock and seccomp in place.
    pub lockdown: Micros,
    /// Until the program's image is loaded, and the daemon knows.
    pub exec: Micros,
    /// From the call of spawn to its return.
    pub total: Micros,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_understood() {
        assert_eq!(Exit::of(0), Exit::Code(0));
        assert_eq!(Exit::of(3 << 8), Exit::Code(3));
        assert_eq!(Exit::of(9), Exit::Signal(9));
        assert_eq!(Exit::of(0x80 | 11), Exit::Signal(11));
    }
}
