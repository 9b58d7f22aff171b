//! The wire surface: requests, answers and the table of operations. Shapes follow the Lambda API model 2015-03-31.

mod access;
pub mod layers;
mod mappings;
mod running;
mod versions;

pub use access::*;
pub use mappings::*;
pub use running::*;
pub use versions::*;

use crate::{
    Functions,
    logic::{
        names,
        settings::{
            DeadLetterConfig, Environment, EphemeralStorage, Features, LoggingConfig, SnapStart,
            TenancyConfig, TracingConfig, VpcConfig, Wanted,
        },
    },
};
use base64::Engine as _;
use bytes::Bytes;
use layers::{
    AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, GetLayerVersionPolicyResponse,
    LayerVersionByArnRequest, LayerVersionRequest, LayerVersionResponse, ListLayerVersionsRequest,
    ListLayerVersionsResponse, ListLayersRequest, ListLayersResponse, PublishLayerVersionRequest,
    RemoveLayerVersionPermissionRequest,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::{collections::BTreeMap, fmt};
use wire::{Context, RawRequest, RawResponse};

/// Largest request that carries a package: 50 MB in base64 with its envelope. Source: observed.
pub const CODE_REQUEST_MAX: usize = 70_167_211;
/// Largest synchronous payload, and so the largest Invoke request.
pub const INVOKE_REQUEST_MAX: usize = base::limits::PAYLOAD_SYNC_MAX.0 as usize;

/// Base64 in JSON.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map(|bytes| Blob(bytes.into()))
                    .map_err(|_| E::custom("Blobs must be base64 encoded"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// `FunctionCode`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct FunctionCode {
    pub zip_file: Option<Blob>,
    #[serde(rename = "S3Bucket")]
    pub s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    pub s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    pub s3_object_version: Option<String>,
    pub image_uri: Option<String>,
    #[serde(rename = "SourceKMSKeyArn")]
    pub source_kms_key_arn: Option<String>,
}

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

/// UpdateFunctionCode.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UpdateFunctionCodeRequest {
    pub function_name: String,
    pub zip_file: Option<Blob>,
    #[serde(rename = "S3Bucket")]
    pub s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    pub s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    pub s3_object_version: Option<String>,
    pub image_uri: Option<String>,
    pub publish: Option<bool>,
    pub dry_run: Option<bool>,
    pub revision_id: Option<String>,
    pub architectures: Option<Vec<String>>,
    #[serde(rename = "SourceKMSKeyArn")]
    pub source_kms_key_arn: Option<String>,
    pub publish_to: Option<String>,
}

impl UpdateFunctionCodeRequest {
    /// The members that say where the code is, taken out of the request.
    pub(crate) fn code(&mut self) -> FunctionCode {
        FunctionCode {
            zip_file: self.zip_file.take(),
            s3_bucket: self.s3_bucket.take(),
            s3_key: self.s3_key.take(),
            s3_object_version: self.s3_object_version.take(),
            image_uri: self.image_uri.take(),
            source_kms_key_arn: self.source_kms_key_arn.take(),
        }
    }
}

/// GetFunction, GetFunctionConfiguration and DeleteFunction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct QualifiedRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
}

/// GetFunctionConcurrency and DeleteFunctionConcurrency.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionRequest {
    pub function_name: String,
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

/// TagResource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct TagResourceRequest {
    pub resource: String,
    pub tags: BTreeMap<String, String>,
}

/// UntagResource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UntagResourceRequest {
    pub resource: String,
    pub tag_keys: Vec<String>,
}

/// ListTags.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListTagsRequest {
    pub resource: String,
}

/// Inputs without members.
#[derive(Debug, Deserialize)]
pub struct Nothing {}

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
    pub layers: Vec<layers::LayerReference>,
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

/// `FunctionCodeLocation`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionCodeLocation {
    pub repository_type: &'static str,
    pub location: String,
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

/// ListTags' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListTagsResponse {
    pub tags: BTreeMap<String, String>,
}

