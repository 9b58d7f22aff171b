//! The port by which environments log.

use crate::{AccountId, InvocationSpan, Region, RequestId, Timestamp};

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// When it was written.
    pub at: Timestamp,
    /// Text without trailing newline.
    pub message: String,
}

/// The invocation that a line was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// Which.
    pub request_id: RequestId,
    /// As it is recorded.
    pub span: InvocationSpan,
}

/// Takes what functions log. Never blocks the caller: events wait in a bounded buffer, and what does not fit is
/// counted and reported as dropped in the stream itself.
pub trait LogSink: Send + Sync {
    /// Appends `events`, in order, to `stream` of `group`; both are made if they do not exist.
    fn append(&self, account: AccountId, region: &Region, group: &str, stream: &str, events: Vec<LogEvent>);
    /// The same, and the invocation that each event was written in: as many as events, or none for invocations that are not
    /// recorded as spans.
    fn append_within(
        &self,
        account: AccountId,
        region: &Region,
        group: &str,
        stream: &str,
        events: Vec<LogEvent>,
        within: &[Option<Within>],
    ) {
        let _ = within;
        self.append(account, region, group, stream, events);
    }
}
