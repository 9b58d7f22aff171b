"""Traces: segments that clients and functions send, and what is told of them."""

import datetime
import json
import os
import time
import uuid

import botocore.exceptions
import pytest
from conftest import eventually, get, root, running

# Sends segments as the SDKs for X-Ray do: to the address in the environment.
SENDER = """
import json, os, socket
def handler(event, context):
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for text in event:
            sender.sendto(text.encode(), (host, int(port)))
    return "sent"
"""
HEADER = '{"format": "json", "version": 1}\n'


@pytest.fixture(scope="module")
def xray(node):
    return node.client("xray")


def segment(trace=None, **more):
    now = time.time()
    trace = trace or f"1-{int(now):08x}-{uuid.uuid4().hex[:24]}"
    return {"id": uuid.uuid4().hex[:16], "trace_id": trace, "name": "shop", "start_time": now - 2, "end_time": now - 1, **more}


def put(xray, *segments):
    answer = xray.put_trace_segments(TraceSegmentDocuments=[json.dumps(one) for one in segments])
    return answer["UnprocessedTraceSegments"]


def kept(xray, trace):
    """The segments of a trace by their names."""
    found = xray.batch_get_traces(TraceIds=[trace])["Traces"]
    return {document["name"]: document for one in found for document in map(lambda s: json.loads(s["Document"]), one["Segments"])}


def refused(call, **options):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**options)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def summaries(xray, start=None, end=None, **options):
    now = time.time()
    pages = xray.get_paginator("get_trace_summaries").paginate(StartTime=start or now - 3600, EndTime=end or now + 60, **options)
    return {one["Id"]: one for page in pages for one in page["TraceSummaries"]}


def test_segments_are_kept_by_trace_and_summed_up(xray):
    root = segment(annotations={"tenant": "t1", "items": 3, "big": True}, origin="AWS::EC2::Instance",
                   http={"request": {"url": "http://shop/x", "method": "GET"}, "response": {"status": 502}})
    trace = root["trace_id"]
    below = segment(trace, name="stock", parent_id=root["id"], end_time=root["end_time"] + 1,
                    subsegments=[{"id": "0" * 15 + "1", "name": "db", "start_time": 1, "end_time": 2, "fault": True}])
    part = segment(trace, name="sql", parent_id=root["id"], type="subsegment")
    assert put(xray, root, below, part) == []
    assert kept(xray, trace) == {"shop": root, "stock": below, "sql": part}
    (one,) = xray.batch_get_traces(TraceIds=[trace])["Traces"]
    assert one["Id"] == trace and one["Duration"] == pytest.approx(2, abs=0.01)
    # As OpenTelemetry writes it.
    assert xray.batch_get_traces(TraceIds=[trace[2:].replace("-", "")])["Traces"] == [one]
    summary = summaries(xray)[trace]
    assert (summary["HasFault"], summary["HasError"], summary["HasThrottle"], summary["IsPartial"]) == (True, False, False, False)
    assert summary["Duration"] == pytest.approx(2, abs=0.01) and summary["ResponseTime"] == pytest.approx(1, abs=0.01)
    assert summary["Http"] == {"HttpURL": "http://shop/x", "HttpMethod": "GET", "HttpStatus": 502}
    assert [value["AnnotationValue"] for name in ("tenant", "items", "big") for value in summary["Annotations"][name]] == [
        {"StringValue": "t1"}, {"NumberValue": 3.0}, {"BooleanValue": True}]
    assert summary["EntryPoint"]["Name"] == "shop" and summary["EntryPoint"]["Type"] == "AWS::EC2::Instance"
    assert [service["Name"] for service in summary["ServiceIds"]] == ["shop", "stock"]


def test_a_complete_segment_replaces_one_in_progress_and_not_the_other_way(xray):
    whole = segment()
    begun = {key: value for key, value in whole.items() if key != "end_time"} | {"in_progress": True}
    assert put(xray, begun) == []
    assert summaries(xray)[whole["trace_id"]]["IsPartial"] is True
    assert put(xray, whole) == put(xray, begun) == []
    assert kept(xray, whole["trace_id"]) == {"shop": whole}
    assert summaries(xray)[whole["trace_id"]]["IsPartial"] is False


def test_what_is_no_segment_is_named_and_the_rest_is_kept(xray):
    good, bad = segment(), segment(name="")
    documents = ["{", json.dumps(good), json.dumps(bad), json.dumps(segment(name="x", more="y" * 70_000))]
    answers = xray.put_trace_segments(TraceSegmentDocuments=documents)["UnprocessedTraceSegments"]
    assert [answer["ErrorCode"] for answer in answers] == ["ParseError", "InvalidSegment", "SegmentTooLarge"]
    assert "Id" not in answers[0] and answers[1]["Id"] == bad["id"] and "name" in answers[1]["Message"]
    assert kept(xray, good["trace_id"]) == {"shop": good}
    assert refused(xray.put_trace_segments)[0] == "InvalidRequestException"
    assert refused(xray.put_trace_segments, TraceSegmentDocuments=["{}"] * 501)[0] == "InvalidRequestException"


