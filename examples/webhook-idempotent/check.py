"""Signed deliveries are taken, the same one twice as one message; others are refused."""

import hashlib
import hmac
import uuid

SECRET = b"example secret"
DELIVERY = uuid.uuid4().hex
seen = []


def signed(body, **headers):
    signature = "sha256=" + hmac.new(SECRET, body.encode(), hashlib.sha256).hexdigest()
    return {"headers": {"x-signature": signature, **headers}, "body": body, "isBase64Encoded": False}


def cases():
    first = signed('{"paid": 1}', **{"x-delivery": DELIVERY})
    altered = {**first, "body": '{"paid": 2}'}
    return [first, first, altered, signed("{}")]


def check(event, answer):
    if event["body"] == '{"paid": 2}':
        assert answer["statusCode"] == 401, answer
    elif "x-delivery" not in event["headers"]:
        assert answer["statusCode"] == 400, answer
    else:
        assert answer["statusCode"] == 202, answer
        seen.append(answer["body"])
        assert len(set(seen)) == 1, "a repeated delivery is one message"
