//! Compiles the library that Java machines load which wait for a function, for `families/java`.

use std::{env, error::Error, path::Path, process::Command};

const SOURCE: &str = "boot/native/java.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(["--edition=2024", "--crate-name=neap", "--crate-type=cdylib", "--deny=warnings"]);
    rustc.args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols", "-Clink-arg=-nostdlib"]);
    rustc.arg("--target").arg(variable("TARGET")?);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.arg("-o").arg(Path::new(&variable("OUT_DIR")?).join("libneap.so")).arg(SOURCE);
    let status = rustc.status()?;
    if status.success() { Ok(()) } else { Err(format!("{SOURCE} was not compiled: {status}").into()) }
}
