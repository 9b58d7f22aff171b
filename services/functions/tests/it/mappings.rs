//! Event source mappings of queues.

use crate::support::{Act, ROLE, World, eventually};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

const PATH: &str = "/2015-03-31/event-source-mappings";

impl World {
    async fn map(&self, function: &str, queue: &str, more: Value) -> Value {
        let mut body = json!({ "FunctionName": function, "EventSourceArn": queue });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = self.call("POST", PATH, body).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.json()
    }

    async fn mapping(&self, id: &str) -> Value {
        self.call("GET", &format!("{PATH}/{id}"), Value::Null).await.json()
    }

    async fn settles(&self, id: &str, state: &str) {
        eventually(state, async || self.mapping(id).await["State"] == state).await;
    }

    /// Bodies that the function was invoked with, by invocation.
    fn batches(&self) -> Vec<Vec<String>> {
        let calls = self.execute.calls.lock().unwrap();
        calls
            .iter()
            .map(|(_, call)| {
                let event: Value = serde_json::from_slice(&call.payload).unwrap();
                let records = event["Records"].as_array().unwrap().iter();
                records.map(|record| record["body"].as_str().unwrap().to_owned()).collect()
            })
            .collect()
    }
}

fn uuid(mapping: &Value) -> String {
    mapping["UUID"].as_str().unwrap().to_owned()
}

/// A world with the function `hello` and the queue `q` of 30 s.
async fn world() -> (World, String) {
    let world = World::new();
    world.create("hello").await.ok();
    let queue = world.queues.create("q", 30);
    (world, queue)
}

#[tokio::test]
async fn a_mapping_is_created_settles_and_is_deleted() {
    let (mut world, queue) = world().await;
    let made = world.map("hello", &queue, json!({})).await;
    let id = uuid(&made);
    let mut shown = made.clone();
    assert!(shown["LastModified"].is_f64());
    shown.as_object_mut().unwrap().remove("LastModified");
    assert_eq!(
        shown,
        json!({
            "UUID": id,
            "EventSourceMappingArn": format!("arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{id}"),
            "EventSourceArn": queue,
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:hello",
            "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
            "State": "Creating", "StateTransitionReason": "USER_INITIATED",
        })
    );
    world.run_mappings();
    world.settles(&id, "Enabled").await;
    let path = format!("{PATH}/{id}");
    let updated = world.call("PUT", &path, json!({ "Enabled": false })).await;
    assert_eq!((updated.status, &updated.json()["State"]), (202, &json!("Disabling")));
    world.settles(&id, "Disabled").await;
    let updated = world.call("PUT", &path, json!({ "Enabled": true, "BatchSize": 5 })).await.ok();
    assert_eq!((&updated["State"], &updated["BatchSize"]), (&json!("Enabling"), &json!(5)));
    world.settles(&id, "Enabled").await;
    let deleted = world.call("DELETE", &path, Value::Null).await;
    assert_eq!((deleted.status, &deleted.json()["State"]), (202, &json!("Deleting")));
    eventually("gone", async || world.call("GET", &path, Value::Null).await.status == 404).await;
    let again = world.call("DELETE", &path, Value::Null).await;
    again.refused(404, "ResourceNotFoundException", "The resource you requested does not exist.");
}

#[tokio::test]
async fn what_could_not_work_is_refused() {
    let (world, queue) = world().await;
    world.create_with("slow", json!({ "Timeout": 60 })).await.ok();
    let create = async |function: &str, queue: &str| {
        let body = json!({ "FunctionName": function, "EventSourceArn": queue });
        world.call("POST", PATH, body).await
    };
    create("slow", &queue).await.refused(
        400,
        "InvalidParameterValueException",
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
    );
    create("none", &queue).await.refused(
        404,
        "ResourceNotFoundException",
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:none",
    );
    let missing = create("hello", "arn:aws:sqs:us-east-1:000000000000:none").await.error();
    assert!(missing.2.contains("AWS.SimpleQueueService.NonExistentQueue"), "{missing:?}");
    let stream = create("hello", "arn:aws:kinesis:us-east-1:000000000000:stream/s").await.error();
    assert!(stream.2.contains("EventSourceArn is not supported by Neap"), "{stream:?}");
    world.queues.denied.lock().unwrap().insert("x".to_owned());
    create("hello", &queue).await.refused(
        400,
        "InvalidParameterValueException",
        "The provided execution role does not have permissions to call ReceiveMessage on SQS",
    );
    world.queues.denied.lock().unwrap().clear();
    let id = uuid(&world.map("hello", &queue, json!({})).await);
    create("hello", &queue).await.refused(
        409,
        "ResourceConflictException",
        &format!(
            "An event source mapping with SQS arn (\" {queue} \") and function (\" hello \") already exists. Please update or delete the existing mapping with UUID {id}"
        ),
    );
    // Nobody has settled it yet.
    world.call("PUT", &format!("{PATH}/{id}"), json!({ "BatchSize": 1 })).await.refused(
        400,
        "ResourceInUseException",
        "Cannot update the event source mapping because it is in use.",
    );
}

