//! From what a request wants to a configuration: constraints, defaults, and refusals of what Neap does not carry out.

mod code;
mod features;
mod logging;
mod snap_start;

pub use code::{architecture, source};
pub use features::{Features, VpcConfig};
pub use logging::{LoggingConfig, shown_logs};
pub use snap_start::SnapStart;

use crate::{
    Error,
    logic::{destinations, environment, layers},
    model::{Configuration, Tracing},
};
use base::{AccountId, FunctionName, LogFormat, LogSettings, MemoryMib, Seconds, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Violations;

const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
/// `MemorySize` that the model allows; Lambda itself allows [`limits::MEMORY`].
const MEMORY_MODEL_MAX: i64 = 32_768;

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

/// The configuration of a new function.
pub fn create(wanted: &Wanted, name: &FunctionName, account: AccountId) -> Result<Configuration, Error> {
    let mut violations = Violations::default();
    if wanted.role.is_none() {
        violations.missing("role");
    }
    constraints(wanted, &mut violations);
    finish(violations)?;
    features::supported(&wanted.features)?;
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
        architecture: code::ARCHITECTURES[0].to_owned(),
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
    features::supported(&wanted.features)?;
    apply(current.clone(), wanted, account)
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
        code::check_architectures(architectures, violations);
    }
    if let Some(variables) = wanted.environment.as_ref().and_then(|e| e.variables.as_ref()) {
        environment::names(variables, violations);
    }
    if let Some(wanted) = &wanted.logging {
        logging::check(wanted, violations);
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
    if let Some(wanted) = &wanted.logging {
        configuration.logs = logging::changed(&configuration.logs, wanted)?;
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
    snap_start::check(&configuration)?;
    Ok(configuration)
}

/// A number whose bounds were checked.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ACCOUNT: AccountId = AccountId::DEFAULT;

    /// The least that a new function is made of.
    pub(super) fn wanted() -> Wanted {
        Wanted {
            role: Some("arn:aws:iam::000000000000:role/service-role/x".into()),
            runtime: Some("python3.12".into()),
            handler: Some("app.handler".into()),
            ..Wanted::default()
        }
    }

    pub(super) fn made(wanted: &Wanted) -> Result<Configuration, Error> {
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
