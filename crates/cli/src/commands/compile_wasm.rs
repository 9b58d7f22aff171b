//! `neap compile-wasm`: the compiler that a node starts for a WebAssembly program.

use super::Ending;
use crate::args::CompileWasm;
use base::{ByteCount, Seconds};
use server::CompilerBounds;

pub(crate) fn run(arguments: &CompileWasm) -> Ending {
    let done = server::compile_wasm(CompilerBounds {
        processor: Seconds(arguments.processor_s),
        memory: ByteCount(arguments.memory),
        filtered: arguments.filtered == 1,
    });
    if done { Ending::Success } else { Ending::Failure }
}
