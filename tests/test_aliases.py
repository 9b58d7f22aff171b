"""Aliases: a name for a version, or for two that share its invocations."""

import concurrent.futures

import pytest
from conftest import package, root

SOURCE = "def handler(e, c):\n    print('ran', c.function_version)\n    return [%r, c.function_version, c.invoked_function_arn]"


@pytest.fixture
def versions(deploy, lam):
    """A function whose versions 1 and 2 answer differently."""
    function = deploy(SOURCE % "one")
    assert lam.publish_version(FunctionName=function.name)["Version"] == "1"
    lam.update_function_code(FunctionName=function.name, ZipFile=package({"app.py": SOURCE % "two"}))
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    assert lam.publish_version(FunctionName=function.name)["Version"] == "2"
    return function


def test_an_alias_is_moved_and_rolled_back(versions, lam, node):
    name = versions.name
    made = lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="what people get")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["AliasArn"] == f"{versions.arn}:live"
    assert lam.get_alias(FunctionName=name, Name="live")["RevisionId"] == made["RevisionId"]
    shown = lam.get_function(FunctionName=name, Qualifier="live")["Configuration"]
    assert (shown["Version"], shown["FunctionArn"]) == ("1", made["AliasArn"])
    node.aws("lambda", "update-alias", "--function-name", name, "--name", "live", "--function-version", "2")
    assert lam.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "2"
    with pytest.raises(lam.exceptions.PreconditionFailedException):
        lam.update_alias(FunctionName=name, Name="live", FunctionVersion="1", RevisionId=made["RevisionId"])
    assert [alias["Name"] for alias in lam.get_paginator("list_aliases").paginate(FunctionName=name).build_full_result()["Aliases"]] == ["live"]
    with pytest.raises(lam.exceptions.ResourceConflictException, match="aliases reference it: .live."):
        lam.delete_function(FunctionName=name, Qualifier="2")
    lam.update_alias(FunctionName=name, Name="live", FunctionVersion="1")
    lam.delete_function(FunctionName=name, Qualifier="2")
    lam.delete_alias(FunctionName=name, Name="live")
    with pytest.raises(lam.exceptions.ResourceNotFoundException, match="Cannot find alias arn"):
        lam.get_alias(FunctionName=name, Name="live")


@root
def test_invocations_follow_their_alias(versions, lam):
    name = versions.name
    lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    reply = versions.invoke(Qualifier="live")
    assert reply["Body"] == ["one", "1", f"{versions.arn}:live"] and reply["ExecutedVersion"] == "1"
    lam.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert versions.invoke(Qualifier="live")["Body"][:2] == ["two", "2"], "from the next invocation on"
    by_arn = lam.invoke(FunctionName=f"{versions.arn}:live")
    assert by_arn["ExecutedVersion"] == "2"
    lam.delete_alias(FunctionName=name, Name="live")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        versions.invoke(Qualifier="live")


@root
def test_a_weight_splits_invocations(versions, lam):
    lam.create_alias(FunctionName=versions.name, Name="live", FunctionVersion="1",
                     RoutingConfig={"AdditionalVersionWeights": {"2": 0.3}})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(lambda _: versions.invoke(Qualifier="live")["ExecutedVersion"], range(400)))
    # Seven standard deviations of a fair draw.
    assert abs(ran.count("2") - 120) < 65 and ran.count("1") + ran.count("2") == 400, ran.count("2")
    for weight, version in ((1.0, "2"), (0.0, "1")):
        lam.update_alias(FunctionName=versions.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": weight}})
        assert {versions.invoke(Qualifier="live")["ExecutedVersion"] for _ in range(20)} == {version}


def test_bad_aliases_are_refused_in_lambdas_words(versions, lam):
    def refused(text, **options):
        with pytest.raises(lam.exceptions.ClientError) as caught:
            lam.create_alias(FunctionName=versions.name, **{"Name": "x", "FunctionVersion": "1", **options})
        assert text in str(caught.value), caught.value

    refused("'name' failed to satisfy constraint", Name="12")
    refused("Function not found", FunctionVersion="7")
    refused("'functionVersion' failed to satisfy constraint", FunctionVersion="live")
    weights = lambda **weights: {"AdditionalVersionWeights": {key[1:]: value for key, value in weights.items()}}
    refused("cannot be greater than 1", RoutingConfig=weights(v2=0.1, v3=0.1))
    refused("already included in routing configuration", RoutingConfig=weights(v1=0.1))
    refused("$LATEST is not supported", FunctionVersion="$LATEST", RoutingConfig=weights(v2=0.1))
    refused("less than or equal to 1.0", RoutingConfig=weights(v2=1.5))
    refused("Function not found", RoutingConfig=weights(v9=0.5))
