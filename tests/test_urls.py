"""Function URLs: by host and by path, open and signed, buffered and streamed, and for pages of other origins."""

import base64
import json
import shutil
import socket
import subprocess
import threading
from urllib.parse import urlsplit

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import ROLE, eventually, get, messages, package, running

ECHO = "def handler(event, context): return event"
OPEN = {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
VIA = {"StatementId": "via", "Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": True}


def let_everyone(lam, name, **options):
    """Both permissions that a function URL needs."""
    for grant in (OPEN, VIA):
        lam.add_permission(FunctionName=name, **grant, **options)


class Url:
    """A function URL that is asked by host name, whatever the machine's resolver says of it."""

    def __init__(self, node, shown):
        self.node, self.shown, self.host = node, shown, urlsplit(shown).netloc
        self.id = self.host.split(".")[0]

    def __call__(self, path="/", method="GET", headers=None, **options):
        headers = {"Host": self.host, **(headers or {})}
        return requests.request(method, self.node.endpoint + path, headers=headers, timeout=30, **options)


@pytest.fixture
def opened(node, lam, deploy):
    """Deploys a function with a URL that everyone may call."""

    def opened(source, mode="BUFFERED", cors=None, auth="NONE", **options):
        function = deploy(source, **options)
        extra = {"Cors": cors} if cors else {}
        made = lam.create_function_url_config(FunctionName=function.name, AuthType=auth, InvokeMode=mode, **extra)
        if auth == "NONE":
            let_everyone(lam, function.name)
        function.url = Url(node, made["FunctionUrl"])
        return function

    return opened


def test_a_request_becomes_an_event_and_json_the_body(node, opened):
    function = opened(ECHO)
    answer = function.url("/my/p%20ath?a=1&a=2&b=%C3%BC", "POST", {"X-One": "1", "Cookie": "c=1; d=2"}, json={"k": "v"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    event = answer.json()
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/my/p%20ath")
    assert event["rawQueryString"] == "a=1&a=2&b=%C3%BC"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "ü"}
    assert event["cookies"] == ["c=1", "d=2"] and "cookie" not in event["headers"]
    assert event["headers"]["x-one"] == "1" and event["headers"]["host"] == function.url.host
    assert json.loads(event["body"]) == {"k": "v"} and event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert context["accountId"] == "anonymous" and context["apiId"] == function.url.id == context["domainPrefix"]
    assert context["http"]["method"] == "POST" and context["http"]["sourceIp"] == "127.0.0.1"
    assert context["requestId"] == answer.headers["x-amzn-requestid"]
    binary = function.url("/", "PUT", {"content-type": "image/png"}, data=b"\x89PNG\xff").json()
    assert binary["isBase64Encoded"] and base64.b64decode(binary["body"]) == b"\x89PNG\xff"
    # The same by path, for clients that cannot choose a host name.
    by_path = get(node, f"/_neap/url/{function.url.id}/deep/er?x=1").json()
    assert (by_path["rawPath"], by_path["rawQueryString"]) == ("/deep/er", "x=1")
    assert get(node, f"/_neap/url/{function.url.id}").json()["rawPath"] == "/"


def test_an_object_with_a_status_is_the_response(opened):
    function = opened("def handler(event, context): import json; return json.loads(event['body'])")
    ask = lambda answer: function.url("/", "POST", json=answer)
    answer = ask(
        {"statusCode": 201, "headers": {"Content-Type": "text/html", "X-N": 7}, "cookies": ["a=1; Path=/", "b=2"], "body": "<p>"}
    )
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (201, "<p>", "text/html")
    assert answer.headers["x-n"] == "7" and answer.cookies.get_dict() == {"a": "1", "b": "2"}
    raw = ask({"statusCode": 200, "body": base64.b64encode(b"\0\1").decode(), "isBase64Encoded": True})
    assert raw.content == b"\0\1"
    assert ask("text").text == "text" and ask([1]).json() == [1]
    assert ask({"statusCode": 204}).status_code == 204
    for bad in [{"statusCode": "x"}, {"statusCode": 200, "body": {}}, {"statusCode": 200, "headers": {"a": "b\n"}}]:
        answer = ask(bad)
        assert (answer.status_code, answer.text) == (502, "Internal Server Error"), bad


def test_failures_are_a_502_and_tell_nothing(opened):
    function = opened("def handler(event, context): raise KeyError('secret')")
    answer = function.url()
    assert (answer.status_code, answer.text) == (502, "Internal Server Error")
    slow = opened("import time\ndef handler(event, context): time.sleep(30)", Timeout=1)
    assert slow.url().status_code == 502


def test_only_what_the_policy_allows_is_served(node, lam, opened, deploy):
    function = opened(ECHO)
    assert function.url().status_code == 200
    lam.remove_permission(FunctionName=function.name, StatementId="url")
    answer = function.url()
    assert answer.status_code == 403 and "lambda:InvokeFunctionUrl" in answer.json()["Message"]
    # Invoking by the API is another permission, and does not do alone.
    lam.add_permission(FunctionName=function.name, StatementId="other", Action="lambda:InvokeFunction", Principal="*")
    assert function.url().status_code == 403
    lam.add_permission(FunctionName=function.name, **{**OPEN, "FunctionUrlAuthType": "AWS_IAM"})
    assert function.url().status_code == 403
    lam.remove_permission(FunctionName=function.name, StatementId="url")
    lam.add_permission(FunctionName=function.name, **OPEN)
    assert function.url().status_code == 200
    # Both are needed; the second need not be for function URLs only, but must not be for everything else only.
    lam.remove_permission(FunctionName=function.name, StatementId="via")
    assert function.url().status_code == 200
    lam.remove_permission(FunctionName=function.name, StatementId="other")
    answer = function.url()
    assert answer.status_code == 403 and "lambda:InvokeFunction by a function URL" in answer.json()["Message"]
    lam.add_permission(FunctionName=function.name, **{**VIA, "InvokedViaFunctionUrl": False})
    assert function.url().status_code == 403
    lam.remove_permission(FunctionName=function.name, StatementId="via")
    lam.add_permission(FunctionName=function.name, **VIA)
    assert function.url().status_code == 200
    lam.delete_function_url_config(FunctionName=function.name)
    assert function.url().status_code == 404
    assert get(node, "/_neap/url/nobody/").status_code == 404


def signed(node, url, method="GET", path="/", body=b"", service="lambda", keys=None):
    keys = keys or node.credentials
    request = AWSRequest(method, f"http://{url.host}{path}", data=body)
    SigV4Auth(Credentials(keys["access_key"], keys["secret_key"]), service, "us-east-1").add_auth(request)
    return dict(request.headers)


def test_signed_urls_know_their_caller(node, opened):
    function = opened(ECHO, auth="AWS_IAM")
    assert function.url().status_code == 403
    answer = function.url("/x?b=2&a=1", "POST", signed(node, function.url, "POST", "/x?b=2&a=1", b"hello"), data=b"hello")
    assert answer.status_code == 200, answer.text
    iam = answer.json()["requestContext"]["authorizer"]["iam"]
    assert iam["accessKey"] == node.credentials["access_key"] and iam["userArn"] == "arn:aws:iam::000000000000:root"
    altered = function.url("/x", "POST", signed(node, function.url, "POST", "/x", b"hello"), data=b"other")
    assert altered.status_code == 403 and "signature" in altered.json()["Message"]
    wrong = signed(node, function.url, keys={**node.credentials, "secret_key": "x"})
    assert function.url("/", "GET", wrong).status_code == 403
    assert function.url("/", "GET", signed(node, function.url, service="s3")).status_code == 403


def test_another_account_needs_both_permissions_for_a_signed_url():
    other = "111122223333"
    with running("dev") as node:
        lam = node.client("lambda", aws_access_key_id="000000000000", aws_secret_access_key="x")
        lam.create_function(
            FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": package({"app.py": ECHO})}
        )
        url = Url(node, lam.create_function_url_config(FunctionName="f", AuthType="AWS_IAM")["FunctionUrl"])
        ask = lambda: url("/", "GET", signed(node, url, keys={"access_key": other, "secret_key": "x"}))
        grants = [
            {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM"},
            {"StatementId": "via", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        ]
        for grant in grants:
            assert ask().status_code == 403
            lam.add_permission(FunctionName="f", Principal=other, **grant)
        assert ask().json()["requestContext"]["authorizer"]["iam"]["accountId"] == other
        # By the function URL only.
        theirs = node.client("lambda", aws_access_key_id=other, aws_secret_access_key="x")
        with pytest.raises(theirs.exceptions.ClientError) as refused:
            theirs.invoke(FunctionName="arn:aws:lambda:us-east-1:000000000000:function:f")
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_an_alias_has_a_url_of_its_own(node, lam, deploy):
    function = deploy("def handler(event, context): return [context.function_version, context.invoked_function_arn]")
    lam.publish_version(FunctionName=function.name)
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
    for qualifier in ["1", "$LATEST"]:
        with pytest.raises(lam.exceptions.ClientError) as refused:
            lam.create_function_url_config(FunctionName=function.name, AuthType="NONE", Qualifier=qualifier)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.create_function_url_config(FunctionName=function.name, AuthType="NONE", Qualifier="none")
    made = lam.create_function_url_config(FunctionName=function.name, AuthType="NONE", Qualifier="live")
    assert made["FunctionArn"] == function.arn + ":live" and made["InvokeMode"] == "BUFFERED"
    let_everyone(lam, function.name, Qualifier="live")
    assert Url(node, made["FunctionUrl"])().json() == ["1", function.arn + ":live"]
    plain = lam.create_function_url_config(FunctionName=function.name, AuthType="AWS_IAM")
    listed = lam.list_function_url_configs(FunctionName=function.name)["FunctionUrlConfigs"]
    assert [url["FunctionArn"] for url in listed] == [function.arn, function.arn + ":live"]
    assert {url["FunctionUrl"] for url in listed} == {made["FunctionUrl"], plain["FunctionUrl"]}
    one = lam.list_function_url_configs(FunctionName=function.name, MaxItems=1)
    rest = lam.list_function_url_configs(FunctionName=function.name, Marker=one["NextMarker"])
    assert one["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"] == listed
    lam.delete_alias(FunctionName=function.name, Name="live")
    assert Url(node, made["FunctionUrl"])().status_code == 404


def test_configurations_are_checked_changed_and_kept(lam, deploy):
    function = deploy(ECHO)
    ask = lambda **options: lam.create_function_url_config(FunctionName=function.name, **{"AuthType": "NONE", **options})
    for options, told in [
        ({"AuthType": "OPEN"}, "authType"),
        ({"InvokeMode": "FAST"}, "invokeMode"),
        ({"Cors": {"MaxAge": 90_000}}, "cors.maxAge"),
        ({"Cors": {"AllowMethods": ["FETCH"]}}, "cors.allowMethods"),
    ]:
        with pytest.raises(lam.exceptions.ClientError) as refused:
            ask(**options)
        assert refused.value.response["Error"]["Code"] == "ValidationException" and told in str(refused.value)
    cors = {"AllowOrigins": ["*"], "MaxAge": 60}
    made = ask(Cors=cors)
    assert made["Cors"] == cors and len(made["FunctionUrl"]) >= 40
    with pytest.raises(lam.exceptions.ResourceConflictException):
        ask()
    changed = lam.update_function_url_config(FunctionName=function.name, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    shown = lam.get_function_url_config(FunctionName=function.name)
    shown.pop("ResponseMetadata"), changed.pop("ResponseMetadata")
    assert shown == changed and shown["Cors"] == cors
    assert (shown["AuthType"], shown["InvokeMode"]) == ("AWS_IAM", "RESPONSE_STREAM")
    lam.delete_function_url_config(FunctionName=function.name)
    for gone in [lam.get_function_url_config, lam.delete_function_url_config, lam.update_function_url_config]:
        with pytest.raises(lam.exceptions.ResourceNotFoundException):
            gone(FunctionName=function.name)


def test_pages_of_other_origins_are_answered_by_the_rules(opened, logs):
    rules = {
        "AllowOrigins": ["https://app.example"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-token"],
        "ExposeHeaders": ["x-seen"], "MaxAge": 300, "AllowCredentials": True,
    }
    source = """
    def handler(event, context):
        print("ran")
        return {"statusCode": 200, "headers": {"access-control-allow-origin": "*", "x-seen": "1"}, "body": "ok"}
    """
    function = opened(source, cors=rules)
    asks = {"Access-Control-Request-Method": "POST"}
    preflight = function.url("/", "OPTIONS", {"Origin": "https://app.example", **asks})
    assert preflight.status_code == 200 and preflight.content == b""
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert preflight.headers["access-control-allow-methods"] == "GET,POST"
    assert preflight.headers["access-control-allow-headers"] == "x-token"
    assert preflight.headers["access-control-max-age"] == "300"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    other = function.url("/", "OPTIONS", {"Origin": "https://evil.example", **asks})
    assert "access-control-allow-origin" not in other.headers
    assert not messages(logs, f"/aws/lambda/{function.name}"), "preflights do not run the function"
    answer = function.url("/", "GET", {"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-expose-headers"] == "x-seen"
    assert "access-control-allow-origin" not in function.url("/", "GET", {"Origin": "https://evil.example"}).headers
    # Without rules everything is the function's business.
    plain = opened("def handler(event, context): return event['requestContext']['http']['method']")
    assert plain.url("/", "OPTIONS", {"Origin": "https://app.example", **asks}).text == "OPTIONS"


STREAM = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const ask = JSON.parse(event.body ?? "{}");
  if (ask.early) throw new Error("early");
  if (ask.head) stream = awslambda.HttpResponseStream.from(stream, ask.head);
  else if (ask.type) stream.setContentType(ask.type);
  for (const piece of ask.pieces ?? []) {
    stream.write(piece);
    await new Promise((done) => setTimeout(done, ask.pause ?? 0));
  }
  if (ask.fail) throw new Error("midway");
  stream.end();
});
"""


@pytest.fixture
def streaming(opened):
    return opened({"app.js": STREAM}, mode="RESPONSE_STREAM", runtime="nodejs20.x")


def test_streams_begin_with_the_first_byte(streaming, logs):
    head = {"statusCode": 418, "headers": {"content-type": "text/plain", "x-a": "b"}, "cookies": ["c=1"]}
    answer = streaming.url("/", "POST", json={"head": head, "pieces": ["one", "two"], "pause": 1000}, stream=True)
    assert answer.status_code == 418 and answer.headers["x-a"] == "b" and answer.cookies.get_dict() == {"c": "1"}
    arriving = answer.iter_content(chunk_size=None)
    for piece in [b"one", b"two"]:
        assert next(arriving) == piece
        assert not any("REPORT" in line for line in messages(logs, f"/aws/lambda/{streaming.name}"))
    assert list(arriving) == []
    plain = streaming.url("/", "POST", json={"pieces": ["a"], "type": "text/x-own"})
    assert (plain.status_code, plain.text, plain.headers["content-type"]) == (200, "a", "text/x-own")


def test_streams_that_fail_are_a_502_or_break_off(streaming):
    assert streaming.url("/", "POST", json={"early": True}).status_code == 502
    answer = streaming.url("/", "POST", json={"pieces": ["part"], "fail": True}, stream=True)
    with pytest.raises(requests.exceptions.RequestException):
        answer.content
    assert streaming.url("/", "POST", json={"pieces": ["b"]}).text == "b"
    assert streaming.url("/", "POST", json={"head": {"statusCode": "x"}, "pieces": ["b"]}).status_code == 502


def test_a_streaming_handler_behind_a_buffered_url_and_the_reverse(opened, lam):
    function = opened({"app.js": STREAM}, runtime="nodejs20.x")
    head = {"statusCode": 203, "headers": {"x-a": "b"}}
    answer = function.url("/", "POST", json={"head": head, "pieces": ["one", "two"]})
    assert (answer.status_code, answer.text, answer.headers["x-a"]) == (203, "onetwo", "b")
    assert function.url("/", "POST", json={"pieces": ["<p>"], "type": "text/html"}).text == "<p>"
    whole = opened(ECHO, mode="RESPONSE_STREAM")
    assert whole.url("/q").json()["rawPath"] == "/q"


def test_throttling_is_told(opened, lam):
    function = opened("import time\ndef handler(event, context): time.sleep(20)", Timeout=30)
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    answer = function.url()
    assert answer.status_code == 429
    assert answer.json() == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."
    }


def test_bodies_have_a_bound(opened):
    function = opened("def handler(event, context): return len(event['body'])")
    assert function.url("/", "POST", {"content-type": "text/plain"}, data=b"x" * 4_000_000).json() == 4_000_000
    assert function.url("/", "POST", {"content-type": "text/plain"}, data=b"x" * 6_300_000).status_code == 413


def test_curl_reads_a_stream_and_a_client_that_leaves_ends_nothing(node, streaming, logs):
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    host, port = streaming.url.host.rsplit(":", 1)
    body = json.dumps({"pieces": ["one", "two"], "type": "text/plain"})
    done = subprocess.run(
        ["curl", "-sN", "--resolve", f"{host}:{port}:127.0.0.1", "-d", body, "-H", "content-type: text/plain", streaming.url.shown],
        capture_output=True, text=True, timeout=30, check=True,
    )
    assert done.stdout == "onetwo"
    asked = json.dumps({"pieces": [str(n) for n in range(10)], "pause": 50}).encode()
    with socket.create_connection(("127.0.0.1", node.port)) as client:
        head = f"POST / HTTP/1.1\r\nHost: {streaming.url.host}\r\nContent-Type: text/plain\r\nContent-Length: {len(asked)}\r\n\r\n"
        client.sendall(head.encode() + asked)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    group = f"/aws/lambda/{streaming.name}"
    eventually(lambda: sum("REPORT" in line for line in messages(logs, group)) == 2)
    assert not any("rror" in line for line in messages(logs, group))


def test_urls_outlive_a_restart_with_kill_9():
    with running() as node:
        lam = node.client("lambda")
        lam.create_function(
            FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": package({"app.py": ECHO})}
        )
        made = lam.create_function_url_config(FunctionName="f", AuthType="NONE")
        let_everyone(lam, "f")
        port = node.port
        node.kill()
        node.start()
        url = Url(node, made["FunctionUrl"].replace(str(port), str(node.port)))
        assert url("/again").json()["rawPath"] == "/again"
        shown = json.loads(node.aws("lambda", "get-function-url-config", "--function-name", "f").stdout)
        assert shown["FunctionUrl"] == url.shown


def test_many_requests_at_once_get_their_own_answers(opened):
    function = opened("def handler(event, context): return event['rawPath']")
    answers = {}
    threads = [threading.Thread(target=lambda n=n: answers.update({n: function.url(f"/{n}").text}), daemon=True) for n in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == {n: f"/{n}" for n in range(16)}
