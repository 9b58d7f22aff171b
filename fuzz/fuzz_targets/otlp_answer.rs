//! Answers of an OpenTelemetry collector by gRPC.

#![no_main]

use telemetry::otlp::grpc::{Trailers, answer};

libfuzzer_sys::fuzz_target!(|input: (u16, Option<&str>, Option<&str>, Option<&str>, &[u8])| {
    let (http_status, status, message, details, body) = input;
    let _ = answer(http_status, Trailers { status, message, details }, body);
});
