//! Time and randomness as ports, so that tests own them.

use crate::Future;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant moved by `ms` milliseconds, saturating.
    pub const fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Seconds since the epoch with a fraction: the form of JSON timestamps in the AWS protocols.
    pub fn epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// The wall clock.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// A clock that can be waited for. What users can see happening at a time (a message that becomes visible, a retry, a
/// deadline) is waited for here and never on the operating system's timers, so that whoever owns the clock owns that time.
pub trait Timer: Clock {
    /// Resolves when the clock shows `at` or later, however it came there; at once if it does already.
    ///
    /// Cancel-safe.
    fn sleep_until(&self, at: Timestamp) -> Future<'static, ()>;
}

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `buffer`.
    fn fill(&self, buffer: &mut [u8]);
}
