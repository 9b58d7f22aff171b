"""Alarms on metrics, and the functions that they invoke."""

import json
import textwrap
import uuid

import botocore.exceptions
import pytest
from conftest import ROLE, eventually, messages, package, running
from test_metrics import cloudwatch, fresh, minute, refused  # noqa: F401 (a fixture)


def put(client, namespace, *values, ago=1):
    """One value for each of the last whole minutes, the newest last."""
    for back, value in enumerate(reversed(values)):
        if value is not None:
            client.put_metric_data(Namespace=namespace, MetricData=[
                {"MetricName": "m", "Value": value, "Timestamp": minute(ago + back)}])


def alarm(client, namespace, name=None, **options):
    name = name or f"alarm-{uuid.uuid4().hex[:12]}"
    client.put_metric_alarm(**{
        "AlarmName": name, "Namespace": namespace, "MetricName": "m", "Statistic": "Maximum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 10, "ComparisonOperator": "GreaterThanThreshold", **options})
    return name


def shown(client, name):
    (found,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return found


def test_an_alarm_is_in_the_state_of_its_metric(cloudwatch):
    namespace = fresh()
    put(cloudwatch, namespace, 5, 5, 50)
    high = alarm(cloudwatch, namespace, AlarmDescription="too much", Unit="None")
    low = alarm(cloudwatch, namespace, Threshold=100)
    two = alarm(cloudwatch, namespace, EvaluationPeriods=3, DatapointsToAlarm=2)
    silent = alarm(cloudwatch, fresh())
    breaching = alarm(cloudwatch, fresh(), TreatMissingData="breaching")
    found = shown(cloudwatch, high)
    assert found["StateValue"] == "ALARM" and "Threshold Crossed" in found["StateReason"] and "50.0" in found["StateReason"]
    assert json.loads(found["StateReasonData"])["threshold"] == 10
    assert found["AlarmDescription"] == "too much" and found["ActionsEnabled"] is True and found["Period"] == 60
    assert found["AlarmArn"] == f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{high}"
    assert shown(cloudwatch, low)["StateValue"] == "OK" == shown(cloudwatch, two)["StateValue"]
    assert shown(cloudwatch, silent)["StateValue"] == "INSUFFICIENT_DATA"
    assert shown(cloudwatch, breaching)["StateValue"] == "ALARM"
    kinds = [item["HistoryItemType"] for item in cloudwatch.describe_alarm_history(AlarmName=high)["AlarmHistoryItems"]]
    assert kinds == ["StateUpdate", "ConfigurationUpdate"]


def test_alarms_are_evaluated_in_the_background(cloudwatch):
    namespace = fresh()
    name = alarm(cloudwatch, namespace, Period=10)
    assert shown(cloudwatch, name)["StateValue"] == "INSUFFICIENT_DATA"

    def feed(value):
        def probe():
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
                {"MetricName": "m", "Value": value, "StorageResolution": 1}])
            return shown(cloudwatch, name)["StateValue"] == ("ALARM" if value > 10 else "OK")
        return probe

    eventually(feed(50), timeout=100, every=1)
    # Percentiles and maxima of the last ten seconds: the high values must leave the window first.
    eventually(feed(1), timeout=100, every=1)


def test_metric_math_has_alarms_too(cloudwatch):
    namespace, at = fresh(), minute(1)
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "errors", "Value": 3, "Timestamp": at}, {"MetricName": "requests", "Value": 10, "Timestamp": at}])
    stat = lambda name: {"Metric": {"Namespace": namespace, "MetricName": name}, "Period": 60, "Stat": "Sum"}
    name = f"alarm-{uuid.uuid4().hex[:12]}"
    definition = dict(
        AlarmName=name, EvaluationPeriods=1, Threshold=25, ComparisonOperator="GreaterThanOrEqualToThreshold", Metrics=[
            {"Id": "rate", "Expression": "100 * errors / requests", "ReturnData": True},
            {"Id": "errors", "MetricStat": stat("errors"), "ReturnData": False},
            {"Id": "requests", "MetricStat": stat("requests"), "ReturnData": False}])
    cloudwatch.put_metric_alarm(**definition)
    found = shown(cloudwatch, name)
    assert found["StateValue"] == "ALARM" and found["Metrics"][0]["Expression"] == "100 * errors / requests"
    code, text = refused(cloudwatch.put_metric_alarm, **{**definition, "Metrics": definition["Metrics"][1:]})
    assert "Exactly one" in text


