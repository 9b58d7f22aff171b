//! Statistics: what a query asks of a data point.

use super::model::Aggregate;

/// A statistic by its name, e.g. `Average`, `p99.9`, `tm90`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// `pN`: the least value that N % of all are at or below.
    Percentile(f64),
    /// Of the values between two percentiles.
    Within(Within, f64, f64),
}

/// What is asked of the values between two percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// `tm`
    Mean,
    /// `wm`: values outside count as the border.
    WinsorizedMean,
    /// `tc`
    Count,
    /// `ts`
    Sum,
}

impl Statistic {
    pub(crate) const SIMPLE: &'static [&'static str] =
        &["SampleCount", "Average", "Sum", "Minimum", "Maximum"];

    /// Any statistic. Source: user guide, "CloudWatch statistics definitions". Ranges such as `TM(10%:90%)` and `PR(:300)` are not
    /// known here.
    pub(crate) fn parse(text: &str) -> Option<Statistic> {
        if let Some(simple) = Statistic::simple(text) {
            return Some(simple);
        }
        if text == "IQM" {
            return Some(Statistic::Within(Within::Mean, 25.0, 75.0));
        }
        let split = text.find(|c: char| c.is_ascii_digit())?;
        let (name, number) = text.split_at_checked(split)?;
        let percent = percent(number)?;
        match name {
            "p" => Some(Statistic::Percentile(percent)),
            "tm" => Some(Statistic::Within(Within::Mean, 0.0, percent)),
            "wm" => Some(Statistic::Within(Within::WinsorizedMean, 0.0, percent)),
            "tc" => Some(Statistic::Within(Within::Count, 0.0, percent)),
            "ts" => Some(Statistic::Within(Within::Sum, 0.0, percent)),
            _ => None,
        }
    }

    /// One of the five.
    pub(crate) fn simple(text: &str) -> Option<Statistic> {
        Some(match text {
            "SampleCount" => Statistic::SampleCount,
            "Average" => Statistic::Average,
            "Sum" => Statistic::Sum,
            "Minimum" => Statistic::Minimum,
            "Maximum" => Statistic::Maximum,
            _ => return None,
        })
    }

    /// Whether the values themselves are needed.
    pub(crate) fn needs_values(self) -> bool {
        matches!(self, Statistic::Percentile(_) | Statistic::Within(..))
    }

    /// `None`: it is not known, because only statistic sets were kept.
    pub(crate) fn of(self, point: &Aggregate) -> Option<f64> {
        match self {
            Statistic::SampleCount => Some(point.count),
            Statistic::Average => Some(point.sum / point.count).filter(|average| average.is_finite()),
            Statistic::Sum => Some(point.sum),
            Statistic::Minimum => Some(point.min),
            Statistic::Maximum => Some(point.max),
            Statistic::Percentile(percent) => {
                let values = point.values.as_ref()?.values();
                percentile(values, percent).map(|value| value.clamp(point.min, point.max))
            }
            Statistic::Within(what, from, until) => {
                within(point.values.as_ref()?.values(), what, from, until)
            }
        }
    }
}

/// 0 to 100 with up to ten decimal places. Source: API reference, `ExtendedStatistics`.
fn percent(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let places = text.split_once('.').map_or(0, |(_, places)| places.len());
    if !plain || places > 10 || text.ends_with('.') {
        return None;
    }
    text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))
}

/// The least value that `percent` of all are at or below, by nearest rank.
fn percentile(values: &[(f64, f64)], percent: f64) -> Option<f64> {
    let total: f64 = values.iter().map(|(_, count)| count).sum();
    let rank = total * percent / 100.0;
    let mut below = 0.0;
    let found = values.iter().find(|(_, count)| {
        below += count;
        below >= rank
    });
    found.or(values.last()).map(|(value, _)| *value)
}

fn within(values: &[(f64, f64)], what: Within, from: f64, until: f64) -> Option<f64> {
    let total: f64 = values.iter().map(|(_, count)| count).sum();
    let (first, last) = (total * from / 100.0, total * until / 100.0);
    let (low, high) = (percentile(values, from)?, percentile(values, until)?);
    let (mut count, mut sum, mut whole, mut below) = (0.0, 0.0, 0.0, 0.0_f64);
    for (value, times) in values {
        // The part of these equal values that lies between the two ranks.
        let inside = ((below + times).min(last) - below.max(first)).max(0.0);
        below += times;
        count += inside;
        sum += inside * value;
        whole += times * value.clamp(low, high);
    }
    let answer = match what {
        Within::Count => count,
        Within::Sum => sum,
        Within::Mean => sum / count,
        Within::WinsorizedMean => whole / total,
    };
    answer.is_finite().then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(values: impl IntoIterator<Item = u32>) -> Aggregate {
        let mut all: Option<Aggregate> = None;
        for value in values {
            let one = Aggregate::of(f64::from(value), 1.0);
            match &mut all {
                None => all = Some(one),
                Some(all) => all.merge(&one),
            }
        }
        all.unwrap()
    }

    #[test]
    fn statistics_are_what_they_say() {
        let point = point(1..=100);
        for (name, value) in [
            ("SampleCount", 100.0),
            ("Average", 50.5),
            ("Sum", 5_050.0),
            ("Minimum", 1.0),
            ("Maximum", 100.0),
            ("p0", 1.0),
            ("p50", 50.0),
            ("p99", 99.0),
            ("p99.5", 100.0),
            ("p100", 100.0),
            ("tm90", 45.5),
            ("tc90", 90.0),
            ("ts90", 4_095.0),
            ("wm90", (4_095.0 + 10.0 * 90.0) / 100.0),
            ("IQM", 50.5),
        ] {
            assert_eq!(Statistic::parse(name).unwrap().of(&point), Some(value), "{name}");
        }
    }

    #[test]
    fn what_is_no_statistic_is_refused() {
        for bad in [
            "",
            "average",
            "p",
            "p101",
            "p-1",
            "p1.",
            "p1e1",
            "pNaN",
            "p99.12345678901",
            "TM(10%:90%)",
            "x5",
            "p1.2.3",
        ] {
            assert_eq!(Statistic::parse(bad), None, "{bad}");
        }
        assert_eq!(Statistic::parse("p50").unwrap().of(&Aggregate::set(3.0, 9.0, 1.0, 5.0)), None);
    }

    proptest! {
        #[test]
        fn percentiles_are_values_in_order(values in prop::collection::vec(0..1_000_u32, 1..200), a in 0.0..100.0_f64, b in 0.0..100.0_f64) {
            let point = point(values.iter().copied());
            let at = |percent| Statistic::Percentile(percent).of(&point).unwrap();
            prop_assert!(values.iter().any(|value| f64::from(*value) == at(a)));
            prop_assert!(at(a.min(b)) <= at(a.max(b)));
        }

        #[test]
        fn any_text_is_a_statistic_or_not(text in ".{0,20}") {
            Statistic::parse(&text);
        }
    }
}
