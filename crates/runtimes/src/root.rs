//! The system part of a root: the few programs and libraries of the host that functions find inside.
//!
//! They are copied into one folder per combination, since each mount costs at every start, and the folder is shown
//! read-only. It is rebuilt when one of the host's files changes.

use crate::host;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Programs that Lambda's environments have and that scripts count on; those that the host lacks are left out.
const TOOLS: [&str; 58] = [
    "sh",
    "bash",
    "env",
    "cat",
    "ls",
    "cp",
    "mv",
    "rm",
    "mkdir",
    "rmdir",
    "ln",
    "chmod",
    "touch",
    "echo",
    "printf",
    "date",
    "sleep",
    "head",
    "tail",
    "sort",
    "uniq",
    "wc",
    "cut",
    "tr",
    "tee",
    "true",
    "false",
    "test",
    "expr",
    "seq",
    "df",
    "du",
    "id",
    "whoami",
    "uname",
    "hostname",
    "dirname",
    "basename",
    "readlink",
    "realpath",
    "mktemp",
    "stat",
    "md5sum",
    "sha256sum",
    "base64",
    "timeout",
    "nproc",
    "grep",
    "sed",
    "awk",
    "find",
    "xargs",
    "tar",
    "gzip",
    "gunzip",
    "kill",
    "ps",
    "curl",
];

/// Libraries of the C library, and the one for unwinding, which every program needs. They are found in `/usr/lib64` too, by the
/// first folders of [`crate::variables::LIBRARY_PATH`], as on Lambda: where a distribution has them elsewhere the dynamic
/// linker would first look through all its folders, some 200 times, at every start. A package's own do not take their place, as
/// there: the C library's belong to the loader.
const FIRST: [&str; 8] = [
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];

/// Libraries that compiled packages of the languages count on, besides what programs name themselves.
const LIBRARIES: [&str; 20] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libanl.so.1",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libcrypt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libgomp.so.1",
    "libz.so.1",
    "libexpat.so.1",
    "libssl.so.3",
    "libcrypto.so.3",
    "libatomic.so.1",
    "libnsl.so.1",
];

/// Where hosts keep the certificates of authorities.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Time zones; shown from the host rather than copied: they are thousands of files.
pub(crate) const ZONES: &str = "/usr/share/zoneinfo";

/// A file of the host and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Copy {
    host: PathBuf,
    inside: PathBuf,
    size: u64,
    modified: i64,
}

impl Copy {
    fn of(host: &Path, inside: PathBuf) -> io::Result<Copy> {
        let data = fs::metadata(host)?;
        Ok(Copy { host: host.to_path_buf(), inside, size: data.len(), modified: data.mtime() })
    }

    fn is_current(&self) -> bool {
        Copy::of(&self.host, self.inside.clone()).is_ok_and(|now| now == *self)
    }
}

/// Builds roots beneath one folder.
pub(crate) struct Roots {
    folder: PathBuf,
    next: AtomicU64,
}

