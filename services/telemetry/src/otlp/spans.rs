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
//! Attributes by OpenTelemetry's semantic conventions of FaaS and cloud; what has no name there is below `neap.`.

use super::{
    Line, resource_arn,
    segments::{self, Exported},
    tree::{Attributes, micros, nanos, scope},
};
use base::{InvocationRecord, InvocationTimes, Micros, Outcome, Phases, SpanId, VersionKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;
/// `SEVERITY_NUMBER_*` of lines that say their level.
const SEVERITIES: [(&str, u8); 6] =
    [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17), ("FATAL", 21)];

/// `ExportTraceServiceRequest`.
pub(super) fn traces(records: &[InvocationRecord], segments: &[Exported], version: &str) -> Value {
    let mut by_version: BTreeMap<&VersionKey, Vec<&InvocationRecord>> = BTreeMap::new();
    for record in records {
        by_version.entry(&record.key).or_default().push(record);
    }
    let resources = by_version.values().filter_map(|records| {
        let spans: Vec<Value> = records.iter().flat_map(|record| invocation(record)).collect();
        Some(json!({
            "resource": { "attributes": function(records.first()?) },
            "scopeSpans": [{ "scope": scope(version), "spans": spans }],
        }))
    });
    let segments = segments.iter().filter_map(|segment| segments::resource_spans(segment, version));
    json!({ "resourceSpans": resources.chain(segments).collect::<Vec<_>>() })
}

fn function(record: &InvocationRecord) -> Value {
    let key = &record.key;
    Attributes::default()
        .text("service.name", key.name.as_str())
        .text("faas.name", key.name.as_str())
        .text("faas.version", key.version.to_string())
        .number("faas.max_memory", record.memory.bytes().0)
        .text("cloud.account.id", key.account.to_string())
        .text("cloud.region", key.region.as_str())
        .text("cloud.resource_id", resource_arn(key))
        .text("host.arch", if record.architecture == "x86_64" { "amd64" } else { "arm64" })
        .done()
}

/// The spans of one invocation, in microseconds since 1970.
struct Spans {
    times: InvocationTimes,
    all: Vec<Value>,
}

impl Spans {
    fn add(&mut self, name: &str, id: SpanId, parent: SpanId, from: i64, to: i64) {
        self.all.push(json!({
            "traceId": self.times.span.trace.to_string(), "spanId": id.to_string(),
            "parentSpanId": parent.to_string(), "name": name, "kind": INTERNAL,
            "startTimeUnixNano": nanos(from), "endTimeUnixNano": nanos(to.max(from)),
        }));
    }
}

fn invocation(record: &InvocationRecord) -> Vec<Value> {
    let Some(times) = record.traced else { return Vec::new() };
    let root = times.span.id;
    let began = micros(times.began);
    let ended = began + signed(record.run);
    let arrived = began - signed(record.waited);
    let start = record.cold.and_then(|phases| awaited(&times, &phases, arrived, began));
    let mut spans = Spans { times, all: Vec::with_capacity(6) };
    let first = match &start {
        Some(start) => start.queued.min(arrived),
        None => arrived,
    };
    if let Some(start) = &start {
        spans.add("queue", root.part(1), root, first, start.began);
        spans.add("start", root.part(2), root, start.began, start.booted);
        spans.add("sandbox", root.part(3), root.part(2), start.began, start.isolated);
        spans.add("boot", root.part(4), root.part(2), start.isolated, start.booted);
        spans.add("init", root.part(5), root, start.booted, start.ready);
    } else if record.waited > Micros(0) {
        spans.add("queue", root.part(1), root, arrived, began);
    }
    spans.add("run", times.span.run(), root, began, ended);
    spans.all.insert(0, whole(record, &times, start.is_some(), first, ended));
    spans.all
}

/// A start that an invocation waited for: when its parts were over.
struct Start {
    queued: i64,
    began: i64,
    isolated: i64,
    booted: i64,
    ready: i64,
}

/// `None` where the environment was ready before the call came: its start cost the call nothing.
fn awaited(times: &InvocationTimes, phases: &Phases, arrived: i64, began: i64) -> Option<Start> {
    let started = micros(times.started);
    let total = signed(phases.sandbox) + signed(phases.boot) + signed(phases.init);
    // Times are told in whole milliseconds: what ends after the run began has begun earlier.
    let started = started.min(began - total);
    let isolated = started + signed(phases.sandbox);
    let booted = isolated + signed(phases.boot);
    let ready = booted + signed(phases.init);
    (ready > arrived).then(|| Start {
        queued: started - signed(phases.queue),
        began: started,
        isolated,
        booted,
        ready,
    })
}

