//! All SQL of reserved time, one function for each statement.

use super::{Allocation, Holder};
use crate::{
    data::{parsed, usage_row_add},
    meter::{Usage, UsageKey},
    prices::{Meters, Processor},
};
use base::Timestamp;
use store::{Error, Tx, params};

/// The schema.
pub(crate) const SCHEMA: &str = "
    ALTER TABLE usage ADD COLUMN provisioned_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE usage ADD COLUMN provisioned_ms_by_100 INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE usage ADD COLUMN reserved_ms INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE reserved (
        account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, version TEXT NOT NULL,
        memory_mib INTEGER NOT NULL, processor TEXT NOT NULL,
        environments INTEGER NOT NULL, charged_until_ms INTEGER NOT NULL,
        PRIMARY KEY (account, region, function, version, memory_mib, processor)
    );
";

/// Empties the table.
pub(crate) const DELETE_ALL: &str = "DELETE FROM reserved";

/// All that is reserved, by holder.
pub(crate) fn allocations(tx: &mut Tx<'_>) -> Result<Vec<Allocation>, Error> {
    tx.query(
        "SELECT account, region, function, version, memory_mib, processor, environments, charged_until_ms FROM reserved
         ORDER BY account, region, function, version, memory_mib, processor",
        params![],
        |row| {
            let holder = Holder {
                account: parsed(row, 0, "account")?,
                region: parsed(row, 1, "region")?,
                function: parsed(row, 2, "function name")?,
                version: parsed(row, 3, "version")?,
                memory_mib: row.get(4)?,
                processor: Processor::named(&row.get::<String>(5)?),
            };
            Ok(Allocation { holder, count: row.get(6)?, charged_until: row.get(7)? })
        },
    )
}

/// Whether something is charged until `now` only, or not so long.
pub(crate) fn due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    let due =
        tx.query_opt("SELECT 1 FROM reserved WHERE charged_until_ms <= ?1 LIMIT 1", params![now], |row| {
            row.get::<i64>(0)
        })?;
    Ok(due.is_some())
}

/// Creates or replaces.
pub(crate) fn put(tx: &mut Tx<'_>, allocation: &Allocation) -> Result<(), Error> {
    let Allocation { holder, count, charged_until } = allocation;
    let version = holder.version.to_string();
    tx.execute(
        "INSERT INTO reserved
             (account, region, function, version, memory_mib, processor, environments, charged_until_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (account, region, function, version, memory_mib, processor) DO UPDATE SET
             environments = excluded.environments, charged_until_ms = excluded.charged_until_ms",
        params![
            holder.account.as_str(),
            holder.region.as_str(),
            holder.function.as_str(),
            version,
            holder.memory_mib,
            holder.processor.as_str(),
            *count,
            *charged_until
        ],
    )?;
    Ok(())
}

/// Removes.
pub(crate) fn remove(tx: &mut Tx<'_>, holder: &Holder) -> Result<(), Error> {
    let version = holder.version.to_string();
    tx.execute(
        "DELETE FROM reserved WHERE account = ?1 AND region = ?2 AND function = ?3 AND version = ?4 AND memory_mib = ?5
             AND processor = ?6",
        params![
            holder.account.as_str(),
            holder.region.as_str(),
            holder.function.as_str(),
            version,
            holder.memory_mib,
            holder.processor.as_str()
        ],
    )?;
    Ok(())
}

/// Adds reserved time to the usage.
pub(crate) fn add_reserved(tx: &mut Tx<'_>, key: &UsageKey, ms: u64) -> Result<(), Error> {
    let meters = Meters { reserved_ms: ms, ..Meters::default() };
    usage_row_add(tx, key, &Usage { meters, ..Usage::default() })
}
