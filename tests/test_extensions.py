"""Extensions: programs beside the runtime, and parts of it, that follow the life of their environment."""

import base64
import json
import re

import pytest
from conftest import eventually, messages, root
from test_layers import publish, updated  # noqa: F401: a fixture

pytestmark = root

API = 'api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"'
REGISTER = (
    API
    + """
name=${0##*/}
register() {
  curl -sS -D - -o /tmp/$name.answer -H "Lambda-Extension-Name: $name" -H 'Lambda-Extension-Accept-Feature: accountId' \\
    -d "$1" "$api/register" | sed -n 's/^[Ll]ambda-[Ee]xtension-[Ii]dentifier: *//p' | tr -d '\\r'
}
next() { curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next"; }
"""
)
FOLLOWER = (
    "#!/bin/sh\n"
    + REGISTER
    + """
sleep 0.3
echo first > /tmp/before-the-runtime
id=$(register '{"events": ["INVOKE", "SHUTDOWN"]}')
echo "registered $(cat /tmp/$name.answer)"
echo "handler is ${_HANDLER-hidden} in $AWS_LAMBDA_FUNCTION_NAME"
while :; do
  event=$(next)
  echo "event $event"
  echo "$event" >> /tmp/events
  case "$event" in *SHUTDOWN*) exit 0;; esac
done
"""
)
FUNCTION = """
import os
first = os.path.exists("/tmp/before-the-runtime")
def handler(event, context):
    return {"first": first, "id": context.aws_request_id}
"""


def program(text):
    return (0o100755, text)


@pytest.fixture
def extended(publish, deploy):
    """Deploys a function with extensions: name → program."""
    made = []

    def extended(extensions, source=FUNCTION, **options):
        layer = publish(f"ext{len(made)}", {f"extensions/{name}": content for name, content in extensions.items()})
        made.append(layer)
        return deploy(source, Layers=[layer["LayerVersionArn"]], **options)

    return extended


def log(logs, function):
    return messages(logs, f"/aws/lambda/{function.name}")


def events(lines):
    return [json.loads(line.removeprefix("event ")) for line in lines if line.startswith("event ")]


def test_an_extension_follows_its_environment(extended, lam, logs):
    function = extended({"follower": program(FOLLOWER)})
    # With the log an answer comes when the extension is done, too: the next call finds the environment idle.
    replies = [function.invoke(LogType="Tail") for _ in range(2)]
    assert all(reply["Body"]["first"] for reply in replies), "the extension was there before the runtime"
    ids = [reply["Body"]["id"] for reply in replies]
    lam.delete_function(FunctionName=function.name)
    eventually(lambda: any("SHUTDOWN" in line for line in log(logs, function) if line.startswith("event ")))
    lines = log(logs, function)
    registered = json.loads(next(line for line in lines if line.startswith("registered ")).removeprefix("registered "))
    assert registered == {
        "functionName": function.name,
        "functionVersion": "$LATEST",
        "handler": "app.handler",
        "accountId": "000000000000",
    }
    assert f"handler is hidden in {function.name}" in lines
    assert any(re.fullmatch(r"EXTENSION\tName: follower\tState: Ready\tEvents: \[INVOKE,SHUTDOWN\]", line) for line in lines)
    *invoked, shutdown = events(lines)
    assert [event["requestId"] for event in invoked] == ids
    for event in invoked:
        assert event["eventType"] == "INVOKE" and event["invokedFunctionArn"] == function.arn
        assert event["tracing"]["type"] == "X-Amzn-Trace-Id" and event["tracing"]["value"].startswith("Root=1-")
        assert isinstance(event["deadlineMs"], int)
    assert (shutdown["eventType"], shutdown["shutdownReason"]) == ("SHUTDOWN", "spindown")
    assert isinstance(shutdown["deadlineMs"], int)


def test_extensions_work_with_other_runtimes(extended):
    source = {"index.js": 'exports.handler = async () => require("fs").existsSync("/tmp/before-the-runtime");'}
    node = extended({"follower": program(FOLLOWER)}, source, runtime="nodejs20.x", handler="index.handler")
    assert node() is True
    bootstrap = """\
    #!/bin/sh
    while :; do
      curl -sD /tmp/head -o /tmp/event "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
      id=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *//p' /tmp/head | tr -d '\\r')
      curl -s -o /dev/null -d "\\"$(cat /tmp/before-the-runtime)\\"" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
    done
    """
    provided = extended(
        {"follower": program(FOLLOWER)}, {"bootstrap": program(bootstrap)}, runtime="provided.al2023", handler="x"
    )
    assert [provided(), provided()] == ["first", "first"]


