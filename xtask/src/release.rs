//! `cargo xtask release`: the program as it is to be given to others, optimised by what it does under load. It is built with
//! counters, put through short benches, and built again with what they counted: which branches are taken, what is worth inlining,
//! which code is not needed at all.

use crate::bench::{self, Outcome, cargo_path};
use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is counted: each kind of work that is to be fast. What none of it reaches is optimised for size.
const TRAINING: [&[&str]; 5] = [
    &["warm", "--connections", "1", "--connections", "16", "--rounds", "1", "--seconds", "4"],
    &["cold", "--colds", "30"],
    &["queue", "--quick"],
    &["stream", "--quick"],
    &["wasm", "--quick"],
];

/// Builds it; prints where it is. Takes three quarters of an hour on two processors.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Outcome<()> {
    if let Some(unknown) = args.next() {
        return Err(format!("unknown argument {unknown}"));
    }
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let told = |name: &str| {
        let line = rustc.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).ok_or(format!("rustc -vV does not tell its {name}"))
    };
    let (host, llvm) = (told("host:")?, told("LLVM version:")?);
    let merge = profdata(llvm.split('.').next().unwrap_or(llvm))?;
    let folder = bench::setup::target()?.join("profiled");
    let (counts, profile) = (folder.join("counts"), folder.join("neap.profdata"));

    // Of another build, if there are any.
    let _ = fs::remove_dir_all(&counts);
    let counting = build(host, &folder.join("counting"), "-Cprofile-generate=", &counts)?;
    for bench in TRAINING {
        let neap = ["--neap".as_ref(), counting.as_os_str()];
        let own = env::current_exe().map_err(|error| error.to_string())?;
        let args = ["bench"].iter().chain(bench).map(OsStr::new).chain(neap);
        succeed(Command::new(own).args(args))?;
    }
    succeed(Command::new(merge).args(["merge", "--output"]).args([&profile, &counts]))?;
    let built = build(host, &folder.join("optimised"), "-Cprofile-use=", &profile)?;
    let result = folder.join("neap");
    fs::copy(built, &result).map_err(|error| format!("{}: {error}", result.display()))?;
    println!("{}", result.display());
    Ok(())
}

/// The tool that reads the counts; of the compiler's version of LLVM, since their form differs from one to the next.
fn profdata(major: &str) -> Outcome<PathBuf> {
    let is_right = |tool: &PathBuf| {
        let version = output(Command::new(tool).arg("--version")).unwrap_or_default();
        version.contains(&format!("LLVM version {major}."))
    };
    let places = [format!("/usr/lib/llvm-{major}/bin/llvm-profdata"), "llvm-profdata".to_owned()];
    places.into_iter().map(PathBuf::from).find(is_right).ok_or(format!(
        "there is no llvm-profdata of LLVM {major}, by which rustc compiles: install the package llvm-{major}"
    ))
}

/// A build in a folder of its own, since the flag is one of every crate. For a named target: so build scripts have no part in it.
fn build(target: &str, folder: &Path, flag: &str, value: &Path) -> Outcome<PathBuf> {
    let mut cargo = Command::new(cargo_path());
    cargo.args(["build", "--locked", "--release", "--package", "neap", "--target", target]);
    cargo.env("RUSTFLAGS", format!("{flag}{}", value.display())).env("CARGO_TARGET_DIR", folder);
    succeed(&mut cargo)?;
    Ok(folder.join(target).join("release/neap"))
}

fn succeed(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

fn output(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
