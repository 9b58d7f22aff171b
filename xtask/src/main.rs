//! Developer commands: `cargo xtask check | bench NAME | soak | release`.

mod bench;
mod dependencies;
mod release;
mod soak;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask check | bench NAME [OPTIONS] | soak [OPTIONS] | release

check   the dependency rule of ARCHITECTURE.md, read from cargo metadata
bench   floors and Neap side by side; without NAME lists what there is
soak    a node under mixed load for an hour; fails when anything grows
release the program optimised by what it does under load: built, put through short benches, built again";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let outcome = match args.next().as_deref() {
        Some("check") => dependencies::check(),
        Some("bench") => bench::run(args),
        Some("soak") => soak::run(args),
        Some("release") => release::run(args),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
