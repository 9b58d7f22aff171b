"""SnapStart: published versions are initialised before they serve, and restored for their first call."""

import concurrent.futures
import json
import re
import uuid

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, eventually, get, messages, package, root, running
from test_extensions import extended, log, program  # noqa: F401: a fixture
from test_java import IMPORTS, JAVAC, compile_to
from test_layers import publish  # noqa: F401: a fixture
from test_telemetry_api import FORWARDER, TELEMETRY

# Lambda begins with 3.12.
PYTHON = "python3.11"
APPLY = {"ApplyOn": "PublishedVersions"}
WHO = """
import os, random, uuid
import snapshot_restore_py as hooks

STEPS, ME, NUMBER = ["init"], str(uuid.uuid4()), random.random()
KEY = os.environ["AWS_ACCESS_KEY_ID"]
print("initialised", ME)

@hooks.register_before_snapshot
def first():
    STEPS.append("before 1")

def second(word, more=None):
    STEPS.append("before %s %s" % (word, more))

hooks.register_before_snapshot(second, 2, more="x")

@hooks.register_after_restore
def third():
    STEPS.append("after 1")

@hooks.register_after_restore
def fourth():
    STEPS.append("after 2")

def handler(event, context):
    if event.get("sleep"):
        import time
        time.sleep(event["sleep"])
    if event.get("exit"):
        os._exit(3)
    if event.get("write"):
        open("/tmp/left", "w").write(event["write"])
    return {"steps": STEPS, "me": ME, "number": NUMBER, "key": KEY, "version": context.function_version,
            "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "tmp": os.listdir("/tmp"),
            "processes": [name for name in os.listdir("/proc") if name.isdigit()]}
"""


@pytest.fixture
def made(deploy):
    def made(source=WHO, **options):
        return deploy(source, **{"runtime": PYTHON, "SnapStart": APPLY, **options})

    return made


def published(function, state="Active"):
    """A version, when it is settled."""
    version = function.client.publish_version(FunctionName=function.name)["Version"]

    def settled():
        found = function.client.get_function_configuration(FunctionName=function.name, Qualifier=version)
        return found["State"] != "Pending" and found

    found = eventually(settled, timeout=60)
    assert found["State"] == state, found
    return found


def call(client, name, version, event=None):
    reply = client.invoke(
        FunctionName=name, Qualifier=version, Payload=json.dumps(event or {}).encode(), LogType="Tail"
    )
    assert "FunctionError" not in reply, reply["Payload"].read()
    return json.loads(reply["Payload"].read())


def initialised(logs, function):
    return [line for line in messages(logs, f"/aws/lambda/{function.name}") if line.startswith("initialised")]


