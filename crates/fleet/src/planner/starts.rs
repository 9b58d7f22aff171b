//! Which start begins next: turns between pools, the bound of parallel starts, memory.

use super::{
    Effect, Member, Origin, Planner, Refusal, Tick,
    pool::{Pool, Queued},
    room::Room,
    table::Row,
};
use crate::{
    Limits,
    environment::{Environment, Transition},
};
use base::EnvironmentId;
use std::collections::VecDeque;

/// Starts under way and pools that want one.
#[derive(Debug)]
pub(super) struct Starts {
    /// Pools that may want a start, in the order of their turns.
    ring: VecDeque<Row<Pool>>,
    /// Starts that count against the bound, oldest first.
    slots: VecDeque<(Tick, EnvironmentId)>,
    /// Goes first, and nobody else starts until it has found its place.
    favoured: Option<Row<Pool>>,
}

/// What became of a pool's turn.
enum Turn {
    /// A start has begun.
    Begun,
    /// Room for its start is being freed; so much of it must not go to others.
    Awaits(Room),
    /// It cannot start now.
    Blocked,
    /// It wants nothing.
    Done,
}

impl Starts {
    pub(super) const fn new() -> Starts {
        Starts { ring: VecDeque::new(), slots: VecDeque::new(), favoured: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.slots.is_empty() && self.favoured.is_none()
    }

    pub(super) fn slots_used(&self) -> u32 {
        super::count(self.slots.len())
    }

    /// Gives `pool` a place in the ring.
    pub(super) fn want(&mut self, row: Row<Pool>, pool: &mut Pool) {
        if !pool.wanting {
            pool.wanting = true;
            self.ring.push_back(row);
        }
    }

    /// The start of `id` is over.
    pub(super) fn finish(&mut self, id: EnvironmentId) {
        self.slots.retain(|&(_, other)| other != id);
    }

    /// Gives back the slots of starts that take so long that they cannot be busy with this node's CPUs.
    pub(super) fn expire_slots(&mut self, limits: &Limits, now: Tick) {
        while let Some(&(since, _)) = self.slots.front()
            && now.since(since) >= limits.start_slot_us_max
        {
            self.slots.pop_front();
        }
    }

    pub(super) fn favour(&mut self, row: Row<Pool>) {
        self.favoured = Some(row);
    }

    pub(super) fn forget(&mut self, row: Row<Pool>) {
        self.ring.retain(|&other| other != row);
        if self.favoured == Some(row) {
            self.favoured = None;
        }
    }
}

impl Planner {
    /// Begins starts while the bounds allow, one pool after the other.
    pub(super) fn start_wanted(&mut self, now: Tick, out: &mut Vec<Effect>) {
        if self.starts.ring.is_empty() {
            return;
        }
        self.starts.expire_slots(&self.limits, now);
        while self.start_round(now, out) {}
    }

    /// Gives each pool of the ring one turn. Returns whether any start began.
    fn start_round(&mut self, now: Tick, out: &mut Vec<Effect>) -> bool {
        let mut claimed = Room::NONE;
        let mut begun = false;
        if let Some(row) = self.starts.favoured {
            if !self.slot_free() {
                return false;
            }
            match self.turn(row, Room::NONE, now, out) {
                Turn::Begun | Turn::Done => self.starts.favoured = None,
                Turn::Awaits(_) | Turn::Blocked => return false,
            }
        }
        for _ in 0..self.starts.ring.len() {
            if !self.slot_free() {
                return false;
            }
            let Some(row) = self.starts.ring.pop_front() else { break };
            match self.turn(row, claimed, now, out) {
                Turn::Begun => begun = true,
                Turn::Awaits(room) => claimed += room,
                Turn::Blocked => {}
                Turn::Done => {
                    self.pools[row].wanting = false;
                    continue;
                }
            }
            self.starts.ring.push_back(row);
        }
        begun
    }

    /// Whether a queued call waits for a start that has not begun.
    pub(super) fn anybody_waits(&self) -> bool {
        self.starts.ring.iter().any(|&row| self.pools[row].uncovered().is_some())
    }

    /// Whether the bound of parallel starts allows one more; if not, sees to it that time will tell.
    fn slot_free(&mut self) -> bool {
        if self.starts.slots_used() < self.limits.starts_parallel {
            return true;
        }
        if let Some(&(since, _)) = self.starts.slots.front() {
            self.wake_at(since.plus(self.limits.start_slot_us_max));
        }
        false
    }

    /// One pool's turn; `claimed` of the free room belongs to pools before it.
    fn turn(&mut self, row: Row<Pool>, claimed: Room, now: Tick, out: &mut Vec<Effect>) -> Turn {
        let pool = &mut self.pools[row];
        pool.starved = false;
        let queued = pool.uncovered().copied();
        let ahead = queued.is_none() && pool.below_floor() == 0;
        if ahead && pool.below_prepared() == 0 {
            return Turn::Done;
        }
        let not_before = if queued.is_some() { pool.not_before } else { pool.floor_not_before };
        let (function, one) = (pool.function, pool.room());
        if not_before > now {
            self.wake_at(not_before);
            return Turn::Blocked;
        }
        if self.admission.starts_available(function, &self.limits, now) == 0 {
            let one = self.limits.scaling_period_us / u64::from(self.limits.scaling_starts.max(1));
            self.wake_at(now.plus(one.max(1)));
            return Turn::Blocked;
        }
        if ahead && !self.may_prepare(row, claimed, now, out) {
            return Turn::Blocked;
        }
        if !(self.memory.used + claimed + one).fits(self.room_max()) {
            return self.make_room(row, claimed, now, out);
        }
        let origin = match queued {
            Some(_) => Origin::Call,
            None if ahead => Origin::Prepared,
            None => Origin::Floor,
        };
        self.begin(row, queued, origin, now, out);
        Turn::Begun
    }

