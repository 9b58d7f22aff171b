//! The `authorization` header and those beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzzing::authorization(data));
