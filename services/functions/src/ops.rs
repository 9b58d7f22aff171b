//! The operations: each reads a request, applies [`crate::logic`], and commits.

mod aliases;
mod change;
mod concurrency;
mod create;
mod delete;
mod event_config;
mod invoke;
mod invoke_later;
mod layers;
mod list;
mod management;
mod mappings;
mod policy;
mod provisioned;
mod publish;
mod read;
mod tags;
mod upload;
mod url;

pub(crate) use invoke::{Call, Outcome, begin, brought_trace, collect, run};
pub(crate) use mappings::principal;
pub(crate) use upload::settle_code;
pub(crate) use url::of_word;
