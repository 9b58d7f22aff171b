//! The system calls that no safe library offers, each behind a function that is safe to call.

use std::{
    ffi::CStr,
    io,
    net::SocketAddrV4,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Turns -1 into the thread's `errno`.
fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Nanoseconds of the monotonic clock, comparable between processes of one boot.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A system call of a list of ours, see [`crate::spawner::calls`].
pub(crate) fn call(number: libc::c_long, [a, b, c, d, e]: [u64; 5]) -> io::Result<()> {
    // SAFETY: only lists of that module are carried out: their calls write to no memory of this process, and what they read
    // is in the memory that comes with the list, which outlives its calls.
    checked(unsafe { libc::syscall(number, a, b, c, d, e) }).map(drop)
}

/// In which process a [`fork`] or [`clone_process`] returned.
pub(crate) enum Forked<T> {
    /// In the new one.
    Child,
    /// In the old one.
    Parent(T),
}

/// `fork(2)`. The child has only the calling thread: until it ends it must not wait for locks that other threads of the
/// parent may have held (standard streams, the environment, loggers). The allocator is safe: the C library sees to it.
pub(crate) fn fork() -> io::Result<Forked<i32>> {
    // SAFETY: no memory is shared; callers keep the rule on locks above.
    let pid = unsafe { libc::fork() };
    match checked(pid.into())? {
        0 => Ok(Forked::Child),
        _ => Ok(Forked::Parent(pid)),
    }
}

/// A process made by [`clone_process`].
pub(crate) struct Cloned {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Argument of `clone3(2)`, version 2 of its layout.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A copy of this process in new namespaces (`flags`), optionally born in a cgroup v2. For a single-threaded caller.
pub(crate) fn clone_process(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked<Cloned>> {
    let mut pidfd: RawFd = -1;
    let into = if cgroup.is_some() { 0x2_0000_0000 } else { 0 }; // CLONE_INTO_CGROUP
    let args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned()) | into,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM this is a fork: nothing is shared; `args` and `pidfd` live across the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of::<CloneArgs>()) };
    match checked(pid)? {
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has put a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent(Cloned { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd }))
        }
    }
}

/// Ends the process at once, without destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Whether there is a child left, ended or not.
pub(crate) fn has_children() -> bool {
    // SAFETY: an all-zero siginfo_t is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a live local.
    let answer = unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) };
    checked(answer.into()).is_ok()
}

/// Waits for any child. `None` when there is none left, or (with `block` unset) none has ended.
pub(crate) fn wait_any(block: bool) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live local.
        let pid = unsafe { libc::waitpid(-1, &mut status, if block { 0 } else { libc::WNOHANG }) };
        match checked(pid.into()) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some((pid, status))),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for this child.
pub(crate) fn wait_for(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live local.
        let ended = unsafe { libc::waitpid(pid, &mut status, 0) };
        match checked(ended.into()) {
            Ok(_) => return Ok(status),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
            Err(error) => return Err(error),
        }
    }
}

/// A set of all signals.
fn all_signals() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is to a live local of the right type.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: sigfillset has initialised it and cannot fail on a valid pointer.
    unsafe { set.assume_init() }
}

/// Blocks or unblocks every signal for this thread.
pub(crate) fn block_signals(block: bool) {
    let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set is initialised; no old set is asked for.
    unsafe { libc::sigprocmask(how, &all_signals(), ptr::null_mut()) };
}

/// Gives every signal the default disposition, or ignores it.
pub(crate) fn set_signal(signal: i32, ignore: bool) {
    let disposition = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: installs no handler, so no code of ours runs in signal context.
    unsafe { libc::signal(signal, disposition) };
}

/// Default disposition for all signals.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        set_signal(signal, false);
    }
}

/// Waits for one blocked signal and returns its number.
pub(crate) fn next_signal() -> i32 {
    let mut signal = 0;
    // SAFETY: both pointers are to live, initialised locals.
    unsafe { libc::sigwait(&all_signals(), &mut signal) };
    signal
}

