//! What locks a process into its sandbox, as data: one list of system calls for whoever carries it out. A sandbox's init runs it
//! in its own image, and so does a process that a zygote has forked, in its language, from the encoded list. So the two ways
//! to start a program cannot drift apart.

use super::{
    Common,
    protocol::{Step, Writer},
};
use crate::sys;
use rustix::{process::Resource, thread::CapabilitiesSecureBits};
use std::io;

/// An argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    /// A number.
    Number(u64),
    /// The address of this offset of the memory that comes with the list.
    Memory(u64),
    /// The n-th of the descriptors that come with the list.
    Descriptor(u64),
}

const ARGUMENTS: usize = 5;
/// An argument that the call does not have.
const NONE: Arg = Arg::Number(0);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    step: Step,
    /// At the n-th of the step's things.
    index: u32,
    number: libc::c_long,
    arguments: [Arg; ARGUMENTS],
}

/// System calls in order, with the memory that they read.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    list: Vec<Call>,
    memory: Vec<u8>,
    /// Where in the memory the address of which other part of it is to be put.
    pointers: Vec<(u64, u64)>,
}

/// Who a process becomes and what it may take.
pub(crate) struct Limits {
    pub(crate) uid: u32,
    pub(crate) processes: u32,
    pub(crate) descriptors: u32,
}

/// A failed call.
pub(crate) struct Refused {
    pub(crate) step: Step,
    pub(crate) index: u32,
    pub(crate) error: io::Error,
}

/// Source: linux/capability.h.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

impl Calls {
    /// On cgroup v1 a process is moved by itself, by writing 0 to `tasks`: this takes microseconds, where any write to
    /// `cgroup.procs` waits some milliseconds for a grace period of the whole machine. The doors are `count` descriptors from
    /// number `first` on.
    pub(crate) fn join_cgroups(&mut self, first: u64, count: usize) {
        let zero = self.put(b"0");
        for (nth, index) in (first..).zip(0..count) {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let arguments = [Arg::Descriptor(nth), Arg::Memory(zero), Arg::Number(1)];
            self.push_nth(Step::JoinCgroup, index, libc::SYS_write, arguments);
        }
    }

    /// Enters the namespaces of the process behind this pidfd, then the working folder, by its path there.
    pub(crate) fn enter(&mut self, process: u64, folder: &[u8]) {
        let namespaces = libc::CLONE_NEWNS
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWCGROUP;
        let namespaces = Arg::Number(u64::from(namespaces.cast_unsigned()));
        self.push(Step::EnterRoot, libc::SYS_setns, [Arg::Descriptor(process), namespaces, NONE]);
        let folder = self.put(&[folder, &[0]].concat());
        self.push(Step::WorkingFolder, libc::SYS_chdir, [Arg::Memory(folder), NONE, NONE]);
    }

    /// Limits, identity, privileges and filters, in the order in which they must come: what needs privileges first, then
    /// they are dropped, then the filters close. `landlock` is the number of the ruleset's descriptor, if there is one.
    pub(crate) fn lock(&mut self, limits: &Limits, common: &Common, landlock: Option<u64>) {
        self.limit(limits);
        self.drop_privileges(limits, common);
        if let Some(ruleset) = landlock {
            let arguments = [Arg::Descriptor(ruleset), NONE, NONE];
            self.push(Step::Landlock, libc::SYS_landlock_restrict_self, arguments);
        }
        if let Some(filter) = &common.filter {
            self.filter(filter);
        }
    }

    fn limit(&mut self, limits: &Limits) {
        let wanted = [
            (Resource::Nofile, libc::RLIMIT_NOFILE, u64::from(limits.descriptors)),
            // Also where there is no pids cgroup: the uid is this sandbox's alone.
            (Resource::Nproc, libc::RLIMIT_NPROC, u64::from(limits.processes)),
            // 1, not 0: where the host pipes core dumps to a program, 0 does not prevent that and 1 does.
            (Resource::Core, libc::RLIMIT_CORE, 1),
            (Resource::Memlock, libc::RLIMIT_MEMLOCK, 8 << 20),
            (Resource::Nice, libc::RLIMIT_NICE, 0),
            (Resource::Rtprio, libc::RLIMIT_RTPRIO, 0),
            (Resource::Sigpending, libc::RLIMIT_SIGPENDING, 4096),
            (Resource::Msgqueue, libc::RLIMIT_MSGQUEUE, 819_200),
        ];
        for (resource, number, value) in wanted {
            // Without root it cannot be raised.
            let value = rustix::process::getrlimit(resource).maximum.map_or(value, |most| most.min(value));
            let limit = self.put(&[value.to_ne_bytes(), value.to_ne_bytes()].concat());
            let arguments = [Arg::Number(0), Arg::Number(u64::from(number)), Arg::Memory(limit)];
            self.push(Step::Limits, libc::SYS_prlimit64, arguments);
        }
    }

