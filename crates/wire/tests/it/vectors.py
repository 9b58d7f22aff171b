"""Writes vectors.json: requests signed by botocore, the reference that every AWS client in Python uses.

Run with a Python that has botocore: `python3 vectors.py > vectors.json`.
"""

import datetime
import json
from unittest import mock

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 11, 21, 10, 0, 0)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ROOT = Credentials("AKIDEXAMPLE", SECRET)
SESSION = Credentials("ASIASESSION", SECRET, "to/ken+==")
HOST = "http://localhost:4566"

vectors = []


def sign(name, signer, method, path, headers=None, body="", note=None):
    request = AWSRequest(method=method, url=HOST + path, headers=dict(headers or {}), data=body.encode())
    with mock.patch("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: NOW, create=True), mock.patch(
        "botocore.auth.datetime", wraps=datetime, create=True
    ) as clock:
        clock.datetime = mock.Mock(wraps=datetime.datetime)
        clock.datetime.utcnow = lambda: NOW
        clock.datetime.now = lambda tz=None: NOW.replace(tzinfo=tz)
        signer.add_auth(request)
    prepared = request.prepare()
    sent = {k.lower(): (v.decode() if isinstance(v, bytes) else v) for k, v in prepared.headers.items()}
    sent["host"] = "localhost:4566"
    sent.pop("content-length", None)
    vectors.append({"name": name, "method": method, "uri": prepared.url[len(HOST):], "headers": sent, "body": body})


def headers_signer(credentials=ROOT, service="things"):
    return auth.SigV4Auth(credentials, service, "eu-west-1")


def main():
    json_headers = {"Content-Type": "application/json"}
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:hello"
    sign("get", headers_signer(), "GET", "/v/a")
    sign("root", headers_signer(), "GET", "/")
    sign("post json", headers_signer(), "POST", "/v/a", json_headers, '{"a": "ä"}')
    sign("arn plain", headers_signer(), "POST", f"/v/{arn}", json_headers, "{}")
    sign("arn escaped", headers_signer(), "POST", "/v/" + arn.replace(":", "%3A"), json_headers, "{}")
    sign("dollar", headers_signer(), "GET", "/v/x:$LATEST")
    sign("space and letters beyond ascii", headers_signer(), "GET", "/v/a%20b/%C3%A4~x")
    sign("doubled slash", headers_signer(), "GET", "/v//a///b")
    sign("trailing slash", headers_signer(), "GET", "/v/a/")
    sign("query unsorted", headers_signer(), "GET", "/v/a?Zeta=1&alpha=2&Alpha=3")
    sign("query repeated", headers_signer(), "GET", "/v/a?k=b&k=a&k=")
    sign("query escaped", headers_signer(), "GET", "/v/a?tagKeys=a%2Fb%20c&q=%C3%A4%26%3D")
    sign("query without value", headers_signer(), "GET", "/v/a?flag=")
    sign("session token", headers_signer(SESSION), "GET", "/v/a")
    sign("spaces in header", headers_signer(), "GET", "/v/a", {"X-Amz-Meta": "  a   b  "})
    sign("many headers", headers_signer(), "POST", "/v/a", {"X-Amz-B": "2", "X-Amz-A": "1", "X-Custom": "c"}, "x")
    sign("presigned", auth.SigV4QueryAuth(ROOT, "things", "eu-west-1", expires=60), "GET", "/v/a?b=1")
    sign("presigned session", auth.SigV4QueryAuth(SESSION, "things", "eu-west-1", expires=60), "GET", "/v/a%20b")
    sign("s3 get", auth.S3SigV4Auth(ROOT, "s3", "eu-west-1"), "GET", "/bucket/a//b/../c%20d%2Be")
    sign("s3 put", auth.S3SigV4Auth(ROOT, "s3", "eu-west-1"), "PUT", "/bucket/key", {}, "hello")
    sign("s3 presigned", auth.S3SigV4QueryAuth(ROOT, "s3", "eu-west-1", expires=60), "GET", "/bucket/%C3%A4?versionId=1")
    print(json.dumps(vectors, indent=1))


main()
