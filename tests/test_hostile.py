"""Functions that attack: each attack fails and the platform lives on."""

import os
import socket
import threading

import pytest
from conftest import package, root
from test_functions import refused
from conftest import ROLE

pytestmark = [root, pytest.mark.usefixtures("forking")]


@pytest.fixture
def lives_on(deploy, node):
    """After the attack a plain function still answers."""
    yield
    assert node.alive()
    assert deploy("def handler(e, c): return 'alive'")() == "alive"


def attack(deploy, body, **options):
    """Runs `body` (the inside of a handler) and returns what it returned."""
    lines = "\n".join("        " + line for line in body.strip("\n").splitlines())
    source = (
        "import ctypes, errno, os, socket, subprocess, sys, time\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def handler(event, context):\n    try:\n" + lines + "\n"
        "    except OSError as error:\n        return errno.errorcode.get(error.errno, str(error))\n"
    )
    return deploy(source, **{"Timeout": 20, **options})


def test_a_fork_bomb_is_bounded(deploy, lives_on):
    function = attack(
        deploy,
        """
children = 0
try:
    while children < 5000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        children += 1
finally:
    return children
""",
        MemorySize=1024,
    )
    assert 0 < function.invoke()["Body"] < 1024


def test_an_endless_fork_bomb_ends_with_its_timeout(deploy, lives_on):
    function = attack(
        deploy,
        """
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
        Timeout=3,
    )
    assert function.invoke()["FunctionError"] == "Unhandled"


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/root/.bashrc", "/home", "/var/lib", "/proc/1/root/etc/shadow", "/sys/kernel", "/dev/vda", "/dev/mem",
     "/proc/kcore", "/proc/kallsyms", "/boot"],
)
def test_the_hosts_files_are_out_of_reach(deploy, path, lives_on):
    function = attack(
        deploy,
        f"""
path = {path!r}
if os.path.isdir(path):
    return os.listdir(path)
return open(path, "rb").read(64).decode("latin1")
""",
    )
    answer = function.invoke()["Body"]
    assert answer in ("ENOENT", "EACCES", "EPERM", [], ""), answer


def test_neaps_data_and_other_functions_are_out_of_reach(deploy, node, lives_on):
    secret = deploy(
        {"app.py": "def handler(e, c): return 1", "secret.txt": "do-not-read"},
        Environment={"Variables": {"PASSWORD": "do-not-read"}},
    )
    secret()
    function = attack(
        deploy,
        """
found = []
for root, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(root, f) not in ("/sys",)]
    for name in files:
        if name in ("secret.txt", "credentials.json", "environ"):
            try:
                text = open(os.path.join(root, name), "rb").read(65536)
                if b"do-not-read" in text or b"secret_key" in text:
                    found.append(os.path.join(root, name))
            except OSError:
                pass
return found
""".replace("do-not-read", "do-not-' b'read"),
        Timeout=60,
        MemorySize=512,
    )
    assert function.invoke()["Body"] == []


def test_other_processes_can_be_neither_seen_nor_signalled(deploy, lives_on):
    other = deploy("import time\ndef handler(e, c): return 1")
    other()
    function = attack(
        deploy,
        """
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
hit = []
for pid in range(2, 40000):  # 1 is the environment's own init, which reaps and ends with it
    if pid in pids:
        continue
    try:
        os.kill(pid, 0)
        hit.append(pid)
    except OSError:
        pass
