//! Logs, as clients see them.

use crate::harness::*;
use base::{AccountId, LogEvent, LogSink, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;
use store::params;
use telemetry::Settings;

fn page_of(group: &str, stream: &str) -> Value {
    json!({"logGroupName": group, "logStreamName": stream})
}

fn with(mut input: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        input[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn what_a_function_logs_is_visible_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.log(
        "/aws/lambda/f",
        "2026/11/21/[$LATEST]1",
        &[(START, "one"), (START, "two"), (START + 1, "three")],
    );
    let read = json!({"logGroupName": "/aws/lambda/f"});
    assert_eq!(messages(&node.logs("FilterLogEvents", read.clone()).await.unwrap()), ["one", "two", "three"]);
    let groups = node.logs("DescribeLogGroups", json!({})).await.unwrap();
    assert_eq!(
        groups["logGroups"][0]["arn"],
        "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f:*"
    );
    assert_eq!(groups["logGroups"][0]["storedBytes"], 11 + 3 * 26);
    drop(node);
    let node = Node::open(folder.path());
    let identifier =
        json!({"logGroupIdentifier": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f"});
    assert_eq!(messages(&node.logs("FilterLogEvents", identifier).await.unwrap()), ["one", "two", "three"]);
}

#[tokio::test]
async fn the_background_flush_stores_what_waits_and_ends_with_a_last_flush() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { log_flush: Duration::from_millis(1), ..Settings::default() };
    let node = Node::with(folder.path(), settings);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(node.telemetry.clone().run(async move { drop(stopped.await) }));
    let chunks =
        || node.db.read(|tx| tx.query("SELECT id FROM log_chunks", params![], |row| row.get::<i64>(0)));
    node.log("g", "s", &[(START, "first")]);
    while chunks().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    node.log("g", "s", &[(START, "last")]);
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!(chunks().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_buffer_drops_counts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::with(folder.path(), Settings { log_buffer_bytes: 4_000, ..Settings::default() });
    let lines: Vec<(i64, &str)> = (0..50).map(|_| (START, "0123456789")).collect();
    node.log("g", "s", &lines);
    node.log("a b", "s", &lines);
    let all = messages(&node.logs("FilterLogEvents", json!({"logGroupName": "g"})).await.unwrap());
    assert_eq!(all.len(), 14);
    assert!(all[13].contains("37 log events (370 bytes) were dropped"), "{}", all[13]);
    assert!(node.telemetry.prometheus(&[]).contains("neap_log_events_dropped_total 87\n"));
}

#[tokio::test]
async fn a_stream_is_read_in_both_directions_and_its_ends_repeat_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let lines: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    for (i, line) in lines.iter().enumerate() {
        node.log("g", "s", &[(START + i as i64, line)]);
    }
    let read = |members: Value| node.logs("GetLogEvents", with(page_of("g", "s"), members));

    let head = read(json!({"startFromHead": true, "limit": 4})).await.unwrap();
    assert_eq!(messages(&head), ["0", "1", "2", "3"]);
    let next = read(json!({"startFromHead": true, "nextToken": head["nextForwardToken"]})).await.unwrap();
    assert_eq!(messages(&next), ["4", "5", "6", "7", "8", "9"]);
    let end = read(json!({"startFromHead": true, "nextToken": next["nextForwardToken"]})).await.unwrap();
    assert!(messages(&end).is_empty());
    assert_eq!(end["nextForwardToken"], next["nextForwardToken"]);
    // Back from the end: what was read last.
    let back = read(json!({"nextToken": end["nextBackwardToken"], "limit": 3})).await.unwrap();
    assert_eq!(messages(&back), ["7", "8", "9"]);

    let tail = read(json!({"limit": 3})).await.unwrap();
    assert_eq!(messages(&tail), ["7", "8", "9"]);
    let before = read(json!({"nextToken": tail["nextBackwardToken"]})).await.unwrap();
    assert_eq!(messages(&before), ["0", "1", "2", "3", "4", "5", "6"]);
    let start = read(json!({"nextToken": before["nextBackwardToken"]})).await.unwrap();
    assert_eq!(start["nextBackwardToken"], before["nextBackwardToken"]);

    // Following: the token of the end finds what comes later.
    node.log("g", "s", &[(START + 100, "new")]);
    let follow = read(json!({"startFromHead": true, "nextToken": end["nextForwardToken"]})).await.unwrap();
    assert_eq!(messages(&follow), ["new"]);

    // The end is not included.
    let between =
        read(json!({"startTime": START + 2, "endTime": START + 4, "startFromHead": true})).await.unwrap();
    assert_eq!(messages(&between), ["2", "3"]);
    assert_eq!(read(json!({"nextToken": "x"})).await.unwrap_err(), "InvalidParameterException");
    assert_eq!(
        node.logs("GetLogEvents", page_of("g", "none")).await.unwrap_err(),
        "ResourceNotFoundException"
    );
    assert_eq!(
        node.logs("GetLogEvents", page_of("none", "s")).await.unwrap_err(),
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn a_search_interleaves_streams_and_pages() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for i in 0..20 {
        let (stream, line) = (format!("stream-{}", i % 3), i.to_string());
        node.log("g", &stream, &[(START + i, &line)]);
    }
    let search = |members: Value| node.logs("FilterLogEvents", with(json!({"logGroupName": "g"}), members));
    let everything: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let mut found = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let mut token = Value::Null;
    loop {
        let mut input = json!({"limit": 7});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = search(input).await.unwrap();
        found.extend(messages(&page));
        ids.extend(page["events"].as_array().unwrap().iter().map(|event| event["eventId"].to_string()));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((found, ids.len()), (everything, 20));

    let one = search(json!({"logStreamNames": ["stream-1"]})).await.unwrap();
    assert_eq!(messages(&one), ["1", "4", "7", "10", "13", "16", "19"]);
    assert_eq!(one["events"][0]["logStreamName"], "stream-1");
    let two =
        search(json!({"logStreamNames": ["stream-1", "stream-2"], "endTime": START + 5})).await.unwrap();
    assert_eq!(messages(&two), ["1", "2", "4", "5"]);
    let prefix = search(json!({"logStreamNamePrefix": "stream-", "startTime": START + 19})).await.unwrap();
    assert_eq!(messages(&prefix), ["19"]);
    let pattern = search(json!({"filterPattern": "%^1[0-2]$%"})).await.unwrap();
    assert_eq!(messages(&pattern), ["10", "11", "12"]);
    for (members, code) in [
        (json!({"logStreamNames": ["none"]}), "ResourceNotFoundException"),
        (json!({"filterPattern": "{ $.a }"}), "InvalidParameterException"),
        (json!({"logStreamNames": ["a"], "logStreamNamePrefix": "a"}), "InvalidParameterException"),
        (json!({"limit": 10_001}), "InvalidParameterException"),
        (json!({"logGroupIdentifier": "g"}), "InvalidParameterException"),
    ] {
        assert_eq!(search(members.clone()).await.unwrap_err(), code, "{members}");
    }
}

#[tokio::test]
async fn put_events_are_checked_and_refused_by_index() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.logs("CreateLogGroup", json!({"logGroupName": "g"})).await.unwrap();
    let put =
        |events: Value| node.logs("PutLogEvents", with(page_of("g", "s"), json!({"logEvents": events})));
    let event = |at: i64| json!({"timestamp": at, "message": format!("at {at}")});
    assert_eq!(put(json!([event(START)])).await.unwrap_err(), "ResourceNotFoundException");
    node.logs("CreateLogStream", page_of("g", "s")).await.unwrap();
    assert_eq!(
        node.logs("CreateLogStream", page_of("g", "s")).await.unwrap_err(),
        "ResourceAlreadyExistsException"
    );
    for bad in [
        json!([]),
        json!([event(START), event(START - 1)]),
        json!([event(START - DAY - 1), event(START)]),
        json!([{"timestamp": START, "message": ""}]),
        json!([{"timestamp": -1, "message": "x"}]),
        json!([{"timestamp": START}]),
        json!([{"timestamp": START, "message": "x".repeat(1_048_576)}]),
    ] {
        assert_eq!(put(bad).await.unwrap_err(), "InvalidParameterException");
    }
    let refused =
        with(page_of("g", "s"), json!({"logEvents": [event(START)], "entity": {"keyAttributes": {}}}));
    assert_eq!(node.logs("PutLogEvents", refused).await.unwrap_err(), "InvalidParameterException");

    let answer = put(json!([event(0), event(START), event(START + 3 * 3_600_000)])).await.unwrap();
    assert_eq!(
        answer["rejectedLogEventsInfo"],
        json!({"tooNewLogEventStartIndex": 2, "tooOldLogEventEndIndex": 1})
    );
    let large = "x".repeat(1_048_576 - 26);
    assert_eq!(
        put(json!([{"timestamp": START + 1, "message": large}])).await.unwrap()["rejectedLogEventsInfo"],
        Value::Null
    );
    // 1 MiB a page.
    let first = node.logs("FilterLogEvents", json!({"logGroupName": "g"})).await.unwrap();
    assert_eq!(messages(&first), [format!("at {START}")]);
    let rest = json!({"logGroupName": "g", "nextToken": first["nextToken"]});
    assert_eq!(messages(&node.logs("FilterLogEvents", rest).await.unwrap()), [large]);
}

#[tokio::test]
async fn streams_are_listed_by_name_and_by_their_last_event() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for (i, stream) in ["b/2", "a/1", "c/3", "a/2"].iter().enumerate() {
        node.log("g", stream, &[(START + i as i64, "x")]);
    }
    node.logs("CreateLogStream", page_of("g", "empty")).await.unwrap();
    let list = async |members: Value| {
        let mut names = Vec::new();
        let mut input = with(json!({"logGroupName": "g", "limit": 2}), members);
        loop {
            let page = node.logs("DescribeLogStreams", input.clone()).await.unwrap();
            let streams = page["logStreams"].as_array().unwrap().clone();
            names.extend(streams.iter().map(|stream| stream["logStreamName"].as_str().unwrap().to_owned()));
            if page["nextToken"].is_null() {
                return names;
            }
            input["nextToken"] = page["nextToken"].clone();
        }
    };
    assert_eq!(list(json!({})).await, ["a/1", "a/2", "b/2", "c/3", "empty"]);
    assert_eq!(list(json!({"descending": true})).await, ["empty", "c/3", "b/2", "a/2", "a/1"]);
    assert_eq!(list(json!({"logStreamNamePrefix": "a/"})).await, ["a/1", "a/2"]);
    assert_eq!(list(json!({"logStreamNamePrefix": "a/", "descending": true})).await, ["a/2", "a/1"]);
    let by_last = json!({"orderBy": "LastEventTime", "descending": true});
    assert_eq!(list(by_last.clone()).await, ["a/2", "c/3", "a/1", "b/2", "empty"]);
    assert_eq!(list(json!({"orderBy": "LastEventTime"})).await, ["empty", "b/2", "a/1", "c/3", "a/2"]);
    let both = with(with(json!({"logGroupName": "g"}), by_last), json!({"logStreamNamePrefix": "a"}));
    assert_eq!(node.logs("DescribeLogStreams", both).await.unwrap_err(), "InvalidParameterException");

    let page =
        node.logs("DescribeLogStreams", json!({"logGroupName": "g", "logStreamNamePrefix": "a/1"})).await;
    let stream = page.unwrap()["logStreams"][0].clone();
    assert_eq!(stream["lastEventTimestamp"], START + 1);
    assert_eq!(stream["arn"], "arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:a/1");
}

#[tokio::test]
async fn groups_are_listed_by_prefix_pattern_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for name in ["/aws/lambda/a", "/aws/lambda/b_c", "/aws/lambda/bxc", "/other"] {
        node.logs("CreateLogGroup", json!({"logGroupName": name})).await.unwrap();
    }
    let list = async |input: Value| {
        let page = node.logs("DescribeLogGroups", input).await.unwrap();
        let groups = page["logGroups"].as_array().unwrap().clone();
        let names =
            groups.iter().map(|group| group["logGroupName"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (names, page["nextToken"].clone())
    };
    assert_eq!(
        list(json!({"logGroupNamePrefix": "/aws/lambda/b"})).await.0,
        ["/aws/lambda/b_c", "/aws/lambda/bxc"]
    );
    assert_eq!(list(json!({"logGroupNamePattern": "b_c"})).await.0, ["/aws/lambda/b_c"]);
    assert_eq!(list(json!({"logGroupIdentifiers": ["/other", "/none"]})).await.0, ["/other"]);
    let (first, token) = list(json!({"limit": 3})).await;
    assert_eq!(first.len(), 3);
    assert_eq!(list(json!({"limit": 3, "nextToken": token})).await, (vec!["/other".to_owned()], Value::Null));
    for (input, code) in [
        (json!({"logGroupName": "/other"}), "ResourceAlreadyExistsException"),
        (json!({"logGroupName": "a b"}), "InvalidParameterException"),
        (
            json!({"logGroupName": "k", "kmsKeyId": "arn:aws:kms:us-east-1:000000000000:key/k"}),
            "InvalidParameterException",
        ),
        (json!({"logGroupName": "k", "logGroupClass": "DELIVERY"}), "InvalidParameterException"),
        (json!({"logGroupName": "k", "deletionProtectionEnabled": true}), "InvalidParameterException"),
    ] {
        assert_eq!(node.logs("CreateLogGroup", input.clone()).await.unwrap_err(), code, "{input}");
    }
}

#[tokio::test]
async fn retention_hides_at_once_and_clears_later() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.log("g", "old", &[(START - 4 * DAY, "expired")]);
    node.log("g", "mixed", &[(START - 4 * DAY, "expired too"), (START, "kept")]);
    node.logs("CreateLogStream", page_of("g", "own")).await.unwrap();
    let policy = |days: i64| json!({"logGroupName": "g", "retentionInDays": days});
    assert_eq!(node.logs("PutRetentionPolicy", policy(2)).await.unwrap_err(), "InvalidParameterException");
    node.logs("PutRetentionPolicy", policy(3)).await.unwrap();
    let read = async || messages(&node.logs("FilterLogEvents", json!({"logGroupName": "g"})).await.unwrap());
    assert_eq!(read().await, ["kept"]);
    node.telemetry.clear().await.unwrap();
    let streams = node.logs("DescribeLogStreams", json!({"logGroupName": "g"})).await.unwrap();
    let names: Vec<_> =
        streams["logStreams"].as_array().unwrap().iter().map(|s| s["logStreamName"].clone()).collect();
    assert_eq!(names, ["mixed", "own"]);
    assert_eq!(streams["logStreams"][0]["storedBytes"], 4 + 26);

    node.logs("DeleteRetentionPolicy", json!({"logGroupName": "g"})).await.unwrap();
    node.pass(30 * DAY);
    assert_eq!(read().await, ["kept"]);
    let group = node.logs("DescribeLogGroups", json!({})).await.unwrap()["logGroups"][0].clone();
    assert_eq!(group["retentionInDays"], Value::Null);
}

#[tokio::test]
async fn merging_chunks_changes_nothing_that_clients_see() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for i in 0..100 {
        // Out of order, so that chunks overlap.
        let lines = [i.to_string(), format!("late {i}")];
        node.log("g", "s", &[(START + i * 10, &lines[0]), (START + i * 10 - 500, &lines[1])]);
        node.log("g", "t", &[(START + i, "x")]);
        node.telemetry.flush().await.unwrap();
    }
    let search = async || node.logs("FilterLogEvents", json!({"logGroupName": "g"})).await.unwrap();
    let streams = async || node.logs("DescribeLogStreams", json!({"logGroupName": "g"})).await.unwrap();
    let head = with(page_of("g", "s"), json!({"startFromHead": true, "limit": 77}));
    let token = node.logs("GetLogEvents", head).await.unwrap()["nextForwardToken"].clone();
    let rest = with(page_of("g", "s"), json!({"startFromHead": true, "nextToken": token}));
    let before = (search().await, streams().await, node.logs("GetLogEvents", rest.clone()).await.unwrap());
    node.telemetry.clear().await.unwrap();
    let after = (search().await, streams().await, node.logs("GetLogEvents", rest).await.unwrap());
    assert_eq!(before, after);
    let chunks =
        node.db.read(|tx| tx.query("SELECT COUNT(*) FROM log_chunks", params![], |row| row.get::<i64>(0)));
    assert_eq!(chunks.await.unwrap(), [2]);
}

#[tokio::test]
async fn what_is_deleted_is_gone_also_when_its_name_returns() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.log("g", "s", &[(START, "secret")]);
    node.log("g", "t", &[(START, "other")]);
    node.logs("DeleteLogStream", page_of("g", "t")).await.unwrap();
    node.logs("DeleteLogGroup", json!({"logGroupName": "g"})).await.unwrap();
    let search = json!({"logGroupName": "g"});
    assert_eq!(node.logs("FilterLogEvents", search.clone()).await.unwrap_err(), "ResourceNotFoundException");
    node.log("g", "s", &[(START, "new")]);
    assert_eq!(messages(&node.logs("FilterLogEvents", search.clone()).await.unwrap()), ["new"]);
    node.telemetry.clear().await.unwrap();
    assert_eq!(messages(&node.logs("FilterLogEvents", search).await.unwrap()), ["new"]);
    let counted =
        |sql: &'static str| node.db.read(move |tx| tx.query(sql, params![], |row| row.get::<i64>(0)));
    assert_eq!(counted("SELECT COUNT(*) FROM log_chunks").await.unwrap(), [1]);
    assert_eq!(counted("SELECT COUNT(*) FROM log_streams").await.unwrap(), [1]);
    assert_eq!(counted("SELECT COUNT(*) FROM log_trash").await.unwrap(), [0]);
}

#[tokio::test]
async fn tags_are_kept_in_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.logs("CreateLogGroup", json!({"logGroupName": "g", "tags": {"a": "1"}})).await.unwrap();
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g";
    node.logs("TagResource", json!({"resourceArn": arn, "tags": {"b": "2", "a": "3"}})).await.unwrap();
    node.logs("TagLogGroup", json!({"logGroupName": "g", "tags": {"c": ""}})).await.unwrap();
    let list =
        async || node.logs("ListTagsForResource", json!({"resourceArn": arn})).await.unwrap()["tags"].clone();
    assert_eq!(list().await, json!({"a": "3", "b": "2", "c": ""}));
    node.logs("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a", "z"]})).await.unwrap();
    node.logs("UntagLogGroup", json!({"logGroupName": "g", "tags": ["c"]})).await.unwrap();
    assert_eq!(list().await, json!({"b": "2"}));
    assert_eq!(
        node.logs("ListTagsLogGroup", json!({"logGroupName": "g"})).await.unwrap()["tags"],
        json!({"b": "2"})
    );
    let many: serde_json::Map<_, _> = (0..50).map(|i| (format!("k{i}"), json!("v"))).collect();
    let too_many = json!({"resourceArn": arn, "tags": many});
    assert_eq!(node.logs("TagResource", too_many).await.unwrap_err(), "TooManyTagsException");
    let other = json!({"resourceArn": "arn:aws:lambda:us-east-1:000000000000:function:f"});
    assert_eq!(node.logs("ListTagsForResource", other).await.unwrap_err(), "InvalidParameterException");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However events arrive and whatever the size of pages, reading in either direction gives each once, in order.
    #[test]
    fn pages_give_each_event_once_in_order(
        batches in prop::collection::vec(prop::collection::vec(0i64..40, 1..6), 1..8),
        flushed in prop::collection::vec(any::<bool>(), 8),
        limit in 1usize..9,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = Node::open(folder.path());
            let mut expected = Vec::new();
            for (i, batch) in batches.iter().enumerate() {
                let events = batch.iter().map(|at| {
                    let message = format!("{:03}", expected.len());
                    expected.push((*at, message.clone()));
                    LogEvent { at: Timestamp(START + at * 600_000), message }
                });
                let events: Vec<_> = events.collect();
                node.telemetry.append(AccountId::DEFAULT, &region(), "g", "s", events);
                if flushed[i] {
                    node.telemetry.flush().await.unwrap();
                }
            }
            expected.sort();
            let expected: Vec<String> = expected.into_iter().map(|(_, message)| message).collect();
            for forward in [true, false] {
                let (direction, token_name) =
                    if forward { (json!(true), "nextForwardToken") } else { (json!(false), "nextBackwardToken") };
                let mut input = with(page_of("g", "s"), json!({"limit": limit, "startFromHead": direction}));
                let mut found = Vec::new();
                loop {
                    let page = node.logs("GetLogEvents", input.clone()).await.unwrap();
                    let mut messages = messages(&page);
                    if !forward {
                        messages.reverse();
                    }
                    found.extend(messages);
                    if page[token_name] == input["nextToken"] {
                        break;
                    }
                    input["nextToken"] = page[token_name].clone();
                }
                if !forward {
                    found.reverse();
                }
                assert_eq!(found, expected, "forward: {forward}");
            }
            let mut input = json!({"logGroupName": "g", "limit": limit});
            let mut found = Vec::new();
            loop {
                let page = node.logs("FilterLogEvents", input.clone()).await.unwrap();
                found.extend(messages(&page));
                if page["nextToken"].is_null() {
                    break;
                }
                input["nextToken"] = page["nextToken"].clone();
            }
            assert_eq!(found, expected);
        });
    }
}
