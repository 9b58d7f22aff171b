"""`neap queues`: what people see of queues, and what they do with them."""

import json
import uuid

import pytest
from conftest import eventually, running


@pytest.fixture(scope="module")
def signing():
    with running() as node:
        yield node


def test_queues_are_listed_looked_into_redriven_and_purged(signing):
    sqs = signing.client("sqs")
    dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dead", "maxReceiveCount": 1})
    account = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"].split(":")[4]
    policy = policy.replace("000000000000", account)
    url = sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy})["QueueUrl"]
    for n in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=f"order {n}\n" + "x" * 200)
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=600)
    found = {q["name"]: q for q in json.loads(signing.neap("--json", "queues").stdout)["queues"]}
    assert found["orders"]["visible"] == 3 and found["orders"]["delayed"] == 1
    assert found["orders"]["dead_letter_queue"] == "orders-dead" and found["orders-dead"]["is_dead_letter_queue"]
    assert found["orders"]["oldest_age_s"] < 600
    lines = signing.neap("queues", "ls").stdout.splitlines()
    assert lines[0].split() == ["QUEUE", "VISIBLE", "IN", "FLIGHT", "DELAYED", "OLDEST", "DEAD", "LETTERS"]
    assert any(line.split()[:4] == ["orders", "3", "0", "1"] and line.endswith("orders-dead") for line in lines)
    # Looking is not receiving.
    looked = json.loads(signing.neap("--json", "queues", "peek", "orders", "--max", "2").stdout)["messages"]
    assert [m["body"].split("\n")[0] for m in looked] == ["order 0", "order 1"]
    assert all(m["receive_count"] == 0 and m["state"] == "visible" for m in looked)
    shown = signing.neap("queues", "peek", "orders").stdout
    assert "delayed" in shown and "…" in shown and "order 2" in shown

    def all_dead():
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        found = {q["name"]: q for q in json.loads(signing.neap("--json", "queues").stdout)["queues"]}
        return found["orders-dead"]["visible"] == 3

    eventually(all_dead)
    signing.neap("queues", "redrive", "orders-dead")
    eventually(lambda: {q["name"]: q for q in json.loads(signing.neap("--json", "queues").stdout)["queues"]}["orders"]["visible"] == 3)
    signing.neap("queues", "purge", "orders")
    eventually(lambda: {q["name"]: q for q in json.loads(signing.neap("--json", "queues").stdout)["queues"]}["orders"]["delayed"] == 0)


def test_what_is_wrong_is_said(signing):
    for arguments in (["peek", "none"], ["purge", "none"], ["redrive", "none"]):
        done = signing.neap("queues", *arguments, check=False)
        assert done.returncode != 0 and "does not exist" in done.stderr
    plain = f"q-{uuid.uuid4().hex}"
    signing.client("sqs").create_queue(QueueName=plain)
    done = signing.neap("queues", "redrive", plain, check=False)
    assert done.returncode != 0 and "Dead Letter Queue" in done.stderr
    assert "no messages" in signing.neap("queues", "peek", plain).stderr
