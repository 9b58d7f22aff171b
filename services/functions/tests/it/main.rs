//! The service behind a gateway in this process, over fakes of its ports and a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aliases;
mod control;
mod events;
mod growth;
mod habits;
mod invoke;
mod layers;
mod mappings;
mod packages;
mod queues;
mod support;
mod versions;
