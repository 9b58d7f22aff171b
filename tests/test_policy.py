"""Resource policies: AddPermission, RemovePermission, GetPolicy, and invocations from another account."""

import json

import pytest
from conftest import package, running

ROLE = "arn:aws:iam::000000000000:role/tests"
OTHER = "111122223333"
ECHO = "def handler(event, context): return context.invoked_function_arn"


def code(refused):
    return refused.value.response["Error"]["Code"]


def text(refused):
    error = refused.value.response
    return error["Error"].get("Message") or error.get("message", "")


def test_permissions_are_shown_as_lambda_shows_them(deploy, lam):
    function = deploy(ECHO)
    with pytest.raises(lam.exceptions.ResourceNotFoundException) as refused:
        lam.get_policy(FunctionName=function.name)
    assert text(refused) == "The resource you requested does not exist."
    added = lam.add_permission(
        FunctionName=function.name,
        StatementId="bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::pictures",
        SourceAccount=OTHER,
    )
    statement = {
        "Sid": "bucket",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": function.arn,
        "Condition": {
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::pictures"},
            "StringEquals": {"AWS:SourceAccount": OTHER},
        },
    }
    assert json.loads(added["Statement"]) == statement
    shown = lam.get_policy(FunctionName=function.name)
    assert json.loads(shown["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}

    with pytest.raises(lam.exceptions.ResourceConflictException) as refused:
        lam.add_permission(FunctionName=function.name, StatementId="bucket", Action="lambda:InvokeFunction", Principal=OTHER)
    assert "The statement id (bucket) provided already exists" in text(refused)
    lam.add_permission(
        FunctionName=function.name, StatementId="them", Action="lambda:InvokeFunction", Principal=OTHER,
        RevisionId=shown["RevisionId"],
    )
    with pytest.raises(lam.exceptions.PreconditionFailedException):
        lam.remove_permission(FunctionName=function.name, StatementId="them", RevisionId=shown["RevisionId"])
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.remove_permission(FunctionName=function.name, StatementId="nobody")
    lam.remove_permission(FunctionName=function.name, StatementId="bucket")
    left = json.loads(lam.get_policy(FunctionName=function.name)["Policy"])["Statement"]
    assert [s["Principal"] for s in left] == [{"AWS": f"arn:aws:iam::{OTHER}:root"}]
    lam.remove_permission(FunctionName=function.name, StatementId="them")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_policy(FunctionName=function.name)


@pytest.mark.parametrize(
    "change, expected, told",
    [
        ({"StatementId": "a b"}, "ValidationException", "statementId"),
        ({"Action": "s3:GetObject"}, "ValidationException", "action"),
        ({"Action": "lambda:GetFunction"}, "InvalidParameterValueException", "Action"),
        ({"Action": "lambda:*"}, "InvalidParameterValueException", "Action"),
        ({"Principal": "someone"}, "InvalidParameterValueException", "principal was invalid"),
        ({"Principal": f"arn:aws:iam::{OTHER}:user/x"}, "InvalidParameterValueException", "principal was invalid"),
        ({"FunctionUrlAuthType": "NONE"}, "InvalidParameterValueException", "lambda:InvokeFunctionUrl"),
        ({"SourceAccount": "12"}, "ValidationException", "sourceAccount"),
        ({"Qualifier": "$LATEST"}, "InvalidParameterValueException", "$LATEST"),
        ({"Qualifier": "9"}, "ResourceNotFoundException", "Function not found"),
        ({"FunctionName": "missing"}, "ResourceNotFoundException", "Function not found"),
        ({"RevisionId": "x"}, "PreconditionFailedException", "Revision Id"),
        ({"Action": None}, "ValidationException", "action"),
    ],
)
def test_permissions_that_cannot_hold_are_refused(deploy, lam, change, expected, told):
    function = deploy(ECHO)
    wanted = {"FunctionName": function.name, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": OTHER}
    wanted = {key: value for key, value in {**wanted, **change}.items() if value is not None}
    with pytest.raises(lam.exceptions.ClientError) as refused:
        lam.add_permission(**wanted)
    assert code(refused) == expected and told in text(refused)


@pytest.fixture(scope="module")
def accounts():
    """Two accounts of one node: clients of the owner and of the other."""
    with running("dev") as node:
        keys = lambda account: {"aws_access_key_id": account, "aws_secret_access_key": "x"}
        yield node, node.client("lambda", **keys("000000000000")), node.client("lambda", **keys(OTHER))


def test_another_account_invokes_only_what_a_policy_allows(accounts):
    _, ours, theirs = accounts
    made = ours.create_function(
        FunctionName="shared", Runtime="python3.11", Handler="app.handler", Role=ROLE,
        Code={"ZipFile": package({"app.py": ECHO})}, Publish=True,
    )
    ours.get_waiter("function_active_v2").wait(FunctionName="shared", WaiterConfig={"Delay": 0.1})
    arn = made["FunctionArn"].removesuffix(":1")
    ours.create_alias(FunctionName="shared", Name="live", FunctionVersion="1")

    def denied(name, act=theirs.invoke):
        with pytest.raises(theirs.exceptions.ClientError) as refused:
            act(FunctionName=name)
        assert code(refused) == "AccessDeniedException"
        return text(refused)

    told = denied(arn)
    assert f"arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:InvokeFunction on resource: {arn}" in told
    grant = {"FunctionName": "shared", "Action": "lambda:InvokeFunction", "Principal": OTHER}
    ours.add_permission(StatementId="them", **grant)
    body = json.loads(theirs.invoke(FunctionName=arn)["Payload"].read())
    assert body == arn
    assert theirs.invoke(FunctionName=arn, InvocationType="Event")["StatusCode"] == 202
    # The function itself is allowed: not its versions and aliases, nor anything but invoking it.
    denied(arn + ":1"), denied(arn + ":live"), denied(arn + ":$LATEST")
    denied(arn, theirs.get_function), denied(arn, theirs.delete_function), denied(arn, theirs.get_policy)
    ours.add_permission(StatementId="alias", Qualifier="live", **grant)
    assert json.loads(theirs.invoke(FunctionName=arn + ":live")["Payload"].read()) == arn + ":live"
    assert json.loads(theirs.invoke(FunctionName=arn, Qualifier="live")["Payload"].read()) == arn + ":live"
    denied(arn + ":1")
    ours.remove_permission(FunctionName="shared", StatementId="them")
    denied(arn)
    # A policy goes with what it belongs to.
    ours.delete_alias(FunctionName="shared", Name="live")
    ours.create_alias(FunctionName="shared", Name="live", FunctionVersion="1")
    denied(arn + ":live")
    # Their own functions are theirs.
    with pytest.raises(theirs.exceptions.ResourceNotFoundException):
        theirs.invoke(FunctionName="shared")


def test_the_aws_cli_adds_a_permission_and_a_restart_keeps_it():
    with running() as node:
        node.client("lambda").create_function(
            FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": package({"app.py": ECHO})}
        )
        node.aws(
            "lambda", "add-permission", "--function-name", "f", "--statement-id", "s", "--action",
            "lambda:InvokeFunction", "--principal", "events.amazonaws.com",
        )
        node.kill()
        node.start()
        policy = json.loads(json.loads(node.aws("lambda", "get-policy", "--function-name", "f").stdout)["Policy"])
        assert policy["Statement"][0]["Principal"] == {"Service": "events.amazonaws.com"}
