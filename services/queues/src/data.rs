//! All SQL of the service.
//!
//! A message is visible when its `due_ms` is not in the future: receiving, delaying and giving back only move it. The index on
//! it makes every operation cost the same however many messages there are. FIFO queues have a row for each group with messages
//! (`lane`), due when the group may be received from. Standard queues have two tiers of messages: see [`QUIET_MAX`].
//! Numbers of messages are sums of a few rows for each queue (`tally`), so that on PostgreSQL senders do not wait for each other.

mod depths;
mod messages;
mod moves;
mod upkeep;

pub(crate) use depths::*;
pub(crate) use messages::*;
pub(crate) use moves::*;
pub(crate) use upkeep::*;

use crate::{
    Error,
    logic::attributes,
    model::{Queue, QueueKey},
};
use base::{AccountId, Region, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use store::{Migration, Row, Tx, params};

/// The schema.
pub static MIGRATIONS: &[Migration] = &[QUEUES_AND_MESSAGES, BACKLOGS_BY_GROUP];

const QUEUES_AND_MESSAGES: Migration = Migration::portable(
    1,
    "queues and messages",
    "CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        attributes TEXT NOT NULL,
        tags TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        dead_letter TEXT
    );
    CREATE UNIQUE INDEX queue_name ON queue (account, region, name);
    CREATE INDEX queue_dead_letter ON queue (dead_letter) WHERE dead_letter IS NOT NULL;
    -- names that may not be used again yet, and queues whose messages are still to be removed
    CREATE TABLE deleted_name (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    );
    CREATE TABLE deleted_queue (id INTEGER PRIMARY KEY);
    CREATE TABLE purge (
        queue INTEGER PRIMARY KEY,
        upto_seq INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        done INTEGER NOT NULL
    );
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        id TEXT NOT NULL,
        body TEXT NOT NULL,
        body_md5 TEXT NOT NULL,
        attributes TEXT,
        attributes_md5 TEXT,
        trace TEXT,
        sender TEXT NOT NULL,
        sent_ms INTEGER NOT NULL,
        first_ms INTEGER,
        receives INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        receipt INTEGER,
        -- MessageGroupId
        lane TEXT,
        -- 1: of a standard queue's group that had enough to do already, for after those that have not
        tier INTEGER NOT NULL,
        deduplication TEXT,
        origin TEXT
    );
    CREATE INDEX message_due ON message (queue, tier, due_ms);
    CREATE INDEX message_sent ON message (queue, sent_ms);
    CREATE INDEX message_lane ON message (queue, lane, seq) WHERE lane IS NOT NULL;
    CREATE TABLE lane (
        queue INTEGER NOT NULL,
        name TEXT NOT NULL,
        due_ms INTEGER NOT NULL,
        PRIMARY KEY (queue, name)
    );
    CREATE INDEX lane_due ON lane (queue, due_ms);
    CREATE TABLE tally (
        queue INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        PRIMARY KEY (queue, slot)
    );
    -- key: of a queue or of a group of it; kept for five minutes, whatever becomes of the message
    CREATE TABLE deduplication (
        queue INTEGER NOT NULL,
        key TEXT NOT NULL,
        until_ms INTEGER NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (queue, key)
    );
    CREATE INDEX deduplication_until ON deduplication (until_ms);
    -- what a receive with an attempt id gave, for a retry of it
    CREATE TABLE attempt (
        queue INTEGER NOT NULL,
        id TEXT NOT NULL,
        until_ms INTEGER NOT NULL,
        seqs TEXT NOT NULL,
        PRIMARY KEY (queue, id)
    );
    CREATE INDEX attempt_until ON attempt (until_ms);
    CREATE TABLE move_task (
        handle TEXT PRIMARY KEY,
        queue INTEGER NOT NULL,
        source TEXT NOT NULL,
        target TEXT,
        rate INTEGER,
        status TEXT NOT NULL,
        moved INTEGER NOT NULL,
        total INTEGER NOT NULL,
        failure TEXT,
        started_ms INTEGER NOT NULL
    );
    CREATE INDEX move_task_source ON move_task (queue, started_ms);
    CREATE INDEX move_task_status ON move_task (status);",
);

/// Whether a group has a backlog is found without looking at its messages.
const BACKLOGS_BY_GROUP: Migration = Migration::portable(
    2,
    "backlogs by group",
    "DROP INDEX message_lane;
    CREATE INDEX message_lane ON message (queue, lane, tier, seq) WHERE lane IS NOT NULL;",
);

const QUEUE: &str = "id, account, region, name, attributes, tags, created_ms, modified_ms, revision";

fn json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, store::Error> {
    serde_json::from_str(text).map_err(|error| store::Error::decode(what, error))
}

fn text(what: &'static str, value: &impl Serialize) -> Result<String, Error> {
    Ok(serde_json::to_string(value).map_err(|error| store::Error::decode(what, error))?)
}

/// Account, region and name, from this column on.
fn key_of(row: &Row<'_>, first: usize) -> Result<QueueKey, store::Error> {
    let parse_account = row.get::<String>(first)?.parse::<AccountId>();
    let parse_region = row.get::<String>(first + 1)?.parse::<Region>();
    Ok(QueueKey {
        account: parse_account.map_err(|error| store::Error::decode("account", error))?,
        region: parse_region.map_err(|error| store::Error::decode("region", error))?,
        name: row.get::<String>(first + 2)?.into(),
    })
}

