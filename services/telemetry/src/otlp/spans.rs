//! Invocations as spans, and lines as log records. Pure.
//!
//! ```text
//! NAME                       from the call's arrival at the fleet until the answer
//! ├─ queue                   waiting for permission to start, or for an environment that is busy
//! ├─ start                   of the environment that it got, if it waited for it
//! │  ├─ sandbox
//! │  └─ boot
//! ├─ init                    the function's own initialisation
//! └─ run                     the handler; what the function itself records is below it
//! ```
//! An event has a span of its acceptance, `accept`; below it are `queue`, until its first attempt, and an invocation as above for
//! each attempt. Attributes by OpenTelemetry's semantic conventions of FaaS and cloud; what has no name there is below `neap.`.

use super::{
    Line, Request,
    message::{
        Any, AnyValue, ExportLogs, ExportTraces, LogRecord, ResourceLogs, ResourceSpans, ScopeLogs,
        ScopeSpans, Span, Status,
    },
    segments::{self, Exported},
    tree::{Attributes, nanos, scope},
};
use crate::{
    resource_arn,
    timeline::{Timeline, micros},
};
use base::{
    InvocationRecord, InvocationSpan, InvocationTimes, Micros, Outcome, RequestEnd, SpanId, VersionKey,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// `SPAN_KIND_*`.
pub(super) const INTERNAL: i32 = 1;
pub(super) const SERVER: i32 = 2;
pub(super) const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
/// `STATUS_CODE_ERROR`.
pub(super) const STATUS_ERROR: i32 = 2;
/// `SEVERITY_NUMBER_*` of lines that say their level.
const SEVERITIES: [(&str, i32); 6] =
    [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17), ("FATAL", 21)];

/// `ExportTraceServiceRequest`.
pub(super) fn traces(
    records: &[InvocationRecord],
    requests: &[Request],
    segments: &[Exported],
    version: &str,
) -> ExportTraces {
    let mut by_version: BTreeMap<&VersionKey, Vec<&InvocationRecord>> = BTreeMap::new();
    for record in records {
        by_version.entry(&record.key).or_default().push(record);
    }
    let resources = by_version.values().filter_map(|records| {
        let spans: Vec<Span> = records.iter().flat_map(|record| invocation(record)).collect();
        Some(of_resource(function(records.first()?), spans, version))
    });
    let requests = requests.iter().map(|one| request(one, version));
    let segments = segments.iter().filter_map(|segment| segments::resource_spans(segment, version));
    ExportTraces { resource_spans: resources.chain(requests).chain(segments).collect() }
}

pub(super) fn of_resource(resource: Attributes, spans: Vec<Span>, version: &str) -> ResourceSpans {
    ResourceSpans {
        resource: resource.resource(),
        scope_spans: vec![ScopeSpans { scope: scope(version), spans }],
    }
}

/// A function as a resource.
fn place(key: &VersionKey) -> Attributes {
    Attributes::default()
        .text("service.name", key.name.as_str())
        .text("faas.name", key.name.as_str())
        .text("faas.version", key.version.to_string())
        .text("cloud.account.id", key.account.to_string())
        .text("cloud.region", key.region.as_str())
        .text("cloud.resource_id", resource_arn(key))
}

fn function(record: &InvocationRecord) -> Attributes {
    place(&record.key)
        .number("faas.max_memory", record.memory.bytes().0)
        .text("host.arch", if &*record.architecture == "x86_64" { "amd64" } else { "arm64" })
}

/// The spans of one invocation, in microseconds since 1970.
struct Spans {
    span: InvocationSpan,
    all: Vec<Span>,
}

impl Spans {
    fn add(&mut self, name: &str, id: SpanId, parent: SpanId, from: i64, to: i64) {
        let span = InvocationSpan { id, parent: Some(parent), ..self.span };
        self.all.push(during(&span, name, INTERNAL, (from, to)));
    }
}

