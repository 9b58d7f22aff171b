"""What WebAssembly components reach over HTTP: Neap itself, and others as far as `network.egress` lets functions."""

import contextlib
import http.server
import json
import pathlib
import re
import shutil
import ssl
import threading
from urllib.parse import urlsplit

import pytest
import wasmtime
from conftest import ROLE, eventually, package, root, running
from network import NODE, OTHER, PRIVATE, PUBLIC, UNREACHABLE, World
from test_egress import TOOLS
from test_otlp_protocols import certificate
from test_urls import Url, let_everyone
from test_wasm import SOURCES, program

DESTINATION_UNAVAILABLE, CONNECTION_REFUSED, CONNECTION_LIMIT, CERTIFICATE, DENIED = 3, 6, 11, 13, 15
DNS = 1
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
PORT, TLS_PORT = 8080, 8443
# More than all buffers on the way.
LARGE = 100 << 20


@pytest.fixture(scope="session")
def outgoing():
    """A component that asks what its event says: the test component with the interfaces for requests to others."""
    text = (SOURCES / "outgoing.wat").read_text()
    parts = dict(re.findall(r"^;; ([A-Z]+)\n(.*?)(?=^;; [A-Z]+\n|\Z)", text, re.M | re.S))
    whole = (SOURCES / "component.wat").read_text().replace("    CORE\n", parts.pop("CORE"))
    whole = whole.replace('  (import "wasi:http/types', parts.pop("POLL") + '  (import "wasi:http/types')
    for name, part in parts.items():
        whole = re.sub(f" *;; MORE {name}\n", lambda _: part, whole)
    return bytes(wasmtime.wat2wasm(whole))


class Asker:
    """A deployed component of that kind."""

    def __init__(self, node, binary, name="asker", **options):
        self.node, self.name, self.lam = node, name, node.client("lambda")
        code = {"ZipFile": package(program(binary))}
        options = {"Timeout": 30, "Handler": "x", **options}
        self.lam.create_function(FunctionName=name, Runtime="provided.al2023", Role=ROLE, Code=code, **options)
        self.lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})

    def raw(self, event):
        reply = self.lam.invoke(FunctionName=self.name, Payload=json.dumps(event).encode())
        return reply.get("FunctionError"), reply["Payload"].read().decode()

    def __call__(self, authority, path="/hello", body="", secure=False):
        failed, text = self.raw(" ".join(["s" if secure else "h", authority, path] + [body] * bool(body)))
        assert not failed, text
        head, _, rest = text.partition("\n")
        kind, number = head.split()
        return int(number) if kind == "error" else (int(number), rest)


