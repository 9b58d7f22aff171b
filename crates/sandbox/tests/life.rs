//! Starting, ending, signalling, the daemon's ends, and what is left afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

mod support;

use base::MemoryMib;
use sandbox::{Attachment, CpuWeight, Error, Exit, Exited, Sandboxes, Settings, TemplateFile};
use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    process::Stdio,
};
use support::{Lines, finish, node, python_program, read_all, root, run, settings, shell, until};

#[tokio::test]
async fn runs_a_program_to_its_end() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let ended = run(&node, shell(&template, "echo out; echo err >&2; exit 3")).await;
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(ended.exited, Exited { exit: Exit::Code(3), oom: false });
    let ended = run(&node, shell(&template, "kill -SEGV $$")).await;
    assert_eq!(ended.exited, Exited { exit: Exit::Signal(11), oom: false });
    node.shutdown().await;
}

#[tokio::test]
async fn gives_exactly_what_was_asked_for() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let look = "
import os
print(dict(os.environ))
print(os.getcwd(), [fd for fd in range(100) if os.path.exists(f'/proc/self/fd/{fd}')])
print(os.readlink('/proc/self/fd/0'), os.getuid() == os.getgid(), os.getgroups(), os.getpid(), os.getsid(0))
import pwd, sys
print(pwd.getpwuid(os.getuid()).pw_dir, os.uname().nodename)
sys.stdout.flush()
os.write(3, b'hello')
open('/dev/stdout', 'w').write('by name\\n')
";
    let mut spec = python_program(&template, look);
    spec.env = vec![("A".into(), "b c".into()), ("LC_CTYPE".into(), "C.UTF-8".into())];
    spec.cwd = "/tmp".into();
    spec.channel = Some(theirs.into());
    let ended = run(&node, spec).await;
    assert_eq!(
        ended.output(),
        "{'A': 'b c', 'LC_CTYPE': 'C.UTF-8'}\n/tmp [0, 1, 2, 3]\n/dev/null True [] 2 2\n/tmp localhost\nby name",
        "{ended:?}"
    );
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
    node.shutdown().await;
}

#[tokio::test]
async fn shows_files_of_unreadable_folders() {
    need_root!();
    let private = tempfile::tempdir().unwrap(); // mode 0700, as /root
    let code = private.path().join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("app"), "code").unwrap();
    std::fs::write(private.path().join("file"), "single").unwrap();
    std::fs::set_permissions(&code, std::fs::Permissions::from_mode(0o755)).unwrap();
    let node = node();
    let mut plan = root();
    plan.binds.push(Attachment::new(&code, "/opt/runtime"));
    plan.binds.push(Attachment::new(private.path().join("file"), "/opt/single"));
    plan.folders.push("/layer".into());
    plan.files.push(TemplateFile {
        inside: "/boot/run".into(),
        content: b"#!/bin/sh\necho boot".to_vec(),
        executable: true,
    });
    plan.files.push(TemplateFile {
        inside: "/etc/hosts".into(),
        content: b"hosts".to_vec(),
        executable: false,
    });
    let template = node.template(plan).await.unwrap();
    let mut spec =
        shell(&template, "cat /opt/runtime/app /opt/single /var/task/app /layer/app /etc/hosts; /boot/run");
    spec.task = Some(code.clone());
    spec.attachments.push(Attachment::new(&code, "/layer"));
    assert_eq!(run(&node, spec).await.output(), "codesinglecodecodehostsboot");
    node.shutdown().await;
}

#[tokio::test]
async fn accepts_connections_from_inside() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    for _ in 0..4 {
        let talk = "
import socket
for port in [9001, 4566]:
    s = socket.create_connection(('127.0.0.1', port))
    print(s.recv(100).decode())
";
        let mut sandbox = node.spawn(python_program(&template, talk)).await.unwrap();
        let listeners = [sandbox.take_runtime_api().unwrap(), sandbox.take_platform().unwrap()];
        for (listener, text) in listeners.into_iter().zip(["runtime", "platform"]) {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(text.as_bytes()).unwrap(), text.len());
        }
        assert_eq!(finish(sandbox).await.output(), "runtime\nplatform");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn takes_few_descriptors_of_the_daemon() {
    const SANDBOXES: usize = 12;
    /// Of a running sandbox, and at most of one that is prepared.
    const EACH: usize = 18;
    need_root!();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let node = node();
    let template = node.template(root()).await.unwrap();
    // Everything that the first one brings with it is there.
    run(&node, shell(&template, "")).await;
    let (before, prepared) = (open(), settings().prepared);
    let mut running = Vec::new();
    for _ in 0..SANDBOXES {
        running.push(node.spawn(shell(&template, "read line")).await.unwrap());
    }
    let taken = open().saturating_sub(before);
    assert!(taken <= EACH * (SANDBOXES + prepared), "{taken} of {SANDBOXES} sandboxes");
    drop(running);
    node.shutdown().await;
}

