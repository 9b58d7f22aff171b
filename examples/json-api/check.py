"""Requests that succeed and requests that do not."""

import copy
import json
import pathlib

ORDER = json.loads(pathlib.Path(__file__).with_name("event.json").read_text())


def request(method, path, body=None):
    event = copy.deepcopy(ORDER)
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    event["requestContext"]["http"]["method"] = method
    if body is None:
        del event["body"]
    else:
        event["body"] = json.dumps(body)
    return event


EXPECTED = [
    (ORDER, 201, {"items": 2, "cents": 11200}),
    (request("GET", "/prices/gears"), 200, {"sku": "gears", "cents": 8700}),
    (request("GET", "/prices/none"), 404, {"error": "unknown sku: none"}),
    (request("POST", "/orders", {"items": []}), 400, {"error": "items must be a list that is not empty"}),
    (request("POST", "/orders", {"items": [{"sku": "cards", "quantity": 0}]}), 400, {"error": "quantity of cards must be a whole number from 1"}),
    (request("DELETE", "/orders"), 404, {"error": "no route: DELETE /orders"}),
]


def cases():
    return [event for event, _, _ in EXPECTED]


def check(event, answer):
    status, body = next((status, body) for known, status, body in EXPECTED if known == event)
    assert (answer["statusCode"], json.loads(answer["body"])) == (status, body), answer
    assert answer["headers"]["content-type"].startswith("application/json")
