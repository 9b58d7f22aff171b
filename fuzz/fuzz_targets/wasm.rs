//! WebAssembly programs on their way to machine code, and events on their way to requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    wasm::fuzzing::compile(data);
    wasm::fuzzing::compile(&[b"\0asm\x01\0\0\0", data].concat());
    wasm::fuzzing::compile(&[b"\0asm\x0d\0\x01\0", data].concat());
    wasm::fuzzing::request(data, "/");
});
