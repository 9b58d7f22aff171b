//! Costs by the value of a tag.

use super::dollars;
use crate::{args, client::usage::FunctionUsage, output::table};
use serde::Serialize;
use std::collections::{BTreeMap, btree_map::Entry};

/// What all functions with one value of the tag used; no value: those without the tag.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Group {
    pub(super) value: Option<String>,
    pub(super) functions: Vec<String>,
    pub(super) invocations: u64,
    pub(super) errors: u64,
    pub(super) billed_ms: u64,
    pub(super) gb_seconds: f64,
    /// Book to US dollars.
    pub(super) cost: BTreeMap<String, String>,
}

/// By value, those without at the end. `None` if an amount cannot be read.
pub(super) fn groups(tagged: &[(Option<String>, &FunctionUsage)]) -> Option<Vec<Group>> {
    let mut groups: BTreeMap<(bool, &Option<String>), Group> = BTreeMap::new();
    for (value, function) in tagged {
        let group = groups.entry((value.is_none(), value)).or_default();
        group.value.clone_from(value);
        group.functions.push(function.function.clone());
        let used = &function.used;
        group.invocations += used.invocations;
        group.errors += used.errors;
        group.billed_ms += used.billed_ms;
        group.gb_seconds += used.gb_seconds;
        for (book, cost) in &used.cost {
            match group.cost.entry(book.clone()) {
                Entry::Vacant(vacant) => drop(vacant.insert(cost.clone())),
                Entry::Occupied(mut sum) => {
                    let both = dollars::sum([sum.get().as_str(), cost])?;
                    sum.insert(both);
                }
            }
        }
    }
    Some(groups.into_values().collect())
}

/// For people.
pub(super) fn report(key: &str, groups: &[Group], book: args::Book) -> String {
    let rows = groups
        .iter()
        .map(|group| {
            vec![
                group.value.clone().unwrap_or_else(|| "(none)".to_owned()),
                group.functions.len().to_string(),
                group.invocations.to_string(),
                group.errors.to_string(),
                format!("{:.3}", group.gb_seconds),
                format!("$ {}", group.cost.get(book.as_str()).map_or("0.00", String::as_str)),
            ]
        })
        .collect();
    let heading = key.to_uppercase();
    table(&[&heading, "FUNCTIONS", "CALLS", "ERRORS", "GB-S", "COST"], &[1, 2, 3, 4, 5], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::usage::Used;

    #[test]
    fn functions_are_added_up_by_value_and_those_without_come_last() {
        let function = |name: &str, cost: &str| FunctionUsage {
            function: name.into(),
            region: "us-east-1".into(),
            used: Used { invocations: 2, cost: [("aws".into(), cost.into())].into(), ..Used::default() },
            lines: Vec::new(),
        };
        let (a, b, c) = (function("a", "0.10"), function("b", "0.0000002"), function("c", "3.00"));
        let tagged = [(None, &c), (Some("shop".to_owned()), &a), (Some("shop".to_owned()), &b)];
        let found = groups(&tagged).unwrap();
        assert_eq!(
            found.iter().map(|group| group.value.as_deref()).collect::<Vec<_>>(),
            [Some("shop"), None]
        );
        assert_eq!((found[0].cost["aws"].as_str(), found[0].invocations), ("0.1000002", 4));
        let text = report("team", &found, args::Book::Aws);
        assert!(text.starts_with("TEAM") && text.lines().nth(2).unwrap().starts_with("(none)"), "{text}");
    }
}
