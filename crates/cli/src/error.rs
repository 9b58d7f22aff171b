//! What can go wrong in a command, and what to do next about it.

use crate::project;
use std::path::PathBuf;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing answers at the endpoint.
    #[error("no node answers at {endpoint}: {source}")]
    Unreachable { endpoint: String, source: std::io::Error },
    /// The connection broke during an exchange.
    #[error("the exchange with {endpoint} failed: {reason}")]
    Exchange { endpoint: String, reason: String },
    /// The endpoint URL is not usable.
    #[error("endpoint {url:?} is refused: {reason}")]
    Endpoint { url: String, reason: &'static str },
    /// The service answered with an error.
    #[error("{operation}: {message} ({code}, status {status})")]
    Service { operation: String, code: String, message: String, status: u16 },
    /// The service answered with something that this command cannot read.
    #[error("{operation}: the answer cannot be read: {reason}")]
    Answer { operation: String, reason: String },
    /// The named profile holds no credentials.
    #[error("profile {profile:?} has no aws_access_key_id and aws_secret_access_key in {file}")]
    Profile { profile: String, file: PathBuf },
    /// A setting is malformed.
    #[error("{name} is {value:?}: {reason}")]
    Setting { name: &'static str, value: String, reason: String },
    /// No node has kept its credentials there, or they cannot be read.
    #[error("credentials cannot be read from {file}: {reason}")]
    NoCredentials { file: PathBuf, reason: String },
    /// The payload of an invocation is unusable.
    #[error("payload {from}: {reason}")]
    Payload { from: String, reason: String },
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// Nothing could be measured.
    #[error("no call of {name} at any memory size succeeded: {reason}")]
    Untunable { name: String, reason: String },
    /// A file cannot be written.
    #[error("{file} cannot be written: {source}")]
    Unwritable { file: PathBuf, source: std::io::Error },
    /// The function did not become ready.
    #[error("function {name} is {state}: {reason}")]
    NotReady { name: String, state: String, reason: String },
    /// The function was still being prepared after the time allowed.
    #[error("function {name} was not ready after {waited_s} s")]
    StillPending { name: String, waited_s: u64 },
    /// The folder cannot be made into a package.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// Folders cannot be watched.
    #[error("{folder} cannot be watched: {source}")]
    Watch { folder: PathBuf, source: notify::Error },
    /// The node could not start or ended in error.
    #[error(transparent)]
    Node(#[from] server::Error),
    /// The operating system refused something at start.
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

impl Error {
    /// What the user can do now.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Error::Unreachable { .. } => Some(
                "start one with `neap dev` (for development) or `neap serve`, or name another with --endpoint-url"
                    .into(),
            ),
            Error::Exchange { .. } => Some("look at the node's own output for the reason, then try again".into()),
            Error::Endpoint { .. } => Some("the form is http://HOST:PORT, e.g. http://127.0.0.1:4566".into()),
            Error::Service { code, operation, .. } => service_hint(code, operation),
            Error::Answer { .. } => Some("is a Neap node of the same version listening at the endpoint?".into()),
            Error::Profile { .. } => Some("add them, or unset AWS_PROFILE to use the node's own credentials".into()),
            Error::Setting { .. } | Error::Interrupted | Error::Unwritable { .. } => None,
            Error::Untunable { .. } => Some("give an event that it accepts with --payload".into()),
            Error::NoCredentials { .. } => Some(
                "a node writes them at its first start: start one with `neap serve` or `neap dev`, or name its data \
                 folder with --data; a node run by root keeps them for root: use sudo"
                    .into(),
            ),
            Error::Payload { .. } => Some(
                "give JSON in quotes, e.g. '{\"name\": \"Ada\"}', @event.json for a file, or - for standard input"
                    .into(),
            ),
            Error::NotReady { .. } => Some("correct what it names and deploy again".into()),
            Error::StillPending { name, .. } => {
                Some(format!("look at it with `neap ls`, and at the node's output; `neap deploy` of {name} can be repeated"))
            }
            Error::Project(error) => error.hint(),
            Error::Watch { .. } => {
                Some("raise fs.inotify.max_user_watches with sysctl if it is exhausted".into())
            }
            // Each of these says itself what to do.
            Error::Node(_) => None,
            Error::System { .. } => None,
        }
    }

    /// A stable name for programs.
    pub(crate) fn code(&self) -> &str {
        match self {
            Error::Unreachable { .. } => "Unreachable",
            Error::Exchange { .. } => "ExchangeFailed",
            Error::Endpoint { .. } => "BadEndpoint",
            Error::Service { code, .. } => code,
            Error::Answer { .. } => "UnreadableAnswer",
            Error::Profile { .. } => "BadProfile",
            Error::Setting { .. } => "BadSetting",
            Error::NoCredentials { .. } => "NoCredentials",
            Error::Payload { .. } => "BadPayload",
            Error::Interrupted => "Interrupted",
            Error::Untunable { .. } => "Untunable",
            Error::Unwritable { .. } => "Unwritable",
            Error::NotReady { .. } => "NotReady",
            Error::StillPending { .. } => "StillPending",
            Error::Project(_) => "BadProject",
            Error::Watch { .. } => "WatchFailed",
            Error::Node(_) => "NodeFailed",
            Error::System { .. } => "SystemError",
        }
    }

    /// Whether the service said that what was named does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Service { code, .. } if code == "ResourceNotFoundException")
    }

    /// Whether the same request may succeed in a moment: the resource is being changed, or the node is busy.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Error::Service { code, status, .. }
            if code == "ResourceConflictException" || code == "TooManyRequestsException" || *status == 503)
    }
}

fn service_hint(code: &str, operation: &str) -> Option<String> {
    let hint = match code {
        "ResourceNotFoundException" if operation.contains("Log") => {
            "nothing has been logged yet: call the function first, e.g. with `neap invoke`"
        }
        "ResourceNotFoundException" if operation.contains("Budget") => "`neap budget ls` shows the budgets",
        "ResourceNotFoundException" => "`neap ls` shows the functions of this account and region",
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "ExpiredTokenException" => {
            "use the node's credentials: eval \"$(neap credentials --export)\" (with --data FOLDER where it keeps \
             them elsewhere; with sudo where root runs it)"
        }
        "AccessDeniedException" => {
            "use credentials that may do this; `neap credentials` prints the account's own"
        }
        "TooManyRequestsException" => "wait a moment, then try again",
        "ServiceException" | "InternalFailure" => "the node's own output has the reason",
        _ => return None,
    };
    Some(hint.to_owned())
}
