"""Ships orders that come through a queue, and says of each batch which orders could not be shipped.

Only those come again; an order that fails too often goes to the dead-letter queue, from which it is sent back once what was
wrong is mended.
"""

import json

PRICES = {"bolt": 20, "nut": 15}


def ship(order):
    """The total of an order in cents."""
    total = sum(PRICES[item["name"]] * item["count"] for item in order["items"])
    print(f"shipped {order['id']} for {total}")
    return total


def handler(event, context):
    failed = []
    for record in event["Records"]:
        try:
            ship(json.loads(record["body"]))
        except (ValueError, KeyError, TypeError) as error:
            print(f"failed {record['messageId']}: {type(error).__name__} {error}")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
