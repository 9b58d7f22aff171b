//! All SQL of the service.

use crate::{
    Error,
    model::{Action, Activity, Policy, Target},
};
use base::{AccountId, Region, Scaled, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use store::{Migration, Row, Tx, params};

/// The schema.
pub static MIGRATIONS: &[Migration] = &[Migration::portable(
    1,
    "targets, actions, policies, activities",
    // name and qualifier: of the function; unsettled: its capacity may be outside of its bounds
    "CREATE TABLE target (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        id TEXT NOT NULL,
        bounds TEXT NOT NULL,
        tags TEXT NOT NULL,
        unsettled INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL,
        PRIMARY KEY (account, region, name, qualifier)
    );
    CREATE UNIQUE INDEX target_id ON target (id);
    CREATE TABLE action (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        item TEXT NOT NULL,
        document TEXT NOT NULL,
        next_ms INTEGER,
        PRIMARY KEY (account, region, name, qualifier, item)
    );
    CREATE INDEX action_next ON action (next_ms) WHERE next_ms IS NOT NULL;
    CREATE TABLE policy (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        item TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (account, region, name, qualifier, item)
    );
    CREATE TABLE activity (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        document TEXT NOT NULL
    );
    CREATE INDEX activity_of ON activity (account, region, seq);
    CREATE INDEX activity_started ON activity (started_ms);",
)];

/// A place in a list: function, qualifier, name of an action or a policy.
pub(crate) type Place = (String, String, String);

fn parse<T: std::str::FromStr>(what: &'static str, row: &Row<'_>, index: usize) -> Result<T, store::Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<String>(index)?.parse().map_err(|error| store::Error::decode(what, error))
}

fn json<T: DeserializeOwned>(what: &'static str, row: &Row<'_>, index: usize) -> Result<T, store::Error> {
    serde_json::from_str(&row.get::<String>(index)?).map_err(|error| store::Error::decode(what, error))
}

pub(crate) fn text(what: &'static str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::Corrupt(what))
}

fn scaled(row: &Row<'_>) -> Result<Scaled, store::Error> {
    Ok(Scaled {
        account: parse("account", row, 0)?,
        region: parse("region", row, 1)?,
        name: parse("name", row, 2)?,
        qualifier: row.get(3)?,
    })
}

const TARGET: &str = "account, region, name, qualifier, id, bounds, tags, unsettled, changed_ms";

fn target_row(row: &Row<'_>) -> Result<Target, store::Error> {
    Ok(Target {
        of: scaled(row)?,
        id: row.get(4)?,
        bounds: json("bounds", row, 5)?,
        tags: json("tags", row, 6)?,
        unsettled: row.get::<i64>(7)? != 0,
        changed: Timestamp(row.get(8)?),
    })
}

pub(crate) fn target(tx: &mut Tx<'_>, of: &Scaled) -> Result<Option<Target>, Error> {
    Ok(tx.query_opt(
        &format!(
            "SELECT {TARGET} FROM target WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = ?4"
        ),
        params![of.account.as_str(), of.region.as_str(), of.name.as_str(), of.qualifier.as_str()],
        target_row,
    )?)
}

pub(crate) fn target_by_id(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    id: &str,
) -> Result<Option<Target>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {TARGET} FROM target WHERE account = ?1 AND region = ?2 AND id = ?3"),
        params![account.as_str(), region.as_str(), id],
        target_row,
    )?)
}

/// Adds a target or writes it anew.
pub(crate) fn put_target(tx: &mut Tx<'_>, target: &Target) -> Result<(), Error> {
    let of = &target.of;
    tx.execute(
        "INSERT INTO target (account, region, name, qualifier, id, bounds, tags, unsettled, changed_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (account, region, name, qualifier) DO UPDATE SET bounds = excluded.bounds, tags = excluded.tags,
             unsettled = excluded.unsettled, changed_ms = excluded.changed_ms",
        params![
            of.account.as_str(),
            of.region.as_str(),
            of.name.as_str(),
            of.qualifier.as_str(),
            target.id.as_str(),
            text("bounds", &target.bounds)?,
            text("tags", &target.tags)?,
            target.unsettled,
            target.changed.0
        ],
    )?;
    Ok(())
}

/// Targets of an account and region after a place, in order.
pub(crate) fn targets(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    after: &Place,
    limit: i64,
) -> Result<Vec<Target>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {TARGET} FROM target WHERE account = ?1 AND region = ?2 AND (name, qualifier) > (?3, ?4)
             ORDER BY name, qualifier LIMIT ?5"
        ),
        params![account.as_str(), region.as_str(), after.0.as_str(), after.1.as_str(), limit],
        target_row,
    )?)
}

