//! What daemon, spawner and a sandbox's init say to each other: one packet each on SOCK_SEQPACKET sockets.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::{
    ffi::CStr,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Longest request: arguments, environment and paths together.
pub(crate) const REQUEST_MAX: usize = 128 * 1024;
/// Most descriptors with one packet.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

/// First byte of a request: start a program.
pub(crate) const SPAWN: u8 = 1;
/// First byte of a request: build a template.
pub(crate) const TEMPLATE: u8 = 2;
/// First byte of a request: start a zygote.
pub(crate) const ZYGOTE: u8 = 3;
/// First byte of a request: attach paths to a running sandbox.
pub(crate) const ATTACH: u8 = 4;
/// First byte of what an init that waits is told: execute a program.
pub(crate) const BEGIN: u8 = 5;

/// Builds a request.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: u8) -> Writer {
        let mut bytes = Vec::with_capacity(4096);
        bytes.push(kind);
        Writer(bytes)
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Length first, then the bytes.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Bytes as a C string, which the reader can use in place. False when they contain a zero.
    #[must_use]
    pub(crate) fn text(&mut self, parts: &[&[u8]]) -> bool {
        self.number(parts.iter().map(|part| part.len() as u64).sum::<u64>() + 1);
        for part in parts {
            self.0.extend_from_slice(part);
        }
        self.0.push(0);
        !parts.iter().any(|part| part.contains(&0))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a request in place. `None` from any method: the request is malformed.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(crate) fn kind(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    pub(crate) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    pub(crate) fn text(&mut self) -> Option<&'a CStr> {
        CStr::from_bytes_with_nul(self.bytes()?).ok()
    }

    /// Whether nothing is left to read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// A count, then that many texts.
    pub(crate) fn texts(&mut self) -> Option<Vec<&'a CStr>> {
        (0..self.number()?).map(|_| self.text()).collect()
    }
}

/// A step that the kernel can refuse, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Request,
    Clone,
    JoinCgroup,
    OpenAttachment,
    EnterNetwork,
    EnterRoot,
    Unshare,
    MountProc,
    MaskProc,
    MountScratch,
    Attach,
    WorkingFolder,
    Limits,
    Capabilities,
    Identity,
    Landlock,
    Seccomp,
    Exec,
    BuildRoot,
    BuildBind,
    BuildFile,
    BuildLink,
    BuildFolder,
    ExecCompanion,
    Fork,
    Return,
}

impl Step {
    const ALL: [Step; 26] = [
        Step::Request,
        Step::Clone,
        Step::JoinCgroup,
        Step::OpenAttachment,
        Step::EnterNetwork,
        Step::EnterRoot,
        Step::Unshare,
        Step::MountProc,
        Step::MaskProc,
        Step::MountScratch,
        Step::Attach,
        Step::WorkingFolder,
        Step::Limits,
        Step::Capabilities,
        Step::Identity,
        Step::Landlock,
        Step::Seccomp,
        Step::Exec,
        Step::BuildRoot,
        Step::BuildBind,
        Step::BuildFile,
        Step::BuildLink,
        Step::BuildFolder,
        Step::ExecCompanion,
        Step::Fork,
        Step::Return,
    ];

    /// The step of this number, if there is one.
    pub(crate) fn of(number: u32) -> Option<Step> {
        Step::ALL.get(usize::try_from(number).ok()?).copied()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Request => "reading the request",
            Step::Clone => "creating the process",
            Step::JoinCgroup => "joining the cgroup",
            Step::OpenAttachment => "opening an attached path",
            Step::EnterNetwork => "entering the network namespace",
            Step::EnterRoot => "entering the root",
            Step::Unshare => "making own namespaces",
            Step::MountProc => "mounting /proc",
            Step::MaskProc => "masking files of /proc",
            Step::MountScratch => "mounting the scratch space",
            Step::Attach => "attaching a path",
            Step::WorkingFolder => "changing to the working folder",
            Step::Limits => "setting limits",
            Step::Capabilities => "dropping capabilities",
            Step::Identity => "changing the user",
            Step::Landlock => "restricting with Landlock",
            Step::Seccomp => "installing the system call filter",
            Step::Exec => "executing the program",
            Step::BuildRoot => "building the root",
            Step::BuildBind => "binding a host path into the root",
            Step::BuildFile => "writing a file of the root",
            Step::BuildLink => "making a link of the root",
            Step::BuildFolder => "making a folder of the root",
            Step::ExecCompanion => "executing the accompanying program",
            Step::Fork => "forking from the zygote",
            Step::Return => "coming back from the sandbox's root",
        }
    }
}

