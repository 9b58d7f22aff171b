//! The system call filter: the table of `table.rs` compiled to a search tree over ranges of call numbers, since the cost of
//! installing a filter follows its length and the cost of a call follows its depth.

mod table;

use crate::sys;
use libc::sock_filter;
use std::collections::BTreeMap;

/// Calls that are judged alike, and why.
struct Group {
    /// For reviewers.
    #[cfg_attr(not(test), allow(dead_code))] // read by the tests, which demand one of every group
    reason: &'static str,
    verdict: Verdict,
    calls: &'static [(&'static str, libc::c_long)],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    /// Fails with this error number.
    Refuse(i32),
    /// Fails with this error number if the check finds something, else is allowed.
    Unless(Check, i32),
}

/// A look at a call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Clone flags that make namespaces.
    Namespaces { argument: u8 },
    /// A file mode that is of a device.
    Device { argument: u8 },
    /// A socket family other than local, IPv4, IPv6, or netlink of the routing protocol.
    SocketFamily,
    /// ioctls that put characters into a terminal's input.
    TerminalInput,
    /// An execution domain other than the ordinary one; 0xffffffff asks for the present one.
    Personality,
    /// Clone flags of anything but a thread of the same process.
    Process,
}

/// Number in the filter's data of the processor's calling convention. Source: `linux/audit.h`.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Bit in call numbers of the x32 convention, which shares its architecture with x86-64.
const X32: u32 = 0x4000_0000;

const RETURN_ALLOW: u32 = 0x7fff_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_KILL: u32 = 0x8000_0000;

/// Offsets in `seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// Whether kernel and processor are served.
pub(crate) fn available() -> bool {
    ARCHITECTURE.is_some() && [RETURN_ALLOW, RETURN_ERRNO, RETURN_KILL].into_iter().all(sys::seccomp_has)
}

/// The filter's program for functions.
pub(crate) fn compile() -> Vec<sock_filter> {
    program(table::GROUPS.iter().chain(table::OWN))
}

/// The filter's program for processes that only compute.
pub(crate) fn compile_computing() -> Vec<sock_filter> {
    program(table::COMPUTING.iter())
}

/// Other architectures' calls kill; unknown calls fail with ENOSYS.
fn program<'a>(groups: impl Iterator<Item = &'a Group>) -> Vec<sock_filter> {
    let mut program = vec![
        load(OFFSET_ARCHITECTURE),
        jump_equal(ARCHITECTURE.unwrap_or(0), 1, 0),
        answer(RETURN_KILL),
        load(OFFSET_NUMBER),
    ];
    program.extend(tree(&ranges(groups)));
    program
}

/// Verdicts by first call number of each range; the last range reaches to the end.
fn ranges<'a>(groups: impl Iterator<Item = &'a Group>) -> Vec<(u32, Verdict)> {
    let unknown = Verdict::Refuse(libc::ENOSYS);
    let mut by_number = BTreeMap::new();
    for group in groups {
        for (_, number) in group.calls {
            by_number.insert(u32::try_from(*number).unwrap_or(X32), group.verdict);
        }
    }
    let mut ranges = vec![(0, unknown)];
    let mut push = |from: u32, verdict: Verdict| {
        if ranges.last().is_some_and(|(start, _)| *start == from) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((from, verdict));
        }
    };
    let mut next = 0;
    for (number, verdict) in by_number {
        if number > next {
            push(next, unknown);
        }
        push(number, verdict);
        next = number + 1;
    }
    push(next, unknown);
    ranges
}

/// Binary search for the range of the loaded number.
fn tree(ranges: &[(u32, Verdict)]) -> Vec<sock_filter> {
    match ranges {
        [] => Vec::new(),
        [(_, verdict)] => leaf(*verdict),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let pivot = high.first().map_or(0, |(from, _)| *from);
            let (low, high) = (tree(low), tree(high));
            let mut program = match u8::try_from(low.len()) {
                Ok(skip) => vec![jump_at_least(pivot, skip, 0)],
                // Conditional jumps reach 255 instructions; unconditional ones any distance.
                Err(_) => {
                    vec![jump_at_least(pivot, 0, 1), jump(u32::try_from(low.len()).unwrap_or(u32::MAX))]
                }
            };
            program.extend(low);
            program.extend(high);
            program
        }
    }
}

fn leaf(verdict: Verdict) -> Vec<sock_filter> {
    match verdict {
        Verdict::Allow => vec![answer(RETURN_ALLOW)],
        Verdict::Refuse(errno) => vec![answer(refusal(errno))],
        Verdict::Unless(check, errno) => look(check, refusal(errno)),
    }
}

