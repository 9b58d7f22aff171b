"""Invocation through the real API: results, errors, context, logs' tail, runtimes."""

import base64
import concurrent.futures
import json
import re
import textwrap
import time

import botocore.exceptions
import pytest
from conftest import by_url, package

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def tail_of(reply):
    return base64.b64decode(reply["LogResult"]).decode()


def test_python_receives_the_event_and_lambdas_context(deploy):
    function = deploy(
        """
        def handler(event, context):
            return {
                "event": event,
                "name": context.function_name,
                "version": context.function_version,
                "arn": context.invoked_function_arn,
                "memory": context.memory_limit_in_mb,
                "id": context.aws_request_id,
                "group": context.log_group_name,
                "stream": context.log_stream_name,
                "left": context.get_remaining_time_in_millis(),
                "client": context.client_context and context.client_context.custom,
            }
        """,
        MemorySize=192,
        Timeout=9,
    )
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    reply = function.invoke({"a": [1, "ü"]}, ClientContext=context)
    body = reply["Body"]
    assert body["event"] == {"a": [1, "ü"]}
    assert body["name"] == function.name and body["version"] == "$LATEST" and body["arn"] == function.arn
    assert int(body["memory"]) == 192
    assert body["id"] == reply["ResponseMetadata"]["RequestId"]
    assert body["group"] == f"/aws/lambda/{function.name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", body["stream"])
    assert 8000 < body["left"] <= 9000
    assert body["client"] == {"k": "v"}
    assert reply["StatusCode"] == 200 and reply["ExecutedVersion"] == "$LATEST"


def test_python_errors_have_lambdas_shape(deploy):
    function = deploy(
        """
        class Odd(Exception):
            pass

        def inner():
            raise Odd("no way")

        def handler(event, context):
            inner()
        """
    )
    reply = function.invoke()
    assert reply["StatusCode"] == 200 and reply["FunctionError"] == "Unhandled"
    assert reply["Body"]["errorMessage"] == "no way"
    assert reply["Body"]["errorType"] == "Odd"
    assert any("inner()" in line for line in reply["Body"]["stackTrace"])
    assert UUID.fullmatch(reply["Body"]["requestId"])


@pytest.mark.parametrize(
    "files, handler, kind, text",
    [
        ({"app.py": "import nonexistent_module"}, "app.handler", "Runtime.ImportModuleError", "nonexistent_module"),
        ({"app.py": "x = 1"}, "app.handler", "Runtime.HandlerNotFound", "handler"),
        ({"app.py": "def handler(:"}, "app.handler", "Runtime.UserCodeSyntaxError", "yntax"),
        ({"other.py": "x = 1"}, "app.handler", "Runtime.ImportModuleError", "app"),
    ],
)
def test_python_initialisation_errors_are_named_as_on_lambda(deploy, files, handler, kind, text):
    reply = deploy(files, handler=handler).invoke()
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Body"]["errorType"] == kind
    assert text in reply["Body"]["errorMessage"]


@pytest.mark.parametrize(
    "name, source",
    [
        ("index.js", "exports.handler = async (event, context) => ({ event, id: context.awsRequestId });"),
        ("index.mjs", "export const handler = async (event, context) => ({ event, id: context.awsRequestId });"),
        ("index.js", "exports.handler = (event, context, done) => done(null, { event, id: context.awsRequestId });"),
    ],
)
def test_node_handlers_of_each_style_answer(deploy, name, source):
    function = deploy({name: source}, runtime="nodejs20.x", handler="index.handler")
    reply = function.invoke({"x": 1})
    assert reply["Body"] == {"event": {"x": 1}, "id": reply["ResponseMetadata"]["RequestId"]}