RECORDER = "import json\ndef handler(event, context):\n    print('ALARMED ' + json.dumps(event))\n"


def events(logs, function):
    lines = messages(logs, f"/aws/lambda/{function.name}")
    return [json.loads(line.split("ALARMED ", 1)[1]) for line in lines if "ALARMED " in line]


ALARMS = {"StatementId": "alarms", "Action": "lambda:InvokeFunction", "Principal": "lambda.alarms.cloudwatch.amazonaws.com"}


def actions(client, name):
    """What the history says of actions, the newest first."""
    found = client.describe_alarm_history(AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"]
    return [(item["HistorySummary"], json.loads(item["HistoryData"])) for item in found]


def test_an_alarm_invokes_only_what_the_functions_policy_allows(deploy, lam, cloudwatch, logs):
    function = deploy(RECORDER)
    version = lam.publish_version(FunctionName=function.name)["Version"]
    lam.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    name = alarm(cloudwatch, fresh(), AlarmActions=[function.arn], OKActions=[function.arn + ":live"], TreatMissingData="ignore")
    done = 0

    def change(state):
        nonlocal done
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason=state)
        done += 1
        return eventually(lambda: len(actions(cloudwatch, name)) == done and actions(cloudwatch, name))[0]

    def again():
        cloudwatch.disable_alarm_actions(AlarmNames=[name])
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="INSUFFICIENT_DATA", StateReason="x")
        cloudwatch.enable_alarm_actions(AlarmNames=[name])
        return change("ALARM")

    def refused(found):
        summary, data = found
        told = f"lambda.alarms.cloudwatch.amazonaws.com is not authorized to perform: lambda:InvokeFunction on resource: {function.arn}"
        assert summary.startswith(f"Failed to execute action {data['notificationResource']}. Received error: ")
        assert data["actionState"] == "Failed" and told in data["error"]
        return True

    assert refused(change("ALARM"))
    account, elsewhere = "000000000000", "111122223333"
    own, other = (f"arn:aws:cloudwatch:us-east-1:{account}:alarm:{which}" for which in (name, "another"))
    for grant in [
        {"Principal": "cloudwatch.amazonaws.com"},
        {"Principal": account},
        {"SourceAccount": elsewhere},
        {"SourceArn": other},
        {"SourceArn": own, "SourceAccount": elsewhere},
        {"EventSourceToken": "t"},
    ]:
        lam.add_permission(FunctionName=function.name, **{**ALARMS, **grant})
        assert refused(again()), grant
        lam.remove_permission(FunctionName=function.name, StatementId="alarms")
    for grant in [{}, {"SourceAccount": account}, {"SourceArn": own, "SourceAccount": account}, {"SourceArn": own[:-3] + "*"}]:
        lam.add_permission(FunctionName=function.name, **{**ALARMS, **grant})
        summary, data = again()
        assert summary == f"Successfully executed action {function.arn}" and data["actionState"] == "Succeeded", grant
        lam.remove_permission(FunctionName=function.name, StatementId="alarms")
    # An alias has a policy of its own.
    lam.add_permission(FunctionName=function.name, **ALARMS)
    assert refused(change("OK"))
    again()
    lam.add_permission(FunctionName=function.name, Qualifier="live", **ALARMS)
    assert change("OK")[0] == f"Successfully executed action {function.arn}:live"
    eventually(lambda: len(events(logs, function)) == 6)