fn refusal(errno: i32) -> u32 {
    RETURN_ERRNO | (errno.cast_unsigned() & 0xffff)
}

/// Offset of the lower half of an argument on little-endian processors, the only ones served.
fn argument(index: u8) -> u32 {
    16 + 8 * u32::from(index)
}

fn look(check: Check, refused: u32) -> Vec<sock_filter> {
    let (allow, refuse) = (answer(RETURN_ALLOW), answer(refused));
    match check {
        Check::Namespaces { argument: index } => {
            let flags = libc::CLONE_NEWNS
                | libc::CLONE_NEWCGROUP
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUSER
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWNET;
            // CLONE_NEWTIME shares its bit with the exit signal and only clone3 and unshare know it.
            vec![load(argument(index)), jump_set(flags.cast_unsigned(), 1, 0), allow, refuse]
        }
        Check::Device { argument: index } => vec![
            load(argument(index)),
            and(libc::S_IFMT),
            jump_equal(libc::S_IFCHR, 2, 0),
            jump_equal(libc::S_IFBLK, 1, 0),
            allow,
            refuse,
        ],
        Check::SocketFamily => {
            let family = |family: i32| family.cast_unsigned();
            vec![
                load(argument(0)),
                jump_equal(family(libc::AF_UNIX), 5, 0),
                jump_equal(family(libc::AF_INET), 4, 0),
                jump_equal(family(libc::AF_INET6), 3, 0),
                jump_equal(family(libc::AF_NETLINK), 0, 3),
                load(argument(2)),
                jump_equal(family(libc::NETLINK_ROUTE), 0, 1),
                allow,
                refuse,
            ]
        }
        Check::TerminalInput => {
            vec![load(argument(1)), jump_equal(TIOCSTI, 2, 0), jump_equal(TIOCLINUX, 1, 0), allow, refuse]
        }
        Check::Process => {
            vec![load(argument(0)), jump_set(libc::CLONE_THREAD.cast_unsigned(), 0, 1), allow, refuse]
        }
        Check::Personality => {
            vec![load(argument(0)), jump_equal(0, 1, 0), jump_equal(u32::MAX, 0, 1), allow, refuse]
        }
    }
}

/// Source: `asm-generic/ioctls.h`.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn and(mask: u32) -> sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask)
}

fn jump_equal(value: u32, then: u8, otherwise: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, otherwise, value)
}

fn jump_at_least(value: u32, then: u8, otherwise: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, then, otherwise, value)
}

fn jump_set(mask: u32, then: u8, otherwise: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, then, otherwise, mask)
}

fn jump(distance: u32) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, distance)
}