def test_node_callbacks_wait_for_the_event_loop_unless_told_not_to(deploy):
    source = """
    exports.handler = (event, context, callback) => {
      const told = { before: context.callbackWaitsForEmptyEventLoop, ran: false, left: context.getRemainingTimeInMillis() };
      if (event.leave) context.callbackWaitsForEmptyEventLoop = false;
      setTimeout(() => { told.ran = true; }, 50);
      callback(null, told);
    };
    """
    function = deploy({"index.js": source}, runtime="nodejs20.x", handler="index.handler", Timeout=9)
    for leave in [False, True, False]:
        told = function({"leave": leave})
        assert (told["before"], told["ran"]) == (True, not leave)
        assert 0 < told["left"] <= 9_000


def test_node_tells_answers_of_every_length_whole(deploy):
    source = "exports.handler = async ({ unit, count }) => unit.repeat(count);\n"
    function = deploy({"index.js": source}, runtime="nodejs20.x", handler="index.handler")
    # Short texts are put into one buffer, of 16 KiB; a character takes up to three bytes, a pair of surrogates four.
    for unit in ["a", "é", "€", "😀"]:
        for count in [0, 1, 5_455, 5_458, 5_461, 16_380, 70_000]:
            assert function({"unit": unit, "count": count}) == unit * count
    # What is no text becomes what JSON.stringify makes of it.
    assert function({"unit": "\ud800", "count": 2}) == "\ud800" * 2


def test_node_answers_when_nothing_is_left_to_wait_for(deploy):
    source = """
        const ways = {
          now: async () => "now",
          hops: async () => { for (let i = 0; i < 50; i++) await null; return "hops"; },
          later: () => new Promise((done) => setTimeout(done, 20, "later")),
          never: () => new Promise(() => {}),
          nothing: () => undefined,
          callback: (_, callback) => { setTimeout(() => {}, 20); callback(null, "callback"); },
          late: (_, callback) => { setTimeout(callback, 20, null, "late"); },
          thenable: () => ({ then: (done) => setTimeout(done, 20, "thenable") }),
        };
        exports.handler = (event, context, callback) => ways[event](context, callback);
    """
    function = deploy({"index.js": source}, runtime="nodejs20.x", handler="index.handler", Timeout=9)
    ways = ["now", "hops", "later", "never", "nothing", "callback", "late", "thenable"]
    # Each before and after each: what one leaves behind must not change the next.
    for way in ways + [way for pair in zip(ways, reversed(ways)) for way in pair]:
        expected = None if way in ("never", "nothing") else way
        assert function(way) == expected, way


def test_node_errors_have_lambdas_shape(deploy):
    source = "exports.handler = async () => { throw new TypeError('no way'); };"
    reply = deploy({"index.js": source}, runtime="nodejs20.x", handler="index.handler").invoke()
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Body"]["errorType"] == "TypeError" and reply["Body"]["errorMessage"] == "no way"
    assert reply["Body"]["trace"][0] == "TypeError: no way"


def test_the_tail_holds_start_output_end_and_report(deploy):
    function = deploy("def handler(e, c):\n    print('héllo')\n    return 1")
    reply = function.invoke(LogType="Tail")
    lines = tail_of(reply).splitlines()
    request = reply["ResponseMetadata"]["RequestId"]
    assert f"START RequestId: {request} Version: $LATEST" in lines
    assert "héllo" in lines
    assert f"END RequestId: {request}" in lines
    report = next(line for line in lines if line.startswith(f"REPORT RequestId: {request}"))
    numbers = re.search(
        r"Duration: ([\d.]+) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\tMax Memory Used: (\d+) MB"
        r"(?:\tInit Duration: ([\d.]+) ms)?",
        report,
    )
    run, billed, used, init = numbers.groups()
    assert 0 < int(used) <= 128
    assert init and abs(int(billed) - (float(run) + float(init))) <= 1.01, report
    warm = tail_of(function.invoke(LogType="Tail"))
    assert "Init Duration" not in warm and "START" in warm


