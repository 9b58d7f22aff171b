//! The published list of operations, made from the services' tables.

use crate::{Api, Route};
use std::fmt::Write;

/// One row of the published list of operations, see [`operations`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// Signing name.
    pub service: &'static str,
    /// Wire name.
    pub operation: &'static str,
    /// `REST-JSON`, `JSON 1.1`, …
    pub protocols: Vec<&'static str>,
    /// `POST /path`, `POST / (X-Amz-Target: Prefix.Operation)`, `POST / (Action=Operation)`.
    pub route: String,
    /// IAM name, if any.
    pub permission: Option<&'static str>,
    /// Declared errors.
    pub errors: Vec<&'static str>,
    /// Whether it works; otherwise the answer is [`Listed::refusal`].
    pub works: bool,
    /// Code of the error that names an operation that does not work.
    pub refusal: Option<&'static str>,
}

/// The published list of a service: what works and what is refused by name. `docs/operations.md` is made from it.
pub fn operations(api: &'static Api) -> Vec<Listed> {
    let row = |name: &'static str, http: &Option<Route>| Listed {
        service: api.name,
        operation: name,
        protocols: api.protocols.iter().map(|protocol| protocol.title()).collect(),
        route: match http {
            Some(route) => format!("{} {}", route.method, route.path),
            None => api.protocols.first().map_or_else(String::new, |protocol| protocol.route_of(name)),
        },
        permission: None,
        errors: Vec::new(),
        works: true,
        refusal: None,
    };
    let works = api.operations.iter().map(|operation| Listed {
        permission: operation.permission,
        errors: operation.errors.to_vec(),
        ..row(operation.name, &operation.http)
    });
    let missing = api.missing.iter().map(|missing| Listed {
        works: false,
        refusal: api.protocols.first().map(|protocol| protocol.unknown_operation()),
        ..row(missing.name, &missing.http)
    });
    works.chain(missing).collect()
}

/// The list as a Markdown page: a section for each service.
pub fn operations_page(apis: impl IntoIterator<Item = &'static Api>) -> String {
    let mut page = String::from(
        "# Operations\n\nMade from the services' tables by a command; do not edit.\n\nA request for an operation that is \
         listed as not implemented gets the error shown and is never silently accepted.\n",
    );
    for api in apis {
        section(api, &mut page);
    }
    page
}

fn section(api: &'static Api, page: &mut String) {
    let protocols: Vec<&str> = api.protocols.iter().map(|protocol| protocol.title()).collect();
    let rows = operations(api);
    let works = rows.iter().filter(|row| row.works).count();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "\n## {}\n\n{}\n\n{}. {works} operations.\n\n| operation | route | permission | errors |\n|---|---|---|---|\n",
        api.name,
        api.doc.trim(),
        protocols.join(", ")
    );
    for row in rows.iter().filter(|row| row.works) {
        let permission = row.permission.map_or("any valid signature".to_owned(), |name| format!("`{name}`"));
        let _ = writeln!(
            page,
            "| {} | `{}` | {permission} | {} |",
            row.operation,
            row.route,
            row.errors.join(", ")
        );
    }
    let missing: Vec<&str> = rows.iter().filter(|row| !row.works).map(|row| row.operation).collect();
    if let Some(refusal) = rows.iter().find_map(|row| row.refusal) {
        let _ = write!(page, "\nNot implemented ({refusal}): {}.\n", missing.join(", "));
    }
}