/// `kill(2)`.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: has no memory effects.
    checked(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Closes every descriptor from `first` to `last`, both included.
pub(crate) fn close_range(first: u32, last: u32) {
    if first > last {
        return;
    }
    // SAFETY: callers own the whole range: they are processes of ours that are about to run other code or to idle,
    // and use none of the closed descriptors afterwards.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// `unshare(2)` for namespaces.
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: callers pass namespace flags only, never CLONE_FILES, so descriptors keep their meaning.
    checked(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Argument of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes (`MOUNT_ATTR_*`) on the mount that `fd` is, and with `recursive` on those beneath it; cuts it off from
/// mounts and unmounts elsewhere.
pub(crate) fn mount_setattr(fd: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attr = MountAttr { set, clear: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { 0x8000 } else { 0 }; // AT_RECURSIVE
    // SAFETY: path and attributes live across the call, and the size is that of the structure.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// `pivot_root(".", ".")`: the working directory becomes the root, with the old root stacked upon it.
pub(crate) fn pivot_root_here() -> io::Result<()> {
    // SAFETY: both strings are static.
    checked(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Brings the loopback interface of this thread's network namespace up.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives across the call.
    checked(
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, ptr::from_ref(&request)) }.into(),
    )
    .map(drop)
}

/// Number of the last capability that this kernel knows.
pub(crate) fn last_capability() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(63)
}

/// Removes this capability from the bounding set for good. Needs CAP_SETPCAP.
pub(crate) fn drop_capability(capability: u32) -> io::Result<()> {
    // SAFETY: this prctl takes one number.
    let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
    checked(dropped.into()).map(drop)
}

/// Whether this kernel has seccomp filters with this action.
pub(crate) fn seccomp_has(action: u32) -> bool {
    let mode: libc::c_ulong = 2; // SECCOMP_GET_ACTION_AVAIL
    let flags: libc::c_ulong = 0;
    // SAFETY: the kernel reads one number from a live local.
    unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, ptr::from_ref(&action)) == 0 }
}

/// Has every thread of this process make only the system calls that a program lets pass, for good. Wants
/// `no_new_privs`, or CAP_SYS_ADMIN.
pub(crate) fn filter_calls(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let mode: libc::c_ulong = 1; // SECCOMP_SET_MODE_FILTER
    let all_threads: libc::c_ulong = 1; // SECCOMP_FILTER_FLAG_TSYNC
    // SAFETY: the kernel reads the program, which lives until the call returns, and does not write to it.
    let installed = unsafe { libc::syscall(libc::SYS_seccomp, mode, all_threads, ptr::from_ref(&program)) };
    match checked(installed)? {
        0 => Ok(()),
        // A thread that has a filter of its own.
        _ => Err(io::Error::other("a thread cannot be given the filter")),
    }
}

/// Landlock's version on this kernel; 0 when it has none.
pub(crate) fn landlock_abi() -> u32 {
    let version: libc::c_ulong = 1; // LANDLOCK_CREATE_RULESET_VERSION
    let none: libc::c_ulong = 0;
    // SAFETY: with this flag the call takes no pointer and returns a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, none, version) };
    u32::try_from(abi).unwrap_or(0)
}

/// A program image to run, all in memory that outlives the call.
pub(crate) struct Image<'a> {
    pub(crate) path: &'a CStr,
    /// Pointers to C strings, ended by a null.
    pub(crate) argv: &'a [*const libc::c_char],
    /// Pointers to C strings, ended by a null.
    pub(crate) envp: &'a [*const libc::c_char],
    pub(crate) stdout: RawFd,
    pub(crate) stderr: RawFd,
    /// Becomes descriptor 3.
    pub(crate) channel: Option<RawFd>,
}

struct Launch<'a> {
    image: &'a Image<'a>,
    errno: AtomicI32,
}

