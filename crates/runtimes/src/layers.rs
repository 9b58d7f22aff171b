//! What functions see at `/opt`: one layer as it was unpacked, or several made into one folder, once for every set.
//!
//! A set's folder consists of links to the files of its layers, so it takes little space and time. It is there completely
//! or not at all, as packages are, and belongs to the set's hash: functions with the same layers share it.

use crate::packages::Store;
use base::{CodeSha256, LaunchError, Millis, PackageError};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Layers on this node.
pub(crate) struct Layers {
    packages: Arc<Store>,
    sets: Arc<Store>,
    /// Sets that were made or used since the start, and when last.
    used: Mutex<HashMap<CodeSha256, Instant>>,
    /// Held while a set is made or removed.
    changing: tokio::sync::Mutex<()>,
}

/// Layers as they are shown inside.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) folder: PathBuf,
    /// What stands for the content: that of the layer, or of the set.
    pub(crate) code: CodeSha256,
}

impl Layers {
    /// Opens the folder of sets, making it if it is missing, and removes what is half-done.
    pub(crate) fn open(folder: PathBuf, packages: Arc<Store>) -> io::Result<Layers> {
        let sets = Arc::new(Store::open(folder)?);
        Ok(Layers { packages, sets, used: Mutex::default(), changing: tokio::sync::Mutex::default() })
    }

    /// The folder that shows `layers`, made if need be; `None` where there are none. Cancel-safe.
    pub(crate) async fn ensure(&self, layers: &[CodeSha256]) -> Result<Option<Shown>, LaunchError> {
        let missing = |code: &CodeSha256| LaunchError::CodeMissing(*code);
        let (first, set) = match layers {
            [] => return Ok(None),
            [one] => {
                let folder = self.packages.path(one).ok_or_else(|| missing(one))?;
                return Ok(Some(Shown { folder, code: *one }));
            }
            [first, ..] => (first, set_of(layers)),
        };
        self.note(set);
        if let Some(folder) = self.sets.path(&set) {
            return Ok(Some(Shown { folder, code: set }));
        }
        let _changing = self.changing.lock().await;
        if let Some(folder) = self.sets.path(&set) {
            return Ok(Some(Shown { folder, code: set }));
        }
        let folders = layers
            .iter()
            .map(|code| self.packages.path(code).ok_or_else(|| missing(code)))
            .collect::<Result<Vec<_>, _>>()?;
        let sets = self.sets.clone();
        let made = tokio::task::spawn_blocking(move || sets.make(&set, |half| merge(&folders, half))).await;
        match made {
            Ok(Ok(folder)) => Ok(Some(Shown { folder, code: set })),
            Ok(Err(error)) => Err(LaunchError::Sandbox(Box::new(error))),
            Err(error) => {
                tracing::error!(%error, layer = %first, "layers could not be put together");
                Err(LaunchError::Sandbox(Box::new(error)))
            }
        }
    }

    fn note(&self, set: CodeSha256) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(set, Instant::now());
    }

    /// See [`base::Packages::retain_layers`].
    pub(crate) async fn retain(&self, used: Vec<Vec<CodeSha256>>, grace: Millis) {
        let used: Vec<CodeSha256> = used.iter().map(|layers| set_of(layers)).collect();
        let _changing = self.changing.lock().await;
        let present = match self.sets.all() {
            Ok(present) => present,
            Err(error) => {
                tracing::warn!(%error, "the folder of layers cannot be read");
                return;
            }
        };
        let idle: Vec<CodeSha256> = {
            let mut times = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            times.retain(|set, _| present.contains(set));
            let unused = present.into_iter().filter(|set| !used.contains(set));
            // One that was there before the start, when nothing ran: it has no time.
            let late = |set: &CodeSha256| times.get(set).is_none_or(|at| at.elapsed() >= grace.duration());
            unused.filter(late).collect()
        };
        let sets = self.sets.clone();
        let removed = tokio::task::spawn_blocking(move || idle.iter().try_for_each(|set| sets.remove(set)));
        match removed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "layers that nobody uses could not be removed"),
            Err(error) => tracing::error!(%error, "layers that nobody uses could not be removed"),
        }
    }
}

