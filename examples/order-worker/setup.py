"""Makes the queues of the example and connects them with the function, which must be deployed.

    neap deploy examples/order-worker && python examples/order-worker/setup.py

Endpoint and credentials come from the usual AWS variables. May be run again.
"""

import json

import boto3

FUNCTION = "order-worker"
sqs, functions = boto3.client("sqs"), boto3.client("lambda")


def arn(url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def main():
    dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
    redrive = {"deadLetterTargetArn": arn(dead), "maxReceiveCount": 2}
    # Six times the function's timeout, as SQS recommends.
    orders = sqs.create_queue(
        QueueName="orders", Attributes={"VisibilityTimeout": "60", "RedrivePolicy": json.dumps(redrive)}
    )["QueueUrl"]
    there = functions.list_event_source_mappings(FunctionName=FUNCTION, EventSourceArn=arn(orders))["EventSourceMappings"]
    if not there:
        functions.create_event_source_mapping(
            FunctionName=FUNCTION, EventSourceArn=arn(orders), BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )
    print(json.dumps({"orders": orders, "dead": dead}))


if __name__ == "__main__":
    main()
