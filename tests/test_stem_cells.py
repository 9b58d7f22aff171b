"""Booted Node.js interpreters that wait for functions: what runs in one cannot tell, and the pool is as large as demand."""

import base64
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import ROLE, Function, eventually, get, package, root, running

RUNTIME = "nodejs20.x"
PLAIN = {"app.js": "exports.handler = async (event) => event;"}


def configuration(**settings):
    lines = ["[runtimes]", "install_sdks = false"]
    if os.environ.get("NEAP_RUNTIMES"):
        lines.append(f'folder = "{os.environ["NEAP_RUNTIMES"]}"')
    return "\n".join(lines + [f"{name} = {value}" for name, value in settings.items()]) + "\n"


def metrics(node):
    found = {}
    for line in get(node, "/_neap/metrics").text.splitlines():
        match = re.match(r"^(neap_stem_cells\w*)(\{[^}]*\})? ([0-9.e+]+)$", line)
        if match:
            found[match[1] + (match[2] or "").replace("{}", "")] = float(match[3])
    return found


def ready(node, memory=128, runtime=RUNTIME):
    label = f'neap_stem_cells{{runtime="{runtime}",memory_mb="{memory}",state="ready"}}'
    return metrics(node).get(label, 0)


def used(node):
    return metrics(node)["neap_stem_cells_used_total"]