fn read_queue(row: &Row<'_>) -> Result<Queue, store::Error> {
    let key = key_of(row, 1)?;
    let attributes: BTreeMap<String, String> = json("attributes", &row.get::<String>(4)?)?;
    let settings =
        attributes::settings(&key, &attributes).map_err(|error| store::Error::decode("attributes", error))?;
    Ok(Queue {
        id: row.get(0)?,
        key,
        attributes,
        settings,
        tags: json("tags", &row.get::<String>(5)?)?,
        created: Timestamp(row.get(6)?),
        modified: Timestamp(row.get(7)?),
        revision: row.get(8)?,
    })
}

/// A queue by its name.
pub(crate) fn queue(tx: &mut Tx<'_>, key: &QueueKey) -> Result<Option<Queue>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {QUEUE} FROM queue WHERE account = ?1 AND region = ?2 AND name = ?3"),
        params![key.account.as_str(), key.region.as_str(), &*key.name],
        read_queue,
    )?)
}

/// Fails with [`Error::Stale`] if the queue is not as it was read.
pub(crate) fn check(tx: &mut Tx<'_>, queue: &Queue) -> Result<(), Error> {
    let revision =
        tx.query_opt("SELECT revision FROM queue WHERE id = ?1", params![queue.id], |row| row.get::<i64>(0))?;
    if revision == Some(queue.revision) { Ok(()) } else { Err(Error::Stale) }
}

/// Adds a queue and gives it its id.
pub(crate) fn insert_queue(tx: &mut Tx<'_>, queue: &Queue) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO queue (account, region, name, attributes, tags, created_ms, modified_ms, revision, dead_letter)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 1, ?7)",
        params![
            queue.key.account.as_str(),
            queue.key.region.as_str(),
            &*queue.key.name,
            text("attributes", &queue.attributes)?,
            text("tags", &queue.tags)?,
            queue.created.0,
            dead_letter(queue)
        ],
    )?;
    Ok(())
}

fn dead_letter(queue: &Queue) -> Option<String> {
    queue.settings.redrive.as_ref().map(|redrive| redrive.target.arn().to_string())
}

/// Writes what was changed of a queue; its revision is the next.
pub(crate) fn update_queue(tx: &mut Tx<'_>, queue: &Queue) -> Result<(), Error> {
    tx.execute(
        "UPDATE queue SET attributes = ?2, tags = ?3, modified_ms = ?4, dead_letter = ?5, revision = revision + 1
         WHERE id = ?1",
        params![
            queue.id,
            text("attributes", &queue.attributes)?,
            text("tags", &queue.tags)?,
            queue.modified.0,
            dead_letter(queue)
        ],
    )?;
    Ok(())
}

/// Takes a queue away; its messages follow in the background, its name is free at `until`.
pub(crate) fn delete_queue(tx: &mut Tx<'_>, queue: &Queue, until: Timestamp) -> Result<(), Error> {
    tx.execute("DELETE FROM queue WHERE id = ?1", params![queue.id])?;
    tx.execute("INSERT INTO deleted_queue (id) VALUES (?1)", params![queue.id])?;
    tx.execute(
        "INSERT INTO deleted_name (account, region, name, until_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account, region, name) DO UPDATE SET until_ms = ?4",
        params![queue.key.account.as_str(), queue.key.region.as_str(), &*queue.key.name, until.0],
    )?;
    Ok(())
}

/// Whether a queue of this name was deleted so lately that the name may not be used yet.
pub(crate) fn is_name_resting(tx: &mut Tx<'_>, key: &QueueKey, now: Timestamp) -> Result<bool, Error> {
    let until = tx.query_opt(
        "SELECT until_ms FROM deleted_name WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![key.account.as_str(), key.region.as_str(), &*key.name],
        |row| row.get::<i64>(0),
    )?;
    Ok(until.is_some_and(|until| until > now.0))
}

/// Queues of an account and region whose names begin with `prefix`, after `after`, in order.
pub(crate) fn list_queues(
    tx: &mut Tx<'_>,
    (account, region): (AccountId, &Region),
    prefix: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<QueueKey>, Error> {
    // Names are ASCII: the prefix with a larger byte behind it is larger than every name that begins with it.
    let beyond = format!("{prefix}\u{7f}");
    let names = tx.query(
        "SELECT name FROM queue WHERE account = ?1 AND region = ?2 AND name > ?3 AND name >= ?4 AND name < ?5
         ORDER BY name LIMIT ?6",
        params![account.as_str(), region.as_str(), after, prefix, beyond, limit],
        |row| row.get::<String>(0),
    )?;
    let key = |name: String| QueueKey { account, region: region.clone(), name: name.into() };
    Ok(names.into_iter().map(key).collect())
}

/// Queues whose dead-letter queue `target` is, after `after`, in order of their names.
pub(crate) fn sources_of(
    tx: &mut Tx<'_>,
    target: &QueueKey,
    after: &str,
    limit: i64,
) -> Result<Vec<QueueKey>, Error> {
    let names = tx.query(
        "SELECT name FROM queue WHERE dead_letter = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
        params![target.arn().to_string(), after, limit],
        |row| row.get::<String>(0),
    )?;
    let key = |name: String| QueueKey { name: name.into(), ..target.clone() };
    Ok(names.into_iter().map(key).collect())
}
