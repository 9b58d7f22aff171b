"""CloudWatch Logs Insights, as boto3 and the AWS CLI see it."""

import json
import time
import uuid

import botocore.exceptions
import pytest
from conftest import eventually, messages

NOW = int(time.time())


def events(logs, *streams):
    """A group with a stream for each list of messages; (group, time of the first event in ms)."""
    group = f"/insights/{uuid.uuid4().hex[:12]}"
    start = (NOW - 600) * 1000
    logs.create_log_group(logGroupName=group)
    for number, lines in enumerate(streams):
        logs.create_log_stream(logGroupName=group, logStreamName=f"s{number}")
        logs.put_log_events(logGroupName=group, logStreamName=f"s{number}", logEvents=[
            {"timestamp": start + 1000 * at + number, "message": line if isinstance(line, str) else json.dumps(line)}
            for at, line in enumerate(lines)])
    return group, start


def ask(logs, groups, text, **options):
    """The finished answer: rows as dictionaries, and the reply."""
    groups = [groups] if isinstance(groups, str) else groups
    named = {} if "logGroupIdentifiers" in options else {"logGroupNames": groups}
    query = logs.start_query(**{**named, "startTime": NOW - 3600, "endTime": NOW + 3600, "queryString": text, **options})
    reply = eventually(lambda: (r := logs.get_query_results(queryId=query["queryId"]))["status"] != "Running" and r)
    assert reply["status"] == "Complete", reply
    return [{field["field"]: field["value"] for field in row} for row in reply["results"]], reply


def test_a_functions_reports_are_analysed(deploy, logs):
    function = deploy("import json\ndef handler(e, c):\n    print(json.dumps({'level': 'INFO', 'size': e}))\n    return e")
    ids = {function.invoke(n)["ResponseMetadata"]["RequestId"] for n in range(3)}
    group = f"/aws/lambda/{function.name}"
    eventually(lambda: len([m for m in messages(logs, group) if m.startswith("REPORT")]) == 3)
    rows, reply = ask(logs, group, """
        filter @type = "REPORT"
        | stats count(*) as calls, avg(@duration) as mean, max(@memorySize / 1000 / 1000) as mb,
                max(@maxMemoryUsed) > 0 as used, count(@initDuration) as cold
    """)
    (row,) = rows
    assert row["calls"] == "3" and row["mb"] == "128" and row["used"] == "1" and row["cold"] == "1"
    assert 0 < float(row["mean"]) < 60_000
    assert reply["statistics"]["recordsMatched"] == 3 < reply["statistics"]["recordsScanned"]
    rows, _ = ask(logs, group, "filter @type = 'REPORT' | display @requestId")
    assert {row["@requestId"] for row in rows} == ids
    rows, _ = ask(logs, group, "filter level = 'INFO' | stats sum(size) as total, pct(size, 50) as median")
    assert rows == [{"total": "3", "median": "1"}]