def test_unknown_and_impossible_traces(xray):
    absent = segment()["trace_id"]
    answer = xray.batch_get_traces(TraceIds=[absent, "1-x"])
    assert answer["Traces"] == [] and answer["UnprocessedTraceIds"] == ["1-x"]
    assert refused(xray.batch_get_traces, TraceIds=[absent] * 6)[0] == "InvalidRequestException"
    now = time.time()
    assert refused(xray.get_trace_summaries, StartTime=now, EndTime=now - 1)[0] == "InvalidRequestException"
    assert refused(xray.get_trace_summaries, StartTime=now - 7 * 3600, EndTime=now)[0] == "InvalidRequestException"
    for option in ({"FilterExpression": "fault"}, {"TimeRangeType": "Service"}, {"Sampling": True}):
        code, text = refused(xray.get_trace_summaries, StartTime=now - 60, EndTime=now, **option)
        assert code == "InvalidRequestException" and next(iter(option)) in text


def test_summaries_come_in_pages_of_the_time_asked_for(xray):
    day = int(time.time()) - 20 * 86_400
    traces = [f"1-{day + index // 10:08x}-{uuid.uuid4().hex[:24]}" for index in range(120)]
    put(xray, *[segment(trace, start_time=day + 100, end_time=day + 101) for trace in traces])
    assert set(summaries(xray, day, day + 11)) == set(traces)
    assert set(summaries(xray, day + 1, day + 2)) == set(traces[10:30])
    first = xray.get_trace_summaries(StartTime=day, EndTime=day + 11)
    assert len(first["TraceSummaries"]) == 50
    assert refused(xray.get_trace_summaries, StartTime=day, EndTime=day + 11, NextToken="x")[0] == "InvalidRequestException"


def test_regions_keep_traces_apart(node, xray):
    one = segment()
    put(xray, one)
    elsewhere = node.client("xray", region_name="eu-west-1")
    assert kept(elsewhere, one["trace_id"]) == {} and one["trace_id"] not in summaries(elsewhere)


def test_the_default_rule_is_the_only_one(xray):
    (record,) = xray.get_sampling_rules()["SamplingRuleRecords"]
    rule = record["SamplingRule"]
    assert (rule["RuleName"], rule["FixedRate"], rule["ReservoirSize"], rule["Priority"]) == ("Default", 0.05, 1, 10_000)
    asked = {"ClientID": "0" * 24, "Timestamp": time.time(), "RequestCount": 1, "SampledCount": 1}
    answer = xray.get_sampling_targets(SamplingStatisticsDocuments=[{"RuleName": name, **asked} for name in ("Default", "other")])
    (target,) = answer["SamplingTargetDocuments"]
    assert (target["RuleName"], target["FixedRate"], target["ReservoirQuota"]) == ("Default", 0.05, 1)
    assert target["ReservoirQuotaTTL"] > datetime.datetime.now(datetime.timezone.utc)
    (unknown,) = answer["UnprocessedStatistics"]
    assert unknown["RuleName"] == "other"
    code, text = refused(xray.create_sampling_rule, SamplingRule={})
    assert "CreateSamplingRule" in text


def test_what_functions_send_to_the_daemon_is_kept(node, deploy, xray):
    function = deploy(SENDER)
    one, other = segment(name="inside"), segment(name="again")
    large = segment(name="large", metadata={"text": "x" * 60_000})
    assert function([HEADER + json.dumps(one), "{}", "no header", HEADER + "{", HEADER + json.dumps(large)]) == "sent"
    eventually(lambda: kept(xray, large["trace_id"]))
    assert kept(xray, one["trace_id"]) == {"inside": one} and kept(xray, large["trace_id"]) == {"large": large}
    metric = "neap_trace_datagrams_dropped_total"
    dropped = lambda: sum(
        float(line.split()[1]) for line in get(node, "/_neap/metrics").text.splitlines() if line.startswith(metric))
    eventually(lambda: dropped() >= 3)
    # A warm environment is heard too.
    function([HEADER + json.dumps(other)])
    eventually(lambda: kept(xray, other["trace_id"]) == {"again": other})


def test_traces_outlive_kill_9(tmp_path):
    one = segment()
    with running(data=tmp_path / "data") as node:
        assert put(node.client("xray"), one) == []
        node.kill()
    with running(data=tmp_path / "data") as node:
        assert kept(node.client("xray"), one["trace_id"]) == {"shop": one}


@root
@pytest.mark.skipif("NEAP_TEST_POSTGRES" not in os.environ, reason="NEAP_TEST_POSTGRES names no server")
def test_postgresql_keeps_traces_as_well(tmp_path):
    config = f'[store]\npostgres_url = "{os.environ["NEAP_TEST_POSTGRES"]}"\n'
    data = tmp_path / "data"
    with running(data=data, config=config) as node:
        xray, now = node.client("xray"), int(time.time())
        traces = [f"1-{now + index // 30:08x}-{uuid.uuid4().hex[:24]}" for index in range(60)]
        assert put(xray, *[segment(trace, start_time=now, end_time=now + 1) for trace in traces]) == []
        assert set(traces) <= set(summaries(xray))
        test_a_complete_segment_replaces_one_in_progress_and_not_the_other_way(xray)
        node.stop()
        assert "traces failed" not in (data / "neap.log").read_text()
