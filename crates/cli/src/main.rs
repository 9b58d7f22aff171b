//! The `neap` command: parse, configure, build, run, exit code.

mod args;
mod client;
mod commands;
mod error;
mod node;
mod output;
mod project;
mod settings;

use args::{Arguments, Command};
use clap::Parser;
use commands::Ending;
use error::Error;
use node::Mode;
use output::Output;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long work on other threads, such as an installation, may go on after the command has ended.
const LINGER: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::detect(arguments.json);
    match run(arguments.command, output) {
        Ok(Ending::Success) => ExitCode::SUCCESS,
        Ok(Ending::Failure) => ExitCode::FAILURE,
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, output: Output) -> Result<Ending, Error> {
    match command {
        Command::Serve(arguments) => {
            start_log(output, "info");
            let prepared = node::prepare(&arguments, Mode::Serve)?;
            on(node_runtime(&prepared)?, commands::serve::run(prepared, output))
        }
        Command::Dev(arguments) => {
            start_log(output, "warn");
            let prepared = node::prepare(&arguments.node, Mode::Dev)?;
            on(node_runtime(&prepared)?, commands::dev::run(prepared, arguments, output))
        }
        Command::Deploy(arguments) => on(client_runtime()?, commands::deploy::run(arguments, output)),
        Command::Invoke(arguments) => on(client_runtime()?, commands::invoke::run(arguments, output)),
        Command::Logs(arguments) => on(client_runtime()?, commands::logs::run(arguments, output)),
        Command::Ls(arguments) => on(client_runtime()?, commands::list::run(arguments, output)),
        Command::Ps(arguments) => on(client_runtime()?, commands::ps::run(arguments, output)),
        Command::Rm(arguments) => on(client_runtime()?, commands::remove::run(arguments, output)),
        Command::Cost(arguments) => on(client_runtime()?, commands::cost::run(arguments, output)),
        Command::Queues(arguments) => on(client_runtime()?, commands::queues::run(arguments, output)),
        Command::Budget(arguments) => on(client_runtime()?, commands::budget::run(arguments, output)),
        Command::Tune(arguments) => on(client_runtime()?, commands::tune::run(arguments, output)),
        Command::Doctor(arguments) => commands::doctor::run(&arguments, output),
        Command::Credentials(arguments) => commands::credentials::run(&arguments, output),
        Command::Operations => {
            output.line(server::operations().trim_end());
            Ok(Ending::Success)
        }
        Command::Completions(arguments) => Ok(commands::completions::run(&arguments)),
        Command::CompileWasm(arguments) => Ok(commands::compile_wasm::run(&arguments)),
    }
}

/// Runs to the end of the command; what other threads still do then is given a moment, not waited for.
fn on(runtime: Runtime, work: impl Future<Output = Result<Ending, Error>>) -> Result<Ending, Error> {
    let ending = runtime.block_on(work);
    runtime.shutdown_timeout(LINGER);
    ending
}

fn node_runtime(prepared: &node::Prepared) -> Result<Runtime, Error> {
    built(Builder::new_multi_thread().worker_threads(prepared.workers()).enable_all())
}

fn client_runtime() -> Result<Runtime, Error> {
    built(Builder::new_current_thread().enable_all())
}

fn built(builder: &mut Builder) -> Result<Runtime, Error> {
    builder.build().map_err(|source| Error::System { what: "asynchronous runtime", source })
}

/// What the node reports goes to standard error; `NEAP_LOG` chooses what (e.g. `debug`, `neap_fleet=trace`).
fn start_log(output: Output, usual: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("NEAP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output.colour_err)
        .init();
}