PRINTERS = {
    "python3.11": (
        {
            "app.py": """
                import subprocess
                import sys

                def handler(event, context):
                    print("out", event["n"])
                    sys.stderr.write(f"err {event['n']}\\n")
                    if event["child"]:
                        subprocess.run(["/bin/sh", "-c", f"echo child {event['n']}"])
                    return "x" * event["size"]
            """
        },
        "app.handler",
    ),
    "nodejs20.x": (
        {
            "index.js": """
                const { execSync } = require('node:child_process');
                exports.handler = async (event) => {
                    console.log('out', event.n);
                    process.stderr.write(`err ${event.n}\\n`);
                    if (event.child) execSync(`echo child ${event.n}`, { stdio: 'inherit' });
                    return 'x'.repeat(event.size);
                };
            """
        },
        "index.handler",
    ),
}


@pytest.mark.parametrize("runtime", PRINTERS)
def test_what_is_printed_is_within_its_own_invocation_however_many_run(deploy, runtime):
    files, handler = PRINTERS[runtime]
    function = deploy({name: textwrap.dedent(text) for name, text in files.items()}, runtime=runtime, handler=handler, Timeout=30)

    def call(n):
        # Some answers are longer than what the daemon reads at once, and than a socket holds.
        event = {"n": n, "child": n % 10 == 0, "size": [0, 100, 20_000, 600_000][n % 4]}
        reply = function.invoke(event, LogType="Tail")
        assert len(reply["Body"]) == event["size"]
        lines = [line.split("\t")[-1] for line in tail_of(reply).splitlines()]
        wanted = {f"out {n}", f"err {n}"} | ({f"child {n}"} if event["child"] else set())
        start, end = (next(i for i, line in enumerate(lines) if line.startswith(word)) for word in ("START", "END"))
        assert set(lines[start + 1 : end]) == wanted, lines

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for called in [pool.submit(call, n) for n in range(400)]:
            called.result()


def test_environments_are_reused_and_keep_their_state(deploy):
    function = deploy("import os\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n")
    assert [function() for _ in range(3)] == [1, 2, 3]


def test_concurrent_calls_never_share_an_environment(deploy):
    function = deploy(
        """
        import time
        busy = False
        def handler(e, c):
            global busy
            assert not busy
            busy = True
            time.sleep(0.3)
            busy = False
            return e
        """
    )
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(function, range(16))) == list(range(16))


def test_the_environment_variables_of_lambda_are_complete(deploy):
    function = deploy(
        "import os\ndef handler(e, c): return dict(os.environ)",
        Environment={"Variables": {"MINE": "1"}},
    )
    seen = function()
    expected = {
        "_HANDLER": "app.handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "TZ": ":UTC",
        "MINE": "1",
    }
    assert {name: seen.get(name) for name in expected} == expected
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "PATH",
                 "LD_LIBRARY_PATH", "LANG", "AWS_LAMBDA_LOG_STREAM_NAME", "_X_AMZN_TRACE_ID"]:
        assert seen.get(name), name
    assert set(seen) >= set(expected)


def test_an_sdk_inside_a_function_reaches_neap_as_the_functions_role(deploy):
    function = deploy(
        """
        import boto3
        def handler(e, c):
            who = boto3.client("sts").get_caller_identity()
            names = [f["FunctionName"] for f in boto3.client("lambda").list_functions()["Functions"]]
            return {"arn": who["Arn"], "sees": c.function_name in names}
        """,
        Timeout=60,
        MemorySize=512,
    )
    body = function()
    assert body["arn"] == f"arn:aws:sts::000000000000:assumed-role/tests/{function.name}"
    assert body["sees"]


def test_the_javascript_sdk_inside_a_function_reaches_neap(deploy):
    source = """
    const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
    exports.handler = async () => (await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn;
    """
    function = deploy({"index.js": source}, runtime="nodejs20.x", handler="index.handler", Timeout=60, MemorySize=512)
    assert function() == f"arn:aws:sts::000000000000:assumed-role/tests/{function.name}"


