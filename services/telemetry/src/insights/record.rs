//! A row on its way through a query: an event with the fields discovered in it, and fields computed before.

use super::expression::Value;
use serde_json::Value as Json;
use std::{
    cell::OnceCell,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

/// A log event as a query sees it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Milliseconds since 1970.
    pub at: i64,
    /// When it arrived, likewise.
    pub ingested: i64,
    /// Text.
    pub message: String,
    /// Name of its stream.
    pub stream: Arc<str>,
    /// Account and name of its group: `000000000000:/aws/lambda/f`.
    pub log: Arc<str>,
}

/// A row.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// `None` after `stats`.
    source: Option<Box<Event>>,
    /// Computed fields, which hide discovered ones.
    fields: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Event {
    source: Source,
    /// The message as JSON object, if it is one, found when first asked for.
    json: OnceCell<Option<Json>>,
}

impl Record {
    pub(super) fn of(source: Source) -> Record {
        Record { source: Some(Box::new(Event { source, json: OnceCell::new() })), fields: BTreeMap::new() }
    }

    pub(super) fn computed(fields: BTreeMap<String, Value>) -> Record {
        Record { source: None, fields }
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    /// The value of a field; `Nothing` where there is none.
    pub(super) fn get(&self, name: &str) -> Value {
        if let Some(value) = self.fields.get(name) {
            return value.clone();
        }
        self.source.as_ref().map_or(Value::Nothing, |event| event.get(name))
    }

    /// Bytes that it takes, roughly.
    pub(super) fn size(&self) -> usize {
        let own: usize = self.fields.iter().map(|(name, value)| name.len() + value.size() + 64).sum();
        own + self.source.as_ref().map_or(0, |event| event.source.message.len() + 128)
    }

    /// Lets go of the parsed message: it is found again if it is asked for again.
    pub(super) fn slim(&mut self) {
        if let Some(event) = &mut self.source {
            event.json.take();
        }
    }
}

impl Event {
    fn get(&self, name: &str) -> Value {
        let Source { at, ingested, message, stream, log } = &self.source;
        match name {
            "@timestamp" => Value::Time(*at),
            "@ingestionTime" => Value::Time(*ingested),
            "@message" => Value::Text(message.clone()),
            "@logStream" => Value::Text(stream.to_string()),
            "@log" => Value::Text(log.to_string()),
            "@type" => lambda_type(message).map_or(Value::Nothing, |kind| Value::Text(kind.to_owned())),
            "@requestId" => request_id(message).map_or(Value::Nothing, |id| Value::Text(id.to_owned())),
            "@duration" => reported(message, "\tDuration: ", " ms", 1.0),
            "@billedDuration" => reported(message, "\tBilled Duration: ", " ms", 1.0),
            "@initDuration" => reported(message, "\tInit Duration: ", " ms", 1.0),
            // In bytes, a megabyte being a million of them, as in the guide's sample queries.
            "@memorySize" => reported(message, "\tMemory Size: ", " MB", 1e6),
            "@maxMemoryUsed" => reported(message, "\tMax Memory Used: ", " MB", 1e6),
            name => self.json(name),
        }
    }

    /// A member of the message: by its whole name, or step by step at the points.
    fn json(&self, name: &str) -> Value {
        let found = self.json.get_or_init(|| match self.source.message.trim_start().starts_with('{') {
            true => serde_json::from_str(&self.source.message).ok(),
            false => None,
        });
        found.as_ref().and_then(|json| member(json, name)).map_or(Value::Nothing, value)
    }
}

fn member<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    let step = |json: &'j Json, name: &str| match json {
        Json::Object(members) => members.get(name),
        Json::Array(elements) => elements.get(name.parse::<usize>().ok()?),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    };
    if let Some(found) = step(json, name) {
        return Some(found);
    }
    let mut found = json;
    for part in name.split('.') {
        found = step(found, part)?;
    }
    Some(found)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nothing,
        Json::Bool(truth) => Value::Text(if *truth { "1" } else { "0" }.to_owned()),
        Json::Number(number) => match number.as_f64() {
            // Whole numbers that a float cannot hold keep their digits.
            Some(float) if float.abs() < 9e15 => Value::Number(float),
            _ => Value::Text(number.to_string()),
        },
        Json::String(text) => Value::Text(text.clone()),
        other => Value::Text(other.to_string()),
    }
}

fn lambda_type(message: &str) -> Option<&'static str> {
    ["START", "END", "REPORT"]
        .into_iter()
        .find(|kind| message.strip_prefix(kind).is_some_and(|rest| rest.starts_with(" RequestId: ")))
}

fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Of a platform's line, or between tabs as Lambda's loggers write it.
fn request_id(message: &str) -> Option<&str> {
    if let Some((_, after)) = message.split_once("RequestId: ")
        && let Some(id) = after.get(..36)
        && is_id(id)
    {
        return Some(id);
    }
    message.split('\t').take(8).map(str::trim).find(|part| is_id(part))
}

fn reported(message: &str, label: &'static str, unit: &str, factor: f64) -> Value {
    if !message.starts_with("REPORT RequestId: ") {
        return Value::Nothing;
    }
    let number = message.split_once(label).and_then(|(_, after)| after.split_once(unit));
    match number.and_then(|(number, _)| number.trim().parse::<f64>().ok()) {
        Some(number) if number.is_finite() => Value::Number(number * factor),
        Some(_) | None => Value::Nothing,
    }
}

/// What an answer shows where a query names no fields.
pub(super) static SHOWN: LazyLock<Vec<String>> =
    LazyLock::new(|| vec!["@timestamp".to_owned(), "@message".to_owned()]);
