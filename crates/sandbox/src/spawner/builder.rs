//! Builds a template: a mount namespace with a read-only root of exactly the named paths. Runs in a process of its own,
//! whose mount namespace it becomes; a descriptor of that keeps it alive.

use super::{
    init::{detached, put},
    protocol::{self, Reader, Report, Step, Writer},
};
use crate::sys;
use rustix::{
    fd::AsFd,
    fs::{CWD, FileType, Mode, OFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, open_tree,
    },
};
use std::{
    ffi::{CStr, OsStr},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::Path,
};

/// Folders of every root.
const FOLDERS: [&str; 7] = ["/dev", "/etc", "/opt", "/proc", "/tmp", "/var/task", "/run"];
/// An empty file of every root, which is shown in place of what [`super::masked`] names.
pub(crate) const EMPTY: &CStr = c"/run/empty";
/// Character devices of every root, with their numbers. Source: Linux' `devices.txt`.
const DEVICES: [(&CStr, u32, u32); 5] = [
    (c"/dev/null", 1, 3),
    (c"/dev/zero", 1, 5),
    (c"/dev/full", 1, 7),
    (c"/dev/random", 1, 8),
    (c"/dev/urandom", 1, 9),
];
/// Links of every root.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// The daemon's description of a root, in raw bytes.
#[derive(Default)]
pub(crate) struct Plan<'a> {
    /// Host path, path inside.
    pub(crate) binds: Vec<(&'a [u8], &'a [u8])>,
    /// Path inside, what it says.
    pub(crate) links: Vec<(&'a [u8], &'a [u8])>,
    pub(crate) folders: Vec<&'a [u8]>,
    /// Path inside, content, whether executable.
    pub(crate) files: Vec<(&'a [u8], &'a [u8], bool)>,
}

impl Plan<'_> {
    /// As [`Root::decode`] reads it; `None` when a path contains a zero.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut writer = Writer::new(protocol::TEMPLATE);
        let mut whole = true;
        for pairs in [&self.binds, &self.links] {
            writer.number(pairs.len() as u64 * 2);
            for (first, second) in pairs {
                whole &= writer.text(&[first]);
                whole &= writer.text(&[second]);
            }
        }
        writer.number(self.folders.len() as u64);
        for folder in &self.folders {
            whole &= writer.text(&[folder]);
        }
        writer.number(self.files.len() as u64);
        for (inside, content, executable) in &self.files {
            whole &= writer.text(&[inside]);
            writer.bytes(content);
            writer.number((*executable).into());
        }
        whole.then(|| writer.finish())
    }
}

/// A root to build, as the worker reads it.
pub(crate) struct Root<'a> {
    binds: Vec<&'a CStr>,
    links: Vec<&'a CStr>,
    folders: Vec<&'a CStr>,
    files: Vec<(&'a CStr, &'a [u8], bool)>,
}

