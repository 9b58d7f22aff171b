//! One scratch space: an empty ext4 image, copied, attached to a loop device, mounted.

use crate::sys;
use base::ByteCount;
use rustix::{
    fs::{AtFlags, Dir, Gid, Mode, OFlags, SeekFrom, Uid},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};
use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

/// One inode for as many bytes. Source: mke2fs' default.
const BYTES_PER_INODE: u64 = 16_384;
/// Folders in which the program is looked for besides `PATH`, which services often have without them.
const SBIN: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// Attempts to get a free loop device before somebody else does.
const LOOP_TRIES: usize = 64;
/// An image that grew by more held files, be they gone.
const GROWTH_MAX: u64 = 1 << 20;
const NAME_PREFIX: &str = "image-";

/// The content of an empty file system of one size.
#[derive(Debug)]
pub(super) struct Image {
    size: ByteCount,
    image_bytes: u64,
    /// Offset and content of what is not zero.
    pieces: Vec<(u64, Vec<u8>)>,
}

/// A mounted image. Dropping it unmounts, which takes milliseconds and longer when it has content.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) size: ByteCount,
    tree: OwnedFd,
    device: PathBuf,
    file: File,
    /// Blocks of 512 bytes of the image when it was new.
    blocks: u64,
    /// The root folder as it was given to its user.
    given: Option<Root>,
}

/// What a user of the scratch space can change about the root folder.
#[derive(Debug, PartialEq, Eq)]
struct Root {
    changed: (i64, i64),
    mode: u32,
    links: u64,
    flags: u32,
}

/// Makes the folder and empties it of images.
pub(super) fn prepare_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(NAME_PREFIX) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What this host lacks for scratch space on disk, if anything.
pub(crate) fn host_lack() -> Option<&'static str> {
    let file_systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if mkfs().is_none() {
        Some("the program mkfs.ext4 is not there")
    } else if rustix::fs::access("/dev/loop-control", rustix::fs::Access::WRITE_OK).is_err() {
        Some("there are no loop devices (/dev/loop-control)")
    } else if !file_systems.lines().any(|line| line.split_whitespace().last() == Some("ext4")) {
        Some("the kernel has no ext4, or its module is not loaded")
    } else {
        None
    }
}

fn mkfs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = SBIN
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path).filter(|p| p.is_absolute()))
        .collect();
    folders.into_iter().map(|folder| folder.join("mkfs.ext4")).find(|program| program.is_file())
}

/// Size of the image whose user has `size` in full: with inodes (256 bytes each), bitmaps, and the clusters that ext4 keeps
/// for itself (2 %, at most 4,096 of them).
fn image_bytes(size: ByteCount) -> u64 {
    let own = size.0 / 60 + (size.0 / 48).min(4096 * 4096) + (1 << 20);
    (size.0 + own).next_multiple_of(4096)
}

/// A new file, and its name, which the caller removes.
fn create(folder: &Path) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{NAME_PREFIX}{}-{number}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((file, path))
}

impl Image {
    /// Runs mkfs.ext4 and reads what it wrote. Some milliseconds.
    pub(super) fn make(folder: &Path, size: ByteCount) -> io::Result<Image> {
        let program = mkfs().ok_or_else(|| io::Error::other("mkfs.ext4 is not there"))?;
        let image_bytes = image_bytes(size);
        let (file, path) = create(folder)?;
        let made = file.set_len(image_bytes).and_then(|()| {
            // No journal: nothing of it outlives a crash. Tables are zero already in a new sparse file.
            Command::new(program)
                .args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0"])
                .args(["-i", &BYTES_PER_INODE.to_string()])
                .args(["-O", "^has_journal,^resize_inode"])
                .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .output()
        });
        std::fs::remove_file(&path)?;
        let output = made?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(io::Error::other(format!("mkfs.ext4 ended with {}: {said}", output.status)));
        }
        // Mounted once, to leave an empty root.
        let (tree, _device) = attach(&file)?;
        match rustix::fs::unlinkat(&tree, "lost+found", AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::fchmod(open_root(&tree)?, Mode::from_raw_mode(0o700))?;
        drop(tree);
        Ok(Image { size, image_bytes, pieces: pieces(&file)? })
    }

