//! The operations: CloudWatch Logs, CloudWatch, and Neap's own usage API.

pub mod alarms;
pub mod budgets;
pub mod costs;
pub mod insights;
pub mod logs;
pub mod monitoring;
pub mod usage;
