use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const TERMS: Terms = Terms { window_us: 10 * MINUTE, cold_worth_us: 20 * MINUTE, pause_us: 10 * SECOND };

/// A history of calls with these gaps, each of which runs for a tenth of a second; when the last ended.
fn after(gaps_us: impl IntoIterator<Item = u64>) -> (History, Tick) {
    let mut history = History::default();
    let mut now = Tick(0);
    let mut call = |now: Tick| {
        history.arrived(1, now, &TERMS);
        history.left(1, now.plus(SECOND / 10));
        now.plus(SECOND / 10)
    };
    now = call(now);
    for gap in gaps_us {
        now = call(now.plus(gap));
    }
    history.started(30_000);
    (history, now)
}

#[test]
fn little_known_functions_keep_the_fixed_window() {
    let (history, now) = after([MINUTE; 3]);
    let advice = history.advise(1, now, now, &TERMS);
    assert_eq!(advice.keep_until, now.plus(TERMS.window_us));
    assert_eq!((advice.why, advice.next), (Why::Unlearned { seen: 3, keep_us: TERMS.window_us }, None));
}

#[test]
fn a_timer_is_released_at_once_and_started_just_before_it_is_due() {
    let (history, now) = after([60 * MINUTE; 6]);
    let advice = history.advise(1, now, now, &TERMS);
    assert_eq!(advice.keep_until, now);
    let next = advice.next.expect("it comes again");
    let due = now.plus(60 * MINUTE);
    assert!(
        next.from < due
            && due.since(next.from) < 2 * MINUTE
            && next.until > due
            && next.until.since(due) < 2 * MINUTE
    );
    // Then it is kept for that time, and if nothing comes for one more period later, then for nothing.
    let late = history.advise(1, now, next.from.plus(1), &TERMS);
    assert_eq!(late.keep_until, next.until);
    let missed = history.advise(1, now, next.until, &TERMS).next.expect("once more");
    assert!(missed.until > due.plus(59 * MINUTE));
    let over = history.advise(1, now, missed.until, &TERMS);
    assert_eq!((over.keep_until, over.next), (missed.until, None));
}

#[test]
fn a_quick_rhythm_is_kept_through() {
    let (history, now) = after([5 * SECOND; 30]);
    let advice = history.advise(1, now, now, &TERMS);
    assert!(
        advice.keep_until >= now.plus(5 * SECOND) && advice.keep_until < now.plus(3 * MINUTE),
        "{advice:?}"
    );
}

#[test]
fn quick_calls_that_come_rarely_are_kept_shortly() {
    // Bursts of ten, two seconds apart, hours between them.
    let gaps = (0..60).map(|n| if n % 10 == 9 { 3_600 * SECOND * (5 + n % 7) } else { 2 * SECOND });
    let (history, now) = after(gaps);
    let advice = history.advise(1, now, now, &TERMS);
    assert!(
        advice.keep_until >= now.plus(2 * SECOND) && advice.keep_until < now.plus(3 * MINUTE),
        "{advice:?}"
    );
    assert_eq!(advice.next, None);
}

#[test]
fn several_habits_have_several_windows() {
    let gaps = (0..80).map(|n| [SECOND, 20 * MINUTE, SECOND, 60 * MINUTE][n % 4]);
    let (history, now) = after(gaps);
    let advice = history.advise(1, now, now, &TERMS);
    assert!(advice.keep_until < now.plus(5 * MINUTE), "{advice:?}");
    let next = advice.next.expect("the second habit");
    assert!(next.from < now.plus(20 * MINUTE) && next.until > now.plus(20 * MINUTE), "{advice:?}");
    let later = history.advise(1, now, next.until, &TERMS).next.expect("the third");
    assert!(later.from < now.plus(60 * MINUTE) && later.until > now.plus(60 * MINUTE), "{later:?}");
}

#[test]
fn changed_behaviour_is_learned_again() {
    let (history, now) = after([SECOND; 400].into_iter().chain([30 * MINUTE; 8]));
    let advice = history.advise(1, now, now, &TERMS);
    let next = advice.next.expect("a timer by now");
    assert!(next.from > now.plus(25 * MINUTE) && next.until < now.plus(40 * MINUTE), "{advice:?}");
}

#[test]
fn failing_starts_leave_out_ever_more_predictions() {
    let mut history = History::default();
    for failed in 1..=6 {
        history.start_failed();
        let left_out = (0..1_000).take_while(|_| history.skips()).count();
        assert_eq!(left_out, (1 << failed) - 1);
    }
    history.start_succeeded();
    assert!(!history.skips());
}

#[test]
fn bursts_say_how_many_are_needed_at_once() {
    let mut history = History::default();
    let mut now = Tick(0);
    for burst in [3, 5, 4, 3] {
        (1..=burst).for_each(|level| history.arrived(level, now, &TERMS));
        (1..=burst).rev().for_each(|level| history.left(level, now.plus(SECOND)));
        now = now.plus(MINUTE);
    }
    assert_eq!(history.ahead(), 3);
}

#[test]
fn a_history_has_a_fixed_size() {
    assert!(size_of::<History>() <= HISTORY_BYTES_MAX, "{} bytes", size_of::<History>());
}

proptest! {
    #[test]
    fn advice_keeps_its_bounds(
        gaps in prop::collection::vec(prop_oneof![0..SECOND, 0..MINUTE, 0..600 * MINUTE, 0..50_000 * MINUTE], 0..700),
        idle_us in prop_oneof![Just(0), 0..MINUTE, 0..600 * MINUTE],
        level in 1..4_u32,
    ) {
        let (history, idle) = after(gaps);
        let now = idle.plus(idle_us);
        let advice = history.advise(level, idle, now, &TERMS);
        prop_assert!(advice.keep_until <= idle.plus(TERMS.window_us.max(KEEP_US_MAX)).max(now.plus(KEEP_US_MAX)));
        if let Some(next) = advice.next {
            prop_assert!(next.from < next.until && next.until > now && next.until.since(next.from) <= KEEP_US_MAX);
            prop_assert!(next.until > advice.keep_until);
        }
        // Told again at the end of what it said, it never asks for the past.
        let then = advice.keep_until.max(now);
        let again = history.advise(level, idle, then, &TERMS);
        prop_assert!(again.next.is_none_or(|next| next.until > then));
        let rate = history.rate(level, idle, now);
        prop_assert!(rate.is_finite() && rate > 0.0);
    }

    #[test]
    fn more_worth_keeps_longer(gaps in prop::collection::vec(0..100 * MINUTE, 20..200)) {
        let (history, now) = after(gaps);
        prop_assume!(history.rhythm.beat().is_none());
        let mut before = now;
        for minutes in [1, 5, 20, 80, 320] {
            let terms = Terms { cold_worth_us: minutes * MINUTE, ..TERMS };
            let kept = history.advise(1, now, now, &terms).keep_until;
            prop_assert!(kept >= before);
            before = kept;
        }
    }
}
