//! A store that cannot be written: what waits is kept, nothing is acknowledged that is not there, and all of it is there once
//! afterwards. While there is a row in a table of the test's own, nothing can be put into telemetry's tables, on both back ends.

use crate::harness::{Node, START, messages};
use base::*;
use serde_json::json;
use std::{path::Path, time::Duration};
use store::{Migration, params};
use telemetry::Settings;

const TABLES: [&str; 4] = ["log_chunks", "usage", "metric_points", "trace_segments"];

/// On a database that can be made to fail.
fn open(folder: &Path, settings: Settings) -> Node {
    let (mut sqlite, mut postgres) =
        ("CREATE TABLE fault (id INTEGER PRIMARY KEY);".to_owned(), String::new());
    postgres.push_str(
        "CREATE TABLE fault (id BIGINT PRIMARY KEY);
         CREATE FUNCTION check_fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT 1 FROM fault) THEN RAISE EXCEPTION 'the disk fails'; END IF;
             RETURN NEW;
         END $$;",
    );
    for table in TABLES {
        let trigger = format!("CREATE TRIGGER fault_{table} BEFORE INSERT ON {table}");
        sqlite.push_str(&format!(
            "{trigger} WHEN EXISTS (SELECT 1 FROM fault) BEGIN SELECT RAISE(ABORT, 'the disk fails'); END;"
        ));
        postgres.push_str(&format!("{trigger} FOR EACH ROW EXECUTE FUNCTION check_fault();"));
    }
    let id = telemetry::MIGRATIONS.last().unwrap().id + 1;
    let fault = Migration::spelled(id, "faults", sqlite.leak(), postgres.leak());
    let migrations: Vec<_> = telemetry::MIGRATIONS.iter().copied().chain([fault]).collect();
    Node::on(folder, settings, migrations.leak())
}

async fn fail(node: &Node) {
    let begun = node.db.write(|tx| tx.execute("INSERT INTO fault (id) VALUES (1)", params![]));
    begun.await.unwrap();
}

async fn recover(node: &Node) {
    node.db.write(|tx| tx.execute("DELETE FROM fault", params![])).await.unwrap();
}

fn key() -> VersionKey {
    VersionKey {
        account: AccountId::DEFAULT,
        region: "us-east-1".parse().unwrap(),
        name: "f".parse().unwrap(),
        version: Version::Published(1),
        revision: RequestId::from_random([1; 16]),
        tenant: None,
    }
}

/// One invocation with a log line, a metric in it, and a segment.
fn work(node: &Node, number: u32) {
    let line = json!({"number": number, "orders": 1, "_aws": {"Timestamp": START, "CloudWatchMetrics": [
        {"Namespace": "n", "Dimensions": [[]], "Metrics": [{"Name": "orders"}]}]}});
    node.log("g", "s", &[(START, &line.to_string())]);
    let record = InvocationRecord {
        key: key(),
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f:1".into(),
        request_id: RequestId::from_random([2; 16]),
        architecture: "x86_64".into(),
        at: Timestamp(START),
        memory: MemoryMib(1024),
        scratch: MemoryMib(512),
        memory_used_bytes: 1 << 20,
        init: Micros(0),
        run: Micros(1_000_000),
        billed: Millis(1_000),
        provisioned: false,
        cold: None,
        outcome: Outcome::Success,
        waited: Micros(0),
        traced: None,
    };
    node.telemetry.record(record);
    let seconds = START / 1_000;
    let segment = json!({"id": format!("{number:016x}"), "trace_id": format!("1-{seconds:08x}-{number:024x}"),
        "name": "f", "start_time": seconds, "end_time": seconds + 1});
    let datagram = format!("{}\n{segment}", json!({"format": "json", "version": 1}));
    node.telemetry.trace_datagram(&key(), datagram.as_bytes());
}

