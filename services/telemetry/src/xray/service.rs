//! The segments that Lambda itself records of an invocation that X-Ray shows. Pure.
//!
//! ```text
//! NAME  AWS::Lambda              from the call's arrival until its answer; for an event, its acceptance
//! ├─ Dwell Time                  of an event: from its acceptance until its first attempt
//! ├─ Attempt #1                  of an event
//! │  └─ NAME  AWS::Lambda::Function
//! └─ NAME  AWS::Lambda::Function
//!    ├─ Initialization           of the environment, if the call waited for it
//!    ├─ Invocation               the handler; what the function itself records is below it
//!    └─ Overhead                 until the environment can take another call
//! ```
//! Parts of an event are subsegments sent by themselves, since its attempts come minutes apart.
//! Source: Lambda developer guide, "Visualize invocations with X-Ray".

use crate::timeline::{Timeline, micros};
use base::{
    InvocationRecord, InvocationSpan, InvocationTimes, Outcome, RequestEnd, SpanId, TracedRequest, VersionKey,
};
use serde_json::{Map, Value, json};

/// Numbers of parts of an invocation's span; those of [`crate::otlp`] are others, or the same part.
const FUNCTION: u8 = 6;
const INITIALIZATION: u8 = 7;
const OVERHEAD: u8 = 8;
const DWELL: u8 = 9;

/// What is told of an invocation that has run; nothing where X-Ray does not show it.
pub(super) fn of_invocation(record: &InvocationRecord) -> Vec<Value> {
    match &record.traced {
        Some(times) if times.span.shown => {
            let timeline = Timeline::of(record, times);
            let mut all = outer(record, &times.span, &timeline);
            all.push(function(record, times, &timeline));
            all
        }
        Some(_) | None => Vec::new(),
    }
}

/// What is told of a request that has no run.
pub(super) fn of_request(request: &TracedRequest<'_>) -> Vec<Value> {
    let span = &request.span;
    if !span.shown {
        return Vec::new();
    }
    let (from, to) = (micros(request.began), micros(request.ended));
    let id = request.request_id.to_string();
    let (status, attempt) = match request.how {
        RequestEnd::Accepted => (202, None),
        RequestEnd::Refused(status) => (status, span.attempt),
    };
    let mut one = match attempt {
        None => service(span, request.key, request.invoked_arn, &id, (from, to)),
        Some(attempt) => {
            part(span, &format!("Attempt #{}", attempt.number), (span.id, span.parent), (from, to))
        }
    };
    answered(&mut one, status);
    let mut all = vec![Value::Object(one)];
    all.extend(attempt.and_then(|_| dwell(span, from)));
    all
}

/// What is around the function's segment.
fn outer(record: &InvocationRecord, span: &InvocationSpan, timeline: &Timeline) -> Vec<Value> {
    let during = (timeline.first(), timeline.ended);
    let mut one = match span.attempt {
        None => service(span, &record.key, &record.invoked_arn, &record.request_id.to_string(), during),
        Some(attempt) => part(span, &format!("Attempt #{}", attempt.number), (span.id, span.parent), during),
    };
    answered(&mut one, 200);
    flag(&mut one, record.outcome);
    let mut all = vec![Value::Object(one)];
    all.extend(dwell(span, timeline.first()));
    all
}

/// The time that an event waited for its first attempt.
fn dwell(span: &InvocationSpan, until: i64) -> Option<Value> {
    let attempt = span.attempt.filter(|attempt| attempt.number == 1)?;
    let since = micros(attempt.since);
    let id = span.parent?.part(DWELL);
    Some(Value::Object(part(span, "Dwell Time", (id, span.parent), (since, until.max(since)))))
}

fn service(
    span: &InvocationSpan,
    key: &VersionKey,
    invoked_arn: &str,
    request_id: &str,
    during: (i64, i64),
) -> Map<String, Value> {
    let mut one = segment(span, key.name.as_str(), (span.id, span.parent), during);
    one.insert("origin".into(), "AWS::Lambda".into());
    one.insert("resource_arn".into(), invoked_arn.into());
    one.insert("aws".into(), json!({ "request_id": request_id }));
    one
}