/// Stands for layers in their order.
fn set_of(layers: &[CodeSha256]) -> CodeSha256 {
    let mut hash = Sha256::new();
    layers.iter().for_each(|code| hash.update(code.0));
    CodeSha256(hash.finalize().into())
}

/// Puts `folders` together in `into`, which is empty. A file, link or folder takes the place of one of another kind, and a
/// file or link that of its like, from any folder before; folders grow together. Nothing is written through a link: links
/// lead inside wherever they are, see `unpack.rs`.
fn merge(folders: &[PathBuf], into: &Path) -> Result<(), PackageError> {
    for folder in folders {
        add(folder, into)?;
    }
    Ok(())
}

fn add(from: &Path, into: &Path) -> io::Result<()> {
    let mut below = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, path, target) = (entry.file_type()?, entry.path(), into.join(entry.file_name()));
        if kind.is_dir() {
            below.push((path, target));
            continue;
        }
        make_way(&target)?;
        forget_bytecode(&target)?;
        if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            // Another file system, or too many links.
            fs::copy(&path, &target)?;
        }
    }
    // Folders last: bytecode that a layer brings comes after its source.
    for (path, target) in below {
        if !target.symlink_metadata().is_ok_and(|there| there.is_dir()) {
            make_way(&target)?;
            fs::DirBuilder::new().mode(0o755).create(&target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
        }
        add(&path, &target)?;
    }
    Ok(())
}

