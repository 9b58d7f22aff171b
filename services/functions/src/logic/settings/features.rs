//! Members that Neap takes in their "off" form only.

use super::SnapStart;
use crate::Error;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Features that are accepted switched off and refused otherwise: silently leaving them out would be worse.
#[derive(Clone, Default, Debug)]
pub struct Features {
    /// `PackageType`: `Zip`.
    pub package_type: Option<String>,
    /// `VpcConfig`: without subnets and security groups.
    pub vpc: Option<VpcConfig>,
    /// `KMSKeyArn`: empty.
    pub kms_key: Option<String>,
    /// `FileSystemConfigs`: none.
    pub file_systems: Option<Vec<serde_json::Value>>,
    /// `ImageConfig`: empty.
    pub image: Option<BTreeMap<String, serde_json::Value>>,
    /// `CodeSigningConfigArn`: empty.
    pub code_signing: Option<String>,
    /// `SnapStart`; `None` leaves it.
    pub snap_start: Option<SnapStart>,
    /// `CapacityProviderConfig`: not given.
    pub capacity_provider: Option<serde_json::Value>,
    /// `DurableConfig`: not given.
    pub durable: Option<serde_json::Value>,
    /// `PublishTo`: not given.
    pub publish_to: Option<String>,
}

/// `VpcConfig`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcConfig {
    /// Subnets.
    pub subnet_ids: Option<Vec<String>>,
    /// Security groups.
    pub security_group_ids: Option<Vec<String>>,
    /// IPv6.
    pub ipv6_allowed_for_dual_stack: Option<bool>,
}

/// Refuses what is switched on and not carried out.
pub(super) fn supported(features: &Features) -> Result<(), Error> {
    let refuse = |on: bool, member: &'static str, reason: &'static str| match on {
        true => Err(Error::Unsupported { member, reason }),
        false => Ok(()),
    };
    let some_text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let some_ids = |ids: &Option<Vec<String>>| ids.as_ref().is_some_and(|ids| !ids.is_empty());
    let vpc = features.vpc.as_ref();
    refuse(features.package_type.as_deref() == Some("Image"), "PackageType Image", "upload a zip package")?;
    refuse(
        features.image.as_ref().is_some_and(|image| !image.is_empty()),
        "ImageConfig",
        "it belongs to PackageType Image",
    )?;
    refuse(
        vpc.is_some_and(|vpc| some_ids(&vpc.subnet_ids) || some_ids(&vpc.security_group_ids)),
        "VpcConfig",
        "leave out its subnets and security groups",
    )?;
    refuse(
        vpc.is_some_and(|vpc| vpc.ipv6_allowed_for_dual_stack == Some(true)),
        "VpcConfig.Ipv6AllowedForDualStack",
        "leave it out",
    )?;
    refuse(some_text(&features.kms_key), "KMSKeyArn", "leave it out")?;
    refuse(
        features.file_systems.as_ref().is_some_and(|f| !f.is_empty()),
        "FileSystemConfigs",
        "leave it out",
    )?;
    refuse(some_text(&features.code_signing), "CodeSigningConfigArn", "leave it out")?;
    refuse(features.capacity_provider.is_some(), "CapacityProviderConfig", "leave it out")?;
    refuse(features.durable.is_some(), "DurableConfig", "leave it out")?;
    refuse(features.publish_to.is_some(), "PublishTo", "leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::settings::tests::{made, wanted};

    #[test]
    fn what_is_not_carried_out_is_refused_by_name_and_off_is_fine() {
        let with = |change: fn(&mut Features)| {
            let mut wanted = wanted();
            change(&mut wanted.features);
            made(&wanted).map_err(|error| error.to_string())
        };
        for (change, member) in [
            ((|f| f.package_type = Some("Image".into())) as fn(&mut Features), "PackageType Image"),
            (
                |f| f.vpc = Some(VpcConfig { subnet_ids: Some(vec!["s".into()]), ..VpcConfig::default() }),
                "VpcConfig",
            ),
            (|f| f.kms_key = Some("arn".into()), "KMSKeyArn"),
            (|f| f.durable = Some(serde_json::json!({})), "DurableConfig"),
            (|f| f.capacity_provider = Some(serde_json::json!({})), "CapacityProviderConfig"),
            (|f| f.file_systems = Some(vec![serde_json::json!({})]), "FileSystemConfigs"),
        ] {
            let told = with(change).unwrap_err();
            assert!(told.starts_with(&format!("{member} is not supported by Neap")), "{told}");
        }
        with(|f| {
            *f = Features {
                package_type: Some("Zip".into()),
                vpc: Some(VpcConfig { subnet_ids: Some(vec![]), ..VpcConfig::default() }),
                kms_key: Some(String::new()),
                snap_start: Some(SnapStart { apply_on: Some("None".into()) }),
                ..Features::default()
            };
        })
        .unwrap();
    }
}
