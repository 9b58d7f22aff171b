//! What may be set about an event source mapping of a queue. Source: Lambda API reference, CreateEventSourceMapping; texts as
//! observed where Lambda has the case.

use super::filter::Filter;
use crate::{
    Error,
    api::{FilterCriteria, MappingMembers, PollerConfig, ScalingConfig},
    model::{MappingSettings, Pollers},
};
use base::{Arn, QueueFacts, Seconds, SourceError};
use serde_json::Value;
use std::ops::RangeInclusive;
use wire::Violations;

/// `BatchSize`.
const BATCH: RangeInclusive<i64> = 1..=10_000;
/// `MaximumBatchingWindowInSeconds`.
const WINDOW_S: RangeInclusive<i64> = 0..=300;
/// `MaximumConcurrency`.
const CONCURRENCY: RangeInclusive<i64> = 2..=1_000;
/// `MinimumPollers` of a queue.
const POLLERS_MIN: RangeInclusive<i64> = 2..=200;
/// `MaximumPollers` of a queue.
const POLLERS_MAX: RangeInclusive<i64> = 2..=10_000;
/// Where they are not set.
const POLLERS_DEFAULT: Pollers = Pollers { min: 2, max: 200 };
/// Messages of a batch where nothing is set, and of any batch that is not gathered in a window or is of a FIFO queue.
const BATCH_DEFAULT: u32 = 10;
/// Filters of a mapping. Lambda has 5, and 10 on request.
const FILTERS_MAX: usize = 10;
/// Characters of a pattern.
const PATTERN_MAX: usize = 4_096;
const RESPONSE_TYPE: &str = "ReportBatchItemFailures";

impl Default for MappingSettings {
    fn default() -> MappingSettings {
        MappingSettings {
            batch_max: BATCH_DEFAULT,
            window: Seconds(0),
            reports_failures: false,
            filters: Vec::new(),
            concurrency_max: None,
            pollers: None,
        }
    }
}

/// What a request makes of `before`; what it leaves out stays.
pub fn wanted(
    input: &MappingMembers,
    before: MappingSettings,
    source: &Arn,
) -> Result<MappingSettings, Error> {
    check(input)?;
    refuse(input)?;
    let mut settings = before;
    if let Some(batch) = input.batch_size {
        settings.batch_max = small(batch);
    }
    if let Some(window) = input.maximum_batching_window_in_seconds {
        settings.window = Seconds(small(window));
    }
    if let Some(types) = &input.function_response_types {
        settings.reports_failures = !types.is_empty();
    }
    if let Some(FilterCriteria { filters }) = &input.filter_criteria {
        let patterns = filters.iter().flatten().filter_map(|filter| filter.pattern.clone());
        settings.filters = patterns.collect();
        for pattern in &settings.filters {
            Filter::parse(pattern)?;
        }
    }
    if let Some(ScalingConfig { maximum_concurrency }) = &input.scaling_config {
        settings.concurrency_max = maximum_concurrency.map(small);
    }
    if let Some(PollerConfig { minimum_pollers, maximum_pollers, .. }) = &input.provisioned_poller_config {
        let set = minimum_pollers.is_some() || maximum_pollers.is_some();
        settings.pollers = set.then(|| Pollers {
            min: minimum_pollers.map_or(POLLERS_DEFAULT.min, small),
            max: maximum_pollers.map_or(POLLERS_DEFAULT.max, small),
        });
    }
    consistent(&settings, super::event::is_fifo(source))?;
    Ok(settings)
}

/// Constraints of the model, all at once.
fn check(input: &MappingMembers) -> Result<(), Error> {
    let mut violations = Violations::default();
    let numbers = [
        ("batchSize", input.batch_size, BATCH),
        ("maximumBatchingWindowInSeconds", input.maximum_batching_window_in_seconds, WINDOW_S),
        (
            "scalingConfig.maximumConcurrency",
            input.scaling_config.as_ref().and_then(|config| config.maximum_concurrency),
            CONCURRENCY,
        ),
        (
            "provisionedPollerConfig.minimumPollers",
            input.provisioned_poller_config.as_ref().and_then(|config| config.minimum_pollers),
            POLLERS_MIN,
        ),
        (
            "provisionedPollerConfig.maximumPollers",
            input.provisioned_poller_config.as_ref().and_then(|config| config.maximum_pollers),
            POLLERS_MAX,
        ),
    ];
    for (member, number, bounds) in numbers {
        if let Some(number) = number {
            violations.range(member, number, bounds);
        }
    }
    for word in input.function_response_types.iter().flatten() {
        violations.one_of("functionResponseTypes", word, &[RESPONSE_TYPE]);
    }
    if input.function_response_types.as_ref().is_some_and(|types| types.len() > 1) {
        violations.add(
            "[ReportBatchItemFailures, …]",
            "functionResponseTypes",
            "Member must have length less than or equal to 1",
        );
    }
    let filters = input.filter_criteria.iter().flat_map(|criteria| criteria.filters.iter().flatten());
    for (place, filter) in filters.enumerate() {
        let member = format!("filterCriteria.filters.{}.member.pattern", place + 1);
        violations.length(&member, filter.pattern.as_deref().unwrap_or_default(), 0..=PATTERN_MAX);
    }
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    Ok(())
}

