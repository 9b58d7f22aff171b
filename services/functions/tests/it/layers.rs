//! Layers: whose packages stay, what functions are started with, and policies kept in an older form.

use crate::support::{World, eventually, hash, location, zip};
use functions::{MIGRATIONS, Settings};
use serde_json::{Value, json};
use store::{Database, Error, params};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:layer";

async fn publish(world: &World, name: &str, content: &str) -> Value {
    let path = format!("/2018-10-31/layers/{name}/versions");
    world.call("POST", &path, json!({ "Content": { "ZipFile": zip(content) } })).await.ok()
}

async fn delete(world: &World, name: &str, version: u64) {
    world.call("DELETE", &format!("/2018-10-31/layers/{name}/versions/{version}"), Value::Null).await.ok();
}

#[tokio::test]
async fn functions_are_started_with_their_layers_in_order() {
    let world = World::new();
    publish(&world, "a", "a").await;
    publish(&world, "b", "b").await;
    let layers = json!([format!("{ARN}:b:1"), format!("{ARN}:a:1")]);
    let made = world.create_with("hello", json!({ "Layers": layers, "Publish": true })).await.ok();
    assert_eq!(made["Layers"][0]["Arn"], format!("{ARN}:b:1"));
    delete(&world, "b", 1).await;
    world.invoke("hello", &[], "{}").await.ok();
    world.update("hello", json!({ "Layers": [] })).await.ok();
    world.invoke("hello", &[], "{}").await.ok();
    world.invoke("hello:1", &[], "{}").await.ok();
    let calls = world.execute.calls.lock().unwrap();
    let started: Vec<_> = calls.iter().map(|(spec, _)| spec.layers.clone()).collect();
    let both = vec![hash("b"), hash("a")];
    assert_eq!(started, [both.clone(), vec![], both]);
    assert_eq!(world.execute.retired.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn packages_stay_while_a_layer_or_a_function_has_them() {
    let mut world = World::new();
    world.run_upkeep();
    publish(&world, "kept", "kept").await;
    publish(&world, "used", "used").await;
    publish(&world, "loose", "loose").await;
    let layers = json!([format!("{ARN}:kept:1"), format!("{ARN}:used:1")]);
    world.create_with("hello", json!({ "Layers": layers })).await.ok();
    delete(&world, "used", 1).await;
    delete(&world, "loose", 1).await;
    let kept = |content: &str| world.packages.unpacked.lock().unwrap().contains(&hash(content));
    world.pass(30 * 60_000);
    eventually("the loose one goes", async || !kept("loose")).await;
    eventually("sets are told", async || {
        *world.packages.retained.lock().unwrap() == [vec![hash("kept"), hash("used")]]
    })
    .await;
    assert!(kept("kept") && kept("used"));
    world.update("hello", json!({ "Layers": [] })).await.ok();
    world.pass(60_000);
    eventually("sets are told", async || world.packages.retained.lock().unwrap().is_empty()).await;
    assert!(kept("used"), "an invocation may still have it");
    world.pass(30 * 60_000);
    eventually("what the function let go of goes", async || !kept("used")).await;
    assert!(kept("kept"), "the layer is still there");
}

#[tokio::test]
async fn a_fresh_node_unpacks_layers_too() {
    let mut world = World::new();
    publish(&world, "a", "a").await;
    world.create_with("hello", json!({ "Layers": [format!("{ARN}:a:1")] })).await.ok();
    delete(&world, "a", 1).await;
    world.packages.unpacked.lock().unwrap().clear();
    world.restart().await;
    world.run_upkeep();
    eventually("unpacked", async || world.packages.unpacked.lock().unwrap().contains(&hash("a"))).await;
}

#[tokio::test]
async fn policies_in_the_form_that_layers_had_of_their_own_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let old = Database::open(location(&folder), &MIGRATIONS[..7]).unwrap();
    let revision = "6f1c7e0a-5d3b-4c2e-9a1f-0b2d4e6f8a90";
    // As it was written, in this order.
    let everyone = r#"{"id":"all","grantee":"Everyone"}"#;
    let account = r#"{"id":"one","grantee":{"Account":"111122223333"}}"#;
    for (version, statements) in
        [(1, everyone.to_owned()), (2, format!("{account},{everyone}")), (3, account.to_owned())]
    {
        let policy = format!(r#"{{"revision":"{revision}","statements":[{statements}]}}"#);
        let label = r#"{"description":"","license":null,"runtimes":null,"architectures":null}"#;
        let code = hash("old").to_string();
        let added = old.write(move |tx| {
            tx.execute(
                "INSERT INTO layer_version (account, region, layer, version, created_ms, label, code, code_size, unpacked, policy)
                 VALUES ('000000000000', 'us-east-1', 'old', ?1, 0, ?2, ?3, 1, 1, ?4)",
                params![version, label, code, policy],
            )
        });
        let added: Result<u64, Error> = added.await;
        added.unwrap();
    }
    drop(old);
    let world = World::on(folder, Settings::default());
    let statement = |version: u64, sid: &str, principal: Value| {
        json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "lambda:GetLayerVersion",
            "Resource": format!("{ARN}:old:{version}")})
    };
    let all = |version| statement(version, "all", json!("*"));
    let one = |version| statement(version, "one", json!({"AWS": "arn:aws:iam::111122223333:root"}));
    for (version, statements) in [(1, vec![all(1)]), (2, vec![one(2), all(2)]), (3, vec![one(3)])] {
        let path = format!("/2018-10-31/layers/old/versions/{version}/policy");
        let shown = world.call("GET", &path, Value::Null).await.ok();
        assert_eq!(shown["RevisionId"], revision);
        let policy: Value = serde_json::from_str(shown["Policy"].as_str().unwrap()).unwrap();
        assert_eq!(policy["Statement"], Value::from(statements));
    }
}
