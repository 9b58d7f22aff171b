//! From what a request wants to a configuration: constraints, defaults, and refusals of what Neap does not carry out.

use crate::{
    Error,
    api::FunctionCode,
    logic::{destinations, environment, layers},
    model::{Configuration, IDLE_TAG, Tracing},
};
use base::{
    AccountId, ApplicationLogLevel, FunctionName, LogFormat, LogSettings, MemoryMib, PackageError, Seconds,
    SystemLogLevel, limits,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Violations;

const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
/// `MemorySize` that the model allows; Lambda itself allows [`limits::MEMORY`].
const MEMORY_MODEL_MAX: i64 = 32_768;
/// Tags of one function.
pub const TAGS_MAX: usize = 50;
/// The most that [`IDLE_TAG`] can say.
const IDLE_S_MAX: u32 = 86_400;

/// Members of CreateFunction and UpdateFunctionConfiguration that make up a configuration; `None` where the request
/// does not say.
#[derive(Clone, Default, Debug)]
pub struct Wanted {
    /// `Role`.
    pub role: Option<String>,
    /// `Runtime`.
    pub runtime: Option<String>,
    /// `Handler`.
    pub handler: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `Timeout`.
    pub timeout: Option<i64>,
    /// `MemorySize`.
    pub memory: Option<i64>,
    /// `EphemeralStorage`.
    pub scratch: Option<EphemeralStorage>,
    /// `Architectures`.
    pub architectures: Option<Vec<String>>,
    /// `Environment`.
    pub environment: Option<Environment>,
    /// `LoggingConfig`.
    pub logging: Option<LoggingConfig>,
    /// `TenancyConfig`.
    pub tenancy: Option<TenancyConfig>,
    /// `Layers`, by ARN; what they are is the store's to tell.
    pub layers: Option<Vec<String>>,
    /// `TracingConfig`.
    pub tracing: Option<TracingConfig>,
    /// `DeadLetterConfig`; without target it is none.
    pub dead_letters: Option<DeadLetterConfig>,
    /// Everything that Neap carries out only in its "off" form.
    pub features: Features,
}

/// `TenancyConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TenancyConfig {
    /// `PER_TENANT`.
    pub tenant_isolation_mode: Option<String>,
}

/// `Environment` of requests.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    /// `Variables`.
    pub variables: Option<BTreeMap<String, String>>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Environment({} variables)", self.variables.as_ref().map_or(0, BTreeMap::len))
    }
}

/// `EphemeralStorage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EphemeralStorage {
    /// MB.
    pub size: Option<i64>,
}

/// `LoggingConfig`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfig {
    /// `Text` or `JSON`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// With `JSON` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_log_level: Option<String>,
    /// With `JSON` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_log_level: Option<String>,
    /// Log group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
}

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

/// `DeadLetterConfig`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadLetterConfig {
    /// Queue or topic.
    pub target_arn: Option<String>,
}

/// `TracingConfig`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TracingConfig {
    /// `PassThrough` or `Active`.
    pub mode: Option<String>,
}

/// `SnapStart`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SnapStart {
    /// `None` or `PublishedVersions`.
    pub apply_on: Option<String>,
}

