//! The first process of a sandbox, from its birth in the worker's image to the end of the program that it starts.
//!
//! Order matters: what needs privileges comes first, then they are dropped, then the filters close. The program is
//! started last, as process 2, by an init that has no more rights than the program itself and cannot be traced by it.
//! It may be named only then: an init that waits is complete but for that.

use super::{
    Common, attach, builder,
    calls::{Calls, Limits, Refused},
    program::{self, Program, list},
    protocol::{self, Reader, Report, Step, Writer},
    raw,
    zygote::Talk,
};
use crate::{
    landlock::{self, Reach},
    sys,
    users::{self, Ids},
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, mount_bind, move_mount, open_tree,
    },
    thread::LinkNameSpaceType,
};
use std::{
    ffi::{CStr, CString},
    io,
    os::fd::OwnedFd,
};

/// The daemon's description of a start.
pub(crate) struct Order<'a> {
    pub(crate) uid: u32,
    pub(crate) scratch_bytes: u64,
    /// Whether a mount for `/tmp` comes along; otherwise it is made in memory.
    pub(crate) has_scratch: bool,
    pub(crate) processes: u32,
    pub(crate) descriptors: u32,
    pub(crate) has_channel: bool,
    pub(crate) has_birth_cgroup: bool,
    /// Whether the program is forked from a zygote, to which a socket comes along.
    pub(crate) has_zygote: bool,
    pub(crate) attachable: bool,
    /// Host path, path inside.
    pub(crate) attachments: Vec<(&'a [u8], &'a [u8])>,
    /// `None`: it is named later.
    pub(crate) program: Option<program::Order<'a>>,
    /// Paths inside.
    pub(crate) companions: Vec<&'a [u8]>,
    /// Name, value.
    pub(crate) companion_env: Vec<(&'a [u8], &'a [u8])>,
}

impl Order<'_> {
    /// As [`Request::decode`] reads it; `None` when a text contains a zero. The descriptors that go along, in order:
    /// control, mount namespace, network namespace, stdout, stderr, both of the companions if there are any, scratch, channel, birth cgroup, zygote, cgroups to join.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut writer = Writer::new(protocol::SPAWN);
        writer.number(self.uid.into());
        writer.number(self.scratch_bytes);
        writer.number(self.processes.into());
        writer.number(self.descriptors.into());
        writer.number(self.has_scratch.into());
        writer.number(self.has_channel.into());
        writer.number(self.has_birth_cgroup.into());
        writer.number(self.has_zygote.into());
        writer.number(self.attachable.into());
        writer.number(self.program.is_some().into());
        let mut whole = self.program.as_ref().is_none_or(|program| program.write(&mut writer));
        writer.number(self.attachments.len() as u64 * 2);
        for (host, inside) in &self.attachments {
            whole &= writer.text(&[host]);
            whole &= writer.text(&[inside]);
        }
        writer.number(self.companion_env.len() as u64);
        for (name, value) in &self.companion_env {
            whole &= writer.text(&[name, b"=", value]);
        }
        writer.number(self.companions.len() as u64);
        for companion in &self.companions {
            whole &= writer.text(&[companion]);
        }
        whole.then(|| writer.finish())
    }
}

/// A start as the worker reads it, ready to use without further allocation of its texts.
pub(crate) struct Request<'a> {
    uid: u32,
    scratch_bytes: CString,
    processes: u32,
    descriptors: u32,
    attachable: bool,
    /// `None`: it is named later.
    pub(super) program: Option<Program<'a>>,
    attachments: Vec<&'a CStr>,
    companions: Vec<&'a CStr>,
    companion_envp: Vec<*const libc::c_char>,
    root: OwnedFd,
    network: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Standard output and error of the companions.
    companion_streams: Option<(OwnedFd, OwnedFd)>,
    scratch: Option<OwnedFd>,
    pub(super) channel: Option<OwnedFd>,
    pub(crate) birth_cgroup: Option<OwnedFd>,
    zygote: Option<OwnedFd>,
    pub(super) join: Vec<OwnedFd>,
}

