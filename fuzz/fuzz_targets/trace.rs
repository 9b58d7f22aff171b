//! Trace headers in both forms.

#![no_main]

use base::TraceHeader;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let header = TraceHeader::parse(text);
    assert_eq!(TraceHeader::parse(&header.to_string()), header);
    if let Some(header) = TraceHeader::parse_w3c(text) {
        assert_eq!(TraceHeader::parse_w3c(&header.to_w3c().unwrap()), Some(header));
    }
});
