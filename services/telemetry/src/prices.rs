//! Price books: what the same usage costs at AWS, Azure and Google. Pure.
//!
//! Money is counted in whole pico-dollars and memory-time in whole mebibyte-milliseconds; nothing here is a float, and the
//! only rounding is of each charge to the nearest pico-dollar (a trillionth of a dollar).
//!
//! Order of charging, per account and month: first the free tier, pooled over all functions and both processor kinds (it is
//! spread over them in proportion to their use), then the tiers by volume of each processor kind. What is charged is then
//! attributed to the single lines in proportion to their use, exactly: the parts sum to the whole.
//!
//! Google has two books: [`GOOGLE`] is its combined price of memory-time, [`GOOGLE_GEN1`] the first generation's price list
//! with a meter of its own for processor time. Deliberately left out: Azure's measuring of the memory *used* instead of the
//! memory configured; every book is applied to the memory configured.

use base::{Micros, Millis};
use std::fmt;

/// Dollars, in pico-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub u128);

const PICO: u128 = 1_000_000_000_000;

impl fmt::Display for Usd {
    /// All digits that are not zero, and at least two after the point: `0.00`, `1.20`, `0.0000002`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0 / PICO, self.0 % PICO, 12, 2)
    }
}

/// Why a text is no amount of dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a decimal number of US dollars with at most 12 decimals, up to {max}", max = USD_MAX.0 / PICO)]
pub struct BadUsd;

/// Largest amount that is read: a trillion dollars.
pub const USD_MAX: Usd = Usd(1_000_000_000_000 * PICO);

impl std::str::FromStr for Usd {
    type Err = BadUsd;

    /// Digits, and perhaps a point and 1 to 12 digits; neither sign nor exponent.
    fn from_str(text: &str) -> Result<Usd, BadUsd> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, max: usize| {
            (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 13) || !digits(fraction, 12) {
            return Err(BadUsd);
        }
        let whole: u128 = whole.parse().map_err(|_| BadUsd)?;
        let fraction: u128 = format!("{fraction:0<12}").parse().map_err(|_| BadUsd)?;
        Some(Usd(whole * PICO + fraction)).filter(|amount| *amount <= USD_MAX).ok_or(BadUsd)
    }
}

impl std::ops::Add for Usd {
    type Output = Usd;
    fn add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(parts: I) -> Usd {
        parts.fold(Usd(0), |sum, part| sum + part)
    }
}

/// Memory multiplied by time, in mebibyte-milliseconds; shown in GB-seconds (1 GB = 1,024 MiB).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryTime(pub u128);

/// Mebibyte-milliseconds in one GB-second.
const GB_SECOND: u128 = 1_024 * 1_000;

impl MemoryTime {
    /// `mib` mebibytes for `ms` milliseconds.
    pub const fn of(mib: u64, ms: u64) -> MemoryTime {
        MemoryTime(mib as u128 * ms as u128)
    }

    /// Whole GB-seconds.
    pub const fn gb_seconds(gb_seconds: u64) -> MemoryTime {
        MemoryTime(gb_seconds as u128 * GB_SECOND)
    }

    /// For showing only.
    pub fn as_gb_seconds(self) -> f64 {
        self.0 as f64 / GB_SECOND as f64
    }
}

impl fmt::Display for MemoryTime {
    /// In GB-seconds, exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 1 / 1,024,000 has 13 decimals: 0.0000009765625.
        decimal(f, self.0 / GB_SECOND, self.0 % GB_SECOND * 9_765_625, 13, 0)
    }
}

impl std::ops::Add for MemoryTime {
    type Output = MemoryTime;
    fn add(self, other: MemoryTime) -> MemoryTime {
        MemoryTime(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for MemoryTime {
    fn sum<I: Iterator<Item = MemoryTime>>(parts: I) -> MemoryTime {
        parts.fold(MemoryTime(0), |sum, part| sum + part)
    }
}

/// `whole.fraction` with `places` digits, zeros at the end cut down to `least` digits.
fn decimal(
    f: &mut fmt::Formatter<'_>,
    whole: u128,
    fraction: u128,
    places: usize,
    least: usize,
) -> fmt::Result {
    let digits = format!("{fraction:0places$}");
    let kept = digits.trim_end_matches('0').len().max(least);
    match digits.get(..kept) {
        Some(kept) if !kept.is_empty() => write!(f, "{whole}.{kept}"),
        _ => write!(f, "{whole}"),
    }
}

/// Processor kind; priced apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Processor {
    /// `x86_64`.
    X86,
    /// `arm64`.
    Arm,
}

impl Processor {
    /// Lambda's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Processor::X86 => "x86_64",
            Processor::Arm => "arm64",
        }
    }

