"""What functions do, as metrics of AWS/Lambda, and metrics embedded in log lines."""

import concurrent.futures
import json
import time

import pytest
from conftest import eventually, messages, running, package, ROLE
from test_metrics import cloudwatch, fresh, minute, statistics  # noqa: F401 (a fixture)


def total(client, metric, statistic="Sum", namespace="AWS/Lambda", **dimensions):
    """The statistic over the last hour; None without data."""
    points = statistics(client, namespace, metric, period=3600 * 24, names=(statistic,), StartTime=minute(60),
                        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()])
    return points[0][statistic] if points else None


def test_invocations_errors_and_durations_are_measured_by_function_and_alias(deploy, lam, cloudwatch):
    function = deploy("def handler(e, c):\n    if e == 'fail': raise ValueError('x')\n    return 1")
    version = lam.publish_version(FunctionName=function.name)["Version"]
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    for event in (1, 2, "fail"):
        function.invoke(event)
    for qualifier in ("live", version):
        for _ in range(2):
            lam.invoke(FunctionName=function.name, Qualifier=qualifier, Payload=b"1")
    of = lambda metric, statistic="Sum", **more: total(cloudwatch, metric, statistic, FunctionName=function.name, **more)
    assert of("Invocations") == 7 and of("Errors") == 1 and of("Errors", "SampleCount") == 7
    assert of("Invocations", Resource=function.name) == 3
    assert of("Invocations", Resource=f"{function.name}:live") == 2 == of("Invocations", Resource=f"{function.name}:{version}")
    assert of("Errors", Resource=f"{function.name}:live") == 0 == of("Throttles", Resource=f"{function.name}:live")
    assert of("Duration", "SampleCount") == 7 and 0 < of("Duration", "Minimum") <= of("Duration", "Maximum") < 60_000
    assert of("ConcurrentExecutions", "Maximum") == 1
    assert total(cloudwatch, "Invocations") >= 7 and total(cloudwatch, "UnreservedConcurrentExecutions", "Maximum") >= 1
    listed = cloudwatch.get_paginator("list_metrics").paginate(
        Namespace="AWS/Lambda", Dimensions=[{"Name": "FunctionName", "Value": function.name}])
    names = {metric["MetricName"] for page in listed for metric in page["Metrics"]}
    assert names == {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"}


def test_provisioned_concurrency_is_measured_by_version_and_alias(deploy, lam, cloudwatch):
    source = "import time\ndef handler(e, c):\n    if e: time.sleep(e)\n    return 1"
    function = deploy(source)
    version = lam.publish_version(FunctionName=function.name)["Version"]
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    lam.put_provisioned_concurrency_config(FunctionName=function.name, Qualifier="live", ProvisionedConcurrentExecutions=2)

    def ready():
        found = lam.get_provisioned_concurrency_config(FunctionName=function.name, Qualifier="live")
        return found["Status"] == "READY"

    eventually(ready)
    live = lambda metric, statistic: total(
        cloudwatch, metric, statistic, FunctionName=function.name, Resource=f"{function.name}:live")
    call = lambda event: lam.invoke(FunctionName=function.name, Qualifier="live", Payload=json.dumps(event).encode())
    call(0)
    assert live("ProvisionedConcurrencyInvocations", "Sum") == 1
    assert live("ProvisionedConcurrentExecutions", "Maximum") == 1
    assert live("ProvisionedConcurrencyUtilization", "Maximum") == 0.5
    assert live("ProvisionedConcurrencySpilloverInvocations", "Sum") is None
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(call, [3, 3, 3]))
    assert live("ProvisionedConcurrencyInvocations", "Sum") == 3
    assert live("ProvisionedConcurrencySpilloverInvocations", "Sum") == 1
    assert live("ProvisionedConcurrentExecutions", "Maximum") == 2
    assert live("ProvisionedConcurrencyUtilization", "Maximum") == 1
    # $LATEST has none, and neither has the function as a whole.
    function.invoke(0)
    for resource in ({}, {"Resource": function.name}):
        found = total(cloudwatch, "ProvisionedConcurrencyInvocations", FunctionName=function.name, **resource)
        assert found is None