fn path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// Names the step of a failing call and at which of its things.
fn at<E: Into<io::Error>>(step: Step, index: usize) -> impl FnOnce(E) -> Report {
    move |error| Report::Failed {
        step,
        errno: error.into().raw_os_error().unwrap_or(libc::EINVAL),
        index: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

impl<'a> Root<'a> {
    pub(crate) fn decode(mut reader: Reader<'a>) -> Option<Root<'a>> {
        let (binds, links, folders) = (reader.texts()?, reader.texts()?, reader.texts()?);
        let files = (0..reader.number()?)
            .map(|_| Some((reader.text()?, reader.bytes()?, reader.number()? != 0)))
            .collect::<Option<Vec<_>>>()?;
        Some(Root { binds, links, folders, files })
    }

    /// Turns this process's mount namespace into the root; returns a descriptor of the namespace.
    pub(crate) fn build(&self) -> Result<OwnedFd, Report> {
        let own = |error: io::Error| at(Step::BuildRoot, 0)(error);
        let proc = open_place("/proc").map_err(own)?;
        let mut binds = Vec::new();
        for (index, pair) in self.binds.chunks_exact(2).enumerate() {
            let [host, inside] = pair else { continue };
            binds.push((detached(host, true).map_err(at(Step::BuildBind, index))?, *inside));
        }
        let devices: Vec<OwnedFd> =
            DEVICES.iter().map(|(name, ..)| host_device(name)).collect::<Result<_, _>>().map_err(own)?;
        enter_empty_root().map_err(own)?;
        populate(&devices).map_err(own)?;
        for (index, folder) in self.folders.iter().enumerate() {
            std::fs::create_dir_all(path(folder)).map_err(at(Step::BuildFolder, index))?;
        }
        for (index, (tree, inside)) in binds.iter().enumerate() {
            mount_point(tree, path(inside)).map_err(at(Step::BuildBind, index))?;
            put(tree.as_fd(), inside).map_err(at(Step::BuildBind, index))?;
        }
        for (index, (inside, content, executable)) in self.files.iter().enumerate() {
            write(path(inside), content, *executable).map_err(at(Step::BuildFile, index))?;
        }
        for (index, pair) in self.links.chunks_exact(2).enumerate() {
            let [inside, target] = pair else { continue };
            link(path(inside), path(target)).map_err(at(Step::BuildLink, index))?;
        }
        let root = open_place("/").map_err(own)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
        sys::mount_setattr(root.as_fd(), attributes.bits().into(), false).map_err(own)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&proc, "self/ns/mnt", flags, Mode::empty()).map_err(at(Step::BuildRoot, 0))
    }
}

/// Opens a folder as a place only.
fn open_place(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A mount namespace of its own whose only mount is an empty file system in memory.
fn enter_empty_root() -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("size", "16m"), ("nr_inodes", "4096"), ("mode", "0755")] {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let tree = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    // Any folder does as the place from which it becomes the root; this one exists wherever Neap can run.
    put(tree.as_fd(), c"/proc")?;
    rustix::process::fchdir(&tree)?;
    sys::pivot_root_here()?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// A host's device, attached nowhere.
fn host_device(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, path, flags)?)
}

/// What every root has. `devices` are the host's, for where none can be made.
fn populate(devices: &[OwnedFd]) -> io::Result<()> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for folder in FOLDERS {
        std::fs::create_dir_all(folder)?;
    }
    for (index, (name, major, minor)) in DEVICES.into_iter().enumerate() {
        let device = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(CWD, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device) {
            // The umask took the right to write from others.
            Ok(()) => rustix::fs::chmod(name, Mode::from_raw_mode(0o666))?,
            // In a user namespace.
            Err(rustix::io::Errno::PERM) => {
                let host = devices.get(index).ok_or(io::ErrorKind::NotFound)?;
                write(path(name), &[], false)?;
                put(host.as_fd(), name)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    write(path(EMPTY), &[], false)?;
    for (inside, target) in LINKS {
        link(Path::new(inside), Path::new(target))?;
    }
    Ok(())
}

/// Makes the folder or file on which a mount of the same kind is put, unless it is there.
fn mount_point(tree: &OwnedFd, inside: &Path) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
    if kind == FileType::Directory {
        return std::fs::create_dir_all(inside);
    }
    if inside.exists() { Ok(()) } else { write(inside, &[], false) }
}

fn write(inside: &Path, content: &[u8], executable: bool) -> io::Result<()> {
    parent(inside)?;
    let mode = if executable { 0o755 } else { 0o644 };
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(inside)?;
    io::Write::write_all(&mut file, content)
}

fn link(inside: &Path, target: &Path) -> io::Result<()> {
    parent(inside)?;
    std::os::unix::fs::symlink(target, inside)
}

fn parent(inside: &Path) -> io::Result<()> {
    inside.parent().map_or(Ok(()), std::fs::create_dir_all)
}
