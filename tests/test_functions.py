"""The Lambda API for functions, as boto3 sees it."""

import base64
import hashlib

import botocore.exceptions
import pytest
from conftest import ROLE, package

HELLO = "def handler(event, context):\n    return {'hello': event}\n"


def refused(call, code, contains="", status=None):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert contains in error["Message"], error
    if status:
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return error


def test_create_shows_the_whole_configuration(deploy, lam):
    function = deploy(
        HELLO,
        Description="greets",
        MemorySize=256,
        Timeout=7,
        Environment={"Variables": {"COLOUR": "green"}},
        Tags={"team": "neap"},
    )
    made = function.configuration
    assert made["FunctionArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{function.name}"
    assert made["Version"] == "$LATEST"
    assert made["MemorySize"] == 256 and made["Timeout"] == 7
    assert made["Environment"]["Variables"] == {"COLOUR": "green"}
    assert made["EphemeralStorage"] == {"Size": 512}
    assert made["Architectures"] == ["x86_64"]
    assert made["PackageType"] == "Zip"
    zipped = package({"app.py": HELLO})
    assert made["CodeSize"] == len(zipped)
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(zipped).digest()).decode()
    assert made["LoggingConfig"]["LogGroup"] == f"/aws/lambda/{function.name}"
    got = lam.get_function(FunctionName=function.name)
    assert got["Configuration"]["State"] == "Active"
    assert got["Configuration"]["LastUpdateStatus"] == "Successful"
    assert got["Tags"] == {"team": "neap"}
    configuration = lam.get_function_configuration(FunctionName=function.name)
    configuration.pop("ResponseMetadata")
    assert configuration == got["Configuration"]


@pytest.mark.parametrize("form", ["name", "arn", "partial", "qualified"])
def test_a_function_is_found_by_each_form_of_its_name(deploy, lam, form):
    function = deploy(HELLO)
    name = {
        "name": function.name,
        "arn": function.arn,
        "partial": f"000000000000:function:{function.name}",
        "qualified": f"{function.arn}:$LATEST",
    }[form]
    assert lam.get_function_configuration(FunctionName=name)["FunctionName"] == function.name
    assert lam.invoke(FunctionName=name, Payload=b"1")["Payload"].read() == b'{"hello": 1}'


