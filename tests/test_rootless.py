"""A node without root: the same attacks fail, and what such a node cannot give has to be accepted by name."""

import pathlib
import subprocess

import pytest
from conftest import ROLE, eventually, package, root, running
from test_hostile import *  # noqa: F403  the same attacks, against the node of this module

# Root only to become somebody else.
pytestmark = root
NOBODY = 65534
ACCEPTED = ["no-own-uid", "no-memory-limit", "no-process-limit", "no-cpu-weight", "no-freezer"]


def configuration(accepted):
    names = ", ".join(f'"{name}"' for name in accepted)
    return f"[sandbox]\nallow_weaker = [{names}]\n[runtimes]\ninstall_sdks = false\n"


@pytest.fixture(scope="session")
def node():
    with running(config=configuration(ACCEPTED), user=NOBODY) as node:
        yield node
        assert node.alive(), (node.data / "neap.log").read_text()[-4000:]


@pytest.fixture(scope="session")
def lam(node):
    return node.client("lambda")


@pytest.mark.parametrize("missing", ACCEPTED)
def test_what_is_missing_is_accepted_by_name_or_refused(missing, tmp_path):
    others = [name for name in ACCEPTED if name != missing]
    with pytest.raises(AssertionError, match="accept it by naming it in `allow_weaker`"):
        with running(config=configuration(others), user=NOBODY):
            pass


def processes():
    """Processes of the node's user."""
    found = set()
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nUid:\t{NOBODY}\t" in text and "\nState:\tZ" not in text:
            found.add(int(status.parent.name))
    return found


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_is_left_at_the_end(end):
    before = processes()
    with running(config=configuration(ACCEPTED), user=NOBODY) as node:
        client = node.client("lambda")
        source = "import subprocess, sys\ndef handler(e, c):\n    subprocess.Popen(['sleep', '600'])\n    return 1"
        client.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                               Code={"ZipFile": package({"app.py": source})})
        client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})
        assert client.invoke(FunctionName="f")["Payload"].read() == b"1"
        assert len(processes() - before) >= 5, "daemon, keeper, worker, init, function, what it left"
        getattr(node, end)()
        eventually(lambda: not processes() - before, timeout=10)


def test_functions_are_ordinary_users_without_rights(deploy):
    function = deploy("""
        import os
        def handler(event, context):
            status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
            with open("/tmp/own", "w") as file:
                file.write("x")
            return [os.getuid(), os.stat("/tmp/own").st_uid, {status[name] for name in status if name.startswith("Cap")} == {"0" * 16},
                    status["NoNewPrivs"], status["Seccomp"]]
        """)
    uid, owner, powerless, privileges, filtered = function()
    assert uid == owner >= 100_000 and powerless and (privileges, filtered) == ("1", "2")


def test_the_doctor_names_what_is_missing(tmp_path):
    with running(config=configuration(ACCEPTED), user=NOBODY) as node:
        done = subprocess.run([node.binary, "doctor", "--json", "--data", node.data], capture_output=True, text=True,
                              user=NOBODY, group=NOBODY, extra_groups=[])
    for name in ACCEPTED:
        assert f"`{name}`" in done.stdout, done.stdout
    assert "implemented" not in done.stdout
