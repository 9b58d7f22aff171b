//! What may be set about asynchronous invocations, and for which of them it holds.

use super::destinations;
use crate::{
    Error,
    api::{Destination, DestinationConfig, EventConfigRequest},
    model::{EventConfig, FunctionId},
};
use base::Seconds;
use wire::Violations;

/// `MaximumRetryAttempts`. Source: Lambda API reference.
const RETRIES: std::ops::RangeInclusive<i64> = 0..=2;
/// `MaximumEventAgeInSeconds`. Source: Lambda API reference.
const AGE_S: std::ops::RangeInclusive<i64> = 60..=21_600;

/// What a request sets; `None` where it leaves it as it is, or at its default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `MaximumRetryAttempts`.
    pub retries_max: Option<u32>,
    /// `MaximumEventAgeInSeconds`.
    pub age_max: Option<Seconds>,
    /// `DestinationConfig.OnSuccess`; an empty one takes it away.
    pub on_success: Option<Option<String>>,
    /// `DestinationConfig.OnFailure`; an empty one takes it away.
    pub on_failure: Option<Option<String>>,
}

impl Wanted {
    /// Sets it.
    pub fn apply(self, config: &mut EventConfig) {
        config.retries_max = self.retries_max.or(config.retries_max);
        config.age_max = self.age_max.or(config.age_max);
        if let Some(target) = self.on_success {
            config.on_success = target;
        }
        if let Some(target) = self.on_failure {
            config.on_failure = target;
        }
    }
}

/// Checks a request about a function.
pub fn wanted(input: &EventConfigRequest, id: &FunctionId) -> Result<Wanted, Error> {
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
    let target = |member: fn(&DestinationConfig) -> &Option<Destination>| {
        let Some(given) = input.destination_config.as_ref().and_then(|config| member(config).as_ref()) else {
            return Ok(None);
        };
        let arn = given.destination.as_deref().filter(|arn| !arn.is_empty());
        arn.map(|arn| destinations::destination(arn, id)).transpose().map(Some)
    };
    let on_success = target(|config| &config.on_success)?;
    let on_failure = target(|config| &config.on_failure)?;
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
        on_success,
        on_failure,
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
        let id = FunctionId {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        };
        let asked = |body: serde_json::Value| {
            let mut input = serde_json::json!({ "FunctionName": "f" });
            input.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            wanted(&serde_json::from_value(input).unwrap(), &id)
        };
        let both =
            asked(serde_json::json!({ "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60 })).unwrap();
        assert_eq!((both.retries_max, both.age_max, both.on_success), (Some(0), Some(Seconds(60)), None));
        let empty = serde_json::json!({ "DestinationConfig": { "OnSuccess": {}, "OnFailure": { "Destination": "" } } });
        let empty = asked(empty).unwrap();
        assert_eq!((empty.on_success, empty.on_failure), (Some(None), Some(None)));
        for (body, told) in [
            (serde_json::json!({}), "You must specify at least one"),
            (serde_json::json!({ "MaximumRetryAttempts": 3 }), "'maximumRetryAttempts'"),
            (serde_json::json!({ "MaximumRetryAttempts": -1 }), "'maximumRetryAttempts'"),
            (serde_json::json!({ "MaximumEventAgeInSeconds": 59 }), "'maximumEventAgeInSeconds'"),
            (
                serde_json::json!({ "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:1:q" } } }),
                "The destination ARN arn:aws:sqs:us-east-1:1:q is invalid",
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
