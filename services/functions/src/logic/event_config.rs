//! What may be set about asynchronous invocations, and for which of them it holds.

use crate::{
    Error,
    api::{Destination, EventConfigRequest},
};
use base::Seconds;
use wire::Violations;

/// `MaximumRetryAttempts`. Source: Lambda API reference.
const RETRIES: std::ops::RangeInclusive<i64> = 0..=2;
/// `MaximumEventAgeInSeconds`. Source: Lambda API reference.
const AGE_S: std::ops::RangeInclusive<i64> = 60..=21_600;

/// What a request sets; `None` where it leaves it as it is, or at its default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `MaximumRetryAttempts`.
    pub retries_max: Option<u32>,
    /// `MaximumEventAgeInSeconds`.
    pub age_max: Option<Seconds>,
}

/// Checks a request.
pub fn wanted(input: &EventConfigRequest) -> Result<Wanted, Error> {
    let mut violations = Violations::default();
    if let Some(retries) = input.maximum_retry_attempts {
        violations.range("maximumRetryAttempts", retries, RETRIES);
    }
    if let Some(age) = input.maximum_event_age_in_seconds {
        violations.range("maximumEventAgeInSeconds", age, AGE_S);
    }
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    let set = |destination: &Option<Destination>| {
        let arn = destination.as_ref().and_then(|destination| destination.destination.as_deref());
        arn.is_some_and(|arn| !arn.is_empty())
    };
    if let Some(destinations) = &input.destination_config
        && (set(&destinations.on_success) || set(&destinations.on_failure))
    {
        return Err(Error::Unsupported {
            member: "DestinationConfig",
            reason: "there are no destinations for the records of asynchronous invocations yet; leave it out",
        });
    }
    if input.maximum_retry_attempts.is_none()
        && input.maximum_event_age_in_seconds.is_none()
        && input.destination_config.is_none()
    {
        return Err(Error::invalid(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let small = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    Ok(Wanted {
        retries_max: small(input.maximum_retry_attempts),
        age_max: small(input.maximum_event_age_in_seconds).map(Seconds),
    })
}

/// The qualifier by which an invocation named its function: what is set for that one holds for it.
pub fn qualifier(invoked_arn: &str) -> &str {
    invoked_arn.split(':').nth(7).unwrap_or("$LATEST")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_checked() {
        let asked = |body: serde_json::Value| {
            let mut input = serde_json::json!({ "FunctionName": "f" });
            input.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            wanted(&serde_json::from_value(input).unwrap())
        };
        let both =
            asked(serde_json::json!({ "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60 })).unwrap();
        assert_eq!(both, Wanted { retries_max: Some(0), age_max: Some(Seconds(60)) });
        let empty = serde_json::json!({ "DestinationConfig": { "OnSuccess": {}, "OnFailure": { "Destination": "" } } });
        assert_eq!(asked(empty).unwrap(), Wanted { retries_max: None, age_max: None });
        for (body, told) in [
            (serde_json::json!({}), "You must specify at least one"),
            (serde_json::json!({ "MaximumRetryAttempts": 3 }), "'maximumRetryAttempts'"),
            (serde_json::json!({ "MaximumRetryAttempts": -1 }), "'maximumRetryAttempts'"),
            (serde_json::json!({ "MaximumEventAgeInSeconds": 59 }), "'maximumEventAgeInSeconds'"),
            (
                serde_json::json!({ "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:1:q" } } }),
                "DestinationConfig is not supported",
            ),
        ] {
            let text = asked(body.clone()).unwrap_err().to_string();
            assert!(text.contains(told), "{body}: {text}");
        }
    }

    #[test]
    fn invocations_without_a_qualifier_are_of_latest() {
        assert_eq!(qualifier("arn:aws:lambda:us-east-1:000000000000:function:f"), "$LATEST");
        assert_eq!(qualifier("arn:aws:lambda:us-east-1:000000000000:function:f:live"), "live");
    }
}
