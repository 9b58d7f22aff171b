//! Runs a command with a PostgreSQL server of its own, for the tests of services.
//!
//! `cargo run -p neap-store --example with_postgres -- COMMAND ARGUMENT…` makes a server in a temporary folder, names it to the
//! command as `NEAP_TEST_POSTGRES`, ends it afterwards, and exits as the command did. Where there is no PostgreSQL it says
//! `SKIPPED` on standard error and runs the command without.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)] // Shares its server with the tests.

#[path = "../tests/store/server.rs"]
mod server;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with_postgres COMMAND ARGUMENT…");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(words);
    let server = server::Server::start();
    match &server {
        Ok(server) => {
            command.env("NEAP_TEST_POSTGRES", server.url());
        }
        Err(why) => eprintln!("SKIPPED what needs PostgreSQL: {why}"),
    }
    match command.status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            ExitCode::from(127)
        }
    }
}
