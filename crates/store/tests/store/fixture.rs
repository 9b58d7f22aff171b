//! Databases to test on.

use std::path::PathBuf;
use std::time::Duration;

use store::{Database, Durability, Error, Limits, Location, Migration};

/// Where the databases of one case are; a name opened twice is the same database.
pub(crate) trait Fixture: Send + Sync {
    fn location(&self, name: &str) -> Location;

    fn try_open(&self, name: &str, migrations: &'static [Migration]) -> Result<Database, Error> {
        Database::open_with(self.location(name), migrations, limits())
    }

    fn open(&self, name: &str, migrations: &'static [Migration]) -> Database {
        self.try_open(name, migrations).unwrap()
    }
}

fn limits() -> Limits {
    Limits { backoff_first: Duration::from_millis(1), connections: 6, ..Limits::default() }
}

/// SQLite files in a temporary folder.
pub(crate) struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    pub(crate) fn temp() -> Sqlite {
        Sqlite { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("made/when/missing").join(format!("{name}.sqlite"))
    }
}

impl Fixture for Sqlite {
    fn location(&self, name: &str) -> Location {
        Location::Sqlite { path: self.path(name), durability: Durability::Full }
    }
}

/// Schemas on one server, those of different cases apart.
pub(crate) struct Postgres {
    pub(crate) url: String,
    pub(crate) case: String,
}

impl Fixture for Postgres {
    fn location(&self, name: &str) -> Location {
        Location::Postgres { url: self.url.clone(), schema: format!("{}_{name}", self.case) }
    }
}

/// Runs a test's future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Says that this machine cannot run `what`.
pub(crate) fn skipped(what: &str, why: &str) {
    println!("SKIPPED {what}: {why}");
}
