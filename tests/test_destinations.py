"""What becomes of asynchronous invocations is told: dead-letter queues and destinations, to queues and to functions."""

import json
import time
import uuid

import botocore.exceptions
import pytest
import requests
from conftest import ROLE, eventually, messages, package, running

ACCOUNT = "000000000000"
FAIL = "def handler(e, c):\n    print('ran', e)\n    raise ValueError('not today')"
ECHO = "def handler(e, c):\n    print('got', __import__('json').dumps(e))\n    return e"


@pytest.fixture(scope="module")
def lam(dev):
    return dev.client("lambda")


@pytest.fixture(scope="module")
def sqs(dev):
    return dev.client("sqs")


def queue(sqs, **attributes):
    name = f"q-{uuid.uuid4().hex[:12]}"
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"


def create(lam, source, **options):
    name = f"f-{uuid.uuid4().hex[:12]}"
    made = lam.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                               Code={"ZipFile": package({"app.py": source})}, **options)
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
    return name, made["FunctionArn"]


def receive(sqs, url):
    """One message, deleted."""
    def look():
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, AttributeNames=["All"], MessageAttributeNames=["All"])
        return found.get("Messages")
    (message,) = eventually(look, timeout=60)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message


def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def ran(dev, name, count):
    logs = dev.client("logs")
    return eventually(lambda: sum("ran" in m for m in messages(logs, f"/aws/lambda/{name}")) >= count)


def test_an_event_that_fails_for_good_goes_to_the_dead_letter_queue(dev, lam, sqs):
    url, arn = queue(sqs)
    name, _ = create(lam, FAIL, DeadLetterConfig={"TargetArn": arn})
    assert lam.get_function_configuration(FunctionName=name)["DeadLetterConfig"] == {"TargetArn": arn}
    reply = lam.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    for count, wait in ((1, 61), (2, 121)):
        ran(dev, name, count)
        time.sleep(0.3)
        dev.advance(wait)
    message = receive(sqs, url)
    assert json.loads(message["Body"]) == {"n": 1}
    attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
    assert attributes == {"RequestID": reply["ResponseMetadata"]["RequestId"], "ErrorCode": "200",
                          "ErrorMessage": "not today"}
    assert "Root=" in message["Attributes"]["AWSTraceHeader"]
    lam.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in lam.get_function_configuration(FunctionName=name)


def test_records_of_success_and_failure_go_to_queues(dev, lam, sqs):
    (good, good_arn), (bad, bad_arn) = queue(sqs), queue(sqs)
    name, function = create(lam, "def handler(e, c):\n    return {'twice': e['n'] * 2}")
    shown = lam.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": good_arn}, "OnFailure": {"Destination": bad_arn}})
    assert shown["DestinationConfig"] == {"OnSuccess": {"Destination": good_arn}, "OnFailure": {"Destination": bad_arn}}
    reply = lam.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 21}')
    record = json.loads(receive(sqs, good)["Body"])
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "version": "1.0",
        "requestContext": {"requestId": reply["ResponseMetadata"]["RequestId"], "functionArn": function + ":$LATEST",
                           "condition": "Success", "approximateInvokeCount": 1},
        "requestPayload": {"n": 21},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"twice": 42},
    }
    lam.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"wrong": 1}')
    record = json.loads(receive(sqs, bad)["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"]["functionError"] == "Unhandled" and record["responsePayload"]["errorType"] == "KeyError"
    # One is taken away, the other stays.
    shown = lam.update_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {}})
    assert shown["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": bad_arn}}


def test_a_function_is_told_and_its_own_destination_too(dev, lam, sqs):
    url, arn = queue(sqs)
    last, last_arn = create(lam, "def handler(e, c): return e['responsePayload'] + 1")
    lam.put_function_event_invoke_config(FunctionName=last, DestinationConfig={"OnSuccess": {"Destination": arn}})
    first, _ = create(lam, "def handler(e, c): return e + 1")
    lam.put_function_event_invoke_config(FunctionName=first, DestinationConfig={"OnSuccess": {"Destination": last_arn}})
    lam.invoke(FunctionName=first, InvocationType="Event", Payload=b"40")
    record = json.loads(receive(sqs, url)["Body"])
    assert record["responsePayload"] == 42 and record["requestPayload"]["requestPayload"] == 40


