//! X-Ray's default sampling rule: the first request of each second, and a twentieth of the others.
//! Source: X-Ray developer guide, "sampling rules"; Lambda applies it and lets nobody change it.

use base::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

/// Of 2^64: 5 %.
const OTHERS: u64 = u64::MAX / 20;

/// The rule for one version on one node.
#[derive(Debug)]
pub struct DefaultRule {
    /// The last second that had its first request.
    second: AtomicI64,
}

impl Default for DefaultRule {
    fn default() -> DefaultRule {
        DefaultRule { second: AtomicI64::new(i64::MIN) }
    }
}

impl DefaultRule {
    /// Whether a request at `now` is traced; `random` decides where its second had one already.
    pub fn takes(&self, now: Timestamp, random: u64) -> bool {
        let second = now.0.div_euclid(1_000);
        // A clock that goes back gives no second its first request again.
        self.second.fetch_max(second, Ordering::Relaxed) < second || random < OTHERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_second_and_a_twentieth_of_the_others() {
        let rule = DefaultRule::default();
        assert!(rule.takes(Timestamp(5_000), u64::MAX));
        assert!(!rule.takes(Timestamp(5_999), u64::MAX));
        assert!(!rule.takes(Timestamp(4_000), u64::MAX), "the clock was set back");
        assert!(rule.takes(Timestamp(6_000), u64::MAX));
        let step = u64::MAX / 1_000;
        let taken = (0..1_000).filter(|n| rule.takes(Timestamp(6_500), n * step + step / 2)).count();
        assert_eq!(taken, 50);
    }
}
