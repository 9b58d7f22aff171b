//! Leases with fencing tokens: who may work on something until when.
//!
//! A lease is a row; taking, keeping and giving it back happens inside a closure, so that it can go together with the
//! work that it protects. Every change of holder raises the token. A holder that was stalled beyond its lease learns of it
//! by [`check`] in the transaction with which it wants to write, and what it hands to others carries the token, so that
//! they can refuse an older one than they have seen.
//! Time is the caller's: the nodes' clocks must agree to within a small part of a lease's duration.

use base::{Millis, Timestamp};

use crate::{Error, Tx, params};

pub(crate) const SCHEMA: &str = "CREATE TABLE neap_leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, expires_ms INTEGER NOT NULL
)";

/// A number that grows with every change of holder of one lease and is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub i64);

/// A lease in somebody's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub name: String,
    /// Who holds it, e.g. a node's id.
    pub holder: String,
    /// The fencing token.
    pub token: Token,
    /// The first instant at which it is no longer held.
    pub expires: Timestamp,
}

/// Takes the lease `name` for `ttl` if nobody holds it at `now`; else `None`.
/// A holder's own unexpired lease is refused too: after a restart the earlier run's work may still be under way.
///
/// # Errors
/// Those of the statements.
pub fn acquire(
    tx: &mut Tx<'_>,
    name: &str,
    holder: &str,
    now: Timestamp,
    ttl: Millis,
) -> Result<Option<Lease>, Error> {
    let expires = after(now, ttl);
    let token = tx.query_opt(
        "INSERT INTO neap_leases (name, holder, token, expires_ms) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = neap_leases.token + 1, expires_ms = excluded.expires_ms
         WHERE neap_leases.expires_ms <= ?4
         RETURNING token",
        params![name, holder, expires, now],
        |row| row.get(0),
    )?;
    Ok(token.map(|token| Lease {
        name: name.to_owned(),
        holder: holder.to_owned(),
        token: Token(token),
        expires,
    }))
}

/// Extends a lease that is still held at `now` to `now + ttl`.
///
/// # Errors
/// [`Error::LeaseLost`] when it has expired or another holds it; those of the statement.
pub fn renew(tx: &mut Tx<'_>, lease: &Lease, now: Timestamp, ttl: Millis) -> Result<Lease, Error> {
    let expires = after(now, ttl);
    let changed = tx.execute(
        "UPDATE neap_leases SET expires_ms = ?1 WHERE name = ?2 AND token = ?3 AND expires_ms > ?4",
        params![expires, lease.name, lease.token.0, now],
    )?;
    if changed == 0 { Err(lost(lease)) } else { Ok(Lease { expires, ..lease.clone() }) }
}

/// Gives a lease back, so that anybody can take it at once. Giving back what is no longer held changes nothing.
///
/// # Errors
/// Those of the statement.
pub fn release(tx: &mut Tx<'_>, lease: &Lease) -> Result<(), Error> {
    // The row stays: its token must never be used twice.
    tx.execute(
        "UPDATE neap_leases SET expires_ms = 0 WHERE name = ?1 AND token = ?2",
        params![lease.name, lease.token.0],
    )?;
    Ok(())
}

/// Makes the transaction depend on the lease: it can only commit while `lease` is held.
///
/// # Errors
/// [`Error::LeaseLost`] when it has expired at `now` or another holds it; those of the statement.
pub fn check(tx: &mut Tx<'_>, lease: &Lease, now: Timestamp) -> Result<(), Error> {
    let held = tx.query_opt(
        "SELECT 1 FROM neap_leases WHERE name = ?1 AND token = ?2 AND expires_ms > ?3",
        params![lease.name, lease.token.0, now],
        |_| Ok(()),
    )?;
    held.ok_or_else(|| lost(lease))
}

fn lost(lease: &Lease) -> Error {
    Error::LeaseLost { name: lease.name.clone() }
}

fn after(now: Timestamp, ttl: Millis) -> Timestamp {
    now.plus_ms(i64::try_from(ttl.0).unwrap_or(i64::MAX))
}
