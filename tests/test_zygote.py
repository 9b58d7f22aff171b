"""Python functions are forked from an interpreter that is started once: what is seen of that from outside."""

import os
import pathlib
import re
import signal
import stat

from conftest import ROLE, eventually, get, package, root, running
from test_ps import children
from test_stem_cells import configuration

pytestmark = root

PLAIN = "def handler(event, context): return event"


def counted(node, metric, **labels):
    """The value of a metric of the node, 0 when it is not there."""
    shown = "".join(f'{name}="{value}"' for name, value in labels.items())
    found = re.search(rf"^{metric}{{{shown}}} (\S+)$", get(node, "/_neap/metrics").text, re.M)
    return float(found[1]) if found else 0


def forked(node):
    return counted(node, "neap_zygote_starts_total", how="forked")


def ready(node, count=1):
    return eventually(lambda: counted(node, "neap_zygotes") == count)


def named_zygote(node):
    """Host process ids of the node's zygotes."""
    found = []
    for pid in children(node.process.pid):
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "neap-zygote":
                found.append(pid)
        except OSError:
            pass
    return found


def create(node, name, source=PLAIN, **options):
    lam = node.client("lambda")
    files = source if isinstance(source, dict) else {"app.py": source}
    options.setdefault("Runtime", "python3.11")
    lam.create_function(FunctionName=name, Handler="app.handler", Role=ROLE, Code={"ZipFile": package(files)}, **options)
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})


def call(node, name, payload=b"1"):
    reply = node.client("lambda").invoke(FunctionName=name, Payload=payload)
    body = reply["Payload"].read()
    assert "FunctionError" not in reply, body
    return body


def warm(node):
    """A first function, whose start loads the zygote."""
    create(node, "first")
    call(node, "first")
    ready(node)


def test_cold_starts_are_forked_and_draw_their_own_randomness(tmp_path):
    source = """
        import os, random, uuid
        drawn = [random.random(), str(uuid.uuid4()), os.urandom(4).hex()]
        def handler(event, context): return [drawn, os.environ.get("WHOSE"), os.environ["AWS_LAMBDA_FUNCTION_NAME"]]
    """
    with running(data=tmp_path / "data") as node:
        warm(node)
        before = forked(node)
        answers = []
        for name in ("a", "b"):
            create(node, name, source, Environment={"Variables": {"WHOSE": name}})
            answers.append(eval(call(node, name)))
        assert forked(node) == before + 2
        assert [answer[1:] for answer in answers] == [["a", "a"], ["b", "b"]]
        assert not set(map(str, answers[0][0])) & set(map(str, answers[1][0]))
        assert "neap-zygote" in [pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in named_zygote(node)]


def test_functions_find_nothing_of_each_other_in_what_they_share(tmp_path):
    source = """
        import os, re
        def handler(event, context):
            found, needle = 0, re.compile(b"only[-]mine[-]")  # which is not found itself
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    place, rights = line.split()[:2]
                    if "r" in rights and "[v" not in line:
                        start, end = (int(part, 16) for part in place.split("-"))
                        memory.seek(start)
                        found += len(needle.findall(memory.read(end - start)))
            return found
    """
    with running(data=tmp_path / "data") as node:
        warm(node)
        create(node, "holds", source, Environment={"Variables": {"SECRET": "only-mine-7"}})
        create(node, "looks", source)
        assert int(call(node, "holds")) > 0, "the probe finds what there is"
        assert call(node, "looks") == b"0"
        assert forked(node) >= 2


def test_a_zygote_that_is_killed_is_replaced_and_nobody_notices(tmp_path):
    # While there is none for long, cells are executed, and used up afterwards.
    with running(data=tmp_path / "data", config=configuration(stem_cells_max=0)) as node:
        warm(node)
        for number in range(3):
            [pid] = eventually(lambda: named_zygote(node))
            os.kill(pid, signal.SIGKILL)
            create(node, f"f{number}")
            assert call(node, f"f{number}", b"7") == b"7"
            eventually(lambda: [one for one in named_zygote(node) if one != pid])
            ready(node)
        before = forked(node)
        create(node, "last")
        assert call(node, "last") == b"1"
        assert forked(node) == before + 1


