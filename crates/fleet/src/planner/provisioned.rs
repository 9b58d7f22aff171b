//! Which calls run on provisioned concurrency.

use super::{Origin, Planner};
use base::EnvironmentId;

/// How a call stands to the floor of its pool when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProvisionedUse {
    /// It runs within the floor.
    pub(crate) within: bool,
    /// Calls that run within the floor.
    pub(crate) running: u32,
    pub(crate) floor: u32,
}

impl Planner {
    /// For a call that has just been assigned to `id`, which waited for a start (`cold`) or did not; `None` where the pool has no floor.
    ///
    /// As many calls as the floor has environments run within it, whichever they occupy: one that was started for a call and is
    /// idle since is as good as one started ahead. But the call that a start was made for goes beyond what is provisioned.
    pub(crate) fn provisioned_use(&self, id: EnvironmentId, cold: bool) -> Option<ProvisionedUse> {
        let member = self.members.get(&id)?;
        let pool = &self.pools[member.pool];
        if pool.floor == 0 {
            return None;
        }
        let within = pool.busy <= pool.floor && (member.origin == Origin::Floor || !cold);
        let running = if within { pool.busy } else { (pool.busy.saturating_sub(1)).min(pool.floor) };
        Some(ProvisionedUse { within, running, floor: pool.floor })
    }
}
