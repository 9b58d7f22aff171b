//! What a trace's segments say together. Pure.

use super::segment::seconds;
use crate::api::tracing::{AnnotationValue, Http, ResourceArn, ServiceId, TraceSummary, ValueWithServiceIds};
use serde_json::Value;
use std::collections::BTreeMap;

/// Begin and end of all segments, in seconds since 1970; those that run on have only begun.
pub(super) fn extent(documents: &[&Value]) -> Option<(f64, f64)> {
    let begin = documents.iter().filter_map(|one| seconds(one.get("start_time")?)).reduce(f64::min)?;
    let end = documents.iter().filter_map(|one| seconds(one.get("end_time")?)).reduce(f64::max);
    Some((begin, end.unwrap_or(begin).max(begin)))
}

/// The segment where a trace came in; of several without a known parent the first.
pub(super) fn entry<'a>(documents: &[&'a Value]) -> Option<&'a Value> {
    let text = |one: &'a Value, name: &str| one.get(name).and_then(Value::as_str);
    let ids: Vec<&str> = documents.iter().filter_map(|one| text(one, "id")).collect();
    let is_segment = |one: &&&'a Value| text(one, "type") != Some("subsegment");
    let is_root = |one: &&&'a Value| !text(one, "parent_id").is_some_and(|parent| ids.contains(&parent));
    documents.iter().filter(is_segment).find(is_root).or(documents.first()).copied()
}

/// The summary of a trace; `None` without segments.
pub(super) fn summary(id: &str, account: &str, documents: &[Value]) -> Option<TraceSummary> {
    let all: Vec<&Value> = documents.iter().collect();
    let (begin, end) = extent(&all)?;
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_segment = |one: &&Value| text(one, "type").as_deref() != Some("subsegment");
    let root = entry(&all)?;
    let service = |one: &Value| ServiceId {
        name: text(one, "name"),
        names: text(one, "name").into_iter().collect(),
        account_id: account.to_owned(),
        r#type: text(one, "origin"),
    };
    let mut services: Vec<ServiceId> = documents.iter().filter(is_segment).map(service).collect();
    services.sort();
    services.dedup();
    let mut arns: Vec<String> = documents.iter().filter_map(|one| text(one, "resource_arn")).collect();
    arns.sort();
    arns.dedup();
    let flagged = |name: &str| documents.iter().any(|one| is_flagged(one, name));
    Some(TraceSummary {
        id: id.to_owned(),
        start_time: begin,
        duration: end - begin,
        response_time: extent(&[root]).map(|(begin, end)| end - begin),
        has_fault: flagged("fault"),
        has_error: flagged("error"),
        has_throttle: flagged("throttle"),
        is_partial: documents.iter().any(|one| one.get("in_progress") == Some(&Value::Bool(true))),
        http: http(root),
        annotations: annotations(documents),
        service_ids: services,
        resource_arns: arns.into_iter().map(|arn| ResourceArn { arn }).collect(),
        entry_point: service(root),
    })
}

/// Of a segment or of what is below it. Documents are at most as deep as their parser allows.
pub(super) fn is_flagged(one: &Value, name: &str) -> bool {
    let below = || one.get("subsegments").and_then(Value::as_array);
    one.get(name) == Some(&Value::Bool(true))
        || below().is_some_and(|all| all.iter().any(|one| is_flagged(one, name)))
}

fn http(root: &Value) -> Http {
    let part = |part: &str, name: &str| root.get("http")?.get(part)?.get(name).cloned();
    let text = |name: &str| part("request", name).and_then(|value| Some(value.as_str()?.to_owned()));
    Http {
        http_url: text("url"),
        http_method: text("method"),
        user_agent: text("user_agent"),
        client_ip: text("client_ip"),
        http_status: part("response", "status").and_then(|status| status.as_i64()),
    }
}

fn annotations(documents: &[Value]) -> BTreeMap<String, Vec<ValueWithServiceIds>> {
    let mut found: BTreeMap<String, Vec<ValueWithServiceIds>> = BTreeMap::new();
    for one in documents {
        collect(one, &mut found);
    }
    found
}

fn collect(one: &Value, found: &mut BTreeMap<String, Vec<ValueWithServiceIds>>) {
    for (name, value) in one.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        let value = match value {
            Value::String(text) => AnnotationValue { string_value: Some(text.clone()), ..Default::default() },
            Value::Number(number) => AnnotationValue { number_value: number.as_f64(), ..Default::default() },
            Value::Bool(truth) => AnnotationValue { boolean_value: Some(*truth), ..Default::default() },
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        let values = found.entry(name.clone()).or_default();
        if values.iter().all(|known| known.annotation_value != value) {
            values.push(ValueWithServiceIds { annotation_value: value });
        }
    }
    for below in one.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
        collect(below, found);
    }
}
