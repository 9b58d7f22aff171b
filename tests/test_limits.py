"""Limits that are enforced, and environments that are never reused after they broke one."""

import base64
import concurrent.futures
import contextlib
import glob
import os
import pathlib
import re
import uuid

import botocore.exceptions
import pytest
from conftest import eventually, root, running

pytestmark = root


def test_a_timeout_ends_the_environment_with_lambdas_message(deploy):
    function = deploy(
        "import time\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    time.sleep(e)\n    return n", Timeout=1
    )
    assert function(0) == 1
    reply = function.invoke(30, LogType="Tail")
    assert reply["FunctionError"] == "Unhandled"
    assert re.search(r"Task timed out after 1\.00 seconds", reply["Body"]["errorMessage"])
    assert "Task timed out after 1.00 seconds" in base64.b64decode(reply["LogResult"]).decode()
    assert function(0) == 1, "a new environment"


def test_exceeding_memory_kills_the_environment_only(deploy):
    function = deploy(
        """
        n = 0
        def handler(e, c):
            global n
            n += 1
            block = bytearray(e)
            for i in range(0, e, 4096):
                block[i] = 1
            return n
        """,
        Timeout=30,
    )
    assert function(1) == 1
    reply = function.invoke(400 * 1024 * 1024)
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Body"]["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError")
    assert function(1) == 1


def test_a_crash_is_reported_and_the_next_call_is_clean(deploy):
    function = deploy("import os\ndef handler(e, c):\n    if e: os._exit(7)\n    return 'fine'")
    assert function(0) == "fine"
    reply = function.invoke(1)
    assert reply["FunctionError"] == "Unhandled"
    assert "exit status 7" in reply["Body"]["errorMessage"]
    assert function(0) == "fine"


def test_a_slow_initialisation_is_repeated_inside_the_invocation(deploy):
    function = deploy("import time\ntime.sleep(11)\ndef handler(e, c): return 'late'", Timeout=30)
    assert function() == "late"


def test_a_failing_initialisation_fails_each_invocation(deploy):
    function = deploy("raise RuntimeError('at start')")
    for _ in range(2):
        reply = function.invoke()
        assert reply["FunctionError"] == "Unhandled"
        assert "at start" in reply["Body"]["errorMessage"]


def test_reserved_concurrency_throttles_exactly_with_lambdas_reason(deploy, lam):
    function = deploy("import time\ndef handler(e, c):\n    time.sleep(2)\n    return 1", Timeout=10)
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=2)

    def call(_):
        try:
            return function.invoke()["Body"]
        except lam.exceptions.TooManyRequestsException as error:
            return error.response

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(call, range(6)))
    throttled = [answer for answer in answers if answer != 1]
    assert len(throttled) == 4
    for answer in throttled:
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_reserved_concurrency_of_zero_stops_a_function(deploy, lam):
    function = deploy("def handler(e, c): return 1")
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    with pytest.raises(lam.exceptions.TooManyRequestsException):
        function.invoke()
    lam.delete_function_concurrency(FunctionName=function.name)
    assert function() == 1


def test_reservations_leave_a_hundred_to_the_rest(deploy, lam):
    function = deploy("def handler(e, c): return 1")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=901)
    assert "100" in str(caught.value)


def test_the_scratch_space_has_its_size(deploy):
    function = deploy(
        """
        import errno, os
        def handler(e, c):
            try:
                with open("/tmp/fill", "wb") as file:
                    for _ in range(e):
                        file.write(b"x" * 1048576)
                return "fits"
            except OSError as error:
                return errno.errorcode[error.errno]
            finally:
                os.unlink("/tmp/fill")
        """,
        MemorySize=1024,
        Timeout=60,
    )
    assert function(400) == "fits"
    assert function(600) == "ENOSPC"


def test_descriptors_and_processes_are_limited(deploy):
    function = deploy(
        """
        import os, resource
        def handler(e, c):
            files = []
            try:
                while len(files) < 5000:
                    files.append(os.open("/dev/null", os.O_RDONLY))
            except OSError as error:
                return [len(files) <= 1024, error.errno, resource.getrlimit(resource.RLIMIT_NOFILE)]
            finally:
                for file in files:
                    os.close(file)
        """
    )
    below, number, limit = function()
    assert below and number == 24 and limit == [1024, 1024]


