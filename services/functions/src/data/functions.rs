//! The statements about functions as a whole.

use super::{changes::note_change, function_id, json, number, parse, text, version_of};
use crate::{
    Error,
    model::{FunctionId, FunctionRecord, VersionRecord},
};
use base::{AccountId, Region, Version};
use std::collections::BTreeMap;
use store::{Tx, params};

/// The function's own row.
pub(crate) fn function(tx: &mut Tx<'_>, id: &FunctionId) -> Result<Option<FunctionRecord>, Error> {
    Ok(tx.query_opt(
        "SELECT last_version, tags, reserved_concurrency FROM function
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        |row| {
            Ok(FunctionRecord {
                id: id.clone(),
                last_version: u64::try_from(row.get::<i64>(0)?).unwrap_or_default(),
                tags: json("tags", row, 1)?,
                reserved_concurrency: row.get(2)?,
            })
        },
    )?)
}

/// A function with its `$LATEST`, or the error that it is not there.
pub(crate) fn function_and_latest(
    tx: &mut Tx<'_>,
    id: &FunctionId,
) -> Result<(FunctionRecord, VersionRecord), Error> {
    match (function(tx, id)?, version_of(tx, id, Version::Latest)?) {
        (Some(function), Some(latest)) => Ok((function, latest)),
        (None, _) | (_, None) => Err(Error::NotFound(id.arn())),
    }
}

/// Adds a function; false if the name is taken.
pub(crate) fn insert_function(tx: &mut Tx<'_>, function: &FunctionRecord) -> Result<bool, Error> {
    let inserted = tx.execute(
        "INSERT INTO function (account, region, name, last_version, tags, reserved_concurrency, event_policy)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}') ON CONFLICT DO NOTHING",
        params![
            function.id.account.as_str(),
            function.id.region.as_str(),
            function.id.name.as_str(),
            number(Version::Published(function.last_version)),
            text("tags", &function.tags)?,
            function.reserved_concurrency
        ],
    )?;
    Ok(inserted == 1)
}

/// Writes a function's row anew.
pub(crate) fn update_function(tx: &mut Tx<'_>, function: &FunctionRecord) -> Result<(), Error> {
    tx.execute(
        "UPDATE function SET last_version = ?4, tags = ?5, reserved_concurrency = ?6
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![
            function.id.account.as_str(),
            function.id.region.as_str(),
            function.id.name.as_str(),
            number(Version::Published(function.last_version)),
            text("tags", &function.tags)?,
            function.reserved_concurrency
        ],
    )?;
    note_change(tx, &function.id)
}

/// Removes a function's row.
pub(crate) fn delete_function(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM function WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    note_change(tx, id)
}

/// Every function of every account.
pub(crate) fn all_functions(tx: &mut Tx<'_>) -> Result<Vec<FunctionId>, Error> {
    Ok(tx.query("SELECT account, region, name FROM function", params![], function_id)?)
}

/// Functions of an account and region.
pub(crate) fn function_count(tx: &mut Tx<'_>, account: &str, region: &str) -> Result<u64, Error> {
    let count = tx.query_opt(
        "SELECT COUNT(*) FROM function WHERE account = ?1 AND region = ?2",
        params![account, region],
        |row| row.get::<i64>(0),
    )?;
    Ok(u64::try_from(count.unwrap_or_default()).unwrap_or_default())
}

/// Concurrency reserved in each account and region that has any.
pub(super) fn reservations(tx: &mut Tx<'_>) -> Result<BTreeMap<(AccountId, Region), u32>, Error> {
    let sums = tx.query(
        "SELECT account, region, CAST(SUM(reserved_concurrency) AS INTEGER) FROM function
         WHERE reserved_concurrency > 0 GROUP BY account, region",
        params![],
        |row| {
            let total = u32::try_from(row.get::<i64>(2)?).unwrap_or(u32::MAX);
            Ok(((parse("account", row, 0)?, parse("region", row, 1)?), total))
        },
    )?;
    Ok(sums.into_iter().collect())
}
