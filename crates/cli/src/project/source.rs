//! The files that go into a package.

use super::{Error, Exclusions};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Path inside the package, slashes between components.
    pub(crate) name: String,
    /// Where it is read.
    pub(crate) path: PathBuf,
    /// Whether the owner may execute it.
    pub(crate) executable: bool,
    /// Its size when it was found.
    pub(crate) bytes: u64,
}

/// All files below `folder` that are not excluded. Links are followed; a link back to a folder above itself is an
/// error, as are names that are not UTF-8 and things that are neither files nor folders.
pub(crate) fn collect(folder: &Path, exclusions: &Exclusions) -> Result<Vec<SourceFile>, Error> {
    let mut files = Vec::new();
    walk(folder, "", exclusions, &mut Vec::new(), &mut files)?;
    Ok(files)
}

fn walk(
    folder: &Path,
    prefix: &str,
    exclusions: &Exclusions,
    above: &mut Vec<PathBuf>,
    files: &mut Vec<SourceFile>,
) -> Result<(), Error> {
    let unreadable = |source| Error::Folder { folder: folder.to_owned(), source };
    let real = folder.canonicalize().map_err(unreadable)?;
    if above.contains(&real) {
        return Err(Error::Entry { file: folder.to_owned(), reason: "it links to a folder above itself" });
    }
    above.push(real);
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::Entry { file: path, reason: "its name is not UTF-8" });
        };
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if exclusions.skips(&name) {
            continue;
        }
        let about = std::fs::metadata(&path).map_err(|source| Error::File { file: path.clone(), source })?;
        if about.is_dir() {
            walk(&path, &name, exclusions, above, files)?;
        } else if about.is_file() {
            let executable = about.permissions().mode() & 0o100 != 0;
            files.push(SourceFile { name, path, executable, bytes: about.len() });
        } else {
            return Err(Error::Entry { file: path, reason: "it is neither a file nor a folder" });
        }
    }
    above.pop();
    Ok(())
}

/// A program built elsewhere, under the name that `provided` runtimes start.
pub(crate) fn program(path: PathBuf) -> Result<SourceFile, Error> {
    let bytes = std::fs::metadata(&path).map_err(|source| Error::File { file: path.clone(), source })?.len();
    Ok(SourceFile { name: "bootstrap".to_owned(), path, executable: true, bytes })
}

/// Makes the entry point executable, whatever its mode on disk.
pub(crate) fn bootstrap(file: SourceFile) -> SourceFile {
    let executable = file.executable || file.name == "bootstrap";
    SourceFile { executable, ..file }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            collect(folder, &Exclusions::new(&[])).unwrap().into_iter().map(|file| file.name).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_found_at_any_depth_and_links_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::write(root.join("a/b/x.py"), "").unwrap();
        std::fs::write(root.join(".git/HEAD"), "").unwrap();
        symlink("a/b/x.py", root.join("y.py")).unwrap();
        symlink("a", root.join("c")).unwrap();
        assert_eq!(names(root), ["a/b/x.py", "c/b/x.py", "y.py"]);
    }

    #[test]
    fn a_link_to_a_folder_above_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        symlink("..", folder.path().join("a/up")).unwrap();
        let refused = collect(folder.path(), &Exclusions::new(&[]));
        assert!(matches!(refused, Err(Error::Entry { .. })));
    }

    #[test]
    fn a_bootstrap_is_executable_whatever_its_mode() {
        let file = SourceFile { name: "bootstrap".into(), path: PathBuf::new(), executable: false, bytes: 0 };
        assert!(bootstrap(file.clone()).executable);
        assert!(!bootstrap(SourceFile { name: "x".into(), ..file }).executable);
    }
}
