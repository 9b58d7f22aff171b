//! The statements about what is learned of functions' calls.

use super::{function_id, number, version};
use crate::{Error, model::FunctionId};
use base::{Habit, HabitKey, Timestamp, Version};
use store::{Migration, Row, Tx, params};

/// Their table. One row for all nodes: who writes last has learned last.
pub(super) const MIGRATION: Migration = Migration::portable(
    13,
    "habits of functions",
    // tenant: empty where its function isolates none; version as in version
    "CREATE TABLE habit (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        used_ms INTEGER NOT NULL,
        record BLOB NOT NULL,
        PRIMARY KEY (account, region, name, version, tenant)
    );
    CREATE INDEX habit_used ON habit (used_ms);",
);

fn habit(row: &Row<'_>) -> Result<Habit, store::Error> {
    let id = function_id(row)?;
    let (account, region, name) = (id.account, id.region, id.name);
    let tenant: String = row.get(4)?;
    let tenant = match tenant.as_str() {
        "" => None,
        named => Some(named.parse().map_err(|error| store::Error::decode("tenant", error))?),
    };
    let key = HabitKey { account, region, name, version: version(row.get(3)?), tenant };
    Ok(Habit { key, used: Timestamp(row.get(5)?), record: row.get(6)?, mark: 0 })
}

/// Writes down what is known of a version, unless the version is gone.
pub(crate) fn put_habit(tx: &mut Tx<'_>, habit: &Habit) -> Result<(), Error> {
    let key = &habit.key;
    tx.execute(
        "INSERT INTO habit (account, region, name, version, tenant, used_ms, record)
         SELECT account, region, name, version, ?5, ?6, ?7 FROM version
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4
         ON CONFLICT (account, region, name, version, tenant)
         DO UPDATE SET used_ms = excluded.used_ms, record = excluded.record",
        params![
            key.account.as_str(),
            key.region.as_str(),
            key.name.as_str(),
            number(key.version),
            key.tenant.as_ref().map_or("", |tenant| tenant.as_str()),
            habit.used.0,
            habit.record.clone()
        ],
    )?;
    Ok(())
}

/// What is known of versions, in the order of their keys, after one of them.
pub(crate) fn habits(tx: &mut Tx<'_>, after: Option<&HabitKey>, limit: i64) -> Result<Vec<Habit>, Error> {
    let place = after.map(|key| {
        let tenant = key.tenant.as_ref().map_or("", |tenant| tenant.as_str());
        (key.account.as_str(), key.region.as_str(), key.name.as_str(), number(key.version), tenant)
    });
    let (account, region, name, version, tenant) = place.unwrap_or(("", "", "", 0, ""));
    Ok(tx.query(
        "SELECT account, region, name, version, tenant, used_ms, record FROM habit
         WHERE (account, region, name, version, tenant) > (?1, ?2, ?3, ?4, ?5)
         ORDER BY account, region, name, version, tenant LIMIT ?6",
        params![account, region, name, version, tenant, limit],
        habit,
    )?)
}

/// Forgets what is known of a function, or of one of its versions.
pub(super) fn delete_habits(tx: &mut Tx<'_>, id: &FunctionId, version: Option<Version>) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM habit WHERE account = ?1 AND region = ?2 AND name = ?3 AND (?4 < 0 OR version = ?4)",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), version.map_or(-1, number)],
    )?;
    Ok(())
}

/// Forgets what was not used since `before`.
pub(crate) fn forget_habits(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), Error> {
    tx.execute("DELETE FROM habit WHERE used_ms < ?1", params![before.0])?;
    Ok(())
}