fn whole(record: &InvocationRecord, times: &InvocationTimes, cold: bool, from: i64, to: i64) -> Value {
    let mut attributes = Attributes::default()
        .text("faas.invocation_id", record.request_id.to_string())
        .truth("faas.coldstart", cold)
        .text("aws.lambda.invoked_arn", &record.invoked_arn)
        .number("neap.billed_ms", record.billed.0)
        .number("neap.memory_used", record.memory_used_bytes);
    let failure = match record.outcome {
        Outcome::Success => None,
        Outcome::Error => Some(("error", "the function reported an error or crashed")),
        Outcome::Timeout => Some(("timeout", "the function exceeded its time")),
        Outcome::OutOfMemory => Some(("out_of_memory", "the function exceeded its memory")),
    };
    let mut status = json!({});
    if let Some((kind, message)) = failure {
        attributes = attributes.text("error.type", kind);
        status = json!({ "code": STATUS_ERROR, "message": message });
    }
    json!({
        "traceId": times.span.trace.to_string(), "spanId": times.span.id.to_string(),
        "parentSpanId": times.span.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        "name": record.key.name.as_str(), "kind": SERVER,
        "startTimeUnixNano": nanos(from), "endTimeUnixNano": nanos(to),
        "attributes": attributes.done(), "status": status,
    })
}

fn signed(took: Micros) -> i64 {
    i64::try_from(took.0).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// `ExportLogsServiceRequest`.
pub(super) fn logs(lines: &[Line], version: &str) -> Value {
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
        let records: Vec<Value> = lines.into_iter().map(record).collect();
        json!({
            "resource": { "attributes": attributes.done() },
            "scopeLogs": [{ "scope": scope(version), "logRecords": records }],
        })
    });
    json!({ "resourceLogs": resources.collect::<Vec<_>>() })
}

fn record(line: &Line) -> Value {
    let mut record = json!({
        "timeUnixNano": nanos(micros(line.event.at)), "observedTimeUnixNano": nanos(micros(line.seen)),
        "body": { "stringValue": line.event.message },
    });
    let Some(fields) = record.as_object_mut() else { return record };
    if let Some((name, number)) = severity(&line.event.message) {
        fields.insert("severityText".into(), name.into());
        fields.insert("severityNumber".into(), number.into());
    }
    if let Some(within) = &line.within {
        fields.insert("traceId".into(), within.span.trace.to_string().into());
        fields.insert("spanId".into(), within.span.run().to_string().into());
        fields.insert("flags".into(), 1.into());
        let id = Attributes::default().text("faas.invocation_id", within.request_id.to_string());
        fields.insert("attributes".into(), id.done());
    }
    record
}

/// The level of a line of a managed runtime: `[ERROR]\t…` of Python, `time\tid\tERROR\t…` of Node.js, `"level":"ERROR"` of JSON.
fn severity(line: &str) -> Option<(&'static str, u8)> {
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
    use base::{InvocationSpan, MemoryMib, Millis, RequestId, Timestamp, TraceHeader, Version};
    use proptest::prelude::*;

    fn cold() -> InvocationRecord {
        let header = TraceHeader::parse("Root=1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea;Parent=53995c3f42cd8ad8");
        let span = InvocationSpan {
            trace: header.trace.unwrap(),
            parent: header.parent,
            id: SpanId::from_random([9; 8]),
        };
        InvocationRecord {
            key: VersionKey {
                account: base::AccountId::DEFAULT,
                region: "us-east-1".parse().unwrap(),
                name: "f".parse().unwrap(),
                version: Version::Latest,
                revision: RequestId::from_random([1; 16]),
                tenant: None,
            },
            invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            request_id: RequestId::from_random([2; 16]),
            architecture: "x86_64".into(),
            at: Timestamp(1_050),
            memory: MemoryMib(128),
            scratch: MemoryMib(512),
            memory_used_bytes: 1,
            init: Micros(3_000),
            run: Micros(7_000),
            billed: Millis(10),
            provisioned: false,
            cold: Some(Phases {
                queue: Micros(1_000),
                sandbox: Micros(2_000),
                boot: Micros(10_000),
                init: Micros(3_000),
            }),
            outcome: Outcome::Error,
            waited: Micros(17_000),
            traced: Some(InvocationTimes { span, began: Timestamp(1_040), started: Timestamp(1_024) }),
        }
    }

    fn shown(record: &InvocationRecord) -> Vec<(String, String, i64, i64)> {
        let text = |span: &Value, name: &str| span[name].as_str().unwrap().to_owned();
        let at = |span: &Value, name: &str| text(span, name).parse::<i64>().unwrap() / 1_000;
        let spans = invocation(record);
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
        let root = &invocation(&cold())[0];
        assert_eq!(root["status"]["code"], 2);
        assert_eq!(root["attributes"][1], json!({ "key": "faas.coldstart", "value": { "boolValue": true } }));
    }

    #[test]
    fn a_warm_invocation_has_no_start_and_neither_has_one_that_did_not_wait_for_it() {
        let rows = [("f", "caller", 1_040_000, 1_047_000), ("run", "f", 1_040_000, 1_047_000)];
        let warm = InvocationRecord { cold: None, waited: Micros(0), outcome: Outcome::Success, ..cold() };
        assert_eq!(shown(&warm), expected(&rows));
        assert_eq!(invocation(&warm)[0]["status"], json!({}));
        let times = InvocationTimes { started: Timestamp(5), ..warm.traced.unwrap() };
        let provisioned = InvocationRecord { waited: Micros(0), traced: Some(times), ..cold() };
        assert_eq!(shown(&provisioned), expected(&rows));
        let untraced = InvocationRecord { traced: None, ..cold() };
        assert!(invocation(&untraced).is_empty());
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