pub(crate) fn count_targets(tx: &mut Tx<'_>, account: AccountId, region: &Region) -> Result<i64, Error> {
    let count = tx.query_opt(
        "SELECT COUNT(*) FROM target WHERE account = ?1 AND region = ?2",
        params![account.as_str(), region.as_str()],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or_default())
}

/// Targets whose capacity may be outside of their bounds.
pub(crate) fn unsettled(tx: &mut Tx<'_>) -> Result<Vec<Target>, Error> {
    Ok(tx.query(&format!("SELECT {TARGET} FROM target WHERE unsettled = 1"), params![], target_row)?)
}

/// Removes a target with its actions and policies; false if there was none.
pub(crate) fn delete_target(tx: &mut Tx<'_>, of: &Scaled) -> Result<bool, Error> {
    let mut deleted = 0;
    for table in ["policy", "action", "target"] {
        deleted = tx.execute(
            &format!(
                "DELETE FROM {table} WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = ?4"
            ),
            params![of.account.as_str(), of.region.as_str(), of.name.as_str(), of.qualifier.as_str()],
        )?;
    }
    Ok(deleted == 1)
}

const ITEM: &str = "account, region, name, qualifier, item, document";

fn action_row(row: &Row<'_>) -> Result<Action, store::Error> {
    let next: Option<i64> = row.get(6)?;
    Ok(Action {
        of: scaled(row)?,
        name: row.get(4)?,
        plan: json("action", row, 5)?,
        next: next.map(Timestamp),
    })
}

pub(crate) fn action(tx: &mut Tx<'_>, of: &Scaled, name: &str) -> Result<Option<Action>, Error> {
    Ok(tx.query_opt(
        &format!(
            "SELECT {ITEM}, next_ms FROM action
             WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = ?4 AND item = ?5"
        ),
        params![of.account.as_str(), of.region.as_str(), of.name.as_str(), of.qualifier.as_str(), name],
        action_row,
    )?)
}

/// Adds an action or writes it anew.
pub(crate) fn put_action(tx: &mut Tx<'_>, action: &Action) -> Result<(), Error> {
    let of = &action.of;
    tx.execute(
        "INSERT INTO action (account, region, name, qualifier, item, document, next_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (account, region, name, qualifier, item)
         DO UPDATE SET document = excluded.document, next_ms = excluded.next_ms",
        params![
            of.account.as_str(),
            of.region.as_str(),
            of.name.as_str(),
            of.qualifier.as_str(),
            action.name.as_str(),
            text("action", &action.plan)?,
            action.next.map(|at| at.0)
        ],
    )?;
    Ok(())
}

/// Actions of an account and region after a place, in order.
pub(crate) fn actions(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    after: &Place,
    limit: i64,
) -> Result<Vec<Action>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {ITEM}, next_ms FROM action
             WHERE account = ?1 AND region = ?2 AND (name, qualifier, item) > (?3, ?4, ?5)
             ORDER BY name, qualifier, item LIMIT ?6"
        ),
        params![
            account.as_str(),
            region.as_str(),
            after.0.as_str(),
            after.1.as_str(),
            after.2.as_str(),
            limit
        ],
        action_row,
    )?)
}

/// Actions of an account that are to come, the next ones first.
pub(crate) fn coming(tx: &mut Tx<'_>, account: AccountId, limit: i64) -> Result<Vec<Action>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {ITEM}, next_ms FROM action WHERE account = ?1 AND next_ms IS NOT NULL ORDER BY next_ms LIMIT ?2"
        ),
        params![account.as_str(), limit],
        action_row,
    )?)
}

/// The action that is to run first of all.
pub(crate) fn next_action(tx: &mut Tx<'_>) -> Result<Option<Action>, Error> {
    Ok(tx.query_opt(
        &format!(
            "SELECT {ITEM}, next_ms FROM action WHERE next_ms IS NOT NULL ORDER BY next_ms, item LIMIT 1"
        ),
        params![],
        action_row,
    )?)
}

fn policy_row(row: &Row<'_>) -> Result<Policy, store::Error> {
    Ok(Policy { of: scaled(row)?, name: row.get(4)?, rule: json("policy", row, 5)? })
}

pub(crate) fn policy(tx: &mut Tx<'_>, of: &Scaled, name: &str) -> Result<Option<Policy>, Error> {
    Ok(tx.query_opt(
        &format!(
            "SELECT {ITEM} FROM policy
             WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = ?4 AND item = ?5"
        ),
        params![of.account.as_str(), of.region.as_str(), of.name.as_str(), of.qualifier.as_str(), name],
        policy_row,
    )?)
}

