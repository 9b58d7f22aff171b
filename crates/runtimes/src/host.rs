//! Interpreters on this host.

use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A version with the parts that runtime identifiers name, e.g. 3.12 or 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl std::str::FromStr for Version {
    type Err = ();
    /// Three numbers, what follows the third is ignored: `3.11.7`, `20.20.2`, `3.14.0rc2`.
    fn from_str(text: &str) -> Result<Version, ()> {
        let mut parts = text.splitn(3, '.');
        let mut next = || {
            let part = parts.next().unwrap_or("");
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().map_err(|_| ())
        };
        Ok(Version { major: next()?, minor: next()?, patch: next()? })
    }
}

/// An interpreter that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interpreter {
    /// The real file.
    pub(crate) executable: PathBuf,
    pub(crate) version: Version,
    /// What the probe printed after the version, one line each.
    pub(crate) details: Vec<String>,
}

/// What was found out about a file; kept on disk, so that later starts run nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    executable: PathBuf,
    size: u64,
    modified: i64,
    /// The question.
    probe: String,
    /// `None`: it is not a usable interpreter.
    interpreter: Option<Interpreter>,
}

/// Finds interpreters, remembering answers in a file.
pub(crate) struct Prober {
    file: PathBuf,
    known: Vec<Remembered>,
    changed: bool,
}

impl Prober {
    /// `file` may be missing or unusable: then every interpreter is asked again.
    pub(crate) fn open(file: PathBuf) -> Prober {
        let known =
            fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Prober { file, known, changed: false }
    }

    /// Keeps what was learned. A failure costs only time at the next start.
    pub(crate) fn close(self) {
        if self.changed
            && let Ok(bytes) = serde_json::to_vec(&self.known)
        {
            let new = self.file.with_extension(format!("{}.new", std::process::id()));
            if fs::write(&new, bytes).and_then(|()| fs::rename(&new, &self.file)).is_err() {
                tracing::debug!(file = %self.file.display(), "interpreters found could not be remembered");
            }
        }
    }

    /// Every interpreter in `folders` whose file name `wanted` accepts. `probe` are the arguments that make it print its
    /// version and, on further lines, what the family wants to know.
    pub(crate) fn find(
        &mut self,
        folders: &[PathBuf],
        wanted: impl Fn(&str) -> bool,
        probe: &[&str],
    ) -> Vec<Interpreter> {
        let mut found: Vec<Interpreter> = Vec::new();
        let mut seen: Vec<PathBuf> = Vec::new();
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let mut files: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted))
                .collect();
            files.sort();
            for file in files {
                // Scripts that choose an interpreter (version managers' shims) are no interpreters.
                let Ok(real) = file.canonicalize() else { continue };
                if seen.contains(&real) || !is_program(&real) {
                    continue;
                }
                seen.push(real.clone());
                found.extend(self.ask(&real, probe));
            }
        }
        found
    }

    fn ask(&mut self, executable: &Path, probe: &[&str]) -> Option<Interpreter> {
        let data = fs::metadata(executable).ok()?;
        let (size, modified) = (data.len(), data.mtime());
        let question = probe.join("\n");
        let same = |one: &Remembered| one.executable == executable && one.probe == question;
        if let Some(known) =
            self.known.iter().find(|one| same(one) && one.size == size && one.modified == modified)
        {
            return known.interpreter.clone();
        }
        let interpreter =
            run(Command::new(executable).args(probe), Duration::from_secs(10)).ok().and_then(|text| {
                let mut lines = text.lines();
                let version = lines.next()?.trim_start_matches('v').parse().ok()?;
                Some(Interpreter {
                    executable: executable.to_path_buf(),
                    version,
                    details: lines.map(str::to_owned).collect(),
                })
            });
        self.known.retain(|one| one.executable != executable || one.probe != question);
        self.known.push(Remembered {
            executable: executable.to_path_buf(),
            size,
            modified,
            probe: question,
            interpreter: interpreter.clone(),
        });
        self.changed = true;
        interpreter
    }
}

/// Whether the file is a native program.
fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// Runs a program of the host without the daemon's environment; its standard output if it succeeds within `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<String> {
    let mut child = command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.map_or(Ok(0), |stdout| stdout.take(4 * 1024 * 1024).read_to_string(&mut text)).map(|_| text)
    });
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= end {
            let _ = child.kill();
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = reader.join().map_err(|_| io::Error::other("reader ended"))??;
    if status.success() { Ok(text) } else { Err(io::Error::other(format!("{status}"))) }
}

/// Of what was found: for each version in the sense of `same`, the newest patch; oldest version first.
pub(crate) fn newest_of_each(
    mut found: Vec<Interpreter>,
    same: impl Fn(&Version, &Version) -> bool,
) -> Vec<Interpreter> {
    found.sort_by_key(|one| one.version);
    let mut kept: Vec<Interpreter> = Vec::new();
    for one in found {
        match kept.last_mut() {
            // The first found of equals stays: the search path's order.
            Some(last) if last.version == one.version => {}
            Some(last) if same(&last.version, &one.version) => *last = one,
            Some(_) | None => kept.push(one),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_from_what_interpreters_print() {
        assert_eq!(version("3.11.7"), Version { major: 3, minor: 11, patch: 7 });
        assert_eq!(version("3.14.0rc2").patch, 0);
        assert!("3.x.1".parse::<Version>().is_err());
        assert!("".parse::<Version>().is_err());
    }

    #[test]
    fn the_newest_patch_of_each_version_is_kept() {
        let one = |text: &str, path: &str| Interpreter {
            executable: path.into(),
            version: version(text),
            details: vec![],
        };
        let found = vec![one("3.12.1", "/a"), one("3.9.2", "/b"), one("3.12.3", "/c"), one("3.12.3", "/d")];
        let kept = newest_of_each(found, |a, b| (a.major, a.minor) == (b.major, b.minor));
        let paths: Vec<_> = kept.iter().map(|one| one.executable.to_str().unwrap()).collect();
        assert_eq!(paths, ["/b", "/c"]);
    }
}