#[tokio::test]
async fn says_why_a_start_failed() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let failure = |spec| async {
        match node.spawn(spec).await {
            Ok(_) => panic!("started"),
            Err(error) => error.to_string(),
        }
    };
    let mut spec = shell(&template, "");
    spec.argv[0] = "/no/such".into();
    assert_eq!(failure(spec).await, "executing the program /no/such: No such file or directory (os error 2)");
    let mut spec = shell(&template, "");
    spec.task = Some("/no/such/code".into());
    let expected = "opening an attached path /no/such/code: No such file or directory (os error 2)";
    assert_eq!(failure(spec).await, expected);
    let mut spec = shell(&template, "");
    spec.cwd = "/no/folder".into();
    assert_eq!(failure(spec).await, "changing to the working folder: No such file or directory (os error 2)");
    let mut spec = shell(&template, "");
    spec.env.push(("BIG".into(), "x".repeat(200_000).into()));
    assert!(matches!(node.spawn(spec).await, Err(Error::TooLong { .. })));
    let mut spec = shell(&template, "");
    spec.argv[0] = "relative".into();
    assert_eq!(failure(spec).await, "program relative: is not absolute");
    let mut plan = root();
    plan.binds.push(Attachment::new("/no/such/host", "/opt/x"));
    let error = node.template(plan).await.unwrap_err().to_string();
    let expected = "binding a host path into the root /no/such/host: No such file or directory (os error 2)";
    assert_eq!(error, expected);
    // Failures leak no slot.
    assert_eq!(run(&node, shell(&template, "echo fine")).await.output(), "fine");
    node.shutdown().await;
}

#[tokio::test]
async fn terminates_and_kills() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let mut sandbox = node
        .spawn(shell(&template, "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"))
        .await
        .unwrap();
    let mut lines = Lines::new(sandbox.take_stdout().unwrap());
    assert_eq!(lines.next().await, "ready");
    sandbox.terminate().unwrap();
    assert_eq!(lines.next().await, "bye");
    assert_eq!(sandbox.exited().await.exit, Exit::Code(7));
    // Without a handler SIGTERM ends it, as it ends any process that is not an init.
    let sandbox = node.spawn(shell(&template, "exec sleep 60")).await.unwrap();
    sandbox.terminate().unwrap();
    assert_eq!(sandbox.exited().await.exit, Exit::Signal(15));
    let sandbox = node.spawn(shell(&template, "trap '' TERM; sleep 60")).await.unwrap();
    sandbox.kill().await;
    assert_eq!(sandbox.exited().await, Exited { exit: Exit::Signal(9), oom: false });
    assert_eq!(support::processes_of(sandbox.uid()), 0);
    sandbox.kill().await;
    sandbox.terminate().unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn freezes_thaws_and_kills_the_frozen() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let mut sandbox = node
        .spawn(shell(&template, "n=0; while :; do n=$((n+1)); echo $n; sleep 0.001; done"))
        .await
        .unwrap();
    let mut lines = Lines::new(sandbox.take_stdout().unwrap());
    lines.next().await;
    sandbox.freeze().unwrap();
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(100), async {
        loop {
            lines.next().await;
        }
    });
    assert!(quiet.await.is_err());
    let used = sandbox.cpu_used().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(sandbox.cpu_used().unwrap(), used, "frozen processes use no CPU");
    sandbox.thaw().unwrap();
    lines.next().await;
    sandbox.freeze().unwrap();
    sandbox.kill().await;
    assert_eq!(support::processes_of(sandbox.uid()), 0);
    node.shutdown().await;
}

