"""SQS by boto3 (JSON), by the older query protocol, by the AWS CLI: queues, messages, limits. Time is moved by `/_neap/clock`."""

import concurrent.futures
import hashlib
import json
import re
import threading
import time
import uuid
import xml.etree.ElementTree as ET

import botocore.exceptions
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import eventually, get, running

ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def sqs(dev):
    return dev.client("sqs")


def arn(url):
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{url.rsplit('/', 1)[1]}"


@pytest.fixture
def queue(sqs):
    """Makes queues and deletes them afterwards."""
    made = []

    def make(name=None, fifo=False, **attributes):
        name = name or f"q-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        url = sqs.create_queue(QueueName=name, Attributes={k: str(v) for k, v in attributes.items()})["QueueUrl"]
        made.append(url)
        return url

    yield make
    for url in made:
        try:
            sqs.delete_queue(QueueUrl=url)
        except botocore.exceptions.ClientError as error:
            assert "NonExistentQueue" in error.response["Error"]["Code"]


def refused(call, **arguments):
    """Code and text of the error that a call must end with."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def bodies(reply):
    return [message["Body"] for message in reply.get("Messages", [])]


def depth(sqs, url):
    names = ["", "NotVisible", "Delayed"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return tuple(int(found["ApproximateNumberOfMessages" + name]) for name in names)


# --- one message from end to end


def test_a_message_is_sent_received_and_deleted(sqs, queue):
    url = queue()
    sent = sqs.send_message(
        QueueUrl=url, MessageBody="hello ☃",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "greeting"},
                           "size": {"DataType": "Number.int", "StringValue": "7"},
                           "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}},
    )  # boto3 itself checks the digests
    assert sent["MD5OfMessageBody"] == hashlib.md5("hello ☃".encode()).hexdigest()
    assert "SequenceNumber" not in sent and sent["MD5OfMessageSystemAttributes"]
    assert depth(sqs, url) == (1, 0, 0)
    reply = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"])
    (message,) = reply["Messages"]
    assert message["MessageId"] == sent["MessageId"] and message["Body"] == "hello ☃"
    assert message["MessageAttributes"]["raw"] == {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    assert message["MessageAttributes"]["size"] == {"DataType": "Number.int", "StringValue": "7"}
    attributes = message["Attributes"]
    assert attributes["ApproximateReceiveCount"] == "1" and attributes["AWSTraceHeader"] == "Root=1-2-3"
    assert int(attributes["SentTimestamp"]) <= int(attributes["ApproximateFirstReceiveTimestamp"])
    assert depth(sqs, url) == (0, 1, 0)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert depth(sqs, url) == (0, 0, 0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])  # once more does no harm


def test_only_the_attributes_that_are_asked_for_are_shown(sqs, queue):
    url = queue(VisibilityTimeout=0)
    value = {"DataType": "String", "StringValue": "v"}
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes={"a.x": value, "a.y": value, "b": value})

    def shown(**options):
        (message,) = sqs.receive_message(QueueUrl=url, **options)["Messages"]
        return sorted(message.get("MessageAttributes", {})), sorted(message.get("Attributes", {}))

    assert shown() == ([], [])
    assert shown(MessageAttributeNames=["a.*"]) == (["a.x", "a.y"], [])
    assert shown(MessageAttributeNames=["b", "none"]) == (["b"], [])
    assert shown(MessageAttributeNames=[".*"], MessageSystemAttributeNames=["SentTimestamp"]) == (
        ["a.x", "a.y", "b"], ["SentTimestamp"])
    assert refused(sqs.receive_message, QueueUrl=url, AttributeNames=["Nope"]) == (
        "InvalidAttributeName", "Unknown Attribute Nope.")


def test_a_message_is_visible_again_after_its_timeout(dev, sqs, queue):
    url = queue(VisibilityTimeout=40)
    sqs.send_message(QueueUrl=url, MessageBody="again")
    (first,) = sqs.receive_message(QueueUrl=url)["Messages"]
    dev.advance(39)
    assert not bodies(sqs.receive_message(QueueUrl=url))
    dev.advance(2)
    (second,) = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    # The handle of the first receive is void; it deletes nothing.
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert depth(sqs, url) == (0, 1, 0)
    # One that is late but the last still deletes.
    dev.advance(41)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    assert depth(sqs, url) == (0, 0, 0)


def test_visibility_is_changed(dev, sqs, queue):
    url = queue(VisibilityTimeout=30)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=100)
    dev.advance(60)
    assert not bodies(sqs.receive_message(QueueUrl=url))
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    code, _ = refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=10)
    assert code == "AWS.SimpleQueueService.MessageNotInflight" or code == "MessageNotInflight"
    assert bodies(sqs.receive_message(QueueUrl=url)) == ["x"]
    for seconds in (-1, 43201):
        code, text = refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=seconds)
        assert code == "InvalidParameterValue" and str(seconds) in text
    code, _ = refused(sqs.delete_message, QueueUrl=url, ReceiptHandle="nonsense")
    assert code == "ReceiptHandleIsInvalid"
    other = queue()
    code, _ = refused(sqs.delete_message, QueueUrl=other, ReceiptHandle=handle)
    assert code == "ReceiptHandleIsInvalid"


def test_delays_of_queues_and_messages(dev, sqs, queue):
    url = queue(DelaySeconds=20)
    sqs.send_message(QueueUrl=url, MessageBody="queue's")
    sqs.send_message(QueueUrl=url, MessageBody="own", DelaySeconds=0)
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=900)
    assert depth(sqs, url) == (1, 0, 2)
    assert bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)) == ["own"]
    dev.advance(21)
    assert bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)) == ["queue's"]
    dev.advance(880)
    assert "late" in bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))


def test_old_messages_are_forgotten(dev, sqs, queue):
    url, other = queue(MessageRetentionPeriod=60), queue()
    sqs.send_message(QueueUrl=url, MessageBody="old")
    sqs.send_message(QueueUrl=other, MessageBody="kept")
    dev.advance(61)
    assert not bodies(sqs.receive_message(QueueUrl=url))
    dev.advance(61)  # and nobody need ask
    eventually(lambda: depth(sqs, url) == (0, 0, 0))
    assert depth(sqs, other) == (1, 0, 0)


# --- waiting


def test_a_waiting_receive_wakes_at_once(sqs, queue):
    url = queue()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(0.3)
        began = time.monotonic()
        sqs.send_message(QueueUrl=url, MessageBody="now")
        assert bodies(waiting.result(timeout=15)) == ["now"]
        assert time.monotonic() - began < 10, "it waited for its end"


def test_waiting_ends_with_the_clock_and_by_the_queues_default(dev, sqs, queue):
    url = queue(ReceiveMessageWaitTimeSeconds=20)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=url)
        time.sleep(0.3)
        assert not waiting.done()
        dev.advance(21)
        assert not bodies(waiting.result(timeout=15))


def test_a_waiting_receive_sees_what_becomes_visible(dev, sqs, queue):
    url = queue(VisibilityTimeout=15)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.receive_message(QueueUrl=url)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(0.3)
        dev.advance(16)
        assert bodies(waiting.result(timeout=15)) == ["x"]


def test_a_client_that_leaves_takes_nothing_along(dev, sqs, queue):
    url = queue()
    body = {"QueueUrl": url, "WaitTimeSeconds": 20}
    headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"}
    for _ in range(5):
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(dev.endpoint, json=body, headers=headers, timeout=(5, 0.2))
    time.sleep(0.2)
    sqs.send_message(QueueUrl=url, MessageBody="mine")
    assert bodies(sqs.receive_message(QueueUrl=url)) == ["mine"]


def test_every_message_goes_to_one_of_many_waiting(sqs, queue):
    url = queue()
    got, lock = [], threading.Lock()

    def consume():
        while True:
            reply = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=3)
            for message in reply.get("Messages", []):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                if message["Body"] == "end":
                    return
                with lock:
                    got.append(message["Body"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        consumers = [pool.submit(consume) for _ in range(8)]
        for n in range(100):
            sqs.send_message(QueueUrl=url, MessageBody=str(n))
        eventually(lambda: len(got) == 100)
        for _ in range(8):
            sqs.send_message(QueueUrl=url, MessageBody="end")
        # A consumer may take several ends, which are then sent again for the others.
        while not all(consumer.done() for consumer in consumers):
            sqs.send_message(QueueUrl=url, MessageBody="end")
            time.sleep(0.05)
    assert sorted(got, key=int) == [str(n) for n in range(100)]


# --- batches


def test_batches_tell_of_each_entry(sqs, queue):
    url = queue()
    entries = [
        {"Id": "good", "MessageBody": "1"},
        {"Id": "bad", "MessageBody": "x", "DelaySeconds": 901},
        {"Id": "ugly", "MessageBody": "\u0001"},
        {"Id": "also_good", "MessageBody": "2"},
    ]
    reply = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in reply["Successful"]] == ["good", "also_good"]
    failed = {entry["Id"]: entry for entry in reply["Failed"]}
    assert failed["bad"]["Code"] == "InvalidParameterValue" and failed["bad"]["SenderFault"] is True
    assert failed["ugly"]["Code"] == "InvalidMessageContents"
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for n, m in enumerate(got)]
    reply = sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[*entries, {"Id": "no", "ReceiptHandle": "x", "VisibilityTimeout": 1}])
    assert len(reply["Successful"]) == 2 and reply["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(got)]
    assert len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 2
    assert depth(sqs, url) == (0, 0, 0)


def test_wrong_batches_are_refused_whole(sqs, queue):
    url = queue()
    for entries, code in [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "MessageBody": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "MessageBody": "x"}, {"Id": "a", "MessageBody": "y"}], "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": "x" * 81, "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)], "BatchRequestTooLong"),
    ]:
        found, _ = refused(sqs.send_message_batch, QueueUrl=url, Entries=entries)
        assert found.rsplit(".", 1)[-1] == code
    assert depth(sqs, url) == (0, 0, 0)


def test_limits_of_messages(sqs, queue):
    url = queue(MaximumMessageSize=1024)
    sqs.send_message(QueueUrl=url, MessageBody="x" * 1024)
    code, text = refused(sqs.send_message, QueueUrl=url, MessageBody="x" * 1025)
    assert code == "InvalidParameterValue" and "shorter than 1024 bytes" in text
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="")[0] == "MissingParameter"
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a\u0008")[0] == "InvalidMessageContents"
    for attribute in [{"DataType": "Strange", "StringValue": "x"}, {"DataType": "String", "StringValue": ""},
                      {"DataType": "Number", "StringValue": "many"}, {"DataType": "Binary", "StringValue": "x"}]:
        code, _ = refused(sqs.send_message, QueueUrl=url, MessageBody="x", MessageAttributes={"a": attribute})
        assert code == "InvalidParameterValue", attribute
    for options in [{"MaxNumberOfMessages": 0}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21},
                    {"VisibilityTimeout": 43201}]:
        assert refused(sqs.receive_message, QueueUrl=url, **options)[0] == "InvalidParameterValue"
    large = queue()
    sqs.send_message(QueueUrl=large, MessageBody="\"" * 1_048_576)
    assert len(bodies(sqs.receive_message(QueueUrl=large))[0]) == 1_048_576
    assert refused(sqs.send_message, QueueUrl=large, MessageBody="x" * 1_048_577)[0] == "InvalidParameterValue"
    assert refused(sqs.send_message, QueueUrl=large, MessageBody="x", MessageGroupId="a b")[0] == "InvalidParameterValue"


def test_a_tenants_backlog_does_not_make_others_wait(sqs, queue):
    url = queue()

    def send(group, bodies):
        for at in range(0, len(bodies), 10):
            sqs.send_message_batch(QueueUrl=url, Entries=[
                {"Id": str(n), "MessageBody": body, "MessageGroupId": group} for n, body in enumerate(bodies[at:at + 10])])

    send("noisy", [f"noisy {n}" for n in range(100)])
    send("quiet", [f"quiet {n}" for n in range(5)])
    sqs.send_message(QueueUrl=url, MessageBody="of nobody")
    assert depth(sqs, url) == (106, 0, 0)
    got = []
    while len(got) < 106:
        reply = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["MessageGroupId"])["Messages"]
        assert all(m.get("Attributes", {}).get("MessageGroupId") in ("noisy", "quiet", None) for m in reply)
        got += [message["Body"] for message in reply]
        sqs.delete_message_batch(QueueUrl=url, Entries=[
            {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(reply)])
    assert len(set(got)) == 106 and depth(sqs, url) == (0, 0, 0)
    # Sixteen that are no backlog, and at most one receive of backlog before the last of them.
    assert max(got.index("of nobody"), *(got.index(f"quiet {n}") for n in range(5))) < 26


# --- queues themselves


def test_queues_are_made_found_listed_and_deleted(dev, sqs, queue):
    prefix = uuid.uuid4().hex[:8]
    urls = [queue(f"{prefix}-{n}") for n in range(3)]
    assert urls[0] == f"{dev.endpoint}/{ACCOUNT}/{prefix}-0"
    assert sqs.get_queue_url(QueueName=f"{prefix}-1")["QueueUrl"] == urls[1]
    assert sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"] == urls
    page = sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2)
    assert page["QueueUrls"] == urls[:2]
    assert sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2, NextToken=page["NextToken"])["QueueUrls"] == urls[2:]
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="none-" + prefix)
    sqs.send_message(QueueUrl=urls[0], MessageBody="lost")
    sqs.delete_queue(QueueUrl=urls[0])
    code, text = refused(sqs.send_message, QueueUrl=urls[0], MessageBody="x")
    assert (code, text) == ("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
    assert refused(sqs.get_queue_url, QueueName=f"{prefix}-0")[0] == code
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.receive_message(QueueUrl=urls[0])
    assert refused(sqs.create_queue, QueueName=f"{prefix}-0")[0].endswith("QueueDeletedRecently")
    dev.advance(61)
    assert not bodies(sqs.receive_message(QueueUrl=queue(f"{prefix}-0")))


def test_attributes_are_told_and_set(sqs, queue):
    url = queue()
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["QueueArn"] == arn(url) and found["VisibilityTimeout"] == "30"
    assert found["MaximumMessageSize"] == "1048576" and found["MessageRetentionPeriod"] == "345600"
    assert found["DelaySeconds"] == found["ReceiveMessageWaitTimeSeconds"] == "0"
    assert "FifoQueue" not in found and "Policy" not in found
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77", "DelaySeconds": "5"})
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "DelaySeconds"])["Attributes"]
    assert found == {"VisibilityTimeout": "77", "DelaySeconds": "5"}
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url)
    # The same again is the same queue, with other attributes it is not.
    name = url.rsplit("/", 1)[1]
    assert sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})["QueueUrl"] == url
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url
    assert refused(sqs.create_queue, QueueName=name, Attributes={"VisibilityTimeout": "1"})[0] == "QueueAlreadyExists"


@pytest.mark.parametrize("name,value,code", [
    ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
    ("VisibilityTimeout", "x", "InvalidAttributeValue"),
    ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
    ("MaximumMessageSize", "1048577", "InvalidAttributeValue"),
    ("DelaySeconds", "901", "InvalidAttributeValue"),
    ("ReceiveMessageWaitTimeSeconds", "21", "InvalidAttributeValue"),
    ("Nonsense", "1", "InvalidAttributeName"),
    ("QueueArn", "x", "InvalidAttributeName"),
    ("FifoQueue", "true", "InvalidAttributeName"),
    ("ContentBasedDeduplication", "true", "InvalidAttributeName"),
    ("KmsMasterKeyId", "alias/x", "UnsupportedOperation"),
    ("SqsManagedSseEnabled", "true", "UnsupportedOperation"),
    ("Policy", "{", "InvalidAttributeValue"),
    ("RedrivePolicy", "{}", "InvalidParameterValue"),
    ("RedrivePolicy", '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:none", "maxReceiveCount": 1}',
     "InvalidParameterValue"),
    ("RedriveAllowPolicy", '{"redrivePermission": "maybe"}', "InvalidParameterValue"),
])
def test_wrong_attributes_are_refused(sqs, queue, name, value, code):
    url = queue()
    found, text = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: value})
    assert found.rsplit(".", 1)[-1] == code, text
    found, _ = refused(sqs.create_queue, QueueName=uuid.uuid4().hex, Attributes={name: value})
    assert found.rsplit(".", 1)[-1] == code


@pytest.mark.parametrize("name", ["", "a b", "x" * 81, "q.fifo", "ä"])
def test_wrong_names_are_refused(sqs, name):
    assert refused(sqs.create_queue, QueueName=name)[0] == "InvalidParameterValue"


def test_purging(dev, sqs, queue):
    url = queue()
    for n in range(3):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(m), "MessageBody": f"{n}-{m}"} for m in range(10)])
    sqs.receive_message(QueueUrl=url)
    sqs.purge_queue(QueueUrl=url)
    eventually(lambda: depth(sqs, url) == (0, 0, 0))
    assert refused(sqs.purge_queue, QueueUrl=url)[0].endswith("PurgeQueueInProgress")
    sqs.send_message(QueueUrl=url, MessageBody="later")
    dev.advance(61)
    assert depth(sqs, url) == (1, 0, 0)
    sqs.purge_queue(QueueUrl=url)
    eventually(lambda: depth(sqs, url) == (0, 0, 0))


def test_tags(sqs, queue):
    url = queue()
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)
    sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a", "none"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}
    assert refused(sqs.tag_queue, QueueUrl=url, Tags={str(n): "x" for n in range(50)})[0] == "InvalidParameterValue"
    tagged = sqs.create_queue(QueueName=uuid.uuid4().hex, tags={"made": "with"})["QueueUrl"]
    assert sqs.list_queue_tags(QueueUrl=tagged)["Tags"] == {"made": "with"}
    sqs.delete_queue(QueueUrl=tagged)


def test_urls_in_all_forms(dev, sqs, queue):
    url = queue()
    name = url.rsplit("/", 1)[1]
    for form in [
        f"http://localhost:4566/{ACCOUNT}/{name}",
        f"http://sqs.us-east-1.localhost.localstack.cloud:4566/{ACCOUNT}/{name}",
        f"http://us-east-1.queue.localhost.localstack.cloud:4566/{ACCOUNT}/{name}",
        f"http://localhost:4566/queue/us-east-1/{ACCOUNT}/{name}",
        f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{name}",
    ]:
        sqs.send_message(QueueUrl=form, MessageBody=form)
    assert depth(sqs, url) == (5, 0, 0)
    elsewhere = f"http://sqs.eu-west-1.localhost.localstack.cloud:4566/{ACCOUNT}/{name}"
    assert "NonExistentQueue" in refused(sqs.send_message, QueueUrl=elsewhere, MessageBody="x")[0]
    assert refused(sqs.send_message, QueueUrl="nonsense", MessageBody="x")[0] == "InvalidAddress"
    # Each region has its own.
    west = dev.client("sqs", region_name="eu-west-1")
    assert "NonExistentQueue" in refused(west.get_queue_url, QueueName=name)[0]


# --- dead letters


def test_messages_received_too_often_go_to_the_dead_letter_queue(dev, sqs, queue):
    dead = queue()
    url = queue(VisibilityTimeout=1, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 2}))
    sent = sqs.send_message(QueueUrl=url, MessageBody="poison")
    when = None
    for count in ("1", "2"):
        (message,) = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
        assert message["Attributes"]["ApproximateReceiveCount"] == count
        when = message["Attributes"]["SentTimestamp"]
        dev.advance(2)
    assert not bodies(sqs.receive_message(QueueUrl=url))
    assert depth(sqs, url) == (0, 0, 0) and depth(sqs, dead) == (1, 0, 0)
    (message,) = sqs.receive_message(QueueUrl=dead, AttributeNames=["All"])["Messages"]
    assert message["MessageId"] == sent["MessageId"] and message["Attributes"]["DeadLetterQueueSourceArn"] == arn(url)
    assert message["Attributes"]["SentTimestamp"] == when and message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]


def test_redrive_rules(sqs, queue):
    dead = queue(RedriveAllowPolicy='{"redrivePermission": "denyAll"}')
    policy = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 2})
    url = queue()
    code, text = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": policy})
    assert code == "InvalidParameterValue" and "does not allow" in text
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arn(url)]})
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": allow})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    fifo = queue(fifo=True)
    code, text = refused(sqs.set_queue_attributes, QueueUrl=fifo, Attributes={"RedrivePolicy": policy})
    assert "same type" in text
    for count in (0, 1001, "x"):
        wrong = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": count})
        assert "maxReceiveCount" in refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": wrong})[1]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])


def test_dead_letters_are_moved_back(dev, sqs, queue):
    dead = queue()
    policy = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": "1"})
    one, two = (queue(VisibilityTimeout=0, RedrivePolicy=policy) for _ in range(2))
    for url, count in ((one, 12), (two, 3)):
        for n in range(count):
            sqs.send_message(QueueUrl=url, MessageBody=f"{arn(url)} {n}")
        eventually(lambda: not bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)))
    assert depth(sqs, dead) == (15, 0, 0)
    code, text = refused(sqs.start_message_move_task, SourceArn=arn(one))
    assert code == "InvalidParameterValue" and "Dead Letter Queue" in text
    task = sqs.start_message_move_task(SourceArn=arn(dead))["TaskHandle"]
    assert task
    eventually(lambda: (dev.advance(1), depth(sqs, dead) == (0, 0, 0))[1])
    assert depth(sqs, one)[0] == 12 and depth(sqs, two)[0] == 3

    def listed():
        (found,) = sqs.list_message_move_tasks(SourceArn=arn(dead))["Results"]
        return found if found["Status"] == "COMPLETED" else dev.advance(1) and None

    found = eventually(listed)
    assert found["ApproximateNumberOfMessagesMoved"] == 15 and found["ApproximateNumberOfMessagesToMove"] == 15


def test_moves_are_bounded_cancelled_and_to_other_queues(dev, sqs, queue):
    dead, target = queue(), queue()
    queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 1}))
    for n in range(20):
        sqs.send_message(QueueUrl=dead, MessageBody=str(n))
    task = sqs.start_message_move_task(SourceArn=arn(dead), DestinationArn=arn(target), MaxNumberOfMessagesPerSecond=1)
    code, text = refused(sqs.start_message_move_task, SourceArn=arn(dead), DestinationArn=arn(target))
    assert code.endswith("UnsupportedOperation") and "already a task running" in text
    moved = sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])["ApproximateNumberOfMessagesMoved"]
    assert moved < 20
    (found,) = sqs.list_message_move_tasks(SourceArn=arn(dead))["Results"]
    assert found["Status"] == "CANCELLED" and "TaskHandle" not in found
    assert refused(sqs.cancel_message_move_task, TaskHandle="none")[0] == "ResourceNotFoundException"
    sqs.start_message_move_task(SourceArn=arn(dead), DestinationArn=arn(target))
    eventually(lambda: (dev.advance(1), depth(sqs, target)[0] == 20)[1])
    assert refused(sqs.start_message_move_task, SourceArn=arn(target))[0] == "InvalidParameterValue"
    assert refused(sqs.start_message_move_task, SourceArn=arn(target) + "x")[0] == "ResourceNotFoundException"


# --- FIFO


def send(sqs, url, group, body, **options):
    return sqs.send_message(QueueUrl=url, MessageGroupId=group, MessageBody=body, **options)


def test_groups_keep_their_order_and_are_locked(dev, sqs, queue):
    url = queue(fifo=True, ContentBasedDeduplication="true", VisibilityTimeout=30)
    numbers = [int(send(sqs, url, group, f"{group}{n}")["SequenceNumber"]) for n in range(3) for group in "ab"]
    assert numbers == sorted(numbers) and len(str(numbers[0])) == 20
    first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, AttributeNames=["All"])["Messages"]
    assert [m["Body"] for m in first] == ["a0", "a1"]
    assert first[0]["Attributes"]["MessageGroupId"] == "a" and first[0]["Attributes"]["SequenceNumber"] == str(numbers[0])
    # Group a is locked, also its a2.
    second = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [m["Body"] for m in second] == ["b0", "b1", "b2"]
    assert not bodies(sqs.receive_message(QueueUrl=url))
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"])
    assert not bodies(sqs.receive_message(QueueUrl=url))
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first[1]["ReceiptHandle"])
    assert bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)) == ["a2"]
    # What comes back comes back in order.
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second[2]["ReceiptHandle"], VisibilityTimeout=0)
    assert not bodies(sqs.receive_message(QueueUrl=url))
    dev.advance(31)
    got = bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))
    assert [b for b in got if b[0] == "b"] == ["b0", "b1", "b2"] and "a2" in got
    code, text = refused(sqs.delete_message, QueueUrl=url, ReceiptHandle=second[0]["ReceiptHandle"])
    assert code == "InvalidParameterValue" and "expired" in text


def test_a_waiting_receive_wakes_when_a_group_is_free(sqs, queue):
    url = queue(fifo=True, ContentBasedDeduplication="true")
    send(sqs, url, "g", "1")
    (first,) = sqs.receive_message(QueueUrl=url)["Messages"]
    send(sqs, url, "g", "2")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(0.3)
        assert not waiting.done()
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        assert bodies(waiting.result(timeout=15)) == ["2"]


def test_deduplication(dev, sqs, queue):
    url = queue(fifo=True)
    first = send(sqs, url, "g", "one", MessageDeduplicationId="d")
    again = send(sqs, url, "g", "two", MessageDeduplicationId="d")
    other = send(sqs, url, "h", "three", MessageDeduplicationId="d")
    assert first["MessageId"] == again["MessageId"] == other["MessageId"]
    assert first["SequenceNumber"] == again["SequenceNumber"]
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    dev.advance(290)
    send(sqs, url, "g", "four", MessageDeduplicationId="d")  # deleted, and still known
    assert not bodies(sqs.receive_message(QueueUrl=url))
    dev.advance(11)
    send(sqs, url, "g", "five", MessageDeduplicationId="d")
    assert bodies(sqs.receive_message(QueueUrl=url)) == ["five"]
    code, text = refused(send, sqs=sqs, url=url, group="g", body="x")
    assert code == "InvalidParameterValue" and "ContentBasedDeduplication" in text
    scoped = queue(fifo=True, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in "gh":
        send(sqs, scoped, group, group, MessageDeduplicationId="d")
    assert depth(sqs, scoped) == (2, 0, 0)
    twice = sqs.send_message_batch(QueueUrl=scoped, Entries=[
        {"Id": n, "MessageBody": n, "MessageGroupId": "z", "MessageDeduplicationId": "e"} for n in "ab"])
    assert len({entry["MessageId"] for entry in twice["Successful"]}) == 1


def test_what_fifo_queues_refuse(sqs, queue):
    url = queue(fifo=True, ContentBasedDeduplication="true")
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x")[0] == "MissingParameter"
    code, _ = refused(send, sqs=sqs, url=url, group="g", body="x", DelaySeconds=5)
    assert code == "InvalidParameterValue"
    for group in ("", "a b", "x" * 129):
        assert refused(send, sqs=sqs, url=url, group=group, body="x")[0] == "InvalidParameterValue"
    code, text = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"FifoThroughputLimit": "perMessageGroupId"})
    assert code == "InvalidAttributeValue" and "messageGroup" in text
    plain = queue()
    assert refused(sqs.send_message, QueueUrl=plain, MessageBody="x", MessageDeduplicationId="d")[0] == "InvalidParameterValue"
    assert refused(sqs.receive_message, QueueUrl=plain, ReceiveRequestAttemptId="a")[0] == "InvalidParameterValue"


def test_an_attempt_at_a_receive_is_repeated(sqs, queue):
    url = queue(fifo=True, ContentBasedDeduplication="true")
    for n in range(3):
        send(sqs, url, "g", str(n))
    first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, ReceiveRequestAttemptId="a", AttributeNames=["All"])
    again = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, ReceiveRequestAttemptId="a", AttributeNames=["All"])
    assert bodies(first) == bodies(again) == ["0", "1"]
    assert again["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again["Messages"][0]["ReceiptHandle"])


def test_fifo_dead_letters_keep_groups(dev, sqs, queue):
    dead = queue(fifo=True)
    url = queue(fifo=True, ContentBasedDeduplication="true", VisibilityTimeout=1,
                RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": 1}))
    for n in range(3):
        send(sqs, url, "g", str(n))
    assert bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2)) == ["0", "1"]
    dev.advance(2)
    assert bodies(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2)) == ["2"]
    assert bodies(sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10)) == ["0", "1"]


def test_the_rate_of_a_plain_fifo_queue_is_bounded(dev, sqs, queue):
    """More than 300 calls in one second of the node's clock, which stands nearly still for them, cannot be forced; so only that
    a throttled call says so."""
    url = queue(fifo=True, ContentBasedDeduplication="true")
    codes = set()

    def hammer(n):
        try:
            sqs.receive_message(QueueUrl=url)
        except botocore.exceptions.ClientError as error:
            codes.add(error.response["Error"]["Code"])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(hammer, range(900)))
    assert codes <= {"RequestThrottled"}


# --- policies


def test_other_accounts_need_the_queues_policy(dev, sqs, queue):
    url = queue()
    other = dev.client("sqs", aws_access_key_id="111111111111")
    code, text = refused(other.send_message, QueueUrl=url, MessageBody="x")
    assert code == "AccessDenied" and "sqs:SendMessage" in text
    sqs.add_permission(QueueUrl=url, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    other.send_message(QueueUrl=url, MessageBody="x")
    assert refused(other.receive_message, QueueUrl=url)[0] == "AccessDenied"
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert policy["Statement"][0]["Sid"] == "l" and policy["Statement"][0]["Action"] == ["SQS:SendMessage"]
    assert refused(sqs.add_permission, QueueUrl=url, Label="l", AWSAccountIds=["111111111111"], Actions=["*"])[0] == \
        "InvalidParameterValue"
    sqs.remove_permission(QueueUrl=url, Label="l")
    assert refused(other.send_message, QueueUrl=url, MessageBody="x")[0] == "AccessDenied"
    assert refused(other.get_queue_url, QueueName=url.rsplit("/", 1)[1], QueueOwnerAWSAccountId=ACCOUNT)[0] == "AccessDenied"
    deny = {"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sqs:PurgeQueue", "Resource": arn(url)}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(deny)})
    code, text = refused(sqs.purge_queue, QueueUrl=url)
    assert code == "AccessDenied" and "explicit deny" in text
    unknown = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*",
                              "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]}
    code, text = refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": json.dumps(unknown)})
    assert code == "InvalidAttributeValue" and "IpAddress" in text


# --- the older protocol, the CLI, signatures


def query(node, path="/", region="us-east-1", sign=True, **parameters):
    """A call by the query protocol: status and XML without namespaces."""
    data = {"Version": "2012-11-05", **parameters}
    request = AWSRequest("POST", node.endpoint + path, data=data,
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    if sign:
        keys = node.credentials
        SigV4Auth(Credentials(keys["access_key"], keys["secret_key"]), "sqs", region).add_auth(request)
    prepared = request.prepare()
    reply = requests.post(prepared.url, data=prepared.body, headers=dict(prepared.headers), timeout=60)
    text = reply.text.replace(' xmlns="http://queue.amazonaws.com/doc/2012-11-05/"', "")
    return reply.status_code, ET.fromstring(text)


def test_the_query_protocol(dev, sqs):
    name = f"q-{uuid.uuid4().hex[:12]}"
    status, root = query(dev, Action="CreateQueue", QueueName=name, **{
        "Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "0", "Tag.1.Key": "k", "Tag.1.Value": "v"})
    assert status == 200 and root.tag == "CreateQueueResponse" and root.find("ResponseMetadata/RequestId").text
    url = root.find("CreateQueueResult/QueueUrl").text
    path = f"/{ACCOUNT}/{name}"
    _, root = query(dev, path, Action="SendMessage", MessageBody="a <&> b", **{
        "MessageAttribute.1.Name": "n", "MessageAttribute.1.Value.DataType": "String",
        "MessageAttribute.1.Value.StringValue": "v"})
    assert root.find("SendMessageResult/MD5OfMessageBody").text == hashlib.md5(b"a <&> b").hexdigest()
    assert root.find("SendMessageResult/MD5OfMessageAttributes").text
    _, root = query(dev, path, Action="ReceiveMessage", **{"AttributeName.1": "All", "MessageAttributeName.1": "All"})
    message = root.find("ReceiveMessageResult/Message")
    assert message.find("Body").text == "a <&> b" and message.find("MessageAttribute/Value/StringValue").text == "v"
    found = {a.find("Name").text: a.find("Value").text for a in message.findall("Attribute")}
    assert found["ApproximateReceiveCount"] == "1"
    status, root = query(dev, Action="DeleteMessage", QueueUrl=url, ReceiptHandle=message.find("ReceiptHandle").text)
    assert status == 200 and root.tag == "DeleteMessageResponse"
    _, root = query(dev, Action="SendMessageBatch", QueueUrl=url, **{
        "SendMessageBatchRequestEntry.1.Id": "a", "SendMessageBatchRequestEntry.1.MessageBody": "1",
        "SendMessageBatchRequestEntry.2.Id": "b", "SendMessageBatchRequestEntry.2.MessageBody": "2",
        "SendMessageBatchRequestEntry.2.DelaySeconds": "1000"})
    assert [e.find("Id").text for e in root.findall("SendMessageBatchResult/SendMessageBatchResultEntry")] == ["a"]
    assert root.find("SendMessageBatchResult/BatchResultErrorEntry/SenderFault").text == "true"
    _, root = query(dev, Action="GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "All"})
    found = {a.find("Name").text: a.find("Value").text for a in root.findall("GetQueueAttributesResult/Attribute")}
    assert found["VisibilityTimeout"] == "0" and found["ApproximateNumberOfMessages"] == "1"
    _, root = query(dev, Action="ListQueueTags", QueueUrl=url)
    assert root.find("ListQueueTagsResult/Tag/Key").text == "k"
    _, root = query(dev, Action="ListQueues", QueueNamePrefix=name)
    assert [e.text for e in root.findall("ListQueuesResult/QueueUrl")] == [url]
    # By GET at the queue's address, as people try it.
    assert get(dev, f"{path}?Action=SendMessage&MessageBody=hi&Version=2012-11-05").status_code == 200
    status, root = query(dev, Action="GetQueueUrl", QueueName="none")
    assert status == 400 and root.find("Error/Code").text == "AWS.SimpleQueueService.NonExistentQueue"
    assert root.find("Error/Type").text == "Sender"
    sqs.delete_queue(QueueUrl=url)


def test_the_cli_and_a_signing_node():
    with running() as node:
        # Version 1 of the CLI overrides AWS_ENDPOINT_URL for SQS with a name of its own.
        def aws(*arguments):
            return node.aws("sqs", *arguments, "--endpoint-url", node.endpoint).stdout

        url = json.loads(aws("create-queue", "--queue-name", "cli"))["QueueUrl"]
        aws("send-message", "--queue-url", url, "--message-body", "from the cli")
        got = json.loads(aws("receive-message", "--queue-url", url, "--wait-time-seconds", "1"))
        assert got["Messages"][0]["Body"] == "from the cli"
        status, root = query(node, Action="ListQueues", sign=False)
        assert status == 403
        assert requests.post(node.endpoint + "/_neap/clock", json={"advance_ms": 1}, timeout=30).status_code in (403, 404)
        other = node.client("sqs", aws_secret_access_key="wrong")
        assert refused(other.list_queues)[0] in ("InvalidSignatureException", "SignatureDoesNotMatch")


def test_messages_are_counted_for_prometheus(dev, sqs, queue):
    def counts():
        text = get(dev, "/_neap/metrics").text
        return {step: float(count) for step, count in
                re.findall(r'^neap_queue_messages_total{step="([a-z-]+)"} (\S+)$', text, re.M)}

    before, url = counts(), queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    after = counts()
    assert all(after[step] == before[step] + 1 for step in ("sent", "received", "deleted"))


def test_the_clock_is_read_and_moved(dev):
    before = get(dev, "/_neap/clock").json()
    after = dev.advance(5)
    assert after["ahead_ms"] == before["ahead_ms"] + 5000 and after["now_ms"] >= before["now_ms"] + 5000
    for body in ["", "{}", '{"advance_ms": -1}', '{"advance_ms": 1e30}', '{"advance_ms": 1, "x": 1}',
                 '{"advance_ms": 99999999999999}']:
        assert requests.post(dev.endpoint + "/_neap/clock", data=body, timeout=30).status_code == 400, body
    assert requests.delete(dev.endpoint + "/_neap/clock", timeout=30).status_code == 405


# --- nothing acknowledged is lost


def test_what_was_sent_survives_kill_9(tmp_path):
    """Producers and consumers while the node is killed again and again: everything that was acknowledged is received, FIFO groups
    in order, and nothing that was deleted comes back on a FIFO queue."""
    with running(mode="dev", data=tmp_path) as node:
        sqs = node.client("sqs")
        plain = sqs.create_queue(QueueName="plain", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
        fifo = sqs.create_queue(QueueName="q.fifo", Attributes={
            "FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "1"})["QueueUrl"]
        sent, got, order, lock = set(), set(), [], threading.Lock()
        ended = threading.Event()

        def named(url):
            return url.replace(url.split("/")[2], node.endpoint.split("/")[2])

        def attempt(call):
            try:
                return call()
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                time.sleep(0.01)
                return None

        def produce(which):
            n = 0
            while not ended.is_set():
                body = f"{which}-{n}"
                client = clients[which % len(clients)]
                options = {"MessageGroupId": f"g{which}"} if which % 2 else {}
                url = named(fifo if which % 2 else plain)
                if attempt(lambda: client().send_message(QueueUrl=url, MessageBody=body, **options)):
                    with lock:
                        sent.add(body)
                    n += 1
                elif not which % 2:
                    n += 1  # unknown whether it is there; FIFO producers try the same again

        def consume(url, ordered):
            while not (ended.is_set() and got >= sent):
                reply = attempt(lambda: node.client("sqs").receive_message(QueueUrl=named(url), MaxNumberOfMessages=10,
                                                                          WaitTimeSeconds=1))
                for message in (reply or {}).get("Messages", []):
                    # It has arrived, whatever becomes of its deletion: one whose answer is lost may have been carried out.
                    with lock:
                        got.add(message["Body"])
                    if attempt(lambda: node.client("sqs").delete_message(
                            QueueUrl=named(url), ReceiptHandle=message["ReceiptHandle"])) is not None:
                        if ordered:
                            order.append(message["Body"])
                    elif ordered:
                        break

        clients = [lambda: node.client("sqs")] * 4
        threads = [threading.Thread(target=produce, args=(which,), daemon=True) for which in range(4)]
        threads += [threading.Thread(target=consume, args=args, daemon=True) for args in ((plain, False), (fifo, True))]
        for thread in threads:
            thread.start()
        for _ in range(5):
            time.sleep(0.7)
            node.kill()
            node.start()
        ended.set()
        for thread in threads:
            thread.join(timeout=120)
            assert not thread.is_alive(), f"{len(sent - got)} messages are missing: {sorted(sent - got)[:5]}"
        assert len(sent) > 20 and got >= sent
        for group in ("1-", "3-"):
            numbers = [int(body[2:]) for body in order if body.startswith(group)]
            # One whose deletion went unanswered is missing here, and none is out of order.
            assert numbers == sorted(set(numbers)), group


def test_messages_are_counted_as_metrics_of_their_queue(dev, sqs, queue):
    url = queue()
    name = url.rsplit("/", 1)[1]
    began = requests.post(dev.endpoint + "/_neap/clock", json={"advance_ms": 0}, timeout=30).json()["now_ms"] / 1000
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x" * size} for n, size in enumerate((10, 30))]
    )
    sqs.send_message(QueueUrl=url, MessageBody="y" * 20)
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert len(got) == 3
    sqs.receive_message(QueueUrl=url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    # Voids and repeats delete nothing.
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    cloudwatch = dev.client("cloudwatch")

    def measured(metric):
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName=metric,
            Dimensions=[{"Name": "QueueName", "Value": name}],
            StartTime=began - 120,
            EndTime=began + 3600,
            Period=60,
            Statistics=["Sum", "SampleCount", "Maximum"],
        )["Datapoints"]
        return sum(p["SampleCount"] for p in points), sum(p["Sum"] for p in points), max(p["Maximum"] for p in points)

    assert measured("NumberOfMessagesSent") == (2, 3, 2)
    assert measured("SentMessageSize") == (3, 60, 30)
    assert measured("NumberOfMessagesReceived") == (1, 3, 3)
    assert measured("NumberOfEmptyReceives") == (1, 1, 1)
    assert measured("NumberOfMessagesDeleted") == (1, 1, 1)


def test_what_queues_hold_is_measured_each_minute(dev, sqs, queue):
    cloudwatch = dev.client("cloudwatch")
    url, fifo, fair = queue(), queue(fifo=True), queue()
    name = url.rsplit("/", 1)[1]
    for group, count in [("loud", 25), ("soft", 2)]:
        for _ in range(count):
            sqs.send_message(QueueUrl=fair, MessageBody="x", MessageGroupId=group)
    sqs.send_message(QueueUrl=fair, MessageBody="x", DelaySeconds=900)
    sqs.receive_message(QueueUrl=fair, VisibilityTimeout=3600)
    for number in range(4):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=900)
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=3600)
    for group in "ab":
        for _ in range(2):
            sqs.send_message(QueueUrl=fifo, MessageBody="x", MessageGroupId=group, MessageDeduplicationId=group)
    sqs.receive_message(QueueUrl=fifo, VisibilityTimeout=3600)
    began = dev.advance(0)["now_ms"] // 1000
    dev.advance(120)

    def most(metric, queue=name):
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName=metric,
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=began - 120,
            EndTime=began + 3600,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max((p["Maximum"] for p in points), default=None)

    eventually(lambda: (most("ApproximateAgeOfOldestMessage") or 0) >= 60)
    assert most("ApproximateNumberOfMessagesVisible") == 3
    assert most("ApproximateNumberOfMessagesNotVisible") == 1
    assert most("ApproximateNumberOfMessagesDelayed") == 1
    assert most("ApproximateNumberOfGroupsWithInflightMessages") is None
    assert most("ApproximateNumberOfNoisyGroups") is None
    # What is beyond the first ten messages of a group is its backlog.
    third = fair.rsplit("/", 1)[1]
    eventually(lambda: most("ApproximateNumberOfNoisyGroups", third) == 1)
    assert most("ApproximateNumberOfMessagesVisible", third) == 26
    assert most("ApproximateNumberOfMessagesVisibleInQuietGroups", third) == 11
    assert most("ApproximateNumberOfMessagesNotVisibleInQuietGroups", third) == 1
    assert most("ApproximateNumberOfMessagesDelayedInQuietGroups", third) == 1
    assert most("ApproximateAgeOfOldestMessageInQuietGroups", third) >= 60
    second = fifo.rsplit("/", 1)[1]
    eventually(lambda: most("ApproximateNumberOfGroupsWithInflightMessages", second) == 1)
    assert most("NumberOfDeduplicatedSentMessages", second) == 1
    assert most("NumberOfMessagesSent", second) == 1

    def shown():
        found = re.findall(rf'queue="{name}",state="([a-z-]+)"\}} ([0-9]+)', get(dev, "/_neap/metrics").text)
        return {state: int(count) for state, count in found}

    eventually(lambda: shown() == {"visible": 3, "in-flight": 1, "delayed": 1})
    age = re.search(rf'neap_queue_oldest_message_age_seconds\{{[^}}]*queue="{name}"\}} ([0-9]+)', get(dev, "/_neap/metrics").text)
    assert int(age.group(1)) >= 60
