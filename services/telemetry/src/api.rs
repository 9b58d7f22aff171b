//! The operations: CloudWatch Logs, and Neap's own usage API.

pub mod logs;
pub mod usage;
