//! Recognising a request (path, `X-Amz-Target`, `Action`) and binding REST-JSON inputs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzzing::binding(data));
