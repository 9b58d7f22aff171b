//! What Lambda's managed runtimes contain besides the interpreter (boto3, the `@aws-sdk` clients): installed once per host
//! from the languages' package registries, by their own tools.
//!
//! An installation happens in a half-done folder that is renamed at the end, under a lock against other processes: the
//! final name exists only when everything is there.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Something to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Library {
    /// Folder name: changes whenever the content would.
    pub(crate) name: String,
    /// For messages.
    pub(crate) what: String,
    /// Run in an empty folder.
    pub(crate) command: Vec<OsString>,
    /// Written there before.
    pub(crate) files: Vec<(&'static str, String)>,
    /// The part of the folder that functions see.
    pub(crate) result: PathBuf,
    /// Run there afterwards; failures only cost time later.
    pub(crate) after: Vec<Vec<OsString>>,
}

/// The folder of installed libraries.
pub(crate) struct Libraries {
    folder: PathBuf,
    failures: Mutex<HashMap<String, String>>,
    /// How many installations are under way.
    running: watch::Sender<usize>,
}

impl Libraries {
    /// Opens the folder, making it if it is missing.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Libraries> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Libraries { folder, failures: Mutex::new(HashMap::new()), running: watch::Sender::new(0) })
    }

    /// Where `library` is, if it is installed.
    pub(crate) fn path(&self, library: &Library) -> Option<PathBuf> {
        let path = self.folder.join(&library.name).join(&library.result);
        path.is_dir().then_some(path)
    }

    /// Why the last attempt to install it failed.
    pub(crate) fn failure(&self, library: &Library) -> Option<String> {
        self.failures().get(&library.name).cloned()
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when `library` is installed or no installation is under way.
    pub(crate) async fn settled(&self, library: &Library) {
        // The sender lives in `self`.
        let _ =
            self.running.subscribe().wait_for(|running| *running == 0 || self.path(library).is_some()).await;
    }

    /// From now until the guard is dropped, [`Libraries::settled`] waits for what is missing.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.running.send_modify(|running| *running += 1);
        Running(self)
    }

    /// Installs `library` unless it is installed; remembers the failure. Blocks for up to minutes.
    pub(crate) fn install(&self, library: &Library) {
        if self.path(library).is_some() {
            return;
        }
        let outcome = self.install_locked(library);
        // Those who wait for this one look again.
        self.running.send_modify(|_| {});
        let mut failures = self.failures();
        match outcome {
            Ok(()) => {
                failures.remove(&library.name);
                tracing::info!(library = library.what, "installed");
            }
            Err(reason) => {
                tracing::warn!(
                    library = library.what,
                    reason,
                    "could not be installed; functions run without it"
                );
                failures.insert(library.name.clone(), reason);
            }
        }
    }

    fn install_locked(&self, library: &Library) -> Result<(), String> {
        let broken = |error: io::Error| error.to_string();
        let lock = File::create(self.folder.join(".lock")).map_err(broken)?;
        lock.lock().map_err(broken)?;
        // Somebody else may have done it while this waited.
        if self.path(library).is_some() {
            return Ok(());
        }
        self.sweep().map_err(broken)?;
        let half = self.folder.join(format!(".half-{}", library.name));
        fs::DirBuilder::new().mode(0o755).create(&half).map_err(broken)?;
        let outcome = fill(&half, library);
        if outcome.is_err() {
            // The next attempt sweeps what this leaves.
            let _ = fs::remove_dir_all(&half);
        }
        outcome?;
        make_readable(&half).map_err(broken)?;
        rustix::fs::syncfs(File::open(&half).map_err(broken)?).map_err(|error| error.to_string())?;
        fs::rename(&half, self.folder.join(&library.name)).map_err(broken)
    }

    /// Removes what an interrupted installation left; called with the lock held.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".half-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// An installation under way.
pub(crate) struct Running<'a>(&'a Libraries);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

fn fill(folder: &Path, library: &Library) -> Result<(), String> {
    for (name, content) in &library.files {
        fs::write(folder.join(name), content).map_err(|error| error.to_string())?;
    }
    execute(folder, &library.command)?;
    if !folder.join(&library.result).is_dir() {
        return Err("the installation left nothing".to_owned());
    }
    for command in &library.after {
        if let Err(error) = execute(folder, command) {
            tracing::debug!(error, "step after installation failed");
        }
    }
    Ok(())
}

/// Runs an installer with the daemon's own environment: that is where proxies, mirrors and certificates are configured.
fn execute(folder: &Path, command: &[OsString]) -> Result<(), String> {
    let [program, arguments @ ..] = command else { return Err("no installer".to_owned()) };
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        // A daemon started inside such a tool must not steer another.
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .env_remove("NODE_OPTIONS")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = text.lines().filter(|line| line.to_ascii_lowercase().contains("error")).collect();
    let line = said.first().or(said.last()).copied().unwrap_or("no reason given");
    Err(format!("{}: {}", output.status, line.chars().take(200).collect::<String>()))
}

/// Functions read these files as other users; the daemon's umask may have kept them out.
fn make_readable(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            continue;
        }
        let mode = entry.metadata()?.permissions().mode();
        let wanted = if kind.is_dir() { mode | 0o755 } else { mode | 0o644 };
        if mode & 0o777 != wanted & 0o777 {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(wanted & 0o755))?;
        }
        if kind.is_dir() {
            make_readable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(script: &str) -> Library {
        Library {
            name: "thing-1".into(),
            what: "thing".into(),
            command: vec!["/bin/sh".into(), "-c".into(), script.into()],
            files: vec![("input", "x".into())],
            result: "out".into(),
            after: vec![],
        }
    }

    #[test]
    fn an_installation_is_there_completely_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let libraries = Libraries::open(folder.path().to_path_buf()).unwrap();
        let bad = library("mkdir out; echo 'ERROR: no network' >&2; exit 1");
        libraries.install(&bad);
        assert_eq!(libraries.path(&bad), None);
        assert!(libraries.failure(&bad).unwrap().contains("no network"));
        fs::create_dir(folder.path().join(".half-thing-1")).unwrap();
        let good = library("umask 077; mkdir out; cp input out/");
        libraries.install(&good);
        let path = libraries.path(&good).unwrap();
        assert_eq!(fs::metadata(path.join("input")).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(libraries.failure(&good), None);
        libraries.install(&library("exit 1"));
        assert_eq!(libraries.failure(&good), None, "not run again");
    }

    #[tokio::test]
    async fn starts_wait_for_what_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let libraries = Libraries::open(folder.path().to_path_buf()).unwrap();
        let wanted = library("mkdir out");
        libraries.settled(&wanted).await;
        let running = libraries.begin();
        tokio::select! {
            () = libraries.settled(&wanted) => panic!("settled too early"),
            () = tokio::task::yield_now() => {}
        }
        libraries.install(&wanted);
        libraries.settled(&wanted).await;
        drop(running);
        libraries.settled(&library("exit 1")).await;
    }
}
