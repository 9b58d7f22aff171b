//! All SQL of alarms, one function for each statement.

use super::evaluation::State;
use crate::cloudwatch::logic::Place;
use base::{RequestId, Timestamp};
use store::{Error, Row, Tx, params};

/// The tables of alarms.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE alarms (
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,
        definition TEXT NOT NULL, actions_enabled INTEGER NOT NULL, every_s INTEGER NOT NULL, revision INTEGER NOT NULL,
        configured_ms INTEGER NOT NULL,
        state TEXT NOT NULL, reason TEXT NOT NULL, reason_data TEXT, updated_ms INTEGER NOT NULL, transitioned_ms INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    );
    CREATE TABLE alarm_tags (
        account TEXT NOT NULL, region TEXT NOT NULL, alarm TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (account, region, alarm, name)
    );
    CREATE TABLE alarm_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
        summary TEXT NOT NULL, data TEXT NOT NULL
    );
    CREATE INDEX alarm_history_by_time ON alarm_history (account, region, at_ms, id);
    CREATE INDEX alarm_history_by_age ON alarm_history (at_ms);
    CREATE TABLE alarm_actions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, action TEXT NOT NULL, request_id TEXT NOT NULL,
        payload TEXT NOT NULL, created_ms INTEGER NOT NULL
    );
    ";

pub(crate) const DELETE_ALL: [&str; 4] = [
    "DELETE FROM alarms",
    "DELETE FROM alarm_tags",
    "DELETE FROM alarm_history",
    "DELETE FROM alarm_actions",
];

/// An alarm as stored.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    pub(crate) place: Place,
    pub(crate) name: String,
    /// JSON of [`crate::api::alarms::MetricAlarm`].
    pub(crate) definition: String,
    pub(crate) actions_enabled: bool,
    /// Grows with each change of the definition or the state: who changes the state names the revision that it saw.
    pub(crate) revision: i64,
    pub(crate) configured: Timestamp,
    pub(crate) state: State,
    pub(crate) reason: String,
    pub(crate) reason_data: Option<String>,
    pub(crate) updated: Timestamp,
    pub(crate) transitioned: Timestamp,
}

/// A state to be set.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) state: State,
    pub(crate) reason: String,
    pub(crate) reason_data: Option<String>,
}

/// An action that waits to be done.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) id: i64,
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) action: String,
    pub(crate) request_id: RequestId,
    pub(crate) payload: String,
    pub(crate) created: Timestamp,
}

/// A line of history.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) at: Timestamp,
    pub(crate) kind: String,
    pub(crate) summary: String,
    pub(crate) data: String,
}

fn text<T>(row: &Row<'_>, index: usize, what: &'static str) -> Result<T, Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<String>(index)?.parse().map_err(|error| Error::decode(what, error))
}

/// Account and region from a column on.
fn place(row: &Row<'_>, first: usize) -> Result<Place, Error> {
    Ok(Place { account: text(row, first, "account")?, region: text(row, first + 1, "region")? })
}

fn alarm(row: &Row<'_>) -> Result<Alarm, Error> {
    let state = State::parse(&row.get::<String>(7)?)
        .ok_or_else(|| Error::decode("alarm state", std::io::Error::other("stored in another form")))?;
    Ok(Alarm {
        place: place(row, 0)?,
        name: row.get(2)?,
        definition: row.get(3)?,
        actions_enabled: row.get(4)?,
        revision: row.get(5)?,
        configured: row.get(6)?,
        state,
        reason: row.get(8)?,
        reason_data: row.get(9)?,
        updated: row.get(10)?,
        transitioned: row.get(11)?,
    })
}

pub(crate) fn find(tx: &mut Tx<'_>, place: &Place, name: &str) -> Result<Option<Alarm>, Error> {
    tx.query_opt(
        "SELECT account, region, name, definition, actions_enabled, revision, configured_ms, state, reason, reason_data,
             updated_ms, transitioned_ms
         FROM alarms WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![place.account.as_str(), place.region.as_str(), name],
        alarm,
    )
}

/// Alarms after the name `after`, ordered by name.
pub(crate) fn list(tx: &mut Tx<'_>, place: &Place, after: &str, limit: i64) -> Result<Vec<Alarm>, Error> {
    tx.query(
        "SELECT account, region, name, definition, actions_enabled, revision, configured_ms, state, reason, reason_data,
             updated_ms, transitioned_ms
         FROM alarms WHERE account = ?1 AND region = ?2 AND name > ?3 ORDER BY name LIMIT ?4",
        params![place.account.as_str(), place.region.as_str(), after, limit],
        alarm,
    )
}

