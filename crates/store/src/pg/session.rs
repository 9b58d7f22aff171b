//! A connection with its prepared statements.

use std::collections::HashMap;

use postgres::error::SqlState;
use postgres::{Client, Config, NoTls, Statement};

use super::dialect;
use super::types::{Kind, Param};
use crate::migrations::{Target, migrate};
use crate::{Cause, ConstraintKind, Error, Limits, Migration, Row, ToValue};

/// A connection.
pub(crate) struct Session {
    client: Client,
    /// By the text as the closure wrote it, then by the kinds of its parameters, on which the server's reading depends.
    statements: HashMap<String, Vec<(Vec<Kind>, Statement)>>,
    statements_count: usize,
    statements_max: usize,
    trouble: Option<Trouble>,
}

/// Why a transaction should be repeated, whatever its closure made of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A concurrent change: repeat.
    Conflict,
    /// The connection is gone or cannot be used any more: repeat on another.
    Lost,
}

impl Session {
    /// Connects once.
    pub(super) fn connect(config: &Config, schema: &str, limits: &Limits) -> Result<Session, Error> {
        let unavailable = |source| Error::Unavailable { source: Cause::new(source) };
        let mut client = config.connect(NoTls).map_err(unavailable)?;
        // The schema's name was checked when the pool was made.
        let statement_ms = limits.statement_timeout.as_millis();
        let settings = format!(
            "SET search_path TO \"{schema}\"; SET client_min_messages TO warning; SET statement_timeout TO {statement_ms};
             SET idle_in_transaction_session_timeout TO {statement_ms}"
        );
        client.batch_execute(&settings).map_err(unavailable)?;
        Ok(Session {
            client,
            statements: HashMap::new(),
            statements_count: 0,
            statements_max: limits.statements_max,
            trouble: None,
        })
    }

    /// Makes the schema and brings it up to date, one node at a time.
    pub(super) fn migrate(&mut self, schema: &str, migrations: &'static [Migration]) -> Result<(), Error> {
        let key = lock_key(schema);
        self.control(&format!(
            "BEGIN; SELECT pg_advisory_xact_lock({key}); CREATE SCHEMA IF NOT EXISTS \"{schema}\""
        ))?;
        let outcome = migrate(&mut Steps(&mut self.client), migrations);
        match outcome {
            Ok(()) => self.control("COMMIT"),
            Err(error) => {
                // The migration's own error is the one to tell.
                let _ = self.control("ROLLBACK");
                Err(error)
            }
        }
    }

    /// Runs statements without parameters that begin or end a transaction.
    pub(super) fn control(&mut self, sql: &str) -> Result<(), Error> {
        let outcome = self.client.batch_execute(sql);
        outcome.map_err(|error| self.classify(error))
    }

