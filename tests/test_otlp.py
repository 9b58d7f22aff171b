"""Export of traces, metrics and logs to an OpenTelemetry collector, which is a small server of the test's own."""

import http.server
import json
import subprocess
import threading
import uuid

import pytest
from conftest import BINARY, Function, ROLE, eventually, get, package, running
from test_urls import let_everyone

CALLER = "53995c3f42cd8ad8"
XRAY = f"Root=1-5e1b4151-%s;Parent={CALLER};Sampled=1"
SOURCE = """
import json, os
print("loaded")
def handler(event, context):
    print("line of", event)
    if event == "fail": raise ValueError("no")
    if event == "slow":
        import time; time.sleep(60)
    return os.environ["_X_AMZN_TRACE_ID"]
"""


class Collector:
    """Takes what is exported; may refuse, fail, or be gone for a while."""

    def __init__(self, port=0, tls=None):
        self.bodies = {"/v1/traces": [], "/v1/logs": [], "/v1/metrics": []}
        self.headers, self.status, self.asked = [], 200, 0
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked += 1
                if collector.status == 200:
                    collector.headers.append(self.headers)
                    collector.bodies[self.path].append(collector.decoded(self.path, self.headers, body))
                answer = collector.answer(self.path, self.headers)
                self.send_response(collector.status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def decoded(self, path, headers, body):
        return json.loads(body)

    def answer(self, path, headers):
        return b"{}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def spans(self, trace):
        """The spans of a trace by name, with the attributes of their resource and their own as one."""
        found = {}
        for body in list(self.bodies["/v1/traces"]):
            for resource in body["resourceSpans"]:
                for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                    if span["traceId"] == trace:
                        all = resource["resource"]["attributes"] + span.get("attributes", [])
                        found.setdefault(span["name"], []).append({**span, "attributes": values(all)})
        return found

    def lines(self):
        """Every log record, with the attributes of its resource."""
        return [
            {**record, "resource": values(resource["resource"]["attributes"])}
            for body in list(self.bodies["/v1/logs"])
            for resource in body["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def metrics(self):
        """The metrics of the last snapshot by name."""
        bodies = self.bodies["/v1/metrics"]
        if not bodies:
            return {}
        (resource,) = bodies[-1]["resourceMetrics"]
        return {metric["name"]: metric for metric in resource["scopeMetrics"][0]["metrics"]}


def values(attributes):
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


def settings(collector, more=""):
    return f'[otlp]\nendpoint = "http://127.0.0.1:{collector.port}"\ninterval_ms = 50\n{more}\n'


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def exporting(collector):
    with running(config=settings(collector, 'headers = { "X-Tenant" = "t1" }')) as node:
        yield node


def made(node, source=SOURCE, **options):
    client, name = node.client("lambda"), f"t-{uuid.uuid4().hex[:12]}"
    made = client.create_function(
        FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
        Code={"ZipFile": package({"app.py": source})}, **options)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    return Function(client, name, made)


def traced(function, event, **headers):
    """Invokes with headers of the caller's."""
    client = function.client
    add = lambda request, **_: [request.headers.add_header(name.replace("_", "-"), text) for name, text in headers.items()]
    client.meta.events.register("before-sign.lambda.Invoke", add)
    try:
        return function.invoke(event)
    finally:
        client.meta.events.unregister("before-sign.lambda.Invoke", add)


def fresh():
    unique = uuid.uuid4().hex[:24]
    return XRAY % unique, "5e1b4151" + unique


def one(spans, name):
    (span,) = spans[name]
    return span


def whole(collector, trace, names):
    """The spans of a trace once they are all there."""
    eventually(lambda: set(collector.spans(trace)) >= set(names))
    return collector.spans(trace)


def test_a_cold_start_is_a_tree_of_spans_and_a_warm_call_has_none_of_it(exporting, collector):
    function = made(exporting)
    header, trace = fresh()
    reply = traced(function, 1, X_Amzn_Trace_Id=header)
    spans = whole(collector, trace, [function.name, "run"])
    assert set(spans) == {function.name, "queue", "start", "sandbox", "boot", "init", "run"}
    root = one(spans, function.name)
    assert root["parentSpanId"] == CALLER and root["kind"] == 2 and root["status"] == {}
    attributes = root["attributes"]
    assert attributes["faas.coldstart"] is True
    assert attributes["faas.invocation_id"] == reply["ResponseMetadata"]["RequestId"]
    assert (attributes["faas.name"], attributes["service.name"]) == (function.name, function.name)
    assert (attributes["faas.version"], attributes["faas.max_memory"]) == ("$LATEST", str(128 * 1024 * 1024))
    assert (attributes["cloud.account.id"], attributes["cloud.region"]) == ("000000000000", "us-east-1")
    assert attributes["cloud.resource_id"] == attributes["aws.lambda.invoked_arn"] == function.arn
    parents = {"queue": function.name, "start": function.name, "sandbox": "start", "boot": "start",
               "init": function.name, "run": function.name}
    last = int(root["startTimeUnixNano"])
    for name, parent in parents.items():
        span, above = one(spans, name), one(spans, parent)
        assert span["parentSpanId"] == above["spanId"], name
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert int(above["startTimeUnixNano"]) <= start <= end <= int(above["endTimeUnixNano"]), name
        if name in ("start", "init", "run"):
            assert start >= last, name
            last = end
    assert len({span["spanId"] for all in spans.values() for span in all}) == 7
    # What the function records itself hangs below its run.
    run = one(spans, "run")["spanId"]
    assert reply["Body"].startswith(f"Root=1-5e1b4151-{trace[8:]};Parent={run};Sampled=1;Lineage=")
    header, trace = fresh()
    traced(function, 2, X_Amzn_Trace_Id=header)
    spans = whole(collector, trace, [function.name, "run"])
    assert not set(spans) & {"start", "sandbox", "boot", "init"}
    assert one(spans, function.name)["attributes"]["faas.coldstart"] is False
    assert collector.headers[-1]["X-Tenant"] == "t1" and collector.headers[-1]["Content-Type"] == "application/json"


def test_errors_and_timeouts_are_told_by_the_status(exporting, collector):
    function = made(exporting, Timeout=1)
    for event, kind in (("fail", "error"), ("slow", "timeout")):
        header, trace = fresh()
        assert "FunctionError" in traced(function, event, X_Amzn_Trace_Id=header)
        root = one(whole(collector, trace, [function.name, "run"]), function.name)
        assert root["status"]["code"] == 2 and root["status"]["message"]
        assert root["attributes"]["error.type"] == kind


def test_callers_of_the_w3c_form_are_continued_and_both_forms_reach_a_function_url(exporting, collector):
    function = made(exporting, source="import os\ndef handler(e, c): return [os.environ['_X_AMZN_TRACE_ID'], e.get('headers')]")
    lam = function.client
    header, trace = fresh()
    parent = f"00-{trace}-{CALLER}-01"
    told, _ = traced(function, {}, traceparent=parent)["Body"]
    assert one(whole(collector, trace, [function.name, "run"]), function.name)["parentSpanId"] == CALLER
    assert told.startswith(header.split(";")[0] + ";Parent=")
    # The header of the platform goes before the other, and one that is wrong counts for nothing.
    other, other_trace = fresh()
    told, _ = traced(function, {}, X_Amzn_Trace_Id=other, traceparent=parent)["Body"]
    assert told.startswith(other.split(";")[0])
    told, _ = traced(function, {}, traceparent=parent.replace("-", "_"))["Body"]
    assert trace[8:] not in told and ";Sampled=1" in told
    lam.create_function_url_config(FunctionName=function.name, AuthType="NONE")
    let_everyone(lam, function.name)
    shown = lam.get_function_url_config(FunctionName=function.name)["FunctionUrl"]
    path = "/_neap/url/" + shown.split("//")[1].split(".")[0]
    for index in range(2):
        header, trace = fresh()
        parent = f"00-{trace}-{CALLER}-01"
        told, headers = get(exporting, path, headers=[{"traceparent": parent}, {"X-Amzn-Trace-Id": header}][index]).json()
        assert told.startswith(header.split(";")[0])
        assert (headers["traceparent"], headers["x-amzn-trace-id"]) == (parent, header)
        assert one(whole(collector, trace, [function.name, "run"]), function.name)["parentSpanId"] == CALLER


def test_segments_of_x_ray_become_spans_below_their_run(exporting, collector):
    source = """
import json, os, socket, time
def handler(event, context):
    told = dict(part.split("=", 1) for part in os.environ["_X_AMZN_TRACE_ID"].split(";"))
    now = time.time()
    below = {"id": "00000000000000aa", "name": "query", "namespace": "remote", "start_time": now, "end_time": now}
    one = {"id": event, "trace_id": told["Root"], "parent_id": told["Parent"], "type": "subsegment", "name": "work",
           "start_time": now, "end_time": now + 0.5, "error": True, "annotations": {"tenant": "t1"}, "subsegments": [below]}
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    text = json.dumps({"format": "json", "version": 1}) + "\\n" + json.dumps(one)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(text.encode(), (host, int(port)))
"""
    function = made(exporting, source=source)
    header, trace = fresh()
    assert "FunctionError" not in traced(function, "00000000000000bb", X_Amzn_Trace_Id=header)
    spans = whole(collector, trace, [function.name, "run", "work", "query"])
    work, query = one(spans, "work"), one(spans, "query")
    assert work["parentSpanId"] == one(spans, "run")["spanId"] and query["parentSpanId"] == work["spanId"]
    assert (work["kind"], query["kind"], work["status"]["code"]) == (1, 3, 2)
    assert work["attributes"]["service.name"] == function.name and work["attributes"]["tenant"] == "t1"
    header, trace = fresh()
    segment = {"id": "00000000000000cc", "trace_id": header.split(";")[0].removeprefix("Root="), "name": "shop",
               "start_time": 1.5, "end_time": 2}
    assert not exporting.client("xray").put_trace_segments(TraceSegmentDocuments=[json.dumps(segment)])["UnprocessedTraceSegments"]
    shop = one(whole(collector, trace, ["shop"]), "shop")
    assert shop["kind"] == 2 and shop["attributes"]["service.name"] == "shop" and shop["startTimeUnixNano"] == "1500000000"


def test_who_began_a_trace_decides_whether_it_is_recorded(exporting, collector):
    function = made(exporting)
    header, trace = fresh()
    unsampled = header.replace("Sampled=1", "Sampled=0")
    assert traced(function, 1, X_Amzn_Trace_Id=unsampled)["Body"].startswith(unsampled)
    told = function.invoke(2)["Body"]  # begins one
    begun = told.split(";")[0].removeprefix("Root=1-").replace("-", "")
    assert ";Sampled=1" in told
    spans = whole(collector, begun, [function.name, "run"])
    assert one(spans, function.name)["parentSpanId"] == ""
    assert not collector.spans(trace)


def test_each_attempt_at_an_event_is_recorded(exporting, collector):
    function = made(exporting)
    function.client.put_function_event_invoke_config(FunctionName=function.name, MaximumRetryAttempts=0)
    header, trace = fresh()
    add = lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", header)
    function.client.meta.events.register("before-sign.lambda.Invoke", add)
    function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b'"fail"')
    function.client.meta.events.unregister("before-sign.lambda.Invoke", add)
    spans = whole(collector, trace, [function.name, "run", "accept", "queue"])
    accept, root = one(spans, "accept"), one(spans, function.name)
    assert (accept["parentSpanId"], accept["kind"], accept["status"]) == (CALLER, 4, {})
    assert (root["parentSpanId"], root["status"]["code"], root["attributes"]["neap.attempt"]) == (accept["spanId"], 2, "1")
    # The wait for the first attempt is beside it, that for an environment is within it.
    waited = next(span for span in spans["queue"] if span["parentSpanId"] == accept["spanId"])
    assert waited["startTimeUnixNano"] == accept["startTimeUnixNano"]
    assert waited["endTimeUnixNano"] == max(accept["startTimeUnixNano"], root["startTimeUnixNano"])


def test_a_refused_call_is_told(exporting, collector):
    function = made(exporting)
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    header, trace = fresh()
    with pytest.raises(function.client.exceptions.TooManyRequestsException):
        traced(function, 1, X_Amzn_Trace_Id=header)
    spans = whole(collector, trace, [function.name])
    root = one(spans, function.name)
    assert set(spans) == {function.name} and root["parentSpanId"] == CALLER
    assert (root["status"]["code"], root["attributes"]["error.type"]) == (2, "429")


def test_lines_belong_to_the_span_of_their_run(exporting, collector):
    function = made(exporting)
    header, trace = fresh()
    reply = traced(function, "here", X_Amzn_Trace_Id=header)
    text = lambda line: line["body"]["stringValue"]
    mine = lambda: [line for line in collector.lines() if line["resource"]["service.name"] == function.name]
    eventually(lambda: any(text(line).startswith("REPORT") for line in mine()))
    by_text = {text(line).split()[0].rstrip(":"): line for line in mine()}
    assert "traceId" not in by_text["INIT_START"] and "traceId" not in by_text["loaded"]
    run = one(whole(collector, trace, ["run"]), "run")["spanId"]
    for name in ("START", "line", "END", "REPORT"):
        line = by_text[name]
        assert (line["traceId"], line["spanId"]) == (trace, run), name
        assert values(line["attributes"])["faas.invocation_id"] == reply["ResponseMetadata"]["RequestId"]
        assert line["resource"]["aws.log.group.names"] == f"/aws/lambda/{function.name}"
        assert line["resource"]["cloud.region"] == "us-east-1"
    traced(function, "fail", X_Amzn_Trace_Id=header)
    failure = eventually(lambda: [line for line in mine() if text(line).startswith("[ERROR]")])[0]
    assert (failure["severityText"], failure["severityNumber"], failure["traceId"]) == ("ERROR", 17, trace)


def test_metrics_are_those_of_the_metrics_page(exporting, collector):
    function = made(exporting)
    for _ in range(3):
        function(1)

    def point(name, data):
        metric = collector.metrics().get(name, {}).get(data, {"dataPoints": []})
        points = {values(point["attributes"]).get("function"): point for point in metric["dataPoints"]}
        return points.get(function.name)

    eventually(lambda: (point("neap_invocations", "sum") or {}).get("asDouble") == 3)
    duration = point("neap_duration_seconds", "histogram")
    assert duration["count"] == "3" == str(sum(map(int, duration["bucketCounts"])))
    assert len(duration["bucketCounts"]) == len(duration["explicitBounds"]) + 1
    shown = {line.split()[2] for line in get(exporting, "/_neap/metrics").text.splitlines() if line.startswith("# TYPE")}
    # A family without any value yet is only announced there.
    assert set(collector.metrics()) <= shown and {"neap_memory_limit_bytes", "neap_otlp_exported"} <= set(collector.metrics())


def counts(node):
    """`neap_otlp_…_total` by name and signal."""
    lines = [line for line in get(node, "/_neap/metrics").text.splitlines() if line.startswith("neap_otlp_")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_invocations_go_on_without_the_collector_and_what_waited_arrives_later():
    first = Collector()
    with running(config=settings(first)) as node:
        function = made(node)
        function(1)
        eventually(lambda: first.bodies["/v1/traces"])
        first.close()
        traces = []
        for number in range(20):
            header, trace = fresh()
            assert "FunctionError" not in traced(function, number, X_Amzn_Trace_Id=header)
            traces.append(trace)
        failed = 'neap_otlp_failures_total{signal="traces"}'
        eventually(lambda: counts(node)[failed] >= 2)
        second = Collector(first.port)
        try:
            for trace in traces:
                whole(second, trace, [function.name, "run"])
            assert counts(node)['neap_otlp_dropped_total{signal="traces"}'] == 0
            # It is there, but takes nothing for a while.
            second.status, asked = 503, second.asked
            header, trace = fresh()
            traced(function, 1, X_Amzn_Trace_Id=header)
            eventually(lambda: second.asked >= asked + 4)
            assert not second.spans(trace)
            second.status = 200
            whole(second, trace, [function.name, "run"])
            # What it refuses for good is not tried again.
            refused = 'neap_otlp_refused_total{signal="traces"}'
            second.status, before = 400, counts(node)[refused]
            header, trace = fresh()
            traced(function, 1, X_Amzn_Trace_Id=header)
            eventually(lambda: counts(node)[refused] == before + 1)
            second.status = 200
            header, later = fresh()
            traced(function, 1, X_Amzn_Trace_Id=header)
            whole(second, later, [function.name, "run"])
            assert not second.spans(trace)
        finally:
            second.close()


def test_the_end_of_the_node_brings_the_rest_away():
    collector = Collector()
    try:
        with running(config=settings(collector).replace("interval_ms = 50", "interval_ms = 3600000")) as node:
            function = made(node)
            header, trace = fresh()
            traced(function, 1, X_Amzn_Trace_Id=header)
            assert not collector.asked
        assert set(collector.spans(trace)) >= {function.name, "start", "run"}
        assert any(line["body"]["stringValue"].startswith("line of 1") for line in collector.lines())
        assert "neap_invocations" in collector.metrics()
    finally:
        collector.close()


def test_only_what_is_asked_for_is_exported():
    collector = Collector()
    try:
        with running(config=settings(collector, 'export = ["logs"]')) as node:
            function = made(node)
            told = function(1)
            eventually(lambda: any("line of 1" in line["body"]["stringValue"] for line in collector.lines()))
            assert ";Sampled=0" in told
        assert not collector.bodies["/v1/traces"] and not collector.bodies["/v1/metrics"]
        assert not any("traceId" in line for line in collector.lines())
    finally:
        collector.close()


@pytest.mark.parametrize("config, told", [
    ('endpoint = "http://127.0.0.1:1/path"\nprotocol = "grpc"', "gRPC has no path"),
    ('endpoint = "http://127.0.0.1:1"\nprotocol = "udp"', "udp"),
    ('endpoint = "http://127.0.0.1:1"\nsample_ratio = 2.0', "sample_ratio"),
    ('interval_ms = 100', "otlp.endpoint is missing"),
    ('endpoint = "http://127.0.0.1:1"\nexport = ["profiles"]', "profiles"),
    ('endpoint = "http://127.0.0.1:1"\ncompression = "zstd"', "compression"),
])
def test_settings_that_would_have_no_effect_are_refused(tmp_path, config, told):
    (tmp_path / "neap.toml").write_text("[otlp]\n" + config)
    done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and told in done.stderr, done.stderr