fn during(span: &InvocationSpan, name: &str, kind: i32, (from, to): (i64, i64)) -> Span {
    Span {
        trace_id: span.trace.bytes().to_vec(),
        span_id: span.id.bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
        name: name.to_owned(),
        kind,
        start_time_unix_nano: nanos(from),
        end_time_unix_nano: nanos(to.max(from)),
        ..Span::default()
    }
}

fn invocation(record: &InvocationRecord) -> Vec<Span> {
    let Some(times) = record.traced else { return Vec::new() };
    let root = times.span.id;
    let timeline = Timeline::of(record, &times);
    let mut spans = Spans { span: times.span, all: Vec::with_capacity(7) };
    let first = timeline.first();
    if let Some((accepted, since)) = waited(&times.span) {
        spans.add("queue", accepted.part(1), accepted, since, first);
    }
    if let Some(start) = &timeline.start {
        spans.add("queue", root.part(1), root, first, start.began);
        spans.add("start", root.part(2), root, start.began, start.booted);
        spans.add("sandbox", root.part(3), root.part(2), start.began, start.isolated);
        spans.add("boot", root.part(4), root.part(2), start.isolated, start.booted);
        spans.add("init", root.part(5), root, start.booted, start.ready);
    } else if record.waited > Micros(0) {
        spans.add("queue", root.part(1), root, timeline.arrived, timeline.began);
    }
    spans.add("run", times.span.run(), root, timeline.began, timeline.ended);
    spans.all.insert(0, whole(record, &times, timeline.start.is_some(), first, timeline.ended));
    spans.all
}

/// Before the first attempt at an event: where it was accepted, and since when it has waited.
fn waited(span: &InvocationSpan) -> Option<(SpanId, i64)> {
    let attempt = span.attempt.filter(|attempt| attempt.number == 1)?;
    Some((span.parent?, micros(attempt.since)))
}

/// A request that has no run: an event's acceptance, or a call that was refused.
fn request(one: &Request, version: &str) -> ResourceSpans {
    let attributes = Attributes::default()
        .text("faas.invocation_id", one.request_id.to_string())
        .text("aws.lambda.invoked_arn", &*one.invoked_arn);
    let (name, kind, attributes, status) = match one.how {
        RequestEnd::Accepted => ("accept", PRODUCER, attributes, Status::default()),
        RequestEnd::Refused(status) => {
            let message = format!("refused with status {status}");
            let attributes = attributes.text("error.type", status.to_string());
            (one.key.name.as_str(), SERVER, attributes, Status { code: STATUS_ERROR, message })
        }
    };
    let span = Span {
        attributes: attributes.done(),
        status: Some(status),
        ..during(&one.span, name, kind, (micros(one.began), micros(one.ended)))
    };
    of_resource(place(&one.key), vec![span], version)
}

fn whole(record: &InvocationRecord, times: &InvocationTimes, cold: bool, from: i64, to: i64) -> Span {
    let mut attributes = Attributes::default()
        .text("faas.invocation_id", record.request_id.to_string())
        .truth("faas.coldstart", cold)
        .text("aws.lambda.invoked_arn", &*record.invoked_arn)
        .number("neap.billed_ms", record.billed.0)
        .number("neap.memory_used", record.memory_used_bytes);
    if let Some(attempt) = times.span.attempt {
        attributes = attributes.number("neap.attempt", attempt.number.into());
    }
    let failure = match record.outcome {
        Outcome::Success => None,
        Outcome::Error => Some(("error", "the function reported an error or crashed")),
        Outcome::Timeout => Some(("timeout", "the function exceeded its time")),
        Outcome::OutOfMemory => Some(("out_of_memory", "the function exceeded its memory")),
    };
    let mut status = Status::default();
    if let Some((kind, message)) = failure {
        attributes = attributes.text("error.type", kind);
        status = Status { code: STATUS_ERROR, message: message.to_owned() };
    }
    Span {
        attributes: attributes.done(),
        status: Some(status),
        ..during(&times.span, record.key.name.as_str(), SERVER, (from, to))
    }
}

