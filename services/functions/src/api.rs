//! The wire surface: the table of operations, and in the files beside it their requests and answers. Shapes follow the
//! Lambda API model 2015-03-31.

mod access;
mod account;
mod code;
mod functions;
pub mod layers;
mod mappings;
mod resource;
mod running;
mod tags;
mod versions;

pub use access::*;
pub use account::*;
pub use code::*;
pub use functions::*;
pub use mappings::*;
pub use running::*;
pub use tags::*;
pub use versions::*;

use crate::Functions;
use layers::{
    AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, GetLayerVersionPolicyResponse,
    LayerVersionByArnRequest, LayerVersionRequest, LayerVersionResponse, ListLayerVersionsRequest,
    ListLayerVersionsResponse, ListLayersRequest, ListLayersResponse, PublishLayerVersionRequest,
    RemoveLayerVersionPermissionRequest,
};
use serde::Deserialize;
use wire::{RawRequest, RawResponse};

/// Largest request that carries a package: 50 MB in base64 with its envelope. Source: observed.
pub const CODE_REQUEST_MAX: usize = 70_167_211;
/// Largest synchronous payload, and so the largest Invoke request.
pub const INVOKE_REQUEST_MAX: usize = base::limits::PAYLOAD_SYNC_MAX.0 as usize;

/// Operations on a function, version or alias that ask for nothing more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct QualifiedRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
}

/// Operations on a function as a whole that ask for nothing more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionRequest {
    pub function_name: String,
}

/// Inputs without members.
#[derive(Debug, Deserialize)]
pub struct Nothing {}

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
