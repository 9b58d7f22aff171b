"""Who may do what: `neap serve` trusts nobody, `neap dev` trusts loopback."""

import datetime
import json
import os
import stat

import boto3
import botocore.exceptions
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from conftest import eventually, get, running


def code_of(caught):
    return caught.value.response["Error"]["Code"]


def other_client(node, service, key, secret, token=None):
    return node.client(service, aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token)


def signed(node, when=None, service="lambda", region="us-east-1", path="/2015-03-31/functions/", secret=None, mangle=None):
    """A raw request, signed as of `when`."""
    keys = node.credentials
    request = AWSRequest("GET", node.endpoint + path)
    auth = SigV4Auth(Credentials(keys["access_key"], secret or keys["secret_key"]), service, region)
    if when:
        from unittest import mock

        import botocore.auth

        with mock.patch.object(botocore.auth, "get_current_datetime", lambda *a, **k: when):
            auth.add_auth(request)
    else:
        auth.add_auth(request)
    prepared = request.prepare()
    headers = dict(prepared.headers)
    if mangle:
        mangle(headers)
    return requests.get(prepared.url, headers=headers, timeout=10)


def test_root_credentials_are_kept_privately(node):
    kept = node.data / "credentials.json"
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    keys = node.credentials
    assert keys["access_key"].startswith("AKIA") and len(keys["access_key"]) == 20
    assert len(keys["secret_key"]) == 40


def test_an_unsigned_request_is_refused(node):
    answer = get(node, "/2015-03-31/functions/")
    assert answer.status_code == 403
    assert "MissingAuthenticationToken" in answer.headers["x-amzn-ErrorType"]
    assert answer.headers["x-amzn-RequestId"]
    assert "message" in {key.lower() for key in answer.json()}


def test_an_unknown_key_and_a_wrong_secret_are_told_apart(node):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        other_client(node, "lambda", "AKIAXXXXXXXXXXXXXXXX", "x" * 40).list_functions()
    assert code_of(caught) == "UnrecognizedClientException"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        other_client(node, "lambda", node.credentials["access_key"], "x" * 40).list_functions()
    assert code_of(caught) in ("InvalidSignatureException", "SignatureDoesNotMatch")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        other_client(node, "sts", "AKIAXXXXXXXXXXXXXXXX", "x" * 40).get_caller_identity()
    assert code_of(caught) == "InvalidClientTokenId"


def test_old_and_early_signatures_are_refused(node):
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert signed(node).status_code == 200
    assert signed(node, now - datetime.timedelta(minutes=10)).status_code == 200
    assert signed(node, now - datetime.timedelta(minutes=16)).status_code == 403
    assert signed(node, now + datetime.timedelta(minutes=16)).status_code == 403


def test_mangled_authorization_headers_are_refused(node):
    def cut(headers):
        headers["Authorization"] = headers["Authorization"].split("SignedHeaders")[0]

    def garbage(headers):
        headers["Authorization"] = "AWS4-HMAC-SHA256 ,,,=;Credential=/////"

    def other_date(headers):
        headers["X-Amz-Date"] = "20200101T000000Z"

    for mangle in (cut, garbage, other_date):
        assert signed(node, mangle=mangle).status_code in (400, 403)
    assert signed(node, service="s3").status_code in (400, 403, 404, 501)


def test_each_region_is_a_namespace_of_its_own(node, deploy):
    here = deploy("def handler(e, c): return c.invoked_function_arn")
    there = node.client("lambda", region_name="eu-north-1")
    assert here.name not in [f["FunctionName"] for f in there.list_functions()["Functions"]]
    function = deploy("import os\ndef handler(e, c): return [c.invoked_function_arn, os.environ['AWS_REGION']]",
                      client=there, name=here.name)
    assert function() == [f"arn:aws:lambda:eu-north-1:000000000000:function:{here.name}", "eu-north-1"]


def test_a_changed_body_breaks_the_signature(node):
    keys = node.credentials
    request = AWSRequest("POST", node.endpoint + "/2015-03-31/functions/x/invocations", data=b'{"a":1}')
    SigV4Auth(Credentials(keys["access_key"], keys["secret_key"]), "lambda", "us-east-1").add_auth(request)
    headers = dict(request.prepare().headers)
    answer = requests.post(request.url, headers=headers, data=b'{"a":2}', timeout=10)
    assert answer.status_code == 403, answer.text