def test_extensions_may_be_written_in_the_functions_language(extended, logs):
    extension = """\
    #!/usr/bin/env python3
    import json, os, urllib.request
    api = "http://%s/2020-01-01/extension/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
    def call(path, data=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return urllib.request.urlopen(urllib.request.Request(api + path, data, headers))
    made = call("register", b'{"events": ["INVOKE"]}', Lambda_Extension_Name=os.path.basename(__file__))
    id = made.headers["Lambda-Extension-Identifier"]
    while True:
        print("python saw", json.load(call("event/next", Lambda_Extension_Identifier=id))["requestId"], flush=True)
    """
    function = extended({"watch.py": program(extension)})
    id = function()["id"]
    eventually(lambda: f"python saw {id}" in log(logs, function))


def test_what_an_extension_may_not_do_is_told(extended):
    probe = """
import json, os, urllib.error, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
def ask(path, method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(base + path, body and body.encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, None]
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return [error.code, json.loads(text)["errorType"] if text.startswith("{") else text]
ext = "/2020-01-01/extension/"
early = [
    ask(ext + "register", "POST", '{"events": ["SHUTDOWN"]}', Lambda_Extension_Name="inner"),
    ask(ext + "register", "POST", '{"events": ["SNOOZE"]}', Lambda_Extension_Name="inner"),
    ask(ext + "register", "POST", 'no', Lambda_Extension_Name="inner"),
    ask(ext + "register", "POST", '{"events": []}'),
    ask(ext + "register", "POST", '{"events": []}', Lambda_Extension_Name="follower"),
]
def handler(event, context):
    stranger = "12345678-1234-4234-9234-123456789012"
    return early + [
        ask(ext + "register", "POST", '{"events": []}', Lambda_Extension_Name="late"),
        ask(ext + "event/next"),
        ask(ext + "event/next", Lambda_Extension_Identifier="me"),
        ask(ext + "event/next", Lambda_Extension_Identifier=stranger),
        ask(ext + "exit/error", "POST", "{}", Lambda_Extension_Identifier=stranger),
        ask(ext + "exit/error", "POST", "{}", Lambda_Extension_Identifier=stranger,
            Lambda_Extension_Function_Error_Type="x"),
        ask(ext + "event/next", "POST", "{}"),
        ask(ext + "nothing"),
        ask("/2018-06-01/runtime/invocation/next"),
    ]
"""
    function = extended({"follower": program(FOLLOWER)}, probe)
    assert function() == [
        [403, "Extension.InvalidEventType"],
        [403, "Extension.InvalidEventType"],
        [400, "InvalidRequestFormat"],
        [403, "Extension.InvalidExtensionName"],
        [403, "Extension.InvalidExtensionState"],
        [403, "Extension.RegistrationClosed"],
        [403, "Extension.MissingExtensionIdentifier"],
        [403, "Extension.InvalidExtensionIdentifier"],
        [403, "Extension.UnknownExtensionIdentifier"],
        [403, "Extension.MissingHeader"],
        [403, "Extension.UnknownExtensionIdentifier"],
        [405, "MethodNotAllowed"],
        [404, "404 page not found\n"],
        [404, "404 page not found\n"],
    ]


INTERNAL = """
import json, os, signal, sys, threading, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
made = urllib.request.urlopen(urllib.request.Request(
    base + "register", b'{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "inner"}))
headers = {"Lambda-Extension-Identifier": made.headers["Lambda-Extension-Identifier"]}
seen, news = [], threading.Condition()
def follow():
    while True:
        event = json.load(urllib.request.urlopen(urllib.request.Request(base + "event/next", headers=headers)))
        with news:
            seen.append(event["requestId"])
            news.notify_all()
threading.Thread(target=follow, daemon=True).start()
def bye(*_):
    print("asked to end", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, bye)
def handler(event, context):
    with news:
        news.wait_for(lambda: context.aws_request_id in seen)
        return len(seen)
"""


def test_a_part_of_the_runtime_may_be_an_extension(deploy, lam, logs):
    function = deploy(INTERNAL, Timeout=20)
    assert [function.invoke(LogType="Tail")["Body"] for _ in range(3)] == [1, 2, 3]
    eventually(lambda: "EXTENSION\tName: inner\tState: Ready\tEvents: [INVOKE]" in log(logs, function))
    lam.delete_function(FunctionName=function.name)
    eventually(lambda: "asked to end" in log(logs, function))


