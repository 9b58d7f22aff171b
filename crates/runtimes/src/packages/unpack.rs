//! Writes a zip archive of outside origin into a folder, so that nothing outside that folder is touched and nothing in
//! it can lead outside.

use base::{ByteCount, PackageError};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};
use zip::{ZipArchive, result::ZipError};

/// Bounds of one package.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files once unpacked. Default [`base::limits::PACKAGE_UNPACKED_MAX`].
    pub unpacked_max: ByteCount,
    /// Files, folders and links. Default [`base::limits::PACKAGE_ENTRIES_MAX`].
    pub entries_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            unpacked_max: base::limits::PACKAGE_UNPACKED_MAX,
            entries_max: base::limits::PACKAGE_ENTRIES_MAX,
        }
    }
}

/// Longest path of an entry, in bytes. Neap's own bound; Linux takes 4,096 with the folder in front.
const PATH_MAX: usize = 2_048;
/// Longest component of a path, in bytes: what file systems take.
const NAME_MAX: usize = 255;
/// Longest target of a symbolic link, in bytes.
const TARGET_MAX: u64 = 1_024;

/// Unpacks `archive` into `folder`, which must exist, be empty, and be reachable by nobody else. Returns the size of all
/// files. On error the folder holds some part of the package: remove it.
///
/// Refused: names that are absolute or contain `..`, a backslash or a control character; names that occur twice, or are
/// a file here and a folder there; symbolic links that lead outside or into which an entry is written; devices, pipes
/// and sockets; encrypted entries; more than `limits`. Real bytes are counted while they are written, so declared sizes
/// and compression ratios do not matter.
///
/// Modes are not copied: folders get 0755, files 0755 if anybody may execute them and 0644 otherwise. So set-uid and
/// set-gid bits are dropped rather than refused (archives made on ordinary systems contain them by accident, and they
/// would have no effect: the mount is nosuid), and files that the archive says only their owner may read stay readable
/// for the function. Everything belongs to the daemon's user. Times are those of unpacking.
pub fn unpack_into<R: Read + Seek>(
    archive: R,
    folder: &Path,
    limits: &Limits,
) -> Result<ByteCount, PackageError> {
    let mut archive = ZipArchive::new(archive).map_err(unreadable)?;
    if archive.is_empty() {
        return Err(PackageError::Empty);
    }
    if archive.len() > limits.entries_max {
        let name = format!("entry {}", archive.len());
        return Err(PackageError::BadEntry { name, reason: "the package has too many entries" });
    }
    if archive.has_duplicate_names() {
        return Err(PackageError::BadEntry { name: "?".into(), reason: "two entries have the same name" });
    }
    let mut tree = Tree { folder, known: HashMap::new(), entries_max: limits.entries_max };
    let mut links = Vec::new();
    let mut left = limits.unpacked_max.0;
    for index in 0..archive.len() {
        let kind = Kind::of(&archive, index)?;
        match kind {
            Kind::Folder(path) => tree.folder(&path)?,
            Kind::File { path, executable } => {
                let target = tree.entry(&path, Node::File)?;
                let mut entry = archive.by_index(index).map_err(unreadable)?;
                let written = write_file(&mut entry, &target, executable, left, limits)?;
                left -= written;
            }
            Kind::Link(path) => {
                tree.entry(&path, Node::Link)?;
                let entry = archive.by_index(index).map_err(unreadable)?;
                links.push((read_target(entry, &path)?, path));
            }
        }
    }
    if !tree.known.values().any(|node| matches!(node, Node::File)) {
        return Err(PackageError::Empty);
    }
    // Last, so that no file was written through one.
    for (target, path) in links {
        symlink(target, folder.join(path.as_path()))?;
    }
    Ok(ByteCount(limits.unpacked_max.0 - left))
}

/// What an entry is, with its checked path.
enum Kind {
    Folder(EntryPath),
    File { path: EntryPath, executable: bool },
    Link(EntryPath),
}

