"""Sandboxes that wait without a program for an executable's start: what is executed in one cannot tell."""

import json
import os
import signal

import pytest
from conftest import Function, eventually, root, running
from test_ps import children
from test_python_cells import PLAIN as PYTHON_PLAIN
from test_python_cells import RUNTIME as PYTHON
from test_python_cells import WEAKER
from test_stem_cells import OWN, Side, configuration, deploy, left, metrics, ready, used

RUNTIME = "provided.al2023"
LOOP = """\
while :; do
  curl -sD /tmp/head -o /tmp/event "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
  id=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *//p' /tmp/head | tr -d '\\r')
  curl -s -o /dev/null --data-binary @/tmp/answer "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
done
"""


def program(*lines, interpreter="/bin/sh"):
    """A bootstrap that runs these lines, then answers every event with what they left in /tmp/answer."""
    return (0o100755, "\n".join([f"#!{interpreter}", *lines, LOOP]))


PLAIN = {"bootstrap": program("echo 7 > /tmp/answer")}
SEEN = program(
    "ls /proc/self/fd > /tmp/fds",
    "{ pwd; readlink /proc/self/cwd; echo $0 $#; echo $$ $PPID; tr '\\0' ' ' < /proc/self/cmdline; echo; cat /tmp/fds; umask; ulimit -a;"
    "  ls / /var /var/task /opt /tmp; cut -d' ' -f5,6 /proc/self/mountinfo | sort; grep -E '^(Cap|Sec|NoNew|Shd|Sig[BIC])' /proc/self/status;"
    "  cat /proc/self/limits; cat /proc/self/oom_score_adj; env | sort; tr '\\0' '\\n' < /proc/$$/environ | sort; } > /tmp/seen 2>&1",
    "sed -e 's/\\\\/\\\\\\\\/g' -e 's/\"/\\\\\"/g' -e 's/\t/ /g' /tmp/seen | awk 'BEGIN { printf \"[\" } NR > 1 { printf \",\" } { printf \"\\\"%s\\\"\", $0 }"
    " END { printf \"]\" }' > /tmp/answer",
)


@pytest.fixture(scope="module")
def sides():
    with running(config=configuration()) as one, running(config=configuration(stem_cells_max=0)) as other:
        yield [Side(one, True, RUNTIME, PLAIN), Side(other, False, RUNTIME, PLAIN)]
        assert one.alive() and other.alive()
        assert metrics(one)["neap_stem_cells_lost_total"] == 0


@pytest.fixture(params=[0, 1], ids=["waiting", "none"])
def side(sides, request):
    return sides[request.param]


@pytest.mark.parametrize("variables", [{}, {"AA": "a=b \"c\"", "LD_LIBRARY_PATH": "/var/task/x", "LANG": "C", "EMPTY": ""}], ids=["plain", "changed"])
@pytest.mark.parametrize("memory", [128, 512])
def test_programs_see_the_same_with_and_without_waiting(sides, variables, memory):
    seen, number = [], max(side.count for side in sides)
    for side in sides:
        side.count = number  # so that they have the same name
        lines = side.answer({"bootstrap": SEEN}, memory=memory, Environment={"Variables": variables})
        seen.append([line for line in lines if line.split("=")[0] not in OWN])
    assert seen[0] == seen[1]
    assert seen[0][0] == seen[0][1] == "/var/task" and "/var/task/bootstrap 0" in seen[0]
    assert all(seen[0].count(f"{name}={value}") == 2 for name, value in variables.items()), "in its variables, and as the kernel shows them"


def test_layers_bring_programs_and_files(side):
    layer = side.layer({"bootstrap": program("cat /opt/data.txt > /tmp/answer"), "data.txt": "8"})
    assert side.answer({"x.txt": "x"}, layers=[layer]) == 8
    # Its own comes first.
    assert side.answer(PLAIN, layers=[layer]) == 7


