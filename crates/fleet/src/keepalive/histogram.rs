//! Counts of gaps by length.

use serde::{Deserialize, Serialize};

/// Gaps from here on are counted together: 2²⁴ ms.
pub(super) const BEYOND_MS: u64 = 1 << LAST_OCTAVE;

/// Gaps below 2⁵ ms are counted together.
const FIRST_OCTAVE: u32 = 5;
const LAST_OCTAVE: u32 = 24;
/// One for the shortest, four for each octave, one for what is beyond.
const BINS: usize = 2 + 4 * (LAST_OCTAVE - FIRST_OCTAVE) as usize;
/// A gap as a count, so that halving keeps what is rare for a while.
const ONE: u16 = 16;
/// All counts are halved when there are so many gaps: what comes then weighs as much as all that was.
const SEEN_MAX: u32 = 512;
/// The imagined gap of unknown length is spread over the bins, and over as many more for what is beyond.
const IMAGINED: f64 = 1.0 / (BINS as f64 + 20.0);
const IMAGINED_BEYOND: f64 = 21.0 * IMAGINED;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// In sixteenths of a gap.
    counts: [u16; BINS],
    /// Their sum.
    total: u32,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BINS], total: 0 }
    }
}

/// The bins that are not zero, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bins(pub(super) Vec<(u8, u16)>);

/// Bins next to each other through which an environment is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    /// Length of the shortest gap in it.
    pub(super) from_ms: u64,
    /// The longest.
    pub(super) until_ms: u64,
    /// Chance that the gap ends in it, given that it has not ended before the time asked for.
    pub(super) chance: f64,
}

fn bin(ms: u64) -> usize {
    let octave = 63 - (ms | 1).leading_zeros();
    if octave < FIRST_OCTAVE {
        0
    } else if octave >= LAST_OCTAVE {
        BINS - 1
    } else {
        1 + 4 * (octave - FIRST_OCTAVE) as usize + ((ms >> (octave - 2)) & 3) as usize
    }
}

/// The shortest gap of a bin.
fn edge_ms(bin: usize) -> u64 {
    match bin.checked_sub(1) {
        None => 0,
        Some(above) => (4 + above as u64 % 4) << (FIRST_OCTAVE as usize + above / 4 - 2),
    }
}

impl Histogram {
    /// Counts a gap.
    pub(super) fn add(&mut self, ms: u64) {
        self.counts[bin(ms)] += ONE;
        self.total += u32::from(ONE);
        if self.total >= SEEN_MAX * u32::from(ONE) {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// For [`Histogram::of`].
    pub(super) fn bins(&self) -> Bins {
        Bins((0..).zip(self.counts).filter(|&(_, count)| count > 0).collect())
    }

    /// As it was; `None` where the bins are none that could have been counted.
    pub(super) fn of(bins: &Bins) -> Option<Histogram> {
        let mut histogram = Histogram::default();
        let mut next = 0;
        for &(bin, count) in &bins.0 {
            if bin < next || count == 0 {
                return None;
            }
            *histogram.counts.get_mut(usize::from(bin))? = count;
            next = bin + 1;
            histogram.total += u32::from(count);
        }
        (histogram.total < SEEN_MAX * u32::from(ONE)).then_some(histogram)
    }

    /// Gaps counted, less what was forgotten.
    pub(super) fn seen(&self) -> u32 {
        self.total / u32::from(ONE)
    }

    /// Share of the gaps that were shorter.
    pub(super) fn share_below(&self, ms: u64) -> f64 {
        let below: u32 = self.counts[..bin(ms)].iter().map(|count| u32::from(*count)).sum();
        f64::from(below) / f64::from(self.total.max(1))
    }

    /// Gaps in a bin, the imagined one included, smoothed over its neighbours.
    fn weight(&self, bin: usize) -> f64 {
        let count = |bin: usize| f64::from(self.counts.get(bin).copied().unwrap_or(0));
        let around = count(bin.wrapping_sub(1)) + 2.0 * count(bin) + count(bin + 1);
        around / (4.0 * f64::from(ONE)) + IMAGINED
    }

    /// Gaps at least as long as those of a bin, likewise.
    fn remaining(&self, bin: usize) -> f64 {
        let count: u32 = self.counts[bin..].iter().map(|count| u32::from(*count)).sum();
        f64::from(count) / f64::from(ONE) + (BINS - 1 - bin) as f64 * IMAGINED + IMAGINED_BEYOND
    }

    /// The runs of bins, from a gap of `age_ms` on, in which the chance that it ends times `worth_ms` exceeds the width.
    pub(super) fn runs(&self, age_ms: u64, worth_ms: u64) -> impl Iterator<Item = Run> {
        let first = bin(age_ms);
        let all = self.remaining(first);
        let mut remaining = all;
        let mut next = first;
        std::iter::from_fn(move || {
            let mut run: Option<Run> = None;
            while next < BINS - 1 {
                let at = next;
                let weight = self.weight(at);
                // Smoothing moves weight between bins, of which some may be past.
                let (rest, width) = (remaining.max(weight), (edge_ms(at + 1) - edge_ms(at)) as f64);
                let keeps = weight * worth_ms as f64 >= rest * width;
                if !keeps && run.is_some() {
                    break;
                }
                next += 1;
                remaining -= f64::from(self.counts[at]) / f64::from(ONE) + IMAGINED;
                if keeps {
                    let run = run.get_or_insert(Run { from_ms: edge_ms(at), until_ms: 0, chance: 0.0 });
                    run.until_ms = edge_ms(at + 1);
                    run.chance = (run.chance + weight / all).min(1.0);
                }
            }
            run
        })
    }

    /// Chance per millisecond that a gap of `age_ms` ends soon: in its bin or the next.
    pub(super) fn rate_per_ms(&self, age_ms: u64) -> f64 {
        let at = bin(age_ms).min(BINS - 3);
        let weight = self.weight(at) + self.weight(at + 1);
        let width = (edge_ms(at + 2) - edge_ms(at)).max(age_ms / 4) as f64;
        weight / (self.remaining(at).max(weight) * width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_each_other_without_hole() {
        for at in 0..BINS - 1 {
            assert_eq!(bin(edge_ms(at)), at);
            assert_eq!(bin(edge_ms(at + 1) - 1), at);
        }
        assert_eq!((edge_ms(BINS - 1), bin(u64::MAX)), (BEYOND_MS, BINS - 1));
    }

    #[test]
    fn counts_are_forgotten_by_halves_and_never_overflow() {
        let mut gaps = Histogram::default();
        for _ in 0..100_000 {
            gaps.add(50);
        }
        assert!((SEEN_MAX / 2..SEEN_MAX).contains(&gaps.seen()));
        (0..2 * SEEN_MAX).for_each(|_| gaps.add(3_600_000));
        assert!(gaps.share_below(1_000) < 0.2);
    }
}