def deploy(node, files, name, handler="app.handler", runtime=RUNTIME, **options):
    client = node.client("lambda")
    made = client.create_function(
        FunctionName=name, Runtime=runtime, Handler=handler, Role=ROLE, Code={"ZipFile": package(files)}, **options
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    return Function(client, name, made)


class Side:
    """One of two nodes that must not be told apart by functions: with cells or without."""

    def __init__(self, node, cells, runtime=RUNTIME, plain=PLAIN):
        self.node, self.cells, self.count, self.primed, self.runtime, self.plain = node, cells, 0, set(), runtime, plain

    def prime(self, memory=128):
        """Waits for a cell, after the first start of its kind."""
        if self.cells and memory not in self.primed:
            deploy(self.node, self.plain, f"primer{memory}", runtime=self.runtime, MemorySize=memory)()
            self.primed.add(memory)
        if self.cells:
            eventually(lambda: ready(self.node, memory, self.runtime) >= 1)

    def first_call(self, files, event=None, waits=True, memory=128, layers=(), **options):
        """The answer of a function's first call, in a cell if it `waits`; `None`: as it comes."""
        self.count += 1
        self.prime(memory)
        function = deploy(
            self.node, files, f"f{self.count}", runtime=self.runtime, MemorySize=memory, Layers=list(layers), **options
        )
        before = used(self.node)
        reply = function.invoke(event, LogType="Tail")
        assert waits is None or used(self.node) - before == (1 if self.cells and waits else 0)
        reply["Tail"] = base64.b64decode(reply["LogResult"]).decode()
        return reply

    def answer(self, files, event=None, **options):
        reply = self.first_call(files, event, **options)
        assert "FunctionError" not in reply, reply["Body"]
        return reply["Body"]

    def layer(self, files):
        self.count += 1
        client = self.node.client("lambda")
        return client.publish_layer_version(LayerName=f"l{self.count}", Content={"ZipFile": package(files)})["LayerVersionArn"]


@pytest.fixture(scope="module")
def sides():
    with running(config=configuration()) as one, running(config=configuration(stem_cells_max=0)) as other:
        yield [Side(one, True), Side(other, False)]
        assert one.alive() and other.alive()
        assert not [name for name in metrics(other) if "{" in name]


@pytest.fixture(params=[0, 1], ids=["cells", "none"])
def side(sides, request):
    return sides[request.param]


COMMON = "exports.handler = async (event, context) => ({ event, name: context.functionName, cwd: process.cwd() });"
MODULE = "export const handler = async (event, context) => ({ event, name: context.functionName, cwd: process.cwd() });"


@pytest.mark.parametrize(
    "files",
    [
        {"app.js": COMMON},
        {"app.cjs": COMMON},
        {"app.mjs": MODULE},
        {"app.mjs": "const { readFile } = await import('node:fs/promises'); await readFile('app.mjs');" + MODULE},
        {"app.js": MODULE, "package.json": '{"type": "module"}'},
        {"app.mjs": "import { handler } from './inner.mjs'; export { handler };", "inner.mjs": MODULE},
        {"app.js": "exports.handler = require('thing').handler;", "node_modules/thing/index.js": COMMON},
        {"app.mjs": "export { handler } from 'thing';", "node_modules/thing/index.mjs": MODULE,
         "node_modules/thing/package.json": '{"exports": "./index.mjs"}'},
    ],
    ids=["js", "cjs", "mjs", "await", "package", "import", "require", "bare"],
)
def test_modules_of_each_kind_are_loaded(side, files):
    body = side.answer(files, {"x": "ü"})
    assert body == {"event": {"x": "ü"}, "name": f"f{side.count}", "cwd": "/var/task"}


SEEN = """
const fs = require('fs'), v8 = require('v8'), Module = require('module');
const uptime = process.uptime();
const lines = (file) => fs.readFileSync(file, 'utf8').split('\\n');
const first = {
  env: { ...process.env }, cwd: process.cwd(), folder: fs.readlinkSync('/proc/self/cwd'), argv: process.argv,
  execArgv: process.execArgv, title: process.title, command: fs.readFileSync('/proc/self/cmdline', 'utf8'),
  heap: v8.getHeapStatistics().heap_size_limit, paths: module.paths, global: Module.globalPaths,
  files: ['/', '/var', '/var/task', '/opt', '/tmp', '/var/runtime'].map((folder) => [folder, fs.readdirSync(folder).sort()]),
  mounts: lines('/proc/self/mountinfo').map((line) => line.split(' ').slice(4, 6).join(' ')).sort(),
  limits: lines('/proc/self/limits'), umask: process.umask(), pid: process.pid,
  status: lines('/proc/self/status').filter((line) => /^(Cap|Seccomp|NoNewPrivs|Shd|Sig[BIC])/.test(line)),
  globals: Object.getOwnPropertyNames(globalThis).sort(), known: Object.keys(require.cache).sort(),
  loaded: process.moduleLoadList.length > 0, main: require.main.filename, young: uptime < 3,
  events: process.eventNames().map(String).sort(), handles: process._getActiveHandles().length,
  random: typeof Math.random(), zone: new Intl.DateTimeFormat().resolvedOptions().timeZone, hours: new Date(0).getHours(),
  locale: new Intl.DateTimeFormat().resolvedOptions().locale,
};
exports.handler = async () => first;
"""
# Of the start or the node, not of the function.
OWN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME"}


def without_own(body):
    """What a function saw, without what is of the start."""
    assert not OWN - set(body["env"])
    return {**body, "env": {name: value for name, value in body["env"].items() if name not in OWN}}


@pytest.mark.parametrize("variables", [{}, {"AA": "ü=\n1", "NODE_ENV": "production", "TZ": "Asia/Tokyo", "PATH": "/x", "HOME": "/tmp",
                                            "NODE_PATH": "/var/task/own", "EMPTY": ""}], ids=["plain", "changed"])
@pytest.mark.parametrize("memory", [128, 512])
def test_functions_see_the_same_with_and_without_cells(sides, variables, memory):
    seen, number = [], max(side.count for side in sides)
    for side in sides:
        side.count = number  # so that they have the same name
        seen.append(without_own(side.answer({"app.js": SEEN}, memory=memory, Environment={"Variables": variables})))
    for name in seen[0]:
        assert seen[0][name] == seen[1][name], name
    assert seen[0]["young"] and seen[0]["cwd"] == "/var/task" and seen[0]["env"].items() >= variables.items()
    assert seen[0]["zone"] == variables.get("TZ", "UTC").strip(":") and (seen[0]["hours"] == 9) == ("TZ" in variables)


def test_layers_are_there(side):
    layer = side.layer({"nodejs/node_modules/shared/index.js": "exports.text = 'of a layer';", "data.txt": "data"})
    source = "const { text } = require('shared'); exports.handler = async () => [text, require('fs').readFileSync('/opt/data.txt', 'utf8')];"
    assert side.answer({"app.js": source}, layers=[layer]) == ["of a layer", "data"]
    # The dynamic linker looks for such folders when a process starts: the normal way is taken.
    library = side.layer({"lib/x.txt": "x"})
    source = "exports.handler = async () => require('fs').readdirSync('/opt/lib');"
    assert side.answer({"app.js": source}, layers=[library], waits=False) == ["x.txt"]


def test_the_package_brings_libraries(side, tmp_path):
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    (tmp_path / "inner.c").write_text("int inner(void) { return 7; }")
    (tmp_path / "outer.c").write_text("int inner(void); int outer(void) { return inner(); }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libinner.so", "inner.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "outer.node", "outer.c", "-L.", "-linner"], cwd=tmp_path, check=True)
    # It is no module of Node.js, which is told once it is loaded with what it needs.
    source = "exports.handler = async () => { try { require('./outer.node') } catch (error) { return error.message } };"
    files = {"app.js": source, "outer.node": (tmp_path / "outer.node").read_bytes(), "lib/libinner.so": (tmp_path / "libinner.so").read_bytes()}
    assert "did not self-register" in side.answer(files)


@pytest.mark.parametrize(
    "variables, waits, source, expected",
    [
        ({"NODE_OPTIONS": "--stack-trace-limit=3"}, False, "Error.stackTraceLimit", 3),
        ({"NODE_OPTIONS": "--require /var/task/early.js"}, False, "globalThis.early", "yes"),
        ({"NODE_NO_WARNINGS": "1"}, False, "process.env.NODE_NO_WARNINGS", "1"),
        ({"LANG": "de_DE.UTF-8"}, False, "process.env.LANG", "de_DE.UTF-8"),
        ({"LD_LIBRARY_PATH": "/var/task/x"}, False, "process.env.LD_LIBRARY_PATH", "/var/task/x"),
        ({"UV_THREADPOOL_SIZE": "1"}, False, "await threads()", 1),
        ({"UV_THREADPOOL_SIZE": "3"}, False, "await threads()", 3),
        ({"NODE_ENV": "x"}, True, "process.env.NODE_ENV", "x"),
    ],
)
def test_variables_that_act_at_the_start_act(side, variables, waits, source, expected):
    code = f"""
    const fs = require('fs');
    const count = () => fs.readdirSync('/proc/self/task').length;
    const threads = async () => {{
      const before = count();
      await Promise.all(Array.from({{ length: 8 }}, () => fs.promises.stat('/')));
      return count() - before;
    }};
    exports.handler = async () => {source};
    """
    files = {"app.js": code, "early.js": "globalThis.early = 'yes';"}
    assert side.answer(files, waits=waits, Environment={"Variables": variables}) == expected


@pytest.mark.parametrize(
    "files, handler, kind, text",
    [
        ({"app.js": "this is no program"}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError"),
        ({"app.js": "require('absent')"}, "app.handler", "Runtime.ImportModuleError", "absent"),
        ({"app.js": "throw new TypeError('at load')"}, "app.handler", "TypeError", "at load"),
        ({"app.mjs": "throw new TypeError('at load')"}, "app.handler", "TypeError", "at load"),
        ({"app.js": "exports.other = 1"}, "app.handler", "Runtime.HandlerNotFound", "app.handler"),
        ({"app.js": "exports.handler = 1"}, "app.handler", "Runtime.HandlerNotFound", "not a function"),
        ({"app.js": "exports.handler = 1"}, "handler", "Runtime.MalformedHandlerName", "Bad handler"),
        ({"app.js": "exports.handler = async () => { throw new RangeError('in the call') }"}, "app.handler", "RangeError", "in the call"),
        ({"app.js": "exports.handler = async () => { setTimeout(() => { throw new Error('later') }); await new Promise(() => {}) }"},
         "app.handler", "Error", "later"),
        ({"app.js": "exports.handler = async () => process.exit(7)"}, "app.handler", "Runtime.ExitError", "exit status 7"),
        ({"app.js": "process.exit(3)"}, "app.handler", "Runtime.ExitError", "exit status 3"),
    ],
)
def test_errors_are_the_same(side, files, handler, kind, text):
    # What fails while it is initialised is tried twice, the second time within the call.
    reply = side_error(side, files, handler)
    assert (reply["Body"]["errorType"], text in reply["Body"]["errorMessage"]) == (kind, True), reply["Body"]
    frames = "\n".join(reply["Body"].get("trace", []))
    waited = "receive (" in frames or "onStreamRead" in frames
    assert waited == (text == "in the call"), "while it is loaded, the way of waiting is not in the stack"


def side_error(side, files, handler):
    side.count += 1
    side.prime()
    before = used(side.node)
    reply = deploy(side.node, files, f"f{side.count}", handler=handler, runtime=side.runtime).invoke()
    assert reply["FunctionError"] == "Unhandled"
    assert not side.cells or used(side.node) > before
    return reply


def test_time_and_memory_are_limited(side):
    reply = side.first_call({"app.js": "exports.handler = () => new Promise(() => setTimeout(() => {}, 60000))"}, Timeout=1)
    assert "Task timed out after 1.00 seconds" in reply["Body"]["errorMessage"]
    hog = "exports.handler = async () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); }"
    reply = side.first_call({"app.js": hog}, memory=256)
    assert reply["Body"]["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError") and reply["FunctionError"] == "Unhandled"
    assert "Memory Size: 256 MB" in reply["Tail"]
    size = side.answer({"app.js": "exports.handler = async () => require('fs').statfsSync('/tmp').blocks"}, waits=False, EphemeralStorage={"Size": 600})
    assert size > 0


def test_lines_and_reports_are_the_same(side):
    source = "console.log('while loading'); exports.handler = async () => { console.warn('in the call'); };"
    reply = side.first_call({"app.js": source})
    assert re.search(r"\tundefined\tINFO\twhile loading\n", reply["Tail"]) or "in the call" in reply["Tail"]
    assert re.search(r"\tWARN\tin the call\n", reply["Tail"])
    assert re.search(r"Init Duration: [0-9.]+ ms", reply["Tail"])
    reply = side.first_call({"app.js": source}, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO"})
    [line] = [json.loads(line) for line in reply["Tail"].splitlines() if '"in the call"' in line]
    assert line["level"] == "WARN" and "while loading" not in reply["Tail"]


def test_nothing_of_one_function_is_in_another(side):
    source = """
    const fs = require('fs');
    exports.handler = async () => ({ env: process.env.SECRET ?? null, files: fs.readdirSync('/var/task'), tmp: fs.readdirSync('/tmp'),
      all: fs.readFileSync('/proc/self/environ', 'latin1').includes(process.env.AWS_SECRET_ACCESS_KEY) });
    """
    first = side.answer({"app.js": source, "one.txt": "1"}, Environment={"Variables": {"SECRET": "of one"}})
    assert first["env"] == "of one" and first["files"] == ["app.js", "one.txt"]
    second = side.answer({"app.js": source, "two.txt": "2"})
    assert (second["env"], second["files"], second["tmp"]) == (None, ["app.js", "two.txt"], [])
    assert not side.cells or not (first["all"] or second["all"]), "the environment that the kernel shows is the neutral one"


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1]) == pid:
                    found += [int(entry), *children(int(entry))]
    return found


def waiting_processes(node, program=b"bootstrap.cjs"):
    """Interpreters that were started without a function's environment. None of this node may have been used yet."""
    found = []
    for pid in children(node.process.pid):
        with contextlib.suppress(OSError):
            command, env = (open(f"/proc/{pid}/{name}", "rb").read() for name in ("cmdline", "environ"))
            if program in command and b"AWS_LAMBDA_FUNCTION_NAME" not in env:
                found.append(pid)
    return found


@root
def test_a_cell_holds_no_secret_and_is_shown(tmp_path):
    with running(config=configuration(stem_cells_max=1)) as node:
        assert waiting_processes(node) == [] and ready(node) == 0, "an idle node has none"
        deploy(node, PLAIN, "f", Environment={"Variables": {"SECRET": "hidden"}})()
        eventually(lambda: ready(node) == 1)
        [pid] = waiting_processes(node)
        env = open(f"/proc/{pid}/environ").read()
        assert "SECRET" not in env and "AWS_SECRET_ACCESS_KEY" not in env and "TOKEN" not in env
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        [kind] = json.loads(node.neap("ps", "--json").stdout)["stem_cells"]
        assert (kind["runtime"], kind["memory_mb"], kind["ready"]) == (RUNTIME, 128, 1) and kind["resident_bytes"] > 1 << 20
        assert RUNTIME in node.neap("ps").stderr + node.neap("ps").stdout
        # Frozen: it uses no processor.
        spent = lambda: open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13]  # noqa: E731
        before = spent()
        for _ in range(20):
            get(node, "/_neap/health")
        assert spent() == before


@root
def test_a_killed_cell_serves_nobody_and_is_replaced():
    with running(config=configuration(stem_cells_max=1)) as node:
        deploy(node, PLAIN, "primer")()
        eventually(lambda: ready(node) == 1)
        [pid] = waiting_processes(node)
        os.kill(pid, 9)
        assert deploy(node, PLAIN, "f")({"x": 1}) == {"x": 1}
        assert eventually(lambda: metrics(node)["neap_stem_cells_lost_total"]) == 1
        eventually(lambda: ready(node) == 1)
        [other] = waiting_processes(node)
        assert other != pid
        before = used(node)
        assert deploy(node, PLAIN, "g")({"x": 2}) == {"x": 2} and used(node) == before + 1


def test_the_pool_vanishes_when_nothing_is_started():
    with running(config=configuration(stem_cells_idle_s=2)) as node:
        before = len(children(node.process.pid))
        function = deploy(node, PLAIN, "f", Tags={"neap:idle-seconds": "0"})
        function()
        eventually(lambda: metrics(node)["neap_stem_cells_made_total"] >= 1)
        eventually(lambda: ready(node) == 0 and len(children(node.process.pid)) <= before)
        assert json.loads(node.neap("ps", "--json").stdout)["stem_cells"] == []


def test_a_burst_takes_the_cells_and_the_normal_way():
    with running(config=configuration(stem_cells_max=2)) as node:
        deploy(node, PLAIN, "primer")()
        eventually(lambda: ready(node) == 1)
        functions = [deploy(node, PLAIN, f"f{number}") for number in range(8)]
        before = used(node)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: functions[number]({"n": number}), range(8)))
        assert answers == [{"n": number} for number in range(8)]
        assert used(node) >= before + 1 and metrics(node)["neap_stem_cells_missed_total"] >= 1
        # Now two are wanted, and never more.
        eventually(lambda: ready(node) == 2)


