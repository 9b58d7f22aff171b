//! What a function needs besides its own files: packages installed by pip or npm, programs built by cargo or go.
//!
//! Installed packages are kept in the cache folder as one archive per set of requirements, named by a hash of all that
//! decides its content, so that a second deployment installs and compresses nothing.

use super::{
    Error, Exclusions, archive,
    detect::package_json,
    source,
    tools::{Interpreter, PythonVersion, Run, Tools, architecture, python_version},
};
use crate::output::{Progress, span};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Archives kept in the cache; the least recently used go.
const CACHED_MAX: usize = 32;
/// How the names of folders begin in which packages are installed before they are archived.
const WORK: &str = "work-";
/// Age at which such a folder cannot be in use any more.
const WORK_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Part of every hash: raised when the way of installing changes.
const FORMAT: &str = "1";

/// Installs requirements.txt; `None` when there is nothing to install.
pub(crate) fn python(
    folder: &Path,
    runtime: &str,
    cache: &Path,
    fresh: bool,
    tools: &dyn Tools,
    progress: &Progress,
) -> Result<Option<PathBuf>, Error> {
    let file = folder.join("requirements.txt");
    let Some(requirements) = Requirements::read(folder, &file)? else { return Ok(None) };
    let wanted = runtime.strip_prefix("python").and_then(python_version).unwrap_or((3, 12));
    let python = Python::choose(wanted, tools)?;
    if let Some(warning) = python.warning(runtime) {
        progress.warn(&warning);
    }
    let key = hash(&["python", &format!("{:?}", python.target), &requirements.text]);
    let cache = Cache { folder: cache, key, fresh: fresh || requirements.local };
    cache.entry(progress, "pip install", |work| {
        let run = Run {
            program: &python.command,
            arguments: python.arguments(&file, work),
            folder,
            environment: vec![("PIP_ROOT_USER_ACTION", "ignore"), ("PYTHONDONTWRITEBYTECODE", "1")],
            shown: false,
            purpose: "install requirements.txt",
        };
        tools.run(&run).map(drop).map_err(without_pip)
    })
}

/// An interpreter without pip is told apart from an installation that failed.
fn without_pip(error: Error) -> Error {
    match error {
        Error::ToolFailed { program, output, .. } if output.contains("No module named pip") => {
            Error::MissingTool { program: format!("pip of {program}"), purpose: "install requirements.txt" }
        }
        other => other,
    }
}

/// The requirements of a function with all files that they include.
struct Requirements {
    text: String,
    /// Whether something local is named, whose content the text does not tell.
    local: bool,
}

impl Requirements {
    fn read(folder: &Path, file: &Path) -> Result<Option<Requirements>, Error> {
        if !file.is_file() {
            return Ok(None);
        }
        let mut found = Requirements { text: String::new(), local: false };
        let mut waiting = vec![file.to_owned()];
        let mut seen = Vec::new();
        let mut installs = false;
        while let Some(file) = waiting.pop() {
            if seen.contains(&file) {
                continue;
            }
            let text =
                fs::read_to_string(&file).map_err(|source| Error::File { file: file.clone(), source })?;
            seen.push(file);
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                found.text.push_str(line);
                found.text.push('\n');
                installs |= !line.starts_with('-');
                found.local |=
                    line.starts_with(['.', '/']) || line.starts_with("-e") || line.contains("file:");
                let included = ["-r", "--requirement", "-c", "--constraint"].iter().find_map(|option| {
                    let rest = line.strip_prefix(option)?;
                    rest.starts_with([' ', '=']).then(|| rest.trim_start_matches(['=', ' ']).trim())
                });
                waiting.extend(included.map(|name| folder.join(name)));
            }
        }
        Ok((installs || found.local).then_some(found))
    }
}

/// Which interpreter installs, and for which version.
#[derive(Debug, PartialEq, Eq)]
struct Python {
    command: String,
    /// Version of the interpreter that will load the packages.
    target: PythonVersion,
    /// Whether `command` is of another version, so that only ready-built packages can be installed.
    foreign: bool,
}

