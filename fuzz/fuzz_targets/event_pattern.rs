//! Event patterns, and events against them: two lines of JSON.

#![no_main]

use pattern::Pattern;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (pattern, event) = text.split_once('\n').unwrap_or((text, "{}"));
    let (Ok(pattern), Ok(event)) = (Pattern::parse(pattern), serde_json::from_str(event)) else { return };
    pattern.matches(&event);
});
