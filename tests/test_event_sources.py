"""Queues as event sources of functions: messages reach them in batches, and none is lost."""

import hashlib
import json
import random
import re
import threading
import time
import uuid

import botocore.exceptions
import pytest
from conftest import ROLE, eventually, get, messages, package, root, running

# Tells its log what it got; what it answers or raises is in the messages.
SOURCE = """
import json
def handler(event, context):
    print("EVENT " + json.dumps(event))
    failed = []
    for record in event["Records"]:
        if record["body"] == "throw":
            raise ValueError("as asked")
        if record["body"].startswith("fail"):
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
"""


@pytest.fixture
def sqs(dev):
    return dev.client("sqs")


@pytest.fixture
def lam(dev):
    """Of the node whose clock can be moved."""
    return dev.client("lambda")


def make_queue(sqs, name=None, fifo=False, **attributes):
    name = (name or f"q-{uuid.uuid4().hex[:12]}") + (".fifo" if fifo else "")
    if fifo:
        attributes["FifoQueue"] = "true"
    url = sqs.create_queue(QueueName=name, Attributes={key: str(value) for key, value in attributes.items()})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, arn


def make_mapping(lam, function, arn, **options):
    made = lam.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **options)
    wanted = "Enabled" if options.get("Enabled", True) else "Disabled"
    eventually(lambda: lam.get_event_source_mapping(UUID=made["UUID"])["State"] == wanted)
    return made


def gone(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(found[name] == "0" for name in names)


def hidden(sqs, url):
    name = "ApproximateNumberOfMessagesNotVisible"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def events(node, function):
    """What the function was invoked with, in order."""
    lines = messages(node.client("logs"), f"/aws/lambda/{function}")
    return [json.loads(line.removeprefix("EVENT ")) for line in lines if line.startswith("EVENT ")]


def refused(call, code, text):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] == code and text in error["Message"], error


