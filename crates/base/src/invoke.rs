//! The port by which services invoke functions.

use crate::{Arn, Future, RequestId};
use bytes::Bytes;

/// Takes asynchronous invocations from other services of the node.
pub trait InvokeLater: Send + Sync {
    /// Puts an asynchronous invocation of `function` on disk. Once this has answered, the invocation happens, with the retries that
    /// the function is configured for. The same `request_id` again is taken once, as long as the first is not finished.
    fn invoke_later(
        &self,
        function: Arn,
        request_id: RequestId,
        payload: Bytes,
    ) -> Future<'_, Result<(), NotInvoked>>;
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
