//! The fleet's decisions as a pure state machine: [`Planner::on`] takes an event and the time, and says what to do.
//!
//! Nothing here waits, reads a clock, draws a random number or talks to anybody, and no decision depends on the
//! iteration order of a hash map: the same events at the same times give the same effects.
//!
//! Terms. A *call* is queued or occupies an environment. A pool *wants* a start for each queued call that no start
//! under way covers; that is computed, not stored, so a start that has lost its reason is simply never begun.
//! A pool is *starved* if it wants a start and not even ending idle environments would make room for it.

mod admission;
mod events;
mod habits;
mod keeping;
mod pool;
mod prepared;
mod provisioned;
mod room;
mod starts;
mod table;

use crate::{
    Limits, Snapshot, Totals,
    environment::{Environment, Illegal, Transition},
    snapshot::PoolSnapshot,
};
use admission::Admission;
use base::{ByteCount, EnvironmentId, MemoryMib, Pressure, ThrottleReason, VersionKey};
pub use events::{CallId, Demand, Effect, Event, Refusal, Tick};
use habits::Habits;
use keeping::Agenda;
use pool::{Pool, Queued};
pub(crate) use provisioned::ProvisionedUse;
use room::Room;
use starts::Starts;
use std::collections::{BTreeMap, HashMap};
use table::{Row, Table};

/// One live environment.
#[derive(Debug)]
struct Member {
    pool: Row<Pool>,
    state: Environment,
    origin: Origin,
}

/// Why an environment was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// For a queued call.
    Call,
    /// To be there whether or not anybody calls.
    Floor,
    /// Ahead of a call that is expected.
    Foreseen,
    /// To wait initialised for the first call: SnapStart.
    Prepared,
}

/// Configured memory and places of environments.
#[derive(Debug, Default)]
struct Memory {
    /// Of all that are not gone.
    used: Room,
    /// Of those being ended: on its way back.
    stopping: Room,
    /// Of those idle, or being started for nobody, that no floor needs: can be had by ending them.
    idle: Room,
    /// Of those that wait initialised or are being started for that.
    prepared: Room,
}

/// All state of the fleet.
#[derive(Debug)]
pub struct Planner {
    limits: Limits,
    pools: Table<Pool>,
    rows: HashMap<VersionKey, Row<Pool>>,
    members: BTreeMap<EnvironmentId, Member>,
    /// Where each queued call waits.
    queued: HashMap<CallId, Row<Pool>>,
    admission: Admission,
    memory: Memory,
    starts: Starts,
    habits: Habits,
    agenda: Agenda,
    next_environment: u64,
    draining: bool,
    wake: Option<Tick>,
    totals: Totals,
}

impl Planner {
    /// A fleet without environments.
    pub fn new(limits: Limits) -> Planner {
        Planner {
            limits,
            pools: Table::new(),
            rows: HashMap::new(),
            members: BTreeMap::new(),
            queued: HashMap::new(),
            admission: Admission::new(),
            memory: Memory::default(),
            starts: Starts::new(),
            habits: Habits::new(),
            agenda: Agenda::default(),
            next_environment: 1,
            draining: false,
            wake: None,
            totals: Totals::default(),
        }
    }

    /// Decides what follows from `event`; effects are appended to `out` in the order in which to perform them.
    ///
    /// `now` never goes back. An [`Illegal`] event changes nothing.
    pub fn on(&mut self, event: Event<'_>, now: Tick, out: &mut Vec<Effect>) -> Result<(), Illegal> {
        match event {
            Event::Request { call, demand } => self.request(call, &demand, now, out),
            Event::Cancelled(call) => self.cancelled(call, now)?,
            Event::Ready(id) => self.ready(id, now, out)?,
            Event::LaunchFailed { environment, transient } => {
                self.launch_failed(environment, transient, now, out)?;
            }
            Event::Released { environment, reusable } => self.released(environment, reusable, now, out)?,
            Event::Broken(id) => self.broken(id, now, out)?,
            Event::Ended(id) => self.ended(id, now)?,
            Event::Provision { demand, count, from } => self.provision(&demand, count, from, now),
            Event::Prepare { demand, count, urgent } => self.prepare(&demand, count, urgent, now),
            Event::Expect { demand } => self.expect(&demand, now, out),
            Event::Retire(key) => self.retire(key, now, out),
            Event::Reserve { account, region, total } => self.admission.reserve_total(account, region, total),
            Event::Tick => self.tick(now, out),
            Event::Drain => self.drain(Transition::Stop, now, out),
            Event::Kill => self.drain(Transition::Kill, now, out),
        }
        self.start_wanted(now, out);
        Ok(())
    }