/// Members that mean nothing for queues, or that Neap does not carry out. Empty ones ask for nothing.
fn refuse(input: &MappingMembers) -> Result<(), Error> {
    if [&input.starting_position, &input.starting_position_timestamp].into_iter().any(is_set) {
        return Err(Error::invalid("StartingPosition is not valid for SQS event sources."));
    }
    let streams = "it is for streams, and only queues are event sources";
    let kafka = "it is for message brokers, and only queues are event sources";
    let failures = "what fails goes to the queue's own dead-letter queue";
    let members = [
        ("ParallelizationFactor", &input.parallelization_factor, streams),
        ("MaximumRecordAgeInSeconds", &input.maximum_record_age_in_seconds, streams),
        ("BisectBatchOnFunctionError", &input.bisect_batch_on_function_error, streams),
        ("MaximumRetryAttempts", &input.maximum_retry_attempts, streams),
        ("TumblingWindowInSeconds", &input.tumbling_window_in_seconds, streams),
        ("DestinationConfig", &input.destination_config, failures),
        ("Topics", &input.topics, kafka),
        ("Queues", &input.queues, kafka),
        ("SourceAccessConfigurations", &input.source_access_configurations, kafka),
        ("SelfManagedEventSource", &input.self_managed_event_source, kafka),
        ("AmazonManagedKafkaEventSourceConfig", &input.amazon_managed_kafka_event_source_config, kafka),
        ("SelfManagedKafkaEventSourceConfig", &input.self_managed_kafka_event_source_config, kafka),
        ("DocumentDBEventSourceConfig", &input.document_db_event_source_config, streams),
        ("KMSKeyArn", &input.kms_key_arn, "there are no keys of your own to encrypt filters with"),
        ("MetricsConfig", &input.metrics_config, "counts of event sources are at /_neap/metrics, always"),
        ("LoggingConfig", &input.logging_config, "event sources have no log of their own"),
    ];
    for (member, value, reason) in members {
        if is_set(value) {
            return Err(Error::Unsupported { member, reason });
        }
    }
    let group = input.provisioned_poller_config.as_ref().and_then(|config| config.poller_group_name.as_ref());
    if group.is_some() {
        return Err(Error::Unsupported { member: "PollerGroupName", reason: kafka });
    }
    Ok(())
}

/// Whether a member asks for anything.
fn is_set(value: &Option<Value>) -> bool {
    fn asks(value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) | Value::Number(_) => true,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => items.iter().any(asks),
            Value::Object(members) => members.values().any(asks),
        }
    }
    value.as_ref().is_some_and(asks)
}

