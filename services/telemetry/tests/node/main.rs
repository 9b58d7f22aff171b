//! Telemetry behind a gateway, on SQLite, with a clock of the test's own.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy takes only test functions themselves for tests

mod alarms;
mod failing;
mod harness;
mod logs;
mod metrics;
mod traces;
mod usage;