impl Python {
    /// The exact version if this machine has it; else the nearest newer one, which a node here would use too; else any
    /// Python, asked to install ready-built packages for the exact version.
    fn choose(wanted: PythonVersion, tools: &dyn Tools) -> Result<Python, Error> {
        let (major, minor) = wanted;
        let commands = (minor..=minor + 8).map(|minor| format!("{major}.{minor}"));
        let commands = std::iter::once(format!("{major}.{minor}"))
            .chain([major.to_string(), String::new()])
            .chain(commands);
        let mut nearest: Option<Python> = None;
        let mut any = None;
        for command in commands.map(|version| format!("python{version}")) {
            let Some(Interpreter { program: command, version: target }) = tools.python(&command) else {
                continue;
            };
            let found = Python { command: command.clone(), target, foreign: false };
            if target == wanted {
                return Ok(found);
            }
            any.get_or_insert(command);
            if target > wanted
                && target.0 == major
                && nearest.as_ref().is_none_or(|near| target < near.target)
            {
                nearest = Some(found);
            }
        }
        match (nearest, any) {
            (Some(nearest), _) => Ok(nearest),
            (None, Some(command)) => Ok(Python { command, target: wanted, foreign: true }),
            (None, None) => {
                Err(Error::MissingTool { program: "python3".to_owned(), purpose: "install requirements.txt" })
            }
        }
    }

    fn warning(&self, runtime: &str) -> Option<String> {
        let (major, minor) = self.target;
        (runtime != format!("python{major}.{minor}")).then(|| {
            format!("{runtime} is not installed here; packages are installed for {major}.{minor}, the nearest newer one")
        })
    }

    fn arguments(&self, requirements: &Path, target: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            ["-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--disable-pip-version-check"]
                .map(OsString::from)
                .to_vec();
        if self.foreign {
            let (major, minor) = self.target;
            let machine = if architecture() == "arm64" { "aarch64" } else { "x86_64" };
            arguments.extend([
                "--only-binary=:all:".into(),
                "--implementation=cp".into(),
                format!("--python-version={major}.{minor}").into(),
                format!("--platform=manylinux2014_{machine}").into(),
                format!("--platform=manylinux_2_28_{machine}").into(),
            ]);
        }
        arguments.extend(["--requirement".into(), requirements.into(), "--target".into(), target.into()]);
        arguments
    }
}

