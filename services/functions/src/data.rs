//! All SQL of the service, one function a statement.

mod changes;
mod configs;
mod habits;
mod layers;
mod mappings;

pub(crate) use changes::{CHANGES_MAX, changed_after, forget_changes, last_change, shared_secret};
pub(crate) use configs::*;
pub(crate) use habits::{forget_habits, habits, put_habit};
pub(crate) use layers::{
    delete_layer_version, delete_layers, layer_sets, layer_version, list_layer_versions, list_layers,
    put_layer_version, take_layer_number,
};
pub(crate) use mappings::*;

use crate::{
    Error,
    model::{
        Alias, Condition, Configuration, Deployment, Event, FunctionId, FunctionRecord, Outcome, Qualifier,
        Target, VersionRecord,
    },
};
use base::{AccountId, CodeSha256, Region, RequestId, TenantId, Timestamp, Version};
use changes::note_change;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};
use store::{Migration, Row, Tx, params};

/// Tables of this service. Only ever added to.
pub static MIGRATIONS: &[Migration] = &[Migration::portable(
    1,
    "functions, versions, packages, events",
    "CREATE TABLE function (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        last_version INTEGER NOT NULL,
        tags TEXT NOT NULL,
        reserved_concurrency INTEGER,
        event_policy TEXT NOT NULL,
        PRIMARY KEY (account, region, name)
    );
    -- version 0 is $LATEST
    CREATE TABLE version (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        revision TEXT NOT NULL,
        modified_ms INTEGER NOT NULL,
        deployment TEXT NOT NULL,
        code TEXT NOT NULL,
        code_size INTEGER NOT NULL,
        configuration TEXT NOT NULL,
        condition TEXT NOT NULL,
        settled INTEGER NOT NULL,
        serving_code TEXT,
        note TEXT,
        origin TEXT NOT NULL,
        PRIMARY KEY (account, region, name, version)
    );
    CREATE INDEX version_latest ON version (account, region, name) WHERE version = 0;
    CREATE INDEX version_code ON version (code);
    CREATE INDEX version_serving_code ON version (serving_code) WHERE serving_code IS NOT NULL;
    CREATE INDEX version_size ON version (account, region, code_size);
    CREATE INDEX version_unsettled ON version (code) WHERE settled = 0;
    -- touched_ms: when it was last uploaded or lost a reference; what nobody references is removed some time later
    CREATE TABLE package (
        code TEXT PRIMARY KEY,
        touched_ms INTEGER NOT NULL
    );
    -- due_ms of an event that is being run (holder is set) is the end of its lease
    CREATE TABLE event (
        request_id TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        invoked_arn TEXT NOT NULL,
        payload BLOB NOT NULL,
        client_context TEXT,
        trace TEXT,
        accepted_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        refusals INTEGER NOT NULL,
        node TEXT,
        holder TEXT
    );
    CREATE INDEX event_due ON event (account, region, name, due_ms);
    CREATE INDEX event_holder ON event (holder) WHERE holder IS NOT NULL;",
), Migration::portable(
    2,
    "reservations by account",
    "CREATE INDEX function_reserved ON function (account, region, reserved_concurrency)
     WHERE reserved_concurrency > 0;",
), Migration::portable(
    3,
    "aliases",
    "CREATE TABLE alias (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        alias TEXT NOT NULL,
        version INTEGER NOT NULL,
        weights TEXT NOT NULL,
        description TEXT NOT NULL,
        revision TEXT NOT NULL,
        PRIMARY KEY (account, region, name, alias)
    );",
), Migration::portable(
    4,
    "configurations of asynchronous invocations",
    // They replace the column event_policy of function, which nothing ever set.
    "CREATE TABLE event_config (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        modified_ms INTEGER NOT NULL,
        retries_max INTEGER,
        age_max_s INTEGER,
        PRIMARY KEY (account, region, name, qualifier)
    );",
), Migration::portable(
    5,
    "documents by qualifier",
    // qualifier: a number, an alias, or $LATEST for the function itself; key: what it is found by, if by anything
    r#"CREATE TABLE qualifier_config (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        document TEXT NOT NULL,
        key TEXT,
        PRIMARY KEY (account, region, name, kind, qualifier)
    );
    CREATE UNIQUE INDEX qualifier_config_key ON qualifier_config (kind, key) WHERE key IS NOT NULL;
    INSERT INTO qualifier_config (account, region, name, kind, qualifier, document)
    SELECT account, region, name, 'event', qualifier,
        '{"modified":' || modified_ms
        || ',"retries_max":' || COALESCE(retries_max || '', 'null')
        || ',"age_max":' || COALESCE(age_max_s || '', 'null') || '}'
    FROM event_config;
    DROP TABLE event_config;"#,
), layers::MIGRATION, Migration::portable(7, "tenants of events", "ALTER TABLE event ADD COLUMN tenant TEXT;"), layers::POLICIES, changes::MIGRATION, Migration::portable(
    10,
    "outcomes of events",
    // What is still to be told of an event that has ended, as JSON.
    "ALTER TABLE event ADD COLUMN outcome TEXT;",
), mappings::MIGRATION, Migration::portable(
    12,
    "versions with SnapStart",
    // Whether environments of it wait initialised.
    "ALTER TABLE version ADD COLUMN snap_started INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX version_snap_started ON version (account, region, name) WHERE snap_started = 1;",
), habits::MIGRATION];

