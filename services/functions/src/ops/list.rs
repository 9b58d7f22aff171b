//! ListFunctions and ListVersionsByFunction: pages by index, whatever the number of functions.

use crate::{
    Error, Functions,
    api::{ListFunctionsRequest, ListFunctionsResponse, ListVersionsRequest, ListVersionsResponse},
    asking, data,
    logic::{
        names::{self, Form},
        states::{Shown, configuration},
    },
    model::VersionRecord,
};
use base::Version;
use base64::Engine as _;
use wire::{Context, Violations};

/// Entries of a page, whatever `MaxItems` asks beyond it. Source: Lambda API reference.
const PAGE_MAX: i64 = 50;

impl Functions {
    pub(crate) async fn list_functions(
        &self,
        context: &Context,
        input: ListFunctionsRequest,
    ) -> Result<ListFunctionsResponse, Error> {
        let mut violations = Violations::default();
        if let Some(version) = &input.function_version {
            violations.one_of("functionVersion", version, &["ALL"]);
        }
        let size = page_size(input.max_items, violations)?;
        if input
            .master_region
            .as_deref()
            .is_some_and(|region| region != "ALL" && region != context.region.as_str())
        {
            // Copies of functions at edge locations: there are none.
            return Ok(ListFunctionsResponse { next_marker: None, functions: Vec::new() });
        }
        let all = input.function_version.is_some();
        let (name, number) = read_marker(input.marker.as_deref())?;
        let (account, region) = (context.account, context.region.clone());
        let records = self
            .db
            .read(move |tx| match all {
                true => data::list_all(tx, account.as_str(), region.as_str(), (&name, number), size + 1),
                false => data::list_latest(tx, account.as_str(), region.as_str(), &name, size + 1),
            })
            .await?;
        let (records, next_marker) = page(records, size, place);
        let functions = records
            .iter()
            .map(|record| {
                let arn = if all { record.id.qualified_arn(record.version) } else { record.id.arn() };
                configuration(record, arn, Shown::Listed)
            })
            .collect();
        Ok(ListFunctionsResponse { next_marker, functions })
    }

    pub(crate) async fn list_versions_by_function(
        &self,
        context: &Context,
        input: ListVersionsRequest,
    ) -> Result<ListVersionsResponse, Error> {
        let id = asking(context, "lambda:ListVersionsByFunction", |asker| {
            names::unqualified(asker, &input.function_name, Form::Namespaced)
        })?;
        let size = page_size(input.max_items, Violations::default())?;
        let (_, number) = read_marker(input.marker.as_deref())?;
        let records = self
            .db
            .read(move |tx| {
                data::function_and_latest(tx, &id)?;
                data::list_versions(tx, &id, number, size + 1)
            })
            .await?;
        let (records, next_marker) = page(records, size, place);
        let versions = records
            .iter()
            .map(|record| configuration(record, record.id.qualified_arn(record.version), Shown::Listed))
            .collect();
        Ok(ListVersionsResponse { next_marker, versions })
    }
}

pub(super) fn page_size(max_items: Option<i64>, mut violations: Violations) -> Result<i64, Error> {
    if let Some(items) = max_items {
        violations.range("maxItems", items, 1..=10_000);
    }
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    Ok(max_items.unwrap_or(PAGE_MAX).min(PAGE_MAX))
}

/// Cuts what was read beyond a page; the place of its last entry, name and number, is the marker of the next.
pub(super) fn page<T>(
    mut found: Vec<T>,
    size: i64,
    place: impl Fn(&T) -> (&str, u64),
) -> (Vec<T>, Option<String>) {
    let size = usize::try_from(size).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let marker = found.last().filter(|_| more).map(|last| {
        let (name, number) = place(last);
        write_marker(name, number)
    });
    (found, marker)
}

/// Where a version stands in lists of versions.
fn place(record: &VersionRecord) -> (&str, u64) {
    let number = match record.version {
        Version::Latest => 0,
        Version::Published(number) => number,
    };
    (record.id.name.as_str(), number)
}

/// As [`read_marker`] reads it.
fn write_marker(name: &str, number: u64) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{name}:{number}"))
}

/// What comes before the page; before everything without a marker.
pub(super) fn read_marker(marker: Option<&str>) -> Result<(String, i64), Error> {
    let Some(marker) = marker.filter(|marker| !marker.is_empty()) else { return Ok((String::new(), -1)) };
    let read = || {
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(marker).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (name, number) = text.split_once(':')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    read().ok_or_else(|| Error::invalid("The Marker is not one that an earlier answer gave."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{logic::states::tests::record, model::Condition};
    use proptest::prelude::*;

    #[test]
    fn markers_lead_on_from_the_last_entry() {
        let records = vec![record(Condition::Active); 3];
        let (shown, marker) = page(records.clone(), 2, place);
        assert_eq!(shown.len(), 2);
        assert_eq!(read_marker(marker.as_deref()).unwrap(), ("hello".to_owned(), 0));
        assert_eq!(page(records, 3, place).1, None);
    }

    proptest! {
        #[test]
        fn any_marker_is_read_or_refused(text in ".{0,80}") {
            let _ = read_marker(Some(&text));
        }
    }
}
