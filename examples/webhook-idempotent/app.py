"""Takes webhooks: checks the signature of the body as it was sent, puts it into a FIFO queue, answers at once.

The sender's delivery id is the message's deduplication id: a delivery that is repeated is taken once. The messages of one sender stay in
order, since they are one group.
"""

import base64
import hashlib
import hmac
import os

import boto3

SECRET = os.environ["SECRET"].encode()
QUEUE = os.environ.get("QUEUE", "webhooks.fifo")
sqs = boto3.client("sqs")
queue = sqs.create_queue(QueueName=QUEUE, Attributes={"FifoQueue": "true"})["QueueUrl"]


def signature(body):
    return "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()


def handler(event, context):
    headers = event.get("headers", {})
    body = event.get("body") or ""
    body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    if not hmac.compare_digest(signature(body), headers.get("x-signature", "")):
        return {"statusCode": 401, "body": "the signature is not that of this body"}
    delivery = headers.get("x-delivery")
    if not delivery:
        return {"statusCode": 400, "body": "x-delivery is missing"}
    sent = sqs.send_message(
        QueueUrl=queue, MessageBody=body.decode(), MessageGroupId=headers.get("x-sender", "anybody"),
        MessageDeduplicationId=delivery,
    )
    return {"statusCode": 202, "body": sent["MessageId"]}
