//! Developer commands: `cargo xtask check|bench`.
fn main() {}
