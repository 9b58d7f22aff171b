//! The statements about versions of functions, `$LATEST` among them.

use super::{alias, changes::note_change, function_id, habits, json, layers, number, parse, text, version};
use crate::{
    Error,
    model::{Condition, Configuration, Deployment, FunctionId, Qualifier, Target, VersionRecord},
};
use base::{CodeSha256, Timestamp, Version};
use std::collections::BTreeSet;
use store::{Row, Tx, params};

const VERSION_COLUMNS: &str = "account, region, name, version, revision, modified_ms, deployment, code, code_size, configuration, condition, note, origin";

fn version_record(row: &Row<'_>) -> Result<VersionRecord, store::Error> {
    let deployment = Deployment {
        id: parse("deployment", row, 6)?,
        code: parse("code", row, 7)?,
        code_size: u64::try_from(row.get::<i64>(8)?).unwrap_or_default(),
        configuration: json::<Configuration>("configuration", row, 9)?,
    };
    Ok(VersionRecord {
        id: function_id(row)?,
        version: version(row.get(3)?),
        revision: parse("revision", row, 4)?,
        modified: Timestamp(row.get(5)?),
        deployment,
        condition: json::<Condition>("condition", row, 10)?,
        note: row.get(11)?,
        origin: row.get(12)?,
    })
}

/// One version.
pub(crate) fn version_of(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    version: Version,
) -> Result<Option<VersionRecord>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4"),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
        version_record,
    )?)
}

/// The version that a request names: an alias leads to its first one.
pub(crate) fn version_named(tx: &mut Tx<'_>, target: &Target) -> Result<Option<VersionRecord>, Error> {
    let version = match &target.qualifier {
        Some(Qualifier::Alias(name)) => alias(tx, &target.id, name)?.map(|alias| alias.version),
        Some(Qualifier::Version(_)) | None => target.version(),
    };
    version.map_or(Ok(None), |version| version_of(tx, &target.id, version))
}

/// All versions of a function, for its deletion.
pub(crate) fn versions_of(tx: &mut Tx<'_>, id: &FunctionId) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE account = ?1 AND region = ?2 AND name = ?3"),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        version_record,
    )?)
}

/// Adds a version or writes it anew.
pub(crate) fn put_version(tx: &mut Tx<'_>, record: &VersionRecord) -> Result<(), Error> {
    let serving_code = record.condition.serving().map(|serving| serving.code.to_string());
    tx.execute(
        "INSERT INTO version (account, region, name, version, revision, modified_ms, deployment, code, code_size,
             configuration, condition, settled, serving_code, note, origin, snap_started)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (account, region, name, version) DO UPDATE SET revision = excluded.revision,
             modified_ms = excluded.modified_ms, deployment = excluded.deployment, code = excluded.code,
             code_size = excluded.code_size, configuration = excluded.configuration, condition = excluded.condition,
             settled = excluded.settled, serving_code = excluded.serving_code, note = excluded.note,
             origin = excluded.origin, snap_started = excluded.snap_started",
        params![
            record.id.account.as_str(),
            record.id.region.as_str(),
            record.id.name.as_str(),
            number(record.version),
            record.revision.to_string(),
            record.modified.0,
            record.deployment.id.to_string(),
            record.deployment.code.to_string(),
            i64::try_from(record.deployment.code_size).unwrap_or(i64::MAX),
            text("configuration", &record.deployment.configuration)?,
            text("condition", &record.condition)?,
            record.condition.settled(),
            serving_code,
            record.note.clone(),
            record.origin.as_str(),
            i64::from(record.snap_starts() && record.condition == Condition::Active)
        ],
    )?;
    layers::put_layer_uses(tx, record)?;
    note_change(tx, &record.id)
}

/// Removes one version.
pub(crate) fn delete_version(tx: &mut Tx<'_>, id: &FunctionId, version: Version) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM version WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
    )?;
    tx.execute(
        "DELETE FROM layer_use WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
    )?;
    habits::delete_habits(tx, id, Some(version))?;
    note_change(tx, id)
}

/// Removes all versions of a function.
pub(crate) fn delete_versions(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM version WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    tx.execute(
        "DELETE FROM layer_use WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    habits::delete_habits(tx, id, None)
}

/// `$LATEST` of the functions of an account and region whose names follow `after`.
pub(crate) fn list_latest(
    tx: &mut Tx<'_>,
    account: &str,
    region: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {VERSION_COLUMNS} FROM version
             WHERE account = ?1 AND region = ?2 AND name > ?3 AND version = 0 ORDER BY name LIMIT ?4"
        ),
        params![account, region, after, limit],
        version_record,
    )?)
}

/// All versions of all functions that follow `after` by name and version.
pub(crate) fn list_all(
    tx: &mut Tx<'_>,
    account: &str,
    region: &str,
    after: (&str, i64),
    limit: i64,
) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {VERSION_COLUMNS} FROM version
             WHERE account = ?1 AND region = ?2 AND (name, version) > (?3, ?4) ORDER BY name, version LIMIT ?5"
        ),
        params![account, region, after.0, after.1, limit],
        version_record,
    )?)
}

/// Versions of one function that follow number `after`; -1 begins with `$LATEST`.
pub(crate) fn list_versions(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    after: i64,
    limit: i64,
) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {VERSION_COLUMNS} FROM version
             WHERE account = ?1 AND region = ?2 AND name = ?3 AND version > ?4 ORDER BY version LIMIT ?5"
        ),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), after, limit],
        version_record,
    )?)
}

/// Versions that are started from a package, or will be.
pub(crate) fn versions_of_code(tx: &mut Tx<'_>, code: CodeSha256) -> Result<Vec<VersionRecord>, Error> {
    let columns = VERSION_COLUMNS;
    Ok(tx.query(
        &format!(
            "SELECT {columns} FROM version WHERE code = ?1 UNION ALL
             SELECT {columns} FROM version WHERE serving_code = ?1 AND code <> ?1"
        ),
        params![code.to_string()],
        version_record,
    )?)
}

/// Versions that wait for a package.
pub(crate) fn unsettled(tx: &mut Tx<'_>, code: CodeSha256) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE code = ?1 AND settled = 0"),
        params![code.to_string()],
        version_record,
    )?)
}

/// Packages that versions wait for, each with their runtimes.
pub(crate) fn unsettled_codes(tx: &mut Tx<'_>) -> Result<BTreeSet<(CodeSha256, String)>, Error> {
    let records = tx.query(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE settled = 0"),
        params![],
        version_record,
    )?;
    let awaited = |record: VersionRecord| (record.deployment.code, record.deployment.configuration.runtime);
    Ok(records.into_iter().map(awaited).collect())
}

/// Versions of which environments are to wait initialised.
pub(crate) fn snap_started(tx: &mut Tx<'_>) -> Result<BTreeSet<(FunctionId, Version)>, Error> {
    let found = tx.query(
        "SELECT account, region, name, version FROM version WHERE snap_started = 1",
        params![],
        |row| Ok((function_id(row)?, version(row.get(3)?))),
    )?;
    Ok(found.into_iter().collect())
}
