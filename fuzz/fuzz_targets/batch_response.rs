//! A function's answer about its batch: nothing is lost and nothing is added, and order holds in a group.
#![no_main]

use functions::logic::mappings::{event::Record, response::split};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let records: Vec<Record> = ["a", "b", "c", "d"]
        .into_iter()
        .enumerate()
        .map(|(place, id)| Record {
            id: id.to_owned(),
            receipt: id.to_owned(),
            group: Some((place % 2).to_string()),
            ordered: true,
            trace: None,
            json: String::new(),
        })
        .collect();
    let (done, failed) = split(data, records);
    assert_eq!(done.len() + failed.len(), 4);
    for later in &done {
        assert!(!failed.iter().any(|failed| failed.group == later.group && failed.id < later.id));
    }
});