impl<'a> Request<'a> {
    pub(crate) fn decode(
        mut reader: Reader<'a>,
        mut descriptors: impl Iterator<Item = OwnedFd>,
    ) -> Option<Request<'a>> {
        let uid = reader.small()?;
        let scratch_bytes = CString::new(reader.number()?.to_string()).ok()?;
        let (processes, nofile) = (reader.small()?, reader.small()?);
        let has_scratch = reader.number()? != 0;
        let (has_channel, has_birth_cgroup) = (reader.number()? != 0, reader.number()? != 0);
        let has_zygote = reader.number()? != 0;
        let attachable = reader.number()? != 0;
        let named = reader.number()? != 0;
        let program = if named { Some(Program::read(&mut reader)?) } else { None };
        let attachments = reader.texts()?;
        let companion_env = reader.texts()?;
        let companions = reader.texts()?;
        Some(Request {
            uid,
            scratch_bytes,
            processes,
            descriptors: nofile,
            attachable,
            program,
            attachments,
            companion_envp: list(&companion_env),
            root: descriptors.next()?,
            network: descriptors.next()?,
            stdout: descriptors.next()?,
            stderr: descriptors.next()?,
            companion_streams: match companions.is_empty() {
                true => None,
                false => Some((descriptors.next()?, descriptors.next()?)),
            },
            companions,
            scratch: if has_scratch { Some(descriptors.next()?) } else { None },
            channel: if has_channel { Some(descriptors.next()?) } else { None },
            birth_cgroup: if has_birth_cgroup { Some(descriptors.next()?) } else { None },
            zygote: if has_zygote { Some(descriptors.next()?) } else { None },
            join: descriptors.collect(),
        })
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { uid: self.uid, processes: self.processes, descriptors: self.descriptors }
    }
}

/// A failed step, and at which of its things.
struct Failure {
    step: Step,
    errno: i32,
    index: u32,
}

/// Names the step of a failing call.
fn at<E: Into<io::Error>>(step: Step) -> impl FnOnce(E) -> Failure {
    at_nth(step, 0)
}