    /// From Lambda's name; everything unknown counts as `x86_64`, the dearer one.
    pub fn named(name: &str) -> Processor {
        if name == "arm64" { Processor::Arm } else { Processor::X86 }
    }
}

/// What a set of invocations of one memory size used: sums over invocations, each rounded before it is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meters {
    /// Invocations started.
    pub requests: u64,
    /// Duration, each rounded up to 1 ms.
    pub ms: u64,
    /// Duration, each rounded up to 100 ms.
    pub ms_by_100: u64,
    /// Duration, each rounded up to 1 ms but at least 100 ms.
    pub ms_least_100: u64,
    /// Scratch space beyond [`SCRATCH_FREE_MIB`], in mebibytes, multiplied by duration rounded up to 1 ms.
    pub scratch_mib_ms: u64,
}

/// Scratch space that costs nothing. Source: Lambda's price list.
pub const SCRATCH_FREE_MIB: u32 = 512;

impl Meters {
    /// One invocation.
    pub fn one(duration: Micros, scratch_mib: u32) -> Meters {
        let Millis(ms) = duration.ceil_ms();
        Meters {
            requests: 1,
            ms,
            ms_by_100: ms.div_ceil(100) * 100,
            ms_least_100: ms.max(100),
            scratch_mib_ms: u64::from(scratch_mib.saturating_sub(SCRATCH_FREE_MIB)).saturating_mul(ms),
        }
    }

    /// Adds another set.
    pub fn add(&mut self, other: &Meters) {
        let Meters { requests, ms, ms_by_100, ms_least_100, scratch_mib_ms } = other;
        self.requests = self.requests.saturating_add(*requests);
        self.ms = self.ms.saturating_add(*ms);
        self.ms_by_100 = self.ms_by_100.saturating_add(*ms_by_100);
        self.ms_least_100 = self.ms_least_100.saturating_add(*ms_least_100);
        self.scratch_mib_ms = self.scratch_mib_ms.saturating_add(*scratch_mib_ms);
    }
}

/// Usage of one memory size on one processor kind: what a bill's line is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Memory configured, in mebibytes.
    pub memory_mib: u32,
    /// Where it ran.
    pub processor: Processor,
    /// What it used.
    pub meters: Meters,
}

/// How the duration of one invocation is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increment {
    /// Up to the next millisecond.
    Ms1,
    /// Up to the next 100 ms.
    Ms100,
    /// Up to the next millisecond, at least 100 ms.
    Least100,
}

impl Increment {
    fn of(self, meters: &Meters) -> u64 {
        match self {
            Increment::Ms1 => meters.ms,
            Increment::Ms100 => meters.ms_by_100,
            Increment::Least100 => meters.ms_least_100,
        }
    }
}

/// One step of a volume price: up to `until` a month in total, a GB-second costs `price`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// End of the step; `None` for the last.
    pub until: Option<MemoryTime>,
    /// Pico-dollars per GB-second.
    pub price: u64,
}

/// One provider's prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Book {
    /// Name in the API.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Free requests a month.
    pub requests_free: u64,
    /// Pico-dollars per request.
    pub request_price: u64,
    /// Free memory-time a month, over both processor kinds.
    pub duration_free: MemoryTime,
    /// Prices of `x86_64`.
    pub x86: &'static [Tier],
    /// Prices of `arm64`.
    pub arm: &'static [Tier],
    /// Rounding of time.
    pub increment: Increment,
    /// Memory is rounded up to a multiple of this many mebibytes.
    pub memory_step_mib: u32,
    /// Pico-dollars per GB-second of scratch space beyond [`SCRATCH_FREE_MIB`].
    pub scratch_price: u64,
    /// A meter of its own for processor time.
    pub clock: Option<Clock>,
}

/// Processor time priced apart from memory: each memory size has a clock rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Mebibytes and megahertz, ascending. Memory is rounded up to a size; what is larger than all has the last rate.
    pub sizes: &'static [(u32, u32)],
    /// Free GHz-seconds a month.
    pub free_ghz_seconds: u64,
    /// Pico-dollars per GHz-second.
    pub price: u64,
}

/// Megahertz-milliseconds in one GHz-second.
const GHZ_SECOND: u128 = 1_000 * 1_000;