/// The configuration of a new function.
pub fn create(wanted: &Wanted, name: &FunctionName, account: AccountId) -> Result<Configuration, Error> {
    let mut violations = Violations::default();
    if wanted.role.is_none() {
        violations.missing("role");
    }
    constraints(wanted, &mut violations);
    finish(violations)?;
    supported(&wanted.features)?;
    let (Some(runtime), Some(handler)) = (&wanted.runtime, &wanted.handler) else {
        return Err(Error::invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    };
    let fresh = Configuration {
        runtime: runtime.clone(),
        handler: handler.clone(),
        role: String::new(),
        description: String::new(),
        timeout: Seconds(3),
        memory: *limits::MEMORY.start(),
        scratch: *limits::SCRATCH.start(),
        architecture: ARCHITECTURES[0].to_owned(),
        variables: None,
        logs: LogSettings { group: format!("/aws/lambda/{name}"), format: LogFormat::Text },
        layers: Vec::new(),
        per_tenant: wanted.tenancy.is_some(),
        tracing: Tracing::PassThrough,
        dead_letters: None,
        snap_start: false,
    };
    apply(fresh, wanted, account)
}

/// `current` with what an update wants changed.
pub fn update(current: &Configuration, wanted: &Wanted, account: AccountId) -> Result<Configuration, Error> {
    let mut violations = Violations::default();
    constraints(wanted, &mut violations);
    finish(violations)?;
    supported(&wanted.features)?;
    apply(current.clone(), wanted, account)
}

/// The architecture that UpdateFunctionCode wants; `None` leaves it.
pub fn architecture(wanted: Option<&[String]>) -> Result<Option<String>, Error> {
    let mut violations = Violations::default();
    if let Some(architectures) = wanted {
        check_architectures(architectures, &mut violations);
    }
    finish(violations)?;
    Ok(wanted.and_then(<[String]>::first).cloned())
}

/// Tags to set on a function that has `present` already.
pub fn tags(
    present: &BTreeMap<String, String>,
    added: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    for (key, value) in added {
        if !(1..=128).contains(&key.chars().count()) {
            return Err(Error::invalid("The tag key must have 1 to 128 characters."));
        }
        if value.chars().count() > 256 {
            return Err(Error::InvalidParameter(format!(
                "The value of tag {key} must have at most 256 characters."
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::InvalidParameter(format!("The tag key {key} has the reserved prefix aws:.")));
        }
        if key == IDLE_TAG && value.parse::<u32>().map_or(true, |seconds| seconds > IDLE_S_MAX) {
            return Err(Error::InvalidParameter(format!(
                "The tag {IDLE_TAG} must be a number of seconds from 0 to {IDLE_S_MAX}."
            )));
        }
    }
    let mut tags = present.clone();
    tags.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(tags)
}

/// The package in a request, and nothing else.
pub fn source(code: FunctionCode) -> Result<bytes::Bytes, Error> {
    let elsewhere = code.s3_bucket.is_some() || code.s3_key.is_some() || code.s3_object_version.is_some();
    if code.image_uri.is_some() {
        return Err(Error::Unsupported { member: "ImageUri", reason: "upload a zip package as ZipFile" });
    }
    if code.source_kms_key_arn.is_some_and(|arn| !arn.is_empty()) {
        return Err(Error::Unsupported { member: "SourceKMSKeyArn", reason: "leave it out" });
    }
    match code.zip_file {
        Some(_) if elsewhere => Err(Error::invalid(
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        )),
        Some(zip) if zip.0.is_empty() => Err(Error::Package(PackageError::Empty)),
        Some(zip) if zip.0.len() as u64 > limits::PACKAGE_ZIPPED_MAX.0 => {
            Err(Error::ZipTooLarge { max_bytes: limits::PACKAGE_ZIPPED_MAX.0 })
        }
        Some(zip) => Ok(zip.0),
        None if elsewhere => {
            Err(Error::Unsupported { member: "S3Bucket", reason: "upload the package itself as ZipFile" })
        }
        None => Err(Error::invalid("Please provide a source for function code.")),
    }
}

/// `description` alone, as PublishVersion has it.
pub fn description(text: &str) -> Result<(), Error> {
    let mut violations = Violations::default();
    violations.length("description", text, 0..=256);
    finish(violations)
}

fn finish(violations: Violations) -> Result<(), Error> {
    if violations.is_empty() { Ok(()) } else { Err(Error::Constraints(violations.to_string())) }
}

/// What the API model demands of each member by itself.
fn constraints(wanted: &Wanted, violations: &mut Violations) {
    if let Some(role) = &wanted.role {
        violations.pattern("role", role, ROLE_PATTERN, role_account(role).is_some());
    }
    if let Some(handler) = &wanted.handler {
        violations.length("handler", handler, 0..=128);
        let fits = !handler.is_empty() && !handler.contains(char::is_whitespace);
        violations.pattern("handler", handler, r"[^\s]+", fits);
    }
    if let Some(description) = &wanted.description {
        violations.length("description", description, 0..=256);
    }
    if let Some(timeout) = wanted.timeout {
        violations.range("timeout", timeout, bounds(limits::TIMEOUT.start().0, limits::TIMEOUT.end().0));
    }
    if let Some(memory) = wanted.memory {
        violations.range("memorySize", memory, i64::from(limits::MEMORY.start().0)..=MEMORY_MODEL_MAX);
    }
    if let Some(scratch) = wanted.scratch {
        match scratch.size {
            Some(size) => violations.range(
                "ephemeralStorage.size",
                size,
                bounds(limits::SCRATCH.start().0, limits::SCRATCH.end().0),
            ),
            None => violations.missing("ephemeralStorage.size"),
        }
    }
    if let Some(architectures) = &wanted.architectures {
        check_architectures(architectures, violations);
    }
    if let Some(variables) = wanted.environment.as_ref().and_then(|e| e.variables.as_ref()) {
        environment::names(variables, violations);
    }
    if let Some(logging) = &wanted.logging {
        check_logging(logging, violations);
    }
    if let Some(layers) = &wanted.layers {
        layers::check_arns(layers, violations);
    }
    match wanted.tenancy.as_ref().map(|tenancy| tenancy.tenant_isolation_mode.as_deref()) {
        Some(None) => violations.missing("tenancyConfig.tenantIsolationMode"),
        Some(mode) => words(violations, "tenancyConfig.tenantIsolationMode", mode, &["PER_TENANT"]),
        None => {}
    }
    let features = &wanted.features;
    words(violations, "packageType", features.package_type.as_deref(), &["Zip", "Image"]);
    words(
        violations,
        "tracingConfig.mode",
        wanted.tracing.as_ref().and_then(|t| t.mode.as_deref()),
        &["Active", "PassThrough"],
    );
    words(
        violations,
        "snapStart.applyOn",
        features.snap_start.as_ref().and_then(|s| s.apply_on.as_deref()),
        &["PublishedVersions", "None"],
    );
}

fn bounds(min: u32, max: u32) -> std::ops::RangeInclusive<i64> {
    i64::from(min)..=i64::from(max)
}

fn words(violations: &mut Violations, member: &str, value: Option<&str>, words: &[&str]) {
    if let Some(value) = value {
        violations.one_of(member, value, words);
    }
}

fn check_architectures(architectures: &[String], violations: &mut Violations) {
    let shown = format!("[{}]", architectures.join(", "));
    match architectures {
        [] => violations.add(shown, "architectures", "Member must have length greater than or equal to 1"),
        [one] if ARCHITECTURES.contains(&one.as_str()) => {}
        [_] => violations.add(
            shown,
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
        [_, _, ..] => violations.add(shown, "architectures", "Member must have length less than or equal to 1"),
    }
}

fn check_logging(logging: &LoggingConfig, violations: &mut Violations) {
    words(violations, "loggingConfig.logFormat", logging.log_format.as_deref(), &["JSON", "Text"]);
    words(
        violations,
        "loggingConfig.applicationLogLevel",
        logging.application_log_level.as_deref(),
        &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"],
    );
    words(
        violations,
        "loggingConfig.systemLogLevel",
        logging.system_log_level.as_deref(),
        &["DEBUG", "INFO", "WARN"],
    );
    if let Some(group) = &logging.log_group {
        violations.length("loggingConfig.logGroup", group, 1..=512);
        let fits =
            group.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'#'));
        violations.pattern("loggingConfig.logGroup", group, r"[\.\-_/#A-Za-z0-9]+", fits);
    }
}

/// Account of a role's ARN; `None` if it does not fit [`ROLE_PATTERN`].
fn role_account(role: &str) -> Option<(&str, &str)> {
    let mut parts = role.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, partition, iam, region, account, resource) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    let name = resource.strip_prefix("role")?;
    let partition_fits = partition.is_empty()
        || partition
            .strip_prefix("aws")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'));
    let name_fits = name.len() > usize::from(name.starts_with('/'))
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&b));
    let account_fits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let fits =
        arn == "arn" && partition_fits && iam == "iam" && region.is_empty() && account_fits && name_fits;
    fits.then_some((partition, account))
}