fn at_nth<E: Into<io::Error>>(step: Step, index: usize) -> impl FnOnce(E) -> Failure {
    move |error| Failure {
        step,
        errno: error.into().raw_os_error().unwrap_or(libc::EINVAL),
        index: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

impl From<Refused> for Failure {
    fn from(Refused { step, index, error }: Refused) -> Failure {
        Failure { step, errno: error.raw_os_error().unwrap_or(libc::EINVAL), index }
    }
}

/// Everything that a sandbox's first process does.
pub(crate) fn run(control: &OwnedFd, request: &Request<'_>, common: &Common) -> ! {
    match start(control, request, common) {
        Ok((programs, executed)) => {
            if protocol::report(control, executed, None).is_err() {
                sys::exit_now(1); // the daemon does not wait any more
            }
            let programs = match programs {
                Some(programs) => programs,
                None => told(control, request),
            };
            attend(control, request, programs)
        }
        Err(Failure { step, errno, index }) => {
            let _ = protocol::report(control, Report::Failed { step, errno, index }, None);
            sys::exit_now(1)
        }
    }
}

/// What an init has started.
struct Programs {
    /// `None` until it is asked for, where others accompany it.
    program: Option<i32>,
    /// Those that run.
    companions: Vec<Option<i32>>,
}

/// `None` of programs: the one is to be named.
fn start(
    control: &OwnedFd,
    request: &Request<'_>,
    common: &Common,
) -> Result<(Option<Programs>, Report), Failure> {
    let born_ns = sys::monotonic_ns();
    sys::block_signals(true);
    sys::reset_signals();
    // Asked for first: the zygote works while the sandbox is assembled.
    let ask = |zygote| Talk::begin(zygote, request.birth_cgroup.as_ref());
    let talk = request.zygote.as_ref().map(ask).transpose().map_err(at(Step::Fork))?;
    // Before cgroups: processes with a real-time policy cannot join those without a real-time budget.
    sys::schedule_as_batch().map_err(at(Step::Limits))?;
    join_cgroups(request)?;
    let own = if common.shared_uid { Some(users::this_process().map_err(at(Step::Identity))?) } else { None };
    assemble(request, common)?;
    if request.attachable {
        attach::offer(control).map_err(at(Step::EnterRoot))?;
    }
    let mounted_ns = sys::monotonic_ns();
    if let Some(own) = own {
        become_other(own.as_fd(), request.uid).map_err(at(Step::Identity))?;
    }
    if let Some(talk) = &talk {
        talk.order(request, common).map_err(at(Step::Fork))?;
    }
    lock(request, common)?;
    let locked_ns = sys::monotonic_ns();
    let programs = match (&request.program, &request.companion_streams, talk) {
        (None, _, _) => {
            keep_to_begin(control, request);
            None
        }
        (Some(_), Some(streams), _) => {
            let companions = accompany(request, streams)?;
            keep_to_begin(control, request);
            Some(Programs { program: None, companions })
        }
        (Some(program), None, None) => {
            let begun = begin(control, request, program).map_err(at(Step::Exec))?;
            Some(Programs { program: Some(begun), companions: Vec::new() })
        }
        (Some(_), None, Some(talk)) => {
            Some(Programs { program: Some(forked(control, talk)?), companions: Vec::new() })
        }
    };
    Ok((programs, Report::Executed { born_ns, mounted_ns, locked_ns, executed_ns: sys::monotonic_ns() }))
}

/// Starts the program.
fn begin(control: &OwnedFd, request: &Request<'_>, program: &Program<'_>) -> io::Result<i32> {
    let image = sys::Image {
        path: program.path,
        argv: &program.argv,
        envp: &program.envp,
        stdout: raw(&request.stdout),
        stderr: raw(&request.stderr),
        channel: request.channel.as_ref().map(raw),
    };
    let program = sys::vfork_exec(&image)?;
    keep_only(control);
    Ok(program)
}

/// In a locked init without a program: waits to be told which, and starts it. Ends when that fails, and when nobody is left
/// who could tell.
fn told(control: &OwnedFd, request: &Request<'_>) -> Programs {
    // One more than the longest, to tell that from one that was cut off. Untouched pages take no memory.
    let mut buffer = vec![0; protocol::REQUEST_MAX + 1];
    let length = match protocol::receive(control.as_fd(), &mut buffer) {
        Ok((0, _)) | Err(_) => sys::exit_now(1),
        Ok((length, _)) => length,
    };
    let packet = buffer.get(..length).filter(|_| length <= protocol::REQUEST_MAX).unwrap_or_default();
    let begun = Program::decode(packet)
        .ok_or_else(|| at(Step::Request)(io::Error::from(io::ErrorKind::InvalidData)))
        .and_then(|program| {
            rustix::process::chdir(program.cwd).map_err(at(Step::WorkingFolder))?;
            begin(control, request, &program).map_err(at(Step::Exec))
        });
    match begun {
        Ok(program) => {
            let _ = protocol::report(control, Report::Begun, None);
            Programs { program: Some(program), companions: Vec::new() }
        }
        Err(Failure { step, errno, index }) => {
            let _ = protocol::report(control, Report::Failed { step, errno, index }, None);
            sys::exit_now(1)
        }
    }
}

/// Waits for the program that a zygote's child starts.
fn forked(control: &OwnedFd, talk: Talk) -> Result<i32, Failure> {
    let program = talk.program().map_err(|(index, errno)| Failure { step: Step::Fork, errno, index })?;
    keep_only(control);
    Ok(program)
}

/// From here on the init holds nothing but the control socket.
fn keep_only(control: &OwnedFd) {
    keep(0, &mut [raw(control)]);
}

/// Until the program begins, the init holds what that gets too; and /dev/null as the descriptors 0–3, so that it stays above
/// those.
fn keep_to_begin(control: &OwnedFd, request: &Request<'_>) {
    let mut wanted = vec![raw(control), raw(&request.stdout), raw(&request.stderr)];
    wanted.extend(request.channel.as_ref().map(raw));
    keep(4, &mut wanted);
}

/// Closes all descriptors from `first` on but these, which are not below it.
fn keep(first: u32, wanted: &mut [i32]) {
    wanted.sort_unstable();
    let mut next = first;
    for descriptor in wanted {
        let descriptor = descriptor.cast_unsigned();
        if descriptor > next {
            sys::close_range(next, descriptor - 1);
        }
        next = descriptor + 1;
    }
    sys::close_range(next, u32::MAX);
}

/// Starts what accompanies the program.
fn accompany(request: &Request<'_>, streams: &(OwnedFd, OwnedFd)) -> Result<Vec<Option<i32>>, Failure> {
    let start = |(index, path): (usize, &&CStr)| {
        let image = sys::Image {
            path,
            argv: &[path.as_ptr(), std::ptr::null()],
            envp: &request.companion_envp,
            stdout: raw(&streams.0),
            stderr: raw(&streams.1),
            channel: None,
        };
        sys::vfork_exec(&image).map(Some).map_err(at_nth(Step::ExecCompanion, index))
    };
    request.companions.iter().enumerate().map(start).collect()
}

/// Where the uid is the daemon's: shows it as another one, in a user namespace of its own, whose processes the kernel counts
/// apart from all others of that uid.
fn become_other(own: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWUSER)?;
    users::map(own, Ids { uid, gid: uid }, Ids { uid: 0, gid: 0 })
}

fn join_cgroups(request: &Request<'_>) -> Result<(), Failure> {
    let doors: Vec<i32> = request.join.iter().map(raw).collect();
    let mut calls = Calls::default();
    calls.join_cgroups(0, doors.len());
    Ok(calls.run(&doors)?)
}

/// Enters the namespaces and attaches what is this sandbox's own.
fn assemble(request: &Request<'_>, common: &Common) -> Result<(), Failure> {
    // Opened while the host's files are still in view.
    let mut attachments = Vec::with_capacity(request.attachments.len() / 2);
    for (index, pair) in request.attachments.chunks_exact(2).enumerate() {
        let [host, inside] = pair else { continue };
        let tree = detached(host, false).map_err(at_nth(Step::OpenAttachment, index))?;
        attachments.push((tree, inside));
    }
    // In a user namespace the kernel allows it only where another one is in full view.
    let proc = make_proc().map_err(at(Step::MountProc))?;
    rustix::thread::move_into_link_name_space(request.network.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(at(Step::EnterNetwork))?;
    rustix::thread::move_into_link_name_space(request.root.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(at(Step::EnterRoot))?;
    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP).map_err(at(Step::Unshare))?;
    put(proc.as_fd(), c"/proc").map_err(at(Step::MountProc))?;
    mask_proc(common).map_err(at(Step::MaskProc))?;
    mount_scratch(request, common).map_err(at(Step::MountScratch))?;
    for (index, (tree, inside)) in attachments.iter().enumerate() {
        put(tree.as_fd(), inside).map_err(at_nth(Step::Attach, index))?;
    }
    sys::set_host_name("localhost").map_err(at(Step::Unshare))?;
    match &request.program {
        Some(program) => rustix::process::chdir(program.cwd).map_err(at(Step::WorkingFolder)),
        // It is in the root.
        None => Ok(()),
    }
}

/// A read-only copy of the mount at a host path, without devices and set-uid, attached nowhere; with `recursive` of the
/// mounts beneath it too.
pub(crate) fn detached(host: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = open_tree(CWD, host, flags)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    sys::mount_setattr(tree.as_fd(), attributes.bits().into(), recursive)?;
    Ok(tree)
}

/// Attaches a detached mount.
pub(crate) fn put(tree: BorrowedFd<'_>, inside: &CStr) -> io::Result<()> {
    Ok(move_mount(tree, c"", CWD, inside, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// `/proc` of the new pid namespace: read-only as a whole, so that nothing of `/proc/sys` and no trigger can be written
/// whatever its mode, and showing only processes that the viewer could trace: not our init.
fn make_proc() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "hidepid", "2")?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Shows an empty file in place of each masked one.
fn mask_proc(common: &Common) -> io::Result<()> {
    for file in &common.masked {
        // Half as long as with detached mounts; it is read-only as the root that it is of.
        mount_bind(builder::EMPTY, *file)?;
    }
    Ok(())
}

/// `/tmp`: the mount that came along, else one in memory; of the function's size, its own alone, executable as on Lambda.
fn mount_scratch(request: &Request<'_>, common: &Common) -> io::Result<()> {
    if let Some(scratch) = &request.scratch {
        return put(scratch.as_fd(), c"/tmp");
    }
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let uid = CString::new(if common.shared_uid { 0 } else { request.uid }.to_string())?;
    for (key, value) in [
        (c"size", request.scratch_bytes.as_c_str()),
        (c"nr_inodes", c"65536"),
        (c"mode", c"0700"),
        (c"uid", &uid),
        (c"gid", &uid),
    ] {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tree = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    put(tree.as_fd(), c"/tmp")
}

/// Gives up every right that the program is not to have.
fn lock(request: &Request<'_>, common: &Common) -> Result<(), Failure> {
    let reach = if request.zygote.is_some() { Reach::Signals } else { Reach::Inside };
    let ruleset =
        common.landlock.then(|| landlock::ruleset(reach)).transpose().map_err(at(Step::Landlock))?;
    let mut calls = Calls::default();
    calls.lock(&request.limits(), common, ruleset.as_ref().map(|_| 0));
    Ok(calls.run(ruleset.as_ref().map(raw).as_slice())?)
}

/// Reaps whatever ends, relays SIGTERM to the program, starts it on SIGUSR1 where others accompany it, and ends with the
/// last of them: then the kernel kills the rest.
fn attend(control: &OwnedFd, request: &Request<'_>, programs: Programs) -> ! {
    let Programs { mut program, mut companions } = programs;
    let mut ended = false;
    loop {
        while let Ok(Some((pid, status))) = sys::wait_any(false) {
            let companion = companions.iter().position(|running| *running == Some(pid));
            if program == Some(pid) {
                (program, ended) = (None, true);
                let _ = protocol::report(control, Report::Exited { status }, None);
            } else if let Some((index, running)) =
                companion.and_then(|at| Some((at, companions.get_mut(at)?)))
            {
                *running = None;
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                let _ = protocol::report(control, Report::CompanionExited { index, status }, None);
            }
            if ended && companions.iter().all(Option::is_none) {
                sys::exit_now(0);
            }
        }
        match sys::next_signal() {
            libc::SIGTERM => {
                if let Some(program) = program {
                    let _ = sys::kill(program, libc::SIGTERM);
                }
            }
            libc::SIGUSR1 if program.is_none() && !ended => {
                let Some(named) = &request.program else { continue };
                let report = match begin(control, request, named) {
                    Ok(started) => {
                        program = Some(started);
                        Report::Begun
                    }
                    Err(error) => {
                        ended = true;
                        let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
                        Report::Failed { step: Step::Exec, errno, index: 0 }
                    }
                };
                let _ = protocol::report(control, report, None);
            }
            _ => {}
        }
    }
}
