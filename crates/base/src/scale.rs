//! The ports by which provisioned concurrency is scaled: what is set, and what is measured.

use crate::{AccountId, FunctionName, Future, Region, Timestamp};

/// A version or an alias of a function that has, or may have, provisioned concurrency.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scaled {
    /// Owner.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Function.
    pub name: FunctionName,
    /// Number of a version, or an alias.
    pub qualifier: String,
}

/// Sets provisioned concurrency for another service.
pub trait Scale: Send + Sync {
    /// What is asked for now; zero where nothing is.
    fn capacity(&self, of: Scaled) -> Future<'_, Result<u32, NotScaled>>;
    /// Asks for `count`; zero: for nothing. On disk once this has answered; the environments start or end after it.
    fn scale(&self, of: Scaled, count: u32) -> Future<'_, Result<(), NotScaled>>;
}

/// Provisioned concurrency was not set or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotScaled {
    /// There is no such function, version or alias.
    #[error("{0}")]
    Missing(String),
    /// It cannot be so much, or not there.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error("{0}")]
    NotNow(String),
}

/// Measures how much of provisioned concurrency is in use.
pub trait Utilization: Send + Sync {
    /// The mean of each minute that begins from `from` (included) until `until` (excluded) in which it was invoked, as a share of what
    /// is provisioned, from 0 to 1; in the order of time.
    fn utilization(
        &self,
        of: Scaled,
        from: Timestamp,
        until: Timestamp,
    ) -> Future<'_, Result<Vec<(Timestamp, f64)>, String>>;
}
