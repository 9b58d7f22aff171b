//! Composition root: reads the configuration, opens the stores, connects the parts by their ports, listens, and ends
//! everything in order. Must never know: protocol or SQL details.
//!
//! A node starts in two steps, because the sandboxes' spawner is a copy of the process and wants to be made while that
//! is small and has one thread: [`prepare`] first thing in `main`, then [`Prepared::start`] on a tokio runtime.

mod collector;
pub mod config;
mod endpoints;
mod environments;
mod error;
mod node;
mod ports;
mod scope;
mod system;
mod tls;

pub use config::{Mode, Options};
pub use endpoints::operations;
pub use error::Error;
pub use node::{COMPILER_COMMAND, Node, Prepared, prepare};
pub use runtimes::{JAVA_SOURCES, java_versions};
pub use sandbox::doctor;
pub use wasm::{Bounds as CompilerBounds, compile as compile_wasm};