    /// A copy of it, mounted.
    pub(super) fn mount(&self, folder: &Path) -> io::Result<Mounted> {
        let (file, path) = create(folder)?;
        std::fs::remove_file(path)?;
        file.set_len(self.image_bytes)?;
        for (offset, piece) in &self.pieces {
            file.write_all_at(piece, *offset)?;
        }
        let (tree, device) = attach(&file)?;
        let blocks = file.metadata()?.blocks();
        Ok(Mounted { size: self.size, tree, device, file, blocks, given: None })
    }
}

/// What of a sparse file is not zero.
fn pieces(file: &File) -> io::Result<Vec<(u64, Vec<u8>)>> {
    const STEP: u64 = 4096;
    let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(pieces),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        at = start;
        while at < end {
            let mut piece = vec![0; usize::try_from(STEP.min(end - at)).unwrap_or(0)];
            file.read_exact_at(&mut piece, at)?;
            let length = piece.len() as u64;
            if piece.iter().any(|byte| *byte != 0) {
                match pieces.last_mut() {
                    Some((offset, last)) if *offset + last.len() as u64 == at => last.append(&mut piece),
                    _ => pieces.push((at, piece)),
                }
            }
            at += length;
        }
    }
}

/// Mounts a file: the detached mount and its loop device, which lasts as long as the mount.
fn attach(file: &File) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", flags, Mode::empty())?;
    let mut tries = 0;
    let (device, held) = loop {
        let path = PathBuf::from(format!("/dev/loop{}", sys::free_loop(control.as_fd())?));
        let device = rustix::fs::open(&path, flags, Mode::empty())?;
        match sys::configure_loop(device.as_fd(), file.as_fd()) {
            Ok(()) => break (path, device),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < LOOP_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    };
    let tree = detached(&device)?;
    // From here on the mount keeps the loop device.
    drop(held);
    Ok((tree, device))
}

/// A detached mount of a block device; of one that is mounted already, another mount of the same file system.
fn detached(device: &Path) -> io::Result<OwnedFd> {
    let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", device)?;
    // Nothing is to survive a crash: neither flushes nor tables zeroed in the background.
    fsconfig_set_flag(context.as_fd(), "noinit_itable")?;
    fsconfig_set_string(context.as_fd(), "barrier", "0")?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn open_root(tree: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(tree, ".", flags, Mode::empty())?)
}

impl Root {
    fn of(root: &OwnedFd) -> io::Result<Root> {
        let stat = rustix::fs::fstat(root)?;
        Ok(Root {
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            mode: stat.st_mode,
            links: stat.st_nlink as u64,
            flags: rustix::fs::ioctl_getflags(root)?.bits(),
        })
    }
}

impl Mounted {
    pub(super) fn tree(&self) -> &OwnedFd {
        &self.tree
    }

    /// Makes the root folder this user's.
    pub(super) fn give(&mut self, uid: u32) -> io::Result<()> {
        let root = open_root(&self.tree)?;
        rustix::fs::fchown(&root, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
        self.given = Some(Root::of(&root)?);
        Ok(())
    }

    /// Whether no file was ever made in it, and its root folder is as it was given. The time of the last change, which
    /// nobody inside can set, would say it alone if it were finer than the ticks of older kernels' clocks.
    pub(super) fn is_untouched(&self) -> bool {
        let untouched = (|| -> io::Result<bool> {
            let root = open_root(&self.tree)?;
            let empty = Dir::read_from(&root)?
                .collect::<Result<Vec<_>, _>>()?
                .iter()
                .all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."));
            let mut names = [0_u8; 0];
            let plain = rustix::fs::flistxattr(&root, &mut names)? == 0;
            let grown = (self.file.metadata()?.blocks().saturating_sub(self.blocks)) * 512;
            Ok(empty && plain && grown <= GROWTH_MAX && self.given == Some(Root::of(&root)?))
        })();
        untouched.unwrap_or(false)
    }

    /// A new detached mount: the one before was attached, and cannot be attached again.
    pub(super) fn detach_again(&mut self) -> io::Result<()> {
        self.tree = detached(&self.device)?;
        self.given = None;
        Ok(())
    }
}