def test_a_function_is_invoked_when_the_state_changes(deploy, lam, cloudwatch, logs):
    namespace = fresh()
    function = deploy(RECORDER)
    lam.add_permission(FunctionName=function.name, **ALARMS)
    put(cloudwatch, namespace, 50)
    name = alarm(cloudwatch, namespace, AlarmActions=[function.arn], AlarmDescription="look",
                 Dimensions=[], TreatMissingData="ignore")
    (event,) = eventually(lambda: events(logs, function))
    assert event["source"] == "aws.cloudwatch" and event["alarmArn"].endswith(f":alarm:{name}")
    assert event["alarmData"]["alarmName"] == name and event["alarmData"]["state"]["value"] == "ALARM"
    assert event["alarmData"]["previousState"]["value"] == "INSUFFICIENT_DATA"
    assert event["alarmData"]["configuration"]["description"] == "look"
    metric = event["alarmData"]["configuration"]["metrics"][0]["metricStat"]
    assert metric["metric"]["name"] == "m" and metric["stat"] == "Maximum" and metric["period"] == 60
    (action,) = eventually(lambda: cloudwatch.describe_alarm_history(
        AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"])
    assert "Successfully executed action" in action["HistorySummary"]


def test_a_state_can_be_set_and_actions_disabled(deploy, lam, cloudwatch, logs):
    function = deploy(RECORDER)
    lam.add_permission(FunctionName=function.name, **ALARMS)
    name = alarm(cloudwatch, fresh(), OKActions=[function.arn], InsufficientDataActions=[function.arn], TreatMissingData="ignore")
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="quiet")
    assert shown(cloudwatch, name)["ActionsEnabled"] is False and shown(cloudwatch, name)["StateReason"] == "quiet"
    cloudwatch.enable_alarm_actions(AlarmNames=[name])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test", StateReasonData='{"a": 1}')
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="again")
    (event,) = eventually(lambda: events(logs, function))
    assert event["alarmData"]["state"]["reason"] == "again" and event["alarmData"]["previousState"]["reason"] == "test"
    assert refused(cloudwatch.set_alarm_state, AlarmName=name, StateValue="OK", StateReason="x", StateReasonData="{")[0] == "InvalidFormat"
    assert refused(cloudwatch.set_alarm_state, AlarmName=name, StateValue="BROKEN", StateReason="x")[0] == "ValidationError"
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.set_alarm_state(AlarmName="nobody", StateValue="OK", StateReason="x")


