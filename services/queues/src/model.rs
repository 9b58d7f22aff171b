//! Queues and messages.

use crate::logic::{names::FIFO_SUFFIX, policy::Policy, redrive};
use base::{AccountId, Arn, MessageAttribute, Region, RequestId, Seconds, Timestamp};
use std::collections::BTreeMap;

/// Which queue, for its users.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueKey {
    /// Owner.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// 1 to 80 letters, digits, hyphens and underscores; that of a FIFO queue ends with `.fifo`, which counts.
    pub name: Box<str>,
}

impl QueueKey {
    /// Its ARN.
    pub fn arn(&self) -> Arn {
        Arn::new("sqs", Some(&self.region), self.account, &self.name)
    }

    /// Whether it is a FIFO queue's.
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }

    /// The queue that an ARN names, if it is one's.
    pub fn of(arn: &Arn) -> Option<QueueKey> {
        let named = &*arn.service == "sqs" && !arn.resource.contains([':', '/']);
        let (true, Some(account), Some(region)) = (named, arn.account, arn.region.clone()) else {
            return None;
        };
        Some(QueueKey { account, region, name: arn.resource.clone() })
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Of this life of the queue: a queue of the same name made later has another.
    pub id: i64,
    /// Its name.
    pub key: QueueKey,
    /// What the user set, by the API's names and in its texts.
    pub attributes: BTreeMap<String, String>,
    /// What these mean.
    pub settings: Settings,
    /// At most 50.
    pub tags: BTreeMap<String, String>,
    /// `CreatedTimestamp`.
    pub created: Timestamp,
    /// `LastModifiedTimestamp`.
    pub modified: Timestamp,
    /// Changes with every change.
    pub revision: i64,
}

/// How a queue behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `Some` for a FIFO queue.
    pub fifo: Option<Fifo>,
    /// `VisibilityTimeout`: 0 to 43,200 s, default 30.
    pub visibility: Seconds,
    /// `MessageRetentionPeriod`: 60 to 1,209,600 s, default 345,600.
    pub retention: Seconds,
    /// `DelaySeconds`: 0 to 900, default 0.
    pub delay: Seconds,
    /// `MaximumMessageSize`: 1,024 to 1,048,576 bytes, default 1,048,576.
    pub bytes_max: usize,
    /// `ReceiveMessageWaitTimeSeconds`: 0 to 20, default 0.
    pub wait: Seconds,
    /// `Policy`.
    pub policy: Option<Policy>,
    /// `RedrivePolicy`.
    pub redrive: Option<redrive::Redrive>,
    /// `RedriveAllowPolicy`.
    pub allow: redrive::Allow,
}

/// What only FIFO queues have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// `ContentBasedDeduplication`: a message without deduplication id has that of its body. Default false.
    pub by_content: bool,
    /// `DeduplicationScope` `messageGroup`: ids are of a group. Default of the queue.
    pub scope_group: bool,
    /// `FifoThroughputLimit` `perMessageGroupId`: high throughput. Default of the queue.
    pub high_throughput: bool,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// `MessageId`.
    pub id: RequestId,
    /// Text.
    pub body: String,
    /// Hexadecimal MD5 of the body.
    pub body_md5: String,
    /// By name.
    pub attributes: Vec<(String, MessageAttribute)>,
    /// Hexadecimal MD5 of the attributes.
    pub attributes_md5: Option<String>,
    /// `AWSTraceHeader`.
    pub trace: Option<String>,
    /// Hexadecimal MD5 of the system attributes.
    pub system_md5: Option<String>,
    /// How long it is hidden at first.
    pub delay: Seconds,
    /// `SenderId`.
    pub sender: String,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// `MessageDeduplicationId`, given or made from the body.
    pub deduplication: Option<String>,
}

impl Outgoing {
    /// What counts against limits: the body, and names, types and values of attributes.
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes =
            attributes.map(|(name, value)| name.len() + value.data_type.len() + value.value.len());
        self.body.len() + attributes.sum::<usize>()
    }
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id; that of an earlier message if it repeats that one.
    pub id: String,
    /// `SequenceNumber` on FIFO queues.
    pub sequence: Option<String>,
    /// Whether it repeats an earlier one and was not added.
    pub repeated: bool,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Place in the order of all messages.
    pub seq: i64,
    /// `MessageId`.
    pub id: String,
    /// Text.
    pub body: String,
    /// Hexadecimal MD5.
    pub body_md5: String,
    /// By name.
    pub attributes: Vec<(String, MessageAttribute)>,
    /// Hexadecimal MD5.
    pub attributes_md5: Option<String>,
    /// `AWSTraceHeader`.
    pub trace: Option<String>,
    /// `SenderId`.
    pub sender: String,
    /// `SentTimestamp`; retention counts from here.
    pub sent: Timestamp,
    /// `ApproximateFirstReceiveTimestamp`.
    pub first: Option<Timestamp>,
    /// `ApproximateReceiveCount`.
    pub receives: u32,
    /// Not visible before.
    pub due: Timestamp,
    /// Of the last receive.
    pub receipt: Option<i64>,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// `MessageDeduplicationId`.
    pub deduplication: Option<String>,
    /// `DeadLetterQueueSourceArn`.
    pub origin: Option<String>,
    /// 1: of the backlog of a standard queue's group.
    pub tier: i64,
}

/// Messages of a queue by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Can be received.
    pub visible: u64,
    /// Received and hidden.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
    /// When the oldest was sent.
    pub oldest: Option<Timestamp>,
}
