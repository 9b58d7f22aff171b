//! Requests and answers about versions and aliases.

use super::FunctionConfiguration;
use crate::model::Alias;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// ListVersionsByFunction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListVersionsRequest {
    pub function_name: String,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// ListVersionsByFunction's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListVersionsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub versions: Vec<FunctionConfiguration>,
}

/// PublishVersion.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct PublishVersionRequest {
    pub function_name: String,
    #[serde(rename = "CodeSha256")]
    pub code_sha256: Option<String>,
    pub description: Option<String>,
    pub revision_id: Option<String>,
    pub publish_to: Option<String>,
}

/// CreateAlias.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct CreateAliasRequest {
    pub function_name: String,
    pub name: String,
    pub function_version: String,
    pub description: Option<String>,
    pub routing_config: Option<RoutingConfig>,
}

/// UpdateAlias.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct UpdateAliasRequest {
    pub function_name: String,
    pub name: String,
    pub function_version: Option<String>,
    pub description: Option<String>,
    pub routing_config: Option<RoutingConfig>,
    pub revision_id: Option<String>,
}

/// `RoutingConfig` of an alias.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RoutingConfig {
    pub additional_version_weights: Option<BTreeMap<String, f64>>,
}

/// GetAlias and DeleteAlias.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AliasRequest {
    pub function_name: String,
    pub name: String,
}

/// What alias operations answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AliasConfiguration {
    pub alias_arn: String,
    pub name: String,
    pub function_version: String,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_config: Option<RoutingConfig>,
    pub revision_id: String,
}

impl AliasConfiguration {
    pub(crate) fn of(alias: Alias) -> AliasConfiguration {
        let weights = Some(alias.weights.clone()).filter(|weights| !weights.is_empty());
        AliasConfiguration {
            alias_arn: alias.arn(),
            function_version: alias.version.to_string(),
            routing_config: weights
                .map(|weights| RoutingConfig { additional_version_weights: Some(weights) }),
            revision_id: alias.revision.to_string(),
            name: alias.name,
            description: alias.description,
        }
    }
}

/// ListAliases.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListAliasesRequest {
    pub function_name: String,
    pub function_version: Option<String>,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// ListAliases' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListAliasesResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub aliases: Vec<AliasConfiguration>,
}
