//! Tasks that move messages from a dead-letter queue.

use super::{MESSAGES_OF_MOVE, put_into, queue};
use crate::{
    Error,
    logic::names::FIFO_SUFFIX,
    model::{Queue, QueueKey},
    tasks::{MoveStatus, MoveTask},
};
use base::{Arn, Timestamp};
use store::{Row, Tx, params};

const TASK: &str = "handle, queue, source, target, rate, status, moved, total, failure, started_ms";
/// Tasks kept of a queue, the running one included. Source: SQS API reference, `ListMessageMoveTasks`.
pub(crate) const TASKS_KEPT: i64 = 10;

fn read_task(row: &Row<'_>) -> Result<MoveTask, store::Error> {
    let status = row.get::<String>(5)?;
    Ok(MoveTask {
        handle: row.get(0)?,
        queue: row.get(1)?,
        source: row.get(2)?,
        target: row.get(3)?,
        rate: row.get::<Option<u32>>(4)?,
        status: MoveStatus::parse(&status).unwrap_or(MoveStatus::Failed),
        moved: u64::try_from(row.get::<i64>(6)?).unwrap_or_default(),
        total: u64::try_from(row.get::<i64>(7)?).unwrap_or_default(),
        failure: row.get(8)?,
        started: Timestamp(row.get(9)?),
    })
}

/// Adds a task.
pub(crate) fn insert_task(tx: &mut Tx<'_>, task: &MoveTask) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO move_task (handle, queue, source, target, rate, status, moved, total, started_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)",
        params![
            task.handle.as_str(),
            task.queue,
            task.source.as_str(),
            task.target.clone(),
            task.rate,
            task.status.as_str(),
            i64::try_from(task.total).unwrap_or(i64::MAX),
            task.started.0
        ],
    )?;
    tx.execute(
        "DELETE FROM move_task WHERE queue = ?1 AND handle NOT IN (
             SELECT handle FROM move_task WHERE queue = ?1 ORDER BY started_ms DESC LIMIT ?2)",
        params![task.queue, TASKS_KEPT],
    )?;
    Ok(())
}

/// Tasks of a queue, the latest first.
pub(crate) fn tasks_of(tx: &mut Tx<'_>, queue: i64, limit: i64) -> Result<Vec<MoveTask>, Error> {
    Ok(tx.query(
        &format!("SELECT {TASK} FROM move_task WHERE queue = ?1 ORDER BY started_ms DESC, handle LIMIT ?2"),
        params![queue, limit],
        read_task,
    )?)
}

/// A task by its handle.
pub(crate) fn task(tx: &mut Tx<'_>, handle: &str) -> Result<Option<MoveTask>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {TASK} FROM move_task WHERE handle = ?1"),
        params![handle],
        read_task,
    )?)
}

/// All tasks that are to be worked on.
pub(crate) fn running_tasks(tx: &mut Tx<'_>) -> Result<Vec<MoveTask>, Error> {
    Ok(tx.query(
        &format!("SELECT {TASK} FROM move_task WHERE status = 'RUNNING' ORDER BY started_ms LIMIT 100"),
        params![],
        read_task,
    )?)
}

/// Sets where a task is.
pub(crate) fn set_task(
    tx: &mut Tx<'_>,
    handle: &str,
    status: MoveStatus,
    failure: Option<&str>,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE move_task SET status = ?2, failure = ?3 WHERE handle = ?1",
        params![handle, status.as_str(), failure],
    )?;
    Ok(())
}

/// Messages of a FIFO queue that a move may take, in the order of each group: those of groups that are not locked, as for a receive.
fn heads_of_move(
    tx: &mut Tx<'_>,
    task: &MoveTask,
    max: i64,
    now: Timestamp,
) -> Result<Vec<(i64, Option<String>)>, Error> {
    let max = usize::try_from(max).unwrap_or_default();
    let (mut found, mut after) = (Vec::new(), String::new());
    while found.len() < max {
        let Some(lane) = super::lane_after(tx, task.queue, &after, now)? else { break };
        let heads = super::heads(tx, task.queue, &lane, now, max - found.len())?;
        let movable = heads.into_iter().filter(|message| {
            message.sent <= task.started && (message.origin.is_some() || task.target.is_some())
        });
        found.extend(movable.map(|message| (message.seq, message.origin)));
        after = lane;
    }
    Ok(found)
}

/// Moves up to `max` visible messages; the queues that got some, and how many were moved.
///
/// A message that would go back to where it came from, which is gone, fails the task.
pub(crate) fn move_step(
    tx: &mut Tx<'_>,
    task: &MoveTask,
    max: i64,
    now: Timestamp,
) -> Result<(Vec<Queue>, usize), Error> {
    let found = match task.source.ends_with(FIFO_SUFFIX) {
        true => heads_of_move(tx, task, max, now)?,
        false => tx.query(
            MESSAGES_OF_MOVE,
            params![task.queue, now.0, task.started.0, i64::from(task.target.is_some()), max],
            |row| Ok((row.get::<i64>(0)?, row.get::<Option<String>>(1)?)),
        )?,
    };
    let (mut targets, mut moved): (Vec<Queue>, _) = (Vec::new(), 0);
    for (seq, origin) in found {
        let Some(wanted) = task.target.clone().or(origin) else { continue };
        let key = wanted.parse::<Arn>().ok().and_then(|arn| QueueKey::of(&arn));
        let target = match key {
            None => None,
            Some(key) => match targets.iter().find(|target| target.key == key) {
                Some(known) => Some(known.clone()),
                None => queue(tx, &key)?,
            },
        };
        let Some(target) = target else {
            let failure = "AWS.SimpleQueueService.NonExistentQueue";
            set_task(tx, &task.handle, MoveStatus::Failed, Some(failure))?;
            break;
        };
        let Some(message) = super::message(tx, task.queue, seq)? else { continue };
        put_into(tx, task.queue, &target, &message, None, now)?;
        if let (Some(lane), Some(_)) = (&message.group, target.settings.fifo) {
            super::refresh_lane(tx, task.queue, lane, now)?;
        }
        moved += 1;
        if !targets.iter().any(|known| known.id == target.id) {
            targets.push(target);
        }
    }
    tx.execute(
        "UPDATE move_task SET moved = moved + ?2 WHERE handle = ?1",
        params![task.handle.as_str(), i64::try_from(moved).unwrap_or(i64::MAX)],
    )?;
    Ok((targets, moved))
}
