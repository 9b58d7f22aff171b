//! Target tracking: how much is provisioned so that a share of it is in use.
//!
//! As Application Auto Scaling does it by two alarms on `ProvisionedConcurrencyUtilization`, whose means of a minute count:
//! more than the target in each of the last 3 minutes scales out, less than nine tenths of it in each of the last 15 scales in.
//! A minute without invocation counts as one in which nothing was in use.

use base::Timestamp;
use serde::{Deserialize, Serialize};

/// A period of the metric.
pub const MINUTE_MS: i64 = 60_000;
/// Minutes above the target before anything is added.
pub const OUT_MINUTES: i64 = 3;
/// Minutes below it before anything is taken away.
pub const IN_MINUTES: i64 = 15;
/// Below this share of the target nothing is needed that is there.
const IN_SHARE: f64 = 0.9;

/// What a policy is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    /// Share that is to be in use.
    pub target: f64,
    /// Seconds after adding in which nothing is added but what is needed beyond it.
    pub out_cooldown_s: i64,
    /// Seconds after any change in which nothing is taken away.
    pub in_cooldown_s: i64,
    /// Nothing is ever taken away.
    pub no_scale_in: bool,
}

/// What has been measured of a target.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// When the present minute began: it does not count yet.
    pub minute: Timestamp,
    /// When the target was last changed, or the policy was made: earlier minutes do not count.
    pub since: Timestamp,
    /// The minutes in which it was invoked.
    pub means: &'a [(Timestamp, f64)],
    /// What is provisioned.
    pub capacity: u32,
}

/// What the capacity should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// At least so much.
    Out(u32),
    /// No more than so much.
    In(u32),
    /// As it is.
    Stay,
}

impl Tracking {
    /// What follows from what was measured.
    pub fn wish(&self, measured: &Measured<'_>, now: Timestamp) -> Wish {
        if measured.capacity == 0 {
            return Wish::Stay;
        }
        let past = |minutes: i64| {
            let from = measured.minute.plus_ms(-minutes * MINUTE_MS);
            (from >= measured.since).then(|| {
                (0..minutes).map(move |minute| {
                    let at = from.plus_ms(minute * MINUTE_MS);
                    let found = measured.means.iter().find(|(of, _)| *of == at);
                    found.map_or(0.0, |(_, mean)| *mean)
                })
            })
        };
        let needed =
            |mean: f64| (f64::from(measured.capacity) * mean / self.target - 1e-9).ceil().max(0.0) as u32;
        let since_ms = now.0.saturating_sub(measured.since.0);
        if let Some(mut means) = past(OUT_MINUTES)
            && since_ms >= self.out_cooldown_s * 1_000
            && means.clone().all(|mean| mean > self.target)
        {
            let last = means.next_back().unwrap_or(0.0);
            return Wish::Out(needed(last).max(measured.capacity + 1));
        }
        if let Some(means) = past(IN_MINUTES)
            && !self.no_scale_in
            && since_ms >= self.in_cooldown_s * 1_000
            && means.clone().all(|mean| mean < self.target * IN_SHARE)
        {
            let most = needed(means.fold(0.0, f64::max));
            if most < measured.capacity {
                return Wish::In(most);
            }
        }
        Wish::Stay
    }
}

/// What several policies want together: the most that any wants added; less only if all want less, and then the most of it.
pub fn together(wishes: &[Wish]) -> Wish {
    let out = wishes.iter().filter_map(|wish| match wish {
        Wish::Out(count) => Some(*count),
        Wish::In(_) | Wish::Stay => None,
    });
    if let Some(most) = out.max() {
        return Wish::Out(most);
    }
    let less: Option<Vec<u32>> = (wishes.iter())
        .map(|wish| match wish {
            Wish::In(count) => Some(*count),
            Wish::Out(_) | Wish::Stay => None,
        })
        .collect();
    less.and_then(|less| less.into_iter().max()).map_or(Wish::Stay, Wish::In)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(100 * MINUTE_MS + 5_000);

    fn tracking() -> Tracking {
        Tracking { target: 0.7, out_cooldown_s: 0, in_cooldown_s: 0, no_scale_in: false }
    }

    /// The wish after minutes with these means, the last one last, when `capacity` has been there for long.
    fn wish(of: &Tracking, means: &[f64], capacity: u32, since: i64) -> Wish {
        let first = 100 - i64::try_from(means.len()).unwrap();
        let means: Vec<_> =
            (first..).map(|minute| Timestamp(minute * MINUTE_MS)).zip(means.iter().copied()).collect();
        let minute = Timestamp(100 * MINUTE_MS);
        of.wish(&Measured { minute, since: Timestamp(since * MINUTE_MS), means: &means, capacity }, NOW)
    }

    #[test]
    fn three_minutes_above_the_target_scale_out_to_what_the_last_one_needs() {
        assert_eq!(wish(&tracking(), &[0.8, 0.9, 1.0], 7, 0), Wish::Out(10));
        assert_eq!(wish(&tracking(), &[0.7, 0.9, 1.0], 7, 0), Wish::Stay);
        assert_eq!(wish(&tracking(), &[1.0, 1.0], 7, 0), Wish::Stay);
        // What was measured before the last change is of another capacity.
        assert_eq!(wish(&tracking(), &[1.0, 1.0, 1.0], 7, 98), Wish::Stay);
        let slow = Tracking { out_cooldown_s: 600, ..tracking() };
        assert_eq!(wish(&slow, &[1.0; 9], 7, 91), Wish::Stay);
        assert_eq!(wish(&slow, &[1.0; 9], 7, 90), Wish::Out(10));
    }

    #[test]
    fn fifteen_minutes_far_below_it_scale_in_to_what_the_busiest_of_them_needs() {
        let mut means = [0.1; 15];
        means[4] = 0.35;
        assert_eq!(wish(&tracking(), &means, 10, 0), Wish::In(5));
        assert_eq!(wish(&tracking(), &[], 10, 0), Wish::In(0));
        assert_eq!(wish(&tracking(), &[], 10, 86), Wish::Stay);
        means[4] = 0.64;
        assert_eq!(wish(&tracking(), &means, 10, 0), Wish::Stay);
        assert_eq!(wish(&Tracking { no_scale_in: true, ..tracking() }, &[], 10, 0), Wish::Stay);
        assert_eq!(wish(&tracking(), &[], 0, 0), Wish::Stay);
    }

    #[test]
    fn policies_scale_in_only_together() {
        assert_eq!(together(&[Wish::In(2), Wish::Out(9), Wish::Out(7)]), Wish::Out(9));
        assert_eq!(together(&[Wish::In(2), Wish::Stay]), Wish::Stay);
        assert_eq!(together(&[Wish::In(2), Wish::In(4)]), Wish::In(4));
        assert_eq!(together(&[]), Wish::Stay);
    }

    proptest! {
        #[test]
        fn out_is_more_and_in_is_less(
            means in proptest::collection::vec(0.0..=1.0f64, 0..40), capacity in 0u32..3_000, target in 0.1..=0.9f64
        ) {
            match wish(&Tracking { target, ..tracking() }, &means, capacity, 0) {
                Wish::Out(count) => prop_assert!(count > capacity),
                Wish::In(count) => prop_assert!(count < capacity),
                Wish::Stay => {}
            }
        }
    }
}