/// Adds a policy or writes it anew.
pub(crate) fn put_policy(tx: &mut Tx<'_>, policy: &Policy) -> Result<(), Error> {
    let of = &policy.of;
    tx.execute(
        "INSERT INTO policy (account, region, name, qualifier, item, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (account, region, name, qualifier, item) DO UPDATE SET document = excluded.document",
        params![
            of.account.as_str(),
            of.region.as_str(),
            of.name.as_str(),
            of.qualifier.as_str(),
            policy.name.as_str(),
            text("policy", &policy.rule)?
        ],
    )?;
    Ok(())
}

/// Policies of an account and region after a place, in order.
pub(crate) fn policies(
    tx: &mut Tx<'_>,
    account: AccountId,
    region: &Region,
    after: &Place,
    limit: i64,
) -> Result<Vec<Policy>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {ITEM} FROM policy
             WHERE account = ?1 AND region = ?2 AND (name, qualifier, item) > (?3, ?4, ?5)
             ORDER BY name, qualifier, item LIMIT ?6"
        ),
        params![
            account.as_str(),
            region.as_str(),
            after.0.as_str(),
            after.1.as_str(),
            after.2.as_str(),
            limit
        ],
        policy_row,
    )?)
}

/// All policies, those of one target next to each other.
pub(crate) fn all_policies(tx: &mut Tx<'_>) -> Result<Vec<Policy>, Error> {
    Ok(tx.query(
        &format!("SELECT {ITEM} FROM policy ORDER BY account, region, name, qualifier, item"),
        params![],
        policy_row,
    )?)
}

/// How many actions or policies a target has, one of that name apart.
pub(crate) fn count_others(tx: &mut Tx<'_>, table: Items, of: &Scaled, name: &str) -> Result<i64, Error> {
    let count = tx.query_opt(
        &format!(
            "SELECT COUNT(*) FROM {} WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = ?4 AND item <> ?5",
            table.table()
        ),
        params![of.account.as_str(), of.region.as_str(), of.name.as_str(), of.qualifier.as_str(), name],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or_default())
}

/// Removes an action or a policy; false if there was none.
pub(crate) fn delete_item(tx: &mut Tx<'_>, table: Items, of: &Scaled, name: &str) -> Result<bool, Error> {
    let deleted = tx.execute(
        &format!(
            "DELETE FROM {} WHERE account = ?1 AND region = ?2 AND name = ?3 AND qualifier = ?4 AND item = ?5",
            table.table()
        ),
        params![of.account.as_str(), of.region.as_str(), of.name.as_str(), of.qualifier.as_str(), name],
    )?;
    Ok(deleted == 1)
}

/// What a target has several of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Items {
    Actions,
    Policies,
}

impl Items {
    const fn table(self) -> &'static str {
        match self {
            Items::Actions => "action",
            Items::Policies => "policy",
        }
    }
}

/// Adds an activity.
pub(crate) fn add_activity(tx: &mut Tx<'_>, of: &Scaled, activity: &Activity) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO activity (account, region, name, qualifier, started_ms, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            of.account.as_str(),
            of.region.as_str(),
            of.name.as_str(),
            of.qualifier.as_str(),
            activity.started.0,
            text("activity", activity)?
        ],
    )?;
    Ok(())
}

/// Activities of an account and region before a number, latest first, perhaps of one target only.
pub(crate) fn activities(
    tx: &mut Tx<'_>,
    (account, region): (AccountId, &Region),
    of: Option<&Scaled>,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, Scaled, Activity)>, Error> {
    let (name, qualifier) = of.map_or(("", ""), |of| (of.name.as_str(), of.qualifier.as_str()));
    Ok(tx.query(
        "SELECT account, region, name, qualifier, seq, document FROM activity
         WHERE account = ?1 AND region = ?2 AND seq < ?3 AND (?4 = '' OR (name = ?4 AND qualifier = ?5))
         ORDER BY seq DESC LIMIT ?6",
        params![account.as_str(), region.as_str(), before, name, qualifier, limit],
        |row| Ok((row.get(4)?, scaled(row)?, json("activity", row, 5)?)),
    )?)
}

/// Forgets activities that began before `before`.
pub(crate) fn forget_activities(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), Error> {
    tx.execute("DELETE FROM activity WHERE started_ms < ?1", params![before.0])?;
    Ok(())
}

/// Forgets everything.
pub(crate) fn forget_all(tx: &mut Tx<'_>) -> Result<(), Error> {
    for table in ["activity", "policy", "action", "target"] {
        tx.execute(&format!("DELETE FROM {table}"), params![])?;
    }
    Ok(())
}
