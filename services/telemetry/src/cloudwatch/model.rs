//! What the metrics store keeps.

use super::distribution::Distribution;
use base::{AccountId, Region};

/// Which metric: everything with the same identity is one series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) dimensions: Dimensions,
}

/// Names with values, ordered by name, no name twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dimensions(Vec<(String, String)>);

impl Dimensions {
    /// `None`: a name is given twice.
    pub(crate) fn new(mut pairs: Vec<(String, String)>) -> Option<Dimensions> {
        pairs.sort();
        let unique = pairs.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a != b));
        unique.then_some(Dimensions(pairs))
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether there is such a name, with this value if one is given.
    pub(crate) fn has(&self, name: &str, value: Option<&str>) -> bool {
        self.0.iter().any(|(own, of)| own == name && value.is_none_or(|value| value == of))
    }

    /// As stored: a JSON list of names and values in turn, the same text for the same dimensions.
    pub(crate) fn text(&self) -> String {
        let flat: Vec<&str> =
            self.0.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect();
        serde_json::Value::from(flat).to_string()
    }

    pub(crate) fn parse(text: &str) -> Option<Dimensions> {
        let flat: Vec<String> = serde_json::from_str(text).ok()?;
        let mut parts = flat.into_iter();
        let mut pairs = Vec::new();
        while let Some(name) = parts.next() {
            pairs.push((name, parts.next()?));
        }
        Dimensions::new(pairs)
    }
}

/// What was measured within one span of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// `None`: some came as a statistic set, so that nobody knows.
    pub(crate) values: Option<Distribution>,
}

impl Aggregate {
    /// `count` times `value`.
    pub(crate) fn of(value: f64, count: f64) -> Aggregate {
        let mut values = Distribution::default();
        values.add(value, count);
        Aggregate { count, sum: value * count, min: value, max: value, values: Some(values) }
    }

    /// A statistic set. Its values are known if there is one, or all are the same.
    pub(crate) fn set(count: f64, sum: f64, min: f64, max: f64) -> Aggregate {
        if count == 1.0 || min == max {
            return Aggregate { sum, ..Aggregate::of(min, count) };
        }
        Aggregate { count, sum, min, max, values: None }
    }

    pub(crate) fn merge(&mut self, other: &Aggregate) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        match (&mut self.values, &other.values) {
            (Some(own), Some(others)) => own.merge(others),
            _ => self.values = None,
        }
    }
}

/// Where a data point is kept: its series, and within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    /// Seconds since 1970, a multiple of `period`.
    pub(crate) at: i64,
    /// Seconds.
    pub(crate) period: i64,
    pub(crate) unit: Unit,
}

/// A data point as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) slot: Slot,
    pub(crate) aggregate: Aggregate,
}

/// Points to be added, by series, in order of their slots: mostly one or two, so that no map of them is made.
pub(crate) type Points = std::collections::BTreeMap<SeriesKey, Vec<(Slot, Aggregate)>>;

/// Adds one measurement to others.
pub(crate) fn gather(points: &mut Points, key: SeriesKey, slot: Slot, aggregate: Aggregate) {
    let slots = points.entry(key).or_default();
    match slots.binary_search_by(|(known, _)| known.cmp(&slot)) {
        Ok(at) => {
            if let Some((_, known)) = slots.get_mut(at) {
                known.merge(&aggregate);
            }
        }
        Err(at) => {
            if slots.is_empty() {
                slots.reserve_exact(1);
            }
            slots.insert(at, (slot, aggregate));
        }
    }
}

macro_rules! units {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A unit of measure. Source: API reference, `MetricDatum`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Unit {
            $($variant,)*
            #[default]
            None,
        }

        impl Unit {
            pub(crate) const NAMES: &'static [&'static str] = &[$($name,)* "None"];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Unit::$variant => $name,)*
                    Unit::None => "None",
                }
            }

            pub(crate) fn parse(text: &str) -> Option<Unit> {
                match text {
                    $($name => Some(Unit::$variant),)*
                    "None" => Some(Unit::None),
                    _ => None,
                }
            }
        }
    };
}

units! {
    Seconds "Seconds", Microseconds "Microseconds", Milliseconds "Milliseconds", Bytes "Bytes", Kilobytes "Kilobytes",
    Megabytes "Megabytes", Gigabytes "Gigabytes", Terabytes "Terabytes", Bits "Bits", Kilobits "Kilobits",
    Megabits "Megabits", Gigabits "Gigabits", Terabits "Terabits", Percent "Percent", Count "Count",
    BytesSecond "Bytes/Second", KilobytesSecond "Kilobytes/Second", MegabytesSecond "Megabytes/Second",
    GigabytesSecond "Gigabytes/Second", TerabytesSecond "Terabytes/Second", BitsSecond "Bits/Second",
    KilobitsSecond "Kilobits/Second", MegabitsSecond "Megabits/Second", GigabitsSecond "Gigabits/Second",
    TerabitsSecond "Terabits/Second", CountSecond "Count/Second",
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statistic_sets_hide_their_values_unless_all_are_the_same() {
        let mut point = Aggregate::set(1.0, 5.0, 5.0, 5.0);
        assert!(point.values.is_some());
        point.merge(&Aggregate::of(7.0, 2.0));
        assert_eq!((point.count, point.sum, point.min, point.max), (3.0, 19.0, 5.0, 7.0));
        assert_eq!(point.values.as_ref().unwrap().values(), [(5.0, 1.0), (7.0, 2.0)]);
        point.merge(&Aggregate::set(4.0, 10.0, 1.0, 4.0));
        assert!(point.values.is_none());
        assert_eq!((point.count, point.min), (7.0, 1.0));
    }

    #[test]
    fn units_have_one_name_each() {
        for name in Unit::NAMES {
            assert_eq!(Unit::parse(name).unwrap().as_str(), *name);
        }
        assert_eq!(Unit::parse("count"), None);
    }

    proptest! {
        #[test]
        fn dimensions_are_one_text_whatever_their_order(mut pairs in prop::collection::vec((".{1,5}", ".{1,5}"), 0..5)) {
            let one = Dimensions::new(pairs.clone());
            pairs.reverse();
            let other = Dimensions::new(pairs);
            prop_assert_eq!(&one, &other);
            if let Some(one) = one {
                prop_assert_eq!(Dimensions::parse(&one.text()), Some(one));
            }
        }
    }
}
