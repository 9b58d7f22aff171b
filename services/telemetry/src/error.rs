//! What can go wrong in telemetry.

use base::{Fault, ServiceError};

/// Why an operation fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such log group.
    #[error("The specified log group does not exist.")]
    NoSuchGroup,
    /// No such log stream.
    #[error("The specified log stream does not exist.")]
    NoSuchStream,
    /// The log group is there already.
    #[error("The specified log group already exists")]
    GroupExists,
    /// The log stream is there already.
    #[error("The specified log stream already exists")]
    StreamExists,
    /// No such budget.
    #[error("the budget {0} does not exist")]
    NoSuchBudget(String),
    /// A member breaks its rule.
    #[error("{0}")]
    Invalid(String),
    /// A member that Neap does not carry out.
    #[error("{member} is not supported by Neap: {reason}")]
    Unsupported {
        /// Its wire name.
        member: &'static str,
        /// Why it would have no effect.
        reason: &'static str,
    },
    /// A resource would have more tags than allowed.
    #[error("The specified resource would have {got} tags, more than {max}")]
    TooManyTags {
        /// How many.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The query is not one that is carried out.
    #[error(transparent)]
    Malformed(#[from] crate::insights::Malformed),
    /// Too many queries run.
    #[error("{max} queries are running already")]
    TooManyQueries {
        /// How many may.
        max: usize,
    },
    /// No such query, or it is forgotten.
    #[error("The specified query does not exist.")]
    NoSuchQuery,
    /// A permission beyond the operation's own is missing.
    #[error(transparent)]
    Denied(#[from] base::Denied),
    /// The telemetry store cannot serve.
    #[error("the telemetry store failed: {0}")]
    Store(#[from] store::Error),
}

impl From<crate::pattern::Refused> for Error {
    fn from(refused: crate::pattern::Refused) -> Error {
        Error::Invalid(refused.to_string())
    }
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::NoSuchGroup | Error::NoSuchStream | Error::NoSuchBudget(_) | Error::NoSuchQuery => {
                "ResourceNotFoundException"
            }
            Error::Malformed(_) => "MalformedQueryException",
            Error::TooManyQueries { .. } => "LimitExceededException",
            Error::GroupExists | Error::StreamExists => "ResourceAlreadyExistsException",
            Error::Invalid(_) | Error::Unsupported { .. } => "InvalidParameterException",
            Error::TooManyTags { .. } => "TooManyTagsException",
            Error::Denied(_) => "AccessDeniedException",
            Error::Store(_) => "ServiceUnavailableException",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::NoSuchGroup | Error::NoSuchStream | Error::NoSuchBudget(_) | Error::NoSuchQuery => {
                Fault::NotFound
            }
            Error::TooManyQueries { .. } => Fault::Throttled,
            Error::GroupExists | Error::StreamExists => Fault::Conflict,
            Error::Invalid(_)
            | Error::Unsupported { .. }
            | Error::TooManyTags { .. }
            | Error::Malformed(_) => Fault::Invalid,
            Error::Denied(_) => Fault::Denied,
            Error::Store(_) => Fault::Unavailable,
        }
    }
}
