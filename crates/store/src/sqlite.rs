//! One SQLite file: a writer thread that commits in groups, and a few readers on snapshots.

mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::config::DbConfig;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::job::{BoxJob, Purpose};
use crate::migrations::{Target, migrate};
use crate::queue::Queue;
use crate::{Activity, Cause, ConstraintKind, Durability, Error, Limits, Migration, Row, ToValue, ValueRef};

/// The threads of one file and the queues that feed them.
pub(crate) struct Files {
    path: PathBuf,
    limits: Limits,
    writes: Arc<Queue<BoxJob>>,
    reads: Arc<Queue<BoxJob>>,
    counters: Arc<Counters>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    writer: Mutex<Vec<JoinHandle<()>>>,
}

/// What [`Activity`] shows.
#[derive(Default)]
pub(crate) struct Counters {
    committed: AtomicU64,
    commits: AtomicU64,
    durable_commits: AtomicU64,
}

impl Files {
    pub(crate) fn open(
        path: PathBuf,
        durability: Durability,
        migrations: &'static [Migration],
        limits: Limits,
    ) -> Result<Files, Error> {
        let failed = |source: Cause| Error::Open { path: path.clone(), source };
        prepare_file(&path).map_err(|source| failed(Cause::new(source)))?;
        let writer = connect(&path, &limits).map_err(|source| failed(Cause::new(source)))?;
        run_migrations(&writer, migrations)?;

        let writes = Arc::new(Queue::new(limits.writes_queued_max));
        let reads = Arc::new(Queue::new(limits.reads_queued_max));
        let counters = Arc::new(Counters::default());
        let files = Files {
            path: path.clone(),
            limits,
            writes: Arc::clone(&writes),
            reads: Arc::clone(&reads),
            counters: Arc::clone(&counters),
            readers: Mutex::default(),
            writer: Mutex::default(),
        };
        let connection = connect_reader(&path, &limits).map_err(|source| failed(Cause::new(source)))?;
        let read = spawn(&path, "read", move || reader::run(&connection, &reads));
        keep(&files.readers, read.map_err(|source| failed(Cause::new(source)))?);
        let write =
            spawn(&path, "write", move || writer::run(writer, durability, limits, &counters, &writes));
        keep(&files.writer, write.map_err(|source| failed(Cause::new(source)))?);
        Ok(files)
    }

    pub(crate) async fn submit(&self, purpose: Purpose, job: BoxJob) -> Result<(), Error> {
        match purpose {
            Purpose::Read => {
                self.reads.push(job).await?;
                if self.reads.is_behind() {
                    self.add_reader();
                }
                Ok(())
            }
            Purpose::Write(_) => self.writes.push(job).await,
        }
    }

    /// Has one reader more, if there may be one. Most databases of a node never need a second.
    fn add_reader(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        // One that could not open the file has ended.
        readers.retain(|reader| !reader.is_finished());
        if readers.len() >= self.limits.readers {
            return;
        }
        let (path, limits, reads) = (self.path.clone(), self.limits, Arc::clone(&self.reads));
        let further = spawn(&self.path, "read", move || match connect_reader(&path, &limits) {
            Ok(connection) => reader::run(&connection, &reads),
            Err(error) => tracing::warn!(%error, "a database has fewer readers than it may"),
        });
        match further {
            Ok(reader) => readers.push(reader),
            Err(error) => tracing::warn!(%error, "a database has fewer readers than it may"),
        }
    }

    pub(crate) fn close(&self) {
        self.reads.close();
        self.writes.close();
    }

    pub(crate) fn activity(&self) -> Activity {
        Activity {
            committed: self.counters.committed.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            durable_commits: self.counters.durable_commits.load(Ordering::Relaxed),
            retries: 0,
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Connections that are closed at the same time each take the other for one that stays, and leave the log behind: the writer's is
        // the last.
        self.reads.close();
        join_all(&self.readers);
        self.writes.close();
        join_all(&self.writer);
    }
}

fn spawn(path: &Path, role: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    std::thread::Builder::new().name(format!("{role}-{stem}")).spawn(body)
}

fn keep(threads: &Mutex<Vec<JoinHandle<()>>>, thread: JoinHandle<()>) {
    threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
}

/// Waits for threads to end; skips the calling thread, on which the last handle of a database may be dropped.
pub(crate) fn join_all(threads: &Mutex<Vec<JoinHandle<()>>>) {
    let handles = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
    for handle in handles {
        if handle.thread().id() != std::thread::current().id() && handle.join().is_err() {
            tracing::error!("a database thread panicked");
        }
    }
}

/// Makes the folder and the file, readable by their owner only, and makes their names durable. SQLite's further files
/// take the file's mode.
fn prepare_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(folder)?;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => std::fs::File::open(folder)?.sync_all(),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those above it, each synced into its parent.
pub(crate) fn create_folder(folder: &Path) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    create_folder(parent)?;
    match std::fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    std::fs::File::open(parent)?.sync_all()
}

fn connect(path: &Path, limits: &Limits) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(limits.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(limits.statements_max);
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(rusqlite::Error::InvalidParameterName(format!("journal mode {mode} instead of wal")));
    }
    // Plans do not follow the values bound to a statement: SQLite would prepare some anew for each of their uses.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "case_sensitive_like", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Pages where positive.
    connection.pragma_update(None, "cache_size", -i64::from(limits.cache_kib))?;
    connection.pragma_update(None, "wal_autocheckpoint", limits.checkpoint_pages)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}

