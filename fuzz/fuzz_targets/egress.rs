//! What comes out of sandboxes on its way to the network: first packets of connections, questions for names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (all, readable) = sandbox::fuzzing::packets(data);
    assert!(readable <= all);
    if sandbox::fuzzing::is_question(data) {
        assert!(data.len() >= 17, "a header, a root, a type and a class");
        assert_eq!(data[2] & 0xf8, 0, "neither an answer nor a change");
    }
});
