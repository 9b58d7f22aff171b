"""CloudWatch Logs, as boto3 and the AWS CLI see them; metering and metrics."""

import json
import re
import time

import botocore.exceptions
import pytest
from conftest import eventually, get, messages


def test_an_invocations_lines_are_found_in_order(deploy, logs):
    function = deploy("def handler(e, c):\n    print('one')\n    print('two')\n    return 1")
    reply = function.invoke()
    request = reply["ResponseMetadata"]["RequestId"]
    lines = eventually(lambda: (m := messages(logs, f"/aws/lambda/{function.name}")) and any("REPORT" in x for x in m) and m)
    text = [line.strip() for line in lines]
    assert text.index(f"START RequestId: {request} Version: $LATEST") < text.index("one") < text.index("two")
    assert text.index("two") < text.index(f"END RequestId: {request}")


def test_a_log_group_setting_is_obeyed(deploy, logs):
    function = deploy("def handler(e, c): print('elsewhere')", LoggingConfig={"LogGroup": "/my/group"})
    function.invoke()
    eventually(lambda: any("elsewhere" in line for line in messages(logs, "/my/group")))
    assert messages(logs, f"/aws/lambda/{function.name}") == []


def test_the_json_format_has_platform_records_and_levels(deploy, logs):
    function = deploy(
        """
        import logging
        log = logging.getLogger()
        def handler(e, c):
            log.info("quiet")
            log.warning("loud")
        """,
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO"},
    )
    reply = function.invoke()
    group = f"/aws/lambda/{function.name}"
    lines = eventually(lambda: (m := messages(logs, group)) and any("platform.report" in x for x in m) and m)
    records = [json.loads(line) for line in lines]
    kinds = [record["type"] for record in records if "type" in record]
    assert "platform.start" in kinds and "platform.report" in kinds
    report = next(record for record in records if record.get("type") == "platform.report")["record"]
    assert report["requestId"] == reply["ResponseMetadata"]["RequestId"]
    assert report["status"] == "success"
    assert {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB"} <= set(report["metrics"])
    application = [record for record in records if "level" in record]
    assert [record["message"] for record in application] == ["loud"]


def test_groups_streams_and_events_can_be_written_and_read(logs):
    group = "/test/own"
    logs.create_log_group(logGroupName=group)
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + i, "message": f"event {i}"} for i in range(30)]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
    first = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=10)
    assert [event["message"] for event in first["events"]] == [f"event {i}" for i in range(10)]
    rest = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, nextToken=first["nextForwardToken"])
    assert [event["message"] for event in rest["events"]] == [f"event {i}" for i in range(10, 30)]
    end = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, nextToken=rest["nextForwardToken"])
    assert end["events"] == [] and end["nextForwardToken"] == rest["nextForwardToken"]
    last = logs.get_log_events(logGroupName=group, logStreamName="s", limit=5)
    assert [event["message"] for event in last["events"]] == [f"event {i}" for i in range(25, 30)]
    paged = [e for p in logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 7})
             for e in p["events"]]
    assert [e["message"] for e in paged] == [f"event {i}" for i in range(30)]
    assert len({e["eventId"] for e in paged}) == 30
    logs.delete_log_group(logGroupName=group)
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.filter_log_events(logGroupName=group)


@pytest.mark.parametrize(
    "pattern, hits",
    [
        ("ERROR", {0, 3}),
        ('"note created"', {1}),
        ("ERROR -disk", {3}),
        ("?created ?disk", {0, 1}),
        ('{ $.level = "warn" && $.n > 3 }', {2}),
        ("{ $.n = 1 }", set()),
        ("[level=ERROR, ...]", {0, 3}),
    ],
)
def test_filter_patterns_select(logs, pattern, hits):
    group = "/test/patterns"
    lines = ["ERROR disk full", "INFO note created", '{"level": "warn", "n": 4}', "ERROR again"]
    try:
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        now = int(time.time() * 1000)
        logs.put_log_events(logGroupName=group, logStreamName="s",
                            logEvents=[{"timestamp": now + i, "message": m} for i, m in enumerate(lines)])
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    assert set(messages(logs, group, filterPattern=pattern)) == {lines[i] for i in hits}


