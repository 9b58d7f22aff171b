"""Provisioned concurrency, and how long environments are kept."""

import concurrent.futures
import json

import pytest
from conftest import ROLE, eventually, get, messages, package, running

WHO = """
import os, uuid
ME = str(uuid.uuid4())
print("initialised", ME)
def handler(event, context):
    if isinstance(event, dict) and event.get("sleep"):
        import time
        time.sleep(event["sleep"])
    return {"me": ME, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "version": context.function_version}
"""


def state(lam, name, qualifier):
    found = lam.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    found.pop("ResponseMetadata")
    return found


def ready(lam, name, qualifier):
    return eventually(lambda: (found := state(lam, name, qualifier))["Status"] == "READY" and found)


def environments(node, name, state="idle"):
    """Environments of all versions of a function in a state."""
    total = 0
    for line in get(node, "/_neap/metrics").text.splitlines():
        if line.startswith("neap_environments{") and f'function="{name}"' in line and f'state="{state}"' in line:
            total += int(float(line.split()[-1]))
    return total


@pytest.fixture
def published(lam, deploy):
    def published(source=WHO, **options):
        function = deploy(source, **options)
        lam.publish_version(FunctionName=function.name)
        return function

    return published


def call(lam, name, qualifier, event=None):
    reply = lam.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event or {}).encode(), LogType="Tail")
    return json.loads(reply["Payload"].read()), reply


def test_environments_are_ready_before_the_first_call(node, lam, logs, published):
    function = published()
    put = lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="1", ProvisionedConcurrentExecutions=2
    )
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202 and put["Status"] in ("IN_PROGRESS", "READY")
    found = ready(lam, function.name, "1")
    assert found["RequestedProvisionedConcurrentExecutions"] == 2
    assert found["AvailableProvisionedConcurrentExecutions"] == found["AllocatedProvisionedConcurrentExecutions"] == 2
    assert environments(node, function.name) == 2

    def initialised():
        lines = messages(logs, f"/aws/lambda/{function.name}")
        return {line.split()[1] for line in lines if line.startswith("initialised")}

    # Lines are in the log soon after, not before an environment is ready.
    made = eventually(lambda: len(initialised()) == 2 and initialised())
    answer, reply = call(lam, function.name, "1")
    assert answer["kind"] == "provisioned-concurrency" and answer["me"] in made and answer["version"] == "1"
    # What goes beyond them runs on environments of its own.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(call, lam, function.name, "1", {"sleep": 1}) for _ in range(4)]
        kinds = [answer.result()[0]["kind"] for answer in answers]
    assert sorted(kinds) == ["on-demand"] * 2 + ["provisioned-concurrency"] * 2
    # $LATEST has none of them.
    assert call(lam, function.name, "$LATEST")[0]["kind"] == "on-demand"
    lam.delete_provisioned_concurrency_config(FunctionName=function.name, Qualifier="1")
    with pytest.raises(lam.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        state(lam, function.name, "1")


def test_an_alias_takes_its_environments_along(node, lam, published):
    function = published()
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
    lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="live", ProvisionedConcurrentExecutions=2
    )
    ready(lam, function.name, "live")
    assert call(lam, function.name, "live")[0]["kind"] == "provisioned-concurrency"
    lam.update_function_configuration(FunctionName=function.name, Environment={"Variables": {"CHANGED": "b"}})
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    lam.publish_version(FunctionName=function.name)
    lam.update_alias(FunctionName=function.name, Name="live", FunctionVersion="2")
    ready(lam, function.name, "live")
    answer = call(lam, function.name, "live")[0]
    assert (answer["kind"], answer["version"]) == ("provisioned-concurrency", "2")
    # Two versions by weight share them.
    lam.update_alias(FunctionName=function.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    ready(lam, function.name, "live")
    kinds = {(answer["version"], answer["kind"]) for answer in (call(lam, function.name, "live")[0] for _ in range(30))}
    assert {version for version, _ in kinds} == {"1", "2"}
    assert {kind for _, kind in kinds} == {"provisioned-concurrency"}
    listed = lam.list_provisioned_concurrency_configs(FunctionName=function.name)["ProvisionedConcurrencyConfigs"]
    assert [(one["FunctionArn"], one["Status"]) for one in listed] == [(function.arn + ":live", "READY")]
    lam.delete_alias(FunctionName=function.name, Name="live")
    assert not lam.list_provisioned_concurrency_configs(FunctionName=function.name)["ProvisionedConcurrencyConfigs"]


def test_what_cannot_be_provisioned_is_refused(lam, published):
    function = published()
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")

    def refused(code, text, **options):
        asked = {"FunctionName": function.name, "Qualifier": "1", "ProvisionedConcurrentExecutions": 1, **options}
        with pytest.raises(lam.exceptions.ClientError) as refused:
            lam.put_provisioned_concurrency_config(**{key: value for key, value in asked.items() if value is not None})
        error = refused.value.response
        assert error["Error"]["Code"] == code and text in str(error), error

    refused("InvalidParameterValueException", "unpublished", Qualifier="$LATEST")
    refused("ValidationException", "qualifier", Qualifier=None)
    refused("ResourceNotFoundException", "Function not found", Qualifier="7")
    refused("ResourceNotFoundException", "Function not found", Qualifier="none")
    refused("ResourceNotFoundException", "Function not found", FunctionName="missing")
    refused("ValidationException", "provisionedConcurrentExecutions", ProvisionedConcurrentExecutions=0)
    refused("InvalidParameterValueException", "unreserved concurrency", ProvisionedConcurrentExecutions=901)
    lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=2)
    refused("InvalidParameterValueException", "reservedConcurrentExecution", ProvisionedConcurrentExecutions=3)
    lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="1", ProvisionedConcurrentExecutions=2
    )
    refused("InvalidParameterValueException", "already Provisioned version", Qualifier="live")
    with pytest.raises(lam.exceptions.InvalidParameterValueException):
        lam.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=1)
    lam.delete_provisioned_concurrency_config(FunctionName=function.name, Qualifier="1")
    lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    refused("InvalidParameterValueException", "pointed by", Qualifier="1")


