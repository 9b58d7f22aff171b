//! One start, seen from the daemon.

use super::{Node, absolute};
use crate::{
    Attachment, Error, Sandbox, Spec, TASK, Timing, Zygote,
    handle::Parts,
    slots::Slot,
    spawner::{
        init::Order,
        program,
        protocol::{self, Report, Step},
    },
    streams::Streams,
    sys,
};
use base::Micros;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::unix::AsyncFd;

/// Smallest memory limit with which a process can start, in bytes.
const MEMORY_MIN: u64 = 8 << 20;
/// How long a start by a zygote may take before the program is executed instead.
const FORK_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// A control socket: our end, for the current tokio runtime, and theirs.
pub(crate) fn control() -> io::Result<(AsyncFd<OwnedFd>, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((sys::wait_readable(ours)?, theirs))
}

/// The next report; `None` when the other end is gone. Cancel-safe.
pub(crate) async fn next_report(
    control: &AsyncFd<OwnedFd>,
) -> Result<Option<(Report, Option<OwnedFd>)>, Error> {
    loop {
        let mut ready = control.readable().await.map_err(Error::step("waiting for the spawner"))?;
        match ready.try_io(|control| protocol::receive_report(control.get_ref())) {
            Ok(received) => return received.map_err(Error::step("hearing from the spawner")),
            Err(_would_block) => {}
        }
    }
}

/// The error for a step that the spawner or the init reported.
pub(crate) fn failed(step: Step, errno: i32, about: Option<&Path>) -> Error {
    let step = match about {
        Some(path) => format!("{} {}", step.name(), path.display()),
        None => step.name().to_owned(),
    };
    Error::Step { step, source: io::Error::from_raw_os_error(errno) }
}

pub(super) async fn spawn(node: &Arc<Node>, mut spec: Spec) -> Result<Sandbox, Error> {
    let called_ns = sys::monotonic_ns();
    let attachments = check(&spec)?;
    // Dropped with this future, it goes back to the others.
    let slot = Held { node: Arc::clone(node), slot: Some(node.slots.take().await?) };
    // A task of its own: when the caller gives up, the start still ends in order.
    let task = tokio::spawn(async move {
        let zygote = spec.zygote.take();
        if let Some(zygote) = zygote {
            let node = Arc::clone(&slot.node);
            match start(slot, &spec, &attachments, called_ns, Some(&zygote)).await {
                Err(error @ Error::Zygote { .. }) => zygote.fail(&error),
                other => return other,
            }
            let slot = Held { slot: Some(node.slots.take().await?), node };
            return start(slot, &spec, &attachments, called_ns, None).await;
        }
        start(slot, &spec, &attachments, called_ns, None).await
    });
    task.await.unwrap_or(Err(Error::SpawnerGone))
}

/// A slot in use that has no process yet.
struct Held {
    node: Arc<Node>,
    slot: Option<Slot>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.node.slots.put_back(slot, None);
        }
    }
}

/// All paths shown inside, besides the root.
fn check(spec: &Spec) -> Result<Vec<Attachment>, Error> {
    let task = spec.task.as_ref().map(|task| Attachment::new(task, TASK));
    let attachments: Vec<Attachment> = task.into_iter().chain(spec.attachments.iter().cloned()).collect();
    absolute("attached host path", attachments.iter().map(|attached| attached.host.as_path()))?;
    absolute("path inside", attachments.iter().map(|attached| attached.inside.as_path()))?;
    absolute("program", spec.argv.iter().take(1).map(Path::new))?;
    absolute("accompanying program", spec.companions.iter().map(PathBuf::as_path))?;
    if spec.zygote.is_some() && !spec.companions.is_empty() {
        let reason = "has companions, which are executed before it".into();
        return Err(Error::Setting { name: "zygote", reason });
    }
    if spec.waiting {
        let named = !spec.argv.is_empty() || !spec.env.is_empty() || spec.cwd != Path::new("/");
        if named || !spec.companions.is_empty() || spec.zygote.is_some() {
            let reason = "has a program, environment, working folder, companions or zygote".into();
            return Err(Error::Setting { name: "waiting", reason });
        }
    } else if spec.argv.is_empty() {
        return Err(Error::Setting { name: "argv", reason: "is empty".into() });
    }
    if spec.memory.bytes().0 < MEMORY_MIN {
        return Err(Error::Setting { name: "memory", reason: format!("{} is below 8 MB", spec.memory) });
    }
    if spec.processes < 2 || spec.descriptors < 4 {
        return Err(Error::Setting { name: "processes or descriptors", reason: "too few to start".into() });
    }
    Ok(attachments)
}

