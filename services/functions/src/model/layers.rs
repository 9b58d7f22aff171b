//! What a layer is: content that functions share.

use crate::logic::policy::Policy;
use base::{AccountId, Arn, CodeSha256, Region, Timestamp};
use serde::{Deserialize, Serialize};

/// A layer of an account in a region.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LayerId {
    /// Owner.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Letters, digits, hyphens and underscores, at most 140.
    pub name: String,
}

impl LayerId {
    /// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`.
    pub fn arn(&self) -> String {
        Arn::new("lambda", Some(&self.region), self.account, &format!("layer:{}", self.name)).to_string()
    }

    /// The same with `:VERSION`.
    pub fn version_arn(&self, version: u64) -> String {
        format!("{}:{version}", self.arn())
    }
}

/// One version of a layer. It never changes, except for who may use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerVersion {
    /// Of which layer.
    pub id: LayerId,
    /// From 1 on; a number is never given twice, even after deletion.
    pub version: u64,
    /// `CreatedDate`.
    pub created: Timestamp,
    /// What its publisher says of it.
    pub label: Label,
    /// Hash of the package.
    pub code: CodeSha256,
    /// Size of the package, zipped.
    pub code_size: u64,
    /// Size of its files.
    pub unpacked: u64,
    /// Who else may use it; `None` where nobody ever said.
    pub policy: Option<Policy>,
}

impl LayerVersion {
    /// `LayerVersionArn`.
    pub fn arn(&self) -> String {
        self.id.version_arn(self.version)
    }

    /// As a function keeps it.
    pub fn taken(&self) -> LayerUse {
        LayerUse { arn: self.arn(), code: self.code, code_size: self.code_size, unpacked: self.unpacked }
    }
}

/// What a publisher says of a layer version: for people and for lists, not enforced.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Label {
    /// At most 256 characters.
    pub description: String,
    /// At most 512 characters.
    pub license: Option<String>,
    /// At most 15.
    pub runtimes: Option<Vec<String>>,
    /// At most 2.
    pub architectures: Option<Vec<String>>,
}

/// A layer version as a function has it: what it was when the function took it, whatever becomes of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerUse {
    /// ARN of the version.
    pub arn: String,
    /// Hash of the package.
    pub code: CodeSha256,
    /// Size of the package, zipped.
    pub code_size: u64,
    /// Size of its files.
    pub unpacked: u64,
}
