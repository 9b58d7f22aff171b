"""Java machines that wait for functions: what runs in one cannot tell, but by their age."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
from conftest import eventually, root, running
from test_java import JAVAC, compile_to
from test_python_cells import WEAKER
from test_stem_cells import Side, configuration, metrics, ready, side_error, used, waiting_processes, without_own
from test_waiting_sandboxes import kill_and_go_on

RUNTIME = "java17"
MEMORY = 256
HEADER = """
package app;
import com.amazonaws.services.lambda.runtime.*;
import java.io.*;
import java.nio.file.*;
import java.util.*;
"""

pytestmark = [root, pytest.mark.skipif(JAVAC is None, reason="needs a JDK: no javac was found")]


class Javas(Side):
    """One of two nodes, whose functions are bodies of `Object handle(Map<String, Object> event, Context context)`."""

    def __init__(self, node, cells, folder):
        self.folder, self.compiled = folder, 0
        super().__init__(node, cells, RUNTIME, self.package("return event;"))

    def package(self, body, fields="", files=()):
        self.compiled += 1
        source = f"""{HEADER}
        public class handler implements RequestHandler<Map<String, Object>, Object> {{
            {fields}
            public Object handleRequest(Map<String, Object> event, Context context) {{
                try {{ {body} }} catch (IOException | InterruptedException | ReflectiveOperationException error) {{
                    throw new RuntimeException(error);
                }}
            }}
            static void checked() throws IOException, InterruptedException, ReflectiveOperationException {{}}
        }}"""
        source = source.replace("try {", "try { checked(); ", 1)
        return {**compile_to(self.folder / str(self.compiled), {"app/handler.java": source}), **dict(files)}

    def ask(self, body, event=None, fields="", files=(), **options):
        return self.answer(self.package(body, fields, files), event or {}, memory=MEMORY, Timeout=20, **options)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    with running(config=configuration()) as one, running(config=configuration(stem_cells_max=0)) as other:
        yield [Javas(one, True, tmp_path_factory.mktemp("one")), Javas(other, False, tmp_path_factory.mktemp("other"))]
        assert one.alive() and other.alive()
        assert metrics(one)["neap_stem_cells_lost_total"] == 0
        assert not [name for name in metrics(other) if "{" in name]


@pytest.fixture(params=[0, 1], ids=["cells", "none"])
def side(sides, request):
    return sides[request.param]


SEEN = """
    Map<String, Object> seen = new TreeMap<>();
    seen.put("env", System.getenv());
    seen.put("cwd", Path.of("").toAbsolutePath().toString());
    seen.put("file", new File("x").getAbsolutePath());
    seen.put("here", Files.exists(Path.of("app/handler.class")) && new File("app/handler.class").exists());
    seen.put("folder", Files.readSymbolicLink(Path.of("/proc/self/cwd")).toString());
    Process shell = new ProcessBuilder("/bin/sh", "-c", "pwd; exec /usr/bin/cat /proc/self/environ").start();
    String[] inherited = new String(shell.getInputStream().readAllBytes(), "UTF-8").split("\\n", 2);
    seen.put("inherited", new TreeSet<>(Arrays.asList(inherited[1].split("\\0"))).stream().filter(one -> !one.contains("AWS_S")
        && !one.contains("ACCESS_KEY") && !one.contains("LOG_STREAM")).toArray());
    seen.put("inheritedFolder", inherited[0]);
    Properties properties = System.getProperties();
    for (String name : properties.stringPropertyNames()) {
        if (!name.equals("com.amazonaws.xray.traceHeader") && !name.equals("user.name")) seen.put("property " + name, properties.getProperty(name));
    }
    seen.put("command", new String(Files.readAllBytes(Path.of("/proc/self/cmdline"))).split("\\0"));
    for (String name : new String[] {"/", "/var", "/var/task", "/opt", "/tmp", "/var/runtime"}) {
        String[] inner = new File(name).list();
        Arrays.sort(inner);
        seen.put("folder " + name, inner);
    }
    seen.put("mounts", Files.readAllLines(Path.of("/proc/self/mountinfo")).stream().map(line ->
        String.join(" ", Arrays.asList(line.split(" ")).subList(4, 6))).sorted().toArray());
    seen.put("limits", Files.readAllLines(Path.of("/proc/self/limits")));
    seen.put("status", Files.readAllLines(Path.of("/proc/self/status")).stream().filter(line ->
        line.matches("(Cap|Seccomp|NoNewPrivs|Shd|Sig[BIC]).*")).toArray());
    seen.put("zone", TimeZone.getDefault().getID());
    seen.put("hours", java.time.ZonedDateTime.ofInstant(java.time.Instant.EPOCH, java.time.ZoneId.systemDefault()).getHour());
    seen.put("locale", Locale.getDefault().toString());
    seen.put("charset", java.nio.charset.Charset.defaultCharset().name());
    seen.put("heap", Runtime.getRuntime().maxMemory());
    seen.put("processors", Runtime.getRuntime().availableProcessors());
    seen.put("threads", Thread.getAllStackTraces().keySet().stream().map(Thread::getName).sorted().toArray());
    seen.put("loaders", handler.class.getClassLoader().getClass().getName() + Thread.currentThread().getContextClassLoader().getClass());
    seen.put("hooks", context.getFunctionName() + context.getLogGroupName() + context.getMemoryLimitInMB() + context.getFunctionVersion());
    seen.put("pid", ProcessHandle.current().pid());
    seen.put("umask", new TreeSet<>(Files.getPosixFilePermissions(Files.createFile(Path.of("/tmp/new")))).toString());
    return seen;
