//! All SQL of the service, one function a statement. Here are the tables and how their columns are read and written; the
//! statements are in the files beside, by what they are about.

mod aliases;
mod changes;
mod configs;
mod events;
mod functions;
mod habits;
mod layers;
mod mappings;
mod packages;
mod versions;

pub(crate) use aliases::*;
pub(crate) use changes::{CHANGES_MAX, changed_after, forget_changes, last_change, shared_secret};
pub(crate) use configs::*;
pub(crate) use events::*;
pub(crate) use functions::*;
pub(crate) use habits::{forget_habits, habits, put_habit};
pub(crate) use layers::{
    delete_layer_version, delete_layers, layer_sets, layer_version, list_layer_versions, list_layers,
    put_layer_version, take_layer_number,
};
pub(crate) use mappings::*;
pub(crate) use packages::*;
pub(crate) use versions::*;

use crate::{Error, model::FunctionId};
use base::Version;
use serde::{Serialize, de::DeserializeOwned};
use std::str::FromStr;
use store::{Migration, Row};

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
), aliases::MIGRATION, Migration::portable(
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
