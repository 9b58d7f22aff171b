"""How asynchronous invocations are retried: as set for the function, version or alias that they name."""

import datetime
import re

import pytest
from conftest import ROLE, eventually, get, package, root, running

FAIL = "def handler(e, c):\n    raise RuntimeError('as asked')"


def dropped(node):
    text = get(node, "/_neap/metrics").text
    return sum(int(float(value)) for value in re.findall(r'^neap_events_dropped_total\{reason="retries_exhausted"\} (\S+)', text, re.M))


@root
def test_no_retries_means_one_attempt(deploy, lam, node):
    function = deploy(FAIL)
    set_ = lam.put_function_event_invoke_config(FunctionName=function.name, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60)
    assert set_["FunctionArn"] == f"{function.arn}:$LATEST"
    assert abs((datetime.datetime.now(datetime.UTC) - set_["LastModified"]).total_seconds()) < 60
    before = dropped(node)
    lam.invoke(FunctionName=function.name, InvocationType="Event")
    eventually(lambda: dropped(node) == before + 1, timeout=20)


@root
def test_what_is_set_is_told_and_survives_a_restart(tmp_path):
    with running(data=tmp_path / "data") as node:
        lam = node.client("lambda")
        lam.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                            Code={"ZipFile": package({"app.py": FAIL})}, Publish=True)
        lam.put_function_event_invoke_config(FunctionName="f", Qualifier="1", MaximumRetryAttempts=1)
        lam.update_function_event_invoke_config(FunctionName="f", Qualifier="1", MaximumEventAgeInSeconds=120)
        node.kill()
    with running(data=tmp_path / "data") as node:
        lam = node.client("lambda")
        told = lam.get_function_event_invoke_config(FunctionName="f", Qualifier="1")
        assert (told["MaximumRetryAttempts"], told["MaximumEventAgeInSeconds"]) == (1, 120)
        listed = node.aws("lambda", "list-function-event-invoke-configs", "--function-name", "f").stdout
        assert '"MaximumEventAgeInSeconds": 120' in listed
        lam.delete_function_event_invoke_config(FunctionName="f", Qualifier="1")
        with pytest.raises(lam.exceptions.ResourceNotFoundException, match="doesn't have an EventInvokeConfig"):
            lam.get_function_event_invoke_config(FunctionName="f", Qualifier="1")


def test_bad_configurations_are_refused(deploy, lam):
    function = deploy(FAIL)

    def refused(text, **options):
        with pytest.raises(lam.exceptions.ClientError) as caught:
            lam.put_function_event_invoke_config(FunctionName=function.name, **options)
        assert text in str(caught.value), caught.value

    refused("at least one of error handling or destination setting")
    refused("'maximumRetryAttempts' failed to satisfy constraint", MaximumRetryAttempts=3)
    refused("'maximumEventAgeInSeconds' failed to satisfy constraint", MaximumEventAgeInSeconds=59)
    refused("The function doesn't exist.", Qualifier="7", MaximumRetryAttempts=1)
    refused("does not exist",
            DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}})
