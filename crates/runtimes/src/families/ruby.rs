//! `ruby3.*`: interpreters of the host with our boot program.

use super::{Family, Files, Plan, newer_serves, unavailable};
use crate::{
    host::{Interpreter, Prober, Version, newest_of_each},
    libraries::Library,
};
use base::{RuntimeRefused, RuntimeSupport};
use sandbox::{Attachment, TemplateLink};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const BOOT: &str = include_str!("../../boot/ruby/bootstrap.rb");
/// Prints the version, the name of versions with the same binary interface, the folder of the language's own gems, and
/// where libraries are, but for what the host's administrator has added.
const PROBE: &str = "require 'rubygems'
puts RUBY_VERSION, RbConfig::CONFIG['ruby_version'], File.expand_path('../..', Gem.default_specifications_dir)
site = RbConfig::CONFIG['sitedir'].to_s
puts $LOAD_PATH.reject { |folder| folder == site || folder.start_with?(site + '/') || folder.include?('site_ruby') }";
/// A version that hosts have and Lambda has not.
const OWN: &str = "ruby3.1";

pub(super) struct Ruby {
    /// Oldest first, one per minor version.
    interpreters: Vec<Interpreter>,
}

impl Ruby {
    pub(super) fn find(prober: &mut Prober, search: &[PathBuf]) -> Ruby {
        let wanted = |name: &str| {
            name.strip_prefix("ruby")
                .is_some_and(|rest| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()))
        };
        let mut found = prober.find(search, wanted, &["-W0", "-e", PROBE]);
        found.retain(|one| one.details.len() > 2 && minor(&one.version) >= (3, 1));
        Ruby { interpreters: newest_of_each(found, |a, b| minor(a) == minor(b)) }
    }

    /// The interpreter of the named version, or else of the next newer one.
    fn choose(&self, runtime: &str) -> Option<(&Interpreter, bool)> {
        let (major, rest) = runtime.strip_prefix("ruby")?.split_once('.')?;
        let asked = (major.parse().ok()?, rest.parse().ok()?);
        let chosen = self.interpreters.iter().find(|one| minor(&one.version) >= asked)?;
        Some((chosen, minor(&chosen.version) == asked))
    }
}

fn minor(version: &Version) -> (u32, u32) {
    (version.major, version.minor)
}

impl Family for Ruby {
    fn identifiers(&self) -> &'static [&'static str] {
        &[OWN, "ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0"]
    }

    fn check(&self, runtime: &str, _architecture: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        let Some((chosen, exact)) = self.choose(runtime) else {
            let newest = self.interpreters.last().map_or_else(
                || "no Ruby was found".to_owned(),
                |newest| format!("the newest Ruby found is {}", newest.version),
            );
            return Err(unavailable(
                runtime,
                format!("{newest}; install this version or a newer one and restart"),
            ));
        };
        let actual = format!("Ruby {}", chosen.version);
        let warning = if exact {
            (runtime == OWN).then(|| format!("Lambda has no runtime {OWN}: this function runs on Neap only"))
        } else {
            Some(newer_serves(runtime, &actual))
        };
        Ok(RuntimeSupport { warning, actual })
    }

    fn plan(&self, runtime: &str, files: &Files) -> io::Result<Plan> {
        let (interpreter, _) = self.choose(runtime).ok_or(io::ErrorKind::NotFound)?;
        let [interface, gems, libraries @ ..] = interpreter.details.as_slice() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let folders = outermost(libraries.iter().chain([gems]).map(PathBuf::from));
        let mut objects = vec![interpreter.executable.clone()];
        for folder in &folders {
            extensions(folder, &mut objects)?;
        }
        let version = minor(&interpreter.version);
        let name = format!("ruby{}.{}", version.0, version.1);
        let mut template = files.system_with(&name, &objects, None, &folders)?;
        // Ruby has the paths of its libraries compiled in.
        template.binds.extend(folders.iter().map(Attachment::same));
        let usual = PathBuf::from("/var/lang/bin/ruby");
        let program = if interpreter.executable.starts_with("/usr") {
            template.binds.push(Attachment::new(&interpreter.executable, &usual));
            usual
        } else {
            // Some find them by where they are themselves.
            let own = interpreter.executable.clone();
            template.binds.push(Attachment::same(&own));
            template.links.push(TemplateLink { inside: usual, target: own.clone() });
            own
        };
        let boot = files.write_boot(&boot_name(), "bootstrap.rb", BOOT.as_bytes(), "lib")?;
        template.binds.push(Attachment::new(boot, "/var/runtime"));
        Ok(Plan {
            template,
            argv: vec![
                program.into(),
                "--disable=gems".into(),
                // The locale that Lambda names is not there.
                "--encoding=UTF-8".into(),
                "/var/runtime/bootstrap.rb".into(),
                gems.into(),
            ],
            memory_argument: None,
            variables: vec![
                ("GEM_HOME", "/var/runtime".to_owned()),
                ("GEM_PATH", gem_path(runtime, interface, gems)),
                ("RUBYLIB", "/var/task:/var/runtime/lib:/opt/ruby/lib".to_owned()),
            ],
            frames: true,
            bytecode: None,
            jvm: None,
            waiting: None,
            forking: None,
            managed: true,
            version: format!("ruby:{}", interpreter.version),
        })
    }

    fn library(&self, _runtime: &str) -> Option<Library> {
        None
    }
}

