"""Examples that need more than their function: set up, used and mended as their README says."""

import hashlib
import hmac
import json
import pathlib
import subprocess
import sys

import requests
from conftest import BINARY, eventually, messages

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def deploy(node, folder):
    done = subprocess.run([BINARY, "deploy", str(folder)], capture_output=True, text=True, env=node.aws_environment())
    assert done.returncode == 0, done.stderr


def test_order_worker(dev, tmp_path):
    """Good orders are shipped once, bad ones come again, then go to the dead-letter queue; after a fix they are sent back."""
    example = EXAMPLES / "order-worker"
    deploy(dev, example)
    for _ in range(2):  # it may be run again
        done = subprocess.run([sys.executable, example / "setup.py"], capture_output=True, text=True,
                              env=dev.aws_environment())
        assert done.returncode == 0, done.stderr
    queues = json.loads(done.stdout)
    sqs, logs = dev.client("sqs"), dev.client("logs")

    def log():
        return messages(logs, "/aws/lambda/order-worker")

    def shipped(order):
        return sum(f"shipped {order} " in line for line in log())

    orders = [{"id": f"o{n}", "items": [{"name": "bolt", "count": n}]} for n in range(1, 10)]
    orders.append({"id": "gears", "items": [{"name": "gear", "count": 1}]})
    for order in orders:
        sqs.send_message(QueueUrl=queues["orders"], MessageBody=json.dumps(order))
    eventually(lambda: all(shipped(f"o{n}") >= 1 for n in range(1, 10)), timeout=60)

    def dead():
        dev.advance(61)  # the order that failed becomes visible again
        found = json.loads(dev.neap("--json", "queues").stdout)["queues"]
        return {q["name"]: q for q in found}["orders-dead"]["visible"] == 1

    eventually(dead, timeout=60, every=0.5)
    assert "gears" in dev.neap("queues", "peek", "orders-dead").stdout
    assert all(shipped(f"o{n}") == 1 for n in range(1, 10)), "partial failures bring back only what failed"
    fixed = tmp_path / "order-worker"
    fixed.mkdir()
    for name in ("app.py", "neap.toml"):
        text = (example / name).read_text()
        (fixed / name).write_text(text.replace('"nut": 15', '"nut": 15, "gear": 99'))
    deploy(dev, fixed)
    dev.neap("queues", "redrive", "orders-dead")
    eventually(lambda: shipped("gears") == 1, timeout=60)
    eventually(lambda: all(q["visible"] + q["in_flight"] == 0 for q in
                           json.loads(dev.neap("--json", "queues").stdout)["queues"]), timeout=60)


def test_webhook_idempotent(dev):
    """By its URL: a signed delivery is one message however often it is repeated; others are refused."""
    deploy(dev, EXAMPLES / "webhook-idempotent")
    lam, sqs = dev.client("lambda"), dev.client("sqs")
    url = lam.create_function_url_config(FunctionName="webhook-idempotent", AuthType="NONE")["FunctionUrl"]
    lam.add_permission(FunctionName="webhook-idempotent", StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*",
                       FunctionUrlAuthType="NONE")
    lam.add_permission(FunctionName="webhook-idempotent", StatementId="call", Action="lambda:InvokeFunction", Principal="*",
                       InvokedViaFunctionUrl=True)
    host = url.split("/")[2]

    def deliver(body, delivery, secret=b"example secret"):
        signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        headers = {"Host": host, "x-signature": signature, "x-delivery": delivery, "x-sender": "shop"}
        return requests.post(dev.endpoint + "/", data=body, headers=headers, timeout=60)

    for body, delivery in ((b'{"paid": 1}', "a"), (b'{"paid": 2}', "b"), (b'{"paid": 1}', "a"), (b'{"paid": 2}', "b")):
        assert deliver(body, delivery).status_code == 202
    assert deliver(b'{"paid": 3}', "c", secret=b"guessed").status_code == 401
    queue = sqs.get_queue_url(QueueName="webhooks.fifo")["QueueUrl"]
    got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"])["paid"] for message in got] == [1, 2]
