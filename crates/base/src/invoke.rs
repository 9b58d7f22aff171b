//! The port by which services invoke functions.

use crate::{AccountId, Arn, Future, RequestId};
use bytes::Bytes;

/// Takes asynchronous invocations from other services of the node.
pub trait InvokeLater: Send + Sync {
    /// Puts an asynchronous invocation of `function` on disk. Once this has answered, the invocation happens, with the retries that
    /// the function is configured for. The same `request_id` again is taken once, as long as the first is not finished.
    ///
    /// The function's policy must allow it to `caller`; the node's own affairs, which have none, ask no policy. `trace` is the trace
    /// header of what brings it about; a chain of invocations that comes back too often ends here.
    fn invoke_later(
        &self,
        caller: Option<ServiceCaller>,
        function: Arn,
        request_id: RequestId,
        payload: Bytes,
        trace: Option<String>,
    ) -> Future<'_, Result<(), NotInvoked>>;
}

/// A service that invokes a function for one of its resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCaller {
    /// Its principal in policies, e.g. `s3.amazonaws.com`.
    pub service: &'static str,
    /// `AWS:SourceArn`: the resource.
    pub source_arn: String,
    /// `AWS:SourceAccount`: whose it is.
    pub source_account: AccountId,
}

/// The invocation was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotInvoked {
    /// There is no such function, or it cannot be invoked: the same fails again.
    #[error("{0}")]
    Never(String),
    /// Not now.
    #[error("{0}")]
    NotNow(String),
}