def test_sts_tells_who_asks_and_gives_sessions_that_work(node):
    sts = node.client("sts")
    who = sts.get_caller_identity()
    assert who["Account"] == "000000000000" and who["Arn"] == "arn:aws:iam::000000000000:root"
    role = "arn:aws:iam::000000000000:role/deployer"
    session = sts.assume_role(RoleArn=role, RoleSessionName="me", DurationSeconds=900)
    keys = session["Credentials"]
    assert session["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000000:assumed-role/deployer/me"
    left = keys["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=14) < left <= datetime.timedelta(minutes=15)
    inside = other_client(node, "sts", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    assert inside.get_caller_identity()["Arn"] == session["AssumedRoleUser"]["Arn"]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        other_client(node, "sts", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"][:-4] + "AAAA"
                     ).get_caller_identity()
    assert code_of(caught) == "InvalidClientTokenId"
    with pytest.raises(botocore.exceptions.ClientError):
        other_client(node, "sts", keys["AccessKeyId"], keys["SecretAccessKey"]).get_caller_identity()


def test_sessions_survive_a_restart(tmp_path):
    with running(data=tmp_path / "data") as node:
        role = "arn:aws:iam::000000000000:role/r"
        keys = node.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
        root = node.credentials
    with running(data=tmp_path / "data") as node:
        assert node.credentials == root
        who = other_client(node, "sts", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        assert who.get_caller_identity()["Arn"].endswith("assumed-role/r/me")


def test_another_accounts_resources_are_denied(node):
    lam = node.client("lambda")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        lam.get_function(FunctionName="arn:aws:lambda:us-east-1:111111111111:function:theirs")
    assert code_of(caught) in ("AccessDeniedException", "ResourceNotFoundException")


def test_presigned_requests_are_verified(node):
    from botocore.auth import SigV4QueryAuth

    keys = node.credentials
    url = node.endpoint + "/2015-03-31/functions/"
    request = AWSRequest("GET", url)
    SigV4QueryAuth(Credentials(keys["access_key"], keys["secret_key"]), "lambda", "us-east-1", 60).add_auth(request)
    good = request.prepare().url
    assert requests.get(good, timeout=10).status_code == 200
    assert requests.get(good + "&x=1", timeout=10).status_code == 403


def test_http2_with_prior_knowledge_shares_the_port(node):
    import shutil
    import subprocess

    if not shutil.which("curl"):
        pytest.skip("needs curl")
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-o", "/dev/null",
         node.endpoint + "/2015-03-31/functions/"],
        capture_output=True, text=True, timeout=30,
    )
    assert done.stdout == "2 403", done


def test_unknown_operations_are_named(node):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        node.client("sns").list_topics()
    assert "sns" in str(caught.value).lower() or "ListTopics" in str(caught.value)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        node.client("logs").start_query(logGroupName="x", startTime=0, endTime=1, queryString="fields @message")
    assert "StartQuery" in str(caught.value)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        node.client("sts").get_federation_token(Name="xy")
    assert "GetFederationToken" in str(caught.value)


def test_dev_mode_takes_any_credentials_and_digits_as_the_account():
    with running("dev") as node:
        who = node.client("sts").get_caller_identity()
        assert who["Account"] == "000000000000"
        sts = other_client(node, "sts", "123456789012", "anything")
        assert sts.get_caller_identity()["Account"] == "123456789012"
        unsigned = boto3.client(
            "lambda", endpoint_url=node.endpoint, region_name="us-east-1",
            aws_access_key_id="x", aws_secret_access_key="y", config=Config(signature_version=botocore.UNSIGNED),
        )
        assert unsigned.list_functions()["Functions"] == []


def test_dev_mode_has_the_health_and_reset_endpoints_of_local_tools():
    from conftest import ROLE, package

    with running("dev") as node:
        health = get(node, "/_localstack/health").json()
        assert health["services"]["lambda"] in ("available", "running")
        assert health["services"]["sqs"] == "running" and "sns" not in health["services"], "only what works is listed"
        lam = node.client("lambda")
        lam.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                            Code={"ZipFile": package({"app.py": "def handler(e, c): return 1"})})
        lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1})
        assert lam.invoke(FunctionName="f")["Payload"].read() == b"1"
        sqs = node.client("sqs")
        sqs.create_queue(QueueName="q")
        assert requests.post(node.endpoint + "/_localstack/state/reset", timeout=30).status_code == 200
        assert lam.list_functions()["Functions"] == []
        assert "QueueUrls" not in sqs.list_queues()


def test_the_serving_node_has_no_reset(node):
    answer = requests.post(node.endpoint + "/_localstack/state/reset", timeout=10)
    assert answer.status_code in (403, 404)


def test_host_names_of_local_tools_are_routed():
    with running("dev") as node:
        for host in ("lambda.us-east-1.localhost.localstack.cloud", "localhost.localstack.cloud", "localhost"):
            answer = requests.get(node.endpoint + "/2015-03-31/functions/", headers={"Host": f"{host}:{node.port}"}, timeout=10)
            assert answer.status_code == 200 and answer.json()["Functions"] == [], host


def test_an_oversized_request_is_cut_off(node):
    keys = node.credentials
    request = AWSRequest("POST", node.endpoint + "/", data=b"Action=GetCallerIdentity&" + b"x" * (80 * 1024 * 1024))
    SigV4Auth(Credentials(keys["access_key"], keys["secret_key"]), "sts", "us-east-1").add_auth(request)
    try:
        answer = requests.post(request.url, headers=dict(request.prepare().headers), data=request.data, timeout=30)
        assert answer.status_code in (400, 413)
    except requests.ConnectionError:
        pass
    assert get(node, "/_neap/health").status_code == 200


def test_malformed_bytes_do_no_harm(node):
    import socket

    for bad in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, b"GET /%zz%00 HTTP/1.1\r\nHost: \xff\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", node.port), 5) as connection:
            connection.sendall(bad)
            connection.settimeout(2)
            try:
                connection.recv(4096)
            except (TimeoutError, ConnectionError):
                pass
    assert json.loads(get(node, "/_neap/health").text)["status"] == "ok"


def test_health_tells_when_no_start_waits_for_a_runtime_any_more(node):
    states = set()

    def ready():
        states.add(get(node, "/_neap/health").json()["runtimes"])
        return "ready" in states

    eventually(ready, timeout=120)
    assert states <= {"preparing", "ready"}
