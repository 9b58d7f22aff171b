//! `neap deploy`: a folder becomes a function, created or updated.

use super::{Ending, client};
use crate::{
    args,
    client::{
        Client,
        functions::{Configuration, Environment, EphemeralStorage, Function},
    },
    error::Error,
    output::{Output, Progress, size, span},
    project::{self, HostTools, Manifest, Package},
    settings::{Process, cache_folder},
};
use serde::Serialize;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Name of the role that functions run as when none is named.
const ROLE: &str = "neap-function";
/// Runs the command.
pub(crate) async fn run(arguments: args::Deploy, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    let order = Order {
        folder: arguments.folder,
        overrides: Manifest {
            name: arguments.name,
            runtime: arguments.runtime,
            handler: arguments.handler,
            memory: arguments.memory,
            timeout: arguments.timeout,
            role: arguments.role,
            environment: arguments.env.into_iter().collect(),
            ..Manifest::default()
        },
        cache: cache_folder(&Process),
        fresh: arguments.fresh,
        tools: Arc::default(),
    };
    let progress = Progress::new(output);
    let begun = Instant::now();
    let deployed = deploy(&client, &order, &progress).await.inspect_err(|_| progress.clear())?;
    let took = begun.elapsed();
    if output.json {
        output.json_document(&Report::new(&deployed, took));
    } else {
        summary(&deployed, took, output);
    }
    Ok(Ending::Success)
}

/// What to deploy.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Folder with the source.
    pub(crate) folder: PathBuf,
    /// Settings that come before those of `neap.toml`.
    pub(crate) overrides: Manifest,
    /// Where installed dependencies are kept.
    pub(crate) cache: PathBuf,
    /// Install them anew.
    pub(crate) fresh: bool,
    /// What is known of this machine; kept between deployments.
    pub(crate) tools: Arc<HostTools>,
}

/// What a deployment did.
#[derive(Debug)]
pub(crate) struct Deployed {
    /// The function as it is now.
    pub(crate) function: Function,
    /// What was changed.
    pub(crate) action: Action,
}

/// What a deployment changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// The function is new.
    Created,
    /// Code or settings are new.
    Updated,
    /// All was as wanted.
    Unchanged,
}

/// Makes the package of a folder and brings its function into that state.
pub(crate) async fn deploy(client: &Client, order: &Order, progress: &Progress) -> Result<Deployed, Error> {
    let package = package(order.clone(), *progress).await?;
    let name = package.name.as_str();
    let present = match client.function(name).await {
        Ok(function) => Some(settled(client, function).await?),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let deployed = match present {
        None => create(client, &package, progress).await?,
        Some(present) => update(client, &package, &present, progress).await?,
    };
    if let Some(warning) = &deployed.function.state_reason {
        progress.warn(warning);
    }
    Ok(deployed)
}

/// Waits for the end of an earlier change; whether it failed does not matter to the next.
async fn settled(client: &Client, function: Function) -> Result<Function, Error> {
    match client.ready(function.clone()).await {
        Err(Error::NotReady { .. }) => Ok(function),
        other => other,
    }
}

/// On a thread of its own: pip, npm and cargo block, and so does compressing.
async fn package(order: Order, progress: Progress) -> Result<Package, Error> {
    let made = tokio::task::spawn_blocking(move || {
        let request = project::Request {
            folder: &order.folder,
            overrides: &order.overrides,
            cache: &order.cache,
            fresh: order.fresh,
        };
        project::prepare(&request, &*order.tools, &progress)
    });
    let failed = |error: tokio::task::JoinError| Error::System { what: "packaging", source: error.into() };
    Ok(made.await.map_err(failed)??)
}

async fn create(client: &Client, package: &Package, progress: &Progress) -> Result<Deployed, Error> {
    let begun = Instant::now();
    progress.doing("create", &upload(package));
    let mut configuration = configuration(package);
    if configuration.role.is_none() {
        configuration.role = Some(format!("arn:aws:iam::{}:role/{ROLE}", client.account().await?));
    }
    let name = package.name.as_str();
    let made = client.create_function(name, &package.zip, package.architecture, &configuration).await?;
    progress.doing("create", "waiting until the function is active");
    let function = client.ready(made).await?;
    progress.done("created", &format!("{name}, {}", span(begun.elapsed())));
    Ok(Deployed { function, action: Action::Created })
}

/// Code first, then settings; what is as wanted is left alone.
async fn update(
    client: &Client,
    package: &Package,
    present: &Function,
    progress: &Progress,
) -> Result<Deployed, Error> {
    let name = package.name.as_str();
    let begun = Instant::now();
    let mut function = present.clone();
    let mut changed = Vec::new();
    if present.code_sha256.as_deref() != Some(&package.sha256) {
        progress.doing("update", &upload(package));
        let made = client.update_code(name, &package.zip, package.architecture).await?;
        function = client.ready(made).await?;
        changed.push("code");
    }
    let configuration = configuration(package);
    if !configuration.holds_for(present) {
        progress.doing("update", "settings");
        let made = client.update_configuration(name, &configuration).await?;
        function = client.ready(made).await?;
        changed.push("settings");
    }
    if changed.is_empty() {
        progress.done("unchanged", name);
        return Ok(Deployed { function, action: Action::Unchanged });
    }
    progress.done("updated", &format!("{name}: {}, {}", changed.join(" and "), span(begun.elapsed())));
    Ok(Deployed { function, action: Action::Updated })
}

fn upload(package: &Package) -> String {
    format!("uploading {}", size(package.zip.len() as u64))
}

fn configuration(package: &Package) -> Configuration {
    let settings = &package.settings;
    Configuration {
        runtime: Some(package.runtime.clone()),
        handler: Some(package.handler.clone()),
        role: settings.role.clone(),
        description: settings.description.clone(),
        memory_size: settings.memory.map(|memory| memory.0),
        timeout: settings.timeout.map(|timeout| timeout.0),
        environment: (!settings.environment.is_empty())
            .then(|| Environment { variables: settings.environment.clone() }),
        ephemeral_storage: settings.scratch.map(|scratch| EphemeralStorage { size: scratch.0 }),
    }
}

fn summary(deployed: &Deployed, took: Duration, output: Output) {
    let Function { function_name, function_arn, code_size, .. } = &deployed.function;
    let paint = output.paint();
    output.line(&format!("{}  {}", paint.bold(function_name), paint.dim(function_arn)));
    output.line(&format!("{} in {}", size(*code_size), span(took)));
    output.note(&output.paint_err().dim(&format!("call it: neap invoke {function_name}")));
}

/// The JSON form.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Report<'a> {
    function: &'a str,
    arn: &'a str,
    action: Action,
    runtime: Option<&'a str>,
    handler: Option<&'a str>,
    code_size: u64,
    code_sha256: Option<&'a str>,
    warning: Option<&'a str>,
    took_ms: u64,
}

impl<'a> Report<'a> {
    fn new(deployed: &'a Deployed, took: Duration) -> Report<'a> {
        let function = &deployed.function;
        Report {
            function: &function.function_name,
            arn: &function.function_arn,
            action: deployed.action,
            runtime: function.runtime.as_deref(),
            handler: function.handler.as_deref(),
            code_size: function.code_size,
            code_sha256: function.code_sha256.as_deref(),
            warning: function.state_reason.as_deref(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
