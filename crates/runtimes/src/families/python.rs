//! `python3.*`: interpreters of the host with our boot program.

use super::{Family, Files, Plan, Waiting, newer_serves, unavailable};
use crate::{
    host::{Interpreter, Prober, newest_of_each, run},
    libraries::Library,
    zygotes::{self, Forking},
};
use base::{RuntimeRefused, RuntimeSupport};
use sandbox::{Attachment, TemplateLink};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const BOOT: &str = include_str!("../../boot/python/bootstrap.py");
const HOOKS: &str = include_str!("../../boot/python/snapshot_restore_py.py");
const ZYGOTE: &str = include_str!("../../boot/python/zygote.py");
/// What it cannot do by itself: `boot/native/python.rs`.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/python.so"));
/// Where [`ZYGOTE`] is inside.
const ZYGOTE_INSIDE: &str = "/var/runtime/zygote.py";
/// Prints version, installation prefix, standard library, folder of compiled modules.
const PROBE: &str = "import sys, sysconfig
print('%d.%d.%d' % sys.version_info[:3])
print(sys.base_prefix)
print(sysconfig.get_paths()['stdlib'])
print(sysconfig.get_config_var('DESTSHARED') or '')";

pub(super) struct Python {
    /// Oldest first, one per minor version.
    interpreters: Vec<Interpreter>,
}