const VERSION_COLUMNS: &str = "account, region, name, version, revision, modified_ms, deployment, code, code_size, configuration, condition, note, origin";

fn parse<T: FromStr>(what: &'static str, row: &Row<'_>, index: usize) -> Result<T, store::Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<String>(index)?.parse().map_err(|error| store::Error::decode(what, error))
}

fn json<T: DeserializeOwned>(what: &'static str, row: &Row<'_>, index: usize) -> Result<T, store::Error> {
    serde_json::from_str(&row.get::<String>(index)?).map_err(|error| store::Error::decode(what, error))
}

fn text(what: &'static str, value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::Corrupt { what })
}

fn number(version: Version) -> i64 {
    match version {
        Version::Latest => 0,
        Version::Published(number) => i64::try_from(number).unwrap_or(i64::MAX),
    }
}

fn version(number: i64) -> Version {
    match u64::try_from(number) {
        Ok(0) | Err(_) => Version::Latest,
        Ok(number) => Version::Published(number),
    }
}

fn function_id(row: &Row<'_>) -> Result<FunctionId, store::Error> {
    Ok(FunctionId {
        account: parse("account", row, 0)?,
        region: parse("region", row, 1)?,
        name: parse("name", row, 2)?,
    })
}

fn version_record(row: &Row<'_>) -> Result<VersionRecord, store::Error> {
    let deployment = Deployment {
        id: parse("deployment", row, 6)?,
        code: parse("code", row, 7)?,
        code_size: u64::try_from(row.get::<i64>(8)?).unwrap_or_default(),
        configuration: json::<Configuration>("configuration", row, 9)?,
    };
    Ok(VersionRecord {
        id: function_id(row)?,
        version: version(row.get(3)?),
        revision: parse("revision", row, 4)?,
        modified: Timestamp(row.get(5)?),
        deployment,
        condition: json::<Condition>("condition", row, 10)?,
        note: row.get(11)?,
        origin: row.get(12)?,
    })
}

/// The function's own row.
pub(crate) fn function(tx: &mut Tx<'_>, id: &FunctionId) -> Result<Option<FunctionRecord>, Error> {
    Ok(tx.query_opt(
        "SELECT last_version, tags, reserved_concurrency FROM function
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        |row| {
            Ok(FunctionRecord {
                id: id.clone(),
                last_version: u64::try_from(row.get::<i64>(0)?).unwrap_or_default(),
                tags: json("tags", row, 1)?,
                reserved_concurrency: row.get(2)?,
            })
        },
    )?)
}

/// Adds a function; false if the name is taken.
pub(crate) fn insert_function(tx: &mut Tx<'_>, function: &FunctionRecord) -> Result<bool, Error> {
    let inserted = tx.execute(
        "INSERT INTO function (account, region, name, last_version, tags, reserved_concurrency, event_policy)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}') ON CONFLICT DO NOTHING",
        params![
            function.id.account.as_str(),
            function.id.region.as_str(),
            function.id.name.as_str(),
            number(Version::Published(function.last_version)),
            text("tags", &function.tags)?,
            function.reserved_concurrency
        ],
    )?;
    Ok(inserted == 1)
}

