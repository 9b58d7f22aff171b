"""WebAssembly functions: components and modules, invoked and by URL, within their limits, and compiled when they are deployed."""

import base64
import concurrent.futures
import json
import pathlib
import shutil
import socket
import stat
import threading

import pytest
import requests
import wasmtime
from conftest import ROLE, eventually, get, messages, package, running
from test_lambda_metrics import total
from test_metrics import cloudwatch  # noqa: F401 (a fixture)
from test_urls import Url, let_everyone

SOURCES = pathlib.Path(__file__).parent / "wasm"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def component(core):
    """A component of wasi:http around the fields of a core module."""
    return bytes(wasmtime.wat2wasm((SOURCES / "component.wat").read_text().replace("    CORE\n", core)))


def source(name):
    return (SOURCES / name).read_text()


def program(binary, **others):
    return {"bootstrap.wasm": binary, **others}


@pytest.fixture(scope="session")
def lean():
    return component(source("lean.wat"))


@pytest.fixture(scope="session")
def deeds():
    return component(source("deeds.wat"))


@pytest.fixture(scope="session")
def filter():
    return bytes(wasmtime.wat2wasm(source("filter.wat")))


@pytest.fixture
def wasm(deploy):
    def wasm(binary, handler="bootstrap", **options):
        return deploy(program(binary), runtime="provided.al2023", handler=handler, **options)

    return wasm


@pytest.fixture
def opened(node, lam, wasm):
    """A function with a URL that everyone may call."""

    def opened(binary, mode="BUFFERED", **options):
        function = wasm(binary, **options)
        made = lam.create_function_url_config(FunctionName=function.name, AuthType="NONE", InvokeMode=mode)
        let_everyone(lam, function.name)
        function.url = Url(node, made["FunctionUrl"])
        return function

    return opened


def failed(function, event=None):
    reply = function.invoke(event)
    assert reply.get("FunctionError") == "Unhandled", reply["Body"]
    return reply["Body"]["errorType"], reply["Body"]["errorMessage"]


def lines(logs, function, wanted):
    """The log, once a line begins with `wanted`."""
    group = f"/aws/lambda/{function.name}"
    return eventually(lambda: (found := messages(logs, group)) and any(l.startswith(wanted) for l in found) and found)


def test_an_event_is_posted_to_a_component_and_the_body_is_the_answer(wasm, lean, deeds):
    assert wasm(lean)({"any": "event"}) == "ok"
    echo = wasm(deeds, handler="/echo")
    assert echo({"k": ["v", 1]}) == {"k": ["v", 1]}
    large = "x" * 3_000_000
    assert echo(large) == large


def test_a_url_is_a_request_to_a_component(opened, deeds):
    function = opened(deeds)
    answer = function.url("/echo?x=1", "POST", data=b"\x00\xff\x01")
    assert (answer.status_code, answer.content) == (200, b"\x00\xff\x01")
    answer = function.url("/s")
    assert (answer.status_code, answer.text) == (503, '"ok"')
    assert function.url("/u").status_code == 502
    assert function.url("/").text == '"ok"'


