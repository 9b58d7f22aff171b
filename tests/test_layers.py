"""Layers: content that functions share, at /opt."""

import base64
import concurrent.futures
import errno
import hashlib
import io
import json
import shutil
import zipfile

import pytest
import requests
from conftest import ROLE, Function, package, root, running

LATER = {"Delay": 0.1, "MaxAttempts": 300}
MAX_UNZIPPED = 262144000

PYTHON = """
import os, sys
import shared
def handler(event, context):
    with open("/opt/data.txt") as file:
        data = file.read()
    return {"shared": shared.VALUE, "data": data, "where": shared.__file__}
"""
NODE = """
const shared = require("shared");
exports.handler = async () => ({ shared, data: require("fs").readFileSync("/opt/data.txt", "utf8") });
"""


@pytest.fixture
def publish(lam):
    made = []

    def publish(name, files, client=lam, **options):
        content = files if isinstance(files, bytes) else package(files)
        layer = client.publish_layer_version(LayerName=name, Content={"ZipFile": content}, **options)
        made.append((client, name, layer["Version"]))
        return layer

    yield publish
    for client, name, version in made:
        client.delete_layer_version(LayerName=name, VersionNumber=version)


def updated(lam, function, **options):
    answer = lam.update_function_configuration(FunctionName=function.name, **options)
    lam.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig=LATER)
    return answer