/// Removes what is at `target`, if anything.
fn make_way(target: &Path) -> io::Result<()> {
    match target.symlink_metadata() {
        Ok(there) if there.is_dir() => fs::remove_dir_all(target),
        Ok(_) => fs::remove_file(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes bytecode of a source that a later layer replaces: it would be run instead of the new source.
fn forget_bytecode(source: &Path) -> io::Result<()> {
    let is_source = source.extension().is_some_and(|extension| extension == "py");
    let (Some(stem), Some(parent), true) = (source.file_stem(), source.parent(), is_source) else {
        return Ok(());
    };
    let cache = parent.join("__pycache__");
    if !cache.symlink_metadata().is_ok_and(|there| there.is_dir()) {
        return Ok(());
    }
    let mut prefix = stem.to_os_string();
    prefix.push(".");
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            make_way(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, content).unwrap(),
            }
        }
    }

    fn read(folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut todo = vec![folder.to_path_buf()];
        while let Some(path) = todo.pop() {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                if path.is_symlink() {
                    found.insert(name, format!("-> {}", fs::read_link(path).unwrap().display()));
                } else if path.is_dir() {
                    todo.push(path);
                } else {
                    found.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        found
    }

    fn merged(layers: &[&[(&str, &str)]]) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut folders = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            folders.push(folder.path().join(number.to_string()));
            write(folders.last().unwrap(), layer);
        }
        let into = folder.path().join("all");
        fs::create_dir(&into).unwrap();
        merge(&folders, &into).unwrap();
        for (folder, layer) in folders.iter().zip(layers) {
            let kept: BTreeMap<String, String> =
                layer.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
            assert_eq!(read(folder), kept, "a layer has changed");
        }
        read(&into)
    }

    #[test]
    fn later_layers_win_whatever_the_kinds() {
        let found = merged(&[
            &[("a", "1"), ("d/x", "1"), ("file", "1"), ("folder/x", "1"), ("l", "-> d"), ("m/x", "1")],
            &[("a", "2"), ("d/y", "2"), ("file/x", "2"), ("folder", "2"), ("l/x", "2"), ("m", "-> d")],
        ]);
        let expected = [
            ("a", "2"),
            ("d/x", "1"),
            ("d/y", "2"),
            ("file/x", "2"),
            ("folder", "2"),
            ("l/x", "2"),
            ("m", "-> d"),
        ];
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
        assert_eq!(found, expected, "and nothing went through the link into d");
    }

    #[test]
    fn bytecode_goes_with_its_source() {
        let found = merged(&[
            &[
                ("p/a.py", "1"),
                ("p/__pycache__/a.cpython-311.pyc", "1"),
                ("p/__pycache__/b.cpython-311.pyc", "1"),
            ],
            &[("p/a.py", "2")],
        ]);
        assert!(!found.contains_key("p/__pycache__/a.cpython-311.pyc"));
        assert!(found.contains_key("p/__pycache__/b.cpython-311.pyc"));
        let own = merged(&[&[("a.py", "1")], &[("a.py", "2"), ("__pycache__/a.cpython-311.pyc", "2")]]);
        assert_eq!(own["__pycache__/a.cpython-311.pyc"], "2");
    }

    #[tokio::test]
    async fn a_set_is_made_once_and_removed_when_nobody_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let packages = Arc::new(Store::open(folder.path().join("code")).unwrap());
        let layers = Layers::open(folder.path().join("sets"), packages.clone()).unwrap();
        let codes = [CodeSha256([1; 32]), CodeSha256([2; 32])];
        for (number, code) in codes.iter().enumerate() {
            assert!(
                matches!(layers.ensure(&codes).await, Err(LaunchError::CodeMissing(missing)) if missing == *code)
            );
            write(
                &folder.path().join("code").join(code.to_string()),
                &[("same", "x"), (&number.to_string(), "")],
            );
        }
        assert!(layers.ensure(&[]).await.unwrap().is_none());
        let (a, b) = tokio::join!(layers.ensure(&codes), layers.ensure(&codes));
        let (a, b) = (a.unwrap().unwrap(), b.unwrap().unwrap());
        assert_eq!(a.folder, b.folder);
        assert_eq!(read(&a.folder).len(), 3);
        let other = layers.ensure(&[codes[1], codes[0]]).await.unwrap().unwrap();
        assert_ne!(other.folder, a.folder, "the order is part of a set");
        let hour = Millis(3_600_000);
        layers.retain(vec![], hour).await;
        assert!(a.folder.exists(), "it was used a moment ago");
        layers.retain(vec![codes.to_vec()], Millis(0)).await;
        assert!(a.folder.exists() && !other.folder.exists());
        let next = Layers::open(folder.path().join("sets"), packages).unwrap();
        next.retain(vec![], hour).await;
        assert!(!a.folder.exists(), "after a restart nothing runs that could use it");
    }

    proptest! {
        /// Whatever layers there are, each path is as the last layer that says anything about it has it.
        #[test]
        fn every_path_is_of_the_last_layer_that_has_it(
            layers in proptest::collection::vec(proptest::collection::btree_map("[ab](/[ab]){0,2}", "[xy]", 1..5), 2..4),
        ) {
            // A layer by itself is a tree: nothing lies beneath a file.
            let trees: Vec<Vec<(&str, &str)>> = layers
                .iter()
                .map(|layer| {
                    let beneath = |name: &str| layer.keys().any(|other| name.starts_with(&format!("{other}/")));
                    layer.iter().filter(|(name, _)| !beneath(name)).map(|(name, text)| (name.as_str(), text.as_str())).collect()
                })
                .collect();
            let mut expected: BTreeMap<String, String> = BTreeMap::new();
            for tree in &trees {
                for (name, text) in tree {
                    expected.retain(|other, _| {
                        !other.starts_with(&format!("{name}/")) && !name.starts_with(&format!("{other}/"))
                    });
                    expected.insert((*name).to_owned(), (*text).to_owned());
                }
            }
            let slices: Vec<&[(&str, &str)]> = trees.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(merged(&slices), expected);
        }
    }
}