impl Kind {
    fn of<R: Read + Seek>(archive: &ZipArchive<R>, index: usize) -> Result<Kind, PackageError> {
        const TYPE: u32 = 0o170_000;
        let entry = archive.by_index_data(index).map_err(unreadable)?;
        let raw = entry.name_raw();
        let refuse = |reason| PackageError::BadEntry { name: shorten(raw), reason };
        if entry.encrypted() {
            return Err(refuse("it is encrypted"));
        }
        let path = EntryPath::parse(raw).map_err(refuse)?;
        let mode = entry.unix_mode().unwrap_or(0);
        // The type bits are believed only where the archive says that it was made on Unix.
        match mode & TYPE {
            0o040_000 => Ok(Kind::Folder(path)),
            0o120_000 => Ok(Kind::Link(path)),
            0 | 0o100_000 if raw.ends_with(b"/") => Ok(Kind::Folder(path)),
            0 | 0o100_000 if path.0.as_os_str().is_empty() => Err(refuse("its name is empty")),
            0 | 0o100_000 => Ok(Kind::File { path, executable: mode & 0o111 != 0 }),
            _ => Err(refuse("it is a device, pipe or socket")),
        }
    }
}

/// A relative path of ordinary components, by construction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct EntryPath(PathBuf);

impl EntryPath {
    /// Grammar: components separated by `/`, an optional final `/`; a component is 1–255 bytes of UTF-8 without control
    /// characters and backslash, and not `..`; components `.` are dropped.
    pub(crate) fn parse(raw: &[u8]) -> Result<EntryPath, &'static str> {
        let text = std::str::from_utf8(raw).map_err(|_| "its name is not UTF-8")?;
        if text.is_empty() {
            return Err("its name is empty");
        }
        if text.len() > PATH_MAX {
            return Err("its name is too long");
        }
        if text.starts_with('/') {
            return Err("its name is absolute");
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err("its name contains a backslash or a control character");
        }
        let mut path = PathBuf::new();
        for component in text.strip_suffix('/').unwrap_or(text).split('/') {
            match component {
                "" => return Err("its name has an empty component"),
                "." => {}
                ".." => return Err("its name contains '..'"),
                long if long.len() > NAME_MAX => return Err("its name has a component that is too long"),
                component => path.push(component),
            }
        }
        Ok(EntryPath(path))
    }

    fn as_path(&self) -> &Path {
        &self.0
    }
}

/// What already exists in the folder, so that no system call is needed to know it, and no link is followed.
struct Tree<'a> {
    folder: &'a Path,
    known: HashMap<PathBuf, Node>,
    entries_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File,
    Link,
}

impl Tree<'_> {
    /// Makes a folder and its parents; one that exists is fine.
    fn folder(&mut self, path: &EntryPath) -> Result<(), PackageError> {
        let mut prefix = PathBuf::new();
        for component in path.as_path().components() {
            prefix.push(component);
            match self.known.get(&prefix) {
                Some(Node::Folder) => {}
                Some(Node::File) => return Err(refuse(path, "a parent of it is a file")),
                Some(Node::Link) => return Err(refuse(path, "a parent of it is a symbolic link")),
                None => {
                    self.remember(path, prefix.clone(), Node::Folder)?;
                    fs::DirBuilder::new().mode(0o755).create(self.folder.join(&prefix))?;
                }
            }
        }
        Ok(())
    }

    /// Makes the parents of a file or link and notes it; returns where it belongs.
    fn entry(&mut self, path: &EntryPath, node: Node) -> Result<PathBuf, PackageError> {
        if path.as_path().as_os_str().is_empty() {
            return Err(refuse(path, "its name is empty"));
        }
        if let Some(parent) = path.as_path().parent() {
            self.folder(&EntryPath(parent.to_path_buf()))?;
        }
        if self.known.contains_key(path.as_path()) {
            return Err(refuse(path, "two entries have the same name"));
        }
        self.remember(path, path.0.clone(), node)?;
        Ok(self.folder.join(path.as_path()))
    }

    fn remember(&mut self, entry: &EntryPath, path: PathBuf, node: Node) -> Result<(), PackageError> {
        // Implied parents count too: one entry may name a thousand of them.
        if self.known.len() >= self.entries_max {
            return Err(refuse(entry, "the package has too many entries"));
        }
        self.known.insert(path, node);
        Ok(())
    }
}

