//! The rules, pure: what names mean, what a configuration may be, when and how events are retried.

pub mod aliases;
pub mod dispatch;
pub mod environment;
pub mod event_config;
pub mod layers;
pub mod names;
pub mod retry;
pub mod settings;
pub mod states;
