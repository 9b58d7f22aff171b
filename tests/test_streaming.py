"""Answers in pieces: InvokeWithResponseStream, streaming handlers, and those who leave or fail midway."""

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import pytest
from conftest import ROLE, eventually, get, messages, package, running

NODE_STREAM = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  for (const piece of event.pieces) {
    stream.write(piece);
    await new Promise((done) => setTimeout(done, event.pause ?? 0));
  }
  if (event.fail) throw new TypeError("midway");
  stream.end();
});
"""


@pytest.fixture
def streamer(deploy):
    return deploy({"app.js": NODE_STREAM}, runtime="nodejs20.x")


def events(client, name, event, **options):
    reply = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode(), **options)
    return reply, reply["EventStream"]


def whole(stream):
    """The payload's bytes and how it ended."""
    pieces, end = [], None
    for event in stream:
        assert end is None, "nothing follows the end"
        if "PayloadChunk" in event:
            pieces.append(event["PayloadChunk"]["Payload"])
        else:
            end = event["InvokeComplete"]
    return pieces, end


def test_pieces_arrive_when_they_are_written(lam, logs, streamer):
    reply, stream = events(lam, streamer.name, {"pieces": ["one", "two"], "pause": 1500})
    assert reply["StatusCode"] == 200 and reply["ExecutedVersion"] == "$LATEST"
    assert reply["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    arriving = iter(stream)
    for expected in [b"one", b"two"]:
        event = next(arriving)
        assert event["PayloadChunk"]["Payload"] == expected
        # The function is still at it: a buffer anywhere on the way would have kept the piece until its end.
        assert not [line for line in messages(logs, f"/aws/lambda/{streamer.name}") if "REPORT" in line]
    assert "InvokeComplete" in next(arriving)


def test_a_buffered_answer_streams_too_and_brings_the_log(lam, deploy):
    function = deploy("def handler(event, context):\n    print('seen')\n    return {'long': 'x' * event['n']}")
    reply, stream = events(lam, function.name, {"n": 300_000}, LogType="Tail")
    pieces, end = whole(stream)
    assert json.loads(b"".join(pieces)) == {"long": "x" * 300_000}
    assert "ErrorCode" not in end
    log = base64.b64decode(end["LogResult"]).decode()
    assert "seen" in log and "REPORT RequestId: " + reply["ResponseMetadata"]["RequestId"] in log


def test_failures_are_told_at_the_end(lam, deploy, streamer):
    _, stream = events(lam, streamer.name, {"pieces": ["a"], "fail": True})
    pieces, end = whole(stream)
    assert pieces == [b"a"] and end["ErrorCode"] == "Unhandled"
    details = json.loads(end["ErrorDetails"])
    assert details["errorType"] == "TypeError" and details["errorMessage"] == "midway"
    # The environment is as good as before.
    pieces, end = whole(events(lam, streamer.name, {"pieces": ["b"]})[1])
    assert pieces == [b"b"] and "ErrorCode" not in end

    slow = deploy({"app.js": NODE_STREAM}, runtime="nodejs20.x", Timeout=1)
    pieces, end = whole(events(lam, slow.name, {"pieces": ["a", "b"], "pause": 5000})[1])
    assert pieces == [b"a"] and "timed out after 1.00 seconds" in end["ErrorDetails"]

    broken = deploy("def handler(event, context):\n    raise KeyError('x')")
    pieces, end = whole(events(lam, broken.name, {})[1])
    assert pieces == [] and json.loads(end["ErrorDetails"])["errorType"] == "KeyError"


def test_a_streaming_handler_answers_a_plain_invoke_at_once(lam, streamer):
    reply = lam.invoke(FunctionName=streamer.name, Payload=json.dumps({"pieces": ['{"a"', ": 1}"]}).encode())
    assert json.loads(reply["Payload"].read()) == {"a": 1}


def test_bad_requests_are_refused(lam, streamer):
    for options, code in [
        ({"InvocationType": "Event"}, "ValidationException"),
        ({"InvocationType": "x"}, "ValidationException"),
        ({"FunctionName": "missing"}, "ResourceNotFoundException"),
        ({"Payload": b"{"}, "InvalidRequestContentException"),
        ({"Qualifier": "7"}, "ResourceNotFoundException"),
    ]:
        asked = {"FunctionName": streamer.name, "Payload": b"{}", **options}
        with pytest.raises(lam.exceptions.ClientError) as refused:
            lam.invoke_with_response_stream(**asked)
        assert refused.value.response["Error"]["Code"] == code, options
    dry = lam.invoke_with_response_stream(FunctionName=streamer.name, InvocationType="DryRun")
    assert dry["ResponseMetadata"]["HTTPStatusCode"] == 204


LARGE = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const piece = Buffer.alloc(event.piece, "x");
  let most = 0;
  for (let sent = 0; sent < event.total; sent += piece.length) {
    if (!stream.write(piece)) await new Promise((done) => stream.once("drain", done));
    most = Math.max(most, process.memoryUsage.rss());
  }
  console.log("written rss=" + most);
  stream.end();
});
"""


def resident(node):
    """Bytes of memory of the node's own process."""
    for line in open(f"/proc/{node.process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024


def test_a_slow_reader_holds_the_function_back_and_memory_stays_flat(node, lam, logs, deploy):
    function = deploy({"app.js": LARGE}, runtime="nodejs20.x", Timeout=60, MemorySize=256)
    before = resident(node)
    _, stream = events(lam, function.name, {"piece": 65536, "total": 100 * 1024 * 1024})
    got, most = 0, 0
    iterator = iter(stream)
    first = next(iterator)
    got += len(first["PayloadChunk"]["Payload"])
    time.sleep(1)  # nobody reads: the function must not run ahead
    assert not [line for line in messages(logs, f"/aws/lambda/{function.name}") if "written" in line]
    for event in iterator:
        if "PayloadChunk" in event:
            got += len(event["PayloadChunk"]["Payload"])
        else:
            assert "ErrorCode" not in event["InvokeComplete"], event
        most = max(most, resident(node))
    assert got == 100 * 1024 * 1024
    assert most - before < 24 * 1024 * 1024, f"{before} → {most}"


def test_pieces_may_be_large_and_the_stream_may_not_exceed_its_bound(lam, deploy):
    function = deploy({"app.js": LARGE}, runtime="nodejs20.x", Timeout=120, MemorySize=512)
    pieces, end = whole(events(lam, function.name, {"piece": 20 * 1024 * 1024, "total": 40 * 1024 * 1024})[1])
    assert sum(map(len, pieces)) == 40 * 1024 * 1024 and "ErrorCode" not in end
    size = 0
    for event in events(lam, function.name, {"piece": 1024 * 1024, "total": 210 * 1024 * 1024})[1]:
        size += len(event.get("PayloadChunk", {}).get("Payload", b""))
        end = event.get("InvokeComplete")
    assert size <= 200 * 1024 * 1024 and "ResponseSizeTooLarge" in end["ErrorDetails"], (size, end)


def metric(node, name):
    for line in get(node, "/_neap/metrics").text.splitlines():
        if re.match(rf"{name}(\{{\}})? ", line):
            return float(line.split()[1])
    return 0.0


def test_a_client_that_leaves_is_noticed_and_the_function_runs_to_its_end(node, lam, logs, streamer):
    before = metric(node, "neap_response_streams_abandoned_total")
    event = {"pieces": [f"{n}" for n in range(20)], "pause": 50}
    _, stream = events(lam, streamer.name, event)
    next(iter(stream))
    stream.close()
    eventually(lambda: metric(node, "neap_response_streams_abandoned_total") == before + 1)
    group = f"/aws/lambda/{streamer.name}"
    eventually(lambda: any("REPORT" in line for line in messages(logs, group)))
    assert not any("timed out" in line or "rror" in line for line in messages(logs, group))
    # It serves on.
    assert whole(events(lam, streamer.name, {"pieces": ["a"]})[1])[0] == [b"a"]


def test_many_streams_at_once_are_kept_apart(lam, streamer):
    answers = {}

    def one(n):
        pieces, end = whole(events(lam, streamer.name, {"pieces": [f"{n}-{i};" for i in range(20)], "pause": 5})[1])
        answers[n] = (b"".join(pieces), end)

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for n in range(8):
        assert answers[n][0] == "".join(f"{n}-{i};" for i in range(20)).encode()


# A runtime in C: each answer is "one" and, 300 ms later, "two"; if the event contains "fail", trailers tell an error.
CUSTOM = r"""
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
static void put(int s, const char *text) { if (write(s, text, strlen(text)) < 0) exit(4); }
int main(void) {
    for (;;) {
        char head[65536] = {0}, id[64] = {0}, line[256];
        int s = dial();
        put(s, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        for (ssize_t n, got = 0; (n = read(s, head + got, sizeof head - 1 - got)) > 0; got += n);
        close(s);
        char *at = strcasestr(head, "lambda-runtime-aws-request-id:");
        if (!at) exit(5);
        sscanf(at + 30, " %36s", id);
        s = dial();
        snprintf(line, sizeof line, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\n", id);
        put(s, line);
        put(s, "Host: a\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
               "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
               "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
               "3\r\none\r\n");
        usleep(300000);
        if (strstr(head, "fail"))  /* the body is {"errorMessage":"asked","errorType":"Asked"} in base64 */
            put(s, "0\r\nLambda-Runtime-Function-Error-Type: Asked\r\nLambda-Runtime-Function-Error-Body: "
                   "eyJlcnJvck1lc3NhZ2UiOiJhc2tlZCIsImVycm9yVHlwZSI6IkFza2VkIn0=\r\n\r\n");
        else
            put(s, "3\r\ntwo\r\n0\r\n\r\n");
        while (read(s, line, sizeof line) > 0);
        close(s);
    }
}
"""


def test_a_custom_runtime_streams_and_fails_by_trailers(lam, deploy, tmp_path):
    (tmp_path / "bootstrap.c").write_text(CUSTOM)
    build = ["cc", "-O1", "-static", "-D_GNU_SOURCE", "-o", tmp_path / "bootstrap", tmp_path / "bootstrap.c"]
    subprocess.run(build, check=True)
    files = {"bootstrap": (0o100755, (tmp_path / "bootstrap").read_bytes())}
    function = deploy(files, runtime="provided.al2023", handler="any")
    pieces, end = whole(events(lam, function.name, {})[1])
    assert pieces == [b"one", b"two"] and "ErrorCode" not in end
    pieces, end = whole(events(lam, function.name, {"fail": True})[1])
    assert pieces == [b"one"] and json.loads(end["ErrorDetails"])["errorType"] == "Asked"


RUST_STREAM = pathlib.Path(__file__).parent / "clients" / "rust-stream"


@pytest.fixture(scope="session")
def rust_stream():
    """The AWS SDK for Rust, built once beside the node: it takes a minute or two on the first run only."""
    if not shutil.which("cargo"):
        pytest.skip("there is no cargo to build the client with")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "neap" / "target"
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", cache)) / "clients"
    built = subprocess.run(
        ["cargo", "build", "--locked", "--quiet", "--manifest-path", RUST_STREAM / "Cargo.toml", "--target-dir", target],
        capture_output=True, text=True,
    )
    assert built.returncode == 0, built.stderr
    return target / "debug" / "rust-stream"


@contextlib.contextmanager
def streamed_by_rust(binary, node, name, event, *options):
    keys = node.credentials
    arguments = [binary, node.endpoint, keys["access_key"], keys["secret_key"], name, json.dumps(event), *options]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        try:
            yield client
        finally:
            client.kill()


def read(line):
    kind, *parts = line.rstrip("\n").split(" ")
    return kind, *(bytes.fromhex(part) for part in parts)


def test_the_rust_sdk_gets_chunks_and_errors(rust_stream, node, streamer):
    def told(name, event):
        with streamed_by_rust(rust_stream, node, name, event) as client:
            return [read(line) for line in client.stdout]

    assert told(streamer.name, {"pieces": ["one"]}) == [("chunk", b"one"), ("complete", b"", b"")]
    *chunks, (kind, code, details) = told(streamer.name, {"pieces": ["one", "two"], "pause": 100, "fail": True})
    assert b"".join(chunk for _, chunk in chunks) == b"onetwo" and {kind for kind, _ in chunks} == {"chunk"}
    assert (kind, code) == ("complete", b"Unhandled")
    assert json.loads(details)["errorType"] == "TypeError" and json.loads(details)["errorMessage"] == "midway"
    [(kind, code, text)] = told("missing", {})
    assert (kind, code) == ("refused", b"ResourceNotFoundException") and b"Function not found" in text


def test_the_rust_sdk_gets_the_first_chunk_before_the_function_has_ended(rust_stream, node, logs, deploy):
    large = deploy({"app.js": LARGE}, runtime="nodejs20.x", Timeout=60)
    ended = lambda: [line for line in messages(logs, f"/aws/lambda/{large.name}") if "REPORT" in line]
    total = 64 << 20
    with streamed_by_rust(rust_stream, node, large.name, {"piece": 1 << 16, "total": total}, "wait") as client:
        kind, first = read(client.stdout.readline())
        # The client reads nothing now, and there is no room for the rest between it and the function.
        assert kind == "chunk" and first and not ended()
        client.stdin.write("go on\n")
        client.stdin.flush()
        got = len(first)
        for kind, *parts in map(read, client.stdout):
            if kind == "chunk":
                got += len(parts[0])
        assert (kind, parts) == ("complete", [b"", b""]) and got == total
    eventually(ended)


def test_the_rust_sdk_sees_a_stream_break_off(rust_stream):
    with running() as node:
        node.client("lambda").create_function(
            FunctionName="f", Runtime="nodejs20.x", Handler="app.handler", Role=ROLE, Timeout=60,
            Code={"ZipFile": package({"app.js": LARGE})},
        )
        node.client("lambda").get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})
        with streamed_by_rust(rust_stream, node, "f", {"piece": 1 << 16, "total": 64 << 20}, "wait") as client:
            assert read(client.stdout.readline())[0] == "chunk"
            node.kill()
            client.stdin.write("go on\n")
            client.stdin.flush()
            kinds = [read(line)[0] for line in client.stdout]
            # Never taken for a whole answer.
            assert kinds[-1] == "broken" and set(kinds[:-1]) <= {"chunk"}