/// Rules between members.
fn consistent(settings: &MappingSettings, fifo: bool) -> Result<(), Error> {
    if fifo && settings.window.0 > 0 {
        return Err(Error::invalid("Batching window is not supported for FIFO queues"));
    }
    if fifo && settings.batch_max > BATCH_DEFAULT {
        return Err(Error::invalid(format!(
            "Batch size for FIFO queues must be between 1 and {BATCH_DEFAULT}, not {}",
            settings.batch_max
        )));
    }
    if settings.batch_max > BATCH_DEFAULT && settings.window.0 == 0 {
        return Err(Error::invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    if settings.filters.len() > FILTERS_MAX {
        return Err(Error::invalid(format!(
            "FilterCriteria may have {FILTERS_MAX} filters at most, not {}",
            settings.filters.len()
        )));
    }
    if let Some(pollers) = settings.pollers {
        if pollers.min > pollers.max {
            return Err(Error::invalid(format!(
                "MinimumPollers ({}) must not be greater than MaximumPollers ({})",
                pollers.min, pollers.max
            )));
        }
        if settings.concurrency_max.is_some() {
            return Err(Error::invalid(
                "MaximumConcurrency and ProvisionedPollerConfig cannot be set for the same event source mapping",
            ));
        }
    }
    Ok(())
}

/// Whether a function with this timeout can work on such a queue.
pub fn suitable(facts: QueueFacts, timeout: Seconds) -> Result<(), Error> {
    if facts.visibility < timeout {
        return Err(Error::invalid(format!(
            "Queue visibility timeout: {} seconds is less than Function timeout: {} seconds",
            facts.visibility.0, timeout.0
        )));
    }
    Ok(())
}

/// Why a queue cannot be an event source.
pub fn unreachable(error: &SourceError) -> Error {
    match error {
        SourceError::Missing(_) => Error::invalid(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.",
        ),
        SourceError::Denied(text) => {
            let actions = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];
            let action = actions.into_iter().find(|action| text.contains(&format!("sqs:{action}")));
            let action = action.unwrap_or("ReceiveMessage");
            Error::invalid(format!(
                "The provided execution role does not have permissions to call {action} on SQS"
            ))
        }
        SourceError::NotNow(text) => Error::SourceUnavailable(text.clone()),
    }
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn settings() -> MappingSettings {
        MappingSettings::default()
    }

    fn ask(input: Value, queue: &str) -> Result<MappingSettings, String> {
        let input: MappingMembers = serde_json::from_value(input).unwrap();
        let source = format!("arn:aws:sqs:us-east-1:000000000000:{queue}").parse().unwrap();
        wanted(&input, settings(), &source).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_is_ten_messages_at_once() {
        let settings = ask(json!({ "StartingPosition": null, "DestinationConfig": {} }), "q").unwrap();
        assert_eq!((settings.batch_max, settings.window), (10, Seconds(0)));
        assert_eq!((settings.reports_failures, settings.concurrency_max), (false, None));
    }

    #[test]
    fn combinations_that_lambda_refuses_are_refused() {
        for (input, queue, text) in [
            (json!({ "BatchSize": 11 }), "q", "Maximum batch window in seconds must be greater than 0"),
            (json!({ "BatchSize": 11 }), "q.fifo", "FIFO queues must be between 1 and 10"),
            (json!({ "MaximumBatchingWindowInSeconds": 1 }), "q.fifo", "not supported for FIFO queues"),
            (json!({ "BatchSize": 0 }), "q", "'batchSize' failed to satisfy constraint"),
            (json!({ "BatchSize": 10_001 }), "q", "less than or equal to 10000"),
            (json!({ "ScalingConfig": { "MaximumConcurrency": 1 } }), "q", "greater than or equal to 2"),
            (json!({ "FunctionResponseTypes": ["X"] }), "q", "[ReportBatchItemFailures]"),
            (json!({ "FilterCriteria": { "Filters": [{ "Pattern": "{" }] } }), "q", "Invalid filter pattern"),
            (json!({ "StartingPosition": "LATEST" }), "q", "not valid for SQS event sources"),
            (json!({ "ParallelizationFactor": 2 }), "q", "ParallelizationFactor is not supported"),
            (
                json!({ "MetricsConfig": { "Metrics": ["EventCount"] } }),
                "q",
                "MetricsConfig is not supported",
            ),
            (
                json!({ "ScalingConfig": { "MaximumConcurrency": 5 }, "ProvisionedPollerConfig": { "MinimumPollers": 2 } }),
                "q",
                "cannot be set for the same",
            ),
            (
                json!({ "ProvisionedPollerConfig": { "MinimumPollers": 9, "MaximumPollers": 3 } }),
                "q",
                "must not be greater",
            ),
        ] {
            let refused = ask(input.clone(), queue).unwrap_err();
            assert!(refused.contains(text), "{input}: {refused}");
        }
        let filters: Vec<Value> = (0..11).map(|_| json!({ "Pattern": r#"{"body":["x"]}"# })).collect();
        assert!(ask(json!({ "FilterCriteria": { "Filters": filters } }), "q").is_err());
        assert!(ask(json!({ "BatchSize": 10_000, "MaximumBatchingWindowInSeconds": 1 }), "q").is_ok());
    }

    #[test]
    fn empty_members_take_settings_back() {
        let before = MappingSettings {
            reports_failures: true,
            filters: vec![r#"{"body":["x"]}"#.to_owned()],
            concurrency_max: Some(2),
            pollers: None,
            ..settings()
        };
        let input = json!({ "FunctionResponseTypes": [], "FilterCriteria": {}, "ScalingConfig": {} });
        let input: MappingMembers = serde_json::from_value(input).unwrap();
        let source = "arn:aws:sqs:us-east-1:000000000000:q".parse().unwrap();
        assert_eq!(wanted(&input, before, &source).unwrap(), settings());
    }
}
