"""Application Auto Scaling of provisioned concurrency: schedules, target tracking, restarts, refusals."""

import datetime
import json
import uuid

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, eventually, package, running

SLOW = """
import time
def handler(event, context):
    time.sleep(event or 0)
    return 1
"""
LAMBDA = {"ServiceNamespace": "lambda"}
DIMENSION = "lambda:function:ProvisionedConcurrency"


class Scaled:
    """A function with a version and an alias, and its scalable target."""

    def __init__(self, node, name=None, qualifier="live"):
        self.name, self.qualifier = name or f"s-{uuid.uuid4().hex[:8]}", qualifier
        self.connect(node)
        self.lam.create_function(
            FunctionName=self.name, Runtime="python3.11", Handler="app.handler", Role=ROLE, Publish=True,
            Code={"ZipFile": package({"app.py": SLOW})},
        )
        self.lam.get_waiter("published_version_active").wait(
            FunctionName=self.name, Qualifier="1", WaiterConfig={"Delay": 0.1}
        )
        self.lam.create_alias(FunctionName=self.name, Name="live", FunctionVersion="1")

    def connect(self, node):
        self.node, self.lam, self.api = node, node.client("lambda"), node.client("application-autoscaling")

    @property
    def key(self):
        return {**LAMBDA, "ResourceId": f"function:{self.name}:{self.qualifier}", "ScalableDimension": DIMENSION}

    def register(self, low, high, **more):
        return self.api.register_scalable_target(**self.key, MinCapacity=low, MaxCapacity=high, **more)

    def capacity(self):
        try:
            found = self.lam.get_provisioned_concurrency_config(FunctionName=self.name, Qualifier=self.qualifier)
            return found["RequestedProvisionedConcurrentExecutions"]
        except self.lam.exceptions.ProvisionedConcurrencyConfigNotFoundException:
            return 0

    def becomes(self, count):
        return eventually(lambda: self.capacity() == count)

    def bounds(self):
        [target] = self.api.describe_scalable_targets(**LAMBDA, ResourceIds=[self.key["ResourceId"]])["ScalableTargets"]
        return target["MinCapacity"], target["MaxCapacity"]

    def activities(self):
        found = self.api.describe_scaling_activities(**LAMBDA, ResourceId=self.key["ResourceId"])["ScalingActivities"]
        return [(one["Description"], one["Cause"], one["StatusCode"]) for one in found]

    def schedule(self, name, schedule, low=None, high=None, **more):
        bounds = {**({} if low is None else {"MinCapacity": low}), **({} if high is None else {"MaxCapacity": high})}
        action = {"ScalableTargetAction": bounds} if bounds else {}
        return self.api.put_scheduled_action(**self.key, ScheduledActionName=name, Schedule=schedule, **action, **more)

    def now(self):
        import requests

        ms = requests.get(self.node.endpoint + "/_neap/clock", timeout=30).json()["now_ms"]
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)


@pytest.fixture
def scaled(dev):
    one = Scaled(dev)
    yield one
    one.lam.delete_function(FunctionName=one.name)


def refused(code, call, *words):
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] == code, error.value
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    for word in words:
        assert word in error.value.response["Error"]["Message"], error.value


def at(time):
    return time.strftime("at(%Y-%m-%dT%H:%M:%S)")


def test_a_target_is_registered_listed_changed_tagged_and_deregistered(scaled):
    arn = scaled.register(2, 5, Tags={"team": "a"})["ScalableTargetARN"]
    assert arn.startswith("arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/")
    # What is below its minimum is brought there.
    scaled.becomes(2)
    [target] = scaled.api.describe_scalable_targets(**LAMBDA, ResourceIds=[scaled.key["ResourceId"]])["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"], target["ScalableTargetARN"]) == (2, 5, arn)
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency")
    assert not any(target["SuspendedState"].values()) and len(target["SuspendedState"]) == 3
    eventually(lambda: scaled.activities() == [
        ("Setting provisioned concurrency to 2.", "minimum capacity was set to 2", "Successful")
    ])
    # The rest stays as it is when one bound is set.
    again = scaled.api.register_scalable_target(**scaled.key, MaxCapacity=1, MinCapacity=0, RoleARN=target["RoleARN"])
    assert again["ScalableTargetARN"] == arn
    scaled.becomes(1)
    scaled.api.register_scalable_target(**scaled.key, MaxCapacity=7)
    assert scaled.bounds() == (0, 7) and scaled.capacity() == 1
    scaled.api.tag_resource(ResourceARN=arn, Tags={"stage": "b"})
    scaled.api.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert scaled.api.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"stage": "b"}
    scaled.schedule("later", "rate(1 day)", 3)
    scaled.api.deregister_scalable_target(**scaled.key)
    assert scaled.api.describe_scalable_targets(**LAMBDA, ResourceIds=[scaled.key["ResourceId"]])["ScalableTargets"] == []
    assert scaled.api.describe_scheduled_actions(**LAMBDA, ResourceId=scaled.key["ResourceId"])["ScheduledActions"] == []
    refused("ObjectNotFoundException", lambda: scaled.api.deregister_scalable_target(**scaled.key))
    refused("ResourceNotFoundException", lambda: scaled.api.list_tags_for_resource(ResourceARN=arn))
    assert scaled.capacity() == 1


