//! When an asynchronous invocation is tried again, and when it is given up.
//! Source: Lambda developer guide, "Asynchronous invocation: error handling".

use crate::model::EventPolicy;
use base::{Millis, Timestamp};

/// Spans between attempts. Settings, so that tests need not wait for minutes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waits {
    /// Before the first, second, … retry after a function error; the last repeats. Default 1 min, 2 min.
    pub after_failure: Vec<Millis>,
    /// Before the first retry after the platform refused; doubles. Default 1 s.
    pub after_refusal_min: Millis,
    /// Where doubling ends. Default 5 min.
    pub after_refusal_max: Millis,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            after_failure: vec![Millis(60_000), Millis(120_000)],
            after_refusal_min: Millis(1_000),
            after_refusal_max: Millis(300_000),
        }
    }
}

impl Waits {
    /// Wait after the `failures`-th function error (from 1).
    pub fn failure(&self, failures: u32) -> Millis {
        let index = failures.saturating_sub(1) as usize;
        self.after_failure.get(index).or(self.after_failure.last()).copied().unwrap_or_default()
    }

    /// Wait after the `refusals`-th refusal in a row (from 1).
    pub fn refusal(&self, refusals: u32) -> Millis {
        let doublings = refusals.saturating_sub(1).min(32);
        Millis(self.after_refusal_min.0.saturating_mul(1 << doublings).min(self.after_refusal_max.0))
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The function answered.
    Answered,
    /// The function failed.
    Failed,
    /// The platform could not run it now.
    Refused,
    /// The function takes no invocations at all: deleted, failed to be created, or reserved concurrency 0.
    Impossible,
}

/// Why an event is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GivenUp {
    /// `RetriesExhausted`.
    RetriesExhausted,
    /// `EventAgeExceeded`.
    EventAgeExceeded,
    /// There is nothing that could run it.
    NoFunction,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is finished and forgotten.
    Done,
    /// It is tried again.
    Again {
        /// Not before.
        due: Timestamp,
        /// Function errors so far.
        failures: u32,
        /// Refusals so far.
        refusals: u32,
    },
    /// It is given up.
    Drop(GivenUp),
}

/// Whether an event is too old to be tried (again).
pub fn expired(accepted: Timestamp, policy: EventPolicy, now: Timestamp) -> bool {
    now.0.saturating_sub(accepted.0) > i64::from(policy.age_max.0) * 1000
}

/// What becomes of an event accepted at `accepted` after an attempt that ended at `now`; `failures` and `refusals`
/// count the attempts before this one.
pub fn fate(
    ended: Ended,
    accepted: Timestamp,
    (failures, refusals): (u32, u32),
    policy: EventPolicy,
    waits: &Waits,
    now: Timestamp,
) -> Fate {
    let (failures, refusals, wait) = match ended {
        Ended::Answered => return Fate::Done,
        Ended::Impossible => return Fate::Drop(GivenUp::NoFunction),
        Ended::Failed if failures >= policy.retries_max => return Fate::Drop(GivenUp::RetriesExhausted),
        Ended::Failed => (failures + 1, 0, waits.failure(failures + 1)),
        Ended::Refused => {
            let refusals = refusals.saturating_add(1);
            (failures, refusals, waits.refusal(refusals))
        }
    };
    let due = now.plus_ms(i64::try_from(wait.0).unwrap_or(i64::MAX));
    // No attempt can begin after the age is reached, so waiting on would only hide the end.
    if expired(accepted, policy, due) {
        return Fate::Drop(GivenUp::EventAgeExceeded);
    }
    Fate::Again { due, failures, refusals }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Seconds;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp(1_000_000);

    #[test]
    fn function_errors_are_retried_twice_after_one_and_two_minutes() {
        let (policy, waits) = (EventPolicy::default(), Waits::default());
        let first = fate(Ended::Failed, START, (0, 0), policy, &waits, START);
        assert_eq!(first, Fate::Again { due: START.plus_ms(60_000), failures: 1, refusals: 0 });
        let second = fate(Ended::Failed, START, (1, 0), policy, &waits, START.plus_ms(60_000));
        assert_eq!(second, Fate::Again { due: START.plus_ms(180_000), failures: 2, refusals: 0 });
        let third = fate(Ended::Failed, START, (2, 0), policy, &waits, START.plus_ms(180_000));
        assert_eq!(third, Fate::Drop(GivenUp::RetriesExhausted));
        assert_eq!(fate(Ended::Answered, START, (2, 9), policy, &waits, START), Fate::Done);
    }

    #[test]
    fn refusals_back_off_from_one_second_to_five_minutes_and_count_no_attempt() {
        let waits = Waits::default();
        let spans: Vec<u64> = (1..=11).map(|n| waits.refusal(n).0 / 1000).collect();
        assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(waits.refusal(u32::MAX), waits.after_refusal_max);
        let fate = fate(Ended::Refused, START, (1, 3), EventPolicy::default(), &waits, START);
        assert_eq!(fate, Fate::Again { due: START.plus_ms(8_000), failures: 1, refusals: 4 });
    }

    #[test]
    fn events_do_not_outlive_their_age() {
        let policy = EventPolicy { retries_max: 2, age_max: Seconds(60) };
        let late = fate(Ended::Refused, START, (0, 8), policy, &Waits::default(), START.plus_ms(30_000));
        assert_eq!(late, Fate::Drop(GivenUp::EventAgeExceeded));
        assert!(!expired(START, policy, START.plus_ms(60_000)));
        assert!(expired(START, policy, START.plus_ms(60_001)));
    }

    proptest! {
        /// Whatever the order of endings, an event ends: by answer, by its retries or by its age.
        #[test]
        fn every_event_ends(endings in proptest::collection::vec(0..2u8, 5_000..5_001), retries_max in 0..3u32, age in 60..21_600u32) {
            let policy = EventPolicy { retries_max, age_max: Seconds(age) };
            let (mut now, mut counts, mut failed) = (START, (0, 0), 0);
            let mut ended = false;
            for ending in endings {
                let how = if ending == 0 { failed += 1; Ended::Failed } else { Ended::Refused };
                match fate(how, START, counts, policy, &Waits::default(), now) {
                    Fate::Again { due, failures, refusals } => {
                        prop_assert!(due > now && !expired(START, policy, due));
                        (now, counts) = (due, (failures, refusals));
                    }
                    Fate::Drop(_) | Fate::Done => { ended = true; break; }
                }
            }
            prop_assert!(ended);
            prop_assert!(failed <= retries_max + 1);
        }
    }
}
