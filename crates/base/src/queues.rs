//! The port by which event source mappings poll queues.

use crate::{Arn, Future, Principal, Seconds};
use bytes::Bytes;

/// Queues, as pollers see them. Whatever is asked is asked as `who`, a role that must be allowed to
/// (`sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes`).
pub trait QueueSource: Send + Sync {
    /// What a mapping must know of a queue.
    fn describe(&self, who: Principal, queue: Arn) -> Future<'_, Result<QueueFacts, SourceError>>;
    /// Up to `max` messages (at least one, at most 10,000) of at most `bytes_max` together, each hidden for the queue's visibility
    /// timeout from now. Does not wait: empty when none is visible.
    ///
    /// On a FIFO queue in the order of their groups, and nothing of a group that has messages in flight.
    fn receive(
        &self,
        who: Principal,
        queue: Arn,
        max: u32,
        bytes_max: usize,
    ) -> Future<'_, Result<Vec<QueueMessage>, SourceError>>;
    /// Deletes received messages by their receipt handles; those whose handle is void are left.
    fn delete(
        &self,
        who: Principal,
        queue: Arn,
        receipts: Vec<String>,
    ) -> Future<'_, Result<(), SourceError>>;
    /// Changes how long received messages stay hidden, from now; zero gives them back at once.
    fn hide(
        &self,
        who: Principal,
        queue: Arn,
        receipts: Vec<String>,
        hide: Seconds,
    ) -> Future<'_, Result<(), SourceError>>;
    /// Resolves when [`QueueSource::receive`] may find something, also when the queue is deleted. Never misses a message that was
    /// sent or became visible since the last empty receive; may resolve without need. Costs nothing while it waits.
    fn ready(&self, queue: Arn) -> Future<'_, ()>;
}

/// What a mapping must know of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// Its visibility timeout.
    pub visibility: Seconds,
    /// Messages that are visible now, approximately.
    pub visible: u64,
}

/// A received message.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueMessage {
    /// `messageId`.
    pub id: String,
    /// New with each receive.
    pub receipt: String,
    /// Text.
    pub body: String,
    /// Hexadecimal MD5 of the body.
    pub body_md5: String,
    /// Hexadecimal MD5 of the message attributes, if there are any.
    pub attributes_md5: Option<String>,
    /// System attributes by name: `ApproximateReceiveCount`, `SentTimestamp`, `SenderId`,
    /// `ApproximateFirstReceiveTimestamp`, `AWSTraceHeader`, `MessageGroupId`, `MessageDeduplicationId`, `SequenceNumber`,
    /// `DeadLetterQueueSourceArn`.
    pub system: Vec<(&'static str, String)>,
    /// The user's attributes by name.
    pub attributes: Vec<(String, MessageAttribute)>,
}

impl QueueMessage {
    /// A system attribute.
    pub fn system(&self, name: &str) -> Option<&str> {
        self.system.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Value of a user's attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`, perhaps with a custom label: `Number.int`.
    pub data_type: String,
    /// The text of `String` and `Number`, else the bytes.
    pub value: Bytes,
}

/// The queue did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is no such queue.
    #[error("{0} does not exist")]
    Missing(Arn),
    /// The role may not.
    #[error("{0}")]
    Denied(String),
    /// Not now.
    #[error("{0}")]
    NotNow(String),
}
