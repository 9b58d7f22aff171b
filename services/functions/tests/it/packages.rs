//! Slow unpacking, restarts, and packages that nobody needs any more.

use crate::support::{World, eventually, hash, zip};
use base::Millis;
use serde_json::json;
use std::sync::atomic::Ordering;

fn impatient() -> World {
    World::with(|settings| settings.unpack_wait = Millis(1))
}

async fn state(world: &World, name: &str) -> (String, String) {
    let got = world.configuration(name).await.ok();
    let text = |member: &str| got[member].as_str().unwrap_or_default().to_owned();
    (text("State"), text("LastUpdateStatus"))
}

fn pair(state: &str, update: &str) -> (String, String) {
    (state.to_owned(), update.to_owned())
}

#[tokio::test]
async fn slow_functions_are_pending_until_they_are_unpacked() {
    let mut world = impatient();
    world.run_upkeep();
    world.packages.gate(false);
    let made = world.create_with("hello", json!({ "Publish": true })).await.ok();
    assert_eq!(
        (made["State"].as_str(), made["StateReasonCode"].as_str()),
        (Some("Pending"), Some("Creating"))
    );
    assert_eq!(made["StateReason"], "The function is being created.");
    let conflict = "The operation cannot be performed at this time. The function is currently in the following state: Pending";
    world.invoke("hello", &[], "{}").await.refused(409, "ResourceConflictException", conflict);
    world.update("hello", json!({ "Timeout": 5 })).await.refused(409, "ResourceConflictException", conflict);
    world.packages.gate(true);
    eventually("active", async || state(&world, "hello").await == pair("Active", "Successful")).await;
    eventually("version active", async || world.configuration("hello:1").await.ok()["State"] == "Active")
        .await;
    world.invoke("hello", &[], "{}").await.ok();
    assert_eq!(world.packages.unpackings.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_served_before_serves_until_an_update_is_unpacked() {
    let mut world = impatient();
    world.create("hello").await.ok();
    world.run_upkeep();
    world.packages.gate(false);
    let changing = world.update_code("hello", json!({ "ZipFile": zip("two") })).await.ok();
    assert_eq!(
        (changing["State"].as_str(), changing["LastUpdateStatus"].as_str()),
        (Some("Active"), Some("InProgress"))
    );
    world.update("hello", json!({ "Timeout": 5 })).await.refused(
        409,
        "ResourceConflictException",
        "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:us-east-1:000000000000:function:hello",
    );
    world.invoke("hello", &[], "{}").await.ok();
    assert!(world.execute.retired.lock().unwrap().is_empty());
    world.packages.gate(true);
    eventually("updated", async || state(&world, "hello").await == pair("Active", "Successful")).await;
    eventually("old environments retired", async || world.execute.retired.lock().unwrap().len() == 1).await;
    world.invoke("hello", &[], "{}").await.ok();
    let codes: Vec<_> = world.execute.calls.lock().unwrap().iter().map(|(spec, _)| spec.code).collect();
    assert_eq!(codes, [hash("one"), hash("two")]);
}

#[tokio::test]
async fn packages_found_bad_late_fail_visibly() {
    let mut world = impatient();
    world.create("old").await.ok();
    world.run_upkeep();
    world.packages.gate(false);
    world.create_with("new", json!({ "Code": { "ZipFile": zip("bad new") } })).await.ok();
    world.update_code("old", json!({ "ZipFile": zip("bad old") })).await.ok();
    world.packages.gate(true);
    eventually("creation failed", async || state(&world, "new").await == pair("Failed", "Failed")).await;
    eventually("update failed", async || state(&world, "old").await == pair("Active", "Failed")).await;
    assert_eq!(world.configuration("new").await.ok()["StateReasonCode"], "InvalidZipFileException");
    assert_eq!(
        world.configuration("old").await.ok()["LastUpdateStatusReasonCode"],
        "InvalidZipFileException"
    );
    assert_eq!(world.invoke("new", &[], "{}").await.status, 409);
    world.invoke("old", &[], "{}").await.ok();
    assert_eq!(world.execute.calls.lock().unwrap()[0].0.code, hash("one"));
    // A good package mends both.
    world.update_code("new", json!({ "ZipFile": zip("good") })).await.ok();
    world.update_code("old", json!({ "ZipFile": zip("good") })).await.ok();
    eventually("mended", async || {
        state(&world, "new").await == pair("Active", "Successful")
            && state(&world, "old").await == pair("Active", "Successful")
    })
    .await;
}

#[tokio::test]
async fn a_package_that_takes_long_holds_no_other_up() {
    let mut world = World::with(|settings| {
        settings.unpack_wait = Millis(1);
        settings.prepare_wait = Millis(1);
    });
    *world.packages.stuck.lock().unwrap() = Some(hash("slow"));
    world.packages.gate(false);
    world.create_with("slow", json!({ "Code": { "ZipFile": zip("slow") } })).await.ok();
    world.run_upkeep();
    world.packages.gate(true);
    eventually("unpacked", async || world.packages.unpackings.load(Ordering::SeqCst) == 1).await;
    world.packages.gate(false);
    world.create("hello").await.ok();
    world.packages.gate(true);
    eventually("active", async || state(&world, "hello").await == pair("Active", "Successful")).await;
    assert_eq!(state(&world, "slow").await, pair("Pending", "InProgress"));
}

#[tokio::test]
async fn an_interrupted_creation_is_finished_after_a_restart() {
    let mut world = impatient();
    world.packages.gate(false);
    world.create("hello").await.ok();
    world.restart().await;
    assert_eq!(state(&world, "hello").await, pair("Pending", "InProgress"));
    world.packages.gate(true);
    world.run_upkeep();
    eventually("active", async || state(&world, "hello").await == pair("Active", "Successful")).await;
}

#[tokio::test]
async fn a_fresh_node_unpacks_what_is_referenced() {
    let mut world = World::new();
    world.create("hello").await.ok();
    world.create_with("other", json!({ "Code": { "ZipFile": zip("two") } })).await.ok();
    world.packages.unpacked.lock().unwrap().clear();
    world.restart().await;
    world.run_upkeep();
    eventually("unpacked", async || world.packages.unpacked.lock().unwrap().len() == 2).await;
}

#[tokio::test]
async fn packages_go_some_time_after_their_last_reference() {
    let mut world = World::new();
    world.run_upkeep();
    world.create("hello").await.ok();
    world.create("same").await.ok();
    world.update_code("hello", json!({ "ZipFile": zip("two") })).await.ok();
    let kept = |content: &str| world.packages.unpacked.lock().unwrap().contains(&hash(content));
    let delete = async |name: &str| {
        world.call("DELETE", &format!("/2015-03-31/functions/{name}"), serde_json::Value::Null).await.ok()
    };
    world.pass(30 * 60_000);
    delete("hello").await;
    world.pass(60_000);
    world.create_with("third", json!({ "Code": { "ZipFile": zip("three") } })).await.ok();
    assert!(kept("one") && kept("two"));
    world.pass(20 * 60_000);
    eventually("removed", async || !kept("two")).await;
    eventually("blob removed", async || {
        let key = store::BlobKey::new(format!("code/{}", hash("two"))).unwrap();
        !world.blobs.exists(&key).await.unwrap()
    })
    .await;
    assert!(kept("one") && kept("three"), "what is referenced stays");
}

#[tokio::test]
async fn leftovers_of_an_interrupted_removal_are_found() {
    let mut world = World::new();
    let stray = store::BlobKey::new(format!("code/{}", hash("stray"))).unwrap();
    world.blobs.put(&stray, "stray".into()).await.unwrap();
    world.run_upkeep();
    eventually("removed", async || !world.blobs.exists(&stray).await.unwrap()).await;
}