#[tokio::test]
async fn counts_memory_and_cpu() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let mut sandbox = node
        .spawn(python_program(
            &template,
            "x = b'x' * (64 << 20)\nprint('has', flush=True)\nimport time; time.sleep(60)",
        ))
        .await
        .unwrap();
    let mut lines = Lines::new(sandbox.take_stdout().unwrap());
    lines.next().await;
    let mib = |bytes: base::ByteCount| bytes.0 >> 20;
    assert!((64..110).contains(&mib(sandbox.memory_now().unwrap())));
    assert!(mib(sandbox.memory_peak().unwrap()) >= 64);
    assert!(sandbox.cpu_used().unwrap().0 > 1000);
    assert_eq!(sandbox.oom_kills().unwrap(), 0);
    sandbox.set_cpu(CpuWeight::of_memory(MemoryMib(128)), Some(sandbox::CpuQuota(500))).unwrap();
    sandbox.set_cpu(CpuWeight::MAX, None).unwrap();
    sandbox.kill().await;
    assert!(mib(sandbox.memory_peak().unwrap()) >= 64, "also after the end");
    assert!(matches!(sandbox.memory_now(), Err(Error::Ended)));
    // The next sandbox starts from nothing.
    let sandbox = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    assert!(mib(sandbox.memory_peak().unwrap()) < 32);
    sandbox.kill().await;
    for memory in [512, 64, 1024, 32] {
        let mut spec = shell(&template, "echo fits");
        spec.memory = MemoryMib(memory);
        assert_eq!(run(&node, spec).await.output(), "fits");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_dropped_start_leaves_nothing() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let mut uids = Vec::new();
    for delay_us in [0, 100, 300, 600, 1000, 2000] {
        let start = node.spawn(shell(&template, "sleep 60"));
        let limit = std::time::Duration::from_micros(delay_us);
        if let Ok(Ok(sandbox)) = tokio::time::timeout(limit, start).await {
            uids.push(sandbox.uid());
        }
    }
    let first = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    let all = settings().uids;
    until("only one sandbox is left", || {
        all.clone().filter(|uid| support::processes_of(*uid) > 0).eq([first.uid()])
    })
    .await;
    drop(first);
    node.shutdown().await;
}

#[tokio::test]
async fn timing_adds_up() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    let timing = sandbox.timing();
    let sum = timing.slot + timing.request + timing.clone + timing.mounts + timing.lockdown + timing.exec;
    assert!(timing.total.0.abs_diff(sum.0) < 6, "{timing:?}");
    assert!(timing.mounts.0 > 0 && timing.lockdown.0 > 0);
    node.shutdown().await;
}

