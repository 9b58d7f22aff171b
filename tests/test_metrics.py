"""CloudWatch metrics, as boto3, the AWS CLI and older clients (the query protocol) see them."""

import datetime
import json
import math
import threading
import time
import uuid

import botocore.exceptions
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import running


@pytest.fixture(scope="session")
def cloudwatch(node):
    return node.client("cloudwatch")


def fresh(name="App"):
    return f"{name}/{uuid.uuid4().hex[:12]}"


def minute(ago=0):
    """The beginning of a minute, `ago` minutes before the last whole one."""
    now = int(time.time())
    return datetime.datetime.fromtimestamp(now - now % 60 - 60 * ago, datetime.timezone.utc)


def refused(call, *arguments, **options):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **options)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def statistics(client, namespace, metric, period=60, names=("Sum",), **options):
    given = {"StartTime": minute(60), "EndTime": minute(-2), **options}
    found = client.get_metric_statistics(
        Namespace=namespace, MetricName=metric, Period=period, Statistics=list(names), **given)
    return sorted(found["Datapoints"], key=lambda point: point["Timestamp"])


def test_measurements_are_summed_up_by_minute(cloudwatch):
    namespace = fresh()
    at = minute(5)
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "Latency", "Value": 10, "Unit": "Milliseconds", "Timestamp": at},
        {"MetricName": "Latency", "Values": [20, 30], "Counts": [2, 1], "Unit": "Milliseconds", "Timestamp": at},
    ])
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "Latency", "Value": 5, "Unit": "Milliseconds", "Timestamp": at + datetime.timedelta(seconds=59)},
        {"MetricName": "Latency", "Value": 7, "Unit": "Milliseconds", "Timestamp": at + datetime.timedelta(seconds=60)},
    ])
    names = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
    first, second = statistics(cloudwatch, namespace, "Latency", names=names)
    assert first["Timestamp"] == at and first["Unit"] == "Milliseconds"
    assert [first[name] for name in names] == [5, 17, 85, 5, 30]
    assert [second[name] for name in names] == [1, 7, 7, 7, 7]
    (both,) = statistics(cloudwatch, namespace, "Latency", period=3600, StartTime=minute(30))
    assert both["Sum"] == 92
    percentiles = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Latency", StartTime=at, EndTime=minute(0), Period=60,
        ExtendedStatistics=["p50", "p99.9", "tm50"])["Datapoints"]
    assert {"p50": 20, "p99.9": 30, "tm50": (5 + 10 + 0.5 * 20) / 2.5} in [p["ExtendedStatistics"] for p in percentiles]


def test_statistic_sets_count_but_have_no_percentiles(cloudwatch):
    namespace, at = fresh(), minute(3)
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{
        "MetricName": "Size", "Timestamp": at, "Unit": "Bytes",
        "StatisticValues": {"SampleCount": 4, "Sum": 100, "Minimum": 10, "Maximum": 50}}])
    (point,) = statistics(cloudwatch, namespace, "Size", names=("Average", "SampleCount"))
    assert (point["Average"], point["SampleCount"]) == (25, 4)
    found = cloudwatch.get_metric_statistics(Namespace=namespace, MetricName="Size", StartTime=at, EndTime=minute(0), Period=60,
                                             ExtendedStatistics=["p90"])
    assert found["Datapoints"] == [] and found["Label"] == "Size"


def test_dimensions_and_units_make_metrics_apart(cloudwatch):
    namespace, at = fresh(), minute(3)
    ab = [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "m", "Value": 1, "Timestamp": at},
        {"MetricName": "m", "Value": 2, "Timestamp": at, "Dimensions": ab},
        {"MetricName": "m", "Value": 4, "Timestamp": at, "Dimensions": ab[::-1], "Unit": "Count"},
        {"MetricName": "m", "Value": 8, "Timestamp": at, "Dimensions": ab[:1]},
    ])
    assert [p["Sum"] for p in statistics(cloudwatch, namespace, "m")] == [1]
    both = statistics(cloudwatch, namespace, "m", Dimensions=ab)
    assert sorted((p["Unit"], p["Sum"]) for p in both) == [("Count", 4), ("None", 2)]
    assert [p["Sum"] for p in statistics(cloudwatch, namespace, "m", Dimensions=ab, Unit="Count")] == [4]
    assert statistics(cloudwatch, namespace, "m", Dimensions=ab, Unit="Bytes") == []

    listed = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    assert len(listed) == 3
    with_a = cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "a"}])["Metrics"]
    assert len(with_a) == 2
    (with_b,) = cloudwatch.list_metrics(Namespace=namespace, MetricName="m", RecentlyActive="PT3H",
                                        Dimensions=[{"Name": "b", "Value": "2"}])["Metrics"]
    assert sorted((d["Name"], d["Value"]) for d in with_b["Dimensions"]) == [("a", "1"), ("b", "2")]
    assert cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "b", "Value": "3"}])["Metrics"] == []


