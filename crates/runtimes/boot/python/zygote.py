"""A Python interpreter with the common modules loaded, which forks into sandboxes instead of being started in each.

Runs outside of every sandbox, as root, and therefore handles nothing of a function: a request is descriptors only. What is to be
started is read by the child, which becomes it. Requests, orders and the order of steps are
described in `crates/sandbox/src/spawner/zygote.rs`; the steps themselves come with each order. Works from Python 3.8 on.
"""

# What the boot program imports too: every function finds it loaded.
import _posixsubprocess
import gc
import json
import os
import select
import sys
import time
from _socket import AF_UNIX, CMSG_SPACE, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, socket
from struct import Struct, unpack, unpack_from

_usual = frozenset(sys.modules)

# What only this program needs, and what is preloaded: a function with a module of such a name must not be forked.
import ctypes  # noqa: E402
import marshal  # noqa: E402
import signal  # noqa: E402

_REQUESTS = 3
_DESCRIPTORS_MAX = 16
_CLONE_VM, _CLONE_VFORK, _CLONE_NEWPID, _CLONE_INTO_CGROUP = 0x100, 0x4000, 0x20000000, 0x200000000
# The same on every processor.
_PIDFD_OPEN, _CLOSE_RANGE = 434, 436
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_MM = 1, 4, 15, 35
_PR_SET_MM_MAP, _NO_DESCRIPTOR = 14, 0xFFFFFFFF
# Of a child's mother in its pid namespace: high, so that the child's number is the next after the init's. No lower bound that
# the kernel sets for process ids is below.
_MOTHER = 300
# As the daemon counts steps: the first is nobody's.
_NO_STEP, _CLONE, _EXEC = 0, 1, 17
_CLONE_ARGS = Struct("<11Q")
_ANSWER = Struct("<iii")
# `struct prctl_mm_map`: bounds of code, data and heap, the stack's start, bounds of arguments and environment, no auxiliary
# vector, no other executable.
_MEMORY_MAP = Struct("<12QII")

# The interpreter's own lock is held during the calls: there is only one thread.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_ulong] * 5
_syscall.restype = ctypes.c_long
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.sbrk.argtypes = [ctypes.c_long]
_libc.sbrk.restype = ctypes.c_ulong
_setns = _libc.setns
_setns.argtypes = [ctypes.c_int, ctypes.c_int]


class _Failed(Exception):
    def __init__(self, step):
        super().__init__(step)
        self.step = step
        self.errno = ctypes.get_errno()


def _name(name):
    _prctl(_PR_SET_NAME, ctypes.addressof(ctypes.create_string_buffer(name[:15])), 0, 0, 0)


