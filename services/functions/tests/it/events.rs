//! Asynchronous invocation.

use crate::support::{Act, World, eventually};
use base::Millis;
use functions::EventCounts;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc};

#[tokio::test]
async fn accepted_events_run_once_and_are_gone() {
    let mut world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    world.run_events();
    let id = world.send_event("hello:1", r#"{"n":1}"#).await;
    eventually("run", async || world.functions.event_counts().succeeded == 1).await;
    eventually("gone", async || world.functions.event_counts().backlog == 0).await;
    let calls = world.execute.calls.lock().unwrap();
    assert_eq!(calls.len(), 1);
    let call = &calls[0].1;
    assert_eq!((call.request_id.to_string(), call.payload.as_ref()), (id, br#"{"n":1}"#.as_ref()));
    assert_eq!(&*call.invoked_arn, "arn:aws:lambda:us-east-1:000000000000:function:hello:1");
}

#[tokio::test]
async fn function_errors_are_retried_twice_with_the_same_id() {
    let mut world = World::new();
    world.create("hello").await.ok();
    world.execute.script(|_, _| Act::Fail);
    world.run_events();
    let id = world.send_event("hello", "{}").await;
    eventually("first", async || world.functions.event_counts().failed == 1).await;
    world.pass(59_000);
    tokio::task::yield_now().await;
    assert_eq!(world.execute.count("hello"), 1);
    world.pass(1_000);
    eventually("second", async || world.functions.event_counts().failed == 2).await;
    world.pass(119_000);
    tokio::task::yield_now().await;
    assert_eq!(world.execute.count("hello"), 2);
    world.pass(1_000);
    eventually("given up", async || world.functions.event_counts().dropped_exhausted == 1).await;
    eventually("gone", async || world.functions.event_counts().backlog == 0).await;
    let ids: HashSet<_> =
        world.execute.calls.lock().unwrap().iter().map(|(_, call)| call.request_id.to_string()).collect();
    assert_eq!((ids, world.execute.count("hello")), (HashSet::from([id]), 3));
}

#[tokio::test]
async fn throttled_events_back_off_until_they_run() {
    let mut world = World::new();
    world.create("hello").await.ok();
    world.execute.script(|_, _| Act::Throttle);
    world.run_events();
    world.send_event("hello", "{}").await;
    for (attempt, wait) in [1_000, 2_000, 4_000].into_iter().enumerate() {
        eventually("refused", async || world.functions.event_counts().refused == attempt as u64 + 1).await;
        eventually("waiting", async || {
            world.pass(0);
            world.functions.event_counts().refused == attempt as u64 + 1
        })
        .await;
        world.pass(wait);
    }
    world.execute.script(|_, _| Act::Echo);
    eventually("run", async || {
        world.pass(1_000);
        world.functions.event_counts().succeeded == 1
    })
    .await;
}

#[tokio::test]
async fn events_are_given_up_for_their_age() {
    let mut world = World::new();
    world.create("hello").await.ok();
    world.send_event("hello", "{}").await;
    world.pass(6 * 3_600_000 + 1);
    world.run_events();
    eventually("aged", async || world.functions.event_counts().dropped_aged == 1).await;
    eventually("gone", async || world.functions.event_counts().backlog == 0).await;
    assert_eq!(world.execute.count("hello"), 0);
}

#[tokio::test]
async fn a_blocked_function_does_not_hold_up_others() {
    let bounded = |settings: &mut functions::Settings| {
        settings.events.bounds =
            functions::logic::dispatch::Bounds { node_max: 8, function_max: 4, batch_max: 2 };
    };
    let mut world = World::with(bounded);
    for name in ["hanging", "throttled", "fine"] {
        world.create(name).await.ok();
    }
    world.execute.script(|spec, _| match spec.key.name.as_str() {
        "hanging" => Act::Hang,
        "throttled" => Act::Throttle,
        _ => Act::Echo,
    });
    for _ in 0..50 {
        world.send_event("hanging", "{}").await;
        world.send_event("throttled", "{}").await;
    }
    world.run_events();
    for _ in 0..20 {
        world.send_event("fine", "{}").await;
    }
    eventually("the others run", async || world.functions.event_counts().succeeded == 20).await;
    assert_eq!(world.execute.count("hanging"), 4, "bounded for each function");
    assert!(world.execute.count("throttled") <= 4, "a throttled function rests");
}

#[tokio::test]
async fn events_survive_a_kill_in_every_state() {
    let mut world = World::new();
    world.create("hello").await.ok();
    world.execute.script(|_, _| Act::Hang);
    world.run_events();
    let mut sent = HashSet::new();
    for _ in 0..10 {
        sent.insert(world.send_event("hello", "{}").await);
    }
    eventually("held", async || world.execute.count("hello") == 10).await;
    world.restart().await;
    for _ in 0..10 {
        sent.insert(world.send_event("hello", "{}").await);
    }
    world.restart().await;
    world.execute.calls.lock().unwrap().clear();
    world.execute.script(|_, _| Act::Echo);
    world.run_events();
    eventually("all run", async || world.functions.event_counts().succeeded == 20).await;
    let ran: HashSet<_> =
        world.execute.calls.lock().unwrap().iter().map(|(_, call)| call.request_id.to_string()).collect();
    assert_eq!(ran, sent);
    eventually("all gone", async || world.functions.event_counts().backlog == 0).await;
}

#[tokio::test]
async fn another_node_takes_over_after_the_lease() {
    let mut world = World::with(|settings| settings.events.lease = Millis(60_000));
    world.create("hello").await.ok();
    world.execute.script(|_, _| Act::Hang);
    world.run_events();
    world.send_event("hello", "{}").await;
    eventually("held", async || world.execute.count("hello") == 1).await;
    world.rename("other");
    world.restart().await;
    world.execute.script(|_, _| Act::Echo);
    world.run_events();
    eventually("looked", async || {
        world.pass(0);
        world.execute.count("hello") == 1
    })
    .await;
    world.pass(60_001);
    eventually("run", async || world.functions.event_counts().succeeded == 1).await;
}

#[tokio::test]
async fn events_of_what_cannot_run_are_dropped_and_counted() {
    let mut world = World::new();
    for name in ["off", "deleted"] {
        world.create_with(name, json!({ "Publish": true })).await.ok();
    }
    let off = json!({ "ReservedConcurrentExecutions": 0 });
    world.call("PUT", "/2017-10-31/functions/off/concurrency", off).await.ok();
    world.send_event("off", "{}").await;
    world.send_event("deleted:1", "{}").await;
    world.send_event("deleted", "{}").await;
    world.call("DELETE", "/2015-03-31/functions/deleted", Value::Null).await.ok();
    world.run_events();
    eventually("dropped", async || {
        let EventCounts { backlog, dropped_unrunnable, .. } = world.functions.event_counts();
        (backlog, dropped_unrunnable) == (0, 3)
    })
    .await;
    assert!(world.execute.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_backlog_is_bounded() {
    let world = World::with(|settings| settings.events.backlog_max = 2);
    world.create("hello").await.ok();
    world.send_event("hello", "{}").await;
    world.send_event("hello", "{}").await;
    let reply = world.invoke("hello", &[("x-amz-invocation-type", "Event")], "{}").await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.json()["Reason"], "CallerRateLimitExceeded");
}

#[tokio::test]
async fn stopping_waits_for_what_runs_and_takes_nothing_new() {
    let world = World::new();
    world.create("hello").await.ok();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(Arc::clone(&world.functions).run_events(async {
        let _ = stopped.await;
    }));
    world.send_event("hello", "{}").await;
    eventually("run", async || world.functions.event_counts().succeeded == 1).await;
    drop(stop);
    task.await.unwrap();
    world.send_event("hello", "{}").await;
    assert_eq!(world.functions.event_counts().backlog, 1);
}

const CONFIG: &str = "/2019-09-25/functions/hello/event-invoke-config";

#[tokio::test]
async fn retries_are_as_configured_for_the_qualifier_that_is_named() {
    let mut world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    let alias = json!({ "Name": "live", "FunctionVersion": "1" });
    world.call("POST", "/2015-03-31/functions/hello/aliases", alias).await.ok();
    let set = json!({ "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60 });
    let answer = world.call("PUT", &format!("{CONFIG}?Qualifier=live"), set).await.ok();
    assert_eq!(answer["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:hello:live");
    assert_eq!(answer["DestinationConfig"], json!({ "OnSuccess": {}, "OnFailure": {} }));
    assert!(answer["LastModified"].is_number(), "{answer}");
    world.execute.script(|_, _| Act::Fail);
    world.run_events();
    world.send_event("hello:live", "{}").await;
    eventually("given up at once", async || world.functions.event_counts().dropped_exhausted == 1).await;
    // The version that the alias leads to has its own, which is the default.
    world.send_event("hello:1", "{}").await;
    world.send_event("hello", "{}").await;
    eventually("failed", async || world.functions.event_counts().failed == 3).await;
    assert_eq!(world.functions.event_counts().backlog, 2);
    world.call("PUT", CONFIG, json!({ "MaximumRetryAttempts": 1 })).await.ok();
    world.pass(60_000);
    eventually("again", async || world.functions.event_counts().failed == 5).await;
    eventually("given up", async || world.functions.event_counts().dropped_exhausted == 2).await;
    assert_eq!(world.functions.event_counts().backlog, 1);
}

#[tokio::test]
async fn event_configurations_are_set_changed_listed_and_removed() {
    let world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    let missing = |qualifier: &str| {
        format!(
            "The function arn:aws:lambda:us-east-1:000000000000:function:hello:{qualifier} doesn't have an EventInvokeConfig"
        )
    };
    let code = "ResourceNotFoundException";
    world.call("GET", CONFIG, Value::Null).await.refused(404, code, &missing("$LATEST"));
    world.call("POST", CONFIG, json!({ "MaximumRetryAttempts": 1 })).await.refused(
        404,
        code,
        &missing("$LATEST"),
    );
    let put = |qualifier: &str, body: Value| {
        let (world, path) = (&world, format!("{CONFIG}?Qualifier={qualifier}"));
        async move { world.call("PUT", &path, body).await }
    };
    put("1", json!({ "MaximumRetryAttempts": 1 })).await.ok();
    put("9", json!({ "MaximumRetryAttempts": 1 })).await.refused(404, code, "The function doesn't exist.");
    put("none", json!({ "MaximumRetryAttempts": 1 })).await.refused(404, code, "The function doesn't exist.");
    assert_eq!(world.call("PUT", CONFIG, json!({ "MaximumRetryAttempts": 3 })).await.status, 400);
    let queue = json!({ "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:000000000000:q" } } });
    let (status, _, text) = world.call("PUT", CONFIG, queue).await.error();
    assert!(status == 400 && text.contains("destination"), "{text}");

    world.call("PUT", CONFIG, json!({ "MaximumRetryAttempts": 0 })).await.ok();
    let changed = world.call("POST", CONFIG, json!({ "MaximumEventAgeInSeconds": 100 })).await.ok();
    assert_eq!(
        (changed["MaximumRetryAttempts"].as_u64(), changed["MaximumEventAgeInSeconds"].as_u64()),
        (Some(0), Some(100))
    );
    assert_eq!(world.call("GET", CONFIG, Value::Null).await.ok(), changed);
    let anew = world.call("PUT", CONFIG, json!({ "MaximumRetryAttempts": 2 })).await.ok();
    assert!(anew.get("MaximumEventAgeInSeconds").is_none(), "{anew}");

    let first = world.call("GET", &format!("{CONFIG}/list?MaxItems=1"), Value::Null).await.ok();
    assert_eq!(first["FunctionEventInvokeConfigs"], json!([anew]));
    let marker = first["NextMarker"].as_str().unwrap();
    let rest = world.call("GET", &format!("{CONFIG}/list?Marker={marker}"), Value::Null).await.ok();
    assert_eq!(rest["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 1);
    assert!(rest.get("NextMarker").is_none());

    assert_eq!(world.call("DELETE", CONFIG, Value::Null).await.status, 204);
    world.call("DELETE", CONFIG, Value::Null).await.refused(404, code, &missing("$LATEST"));
    world.call("DELETE", "/2015-03-31/functions/hello", Value::Null).await.ok();
    world.create("hello").await.ok();
    let list = world.call("GET", &format!("{CONFIG}/list"), Value::Null).await.ok();
    assert_eq!(list["FunctionEventInvokeConfigs"], json!([]), "the next of that name has none");
}