fn write_file(
    entry: &mut impl Read,
    target: &Path,
    executable: bool,
    left: u64,
    limits: &Limits,
) -> Result<u64, PackageError> {
    let mode = if executable { 0o755 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(target)?;
    let written = copy_at_most(entry, &mut file, left.saturating_add(1))?;
    if written > left {
        return Err(PackageError::TooLarge { max: limits.unpacked_max });
    }
    Ok(written)
}

/// Copies until the end or `max` bytes, telling errors of the archive from errors of the disk.
fn copy_at_most(from: &mut impl Read, to: &mut File, max: u64) -> Result<u64, PackageError> {
    let mut buffer = [0; 64 * 1024];
    let mut from = from.take(max);
    let mut written = 0;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PackageError::NotZip(error.to_string())),
        };
        to.write_all(&buffer[..got])?;
        written += got as u64;
    }
}

/// Reads and checks a link's target: relative, and inside the folder whatever other links of the package there are.
///
/// `..` may stand in front only, where it climbs from the link's own parent, a real folder; after that every step goes
/// down, through folders or through other links for which the same holds. So no chain of links leads outside.
fn read_target(entry: impl Read, path: &EntryPath) -> Result<PathBuf, PackageError> {
    let mut raw = Vec::new();
    entry
        .take(TARGET_MAX + 1)
        .read_to_end(&mut raw)
        .map_err(|error| PackageError::NotZip(error.to_string()))?;
    if raw.len() as u64 > TARGET_MAX {
        return Err(refuse(path, "its target is too long"));
    }
    let target = String::from_utf8(raw).map_err(|_| refuse(path, "its target is not UTF-8"))?;
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return Err(refuse(path, "its target is not a relative path"));
    }
    let mut depth = path.as_path().components().count() - 1;
    let mut down = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if down || depth == 0 => return Err(refuse(path, "its target may lead out of the package")),
            ".." => depth -= 1,
            _ => down = true,
        }
    }
    Ok(PathBuf::from(target))
}

fn refuse(path: &EntryPath, reason: &'static str) -> PackageError {
    PackageError::BadEntry { name: shorten(path.as_path().as_os_str().as_encoded_bytes()), reason }
}

fn shorten(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(128).collect()
}