impl Clock {
    /// The size that `memory_mib` is rounded up to, and its rate.
    fn size(&self, memory_mib: u32) -> (u32, u32) {
        let fits = self.sizes.iter().find(|(mib, _)| *mib >= memory_mib).copied();
        fits.unwrap_or((memory_mib, self.sizes.last().map_or(0, |(_, mhz)| *mhz)))
    }
}

const fn tier(until_millions: u64, price: u64) -> Tier {
    Tier { until: Some(MemoryTime::gb_seconds(until_millions * 1_000_000)), price }
}

const fn beyond(price: u64) -> Tier {
    Tier { until: None, price }
}

/// AWS Lambda, us-east-1.
pub const AWS: Book = Book {
    name: "aws",
    title: "AWS Lambda",
    requests_free: 1_000_000,
    request_price: 200_000,
    duration_free: MemoryTime::gb_seconds(400_000),
    x86: &[tier(6_000, 16_666_700), tier(15_000, 15_000_000), beyond(13_333_400)],
    arm: &[tier(7_500, 13_333_400), tier(18_750, 12_000_100), beyond(10_666_700)],
    increment: Increment::Ms1,
    memory_step_mib: 1,
    scratch_price: 30_900,
    clock: None,
};

/// AWS Lambda with the increments of 100 ms that it had until December 2020.
pub const AWS_BY_100_MS: Book = Book { increment: Increment::Ms100, ..AWS };

/// Azure Functions, consumption plan.
pub const AZURE: Book = Book {
    name: "azure",
    title: "Azure Functions",
    requests_free: 1_000_000,
    request_price: 200_000,
    duration_free: MemoryTime::gb_seconds(400_000),
    x86: &[beyond(16_000_000)],
    arm: &[beyond(16_000_000)],
    increment: Increment::Least100,
    memory_step_mib: 128,
    scratch_price: 0,
    clock: None,
};

/// Google Cloud Functions, first generation.
pub const GOOGLE: Book = Book {
    name: "google",
    title: "Google Cloud Functions",
    requests_free: 2_000_000,
    request_price: 400_000,
    duration_free: MemoryTime::gb_seconds(400_000),
    x86: &[beyond(10_000_000)],
    arm: &[beyond(10_000_000)],
    increment: Increment::Ms100,
    memory_step_mib: 1,
    scratch_price: 0,
    clock: None,
};

/// Google Cloud Functions, first generation, by its price list of two meters: memory-time and processor time.
pub const GOOGLE_GEN1: Book = Book {
    name: "google-gen1",
    title: "Google Cloud Functions, 1st gen",
    x86: &[beyond(2_500_000)],
    arm: &[beyond(2_500_000)],
    clock: Some(Clock {
        sizes: &[
            (128, 200),
            (256, 400),
            (512, 800),
            (1_024, 1_400),
            (2_048, 2_400),
            (4_096, 4_800),
            (8_192, 4_800),
        ],
        free_ghz_seconds: 200_000,
        price: 10_000_000,
    }),
    ..GOOGLE
};

/// All books in the order in which they are shown.
pub const BOOKS: [Book; 3] = [AWS, AZURE, GOOGLE];

/// What an account's month costs by one book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Requests used.
    pub requests: u64,
    /// Of these free.
    pub requests_free: u64,
    /// Price of the rest.
    pub requests_cost: Usd,
    /// Memory-time as this book rounds it.
    pub duration: MemoryTime,
    /// Of this free.
    pub duration_free: MemoryTime,
    /// Price of the rest.
    pub duration_cost: Usd,
    /// Price of processor time, where it has a meter of its own.
    pub processor_cost: Usd,
    /// Price of scratch space.
    pub scratch_cost: Usd,
    /// Share of each line, in order; they sum to [`Bill::total`].
    pub lines: Vec<Usd>,
}

impl Bill {
    /// All charges together.
    pub fn total(&self) -> Usd {
        self.requests_cost + self.duration_cost + self.processor_cost + self.scratch_cost
    }
}

