//! The planner under an independent audit: by example, by property, by simulation.

#[path = "planner/audit.rs"]
mod audit;
#[path = "planner/examples.rs"]
mod examples;
#[path = "planner/properties.rs"]
mod properties;
#[path = "planner/simulation.rs"]
mod simulation;