    /// When [`Event::Tick`] is next due; `None` while nothing depends on time passing.
    pub fn wake(&self) -> Option<Tick> {
        let due = self.agenda.first();
        self.wake.map_or(due, |wake| Some(due.map_or(wake, |due| due.min(wake))))
    }

    /// Concurrency in use.
    pub fn pressure(&self, key: &VersionKey) -> Pressure {
        self.admission.pressure(key)
    }

    /// Whether no environment and no call is left, though habits may be known and starts planned.
    pub fn is_quiet(&self) -> bool {
        self.members.is_empty()
            && self.queued.is_empty()
            && self.memory.used == Room::NONE
            && self.pools.iter().all(|(_, pool)| pool.is_quiet())
    }

    /// Whether no environment, call or pool is left, and nothing is known of any function.
    pub fn is_empty(&self) -> bool {
        self.pools.len() == 0
            && self.habits.len() == 0
            && self.members.is_empty()
            && self.queued.is_empty()
            && self.rows.is_empty()
            && self.memory.used == Room::NONE
            && self.starts.is_empty()
    }

    /// Functions that are known: those with a pool, and for a scaling period those that had one.
    pub fn functions_known(&self) -> usize {
        self.admission.functions()
    }

    /// The state of a live environment.
    pub fn environment(&self, id: EnvironmentId) -> Option<Environment> {
        self.members.get(&id).map(|member| member.state)
    }

    /// The pool of a live environment.
    pub fn key_of(&self, id: EnvironmentId) -> Option<&VersionKey> {
        self.members.get(&id).map(|member| &self.pools[member.pool].key)
    }

    /// Environments of a pool that could take a call or run one.
    pub fn ready_of(&self, key: &VersionKey) -> u32 {
        self.rows.get(key).map_or(0, |&row| {
            count(self.pools[row].idle.len() + self.pools[row].prepared.len()) + self.pools[row].busy
        })
    }

    /// Environments of a pool that wait initialised for their first call.
    pub fn prepared_of(&self, key: &VersionKey) -> u32 {
        self.rows.get(key).map_or(0, |&row| count(self.pools[row].prepared.len()))
    }

    /// Whether a pool wants a start for which no memory can be had.
    pub fn starved(&self, key: &VersionKey) -> bool {
        self.rows.get(key).is_some_and(|&row| self.pools[row].starved)
    }

    /// Ids of live environments.
    pub fn environments(&self) -> impl Iterator<Item = (EnvironmentId, Environment, &VersionKey)> {
        self.members.iter().map(|(&id, member)| (id, member.state, &self.pools[member.pool].key))
    }

    /// Whether anything is there, waits or is planned for a pool.
    pub fn has_pool(&self, key: &VersionKey) -> bool {
        self.rows.contains_key(key)
    }

    /// How many pools there are.
    pub fn pools(&self) -> usize {
        self.pools.len()
    }

    /// Functions whose habits are known.
    pub fn histories(&self) -> usize {
        self.habits.len()
    }

    /// A picture of now, without what only the driver knows.
    pub fn snapshot(&self, now: Tick) -> Snapshot {
        let pools = self.pools.iter().map(|(_, pool)| PoolSnapshot {
            key: pool.key.clone(),
            memory: pool.memory,
            idle: count(pool.idle.len() + pool.prepared.len()),
            busy: pool.busy,
            starting: pool.booting,
            stopping: pool.stopping,
            queued: count(pool.queue.len()),
            floor: pool.floor,
            prepared: count(pool.prepared.len()),
            prepare: pool.prepare,
            prestart: self.prestart(pool, now),
            retired: pool.retired,
            resident: ByteCount(0),
            environments: Vec::new(),
        });
        Snapshot {
            pools: pools.collect(),
            memory_used: MemoryMib(u32::try_from(self.memory.used.mib).unwrap_or(u32::MAX)),
            memory_max: self.limits.memory_max(),
            starts_running: self.starts.slots_used(),
            starts_parallel: self.limits.starts_parallel,
            totals: self.totals,
        }
    }

