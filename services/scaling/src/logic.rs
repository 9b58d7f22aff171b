//! The rules of the service. Pure.

pub mod schedule;
pub mod tracking;