def test_retention_is_a_number_of_days_that_aws_allows(logs):
    logs.create_log_group(logGroupName="/test/retention")
    logs.put_retention_policy(logGroupName="/test/retention", retentionInDays=7)
    group = logs.describe_log_groups(logGroupNamePrefix="/test/retention")["logGroups"][0]
    assert group["retentionInDays"] == 7
    with pytest.raises(botocore.exceptions.ClientError):
        logs.put_retention_policy(logGroupName="/test/retention", retentionInDays=8)


def test_the_aws_cli_reads_a_log(deploy, node):
    function = deploy("def handler(e, c): print('seen by the cli')")
    function.invoke()
    group = f"/aws/lambda/{function.name}"
    seen = lambda: node.aws("logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", "seen", "--output", "text")
    eventually(lambda: "seen by the cli" in seen().stdout)
    streams = json.loads(node.aws("logs", "describe-log-streams", "--log-group-name", group, "--order-by", "LastEventTime",
                                  "--descending", "--output", "json").stdout)["logStreams"]
    shown = node.aws("logs", "get-log-events", "--log-group-name", group, "--log-stream-name", streams[0]["logStreamName"])
    assert "seen by the cli" in shown.stdout


def test_a_log_can_be_followed_as_the_second_aws_cli_does(deploy, logs):
    """`aws logs tail --follow` polls FilterLogEvents from the last time seen and drops the events it has shown."""
    function = deploy("def handler(e, c): print('line', e)")
    shown, start = [], int(time.time() * 1000) - 1000
    ids = set()

    def poll():
        nonlocal start
        try:
            events = [e for page in logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{function.name}", startTime=start, interleaved=True) for e in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return
        for event in events:
            if event["eventId"] not in ids:
                ids.add(event["eventId"])
                shown.append(event["message"].strip())
                start = max(start, event["timestamp"])

    for n in range(20):
        function(n)
        poll()
    eventually(lambda: poll() or len([line for line in shown if line.startswith("line")]) == 20)
    assert [line for line in shown if line.startswith("line")] == [f"line {n}" for n in range(20)]


def test_the_aws_cli_drives_a_function(deploy, node, tmp_path):
    function = deploy("def handler(e, c): return e['n'] + 1")
    out = tmp_path / "out.json"
    node.aws("lambda", "invoke", "--function-name", function.name, "--payload", '{"n": 41}', str(out))
    assert out.read_text() == "42"
    shown = json.loads(node.aws("lambda", "get-function-configuration", "--function-name", function.name, "--output", "json").stdout)
    assert shown["FunctionArn"] == function.arn
    missing = node.aws("lambda", "get-function", "--function-name", "t-none", check=False)
    assert missing.returncode != 0 and "ResourceNotFoundException" in missing.stderr


def usage(node, function):
    rows = json.loads(node.neap("cost", "--json").stdout)["functions"]
    return next((row for row in rows if row["function"] == function.name), None)


def test_each_invocation_is_metered_once(deploy, node):
    function = deploy("import time\ndef handler(e, c): time.sleep(0.02)", MemorySize=256)
    for _ in range(5):
        function.invoke()
    row = eventually(lambda: (r := usage(node, function)) and r["invocations"] >= 5 and r)
    assert row["invocations"] == 5
    # At least 5 × 20 ms at a quarter of a GB.
    assert row["gb_seconds"] >= 5 * 0.020 * 0.25


def test_metrics_are_prometheus_text(deploy, node):
    function = deploy("def handler(e, c): return 1")
    function.invoke()
    eventually(lambda: re.search(rf'^neap_invocations_total\{{[^}}]*function="{function.name}"[^}}]*\}} 1', get(node, "/_neap/metrics").text, re.M))


def test_phases_of_a_cold_start_are_shown(deploy, node):
    function = deploy("import time\ntime.sleep(0.2)\ndef handler(e, c): return 1")
    function.invoke()
    text = eventually(lambda: (t := get(node, "/_neap/metrics").text) and function.name in t and t)
    for phase in ("queue", "sandbox", "boot", "init"):
        assert re.search(rf'phase="{phase}"', text), phase


def test_series_of_a_deleted_function_end(node, lam, deploy):
    function = deploy("def handler(event, context): return 1 / event['by']")
    function({"by": 1})
    function.invoke({"by": 0})
    shown = lambda: f'function="{function.name}"' in get(node, "/_neap/metrics").text  # noqa: E731
    eventually(shown)
    lam.delete_function(FunctionName=function.name)
    eventually(lambda: not shown())
