//! How versions look on the wire, and what publishing compares.

use crate::{
    api::{
        EnvironmentResponse, FunctionConfiguration, SnapStartResponse, TracingConfigResponse,
        layers::LayerReference,
    },
    logic::settings::{DeadLetterConfig, EphemeralStorage, TenancyConfig, shown_logs},
    model::{Condition, Deployment, FailureCode, VersionRecord},
};
use base::{PackageError, Timestamp, Version};
use base64::Engine as _;
use sha2::{Digest, Sha256};

/// How much of a version an answer shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// Everything.
    Whole,
    /// Without state and update status, as lists have it (observed).
    Listed,
    /// Without update status, as CreateFunction has it (observed).
    Created,
}

/// `FunctionConfiguration` of a version under the ARN that the operation shows.
pub fn configuration(record: &VersionRecord, arn: String, shown: Shown) -> FunctionConfiguration {
    let Deployment { code, code_size, configuration, .. } = &record.deployment;
    let (state, update) = status(record);
    let state = state.filter_by(shown != Shown::Listed);
    // Published versions never have an update status.
    let update = update.filter_by(shown == Shown::Whole && record.version == Version::Latest);
    FunctionConfiguration {
        function_name: record.id.name.to_string(),
        function_arn: arn,
        runtime: configuration.runtime.clone(),
        role: configuration.role.clone(),
        handler: configuration.handler.clone(),
        code_size: *code_size,
        description: configuration.description.clone(),
        timeout: configuration.timeout.0,
        memory_size: configuration.memory.0,
        last_modified: last_modified(record.modified),
        code_sha256: base64::engine::general_purpose::STANDARD.encode(code.0),
        version: record.version.to_string(),
        environment: configuration.variables.clone().map(|variables| EnvironmentResponse { variables }),
        dead_letter_config: configuration
            .dead_letters
            .clone()
            .map(|arn| DeadLetterConfig { target_arn: Some(arn) }),
        tracing_config: TracingConfigResponse { mode: configuration.tracing.as_str() },
        revision_id: record.revision.to_string(),
        state: state.word,
        state_reason: state.reason,
        state_reason_code: state.code,
        last_update_status: update.word,
        last_update_status_reason: update.reason,
        last_update_status_reason_code: update.code,
        package_type: "Zip",
        architectures: [configuration.architecture.clone()],
        ephemeral_storage: EphemeralStorage { size: Some(i64::from(configuration.scratch.0)) },
        snap_start: SnapStartResponse {
            apply_on: if configuration.snap_start { "PublishedVersions" } else { "None" },
            optimization_status: if record.snap_starts() { "On" } else { "Off" },
        },
        logging_config: shown_logs(&configuration.logs),
        tenancy_config: configuration
            .per_tenant
            .then(|| TenancyConfig { tenant_isolation_mode: Some("PER_TENANT".to_owned()) }),
        layers: configuration.layers.iter().map(LayerReference::of).collect(),
    }
}

/// A status with its reason.
#[derive(Default)]
struct Status {
    word: Option<&'static str>,
    reason: Option<String>,
    code: Option<&'static str>,
}

impl Status {
    fn of(word: &'static str) -> Status {
        Status { word: Some(word), ..Status::default() }
    }

    fn because(self, reason: impl Into<String>, code: &'static str) -> Status {
        Status { reason: Some(reason.into()), code: Some(code), ..self }
    }

    fn filter_by(self, shown: bool) -> Status {
        if shown { self } else { Status::default() }
    }
}

/// `State` and `LastUpdateStatus`.
fn status(record: &VersionRecord) -> (Status, Status) {
    let active = Status { reason: record.note.clone(), ..Status::of("Active") };
    match &record.condition {
        Condition::Creating => (
            Status::of("Pending").because("The function is being created.", "Creating"),
            Status::of("InProgress"),
        ),
        Condition::Active => (active, Status::of("Successful")),
        Condition::Failed { code, reason } => (
            Status::of("Failed").because(reason, code.as_str()),
            Status::of("Failed").because(reason, code.as_str()),
        ),
        Condition::Updating { .. } => (active, Status::of("InProgress")),
        Condition::UpdateFailed { code, reason, .. } => {
            (active, Status::of("Failed").because(reason, code.as_str()))
        }
    }
}

/// `State` as messages name it.
pub fn state_word(condition: &Condition) -> &'static str {
    match condition {
        Condition::Creating => "Pending",
        Condition::Failed { .. } => "Failed",
        Condition::Active | Condition::Updating { .. } | Condition::UpdateFailed { .. } => "Active",
    }
}

