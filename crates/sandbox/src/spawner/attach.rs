//! Attaches host paths to a sandbox that runs already: a short-lived child of the worker opens them where the host's files
//! are in view, enters the sandbox's mount namespace and puts them there. It enters no other namespace of the sandbox, so
//! nothing inside sees it.
//!
//! What restricts the program holds for what is attached: Landlock finds the rule of a file by going up from it, over the
//! roots of mounts, and the program's rule for reading and executing is that of the root folder.

use super::{
    init::{detached, put},
    protocol::{self, Reader, Report, Step, Writer},
};
use rustix::{
    fd::AsFd,
    fs::{CWD, Mode, OFlags},
    thread::LinkNameSpaceType,
};
use std::{ffi::CStr, io, os::fd::OwnedFd};

/// What is to be attached, as the worker reads it: host path, path inside, and so on.
pub(crate) struct Order<'a>(Vec<&'a CStr>);

impl<'a> Order<'a> {
    /// As [`Order::decode`] reads it; `None` when a path contains a zero. Control socket and mount namespace go along.
    pub(crate) fn encode(attachments: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
        let mut writer = Writer::new(protocol::ATTACH);
        let mut whole = true;
        writer.number(attachments.len() as u64 * 2);
        for (host, inside) in attachments {
            whole &= writer.text(&[host]);
            whole &= writer.text(&[inside]);
        }
        whole.then(|| writer.finish())
    }

    pub(crate) fn decode(mut reader: Reader<'a>) -> Option<Order<'a>> {
        Some(Order(reader.texts()?))
    }

    /// Leaves this process in the sandbox's mount namespace.
    pub(crate) fn carry_out(&self, namespace: &OwnedFd) -> Result<(), Report> {
        let failed = |step, index: usize, error: io::Error| Report::Failed {
            step,
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
            index: u32::try_from(index).unwrap_or(u32::MAX),
        };
        let mut trees = Vec::with_capacity(self.0.len() / 2);
        for (index, pair) in self.0.chunks_exact(2).enumerate() {
            let [host, inside] = pair else { continue };
            let tree = detached(host, false).map_err(|error| failed(Step::OpenAttachment, index, error))?;
            trees.push((tree, *inside));
        }
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(|error| failed(Step::EnterRoot, 0, error.into()))?;
        for (index, (tree, inside)) in trees.iter().enumerate() {
            put(tree.as_fd(), inside).map_err(|error| failed(Step::Attach, index, error))?;
        }
        Ok(())
    }
}

/// In a sandbox's first process, when its mounts are in place: gives the daemon its mount namespace.
pub(crate) fn offer(control: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::openat(CWD, c"/proc/self/ns/mnt", flags, Mode::empty())?;
    protocol::report(control, Report::Mounted, Some(namespace.as_fd()))
}