/// What is there of it: log lines, invocations and reserved GB-seconds charged, orders counted, traces.
async fn there(node: &Node) -> (usize, u64, f64, f64, usize) {
    let page =
        node.logs("GetLogEvents", json!({"logGroupName": "g", "logStreamName": "s", "startFromHead": true}));
    let lines = messages(&page.await.unwrap()).len();
    let (_, usage) = node.get("/_neap/v1/usage").await;
    let book = &usage["books"][0];
    let statistics = json!({"Namespace": "n", "MetricName": "orders", "Period": 60, "Statistics": ["Sum"],
        "StartTime": START / 1_000, "EndTime": START / 1_000 + 60});
    let orders = node.metrics("GetMetricStatistics", statistics).await.unwrap();
    let summaries = json!({"StartTime": START / 1_000, "EndTime": START / 1_000 + 3_600});
    let (_, traces) = node.post("/TraceSummaries", summaries).await;
    (
        lines,
        book["requests"].as_u64().unwrap(),
        book["reserved_gb_seconds"].as_f64().unwrap(),
        orders["Datapoints"][0]["Sum"].as_f64().unwrap_or_default(),
        traces["TraceSummaries"].as_array().unwrap().len(),
    )
}

fn reserved(count: u32) -> Vec<Reserved> {
    vec![Reserved { key: key(), architecture: "x86_64".into(), memory: MemoryMib(1024), count }]
}

#[tokio::test]
async fn a_failing_store_loses_nothing_and_acknowledges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = open(folder.path(), Settings::default());
    work(&node, 1);
    node.telemetry.flush().await.unwrap();
    node.logs("CreateLogStream", json!({"logGroupName": "g", "logStreamName": "put"})).await.unwrap();
    fail(&node).await;
    for number in 2..5 {
        work(&node, number);
        node.telemetry.reserved(reserved(number)).await;
        assert!(node.telemetry.flush().await.is_err());
    }
    // What asks for an answer is told that it failed.
    let events = json!([{"timestamp": START, "message": "put"}]);
    let put = json!({"logGroupName": "g", "logStreamName": "put", "logEvents": events});
    assert!(node.logs("PutLogEvents", put).await.is_err());
    let datum = json!([{"MetricName": "orders", "Value": 1, "Timestamp": START / 1_000}]);
    assert!(node.metrics("PutMetricData", json!({"Namespace": "n", "MetricData": datum})).await.is_err());
    assert_ne!(node.get("/_neap/v1/usage").await.0, 200);
    recover(&node).await;
    // Each change of what is reserved began a step: of 2, 3 and 4 environments.
    assert_eq!(there(&node).await, (4, 4, 9.0 * 300.0, 4.0, 4));
    // And it is in the store: a node that comes after kill -9 finds the same, once.
    node.telemetry.flush().await.unwrap();
    drop(node);
    assert_eq!(there(&open(folder.path(), Settings::default())).await, (4, 4, 9.0 * 300.0, 4.0, 4));
}

#[tokio::test]
async fn flushes_in_the_background_recover_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let soon = Duration::from_millis(1);
    let settings =
        Settings { log_flush: soon, usage_flush: soon, metrics_flush: soon, ..Settings::default() };
    let node = open(folder.path(), settings);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(node.telemetry.clone().run(async { drop(stopped.await) }));
    fail(&node).await;
    work(&node, 1);
    let failures = || {
        let text = node.telemetry.prometheus(&[]);
        let line = text.lines().find(|line| line.starts_with("neap_telemetry_flush_failures_total "));
        line.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or_default()
    };
    // Logs, usage and metrics, and one of them again.
    while failures() < 4 {
        tokio::time::sleep(soon).await;
    }
    recover(&node).await;
    let stored = || async {
        let count = |tx: &mut store::Tx<'_>| {
            let mut counts = Vec::new();
            for table in TABLES {
                let sql = format!("SELECT COUNT(*) FROM {table}");
                counts.extend(tx.query(&sql, params![], |row| row.get::<i64>(0))?);
            }
            Ok::<_, store::Error>(counts)
        };
        node.db.read(count).await.unwrap()
    };
    while stored().await.contains(&0) {
        tokio::time::sleep(soon).await;
    }
    assert_eq!(there(&node).await, (1, 1, 0.0, 1.0, 1));
    drop(stop);
    running.await.unwrap();
}
