//! Programs that attack: each case shows that the attack fails and that other sandboxes live on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

mod support;

use base::MemoryMib;
use sandbox::{Exit, Sandboxes, Template};
use std::os::unix::fs::PermissionsExt;
use support::{finish, node, python_program, root, run, shell};

/// That a sandbox can be started and works.
async fn lives_on(node: &Sandboxes, template: &Template) {
    assert_eq!(run(node, shell(template, "echo alive")).await.output(), "alive");
}

macro_rules! hostile {
    ($(#[$doc:meta])* $name:ident($node:ident, $template:ident) $body:block) => {
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            need_root!();
            let $node = node();
            let $template = $node.template(root()).await.unwrap();
            $body
            lives_on(&$node, &$template).await;
            $node.shutdown().await;
        }
    };
}

hostile!(fork_bomb_stays_below_the_limit_of_processes(node, template) {
    let bomb = "
import os, sys, time
count = 0
while True:
    try:
        pid = os.fork()
    except OSError as error:
        print(count, error.errno, flush=True)
        time.sleep(60)
    if pid == 0:
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(60)
    count += 1
";
    let mut spec = python_program(&template, bomb);
    spec.processes = 100;
    let mut sandbox = node.spawn(spec).await.unwrap();
    let stdout = sandbox.take_stdout().unwrap();
    let mut lines = support::Lines::new(stdout);
    let line = lines.next().await;
    assert!(line.ends_with(" 11"), "EAGAIN, got {line}");
    let processes = support::processes_of(sandbox.uid());
    assert!((90..=100).contains(&processes), "{processes} processes");
    lives_on(&node, &template).await;
    let uid = sandbox.uid();
    sandbox.kill().await;
    assert_eq!(support::processes_of(uid), 0);
});

hostile!(memory_bomb_is_killed_for_its_memory(node, template) {
    let mut spec = python_program(&template, "x = bytearray(1 << 30); print('survived')");
    spec.memory = MemoryMib(64);
    let sandbox = node.spawn(spec).await.unwrap();
    let exited = sandbox.exited().await;
    sandbox.kill().await;
    assert_eq!(exited.exit, Exit::Signal(9));
    assert!(exited.oom);
    let peak = sandbox.memory_peak().unwrap().0;
    assert!((32 << 20..=64 << 20).contains(&peak), "peak {peak}");
});

hostile!(memory_bomb_in_a_child_ends_the_whole_sandbox(node, template) {
    let bomb = "
import os, time
if os.fork() == 0:
    os.setsid()
    x = bytearray(1 << 30)
time.sleep(60)
";
    let mut spec = python_program(&template, bomb);
    spec.memory = MemoryMib(64);
    let sandbox = node.spawn(spec).await.unwrap();
    assert!(sandbox.exited().await.oom);
    sandbox.kill().await;
    assert_eq!(support::processes_of(sandbox.uid()), 0);
});

hostile!(scratch_space_is_limited(node, template) {
    let fill = "
written = 0
try:
    with open('/tmp/fill', 'wb', buffering=0) as file:
        while True:
            written += file.write(bytes(1 << 20))
except OSError as error:
    print(error.errno, written >> 20)
";
    let mut spec = python_program(&template, fill);
    spec.scratch = MemoryMib(16);
    assert_eq!(run(&node, spec).await.output(), "28 16", "ENOSPC");
});

hostile!(scratch_space_is_limited_in_files(node, template) {
    let fill = "
count = 0
try:
    while True:
        open(f'/tmp/{count}', 'x').close()
        count += 1
except OSError as error:
    print(error.errno)
";
    assert_eq!(run(&node, python_program(&template, fill)).await.output(), "28", "ENOSPC");
});

hostile!(scratch_space_is_gone_with_its_sandbox(node, template) {
    for _ in 0..4 {
        let ended = run(&node, shell(&template, "ls -A /tmp; echo secret > /tmp/file; echo written")).await;
        assert_eq!(ended.output(), "written");
    }
});

