//! Scratch space on disk: its size, that it is not memory, that it is fresh, and that nothing of it is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

mod support;

use base::MemoryMib;
use sandbox::{Exit, Sandboxes, Scratch, Settings, Spec, Template};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::Stdio,
};
use support::{python_program, root, run, settings, shell, until};

/// Ends a test that this host cannot run, saying so.
macro_rules! need_disk {
    () => {
        need_root!();
        let report = sandbox::doctor();
        let check = report.checks.iter().find(|check| check.name == "scratch-space").unwrap();
        if check.status != sandbox::Status::Ok {
            eprintln!("SKIPPED: {}", check.detail);
            return;
        }
    };
}

fn on_disk(folder: &Path) -> Settings {
    Settings { scratch: Scratch::Disk(folder.to_owned()), ..settings() }
}

/// Images in that folder that loop devices hold.
fn attached(folder: &Path) -> Vec<PathBuf> {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    let backing = devices.filter_map(|device| {
        std::fs::read_to_string(device.path().join("loop/backing_file")).ok().map(PathBuf::from)
    });
    backing.filter(|file| file.starts_with(folder)).collect()
}

fn with_memory(template: &Template, memory: u32, script: &str) -> Spec {
    let mut spec = python_program(template, script);
    spec.memory = MemoryMib(memory);
    spec
}

/// Writes that many megabytes, or until an error.
fn fill(megabytes: u32) -> String {
    format!(
        "
import os
file = os.open('/tmp/big', os.O_CREAT | os.O_WRONLY)
written = 0
try:
    while written < {megabytes} << 20:
        written += os.write(file, b'x' * (1 << 20))
    print('all', written >> 20)
except OSError as error:
    print(error.errno, written >> 20)
"
    )
}

#[tokio::test]
async fn content_is_not_memory_and_ends_at_the_size() {
    need_disk!();
    let folder = tempfile::tempdir().unwrap();
    let node = Sandboxes::start(on_disk(folder.path())).unwrap();
    let template = node.template(root()).await.unwrap();
    let ended = run(&node, with_memory(&template, 128, &fill(300))).await;
    assert_eq!(ended.output(), "all 300");
    assert!(!ended.exited.oom);
    let ended = run(&node, with_memory(&template, 128, &fill(600))).await;
    let (errno, written) = ended.output().split_once(' ').unwrap();
    assert_eq!(errno, "28", "ENOSPC");
    assert!((512..=530).contains(&written.parse::<u32>().unwrap()), "{written} MB");
    // Mapped pages can be written back, too.
    let map = "
import mmap
with open('/tmp/map', 'w+b') as file:
    file.truncate(200 << 20)
    memory = mmap.mmap(file.fileno(), 200 << 20)
    for at in range(0, 200 << 20, 4096):
        memory[at] = 1
print('all')
";
    assert_eq!(run(&node, with_memory(&template, 128, map)).await.output(), "all");
    node.shutdown().await;
}

