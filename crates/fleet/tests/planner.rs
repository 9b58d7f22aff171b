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
#[path = "planner/policy.rs"]
mod policy;
#[path = "planner/properties.rs"]
mod properties;
#[path = "planner/random.rs"]
mod random;
#[path = "planner/replay.rs"]
#[allow(dead_code, reason = "shared with the bench, which uses more of it")]
mod replay;
#[path = "planner/simulation.rs"]
mod simulation;
#[path = "planner/traces.rs"]
mod traces;
