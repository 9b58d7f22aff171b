//! All SQL of telemetry, one function for each statement.

use crate::{
    alarms::data as alarms,
    cloudwatch::data as metrics,
    logic::Direction,
    meter::{Batch, Usage, UsageKey},
    model::{ChunkHead, Group, NewChunk, Stream},
    prices::{Meters, Processor},
    reserved::data as reserved,
    xray::data as traces,
};
use base::{AccountId, Region, RequestId, Timestamp};
use std::collections::BTreeMap;
use store::{Error, Migration, Row, Tx, params};

/// The schema.
pub(crate) const MIGRATIONS: &[Migration] =
    &[LOGS_AND_USAGE, METRICS, ALARMS, COSTS, TRACES, PROVISIONED, SMALL_CHUNKS];

/// What budgets need, and the measured side of memory advice. Statements about budgets are in [`crate::budgets::data`].
const COSTS: Migration = Migration::portable(4, "costs", crate::budgets::data::SCHEMA);

/// Their statements are in [`metrics`].
const METRICS: Migration = Migration::portable(2, "metrics", metrics::SCHEMA);

/// Their statements are in [`alarms`].
const ALARMS: Migration = Migration::portable(3, "alarms", alarms::SCHEMA);

/// Their statements are in [`traces`].
const TRACES: Migration = Migration::portable(5, "traces", traces::SCHEMA);

/// Its statements are in [`reserved`].
const PROVISIONED: Migration = Migration::portable(6, "provisioned concurrency", reserved::SCHEMA);

/// Those of fewer than [`SMALL_BYTES`], so that nobody walks all chunks for them.
const SMALL_CHUNKS: Migration = Migration::portable(
    7,
    "small chunks",
    "CREATE INDEX log_chunks_small ON log_chunks (stream_id, first_ms, id, bytes) WHERE bytes < 65536;",
);

/// A chunk with fewer bytes of messages is worth merging with its neighbours: a quarter of a full one. Statements have it as
/// text, without which no back end knows that the index does for them.
pub(crate) const SMALL_BYTES: i64 = 65_536;
const _: () = assert!(SMALL_BYTES as usize == crate::chunk::CHUNK_BYTES / 4);

const LOGS_AND_USAGE: Migration = Migration::portable(
    1,
    "logs and usage",
    "
    CREATE TABLE log_groups (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        created_ms INTEGER NOT NULL, retention_days INTEGER,
        UNIQUE (account, region, name)
    );
    CREATE TABLE log_group_tags (
        group_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (group_id, name)
    );
    CREATE TABLE log_streams (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        group_id INTEGER NOT NULL, name TEXT NOT NULL, created_ms INTEGER NOT NULL,
        automatic INTEGER NOT NULL,
        first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL, bytes INTEGER NOT NULL,
        UNIQUE (group_id, name)
    );
    CREATE INDEX log_streams_by_last ON log_streams (group_id, last_ms, name);
    CREATE TABLE log_chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL,
        first_ms INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_ms INTEGER NOT NULL,
        events INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL,
        UNIQUE (stream_id, first_ms, first_seq)
    );
    CREATE INDEX log_chunks_by_group ON log_chunks (group_id, first_ms, id);
    CREATE INDEX log_chunks_by_stream ON log_chunks (stream_id, first_ms, id);
    CREATE INDEX log_chunks_by_stream_end ON log_chunks (stream_id, last_ms, id);
    CREATE INDEX log_chunks_by_group_end ON log_chunks (group_id, last_ms, id);
    CREATE TABLE log_trash (
        group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL,
        PRIMARY KEY (group_id, stream_id)
    );
    CREATE TABLE usage (
        account TEXT NOT NULL, day INTEGER NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, version TEXT NOT NULL,
        memory_mib INTEGER NOT NULL, processor TEXT NOT NULL,
        requests INTEGER NOT NULL, ms INTEGER NOT NULL, ms_by_100 INTEGER NOT NULL, ms_least_100 INTEGER NOT NULL,
        scratch_mib_ms INTEGER NOT NULL, errors INTEGER NOT NULL, timeouts INTEGER NOT NULL, cold_starts INTEGER NOT NULL,
        init_us INTEGER NOT NULL, run_us INTEGER NOT NULL,
        PRIMARY KEY (account, day, region, function, version, memory_mib, processor)
    );
    CREATE TABLE usage_flushes (
        instance TEXT PRIMARY KEY, sequence INTEGER NOT NULL, flushed_ms INTEGER NOT NULL
    );
    ",
);

