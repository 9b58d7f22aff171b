//! Sandboxes that wait without a program, which is named later.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

mod support;

use sandbox::{Attachment, Error, Exit, Sandbox, Spec, TASK};
use std::{
    ffi::OsString,
    io::Read,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    time::Duration,
};
use support::{Lines, finish, node, processes_of, root};

fn texts(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}

fn sh(script: &str) -> Vec<OsString> {
    texts(&["/bin/sh", "-c", script])
}

fn path() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), "/usr/bin:/bin".into())]
}

/// A folder with an executable script, a text and a folder.
fn folder(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    std::fs::write(folder.path().join("bootstrap"), format!("#!/bin/sh\n{script}\n")).unwrap();
    mode(&folder.path().join("bootstrap"), 0o755);
    std::fs::write(folder.path().join("text"), "attached").unwrap();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    folder
}

async fn begin(sandbox: &Sandbox, argv: &[OsString]) -> Result<(), Error> {
    sandbox.begin_as(&[], argv, &path(), Path::new("/")).await
}

#[tokio::test]
async fn a_program_named_later_gets_exactly_what_it_is_given() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(Spec::waiting(template)).await.unwrap();
    let env: Vec<(OsString, OsString)> =
        vec![("A".into(), "1".into()), ("EMPTY".into(), "".into()), ("B".into(), "two = words\n".into())];
    let argv = texts(&["/usr/bin/env", "-0"]);
    sandbox.begin_as(&[], &argv, &env, Path::new("/tmp")).await.unwrap();
    assert_eq!(finish(sandbox).await.output(), "A=1\0EMPTY=\0B=two = words\n\0");
    node.shutdown().await;
}

#[tokio::test]
async fn what_was_attached_is_executed_and_can_be_the_working_folder() {
    need_root!();
    let (node, folder) = (node(), folder("pwd; cat ../text; echo; echo \"$@\"; cat /opt/text"));
    let template = node.template(root()).await.unwrap();
    let attachments = [Attachment::new(folder.path(), TASK), Attachment::new(folder.path(), "/opt")];
    let argv = texts(&["/var/task/bootstrap", "one", "two"]);
    let below = Path::new("/var/task/below");
    let expected = "/var/task/below\nattached\none two\nattached";
    // In one step, and in two.
    let sandbox = node.spawn(Spec::waiting(template.clone())).await.unwrap();
    sandbox.begin_as(&attachments, &argv, &path(), below).await.unwrap();
    assert_eq!(finish(sandbox).await.output(), expected);
    let sandbox = node.spawn(Spec::waiting(template)).await.unwrap();
    sandbox.attach(&attachments).await.unwrap();
    sandbox.begin_as(&[], &argv, &path(), below).await.unwrap();
    assert_eq!(finish(sandbox).await.output(), expected);
    node.shutdown().await;
}

#[tokio::test]
async fn a_frozen_sandbox_begins_when_it_is_thawed() {
    need_root!();
    let (node, folder) = (node(), folder("echo ran"));
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(Spec::waiting(template)).await.unwrap();
    // Twice, as it may wait for long.
    for _ in 0..2 {
        sandbox.freeze().unwrap();
        assert!(sandbox.memory_now().is_ok());
        sandbox.thaw().unwrap();
    }
    sandbox.freeze().unwrap();
    let (attachments, argv) = ([Attachment::new(folder.path(), TASK)], texts(&["/var/task/bootstrap"]));
    let env = path();
    let begun = sandbox.begin_as(&attachments, &argv, &env, Path::new("/"));
    let (begun, thawed) = tokio::join!(begun, async { sandbox.thaw() });
    begun.unwrap();
    thawed.unwrap();
    assert_eq!(finish(sandbox).await.output(), "ran");
    node.shutdown().await;
}

