//! What is installed of the other tools: three folders in the cache, each from files with pinned versions.

use super::super::{Outcome, setup::progress};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Says, once everything is there, from what a folder was installed.
const INSTALLED: &str = "installed";

/// What is installed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// workerd, Deno, the Functions Framework of Node.js.
    Npm,
    /// serverless-offline, which brings hundreds of packages.
    Serverless,
    /// The Functions Framework of Python, and wasmtime's binary.
    Python,
}

impl Part {
    const ALL: [Part; 3] = [Part::Npm, Part::Serverless, Part::Python];

    fn name(self) -> &'static str {
        match self {
            Part::Npm => "npm",
            Part::Serverless => "serverless",
            Part::Python => "python",
        }
    }

    /// Names and texts of the files that it is installed from.
    fn pins(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Part::Npm => &[
                ("package.json", include_str!("../../../compare/package.json")),
                ("package-lock.json", include_str!("../../../compare/package-lock.json")),
            ],
            Part::Serverless => &[
                ("package.json", include_str!("../../../compare/serverless/package.json")),
                ("package-lock.json", include_str!("../../../compare/serverless/package-lock.json")),
            ],
            Part::Python => &[("requirements.txt", include_str!("../../../compare/requirements.txt"))],
        }
    }

    fn install(self, folder: &Path) -> Outcome<()> {
        progress(&format!("installing {}", folder.display()));
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(told)?;
        }
        fs::create_dir_all(folder).map_err(told)?;
        for (name, text) in self.pins() {
            fs::write(folder.join(name), text).map_err(told)?;
        }
        match self {
            Part::Npm | Part::Serverless => {
                run(folder, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])?;
            }
            Part::Python => {
                run(folder, "python3", &["-m", "venv", "venv"])?;
                let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
                run(
                    folder,
                    folder.join("venv/bin/python"),
                    &[&pip[..], &["-r", "requirements.txt"]].concat(),
                )?;
                executable(&wasmtime(folder)?).map_err(told)?;
            }
        }
        fs::write(folder.join(INSTALLED), self.text()).map_err(told)
    }

    fn text(self) -> String {
        self.pins().iter().map(|(_, text)| *text).collect()
    }
}

fn run(folder: &Path, program: impl AsRef<OsStr>, args: &[&str]) -> Outcome<()> {
    let name = program.as_ref().to_string_lossy().into_owned();
    let status = Command::new(program).args(args).current_dir(folder).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} {}: {status}", args.join(" "))),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// The binary in its wheel.
fn wasmtime(folder: &Path) -> Outcome<PathBuf> {
    let libraries = fs::read_dir(folder.join("venv/lib")).map_err(|error| error.to_string())?;
    let found = libraries.flatten().map(|entry| entry.path().join("site-packages/wasmtime_cli/wasmtime"));
    found
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| "its package has no binary for this machine".to_owned())
}

/// The wheel carries the binary without the right to execute it.
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// The folder with all parts.
pub(super) struct Kit {
    folder: PathBuf,
    /// Parts that could not be installed, and why.
    failed: Vec<(Part, String)>,
}

impl Kit {
    /// `CACHE`, as the Makefile has it, or its default. `install` installs what is missing or of other versions.
    pub(super) fn open(install: bool) -> Outcome<Kit> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("neap")))
            .or_else(|| Some(set("HOME")?.join(".cache/neap")))
            .ok_or("neither CACHE nor HOME is set")?;
        let mut kit = Kit { folder: cache.join("compare"), failed: Vec::new() };
        for part in Part::ALL {
            if install && kit.part(part).is_err() {
                let installed = part.install(&kit.folder.join(part.name()));
                kit.failed.extend(installed.err().map(|why| (part, why)));
            }
        }
        Ok(kit)
    }

    /// Where a part is, or why it is not there.
    pub(super) fn part(&self, part: Part) -> Outcome<PathBuf> {
        let folder = self.folder.join(part.name());
        if let Some((_, why)) = self.failed.iter().find(|(failed, _)| *failed == part) {
            return Err(format!("cannot be installed: {why}"));
        }
        match fs::read_to_string(folder.join(INSTALLED)) {
            Ok(text) if text == part.text() => Ok(folder),
            Ok(_) => Err("another version is installed (--install brings this one)".to_owned()),
            Err(_) => Err("not installed (--install installs it)".to_owned()),
        }
    }

    pub(super) fn wasmtime(&self) -> Outcome<PathBuf> {
        wasmtime(&self.part(Part::Python)?)
    }
}