def test_an_initialisation_that_fails_is_told(lam, published):
    function = published("raise RuntimeError('never')\ndef handler(event, context): pass")
    lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    found = eventually(lambda: (found := state(lam, function.name, "1"))["Status"] == "FAILED" and found)
    assert "initialisation failed" in found["StatusReason"] and found["AvailableProvisionedConcurrentExecutions"] == 0


def test_account_settings_count_what_is_provisioned(lam, published):
    function = published()
    before = lam.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    lam.put_provisioned_concurrency_config(
        FunctionName=function.name, Qualifier="1", ProvisionedConcurrentExecutions=3
    )
    assert lam.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == before - 3


def test_environments_are_ready_again_after_kill_9_and_when_one_ends():
    with running() as node:
        lam = node.client("lambda")
        source = WHO.replace("    return {", "    if event.get('die'):\n        os._exit(1)\n    return {")
        lam.create_function(
            FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE,
            Code={"ZipFile": package({"app.py": source})}, Publish=True, Tags={"neap:idle-seconds": "1"},
        )
        lam.get_waiter("published_version_active").wait(FunctionName="f", Qualifier="1", WaiterConfig={"Delay": 0.1})
        lam.put_provisioned_concurrency_config(FunctionName="f", Qualifier="1", ProvisionedConcurrentExecutions=2)
        ready(lam, "f", "1")
        first = call(lam, "f", "1")[0]["me"]
        assert "FunctionError" in call(lam, "f", "1", {"die": True})[1]
        ready(lam, "f", "1")
        # They outlive the time for which others, of $LATEST here, may be idle.
        call(lam, "f", "$LATEST")
        assert environments(node, "f") == 3
        eventually(lambda: environments(node, "f") == 2)
        node.kill()
        node.start()
        lam = node.client("lambda")
        ready(lam, "f", "1")
        again = call(lam, "f", "1")[0]
        assert again["kind"] == "provisioned-concurrency" and again["me"] != first


def test_a_tag_says_how_long_environments_may_be_idle(node, lam, deploy):
    for bad in ["-1", "x", "86401", ""]:
        with pytest.raises(lam.exceptions.InvalidParameterValueException):
            deploy(WHO, Tags={"neap:idle-seconds": bad})
    function = deploy(WHO, Tags={"neap:idle-seconds": "1"})
    function()
    assert environments(node, function.name) == 1
    eventually(lambda: environments(node, function.name) == 0)
    lam.tag_resource(Resource=function.arn, Tags={"neap:idle-seconds": "0"})
    first = function()["me"]
    eventually(lambda: environments(node, function.name) == 0)
    assert function()["me"] != first
    lam.untag_resource(Resource=function.arn, TagKeys=["neap:idle-seconds"])
    stays = function()["me"]
    assert function()["me"] == stays and environments(node, function.name) == 1
