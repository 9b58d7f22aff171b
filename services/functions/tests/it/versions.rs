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
