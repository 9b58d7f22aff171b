//! The statements about layers.

use super::{json, parse, text};
use crate::{
    Error,
    logic::policy::Policy,
    model::{Deployment, Label, LayerId, LayerVersion, VersionRecord},
};
use base::{CodeSha256, Timestamp};
use std::collections::BTreeSet;
use store::{Migration, Row, Tx, params};

/// Tables of layers.
pub(super) const MIGRATION: Migration = Migration::portable(
    6,
    "layers",
    "CREATE TABLE layer (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        layer TEXT NOT NULL,
        last_version INTEGER NOT NULL,
        PRIMARY KEY (account, region, layer)
    );
    CREATE TABLE layer_version (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        layer TEXT NOT NULL,
        version INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        label TEXT NOT NULL,
        code TEXT NOT NULL,
        code_size INTEGER NOT NULL,
        unpacked INTEGER NOT NULL,
        policy TEXT,
        PRIMARY KEY (account, region, layer, version)
    );
    CREATE INDEX layer_version_code ON layer_version (code);
    -- which packages the layers of a function's version are, whether or not the layer versions are still there;
    -- layers: the hashes of them all in their order, separated by commas
    CREATE TABLE layer_use (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        layers TEXT NOT NULL,
        code TEXT NOT NULL,
        PRIMARY KEY (account, region, name, version, layers, code)
    );
    CREATE INDEX layer_use_code ON layer_use (code);",
);

/// Policies of layer versions take the form of those of functions.
pub(super) const POLICIES: Migration = Migration::portable(
    8,
    "policies of layers",
    // From {"id":"s","grantee":"Everyone"} and {"id":"s","grantee":{"Account":"123456789012"}}; names of statements have no quotes.
    r#"UPDATE layer_version SET policy =
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(policy,
            '"}}', ':root"}}'),
            '{"Account":"', '{"AWS":"arn:aws:iam::'),
            '"grantee":"Everyone"', '"Principal":"*"'),
            '"grantee":{', '"Principal":{'),
            '"id":', '"Effect":"Allow","Action":"lambda:GetLayerVersion","Resource":"arn:aws:lambda:' || region || ':'
                || account || ':layer:' || layer || ':' || version || '","Sid":')
        WHERE policy IS NOT NULL;"#,
);

const COLUMNS: &str = "account, region, layer, version, created_ms, label, code, code_size, unpacked, policy";

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, index: usize) -> Result<u64, store::Error> {
    Ok(u64::try_from(row.get::<i64>(index)?).unwrap_or_default())
}

fn layer_version_record(row: &Row<'_>) -> Result<LayerVersion, store::Error> {
    let policy = row.get::<Option<String>>(9)?;
    Ok(LayerVersion {
        id: LayerId {
            account: parse("account", row, 0)?,
            region: parse("region", row, 1)?,
            name: row.get(2)?,
        },
        version: unsigned(row, 3)?,
        created: Timestamp(row.get(4)?),
        label: json::<Label>("label", row, 5)?,
        code: parse("code", row, 6)?,
        code_size: unsigned(row, 7)?,
        unpacked: unsigned(row, 8)?,
        policy: policy
            .map(|text| serde_json::from_str::<Policy>(&text))
            .transpose()
            .map_err(|error| store::Error::decode("policy", error))?,
    })
}

/// The next number of a layer, which is taken by that.
pub(crate) fn take_layer_number(tx: &mut Tx<'_>, id: &LayerId) -> Result<u64, Error> {
    tx.execute(
        "INSERT INTO layer (account, region, layer, last_version) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT (account, region, layer) DO UPDATE SET last_version = layer.last_version + 1",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
    )?;
    let taken = tx.query_opt(
        "SELECT last_version FROM layer WHERE account = ?1 AND region = ?2 AND layer = ?3",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str()],
        |row| unsigned(row, 0),
    )?;
    taken.ok_or(Error::Corrupt { what: "layer" })
}

/// Adds a layer version or writes it anew.
pub(crate) fn put_layer_version(tx: &mut Tx<'_>, version: &LayerVersion) -> Result<(), Error> {
    let policy = version.policy.as_ref().map(|policy| text("policy", policy)).transpose()?;
    tx.execute(
        "INSERT INTO layer_version (account, region, layer, version, created_ms, label, code, code_size, unpacked, policy)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (account, region, layer, version) DO UPDATE SET policy = excluded.policy",
        params![
            version.id.account.as_str(),
            version.id.region.as_str(),
            version.id.name.as_str(),
            number(version.version),
            version.created.0,
            text("label", &version.label)?,
            version.code.to_string(),
            number(version.code_size),
            number(version.unpacked),
            policy
        ],
    )?;
    Ok(())
}

