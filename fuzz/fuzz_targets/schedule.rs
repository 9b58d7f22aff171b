//! A schedule expression: what is read has its times one after the other, and no end of looking for them.
#![no_main]

use base::Timestamp;
use jiff::tz::TimeZone;
use scaling::logic::schedule::Schedule;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Ok(schedule) = text.parse::<Schedule>() else { return };
    let mut last = Timestamp(0);
    for _ in 0..3 {
        let Some(next) = schedule.next(&TimeZone::UTC, Timestamp(0), last) else { return };
        assert!(next > last, "{next:?} follows {last:?}");
        last = next;
    }
});
