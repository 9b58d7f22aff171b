//! `neap doctor`: what this machine gives to functions, what is missing, and what that costs.

use super::Ending;
use crate::{
    args,
    error::Error,
    output::{Output, Paint, table},
    project::{HostTools, Tools},
    settings::{self, Process},
};
use serde::Serialize;
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs the command. Something needed that is missing is [`Ending::Failure`].
pub(crate) fn run(arguments: &args::Doctor, output: Output) -> Result<Ending, Error> {
    let listen = arguments.node.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 4566)));
    let data = settings::data_folder(arguments.node.data.as_deref(), &Process);
    let mut findings: Vec<_> = server::doctor().checks.into_iter().map(Finding::from).collect();
    findings.push(runtime("python", pythons(&HostTools::default())));
    findings.push(runtime("node", version("node", &["--version"]).into_iter().collect()));
    findings.push(java(server::java_versions()));
    findings.push(runtime("ruby", version("ruby", &["--version"]).into_iter().collect()));
    findings.push(tool(
        "pip",
        "python3",
        &["-m", "pip", "--version"],
        "`neap deploy` cannot install requirements.txt",
    ));
    findings.push(tool(
        "npm",
        "npm",
        &["--version"],
        "`neap deploy` cannot install the dependencies of package.json",
    ));
    findings.push(tool("cargo", "cargo", &["--version"], "`neap deploy` cannot build Cargo projects"));
    findings.push(tool("javac", "javac", &["-version"], "`neap deploy` cannot compile Java sources"));
    findings.push(tool("go", "go", &["version"], "`neap deploy` cannot build Go modules"));
    findings.push(port(listen));
    findings.push(folder(&data));
    let missing = findings.iter().any(|finding| finding.status == Status::Missing);
    if output.json {
        output.json_document(&serde_json::json!({ "ok": !missing, "checks": findings }));
    } else {
        output.line(&report(&findings, output.paint()));
    }
    Ok(if missing { Ending::Failure } else { Ending::Success })
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    status: Status,
    detail: String,
    /// What its state costs; empty when all is well.
    consequence: String,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it should be.
    Ok,
    /// Something does less or is slower.
    Degraded,
    /// A node does not start, or runs no functions.
    Missing,
}

impl From<server::doctor::Check> for Finding {
    fn from(check: server::doctor::Check) -> Finding {
        let status = match check.status {
            server::doctor::Status::Ok => Status::Ok,
            server::doctor::Status::Degraded => Status::Degraded,
            server::doctor::Status::Missing => Status::Missing,
        };
        Finding { name: check.name.to_owned(), status, detail: check.detail, consequence: check.consequence }
    }
}

impl Finding {
    fn new(name: &str, status: Status, detail: String, consequence: &str) -> Finding {
        Finding { name: name.to_owned(), status, detail, consequence: consequence.to_owned() }
    }
}

/// The versions of Python that start, newest first.
fn pythons(tools: &dyn Tools) -> Vec<String> {
    let started =
        |minor| tools.python(&format!("python3.{minor}")).filter(|found| found.version == (3, minor));
    let found = (9..=14).rev().filter_map(started);
    found.map(|python| format!("{}.{}", python.version.0, python.version.1)).collect()
}

/// Which interpreters of a language answer.
fn runtime(language: &str, found: Vec<String>) -> Finding {
    let name = format!("runtime-{language}");
    if found.is_empty() {
        let cost = format!("functions in {language} are refused");
        return Finding::new(&name, Status::Degraded, "none found".to_owned(), &cost);
    }
    Finding::new(&name, Status::Ok, found.join(", "), "")
}

/// Which JDKs are there, newest first; one without a compiler runs nothing.
fn java(found: Vec<(String, bool)>) -> Finding {
    let (whole, bare): (Vec<_>, Vec<_>) =
        found.into_iter().rev().partition(|(_, has_compiler)| *has_compiler);
    let names = |some: Vec<(String, bool)>| some.into_iter().map(|(version, _)| version).collect::<Vec<_>>();
    if whole.is_empty() && !bare.is_empty() {
        let detail = format!("{} without a compiler (the module jdk.compiler)", names(bare).join(", "));
        return Finding::new("runtime-java", Status::Degraded, detail, "functions in java are refused");
    }
    runtime("java", names(whole))
}

