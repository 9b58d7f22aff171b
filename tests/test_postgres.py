"""A node whose databases are schemas of a PostgreSQL server and whose packages are in an S3-compatible bucket."""

import os
import uuid

import boto3
import pytest
from conftest import ROLE, eventually, messages, package, root, running

pytestmark = root


@pytest.mark.skipif("NEAP_TEST_POSTGRES" not in os.environ, reason="NEAP_TEST_POSTGRES names no server")
@pytest.mark.skipif("NEAP_TEST_S3" not in os.environ, reason="NEAP_TEST_S3 names no server")
def test_functions_live_in_postgresql_and_a_bucket(tmp_path):
    bucket = f"neap-{uuid.uuid4().hex[:8]}"
    s3 = boto3.client("s3", endpoint_url=os.environ["NEAP_TEST_S3"], region_name="us-east-1",
                      aws_access_key_id="test", aws_secret_access_key="test")
    s3.create_bucket(Bucket=bucket)
    config = f"""
[store]
postgres_url = "{os.environ["NEAP_TEST_POSTGRES"]}"
[blobs.s3]
endpoint = "{os.environ["NEAP_TEST_S3"]}"
bucket = "{bucket}"
access_key = "test"
secret_key = "test"
"""
    with running(config=config, data=tmp_path / "one") as node:
        lam = node.client("lambda")
        lam.create_function(FunctionName="there", Runtime="python3.11", Handler="app.handler", Role=ROLE,
                            Code={"ZipFile": package({"app.py": "def handler(e, c):\n    print('said', e)\n    return e"})})
        lam.get_waiter("function_active_v2").wait(FunctionName="there", WaiterConfig={"Delay": 0.1})
        assert lam.invoke(FunctionName="there", Payload=b"1")["Payload"].read() == b"1"
        lam.invoke(FunctionName="there", InvocationType="Event", Payload=b"2")
        eventually(lambda: any("said 2" in m for m in messages(node.client("logs"), "/aws/lambda/there")))
        assert not list((tmp_path / "one").glob("db/*.sqlite"))
    # Another folder, as on another machine: everything that matters is in the database and the bucket.
    with running(config=config, data=tmp_path / "two") as node:
        assert node.client("lambda").invoke(FunctionName="there", Payload=b"3")["Payload"].read() == b"3"
        assert any("said 1" in m for m in messages(node.client("logs"), "/aws/lambda/there"))