"""


@pytest.mark.parametrize(
    "variables",
    [{}, {"AA": "ü=1", "TZ": "Asia/Tokyo", "PATH": "/x", "HOME": "/tmp", "EMPTY": "", "CLASSPATH": "/x"}],
    ids=["plain", "changed"],
)
def test_functions_see_the_same_with_and_without_cells(sides, variables):
    seen, number = [], max(side.count for side in sides)
    for side in sides:
        side.count = number  # so that they have the same name
        seen.append(without_own(side.ask(SEEN, Environment={"Variables": variables})))
    for name in sorted(set(seen[0]) | set(seen[1])):
        assert seen[0].get(name) == seen[1].get(name), name
    first = seen[0]
    assert first["cwd"] == first["folder"] == first["inheritedFolder"] == "/var/task" and first["file"] == "/var/task/x" and first["here"]
    assert first["env"].items() >= variables.items() and not [name for name in first["env"] if name.startswith("_NEAP")]
    assert {f"{name}={value}" for name, value in variables.items()} <= set(first["inherited"])
    assert (first["zone"], first["hours"]) == (("Asia/Tokyo", 9) if "TZ" in variables else ("UTC", 0))


def test_layers_libraries_and_native_code_are_there(side, tmp_path):
    layer = side.layer({"data.txt": "data"})
    assert side.ask('return Files.readString(Path.of("/opt/data.txt"));', layers=[layer]) == "data"
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    (tmp_path / "inner.c").write_text("int inner(void) { return 7; }")
    (tmp_path / "outer.c").write_text("int inner(void); int Java_app_handler_outer(void *m, void *c) { return inner(); }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libinner.so", "inner.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libouter.so", "outer.c", "-L.", "-linner"], cwd=tmp_path, check=True)
    outer, inner = (tmp_path / "libouter.so").read_bytes(), (tmp_path / "libinner.so").read_bytes()
    body = 'System.load("/var/task/libouter.so"); return outer();'
    files = {"libouter.so": outer, "lib/libinner.so": inner}
    assert side.ask(body, fields="static native int outer();", files=files) == 7
    library = side.layer({"lib/libinner.so": inner})
    # The dynamic linker looks for such folders when a process starts: the normal way is taken.
    files = {"libouter.so": outer}
    assert side.ask(body, fields="static native int outer();", files=files, layers=[library], waits=False) == 7


@pytest.mark.parametrize(
    "variables, waits, source, expected",
    [
        ({"JAVA_TOOL_OPTIONS": "-Dmine=1"}, False, 'System.getProperty("mine")', "1"),
        ({"JDK_JAVA_OPTIONS": "-Dmine=2"}, False, 'System.getProperty("mine")', "2"),
        ({"LD_LIBRARY_PATH": "/var/task/x"}, False, 'System.getProperty("java.library.path").contains("/var/task/x")', True),
        ({"LANG": "de_DE.UTF-8"}, False, 'System.getenv("LANG")', "de_DE.UTF-8"),
        ({"MINE": "3"}, True, 'System.getenv("MINE")', "3"),
    ],
)
def test_variables_that_act_at_the_start_act(side, variables, waits, source, expected):
    assert side.ask(f"return {source};", waits=waits, Environment={"Variables": variables}) == expected


@pytest.mark.parametrize(
    "body, fields, handler, kind, text",
    [
        ("return 1;", "static { if (true) throw new IllegalStateException(\"at load\"); }", "app.handler", "java.lang.IllegalStateException", "at load"),
        ("return 1;", "", "app.Absent", "java.lang.ClassNotFoundException", "app.Absent"),
        ("throw new IllegalArgumentException(\"in the call\");", "", "app.handler", "java.lang.IllegalArgumentException", "in the call"),
        ("System.exit(7); return 1;", "", "app.handler", "Runtime.ExitError", "exit status 7"),
        ("return 1;", "static { System.exit(3); }", "app.handler", "Runtime.ExitError", "exit status 3"),
    ],
)
def test_errors_are_the_same(side, body, fields, handler, kind, text):
    reply = side_error(side, side.package(body, fields), handler)
    assert (reply["Body"]["errorType"], text in reply["Body"]["errorMessage"]) == (kind, True), reply["Body"]
    assert "neap.boot" not in str(reply["Body"].get("stackTrace", ""))


def test_time_and_memory_are_limited(side):
    reply = side.first_call(side.package("Thread.sleep(60_000); return 1;"), {}, memory=MEMORY, Timeout=2)
    assert "Task timed out after 2.00 seconds" in reply["Body"]["errorMessage"]
    body = "List<long[]> all = new ArrayList<>(); while (true) all.add(new long[1 << 20]);"
    reply = side.first_call(side.package(body), {}, memory=MEMORY, Timeout=20)
    assert reply["Body"]["errorType"] == "java.lang.OutOfMemoryError" and "Memory Size: 256 MB" in reply["Tail"]


def test_lines_and_reports_are_the_same(side):
    body = 'context.getLogger().log("recorded"); System.out.println("printed"); System.err.println("ü"); return 1;'
    files = side.package(body, 'static { System.out.println("while loading"); }')
    reply = side.first_call(files, {}, memory=MEMORY)
    lines = [line for line in reply["Tail"].splitlines() if re.search("recorded|printed|ü", line)]
    assert len(lines) == 3 and "recorded" in lines[0] and re.search(r"Init Duration: [0-9.]+ ms", reply["Tail"]), reply["Tail"]
    options = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO"}
    body = """context.getLogger().log("low", com.amazonaws.services.lambda.runtime.logging.LogLevel.INFO);
              context.getLogger().log("high", com.amazonaws.services.lambda.runtime.logging.LogLevel.ERROR); return 1;"""
    tail = side.first_call(side.package(body), {}, memory=MEMORY, LoggingConfig=options)["Tail"]
    assert '"message":"high"' in tail and "low" not in tail, tail


def test_nothing_of_one_function_is_in_another(side):
    fields = "static final List<Object> drawn = List.of(Math.random(), UUID.randomUUID().toString(), new Object().hashCode());"
    body = """
        String shown = Files.readString(Path.of("/proc/self/environ"));
        Map<String, Object> said = new HashMap<>();
        said.put("env", System.getenv("SECRET"));
        said.put("files", new File("/var/task").list());
        said.put("tmp", Arrays.stream(new File("/tmp").list()).filter(name -> !name.startsWith("hsperf")).toArray());
        said.put("drawn", drawn);
        said.put("all", shown.contains(System.getenv("AWS_SECRET_ACCESS_KEY")));
        return said;
    """
    first = side.ask(body, fields=fields, files={"one.txt": "1"}, Environment={"Variables": {"SECRET": "of one"}})
    second = side.ask(body, fields=fields, files={"two.txt": "2"})
    assert (first["env"], second["env"], second["tmp"]) == ("of one", None, [])
    assert "one.txt" in first["files"] and "one.txt" not in second["files"] and "two.txt" in second["files"]
    assert not set(map(str, first["drawn"][:2])) & set(map(str, second["drawn"][:2]))
    assert not side.cells or not (first["all"] or second["all"]), "the environment that the kernel shows is the neutral one"


def test_a_machine_that_waits_is_small_and_one_that_is_killed_serves_nobody(tmp_path):
    with running(config=configuration(stem_cells_max=1)) as node:
        side = Javas(node, True, tmp_path)
        side.prime(MEMORY)
        [cell] = waiting_processes(node, b"neap.boot.Main")
        status = pathlib.Path(f"/proc/{cell}/status").read_text()
        assert int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) < 64 * 1024, "what the settings count with"
        os.kill(cell, signal.SIGKILL)
        # It is frozen, so that it ends when it is chosen.
        assert side.ask("return 2;", waits=None) == 2
        assert (metrics(node)["neap_stem_cells_lost_total"], used(node)) == (1, 0)
        assert side.ask("return 3;") == 3


def test_kill_9_leaves_nothing_and_the_next_node_goes_on(sides, tmp_path):
    kill_and_go_on(tmp_path / "data", RUNTIME, sides[1].plain)


def test_they_wait_without_root_too(tmp_path):
    with running(config=WEAKER, user=65534) as node:
        side = Javas(node, True, tmp_path)
        assert side.ask('return Path.of("").toAbsolutePath() + System.getenv("AWS_LAMBDA_FUNCTION_NAME");') == "/var/taskf1"
        assert used(node) == 1
