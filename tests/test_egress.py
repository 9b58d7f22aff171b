"""What functions reach: Neap and the internet, never the host, its private networks or each other.

The node runs in a network namespace made for it, whose "internet" is another one (`network.py`)."""

import json
import shutil
import subprocess
import threading

import pytest
from conftest import BINARY, ROLE, Function, eventually, package, root
from network import (METADATA, NOBODY, NODE, OTHER, PRIVATE, PUBLIC, RESOLVER, UNREACHABLE, Servers, World)
from test_rootless import ACCEPTED

TOOLS = ["ip", "nsenter", "setpriv", "sysctl", "unshare"]
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = [root, pytest.mark.skipif(bool(MISSING), reason=f"a world of namespaces is made with {', '.join(MISSING)}")]

# Runs code that it is sent; an error of the operating system is answered by its name.
SOURCE = """
import concurrent.futures, ctypes, errno, os, socket, struct, subprocess, time, urllib.request, urllib.error
libc = ctypes.CDLL(None, use_errno=True)

def tcp(host, port, data=b"hello", timeout=10):
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer.decode("latin1")

def udp(host, port, data=b"hello", timeout=10):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect((host, port))
        sock.send(data)
        return sock.recv(65536).decode("latin1")

def attempt(work, *arguments, **named):
    try:
        return work(*arguments, **named)
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def handler(event, context):
    scope = dict(globals())
    exec(event, scope)
    return scope["result"]
"""


def install(client, name="probe", **options):
    options = {"Timeout": 60, "MemorySize": 256, **options}
    made = client.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                                  Code={"ZipFile": package({"app.py": SOURCE})}, **options)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
    return Function(client, name, made)


@pytest.fixture(scope="module")
def world():
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def node(world):
    with world.node() as node:
        yield node
        assert node.alive(), (node.data / "neap.log").read_text()[-4000:]


@pytest.fixture(scope="module")
def lam(node):
    return node.client("lambda")


@pytest.fixture(scope="module")
def probe(lam):
    return install(lam)


def test_a_public_host_is_reached_from_the_nodes_address(probe, world):
    before = len(world.servers.visits(PUBLIC))
    assert probe(f"result = tcp('{PUBLIC}', 80)") == "hello"
    assert world.servers.visits(PUBLIC)[before:] == [("tcp", PUBLIC, NODE)]


def test_much_data_passes_unchanged_in_both_directions(probe):
    code = f"""
import hashlib, threading
data = os.urandom(1 << 20) * 16
connection = socket.create_connection(('{PUBLIC}', 80), 10)
threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)), daemon=True).start()
digest, length = hashlib.sha256(), 0
while piece := connection.recv(1 << 16):
    digest.update(piece)
    length += len(piece)
result = [length, digest.digest() == hashlib.sha256(data).digest()]
"""
    assert probe(code) == [16 << 20, True]


def test_datagrams_reach_public_hosts_and_answers_come_back_from_there(probe, world):
    before = len(world.servers.visits(PUBLIC))
    code = f"""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(10)
    result = []
    for host, data in (('{PUBLIC}', b'one'), ('{OTHER}', b'two'), ('{PUBLIC}', bytes(9000))):
        sock.sendto(data, (host, 80))
        answer, sender = sock.recvfrom(65536)
        result.append([answer == data, *sender])
"""
    assert probe(code) == [[True, PUBLIC, 80], [True, OTHER, 80], [True, PUBLIC, 80]]
    assert set(world.servers.visits(PUBLIC)[before:]) == {("udp", PUBLIC, NODE)}


def test_names_are_resolved_by_whom_the_host_asks(probe, world):
    assert probe("result = socket.gethostbyname('public.test')") == PUBLIC
    assert probe("result = tcp('public.test', 80)") == "hello"
    assert ("public.test", 1) in world.resolver.asked
    assert "Name or service not known" in probe("""
try:
    result = socket.gethostbyname('nobody.test')
except socket.gaierror as error:
    result = str(error)
""")


def test_names_are_resolved_over_connections_too(probe):
    code = """
query = b'\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x06public\\x04test\\x00\\x00\\x01\\x00\\x01'
nameserver = open('/etc/resolv.conf').read().split()[1]
with socket.create_connection((nameserver, 53), 10) as connection:
    connection.sendall(struct.pack('>H', len(query)) + query)
    result = socket.inet_ntoa(connection.recv(4096)[-4:])
"""
    assert probe(code) == PUBLIC


