//! All SQL of metrics, one function for each statement. Times are in seconds.

use super::{
    distribution::Distribution,
    model::{Aggregate, Dimensions, Point, Points, SeriesKey, Slot, Unit},
};
use base::{AccountId, Region, RequestId, Timestamp};
use std::collections::{HashMap, hash_map::Entry};
use store::{Error, Row, Tx, params};

/// The tables of metrics.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE metric_series (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, dimensions TEXT NOT NULL,
        last_s INTEGER NOT NULL,
        UNIQUE (account, region, namespace, name, dimensions)
    );
    CREATE INDEX metric_series_by_last ON metric_series (last_s);
    CREATE TABLE metric_points (
        series_id INTEGER NOT NULL, at_s INTEGER NOT NULL, period_s INTEGER NOT NULL, unit TEXT NOT NULL,
        samples REAL NOT NULL, total REAL NOT NULL, least REAL NOT NULL, greatest REAL NOT NULL, known BLOB,
        PRIMARY KEY (series_id, at_s, period_s, unit)
    );
    CREATE INDEX metric_points_by_age ON metric_points (period_s, at_s);
    CREATE TABLE metric_flushes (
        instance TEXT PRIMARY KEY, sequence INTEGER NOT NULL, flushed_ms INTEGER NOT NULL
    );
    ";

/// What [`SCHEMA`] holds, without the record of flushes.
pub(crate) const DELETE_ALL: [&str; 2] = ["DELETE FROM metric_points", "DELETE FROM metric_series"];

/// A series as listed.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) id: i64,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) dimensions: Dimensions,
}

/// Merges points into the stored ones. New series beyond `series_max` are left out: answers how many points were.
pub(crate) fn points_add(tx: &mut Tx<'_>, points: &Points, series_max: i64) -> Result<usize, Error> {
    let mut left_out = 0;
    // Counted once, and only where a series is new: counting takes longer the more there are.
    let mut counts: HashMap<(AccountId, &Region), i64> = HashMap::new();
    for (key, slots) in points {
        let Some(last) = slots.iter().map(|(slot, _)| slot.at).max() else { continue };
        let series = match series_find(tx, key)? {
            Some((id, known)) => {
                // Only whether a series was lately active is asked of it: a minute is near enough.
                if last >= known + 60 {
                    series_touch(tx, id, last)?;
                }
                id
            }
            None => {
                let count = match counts.entry((key.account, &key.region)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(series_count(tx, key.account, &key.region)?),
                };
                if *count >= series_max {
                    left_out += slots.len();
                    continue;
                }
                *count += 1;
                series_insert(tx, key, last)?
            }
        };
        for (slot, aggregate) in slots {
            point_add(tx, series, slot, aggregate)?;
        }
    }
    Ok(left_out)
}

