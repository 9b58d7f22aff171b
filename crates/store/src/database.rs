//! The database of a service.

use std::path::PathBuf;
use std::sync::Arc;

use crate::job::{self, Purpose};
use crate::pg::Pool;
use crate::sqlite::Files;
use crate::{Error, Limits, Migration, Tx};

/// Where a service's tables are.
#[derive(Clone, Debug)]
pub enum Location {
    /// One file of its own, made with its folder when missing.
    Sqlite {
        /// The file; `-wal` and `-shm` files lie beside it.
        path: PathBuf,
        /// What a durable commit waits for.
        durability: Durability,
    },
    /// A schema of its own, made when missing.
    Postgres {
        /// As libpq takes it: `postgres://user:password@host:port/database`. Without TLS: `sslmode=require` is refused.
        url: String,
        /// 1 to 63 of `a`–`z`, `0`–`9`, `_`, not beginning with a digit.
        schema: String,
    },
}

/// What [`Commit::Durable`] waits for on SQLite. On PostgreSQL the server's settings decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The disk. The default.
    #[default]
    Full,
    /// The operating system: acknowledged transactions survive kill -9, but the last seconds may be lost with power.
    /// Only by explicit setting.
    Relaxed,
}

/// When a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// After the disk has it.
    Durable,
    /// Committed without waiting for the disk: survives kill -9 of Neap, may be lost with power.
    /// For bookkeeping whose loss at-least-once permits.
    Written,
}

/// What a database has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Write closures whose changes were committed.
    pub committed: u64,
    /// Commits that carried them; fewer than closures when groups form.
    pub commits: u64,
    /// Commits that waited for the disk.
    pub durable_commits: u64,
    /// Runs repeated after a serialization failure or a lost connection.
    pub retries: u64,
}

/// A handle to a service's tables; clones share it. When the last one is dropped, what is queued is still run, and the
/// drop waits for it.
#[derive(Clone)]
pub struct Database {
    backend: Arc<Backend>,
}

enum Backend {
    Sqlite(Box<Files>),
    Postgres(Pool),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &*self.backend {
            Backend::Sqlite(_) => "Database(sqlite)",
            Backend::Postgres(_) => "Database(postgres)",
        })
    }
}

impl Database {
    /// Opens the database, making and migrating it as needed, with default [`Limits`]. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Setting`], [`Error::Unavailable`], [`Error::Newer`], [`Error::Migrated`],
    /// [`Error::MigrationOrder`], [`Error::Migration`].
    pub fn open(location: Location, migrations: &'static [Migration]) -> Result<Database, Error> {
        Database::open_with(location, migrations, Limits::default())
    }

    /// As [`Database::open`], with limits of one's own.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_with(
        location: Location,
        migrations: &'static [Migration],
        limits: Limits,
    ) -> Result<Database, Error> {
        let backend = match location {
            Location::Sqlite { path, durability } => {
                Backend::Sqlite(Box::new(Files::open(path, durability, migrations, limits)?))
            }
            Location::Postgres { url, schema } => {
                Backend::Postgres(Pool::open(&url, &schema, migrations, limits)?)
            }
        };
        Ok(Database { backend: Arc::new(backend) })
    }

    /// Runs `closure` in a transaction of its own and answers when the disk has it ([`Commit::Durable`]).
    ///
    /// `closure` may run more than once; only its last run counts. Neither `Ok` nor `Err` is answered before the group that it
    /// was part of is committed, since what it saw may be another's change of that group.
    ///
    /// Cancel-safe: when the future is dropped, the closure either runs wholly, as if somebody still waited, or not at all.
    ///
    /// # Errors
    /// The closure's own; [`Error`] by `From` when a statement, the commit or the closure itself (by panic) failed.
    pub async fn write<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.write_at(Commit::Durable, closure).await
    }

    /// As [`Database::write`], with the level of commit chosen.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub async fn write_at<T, E, F>(&self, commit: Commit, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.run(Purpose::Write(commit), closure).await
    }

    /// Runs `closure` on a snapshot that contains everything acknowledged before; it can change nothing.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The closure's own; [`Error`] by `From` when a statement failed or the closure panicked.
    pub async fn read<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.run(Purpose::Read, closure).await
    }

    async fn run<T, E, F>(&self, purpose: Purpose, closure: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = job::pack(purpose, closure);
        match &*self.backend {
            Backend::Sqlite(files) => files.submit(purpose, job).await,
            Backend::Postgres(pool) => pool.submit(job).await,
        }
        .map_err(E::from)?;
        answer.await.unwrap_or_else(|_| Err(E::from(Error::Closed)))
    }

    /// Refuses further calls; what is queued still runs. Later calls answer [`Error::Closed`].
    pub fn close(&self) {
        match &*self.backend {
            Backend::Sqlite(files) => files.close(),
            Backend::Postgres(pool) => pool.close(),
        }
    }

    /// Counters, for metrics.
    pub fn activity(&self) -> Activity {
        match &*self.backend {
            Backend::Sqlite(files) => files.activity(),
            Backend::Postgres(pool) => pool.activity(),
        }
    }
}