    fn drop_privileges(&mut self, limits: &Limits, common: &Common) {
        for capability in 0..=u64::from(common.last_capability) {
            self.prctl(Step::Capabilities, libc::PR_CAPBSET_DROP, capability);
        }
        let secure = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        self.prctl(Step::Capabilities, libc::PR_SET_SECUREBITS, secure.bits().into());
        if !common.shared_uid {
            self.push(Step::Identity, libc::SYS_setgroups, [NONE; 3]);
        }
        let id = Arg::Number(limits.uid.into());
        self.push(Step::Identity, libc::SYS_setresgid, [id; 3]);
        self.push(Step::Identity, libc::SYS_setresuid, [id; 3]);
        let header = self.put(&[CAPABILITY_VERSION_3.to_ne_bytes(), [0; 4]].concat());
        let none = self.put(&[0; 24]);
        let arguments = [Arg::Memory(header), Arg::Memory(none), NONE];
        self.push(Step::Capabilities, libc::SYS_capset, arguments);
        // After the change of user, which clears both.
        self.prctl(Step::Identity, libc::PR_SET_DUMPABLE, 0);
        self.prctl(Step::Identity, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64);
        self.prctl(Step::Capabilities, libc::PR_SET_NO_NEW_PRIVS, 1);
    }

    /// `seccomp(SECCOMP_SET_MODE_FILTER, 0, &sock_fprog)`.
    fn filter(&mut self, filter: &[libc::sock_filter]) {
        let mut instructions = Vec::with_capacity(filter.len() * 8);
        for one in filter {
            instructions.extend_from_slice(&one.code.to_ne_bytes());
            instructions.extend_from_slice(&[one.jt, one.jf]);
            instructions.extend_from_slice(&one.k.to_ne_bytes());
        }
        let instructions = self.put(&instructions);
        // A filter has at most 4,096 instructions; a longer one is refused by the kernel as one of length 0.
        let length = u64::from(u16::try_from(filter.len()).unwrap_or(0));
        let program = self.put(&[length.to_ne_bytes(), [0; 8]].concat());
        self.pointers.push((program + 8, instructions));
        self.push(Step::Seccomp, libc::SYS_seccomp, [Arg::Number(1), NONE, Arg::Memory(program)]);
    }

    /// Adds to the memory, aligned for any type that calls read; where.
    fn put(&mut self, bytes: &[u8]) -> u64 {
        let at = self.memory.len().next_multiple_of(8);
        self.memory.resize(at, 0);
        self.memory.extend_from_slice(bytes);
        at as u64
    }

    fn prctl(&mut self, step: Step, option: libc::c_int, value: u64) {
        let option = Arg::Number(u64::from(option.cast_unsigned()));
        self.push(step, libc::SYS_prctl, [option, Arg::Number(value), NONE]);
    }

    fn push(&mut self, step: Step, number: libc::c_long, arguments: [Arg; 3]) {
        self.push_nth(step, 0, number, arguments);
    }

    fn push_nth(&mut self, step: Step, index: u32, number: libc::c_long, [a, b, c]: [Arg; 3]) {
        self.list.push(Call { step, index, number, arguments: [a, b, c, NONE, NONE] });
    }

