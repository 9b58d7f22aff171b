//! What can go wrong in identity.

use base::{Fault, ServiceError};
use std::path::PathBuf;

/// The credentials file cannot be used; the node must not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed, or forbids it.
    #[error("credentials file {path}: {source}")]
    Io {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a credentials file of this version of Neap.
    #[error(
        "credentials file {path} is not valid: {reason}; restore it from a backup, or remove it to make new credentials"
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Group or others can reach the secret.
    #[error(
        "credentials file {path} has mode {mode:03o}, so others may have read its secret; run `chmod 600` on it if they have not, or remove it to make new credentials"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Why an STS operation fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter breaks its rule.
    #[error("{0}")]
    Validation(String),
    /// A parameter that Neap does not carry out.
    #[error("{parameter} is not supported by Neap: {reason}")]
    Unsupported {
        /// Its wire name.
        parameter: &'static str,
        /// Why it would have no effect.
        reason: &'static str,
    },
    /// The caller may not.
    #[error("{0}")]
    Denied(String),
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::Validation(_) | Error::Unsupported { .. } => "ValidationError",
            Error::Denied(_) => "AccessDenied",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::Validation(_) | Error::Unsupported { .. } => Fault::Invalid,
            Error::Denied(_) => Fault::Denied,
        }
    }
}
