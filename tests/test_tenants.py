"""Tenant isolation: an environment serves one tenant only."""

import json

import pytest
from conftest import eventually, messages

WHO = """
import os, uuid
ME = str(uuid.uuid4())
def handler(event, context):
    open("/tmp/seen", "a").write(str(context.tenant_id) + "\\n")
    return {"me": ME, "tenant": context.tenant_id, "seen": open("/tmp/seen").read().split(), "env": dict(os.environ)}
"""
PER_TENANT = {"TenantIsolationMode": "PER_TENANT"}


def call(function, tenant, **options):
    reply = function.client.invoke(FunctionName=function.name, TenantId=tenant, Payload=b"{}", **options)
    return json.loads(reply["Payload"].read() or b"null")


def test_environments_are_not_shared_between_tenants(lam, deploy):
    function = deploy(WHO, TenancyConfig=PER_TENANT)
    assert function.configuration["TenancyConfig"] == PER_TENANT
    assert lam.get_function_configuration(FunctionName=function.name)["TenancyConfig"] == PER_TENANT
    answers = [call(function, tenant) for tenant in ["blue", "red", "blue", "red", "green corp/1=a"]]
    assert [answer["tenant"] for answer in answers] == ["blue", "red", "blue", "red", "green corp/1=a"]
    blue, red, blue_again, red_again, green = answers
    assert blue["me"] == blue_again["me"] and red["me"] == red_again["me"]
    assert len({blue["me"], red["me"], green["me"]}) == 3
    assert blue_again["seen"] == ["blue", "blue"] and red_again["seen"] == ["red", "red"]
    assert not any("TENANT" in name for name in blue["env"])
    # Another code is another environment, for each tenant.
    lam.update_function_configuration(FunctionName=function.name, Timeout=9)
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    assert call(function, "blue")["me"] != blue["me"]


def test_the_tenant_must_be_named_exactly_where_tenants_are_isolated(lam, deploy):
    isolated, plain = deploy(WHO, TenancyConfig=PER_TENANT), deploy(WHO)
    for act in [lam.invoke, lam.invoke_with_response_stream]:
        for options, text in [
            ({"FunctionName": isolated.name}, "Add a valid tenant ID"),
            ({"FunctionName": plain.name, "TenantId": "blue"}, "Remove the tenant ID"),
            ({"FunctionName": isolated.name, "InvocationType": "DryRun"}, "Add a valid tenant ID"),
        ]:
            with pytest.raises(lam.exceptions.InvalidParameterValueException) as refused:
                act(**options)
            assert text in str(refused.value), options
    with pytest.raises(lam.exceptions.InvalidParameterValueException):
        lam.invoke(FunctionName=isolated.name, InvocationType="Event")
    for bad in ["a!", "x" * 257]:
        with pytest.raises(lam.exceptions.ClientError) as refused:
            lam.invoke(FunctionName=isolated.name, TenantId=bad)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    for bad in [{}, {"TenantIsolationMode": "SHARED"}]:
        with pytest.raises(lam.exceptions.ClientError) as refused:
            deploy(WHO, TenancyConfig=bad)
        assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_asynchronous_invocations_keep_their_tenant(node, lam, logs, deploy):
    function = deploy(
        "def handler(event, context): print('for', context.tenant_id, event['n'])", TenancyConfig=PER_TENANT
    )
    for n, tenant in enumerate(["blue", "red"]):
        lam.invoke(FunctionName=function.name, TenantId=tenant, InvocationType="Event", Payload=json.dumps({"n": n}))
    group = f"/aws/lambda/{function.name}"
    lines = eventually(lambda: len(found := [x for x in messages(logs, group) if x.startswith("for")]) == 2 and found)
    assert sorted(line.strip() for line in lines) == ["for blue 0", "for red 1"]


def test_what_has_no_tenant_is_refused_for_isolated_functions(lam, deploy):
    function = deploy(WHO, TenancyConfig=PER_TENANT)
    lam.publish_version(FunctionName=function.name)
    with pytest.raises(lam.exceptions.InvalidParameterValueException):
        lam.create_function_url_config(FunctionName=function.name, AuthType="NONE")
    with pytest.raises(lam.exceptions.InvalidParameterValueException):
        lam.put_provisioned_concurrency_config(
            FunctionName=function.name, Qualifier="1", ProvisionedConcurrentExecutions=1
        )


def test_node_and_other_runtimes_are_told(deploy):
    function = deploy(
        {"app.js": "exports.handler = async (event, context) => [context.tenantId, Object.keys(process.env).filter((n) => n.includes('TENANT'))];"},
        runtime="nodejs20.x",
        TenancyConfig=PER_TENANT,
    )
    assert call(function, "blue") == ["blue", []]