/// Runs `image` in a new child, sharing memory with it until the image is loaded: no page table is copied.
/// Descriptor 0 is inherited, 1, 2 and 3 are set, the rest closed. The source descriptors must be above 3.
pub(crate) fn vfork_exec(image: &Image<'_>) -> io::Result<i32> {
    for list in [image.argv, image.envp] {
        if list.last().is_none_or(|last| !last.is_null()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    let launch = Launch { image, errno: AtomicI32::new(0) };
    let mut stack = vec![0_u128; 2048];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end;
    let argument = ptr::from_ref(&launch).cast_mut().cast::<libc::c_void>();
    // SAFETY: the child runs `exec_child` on its own 32 KiB stack, while this thread (the only one) is suspended until
    // the child has loaded another image or ended; so `launch` and `stack` outlive the child's use of them.
    let pid = unsafe { libc::clone(exec_child, top.cast(), flags, argument) };
    let pid = checked(pid.into())?;
    match launch.errno.load(Ordering::Relaxed) {
        0 => Ok(i32::try_from(pid).unwrap_or(i32::MAX)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The child's way to its image.
extern "C" fn exec_child(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `vfork_exec` passes a pointer to a `Launch` that outlives this function.
    let launch = unsafe { &*argument.cast_const().cast::<Launch<'_>>() };
    launch.errno.store(exec(launch.image), Ordering::Relaxed);
    exit_now(127)
}

/// Turns this process, which has no other thread, into `image`, with descriptors as [`vfork_exec`] says; returns the error
/// number if it cannot be. Allocates nothing and only makes system calls.
pub(crate) fn exec(image: &Image<'_>) -> i32 {
    // SAFETY: has no preconditions.
    unsafe { libc::setsid() };
    block_signals(false);
    let mut first_closed = 3;
    // SAFETY: changes only this process's descriptor table, which is its own (no CLONE_FILES).
    unsafe { libc::dup2(image.stdout, 1) };
    // SAFETY: as above.
    unsafe { libc::dup2(image.stderr, 2) };
    if let Some(channel) = image.channel {
        // SAFETY: as above.
        unsafe { libc::dup2(channel, 3) };
        first_closed = 4;
    }
    close_range(first_closed, u32::MAX);
    // SAFETY: path and both lists are C strings and null-ended lists of such: `Image`'s makers keep to that.
    unsafe { libc::execve(image.path.as_ptr(), image.argv.as_ptr(), image.envp.as_ptr()) };
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// Makes `sources` the descriptors 0, 1, 2, … and closes every other; returns the last of them, closed on exec.
/// For a process that was just forked, in which no owner of another descriptor is dropped any more.
/// The sources must be above their targets.
pub(crate) fn install_descriptors(sources: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    let mut next = 0;
    for source in sources {
        // Given up, not closed: it is closed below with all others.
        // SAFETY: nobody in this just forked process uses the descriptor that is replaced.
        checked(unsafe { libc::dup2(source.into_raw_fd(), next) }.into())?;
        next += 1;
    }
    close_range(next.cast_unsigned(), u32::MAX);
    // SAFETY: the descriptor was made by the last `dup2` and has no other owner.
    let last = unsafe { OwnedFd::from_raw_fd(next - 1) };
    rustix::io::fcntl_setfd(&last, rustix::io::FdFlags::CLOEXEC)?;
    Ok(last)
}

/// Takes the pages of a mapping of a file out of this process; they come back from the file where they are used. `range` must be
/// one that cannot be written to.
pub(crate) fn drop_instructions(range: std::ops::Range<usize>) -> io::Result<()> {
    // SAFETY: the mapping stays; what was read from the file before is read from it again.
    let result = unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns free memory of the C library's allocator to the kernel.
pub(crate) fn trim_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Sets the host name of this process's UTS namespace.
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are of a live string.
    checked(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Registers a descriptor with the current tokio runtime, to wait until it is readable.
pub(crate) fn wait_readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped, which `AsyncFd` does after
    // deregistering it; nobody calls `get_mut` to replace it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(io::Error::from)
}

/// Whether the kernel lets this process make detached mounts and change their attributes.
pub(crate) fn has_mount_calls() -> bool {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let read_only = rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY;
    open_tree(rustix::fs::CWD, c"/dev/null", flags)
        .map_err(io::Error::from)
        .and_then(|tree| mount_setattr(std::os::fd::AsFd::as_fd(&tree), read_only.bits().into(), false))
        .is_ok()
}

/// Whether this kernel lets a process say where its arguments and environment are, for `/proc`.
pub(crate) fn has_memory_map_call() -> bool {
    let mut size: libc::c_uint = 0;
    let option = libc::c_ulong::from(libc::PR_SET_MM_MAP_SIZE.cast_unsigned());
    // SAFETY: with this option the kernel writes one number to a live local.
    unsafe { libc::prctl(libc::PR_SET_MM, option, ptr::from_mut(&mut size), 0_u64, 0_u64) == 0 }
}

/// Replaces the session keyring of this process by a new, empty one; does nothing on kernels without keyrings.
pub(crate) fn new_session_keyring() {
    let join: libc::c_ulong = 1; // KEYCTL_JOIN_SESSION_KEYRING
    // SAFETY: a null name asks for an anonymous keyring; nothing else is passed.
    unsafe { libc::syscall(libc::SYS_keyctl, join, ptr::null::<libc::c_char>()) };
}

/// Argument of `LOOP_CONFIGURE`. Source: linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// Number of a loop device that nobody uses, made if need be.
pub(crate) fn free_loop(control: BorrowedFd<'_>) -> io::Result<u32> {
    const LOOP_CTL_GET_FREE: u32 = 0x4C82;
    // SAFETY: this request takes no argument and returns a number.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    checked(number.into()).map(|number| u32::try_from(number).unwrap_or(0))
}

/// Attaches a file to a loop device, which lets go of it when it is closed and unmounted for the last time.
pub(crate) fn configure_loop(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    const LOOP_CONFIGURE: u32 = 0x4C0A;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd().cast_unsigned();
    config.info.flags = LO_FLAGS_AUTOCLEAR;
    // SAFETY: the request reads a structure of exactly this layout, which lives across the call.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, ptr::from_ref(&config)) }.into())
        .map(drop)
}

/// Gives this process the scheduling policy of batches at the ordinary priority, whatever the daemon has; the priority only as far
/// as it may be raised: a daemon that was started at a lower one may not.
///
/// A batch has its share of the processors as any other process, but who wakes does not interrupt who runs: functions that answer
/// in turns would interrupt each other, and the daemon, at each event (`docs/performance.md`).
pub(crate) fn schedule_as_batch() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads one live local.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) }.into())?;
    match rustix::process::setpriority_process(None, 0) {
        Ok(()) | Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Switches an option of internet sockets on (`IPPROTO_IP`).
pub(crate) fn enable_ip_option(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `size` bytes of a live local.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, option, ptr::from_ref(&on).cast(), size)
    };
    checked(set.into()).map(drop)
}

/// A datagram: its length, who sent it, and whom it was for. Longer ones are cut off.
pub(crate) struct Datagram {
    pub(crate) length: usize,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
}

/// Receives a datagram from a socket that has the option `IP_RECVORIGDSTADDR`, without waiting. `None`: the kernel did not
/// say whom it was for.
pub(crate) fn receive_datagram(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<Option<Datagram>> {
    const CONTROL_MAX: usize = 8; // in words
    let mut control = [0_u64; CONTROL_MAX];
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut from: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let mut piece = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: all-zero is a valid value of this plain structure: null pointers with lengths of 0.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = ptr::from_mut(&mut from).cast();
    message.msg_namelen = size_of_val(&from) as libc::socklen_t;
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: name, piece and control are live locals or the caller's buffer, with their true lengths.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(checked(received as libc::c_long)?).unwrap_or(0);
    // SAFETY: the kernel has filled in the message's control part and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !header.is_null() {
        // SAFETY: a non-null header lies within the control buffer.
        let head = unsafe { ptr::read_unaligned(header) };
        let needed = size_of::<libc::cmsghdr>() + size_of::<libc::sockaddr_in>();
        if (head.cmsg_level, head.cmsg_type) == (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR)
            && head.cmsg_len as usize >= needed
        {
            // SAFETY: a header is followed by its data.
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: the length says that a whole address is there.
            let to = unsafe { ptr::read_unaligned(data.cast::<libc::sockaddr_in>()) };
            return Ok(Some(Datagram { length, from: internet_address(&from), to: internet_address(&to) }));
        }
        // SAFETY: both are of the same, kernel-filled message.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    Ok(None)
}

fn internet_address(address: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(u32::from_be(address.sin_addr.s_addr).into(), u16::from_be(address.sin_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::{SocketAddr, UdpSocket},
        os::fd::AsFd,
    };

    #[test]
    fn a_datagram_comes_with_both_its_addresses() {
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        enable_ip_option(here.as_fd(), libc::IP_RECVORIGDSTADDR).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(
            receive_datagram(here.as_fd(), &mut buffer).err().map(|error| error.kind()),
            Some(io::ErrorKind::WouldBlock)
        );
        there.send_to(b"hello, all of you", here.local_addr().unwrap()).unwrap();
        let datagram = receive_datagram(here.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!((datagram.length, &buffer), (8, b"hello, a"));
        assert_eq!(SocketAddr::V4(datagram.from), there.local_addr().unwrap());
        assert_eq!(SocketAddr::V4(datagram.to), here.local_addr().unwrap());
        there.send_to(b"x", here.local_addr().unwrap()).unwrap();
        // Without the option nobody says whom it was for.
        let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
        there.send_to(b"x", plain.local_addr().unwrap()).unwrap();
        assert!(receive_datagram(plain.as_fd(), &mut buffer).unwrap().is_none());
    }
}