hostile!(descriptors_are_limited(node, template) {
    let exhaust = "
import os
last = 0
try:
    while True:
        last = os.open('/dev/null', os.O_RDONLY)
except OSError as error:
    print(last, error.errno)
";
    assert_eq!(run(&node, python_program(&template, exhaust)).await.output(), "1023 24", "EMFILE");
});

hostile!(host_files_do_not_exist(node, template) {
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("secret"), "secret").unwrap();
    let look = format!(
        "
import os
for path in ['/etc/shadow', '/root/.bashrc', '/root/.ssh', '/home', '/boot', '/sys', '/var/lib', '/dev/mem', '/dev/kmsg',
             '/dev/vda', '/dev/sda', '/dev/fuse', '/dev/kvm', '{}']:
    try:
        os.stat(path)
        print('visible', path)
    except OSError as error:
        if error.errno not in (2, 13):
            print(path, error)
print(sorted(set(os.listdir('/')) - {{'bin', 'lib', 'lib64', 'usr', 'root'}}))
print(sorted(os.listdir('/dev')))
print(sorted(set(os.listdir('/etc')) - {{'alternatives', 'ld.so.cache'}}))
",
        secret.path().display()
    );
    assert_eq!(
        run(&node, python_program(&template, &look)).await.output(),
        "['dev', 'etc', 'opt', 'proc', 'run', 'tmp', 'var']\n\
         ['fd', 'full', 'null', 'random', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']\n\
         ['group', 'hosts', 'nsswitch.conf', 'passwd', 'resolv.conf']"
    );
});

hostile!(nothing_but_scratch_space_is_writable(node, template) {
    let task = tempfile::tempdir().unwrap();
    std::fs::set_permissions(task.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = task.path().join("app.py");
    std::fs::write(&file, "original").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let write = "
import os
def attempt(what, f):
    try:
        f()
        print('succeeded:', what)
    except OSError as error:
        if error.errno not in (1, 2, 13, 18, 26, 30):
            print(what, error)
for path in ['/x', '/var/task/x', '/var/x', '/etc/x', '/usr/x', '/opt/x', '/run/x', '/dev/x', '/proc/self/x']:
    attempt('create ' + path, lambda: open(path, 'w'))
    attempt('mkdir ' + path, lambda: os.mkdir(path))
    attempt('symlink ' + path, lambda: os.symlink('/tmp', path))
attempt('overwrite', lambda: open('/var/task/app.py', 'w'))
attempt('append', lambda: open('/etc/passwd', 'a'))
attempt('remove', lambda: os.remove('/var/task/app.py'))
attempt('rename', lambda: os.rename('/var/task/app.py', '/tmp/app.py'))
attempt('link', lambda: os.link('/var/task/app.py', '/tmp/app.py'))
attempt('chmod', lambda: os.chmod('/var/task/app.py', 0o600))
attempt('truncate', lambda: os.truncate('/var/task/app.py', 0))
attempt('own program', lambda: open('/proc/self/exe', 'r+b'))
open('/tmp/x', 'w').close()
os.mkdir('/tmp/y'); os.symlink('/', '/tmp/z'); os.mkfifo('/tmp/fifo')
open('/dev/null', 'w').write('x')
print('done')
";
    let mut spec = python_program(&template, write);
    spec.task = Some(task.path().to_owned());
    assert_eq!(run(&node, spec).await.output(), "done");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "original");
});

hostile!(set_uid_files_give_nothing(node, template) {
    let task = tempfile::tempdir().unwrap();
    std::fs::set_permissions(task.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = task.path().join("id");
    std::fs::copy("/usr/bin/id", &file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o6755)).unwrap();
    let mut spec = shell(&template, "/var/task/id -u; /var/task/id -G");
    spec.task = Some(task.path().to_owned());
    let sandbox = node.spawn(spec).await.unwrap();
    let uid = sandbox.uid();
    assert_eq!(finish(sandbox).await.output(), format!("{uid}\n{uid}"));
});

