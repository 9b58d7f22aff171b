//! What every service error tells the wire.

/// Whose fault an error is and of which kind; `wire` derives the HTTP status from it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is malformed or breaks a rule (400).
    Invalid,
    /// The caller is not known, or its signature is wrong (403, as AWS answers).
    Unauthenticated,
    /// The caller is known and may not do this (403).
    Denied,
    /// What the request names does not exist (404).
    NotFound,
    /// The state of the resource forbids this now (409).
    Conflict,
    /// A stated precondition does not hold (412).
    Precondition,
    /// The request or its content is larger than allowed (413).
    TooLarge,
    /// The content is of a kind not taken (415).
    Unsupported,
    /// The caller must slow down (429).
    Throttled,
    /// Neap failed (500).
    Us,
    /// Something Neap depends on failed: the function's code, a runtime, another service (502).
    Dependency,
    /// Not now, but soon (503).
    Unavailable,
}

/// Whether the same request can succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again.
    Never,
    /// Wait, then send it again.
    Later,
}

/// An error that can leave through the wire.
pub trait ServiceError: std::error::Error + Send + Sync + 'static {
    /// The wire name, e.g. `ResourceNotFoundException`.
    fn code(&self) -> &str;
    /// The wire name under the query protocol, where a service had other names before it spoke JSON.
    fn query_code(&self) -> &str {
        self.code()
    }
    /// Whose fault.
    fn fault(&self) -> Fault;
    /// Whether to retry.
    fn retry(&self) -> Retry {
        match self.fault() {
            Fault::Throttled | Fault::Us | Fault::Unavailable => Retry::Later,
            Fault::Invalid
            | Fault::Unauthenticated
            | Fault::Denied
            | Fault::NotFound
            | Fault::Conflict
            | Fault::Precondition
            | Fault::TooLarge
            | Fault::Unsupported
            | Fault::Dependency => Retry::Never,
        }
    }
    /// Further members of the error body besides code and message, e.g. `Type` and `Reason` for Lambda.
    fn members(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
