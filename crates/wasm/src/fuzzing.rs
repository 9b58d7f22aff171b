//! What fuzz targets and property tests drive.

use crate::{program, request};
use base::{Invocation, Micros, RequestId, Timestamp};
use bytes::Bytes;
use std::sync::OnceLock;
use wasmtime::Engine;

/// Compiles bytes as a program; whether that could be done. Never panics.
pub fn compile(bytes: &[u8]) -> bool {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    program::compile(ENGINE.get_or_init(Engine::default), bytes).is_ok()
}

/// Makes a request of an event; whether the event describes one. Its body is the event's otherwise.
pub fn request(event: &[u8], handler: &str) -> bool {
    let call = Invocation {
        request_id: RequestId::from_random([0; 16]),
        payload: Bytes::copy_from_slice(event),
        invoked_arn: "".into(),
        body: base::ArrivingBody::default(),
        client_context: None,
        trace: None,
        span: None,
        tail: false,
        streamed: false,
        waited: Micros(0),
        provisioned: false,
        cold: false,
    };
    let told =
        request::Told { at: Timestamp(0), deadline_at: Timestamp(0), trace: "", tenant: None, handler };
    let wanted = request::request(&call, &told);
    assert!(wanted.http || wanted.request.body() == event);
    wanted.http
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lean() -> Vec<u8> {
        let whole = include_str!("../../../tests/wasm/component.wat");
        wat::parse_str(whole.replace("    CORE\n", include_str!("../../../tests/wasm/lean.wat"))).unwrap()
    }

    /// Where its sections begin and end: what is cut there is a smaller program. Source: the core specification, binary format.
    fn borders(program: &[u8]) -> Vec<usize> {
        let mut borders = vec![8];
        let mut at = 8;
        while at < program.len() {
            let (mut size, mut shift) = (0, 0);
            loop {
                at += 1;
                size |= usize::from(program[at] & 0x7f) << shift;
                shift += 7;
                if program[at] & 0x80 == 0 {
                    break;
                }
            }
            at += 1 + size;
            borders.push(at);
        }
        borders
    }

    #[test]
    fn a_program_is_compiled_and_a_part_of_it_is_not() {
        let lean = lean();
        assert!(compile(&lean));
        let borders = borders(&lean);
        assert_eq!(borders.last(), Some(&lean.len()));
        for cut in (0..lean.len()).step_by(97).filter(|cut| !borders.contains(cut)) {
            assert!(!compile(&lean[..cut]), "{cut}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_bytes_are_compiled_or_refused(rest: Vec<u8>, at in 8usize..5_000, byte: u8) {
            for header in [&b"\0asm\x01\0\0\0"[..], b"\0asm\x0d\0\x01\0", b""] {
                compile(&[header, &rest].concat());
            }
            let mut changed = lean();
            let length = changed.len();
            changed[at % length] = byte;
            compile(&changed);
        }
    }
}
