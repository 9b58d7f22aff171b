//! Deployment packages on this node's disk: one folder per hash, there completely or not at all.

mod unpack;

pub use unpack::{Limits, unpack_into};

use base::{ByteCount, CodeSha256, PackageError, Unpacked};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Cursor},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Names of folders that are not there (yet, or any more) begin with this, followed by the process that works on them.
pub(crate) const HALF_DONE: &str = ".half-";

/// Removes what processes that are gone have left half-done in `folder`.
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(HALF_DONE)) else { continue };
        let owner = rest.split('-').next().unwrap_or_default();
        let own = owner == std::process::id().to_string();
        if own || !Path::new("/proc").join(owner).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The folder of packages.
pub(crate) struct Store {
    folder: PathBuf,
    limits: Limits,
    next: AtomicU64,
}

impl Store {
    /// Opens the folder, making it if it is missing, and removes what is half-done.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Store> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        sweep(&folder)?;
        Ok(Store { folder, limits: Limits::default(), next: AtomicU64::new(0) })
    }

    /// Where the package is, if it is here.
    pub(crate) fn path(&self, code: &CodeSha256) -> Option<PathBuf> {
        let path = self.folder.join(code.to_string());
        path.is_dir().then_some(path)
    }

    /// See [`base::Packages::unpack`]. Blocks.
    pub(crate) fn unpack(&self, zip: &Bytes) -> Result<Unpacked, PackageError> {
        let code = CodeSha256(Sha256::digest(zip).into());
        let zipped = ByteCount(zip.len() as u64);
        if let Some(path) = self.path(&code) {
            return Ok(Unpacked { code, zipped, unpacked: size(&path)? });
        }
        let mut unpacked = ByteCount(0);
        self.make(&code, |half| {
            unpacked = unpack_into(Cursor::new(&zip[..]), half, &self.limits)?;
            Ok(())
        })?;
        Ok(Unpacked { code, zipped, unpacked })
    }

    /// Lets `fill` write a new folder and makes it that of `code`; nothing is left of it on an error. Blocks.
    pub(crate) fn make(
        &self,
        code: &CodeSha256,
        fill: impl FnOnce(&Path) -> Result<(), PackageError>,
    ) -> Result<PathBuf, PackageError> {
        let half = self.half();
        fs::DirBuilder::new().mode(0o755).create(&half)?;
        // The umask may have narrowed it.
        fs::set_permissions(&half, fs::Permissions::from_mode(0o755))?;
        let done = fill(&half).and_then(|()| Ok(self.publish(&half, code)?));
        if done.is_err() {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_dir_all(&half);
        }
        done.map(|()| self.folder.join(code.to_string()))
    }

    /// Everything that is here.
    pub(crate) fn all(&self) -> io::Result<Vec<CodeSha256>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<CodeSha256>().ok()));
        }
        Ok(found)
    }

    /// See [`base::Packages::size`]. Blocks.
    pub(crate) fn size(&self, code: &CodeSha256) -> Result<ByteCount, PackageError> {
        Ok(size(&self.folder.join(code.to_string()))?)
    }

    /// Makes a complete folder visible under its name, durably.
    fn publish(&self, half: &Path, code: &CodeSha256) -> io::Result<()> {
        // One flush of the file system instead of one per file: packages have thousands.
        rustix::fs::syncfs(File::open(half)?)?;
        let target = self.folder.join(code.to_string());
        match fs::rename(half, &target) {
            Ok(()) => {}
            // Somebody else unpacked the same at the same time.
            Err(_) if target.is_dir() => fs::remove_dir_all(half)?,
            Err(error) => return Err(error),
        }
        File::open(&self.folder)?.sync_all()
    }

    /// See [`base::Packages::remove`]. Blocks.
    pub(crate) fn remove(&self, code: &CodeSha256) -> io::Result<()> {
        let half = self.half();
        // Marks beside the folder first: they speak of what is in it.
        let name = code.to_string();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_prefix(&name))
                .is_some_and(|rest| rest.starts_with('.'))
            {
                fs::remove_file(entry.path())?;
            }
        }
        match fs::rename(self.folder.join(code.to_string()), &half) {
            Ok(()) => fs::remove_dir_all(half),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn half(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{HALF_DONE}{}-{number}", std::process::id()))
    }
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> io::Result<ByteCount> {
    let mut bytes = 0;
    let mut todo = vec![folder.to_path_buf()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_dir() {
                todo.push(entry.path());
            } else if data.is_file() {
                bytes += data.size();
            }
        }
    }
    Ok(ByteCount(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(files: &[(&str, &str)]) -> Bytes {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner().into()
    }

    #[test]
    fn unpacking_twice_is_the_same_and_removing_twice_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("code")).unwrap();
        let zip = archive(&[("app.py", "x = 1"), ("lib/a.py", "")]);
        let first = store.unpack(&zip).unwrap();
        assert_eq!(store.unpack(&zip).unwrap(), first);
        assert_eq!(first.unpacked, ByteCount(5));
        assert_eq!(first.zipped, ByteCount(zip.len() as u64));
        assert!(store.path(&first.code).unwrap().join("lib/a.py").exists());
        store.remove(&first.code).unwrap();
        store.remove(&first.code).unwrap();
        assert!(store.path(&first.code).is_none());
    }

    #[test]
    fn a_refused_package_leaves_nothing_and_half_done_ones_go_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_path_buf()).unwrap();
        assert!(store.unpack(&archive(&[("../x", "")])).is_err());
        assert!(store.unpack(&Bytes::from_static(b"no")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::create_dir_all(folder.path().join(".half-4194305-1/deep")).unwrap();
        Store::open(folder.path().to_path_buf()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_may_unpack_the_same_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_path_buf()).unwrap();
        let zip = archive(&[("app.py", "x")]);
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| store.unpack(&zip).unwrap().code)).collect();
            for one in all {
                assert!(store.path(&one.join().unwrap()).is_some());
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
