//! The system calls of programs inside, as reviewed data. Every call has a group, every group a reason.
//!
//! What is in no group does not exist inside: it fails with ENOSYS, which libraries take as "older kernel" and work
//! around. What is refused on purpose fails with EPERM, so that nobody looks for the fault elsewhere.

use super::{Check, Group, Verdict};

/// Numbers of the named calls on this processor.
macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// All groups.
pub(super) const GROUPS: &[Group] = &[
    Group {
        reason: "reading, writing and waiting on descriptors that were given or opened",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2
            SYS_pwritev2 SYS_lseek SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_fcntl SYS_flock SYS_fsync
            SYS_fdatasync SYS_sync_file_range SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead SYS_sendfile
            SYS_splice SYS_tee SYS_vmsplice SYS_copy_file_range SYS_pipe2 SYS_eventfd2 SYS_signalfd4
            SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime SYS_epoll_create1 SYS_epoll_ctl
            SYS_epoll_pwait SYS_epoll_pwait2 SYS_ppoll SYS_pselect6 SYS_inotify_init1 SYS_inotify_add_watch
            SYS_inotify_rm_watch SYS_io_setup SYS_io_destroy SYS_io_submit SYS_io_cancel SYS_io_getevents
            SYS_memfd_create
        },
    },
    Group {
        reason: "files and folders; where it may write is decided by mounts, permissions and Landlock",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_openat SYS_openat2 SYS_faccessat SYS_faccessat2 SYS_fstat SYS_newfstatat SYS_statx SYS_statfs
            SYS_fstatfs SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir SYS_mkdirat SYS_unlinkat SYS_renameat
            SYS_renameat2 SYS_linkat SYS_symlinkat SYS_readlinkat SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown
            SYS_fchownat SYS_utimensat SYS_truncate SYS_umask SYS_sync SYS_syncfs SYS_getxattr SYS_lgetxattr
            SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_setxattr SYS_lsetxattr SYS_fsetxattr
            SYS_removexattr SYS_lremovexattr SYS_fremovexattr
        },
    },
    Group {
        reason: "named pipes and sockets are files like others; device nodes are not made by functions",
        verdict: Verdict::Unless(Check::Device { argument: 2 }, libc::EPERM),
        calls: calls! { SYS_mknodat },
    },
    Group {
        reason: "memory of its own, bounded by the memory cgroup",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_pkey_mprotect SYS_pkey_alloc SYS_pkey_free
            SYS_madvise SYS_msync SYS_mincore SYS_mlock SYS_mlock2 SYS_munlock SYS_mlockall SYS_munlockall
            SYS_membarrier SYS_mseal SYS_get_mempolicy
        },
    },
    Group {
        reason: "threads and processes of its own, bounded by the pids cgroup; new namespaces would bring capabilities",
        verdict: Verdict::Unless(Check::Namespaces { argument: 0 }, libc::EPERM),
        calls: calls! { SYS_clone },
    },
    Group {
        reason: "its flags are in memory, out of a filter's sight: the C library falls back to clone",
        verdict: Verdict::Refuse(libc::ENOSYS),
        calls: calls! { SYS_clone3 },
    },
    Group {
        reason: "running programs and ending them; signals reach only processes of the same sandbox",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_kill SYS_tkill SYS_tgkill
            SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigtimedwait
            SYS_rt_sigsuspend SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_sigaltstack SYS_pidfd_open
            SYS_pidfd_send_signal SYS_restart_syscall SYS_setsid SYS_getsid SYS_setpgid SYS_getpgid SYS_getpid
            SYS_getppid SYS_gettid SYS_set_tid_address SYS_prctl SYS_rseq
        },
    },
    Group {
        reason: "locks between threads",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_futex SYS_futex_waitv SYS_set_robust_list
            SYS_get_robust_list
        },
    },
    Group {
        reason: "scheduling hints among its own threads; raising priority needs a capability",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_sched_yield SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_getparam SYS_sched_setparam
            SYS_sched_getscheduler SYS_sched_setscheduler SYS_sched_getattr SYS_sched_setattr
            SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_rr_get_interval SYS_getpriority
            SYS_setpriority SYS_ioprio_get SYS_ioprio_set SYS_getcpu
        },
    },
    Group {
        reason: "clocks and timers, read only",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_times
            SYS_getitimer SYS_setitimer SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun
            SYS_timer_delete
        },
    },
    Group {
        reason: "who and where it is, its limits; changing identity needs a capability, limits only go down",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups SYS_setuid
            SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups SYS_setfsuid
            SYS_setfsgid SYS_capget SYS_capset SYS_uname SYS_sysinfo SYS_getrusage SYS_getrlimit SYS_setrlimit
            SYS_prlimit64 SYS_getrandom
        },
    },
    Group {
        reason: "sockets that exist already; the network namespace has a loopback interface only, behind which is the daemon",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_socketpair SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername
            SYS_getsockopt SYS_setsockopt SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg
            SYS_recvmmsg SYS_shutdown
        },
    },
    Group {
        reason: "local and internet sockets, and the netlink family with which the C library lists interfaces; every \
                 other family is kernel surface without use inside",
        verdict: Verdict::Unless(Check::SocketFamily, libc::EAFNOSUPPORT),
        calls: calls! { SYS_socket },
    },
    Group {
        reason: "terminals and descriptors are asked for their kind by it; putting characters into a terminal's input \
                 is an attack on whoever reads that terminal",
        verdict: Verdict::Unless(Check::TerminalInput, libc::EPERM),
        calls: calls! { SYS_ioctl },
    },
    Group {
        reason: "System V and POSIX queues, semaphores and shared memory of an own ipc namespace",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt SYS_semget SYS_semop SYS_semctl SYS_semtimedop SYS_msgget
            SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive
            SYS_mq_notify SYS_mq_getsetattr
        },
    },
    Group {
        reason: "a program may restrict itself further",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_seccomp SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
        },
    },
    Group {
        reason: "asking for the execution domain is harmless; changing it switches off address randomisation",
        verdict: Verdict::Unless(Check::Personality, libc::EPERM),
        calls: calls! { SYS_personality },
    },
    Group {
        reason: "mounts are the sandbox's walls",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! {
            SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_move_mount SYS_fsopen SYS_fsconfig
            SYS_fsmount SYS_fspick SYS_mount_setattr SYS_quotactl SYS_quotactl_fd SYS_swapon SYS_swapoff
        },
    },
    Group {
        reason: "namespaces are the sandbox's walls, and a user namespace would bring capabilities",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! { SYS_unshare SYS_setns },
    },
    Group {
        reason: "looking into or taking from other processes",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! {
            SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_process_mrelease
            SYS_pidfd_getfd SYS_kcmp SYS_perf_event_open
        },
    },
    Group {
        reason: "kernel keyrings are not namespaced",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! { SYS_add_key SYS_request_key SYS_keyctl },
    },
    Group {
        reason: "programs inside the kernel, and faults handled by the faulting program: favourites of exploits",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! { SYS_bpf SYS_userfaultfd SYS_fanotify_init SYS_fanotify_mark },
    },
    Group {
        reason: "io_uring bypasses this filter; libraries fall back to epoll",
        verdict: Verdict::Refuse(libc::ENOSYS),
        calls: calls! { SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register },
    },
    Group {
        reason: "files by handle instead of by path go around mounts",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! { SYS_name_to_handle_at SYS_open_by_handle_at },
    },
    Group {
        reason: "the machine as a whole: its clock, name, modules, power, accounting, log",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! {
            SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex SYS_sethostname SYS_setdomainname
            SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_acct SYS_syslog
            SYS_vhangup SYS_set_mempolicy SYS_mbind SYS_migrate_pages SYS_move_pages
        },
    },
];