/// Alarms of all accounts that are to be evaluated at least every `every_s` seconds, after one in the order of the primary key.
pub(crate) fn due(
    tx: &mut Tx<'_>,
    every_s: i64,
    after: (&str, &str, &str),
    limit: i64,
) -> Result<Vec<Alarm>, Error> {
    tx.query(
        "SELECT account, region, name, definition, actions_enabled, revision, configured_ms, state, reason, reason_data,
             updated_ms, transitioned_ms
         FROM alarms WHERE every_s <= ?1 AND (account, region, name) > (?2, ?3, ?4)
         ORDER BY account, region, name LIMIT ?5",
        params![every_s, after.0, after.1, after.2, limit],
        alarm,
    )
}

pub(crate) fn count(tx: &mut Tx<'_>, place: &Place) -> Result<i64, Error> {
    let count = tx.query_opt(
        "SELECT COUNT(*) FROM alarms WHERE account = ?1 AND region = ?2",
        params![place.account.as_str(), place.region.as_str()],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or_default())
}

/// Adds an alarm without data yet.
#[expect(clippy::too_many_arguments, reason = "the parameters of one statement")]
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    place: &Place,
    name: &str,
    definition: &str,
    enabled: bool,
    every_s: i64,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO alarms (account, region, name, definition, actions_enabled, every_s, revision, configured_ms, state, reason,
             updated_ms, transitioned_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?7, ?7)",
        params![
            place.account.as_str(),
            place.region.as_str(),
            name,
            definition,
            enabled,
            every_s,
            now,
            State::Insufficient.as_str(),
            reason
        ],
    )?;
    Ok(())
}

/// Changes what an alarm is; its state stays.
pub(crate) fn redefine(
    tx: &mut Tx<'_>,
    place: &Place,
    name: &str,
    definition: &str,
    enabled: bool,
    every_s: i64,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE alarms SET definition = ?4, actions_enabled = ?5, every_s = ?6, configured_ms = ?7, revision = revision + 1
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![place.account.as_str(), place.region.as_str(), name, definition, enabled, every_s, now],
    )?;
    Ok(())
}

/// Whether there was one whose actions were not so.
pub(crate) fn enable(
    tx: &mut Tx<'_>,
    place: &Place,
    name: &str,
    enabled: bool,
    now: Timestamp,
) -> Result<bool, Error> {
    let changed = tx.execute(
        "UPDATE alarms SET actions_enabled = ?4, configured_ms = ?5, revision = revision + 1
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND actions_enabled <> ?4",
        params![place.account.as_str(), place.region.as_str(), name, enabled, now],
    )?;
    Ok(changed == 1)
}

/// Whether there was one.
pub(crate) fn delete(tx: &mut Tx<'_>, place: &Place, name: &str) -> Result<bool, Error> {
    let deleted = tx.execute(
        "DELETE FROM alarms WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![place.account.as_str(), place.region.as_str(), name],
    )?;
    tx.execute(
        "DELETE FROM alarm_tags WHERE account = ?1 AND region = ?2 AND alarm = ?3",
        params![place.account.as_str(), place.region.as_str(), name],
    )?;
    Ok(deleted == 1)
}

/// Names and values of an alarm's tags, by name.
pub(crate) fn tags(tx: &mut Tx<'_>, place: &Place, alarm: &str) -> Result<Vec<(String, String)>, Error> {
    tx.query(
        "SELECT name, value FROM alarm_tags WHERE account = ?1 AND region = ?2 AND alarm = ?3 ORDER BY name",
        params![place.account.as_str(), place.region.as_str(), alarm],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

pub(crate) fn tag_set(
    tx: &mut Tx<'_>,
    place: &Place,
    alarm: &str,
    name: &str,
    value: &str,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO alarm_tags (account, region, alarm, name, value) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, region, alarm, name) DO UPDATE SET value = excluded.value",
        params![place.account.as_str(), place.region.as_str(), alarm, name, value],
    )?;
    Ok(())
}

pub(crate) fn tag_delete(tx: &mut Tx<'_>, place: &Place, alarm: &str, name: &str) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM alarm_tags WHERE account = ?1 AND region = ?2 AND alarm = ?3 AND name = ?4",
        params![place.account.as_str(), place.region.as_str(), alarm, name],
    )?;
    Ok(())
}

