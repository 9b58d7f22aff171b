//! Why the service refuses or fails, in SQS's words.

use base::{Denied, Fault, ServiceError};

/// Every error of the service. Texts are those of AWS where AWS has the case; they are answers, not log lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such queue.
    #[error("The specified queue does not exist.")]
    NoQueue,
    /// The text is not the URL of a queue.
    #[error("The address {0} is not valid for this endpoint.")]
    Address(String),
    /// The name is taken by a queue that differs.
    #[error("A queue already exists with the same name and a different value for attribute {0}")]
    NameExists(String),
    /// A queue of this name was deleted a moment ago.
    #[error(
        "You must wait {} seconds after deleting a queue before you can create another with the same name.",
        crate::DELETED_S
    )]
    DeletedRecently,
    /// An attribute that there is not, or not for such a queue.
    #[error("Unknown Attribute {0}.")]
    AttributeName(String),
    /// An attribute's value.
    #[error("Invalid value for the parameter {name}.{}{why}", if .why.is_empty() { "" } else { " Reason: " })]
    AttributeValue {
        /// Which.
        name: String,
        /// Why not; may be empty.
        why: String,
    },
    /// Any other parameter's value.
    #[error("{0}")]
    Parameter(String),
    /// A parameter is missing.
    #[error("The request must contain the parameter {0}.")]
    Missing(&'static str),
    /// Something that SQS has and Neap does not carry out.
    #[error("{what} is not supported by Neap: {instead}")]
    Unsupported {
        /// What.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// SQS refuses this on such a queue too.
    #[error("{0}")]
    Operation(String),
    /// The body has characters that it may not have.
    #[error(
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    )]
    Contents,
    /// A batch of nothing.
    #[error("There should be at least one {0} in the request.")]
    EmptyBatch(&'static str),
    /// A batch of too many.
    #[error("Maximum number of entries per request are {max}. You have sent {got}.")]
    LargeBatch {
        /// Entries.
        got: usize,
        /// Limit.
        max: usize,
    },
    /// Two entries of a batch have the same id.
    #[error("Id {0} repeated.")]
    RepeatedId(String),
    /// An id of a batch's entry.
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
    )]
    EntryId,
    /// All messages of a batch together.
    #[error("Batch requests cannot be longer than {max} bytes. You have sent {got} bytes.")]
    LongBatch {
        /// Bytes.
        got: usize,
        /// Limit.
        max: usize,
    },
    /// Not a receipt handle of this queue.
    #[error("The input receipt handle \"{0}\" is not a valid receipt handle.")]
    Receipt(String),
    /// The message has become visible meanwhile.
    #[error(
        "Value {0} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
    )]
    NotInFlight(String),
    /// Too many messages in flight.
    #[error("Too many messages in flight: {0} is the limit of this queue")]
    InFlight(u64),
    /// Calls of a FIFO queue without high throughput.
    #[error("Rate exceeded: {0} calls of an operation per second on a FIFO queue without high throughput")]
    Throttled(u32),
    /// A purge of the last minute.
    #[error("Only one PurgeQueue operation on {0} is allowed every 60 seconds.")]
    Purging(String),
    /// No such task, or none that can be cancelled.
    #[error("{0}")]
    NoResource(String),
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The queue has changed since it was read: read it again.
    #[error("the queue has changed")]
    Stale,
    /// The store failed.
    #[error("internal failure")]
    Store(#[from] store::Error),
}

impl Error {
    /// With AWS's usual beginning.
    pub(crate) fn value(
        value: impl std::fmt::Display,
        parameter: &str,
        why: impl std::fmt::Display,
    ) -> Error {
        Error::Parameter(format!("Value {value} for parameter {parameter} is invalid. Reason: {why}"))
    }

