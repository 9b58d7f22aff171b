//! Why a node cannot start.

use std::{net::SocketAddr, path::PathBuf};

/// Why a node cannot start; each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// The data folder cannot be used.
    #[error("data folder {path}: {source}")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another node runs on the same data folder.
    #[error("data folder {0} is in use by another neap; stop it or name another folder with --data")]
    InUse(PathBuf),
    /// The host cannot isolate functions as configured.
    #[error("{0}; `neap doctor` shows what this host gives")]
    Sandbox(#[from] sandbox::Error),
    /// A name in `sandbox.allow_weaker` is not known.
    #[error("sandbox.allow_weaker: {0}")]
    Weakness(String),
    /// The root credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] identity::OpenError),
    /// A database cannot be opened.
    #[error("database {name}: {source}")]
    Store {
        /// Which service's.
        name: &'static str,
        /// Why.
        source: store::Error,
    },
    /// The blob store cannot be opened.
    #[error("blobs: {0}")]
    Blobs(#[source] store::Error),
    /// The runtimes' folders cannot be prepared.
    #[error("runtimes: {0}")]
    Runtimes(#[source] std::io::Error),
    /// A service cannot begin from what its database holds.
    #[error("{name}: {source}")]
    Service {
        /// Which.
        name: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Signals cannot be received.
    #[error("signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; another neap, or another program, may be there: choose one with --listen"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
