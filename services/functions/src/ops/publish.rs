//! PublishVersion, and publishing as part of creating and updating.

use super::create::charge;
use crate::{
    Error, Functions,
    api::{FunctionConfiguration, PublishVersionRequest},
    asking, data,
    logic::{
        names, settings,
        states::{Shown, configuration, fingerprint, state_word},
    },
    model::{Condition, Deployment, FunctionRecord, VersionRecord},
};
use base::{ByteCount, RequestId, Version};
use base64::Engine as _;
use store::Tx;
use wire::Context;

/// Identities that publishing gives out; made outside of the transaction, which may run more than once.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    /// `RevisionId` of the version.
    revision: RequestId,
    /// Of its pool of environments.
    deployment: RequestId,
    /// `RevisionId` of `$LATEST` afterwards: publishing changes it (observed).
    latest: RequestId,
}

impl Ids {
    pub(crate) fn new(functions: &Functions) -> Ids {
        Ids { revision: functions.fresh_id(), deployment: functions.fresh_id(), latest: functions.fresh_id() }
    }
}

/// Freezes `latest` as the next version; the last one if nothing has changed since.
pub(crate) fn publish(
    tx: &mut Tx<'_>,
    function: &mut FunctionRecord,
    latest: &mut VersionRecord,
    description: Option<&str>,
    ids: Ids,
    code_max: ByteCount,
) -> Result<VersionRecord, Error> {
    let origin = fingerprint(&latest.deployment);
    let last = Version::Published(function.last_version);
    if function.last_version > 0
        && let Some(last) = data::version_of(tx, &function.id, last)?
        && last.origin == origin
    {
        return Ok(last);
    }
    let condition = match &latest.condition {
        // It is initialised first.
        Condition::Active if latest.deployment.configuration.snap_start => Condition::Creating,
        Condition::Active => Condition::Active,
        Condition::Creating | Condition::Updating { .. } => Condition::Creating,
        Condition::Failed { .. } | Condition::UpdateFailed { .. } => {
            return Err(Error::NotActive(state_word(&latest.condition)));
        }
    };
    function.last_version += 1;
    let mut frozen = latest.deployment.configuration.clone();
    if let Some(description) = description {
        frozen.description = description.to_owned();
    }
    let record = VersionRecord {
        id: function.id.clone(),
        version: Version::Published(function.last_version),
        revision: ids.revision,
        modified: latest.modified,
        deployment: Deployment { id: ids.deployment, configuration: frozen, ..latest.deployment.clone() },
        condition,
        note: latest.note.clone(),
        origin,
    };
    charge(tx, &record, code_max)?;
    latest.revision = ids.latest;
    data::put_version(tx, latest)?;
    data::put_version(tx, &record)?;
    data::update_function(tx, function)?;
    Ok(record)
}

impl Functions {
    pub(crate) async fn publish_version(
        &self,
        context: &Context,
        input: PublishVersionRequest,
    ) -> Result<FunctionConfiguration, Error> {
        let id = asking(context, "lambda:PublishVersion", |asker| {
            names::unqualified(asker, &input.function_name, names::Form::Plain)
        })?;
        settings::description(input.description.as_deref().unwrap_or_default())?;
        if input.publish_to.is_some() {
            return Err(Error::Unsupported { member: "PublishTo", reason: "leave it out" });
        }
        let (ids, code_max) = (Ids::new(self), self.settings.code_storage_max);
        let record = self
            .db
            .write(move |tx| {
                let (mut function, mut latest) = data::function_and_latest(tx, &id)?;
                check_revision(&latest, input.revision_id.as_deref())?;
                check_code(&latest, input.code_sha256.as_deref())?;
                match &latest.condition {
                    Condition::Updating { .. } => return Err(Error::UpdateInProgress(id.arn())),
                    Condition::Creating | Condition::Failed { .. } => {
                        return Err(Error::NotActive(state_word(&latest.condition)));
                    }
                    Condition::Active | Condition::UpdateFailed { .. } => {}
                }
                publish(tx, &mut function, &mut latest, input.description.as_deref(), ids, code_max)
            })
            .await?;
        if !record.condition.settled() {
            self.upkeep.notify_one();
        }
        let arn = record.id.qualified_arn(record.version);
        Ok(configuration(&record, arn, Shown::Whole))
    }
}

/// `RevisionId` of conditional requests.
pub(crate) fn check_revision(latest: &VersionRecord, wanted: Option<&str>) -> Result<(), Error> {
    match wanted {
        Some(wanted) if wanted != latest.revision.to_string() => Err(Error::StaleRevision),
        Some(_) | None => Ok(()),
    }
}

fn check_code(latest: &VersionRecord, wanted: Option<&str>) -> Result<(), Error> {
    let current = base64::engine::general_purpose::STANDARD.encode(latest.deployment.code.0);
    match wanted {
        Some(wanted) if wanted != current => Err(Error::InvalidParameter(format!(
            "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the CodeSHA256 in $LATEST."
        ))),
        Some(_) | None => Ok(()),
    }
}
