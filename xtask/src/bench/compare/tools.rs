//! What could be run instead of Neap: how each is started, by its own documentation, and what it isolates.

use super::{
    super::{Outcome, apps::interpreter, wasm},
    Language,
    kit::{Kit, Part},
};
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use testkit::{node::free_address, process};

/// How long a tool may take to end before it is killed.
const END_MAX: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Workerd,
    /// The same binary with a worker that loads another for each request.
    WorkerdLoader,
    Deno,
    /// An instance for each processor.
    DenoParallel,
    FrameworkNode,
    ServerlessOffline,
    FrameworkPython,
    Wasmtime,
}

/// What is new when a tool answers for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The tool's process.
    Process,
    /// What a running process makes for each request.
    PerRequest(&'static str),
}

impl Tool {
    pub(super) const ALL: [Tool; 8] = [
        Tool::Workerd,
        Tool::WorkerdLoader,
        Tool::Deno,
        Tool::DenoParallel,
        Tool::FrameworkNode,
        Tool::ServerlessOffline,
        Tool::FrameworkPython,
        Tool::Wasmtime,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::Workerd => "workerd",
            Tool::WorkerdLoader => "workerd, worker loader",
            Tool::Deno => "Deno",
            Tool::DenoParallel => "Deno, --parallel",
            Tool::FrameworkNode => "Functions Framework, Node.js",
            Tool::ServerlessOffline => "serverless-offline, Node.js",
            Tool::FrameworkPython => "Functions Framework, Python",
            Tool::Wasmtime => "wasmtime serve",
        }
    }

    pub(super) fn language(self) -> Language {
        match self {
            Tool::FrameworkPython => Language::Python,
            Tool::Wasmtime => Language::WebAssembly,
            Tool::Workerd
            | Tool::WorkerdLoader
            | Tool::Deno
            | Tool::DenoParallel
            | Tool::FrameworkNode
            | Tool::ServerlessOffline => Language::JavaScript,
        }
    }

    /// What stands between a function and others, or the host; and what serves requests at the same time.
    pub(super) fn isolation(self) -> &'static str {
        match self {
            Tool::Workerd => {
                "V8 isolate for each worker, process shared, no sandbox of its own around it; one thread runs JavaScript"
            }
            Tool::WorkerdLoader => {
                "V8 isolate for each request, process shared, no sandbox of its own around it; experimental"
            }
            Tool::Deno => {
                "Deno's permissions, which the runtime checks; a process for each function; one thread"
            }
            Tool::DenoParallel => "the same; a thread for each processor",
            Tool::FrameworkNode => "nothing; a process for each function; one thread",
            Tool::ServerlessOffline => "nothing: a development tool; worker threads of one process",
            Tool::FrameworkPython => "nothing; a process for each function; four threads for each processor",
            Tool::Wasmtime => {
                "WebAssembly instance for each request, process shared; a thread for each processor"
            }
        }
    }

    /// Whether warm requests are measured: with the loader every one is a first.
    pub(super) fn is_warm(self) -> bool {
        self != Tool::WorkerdLoader
    }

    /// Which first answers are measured.
    pub(super) fn firsts(self) -> &'static [First] {
        match self {
            Tool::Workerd
            | Tool::Deno
            | Tool::FrameworkNode
            | Tool::ServerlessOffline
            | Tool::FrameworkPython => &[First::Process],
            Tool::WorkerdLoader => &[First::PerRequest("isolate")],
            Tool::DenoParallel => &[],
            Tool::Wasmtime => &[First::PerRequest("instance"), First::Process],
        }
    }

    /// Its version as it tells it.
    pub(super) fn version(self, kit: &Kit) -> Outcome<String> {
        match self {
            Tool::Workerd | Tool::WorkerdLoader => told(Command::new(workerd(kit)?).arg("--version")),
            Tool::Deno | Tool::DenoParallel => told(Command::new(deno(kit)?).arg("--version")),
            Tool::FrameworkNode => manifest(&kit.part(Part::Npm)?, "@google-cloud/functions-framework")
                .map(|it| format!("version {it}")),
            Tool::ServerlessOffline => {
                let folder = kit.part(Part::Serverless)?;
                let (own, of) = (manifest(&folder, "serverless-offline")?, manifest(&folder, "serverless")?);
                Ok(format!("version {own} in serverless {of}"))
            }
            Tool::FrameworkPython => {
                let ask = "import importlib.metadata as m; print('version', m.version('functions-framework'), 'with gunicorn', m.version('gunicorn'))";
                told(Command::new(kit.part(Part::Python)?.join("venv/bin/python")).args(["-c", ask]))
            }
            Tool::Wasmtime => told(Command::new(kit.wasmtime()?).arg("--version")),
        }
    }

    /// How it serves the handler of `stage` at `address`.
    fn command(self, kit: &Kit, stage: &Stage, address: SocketAddr) -> Outcome<Command> {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let file = |name: &str| stage.folder.path().join(name);
        let mut command;
        match self {
            Tool::Workerd => {
                command = Command::new(workerd(kit)?);
                command.arg("serve").arg(file("worker.capnp")).arg(format!("--socket-addr=http={address}"));
            }
            Tool::WorkerdLoader => {
                command = Command::new(workerd(kit)?);
                command.args(["serve", "--experimental"]).arg(file("loader.capnp"));
                command.arg(format!("--socket-addr=http={address}"));
            }
            Tool::Deno | Tool::DenoParallel => {
                command = Command::new(deno(kit)?);
                command.arg("serve").args((self == Tool::DenoParallel).then_some("--parallel"));
                command.args(["--host", &host, "--port", &port]).arg(file("worker.js"));
                // Its caches are its own, kept from start to start, and it asks nobody for a newer version.
                command.env("DENO_DIR", file("deno")).env("DENO_NO_UPDATE_CHECK", "1");
            }
            Tool::FrameworkNode => {
                // It listens on every interface and has no option for less.
                command = Command::new(interpreter("node", &["-p", "process.execPath"])?);
                command.arg(
                    kit.part(Part::Npm)?
                        .join("node_modules/@google-cloud/functions-framework/build/src/main.js"),
                );
                command.args(["--target=hello", "--source=function.js", "--port", &port]);
            }
            Tool::ServerlessOffline => {
                let second = free_address().map_err(|error| error.to_string())?.port().to_string();
                command = Command::new(interpreter("node", &["-p", "process.execPath"])?);
                command.arg(kit.part(Part::Serverless)?.join("node_modules/serverless/bin/serverless.js"));
                command.args([
                    "offline",
                    "start",
                    "--noPrependStageInUrl",
                    "--host",
                    &host,
                    "--httpPort",
                    &port,
                ]);
                command.args(["--lambdaPort", &second]);
                command.env("HOME", stage.folder.path());
                command.env("SLS_TELEMETRY_DISABLED", "1").env("SLS_NOTIFICATIONS_MODE", "off");
            }
            Tool::FrameworkPython => {
                command = Command::new(kit.part(Part::Python)?.join("venv/bin/functions-framework"));
                command.args(["--target=hello", "--source=main.py", "--host", &host, "--port", &port]);
            }
            Tool::Wasmtime => {
                command = Command::new(kit.wasmtime()?);
                command
                    .args(["serve", "-S", "cli", "--allow-precompiled", "--addr", &address.to_string()])
                    .arg(file("lean.cwasm"));
            }
        }
        command.current_dir(stage.folder.path());
        Ok(command)
    }
}

