//! Alarms with a clock of the test's own, and actions that fail.

use crate::harness::{DAY, Node, START};
use base::{Arn, Future, InvokeLater, NotInvoked, RequestId, ServiceCaller};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// Functions that are not there yet.
#[derive(Default)]
struct Functions {
    ready: AtomicBool,
    calls: Mutex<Vec<(String, String, Value)>>,
}

impl InvokeLater for Functions {
    fn invoke_later(
        &self,
        caller: Option<ServiceCaller>,
        function: Arn,
        id: RequestId,
        payload: Bytes,
        _: Option<String>,
    ) -> Future<'_, Result<(), NotInvoked>> {
        Box::pin(async move {
            if !self.ready.load(Ordering::Relaxed) {
                return Err(NotInvoked::NotNow("starting".to_owned()));
            }
            let event: Value = serde_json::from_slice(&payload).unwrap();
            let caller = caller.unwrap();
            assert_eq!(caller.service, "lambda.alarms.cloudwatch.amazonaws.com");
            assert_eq!(event["alarmArn"], caller.source_arn.as_str());
            assert_eq!(event["accountId"], caller.source_account.as_str());
            self.calls.lock().unwrap().push((function.to_string(), id.to_string(), event));
            Ok(())
        })
    }
}

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

async fn alarm(node: &Node, name: &str, more: Value) {
    let mut input = json!({"AlarmName": name, "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 10, "ComparisonOperator": "GreaterThanThreshold",
        "AlarmActions": [FUNCTION], "OKActions": [FUNCTION]});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node.metrics("PutMetricAlarm", input).await.unwrap();
}

async fn measure(node: &Node, value: f64) {
    let data = json!({"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": value}]});
    node.metrics("PutMetricData", data).await.unwrap();
}

async fn state(node: &Node, name: &str) -> String {
    let found = node.metrics("DescribeAlarms", json!({"AlarmNames": [name]})).await.unwrap();
    found["MetricAlarms"][0]["StateValue"].as_str().unwrap().to_owned()
}

