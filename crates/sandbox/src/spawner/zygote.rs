//! Zygotes, seen from the spawner: a worker's child that has loaded what many programs need and forks into sandboxes, and what
//! a sandbox's init says to it instead of executing the program.
//!
//! A zygote has an own copy of nothing that is a function's: it gets descriptors only, of which the second leads its child to the
//! init. From there the *child* reads who it is to be: calls (see [`super::calls`]), arguments, environment, streams. The child
//! carries the calls out, tells the init its process id and becomes the program. Its mother, which the zygote clones in the
//! init's pid namespace without a copy of memory, forks it and ends before that: so the program's parent is the init, as
//! that of an executed one, and everything after the start is the same for both.

use super::{
    Common, Failed,
    calls::Calls,
    init::Request,
    program::list,
    protocol::{self, Reader, Report, Step, Writer},
    raw,
};
use crate::{
    landlock::{self, Reach},
    sys,
};
use rustix::{
    fd::AsFd,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType},
    process::{PidfdFlags, Signal},
    thread::LinkNameSpaceType,
};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

/// What a zygote needs of root's capabilities: to enter sandboxes, and what its children give up on their way.
/// DAC_READ_SEARCH, SETGID, SETUID, SETPCAP, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN. Source: linux/capability.h.
const CAPABILITIES: [u32; 7] = [2, 6, 7, 8, 18, 19, 21];

/// As [`start`] reads it; `None` when a text contains a zero. The descriptors that go along, in order: control, mount
/// namespace, the socket that becomes the zygote's descriptor 3, stdout, stderr.
pub(crate) fn encode(argv: &[&[u8]], env: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let mut writer = Writer::new(protocol::ZYGOTE);
    let mut whole = true;
    writer.number(argv.len() as u64);
    for argument in argv {
        whole &= writer.text(&[argument]);
    }
    writer.number(env.len() as u64);
    for (name, value) in env {
        whole &= writer.text(&[name, b"=", value]);
    }
    whole.then(|| writer.finish())
}

/// Starts a zygote.
pub(super) fn start(
    control: &OwnedFd,
    mut reader: Reader<'_>,
    mut descriptors: impl Iterator<Item = OwnedFd>,
    common: &Common,
    received_ns: u64,
) -> Result<(), Failed> {
    let malformed = || (Step::Request, io::Error::from(io::ErrorKind::InvalidData));
    let argv = reader.texts().ok_or_else(malformed)?;
    let env = reader.texts().ok_or_else(malformed)?;
    let mut next = || descriptors.next().ok_or_else(malformed);
    let (root, requests, stdout, stderr) = (next()?, next()?, next()?, next()?);
    let image = sys::Image {
        path: argv.first().ok_or_else(malformed)?,
        argv: &list(&argv),
        envp: &list(&env),
        stdout: raw(&stdout),
        stderr: raw(&stderr),
        channel: Some(raw(&requests)),
    };
    let worker = rustix::process::getpid();
    match sys::clone_process(0, None).map_err(|error| (Step::Clone, error))? {
        sys::Forked::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(worker) {
                sys::exit_now(1); // the worker ended before the signal was asked for
            }
            let (step, errno) = match confine(root.as_fd(), common) {
                Ok(()) => (Step::Exec, sys::exec(&image)),
                Err((step, error)) => (step, error.raw_os_error().unwrap_or(libc::EINVAL)),
            };
            let _ = protocol::report(control, Report::Failed { step, errno, index: 0 }, None);
            sys::exit_now(1)
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

/// Into the runtime's root, with a network of nothing and few privileges.
fn confine(root: BorrowedFd<'_>, common: &Common) -> Result<(), Failed> {
    sys::reset_signals();
    sys::schedule_as_batch().map_err(|error| (Step::Limits, error))?;
    sys::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC)
        .map_err(|error| (Step::Unshare, error))?;
    rustix::thread::move_into_link_name_space(root, Some(LinkNameSpaceType::Mount))
        .map_err(|error| (Step::EnterRoot, error.into()))?;
    rustix::process::chdir("/").map_err(|error| (Step::WorkingFolder, error.into()))?;
    for capability in (0..=common.last_capability).filter(|one| !CAPABILITIES.contains(one)) {
        sys::drop_capability(capability).map_err(|error| (Step::Capabilities, error))?;
    }
    Ok(())
}

/// An init's conversation with the child that a zygote makes for it.
pub(super) struct Talk(OwnedFd);

impl Talk {
    /// Asks the zygote behind this socket for a child in the calling process's pid namespace, which the caller must be the
    /// first of. The zygote gets descriptors only: the caller's pidfd, the child's end of the conversation, and where it is to be
    /// born.
    pub(super) fn begin(zygote: &OwnedFd, birth_cgroup: Option<&OwnedFd>) -> io::Result<Talk> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let mut descriptors = vec![own.as_fd(), theirs.as_fd()];
        descriptors.extend(birth_cgroup.map(AsFd::as_fd));
        protocol::send(zygote.as_fd(), &[0], &descriptors)?;
        Ok(Talk(ours))
    }

    /// Tells the child who it is to be. The caller has entered all namespaces, and has the privileges of its birth.
    pub(super) fn order(&self, request: &Request<'_>, common: &Common) -> io::Result<()> {
        let program = request.program.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let ruleset = common.landlock.then(|| landlock::ruleset(Reach::Inside)).transpose()?;
        let mut descriptors = vec![request.stdout.as_fd(), request.stderr.as_fd(), own.as_fd()];
        let channel = request.channel.as_ref().map(|_| descriptors.len() as u64);
        descriptors.extend(request.channel.as_ref().map(AsFd::as_fd));
        let landlock = ruleset.as_ref().map(|_| descriptors.len() as u64);
        descriptors.extend(ruleset.as_ref().map(AsFd::as_fd));
        let doors = descriptors.len() as u64;
        descriptors.extend(request.join.iter().map(AsFd::as_fd));

        let mut calls = Calls::default();
        calls.join_cgroups(doors, request.join.len());
        calls.enter(2, program.cwd.to_bytes());
        calls.lock(&request.limits(), common, landlock);
        let mut writer = Writer::new(protocol::SPAWN);
        writer.number(channel.unwrap_or(0));
        calls.encode(&mut writer);
        for texts in [&program.arguments, &program.environment] {
            writer.number(texts.len() as u64);
            for text in texts {
                writer.bytes(text.to_bytes());
            }
        }
        let order = writer.finish();
        protocol::send(self.0.as_fd(), &(order.len() as u64).to_le_bytes(), &descriptors)?;
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let sent = rustix::net::send(&self.0, rest, SendFlags::NOSIGNAL)?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for the program: its process id in the caller's pid namespace, or the step at which the child failed, with the
    /// error number. (0 of both: zygote or child ended.)
    pub(super) fn program(self) -> Result<i32, (u32, i32)> {
        let mut answer = [0; 12];
        let mut got = 0;
        while let Some(space) = answer.get_mut(got..).filter(|space| !space.is_empty()) {
            match rustix::net::recv(&self.0, space, RecvFlags::empty()) {
                Ok((_, 0)) => return Err((0, 0)),
                Ok((_, more)) => got += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err((0, 0)),
            }
        }
        let mut words = answer.chunks_exact(4).map(|word| word.try_into().map_or(0, i32::from_le_bytes));
        match (words.next(), words.next(), words.next()) {
            (Some(pid), Some(0), Some(0)) if pid > 1 => Ok(pid),
            (_, Some(step), Some(errno)) => Err((step.cast_unsigned(), errno)),
            _ => Err((0, 0)),
        }
    }
}
