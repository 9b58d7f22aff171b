//! Requests and answers about how a function runs: asynchronously, how many at once, on what, in which loops.

use crate::model::{EventConfig, FunctionId};
use serde::{Deserialize, Serialize};

/// PutFunctionEventInvokeConfig and UpdateFunctionEventInvokeConfig.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct EventConfigRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
    pub maximum_retry_attempts: Option<i64>,
    pub maximum_event_age_in_seconds: Option<i64>,
    pub destination_config: Option<DestinationConfig>,
}

/// `DestinationConfig`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DestinationConfig {
    pub on_success: Option<Destination>,
    pub on_failure: Option<Destination>,
}

/// `OnSuccess` and `OnFailure`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Destination {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// What operations on asynchronous invocations answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionEventInvokeConfig {
    /// Seconds since 1970.
    pub last_modified: f64,
    pub function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_event_age_in_seconds: Option<u32>,
    pub destination_config: DestinationConfig,
}

impl FunctionEventInvokeConfig {
    pub(crate) fn of(id: &FunctionId, qualifier: &str, config: &EventConfig) -> FunctionEventInvokeConfig {
        let shown = |arn: &Option<String>| Some(Destination { destination: arn.clone() });
        FunctionEventInvokeConfig {
            last_modified: config.modified.0 as f64 / 1000.0,
            function_arn: id.qualified_arn(qualifier),
            maximum_retry_attempts: config.retries_max,
            maximum_event_age_in_seconds: config.age_max.map(|age| age.0),
            destination_config: DestinationConfig {
                on_success: shown(&config.on_success),
                on_failure: shown(&config.on_failure),
            },
        }
    }
}

/// ListFunctionEventInvokeConfigs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListEventConfigsRequest {
    pub function_name: String,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// ListFunctionEventInvokeConfigs' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListEventConfigsResponse {
    pub function_event_invoke_configs: Vec<FunctionEventInvokeConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// PutFunctionConcurrency.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct PutFunctionConcurrencyRequest {
    pub function_name: String,
    pub reserved_concurrent_executions: i64,
}

/// `Concurrency`; without a number where nothing is reserved.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Concurrency {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_concurrent_executions: Option<u32>,
}

/// PutProvisionedConcurrencyConfig.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct PutProvisionedConcurrencyRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
    pub provisioned_concurrent_executions: i64,
}

/// What operations on provisioned concurrency answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ProvisionedConcurrencyConfig {
    /// In lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_arn: Option<String>,
    pub requested_provisioned_concurrent_executions: u32,
    pub available_provisioned_concurrent_executions: u32,
    pub allocated_provisioned_concurrent_executions: u32,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    pub last_modified: String,
}

/// ListProvisionedConcurrencyConfigs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListProvisionedConcurrencyRequest {
    pub function_name: String,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// ListProvisionedConcurrencyConfigs' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListProvisionedConcurrencyResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub provisioned_concurrency_configs: Vec<ProvisionedConcurrencyConfig>,
}

/// PutRuntimeManagementConfig.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct PutRuntimeManagementRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
    pub update_runtime_on: String,
    pub runtime_version_arn: Option<String>,
}

/// What operations on runtime management answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RuntimeManagementConfig {
    pub update_runtime_on: &'static str,
    pub function_arn: String,
}

/// PutFunctionRecursionConfig.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct PutRecursionRequest {
    pub function_name: String,
    pub recursive_loop: String,
}

/// What operations on recursive loops answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RecursionConfig {
    pub recursive_loop: &'static str,
}

/// GetFunctionCodeSigningConfig's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CodeSigningConfig {
    /// Empty: there is none.
    pub code_signing_config_arn: &'static str,
    pub function_name: String,
}
