//! Metrics over a long time, which only a clock of the test's own can pass.

use crate::harness::{DAY, Node, START};
use serde_json::{Value, json};
use telemetry::Settings;

const HOUR: i64 = 3_600_000;

async fn put(node: &Node, at: i64, value: f64, resolution: i64) {
    let datum =
        json!({"MetricName": "m", "Value": value, "Timestamp": at / 1_000, "StorageResolution": resolution});
    node.metrics("PutMetricData", json!({"Namespace": "n", "MetricData": [datum]})).await.unwrap();
}

/// Time in ms and statistic of each point.
async fn read(node: &Node, from: i64, until: i64, period: i64, statistic: &str) -> Vec<(i64, f64)> {
    let metric =
        json!({"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": period, "Stat": statistic});
    let queries = json!([{"Id": "m", "MetricStat": metric}]);
    let input = json!({"MetricDataQueries": queries, "StartTime": from / 1_000, "EndTime": until / 1_000,
        "ScanBy": "TimestampAscending"});
    let reply = node.metrics("GetMetricData", input).await.unwrap();
    let result = &reply["MetricDataResults"][0];
    let list =
        |name: &str| result[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    list("Timestamps").into_iter().map(|at| (at * 1_000.0) as i64).zip(list("Values")).collect()
}

#[tokio::test]
async fn points_become_coarser_with_age_and_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for second in 0..120 {
        put(&node, START - 120_000 + second * 1_000, second as f64, 1).await;
    }
    let (from, until) = (START - HOUR, START);
    let total = (0..120).sum::<i64>() as f64;
    assert_eq!(read(&node, from, until, 1, "Sum").await.len(), 120);
    assert_eq!(read(&node, from, until, 60, "p100").await.last().unwrap().1, 119.0);

    // By second for 3 hours, by minute for 15 days, by 5 minutes for 63 days, by hour for 455 days.
    for (pass, finest, gone) in [(4 * HOUR, 60, 1), (15 * DAY, 300, 60), (50 * DAY, 3_600, 300)] {
        node.pass(pass);
        for _ in 0..2 {
            node.telemetry.clear().await.unwrap();
            let points = read(&node, from, until, finest, "Sum").await;
            assert_eq!(points.iter().map(|(_, value)| value).sum::<f64>(), total, "{finest}");
            assert_eq!(read(&node, from, until, gone, "Sum").await, [], "{gone}");
            let count = read(&node, from, until, 3_600, "SampleCount").await;
            assert_eq!(count.iter().map(|(_, value)| value).sum::<f64>(), 120.0);
        }
    }
    let median = read(&node, from, until, 3_600, "p50").await[0].1;
    assert_eq!(median, 59.0);

    node.pass(400 * DAY);
    node.telemetry.clear().await.unwrap();
    assert_eq!(read(&node, from, until, 3_600, "Sum").await, []);
}

#[tokio::test]
async fn metrics_without_data_for_two_weeks_are_not_listed_and_one_beyond_the_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::with(folder.path(), Settings { metrics_max: 2, ..Settings::default() });
    let datum = |name: &str| json!({"Namespace": "n", "MetricData": [{"MetricName": "a", "Value": 1}, {"MetricName": name, "Value": 1}]});
    node.metrics("PutMetricData", datum("b")).await.unwrap();
    let refused = node.metrics("PutMetricData", datum("c")).await.unwrap_err();
    assert!(refused.contains("LimitExceededFault"), "{refused}");
    node.metrics("PutMetricData", datum("b")).await.unwrap();
    // The refused request has added nothing to the metric that was there.
    let now = START;
    let sums = {
        let metric = json!({"Metric": {"Namespace": "n", "MetricName": "a"}, "Period": 60, "Stat": "Sum"});
        let input = json!({"MetricDataQueries": [{"Id": "a", "MetricStat": metric}], "StartTime": now / 1_000 - 60,
            "EndTime": now / 1_000 + 60});
        node.metrics("GetMetricData", input).await.unwrap()
    };
    assert_eq!(sums["MetricDataResults"][0]["Values"], json!([2.0]));

    let listed = |reply: Value| reply["Metrics"].as_array().unwrap().len();
    assert_eq!(listed(node.metrics("ListMetrics", json!({})).await.unwrap()), 2);
    node.pass(4 * HOUR);
    assert_eq!(listed(node.metrics("ListMetrics", json!({"RecentlyActive": "PT3H"})).await.unwrap()), 0);
    node.pass(14 * DAY);
    assert_eq!(listed(node.metrics("ListMetrics", json!({})).await.unwrap()), 0);
}
