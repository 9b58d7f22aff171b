//! Presigned parameters in a query string.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzzing::presigned(data));
