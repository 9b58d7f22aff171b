//! From stored points to what a query asks for. Pure.

use super::{
    model::{Aggregate, Point, Unit},
    statistic::Statistic,
};
use std::{collections::BTreeMap, mem};

/// What a query asks of the points of a metric.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Seconds; points of longer periods are left out.
    pub(crate) period: i64,
    /// Periods lie from here on, in seconds.
    pub(crate) origin: i64,
    /// Only points of this unit.
    pub(crate) unit: Option<Unit>,
    /// Whether points of different units are kept apart, or summed up as if they were of one.
    pub(crate) apart: bool,
    pub(crate) statistics: Vec<Statistic>,
}

/// Statistics of one period, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Folded {
    /// Beginning of the period, in seconds.
    pub(crate) at: i64,
    pub(crate) unit: Unit,
    /// `None`: not known.
    pub(crate) values: Vec<Option<f64>>,
}

/// Sums up points that come in the order of time, holding those of one period at a time.
#[derive(Debug)]
pub(crate) struct Fold {
    wanted: Wanted,
    at: i64,
    open: BTreeMap<Unit, Aggregate>,
    done: Vec<Folded>,
}

impl Wanted {
    /// Whether the values of points must be read.
    pub(crate) fn needs_values(&self) -> bool {
        self.statistics.iter().any(|statistic| statistic.needs_values())
    }
}

impl Fold {
    pub(crate) fn new(wanted: Wanted) -> Fold {
        Fold { wanted, at: 0, open: BTreeMap::new(), done: Vec::new() }
    }

    pub(crate) fn push(&mut self, point: Point) {
        let Wanted { period, origin, unit, apart, .. } = self.wanted;
        if point.slot.period > period || unit.is_some_and(|unit| unit != point.slot.unit) {
            return;
        }
        let at = point.slot.at - (point.slot.at - origin).rem_euclid(period);
        if at != self.at {
            self.close();
            self.at = at;
        }
        let unit = if apart { point.slot.unit } else { Unit::None };
        match self.open.get_mut(&unit) {
            Some(known) => known.merge(&point.aggregate),
            None => {
                self.open.insert(unit, point.aggregate);
            }
        }
    }

    fn close(&mut self) {
        for (unit, all) in mem::take(&mut self.open) {
            let values = self.wanted.statistics.iter().map(|statistic| statistic.of(&all)).collect();
            self.done.push(Folded { at: self.at, unit, values });
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Folded> {
        self.close();
        self.done
    }
}

/// When a range begins, in seconds: rounded down to a whole minute, to 5 minutes if it is older than 15 days, to an hour if older
/// than 63 days, and to the period where that is shorter than a minute. Source: API reference, `GetMetricStatistics`.
pub(crate) fn rounded_start(start_ms: i64, now_s: i64, period: i64) -> i64 {
    let start = start_ms.div_euclid(1_000);
    let age = now_s - start;
    let step = if age > 63 * 86_400 {
        3_600
    } else if age > 15 * 86_400 {
        300
    } else if period < 60 {
        period.max(1)
    } else {
        60
    };
    start - start.rem_euclid(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudwatch::model::Slot;
    use proptest::prelude::*;

    fn point(at: i64, period: i64, unit: Unit, value: f64) -> Point {
        Point { slot: Slot { at, period, unit }, aggregate: Aggregate::of(value, 1.0) }
    }

    fn fold(points: &[Point], origin: i64, period: i64, unit: Option<Unit>, apart: bool) -> Vec<Folded> {
        let statistics = vec![Statistic::Sum, Statistic::SampleCount];
        let mut fold = Fold::new(Wanted { period, origin, unit, apart, statistics });
        points.iter().cloned().for_each(|point| fold.push(point));
        fold.finish()
    }

    #[test]
    fn points_are_summed_up_by_period_and_coarser_ones_left_out() {
        let points = [
            point(0, 60, Unit::Count, 1.0),
            point(0, 300, Unit::Count, 100.0),
            point(60, 60, Unit::Count, 2.0),
            point(61, 1, Unit::Bytes, 4.0),
        ];
        let sums = |period, unit, apart| -> Vec<_> {
            fold(&points, 0, period, unit, apart).iter().map(|all| (all.at, all.values[0].unwrap())).collect()
        };
        assert_eq!(sums(60, None, false), [(0, 1.0), (60, 6.0)]);
        assert_eq!(sums(60, None, true), [(0, 1.0), (60, 4.0), (60, 2.0)]);
        assert_eq!(sums(60, Some(Unit::Count), false), [(0, 1.0), (60, 2.0)]);
        assert_eq!(sums(300, None, false), [(0, 107.0)]);
        assert_eq!(fold(&points, 30, 60, None, false)[0].at, -30);
    }

    #[test]
    fn starts_are_rounded_as_documented() {
        let now = 1_795_219_200;
        assert_eq!(rounded_start((now - 34) * 1_000 + 7, now, 60), now - 60);
        assert_eq!(rounded_start((now - 34) * 1_000, now, 10), now - 40);
        assert_eq!(rounded_start((now - 16 * 86_400 - 34) * 1_000, now, 60), now - 16 * 86_400 - 300);
        assert_eq!(rounded_start((now - 64 * 86_400 - 34) * 1_000, now, 1), now - 64 * 86_400 - 3_600);
    }

    proptest! {
        #[test]
        fn no_measurement_is_lost_or_doubled(mut ats in prop::collection::vec(-10_000..10_000_i64, 1..100), origin in 0..1_000_i64, period in 1..500_i64) {
            ats.sort_unstable();
            let points: Vec<Point> = ats.iter().map(|at| point(*at, 1, Unit::None, 1.0)).collect();
            let folded = fold(&points, origin, period, None, false);
            prop_assert_eq!(folded.iter().map(|all| all.values[1].unwrap()).sum::<f64>(), ats.len() as f64);
            prop_assert!(folded.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(folded.iter().all(|all| (all.at - origin).rem_euclid(period) == 0));
        }
    }
}
