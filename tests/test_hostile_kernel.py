"""Functions that reach for the kernel: what functions do not need is not there, and what is there is their own."""

import threading

import pytest
from conftest import eventually, root
from test_hostile import attack, lives_on  # noqa: F401  a fixture

pytestmark = [root, pytest.mark.usefixtures("forking")]

CALL = """
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return 'done' if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.mark.parametrize(
    "surface, calls",
    [
        ("io_uring", ["425, 8, ctypes.create_string_buffer(256)", "426, 0, 1, 1, 0, 0, 0", "427, 0, 0, 0, 0"]),
        ("userfaultfd", ["323, 0", "323, 1", "323, 0x80800"]),
        ("bpf", ["321, command, ctypes.create_string_buffer(128), 128"]),
        ("perf events", ["298, ctypes.create_string_buffer(120), 0, -1, -1, 0", "298, 0, -1, 0, -1, 8"]),
        ("ptrace", ["101, command, os.getpid(), 0, 0", "101, 16, 1, 0, 0", "101, 0x4206, os.getppid(), 0, 0", "101, 0, 0, 0, 0"]),
        ("other processes' memory", ["310, 1, 0, 0, 0, 0, 0", "311, 1, 0, 0, 0, 0, 0", "438, 0, 0, 0", "440, 0, 0, 0, 0, 0", "312, 1, 2, 0, 0, 0"]),
        ("keyrings", ["248, b'user', b'a', b'b', 1, -3", "249, b'user', b'a', 0, -3", "250, command, -3, 0, 0, 0"]),
        ("fanotify", ["300, 0, 0", "301, 0, 1, 1, -100, b'/'"]),
        ("handles", ["303, -100, b'/', ctypes.create_string_buffer(136), ctypes.create_string_buffer(8), 0", "304, -100, ctypes.create_string_buffer(136), 0"]),
        ("namespaces", ["272, 1 << command", "308, 0, 1 << command", "56, (1 << command) | 17, 0, 0, 0, 0", "272, 1 << 7"]),
        ("mounts", ["428, -100, b'/', 1", "429, -1, b'', -1, b'', 0", "430, b'proc', 0", "431, -1, 0, 0, 0, 0", "432, -1, 0, 0", "433, -100, b'/', 0", "442, -100, b'/', 0, 0, 0"]),
        ("modules and kernels", ["175, b'', 0, b''", "313, 0, b'', 0", "176, b'x', 0", "246, 0, 0, 0, 0", "320, 0, 0, 0, b'', 0"]),
        ("hardware", ["172, 3", "173, 0x80, 1, 1", "154, 1, 0, 0"]),
    ],
)  # fmt: skip
def test_surfaces_that_functions_do_not_need_are_not_there(deploy, surface, calls, lives_on):
    # Flags of namespaces are bits 17 and 25 to 30; commands of the others are small.
    commands = [17, *range(25, 31)] if surface == "namespaces" else range(40)
    lines = "\n".join(f"    answers.add(call({one}))" for one in calls)
    function = attack(deploy, f"{CALL}\nanswers = set()\nfor command in {list(commands)}:\n{lines}\nreturn sorted(answers)")
    assert set(function.invoke()["Body"]) <= {"EPERM", "ENOSYS"}, surface


def test_socket_families_other_than_the_internets_and_local_are_not_there(deploy, lives_on):
    function = attack(
        deploy,
        """
opened = []
for family in range(64):
    for kind in (1, 2, 3, 5):
        result = libc.syscall(41, family, kind, 0)
        if result >= 0:
            opened.append([family, kind])
            os.close(result)
netlink = []
for protocol in range(32):
    for kind in (2, 3):
        result = libc.syscall(41, 16, kind, protocol)
        if result >= 0:
            netlink.append(protocol)
            os.close(result)
vsock = []
return [opened, netlink]
""",
    )
    opened, netlink = function.invoke()["Body"]
    # Local sockets, IPv4 and IPv6 streams and datagrams, the routing part of netlink.
    assert opened == [[1, 1], [1, 2], [1, 3], [1, 5], [2, 1], [2, 2], [10, 1], [10, 2], [16, 2], [16, 3]]
    assert set(netlink) == {0}


def test_other_calling_conventions_are_no_way_around_the_filter(deploy, lives_on):
    function = attack(
        deploy,
        CALL
        + """
import mmap, signal
answers = [call(0x40000000 | number) for number in (0, 39, 101, 165, 272, 321, 512, 545)]
ends = []
# mov eax, 20 or 21; int 0x80; ret: getpid and mount of 32-bit programs
for number in (20, 21):
    child = os.fork()
    if child == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes([0xb8, number, 0, 0, 0, 0xcd, 0x80, 0xc3]))
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        os._exit(0)
    ends.append(signal.Signals(os.WTERMSIG(os.waitpid(child, 0)[1])).name)
return [sorted(set(answers)), sorted(set(ends))]
""",
    )
    answers, ends = function.invoke()["Body"]
    assert answers == ["ENOSYS"]
    # SIGSYS from the filter; SIGSEGV on kernels without such programs at all.
    assert ends in (["SIGSYS"], ["SIGSEGV"])


def test_the_filter_cannot_be_taken_off(deploy, lives_on):
    function = attack(
        deploy,
        CALL
        + """
