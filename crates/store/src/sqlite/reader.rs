//! A thread that runs read closures, each on a snapshot of its own.

use rusqlite::Connection;

use super::classify;
use crate::job::BoxJob;
use crate::queue::{Queue, Queued};
use crate::{Error, Tx};

/// Works until the queue is closed and empty.
pub(super) fn run(connection: &Connection, reads: &Queue<BoxJob>) {
    let _guard = reads.guard();
    while let Some(Queued { item: mut job, .. }) = reads.pop() {
        if !job.abandoned() {
            if let Err(error) = snapshot(connection, &mut job) {
                job.fail(error);
            }
            job.answer();
        }
    }
}

fn snapshot(connection: &Connection, job: &mut BoxJob) -> Result<(), Error> {
    statement(connection, "BEGIN")?;
    job.run(&mut Tx::sqlite(connection));
    // There is nothing to keep.
    if connection.is_autocommit() { Ok(()) } else { statement(connection, "ROLLBACK") }
}

fn statement(connection: &Connection, sql: &str) -> Result<(), Error> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(|_| ())
        .map_err(classify)
}