async fn history(node: &Node, kind: &str) -> Vec<String> {
    let input = json!({"HistoryItemType": kind, "ScanBy": "TimestampAscending"});
    let found = node.metrics("DescribeAlarmHistory", input).await.unwrap();
    let items = found["AlarmHistoryItems"].as_array().unwrap().iter();
    items.map(|item| item["HistorySummary"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn two_of_three_minutes_make_an_alarm_and_its_actions_wait_until_they_can_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let functions = Arc::new(Functions::default());
    node.telemetry.invoke_through(functions.clone());
    alarm(&node, "a", json!({})).await;
    assert_eq!(state(&node, "a").await, "INSUFFICIENT_DATA");
    let mut seen = Vec::new();
    for value in [1.0, 20.0, 1.0, 20.0, 1.0, 1.0, 1.0] {
        measure(&node, value).await;
        node.pass(60_000);
        for _ in 0..2 {
            node.telemetry.evaluate_alarms().await.unwrap();
        }
        seen.push(state(&node, "a").await);
    }
    assert_eq!(seen, ["OK", "OK", "OK", "ALARM", "OK", "OK", "OK"]);
    assert_eq!(functions.calls.lock().unwrap().len(), 0);

    functions.ready.store(true, Ordering::Relaxed);
    node.telemetry.evaluate_alarms().await.unwrap();
    node.telemetry.evaluate_alarms().await.unwrap();
    let calls = functions.calls.lock().unwrap().clone();
    let states: Vec<_> =
        calls.iter().map(|(_, _, event)| event["alarmData"]["state"]["value"].clone()).collect();
    assert_eq!(states, ["OK", "ALARM", "OK"]);
    assert_eq!(calls[1].2["alarmData"]["previousState"]["value"], "OK");
    assert_eq!(calls[1].2["accountId"], "000000000000");
    assert!(calls.iter().all(|(function, ..)| function == FUNCTION));
    assert_eq!(
        history(&node, "StateUpdate").await,
        [
            "Alarm updated from INSUFFICIENT_DATA to OK",
            "Alarm updated from OK to ALARM",
            "Alarm updated from ALARM to OK"
        ]
    );
    assert_eq!(history(&node, "Action").await.len(), 3);

    // Disabled, it changes its state and does nothing; the page of its history goes on where it ended.
    for operation in ["DisableAlarmActions", "DisableAlarmActions", "EnableAlarmActions"] {
        node.metrics(operation, json!({"AlarmNames": ["a", "nobody"]})).await.unwrap();
    }
    assert_eq!(history(&node, "ConfigurationUpdate").await.len(), 3);
    let mut pages = Vec::new();
    let mut token = Value::Null;
    loop {
        let input = json!({"AlarmName": "a", "MaxRecords": 4, "NextToken": token});
        let page = node.metrics("DescribeAlarmHistory", input).await.unwrap();
        pages.push(page["AlarmHistoryItems"].as_array().unwrap().len());
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(pages, [4, 4, 1]);

    // No data any more, and at last no history either.
    node.pass(DAY);
    node.telemetry.evaluate_alarms().await.unwrap();
    assert_eq!(state(&node, "a").await, "INSUFFICIENT_DATA");
    node.pass(31 * DAY);
    node.telemetry.clear().await.unwrap();
    assert_eq!(history(&node, "StateUpdate").await, [""; 0]);
}

#[tokio::test]
async fn an_action_that_cannot_be_done_for_an_hour_is_given_up_and_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.telemetry.invoke_through(Arc::new(Functions::default()));
    alarm(&node, "a", json!({"TreatMissingData": "breaching"})).await;
    node.telemetry.evaluate_alarms().await.unwrap();
    assert_eq!(history(&node, "Action").await, [""; 0]);
    node.pass(3_600_000);
    node.telemetry.evaluate_alarms().await.unwrap();
    let told = history(&node, "Action").await;
    assert!(told[0].contains("Failed to execute action") && told[0].contains("starting"), "{told:?}");
}

#[tokio::test]
async fn a_redefined_alarm_keeps_its_state_and_a_restart_keeps_all() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    alarm(&node, "a", json!({"TreatMissingData": "breaching"})).await;
    assert_eq!(state(&node, "a").await, "ALARM");
    alarm(&node, "a", json!({"TreatMissingData": "ignore", "Threshold": 5})).await;
    assert_eq!(state(&node, "a").await, "ALARM");
    drop(node);
    let node = Node::open(folder.path());
    node.pass(1);
    let functions = Arc::new(Functions::default());
    functions.ready.store(true, Ordering::Relaxed);
    node.telemetry.invoke_through(functions.clone());
    node.telemetry.evaluate_alarms().await.unwrap();
    // What was to be done before the restart is done after it.
    assert_eq!(functions.calls.lock().unwrap().len(), 1);
    let found = node.metrics("DescribeAlarms", json!({})).await.unwrap();
    let alarm = &found["MetricAlarms"][0];
    assert_eq!((&alarm["Threshold"], &alarm["StateValue"]), (&json!(5.0), &json!("ALARM")));
    assert_eq!(alarm["StateUpdatedTimestamp"].as_f64().unwrap() as i64, START / 1_000);
}

#[tokio::test]
async fn names_that_no_alarm_has_are_the_callers_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for (operation, input) in [
        ("DeleteAlarms", json!({"AlarmNames": ["a\0"]})),
        ("DeleteAlarms", json!({"AlarmNames": []})),
        ("EnableAlarmActions", json!({"AlarmNames": [""]})),
        ("DescribeAlarms", json!({"NextToken": "a\0"})),
        ("DescribeAlarms", json!({"MaxRecords": 101})),
        ("DescribeAlarmHistory", json!({"AlarmName": "a\0"})),
        ("DescribeAlarmHistory", json!({"NextToken": "x"})),
        ("SetAlarmState", json!({"AlarmName": "a\0", "StateValue": "OK", "StateReason": ""})),
        (
            "ListTagsForResource",
            json!({"ResourceARN": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:a\0"}),
        ),
    ] {
        let refused = node.metrics(operation, input.clone()).await.unwrap_err();
        assert!(!refused.contains("InternalServiceFault"), "{operation} {input}: {refused}");
    }
}
