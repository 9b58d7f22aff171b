//! Compiles the libraries of interpreters that wait for a function, `boot/native`, for `families`: one file, one library.

use std::{env, error::Error, path::Path, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    for name in ["java", "python"] {
        compile(name)?;
    }
    Ok(())
}

fn compile(name: &str) -> Result<(), Box<dyn Error>> {
    let source = format!("boot/native/{name}.rs");
    println!("cargo::rerun-if-changed={source}");
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(["--edition=2024", "--crate-name=neap", "--crate-type=cdylib", "--deny=warnings"]);
    rustc.args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols", "-Clink-arg=-nostdlib"]);
    rustc.arg("--target").arg(variable("TARGET")?);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.arg("-o").arg(Path::new(&variable("OUT_DIR")?).join(format!("{name}.so"))).arg(&source);
    let status = rustc.status()?;
    if status.success() { Ok(()) } else { Err(format!("{source} was not compiled: {status}").into()) }
}
