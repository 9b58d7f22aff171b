//! What is set for a function, a version or an alias beside its code and configuration: one document of each kind.

use super::{changes::note_change, function_id, json, text};
use crate::{Error, logic::provisioned::ProvisionedConcurrency, model::FunctionId};
use base::{AccountId, Region};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use store::{Tx, params};

/// A kind of document. The qualifier is a word: a number, an alias, or `$LATEST` for the function itself.
pub(crate) trait QualifierConfig: Serialize + DeserializeOwned {
    /// Its name in the table.
    const KIND: &'static str;

    /// What it is found by besides its place; no two of all accounts have the same.
    fn key(&self) -> Option<&str> {
        None
    }
}

/// That of one qualifier.
pub(crate) fn config<T: QualifierConfig>(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    qualifier: &str,
) -> Result<Option<T>, Error> {
    Ok(tx.query_opt(
        "SELECT document FROM qualifier_config
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND kind = ?4 AND qualifier = ?5",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), T::KIND, qualifier],
        |row| json(T::KIND, row, 0),
    )?)
}

/// Those of a function after that of one qualifier, in order.
pub(crate) fn list_configs<T: QualifierConfig>(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    after: &str,
    count: i64,
) -> Result<Vec<(String, T)>, Error> {
    Ok(tx.query(
        "SELECT qualifier, document FROM qualifier_config
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND kind = ?4 AND qualifier > ?5
         ORDER BY qualifier LIMIT ?6",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), T::KIND, after, count],
        |row| Ok((row.get(0)?, json(T::KIND, row, 1)?)),
    )?)
}

/// The one with this key, whosoever it is.
pub(crate) fn config_by_key<T: QualifierConfig>(
    tx: &mut Tx<'_>,
    key: &str,
) -> Result<Option<(FunctionId, String, T)>, Error> {
    Ok(tx.query_opt(
        "SELECT account, region, name, qualifier, document FROM qualifier_config WHERE kind = ?1 AND key = ?2",
        params![T::KIND, key],
        |row| Ok((function_id(row)?, row.get(3)?, json(T::KIND, row, 4)?)),
    )?)
}

/// Every one of this kind.
pub(crate) fn all_configs<T: QualifierConfig>(
    tx: &mut Tx<'_>,
) -> Result<Vec<(FunctionId, String, T)>, Error> {
    Ok(tx.query(
        "SELECT account, region, name, qualifier, document FROM qualifier_config WHERE kind = ?1",
        params![T::KIND],
        |row| Ok((function_id(row)?, row.get(3)?, json(T::KIND, row, 4)?)),
    )?)
}

/// Adds one or writes it anew.
pub(crate) fn put_config<T: QualifierConfig>(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    qualifier: &str,
    config: &T,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO qualifier_config (account, region, name, kind, qualifier, document, key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (account, region, name, kind, qualifier) DO UPDATE SET document = excluded.document,
             key = excluded.key",
        params![
            id.account.as_str(),
            id.region.as_str(),
            id.name.as_str(),
            T::KIND,
            qualifier,
            text(T::KIND, config)?,
            config.key()
        ],
    )?;
    note_change(tx, id)
}

/// Removes one; false if it was not there.
pub(crate) fn delete_config<T: QualifierConfig>(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    qualifier: &str,
) -> Result<bool, Error> {
    let deleted = tx.execute(
        "DELETE FROM qualifier_config
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND kind = ?4 AND qualifier = ?5",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), T::KIND, qualifier],
    )?;
    if deleted > 0 {
        note_change(tx, id)?;
    }
    Ok(deleted > 0)
}

/// Removes all kinds: those of one qualifier, or of the whole function.
pub(crate) fn delete_configs_of(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    qualifier: Option<&str>,
) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM qualifier_config
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = COALESCE(?4, qualifier)",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), qualifier],
    )?;
    note_change(tx, id)
}

/// Concurrency that the functions of each account and region have for themselves: reserved, or else provisioned.
pub(crate) fn own_concurrency_by_account(
    tx: &mut Tx<'_>,
) -> Result<BTreeMap<(AccountId, Region), u32>, Error> {
    let mut sums = super::functions::reservations(tx)?;
    for (id, _, config) in all_configs::<ProvisionedConcurrency>(tx)? {
        let reserved = super::function(tx, &id)?.and_then(|function| function.reserved_concurrency);
        if reserved.is_none() {
            let sum = sums.entry((id.account, id.region)).or_default();
            *sum = sum.saturating_add(config.requested);
        }
    }
    Ok(sums)
}

/// That of one account and region.
pub(crate) fn own_concurrency(tx: &mut Tx<'_>, account: AccountId, region: &Region) -> Result<u64, Error> {
    let sums = own_concurrency_by_account(tx)?;
    Ok(sums.get(&(account, region.clone())).copied().unwrap_or_default().into())
}
