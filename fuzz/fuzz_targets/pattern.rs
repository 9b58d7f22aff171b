//! A filter pattern, and the message it is held against after the first newline.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (pattern, message) = text.split_once('\n').unwrap_or((&text, "{\"level\": \"warn\", \"n\": 3}"));
    if let Ok(pattern) = telemetry::pattern::Pattern::parse(pattern) {
        pattern.matches(message);
    }
});