def test_schedules_raise_and_lower_floors_when_their_time_comes(scaled):
    scaled.register(0, 5)
    now = scaled.now()
    morning = now + datetime.timedelta(hours=1)
    evening = now + datetime.timedelta(hours=2)
    scaled.schedule("morning", at(morning), 3)
    # The same moment by a calendar in another zone: India is 5:30 ahead and sets no clocks.
    there = evening + datetime.timedelta(hours=5, minutes=30)
    cron = f"cron({there.minute} {there.hour} {there.day} {there.month} ? {there.year})"
    scaled.schedule("evening", cron, 0, 1, Timezone="Asia/Kolkata")
    listed = scaled.api.describe_scheduled_actions(**LAMBDA, ResourceId=scaled.key["ResourceId"])["ScheduledActions"]
    assert [one["ScheduledActionName"] for one in listed] == ["evening", "morning"]
    assert (listed[0]["Schedule"], listed[0]["Timezone"]) == (cron, "Asia/Kolkata")
    assert listed[0]["ScalableTargetAction"] == {"MinCapacity": 0, "MaxCapacity": 1} and "Timezone" not in listed[1]
    assert listed[0]["ScheduledActionARN"].endswith(f":resource/lambda/{scaled.key['ResourceId']}:scheduledActionName/evening")
    planned = [one for one in json.loads(scaled.node.neap("ps", "--json").stdout)["planned"] if one["function"] == scaled.name]
    assert [(one["version"], one["count"]) for one in planned] == [("live", 3), ("live", 0)]
    assert 3500 < planned[0]["starts_in_s"] <= 3600
    assert planned[0]["why"] == "scheduled action morning: at least 3 are kept ready from then on"
    shown = scaled.node.neap("ps")
    assert "scheduled action morning" in shown.stdout + shown.stderr
    scaled.node.advance(3500)
    assert scaled.bounds() == (0, 5) and scaled.capacity() == 0
    scaled.node.advance(101)
    scaled.becomes(3)
    assert scaled.bounds() == (3, 5)
    scaled.node.advance(3600)
    scaled.becomes(1)
    assert scaled.bounds() == (0, 1)
    eventually(lambda: len(scaled.activities()) == 4)
    assert scaled.activities() == [
        ("Setting provisioned concurrency to 1.", "maximum capacity was set to 1", "Successful"),
        ("Setting min capacity to 0 and max capacity to 1", "scheduled action name evening was triggered", "Successful"),
        ("Setting provisioned concurrency to 3.", "minimum capacity was set to 3", "Successful"),
        ("Setting min capacity to 3 and max capacity to 5", "scheduled action name morning was triggered", "Successful"),
    ]
    # Once is once.
    scaled.node.advance(86_400 * 3)
    assert scaled.bounds() == (0, 1) and len(scaled.activities()) == 4