#[tokio::test]
async fn nothing_begins_twice_or_where_nothing_waits() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let setting = |done: Result<(), Error>| {
        let error = done.unwrap_err();
        assert!(matches!(error, Error::Setting { name: "waiting", .. }), "{error}");
    };
    let mut sandbox = node.spawn(Spec::waiting(template.clone())).await.unwrap();
    setting(sandbox.begin().await);
    begin(&sandbox, &sh("echo once; exec sleep 1000")).await.unwrap();
    setting(begin(&sandbox, &sh("echo twice")).await);
    setting(sandbox.begin().await);
    let mut lines = Lines::new(sandbox.take_stdout().unwrap());
    assert_eq!(lines.next().await, "once");
    sandbox.terminate().unwrap();
    assert_eq!(sandbox.exited().await.exit, Exit::Signal(15));
    sandbox.kill().await;
    let plain = node.spawn(support::shell(&template, "sleep 1000")).await.unwrap();
    setting(begin(&plain, &sh("echo twice")).await);
    plain.kill().await;
    // What would be ignored is refused.
    let waiting = || Spec::waiting(template.clone());
    for spec in [
        Spec { argv: sh("exit"), ..waiting() },
        Spec { env: path(), ..waiting() },
        Spec { cwd: "/tmp".into(), ..waiting() },
        Spec { companions: vec!["/bin/true".into()], ..waiting() },
    ] {
        let error = node.spawn(spec).await.unwrap_err();
        assert!(matches!(error, Error::Setting { name: "waiting", .. }), "{error}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_named_and_ends_the_sandbox() {
    need_root!();
    let (node, folder) = (node(), folder("exit 0"));
    let template = node.template(root()).await.unwrap();
    let attachments = [Attachment::new(folder.path(), TASK)];
    let none: &[Attachment] = &[];
    for (attached, program, cwd, said, errno) in [
        (none, "/var/task/bootstrap", "/", "executing the program /var/task/bootstrap", libc::ENOENT),
        (&attachments, "/var/task/text", "/", "executing the program /var/task/text", libc::EACCES),
        (&attachments, "/var/task/bootstrap", "/absent", "the working folder /absent", libc::ENOENT),
    ] {
        let sandbox = node.spawn(Spec::waiting(template.clone())).await.unwrap();
        let error =
            sandbox.begin_as(attached, &texts(&[program]), &path(), Path::new(cwd)).await.unwrap_err();
        let Error::Step { step, source } = &error else { panic!("{error}") };
        assert!(step.contains(said), "{step}");
        assert_eq!(source.raw_os_error(), Some(errno), "{error}");
        sandbox.ended().await;
        sandbox.kill().await;
        assert_eq!(processes_of(sandbox.uid()), 0);
        assert!(matches!(begin(&sandbox, &sh("exit")).await, Err(Error::Ended)));
    }
    node.shutdown().await;
}

#[tokio::test]
async fn wrong_arguments_are_refused_and_the_sandbox_waits_on() {
    need_root!();
    let (node, folder) = (node(), folder("exit 0"));
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(Spec::waiting(template.clone())).await.unwrap();
    let refused = async |attachments: &[Attachment], argv: &[OsString], value: &str| {
        let env = [("A".into(), OsString::from(value))];
        sandbox.begin_as(attachments, argv, &env, Path::new("/")).await.unwrap_err()
    };
    let argv = sh("echo $0");
    assert!(matches!(refused(&[], &[], "").await, Error::Setting { name: "argv", .. }));
    assert!(matches!(refused(&[], &texts(&["sh"]), "").await, Error::Path { what: "program", .. }));
    assert!(matches!(refused(&[], &argv, "a\0b").await, Error::Setting { .. }));
    assert!(matches!(refused(&[], &argv, &"x".repeat(1 << 17)).await, Error::TooLong { .. }));
    let nowhere = [Attachment::new(folder.path(), "/tmp")];
    assert!(matches!(refused(&nowhere, &argv, "").await, Error::Path { .. }));
    // The longest that there may be, nearly: in texts that the kernel takes.
    let env: Vec<(OsString, OsString)> =
        (0..120).map(|nth| (format!("V{nth}").into(), "x".repeat(1_000).into())).collect();
    sandbox.begin_as(&[], &texts(&["/usr/bin/env"]), &env, Path::new("/")).await.unwrap();
    assert_eq!(finish(sandbox).await.output().lines().count(), 120);
    // Of what cannot be attached nothing is executed.
    let sandbox = node.spawn(Spec::waiting(template)).await.unwrap();
    let absent = [Attachment::new(folder.path(), "/absent")];
    let error = sandbox.begin_as(&absent, &argv, &path(), Path::new("/")).await.unwrap_err();
    assert!(error.to_string().contains("/absent"), "{error}");
    assert!(!sandbox.has_ended());
    sandbox.kill().await;
    assert_eq!(processes_of(sandbox.uid()), 0);
    node.shutdown().await;
}

#[tokio::test]
async fn the_program_gets_no_descriptor_but_its_own_and_the_walls_stand() {
    need_root!();
    let (node, folder) = (node(), folder("exit 0"));
    let template = node.template(root()).await.unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let channel: OwnedFd = theirs.into();
    let mut spec = Spec::waiting(template);
    spec.memory = base::MemoryMib(256);
    spec.channel = Some(channel);
    let sandbox = node.spawn(spec).await.unwrap();
    let script = "
import os, signal
found = {}
for name in os.listdir('/proc/self/fd'):
    try: found[int(name)] = os.readlink('/proc/self/fd/' + name).split(':')[0]
    except OSError: pass
print(sorted(found.items()), sorted(os.listdir('/proc/1/fd')) if os.path.exists('/proc/1') else 'hidden')
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print([status[name].strip() for name in ('NoNewPrivs', 'Seccomp', 'CapEff', 'CapBnd', 'SigBlk')])
print(os.getpid(), os.getsid(0), os.getuid())
os.write(3, b'channel')
";
    let (python, _) = support::python();
    let argv = [vec![python.into()], texts(&["-I", "-S", "-c", script])].concat();
    let attachments = [Attachment::new(folder.path(), TASK)];
    sandbox.begin_as(&attachments, &argv, &path(), Path::new("/var/task")).await.unwrap();
    let uid = sandbox.uid();
    let ended = finish(sandbox).await;
    let none = "0000000000000000";
    assert_eq!(
        ended.output().lines().collect::<Vec<_>>(),
        [
            "[(0, '/dev/null'), (1, 'pipe'), (2, 'pipe'), (3, 'socket')] hidden".to_owned(),
            format!("['1', '2', '{none}', '{none}', '{none}']"),
            format!("2 2 {uid}"),
        ],
        "{ended:?}"
    );
    let mut said = String::new();
    (&ours).read_to_string(&mut said).unwrap();
    assert_eq!(said, "channel");
    node.shutdown().await;
}

/// What descriptors of a process on the host are.
fn descriptors_of(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let kind =
        |link: std::path::PathBuf| link.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
    let mut kinds: Vec<_> = links.map(kind).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn what_waits_holds_only_what_the_program_gets_and_its_control_socket() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(Spec::waiting(template)).await.unwrap();
    let (pid, uid) = (sandbox.pid(), sandbox.uid());
    let null = "/dev/null";
    assert_eq!(descriptors_of(pid), [null, null, null, null, "pipe", "pipe", "socket"]);
    assert_eq!(processes_of(uid), 1);
    begin(&sandbox, &sh("exec sleep 1000")).await.unwrap();
    assert_eq!(descriptors_of(pid), ["socket"]);
    assert_eq!(processes_of(uid), 2);
    sandbox.kill().await;
    node.shutdown().await;
}

#[tokio::test]
async fn killed_while_it_waits_it_ends_and_leaves_nothing() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let mount_namespaces = || descriptors_of(std::process::id()).iter().filter(|kind| *kind == "mnt").count();
    let before = mount_namespaces();
    let sandbox = node.spawn(Spec::waiting(template.clone())).await.unwrap();
    let ended = sandbox.ended();
    tokio::pin!(ended);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut ended).await.is_err(), "it waits");
    sandbox.kill().await;
    ended.await;
    assert_eq!(sandbox.exited().await.exit, Exit::Signal(9));
    assert_eq!(processes_of(sandbox.uid()), 0);
    assert_eq!(mount_namespaces(), before);
    assert!(matches!(begin(&sandbox, &sh("exit")).await, Err(Error::Ended)));
    // Frozen, and dropped instead of killed.
    let frozen = node.spawn(Spec::waiting(template.clone())).await.unwrap();
    frozen.freeze().unwrap();
    let (uid, ended) = (frozen.uid(), frozen.ended());
    drop(frozen);
    ended.await;
    support::until("a dropped sandbox leaves nothing", || processes_of(uid) == 0).await;
    // With one that was told and cannot go on, being frozen.
    let told = node.spawn(Spec::waiting(template)).await.unwrap();
    told.freeze().unwrap();
    let argv = sh("exit");
    let (begun, ()) = tokio::join!(begin(&told, &argv), told.kill());
    assert!(matches!(begun, Err(Error::Ended) | Ok(())), "{begun:?}");
    assert_eq!(processes_of(told.uid()), 0);
    node.shutdown().await;
}
