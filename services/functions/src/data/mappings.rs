//! The statements about event source mappings.

use super::{function_id, json, parse, text};
use crate::{
    Error,
    model::{FunctionId, Mapping, MappingState, Qualifier, Target},
};
use base::{AccountId, Arn, Region, RequestId, Timestamp};
use store::{Migration, Row, Tx, params};

/// Their table.
pub(super) const MIGRATION: Migration = Migration::portable(
    11,
    "event source mappings",
    // qualifier: empty where none is named; enabled: what its state settles to
    "CREATE TABLE event_source_mapping (
        id TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        source TEXT NOT NULL,
        settings TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        state TEXT NOT NULL,
        revision INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        tags TEXT NOT NULL,
        problem TEXT
    );
    CREATE UNIQUE INDEX event_source_mapping_pair ON event_source_mapping (account, region, source, name, qualifier);
    CREATE INDEX event_source_mapping_function ON event_source_mapping (account, region, name, id);",
);

const COLUMNS: &str = "account, region, name, qualifier, id, source, settings, enabled, state, revision, modified_ms, tags, problem";

fn mapping(row: &Row<'_>) -> Result<Mapping, store::Error> {
    let word: String = row.get(3)?;
    let qualifier = (!word.is_empty()).then(|| Qualifier::of(&word));
    let state: String = row.get(8)?;
    let state = MappingState::ALL.into_iter().find(|known| known.as_str() == state);
    Ok(Mapping {
        target: Target { id: function_id(row)?, qualifier },
        id: parse::<RequestId>("id", row, 4)?,
        source: parse::<Arn>("source", row, 5)?,
        settings: json("settings", row, 6)?,
        enabled: row.get::<i64>(7)? != 0,
        state: state.ok_or_else(|| store::Error::decode("state", std::fmt::Error))?,
        revision: row.get(9)?,
        modified: Timestamp(row.get(10)?),
        tags: json("tags", row, 11)?,
        problem: row.get(12)?,
    })
}

fn word(target: &Target) -> String {
    target.qualifier.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// One mapping.
pub(crate) fn mapping_of(tx: &mut Tx<'_>, id: RequestId) -> Result<Option<Mapping>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {COLUMNS} FROM event_source_mapping WHERE id = ?1"),
        params![id.to_string()],
        mapping,
    )?)
}

/// The mapping of a queue to a function, version or alias.
pub(crate) fn mapping_between(
    tx: &mut Tx<'_>,
    source: &Arn,
    target: &Target,
) -> Result<Option<RequestId>, Error> {
    let FunctionId { account, region, name } = &target.id;
    Ok(tx.query_opt(
        "SELECT id FROM event_source_mapping
         WHERE account = ?1 AND region = ?2 AND source = ?3 AND name = ?4 AND qualifier = ?5",
        params![account.as_str(), region.as_str(), source.to_string(), name.as_str(), word(target)],
        |row| parse("id", row, 0),
    )?)
}

/// Adds a mapping.
pub(crate) fn insert_mapping(tx: &mut Tx<'_>, mapping: &Mapping) -> Result<(), Error> {
    let FunctionId { account, region, name } = &mapping.target.id;
    tx.execute(
        "INSERT INTO event_source_mapping (account, region, name, qualifier, id, source, settings, enabled, state,
             revision, modified_ms, tags, problem)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            account.as_str(),
            region.as_str(),
            name.as_str(),
            word(&mapping.target),
            mapping.id.to_string(),
            mapping.source.to_string(),
            text("settings", &mapping.settings)?,
            i64::from(mapping.enabled),
            mapping.state.as_str(),
            mapping.revision,
            mapping.modified.0,
            text("tags", &mapping.tags)?,
            mapping.problem.clone()
        ],
    )?;
    Ok(())
}

/// Writes a mapping anew, all but its source and its problem.
pub(crate) fn update_mapping(tx: &mut Tx<'_>, mapping: &Mapping) -> Result<(), Error> {
    tx.execute(
        "UPDATE event_source_mapping SET name = ?2, qualifier = ?3, settings = ?4, enabled = ?5, state = ?6, revision = ?7,
             modified_ms = ?8, tags = ?9
         WHERE id = ?1",
        params![
            mapping.id.to_string(),
            mapping.target.id.name.as_str(),
            word(&mapping.target),
            text("settings", &mapping.settings)?,
            i64::from(mapping.enabled),
            mapping.state.as_str(),
            mapping.revision,
            mapping.modified.0,
            text("tags", &mapping.tags)?
        ],
    )?;
    Ok(())
}

/// Mappings after `after`, in order; perhaps only those of a source or of a function, version or alias.
pub(crate) fn list_mappings(
    tx: &mut Tx<'_>,
    (account, region): (AccountId, &Region),
    source: Option<&str>,
    target: Option<&Target>,
    after: &str,
    limit: i64,
) -> Result<Vec<Mapping>, Error> {
    let name = target.map(|target| target.id.name.as_str().to_owned());
    Ok(tx.query(
        &format!(
            "SELECT {COLUMNS} FROM event_source_mapping
             WHERE account = ?1 AND region = ?2 AND id > ?3 AND source = COALESCE(?4, source)
                 AND name = COALESCE(?5, name) AND qualifier = COALESCE(?6, qualifier)
             ORDER BY id LIMIT ?7"
        ),
        params![
            account.as_str(),
            region.as_str(),
            after,
            source.map(str::to_owned),
            name,
            target.map(word),
            limit
        ],
        mapping,
    )?)
}

/// Every mapping.
pub(crate) fn all_mappings(tx: &mut Tx<'_>) -> Result<Vec<Mapping>, Error> {
    Ok(tx.query(&format!("SELECT {COLUMNS} FROM event_source_mapping ORDER BY id"), params![], mapping)?)
}

/// Lets the state of a mapping settle, unless it was changed meanwhile.
pub(crate) fn settle_mapping(
    tx: &mut Tx<'_>,
    id: RequestId,
    revision: i64,
    state: MappingState,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE event_source_mapping SET state = ?3 WHERE id = ?1 AND revision = ?2",
        params![id.to_string(), revision, state.as_str()],
    )?;
    Ok(())
}

/// Notes why a mapping cannot poll, or that it can.
pub(crate) fn note_problem(tx: &mut Tx<'_>, id: RequestId, problem: Option<&str>) -> Result<(), Error> {
    tx.execute(
        "UPDATE event_source_mapping SET problem = ?2 WHERE id = ?1",
        params![id.to_string(), problem.map(str::to_owned)],
    )?;
    Ok(())
}

/// Removes a mapping.
pub(crate) fn delete_mapping(tx: &mut Tx<'_>, id: RequestId) -> Result<(), Error> {
    tx.execute("DELETE FROM event_source_mapping WHERE id = ?1", params![id.to_string()])?;
    Ok(())
}

/// Removes all mappings.
pub(crate) fn delete_mappings(tx: &mut Tx<'_>) -> Result<(), Error> {
    tx.execute("DELETE FROM event_source_mapping", params![])?;
    Ok(())
}