/// Installs the dependencies of package.json; `None` when there is nothing to install, or when they are local folders
/// that are already installed in the folder itself.
pub(crate) fn node(
    folder: &Path,
    runtime: &str,
    cache: &Path,
    fresh: bool,
    tools: &dyn Tools,
    progress: &Progress,
) -> Result<Option<PathBuf>, Error> {
    let wanted = package_json(folder).and_then(|package| package.get("dependencies").cloned());
    let wanted = match wanted {
        Some(serde_json::Value::Object(wanted)) if !wanted.is_empty() => wanted,
        _ => return Ok(None),
    };
    let local = |version: &serde_json::Value| {
        version.as_str().is_some_and(|text| {
            ["file:", "link:", "workspace:", "."].iter().any(|start| text.starts_with(start))
        })
    };
    if wanted.values().any(local) {
        let installed = folder.join("node_modules").is_dir();
        return if installed {
            Ok(None)
        } else {
            Err(Error::LocalDependencies { file: folder.join("package.json") })
        };
    }
    // The whole of package.json except the scripts decides: overrides and optional dependencies count too.
    let files = ["package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"];
    let mut texts = vec!["node".to_owned(), runtime.to_owned()];
    texts.extend(files.iter().map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default()));
    let key = hash(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let locked = folder.join("package-lock.json").is_file() || folder.join("npm-shrinkwrap.json").is_file();
    let command = if locked { "ci" } else { "install" };
    Cache { folder: cache, key, fresh }.entry(progress, &format!("npm {command}"), |work| {
        for name in files {
            if folder.join(name).is_file() {
                copy(&folder.join(name), &work.join(name))?;
            }
        }
        let arguments = [command, "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"];
        let run = Run {
            program: "npm",
            arguments: arguments.map(OsString::from).to_vec(),
            folder: work,
            environment: vec![("NODE_ENV", "production")],
            shown: false,
            purpose: "install the dependencies of package.json",
        };
        tools.run(&run)?;
        for name in files.iter().map(|name| work.join(name)).filter(|file| file.is_file()) {
            fs::remove_file(&name).map_err(|source| Error::File { file: name, source })?;
        }
        Ok(())
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(drop).map_err(|source| Error::File { file: from.to_owned(), source })
}

/// Builds a Cargo project and returns the path of its program.
pub(crate) fn build_cargo(
    folder: &Path,
    binary: Option<&str>,
    tools: &dyn Tools,
    progress: &Progress,
) -> Result<PathBuf, Error> {
    let begun = Instant::now();
    progress.doing("build", "cargo build --release");
    let shown = progress.live();
    if shown {
        progress.clear();
    }
    let mut arguments: Vec<OsString> =
        ["build", "--release", "--message-format=json-render-diagnostics"].map(OsString::from).to_vec();
    if let Some(binary) = binary {
        arguments.extend(["--bin".into(), binary.into()]);
    }
    let run = Run {
        program: "cargo",
        arguments,
        folder,
        environment: Vec::new(),
        shown,
        purpose: "build the Cargo project",
    };
    let messages = tools.run(&run)?;
    let program = choose_program(programs(&String::from_utf8_lossy(&messages)))?;
    progress.done("build", &format!("cargo build --release, {}", span(begun.elapsed())));
    Ok(program)
}

/// A Go program that was built, and is removed when this is dropped.
pub(crate) struct GoProgram {
    folder: Work,
}

impl GoProgram {
    /// The executable.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.0.join("bootstrap")
    }
}

/// Builds the Go module of `folder`, or its program `cmd/BINARY`: for Linux on this machine's processor and without the
/// C library, so that it runs in any root.
pub(crate) fn build_go(
    folder: &Path,
    binary: Option<&str>,
    cache: &Path,
    tools: &dyn Tools,
    progress: &Progress,
) -> Result<GoProgram, Error> {
    let begun = Instant::now();
    progress.doing("build", "go build");
    let shown = progress.live();
    if shown {
        progress.clear();
    }
    let work = cache.join("dependencies");
    create(&work)?;
    let program = GoProgram { folder: Work::make(&work)? };
    // The tag leaves out of Lambda's library what only a runtime that is gone needed.
    let mut arguments: Vec<OsString> =
        ["build", "-tags", "lambda.norpc", "-trimpath", "-ldflags=-s -w", "-o"].map(OsString::from).to_vec();
    arguments.push(program.path().into());
    arguments.push(binary.map_or_else(|| ".".to_owned(), |name| format!("./cmd/{name}")).into());
    let processor = if architecture() == "arm64" { "arm64" } else { "amd64" };
    let run = Run {
        program: "go",
        arguments,
        folder,
        environment: vec![("GOOS", "linux"), ("GOARCH", processor), ("CGO_ENABLED", "0")],
        shown,
        purpose: "build the Go module",
    };
    tools.run(&run)?;
    // A package that is no program makes an archive of that name.
    if !is_program(&program.path()) {
        return Err(Error::GoPackage { folder: folder.to_owned() });
    }
    progress.done("build", &format!("go build, {}", span(begun.elapsed())));
    Ok(program)
}

/// Whether the file is a native program.
fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// The warning that a Gemfile names gems of which none are in the folder.
pub(crate) fn gems_missing(folder: &Path) -> Option<&'static str> {
    let gemfile = fs::read_to_string(folder.join("Gemfile")).ok()?;
    let named = gemfile.lines().any(|line| {
        let line = line.trim_start();
        ["gem ", "gem(", "gemspec"].iter().any(|word| line.starts_with(word))
    });
    (named && !folder.join("vendor/bundle").is_dir()).then_some(
        "the Gemfile names gems and vendor/bundle is not there: unless a layer brings them, run `bundle config set \
         --local path vendor/bundle && bundle install` and deploy again",
    )
}