fn function(record: &InvocationRecord, times: &InvocationTimes, timeline: &Timeline) -> Value {
    let span = &times.span;
    let arn = crate::resource_arn(&record.key);
    let within = |name: &str, id: SpanId, (from, to): (i64, i64)| {
        let mut one = times_of((from, to));
        one.insert("id".into(), id.to_string().into());
        one.insert("name".into(), name.into());
        one.insert("aws".into(), json!({ "function_arn": arn }));
        one
    };
    let mut parts = Vec::with_capacity(3);
    let mut from = timeline.began;
    if let Some(start) = &timeline.start {
        from = from.min(start.isolated);
        let during = (start.isolated, start.ready);
        parts.push(Value::Object(within("Initialization", span.id.part(INITIALIZATION), during)));
    }
    let mut run = within("Invocation", span.run(), (timeline.began, timeline.answered));
    flag(&mut run, record.outcome);
    parts.push(Value::Object(run));
    let rest = (timeline.answered, timeline.ended);
    parts.push(Value::Object(within("Overhead", span.id.part(OVERHEAD), rest)));
    let mut one = segment(
        span,
        record.key.name.as_str(),
        (span.id.part(FUNCTION), Some(span.id)),
        (from, timeline.ended),
    );
    one.insert("origin".into(), "AWS::Lambda::Function".into());
    one.insert("resource_arn".into(), arn.clone().into());
    let (account, name) = (record.key.account.to_string(), record.key.name.as_str());
    one.insert("aws".into(), json!({ "account_id": account, "function_arn": arn, "resource_names": [name] }));
    one.insert("subsegments".into(), parts.into());
    flag(&mut one, record.outcome);
    Value::Object(one)
}

/// A segment of the invocation's trace; a subsegment that is sent by itself is one more.
fn segment(
    span: &InvocationSpan,
    name: &str,
    (id, parent): (SpanId, Option<SpanId>),
    during: (i64, i64),
) -> Map<String, Value> {
    let mut one = times_of(during);
    one.insert("id".into(), id.to_string().into());
    one.insert("trace_id".into(), span.trace.root().into());
    one.insert("name".into(), name.into());
    if let Some(parent) = parent {
        one.insert("parent_id".into(), parent.to_string().into());
    }
    one
}

/// A part of an event, below its acceptance.
fn part(
    span: &InvocationSpan,
    name: &str,
    (id, parent): (SpanId, Option<SpanId>),
    during: (i64, i64),
) -> Map<String, Value> {
    let mut one = segment(span, name, (id, parent), during);
    // Without a parent there is nothing that it could be a part of.
    if parent.is_some() {
        one.insert("type".into(), "subsegment".into());
    }
    one
}

fn times_of((from, to): (i64, i64)) -> Map<String, Value> {
    let seconds = |at: i64| Value::from(at as f64 / 1e6);
    Map::from_iter([("start_time".into(), seconds(from)), ("end_time".into(), seconds(to.max(from)))])
}

fn answered(one: &mut Map<String, Value>, status: u16) {
    one.insert("http".into(), json!({ "response": { "status": status } }));
    match status {
        429 => {
            one.insert("error".into(), true.into());
            one.insert("throttle".into(), true.into());
        }
        400..=499 => {
            one.insert("error".into(), true.into());
        }
        500..=599 => {
            one.insert("fault".into(), true.into());
        }
        _ => {}
    }
}

