//! The port by which services hand events to resources of other services.

use crate::{Arn, Future, Principal, RequestId, ServiceCaller};
use bytes::Bytes;

/// Hands events to resources that take them: dead-letter queues and destinations of functions, later the targets of topics
/// and buses.
pub trait Deliver: Send + Sync {
    /// Whether `target` is there, takes events and lets `sender` hand them in: asked when a setting names it.
    fn accepts(&self, sender: Sender, target: Arn) -> Future<'_, Result<(), NotDelivered>>;
    /// Hands `event` in. On disk once this has answered. At least once: the same event may be handed in again.
    fn deliver(&self, sender: Sender, target: Arn, event: Delivery) -> Future<'_, Result<(), NotDelivered>>;
}

/// On whose permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A principal's own, such as the role of a function.
    Principal(Principal),
    /// A service's: the target's policy must allow it.
    Service(ServiceCaller),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The same for every attempt at the same event.
    pub id: RequestId,
    /// JSON, or any text where the target is a queue.
    pub body: Bytes,
    /// Name and value of string attributes, for targets that have them.
    pub attributes: Vec<(String, String)>,
    /// Trace header.
    pub trace: Option<String>,
}

/// The event was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDelivered {
    /// No service of this node takes events for such a target.
    #[error("{0} is of a service that takes no events here")]
    Unsupported(Arn),
    /// There is no such target.
    #[error("{0} does not exist")]
    Missing(Arn),
    /// The sender may not.
    #[error("{0}")]
    Denied(String),
    /// The target refuses this event for ever, e.g. for its size.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error("{0}")]
    NotNow(String),
}
