//! The store against real engines: one suite for both back ends, then what is special to each.
//!
//! What this machine cannot run says `SKIPPED <what>: <why>` on standard output.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

mod crash;
mod disk;
mod fixture;
mod groups;
mod model;
mod postgres_only;
mod server;
mod suite;