    fn request(&mut self, call: CallId, demand: &Demand<'_>, now: Tick, out: &mut Vec<Effect>) {
        if self.draining {
            return out.push(Effect::Refuse { call, why: Refusal::ShuttingDown });
        }
        if demand.memory > self.limits.memory_max() {
            self.totals.node_full += 1;
            return out.push(Effect::Refuse { call, why: Refusal::NodeFull { wanted: demand.memory } });
        }
        let known = self.rows.get(demand.key).copied();
        let function = match known {
            Some(row) => self.pools[row].function,
            None => self.admission.function(demand.key),
        };
        if let Err(reason) = self.admission.enter(function, demand, &self.limits, now) {
            let known_until = self.admission.forget_unused(function, &self.limits, now);
            self.wake_if(known_until);
            return self.throttle(call, reason, out);
        }
        let row = known.unwrap_or_else(|| self.add_pool(demand, function));
        let keep = self.keep_of(demand);
        if let Some(id) = self.pools[row].next_idle() {
            self.arrived(row, keep, now);
            return self.assign(Queued { call, since: now, failures: 0 }, id, now, out);
        }
        let wanted = self.pools[row].wanted() as u64;
        if self.admission.starts_available(function, &self.limits, now) <= wanted {
            self.admission.leave(function);
            self.remove_pool_if_unused(row, now);
            return self.throttle(call, ThrottleReason::ConcurrentInvocationLimitExceeded, out);
        }
        self.arrived(row, keep, now);
        // A start that was under way for a call like this is as good as any.
        self.recount(row, |pool| pool.foreseen.clear());
        self.pools[row].prepare_used = now;
        self.pools[row].queue.push_back(Queued { call, since: now, failures: 0 });
        self.queued.insert(call, row);
        self.starts.want(row, &mut self.pools[row]);
    }

    fn throttle(&mut self, call: CallId, reason: ThrottleReason, out: &mut Vec<Effect>) {
        self.totals.throttled += 1;
        out.push(Effect::Refuse { call, why: Refusal::Throttled(reason) });
    }

    fn cancelled(&mut self, call: CallId, now: Tick) -> Result<(), Illegal> {
        let row = self.queued.remove(&call).ok_or(Illegal::UnknownCall(call))?;
        let pool = &mut self.pools[row];
        pool.queue.retain(|queued| queued.call != call);
        self.left(row, now);
        self.totals.cancelled += 1;
        self.remove_pool_if_unused(row, now);
        Ok(())
    }

    fn ready(&mut self, id: EnvironmentId, now: Tick, out: &mut Vec<Effect>) -> Result<(), Illegal> {
        let begun = self.environment(id);
        let (row, state) = self.change(id, Transition::Ready, now)?;
        match state {
            Environment::Idle { .. } => {
                self.starts.finish(id);
                let foreseen = self.is_foreseen(id);
                if let Some(history) = self.history(row)
                    && let Some(Environment::Booting { since }) = begun
                {
                    history.started(now.since(since));
                    if foreseen {
                        history.start_succeeded();
                    }
                }
                let pool = &mut self.pools[row];
                (pool.failures, pool.floor_failures) = (0, 0);
                (pool.not_before, pool.floor_not_before) = (Tick(0), Tick(0));
                self.serve_or_rest(row, id, now, out);
            }
            Environment::Stopping { .. } => {}
            Environment::Booting { .. }
            | Environment::Busy { .. }
            | Environment::Draining { .. }
            | Environment::Gone => unreachable!("a start that succeeds is idle or was to end"),
        }
        Ok(())
    }

    /// Whether an environment was started ahead of a call that was expected.
    pub fn is_foreseen(&self, id: EnvironmentId) -> bool {
        self.members.get(&id).is_some_and(|member| member.origin == Origin::Foreseen)
    }

