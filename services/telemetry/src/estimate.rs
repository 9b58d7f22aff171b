//! What the same usage would cost elsewhere, and where a machine that is always on would be cheaper. Pure.

use crate::prices::{
    AWS, AWS_BY_100_MS, AZURE, Bill, Book, GOOGLE, GOOGLE_GEN1, Line, Meters, Processor, Usd,
};

/// One way to be charged for usage: a price book, and the processor kind that it is all taken to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Name in the API.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// How time and memory are rounded.
    pub rounding: &'static str,
    /// Prices.
    pub book: Book,
    /// Processor kind.
    pub processor: Processor,
}

/// All of them, in the order in which they are shown. Run times are taken as measured, whatever the processor.
pub const ALTERNATIVES: [Alternative; 6] = [
    Alternative {
        name: "aws-x86",
        title: "AWS Lambda, x86_64",
        rounding: "1 ms",
        book: AWS,
        processor: Processor::X86,
    },
    Alternative {
        name: "aws-arm",
        title: "AWS Lambda, arm64",
        rounding: "1 ms",
        book: AWS,
        processor: Processor::Arm,
    },
    Alternative {
        name: "aws-100ms",
        title: "AWS Lambda, until 2020",
        rounding: "100 ms",
        book: AWS_BY_100_MS,
        processor: Processor::X86,
    },
    Alternative {
        name: "azure",
        title: AZURE.title,
        rounding: "1 ms, at least 100 ms; 128 MB",
        book: AZURE,
        processor: Processor::X86,
    },
    Alternative {
        name: "google",
        title: GOOGLE.title,
        rounding: "100 ms",
        book: GOOGLE,
        processor: Processor::X86,
    },
    Alternative {
        name: "google-gen1",
        title: GOOGLE_GEN1.title,
        rounding: "100 ms; next memory size",
        book: GOOGLE_GEN1,
        processor: Processor::X86,
    },
];

impl Alternative {
    /// What `lines` cost, and what they would cost if the free tier were used up by something else.
    pub fn charge(&self, lines: &[Line]) -> (Bill, Usd) {
        let lines = self.lines(lines);
        (self.book.charge(&lines), self.book.without_free_tier().charge(&lines).total())
    }

    fn lines(&self, lines: &[Line]) -> Vec<Line> {
        lines.iter().map(|line| Line { processor: self.processor, ..*line }).collect()
    }
}

/// Seconds of a month of 730 hours, as providers reckon the monthly price of a machine.
pub const MONTH_S: u64 = 730 * 3_600;
/// Requests a month beyond which no break-even is looked for.
const REQUESTS_MAX: u64 = 1 << 44;

/// Up to how much of the same kind of load functions cost no more than a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakEven {
    /// Requests a month; `None`: functions cost less at any load that is looked for.
    pub requests: Option<u64>,
    /// Invocations that run at the same time at that load, on average.
    pub concurrency: f64,
    /// Memory that they hold together, on average, in mebibytes.
    pub memory_mib: f64,
}

/// Where `book` becomes dearer than a machine of `machine` a month, for more of what `lines` are. `None` without requests: there is
/// nothing to scale.
pub fn break_even(alternative: &Alternative, lines: &[Line], machine: Usd) -> Option<BreakEven> {
    let lines = alternative.lines(lines);
    let now: u64 = lines.iter().map(|line| line.meters.requests).fold(0, u64::saturating_add);
    if now == 0 {
        return None;
    }
    let cost = |requests: u64| {
        let scaled: Vec<Line> =
            lines.iter().map(|line| Line { meters: scaled(&line.meters, requests, now), ..*line }).collect();
        alternative.book.charge(&scaled).total()
    };
    // The cost never falls with the number of requests.
    let mut above = 1;
    while above <= REQUESTS_MAX && cost(above) <= machine {
        above *= 2;
    }
    if above > REQUESTS_MAX {
        return Some(BreakEven { requests: None, concurrency: 0.0, memory_mib: 0.0 });
    }
    let mut below = above / 2;
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if cost(middle) <= machine { below = middle } else { above = middle }
    }
    let (ms, mib_ms) = lines.iter().fold((0.0, 0.0), |(ms, mib_ms), line| {
        let own = line.meters.ms as f64;
        (ms + own, mib_ms + own * f64::from(line.memory_mib))
    });
    let per_month = below as f64 / now as f64 / (MONTH_S as f64 * 1_000.0);
    Some(BreakEven { requests: Some(below), concurrency: ms * per_month, memory_mib: mib_ms * per_month })
}

