//! Attaches host paths to a sandbox that runs already: the worker opens them where the host's files are in view, enters the
//! sandbox's mount namespace, puts them there and comes back: a fork for it would cost more than the attachment. It enters no
//! other namespace of the sandbox, so nothing inside sees it. Where the kernel does not let it come back, a short-lived child
//! of it goes instead.
//!
//! What restricts the program holds for what is attached: Landlock finds the rule of a file by going up from it, over the
//! roots of mounts, and the program's rule for reading and executing is that of the root folder.

use super::{
    init::{detached, put},
    protocol::{self, Reader, Report, Step, Writer},
    raw,
};
use crate::sys;
use rustix::{
    fd::AsFd,
    fs::{CWD, Mode, OFlags},
    thread::LinkNameSpaceType,
};
use std::{ffi::CStr, io, os::fd::OwnedFd};

/// What is to be attached, as the worker reads it.
pub(crate) struct Order<'a> {
    /// Host path, path inside, and so on.
    paths: Vec<&'a CStr>,
    namespace: OwnedFd,
    /// What the sandbox's init, behind this socket, is told when they are there.
    then: Option<(OwnedFd, &'a [u8])>,
}

impl<'a> Order<'a> {
    /// As [`Order::decode`] reads it, with what the sandbox's init is told afterwards, if it waits for that; `None` when a
    /// path contains a zero. The descriptors that go along, in order: control, mount namespace, the init's socket if it is
    /// told something.
    pub(crate) fn encode(attachments: &[(&[u8], &[u8])], then: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut writer = Writer::new(protocol::ATTACH);
        let mut whole = true;
        writer.number(attachments.len() as u64 * 2);
        for (host, inside) in attachments {
            whole &= writer.text(&[host]);
            whole &= writer.text(&[inside]);
        }
        writer.bytes(then.unwrap_or_default());
        whole.then(|| writer.finish())
    }

    pub(crate) fn decode(
        mut reader: Reader<'a>,
        descriptors: &mut impl Iterator<Item = OwnedFd>,
    ) -> Option<Order<'a>> {
        let (paths, then) = (reader.texts()?, reader.bytes()?);
        let namespace = descriptors.next()?;
        let then = if then.is_empty() { None } else { Some((descriptors.next()?, then)) };
        Some(Order { paths, namespace, then })
    }

    /// What to report. May leave this process in the sandbox's mount namespace: see [`Home::come_back`].
    pub(crate) fn carry_out(&self) -> Report {
        self.attach().err().unwrap_or(Report::Attached)
    }

    fn attach(&self) -> Result<(), Report> {
        let failed = |step, index: usize, error: io::Error| Report::Failed {
            step,
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
            index: u32::try_from(index).unwrap_or(u32::MAX),
        };
        let mut trees = Vec::with_capacity(self.paths.len() / 2);
        for (index, pair) in self.paths.chunks_exact(2).enumerate() {
            let [host, inside] = pair else { continue };
            let tree = detached(host, false).map_err(|error| failed(Step::OpenAttachment, index, error))?;
            trees.push((tree, *inside));
        }
        rustix::thread::move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(|error| failed(Step::EnterRoot, 0, error.into()))?;
        for (index, (tree, inside)) in trees.iter().enumerate() {
            put(tree.as_fd(), inside).map_err(|error| failed(Step::Attach, index, error))?;
        }
        match &self.then {
            Some((init, order)) => {
                protocol::send(init.as_fd(), order, &[]).map_err(|error| failed(Step::Request, 0, error))
            }
            None => Ok(()),
        }
    }
}

/// Where the worker's view of files is: its mount namespace, and in that the root, which need not be the namespace's own.
pub(crate) struct Home {
    namespace: OwnedFd,
    root: OwnedFd,
}

impl Home {
    /// `None` where the kernel does not let this process enter its own mount namespace, as when that belongs to another user
    /// namespace, or where there is no `/proc`. Leaves it in the root folder.
    pub(crate) fn open() -> Option<Home> {
        let open = |path, flags| rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
        let namespace = open(c"/proc/self/ns/mnt", OFlags::RDONLY).ok()?;
        let root = open(c"/", OFlags::PATH | OFlags::DIRECTORY).ok()?;
        let home = Home { namespace, root };
        match rustix::process::chdir("/").map_err(io::Error::from).and_then(|()| home.come_back()) {
            Ok(()) => Some(home),
            Err(_) => None,
        }
    }

    /// From wherever [`Order::carry_out`] has led.
    pub(crate) fn come_back(&self) -> io::Result<()> {
        rustix::thread::move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        rustix::process::fchdir(&self.root)?;
        // In a namespace just entered this is the namespace's root, not the one that the daemon may have been confined to.
        Ok(rustix::process::chroot(".")?)
    }

    /// In a child that never comes back: closes what leads here. It must not use this afterwards.
    pub(crate) fn leave(&self) {
        for descriptor in [&self.namespace, &self.root] {
            let number = raw(descriptor).cast_unsigned();
            sys::close_range(number, number);
        }
    }
}

/// In a sandbox's first process, when its mounts are in place: gives the daemon its mount namespace.
pub(crate) fn offer(control: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::openat(CWD, c"/proc/self/ns/mnt", flags, Mode::empty())?;
    protocol::report(control, Report::Mounted, Some(namespace.as_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

    /// Exit code of a child that is confined to `root` and visits the namespace that this process is in.
    fn visit(root: &std::path::Path) -> i32 {
        let entered = || {
            let elsewhere = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY, Mode::empty())?;
            sys::unshare(libc::CLONE_NEWNS)?;
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
            mount_bind("/proc", root.join("proc"))?;
            rustix::process::chroot(root)?;
            let home = Home::open().ok_or(io::ErrorKind::NotFound)?;
            rustix::thread::move_into_link_name_space(elsewhere.as_fd(), Some(LinkNameSpaceType::Mount))?;
            let went = rustix::fs::access("/marker", rustix::fs::Access::EXISTS).is_err();
            home.come_back()?;
            io::Result::Ok(went)
        };
        match entered() {
            Ok(true) => {}
            Ok(false) => return 2,
            Err(_) => return 3,
        }
        for seen in ["/marker", "marker"] {
            if rustix::fs::access(seen, rustix::fs::Access::EXISTS).is_err() {
                return 4;
            }
        }
        0
    }

    #[test]
    fn a_worker_in_a_chroot_comes_back_to_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("marker"), "").unwrap();
        match sys::fork().unwrap() {
            sys::Forked::Child => sys::exit_now(visit(root.path())),
            sys::Forked::Parent(child) => assert_eq!(sys::wait_for(child).unwrap(), 0),
        }
    }
}
