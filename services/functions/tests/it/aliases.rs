//! Aliases: where they point, what they keep from being deleted, and which version an invocation gets.

use crate::support::{Reply, World};
use serde_json::{Value, json};

const ALIASES: &str = "/2015-03-31/functions/hello/aliases";

/// A function with versions 1 and 2, of 128 and 256 MB.
async fn world() -> World {
    let world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    world.update("hello", json!({ "MemorySize": 256 })).await.ok();
    world.call("POST", "/2015-03-31/functions/hello/versions", json!({})).await.ok();
    world
}

async fn create(world: &World, body: Value) -> Reply {
    world.call("POST", ALIASES, body).await
}

fn split(version: &str, weight: f64) -> Value {
    json!({ "AdditionalVersionWeights": { version: weight } })
}

#[tokio::test]
async fn an_alias_is_made_told_changed_and_deleted() {
    let world = world().await;
    let made =
        create(&world, json!({ "Name": "live", "FunctionVersion": "1", "Description": "what people get" }))
            .await;
    assert_eq!(made.status, 201);
    let made = made.ok();
    assert_eq!(made["AliasArn"], "arn:aws:lambda:us-east-1:000000000000:function:hello:live");
    assert_eq!(
        (made["FunctionVersion"].as_str(), made["Description"].as_str()),
        (Some("1"), Some("what people get"))
    );
    assert!(made.get("RoutingConfig").is_none(), "{made}");
    let path = format!("{ALIASES}/live");
    assert_eq!(world.call("GET", &path, Value::Null).await.ok(), made);

    let changed = json!({ "RoutingConfig": split("2", 0.25), "RevisionId": made["RevisionId"] });
    let changed = world.call("PUT", &path, changed).await.ok();
    assert_eq!(changed["RoutingConfig"], split("2", 0.25));
    assert_eq!(changed["Description"], "what people get");
    assert_ne!(changed["RevisionId"], made["RevisionId"]);
    let stale = json!({ "FunctionVersion": "2", "RevisionId": made["RevisionId"] });
    assert_eq!(world.call("PUT", &path, stale).await.status, 412);
    // It would point to the same version twice.
    let same = world.call("PUT", &path, json!({ "FunctionVersion": "2" })).await;
    same.refused(
        400,
        "InvalidParameterValueException",
        "Invalid function version 2. Function version 2 is already included in routing configuration.",
    );
    let moved = json!({ "FunctionVersion": "2", "RoutingConfig": { "AdditionalVersionWeights": {} }, "Description": "" });
    let moved = world.call("PUT", &path, moved).await.ok();
    assert!(moved.get("RoutingConfig").is_none() && moved["Description"] == "", "{moved}");

    // What names a version by alias tells the version under the alias's name.
    let shown = world.configuration("hello:live").await.ok();
    assert_eq!(
        (shown["Version"].as_str(), shown["FunctionArn"].as_str()),
        (Some("2"), made["AliasArn"].as_str())
    );

    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &path, Value::Null).await.status, 204, "deleting is repeatable");
    }
    world.call("GET", &path, Value::Null).await.refused(
        404,
        "ResourceNotFoundException",
        "Cannot find alias arn: arn:aws:lambda:us-east-1:000000000000:function:hello:live",
    );
    assert_eq!(world.invoke("hello:live", &[], "{}").await.status, 404);
}

