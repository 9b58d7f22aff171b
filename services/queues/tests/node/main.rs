//! Queues behind a gateway, on SQLite or PostgreSQL, with a clock of the test's own, against a model of what SQS promises.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy takes only test functions themselves for tests

mod harness;
mod model;
mod random;
mod retention;
