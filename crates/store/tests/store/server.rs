//! A PostgreSQL server for one test: made by `initdb` in a folder of its own, reached through a socket in it, ended with
//! the value.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    owner: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Server {
    /// Makes and starts a server, or says why this machine cannot.
    pub(crate) fn start() -> Result<Server, String> {
        let binaries =
            binaries().ok_or("initdb and postgres are neither on PATH nor in /usr/lib/postgresql")?;
        // Sockets have short names only.
        let folder =
            tempfile::Builder::new().prefix("neap-pg").tempdir_in("/tmp").map_err(|e| e.to_string())?;
        let root = std::fs::metadata("/proc/self").map_err(|e| e.to_string())?.uid() == 0;
        let owner =
            if root { Some(unprivileged().ok_or("neither user postgres nor nobody exists")?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).map_err(|e| e.to_string())?;
        }
        let mut server = Server { folder, binaries, owner, child: None };
        // A collation that differs from the order of bytes, where this build has it.
        let collations: [&[&str]; 2] = [&["--locale-provider=icu", "--icu-locale=en"], &["--no-locale"]];
        let mut last = String::new();
        for collation in collations {
            let _ = std::fs::remove_dir_all(server.data());
            let output = server
                .command("initdb")
                .args(["-A", "trust", "-U", "neap", "-E", "UTF8", "--no-sync", "-D"])
                .arg(server.data())
                .args(collation)
                .output()
                .map_err(|e| e.to_string())?;
            if output.status.success() {
                server.run();
                return Ok(server);
            }
            last = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("initdb failed: {last}");
    }

    /// Starts the server on its existing data and waits until it answers.
    pub(crate) fn run(&mut self) {
        let socket = format!("unix_socket_directories={}", self.folder.path().display());
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=", "-c", &socket, "-c", "fsync=off", "-c", "max_connections=300"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = postgres::Client::connect(&self.url(), postgres::NoTls) {
            if Instant::now() > deadline || self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL does not answer: {error}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How to reach it.
    pub(crate) fn url(&self) -> String {
        format!("host={} user=neap dbname=postgres", self.folder.path().display())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command as the server's owner, which dies with this thread's process where `setpriv` is there.
    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        let mut command = if Path::new("/usr/bin/setpriv").exists() {
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command.current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// User and group under which the server runs when the tests run as root, which it refuses.
fn unprivileged() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
