//! What tests and benches need around the binary: a node to start and stop, a client that signs, a load generator, and
//! what processes use. Development only; nothing that is shipped depends on it.

pub mod client;
pub mod load;
pub mod node;
pub mod package;
pub mod process;
pub mod stats;

/// What goes wrong with the harness itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, socket or process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A request cannot be signed.
    #[error("cannot sign: {0}")]
    Sign(#[from] wire::sign::Error),
    /// The node did not become ready.
    #[error("the node was not ready within {seconds} s; its last words:\n{log}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// The end of its standard error.
        log: String,
    },
    /// The node answered with an error.
    #[error("{request} was answered with {status}: {body}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The other side does not speak as expected.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

impl Error {
    /// Says what failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
