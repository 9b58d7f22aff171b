//! Requests and answers about functions and their configuration.

use super::{Concurrency, FunctionCode, FunctionCodeLocation, layers::LayerReference};
use crate::logic::settings::{
    DeadLetterConfig, Environment, EphemeralStorage, Features, LoggingConfig, SnapStart, TenancyConfig,
    TracingConfig, VpcConfig, Wanted,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// CreateFunction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CreateFunctionRequest {
    pub function_name: String,
    pub role: Option<String>,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub code: FunctionCode,
    pub description: Option<String>,
    pub timeout: Option<i64>,
    pub memory_size: Option<i64>,
    pub publish: Option<bool>,
    pub environment: Option<Environment>,
    pub tags: Option<BTreeMap<String, String>>,
    pub architectures: Option<Vec<String>>,
    pub ephemeral_storage: Option<EphemeralStorage>,
    pub logging_config: Option<LoggingConfig>,
    pub package_type: Option<String>,
    pub vpc_config: Option<VpcConfig>,
    pub dead_letter_config: Option<DeadLetterConfig>,
    #[serde(rename = "KMSKeyArn")]
    pub kms_key_arn: Option<String>,
    pub tracing_config: Option<TracingConfig>,
    pub layers: Option<Vec<String>>,
    pub file_system_configs: Option<Vec<serde_json::Value>>,
    pub image_config: Option<BTreeMap<String, serde_json::Value>>,
    pub code_signing_config_arn: Option<String>,
    pub snap_start: Option<SnapStart>,
    pub capacity_provider_config: Option<serde_json::Value>,
    pub publish_to: Option<String>,
    pub durable_config: Option<serde_json::Value>,
    pub tenancy_config: Option<TenancyConfig>,
}

impl CreateFunctionRequest {
    /// The members that make up a configuration, taken out of the request.
    pub(crate) fn wanted(&mut self) -> Wanted {
        Wanted {
            role: self.role.take(),
            runtime: self.runtime.take(),
            handler: self.handler.take(),
            description: self.description.take(),
            timeout: self.timeout,
            memory: self.memory_size,
            scratch: self.ephemeral_storage,
            architectures: self.architectures.take(),
            environment: self.environment.take(),
            logging: self.logging_config.take(),
            tenancy: self.tenancy_config.take(),
            layers: self.layers.take(),
            tracing: self.tracing_config.take(),
            dead_letters: self.dead_letter_config.take(),
            features: Features {
                package_type: self.package_type.take(),
                vpc: self.vpc_config.take(),
                kms_key: self.kms_key_arn.take(),
                file_systems: self.file_system_configs.take(),
                image: self.image_config.take(),
                code_signing: self.code_signing_config_arn.take(),
                snap_start: self.snap_start.take(),
                capacity_provider: self.capacity_provider_config.take(),
                durable: self.durable_config.take(),
                publish_to: self.publish_to.take(),
            },
        }
    }
}

/// UpdateFunctionConfiguration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UpdateFunctionConfigurationRequest {
    pub function_name: String,
    pub role: Option<String>,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub description: Option<String>,
    pub timeout: Option<i64>,
    pub memory_size: Option<i64>,
    pub environment: Option<Environment>,
    pub revision_id: Option<String>,
    pub ephemeral_storage: Option<EphemeralStorage>,
    pub logging_config: Option<LoggingConfig>,
    pub vpc_config: Option<VpcConfig>,
    pub dead_letter_config: Option<DeadLetterConfig>,
    #[serde(rename = "KMSKeyArn")]
    pub kms_key_arn: Option<String>,
    pub tracing_config: Option<TracingConfig>,
    pub layers: Option<Vec<String>>,
    pub file_system_configs: Option<Vec<serde_json::Value>>,
    pub image_config: Option<BTreeMap<String, serde_json::Value>>,
    pub snap_start: Option<SnapStart>,
    pub capacity_provider_config: Option<serde_json::Value>,
    pub durable_config: Option<serde_json::Value>,
}

impl UpdateFunctionConfigurationRequest {
    /// The members that make up a configuration, taken out of the request.
    pub(crate) fn wanted(&mut self) -> Wanted {
        Wanted {
            role: self.role.take(),
            runtime: self.runtime.take(),
            handler: self.handler.take(),
            description: self.description.take(),
            timeout: self.timeout,
            memory: self.memory_size,
            scratch: self.ephemeral_storage,
            architectures: None,
            environment: self.environment.take(),
            logging: self.logging_config.take(),
            tenancy: None,
            layers: self.layers.take(),
            tracing: self.tracing_config.take(),
            dead_letters: self.dead_letter_config.take(),
            features: Features {
                package_type: None,
                vpc: self.vpc_config.take(),
                kms_key: self.kms_key_arn.take(),
                file_systems: self.file_system_configs.take(),
                image: self.image_config.take(),
                code_signing: None,
                snap_start: self.snap_start.take(),
                capacity_provider: self.capacity_provider_config.take(),
                durable: self.durable_config.take(),
                publish_to: None,
            },
        }
    }
}

/// ListFunctions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListFunctionsRequest {
    pub master_region: Option<String>,
    pub function_version: Option<String>,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// `FunctionConfiguration`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionConfiguration {
    pub function_name: String,
    pub function_arn: String,
    pub runtime: String,
    pub role: String,
    pub handler: String,
    pub code_size: u64,
    pub description: String,
    pub timeout: u32,
    pub memory_size: u32,
    pub last_modified: String,
    #[serde(rename = "CodeSha256")]
    pub code_sha256: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_config: Option<DeadLetterConfig>,
    pub tracing_config: TracingConfigResponse,
    pub revision_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_status_reason_code: Option<&'static str>,
    pub package_type: &'static str,
    pub architectures: [String; 1],
    pub ephemeral_storage: EphemeralStorage,
    pub snap_start: SnapStartResponse,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenancy_config: Option<TenancyConfig>,
    pub logging_config: LoggingConfig,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReference>,
}

/// `EnvironmentResponse`.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct EnvironmentResponse {
    pub variables: BTreeMap<String, String>,
}

impl fmt::Debug for EnvironmentResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvironmentResponse({} variables)", self.variables.len())
    }
}

/// `TracingConfigResponse`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct TracingConfigResponse {
    pub mode: &'static str,
}

/// `SnapStartResponse`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SnapStartResponse {
    pub apply_on: &'static str,
    pub optimization_status: &'static str,
}

/// GetFunction's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct GetFunctionResponse {
    pub configuration: FunctionConfiguration,
    pub code: FunctionCodeLocation,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// ListFunctions' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListFunctionsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub functions: Vec<FunctionConfiguration>,
}
