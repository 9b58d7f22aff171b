//! The rules, pure: what names mean, what a configuration may be, when and how events are retried, how HTTP and events
//! become each other.

pub mod aliases;
pub mod cors;
pub mod destinations;
pub mod dispatch;
pub mod environment;
pub mod event_config;
pub mod http_answer;
pub mod http_event;
pub mod layers;
pub mod mappings;
pub mod names;
pub mod policy;
pub mod provisioned;
pub mod recursion;
pub mod retry;
pub mod sampling;
pub mod settings;
pub mod states;
pub mod tags;
pub mod url;
