//! Price books: what the same usage costs at AWS, Azure and Google. Pure.
//!
//! Money is counted in whole pico-dollars and memory-time in whole mebibyte-milliseconds; nothing here is a float, and the
//! only rounding is of each charge to the nearest pico-dollar (a trillionth of a dollar).
//!
//! Order of charging, per account and month: first the free tier, pooled over all functions and both processor kinds (it is
//! spread over them in proportion to their use), then the tiers by volume of each processor kind. What is charged is then
//! attributed to the single lines in proportion to their use, exactly: the parts sum to the whole.
//!
//! Environments that are kept ready (provisioned concurrency) have prices of their own in AWS's book: the time for which they are
//! reserved, and a lower price of what runs on them, neither with a free tier or steps. The other books have none, and no such
//! environments either: what runs is charged there as all other run time, and the reserved time is not.
//!
//! Google has two books: [`GOOGLE`] is its combined price of memory-time, [`GOOGLE_GEN1`] the first generation's price list
//! with a meter of its own for processor time. Deliberately left out: Azure's measuring of the memory *used* instead of the
//! memory configured; every book is applied to the memory configured.

mod books;
#[cfg(test)]
mod tests;

use base::{Micros, Millis};
use std::fmt;

pub use books::{AWS, AWS_BY_100_MS, AZURE, BOOKS, GOOGLE, GOOGLE_GEN1};

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
    /// The part of [`Meters::ms`] that ran on provisioned concurrency.
    pub provisioned_ms: u64,
    /// The part of [`Meters::ms_by_100`] that ran on provisioned concurrency.
    pub provisioned_ms_by_100: u64,
    /// Time for which environments were reserved as provisioned concurrency, summed over environments.
    pub reserved_ms: u64,
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
            ..Meters::default()
        }
    }

    /// The same, run on provisioned concurrency.
    pub fn provisioned(self) -> Meters {
        Meters { provisioned_ms: self.ms, provisioned_ms_by_100: self.ms_by_100, ..self }
    }

    /// Adds another set.
    pub fn add(&mut self, other: &Meters) {
        *self = self.zip(other, u64::saturating_add);
    }

    /// Every meter by itself.
    pub(crate) fn map(&self, change: impl Fn(u64) -> u64) -> Meters {
        self.zip(&Meters::default(), |count, _| change(count))
    }

    fn zip(&self, other: &Meters, join: impl Fn(u64, u64) -> u64) -> Meters {
        Meters {
            requests: join(self.requests, other.requests),
            ms: join(self.ms, other.ms),
            ms_by_100: join(self.ms_by_100, other.ms_by_100),
            ms_least_100: join(self.ms_least_100, other.ms_least_100),
            scratch_mib_ms: join(self.scratch_mib_ms, other.scratch_mib_ms),
            provisioned_ms: join(self.provisioned_ms, other.provisioned_ms),
            provisioned_ms_by_100: join(self.provisioned_ms_by_100, other.provisioned_ms_by_100),
            reserved_ms: join(self.reserved_ms, other.reserved_ms),
        }
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

    /// Of it, what ran on provisioned concurrency; the book with that price has one of the first two increments.
    fn provisioned(self, meters: &Meters) -> u64 {
        match self {
            Increment::Ms1 | Increment::Least100 => meters.provisioned_ms,
            Increment::Ms100 => meters.provisioned_ms_by_100,
        }
    }
}

/// Prices of provisioned concurrency on one processor kind, in pico-dollars per GB-second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// Of the time for which an environment is reserved.
    pub reserved: u64,
    /// Of what runs on it.
    pub run: u64,
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
    /// Provisioned concurrency on `x86_64` and on `arm64`; `None`: what runs on it is charged as everything else.
    pub provisioned: Option<(Provisioned, Provisioned)>,
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
    /// Run time on provisioned concurrency; zero where it has no price of its own.
    pub provisioned: MemoryTime,
    /// Price of it.
    pub provisioned_cost: Usd,
    /// Time for which environments were reserved; zero where it has no price.
    pub reserved: MemoryTime,
    /// Price of it.
    pub reserved_cost: Usd,
    /// Share of each line, in order; they sum to [`Bill::total`].
    pub lines: Vec<Usd>,
}

