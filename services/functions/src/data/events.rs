//! The statements about events: asynchronous invocations from their acceptance to their end.

use super::{function_id, json, number, parse, text, version};
use crate::{
    Error,
    model::{Event, FunctionId, Outcome},
};
use base::{RequestId, TenantId, Timestamp};
use store::{Tx, params};

/// Adds an accepted event, due at once.
pub(crate) fn insert_event(tx: &mut Tx<'_>, event: &Event) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO event (request_id, account, region, name, version, invoked_arn, payload, client_context, trace,
             accepted_ms, due_ms, failures, refusals, tenant)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, 0, 0, ?11)",
        params![
            event.request_id.to_string(),
            event.id.account.as_str(),
            event.id.region.as_str(),
            event.id.name.as_str(),
            number(event.version),
            event.invoked_arn.as_str(),
            event.payload.clone(),
            event.client_context.clone(),
            event.trace.clone(),
            event.accepted.0,
            event.tenant.as_ref().map(TenantId::as_str)
        ],
    )?;
    Ok(())
}

/// The earliest events of a function that are due.
pub(crate) fn due_events(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Event>, Error> {
    Ok(tx.query(
        "SELECT account, region, name, request_id, version, invoked_arn, payload, client_context, trace, accepted_ms,
             failures, refusals, tenant, outcome
         FROM event WHERE account = ?1 AND region = ?2 AND name = ?3 AND due_ms <= ?4 ORDER BY due_ms LIMIT ?5",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), now.0, limit],
        |row| {
            Ok(Event {
                id: function_id(row)?,
                request_id: parse::<RequestId>("request_id", row, 3)?,
                version: version(row.get(4)?),
                invoked_arn: row.get(5)?,
                payload: row.get::<Vec<u8>>(6)?.into(),
                client_context: row.get(7)?,
                trace: row.get(8)?,
                accepted: Timestamp(row.get(9)?),
                failures: row.get(10)?,
                refusals: row.get(11)?,
                tenant: row.get::<Option<String>>(12)?.and_then(|tenant| tenant.parse().ok()),
                outcome: match row.get::<Option<String>>(13)? {
                    None => None,
                    Some(_) => Some(json("outcome", row, 13)?),
                },
            })
        },
    )?)
}

/// When the earliest event of a function that nobody holds is due.
pub(crate) fn next_due(tx: &mut Tx<'_>, id: &FunctionId) -> Result<Option<Timestamp>, Error> {
    Ok(tx.query_opt(
        "SELECT due_ms FROM event WHERE account = ?1 AND region = ?2 AND name = ?3 AND holder IS NULL
         ORDER BY due_ms LIMIT 1",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        |row| row.get::<i64>(0).map(Timestamp),
    )?)
}

/// Leases an event to `holder` until `until`.
pub(crate) fn lease_event(
    tx: &mut Tx<'_>,
    event: RequestId,
    (node, holder): (&str, &str),
    until: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE event SET due_ms = ?2, node = ?3, holder = ?4 WHERE request_id = ?1",
        params![event.to_string(), until.0, node, holder],
    )?;
    Ok(())
}

/// Extends the leases of everything that `holder` holds.
pub(crate) fn renew_events(tx: &mut Tx<'_>, holder: &str, until: Timestamp) -> Result<(), Error> {
    tx.execute("UPDATE event SET due_ms = ?2 WHERE holder = ?1", params![holder, until.0])?;
    Ok(())
}

/// Voids the leases of this node's earlier lives: whoever held them is gone.
pub(crate) fn void_leases(tx: &mut Tx<'_>, node: &str, holder: &str, now: Timestamp) -> Result<u64, Error> {
    Ok(tx.execute(
        "UPDATE event SET due_ms = ?3, node = NULL, holder = NULL WHERE holder IS NOT NULL AND node = ?1 AND holder <> ?2",
        params![node, holder, now.0],
    )?)
}

/// Removes an event that `holder` has dealt with; false if the lease was lost.
pub(crate) fn delete_event(tx: &mut Tx<'_>, event: RequestId, holder: &str) -> Result<bool, Error> {
    let deleted = tx.execute(
        "DELETE FROM event WHERE request_id = ?1 AND holder = ?2",
        params![event.to_string(), holder],
    )?;
    Ok(deleted == 1)
}

/// Gives an event back, to be tried again at `due`; false if the lease was lost.
pub(crate) fn reschedule_event(
    tx: &mut Tx<'_>,
    event: RequestId,
    holder: &str,
    due: Timestamp,
    (failures, refusals): (u32, u32),
) -> Result<bool, Error> {
    let changed = tx.execute(
        "UPDATE event SET due_ms = ?3, failures = ?4, refusals = ?5, node = NULL, holder = NULL
         WHERE request_id = ?1 AND holder = ?2",
        params![event.to_string(), holder, due.0, failures, refusals],
    )?;
    Ok(changed == 1)
}

/// Notes what became of an event that `holder` holds, and with `due` gives it back until then; false if the lease was lost.
pub(crate) fn set_outcome(
    tx: &mut Tx<'_>,
    event: RequestId,
    holder: &str,
    outcome: &Outcome,
    due: Option<Timestamp>,
) -> Result<bool, Error> {
    let written = text("outcome", outcome)?;
    let changed = match due {
        None => tx.execute(
            "UPDATE event SET outcome = ?3 WHERE request_id = ?1 AND holder = ?2",
            params![event.to_string(), holder, written],
        )?,
        Some(due) => tx.execute(
            "UPDATE event SET outcome = ?3, due_ms = ?4, node = NULL, holder = NULL WHERE request_id = ?1 AND holder = ?2",
            params![event.to_string(), holder, written, due.0],
        )?,
    };
    Ok(changed == 1)
}

/// Functions with events that nobody holds (any more) and when their earliest is due, in order, after `after`.
pub(crate) fn functions_with_events(
    tx: &mut Tx<'_>,
    after: Option<&FunctionId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(FunctionId, Timestamp)>, Error> {
    let (account, region, name) =
        after.map_or(("", "", ""), |id| (id.account.as_str(), id.region.as_str(), id.name.as_str()));
    Ok(tx.query(
        "SELECT account, region, name, MIN(due_ms) FROM event
         WHERE (account, region, name) > (?1, ?2, ?3) AND (holder IS NULL OR due_ms <= ?4)
         GROUP BY account, region, name ORDER BY account, region, name LIMIT ?5",
        params![account, region, name, now.0, limit],
        |row| Ok((function_id(row)?, Timestamp(row.get(3)?))),
    )?)
}

/// Events of all functions.
pub(crate) fn count_events(tx: &mut Tx<'_>) -> Result<u64, Error> {
    let count = tx.query_opt("SELECT COUNT(*) FROM event", params![], |row| row.get::<i64>(0))?;
    Ok(u64::try_from(count.unwrap_or_default()).unwrap_or_default())
}

/// Removes the events of a function that is being deleted, and tells how many.
pub(crate) fn delete_events_of(tx: &mut Tx<'_>, id: &FunctionId) -> Result<u64, Error> {
    Ok(tx.execute(
        "DELETE FROM event WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?)
}
