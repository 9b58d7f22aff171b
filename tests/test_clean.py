"""What a node leaves behind: nothing, after a stop as after kill -9 and a restart."""

import os
import pathlib
import re

from conftest import ROLE, eventually, package, root, running

pytestmark = root


def traces(data):
    """Processes, mounts, cgroups and network namespaces that belong to nodes of this data folder or to sandboxes."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "status").read_text()
            uid = int(re.search(r"^Uid:\t(\d+)", status, re.M)[1])
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, TypeError):
            continue
        if uid >= 100_000 or str(data) in command:
            found.append(f"process {process.name} uid {uid} {command}")
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if str(data) in line or "neap" in line.split(" - ")[0].split()[4]]
    for root_folder, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [f"cgroup {root_folder}/{folder}" for folder in folders if "neap" in folder]
    if os.path.isdir("/run/netns"):
        found += [f"namespace {name}" for name in os.listdir("/run/netns") if "neap" in name]
    return found


def use(node):
    lam = node.client("lambda")
    lam.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                        Code={"ZipFile": package({"app.py": SOURCE})})
    lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})
    assert lam.invoke(FunctionName="f")["Payload"].read() == b"1"


SOURCE = "import subprocess, sys\ndef handler(e, c):\n    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n    return 1"


def only_of(data, before):
    return [trace for trace in traces(data) if trace not in before]


def test_a_stop_leaves_nothing(tmp_path):
    before = traces(tmp_path)
    with running(data=tmp_path / "data") as node:
        use(node)
        assert only_of(tmp_path, before), "the probe sees a running node"
    assert only_of(tmp_path, before) == []


def test_kill_9_leaves_no_process_and_a_restart_no_trace(tmp_path):
    before = traces(tmp_path)
    with running(data=tmp_path / "data") as node:
        use(node)
        node.kill()
        eventually(lambda: not [t for t in only_of(tmp_path, before) if t.startswith("process")], timeout=10)
    with running(data=tmp_path / "data") as node:
        assert node.client("lambda").invoke(FunctionName="f")["Payload"].read() == b"1", "functions survive"
    assert only_of(tmp_path, before) == []


def test_a_second_node_on_the_same_folder_is_refused(tmp_path):
    import subprocess

    from conftest import BINARY

    with running(data=tmp_path / "data"):
        done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode != 0 and "in use" in done.stderr