#[tokio::test]
async fn bad_aliases_are_refused() {
    let world = world().await;
    create(&world, json!({ "Name": "live", "FunctionVersion": "$LATEST" })).await.ok();
    create(&world, json!({ "Name": "live", "FunctionVersion": "1" })).await.refused(
        409,
        "ResourceConflictException",
        "Alias already exists: arn:aws:lambda:us-east-1:000000000000:function:hello:live",
    );
    let missing = |version: &str| {
        format!("Function not found: arn:aws:lambda:us-east-1:000000000000:function:hello:{version}")
    };
    let of = |version: &str, routing: Value| json!({ "Name": "x", "FunctionVersion": version, "RoutingConfig": routing });
    create(&world, json!({ "Name": "x", "FunctionVersion": "7" })).await.refused(
        404,
        "ResourceNotFoundException",
        &missing("7"),
    );
    create(&world, of("1", split("7", 0.1))).await.refused(404, "ResourceNotFoundException", &missing("7"));
    create(&world, of("$LATEST", split("1", 0.1))).await.refused(
        400,
        "InvalidParameterValueException",
        "$LATEST is not supported for an alias pointing to more than 1 version",
    );
    for (body, told) in [
        (json!({ "Name": "3", "FunctionVersion": "1" }), "'name'"),
        (json!({ "Name": "x", "FunctionVersion": "one" }), "'functionVersion'"),
        (of("1", split("2", 2.0)), "'routingConfig.additionalVersionWeights'"),
        (json!({ "Name": "x" }), "'functionVersion'"),
    ] {
        let reply = create(&world, body).await;
        assert_eq!(reply.status, 400);
        assert!(reply.error().2.contains(told), "{told}: {reply:?}");
    }
    let nobody = world
        .call("POST", "/2015-03-31/functions/nobody/aliases", json!({ "Name": "x", "FunctionVersion": "1" }))
        .await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn versions_that_aliases_need_stay_until_the_function_goes() {
    let world = world().await;
    create(&world, json!({ "Name": "live", "FunctionVersion": "1" })).await.ok();
    create(&world, json!({ "Name": "next", "FunctionVersion": "1", "RoutingConfig": split("2", 0.5) }))
        .await
        .ok();
    let delete = |version: u32| {
        world.call("DELETE", format!("/2015-03-31/functions/hello:{version}").leak(), Value::Null)
    };
    let text = |names: &str| {
        format!("Unable to delete version because the following aliases reference it: [{names}]")
    };
    delete(1).await.refused(409, "ResourceConflictException", &text("live, next"));
    delete(2).await.refused(409, "ResourceConflictException", &text("next"));
    assert_eq!(world.call("DELETE", "/2015-03-31/functions/hello:next", Value::Null).await.status, 400);
    world.call("DELETE", &format!("{ALIASES}/next"), Value::Null).await.ok();
    delete(2).await.ok();
    world.call("DELETE", "/2015-03-31/functions/hello", Value::Null).await.ok();
    world.create("hello").await.ok();
    assert_eq!(
        world.call("GET", ALIASES, Value::Null).await.ok()["Aliases"],
        json!([]),
        "the next of that name has none"
    );
}

#[tokio::test]
async fn aliases_are_listed_in_pages_and_by_version() {
    let world = world().await;
    for name in ["d", "a", "c", "b"] {
        let version = if name == "c" { "2" } else { "1" };
        create(&world, json!({ "Name": name, "FunctionVersion": version })).await.ok();
    }
    let list = |query: String| {
        let world = &world;
        async move {
            let page = world.call("GET", &format!("{ALIASES}?{query}"), Value::Null).await.ok();
            let names: Vec<String> = page["Aliases"]
                .as_array()
                .unwrap()
                .iter()
                .map(|alias| alias["Name"].as_str().unwrap().to_owned())
                .collect();
            (names.join(""), page["NextMarker"].as_str().map(str::to_owned))
        }
    };
    let (first, marker) = list("MaxItems=3".into()).await;
    assert_eq!(first, "abc");
    assert_eq!(list(format!("Marker={}", marker.unwrap())).await, ("d".into(), None));
    assert_eq!(list("FunctionVersion=2".into()).await, ("c".into(), None));
    assert_eq!(list("FunctionVersion=%24LATEST".into()).await, (String::new(), None));
}

#[tokio::test]
async fn invocations_of_an_alias_are_split_and_follow_its_changes_at_once() {
    let world = world().await;
    create(&world, json!({ "Name": "live", "FunctionVersion": "1", "RoutingConfig": split("2", 0.5) }))
        .await
        .ok();
    for _ in 0..200 {
        world.invoke("hello:live", &[], "{}").await.ok();
    }
    let ran = || {
        world
            .execute
            .calls
            .lock()
            .unwrap()
            .drain(..)
            .map(|(spec, call)| (spec.memory.0, call.invoked_arn))
            .collect::<Vec<_>>()
    };
    let first = ran();
    let others = first.iter().filter(|(memory, _)| *memory == 256).count();
    assert!((60..=140).contains(&others), "{others} of 200");
    assert!(first.iter().all(|(_, arn)| arn.ends_with(":function:hello:live")));
    for (version, memory) in [("2", 256), ("1", 128)] {
        let body = json!({ "FunctionVersion": version, "RoutingConfig": { "AdditionalVersionWeights": {} } });
        world.call("PUT", &format!("{ALIASES}/live"), body).await.ok();
        world.invoke("hello:live", &[], "{}").await.ok();
        assert_eq!(ran()[0].0, memory);
    }
}