/// Empties all tables but the record of usage batches, which keeps a repeated batch from being counted twice.
pub(crate) fn delete_everything(tx: &mut Tx<'_>) -> Result<(), Error> {
    for statement in [
        "DELETE FROM log_chunks",
        "DELETE FROM log_streams",
        "DELETE FROM log_group_tags",
        "DELETE FROM log_groups",
        "DELETE FROM log_trash",
        "DELETE FROM usage",
    ] {
        tx.execute(statement, params![])?;
    }
    let budgets = crate::budgets::data::DELETE_ALL.iter().copied();
    for statement in metrics::DELETE_ALL.into_iter().chain(alarms::DELETE_ALL).chain(budgets) {
        tx.execute(statement, params![])?;
    }
    tx.execute(traces::DELETE_ALL, params![])?;
    tx.execute(reserved::DELETE_ALL, params![])?;
    Ok(())
}

// Log groups.

fn group(row: &Row<'_>) -> Result<Group, Error> {
    Ok(Group { id: row.get(0)?, name: row.get(1)?, created: row.get(2)?, retention_days: row.get(3)? })
}

pub(crate) fn group_find(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    name: &str,
) -> Result<Option<Group>, Error> {
    tx.query_opt(
        "SELECT id, name, created_ms, retention_days FROM log_groups WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![account.as_str(), region.as_str(), name],
        group,
    )
}

/// Bytes of the messages of a group; walks its streams.
pub(crate) fn group_bytes(tx: &mut Tx<'_>, id: i64) -> Result<i64, Error> {
    let bytes = tx.query_opt(
        "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM log_streams WHERE group_id = ?1",
        params![id],
        |row| row.get(0),
    )?;
    Ok(bytes.unwrap_or_default())
}

/// Names after `after`, within `from..below`, and containing `like` (a `LIKE` pattern with `\` as escape).
#[expect(clippy::too_many_arguments, reason = "the parameters of one statement")]
pub(crate) fn groups(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    after: &str,
    from: &str,
    below: &str,
    like: &str,
    limit: i64,
) -> Result<Vec<Group>, Error> {
    tx.query(
        "SELECT id, name, created_ms, retention_days FROM log_groups
         WHERE account = ?1 AND region = ?2 AND name > ?3 AND name >= ?4 AND name < ?5 AND name LIKE ?6 ESCAPE '\\'
         ORDER BY name LIMIT ?7",
        params![account.as_str(), region.as_str(), after, from, below, like, limit],
        group,
    )
}

/// Whether it is new.
pub(crate) fn group_insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    name: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let inserted = tx.execute(
        "INSERT INTO log_groups (account, region, name, created_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![account.as_str(), region.as_str(), name, now],
    )?;
    Ok(inserted == 1)
}

pub(crate) fn group_delete(tx: &mut Tx<'_>, id: i64) -> Result<(), Error> {
    tx.execute("DELETE FROM log_groups WHERE id = ?1", params![id])?;
    tx.execute("DELETE FROM log_group_tags WHERE group_id = ?1", params![id])?;
    Ok(())
}

pub(crate) fn group_retain(tx: &mut Tx<'_>, id: i64, days: Option<u32>) -> Result<(), Error> {
    tx.execute("UPDATE log_groups SET retention_days = ?2 WHERE id = ?1", params![id, days])?;
    Ok(())
}

