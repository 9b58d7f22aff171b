//! What an event source mapping is.

use super::Target;
use base::{Arn, RequestId, Seconds, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Has a function invoked with batches of a queue's messages.
#[derive(Clone, PartialEq, Debug)]
pub struct Mapping {
    /// `UUID`.
    pub id: RequestId,
    /// What is invoked.
    pub target: Target,
    /// The queue.
    pub source: Arn,
    /// What the user set.
    pub settings: MappingSettings,
    /// Whether it is to poll, once its state has settled.
    pub enabled: bool,
    /// Where it is in its life.
    pub state: MappingState,
    /// Grows with each change; what polls by an older one stops.
    pub revision: i64,
    /// `LastModified`.
    pub modified: Timestamp,
    /// At most 50.
    pub tags: BTreeMap<String, String>,
    /// Why it cannot poll, if it cannot: `LastProcessingResult`.
    pub problem: Option<String>,
}

impl Mapping {
    /// `EventSourceMappingArn`.
    pub fn arn(&self) -> String {
        let id = &self.target.id;
        let resource = format!("event-source-mapping:{}", self.id);
        Arn::new("lambda", Some(&id.region), id.account, &resource).to_string()
    }
}

/// What the user set about a mapping.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MappingSettings {
    /// Messages of one invocation, 1 to 10,000; at most 10 of a FIFO queue. Default 10.
    pub batch_max: u32,
    /// How long a batch may wait for more, 0 to 300 s. Default 0.
    pub window: Seconds,
    /// Whether the function says which messages have failed. Default no.
    pub reports_failures: bool,
    /// Patterns of which a message must match any; none: every message is wanted.
    pub filters: Vec<String>,
    /// Invocations at once, 2 to 1,000. Default: as many as the backlog calls for.
    pub concurrency_max: Option<u32>,
    /// Pollers that are always there, and how many there may be: 10 invocations at once each.
    pub pollers: Option<Pollers>,
}

/// `ProvisionedPollerConfig`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pollers {
    /// 2 to 200. Default 2.
    pub min: u32,
    /// 2 to 10,000. Default 200.
    pub max: u32,
}

/// Life of a mapping. `Creating → Enabled ⇄ Disabled`, by way of the states in between, until `Deleting`. What is between is
/// settled by the task that polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MappingState {
    /// Accepted.
    Creating,
    /// Is about to poll.
    Enabling,
    /// Polls.
    Enabled,
    /// Polls no more; what was received is being finished.
    Disabling,
    /// Does not poll.
    Disabled,
    /// Takes up other settings.
    Updating,
    /// Is about to be gone, when what was received is finished.
    Deleting,
}

impl MappingState {
    /// All, for reading them back.
    pub const ALL: [MappingState; 7] = [
        MappingState::Creating,
        MappingState::Enabling,
        MappingState::Enabled,
        MappingState::Disabling,
        MappingState::Disabled,
        MappingState::Updating,
        MappingState::Deleting,
    ];

    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            MappingState::Creating => "Creating",
            MappingState::Enabling => "Enabling",
            MappingState::Enabled => "Enabled",
            MappingState::Disabling => "Disabling",
            MappingState::Disabled => "Disabled",
            MappingState::Updating => "Updating",
            MappingState::Deleting => "Deleting",
        }
    }

    /// Whether nothing is owed to it.
    pub const fn settled(self) -> bool {
        matches!(self, MappingState::Enabled | MappingState::Disabled)
    }
}
