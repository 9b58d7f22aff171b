//! What telemetry keeps.

use base::{AccountId, Region, Timestamp};

/// A log stream and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) group: String,
    pub(crate) stream: String,
}

/// The place of an event among all others: by time, then in the order of their arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    /// Timestamp in ms.
    pub(crate) at: i64,
    /// Given by [`crate::logic::Sequence`] on arrival; never 0 and never used twice.
    pub(crate) seq: i64,
}

/// One event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) position: Position,
    /// When it arrived, in ms.
    pub(crate) ingested: i64,
    pub(crate) message: String,
}

/// A log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) retention_days: Option<u32>,
}

impl Group {
    /// Events before this are expired; `None`: nothing ever is.
    pub(crate) fn cutoff(&self, now: Timestamp) -> Option<i64> {
        self.retention_days.map(|days| now.0 - i64::from(days) * crate::logic::DAY_MS)
    }
}

/// A log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// 0: no event yet.
    pub(crate) first: i64,
    /// 0: no event yet.
    pub(crate) last: i64,
    /// 0: no event yet.
    pub(crate) ingested: i64,
    pub(crate) bytes: i64,
}

/// A chunk without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    pub(crate) id: i64,
    pub(crate) stream: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// A chunk ready to be kept.
#[derive(Clone, Debug)]
pub(crate) struct NewChunk {
    pub(crate) first: Position,
    pub(crate) last: i64,
    pub(crate) ingested: i64,
    pub(crate) events: u32,
    /// Bytes of the messages.
    pub(crate) bytes: i64,
    pub(crate) body: Vec<u8>,
}
