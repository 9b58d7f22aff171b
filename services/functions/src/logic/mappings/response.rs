//! What a function's answer says about its batch. Source: Lambda developer guide, "Implementing partial batch responses".

use super::event::Record;
use serde_json::Value;
use std::collections::HashSet;

/// Splits a batch by the answer of a function that reports: what succeeded and what did not, each in order.
///
/// Nothing, `null`, and an answer without a list of failures or with an empty one mean that all succeeded. What names no message
/// of the batch means that all failed, since nobody knows which. In a FIFO queue what follows a failure in its group fails too:
/// deleted before it, it would have overtaken it.
pub fn split(answer: &[u8], records: Vec<Record>) -> (Vec<Record>, Vec<Record>) {
    let failed = match failures(answer) {
        Some(ids) if ids.iter().all(|id| records.iter().any(|record| record.id == *id)) => ids,
        Some(_) | None => return (Vec::new(), records),
    };
    let mut stopped: HashSet<String> = HashSet::new();
    records.into_iter().partition(|record| {
        let fails =
            failed.contains(&record.id) || record.group.as_ref().is_some_and(|group| stopped.contains(group));
        // Groups of standard queues have no order.
        if let (true, Some(group), true) = (fails, &record.group, record.ordered) {
            stopped.insert(group.clone());
        }
        !fails
    })
}

/// Which messages failed; `None`: the answer cannot be read.
fn failures(answer: &[u8]) -> Option<HashSet<String>> {
    if answer.trim_ascii().is_empty() {
        return Some(HashSet::new());
    }
    let list = match serde_json::from_slice(answer).ok()? {
        Value::Null => return Some(HashSet::new()),
        Value::String(text) if text.is_empty() => return Some(HashSet::new()),
        Value::Object(mut answer) => answer.remove("batchItemFailures"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    };
    match list {
        None | Some(Value::Null) => Some(HashSet::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.get("itemIdentifier")?.as_str().filter(|id| !id.is_empty()).map(str::to_owned))
            .collect(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(id: &str, group: Option<&str>) -> Record {
        Record {
            id: id.to_owned(),
            receipt: id.to_owned(),
            group: group.map(str::to_owned),
            ordered: group.is_some(),
            trace: None,
            json: String::new(),
        }
    }

    fn failed(answer: &str, records: &[(&str, Option<&str>)]) -> Vec<String> {
        let records = records.iter().map(|(id, group)| record(id, *group)).collect();
        split(answer.as_bytes(), records).1.into_iter().map(|record| record.id).collect()
    }

    const BATCH: &[(&str, Option<&str>)] = &[("a", None), ("b", None), ("c", None)];

    #[test]
    fn these_mean_success() {
        for answer in [
            "",
            " \n",
            "null",
            "{}",
            r#""""#,
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
            r#"{"other":1}"#,
        ] {
            assert!(failed(answer, BATCH).is_empty(), "{answer}");
        }
    }

    #[test]
    fn these_mean_failure() {
        for answer in [
            "{",
            "1",
            r#""done""#,
            "[]",
            "true",
            r#"{"batchItemFailures":{}}"#,
            r#"{"batchItemFailures":"a"}"#,
            r#"{"batchItemFailures":["a"]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":1}]}"#,
            r#"{"batchItemFailures":[{"id":"a"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"z"}]}"#,
        ] {
            assert_eq!(failed(answer, BATCH), ["a", "b", "c"], "{answer}");
        }
    }

    #[test]
    fn what_is_named_fails_and_in_its_group_what_follows() {
        let answer = r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
        assert_eq!(failed(answer, BATCH), ["b"]);
        let fifo = [("a", Some("x")), ("b", Some("x")), ("c", Some("y")), ("d", Some("x"))];
        assert_eq!(failed(answer, &fifo), ["b", "d"]);
    }

    proptest! {
        #[test]
        fn any_answer_is_understood(answer in ".{0,200}") {
            let records: Vec<Record> = BATCH.iter().map(|(id, group)| record(id, *group)).collect();
            let (done, failed) = split(answer.as_bytes(), records);
            prop_assert_eq!(done.len() + failed.len(), 3);
        }
    }
}