#[tokio::test]
async fn mappings_are_listed_by_queue_and_function_and_have_tags() {
    let (world, queue) = world().await;
    world.create("other").await.ok();
    let second = world.queues.create("r", 30);
    let tagged = world.map("hello", &queue, json!({ "Tags": { "a": "1" } })).await;
    world.map("other", &queue, json!({})).await;
    world.map("hello", &second, json!({})).await;
    let count = async |query: &str| {
        let listed = world.call("GET", &format!("{PATH}{query}"), Value::Null).await.ok();
        listed["EventSourceMappings"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 3);
    assert_eq!(count("?FunctionName=hello").await, 2);
    assert_eq!(count(&format!("?EventSourceArn={queue}")).await, 2);
    assert_eq!(count(&format!("?EventSourceArn={queue}&FunctionName=hello")).await, 1);
    let first = world.call("GET", &format!("{PATH}?MaxItems=2"), Value::Null).await.ok();
    let marker = first["NextMarker"].as_str().unwrap();
    assert_eq!(count(&format!("?MaxItems=2&Marker={marker}")).await, 1);
    let arn = tagged["EventSourceMappingArn"].as_str().unwrap();
    let tags = format!("/2017-03-31/tags/{}", arn.replace(':', "%3A"));
    world.call("POST", &tags, json!({ "Tags": { "b": "2" } })).await.ok();
    world.call("DELETE", &format!("{tags}?tagKeys=a"), Value::Null).await.ok();
    let shown = world.call("GET", &tags, Value::Null).await.ok();
    assert_eq!(shown, json!({ "Tags": { "b": "2" } }));
}

#[tokio::test]
async fn messages_reach_the_function_and_are_deleted_and_an_idle_mapping_does_not_poll() {
    let (mut world, queue) = world().await;
    world.run_mappings();
    let id = uuid(&world.map("hello", &queue, json!({})).await);
    world.settles(&id, "Enabled").await;
    for n in 0..12 {
        world.queues.send("q", &n.to_string());
    }
    eventually("all gone", async || world.queues.left("q").is_empty()).await;
    let mut seen: Vec<String> = world.batches().into_iter().flatten().collect();
    seen.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(seen, (0..12).map(|n| n.to_string()).collect::<Vec<_>>());
    let role = world.queues.asked_by.lock().unwrap().clone().unwrap().arn();
    assert_eq!(role, "arn:aws:sts::000000000000:assumed-role/x/hello");
    let counts = world.functions.mapping_counts();
    assert_eq!((counts.polled, counts.deleted, counts.failed), (12, 12, 0));
    // Time alone makes nobody ask.
    eventually("idle", async || {
        let before = *world.queues.receives.lock().unwrap();
        tokio::task::yield_now().await;
        before == *world.queues.receives.lock().unwrap()
    })
    .await;
    let before = *world.queues.receives.lock().unwrap();
    world.pass(3_600_000);
    world.queues.create("unrelated", 30);
    eventually("woken", async || *world.queues.receives.lock().unwrap() > before).await;
    assert_eq!(*world.queues.receives.lock().unwrap(), before + 1);
}

#[tokio::test]
async fn failed_batches_come_again_after_the_visibility_timeout() {
    let (mut world, queue) = world().await;
    world.execute.script(|_, _| Act::Fail);
    world.run_mappings();
    world.map("hello", &queue, json!({})).await;
    world.queues.send("q", "a");
    eventually("failed", async || world.functions.mapping_counts().failed == 1).await;
    assert_eq!(world.queues.hidden("q"), ["a"]);
    world.execute.script(|_, _| Act::Echo);
    world.pass(29_999);
    tokio::task::yield_now().await;
    assert_eq!(world.execute.count("hello"), 1);
    world.pass(1);
    eventually("gone", async || world.queues.left("q").is_empty()).await;
    assert_eq!(world.batches(), [["a"], ["a"]]);
}

#[tokio::test]
async fn reported_failures_come_again_and_the_rest_is_deleted() {
    let (mut world, queue) = world().await;
    let answer = r#"{"batchItemFailures":[{"itemIdentifier":"id-b"}]}"#;
    world.execute.script(move |_, _| Act::Answer(answer.to_owned()));
    for body in ["a", "b", "c"] {
        world.queues.send("q", body);
    }
    world.run_mappings();
    let types = json!({ "FunctionResponseTypes": ["ReportBatchItemFailures"] });
    let made = world.map("hello", &queue, types).await;
    assert_eq!(made["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    eventually("worked on", async || world.functions.mapping_counts().deleted == 2).await;
    assert_eq!(world.queues.left("q"), [("b".to_owned(), 1)]);
    assert_eq!(world.queues.hidden("q"), ["b"]);
}

#[tokio::test]
async fn without_reporting_the_answer_does_not_matter() {
    let (mut world, queue) = world().await;
    let answer = r#"{"batchItemFailures":[{"itemIdentifier":"id-a"}]}"#;
    world.execute.script(move |_, _| Act::Answer(answer.to_owned()));
    world.queues.send("q", "a");
    world.run_mappings();
    world.map("hello", &queue, json!({})).await;
    eventually("gone", async || world.queues.left("q").is_empty()).await;
}

#[tokio::test]
async fn refused_invocations_are_tried_again_without_being_received_again() {
    let (mut world, queue) = world().await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    world.execute.script(move |_, _| match counted.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Act::Throttle,
        _ => Act::Echo,
    });
    world.queues.send("q", "a");
    world.run_mappings();
    world.map("hello", &queue, json!({})).await;
    for (tried, wait) in [(1, 1_000), (2, 2_000)] {
        eventually("refused", async || world.functions.mapping_counts().refused == tried).await;
        eventually("tried again", async || {
            world.pass(wait / 4);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            tries.load(Ordering::SeqCst) > tried as u32
        })
        .await;
    }
    eventually("gone", async || world.queues.left("q").is_empty()).await;
    assert_eq!((tries.load(Ordering::SeqCst), world.functions.mapping_counts().polled), (3, 1));
}

#[tokio::test]
async fn messages_that_no_filter_wants_are_deleted() {
    let (mut world, queue) = world().await;
    for body in [r#"{"kind":"a"}"#, r#"{"kind":"b"}"#, "plain"] {
        world.queues.send("q", body);
    }
    world.run_mappings();
    let filters = json!({ "FilterCriteria": { "Filters": [{ "Pattern": r#"{"body":{"kind":["a"]}}"# }] } });
    let made = world.map("hello", &queue, filters.clone()).await;
    assert_eq!(made["FilterCriteria"], filters["FilterCriteria"]);
    eventually("all gone", async || world.queues.left("q").is_empty()).await;
    assert_eq!(world.batches(), [[r#"{"kind":"a"}"#]]);
    assert_eq!(world.functions.mapping_counts().filtered, 2);
}

#[tokio::test]
async fn groups_of_a_fifo_queue_stay_in_order_through_failures() {
    let (mut world, _) = world().await;
    let queue = world.queues.create("q.fifo", 30);
    for (body, group) in [("1", "x"), ("2", "x"), ("3", "y"), ("4", "x")] {
        world.queues.send_with("q.fifo", body, Some(group), None);
    }
    let first = Arc::new(AtomicU32::new(0));
    world.execute.script(move |_, _| match first.fetch_add(1, Ordering::SeqCst) {
        0 => Act::Answer(r#"{"batchItemFailures":[{"itemIdentifier":"id-2"}]}"#.to_owned()),
        _ => Act::Answer("null".to_owned()),
    });
    world.run_mappings();
    world.map("hello", &queue, json!({ "FunctionResponseTypes": ["ReportBatchItemFailures"] })).await;
    eventually("worked on", async || world.functions.mapping_counts().deleted == 2).await;
    assert_eq!(world.queues.hidden("q.fifo"), ["2", "4"]);
    world.queues.send_with("q.fifo", "5", Some("x"), None);
    world.pass(30_000);
    eventually("all gone", async || world.queues.left("q.fifo").is_empty()).await;
    assert_eq!(world.batches(), [vec!["1", "2", "3", "4"], vec!["2", "4", "5"]]);
}

#[tokio::test]
async fn a_window_gathers_a_batch() {
    let (mut world, queue) = world().await;
    world.run_mappings();
    let more = json!({ "BatchSize": 100, "MaximumBatchingWindowInSeconds": 20 });
    let id = uuid(&world.map("hello", &queue, more).await);
    world.settles(&id, "Enabled").await;
    world.queues.send("q", "a");
    eventually("received", async || world.functions.mapping_counts().polled == 1).await;
    world.pass(10_000);
    world.queues.send("q", "b");
    eventually("received", async || world.functions.mapping_counts().polled == 2).await;
    assert_eq!(world.execute.count("hello"), 0);
    world.pass(10_000);
    eventually("all gone", async || world.queues.left("q").is_empty()).await;
    assert_eq!(world.batches(), [["a", "b"]]);
}

#[tokio::test]
async fn a_maximum_of_concurrency_holds_and_nothing_more_is_received() {
    let (mut world, queue) = world().await;
    world.execute.script(|_, _| Act::Hang);
    for n in 0..30 {
        world.queues.send("q", &n.to_string());
    }
    world.run_mappings();
    let more = json!({ "BatchSize": 3, "ScalingConfig": { "MaximumConcurrency": 2 } });
    let made = world.map("hello", &queue, more).await;
    assert_eq!(made["ScalingConfig"], json!({ "MaximumConcurrency": 2 }));
    eventually("running", async || world.execute.count("hello") == 2).await;
    world.pass(20_000);
    tokio::task::yield_now().await;
    assert_eq!((world.execute.count("hello"), world.queues.hidden("q").len()), (2, 6));
}

#[tokio::test]
async fn a_backlog_makes_pollers_grow() {
    let (mut world, queue) = world().await;
    world.execute.script(|_, _| Act::Hang);
    for n in 0..30 {
        world.queues.send("q", &n.to_string());
    }
    world.run_mappings();
    world.map("hello", &queue, json!({ "BatchSize": 1 })).await;
    eventually("at first", async || world.execute.count("hello") == 5).await;
    eventually("more", async || {
        world.pass(200);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        world.execute.count("hello") == 30
    })
    .await;
}

#[tokio::test]
async fn problems_are_shown_and_go_away() {
    let (mut world, queue) = world().await;
    let id = uuid(&world.map("hello", &queue, json!({})).await);
    world.queues.remove("q");
    world.run_mappings();
    let result = async || world.mapping(&id).await["LastProcessingResult"].to_string();
    eventually("shown", async || result().await.contains("PROBLEM: Error occurred while ReceiveMessage"))
        .await;
    world.queues.create("q", 30);
    world.queues.send("q", "a");
    eventually("received", async || {
        world.pass(1_000);
        world.queues.left("q").is_empty()
    })
    .await;
    eventually("well", async || result().await == "null").await;
    let deleted = world.call("DELETE", "/2015-03-31/functions/hello", Value::Null).await;
    assert_eq!(deleted.status, 204);
    world.queues.send("q", "b");
    eventually("shown", async || result().await.contains("PROBLEM: Function not found")).await;
    assert_eq!(world.queues.left("q"), [("b".to_owned(), 0)]);
}

#[tokio::test]
async fn messages_that_have_gone_round_too_often_are_left_to_the_queue() {
    let (mut world, queue) = world().await;
    world.run_mappings();
    world.map("hello", &queue, json!({})).await;
    world.queues.send("q", "a");
    eventually("gone", async || world.queues.left("q").is_empty()).await;
    let mut trace = world.execute.calls.lock().unwrap()[0].1.trace.clone().unwrap();
    for hop in 1..17 {
        world.queues.send_with("q", &hop.to_string(), None, Some(trace.clone()));
        if hop == 16 {
            break;
        }
        eventually("gone", async || world.queues.left("q").is_empty()).await;
        trace = world.execute.calls.lock().unwrap().last().unwrap().1.trace.clone().unwrap();
    }
    eventually("stopped", async || world.functions.mapping_counts().looped == 1).await;
    assert_eq!((world.execute.count("hello"), world.queues.hidden("q")), (16, vec!["16".to_owned()]));
}

#[tokio::test]
async fn after_a_crash_messages_come_again_and_mappings_go_on() {
    let (mut world, queue) = world().await;
    world.execute.script(|_, _| Act::Hang);
    world.run_mappings();
    let id = uuid(&world.map("hello", &queue, json!({})).await);
    world.queues.send("q", "a");
    eventually("running", async || world.execute.count("hello") == 1).await;
    world.restart().await;
    world.execute.script(|_, _| Act::Echo);
    world.run_mappings();
    world.pass(30_000);
    eventually("gone", async || world.queues.left("q").is_empty()).await;
    world.settles(&id, "Enabled").await;
}

#[tokio::test]
async fn a_stopping_node_gives_back_what_waits_and_finishes_what_runs() {
    let (world, queue) = world().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(Arc::clone(&world.functions).run_mappings(async {
        let _ = stopped.await;
    }));
    world.map("hello", &queue, json!({ "MaximumBatchingWindowInSeconds": 20 })).await;
    world.queues.send("q", "a");
    eventually("received", async || world.queues.hidden("q") == ["a"]).await;
    stop.send(()).unwrap();
    task.await.unwrap();
    assert!(world.queues.hidden("q").is_empty());
    assert_eq!((world.execute.count("hello"), ROLE), (0, "arn:aws:iam::000000000000:role/x"));
}