def test_processes_left_behind_do_not_run_between_invocations(deploy):
    function = deploy(
        """
        import os, subprocess, sys, time
        def handler(e, c):
            if e == "start":
                subprocess.Popen([sys.executable, "-c", "import time\\nn = 0\\nwhile True:\\n"
                    "    n += 1\\n    open('/tmp/n', 'w').write(str(n))\\n    time.sleep(0.01)"])
                time.sleep(0.5)
            return int(open("/tmp/n").read() or 0)
        """,
        MemorySize=256,
        Timeout=20,
    )
    import time

    first = function("start")
    time.sleep(3)
    second = function("look")
    # Running on, it would count about 300 in these three seconds.
    assert second - first < 150, (first, second)


def test_idle_environments_are_released_to_zero():
    from conftest import ROLE, package, messages  # noqa: F401

    with running(config="[fleet]\nidle_keep_s = 1\n") as node:
        lam = node.client("lambda")
        lam.create_function(
            FunctionName="idle",
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": package({"app.py": "def handler(e, c): return 1"})},
        )
        lam.get_waiter("function_active_v2").wait(FunctionName="idle", WaiterConfig={"Delay": 0.1})
        lam.invoke(FunctionName="idle")
        eventually(lambda: environments(node) == 0, timeout=20)


def environments(node):
    """Environments of a node, by its own metric."""
    from conftest import get

    text = get(node, "/_neap/metrics").text
    return sum(float(value) for value in re.findall(r"^neap_environments\{[^}]*\} (\S+)$", text, re.M))


def weight(marker):
    """CPU weight of the environment in which some process has a file of this name open."""
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link).endswith(marker):
                groups = pathlib.Path(link).parents[1].joinpath("cgroup").read_text().splitlines()
                for _, controllers, path in (group.split(":", 2) for group in groups):
                    if "cpu" in controllers.split(","):
                        return int(pathlib.Path(f"/sys/fs/cgroup/cpu{path}/cpu.shares").read_text())
                    if not controllers and pathlib.Path(f"/sys/fs/cgroup{path}/cpu.weight").exists():
                        return int(pathlib.Path(f"/sys/fs/cgroup{path}/cpu.weight").read_text())
    return None


def test_an_invocation_that_runs_for_long_yields_to_short_ones(deploy):
    marker = f"marker-{uuid.uuid4()}"
    function = deploy(
        f"""
        import time
        file = open("/tmp/{marker}", "w")
        def handler(event, context):
            while event:
                time.sleep(0.01)
                event -= 1
        """,
        Timeout=30,
    )
    function(0)
    prompt = weight(marker)
    if prompt is None:
        pytest.skip("this host gives no CPU weights")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        long = pool.submit(function, 300)
        settled = eventually(lambda: weight(marker) < prompt and weight(marker))
        assert prompt >= 10 * settled, "a long invocation has what its memory buys"
        long.result()
    function(0)
    assert weight(marker) == prompt, "the next invocation begins as any other"


def test_functions_do_not_interrupt_who_runs(deploy):
    """The policy of batches: their share of the processors is the same, but at each wake-up they take their turn."""
    function = deploy(
        """
        import os, subprocess, sys
        SHOW = "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH, os.nice(0))"
        def handler(e, c):
            child = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
            return [os.sched_getscheduler(0) == os.SCHED_BATCH, os.nice(0), child.stdout.split()]
        """
    )
    assert function() == [True, 0, ["True", "0"]]


def test_a_node_serves_with_the_threads_that_it_is_told():
    def threads(node):
        return sum(comm.read_text() == "tokio-rt-worker\n" for comm in pathlib.Path(f"/proc/{node.process.pid}/task").glob("*/comm"))

    with running(config="[node]\nworkers = 1\n") as one, running(config="[node]\nworkers = 5\n") as five:
        # Threads for what blocks have the same name; they end when there is nothing more of it.
        eventually(lambda: threads(five) - threads(one) == 4)
