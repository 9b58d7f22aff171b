"""A node whose databases are schemas of a PostgreSQL server and whose packages are in an S3-compatible bucket."""

import datetime
import json
import os
import re
import uuid

import boto3
import pytest
import requests
from conftest import ROLE, eventually, get, messages, package, root, running
from test_scaling import Scaled, at
from test_urls import Url, let_everyone

pytestmark = [
    root,
    pytest.mark.skipif("NEAP_TEST_POSTGRES" not in os.environ, reason="NEAP_TEST_POSTGRES names no server"),
    pytest.mark.skipif("NEAP_TEST_S3" not in os.environ, reason="NEAP_TEST_S3 names no server"),
]


@pytest.fixture
def config():
    """What nodes share."""
    bucket = f"neap-{uuid.uuid4().hex[:8]}"
    s3 = boto3.client("s3", endpoint_url=os.environ["NEAP_TEST_S3"], region_name="us-east-1",
                      aws_access_key_id="test", aws_secret_access_key="test")
    s3.create_bucket(Bucket=bucket)
    return f"""
[store]
postgres_url = "{os.environ["NEAP_TEST_POSTGRES"]}"
[blobs.s3]
endpoint = "{os.environ["NEAP_TEST_S3"]}"
bucket = "{bucket}"
access_key = "test"
secret_key = "test"
"""


def test_functions_live_in_postgresql_and_a_bucket(tmp_path, config):
    with running(config=config, data=tmp_path / "one") as node:
        lam = node.client("lambda")
        lam.create_function(FunctionName="there", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                            Code={"ZipFile": package({"app.py": "def handler(e, c):\n    print('said', e)\n    return e"})})
        lam.get_waiter("function_active_v2").wait(FunctionName="there", WaiterConfig={"Delay": 0.1})
        assert lam.invoke(FunctionName="there", Payload=b"1")["Payload"].read() == b"1"
        lam.invoke(FunctionName="there", InvocationType="Event", Payload=b"2")
        eventually(lambda: any("said 2" in m for m in messages(node.client("logs"), "/aws/lambda/there")))
        assert not list((tmp_path / "one").glob("db/*.sqlite"))
    # Another folder, as on another machine: everything that matters is in the database and the bucket.
    with running(config=config, data=tmp_path / "two") as node:
        assert node.client("lambda").invoke(FunctionName="there", Payload=b"3")["Payload"].read() == b"3"
        assert any("said 1" in m for m in messages(node.client("logs"), "/aws/lambda/there"))


def test_a_node_sees_what_another_changes(tmp_path, config):
    name = f"shared-{uuid.uuid4().hex[:8]}"
    source = "import os\ndef handler(e, c): return [os.environ.get('SAYS'), c.function_version]"
    with running(config=config, data=tmp_path / "one") as one, running(config=config, data=tmp_path / "two") as two:
        ours, theirs = one.client("lambda"), two.client("lambda")
        ours.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE, Publish=True,
                             Code={"ZipFile": package({"app.py": source})}, Environment={"Variables": {"SAYS": "a"}})
        ours.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 0.1})
        ours.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        ask = lambda qualifier: json.loads(theirs.invoke(FunctionName=name, Qualifier=qualifier)["Payload"].read())
        # Both nodes know it from now on.
        assert ask("$LATEST") == ["a", "$LATEST"] and ask("live") == ["a", "1"]
        ours.update_function_configuration(FunctionName=name, Environment={"Variables": {"SAYS": "b"}})
        eventually(lambda: ask("$LATEST") == ["b", "$LATEST"])
        ours.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        ours.publish_version(FunctionName=name)
        ours.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
        eventually(lambda: ask("live") == ["b", "2"])
        # Function URLs and their policies, and concurrency.
        url = Url(two, theirs.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"])
        assert url().status_code == 403
        let_everyone(ours, name)
        eventually(lambda: url().status_code == 200)
        ours.remove_permission(FunctionName=name, StatementId="url")
        eventually(lambda: url().status_code == 403)
        ours.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)

        def throttled():
            try:
                ask("$LATEST")
            except theirs.exceptions.TooManyRequestsException:
                return True

        eventually(throttled)
        # A link that one node has made is good at the other.
        link = ours.get_function(FunctionName=name)["Code"]["Location"].replace(one.endpoint, two.endpoint)
        assert requests.get(link, timeout=30).content.startswith(b"PK")
        ours.delete_function(FunctionName=name)

        def gone():
            try:
                ask("live")
            except theirs.exceptions.ResourceNotFoundException:
                return True

        eventually(gone)