/// `2026-11-21T10:31:00.000+0000`.
pub fn last_modified(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S.%3f+0000")
        .to_string()
}

/// What a version's condition becomes when the unpacking that it waits for has ended.
pub fn settle(condition: Condition, outcome: Result<(), &PackageError>) -> Condition {
    let failure = outcome.err().map(|error| match error {
        PackageError::Storage(_) => (FailureCode::InternalError, error.to_string()),
        PackageError::NotZip(_)
        | PackageError::Empty
        | PackageError::BadEntry { .. }
        | PackageError::BadProgram { .. }
        | PackageError::TooLarge { .. } => {
            (FailureCode::InvalidZipFileException, crate::error::package_text(error))
        }
    });
    match (condition, failure) {
        (Condition::Creating | Condition::Updating { .. }, None) => Condition::Active,
        (Condition::Creating, Some((code, reason))) => Condition::Failed { code, reason },
        (Condition::Updating { serving }, Some((code, reason))) => {
            Condition::UpdateFailed { serving, code, reason }
        }
        (done @ (Condition::Active | Condition::Failed { .. } | Condition::UpdateFailed { .. }), _) => done,
    }
}

/// Stands for everything that publishing freezes: two equal fingerprints mean that nothing has changed.
pub fn fingerprint(deployment: &Deployment) -> String {
    let text = serde_json::to_vec(&(&deployment.code, &deployment.configuration)).unwrap_or_default();
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(Sha256::digest(&text))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{logic::settings, model::FunctionId};
    use base::{AccountId, CodeSha256, RequestId};

    pub(crate) fn record(condition: Condition) -> VersionRecord {
        let wanted = settings::Wanted {
            role: Some("arn:aws:iam::000000000000:role/x".into()),
            runtime: Some("python3.12".into()),
            handler: Some("app.handler".into()),
            ..settings::Wanted::default()
        };
        let name: base::FunctionName = "hello".parse().unwrap();
        let configuration = settings::create(&wanted, &name, AccountId::DEFAULT).unwrap();
        VersionRecord {
            id: FunctionId { account: AccountId::DEFAULT, region: "us-east-1".parse().unwrap(), name },
            version: Version::Latest,
            revision: RequestId::from_random([1; 16]),
            modified: Timestamp(1_763_721_060_123),
            deployment: Deployment {
                id: RequestId::from_random([2; 16]),
                code: CodeSha256([3; 32]),
                code_size: 7,
                configuration,
            },
            condition,
            note: None,
            origin: String::new(),
        }
    }

    #[test]
    fn states_are_those_that_waiters_wait_for() {
        let serving = Box::new(record(Condition::Active).deployment);
        let failed = (FailureCode::InvalidZipFileException, "bad".to_owned());
        for (condition, state, update) in [
            (Condition::Creating, "Pending", "InProgress"),
            (Condition::Active, "Active", "Successful"),
            (Condition::Failed { code: failed.0, reason: failed.1.clone() }, "Failed", "Failed"),
            (Condition::Updating { serving: serving.clone() }, "Active", "InProgress"),
            (Condition::UpdateFailed { serving, code: failed.0, reason: failed.1 }, "Active", "Failed"),
        ] {
            let shown = configuration(&record(condition), "arn".into(), Shown::Whole);
            assert_eq!((shown.state, shown.last_update_status), (Some(state), Some(update)));
        }
        let listed = configuration(&record(Condition::Active), "arn".into(), Shown::Listed);
        assert_eq!((listed.state, listed.last_update_status), (None, None));
        assert_eq!(listed.last_modified, "2025-11-21T10:31:00.123+0000");
    }

    #[test]
    fn settling_ends_what_was_pending_and_nothing_else() {
        let serving = Box::new(record(Condition::Active).deployment);
        let error = PackageError::Empty;
        assert_eq!(settle(Condition::Creating, Ok(())), Condition::Active);
        assert!(matches!(settle(Condition::Creating, Err(&error)), Condition::Failed { .. }));
        assert_eq!(settle(Condition::Updating { serving: serving.clone() }, Ok(())), Condition::Active);
        let failed = settle(Condition::Updating { serving: serving.clone() }, Err(&error));
        assert_eq!(failed.serving(), Some(&*serving));
        assert_eq!(settle(failed.clone(), Ok(())), failed);
    }

    #[test]
    fn fingerprints_tell_every_change_apart() {
        let first = record(Condition::Active).deployment;
        let mut second = first.clone();
        second.id = RequestId::from_random([9; 16]);
        assert_eq!(fingerprint(&first), fingerprint(&second));
        second.configuration.description = "new".into();
        assert_ne!(fingerprint(&first), fingerprint(&second));
    }
}
