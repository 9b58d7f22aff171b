//! Whether bursts of calls come at regular intervals.

use crate::planner::Tick;

/// Intervals that are remembered.
const KEPT: usize = 8;
/// Fewer say nothing.
const KEPT_MIN: usize = 4;

/// In milliseconds, newest first; zero where nothing is known.
pub(super) type Intervals = [u32; KEPT];

/// The last intervals between bursts.
#[derive(Clone, Debug, Default)]
pub(super) struct Rhythm {
    /// In milliseconds, newest first; zero where nothing is known. Longer than 49 days counts as 49 days.
    intervals: Intervals,
    last: Option<Tick>,
}

/// A regular interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) period_us: u64,
    /// How far the intervals that follow it are from it.
    pub(super) spread_us: u64,
}

impl Rhythm {
    /// As it was.
    pub(super) const fn of(intervals: Intervals, last: Option<Tick>) -> Rhythm {
        Rhythm { intervals, last }
    }

    pub(super) const fn intervals(&self) -> Intervals {
        self.intervals
    }

    /// A burst begins.
    pub(super) fn burst(&mut self, now: Tick) {
        if let Some(last) = self.last {
            self.intervals.rotate_right(1);
            self.intervals[0] = u32::try_from(now.since(last) / 1_000).unwrap_or(u32::MAX).max(1);
        }
        self.last = Some(now);
    }

    /// When the last burst began.
    pub(super) fn last(&self) -> Option<Tick> {
        self.last
    }

    /// The period, if three of four intervals, and at least one of the last two, differ from their median by at most a
    /// tenth (or by 100 ms).
    pub(super) fn beat(&self) -> Option<Beat> {
        let mut sorted = self.intervals;
        sorted.sort_unstable();
        let known = &sorted[sorted.iter().take_while(|interval| **interval == 0).count()..];
        if known.len() < KEPT_MIN {
            return None;
        }
        let median = known[known.len() / 2];
        let tolerance = (median / 10).max(100);
        let follows = |interval: &u32| *interval > 0 && interval.abs_diff(median) <= tolerance;
        let agreeing = known.iter().copied().filter(follows);
        let (count, sum) = agreeing
            .clone()
            .fold((0_u64, 0_u64), |(count, sum), interval| (count + 1, sum + u64::from(interval)));
        if count * 4 < known.len() as u64 * 3 || !self.intervals[..2].iter().any(follows) {
            return None;
        }
        let period_us = sum * 1_000 / count;
        let spread_us = agreeing.map(|interval| (u64::from(interval) * 1_000).abs_diff(period_us)).max();
        Some(Beat { period_us, spread_us: spread_us.unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(at_s: &[f64]) -> Option<Beat> {
        let mut rhythm = Rhythm::default();
        at_s.iter().for_each(|at| rhythm.burst(Tick((at * 1e6).round() as u64)));
        rhythm.beat()
    }

    #[test]
    fn a_timer_is_recognised_and_its_spread_measured() {
        let beat = beat(&[0.0, 60.0, 120.2, 180.0, 240.0]).expect("regular");
        assert_eq!(beat.period_us, 60_000_000);
        assert_eq!(beat.spread_us, 200_000);
    }

    #[test]
    fn a_timer_that_rests_at_night_stays_one() {
        let day: Vec<f64> = [0, 1, 2, 3, 4, 5, 22, 23, 24].iter().map(|h| f64::from(*h) * 3600.0).collect();
        assert_eq!(beat(&day).expect("regular").period_us, 3_600_000_000);
    }

    #[test]
    fn what_is_irregular_or_little_known_is_none() {
        assert_eq!(beat(&[0.0, 10.0, 20.0, 30.0]), None);
        assert_eq!(beat(&[0.0, 10.0, 35.0, 40.0, 80.0, 81.0, 100.0]), None);
        // It has changed.
        assert_eq!(beat(&[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 93.0, 150.0]), None);
    }
}
