"""The Telemetry API and the Logs API: what happens in an environment, told to its extensions."""

import json

import pytest
from conftest import eventually, root
from test_extensions import extended, log, program  # noqa: F401: a fixture
from test_layers import publish  # noqa: F401: a fixture

pytestmark = root

# The usual shape of a log forwarder: a listener, a subscription, and no next event before the runtime's part is told to be
# over. At the end it prints what it has collected, in one line.
FORWARDER = """\
#!/usr/bin/env python3
import http.server, json, os, queue, socketserver, sys, threading, urllib.error, urllib.request
SUBSCRIPTION = json.loads('''%s''')
PATH = "%s"
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
collected, done = [], queue.Queue()

def arrived(batch):
    for event in batch:
        collected.append(event)
        if event["type"] == "platform.runtimeDone":
            done.put(event["record"]["requestId"])

class Http(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.headers["content-type"] == "application/json"
        arrived(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            arrived([json.loads(line)])

if SUBSCRIPTION["destination"]["protocol"] == "HTTP":
    server = http.server.ThreadingHTTPServer(("sandbox.localdomain", 8080), Http)
else:
    server = socketserver.ThreadingTCPServer(("sandbox.localdomain", 8080), Lines)
threading.Thread(target=server.serve_forever, daemon=True).start()

def call(path, body=None, method=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(base + path, body, headers, method=method))

made = call("/2020-01-01/extension/register", b'{"events": ["INVOKE", "SHUTDOWN"]}', Lambda_Extension_Name="forwarder")
me = {"Lambda_Extension_Identifier": made.headers["Lambda-Extension-Identifier"]}
assert call(PATH, json.dumps(SUBSCRIPTION).encode(), "PUT", **me).status == 200
print("the forwarder is up", flush=True)
while True:
    event = json.load(call("/2020-01-01/extension/event/next", **me))
    if event["eventType"] == "SHUTDOWN":
        print("collected " + json.dumps(collected), flush=True)
        sys.exit(0)
    while done.get() != event["requestId"]:
        pass
"""
TELEMETRY = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function", "extension"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"},
}
FUNCTION = """
import json
print("loading")
def handler(event, context):
    print("said by the function")
    if event == "fail":
        raise RuntimeError("as asked")
    return context.aws_request_id
"""


@pytest.fixture
def collected(extended, lam, logs):
    """Runs a function with a forwarder for each event; what the forwarder has collected at the end, and the request ids."""

    def collected(subscription, path, given, **options):
        source = FORWARDER % (json.dumps(subscription), path)
        function = extended({"forwarder": program(source)}, FUNCTION, **options)
        # With the log an answer comes when the extension is done, too: the next call finds the environment idle.
        ids = [function.invoke(event, LogType="Tail")["ResponseMetadata"]["RequestId"] for event in given]
        lam.delete_function(FunctionName=function.name)
        # In JSON or as it is: lines of extensions are not changed.
        line = eventually(lambda: next((line for line in log(logs, function) if line.startswith("collected ")), None))
        return json.loads(line.removeprefix("collected ")), ids

    return collected


def of(found, kind):
    return [event["record"] for event in found if event["type"] == kind]