def test_versions_are_numbered_listed_and_downloaded(publish, lam, node):
    content = package({"data.txt": "one"})
    first = publish(
        "numbered",
        content,
        Description="what it holds",
        LicenseInfo="MIT",
        CompatibleRuntimes=["python3.11", "nodejs20.x"],
        CompatibleArchitectures=["x86_64"],
    )
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert first["LayerArn"] == "arn:aws:lambda:us-east-1:000000000000:layer:numbered"
    assert first["LayerVersionArn"] == first["LayerArn"] + ":1" and first["Version"] == 1
    assert first["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert first["Content"]["CodeSize"] == len(content)
    assert (first["Description"], first["LicenseInfo"]) == ("what it holds", "MIT")
    second = publish("numbered", {"data.txt": "two"}, CompatibleRuntimes=["python3.12"])
    assert second["Version"] == 2

    got = lam.get_layer_version(LayerName="numbered", VersionNumber=1)
    assert requests.get(got["Content"]["Location"], timeout=30).content == content
    assert got["CompatibleRuntimes"] == ["python3.11", "nodejs20.x"] and got["CreatedDate"] == first["CreatedDate"]
    by_arn = lam.get_layer_version_by_arn(Arn=first["LayerVersionArn"])
    by_name = lam.get_layer_version(LayerName=first["LayerArn"], VersionNumber=1)
    for answer in (got, by_arn, by_name):
        del answer["ResponseMetadata"], answer["Content"]["Location"]
    assert got == by_arn == by_name

    def versions(**options):
        pages = lam.get_paginator("list_layer_versions").paginate(LayerName="numbered", **options)
        return [version["Version"] for version in pages.build_full_result()["LayerVersions"]]

    assert versions() == [2, 1]
    assert versions(PaginationConfig={"PageSize": 1}) == [2, 1]
    assert versions(CompatibleRuntime="python3.11") == [1]
    assert versions(CompatibleArchitecture="x86_64") == [1]
    assert versions(CompatibleArchitecture="arm64") == []

    publish("another", {"x": ""}, CompatibleRuntimes=["ruby3.4"])
    cli = json.loads(node.aws("lambda", "list-layers", "--max-items", "50").stdout)["Layers"]
    names = [layer["LayerName"] for layer in cli]
    assert names == sorted(names) and {"numbered", "another"} <= set(names)
    latest = {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in cli}
    assert latest["numbered"] == 2
    found = lam.list_layers(CompatibleRuntime="nodejs20.x")["Layers"]
    assert [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in found] == [("numbered", 1)]

    # Numbers are not given again.
    lam.delete_layer_version(LayerName="numbered", VersionNumber=2)
    lam.delete_layer_version(LayerName="numbered", VersionNumber=2)
    assert versions() == [1]
    assert publish("numbered", {"data.txt": "three"})["Version"] == 3
    for version in (1, 3):
        lam.delete_layer_version(LayerName="numbered", VersionNumber=version)
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_layer_version(LayerName="numbered", VersionNumber=3)
    assert publish("numbered", {"data.txt": "four"})["Version"] == 4


def test_many_publish_at_once_and_every_number_is_given_once(lam):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        make = lambda n: lam.publish_layer_version(LayerName="racing", Content={"ZipFile": package({"n": str(n)})})
        numbers = [layer["Version"] for layer in pool.map(make, range(16))]
    assert sorted(numbers) == list(range(1, 17))
    for number in numbers:
        lam.delete_layer_version(LayerName="racing", VersionNumber=number)


def test_what_is_wrong_is_told(publish, lam, deploy):
    error = lam.exceptions
    good = {"ZipFile": package({"x": "1"})}
    for bad in ("", "a b", "a.b", "ä", "x" * 141, "arn:aws:lambda:us-east-1:000000000000:layer:x:1"):
        with pytest.raises(lam.exceptions.ClientError) as refused:
            lam.publish_layer_version(LayerName=bad, Content=good)
        assert refused.value.response["Error"]["Code"] in ("ValidationException", "UnknownOperationException"), bad
    for content, text in (
        ({"S3Bucket": "b", "S3Key": "k"}, "S3Bucket is not supported"),
        ({}, "provide a source"),
        ({"ZipFile": b"no zip"}, "Could not unzip uploaded file"),
        ({"ZipFile": package({"../up": "x"})}, "'..'"),
        ({"ZipFile": package({"etc": (0o120777, "/etc/passwd")})}, "not a relative path"),
        ({"ZipFile": package({"x": "1"}), "S3Bucket": "b"}, "Please do not provide other"),
    ):
        with pytest.raises(error.InvalidParameterValueException, match=text):
            lam.publish_layer_version(LayerName="bad", Content=content)
    for options, text in (
        ({"CompatibleRuntimes": ["cobol"]}, "compatibleRuntimes"),
        ({"CompatibleArchitectures": ["z80"]}, "compatibleArchitectures"),
        ({"CompatibleRuntimes": ["python3.11"] * 16}, "less than or equal to 15"),
        ({"Description": "x" * 257}, "description"),
        ({"LicenseInfo": "x" * 513}, "licenseInfo"),
    ):
        with pytest.raises(error.ClientError, match=text):
            lam.publish_layer_version(LayerName="bad", Content=good, **options)
    assert "bad" not in [layer["LayerName"] for layer in lam.list_layers()["Layers"]]
    with pytest.raises(error.InvalidParameterValueException, match="Cannot be less than 1"):
        lam.get_layer_version(LayerName="none", VersionNumber=0)
    with pytest.raises(error.ResourceNotFoundException):
        lam.get_layer_version(LayerName="none", VersionNumber=1)
    with pytest.raises(error.ClientError, match="at 'arn' failed"):
        lam.get_layer_version_by_arn(Arn="none")
    with pytest.raises(error.ClientError, match="AccessDenied"):
        lam.publish_layer_version(LayerName="arn:aws:lambda:us-east-1:111111111111:layer:x", Content=good)
    with pytest.raises(error.ClientError, match="maxItems"):
        lam.list_layers(MaxItems=51)

    one = publish("one", {"x": "1"})["LayerVersionArn"]
    two = publish("one", {"x": "2"})["LayerVersionArn"]
    here = "arn:aws:lambda:us-east-1:000000000000:layer"
    function = deploy("def handler(e, c): return 1")
    for layers, text in (
        ([one, two], "Two different versions of the same layer"),
        ([one, one], "Two different versions of the same layer"),
        ([f"{here}:l{n}:1" for n in range(6)], "Cannot reference more than 5 layers"),
        ([f"{here}:one:9"], "Layer version .*one:9 does not exist"),
        ([f"{here}:one"], "at 'layers' failed"),
        (["one:1"], "at 'layers' failed"),
        (["arn:aws:lambda:eu-west-1:000000000000:layer:one:1"], "Layers are not in the same region"),
        (["arn:aws:lambda:us-east-1:111111111111:layer:one:1"], "no resource-based policy allows"),
        ([one, ""], "at 'layers' failed"),
    ):
        with pytest.raises(error.ClientError, match=text):
            lam.update_function_configuration(FunctionName=function.name, Layers=layers)
    assert "Layers" not in lam.get_function_configuration(FunctionName=function.name)


def test_permissions_are_statements_of_a_policy(publish, lam):
    layer = publish("permitted", {"x": "1"})
    where = {"LayerName": "permitted", "VersionNumber": 1}
    share = {**where, "Action": "lambda:GetLayerVersion"}
    error = lam.exceptions
    with pytest.raises(error.ResourceNotFoundException, match="No policy is associated"):
        lam.get_layer_version_policy(**where)
    made = lam.add_layer_version_permission(**share, StatementId="all", Principal="*")
    statement = {
        "Sid": "all",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:GetLayerVersion",
        "Resource": layer["LayerVersionArn"],
    }
    assert json.loads(made["Statement"]) == statement
    with pytest.raises(error.ResourceConflictException, match="provided already exists"):
        lam.add_layer_version_permission(**share, StatementId="all", Principal="111111111111")
    with pytest.raises(error.PreconditionFailedException):
        lam.add_layer_version_permission(**share, StatementId="b", Principal="111111111111", RevisionId="stale")
    again = lam.add_layer_version_permission(
        **share, StatementId="b", Principal="111111111111", RevisionId=made["RevisionId"]
    )
    assert again["RevisionId"] != made["RevisionId"]
    policy = lam.get_layer_version_policy(**where)
    assert policy["RevisionId"] == again["RevisionId"]
    read = json.loads(policy["Policy"])
    assert (read["Version"], read["Id"]) == ("2012-10-17", "default")
    other = {**statement, "Sid": "b", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}}
    assert read["Statement"] == [statement, other]
    with pytest.raises(error.InvalidParameterValueException, match="OrganizationId is not supported"):
        lam.add_layer_version_permission(**share, StatementId="o", Principal="*", OrganizationId="o-0123456789")
    for wrong in ({"Action": "lambda:*"}, {"Principal": "root"}, {"StatementId": "a b"}):
        with pytest.raises(error.ClientError, match="failed to satisfy constraint"):
            lam.add_layer_version_permission(**{**share, "StatementId": "w", "Principal": "*", **wrong})
    with pytest.raises(error.PreconditionFailedException):
        lam.remove_layer_version_permission(**where, StatementId="b", RevisionId=made["RevisionId"])
    lam.remove_layer_version_permission(**where, StatementId="b")
    with pytest.raises(error.ResourceNotFoundException, match="Statement b is not found"):
        lam.remove_layer_version_permission(**where, StatementId="b")
    lam.remove_layer_version_permission(**where, StatementId="all")
    with pytest.raises(error.ResourceNotFoundException):
        lam.get_layer_version_policy(**where)
    with pytest.raises(error.ResourceNotFoundException):
        lam.add_layer_version_permission(**{**share, "VersionNumber": 7}, StatementId="x", Principal="*")
    # A deleted version takes its policy with it.
    lam.add_layer_version_permission(**share, StatementId="all", Principal="*")
    lam.delete_layer_version(**where)
    with pytest.raises(error.ResourceNotFoundException):
        lam.get_layer_version_policy(**where)


