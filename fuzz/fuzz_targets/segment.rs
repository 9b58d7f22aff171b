//! Datagrams to the X-Ray daemon, and the segments in them.

#![no_main]

use telemetry::xray::segment;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    let document = segment::of_datagram(datagram).or_else(|| std::str::from_utf8(datagram).ok());
    if let Some(Ok(segment)) = document.map(segment::parse) {
        assert!(segment.id.len() == 16 && segment.trace.len() == 35);
    }
});
