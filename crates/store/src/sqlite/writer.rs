//! The thread that writes: many closures, one transaction, one wait for the disk.
//!
//! Closures that are queued together form a group: one transaction, a savepoint for each closure, one commit, then all
//! answers. While the disk works, the next group queues up, so that the rate follows from the number of writers instead
//! of the disk's latency. A group waits for the disk when one of its closures is durable; such a commit carries all earlier
//! ones, since SQLite syncs its whole log. A group of written closures only is appended to the log without waiting
//! (`synchronous = NORMAL`). Relaxed durability never waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::{Counters, classify, commit_error};
use crate::job::{BoxJob, Purpose};
use crate::queue::{Queue, Queued};
use crate::{Cause, Commit, Durability, Error, Limits, Tx};

/// The writer of one file.
pub(super) struct Writer {
    connection: Connection,
    durability: Durability,
    limits: Limits,
    counters: Arc<Counters>,
    /// What `PRAGMA synchronous` says now.
    level: Commit,
    /// Closures in the last group that waited for the disk.
    last_group: usize,
    /// Lately needed for such a commit.
    commit_time: Duration,
    /// The first failure of the disk. After a failed fsync the kernel may call pages clean that never reached the disk, so
    /// that no later commit can be trusted.
    failed: Option<Cause>,
}

type Group = VecDeque<Queued<BoxJob>>;

impl Writer {
    pub(super) fn new(
        connection: Connection,
        durability: Durability,
        limits: Limits,
        counters: Arc<Counters>,
    ) -> Writer {
        Writer {
            connection,
            durability,
            limits,
            counters,
            level: Commit::Durable,
            last_group: 0,
            commit_time: Duration::ZERO,
            failed: None,
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, writes: &Queue<BoxJob>) {
        let _guard = writes.guard();
        let mut waiting = Group::new();
        while writes.drain(self.limits.group_max, self.gather(), &mut waiting) {
            let mut group = Vec::new();
            let outcome = self.commit_group(&mut waiting, &mut group);
            for Queued { item: mut job, .. } in group {
                if let Err(error) = &outcome {
                    job.fail(error.clone());
                }
                job.answer();
            }
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::error!(%error, "a database was not closed cleanly; its log is replayed when it is opened");
        }
    }

    /// How many closures are worth waiting for, and for how long: writers that were answered together ask again together,
    /// and half of them would miss the group that the first of them starts.
    fn gather(&self) -> (usize, Duration) {
        if self.last_group < 2 {
            return (0, Duration::ZERO);
        }
        (self.last_group.min(self.limits.group_max), (self.commit_time / 8).min(self.limits.gather_max))
    }

    /// Runs closures from `waiting` in one transaction; moves those that ran to `group`. An error is for all of them.
    fn commit_group(&mut self, waiting: &mut Group, group: &mut Vec<Queued<BoxJob>>) -> Result<(), Error> {
        if let Some(source) = &self.failed {
            group.extend(waiting.drain(..));
            return Err(Error::Failed { source: source.clone() });
        }
        let level = self.level_for(waiting);
        if let Err(error) = self.begin(level) {
            group.extend(waiting.drain(..));
            return Err(error);
        }
        let started = Instant::now();
        let mut kept = 0;
        while let Some(mut queued) = waiting.pop_front() {
            if queued.item.abandoned() {
                continue;
            }
            let step = self.run_closure(&mut queued.item);
            group.push(queued);
            kept += u64::from(step?);
            if started.elapsed() >= self.limits.group_time_max {
                break;
            }
        }
        if kept == 0 {
            return self.statement("ROLLBACK");
        }
        self.commit(level)?;
        self.counters.committed.fetch_add(kept, Ordering::Relaxed);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        if level == Commit::Durable {
            self.last_group = group.len();
        }
        Ok(())
    }

    fn level_for(&self, waiting: &Group) -> Commit {
        let durable = waiting.iter().any(|queued| queued.item.purpose() == Purpose::Write(Commit::Durable));
        match self.durability {
            Durability::Full if durable => Commit::Durable,
            Durability::Full | Durability::Relaxed => Commit::Written,
        }
    }

    fn begin(&mut self, level: Commit) -> Result<(), Error> {
        if !self.connection.is_autocommit() {
            // The last group was given up half-way; all its closures were told.
            self.statement("ROLLBACK")?;
        }
        if self.level != level {
            let synchronous = match level {
                Commit::Durable => "FULL",
                Commit::Written => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", synchronous).map_err(classify)?;
            self.level = level;
        }
        self.statement("BEGIN IMMEDIATE")
    }

    /// Runs one closure in a savepoint; whether its changes are kept. An error means that the whole transaction is gone.
    fn run_closure(&mut self, job: &mut BoxJob) -> Result<bool, Error> {
        self.statement("SAVEPOINT closure")?;
        let mut tx = Tx::sqlite(&self.connection);
        let keep = job.run(&mut tx);
        if self.connection.is_autocommit() {
            // A full disk or a failed read ends the transaction of all.
            return Err(tx.doomed().cloned().unwrap_or_else(|| Error::Commit { source: Cause::new(Ended) }));
        }
        if !keep {
            self.statement("ROLLBACK TO closure")?;
        }
        self.statement("RELEASE closure")?;
        Ok(keep)
    }

    fn commit(&mut self, level: Commit) -> Result<(), Error> {
        let started = Instant::now();
        let outcome =
            self.connection.prepare_cached("COMMIT").and_then(|mut statement| statement.execute([]));
        if let Err(error) = outcome {
            let told = commit_error(&error);
            if !matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)) {
                tracing::error!(%error, "a commit failed; the database takes no more writes until the node is restarted");
                self.failed = Some(Cause::new(error));
            }
            return Err(told);
        }
        if level == Commit::Durable {
            self.counters.durable_commits.fetch_add(1, Ordering::Relaxed);
            self.commit_time = (self.commit_time * 7 + started.elapsed()) / 8;
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> Result<(), Error> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_| ())
            .map_err(classify)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the engine ended the transaction while a closure ran")]
struct Ended;
