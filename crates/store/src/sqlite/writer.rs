//! The thread that writes: many closures, one transaction, one wait for the disk.
//!
//! Closures that are queued together form a group: one transaction, a savepoint for each closure, one commit, then all
//! answers. While the disk works, the next group queues up, so that the rate follows from the number of writers instead
//! of the disk's latency. A group waits for the disk when one of its closures is durable; such a commit carries all earlier
//! ones, since SQLite syncs its whole log. A group of written closures only is appended to the log without waiting
//! (`synchronous = NORMAL`). Relaxed durability never waits.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Statement};

use super::{Counters, classify, commit_error};
use crate::job::{BoxJob, Purpose};
use crate::queue::{Queue, Queued};
use crate::{Cause, Commit, Durability, Error, Limits, Tx};

/// Works until the queue is closed and empty.
pub(super) fn run(
    connection: Connection,
    durability: Durability,
    limits: Limits,
    counters: &Counters,
    writes: &Queue<BoxJob>,
) {
    let _guard = writes.guard();
    match Control::prepare(&connection) {
        Ok(control) => Writer::new(&connection, control, durability, limits, counters).run(writes),
        Err(error) => {
            tracing::error!(%error, "a database takes no writes");
            writes.close();
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::error!(%error, "a database was not closed cleanly; its log is replayed when it is opened");
    }
}

/// The writer of one file.
struct Writer<'c> {
    connection: &'c Connection,
    control: Control<'c>,
    durability: Durability,
    limits: Limits,
    counters: &'c Counters,
    /// What `PRAGMA synchronous` says now.
    level: Commit,
    /// Closures in the last group, if it waited for the disk.
    last_group: usize,
    /// Lately needed for such a commit.
    commit_time: Duration,
    /// The first failure of the disk. After a failed fsync the kernel may call pages clean that never reached the disk, so
    /// that no later commit can be trusted.
    failed: Option<Cause>,
}

type Group = VecDeque<Queued<BoxJob>>;

/// The statements that frame closures, prepared once.
struct Control<'c> {
    begin: Statement<'c>,
    savepoint: Statement<'c>,
    undo: Statement<'c>,
    release: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
}

impl<'c> Control<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Control<'c>> {
        Ok(Control {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            savepoint: connection.prepare("SAVEPOINT closure")?,
            undo: connection.prepare("ROLLBACK TO closure")?,
            release: connection.prepare("RELEASE closure")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
        })
    }
}

fn run_statement(statement: &mut Statement<'_>) -> Result<(), Error> {
    statement.execute([]).map(|_| ()).map_err(classify)
}

impl<'c> Writer<'c> {
    fn new(
        connection: &'c Connection,
        control: Control<'c>,
        durability: Durability,
        limits: Limits,
        counters: &'c Counters,
    ) -> Writer<'c> {
        Writer {
            connection,
            control,
            durability,
            limits,
            counters,
            level: Commit::Durable,
            last_group: 0,
            commit_time: Duration::ZERO,
            failed: None,
        }
    }

    fn run(mut self, writes: &Queue<BoxJob>) {
        let mut waiting = Group::new();
        while writes.drain(self.limits.group_max, self.gather(), &mut waiting) {
            let mut group = Vec::new();
            let outcome = self.commit_group(&mut waiting, &mut group);
            self.undo_rest();
            for Queued { item: mut job, .. } in group {
                if let Err(error) = &outcome {
                    job.fail(error.clone());
                }
                job.answer();
            }
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
            // What is alone is undone with its transaction.
            let nested = !(group.is_empty() && waiting.is_empty());
            let step = self.run_closure(&mut queued.item, nested);
            group.push(queued);
            kept += u64::from(step?);
            if started.elapsed() >= self.limits.group_time_max {
                break;
            }
        }
        if kept == 0 {
            return Ok(());
        }
        self.commit(level)?;
        self.counters.committed.fetch_add(kept, Ordering::Relaxed);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.last_group = if level == Commit::Durable { group.len() } else { 0 };
        Ok(())
    }

    /// Rolls back a transaction that was not committed.
    fn undo_rest(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.control.rollback.execute([])
        {
            tracing::error!(%error, "a rollback failed; the database takes no more writes until the node is restarted");
            self.failed.get_or_insert(Cause::new(error));
        }
    }

    fn level_for(&self, waiting: &Group) -> Commit {
        let durable = waiting.iter().any(|queued| queued.item.purpose() == Purpose::Write(Commit::Durable));
        match self.durability {
            Durability::Full if durable => Commit::Durable,
            Durability::Full | Durability::Relaxed => Commit::Written,
        }
    }

    fn begin(&mut self, level: Commit) -> Result<(), Error> {
        if self.level != level {
            let synchronous = match level {
                Commit::Durable => "FULL",
                Commit::Written => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", synchronous).map_err(classify)?;
            self.level = level;
        }
        run_statement(&mut self.control.begin)
    }

    /// Runs one closure, in a savepoint when `nested`; whether its changes are kept. An error means that the whole
    /// transaction is gone or must go.
    fn run_closure(&mut self, job: &mut BoxJob, nested: bool) -> Result<bool, Error> {
        if nested {
            run_statement(&mut self.control.savepoint)?;
        }
        let mut tx = Tx::sqlite(self.connection);
        let keep = job.run(&mut tx);
        if self.connection.is_autocommit() {
            // A full disk or a failed read ends the transaction of all.
            return Err(tx.doomed().cloned().unwrap_or_else(|| Error::Commit { source: Cause::new(Ended) }));
        }
        if nested {
            if !keep {
                run_statement(&mut self.control.undo)?;
            }
            run_statement(&mut self.control.release)?;
        }
        Ok(keep)
    }

    fn commit(&mut self, level: Commit) -> Result<(), Error> {
        let started = Instant::now();
        if let Err(error) = self.control.commit.execute([]) {
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
}

#[derive(Debug, thiserror::Error)]
#[error("the engine ended the transaction while a closure ran")]
struct Ended;