/// Where gems are looked for: the package's, those of layers, the language's own. Pure ones that were installed for the
/// named version also serve a newer one.
fn gem_path(runtime: &str, interface: &str, own: &str) -> String {
    let asked = format!("{}.0", runtime.trim_start_matches("ruby"));
    let mut versions = vec![interface];
    if asked != interface {
        versions.push(&asked);
    }
    let task = versions.iter().map(|version| format!("/var/task/vendor/bundle/ruby/{version}"));
    let layers = versions.iter().map(|version| format!("/opt/ruby/gems/{version}"));
    task.chain(layers).chain([own.to_owned()]).collect::<Vec<_>>().join(":")
}

/// Those of `folders` that exist, without what lies beneath another.
fn outermost(folders: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut sorted: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
    sorted.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for folder in sorted {
        if !kept.iter().any(|one| folder.starts_with(one)) {
            kept.push(folder);
        }
    }
    kept
}

/// Appends the compiled extensions beneath `folder`.
fn extensions(folder: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            extensions(&path, out)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "so") {
            out.push(path);
        }
    }
    Ok(())
}

fn boot_name() -> String {
    use sha2::{Digest, Sha256};
    let digest: String =
        Sha256::digest(BOOT.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("ruby-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gems_of_the_package_come_before_layers_and_the_language() {
        assert_eq!(
            gem_path("ruby3.3", "3.3.0", "/lib/gems"),
            "/var/task/vendor/bundle/ruby/3.3.0:/opt/ruby/gems/3.3.0:/lib/gems"
        );
        assert!(gem_path("ruby3.2", "3.4.0", "/g").starts_with(
            "/var/task/vendor/bundle/ruby/3.4.0:/var/task/vendor/bundle/ruby/3.2.0:/opt/ruby/gems/3.4.0:"
        ));
    }

    #[test]
    fn folders_inside_others_are_mounted_once() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["ruby/3.1.0/x86", "gems"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let paths = ["ruby/3.1.0/x86", "gems", "absent", "ruby/3.1.0"].map(|name| root.path().join(name));
        let kept = outermost(paths.into_iter());
        assert_eq!(kept, ["gems", "ruby/3.1.0"].map(|name| root.path().join(name)));
    }

    #[test]
    fn the_version_named_or_the_next_newer_one_serves() {
        let one = |text: &str| Interpreter {
            executable: "/r".into(),
            version: text.parse().unwrap(),
            details: Vec::new(),
        };
        let ruby = Ruby { interpreters: vec![one("3.1.2"), one("3.3.9"), one("4.0.0")] };
        let chosen = |runtime: &str| ruby.check(runtime, "x86_64").map(|support| support.actual);
        assert_eq!(chosen("ruby3.2").unwrap(), "Ruby 3.3.9");
        assert_eq!(chosen("ruby3.3").unwrap(), "Ruby 3.3.9");
        assert_eq!(chosen("ruby3.4").unwrap(), "Ruby 4.0.0");
        assert!(ruby.check("ruby3.2", "x86_64").unwrap().warning.unwrap().contains("serves it"));
        assert!(ruby.check("ruby3.3", "x86_64").unwrap().warning.is_none());
        assert!(ruby.check(OWN, "x86_64").unwrap().warning.unwrap().contains("Neap only"));
        let old = Ruby { interpreters: vec![one("3.1.2")] };
        let refused = old.check("ruby3.2", "x86_64").unwrap_err().to_string();
        assert!(refused.contains("the newest Ruby found is 3.1.2"), "{refused}");
    }
}
