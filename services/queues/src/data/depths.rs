//! How many messages queues have.

use super::key_of;
use crate::{
    Error,
    model::{Depth, QueueKey},
};
use base::{Millis, QueueDepth, Timestamp};
use std::collections::HashSet;
use store::{Tx, params};

/// How many messages a queue has, by what they are doing.
pub(crate) fn depth(tx: &mut Tx<'_>, queue: i64, now: Timestamp) -> Result<Depth, Error> {
    // A sum is a decimal on PostgreSQL.
    let counts =
        tx.query("SELECT messages FROM tally WHERE queue = ?1", params![queue], |row| row.get::<i64>(0))?;
    let hidden = tx.query_opt(
        "SELECT COUNT(*), COUNT(receipt) FROM message WHERE queue = ?1 AND tier IN (0, 1) AND due_ms > ?2",
        params![queue, now.0],
        |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
    )?;
    let oldest =
        tx.query_opt("SELECT MIN(sent_ms) FROM message WHERE queue = ?1", params![queue], |row| {
            row.get::<Option<i64>>(0)
        })?;
    let (hidden, in_flight) = hidden.unwrap_or_default();
    let delayed = hidden - in_flight;
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(Depth {
        visible: count(counts.iter().sum::<i64>() - hidden),
        in_flight: count(in_flight),
        delayed: count(delayed),
        oldest: oldest.flatten().map(Timestamp),
    })
}

/// Queues with messages.
pub(crate) fn filled(tx: &mut Tx<'_>) -> Result<HashSet<i64>, Error> {
    let filled = "SELECT queue FROM tally GROUP BY queue HAVING SUM(messages) > 0";
    Ok(tx.query(filled, params![], |row| row.get::<i64>(0))?.into_iter().collect())
}

/// Some of the queues, with what they hold.
pub(crate) struct Page {
    pub(crate) depths: Vec<(QueueKey, QueueDepth)>,
    /// The id of the last that was looked at; `None`: there are no more.
    pub(crate) last: Option<i64>,
}

/// What those of `wanted` hold that are among the next queues after an id.
pub(crate) fn depths(
    tx: &mut Tx<'_>,
    wanted: &HashSet<i64>,
    after: i64,
    limit: i64,
    now: Timestamp,
) -> Result<Page, Error> {
    let queues = tx.query(
        "SELECT id, account, region, name FROM queue WHERE id > ?1 ORDER BY id LIMIT ?2",
        params![after, limit],
        |row| Ok((row.get::<i64>(0)?, key_of(row, 1)?)),
    )?;
    let last = queues.last().map(|(id, _)| *id);
    let mut depths = Vec::new();
    for (id, key) in queues.into_iter().filter(|(id, _)| wanted.contains(id)) {
        let depth = depth(tx, id, now)?;
        let age = depth.oldest.map_or(0, |sent| now.0.saturating_sub(sent.0));
        let groups = if key.is_fifo() { Some(groups_in_flight(tx, id, now)?) } else { None };
        let depth = QueueDepth {
            visible: depth.visible,
            in_flight: depth.in_flight,
            delayed: depth.delayed,
            oldest_age: Millis(u64::try_from(age).unwrap_or_default()),
            groups_in_flight: groups,
        };
        depths.push((key, depth));
    }
    Ok(Page { depths, last })
}

fn groups_in_flight(tx: &mut Tx<'_>, queue: i64, now: Timestamp) -> Result<u64, Error> {
    let groups = tx.query_opt(
        "SELECT COUNT(DISTINCT lane) FROM message WHERE queue = ?1 AND tier = 0 AND due_ms > ?2 AND receipt IS NOT NULL",
        params![queue, now.0],
        |row| row.get::<i64>(0),
    )?;
    Ok(u64::try_from(groups.unwrap_or_default()).unwrap_or_default())
}
