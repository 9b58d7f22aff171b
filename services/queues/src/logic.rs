//! The service's rules: pure functions.

pub mod attributes;
pub mod messages;
pub mod names;
pub mod policy;
pub mod receipts;
pub mod redrive;