@root
def test_a_layer_serves_python_and_node(publish, deploy, lam):
    layer = publish(
        "both",
        {
            "data.txt": "from the layer",
            "python/shared.py": "VALUE = 'python'",
            "nodejs/node_modules/shared/index.js": "module.exports = 'node';",
            "bin/tool": (0o100755, "#!/bin/sh\necho tool of the layer\n"),
        },
        CompatibleRuntimes=["python3.11", "nodejs20.x"],
    )
    layers = [layer["LayerVersionArn"]]
    python = deploy(PYTHON, Layers=layers)
    assert python.configuration["Layers"] == [{"Arn": layers[0], "CodeSize": layer["Content"]["CodeSize"]}]
    assert python() == {"shared": "python", "data": "from the layer", "where": "/opt/python/shared.py"}
    node = deploy({"index.js": NODE}, runtime="nodejs20.x", handler="index.handler", Layers=layers)
    assert node() == {"shared": "node", "data": "from the layer"}
    tool = deploy("import subprocess\ndef handler(e, c): return subprocess.check_output(['tool'], text=True)", Layers=layers)
    assert tool() == "tool of the layer\n"
    versioned = publish("versioned", {"python/lib/python3.11/site-packages/shared.py": "VALUE = 'versioned'"})
    updated(lam, python, Layers=[*layers, versioned["LayerVersionArn"]])
    assert python()["shared"] == "versioned", "the folder of one version comes first"


@root
def test_later_layers_win_and_nobody_writes(publish, deploy, lam):
    one = publish("base", {"data.txt": "base", "python/shared.py": "VALUE = 'base'", "only/base": "1", "kind/x": "1"})
    two = publish("over", {"data.txt": "over", "python/shared.py": "VALUE = 'over'", "only/over": "2", "kind": "file"})
    arns = [one["LayerVersionArn"], two["LayerVersionArn"]]
    source = PYTHON + """
def probe(event, context):
    answer = {**handler(event, context), "only": sorted(os.listdir("/opt/only")), "kind": os.path.isfile("/opt/kind")}
    for path in ("/opt/data.txt", "/opt/new", "/opt/python/shared.py"):
        try:
            open(path, "a")
            answer["wrote"] = path
        except OSError as error:
            answer[path] = error.errno
    stat = os.stat("/opt/data.txt")
    answer["mode"] = oct(stat.st_mode)
    answer["owner"] = stat.st_uid == os.stat("/var/task/app.py").st_uid
    return answer
"""
    function = deploy(source, handler="app.probe", Layers=arns)
    answer = function()
    assert (answer["shared"], answer["data"], answer["only"], answer["kind"]) == ("over", "over", ["base", "over"], True)
    assert "wrote" not in answer and {answer["/opt/data.txt"], answer["/opt/new"]} <= {errno.EACCES, errno.EROFS}
    assert answer["mode"] == "0o100644" and answer["owner"]
    published = lam.publish_version(FunctionName=function.name)
    assert [layer["Arn"] for layer in published["Layers"]] == arns
    changed = updated(lam, function, Layers=arns[::-1])
    assert [layer["Arn"] for layer in changed["Layers"]] == arns[::-1]
    answer = function()
    assert (answer["shared"], answer["data"], answer["kind"]) == ("base", "base", False)
    assert function.invoke(Qualifier="1")["Body"]["shared"] == "over", "a version keeps its layers"
    # What does not name layers leaves them.
    assert "Layers" in updated(lam, function, Timeout=7)
    assert "Layers" not in updated(lam, function, Layers=[])
    assert "shared" in function.invoke()["Body"]["errorMessage"], "without layers the module is gone"