@pytest.mark.parametrize(
    "files, text",
    [
        ({"x.txt": "x"}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": (0o100755, b"\x7fELF")}, "fork/exec /var/task/bootstrap: exec format error"),
        ({"bootstrap": (0o100644, "#!/bin/sh\n")}, "fork/exec /var/task/bootstrap: permission denied"),
        ({"bootstrap": (0o100755, "#!/absent\n")}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
    ],
    ids=["none", "format", "permission", "interpreter"],
)
def test_what_cannot_be_executed_is_named(side, files, text):
    reply = side.first_call(files, waits=None)
    assert (reply["FunctionError"], reply["Body"]["errorType"]) == ("Unhandled", "Runtime.InvalidEntrypoint")
    assert text in reply["Body"]["errorMessage"]


def test_nothing_of_one_function_is_in_another(side):
    source = program("ls /tmp /var/task > /tmp/list; awk 'BEGIN { printf \"\\\"\" } { printf \"%s \", $0 } END { printf \"%s\\\"\", ENVIRON[\"SECRET\"] }' /tmp/list > /tmp/answer")
    first = side.answer({"bootstrap": source, "one.txt": "1"}, Environment={"Variables": {"SECRET": "of one"}})
    second = side.answer({"bootstrap": source, "two.txt": "2"})
    assert first.endswith("one.txt of one") and "one" not in second and "two.txt" in second


@root
def test_a_waiting_sandbox_is_small_and_shown():
    with running(config=configuration(stem_cells_max=1)) as node:
        deploy(node, PLAIN, "f", runtime=RUNTIME)()
        eventually(lambda: ready(node, 128, RUNTIME) == 1)
        [kind] = json.loads(node.neap("ps", "--json").stdout)["stem_cells"]
        assert (kind["runtime"], kind["memory_mb"], kind["ready"]) == (RUNTIME, 128, 1) and kind["resident_bytes"] < 2 << 20
        before = used(node)
        assert deploy(node, PLAIN, "g", runtime=RUNTIME)() == 7 and used(node) == before + 1


@root
def test_they_wait_without_root_too():
    with running(config=WEAKER, user=65534) as node:
        side = Side(node, True, RUNTIME, PLAIN)
        assert side.answer(PLAIN) == 7


def command(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def in_sandbox(pid):
    return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


@root
def test_one_that_is_killed_serves_nobody():
    with running(config=configuration(stem_cells_max=1)) as node:
        deploy(node, PLAIN, "f", runtime=RUNTIME)()
        eventually(lambda: ready(node, 128, RUNTIME) == 1)
        # Its init alone: no program of its has a command line of its own.
        waiting = [pid for pid in children(node.process.pid) if in_sandbox(pid) and b"neap" in command(pid)]
        alone = [pid for pid in waiting if not children(pid)]
        assert len(alone) == 1
        os.kill(alone[0], signal.SIGKILL)
        assert deploy(node, PLAIN, "g", runtime=RUNTIME)() == 7
        eventually(lambda: metrics(node)["neap_stem_cells_lost_total"] == 1 and ready(node, 128, RUNTIME) == 1)


@root
@pytest.mark.parametrize("runtime, files", [(RUNTIME, PLAIN), (PYTHON, PYTHON_PLAIN)], ids=["empty", "python"])
def test_kill_9_leaves_nothing_and_the_next_node_goes_on(tmp_path, runtime, files):
    kill_and_go_on(tmp_path / "data", runtime, files)


def kill_and_go_on(data, runtime, files):
    with running(data=data, config=configuration()) as node:
        deploy(node, files, "f", runtime=runtime)({"x": 1})
        eventually(lambda: ready(node, 128, runtime) >= 1)
        processes = children(node.process.pid)
        assert left(data, processes), "the probe sees a running node"
        node.kill()
        eventually(lambda: not [one for one in left(data, processes) if one.startswith("process")], timeout=10)
    with running(data=data, config=configuration()) as node:
        assert Function(node.client("lambda"), "f", {})({"x": 1}) in (7, {"x": 1})
        eventually(lambda: ready(node, 128, runtime) >= 1)
    assert left(data, processes) == []