def test_kill_9_of_the_node_leaves_no_zygote(tmp_path):
    with running(data=tmp_path / "data") as node:
        warm(node)
        [pid] = named_zygote(node)
        before = forked(node)
        create(node, "f", "import time\ndef handler(event, context): return open('/proc/self/cgroup').read()")
        call(node, "f")
        assert forked(node) == before + 1
        everything = children(node.process.pid)
        assert pid in everything
        node.kill()
        eventually(lambda: not any(os.path.exists(f"/proc/{one}") for one in everything), timeout=20)


def test_another_release_of_the_runtimes_library_gets_a_zygote_of_its_own(tmp_path):
    library = tmp_path / "runtimes/libraries"
    config = f'[runtimes]\nfolder = "{tmp_path}/runtimes"\ninstall_sdks = false\n'
    source = "import boto3\ndef handler(event, context): return boto3.RELEASE"
    with running(data=tmp_path / "data", config=config) as node:
        warm(node)
        [first] = named_zygote(node)
        reply = node.client("lambda").list_functions()
        assert reply["Functions"]
        # What an installation leaves, for the interpreters of all versions.
        for release in ("1.37.38", "1.42.97", "1.44.5"):
            half = library / ".half"
            half.mkdir(parents=True)
            (half / "boto3.py").write_text(f"RELEASE = {release!r}\n")
            os.chmod(half, stat.S_IRWXU | 0o055)
            half.rename(library / f"python-boto3-{release}")
        create(node, "f", source)
        assert call(node, "f") in (b'"1.37.38"', b'"1.42.97"', b'"1.44.5"')
        eventually(lambda: named_zygote(node) not in ([], [first]))
        assert counted(node, "neap_zygotes_ended_total", reason="replaced") == 1
        ready(node)
        before = forked(node)
        create(node, "g", source)
        assert call(node, "g") == call(node, "f")
        assert forked(node) == before + 1


def test_an_update_of_the_code_is_of_no_concern_to_the_zygote(tmp_path):
    with running(data=tmp_path / "data") as node:
        warm(node)
        pids = named_zygote(node)
        create(node, "f", "def handler(event, context): return 'old'")
        assert call(node, "f") == b'"old"'
        before = forked(node)
        lam = node.client("lambda")
        code = package({"app.py": "def handler(event, context): return 'new'"})
        lam.update_function_code(FunctionName="f", ZipFile=code)
        lam.get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})
        assert call(node, "f") == b'"new"'
        assert forked(node) == before + 1 and named_zygote(node) == pids


def test_zygotes_are_switched_off_by_a_setting(tmp_path):
    config = f'[runtimes]\nfolder = "{os.environ.get("NEAP_RUNTIMES", tmp_path / "runtimes")}"\nzygote_idle_s = 0\n'
    with running(data=tmp_path / "data", config=config) as node:
        create(node, "f")
        assert call(node, "f") == b"1"
        assert named_zygote(node) == [] and counted(node, "neap_zygotes") == 0
        assert forked(node) == 0


def test_modules_are_preloaded_by_a_setting(tmp_path):
    folder = os.environ.get("NEAP_RUNTIMES", tmp_path / "runtimes")
    config = f'[runtimes]\nfolder = "{folder}"\npreload = ["xml.dom.minidom"]\n'
    source = "import sys\nfound = 'xml.dom.minidom' in sys.modules\ndef handler(event, context): return [found, getattr(__import__('xml'), 'MINE', 0)]"
    with running(data=tmp_path / "data", config=config) as node:
        warm(node)
        before = forked(node)
        create(node, "f", source)
        assert call(node, "f") == b"[true, 0]"
        assert forked(node) == before + 1
        # The function's own wins.
        create(node, "own", {"app.py": source, "xml/__init__.py": "MINE = 1"})
        assert call(node, "own") == b"[false, 1]"
        assert forked(node) == before + 1