def test_the_setting_is_shown_and_concerns_published_versions(lam, made):
    function = made()
    latest = lam.get_function_configuration(FunctionName=function.name)
    assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    first = lam.publish_version(FunctionName=function.name)
    assert (first["State"], first["SnapStart"]["OptimizationStatus"]) == ("Pending", "On")
    assert call(lam, function.name, "$LATEST")["kind"] == "on-demand"
    lam.update_function_configuration(FunctionName=function.name, SnapStart={"ApplyOn": "None"})
    eventually(lambda: lam.get_function_configuration(FunctionName=function.name)["LastUpdateStatus"] == "Successful")
    plain = lam.publish_version(FunctionName=function.name)
    assert plain["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert call(lam, function.name, plain["Version"])["kind"] == "on-demand"


def test_a_version_is_initialised_before_anybody_calls(lam, logs, made):
    function = made()
    version = published(function)["Version"]
    lines = eventually(lambda: initialised(logs, function))
    said = call(lam, function.name, version)
    assert f"initialised {said['me']}" in [line.strip() for line in lines]
    assert said["kind"] == "snap-start"
    assert said["steps"] == ["init", "before 2 x", "before 1", "after 1", "after 2"]
    # The second call is warm: no hook runs again.
    assert call(lam, function.name, version) == said


def test_the_log_tells_of_the_restore(lam, logs, made):
    function = made()
    version = published(function)["Version"]
    call(lam, function.name, version)
    call(lam, function.name, version)
    group = f"/aws/lambda/{function.name}"

    def reports():
        found = [line for line in messages(logs, group) if line.startswith("REPORT")]
        return len(found) == 2 and found

    first, second = eventually(reports)
    assert re.search(r"\tRestore Duration: [0-9.]+ ms\tBilled Restore Duration: \d+ ms", first), first
    assert "Init Duration" not in first and "Restore" not in second
    lines = messages(logs, group)
    order = [line.split()[0] for line in lines if re.match(r"INIT_START|RESTORE_START|RESTORE_REPORT|START", line)]
    assert order.index("RESTORE_START") < order.index("RESTORE_REPORT") < order.index("START")
    assert order[0] == "INIT_START"


def test_json_logs_have_the_same_in_records(lam, logs, made):
    function = made(LoggingConfig={"LogFormat": "JSON"})
    call(lam, function.name, published(function)["Version"])

    def records():
        found = [json.loads(line) for line in messages(logs, f"/aws/lambda/{function.name}") if line.startswith("{")]
        found = {one["type"]: one["record"] for one in found if "record" in one}
        return "platform.report" in found and found

    found = eventually(records)
    assert found["platform.initStart"]["initializationType"] == "snap-start"
    assert found["platform.restoreReport"]["status"] == "success"
    assert "restoreDurationMs" in found["platform.report"]["metrics"]
    assert "initDurationMs" not in found["platform.report"]["metrics"]
    assert "platform.restoreStart" in found


def test_environments_of_a_version_share_nothing(lam, made):
    function = made()
    version = published(function)["Version"]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        events = [{"sleep": 1, "write": "mine"} for _ in range(3)]
        said = list(pool.map(lambda event: call(lam, function.name, version, event), events))
    for unlike in ("me", "number", "key"):
        assert len({one[unlike] for one in said}) == 3, (unlike, said)
    for one in said:
        # Each sees its own file and its own processes only.
        assert one["tmp"] == ["left"] and len(one["processes"]) <= 2, one


def test_one_that_crashes_leaves_the_others(lam, made):
    function = made()
    version = published(function)["Version"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        lives = pool.submit(call, lam, function.name, version, {"sleep": 2})
        ended = lam.invoke(FunctionName=function.name, Qualifier=version, Payload=b'{"exit": 1}')
        assert ended["FunctionError"] == "Unhandled"
        assert lives.result()["steps"][-1] == "after 2"
    assert call(lam, function.name, version)["kind"] == "snap-start"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise ValueError('no luck')\ndef handler(e, c): pass", "no luck"),
        (
            "import snapshot_restore_py as h\n@h.register_before_snapshot\ndef f(): raise KeyError('gone')\n"
            "def handler(e, c): pass",
            "Runtime.BeforeSnapshotError",
        ),
    ],
    ids=["module", "hook"],
)
def test_a_version_whose_initialisation_fails_is_failed(lam, made, source, told):
    function = made(source)
    found = published(function, state="Failed")
    assert found["StateReasonCode"] == "FunctionError" and told in found["StateReason"], found
    with pytest.raises(ClientError):
        lam.invoke(FunctionName=function.name, Qualifier=found["Version"])


def test_a_hook_that_fails_after_the_restore_fails_the_call(lam, logs, made):
    function = made(
        "import snapshot_restore_py as h\n@h.register_after_restore\ndef f(): raise KeyError('gone')\n"
        "def handler(e, c): return 1"
    )
    version = published(function)["Version"]
    with pytest.raises(ClientError) as refused:
        lam.invoke(FunctionName=function.name, Qualifier=version)
    assert refused.value.response["Error"]["Code"] == "SnapStartException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    group = f"/aws/lambda/{function.name}"
    lines = eventually(lambda: [line for line in messages(logs, group) if line.startswith("RESTORE_REPORT")])
    assert "Error Type: Runtime.AfterRestoreError" in lines[0]
    assert any("KeyError" in line for line in messages(logs, group))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"runtime": "provided.al2023"}, "provided.al2023 is not supported for SnapStart enabled functions."),
        ({"EphemeralStorage": {"Size": 1024}}, "512 MB"),
        ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "tenancy"),
        ({"SnapStart": {"ApplyOn": "Sometimes"}}, "snapStart.applyOn"),
    ],
    ids=["runtime", "storage", "tenancy", "word"],
)
def test_what_does_not_go_with_it_is_refused(deploy, options, told):
    with pytest.raises(ClientError) as refused:
        deploy(WHO, **{"runtime": PYTHON, "SnapStart": APPLY, **options})
    assert told in refused.value.response["Error"]["Message"]


def test_an_update_cannot_bring_what_does_not_go_with_it(lam, made):
    function = made()
    with pytest.raises(ClientError) as refused:
        lam.update_function_configuration(FunctionName=function.name, EphemeralStorage={"Size": 2048})
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_provisioned_concurrency_is_refused(lam, made):
    function = made()
    version = published(function)["Version"]
    with pytest.raises(ClientError) as refused:
        lam.put_provisioned_concurrency_config(
            FunctionName=function.name, Qualifier=version, ProvisionedConcurrentExecutions=1
        )
    assert "SnapStart" in refused.value.response["Error"]["Message"]


