//! What a Python zygote cannot do by itself: copy itself once for a process that is another one's child.
//!
//! Compiled by `build.rs` into a library of its own, for `zygote.py`; it calls nothing but the C library's `fork`.
#![no_std]

use core::{arch::naked_asm, ffi::c_int};

unsafe extern "C" {
    fn fork() -> c_int;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Clones the calling process by `clone3`, and has the clone fork and end: so its child, the only copy of the memory, gets
/// whoever is the first process of its pid namespace as its parent. Returns 0 in that child; in the caller the clone's
/// process id, or the negative error number of `clone3`. `forked` is what `fork` returned to the clone, with `errno` set if that is
/// negative.
///
/// The clone stays on the caller's stack, while the caller waits: it only adds to it what the caller does not read again.
///
/// # Safety
/// `arguments` is a `struct clone_args` of `size` bytes that has the flags `CLONE_VM` and `CLONE_VFORK` and names no stack; the
/// process has one thread.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[cfg(target_arch = "x86_64")]
pub unsafe extern "C" fn bear(arguments: *const u8, size: usize, forked: *mut c_int) -> isize {
    naked_asm!(
        "push rbx",
        "mov rbx, rdx",
        "mov eax, 435", // clone3
        "syscall",
        "test rax, rax",
        "jnz 2f",
        "call {fork}@PLT",
        "test eax, eax",
        "jz 2f",
        "mov [rbx], eax",
        "xor edi, edi",
        "mov eax, 231", // exit_group
        "syscall",
        "2:",
        "pop rbx",
        "ret",
        fork = sym fork,
    )
}

/// As above.
///
/// # Safety
/// As above.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[cfg(target_arch = "aarch64")]
pub unsafe extern "C" fn bear(arguments: *const u8, size: usize, forked: *mut c_int) -> isize {
    naked_asm!(
        "stp x29, x30, [sp, #-32]!",
        "str x19, [sp, #16]",
        "mov x19, x2",
        "mov x8, #435", // clone3
        "svc #0",
        "cbnz x0, 2f",
        "bl {fork}",
        "sxtw x0, w0",
        "cbz x0, 2f",
        "str w0, [x19]",
        "mov x0, #0",
        "mov x8, #94", // exit_group
        "svc #0",
        "2:",
        "ldr x19, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        "ret",
        fork = sym fork,
    )
}
