//! The statements about packages, the code of functions and layers: who references them, and how large they are.

use super::{layers, parse};
use crate::Error;
use base::{CodeSha256, Timestamp};
use store::{Tx, params};

/// Notes that a package was uploaded or lost a reference.
pub(crate) fn touch_package(tx: &mut Tx<'_>, code: CodeSha256, now: Timestamp) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO package (code, touched_ms) VALUES (?1, ?2)
         ON CONFLICT (code) DO UPDATE SET touched_ms = excluded.touched_ms",
        params![code.to_string(), now.0],
    )?;
    Ok(())
}

/// Whether a package is known.
pub(crate) fn package_known(tx: &mut Tx<'_>, code: CodeSha256) -> Result<bool, Error> {
    let found = tx.query_opt("SELECT 1 FROM package WHERE code = ?1", params![code.to_string()], |row| {
        row.get::<i64>(0)
    })?;
    Ok(found.is_some())
}

/// Packages that any version or layer references, in order, after `after`.
pub(crate) fn referenced_codes(tx: &mut Tx<'_>, after: &str, limit: i64) -> Result<Vec<CodeSha256>, Error> {
    Ok(tx.query(
        "SELECT code FROM version WHERE code > ?1
         UNION SELECT serving_code FROM version WHERE serving_code > ?1
         UNION SELECT code FROM layer_version WHERE code > ?1
         UNION SELECT code FROM layer_use WHERE code > ?1
         ORDER BY 1 LIMIT ?2",
        params![after, limit],
        |row| parse("code", row, 0),
    )?)
}

/// Packages without a reference that were last touched before `before`.
pub(crate) fn unreferenced(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<Vec<CodeSha256>, Error> {
    Ok(tx.query(
        "SELECT code FROM package WHERE touched_ms < ?1
             AND NOT EXISTS (SELECT 1 FROM version WHERE version.code = package.code)
             AND NOT EXISTS (SELECT 1 FROM version WHERE version.serving_code = package.code)
             AND NOT EXISTS (SELECT 1 FROM layer_version WHERE layer_version.code = package.code)
             AND NOT EXISTS (SELECT 1 FROM layer_use WHERE layer_use.code = package.code)
         LIMIT ?2",
        params![before.0, limit],
        |row| parse("code", row, 0),
    )?)
}

/// Forgets a package if it is still without a reference and untouched; whether it was.
pub(crate) fn forget_package(tx: &mut Tx<'_>, code: CodeSha256, before: Timestamp) -> Result<bool, Error> {
    let deleted = tx.execute(
        "DELETE FROM package WHERE code = ?1 AND touched_ms < ?2
             AND NOT EXISTS (SELECT 1 FROM version WHERE version.code = package.code)
             AND NOT EXISTS (SELECT 1 FROM version WHERE version.serving_code = package.code)
             AND NOT EXISTS (SELECT 1 FROM layer_version WHERE layer_version.code = package.code)
             AND NOT EXISTS (SELECT 1 FROM layer_use WHERE layer_use.code = package.code)",
        params![code.to_string(), before.0],
    )?;
    Ok(deleted == 1)
}

/// Bytes of code of an account and region: each version of a function and of a layer counts.
pub(crate) fn code_bytes(tx: &mut Tx<'_>, account: &str, region: &str) -> Result<u64, Error> {
    let sum = tx.query_opt(
        "SELECT CAST(COALESCE(SUM(code_size), 0) AS INTEGER) FROM version WHERE account = ?1 AND region = ?2",
        params![account, region],
        |row| row.get::<i64>(0),
    )?;
    let functions = u64::try_from(sum.unwrap_or_default()).unwrap_or_default();
    Ok(functions.saturating_add(layers::layer_bytes(tx, account, region)?))
}