/// GetAccountSettings' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AccountSettings {
    pub account_limit: AccountLimit,
    pub account_usage: AccountUsage,
}

/// `AccountLimit`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AccountLimit {
    pub total_code_size: u64,
    pub code_size_unzipped: u64,
    pub code_size_zipped: u64,
    pub concurrent_executions: u32,
    pub unreserved_concurrent_executions: u32,
}

/// `AccountUsage`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AccountUsage {
    pub total_code_size: u64,
    pub function_count: u64,
}

/// An input that names a function, for the permission asked.
pub(crate) trait Names {
    /// The function as given, and the separate qualifier.
    fn named(&self) -> (&str, Option<&str>);
}

macro_rules! names {
    ($($input:ty: $member:ident $(, $qualifier:ident)?;)*) => {$(
        impl Names for $input {
            fn named(&self) -> (&str, Option<&str>) {
                (&self.$member, None$(.or(self.$qualifier.as_deref()))?)
            }
        }
    )*};
}

names! {
    CreateFunctionRequest: function_name;
    UpdateFunctionConfigurationRequest: function_name;
    UpdateFunctionCodeRequest: function_name;
    QualifiedRequest: function_name, qualifier;
    FunctionRequest: function_name;
    ListVersionsRequest: function_name;
    PublishVersionRequest: function_name;
    CreateAliasRequest: function_name;
    UpdateAliasRequest: function_name;
    AliasRequest: function_name;
    ListAliasesRequest: function_name;
    EventConfigRequest: function_name, qualifier;
    ListEventConfigsRequest: function_name;
    AddPermissionRequest: function_name, qualifier;
    PutRuntimeManagementRequest: function_name, qualifier;
    PutRecursionRequest: function_name;
    PutProvisionedConcurrencyRequest: function_name, qualifier;
    ListProvisionedConcurrencyRequest: function_name;
    CreateFunctionUrlConfigRequest: function_name, qualifier;
    UpdateFunctionUrlConfigRequest: function_name, qualifier;
    ListFunctionUrlConfigsRequest: function_name;
    RemovePermissionRequest: function_name, qualifier;
    TagResourceRequest: resource;
    UntagResourceRequest: resource;
    ListTagsRequest: resource;
    PutFunctionConcurrencyRequest: function_name;
}

impl Functions {
    /// ARN that permission is asked for.
    pub(crate) fn resource(&self, context: &Context, input: &impl Names) -> String {
        let (text, qualifier) = input.named();
        names::permission_arn(context.account, &context.region, text, qualifier)
    }

    /// The same for Invoke. Whether a function of another account may be invoked is that function's policy's to say.
    pub(crate) fn invoked(&self, context: &Context, request: &RawRequest) -> String {
        let text = request.label("FunctionName").unwrap_or_default();
        if names::owner(text).is_some_and(|owner| owner != context.account) {
            return "*".to_owned();
        }
        names::permission_arn(context.account, &context.region, text, request.query("Qualifier").as_deref())
    }
}