/// Writes a function's row anew.
pub(crate) fn update_function(tx: &mut Tx<'_>, function: &FunctionRecord) -> Result<(), Error> {
    tx.execute(
        "UPDATE function SET last_version = ?4, tags = ?5, reserved_concurrency = ?6
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![
            function.id.account.as_str(),
            function.id.region.as_str(),
            function.id.name.as_str(),
            number(Version::Published(function.last_version)),
            text("tags", &function.tags)?,
            function.reserved_concurrency
        ],
    )?;
    note_change(tx, &function.id)
}

/// Concurrency reserved in each account and region that has any.
fn reservations(tx: &mut Tx<'_>) -> Result<BTreeMap<(AccountId, Region), u32>, Error> {
    let sums = tx.query(
        "SELECT account, region, CAST(SUM(reserved_concurrency) AS INTEGER) FROM function
         WHERE reserved_concurrency > 0 GROUP BY account, region",
        params![],
        |row| {
            let total = u32::try_from(row.get::<i64>(2)?).unwrap_or(u32::MAX);
            Ok(((parse("account", row, 0)?, parse("region", row, 1)?), total))
        },
    )?;
    Ok(sums.into_iter().collect())
}

/// Every function of every account.
pub(crate) fn all_functions(tx: &mut Tx<'_>) -> Result<Vec<FunctionId>, Error> {
    Ok(tx.query("SELECT account, region, name FROM function", params![], function_id)?)
}

/// Removes a function's row.
pub(crate) fn delete_function(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM function WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    note_change(tx, id)
}

/// One version.
pub(crate) fn version_of(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    version: Version,
) -> Result<Option<VersionRecord>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4"),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
        version_record,
    )?)
}

/// All versions of a function, for its deletion.
pub(crate) fn versions_of(tx: &mut Tx<'_>, id: &FunctionId) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE account = ?1 AND region = ?2 AND name = ?3"),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        version_record,
    )?)
}

/// Adds a version or writes it anew.
pub(crate) fn put_version(tx: &mut Tx<'_>, record: &VersionRecord) -> Result<(), Error> {
    let serving_code = record.condition.serving().map(|serving| serving.code.to_string());
    tx.execute(
        "INSERT INTO version (account, region, name, version, revision, modified_ms, deployment, code, code_size,
             configuration, condition, settled, serving_code, note, origin, snap_started)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (account, region, name, version) DO UPDATE SET revision = excluded.revision,
             modified_ms = excluded.modified_ms, deployment = excluded.deployment, code = excluded.code,
             code_size = excluded.code_size, configuration = excluded.configuration, condition = excluded.condition,
             settled = excluded.settled, serving_code = excluded.serving_code, note = excluded.note,
             origin = excluded.origin, snap_started = excluded.snap_started",
        params![
            record.id.account.as_str(),
            record.id.region.as_str(),
            record.id.name.as_str(),
            number(record.version),
            record.revision.to_string(),
            record.modified.0,
            record.deployment.id.to_string(),
            record.deployment.code.to_string(),
            i64::try_from(record.deployment.code_size).unwrap_or(i64::MAX),
            text("configuration", &record.deployment.configuration)?,
            text("condition", &record.condition)?,
            record.condition.settled(),
            serving_code,
            record.note.clone(),
            record.origin.as_str(),
            i64::from(record.snap_starts() && record.condition == Condition::Active)
        ],
    )?;
    layers::put_layer_uses(tx, record)?;
    note_change(tx, &record.id)
}

/// Removes one version.
pub(crate) fn delete_version(tx: &mut Tx<'_>, id: &FunctionId, version: Version) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM version WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
    )?;
    tx.execute(
        "DELETE FROM layer_use WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
    )?;
    habits::delete_habits(tx, id, Some(version))?;
    note_change(tx, id)
}