/// The binary itself: what npm puts on the path is a script that starts it.
fn workerd(kit: &Kit) -> Outcome<PathBuf> {
    let platform = if cfg!(target_arch = "aarch64") { "workerd-linux-arm64" } else { "workerd-linux-64" };
    native(&kit.part(Part::Npm)?, &format!("@cloudflare/{platform}/bin/workerd"))
}

/// The same of Deno.
fn deno(kit: &Kit) -> Outcome<PathBuf> {
    let platform = if cfg!(target_arch = "aarch64") { "linux-arm64-glibc" } else { "linux-x64-glibc" };
    native(&kit.part(Part::Npm)?, &format!("@deno/{platform}/deno"))
}

fn native(folder: &Path, path: &str) -> Outcome<PathBuf> {
    let binary = folder.join("node_modules").join(path);
    if binary.exists() { Ok(binary) } else { Err("its package has no binary for this machine".to_owned()) }
}

fn manifest(folder: &Path, package: &str) -> Outcome<String> {
    let path = folder.join("node_modules").join(package).join("package.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let manifest: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    manifest["version"].as_str().map(str::to_owned).ok_or_else(|| format!("{package} has no version"))
}

/// The first line that a command prints.
pub(super) fn told(command: &mut Command) -> Outcome<String> {
    let output =
        command.output().map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        Some(_) | None => {
            Err(format!("{:?} told nothing: {}", command, String::from_utf8_lossy(&output.stderr)))
        }
    }
}

/// A folder with the handlers as every tool wants them.
pub(super) struct Stage {
    folder: TempDir,
}

impl Stage {
    pub(super) fn new(kit: &Kit) -> Outcome<Stage> {
        let told = |error: std::io::Error| error.to_string();
        let folder = TempDir::with_prefix("neap-compare-").map_err(told)?;
        macro_rules! file {
            ($name:literal) => {
                fs::write(
                    folder.path().join($name),
                    include_str!(concat!("../../../compare/handlers/", $name)),
                )
                .map_err(told)?;
            };
        }
        file!("worker.js");
        file!("worker.capnp");
        file!("loader.js");
        file!("loader.capnp");
        file!("function.js");
        file!("main.py");
        file!("index.js");
        file!("serverless.yml");
        wasm::lean(folder.path())?;
        if let Ok(serverless) = kit.part(Part::Serverless) {
            // Plugins are looked for beside the service.
            std::os::unix::fs::symlink(serverless.join("node_modules"), folder.path().join("node_modules"))
                .map_err(told)?;
        }
        if let Ok(wasmtime) = kit.wasmtime() {
            // Neap compiles when a function is deployed, not when it starts.
            let mut command = Command::new(wasmtime);
            command.args(["compile", "lean.wasm", "-o", "lean.cwasm"]).current_dir(folder.path());
            if !command.status().map_err(told)?.success() {
                return Err("wasmtime does not compile the component".to_owned());
            }
        }
        Ok(Stage { folder })
    }

    pub(super) fn component(&self) -> PathBuf {
        self.folder.path().join("lean.wasm")
    }
}

/// A tool that runs; ended with all its processes when dropped.
pub(super) struct Running {
    child: Child,
    pub(super) tool: Tool,
    pub(super) address: SocketAddr,
    log: PathBuf,
}

impl Running {
    pub(super) fn start(tool: Tool, kit: &Kit, stage: &Stage) -> Outcome<Running> {
        let address = free_address().map_err(|error| error.to_string())?;
        let mut command = tool.command(kit, stage, address)?;
        let log = stage.folder.path().join(format!("{tool:?}.log"));
        let file = fs::File::create(&log).map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().map_err(|error| format!("{}: {error}", tool.name()))?;
        Ok(Running { child, tool, address, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Of what it wrote to standard error, the line that tells most.
    pub(super) fn complaint(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let error = text.lines().find(|line| line.to_ascii_lowercase().contains("error"));
        error.or(text.lines().last()).unwrap_or_default().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for left in process::end(&mut self.child, END_MAX) {
            process::kill(left);
        }
    }
}