async fn start(
    mut held: Held,
    spec: &Spec,
    attachments: &[Attachment],
    called_ns: u64,
    zygote: Option<&Zygote>,
) -> Result<Sandbox, Error> {
    let node = Arc::clone(&held.node);
    let slot = held.slot.as_mut().ok_or(Error::SpawnerGone)?;
    limit(slot, spec)?;
    let streams = match slot.streams.take() {
        Some(streams) => streams,
        None => Streams::make(slot.owner).map_err(Error::step("making pipes"))?,
    };
    let beside = match spec.companions.is_empty() {
        true => None,
        false => Some(Streams::make(slot.owner).map_err(Error::step("making pipes"))?),
    };
    slot.scratch = node.scratches.take(spec.scratch, slot.owner).await;
    let (control, theirs) = control().map_err(Error::step("making a socket"))?;
    let request = encode(slot, spec, attachments, zygote.is_some())?;
    let slot_ns = sys::monotonic_ns();
    {
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![
            theirs.as_fd(),
            spec.template.shared.namespace.as_fd(),
            slot.network.namespace.as_fd(),
            streams.stdout_inside.as_fd(),
            streams.stderr_inside.as_fd(),
        ];
        if let Some(streams) = &beside {
            descriptors.extend([streams.stdout_inside.as_fd(), streams.stderr_inside.as_fd()]);
        }
        descriptors.extend(slot.scratch.as_ref().and_then(|scratch| scratch.tree()));
        descriptors.extend(spec.channel.as_ref().map(AsFd::as_fd));
        descriptors.extend(slot.group.birthplace().map(AsFd::as_fd));
        descriptors.extend(zygote.map(Zygote::requests));
        descriptors.extend(slot.group.doors_to_join().map(AsFd::as_fd));
        node.request(&request, &descriptors).await?;
    }
    drop(theirs);
    let mut slot = held.slot.take().ok_or(Error::SpawnerGone)?;
    // The request has copies.
    slot.group.close_doors();
    let (stdout, stderr) = streams.outside();
    let beside = beside.map(Streams::outside);
    let mut begun = Begun::default();
    let followed = follow(&control, &mut begun);
    let late = match zygote {
        None => {
            followed.await;
            false
        }
        // It runs another program's image, which may hang.
        Some(_) => tokio::time::timeout(FORK_MAX, followed).await.is_err(),
    };
    let Begun { process, failure, phases, status, lost, mounts } = begun;
    match (failure, process, phases) {
        (None, Some((pid, process)), Some(phases)) => {
            let timing = phases.timing(called_ns, slot_ns);
            let program = spec.argv.first().cloned().unwrap_or_default().into();
            let (streams, forked) = ((stdout, stderr), zygote.is_some());
            let parts = Parts {
                node,
                slot,
                pid,
                process,
                control,
                waiting: spec.waiting,
                streams,
                beside,
                timing,
                status,
                lost,
                program,
                forked,
                mounts,
            };
            Sandbox::watch(parts)
        }
        (failure, process, _) => {
            let process = process.map(|(_, process)| process);
            if let Some(process) = &process {
                let _ = rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL);
            }
            node.slots.put_back(slot, process);
            Err(match failure {
                Some((step @ Step::ExecCompanion, errno, index)) => {
                    failed(step, errno, spec.companions.get(index as usize).map(PathBuf::as_path))
                }
                Some((Step::Fork, errno, step)) => Error::Zygote { reason: refused(step, errno) },
                Some((Step::Exec, errno, _)) => failed(Step::Exec, errno, spec.argv.first().map(Path::new)),
                Some((step, errno, index)) => {
                    let about = attachments.get(index as usize).map(|attached| attached.host.as_path());
                    let has_paths = matches!(step, Step::OpenAttachment | Step::Attach);
                    failed(step, errno, about.filter(|_| has_paths))
                }
                None if late => Error::Zygote { reason: "no program came in time".into() },
                None => Error::SpawnerGone,
            })
        }
    }
}

/// How a start by a zygote failed: at a step of its child, or before there was one.
fn refused(step: u32, errno: i32) -> String {
    let error = io::Error::from_raw_os_error(errno);
    match Step::of(step).filter(|step| *step != Step::Request) {
        Some(step) => format!("its child failed at {}: {error}", step.name()),
        None if errno == 0 => "it ended".to_owned(),
        None => error.to_string(),
    }
}