    fn launch_failed(
        &mut self,
        id: EnvironmentId,
        transient: bool,
        now: Tick,
        out: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        let origin = self.members.get(&id).map(|member| member.origin);
        let (row, _) = self.change(id, Transition::End, now)?;
        self.starts.finish(id);
        self.totals.start_failures += 1;
        if origin == Some(Origin::Foreseen) {
            if let Some(history) = self.history(row) {
                history.start_failed();
            }
            let pool = &mut self.pools[row];
            pool.expected = None;
            if !pool.queue.is_empty() {
                self.starts.want(row, &mut self.pools[row]);
            }
            self.remove_pool_if_unused(row, now);
            return Ok(());
        }
        let pool = &mut self.pools[row];
        if let Some(Origin::Floor | Origin::Prepared) = origin {
            // Whoever waits gets a start of its own, which tells what is wrong.
            pool.floor_failures = pool.floor_failures.saturating_add(1);
            let backoff = self.limits.launch_backoff_us << u64::from(pool.floor_failures - 1).min(11);
            pool.floor_not_before = now.plus(backoff);
            self.starts.want(row, &mut self.pools[row]);
            return Ok(());
        }
        pool.failures = pool.failures.saturating_add(1);
        let backoff = self.limits.launch_backoff_us << u64::from(pool.failures - 1).min(5);
        pool.not_before = now.plus(backoff);
        // The oldest calls are those whose starts began first. After a permanent failure every call that no other
        // start covers would fail as well.
        let uncovered = pool.wanted();
        let failing = if !transient {
            uncovered
        } else if let Some(first) = pool.queue.front_mut()
            && uncovered > 0
        {
            first.failures += 1;
            usize::from(first.failures > self.limits.launch_retries)
        } else {
            0
        };
        for _ in 0..failing {
            let Some(queued) = self.pools[row].queue.pop_front() else { break };
            self.totals.launch_refused += 1;
            self.refuse_queued(row, queued.call, Refusal::LaunchFailed, now, out);
        }
        if !self.pools[row].queue.is_empty() {
            self.starts.want(row, &mut self.pools[row]);
        }
        self.remove_pool_if_unused(row, now);
        Ok(())
    }

    fn released(
        &mut self,
        id: EnvironmentId,
        reusable: bool,
        now: Tick,
        out: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        let forced = matches!(self.environment(id), Some(Environment::Stopping { .. }));
        let (row, state) = self.change(id, Transition::Release { reusable }, now)?;
        self.left(row, now);
        match state {
            // Only after a call, so that every environment serves at least one.
            Environment::Idle { .. } => match self.must_yield(row, now) {
                Some(starved) => {
                    self.starts.favour(starved);
                    self.totals.evicted += 1;
                    self.stop(id, Transition::Stop, now, out);
                }
                None => self.serve_or_rest(row, id, now, out),
            },
            Environment::Stopping { .. } if forced => {}
            Environment::Stopping { .. } => out.push(Effect::Stop(id)),
            Environment::Booting { .. }
            | Environment::Busy { .. }
            | Environment::Draining { .. }
            | Environment::Gone => unreachable!("a released environment is idle or stopping"),
        }
        Ok(())
    }

    /// Decides about an environment that has just become idle.
    fn serve_or_rest(&mut self, row: Row<Pool>, id: EnvironmentId, now: Tick, out: &mut Vec<Effect>) {
        let pool = &mut self.pools[row];
        match pool.queue.pop_front() {
            Some(queued) => {
                self.queued.remove(&queued.call);
                self.assign(queued, id, now, out);
            }
            None if pool.retired || self.draining => self.stop(id, Transition::Stop, now, out),
            None if pool.prepared.contains(&id) => self.wait_prepared(row, now),
            None => self.rest(row, now),
        }
    }