def _receive(connection, length):
    """Bytes and descriptors of one message."""
    data, control, _, _ = connection.recvmsg(length, CMSG_SPACE(4 * _DESCRIPTORS_MAX), MSG_CMSG_CLOEXEC)
    descriptors = []
    for level, kind, content in control:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            descriptors.extend(unpack("%di" % (len(content) // 4), content))
    return data, descriptors


# ------------------------------------------------------------------------------------------------------------- preload


def _preload(names):
    """Loads modules; returns those that could not be."""
    from importlib import import_module

    missing = []
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            missing.append("%s: %s: %s" % (name, type(error).__name__, error))
    return missing


def _program(folder):
    """The boot program's code."""
    try:
        with open(folder + "/bootstrap.pyc", "rb") as file:
            return folder + "/bootstrap.pyc", marshal.loads(file.read()[16:])
    except OSError:
        path = folder + "/bootstrap.py"
        with open(path, "rb") as file:
            return path, compile(file.read(), path, "exec")


# ------------------------------------------------------------------------------------------------------------- sandbox


def _look(arguments, environment):
    """Has `/proc` show these as the process's arguments and environment; returns what must be kept."""
    with open("/proc/self/stat", "rb") as file:
        # After the name, which may hold anything, with the third field.
        fields = file.read().rpartition(b")")[2].split()
    code, data, heap = fields[23:25], fields[42:44], (int(fields[44]), _libc.sbrk(0))
    blocks = [b"".join(text + b"\0" for text in texts) for texts in (arguments, environment)]
    memory = ctypes.create_string_buffer(b"".join(blocks), len(blocks[0]) + len(blocks[1]) + 1)
    first = ctypes.addressof(memory)
    second = first + len(blocks[0])
    addresses = (*map(int, code), *map(int, data), *heap, int(fields[25]), first, second, second, second + len(blocks[1]))
    layout = _MEMORY_MAP.pack(*addresses, 0, 0, _NO_DESCRIPTOR)
    layout = ctypes.create_string_buffer(layout, len(layout))
    if _prctl(_PR_SET_MM, _PR_SET_MM_MAP, ctypes.addressof(layout), len(layout), 0):
        raise _Failed(_EXEC)
    return memory


class _Order:
    """Who a program is to be."""

    def __init__(self, talk):
        length, self.descriptors = _receive(talk, 8)
        left = int.from_bytes(length, "little")
        if len(length) < 8:
            os._exit(1)
        order = bytearray()
        while len(order) < left:
            more = talk.recv(left - len(order))
            if not more:
                os._exit(1)
            order += more
        self._order, self._at = order, 1
        self.channel = self._number()
        count = self._number()
        self.calls = [self._numbers(13) for _ in range(count)]
        count = self._number()
        self.pointers = [self._numbers(2) for _ in range(count)]
        self.memory = self._bytes()
        self.arguments = [self._bytes() for _ in range(self._number())]
        self.environment = [self._bytes() for _ in range(self._number())]

    def _numbers(self, count):
        numbers = unpack_from("<%dQ" % count, self._order, self._at)
        self._at += 8 * count
        return numbers

    def _number(self):
        return self._numbers(1)[0]

    def _bytes(self):
        length = self._number()
        self._at += length
        return bytes(self._order[self._at - length : self._at])

    def carry_out(self):
        memory = ctypes.create_string_buffer(self.memory, len(self.memory))
        base = ctypes.addressof(memory)
        for at, target in self.pointers:
            ctypes.c_uint64.from_address(base + at).value = base + target
        descriptors = self.descriptors
        for number, step, _, *arguments in self.calls:
            values = []
            for at in range(0, 10, 2):
                kind, value = arguments[at : at + 2]
                values.append(value if kind == 0 else base + value if kind == 1 else descriptors[value])
            if _syscall(number, *values) < 0:
                raise _Failed(step)


def _enter(talk_descriptor):
    """Goes into the sandbox and tells the init so; returns the order, and what must be kept."""
    talk = socket(AF_UNIX, SOCK_STREAM, 0, talk_descriptor)
    try:
        order = _Order(talk)
        # Until the mother is gone, the init is not the parent, with which the child is to end.
        while os.getppid() != 1:
            os.sched_yield()
        order.carry_out()
        kept = _look(order.arguments, order.environment)
        for source, target in zip(order.descriptors, (1, 2)):
            os.dup2(source, target)
        if order.channel:
            os.dup2(order.descriptors[order.channel], 3)
        os.dup2(talk_descriptor, 4)
        _syscall(_CLOSE_RANGE, 5, 0xFFFFFFFF, 0, 0, 0)
        os.write(4, _ANSWER.pack(os.getpid(), 0, 0))
    except _Failed as failed:
        talk.sendall(_ANSWER.pack(0, failed.step, failed.errno))
        os._exit(1)
    except BaseException as error:
        try:
            talk.sendall(_ANSWER.pack(0, _NO_STEP, getattr(error, "errno", 0) or 22))
        finally:
            os._exit(1)
    talk.detach()
    return order, kept


# ------------------------------------------------------------------------------------------------------------- program


def _freshen():
    """Renews what loaded modules remember of the time or process in which they were loaded. `random` and OpenSSL take new
    seeds at each fork by themselves."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
    threading = sys.modules.get("threading")
    if threading is not None:
        threading.main_thread()._set_native_id()


def _become(order, path, code):
    """What an interpreter finds that was started for this program alone."""
    _syscall(_CLOSE_RANGE, 4 if order.channel else 3, 0xFFFFFFFF, 0, 0, 0)
    os.setsid()
    _name(os.path.basename(order.arguments[0]))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    environ = os.environ
    zone, coerced = environ.get("TZ"), environ.get("LC_CTYPE")
    environ.clear()
    if coerced is not None:
        # What an interpreter sets for itself and its children where the locale of its environment is unknown.
        environ["LC_CTYPE"] = coerced
    for text in order.environment:
        name, _, value = text.partition(b"=")
        os.environb[name] = value
    if environ.get("TZ") != zone:
        time.tzset()
    sys.argv = [os.fsdecode(argument) for argument in order.arguments[2:]]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [os.fsdecode(argument) for argument in order.arguments]
    _freshen()
    main = type(sys)("__main__")
    main.__file__ = path
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    # What the init keeps to is not the program's: to end with its parent, and, since it changed its user, to be undumpable.
    _prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
    _prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    exec(code, main.__dict__)


# -------------------------------------------------------------------------------------------------------------- zygote


class _Births:
    """Children of this process in the pid namespace last entered, whose parent is the first process there: they are born by a
    mother that ends at once and copies no memory. Not by fork alone, which cannot choose her number nor the cgroup."""

    def __init__(self, folder):
        self._bear = ctypes.PyDLL(folder + "/libneap.so", use_errno=True).bear
        self._bear.argtypes = [ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
        self._bear.restype = ctypes.c_long
        # What the interpreter does around each fork.
        self._before = ctypes.pythonapi.PyOS_BeforeFork
        self._after = ctypes.pythonapi.PyOS_AfterFork_Parent
        self._after_in_child = ctypes.pythonapi.PyOS_AfterFork_Child
        self._before.restype = self._after.restype = self._after_in_child.restype = None

    def bear(self, birthplace):
        """Returns 0 in the child, here an error number or nothing."""
        number = ctypes.c_int(_MOTHER)
        into = (_CLONE_INTO_CGROUP, birthplace) if birthplace is not None else (0, 0)
        arguments = _CLONE_ARGS.pack(
            _CLONE_VM | _CLONE_VFORK | into[0],
            *(0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(number), 1, into[1])
        )
        memory = ctypes.create_string_buffer(arguments, len(arguments))
        forked = ctypes.c_int(0)
        self._before()
        mother = self._bear(ctypes.addressof(memory), len(arguments), ctypes.addressof(forked))
        if mother == 0:
            self._after_in_child()
            return 0
        failed = -mother if mother < 0 else ctypes.get_errno() if forked.value < 0 else None
        self._after()
        return failed


def main():
    _name(b"neap-zygote")
    folder = os.path.dirname(os.path.abspath(__file__))
    missing = _preload(sys.argv[1:])
    path, code = _program(folder)
    # Children that have ended are nobody's concern.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    requests = socket(AF_UNIX, SOCK_SEQPACKET, 0, _REQUESTS)
    own = _syscall(_PIDFD_OPEN, os.getpid(), 0, 0, 0, 0)
    births = _Births(folder)
    for complaint in missing:
        os.write(2, ("preload: %s\n" % complaint).encode())
    loaded = sorted({name.partition(".")[0] for name in set(sys.modules) - _usual})
    gc.collect()
    gc.freeze()
    os.write(1, (" ".join(loaded) + "\n").encode())
    while True:
        data, descriptors = _receive(requests, 16)
        if not data:
            os._exit(0)
        process, talk, *birthplace = descriptors
        entered = _setns(process, _CLONE_NEWPID) == 0
        failed = births.bear(birthplace[0] if birthplace else None) if entered else ctypes.get_errno()
        if failed == 0:
            break
        if failed:
            answer = _ANSWER.pack(0, _CLONE, failed)
            try:
                os.write(talk, answer)
            except OSError:
                pass  # the init has ended
        for descriptor in descriptors:
            os.close(descriptor)
        # The pid namespace is held no longer than needed.
        _setns(own, _CLONE_NEWPID)
    requests.detach()
    os.close(process)
    order, main.kept = _enter(talk)
    _become(order, path, code)


if __name__ == "__main__":
    main()
