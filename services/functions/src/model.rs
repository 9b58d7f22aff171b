//! What a function is: its identity, versions, configuration and life.

mod layers;
mod mappings;

pub use layers::{Label, LayerId, LayerUse, LayerVersion};
pub use mappings::{Mapping, MappingSettings, MappingState, Pollers};

use crate::data::QualifierConfig;
use base::{
    AccountId, CodeSha256, FunctionName, FunctionSpec, LogSettings, MemoryMib, Region, RequestId, Seconds,
    TenantId, Timestamp, Version, VersionKey,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A function of an account in a region.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FunctionId {
    /// Owner.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Name.
    pub name: FunctionName,
}

impl FunctionId {
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`.
    pub fn arn(&self) -> String {
        // Each warm invocation writes one.
        let (region, account) = (self.region.as_str(), self.account.as_str());
        ["arn:aws:lambda:", region, ":", account, ":function:", self.name.as_str()].concat()
    }

    /// The same with `:qualifier`.
    pub fn qualified_arn(&self, qualifier: impl fmt::Display) -> String {
        format!("{}:{qualifier}", self.arn())
    }
}

/// How a request names a state of a function: `$LATEST`, a version number, or an alias.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Qualifier {
    /// `$LATEST` or a number.
    Version(Version),
    /// Any other word.
    Alias(String),
}

impl Qualifier {
    /// Any word of the grammar `[a-zA-Z0-9$_-]+`.
    pub fn of(word: &str) -> Qualifier {
        match word.parse() {
            Ok(version) => Qualifier::Version(version),
            Err(_) => Qualifier::Alias(word.to_owned()),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Qualifier::Version(version) => version.fmt(f),
            Qualifier::Alias(name) => f.write_str(name),
        }
    }
}

/// What a request names: a function and perhaps one of its states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The function.
    pub id: FunctionId,
    /// As named; `None` means `$LATEST` and an unqualified ARN in answers.
    pub qualifier: Option<Qualifier>,
}

impl Target {
    /// The ARN as the caller named it.
    pub fn arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => self.id.qualified_arn(qualifier),
            None => self.id.arn(),
        }
    }

    /// The qualifier as a word; `$LATEST` where none is named.
    pub fn word(&self) -> String {
        self.qualifier.as_ref().map_or_else(|| Version::Latest.to_string(), ToString::to_string)
    }

    /// The version meant; `None` for an alias, which the store has to tell.
    pub fn version(&self) -> Option<Version> {
        match &self.qualifier {
            None => Some(Version::Latest),
            Some(Qualifier::Version(version)) => Some(*version),
            Some(Qualifier::Alias(_)) => None,
        }
    }
}

/// What the user set; everything that a published version freezes, except the code.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// E.g. `python3.12`.
    pub runtime: String,
    /// At most 128 characters without white space.
    pub handler: String,
    /// ARN of a role in the function's account.
    pub role: String,
    /// At most 256 characters. Default empty.
    pub description: String,
    /// Within [`base::limits::TIMEOUT`]. Default 3 s.
    pub timeout: Seconds,
    /// Within [`base::limits::MEMORY`]. Default 128 MB.
    pub memory: MemoryMib,
    /// Within [`base::limits::SCRATCH`]. Default 512 MB.
    pub scratch: MemoryMib,
    /// `x86_64` (default) or `arm64`.
    pub architecture: String,
    /// `None` where the user gave no `Environment`; secrets, never logged.
    pub variables: Option<BTreeMap<String, String>>,
    /// Default: text to `/aws/lambda/NAME`.
    pub logs: LogSettings,
    /// `TenantIsolationMode: PER_TENANT`: an environment serves one tenant only. Set when the function is made.
    #[serde(default)]
    pub per_tenant: bool,
    /// Shown together at `/opt`, each over those before it. At most [`base::limits::LAYERS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerUse>,
    /// Who decides whether an invocation is traced.
    #[serde(default, skip_serializing_if = "Tracing::is_default")]
    pub tracing: Tracing,
    /// ARN of the queue that gets the events of asynchronous invocations that are given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<String>,
    /// `SnapStart: {ApplyOn: PublishedVersions}`: environments of published versions are initialised ahead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snap_start: bool,
}

/// `TracingConfig`. Source: Lambda API reference, and its developer guide on X-Ray.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Tracing {
    /// The trace header of the request; a request without a decision is not traced.
    #[default]
    PassThrough,
    /// The same, and where it decides nothing, X-Ray's default rule.
    Active,
}

impl Tracing {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tracing::PassThrough => "PassThrough",
            Tracing::Active => "Active",
        }
    }

    /// Left out where it is stored, so that what was stored without it stays equal.
    fn is_default(&self) -> bool {
        *self == Tracing::PassThrough
    }
}

