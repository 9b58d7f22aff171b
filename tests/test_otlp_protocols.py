"""Export by each protocol of OTLP, to collectors that decode it with OpenTelemetry's own messages."""

import concurrent.futures
import datetime
import gzip
import ipaddress
import json
import ssl

import grpc
import pytest
from conftest import eventually, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from test_otlp import CALLER, SOURCE, Collector, counts, fresh, made, traced

REQUESTS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}
ANSWERS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceResponse,
    "/v1/logs": logs_service_pb2.ExportLogsServiceResponse,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceResponse,
}


class Taken:
    """What a collector has taken, decoded."""

    def __init__(self):
        self.requests = {path: [] for path in REQUESTS}
        self.headers, self.rejected = [], 0

    def response(self, path):
        answer = ANSWERS[path]()
        if path == "/v1/traces" and self.rejected:
            answer.partial_success.rejected_spans, self.rejected = self.rejected, 0
        return answer

    def spans(self, trace):
        """Spans of a trace by name, and the attributes of their resource."""
        return {
            span.name: (span, attributes(resource.resource.attributes))
            for request in list(self.requests["/v1/traces"])
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace
        }

    def lines(self):
        return [
            (line, attributes(resource.resource.attributes))
            for request in list(self.requests["/v1/logs"])
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for line in scope.log_records
        ]

    def metrics(self):
        """The metrics of the last snapshot by name."""
        if not self.requests["/v1/metrics"]:
            return {}
        (resource,) = self.requests["/v1/metrics"][-1].resource_metrics
        return {metric.name: metric for metric in resource.scope_metrics[0].metrics}


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Grpc(Taken):
    """A collector that speaks gRPC; `refusals` are statuses that it answers next, with details."""

    def __init__(self, credentials=None):
        super().__init__()
        self.refusals, self.asked = [], 0
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        for module, service, path in (
            (trace_service_pb2_grpc, "Trace", "/v1/traces"),
            (logs_service_pb2_grpc, "Logs", "/v1/logs"),
            (metrics_service_pb2_grpc, "Metrics", "/v1/metrics"),
        ):
            export = lambda _, request, context, path=path: self.export(path, request, context)
            servicer = type(service, (getattr(module, f"{service}ServiceServicer"),), {"Export": export})()
            getattr(module, f"add_{service}ServiceServicer_to_server")(servicer, self.server)
        address = "127.0.0.1:0"
        self.port = self.server.add_secure_port(address, credentials) if credentials else self.server.add_insecure_port(address)
        self.server.start()

    def export(self, path, request, context):
        if path == "/v1/traces":
            self.asked += 1
            if self.refusals:
                code, details = self.refusals.pop(0)
                if details:
                    context.set_trailing_metadata((("grpc-status-details-bin", details),))
                context.abort(code, "not now: 100%")
        self.headers.append(dict(context.invocation_metadata()))
        self.requests[path].append(request)
        return self.response(path)

    def close(self):
        self.server.stop(None).wait()


class Http(Taken, Collector):
    """A collector that speaks HTTP with protobuf, or with JSON that it only keeps as it is."""

    def __init__(self, tls=None):
        Taken.__init__(self)
        Collector.__init__(self, tls=tls)
        self.bodies = self.requests

    def decoded(self, path, headers, body):
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return json.loads(body) if headers["content-type"] == "application/json" else REQUESTS[path].FromString(body)

    def answer(self, path, headers):
        is_json = headers["content-type"] == "application/json"
        return b"{}" if is_json else self.response(path).SerializeToString()


def settings(collector, protocol, more="", scheme="http"):
    return f'[otlp]\nendpoint = "{scheme}://127.0.0.1:{collector.port}"\nprotocol = "{protocol}"\ninterval_ms = 50\n{more}\n'


