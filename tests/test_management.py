"""Loops of functions, runtime management, code signing."""

import json

import pytest
from conftest import eventually, messages

LOOP = """
import boto3, json, os
def handler(event, context):
    print("turn", event["n"])
    if event["n"] >= 20:
        return "done"
    try:
        boto3.client("lambda").invoke(
            FunctionName=context.function_name, InvocationType=event["how"],
            Payload=json.dumps({**event, "n": event["n"] + 1}),
        )
    except Exception as error:
        print("refused", type(error).__name__, error)
"""


def turns(logs, function):
    lines = messages(logs, f"/aws/lambda/{function.name}")
    return [int(line.split()[1]) for line in lines if line.startswith("turn ")], [
        line for line in lines if line.startswith("refused")
    ]


@pytest.mark.parametrize("how", ["Event", "RequestResponse"])
def test_a_function_that_invokes_itself_is_stopped_after_sixteen_times(lam, logs, deploy, how):
    function = deploy(LOOP, Timeout=60, MemorySize=256)
    shown = lam.get_function_recursion_config(FunctionName=function.name)
    assert shown["RecursiveLoop"] == "Terminate"
    lam.invoke(FunctionName=function.name, InvocationType="Event", Payload=json.dumps({"n": 1, "how": how}))
    refused = eventually(lambda: turns(logs, function)[1], timeout=120)
    assert len(refused) == 1 and "RecursiveInvocationException" in refused[0]
    assert sorted(turns(logs, function)[0]) == list(range(1, 17))


def test_loops_may_be_allowed(lam, logs, deploy):
    function = deploy(LOOP, Timeout=60, MemorySize=256)
    assert lam.put_function_recursion_config(FunctionName=function.name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert lam.get_function_recursion_config(FunctionName=function.name)["RecursiveLoop"] == "Allow"
    function.invoke({"n": 1, "how": "Event"})
    eventually(lambda: sorted(turns(logs, function)[0]) == list(range(1, 21)), timeout=120)
    assert not turns(logs, function)[1]
    with pytest.raises(lam.exceptions.ClientError) as refused:
        lam.put_function_recursion_config(FunctionName=function.name, RecursiveLoop="Sometimes")
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_runtimes_are_updated_with_the_host_and_code_is_not_signed(lam, deploy):
    function = deploy("def handler(event, context): pass")
    shown = lam.get_runtime_management_config(FunctionName=function.name)
    assert shown["UpdateRuntimeOn"] == "Auto" and shown["FunctionArn"] == function.arn + ":$LATEST"
    assert lam.put_runtime_management_config(FunctionName=function.name, UpdateRuntimeOn="Auto")["UpdateRuntimeOn"] == "Auto"
    for mode in ["FunctionUpdate", "Manual"]:
        with pytest.raises(lam.exceptions.InvalidParameterValueException) as refused:
            lam.put_runtime_management_config(FunctionName=function.name, UpdateRuntimeOn=mode)
        assert "UpdateRuntimeOn is not supported by Neap" in str(refused.value)
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_runtime_management_config(FunctionName="missing")
    assert lam.get_function_code_signing_config(FunctionName=function.name)["FunctionName"] == function.name
    with pytest.raises(lam.exceptions.ClientError) as refused:
        lam.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": ["x"]})
    assert "CreateCodeSigningConfig" in str(refused.value)