fn limit(slot: &mut Slot, spec: &Spec) -> Result<(), Error> {
    let group = &mut slot.group;
    group.limit_memory(spec.memory.bytes().0).map_err(Error::step("limiting memory"))?;
    group.limit_processes(spec.processes).map_err(Error::step("limiting processes"))?;
    group.set_cpu(spec.cpu_weight, spec.cpu_quota).map_err(Error::step("setting CPU shares"))
}

fn encode(slot: &Slot, spec: &Spec, attachments: &[Attachment], has_zygote: bool) -> Result<Vec<u8>, Error> {
    let order = Order {
        uid: slot.uid,
        scratch_bytes: spec.scratch.bytes().0,
        has_scratch: slot.scratch.is_some(),
        processes: spec.processes,
        descriptors: spec.descriptors,
        has_channel: spec.channel.is_some(),
        has_birth_cgroup: slot.group.birthplace().is_some(),
        has_zygote,
        attachable: spec.attachable,
        attachments: attachments
            .iter()
            .map(|attached| (attached.host.as_os_str().as_bytes(), attached.inside.as_os_str().as_bytes()))
            .collect(),
        program: (!spec.waiting).then(|| program(&spec.argv, &spec.env, &spec.cwd)),
        companions: spec.companions.iter().map(|path| path.as_os_str().as_bytes()).collect(),
        companion_env: spec
            .companion_env
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect(),
    };
    let request = order.encode().ok_or_else(|| Error::Setting {
        name: "argv, env or paths",
        reason: "one contains a zero byte".into(),
    })?;
    if request.len() > protocol::REQUEST_MAX {
        return Err(Error::TooLong { got: request.len(), max: protocol::REQUEST_MAX });
    }
    Ok(request)
}

/// A program as the spawner is told of it.
pub(crate) fn program<'a>(
    argv: &'a [OsString],
    env: &'a [(OsString, OsString)],
    cwd: &'a Path,
) -> program::Order<'a> {
    program::Order {
        cwd: cwd.as_os_str().as_bytes(),
        argv: argv.iter().map(|argument| argument.as_bytes()).collect(),
        env: env.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect(),
    }
}

/// What became of a request.
#[derive(Default)]
struct Begun {
    process: Option<(u32, OwnedFd)>,
    failure: Option<(Step, i32, u32)>,
    phases: Option<Phases>,
    /// Wait status of a program that ended before the worker had reported its process.
    status: Option<i32>,
    /// A companion that did, and its wait status.
    lost: Option<(u32, i32)>,
    /// Its mount namespace, where that was asked for.
    mounts: Option<OwnedFd>,
}

struct Phases {
    received_ns: u64,
    born_ns: u64,
    mounted_ns: u64,
    locked_ns: u64,
}

/// Follows a start until the program runs, or until nobody is left who could report. Worker and init report
/// independently, in any order.
async fn follow(control: &AsyncFd<OwnedFd>, begun: &mut Begun) {
    let mut received = 0;
    while let Ok(Some((report, descriptor))) = next_report(control).await {
        match report {
            Report::Cloned { pid, received_ns } => {
                received = received_ns;
                begun.process = descriptor.map(|process| (pid, process));
            }
            Report::Executed { born_ns, mounted_ns, locked_ns, executed_ns: _ } => {
                begun.phases = Some(Phases { received_ns: 0, born_ns, mounted_ns, locked_ns });
            }
            Report::Failed { step, errno, index } => begun.failure = Some((step, errno, index)),
            Report::Exited { status } => begun.status = Some(status),
            Report::CompanionExited { index, status } => begun.lost = begun.lost.or(Some((index, status))),
            Report::Mounted => begun.mounts = descriptor,
            Report::Built | Report::Begun | Report::Attached => {}
        }
        if let (Some(_), Some(phases)) = (&begun.process, &mut begun.phases) {
            phases.received_ns = received;
            break;
        }
    }
}

impl Phases {
    fn timing(&self, called_ns: u64, slot_ns: u64) -> Timing {
        let now_ns = sys::monotonic_ns();
        let between = |from: u64, to: u64| Micros(to.saturating_sub(from) / 1000);
        Timing {
            slot: between(called_ns, slot_ns),
            request: between(slot_ns, self.received_ns),
            clone: between(self.received_ns, self.born_ns),
            mounts: between(self.born_ns, self.mounted_ns),
            lockdown: between(self.mounted_ns, self.locked_ns),
            exec: between(self.locked_ns, now_ns),
            total: between(called_ns, now_ns),
        }
    }
}