def test_refusals_have_the_codes_of_lambda(deploy, lam):
    function = deploy(HELLO)
    code = {"ZipFile": package({"app.py": HELLO})}
    good = {"Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, "Code": code}

    def create(**changes):
        return lambda: lam.create_function(**{"FunctionName": "t-refused", **good, **changes})

    refused(create(FunctionName=function.name), "ResourceConflictException", "already exist", 409)
    refused(create(FunctionName="a b"), "ValidationException", "functionName", 400)
    refused(create(MemorySize=127), "ValidationException", "memorySize", 400)
    refused(create(Timeout=901), "ValidationException", "timeout", 400)
    refused(create(Runtime="cobol85"), "InvalidParameterValueException", "cobol85", 400)
    refused(create(Role="nobody"), "ValidationException", "role", 400)
    refused(create(Environment={"Variables": {"AB": "x" * 5000}}), "InvalidParameterValueException", "4KB", 400)
    refused(create(Environment={"Variables": {"AWS_REGION": "x"}}), "InvalidParameterValueException", "AWS_REGION")
    refused(create(Code={"ZipFile": b"not a zip"}), "InvalidParameterValueException", "unzip", 400)
    refused(lambda: lam.get_function(FunctionName="t-none"), "ResourceNotFoundException", "Function not found", 404)
    refused(lambda: lam.invoke(FunctionName="t-none"), "ResourceNotFoundException", "t-none", 404)
    refused(lambda: lam.delete_function(FunctionName="t-none"), "ResourceNotFoundException", "t-none", 404)


@pytest.mark.parametrize(
    "setting, named",
    [
        ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, "S3"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "VpcConfig"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:sns:us-east-1:000000000000:t"}}, "DeadLetterConfig"),
        ({"PackageType": "Image", "Code": {"ImageUri": "x/y:z"}}, "Image"),
    ],
)
def test_a_setting_that_would_not_be_carried_out_is_refused_by_name(lam, setting, named):
    request = {
        "FunctionName": "t-refused",
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": package({"app.py": HELLO})},
        **setting,
    }
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        lam.create_function(**request)
    assert named in str(caught.value)
    refused(lambda: lam.get_function(FunctionName="t-refused"), "ResourceNotFoundException")


def test_updates_change_code_and_configuration_and_their_revision(deploy, lam):
    function = deploy(HELLO)
    assert function(1) == {"hello": 1}
    before = lam.get_function_configuration(FunctionName=function.name)
    code = package({"app.py": "def handler(event, context):\n    return 'new'\n"})
    dry = lam.update_function_code(FunctionName=function.name, ZipFile=code, DryRun=True)
    assert dry["CodeSha256"] != before["CodeSha256"]
    assert function(1) == {"hello": 1}
    refused(
        lambda: lam.update_function_code(FunctionName=function.name, ZipFile=code, RevisionId="x" * 36),
        "PreconditionFailedException",
        status=412,
    )
    lam.update_function_code(FunctionName=function.name, ZipFile=code, RevisionId=before["RevisionId"])
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    assert function(1) == "new"
    lam.update_function_configuration(FunctionName=function.name, MemorySize=512, Description="d")
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    after = lam.get_function_configuration(FunctionName=function.name)
    assert after["MemorySize"] == 512 and after["Description"] == "d"
    assert after["RevisionId"] != before["RevisionId"]
    assert after["Timeout"] == before["Timeout"]


def test_published_versions_are_immutable_and_numbered(deploy, lam):
    function = deploy("def handler(e, c): return [c.function_version, 'one']")
    one = lam.publish_version(FunctionName=function.name, Description="first")
    assert one["Version"] == "1" and one["FunctionArn"].endswith(f"{function.name}:1")
    assert lam.publish_version(FunctionName=function.name)["Version"] == "1", "nothing changed since"
    code = package({"app.py": "def handler(e, c): return [c.function_version, 'two']"})
    two = lam.update_function_code(FunctionName=function.name, ZipFile=code, Publish=True)
    assert two["Version"] == "2"
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 0.1})
    assert function.invoke(None, Qualifier="1")["Body"] == ["1", "one"]
    reply = function.invoke(None, Qualifier="2")
    assert reply["Body"] == ["2", "two"] and reply["ExecutedVersion"] == "2"
    assert function(None) == ["$LATEST", "two"]
    listed = lam.list_versions_by_function(FunctionName=function.name)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
    lam.delete_function(FunctionName=function.name, Qualifier="1")
    refused(lambda: function.invoke(None, Qualifier="1"), "ResourceNotFoundException")
    assert function(None) == ["$LATEST", "two"]


def test_listing_pages_through_all_functions(deploy, lam):
    made = {deploy(HELLO).name for _ in range(5)}
    pages = list(lam.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert all(len(page["Functions"]) <= 2 for page in pages)
    names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert made <= set(names) and len(names) == len(set(names))


def test_tags_are_added_and_removed(deploy, lam):
    function = deploy(HELLO)
    lam.tag_resource(Resource=function.arn, Tags={"a": "1", "b": "2"})
    lam.untag_resource(Resource=function.arn, TagKeys=["a"])
    assert lam.list_tags(Resource=function.arn)["Tags"] == {"b": "2"}


def test_account_settings_count_code_and_functions(deploy, lam):
    before = lam.get_account_settings()
    deploy(HELLO)
    after = lam.get_account_settings()
    assert after["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert after["AccountUsage"]["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    assert after["AccountUsage"]["TotalCodeSize"] > before["AccountUsage"]["TotalCodeSize"]


def test_an_operation_that_does_not_exist_yet_is_refused_by_name(lam, deploy):
    function = deploy(HELLO)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        lam.delete_function_code_signing_config(FunctionName=function.name)
    assert "DeleteFunctionCodeSigningConfig" in str(caught.value.response["Error"])


def test_a_deleted_name_can_be_used_again(deploy, lam):
    function = deploy(HELLO)
    lam.delete_function(FunctionName=function.name)
    refused(lambda: lam.invoke(FunctionName=function.name), "ResourceNotFoundException")
    again = deploy("def handler(e, c): return 'again'", name=function.name)
    assert again(None) == "again"
