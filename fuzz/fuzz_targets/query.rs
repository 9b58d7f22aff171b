//! An Insights query, and the message that it is asked of after the first NUL.
#![no_main]

use telemetry::insights::{Plan, Source};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (query, message) = text.split_once('\0').unwrap_or((&text, "{\"level\": \"warn\", \"n\": 3}"));
    if let Ok(plan) = Plan::parse(query) {
        let event = |at| Source { at, message: message.to_owned(), ..Source::default() };
        let _ = plan.answer([event(2_000), event(1_000)], 10);
    }
});
