//! What a Java machine cannot do by itself before version 22: change the environment that the C library knows, which programs that
//! it starts inherit, and the folder that it works in. For `neap.boot.Cell`.
//!
//! Compiled by `build.rs` into a library of its own, which a machine that waits loads; it calls nothing but the C library's functions.
#![no_std]

use core::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C" {
    fn clearenv() -> c_int;
    fn putenv(text: *mut c_char) -> c_int;
    fn chdir(folder: *const c_char) -> c_int;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Replaces the environment by the texts `NAME=VALUE` at `block`, each with a zero after it, an empty one after the last.
///
/// # Safety
/// `block` is the address of such memory, which is there for as long as the process is; no other thread uses the environment.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_neap_boot_Cell_replaceEnvironment(
    _machine: *mut c_void,
    _class: *mut c_void,
    block: i64,
) {
    let mut text = block as *mut c_char;
    // SAFETY: the caller's promise; the C library keeps what it is given, and changes none of it.
    unsafe {
        clearenv();
        while *text != 0 {
            let length = CStr::from_ptr(text).count_bytes();
            putenv(text);
            text = text.add(length + 1);
        }
    }
}

/// Works in the folder whose name is at `folder`, with a zero after it; returns 0 if that is possible.
///
/// # Safety
/// `folder` is the address of such memory.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_neap_boot_Cell_enter(
    _machine: *mut c_void,
    _class: *mut c_void,
    folder: i64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { chdir(folder as *const c_char) }
}