/// Sets the state of an alarm unless it has changed since `seen` was read; whether it did.
pub(crate) fn change(tx: &mut Tx<'_>, seen: &Alarm, change: &Change, now: Timestamp) -> Result<bool, Error> {
    let transitioned = if change.state == seen.state { seen.transitioned } else { now };
    let changed = tx.execute(
        "UPDATE alarms SET state = ?5, reason = ?6, reason_data = ?7, updated_ms = ?8, transitioned_ms = ?9,
             revision = revision + 1
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND revision = ?4",
        params![
            seen.place.account.as_str(),
            seen.place.region.as_str(),
            seen.name,
            seen.revision,
            change.state.as_str(),
            change.reason,
            change.reason_data,
            now,
            transitioned
        ],
    )?;
    Ok(changed == 1)
}

pub(crate) fn history_add(
    tx: &mut Tx<'_>,
    place: &Place,
    name: &str,
    kind: &str,
    summary: &str,
    data: &str,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO alarm_history (account, region, name, at_ms, kind, summary, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![place.account.as_str(), place.region.as_str(), name, now, kind, summary, data],
    )?;
    Ok(())
}

/// What history is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<String>,
    /// Included.
    pub(crate) from: i64,
    /// Not included.
    pub(crate) until: i64,
    pub(crate) ascending: bool,
}

/// History beyond a time and id in its direction.
pub(crate) fn history(
    tx: &mut Tx<'_>,
    place: &Place,
    wanted: &Wanted,
    beyond: (i64, i64),
    limit: i64,
) -> Result<Vec<History>, Error> {
    let sql = match wanted.ascending {
        true => {
            "SELECT id, name, at_ms, kind, summary, data FROM alarm_history
             WHERE account = ?1 AND region = ?2 AND at_ms >= ?3 AND at_ms < ?4 AND (at_ms, id) > (?5, ?6)
                 AND (?7 IS NULL OR name = ?7) AND (?8 IS NULL OR kind = ?8)
             ORDER BY at_ms, id LIMIT ?9"
        }
        false => {
            "SELECT id, name, at_ms, kind, summary, data FROM alarm_history
             WHERE account = ?1 AND region = ?2 AND at_ms >= ?3 AND at_ms < ?4 AND (at_ms, id) < (?5, ?6)
                 AND (?7 IS NULL OR name = ?7) AND (?8 IS NULL OR kind = ?8)
             ORDER BY at_ms DESC, id DESC LIMIT ?9"
        }
    };
    tx.query(
        sql,
        params![
            place.account.as_str(),
            place.region.as_str(),
            wanted.from,
            wanted.until,
            beyond.0,
            beyond.1,
            wanted.name,
            wanted.kind,
            limit
        ],
        |row| {
            Ok(History {
                id: row.get(0)?,
                name: row.get(1)?,
                at: row.get(2)?,
                kind: row.get(3)?,
                summary: row.get(4)?,
                data: row.get(5)?,
            })
        },
    )
}

pub(crate) fn history_expire(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM alarm_history WHERE id IN (SELECT id FROM alarm_history WHERE at_ms < ?1 LIMIT ?2)",
        params![before, limit],
    )
}

pub(crate) fn action_add(
    tx: &mut Tx<'_>,
    alarm: &Alarm,
    action: &str,
    request_id: RequestId,
    payload: &str,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO alarm_actions (account, region, name, action, request_id, payload, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            alarm.place.account.as_str(),
            alarm.place.region.as_str(),
            alarm.name,
            action,
            request_id.to_string(),
            payload,
            now
        ],
    )?;
    Ok(())
}

/// Actions that wait, after the id `after`.
pub(crate) fn actions(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<Action>, Error> {
    tx.query(
        "SELECT id, account, region, name, action, request_id, payload, created_ms FROM alarm_actions
         WHERE id > ?1 ORDER BY id LIMIT ?2",
        params![after, limit],
        |row| {
            Ok(Action {
                id: row.get(0)?,
                place: place(row, 1)?,
                name: row.get(3)?,
                action: row.get(4)?,
                request_id: text(row, 5, "request id")?,
                payload: row.get(6)?,
                created: row.get(7)?,
            })
        },
    )
}

/// Whether it was still there.
pub(crate) fn action_delete(tx: &mut Tx<'_>, id: i64) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM alarm_actions WHERE id = ?1", params![id])? == 1)
}