def test_resolvers_hear_questions_only(probe, world):
    """The host may be trusted with more, such as changing names or copying zones."""
    code = """
def message(flags, kind):
    return b'\\x12\\x34' + bytes([flags, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + b'\\x06public\\x04test\\x00' + struct.pack('>HH', kind, 1)
result = []
for data in (message(1, 1), message(0x28, 6), message(1, 252), message(0x80, 1), b'GET / HTTP/1.1'):
    result.append(len(attempt(udp, '192.0.0.1', 53, data, timeout=0.5)))
    result.append(len(attempt(tcp, '192.0.0.1', 53, struct.pack('>H', len(data)) + data)))
"""
    before = len(world.resolver.asked)
    answers = probe(code)
    assert answers[0] > 20 and answers[1] > 20 and all(length <= len("ECONNRESET") for length in answers[2:]), answers
    assert world.resolver.asked[before:] == [("public.test", 1)] * 2


def test_failures_are_those_of_the_network(probe):
    assert probe(f"result = attempt(tcp, '{PUBLIC}', 81)") == "ECONNREFUSED"
    assert probe(f"result = attempt(tcp, '{UNREACHABLE}', 80)") == "EHOSTUNREACH"
    half = f"""
with socket.create_connection(('{PUBLIC}', 80), 10) as connection:
    connection.sendall(b'cut')
    result = [connection.recv(100).decode()]
    connection.sendall(b'x')
    result.append(attempt(connection.recv, 100))
"""
    assert probe(half) == ["half of the ans", "ECONNRESET"], "what was cut off does not look whole"


@pytest.mark.parametrize("address", [*PRIVATE, "192.0.0.8", "0.1.2.3", "224.0.0.1", "240.0.0.1",
                                     "255.255.255.255"])
def test_private_ranges_are_refused_at_once(probe, world, address):
    code = f"""
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
result = [attempt(tcp, '{address}', 80), attempt(tcp, '{address}', 53), attempt(udp, '{address}', 80), attempt(sock.sendto, b'x', ('{address}', 80)),
          attempt(tcp, '::ffff:{address}', 80), attempt(udp, '::ffff:{address}', 53)]
"""
    before = list(world.servers.came)
    refusals = {"EACCES", "ENETUNREACH"}
    assert set(probe(code)) <= refusals
    assert world.servers.came == before


def test_names_that_lead_inward_are_refused(probe):
    assert probe("result = [attempt(tcp, name, 80) for name in ('inward.test', 'metadata.test', 'host.test')]") \
        == ["EACCES", "EACCES", "EHOSTUNREACH"]


def test_the_hosts_own_services_are_refused_at_every_address(probe, world, node):
    own = Servers(world.host, port=8080)
    try:
        ports = (8080, node.inner_port)
        code = f"""
result = []
for port in {ports}:
    result += [attempt(tcp, host, port) for host in ('{NODE}', '127.0.0.1', '127.0.0.2', '0.0.0.0', 'localhost', '192.0.0.1', '192.0.0.2',
                                                     '::ffff:{NODE}', '::ffff:127.0.0.1', '::1', '198.51.100.3')]
    result += [attempt(udp, host, port, timeout=1) for host in ('{NODE}', '127.0.0.1', '192.0.0.1', '192.0.0.2', '198.51.100.3')]
"""
        answers = probe(code)
        assert set(answers) <= {"EHOSTUNREACH", "ECONNREFUSED", "ETIMEDOUT", "EACCES", "ENETUNREACH", "EADDRNOTAVAIL"}, answers
        assert own.came == []
    finally:
        own.close()


def test_addresses_that_the_host_gets_later_are_its_own_too(probe, world):
    own = Servers(world.host, port=8081)
    try:
        assert probe(f"result = attempt(tcp, '203.0.113.77', 8081)") != "hello"
        world.host.ip("address", "add", "203.0.113.77/32", "dev", "lo")
        assert probe(f"result = attempt(tcp, '203.0.113.77', 8081)") == "EHOSTUNREACH"
        assert own.came == []
    finally:
        world.host.ip("address", "del", "203.0.113.77/32", "dev", "lo")
        own.close()