    pub(crate) fn attribute(name: &str, why: impl Into<String>) -> Error {
        Error::AttributeValue { name: name.to_owned(), why: why.into() }
    }
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::NoQueue => "QueueDoesNotExist",
            Error::Address(_) => "InvalidAddress",
            Error::NameExists(_) => "QueueNameExists",
            Error::DeletedRecently => "QueueDeletedRecently",
            Error::AttributeName(_) => "InvalidAttributeName",
            Error::AttributeValue { .. } => "InvalidAttributeValue",
            Error::Parameter(_) => "InvalidParameterValueException",
            Error::Missing(_) => "MissingRequiredParameterException",
            Error::Unsupported { .. } | Error::Operation(_) => "UnsupportedOperation",
            Error::Contents => "InvalidMessageContents",
            Error::EmptyBatch(_) => "EmptyBatchRequest",
            Error::LargeBatch { .. } => "TooManyEntriesInBatchRequest",
            Error::RepeatedId(_) => "BatchEntryIdsNotDistinct",
            Error::EntryId => "InvalidBatchEntryId",
            Error::LongBatch { .. } => "BatchRequestTooLong",
            Error::Receipt(_) => "ReceiptHandleIsInvalid",
            Error::NotInFlight(_) => "MessageNotInflight",
            Error::InFlight(_) => "OverLimit",
            Error::Throttled(_) => "RequestThrottled",
            Error::Purging(_) => "PurgeQueueInProgress",
            Error::NoResource(_) => "ResourceNotFoundException",
            Error::Denied(_) => "AccessDeniedException",
            Error::Stale | Error::Store(_) => "InternalFailure",
        }
    }

    /// What the service called them before it spoke JSON, and SDKs still do.
    fn query_code(&self) -> &str {
        match self {
            Error::NoQueue => "AWS.SimpleQueueService.NonExistentQueue",
            Error::NameExists(_) => "QueueAlreadyExists",
            Error::DeletedRecently => "AWS.SimpleQueueService.QueueDeletedRecently",
            Error::Parameter(_) => "InvalidParameterValue",
            Error::Missing(_) => "MissingParameter",
            Error::Unsupported { .. } | Error::Operation(_) => "AWS.SimpleQueueService.UnsupportedOperation",
            Error::EmptyBatch(_) => "AWS.SimpleQueueService.EmptyBatchRequest",
            Error::LargeBatch { .. } => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            Error::RepeatedId(_) => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Error::EntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Error::LongBatch { .. } => "AWS.SimpleQueueService.BatchRequestTooLong",
            Error::NotInFlight(_) => "AWS.SimpleQueueService.MessageNotInflight",
            Error::Purging(_) => "AWS.SimpleQueueService.PurgeQueueInProgress",
            Error::Denied(_) => "AccessDenied",
            Error::Address(_)
            | Error::AttributeName(_)
            | Error::AttributeValue { .. }
            | Error::Contents
            | Error::Receipt(_)
            | Error::InFlight(_)
            | Error::Throttled(_)
            | Error::NoResource(_)
            | Error::Stale
            | Error::Store(_) => self.code(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::NoQueue | Error::NoResource(_) => Fault::NotFound,
            Error::NameExists(_) | Error::DeletedRecently | Error::Purging(_) | Error::NotInFlight(_) => {
                Fault::Conflict
            }
            Error::Denied(_) => Fault::Denied,
            Error::Throttled(_) | Error::InFlight(_) => Fault::Throttled,
            Error::Stale | Error::Store(_) => Fault::Us,
            Error::Address(_)
            | Error::AttributeName(_)
            | Error::AttributeValue { .. }
            | Error::Parameter(_)
            | Error::Missing(_)
            | Error::Unsupported { .. }
            | Error::Operation(_)
            | Error::Contents
            | Error::EmptyBatch(_)
            | Error::LargeBatch { .. }
            | Error::RepeatedId(_)
            | Error::EntryId
            | Error::LongBatch { .. }
            | Error::Receipt(_) => Fault::Invalid,
        }
    }
}
