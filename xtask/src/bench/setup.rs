//! What benches have in common: the binary, a node, functions on it, what it says of itself.

use super::{
    Outcome,
    apps::{self, App},
    cargo, cargo_output,
    options::Options,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use testkit::{
    client::{self, Client},
    node::Node,
};

/// Distinct ready-made requests; few enough to be made in no time, many enough that none repeats at once.
const RING: usize = 256;
/// The SDKs for functions are not part of any measurement and are not downloaded for it.
pub(crate) const CONFIG: &str = "[runtimes]\ninstall_sdks = false\n";

/// The binary that the options name, or a new build of it.
pub(crate) fn binary(options: &Options) -> Outcome<PathBuf> {
    options.neap.clone().map_or_else(built, Ok)
}

pub(crate) fn built() -> Outcome<PathBuf> {
    progress("building neap");
    cargo(&["build", "--release", "--quiet", "--package", "neap"])?;
    Ok(target()?.join("release/neap"))
}

/// Where cargo builds.
pub(crate) fn target() -> Outcome<PathBuf> {
    let metadata = cargo_output(&["metadata", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    let target = metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
    Ok(PathBuf::from(target))
}

pub(crate) fn start(neap: &Path) -> Outcome<Node> {
    Node::start(neap, CONFIG).map_err(|error| error.to_string())
}

/// The apps that the options choose.
pub(crate) fn apps(options: &Options) -> Vec<App> {
    let mut apps = App::all();
    apps.retain(|app| options.apps.is_empty() || options.apps.iter().any(|name| name == app.name()));
    apps
}

/// Creates a function of `app` and waits until it is active.
pub(crate) fn create(client: &Client, app: App, name: &str, bootstrap: Option<&Path>) -> Outcome<()> {
    deploy(client, name, app.runtime(), &app.package(bootstrap)?)
}

/// Creates a function from a runtime, a handler and a package, and waits until it is active.
pub(crate) fn deploy(
    client: &Client,
    name: &str,
    (runtime, handler): (&str, &str),
    zip: &[u8],
) -> Outcome<()> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let function = json!({
        "FunctionName": name, "Runtime": runtime, "Handler": handler, "Role": "arn:aws:iam::000000000000:role/bench",
        "Architectures": [architecture], "MemorySize": 128, "Timeout": 30,
        "Code": { "ZipFile": STANDARD.encode(zip) },
    });
    let created = client.lambda(&Method::POST, "/2015-03-31/functions", &function);
    created.map_err(|error| format!("{name} in {runtime}: {error}"))?;
    active(client, name)
}

/// Waits until the last change of a function has taken effect.
pub(crate) fn active(client: &Client, name: &str) -> Outcome<()> {
    let path = format!("/2015-03-31/functions/{name}/configuration");
    let began = Instant::now();
    loop {
        let state = client.lambda(&Method::GET, &path, &Value::Null).map_err(|error| error.to_string())?;
        let settled = state["LastUpdateStatus"].as_str().is_none_or(|status| status != "InProgress");
        match state["State"].as_str() {
            Some("Active") if settled => return Ok(()),
            Some("Failed") => return Err(format!("{name} failed: {}", state["StateReason"])),
            _ if began.elapsed() > Duration::from_secs(60) => {
                return Err(format!("{name} is not active: {state}"));
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Changes the configuration, so that no environment of before serves.
pub(crate) fn renew(client: &Client, function: &str, number: usize) -> Outcome<()> {
    let path = format!("/2015-03-31/functions/{function}/configuration");
    let change = json!({ "Environment": { "Variables": { "ROUND": number.to_string() } } });
    client.lambda(&Method::PUT, &path, &change).map_err(|error| error.to_string())?;
    active(client, function)
}

/// Gives a function a URL for everyone; its host name.
pub(crate) fn open(client: &Client, name: &str, mode: &str) -> Outcome<String> {
    let url = json!({ "AuthType": "NONE", "InvokeMode": mode });
    let made = client.lambda(&Method::POST, &format!("/2021-10-31/functions/{name}/url"), &url);
    let made = made.map_err(|error| error.to_string())?;
    let grants = [
        json!({"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}),
        json!({"StatementId": "via", "Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": true}),
    ];
    for grant in grants {
        let granted = client.lambda(&Method::POST, &format!("/2015-03-31/functions/{name}/policy"), &grant);
        granted.map_err(|error| error.to_string())?;
    }
    let url = made["FunctionUrl"].as_str().unwrap_or_default();
    Ok(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

pub(crate) fn ring(client: &Client, function: &str) -> Outcome<Vec<Bytes>> {
    let signed = |number| client.invocation(function, apps::event(number).as_bytes());
    (0..RING).map(signed).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Waits until what the first start of a runtime makes is there, which shortens all others: a zygote, an archive of classes.
pub(super) fn await_runtime(node: &Node, app: App) -> Outcome<()> {
    for _ in 0..1_000 {
        let is_there = match app {
            App::Python => counter(node, "neap_zygotes")? > 0.0,
            App::Java => has_archive(&node.data().join("runtimes/boot")),
            App::Node | App::Rust => true,
        };
        if is_there {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn has_archive(boot: &Path) -> bool {
    let Ok(programs) = std::fs::read_dir(boot) else { return false };
    programs.filter_map(Result::ok).any(|program| program.path().join("neap-java.jsa").exists())
}

/// A metric, summed over its labels.
pub(super) fn counter(node: &Node, metric: &str) -> Outcome<f64> {
    let text = metrics(node)?;
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| name.split('{').next() == Some(metric))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    if values.is_empty() { Err(format!("the node has no metric {metric}")) } else { Ok(values.iter().sum()) }
}

pub(super) fn metrics(node: &Node) -> Outcome<String> {
    let answer = client::get(node.address, "/_neap/metrics").map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// Ends a node; processes that it leaves behind are an error.
pub(crate) fn leave(node: Node) -> Outcome<()> {
    let left = node.stop();
    if left.is_empty() { Ok(()) } else { Err(format!("the node left processes behind: {left:?}")) }
}

pub(crate) fn progress(text: &str) {
    eprintln!("  {text}");
}

pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}