def test_failing_extensions_fail_their_function(extended, logs):
    def kind(function):
        reply = function.invoke()
        assert reply["FunctionError"] == "Unhandled"
        return reply["Body"]["errorType"], reply["Body"]["errorMessage"]

    crash = extended({"crash": program("#!/bin/sh\nexit 7\n")})
    told, text = kind(crash)
    assert told == "Extension.Crash" and "exit status 7" in text
    refuses = REGISTER + """
    id=$(register '{"events": []}')
    curl -sS -d '{}' -H "Lambda-Extension-Identifier: $id" -H "Lambda-Extension-Function-Error-Type: Extension.NoConfig" "$api/init/error"
    sleep 60
    """
    told, text = kind(extended({"refuses": program("#!/bin/sh\n" + refuses)}))
    assert told == "Extension.InitError" and "Extension.NoConfig" in text
    gives_up = REGISTER + """
    id=$(register '{"events": ["INVOKE"]}')
    next
    curl -sS -d '{}' -H "Lambda-Extension-Identifier: $id" -H "Lambda-Extension-Function-Error-Type: Extension.Gave.Up" "$api/exit/error"
    sleep 60
    """
    waits = "import time\ndef handler(e, c): time.sleep(20)"
    function = extended({"gives-up": program("#!/bin/sh\n" + gives_up)}, waits, Timeout=30)
    told, text = kind(function)
    assert told == "Extension.ExitError" and "Extension.Gave.Up" in text
    eventually(lambda: any("Extension.ExitError" in line for line in log(logs, function)))
    told, text = kind(extended({"silent": program("#!/bin/sh\nsleep 1000\n")}, Timeout=1))
    assert told == "Sandbox.Timedout", "it never registers"
    told, text = kind(extended({"plain": "#!/bin/sh\n"}))
    assert told == "Extension.LaunchError" and "Permission denied" in text
    told, _ = kind(extended({f"e{n:02}": program(FOLLOWER) for n in range(11)}))
    assert told == "Extension.TooManyExtensions"
    assert extended({f"e{n:02}": program(FOLLOWER) for n in range(10)})()["first"], "ten are allowed"


def test_an_extension_that_does_not_come_back_times_out_after_the_answer(extended, logs):
    stuck = "#!/bin/sh\n" + REGISTER + """
    id=$(register '{"events": ["INVOKE", "SHUTDOWN"]}')
    event=$(next)
    echo "event $event"
    sleep 60
    """
    function = extended({"stuck": program(stuck)}, Timeout=2)
    first = function()
    assert first["id"], "the caller has its answer all the same"
    eventually(lambda: any(f"{first['id']} Task timed out after 2.00 seconds" in line for line in log(logs, function)))
    report = eventually(lambda: next((line for line in log(logs, function) if line.startswith("REPORT")), None))
    assert "Status: timeout" in report and "Duration: 2000.00 ms" in report
    second = function.invoke(LogType="Tail")
    assert second["Body"]["id"] != first["id"]


    assert "Task timed out" in base64.b64decode(second["LogResult"]).decode(), "the log waits for the end"


def test_a_timeout_is_told_to_extensions(extended, logs):
    function = extended({"follower": program(FOLLOWER)}, "import time\ndef handler(e, c): time.sleep(30)", Timeout=1)
    assert function.invoke()["Body"]["errorType"] == "Sandbox.Timedout"
    reasons = lambda: [event.get("shutdownReason") for event in events(log(logs, function))]
    eventually(lambda: "timeout" in reasons())
    crashes = extended({"follower": program(FOLLOWER)}, "import os\ndef handler(e, c): os._exit(3)")
    assert crashes.invoke()["Body"]["errorType"] == "Runtime.ExitError"
    reasons = lambda: [event.get("shutdownReason") for event in events(log(logs, crashes))]
    eventually(lambda: "failure" in reasons())


def test_a_flood_of_requests_leaves_the_platform_alive(extended, deploy):
    flood = "#!/bin/sh\n" + REGISTER + """
    id=$(register '{"events": ["INVOKE"]}')
    for n in 1 2 3 4; do
      (for m in $(seq 60); do curl -s -o /dev/null -H 'Lambda-Extension-Name: x' -d "$(head -c 60000 /dev/zero | tr '\\0' x)" "$api/register"; done) &
    done
    while :; do next; done
    """
    function = extended({"flood": program(flood)}, Timeout=30, MemorySize=512)
    assert function()["id"] != function()["id"]
    assert deploy("def handler(e, c): return 'fine'")() == "fine"


def test_a_frozen_extension_goes_on_with_the_next_invocation(extended, lam, logs):
    function = extended({"follower": program(FOLLOWER)})
    ids = [function.invoke(LogType="Tail")["Body"]["id"] for _ in range(5)]
    seen = lambda: [event["requestId"] for event in events(log(logs, function)) if event["eventType"] == "INVOKE"]
    eventually(lambda: seen() == ids)
    updated(lam, function, Layers=[])
    assert function()["first"] is False
