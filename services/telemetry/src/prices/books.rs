//! The price lists, as the providers publish them.

use super::{Book, Clock, Increment, MemoryTime, Provisioned, Tier};

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
    provisioned: Some((
        Provisioned { reserved: 4_166_700, run: 9_722_200 },
        Provisioned { reserved: 3_333_400, run: 7_777_800 },
    )),
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
    provisioned: None,
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
    provisioned: None,
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