fn scaled(meters: &Meters, to: u64, from: u64) -> Meters {
    meters.map(|count| {
        let scaled = u128::from(count) * u128::from(to) / u128::from(from.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    })
}

/// Usage of `requests` invocations that take `ms` each.
pub fn workload(requests: u64, ms: u64, memory_mib: u32, scratch_mib: u32) -> Line {
    let one = Meters::one(base::Micros(ms.saturating_mul(1_000)), scratch_mib);
    let meters = one.map(|count| count.saturating_mul(requests));
    Line { memory_mib, processor: Processor::X86, meters }
}

/// Room above the most memory that was ever used.
const HEADROOM_PERCENT: u64 = 25;
/// Advice names multiples of this.
const ADVICE_STEP_MIB: u64 = 64;
/// From here on, what is used is too near to what there is.
const TIGHT_PERCENT: u64 = 90;

/// The memory size that the most memory ever used asks for: a quarter more, in steps of 64 MB, within Lambda's bounds.
/// `None` where the present one is right, or nothing was measured.
pub fn right_size(memory_mib: u32, used_max_bytes: u64) -> Option<u32> {
    if used_max_bytes == 0 {
        return None;
    }
    let used_mib = used_max_bytes.div_ceil(1024 * 1024);
    let room = (used_mib * (100 + HEADROOM_PERCENT)).div_ceil(100).next_multiple_of(ADVICE_STEP_MIB);
    let (least, most) = (base::limits::MEMORY.start().0, base::limits::MEMORY.end().0);
    let wanted = u32::try_from(room).unwrap_or(u32::MAX).clamp(least, most);
    let tight = used_mib * 100 >= u64::from(memory_mib) * TIGHT_PERCENT;
    let right = wanted == memory_mib || (wanted > memory_mib && !tight);
    (!right).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> Alternative {
        *ALTERNATIVES.iter().find(|alternative| alternative.name == name).unwrap()
    }

    #[test]
    fn the_same_usage_differs_by_rounding_and_price() {
        // 10,000,000 × 30 ms × 200 MB.
        let lines = [workload(10_000_000, 30, 200, 512)];
        let costs = ALTERNATIVES.map(|alternative| {
            let (bill, paid) = alternative.charge(&lines);
            (alternative.name, bill.total().to_string(), paid.to_string())
        });
        // 58,593.75 GB-s by 1 ms: free. 195,312.5 by 100 ms: free. Azure 256 MB × 100 ms: 250,000: free.
        let requests = |paid: &str| paid.to_owned();
        assert_eq!(costs[0].1, requests("1.80"));
        assert_eq!(costs[0].2, "2.976564453125"); // 2.00 + 58,593.75 × 0.0000166667
        assert_eq!(costs[1].2, "2.78125390625"); // 2.00 + 58,593.75 × 0.0000133334
        assert_eq!(costs[2].2, "5.25521484375"); // 2.00 + 195,312.5 × 0.0000166667
        assert_eq!(costs[3].2, "6.00"); // 2.00 + 250,000 × 0.000016
        assert_eq!(costs[4].2, "5.953125"); // 4.00 + 195,312.5 × 0.00001
        assert_eq!(costs[5].2, "8.625"); // 4.00 + 250,000 × 0.0000025 + 400,000 × 0.00001
        assert_eq!(costs[5].1, "5.20"); // 3.20 + 200,000 × 0.00001
    }

    #[test]
    fn beyond_the_break_even_a_machine_is_cheaper() {
        // 1 s at 1 GB costs 0.0000168667 beyond the free tier.
        let lines = [workload(10, 1_000, 1_024, 512)];
        let found = break_even(&named("aws-x86"), &lines, "30".parse().unwrap()).unwrap();
        let requests = found.requests.unwrap();
        let cost = |requests: u64| AWS.charge(&[workload(requests, 1_000, 1_024, 512)]).total();
        let machine = "30".parse().unwrap();
        assert!(cost(requests) <= machine && cost(requests + 1) > machine, "{requests}");
        // 30 = (n − 400,000) × 0.0000166667 + (n − 1,000,000) × 0.0000002
        assert_eq!(requests, 2_185_767);
        assert!((found.concurrency - 2_185_767.0 / 2_628_000.0).abs() < 1e-9);
        assert!((found.memory_mib - 1_024.0 * found.concurrency).abs() < 1e-6);
        assert_eq!(break_even(&named("azure"), &[], machine), None);
    }

    #[test]
    fn memory_advice_follows_what_was_used() {
        let mib = |mib: u64| mib * 1024 * 1024;
        for (memory, used, advice) in [
            (1_024, mib(100), Some(128)),
            (1_024, mib(103), Some(192)),
            (128, mib(40), None),
            (128, mib(100), None),
            (128, mib(120), Some(192)),
            (256, mib(200), None),
            (10_240, mib(10_240), None),
            (512, 0, None),
        ] {
            assert_eq!(right_size(memory, used), advice, "{memory} {used}");
        }
    }

    proptest! {
        #[test]
        fn a_break_even_is_where_the_cost_crosses(
            requests in 1u64..1_000_000, ms in 1u64..100_000, memory in 128u32..10_241, dollars in 0u32..10_000,
        ) {
            let lines = [workload(requests, ms, memory, 512)];
            let machine: Usd = dollars.to_string().parse().unwrap();
            for alternative in ALTERNATIVES {
                let found = break_even(&alternative, &lines, machine).unwrap();
                if let Some(n) = found.requests {
                    let (below, _) = alternative.charge(&[workload(n, ms, memory, 512)]);
                    let (above, _) = alternative.charge(&[workload(n + 1, ms, memory, 512)]);
                    prop_assert!(below.total() <= machine && above.total() > machine, "{} {n}", alternative.name);
                }
            }
        }
    }
}