def check(node, collector):
    """Spans, lines and metrics of one invocation arrive as they are meant."""
    function = made(node, SOURCE)
    header, trace = fresh()
    reply = traced(function, "here", X_Amzn_Trace_Id=header)
    assert "FunctionError" not in reply
    names = {function.name, "start", "init", "run"}
    eventually(lambda: names <= set(collector.spans(trace)))
    spans = collector.spans(trace)
    root, resource = spans[function.name]
    assert (root.parent_span_id.hex(), root.kind, root.status.code) == (CALLER, 2, 0)
    assert attributes(root.attributes)["faas.coldstart"] is True
    assert attributes(root.attributes)["faas.invocation_id"] == reply["ResponseMetadata"]["RequestId"]
    assert (resource["faas.name"], resource["faas.max_memory"]) == (function.name, 128 * 1024 * 1024)
    run, _ = spans["run"]
    assert run.parent_span_id == root.span_id
    assert 0 < root.start_time_unix_nano <= run.start_time_unix_nano <= run.end_time_unix_nano <= root.end_time_unix_nano
    line = lambda: next((one for one, _ in collector.lines() if one.body.string_value.startswith("line of here")), None)
    assert (eventually(line).trace_id.hex(), line().span_id, line().flags) == (trace, run.span_id, 1)
    point = lambda: next((point for point in collector.metrics()["neap_invocations"].sum.data_points
                          if attributes(point.attributes)["function"] == function.name), None)
    eventually(lambda: "neap_invocations" in collector.metrics() and point())
    invocations = collector.metrics()["neap_invocations"].sum
    assert point().as_double == 1 and invocations.is_monotonic and invocations.aggregation_temporality == 2
    histogram = collector.metrics()["neap_duration_seconds"].histogram.data_points
    mine = next(point for point in histogram if attributes(point.attributes).get("function") == function.name)
    assert mine.count == sum(mine.bucket_counts) == 1 and len(mine.bucket_counts) == len(mine.explicit_bounds) + 1
    return function


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol, kind", [("grpc", Grpc), ("http/protobuf", Http)])
def test_everything_arrives_by_protocol_buffers(protocol, kind, compression):
    collector = kind()
    more = f'compression = "{compression}"\nheaders = {{ "X-Tenant" = "t1" }}'
    try:
        with running(config=settings(collector, protocol, more)) as node:
            check(node, collector)
        headers = {name.lower(): value for name, value in dict(collector.headers[-1]).items()}
        assert headers["x-tenant"] == "t1" and headers["user-agent"].startswith("neap/")
        if kind is Http:
            assert headers["content-type"] == "application/x-protobuf"
            assert headers.get("content-encoding") == (None if compression == "none" else "gzip")
    finally:
        collector.close()


def test_json_is_compressed_as_well():
    collector = Http()
    try:
        with running(config=settings(collector, "http/json", 'compression = "gzip"')) as node:
            made(node)(1)
            eventually(lambda: all(collector.requests.values()))
        assert collector.headers[-1]["Content-Encoding"] == "gzip"
        assert collector.requests["/v1/traces"][0]["resourceSpans"]
    finally:
        collector.close()


def retry_info(milliseconds):
    """`google.rpc.Status` with a `RetryInfo`, by hand: no package of these is needed else."""
    field = lambda number, payload: bytes([number << 3 | 2, len(payload)]) + payload
    nanos, varint = milliseconds * 1_000_000, b""
    while nanos:
        varint, nanos = varint + bytes([nanos & 127 | (128 if nanos > 127 else 0)]), nanos >> 7
    info = field(1, b"\x10" + varint)
    return field(3, field(1, b"type.googleapis.com/google.rpc.RetryInfo") + field(2, info))


