//! Schemas that only grow.

use std::borrow::Cow;

use crate::pg::dialect;
use crate::{Cause, Error};

/// One step of a schema. Steps are numbered 1, 2, 3, … and only ever added; all missing ones run in one transaction when
/// the database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number.
    pub id: u32,
    /// What it brings, e.g. `functions and versions`; must never change.
    pub name: &'static str,
    /// Statements for SQLite, separated by `;`.
    pub sqlite: &'static str,
    /// Statements for PostgreSQL; `None` translates those for SQLite.
    pub postgres: Option<&'static str>,
}

impl Migration {
    /// A step in the portable dialect of the crate's documentation: SQLite's type names, translated for PostgreSQL.
    pub const fn portable(id: u32, name: &'static str, sql: &'static str) -> Migration {
        Migration { id, name, sqlite: sql, postgres: None }
    }

    /// A step that each back end spells in its own way.
    pub const fn spelled(
        id: u32,
        name: &'static str,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Migration {
        Migration { id, name, sqlite, postgres: Some(postgres) }
    }
}

/// The tables of the store itself, in every database.
const OWN: &[Migration] = &[Migration::portable(1, "leases", crate::leases::SCHEMA)];

const JOURNAL: &str = "CREATE TABLE IF NOT EXISTS neap_migrations (
    owner TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (owner, id)
)";

/// What the two back ends offer to a migration run, inside one transaction.
pub(crate) trait Target {
    /// Runs statements separated by `;`.
    fn batch(&mut self, sql: &str) -> Result<(), Cause>;
    /// The steps taken, in order.
    fn taken(&mut self, owner: &str) -> Result<Vec<(i64, String)>, Cause>;
    /// Notes a step.
    fn note(&mut self, owner: &str, id: u32, name: &str) -> Result<(), Cause>;
    /// Whether the steps are to be translated.
    fn translates(&self) -> bool;
}

/// Brings a database up to date: the store's own steps, then the service's.
pub(crate) fn migrate(target: &mut dyn Target, steps: &'static [Migration]) -> Result<(), Error> {
    let unavailable = |source| Error::Statement { source };
    let journal = text(target, JOURNAL);
    target.batch(&journal).map_err(unavailable)?;
    for (owner, steps) in [("store", OWN), ("service", steps)] {
        refuse_deferred(steps)?;
        let taken = target.taken(owner).map_err(unavailable)?;
        for step in missing(owner, steps, &taken)? {
            let failed = |source| Error::Migration { id: step.id, name: step.name, source };
            let sql = match step.postgres {
                Some(postgres) if target.translates() => Cow::Borrowed(postgres),
                Some(_) | None => text(target, step.sqlite),
            };
            target.batch(&sql).map_err(failed)?;
            target.note(owner, step.id, step.name).map_err(failed)?;
        }
    }
    Ok(())
}

/// A constraint checked at the commit would let one closure fail all others of its group.
fn refuse_deferred(steps: &[Migration]) -> Result<(), Error> {
    let word = "DEFERRED";
    let deferred =
        |sql: &str| sql.split(|c: char| !c.is_ascii_alphabetic()).any(|w| w.eq_ignore_ascii_case(word));
    if steps.iter().any(|step| deferred(step.sqlite) || step.postgres.is_some_and(deferred)) {
        return Err(Error::Forbidden { word: String::from(word) });
    }
    Ok(())
}

fn text(target: &dyn Target, sql: &'static str) -> Cow<'static, str> {
    if target.translates() { Cow::Owned(dialect::schema(sql)) } else { Cow::Borrowed(sql) }
}

/// The steps not yet taken. Pure.
fn missing<'s>(
    owner: &'static str,
    steps: &'s [Migration],
    taken: &[(i64, String)],
) -> Result<&'s [Migration], Error> {
    for (step, expected) in steps.iter().zip(1u32..) {
        if step.id != expected {
            return Err(Error::MigrationOrder { id: step.id, expected });
        }
    }
    for (position, (id, name)) in taken.iter().enumerate() {
        match steps.get(position) {
            None => return Err(Error::Newer { owner, found: *id, known: steps.len() as i64 }),
            Some(step) if i64::from(step.id) != *id || step.name != name => {
                return Err(Error::Migrated { owner, id: *id, found: name.clone(), known: step.name });
            }
            Some(_) => {}
        }
    }
    Ok(steps.get(taken.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Migration] = &[Migration::portable(1, "a", ""), Migration::portable(2, "b", "")];

    fn taken(names: &[&str]) -> Vec<(i64, String)> {
        names.iter().zip(1..).map(|(name, id)| (id, (*name).to_owned())).collect()
    }

    #[test]
    fn takes_what_is_missing() {
        assert_eq!(missing("service", STEPS, &taken(&[])).unwrap().len(), 2);
        assert_eq!(missing("service", STEPS, &taken(&["a"])).unwrap()[0].name, "b");
        assert!(missing("service", STEPS, &taken(&["a", "b"])).unwrap().is_empty());
    }

    #[test]
    fn refuses_newer_changed_and_unordered() {
        let newer = missing("service", STEPS, &taken(&["a", "b", "c"]));
        assert!(matches!(newer, Err(Error::Newer { found: 3, known: 2, .. })), "{newer:?}");
        let changed = missing("service", STEPS, &taken(&["a", "x"]));
        assert!(matches!(changed, Err(Error::Migrated { id: 2, .. })), "{changed:?}");
        let unordered = [Migration::portable(2, "b", "")];
        let unordered = missing("service", &unordered, &[]);
        assert!(matches!(unordered, Err(Error::MigrationOrder { id: 2, expected: 1 })), "{unordered:?}");
    }
}