fn answer(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

#[cfg(test)]
mod inside;
#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Runs the program as the kernel would.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [0_u32; 16];
        data[0] = number;
        data[1] = architecture;
        for (index, argument) in arguments.into_iter().enumerate() {
            data[4 + 2 * index] = argument as u32;
            data[5 + 2 * index] = (argument >> 32) as u32;
        }
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let branch = |taken: bool| usize::from(if taken { jt } else { jf });
            match u32::from(code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = data[k as usize / 4]
                }
                code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => accumulator &= k,
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += branch(accumulator == k),
                code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += branch(accumulator >= k),
                code if code == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => {
                    at += branch(accumulator & k != 0)
                }
                code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
                code if code == libc::BPF_RET | libc::BPF_K => return k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    fn here(number: libc::c_long, arguments: [u64; 6]) -> u32 {
        run(&compile(), ARCHITECTURE.unwrap(), number as u32, arguments)
    }

    fn errno(number: i32) -> u32 {
        RETURN_ERRNO | number as u32
    }

    #[test]
    fn every_group_has_a_reason_and_no_call_is_judged_twice() {
        let mut seen = BTreeSet::new();
        for group in table::GROUPS.iter().chain(table::OWN) {
            assert!(!group.reason.is_empty());
            for (name, number) in group.calls {
                assert!(seen.insert(*number), "{name} is in two groups");
            }
        }
    }

    #[test]
    fn the_program_judges_every_number_as_the_table_does() {
        let program = compile();
        let architecture = ARCHITECTURE.unwrap();
        let mut expected = BTreeMap::new();
        for group in table::GROUPS.iter().chain(table::OWN) {
            for (_, number) in group.calls {
                expected.insert(*number as u32, group.verdict);
            }
        }
        for number in 0..1024 {
            let got = run(&program, architecture, number, [0; 6]);
            match expected.get(&number) {
                None => assert_eq!(got, errno(libc::ENOSYS), "call {number}"),
                Some(Verdict::Allow) => assert_eq!(got, RETURN_ALLOW, "call {number}"),
                Some(Verdict::Refuse(refused)) => assert_eq!(got, errno(*refused), "call {number}"),
                Some(Verdict::Unless(..)) => {}
            }
        }
    }

    #[test]
    fn other_conventions_are_refused() {
        let program = compile();
        assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), RETURN_KILL, "32-bit x86");
        assert_eq!(run(&program, ARCHITECTURE.unwrap(), X32 | 1, [0; 6]), errno(libc::ENOSYS), "x32");
    }

    #[test]
    fn arguments_are_looked_at() {
        let first = |value: i64| [value as u64, 0, 0, 0, 0, 0];
        let cases = [
            (libc::SYS_clone, first(i64::from(libc::SIGCHLD)), RETURN_ALLOW),
            (libc::SYS_clone, first(i64::from(libc::CLONE_NEWUSER)), errno(libc::EPERM)),
            (libc::SYS_clone, first(i64::from(libc::CLONE_NEWNS | libc::CLONE_VM)), errno(libc::EPERM)),
            (libc::SYS_socket, first(2), RETURN_ALLOW),
            (libc::SYS_socket, first(10), RETURN_ALLOW),
            (libc::SYS_socket, first(1), RETURN_ALLOW),
            (libc::SYS_socket, [16, 3, 0, 0, 0, 0], RETURN_ALLOW),
            (libc::SYS_socket, [16, 3, 9, 0, 0, 0], errno(libc::EAFNOSUPPORT)),
            (libc::SYS_socket, first(17), errno(libc::EAFNOSUPPORT)),
            (libc::SYS_socket, first(40), errno(libc::EAFNOSUPPORT)),
            (libc::SYS_mknodat, [0, 0, 0o010_644, 0, 0, 0], RETURN_ALLOW),
            (libc::SYS_mknodat, [0, 0, 0o020_644, 0, 0, 0], errno(libc::EPERM)),
            (libc::SYS_mknodat, [0, 0, 0o060_644, 0, 0, 0], errno(libc::EPERM)),
            (libc::SYS_ioctl, [0, u64::from(TIOCSTI), 0, 0, 0, 0], errno(libc::EPERM)),
            (libc::SYS_ioctl, [0, u64::from(TIOCSTI) | 1 << 32, 0, 0, 0, 0], errno(libc::EPERM)),
            (libc::SYS_ioctl, [0, 0x5401, 0, 0, 0, 0], RETURN_ALLOW),
            (libc::SYS_personality, first(0), RETURN_ALLOW),
            (libc::SYS_personality, first(0xffff_ffff), RETURN_ALLOW),
            (libc::SYS_personality, first(0x0004_0000), errno(libc::EPERM)),
        ];
        for (number, arguments, expected) in cases {
            assert_eq!(here(number, arguments), expected, "call {number} with {arguments:?}");
        }
    }

    #[test]
    fn who_computes_has_memory_threads_and_descriptors_alone() {
        let judged = |number: libc::c_long, first: i64| {
            let arguments = [first as u64, 0, 0, 0, 0, 0];
            run(&compile_computing(), ARCHITECTURE.unwrap(), number as u32, arguments)
        };
        for allowed in
            [libc::SYS_read, libc::SYS_write, libc::SYS_mmap, libc::SYS_futex, libc::SYS_exit_group]
        {
            assert_eq!(judged(allowed, 0), RETURN_ALLOW, "call {allowed}");
        }
        let thread = i64::from(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
        assert_eq!(judged(libc::SYS_clone, thread), RETURN_ALLOW);
        assert_eq!(judged(libc::SYS_clone, i64::from(libc::SIGCHLD)), errno(libc::EPERM));
        let none = [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_clone3,
            libc::SYS_kill,
            libc::SYS_tgkill,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_prctl,
            libc::SYS_prlimit64,
            libc::SYS_ioctl,
            libc::SYS_unlinkat,
            libc::SYS_io_uring_setup,
            libc::SYS_pidfd_open,
        ];
        for refused in none {
            assert_eq!(judged(refused, 0), errno(libc::ENOSYS), "call {refused}");
        }
        assert_eq!(run(&compile_computing(), 0x4000_0003, 1, [0; 6]), RETURN_KILL, "32-bit x86");
        assert!(table::COMPUTING.iter().all(|group| !group.reason.is_empty()));
    }

    #[test]
    fn stays_short() {
        // Installing costs microseconds per hundred instructions, at every start.
        assert!(compile().len() < 400, "{} instructions", compile().len());
    }
}
