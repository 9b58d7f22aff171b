//! X-Ray segments as spans: what a function records by X-Ray's SDKs hangs below its run. Pure.

use super::{
    message::{KeyValue, ResourceSpans, Span, Status},
    spans::{CLIENT, INTERNAL, SERVER, STATUS_ERROR, of_resource},
    tree::{Attributes, nanos},
};
use crate::xray::segment::{seconds, trace_id};
use base::{AccountId, Region};
use serde_json::Value;

/// A segment on its way.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    /// Who recorded it, where that is not its name.
    pub(crate) service: Option<String>,
    pub(crate) document: String,
}

/// An element of `resourceSpans`; `None` for a segment that is not over or has nothing to show.
pub(super) fn resource_spans(segment: &Exported, version: &str) -> Option<ResourceSpans> {
    let document: Value = serde_json::from_str(&segment.document).ok()?;
    let trace = trace_id(document.get("trace_id")?.as_str()?)?.get(2..)?.replace('-', "");
    let trace = u128::from_str_radix(&trace, 16).ok()?.to_be_bytes();
    let mut spans = Vec::new();
    add(&document, &trace, None, &mut spans);
    let name = || document.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let resource = Attributes::default()
        .text("service.name", segment.service.clone().unwrap_or_else(name))
        .text("cloud.account.id", segment.account.to_string())
        .text("cloud.region", segment.region.as_str());
    (!spans.is_empty()).then(|| of_resource(resource, spans, version))
}

/// A segment and what is below it; each part of a document is looked at once.
fn add(one: &Value, trace: &[u8], above: Option<&[u8]>, spans: &mut Vec<Span>) {
    let text = |name: &str| one.get(name).and_then(Value::as_str);
    let Some(id) = text("id").and_then(id_bytes) else { return };
    let time = |name: &str| one.get(name).and_then(seconds).map(|seconds| (seconds * 1e6) as i64);
    if let (Some(start), Some(end)) = (time("start_time"), time("end_time")) {
        let part = above.is_some() || text("type") == Some("subsegment");
        let kind = match text("namespace") {
            Some("remote" | "aws") => CLIENT,
            Some(_) | None if part => INTERNAL,
            Some(_) | None => SERVER,
        };
        let failed =
            ["fault", "error", "throttle"].into_iter().find(|name| one.get(name) == Some(&Value::Bool(true)));
        let status = failed.map(|name| Status { code: STATUS_ERROR, message: name.to_owned() });
        let parent = above.map(<[u8]>::to_vec).or_else(|| Some(id_bytes(text("parent_id")?)?.to_vec()));
        spans.push(Span {
            trace_id: trace.to_vec(),
            span_id: id.to_vec(),
            parent_span_id: parent.unwrap_or_default(),
            name: text("name").unwrap_or_default().to_owned(),
            kind,
            start_time_unix_nano: nanos(start),
            end_time_unix_nano: nanos(end.max(start)),
            attributes: attributes(one),
            status: Some(status.unwrap_or_default()),
        });
    }
    for below in one.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
        add(below, trace, Some(&id), spans);
    }
}

/// 16 hexadecimal digits.
fn id_bytes(text: &str) -> Option<[u8; 8]> {
    let fits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(u64::to_be_bytes)
}

fn attributes(one: &Value) -> Vec<KeyValue> {
    let mut all = Attributes::default();
    let http = |part: &str, name: &str| one.get("http")?.get(part)?.get(name);
    for (part, name, key) in [
        ("request", "method", "http.request.method"),
        ("request", "url", "url.full"),
        ("request", "user_agent", "user_agent.original"),
        ("request", "client_ip", "client.address"),
    ] {
        if let Some(text) = http(part, name).and_then(Value::as_str) {
            all = all.text(key, text);
        }
    }
    if let Some(status) = http("response", "status").and_then(Value::as_u64) {
        all = all.number("http.response.status_code", status);
    }
    for (name, value) in one.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        all = match value {
            Value::String(text) => all.text(name, text),
            Value::Bool(truth) => all.truth(name, *truth),
            Value::Number(number) => match number.as_u64() {
                Some(whole) => all.number(name, whole),
                None => all.text(name, number.to_string()),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => all,
        };
    }
    all.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_segment_and_its_parts_are_spans() {
        let document = json!({
            "id": "70de5b6f19ff9a0a", "trace_id": "1-581cf771-a006649127e371903a2de979", "name": "shop",
            "parent_id": "53995c3f42cd8ad8", "start_time": 2.0, "end_time": 3.5, "fault": true,
            "annotations": { "tenant": "t1", "items": 3, "big": true, "part": 0.5 },
            "http": { "request": { "method": "GET" }, "response": { "status": 502 } },
            "subsegments": [
                { "id": "0000000000000001", "name": "db", "namespace": "remote", "start_time": 2.5, "end_time": 3.0,
                  "subsegments": [{ "id": "0000000000000002", "name": "parse", "start_time": 2.5, "end_time": 2.6 }] },
                { "id": "0000000000000003", "name": "runs on", "start_time": 2.5, "in_progress": true },
                { "name": "nameless" },
            ],
        });
        let segment = Exported {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            service: None,
            document: document.to_string(),
        };
        let told = serde_json::to_value(resource_spans(&segment, "1")).unwrap();
        let spans = told["scopeSpans"][0]["spans"].as_array().unwrap();
        let shown: Vec<_> =
            spans.iter().map(|span| (&span["name"], &span["parentSpanId"], &span["kind"])).collect();
        assert_eq!(
            json!(shown),
            json!([
                ["shop", "53995c3f42cd8ad8", 2],
                ["db", "70de5b6f19ff9a0a", 3],
                ["parse", "0000000000000001", 1]
            ])
        );
        assert_eq!(
            (&spans[0]["traceId"], &spans[0]["endTimeUnixNano"]),
            (&json!("581cf771a006649127e371903a2de979"), &json!("3500000000"))
        );
        assert_eq!(spans[0]["status"], json!({ "code": 2, "message": "fault" }));
        assert_eq!(spans[0]["attributes"].as_array().unwrap().len(), 6);
        assert_eq!(told["resource"]["attributes"][0]["value"]["stringValue"], "shop");
        for none in ["", "{}", "[]", r#"{"trace_id":"1-581cf771-a006649127e371903a2de979"}"#] {
            assert!(resource_spans(&Exported { document: none.into(), ..segment.clone() }, "1").is_none());
        }
    }
}
