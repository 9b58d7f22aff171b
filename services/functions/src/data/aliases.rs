//! The statements about aliases.

use super::{changes::note_change, json, number, parse, text, version};
use crate::{
    Error,
    model::{Alias, FunctionId},
};
use base::Version;
use store::{Migration, Row, Tx, params};

/// Their table.
pub(super) const MIGRATION: Migration = Migration::portable(
    3,
    "aliases",
    "CREATE TABLE alias (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        alias TEXT NOT NULL,
        version INTEGER NOT NULL,
        weights TEXT NOT NULL,
        description TEXT NOT NULL,
        revision TEXT NOT NULL,
        PRIMARY KEY (account, region, name, alias)
    );",
);

fn alias_record(id: &FunctionId, row: &Row<'_>) -> Result<Alias, store::Error> {
    Ok(Alias {
        id: id.clone(),
        name: row.get(0)?,
        version: version(row.get(1)?),
        weights: json("weights", row, 2)?,
        description: row.get(3)?,
        revision: parse("revision", row, 4)?,
    })
}

/// One alias.
pub(crate) fn alias(tx: &mut Tx<'_>, id: &FunctionId, name: &str) -> Result<Option<Alias>, Error> {
    Ok(tx.query_opt(
        "SELECT alias, version, weights, description, revision FROM alias
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND alias = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), name],
        |row| alias_record(id, row),
    )?)
}

/// Aliases of a function after one of that name, in order, perhaps only those that point to `only` first of all.
pub(crate) fn list_aliases(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    after: &str,
    only: Option<Version>,
    count: i64,
) -> Result<Vec<Alias>, Error> {
    Ok(tx.query(
        "SELECT alias, version, weights, description, revision FROM alias
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND alias > ?4 AND (?5 < 0 OR version = ?5)
         ORDER BY alias LIMIT ?6",
        params![
            id.account.as_str(),
            id.region.as_str(),
            id.name.as_str(),
            after,
            only.map_or(-1, number),
            count
        ],
        |row| alias_record(id, row),
    )?)
}

/// Adds an alias or writes it anew.
pub(crate) fn put_alias(tx: &mut Tx<'_>, alias: &Alias) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO alias (account, region, name, alias, version, weights, description, revision)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (account, region, name, alias) DO UPDATE SET version = excluded.version,
             weights = excluded.weights, description = excluded.description, revision = excluded.revision",
        params![
            alias.id.account.as_str(),
            alias.id.region.as_str(),
            alias.id.name.as_str(),
            alias.name.as_str(),
            number(alias.version),
            text("weights", &alias.weights)?,
            alias.description.as_str(),
            alias.revision.to_string()
        ],
    )?;
    note_change(tx, &alias.id)
}

/// Removes an alias, if it is there.
pub(crate) fn delete_alias(tx: &mut Tx<'_>, id: &FunctionId, name: &str) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM alias WHERE account = ?1 AND region = ?2 AND name = ?3 AND alias = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), name],
    )?;
    note_change(tx, id)
}

/// Removes all aliases of a function.
pub(crate) fn delete_aliases_of(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM alias WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    Ok(())
}
