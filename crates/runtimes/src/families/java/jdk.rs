//! JDKs on this host. They are read, not run: each describes itself in a file.

use crate::host::Version;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The oldest version that the boot program is written for.
const OLDEST: u32 = 17;
/// Libraries that draw on screens: inside is none, and they need many others.
const GRAPHICAL: [&str; 3] = ["libawt_xawt.so", "libjawt.so", "libsplashscreen.so"];

/// An installed JDK or JRE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jdk {
    pub(super) home: PathBuf,
    pub(super) version: Version,
    /// Whether it can compile the boot program.
    pub(super) has_compiler: bool,
    /// Changes whenever the installation does.
    pub(super) identity: String,
}

/// Those whose `bin` is in `search`, or to which a `java` there leads: oldest first, the newest patch of each version, one
/// with a compiler before one without.
pub(super) fn find(search: &[PathBuf]) -> Vec<Jdk> {
    let mut homes: Vec<PathBuf> = Vec::new();
    for folder in search {
        let Ok(program) = folder.join("java").canonicalize() else { continue };
        if let Some(home) = program.parent().and_then(Path::parent)
            && !homes.iter().any(|known| known == home)
        {
            homes.push(home.to_path_buf());
        }
    }
    let mut found: Vec<Jdk> = homes.iter().filter_map(|home| read(home)).collect();
    found.retain(|jdk| jdk.version.major >= OLDEST);
    // The sort is stable: of equals, the first in the search path comes last, and is kept.
    found.reverse();
    found.sort_by_key(|jdk| (jdk.version.major, jdk.has_compiler, jdk.version));
    let mut kept: Vec<Jdk> = Vec::new();
    for jdk in found {
        match kept.last_mut() {
            Some(last) if last.version.major == jdk.version.major => *last = jdk,
            Some(_) | None => kept.push(jdk),
        }
    }
    kept
}

/// What the file `release` of a home says.
fn read(home: &Path) -> Option<Jdk> {
    let text = fs::read_to_string(home.join("release")).ok()?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim().trim_matches('"'))
    };
    let machine = fs::metadata(home.join("lib/server/libjvm.so")).ok()?;
    Some(Jdk {
        home: home.to_path_buf(),
        version: version(value("JAVA_VERSION")?)?,
        has_compiler: value("MODULES")?.split_ascii_whitespace().any(|module| module == "jdk.compiler"),
        identity: format!("{}\n{text}\n{} {}", home.display(), machine.len(), machine.mtime()),
    })
}

/// `17.0.15`, `25`, `21.0.2.1`.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some(Version {
        major: parts.next()??,
        minor: parts.next().flatten().unwrap_or(0),
        patch: parts.next().flatten().unwrap_or(0),
    })
}

impl Jdk {
    /// Its programs and libraries, of which the root must hold what they need.
    pub(super) fn objects(&self) -> Vec<PathBuf> {
        let mut objects = vec![self.home.join("bin/java"), self.home.join("lib/jspawnhelper")];
        for folder in ["lib", "lib/server"] {
            let Ok(entries) = fs::read_dir(self.home.join(folder)) else { continue };
            objects.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                name.ends_with(".so") && !GRAPHICAL.contains(&name)
            }));
        }
        objects.retain(|path| path.is_file());
        objects.sort();
        objects
    }

    /// Folders of `/etc` that it links to.
    pub(super) fn settings(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for folder in ["lib", "lib/security", "conf", "conf/security", "conf/management"] {
            let Ok(entries) = fs::read_dir(self.home.join(folder)) else { continue };
            for entry in entries.filter_map(Result::ok) {
                let Ok(target) = fs::read_link(entry.path()) else { continue };
                // Only own folders: `/etc/ssl` is everybody's and made for functions, see `root.rs`.
                let own = target.strip_prefix("/etc").ok().and_then(|rest| rest.components().next());
                if let Some(own) = own
                    && own.as_os_str().to_string_lossy().contains("java")
                    && Path::new("/etc").join(own).is_dir()
                {
                    folders.insert(Path::new("/etc").join(own));
                }
            }
        }
        folders
    }

    /// The file of trusted authorities, if it is outside of the home and of [`Jdk::settings`].
    pub(super) fn foreign_authorities(&self) -> Option<PathBuf> {
        let real = self.home.join("lib/security/cacerts").canonicalize().ok()?;
        let shown =
            real.starts_with(&self.home) || self.settings().iter().any(|shown| real.starts_with(shown));
        (real.is_file() && !shown).then_some(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn install(root: &Path, name: &str, version: &str, modules: &str) -> PathBuf {
        let home = root.join(name);
        fs::create_dir_all(home.join("bin")).unwrap();
        fs::create_dir_all(home.join("lib/server")).unwrap();
        fs::write(home.join("bin/java"), "").unwrap();
        fs::write(home.join("lib/server/libjvm.so"), "").unwrap();
        let text = format!("IMPLEMENTOR=\"X\"\nJAVA_VERSION=\"{version}\"\nMODULES=\"{modules}\"\n");
        fs::write(home.join("release"), text).unwrap();
        home.join("bin")
    }

    #[test]
    fn installations_are_found_by_what_they_say_of_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let whole = "java.base jdk.compiler";
        let old = install(&root, "old", "11.0.2", whole);
        let first = install(&root, "first", "17.0.2", whole);
        let newer = install(&root, "newer", "17.0.9", "java.base");
        let early = install(&root, "early", "26", whole);
        fs::create_dir(root.join("bin")).unwrap();
        symlink(first.join("java"), root.join("bin/java")).unwrap();
        let found = find(&[root.join("bin"), old, newer, early, root.join("none"), first]);
        let homes: Vec<_> = found.iter().map(|jdk| jdk.home.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(homes, ["first", "early"]);
        assert_eq!(found[1].version, Version { major: 26, minor: 0, patch: 0 });
        assert!(found[0].has_compiler);
    }

    #[test]
    fn a_folder_that_says_nothing_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let bin = install(folder.path(), "one", "x", "java.base");
        assert_eq!(find(&[bin]), []);
    }
}
