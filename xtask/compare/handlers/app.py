# For Neap, by an HTTP event.
import json


def handler(event, context):
    return {"message": "hello " + json.loads(event["body"])["name"]}
