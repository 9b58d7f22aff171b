//! Logs, metering and metrics.