@root
def test_a_deleted_layer_serves_those_that_have_it(publish, deploy, lam):
    layer = publish("going", {"data.txt": "still here", "python/shared.py": "VALUE = 1"})
    function = deploy(PYTHON, Layers=[layer["LayerVersionArn"]])
    lam.delete_layer_version(LayerName="going", VersionNumber=1)
    assert function()["data"] == "still here"
    updated(lam, function, MemorySize=256)  # other environments
    assert function()["data"] == "still here"
    shown = lam.get_function_configuration(FunctionName=function.name)["Layers"]
    assert shown[0]["Arn"] == layer["LayerVersionArn"]
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match="does not exist"):
        lam.update_function_configuration(FunctionName=function.name, Layers=[layer["LayerVersionArn"]])


@root
def test_layers_survive_a_kill(tmp_path):
    with running(data=tmp_path) as node:
        lam = node.client("lambda")
        arns = [
            lam.publish_layer_version(LayerName=name, Content={"ZipFile": package(files)})["LayerVersionArn"]
            for name, files in (("a", {"data.txt": "a", "python/shared.py": "VALUE = 'a'"}), ("b", {"data.txt": "b"}))
        ]
        made = lam.create_function(
            FunctionName="f",
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": package({"app.py": PYTHON})},
            Layers=arns,
        )
        lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig=LATER)
        function = Function(lam, "f", made)
        want = {"shared": "a", "data": "b", "where": "/opt/python/shared.py"}
        assert function() == want
        node.kill()
        node.start()
        function.client = node.client("lambda")
        assert function() == want
        node.kill()
        # What is unpacked is made anew from what is stored.
        shutil.rmtree(tmp_path / "code")
        node.start()
        function.client = node.client("lambda")
        assert function() == want
        assert [v["Version"] for v in function.client.list_layer_versions(LayerName="a")["LayerVersions"]] == [1]
        function.client.delete_function(FunctionName="f")


def test_function_and_layers_share_the_limit_of_size(publish, deploy, lam):
    def filled(megabytes, name):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, b"\0" * (megabytes << 20))
        return buffer.getvalue()

    with pytest.raises(lam.exceptions.InvalidParameterValueException, match="Unzipped size must be smaller"):
        lam.publish_layer_version(LayerName="huge", Content={"ZipFile": filled(251, "x")})
    large = publish("large", filled(150, "x"))["LayerVersionArn"]
    larger = publish("larger", filled(99, "y"))["LayerVersionArn"]
    function = deploy("def handler(e, c): return 1", Layers=[large, larger])
    code = filled(2, "z")
    text = f"Function code combined with layers exceeds the maximum allowed size of {MAX_UNZIPPED} bytes"
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match=text):
        lam.update_function_code(FunctionName=function.name, ZipFile=code)
    more = publish("more", filled(2, "z"))["LayerVersionArn"]
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match=text):
        lam.update_function_configuration(FunctionName=function.name, Layers=[large, larger, more])
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match=text):
        lam.create_function(
            FunctionName="too-large",
            Runtime="python3.11",
            Handler="a.b",
            Role=ROLE,
            Code={"ZipFile": code},
            Layers=[large, larger],
        )
    before = lam.get_account_settings()["AccountUsage"]["TotalCodeSize"]
    publish("counted", code)
    assert lam.get_account_settings()["AccountUsage"]["TotalCodeSize"] == before + len(code)


@root
def test_a_bootstrap_may_come_from_a_layer(publish, deploy):
    bootstrap = """\
    #!/bin/sh
    while :; do
      curl -sD /tmp/head -o /tmp/event "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
      id=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *//p' /tmp/head | tr -d '\\r')
      curl -s -o /dev/null -d '"from the layer"' "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
    done
    """
    layer = publish("bootstrap", {"bootstrap": (0o100755, bootstrap)})
    function = deploy({"x": "1"}, runtime="provided.al2023", handler="x", Layers=[layer["LayerVersionArn"]])
    assert function.invoke()["Body"] == "from the layer"