/// Names and paths of the programs that cargo reports.
fn programs(messages: &str) -> Vec<(String, PathBuf)> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect()
}

/// The only program, or the one called bootstrap.
fn choose_program(mut programs: Vec<(String, PathBuf)>) -> Result<PathBuf, Error> {
    let at =
        if programs.len() == 1 { Some(0) } else { programs.iter().position(|(name, _)| name == "bootstrap") };
    match at {
        Some(at) => Ok(programs.swap_remove(at).1),
        None if programs.is_empty() => Err(Error::Programs { found: "no program".to_owned() }),
        None => {
            let names: Vec<_> = programs.into_iter().map(|(name, _)| name).collect();
            Err(Error::Programs { found: names.join(", ") })
        }
    }
}

/// One entry of the cache.
struct Cache<'a> {
    folder: &'a Path,
    key: String,
    fresh: bool,
}

impl Cache<'_> {
    /// The archive of this entry; `install` fills an empty folder with its files when it is not there yet.
    fn entry(
        &self,
        progress: &Progress,
        what: &str,
        install: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Option<PathBuf>, Error> {
        let entries = self.folder.join("dependencies");
        let archive = entries.join(format!("{}.zip", self.key));
        let begun = Instant::now();
        if !self.fresh && archive.is_file() {
            // The time of last use decides what is removed first.
            let _ = fs::File::options()
                .append(true)
                .open(&archive)
                .and_then(|file| file.set_modified(SystemTime::now()));
            progress.done("dependencies", "cached");
            return Ok(Some(archive));
        }
        progress.doing("dependencies", what);
        let work = Work::make(&entries)?;
        let installed = work.0.join("installed");
        create(&installed)?;
        install(&installed)?;
        progress.doing("dependencies", "compressing");
        let files = source::collect(&installed, &Exclusions::installed())?;
        let built = archive::build(&files, None)?;
        let unfinished = work.0.join("archive.zip");
        fs::write(&unfinished, built.zip)
            .map_err(|source| Error::File { file: unfinished.clone(), source })?;
        fs::rename(&unfinished, &archive).map_err(|source| Error::File { file: archive.clone(), source })?;
        prune(&entries);
        progress.done("dependencies", &format!("{what}, {}", span(begun.elapsed())));
        Ok(Some(archive))
    }
}

/// A folder that is removed with everything in it when this is dropped.
pub(super) struct Work(PathBuf);

impl Work {
    pub(super) fn make(inside: &Path) -> Result<Work, Error> {
        let nanos =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let folder = inside.join(format!("{WORK}{}-{nanos}", std::process::id()));
        create(&folder)?;
        Ok(Work(folder))
    }
}

impl Work {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Folder { folder: folder.to_owned(), source })
}

/// Removes the least recently used archives beyond [`CACHED_MAX`], and work folders that an interrupted command left
/// behind. What cannot be removed stays until the next time.
fn prune(entries: &Path) {
    let Ok(listing) = fs::read_dir(entries) else { return };
    let mut archives = Vec::new();
    for entry in listing.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(modified) = entry.metadata().and_then(|about| about.modified()) else { continue };
        if path.extension().is_some_and(|ending| ending == "zip") {
            archives.push((modified, path));
        } else if name.to_string_lossy().starts_with(WORK)
            && modified.elapsed().is_ok_and(|age| age > WORK_MAX)
        {
            let _ = fs::remove_dir_all(path);
        }
    }
    archives.sort();
    let over = archives.len().saturating_sub(CACHED_MAX);
    for (_, path) in archives.into_iter().take(over) {
        let _ = fs::remove_file(path);
    }
}