/// Groups with a retention policy after the id `after`: (id, days).
pub(crate) fn groups_with_retention(
    tx: &mut Tx<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i64)>, Error> {
    tx.query(
        "SELECT id, retention_days FROM log_groups WHERE id > ?1 AND retention_days IS NOT NULL ORDER BY id LIMIT ?2",
        params![after, limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

pub(crate) fn tags(tx: &mut Tx<'_>, group: i64) -> Result<BTreeMap<String, String>, Error> {
    let tags = tx.query(
        "SELECT name, value FROM log_group_tags WHERE group_id = ?1 ORDER BY name",
        params![group],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(tags.into_iter().collect())
}

pub(crate) fn tag_set(tx: &mut Tx<'_>, group: i64, name: &str, value: &str) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO log_group_tags (group_id, name, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (group_id, name) DO UPDATE SET value = excluded.value",
        params![group, name, value],
    )?;
    Ok(())
}

pub(crate) fn tag_delete(tx: &mut Tx<'_>, group: i64, name: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM log_group_tags WHERE group_id = ?1 AND name = ?2", params![group, name])?;
    Ok(())
}

// Log streams.

fn stream(row: &Row<'_>) -> Result<Stream, Error> {
    Ok(Stream {
        name: row.get(0)?,
        created: row.get(1)?,
        first: row.get(2)?,
        last: row.get(3)?,
        ingested: row.get(4)?,
        bytes: row.get(5)?,
    })
}

pub(crate) fn stream_id(tx: &mut Tx<'_>, group: i64, name: &str) -> Result<Option<i64>, Error> {
    tx.query_opt(
        "SELECT id FROM log_streams WHERE group_id = ?1 AND name = ?2",
        params![group, name],
        |row| row.get(0),
    )
}

pub(crate) fn stream_name(tx: &mut Tx<'_>, group: i64, id: i64) -> Result<Option<String>, Error> {
    tx.query_opt("SELECT name FROM log_streams WHERE id = ?1 AND group_id = ?2", params![id, group], |row| {
        row.get(0)
    })
}

/// Whether it is new. `automatic`: made by the platform, and removed again when its last event has expired.
pub(crate) fn stream_insert(
    tx: &mut Tx<'_>,
    group: i64,
    name: &str,
    automatic: bool,
    now: Timestamp,
) -> Result<bool, Error> {
    let inserted = tx.execute(
        "INSERT INTO log_streams (group_id, name, created_ms, automatic, first_ms, last_ms, ingested_ms, bytes)
         VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        params![group, name, now, automatic],
    )?;
    Ok(inserted == 1)
}

pub(crate) fn stream_delete(tx: &mut Tx<'_>, id: i64) -> Result<(), Error> {
    tx.execute("DELETE FROM log_streams WHERE id = ?1", params![id])?;
    Ok(())
}

/// Streams by name after (descending: before) `beyond`, within `from..below`.
pub(crate) fn streams_by_name(
    tx: &mut Tx<'_>,
    group: i64,
    descending: bool,
    beyond: Option<&str>,
    from: &str,
    below: &str,
    limit: i64,
) -> Result<Vec<Stream>, Error> {
    let (sql, beyond) = if descending {
        (
            "SELECT name, created_ms, first_ms, last_ms, ingested_ms, bytes FROM log_streams
             WHERE group_id = ?1 AND name < ?2 AND name >= ?3 AND name < ?4 ORDER BY name DESC LIMIT ?5",
            beyond.unwrap_or(below),
        )
    } else {
        (
            "SELECT name, created_ms, first_ms, last_ms, ingested_ms, bytes FROM log_streams
             WHERE group_id = ?1 AND name > ?2 AND name >= ?3 AND name < ?4 ORDER BY name LIMIT ?5",
            beyond.unwrap_or(""),
        )
    };
    tx.query(sql, params![group, beyond, from, below, limit], stream)
}

/// Streams by the time of their last event, then name, beyond a stream.
pub(crate) fn streams_by_last(
    tx: &mut Tx<'_>,
    group: i64,
    descending: bool,
    beyond: Option<(i64, &str)>,
    limit: i64,
) -> Result<Vec<Stream>, Error> {
    let (sql, (last, name)) = if descending {
        (
            "SELECT name, created_ms, first_ms, last_ms, ingested_ms, bytes FROM log_streams
             WHERE group_id = ?1 AND (last_ms, name) < (?2, ?3) ORDER BY last_ms DESC, name DESC LIMIT ?4",
            beyond.unwrap_or((i64::MAX, "")),
        )
    } else {
        (
            "SELECT name, created_ms, first_ms, last_ms, ingested_ms, bytes FROM log_streams
             WHERE group_id = ?1 AND (last_ms, name) > (?2, ?3) ORDER BY last_ms, name LIMIT ?4",
            beyond.unwrap_or((-1, "")),
        )
    };
    tx.query(sql, params![group, last, name, limit], stream)
}

fn stream_grow(tx: &mut Tx<'_>, id: i64, chunk: &NewChunk) -> Result<(), Error> {
    tx.execute(
        "UPDATE log_streams SET
             first_ms = CASE WHEN first_ms = 0 OR first_ms > ?2 THEN ?2 ELSE first_ms END,
             last_ms = CASE WHEN last_ms < ?3 THEN ?3 ELSE last_ms END,
             ingested_ms = CASE WHEN ingested_ms < ?4 THEN ?4 ELSE ingested_ms END,
             bytes = bytes + ?5
         WHERE id = ?1",
        params![id, chunk.first.at, chunk.last, chunk.ingested, chunk.bytes],
    )?;
    Ok(())
}

fn stream_shrink(tx: &mut Tx<'_>, id: i64, bytes: i64) -> Result<(), Error> {
    tx.execute("UPDATE log_streams SET bytes = bytes - ?2 WHERE id = ?1", params![id, bytes])?;
    Ok(())
}

/// Removes up to `limit` streams that the platform made and that have had events, all before `cutoff`, and no chunk any more.
pub(crate) fn streams_expire(tx: &mut Tx<'_>, group: i64, cutoff: i64, limit: i64) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM log_streams WHERE id IN (
             SELECT id FROM log_streams s
             WHERE group_id = ?1 AND last_ms > 0 AND last_ms < ?2 AND automatic = 1
                 AND NOT EXISTS (SELECT 1 FROM log_chunks c WHERE c.stream_id = s.id)
             ORDER BY last_ms LIMIT ?3)",
        params![group, cutoff, limit],
    )
}

// Chunks.

/// Adds a chunk to a stream; a chunk that is there already, from an attempt whose outcome was unknown, is not added again.
pub(crate) fn chunk_insert(tx: &mut Tx<'_>, group: i64, stream: i64, chunk: &NewChunk) -> Result<(), Error> {
    if chunk_put(tx, group, stream, chunk)? { stream_grow(tx, stream, chunk) } else { Ok(()) }
}

/// Whether it was not there yet. Leaves the stream's sums alone.
fn chunk_put(tx: &mut Tx<'_>, group: i64, stream: i64, chunk: &NewChunk) -> Result<bool, Error> {
    let inserted = tx.execute(
        "INSERT INTO log_chunks (group_id, stream_id, first_ms, first_seq, last_ms, events, bytes, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        params![
            group,
            stream,
            chunk.first.at,
            chunk.first.seq,
            chunk.last,
            chunk.events,
            chunk.bytes,
            chunk.body
        ],
    )?;
    Ok(inserted == 1)
}

