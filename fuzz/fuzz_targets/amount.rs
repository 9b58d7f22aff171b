//! An amount of dollars: what is read is written as the same amount.
#![no_main]

use telemetry::prices::Usd;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(amount) = text.parse::<Usd>() {
        assert_eq!(amount.to_string().parse(), Ok(amount));
    }
});
