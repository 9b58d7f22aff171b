//! The operations: each reads a request, applies [`crate::logic`], and commits.

mod aliases;
mod change;
mod concurrency;
mod create;
mod delete;
mod event_config;
mod invoke;
mod layers;
mod list;
mod publish;
mod read;
mod tags;
mod upload;

pub(crate) use invoke::{Call, run};
pub(crate) use upload::settle_code;
