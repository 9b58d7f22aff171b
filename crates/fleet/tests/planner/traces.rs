//! Calls of many functions over days, with the shape that is published of the Azure Functions traces of 2019 (Shahrad
//! et al., "Serverless in the Wild", 2020): 45 % of the functions are called once per hour or less and 81 % once per
//! minute or less, rates span eight orders of magnitude, timers drive 29 % of the functions, others follow the day or
//! come in bursts; execution times and memory are log-normal.

use crate::random::Random;

pub(crate) const HOUR_US: u64 = 3_600_000_000;

/// One function and its calls.
pub(crate) struct Traced {
    pub(crate) memory_mib: u32,
    pub(crate) launch_us: u64,
    /// When it is called, in order, and how long each call runs.
    pub(crate) calls: Vec<(u64, u64)>,
}

/// The size of a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) functions: usize,
    pub(crate) hours: u64,
    /// A function's trace ends with this call: what is called many times a second is warm under every policy.
    pub(crate) calls_max: usize,
}

/// What drives a function.
enum Driver {
    /// A timer; some are called in between as well.
    Timer { period_s: f64, jitter_s: f64, also: bool },
    /// Many independent callers.
    Poisson,
    /// The same, most of them at one time of day.
    Daily { peak: f64 },
    /// Somebody who works with it for a while.
    Bursts { size: f64, gap_s: f64 },
}

/// The trace of a seed.
pub(crate) fn generate(seed: u64, shape: Shape) -> Vec<Traced> {
    let mut random = Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
    (0..shape.functions).map(|_| function(&mut random, shape)).collect()
}

/// Calls per second, on average.
fn rate(random: &mut Random) -> f64 {
    let (hour, minute) = ((1.0 / 3600.0_f64).log10(), (1.0 / 60.0_f64).log10());
    let exponent = match random.unit() {
        share if share < 0.45 => random.between(-6.0, hour),
        share if share < 0.81 => random.between(hour, minute),
        _ => random.between(minute, 2.0),
    };
    10.0_f64.powf(exponent)
}

fn driver(random: &mut Random, rate: f64) -> Driver {
    match random.unit() {
        share if share < 0.29 => {
            let usual =
                [5.0, 15.0, 30.0, 60.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0];
            let nearest = |one: &&f64| ((*one * rate).ln().abs() * 1e6) as u64;
            let period_s = usual.iter().min_by_key(nearest).copied().unwrap_or(3_600.0);
            Driver::Timer {
                period_s,
                jitter_s: random.between(0.0, 2.0).min(period_s / 20.0),
                also: random.chance(250),
            }
        }
        share if share < 0.50 => Driver::Poisson,
        share if share < 0.75 => Driver::Daily { peak: random.unit() },
        _ => Driver::Bursts { size: 1.0 + random.log_normal(8.0, 1.0), gap_s: random.log_normal(10.0, 1.2) },
    }
}

fn function(random: &mut Random, shape: Shape) -> Traced {
    let rate = rate(random);
    let driver = driver(random, rate);
    let span_s = shape.hours as f64 * 3600.0;
    let mut at = Vec::new();
    let push = |at: &mut Vec<f64>, s: f64| {
        at.push(s);
        at.len() < shape.calls_max
    };
    let exponential = |random: &mut Random, mean: f64| -(1.0 - random.unit()).ln() * mean;
    let mut now = 0.0;
    match driver {
        Driver::Timer { period_s, jitter_s, also } => {
            now = random.unit() * period_s;
            while now < span_s && push(&mut at, now + random.unit() * jitter_s) {
                now += period_s;
            }
            let until = now;
            now = exponential(random, period_s * 10.0);
            while also && now < until && push(&mut at, now) {
                now += exponential(random, period_s * 10.0);
            }
        }
        Driver::Poisson => loop {
            now += exponential(random, 1.0 / rate);
            if now >= span_s || !push(&mut at, now) {
                break;
            }
        },
        Driver::Daily { peak } => loop {
            now += exponential(random, 1.0 / (2.0 * rate));
            let day = (now / 86_400.0 - peak) * std::f64::consts::TAU;
            let taken = random.unit() < 0.5 + 0.45 * day.cos();
            if now >= span_s || (taken && !push(&mut at, now)) {
                break;
            }
        },
        Driver::Bursts { size, gap_s } => 'trace: loop {
            now += exponential(random, size / rate);
            let calls = exponential(random, size).ceil() as u32;
            for _ in 0..calls.max(1) {
                if now >= span_s || !push(&mut at, now) {
                    break 'trace;
                }
                now += exponential(random, gap_s.min(1.0 / rate));
            }
        },
    }
    at.sort_unstable_by(f64::total_cmp);
    // Not more than a few at once.
    let run_s = random.log_normal(0.68, 2.36).clamp(0.001, 300.0).min(2.0 / rate);
    let mut calls = Vec::with_capacity(at.len());
    for s in at {
        calls.push(((s * 1e6) as u64, (run_s * random.between(0.7, 1.3) * 1e6) as u64 + 1));
    }
    let memory_mib = (random.log_normal(170.0, 0.7) as u32).clamp(128, 3_008);
    let launch_us = (random.log_normal(150.0, 1.0) * 1_000.0).clamp(2_000.0, 5_000_000.0) as u64;
    Traced { memory_mib, launch_us, calls }
}