def test_metrics_are_listed_in_pages(cloudwatch):
    namespace = fresh()
    for start in range(0, 1200, 600):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
            {"MetricName": f"m{n}", "Value": n} for n in range(start, start + 600)])
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace))
    assert [len(page["Metrics"]) for page in pages] == [500, 500, 200]
    assert len({m["MetricName"] for page in pages for m in page["Metrics"]}) == 1200


def test_metric_math_is_done_on_queries(cloudwatch):
    namespace = fresh()
    start = minute(10)
    for n in range(4):
        at = start + datetime.timedelta(minutes=n)
        data = [{"MetricName": "Requests", "Value": 10 * (n + 1), "Timestamp": at}]
        if n % 2:
            data.append({"MetricName": "Errors", "Value": n, "Timestamp": at})
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    stat = lambda metric, stat="Sum": {"Metric": {"Namespace": namespace, "MetricName": metric}, "Period": 60, "Stat": stat}
    found = cloudwatch.get_metric_data(StartTime=start, EndTime=start + datetime.timedelta(minutes=4), ScanBy="TimestampAscending",
                                       MetricDataQueries=[
        {"Id": "rate", "Expression": "100 * FILL(errors, 0) / requests", "Label": "error rate"},
        {"Id": "errors", "MetricStat": stat("Errors"), "ReturnData": False},
        {"Id": "requests", "MetricStat": stat("Requests")},
        {"Id": "total", "Expression": "SUM([errors, requests])"},
        {"Id": "top", "MetricStat": stat("Requests", "p100")},
    ])
    results = {result["Id"]: result for result in found["MetricDataResults"]}
    assert list(results) == ["rate", "requests", "total", "top"]
    assert results["requests"]["Values"] == [10, 20, 30, 40] == results["top"]["Values"]
    assert results["requests"]["Timestamps"][0] == start and results["requests"]["StatusCode"] == "Complete"
    assert results["rate"]["Values"] == [0, 5, 0, 7.5] and results["rate"]["Label"] == "error rate"
    assert results["total"]["Values"] == [10, 21, 30, 43]

    pages = list(cloudwatch.get_paginator("get_metric_data").paginate(
        StartTime=start, EndTime=minute(0), MaxDatapoints=3, MetricDataQueries=[
            {"Id": "requests", "MetricStat": stat("Requests")}, {"Id": "errors", "MetricStat": stat("Errors")}]))
    assert len(pages) == 2
    values = {}
    for page in pages:
        for result in page["MetricDataResults"]:
            values.setdefault(result["Id"], []).extend(result["Values"])
    assert values == {"requests": [40, 30, 20, 10], "errors": [3, 1]}


@pytest.mark.parametrize("queries, named", [
    ([{"Id": "Upper", "Expression": "1"}], "Upper"),
    ([{"Id": "a", "Expression": "SEARCH('{App}', 'Sum', 60)"}], "SEARCH"),
    ([{"Id": "a", "Expression": "ANOMALY_DETECTION_BAND(b, 2)"}], "ANOMALY_DETECTION_BAND"),
    ([{"Id": "a", "Expression": "SELECT AVG(x) FROM y"}], "SELECT"),
    ([{"Id": "a", "Expression": "a + 1"}], "itself"),
    ([{"Id": "a", "Expression": "b"}, {"Id": "b", "Expression": "a"}], "itself"),
    ([{"Id": "a", "Expression": "nobody * 2"}], "nobody"),
    ([{"Id": "a"}], "Exactly one"),
    ([], "1 to 500"),
    ([{"Id": "a", "MetricStat": {"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": 60, "Stat": "TM(1%:2%)"}}], "TM(1%:2%)"),
    ([{"Id": "a", "MetricStat": {"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": 61, "Stat": "Sum"}}], "multiple of 60"),
    ([{"Id": "a", "MetricStat": {"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": 60, "Stat": "Sum"},
       "ReturnData": False}], "ReturnData"),
    ([{"Id": "a", "MetricStat": {"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": 60, "Stat": "Sum"},
       "Label": "${MAX}"}], "Label"),
])
def test_queries_that_cannot_be_carried_out_are_refused_by_name(cloudwatch, queries, named):
    code, text = refused(cloudwatch.get_metric_data, MetricDataQueries=queries, StartTime=minute(5), EndTime=minute(0))
    assert code in ("ValidationError", "InvalidParameterValue") and named in text


