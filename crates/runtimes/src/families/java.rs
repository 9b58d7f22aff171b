//! `java17` and newer: JDKs of the host with our boot program, which is compiled once for each of them.

mod build;
mod jdk;

use super::{Family, Files, Plan, Waiting, newer_serves, unavailable};
use crate::{
    jvm::{ARCHIVE, Jvm},
    libraries::Library,
    zygotes,
};
use base::{RuntimeRefused, RuntimeSupport};
use jdk::Jdk;
use sandbox::Attachment;
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

pub use build::SOURCES;

/// The JDK inside.
const HOME: &str = "/var/lang";
const PROGRAM: &str = "/var/lang/bin/java";
/// Authorities that the JDK trusts, where its own file of them is elsewhere on the host.
const AUTHORITIES: &str = "/etc/java/cacerts";

/// The JDKs where nodes look by default, oldest first: version, and whether functions run on it (it has a compiler).
pub fn versions() -> Vec<(String, bool)> {
    let found = jdk::find(&crate::Settings::search_path());
    found.into_iter().map(|jdk| (jdk.version.to_string(), jdk.has_compiler)).collect()
}

pub(super) struct Java {
    /// Oldest first, one per version.
    jdks: Vec<Jdk>,
    /// Held while the boot program is compiled.
    building: Mutex<()>,
}

impl Java {
    pub(super) fn find(search: &[PathBuf]) -> Java {
        Java { jdks: jdk::find(search), building: Mutex::new(()) }
    }

    /// The JDK of the named version, or else of the next newer one.
    fn choose(&self, runtime: &str) -> Option<(&Jdk, bool)> {
        let major: u32 = runtime.strip_prefix("java")?.parse().ok()?;
        let chosen = self.jdks.iter().find(|one| one.version.major >= major && one.has_compiler)?;
        Some((chosen, chosen.version.major == major))
    }

    /// Why [`Java::choose`] found none.
    fn missing(&self, runtime: &str) -> String {
        let major: u32 =
            runtime.strip_prefix("java").and_then(|major| major.parse().ok()).unwrap_or(u32::MAX);
        let bare = self.jdks.iter().find(|one| one.version.major >= major);
        match (bare, self.jdks.last()) {
            (Some(bare), _) => format!(
                "Java {} in {} has no compiler (the module jdk.compiler); install a JDK of this version or a newer one \
                 and restart",
                bare.version,
                bare.home.display()
            ),
            (None, Some(newest)) => format!(
                "the newest Java found is {}; install a JDK of this version or a newer one and restart",
                newest.version
            ),
            (None, None) => {
                "no Java was found; install a JDK of this version or a newer one and restart".to_owned()
            }
        }
    }
}

impl Family for Java {
    fn identifiers(&self) -> &'static [&'static str] {
        &["java17", "java21", "java25"]
    }

    fn check(&self, runtime: &str, _architecture: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        let (chosen, exact) =
            self.choose(runtime).ok_or_else(|| unavailable(runtime, self.missing(runtime)))?;
        let actual = format!("Java {}", chosen.version);
        Ok(RuntimeSupport { warning: (!exact).then(|| newer_serves(runtime, &actual)), actual })
    }

    fn build(&self, runtime: &str, boot: &Path) -> io::Result<()> {
        let (jdk, _) = self.choose(runtime).ok_or(io::ErrorKind::NotFound)?;
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        build::boot_program(jdk, boot).map(drop)
    }

    fn plan(&self, runtime: &str, files: &Files) -> io::Result<Plan> {
        let (jdk, _) = self.choose(runtime).ok_or(io::ErrorKind::NotFound)?;
        let boot = build::boot_program(jdk, &files.boot)?;
        let name = format!("java{}", jdk.version.major);
        let mut template = files.system_with(&name, &jdk.objects(), Some(&jdk.home), &[])?;
        template.binds.push(Attachment::new(&jdk.home, HOME));
        // Distributions keep what administrators may change beneath /etc.
        template.binds.extend(jdk.settings().into_iter().map(Attachment::same));
        let authorities = jdk.foreign_authorities();
        template.binds.extend(authorities.iter().map(|file| Attachment::new(file, AUTHORITIES)));
        template.binds.push(Attachment::new(&boot, "/var/runtime"));
        let inside = format!("/var/runtime/{}", build::JAR);
        let jvm = Jvm {
            program: PROGRAM.into(),
            archive: boot.join(ARCHIVE),
            trust_store: authorities.is_some().then_some(AUTHORITIES),
        };
        let mut argv: Vec<OsString> = vec![
            PROGRAM.into(),
            // How the boot program gets at the channel. Classes of the function could use it as well, to no use: they
            // may open any file or socket that it could.
            "--add-exports=java.base/jdk.internal.access=ALL-UNNAMED".into(),
        ];
        if jdk.version.major >= 24 {
            // It would warn of the library that cells load, and of those of functions, which nothing keeps them from.
            argv.push("--enable-native-access=ALL-UNNAMED".into());
        }
        argv.extend(["-cp".into(), inside.into(), "neap.boot.Main".into()]);
        Ok(Plan {
            template,
            argv,
            memory_argument: None,
            // Where the host's C library has the one locale that functions find: texts and names of files are UTF-8.
            variables: vec![("LC_ALL", "C.UTF-8".to_owned())],
            frames: true,
            managed: true,
            bytecode: None,
            jvm: Some(jvm),
            waiting: Some(Waiting::Booted { acts_at_start }),
            forking: None,
            version: format!("java:{}", jdk.version),
        })
    }

    fn library(&self, _runtime: &str) -> Option<Library> {
        None
    }
}

/// Variables that the launcher, the machine or the C library reads when a process starts. Source: java(1).
fn acts_at_start(name: &str) -> bool {
    ["JAVA_", "_JAVA_", "JDK_"].iter().any(|prefix| name.starts_with(prefix)) || zygotes::acts_at_start(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn java(found: &[(u32, bool)]) -> Java {
        let jdks = found
            .iter()
            .map(|&(major, has_compiler)| Jdk {
                home: format!("/jdk{major}").into(),
                version: crate::host::Version { major, minor: 0, patch: 1 },
                has_compiler,
                identity: String::new(),
            })
            .collect();
        Java { jdks, building: Mutex::new(()) }
    }

    fn refusal(java: &Java, runtime: &str) -> String {
        java.check(runtime, "x86_64").unwrap_err().to_string()
    }

    #[test]
    fn the_named_version_serves_or_else_the_next_newer_one_with_a_compiler() {
        let java = java(&[(17, true), (21, false), (25, true)]);
        let check = |runtime| java.check(runtime, "x86_64").unwrap();
        assert_eq!(check("java17"), RuntimeSupport { warning: None, actual: "Java 17.0.1".into() });
        let instead = check("java21");
        assert_eq!(instead.actual, "Java 25.0.1");
        assert!(instead.warning.is_some());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(refusal(&java(&[]), "java17").contains("no Java was found"));
        assert!(refusal(&java(&[(17, true)]), "java21").contains("the newest Java found is 17.0.1"));
        let bare = refusal(&java(&[(17, true), (21, false)]), "java21");
        assert!(bare.contains("Java 21.0.1 in /jdk21 has no compiler"), "{bare}");
    }
}
