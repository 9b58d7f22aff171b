"""A running `neap` for each test session, and clients for it.

The binary is named by NEAP. Each node listens on a free loopback port, keeps its data in a temporary folder, and is
ended by the fixture that started it. The managed runtimes' libraries are shared between nodes (NEAP_RUNTIMES).
"""

import contextlib
import faulthandler
import http.client
import io
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
import urllib.parse
import uuid
import zipfile

import boto3
import pytest
import requests
from botocore.config import Config

BINARY = os.environ.get("NEAP", "neap")
ROLE = "arn:aws:iam::000000000000:role/tests"
READY_S = 60

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a sandbox with all its parts")


class Node:
    """One `neap serve` or `neap dev` process and what is needed to talk to it."""

    def __init__(self, data, mode="serve", config="", environment=None, arguments=(), user=None, descriptors=None):
        self.data = pathlib.Path(data)
        self.data.mkdir(parents=True, exist_ok=True)
        self.mode = mode
        runtimes = os.environ.get("NEAP_RUNTIMES")
        if runtimes and "[runtimes]" not in config:
            config += f'\n[runtimes]\nfolder = "{runtimes}"\n'
        (self.data / "neap.toml").write_text(config)
        self.environment = environment or {}
        self.arguments = list(arguments)
        self.binary, self.user, self.descriptors = BINARY, user, descriptors
        if user:
            self.binary = shutil.copy(BINARY, self.data / "neap")
            for path in (self.data, self.data / "neap.toml", self.binary):
                os.chown(path, user, user)
        self.process = None
        self.port = None

    def start(self):
        self.log = open(self.data / "neap.log", "ab")
        self.process = subprocess.Popen(
            [self.binary, self.mode, "--listen", "127.0.0.1:0", "--data", str(self.data), *self.arguments],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **self.environment},
            preexec_fn=self.descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors,) * 2)),
            **({"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}),
        )
        # The node prints one line with its address when it is ready.
        deadline = time.monotonic() + READY_S
        line = b""
        os.set_blocking(self.process.stdout.fileno(), False)
        while b"\n" not in line or not re.search(rb"127\.0\.0\.1:(\d+)", line):
            assert time.monotonic() < deadline, f"not ready in time: {line!r}"
            assert self.process.poll() is None, (self.data / "neap.log").read_text()[-4000:]
            line += self.process.stdout.read() or b""
            time.sleep(0.005)
        self.port = int(re.search(rb"127\.0\.0\.1:(\d+)", line)[1])
        return self

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self):
        if self.mode == "dev":
            return {"access_key": "test", "secret_key": "test"}
        done = subprocess.run(
            [BINARY, "credentials", "--data", str(self.data), "--json"], capture_output=True, check=True
        )
        found = json.loads(done.stdout)
        return {"access_key": found["access_key"], "secret_key": found["secret_key"]}

    def aws_environment(self):
        keys = self.credentials
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": keys["access_key"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def client(self, service, **overrides):
        keys = self.credentials
        options = {
            "endpoint_url": self.endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": keys["access_key"],
            "aws_secret_access_key": keys["secret_key"],
            "config": Config(
                retries={"max_attempts": 0},
                read_timeout=120,
                max_pool_connections=64,
                parameter_validation=False,  # the server is to refuse
            ),
        }
        return boto3.client(service, **{**options, **overrides})

    def neap(self, *arguments, check=True, **kwargs):
        """Runs a client command of the binary against this node."""
        done = subprocess.run(
            [BINARY, *map(str, arguments)], capture_output=True, text=True, env=self.aws_environment(), **kwargs
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def aws(self, *arguments, check=True):
        """Runs the AWS CLI against this node."""
        import sys

        done = subprocess.run(
            [sys.executable, "-m", "awscli", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=self.aws_environment(),
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def advance(self, seconds):
        """Moves the clock of a development node on."""
        moved = requests.post(self.endpoint + "/_neap/clock", json={"advance_ms": int(seconds * 1000)}, timeout=30)
        assert moved.status_code == 200, moved.text
        return moved.json()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    def alive(self):
        return self.process.poll() is None


@contextlib.contextmanager
def running(mode="serve", config="", environment=None, data=None, arguments=(), user=None, descriptors=None):
    with tempfile.TemporaryDirectory(prefix="neap-test-", ignore_cleanup_errors=True) as folder:
        node = Node(data or folder, mode, config, environment, arguments, user, descriptors).start()
        try:
            yield node
        finally:
            node.stop()


@pytest.fixture(scope="session")
def node():
    with running() as node:
        yield node
        assert node.alive(), (node.data / "neap.log").read_text()[-4000:]


@pytest.fixture(scope="module")
def dev():
    """A development node of the module's own: its clock is moved."""
    with running(mode="dev") as node:
        yield node
        assert node.alive(), (node.data / "neap.log").read_text()[-4000:]


@pytest.fixture(scope="session")
def lam(node):
    return node.client("lambda")


@pytest.fixture(scope="session")
def forking(node, lam):
    """Python functions are forked from now on, where this host can."""
    checks = json.loads(subprocess.run([BINARY, "doctor", "--json"], capture_output=True, text=True).stdout)["checks"]
    if any(check["name"] == "zygotes" and check["status"] == "ok" for check in checks):
        code = package({"app.py": "def handler(event, context): return 1"})
        lam.create_function(
            FunctionName="forking", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": code}
        )
        lam.get_waiter("function_active_v2").wait(FunctionName="forking", WaiterConfig={"Delay": 0.1})
        lam.invoke(FunctionName="forking")
        eventually(lambda: re.search(r"^neap_zygotes{} [1-9]", get(node, "/_neap/metrics").text, re.M))
        lam.delete_function(FunctionName="forking")


@pytest.fixture(scope="session")
def logs(node):
    return node.client("logs")


def package(files):
    """A zip of {name: text or bytes or (mode, content)}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            mode = 0o100644
            if isinstance(content, tuple):
                mode, content = content
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, textwrap.dedent(content) if isinstance(content, str) else content)
    return buffer.getvalue()


class Function:
    """A deployed function."""

    def __init__(self, client, name, configuration):
        self.client, self.name, self.configuration = client, name, configuration

    @property
    def arn(self):
        return self.configuration["FunctionArn"]

    def invoke(self, event=None, **options):
        """Answer of one call: payload decoded, and the response."""
        reply = self.client.invoke(FunctionName=self.name, Payload=json.dumps(event).encode(), **options)
        body = reply["Payload"].read()
        reply["Body"] = json.loads(body) if body else None
        return reply

    def __call__(self, event=None):
        """The decoded payload of a call that must succeed."""
        reply = self.invoke(event)
        assert "FunctionError" not in reply, reply["Body"]
        return reply["Body"]


def by_url(function):
    """Calls a function so many times by its URL, which is made for that: one after the other, each of which must succeed."""
    lam = function.client
    url = lam.create_function_url_config(FunctionName=function.name, AuthType="NONE")["FunctionUrl"]
    for action, more in [("lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}), ("lambda:InvokeFunction", {"InvokedViaFunctionUrl": True})]:
        lam.add_permission(FunctionName=function.name, StatementId=action[7:], Action=action, Principal="*", **more)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(lam.meta.endpoint_url).netloc)

    def calls(count):
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": url.split("/")[2]})
            reply = connection.getresponse()
            body = reply.read()
            assert reply.status == 200, body

    return calls


@pytest.fixture
def deploy(lam):
    """Deploys Python source (or a dict of files) and removes it afterwards."""
    made = []

    def deploy(source, runtime="python3.11", handler="app.handler", name=None, client=lam, **options):
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        files = source if isinstance(source, dict) else {"app.py": source}
        configuration = client.create_function(
            FunctionName=name,
            Runtime=runtime,
            Handler=handler,
            Role=ROLE,
            Code={"ZipFile": package(files)},
            **options,
        )
        made.append((client, name))
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
        )
        return Function(client, name, configuration)

    yield deploy
    for client, name in made:
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            client.delete_function(FunctionName=name)


def eventually(probe, timeout=30, every=0.05):
    """The first true value of `probe`, within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        assert time.monotonic() < deadline, f"never true: {probe}"
        time.sleep(every)


def messages(logs, group, **options):
    """All log messages of a group."""
    try:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **options)
        return [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def get(node, path, **options):
    return requests.get(node.endpoint + path, timeout=30, **options)


def pytest_unconfigure():
    """A thread that a failed test left behind is named, and does not keep the run from ending."""
    faulthandler.dump_traceback_later(60, exit=True)