def test_dry_run_and_unknown_types_run_nothing(deploy, lam):
    function = deploy("def handler(e, c): raise SystemExit")
    assert lam.invoke(FunctionName=function.name, InvocationType="DryRun")["StatusCode"] == 204


def test_payloads_that_are_not_json_or_too_large_are_refused(deploy, lam):
    function = deploy("def handler(e, c): return len(str(e))")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        lam.invoke(FunctionName=function.name, Payload=b"{not json")
    assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        lam.invoke(FunctionName=function.name, Payload=b'"' + b"x" * (6 * 1024 * 1024) + b'"')
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert caught.value.response["Error"]["Code"] == "RequestTooLargeException"
    nearly = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    assert lam.invoke(FunctionName=function.name, Payload=nearly)["Payload"].read() == b"6291454"


def test_an_answer_above_the_limit_is_an_error_of_the_function(deploy):
    function = deploy("def handler(e, c): return 'x' * e")
    assert len(function(6 * 1024 * 1024 - 2)) == 6 * 1024 * 1024 - 2
    reply = function.invoke(6 * 1024 * 1024 + 200)
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Body"]["errorType"] == "Function.ResponseSizeTooLarge"


def test_an_answer_that_is_not_json_is_a_marshalling_error(deploy):
    reply = deploy("def handler(e, c): return {1, 2}").invoke()
    assert reply["Body"]["errorType"] == "Runtime.MarshalError"


def test_a_package_may_be_large_and_deep(deploy):
    files = {f"lib/a{i}/b/c/data.txt": "x" * 1000 for i in range(500)}
    files["lib/__init__.py"] = ""
    files["lib/app.py"] = "import os\ndef handler(e, c): return len(os.listdir('/var/task/lib'))"
    assert deploy(files, handler="lib.app.handler")() >= 502


def test_a_bootstrap_executable_speaks_the_runtime_api(deploy, tmp_path):
    source = tmp_path / "bootstrap.c"
    source.write_text(BOOTSTRAP)
    import subprocess

    subprocess.run(["cc", "-O1", "-static", "-o", tmp_path / "bootstrap", source], check=True)
    files = {"bootstrap": (0o100755, (tmp_path / "bootstrap").read_bytes())}
    function = deploy(files, runtime="provided.al2023", handler="any")
    assert function({"n": 1}) == {"n": 1}
    assert function({"n": 2}) == {"n": 2}
    assert function.invoke({"fail": True})["Body"] == {"errorMessage": "asked", "errorType": "Asked"}