impl Book {
    /// The bill of one account and month for all its `lines`.
    pub fn charge(&self, lines: &[Line]) -> Bill {
        let requests: u64 = lines.iter().map(|line| line.meters.requests).fold(0, u64::saturating_add);
        let requests_free = requests.min(self.requests_free);
        let requests_cost = Usd(u128::from(requests - requests_free) * u128::from(self.request_price));

        let times: Vec<MemoryTime> = lines.iter().map(|line| self.time(line)).collect();
        let of = |kind: Processor| -> Vec<u128> {
            let matching = lines.iter().zip(&times);
            matching.map(|(line, time)| if line.processor == kind { time.0 } else { 0 }).collect()
        };
        let (x86, arm) = (of(Processor::X86), of(Processor::Arm));
        let (x86_total, arm_total) = (sum(&x86), sum(&arm));
        let duration = MemoryTime(x86_total.saturating_add(arm_total));
        let duration_free = duration.min(self.duration_free);
        let x86_free = apportion(duration_free.0, &[x86_total, arm_total])[0];
        let arm_free = duration_free.0 - x86_free;
        let x86_cost = tiered(self.x86, x86_total - x86_free);
        let arm_cost = tiered(self.arm, arm_total - arm_free);

        let scratch: Vec<u128> = lines.iter().map(|line| u128::from(line.meters.scratch_mib_ms)).collect();
        let scratch_cost = Usd(priced(sum(&scratch), self.scratch_price));
        let clocked: Vec<u128> = lines.iter().map(|line| self.processor_time(line)).collect();
        let processor_cost = Usd(self.clock.map_or(0, |clock| {
            let beyond = sum(&clocked).saturating_sub(u128::from(clock.free_ghz_seconds) * GHZ_SECOND);
            (beyond.saturating_mul(u128::from(clock.price)).saturating_add(GHZ_SECOND / 2)) / GHZ_SECOND
        }));

        let by_requests: Vec<u128> = lines.iter().map(|line| u128::from(line.meters.requests)).collect();
        let parts = [
            apportion(requests_cost.0, &by_requests),
            apportion(x86_cost.0, &x86),
            apportion(arm_cost.0, &arm),
            apportion(scratch_cost.0, &scratch),
            apportion(processor_cost.0, &clocked),
        ];
        let lines = (0..lines.len()).map(|i| Usd(parts.iter().map(|part| part[i]).sum())).collect();
        Bill {
            requests,
            requests_free,
            requests_cost,
            duration,
            duration_free,
            duration_cost: x86_cost + arm_cost,
            processor_cost,
            scratch_cost,
            lines,
        }
    }

    /// Memory-time of a line as this book rounds it.
    pub fn time(&self, line: &Line) -> MemoryTime {
        let memory = match self.clock {
            Some(clock) => clock.size(line.memory_mib).0,
            None => line.memory_mib.max(1).next_multiple_of(self.memory_step_mib),
        };
        MemoryTime::of(u64::from(memory), self.increment.of(&line.meters))
    }

    /// Processor time of a line in megahertz-milliseconds; zero where it has no meter of its own.
    fn processor_time(&self, line: &Line) -> u128 {
        let mhz = self.clock.map_or(0, |clock| clock.size(line.memory_mib).1);
        u128::from(mhz) * u128::from(self.increment.of(&line.meters))
    }

    /// The same prices where the free tier is used up by something else.
    pub fn without_free_tier(self) -> Book {
        let clock = self.clock.map(|clock| Clock { free_ghz_seconds: 0, ..clock });
        Book { requests_free: 0, duration_free: MemoryTime(0), clock, ..self }
    }
}

fn sum(parts: &[u128]) -> u128 {
    parts.iter().fold(0, |sum: u128, part| sum.saturating_add(*part))
}

/// Price of `mib_ms` at `price` pico-dollars per GB-second, to the nearest pico-dollar.
fn priced(mib_ms: u128, price: u64) -> u128 {
    mib_ms.saturating_mul(u128::from(price)).saturating_add(GB_SECOND / 2) / GB_SECOND
}

/// Price of `mib_ms` by volume.
fn tiered(tiers: &[Tier], mib_ms: u128) -> Usd {
    let mut from = 0;
    let mut cost = 0;
    for tier in tiers {
        let until = tier.until.map_or(u128::MAX, |until| until.0);
        cost += priced(mib_ms.min(until).saturating_sub(from), tier.price);
        from = until;
    }
    Usd(cost)
}

/// Splits `total` in proportion to `weights`, by largest remainder: the parts sum to `total` exactly, unless there is no
/// weight, when all are zero.
fn apportion(total: u128, weights: &[u128]) -> Vec<u128> {
    let all = sum(weights);
    if all == 0 {
        return vec![0; weights.len()];
    }
    let mut parts: Vec<u128> = weights.iter().map(|weight| share(total, *weight, all).0).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(share(total, weights[i], all).1));
    let missing = total - sum(&parts);
    for i in order.into_iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        parts[i] += 1;
    }
    parts
}

