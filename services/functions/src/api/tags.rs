//! Requests and answers about tags.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// ListTags' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListTagsResponse {
    pub tags: BTreeMap<String, String>,
}