def test_other_environments_are_out_of_reach(lam, probe):
    """One listens everywhere while another tries every way to it."""
    victim = install(lam, "victim")
    listens = """
came = []
servers = [socket.create_server(('0.0.0.0', 5000)), socket.create_server(('::', 5001), family=socket.AF_INET6)]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('0.0.0.0', 5000)); servers.append(udp)
abstract = socket.socket(socket.AF_UNIX); abstract.bind('\\0neap-test'); abstract.listen(); servers.append(abstract)
with socket.create_connection(('%s', 80), 10) as told:
    told.sendall(b'listening')
    told.recv(100)
    time.sleep(4)
for server in servers:
    server.setblocking(False)
    came.append(attempt(server.recv if server is udp else server.accept, *([1] if server is udp else [])))
result = [one if isinstance(one, str) else 'came' for one in came]
""" % PUBLIC
    answers = []
    thread = threading.Thread(target=lambda: answers.append(victim(listens)), daemon=True)
    thread.start()
    attack = """
result = []
for host in ('192.0.0.2', '192.0.0.1', '127.0.0.1', '127.1.2.3', '0.0.0.0', '::1', '::ffff:192.0.0.2'):
    for port in (5000, 5001):
        result += [attempt(tcp, host, port, timeout=1), attempt(udp, host, port, timeout=0.1)]
other = socket.socket(socket.AF_UNIX)
result.append(attempt(other.connect, '\\0neap-test'))
for family, kind, protocol in ((socket.AF_PACKET, socket.SOCK_RAW, 3), (socket.AF_PACKET, socket.SOCK_DGRAM, 3), (socket.AF_INET, socket.SOCK_RAW, 1),
                               (socket.AF_INET, socket.SOCK_DGRAM, 1), (socket.AF_INET, socket.SOCK_RAW, 255), (socket.AF_INET6, socket.SOCK_RAW, 58)):
    result.append(attempt(socket.socket, family, kind, protocol))
"""
    for _ in range(3):
        tried = probe(attack)
        assert "hello" not in tried and all(isinstance(one, str) for one in tried), tried
        assert tried[-6:] == ["EAFNOSUPPORT", "EAFNOSUPPORT", "EPERM", "EACCES", "EPERM", "EPERM"]
    thread.join()
    assert answers == [["EAGAIN"] * 4]


def test_the_way_out_cannot_be_bent(probe, world):
    """Options and messages that would lead past the rules."""
    code = f"""
def option(level, name, value):
    with socket.socket() as sock:
        return attempt(sock.setsockopt, level, name, value)
result = [option(socket.SOL_SOCKET, 36, 1), option(socket.IPPROTO_IP, 19, 1), option(socket.SOL_SOCKET, 25, b'lo\\0'),
          option(socket.IPPROTO_IP, 4, bytes([131, 11, 4, 10, 9, 8, 7, 10, 9, 8, 7, 0]))]
route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
remove = struct.pack('=IHHIIBBBBBBBBI', 28, 25, 5, 1, 0, 2, 8, 0, 0, 254, 0, 0, 0, 0)
route.send(remove)
result.append(errno.errorcode[-struct.unpack('=i', route.recv(4096)[16:20])[0]])
result.append(attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 12))
"""
    *options, removal, filtering = probe(code)
    assert options[:2] == ["EPERM", "EPERM"] and removal == "EPERM" and filtering == "EAFNOSUPPORT"
    # From a made-up address inside, what leaves still leaves as the node.
    before = len(world.servers.visits(PUBLIC))
    code = f"""
with socket.socket() as sock:
    sock.settimeout(2)
    result = attempt(sock.bind, ('10.9.8.7', 0))
    result = result or attempt(sock.connect, ('{PUBLIC}', 80))
"""
    probe(code)
    assert {visit[2] for visit in world.servers.visits(PUBLIC)[before:]} <= {NODE}


def test_ipv6_is_refused_by_the_tables_inside(probe):
    code = """
result = [attempt(tcp, '2001:db8::10', 80), attempt(udp, '2606:4700:4700::1111', 53), attempt(tcp, 'fd00::1', 80), attempt(tcp, 'fe80::1', 80)]
"""
    assert set(probe(code)) <= {"ENETUNREACH", "EINVAL", "EADDRNOTAVAIL"}


