//! What a node's operator decides about execution environments.

use base::Millis;
use std::{env, path::PathBuf};

/// Configuration of [`crate::Runtimes`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of unpacked packages, one subfolder per hash; made when missing.
    pub code: PathBuf,
    /// Folder of boot programs, managed libraries and roots; made when missing. Its path must be reachable by root only
    /// where the host has other users: functions see parts of it by mounts, never by its path.
    pub runtimes: PathBuf,
    /// Folders in which interpreters are looked for, first match of a version wins. Default: [`Settings::search_path`].
    pub search: Vec<PathBuf>,
    /// Longest initialisation before the first invocation. Default [`base::limits::INIT_MAX`].
    pub init_max: Millis,
    /// An environment is frozen after it has been idle for this long, so that a busy one pays nothing for it.
    /// Default 50 ms. Lambda freezes at once; what a function does in between is seen by nobody else.
    pub freeze_after: Millis,
    /// How long a start waits for an installation of managed libraries that is under way. Default 60 s.
    pub install_wait: Millis,
    /// Whether functions get a hard CPU limit in proportion to memory ([`base::limits::MEMORY_PER_CPU`]) besides their
    /// share of CPU time. Default no: idle time is free to all.
    pub cpu_quota: bool,
    /// `AWS_ENDPOINT_URL` inside. Default `http://127.0.0.1:4566`, where [`crate::Platform`] answers.
    pub endpoint: String,
    /// How long the zygote of a runtime is kept after the last start by it. Default 3,600,000 ms; 0: there are none, and each
    /// start executes the interpreter.
    pub zygote_idle: Millis,
    /// Modules that zygotes load besides the interpreter's own, by their Python names. Each shortens the starts of functions
    /// that use it by the time of its import and lengthens all others a little. Default: common modules of the standard
    /// library, see [`Settings::PRELOAD`].
    pub preload: Vec<String>,
    /// Seconds for which a function's credentials are valid; its environment is replaced before they end. At least 900.
    /// Default 43,200.
    pub credentials_seconds: u32,
    /// Booted interpreters that wait for functions. Default: see there.
    pub stem_cells: crate::CellSettings,
}

impl Settings {
    /// Default of [`Settings::preload`].
    pub const PRELOAD: [&'static str; 9] = [
        "base64",
        "datetime",
        "decimal",
        "hashlib",
        "logging",
        "random",
        "traceback",
        "urllib.parse",
        "uuid",
    ];

    /// Defaults, with the two folders.
    pub fn new(code: impl Into<PathBuf>, runtimes: impl Into<PathBuf>) -> Settings {
        Settings {
            code: code.into(),
            runtimes: runtimes.into(),
            search: Settings::search_path(),
            init_max: base::limits::INIT_MAX,
            freeze_after: Millis(50),
            install_wait: Millis(60_000),
            cpu_quota: false,
            endpoint: format!("http://{}", sandbox::PLATFORM),
            zygote_idle: Millis(3_600_000),
            preload: Settings::PRELOAD.map(str::to_owned).to_vec(),
            credentials_seconds: 43_200,
            stem_cells: crate::CellSettings::default(),
        }
    }

    /// Where interpreters usually are: the folders of `PATH`, version managers under the home folder and their
    /// environment variables (pyenv, nvm, rbenv, uv, SDKMAN), `JAVA_HOME`, and the system's folders.
    pub fn search_path() -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> =
            env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        folders.extend(env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin")));
        let home = env::var_os("HOME").map(PathBuf::from);
        let beneath = |variable: &str, usual: &str| {
            env::var_os(variable).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(usual)))
        };
        for (manager, versions) in [
            (beneath("PYENV_ROOT", ".pyenv"), "versions"),
            (beneath("NVM_DIR", ".nvm"), "versions/node"),
            (beneath("RBENV_ROOT", ".rbenv"), "versions"),
            (beneath("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"), ""),
            (beneath("SDKMAN_DIR", ".sdkman"), "candidates/java"),
            // Where distributions put the JDKs that are not in use by default.
            (Some("/usr/lib/jvm".into()), ""),
        ] {
            let Some(manager) = manager else { continue };
            let mut found: Vec<PathBuf> = std::fs::read_dir(manager.join(versions))
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
                .filter(|bin| bin.is_dir())
                .collect();
            found.sort();
            found.reverse();
            folders.extend(found);
        }
        folders.extend(["/usr/local/bin", "/usr/bin", "/bin", "/opt/bin"].map(PathBuf::from));
        folders
    }
}