def test_throttles_are_measured(deploy, lam, cloudwatch):
    function = deploy("def handler(e, c): return 1")
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    for _ in range(3):
        with pytest.raises(lam.exceptions.TooManyRequestsException):
            function.invoke()
    assert total(cloudwatch, "Throttles", FunctionName=function.name) == 3
    assert total(cloudwatch, "Invocations", FunctionName=function.name) is None


def test_asynchronous_events_are_measured(deploy, lam, cloudwatch):
    function = deploy("def handler(e, c): return 1")
    for _ in range(4):
        function.invoke(1, InvocationType="Event")
    of = lambda metric, statistic="Sum": total(cloudwatch, metric, statistic, FunctionName=function.name)
    eventually(lambda: of("Invocations") == 4)
    assert of("AsyncEventsReceived") == 4 and of("AsyncEventAge", "SampleCount") == 4 and of("AsyncEventAge", "Minimum") >= 0
    assert of("AsyncEventsDropped") is None
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    function.invoke(1, InvocationType="Event")
    eventually(lambda: of("AsyncEventsDropped") == 1)


def test_measured_invocations_survive_kill_9_and_count_once(tmp_path):
    with running(data=tmp_path) as node:
        lam = node.client("lambda")
        lam.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                            Code={"ZipFile": package({"app.py": "def handler(e, c): return 1"})})
        lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
        for _ in range(5):
            lam.invoke(FunctionName="f", Payload=b"1")
        assert total(node.client("cloudwatch"), "Invocations", FunctionName="f") == 5  # reading stores what was measured
        node.kill()
    with running(data=tmp_path) as node:
        assert total(node.client("cloudwatch"), "Invocations", FunctionName="f") == 5
        node.client("lambda").invoke(FunctionName="f", Payload=b"1")
        assert total(node.client("cloudwatch"), "Invocations", FunctionName="f") == 6


EMBEDDED = """
import json, time
def handler(namespace, context):
    print(json.dumps({
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [{
            "Namespace": namespace, "Dimensions": [["service"], ["service", "stage"]],
            "Metrics": [{"Name": "Mails", "Unit": "Count"}, {"Name": "Sizes", "Unit": "Bytes"}]}]},
        "service": "mail", "stage": "prod", "Mails": 3, "Sizes": [10, 20, 60], "note": "sent"}))
    print(json.dumps({"_aws": {"CloudWatchMetrics": [{"Namespace": namespace, "Metrics": "x"}]}, "broken": True}))
"""


def test_embedded_metrics_of_log_lines_are_in_the_store(deploy, cloudwatch, logs):
    namespace = fresh()
    function = deploy(EMBEDDED)
    function(namespace)
    function(namespace)
    of = lambda metric, statistic, **dimensions: total(cloudwatch, metric, statistic, namespace, **dimensions)
    eventually(lambda: of("Mails", "Sum", service="mail") == 6)
    assert of("Mails", "SampleCount", service="mail", stage="prod") == 2
    assert of("Sizes", "Average", service="mail", stage="prod") == 30
    lines = eventually(lambda: (m := messages(logs, f"/aws/lambda/{function.name}")) and len([x for x in m if "_aws" in x]) == 4 and m)
    assert any("broken" in line for line in lines)
    assert len(cloudwatch.list_metrics(Namespace=namespace)["Metrics"]) == 4


def test_embedded_metrics_of_put_log_events_are_in_the_store(cloudwatch, logs):
    namespace, group = fresh(), f"/{fresh('emf')}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = int(time.time() * 1000)
    line = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [[]],
                                                              "Metrics": [{"Name": "n"}]}]}, "n": 5}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[
        {"timestamp": now, "message": json.dumps(line)}, {"timestamp": now, "message": json.dumps({**line, "n": "five"})}])
    assert total(cloudwatch, "n", namespace=namespace) == 5
