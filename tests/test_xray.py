"""Traces: segments that clients and functions send, and what is told of them."""

import datetime
import json
import os
import pathlib
import sysconfig
import time
import uuid

import botocore.exceptions
import pytest
from conftest import ROLE, eventually, get, package, root, running

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
    for option in ({"TimeRangeType": "Service"}, {"Sampling": True}):
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


def test_filter_expressions_find_traces_by_what_they_are(xray):
    day = int(time.time()) - 19 * 86_400
    id = lambda: f"1-{day:08x}-{uuid.uuid4().hex[:24]}"
    slow = segment(id(), start_time=day, end_time=day + 9, annotations={"tenant": "t1", "items": 3}, fault=True,
                   http={"request": {"url": "http://shop/x", "method": "GET"}, "response": {"status": 502}})
    quick = segment(id(), name="stock", start_time=day, end_time=day + 0.5, annotations={"tenant": "t2"}, origin="AWS::Lambda",
                    http={"request": {"url": "http://stock/y", "method": "POST"}, "response": {"status": 429}},
                    error=True, throttle=True)
    call = {"id": uuid.uuid4().hex[:16], "name": "db", "namespace": "remote", "start_time": day, "end_time": day + 1}
    plain = segment(id(), name="plain", start_time=day, end_time=day + 2, subsegments=[call])
    assert put(xray, slow, quick, plain) == []
    names = {one["trace_id"]: one["name"] for one in (slow, quick, plain)}

    def found(expression):
        return {names[trace] for trace in summaries(xray, day, day + 1, FilterExpression=expression) if trace in names}

    for expression, wanted in [
        ("fault", "shop"), ("error", "stock"), ("throttle = true", "stock"), ("ok", "plain"), ("!ok", "shop stock"),
        ("responsetime > 1", "shop plain"), ("duration <= 2 AND NOT error", "plain"), ("http.status >= 500", "shop"),
        ('http.url CONTAINS "/y" OR fault', "shop stock"), ('http.method = "GET"', "shop"),
        ("annotation.tenant", "shop stock"), ('annotation[tenant] = "t2"', "stock"), ("annotation.items >= 3", "shop"),
        ('service("plain")', "plain"), ('service("db") { responsetime = 1 }', "plain"), ('service("shop") { ok }', ""),
        ('id(type: "AWS::Lambda")', "stock"), ('service(id(name: "stock", type: "AWS::Lambda"))', "stock"),
        ('(fault OR error) AND !(http.status = 429)', "shop"), ("partial", ""),
    ]:
        assert found(expression) == set(wanted.split()), expression
    answer = xray.get_trace_summaries(StartTime=day, EndTime=day + 1, FilterExpression="fault")
    assert answer["TracesProcessedCount"] >= 3 and len(answer["TraceSummaries"]) == 1
    for expression, told in [('edge("a", "b")', "edge is not supported"), ("fault AND", "a keyword"), ("responsetime > x", "a number"),
                             ("(" * 100, "nested"), ("fault " * 1000, "bytes")]:
        code, text = refused(xray.get_trace_summaries, StartTime=day, EndTime=day + 1, FilterExpression=expression)
        assert code == "InvalidRequestException" and text.startswith("FilterExpression: ") and told in text


