"""Asynchronous invocation: accepted means run, at least once, also after kill -9."""

import concurrent.futures
import contextlib
import json
import time

import botocore.exceptions
import pytest
from conftest import ROLE, eventually, messages, package, root, running


def create(client, name, source, **options):
    client.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                           Code={"ZipFile": package({"app.py": source})}, **options)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})


def test_an_event_is_accepted_then_run(deploy, logs):
    function = deploy("def handler(e, c): print('ran', e['n'], c.aws_request_id)")
    reply = function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b'{"n": 5}')
    assert reply["StatusCode"] == 202 and reply["Payload"].read() == b""
    request = reply["ResponseMetadata"]["RequestId"]
    eventually(lambda: f"ran 5 {request}" in "\n".join(messages(logs, f"/aws/lambda/{function.name}")))


def test_a_large_event_is_refused(deploy):
    function = deploy("def handler(e, c): return 1")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b'"' + b"x" * 1048576 + b'"')
    assert caught.value.response["Error"]["Code"] == "RequestTooLargeException"


def test_a_failing_event_is_tried_three_times_with_one_request_id():
    with running(config="[asynchronous]\nretry_waits_ms = [200, 400]\n") as node:
        lam, logs = node.client("lambda"), node.client("logs")
        create(lam, "fails", "def handler(e, c):\n    print('attempt', c.aws_request_id)\n    raise ValueError('always')")
        reply = lam.invoke(FunctionName="fails", InvocationType="Event", Payload=b"{}")
        request = reply["ResponseMetadata"]["RequestId"]

        def attempts():
            return [m for m in messages(logs, "/aws/lambda/fails") if m.startswith(f"attempt {request}")]

        eventually(lambda: len(attempts()) == 3)
        time.sleep(1.5)
        assert len(attempts()) == 3


def test_one_functions_backlog_does_not_hold_up_another():
    with running() as node:
        lam, logs = node.client("lambda"), node.client("logs")
        create(lam, "slow", "import time\ndef handler(e, c): time.sleep(1)", Timeout=10)
        lam.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
        create(lam, "quick", "def handler(e, c): print('quick ran')")
        for _ in range(30):
            lam.invoke(FunctionName="slow", InvocationType="Event", Payload=b"{}")
        lam.invoke(FunctionName="quick", InvocationType="Event", Payload=b"{}")
        eventually(lambda: any("quick ran" in m for m in messages(logs, "/aws/lambda/quick")), timeout=10)


# Its witness is on disk before the invocation ends: PutLogEvents is durable, what a function prints is not.
WITNESS = """
import boto3, time, uuid
logs = boto3.client("logs")
stream = uuid.uuid4().hex
logs.create_log_stream(logGroupName="/audit", logStreamName=stream)
def handler(event, context):
    logs.put_log_events(logGroupName="/audit", logStreamName=stream,
                        logEvents=[{"timestamp": int(time.time() * 1000), "message": event["id"]}])
"""


@root
def test_kill_9_in_a_loop_loses_no_accepted_event(tmp_path):
    """Events are sent from several threads while the node is killed again and again; every accepted one must have run."""
    data = tmp_path / "data"
    accepted, rounds = set(), 5
    with running(data=data) as node:
        node.client("logs").create_log_group(logGroupName="/audit")
        create(node.client("lambda"), "audit", WITNESS, MemorySize=512, Timeout=30)
    for round_number in range(rounds):
        with running(data=data) as node:
            client, answered = node.client("lambda"), []

            def send(thread, round_number=round_number, client=client, answered=answered):
                mine = set()
                for n in range(2000):
                    event = f"{round_number}-{thread}-{n}"
                    try:
                        client.invoke(FunctionName="audit", InvocationType="Event", Payload=json.dumps({"id": event}).encode())
                        mine.add(event)
                        answered.append(event)
                    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError):
                        break
                return mine

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                sending = [pool.submit(send, thread) for thread in range(4)]
                with contextlib.suppress(AssertionError):
                    eventually(lambda: len(answered) >= 200, timeout=60)
                node.kill()
                for one in sending:
                    accepted |= one.result()
    assert len(accepted) > 100
    with running(data=data) as node:
        logs = node.client("logs")
        missing = lambda: accepted - set(messages(logs, "/audit"))
        with contextlib.suppress(AssertionError):
            eventually(lambda: not missing(), timeout=120, every=1)
        assert not missing(), f"{len(missing())} of {len(accepted)} never ran"