fn head(row: &Row<'_>) -> Result<ChunkHead, Error> {
    Ok(ChunkHead { id: row.get(0)?, stream: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
}

/// Which chunks to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Of one stream.
    Stream(i64),
    /// Of all streams of a group.
    Group(i64),
}

/// Chunks that may hold events of `from..=until`, in the order of their beginning (backward: of their end), beyond a chunk given by
/// that time and its id.
pub(crate) fn chunk_heads(
    tx: &mut Tx<'_>,
    scope: Scope,
    direction: Direction,
    from: i64,
    until: i64,
    beyond: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<ChunkHead>, Error> {
    let span = crate::chunk::CHUNK_SPAN_MS;
    // A chunk spans at most `span`, so its other end is bounded too: this is what keeps the index scan short.
    let (sql, owner, near, far) = match (scope, direction) {
        (Scope::Stream(id), Direction::Forward) => (
            "SELECT id, stream_id, first_ms, last_ms FROM log_chunks
             WHERE stream_id = ?1 AND first_ms >= ?2 AND first_ms <= ?3 AND last_ms >= ?4 AND (first_ms, id) > (?5, ?6)
             ORDER BY first_ms, id LIMIT ?7",
            id,
            (from.saturating_sub(span), until),
            from,
        ),
        (Scope::Group(id), Direction::Forward) => (
            "SELECT id, stream_id, first_ms, last_ms FROM log_chunks
             WHERE group_id = ?1 AND first_ms >= ?2 AND first_ms <= ?3 AND last_ms >= ?4 AND (first_ms, id) > (?5, ?6)
             ORDER BY first_ms, id LIMIT ?7",
            id,
            (from.saturating_sub(span), until),
            from,
        ),
        (Scope::Stream(id), Direction::Backward) => (
            "SELECT id, stream_id, first_ms, last_ms FROM log_chunks
             WHERE stream_id = ?1 AND last_ms >= ?2 AND last_ms <= ?3 AND first_ms <= ?4 AND (last_ms, id) < (?5, ?6)
             ORDER BY last_ms DESC, id DESC LIMIT ?7",
            id,
            (from, until.saturating_add(span)),
            until,
        ),
        (Scope::Group(id), Direction::Backward) => (
            "SELECT id, stream_id, first_ms, last_ms FROM log_chunks
             WHERE group_id = ?1 AND last_ms >= ?2 AND last_ms <= ?3 AND first_ms <= ?4 AND (last_ms, id) < (?5, ?6)
             ORDER BY last_ms DESC, id DESC LIMIT ?7",
            id,
            (from, until.saturating_add(span)),
            until,
        ),
    };
    let (time, id) = beyond.unwrap_or(match direction {
        Direction::Forward => (i64::MIN, i64::MIN),
        Direction::Backward => (i64::MAX, i64::MAX),
    });
    tx.query(sql, params![owner, near.0, near.1, far, time, id, limit], head)
}

pub(crate) fn chunk_body(tx: &mut Tx<'_>, id: i64) -> Result<Option<Vec<u8>>, Error> {
    tx.query_opt("SELECT body FROM log_chunks WHERE id = ?1", params![id], |row| row.get(0))
}

/// Removes up to `limit` chunks of a group that end before `cutoff`; answers how many.
pub(crate) fn chunks_expire(tx: &mut Tx<'_>, group: i64, cutoff: i64, limit: i64) -> Result<usize, Error> {
    let expired = tx.query(
        "SELECT id, stream_id, bytes FROM log_chunks WHERE group_id = ?1 AND last_ms < ?2 ORDER BY last_ms, id LIMIT ?3",
        params![group, cutoff, limit],
        |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?)),
    )?;
    for (id, stream, bytes) in &expired {
        chunk_delete(tx, *id)?;
        stream_shrink(tx, *stream, *bytes)?;
    }
    Ok(expired.len())
}