hostile!(has_no_privileges_and_cannot_gain_any(node, template) {
    let ended = run(
        &node,
        shell(&template, "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"),
    )
    .await;
    for line in ended.output().lines() {
        let (name, value) = line.split_once(":\t").unwrap();
        match name {
            "NoNewPrivs" => assert_eq!(value, "1"),
            "Seccomp" => assert_eq!(value, "2"),
            _ => assert_eq!(value, "0000000000000000", "{name}"),
        }
    }
});

hostile!(dangerous_system_calls_are_refused(node, template) {
    let calls = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    print(name, 'SUCCEEDED' if result >= 0 else os.strerror(ctypes.get_errno()))
call('mount', 165, b'none', b'/tmp', b'tmpfs', 0, None)
call('umount2', 166, b'/proc', 0)
call('pivot_root', 155, b'/', b'/tmp')
call('chroot', 161, b'/tmp')
call('open_tree', 428, -100, b'/', 1)
call('fsopen', 430, b'proc', 0)
call('unshare', 272, 0x10000000)
call('setns', 308, 0, 0)
call('clone', 56, 0x10000000 | 17, 0, 0, 0, 0)
call('mknod', 133, b'/tmp/mem', 0o20666, 0x101)
call('ptrace', 101, 16, os.getpid(), 0, 0)
call('process_vm_readv', 310, 1, 0, 0, 0, 0, 0)
call('keyctl', 250, 0, -3, 0)
call('add_key', 248, b'user', b'x', b'y', 1, -3)
call('bpf', 321, 0, 0, 0)
call('perf_event_open', 298, 0, 0, -1, -1, 0)
call('userfaultfd', 323, 0)
call('init_module', 175, 0, 0, b'')
call('kexec_load', 246, 0, 0, 0, 0)
call('reboot', 169, 0xfee1dead, 672274793, 0x89abcdef, 0)
call('swapon', 167, b'/tmp/x', 0)
call('sethostname', 170, b'x', 1)
call('open_by_handle_at', 304, -100, 0, 0)
call('personality', 135, 0x40000)
call('syslog', 103, 3, 0, 0)
call('settimeofday', 164, 0, 0)
call('io_uring_setup', 425, 8, 0)
call('clone3', 435, 0, 0)
call('unknown', 999)
call('vsock', 41, 40, 1, 0)
call('packet', 41, 17, 3, 0)
call('netfilter', 41, 16, 3, 12)
";
    let ended = run(&node, python_program(&template, calls)).await;
    let expected = |name: &str| match name {
        "io_uring_setup" | "clone3" | "unknown" => "Function not implemented",
        "vsock" | "packet" | "netfilter" => "Address family not supported by protocol",
        _ => "Operation not permitted",
    };
    if cfg!(target_arch = "x86_64") {
        assert_eq!(ended.output().lines().count(), 32);
        for line in ended.output().lines() {
            let (name, got) = line.split_once(' ').unwrap();
            assert_eq!(got, expected(name), "{name}");
        }
    }
});

hostile!(escapes_through_proc_fail(node, template) {
    let escape = "
import os
def attempt(what, f):
    try:
        print('succeeded:', what, f())
    except OSError as error:
        if error.errno not in (1, 2, 3, 13, 30):
            print(what, error)
for path in ['/proc/1/root', '/proc/1/cwd', '/proc/1/environ', '/proc/1/mem', '/proc/1/fd', '/proc/kcore', '/proc/kmsg',
             '/proc/1/cmdline', '/proc/1/ns/net', '/proc/self/../1/maps']:
    attempt('read ' + path, lambda: os.listdir(path) if path.endswith(('root', 'cwd', 'fd')) else open(path, 'rb').read(1) or os.stat('/none'))
for path in ['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sys/vm/drop_caches', '/proc/sysrq-trigger',
             '/proc/self/oom_score_adj', '/proc/self/uid_map', '/proc/self/attr/exec', '/proc/sys/net/ipv4/ip_forward',
             '/proc/irq/default_smp_affinity']:
    attempt('write ' + path, lambda: open(path, 'w').write('1'))
assert sorted(os.listdir('/proc/self/root')) == sorted(os.listdir('/')), 'own root'
print('done')
";
    assert_eq!(run(&node, python_program(&template, escape)).await.output(), "done");
});

