use super::*;
use proptest::prelude::*;

fn ms(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// The next times, as UTC.
fn next(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule: Schedule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let zone = TimeZone::get(zone).unwrap();
    let mut at = ms(after);
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(next) = schedule.next(&zone, ms("2026-01-01T00:00:30Z"), at) else { break };
        found.push(jiff::Timestamp::from_millisecond(next.0).unwrap().to_string());
        at = next;
    }
    found
}

#[test]
fn the_three_forms_are_understood() {
    assert_eq!(next("at(2026-03-01T08:30:00)", "UTC", "2026-01-01T00:00:00Z", 2), ["2026-03-01T08:30:00Z"]);
    assert_eq!(
        next("at(2026-03-01T08:30:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", 2),
        ["2026-03-01T07:30:00Z"]
    );
    assert_eq!(
        next("rate(5 minutes)", "UTC", "2026-01-01T00:07:00Z", 2),
        ["2026-01-01T00:10:30Z", "2026-01-01T00:15:30Z"]
    );
    assert_eq!(next("rate(1 day)", "UTC", "2025-06-01T00:00:00Z", 1), ["2026-01-01T00:00:30Z"]);
    assert_eq!(
        next("cron(0 8 ? * MON-FRI *)", "UTC", "2026-01-02T08:00:00Z", 2),
        ["2026-01-05T08:00:00Z", "2026-01-06T08:00:00Z"]
    );
    assert_eq!(
        next("cron(0/20 22 1,15 jan,2 ? 2027)", "UTC", "2026-01-02T08:00:00Z", 4),
        ["2027-01-01T22:00:00Z", "2027-01-01T22:20:00Z", "2027-01-01T22:40:00Z", "2027-01-15T22:00:00Z"]
    );
}

#[test]
fn days_of_a_month_are_found_from_its_end_and_near_weekends() {
    let days = |text: &str, count: usize| {
        let found = next(text, "UTC", "2026-01-01T12:00:00Z", count);
        found.into_iter().map(|at| at[5..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(days("cron(0 0 L * ? *)", 3), ["01-31", "02-28", "03-31"]);
    // 31 January and 28 February 2026 are Saturdays.
    assert_eq!(days("cron(0 0 LW * ? *)", 3), ["01-30", "02-27", "03-31"]);
    // 15 February and 15 March are Sundays, 1 August is a Saturday.
    assert_eq!(days("cron(0 0 15W * ? *)", 3), ["01-15", "02-16", "03-16"]);
    assert_eq!(days("cron(0 0 1W AUG ? *)", 1), ["08-03"]);
    assert_eq!(days("cron(0 0 31W * ? *)", 2), ["01-30", "03-31"]);
    assert_eq!(days("cron(0 0 ? * 6L *)", 2), ["01-30", "02-27"]);
    assert_eq!(days("cron(0 0 ? * FRI#5 *)", 2), ["01-30", "05-29"]);
    assert_eq!(days("cron(0 0 ? * L *)", 2), ["01-03", "01-10"]);
    assert_eq!(days("cron(0 0 ? * SAT-SUN *)", 3), ["01-03", "01-04", "01-10"]);
    assert_eq!(next("cron(0 0 29 FEB ? *)", "UTC", "2026-01-01T00:00:00Z", 2)[1], "2032-02-29T00:00:00Z");
}

#[test]
fn clocks_that_are_set_on_or_back_skip_no_day_and_repeat_none() {
    // In Berlin 02:30 of 29 March 2026 is skipped, and 02:30 of 25 October comes twice.
    let daily = |after| next("cron(30 2 * * ? *)", "Europe/Berlin", after, 3);
    assert_eq!(
        daily("2026-03-28T00:00:00Z"),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
    );
    assert_eq!(
        daily("2026-10-24T00:00:00Z"),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn what_never_comes_is_never() {
    assert_eq!(next("cron(0 0 30 FEB ? *)", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0]);
    assert_eq!(next("cron(0 0 1 1 ? 2025)", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0]);
    assert_eq!(next("at(2025-01-01T00:00:00)", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0]);
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "",
        "at",
        "at()",
        "at(2026-02-30T00:00:00)",
        "at(2026-02-03)",
        "at(2026-02-03T00:00:00Z)",
        "at(2026-02-03T24:00:00)",
        "at(2026-02-03T00:00:60)",
        "rate()",
        "rate(0 minutes)",
        "rate(1 minutes)",
        "rate(5 minute)",
        "rate(-5 minutes)",
        "rate(+5 minutes)",
        "rate(5  minutes)",
        "rate(5 seconds)",
        "rate(99999999999999999 days)",
        "rate(5 minutes",
        "cron()",
        "cron(0 0 * * * *)",
        "cron(0 0 ? * ? *)",
        "cron(0 0 * * ?)",
        "cron(60 0 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 0 0 * ? *)",
        "cron(0 0 32 * ? *)",
        "cron(0 0 * 13 ? *)",
        "cron(0 0 ? * 0 *)",
        "cron(0 0 ? * 8 *)",
        "cron(0 0 ? * MON#6 *)",
        "cron(0 0 * * ? 1969)",
        "cron(0 0 * * ? 2200)",
        "cron(*/0 0 * * ? *)",
        "cron(5-1 0 * * ? *)",
        "cron(0 0 W * ? *)",
        "cron(0, 0 * * ? *)",
        "cron(+1 0 * * ? *)",
        "CRON(0 0 * * ? *)",
        "cron(0 0 3-L * ? *)",
    ] {
        assert!(text.parse::<Schedule>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "(at|rate|cron)?\\(?[0-9A-Z*?/#,L W:T-]{0,40}\\)?") {
        let _ = text.parse::<Schedule>();
    }

    #[test]
    fn times_follow_each_other_and_fit(
        minute in 0u32..60, hour in 0u32..24, day in 1u32..32, after in 0i64..4_000_000_000_000, berlin in any::<bool>()
    ) {
        let schedule: Schedule = format!("cron({minute} {hour} {day} * ? *)").parse().unwrap();
        let zone = TimeZone::get(if berlin { "Europe/Berlin" } else { "Australia/Lord_Howe" }).unwrap();
        let first = schedule.next(&zone, Timestamp(0), Timestamp(after)).unwrap();
        let second = schedule.next(&zone, Timestamp(0), first).unwrap();
        prop_assert!(after < first.0 && first < second);
        let shown = zone.to_datetime(jiff::Timestamp::from_millisecond(first.0).unwrap());
        prop_assert_eq!(u32::try_from(shown.day()).unwrap(), day);
        // Nothing is left out: asked a moment before it, it is found again.
        prop_assert_eq!(schedule.next(&zone, Timestamp(0), first.plus_ms(-1)), Some(first));
    }
}
