"""Functions that lie to the platform: by the Runtime API, by the boot program's channel, with credentials."""

import json
import threading
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, package, root
from test_functions import refused
from test_hostile import attack, lives_on  # noqa: F401  a fixture

pytestmark = [root, pytest.mark.usefixtures("forking")]

# A runtime of its own, started instead of the managed one, whose events are code.
FORGER = """
import errno, os, socket, sys, time, json
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
BASE = "/2018-06-01/runtime/"

def raw(data, wait=5, read=True):
    with socket.create_connection((host, int(port)), wait) as connection:
        try:
            for piece in ([data] if isinstance(data, bytes) else data):
                connection.sendall(piece)
            answer = b""
            while read and (piece := connection.recv(65536)):
                answer += piece
        except TimeoutError:
            return "no answer"
        except OSError as error:
            return errno.errorcode[error.errno] if not answer else answer.decode("latin1")
        return answer.decode("latin1")

def call(method, path, body=b"", headers=""):
    head = f"{method} {BASE}{path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: {len(body)}\\r\\n{headers}\\r\\n"
    return raw(head.encode() + body, wait=60)

def status(answer):
    return int(answer.split()[1]) if answer.startswith("HTTP/1.") else answer

def respond(request, value, **options):
    return status(call("POST", f"invocation/{request}/response", json.dumps(value).encode(), **options))

while True:
    answer = call("GET", "invocation/next")
    head, _, event = answer.partition("\\r\\n\\r\\n")
    request = [line.split(": ")[1] for line in head.split("\\r\\n") if line.lower().startswith("lambda-runtime-aws-request-id")][0]
    scope = dict(globals(), request=request, result=None)
    try:
        exec(json.loads(event), scope)
    except Exception as error:
        scope["result"] = repr(error)
    respond(request, scope["result"])
"""


@pytest.fixture
def forger(deploy):
    def make(**options):
        files = {"app.py": "def handler(e, c): return 'the managed one'", "forger.py": FORGER,
                 "wrapper": (0o100755, b'#!/bin/sh\nexec "$1" /var/task/forger.py\n')}
        variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
        return deploy(files, Environment=variables, **{"Timeout": 20, "MemorySize": 256, **options})

    return make


def test_answers_to_other_requests_are_refused(forger, lives_on):
    function = forger()
    foreign = str(uuid.uuid4())
    code = f"""
tried = [respond(other, 'forged') for other in ('{foreign}', request[:-1], request.upper() + 'x', '', '..', '%2e%2e', 'x' * 5000)]
tried.append(status(call("POST", "invocation/{foreign}/error", b"{{}}")))
result = tried
"""
    answers = function(code)
    assert set(answers) <= {400, 404}, answers
    assert function("result = 'intact'") == "intact"


def test_a_request_of_another_environment_cannot_be_answered(forger, lives_on):
    """Even with its true id, told by the victim itself."""
    victim, attacker = forger(), forger()
    told = []
    seen = threading.Event()

    def run():
        told.append(victim.client.invoke(FunctionName=victim.name, Payload=json.dumps(
            "print('id', request, flush=True)\nimport boto3\n"
            "boto3.client('sts').get_caller_identity()\ntime.sleep(3)\nresult = ['own answer', request]").encode()))
        seen.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    logs = boto3.client("logs", endpoint_url=victim.client.meta.endpoint_url, region_name="us-east-1",
                        aws_access_key_id=victim.client._request_signer._credentials.access_key,
                        aws_secret_access_key=victim.client._request_signer._credentials.secret_key)
    from conftest import eventually, messages

    line = eventually(lambda: [m for m in messages(logs, f"/aws/lambda/{victim.name}") if m.startswith("id ")])[0]
    request = line.split()[1]
    assert attacker(f"result = [respond('{request}', 'forged'), status(call('POST', 'invocation/{request}/error', b'{{}}'))]") == [400, 400]
    thread.join()
    assert json.loads(told[0]["Payload"].read()) == ["own answer", request]


def test_only_the_first_answer_counts(forger, lives_on):
    function = forger()
    code = """
first = respond(request, 'first')
second = [respond(request, 'second'), status(call("POST", f"invocation/{request}/error", b'{"errorMessage": "third", "errorType": "X"}'))]
print('after the answer', second, flush=True)
"""
    reply = function.invoke(code)
    assert reply["Body"] == "first" and "FunctionError" not in reply
    # What a runtime may answer only while it starts.
    assert function("result = status(call('POST', 'init/error', b'{}'))") == 403
    assert function("result = 'next'") == "next"