def test_rows_come_newest_first_from_all_groups(logs):
    one, start = events(logs, ["a0", "a1", "a2"], ["b0", "b1", "b2"])
    other, _ = events(logs, ["c0", "c1", "c2"])
    rows, reply = ask(logs, [one, other], "fields @message, @logStream, @log | sort @timestamp desc, @message desc")
    assert [row["@message"][1] for row in rows] == list("222111000")
    assert {row["@log"] for row in rows} == {f"000000000000:{one}", f"000000000000:{other}"}
    assert reply["statistics"]["logGroupsScanned"] == 2 and reply["queryLanguage"] == "CWLI"
    plain, _ = ask(logs, one, "filter @logStream = 's0'")
    assert [list(row) for row in plain] == [["@timestamp", "@message"]] * 3
    assert [row["@message"] for row in plain] == ["a2", "a1", "a0"]
    unsorted, _ = ask(logs, [one, other], "fields @message")
    assert [row["@message"][1] for row in unsorted] == list("222111000")
    two, _ = ask(logs, one, "fields @message", limit=2)
    assert [row["@message"] for row in two] == ["b2", "a2"]
    first, _ = ask(logs, one, "fields @message", startTime=start // 1000, endTime=start // 1000)
    assert [row["@message"] for row in first] == ["b0", "a0"]
    by_arn, _ = ask(logs, one, "stats count(*) as n", logGroupIdentifiers=[
        f"arn:aws:logs:us-east-1:000000000000:log-group:{one}"])
    assert by_arn == [{"n": "6"}]


def test_texts_are_parsed_and_grouped_by_time(logs):
    group, start = events(logs, [f"GET /notes/{n} took {n * 10}ms" for n in range(6)] + ["noise"])
    rows, _ = ask(logs, group, """
        # only requests
        filter @message like /^GET/
        | parse @message "GET * took *ms" as path, ms
        | stats count(*) as n, max(ms) as slowest by bin(1h)
        | sort n desc | limit 5
    """)
    assert sum(int(row["n"]) for row in rows) == 6 and max(int(row["slowest"]) for row in rows) == 50
    assert all("bin(1h)" in row for row in rows)
    rows, _ = ask(logs, group, r"parse @message /took (?<ms>\d+)ms/ | filter ms in [20, 30] | display ms | sort ms asc")
    assert rows == [{"ms": "20"}, {"ms": "30"}]


def test_more_events_than_a_page_are_counted_once(logs):
    group, start = events(logs)
    logs.create_log_stream(logGroupName=group, logStreamName="many")
    for part in range(3):
        logs.put_log_events(logGroupName=group, logStreamName="many", logEvents=[
            {"timestamp": start + n // 100, "message": json.dumps({"n": part * 10_000 + n})} for n in range(10_000)])
    rows, reply = ask(logs, group, "stats count(*) as all, count_distinct(n) as different, max(n) as last")
    assert rows == [{"all": "30000", "different": "30000", "last": "29999"}]
    assert reply["statistics"]["recordsScanned"] == 30_000
    rows, reply = ask(logs, group, "fields n | filter n > 5 | limit 3")
    assert len(rows) == 3 and reply["statistics"]["recordsScanned"] < 30_000
    query = logs.start_query(logGroupName=group, startTime=NOW - 3600, endTime=NOW, queryString="fields n | sort n asc | limit 25")
    eventually(lambda: logs.get_query_results(queryId=query["queryId"])["status"] == "Complete")
    values, token = [], None
    while True:
        page = logs.get_query_results(queryId=query["queryId"], maxItems=10, **({"nextToken": token} if token else {}))
        values += [row[0]["value"] for row in page["results"]]
        token = page.get("nextToken")
        if not token:
            break
    assert values == [str(n) for n in range(25)]


@pytest.mark.parametrize("text, named", [
    ("pattern @message", "pattern"),
    ("fields @message | unmask @message", "unmask"),
    ("SOURCE logGroups(namePrefix: ['a'])", "SOURCE"),
    ("fields @message | anomaly", "anomaly"),
    ("fields jsonParse(@message) as j", "jsonParse"),
    ("stats sortsFirst(@message)", "sortsFirst"),
    ("filter @message like", "too early"),
    ("limit 20000", "20000"),
    ("", "empty"),
])
def test_queries_that_cannot_be_carried_out_are_refused_by_name(logs, text, named):
    group, _ = events(logs, ["x"])
    with pytest.raises(logs.exceptions.MalformedQueryException) as caught:
        logs.start_query(logGroupName=group, startTime=NOW - 60, endTime=NOW, queryString=text)
    assert named in str(caught.value)


def test_bad_requests_are_refused(logs):
    group, _ = events(logs, ["x"])
    good = {"logGroupName": group, "startTime": NOW - 60, "endTime": NOW, "queryString": "fields @message"}

    def code(**options):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            logs.start_query(**{**good, **options})
        return caught.value.response["Error"]["Code"]

    assert code(logGroupName="/nobody") == "ResourceNotFoundException"
    assert code(logGroupNames=[group]) == "InvalidParameterException"
    assert code(logGroupName="a b") == "InvalidParameterException"
    assert code(startTime=NOW, endTime=NOW - 1) == "InvalidParameterException"
    assert code(queryLanguage="SQL") == "InvalidParameterException"
    assert code(limit=20_000) == "InvalidParameterException"
    assert code(queryString="x" * 10_001) == "MalformedQueryException"
    for call in (logs.get_query_results, logs.stop_query):
        with pytest.raises(logs.exceptions.ResourceNotFoundException):
            call(queryId="00000000-0000-0000-0000-000000000000")


def test_queries_are_listed_and_stopped(logs):
    group, _ = events(logs, ["x"])
    query = logs.start_query(logGroupName=group, startTime=NOW - 60, endTime=NOW, queryString="fields @message")["queryId"]
    eventually(lambda: logs.get_query_results(queryId=query)["status"] == "Complete")
    (listed,) = logs.describe_queries(logGroupName=group)["queries"]
    assert listed["queryId"] == query and listed["queryString"] == "fields @message" and listed["status"] == "Complete"
    assert logs.describe_queries(logGroupName=group, status="Running")["queries"] == []
    assert logs.stop_query(queryId=query)["success"] is False


def test_the_aws_cli_asks(node, logs):
    group, _ = events(logs, ["hello insights"])
    started = node.aws("logs", "start-query", "--log-group-name", group, "--start-time", NOW - 3600, "--end-time", NOW + 60,
                       "--query-string", "fields @message | filter @message like /insights/", "--output", "json")
    query = json.loads(started.stdout)["queryId"]
    results = lambda: json.loads(node.aws("logs", "get-query-results", "--query-id", query, "--output", "json").stdout)
    reply = eventually(lambda: (r := results())["status"] == "Complete" and r)
    assert reply["results"] == [[{"field": "@message", "value": "hello insights"}]]