def test_what_daemons_tell_of_themselves_is_counted(node, xray):
    def shown(name):
        lines = [line for line in get(node, "/_neap/metrics").text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    received, errors = 'neap_xray_daemon_segments_total{kind="received"}', 'neap_xray_daemon_connection_errors_total{kind="http_5xx"}'
    before = shown(received), shown(errors)
    record = {"Timestamp": time.time(), "SegmentsReceivedCount": 5, "SegmentsSentCount": 4, "BackendConnectionErrors": {"HTTPCode5XXCount": 2}}
    xray.put_telemetry_records(TelemetryRecords=[record, record], Hostname="h")
    assert (shown(received), shown(errors)) == (before[0] + 10, before[1] + 4)
    assert refused(xray.put_telemetry_records)[0] == "InvalidRequestException"
    assert refused(xray.put_telemetry_records, TelemetryRecords=[record] * 101)[0] == "InvalidRequestException"
    code, _ = refused(xray.put_telemetry_records, TelemetryRecords=[{"Timestamp": time.time(), "SegmentsSentCount": -1}])
    assert code == "SerializationException"


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


# What the function was told of its trace.
TELLER = """
import os
def handler(event, context):
    if event == "fail": raise ValueError("no")
    return os.environ["_X_AMZN_TRACE_ID"]
"""
ACTIVE = {"TracingConfig": {"Mode": "Active"}}


def called(function, event=None, trace=None, **options):
    """The header that the function was told, as a dictionary."""
    add = lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", trace)
    events = function.client.meta.events
    if trace:
        events.register("before-sign.lambda.Invoke", add)
    try:
        reply = function.invoke(event, **options)
    finally:
        if trace:
            events.unregister("before-sign.lambda.Invoke", add)
    told = reply["Body"]
    is_header = isinstance(told, str) and told.startswith("Root=")
    return reply, dict(part.split("=", 1) for part in told.split(";")) if is_header else None


def documents(xray, trace, count=1):
    """The segments of a trace once there are so many, in the order of their begin."""
    read = lambda: [json.loads(one["Document"]) for found in xray.batch_get_traces(TraceIds=[trace])["Traces"] for one in found["Segments"]]
    return eventually(lambda: (lambda all: all if len(all) >= count else None)(read()))


def origins(all):
    return {one.get("origin", one["name"]): one for one in all}


def both(xray, trace, count=2):
    """The two segments of an invocation, once there are so many of everything."""
    found = [one for one in documents(xray, trace, count) if "origin" in one]
    assert sorted(one["origin"] for one in found) == ["AWS::Lambda", "AWS::Lambda::Function"]
    return origins(found)["AWS::Lambda"], origins(found)["AWS::Lambda::Function"]


def header(**more):
    trace = segment()["trace_id"]
    return trace, f"Root={trace};Parent=53995c3f42cd8ad8" + "".join(f";{name}={value}" for name, value in more.items())


def test_tracing_is_shown_as_it_is_set(deploy, lam):
    function = deploy(TELLER)
    mode = lambda **options: lam.get_function_configuration(FunctionName=function.name, **options)["TracingConfig"]["Mode"]
    assert function.configuration["TracingConfig"] == {"Mode": "PassThrough"} and mode() == "PassThrough"
    assert lam.update_function_configuration(FunctionName=function.name, **ACTIVE)["TracingConfig"] == {"Mode": "Active"}
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    assert lam.publish_version(FunctionName=function.name)["TracingConfig"] == {"Mode": "Active"}
    # What an update does not name stays.
    lam.update_function_configuration(FunctionName=function.name, Description="new")
    assert mode() == "Active"
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    lam.update_function_configuration(FunctionName=function.name, TracingConfig={"Mode": "PassThrough"})
    assert (mode(), mode(Qualifier="1")) == ("PassThrough", "Active")
    assert lam.get_function(FunctionName=function.name)["Configuration"]["TracingConfig"] == {"Mode": "PassThrough"}
    code, text = refused(lam.update_function_configuration, FunctionName=function.name, TracingConfig={"Mode": "Always"})
    assert code == "ValidationException" and "tracingConfig.mode" in text


def test_an_active_function_begins_traces_of_two_segments(deploy, xray):
    function = deploy(TELLER, **ACTIVE)
    reply, told = called(function)
    assert told["Sampled"] == "1", told
    service, own = both(xray, told["Root"])
    assert service["name"] == own["name"] == function.name and "parent_id" not in service
    assert own["parent_id"] == service["id"] and service["resource_arn"] == own["resource_arn"] == function.arn
    assert service["aws"]["request_id"] == reply["ResponseMetadata"]["RequestId"]
    assert service["http"]["response"]["status"] == 200
    assert own["aws"]["function_arn"] == function.arn
    parts = {part["name"]: part for part in own["subsegments"]}
    assert list(parts) == ["Initialization", "Invocation", "Overhead"]
    assert parts["Invocation"]["id"] == told["Parent"]
    ends = [time for part in parts.values() for time in (part["start_time"], part["end_time"])]
    assert ends == sorted(ends) and service["start_time"] <= own["start_time"] <= ends[0] and ends[-1] <= own["end_time"] <= service["end_time"]
    summary = summaries(xray)[told["Root"]]
    assert (summary["HasFault"], summary["HasError"], summary["HasThrottle"]) == (False, False, False)
    assert summary["EntryPoint"]["Type"] == "AWS::Lambda" and summary["Http"]["HttpStatus"] == 200
    assert {service["Type"] for service in summary["ServiceIds"]} == {"AWS::Lambda", "AWS::Lambda::Function"}
    # The second's first request is traced, so one of many is not.
    _, told = next(pair for pair in (called(function) for _ in range(100)) if pair[1]["Sampled"] == "0")
    assert told["Root"] and told["Parent"]
    # A warm call has no initialisation.
    trace, given = header(Sampled=1)
    called(function, trace=given)
    _, own = both(xray, trace)
    assert [part["name"] for part in own["subsegments"]] == ["Invocation", "Overhead"]
    assert told["Root"] not in summaries(xray)


def test_a_header_that_decides_is_followed_in_both_modes(deploy, xray):
    for mode in ("Active", "PassThrough"):
        function = deploy(TELLER, TracingConfig={"Mode": mode})
        dark, given = header(Sampled=0)
        _, told = called(function, trace=given)
        assert (told["Root"], told["Sampled"], told["Parent"]) == (dark, "0", "53995c3f42cd8ad8"), mode
        trace, given = header(Sampled=1)
        _, told = called(function, trace=given)
        assert (told["Root"], told["Sampled"]) == (trace, "1"), mode
        service, own = both(xray, trace)
        assert service["parent_id"] == "53995c3f42cd8ad8" and own["subsegments"][-2]["id"] == told["Parent"]
        assert dark not in summaries(xray)
        open, given = header()
        _, told = called(function, trace=given)
        if mode == "PassThrough":
            assert told["Sampled"] == "0" and called(function)[1]["Sampled"] == "0"
            assert open not in summaries(xray)


def test_failures_and_refusals_are_told_by_flags(deploy, lam, xray):
    function = deploy(TELLER)
    trace, given = header(Sampled=1)
    reply, _ = called(function, "fail", trace=given)
    assert reply["FunctionError"] == "Unhandled"
    service, own = both(xray, trace)
    assert service["fault"] and own["fault"] and service["http"]["response"]["status"] == 200
    assert {part["name"]: part.get("fault") for part in own["subsegments"]}["Invocation"] is True
    assert summaries(xray)[trace]["HasFault"]
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    trace, given = header(Sampled=1)
    code, _ = refused(called, function=function, trace=given)
    assert code == "TooManyRequestsException"
    (service,) = documents(xray, trace)
    assert (service["origin"], service["http"]["response"]["status"]) == ("AWS::Lambda", 429)
    assert service["throttle"] and service["error"] and "fault" not in service
    assert summaries(xray)[trace]["HasThrottle"]


def test_an_event_is_a_trace_of_its_acceptance_and_its_attempts(tmp_path):
    with running(config="[asynchronous]\nretry_waits_ms = [10, 20]\n") as node:
        lam, xray = node.client("lambda"), node.client("xray")
        name = f"t-{uuid.uuid4().hex[:12]}"
        made = lam.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                                   Code={"ZipFile": package({"app.py": TELLER})}, **ACTIVE)
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
        reply = lam.invoke(FunctionName=name, InvocationType="Event", Payload=b'"fail"')
        # The first request of its second is traced.
        trace = eventually(lambda: next(iter(summaries(xray)), None))
        found = documents(xray, trace, 8)
        assert sorted(one.get("origin") or one["name"] for one in found) == [
            "AWS::Lambda", "AWS::Lambda::Function", "AWS::Lambda::Function", "AWS::Lambda::Function",
            "Attempt #1", "Attempt #2", "Attempt #3", "Dwell Time"]
        by_name = origins(found)
        accepted = by_name["AWS::Lambda"]
        assert accepted["http"]["response"]["status"] == 202 and "fault" not in accepted
        assert accepted["aws"]["request_id"] == reply["ResponseMetadata"]["RequestId"]
        attempts = [by_name[f"Attempt #{number}"] for number in (1, 2, 3)]
        for part in (by_name["Dwell Time"], *attempts):
            assert (part["type"], part["parent_id"]) == ("subsegment", accepted["id"])
        assert by_name["Dwell Time"]["end_time"] <= attempts[0]["end_time"] and all(part["fault"] for part in attempts)
        runs = [one for one in found if one.get("origin") == "AWS::Lambda::Function"]
        assert {run["parent_id"] for run in runs} == {attempt["id"] for attempt in attempts}
        assert made["TracingConfig"] == {"Mode": "Active"}