# A runtime in C: answers each event with itself, or with an error if it contains "fail".
BOOTSTRAP = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
static int dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9001)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (void *)&to, sizeof to)) exit(3);
    return s;
}
static char buffer[1 << 20];
static size_t exchange(const char *request, size_t length, char **body) {
    int s = dial();
    if (write(s, request, length) != (ssize_t)length) exit(4);
    size_t got = 0;
    for (ssize_t n; (n = read(s, buffer + got, sizeof buffer - got - 1)) > 0; got += n) {
        buffer[got + n] = 0;
        char *end = strstr(buffer, "\r\n\r\n"), *size = strcasestr(buffer, "content-length:");
        if (end && size && got + n >= (size_t)(end + 4 - buffer) + atoi(size + 15)) { got += n; break; }
    }
    close(s);
    *body = strstr(buffer, "\r\n\r\n") + 4;
    return got - (*body - buffer);
}
int main(void) {
    for (;;) {
        char *event, id[64] = "", *reply = malloc(1 << 20);
        const char *next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n";
        size_t length = exchange(next, strlen(next), &event);
        char *at = strcasestr(buffer, "lambda-runtime-aws-request-id:");
        sscanf(at + 30, " %63[0-9a-f-]", id);
        event[length] = 0;
        const char *kind = strstr(event, "fail") ? "error" : "response";
        const char *body = *kind == 'e' ? "{\"errorMessage\":\"asked\",\"errorType\":\"Asked\"}" : event;
        int n = sprintf(reply, "POST /2018-06-01/runtime/invocation/%s/%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
                        id, kind, strlen(body), body);
        char *ignored;
        exchange(reply, n, &ignored);
        free(reply);
    }
}
"""


def test_the_nearest_newer_runtime_serves_with_a_warning_or_is_refused(deploy, lam):
    # No host has Python 3.8 and everything newer removed; whichever exact versions exist, the answer names the runtime used.
    function = deploy("import sys\ndef handler(e, c): return list(sys.version_info[:2])", runtime="python3.9")
    version = function()
    shown = lam.get_function_configuration(FunctionName=function.name)
    if version != [3, 9]:
        assert version > [3, 9]
        assert "python3.9" in json.dumps(shown, default=str)
        assert f"{version[0]}.{version[1]}" in json.dumps(shown.get("StateReason", ""))


def test_logging_by_the_standard_library_has_lambdas_format(deploy):
    function = deploy(
        """
        import logging
        def handler(e, c):
            logging.getLogger().setLevel("INFO")
            logging.info("through logging")
        """
    )
    reply = function.invoke(LogType="Tail")
    assert re.search(
        r"\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t" + reply["ResponseMetadata"]["RequestId"] + "\tthrough logging",
        tail_of(reply),
    )




TRACES = {
    "python3.11": ("app.py", """
import os, subprocess
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4
def handler(event, context):
    if event.get("requestContext"):
        return ""
    shown = os.environ["_X_AMZN_TRACE_ID"]
    command = ["sh", "-c", "echo $_X_AMZN_TRACE_ID"]
    told = [subprocess.check_output(command).decode().strip(), os.popen(command[2]).read().strip()]
    os.environ["_X_AMZN_TRACE_ID"] = "own"
    told.append(subprocess.check_output(command).decode().strip())
    return {"shown": shown, "told": told, "resident": resident()}
"""),
    "nodejs20.x": ("app.js", """
const { execFileSync, execSync } = require("child_process");
exports.handler = async (event) => {
  if (event.requestContext) return "";
  const shown = process.env._X_AMZN_TRACE_ID;
  const told = [execFileSync("sh", ["-c", "echo $_X_AMZN_TRACE_ID"]).toString().trim(), execSync("echo $_X_AMZN_TRACE_ID").toString().trim()];
  const all = { ...process.env };
  if (all._X_AMZN_TRACE_ID !== shown || !("_X_AMZN_TRACE_ID" in process.env)) throw new Error("it is not among the others");
  process.env._X_AMZN_TRACE_ID = "own";
  told.push(execSync("echo $_X_AMZN_TRACE_ID").toString().trim());
  delete process.env._X_AMZN_TRACE_ID;
  if ("_X_AMZN_TRACE_ID" in process.env) throw new Error("it is there still");
  return { shown, told, resident: process.memoryUsage.rss() / 1024 };
};
"""),
}


@pytest.mark.parametrize("runtime", TRACES)
def test_programs_that_a_function_starts_find_its_trace_and_calls_take_no_memory(deploy, runtime):
    name, source = TRACES[runtime]
    function = deploy({name: source}, runtime=runtime, MemorySize=256)
    answers = [function({}), function({})]
    for answer in answers:
        assert answer["shown"].startswith("Root=1-") and answer["told"] == [answer["shown"], answer["shown"], "own"]
    assert answers[0]["shown"] != answers[1]["shown"]
    if runtime.startswith("node"):
        return  # its heap grows and shrinks by more than what is looked for
    calls = by_url(function)
    calls(1000)
    before = function({})["resident"]
    calls(5000)
    # The C library would have kept 5,000 traces of 140 bytes.
    assert function({})["resident"] - before < 350