def test_a_rate_comes_again_within_its_bounds_and_what_is_suspended_does_not(scaled):
    scaled.register(0, 9)
    start = scaled.now() + datetime.timedelta(minutes=30)
    scaled.schedule("hourly", "rate(1 hour)", 2, StartTime=start, EndTime=start + datetime.timedelta(hours=5))
    scaled.node.advance(29 * 60)
    assert scaled.capacity() == 0
    scaled.node.advance(61)
    scaled.becomes(2)
    scaled.register(1, 9)
    scaled.lam.put_provisioned_concurrency_config(
        FunctionName=scaled.name, Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    scaled.node.advance(3600)
    scaled.becomes(2)
    # Several were due meanwhile: the last of them counts, once.
    before = len(eventually(lambda: len(scaled.activities()) == 4 and scaled.activities()))
    scaled.register(0, 9, SuspendedState={"ScheduledScalingSuspended": True})
    scaled.node.advance(3600)
    eventually(lambda: scaled.bounds() == (0, 9))
    scaled.schedule("hourly", "rate(2 hours)")
    [action] = scaled.api.describe_scheduled_actions(**LAMBDA, ScheduledActionNames=["hourly"])["ScheduledActions"]
    assert action["ScalableTargetAction"] == {"MinCapacity": 2} and "StartTime" not in action
    scaled.register(0, 9, SuspendedState={"ScheduledScalingSuspended": False})
    scaled.node.advance(7_201)
    eventually(lambda: scaled.bounds() == (2, 9))
    eventually(lambda: len(scaled.activities()) > before)
    scaled.api.delete_scheduled_action(**scaled.key, ScheduledActionName="hourly")
    scaled.register(0, 9)
    scaled.node.advance(7_201)
    assert scaled.bounds() == (0, 9)
    refused(
        "ObjectNotFoundException",
        lambda: scaled.api.delete_scheduled_action(**scaled.key, ScheduledActionName="hourly"),
        "hourly",
    )


def tracking(target, **more):
    metric = {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}
    return {"TargetValue": target, "PredefinedMetricSpecification": metric, **more}


def put_policy(scaled, name="use", kind="TargetTrackingScaling", **configuration):
    configuration = configuration or {"TargetTrackingScalingPolicyConfiguration": tracking(0.7)}
    return scaled.api.put_scaling_policy(**scaled.key, PolicyName=name, PolicyType=kind, **configuration)


def ready(scaled):
    found = scaled.lam.get_provisioned_concurrency_config(FunctionName=scaled.name, Qualifier=scaled.qualifier)
    return found["Status"] == "READY"


def test_what_is_in_use_scales_out_and_what_is_idle_scales_in(scaled):
    scaled.register(1, 2)
    scaled.becomes(1)
    policy = put_policy(scaled, TargetTrackingScalingPolicyConfiguration=tracking(0.7, ScaleInCooldown=60))
    assert policy["Alarms"] == [] and policy["PolicyARN"].endswith(":policyName/use")
    [shown] = scaled.api.describe_scaling_policies(**LAMBDA, PolicyNames=["use"])["ScalingPolicies"]
    assert shown["PolicyARN"] == policy["PolicyARN"] and shown["PolicyType"] == "TargetTrackingScaling"
    assert shown["TargetTrackingScalingPolicyConfiguration"] == tracking(0.7, ScaleInCooldown=60)
    eventually(lambda: ready(scaled))
    # A call that has the one environment for itself uses all of it. The present minute does not count yet.
    minutes = 0
    while len(scaled.activities()) == 1:
        scaled.lam.invoke(FunctionName=scaled.name, Qualifier="live", Payload=b"0")
        scaled.node.advance(60)
        minutes += 1
        assert minutes < 20, scaled.activities()
    assert minutes >= 3
    scaled.becomes(2)
    assert scaled.activities()[0] == (
        "Setting provisioned concurrency to 2.", "utilization was above its target for 3 minutes: policy use", "Successful"
    )
    # Nobody calls. A quarter of an hour later it is not needed any more.
    for _ in range(14):
        scaled.node.advance(60)
    assert scaled.capacity() == 2
    scaled.node.advance(240)
    scaled.becomes(1)
    # Noted when it has been done.
    eventually(lambda: scaled.activities()[0][1] == "utilization was below its target for 15 minutes: policy use")
    # Its minimum stays.
    scaled.node.advance(3600)
    assert scaled.capacity() == 1
    scaled.api.delete_scaling_policy(**scaled.key, PolicyName="use")
    refused("ObjectNotFoundException", lambda: scaled.api.delete_scaling_policy(**scaled.key, PolicyName="use"))


def test_it_survives_kills_and_what_was_due_meanwhile_is_done_late():
    with running("dev") as node:
        scaled = Scaled(node, qualifier="1")
        scaled.register(0, 5)
        put_policy(scaled)
        # Both are due while no node runs: this clock is the machine's, since it is not moved.
        soon = scaled.now() + datetime.timedelta(seconds=2)
        scaled.schedule("first", at(soon), 1)
        scaled.schedule("second", at(soon + datetime.timedelta(seconds=1)), 2)
        node.kill()
        eventually(lambda: datetime.datetime.now(datetime.timezone.utc) > soon + datetime.timedelta(seconds=2))
        node.start()
        scaled.connect(node)
        scaled.becomes(2)
        assert scaled.bounds() == (2, 5)
        eventually(lambda: len(scaled.activities()) == 3)
        assert [cause for _, cause, _ in scaled.activities()][1:] == [
            "scheduled action name second was triggered", "scheduled action name first was triggered",
        ]
        assert len(scaled.api.describe_scaling_policies(**LAMBDA)["ScalingPolicies"]) == 1
        scaled.schedule("third", "rate(1 minute)", 4)
        node.stop()
        node.start()
        scaled.connect(node)
        assert scaled.capacity() == 2
        node.advance(61)
        scaled.becomes(4)


def test_bad_input_is_refused_by_name(scaled):
    key = scaled.key
    scaled.register(0, 5)
    register = scaled.api.register_scalable_target
    invalid = "ValidationException"
    refused(invalid, lambda: register(**{**key, "ServiceNamespace": "ecs"}, MinCapacity=1, MaxCapacity=2), "ecs", "Neap")
    refused(invalid, lambda: register(**{**key, "ServiceNamespace": "nonsense"}, MinCapacity=1, MaxCapacity=2), "nonsense")
    refused(invalid, lambda: register(**{**key, "ScalableDimension": "ecs:service:DesiredCount"}, MinCapacity=1, MaxCapacity=2))
    for resource in ("x", "function:a", "function:a:$LATEST", "function:a:b:c", "function::b", "table/x", "function:a:", ""):
        refused(invalid, lambda: register(**{**key, "ResourceId": resource}, MinCapacity=1, MaxCapacity=2), resource)
    refused(invalid, lambda: register(**{**key, "ResourceId": "function:nobody:1"}, MinCapacity=1, MaxCapacity=2), "nobody")
    refused(invalid, lambda: register(**{**key, "ResourceId": f"function:{scaled.name}:2"}, MinCapacity=1, MaxCapacity=2))
    refused(invalid, lambda: register(**{**key, "ResourceId": f"function:{scaled.name}:1"}, MinCapacity=1), "MaxCapacity")
    refused(invalid, lambda: register(**key, MinCapacity=3, MaxCapacity=2), "3", "2")
    refused(invalid, lambda: register(**key, MinCapacity=-1), "minCapacity")
    refused(invalid, lambda: register(**key, MinCapacity=1, RoleARN="arn:aws:iam::000000000000:role/mine"), "RoleARN")
    refused(invalid, lambda: register(ServiceNamespace="lambda"), "resourceId", "scalableDimension")
    refused(invalid, lambda: register(**key, Tags={"a": "b"}), "TagResource")
    refused(invalid, lambda: scaled.api.describe_scalable_targets(**LAMBDA, MaxResults=51), "maxResults")
    refused("InvalidNextTokenException", lambda: scaled.api.describe_scalable_targets(**LAMBDA, NextToken="zz"))
    refused(
        invalid, lambda: scaled.api.describe_scaling_activities(**LAMBDA, IncludeNotScaledActivities=True), "NotScaled"
    )
    soon = scaled.now() + datetime.timedelta(hours=1)
    for schedule, *words in (
        ("nonsense", "at("), ("at(2001-01-01T00:00:00)", "future"), ("rate(1 minutes)", "singular"), ("rate(0 days)", "rate"),
        ("cron(0 0 * * * *)", "?"), ("cron(99 0 * * ? *)", "minutes", "99"), ("cron(0 0 30 2 ? *)", "future"),
        ("cron(0 0 * *)", "six fields"), ("", "at("), ("rate(5 seconds)", "rate"),
    ):
        refused(invalid, lambda: scaled.schedule("bad", schedule, 1), *words)
    schedule = scaled.schedule
    refused(invalid, lambda: schedule("bad", at(soon), 1, Timezone="Mars/Olympus"), "Mars/Olympus")
    refused(invalid, lambda: schedule("bad", "rate(1 day)", 1, Timezone="Europe/Berlin"), "Timezone")
    refused(invalid, lambda: schedule("bad", at(soon), 1, StartTime=soon), "StartTime")
    refused(invalid, lambda: schedule("bad", "rate(1 day)", 1, EndTime=soon - datetime.timedelta(hours=2)), "EndTime")
    refused(invalid, lambda: schedule("bad", at(soon)), "ScalableTargetAction")
    refused(invalid, lambda: schedule("bad", at(soon), 3, 2), "3", "2")
    refused(invalid, lambda: schedule("a/b", at(soon), 1), "ScheduledActionName")
    refused(invalid, lambda: scaled.api.put_scheduled_action(**key, ScheduledActionName="new"), "Schedule")
    gone = {**key, "ResourceId": "function:nobody:1"}
    refused(
        "ObjectNotFoundException",
        lambda: scaled.api.put_scheduled_action(
            **gone, ScheduledActionName="a", Schedule=at(soon), ScalableTargetAction={"MinCapacity": 1}
        ),
    )
    assert scaled.api.describe_scheduled_actions(**LAMBDA, ResourceId=key["ResourceId"])["ScheduledActions"] == []
    refused(invalid, lambda: put_policy(scaled, kind="StepScaling", StepScalingPolicyConfiguration={}), "StepScaling")
    refused(invalid, lambda: put_policy(scaled, kind="PredictiveScaling"), "PredictiveScaling")
    configuration = lambda of: {"TargetTrackingScalingPolicyConfiguration": of}
    for of, *words in (
        (tracking(0.05), "TargetValue"), (tracking(70), "70"), (tracking(0.7, ScaleInCooldown=-1), "ScaleInCooldown"),
        ({"TargetValue": 0.5}, "PredefinedMetricSpecification"),
        ({"TargetValue": 0.5, "CustomizedMetricSpecification": {"MetricName": "x"}}, "CustomizedMetricSpecification"),
        ({"TargetValue": 0.5, "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBReadCapacityUtilization"}},
         "DynamoDBReadCapacityUtilization"),
    ):
        refused(invalid, lambda: put_policy(scaled, **configuration(of)), *words)
    assert scaled.api.describe_scaling_policies(**LAMBDA, ResourceId=key["ResourceId"])["ScalingPolicies"] == []
    with pytest.raises(ClientError) as error:
        scaled.api.get_predictive_scaling_forecast(
            **key, PolicyName="x", StartTime=soon, EndTime=soon + datetime.timedelta(hours=1)
        )
    assert error.value.response["Error"]["Code"] == "UnknownOperationException"


