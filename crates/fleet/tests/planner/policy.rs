//! The learned policy against fixed windows.

use crate::{
    replay::{limits, replay},
    traces::{HOUR_US, Shape, generate},
};
use fleet::KeepAlive;

const SHAPE: Shape = Shape { functions: 150, hours: 72, calls_max: 1_500 };

#[test]
fn learned_has_fewer_cold_starts_and_less_idle_memory_than_ten_minutes() {
    for seed in 1..=5 {
        let trace = generate(seed, SHAPE);
        let fixed = replay(&trace, SHAPE.hours, limits(KeepAlive::Fixed, HOUR_US / 6));
        let learned = replay(&trace, SHAPE.hours, limits(KeepAlive::Learned, HOUR_US / 6));
        assert!(learned.calls > 10_000 && learned.calls.abs_diff(fixed.calls) < 100, "{learned:?}");
        let told = |outcome: &crate::replay::Outcome| {
            (outcome.cold_percent(), outcome.cold_percentile(75), outcome.idle_gib_hours())
        };
        println!("seed {seed}: fixed {:?} learned {:?}", told(&fixed), told(&learned));
        assert!(learned.cold < fixed.cold, "seed {seed}: cold starts");
        assert!(
            learned.cold_percentile(75) <= fixed.cold_percentile(75),
            "seed {seed}: cold starts by function"
        );
        assert!(learned.idle_mib_us < fixed.idle_mib_us, "seed {seed}: idle memory");
    }
}

#[test]
fn traces_have_the_published_shape() {
    let shape = Shape { functions: 1_500, hours: 48, calls_max: 3_000 };
    let trace = generate(9, shape);
    let share = |per_hour: u64| {
        let rare = trace.iter().filter(|one| one.calls.len() as u64 <= per_hour * shape.hours).count();
        rare as f64 / trace.len() as f64
    };
    assert!((0.40..0.52).contains(&share(1)), "at most hourly: {}", share(1));
    assert!((0.77..0.87).contains(&share(60)), "at most once a minute: {}", share(60));
    assert!(trace.iter().all(|one| one.calls.is_sorted_by_key(|(at, _)| *at)));
}
