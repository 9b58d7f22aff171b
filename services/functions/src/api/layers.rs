//! Requests and answers about layers.

use super::{Blob, FunctionCode};
use crate::{
    logic::{layers, states::last_modified},
    model::{LayerUse, LayerVersion},
};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use wire::Context;

/// `LayerVersionContentInput`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct LayerContent {
    pub zip_file: Option<Blob>,
    #[serde(rename = "S3Bucket")]
    pub s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    pub s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    pub s3_object_version: Option<String>,
    #[serde(rename = "S3ObjectStorageMode")]
    pub s3_object_storage_mode: Option<String>,
}

impl LayerContent {
    /// As functions say where their code is.
    pub(crate) fn code(self) -> FunctionCode {
        FunctionCode {
            zip_file: self.zip_file,
            s3_bucket: self.s3_bucket.or(self.s3_object_storage_mode),
            s3_key: self.s3_key,
            s3_object_version: self.s3_object_version,
            ..FunctionCode::default()
        }
    }
}

/// PublishLayerVersion.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct PublishLayerVersionRequest {
    pub layer_name: String,
    pub description: Option<String>,
    pub content: LayerContent,
    pub compatible_runtimes: Option<Vec<String>>,
    pub compatible_architectures: Option<Vec<String>>,
    pub license_info: Option<String>,
}

/// GetLayerVersion, DeleteLayerVersion and GetLayerVersionPolicy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerVersionRequest {
    pub layer_name: String,
    pub version_number: i64,
}

/// GetLayerVersionByArn.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerVersionByArnRequest {
    pub arn: String,
}

/// ListLayers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListLayersRequest {
    pub compatible_runtime: Option<String>,
    pub compatible_architecture: Option<String>,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// ListLayerVersions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListLayerVersionsRequest {
    pub layer_name: String,
    pub compatible_runtime: Option<String>,
    pub compatible_architecture: Option<String>,
    pub marker: Option<String>,
    pub max_items: Option<i64>,
}

/// AddLayerVersionPermission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AddLayerVersionPermissionRequest {
    pub layer_name: String,
    pub version_number: i64,
    pub statement_id: String,
    pub action: String,
    pub principal: String,
    pub organization_id: Option<String>,
    pub revision_id: Option<String>,
}

/// RemoveLayerVersionPermission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RemoveLayerVersionPermissionRequest {
    pub layer_name: String,
    pub version_number: i64,
    pub statement_id: String,
    pub revision_id: Option<String>,
}

/// What PublishLayerVersion and GetLayerVersion answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerVersionResponse {
    pub content: LayerContentLocation,
    pub layer_arn: String,
    #[serde(flatten)]
    pub version: LayerVersionItem,
}

/// `LayerVersionContentOutput`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerContentLocation {
    pub location: String,
    #[serde(rename = "CodeSha256")]
    pub code_sha256: String,
    pub code_size: u64,
}

/// `LayerVersionsListItem`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerVersionItem {
    pub layer_version_arn: String,
    pub version: u64,
    pub description: String,
    pub created_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatible_architectures: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatible_runtimes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_info: Option<String>,
}

impl LayerVersionItem {
    pub(crate) fn of(version: &LayerVersion) -> LayerVersionItem {
        LayerVersionItem {
            layer_version_arn: version.arn(),
            version: version.version,
            description: version.label.description.clone(),
            created_date: last_modified(version.created),
            compatible_architectures: version.label.architectures.clone(),
            compatible_runtimes: version.label.runtimes.clone(),
            license_info: version.label.license.clone(),
        }
    }
}

impl LayerVersionResponse {
    pub(crate) fn of(version: &LayerVersion, location: String) -> LayerVersionResponse {
        LayerVersionResponse {
            content: LayerContentLocation {
                location,
                code_sha256: base64::engine::general_purpose::STANDARD.encode(version.code.0),
                code_size: version.code_size,
            },
            layer_arn: version.id.arn(),
            version: LayerVersionItem::of(version),
        }
    }
}

/// ListLayers' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListLayersResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub layers: Vec<LayerItem>,
}

/// `LayersListItem`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerItem {
    pub layer_name: String,
    pub layer_arn: String,
    pub latest_matching_version: LayerVersionItem,
}

/// ListLayerVersions' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListLayerVersionsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    pub layer_versions: Vec<LayerVersionItem>,
}

/// AddLayerVersionPermission's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct AddLayerVersionPermissionResponse {
    pub statement: String,
    pub revision_id: String,
}

/// GetLayerVersionPolicy's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct GetLayerVersionPolicyResponse {
    pub policy: String,
    pub revision_id: String,
}

/// `Layer` of a function's configuration.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct LayerReference {
    pub arn: String,
    pub code_size: u64,
}

impl LayerReference {
    pub(crate) fn of(layer: &LayerUse) -> LayerReference {
        LayerReference { arn: layer.arn.clone(), code_size: layer.code_size }
    }
}

/// An input that names a layer, for the permission asked.
pub(crate) trait NamesLayer {
    /// The layer or version as given, and the separate version.
    fn named(&self) -> (&str, Option<i64>);
}

macro_rules! names_layer {
    ($($input:ty: $member:ident $(, $version:ident)?;)*) => {$(
        impl NamesLayer for $input {
            fn named(&self) -> (&str, Option<i64>) {
                (&self.$member, None$(.or(Some(self.$version)))?)
            }
        }
    )*};
}

names_layer! {
    PublishLayerVersionRequest: layer_name;
    LayerVersionRequest: layer_name, version_number;
    LayerVersionByArnRequest: arn;
    ListLayerVersionsRequest: layer_name;
    AddLayerVersionPermissionRequest: layer_name, version_number;
    RemoveLayerVersionPermissionRequest: layer_name, version_number;
}

impl crate::Functions {
    /// ARN that permission is asked for.
    pub(crate) fn layer_resource(&self, context: &Context, input: &impl NamesLayer) -> String {
        let (text, version) = input.named();
        layers::permission_arn(context.account, &context.region, text, version)
    }
}