impl Configuration {
    /// Whether environments started with `self` may serve `other` too: all that differs is for people.
    pub fn runs_like(&self, other: &Configuration) -> bool {
        let mut same = self.clone();
        same.description.clone_from(&other.description);
        same == *other
    }
}

/// What invocations run: code with its configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// Changes whenever environments must be replaced; [`VersionKey::revision`].
    pub id: RequestId,
    /// Hash of the package.
    pub code: CodeSha256,
    /// Size of the package, zipped.
    pub code_size: u64,
    /// Everything else.
    pub configuration: Configuration,
}

/// Life of one version. `Creating → Active ⇄ Updating`; `Creating → Failed`; `Updating → UpdateFailed → Updating`.
/// On the wire: `State` and `LastUpdateStatus` with their reasons.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Condition {
    /// Its package is being unpacked for the first time: `State: Pending`.
    Creating,
    /// Serves invocations: `State: Active`, `LastUpdateStatus: Successful`.
    Active,
    /// It could not be made: `State: Failed`.
    Failed {
        /// `StateReasonCode`.
        code: FailureCode,
        /// `StateReason`.
        reason: String,
    },
    /// A new package is being unpacked: `LastUpdateStatus: InProgress`. Invocations go to what served before.
    Updating {
        /// What serves.
        serving: Box<Deployment>,
    },
    /// The last update could not be carried out: `LastUpdateStatus: Failed`. What served before still serves.
    UpdateFailed {
        /// What serves.
        serving: Box<Deployment>,
        /// `LastUpdateStatusReasonCode`.
        code: FailureCode,
        /// `LastUpdateStatusReason`.
        reason: String,
    },
}

impl Condition {
    /// Whether no background work is owed to it.
    pub fn settled(&self) -> bool {
        match self {
            Condition::Creating | Condition::Updating { .. } => false,
            Condition::Active | Condition::Failed { .. } | Condition::UpdateFailed { .. } => true,
        }
    }

    /// What serves instead of the newest deployment.
    pub fn serving(&self) -> Option<&Deployment> {
        match self {
            Condition::Updating { serving } | Condition::UpdateFailed { serving, .. } => Some(serving),
            Condition::Creating | Condition::Active | Condition::Failed { .. } => None,
        }
    }
}

/// Why a version could not be made, in Lambda's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FailureCode {
    /// The package is not one that can be unpacked.
    InvalidZipFileException,
    /// Neap's own failure.
    InternalError,
    /// SnapStart: the function's initialisation failed.
    FunctionError,
    /// SnapStart: it took too long.
    FunctionErrorInitTimeout,
}

impl FailureCode {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailureCode::InvalidZipFileException => "InvalidZipFileException",
            FailureCode::InternalError => "InternalError",
            FailureCode::FunctionError => "FunctionError",
            FailureCode::FunctionErrorInitTimeout => "FunctionError.InitTimeout",
        }
    }
}

/// One version of a function, `$LATEST` included.
#[derive(Clone, PartialEq, Debug)]
pub struct VersionRecord {
    /// Of which function.
    pub id: FunctionId,
    /// Which version.
    pub version: Version,
    /// `RevisionId`: new with every change.
    pub revision: RequestId,
    /// `LastModified`.
    pub modified: Timestamp,
    /// Newest code and configuration.
    pub deployment: Deployment,
    /// Where it is in its life.
    pub condition: Condition,
    /// Shown as `StateReason` while active: e.g. which newer interpreter serves the runtime.
    pub note: Option<String>,
    /// Fingerprint of the `$LATEST` that this version was published from; empty for `$LATEST`.
    pub origin: String,
}

impl VersionRecord {
    /// What invocations run now; `None` if it cannot be invoked.
    pub fn serving(&self) -> Option<&Deployment> {
        match &self.condition {
            Condition::Creating | Condition::Failed { .. } => None,
            Condition::Active => Some(&self.deployment),
            Condition::Updating { serving } | Condition::UpdateFailed { serving, .. } => Some(serving),
        }
    }

    /// Whether its environments are initialised ahead: SnapStart is for published versions.
    pub fn snap_starts(&self) -> bool {
        self.deployment.configuration.snap_start && self.version != Version::Latest
    }

    /// Key of the pool of environments that serve `deployment` of this version.
    pub fn key(&self, deployment: &Deployment) -> VersionKey {
        VersionKey {
            account: self.id.account,
            region: self.id.region.clone(),
            name: self.id.name.clone(),
            version: self.version,
            revision: deployment.id,
            tenant: None,
        }
    }

