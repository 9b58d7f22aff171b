//! All SQL of budgets, one function for each statement.

use super::Budget;
use base::{AccountId, Timestamp};
use store::{Error, Tx, params};

/// The schema.
pub(crate) const SCHEMA: &str = "
    ALTER TABLE usage ADD COLUMN memory_used_max INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE budgets (
        account TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, changed_ms INTEGER NOT NULL,
        PRIMARY KEY (account, name)
    );
    CREATE TABLE budget_alerts (
        account TEXT NOT NULL, name TEXT NOT NULL, month INTEGER NOT NULL, percent INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (account, name, month, percent)
    );
";

/// Empties all tables.
pub(crate) const DELETE_ALL: &[&str] = &["DELETE FROM budgets", "DELETE FROM budget_alerts"];

/// Creates or replaces a budget; what was told about it is forgotten.
pub(crate) fn put(tx: &mut Tx<'_>, budget: &Budget, now: Timestamp) -> Result<(), Error> {
    let definition = serde_json::to_string(&budget.definition)
        .map_err(|error| Error::decode("budget definition", error))?;
    tx.execute(
        "INSERT INTO budgets (account, name, definition, changed_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account, name) DO UPDATE SET definition = excluded.definition, changed_ms = excluded.changed_ms",
        params![budget.account.as_str(), budget.name, definition, now],
    )?;
    forget_alerts(tx, budget.account, &budget.name)
}

/// Whether it was there.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<bool, Error> {
    let deleted =
        tx.execute("DELETE FROM budgets WHERE account = ?1 AND name = ?2", params![account.as_str(), name])?;
    forget_alerts(tx, account, name)?;
    Ok(deleted == 1)
}

fn forget_alerts(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM budget_alerts WHERE account = ?1 AND name = ?2",
        params![account.as_str(), name],
    )?;
    Ok(())
}

/// Names of an account's budgets.
pub(crate) fn names(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<String>, Error> {
    tx.query("SELECT name FROM budgets WHERE account = ?1 ORDER BY name", params![account.as_str()], |row| {
        row.get(0)
    })
}

/// All budgets of all accounts, by account and name.
pub(crate) fn all(tx: &mut Tx<'_>) -> Result<Vec<Budget>, Error> {
    tx.query("SELECT account, name, definition FROM budgets ORDER BY account, name", params![], |row| {
        let account = row.get::<String>(0)?;
        let definition = row.get::<String>(2)?;
        Ok(Budget {
            account: account.parse().map_err(|error| Error::decode("account", error))?,
            name: row.get(1)?,
            definition: serde_json::from_str(&definition)
                .map_err(|error| Error::decode("budget definition", error))?,
        })
    })
}

/// Percentages told in a month, given by its first day, with their time.
pub(crate) fn told(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
    month: i64,
) -> Result<Vec<(u32, Timestamp)>, Error> {
    tx.query(
        "SELECT percent, at_ms FROM budget_alerts WHERE account = ?1 AND name = ?2 AND month = ?3 ORDER BY percent",
        params![account.as_str(), name, month],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Notes that a percentage was told.
pub(crate) fn note_told(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
    month: i64,
    percent: u32,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO budget_alerts (account, name, month, percent, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
        params![account.as_str(), name, month, percent, now],
    )?;
    Ok(())
}