def test_statuses_of_grpc_decide_whether_a_batch_is_sent_again():
    collector = Grpc()
    try:
        with running(config=settings(collector, "grpc")) as node:
            function = made(node)
            failed, refused = (f'neap_otlp_{name}_total{{signal="traces"}}' for name in ("failures", "refused"))

            def sent(*refusals):
                """A trace, once the collector has said all of this."""
                collector.refusals.extend(refusals)
                header, trace = fresh()
                traced(function, 1, X_Amzn_Trace_Id=header)
                eventually(lambda: not collector.refusals)
                return trace

            eventually(lambda: counts(node))
            again = [(grpc.StatusCode.UNAVAILABLE, None), (grpc.StatusCode.RESOURCE_EXHAUSTED, retry_info(30)),
                     (grpc.StatusCode.ABORTED, None)]
            trace = sent(*again)
            eventually(lambda: function.name in collector.spans(trace))
            assert counts(node)[failed] == 3 and counts(node)[refused] == 0
            for refusal in ((grpc.StatusCode.INVALID_ARGUMENT, None), (grpc.StatusCode.RESOURCE_EXHAUSTED, None)):
                before = counts(node)[refused]
                trace = sent(refusal)
                eventually(lambda: counts(node)[refused] == before + 1)
                later = sent()
                eventually(lambda: function.name in collector.spans(later))
                assert not collector.spans(trace)
            before, collector.rejected = counts(node)[refused], 1
            trace = sent()
            eventually(lambda: counts(node)[refused] == before + 1)
    finally:
        collector.close()


def certificate(folder, addresses=("127.0.0.1",), hosts=()):
    """An authority that nobody else trusts, and a certificate of it for addresses and names."""
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("authority", "collector")]
    build = lambda index: (x509.CertificateBuilder().subject_name(names[index]).issuer_name(names[0])
                           .public_key(keys[index].public_key()).serial_number(x509.random_serial_number())
                           .not_valid_before(now - day).not_valid_after(now + day))
    authority = build(0).add_extension(x509.BasicConstraints(True, None), True).sign(keys[0], hashes.SHA256())
    named = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses] + [x509.DNSName(one) for one in hosts]
    own = build(1).add_extension(x509.SubjectAlternativeName(named), False).sign(keys[0], hashes.SHA256())
    pem = lambda one: one.public_bytes(serialization.Encoding.PEM)
    key = keys[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content in {"authority.pem": pem(authority), "own.pem": pem(own), "own.key": key}.items():
        (folder / name).write_bytes(content)
    return folder / "authority.pem", folder / "own.pem", folder / "own.key"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_collectors_are_reached_by_tls_and_only_those_that_the_host_trusts(tmp_path, protocol):
    authority, own, key = certificate(tmp_path)
    if protocol == "grpc":
        collector = Grpc(grpc.ssl_server_credentials([(key.read_bytes(), own.read_bytes())]))
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own, key)
        collector = Http(context)
    try:
        config = settings(collector, protocol, scheme="https")
        with running(config=config, environment={"SSL_CERT_FILE": str(authority)}) as node:
            check(node, collector)
        (tmp_path / "other").mkdir()
        stranger, _, _ = certificate(tmp_path / "other")
        before = len(collector.headers)
        with running(config=config, environment={"SSL_CERT_FILE": str(stranger)}) as node:
            made(node)(1)
            eventually(lambda: counts(node)['neap_otlp_failures_total{signal="traces"}'] >= 2)
        assert len(collector.headers) == before
    finally:
        collector.close()


def test_a_share_of_the_traces_that_nobody_decided_about_is_exported():
    collector = Grpc()
    try:
        with running(config=settings(collector, "grpc", "sample_ratio = 0.0")) as node:
            function = made(node)
            told = [function.invoke(number)["Body"] for number in range(3)]
            assert all(";Sampled=0" in text for text in told)
            header, trace = fresh()
            assert ";Sampled=1" in traced(function, 4, X_Amzn_Trace_Id=header)["Body"]
            eventually(lambda: function.name in collector.spans(trace))
            for text in told:
                assert not collector.spans(text.split(";")[0].removeprefix("Root=1-").replace("-", ""))
    finally:
        collector.close()
