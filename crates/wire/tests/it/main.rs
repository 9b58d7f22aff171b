//! A gateway with toy services, served over TCP and driven by raw bytes and by an HTTP client.

// Helpers shared between the modules of one test binary.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod auth;
mod client;
mod connections;
mod protocols;
mod toy;
mod vectors;
