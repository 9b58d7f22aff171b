//! Filter expressions of GetTraceSummaries.

#![no_main]

use telemetry::xray::filter;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = filter::parse(text);
});