def test_a_floor_that_cannot_be_is_a_failed_activity(scaled):
    scaled.register(0, 5)
    scaled.schedule("too-many", "rate(1 minute)", 2_000, 2_000)
    scaled.schedule("never", "rate(1 day)", 9)
    scaled.node.advance(61)
    eventually(lambda: any(status == "Failed" for *_, status in scaled.activities()))
    assert scaled.capacity() == 0
    scaled.api.delete_scheduled_action(**scaled.key, ScheduledActionName="too-many")
    scaled.register(0, 5)
    scaled.node.advance(86_400)
    eventually(lambda: any("scheduled action name never" in cause for _, cause, status in scaled.activities() if status == "Failed"))
    assert scaled.bounds() == (0, 5)


def test_lists_are_paged(dev):
    several = [Scaled(dev, name=f"page-{n}") for n in range(3)]
    for one in several:
        one.register(0, 1)
        one.schedule("daily", "cron(0 8 * * ? *)", 1)
    api = several[0].api
    names = [f"function:page-{n}:live" for n in range(3)]
    pages = api.get_paginator("describe_scalable_targets").paginate(**LAMBDA, PaginationConfig={"PageSize": 1})
    found = [target["ResourceId"] for page in pages for target in page["ScalableTargets"]]
    assert [name for name in found if name in names] == names
    pages = api.get_paginator("describe_scheduled_actions").paginate(
        **LAMBDA, ScheduledActionNames=["daily"], PaginationConfig={"PageSize": 2}
    )
    assert [action["ResourceId"] for page in pages for action in page["ScheduledActions"]] == names
    for one in several:
        one.api.deregister_scalable_target(**one.key)


def test_the_aws_cli_registers_and_schedules(node):
    scaled = Scaled(node)
    where = ["--service-namespace", "lambda", "--resource-id", scaled.key["ResourceId"], "--scalable-dimension", DIMENSION]
    node.aws("application-autoscaling", "register-scalable-target", *where, "--min-capacity", "0", "--max-capacity", "3")
    node.aws(
        "application-autoscaling", "put-scheduled-action", *where, "--scheduled-action-name", "morning", "--schedule",
        "cron(0 8 ? * MON-FRI *)", "--timezone", "Europe/Berlin", "--scalable-target-action", "MinCapacity=2",
    )
    listed = json.loads(node.aws("application-autoscaling", "describe-scheduled-actions", "--service-namespace", "lambda").stdout)
    [action] = [one for one in listed["ScheduledActions"] if one["ResourceId"] == scaled.key["ResourceId"]]
    assert action["ScalableTargetAction"] == {"MinCapacity": 2}
    node.aws("application-autoscaling", "deregister-scalable-target", *where)
    scaled.lam.delete_function(FunctionName=scaled.name)