/// Removes all versions of a function.
pub(crate) fn delete_versions(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM version WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    tx.execute(
        "DELETE FROM layer_use WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    habits::delete_habits(tx, id, None)
}

/// `$LATEST` of the functions of an account and region whose names follow `after`.
pub(crate) fn list_latest(
    tx: &mut Tx<'_>,
    account: &str,
    region: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {VERSION_COLUMNS} FROM version
             WHERE account = ?1 AND region = ?2 AND name > ?3 AND version = 0 ORDER BY name LIMIT ?4"
        ),
        params![account, region, after, limit],
        version_record,
    )?)
}

/// All versions of all functions that follow `after` by name and version.
pub(crate) fn list_all(
    tx: &mut Tx<'_>,
    account: &str,
    region: &str,
    after: (&str, i64),
    limit: i64,
) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {VERSION_COLUMNS} FROM version
             WHERE account = ?1 AND region = ?2 AND (name, version) > (?3, ?4) ORDER BY name, version LIMIT ?5"
        ),
        params![account, region, after.0, after.1, limit],
        version_record,
    )?)
}

/// Versions of one function that follow number `after`; -1 begins with `$LATEST`.
pub(crate) fn list_versions(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    after: i64,
    limit: i64,
) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {VERSION_COLUMNS} FROM version
             WHERE account = ?1 AND region = ?2 AND name = ?3 AND version > ?4 ORDER BY version LIMIT ?5"
        ),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), after, limit],
        version_record,
    )?)
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

/// Functions of an account and region.
pub(crate) fn function_count(tx: &mut Tx<'_>, account: &str, region: &str) -> Result<u64, Error> {
    let count = tx.query_opt(
        "SELECT COUNT(*) FROM function WHERE account = ?1 AND region = ?2",
        params![account, region],
        |row| row.get::<i64>(0),
    )?;
    Ok(u64::try_from(count.unwrap_or_default()).unwrap_or_default())
}

/// Packages that versions wait for, each with their runtimes.
pub(crate) fn unsettled_codes(tx: &mut Tx<'_>) -> Result<BTreeSet<(CodeSha256, String)>, Error> {
    let records = tx.query(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE settled = 0"),
        params![],
        version_record,
    )?;
    let awaited = |record: VersionRecord| (record.deployment.code, record.deployment.configuration.runtime);
    Ok(records.into_iter().map(awaited).collect())
}

/// Versions that are started from a package, or will be.
pub(crate) fn versions_of_code(tx: &mut Tx<'_>, code: CodeSha256) -> Result<Vec<VersionRecord>, Error> {
    let columns = VERSION_COLUMNS;
    Ok(tx.query(
        &format!(
            "SELECT {columns} FROM version WHERE code = ?1 UNION ALL
             SELECT {columns} FROM version WHERE serving_code = ?1 AND code <> ?1"
        ),
        params![code.to_string()],
        version_record,
    )?)
}

/// Versions that wait for a package.
pub(crate) fn unsettled(tx: &mut Tx<'_>, code: CodeSha256) -> Result<Vec<VersionRecord>, Error> {
    Ok(tx.query(
        &format!("SELECT {VERSION_COLUMNS} FROM version WHERE code = ?1 AND settled = 0"),
        params![code.to_string()],
        version_record,
    )?)
}