    fn assign(&mut self, queued: Queued, id: EnvironmentId, now: Tick, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&id) else { unreachable!("an idle environment is a member") };
        let first = matches!(member.state, Environment::Idle { used: false, .. });
        let foreseen = first && member.origin == Origin::Foreseen;
        let prepared = first && member.origin == Origin::Prepared;
        let row = member.pool;
        let taken = self.change(id, Transition::Take(queued.call), now);
        assert!(taken.is_ok(), "only idle environments are assigned");
        let waited_us = now.since(queued.since);
        self.totals.calls += 1;
        let cold = first && waited_us > 0;
        self.totals.cold += u64::from(cold);
        self.totals.foreseen_used += u64::from(foreseen);
        self.totals.prepared_used += u64::from(prepared);
        if prepared {
            self.prepared_taken(row, now);
        }
        self.totals.waited += u64::from(waited_us > 0);
        out.push(Effect::Assign { call: queued.call, environment: id, waited_us, cold });
    }

    fn broken(&mut self, id: EnvironmentId, now: Tick, out: &mut Vec<Effect>) -> Result<(), Illegal> {
        let idle = matches!(self.environment(id), Some(Environment::Idle { .. }));
        self.change(id, Transition::Break, now)?;
        if idle {
            out.push(Effect::Stop(id));
        }
        Ok(())
    }

    fn ended(&mut self, id: EnvironmentId, now: Tick) -> Result<(), Illegal> {
        let unanswered = self.environment(id).and_then(Environment::call);
        if let Some(member) = self.members.get(&id)
            && !matches!(member.state, Environment::Stopping { .. })
        {
            let state = member.state;
            return Err(Illegal::Transition { id, state, transition: Transition::End });
        }
        let (row, _) = self.change(id, Transition::End, now)?;
        self.starts.finish(id);
        if unanswered.is_some() {
            self.left(row, now);
        }
        self.remove_pool_if_unused(row, now);
        Ok(())
    }

    fn provision(&mut self, demand: &Demand<'_>, count: u32, from: Tick, now: Tick) {
        let known = self.rows.get(demand.key).copied();
        if self.draining || demand.memory > self.limits.memory_max() || (known.is_none() && count == 0) {
            return;
        }
        let row = known.unwrap_or_else(|| {
            let function = self.admission.function(demand.key);
            self.add_pool(demand, function)
        });
        if self.pools[row].retired {
            return;
        }
        if from > now {
            self.pools[row].floor_later = Some((from, count));
            return self.arm(row, from);
        }
        self.set_floor(row, count);
        if count > 0 {
            self.starts.want(row, &mut self.pools[row]);
        }
        // What is now beyond the floor ends when its time comes, which may be already.
        self.arm(row, now);
        self.remove_pool_if_unused(row, now);
    }

    fn set_floor(&mut self, row: Row<Pool>, floor: u32) {
        let before = self.pools[row].floor;
        self.recount(row, |pool| pool.floor = floor);
        self.admission.set_floor(self.pools[row].function, before, floor);
    }

    /// Changes a pool's counts and keeps the sum of memory that can be had by ending what is idle.
    fn recount<T>(&mut self, row: Row<Pool>, change: impl FnOnce(&mut Pool) -> T) -> T {
        let pool = &mut self.pools[row];
        let one = pool.room();
        let before = pool.reclaimable() as u64;
        let told = change(pool);
        self.memory.idle -= one * before;
        self.memory.idle += one * pool.reclaimable() as u64;
        told
    }

    fn retire(&mut self, key: &VersionKey, now: Tick, out: &mut Vec<Effect>) {
        let mut rows: Vec<Row<Pool>> =
            self.rows.iter().filter(|(known, _)| known.same_revision(key)).map(|(_, row)| *row).collect();
        rows.sort_unstable_by_key(|row| row.number());
        for row in rows {
            self.retire_pool(row, now, out);
        }
    }

    fn retire_pool(&mut self, row: Row<Pool>, now: Tick, out: &mut Vec<Effect>) {
        self.set_floor(row, 0);
        self.pools[row].floor_later = None;
        self.pools[row].prepare = 0;
        self.pools[row].retired = true;
        self.detach(row, now);
        let pool = &self.pools[row];
        // Starts go on while a queued call may need them.
        let starts_needed = !pool.queue.is_empty();
        let ending: Vec<EnvironmentId> = (self.members.iter())
            .filter(|(_, member)| member.pool == row)
            .filter(|(_, member)| match member.state {
                Environment::Idle { .. } => true,
                Environment::Booting { .. } => !starts_needed,
                Environment::Busy { .. }
                | Environment::Draining { .. }
                | Environment::Stopping { .. }
                | Environment::Gone => false,
            })
            .map(|(&id, _)| id)
            .collect();
        for id in ending {
            self.stop(id, Transition::Stop, now, out);
        }
        self.remove_pool_if_unused(row, now);
    }

    fn drain(&mut self, how: Transition, now: Tick, out: &mut Vec<Effect>) {
        self.draining = true;
        self.forget_all();
        let rows: Vec<Row<Pool>> = self.pools.iter().map(|(row, _)| row).collect();
        for row in rows {
            self.set_floor(row, 0);
            self.pools[row].prepare = 0;
            let calls: Vec<Queued> = self.pools[row].queue.drain(..).collect();
            for queued in calls {
                self.refuse_queued(row, queued.call, Refusal::ShuttingDown, now, out);
            }
            self.remove_pool_if_unused(row, now);
        }
        let ids: Vec<EnvironmentId> = self.members.keys().copied().collect();
        for id in ids {
            self.stop(id, how, now, out);
        }
    }

    fn tick(&mut self, now: Tick, out: &mut Vec<Effect>) {
        self.wake = None;
        self.refuse_starved(now, out);
        self.look(now, out);
        let next = self.admission.forget_expired(now);
        self.wake_if(next);
        self.starts.expire_slots(&self.limits, now);
    }

    fn refuse_queued(
        &mut self,
        row: Row<Pool>,
        call: CallId,
        why: Refusal,
        now: Tick,
        out: &mut Vec<Effect>,
    ) {
        self.queued.remove(&call);
        self.left(row, now);
        out.push(Effect::Refuse { call, why });
    }

    /// Ends an environment now or after its call.
    fn stop(&mut self, id: EnvironmentId, how: Transition, now: Tick, out: &mut Vec<Effect>) {
        let Some(before) = self.environment(id) else { return };
        let Ok((_, after)) = self.change(id, how, now) else { return };
        let begins = |state| matches!(state, Environment::Stopping { .. });
        if begins(after) && !begins(before) {
            self.starts.finish(id);
            out.push(Effect::Stop(id));
        }
    }

    /// The only place where an environment's state changes: keeps every sum that derives from it.
    fn change(
        &mut self,
        id: EnvironmentId,
        transition: Transition,
        now: Tick,
    ) -> Result<(Row<Pool>, Environment), Illegal> {
        let member = self.members.get_mut(&id).ok_or(Illegal::UnknownEnvironment(id))?;
        let (row, before) = (member.pool, member.state);
        let after =
            before.on(transition, now).ok_or(Illegal::Transition { id, state: before, transition })?;
        member.state = after;
        let ahead = member.origin == Origin::Prepared;
        let unused =
            |state| matches!(state, Environment::Booting { .. } | Environment::Idle { used: false, .. });
        let waits = |state| ahead && matches!(state, Environment::Idle { used: false, .. });
        if after == Environment::Gone {
            self.members.remove(&id);
        }
        if ahead && unused(before) && !unused(after) {
            self.memory.prepared -= self.pools[row].room();
        }
        self.recount(row, |pool| {
            match before {
                Environment::Booting { .. } => {
                    pool.booting -= 1;
                    pool.foreseen.retain(|other| *other != id);
                    pool.preparing.retain(|other| *other != id);
                }
                Environment::Idle { .. } => pool.forget_idle(id),
                Environment::Busy { .. } | Environment::Draining { .. } => pool.busy -= 1,
                Environment::Stopping { .. } => pool.stopping -= 1,
                Environment::Gone => unreachable!("what is gone is no member"),
            }
            match after {
                Environment::Booting { .. } => pool.booting += 1,
                Environment::Idle { .. } if waits(after) => pool.prepared.push_back(id),
                Environment::Idle { .. } => pool.idle.push_back(id),
                Environment::Busy { .. } | Environment::Draining { .. } => pool.busy += 1,
                Environment::Stopping { .. } => pool.stopping += 1,
                Environment::Gone => {}
            }
        });
        let pool = &mut self.pools[row];
        let one = pool.room();
        match (before, after) {
            (Environment::Stopping { .. }, Environment::Stopping { .. }) => {}
            (_, Environment::Stopping { .. }) => self.memory.stopping += one,
            (Environment::Stopping { .. }, _) => self.memory.stopping -= one,
            (_, _) => {}
        }
        if after == Environment::Gone {
            self.memory.used -= one;
        }
        if pool.below_floor() > 0 || pool.below_prepared() > 0 {
            self.starts.want(row, pool);
        }
        Ok((row, after))
    }

    fn add_pool(&mut self, demand: &Demand<'_>, function: Row<admission::Function>) -> Row<Pool> {
        let keep = self.keep_of(demand);
        let row = self.pools.insert(Pool::new(demand.key.clone(), demand.memory, function, keep));
        self.rows.insert(demand.key.clone(), row);
        self.admission.pool_added(function);
        row
    }

    fn remove_pool_if_unused(&mut self, row: Row<Pool>, now: Tick) {
        if !self.pools[row].is_unused() {
            return;
        }
        self.starts.forget(row);
        self.disarm(row);
        self.detach(row, now);
        if let Some(pool) = self.pools.remove(row) {
            self.rows.remove(&pool.key);
            let known_until = self.admission.pool_removed(pool.function, &self.limits, now);
            self.wake_if(known_until);
        }
    }

    fn wake_if(&mut self, at: Option<Tick>) {
        if let Some(at) = at {
            self.wake_at(at);
        }
    }

    fn wake_at(&mut self, at: Tick) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
