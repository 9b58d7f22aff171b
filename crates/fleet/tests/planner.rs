//! The planner under an independent audit: by example, by property, by simulation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken expectation ends the test"
)]

#[path = "planner/audit.rs"]
mod audit;
#[path = "planner/examples.rs"]
mod examples;
#[path = "planner/properties.rs"]
mod properties;
#[path = "planner/simulation.rs"]
mod simulation;