/// Refuses what is switched on and not carried out.
fn supported(features: &Features) -> Result<(), Error> {
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

/// Sets what is wanted; constraints hold already.
fn apply(
    mut configuration: Configuration,
    wanted: &Wanted,
    account: AccountId,
) -> Result<Configuration, Error> {
    if let Some(role) = &wanted.role {
        match role_account(role) {
            // A function acts with its role's rights: another account's role would be a way into that account.
            Some((_, owner)) if owner != account.as_str() => return Err(Error::OtherAccountRole),
            Some(("aws", _)) => configuration.role.clone_from(role),
            Some(_) | None => return Err(Error::invalid("The role must be of the partition aws.")),
        }
    }
    if let Some(runtime) = &wanted.runtime {
        configuration.runtime.clone_from(runtime);
    }
    if let Some(handler) = &wanted.handler {
        configuration.handler.clone_from(handler);
    }
    if let Some(description) = &wanted.description {
        configuration.description.clone_from(description);
    }
    if let Some(timeout) = wanted.timeout {
        configuration.timeout = Seconds(small(timeout));
    }
    if let Some(memory) = wanted.memory {
        let max = limits::MEMORY.end().0;
        if memory > i64::from(max) {
            return Err(Error::InvalidParameter(format!(
                "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to {max}"
            )));
        }
        configuration.memory = MemoryMib(small(memory));
    }
    if let Some(size) = wanted.scratch.and_then(|scratch| scratch.size) {
        configuration.scratch = MemoryMib(small(size));
    }
    if let Some(architecture) = wanted.architectures.as_ref().and_then(|list| list.first()) {
        configuration.architecture.clone_from(architecture);
    }
    if let Some(environment) = &wanted.environment {
        if let Some(variables) = &environment.variables {
            environment::values(variables)?;
        }
        configuration.variables.clone_from(&environment.variables);
    }
    if let Some(logging) = &wanted.logging {
        configuration.logs = logs(&configuration.logs, logging)?;
    }
    if let Some(tracing) = &wanted.tracing {
        configuration.tracing = match tracing.mode.as_deref() {
            Some("Active") => Tracing::Active,
            // A structure without a mode stands for the default one.
            Some(_) | None => Tracing::PassThrough,
        };
    }
    if let Some(dead_letters) = &wanted.dead_letters {
        configuration.dead_letters = dead_letters
            .target_arn
            .as_deref()
            .filter(|arn| !arn.is_empty())
            .map(destinations::dead_letters)
            .transpose()?;
    }
    if let Some(snap_start) = &wanted.features.snap_start {
        configuration.snap_start = snap_start.apply_on.as_deref() == Some("PublishedVersions");
    }
    check_snap_start(&configuration)?;
    Ok(configuration)
}

/// What goes together with SnapStart. Source: Lambda's guide, SnapStart, supported features and limitations.
fn check_snap_start(configuration: &Configuration) -> Result<(), Error> {
    // Lambda begins with Java 11 and Python 3.12; what runs here at all is initialised ahead as well.
    const SERVED: [&str; 2] = ["java", "python3."];
    let runtime = configuration.runtime.as_str();
    if !configuration.snap_start {
        return Ok(());
    }
    if !SERVED.iter().any(|one| runtime.starts_with(one)) {
        return Err(Error::InvalidParameter(format!(
            "{runtime} is not supported for SnapStart enabled functions."
        )));
    }
    if configuration.scratch > *limits::SCRATCH.start() {
        return Err(Error::invalid(
            "Ephemeral storage of more than 512 MB is not supported for SnapStart enabled functions.",
        ));
    }
    if configuration.per_tenant {
        return Err(Error::invalid("SnapStart is not supported for functions with tenancy configuration."));
    }
    Ok(())
}

/// A number whose bounds were checked.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn logs(current: &LogSettings, wanted: &LoggingConfig) -> Result<LogSettings, Error> {
    let json = match wanted.log_format.as_deref() {
        Some(format) => format == "JSON",
        None => matches!(current.format, LogFormat::Json { .. }),
    };
    let levels = wanted.application_log_level.is_some() || wanted.system_log_level.is_some();
    if levels && !json {
        return Err(Error::invalid(
            "ApplicationLogLevel and SystemLogLevel can only be set when LogFormat is JSON.",
        ));
    }
    let (application, system) = match current.format {
        LogFormat::Json { application, system } => (application, system),
        LogFormat::Text => (ApplicationLogLevel::Info, SystemLogLevel::Info),
    };
    let format = match json {
        true => LogFormat::Json {
            application: wanted
                .application_log_level
                .as_deref()
                .and_then(application_level)
                .unwrap_or(application),
            system: wanted.system_log_level.as_deref().and_then(system_level).unwrap_or(system),
        },
        false => LogFormat::Text,
    };
    Ok(LogSettings { group: wanted.log_group.clone().unwrap_or_else(|| current.group.clone()), format })
}

