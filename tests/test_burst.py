"""Many requests at once to cold functions: every one is answered or refused with its reason, functions do not wait for each
other's whole queues, and nothing is left afterwards."""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import threading

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import ROLE, eventually, get, package, root, running
from test_clean import only_of, traces

pytestmark = root

# Says who answered, and as which of its environment's calls.
SOURCE = """
import os
calls = 0
def handler(event, context):
    global calls
    calls += 1
    return {"n": event["n"], "function": context.function_name, "environment": context.log_stream_name, "call": calls}
"""

# Takes a second, so that all calls of a burst overlap.
SLOW = """
import time
def handler(event, context):
    time.sleep(1)
    return {"n": event["n"]}
"""


def create(lam, name, source=SOURCE, **options):
    lam.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE, MemorySize=128,
                        Code={"ZipFile": package({"app.py": source})}, **options)
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})


def at_once(node, names):
    """Calls the named functions, one thread for each call, all released together. Answers, and refusals by code and reason."""
    lam = node.client("lambda", config=Config(retries={"max_attempts": 0}, read_timeout=300, max_pool_connections=len(names)))
    gate = threading.Barrier(len(names))

    def call(number):
        gate.wait()
        try:
            reply = lam.invoke(FunctionName=names[number], Payload=json.dumps({"n": number}).encode())
        except ClientError as error:
            return error.response["Error"]["Code"], error.response.get("Reason"), error.response["ResponseMetadata"]["HTTPStatusCode"]
        body = json.loads(reply["Payload"].read())
        assert "FunctionError" not in reply, body
        assert body["n"] == number, "an answer to another request"
        return body

    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        done = list(pool.map(call, range(len(names))))
    answers = [one for one in done if isinstance(one, dict)]
    return answers, collections.Counter(one for one in done if not isinstance(one, dict))


def environments(node):
    counts = re.findall(r'^neap_environments\{[^}]*\} ([0-9]+)', get(node, "/_neap/metrics").text, re.M)
    return sum(map(int, counts))


def test_300_at_once_on_one_cold_function(tmp_path):
    before = traces(tmp_path)
    with running(data=tmp_path / "data") as node:
        create(node.client("lambda"), "one")
        answers, refused = at_once(node, ["one"] * 300)
        assert not refused and len(answers) == 300
        per_environment = collections.defaultdict(list)
        for answer in answers:
            per_environment[answer["environment"]].append(answer["call"])
        for calls in per_environment.values():
            assert sorted(calls) == list(range(1, len(calls) + 1)), "one call at a time, each counted once"
        assert environments(node) <= 300
        # The daemon keeps nothing of the burst: no connection, no queue.
        fds = pathlib.Path(f"/proc/{node.process.pid}/fd")
        node.client("lambda").delete_function(FunctionName="one")
        eventually(lambda: environments(node) == 0)
        eventually(lambda: len(list(fds.iterdir())) < 1000)
    assert only_of(tmp_path, before) == []


def test_50_cold_functions_at_once(tmp_path):
    before = traces(tmp_path)
    with running(data=tmp_path / "data") as node:
        lam = node.client("lambda")
        names = [f"f{number}" for number in range(50)]
        for name in names:
            create(lam, name)
        answers, refused = at_once(node, names * 4)
        assert not refused and len(answers) == 200
        assert collections.Counter(answer["function"] for answer in answers) == {name: 4 for name in names}
    assert only_of(tmp_path, before) == []


def test_a_burst_beyond_the_account_is_refused_with_its_reason(tmp_path):
    with running(data=tmp_path / "data", config="[fleet]\naccount_concurrency = 120\n") as node:
        create(node.client("lambda"), "slow", SLOW)
        answers, refused = at_once(node, ["slow"] * 200)
        assert len(answers) >= 120, "what the account has is used"
        assert set(refused) <= {("TooManyRequestsException", "ConcurrentInvocationLimitExceeded", 429)}
        assert len(answers) + sum(refused.values()) == 200 and refused, refused
        answers, refused = at_once(node, ["slow"] * 100)
        assert len(answers) == 100 and not refused, "nothing of the refused calls counts any longer"


def test_a_burst_beyond_memory_is_answered_or_refused_and_small_functions_are_served(tmp_path):
    """Room for four environments at twice the budget; whoever cannot have one waits and is answered when one is free."""
    with running(data=tmp_path / "data", config="[fleet]\nmemory_budget_mib = 256\n") as node:
        lam = node.client("lambda")
        names = [f"f{number}" for number in range(12)]
        for name in names:
            create(lam, name)
        answers, refused = at_once(node, names * 5)
        assert set(refused) <= {("TooManyRequestsException", "ConcurrentInvocationLimitExceeded", 429)}, refused
        served = collections.Counter(answer["function"] for answer in answers)
        assert len(answers) + sum(refused.values()) == 60
        assert set(served) == set(names), "no function waits for all starts of another"
        assert environments(node) <= 4
