//! The zip archive of a package: the same files give the same bytes, so that an unchanged function is recognised.

use super::{Error, source::SourceFile};
use base::ByteCount;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Seek, Write},
    path::Path,
};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// A finished archive.
pub(crate) struct Built {
    /// Its bytes.
    pub(crate) zip: Vec<u8>,
    /// How many files.
    pub(crate) entries: usize,
    /// Size of its files.
    pub(crate) unpacked: ByteCount,
}

/// Where an entry's content comes from.
enum Content<'a> {
    File(&'a SourceFile),
    /// Position in the archive of dependencies: copied as it is, without compressing again.
    Packed(usize),
}

/// Makes the archive of `files` and the entries of the archive `dependencies`; where both have a name, the file wins.
/// Entries are sorted by name, all times are 1980-01-01, modes are 0644 or 0755.
pub(crate) fn build(files: &[SourceFile], dependencies: Option<&Path>) -> Result<Built, Error> {
    let mut packed = match dependencies {
        Some(path) => Some(open(path)?),
        None => None,
    };
    let mut entries = BTreeMap::new();
    let mut unpacked = 0;
    if let Some(packed) = &mut packed {
        for index in 0..packed.len() {
            let file = packed.by_index_raw(index)?;
            unpacked += file.size();
            entries.insert(file.name()?.into_owned(), Content::Packed(index));
        }
    }
    for file in files {
        unpacked += file.bytes;
        entries.insert(file.name.clone(), Content::File(file));
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in &entries {
        match content {
            Content::File(file) => add(&mut writer, name, file)?,
            Content::Packed(index) => {
                if let Some(packed) = &mut packed {
                    writer.raw_copy_file(packed.by_index_raw(*index)?)?;
                }
            }
        }
    }
    let zip = writer.finish()?.into_inner();
    Ok(Built { zip, entries: entries.len(), unpacked: ByteCount(unpacked) })
}

fn open(path: &Path) -> Result<ZipArchive<File>, Error> {
    let file = File::open(path).map_err(|source| Error::File { file: path.to_owned(), source })?;
    Ok(ZipArchive::new(file)?)
}

fn add<W: Write + Seek>(writer: &mut ZipWriter<W>, name: &str, file: &SourceFile) -> Result<(), Error> {
    let failed = |source| Error::File { file: file.path.clone(), source };
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(if file.executable { 0o755 } else { 0o644 });
    writer.start_file(name, options)?;
    std::io::copy(&mut File::open(&file.path).map_err(failed)?, writer).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{Exclusions, source};
    use std::{io::Read, os::unix::fs::PermissionsExt};

    fn folder(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        folder
    }

    fn zip(folder: &tempfile::TempDir, dependencies: Option<&Path>) -> Built {
        build(&source::collect(folder.path(), &Exclusions::new(&[])).unwrap(), dependencies).unwrap()
    }

    fn listing(built: Built) -> Vec<(String, String, u32)> {
        let mut archive = ZipArchive::new(Cursor::new(built.zip)).unwrap();
        (0..archive.len())
            .map(|index| {
                let mut file = archive.by_index(index).unwrap();
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                (file.name().unwrap().into_owned(), text, file.unix_mode().unwrap() & 0o777)
            })
            .collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes_in_any_order_of_making() {
        let one = folder(&[("b.py", "b", 0o644), ("a/x.py", "x", 0o600)]);
        let other = folder(&[("a/x.py", "x", 0o664), ("b.py", "b", 0o640)]);
        assert_eq!(zip(&one, None).zip, zip(&other, None).zip);
    }

    #[test]
    fn entries_are_sorted_and_keep_only_the_executable_bit() {
        let built = zip(&folder(&[("z", "1", 0o600), ("bootstrap", "2", 0o700), ("a/b", "3", 0o664)]), None);
        assert_eq!(built.entries, 3);
        assert_eq!(built.unpacked, ByteCount(3));
        let expected = [("a/b", "3", 0o644), ("bootstrap", "2", 0o755), ("z", "1", 0o644)];
        assert_eq!(
            listing(built),
            expected.map(|(name, text, mode)| (name.to_owned(), text.to_owned(), mode))
        );
    }

    #[test]
    fn dependencies_are_copied_in_and_files_win() {
        let packed = tempfile::NamedTempFile::new().unwrap();
        let installed = folder(&[("lib/a.py", "a", 0o644), ("app.py", "theirs", 0o644)]);
        std::fs::write(packed.path(), zip(&installed, None).zip).unwrap();
        let built = zip(&folder(&[("app.py", "ours", 0o644)]), Some(packed.path()));
        let expected = [("app.py", "ours", 0o644), ("lib/a.py", "a", 0o644)];
        assert_eq!(
            listing(built),
            expected.map(|(name, text, mode)| (name.to_owned(), text.to_owned(), mode))
        );
    }
}
