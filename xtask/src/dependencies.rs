//! The dependency rule: which crate of the workspace may use which, and which outside libraries a crate must not know.
//!
//! This table is the rule; ARCHITECTURE.md explains it. A crate missing here fails the check.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

struct Rule {
    /// Package name.
    package: &'static str,
    /// Packages of the workspace that it may use.
    may_use: &'static [&'static str],
    /// Libraries that it must never know.
    never: &'static [&'static str],
}

const HTTP: &[&str] = &["hyper", "http", "hyper-util", "http-body-util"];
const SQL: &[&str] = &["rusqlite", "postgres"];

const RULES: &[Rule] = &[
    Rule { package: "neap-base", may_use: &[], never: &["tokio", "hyper", "http", "rusqlite", "postgres"] },
    Rule { package: "neap-store", may_use: &["neap-base"], never: HTTP },
    Rule { package: "neap-wire", may_use: &["neap-base"], never: SQL },
    Rule {
        package: "neap-pattern",
        may_use: &[],
        never: &["tokio", "hyper", "http", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-sandbox",
        may_use: &["neap-base"],
        never: &["hyper", "http", "rusqlite", "postgres"],
    },
    Rule { package: "neap-runtimes", may_use: &["neap-base", "neap-sandbox"], never: SQL },
    Rule { package: "neap-wasm", may_use: &["neap-base", "neap-sandbox", "neap-runtimes"], never: SQL },
    Rule {
        package: "neap-fleet",
        may_use: &["neap-base"],
        never: &["hyper", "http", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-functions",
        may_use: &["neap-base", "neap-store", "neap-wire", "neap-pattern"],
        never: &["hyper", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-identity",
        may_use: &["neap-base", "neap-store", "neap-wire"],
        never: &["hyper", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-queues",
        may_use: &["neap-base", "neap-store", "neap-wire"],
        never: &["hyper", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-scaling",
        may_use: &["neap-base", "neap-store", "neap-wire"],
        never: &["hyper", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-telemetry",
        may_use: &["neap-base", "neap-store", "neap-wire"],
        never: &["hyper", "rusqlite", "postgres"],
    },
    Rule {
        package: "neap-server",
        may_use: &[
            "neap-base",
            "neap-store",
            "neap-wire",
            "neap-sandbox",
            "neap-runtimes",
            "neap-wasm",
            "neap-fleet",
            "neap-functions",
            "neap-identity",
            "neap-queues",
            "neap-scaling",
            "neap-telemetry",
        ],
        never: SQL,
    },
    Rule { package: "neap", may_use: &["neap-server", "neap-base", "neap-wire"], never: SQL },
    // Development only: nothing may depend on these outside of tests.
    Rule { package: "neap-testkit", may_use: &["neap-base", "neap-wire"], never: &[] },
    Rule {
        package: "xtask",
        may_use: &["neap-testkit", "neap-base", "neap-wire", "neap-store", "neap-queues", "neap-sandbox"],
        never: &[],
    },
];

/// Fails with every violation found.
pub(crate) fn check() -> Result<(), String> {
    let metadata = MetadataCommand::new().no_deps().exec().map_err(|error| error.to_string())?;
    let ours: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let wrong: Vec<String> =
        metadata.packages.iter().flat_map(|package| violations(package, &ours)).collect();
    if wrong.is_empty() {
        println!("dependency rule: {} crates checked", ours.len());
        return Ok(());
    }
    Err(wrong.join("\n"))
}

fn violations(package: &Package, ours: &[&str]) -> Vec<String> {
    let Some(rule) = RULES.iter().find(|rule| rule.package == package.name.as_str()) else {
        return vec![format!("{}: has no rule in xtask/src/dependencies.rs", package.name)];
    };
    let used = package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal);
    used.filter_map(|dependency| {
        let name = dependency.name.as_str();
        let inside = ours.contains(&name);
        let refused = (inside && !rule.may_use.contains(&name)) || rule.never.contains(&name);
        refused.then(|| format!("{} must not depend on {name}", package.name))
    })
    .collect()
}