def test_versions_serve_on_after_a_kill(tmp_path):
    with running("dev", data=tmp_path) as node:
        client = node.client("lambda")
        client.create_function(
            FunctionName="kept", Runtime=PYTHON, Handler="app.handler", Role=ROLE, SnapStart=APPLY,
            Code={"ZipFile": package({"app.py": WHO})}, Publish=True,
        )  # fmt: skip
        client.get_waiter("published_version_active").wait(FunctionName="kept", Qualifier="1")
        before = call(client, "kept", "1")
        node.kill()
        node.start()
        after = call(node.client("lambda"), "kept", "1")
        assert after["me"] != before["me"] and after["steps"] == before["steps"]
        assert after["kind"] == "snap-start"


# ---------------------------------------------------------------------------------------------------------------- Java

HOOKED = """
    static final List<String> STEPS = Collections.synchronizedList(new ArrayList<>());
    static final String ME = UUID.randomUUID().toString();
    static final double NUMBER = Math.random();

    static final class Noting implements org.crac.Resource {
        private final String name;
        Noting(String name) { this.name = name; org.crac.Core.getGlobalContext().register(this); }
        @Override public void beforeCheckpoint(org.crac.Context<? extends org.crac.Resource> context) throws Exception {
            STEPS.add("before " + name);
            if ("fails before".equals(System.getenv("HOW"))) { throw new IllegalStateException("gone"); }
        }
        @Override public void afterRestore(org.crac.Context<? extends org.crac.Resource> context) throws Exception {
            STEPS.add("after " + name);
            if ("fails after".equals(System.getenv("HOW"))) { throw new IllegalStateException("gone"); }
            if ("hangs after".equals(System.getenv("HOW"))) { Thread.sleep(60_000); }
        }
    }

    private final List<Noting> resources = new ArrayList<>();

    public App() {
        STEPS.add("init");
        if ("fails".equals(System.getenv("HOW"))) { throw new IllegalStateException("no luck"); }
        resources.add(new Noting("1"));
        resources.add(new Noting("2"));
        System.out.println("initialised " + ME);
    }

    @Override public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
        Map<String, Object> answer = new HashMap<>();
        answer.put("steps", new ArrayList<>(STEPS)); answer.put("me", ME); answer.put("number", NUMBER);
        answer.put("kind", System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"));
        return answer;
    }
"""


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    if JAVAC is None:
        pytest.skip("needs a JDK: no javac was found")
    source = IMPORTS + "public class App implements RequestHandler<Map<String, Object>, Map<String, Object>> {" + HOOKED + "}"
    return compile_to(tmp_path_factory.mktemp("java"), {"sample/App.java": source})


@pytest.fixture
def java(deploy, classes):
    def java(how="", runtime="java17", **options):
        return deploy(
            classes, runtime=runtime, handler="sample.App", SnapStart=APPLY, MemorySize=256, Timeout=20,
            Environment={"Variables": {"HOW": how}}, **options,
        )  # fmt: skip

    return java


@root
@pytest.mark.parametrize("runtime", ["java17", "java21"])
def test_java_is_initialised_ahead_and_its_resources_are_told(lam, logs, java, runtime):
    try:
        function = java(runtime=runtime)
    except ClientError as error:
        if "no Java was found" in str(error) or "newest Java found" in str(error):
            pytest.skip(f"this host has no JDK for {runtime}")
        raise
    version = published(function)["Version"]
    lines = eventually(lambda: initialised(logs, function))
    said = call(lam, function.name, version)
    assert f"initialised {said['me']}" in [line.strip() for line in lines]
    assert (said["kind"], said["steps"]) == ("snap-start", ["init", "before 2", "before 1", "after 1", "after 2"])
    assert call(lam, function.name, version) == said
    group = f"/aws/lambda/{function.name}"

    def reports():
        found = [line for line in messages(logs, group) if line.startswith("REPORT")]
        return len(found) == 2 and found

    first, second = eventually(reports)
    assert "\tRestore Duration: " in first and "Init Duration" not in first and "Restore" not in second
    assert [line for line in messages(logs, group) if line.startswith("INIT_REPORT Init Duration: ")]


@root
@pytest.mark.parametrize(
    ("how", "told"),
    [("fails", "no luck"), ("fails before", "Runtime.BeforeCheckpointError")],
    ids=["constructor", "beforeCheckpoint"],
)
def test_java_whose_initialisation_fails_is_failed(java, how, told):
    found = published(java(how), state="Failed")
    assert found["StateReasonCode"] == "FunctionError" and told in found["StateReason"], found