fn flag(one: &mut Map<String, Value>, outcome: Outcome) {
    match outcome {
        Outcome::Success => {}
        Outcome::Error | Outcome::Timeout | Outcome::OutOfMemory => {
            one.insert("fault".into(), true.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{otlp::sample, xray::segment};
    use base::{Attempt, Micros, Timestamp};

    fn shown() -> InvocationRecord {
        let mut record = sample::cold();
        if let Some(times) = &mut record.traced {
            times.span.shown = true;
            times.answered = Micros(6_000);
        }
        record
    }

    fn rows(documents: &[Value]) -> Vec<(String, i64, i64)> {
        let at = |one: &Value, name: &str| (one[name].as_f64().unwrap() * 1e6).round() as i64;
        let one = |one: &Value| {
            (one["name"].as_str().unwrap().to_owned(), at(one, "start_time"), at(one, "end_time"))
        };
        documents.iter().map(one).collect()
    }

    fn expected(rows: &[(&str, i64, i64)]) -> Vec<(String, i64, i64)> {
        rows.iter().map(|(name, from, to)| ((*name).to_owned(), *from, *to)).collect()
    }

    #[test]
    fn a_cold_call_is_two_segments_and_three_parts() {
        let all = of_invocation(&shown());
        assert!(all.iter().all(|one| segment::parse(&one.to_string()).is_ok()), "{all:?}");
        assert_eq!(rows(&all), expected(&[("f", 1_023_000, 1_047_000), ("f", 1_026_000, 1_047_000)]));
        assert_eq!(
            (&all[0]["origin"], &all[1]["origin"]),
            (&json!("AWS::Lambda"), &json!("AWS::Lambda::Function"))
        );
        assert_eq!((&all[0]["parent_id"], &all[1]["parent_id"]), (&json!("53995c3f42cd8ad8"), &all[0]["id"]));
        assert_eq!(all[0]["trace_id"], "1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea");
        let parts = all[1]["subsegments"].as_array().unwrap();
        assert_eq!(
            rows(parts),
            expected(&[
                ("Initialization", 1_026_000, 1_039_000),
                ("Invocation", 1_040_000, 1_046_000),
                ("Overhead", 1_046_000, 1_047_000),
            ])
        );
        assert_eq!(parts[1]["id"], json!(shown().traced.unwrap().span.run().to_string()));
        assert!([&all[0], &all[1], &parts[1]].iter().all(|one| one["fault"] == true), "it failed");
        let warm = InvocationRecord { cold: None, outcome: Outcome::Success, ..shown() };
        let all = of_invocation(&warm);
        assert_eq!((all[1]["subsegments"].as_array().unwrap().len(), all[0].get("fault")), (2, None));
        assert!(of_invocation(&sample::cold()).is_empty(), "it is recorded for export only");
    }

    #[test]
    fn an_event_is_its_acceptance_its_dwell_time_and_its_attempts() {
        let record = shown();
        let caller = record.traced.unwrap().span;
        let accepted = InvocationSpan { id: SpanId::from_random([3; 8]), ..caller };
        let request = TracedRequest {
            key: &record.key,
            invoked_arn: &record.invoked_arn,
            request_id: record.request_id,
            span: accepted,
            began: Timestamp(900),
            ended: Timestamp(901),
            how: RequestEnd::Accepted,
        };
        let all = of_request(&request);
        assert_eq!(rows(&all), expected(&[("f", 900_000, 901_000)]));
        assert_eq!((&all[0]["http"]["response"]["status"], &all[0]["fault"]), (&json!(202), &Value::Null));
        let since = Timestamp(900);
        let mut attempts = Vec::new();
        for number in [1, 2] {
            let mut record = shown();
            let span = InvocationSpan {
                parent: Some(accepted.id),
                attempt: Some(Attempt { number, since }),
                ..caller
            };
            record.traced.as_mut().unwrap().span = span;
            let told = of_invocation(&record);
            assert!(told.iter().all(|one| segment::parse(&one.to_string()).is_ok()), "{told:?}");
            assert_eq!(told[0]["parent_id"], all[0]["id"]);
            attempts.extend(told);
        }
        let names: Vec<String> = rows(&attempts).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["Attempt #1", "Dwell Time", "f", "Attempt #2", "f"]);
        assert_eq!(rows(&attempts)[1], ("Dwell Time".to_owned(), 900_000, 1_023_000));
        let span = InvocationSpan { attempt: Some(Attempt { number: 2, since }), ..caller };
        let refused = of_request(&TracedRequest { span, how: RequestEnd::Refused(429), ..request });
        assert_eq!(
            (refused.len(), &refused[0]["name"], &refused[0]["throttle"]),
            (1, &json!("Attempt #2"), &json!(true))
        );
    }
}
