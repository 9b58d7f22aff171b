//! A deployment package; nothing of it may appear outside of its folder, nor more than the limits allow.
#![no_main]

use std::{fs, io::Cursor};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(outer) = tempfile::tempdir() else { return };
    let folder = outer.path().join("package");
    if fs::create_dir(&folder).is_err() {
        return;
    }
    let limits = runtimes::Limits { unpacked_max: base::ByteCount(1 << 20), entries_max: 100 };
    if let Ok(size) = runtimes::unpack_into(Cursor::new(data), &folder, &limits) {
        assert!(size <= limits.unpacked_max);
    }
    let beside = fs::read_dir(outer.path()).map(Iterator::count).unwrap_or(1);
    assert_eq!(beside, 1, "something was written outside of the package's folder");
});
