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
        ..Meters::default()
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
fn provisioned_concurrency_has_prices_of_its_own_and_no_free_tier() {
    // 100 environments of 1 GB reserved for two hours; 1,000,000 calls of 100 ms on them, and as many beyond them.
    let on = line(1_000_000, 100, 1_024, Processor::X86).meters.provisioned();
    let beyond = line(1_000_000, 100, 1_024, Processor::X86).meters;
    let mut all = Meters { reserved_ms: 100 * 7_200_000, ..on };
    all.add(&beyond);
    let one = Line { memory_mib: 1_024, processor: Processor::X86, meters: all };
    let bill = AWS.charge(&[one]);
    // 720,000 × 0.0000041667, 100,000 × 0.0000097222; the other 100,000 GB-s are free, as is a million requests.
    assert_eq!(
        (bill.reserved.to_string(), bill.reserved_cost.to_string()),
        ("720000".into(), "3.000024".into())
    );
    assert_eq!(bill.provisioned_cost.to_string(), "0.97222");
    assert_eq!((bill.duration.to_string(), bill.duration_cost), ("100000".into(), Usd(0)));
    assert_eq!(bill.total().to_string(), "4.172244");
    assert_eq!(AWS.without_free_tier().charge(&[one]).reserved_cost, bill.reserved_cost);
    // The others charge what ran on them as everything else, and nothing for waiting.
    let azure = AZURE.charge(&[one]);
    assert_eq!((azure.duration.to_string(), azure.reserved_cost), ("200000".into(), Usd(0)));
    let arm = AWS.charge(&[Line { processor: Processor::Arm, ..one }]);
    // 720,000 × 0.0000033334 and 100,000 × 0.0000077778.
    assert_eq!(
        (arm.reserved_cost.to_string(), arm.provisioned_cost.to_string()),
        ("2.400048".into(), "0.77778".into())
    );
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
    let large = Line { memory_mib: 10_240, processor: Processor::X86, meters: Meters::one(Micros(1), 512) };
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
                let one = line(count % 1_000_000_000, ms, memory, processor);
                let meters = if count % 3 == 0 { one.meters.provisioned() } else { one.meters };
                Line { meters: Meters { reserved_ms: count % 7_777_777, ..meters }, ..one }
            })
            .collect();
        for book in [AWS, AZURE, GOOGLE, GOOGLE_GEN1] {
            let bill = book.charge(&lines);
            prop_assert_eq!(bill.lines.iter().copied().sum::<Usd>(), bill.total());
        }
    }
}
