//! Publishing and listing versions.

use crate::support::{World, zip};
use serde_json::{Value, json};

async fn publish(world: &World, body: Value) -> crate::support::Reply {
    world.call("POST", "/2015-03-31/functions/hello/versions", body).await
}

#[tokio::test]
async fn publishing_freezes_latest_and_repeats_itself_without_a_change() {
    let world = World::new();
    let latest = world.create("hello").await.ok();
    let first = publish(&world, json!({ "Description": "first", "CodeSha256": latest["CodeSha256"] })).await;
    assert_eq!(first.status, 201);
    let first = first.ok();
    assert_eq!((first["Version"].as_str(), first["Description"].as_str()), (Some("1"), Some("first")));
    assert_eq!(first["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:hello:1");
    assert_eq!(publish(&world, json!({ "Description": "again" })).await.ok()["Version"], "1");
    world.update("hello", json!({ "MemorySize": 256 })).await.ok();
    let second = publish(&world, json!({})).await.ok();
    assert_eq!((second["Version"].as_str(), second["MemorySize"].as_i64()), (Some("2"), Some(256)));
    assert_eq!(world.configuration("hello:1").await.ok()["MemorySize"], 128);

    world.invoke("hello:1", &[], "{}").await.ok();
    world.invoke("hello:2", &[], "{}").await.ok();
    let memory: Vec<u32> =
        world.execute.calls.lock().unwrap().iter().map(|(spec, _)| spec.memory.0).collect();
    assert_eq!(memory, [128, 256]);

    // Numbers are not given twice.
    world.call("DELETE", "/2015-03-31/functions/hello:2", Value::Null).await.ok();
    assert_eq!(publish(&world, json!({})).await.ok()["Version"], "3");
}

#[tokio::test]
async fn publishing_checks_what_the_caller_has_seen() {
    let world = World::new();
    let latest = world.create("hello").await.ok();
    publish(&world, json!({ "CodeSha256": "x" })).await.refused(
        400,
        "InvalidParameterValueException",
        &format!("CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({}). Please try again with the CodeSHA256 in $LATEST.", latest["CodeSha256"].as_str().unwrap()),
    );
    assert_eq!(publish(&world, json!({ "RevisionId": "x" })).await.status, 412);
    publish(&world, json!({ "RevisionId": latest["RevisionId"] })).await.ok();
    assert_ne!(world.configuration("hello").await.ok()["RevisionId"], latest["RevisionId"]);
    let created = world.create_with("other", json!({ "Publish": true })).await.ok();
    assert_eq!(created["Version"], "1");
}

#[tokio::test]
async fn versions_are_listed_with_latest_first() {
    let world = World::new();
    world.create("hello").await.ok();
    for n in 0..3 {
        world.update_code("hello", json!({ "ZipFile": zip(&n.to_string()), "Publish": true })).await.ok();
    }
    let path = "/2015-03-31/functions/hello/versions?MaxItems=3";
    let first = world.call("GET", path, Value::Null).await.ok();
    let versions = |page: &Value| -> Vec<String> {
        page["Versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["Version"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(versions(&first), ["$LATEST", "1", "2"]);
    assert_eq!(
        first["Versions"][0]["FunctionArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST"
    );
    let marker = first["NextMarker"].as_str().unwrap();
    let second = world.call("GET", &format!("{path}&Marker={marker}"), Value::Null).await.ok();
    assert_eq!(versions(&second), ["3"]);
    assert!(second.get("NextMarker").is_none());
    assert_eq!(world.call("GET", "/2015-03-31/functions/nobody/versions", Value::Null).await.status, 404);

    let all = world.call("GET", "/2015-03-31/functions?FunctionVersion=ALL", Value::Null).await.ok();
    assert_eq!(all["Functions"].as_array().unwrap().len(), 4);
    let (_, code, _) =
        world.call("GET", "/2015-03-31/functions?FunctionVersion=SOME", Value::Null).await.error();
    assert_eq!(code, "ValidationException");
    let (_, code, _) = world.call("GET", "/2015-03-31/functions?Marker=%21", Value::Null).await.error();
    assert_eq!(code, "InvalidParameterValueException");
}

/// A function with SnapStart whose version 1 was published when it was created.
async fn snapped(world: &World, name: &str) {
    let more = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" }, "Publish": true });
    world.create_with(name, more).await.ok();
}

async fn state(world: &World, name: &str) -> (String, serde_json::Value) {
    let path = format!("/2015-03-31/functions/{name}/configuration?Qualifier=1");
    let shown = world.call("GET", &path, serde_json::Value::Null).await.ok();
    (shown["State"].as_str().unwrap_or_default().to_owned(), shown["StateReasonCode"].clone())
}

async fn settled(world: &World, name: &str) -> (String, serde_json::Value) {
    loop {
        let found = state(world, name).await;
        if found.0 != "Pending" {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn versions_with_snapstart_are_initialised_before_they_are_active_and_again_after_a_start() {
    let mut world = World::new();
    snapped(&world, "hello").await;
    assert_eq!(state(&world, "hello").await.0, "Pending");
    world.run_upkeep();
    assert_eq!(settled(&world, "hello").await.0, "Active");
    let told = || world.execute.prepared.lock().unwrap().len();
    assert!(told() >= 1);
    world.execute.prepared.lock().unwrap().clear();
    world.restart().await;
    world.run_upkeep();
    while world.execute.prepared.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let key = world.execute.prepared.lock().unwrap()[0].clone();
    assert_eq!(key.version.to_string(), "1");
    world.call("DELETE", "/2015-03-31/functions/hello?Qualifier=1", serde_json::Value::Null).await;
    assert!(world.execute.retired.lock().unwrap().contains(&key));
}

#[tokio::test]
async fn a_version_whose_code_fails_meanwhile_is_failed_and_nothing_is_kept_of_it() {
    let mut world = World::new();
    let failing =
        |reason: &str, timed_out| Some(base::PrepareError::Function { reason: reason.to_owned(), timed_out });
    for (name, timed_out, code) in [("a", false, "FunctionError"), ("b", true, "FunctionError.InitTimeout")] {
        *world.execute.unprepared.lock().unwrap() = failing("no luck", timed_out);
        snapped(&world, name).await;
        world.run_upkeep();
        assert_eq!(settled(&world, name).await, ("Failed".to_owned(), json!(code)));
        let key = world.execute.prepared.lock().unwrap().last().unwrap().clone();
        // The state is on disk first.
        while !world.execute.retired.lock().unwrap().contains(&key) {
            tokio::task::yield_now().await;
        }
    }
    // What is the node's fault leaves it pending.
    *world.execute.unprepared.lock().unwrap() = Some(base::PrepareError::Node("full".to_owned()));
    let before = world.execute.prepared.lock().unwrap().len();
    snapped(&world, "c").await;
    while world.execute.prepared.lock().unwrap().len() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(state(&world, "c").await.0, "Pending");
}
