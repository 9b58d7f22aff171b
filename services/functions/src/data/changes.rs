//! Which functions have changed, so that other nodes forget what they know of them; and what the nodes share.

use super::function_id;
use crate::{Error, model::FunctionId};
use store::{Migration, Tx, params};

/// Changes that are remembered. A node that is further behind forgets everything it knows.
pub(crate) const CHANGES_MAX: i64 = 10_000;

pub(super) const MIGRATION: Migration = Migration::portable(
    9,
    "changes of functions",
    "CREATE TABLE function_change (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    );
    CREATE INDEX function_change_number ON function_change (number);
    -- one row: the number of the last change; whoever changes anything holds it until the commit, so that numbers become
    -- visible in their order
    CREATE TABLE last_change (id INTEGER PRIMARY KEY, number INTEGER NOT NULL);
    INSERT INTO last_change (id, number) VALUES (1, 0);
    CREATE TABLE shared_secret (name TEXT PRIMARY KEY, secret TEXT NOT NULL);",
);

/// Notes that a function is not what it was, in the transaction that makes it so.
pub(super) fn note_change(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute("UPDATE last_change SET number = number + 1 WHERE id = 1", params![])?;
    tx.execute(
        "INSERT INTO function_change (account, region, name, number)
         SELECT ?1, ?2, ?3, number FROM last_change WHERE id = 1
         ON CONFLICT (account, region, name) DO UPDATE SET number = excluded.number",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    Ok(())
}

/// The number of the last change.
pub(crate) fn last_change(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let number = tx.query_opt("SELECT number FROM last_change WHERE id = 1", params![], |row| row.get(0))?;
    number.ok_or(Error::Corrupt { what: "last change" })
}

/// The functions that have changed after the change `number`.
pub(crate) fn changed_after(tx: &mut Tx<'_>, number: i64) -> Result<Vec<FunctionId>, Error> {
    Ok(tx.query(
        "SELECT account, region, name FROM function_change WHERE number > ?1 ORDER BY number",
        params![number],
        function_id,
    )?)
}

/// Forgets all changes but the last [`CHANGES_MAX`].
pub(crate) fn forget_changes(tx: &mut Tx<'_>) -> Result<(), Error> {
    let before = last_change(tx)?.saturating_sub(CHANGES_MAX);
    tx.execute("DELETE FROM function_change WHERE number <= ?1", params![before])?;
    Ok(())
}

/// The secret of this name that all nodes share: `fresh`, unless there is one.
pub(crate) fn shared_secret(tx: &mut Tx<'_>, name: &str, fresh: &str) -> Result<String, Error> {
    tx.execute(
        "INSERT INTO shared_secret (name, secret) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
        params![name, fresh],
    )?;
    let secret =
        tx.query_opt("SELECT secret FROM shared_secret WHERE name = ?1", params![name], |row| row.get(0))?;
    secret.ok_or(Error::Corrupt { what: "shared secret" })
}