/// Id and time of the last point.
pub(crate) fn series_find(tx: &mut Tx<'_>, key: &SeriesKey) -> Result<Option<(i64, i64)>, Error> {
    tx.query_opt(
        "SELECT id, last_s FROM metric_series
         WHERE account = ?1 AND region = ?2 AND namespace = ?3 AND name = ?4 AND dimensions = ?5",
        params![key.account.as_str(), key.region.as_str(), key.namespace, key.name, key.dimensions.text()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

fn series_insert(tx: &mut Tx<'_>, key: &SeriesKey, last: i64) -> Result<i64, Error> {
    let id = tx.query_opt(
        "INSERT INTO metric_series (account, region, namespace, name, dimensions, last_s)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        params![
            key.account.as_str(),
            key.region.as_str(),
            key.namespace,
            key.name,
            key.dimensions.text(),
            last
        ],
        |row| row.get(0),
    )?;
    id.ok_or_else(|| Error::decode("metric series", std::io::Error::other("row inserted and not found")))
}

fn series_touch(tx: &mut Tx<'_>, id: i64, last: i64) -> Result<(), Error> {
    tx.execute("UPDATE metric_series SET last_s = ?2 WHERE id = ?1", params![id, last])?;
    Ok(())
}

fn series_count(tx: &mut Tx<'_>, account: AccountId, region: &Region) -> Result<i64, Error> {
    let count = tx.query_opt(
        "SELECT COUNT(*) FROM metric_series WHERE account = ?1 AND region = ?2",
        params![account.as_str(), region.as_str()],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or_default())
}

/// Series after the id `after` with a point at or after `active_from`, ordered by id.
#[expect(clippy::too_many_arguments, reason = "the parameters of one statement")]
pub(crate) fn series_list(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    namespace: Option<&str>,
    name: Option<&str>,
    active_from: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Series>, Error> {
    tx.query(
        "SELECT id, namespace, name, dimensions FROM metric_series
         WHERE account = ?1 AND region = ?2 AND (?3 IS NULL OR namespace = ?3) AND (?4 IS NULL OR name = ?4)
             AND last_s >= ?5 AND id > ?6
         ORDER BY id LIMIT ?7",
        params![account.as_str(), region.as_str(), namespace, name, active_from, after, limit],
        |row| {
            Ok(Series {
                id: row.get(0)?,
                namespace: row.get(1)?,
                name: row.get(2)?,
                dimensions: Dimensions::parse(&row.get::<String>(3)?).ok_or_else(|| broken("dimensions"))?,
            })
        },
    )
}

/// Removes up to `limit` series without a point since `before`; answers how many.
pub(crate) fn series_expire(tx: &mut Tx<'_>, before: i64, limit: i64) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM metric_series WHERE id IN (
             SELECT id FROM metric_series WHERE last_s < ?1
                 AND NOT EXISTS (SELECT 1 FROM metric_points WHERE series_id = metric_series.id) LIMIT ?2)",
        params![before, limit],
    )
}

fn point_add(tx: &mut Tx<'_>, series: i64, slot: &Slot, aggregate: &Aggregate) -> Result<(), Error> {
    let stored = tx.query_opt(
        "SELECT samples, total, least, greatest, known FROM metric_points
         WHERE series_id = ?1 AND at_s = ?2 AND period_s = ?3 AND unit = ?4",
        params![series, slot.at, slot.period, slot.unit.as_str()],
        |row| self::aggregate(row, 0),
    )?;
    let merged = match stored {
        None => aggregate.clone(),
        Some(mut stored) => {
            stored.merge(aggregate);
            stored
        }
    };
    let known = merged.values.as_ref().map(Distribution::encode);
    tx.execute(
        "INSERT INTO metric_points (series_id, at_s, period_s, unit, samples, total, least, greatest, known)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (series_id, at_s, period_s, unit) DO UPDATE SET samples = excluded.samples, total = excluded.total,
             least = excluded.least, greatest = excluded.greatest, known = excluded.known",
        params![
            series,
            slot.at,
            slot.period,
            slot.unit.as_str(),
            merged.count,
            merged.sum,
            merged.min,
            merged.max,
            known
        ],
    )?;
    Ok(())
}

/// Columns `samples, total, least, greatest, known` from `first` on.
fn aggregate(row: &Row<'_>, first: usize) -> Result<Aggregate, Error> {
    let values = match row.get::<Option<Vec<u8>>>(first + 4)? {
        None => None,
        Some(bytes) => Some(Distribution::decode(&bytes).ok_or_else(|| broken("distribution"))?),
    };
    Ok(Aggregate {
        count: row.get(first)?,
        sum: row.get(first + 1)?,
        min: row.get(first + 2)?,
        max: row.get(first + 3)?,
        values,
    })
}

fn slot(row: &Row<'_>, first: usize) -> Result<Slot, Error> {
    let unit = Unit::parse(&row.get::<String>(first + 2)?).ok_or_else(|| broken("unit"))?;
    Ok(Slot { at: row.get(first)?, period: row.get(first + 1)?, unit })
}

fn broken(what: &'static str) -> Error {
    Error::decode(what, std::io::Error::other("stored in another form"))
}

/// Shows the points of a series from `from` (included) to `until` (excluded) whose period is at most `period`, in order of time.
/// Without `values`, percentiles cannot be computed from them.
pub(crate) fn points_each(
    tx: &mut Tx<'_>,
    series: i64,
    (from, until): (i64, i64),
    period: i64,
    values: bool,
    mut each: impl FnMut(Point),
) -> Result<(), Error> {
    let sql = match values {
        true => {
            "SELECT at_s, period_s, unit, samples, total, least, greatest, known FROM metric_points
             WHERE series_id = ?1 AND at_s >= ?2 AND at_s < ?3 AND period_s <= ?4 ORDER BY at_s"
        }
        false => {
            "SELECT at_s, period_s, unit, samples, total, least, greatest, CAST(NULL AS BLOB) FROM metric_points
             WHERE series_id = ?1 AND at_s >= ?2 AND at_s < ?3 AND period_s <= ?4 ORDER BY at_s"
        }
    };
    tx.query(sql, params![series, from, until, period], |row| {
        each(Point { slot: slot(row, 0)?, aggregate: aggregate(row, 3)? });
        Ok(())
    })?;
    Ok(())
}

/// Up to `limit` points of `period` before `before`, the oldest first, with their series.
pub(crate) fn points_aged(
    tx: &mut Tx<'_>,
    period: i64,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, Point)>, Error> {
    tx.query(
        "SELECT series_id, at_s, period_s, unit, samples, total, least, greatest, known FROM metric_points
         WHERE period_s = ?1 AND at_s < ?2 ORDER BY at_s LIMIT ?3",
        params![period, before, limit],
        |row| Ok((row.get(0)?, Point { slot: slot(row, 1)?, aggregate: aggregate(row, 4)? })),
    )
}

/// Puts points into the place of coarser ones.
pub(crate) fn point_move(tx: &mut Tx<'_>, series: i64, point: &Point, into: &Slot) -> Result<(), Error> {
    point_add(tx, series, into, &point.aggregate)?;
    point_delete(tx, series, &point.slot)
}

pub(crate) fn point_delete(tx: &mut Tx<'_>, series: i64, slot: &Slot) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM metric_points WHERE series_id = ?1 AND at_s = ?2 AND period_s = ?3 AND unit = ?4",
        params![series, slot.at, slot.period, slot.unit.as_str()],
    )?;
    Ok(())
}

/// Notes a batch of a node's run; whether it is new.
pub(crate) fn flush_note(
    tx: &mut Tx<'_>,
    instance: RequestId,
    sequence: i64,
    now: Timestamp,
) -> Result<bool, Error> {
    let noted = tx.execute(
        "INSERT INTO metric_flushes (instance, sequence, flushed_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (instance) DO UPDATE SET sequence = excluded.sequence, flushed_ms = excluded.flushed_ms
         WHERE metric_flushes.sequence < excluded.sequence",
        params![instance.to_string(), sequence, now],
    )?;
    Ok(noted == 1)
}

/// Forgets runs that have not flushed since `before`: their batches cannot come again.
pub(crate) fn flushes_forget(tx: &mut Tx<'_>, own: RequestId, before: Timestamp) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM metric_flushes WHERE flushed_ms < ?1 AND instance <> ?2",
        params![before, own.to_string()],
    )
}
