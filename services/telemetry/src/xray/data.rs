//! All SQL of traces, one function for each statement.

use super::Kept;
use base::{AccountId, Region, Timestamp};
use store::{Error, Tx, params};

/// The table of segments.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE trace_segments (
        account TEXT NOT NULL, region TEXT NOT NULL, trace TEXT NOT NULL, id TEXT NOT NULL,
        trace_began_s INTEGER NOT NULL, start_ms INTEGER NOT NULL, complete INTEGER NOT NULL, kept_ms INTEGER NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (account, region, trace, id)
    );
    CREATE INDEX trace_segments_by_begin ON trace_segments (account, region, trace_began_s, trace);
    CREATE INDEX trace_segments_by_age ON trace_segments (kept_ms);
    ";

/// What [`SCHEMA`] holds.
pub(crate) const DELETE_ALL: &str = "DELETE FROM trace_segments";

/// Keeps a segment; a complete one is not replaced by one in progress.
pub(crate) fn put(tx: &mut Tx<'_>, kept: &Kept, now: Timestamp) -> Result<(), Error> {
    let segment = &kept.segment;
    tx.execute(
        "INSERT INTO trace_segments (account, region, trace, id, trace_began_s, start_ms, complete, kept_ms, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (account, region, trace, id) DO UPDATE SET
            trace_began_s = excluded.trace_began_s, start_ms = excluded.start_ms, complete = excluded.complete,
            kept_ms = excluded.kept_ms, document = excluded.document
         WHERE excluded.complete >= trace_segments.complete",
        params![
            kept.account.to_string(),
            kept.region.to_string(),
            segment.trace.clone(),
            segment.id.clone(),
            segment.trace_began_s,
            segment.start_ms,
            i64::from(segment.complete),
            now.0,
            kept.document.clone()
        ],
    )?;
    Ok(())
}

/// Identifiers and documents of a trace's segments, in the order of their begin.
pub(crate) fn segments(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    trace: &str,
    limit: i64,
) -> Result<Vec<(String, String)>, Error> {
    tx.query(
        "SELECT id, document FROM trace_segments WHERE account = ?1 AND region = ?2 AND trace = ?3
         ORDER BY start_ms, id LIMIT ?4",
        params![account.to_string(), region.to_string(), trace.to_owned(), limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Traces that began within seconds, and when, behind the given one in the order of both.
pub(crate) fn traces(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    (from_s, until_s): (i64, i64),
    (after_s, after): (i64, &str),
    limit: i64,
) -> Result<Vec<(i64, String)>, Error> {
    tx.query(
        "SELECT MIN(trace_began_s) AS began, trace FROM trace_segments
         WHERE account = ?1 AND region = ?2 AND trace_began_s BETWEEN ?3 AND ?4
         GROUP BY trace
         HAVING MIN(trace_began_s) > ?5 OR (MIN(trace_began_s) = ?5 AND trace > ?6)
         ORDER BY began, trace LIMIT ?7",
        params![account.to_string(), region.to_string(), from_s, until_s, after_s, after.to_owned(), limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Removes up to `limit` segments kept before a time.
pub(crate) fn expire(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM trace_segments WHERE (account, region, trace, id) IN
            (SELECT account, region, trace, id FROM trace_segments WHERE kept_ms < ?1 LIMIT ?2)",
        params![before.0, limit],
    )
}

/// Segments of each account and region.
pub(crate) fn counts(tx: &mut Tx<'_>) -> Result<Vec<(String, String, i64)>, Error> {
    tx.query(
        "SELECT account, region, COUNT(*) FROM trace_segments GROUP BY account, region",
        params![],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Removes the oldest segments of an account and region.
pub(crate) fn shorten(tx: &mut Tx<'_>, account: &str, region: &str, rows: i64) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM trace_segments WHERE (account, region, trace, id) IN
            (SELECT account, region, trace, id FROM trace_segments WHERE account = ?1 AND region = ?2
             ORDER BY trace_began_s, trace LIMIT ?3)",
        params![account.to_owned(), region.to_owned(), rows],
    )
}
