//! CloudWatch: the store of metrics, what functions' invocations and log lines add to it, and its API.
//!
//! A metric is a series of data points. Each point sums up what was measured within a second (`StorageResolution` 1) or a minute:
//! count, sum, least, greatest, and the values themselves as far as they are known ([`distribution`]), so that every statistic can
//! be computed for any longer period. `PutMetricData` merges into points of the database and answers when the disk has them.
//!
//! # How long points are kept
//! As in CloudWatch: by second for 3 hours, by minute for 15 days, by 5 minutes for 63 days, by hour for 455 days. Older points are
//! merged into the next coarser ones in the background, in transactions, so that nothing counts twice; a query sees points whose
//! period divides its own. The number of metrics of an account and region is bounded by
//! [`crate::Settings::metrics_max`]; a new one beyond it is refused.

pub(crate) mod data;
pub(crate) mod distribution;
pub(crate) mod embedded;
pub(crate) mod error;
pub(crate) mod expression;
pub(crate) mod gathering;
pub(crate) mod logic;
pub(crate) mod model;
pub(crate) mod ops;
pub(crate) mod query;
pub(crate) mod statistic;
pub(crate) mod upkeep;