impl Bill {
    /// All charges together.
    pub fn total(&self) -> Usd {
        let run = self.duration_cost + self.provisioned_cost + self.processor_cost;
        self.requests_cost + run + self.scratch_cost + self.reserved_cost
    }
}

impl Book {
    /// The bill of one account and month for all its `lines`.
    pub fn charge(&self, lines: &[Line]) -> Bill {
        let requests: u64 = lines.iter().map(|line| line.meters.requests).fold(0, u64::saturating_add);
        let requests_free = requests.min(self.requests_free);
        let requests_cost = Usd(u128::from(requests - requests_free) * u128::from(self.request_price));

        let times: Vec<MemoryTime> = lines.iter().map(|line| self.on_demand(line)).collect();
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

        let run = self.charge_provisioned(lines, |line| self.provisioned_time(line), |prices| prices.run);
        let reserved =
            self.charge_provisioned(lines, |line| self.reserved_time(line), |prices| prices.reserved);

        let by_requests: Vec<u128> = lines.iter().map(|line| u128::from(line.meters.requests)).collect();
        let parts = [
            apportion(requests_cost.0, &by_requests),
            apportion(x86_cost.0, &x86),
            apportion(arm_cost.0, &arm),
            apportion(scratch_cost.0, &scratch),
            apportion(processor_cost.0, &clocked),
            run.shares,
            reserved.shares,
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
            provisioned: run.time,
            provisioned_cost: run.cost,
            reserved: reserved.time,
            reserved_cost: reserved.cost,
            lines,
        }
    }

    /// What one of the two prices of provisioned concurrency makes of `lines`.
    fn charge_provisioned(
        &self,
        lines: &[Line],
        time: impl Fn(&Line) -> MemoryTime,
        price: impl Fn(Provisioned) -> u64,
    ) -> Charged {
        let mut charged = Charged { time: MemoryTime(0), cost: Usd(0), shares: vec![0; lines.len()] };
        let kinds = self.provisioned.map(|(x86, arm)| [(Processor::X86, x86), (Processor::Arm, arm)]);
        for (kind, prices) in kinds.into_iter().flatten() {
            let own = |line: &Line| if line.processor == kind { time(line).0 } else { 0 };
            let times: Vec<u128> = lines.iter().map(own).collect();
            let total = sum(&times);
            let cost = priced(total, price(prices));
            charged.time = charged.time + MemoryTime(total);
            charged.cost = charged.cost + Usd(cost);
            for (share, part) in charged.shares.iter_mut().zip(apportion(cost, &times)) {
                *share += part;
            }
        }
        charged
    }

    /// Memory-time of a line's invocations as this book rounds it, those on provisioned concurrency included.
    pub fn time(&self, line: &Line) -> MemoryTime {
        self.memory_time(line, self.increment.of(&line.meters))
    }

    /// The part of it that ran on provisioned concurrency.
    pub fn provisioned_time(&self, line: &Line) -> MemoryTime {
        self.memory_time(line, self.increment.provisioned(&line.meters))
    }

    /// Memory-time for which environments were reserved.
    pub fn reserved_time(&self, line: &Line) -> MemoryTime {
        self.memory_time(line, line.meters.reserved_ms)
    }

    /// The part of [`Book::time`] that is charged as on-demand run time.
    fn on_demand(&self, line: &Line) -> MemoryTime {
        let apart = self.provisioned.map_or(MemoryTime(0), |_| self.provisioned_time(line));
        MemoryTime(self.time(line).0.saturating_sub(apart.0))
    }

    fn memory_time(&self, line: &Line, ms: u64) -> MemoryTime {
        let memory = match self.clock {
            Some(clock) => clock.size(line.memory_mib).0,
            None => line.memory_mib.max(1).next_multiple_of(self.memory_step_mib),
        };
        MemoryTime::of(u64::from(memory), ms)
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

/// One charge, and the share of each line in it.
struct Charged {
    time: MemoryTime,
    cost: Usd,
    shares: Vec<u128>,
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