def test_an_answer_after_the_time_is_over_reaches_nobody(forger, lives_on):
    function = forger(Timeout=2)
    late = """
if os.fork() == 0:
    os.setsid()
    while True:
        respond(request, 'late')
        time.sleep(0.001)
time.sleep(60)
"""
    reply = function.invoke(late.replace("        respond(request", "        time.sleep(2.2); respond(request"))
    assert "Task timed out" in reply["Body"]["errorMessage"]
    for number in range(3):
        assert function(f"result = {number}") == number


def test_two_that_ask_for_work_get_one_event_between_them(forger, lives_on):
    function = forger()
    code = """
import threading
got = []
threads = [threading.Thread(target=lambda: got.append(raw(f"GET {BASE}invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode(), wait=0.5))) for _ in range(5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
result = got
"""
    assert function(code) == ["no answer"] * 5
    assert [function(f"result = {number}") for number in range(3)] == [0, 1, 2]


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "binary": bytes(range(256)) * 64,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "two lengths": b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "huge length": b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "bad chunk": b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "length and chunks": b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "header without end": b"GET / HTTP/1.1\r\nX: " + b"a" * (2 << 20),
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    "long path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "other method": b"DELETE /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "traversal": b"GET /2018-06-01/runtime/invocation/../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "zero byte": b"GET /2018-06-01/runtime/invocation/next\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "smuggled": b"POST /2018-06-01/runtime/invocation/x/error HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcdGET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_and_harm_nobody(forger, name, lives_on):
    function = forger()
    # As text: an event has no bytes.
    code = f"result = raw({MALFORMED[name].decode('latin1')!r}.encode('latin1'), wait=2)[:12]"
    answer = function(code)
    assert answer in ("", "no answer", "ECONNRESET", "EPIPE") or answer[:10] in ("HTTP/1.1 4", "HTTP/1.0 4"), answer
    assert function("result = 'intact'") == "intact"


def test_bodies_beyond_the_limit_are_refused(forger, lives_on):
    function = forger(MemorySize=512)
    code = """
big = b'"' + b'a' * (6 * 1024 * 1024 + 200_000) + b'"'
result = status(call("POST", f"invocation/{request}/response", big))
print('told', result, flush=True)
"""
    reply = function.invoke(code)
    assert reply["FunctionError"] == "Unhandled" and reply["Body"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert function("result = 'intact'") == "intact"
    # A report of an error has a limit of its own.
    reply = function.invoke("""call("POST", f"invocation/{request}/error", b'{"errorMessage": "' + b'a' * (2 << 20) + b'"}')""")
    assert reply["FunctionError"] == "Unhandled" and len(json.dumps(reply["Body"])) < 1 << 20
    assert function("result = 'intact'") == "intact"


def test_connections_that_are_held_open_do_not_keep_others_out(forger, lives_on):
    """A function's own, of course; other functions' have their own listener."""
    hoarder, other = forger(Timeout=10), forger()
    code = """
held = [socket.create_connection((host, int(port)), 5) for _ in range(150)]
for one in held:
    one.send(b'GET /2018-06-01/runtime/invocation/next HTTP/1.1')
time.sleep(2)
[one.close() for one in held]
result = len(held)
"""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(hoarder.invoke(code)["Body"]), daemon=True)
    thread.start()
    for number in range(5):
        assert other(f"result = {number}") == number
    thread.join()
    assert answers == [150]


@pytest.mark.parametrize(
    "how",
    [
        "os.kill(os.getpid(), 9)",
        "os.kill(os.getpid(), 11)",
        "os._exit(0)",
        "os.abort()",
        "os.fork() or os.kill(os.getppid(), 9); time.sleep(60)",
        "os.execv('/bin/sh', ['sh', '-c', 'exit 3'])",
        "os.close(3); return 'closed'",
        "os.dup2(os.open('/dev/null', os.O_RDWR), 3); return 'replaced'",
        "os.closerange(0, 1024); return 'all closed'",
        # The init takes no signal: of an executed program's it hears nothing, a forked program is refused.
        "__import__('subprocess').run(['kill', '-9', '1']); os.kill(os.getpid(), 9)",
        "socket.socket(fileno=3).shutdown(2); return 'shut'",
    ],
)
def test_a_function_that_ends_its_own_boot_program_harms_only_its_invocation(deploy, how, lives_on):
    function = attack(deploy, f"if event != 'well':\n    {how}\nreturn 'well'", Timeout=3)
    reply = function.invoke("ill")
    assert reply.get("FunctionError") == "Unhandled", reply["Body"]
    assert function.invoke("well")["Body"] == "well"