/// A small chunk with its content.
pub(crate) struct SmallChunk {
    pub(crate) id: i64,
    pub(crate) group: i64,
    pub(crate) body: Vec<u8>,
}

/// Small chunks of a stream, in order.
pub(crate) fn chunks_small(tx: &mut Tx<'_>, stream: i64, limit: i64) -> Result<Vec<SmallChunk>, Error> {
    tx.query(
        "SELECT id, group_id, body FROM log_chunks WHERE stream_id = ?1 AND bytes < 65536
         ORDER BY first_ms, id LIMIT ?2",
        params![stream, limit],
        |row| Ok(SmallChunk { id: row.get(0)?, group: row.get(1)?, body: row.get(2)? }),
    )
}

/// Puts `chunks`, which hold the same events, in the place of `old` chunks of a stream.
pub(crate) fn chunks_replace(
    tx: &mut Tx<'_>,
    stream: i64,
    old: &[SmallChunk],
    chunks: &[NewChunk],
) -> Result<(), Error> {
    let Some(group) = old.first().map(|chunk| chunk.group) else { return Ok(()) };
    for chunk in old {
        chunk_delete(tx, chunk.id)?;
    }
    for chunk in chunks {
        chunk_put(tx, group, stream, chunk)?;
    }
    Ok(())
}

