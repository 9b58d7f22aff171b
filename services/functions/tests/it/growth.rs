//! What may not grow with the number of functions.

use crate::support::World;
use serde_json::Value;
use std::collections::BTreeSet;

#[tokio::test]
async fn functions_are_listed_page_by_page() {
    let world = World::new();
    let mut names = BTreeSet::new();
    for n in 0..120 {
        let name = format!("f{n}");
        world.create(&name).await.ok();
        names.insert(name);
    }
    let (mut seen, mut marker, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world
            .call("GET", &format!("/2015-03-31/functions?MaxItems=10000{marker}"), Value::Null)
            .await
            .ok();
        pages += 1;
        for function in page["Functions"].as_array().unwrap() {
            assert!(function.get("State").is_none());
            seen.push(function["FunctionName"].as_str().unwrap().to_owned());
        }
        match page["NextMarker"].as_str() {
            Some(next) => marker = format!("&Marker={next}"),
            None => break,
        }
    }
    assert_eq!(pages, 3, "50 a page");
    assert_eq!(seen.len(), 120);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
}