@pytest.mark.parametrize(
    "frame",
    ["b'\\xff' * 4096", "b'\\x00' * 4096", "b'hello' * 1000", "struct.pack('<I', 0xffffffff)", "struct.pack('>I', 0x7fffffff) + b'x'",
     "struct.pack('<I', 5) + b'\\x01{}' + bytes(100)", "os.urandom(1 << 16)", "b'{' * 100000"],
)  # fmt: skip
def test_forged_frames_on_the_channel_harm_only_their_invocation(deploy, frame, lives_on):
    """The boot program and the function are one process: what a function writes there is its own answer, at worst."""
    body = f"""
import struct
if event != 'well':
    channel = socket.socket(fileno=os.dup(3))
    channel.settimeout(1)
    try:
        channel.sendall({frame})
    except OSError:
        pass
return 'well'
"""
    function = attack(deploy, body, Timeout=3)
    reply = function.invoke("ill")
    assert reply.get("FunctionError") == "Unhandled" or reply["Body"] == "well"
    for _ in range(2):
        assert function.invoke("well")["Body"] == "well"


def credentials_of(function):
    return function.invoke()["Body"]


TELL = """
names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
return [os.environ[name] for name in names]
"""


def client(node, service, keys):
    return boto3.client(service, endpoint_url=node.endpoint, region_name="us-east-1", aws_access_key_id=keys[0],
                        aws_secret_access_key=keys[1], aws_session_token=keys[2])


def test_credentials_speak_for_their_own_role_whoever_holds_them(deploy, node, lives_on):
    """They are bearer credentials, as on Lambda: who has them is that role, and never another one."""
    first = attack(deploy, TELL)
    second = deploy(
        "import boto3\ndef handler(keys, c):\n"
        "    borrowed = boto3.client('sts', aws_access_key_id=keys[0], aws_secret_access_key=keys[1], aws_session_token=keys[2])\n"
        "    own = boto3.client('sts')\n"
        "    return [borrowed.get_caller_identity()['Arn'], own.get_caller_identity()['Arn']]\n",
        Timeout=30,
    )
    keys = credentials_of(first)
    borrowed, own = second(keys)
    assert borrowed.endswith(f"/{first.name}") and own.endswith(f"/{second.name}"), (borrowed, own)
    assert client(node, "sts", keys).get_caller_identity()["Arn"] == borrowed


def test_credentials_cannot_be_mixed_or_altered(deploy, node, lives_on):
    first, second = (credentials_of(attack(deploy, TELL)) for _ in range(2))
    altered = [
        [first[0], first[1], second[2]],
        [first[0], second[1], first[2]],
        [second[0], first[1], first[2]],
        [first[0], first[1], first[2][:-2] + ("AA" if first[2][-2:] != "AA" else "BB")],
        [first[0], first[1], first[2][: len(first[2]) // 2]],
        [first[0], first[1], None],
        [node.credentials["access_key"], first[1], first[2]],
    ]
    assert client(node, "sts", first).get_caller_identity()
    for keys in altered:
        with pytest.raises(ClientError) as refusal:
            client(node, "sts", keys).get_caller_identity()
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403), keys


@pytest.mark.parametrize(
    "entries",
    [
        [("way", 0o120777, b"."), ("way/app.py", 0o100644, b"x")],
        [("way", 0o120777, b"folder"), ("way/escape", 0o100644, b"x"), ("folder/a", 0o100644, b"x")],
        [("folder/a", 0o100644, b"x"), ("folder", 0o120777, b"..")],
        [("app.py", 0o120777, b"other"), ("other", 0o100644, b"x")],
        [("a", 0o120777, b"b/../../x"), ("b/c", 0o100644, b"x")],
        [("a/b", 0o120777, b".."), ("c", 0o120777, b"a/b/../..")],
        [("a", 0o120777, b"/proc/self/root")],
        [("a", 0o120777, b"x" * 5000)],
        [("pipe", 0o010644, b"")],
        [("socket", 0o140644, b"")],
    ],
    ids=["link to itself, then through it", "link, then through it", "folder, then a link of its name", "file, then a link of its name",
         "target climbs after descending", "chain that climbs", "absolute", "endless target", "pipe", "socket"],
)  # fmt: skip
def test_links_of_a_package_never_lead_what_is_unpacked_outside(lam, entries, lives_on):
    import io
    import warnings
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("app.py", "def handler(e, c): return 1")
        for name, mode, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    refused(
        lambda: lam.create_function(FunctionName="t-links", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                                    Code={"ZipFile": buffer.getvalue()}),
        "InvalidParameterValueException",
    )


def test_packages_that_are_unpacked_at_once_do_not_meet(lam, deploy, lives_on):
    """Many at the same time, equal ones and ones that differ in where a link leads: each function has its own."""
    def one(number):
        target = b"real" if number % 2 else b"other"
        return {"app.py": "def handler(e, c): return open('/var/task/link').read()", "real": f"real", "other": "other",
                "link": (0o120777, target)}

    functions = [None] * 8
    def make(number):
        functions[number] = deploy(one(number))

    threads = [threading.Thread(target=make, args=(number,), daemon=True) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert [function() for function in functions] == ["other", "real"] * 4