impl Roots {
    /// Opens the folder, making it if it is missing, and removes what is half-done.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Roots> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        crate::packages::sweep(&folder)?;
        Ok(Roots { folder, next: AtomicU64::new(0) })
    }

    /// A folder with `usr` and `etc` for what `objects` (programs and libraries) need, without the libraries in `shown`, which
    /// functions see by other means, and empty folders for those of `places` that are beneath `/usr`: nothing can be mounted
    /// where there is none. Blocks; the first time up to a second.
    pub(crate) fn ensure(
        &self,
        objects: &[PathBuf],
        shown: Option<&Path>,
        places: &[PathBuf],
    ) -> io::Result<PathBuf> {
        let tools = tools();
        let mut asked = Sha256::new();
        // Counts changes of what is planned below.
        asked.update("plan 2\n");
        for object in tools.iter().map(|(_, path)| path).chain(objects) {
            let data = fs::metadata(object)?;
            asked.update(format!("{}\0{}\0{}\n", object.display(), data.len(), data.mtime()));
        }
        let plan_file = self.folder.join(format!("{}.json", short(asked)));
        let remembered: Option<Vec<Copy>> =
            fs::read(&plan_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let plan = match remembered {
            Some(plan) if plan.iter().all(Copy::is_current) => plan,
            Some(_) | None => {
                let plan = plan(&tools, objects, shown)?;
                fs::write(&plan_file, serde_json::to_vec(&plan)?)?;
                plan
            }
        };
        self.build(&plan, places)
    }

    fn build(&self, plan: &[Copy], places: &[PathBuf]) -> io::Result<PathBuf> {
        let places: Vec<&Path> = places
            .iter()
            .filter(|path| path.starts_with("/usr"))
            .filter_map(|path| path.strip_prefix("/").ok())
            .collect();
        let mut named = Sha256::new();
        // Counts changes of the layout made below.
        named.update("layout 2\n");
        named.update(serde_json::to_vec(plan)?);
        for place in &places {
            named.update(format!("{}\n", place.display()));
        }
        let target = self.folder.join(short(named));
        if target.is_dir() {
            return Ok(target);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let half = self.folder.join(format!(".half-{}-{number}", std::process::id()));
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o755);
        for folder in
            ["usr/bin", "usr/lib", "usr/lib64", "usr/share/zoneinfo", "etc/ssl/certs", "etc/pki/tls/certs"]
        {
            folders.create(half.join(folder))?;
        }
        for place in places {
            folders.create(half.join(place))?;
        }
        for copy in plan {
            let inside = copy.inside.strip_prefix("/").map_err(io::Error::other)?;
            let path = half.join(inside);
            if let Some(parent) = path.parent() {
                folders.create(parent)?;
            }
            fs::copy(&copy.host, &path)?;
            let executable = fs::metadata(&copy.host)?.mode() & 0o111 != 0;
            fs::set_permissions(&path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        }
        for copy in plan {
            let Some(name) = copy.inside.file_name().filter(|name| FIRST.iter().any(|one| name == one))
            else {
                continue;
            };
            match symlink(&copy.inside, half.join("usr/lib64").join(name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let bundle = "/etc/ssl/certs/ca-certificates.crt";
        symlink(bundle, half.join("etc/ssl/cert.pem"))?;
        symlink(bundle, half.join("etc/pki/tls/certs/ca-bundle.crt"))?;
        folders.create(half.join("usr/lib/ssl"))?;
        symlink("/etc/ssl/certs", half.join("usr/lib/ssl/certs"))?;
        symlink(bundle, half.join("usr/lib/ssl/cert.pem"))?;
        match fs::rename(&half, &target) {
            Ok(()) => Ok(target),
            Err(_) if target.is_dir() => fs::remove_dir_all(&half).map(|()| target),
            Err(error) => Err(error),
        }
    }
}

/// The tools that the host has: name and real file.
fn tools() -> Vec<(&'static str, PathBuf)> {
    TOOLS
        .iter()
        .filter_map(|name| {
            ["/usr/bin", "/bin"].iter().find_map(|folder| {
                let real = Path::new(folder).join(name).canonicalize().ok()?;
                real.is_file().then_some((*name, real))
            })
        })
        .collect()
}

fn plan(tools: &[(&str, PathBuf)], objects: &[PathBuf], shown: Option<&Path>) -> io::Result<Vec<Copy>> {
    let mut places: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for (name, path) in tools {
        places.insert(Path::new("/usr/bin").join(name), path.clone());
    }
    let all: Vec<&PathBuf> = tools.iter().map(|(_, path)| path).chain(objects).collect();
    let mut needed = needed_libraries(&all)?;
    needed.retain(|library| !shown.is_some_and(|shown| library.starts_with(shown)));
    // The C library's own folder is where its loader looks first, whatever the distribution calls it.
    let home = needed
        .iter()
        .find(|path| path.file_name().is_some_and(|name| name == "libc.so.6"))
        .and_then(|path| path.parent())
        .unwrap_or(Path::new("/usr/lib"))
        .to_path_buf();
    let usual = LIBRARIES.iter().map(|name| home.join(name)).filter(|path| path.exists());
    for library in needed.iter().cloned().chain(usual) {
        let usual_place = ["/lib", "/usr/lib"].iter().any(|root| library.starts_with(root))
            || library.starts_with("/lib64");
        let Some(name) = library.file_name() else { continue };
        let inside = if usual_place { beneath_usr(&library) } else { beneath_usr(&home.join(name)) };
        places.insert(inside, library);
    }
    // Its messages have a folder of their own, and without them the C library takes nothing of it.
    for folder in ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.utf8/LC_MESSAGES"] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                places.insert(path.clone(), path);
            }
        }
    }
    if let Some(authorities) = AUTHORITIES.iter().map(PathBuf::from).find(|path| path.is_file()) {
        places.insert("/etc/ssl/certs/ca-certificates.crt".into(), authorities);
    }
    places.into_iter().map(|(inside, host)| Copy::of(&host, inside)).collect()
}

/// `/lib64/x` and `/usr/lib64/x` are one file inside, where `/lib64` is a link to `usr/lib64`.
fn beneath_usr(path: &Path) -> PathBuf {
    if path.starts_with("/usr") {
        return path.to_path_buf();
    }
    Path::new("/usr").join(path.strip_prefix("/").unwrap_or(path))
}

/// Every library that the loader would load for `objects`, and the loader itself, by the host's own `ldd`.
fn needed_libraries(objects: &[&PathBuf]) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for some in objects.chunks(64) {
        // Its status is not zero when one of them is static or a script.
        let text = host::run(
            Command::new("/bin/sh").arg("-c").arg("ldd \"$@\"; exit 0").arg("ldd").args(some),
            Duration::from_secs(30),
        )?;
        found.extend(text.lines().filter_map(library_of));
    }
    Ok(found)
}

/// The path in a line of `ldd`: `name => path (address)` or `path (address)`.
fn library_of(line: &str) -> Option<PathBuf> {
    let (path, _) = line.trim().rsplit_once(" (0x")?;
    let path = path.rsplit_once("=> ").map_or(path, |(_, path)| path);
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let path = |line| library_of(line).map(|path| path.display().to_string());
        assert_eq!(
            path("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)"),
            Some("/lib/x86_64-linux-gnu/libc.so.6".into())
        );
        assert_eq!(
            path("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)"),
            Some("/lib64/ld-linux-x86-64.so.2".into())
        );
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(path("\tlibx.so => not found"), None);
        assert_eq!(path("\tnot a dynamic executable"), None);
    }

    #[test]
    fn a_root_is_built_once_and_holds_a_shell_with_its_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::open(folder.path().join("roots")).unwrap();
        let root = roots.ensure(&[], None, &[]).unwrap();
        assert_eq!(roots.ensure(&[], None, &[]).unwrap(), root);
        let places = ["/usr/lib/language/1.0".into(), "/home/language".into()];
        let other = roots.ensure(&[], None, &places).unwrap();
        assert_ne!(other, root);
        assert!(other.join("usr/lib/language/1.0").is_dir() && !other.join("home").exists());
        assert!(root.join("usr/bin/sh").is_file());
        let mode = fs::metadata(root.join("usr/bin/sh")).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o755);
        assert!(root.join("usr/share/zoneinfo").is_dir());
    }
}