/// Hexadecimal SHA-256 of the parts, each with its length, for this machine's processor.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in [FORMAT, architecture()].iter().chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    base::CodeSha256(hasher.finalize().into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use std::cell::RefCell;

    /// A machine with the given Pythons, on which every installer writes one file.
    struct Fake {
        pythons: Vec<(&'static str, PythonVersion)>,
        runs: RefCell<Vec<String>>,
    }

    impl Fake {
        fn with(pythons: &[(&'static str, PythonVersion)]) -> Fake {
            Fake { pythons: pythons.to_vec(), runs: RefCell::default() }
        }
    }

    impl Tools for Fake {
        fn python(&self, command: &str) -> Option<Interpreter> {
            let (name, version) = self.pythons.iter().find(|(name, _)| *name == command)?;
            Some(Interpreter { program: (*name).to_owned(), version: *version })
        }
        fn node_version(&self) -> Option<u32> {
            Some(20)
        }
        fn ruby_version(&self) -> Option<(u32, u32)> {
            None
        }
        fn run(&self, run: &Run) -> Result<Vec<u8>, Error> {
            let target = match run.program {
                "npm" => run.folder.join("node_modules/x"),
                "go" => run.folder.join("ignored"),
                _ => PathBuf::from(run.arguments.last().unwrap()),
            };
            create(&target)?;
            fs::write(target.join("installed.txt"), "x").unwrap();
            self.runs
                .borrow_mut()
                .push(run.arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "));
            Ok(Vec::new())
        }
    }

    fn quiet() -> Progress {
        Progress::new(Output { json: true, colour_out: false, colour_err: false, live: false })
    }

    fn write(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn the_same_requirements_are_installed_once() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tools = Fake::with(&[("python3.11", (3, 11))]);
        let install = |fresh| {
            python(folder.path(), "python3.11", cache.path(), fresh, &tools, &quiet()).unwrap().unwrap()
        };
        write(folder.path(), "requirements.txt", "a==1\n");
        let first = install(false);
        assert_eq!(install(false), first);
        assert_eq!(tools.runs.borrow().len(), 1);
        write(folder.path(), "requirements.txt", "# why\na==1\n\n");
        assert_eq!(install(false), first, "comments do not count");
        write(folder.path(), "requirements.txt", "a==2\n");
        assert_ne!(install(false), first);
        install(true);
        assert_eq!(tools.runs.borrow().len(), 3);
        let left: Vec<_> = fs::read_dir(cache.path().join("dependencies")).unwrap().collect();
        assert_eq!(left.len(), 2, "no work folder is left");
    }

    #[test]
    fn included_files_count_and_local_ones_are_never_cached() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Requirements::read(folder.path(), &folder.path().join("requirements.txt")).unwrap();
        assert!(read().is_none());
        write(folder.path(), "requirements.txt", "# nothing\n--no-index\n");
        assert!(read().is_none());
        write(folder.path(), "requirements.txt", "-r more.txt\n");
        write(folder.path(), "more.txt", "b==1\n-r requirements.txt\n");
        let requirements = read().unwrap();
        assert_eq!(requirements.text, "-r more.txt\nb==1\n-r requirements.txt\n");
        assert!(!requirements.local);
        write(folder.path(), "requirements.txt", "-e .\n");
        assert!(read().unwrap().local);
    }

    #[test]
    fn the_exact_python_is_chosen_then_the_nearest_newer_then_any() {
        let choose =
            |pythons: &[(&'static str, PythonVersion)]| Python::choose((3, 10), &Fake::with(pythons));
        let found = choose(&[("python3", (3, 10)), ("python3.11", (3, 11))]).unwrap();
        assert_eq!(found, Python { command: "python3".into(), target: (3, 10), foreign: false });
        let found = choose(&[("python3", (3, 13)), ("python3.11", (3, 11))]).unwrap();
        assert_eq!((found.command.as_str(), found.foreign), ("python3.11", false));
        assert!(found.warning("python3.10").is_some());
        let found = choose(&[("python3", (3, 9))]).unwrap();
        assert_eq!((found.target, found.foreign), ((3, 10), true));
        assert!(found.arguments(Path::new("r"), Path::new("t")).contains(&"--python-version=3.10".into()));
        assert!(matches!(choose(&[]), Err(Error::MissingTool { .. })));
    }

    #[test]
    fn npm_installs_what_is_locked_and_keeps_only_modules() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tools = Fake::with(&[]);
        let install = || node(folder.path(), "nodejs20.x", cache.path(), false, &tools, &quiet());
        assert!(install().unwrap().is_none());
        write(folder.path(), "package.json", r#"{"dependencies": {}}"#);
        assert!(install().unwrap().is_none());
        write(folder.path(), "package.json", r#"{"dependencies": {"x": "1.0.0"}}"#);
        install().unwrap().unwrap();
        write(folder.path(), "package-lock.json", "{}");
        let archive = install().unwrap().unwrap();
        assert!(tools.runs.borrow()[0].starts_with("install "));
        assert!(tools.runs.borrow()[1].starts_with("ci "));
        let archive = zip::ZipArchive::new(fs::File::open(archive).unwrap()).unwrap();
        assert_eq!(
            archive.file_names().map(|name| name.unwrap().into_owned()).collect::<Vec<_>>(),
            ["node_modules/x/installed.txt"]
        );
        write(folder.path(), "package.json", r#"{"dependencies": {"x": "file:../x"}}"#);
        assert!(matches!(install(), Err(Error::LocalDependencies { .. })));
    }

    #[test]
    fn go_builds_the_module_or_the_named_program_and_leaves_nothing() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tools = Fake::with(&[]);
        // The fake compiler makes no program, as one does with a package that has no `main`.
        for binary in [None, Some("api")] {
            let built = build_go(folder.path(), binary, cache.path(), &tools, &quiet());
            assert!(matches!(built, Err(Error::GoPackage { .. })));
        }
        let runs = tools.runs.borrow();
        assert!(runs[0].starts_with("build -tags lambda.norpc ") && runs[0].ends_with("/bootstrap ."));
        assert!(runs[1].ends_with(" ./cmd/api"));
        assert_eq!(fs::read_dir(cache.path().join("dependencies")).unwrap().count(), 0);
    }

    #[test]
    fn gems_that_are_not_installed_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(gems_missing(folder.path()).is_none());
        write(folder.path(), "Gemfile", "source 'https://x'\n# gem 'x'\n");
        assert!(gems_missing(folder.path()).is_none());
        write(folder.path(), "Gemfile", "group :x do\n  gem 'x'\nend\n");
        assert!(gems_missing(folder.path()).is_some());
        create(&folder.path().join("vendor/bundle")).unwrap();
        assert!(gems_missing(folder.path()).is_none());
    }

    #[test]
    fn one_program_or_bootstrap_is_chosen() {
        let message = |name: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},"executable":"/t/{name}"}}"#
            )
        };
        let library = r#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}"#;
        let one = programs(&[library, &message("a"), "noise"].join("\n"));
        assert_eq!(choose_program(one).unwrap(), Path::new("/t/a"));
        let two = programs(&[message("a"), message("bootstrap")].join("\n"));
        assert_eq!(choose_program(two).unwrap(), Path::new("/t/bootstrap"));
        assert!(choose_program(programs(&[message("a"), message("b")].join("\n"))).is_err());
        assert!(choose_program(programs(library)).is_err());
    }

    #[test]
    fn the_cache_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..CACHED_MAX + 3 {
            let file = fs::File::create(folder.path().join(format!("{index:03}.zip"))).unwrap();
            let age = Duration::from_secs(1_000 - index as u64);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        let left_behind = folder.path().join("work-1-1");
        fs::create_dir(&left_behind).unwrap();
        let old = SystemTime::now() - WORK_MAX - Duration::from_secs(60);
        fs::File::open(&left_behind).unwrap().set_modified(old).unwrap();
        fs::create_dir(folder.path().join("work-2-2")).unwrap();
        prune(folder.path());
        assert!(!left_behind.exists());
        fs::remove_dir(folder.path().join("work-2-2")).expect("a recent one stays");
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left.len(), CACHED_MAX);
        assert_eq!(left[0], "003.zip");
    }
}
