//! The ports by which code and runtimes are checked before a function is accepted.

use crate::{ByteCount, CodeSha256, Future, Millis};
use bytes::Bytes;

/// Unpacks deployment packages onto this node.
pub trait Packages: Send + Sync {
    /// Unpacks `zip` into the folder named by its hash. Idempotent; after success it is complete on disk, before
    /// that nothing of it is visible. Cancel-safe: what is half-done is removed at the next start.
    fn unpack(&self, zip: Bytes) -> Future<'_, Result<Unpacked, PackageError>>;
    /// Makes of an unpacked package what its functions of a runtime are started from, where that takes long enough to be done
    /// before: compiles WebAssembly. Idempotent. Cancel-safe: what is begun is finished.
    fn prepare(&self, code: &CodeSha256, runtime: &str) -> Future<'_, Result<(), PackageError>> {
        let _ = (code, runtime);
        Box::pin(async { Ok(()) })
    }
    /// Whether it is unpacked here.
    fn has(&self, code: &CodeSha256) -> bool;
    /// Whether functions of an unpacked package with this runtime can have layers.
    fn takes_layers(&self, code: &CodeSha256, runtime: &str) -> bool {
        let _ = (code, runtime);
        true
    }
    /// Whether functions of a prepared package with this runtime read the bodies of requests while they arrive
    /// ([`crate::Invocation::body`]).
    fn takes_arriving(&self, code: &CodeSha256, runtime: &str) -> bool {
        let _ = (code, runtime);
        false
    }
    /// Removes the unpacked folder; a missing one is fine.
    fn remove(&self, code: &CodeSha256) -> Future<'_, ()>;
    /// Size of the files of a package that is unpacked here.
    fn size(&self, code: &CodeSha256) -> Future<'_, Result<ByteCount, PackageError>>;
    /// Removes what was made of layers for starts ([`crate::FunctionSpec::layers`]), except of those in `used` and of
    /// those that something was started with within `grace`.
    fn retain_layers(&self, used: Vec<Vec<CodeSha256>>, grace: Millis) -> Future<'_, ()>;
}

/// A package on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Hash of the zip file.
    pub code: CodeSha256,
    /// Size of the zip file.
    pub zipped: ByteCount,
    /// Size of its files.
    pub unpacked: ByteCount,
}

/// Why a package is refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a readable zip file.
    #[error("could not unzip uploaded file: {0}")]
    NotZip(String),
    /// Nothing in it.
    #[error("uploaded file must be a non-empty zip")]
    Empty,
    /// An entry that leaves the folder, is absolute, or is not a regular file, folder or inward link.
    #[error("zip entry {name:?} is refused: {reason}")]
    BadEntry {
        /// The entry's name, shortened.
        name: String,
        /// Which rule.
        reason: &'static str,
    },
    /// More than [`crate::limits::PACKAGE_UNPACKED_MAX`] once unpacked.
    #[error("unzipped size must be smaller than {max}")]
    TooLarge {
        /// The limit.
        max: ByteCount,
    },
    /// Its WebAssembly program cannot be run.
    #[error("{file} cannot be run: {reason}")]
    BadProgram {
        /// Its name in the package.
        file: &'static str,
        /// Why not, shortened.
        reason: String,
    },
    /// The node's disk failed.
    #[error("package storage: {0}")]
    Storage(#[from] std::io::Error),
}

/// Tells which runtimes this node can run.
pub trait RuntimeCatalog: Send + Sync {
    /// Whether `runtime` on `architecture` runs here, and with what reservation.
    fn check(
        &self,
        runtime: &str,
        architecture: &str,
        handler: &str,
    ) -> Result<RuntimeSupport, RuntimeRefused>;
}

/// A runtime that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSupport {
    /// Shown in the function's state when the exact version is missing and a newer one serves.
    pub warning: Option<String>,
    /// Version that is run, e.g. `Python 3.11.7`.
    pub actual: String,
}

/// Why a runtime is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeRefused {
    /// Not a runtime identifier that Neap knows.
    #[error(
        "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{known}]"
    )]
    Unknown {
        /// As given.
        runtime: String,
        /// Comma-separated identifiers that Neap knows.
        known: String,
    },
    /// Known, but this host has no interpreter for it.
    #[error("runtime {runtime} is not available on this host: {reason}")]
    Unavailable {
        /// As given.
        runtime: String,
        /// What is missing.
        reason: String,
    },
    /// Native code for another processor.
    #[error("architecture {architecture} with runtime {runtime} cannot run on this host: {reason}")]
    Architecture {
        /// As given.
        architecture: String,
        /// As given.
        runtime: String,
        /// Why.
        reason: &'static str,
    },
}
