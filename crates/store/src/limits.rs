//! The bounds of a database.

use std::time::Duration;

/// Bounds on queues, groups, connections and retries. [`Limits::default`] suits a service on a small machine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Closures waiting for or in the writer; further callers wait for a place. Default 4,096.
    pub writes_queued_max: usize,
    /// Closures waiting for or in a reader; further callers wait for a place. Default 1,024.
    pub reads_queued_max: usize,
    /// Closures committed together on SQLite. Default 1,024.
    pub group_max: usize,
    /// After this much running time a group takes no further closure. Default 20 ms.
    pub group_time_max: Duration,
    /// The longest that a group waits for the writers of the previous group to come back. Default 1 ms; never more than an
    /// eighth of what a commit lately took, and nothing for a single writer.
    pub gather_max: Duration,
    /// Read connections of an SQLite file, at most; the second is opened when a read has to wait. Default 3.
    pub readers: usize,
    /// Connections to PostgreSQL. Default 8.
    pub connections: usize,
    /// Prepared statements kept per connection. Default 256.
    pub statements_max: usize,
    /// Runs of one closure on PostgreSQL before a serialization failure is the caller's. Default 12.
    pub attempts_max: u32,
    /// First wait between runs; doubles, with jitter, up to `backoff_max`. Default 2 ms.
    pub backoff_first: Duration,
    /// Longest wait between runs. Default 250 ms.
    pub backoff_max: Duration,
    /// Attempts to reach PostgreSQL before a caller is told that it is unavailable. Default 4.
    pub connects_max: u32,
    /// Time to establish a connection to PostgreSQL. Default 5 s.
    pub connect_timeout: Duration,
    /// Time of one statement on PostgreSQL. Default 30 s.
    pub statement_timeout: Duration,
    /// Time to wait for another process that holds the SQLite file's write lock. Default 5 s.
    pub busy_timeout: Duration,
    /// Page cache of each connection to an SQLite file, KiB. Default 8,000.
    pub cache_kib: u32,
    /// Pages in SQLite's write-ahead log before they are moved to the database file. Default 4,000 (16 MB).
    pub checkpoint_pages: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            writes_queued_max: 4096,
            reads_queued_max: 1024,
            group_max: 1024,
            group_time_max: Duration::from_millis(20),
            gather_max: Duration::from_millis(1),
            readers: 3,
            connections: 8,
            statements_max: 256,
            attempts_max: 12,
            backoff_first: Duration::from_millis(2),
            backoff_max: Duration::from_millis(250),
            connects_max: 4,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            busy_timeout: Duration::from_secs(5),
            cache_kib: 8000,
            checkpoint_pages: 4000,
        }
    }
}
