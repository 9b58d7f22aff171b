//! Requests and answers about who may invoke a function, and where.

use crate::{
    logic::{
        cors::Cors,
        url::{self, FunctionUrl},
    },
    model::Target,
};
use serde::{Deserialize, Serialize};
use wire::Context;

/// AddPermission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AddPermissionRequest {
    pub function_name: String,
    pub statement_id: String,
    pub action: String,
    pub principal: String,
    pub source_arn: Option<String>,
    pub function_url_auth_type: Option<String>,
    pub invoked_via_function_url: Option<bool>,
    pub source_account: Option<String>,
    pub event_source_token: Option<String>,
    pub qualifier: Option<String>,
    pub revision_id: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    pub principal_org_id: Option<String>,
}

/// AddPermission's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AddPermissionResponse {
    /// JSON.
    pub statement: String,
}

/// RemovePermission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RemovePermissionRequest {
    pub function_name: String,
    pub statement_id: String,
    pub qualifier: Option<String>,
    pub revision_id: Option<String>,
}

/// GetPolicy's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct GetPolicyResponse {
    /// JSON.
    pub policy: String,
    pub revision_id: String,
}

/// CreateFunctionUrlConfig.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CreateFunctionUrlConfigRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
    pub auth_type: String,
    pub cors: Option<Cors>,
    pub invoke_mode: Option<String>,
}

/// UpdateFunctionUrlConfig.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UpdateFunctionUrlConfigRequest {
    pub function_name: String,
    pub qualifier: Option<String>,
    pub auth_type: Option<String>,
    pub cors: Option<Cors>,
    pub invoke_mode: Option<String>,
}

/// What operations on function URLs answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct FunctionUrlConfig {
    pub function_url: String,
    pub function_arn: String,
    pub auth_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    pub creation_time: String,
    pub last_modified_time: String,
    pub invoke_mode: &'static str,
}

impl FunctionUrlConfig {
    pub(crate) fn of(context: &Context, target: &Target, url: FunctionUrl) -> FunctionUrlConfig {
        FunctionUrlConfig {
            function_url: url::address(&url.id, &target.id.region, &context.authority),
            function_arn: target.arn(),
            auth_type: url.auth.as_str(),
            cors: url.cors,
            creation_time: url::time(url.created),
            last_modified_time: url::time(url.modified),
            invoke_mode: url.mode.as_str(),
        }
    }
}

/// ListFunctionUrlConfigs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListFunctionUrlConfigsRequest {
    pub function_name: String,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// ListFunctionUrlConfigs' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListFunctionUrlConfigsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub function_url_configs: Vec<FunctionUrlConfig>,
}