def left(data, processes):
    """What there is of a node: those processes, mounts of its folder, its cgroups."""
    found = [f"process {pid}" for pid in processes if os.path.exists(f"/proc/{pid}")]
    found += [line for line in open("/proc/self/mountinfo") if str(data) in line]
    status = os.stat(data)
    instance = f"{status.st_dev:x}x{status.st_ino:x}"
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [f"cgroup {folder}/{name}" for name in folders if instance in name]
    return found


@root
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_waiting_cells_leave_nothing(tmp_path, end):
    data = tmp_path / "data"
    with running(data=data, config=configuration()) as node:
        deploy(node, PLAIN, "f")()
        eventually(lambda: ready(node) >= 1)
        processes = children(node.process.pid)
        assert left(data, processes), "the probe sees a running node"
        if end == "kill":
            node.kill()
            eventually(lambda: not [one for one in left(data, processes) if one.startswith("process")], timeout=10)
    if end == "kill":
        with running(data=data, config=configuration()) as node:
            assert Function(node.client("lambda"), "f", {})({"x": 1}) == {"x": 1}
            eventually(lambda: ready(node) >= 1)
    assert left(data, processes) == []


@root
def test_cells_work_without_root():
    weaker = '[sandbox]\nallow_weaker = ["no-own-uid", "no-memory-limit", "no-process-limit", "no-cpu-weight", "no-freezer"]\n'
    with running(config=weaker + "[runtimes]\ninstall_sdks = false\n", user=65534) as node:
        side = Side(node, True)
        layer = side.layer({"data.txt": "data"})
        source = "exports.handler = async () => [process.cwd(), require('fs').readFileSync('/opt/data.txt', 'utf8')];"
        assert side.answer({"app.js": source}, layers=[layer]) == ["/var/task", "data"]