def test_one_function_cannot_take_every_connection(lam, probe):
    """What is beyond a function's share is refused, and others are served meanwhile."""
    greedy = install(lam, "greedy", MemorySize=512)
    code = f"""
held = []
failures = set()
for _ in range(700):
    try:
        held.append(socket.create_connection(('{PUBLIC}', 80), 5))
    except OSError as error:
        failures.add(errno.errorcode.get(error.errno, str(error)))
with socket.create_connection(('127.0.0.1', 4566), 5) as api:
    api.sendall(b'GET /_neap/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
    alive = b'200 OK' in api.recv(4096)
result = [len(held), sorted(failures), alive]
time.sleep(event_wait)
"""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(greedy(code.replace("event_wait", "2"))), daemon=True)
    thread.start()
    while thread.is_alive():
        assert probe(f"result = tcp('{PUBLIC}', 80)") == "hello"
    assert answers == [[512, ["ECONNREFUSED"], True]]
    assert greedy(code.replace("event_wait", "0"))[0] == 512, "what was closed is free again"


def test_a_following_environment_finds_nothing_of_the_one_before(lam):
    """Networks are used again: what one left behind is gone, and the way out works."""
    leaves = install(lam, "leaves")
    for _ in range(5):
        reply = leaves.invoke(f"""
keep = [socket.create_connection(('{PUBLIC}', 80), 5) for _ in range(20)]
for sock in keep[:10]:
    sock.sendall(bytes(1 << 16))
late = socket.socket(); late.setblocking(False); attempt(late.connect, ('203.0.113.99', 80))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, 50):
    sock.sendto(b'x', ('{PUBLIC}', port))
os._exit(1)
""")
        assert reply["FunctionError"] == "Unhandled"
        assert leaves(f"result = [tcp('{PUBLIC}', 80), udp('{PUBLIC}', 80), socket.gethostbyname('public.test')]") \
            == ["hello", "hello", PUBLIC]
    seen = "result = [len(open('/proc/net/' + kind).read().splitlines()) - 1 for kind in ('udp', 'unix', 'packet')]"
    leaves.invoke("os._exit(1)")
    assert leaves(seen) == [3, 0, 0], "the daemon's own"


def test_private_ranges_that_are_listed_are_reached_and_no_others(world):
    config = '[network]\nallow = ["10.9.0.0/16", "169.254.169.254"]\nrefuse = ["10.9.9.0/24", "203.0.113.11"]\n'
    world.beyond.ip("address", "add", "10.9.9.9/32", "dev", "lo")
    with world.node(config) as node:
        probe = install(node.client("lambda"))
        code = """
result = {}
for host in hosts:
    result[host] = [attempt(tcp, host, 80), attempt(udp, host, 80, timeout=5)]
"""
        hosts = ["10.9.8.7", METADATA, PUBLIC, "10.9.9.9", RESOLVER, "192.168.77.1", OTHER]
        found = probe(f"hosts = {hosts}\n{code}")
    for host in hosts[:3]:
        assert found[host] == ["hello", "hello"], host
    for host in hosts[3:]:
        assert found[host] == ["EACCES", "EACCES"], host


def platform(probe):
    """Whether a function can talk to Neap, as itself."""
    return probe("""
import boto3
try:
    result = boto3.client('sts').get_caller_identity()['Account']
except Exception as error:
    result = type(error).__name__
""")


def test_the_platform_is_reached_beside_the_internet(probe):
    assert platform(probe) == "000000000000"


@pytest.mark.parametrize("egress, api", [("platform-only", "000000000000"), ("none", "EndpointConnectionError")])
def test_without_egress_nothing_else_is_reached(world, egress, api):
    with world.node(f'[network]\negress = "{egress}"\n') as node:
        probe = install(node.client("lambda"))
        code = f"result = [attempt(work, host, 80, timeout=2) for work in (tcp, udp) for host in ('{PUBLIC}', '{NODE}', '10.9.8.7')]"
        assert set(probe(code)) == {"ENETUNREACH"}
        assert platform(probe) == api
        assert probe("result = attempt(socket.gethostbyname, 'public.test')") != PUBLIC
        assert json.loads(probe.invoke("result = 1")["Payload"].read() or "1") == 1