/// `total × weight / all` and the remainder, for `weight ≤ all < 2^126`; exact where the product has more than 128 bits, too.
fn share(total: u128, weight: u128, all: u128) -> (u128, u128) {
    if let Some(product) = total.checked_mul(weight) {
        return (product / all, product % all);
    }
    // total = whole × all + part, and part × weight / all by long division, bit by bit.
    let (whole, part) = (total / all, total % all);
    let (mut quotient, mut remainder) = (0, 0);
    for bit in (0..u128::BITS).rev() {
        let sum = remainder * 2 + if weight >> bit & 1 == 1 { part } else { 0 };
        quotient = quotient * 2 + sum / all;
        remainder = sum % all;
    }
    (whole * weight + quotient, remainder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `count` invocations of `ms` each.
    fn line(count: u64, ms: u64, memory_mib: u32, processor: Processor) -> Line {
        let one = Meters::one(Micros(ms * 1_000), 512);
        let meters = Meters {
            requests: count,
            ms: one.ms * count,
            ms_by_100: one.ms_by_100 * count,
            ms_least_100: one.ms_least_100 * count,
            scratch_mib_ms: 0,
        };
        Line { memory_mib, processor, meters }
    }

    #[test]
    fn a_million_short_calls_cost_nothing_on_all_three() {
        for book in BOOKS {
            let bill = book.charge(&[line(1_000_000, 100, 128, Processor::X86)]);
            assert_eq!(bill.duration.to_string(), "12500", "{}", book.name);
            assert_eq!(bill.total(), Usd(0), "{}", book.name);
        }
    }

    #[test]
    fn a_thousand_requests_a_day_stay_below_a_dollar_a_month() {
        // 100 ms at 128 MB as in the worked case, and still so at half a second and 512 MB.
        for (ms, memory) in [(100, 128), (500, 512)] {
            for book in BOOKS {
                let month = [line(31 * 1_000, ms, memory, Processor::X86)];
                assert!(book.charge(&month).total() < Usd(PICO), "{}", book.name);
                let unfree = Book { requests_free: 0, duration_free: MemoryTime(0), ..book };
                let cost = unfree.charge(&month).total();
                assert!(cost > Usd(0) && cost < Usd(PICO), "{} {cost}", book.name);
            }
        }
    }

    #[test]
    fn beyond_the_free_tier_the_books_differ() {
        // 3,000,000 × 1 s × 512 MB = 1,500,000 GB-s; 1,100,000 of them charged.
        let month = [line(3_000_000, 1_000, 512, Processor::X86)];
        let cost = |book: Book| book.charge(&month).total().to_string();
        // 2,000,000 × 0.0000002 + 1,100,000 × 0.0000166667 = 0.40 + 18.33337
        assert_eq!(cost(AWS), "18.73337");
        // 0.40 + 1,100,000 × 0.000016
        assert_eq!(cost(AZURE), "18.00");
        // 1,000,000 × 0.0000004 + 1,100,000 × 0.00001
        assert_eq!(cost(GOOGLE), "11.40");
    }

    #[test]
    fn arm_is_cheaper_and_shares_the_free_tier() {
        let both = [line(1_000, 400_000, 1024, Processor::X86), line(1_000, 400_000, 1024, Processor::Arm)];
        let bill = AWS.charge(&both);
        assert_eq!(bill.duration_free, MemoryTime::gb_seconds(400_000));
        // Half of the free tier each: 200,000 GB-s charged on either.
        assert_eq!(bill.duration_cost.to_string(), "6.00002");
        assert_eq!(bill.lines[0].to_string(), "3.33334");
        assert_eq!(bill.lines[1].to_string(), "2.66668");
    }

    #[test]
    fn large_volumes_fall_into_cheaper_tiers() {
        // 16,000,400,000 GB-s: 0.4 M free, 6 G at the first, 9 G at the second, 1 G at the last price.
        let month = [line(16_000_400_000, 1_000, 1024, Processor::X86)];
        let unpaid = Book { requests_free: u64::MAX, ..AWS };
        assert_eq!(unpaid.charge(&month).total().to_string(), "248333.60");
    }

    #[test]
    fn durations_are_rounded_one_by_one() {
        let meters = Meters::one(Micros(101_001), 1_024);
        assert_eq!((meters.ms, meters.ms_by_100, meters.ms_least_100), (102, 200, 102));
        assert_eq!(meters.scratch_mib_ms, 512 * 102);
        let meters = Meters::one(Micros(1), 512);
        assert_eq!((meters.ms, meters.ms_by_100, meters.ms_least_100), (1, 100, 100));
        let tiny = Line { memory_mib: 130, processor: Processor::X86, meters };
        assert_eq!(AZURE.time(&tiny), MemoryTime::of(256, 100));
        assert_eq!(GOOGLE.time(&tiny), MemoryTime::of(130, 100));
        assert_eq!(AWS.time(&tiny), MemoryTime::of(130, 1));
        assert_eq!(AWS_BY_100_MS.time(&tiny), MemoryTime::of(130, 100));
    }

    #[test]
    fn scratch_space_beyond_the_free_part_is_charged() {
        let meters = Meters { scratch_mib_ms: 1_024 * 1_000 * 1_000_000, ..Meters::default() };
        let bill = AWS.charge(&[Line { memory_mib: 128, processor: Processor::X86, meters }]);
        assert_eq!(bill.total().to_string(), "0.0309");
    }

    #[test]
    fn the_first_generation_of_google_charges_processor_time_apart() {
        // Memory is rounded up to 256 MB at 400 MHz, time to 100 ms: 3,000,000 × 0.25 GB × 1 s = 750,000 GB-s, and
        // 3,000,000 × 0.4 GHz × 1 s = 1,200,000 GHz-s.
        let bill = GOOGLE_GEN1.charge(&[line(3_000_000, 901, 200, Processor::X86)]);
        // 350,000 × 0.0000025, 1,000,000 × 0.00001, 1,000,000 × 0.0000004.
        assert_eq!(bill.duration_cost.to_string(), "0.875");
        assert_eq!(bill.processor_cost.to_string(), "10.00");
        assert_eq!(bill.requests_cost.to_string(), "0.40");
        // No size is large enough: the memory as it is, the largest rate.
        let large =
            Line { memory_mib: 10_240, processor: Processor::X86, meters: Meters::one(Micros(1), 512) };
        assert_eq!(GOOGLE_GEN1.time(&large), MemoryTime::of(10_240, 100));
        assert_eq!(GOOGLE_GEN1.processor_time(&large), 4_800 * 100);
    }

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let read = |text: &str| text.parse::<Usd>();
        assert_eq!(read("0.0000002"), Ok(Usd(200_000)));
        assert_eq!(read("12"), Ok(Usd(12 * PICO)));
        assert_eq!(read("1000000000000"), Ok(USD_MAX));
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            " 1",
            "0.0000000000001",
            "1000000000000.1",
            "NaN",
            "１",
        ] {
            assert_eq!(read(bad), Err(BadUsd), "{bad}");
        }
    }

    #[test]
    fn amounts_print_exactly() {
        assert_eq!(Usd(0).to_string(), "0.00");
        assert_eq!(Usd(200_000).to_string(), "0.0000002");
        assert_eq!(Usd(5 * PICO + PICO / 2).to_string(), "5.50");
        assert_eq!(MemoryTime(1).to_string(), "0.0000009765625");
        assert_eq!(MemoryTime::of(128, 100).to_string(), "0.0125");
    }

    proptest! {
        #[test]
        fn amounts_survive_being_written(pico in 0u128..=USD_MAX.0) {
            prop_assert_eq!(Usd(pico).to_string().parse(), Ok(Usd(pico)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}") {
            let _ = text.parse::<Usd>();
        }

        #[test]
        fn shares_sum_to_the_whole(total in 0u128..1 << 90, weights in prop::collection::vec(0u128..1 << 80, 0..20)) {
            let parts = apportion(total, &weights);
            let whole = if weights.iter().all(|weight| *weight == 0) { 0 } else { total };
            prop_assert_eq!(parts.iter().sum::<u128>(), whole);
        }

        #[test]
        fn lines_sum_to_the_bill(
            lines in prop::collection::vec((0u64..1 << 40, 0u64..900_000, 128u32..10_241, any::<bool>()), 0..20),
        ) {
            let lines: Vec<Line> = lines
                .into_iter()
                .map(|(count, ms, memory, arm)| {
                    let processor = if arm { Processor::Arm } else { Processor::X86 };
                    line(count % 1_000_000_000, ms, memory, processor)
                })
                .collect();
            for book in [AWS, AZURE, GOOGLE, GOOGLE_GEN1] {
                let bill = book.charge(&lines);
                prop_assert_eq!(bill.lines.iter().copied().sum::<Usd>(), bill.total());
            }
        }
    }
}