import subprocess
answers = [call(317, 0, 0, 0), call(157, 22, 0, 0, 0, 0), call(157, 38, 0, 0, 0, 0), call(157, 24, 1, 0, 0, 0), call(157, 28, 0, 0, 0, 0)]
status = open('/proc/self/status').read()
child = subprocess.run(['/bin/sh', '-c', 'while read line; do case $line in Seccomp:*|NoNewPrivs*|CapEff*) echo $line;; esac; done < /proc/self/status'], capture_output=True, text=True).stdout
return [answers, status, child]
""",
    )
    answers, status, child = function.invoke()["Body"]
    assert "done" not in answers, answers
    for text in (status.replace("\t", " "), child):
        assert "Seccomp: 2" in text and "NoNewPrivs: 1" in text and "CapEff: 0000000000000000" in text


def test_shared_memory_queues_and_abstract_sockets_are_an_environments_own(deploy, lives_on):
    function = attack(
        deploy,
        CALL
        + """
made = event == 'make'
IPC_CREAT = 0o1666 if made else 0o666
answers = [call(29, 0x6e656170, 4096, IPC_CREAT), call(64, 0x6e656170, 1, IPC_CREAT), call(68, 0x6e656170, IPC_CREAT),
           call(240, b'neap-test', 0o102 if made else 2, 0o666, 0)]
sock = socket.socket(socket.AF_UNIX)
try:
    sock.bind('\\0neap-hostile-test') if made else sock.connect('\\0neap-hostile-test')
    sock.listen()
    answers.append('done')
except OSError as error:
    answers.append(errno.errorcode[error.errno])
libc.keep = sock
if made:
    time.sleep(3)
return answers
""",
        MemorySize=256,
    )
    made = []
    thread = threading.Thread(target=lambda: made.append(function.invoke("make")["Body"]), daemon=True)
    thread.start()
    # While that environment is busy, another one of the same function looks for what it made.
    sought = function.invoke("seek")["Body"]
    thread.join()
    # Message queues of POSIX are files of a file system that Landlock does not let functions write to.
    assert made[0][:3] + made[0][4:] == ["done"] * 4 and made[0][3] in ("done", "EACCES")
    assert sought[:3] + sought[4:] == ["ENOENT", "ENOENT", "ENOENT", "ECONNREFUSED"] and sought[3] in ("ENOENT", "EACCES")


def test_the_hosts_settings_cannot_be_written(deploy, lives_on):
    function = attack(
        deploy,
        """
written = []
for root, folders, files in os.walk('/proc/sys'):
    for name in files:
        path = os.path.join(root, name)
        try:
            os.close(os.open(path, os.O_WRONLY))
            written.append(path)
        except OSError:
            pass
for path in ('/proc/sysrq-trigger', '/proc/self/oom_score_adj', '/proc/self/uid_map', '/proc/self/loginuid', '/proc/self/clear_refs',
             '/proc/self/mem', '/proc/mtrr', '/proc/acpi/wakeup', '/proc/scsi/scsi'):
    try:
        os.close(os.open(path, os.O_WRONLY))
        written.append(path)
    except OSError:
        pass
return written
""",
        Timeout=60,
        MemorySize=1024,
    )
    assert function.invoke()["Body"] == []


def test_no_descriptor_is_inherited_but_the_programs_own(deploy, node, lives_on):
    function = attack(
        deploy,
        """
def look():
    found = {}
    for name in os.listdir('/proc/self/fd'):
        try:
            found[int(name)] = os.readlink('/proc/self/fd/' + name)
        except OSError:
            pass
    return {name: target for name, target in found.items() if not target.startswith('/proc/')}
first = look()
passed = []
channel = socket.socket(fileno=os.dup(3))
try:
    passed = channel.recvmsg(1, 4096, socket.MSG_DONTWAIT)[1]
except BlockingIOError:
    pass
return [first, passed, os.get_inheritable(3)]
""",
    )
    found, passed, inheritable = function.invoke()["Body"]
    kinds = {int(name): target.split(":")[0] for name, target in found.items()}
    assert kinds.pop(0) == "/dev/null" and kinds.pop(1) == "pipe" and kinds.pop(2) == "pipe" and kinds.pop(3) == "socket"
    # What is left is of the interpreter's and the function's own making, in its own file systems.
    assert all(target.startswith(("anon_inode", "/tmp", "/var", "/dev/urandom", "/usr")) for target in kinds.values()), found
    assert passed == [] and not inheritable, "programs that the function starts do not get the channel"


def test_what_a_function_detaches_is_frozen_with_it_and_ends_with_it(deploy, lives_on):
    import pathlib
    import uuid

    mark = f"mark-{uuid.uuid4().hex}"
    function = attack(
        deploy,
        f"""
code = "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\nwhile True: time.sleep(0.001)"
subprocess.run([sys.executable, '-c', code, '{mark}'])
return os.getpid()
""",
    )

    def of_the_mark():
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if mark.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                    found.append(process)
            except OSError:
                pass
        return found

    def frozen(process):
        for line in (process / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            base = pathlib.Path("/sys/fs/cgroup")
            for file, word in ((base / "freezer" / path[1:] / "freezer.state", "FROZEN"),
                               (base / path[1:] / "cgroup.events", "frozen 1"),
                               (base / "unified" / path[1:] / "cgroup.events", "frozen 1")):
                if file.exists() and word in file.read_text():
                    return True
        return False

    function.invoke()
    # Until the last of the forks is alone.
    (detached,) = eventually(lambda: len(found := of_the_mark()) == 1 and found)
    eventually(lambda: frozen(detached))
    function.client.delete_function(FunctionName=function.name)
    eventually(lambda: not of_the_mark())