/// Whether a program that packages need answers.
fn tool(name: &str, program: &str, arguments: &[&str], cost: &str) -> Finding {
    match version(program, arguments) {
        Some(version) => Finding::new(name, Status::Ok, version, ""),
        None => Finding::new(name, Status::Degraded, "not found".to_owned(), cost),
    }
}

/// The first line that a program prints when asked for its version, without anything in parentheses or paths.
fn version(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim();
    Some(line.split(" from ").next().unwrap_or(line).to_owned())
}

/// Whether a node could listen.
fn port(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::new("port", Status::Ok, format!("{listen} is free"), ""),
        Err(error) => Finding::new(
            "port",
            Status::Degraded,
            format!("{listen}: {error}"),
            "a node runs there already, or another program does: choose another with --listen",
        ),
    }
}

/// Whether a node could keep its data.
fn folder(data: &Path) -> Finding {
    let detail = data.display().to_string();
    match nearest(data) {
        Some(existing) if writable(&existing) => Finding::new("data-folder", Status::Ok, detail, ""),
        Some(_) | None => Finding::new(
            "data-folder",
            Status::Missing,
            format!("{detail} cannot be written"),
            "a node does not start: name another folder with --data",
        ),
    }
}

/// The folder itself or the nearest one above it that exists.
fn nearest(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|above| above.is_dir()).map(Path::to_owned)
}

/// Whether a file can be made there.
fn writable(folder: &Path) -> bool {
    let probe = folder.join(format!(".neap-doctor-{}", std::process::id()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe).is_ok();
    if made {
        let _ = std::fs::remove_file(&probe);
    }
    made
}

fn report(findings: &[Finding], paint: Paint) -> String {
    let rows = findings
        .iter()
        .map(|finding| {
            let status = match finding.status {
                Status::Ok => paint.green("ok"),
                Status::Degraded => paint.yellow("degraded"),
                Status::Missing => paint.red("missing"),
            };
            vec![status, finding.name.clone(), finding.detail.clone()]
        })
        .collect();
    let mut text = table(&["STATUS", "CHECK", "FOUND"], &[], rows);
    let costs: Vec<_> = findings.iter().filter(|finding| !finding.consequence.is_empty()).collect();
    for finding in &costs {
        text.push_str(&format!("\n{}: {}", paint.bold(&finding.name), finding.consequence));
    }
    if costs.is_empty() {
        text.push_str("\nThis machine gives everything that Neap uses.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_noticed() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(port(taken.local_addr().unwrap()).status, Status::Degraded);
        assert_eq!(port(SocketAddr::from(([127, 0, 0, 1], 0))).status, Status::Ok);
    }

    #[test]
    fn a_data_folder_that_can_be_made_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(super::folder(&folder.path().join("a/b")).status, Status::Ok);
        assert_eq!(super::folder(Path::new("/proc/neap")).status, Status::Missing);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_java_without_a_compiler_is_none() {
        let found = |all: &[(&str, bool)]| {
            let finding = java(all.iter().map(|(version, whole)| ((*version).to_owned(), *whole)).collect());
            (finding.status, finding.detail)
        };
        assert_eq!(found(&[]), (Status::Degraded, "none found".to_owned()));
        assert_eq!(found(&[("17.0.1", true), ("25.0.2", true)]), (Status::Ok, "25.0.2, 17.0.1".to_owned()));
        assert_eq!(
            found(&[("17.0.1", false)]),
            (Status::Degraded, "17.0.1 without a compiler (the module jdk.compiler)".to_owned())
        );
    }

    #[test]
    fn what_costs_something_is_said_below_the_table() {
        let output = Output { json: false, colour_out: false, colour_err: false, live: false };
        let well = Finding::new("a", Status::Ok, "x".into(), "");
        let ill = Finding::new("b", Status::Missing, "y".into(), "no functions run");
        assert!(report(&[well], output.paint()).ends_with("everything that Neap uses."));
        assert!(report(&[ill], output.paint()).ends_with("b: no functions run"));
    }
}
