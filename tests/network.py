"""A small world of network namespaces for tests of what functions reach: nothing of it is connected with the machine's network.

`World` makes two namespaces that are joined by a cable: one for a node, with the public-looking address NODE, and one that plays
everything beyond it, with servers at public and private addresses that remember who came.
"""

import concurrent.futures
import contextlib
import ctypes
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import uuid

from conftest import BINARY, Node

NODE = "198.51.100.2"
ROUTER = "198.51.100.1"
PUBLIC = "203.0.113.10"
OTHER = "203.0.113.11"
UNREACHABLE = "203.0.113.200"
RESOLVER = "10.53.53.53"
METADATA = "169.254.169.254"
PRIVATE = ["10.9.8.7", "172.16.5.5", "172.31.255.1", "192.168.77.1", "100.64.1.1", "198.18.0.1", METADATA, RESOLVER]
NOBODY = 65534


class Namespace:
    """A network namespace, and a thread inside of which sockets can be made."""

    def __init__(self, name):
        self.name = name
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.thread = concurrent.futures.ThreadPoolExecutor(1, initializer=self._enter)
        self.ip("link", "set", "lo", "up")

    def _enter(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.name}") as file:
            assert libc.setns(file.fileno(), 0x40000000) == 0, os.strerror(ctypes.get_errno())

    def ip(self, *arguments):
        return subprocess.run(["ip", "-n", self.name, *arguments], check=True, capture_output=True, text=True).stdout

    def inside(self, work, *arguments):
        """What `work` returns, called in the namespace."""
        return self.thread.submit(work, *arguments).result()

    def run(self, *command):
        done = subprocess.run(["nsenter", f"--net=/run/netns/{self.name}", *command], check=True, capture_output=True, text=True)
        return done.stdout

    def state(self):
        """Everything that a node could have left in the network of its host."""
        settings = ["net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet", "net.ipv6.conf.all.forwarding"]
        seen = [self.ip("-o", "link"), self.ip("-o", "address"), self.ip("route", "show", "table", "all"),
                self.ip("rule"), self.run("sysctl", *settings)]
        if shutil.which("nft"):
            seen.append(self.run("nft", "list", "ruleset"))
        # How long an address stays is told to the second.
        return [line for text in seen for line in text.splitlines() if "sec" not in line.split()]

    def close(self):
        self.thread.shutdown()
        subprocess.run(["ip", "netns", "del", self.name], check=True)