/// One layer version.
pub(crate) fn layer_version(
    tx: &mut Tx<'_>,
    id: &LayerId,
    version: u64,
) -> Result<Option<LayerVersion>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {COLUMNS} FROM layer_version WHERE account = ?1 AND region = ?2 AND layer = ?3 AND version = ?4"),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
        layer_version_record,
    )?)
}

/// Versions of a layer below number `before`, newest first.
pub(crate) fn list_layer_versions(
    tx: &mut Tx<'_>,
    id: &LayerId,
    before: i64,
    limit: i64,
) -> Result<Vec<LayerVersion>, Error> {
    Ok(tx.query(
        &format!(
            "SELECT {COLUMNS} FROM layer_version
             WHERE account = ?1 AND region = ?2 AND layer = ?3 AND version < ?4 ORDER BY version DESC LIMIT ?5"
        ),
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), before, limit],
        layer_version_record,
    )?)
}

/// Names of layers that have versions, in order, after `after`.
pub(crate) fn list_layers(
    tx: &mut Tx<'_>,
    account: &str,
    region: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, Error> {
    Ok(tx.query(
        "SELECT DISTINCT layer FROM layer_version WHERE account = ?1 AND region = ?2 AND layer > ?3
         ORDER BY layer LIMIT ?4",
        params![account, region, after, limit],
        |row| row.get(0),
    )?)
}

/// Removes a layer version; what it was, if it was there.
pub(crate) fn delete_layer_version(
    tx: &mut Tx<'_>,
    id: &LayerId,
    version: u64,
) -> Result<Option<LayerVersion>, Error> {
    let found = layer_version(tx, id, version)?;
    tx.execute(
        "DELETE FROM layer_version WHERE account = ?1 AND region = ?2 AND layer = ?3 AND version = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), number(version)],
    )?;
    Ok(found)
}

/// Removes every layer of every account.
pub(crate) fn delete_layers(tx: &mut Tx<'_>) -> Result<(), Error> {
    tx.execute("DELETE FROM layer_version", params![])?;
    tx.execute("DELETE FROM layer", params![])?;
    Ok(())
}

/// Bytes of the layers of an account and region.
pub(super) fn layer_bytes(tx: &mut Tx<'_>, account: &str, region: &str) -> Result<u64, Error> {
    let sum = tx.query_opt(
        "SELECT CAST(COALESCE(SUM(code_size), 0) AS INTEGER) FROM layer_version WHERE account = ?1 AND region = ?2",
        params![account, region],
        |row| unsigned(row, 0),
    )?;
    Ok(sum.unwrap_or_default())
}

/// Notes which layers a version of a function has, in place of those that it had.
pub(super) fn put_layer_uses(tx: &mut Tx<'_>, record: &VersionRecord) -> Result<(), Error> {
    let (id, version) = (&record.id, super::number(record.version));
    tx.execute(
        "DELETE FROM layer_use WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4",
        params![id.account.as_str(), id.region.as_str(), id.name.as_str(), version],
    )?;
    let mut uses = BTreeSet::new();
    for deployment in std::iter::once(&record.deployment).chain(record.condition.serving()) {
        let set = set_text(deployment);
        uses.extend(deployment.configuration.layers.iter().map(|layer| (set.clone(), layer.code)));
    }
    for (set, code) in uses {
        tx.execute(
            "INSERT INTO layer_use (account, region, name, version, layers, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id.account.as_str(), id.region.as_str(), id.name.as_str(), version, set, code.to_string()],
        )?;
    }
    Ok(())
}

fn set_text(deployment: &Deployment) -> String {
    let codes: Vec<String> =
        deployment.configuration.layers.iter().map(|layer| layer.code.to_string()).collect();
    codes.join(",")
}

/// The sets of layers that functions have.
pub(crate) fn layer_sets(tx: &mut Tx<'_>) -> Result<Vec<Vec<CodeSha256>>, Error> {
    Ok(tx.query("SELECT DISTINCT layers FROM layer_use", params![], |row| {
        let text: String = row.get(0)?;
        text.split(',')
            .map(|code| code.parse::<CodeSha256>().map_err(|error| store::Error::decode("layers", error)))
            .collect::<Result<Vec<_>, _>>()
    })?)
}
