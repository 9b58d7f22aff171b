//! Deployment packages.

use crate::Error;
use std::io::{Cursor, Write};
use zip::{ZipWriter, write::SimpleFileOptions};

/// One file of a package.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its name inside.
    pub name: &'a str,
    /// Its content.
    pub content: &'a [u8],
    /// Whether it can be executed.
    pub executable: bool,
}

/// A zip file of `files`.
pub fn zip(files: &[File<'_>]) -> Result<Vec<u8>, Error> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let options = SimpleFileOptions::default().unix_permissions(mode);
        let written = writer.start_file(file.name, options).map_err(std::io::Error::from);
        written.and_then(|()| writer.write_all(file.content)).map_err(Error::io(file.name))?;
    }
    let finished = writer.finish().map_err(std::io::Error::from).map_err(Error::io("zip"))?;
    Ok(finished.into_inner())
}