    /// Begins a start.
    pub(super) fn begin(
        &mut self,
        row: Row<Pool>,
        queued: Option<Queued>,
        origin: Origin,
        now: Tick,
        out: &mut Vec<Effect>,
    ) {
        let pool = &self.pools[row];
        let (function, one) = (pool.function, pool.room());
        let id = EnvironmentId(self.next_environment);
        self.next_environment += 1;
        let state = Environment::Booting { since: now };
        self.members.insert(id, Member { pool: row, state, origin });
        self.recount(row, |pool| {
            pool.booting += 1;
            if origin == Origin::Foreseen {
                pool.foreseen.push(id);
            }
            if origin == Origin::Prepared {
                pool.preparing.push(id);
            }
        });
        self.memory.used += one;
        if origin == Origin::Prepared {
            self.memory.prepared += one;
        }
        self.starts.slots.push_back((now, id));
        self.admission.start(function);
        self.totals.starts += 1;
        self.totals.foreseen += u64::from(origin == Origin::Foreseen);
        self.totals.prepared += u64::from(origin == Origin::Prepared);
        out.push(Effect::Launch {
            environment: id,
            call: queued.map(|queued| queued.call),
            queued_us: queued.map_or(0, |queued| now.since(queued.since)),
        });
    }

    /// The starved pool that must get the place of an environment just released in `row`: it has no environment at
    /// all, its oldest call has waited long, and it could start if only it had the memory.
    pub(super) fn must_yield(&self, row: Row<Pool>, now: Tick) -> Option<Row<Pool>> {
        if self.starts.ring.is_empty() || self.starts.slots_used() >= self.limits.starts_parallel {
            return None;
        }
        // The released environment itself is idle by now.
        let taken = self.memory.used + self.pools[row].room();
        let available = self.room_max() + self.memory.stopping + self.memory.idle;
        let candidates = self.starts.ring.iter().copied().filter_map(|other| {
            let pool = &self.pools[other];
            let oldest = pool.queue.front()?.since;
            let starved = pool.serving() == 0
                && !(taken + pool.room()).fits(available)
                && now.since(oldest) >= self.limits.yield_after_us
                && pool.not_before <= now;
            (other != row && starved).then_some((oldest, other))
        });
        candidates.min_by_key(|&(oldest, _)| oldest).map(|(_, starved)| starved)
    }

    /// What the node has for environments.
    pub(super) fn room_max(&self) -> Room {
        let (mib, places) = (self.limits.memory_max().0, self.limits.environments_max);
        Room { mib: u64::from(mib), places: u64::from(places) }
    }

    /// Ends idle environments, least valuable first, until there is room for one of the pool or will be.
    fn make_room(&mut self, row: Row<Pool>, claimed: Room, now: Tick, out: &mut Vec<Effect>) -> Turn {
        let one = self.pools[row].room();
        let (claimed, max) = (claimed + one, self.room_max());
        if !(self.memory.used + claimed).fits(max + self.memory.stopping + self.memory.idle) {
            self.pools[row].starved = true;
            if let Some(queued) = self.pools[row].uncovered() {
                let due = queued.since.plus(self.limits.full_wait_us_max);
                self.wake_at(due.max(now.plus(1)));
            }
            return Turn::Blocked;
        }
        while !(self.memory.used + claimed).fits(max + self.memory.stopping) {
            let victim = self.unclaimed(row).or_else(|| self.least_used_prepared(Some(row)));
            let victim =
                victim.or_else(|| self.least_valuable(now)).or_else(|| self.least_used_prepared(None));
            let Some(victim) = victim else { break };
            self.totals.evicted += 1;
            self.stop(victim, Transition::Stop, now, out);
        }
        Turn::Awaits(one)
    }

    /// A start under way for a call that has not come.
    fn unclaimed(&self, own: Row<Pool>) -> Option<EnvironmentId> {
        let others = self.pools.iter().filter(|&(row, pool)| row != own && pool.reclaimable() > 0);
        others.filter_map(|(_, pool)| pool.foreseen.last().copied()).max()
    }

    /// Refuses calls that have waited too long for memory that cannot be had.
    pub(super) fn refuse_starved(&mut self, now: Tick, out: &mut Vec<Effect>) {
        let starved: Vec<Row<Pool>> =
            self.starts.ring.iter().copied().filter(|&row| self.pools[row].starved).collect();
        for row in starved {
            let wanted = self.pools[row].memory;
            while let Some(&queued) = self.pools[row].uncovered()
                && now.since(queued.since) >= self.limits.full_wait_us_max
            {
                let at = self.pools[row].booting as usize;
                self.pools[row].queue.remove(at);
                self.totals.node_full += 1;
                self.refuse_queued(row, queued.call, Refusal::NodeFull { wanted }, now, out);
            }
            self.remove_pool_if_unused(row, now);
        }
    }
}