hostile!(other_processes_are_out_of_sight_and_reach(node, template) {
    let victim = node.spawn(shell(&template, "SECRET=victim sleep 60")).await.unwrap();
    let attack = format!(
        "
import os
print(sorted(int(name) for name in os.listdir('/proc') if name.isdigit()))
for pid in [{victim}, {test}, {victim} + 1]:
    try:
        os.kill(pid, 9)
        print('signalled', pid)
    except ProcessLookupError:
        pass
os.kill(1, 9)
print('init lives')
",
        victim = victim.pid(),
        test = std::process::id(),
    );
    assert_eq!(run(&node, python_program(&template, &attack)).await.output(), "[2]\ninit lives");
    assert!(support::processes_of(victim.uid()) > 0);
    victim.kill().await;
});

hostile!(live_sandboxes_have_different_users(node, template) {
    let mut users = std::collections::BTreeSet::new();
    let mut sandboxes = Vec::new();
    for _ in 0..5 {
        let sandbox = node.spawn(shell(&template, "sleep 60")).await.unwrap();
        assert!(users.insert(sandbox.uid()));
        sandboxes.push(sandbox);
    }
    for sandbox in sandboxes {
        sandbox.kill().await;
    }
});

hostile!(services_of_the_host_are_unreachable(node, template) {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("neap-test-{}", std::process::id());
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name).unwrap();
    let local = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        "
import socket
for family, address in [(socket.AF_INET, ('127.0.0.1', {port})), (socket.AF_UNIX, '\\0{name}'),
                        (socket.AF_INET, ('169.254.169.254', 80)), (socket.AF_INET, ('1.1.1.1', 53))]:
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(5)
    try:
        s.connect(address)
        print('connected', address)
    except OSError as error:
        print(error.errno)
print([name for _, name in socket.if_nameindex()])
",
        port = tcp.local_addr().unwrap().port(),
    );
    let ended = run(&node, python_program(&template, &connect)).await;
    // ECONNREFUSED, ECONNREFUSED, ENETUNREACH, ENETUNREACH
    assert_eq!(ended.output(), "111\n111\n101\n101\n['lo']");
    drop((tcp, local));
});

hostile!(what_a_program_leaves_behind_ends_with_it(node, template) {
    let script = "(setsid sleep 60 &) ; (setsid sh -c 'trap \"\" TERM HUP; sleep 60' &); exit 0";
    let sandbox = node.spawn(shell(&template, script)).await.unwrap();
    assert_eq!(sandbox.exited().await.exit, Exit::Code(0));
    sandbox.kill().await;
    assert_eq!(support::processes_of(sandbox.uid()), 0);
});

hostile!(the_kernel_is_not_shown(node, template) {
    let look = "
import os
for name in ['cmdline', 'config.gz', 'interrupts', 'kallsyms', 'kcore', 'key-users', 'keys', 'kmsg', 'modules',
             'sched_debug', 'slabinfo', 'sysrq-trigger', 'timer_list', 'vmallocinfo']:
    try:
        content = open('/proc/' + name, 'rb').read(100)
        if content:
            print(name, 'shows', content)
    except (FileNotFoundError, PermissionError):
        pass
    for change in [lambda: open('/proc/' + name, 'w').write('x'), lambda: os.chmod('/proc/' + name, 0o777)]:
        try:
            change()
            print(name, 'can be changed')
        except OSError:
            pass
for name in ['cpuinfo', 'meminfo', 'stat', 'uptime', 'loadavg', 'self/cmdline', 'self/maps', 'sys/kernel/osrelease']:
    assert open('/proc/' + name, 'rb').read(), name
print('done')
";
    assert_eq!(run(&node, python_program(&template, look)).await.output(), "done");
});