fn connect_reader(path: &Path, limits: &Limits) -> Result<Connection, rusqlite::Error> {
    let connection = connect(path, limits)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn run_migrations(connection: &Connection, migrations: &'static [Migration]) -> Result<(), Error> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(classify)?;
    let outcome = migrate(&mut Steps(connection), migrations)
        .and_then(|()| connection.execute_batch("COMMIT").map_err(|error| commit_error(&error)));
    if outcome.is_err() && !connection.is_autocommit() {
        // The transaction's own error is the one to tell.
        let _ = connection.execute_batch("ROLLBACK");
    }
    outcome
}

struct Steps<'c>(&'c Connection);

impl Target for Steps<'_> {
    fn batch(&mut self, sql: &str) -> Result<(), Cause> {
        self.0.execute_batch(sql).map_err(Cause::new)
    }

    fn taken(&mut self, owner: &str) -> Result<Vec<(i64, String)>, Cause> {
        let mut statement = self
            .0
            .prepare("SELECT id, name FROM neap_migrations WHERE owner = ?1 ORDER BY id")
            .map_err(Cause::new)?;
        let rows = statement.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?))).map_err(Cause::new)?;
        rows.collect::<Result<_, _>>().map_err(Cause::new)
    }

    fn note(&mut self, owner: &str, id: u32, name: &str) -> Result<(), Cause> {
        let sql = "INSERT INTO neap_migrations (owner, id, name) VALUES (?1, ?2, ?3)";
        self.0.execute(sql, (owner, id, name)).map(|_| ()).map_err(Cause::new)
    }

    fn translates(&self) -> bool {
        false
    }
}

struct Bound<'v>(ValueRef<'v>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef as Native;
        Ok(ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Null => Native::Null,
            ValueRef::Integer(integer) => Native::Integer(integer),
            ValueRef::Real(real) => Native::Real(real),
            ValueRef::Text(text) => Native::Text(text.as_bytes()),
            ValueRef::Blob(bytes) => Native::Blob(bytes),
        }))
    }
}

fn bound<'v>(params: &'v [&'v dyn ToValue]) -> impl Iterator<Item = Bound<'v>> {
    params.iter().map(|param| Bound(param.to_value()))
}

/// Runs a statement without results.
pub(crate) fn execute(connection: &Connection, sql: &str, params: &[&dyn ToValue]) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(sql).map_err(classify)?;
    let changed = statement.execute(params_from_iter(bound(params))).map_err(classify)?;
    Ok(changed as u64)
}

/// Runs a statement and shows its rows until `visit` returns false.
pub(crate) fn visit(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToValue],
    mut visit: impl FnMut(&Row<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(sql).map_err(classify)?;
    // SQLite makes all changes of a statement with RETURNING before it shows the first row.
    let mut rows = statement.query(params_from_iter(bound(params))).map_err(classify)?;
    while let Some(row) = rows.next().map_err(classify)? {
        if !visit(&Row::sqlite(row))? {
            break;
        }
    }
    Ok(())
}

/// A column's value.
pub(crate) fn column<'r>(row: &'r rusqlite::Row<'r>, index: usize) -> Result<ValueRef<'r>, Error> {
    use rusqlite::types::ValueRef as Native;
    let wanted = "a column";
    let native = row.get_ref(index).map_err(|_| Error::Column { index, found: "nothing", wanted })?;
    Ok(match native {
        Native::Null => ValueRef::Null,
        Native::Integer(integer) => ValueRef::Integer(integer),
        Native::Real(real) => ValueRef::Real(real),
        Native::Text(text) => ValueRef::Text(std::str::from_utf8(text).map_err(|_| Error::Column {
            index,
            found: "a text not in UTF-8",
            wanted,
        })?),
        Native::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

/// What a failed statement means.
pub(crate) fn classify(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    use rusqlite::ffi;
    match &error {
        rusqlite::Error::InvalidParameterCount(got, expected) => {
            Error::Parameters { expected: *expected, got: *got }
        }
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation => {
                let kind = match failure.extended_code {
                    ffi::SQLITE_CONSTRAINT_UNIQUE
                    | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                    | ffi::SQLITE_CONSTRAINT_ROWID => ConstraintKind::Unique,
                    ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ConstraintKind::ForeignKey,
                    ffi::SQLITE_CONSTRAINT_NOTNULL => ConstraintKind::NotNull,
                    _ => ConstraintKind::Check,
                };
                Error::Constraint { kind, source: Cause::new(error) }
            }
            ErrorCode::DiskFull => Error::Full { source: Cause::new(error) },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Error::Unavailable { source: Cause::new(error) }
            }
            _ => Error::Statement { source: Cause::new(error) },
        },
        _ => Error::Statement { source: Cause::new(error) },
    }
}

/// What a failed commit means. The error is borrowed, since the writer looks at it too.
pub(crate) fn commit_error(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let source = Cause::new(Told(error.to_string()));
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full { source },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Unavailable { source },
        _ => Error::Commit { source },
    }
}

/// The words of an error that cannot be shared itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);