def test_reserved_concurrency_zero_and_age_go_to_the_failure_destination(dev, lam, sqs):
    url, arn = queue(sqs)
    name, _ = create(lam, ECHO)
    lam.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}})
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    lam.invoke(FunctionName=name, InvocationType="Event", Payload=b'"never"')
    record = json.loads(receive(sqs, url)["Body"])
    assert record["requestPayload"] == "never" and record["requestContext"]["approximateInvokeCount"] == 0
    assert "responsePayload" not in record
    failing, _ = create(lam, FAIL)
    lam.put_function_event_invoke_config(FunctionName=failing, MaximumEventAgeInSeconds=60,
                                         DestinationConfig={"OnFailure": {"Destination": arn}})
    lam.invoke(FunctionName=failing, InvocationType="Event", Payload=b"{}")
    # The first retry would come after a minute, when the event is too old.
    record = json.loads(receive(sqs, url)["Body"])
    assert record["requestContext"]["condition"] in ("EventAgeExceeded", "RetriesExhausted")


def test_functions_that_tell_each_other_stop(dev, lam, sqs):
    one, one_arn = create(lam, "def handler(e, c):\n    print('ran')\n    return 1")
    two, two_arn = create(lam, "def handler(e, c):\n    print('ran')\n    return 2")
    lam.put_function_event_invoke_config(FunctionName=one, DestinationConfig={"OnSuccess": {"Destination": two_arn}})
    lam.put_function_event_invoke_config(FunctionName=two, DestinationConfig={"OnSuccess": {"Destination": one_arn}})
    lam.invoke(FunctionName=one, InvocationType="Event", Payload=b"{}")
    ran(dev, one, 16)
    ran(dev, two, 16)
    time.sleep(2)
    logs = dev.client("logs")
    assert sum("ran" in m for m in messages(logs, f"/aws/lambda/{one}")) == 16


def test_wrong_targets_are_refused(dev, lam, sqs):
    name, arn = create(lam, ECHO)
    fifo = sqs.create_queue(QueueName="d.fifo", Attributes={"FifoQueue": "true"})
    assert fifo
    for target in ["nonsense", "arn:aws:sqs:us-east-1:000000000000:none", "arn:aws:sqs:us-east-1:000000000000:d.fifo",
                   "arn:aws:sns:us-east-1:000000000000:t", "arn:aws:lambda:us-east-1:000000000000:function:none", arn]:
        code, _ = refused(lam.put_function_event_invoke_config, FunctionName=name,
                          DestinationConfig={"OnFailure": {"Destination": target}})
        assert code == "InvalidParameterValueException", target
        if ":lambda:" not in target:
            code, _ = refused(lam.update_function_configuration, FunctionName=name, DeadLetterConfig={"TargetArn": target})
            assert code == "InvalidParameterValueException", target


def test_a_target_that_is_gone_is_metered_and_the_event_is_finished(dev, lam, sqs):
    url, arn = queue(sqs)
    name, _ = create(lam, ECHO)
    lam.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}})
    sqs.delete_queue(QueueUrl=url)
    lam.invoke(FunctionName=name, InvocationType="Event", Payload=b"1")
    metrics = requests.get(dev.endpoint + "/_neap/metrics", timeout=30)
    assert metrics.status_code == 200
    cloudwatch = dev.client("cloudwatch")

    def failures():
        found = cloudwatch.list_metrics(Namespace="AWS/Lambda", MetricName="DestinationDeliveryFailures",
                                        Dimensions=[{"Name": "FunctionName", "Value": name}])
        return found["Metrics"]

    eventually(failures, timeout=60)


def test_what_is_to_be_told_survives_kill_9(tmp_path):
    """Every event is told exactly of as succeeded or failed, though the node is killed again and again: at least once each."""
    with running(mode="dev", data=tmp_path) as node:
        lam, sqs = node.client("lambda"), node.client("sqs")
        _, good = queue(sqs, VisibilityTimeout="600")
        _, bad = queue(sqs, VisibilityTimeout="600")
        name, _ = create(lam, "def handler(e, c):\n    if e % 3 == 0: raise ValueError(e)\n    return e")
        lam.put_function_event_invoke_config(
            FunctionName=name, MaximumRetryAttempts=0,
            DestinationConfig={"OnSuccess": {"Destination": good}, "OnFailure": {"Destination": bad}})
        accepted = set()
        for n in range(60):
            try:
                node.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=str(n).encode())
                accepted.add(n)
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                pass
            if n % 15 == 14:
                node.kill()
                node.start()
        told = {good: set(), bad: set()}

        def all_told():
            sqs = node.client("sqs")
            for arn, seen in told.items():
                url = f"{node.endpoint}/{ACCOUNT}/{arn.rsplit(':', 1)[1]}"
                found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
                seen.update(json.loads(message["Body"])["requestPayload"] for message in found)
            return told[good] | told[bad] >= accepted

        eventually(all_told, timeout=120)
        assert all(n % 3 != 0 for n in told[good]) and all(n % 3 == 0 for n in told[bad])
