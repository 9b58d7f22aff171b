//! What can go wrong in CloudWatch. Names under JSON are the shapes', those under query the ones that clients knew before.

use base::{Fault, ServiceError};

/// Why an operation of CloudWatch fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A member has a value that is not allowed.
    #[error("{0}")]
    Value(String),
    /// A member is missing.
    #[error("{0}")]
    Missing(String),
    /// Members contradict each other, or ask for too much together.
    #[error("{0}")]
    Combination(String),
    /// What is asked for is not well formed.
    #[error("{0}")]
    Validation(String),
    /// A member that Neap does not carry out.
    #[error("{member} is not supported by Neap: {reason}")]
    Unsupported {
        /// Its wire name.
        member: String,
        /// Why it would have no effect.
        reason: &'static str,
    },
    /// The token is not one that was given out.
    #[error("The service cannot process the request because the token {0} is not valid")]
    Token(String),
    /// There would be too many of something.
    #[error("{0}")]
    Limit(String),
    /// No such alarm.
    #[error("{0}")]
    NotFound(String),
    /// No such thing that could have tags.
    #[error("The resource {0} does not exist.")]
    NoResource(String),
    /// Not JSON where JSON is wanted.
    #[error("{0}")]
    Format(String),
    /// A permission beyond the operation's own is missing.
    #[error(transparent)]
    Denied(#[from] base::Denied),
    /// The telemetry store cannot serve.
    #[error("the telemetry store failed: {0}")]
    Store(#[from] store::Error),
}

impl Error {
    /// `member` is not carried out.
    pub(crate) fn unsupported(member: impl Into<String>, reason: &'static str) -> Error {
        Error::Unsupported { member: member.into(), reason }
    }
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::Value(_) | Error::Unsupported { .. } => "InvalidParameterValueException",
            Error::Missing(_) => "MissingRequiredParameterException",
            Error::Combination(_) => "InvalidParameterCombinationException",
            Error::Validation(_) => "ValidationError",
            Error::Token(_) => "InvalidNextToken",
            Error::Limit(_) => "LimitExceededFault",
            Error::NotFound(_) => "ResourceNotFound",
            Error::NoResource(_) => "ResourceNotFoundException",
            Error::Format(_) => "InvalidFormatFault",
            Error::Denied(_) => "AccessDenied",
            Error::Store(_) => "InternalServiceFault",
        }
    }

    fn query_code(&self) -> &str {
        match self {
            Error::Value(_) | Error::Unsupported { .. } => "InvalidParameterValue",
            Error::Missing(_) => "MissingParameter",
            Error::Combination(_) => "InvalidParameterCombination",
            Error::Limit(_) => "LimitExceeded",
            Error::Format(_) => "InvalidFormat",
            Error::Store(_) => "InternalServiceError",
            Error::Validation(_)
            | Error::Token(_)
            | Error::NotFound(_)
            | Error::NoResource(_)
            | Error::Denied(_) => self.code(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::Value(_)
            | Error::Missing(_)
            | Error::Combination(_)
            | Error::Validation(_)
            | Error::Unsupported { .. }
            | Error::Token(_)
            | Error::Limit(_)
            | Error::Format(_) => Fault::Invalid,
            Error::NotFound(_) | Error::NoResource(_) => Fault::NotFound,
            Error::Denied(_) => Fault::Denied,
            Error::Store(_) => Fault::Us,
        }
    }
}