@root
@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("fails after", "SnapStartException", "Status: error\tError Type: Runtime.AfterRestoreError"),
        ("hangs after", "SnapStartTimeoutException", "Status: timeout"),
    ],
    ids=["fails", "hangs"],
)
def test_java_whose_restore_fails_fails_the_call(lam, logs, java, how, code, told):
    function = java(how)
    version = published(function)["Version"]
    with pytest.raises(ClientError) as refused:
        lam.invoke(FunctionName=function.name, Qualifier=version)
    assert refused.value.response["Error"]["Code"] == code
    group = f"/aws/lambda/{function.name}"
    lines = eventually(lambda: [line for line in messages(logs, group) if line.startswith("RESTORE_REPORT")])
    assert told in lines[0]


# ------------------------------------------------------------------------------------------------------- what is kept


def listed(node, name):
    return [one for one in json.loads(node.neap("ps", "--json").stdout)["environments"] if one["function"] == name]


def waiting(node, name):
    return [one for one in listed(node, name) if one["state"] == "snapstart"]


def metric(node, name, label=""):
    lines = [line.rsplit(" ", 1) for line in get(node, "/_neap/metrics").text.splitlines() if label in line]
    return sum(float(value) for key, value in lines if key.split("{")[0] in (name, name + "_total"))


def test_what_waits_is_listed_counted_and_made_anew_after_use(node, lam, made):
    function = made()
    version = published(function)["Version"]
    [one] = waiting(node, function.name)
    assert one["version"] == version and one["resident_bytes"] > 0
    assert one["kept"].startswith("snapstart: 1 of its version wait initialised")
    label = f'function="{function.name}"'
    assert metric(node, "neap_environments", label + f',version="{version}",state="snapstart"') == 1
    before = metric(node, "neap_snapstart_restores")
    first = call(lam, function.name, version)
    assert metric(node, "neap_snapstart_restores") == before + 1
    # The one that was used is kept as any other, the next one waits.
    eventually(lambda: len(waiting(node, function.name)) == 1)
    assert sorted(one["state"] for one in listed(node, function.name)) == ["idle", "snapstart"]
    assert call(lam, function.name, version) == first
    assert len(waiting(node, function.name)) == 1


def test_what_waits_ends_with_its_version_and_its_function(node, lam, made):
    function = made()
    first = published(function)["Version"]
    lam.update_function_configuration(FunctionName=function.name, Description="another")
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    # An update of the function leaves its versions alone.
    kept = waiting(node, function.name)
    second = published(function)["Version"]
    assert kept and sorted(one["version"] for one in waiting(node, function.name)) == [first, second]
    lam.delete_function(FunctionName=function.name, Qualifier=first)
    eventually(lambda: [one["version"] for one in listed(node, function.name)] == [second])
    lam.delete_function(FunctionName=function.name)
    eventually(lambda: not listed(node, function.name))


def test_a_start_that_finds_none_initialises_and_is_restored_as_well(lam, logs, made):
    function = made("import time\ntime.sleep(1)\n" + WHO)
    version = published(function)["Version"]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda event: call(lam, function.name, version, event), [{"sleep": 2}] * 3))
    assert {tuple(one["steps"]) for one in said} == {("init", "before 2 x", "before 1", "after 1", "after 2")}

    def reports():
        found = [line for line in messages(logs, f"/aws/lambda/{function.name}") if line.startswith("REPORT")]
        return len(found) == 3 and found

    found = eventually(reports)
    assert all("\tRestore Duration: " in line for line in found), found
    assert 1 <= len([line for line in found if "\tInit Duration: " in line]) <= 2, found


def test_what_waits_counts_as_the_nodes_memory_and_gives_way_to_calls(tmp_path):
    with running(data=tmp_path / "data", config="[fleet]\nmemory_budget_mib = 128\n") as node:
        client = node.client("lambda")

        def create(name, **options):
            client.create_function(
                FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Publish=True, MemorySize=256,
                Code={"ZipFile": package({"app.py": WHO})}, **options,
            )  # fmt: skip
            client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")

        # The budget, overcommitted twice, has room for one environment.
        create("ahead", SnapStart=APPLY)
        assert len(waiting(node, "ahead")) == 1
        create("other")
        assert call(client, "other", "1")["kind"] == "on-demand"
        assert not listed(node, "ahead") and metric(node, "neap_environments_evicted") == 1
        # There is room again when the other one goes.
        client.delete_function(FunctionName="other")
        eventually(lambda: len(waiting(node, "ahead")) == 1)


