//! Environments that wait initialised for their first call: versions with SnapStart.
//!
//! They are idle environments like others, but for the places that they have: a call takes one only where no used one is
//! idle, they do not end for being idle, and they are the first to give way to calls of other pools. A start for one takes
//! nothing from anybody: it waits until no call waits for a start and there is room, unless a publication waits for it.

use super::{Demand, Effect, Planner, Tick, pool::Pool, room::Room, table::Row};
use crate::environment::Transition;
use base::EnvironmentId;

impl Planner {
    /// Whether an environment was started to wait for its first call.
    pub fn is_prepared(&self, id: EnvironmentId) -> bool {
        self.members.get(&id).is_some_and(|member| member.origin == super::Origin::Prepared)
    }

    pub(super) fn prepare(&mut self, demand: &Demand<'_>, count: u32, urgent: bool, now: Tick) {
        if self.draining || demand.memory > self.limits.memory_max() {
            return;
        }
        let row = self.rows.get(demand.key).copied().unwrap_or_else(|| {
            let function = self.admission.function(demand.key);
            self.add_pool(demand, function)
        });
        let pool = &mut self.pools[row];
        if pool.retired {
            return;
        }
        pool.prepare = count;
        pool.prepare_urgent = urgent && pool.prepared.is_empty();
        pool.prepare_used = now;
        if pool.below_prepared() > 0 {
            self.starts.want(row, &mut self.pools[row]);
        }
        self.remove_pool_if_unused(row, now);
    }

    /// A call has taken one: the next is made when that call had time to run.
    pub(super) fn prepared_taken(&mut self, row: Row<Pool>, now: Tick) {
        let pool = &mut self.pools[row];
        pool.prepare_used = now;
        pool.floor_not_before = pool.floor_not_before.max(now.plus(self.limits.prepare_after_us));
    }

    /// One has become ready, and no call waits for it.
    pub(super) fn wait_prepared(&mut self, row: Row<Pool>, now: Tick) {
        self.pools[row].prepare_urgent = false;
        self.arm(row, now.plus(self.limits.prepared_us_max));
    }

    /// Whether a start of one may begin now, besides what bounds every start. Ends what gives way to it.
    pub(super) fn may_prepare(
        &mut self,
        row: Row<Pool>,
        claimed: Room,
        now: Tick,
        out: &mut Vec<Effect>,
    ) -> bool {
        let pool = &self.pools[row];
        let (one, urgent, used) = (pool.room(), pool.prepare_urgent, pool.prepare_used);
        let is_free = (self.memory.used + claimed + one).fits(self.room_max());
        if !urgent && (!is_free || self.anybody_waits()) {
            return false;
        }
        if (self.memory.prepared + one).fits(self.prepared_max()) {
            return true;
        }
        while let Some(victim) = self.least_used_prepared(Some(row))
            && self.members.get(&victim).is_some_and(|one| self.pools[one.pool].prepare_used < used)
        {
            self.totals.evicted += 1;
            self.stop(victim, Transition::Stop, now, out);
            if (self.memory.prepared + one).fits(self.prepared_max()) {
                return true;
            }
        }
        // One at least, however large; and whoever waits for a publication gets its answer.
        urgent || self.memory.prepared == Room::NONE
    }

    /// What all of them may take together.
    fn prepared_max(&self) -> Room {
        let (all, percent) = (self.room_max(), u64::from(self.limits.prepared_percent));
        Room { mib: all.mib * percent / 100, places: all.places * percent / 100 }
    }

    /// The one of the version that was used longest ago; not of `except`.
    pub(super) fn least_used_prepared(&self, except: Option<Row<Pool>>) -> Option<EnvironmentId> {
        let candidates = self.pools.iter().filter(|&(row, _)| Some(row) != except);
        let candidates = candidates.filter_map(|(_, pool)| {
            let &oldest = pool.prepared.front()?;
            (pool.reclaimable() > 0).then_some((pool.prepare_used, oldest))
        });
        candidates.min().map(|(_, id)| id)
    }

    /// Ends those that have waited for too long; when the next has.
    pub(super) fn renew_prepared(
        &mut self,
        row: Row<Pool>,
        now: Tick,
        out: &mut Vec<Effect>,
    ) -> Option<Tick> {
        while let Some(&id) = self.pools[row].prepared.front() {
            let due = self.idle_since(id).0.plus(self.limits.prepared_us_max);
            if due > now {
                return Some(due);
            }
            self.totals.renewed += 1;
            self.stop(id, Transition::Stop, now, out);
        }
        None
    }
}
