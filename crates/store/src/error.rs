//! What can go wrong in the store.

use std::path::PathBuf;
use std::sync::Arc;

/// A shared source: one failed commit is told to every closure of its group.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// Shares `source`.
    pub fn new(source: impl std::error::Error + Send + Sync + 'static) -> Cause {
        Cause(Arc::new(source))
    }
}

impl std::fmt::Debug for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // PostgreSQL's client says only «db error» itself; the text is in its source.
        match self.0.source() {
            Some(source) => write!(f, "{}: {source}", self.0),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for Cause {}

/// Which rule of the schema a statement broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// Primary key or unique index.
    Unique,
    /// Foreign key.
    ForeignKey,
    /// `NOT NULL`.
    NotNull,
    /// `CHECK`, or a type in a `STRICT` table.
    Check,
}

/// Why a transaction or a blob operation did not succeed. Unless the variant says otherwise, nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder cannot be made, opened or prepared.
    #[error("database {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// The address of PostgreSQL, the schema's name or the storage settings are malformed.
    #[error("setting {setting} is wrong: {reason}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A rule of the schema forbids the change. What is expected to happen is better written with `ON CONFLICT`.
    #[error("constraint violated ({kind:?}): {source}")]
    Constraint {
        /// Which rule.
        kind: ConstraintKind,
        /// The engine's words.
        source: Cause,
    },
    /// The engine refuses the statement: our mistake.
    #[error("statement failed: {source}")]
    Statement {
        /// The engine's words.
        source: Cause,
    },
    /// The statement has another number of parameters than were given.
    #[error("statement takes {expected} parameters, not {got}")]
    Parameters {
        /// In the statement.
        expected: usize,
        /// Given.
        got: usize,
    },
    /// A value that not both back ends can keep.
    #[error("parameter {index} holds {what}")]
    Unportable {
        /// Position, from 1.
        index: usize,
        /// What it holds.
        what: &'static str,
    },
    /// A statement that a closure may not use.
    #[error("statement {word} is not for closures")]
    Forbidden {
        /// Its first word.
        word: String,
    },
    /// A column has another type than was asked for.
    #[error("column {index} holds {found}, wanted {wanted}")]
    Column {
        /// Position, from 0.
        index: usize,
        /// What it holds.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A stored document cannot be understood.
    #[error("stored {what} cannot be read: {source}")]
    Decode {
        /// What it should have been.
        what: &'static str,
        /// Why not.
        source: Cause,
    },
    /// The disk is full: nothing of the group was committed; works again when there is room.
    #[error("disk is full: {source}")]
    Full {
        /// The engine's words.
        source: Cause,
    },
    /// The commit failed: nothing of the group was committed as far as the engine knows.
    #[error("commit failed: {source}")]
    Commit {
        /// The engine's words.
        source: Cause,
    },
    /// The disk failed in an earlier commit, so that no later one can be trusted: the node must be restarted after the
    /// disk was looked at.
    #[error("storage failed earlier: {source}")]
    Failed {
        /// The first failure.
        source: Cause,
    },
    /// The connection was lost during the commit: the change is either there as a whole or not at all.
    #[error("connection lost during commit, outcome unknown: {source}")]
    OutcomeUnknown {
        /// How it was lost.
        source: Cause,
    },
    /// Others kept changing the same rows.
    #[error("gave up after {attempts} attempts against concurrent changes: {source}")]
    Contention {
        /// How often the closure ran.
        attempts: u32,
        /// The last conflict.
        source: Cause,
    },
    /// The database cannot be reached, or took too long.
    #[error("database is unavailable: {source}")]
    Unavailable {
        /// Why.
        source: Cause,
    },
    /// The closure panicked; its changes were rolled back.
    #[error("transaction panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The database has been closed.
    #[error("database is closed")]
    Closed,
    /// The database was written by a newer release.
    #[error("schema of {owner} is at migration {found}, this release knows {known}")]
    Newer {
        /// Whose tables.
        owner: &'static str,
        /// The highest migration in the database.
        found: i64,
        /// The highest that this release knows.
        known: i64,
    },
    /// The database holds another migration under this number.
    #[error("migration {id} of {owner} is {found:?} in the database, {known:?} in this release")]
    Migrated {
        /// Whose tables.
        owner: &'static str,
        /// The number.
        id: i64,
        /// Its name in the database.
        found: String,
        /// Its name here.
        known: &'static str,
    },
    /// The list of migrations is not 1, 2, 3, …
    #[error("migration {id} is out of order, {expected} comes next")]
    MigrationOrder {
        /// The number found.
        id: u32,
        /// The number expected.
        expected: u32,
    },
    /// A migration failed; the database is as before.
    #[error("migration {id} ({name}) failed: {source}")]
    Migration {
        /// Its number.
        id: u32,
        /// Its name.
        name: &'static str,
        /// The engine's words.
        source: Cause,
    },
    /// A lease was lost to another holder or has expired.
    #[error("lease {name} is held by another or has expired")]
    LeaseLost {
        /// The lease.
        name: String,
    },
    /// No blob has this key.
    #[error("no blob {key}")]
    NoBlob {
        /// The key.
        key: String,
    },
    /// The blob storage failed.
    #[error("blob storage failed: {source}")]
    Blobs {
        /// The storage's words.
        source: Cause,
    },
}

impl Error {
    /// A stored `what` that cannot be understood, for the row closures of services.
    pub fn decode(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Decode { what, source: Cause::new(source) }
    }

    /// Whether a unique rule was violated.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Error::Constraint { kind: ConstraintKind::Unique, .. })
    }

    /// Whether the same call can succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Contention { .. }
                | Error::Unavailable { .. }
                | Error::Full { .. }
                | Error::OutcomeUnknown { .. }
        )
    }
}
