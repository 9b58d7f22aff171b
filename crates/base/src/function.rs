//! What an execution environment is made from.

use crate::{AccountId, CodeSha256, FunctionName, MemoryMib, Region, RequestId, Seconds, TenantId, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Identity of a pool of environments: one state of one version. Any change of code or configuration of `$LATEST`
/// makes a new `revision`, so an environment never serves a configuration it was not started with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct VersionKey {
    /// Owner.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Function.
    pub name: FunctionName,
    /// Version.
    pub version: Version,
    /// Revision of that version; Lambda's `RevisionId`.
    pub revision: RequestId,
    /// For whom, where its function isolates tenants: an environment serves one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

impl VersionKey {
    /// Whether both are of the same revision of a version, whoever the tenants are.
    pub fn same_revision(&self, other: &VersionKey) -> bool {
        self.revision == other.revision
            && self.version == other.version
            && self.name == other.name
            && self.account == other.account
            && self.region == other.region
    }
}

/// Everything needed to start environments of one function version. Immutable; shared by reference.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// Identity.
    pub key: VersionKey,
    /// Runtime identifier, e.g. `python3.12`, `nodejs20.x`, `provided.al2023`.
    pub runtime: String,
    /// `x86_64` or `arm64`, as the user wrote it.
    pub architecture: std::sync::Arc<str>,
    /// Entry point, e.g. `app.handler`; at most 128 characters.
    pub handler: String,
    /// Unpacked by [`crate::Packages`].
    pub code: CodeSha256,
    /// Packages that are shown together at `/opt`, each over those before it; at most
    /// [`crate::limits::LAYERS_MAX`], unpacked by [`crate::Packages`].
    #[serde(default)]
    pub layers: Vec<CodeSha256>,
    /// Within [`crate::limits::MEMORY`].
    pub memory: MemoryMib,
    /// Within [`crate::limits::TIMEOUT`].
    pub timeout: Seconds,
    /// Size of `/tmp`, within [`crate::limits::SCRATCH`].
    pub scratch: MemoryMib,
    /// The user's variables; secrets, never logged.
    pub variables: BTreeMap<String, String>,
    /// ARN of the role that the function runs as.
    pub role: String,
    /// Where and how it logs.
    pub logs: LogSettings,
    /// Concurrency reserved for (and bounding) all versions of the function together; `None` takes from the account.
    pub reserved_concurrency: Option<u32>,
    /// How long an environment may be idle; `None`: as the node's setting says.
    #[serde(default)]
    pub idle_keep: Option<Seconds>,
    /// `SnapStart` of a published version: its environments are initialised ahead and restored for their first call.
    #[serde(default)]
    pub snap_start: bool,
}

/// Lambda's `LoggingConfig`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogSettings {
    /// Log group, by default `/aws/lambda/NAME`.
    pub group: String,
    /// Format of lines.
    pub format: LogFormat,
}

/// Lambda's `LogFormat`; the level filters exist for JSON only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogFormat {
    /// Lines as printed.
    Text,
    /// One JSON object a line.
    Json {
        /// Least severe application record kept. Default INFO.
        application: ApplicationLogLevel,
        /// Least severe platform record kept. Default INFO.
        system: SystemLogLevel,
    },
}

/// Severity of an application's log record, least severe first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ApplicationLogLevel {
    /// TRACE.
    Trace,
    /// DEBUG.
    Debug,
    /// INFO.
    Info,
    /// WARN.
    Warn,
    /// ERROR.
    Error,
    /// FATAL.
    Fatal,
}

/// Severity of a platform log record, least severe first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SystemLogLevel {
    /// DEBUG.
    Debug,
    /// INFO.
    Info,
    /// WARN.
    Warn,
}