class Servers:
    """Servers at every address of a namespace, which remember who came to which address."""

    def __init__(self, namespace, port=80):
        self.came = []
        self.open = []
        self.port = port
        # An IPv4 server at every address sees at which of them it was reached.
        tcp = namespace.inside(lambda: socket.create_server(("0.0.0.0", port), backlog=1024))
        udp = namespace.inside(self._udp, port)
        for sock, work in ((tcp, self._accept), (udp, self._datagrams)):
            self.open.append(sock)
            threading.Thread(target=work, args=(sock,), daemon=True).start()

    @staticmethod
    def _udp(port):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        sock.bind(("0.0.0.0", port))
        return sock

    def _accept(self, server):
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            self.came.append(("tcp", connection.getsockname()[0], peer[0]))
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            first = connection.recv(65536)
            if first.startswith(b"cut"):
                connection.sendall(b"half of the ans")
                connection.recv(1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            while first:
                connection.sendall(first)
                first = connection.recv(65536)

    def _datagrams(self, server):
        while True:
            try:
                data, control, _, peer = server.recvmsg(65536, 256)
            except OSError:
                return
            if not control:  # shut down
                return
            at = socket.inet_ntoa(control[0][2][8:12])
            self.came.append(("udp", at, peer[0]))
            answer = struct.pack("i4s4s", 0, socket.inet_aton(at), b"\0" * 4)
            with contextlib.suppress(OSError):
                server.sendmsg([data], [(socket.IPPROTO_IP, 8, answer)], 0, peer)

    def visits(self, address):
        return [visit for visit in self.came if visit[1] == address]

    def close(self):
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Resolver:
    """A name server that knows a few names."""

    NAMES = {"public.test": PUBLIC, "inward.test": "10.9.8.7", "metadata.test": METADATA, "host.test": NODE}

    def __init__(self, namespace, address=RESOLVER):
        self.asked = []
        self.udp = namespace.inside(self._udp, address)
        self.tcp = namespace.inside(lambda: socket.create_server((address, 53)))
        threading.Thread(target=self._datagrams, daemon=True).start()
        threading.Thread(target=self._connections, daemon=True).start()

    @staticmethod
    def _udp(address):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 53))
        return sock

    def answer(self, query):
        name, at = [], 12
        while query[at]:
            name.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        self.asked.append((".".join(name), kind))
        address = self.NAMES.get(".".join(name).lower())
        found = address is not None and kind == 1
        flags = 0x8180 if address else 0x8183
        head = query[:2] + struct.pack(">HHHHH", flags, 1, int(found), 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address) if found else b""
        return head + question + record

    def _datagrams(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not query:  # shut down
                return
            self.udp.sendto(self.answer(query), peer)

    def _connections(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError, struct.error):
                length = struct.unpack(">H", connection.recv(2))[0]
                answer = self.answer(connection.recv(length))
                connection.sendall(struct.pack(">H", len(answer)) + answer)

    def close(self):
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class World:
    """Both namespaces, the servers beyond, and what runs in the node's."""

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        mark = uuid.uuid4().hex[:6]
        with contextlib.ExitStack() as building:
            self.host = Namespace(f"nt-{mark}-host")
            building.callback(self.host.close)
            self.beyond = Namespace(f"nt-{mark}-beyond")
            building.callback(self.beyond.close)
            self.host.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.beyond.name)
            for namespace, address in ((self.host, NODE), (self.beyond, ROUTER)):
                namespace.ip("address", "add", f"{address}/30", "dev", "cable")
                namespace.ip("link", "set", "cable", "up")
            self.host.ip("route", "add", "default", "via", ROUTER)
            for address in [PUBLIC, OTHER, *PRIVATE]:
                self.beyond.ip("address", "add", f"{address}/32", "dev", "lo")
            self.beyond.ip("route", "add", "unreachable", f"{UNREACHABLE}/32")
            self.beyond.run("sysctl", "-qw", "net.ipv4.ip_forward=1")  # so that it says what it cannot reach
            self.servers = Servers(self.beyond)
            building.callback(self.servers.close)
            self.resolver = Resolver(self.beyond)
            building.callback(self.resolver.close)
            self.stack = building.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    @contextlib.contextmanager
    def node(self, config="", user=None, data=None, mode="serve", environment=None):
        """A node in its namespace; its clients are outside, so their connections are carried in."""
        with tempfile.TemporaryDirectory(prefix="neap-test-", ignore_cleanup_errors=True) as folder:
            folder = pathlib.Path(folder)
            folder.chmod(0o755)
            node = NodeWithin(self.host, folder, data or folder / "data", config, user, mode)
            node.environment = environment or {}
            node.start()
            try:
                yield node
            finally:
                node.stop()


class NodeWithin(Node):
    """A node in a network namespace, which asks the resolver there for names."""

    def __init__(self, namespace, folder, data, config, user, mode):
        super().__init__(data, mode, config)
        self.namespace = namespace
        (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        (folder / "resolv.conf").chmod(0o644)
        binary, become = BINARY, ""
        if user is not None:
            binary = shutil.copy(shutil.which(BINARY) or BINARY, folder / "neap")
            become = f"setpriv --reuid {user} --regid {user} --clear-groups "
            for path in (self.data, self.data / "neap.toml"):
                os.chown(path, user, user)
        script = f'mount --bind {folder}/resolv.conf /etc/resolv.conf && ' \
                 f'exec nsenter --net=/run/netns/{namespace.name} {become}{binary} "$@"'
        start = folder / "start"
        start.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{script}' sh \"$@\"\n")
        start.chmod(0o755)
        self.binary = str(start)

    def start(self):
        super().start()
        self.inner_port = self.port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._carry, daemon=True).start()
        return self

    def _carry(self):
        while True:
            try:
                outer, _ = self.listener.accept()
            except OSError:
                return
            try:
                inner = self.namespace.inside(socket.create_connection, ("127.0.0.1", self.inner_port))
            except OSError:
                outer.close()
                continue
            for one, other in ((outer, inner), (inner, outer)):
                threading.Thread(target=pump, args=(one, other), daemon=True).start()

    def stop(self):
        super().stop()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def pump(one, other):
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