/// `ExportLogsServiceRequest`.
pub(super) fn logs(lines: &[Line], version: &str) -> ExportLogs {
    let mut by_stream: BTreeMap<(String, &str, &str, &str), Vec<&Line>> = BTreeMap::new();
    for line in lines {
        let place = (line.account.to_string(), line.region.as_str(), &*line.group, &*line.stream);
        by_stream.entry(place).or_default().push(line);
    }
    let resources = by_stream.into_iter().map(|((account, region, group, stream), lines)| {
        let service = group.strip_prefix("/aws/lambda/").unwrap_or(group);
        let attributes = Attributes::default()
            .text("service.name", service)
            .text("cloud.account.id", account)
            .text("cloud.region", region)
            .text("aws.log.group.names", group)
            .text("aws.log.stream.names", stream);
        ResourceLogs {
            resource: attributes.resource(),
            scope_logs: vec![ScopeLogs {
                scope: scope(version),
                log_records: lines.into_iter().map(record).collect(),
            }],
        }
    });
    ExportLogs { resource_logs: resources.collect() }
}

fn record(line: &Line) -> LogRecord {
    let mut record = LogRecord {
        time_unix_nano: nanos(micros(line.event.at)),
        observed_time_unix_nano: nanos(micros(line.seen)),
        body: Some(AnyValue { value: Some(Any::Text(line.event.message.clone())) }),
        ..LogRecord::default()
    };
    if let Some((name, number)) = severity(&line.event.message) {
        record.severity_text = name.to_owned();
        record.severity_number = number;
    }
    if let Some(within) = &line.within {
        record.trace_id = within.span.trace.bytes().to_vec();
        record.span_id = within.span.run().bytes().to_vec();
        record.flags = 1;
        record.attributes =
            Attributes::default().text("faas.invocation_id", within.request_id.to_string()).done();
    }
    record
}