class Web(http.server.ThreadingHTTPServer):
    """Servers at every address of a namespace."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, namespace, port, context=None):
        self.came, self.open, self.release = [], [], threading.Event()
        namespace.inside(super().__init__, ("0.0.0.0", port), Page)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client):
        pass  # Clients that go away are what some tests are about.

    def close(self):
        self.release.set()
        self.shutdown()
        self.server_close()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        here = self.connection.getsockname()[0]
        self.server.came.append((here, self.client_address[0], self.headers["host"]))
        if self.path == "/hello":
            self.answer(f"hello from {here}".encode())
        elif self.path == "/redirect":
            self.answer(b"", 302, location=f"http://{PRIVATE[0]}:{PORT}/hello")
        elif self.path == "/large":
            self.send_response(200)
            self.send_header("content-length", str(LARGE))
            self.end_headers()
            for _ in range(LARGE >> 16):
                self.wfile.write(bytes(1 << 16))
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("content-length", "100")
            self.end_headers()
            self.wfile.write(b"ten bytes.")
            self.close_connection = True
        elif self.path == "/hold":
            self.server.open.append(self)
            self.connection.recv(1)  # until the other side is gone
            self.server.open.remove(self)
            self.close_connection = True
        else:
            self.answer(b"no such page", 404)

    def do_POST(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.answer(body)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("certificates"), [PUBLIC], ["public.test"])


@pytest.fixture(scope="module")
def world(certificates):
    if MISSING:
        pytest.skip(f"a world of namespaces is made with {', '.join(MISSING)}")
    with World() as world, contextlib.ExitStack() as stack:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates[1], certificates[2])
        for name, port, how in (("web", PORT, None), ("tls", TLS_PORT, context)):
            server = Web(world.beyond, port, how)
            stack.callback(server.close)
            setattr(world, name, server)
        yield world


@pytest.fixture(scope="module")
def node(world, certificates):
    with world.node(environment={"SSL_CERT_FILE": str(certificates[0])}) as node:
        yield node
        assert node.alive(), (node.data / "neap.log").read_text()[-4000:]


@pytest.fixture(scope="module")
def ask(node, outgoing):
    return Asker(node, outgoing)


@root
def test_public_hosts_are_reached_by_address_and_by_name(ask, world):
    assert ask(f"{PUBLIC}:{PORT}") == (200, f"hello from {PUBLIC}")
    assert ask(f"public.test:{PORT}") == (200, f"hello from {PUBLIC}")
    assert world.web.came[-1] == (PUBLIC, NODE, f"public.test:{PORT}")
    assert ask(f"{OTHER}:{PORT}", "/nothing")[0] == 404
    body = "x" * 20_000
    assert ask(f"{PUBLIC}:{PORT}", "/echo", body) == (200, body)


@root
def test_what_processes_do_not_reach_is_denied(ask, node, world):
    before = len(world.web.came)
    hosts = [*PRIVATE, NODE, "127.0.0.1", "127.0.0.2", "0.0.0.0", "224.0.0.1", "[2001:db8::1]", "[::1]"]
    names = ["inward.test", "metadata.test", "host.test", "localhost", "127.1", "2130706433"]
    assert {host: ask(f"{host}:{PORT}") for host in hosts + names} == dict.fromkeys(hosts + names, DENIED)
    assert ask(f"127.0.0.1:{node.inner_port}", "/_neap/health") == DENIED
    assert len(world.web.came) == before
    # A redirect is an answer; where it leads is judged when it is asked.
    assert ask(f"{PUBLIC}:{PORT}", "/redirect") == (302, "")


@root
def test_failures_are_told_by_their_names(ask):
    assert ask(f"{PUBLIC}:9") == CONNECTION_REFUSED
    assert ask(f"{UNREACHABLE}:{PORT}") == DESTINATION_UNAVAILABLE
    assert ask(f"nobody.test:{PORT}") == DNS
    status, text = ask(f"{PUBLIC}:{PORT}", "/cut")
    assert status == 200 and text.startswith("ten bytes.") and text.endswith("broken\n")


@root
def test_tls_is_spoken_with_whom_the_host_trusts(ask, node, outgoing, world, tmp_path):
    assert ask(f"{PUBLIC}:{TLS_PORT}", secure=True) == (200, f"hello from {PUBLIC}")
    assert ask(f"public.test:{TLS_PORT}", secure=True) == (200, f"hello from {PUBLIC}")
    assert ask(f"{OTHER}:{TLS_PORT}", secure=True) == CERTIFICATE, "of another host"
    assert ask(f"{PRIVATE[0]}:{TLS_PORT}", secure=True) == DENIED
    stranger = certificate(tmp_path)[0]
    with world.node(environment={"SSL_CERT_FILE": str(stranger)}) as other:
        assert Asker(other, outgoing)(f"{PUBLIC}:{TLS_PORT}", secure=True) == CERTIFICATE, "of a stranger"


@root
def test_a_large_answer_waits_for_its_reader(node, outgoing):
    asker = Asker(node, outgoing, "streamer", MemorySize=128, Timeout=60)
    url = asker.lam.create_function_url_config(FunctionName="streamer", AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    let_everyone(asker.lam, "streamer")
    url = Url(node, url["FunctionUrl"])
    peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{node.process.pid}/status").read_text())[1]) >> 10
    before, got = peak(), 0
    with url("/", "POST", data=f'"h {PUBLIC}:{PORT} /large"', stream=True) as answer:
        for piece in answer.iter_content(1 << 16):
            got += len(piece)
    assert got == LARGE + len("status 200\n")
    assert peak() - before < 24, "MiB, of which 64 KiB are buffers"


@root
def test_requests_of_an_instance_are_limited_and_end_with_it(node, outgoing, world):
    asker = Asker(node, outgoing, "many", Timeout=10)
    assert asker(f"*7{PUBLIC}:{PORT}", "/hold") == CONNECTION_LIMIT
    eventually(lambda: not world.web.open)
    # Cut off by its timeout.
    asker = Asker(node, outgoing, "late", Timeout=1)
    assert asker.raw(f"h {PUBLIC}:{PORT} /hold")[0] == "Unhandled"
    eventually(lambda: not world.web.open)


@root
def test_policies_hold_for_components(world, outgoing):
    with world.node('[network]\negress = "platform-only"\n') as node:
        ask = Asker(node, outgoing)
        assert ask(f"{PUBLIC}:{PORT}") == DENIED
        assert ask("127.0.0.1:4566", "/_neap/health")[0] == 200
    with world.node('[network]\negress = "none"\n') as node:
        ask = Asker(node, outgoing)
        assert ask(f"{PUBLIC}:{PORT}") == DENIED
        assert ask("127.0.0.1:4566", "/_neap/health") == DENIED
    with world.node(f'[network]\nallow = ["{PRIVATE[0]}"]\nrefuse = ["{OTHER}"]\n') as node:
        ask = Asker(node, outgoing)
        assert ask(f"{PRIVATE[0]}:{PORT}") == (200, f"hello from {PRIVATE[0]}")
        assert ask(f"{OTHER}:{PORT}") == DENIED and ask(f"{PUBLIC}:{PORT}")[0] == 200


def test_neap_itself_is_reached_at_its_endpoint(outgoing):
    with running(config='[network]\negress = "platform-only"\n') as node:
        ask = Asker(node, outgoing)
        status, health = ask("127.0.0.1:4566", "/_neap/health")
        assert status == 200 and json.loads(health)["status"]
        # Another function, by its URL; and one that needs a signature, which is missing.
        other = Asker(node, outgoing, "other")
        made = other.lam.create_function_url_config(FunctionName="other", AuthType="NONE")
        let_everyone(other.lam, "other")
        host = urlsplit(made["FunctionUrl"]).hostname
        assert host.endswith(".localhost")
        status, text = ask(f"{host}:4566", "/", "'h 127.0.0.1:4566 /_neap/health'")
        assert status == 200 and text.startswith("status 200\n")
        assert ask("127.0.0.1:4566", "/2015-03-31/functions/other/invocations", "1")[0] == 403