    /// Carries the list out in this process, up to the first call that fails.
    pub(crate) fn run(mut self, descriptors: &[i32]) -> Result<(), Refused> {
        let base = self.memory.as_ptr() as u64;
        for (at, target) in std::mem::take(&mut self.pointers) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if let Some(place) = self.memory.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
                *place = (base + target).to_ne_bytes();
            }
        }
        for Call { step, index, number, arguments } in &self.list {
            let value = |argument: &Arg| match argument {
                Arg::Number(number) => *number,
                Arg::Memory(offset) => base + offset,
                // Of one that is missing: -1, which the kernel refuses.
                Arg::Descriptor(nth) => {
                    let found = usize::try_from(*nth).ok().and_then(|nth| descriptors.get(nth));
                    found.map_or(u64::MAX, |found| i64::from(*found).cast_unsigned())
                }
            };
            let arguments = arguments.each_ref().map(value);
            sys::call(*number, arguments).map_err(|error| Refused { step: *step, index: *index, error })?;
        }
        Ok(())
    }

    /// For others: numbers of eight bytes. A count, then for each call its number, step, index and for each of five
    /// arguments kind (0 number, 1 memory, 2 descriptor) and value; a count and the pairs of pointers; the memory.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.number(self.list.len() as u64);
        for Call { step, index, number, arguments } in &self.list {
            for word in [number.cast_unsigned(), *step as u64, u64::from(*index)] {
                writer.number(word);
            }
            for argument in arguments {
                let (kind, value) = match argument {
                    Arg::Number(value) => (0, *value),
                    Arg::Memory(value) => (1, *value),
                    Arg::Descriptor(value) => (2, *value),
                };
                writer.number(kind);
                writer.number(value);
            }
        }
        writer.number(self.pointers.len() as u64);
        for (at, target) in &self.pointers {
            writer.number(*at);
            writer.number(*target);
        }
        writer.bytes(&self.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawner::protocol::Reader;

    fn common() -> Common {
        Common {
            filter: Some(vec![libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }]),
            landlock: true,
            last_capability: 40,
            masked: Vec::new(),
            shared_uid: false,
        }
    }

    fn locking() -> Calls {
        let mut calls = Calls::default();
        calls.lock(&Limits { uid: 7, processes: 10, descriptors: 20 }, &common(), Some(0));
        calls
    }

    #[test]
    fn filters_close_last_and_what_needs_privileges_comes_before_they_are_dropped() {
        let calls = locking();
        let at = |number| calls.list.iter().rposition(|call| call.number == number).unwrap();
        let option = |option: i32| {
            let first = Arg::Number(u64::from(option.cast_unsigned()));
            calls
                .list
                .iter()
                .rposition(|call| call.number == libc::SYS_prctl && call.arguments[0] == first)
                .unwrap()
        };
        let order = [
            at(libc::SYS_prlimit64),
            option(libc::PR_CAPBSET_DROP),
            option(libc::PR_SET_SECUREBITS),
            at(libc::SYS_setgroups),
            at(libc::SYS_setresgid),
            at(libc::SYS_setresuid),
            at(libc::SYS_capset),
            option(libc::PR_SET_NO_NEW_PRIVS),
            at(libc::SYS_landlock_restrict_self),
            at(libc::SYS_seccomp),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(order[9], calls.list.len() - 1);
    }

    #[test]
    fn a_list_ends_at_the_first_call_that_fails_and_names_it() {
        let mut calls = Calls::default();
        calls.join_cgroups(0, 3);
        let sink = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let sink = std::os::fd::AsRawFd::as_raw_fd(&sink);
        let refused = calls.run(&[sink, -1, sink]).err().unwrap();
        assert_eq!((refused.step, refused.index), (Step::JoinCgroup, 1));
        assert_eq!(refused.error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_encoded_list_is_the_one_that_is_run() {
        let calls = locking();
        let mut writer = Writer::new(0);
        calls.encode(&mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes[1..]);
        let mut next = || reader.number().unwrap();
        assert_eq!(next(), calls.list.len() as u64);
        for call in &calls.list {
            assert_eq!(
                [next(), next(), next()],
                [call.number as u64, call.step as u64, u64::from(call.index)]
            );
            for argument in call.arguments {
                let (kind, value) = (next(), next());
                let same = match argument {
                    Arg::Number(number) => (0, number),
                    Arg::Memory(offset) => (1, offset),
                    Arg::Descriptor(nth) => (2, nth),
                };
                assert_eq!((kind, value), same);
            }
        }
        assert_eq!(next(), 1);
        let (at, target) = (next(), next());
        let memory = reader.bytes().unwrap();
        // The filter's program: its length, and where its instructions are.
        assert_eq!(memory[usize::try_from(at).unwrap() - 8], 1);
        assert_eq!(memory[usize::try_from(target).unwrap()], 6);
    }
}