impl Python {
    pub(super) fn find(prober: &mut Prober, search: &[PathBuf]) -> Python {
        let wanted = |name: &str| {
            name.strip_prefix("python3").is_some_and(|rest| {
                rest.is_empty()
                    || rest.strip_prefix('.').is_some_and(|minor| minor.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        let mut found = prober.find(search, wanted, &["-I", "-S", "-c", PROBE]);
        found.retain(|one| one.details.len() == 3 && one.version.major == 3 && one.version.minor >= 8);
        Python { interpreters: newest_of_each(found, |a, b| a.minor == b.minor) }
    }

    /// The interpreter of the named version, or else of the next newer one.
    fn choose(&self, runtime: &str) -> Option<(&Interpreter, bool)> {
        let minor: u32 = runtime.strip_prefix("python3.")?.parse().ok()?;
        let chosen = self.interpreters.iter().find(|one| one.version.minor >= minor)?;
        Some((chosen, chosen.version.minor == minor))
    }
}

impl Family for Python {
    fn identifiers(&self) -> &'static [&'static str] {
        &["python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"]
    }

    fn check(&self, runtime: &str, _architecture: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        let Some((chosen, exact)) = self.choose(runtime) else {
            let newest = self.interpreters.last().map_or_else(
                || "no Python 3 was found".to_owned(),
                |newest| format!("the newest Python found is {}", newest.version),
            );
            return Err(unavailable(
                runtime,
                format!("{newest}; install this version or a newer one and restart"),
            ));
        };
        let actual = format!("Python {}", chosen.version);
        Ok(RuntimeSupport { warning: (!exact).then(|| newer_serves(runtime, &actual)), actual })
    }

    fn plan(&self, runtime: &str, files: &Files) -> io::Result<Plan> {
        let (interpreter, _) = self.choose(runtime).ok_or(io::ErrorKind::NotFound)?;
        let [prefix, standard, compiled] = interpreter.details.as_slice() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (prefix, standard) = (Path::new(prefix), Path::new(standard));
        let minor = interpreter.version.minor;
        let mut objects = vec![interpreter.executable.clone()];
        let modules = if compiled.is_empty() { standard.join("lib-dynload") } else { compiled.into() };
        if let Ok(entries) = fs::read_dir(modules) {
            let mut modules: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            modules.retain(|path| path.extension().is_some_and(|extension| extension == "so"));
            modules.sort();
            objects.extend(modules);
        }
        let mut template = files.system(&format!("python3.{minor}"), &objects)?;
        let program = format!("/var/lang/bin/python3.{minor}");
        if prefix == Path::new("/usr") || !interpreter.executable.starts_with(prefix) {
            // The system's own: its prefix holds everything else, too.
            template.binds.push(Attachment::new(&interpreter.executable, &program));
            template.binds.push(Attachment::new(standard, format!("/var/lang/lib/python3.{minor}")));
            // Scripts of functions and layers ask for it by these names.
            for name in ["python3", "python"] {
                let inside = Path::new("/var/lang/bin").join(name);
                template.links.push(TemplateLink { inside, target: (&program).into() });
            }
        } else {
            template.binds.push(Attachment::new(prefix, "/var/lang"));
            let packages = format!("lib/python3.{minor}/site-packages");
            if prefix.join(&packages).is_dir() {
                // What the host's users installed is none of the function's business.
                template.binds.push(Attachment::new(&files.empty, Path::new("/var/lang").join(packages)));
            }
        }
        let program = if prefix == Path::new("/usr") || !interpreter.executable.starts_with(prefix) {
            program
        } else {
            let inside = interpreter.executable.strip_prefix(prefix).map_err(io::Error::other)?;
            format!("/var/lang/{}", inside.display())
        };
        let (boot, main) = self.boot(interpreter, files)?;
        template.binds.push(Attachment::new(boot, "/var/runtime"));
        // As that of the package, for zygotes.
        template.folders.push("/opt/lib".into());
        if let Some(library) = &files.library {
            template.binds.push(Attachment::new(library, "/var/runtime/site-packages"));
        }
        Ok(Plan {
            template,
            bytecode: Some(crate::bytecode::compiler(&program, interpreter.version)),
            forking: Some(Forking {
                argv: vec![program.clone().into(), "-S".into(), ZYGOTE_INSIDE.into()],
                watched: vec![interpreter.executable.clone(), standard.join("os.py")],
                layer_folders: vec![
                    "python".into(),
                    format!("python/lib/python3.{minor}/site-packages").into(),
                ],
                acts_at_start,
            }),
            argv: vec![program.into(), "-S".into(), main.into()],
            memory_argument: None,
            jvm: None,
            waiting: Some(Waiting::Booted { acts_at_start }),
            variables: vec![("PYTHONPATH", "/var/runtime/site-packages:/var/runtime".to_owned())],
            frames: true,
            managed: true,
            version: format!("python:{}", interpreter.version),
        })
    }

    fn library(&self, runtime: &str) -> Option<Library> {
        let (interpreter, _) = self.choose(runtime)?;
        // The last release of boto3 for each version of the language.
        let boto3 = match interpreter.version.minor {
            ..=8 => "1.37.38",
            9 => "1.42.97",
            10.. => "1.44.5",
        };
        Some(Library {
            name: format!("python-boto3-{boto3}"),
            what: format!("boto3 {boto3}"),
            command: vec![
                interpreter.executable.clone().into(),
                "-m".into(),
                "pip".into(),
                "install".into(),
                "--quiet".into(),
                "--disable-pip-version-check".into(),
                "--no-input".into(),
                "--no-cache-dir".into(),
                "--retries=2".into(),
                "--timeout=20".into(),
                "--target=.".into(),
                format!("boto3=={boto3}").into(),
            ],
            files: Vec::new(),
            result: PathBuf::from("."),
            // Bytecode of the other versions that share the folder: it is read-only for functions.
            after: self
                .interpreters
                .iter()
                .filter(|one| {
                    one.version.minor >= 10 && interpreter.version.minor >= 10 && *one != interpreter
                })
                .map(|one| {
                    let program = one.executable.clone().into();
                    vec![program, "-m".into(), "compileall".into(), "-q".into(), ".".into()]
                })
                .collect(),
        })
    }
}

impl Python {
    /// The boot program's folder, and its path inside. It is compiled ahead: it would cost milliseconds at every start.
    fn boot(&self, interpreter: &Interpreter, files: &Files) -> io::Result<(PathBuf, String)> {
        let parts = [BOOT.as_bytes(), ZYGOTE.as_bytes(), HOOKS.as_bytes(), LIBRARY];
        let name = format!("python-{}-{}", interpreter.version, digest(&parts.concat()));
        let folder = files.write_boot(&name, "bootstrap.py", BOOT.as_bytes(), "site-packages")?;
        files.write_boot(&name, "snapshot_restore_py.py", HOOKS.as_bytes(), "site-packages")?;
        files.write_boot(&name, "zygote.py", ZYGOTE.as_bytes(), "site-packages")?;
        files.write_boot(&name, "libneap.so", LIBRARY, "site-packages")?;
        // For what waits to load.
        files.write_boot(&name, "empty.py", b"", "site-packages")?;
        let compiled = folder.join("bootstrap.pyc");
        if !compiled.is_file() {
            let compile = "import py_compile, sys\npy_compile.compile(sys.argv[1], sys.argv[2], '/var/runtime/bootstrap.py', \
                           True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";
            let new = folder.join(format!(".bootstrap.{}.pyc", std::process::id()));
            let mut command = Command::new(&interpreter.executable);
            command.args(["-I", "-c", compile]).arg(folder.join("bootstrap.py")).arg(&new);
            match run(&mut command, Duration::from_secs(20)) {
                Ok(_) => fs::rename(new, &compiled)?,
                Err(error) => {
                    tracing::warn!(%error, "the Python boot program could not be compiled; starts take longer");
                    return Ok((folder, "/var/runtime/bootstrap.py".to_owned()));
                }
            }
        }
        Ok((folder, "/var/runtime/bootstrap.pyc".to_owned()))
    }
}

/// Variables that act when the interpreter starts.
fn acts_at_start(name: &str) -> bool {
    name.starts_with("PYTHON") || zygotes::acts_at_start(name)
}

fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
