"""Python interpreters that wait for functions, forked from their zygote or executed: what runs in one cannot tell."""

import os
import re
import shutil
import signal
import subprocess

import pytest
from conftest import eventually, root, running
from test_stem_cells import Side, configuration, deploy, metrics, ready, side_error, used, without_own
from test_zygote import forked, named_zygote

RUNTIME = "python3.11"
PLAIN = {"app.py": "def handler(event, context): return event"}
WEAKER = (
    '[sandbox]\nallow_weaker = ["no-own-uid", "no-memory-limit", "no-process-limit", "no-cpu-weight", "no-freezer"]\n'
    "[runtimes]\ninstall_sdks = false\n"
)


def pair(one, other):
    return [Side(one, True, RUNTIME, PLAIN), Side(other, False, RUNTIME, PLAIN)]


@pytest.fixture(scope="module")
def sides():
    with running(config=configuration()) as one, running(config=configuration(stem_cells_max=0)) as other:
        yield pair(one, other)
        assert one.alive() and other.alive()
        assert metrics(one)["neap_stem_cells_lost_total"] == 0
        assert not [name for name in metrics(other) if "{" in name]


@pytest.fixture(params=[0, 1], ids=["cells", "none"])
def side(sides, request):
    return sides[request.param]


SEEN = """
import builtins, gc, json, locale, os, sys, time
def lines(file):
    with open(file) as opened:
        return opened.read().split("\\n")
path = list(sys.path)
first = {
    "env": dict(os.environ), "order": [name for name in os.environ if not name.startswith("AWS_S")], "cwd": os.getcwd(),
    "argv": sys.argv, "original": getattr(sys, "orig_argv", None), "path": path, "flags": str(sys.flags),
    "modules": sorted(sys.modules), "hooks": [str(type(one)) for one in sys.meta_path], "caches": sorted(sys.path_importer_cache),
    "command": lines("/proc/self/cmdline"), "files": [(one, sorted(os.listdir(one))) for one in ("/", "/var", "/var/task", "/opt", "/tmp")],
    "mounts": sorted(" ".join(line.split(" ")[4:6]) for line in lines("/proc/self/mountinfo")), "limits": lines("/proc/self/limits"),
    "status": [line for line in lines("/proc/self/status") if line.startswith(("Cap", "Seccomp", "NoNewPrivs", "Shd", "SigB", "SigI", "SigC"))],
    "descriptors": sorted(os.listdir("/proc/self/fd")), "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0),
    "zone": time.tzname, "locale": locale.getlocale(), "builtins": sorted(dir(builtins)), "main": sys.modules["__main__"].__file__,
    "collects": gc.isenabled(), "streams": [sys.stdout.line_buffering, sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors],
    "started": "logging" in sys.modules and abs(time.time() * 1e9 - sys.modules["logging"]._startTime * (1 if sys.version_info >= (3, 13) else 1e9)) < 3e9,
}
def handler(event, context):
    names = ("function_name", "function_version", "memory_limit_in_mb", "log_group_name", "tenant_id")
    return {**first, "context": [getattr(context, name) for name in names], "text": "ü"}
"""


@pytest.mark.parametrize(
    "variables",
    [{}, {"AA": "ü=\n1", "TZ": "Asia/Tokyo", "PATH": "/x", "HOME": "/tmp", "EMPTY": "", "LOG": "1"}],
    ids=["plain", "changed"],
)
@pytest.mark.parametrize("memory", [128, 512])
def test_functions_see_the_same_with_and_without_cells(sides, variables, memory):
    seen, number = [], max(side.count for side in sides)
    for side in sides:
        side.count = number  # so that they have the same name
        side.prime(memory)
        # Without a cell it is forked from the zygote, which is there only then.
        eventually(lambda side=side: deploy_and_fork(side))
        seen.append(without_own(side.answer({"app.py": SEEN}, memory=memory, Environment={"Variables": variables})))
    for name in seen[0]:
        assert seen[0][name] == seen[1][name], name
    assert seen[0]["cwd"] == "/var/task" and seen[0]["env"].items() >= variables.items() and "empty" not in seen[0]["modules"]
    assert seen[0]["zone"][0] == ("JST" if "TZ" in variables else "UTC")