return [len(pids), hit]
""",
    )
    seen, hit = function.invoke()["Body"]
    assert seen < 5 and hit == []


@pytest.mark.parametrize(
    "name, body",
    [
        ("mount", 'r = libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)'),
        ("umount", 'r = libc.umount2(b"/proc", 2)'),
        ("pivot_root", 'r = libc.syscall(155, b"/tmp", b"/tmp")'),
        ("chroot", 'r = libc.chroot(b"/tmp")'),
        ("mknod", "os.mknod('/tmp/sda', 0o60600, os.makedev(8, 0)); r = 0"),
        ("unshare user", "r = libc.unshare(0x10000000)"),
        ("unshare mount", "r = libc.unshare(0x20000)"),
        ("setns", "r = libc.setns(os.open('/proc/self/ns/net', os.O_RDONLY), 0)"),
        ("keyctl", "r = libc.syscall(250, 0, -3, 0)"),
        ("add_key", 'r = libc.syscall(248, b"user", b"x", b"y", 1, -3)'),
        ("ptrace", "r = libc.ptrace(16, os.getppid() or 1, 0, 0)"),
        ("setuid root", "os.setuid(0); r = 0"),
        ("setgid root", "os.setgid(0); r = 0"),
        ("reboot", "r = libc.reboot(0x01234567)"),
        ("sethostname", 'r = libc.sethostname(b"x", 1)'),
        ("settimeofday", "r = libc.syscall(164, 0, 0)"),
        ("bpf", "r = libc.syscall(321, 0, 0, 0)"),
        ("perf_event_open", "r = libc.syscall(298, 0, 0, -1, -1, 0)"),
        ("raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); r = 0"),
        ("packet socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3); r = 0"),
        ("core pattern", "open('/proc/sys/kernel/core_pattern', 'w').write('|/x'); r = 0"),
        ("sysrq", "open('/proc/sysrq-trigger', 'w').write('c'); r = 0"),
        ("own cgroup", "open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'w').write('1'); r = 0"),
        ("write code", "open('/var/task/app.py', 'w'); r = 0"),
        ("write runtime", "open('/var/runtime/x', 'w'); r = 0"),
        ("write root", "open('/x', 'w'); r = 0"),
        ("oom score", "open('/proc/self/oom_score_adj', 'w').write('-1000'); r = 0"),
    ],
)
def test_privileged_doings_are_refused(deploy, name, body, lives_on):
    function = attack(deploy, body + "\nreturn 'done' if r >= 0 else errno.errorcode[ctypes.get_errno()]")
    answer = function.invoke()["Body"]
    assert answer != "done", name
    assert answer in ("EPERM", "EACCES", "ENOSYS", "EROFS", "ENOENT", "EINVAL", "EAFNOSUPPORT", "EPROTONOSUPPORT"), answer


def test_the_hosts_loopback_services_are_unreachable(deploy, lives_on):
    server = socket.create_server(("127.0.0.1", 0))
    reached = threading.Event()

    def accept():
        try:
            server.accept()
            reached.set()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    port = server.getsockname()[1]
    function = attack(
        deploy,
        f"""
answers = []
for host in ("127.0.0.1", "::1", "localhost"):
    try:
        socket.create_connection((host, {port}), 2).close()
        answers.append("connected")
    except OSError as error:
        answers.append(errno.errorcode.get(error.errno, str(error)))
return answers
""",
    )
    answers = function.invoke()["Body"]
    assert "connected" not in answers, answers
    assert not reached.is_set()
    server.close()


def test_nothing_of_one_invocation_is_left_for_another_function(deploy, lives_on):
    writer = attack(deploy, "open('/tmp/left', 'w').write('x')\nreturn os.listdir('/tmp')")
    reader = attack(deploy, "return os.listdir('/tmp')")
    assert "left" in writer.invoke()["Body"]
    assert reader.invoke()["Body"] == []


@pytest.mark.parametrize(
    "files",
    [
        {"../escape.py": "x"},
        {"a/../../escape.py": "x"},
        {"/etc/cron.d/escape": "x"},
        {"link": (0o120777, b"/etc/passwd")},
        {"link": (0o120777, b"../../outside")},
        {"device": (0o060666, b"")},
    ],
    ids=["parent", "nested parent", "absolute", "absolute link", "outward link", "device"],
)
def test_packages_that_reach_outside_are_refused(lam, files, lives_on):
    refused(
        lambda: lam.create_function(
            FunctionName="t-escape",
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": package({"app.py": "def handler(e, c): return 1", **files})},
        ),
        "InvalidParameterValueException",
    )


def test_set_uid_files_have_no_effect(deploy, lives_on):
    function = attack(deploy, "s = os.stat('/var/task/tool')\nreturn [oct(s.st_mode & 0o7000), os.getuid() != 0]")
    # Redeploy with the set-uid file; either it is refused or its bits are gone.
    zipped = package({"tool": (0o104755, b"#!/bin/sh\n"), "app.py": SETUID})
    try:
        function.client.update_function_code(FunctionName=function.name, ZipFile=zipped)
    except function.client.exceptions.InvalidParameterValueException:
        return
    function.client.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    assert function() == ["0o0", True]


SETUID = "import os\ndef handler(e, c):\n    s = os.stat('/var/task/tool')\n    return [oct(s.st_mode & 0o7000), os.getuid() != 0]"


def test_a_zip_bomb_is_refused_before_it_fills_the_disk(lam, lives_on):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("bomb", b"\0" * (300 * 1024 * 1024))
    assert len(buffer.getvalue()) < 1024 * 1024
    refused(
        lambda: lam.create_function(
            FunctionName="t-bomb",
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": buffer.getvalue()},
        ),
        "InvalidParameterValueException",
        "262144000",
    )


def test_root_of_the_host_is_not_root_inside(deploy, lives_on):
    function = attack(deploy, "return [os.getuid(), os.getgid(), os.getgroups(), open('/proc/self/status').read()]")
    uid, gid, groups, status = function.invoke()["Body"]
    assert uid != 0 and gid != 0 and 0 not in groups
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert os.geteuid() == 0
