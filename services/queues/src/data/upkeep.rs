//! What is removed in the background, in steps that leave room for others.

use super::{Tally, refresh_lane};
use crate::{Error, model::Queue};
use base::Timestamp;
use std::collections::BTreeSet;
use store::{Row, Tx, params};

/// Rows removed at once.
pub(crate) const STEP: i64 = 1_000;

/// Notes that everything that a queue has now is to be removed. `Err` names when the last purge began, if too lately.
pub(crate) fn begin_purge(
    tx: &mut Tx<'_>,
    queue: i64,
    now: Timestamp,
    rest_ms: i64,
) -> Result<Result<(), Timestamp>, Error> {
    let last =
        tx.query_opt("SELECT at_ms FROM purge WHERE queue = ?1", params![queue], |row| row.get::<i64>(0))?;
    if let Some(last) = last.filter(|last| last.saturating_add(rest_ms) > now.0) {
        return Ok(Err(Timestamp(last)));
    }
    let last = tx.query_opt("SELECT MAX(seq) FROM message", params![], |row| row.get::<Option<i64>>(0))?;
    tx.execute(
        "INSERT INTO purge (queue, upto_seq, at_ms, done) VALUES (?1, ?2, ?3, 0)
         ON CONFLICT (queue) DO UPDATE SET upto_seq = ?2, at_ms = ?3, done = 0",
        params![queue, last.flatten().unwrap_or_default(), now.0],
    )?;
    Ok(Ok(()))
}

/// A purge that is not finished: the queue, up to which place, and when it began.
pub(crate) fn next_purge(tx: &mut Tx<'_>) -> Result<Option<(i64, i64, Timestamp)>, Error> {
    Ok(tx.query_opt("SELECT queue, upto_seq, at_ms FROM purge WHERE done = 0 LIMIT 1", params![], |row| {
        Ok((row.get(0)?, row.get(1)?, Timestamp(row.get(2)?)))
    })?)
}

/// One step of a purge; true when it is finished.
pub(crate) fn purge_step(
    tx: &mut Tx<'_>,
    (queue, upto, at): (i64, i64, Timestamp),
    now: Timestamp,
) -> Result<bool, Error> {
    let removed = tx.query(
        "DELETE FROM message WHERE seq IN (
             SELECT seq FROM message WHERE queue = ?1 AND sent_ms <= ?2 AND seq <= ?3 ORDER BY sent_ms LIMIT ?4)
         RETURNING lane, tier",
        params![queue, at.0, upto, STEP],
        removed_of,
    )?;
    settle(tx, queue, &removed, now)?;
    if (removed.len() as i64) < STEP {
        tx.execute("UPDATE purge SET done = 1 WHERE queue = ?1 AND upto_seq = ?2", params![queue, upto])?;
        return Ok(true);
    }
    Ok(false)
}

/// One step of removing what is left of deleted queues; true when nothing is.
pub(crate) fn deleted_step(tx: &mut Tx<'_>) -> Result<bool, Error> {
    let queue = tx.query_opt("SELECT id FROM deleted_queue LIMIT 1", params![], |row| row.get::<i64>(0))?;
    let Some(queue) = queue else { return Ok(true) };
    let removed = tx.execute(
        "DELETE FROM message WHERE seq IN (SELECT seq FROM message WHERE queue = ?1 LIMIT ?2)",
        params![queue, STEP],
    )?;
    if removed < STEP as u64 {
        for table in ["lane", "tally", "deduplication", "attempt", "purge", "move_task"] {
            tx.execute(&format!("DELETE FROM {table} WHERE queue = ?1"), params![queue])?;
        }
        tx.execute("DELETE FROM deleted_queue WHERE id = ?1", params![queue])?;
    }
    Ok(false)
}

/// Ids of queues after `after`, with how long they keep messages, in order.
pub(crate) fn queues_after(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<Queue>, Error> {
    Ok(tx.query(
        &format!("SELECT {} FROM queue WHERE id > ?1 ORDER BY id LIMIT ?2", super::QUEUE),
        params![after, limit],
        super::read_queue,
    )?)
}

/// Removes messages of a queue that were sent before `before`, a step at most; the number.
pub(crate) fn expire(tx: &mut Tx<'_>, queue: i64, before: Timestamp, now: Timestamp) -> Result<usize, Error> {
    let removed = tx.query(
        "DELETE FROM message WHERE seq IN (
             SELECT seq FROM message WHERE queue = ?1 AND sent_ms <= ?2 ORDER BY sent_ms LIMIT ?3)
         RETURNING lane, tier",
        params![queue, before.0, STEP],
        removed_of,
    )?;
    settle(tx, queue, &removed, now)?;
    Ok(removed.len())
}

/// When the oldest message of a queue was sent.
pub(crate) fn oldest(tx: &mut Tx<'_>, queue: i64) -> Result<Option<Timestamp>, Error> {
    let oldest =
        tx.query_opt("SELECT MIN(sent_ms) FROM message WHERE queue = ?1", params![queue], |row| {
            row.get::<Option<i64>>(0)
        })?;
    Ok(oldest.flatten().map(Timestamp))
}

/// Group and tier of a removed message.
type Removed = (Option<String>, i64);

fn removed_of(row: &Row<'_>) -> Result<Removed, store::Error> {
    Ok((row.get(0)?, row.get(1)?))
}

fn settle(tx: &mut Tx<'_>, queue: i64, removed: &[Removed], now: Timestamp) -> Result<(), Error> {
    let mut tally = Tally::default();
    removed.iter().for_each(|(_, tier)| tally.add(0, *tier, -1));
    tally.write(tx, queue)?;
    // Groups of standard queues have none.
    let lanes: BTreeSet<&String> = removed.iter().filter_map(|(lane, _)| lane.as_ref()).collect();
    for lane in lanes {
        let known = "SELECT due_ms FROM lane WHERE queue = ?1 AND name = ?2";
        if tx.query_opt(known, params![queue, lane.as_str()], |row| row.get::<i64>(0))?.is_some() {
            refresh_lane(tx, queue, lane, now)?;
        }
    }
    Ok(())
}

/// Forgets deduplication ids, attempts and resting names that count no more; false if there may be more.
pub(crate) fn forget(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    let mut all = true;
    for (table, row) in [("deduplication", "key"), ("attempt", "id")] {
        let removed = tx.execute(
            &format!(
                "DELETE FROM {table} WHERE (queue, {row}) IN (
                     SELECT queue, {row} FROM {table} WHERE until_ms <= ?1 ORDER BY until_ms LIMIT ?2)"
            ),
            params![now.0, STEP],
        )?;
        all &= removed < STEP as u64;
    }
    tx.execute("DELETE FROM deleted_name WHERE until_ms <= ?1", params![now.0])?;
    Ok(all)
}

/// When the earliest deduplication id or attempt counts no more.
pub(crate) fn next_forgotten(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, Error> {
    let mut next = None;
    for table in ["deduplication", "attempt"] {
        let until = tx.query_opt(&format!("SELECT MIN(until_ms) FROM {table}"), params![], |row| {
            row.get::<Option<i64>>(0)
        })?;
        next = [next, until.flatten()].into_iter().flatten().min();
    }
    Ok(next.map(Timestamp))
}

/// Removes everything.
pub(crate) fn forget_all(tx: &mut Tx<'_>) -> Result<(), Error> {
    for table in [
        "queue",
        "deleted_name",
        "deleted_queue",
        "purge",
        "message",
        "lane",
        "tally",
        "deduplication",
        "attempt",
        "move_task",
    ] {
        tx.execute(&format!("DELETE FROM {table}"), params![])?;
    }
    Ok(())
}