def test_a_forwarder_hears_of_everything(collected):
    found, ids = collected(TELEMETRY, "/2022-07-01/telemetry", [None, "fail"])
    assert all(set(event) == {"time", "type", "record"} for event in found)
    assert all(event["time"].endswith("Z") and len(event["time"]) == 24 for event in found)
    (start,) = of(found, "platform.initStart")
    assert (start["initializationType"], start["phase"], start["functionVersion"]) == ("on-demand", "init", "$LATEST")
    assert of(found, "platform.telemetrySubscription") == [
        {"name": "forwarder", "state": "Subscribed", "types": ["platform", "function", "extension"]}
    ]
    assert of(found, "platform.initRuntimeDone") == [
        {"initializationType": "on-demand", "phase": "init", "status": "success"}
    ]
    (report,) = of(found, "platform.initReport")
    assert report["status"] == "success" and report["metrics"]["durationMs"] > 0
    assert of(found, "platform.extension") == [
        {"name": "forwarder", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    ]
    assert [record["requestId"] for record in of(found, "platform.start")] == ids
    done = of(found, "platform.runtimeDone")
    assert [(record["requestId"], record["status"]) for record in done] == [(ids[0], "success"), (ids[1], "error")]
    assert done[0]["metrics"]["producedBytes"] == len(json.dumps(ids[0])) and done[0]["metrics"]["durationMs"] > 0
    reports = of(found, "platform.report")
    assert [record["requestId"] for record in reports] == ids, "the last one comes while the environment ends"
    assert {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB"} <= set(reports[0]["metrics"])
    assert "initDurationMs" in reports[0]["metrics"]
    lines = of(found, "function")
    assert lines[0] == "loading" and lines.count("said by the function") == 2
    assert any("as asked" in line for line in lines)
    assert of(found, "extension") == ["the forwarder is up"]
    order = [event["type"] for event in found if event["type"].startswith("platform.")]
    assert order.index("platform.initStart") < order.index("platform.initRuntimeDone") < order.index("platform.start")
    assert order.index("platform.runtimeDone") < order.index("platform.report")


def test_structured_lines_stay_structured(collected):
    found, _ = collected(TELEMETRY, "/2022-07-01/telemetry", ["fail"], LoggingConfig={"LogFormat": "JSON"})
    records = of(found, "function")
    assert any(isinstance(record, dict) and record.get("errorType") == "RuntimeError" for record in records)


def test_a_subscription_names_its_streams_and_may_be_of_tcp(collected):
    wanted = {**TELEMETRY, "types": ["platform"], "destination": {"protocol": "TCP", "port": 8080}}
    found, ids = collected(wanted, "/2022-07-01/telemetry", [None, None])
    assert {event["type"].partition(".")[0] for event in found} == {"platform"}
    assert [record["requestId"] for record in of(found, "platform.runtimeDone")] == ids


def test_the_logs_api_has_its_own_events(collected):
    wanted = {**TELEMETRY, "schemaVersion": "2021-03-18", "types": ["platform", "function"]}
    found, ids = collected(wanted, "/2020-08-15/logs", [None])
    kinds = {event["type"] for event in found}
    assert kinds == {
        "platform.logsSubscription",
        "platform.extension",
        "platform.start",
        "platform.runtimeDone",
        "platform.end",
        "platform.report",
        "function",
    }
    assert of(found, "platform.end") == [{"requestId": ids[0]}]


def test_what_cannot_be_subscribed_is_told(extended):
    probe = """
import json, os, urllib.error, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
def ask(path, body, method="PUT", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, body.encode(), headers, method=method)) as answer:
            return answer, None
    except urllib.error.HTTPError as error:
        return error, json.loads(error.read())
made, _ = ask("/2020-01-01/extension/register", '{"events": []}', "POST", Lambda_Extension_Name="inner")
me = {"Lambda_Extension_Identifier": made.headers["Lambda-Extension-Identifier"]}
import threading
next = urllib.request.Request(base + "/2020-01-01/extension/event/next", headers={"Lambda-Extension-Identifier": list(me.values())[0]})
threading.Thread(target=lambda: urllib.request.urlopen(next), daemon=True).start()
good = json.loads('''%s''')
def told(path="/2022-07-01/telemetry", who=me, method="PUT", **change):
    answer, error = ask(path, json.dumps({**good, **change}), method, **who)
    return [answer.status, error and error["errorType"], error and error["errorMessage"]]
early = [
    told(who={}),
    told(who={"Lambda_Extension_Identifier": "12345678-1234-4234-9234-123456789012"}),
    told(method="POST"),
    told(schemaVersion="1999-01-01"),
    told(types=["gossip"]),
    told(buffering={"timeoutMs": 1}),
    told(destination={"protocol": "HTTP", "URI": "http://example.com:80"}),
    told(destination={"protocol": "TCP", "port": 9001}),
    told("/2020-08-15/logs", types=["gossip"], schemaVersion="2020-08-15"),
    told(),
]
def handler(event, context):
    return early + [told(), told("/2020-08-15/logs", schemaVersion="2020-08-15")]
"""
    function = extended({"none/readme": "no extension"}, probe % json.dumps({**TELEMETRY, "destination": {"protocol": "TCP", "port": 8080}}))
    answers = function()
    assert [answer[:2] for answer in answers] == [
        [403, "Extension.MissingExtensionIdentifier"],
        [403, "Extension.UnknownExtensionIdentifier"],
        [405, "MethodNotAllowed"],
        [400, "ValidationError"],
        [400, "ValidationError"],
        [400, "ValidationError"],
        [400, "ValidationError"],
        [400, "ValidationError"],
        [400, "ValidationError"],
        [200, None],
        [403, "Telemetry.SubscriptionClosed"],
        [403, "Logs.SubscriptionClosed"],
    ]
    for answer, named in zip(answers[3:9], ("schemaVersion", "gossip", "timeoutMs", "URI", "9001", "gossip")):
        assert named in answer[2]


def test_a_listener_that_does_not_answer_harms_nobody(extended, deploy, logs):
    deaf = """\
#!/usr/bin/env python3
import json, os, socket, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
listener = socket.create_server(("sandbox.localdomain", 8080))
made = urllib.request.urlopen(urllib.request.Request(base + "/2020-01-01/extension/register",
    b'{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "deaf"}))
me = {"Lambda-Extension-Identifier": made.headers["Lambda-Extension-Identifier"]}
urllib.request.urlopen(urllib.request.Request(base + "/2022-07-01/telemetry", json.dumps(%r).encode(), me, method="PUT"))
while True:
    urllib.request.urlopen(urllib.request.Request(base + "/2020-01-01/extension/event/next", headers=me))
"""
    noisy = "def handler(e, c):\n    for n in range(20000): print('x' * 400)\n    return 'done'"
    function = extended({"deaf": program(deaf % TELEMETRY)}, noisy, Timeout=60, MemorySize=512)
    assert [function(), function()] == ["done", "done"]
    assert deploy("def handler(e, c): return 'fine'")() == "fine"
