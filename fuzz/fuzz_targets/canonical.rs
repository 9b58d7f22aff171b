//! The canonical request, and that what is signed is verified.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzzing::canonical(data));