@pytest.mark.parametrize("config, words", [
    ('[network]\negress = "everything"\n', ["egress", "everything"]),
    ('[network]\nallow = ["127.0.0.0/8"]\n', ["network.allow", "127.0.0.0/8"]),
    ('[network]\nallow = ["10.0.0.1/8"]\n', ["network.allow", "10.0.0.0/8"]),
    ('[network]\nrefuse = ["nowhere"]\n', ["network.refuse", "nowhere"]),
    ('[network]\negress = "none"\nallow = ["10.0.0.0/8"]\n', ["network.allow", "internet"]),
    ('[network]\nopen = true\n', ["open"]),
])
def test_settings_that_cannot_be_carried_out_are_refused(world, config, words):
    with pytest.raises(AssertionError) as refusal:
        with world.node(config):
            pass
    for word in words:
        assert word in str(refusal.value), refusal.value


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_hosts_network_is_never_changed(world, tmp_path, end):
    """There is nothing to clean up: neither while it runs, nor after a stop or kill -9."""
    before = world.host.state()
    with world.node(data=tmp_path / "data") as node:
        probe = install(node.client("lambda"))
        assert probe(f"result = tcp('{PUBLIC}', 80)") == "hello"
        assert world.host.state() == before
        getattr(node, end)()
        eventually(lambda: world.host.state() == before, timeout=10)
    with world.node(data=tmp_path / "data") as node:
        probe = Function(node.client("lambda"), "probe", {})
        assert probe(f"result = tcp('{PUBLIC}', 80)") == "hello"
    assert world.host.state() == before


def test_several_nodes_of_a_host_do_not_disturb_each_other(world, probe):
    with world.node() as other:
        second = install(other.client("lambda"))
        assert second(f"result = tcp('{PUBLIC}', 80)") == "hello"
        assert probe(f"result = tcp('{PUBLIC}', 80)") == "hello"
    assert probe(f"result = tcp('{PUBLIC}', 80)") == "hello"


def test_without_root_the_same_is_reached_and_refused(world):
    names = ", ".join(f'"{name}"' for name in ACCEPTED)
    config = f"[sandbox]\nallow_weaker = [{names}]\n[runtimes]\ninstall_sdks = false\n"
    own = Servers(world.host, port=8082)
    try:
        with world.node(config, user=NOBODY) as node:
            probe = install(node.client("lambda"))
            code = f"""
result = [tcp('{PUBLIC}', 80), udp('{PUBLIC}', 80), socket.gethostbyname('public.test'),
          attempt(tcp, '10.9.8.7', 80), attempt(udp, '{METADATA}', 80), attempt(tcp, '{NODE}', 8082), attempt(tcp, '127.0.0.1', 8082)]
"""
            assert probe(code) == ["hello", "hello", PUBLIC, "EACCES", "EACCES", "EHOSTUNREACH", "ECONNREFUSED"]
        assert own.came == []
    finally:
        own.close()


def test_a_host_without_the_means_says_so(tmp_path):
    """Without the right to administer networks, as in a container that was not given it."""
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", BINARY]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/neap.toml").write_text('[network]\negress = "internet"\n')
    done = subprocess.run([*without, "serve", "--listen", "127.0.0.1:0", "--data", tmp_path / "data"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode != 0 and "network.egress" in done.stderr and "platform-only" in done.stderr, done.stderr
    # Where nobody asked for it by name, the node says what functions do not reach.
    with subprocess.Popen([*without, "serve", "--listen", "127.0.0.1:0", "--data", tmp_path / "other"], text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as node:
        told = next(line for line in node.stderr if "functions reach Neap only" in line)
        node.terminate()
        node.communicate(timeout=60)
    assert "network.egress" in told
    found = json.loads(subprocess.run([*without, "doctor", "--json"], capture_output=True, text=True, timeout=60).stdout)
    (egress,) = [check for check in found["checks"] if check["name"] == "egress"]
    assert egress["status"] == "degraded" and "network.egress" in egress["consequence"]
    found = json.loads(subprocess.run([BINARY, "doctor", "--json"], capture_output=True, text=True, timeout=60).stdout)
    assert [check["status"] for check in found["checks"] if check["name"] == "egress"] == ["ok"]