    /// What environments of `deployment` are started from.
    pub fn spec(&self, deployment: &Deployment, function: &FunctionRecord) -> FunctionSpec {
        let configuration = &deployment.configuration;
        FunctionSpec {
            key: self.key(deployment),
            runtime: configuration.runtime.clone(),
            architecture: configuration.architecture.as_str().into(),
            handler: configuration.handler.clone(),
            code: deployment.code,
            layers: configuration.layers.iter().map(|layer| layer.code).collect(),
            memory: configuration.memory,
            timeout: configuration.timeout,
            scratch: configuration.scratch,
            variables: configuration.variables.clone().unwrap_or_default(),
            role: configuration.role.clone(),
            logs: configuration.logs.clone(),
            reserved_concurrency: function.reserved_concurrency,
            idle_keep: function.tags.get(IDLE_TAG).and_then(|value| value.parse().ok()).map(Seconds),
            snap_start: self.snap_starts(),
        }
    }
}

/// Tag that says for how many seconds an environment of the function may be idle, 0 to 86,400.
pub const IDLE_TAG: &str = "neap:idle-seconds";

/// What concerns all versions of a function together.
#[derive(Clone, PartialEq, Debug)]
pub struct FunctionRecord {
    /// Which function.
    pub id: FunctionId,
    /// The highest version number ever given; numbers are not given twice.
    pub last_version: u64,
    /// At most 50.
    pub tags: BTreeMap<String, String>,
    /// Reserved concurrency.
    pub reserved_concurrency: Option<u32>,
}

/// What the user set about the asynchronous invocations that name a certain function, version or alias.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventConfig {
    /// `LastModified`.
    pub modified: Timestamp,
    /// See [`EventPolicy::retries_max`].
    pub retries_max: Option<u32>,
    /// See [`EventPolicy::age_max`].
    pub age_max: Option<Seconds>,
    /// ARN of what gets a record of each invocation that succeeded: a queue or a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<String>,
    /// The same for each that is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
}

impl QualifierConfig for EventConfig {
    const KIND: &'static str = "event";
}

impl EventConfig {
    /// With defaults for what is not set.
    pub fn policy(&self) -> EventPolicy {
        let default = EventPolicy::default();
        EventPolicy {
            retries_max: self.retries_max.unwrap_or(default.retries_max),
            age_max: self.age_max.unwrap_or(default.age_max),
        }
    }
}

/// A name for a version of a function, or for two among which its invocations are split.
#[derive(Clone, PartialEq, Debug)]
pub struct Alias {
    /// Of which function.
    pub id: FunctionId,
    /// Its name.
    pub name: String,
    /// `FunctionVersion`.
    pub version: Version,
    /// `AdditionalVersionWeights`: at most one more version, a number, and its share of the invocations, 0 to 1.
    pub weights: BTreeMap<String, f64>,
    /// At most 256 characters.
    pub description: String,
    /// `RevisionId`: new with every change.
    pub revision: RequestId,
}

impl Alias {
    /// `AliasArn`.
    pub fn arn(&self) -> String {
        self.id.qualified_arn(&self.name)
    }
}

/// How asynchronous invocations are retried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPolicy {
    /// `MaximumRetryAttempts`: attempts after the first that ended in a function error. 0 to 2, default 2.
    pub retries_max: u32,
    /// `MaximumEventAgeInSeconds`: 60 to 21,600, default 21,600.
    pub age_max: Seconds,
}

impl Default for EventPolicy {
    fn default() -> EventPolicy {
        EventPolicy { retries_max: 2, age_max: Seconds(21_600) }
    }
}

/// An accepted asynchronous invocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The request that brought it; the same id for each attempt.
    pub request_id: RequestId,
    /// For which function.
    pub id: FunctionId,
    /// For which version.
    pub version: Version,
    /// The ARN as the caller named it.
    pub invoked_arn: String,
    /// JSON.
    pub payload: bytes::Bytes,
    /// `ClientContext`, decoded.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id`.
    pub trace: Option<String>,
    /// `X-Amz-Tenant-Id`.
    pub tenant: Option<TenantId>,
    /// When it was accepted: its age counts from here.
    pub accepted: Timestamp,
    /// Attempts that ended in a function error.
    pub failures: u32,
    /// Attempts that the platform refused: throttled, no memory, no environment.
    pub refusals: u32,
    /// What is still to be handed in of what became of it: it is not run any more.
    pub outcome: Option<Outcome>,
}

/// What became of an event, on its way to where it is to be told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether it is given up.
    pub dropped: bool,
    /// The role of the function, as which it is told.
    pub role: String,
    /// What is left to be handed in.
    pub parcels: Vec<Parcel>,
    /// Attempts at handing in so far, in vain.
    pub attempts: u32,
}

/// A record or an event for a destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// ARN.
    pub target: String,
    /// Whether it is the dead-letter queue of the function, which gets the event itself.
    pub dead_letter: bool,
    /// Text.
    pub body: String,
    /// Names and values.
    pub attributes: Vec<(String, String)>,
    /// Trace header.
    pub trace: Option<String>,
}
