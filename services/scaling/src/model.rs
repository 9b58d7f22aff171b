//! What the service keeps.

use crate::logic::{schedule::Schedule, tracking::Tracking};
use base::{Scaled, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A version or an alias whose provisioned concurrency is scaled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) of: Scaled,
    /// Last part of its ARN.
    pub(crate) id: String,
    pub(crate) bounds: Bounds,
    pub(crate) tags: BTreeMap<String, String>,
    /// Whether its capacity may be outside of its bounds since these were set.
    pub(crate) unsettled: bool,
    /// When its capacity was last changed from here.
    pub(crate) changed: Timestamp,
}

/// Between which its capacity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) suspended: Suspended,
}

/// What is not done for now; `SuspendedState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Suspended {
    #[serde(default)]
    pub dynamic_scaling_in_suspended: bool,
    #[serde(default)]
    pub dynamic_scaling_out_suspended: bool,
    #[serde(default)]
    pub scheduled_scaling_suspended: bool,
}

/// A scheduled action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Action {
    pub(crate) of: Scaled,
    pub(crate) name: String,
    pub(crate) plan: Plan,
    /// When it runs next; `None`: never again.
    pub(crate) next: Option<Timestamp>,
}

/// What an action does and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) schedule: String,
    /// As it was named; `None`: UTC.
    pub(crate) zone: Option<String>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
    pub(crate) min: Option<u32>,
    pub(crate) max: Option<u32>,
    pub(crate) created: Timestamp,
    /// Since when this schedule counts.
    pub(crate) begun: Timestamp,
}

impl Plan {
    /// When it runs first after `after`.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        // Both were checked when they were set; what a later release no longer reads does not run.
        let schedule: Schedule = self.schedule.parse().ok()?;
        let zone = zone(self.zone.as_deref().unwrap_or("UTC"))?;
        // A start is itself a time at which it may run.
        let after = self.start.map_or(after, |start| after.max(start.plus_ms(-1)));
        // A rate without a start begins a period after it was set.
        let (begun, after) = match (&schedule, self.start) {
            (Schedule::Rate(_), None) => (self.begun, after.max(self.begun)),
            (_, start) => (start.unwrap_or(self.begun), after),
        };
        let next = schedule.next(&zone, begun, after)?;
        (self.end.is_none_or(|end| next <= end)).then_some(next)
    }
}

/// A time zone of the IANA's database.
pub(crate) fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).ok()
}

/// A scaling policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) of: Scaled,
    pub(crate) name: String,
    pub(crate) rule: Rule,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    /// When it was last set.
    pub(crate) modified: Timestamp,
    pub(crate) tracking: Tracking,
    /// Whether the cooldowns were given: they are shown then.
    pub(crate) shown: (bool, bool, bool),
}

/// Something that was done, or failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Activity {
    pub(crate) id: String,
    pub(crate) description: String,
    pub(crate) cause: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    /// What it says if it did not.
    pub(crate) message: String,
}

/// A change of a floor that is to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Of what.
    pub of: Scaled,
    /// The scheduled action's name.
    pub action: String,
    /// When.
    pub at: Timestamp,
    /// The least capacity from then on, if it sets one.
    pub min: Option<u32>,
    /// The most, if it sets one.
    pub max: Option<u32>,
}