fn application_level(word: &str) -> Option<ApplicationLogLevel> {
    Some(match word {
        "TRACE" => ApplicationLogLevel::Trace,
        "DEBUG" => ApplicationLogLevel::Debug,
        "INFO" => ApplicationLogLevel::Info,
        "WARN" => ApplicationLogLevel::Warn,
        "ERROR" => ApplicationLogLevel::Error,
        "FATAL" => ApplicationLogLevel::Fatal,
        _ => return None,
    })
}

fn system_level(word: &str) -> Option<SystemLogLevel> {
    Some(match word {
        "DEBUG" => SystemLogLevel::Debug,
        "INFO" => SystemLogLevel::Info,
        "WARN" => SystemLogLevel::Warn,
        _ => return None,
    })
}

/// `LoggingConfig` as answers show it.
pub fn shown_logs(logs: &LogSettings) -> LoggingConfig {
    let (format, application, system) = match logs.format {
        LogFormat::Text => ("Text", None, None),
        LogFormat::Json { application, system } => {
            let application = match application {
                ApplicationLogLevel::Trace => "TRACE",
                ApplicationLogLevel::Debug => "DEBUG",
                ApplicationLogLevel::Info => "INFO",
                ApplicationLogLevel::Warn => "WARN",
                ApplicationLogLevel::Error => "ERROR",
                ApplicationLogLevel::Fatal => "FATAL",
            };
            let system = match system {
                SystemLogLevel::Debug => "DEBUG",
                SystemLogLevel::Info => "INFO",
                SystemLogLevel::Warn => "WARN",
            };
            ("JSON", Some(application.to_owned()), Some(system.to_owned()))
        }
    };
    LoggingConfig {
        log_format: Some(format.to_owned()),
        application_log_level: application,
        system_log_level: system,
        log_group: Some(logs.group.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ACCOUNT: AccountId = AccountId::DEFAULT;

    fn wanted() -> Wanted {
        Wanted {
            role: Some("arn:aws:iam::000000000000:role/service-role/x".into()),
            runtime: Some("python3.12".into()),
            handler: Some("app.handler".into()),
            ..Wanted::default()
        }
    }

    fn made(wanted: &Wanted) -> Result<Configuration, Error> {
        create(wanted, &"hello".parse().unwrap(), ACCOUNT)
    }

    #[test]
    fn defaults_are_lambdas() {
        let made = made(&wanted()).unwrap();
        assert_eq!((made.timeout, made.memory, made.scratch), (Seconds(3), MemoryMib(128), MemoryMib(512)));
        assert_eq!((made.architecture.as_str(), made.description.as_str()), ("x86_64", ""));
        assert_eq!(made.logs.group, "/aws/lambda/hello");
        assert_eq!(made.variables, None);
    }

    #[test]
    fn constraints_are_told_in_the_words_of_the_model() {
        let told = |change: fn(&mut Wanted)| {
            let mut wanted = wanted();
            change(&mut wanted);
            made(&wanted).unwrap_err().to_string()
        };
        assert_eq!(
            told(|w| w.memory = Some(64)),
            "1 validation error detected: Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"
        );
        assert_eq!(
            told(|w| w.memory = Some(10_241)),
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"
        );
        assert_eq!(
            told(|w| w.timeout = Some(901)),
            "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"
        );
        assert_eq!(
            told(|w| w.handler = Some("a b".into())),
            r"1 validation error detected: Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\s]+"
        );
        assert_eq!(
            told(|w| w.role = Some("x".into())),
            format!(
                "1 validation error detected: Value 'x' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: {ROLE_PATTERN}"
            )
        );
        assert_eq!(
            told(|w| w.architectures = Some(vec!["z80".into()])),
            "1 validation error detected: Value '[z80]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
        );
        assert!(
            told(|w| {
                w.timeout = Some(0);
                w.role = None;
            })
            .starts_with("2 validation errors detected: ")
        );
        assert_eq!(
            told(|w| w.role = Some("arn:aws:iam::111111111111:role/x".into())),
            "Cross-account pass role is not allowed."
        );
        assert!(told(|w| w.runtime = None).starts_with("Runtime and Handler are mandatory parameters"));
        assert!(
            told(|w| w.scratch = Some(EphemeralStorage { size: Some(511) }))
                .contains("'ephemeralStorage.size'")
        );
    }

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

    #[test]
    fn snap_start_goes_with_what_lambda_says() {
        let with = |change: fn(&mut Wanted)| {
            let mut wanted = wanted();
            wanted.features.snap_start = Some(SnapStart { apply_on: Some("PublishedVersions".into()) });
            change(&mut wanted);
            made(&wanted)
        };
        assert!(with(|_| {}).unwrap().snap_start);
        for runtime in ["java17", "java21", "python3.11", "python3.13"] {
            let mut wanted = wanted();
            wanted.runtime = Some(runtime.to_owned());
            wanted.features.snap_start = Some(SnapStart { apply_on: Some("PublishedVersions".into()) });
            assert!(made(&wanted).unwrap().snap_start, "{runtime}");
        }
        for (change, told) in [
            ((|w| w.runtime = Some("nodejs22.x".into())) as fn(&mut Wanted), "nodejs22.x is not supported"),
            (|w| w.runtime = Some("provided.al2023".into()), "provided.al2023 is not supported"),
            (|w| w.scratch = Some(EphemeralStorage { size: Some(1024) }), "Ephemeral storage"),
            (
                |w| w.tenancy = Some(TenancyConfig { tenant_isolation_mode: Some("PER_TENANT".into()) }),
                "tenancy configuration",
            ),
        ] {
            let refused = with(change).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn updates_change_what_they_name() {
        let mut first = wanted();
        first.environment =
            Some(Environment { variables: Some(BTreeMap::from([("AB".into(), "1".into())])) });
        let first = made(&first).unwrap();
        let json = LoggingConfig {
            log_format: Some("JSON".into()),
            system_log_level: Some("WARN".into()),
            ..LoggingConfig::default()
        };
        let second =
            update(&first, &Wanted { memory: Some(256), logging: Some(json), ..Wanted::default() }, ACCOUNT)
                .unwrap();
        assert_eq!(second.memory, MemoryMib(256));
        assert_eq!(second.variables, first.variables);
        assert_eq!(
            shown_logs(&second.logs),
            LoggingConfig {
                log_format: Some("JSON".into()),
                application_log_level: Some("INFO".into()),
                system_log_level: Some("WARN".into()),
                log_group: Some("/aws/lambda/hello".into())
            }
        );
        let text = LoggingConfig {
            log_format: Some("Text".into()),
            log_group: Some("other".into()),
            ..LoggingConfig::default()
        };
        let third = update(
            &second,
            &Wanted { logging: Some(text), environment: Some(Environment::default()), ..Wanted::default() },
            ACCOUNT,
        )
        .unwrap();
        assert_eq!((third.logs.format, third.logs.group.as_str()), (LogFormat::Text, "other"));
        assert_eq!(third.variables, None);
        let levels = LoggingConfig { system_log_level: Some("WARN".into()), ..LoggingConfig::default() };
        assert!(update(&third, &Wanted { logging: Some(levels), ..Wanted::default() }, ACCOUNT).is_err());
        assert!(first.runs_like(&Configuration { description: "new".into(), ..first.clone() }));
        assert!(!first.runs_like(&second));
    }

    #[test]
    fn tags_are_bounded() {
        let many: BTreeMap<String, String> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
        let tags_now = tags(&BTreeMap::new(), &many).unwrap();
        assert!(tags(&tags_now, &BTreeMap::from([("k0".into(), "changed".into())])).is_ok());
        assert!(tags(&tags_now, &BTreeMap::from([("one more".into(), String::new())])).is_err());
        assert!(tags(&BTreeMap::new(), &BTreeMap::from([("aws:x".into(), String::new())])).is_err());
        assert!(tags(&BTreeMap::new(), &BTreeMap::from([(String::new(), String::new())])).is_err());
    }

    proptest! {
        /// Whatever numbers and texts come, the outcome is a configuration within the limits or a refusal.
        #[test]
        fn configurations_stay_within_limits(
            timeout in proptest::option::of(any::<i64>()), memory in proptest::option::of(any::<i64>()),
            size in proptest::option::of(0..20_000i64), handler in ".{0,140}", role in ".{0,60}", real_role in any::<bool>(),
        ) {
            let mut wanted = wanted();
            (wanted.timeout, wanted.memory, wanted.handler) = (timeout, memory, Some(handler));
            wanted.scratch = Some(EphemeralStorage { size });
            if !real_role { wanted.role = Some(role); }
            if let Ok(made) = made(&wanted) {
                prop_assert!(limits::TIMEOUT.contains(&made.timeout));
                prop_assert!(limits::MEMORY.contains(&made.memory));
                prop_assert!(limits::SCRATCH.contains(&made.scratch));
                prop_assert!(made.role.parse::<base::Arn>().is_ok());
                prop_assert!(made.handler.chars().count() <= 128);
            }
        }
    }
}