def test_bad_measurements_are_refused_as_a_whole(cloudwatch):
    namespace = fresh()
    good = {"MetricName": "m", "Value": 1}
    days = lambda n: datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=n)
    for bad, wanted, named in [
        ({"Value": 1}, "MissingParameter", "MetricName"),
        ({"MetricName": "m"}, "MissingParameter", "Value"),
        ({"MetricName": "m", "Value": 1, "Values": [1]}, "InvalidParameterCombination", "mutually exclusive"),
        ({"MetricName": "m", "Value": 2.0 ** 361}, "InvalidParameterValue", "2^360"),
        ({"MetricName": "m", "Values": [1] * 151}, "InvalidParameterValue", "150"),
        ({"MetricName": "m", "Value": 1, "Timestamp": days(-15)}, "InvalidParameterValue", "two weeks"),
        ({"MetricName": "m", "Value": 1, "Timestamp": days(1)}, "InvalidParameterValue", "two hours"),
        ({"MetricName": "m", "Value": 1, "StorageResolution": 5}, "InvalidParameterValue", "StorageResolution"),
        ({"MetricName": "m", "Value": 1, "Unit": "Furlongs"}, "InvalidParameterValue", "Unit"),
        ({"MetricName": "m", "Value": 1, "Dimensions": [{"Name": f"d{n}", "Value": "x"} for n in range(31)]},
         "InvalidParameterValue", "30"),
    ]:
        code, text = refused(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[good, bad])
        assert code == wanted and named in text, (code, text)
    for value in (math.nan, math.inf, -math.inf):
        code, _ = refused(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[good, {"MetricName": "m", "Value": value}])
        assert code in ("InvalidParameterValue", "SerializationException")
    assert refused(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[good] * 1001)[0] == "InvalidParameterValue"
    assert refused(cloudwatch.put_metric_data, Namespace="AWS/Lambda", MetricData=[good])[0] == "InvalidParameterValue"
    assert refused(cloudwatch.put_metric_data, MetricData=[good])[0] == "MissingParameter"
    assert "EntityMetricData" in refused(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[good], EntityMetricData=[{
        "MetricData": [good]}])[1]
    with pytest.raises(cloudwatch.exceptions.InvalidParameterValueException):
        cloudwatch.put_metric_data(Namespace=":x", MetricData=[good])
    assert cloudwatch.list_metrics(Namespace=namespace)["Metrics"] == []


def test_ranges_and_periods_have_their_bounds(cloudwatch):
    ask = lambda **options: refused(cloudwatch.get_metric_statistics, **{
        "Namespace": "n", "MetricName": "m", "StartTime": minute(60), "EndTime": minute(0), "Period": 60, "Statistics": ["Sum"],
        **options})
    code, text = ask(StartTime=minute(60 * 48), Period=60)
    assert code == "InvalidParameterCombination" and "1440" in text.replace(",", "")
    assert ask(Period=45)[0] == "InvalidParameterValue"
    assert ask(StartTime=minute(0))[0] == "InvalidParameterValue"
    assert ask(Statistics=["Median"])[0] == "InvalidParameterValue"
    assert ask(ExtendedStatistics=["p50"])[0] == "InvalidParameterCombination"
    assert ask(Statistics=[])[0] == "MissingParameter"
    assert ask(Statistics=[], ExtendedStatistics=["p101"])[0] == "InvalidParameterValue"


def test_high_resolution_metrics_have_points_by_second(cloudwatch):
    namespace, at = fresh(), minute(1)
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "m", "Value": n, "StorageResolution": 1, "Timestamp": at + datetime.timedelta(seconds=n)} for n in range(20)])
    by = lambda period: [p["Sum"] for p in statistics(cloudwatch, namespace, "m", period=period, StartTime=at, EndTime=minute(0))]
    assert by(1) == list(range(20)) and by(10) == [45, 145] and by(60) == [190]


