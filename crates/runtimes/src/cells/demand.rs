//! How many stem cells of one kind are wanted. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Starts within so long are one burst: cells taken by it cannot be replaced before its end.
const BURST: Duration = Duration::from_secs(1);
/// Without another burst of its size, half as many are wanted after so long.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// The starts of one kind. Wanted are as many as came in the largest burst of late, at least one while there is demand.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Those of the last [`BURST`], oldest first; at most `most`.
    recent: VecDeque<Instant>,
    peak: u32,
    /// When there was a burst of `peak`, or it was halved.
    peaked: Option<Instant>,
    last: Option<Instant>,
}

impl Demand {
    /// Something was started. More than `most` at once are never wanted.
    pub(super) fn started(&mut self, now: Instant, most: u32) {
        self.settle(now);
        self.last = Some(now);
        while self.recent.front().is_some_and(|first| now.duration_since(*first) >= BURST) {
            self.recent.pop_front();
        }
        if self.recent.len() < most as usize {
            self.recent.push_back(now);
        }
        let burst = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if burst >= self.peak {
            self.peak = burst;
            self.peaked = Some(now);
        }
    }

    /// How many are wanted; none when nothing was started for `idle`.
    pub(super) fn wanted(&mut self, now: Instant, idle: Duration) -> u32 {
        match self.last {
            Some(last) if now.duration_since(last) < idle => {
                self.settle(now);
                self.peak.max(1)
            }
            Some(_) | None => 0,
        }
    }

    /// When [`Demand::wanted`] next becomes less by itself.
    pub(super) fn changes(&self, idle: Duration) -> Option<Instant> {
        let ends = self.last? + idle;
        let halves = self.peaked.filter(|_| self.peak > 1).map(|peaked| peaked + HALF_LIFE);
        Some(halves.map_or(ends, |halves| halves.min(ends)))
    }

    /// When something was started last.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    fn settle(&mut self, now: Instant) {
        while let Some(peaked) = self.peaked.filter(|_| self.peak > 1) {
            if now.duration_since(peaked) < HALF_LIFE {
                break;
            }
            self.peak /= 2;
            self.peaked = Some(peaked + HALF_LIFE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(600);

    #[test]
    fn nothing_is_wanted_before_the_first_start_and_after_long_silence() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        assert_eq!(demand.wanted(now, IDLE), 0);
        assert_eq!(demand.changes(IDLE), None);
        demand.started(now, 16);
        assert_eq!(demand.wanted(now, IDLE), 1);
        assert_eq!(demand.changes(IDLE), Some(now + IDLE));
        assert_eq!(demand.wanted(now + IDLE - Duration::from_millis(1), IDLE), 1);
        assert_eq!(demand.wanted(now + IDLE, IDLE), 0);
    }

    #[test]
    fn single_starts_want_one() {
        let (mut demand, mut now) = (Demand::default(), Instant::now());
        for _ in 0..20 {
            demand.started(now, 16);
            assert_eq!(demand.wanted(now, IDLE), 1);
            now += BURST;
        }
    }

    #[test]
    fn a_burst_wants_its_size_up_to_the_most_and_is_forgotten_by_halves() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        for _ in 0..100 {
            demand.started(now, 16);
        }
        assert_eq!(demand.wanted(now, IDLE), 16);
        assert_eq!(demand.changes(IDLE), Some(now + HALF_LIFE));
        for (halvings, wanted) in [(1, 8), (2, 4), (3, 2), (4, 1), (5, 1)] {
            assert_eq!(demand.wanted(now + HALF_LIFE * halvings, IDLE), wanted);
        }
        assert_eq!(demand.changes(IDLE), Some(now + IDLE));
        // A smaller burst than the one remembered does not prolong it.
        let mut demand = Demand::default();
        for _ in 0..8 {
            demand.started(now, 16);
        }
        demand.started(now + HALF_LIFE / 2, 16);
        assert_eq!(demand.wanted(now + HALF_LIFE / 2, IDLE), 8);
        assert_eq!(demand.wanted(now + HALF_LIFE, IDLE), 4);
    }

    #[test]
    fn silence_of_any_length_is_survived() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        for _ in 0..16 {
            demand.started(now, 16);
        }
        let later = now + Duration::from_secs(86_400 * 365);
        assert_eq!(demand.wanted(later, IDLE), 0);
        demand.started(later, 16);
        assert_eq!(demand.wanted(later, IDLE), 1);
    }
}
