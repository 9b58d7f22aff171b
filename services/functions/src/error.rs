//! Why the service refuses or fails, in Lambda's words.

use base::{
    ByteCount, ExecuteError, Fault, LaunchError, MemoryMib, PackageError, RuntimeRefused, ServiceError,
    ThrottleReason,
};
use std::sync::Arc;

/// Every error of the service. Texts are those of AWS where AWS has the case; they are answers, not log lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Members break the constraints of the API's model; the text lists them all.
    #[error("{0}")]
    Constraints(String),
    /// A value that the model allows and the service does not.
    #[error("{0}")]
    InvalidParameter(String),
    /// A feature of Lambda that Neap does not carry out.
    #[error("{member} is not supported by Neap: {reason}")]
    Unsupported {
        /// Member of the request.
        member: &'static str,
        /// What to do instead.
        reason: &'static str,
    },
    /// The runtime is not known or not available here.
    #[error(transparent)]
    Runtime(#[from] RuntimeRefused),
    /// The package cannot be unpacked.
    #[error("{}", package_text(.0))]
    Package(PackageError),
    /// No such function, version or alias.
    #[error("Function not found: {0}")]
    NotFound(String),
    /// The ARN is of another region.
    #[error("Functions from '{named}' are not reachable in this region ('{here}')")]
    OtherRegion {
        /// Region in the ARN.
        named: String,
        /// Region of the request.
        here: String,
    },
    /// The ARN is of another account.
    #[error(
        "User: {who} is not authorized to perform: {action} on resource: {resource} because no resource-based policy allows the {action} action"
    )]
    OtherAccount {
        /// ARN of the caller.
        who: String,
        /// IAM name.
        action: &'static str,
        /// ARN asked for.
        resource: String,
    },
    /// A service invokes what no policy allows it.
    #[error(
        "{service} is not authorized to perform: {action} on resource: {resource} because no resource-based policy allows the {action} action"
    )]
    ServiceNotAllowed {
        /// Its principal.
        service: &'static str,
        /// IAM name.
        action: &'static str,
        /// ARN asked for.
        resource: String,
    },
    /// The role is of another account.
    #[error("Cross-account pass role is not allowed.")]
    OtherAccountRole,
    /// No such alias, where an alias is asked for by itself.
    #[error("Cannot find alias arn: {0}")]
    AliasNotFound(String),
    /// The alias exists.
    #[error("Alias already exists: {0}")]
    AliasExists(String),
    /// The version cannot be deleted.
    #[error("Unable to delete version because the following aliases reference it: [{0}]")]
    Referenced(String),
    /// No such function, version or alias, where asynchronous invocations are configured.
    #[error("The function doesn't exist.")]
    NoFunction,
    /// The layer's ARN is of another region.
    #[error("Layers from '{named}' are not reachable in this region ('{here}')")]
    LayerOtherRegion {
        /// Region in the ARN.
        named: String,
        /// Region of the request.
        here: String,
    },
    /// No such layer version, no policy, no URL.
    #[error("The resource you requested does not exist.")]
    NoResource,
    /// No such layer version, where its policy is concerned.
    #[error("Layer version {0} does not exist.")]
    LayerVersionNotFound(String),
    /// No such layer version, where a function is to have it.
    #[error("Layer version {0} does not exist.")]
    NoLayerVersion(String),
    /// Nobody was permitted anything.
    #[error("No policy is associated with the given resource.")]
    NoPolicy,
    /// Nothing is configured.
    #[error("The function {0} doesn't have an EventInvokeConfig")]
    NoEventConfig(String),
    /// The function or alias has a URL.
    #[error(
        "Failed to create function url config for [functionArn = {0}]. Error message:  FunctionUrlConfig exists for this Lambda function"
    )]
    UrlExists(String),
    /// No statement of this name.
    #[error("Statement {0} is not found in resource policy.")]
    NoStatement(String),
    /// A statement has this name.
    #[error(
        "The statement id ({0}) provided already exists. Please provide a new statement id, or remove the existing statement."
    )]
    StatementExists(String),
    /// The policy would be too long.
    #[error("The final policy size ({got}) is bigger than the limit ({max}).")]
    PolicyTooLong {
        /// Bytes.
        got: usize,
        /// Limit.
        max: usize,
    },
    /// `RevisionId` is not the latest of the policy, which this operation tells.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the {0} API to retrieve the latest Revision Id"
    )]
    StalePolicy(&'static str),
    /// A chain of invocations has come back to the function too often.
    #[error(
        "Lambda has detected your function being invoked in a recursive loop with other resources and stopped your function's invocation."
    )]
    Recursive,
    /// A version with SnapStart has no provisioned concurrency.
    #[error("Provisioned Concurrency is not supported for functions enabled with SnapStart.")]
    SnapStartProvisioned,
    /// The hooks that a version has for its restore failed or took too long; `reason` is the function's error.
    #[error("the environment could not be restored, see the function's log: {reason}")]
    NotRestored {
        /// Whether they took too long.
        timed_out: bool,
        /// The error that the function told.
        reason: String,
    },
    /// A version with SnapStart stays pending: its environment could not be started, which says nothing about its code.
    #[error("a version cannot be initialised yet: {0}")]
    NotInitialised(String),
    /// Nothing is provisioned.
    #[error("No Provisioned Concurrency Config found for this function")]
    NoProvisioned,
    /// The name is taken.
    #[error("Function already exist: {0}")]
    AlreadyExists(String),
    /// The last update is not finished.
    #[error("The operation cannot be performed at this time. An update is in progress for resource: {0}")]
    UpdateInProgress(String),
    /// Not active yet, or never will be.
    #[error(
        "The operation cannot be performed at this time. The function is currently in the following state: {0}"
    )]
    NotActive(&'static str),
    /// `RevisionId` is not the latest.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    )]
    StaleRevision,
    /// The account's code exceeds `max`.
    #[error("Code storage limit exceeded.")]
    CodeStorage {
        /// Limit.
        max: ByteCount,
    },
    /// A package that is too large for a direct upload.
    #[error("Zipped size must be smaller than {max_bytes} bytes")]
    ZipTooLarge {
        /// Limit.
        max_bytes: u64,
    },
    /// A payload that is too large for its invocation type.
    #[error("Request must be smaller than {max_bytes} bytes for the InvokeFunction operation")]
    PayloadTooLarge {
        /// Limit.
        max_bytes: u64,
    },
    /// The payload is not JSON.
    #[error("Could not parse request body into json: Could not parse payload into json: {0}")]
    PayloadNotJson(String),
    /// The header is not base64 of a JSON object, or too long.
    #[error("Client context must be a valid Base64-encoded JSON object.")]
    ClientContext,
    /// A bound of concurrency or rate.
    #[error("Rate Exceeded.")]
    Throttled(ThrottleReason),
    /// A budget that has a cap is spent; the text names it.
    #[error("Rate Exceeded: {0}")]
    BudgetSpent(String),
    /// The node's memory is in use.
    #[error("Rate Exceeded: no memory is left on this node for another environment of {wanted}")]
    NodeFull {
        /// What it would have needed.
        wanted: MemoryMib,
    },
    /// Too many accepted asynchronous invocations wait.
    #[error("Rate Exceeded: {max} asynchronous invocations are waiting")]
    BacklogFull {
        /// Bound.
        max: u64,
    },
    /// The mapping exists.
    #[error(
        "An event source mapping with SQS arn (\" {source_arn} \") and function (\" {function} \") already exists. Please update or delete the existing mapping with UUID {id}"
    )]
    MappingExists {
        /// ARN of the queue.
        source_arn: String,
        /// Name of the function.
        function: String,
        /// UUID of the mapping.
        id: base::RequestId,
    },
    /// The mapping's last change is not finished.
    #[error("Cannot {0} the event source mapping because it is in use.")]
    MappingInUse(&'static str),
    /// The queue cannot be asked now.
    #[error("The event source cannot be reached: {0}")]
    SourceUnavailable(String),
    /// No environment could be started.
    #[error("No execution environment could be started: {0}")]
    Launch(Arc<LaunchError>),
    /// The node is shutting down.
    #[error("The node is shutting down.")]
    ShuttingDown,
    /// The database failed.
    #[error("storage: {0}")]
    Store(#[from] store::Error),
    /// What was read back from the database is not what was written there.
    #[error("stored {what} cannot be read")]
    Corrupt {
        /// Which column.
        what: &'static str,
    },
}

impl Error {
    /// [`Error::InvalidParameter`] from anything printable.
    pub(crate) fn invalid(text: impl Into<String>) -> Error {
        Error::InvalidParameter(text.into())
    }
}

impl From<PackageError> for Error {
    fn from(error: PackageError) -> Error {
        Error::Package(error)
    }
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Error {
        match error {
            ExecuteError::Throttled(reason) => Error::Throttled(reason),
            ExecuteError::NodeFull { wanted } => Error::NodeFull { wanted },
            ExecuteError::Launch(source) => Error::Launch(source),
            ExecuteError::ShuttingDown => Error::ShuttingDown,
        }
    }
}

/// Lambda's texts for packages; what Lambda has no text for keeps ours.
pub(crate) fn package_text(error: &PackageError) -> String {
    match error {
        PackageError::NotZip(_) => {
            "Could not unzip uploaded file. Please check your file, then try to upload again.".to_owned()
        }
        PackageError::Empty => "Uploaded file must be a non-empty zip".to_owned(),
        PackageError::TooLarge { max } => format!("Unzipped size must be smaller than {} bytes", max.0),
        PackageError::BadEntry { .. } | PackageError::BadProgram { .. } | PackageError::Storage(_) => {
            error.to_string()
        }
    }
}

impl ServiceError for Error {
    fn code(&self) -> &str {
        match self {
            Error::Constraints(_) => "ValidationException",
            Error::InvalidParameter(_)
            | Error::SnapStartProvisioned
            | Error::Unsupported { .. }
            | Error::Runtime(_)
            | Error::NoLayerVersion(_) => "InvalidParameterValueException",
            Error::Package(PackageError::Storage(_)) => "ServiceException",
            Error::Package(_) => "InvalidParameterValueException",
            Error::NotFound(_)
            | Error::AliasNotFound(_)
            | Error::NoFunction
            | Error::NoEventConfig(_)
            | Error::LayerOtherRegion { .. }
            | Error::NoResource
            | Error::LayerVersionNotFound(_)
            | Error::NoPolicy
            | Error::NoStatement(_)
            | Error::OtherRegion { .. } => "ResourceNotFoundException",
            Error::Recursive => "RecursiveInvocationException",
            Error::NotRestored { timed_out: false, .. } => "SnapStartException",
            Error::NotRestored { timed_out: true, .. } => "SnapStartTimeoutException",
            Error::NoProvisioned => "ProvisionedConcurrencyConfigNotFoundException",
            Error::OtherAccount { .. } | Error::ServiceNotAllowed { .. } | Error::OtherAccountRole => {
                "AccessDeniedException"
            }
            Error::MappingInUse(_) => "ResourceInUseException",
            Error::AlreadyExists(_)
            | Error::AliasExists(_)
            | Error::StatementExists(_)
            | Error::UrlExists(_)
            | Error::MappingExists { .. }
            | Error::Referenced(_)
            | Error::UpdateInProgress(_)
            | Error::NotActive(_) => "ResourceConflictException",
            Error::PolicyTooLong { .. } => "PolicyLengthExceededException",
            Error::StaleRevision | Error::StalePolicy(_) => "PreconditionFailedException",
            Error::CodeStorage { .. } => "CodeStorageExceededException",
            Error::ZipTooLarge { .. } => "RequestEntityTooLargeException",
            Error::PayloadTooLarge { .. } => "RequestTooLargeException",
            Error::PayloadNotJson(_) | Error::ClientContext => "InvalidRequestContentException",
            Error::Throttled(_)
            | Error::BudgetSpent(_)
            | Error::NodeFull { .. }
            | Error::BacklogFull { .. } => "TooManyRequestsException",
            Error::Launch(cause) => match **cause {
                LaunchError::RuntimeUnavailable { .. } => "InvalidRuntimeException",
                LaunchError::CodeMissing(_) => "ResourceNotReadyException",
                LaunchError::Initialisation { .. } | LaunchError::Sandbox(_) => "ServiceException",
            },
            Error::ShuttingDown
            | Error::NotInitialised(_)
            | Error::SourceUnavailable(_)
            | Error::Store(_)
            | Error::Corrupt { .. } => "ServiceException",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Error::Package(PackageError::Storage(_))
            | Error::NotInitialised(_)
            | Error::Store(_)
            | Error::Corrupt { .. } => Fault::Us,
            Error::Constraints(_)
            | Error::InvalidParameter(_)
            | Error::Unsupported { .. }
            | Error::Runtime(_)
            | Error::Package(_)
            | Error::NoLayerVersion(_)
            | Error::PolicyTooLong { .. }
            | Error::CodeStorage { .. }
            | Error::Recursive
            | Error::SnapStartProvisioned
            | Error::NotRestored { .. }
            | Error::MappingInUse(_)
            | Error::PayloadNotJson(_)
            | Error::ClientContext => Fault::Invalid,
            Error::NotFound(_)
            | Error::AliasNotFound(_)
            | Error::NoFunction
            | Error::NoEventConfig(_)
            | Error::LayerOtherRegion { .. }
            | Error::NoResource
            | Error::NoProvisioned
            | Error::LayerVersionNotFound(_)
            | Error::NoPolicy
            | Error::NoStatement(_)
            | Error::OtherRegion { .. } => Fault::NotFound,
            Error::OtherAccount { .. } | Error::ServiceNotAllowed { .. } | Error::OtherAccountRole => {
                Fault::Denied
            }
            Error::AlreadyExists(_)
            | Error::AliasExists(_)
            | Error::StatementExists(_)
            | Error::UrlExists(_)
            | Error::MappingExists { .. }
            | Error::Referenced(_)
            | Error::UpdateInProgress(_)
            | Error::NotActive(_) => Fault::Conflict,
            Error::StaleRevision | Error::StalePolicy(_) => Fault::Precondition,
            Error::ZipTooLarge { .. } | Error::PayloadTooLarge { .. } => Fault::TooLarge,
            Error::Throttled(_)
            | Error::BudgetSpent(_)
            | Error::NodeFull { .. }
            | Error::BacklogFull { .. } => Fault::Throttled,
            Error::Launch(cause) => match **cause {
                LaunchError::RuntimeUnavailable { .. } | LaunchError::CodeMissing(_) => Fault::Dependency,
                LaunchError::Initialisation { .. } | LaunchError::Sandbox(_) => Fault::Us,
            },
            Error::SourceUnavailable(_) | Error::ShuttingDown => Fault::Unavailable,
        }
    }

    fn members(&self) -> Vec<(&'static str, String)> {
        if let Error::BudgetSpent(_) = self {
            return vec![("Reason", "BudgetSpent".to_owned())];
        }
        let reason = if let Error::Throttled(reason) = self {
            *reason
        } else if let Error::NodeFull { .. } = self {
            ThrottleReason::ConcurrentInvocationLimitExceeded
        } else if let Error::BacklogFull { .. } = self {
            ThrottleReason::CallerRateLimitExceeded
        } else {
            return Vec::new();
        };
        vec![("Reason", reason.as_str().to_owned())]
    }
}
