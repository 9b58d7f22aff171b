//! One schema of a PostgreSQL server: a pool of threads, each with a connection, that run closures.
//!
//! Closures run as SERIALIZABLE, since they are written for the serial execution that SQLite gives; weaker levels would
//! let a check and the write that relies on it be pulled apart. What that costs is a repetition after a conflict.

pub(crate) mod dialect;
mod session;
mod types;
mod worker;

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use postgres::Config;
use postgres::config::SslMode;

pub(crate) use session::Session;
pub(crate) use types::column;

use crate::job::BoxJob;
use crate::queue::Queue;
use crate::sqlite::join_all;
use crate::{Activity, Error, Limits, Migration};

/// The threads of one schema and the queue that feeds them.
pub(crate) struct Pool {
    jobs: Arc<Queue<BoxJob>>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the workers share.
struct Shared {
    config: Config,
    schema: String,
    limits: Limits,
    /// Attempts share it; a closure that lost too often takes it for itself, so that it can only lose to other nodes.
    lane: RwLock<()>,
    committed: AtomicU64,
    commits: AtomicU64,
    durable_commits: AtomicU64,
    retries: AtomicU64,
}

impl Pool {
    pub(crate) fn open(
        url: &str,
        schema: &str,
        migrations: &'static [Migration],
        limits: Limits,
    ) -> Result<Pool, Error> {
        let shared = Arc::new(Shared {
            config: config(url, &limits)?,
            schema: valid_schema(schema)?.to_owned(),
            limits,
            lane: RwLock::new(()),
            committed: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            durable_commits: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        });
        // The client runs an executor of its own, which must not happen on a thread that already runs one.
        let mut first = std::thread::scope(|scope| {
            let open = scope.spawn(|| {
                let mut session = Session::connect(&shared.config, &shared.schema, &shared.limits)?;
                session.migrate(&shared.schema, migrations)?;
                Ok(session)
            });
            open.join()
                .unwrap_or_else(|_| Err(Error::Panicked { message: String::from("opening the database") }))
        })
        .map(Some)?;

        let bound = limits.writes_queued_max.saturating_add(limits.reads_queued_max);
        let pool = Pool {
            jobs: Arc::new(Queue::new(bound)),
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        for number in 0..limits.connections.max(1) {
            let (jobs, shared, session) = (Arc::clone(&pool.jobs), Arc::clone(&shared), first.take());
            let handle = std::thread::Builder::new()
                .name(format!("pg{number}-{schema}"))
                .spawn(move || worker::Worker::new(shared, session).run(&jobs))
                .map_err(|error| Error::Unavailable { source: crate::Cause::new(error) })?;
            pool.threads.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
        Ok(pool)
    }

    pub(crate) async fn submit(&self, job: BoxJob) -> Result<(), Error> {
        self.jobs.push(job).await
    }

    pub(crate) fn close(&self) {
        self.jobs.close();
    }

    pub(crate) fn activity(&self) -> Activity {
        Activity {
            committed: self.shared.committed.load(Ordering::Relaxed),
            commits: self.shared.commits.load(Ordering::Relaxed),
            durable_commits: self.shared.durable_commits.load(Ordering::Relaxed),
            retries: self.shared.retries.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
        join_all(&self.threads);
    }
}

fn config(url: &str, limits: &Limits) -> Result<Config, Error> {
    let wrong = |reason: String| Error::Setting { setting: "PostgreSQL address", reason };
    let mut config = Config::from_str(url).map_err(|error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        wrong(reason.unwrap_or_else(|| error.to_string()))
    })?;
    match config.get_ssl_mode() {
        SslMode::Disable | SslMode::Prefer => {}
        mode => return Err(wrong(format!("sslmode {mode:?} is not supported: this client speaks no TLS"))),
    }
    config.ssl_mode(SslMode::Disable);
    config.application_name("neap");
    config.connect_timeout(limits.connect_timeout);
    config.tcp_user_timeout(limits.statement_timeout);
    Ok(config)
}

fn valid_schema(schema: &str) -> Result<&str, Error> {
    let first = schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if first && rest && schema.len() <= 63 && !schema.starts_with("pg_") {
        Ok(schema)
    } else {
        let reason = format!("{schema:?} is not 1 to 63 of a-z, 0-9, _ beginning with none of 0-9, pg_");
        Err(Error::Setting { setting: "PostgreSQL schema", reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_have_to_be_escaped_in_a_schema_name() {
        for good in ["functions", "_a", "a1_b"] {
            assert!(valid_schema(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "A", "a\"b", "a b", "pg_x", &"a".repeat(64)] {
            assert!(valid_schema(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_tls_instead_of_going_without() {
        let limits = Limits::default();
        assert!(config("postgres://u@localhost/d", &limits).is_ok());
        assert!(config("postgres://u@localhost/d?sslmode=require", &limits).is_err());
        assert!(config("postgres://u@localhost:x/d", &limits).is_err());
    }
}