#[tokio::test]
async fn other_sizes_are_made_when_asked_for() {
    need_disk!();
    let folder = tempfile::tempdir().unwrap();
    let node = Sandboxes::start(on_disk(folder.path())).unwrap();
    let template = node.template(root()).await.unwrap();
    let look = "
import os
stat = os.statvfs('/tmp')
print(stat.f_bavail * stat.f_frsize >> 20, stat.f_favail > 30_000)
";
    for size in [512, 600, 1024, 10_240, 1024] {
        let mut spec = python_program(&template, look);
        spec.scratch = MemoryMib(size);
        let ended = run(&node, spec).await;
        let (free, inodes) = ended.output().split_once(' ').unwrap();
        let free: u32 = free.parse().unwrap();
        assert!((size..=size + size / 25).contains(&free), "{free} of {size} MB");
        assert_eq!(inodes, "True");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn is_fresh_for_every_sandbox() {
    need_disk!();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { live_max: 2, prepared: 1, prepared_max: 1, ..on_disk(folder.path()) };
    let node = Sandboxes::start(settings).unwrap();
    let template = node.template(root()).await.unwrap();
    let look = "
import os
stat = os.stat('/tmp')
print(oct(stat.st_mode), stat.st_uid == stat.st_gid == os.getuid(), os.listdir('/tmp'), os.listxattr('/tmp'), end=' ')
print([line.split()[5] for line in open('/proc/self/mountinfo') if line.split()[4] == '/tmp'])
";
    // What one leaves the next does not see: files, no files any more, attributes, permissions, nothing at all.
    for change in [
        "open('/tmp/secret', 'w').write('x' * 100_000)",
        "os.mkdir('/tmp/folder'); os.rmdir('/tmp/folder')",
        "os.setxattr('/tmp', 'user.secret', b'x')",
        "os.chmod('/tmp', 0o755)",
        "os.utime('/tmp', (1, 1))",
        "os.write(os.open('/tmp', os.O_TMPFILE | os.O_WRONLY), b'x' * 5_000_000)",
        "pass",
        "pass",
        "pass",
    ] {
        let ended = run(&node, python_program(&template, &format!("{look}\n{change}"))).await;
        assert_eq!(ended.output(), "0o40700 True [] [] ['rw,nosuid,nodev,noatime']", "before {change}");
    }
    // Programs in it can be executed, as on Lambda.
    let execute = shell(&template, "cp /bin/echo /tmp/e && /tmp/e fine");
    assert_eq!(run(&node, execute).await.output(), "fine");
    node.shutdown().await;
}

#[tokio::test]
async fn a_full_host_fails_the_writer_alone() {
    need_disk!();
    let folder = tempfile::tempdir().unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", folder.path(), "tmpfs", none, c"size=48m").unwrap();
    let node = Sandboxes::start(on_disk(folder.path())).unwrap();
    let template = node.template(root()).await.unwrap();
    let write = "
import os
file = os.open('/tmp/big', os.O_CREAT | os.O_WRONLY)
try:
    for _ in range(200):
        os.write(file, b'x' * (1 << 20))
    os.fsync(file)
    print('all')
except OSError as error:
    print(error.errno in (5, 28))
";
    for _ in 0..2 {
        assert_eq!(run(&node, with_memory(&template, 128, write)).await.output(), "True");
        assert_eq!(run(&node, shell(&template, "echo alive")).await.output(), "alive");
    }
    node.shutdown().await;
    assert_eq!(attached(folder.path()), Vec::<PathBuf>::new());
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::empty()).unwrap();
}

#[tokio::test]
async fn leaves_nothing_after_shutdown() {
    need_disk!();
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    std::fs::write(scratch.join("image-1-1"), "left by a run that was killed").unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let node = Sandboxes::start(on_disk(&scratch)).unwrap();
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(shell(&template, "echo content > /tmp/file; sleep 60")).await.unwrap();
    assert_eq!(run(&node, shell(&template, "echo content > /tmp/file")).await.output(), "");
    assert!(!attached(&scratch).is_empty());
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    node.shutdown().await;
    assert_eq!(sandbox.exited().await.exit, Exit::Signal(9));
    assert_eq!(attached(&scratch), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
}

/// Runs in a process of its own, for the test below: starts a sandbox with content, says so, and waits.
#[tokio::test]
#[ignore = "a part of other tests"]
async fn part_daemon() {
    let Some(folder) = std::env::var_os("NEAP_TEST_SCRATCH") else { return };
    let node = Sandboxes::start(on_disk(Path::new(&folder))).unwrap();
    let template = node.template(root()).await.unwrap();
    let script = "head -c 50000000 /dev/zero > /tmp/file; echo written; sleep 60";
    let mut sandbox = node.spawn(shell(&template, script)).await.unwrap();
    let mut lines = support::Lines::new(sandbox.take_stdout().unwrap());
    lines.next().await;
    println!("\nSTARTED");
    std::io::stdout().flush().unwrap();
    sandbox.exited().await;
}

#[tokio::test]
async fn leaves_nothing_after_the_daemon_was_killed() {
    need_disk!();
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "part_daemon", "--ignored", "--nocapture"])
        .env("NEAP_TEST_SCRATCH", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "STARTED"));
    assert!(!attached(folder.path()).is_empty());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    until("all loop devices are free", || attached(folder.path()).is_empty()).await;
    until("no image is left", || std::fs::read_dir(folder.path()).unwrap().count() == 0).await;
}