#[tokio::test]
async fn refuses_more_than_configured() {
    need_root!();
    let node = Sandboxes::start(Settings { live_max: 2, ..settings() }).unwrap();
    let template = node.template(root()).await.unwrap();
    let first = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    let _second = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    assert!(matches!(node.spawn(shell(&template, "sleep 60")).await, Err(Error::Exhausted { max: 2 })));
    first.kill().await;
    let _third = loop {
        match node.spawn(shell(&template, "sleep 60")).await {
            Ok(third) => break third,
            // The slot is being cleaned.
            Err(Error::Exhausted { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    node.shutdown().await;
}

#[test]
fn refuses_bad_settings() {
    let failure = |settings| Sandboxes::start(settings).unwrap_err().to_string();
    assert_eq!(failure(Settings::new("No")), "setting instance: \"No\" is not 1 to 32 of a-z and 0-9");
    let empty = Settings { uids: 5..5, ..Settings::new("a") };
    assert_eq!(failure(empty), "setting uids: 5..5 is empty or contains root");
}

#[tokio::test]
async fn starts_many_at_once() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let (node, template) = (node.clone(), template.clone());
            tokio::spawn(async move { run(&node, shell(&template, &format!("echo {number}"))).await })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().output(), number.to_string());
    }
    node.shutdown().await;
}

/// cgroups of this instance, anywhere.
fn cgroups_of(instance: &str) -> Vec<PathBuf> {
    fn find(folder: PathBuf, name: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(name) {
                    found.push(entry.path());
                } else {
                    find(entry.path(), name, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    find("/sys/fs/cgroup".into(), &format!("neap-{instance}-"), &mut found);
    found
}

#[tokio::test]
async fn leaves_nothing_after_shutdown() {
    need_root!();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let settings = Settings { daemon_cpu_weight: Some(10_000), ..settings() };
    let (instance, uids) = (settings.instance.clone(), settings.uids.clone());
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let node = Sandboxes::start(settings).unwrap();
    let template = node.template(root()).await.unwrap();
    let mut sandbox = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    let frozen = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    frozen.freeze().unwrap();
    let stdout = sandbox.take_stdout().unwrap();
    assert!(!cgroups_of(&instance).is_empty());
    node.shutdown().await;
    assert_eq!(read_all(stdout).await, "");
    assert_eq!(sandbox.exited().await.exit, Exit::Signal(9));
    assert!(matches!(node.spawn(shell(&template, "")).await, Err(Error::SpawnerGone)));
    assert_eq!(uids.map(support::processes_of).sum::<usize>(), 0);
    assert_eq!(cgroups_of(&instance), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    assert_eq!(std::fs::read_to_string("/proc/self/cgroup").unwrap(), cgroup);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_what_is_frozen_meanwhile() {
    need_root!();
    for _ in 0..5 {
        let settings = Settings { daemon_cpu_weight: Some(10_000), ..settings() };
        let (instance, uids) = (settings.instance.clone(), settings.uids.clone());
        let node = Sandboxes::start(settings).unwrap();
        let template = node.template(root()).await.unwrap();
        let sandbox = node.spawn(shell(&template, "sleep 60")).await.unwrap();
        let freezing = std::thread::spawn(move || while sandbox.freeze().is_ok() {});
        node.shutdown().await;
        freezing.join().unwrap();
        assert_eq!(uids.map(support::processes_of).sum::<usize>(), 0);
        assert_eq!(cgroups_of(&instance), Vec::<PathBuf>::new());
    }
}

/// Runs in a process of its own, for the tests below: starts two sandboxes, one of them frozen, says so, and waits.
#[tokio::test]
#[ignore = "a part of other tests"]
async fn part_daemon() {
    let Ok(instance) = std::env::var("NEAP_TEST_INSTANCE") else { return };
    let node = Sandboxes::start(Settings { instance, daemon_cpu_weight: Some(1000), ..settings() }).unwrap();
    let template = node.template(root()).await.unwrap();
    let frozen = node.spawn(shell(&template, "sleep 60")).await.unwrap();
    frozen.freeze().unwrap();
    let other = node.spawn(shell(&template, "setsid sleep 60 & sleep 60")).await.unwrap();
    println!("\nSTARTED {} {}", frozen.uid(), other.uid());
    std::io::stdout().flush().unwrap();
    other.exited().await;
}

struct Daemon {
    process: std::process::Child,
    instance: String,
    uids: Vec<u32>,
}

fn daemon() -> Daemon {
    let instance = settings().instance;
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "part_daemon", "--ignored", "--nocapture"])
        .env("NEAP_TEST_INSTANCE", &instance)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let started = lines.map(Result::unwrap).find_map(|line| line.strip_prefix("STARTED ").map(str::to_owned));
    let uids = started.unwrap().split(' ').map(|uid| uid.parse().unwrap()).collect();
    Daemon { process, instance, uids }
}

#[tokio::test]
async fn leaves_nothing_after_the_daemon_was_killed() {
    need_root!();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut daemon = daemon();
    let running = || daemon.uids.iter().map(|uid| support::processes_of(*uid)).sum::<usize>();
    until("two inits, two programs, one left behind", || running() >= 5).await;
    daemon.process.kill().unwrap();
    daemon.process.wait().unwrap();
    until("all processes are gone", || running() == 0).await;
    until("all cgroups are gone", || cgroups_of(&daemon.instance).is_empty()).await;
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
}

#[tokio::test]
async fn the_next_start_sweeps_what_a_killed_keeper_left() {
    need_root!();
    let mut daemon = daemon();
    let keeper = children_of(daemon.process.id());
    assert_eq!(keeper.len(), 1);
    for pid in keeper.into_iter().chain([daemon.process.id()]) {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    daemon.process.wait().unwrap();
    assert!(!cgroups_of(&daemon.instance).is_empty());
    let node = Sandboxes::start(Settings { instance: daemon.instance.clone(), ..settings() }).unwrap();
    assert_eq!(daemon.uids.iter().map(|uid| support::processes_of(*uid)).sum::<usize>(), 0);
    let own = format!("neap-{}-{}", daemon.instance, std::process::id());
    assert!(cgroups_of(&daemon.instance).iter().all(|folder| folder.ends_with(&own)));
    node.shutdown().await;
    assert_eq!(cgroups_of(&daemon.instance), Vec::<PathBuf>::new());
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let children = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap());
    children
        .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
        .collect()
}

#[tokio::test]
async fn the_host_is_examined() {
    let report = sandbox::doctor();
    let names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
    for name in ["root", "memory-limit", "process-limit", "cpu-weight", "freezer", "seccomp", "landlock"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for check in &report.checks {
        assert_eq!(check.status == sandbox::Status::Ok, check.consequence.is_empty(), "{check:?}");
    }
    if support::is_root() {
        let node = Sandboxes::start(settings());
        assert_eq!(node.is_ok(), report.complete());
    }
}