wire::api! {
    /// AWS Lambda: functions, their versions and their invocation.
    impl Functions;
    name: "lambda";
    protocol: rest_json;
    message_capital: [
        ResourceNotFoundException, ServiceException, InvalidRuntimeException, InvalidZipFileException,
        AccessDeniedException,
    ];

    operations {
        /// Creates a function from a zip package in the request.
        CreateFunction => create_function(CreateFunctionRequest) -> FunctionConfiguration {
            http: POST "/2015-03-31/functions" 201,
            body_max: CODE_REQUEST_MAX,
            too_large: RequestEntityTooLargeException of "CreateFunction",
            allow: "lambda:CreateFunction" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                CodeStorageExceededException, RequestEntityTooLargeException,
            ],
        }
        /// Tells a function's configuration, tags, concurrency and where its package can be downloaded for 10 minutes.
        GetFunction => get_function(QualifiedRequest) -> GetFunctionResponse {
            http: GET "/2015-03-31/functions/{FunctionName}" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetFunction" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Tells the configuration of a version.
        GetFunctionConfiguration => get_function_configuration(QualifiedRequest) -> FunctionConfiguration {
            http: GET "/2015-03-31/functions/{FunctionName}/configuration" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetFunctionConfiguration" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lists functions, or with FunctionVersion ALL all versions, 50 a page.
        ListFunctions => list_functions(ListFunctionsRequest) -> ListFunctionsResponse {
            http: GET "/2015-03-31/functions" 200,
            query: [
                "MasterRegion" => MasterRegion, "FunctionVersion" => FunctionVersion, "Marker" => Marker,
                "MaxItems" => MaxItems,
            ],
            allow: "lambda:ListFunctions" on "*",
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException],
        }
        /// Replaces the code of `$LATEST`.
        UpdateFunctionCode => update_function_code(UpdateFunctionCodeRequest) -> FunctionConfiguration {
            http: PUT "/2015-03-31/functions/{FunctionName}/code" 200,
            body_max: CODE_REQUEST_MAX,
            too_large: RequestEntityTooLargeException of "UpdateFunctionCode",
            allow: "lambda:UpdateFunctionCode" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException, CodeStorageExceededException, PreconditionFailedException,
                RequestEntityTooLargeException,
            ],
        }
        /// Changes the configuration of `$LATEST`.
        UpdateFunctionConfiguration => update_function_configuration(UpdateFunctionConfigurationRequest) -> FunctionConfiguration {
            http: PUT "/2015-03-31/functions/{FunctionName}/configuration" 200,
            allow: "lambda:UpdateFunctionConfiguration" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException, PreconditionFailedException,
            ],
        }
        /// Deletes a function with all versions, or with a Qualifier one version.
        DeleteFunction => delete_function(QualifiedRequest) -> () {
            http: DELETE "/2015-03-31/functions/{FunctionName}" 204,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:DeleteFunction" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Freezes `$LATEST` as the next version, or tells the last one if nothing has changed since.
        PublishVersion => publish_version(PublishVersionRequest) -> FunctionConfiguration {
            http: POST "/2015-03-31/functions/{FunctionName}/versions" 201,
            allow: "lambda:PublishVersion" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException, CodeStorageExceededException, PreconditionFailedException,
            ],
        }
        /// Lists `$LATEST` and the versions of a function, 50 a page.
        ListVersionsByFunction => list_versions_by_function(ListVersionsRequest) -> ListVersionsResponse {
            http: GET "/2015-03-31/functions/{FunctionName}/versions" 200,
            query: ["Marker" => Marker, "MaxItems" => MaxItems],
            allow: "lambda:ListVersionsByFunction" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Names a version, or two among which invocations are split by weight.
        CreateAlias => create_alias(CreateAliasRequest) -> AliasConfiguration {
            http: POST "/2015-03-31/functions/{FunctionName}/aliases" 201,
            allow: "lambda:CreateAlias" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells where an alias points.
        GetAlias => get_alias(AliasRequest) -> AliasConfiguration {
            http: GET "/2015-03-31/functions/{FunctionName}/aliases/{Name}" 200,
            allow: "lambda:GetAlias" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lists the aliases of a function, or with FunctionVersion those that point to it, 50 a page.
        ListAliases => list_aliases(ListAliasesRequest) -> ListAliasesResponse {
            http: GET "/2015-03-31/functions/{FunctionName}/aliases" 200,
            query: ["FunctionVersion" => FunctionVersion, "Marker" => Marker, "MaxItems" => MaxItems],
            allow: "lambda:ListAliases" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Points an alias elsewhere; invocations that begin after the answer see it.
        UpdateAlias => update_alias(UpdateAliasRequest) -> AliasConfiguration {
            http: PUT "/2015-03-31/functions/{FunctionName}/aliases/{Name}" 200,
            allow: "lambda:UpdateAlias" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException, PreconditionFailedException,
            ],
        }
        /// Deletes an alias, if it is there.
        DeleteAlias => delete_alias(AliasRequest) -> () {
            http: DELETE "/2015-03-31/functions/{FunctionName}/aliases/{Name}" 204,
            allow: "lambda:DeleteAlias" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceConflictException],
        }
        /// Sets how asynchronous invocations of a function, version or alias are retried; destinations are refused.
        PutFunctionEventInvokeConfig => put_function_event_invoke_config(EventConfigRequest) -> FunctionEventInvokeConfig {
            http: PUT "/2019-09-25/functions/{FunctionName}/event-invoke-config" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:PutFunctionEventInvokeConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Changes a part of that.
        UpdateFunctionEventInvokeConfig => update_function_event_invoke_config(EventConfigRequest) -> FunctionEventInvokeConfig {
            http: POST "/2019-09-25/functions/{FunctionName}/event-invoke-config" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:UpdateFunctionEventInvokeConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells how asynchronous invocations are retried.
        GetFunctionEventInvokeConfig => get_function_event_invoke_config(QualifiedRequest) -> FunctionEventInvokeConfig {
            http: GET "/2019-09-25/functions/{FunctionName}/event-invoke-config" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetFunctionEventInvokeConfig" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Goes back to two retries within six hours.
        DeleteFunctionEventInvokeConfig => delete_function_event_invoke_config(QualifiedRequest) -> () {
            http: DELETE "/2019-09-25/functions/{FunctionName}/event-invoke-config" 204,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:DeleteFunctionEventInvokeConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Lists what is set for a function, its versions and aliases, 50 a page.
        ListFunctionEventInvokeConfigs => list_function_event_invoke_configs(ListEventConfigsRequest) -> ListEventConfigsResponse {
            http: GET "/2019-09-25/functions/{FunctionName}/event-invoke-config/list" 200,
            query: ["Marker" => Marker, "MaxItems" => MaxItems],
            allow: "lambda:ListFunctionEventInvokeConfigs" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lets somebody of another account, or everyone at a function URL, invoke a function, version or alias.
        AddPermission => add_permission(AddPermissionRequest) -> AddPermissionResponse {
            http: POST "/2015-03-31/functions/{FunctionName}/policy" 201,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:AddPermission" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException, PolicyLengthExceededException, PreconditionFailedException,
            ],
        }
        /// Takes that back.
        RemovePermission => remove_permission(RemovePermissionRequest) -> () {
            http: DELETE "/2015-03-31/functions/{FunctionName}/policy/{StatementId}" 204,
            query: ["Qualifier" => Qualifier, "RevisionId" => RevisionId],
            allow: "lambda:RemovePermission" on resource,
            errors: [
                InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException,
                PreconditionFailedException,
            ],
        }
        /// Tells the policy that AddPermission made.
        GetPolicy => get_policy(QualifiedRequest) -> GetPolicyResponse {
            http: GET "/2015-03-31/functions/{FunctionName}/policy" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetPolicy" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Gives a function or an alias an HTTP address.
        CreateFunctionUrlConfig => create_function_url_config(CreateFunctionUrlConfigRequest) -> FunctionUrlConfig {
            http: POST "/2021-10-31/functions/{FunctionName}/url" 201,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:CreateFunctionUrlConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells it.
        GetFunctionUrlConfig => get_function_url_config(QualifiedRequest) -> FunctionUrlConfig {
            http: GET "/2021-10-31/functions/{FunctionName}/url" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetFunctionUrlConfig" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Changes who may call it, the rules for other origins, or how answers leave.
        UpdateFunctionUrlConfig => update_function_url_config(UpdateFunctionUrlConfigRequest) -> FunctionUrlConfig {
            http: PUT "/2021-10-31/functions/{FunctionName}/url" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:UpdateFunctionUrlConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Takes it away.
        DeleteFunctionUrlConfig => delete_function_url_config(QualifiedRequest) -> () {
            http: DELETE "/2021-10-31/functions/{FunctionName}/url" 204,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:DeleteFunctionUrlConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Lists those of a function and of its aliases, 50 a page.
        ListFunctionUrlConfigs => list_function_url_configs(ListFunctionUrlConfigsRequest) -> ListFunctionUrlConfigsResponse {
            http: GET "/2021-10-31/functions/{FunctionName}/urls" 200,
            query: ["Marker" => Marker, "MaxItems" => MaxItems],
            allow: "lambda:ListFunctionUrlConfigs" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Publishes the next version of a layer from a zip package in the request.
        PublishLayerVersion => publish_layer_version(PublishLayerVersionRequest) -> LayerVersionResponse {
            http: POST "/2018-10-31/layers/{LayerName}/versions" 201,
            body_max: CODE_REQUEST_MAX,
            too_large: RequestEntityTooLargeException of "PublishLayerVersion",
            allow: "lambda:PublishLayerVersion" on layer_resource,
            errors: [
                InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException,
                CodeStorageExceededException,
            ],
        }
        /// Tells what a layer version is and where its package can be downloaded for 10 minutes.
        GetLayerVersion => get_layer_version(LayerVersionRequest) -> LayerVersionResponse {
            http: GET "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}" 200,
            allow: "lambda:GetLayerVersion" on layer_resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// The same by ARN.
        GetLayerVersionByArn => get_layer_version_by_arn(LayerVersionByArnRequest) -> LayerVersionResponse {
            http: GET "/2018-10-31/layers?find=LayerVersion" 200,
            query: ["Arn" => Arn],
            allow: "lambda:GetLayerVersion" on layer_resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lists layers with the newest version of each, perhaps only versions for a runtime or architecture, 50 a page.
        ListLayers => list_layers(ListLayersRequest) -> ListLayersResponse {
            http: GET "/2018-10-31/layers" 200,
            query: [
                "CompatibleArchitecture" => CompatibleArchitecture, "CompatibleRuntime" => CompatibleRuntime,
                "Marker" => Marker, "MaxItems" => MaxItems,
            ],
            allow: "lambda:ListLayers" on "*",
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException],
        }
        /// Lists the versions of a layer, newest first, 50 a page.
        ListLayerVersions => list_layer_versions(ListLayerVersionsRequest) -> ListLayerVersionsResponse {
            http: GET "/2018-10-31/layers/{LayerName}/versions" 200,
            query: [
                "CompatibleArchitecture" => CompatibleArchitecture, "CompatibleRuntime" => CompatibleRuntime,
                "Marker" => Marker, "MaxItems" => MaxItems,
            ],
            allow: "lambda:ListLayerVersions" on layer_resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Deletes a layer version, if it is there; functions that have it keep it.
        DeleteLayerVersion => delete_layer_version(LayerVersionRequest) -> () {
            http: DELETE "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}" 204,
            allow: "lambda:DeleteLayerVersion" on layer_resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lets functions of another account, or of all, have a layer version; those of its own account always may.
        AddLayerVersionPermission => add_layer_version_permission(AddLayerVersionPermissionRequest) -> AddLayerVersionPermissionResponse {
            http: POST "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy" 201,
            query: ["RevisionId" => RevisionId],
            allow: "lambda:AddLayerVersionPermission" on layer_resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                PolicyLengthExceededException, ResourceNotFoundException, PreconditionFailedException,
            ],
        }
        /// Takes a permission back; functions that have the layer version keep it.
        RemoveLayerVersionPermission => remove_layer_version_permission(RemoveLayerVersionPermissionRequest) -> () {
            http: DELETE "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy/{StatementId}" 204,
            query: ["RevisionId" => RevisionId],
            allow: "lambda:RemoveLayerVersionPermission" on layer_resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException, PreconditionFailedException,
            ],
        }
        /// Tells the permissions of a layer version.
        GetLayerVersionPolicy => get_layer_version_policy(LayerVersionRequest) -> GetLayerVersionPolicyResponse {
            http: GET "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy" 200,
            allow: "lambda:GetLayerVersionPolicy" on layer_resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Keeps environments of a published version or an alias ready ahead of invocations.
        PutProvisionedConcurrencyConfig => put_provisioned_concurrency_config(PutProvisionedConcurrencyRequest) -> ProvisionedConcurrencyConfig {
            http: PUT "/2019-09-30/functions/{FunctionName}/provisioned-concurrency" 202,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:PutProvisionedConcurrencyConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells how many of them are ready.
        GetProvisionedConcurrencyConfig => get_provisioned_concurrency_config(QualifiedRequest) -> ProvisionedConcurrencyConfig {
            http: GET "/2019-09-30/functions/{FunctionName}/provisioned-concurrency" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetProvisionedConcurrencyConfig" on resource,
            errors: [
                InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException,
                ProvisionedConcurrencyConfigNotFoundException,
            ],
        }
        /// Keeps them no longer.
        DeleteProvisionedConcurrencyConfig => delete_provisioned_concurrency_config(QualifiedRequest) -> () {
            http: DELETE "/2019-09-30/functions/{FunctionName}/provisioned-concurrency" 204,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:DeleteProvisionedConcurrencyConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Lists what is provisioned for a function's versions and aliases, 50 a page.
        ListProvisionedConcurrencyConfigs => list_provisioned_concurrency_configs(ListProvisionedConcurrencyRequest) -> ListProvisionedConcurrencyResponse {
            http: GET "/2019-09-30/functions/{FunctionName}/provisioned-concurrency?List=ALL" 200,
            query: ["Marker" => Marker, "MaxItems" => MaxItems],
            allow: "lambda:ListProvisionedConcurrencyConfigs" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Tells when the interpreter under a function is updated: with the host's.
        GetRuntimeManagementConfig => get_runtime_management_config(QualifiedRequest) -> RuntimeManagementConfig {
            http: GET "/2021-07-20/functions/{FunctionName}/runtime-management-config" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:GetRuntimeManagementConfig" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Takes Auto, which is so, and refuses everything else.
        PutRuntimeManagementConfig => put_runtime_management_config(PutRuntimeManagementRequest) -> RuntimeManagementConfig {
            http: PUT "/2021-07-20/functions/{FunctionName}/runtime-management-config" 200,
            query: ["Qualifier" => Qualifier],
            allow: "lambda:PutRuntimeManagementConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells what becomes of a chain of invocations that comes back to a function.
        GetFunctionRecursionConfig => get_function_recursion_config(FunctionRequest) -> RecursionConfig {
            http: GET "/2024-08-31/functions/{FunctionName}/recursion-config" 200,
            allow: "lambda:GetFunctionRecursionConfig" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lets such chains go on, or has them stopped after the sixteenth time.
        PutFunctionRecursionConfig => put_function_recursion_config(PutRecursionRequest) -> RecursionConfig {
            http: PUT "/2024-08-31/functions/{FunctionName}/recursion-config" 200,
            allow: "lambda:PutFunctionRecursionConfig" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells that a function has no code signing configuration.
        GetFunctionCodeSigningConfig => get_function_code_signing_config(FunctionRequest) -> CodeSigningConfig {
            http: GET "/2020-06-30/functions/{FunctionName}/code-signing-config" 200,
            allow: "lambda:GetFunctionCodeSigningConfig" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Has a function invoked with batches of a queue's messages.
        CreateEventSourceMapping => create_event_source_mapping(CreateMappingRequest) -> MappingConfiguration {
            http: POST "/2015-03-31/event-source-mappings" 202,
            allow: "lambda:CreateEventSourceMapping" on "*",
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells how, and whether it works.
        GetEventSourceMapping => get_event_source_mapping(MappingRequest) -> MappingConfiguration {
            http: GET "/2015-03-31/event-source-mappings/{UUID}" 200,
            allow: "lambda:GetEventSourceMapping" on mapping_resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Lists mappings, perhaps only those of a queue or of a function, version or alias, 100 a page.
        ListEventSourceMappings => list_event_source_mappings(ListMappingsRequest) -> ListMappingsResponse {
            http: GET "/2015-03-31/event-source-mappings" 200,
            query: [
                "EventSourceArn" => EventSourceArn, "FunctionName" => FunctionName, "Marker" => Marker,
                "MaxItems" => MaxItems,
            ],
            allow: "lambda:ListEventSourceMappings" on "*",
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Changes a mapping, stops or resumes it; what was received by the old settings is finished by them.
        UpdateEventSourceMapping => update_event_source_mapping(UpdateMappingRequest) -> MappingConfiguration {
            http: PUT "/2015-03-31/event-source-mappings/{UUID}" 202,
            allow: "lambda:UpdateEventSourceMapping" on mapping_resource,
            errors: [
                InvalidParameterValueException, ResourceInUseException, ResourceConflictException, ServiceException,
                TooManyRequestsException, ResourceNotFoundException,
            ],
        }
        /// Deletes a mapping once what it has received is finished.
        DeleteEventSourceMapping => delete_event_source_mapping(MappingRequest) -> MappingConfiguration {
            http: DELETE "/2015-03-31/event-source-mappings/{UUID}" 202,
            allow: "lambda:DeleteEventSourceMapping" on mapping_resource,
            errors: [
                InvalidParameterValueException, ResourceInUseException, ResourceConflictException, ServiceException,
                TooManyRequestsException, ResourceNotFoundException,
            ],
        }
        /// Sets tags of a function or an event source mapping.
        TagResource => tag_resource(TagResourceRequest) -> () {
            http: POST "/2017-03-31/tags/{Resource}" 204,
            allow: "lambda:TagResource" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Removes tags of a function or an event source mapping.
        UntagResource => untag_resource(UntagResourceRequest) -> () {
            http: DELETE "/2017-03-31/tags/{Resource}" 204,
            query: ["tagKeys" => TagKeys],
            allow: "lambda:UntagResource" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells the tags of a function or an event source mapping.
        ListTags => list_tags(ListTagsRequest) -> ListTagsResponse {
            http: GET "/2017-03-31/tags/{Resource}" 200,
            allow: "lambda:ListTags" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Tells the limits of the account and what it uses of them.
        GetAccountSettings => get_account_settings(Nothing) -> AccountSettings {
            http: GET "/2016-08-19/account-settings" 200,
            allow: "lambda:GetAccountSettings" on "*",
            errors: [ServiceException, TooManyRequestsException],
        }
        /// Reserves concurrency for a function, which also bounds it.
        PutFunctionConcurrency => put_function_concurrency(PutFunctionConcurrencyRequest) -> Concurrency {
            http: PUT "/2017-10-31/functions/{FunctionName}/concurrency" 200,
            allow: "lambda:PutFunctionConcurrency" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Tells the concurrency reserved for a function.
        GetFunctionConcurrency => get_function_concurrency(FunctionRequest) -> Concurrency {
            http: GET "/2019-09-30/functions/{FunctionName}/concurrency" 200,
            allow: "lambda:GetFunctionConcurrency" on resource,
            errors: [InvalidParameterValueException, ServiceException, TooManyRequestsException, ResourceNotFoundException],
        }
        /// Gives reserved concurrency back to the account.
        DeleteFunctionConcurrency => delete_function_concurrency(FunctionRequest) -> () {
            http: DELETE "/2017-10-31/functions/{FunctionName}/concurrency" 204,
            allow: "lambda:DeleteFunctionConcurrency" on resource,
            errors: [
                InvalidParameterValueException, ResourceConflictException, ServiceException, TooManyRequestsException,
                ResourceNotFoundException,
            ],
        }
        /// Runs a function: RequestResponse waits for its answer, Event queues the invocation durably, DryRun only
        /// checks.
        Invoke => invoke(RawRequest) -> RawResponse {
            http: POST "/2015-03-31/functions/{FunctionName}/invocations" 200,
            body_max: INVOKE_REQUEST_MAX,
            too_large: RequestTooLargeException of "InvokeFunction",
            abandon: true,
            allow: "lambda:InvokeFunction" on invoked,
            errors: [
                ResourceNotReadyException, TooManyRequestsException, RequestTooLargeException, InvalidRuntimeException,
                InvalidParameterValueException, ResourceConflictException, ServiceException, ResourceNotFoundException,
                InvalidRequestContentException, RecursiveInvocationException, SnapStartException,
                SnapStartTimeoutException,
            ],
        }
        /// Runs a function and hands its answer on piece by piece, as the function writes it.
        InvokeWithResponseStream => invoke_with_response_stream(RawRequest) -> RawResponse {
            http: POST "/2021-11-15/functions/{FunctionName}/response-streaming-invocations" 200,
            body_max: INVOKE_REQUEST_MAX,
            too_large: RequestTooLargeException of "InvokeWithResponseStream",
            abandon: true,
            allow: "lambda:InvokeFunction" on invoked,
            errors: [
                ResourceNotReadyException, TooManyRequestsException, RequestTooLargeException, InvalidRuntimeException,
                InvalidParameterValueException, ResourceConflictException, ServiceException, ResourceNotFoundException,
                InvalidRequestContentException, RecursiveInvocationException,
            ],
        }
    }
    missing: [
        CheckpointDurableExecution: POST "/2025-12-01/durable-executions/{DurableExecutionArn}/checkpoint",
        CreateCapacityProvider: POST "/2025-11-30/capacity-providers",
        CreateCodeSigningConfig: POST "/2020-04-22/code-signing-configs",
        DeleteCapacityProvider: DELETE "/2025-11-30/capacity-providers/{CapacityProviderName}",
        DeleteCodeSigningConfig: DELETE "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}",
        DeleteFunctionCodeSigningConfig: DELETE "/2020-06-30/functions/{FunctionName}/code-signing-config",
        GetCapacityProvider: GET "/2025-11-30/capacity-providers/{CapacityProviderName}",
        GetCodeSigningConfig: GET "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}",
        GetDurableExecution: GET "/2025-12-01/durable-executions/{DurableExecutionArn}",
        GetDurableExecutionHistory: GET "/2025-12-01/durable-executions/{DurableExecutionArn}/history",
        GetDurableExecutionState: GET "/2025-12-01/durable-executions/{DurableExecutionArn}/state",
        GetFunctionScalingConfig: GET "/2025-11-30/functions/{FunctionName}/function-scaling-config",
        InvokeAsync: POST "/2014-11-13/functions/{FunctionName}/invoke-async",
        ListCapacityProviders: GET "/2025-11-30/capacity-providers",
        ListCodeSigningConfigs: GET "/2020-04-22/code-signing-configs",
        ListDurableExecutionsByFunction: GET "/2025-12-01/functions/{FunctionName}/durable-executions",
        ListFunctionVersionsByCapacityProvider: GET "/2025-11-30/capacity-providers/{CapacityProviderName}/function-versions",
        ListFunctionsByCodeSigningConfig: GET "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}/functions",
        PutFunctionCodeSigningConfig: PUT "/2020-06-30/functions/{FunctionName}/code-signing-config",
        PutFunctionScalingConfig: PUT "/2025-11-30/functions/{FunctionName}/function-scaling-config",
        SendDurableExecutionCallbackFailure: POST "/2025-12-01/durable-execution-callbacks/{CallbackId}/fail",
        SendDurableExecutionCallbackHeartbeat: POST "/2025-12-01/durable-execution-callbacks/{CallbackId}/heartbeat",
        SendDurableExecutionCallbackSuccess: POST "/2025-12-01/durable-execution-callbacks/{CallbackId}/succeed",
        StopDurableExecution: POST "/2025-12-01/durable-executions/{DurableExecutionArn}/stop",
        UpdateCapacityProvider: PUT "/2025-11-30/capacity-providers/{CapacityProviderName}",
        UpdateCodeSigningConfig: PUT "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}",
    ];
}