/// The level of a line of a managed runtime: `[ERROR]\t…` of Python, `time\tid\tERROR\t…` of Node.js, `"level":"ERROR"` of JSON.
fn severity(line: &str) -> Option<(&'static str, i32)> {
    let named = |word: &str| {
        SEVERITIES.into_iter().find(|(name, _)| *name == if word == "WARNING" { "WARN" } else { word })
    };
    if let Some(rest) = line.strip_prefix('[') {
        return named(rest.split_once(']')?.0);
    }
    if line.starts_with('{') {
        let value: Value = serde_json::from_str(line).ok()?;
        return named(value.get("level")?.as_str()?);
    }
    named(line.split('\t').nth(2)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::sample::cold;
    use base::{Attempt, Phases, Timestamp};
    use proptest::prelude::*;
    use serde_json::json;

    /// As they look in JSON.
    fn spans_of(record: &InvocationRecord) -> Vec<Value> {
        invocation(record).iter().map(|span| serde_json::to_value(span).unwrap()).collect()
    }

    fn shown(record: &InvocationRecord) -> Vec<(String, String, i64, i64)> {
        let text = |span: &Value, name: &str| span[name].as_str().unwrap().to_owned();
        let at = |span: &Value, name: &str| text(span, name).parse::<i64>().unwrap() / 1_000;
        let spans = spans_of(record);
        let name_of = |id: &str| {
            let found = spans.iter().find(|span| span["spanId"] == id);
            found.map_or_else(|| "caller".to_owned(), |span| text(span, "name"))
        };
        let one = |span: &Value| {
            let parent = name_of(&text(span, "parentSpanId"));
            (text(span, "name"), parent, at(span, "startTimeUnixNano"), at(span, "endTimeUnixNano"))
        };
        spans.iter().map(one).collect()
    }

    fn expected(rows: &[(&str, &str, i64, i64)]) -> Vec<(String, String, i64, i64)> {
        rows.iter().map(|(name, parent, from, to)| ((*name).into(), (*parent).into(), *from, *to)).collect()
    }

    #[test]
    fn a_cold_start_is_seen_part_by_part() {
        let rows = [
            ("f", "caller", 1_023_000, 1_047_000),
            ("queue", "f", 1_023_000, 1_024_000),
            ("start", "f", 1_024_000, 1_036_000),
            ("sandbox", "start", 1_024_000, 1_026_000),
            ("boot", "start", 1_026_000, 1_036_000),
            ("init", "f", 1_036_000, 1_039_000),
            ("run", "f", 1_040_000, 1_047_000),
        ];
        assert_eq!(shown(&cold()), expected(&rows));
        let root = &spans_of(&cold())[0];
        assert_eq!(root["status"]["code"], 2);
        assert_eq!(root["attributes"][1], json!({ "key": "faas.coldstart", "value": { "boolValue": true } }));
    }

    #[test]
    fn a_warm_invocation_has_no_start_and_neither_has_one_that_did_not_wait_for_it() {
        let rows = [("f", "caller", 1_040_000, 1_047_000), ("run", "f", 1_040_000, 1_047_000)];
        let warm = InvocationRecord { cold: None, waited: Micros(0), outcome: Outcome::Success, ..cold() };
        assert_eq!(shown(&warm), expected(&rows));
        assert_eq!(spans_of(&warm)[0]["status"], json!({}));
        let times = InvocationTimes { started: Timestamp(5), ..warm.traced.unwrap() };
        let provisioned = InvocationRecord { waited: Micros(0), traced: Some(times), ..cold() };
        assert_eq!(shown(&provisioned), expected(&rows));
        let untraced = InvocationRecord { traced: None, ..cold() };
        assert!(spans_of(&untraced).is_empty());
    }

    #[test]
    fn an_event_waits_below_its_acceptance() {
        let mut record = InvocationRecord { waited: Micros(0), cold: None, ..cold() };
        let span = &mut record.traced.as_mut().unwrap().span;
        let accepted = span.parent.unwrap();
        span.attempt = Some(Attempt { number: 1, since: Timestamp(900) });
        let spans = spans_of(&record);
        let queue = spans.iter().find(|span| span["name"] == "queue").unwrap();
        assert_eq!(queue["parentSpanId"], accepted.to_string());
        assert_eq!(
            (&queue["startTimeUnixNano"], &queue["endTimeUnixNano"]),
            (&json!("900000000"), &json!("1040000000"))
        );
        record.traced.as_mut().unwrap().span.attempt = Some(Attempt { number: 2, since: Timestamp(900) });
        assert!(spans_of(&record).iter().all(|span| span["name"] != "queue"));
    }

    #[test]
    fn levels_are_read_as_runtimes_write_them() {
        let level = |line: &str| severity(line).map(|(name, _)| name);
        assert_eq!(level("[ERROR] ValueError: no"), Some("ERROR"));
        assert_eq!(level("[WARNING]\t2026-01-01T00:00:00.000Z\tid\ttext\n"), Some("WARN"));
        assert_eq!(level("2026-01-01T00:00:00.000Z\tid\tINFO\ttext"), Some("INFO"));
        assert_eq!(level(r#"{"level":"DEBUG","message":"x"}"#), Some("DEBUG"));
        for none in ["", "text", "[x", "a\tb\tc", "{", "START RequestId: x Version: 1"] {
            assert_eq!(level(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn parts_never_end_before_they_begin(
            waited in any::<u32>(), run in any::<u32>(), phases in any::<[u32; 4]>(), started in any::<i32>(),
        ) {
            let [queue, sandbox, boot, init] = phases.map(|took| Micros(took.into()));
            let times = InvocationTimes { started: Timestamp(started.into()), ..cold().traced.unwrap() };
            let record = InvocationRecord {
                waited: Micros(waited.into()), run: Micros(run.into()), traced: Some(times),
                cold: Some(Phases { queue, sandbox, boot, init }), ..cold()
            };
            let rows = shown(&record);
            let (_, _, first, last) = rows[0].clone();
            for (name, _, from, to) in rows {
                prop_assert!(first <= from && from <= to && to <= last, "{name}");
            }
        }
    }
}
