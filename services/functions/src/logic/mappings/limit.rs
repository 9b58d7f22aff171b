//! How many invocations a mapping may have at once: few at first, more the longer there is a backlog.
//! Source: Lambda developer guide, "Configuring scaling behavior for SQS event source mappings".

use crate::model::MappingSettings;
use base::Timestamp;

/// Invocations at once that a mapping begins with.
const START: u32 = 5;
/// By how many they grow in a minute of backlog.
const GROWTH: u32 = 300;
/// Where that ends.
const MAX: u32 = 1_250;
/// Invocations at once of one provisioned poller.
const OF_POLLER: u32 = 10;
/// By how many they grow in a minute where pollers are provisioned.
const PROVISIONED_GROWTH: u32 = 1_000;

/// The present bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    current: u32,
    start: u32,
    max: u32,
    per_minute: u32,
    /// Since when all that is allowed has been in use, or when it last grew.
    full_since: Option<Timestamp>,
}

impl Limit {
    /// That of a mapping which has just begun.
    pub fn of(settings: &MappingSettings) -> Limit {
        let (start, max, per_minute) = match settings.pollers {
            Some(pollers) => {
                (pollers.min * OF_POLLER, pollers.max.saturating_mul(OF_POLLER), PROVISIONED_GROWTH)
            }
            None => (START, settings.concurrency_max.unwrap_or(MAX), GROWTH),
        };
        let start = start.min(max);
        Limit { current: start, start, max, per_minute, full_since: None }
    }

    /// Invocations at once.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// All of it is in use and more is waiting: grows with time.
    pub fn full(&mut self, now: Timestamp) {
        let since = *self.full_since.get_or_insert(now);
        let elapsed = u64::try_from(now.0.saturating_sub(since.0)).unwrap_or_default();
        let grown = elapsed.saturating_mul(u64::from(self.per_minute)) / 60_000;
        if grown > 0 {
            self.current =
                self.current.saturating_add(u32::try_from(grown).unwrap_or(u32::MAX)).min(self.max);
            self.full_since = Some(now);
        }
    }

    /// When it grows next, if it is full and can.
    pub fn grows_at(&self) -> Option<Timestamp> {
        let step = i64::from(60_000_u32.div_ceil(self.per_minute));
        self.full_since.filter(|_| self.current < self.max).map(|since| since.plus_ms(step))
    }

    /// Not all of it is in use.
    pub fn enough(&mut self) {
        self.full_since = None;
    }

    /// There is nothing to do: as at the beginning.
    pub fn idle(&mut self) {
        self.current = self.start;
        self.full_since = None;
    }

    /// A batch failed as a whole: slower, but not slower than at the beginning.
    pub fn failed(&mut self) {
        self.current = self.current.saturating_sub(1).max(self.start);
    }

    /// A batch was refused: half.
    pub fn refused(&mut self) {
        self.current = (self.current / 2).max(1);
        self.full_since = None;
    }

    /// A batch ran: back to the beginning at least.
    pub fn ran(&mut self) {
        if self.current < self.start {
            self.current += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{logic::mappings::settings::tests::settings, model::Pollers};

    #[test]
    fn it_grows_by_300_a_minute_to_1250_while_it_is_full() {
        let mut limit = Limit::of(&settings());
        let mut now = Timestamp(0);
        assert_eq!((limit.current(), limit.grows_at()), (5, None));
        limit.full(now);
        assert_eq!(limit.grows_at(), Some(Timestamp(200)));
        for _ in 0..300 {
            now = now.plus_ms(200);
            limit.full(now);
        }
        assert_eq!(limit.current(), 305);
        limit.full(now.plus_ms(3_600_000));
        assert_eq!((limit.current(), limit.grows_at()), (1_250, None));
        limit.idle();
        assert_eq!(limit.current(), 5);
    }

    #[test]
    fn a_maximum_and_provisioned_pollers_bound_it() {
        let mut limit = Limit::of(&MappingSettings { concurrency_max: Some(2), ..settings() });
        limit.full(Timestamp(0));
        limit.full(Timestamp(60_000));
        assert_eq!(limit.current(), 2);
        let pollers = Some(Pollers { min: 3, max: 20 });
        let mut limit = Limit::of(&MappingSettings { pollers, ..settings() });
        assert_eq!(limit.current(), 30);
        limit.full(Timestamp(0));
        limit.full(Timestamp(60_000));
        assert_eq!(limit.current(), 200);
    }

    #[test]
    fn refusals_halve_it_and_runs_bring_it_back() {
        let mut limit = Limit::of(&settings());
        (0..5).for_each(|_| limit.refused());
        assert_eq!(limit.current(), 1);
        (0..9).for_each(|_| limit.ran());
        assert_eq!(limit.current(), 5);
        limit.failed();
        assert_eq!(limit.current(), 5);
    }
}
