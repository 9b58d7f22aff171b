//! How many messages queues have.

use super::{Tally, key_of};
use crate::{
    Error,
    model::{Depth, QueueKey},
};
use base::{Millis, QueueDepth, QuietDepth, Timestamp};
use std::collections::HashSet;
use store::{Tx, params};

/// Messages of a queue that are looked at for the oldest of those that are no backlog, in the order in which they became visible.
const LOOK: i64 = 1_000;

/// How many messages a queue has, by what they are doing.
pub(crate) fn depth(tx: &mut Tx<'_>, queue: i64, now: Timestamp) -> Result<Depth, Error> {
    let [first, backlogs] = tiers(tx, queue, now)?;
    Ok(Depth {
        visible: number(first.visible + backlogs.visible),
        in_flight: number(first.in_flight + backlogs.in_flight),
        delayed: number(first.delayed + backlogs.delayed),
        oldest: super::oldest(tx, queue)?,
    })
}

#[derive(Clone, Copy, Default)]
struct Tier {
    visible: i64,
    in_flight: i64,
    delayed: i64,
}

/// Messages that are no backlog of a group, and those that are.
fn tiers(tx: &mut Tx<'_>, queue: i64, now: Timestamp) -> Result<[Tier; 2], Error> {
    let counts = Tally::read(tx, queue)?;
    let mut tiers = counts.map(|visible| Tier { visible, ..Tier::default() });
    let hidden = tx.query(
        "SELECT tier, COUNT(*), COUNT(receipt) FROM message
         WHERE queue = ?1 AND tier IN (0, 1) AND due_ms > ?2 GROUP BY tier",
        params![queue, now.0],
        |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?)),
    )?;
    for (tier, hidden, in_flight) in hidden {
        let tier = &mut tiers[usize::from(tier > 0)];
        *tier = Tier { visible: tier.visible - hidden, in_flight, delayed: hidden - in_flight };
    }
    Ok(tiers)
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// Of a standard queue that has messages of groups: what belongs to no backlog, and how many groups have one. `None` for another.
fn quiet(tx: &mut Tx<'_>, queue: i64, now: Timestamp) -> Result<Option<QuietDepth>, Error> {
    let first = "SELECT MIN(lane) FROM message WHERE queue = ?1 AND lane IS NOT NULL";
    if tx.query_opt(first, params![queue], |row| row.get::<Option<String>>(0))?.flatten().is_none() {
        return Ok(None);
    }
    let [own, _] = tiers(tx, queue, now)?;
    // One step for each group, however many messages it has.
    let noisy = tx.query_opt(
        "WITH RECURSIVE lanes (lane) AS (
             SELECT MIN(lane) FROM message WHERE queue = ?1 AND lane IS NOT NULL
             UNION ALL
             SELECT (SELECT MIN(lane) FROM message WHERE queue = ?1 AND lane > lanes.lane) FROM lanes
             WHERE lanes.lane IS NOT NULL)
         SELECT COUNT(*) FROM lanes WHERE EXISTS (
             SELECT 1 FROM message WHERE message.queue = ?1 AND message.lane = lanes.lane AND message.tier = 1)",
        params![queue],
        |row| row.get::<i64>(0),
    )?;
    let sent = tx.query(
        "SELECT sent_ms FROM message WHERE queue = ?1 AND tier = 0 ORDER BY due_ms LIMIT ?2",
        params![queue, LOOK],
        |row| row.get::<i64>(0),
    )?;
    let age = sent.into_iter().min().map_or(0, |sent| now.0.saturating_sub(sent));
    Ok(Some(QuietDepth {
        noisy_groups: number(noisy.unwrap_or_default()),
        visible: number(own.visible),
        in_flight: number(own.in_flight),
        delayed: number(own.delayed),
        oldest_age: Millis(number(age)),
    }))
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
        let (groups, quiet) = match key.is_fifo() {
            true => (Some(groups_in_flight(tx, id, now)?), None),
            false => (None, quiet(tx, id, now)?),
        };
        let depth = QueueDepth {
            visible: depth.visible,
            in_flight: depth.in_flight,
            delayed: depth.delayed,
            oldest_age: Millis(number(age)),
            groups_in_flight: groups,
            quiet,
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
    Ok(number(groups.unwrap_or_default()))
}
