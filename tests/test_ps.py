"""`neap ps`, and that nothing runs when nothing is called."""

import json
import os

from conftest import ROLE, eventually, package, running

PLAIN = "def handler(event, context): return event"


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
    assert kept["kept"] == "provisioned: 1 are kept ready"
    shown = node.neap("ps").stdout
    assert function.name in shown and "provisioned" in shown


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
