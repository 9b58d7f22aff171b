//! Why the service refuses or fails.

use base::{Fault, NotScaled, ServiceError};

/// Every error of the service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter breaks its rule.
    #[error("{0}")]
    Invalid(String),
    /// Something that Application Auto Scaling has and Neap does not carry out.
    #[error("{what} is not supported by Neap: {instead}")]
    Unsupported {
        /// What.
        what: String,
        /// What there is instead.
        instead: &'static str,
    },
    /// No such target, action or policy.
    #[error("{0}")]
    NoObject(String),
    /// No such ARN.
    #[error("No scalable target found for ARN: {0}")]
    NoResource(String),
    /// Too many.
    #[error("{what} exceed the limit of {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Limit.
        max: usize,
    },
    /// Too many tags.
    #[error("a scalable target has at most {0} tags")]
    TooManyTags(usize),
    /// Not a token of this operation.
    #[error("the next token is not valid")]
    Token,
    /// Functions could not be asked.
    #[error(transparent)]
    Scaled(#[from] NotScaled),
    /// The store failed.
    #[error("internal failure")]
    Store(#[from] store::Error),
    /// What is stored cannot be read.
    #[error("internal failure: {0} cannot be read")]
    Corrupt(&'static str),
}

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
    }

    pub(crate) fn unsupported(what: impl Into<String>, instead: &'static str) -> Error {
        Error::Unsupported { what: what.into(), instead }
    }
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::Invalid(_) | Error::Unsupported { .. } => "ValidationException",
            Error::NoObject(_) => "ObjectNotFoundException",
            Error::NoResource(_) => "ResourceNotFoundException",
            Error::TooMany { .. } => "LimitExceededException",
            Error::TooManyTags(_) => "TooManyTagsException",
            Error::Token => "InvalidNextTokenException",
            Error::Scaled(NotScaled::Missing(_) | NotScaled::Refused(_)) => "ValidationException",
            Error::Scaled(NotScaled::NotNow(_)) => "ConcurrentUpdateException",
            Error::Store(_) | Error::Corrupt(_) => "InternalServiceException",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::Scaled(NotScaled::NotNow(_)) | Error::Store(_) | Error::Corrupt(_) => Fault::Us,
            Error::Invalid(_)
            | Error::Unsupported { .. }
            | Error::NoObject(_)
            | Error::NoResource(_)
            | Error::TooMany { .. }
            | Error::TooManyTags(_)
            | Error::Token
            | Error::Scaled(NotScaled::Missing(_) | NotScaled::Refused(_)) => Fault::Invalid,
        }
    }
}
