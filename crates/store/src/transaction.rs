//! What a closure works with.

use crate::pg::Session;
use crate::{Error, FromValue, ToValue, ValueRef, sqlite};

/// A running transaction. It ends when the closure returns: `Ok` commits, `Err` and panics roll back.
pub struct Tx<'c> {
    engine: Engine<'c>,
    doomed: Option<Error>,
}

enum Engine<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c mut Session),
}

impl<'c> Tx<'c> {
    pub(crate) fn sqlite(connection: &'c rusqlite::Connection) -> Tx<'c> {
        Tx { engine: Engine::Sqlite(connection), doomed: None }
    }

    pub(crate) fn postgres(session: &'c mut Session) -> Tx<'c> {
        Tx { engine: Engine::Postgres(session), doomed: None }
    }

    /// The first statement error.
    pub(crate) fn doomed(&self) -> Option<&Error> {
        self.doomed.as_ref()
    }

    /// Runs a statement without results and gives the number of rows that it changed.
    ///
    /// # Errors
    /// Whatever the engine says, as [`Error`]; the transaction is doomed then.
    pub fn execute(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<u64, Error> {
        self.admit(sql, params)?;
        let outcome = match &mut self.engine {
            Engine::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Engine::Postgres(session) => session.execute(sql, params),
        };
        self.note(outcome)
    }

    /// Whether closures of this database run one after the other: then none waits for a row that another has changed.
    pub fn is_serial(&self) -> bool {
        matches!(self.engine, Engine::Sqlite(_))
    }

    /// Runs a statement and maps each of its rows. All rows are kept in memory: put a `LIMIT` into the statement.
    ///
    /// # Errors
    /// Whatever the engine says (the transaction is doomed then), or the first error of `map`.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[&dyn ToValue],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        self.visit(sql, params, |row| {
            rows.push(map(row)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Runs a statement and maps its first row, if there is one.
    ///
    /// # Errors
    /// As [`Tx::query`].
    pub fn query_opt<T>(
        &mut self,
        sql: &str,
        params: &[&dyn ToValue],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut first = None;
        self.visit(sql, params, |row| {
            first = Some(map(row)?);
            Ok(false)
        })?;
        Ok(first)
    }

    /// Runs a statement and shows each row to `visit` until that returns false.
    /// A changing statement with `RETURNING` changes all its rows whenever `visit` stops.
    fn visit(
        &mut self,
        sql: &str,
        params: &[&dyn ToValue],
        visit: impl FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.admit(sql, params)?;
        let outcome = match &mut self.engine {
            Engine::Sqlite(connection) => sqlite::visit(connection, sql, params, visit),
            Engine::Postgres(session) => session.visit(sql, params, visit),
        };
        self.note(outcome)
    }

    fn admit(&self, sql: &str, params: &[&dyn ToValue]) -> Result<(), Error> {
        if let Some(error) = &self.doomed {
            return Err(error.clone());
        }
        if let Some(word) = forbidden(sql) {
            return Err(Error::Forbidden { word: word.to_ascii_uppercase() });
        }
        for (position, param) in params.iter().enumerate() {
            let what = match param.to_value() {
                ValueRef::Text(text) if text.as_bytes().contains(&0) => "a text with NUL",
                ValueRef::Real(real) if real.is_nan() => "a NaN",
                ValueRef::Null
                | ValueRef::Integer(_)
                | ValueRef::Real(_)
                | ValueRef::Text(_)
                | ValueRef::Blob(_) => continue,
            };
            return Err(Error::Unportable { index: position + 1, what });
        }
        Ok(())
    }

    fn note<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &outcome
            && !matches!(error, Error::Column { .. } | Error::Decode { .. })
        {
            self.doomed = Some(error.clone());
        }
        outcome
    }
}

/// The first word of a statement when closures may not use it: what begins, ends or nests transactions on either back end,
/// what changes the connection instead of the data, and what changes the schema, which migrations do.
fn forbidden(sql: &str) -> Option<&str> {
    const WORDS: [&str; 21] = [
        "ABORT",
        "ALTER",
        "ANALYZE",
        "ATTACH",
        "BEGIN",
        "COMMIT",
        "COPY",
        "CREATE",
        "DETACH",
        "DROP",
        "END",
        "LISTEN",
        "PRAGMA",
        "REINDEX",
        "RELEASE",
        "ROLLBACK",
        "SAVEPOINT",
        "SET",
        "START",
        "TRUNCATE",
        "VACUUM",
    ];
    let sql = sql.trim_start();
    let end = sql.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(sql.len());
    let word = sql.get(..end)?;
    // The usual ones first.
    if matches!(word, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "WITH") {
        return None;
    }
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)).then_some(word)
}

/// One row of a result.
pub struct Row<'r> {
    columns: Columns<'r>,
}

enum Columns<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r postgres::Row),
}

impl<'r> Row<'r> {
    pub(crate) fn sqlite(row: &'r rusqlite::Row<'r>) -> Row<'r> {
        Row { columns: Columns::Sqlite(row) }
    }

    pub(crate) fn postgres(row: &'r postgres::Row) -> Row<'r> {
        Row { columns: Columns::Postgres(row) }
    }

    /// The column at `index`, from 0.
    ///
    /// # Errors
    /// [`Error::Column`] when it holds something else, is null without `Option`, or is not there.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, Error> {
        let value = self.value(index)?;
        T::from_value(value).ok_or(Error::Column { index, found: value.kind(), wanted: T::WANTED })
    }

    /// The column at `index`, from 0, borrowed from the row.
    ///
    /// # Errors
    /// [`Error::Column`] when it is not there or of a type unknown here.
    pub fn value(&self, index: usize) -> Result<ValueRef<'_>, Error> {
        match self.columns {
            Columns::Sqlite(row) => sqlite::column(row, index),
            Columns::Postgres(row) => crate::pg::column(row, index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_transaction_control_and_schema_changes_only() {
        assert_eq!(forbidden("  commit;"), Some("commit"));
        assert_eq!(forbidden("SAVEPOINT x"), Some("SAVEPOINT"));
        assert_eq!(forbidden("create table x (a)"), Some("create"));
        assert_eq!(forbidden("SELECT 1"), None);
        assert_eq!(forbidden("INSERT INTO settings VALUES (1)"), None);
        assert_eq!(forbidden(""), None);
    }
}