def test_after_a_start_of_the_node_environments_wait_again(tmp_path):
    with running("dev", data=tmp_path) as node:
        client = node.client("lambda")
        client.create_function(
            FunctionName="kept", Runtime=PYTHON, Handler="app.handler", Role=ROLE, SnapStart=APPLY,
            Code={"ZipFile": package({"app.py": WHO})}, Publish=True,
        )  # fmt: skip
        client.get_waiter("published_version_active").wait(FunctionName="kept", Qualifier="1")
        node.kill()
        node.start()
        eventually(lambda: len(waiting(node, "kept")) == 1)
        call(node.client("lambda"), "kept", "1")
        assert metric(node, "neap_snapstart_restores") == 1


def test_as_many_wait_as_the_node_is_set_to(tmp_path):
    with running("dev", data=tmp_path, config="[fleet]\nsnapstart_waiting = 3\n") as node:
        client = node.client("lambda")
        client.create_function(
            FunctionName="many", Runtime=PYTHON, Handler="app.handler", Role=ROLE, SnapStart=APPLY,
            Code={"ZipFile": package({"app.py": WHO})}, Publish=True,
        )  # fmt: skip
        client.get_waiter("published_version_active").wait(FunctionName="many", Qualifier="1")
        eventually(lambda: len(waiting(node, "many")) == 3)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            said = list(pool.map(lambda event: call(client, "many", "1", event), [{"sleep": 1}] * 3))
        assert len({one["me"] for one in said}) == 3
        assert metric(node, "neap_snapstart_restores") == 3


def test_an_alias_has_provisioned_concurrency_or_leads_to_snapstart(lam, made):
    function = made(SnapStart={"ApplyOn": "None"})
    plain = published(function)["Version"]
    lam.update_function_configuration(FunctionName=function.name, SnapStart=APPLY)
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    snapped = published(function)["Version"]
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion=plain)
    lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    for change in (
        {"FunctionVersion": snapped},
        {"RoutingConfig": {"AdditionalVersionWeights": {snapped: 0.5}}},
    ):
        with pytest.raises(ClientError) as refused:
            lam.update_alias(FunctionName=function.name, Name="live", **change)
        assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
    lam.create_alias(FunctionName=function.name, Name="quick", FunctionVersion=snapped)
    with pytest.raises(ClientError) as refused:
        lam.put_provisioned_concurrency_config(
            FunctionName=function.name, Qualifier="quick", ProvisionedConcurrentExecutions=1
        )
    assert "SnapStart" in refused.value.response["Error"]["Message"]


def test_an_asynchronous_event_meets_a_restored_environment(lam, logs, made):
    function = made()
    version = published(function)["Version"]
    lam.invoke(FunctionName=function.name, Qualifier=version, InvocationType="Event", Payload=b"{}")
    group = f"/aws/lambda/{function.name}"
    [report] = eventually(lambda: [line for line in messages(logs, group) if line.startswith("REPORT")])
    assert "\tRestore Duration: " in report


@root
def test_extensions_beside_it_hear_of_the_restore(extended, lam, logs):  # noqa: F811: a fixture
    forwarder = program(FORWARDER % (json.dumps(TELEMETRY), "/2022-07-01/telemetry"))
    function = extended({"forwarder": forwarder}, WHO, SnapStart=APPLY)
    version = published(function)["Version"]
    assert call(lam, function.name, version)["steps"][-1] == "after 2"
    call(lam, function.name, version)
    lam.delete_function(FunctionName=function.name)

    def told():
        """What the forwarder of the environment that was used had collected when it ended."""
        lines = [line for line in messages(logs, f"/aws/lambda/{function.name}") if line.startswith("collected ")]
        all_found = [json.loads(line.removeprefix("collected ")) for line in lines]
        return next((found for found in all_found if any(e["type"] == "platform.report" for e in found)), None)

    found = eventually(told)
    kinds = [event["type"] for event in found]
    order = ["platform.initStart", "platform.restoreStart", "platform.restoreRuntimeDone", "platform.restoreReport"]
    assert [kind for kind in kinds if kind in order] == order, kinds
    records = {event["type"]: event["record"] for event in reversed(found)}
    assert records["platform.initStart"]["initializationType"] == "snap-start"
    assert records["platform.restoreRuntimeDone"] == {"status": "success"}
    assert records["platform.restoreReport"]["metrics"]["durationMs"] > 0
    assert kinds.index("platform.restoreReport") < kinds.index("platform.start")
