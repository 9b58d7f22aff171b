//! Host paths attached to sandboxes that run already.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

mod support;

use sandbox::{Attachment, Error, Exit, Sandbox, Sandboxes, Spec, Template};
use std::{os::unix::fs::PermissionsExt, path::Path};
use support::{finish, node, python_program, root, shell};

/// A folder with a text, a program, the same program set-uid root, and, where it can be made, a device that all may read.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    let put = |name: &str, content: &[u8], wanted| {
        std::fs::write(folder.path().join(name), content).unwrap();
        mode(&folder.path().join(name), wanted);
    };
    put("text", b"attached", 0o644);
    put("program", b"#!/bin/sh\necho ran\n", 0o755);
    let id = ["/usr/bin/id", "/bin/id"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    put("id", &std::fs::read(id).unwrap(), 0o4755);
    let device = folder.path().join("device");
    let kind = rustix::fs::FileType::CharacterDevice;
    let all = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &device, kind, all, rustix::fs::makedev(1, 5)).unwrap();
    mode(&device, 0o666);
    folder
}

fn attachable(mut spec: Spec) -> Spec {
    spec.attachable = true;
    spec
}

/// A script that goes on when something is attached at the usual place.
fn waiting(template: &Template, then: &str) -> Spec {
    attachable(shell(template, &format!("until [ -e /var/task/text ]; do sleep 0.01; done; {then}")))
}

async fn attached(node: &Sandboxes, spec: Spec, host: &Path) -> Sandbox {
    let sandbox = node.spawn(spec).await.unwrap();
    sandbox.attach(&[Attachment::new(host, sandbox::TASK)]).await.unwrap();
    sandbox
}

/// Mount namespaces that this process keeps open.
fn mount_namespaces() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("mnt:[")).count()
}

#[tokio::test]
async fn what_is_attached_can_be_read_and_executed_and_nothing_else() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let script = "
cat /var/task/text; echo
/var/task/program
/var/task/id -u | grep -qx 0 && echo 'set-uid works'
head -c 1 /var/task/device >/dev/null 2>&1 && echo 'devices work'
(echo x > /var/task/text) 2>/dev/null && echo 'written'
(echo x > /var/task/new) 2>/dev/null && echo 'made'
rm /var/task/text 2>/dev/null && echo 'removed'
grep ' /var/task ' /proc/self/mountinfo | cut -d' ' -f6
cat /opt/text
";
    let mut sandbox = node.spawn(waiting(&template, script)).await.unwrap();
    let uid = sandbox.uid();
    let order = [Attachment::new(folder.path(), "/opt"), Attachment::new(folder.path(), sandbox::TASK)];
    sandbox.attach(&order).await.unwrap();
    let stdout = sandbox.take_stdout().unwrap();
    assert_eq!(
        support::read_all(stdout).await.lines().collect::<Vec<_>>(),
        ["attached", "ran", "ro,nosuid,nodev,relatime", "attached"]
    );
    sandbox.kill().await;
    assert_eq!(support::processes_of(uid), 0);
    node.shutdown().await;
}

#[tokio::test]
async fn the_walls_stand_after_something_was_attached() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let script = "
import ctypes, os, time
while not os.path.exists('/var/task/text'): time.sleep(0.01)
libc = ctypes.CDLL(None, use_errno=True)
def refused(name, *arguments):
    if getattr(libc, name)(*arguments) == 0: print(name, 'worked')
refused('mount', b'none', b'/var/task', b'tmpfs', 0, b'')
refused('mount', b'none', b'/var/task', b'', 32 | 4096, b'')
refused('umount2', b'/var/task', 2)
refused('pivot_root', b'/var/task', b'/var/task')
refused('chroot', b'/var/task')
refused('unshare', 0x10000000)
refused('unshare', 0x00020000)
refused('setns', os.open('/proc/self/ns/mnt', os.O_RDONLY), 0)
for path in ('/var/task/x', '/opt/x', '/x', '/var/x'):
    try:
        os.open(path, os.O_WRONLY | os.O_CREAT); print(path, 'made')
    except OSError: pass
try:
    os.open('/tmp/link', os.O_WRONLY | os.O_CREAT); os.link('/var/task/text', '/tmp/text'); print('linked')
except OSError: pass
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print([status[name].strip() for name in ('NoNewPrivs', 'Seccomp', 'CapEff', 'CapBnd')])
print(open('/var/task/text').read(), sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))
";
    let sandbox = attached(&node, attachable(python_program(&template, script)), folder.path()).await;
    let ended = finish(sandbox).await;
    let none = "0000000000000000";
    assert_eq!(
        ended.output().lines().collect::<Vec<_>>(),
        [format!("['1', '2', '{none}', '{none}']"), "attached [2]".to_owned()],
        "{ended:?}"
    );
    node.shutdown().await;
}