def test_answers_are_streamed(node, opened, deeds):
    function = opened(deeds, mode="RESPONSE_STREAM", Timeout=2)
    assert function.url("/p").text == "piece\n" * 5
    answer = function.url("/echo", "POST", data=b"\xff" * 2_000_000)
    assert answer.content == b"\xff" * 2_000_000
    # The first piece is there while the function runs on, which it does until its timeout.
    with function.url("/z", stream=True) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_content(None)
        assert next(pieces) == b"piece\n"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(pieces)
    # An event that is not a request streams as well, by the API.
    echo = function.client.invoke_with_response_stream
    function.client.update_function_configuration(FunctionName=function.name, Handler="/echo")
    function.client.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    events = list(echo(FunctionName=function.name, Payload=b'{"a": 1}')["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event) == b'{"a": 1}'
    assert "ErrorCode" not in events[-1]["InvokeComplete"]


class Talk:
    """A request by URL whose body is sent in chunks as the test likes."""

    def __init__(self, node, url, path):
        self.socket = socket.create_connection(("127.0.0.1", node.port), 30)
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nhost: {url.host}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        self.got = b""

    def send(self, piece):
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def until(self, wanted):
        while wanted not in self.got:
            piece = self.socket.recv(65536)
            assert piece, self.got
            self.got += piece
        return self.got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def test_a_request_is_read_while_it_arrives(node, opened, deeds, lean, filter):
    function = opened(deeds, mode="RESPONSE_STREAM")
    with Talk(node, function.url, "/echo") as talk:
        talk.send(b"first piece")
        assert talk.until(b"first piece").startswith(b"HTTP/1.1 200")
        talk.send(b"second piece")
        talk.until(b"second piece")
        talk.send(b"")
        talk.until(b"0\r\n\r\n")
    # One that does not read it answers all the same.
    with Talk(node, opened(lean).url, "/") as talk:
        talk.until(b'"ok"')
    # Modules get events, which are whole.
    with Talk(node, opened(filter).url, "/path") as talk:
        talk.send(b"whole")
        talk.send(b"")
        talk.until(b'"body":"whole"')


def test_a_request_that_does_not_come_to_its_end(node, opened, deeds):
    with Talk(node, opened(deeds, Timeout=1).url, "/echo") as talk:
        talk.send(b"a part")
        assert talk.until(b"\r\n\r\n").startswith(b"HTTP/1.1 502")
    # What exceeds the limit is refused, whatever the function made of its beginning.
    with Talk(node, opened(deeds).url, "/echo") as talk:
        for _ in range(7):
            talk.send(bytes(1 << 20))
        talk.send(b"")
        assert talk.until(b"\r\n\r\n").startswith(b"HTTP/1.1 413")
    function = opened(deeds)
    large = function.url("/echo", "POST", data=bytes(7 << 20))
    assert large.status_code == 413


def test_a_described_request_is_answered_with_a_described_response(wasm, deeds):
    function = wasm(deeds)
    event = {
        "version": "2.0",
        "rawPath": "/echo",
        "rawQueryString": "",
        "headers": {"host": "example.org"},
        "requestContext": {"http": {"method": "POST"}},
        "body": "/w==",
        "isBase64Encoded": True,
    }
    answer = function(event)
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, "/w==", True)
    assert function({**event, "rawPath": "/s"})["statusCode"] == 503


def test_failures_have_the_words_of_processes(wasm, deeds, logs):
    def failure(deed, **options):
        return failed(wasm(deeds, handler=deed, Timeout=1, **options), {})

    kind, text = failure("/unreachable")
    assert kind == "Runtime.ExitError" and "unreachable" in text
    kind, text = failure("/loop")
    assert kind == "Sandbox.Timedout" and "Task timed out after 1.00 seconds" in text
    assert failure("/memory")[0] == "Runtime.OutOfMemory"
    kind, text = failure("/recursion")
    assert kind == "Runtime.ExitError" and "stack" in text
    kind, text = failure("/indirect")
    assert kind == "Runtime.ExitError" and "stack" in text
    assert failure("/handles")[0] == "Runtime.ExitError"
    kind, text = failure("/nothing")
    assert kind == "Runtime.ExitError" and "response" in text
    assert failure("/flood")[0] == "Function.ResponseSizeTooLarge"
    kind, text = failure("/x")  # Within the answer.
    assert kind == "Runtime.ExitError" and "unreachable" in text
    kind, text = failure("/status")
    assert kind == "Function.ErrorStatus" and '503 Service Unavailable: "ok"' in text
    # Growth of tables just ends.
    assert wasm(deeds, handler="/table")({}) == "ok"


def test_a_new_instance_serves_each_invocation_unless_it_is_to_be_used_again(wasm, deeds):
    fresh = wasm(deeds, handler="/calls")
    assert [fresh() for _ in range(3)] == ["calls: 1"] * 3
    kept = wasm(deeds, handler="/calls", Environment={"Variables": {"NEAP_WASM_REUSE": "1"}})
    assert [kept() for _ in range(3)] == ["calls: 1", "calls: 2", "calls: 3"]
    # Trouble ends an instance.
    kept.client.update_function_configuration(FunctionName=kept.name, Handler="/u")
    kept.client.get_waiter("function_updated_v2").wait(FunctionName=kept.name)
    assert failed(kept)[0] == "Runtime.ExitError"
    wrong = wasm(deeds, Environment={"Variables": {"NEAP_WASM_REUSE": "yes"}})
    with pytest.raises(wrong.client.exceptions.ClientError, match="NEAP_WASM_REUSE"):
        wrong.invoke()


def test_variables_are_those_of_functions(node, opened, deeds):
    function = opened(deeds, Environment={"Variables": {"COLOUR": "green"}}, MemorySize=192)
    found = dict(line.split("=", 1) for line in function.url("/v").text.splitlines())
    assert found["COLOUR"] == "green" and found["_HANDLER"] == "bootstrap"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == function.name and found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "192"
    assert found["AWS_ACCESS_KEY_ID"] and found["AWS_SESSION_TOKEN"]
    assert found["_X_AMZN_TRACE_ID"].startswith("Root=")
    assert not {"PATH", "LD_LIBRARY_PATH", "AWS_LAMBDA_RUNTIME_API"} & set(found)


def test_it_is_logged_and_metered_as_any_function(wasm, deeds, logs, cloudwatch):  # noqa: F811
    function = wasm(deeds, handler="/g", MemorySize=256)
    reply = function.invoke({}, LogType="Tail")
    tail = base64.b64decode(reply["LogResult"]).decode()
    assert "a line of the log" in tail and "REPORT RequestId" in tail
    written = lines(logs, function, "REPORT")
    assert written[0].startswith("INIT_START Runtime Version: wasm:")
    start, line, end, report = written[1:5]
    assert start.startswith("START RequestId") and end.startswith("END RequestId") and line == "a line of the log"
    assert "Memory Size: 256 MB" in report and "Init Duration:" in report
    used = int(report.split("Max Memory Used: ")[1].split()[0])
    assert 0 < used < 8
    assert total(cloudwatch, "Invocations", FunctionName=function.name) == 1
    assert total(cloudwatch, "Duration", "SampleCount", FunctionName=function.name) == 1


def test_json_lines_when_the_function_wants_them(wasm, deeds, logs):
    function = wasm(deeds, handler="/g", LoggingConfig={"LogFormat": "JSON"})
    function({})
    written = lines(logs, function, '{"record":{"metrics"')
    kinds = [json.loads(line)["type"] for line in written if line.startswith("{")]
    assert kinds[0] == "platform.initStart" and "platform.start" in kinds and "platform.report" in kinds


HOSTILE = ["/loop", "/memory", "/table", "/recursion", "/indirect", "/handles", "/flood", "/unreachable", "/x"]


def test_hostile_programs_leave_node_and_neighbours_well(node, lam, wasm, deeds, lean):
    neighbour = wasm(lean)
    bad = [wasm(deeds, handler=deed, Timeout=1) for deed in HOSTILE]
    stop = threading.Event()

    def attack(function):
        while not stop.is_set():
            function.invoke({})

    with concurrent.futures.ThreadPoolExecutor(2 * len(bad)) as pool:
        attacks = [pool.submit(attack, function) for function in bad * 2]
        answers = [neighbour({}) for _ in range(200)]
        stop.set()
        for attack in attacks:
            attack.result()
    assert answers == ["ok"] * 200
    assert node.alive() and get(node, "/_neap/health").status_code == 200


def test_modules_fail_of_the_same(wasm):
    module = wasm(bytes(wasmtime.wat2wasm(source("hostile.wat"))), Timeout=1)
    kind, text = failed(module, "loop")
    assert kind == "Sandbox.Timedout" and "Task timed out after 1.00 seconds" in text
    assert failed(module, "memory")[0] == "Runtime.OutOfMemory"
    kind, text = failed(module, "recursion")
    assert kind == "Runtime.ExitError" and "stack" in text
    assert failed(module, "flood")[0] == "Function.ResponseSizeTooLarge"
    kind, text = failed(module, "unreachable")
    assert kind == "Runtime.ExitError" and "unreachable" in text
    # Growth of tables just ends; it answers nothing.
    assert module.invoke("table").get("FunctionError") is None


def resident_mib(node):
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def test_an_endless_stream_waits_for_its_reader_and_ends_with_its_time(node, opened, deeds, lean):
    function = opened(deeds, mode="RESPONSE_STREAM", Timeout=4)
    with function.url("/flood", stream=True) as slow, function.url("/flood", stream=True) as gone:
        pieces = slow.iter_content(65536)
        assert next(pieces) and next(gone.iter_content(65536))
        gone.close()
        before = resident_mib(node)
        # While nobody reads, what is written waits in the function.
        neighbour = opened(lean)
        assert all(neighbour.url("/").text == '"ok"' for _ in range(50))
        assert resident_mib(node) - before < 64
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(pieces)
    assert node.alive()


def test_a_burst_is_answered(wasm, lean):
    function = wasm(lean)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert list(pool.map(function, range(200))) == ["ok"] * 200


def test_modules_of_preview_1_are_filters(wasm, opened, filter, logs):
    function = opened(filter)
    assert function({"a": [1]}) == {"a": [1]}
    assert "from a module" in lines(logs, function, "REPORT")
    large = "y" * 1_000_000
    assert function(large) == large
    # A request comes as its description, and so goes back.
    assert function.url("/path").json()["rawPath"] == "/path"
    kind, text = failed(function, "x")
    assert kind == "Runtime.ExitError" and "exit status 3" in text


def test_the_example_is_its_source():
    example = pathlib.Path(__file__).parent.parent / "examples" / "hello-wasm"
    assert (example / "bootstrap.wasm").read_bytes() == bytes(wasmtime.wat2wasm((example / "bootstrap.wat").read_text()))


BAD = {
    "no WebAssembly": b"#!/bin/sh\n",
    "cut off": b"\0asm\x0d\0\x01\0\xff",
    "without a start": bytes(wasmtime.wat2wasm("(module)")),
    "wants what is not there": bytes(wasmtime.wat2wasm('(module (import "env" "f" (func)) (func (export "_start")))')),
    "exports no handler": bytes(wasmtime.wat2wasm("(component)")),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_run_is_refused_with_the_reason(lam, what):
    with pytest.raises(lam.exceptions.ClientError, match="bootstrap.wasm cannot be run") as refused:
        lam.create_function(
            FunctionName="bad-wasm",
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=ROLE,
            Code={"ZipFile": package(program(BAD[what]))},
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_layers_are_refused(lam, wasm, lean):
    layer = lam.publish_layer_version(LayerName="for-wasm", Content={"ZipFile": package({"a.txt": "a"})})
    layers = [layer["LayerVersionArn"]]
    with pytest.raises(lam.exceptions.ClientError, match="layers"):
        wasm(lean, Layers=layers)
    function = wasm(lean)
    with pytest.raises(lam.exceptions.ClientError, match="layers"):
        lam.update_function_configuration(FunctionName=function.name, Layers=layers)
    lam.delete_layer_version(LayerName="for-wasm", VersionNumber=layer["Version"])


def test_a_program_of_both_kinds_is_the_native_one(deploy, lean):
    script = (0o755, "#!/bin/sh\nexit 7\n")
    function = deploy(program(lean, bootstrap=script), runtime="provided.al2023", handler="x", Timeout=2)
    assert function.invoke()["Body"]["errorType"] == "Runtime.ExitError"


def test_a_file_of_that_name_is_no_program_where_the_runtime_is_another(lam, deploy, lean):
    files = {"bootstrap.wasm": b"no WebAssembly", "app.py": "def handler(event, context):\n    return event\n"}
    function = deploy(files, runtime="python3.11", handler="app.handler")
    assert function({"a": 1}) == {"a": 1}
    lam.update_function_code(FunctionName=function.name, ZipFile=package({**files, "bootstrap.wasm": b"neither"}))
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    assert function({"a": 2}) == {"a": 2}
    # The same package, of a runtime that starts it.
    with pytest.raises(lam.exceptions.ClientError, match="bootstrap.wasm cannot be run"):
        deploy(files, runtime="provided.al2", handler="x")
    layer = lam.publish_layer_version(LayerName="of-that-name", Content={"ZipFile": package(files)})
    lam.delete_layer_version(LayerName="of-that-name", VersionNumber=layer["Version"])


def large(functions):
    """A module that takes a while to compile."""
    body = "(local.set 1 (i32.xor (i32.mul (local.get 1) (i32.const 31)) (i32.add (local.get 0) (local.get 1))))"
    one = f'(func (param i32) (result i32) (local i32) {body * 200} (local.get 1))'
    return bytes(wasmtime.wat2wasm(f'(module {one * functions} (func (export "_start")))'))


def test_a_function_is_pending_until_it_is_compiled_and_kill_9_does_not_compile_again(lean):
    with running() as node:
        lam = node.client("lambda")
        made = lam.create_function(
            FunctionName="large",
            Runtime="provided.al2023",
            Handler="x",
            Role=ROLE,
            Code={"ZipFile": package(program(large(4_000)))},
        )
        states = {made["State"]}
        eventually(
            lambda: states.add(lam.get_function_configuration(FunctionName="large")["State"]) or "Active" in states, timeout=300
        )
        assert states == {"Pending", "Active"}
        folder = node.data / "code" / "wasm"
        [artefact] = folder.iterdir()
        assert stat.S_IMODE(artefact.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
        before = artefact.stat()
        lam.create_function(
            FunctionName="lean",
            Runtime="provided.al2023",
            Handler="x",
            Role=ROLE,
            Code={"ZipFile": package(program(lean))},
        )
        node.kill()
        node.start()
        lam = node.client("lambda")
        call = lambda name: json.loads(lam.invoke(FunctionName=name, Payload=b"1")["Payload"].read() or b"null")
        assert call("lean") == "ok" and call("large") is None
        assert artefact.stat().st_ino == before.st_ino, "what was compiled is used again"
        # Without what was compiled, and with what is no machine code.
        shutil.rmtree(folder)
        node.kill()
        node.start()
        lam = node.client("lambda")
        assert call("lean") == "ok"
        node.kill()
        for file in folder.iterdir():
            file.write_bytes(b"\x7fELF damaged")
        node.start()
        lam = node.client("lambda")
        assert call("lean") == "ok"
        # What is compiled goes with its package's last function.
        assert any(file.suffix == ".cwasm" for file in folder.iterdir())


def test_a_change_of_code_is_compiled_while_the_old_serves(lam, wasm, lean, deeds):
    function = wasm(lean)
    assert function() == "ok"
    lam.update_function_code(FunctionName=function.name, ZipFile=package(program(deeds)))
    lam.update_function_configuration(FunctionName=function.name, Handler="/calls")
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    assert function() == "calls: 1"
    published = lam.publish_version(FunctionName=function.name)["Version"]
    answer = lam.invoke(FunctionName=function.name, Qualifier=published, Payload=b"1")
    assert answer["ExecutedVersion"] == published and json.loads(answer["Payload"].read()) == "calls: 1"


def test_asynchronous_events_run_too(lam, wasm, deeds, logs):
    function = wasm(deeds, handler="/g")
    lam.invoke(FunctionName=function.name, InvocationType="Event", Payload=b"{}")
    assert "a line of the log" in lines(logs, function, "REPORT")