/// Versions of which environments are to wait initialised.
pub(crate) fn snap_started(tx: &mut Tx<'_>) -> Result<BTreeSet<(FunctionId, Version)>, Error> {
    let found = tx.query(
        "SELECT account, region, name, version FROM version WHERE snap_started = 1",
        params![],
        |row| Ok((function_id(row)?, version(row.get(3)?))),
    )?;
    Ok(found.into_iter().collect())
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

/// When the earliest event of a function that nobody holds is due.
pub(crate) fn next_due(tx: &mut Tx<'_>, id: &FunctionId) -> Result<Option<Timestamp>, Error> {
    Ok(tx.query_opt(
        "SELECT due_ms FROM event WHERE account = ?1 AND region = ?2 AND name = ?3 AND holder IS NULL
         ORDER BY due_ms LIMIT 1",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        |row| row.get::<i64>(0).map(Timestamp),
    )?)
}

/// Extends the leases of everything that `holder` holds.
pub(crate) fn renew_events(tx: &mut Tx<'_>, holder: &str, until: Timestamp) -> Result<(), Error> {
    tx.execute("UPDATE event SET due_ms = ?2 WHERE holder = ?1", params![holder, until.0])?;
    Ok(())
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

/// Voids the leases of this node's earlier lives: whoever held them is gone.
pub(crate) fn void_leases(tx: &mut Tx<'_>, node: &str, holder: &str, now: Timestamp) -> Result<u64, Error> {
    Ok(tx.execute(
        "UPDATE event SET due_ms = ?3, node = NULL, holder = NULL WHERE holder IS NOT NULL AND node = ?1 AND holder <> ?2",
        params![node, holder, now.0],
    )?)
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

fn alias_record(id: &FunctionId, row: &Row<'_>) -> Result<Alias, store::Error> {
    Ok(Alias {
        id: id.clone(),
        name: row.get(0)?,
        version: version(row.get(1)?),
        weights: json("weights", row, 2)?,
        description: row.get(3)?,
        revision: parse("revision", row, 4)?,
    })
}

/// One alias.
pub(crate) fn alias(tx: &mut Tx<'_>, id: &FunctionId, name: &str) -> Result<Option<Alias>, Error> {
    Ok(tx.query_opt(
        "SELECT alias, version, weights, description, revision FROM alias
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND alias = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), name],
        |row| alias_record(id, row),
    )?)
}

/// Aliases of a function after one of that name, in order, perhaps only those that point to `only` first of all.
pub(crate) fn list_aliases(
    tx: &mut Tx<'_>,
    id: &FunctionId,
    after: &str,
    only: Option<Version>,
    count: i64,
) -> Result<Vec<Alias>, Error> {
    Ok(tx.query(
        "SELECT alias, version, weights, description, revision FROM alias
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND alias > ?4 AND (?5 < 0 OR version = ?5)
         ORDER BY alias LIMIT ?6",
        params![
            id.account.as_str(),
            id.region.as_str(),
            id.name.as_str(),
            after,
            only.map_or(-1, number),
            count
        ],
        |row| alias_record(id, row),
    )?)
}

/// Adds an alias or writes it anew.
pub(crate) fn put_alias(tx: &mut Tx<'_>, alias: &Alias) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO alias (account, region, name, alias, version, weights, description, revision)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (account, region, name, alias) DO UPDATE SET version = excluded.version,
             weights = excluded.weights, description = excluded.description, revision = excluded.revision",
        params![
            alias.id.account.as_str(),
            alias.id.region.as_str(),
            alias.id.name.as_str(),
            alias.name.as_str(),
            number(alias.version),
            text("weights", &alias.weights)?,
            alias.description.as_str(),
            alias.revision.to_string()
        ],
    )?;
    note_change(tx, &alias.id)
}

/// Removes an alias, if it is there.
pub(crate) fn delete_alias(tx: &mut Tx<'_>, id: &FunctionId, name: &str) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM alias WHERE account = ?1 AND region = ?2 AND name = ?3 AND alias = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), name],
    )?;
    note_change(tx, id)
}

/// Removes all aliases of a function.
pub(crate) fn delete_aliases_of(tx: &mut Tx<'_>, id: &FunctionId) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM alias WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    Ok(())
}

/// The version that a request names: an alias leads to its first one.
pub(crate) fn version_named(tx: &mut Tx<'_>, target: &Target) -> Result<Option<VersionRecord>, Error> {
    let version = match &target.qualifier {
        Some(Qualifier::Alias(name)) => alias(tx, &target.id, name)?.map(|alias| alias.version),
        Some(Qualifier::Version(_)) | None => target.version(),
    };
    version.map_or(Ok(None), |version| version_of(tx, &target.id, version))
}

/// A function with its `$LATEST`, or the error that it is not there.
pub(crate) fn function_and_latest(
    tx: &mut Tx<'_>,
    id: &FunctionId,
) -> Result<(FunctionRecord, VersionRecord), Error> {
    match (function(tx, id)?, version_of(tx, id, Version::Latest)?) {
        (Some(function), Some(latest)) => Ok((function, latest)),
        (None, _) | (_, None) => Err(Error::NotFound(id.arn())),
    }
}