#[tokio::test]
async fn it_is_attached_to_what_is_frozen_too() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(waiting(&template, "cat /var/task/text")).await.unwrap();
    sandbox.freeze().unwrap();
    sandbox.attach(&[Attachment::new(folder.path(), sandbox::TASK)]).await.unwrap();
    sandbox.thaw().unwrap();
    assert_eq!(finish(sandbox).await.output(), "attached");
    node.shutdown().await;
}

#[tokio::test]
async fn one_sandboxs_attachments_are_nobody_elses() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let one = attached(&node, waiting(&template, "cat /var/task/text"), folder.path()).await;
    let other = node.spawn(attachable(shell(&template, "ls -A /var/task /opt"))).await.unwrap();
    assert_eq!(finish(one).await.output(), "attached");
    assert_eq!(finish(other).await.output(), "/opt:\n\n/var/task:");
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(sandbox::TASK));
    node.shutdown().await;
}

#[tokio::test]
async fn starts_after_an_attachment_see_the_hosts_files() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let one = node.spawn(waiting(&template, "cat /var/task/text")).await.unwrap();
    one.attach(&[Attachment::new(folder.path(), "/opt")]).await.unwrap();
    // Neither a refused attachment nor one that was made leaves anybody in the sandbox's root.
    one.attach(&[Attachment::new(folder.path(), "/absent")]).await.unwrap_err();
    one.attach(&[Attachment::new(folder.path(), sandbox::TASK)]).await.unwrap();
    let later = node.template(root()).await.unwrap();
    let mut other = shell(&later, "cat /var/task/text; ls /opt");
    other.task = Some(folder.path().to_owned());
    assert_eq!(support::run(&node, other).await.stdout, "attached");
    assert_eq!(finish(one).await.output(), "attached");
    node.shutdown().await;
}

#[tokio::test]
async fn wrong_paths_are_refused_by_name() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let sandbox = node.spawn(attachable(shell(&template, "sleep 100"))).await.unwrap();
    let host = folder.path();
    for (host, inside) in [
        (Path::new("relative"), "/var/task"),
        (host, "var/task"),
        (host, "/"),
        (host, "/."),
        (host, "/var/task/../.."),
        (host, "/tmp"),
        (host, "/tmp/x"),
        (host, "//tmp/./x"),
        (host, "/proc/self"),
        (host, "/dev"),
    ] {
        let error = sandbox.attach(&[Attachment::new(host, inside)]).await.unwrap_err();
        assert!(matches!(error, Error::Path { .. }), "{inside}: {error}");
    }
    let missing = host.join("missing");
    let error = sandbox.attach(&[Attachment::new(&missing, sandbox::TASK)]).await.unwrap_err();
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    for inside in ["/absent", "/var/task/absent", "/opt/x/y"] {
        let error = sandbox.attach(&[Attachment::new(host, inside)]).await.unwrap_err();
        assert!(error.to_string().contains(inside), "{error}");
    }
    // A folder does not go where a file is.
    let error = sandbox.attach(&[Attachment::new(host, "/etc/passwd")]).await.unwrap_err();
    assert!(error.to_string().contains("/etc/passwd"), "{error}");
    let zero = Attachment::new("/x\0y", sandbox::TASK);
    assert!(matches!(sandbox.attach(&[zero]).await.unwrap_err(), Error::Setting { .. }));
    sandbox.kill().await;
    node.shutdown().await;
}

#[tokio::test]
async fn nothing_is_attached_to_what_has_ended_or_did_not_ask_for_it() {
    need_root!();
    let (node, folder) = (node(), folder());
    let template = node.template(root()).await.unwrap();
    let before = mount_namespaces();
    let order = [Attachment::new(folder.path(), sandbox::TASK)];
    let sandbox = node.spawn(attachable(shell(&template, "exit 3"))).await.unwrap();
    assert_eq!(sandbox.exited().await.exit, Exit::Code(3));
    assert!(sandbox.has_ended());
    assert!(matches!(sandbox.attach(&order).await, Err(Error::Ended)));
    sandbox.kill().await;
    assert!(matches!(sandbox.attach(&order).await, Err(Error::Ended)));
    assert_eq!(mount_namespaces(), before, "the namespace of a sandbox that has ended is kept");
    let plain = node.spawn(shell(&template, "sleep 100")).await.unwrap();
    let error = plain.attach(&order).await.unwrap_err();
    assert!(matches!(error, Error::Setting { name: "attachable", .. }), "{error}");
    plain.kill().await;
    let killed = node.spawn(attachable(shell(&template, "sleep 100"))).await.unwrap();
    drop(killed);
    support::until("dropped sandboxes let go of their mounts", || mount_namespaces() == before).await;
    node.shutdown().await;
    assert!(matches!(plain.attach(&order).await, Err(Error::Ended)));
}
