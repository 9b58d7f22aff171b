//! What the tests of sandboxes share: a node, a root with the host's shell and Python, running a script to its end.
#![allow(dead_code)] // each test program uses a part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // this is test code, in functions that are not tests

use base::MemoryMib;
use sandbox::{Attachment, Exited, Sandbox, Sandboxes, Settings, Spec, Template, TemplateLink, TemplateSpec};
use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};
use tokio::io::AsyncReadExt;

/// Ends a test that this host cannot run, saying so.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::support::is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
    };
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A node of this test alone.
pub(crate) fn node() -> Sandboxes {
    Sandboxes::start(settings()).expect("sandboxes start")
}

pub(crate) fn settings() -> Settings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let instance = format!("test{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // Each test process has its own uids, so that tests that run at once cannot meet.
    let first = 1_000_000 + std::process::id() * 256;
    Settings { uids: first..first + 256, prepared: 2, daemon_cpu_weight: None, ..Settings::new(instance) }
}

/// Where the host's Python is: its executable, and the folder that it needs besides `/usr`.
pub(crate) fn python() -> (PathBuf, PathBuf) {
    let output = std::process::Command::new("python3")
        .args(["-c", "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)"])
        .output()
        .expect("the tests use python3");
    let text = String::from_utf8(output.stdout).expect("paths in UTF-8");
    let mut lines = text.lines();
    (lines.next().expect("executable").into(), lines.next().expect("prefix").into())
}

/// The host's `/usr` and Python.
pub(crate) fn root() -> TemplateSpec {
    let (_, prefix) = python();
    let mut spec = TemplateSpec { name: "test".into(), ..TemplateSpec::default() };
    spec.binds.push(Attachment::same("/usr"));
    for name in ["/bin", "/lib", "/lib64"] {
        if Path::new(name).is_symlink() {
            spec.links.push(TemplateLink { inside: name.into(), target: std::fs::read_link(name).unwrap() });
        } else if Path::new(name).exists() {
            spec.binds.push(Attachment::same(name));
        }
    }
    if !prefix.starts_with("/usr") {
        spec.binds.push(Attachment::same(prefix));
    }
    for name in ["/etc/ld.so.cache", "/etc/alternatives"] {
        if Path::new(name).exists() {
            spec.binds.push(Attachment::same(name));
        }
    }
    spec
}

pub(crate) fn shell(template: &Template, script: &str) -> Spec {
    let mut spec = Spec::new(template.clone(), ["/bin/sh", "-c", script].map(OsString::from).to_vec());
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    spec
}

pub(crate) fn python_program(template: &Template, script: &str) -> Spec {
    let (executable, _) = python();
    let argv = vec![executable.into(), "-I".into(), "-S".into(), "-c".into(), script.into()];
    let mut spec = Spec::new(template.clone(), argv);
    spec.memory = MemoryMib(256);
    spec
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exited: Exited,
}

impl Ended {
    /// Standard output of a program that succeeded.
    #[track_caller]
    pub(crate) fn output(&self) -> &str {
        assert_eq!(self.exited.exit, sandbox::Exit::Code(0), "{self:?}");
        self.stdout.trim_end()
    }
}

pub(crate) async fn read_all(pipe: OwnedFd) -> String {
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe).expect("a pipe");
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.expect("read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the end of a program, and of everything it left.
pub(crate) async fn finish(mut sandbox: Sandbox) -> Ended {
    let (stdout, stderr) = (sandbox.take_stdout().unwrap(), sandbox.take_stderr().unwrap());
    let (stdout, stderr, exited) = tokio::join!(read_all(stdout), read_all(stderr), sandbox.exited());
    sandbox.kill().await;
    Ended { stdout, stderr, exited }
}

pub(crate) async fn run(node: &Sandboxes, spec: Spec) -> Ended {
    finish(node.spawn(spec).await.expect("spawn")).await
}

/// Lines of a program's output, as they come.
pub(crate) struct Lines(tokio::io::Lines<tokio::io::BufReader<tokio::net::unix::pipe::Receiver>>);

impl Lines {
    pub(crate) fn new(pipe: OwnedFd) -> Lines {
        use tokio::io::AsyncBufReadExt;
        let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe).expect("a pipe");
        Lines(tokio::io::BufReader::new(pipe).lines())
    }

    pub(crate) async fn next(&mut self) -> String {
        self.0.next_line().await.expect("read").expect("a line")
    }
}

/// Processes on the host with this real uid, those that have ended not counted.
pub(crate) fn processes_of(uid: u32) -> usize {
    let has_uid = |status: String| {
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        line("Uid:").split('\t').next() == Some(&uid.to_string()) && !line("State:").starts_with('Z')
    };
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|s| has_uid(s.clone()))
        .count()
}

/// Waits for a condition of the host that has no event to wait for.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("after 10 s still not: {what}");
}
