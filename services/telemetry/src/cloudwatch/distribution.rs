//! The values behind one data point, for percentiles: exact while there are few, then in buckets whose width is a fixed part of
//! their value.
//!
//! Up to [`VALUES_MAX`] distinct values are kept as they are. Beyond it all values move into buckets of a width of 2 % of their
//! value, and to twice that ratio as often as needed: the number of values kept is bounded, and the error of a percentile is at
//! most 1 % where the largest value is less than some ten thousand times the smallest.

/// Distinct values kept for one data point.
pub(crate) const VALUES_MAX: usize = 512;
/// Ratio of the borders of the narrowest buckets.
const RATIO: f64 = 1.02;
/// Here buckets are so wide that all finite numbers together have fewer than [`VALUES_MAX`].
const LEVEL_MAX: u8 = 10;

/// Values with their counts, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    /// 0: exact; n: buckets of ratio [`RATIO`] to the power of 2 to the n - 1.
    level: u8,
    values: Vec<(f64, f64)>,
}

impl Distribution {
    /// `count` times `value`; both finite.
    pub(crate) fn add(&mut self, value: f64, count: f64) {
        self.put(value, count);
        self.shrink();
    }

    /// Adds what another has.
    pub(crate) fn merge(&mut self, other: &Distribution) {
        while self.level < other.level {
            self.coarsen();
        }
        for (value, count) in &other.values {
            self.put(*value, *count);
        }
        self.shrink();
    }

    pub(crate) fn values(&self) -> &[(f64, f64)] {
        &self.values
    }

    fn put(&mut self, value: f64, count: f64) {
        // -0 is 0: both are one value.
        let value = rounded(value, self.level) + 0.0;
        match self.values.binary_search_by(|(known, _)| known.total_cmp(&value)) {
            Ok(at) => {
                if let Some((_, known)) = self.values.get_mut(at) {
                    *known += count;
                }
            }
            Err(at) => self.values.insert(at, (value, count)),
        }
    }

    fn shrink(&mut self) {
        while self.values.len() > VALUES_MAX && self.level < LEVEL_MAX {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.level += 1;
        for (value, count) in std::mem::take(&mut self.values) {
            self.put(value, count);
        }
    }

    /// As stored: the level, then pairs of little-endian floats.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.values.len() * 16);
        bytes.push(self.level);
        for (value, count) in &self.values {
            bytes.extend(value.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }

    /// What [`Distribution::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Distribution> {
        let (level, rest) = bytes.split_first()?;
        let float = |bytes: &[u8]| Some(f64::from_le_bytes(bytes.try_into().ok()?));
        let pairs = rest.chunks(16).map(|pair| {
            let (value, count) = pair.split_at_checked(8)?;
            Some((float(value)?, float(count)?))
                .filter(|(value, count)| value.is_finite() && count.is_finite())
        });
        let values = pairs.collect::<Option<Vec<_>>>()?;
        let sorted = values.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
        (sorted && *level <= LEVEL_MAX).then_some(Distribution { level: *level, values })
    }
}

/// The value that stands for the bucket of `value`; itself at level 0.
fn rounded(value: f64, level: u8) -> f64 {
    if level == 0 || value == 0.0 {
        return value;
    }
    let width = RATIO.ln() * f64::from(1_u32 << (level - 1).min(30));
    // The middle of the bucket, so that it stays in its bucket when rounded again.
    let bucket = (value.abs().ln() / width).floor();
    let middle = ((bucket + 0.5) * width).exp();
    middle.min(f64::MAX).copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((-1e12..1e12_f64, 1..1_000_u32), 0..1_500)
            .prop_map(|values| values.into_iter().map(|(value, count)| (value, f64::from(count))).collect())
    }

    #[test]
    fn few_values_are_exact_and_many_are_near() {
        let mut exact = Distribution::default();
        for value in [3.0, 1.0, 3.0, -0.0, 0.0] {
            exact.add(value, 1.0);
        }
        assert_eq!(exact.values(), [(0.0, 2.0), (1.0, 1.0), (3.0, 2.0)]);
        let mut many = Distribution::default();
        for value in 1..=10_000 {
            many.add(f64::from(value), 1.0);
        }
        assert!(many.values().len() <= VALUES_MAX);
        let mut before = 0.0;
        let median = many.values().iter().find(|(_, count)| {
            before += count;
            before >= 5_000.0
        });
        assert!((median.unwrap().0 / 5_000.0 - 1.0).abs() < 0.011, "{median:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_size_is_bounded(a in values(), b in values()) {
            let mut one = Distribution::default();
            let mut two = Distribution::default();
            for (value, count) in &a {
                one.add(*value, *count);
            }
            for (value, count) in &b {
                two.add(*value, *count);
            }
            one.merge(&two);
            let total: f64 = a.iter().chain(&b).map(|(_, count)| count).sum();
            prop_assert_eq!(one.values().iter().map(|(_, count)| count).sum::<f64>(), total);
            prop_assert!(one.values().len() <= VALUES_MAX);
            prop_assert!(one.values().windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert_eq!(Distribution::decode(&one.encode()), Some(one));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            Distribution::decode(&bytes);
        }

        #[test]
        fn extreme_values_stay_bounded(values in prop::collection::vec(any::<f64>().prop_filter("finite", |v| v.is_finite()), 600..700)) {
            let mut all = Distribution::default();
            for value in &values {
                all.add(*value, 1.0);
            }
            prop_assert!(all.values().len() <= VALUES_MAX, "{} {}", all.values().len(), all.level);
            prop_assert!(all.values().iter().all(|(value, _)| value.is_finite()));
        }
    }
}