/// Calls that only x86-64 has: older forms of the ones above, judged the same.
#[cfg(target_arch = "x86_64")]
pub(super) const OWN: &[Group] = &[
    Group {
        reason: "older forms of calls allowed above",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_poll SYS_select SYS_pipe SYS_dup2 SYS_pause
            SYS_alarm SYS_fork SYS_vfork SYS_getdents SYS_rename SYS_mkdir SYS_rmdir SYS_link SYS_unlink SYS_symlink
            SYS_readlink SYS_chmod SYS_chown SYS_lchown SYS_utime SYS_utimes SYS_futimesat SYS_time SYS_getpgrp
            SYS_epoll_create SYS_epoll_wait SYS_eventfd SYS_signalfd SYS_inotify_init SYS_arch_prctl
        },
    },
    Group {
        reason: "the older form of mknodat",
        verdict: Verdict::Unless(Check::Device { argument: 1 }, libc::EPERM),
        calls: calls! { SYS_mknod },
    },
    Group {
        reason: "access to hardware ports, segment tables, kernels to boot",
        verdict: Verdict::Refuse(libc::EPERM),
        calls: calls! { SYS_iopl SYS_ioperm SYS_modify_ldt SYS_kexec_file_load },
    },
];

/// Calls that only 64-bit ARM has.
#[cfg(target_arch = "aarch64")]
pub(super) const OWN: &[Group] = &[Group {
    reason: "kernels to boot",
    verdict: Verdict::Refuse(libc::EPERM),
    calls: calls! { SYS_kexec_file_load },
}];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const OWN: &[Group] = &[];

/// All calls of a process that computes on bytes of strangers, see [`crate::only_compute`]. Whatever else there is fails with
/// ENOSYS.
pub(super) const COMPUTING: &[Group] = &[
    Group {
        reason: "what it was given to read and to write; nothing can be opened",
        verdict: Verdict::Allow,
        calls: calls! { SYS_read SYS_write SYS_writev SYS_close },
    },
    Group {
        reason: "memory of its own, bounded by its limit",
        verdict: Verdict::Allow,
        calls: calls! { SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise },
    },
    Group {
        reason: "threads of its own",
        verdict: Verdict::Unless(Check::Process, libc::EPERM),
        calls: calls! { SYS_clone },
    },
    Group {
        reason: "what libraries do for threads, locks, signals that it gets, its end",
        verdict: Verdict::Allow,
        calls: calls! {
            SYS_futex SYS_set_robust_list SYS_rseq SYS_sigaltstack SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn
            SYS_restart_syscall SYS_sched_yield SYS_sched_getaffinity SYS_getpid SYS_gettid SYS_exit SYS_exit_group
        },
    },
    Group {
        reason: "the time and randomness, which say nothing of others",
        verdict: Verdict::Allow,
        calls: calls! { SYS_clock_gettime SYS_getrandom },
    },
];
