"""`neap ps`, and that nothing runs when nothing is called."""

import json
import os
import time

from conftest import ROLE, eventually, get, package, running

PLAIN = "def handler(event, context): return event"
KIND = """
import os, uuid
ME = str(uuid.uuid4())
def handler(event, context):
    return {"me": ME, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""


def ps(node):
    return json.loads(node.neap("ps", "--json").stdout)["environments"]


def children(pid):
    """Process ids of all descendants."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found += [int(entry), *children(int(entry))]
    return found


def test_environments_are_listed_with_the_reason_why_they_are_kept(node, lam, deploy):
    function = deploy(PLAIN, Tags={"neap:idle-seconds": "120"})
    assert not [one for one in ps(node) if one["function"] == function.name]
    function()
    [one] = [one for one in ps(node) if one["function"] == function.name]
    assert (one["state"], one["version"], one["memory_mb"]) == ("idle", "$LATEST", 128)
    assert one["start_ms"] > 0 and one["resident_bytes"] > 0 and one["kept"].startswith("idle environments are kept 120 s")
    lam.publish_version(FunctionName=function.name)
    lam.put_provisioned_concurrency_config(FunctionName=function.name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    [kept] = eventually(lambda: [one for one in ps(node) if one["function"] == function.name and one["version"] == "1"])
    assert (kept["state"], kept["kept"]) == ("provisioned", "provisioned: 1 are kept ready")
    shown = node.neap("ps").stdout
    assert function.name in shown and "provisioned" in shown


def listed(node, name):
    """Environments of a function, and starts of it that are planned."""
    answer = json.loads(node.neap("ps", "--json").stdout)
    return [[one for one in answer[kind] if one["function"] == name] for kind in ("environments", "planned")]


def metric(node, name, label=""):
    """The sum of a metric's series that have a label."""
    lines = [line.rsplit(" ", 1) for line in get(node, "/_neap/metrics").text.splitlines() if label in line]
    return sum(float(value) for key, value in lines if key.split("{")[0] == name)


def test_a_function_called_in_a_rhythm_is_released_and_started_ahead_and_ps_says_why():
    with running(config="[fleet]\npause_min_ms = 200\n") as node:
        lam = node.client("lambda")
        lam.create_function(
            FunctionName="timer", Runtime="python3.11", Handler="app.handler", Role=ROLE,
            Code={"ZipFile": package({"app.py": KIND})},
        )
        lam.get_waiter("function_active_v2").wait(FunctionName="timer", WaiterConfig={"Delay": 0.1})
        seen = set()

        def call():
            answer = json.loads(lam.invoke(FunctionName="timer", Payload=b"{}")["Payload"].read())
            assert answer["kind"] == "on-demand"
            seen.add(answer["me"])

        call()
        [[one], planned] = listed(node, "timer")
        assert one["kept"].startswith("kept 600 s while its calls are not known (0 gaps seen)") and not planned
        assert one["state"] == "idle" and 0 < one["ends_in_s"] <= 600

        def met():
            """Calls in a rhythm; whether a call has met an environment that was started ahead of it, and so was not cold."""
            time.sleep(4)  # The rhythm itself: there is nothing to wait for.
            call()
            return metric(node, "neap_cold_starts_total", 'function="timer"') < len(seen)

        eventually(met, timeout=180)
        assert metric(node, "neap_environment_prestarts_used_total") >= 1
        # Nobody calls: the next environment is there before the call is due, and ends when that does not come.
        _, [planned] = eventually(lambda: (found := listed(node, "timer"))[1] and found)
        # On a busy machine the rhythm may be too irregular to be called one.
        learned = ("called every ", "learned from ")
        assert planned["why"].startswith(learned) and planned["count"] == 1
        assert eventually(lambda: " to be started in " in (shown := node.neap("ps")).stdout + shown.stderr)
        def prestarted():
            found = listed(node, "timer")[0]
            return [one["state"] for one in found] == ["pre-started"] and found

        [ahead] = eventually(prestarted)
        assert ahead["kept"].startswith(learned) and "unless called" in ahead["kept"]
        # What is planned from one call ends, and then nothing runs.
        eventually(lambda: listed(node, "timer") == [[], []])


def of_functions(node):
    """Descendants but the zygote, which is the runtime's and not a function's."""
    def name(pid):
        try:
            return open(f"/proc/{pid}/comm").read().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None

    return [pid for pid in children(node.process.pid) if name(pid) not in (None, "neap-zygote")]


def test_functions_that_nobody_calls_cost_no_process():
    """Neap's own processes and no other, however many functions are deployed."""
    with running() as node:
        lam = node.client("lambda")
        code = package({"app.py": PLAIN})
        before = len(of_functions(node))
        for n in range(1000):
            lam.create_function(
                FunctionName=f"f{n}", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": code}
            )
        assert ps(node) == [] and len(of_functions(node)) <= before
        lam.tag_resource(Resource="arn:aws:lambda:us-east-1:000000000000:function:f7", Tags={"neap:idle-seconds": "0"})
        lam.invoke(FunctionName="f7", Payload=b"{}")
        eventually(lambda: ps(node) == [] and len(of_functions(node)) <= before)


def kept(node, name):
    [one] = listed(node, name)[0]
    return one["kept"]


def test_what_is_learned_of_functions_survives_a_kill_and_goes_with_the_function():
    with running("dev") as node:
        lam = node.client("lambda")

        def create(name):
            lam.create_function(
                FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                Code={"ZipFile": package({"app.py": PLAIN})},
            )
            lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})

        def written():
            return metric(node, "neap_habits_written_total")

        def write():
            """Lets the minute pass after which what has changed is written."""
            before = written()
            node.advance(61)
            eventually(lambda: written() > before)

        for name in ("kept", "deleted"):
            create(name)
            for _ in range(8):
                lam.invoke(FunctionName=name, Payload=b"{}")
            assert kept(node, name).startswith("learned from 7 gaps between calls"), kept(node, name)
        write()
        # What has not changed is not written again.
        lam.invoke(FunctionName="kept", Payload=b"{}")
        before = written()
        write()
        assert written() == before + 1
        lam.delete_function(FunctionName="deleted")
        node.kill()
        node.start()
        lam = node.client("lambda")
        create("deleted")
        for name in ("kept", "deleted"):
            lam.invoke(FunctionName=name, Payload=b"{}")
        assert kept(node, "kept").startswith("learned from 9 gaps between calls"), kept(node, "kept")
        assert kept(node, "deleted").startswith("kept 600 s while its calls are not known (0 gaps seen)")
        # An orderly end writes what the last minute has brought.
        lam.invoke(FunctionName="kept", Payload=b"{}")
        node.stop()
        node.start()
        node.client("lambda").invoke(FunctionName="kept", Payload=b"{}")
        assert kept(node, "kept").startswith("learned from 11 gaps between calls"), kept(node, "kept")
