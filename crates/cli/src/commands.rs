//! The client commands, one file each: each takes its arguments, does its work, and says how it ended.

pub(crate) mod budget;
pub(crate) mod compile_wasm;
pub(crate) mod completions;
pub(crate) mod cost;
pub(crate) mod credentials;
pub(crate) mod deploy;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod invoke;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod ps;
pub(crate) mod queues;
pub(crate) mod remove;
pub(crate) mod serve;
pub(crate) mod tune;

use crate::{
    args::Connection,
    client::Client,
    error::Error,
    settings::{self, Process},
};

/// How a command ended without an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is well.
    Success,
    /// What was looked at is not well: a function failed, something needed is missing. Already said.
    Failure,
}

/// A client for what the arguments and the environment name.
fn client(connection: &Connection) -> Result<Client, Error> {
    Ok(Client::new(settings::resolve(connection, &Process)?))
}
