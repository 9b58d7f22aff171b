//! A function's answer as an HTTP response, whole and as a prelude cut in two.
#![no_main]

use functions::logic::http_answer::{Prelude, buffered};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = buffered(&data.to_vec().into());
    let whole = Prelude::default().feed(data).ok().flatten();
    let (first, second) = data.split_at(data.len() / 2);
    let mut prelude = Prelude::default();
    if let Ok(None) = prelude.feed(first) {
        let cut = prelude.feed(second).ok().flatten();
        assert_eq!(cut.map(|(head, _)| head), whole.map(|(head, _)| head));
    }
});