/// Streams with at least `count` small chunks.
pub(crate) fn streams_fragmented(tx: &mut Tx<'_>, count: i64, limit: i64) -> Result<Vec<i64>, Error> {
    tx.query(
        "SELECT stream_id FROM log_chunks WHERE bytes < 65536 GROUP BY stream_id HAVING COUNT(*) >= ?1 LIMIT ?2",
        params![count, limit],
        |row| row.get(0),
    )
}

fn chunk_delete(tx: &mut Tx<'_>, id: i64) -> Result<(), Error> {
    tx.execute("DELETE FROM log_chunks WHERE id = ?1", params![id])?;
    Ok(())
}

// What is deleted and not yet cleared away. `stream_id` 0: the whole group.

pub(crate) fn trash_add(tx: &mut Tx<'_>, group: i64, stream: i64) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO log_trash (group_id, stream_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![group, stream],
    )?;
    Ok(())
}

pub(crate) fn trash_first(tx: &mut Tx<'_>) -> Result<Option<(i64, i64)>, Error> {
    tx.query_opt(
        "SELECT group_id, stream_id FROM log_trash ORDER BY group_id, stream_id LIMIT 1",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Clears away up to `limit` rows of a deleted group or stream; whether all is gone.
pub(crate) fn trash_clear(tx: &mut Tx<'_>, group: i64, stream: i64, limit: i64) -> Result<bool, Error> {
    let chunks = if stream == 0 {
        tx.execute(
            "DELETE FROM log_chunks WHERE id IN (SELECT id FROM log_chunks WHERE group_id = ?1 LIMIT ?2)",
            params![group, limit],
        )?
    } else {
        tx.execute(
            "DELETE FROM log_chunks WHERE id IN (SELECT id FROM log_chunks WHERE stream_id = ?1 LIMIT ?2)",
            params![stream, limit],
        )?
    };
    if chunks > 0 {
        return Ok(false);
    }
    let streams = if stream == 0 {
        tx.execute(
            "DELETE FROM log_streams WHERE id IN (SELECT id FROM log_streams WHERE group_id = ?1 LIMIT ?2)",
            params![group, limit],
        )?
    } else {
        0
    };
    if streams > 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM log_trash WHERE group_id = ?1 AND stream_id = ?2", params![group, stream])?;
    Ok(true)
}

// Usage.

/// Adds a batch to the sums, unless it has been added already; whether it was added now.
pub(crate) fn usage_add(tx: &mut Tx<'_>, batch: &Batch, now: Timestamp) -> Result<bool, Error> {
    let instance = batch.instance.to_string();
    let noted = tx.execute(
        "INSERT INTO usage_flushes (instance, sequence, flushed_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (instance) DO UPDATE SET sequence = excluded.sequence, flushed_ms = excluded.flushed_ms
         WHERE usage_flushes.sequence < excluded.sequence",
        params![instance, batch.sequence, now],
    )?;
    if noted == 0 {
        return Ok(false);
    }
    for (key, usage) in &batch.rows {
        usage_row_add(tx, key, usage)?;
    }
    for change in &batch.reserved {
        crate::reserved::change(tx, change)?;
    }
    Ok(true)
}

/// Adds to the sums, whatever was added before.
pub(crate) fn usage_row_add(tx: &mut Tx<'_>, key: &UsageKey, usage: &Usage) -> Result<(), Error> {
    let version = key.version.to_string();
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO usage (account, day, region, function, version, memory_mib, processor, requests, ms, ms_by_100,
             ms_least_100, scratch_mib_ms, errors, timeouts, cold_starts, init_us, run_us, memory_used_max,
             provisioned_ms, provisioned_ms_by_100, reserved_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
         ON CONFLICT (account, day, region, function, version, memory_mib, processor) DO UPDATE SET
             requests = usage.requests + excluded.requests, ms = usage.ms + excluded.ms,
             ms_by_100 = usage.ms_by_100 + excluded.ms_by_100, ms_least_100 = usage.ms_least_100 + excluded.ms_least_100,
             scratch_mib_ms = usage.scratch_mib_ms + excluded.scratch_mib_ms, errors = usage.errors + excluded.errors,
             timeouts = usage.timeouts + excluded.timeouts, cold_starts = usage.cold_starts + excluded.cold_starts,
             init_us = usage.init_us + excluded.init_us, run_us = usage.run_us + excluded.run_us,
             provisioned_ms = usage.provisioned_ms + excluded.provisioned_ms,
             provisioned_ms_by_100 = usage.provisioned_ms_by_100 + excluded.provisioned_ms_by_100,
             reserved_ms = usage.reserved_ms + excluded.reserved_ms,
             memory_used_max = CASE WHEN usage.memory_used_max < excluded.memory_used_max
                 THEN excluded.memory_used_max ELSE usage.memory_used_max END",
        params![
            key.account.as_str(),
            key.day,
            key.region.as_str(),
            key.function.as_str(),
            version,
            key.memory_mib,
            key.processor.as_str(),
            count(usage.meters.requests),
            count(usage.meters.ms),
            count(usage.meters.ms_by_100),
            count(usage.meters.ms_least_100),
            count(usage.meters.scratch_mib_ms),
            count(usage.errors),
            count(usage.timeouts),
            count(usage.cold_starts),
            count(usage.init_us),
            count(usage.run_us),
            count(usage.memory_used_max),
            count(usage.meters.provisioned_ms),
            count(usage.meters.provisioned_ms_by_100),
            count(usage.meters.reserved_ms)
        ],
    )?;
    Ok(())
}

/// Sums of an account from day `first` to day `last`, by function, region, version, memory, processor and day.
pub(crate) fn usage_between(
    tx: &mut Tx<'_>,
    account: AccountId,
    first: i64,
    last: i64,
) -> Result<Vec<(UsageKey, Usage)>, Error> {
    tx.query(
        "SELECT region, function, version, memory_mib, processor, day, requests, ms, ms_by_100, ms_least_100,
             scratch_mib_ms, errors, timeouts, cold_starts, init_us, run_us, memory_used_max, provisioned_ms,
             provisioned_ms_by_100, reserved_ms
         FROM usage WHERE account = ?1 AND day >= ?2 AND day <= ?3
         ORDER BY function, region, version, memory_mib, processor, day",
        params![account.as_str(), first, last],
        |row| {
            let key = UsageKey {
                account,
                region: parsed(row, 0, "region")?,
                function: parsed(row, 1, "function name")?,
                version: parsed(row, 2, "version")?,
                memory_mib: row.get(3)?,
                processor: Processor::named(&row.get::<String>(4)?),
                day: row.get(5)?,
            };
            let count = |index: usize| Ok::<_, Error>(row.get::<i64>(index)?.max(0) as u64);
            let meters = Meters {
                requests: count(6)?,
                ms: count(7)?,
                ms_by_100: count(8)?,
                ms_least_100: count(9)?,
                scratch_mib_ms: count(10)?,
                provisioned_ms: count(17)?,
                provisioned_ms_by_100: count(18)?,
                reserved_ms: count(19)?,
            };
            let usage = Usage {
                meters,
                errors: count(11)?,
                timeouts: count(12)?,
                cold_starts: count(13)?,
                init_us: count(14)?,
                run_us: count(15)?,
                memory_used_max: count(16)?,
            };
            Ok((key, usage))
        },
    )
}

pub(crate) fn parsed<T>(row: &Row<'_>, index: usize, what: &'static str) -> Result<T, Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<String>(index)?.parse().map_err(|error| Error::decode(what, error))
}

/// Forgets instances that have not flushed since `before`: their batches cannot come again.
pub(crate) fn flushes_forget(tx: &mut Tx<'_>, own: RequestId, before: Timestamp) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM usage_flushes WHERE flushed_ms < ?1 AND instance <> ?2",
        params![before, own.to_string()],
    )
}
