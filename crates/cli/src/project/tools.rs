//! The programs of this machine that make packages: Python with pip, Node.js with npm, cargo, Go; and Ruby, for its version.

use super::Error;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Lines of a failed program's output that are shown.
const SHOWN_LINES_MAX: usize = 40;

/// A Python version, e.g. 3.12.
pub(crate) type PythonVersion = (u32, u32);

/// A Python interpreter that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Name or path of the program.
    pub(crate) program: String,
    /// What it says it is.
    pub(crate) version: PythonVersion,
}

/// What can be asked of this machine. A port, so that tests own it.
pub(crate) trait Tools {
    /// The Python interpreter called `command`, e.g. `python3.12`, wherever a node would look for it.
    fn python(&self, command: &str) -> Option<Interpreter>;
    /// The major version of `node`, if there is one.
    fn node_version(&self) -> Option<u32>;
    /// The version of `ruby`, e.g. 3.3, if there is one.
    fn ruby_version(&self) -> Option<(u32, u32)>;
    /// Runs a program to its end.
    fn run(&self, run: &Run) -> Result<Vec<u8>, Error>;
}

/// One run of a program.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Program name, found in `PATH`.
    pub(crate) program: &'a str,
    /// Arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Working folder.
    pub(crate) folder: &'a Path,
    /// Further environment variables.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// Let it write what it reports to our standard error while it runs, rather than only if it fails.
    pub(crate) shown: bool,
    /// Why it is needed, for the message when it is missing.
    pub(crate) purpose: &'static str,
}

/// This machine, asked at most once about each thing.
#[derive(Debug, Default)]
pub(crate) struct HostTools {
    pythons: Mutex<BTreeMap<String, Option<Interpreter>>>,
}

impl HostTools {
    /// What was asked before. A thread that panicked left whole entries only.
    fn pythons(&self) -> MutexGuard<'_, BTreeMap<String, Option<Interpreter>>> {
        self.pythons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tools for HostTools {
    fn python(&self, command: &str) -> Option<Interpreter> {
        if let Some(known) = self.pythons().get(command) {
            return known.clone();
        }
        let starts = |program: String| {
            let said =
                answer(&program, &["-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])?;
            Some(Interpreter { version: python_version(&said)?, program })
        };
        // What PATH names may be a stand-in of a version manager that starts nothing.
        let found =
            starts(command.to_owned()).or_else(|| managed_pythons(command).into_iter().find_map(starts));
        self.pythons().insert(command.to_owned(), found.clone());
        found
    }

    fn node_version(&self) -> Option<u32> {
        answer("node", &["--version"])?.trim_start_matches('v').split('.').next()?.parse().ok()
    }

    fn ruby_version(&self) -> Option<(u32, u32)> {
        language_version(&answer("ruby", &["-e", "print RUBY_VERSION"])?)
    }

    fn run(&self, run: &Run) -> Result<Vec<u8>, Error> {
        let mut command = Command::new(run.program);
        command
            .args(&run.arguments)
            .current_dir(run.folder)
            .envs(run.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if run.shown { Stdio::inherit() } else { Stdio::piped() });
        let output = command.output().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                Error::MissingTool { program: run.program.to_owned(), purpose: run.purpose }
            }
            _ => Error::File { file: PathBuf::from(run.program), source },
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = [output.stdout, output.stderr].concat();
        let program =
            std::iter::once(OsString::from(run.program)).chain(run.arguments.iter().take(3).cloned());
        Err(Error::ToolFailed {
            program: program.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "),
            status: output.status.to_string(),
            output: last_lines(&String::from_utf8_lossy(&said), SHOWN_LINES_MAX),
        })
    }
}

/// Programs called `command` that version managers (pyenv, uv) have installed, newest name first.
fn managed_pythons(command: &str) -> Vec<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let folder = |variable: &str, usual: &str| {
        std::env::var_os(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(usual)))
    };
    let versions = folder("PYENV_ROOT", ".pyenv").map(|root| root.join("versions"));
    let mut programs: Vec<_> = [versions, folder("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python")]
        .into_iter()
        .flatten()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(command)))
        .filter(|program| program.is_file())
        .filter_map(|program| program.into_os_string().into_string().ok())
        .collect();
    programs.sort();
    programs.reverse();
    programs
}

/// The trimmed standard output of a program that succeeds.
fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Reads `3.12`.
pub(crate) fn python_version(text: &str) -> Option<PythonVersion> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads the first two numbers of `3.3.1`.
pub(crate) fn language_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The last `max` lines that are not empty.
fn last_lines(text: &str, max: usize) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(max)..).unwrap_or_default().join("\n")
}

/// This machine's processor, as Lambda names it.
pub(crate) const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_output_is_kept() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(python_version("3.12"), Some((3, 12)));
        assert_eq!(python_version("x"), None);
        assert_eq!(language_version("3.4.1"), Some((3, 4)));
        assert_eq!(language_version("3"), None);
    }

    #[test]
    fn a_failing_program_shows_what_it_said() {
        let run = Run {
            program: "sh",
            arguments: ["-c", "echo because >&2; exit 3"].map(OsString::from).to_vec(),
            folder: Path::new("/"),
            environment: vec![],
            shown: false,
            purpose: "test",
        };
        let Err(Error::ToolFailed { output, status, .. }) = HostTools::default().run(&run) else { panic!() };
        assert_eq!(output, "because");
        assert!(status.contains('3'));
        let absent = Run { program: "neap-no-such-program", ..run };
        assert!(matches!(HostTools::default().run(&absent), Err(Error::MissingTool { .. })));
    }
}