def deploy_and_fork(side):
    if not named_zygote(side.node) and not hasattr(side, "began"):
        side.began = deploy(side.node, PLAIN, "began", runtime=RUNTIME)()
    return named_zygote(side.node) or os.geteuid() != 0


def test_layers_and_libraries_are_there(side, tmp_path):
    layer = side.layer({"python/shared.py": "text = 'of a layer'", "data.txt": "data"})
    source = "from shared import text\ndef handler(event, context): return [text, open('/opt/data.txt').read()]"
    assert side.answer({"app.py": source}, layers=[layer]) == ["of a layer", "data"]
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    (tmp_path / "inner.c").write_text("int inner(void) { return 7; }")
    (tmp_path / "outer.c").write_text("int inner(void); int outer(void) { return inner(); }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libinner.so", "inner.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "outer.so", "outer.c", "-L.", "-linner"], cwd=tmp_path, check=True)
    outer, inner = (tmp_path / "outer.so").read_bytes(), (tmp_path / "libinner.so").read_bytes()
    source = "def handler(event, context):\n    import ctypes\n    return ctypes.CDLL('/var/task/outer.so').outer()"
    assert side.answer({"app.py": source, "outer.so": outer, "lib/libinner.so": inner}) == 7
    library = side.layer({"lib/libinner.so": inner})
    # The dynamic linker looks for such folders when a process starts: no cell, and forked all the same.
    assert side.answer({"app.py": source, "outer.so": outer}, layers=[library], waits=False) == 7


@pytest.mark.parametrize(
    "variables, waits, source, expected",
    [
        ({"PYTHONHASHSEED": "0"}, False, "hash('abc') == hash('abc') and __import__('sys').flags.hash_randomization", 0),
        ({"PYTHONPATH": "/var/task/own"}, False, "'/var/task/own' in __import__('sys').path", True),
        ({"LD_LIBRARY_PATH": "/var/task/x"}, False, "__import__('os').environ['LD_LIBRARY_PATH']", "/var/task/x"),
        ({"LANG": "de_DE.UTF-8"}, False, "__import__('os').environ['LANG']", "de_DE.UTF-8"),
        ({"SSL_CERT_FILE": "/x"}, True, "__import__('ssl').get_default_verify_paths().openssl_cafile_env", "SSL_CERT_FILE"),
    ],
)
def test_variables_that_act_at_the_start_act(side, variables, waits, source, expected):
    code = f"def handler(event, context): return {source}"
    assert side.answer({"app.py": code}, waits=waits, Environment={"Variables": variables}) == expected


def test_a_module_of_the_functions_own_is_not_the_loaded_one(side):
    files = {"app.py": "import uuid\ndef handler(event, context): return uuid.mine", "uuid.py": "mine = 'own'"}
    side.prime()
    assert side.answer(files, waits=False) == "own"


@pytest.mark.parametrize(
    "files, handler, kind, text",
    [
        ({"app.py": "this is no program"}, "app.handler", "Runtime.UserCodeSyntaxError", "invalid syntax"),
        ({"app.py": "import absent"}, "app.handler", "Runtime.ImportModuleError", "absent"),
        ({"app.py": "raise TypeError('at load')"}, "app.handler", "TypeError", "at load"),
        ({"app.py": "other = 1"}, "app.handler", "Runtime.HandlerNotFound", "handler"),
        ({"app.py": "handler = 1"}, "handler", "Runtime.MalformedHandlerName", "Bad handler"),
        ({"app.py": "import sys\ndef handler(event, context): sys.exit(7)"}, "app.handler", "Runtime.ExitError", "exit status 7"),
        ({"app.py": "import os\nos._exit(3)"}, "app.handler", "Runtime.ExitError", "exit status 3"),
        ({"app.py": "def handler(event, context): raise KeyError('in the call')"}, "app.handler", "KeyError", "in the call"),
    ],
)
def test_errors_are_the_same(side, files, handler, kind, text):
    reply = side_error(side, files, handler)
    assert (reply["Body"]["errorType"], text in reply["Body"]["errorMessage"]) == (kind, True), reply["Body"]
    assert "/var/runtime" not in str(reply["Body"].get("stackTrace", "")), "the way of waiting is not in the stack"


def test_time_and_memory_are_limited(side):
    reply = side.first_call({"app.py": "import time\ndef handler(event, context): time.sleep(60)"}, Timeout=1)
    assert "Task timed out after 1.00 seconds" in reply["Body"]["errorMessage"]
    reply = side.first_call({"app.py": "def handler(event, context): return len(b'x' * (1 << 30))"}, memory=256)
    assert reply["Body"]["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError", "MemoryError") and reply["FunctionError"] == "Unhandled"
    assert "Memory Size: 256 MB" in reply["Tail"]


def test_lines_and_reports_are_the_same(side):
    source = """
import logging
logging.getLogger().warning("while loading")
print("printed")
def handler(event, context):
    logging.getLogger().warning("in the call")
    logging.getLogger().info("too low")
"""
    reply = side.first_call({"app.py": source})
    assert re.search(r"\[WARNING\]\t\S+Z\t[0-9a-f-]{36}\tin the call\n", reply["Tail"]) and "too low" not in reply["Tail"]
    assert re.search(r"Init Duration: [0-9.]+ ms", reply["Tail"])
    reply = side.first_call({"app.py": source}, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"})
    lines = [line for line in reply["Tail"].splitlines() if "in the call" in line or "too low" in line]
    assert ['"level": "WARNING"' in lines[0] or '"level":"WARNING"' in lines[0], len(lines)] == [True, 2], reply["Tail"]


def test_nothing_of_one_function_is_in_another(side):
    source = """
import os, random, uuid
drawn = [random.random(), str(uuid.uuid4()), hash("x")]
def handler(event, context):
    shown = open("/proc/self/environ", "rb").read()
    return {"env": os.environ.get("SECRET"), "files": sorted(os.listdir("/var/task")), "tmp": os.listdir("/tmp"), "drawn": drawn[:2],
            "all": os.environ["AWS_SECRET_ACCESS_KEY"].encode() in shown}
"""
    first = side.answer({"app.py": source, "one.txt": "1"}, Environment={"Variables": {"SECRET": "of one"}})
    second = side.answer({"app.py": source, "two.txt": "2"})
    assert (first["env"], second["env"], second["tmp"]) == ("of one", None, [])
    assert "one.txt" in first["files"] and "one.txt" not in second["files"] and "two.txt" in second["files"]
    assert not set(map(str, first["drawn"])) & set(map(str, second["drawn"]))
    assert not side.cells or not (first["all"] or second["all"]), "the environment that the kernel shows is the neutral one"


@root
def test_cells_are_forked_and_end_with_their_zygote():
    with running(config=configuration(stem_cells_max=2)) as node:
        side = Side(node, True, RUNTIME, PLAIN)
        side.prime()
        before = forked(node)
        assert side.answer({"app.py": "def handler(event, context): return 1"}) == 1
        assert forked(node) == before + 1, "a start in a cell that was forked is one of the zygote's"
        eventually(lambda: ready(node, 128, RUNTIME) >= 1)
        [zygote] = named_zygote(node)
        os.kill(zygote, signal.SIGKILL)
        eventually(lambda: [one for one in named_zygote(node) if one != zygote])
        lost = metrics(node)["neap_stem_cells_lost_total"]
        # Those of the old one serve nobody; others come from the new one.
        assert deploy(node, PLAIN, "next", runtime=RUNTIME)({"x": 1}) == {"x": 1}
        eventually(lambda: metrics(node)["neap_stem_cells_lost_total"] > lost and ready(node, 128, RUNTIME) >= 1)
        assert side.answer({"app.py": "def handler(event, context): return 2"}) == 2


@root
def test_cells_work_without_root_and_without_a_zygote():
    with running(config=WEAKER, user=65534) as node:
        side = Side(node, True, RUNTIME, PLAIN)
        source = "import os\ndef handler(event, context): return [os.getcwd(), os.environ['AWS_LAMBDA_FUNCTION_NAME']]"
        assert side.answer({"app.py": source}) == ["/var/task", "f1"]
        assert forked(node) == 0
    zygoteless = configuration(zygote_idle_s=0)
    with running(config=zygoteless) as node:
        side = Side(node, True, RUNTIME, PLAIN)
        assert side.answer({"app.py": source}) == ["/var/task", "f1"]
        assert forked(node) == 0 and used(node) == 1