def test_large_bodies_are_compressed_by_boto3_and_understood(cloudwatch):
    namespace = fresh()
    names = [f"metric-{n}-{'x' * 150}" for n in range(900)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": name, "Value": 1} for name in names])
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace)
    assert sorted(m["MetricName"] for page in pages for m in page["Metrics"]) == sorted(names)


def test_the_aws_cli_puts_and_reads(node):
    namespace = fresh()
    node.aws("cloudwatch", "put-metric-data", "--namespace", namespace, "--metric-name", "Jobs", "--value", "3", "--unit", "Count",
             "--dimensions", "Queue=mail,Host=a")
    listed = json.loads(node.aws("cloudwatch", "list-metrics", "--namespace", namespace, "--output", "json").stdout)
    assert listed["Metrics"][0]["MetricName"] == "Jobs"
    shown = json.loads(node.aws(
        "cloudwatch", "get-metric-statistics", "--namespace", namespace, "--metric-name", "Jobs", "--statistics", "Sum", "Maximum",
        "--period", "300", "--start-time", minute(10).isoformat(), "--end-time", minute(-5).isoformat(),
        "--dimensions", "Name=Queue,Value=mail", "Name=Host,Value=a", "--output", "json").stdout)
    assert [point["Sum"] for point in shown["Datapoints"]] == [3]
    failed = node.aws("cloudwatch", "put-metric-data", "--namespace", "AWS/x", "--metric-name", "m", "--value", "1", check=False)
    assert failed.returncode != 0 and "InvalidParameterValue" in failed.stderr


def signed(node, form):
    """A signed request of the query protocol, as clients of earlier years send it."""
    keys = node.credentials
    request = AWSRequest("POST", node.endpoint + "/", data=form, headers={
        "content-type": "application/x-www-form-urlencoded; charset=utf-8"})
    SigV4Auth(Credentials(keys["access_key"], keys["secret_key"]), "monitoring", "us-east-1").add_auth(request)
    prepared = request.prepare()
    return requests.post(prepared.url, data=prepared.body, headers=dict(prepared.headers), timeout=30)


def test_the_query_protocol_is_spoken_too(node):
    namespace = fresh()
    put = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": namespace, "MetricData.member.1.MetricName": "m",
           "MetricData.member.1.Value": "2.5", "MetricData.member.1.Dimensions.member.1.Name": "d",
           "MetricData.member.1.Dimensions.member.1.Value": "v", "MetricData.member.1.Timestamp": minute(2).isoformat()}
    assert signed(node, put).status_code == 200
    read = signed(node, {
        "Action": "GetMetricStatistics", "Version": "2010-08-01", "Namespace": namespace, "MetricName": "m", "Period": "60",
        "StartTime": minute(10).isoformat(), "EndTime": minute(0).isoformat(), "Statistics.member.1": "Sum",
        "Dimensions.member.1.Name": "d", "Dimensions.member.1.Value": "v"})
    assert "<Sum>2.5</Sum>" in read.text and f"<Timestamp>{minute(2).strftime('%Y-%m-%dT%H:%M:%SZ')}</Timestamp>" in read.text
    bad = signed(node, {**put, "MetricData.member.1.Value": "NaN"})
    assert bad.status_code == 400 and "<Code>InvalidParameterValue</Code>" in bad.text


def test_what_is_missing_is_named(cloudwatch):
    code, text = refused(cloudwatch.put_dashboard, DashboardName="d", DashboardBody="{}")
    assert "PutDashboard" in text


def test_concurrent_measurements_of_one_metric_all_count(node):
    namespace, at = fresh(), minute(2)

    def put():
        client = node.client("cloudwatch")
        for _ in range(25):
            client.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "m", "Value": 1, "Timestamp": at}])

    threads = [threading.Thread(target=put, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (point,) = statistics(node.client("cloudwatch"), namespace, "m", names=("Sum", "SampleCount"))
    assert (point["Sum"], point["SampleCount"]) == (100, 100)


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path):
    at = minute(2)
    with running(data=tmp_path) as node:
        client = node.client("cloudwatch")
        for n in range(10):
            client.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": n, "Timestamp": at}])
        node.kill()
    with running(data=tmp_path) as node:
        (point,) = statistics(node.client("cloudwatch"), "n", "m", names=("Sum", "SampleCount"))
        assert (point["Sum"], point["SampleCount"]) == (45, 10)