/// What spawner and init report to the daemon on the socket that came with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The process exists; its pidfd comes along.
    Cloned { pid: u32, received_ns: u64 },
    /// The program's image is loaded, or, where others accompany it, those of all others, or, where it is named later, the
    /// sandbox is locked.
    Executed { born_ns: u64, mounted_ns: u64, locked_ns: u64, executed_ns: u64 },
    /// A step failed at the n-th of its things.
    Failed { step: Step, errno: i32, index: u32 },
    /// The program ended with this wait status; the init ends now too.
    Exited { status: i32 },
    /// The template's mount namespace comes along.
    Built,
    /// The program's image is loaded, where that came later than the sandbox.
    Begun,
    /// The n-th companion ended with this wait status.
    CompanionExited { index: u32, status: i32 },
    /// The sandbox's mounts are in place; its mount namespace comes along. Where that was asked for.
    Mounted,
    /// Paths were attached to a running sandbox.
    Attached,
}

const REPORT_BYTES: usize = 40;

impl Report {
    fn encode(self) -> [u8; REPORT_BYTES] {
        let words: [u64; 5] = match self {
            Report::Cloned { pid, received_ns } => [1, pid.into(), received_ns, 0, 0],
            Report::Executed { born_ns, mounted_ns, locked_ns, executed_ns } => {
                [2, born_ns, mounted_ns, locked_ns, executed_ns]
            }
            Report::Failed { step, errno, index } => {
                [3, step as u64, u64::from(errno.cast_unsigned()), index.into(), 0]
            }
            Report::Exited { status } => [4, u64::from(status.cast_unsigned()), 0, 0, 0],
            Report::Built => [5, 0, 0, 0, 0],
            Report::Begun => [6, 0, 0, 0, 0],
            Report::CompanionExited { index, status } => {
                [7, index.into(), u64::from(status.cast_unsigned()), 0, 0]
            }
            Report::Mounted => [8, 0, 0, 0, 0],
            Report::Attached => [9, 0, 0, 0, 0],
        };
        let mut bytes = [0; REPORT_BYTES];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Report> {
        let mut reader = Reader::new(bytes);
        let words =
            [reader.number()?, reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let [kind, a, b, c, d] = words;
        let signed = |word: u64| u32::try_from(word).ok().map(u32::cast_signed);
        Some(match kind {
            1 => Report::Cloned { pid: u32::try_from(a).ok()?, received_ns: b },
            2 => Report::Executed { born_ns: a, mounted_ns: b, locked_ns: c, executed_ns: d },
            3 => Report::Failed {
                step: Step::of(u32::try_from(a).ok()?)?,
                errno: signed(b)?,
                index: u32::try_from(c).ok()?,
            },
            4 => Report::Exited { status: signed(a)? },
            5 => Report::Built,
            6 => Report::Begun,
            7 => Report::CompanionExited { index: u32::try_from(a).ok()?, status: signed(b)? },
            8 => Report::Mounted,
            9 => Report::Attached,
            _ => return None,
        })
    }
}

/// Sends one packet. Never raises SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet into `buffer`: its length (0 when the other end is gone) and the descriptors that came along.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok((length, descriptors))
}

/// Sends a report.
pub(crate) fn report(
    socket: impl AsFd,
    report: Report,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    send(socket.as_fd(), &report.encode(), descriptor.as_slice())
}

/// Receives a report and the descriptor that came along. `None` when the other end is gone.
pub(crate) fn receive_report(socket: impl AsFd) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    let mut buffer = [0; REPORT_BYTES];
    let (length, descriptors) = receive(socket.as_fd(), &mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    let report =
        Report::decode(buffer.get(..length).unwrap_or_default()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((report, descriptors.into_iter().next())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_wire() {
        let reports = [
            Report::Cloned { pid: 7, received_ns: u64::MAX },
            Report::Executed { born_ns: 1, mounted_ns: 2, locked_ns: 3, executed_ns: 4 },
            Report::Failed { step: Step::BuildFolder, errno: 13, index: 2 },
            Report::Exited { status: 0x0100 },
            Report::Built,
            Report::Begun,
            Report::CompanionExited { index: 9, status: 9 },
            Report::Mounted,
            Report::Attached,
        ];
        for report in reports {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn every_step_decodes_to_itself() {
        for (index, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, index);
        }
    }

    #[test]
    fn truncated_requests_are_refused() {
        let mut writer = Writer::new(SPAWN);
        writer.number(5);
        assert!(writer.text(&[b"a=", b"b"]));
        let bytes = writer.finish();
        for end in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..end]);
            let read = reader.kind().and_then(|_| reader.number()).and_then(|_| reader.text());
            assert_eq!(read, None, "of {end} bytes");
        }
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.kind(), Some(SPAWN));
        assert_eq!(reader.number(), Some(5));
        assert_eq!(reader.text(), Some(c"a=b"));
    }

    #[test]
    fn texts_with_a_zero_are_refused() {
        assert!(!Writer::new(SPAWN).text(&[b"a\0b"]));
    }
}
