"""Functions in Java on a JDK of this machine, compiled here: handlers' forms, JSON, errors, logs, packages."""

import base64
import io
import json
import pathlib
import re
import shutil
import subprocess
import zipfile

import pytest
from conftest import BINARY, ROLE, Function, eventually, messages, package, root

SOURCES = pathlib.Path(__file__).parent.parent / "crates" / "runtimes" / "boot" / "java"
JAVAC = shutil.which("javac") or next(
    (str(path) for path in sorted(pathlib.Path("/usr/lib/jvm").glob("*/bin/javac"))), None
)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

pytestmark = [root, pytest.mark.skipif(JAVAC is None, reason="needs a JDK: no javac was found")]

IMPORTS = """
package sample;
import com.amazonaws.services.lambda.runtime.*;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.*;
import java.util.*;
"""


def compile_to(folder, files, release=17):
    """Compiles {name: text} into a folder of classes."""
    sources, classes = folder / "sources", folder / "classes"
    for name, text in files.items():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text(text)
    done = subprocess.run(
        [JAVAC, "--release", str(release), "-implicit:none", "-proc:none", "-nowarn", "-sourcepath", str(SOURCES),
         "-d", str(classes), *(str(sources / name) for name in files)],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    return {str(path.relative_to(classes)): path.read_bytes() for path in classes.rglob("*.class")}


def jar(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def java(deploy, tmp_path):
    """Deploys the body of a class `sample.App`, with more files in its package."""

    def java(source, handler="sample.App", more=None, runtime="java17", files=None, **options):
        classes = compile_to(tmp_path, {"sample/App.java": IMPORTS + source})
        options = {"MemorySize": 256, "Timeout": 20, **options}
        return deploy({**classes, **(files or {}), **(more or {})}, runtime=runtime, handler=handler, **options)

    return java


def tail_of(reply):
    return base64.b64decode(reply["LogResult"]).decode()


# ------------------------------------------------------------------------------------------------------------ handlers


def test_a_request_handler_gets_the_event_and_lambdas_context(java):
    function = java(
        """
        public class App implements RequestHandler<Map<String, Object>, Map<String, Object>> {
            public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
                Map<String, Object> said = new LinkedHashMap<>();
                said.put("event", event);
                said.put("class", event.get("whole").getClass().getName());
                said.put("name", context.getFunctionName());
                said.put("version", context.getFunctionVersion());
                said.put("arn", context.getInvokedFunctionArn());
                said.put("memory", context.getMemoryLimitInMB());
                said.put("id", context.getAwsRequestId());
                said.put("group", context.getLogGroupName());
                said.put("stream", context.getLogStreamName());
                said.put("left", context.getRemainingTimeInMillis());
                said.put("custom", context.getClientContext().getCustom());
                said.put("title", context.getClientContext().getClient().getAppTitle());
                said.put("identity", context.getIdentity().getIdentityId());
                said.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
                said.put("same", context.getLogger() == LambdaRuntime.getLogger());
                return said;
            }
        }
        """
    )
    client = {"custom": {"k": "v", "n": 1}, "client": {"app_title": "Ü"}}
    event = {"text": "ü😀\"\\\n", "whole": 12345678901, "list": [1, 2.5, None, True, {"a": []}], "none": None}
    reply = function.invoke(event, ClientContext=base64.b64encode(json.dumps(client).encode()).decode())
    body = reply["Body"]
    assert body["event"] == event and body["class"] == "java.lang.Long"
    assert body["name"] == function.name and body["version"] == "$LATEST" and body["arn"] == function.arn
    assert body["memory"] == 256 and body["id"] == reply["ResponseMetadata"]["RequestId"]
    assert body["group"] == f"/aws/lambda/{function.name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", body["stream"])
    assert 0 < body["left"] <= 20_000
    assert body["custom"] == {"k": "v", "n": "1"} and body["title"] == "Ü" and body["identity"] == ""
    assert body["trace"].startswith("Root=1-") and body["same"] is True


@pytest.mark.parametrize("method", ["all", "noContext", "outOnly", "inOnly", "handleRequest"])
def test_stream_handlers_have_the_bytes_themselves(java, method):
    function = java(
        """
        public class App implements RequestStreamHandler {
            public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException {
                in.readAllBytes();
                out.write("\\"interface\\"".getBytes());
            }
            public void all(InputStream in, OutputStream out, Context context) throws IOException {
                copy(in, out, context.getAwsRequestId().length());
            }
            public static void noContext(InputStream in, OutputStream out) throws IOException { copy(in, out, 0); }
            public void outOnly(OutputStream out) throws IOException { out.write("\\"out\\"".getBytes()); }
            public void inOnly(InputStream in) throws IOException { System.out.println(new String(in.readAllBytes())); }
            private static void copy(InputStream in, OutputStream out, int id) throws IOException {
                out.write(("[" + id + ",").getBytes());
                out.write(in.readAllBytes());
                out.write("]".getBytes());
            }
        }
        """,
        handler=f"sample.App::{method}" if method != "handleRequest" else "sample.App",
    )
    reply = function.client.invoke(FunctionName=function.name, Payload=b'{"raw":  1}')
    text = reply["Payload"].read()
    assert text == {
        "all": b'[36,{"raw":  1}]', "noContext": b'[0,{"raw":  1}]', "outOnly": b'"out"', "inOnly": b"",
        "handleRequest": b'"interface"',
    }[method]


PLAIN = """
public class App extends Base<List<App.Item>> {
    public enum Colour { RED, GREEN }
    public static class Item {
        private String name; private int count; private Colour colour; private List<Double> parts; private Item inner;
        public String getName() { return name; }
        public void setName(String name) { this.name = name; }
        public int getCount() { return count; }
        public void setCount(int count) { this.count = count; }
        public Colour getColour() { return colour; }
        public void setColour(Colour colour) { this.colour = colour; }
        public List<Double> getParts() { return parts; }
        public void setParts(List<Double> parts) { this.parts = parts; }
        public Item getInner() { return inner; }
        public void setInner(Item inner) { this.inner = inner; }
        public boolean isEmpty() { return parts == null; }
    }
    public record Point(int x, Long y, Optional<String> label, Map<Colour, int[]> more) {}
    public static class Numbers { public byte b; public Short s; public long l; public float f; public java.math.BigDecimal d;
        public java.math.BigInteger big; public char c; public boolean t; public byte[] bytes; public UUID id;
        public java.time.Instant at; public java.util.Date date; }
    public Item item(Item item, Context context) { return item; }
    public Map<String, Item> generic(Map<String, Item> items) { return items; }
    public Item[] array(Item[] items) { return items; }
    public Point point(Point point) { return point; }
    public Numbers numbers(Numbers numbers) { return numbers; }
    public String text(String text) { return text + "!"; }
    public int number(int number) { return number + 1; }
    public Integer boxed(Integer number) { return number == null ? null : number + 1; }
    public void nothing() {}
    public long contextOnly(Context context) { return context.getMemoryLimitInMB(); }
    public Object overloaded(Object one) { return "one"; }
    public Object overloaded(Object one, Context two) { return "two"; }
    public Set<Integer> set(Set<Integer> set) { return set; }
    public Object odd(Object any) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("nan", Double.NaN); all.put("chars", new char[] {'a'}); all.put("none", Optional.empty());
        all.put("day", java.time.LocalDate.of(2026, 1, 2)); all.put("big", new java.math.BigInteger("123456789012345678901"));
        all.put("control", "\\u0001"); all.put("bytes", new byte[] {1, 2, 3});
        return all;
    }
}
class Base<T> {
    public T inherited(T input) { return input; }
    public String name(T input) { return ((List<App.Item>) input).get(0).getName(); }
}
"""
ITEM = {"name": "a", "count": 3, "colour": "GREEN", "parts": [1.0, 2.5], "inner": None}


@pytest.mark.parametrize(
    "method, event, answer",
    [
        ("item", {**ITEM, "inner": {"name": "b"}, "unknown": [1]},
         {**ITEM, "empty": False, "inner": {"name": "b", "count": 0, "colour": None, "parts": None, "inner": None, "empty": True}}),
        ("item", {"NAME": "a", "Count": "7"}, {"name": "a", "count": 7, "colour": None, "parts": None, "inner": None, "empty": True}),
        ("item", None, None),
        ("generic", {"k": ITEM}, {"k": {**ITEM, "empty": False}}),
        ("array", [ITEM, None], [{**ITEM, "empty": False}, None]),
        ("inherited", [ITEM], [{**ITEM, "empty": False}]),
        ("name", [ITEM], "a"),
        ("point", {"x": 1, "y": 2, "label": "l", "more": {"RED": [1, 2]}}, {"x": 1, "y": 2, "label": "l", "more": {"RED": [1, 2]}}),
        ("point", {}, {"x": 0, "y": None, "label": None, "more": None}),
        ("numbers",
         {"b": -1, "s": 2, "l": 9007199254740993, "f": 0.5, "d": 1.10, "big": 12345678901234567890123, "c": "c", "t": True,
          "bytes": "AQID", "id": "00000000-0000-4000-8000-000000000000", "at": "2026-01-02T03:04:05Z", "date": 1.5},
         {"b": -1, "s": 2, "l": 9007199254740993, "f": 0.5, "d": 1.1, "big": 12345678901234567890123, "c": "c", "t": True,
          "bytes": "AQID", "id": "00000000-0000-4000-8000-000000000000", "at": "2026-01-02T03:04:05Z", "date": 1500}),
        ("text", "ä", "ä!"), ("text", 5, "5!"), ("number", 1, 2), ("boxed", None, None), ("boxed", 4.0, 5),
        ("nothing", {"x": 1}, None), ("contextOnly", "", 256), ("overloaded", {}, "two"), ("set", [2, 1, 2], [2, 1]),
        ("odd", None, {"nan": "NaN", "chars": "a", "none": None, "day": "2026-01-02", "big": 123456789012345678901,
                       "control": "\u0001", "bytes": "AQID"}),
    ],
)  # fmt: skip
def test_json_becomes_what_the_method_declares(plain, method, event, answer):
    assert plain(method)(event) == answer


@pytest.fixture(scope="module")
def plain(lam, tmp_path_factory):
    """Functions of one class, deployed when asked for."""
    classes = compile_to(tmp_path_factory.mktemp("plain"), {"sample/App.java": IMPORTS + PLAIN})
    made = {}

    def plain(method):
        if method not in made:
            name = f"t-java-{method.lower()}"
            made[method] = Function(lam, name, lam.create_function(
                FunctionName=name, Runtime="java17", Handler=f"sample.App::{method}", Role=ROLE, MemorySize=256, Timeout=20,
                Code={"ZipFile": jar(classes)},
            ))  # fmt: skip
            lam.get_waiter("function_active_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
            )
        return made[method]

    yield plain
    for function in made.values():
        lam.delete_function(FunctionName=function.name)


@pytest.mark.parametrize(
    "method, payload, reason",
    [
        ("number", {"a": 1}, "Cannot deserialize value of type `int` from an object"),
        ("number", 99999999999, "Cannot deserialize value of type `int` from the number 99999999999"),
        ("number", "x", 'Cannot deserialize value of type `int` from the string "x"'),
        ("text", [1], "Cannot deserialize value of type `java.lang.String` from an array"),
        ("item", {"colour": "BLUE"}, "sample.App$Colour"),
        ("item", {"inner": {"count": []}}, '(through sample.App$Item["count"]) (through sample.App$Item["inner"])'),
        ("array", {"a": 1}, "from an object"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where(plain, method, payload, reason):
    reply = plain(method).invoke(payload)
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Body"]["errorMessage"] == "An error occurred during JSON parsing"
    assert reply["Body"]["errorType"] == "java.lang.RuntimeException"
    assert reason in reply["Body"]["cause"]["errorMessage"]


def test_deep_and_cyclic_values_are_errors_and_the_environment_serves_on(java):
    function = java(
        """
        public class App {
            public static class Node { public Node self; }
            private static int calls;
            public Object handle(Map<String, Object> event) {
                calls++;
                Node node = new Node();
                node.self = node;
                return event.containsKey("cycle") ? node : calls;
            }
        }
        """,
        handler="sample.App::handle",
    )
    def nested(depth):
        payload = b'{"a":' * depth + b"1" + b"}" * depth
        return json.loads(function.client.invoke(FunctionName=function.name, Payload=payload)["Payload"].read())

    assert nested(900) == 1
    too_deep = nested(1500)
    # Whoever reads it first refuses it: the service or the function.
    assert "errorMessage" in too_deep, too_deep
    body = function.invoke({"cycle": 1})["Body"]
    assert body["errorMessage"] == "An error occurred during JSON serialization of response"
    assert function({}) == 3


# -------------------------------------------------------------------------------------------------------------- errors


def test_errors_have_lambdas_shape_and_their_causes(java):
    function = java(
        """
        public class App implements RequestHandler<String, String> {
            static class Odd extends RuntimeException { Odd(String m, Throwable c) { super(m, c); } }
            public String handleRequest(String event, Context context) {
                try { inner(); } catch (IOException e) { throw new Odd("no way", e); }
                return null;
            }
            static void inner() throws IOException { throw new FileNotFoundException(); }
        }
        """
    )
    reply = function.invoke("", LogType="Tail")
    body = reply["Body"]
    assert reply["StatusCode"] == 200 and reply["FunctionError"] == "Unhandled"
    assert body["errorMessage"] == "no way" and body["errorType"] == "sample.App$Odd"
    trace = body["stackTrace"]
    assert re.fullmatch(r"sample\.App\.handleRequest\(App\.java:\d+\)", trace[0])
    assert not any("neap" in line for line in trace + body["cause"]["stackTrace"])
    assert body["cause"]["errorType"] == "java.io.FileNotFoundException"
    # An exception without a text is told by its name.
    assert body["cause"]["errorMessage"] == "java.io.FileNotFoundException"
    assert "no way: sample.App$Odd\nsample.App$Odd: no way\n\tat sample.App.handleRequest" in tail_of(reply)
    assert "Caused by: java.io.FileNotFoundException" in tail_of(reply)


@pytest.mark.parametrize(
    "handler, kind, text",
    [
        ("sample.None", "java.lang.ClassNotFoundException", "Class not found: sample.None"),
        ("sample.App::none", "java.lang.RuntimeException",
         "No public method named none with appropriate method signature found on class sample.App"),
        ("sample.App::three", "java.lang.RuntimeException",
         "No public method named three with appropriate method signature found on class sample.App"),
        ("sample.App::", "java.lang.RuntimeException", "Invalid handler: `sample.App::'"),
        ("sample.App", "java.lang.RuntimeException", "Class sample.App does not implement an appropriate handler interface"),
        ("sample.Broken::x", "java.lang.IllegalStateException", "Error loading class sample.Broken: java.lang.IllegalStateException: static"),
        ("sample.Costly::x", "java.lang.IllegalArgumentException", "constructor"),
        ("sample.Closed::x", "java.lang.NoSuchMethodException", "Class sample.Closed has no public zero-argument constructor"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_an_initialisation_error(java, handler, kind, text):
    function = java(
        """
        public class App { public void three(String a, String b, String c) {} }
        class Broken { static { if (true) throw new IllegalStateException("static"); } public void x() {} }
        class Costly { public Costly() { throw new IllegalArgumentException("constructor"); } public void x() {} }
        class Closed { public Closed(int a) {} public void x() {} }
        """,
        handler=handler,
    )
    reply = function.invoke({}, LogType="Tail")
    assert reply["FunctionError"] == "Unhandled"
    assert (reply["Body"]["errorType"], reply["Body"]["errorMessage"]) == (kind, text)
    assert text in tail_of(reply) and "INIT_REPORT" in tail_of(reply)


def test_exits_and_exhausted_memory_end_the_environment_with_lambdas_words(java):
    function = java(
        """
        public class App implements RequestHandler<Map<String, Integer>, Integer> {
            static int calls;
            public Integer handleRequest(Map<String, Integer> event, Context context) {
                if (event.containsKey("exit")) System.exit(event.get("exit"));
                if (event.containsKey("heap")) { List<byte[]> all = new ArrayList<>(); while (true) all.add(new byte[1 << 20]); }
                if (event.containsKey("stack")) return handleRequest(event, context) + 1;
                if (event.containsKey("sleep")) try { Thread.sleep(60_000); } catch (InterruptedException e) { }
                return ++calls;
            }
        }
        """,
        Timeout=5,
    )
    assert function({}) == 1 and function({}) == 2
    body = function.invoke({"exit": 3})["Body"]
    assert body["errorType"] == "Runtime.ExitError"
    assert body["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert function({}) == 1
    body = function.invoke({"heap": 1})["Body"]
    assert (body["errorType"], body["errorMessage"]) == ("java.lang.OutOfMemoryError", "Java heap space")
    assert function({}) == 1
    assert function.invoke({"stack": 1})["Body"]["errorType"] == "java.lang.StackOverflowError"
    assert function({}) == 1
    assert function.invoke({"sleep": 1})["Body"]["errorType"] == "Sandbox.Timedout"
    assert function({}) == 1


# ---------------------------------------------------------------------------------------------------------------- logs


def test_lines_and_records_are_logged_in_order(java, logs):
    function = java(
        """
        public class App implements RequestHandler<Object, Object> {
            public Object handleRequest(Object event, Context context) {
                System.out.println("out ü");
                System.err.println("err");
                context.getLogger().log("one\\ntwo");
                context.getLogger().log("bytes".getBytes());
                context.getLogger().log("careful", LogLevel.WARN);
                System.out.print("in ");
                System.out.println("pieces");
                return null;
            }
        }
        """
    )
    function({})
    group = f"/aws/lambda/{function.name}"
    wanted = ["out ü", "err", "one\ntwo", "bytes", "[WARN] careful", "in pieces"]
    def own():
        return [line.rstrip("\n") for line in messages(logs, group) if not re.match(r"(INIT_START|START|END|REPORT) ", line)]
    eventually(lambda: len(own()) >= len(wanted))
    assert own() == wanted


def test_records_are_json_and_filtered_where_the_function_says_so(java, logs):
    function = java(
        """
        public class App implements RequestHandler<Object, Object> {
            public Object handleRequest(Object event, Context context) {
                context.getLogger().log("fine", LogLevel.DEBUG);
                context.getLogger().log("bad \\"x\\"", LogLevel.ERROR);
                throw new IllegalStateException("ended");
            }
        }
        """,
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"},
    )
    request = function.invoke({})["ResponseMetadata"]["RequestId"]
    group = f"/aws/lambda/{function.name}"
    def own():
        lines = [json.loads(line) for line in messages(logs, group) if line.startswith("{")]
        return [line for line in lines if "AWSRequestId" in line]
    eventually(lambda: len(own()) >= 2)
    first, second = own()
    assert (first["level"], first["message"], first["AWSRequestId"]) == ("ERROR", 'bad "x"', request)
    assert second["level"] == "ERROR" and second["message"].startswith("ended: java.lang.IllegalStateException\n")


# ------------------------------------------------------------------------------------------- packages and the machine


def test_classes_come_from_the_package_its_libraries_and_layers(lam, java, tmp_path):
    inner = compile_to(tmp_path / "lib", {"other/Inner.java": "package other; public class Inner { public static String who = \"lib\"; }"})
    layer = compile_to(tmp_path / "layer", {
        "other/Inner.java": "package other; public class Inner { public static String who = \"layer\"; }",
        "other/Shared.java": "package other; public class Shared { public static String who = \"layer\"; }",
    })  # fmt: skip
    published = lam.publish_layer_version(
        LayerName="java-libraries", Content={"ZipFile": package({"java/lib/shared.jar": jar(layer)})}
    )
    try:
        function = java(
            """
            public class App implements RequestHandler<Object, Object> {
                public Object handleRequest(Object event, Context context) {
                    ClassLoader loader = Thread.currentThread().getContextClassLoader();
                    try (InputStream in = loader.getResourceAsStream("text.txt")) {
                        return List.of(loader.loadClass("other.Inner").getField("who").get(null),
                                       loader.loadClass("other.Shared").getField("who").get(null),
                                       new String(in.readAllBytes()), loader == App.class.getClassLoader());
                    } catch (Exception e) { throw new RuntimeException(e); }
                }
            }
            """,
            files={"lib/inner.jar": jar(inner), "text.txt": "resource"},
            Layers=[published["LayerVersionArn"]],
        )
        assert function({}) == ["lib", "layer", "resource", True]
    finally:
        lam.delete_layer_version(LayerName="java-libraries", VersionNumber=published["Version"])


def test_a_package_with_its_own_copy_of_the_interfaces_works(java, tmp_path):
    names = [path for path in SOURCES.rglob("*.java") if "amazonaws" in str(path) and path.name != "LambdaRuntime.java"]
    copies = compile_to(tmp_path / "core", {str(path.relative_to(SOURCES)): path.read_text() for path in names})
    function = java(
        """
        public class App implements RequestHandler<Object, Object> {
            public Object handleRequest(Object event, Context context) {
                return Context.class.getClassLoader() != App.class.getClassLoader();
            }
        }
        """,
        files={"lib/aws-lambda-java-core-1.2.3.jar": jar(copies)},
    )
    assert function({}) is True


def test_a_package_may_bring_its_own_serializer(java):
    function = java(
        """
        public class App implements RequestHandler<App.Input, App.Input> {
            public static class Input { String all; }
            public Input handleRequest(Input input, Context context) { input.all += "!"; return input; }
            @SuppressWarnings("unchecked")
            public static class Own implements CustomPojoSerializer {
                public <T> T fromJson(InputStream in, java.lang.reflect.Type type) {
                    Input input = new Input();
                    try { input.all = type.getTypeName() + new String(in.readAllBytes()).length(); }
                    catch (IOException e) { throw new UncheckedIOException(e); }
                    return (T) input;
                }
                public <T> T fromJson(String in, java.lang.reflect.Type type) { return null; }
                public <T> void toJson(T value, OutputStream out, java.lang.reflect.Type type) {
                    try { out.write(('"' + ((Input) value).all + '"').getBytes()); }
                    catch (IOException e) { throw new UncheckedIOException(e); }
                }
            }
        }
        """,
        files={"META-INF/services/com.amazonaws.services.lambda.runtime.CustomPojoSerializer": "sample.App$Own\n"},
    )
    assert function({"a": 1}) == "sample.App$Input8!"


MACHINE = """
public class App implements RequestHandler<Object, Object> {
    public Object handleRequest(Object event, Context context) throws RuntimeException {
        try {
            Map<String, Object> said = new LinkedHashMap<>();
            said.put("heap", Runtime.getRuntime().maxMemory() >> 20);
            said.put("arguments", java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments());
            said.put("property", System.getProperty("own"));
            said.put("collectors", java.lang.management.ManagementFactory.getGarbageCollectorMXBeans().stream()
                    .map(bean -> bean.getName()).toList());
            said.put("charset", java.nio.charset.Charset.defaultCharset().name());
            said.put("locale", Locale.getDefault().toString());
            said.put("version", Runtime.version().feature());
            Process child = new ProcessBuilder("/bin/sh", "-c", "ls /proc/self/fd | wc -l; echo child").start();
            said.put("child", new String(child.getInputStream().readAllBytes()).strip());
            File file = new File("/tmp/ä.txt");
            try (Writer out = new FileWriter(file)) { out.write("ß"); }
            said.put("files", List.of(new File("/tmp").list()));
            java.security.KeyStore trusted = java.security.KeyStore.getInstance(new File(trust()), (char[]) null);
            said.put("authorities", trusted.size());
            javax.net.ssl.SSLContext.getDefault().getSocketFactory();
            java.net.http.HttpClient.newHttpClient();
            said.put("zone", java.time.ZonedDateTime.parse("2026-07-01T12:00:00Z").withZoneSameInstant(java.time.ZoneId.of("Europe/Vienna")).getHour());
            said.put("home", new File(System.getProperty("java.home")).getPath());
            return said;
        } catch (Exception e) { throw new RuntimeException(e); }
    }
    static String trust() {
        String own = System.getProperty("javax.net.ssl.trustStore");
        return own != null ? own : System.getProperty("java.home") + "/lib/security/cacerts";
    }
}
"""


def test_the_machine_fits_its_memory_and_finds_what_it_needs(java):
    said = java(MACHINE, MemorySize=512)({})
    assert 400 < said["heap"] < 450 and said["collectors"] == ["Copy", "MarkSweepCompact"]
    assert said["charset"] == "UTF-8" and said["locale"] == "en_US" and "ä.txt" in said["files"]
    # Standard streams and the folder being listed: the channel is not passed on.
    assert said["child"].split() == ["4", "child"]
    assert said["authorities"] > 10 and said["zone"] == 14 and said["home"] == "/var/lang"
    assert said["version"] >= 17


def test_java_tool_options_are_obeyed(java, logs):
    options = "-Down=mine -Xmx99m -XX:+UseParallelGC -XX:TieredStopAtLevel=4"
    function = java(MACHINE, MemorySize=512, Environment={"Variables": {"JAVA_TOOL_OPTIONS": options}})
    said = function({})
    assert said["property"] == "mine" and said["heap"] < 100 and "PS Scavenge" in said["collectors"]
    assert "-XX:TieredStopAtLevel=1" not in said["arguments"]
    picked = f"Picked up JAVA_TOOL_OPTIONS: {options}"
    eventually(lambda: picked in messages(logs, f"/aws/lambda/{function.name}"))


def test_the_smallest_memory_suffices_for_a_small_function(java):
    function = java(
        """
        public class App { public int handle(Map<String, Object> event) {
            int sum = 0;
            for (int i = 0; i < 200; i++) sum += new byte[1 << 20].length >> 20;
            return sum;
        } }
        """,
        handler="sample.App::handle",
        MemorySize=128,
    )
    assert [function({}) for _ in range(3)] == [200] * 3


def test_an_archive_of_classes_is_made_once_and_used(java, node):
    folder = next(
        (pathlib.Path(line.split('"')[1]) for line in (node.data / "neap.toml").read_text().splitlines() if "folder" in line),
        node.data / "runtimes",
    )
    function = java(MACHINE, MemorySize=512)
    function({})
    made = eventually(lambda: list(folder.glob("boot/java-17*/neap-java.jsa")) or list(folder.glob("boot/java-*/neap-java.jsa")), timeout=120)
    assert made[0].stat().st_size > 100_000
    fresh = java(MACHINE, MemorySize=512)
    assert "-XX:SharedArchiveFile=/var/runtime/neap-java.jsa" in fresh({})["arguments"]


def test_newer_identifiers_are_served_by_what_is_there_or_refused_by_name(lam):
    for runtime in ("java8.al2", "java11", "java17", "java21", "java25"):
        code = {"ZipFile": package({"a.txt": "x"})}
        try:
            lam.create_function(FunctionName="t-java-runtime", Runtime=runtime, Handler="a.B", Role=ROLE, Code=code)
        except lam.exceptions.InvalidParameterValueException as error:
            assert runtime != "java17"
            assert runtime in str(error)
            assert re.search(r"java17|install a JDK of this version", str(error)), error
        else:
            assert not runtime.startswith(("java8", "java11"))
            lam.delete_function(FunctionName="t-java-runtime")


# ------------------------------------------------------------------------------------------------------------- command


HELLO = """
package example;
import com.amazonaws.services.lambda.runtime.*;
public class Hello implements RequestHandler<String, String> {
    public String handleRequest(String name, Context context) { return Text.of(name); }
}
"""


def deployed(node, lam, folder, *arguments):
    name = json.loads(node.neap("deploy", folder, "--json", *arguments).stdout)["function"]
    return Function(lam, name, lam.get_function_configuration(FunctionName=name))


def test_plain_sources_are_compiled_with_their_libraries_and_resources(node, lam, tmp_path):
    library = compile_to(tmp_path / "made", {
        "other/Shout.java": "package other; public class Shout { public static String of(String a) { return a.toUpperCase(); } }"
    })  # fmt: skip
    project = tmp_path / "java-sources"
    for name, content in {
        "lib/shout.jar": jar(library),
        "src/main/java/example/Hello.java": HELLO.encode(),
        "src/main/java/example/Text.java": b"""package example; class Text { static String of(String name) {
            try (var in = Text.class.getResourceAsStream("/greeting.txt")) {
                return new String(in.readAllBytes()) + other.Shout.of(name);
            } catch (java.io.IOException e) { throw new java.io.UncheckedIOException(e); } } }""",
        "src/main/resources/greeting.txt": b"Hi ",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(content)
    function = deployed(node, lam, project, "--runtime", "java17")
    assert function.configuration["Handler"] == "example.Hello"
    assert function("you") == "Hi YOU"
    # The same sources give the same package.
    assert deployed(node, lam, project, "--runtime", "java17").configuration["CodeSha256"] == function.configuration["CodeSha256"]
    (project / "src/main/java/example/Text.java").write_text("package example; class Text { oops }")
    failed = node.neap("deploy", project, check=False)
    assert failed.returncode != 0 and "Text.java:1" in failed.stderr
    lam.delete_function(FunctionName=function.name)


def test_a_built_jar_is_deployed_as_it_is(node, lam, tmp_path):
    text = "package example; class Text { static String of(String name) { return name + name; } }"
    classes = compile_to(tmp_path / "made", {"example/Hello.java": HELLO, "example/Text.java": text})
    project = tmp_path / "java-jar"
    (project / "target").mkdir(parents=True)
    (project / "pom.xml").write_text("<project/>")
    unbuilt = node.neap("deploy", project, check=False)
    assert unbuilt.returncode != 0 and "pom.xml is there and no jar" in unbuilt.stderr
    (project / "target" / "app.jar").write_bytes(jar(classes))
    function = deployed(node, lam, project, "--handler", "example.Hello", "--runtime", "java17")
    assert function("ab") == "abab"
    lam.delete_function(FunctionName=function.name)


def test_the_doctor_names_the_jdks():
    report = json.loads(subprocess.run([BINARY, "doctor", "--json"], capture_output=True, text=True).stdout)
    found = next(check for check in report["checks"] if check["name"] == "runtime-java")
    assert found["status"] == "ok" and re.match(r"\d+\.\d+\.\d+", found["detail"])
