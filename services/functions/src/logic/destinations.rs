//! What is told of asynchronous invocations that have ended, and whom. Source: Lambda developer guide, "Capturing records of Lambda
//! asynchronous invocations" and "Adding a dead-letter queue".

use super::retry::{Fate, GivenUp};
use crate::{
    Error,
    model::{Event, EventConfig, FunctionId, Parcel},
};
use base::{Arn, FunctionError, RequestId, Timestamp, Version};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Characters of an error that a dead letter has as its attribute. Source: Lambda developer guide.
const ERROR_MAX: usize = 1_024;

/// Checks the ARN of a dead-letter queue.
pub fn dead_letters(arn: &str) -> Result<String, Error> {
    let parsed = arn
        .parse::<Arn>()
        .map_err(|_| Error::invalid(format!("The dead letter target ARN {arn} is invalid.")))?;
    match &*parsed.service {
        "sqs" => standard(&parsed, arn),
        "sns" => Err(Error::Unsupported {
            member: "DeadLetterConfig to a topic",
            reason: "there are no topics yet; name a queue",
        }),
        _ => Err(Error::invalid(format!("The dead letter target ARN {arn} must be of a queue or a topic."))),
    }
}

/// Checks the ARN of a destination of a function's records.
pub fn destination(arn: &str, of: &FunctionId) -> Result<String, Error> {
    let bad = |why: &str| Error::invalid(format!("The destination ARN {arn} is invalid. {why}"));
    let parsed = arn.parse::<Arn>().map_err(|_| bad("It is no ARN."))?;
    match &*parsed.service {
        "sqs" => standard(&parsed, arn),
        "lambda"
            if of.arn() == arn || arn.strip_prefix(&of.arn()).is_some_and(|rest| rest.starts_with(':')) =>
        {
            Err(bad("A function cannot be its own destination."))
        }
        "lambda" if parsed.resource.starts_with("function:") => Ok(arn.to_owned()),
        "sns" | "events" | "s3" => Err(Error::Unsupported {
            member: "DestinationConfig to a topic, bus or bucket",
            reason: "these services do not exist here yet; name a queue or a function",
        }),
        _ => Err(bad("It must be of a queue, topic, function or event bus.")),
    }
}

fn standard(parsed: &Arn, arn: &str) -> Result<String, Error> {
    match parsed.resource.ends_with(".fifo") {
        true => Err(Error::invalid(format!(
            "{arn} is a FIFO queue: only standard queues take events of functions."
        ))),
        false => Ok(arn.to_owned()),
    }
}

/// The id of the invocation that tells a function of another: its own, and the same each time it is told.
pub fn next_id(event: RequestId, target: &Arn) -> RequestId {
    let digest = Sha256::digest(format!("{event} {target}"));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    RequestId::from_random(bytes)
}

