"""A disk that is full: functions go on, what they log and cost is kept until there is room again, and nobody is told of success
that is not there."""

import contextlib
import json
import os
import pathlib
import subprocess
import time

import botocore.exceptions
import pytest
from conftest import ROLE, eventually, get, messages, package, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")

# What it logs cannot be compressed, and so needs room.
NOISY = """
import base64, os
def handler(event, context):
    for line in range(event["lines"]):
        print("LINE", event["call"], line, base64.b64encode(os.urandom(30_000)).decode())
    return event["call"]
"""


@contextlib.contextmanager
def small_disk(folder, size):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "neap-test", folder], check=True)
    try:
        yield pathlib.Path(folder)
    finally:
        # The test itself still has the node's log open.
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path):
    """Takes all the room that is left."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


def failures(node):
    for line in get(node, "/_neap/metrics").text.splitlines():
        if line.startswith("neap_telemetry_flush_failures_total "):
            return int(line.split()[1])
    return 0


def test_what_could_not_be_written_is_there_when_there_is_room_again(tmp_path):
    with small_disk(tmp_path, "256m") as disk, running(data=disk / "data") as node:
        lam, logs = node.client("lambda"), node.client("logs")
        lam.create_function(
            FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": package({"app.py": NOISY})}
        )
        lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})
        logs.create_log_group(logGroupName="own")
        logs.create_log_stream(logGroupName="own", logStreamName="s")
        calls = 0

        def call(lines):
            nonlocal calls
            reply = lam.invoke(FunctionName="f", Payload=json.dumps({"call": calls, "lines": lines}).encode())
            assert json.loads(reply["Payload"].read()) == calls
            calls += 1

        call(1)
        fill(disk / "filler")
        # Functions run on; what they log stays in memory.
        while failures(node) < 3:
            # What one stream may have waiting is more.
            assert calls < 70, "the disk is full and every flush succeeds"
            call(5)
        event = {"timestamp": 1000 * int(time.time()), "message": "x" * 200_000}
        put = lambda: logs.put_log_events(logGroupName="own", logStreamName="s", logEvents=[event])
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            put()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        (disk / "filler").unlink()
        put()

        def lines():
            found = [line.split()[1:3] for line in messages(logs, "/aws/lambda/f") if line.startswith("LINE")]
            return sorted((int(call), int(line)) for call, line in found)

        wanted = sorted([(0, 0)] + [(call, line) for call in range(1, calls) for line in range(5)])
        # Whoever reads flushes first; flushing may need another attempt.
        eventually(lambda: lines() == wanted, every=0.5)
        used = lambda: json.loads(node.neap("cost", "--json").stdout)["books"][0]["requests"]
        assert used() == calls
        # It is on disk now, and once.
        node.kill()
        node.start()
        logs = node.client("logs")
        assert lines() == wanted and used() == calls
        assert messages(logs, "own") == [event["message"]]
        node.stop()