def site(*names):
    """Files of packages that this Python has installed."""
    folder = pathlib.Path(sysconfig.get_paths()["purelib"])
    files = [file for name in names for file in (folder / name).rglob("*") if file.suffix in (".py", ".json", ".so", ".typed")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("library, source, packages", [
    ("aws_xray_sdk", """
        from aws_xray_sdk.core import xray_recorder, patch
        import boto3
        patch(["botocore"])
        @xray_recorder.capture("work")
        def work(value):
            xray_recorder.current_subsegment().put_annotation("tenant", value)
            boto3.client("sts").get_caller_identity()
        def handler(event, context):
            work(event)
            return "done"
     """, ["aws_xray_sdk", "wrapt"]),
    ("powertools", """
        from aws_lambda_powertools import Tracer
        import boto3
        tracer = Tracer(service="shop")
        @tracer.capture_method
        def work(value):
            tracer.put_annotation("tenant", value)
            boto3.client("sts").get_caller_identity()
        @tracer.capture_lambda_handler
        def handler(event, context):
            work(event)
            return "done"
     """, ["aws_xray_sdk", "wrapt", "aws_lambda_powertools", "jmespath", "typing_extensions.py"]),
])
def test_what_libraries_record_is_below_the_invocation(deploy, xray, library, source, packages):
    files = site(*packages) | {"app.py": source}
    if "typing_extensions.py" in packages:
        import typing_extensions

        files["typing_extensions.py"] = pathlib.Path(typing_extensions.__file__).read_bytes()
    function = deploy(files, Timeout=30, MemorySize=512, **ACTIVE)
    trace, given = header(Sampled=1)
    reply, _ = called(function, "t1", trace=given)
    assert reply["Body"] == "done", reply["Body"]

    # Inside of Lambda they send each subsegment by itself.
    def sent():
        return {one["name"]: one for one in documents(xray, trace, 3) if one.get("type") == "subsegment"}

    eventually(lambda: {"sts"} <= set(sent()) and any(name.endswith("work") for name in sent()))
    _, own = both(xray, trace, 4)
    above = next(part["id"] for part in own["subsegments"] if part["name"] == "Invocation")
    path, below = [], {one["parent_id"]: one for one in sent().values()}
    while above in below:
        above, name = below[above]["id"], below[above]["name"]
        path.append(name.split(".")[-1].removeprefix("## "))
    assert path[-2:] == ["work", "sts"] and len(path) == len(below)
    work = next(one for name, one in sent().items() if name.endswith("work"))
    assert work["annotations"] == {"tenant": "t1"}
    assert summaries(xray)[trace]["Annotations"]["tenant"][0]["AnnotationValue"] == {"StringValue": "t1"}


def test_services_are_a_graph_of_their_calls(deploy, lam, xray):
    function = deploy(TELLER)
    trace, given = header(Sampled=1)
    called(function, trace=given)
    both(xray, trace)
    caller = segment(trace, name="shop", id="53995c3f42cd8ad8", end_time=time.time() + 1, fault=True,
                     http={"response": {"status": 500}})
    assert put(xray, caller) == []

    def edges(services):
        known = {one["ReferenceId"]: (one.get("Name"), one.get("Type")) for one in services}
        return {(known[one["ReferenceId"]], known[edge["ReferenceId"]]): edge["SummaryStatistics"] for one in services for edge in one["Edges"]}

    names = ((None, "client"), ("shop", None), (function.name, "AWS::Lambda"), (function.name, "AWS::Lambda::Function"))
    services = xray.get_trace_graph(TraceIds=[trace])["Services"]
    found = edges(services)
    assert set(found) == set(zip(names, names[1:]))
    assert (found[names[0], names[1]]["FaultStatistics"]["TotalCount"], found[names[1], names[2]]["OkCount"]) == (1, 1)
    assert [one["Name"] for one in services if one["Root"]] == ["shop"]
    now = time.time()
    pages = xray.get_paginator("get_service_graph").paginate(StartTime=now - 600, EndTime=now + 60)
    found = [edges(page["Services"]) for page in pages]
    assert any((names[2], names[3]) in page for page in found)
    code, text = refused(xray.get_service_graph, StartTime=now - 600, EndTime=now, GroupName="mine")
    assert code == "InvalidRequestException" and "GroupName" in text
    assert refused(xray.get_trace_graph, TraceIds=["1-x"])[0] == "InvalidRequestException"


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