    /// What went wrong since this was asked last.
    pub(super) fn take_trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// Runs a statement without results.
    pub(crate) fn execute(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<u64, Error> {
        let statement = self.prepare(sql, params)?;
        let params: Vec<Param<'_>> = params.iter().map(|param| Param(param.to_value())).collect();
        let outcome = self.client.execute(&statement, &Param::erase(&params));
        outcome.map_err(|error| self.classify(error))
    }

    /// Runs a statement and shows its rows until `visit` returns false.
    pub(crate) fn visit(
        &mut self,
        sql: &str,
        params: &[&dyn ToValue],
        mut visit: impl FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let statement = self.prepare(sql, params)?;
        let params: Vec<Param<'_>> = params.iter().map(|param| Param(param.to_value())).collect();
        let outcome = self.client.query(&statement, &Param::erase(&params));
        for row in outcome.map_err(|error| self.classify(error))? {
            if !visit(&Row::postgres(&row))? {
                break;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<Statement, Error> {
        let kinds = || params.iter().map(|param| Kind::of(param.to_value()));
        if let Some(known) = self.statements.get(sql)
            && let Some((_, statement)) = known.iter().find(|(known, _)| known.iter().copied().eq(kinds()))
        {
            return Ok(statement.clone());
        }
        let kinds: Vec<Kind> = kinds().collect();
        let translated =
            dialect::statement(sql, |number| kinds.get(number.wrapping_sub(1)) == Some(&Kind::Null));
        if translated.parameters != params.len() {
            return Err(Error::Parameters { expected: translated.parameters, got: params.len() });
        }
        let types: Vec<_> = kinds.iter().map(|kind| kind.declared()).collect();
        let prepared = self.client.prepare_typed(&translated.sql, &types);
        let statement = prepared.map_err(|error| self.classify(error))?;
        if self.statements_count >= self.statements_max {
            self.statements.clear();
            self.statements_count = 0;
        }
        self.statements_count += 1;
        self.statements.entry(sql.to_owned()).or_default().push((kinds, statement.clone()));
        Ok(statement)
    }

    /// What a failed statement means; notes whether the transaction should be repeated.
    fn classify(&mut self, error: postgres::Error) -> Error {
        let Some(db) = error.as_db_error() else {
            // Mistakes on our side of the connection leave it usable.
            if self.client.is_closed() || error.is_closed() || is_io(&error) {
                self.trouble = Some(Trouble::Lost);
                return Error::Unavailable { source: Cause::new(error) };
            }
            return Error::Statement { source: Cause::new(error) };
        };
        let constraint = |kind| move |source| Error::Constraint { kind, source };
        let code = db.code().clone();
        let stale_plan = code == SqlState::FEATURE_NOT_SUPPORTED && db.message().contains("cached plan");
        let source = Cause::new(error);
        match code {
            SqlState::UNIQUE_VIOLATION => constraint(ConstraintKind::Unique)(source),
            SqlState::FOREIGN_KEY_VIOLATION => constraint(ConstraintKind::ForeignKey)(source),
            SqlState::NOT_NULL_VIOLATION => constraint(ConstraintKind::NotNull)(source),
            SqlState::CHECK_VIOLATION => constraint(ConstraintKind::Check)(source),
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
                self.trouble = Some(Trouble::Conflict);
                Error::Unavailable { source }
            }
            SqlState::DISK_FULL => Error::Full { source },
            SqlState::QUERY_CANCELED | SqlState::OUT_OF_MEMORY | SqlState::LOCK_NOT_AVAILABLE => {
                Error::Unavailable { source }
            }
            // The server shuts down, restarts or ends this session; or a plan that another node's migration made stale.
            code if stale_plan
                || ["57P", "08", "25P03"].iter().any(|class| code.code().starts_with(class)) =>
            {
                self.trouble = Some(Trouble::Lost);
                Error::Unavailable { source }
            }
            _ => Error::Statement { source },
        }
    }
}

fn is_io(error: &postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// A number for the advisory lock that is the same on every node: FNV-1a of the schema's name.
fn lock_key(schema: &str) -> i64 {
    let hash = schema.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

struct Steps<'c>(&'c mut Client);

impl Target for Steps<'_> {
    fn batch(&mut self, sql: &str) -> Result<(), Cause> {
        self.0.batch_execute(sql).map_err(Cause::new)
    }

    fn taken(&mut self, owner: &str) -> Result<Vec<(i64, String)>, Cause> {
        let rows = self
            .0
            .query("SELECT id, name FROM neap_migrations WHERE owner = $1 ORDER BY id", &[&owner])
            .map_err(Cause::new)?;
        let step = |row: &postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(step).collect::<Result<_, postgres::Error>>().map_err(Cause::new)
    }

    fn note(&mut self, owner: &str, id: u32, name: &str) -> Result<(), Cause> {
        let sql = "INSERT INTO neap_migrations (owner, id, name) VALUES ($1, $2, $3)";
        self.0.execute(sql, &[&owner, &i64::from(id), &name]).map(|_| ()).map_err(Cause::new)
    }

    fn translates(&self) -> bool {
        true
    }
}
