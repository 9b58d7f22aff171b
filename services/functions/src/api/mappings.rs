//! Requests and answers about event source mappings.

use crate::{
    Functions,
    model::{Mapping, MappingSettings},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use wire::Context;

/// What CreateEventSourceMapping and UpdateEventSourceMapping have in common. Members that are values are those that Neap refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct MappingMembers {
    pub batch_size: Option<i64>,
    pub maximum_batching_window_in_seconds: Option<i64>,
    pub function_response_types: Option<Vec<String>>,
    pub filter_criteria: Option<FilterCriteria>,
    pub scaling_config: Option<ScalingConfig>,
    pub provisioned_poller_config: Option<PollerConfig>,
    pub starting_position: Option<Value>,
    pub starting_position_timestamp: Option<Value>,
    pub parallelization_factor: Option<Value>,
    pub maximum_record_age_in_seconds: Option<Value>,
    pub bisect_batch_on_function_error: Option<Value>,
    pub maximum_retry_attempts: Option<Value>,
    pub tumbling_window_in_seconds: Option<Value>,
    pub destination_config: Option<Value>,
    pub topics: Option<Value>,
    pub queues: Option<Value>,
    pub source_access_configurations: Option<Value>,
    pub self_managed_event_source: Option<Value>,
    pub amazon_managed_kafka_event_source_config: Option<Value>,
    pub self_managed_kafka_event_source_config: Option<Value>,
    #[serde(rename = "DocumentDBEventSourceConfig")]
    pub document_db_event_source_config: Option<Value>,
    #[serde(rename = "KMSKeyArn")]
    pub kms_key_arn: Option<Value>,
    pub metrics_config: Option<Value>,
    pub logging_config: Option<Value>,
}

/// `FilterCriteria`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct FilterCriteria {
    pub filters: Option<Vec<FilterPattern>>,
}

/// `Filter`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct FilterPattern {
    pub pattern: Option<String>,
}

/// `ScalingConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ScalingConfig {
    pub maximum_concurrency: Option<i64>,
}

/// `ProvisionedPollerConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct PollerConfig {
    pub minimum_pollers: Option<i64>,
    pub maximum_pollers: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poller_group_name: Option<String>,
}

/// CreateEventSourceMapping.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CreateMappingRequest {
    pub function_name: String,
    pub event_source_arn: Option<String>,
    pub enabled: Option<bool>,
    pub tags: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    pub members: MappingMembers,
}

/// UpdateEventSourceMapping.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UpdateMappingRequest {
    #[serde(rename = "UUID")]
    pub uuid: String,
    pub function_name: Option<String>,
    pub enabled: Option<bool>,
    #[serde(flatten)]
    pub members: MappingMembers,
}

/// GetEventSourceMapping and DeleteEventSourceMapping.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct MappingRequest {
    #[serde(rename = "UUID")]
    pub uuid: String,
}

/// ListEventSourceMappings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListMappingsRequest {
    pub event_source_arn: Option<String>,
    pub function_name: Option<String>,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// `EventSourceMappingConfiguration`: what is said of queues.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct MappingConfiguration {
    #[serde(rename = "UUID")]
    pub uuid: String,
    pub event_source_mapping_arn: String,
    pub event_source_arn: String,
    pub function_arn: String,
    pub batch_size: u32,
    pub maximum_batching_window_in_seconds: u32,
    pub function_response_types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_criteria: Option<FilterCriteria>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling_config: Option<ScalingConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioned_poller_config: Option<PollerConfig>,
    /// Seconds since 1970.
    pub last_modified: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_processing_result: Option<String>,
    pub state: &'static str,
    pub state_transition_reason: &'static str,
}

impl MappingConfiguration {
    pub(crate) fn of(mapping: &Mapping) -> MappingConfiguration {
        let MappingSettings { batch_max, window, reports_failures, filters, concurrency_max, pollers } =
            &mapping.settings;
        let filters: Vec<FilterPattern> =
            filters.iter().map(|pattern| FilterPattern { pattern: Some(pattern.clone()) }).collect();
        let maximum = concurrency_max.map(i64::from);
        MappingConfiguration {
            uuid: mapping.id.to_string(),
            event_source_mapping_arn: mapping.arn(),
            event_source_arn: mapping.source.to_string(),
            function_arn: mapping.target.arn(),
            batch_size: *batch_max,
            maximum_batching_window_in_seconds: window.0,
            function_response_types: if *reports_failures { vec!["ReportBatchItemFailures"] } else { vec![] },
            filter_criteria: (!filters.is_empty()).then_some(FilterCriteria { filters: Some(filters) }),
            scaling_config: maximum.map(|_| ScalingConfig { maximum_concurrency: maximum }),
            provisioned_poller_config: pollers.map(|pollers| PollerConfig {
                minimum_pollers: Some(pollers.min.into()),
                maximum_pollers: Some(pollers.max.into()),
                poller_group_name: None,
            }),
            last_modified: mapping.modified.epoch_seconds(),
            last_processing_result: mapping.problem.as_ref().map(|problem| format!("PROBLEM: {problem}")),
            state: mapping.state.as_str(),
            state_transition_reason: "USER_INITIATED",
        }
    }
}

/// ListEventSourceMappings' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListMappingsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub event_source_mappings: Vec<MappingConfiguration>,
}

/// An input that names a mapping, for the permission asked.
pub(crate) trait NamesMapping {
    /// Its UUID as given.
    fn uuid(&self) -> &str;
}

impl NamesMapping for MappingRequest {
    fn uuid(&self) -> &str {
        &self.uuid
    }
}

impl NamesMapping for UpdateMappingRequest {
    fn uuid(&self) -> &str {
        &self.uuid
    }
}

impl Functions {
    /// ARN that permission is asked for.
    pub(crate) fn mapping_resource(&self, context: &Context, input: &impl NamesMapping) -> String {
        context.arn("lambda", &format!("event-source-mapping:{}", input.uuid()))
    }
}
