//! What is known of a function as bytes that outlive the node.
//!
//! Sparse: a function with one habit has a few bins that are not zero, and takes about 60 bytes. What is read is checked, since
//! a broken disk or another version of Neap may have written it: whatever it says, no count is beyond what could have been
//! learned.

use super::{
    History, LEVELS, START_US_MAX,
    histogram::{Bins, Histogram},
    rhythm::{Intervals, Rhythm},
};
use crate::planner::Tick;
use serde::{Deserialize, Serialize};

/// First byte of a record; another when its form changes, so that older ones are forgotten instead of misread.
const FORM: u8 = 1;

/// Moments are milliseconds before [`Record::used_ms`], plus one; zero for none.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Since 1970.
    used_ms: u64,
    gaps: [Bins; 2],
    left: [u64; LEVELS],
    burst: u64,
    intervals: Intervals,
    peaks: [u8; 4],
    start_us: u32,
    calls: u32,
    failures: u8,
    skip: u8,
}

impl History {
    /// As bytes; at most [`base::HABIT_BYTES_MAX`]. Moments are kept to the millisecond.
    pub fn write(&self) -> Vec<u8> {
        let used = self.last_used();
        let before = |at: Option<Tick>| at.map_or(0, |at| used.since(at) / 1_000 + 1);
        let record = Record {
            used_ms: used.0 / 1_000,
            gaps: self.gaps.each_ref().map(Histogram::bins),
            left: self.left.map(before),
            burst: before(self.rhythm.last()),
            intervals: self.rhythm.intervals(),
            peaks: self.peaks,
            start_us: self.start_us,
            calls: self.calls,
            failures: self.failures,
            skip: self.skip,
        };
        // Memory can run out only by ending the process: what is here is finite and has no form that cannot be written.
        postcard::to_extend(&record, vec![FORM]).unwrap_or_default()
    }

    /// What [`History::write`] wrote; `None` if it is of another form or says what cannot be. What was used after `now`, since
    /// the clock was set back, was used now.
    pub fn read(bytes: &[u8], now: Tick) -> Option<History> {
        let (&FORM, rest) = bytes.split_first()? else { return None };
        let record: Record = postcard::from_bytes(rest).ok()?;
        let used = Tick(record.used_ms.saturating_mul(1_000)).min(now);
        let at = |before: u64| {
            let ms = before.checked_sub(1)?;
            Some(Tick(used.0.saturating_sub(ms.saturating_mul(1_000))))
        };
        let [first, others] = record.gaps.map(|bins| Histogram::of(&bins));
        Some(History {
            gaps: [first?, others?],
            left: record.left.map(at),
            rhythm: Rhythm::of(record.intervals, at(record.burst)),
            peaks: record.peaks,
            start_us: record.start_us.min(u32::try_from(START_US_MAX).unwrap_or(u32::MAX)),
            calls: record.calls,
            failures: record.failures.min(super::FAILURES_MAX),
            skip: record.skip.min((1 << super::FAILURES_MAX) - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalive::Terms;
    use proptest::prelude::*;

    const TERMS: Terms = Terms { window_us: 600_000_000, cold_worth_us: 1_800_000_000, pause_us: 10_000_000 };
    /// 2026.
    const NOW: Tick = Tick(1_790_000_000_000_000);

    fn learned(calls: &[(u64, u32)]) -> (History, Tick) {
        let (mut history, mut now) = (History::default(), NOW);
        for &(gap_ms, level) in calls {
            now = now.plus(gap_ms * 1_000);
            history.arrived(level, now, &TERMS);
            history.left(level, now.plus(1_000));
        }
        history.started(3_000);
        (history, now.plus(1_000))
    }

    #[test]
    fn what_is_known_of_a_timer_is_small_and_says_the_same_when_read_again() {
        let (history, now) = learned(&[(60_000, 1); 20]);
        let written = history.write();
        assert!(written.len() < 100, "{} bytes", written.len());
        let read = History::read(&written, now).expect("it is ours");
        assert_eq!(read.advise(1, now, now, &TERMS), history.advise(1, now, now, &TERMS));
        assert_eq!((read.calls(), read.last_used(), read.ahead()), (20, now, 1));
    }

    #[test]
    fn another_form_and_counts_that_cannot_be_are_not_read() {
        let (history, now) = learned(&[(100, 1); 9]);
        let mut written = history.write();
        written[0] = FORM + 1;
        assert!(History::read(&written, now).is_none());
        assert!(History::read(&[], now).is_none() && History::read(&[FORM], now).is_none());
        for bins in [vec![(0, u16::MAX)], vec![(200, 1)], vec![(3, 1), (3, 1)], vec![(0, 0)]] {
            assert!(Histogram::of(&Bins(bins)).is_none());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_moment_of_the_future() {
        let (history, now) = learned(&[(60_000, 1); 9]);
        let earlier = Tick(now.0 - 3_600_000_000);
        let read = History::read(&history.write(), earlier).expect("it is ours");
        assert_eq!(read.last_used(), earlier);
        assert_eq!(read.last_left(1), Some(earlier));
    }

    proptest! {
        #[test]
        fn every_history_fits_its_bound_and_is_read_as_it_was(
            calls in proptest::collection::vec((0_u64..40_000_000, 1_u32..12), 0..2_000)
        ) {
            let (history, now) = learned(&calls);
            let written = history.write();
            prop_assert!(written.len() <= base::HABIT_BYTES_MAX, "{} bytes", written.len());
            let read = History::read(&written, now).expect("it is ours");
            prop_assert_eq!(read.write(), written);
            for level in 1..3 {
                prop_assert_eq!(read.advise(level, now, now, &TERMS), history.advise(level, now, now, &TERMS));
            }
        }

        #[test]
        fn whatever_is_on_disk_is_read_or_refused_and_can_be_learned_on(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400), written in any::<bool>(), at in 0_usize..100
        ) {
            if written {
                // One of ours with a few bytes of it changed.
                let ours = learned(&[(60_000, 1), (60_000, 2), (5, 1), (60_000, 1), (60_000, 1), (1, 3)]).0.write();
                let changed: Vec<u8> = bytes.iter().copied().take(3).collect();
                let from = at % ours.len();
                bytes = ours;
                bytes.splice(from..(from + changed.len()).min(bytes.len()), changed);
            } else if let Some(first) = bytes.first_mut() {
                *first = FORM;
            }
            if let Some(mut history) = History::read(&bytes, NOW) {
                for n in 0..600 {
                    let now = NOW.plus(n * 1_000_000);
                    history.arrived(1 + u32::try_from(n % 3).unwrap(), now, &TERMS);
                    history.left(1, now);
                    history.skips();
                    history.start_failed();
                    history.advise(1, now, now, &TERMS);
                }
            }
        }
    }
}