def test_provisioned_concurrency_is_charged_once_for_all_nodes(tmp_path, config):
    name = f"ready-{uuid.uuid4().hex[:8]}"
    with running(config=config, data=tmp_path / "one") as one, running(config=config, data=tmp_path / "two") as two:
        lam = one.client("lambda")
        lam.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE, Publish=True,
                            Code={"ZipFile": package({"app.py": "def handler(e, c): return 1"})}, MemorySize=1024)
        lam.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 0.1})
        lam.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)

        def ready(node):
            found = node.client("lambda").get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
            return found["Status"] == "READY"

        # The other node keeps the floor as well, as soon as it has seen it.
        eventually(lambda: ready(one) and ready(two))
        for node in (one, two):
            functions = json.loads(node.neap("cost", "--json").stdout)["functions"]
            [own] = [function for function in functions if function["function"] == name]
            assert own["reserved_gb_seconds"] in (300, 600)
        lam.delete_function(FunctionName=name)


def test_another_node_takes_over_a_mapping(tmp_path, config):
    """One node polls at a time; when it dies another goes on, and no message is lost."""
    name = f"mapped-{uuid.uuid4().hex[:8]}"
    source = "def handler(e, c):\n    for r in e['Records']: print('GOT ' + r['body'])"
    with running(config=config, data=tmp_path / "one") as one, running(config=config, data=tmp_path / "two") as two:
        lam, sqs = one.client("lambda"), one.client("sqs")
        lam.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE, Timeout=3,
                            Code={"ZipFile": package({"app.py": source})})
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "10"})["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        made = lam.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
        eventually(lambda: lam.get_event_source_mapping(UUID=made["UUID"])["State"] == "Enabled")

        def polling(node):
            text = get(node, "/_neap/metrics").text
            return int(re.search(r"^neap_event_source_pollers{} ([0-9]+)", text, re.M).group(1))

        eventually(lambda: polling(one) + polling(two) == 1, timeout=60)
        first, other = (one, two) if polling(one) else (two, one)
        got = lambda node: [m.split()[1] for m in messages(node.client("logs"), f"/aws/lambda/{name}") if m.startswith("GOT ")]
        # What is sent through the node that does not poll arrives too.
        theirs = other.client("sqs")
        there = theirs.get_queue_url(QueueName=name)["QueueUrl"]
        theirs.send_message(QueueUrl=there, MessageBody="a")
        eventually(lambda: "a" in got(other), timeout=60)
        first.kill()
        for body in "bcd":
            theirs.send_message(QueueUrl=there, MessageBody=body)
        eventually(lambda: {"b", "c", "d"} <= set(got(other)), timeout=120)
        assert polling(other) == 1
        count = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        eventually(lambda: set(theirs.get_queue_attributes(QueueUrl=there, AttributeNames=count)["Attributes"].values()) == {"0"},
                   timeout=60)


def test_what_a_node_learns_of_calls_the_next_one_knows(tmp_path, config):
    name = f"learned-{uuid.uuid4().hex[:8]}"

    def kept(node):
        answer = json.loads(node.neap("ps", "--json").stdout)
        [one] = [one for one in answer["environments"] if one["function"] == name]
        return one["kept"]

    with running(config=config, data=tmp_path / "one") as node:
        lam = node.client("lambda")
        lam.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                            Code={"ZipFile": package({"app.py": "def handler(e, c): return e"})})
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        for _ in range(8):
            lam.invoke(FunctionName=name)
        assert kept(node).startswith("learned from 7 gaps")
    with running(config=config, data=tmp_path / "two") as node:
        lam = node.client("lambda")
        lam.invoke(FunctionName=name)
        # A call that finds its package missing on this node fetches it and comes once more: that may be counted as well.
        assert re.match("learned from [89] gaps", kept(node))
        lam.delete_function(FunctionName=name)


def test_one_of_several_nodes_scales_and_another_takes_over(tmp_path, config):
    with running(config=config, data=tmp_path / "one") as one, running(config=config, data=tmp_path / "two") as two:
        scaled = Scaled(one, qualifier="1")
        scaled.register(0, 5)

        def due():
            return at(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3))

        scaled.schedule("first", due(), 1)
        scaled.becomes(1)
        eventually(lambda: len(scaled.activities()) == 2)
        # Whichever has the right to scale: the other has it soon after its end.
        one.kill()
        scaled.connect(two)
        assert scaled.capacity() == 1 and len(scaled.activities()) == 2
        scaled.schedule("second", due(), 2)
        eventually(lambda: scaled.capacity() == 2, timeout=90)
        eventually(lambda: len(scaled.activities()) == 4)
        scaled.api.deregister_scalable_target(**scaled.key)
        scaled.lam.delete_function(FunctionName=scaled.name)