def test_an_action_that_cannot_be_done_is_told_in_the_history(cloudwatch):
    missing = "arn:aws:lambda:us-east-1:000000000000:function:there-is-none"
    name = alarm(cloudwatch, fresh(), AlarmActions=[missing], TreatMissingData="breaching")
    (action,) = eventually(lambda: cloudwatch.describe_alarm_history(
        AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"])
    assert "Failed to execute action" in action["HistorySummary"] and "not found" in action["HistorySummary"]


@pytest.mark.parametrize("options, named", [
    ({"AlarmActions": ["arn:aws:sns:us-east-1:000000000000:topic"]}, "arn:aws:sns"),
    ({"OKActions": ["arn:aws:automate:us-east-1:ec2:stop"]}, "arn:aws:automate"),
    ({"AlarmActions": ["arn:aws:lambda:eu-west-1:000000000000:function:f"]}, "eu-west-1"),
    ({"InsufficientDataActions": ["arn:aws:lambda:us-east-1:123456789012:function:f"]}, "123456789012"),
    ({"ThresholdMetricId": "ad1"}, "ThresholdMetricId"),
    ({"ComparisonOperator": "LessThanLowerThreshold"}, "LessThanLowerThreshold"),
    ({"EvaluateLowSampleCountPercentile": "ignore"}, "EvaluateLowSampleCountPercentile"),
    ({"EvaluationWindow": {"WallClockWindow": {}}}, "EvaluationWindow"),
    ({"WarmUpConfiguration": {"WarmUpPeriodDurationInMinutes": 5}}, "WarmUpConfiguration"),
    ({"Tags": [{"Key": "aws:a", "Value": "b"}]}, "aws:a"),
    ({"ActionConfiguration": {"AlarmTagsPropagation": {"Enabled": True}}}, "ActionConfiguration"),
    ({"TreatMissingData": "panic"}, "TreatMissingData"),
    ({"DatapointsToAlarm": 2}, "DatapointsToAlarm"),
    ({"Period": 5}, "Period"),
    ({"Period": 3600, "EvaluationPeriods": 200}, "EvaluationPeriods"),
    ({"Statistic": "Median"}, "Statistic"),
    ({"ExtendedStatistic": "p90"}, "ExtendedStatistic"),
    ({"Metrics": [{"Id": "a", "Expression": "1"}]}, "Metrics"),
])
def test_alarms_that_cannot_be_carried_out_are_refused_by_name(cloudwatch, options, named):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        alarm(cloudwatch, "n", "never", **options)
    assert named in str(caught.value)
    assert cloudwatch.describe_alarms(AlarmNames=["never"])["MetricAlarms"] == []


def test_alarms_are_found_in_pages_by_prefix_state_and_metric(cloudwatch):
    namespace, prefix = fresh(), f"p{uuid.uuid4().hex[:8]}-"
    names = [alarm(cloudwatch, namespace, f"{prefix}{n}") for n in range(5)]
    pages = list(cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix, PaginationConfig={"PageSize": 2}))
    assert [[a["AlarmName"] for a in page["MetricAlarms"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    assert len(cloudwatch.describe_alarms_for_metric(Namespace=namespace, MetricName="m")["MetricAlarms"]) == 5
    assert cloudwatch.describe_alarms_for_metric(Namespace=namespace, MetricName="m", Period=300)["MetricAlarms"] == []
    assert cloudwatch.describe_alarms(AlarmNamePrefix=prefix, StateValue="OK")["MetricAlarms"] == []
    assert cloudwatch.describe_alarms(AlarmNamePrefix=prefix, AlarmTypes=["CompositeAlarm"])["MetricAlarms"] == []
    cloudwatch.delete_alarms(AlarmNames=names[:2] + ["nobody"])
    assert len(cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]) == 3
    waiter = cloudwatch.get_waiter("alarm_exists")
    waiter.wait(AlarmNames=names[2:], WaiterConfig={"Delay": 1, "MaxAttempts": 2})


def test_alarms_have_tags(cloudwatch):
    name = alarm(cloudwatch, fresh(), Tags=[{"Key": "team", "Value": "a"}, {"Key": "stage", "Value": "prod"}])
    arn = shown(cloudwatch, name)["AlarmArn"]
    tags = lambda: {tag["Key"]: tag["Value"] for tag in cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]}
    assert tags() == {"team": "a", "stage": "prod"}
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "team", "Value": "b"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["stage", "nobody"])
    assert tags() == {"team": "b"}
    many = [{"Key": f"k{n}", "Value": "v"} for n in range(50)]
    assert refused(cloudwatch.tag_resource, ResourceARN=arn, Tags=many)[0] == "InvalidParameterValue"
    assert tags() == {"team": "b"}
    assert refused(cloudwatch.list_tags_for_resource, ResourceARN=arn + "x")[0] == "ResourceNotFoundException"
    assert refused(cloudwatch.list_tags_for_resource, ResourceARN="arn:aws:cloudwatch::000000000000:dashboard/d")[0] == \
        "InvalidParameterValue"
    cloudwatch.delete_alarms(AlarmNames=[name])
    alarm(cloudwatch, fresh(), name)
    assert tags() == {}


def test_the_aws_cli_makes_and_shows_an_alarm(node):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    node.aws("cloudwatch", "put-metric-alarm", "--alarm-name", name, "--namespace", "AWS/Lambda", "--metric-name", "Errors",
             "--statistic", "Sum", "--period", "60", "--evaluation-periods", "1", "--threshold", "1",
             "--comparison-operator", "GreaterThanOrEqualToThreshold", "--treat-missing-data", "notBreaching",
             "--dimensions", "Name=FunctionName,Value=none")
    found = json.loads(node.aws("cloudwatch", "describe-alarms", "--alarm-names", name, "--output", "json").stdout)
    assert found["MetricAlarms"][0]["StateValue"] == "OK"


def test_alarms_and_undone_actions_survive_kill_9(tmp_path):
    # It takes longer than the node lives: what the last moments logged is lost with them.
    slow = "import time\ntime.sleep(2)\n" + textwrap.dedent(RECORDER)
    with running(data=tmp_path) as node:
        client, lam = node.client("cloudwatch"), node.client("lambda")
        lam.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE, Timeout=10,
                            Code={"ZipFile": package({"app.py": slow})})
        lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
        lam.add_permission(FunctionName="f", **ALARMS)
        alarm(client, "n", "a", AlarmActions=["arn:aws:lambda:us-east-1:000000000000:function:f"], TreatMissingData="ignore")
        client.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="before the end")
        node.kill()
    with running(data=tmp_path) as node:
        assert shown(node.client("cloudwatch"), "a")["StateReason"] == "before the end"
        logs = node.client("logs")
        eventually(lambda: any("before the end" in line for line in messages(logs, "/aws/lambda/f")))