fn unreadable(error: ZipError) -> PackageError {
    PackageError::NotZip(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        io::Cursor,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    /// A minimal archive writer that, unlike libraries, writes any name and mode.
    #[derive(Default)]
    struct Archive {
        body: Vec<u8>,
        directory: Vec<u8>,
        entries: u16,
    }

    impl Archive {
        fn with(mut self, name: &str, mode: u32, content: &[u8]) -> Archive {
            self.add(name, mode, content, 0);
            self
        }

        fn add(&mut self, name: &str, mode: u32, content: &[u8], flags: u16) {
            let offset = self.body.len() as u32;
            let crc = crc32(content);
            let mut common = Vec::new();
            common.extend(20u16.to_le_bytes());
            common.extend((flags | 0x800).to_le_bytes());
            common.extend([0; 6]);
            common.extend(crc.to_le_bytes());
            common.extend((content.len() as u32).to_le_bytes());
            common.extend((content.len() as u32).to_le_bytes());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend(0u16.to_le_bytes());
            self.body.extend(0x0403_4b50u32.to_le_bytes());
            self.body.extend(&common);
            self.body.extend(name.as_bytes());
            self.body.extend(content);
            self.directory.extend(0x0201_4b50u32.to_le_bytes());
            self.directory.extend([20, 3]);
            self.directory.extend(&common);
            self.directory.extend([0; 6]);
            self.directory.extend((mode << 16).to_le_bytes());
            self.directory.extend(offset.to_le_bytes());
            self.directory.extend(name.as_bytes());
            self.entries += 1;
        }

        fn bytes(mut self) -> Vec<u8> {
            let start = self.body.len() as u32;
            let size = self.directory.len() as u32;
            self.body.extend(&self.directory);
            self.body.extend(0x0605_4b50u32.to_le_bytes());
            self.body.extend([0; 4]);
            self.body.extend(self.entries.to_le_bytes());
            self.body.extend(self.entries.to_le_bytes());
            self.body.extend(size.to_le_bytes());
            self.body.extend(start.to_le_bytes());
            self.body.extend([0; 2]);
            self.body
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    fn unpack(archive: Archive) -> (tempfile::TempDir, Result<ByteCount, PackageError>) {
        let folder = tempfile::tempdir().unwrap();
        let result = unpack_into(Cursor::new(archive.bytes()), folder.path(), &Limits::default());
        (folder, result)
    }

    fn reason(archive: Archive) -> String {
        match unpack(archive).1 {
            Err(PackageError::BadEntry { reason, .. }) => reason.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn files_folders_and_inward_links_are_written_with_plain_modes() {
        let (folder, size) = unpack(
            Archive::default()
                .with("bin/", 0o040_700, b"")
                .with("bin/tool", 0o104_755, b"#!")
                .with("data/secret.txt", 0o100_600, b"abc")
                .with("data/plain", 0, b"")
                .with("data/link", 0o120_777, b"../bin/tool"),
        );
        assert_eq!(size.unwrap(), ByteCount(5));
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("bin"), 0o755);
        assert_eq!(mode("bin/tool"), 0o755, "without set-uid");
        assert_eq!(mode("data/secret.txt"), 0o644);
        assert_eq!(mode("data/link"), 0o755);
        assert_eq!(fs::metadata(folder.path().join("data/plain")).unwrap().size(), 0);
    }

    #[test]
    fn names_that_leave_the_folder_or_confuse_are_refused() {
        for (name, expected) in [
            ("../x", "its name contains '..'"),
            ("a/../../x", "its name contains '..'"),
            ("a/..", "its name contains '..'"),
            ("/etc/passwd", "its name is absolute"),
            ("a\\b", "its name contains a backslash or a control character"),
            ("a\0b", "its name contains a backslash or a control character"),
            ("a//b", "its name has an empty component"),
            ("", "its name is empty"),
            (".", "its name is empty"),
        ] {
            assert_eq!(reason(Archive::default().with(name, 0o100_644, b"x")), expected, "{name:?}");
        }
        let long = "x".repeat(256);
        assert!(reason(Archive::default().with(&long, 0, b"")).contains("too long"));
        assert!(unpack(Archive::default().with("./app.py", 0, b"x")).1.is_ok());
    }

    #[test]
    fn links_that_lead_out_and_entries_through_links_are_refused() {
        for target in ["/etc", "..", "../..", "a/../..", "x/..", ".. /../..", "./../x"] {
            let result =
                unpack(Archive::default().with("f", 0, b"x").with("l", 0o120_777, target.as_bytes()));
            assert!(result.1.is_err(), "{target}: {:?}", result.1);
        }
        let through = Archive::default().with("d/f", 0, b"x").with("l", 0o120_777, b"d").with("l/g", 0, b"x");
        assert_eq!(reason(through), "a parent of it is a symbolic link");
        let replaced =
            Archive::default().with("l", 0o120_777, b"f").with("f", 0, b"x").with("l/", 0o040_755, b"");
        assert_eq!(reason(replaced), "a parent of it is a symbolic link");
    }

    #[test]
    fn devices_encrypted_entries_and_duplicates_are_refused() {
        for mode in [0o020_644, 0o060_644, 0o010_644, 0o140_644] {
            assert_eq!(
                reason(Archive::default().with("x", mode, b"")),
                "it is a device, pipe or socket",
                "{mode:o}"
            );
        }
        let mut encrypted = Archive::default();
        encrypted.add("x", 0o100_644, b"0123456789abc", 1);
        assert_eq!(reason(encrypted), "it is encrypted");
        let twice = Archive::default().with("x", 0, b"1").with("x", 0, b"2");
        assert_eq!(reason(twice), "two entries have the same name");
        let spelled = Archive::default().with("x", 0, b"1").with("./x", 0, b"2");
        assert_eq!(reason(spelled), "two entries have the same name");
        let both = Archive::default().with("x", 0, b"1").with("x/y", 0, b"2");
        assert_eq!(reason(both), "a parent of it is a file");
    }

    #[test]
    fn real_bytes_and_entries_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { unpacked_max: ByteCount(10), entries_max: 3 };
        let fits = Archive::default().with("a", 0, &[0; 4]).with("b", 0, &[0; 6]);
        assert_eq!(unpack_into(Cursor::new(fits.bytes()), folder.path(), &limits).unwrap(), ByteCount(10));
        let folder = tempfile::tempdir().unwrap();
        let over = Archive::default().with("a", 0, &[0; 4]).with("b", 0, &[0; 7]);
        let error = unpack_into(Cursor::new(over.bytes()), folder.path(), &limits);
        assert!(matches!(error, Err(PackageError::TooLarge { max: ByteCount(10) })), "{error:?}");
        let folder = tempfile::tempdir().unwrap();
        let deep = Archive::default().with("a/b/c/d", 0, b"");
        let error = unpack_into(Cursor::new(deep.bytes()), folder.path(), &limits);
        assert!(matches!(error, Err(PackageError::BadEntry { .. })), "{error:?}");
    }

    #[test]
    fn what_is_no_archive_or_has_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = unpack_into(Cursor::new(b"PK nonsense"), folder.path(), &Limits::default());
        assert!(matches!(error, Err(PackageError::NotZip(_))), "{error:?}");
        assert!(matches!(unpack(Archive::default()).1, Err(PackageError::Empty)));
        assert!(matches!(unpack(Archive::default().with("d/", 0o040_755, b"")).1, Err(PackageError::Empty)));
    }

    proptest! {
        /// Whatever the names, links and modes: nothing outside the folder changes, and no path inside it leads out.
        #[test]
        fn nothing_leaves_the_folder(
            entries in proptest::collection::vec(
                (
                    "([ab]|\\.\\.?|/|\\\\){1,6}",
                    prop_oneof![Just(0u32), Just(0o100_644), Just(0o104_755), Just(0o040_755), Just(0o120_777)],
                    "([ab]|\\.\\.|/){0,6}",
                ),
                1..6,
            ),
        ) {
            let outside = tempfile::tempdir().unwrap();
            let folder = outside.path().join("deep/folder");
            fs::create_dir_all(&folder).unwrap();
            let mut archive = Archive::default();
            for (name, mode, content) in &entries {
                archive.add(name, *mode, content.as_bytes(), 0);
            }
            let _ = unpack_into(Cursor::new(archive.bytes()), &folder, &Limits::default());
            prop_assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
            prop_assert_eq!(fs::read_dir(outside.path().join("deep")).unwrap().count(), 1);
            let root = folder.canonicalize().unwrap();
            let mut todo = vec![folder];
            while let Some(path) = todo.pop() {
                for entry in fs::read_dir(path).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_symlink() {
                        if let Ok(real) = path.canonicalize() {
                            prop_assert!(real.starts_with(&root), "{path:?} leads to {real:?}");
                        }
                    } else if path.is_dir() {
                        todo.push(path);
                    }
                }
            }
        }

        /// Bytes of any kind are an error or a package, never a panic.
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
            let mut good = Archive::default().with("a/b", 0o100_644, b"hello").with("l", 0o120_777, b"a").bytes();
            let at = cut.min(good.len());
            good.truncate(at);
            good.append(&mut bytes);
            let folder = tempfile::tempdir().unwrap();
            let _ = unpack_into(Cursor::new(good), folder.path(), &Limits::default());
        }
    }
}