def test_a_message_arrives_in_the_documented_form_and_is_deleted(dev, deploy, sqs):
    function = deploy(SOURCE)
    url, arn = make_queue(sqs)
    make_mapping(function.client, function.name, arn)
    sent = sqs.send_message(QueueUrl=url, MessageBody='{"n": 1}', MessageAttributes={
        "text": {"DataType": "String", "StringValue": "x"}, "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    })
    [event] = eventually(lambda: events(dev, function.name))
    [record] = event["Records"]
    assert record["receiptHandle"] and record["attributes"]["ApproximateReceiveCount"] == "1"
    assert {"SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"} <= record["attributes"].keys()
    assert {key: value for key, value in record.items() if key not in ("receiptHandle", "attributes")} == {
        "messageId": sent["MessageId"],
        "body": '{"n": 1}',
        "md5OfBody": hashlib.md5(b'{"n": 1}').hexdigest(),
        "md5OfMessageAttributes": sent["MD5OfMessageAttributes"],
        "messageAttributes": {
            "text": {"stringValue": "x", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "bytes": {"binaryValue": "AAE=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "us-east-1",
    }
    eventually(lambda: gone(sqs, url))
    counted = get(dev, "/_neap/metrics").text
    assert re.search(r"^neap_event_source_deleted_total{} [1-9]", counted, re.M), counted


def test_a_mapping_lives_as_tools_expect(dev, deploy, sqs):
    function = deploy(SOURCE)
    url, arn = make_queue(sqs)
    lam = function.client
    made = lam.create_event_source_mapping(
        FunctionName=function.name, EventSourceArn=arn, Tags={"team": "a"}, Enabled=False,
        FunctionResponseTypes=["ReportBatchItemFailures"], ScalingConfig={"MaximumConcurrency": 7},
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202 and made["State"] == "Creating"
    identifier = made["UUID"]
    shown = eventually(lambda: [found for found in [lam.get_event_source_mapping(UUID=identifier)]
                                if found["State"] == "Disabled"])[0]
    for absent in ("StartingPosition", "FilterCriteria", "LastProcessingResult", "ParallelizationFactor"):
        assert absent not in shown
    assert shown["StateTransitionReason"] == "USER_INITIATED" and shown["FunctionArn"] == function.arn
    assert (shown["BatchSize"], shown["MaximumBatchingWindowInSeconds"]) == (10, 0)
    sqs.send_message(QueueUrl=url, MessageBody="later")
    assert lam.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {"team": "a"}
    lam.tag_resource(Resource=made["EventSourceMappingArn"], Tags={"more": "b"})
    lam.untag_resource(Resource=made["EventSourceMappingArn"], TagKeys=["team"])
    assert lam.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {"more": "b"}
    refused(lambda: lam.create_event_source_mapping(FunctionName=function.name, EventSourceArn=arn),
            "ResourceConflictException", f"Please update or delete the existing mapping with UUID {identifier}")
    updated = lam.update_event_source_mapping(UUID=identifier, Enabled=True, BatchSize=2, ScalingConfig={})
    assert updated["State"] == "Enabling" and "ScalingConfig" not in updated
    eventually(lambda: lam.get_event_source_mapping(UUID=identifier)["State"] == "Enabled")
    eventually(lambda: gone(sqs, url))
    for wanted in ({"FunctionName": function.name}, {"EventSourceArn": arn}):
        assert [found["UUID"] for found in lam.list_event_source_mappings(**wanted)["EventSourceMappings"]] == [identifier]
    assert lam.delete_event_source_mapping(UUID=identifier)["State"] == "Deleting"

    def deleted():
        try:
            return not lam.get_event_source_mapping(UUID=identifier)
        except lam.exceptions.ResourceNotFoundException:
            return True

    eventually(deleted)
    # Nobody polls any more.
    sqs.send_message(QueueUrl=url, MessageBody="unseen")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "unseen"


def test_what_could_not_work_is_refused(dev, deploy, sqs):
    function = deploy(SOURCE, Timeout=60)
    _, short = make_queue(sqs)
    _, fifo = make_queue(sqs, fifo=True, VisibilityTimeout=60)
    _, arn = make_queue(sqs, VisibilityTimeout=60)

    def create(arn=arn, name=function.name, **options):
        return lambda: function.client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, **options)

    invalid = "InvalidParameterValueException"
    refused(create(short), invalid, "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds")
    refused(create(arn + "-none"), invalid, "AWS.SimpleQueueService.NonExistentQueue")
    refused(create(name="none-such"), "ResourceNotFoundException", "Function not found")
    refused(create("arn:aws:kinesis:us-east-1:000000000000:stream/s"), invalid, "EventSourceArn is not supported by Neap")
    refused(create(BatchSize=11), invalid, "Maximum batch window in seconds must be greater than 0")
    refused(create(fifo, BatchSize=11), invalid, "FIFO")
    refused(create(fifo, MaximumBatchingWindowInSeconds=1), invalid, "Batching window is not supported for FIFO queues")
    refused(create(BatchSize=0), "ValidationException", "batchSize")
    refused(create(ScalingConfig={"MaximumConcurrency": 1}), "ValidationException", "maximumConcurrency")
    refused(create(FilterCriteria={"Filters": [{"Pattern": "{"}]}), invalid, "Invalid filter pattern definition.")
    refused(create(StartingPosition="LATEST"), invalid, "StartingPosition is not valid for SQS event sources.")
    refused(create(ParallelizationFactor=2), invalid, "ParallelizationFactor is not supported by Neap")
    refused(create(KMSKeyArn="arn:aws:kms:us-east-1:000000000000:key/k"), invalid, "KMSKeyArn is not supported by Neap")
    missing = str(uuid.uuid4())
    refused(lambda: function.client.get_event_source_mapping(UUID=missing), "ResourceNotFoundException",
            "The resource you requested does not exist.")


def test_what_fails_comes_again_and_ends_in_the_dead_letter_queue(dev, deploy, sqs):
    function = deploy(SOURCE)
    dead, dead_arn = make_queue(sqs)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, arn = make_queue(sqs, RedrivePolicy=redrive)
    for body in ("a", "fail 1", "b", "fail 2"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    make_mapping(function.client, function.name, arn, FunctionResponseTypes=["ReportBatchItemFailures"])
    eventually(lambda: hidden(sqs, url) == 2 and len(events(dev, function.name)) >= 1)
    dev.advance(30)

    def tried():
        records = [record for event in events(dev, function.name) for record in event["Records"]]
        return sorted(record["body"] for record in records if record["attributes"]["ApproximateReceiveCount"] == "2")

    eventually(lambda: tried() == ["fail 1", "fail 2"])
    dev.advance(30)
    eventually(lambda: gone(sqs, url))
    found = []
    eventually(lambda: found.extend(sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages", []))
               or len(found) == 2)
    assert sorted(message["Body"] for message in found) == ["fail 1", "fail 2"]


def test_a_batch_that_throws_comes_again_whole(dev, deploy, sqs):
    function = deploy(SOURCE)
    url, arn = make_queue(sqs)
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": body, "MessageBody": body} for body in ("a", "throw")])
    make_mapping(function.client, function.name, arn)
    eventually(lambda: events(dev, function.name))
    eventually(lambda: hidden(sqs, url) == 2)
    dev.advance(30)
    eventually(lambda: len(events(dev, function.name)) >= 2)
    assert hidden(sqs, url) == 2


def test_filters_take_what_they_want_and_the_rest_is_gone(dev, deploy, sqs):
    function = deploy(SOURCE)
    url, arn = make_queue(sqs)
    pattern = json.dumps({"body": {"kind": ["order"], "amount": [{"numeric": [">", 10]}]}})
    make_mapping(function.client, function.name, arn, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    for body in ({"kind": "order", "amount": 5}, {"kind": "order", "amount": 50}, {"kind": "other", "amount": 50}):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
    sqs.send_message(QueueUrl=url, MessageBody="plain")
    eventually(lambda: gone(sqs, url))
    bodies = eventually(lambda: [json.loads(record["body"]) for event in events(dev, function.name)
                                 for record in event["Records"]])
    assert bodies == [{"kind": "order", "amount": 50}]


def test_a_window_gathers_a_large_batch(dev, deploy, sqs):
    function = deploy(SOURCE)
    url, arn = make_queue(sqs, VisibilityTimeout=300)
    make_mapping(function.client, function.name, arn, BatchSize=100, MaximumBatchingWindowInSeconds=60)
    for _ in range(3):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(10)])
    eventually(lambda: hidden(sqs, url) == 30)
    dev.advance(59)
    assert events(dev, function.name) == [] and hidden(sqs, url) == 30
    dev.advance(1)
    eventually(lambda: gone(sqs, url))
    assert [len(event["Records"]) for event in eventually(lambda: events(dev, function.name))] == [30]


def test_groups_of_a_fifo_queue_are_worked_on_in_order(dev, deploy, sqs):
    function = deploy(SOURCE)
    url, arn = make_queue(sqs, fifo=True, ContentBasedDeduplication="true")
    make_mapping(function.client, function.name, arn, BatchSize=3)
    for n in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=f"{n % 4}-{n}", MessageGroupId=str(n % 4))
    eventually(lambda: gone(sqs, url), timeout=60)
    seen = eventually(lambda: [found for found in [[record["body"] for event in events(dev, function.name)
                                                    for record in event["Records"]]] if len(found) >= 20])[0]
    for group in range(4):
        assert [body for body in seen if body.startswith(f"{group}-")] == [f"{group}-{n}" for n in range(group, 20, 4)]


# Tells when it began and ended, on the machine's clock, which all environments share.
SPANS = """
import json, time
def handler(event, context):
    began = time.monotonic_ns()
    time.sleep(0.2)
    for record in event["Records"]:
        print("SPAN " + json.dumps([record["body"], began, time.monotonic_ns()]))
"""


def spans(node, function):
    lines = messages(node.client("logs"), f"/aws/lambda/{function}")
    return [json.loads(line.removeprefix("SPAN ")) for line in lines if line.startswith("SPAN ")]


def at_once(spans):
    """How many ran at once, at most."""
    edges = sorted([(began, 1) for _, began, _ in spans] + [(ended, -1) for _, _, ended in spans])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


def burst(sqs, url, count):
    for first in range(0, count, 10):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(first, first + 10)])
    return [str(n) for n in range(count)]


def test_maximum_concurrency_is_kept(dev, deploy, sqs):
    function = deploy(SPANS, Timeout=30)
    url, arn = make_queue(sqs, VisibilityTimeout=60)
    sent = burst(sqs, url, 30)
    make_mapping(function.client, function.name, arn, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    found = eventually(lambda: [found for found in [spans(dev, function.name)] if len(found) >= 30], timeout=60)[0]
    assert at_once(found) == 2
    assert sorted(body for body, _, _ in found) == sorted(sent)
    eventually(lambda: gone(sqs, url))


def test_pollers_grow_with_the_backlog_and_rest_without(dev, deploy, sqs):
    function = deploy(SPANS, Timeout=30)
    url, arn = make_queue(sqs, VisibilityTimeout=3600)
    sent = burst(sqs, url, 200)
    make_mapping(function.client, function.name, arn, BatchSize=1, ScalingConfig={"MaximumConcurrency": 12})
    eventually(lambda: len(spans(dev, function.name)) >= 10)
    # Five at first, and so many more each minute that the maximum is what limits them.
    dev.advance(60)
    found = eventually(lambda: [found for found in [spans(dev, function.name)] if len(found) >= 200], timeout=90)[0]
    assert 5 < at_once(found) <= 12
    assert sorted(body for body, _, _ in found) == sorted(sent)
    eventually(lambda: gone(sqs, url))
    # With nothing to do no receive is made: the mapping is woken.
    empty = lambda: re.search(r"^neap_queue_empty_receives_total{} ([0-9]+)", get(dev, "/_neap/metrics").text, re.M).group(1)
    before = empty()
    dev.advance(600)
    assert eventually(lambda: empty()) == before
    sqs.send_message(QueueUrl=url, MessageBody="one more")
    eventually(lambda: any(body == "one more" for body, _, _ in spans(dev, function.name)))


def test_provisioned_pollers_are_there_at_once(dev, deploy, sqs):
    function = deploy(SPANS, Timeout=30)
    url, arn = make_queue(sqs, VisibilityTimeout=60)
    lam = function.client

    def create(**pollers):
        return lambda: lam.create_event_source_mapping(
            FunctionName=function.name, EventSourceArn=arn, BatchSize=1, ProvisionedPollerConfig=pollers)

    refused(create(MinimumPollers=1), "ValidationException", "minimumPollers")
    refused(create(MinimumPollers=201), "ValidationException", "minimumPollers")
    refused(create(MaximumPollers=10_001), "ValidationException", "maximumPollers")
    refused(create(MinimumPollers=5, MaximumPollers=4), "InvalidParameterValueException", "MaximumPollers")
    both = lambda: lam.create_event_source_mapping(
        FunctionName=function.name, EventSourceArn=arn, ProvisionedPollerConfig={"MinimumPollers": 2},
        ScalingConfig={"MaximumConcurrency": 2})
    refused(both, "InvalidParameterValueException", "ProvisionedPollerConfig")
    sent = burst(sqs, url, 80)
    mapping = make_mapping(lam, function.name, arn, BatchSize=1,
                           ProvisionedPollerConfig={"MinimumPollers": 2, "MaximumPollers": 2})
    assert lam.get_event_source_mapping(UUID=mapping["UUID"])["ProvisionedPollerConfig"] == {
        "MinimumPollers": 2, "MaximumPollers": 2}
    found = eventually(lambda: [found for found in [spans(dev, function.name)] if len(found) >= 80], timeout=60)[0]
    # Ten for each poller; five is where other mappings begin.
    assert 5 < at_once(found) <= 20
    assert sorted(body for body, _, _ in found) == sorted(sent)
    # What it had is given up by an empty configuration.
    lam.update_event_source_mapping(UUID=mapping["UUID"], ProvisionedPollerConfig={})
    shown = lambda: lam.get_event_source_mapping(UUID=mapping["UUID"])
    eventually(lambda: shown()["State"] == "Enabled" and "ProvisionedPollerConfig" not in shown())


def test_a_throttled_function_gets_every_message_in_the_end(dev, deploy, sqs):
    """Refused invocations are repeated by the poller and do not use up the receives that a dead-letter queue allows."""
    function = deploy(SPANS, Timeout=30)
    dead, dead_arn = make_queue(sqs)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 3})
    url, arn = make_queue(sqs, VisibilityTimeout=180, RedrivePolicy=redrive)
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=1)
    sent = burst(sqs, url, 30)
    make_mapping(function.client, function.name, arn, BatchSize=1)

    def done():
        # Waits between attempts are the node's time.
        dev.advance(1)
        found = spans(dev, function.name)
        return found if len({body for body, _, _ in found}) == len(sent) else None

    found = eventually(done, timeout=90, every=0.3)
    assert at_once(found) == 1
    eventually(lambda: gone(sqs, url))
    assert gone(sqs, dead)
    counted = get(dev, "/_neap/metrics").text
    assert re.search(r"^neap_event_source_refused_total{} [1-9]", counted, re.M), counted


def test_the_aws_cli_maps_a_queue(dev, deploy, sqs):
    function = deploy(SOURCE)
    cli = lambda *arguments: json.loads(dev.aws("lambda", *arguments, "--output", "json").stdout or "{}")
    _, arn = make_queue(sqs)
    made = cli("create-event-source-mapping", "--function-name", function.name, "--event-source-arn", arn, "--batch-size", "5",
               "--filter-criteria", '{"Filters": [{"Pattern": "{\\"body\\": {\\"kind\\": [\\"wanted\\"]}}"}]}',
               "--function-response-types", "ReportBatchItemFailures", "--scaling-config", "MaximumConcurrency=2")
    identifier = made["UUID"]
    eventually(lambda: cli("get-event-source-mapping", "--uuid", identifier)["State"] == "Enabled")
    shown = cli("update-event-source-mapping", "--uuid", identifier, "--no-enabled", "--batch-size", "7")
    assert (shown["State"], shown["BatchSize"], shown["ScalingConfig"]) == ("Disabling", 7, {"MaximumConcurrency": 2})
    eventually(lambda: cli("get-event-source-mapping", "--uuid", identifier)["State"] == "Disabled")
    [listed] = cli("list-event-source-mappings", "--event-source-arn", arn)["EventSourceMappings"]
    assert listed["FilterCriteria"] == {"Filters": [{"Pattern": '{"body": {"kind": ["wanted"]}}'}]}
    assert cli("delete-event-source-mapping", "--uuid", identifier)["State"] == "Deleting"
    eventually(lambda: not cli("list-event-source-mappings", "--event-source-arn", arn)["EventSourceMappings"])


LOOP = """
import boto3, os
sqs = boto3.client("sqs")
def handler(event, context):
    for record in event["Records"]:
        print("ROUND " + record["body"])
        sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=str(int(record["body"]) + 1))
"""


@root
def test_a_loop_through_a_queue_is_stopped(dev, deploy, sqs):
    url, arn = make_queue(sqs, VisibilityTimeout=60)
    function = deploy(LOOP, Timeout=30, MemorySize=512, Environment={"Variables": {"QUEUE": url}})
    make_mapping(function.client, function.name, arn)
    sqs.send_message(QueueUrl=url, MessageBody="1")
    eventually(lambda: re.search(r"^neap_event_source_looped_total{} [1-9]", get(dev, "/_neap/metrics").text, re.M), timeout=90)
    logged = lambda: messages(dev.client("logs"), f"/aws/lambda/{function.name}")
    rounds = lambda: [line for line in logged() if line.startswith("ROUND ")]
    # Lines come to the log a moment after the refusal is counted.
    eventually(lambda: len(rounds()) >= 16)
    assert len(rounds()) == 16, rounds()
    assert hidden(sqs, url) == 1


# Its witness is on disk before the invocation ends. Some messages always fail, others at random.
AUDIT = """
import boto3, json, random, time, uuid
logs = boto3.client("logs")
stream = uuid.uuid4().hex
logs.create_log_stream(logGroupName="/audit", logStreamName=stream)
def handler(event, context):
    failed, done, stopped = [], [], set()
    for record in event["Records"]:
        body, group = record["body"], record["attributes"].get("MessageGroupId")
        if body.startswith("poison") or group in stopped or random.random() < 0.1:
            failed.append({"itemIdentifier": record["messageId"]})
            stopped.add(group) if group else None
        else:
            done.append(body)
    if done:
        logs.put_log_events(logGroupName="/audit", logStreamName=stream,
                            logEvents=[{"timestamp": int(time.time() * 1000), "message": json.dumps({"at": time.time_ns(), "done": done})}])
    return {"batchItemFailures": failed}
"""


@root
def test_kill_9_in_a_loop_loses_no_message(tmp_path):
    """Producers send while the node is killed again and again: every acknowledged message is worked on, groups in order,
    and what always fails, and nothing else, is in the dead-letter queue."""
    data, accepted, rounds = tmp_path / "data", set(), 4
    with running("dev", data=data) as node:
        sqs, lam = node.client("sqs"), node.client("lambda")
        node.client("logs").create_log_group(logGroupName="/audit")
        lam.create_function(FunctionName="audit", Runtime="python3.11", Handler="app.handler", Role=ROLE, MemorySize=256,
                            Timeout=5, Code={"ZipFile": package({"app.py": AUDIT})})
        lam.get_waiter("function_active_v2").wait(FunctionName="audit", WaiterConfig={"Delay": 0.1})
        _, dead = make_queue(sqs, "dead")
        # Enough receives for what fails at random, or is interrupted, to succeed at some time.
        redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 25})
        _, standard = make_queue(sqs, "work", VisibilityTimeout=10, RedrivePolicy=redrive)
        _, fifo = make_queue(sqs, "ordered", fifo=True, VisibilityTimeout=10)
        for arn in (standard, fifo):
            make_mapping(lam, "audit", arn, FunctionResponseTypes=["ReportBatchItemFailures"],
                         ScalingConfig={"MaximumConcurrency": 4})
    for round_number in range(rounds):
        with running("dev", data=data) as node:
            sqs = node.client("sqs")
            urls = {name: sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("work", "ordered.fifo")}

            def produce(thread, round_number=round_number, sqs=sqs, urls=urls):
                mine = set()
                for n in range(200):
                    body = f"{round_number}-{thread}-{n:03}"
                    ordered = thread % 2
                    if n == 7 and not ordered:
                        body = f"poison-{body}"
                    extra = {"MessageGroupId": f"{round_number}-{thread}", "MessageDeduplicationId": body} if ordered else {}
                    url = urls["ordered.fifo" if ordered else "work"]
                    try:
                        sqs.send_message(QueueUrl=url, MessageBody=body, **extra)
                    except Exception:
                        break
                    mine.add(body)
                accepted.update(mine)

            threads = [threading.Thread(target=produce, args=(thread,), daemon=True) for thread in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(1.0, 2.5))
            node.kill()
            for thread in threads:
                thread.join()
    good = {body for body in accepted if not body.startswith("poison")}
    assert len(good) > 100
    with running("dev", data=data) as node:
        sqs, logs = node.client("sqs"), node.client("logs")
        urls = {name: sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("work", "ordered.fifo", "dead")}

        def worked():
            batches = sorted((json.loads(line) for line in messages(logs, "/audit")), key=lambda batch: batch["at"])
            return [body for batch in batches for body in batch["done"]]

        def all_done():
            # What failed is hidden for ten seconds of the node's clock.
            node.advance(10)
            return gone(sqs, urls["work"]) and gone(sqs, urls["ordered.fifo"])

        eventually(all_done, timeout=240, every=2)
        done = worked()
        assert good <= set(done), sorted(good - set(done))[:10]
        dead, more = set(), True
        while more:
            more = sqs.receive_message(QueueUrl=urls["dead"], MaxNumberOfMessages=10).get("Messages", [])
            dead.update(message["Body"] for message in more)
            if more:
                sqs.delete_message_batch(QueueUrl=urls["dead"], Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(more)])
        assert {body for body in dead if body in accepted} == accepted - good
        assert all(body.startswith("poison") for body in dead), dead
        # In each group every message is first worked on after all before it.
        first = {}
        for place, body in enumerate(done):
            first.setdefault(body, place)
        groups = {}
        for body in sorted(set(done)):
            round_number, thread, _ = body.split("-")
            if int(thread) % 2:
                groups.setdefault((round_number, thread), []).append(first[body])
        assert groups and all(places == sorted(places) for places in groups.values())