/// How the last attempt at an event ended.
#[derive(Clone, Copy, Debug)]
pub enum Last<'a> {
    /// It was answered.
    Answered(&'a Bytes),
    /// It failed.
    Failed(&'a FunctionError),
    /// The function did not run.
    NotRun,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: Payload,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<Payload>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: String,
    function_arn: &'a str,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

/// JSON as it is; what is none, as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum Payload {
    Json(Box<RawValue>),
    Text(String),
}

impl Payload {
    fn of(bytes: &Bytes) -> Payload {
        let text = String::from_utf8_lossy(bytes).into_owned();
        match text.trim().is_empty() {
            true => Payload::Json(RawValue::NULL.to_owned()),
            false => RawValue::from_string(text.clone()).map_or(Payload::Text(text), Payload::Json),
        }
    }
}

/// What is to be handed in when an event ends at `now` as `fate` says.
pub fn parcels(
    event: &Event,
    config: Option<&EventConfig>,
    dead_letters: Option<&str>,
    fate: Fate,
    last: Last<'_>,
    now: Timestamp,
) -> Vec<Parcel> {
    let (condition, target) = match fate {
        Fate::Again { .. } => return Vec::new(),
        Fate::Done => ("Success", config.and_then(|config| config.on_success.as_deref())),
        Fate::Drop(why) => {
            let condition = match why {
                GivenUp::EventAgeExceeded => "EventAgeExceeded",
                GivenUp::RetriesExhausted | GivenUp::NoFunction => "RetriesExhausted",
            };
            (condition, config.and_then(|config| config.on_failure.as_deref()))
        }
    };
    let attempts = event.failures + u32::from(!matches!(last, Last::NotRun));
    let mut parcels = Vec::new();
    if let Some(target) = target {
        parcels.push(Parcel {
            target: target.to_owned(),
            dead_letter: false,
            body: record(event, condition, attempts, last, now),
            attributes: Vec::new(),
            trace: event.trace.clone(),
        });
    }
    if let (Fate::Drop(why), Some(target)) = (fate, dead_letters) {
        parcels.push(Parcel {
            target: target.to_owned(),
            dead_letter: true,
            body: String::from_utf8_lossy(&event.payload).into_owned(),
            attributes: dead_letter_attributes(event, why, last),
            trace: event.trace.clone(),
        });
    }
    parcels
}

fn record(event: &Event, condition: &'static str, attempts: u32, last: Last<'_>, now: Timestamp) -> String {
    let response = |error| ResponseContext {
        status_code: 200,
        executed_version: event.version.to_string(),
        function_error: error,
    };
    let (response_context, response_payload) = match last {
        Last::Answered(body) => (Some(response(None)), Some(Payload::of(body))),
        Last::Failed(error) => (Some(response(Some(error.kind.as_str()))), Some(Payload::of(&error.payload))),
        Last::NotRun => (None, None),
    };
    let arn = match (event.invoked_arn.split(':').count(), event.version) {
        // The record always has a qualifier.
        (7, Version::Latest) => format!("{}:$LATEST", event.invoked_arn),
        _ => event.invoked_arn.clone(),
    };
    let record = Record {
        version: "1.0",
        timestamp: super::states::last_modified(now).replace("+0000", "Z"),
        request_context: RequestContext {
            request_id: event.request_id.to_string(),
            function_arn: &arn,
            condition,
            approximate_invoke_count: attempts,
        },
        request_payload: Payload::of(&event.payload),
        response_context,
        response_payload,
    };
    serde_json::to_string(&record).unwrap_or_default()
}

fn dead_letter_attributes(event: &Event, why: GivenUp, last: Last<'_>) -> Vec<(String, String)> {
    let message = match (last, why) {
        (Last::Failed(error), _) => {
            let told = serde_json::from_slice::<serde_json::Value>(&error.payload).ok();
            let told = told.and_then(|error| Some(error.get("errorMessage")?.as_str()?.to_owned()));
            told.unwrap_or_else(|| String::from_utf8_lossy(&error.payload).into_owned())
        }
        (_, GivenUp::EventAgeExceeded) => "The event's maximum age was exceeded.".to_owned(),
        (_, GivenUp::RetriesExhausted) => "The retries are used up.".to_owned(),
        (_, GivenUp::NoFunction) => "The function takes no invocations.".to_owned(),
    };
    let code = if matches!(last, Last::Failed(_)) { "200" } else { "500" };
    let mut attributes = vec![
        ("RequestID".to_owned(), event.request_id.to_string()),
        ("ErrorCode".to_owned(), code.to_owned()),
    ];
    let message: String = message.chars().filter(|c| !c.is_control()).take(ERROR_MAX).collect();
    if !message.is_empty() {
        attributes.push(("ErrorMessage".to_owned(), message));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::retry::Fate;
    use base::FunctionErrorKind;

    fn id() -> FunctionId {
        FunctionId {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        }
    }

    fn event() -> Event {
        Event {
            request_id: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            id: id(),
            version: Version::Latest,
            invoked_arn: id().arn(),
            payload: Bytes::from_static(b"{\"n\": 1}"),
            client_context: None,
            trace: Some("Root=1".to_owned()),
            tenant: None,
            accepted: Timestamp(0),
            failures: 2,
            refusals: 0,
            outcome: None,
        }
    }

    #[test]
    fn failures_are_told_to_both_and_successes_to_one() {
        let config = EventConfig {
            modified: Timestamp(0),
            retries_max: None,
            age_max: None,
            on_success: Some("arn:aws:sqs:us-east-1:000000000000:good".to_owned()),
            on_failure: Some("arn:aws:sqs:us-east-1:000000000000:bad".to_owned()),
        };
        let error = FunctionError {
            kind: FunctionErrorKind::Unhandled,
            payload: Bytes::from_static(b"{\"errorMessage\": \"no\"}"),
        };
        let drop = Fate::Drop(GivenUp::RetriesExhausted);
        let now = Timestamp(1_573_754_165_568);
        let told = parcels(&event(), Some(&config), Some("dlq"), drop, Last::Failed(&error), now);
        let [record, dead] = told.as_slice() else { panic!("{told:?}") };
        let record: serde_json::Value = serde_json::from_str(&record.body).unwrap();
        let wanted = serde_json::json!({
            "version": "1.0",
            "timestamp": "2019-11-14T17:56:05.568Z",
            "requestContext": {
                "requestId": "00000000-0000-0000-0000-000000000001",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": { "n": 1 },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "responsePayload": { "errorMessage": "no" },
        });
        assert_eq!(record, wanted);
        assert!(dead.dead_letter && dead.body == "{\"n\": 1}");
        assert_eq!(
            dead.attributes[1..],
            [("ErrorCode".to_owned(), "200".to_owned()), ("ErrorMessage".to_owned(), "no".to_owned())]
        );
        let body = Bytes::from_static(b"\"yes\"");
        let told = parcels(&event(), Some(&config), Some("dlq"), Fate::Done, Last::Answered(&body), now);
        assert_eq!(told.len(), 1);
        assert!(told[0].target.ends_with(":good"));
        let aged = Fate::Drop(GivenUp::EventAgeExceeded);
        let told = parcels(&event(), Some(&config), None, aged, Last::NotRun, now);
        let record: serde_json::Value = serde_json::from_str(&told[0].body).unwrap();
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 2);
        assert!(record.get("responsePayload").is_none());
        let again = Fate::Again { due: now, failures: 1, refusals: 0 };
        assert_eq!(parcels(&event(), Some(&config), Some("dlq"), again, Last::NotRun, now), []);
    }

    #[test]
    fn targets_are_checked() {
        dead_letters("arn:aws:sqs:us-east-1:000000000000:q").unwrap();
        destination("arn:aws:lambda:us-east-1:000000000000:function:g", &id()).unwrap();
        destination("arn:aws:lambda:us-east-1:000000000000:function:f2", &id()).unwrap();
        for bad in [
            "q",
            "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            "arn:aws:iam::000000000000:role/x",
            "arn:aws:sns:us-east-1:000000000000:t",
        ] {
            dead_letters(bad).unwrap_err();
            destination(bad, &id()).unwrap_err();
        }
        destination(&id().arn(), &id()).unwrap_err();
        destination(&format!("{}:live", id().arn()), &id()).unwrap_err();
    }
}
