//! How long traces are kept, and how many; datagrams that wait.

use crate::harness::{DAY, Node, START};
use base::{AccountId, RequestId, Version, VersionKey};
use serde_json::{Value, json};
use telemetry::Settings;

fn document(number: i64) -> String {
    let seconds = START / 1_000 + number;
    json!({
        "id": format!("{number:016x}"), "trace_id": format!("1-{seconds:08x}-{number:024x}"), "name": "shop",
        "start_time": seconds, "end_time": seconds + 1,
    })
    .to_string()
}

async fn put(node: &Node, numbers: std::ops::Range<i64>) {
    let documents: Vec<String> = numbers.map(document).collect();
    for documents in documents.chunks(500) {
        let (status, body) = node.post("/TraceSegments", json!({ "TraceSegmentDocuments": documents })).await;
        assert_eq!((status, body), (200, json!({ "UnprocessedTraceSegments": [] })));
    }
}

/// The numbers of the traces that are there, in the order of their begin.
async fn kept(node: &Node) -> Vec<i64> {
    let (start, mut token, mut all) = (START / 1_000, Value::Null, Vec::new());
    loop {
        let input = json!({ "StartTime": start, "EndTime": start + 21_600, "NextToken": token });
        let (status, page) = node.post("/TraceSummaries", input).await;
        assert_eq!(status, 200, "{page}");
        let ids = page["TraceSummaries"].as_array().unwrap().iter().map(|one| one["Id"].as_str().unwrap());
        all.extend(ids.map(|id| i64::from_str_radix(&id[11..], 16).unwrap()));
        token = page["NextToken"].clone();
        if token.is_null() {
            return all;
        }
    }
}

#[tokio::test]
async fn traces_are_kept_for_a_month() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    put(&node, 0..600).await;
    node.pass(20 * DAY);
    put(&node, 600..602).await;
    node.telemetry.clear().await.unwrap();
    assert_eq!(kept(&node).await, Vec::from_iter(0..602));
    node.pass(11 * DAY);
    node.telemetry.clear().await.unwrap();
    assert_eq!(kept(&node).await, [600, 601]);
}

#[tokio::test]
async fn the_oldest_go_first_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::with(folder.path(), Settings { segments_max: 3, ..Settings::default() });
    put(&node, 0..700).await;
    node.telemetry.clear().await.unwrap();
    assert_eq!(kept(&node).await, [697, 698, 699]);
}

#[tokio::test]
async fn datagrams_are_seen_at_once_and_what_is_none_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let key = VersionKey {
        account: AccountId::DEFAULT,
        region: crate::harness::region(),
        name: "f".parse().unwrap(),
        version: Version::Latest,
        revision: RequestId::from_random([1; 16]),
        tenant: None,
    };
    let header = "{\"format\":\"json\",\"version\":1}\n";
    for number in 0..1_200 {
        node.telemetry.trace_datagram(&key, format!("{header}{}", document(number)).as_bytes());
    }
    node.telemetry.trace_datagram(&key, b"{}");
    node.telemetry.trace_datagram(&key, header.as_bytes());
    assert_eq!(kept(&node).await.len(), 1_200);
    assert_eq!(node.telemetry.trace_datagrams_dropped(), 2);
    // What does not fit is lost, and nobody waits.
    let large = format!(
        "{header}{}",
        document(1).replace("shop\"", &format!("shop\",\"metadata\":\"{}\"", "x".repeat(60_000)))
    );
    for _ in 0..200 {
        node.telemetry.trace_datagram(&key, large.as_bytes());
    }
    assert!(node.telemetry.trace_datagrams_dropped() > 50);
    node.telemetry.flush().await.unwrap();
    node.telemetry.trace_datagram(&key, format!("{header}{}", document(1_200)).as_bytes());
    assert_eq!(kept(&node).await.len(), 1_201);
}
