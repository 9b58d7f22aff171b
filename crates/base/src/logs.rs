//! The port by which environments log.

use crate::{AccountId, Region, Timestamp};

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// When it was written.
    pub at: Timestamp,
    /// Text without trailing newline.
    pub message: String,
}

/// Takes what functions log. Never blocks the caller: events wait in a bounded buffer, and what does not fit is
/// counted and reported as dropped in the stream itself.
pub trait LogSink: Send + Sync {
    /// Appends `events`, in order, to `stream` of `group`; both are made if they do not exist.
    fn append(&self, account: AccountId, region: &Region, group: &str, stream: &str, events: Vec<LogEvent>);
}
