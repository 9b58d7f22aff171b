//! The operations: CloudWatch Logs, CloudWatch, X-Ray, and Neap's own usage API.

pub mod alarms;
pub mod budgets;
pub mod costs;
pub mod graph;
pub mod insights;
pub mod logs;
pub mod monitoring;
pub mod tracing;
pub mod usage;
