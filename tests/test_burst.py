"""Many requests at once to cold functions: every one is answered or refused with its reason, functions do not wait for each
other's whole queues, and nothing is left afterwards."""

import collections
import concurrent.futures
import json
import pathlib
import re
import threading

from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import ROLE, eventually, get, package, root, running

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


def family(pid):
    """A process and its living descendants, each with the time of its start."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append((int(stat.parent.name), fields[19]))
    found, waiting = set(), [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting += [child for child, _ in children]
    return found


def left(node, before):
    """What is left of a node that has ended: of its processes of before, mounts and cgroups."""
    alive = []
    for pid, began in before:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if fields[19] == began and fields[0] != "Z":
            alive.append(f"process {pid}")
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    groups = pathlib.Path("/sys/fs/cgroup").rglob(f"neap-*-{node.process.pid}")
    return alive + [mount for mount in mounts if str(node.data) in mount] + [f"cgroup {group}" for group in groups]


def connections(node):
    """Established connections of clients to a node."""
    port = f":{node.port:04X}"
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(port) and line.split()[3] == "01" for line in lines)


def environments(node):
    counts = re.findall(r'^neap_environments\{[^}]*\} ([0-9]+)', get(node, "/_neap/metrics").text, re.M)
    return sum(map(int, counts))


def test_300_at_once_on_one_cold_function(tmp_path):
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
        # The daemon keeps nothing of the burst: no environment, and no connection.
        node.client("lambda").delete_function(FunctionName="one")
        eventually(lambda: environments(node) == 0)
        eventually(lambda: connections(node) <= 1)
        before = family(node.process.pid)
        assert before, "the probe sees a running node"
    assert left(node, before) == []


def test_50_cold_functions_at_once(tmp_path):
    with running(data=tmp_path / "data") as node:
        lam = node.client("lambda")
        names = [f"f{number}" for number in range(50)]
        for name in names:
            create(lam, name)
        answers, refused = at_once(node, names * 4)
        assert not refused and len(answers) == 200
        assert collections.Counter(answer["function"] for answer in answers) == {name: 4 for name in names}
        assert len(before := family(node.process.pid)) >= 50, "the probe sees a running node"
    assert left(node, before) == []


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


def test_environments_beyond_the_open_descriptors_are_refused_with_429(tmp_path):
    """Each environment takes descriptors of the daemon: it must not run out of them, whatever the memory allows."""
    with running(data=tmp_path / "data", config="[fleet]\nmemory_budget_mib = 100000\n[runtimes]\nstem_cells_max = 0\n",
                 descriptors=3000) as node:
        create(node.client("lambda"), "slow", SLOW)
        answers, refused = at_once(node, ["slow"] * 400)
        assert set(refused) <= {("TooManyRequestsException", "ConcurrentInvocationLimitExceeded", 429)}, refused
        assert len(answers) + sum(refused.values()) == 400 and answers
        assert environments(node) <= 3000 / 30
        assert "Too many open files" not in (node.data / "neap.log").read_text()
