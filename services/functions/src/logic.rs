//! The rules, pure: what names mean, what a configuration may be, when and how events are retried.

pub mod aliases;
pub mod dispatch;
pub mod environment;
pub mod event_config;
pub mod names;
pub mod policy;
pub mod retry;
pub mod settings;
pub mod states;
