//! Idle environments: until when each is kept, and what is started ahead of calls.
//!
//! Each pool with something idle or planned has a place in the agenda: the moment at which it is next looked at. A pool
//! that is used meanwhile keeps its place, and is found to have nothing to do; so a busy function costs one look in each
//! window, not an entry per call.

use super::{
    Demand, Effect, Member, Origin, Planner, Tick,
    habits::Remembered,
    pool::{Keep, Pool},
    table::Row,
};
use crate::{
    KeepAlive,
    environment::{Environment, Transition},
    keepalive::{Advice, Expected, Why},
    snapshot::{Kept, Prestart},
};
use base::EnvironmentId;
use std::collections::{BTreeSet, HashMap};

/// When a start ahead of calls finds no room, it is tried again after a second, while its time lasts.
const ROOM_RETRY_US: u64 = 1_000_000;

/// Something that is looked at when its time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Pool(Row<Pool>),
    Habits(Row<Remembered>),
}

/// What is due when, earliest first.
#[derive(Debug, Default)]
pub(super) struct Agenda(pub(super) BTreeSet<(Tick, Due)>);

impl Agenda {
    pub(super) fn first(&self) -> Option<Tick> {
        self.0.first().map(|&(at, _)| at)
    }
}

/// What is to become of a pool's idle environments.
struct Verdict {
    /// So many end now.
    ending: usize,
    /// When the next may end.
    look: Option<Tick>,
}

impl Planner {
    /// How long environments of `demand` are kept.
    pub(super) fn keep_of(&self, demand: &Demand<'_>) -> Keep {
        match (demand.keep_us, self.limits.keep_alive) {
            (Some(keep_us), _) => Keep::Fixed(keep_us),
            (None, KeepAlive::Fixed) => Keep::Fixed(self.limits.keep_us),
            (None, KeepAlive::Learned) => Keep::Learned,
        }
    }

    /// A call has entered a pool.
    pub(super) fn arrived(&mut self, row: Row<Pool>, keep: Keep, now: Tick) {
        let pool = &mut self.pools[row];
        pool.in_use += 1;
        pool.expected = None;
        pool.keep = keep;
        match (keep, pool.history) {
            (Keep::Learned, None) => self.remember(row, now),
            (Keep::Fixed(_), Some(_)) => self.detach(row, now),
            (Keep::Learned, Some(_)) | (Keep::Fixed(_), None) => {}
        }
        let pool = &self.pools[row];
        if let Some(known) = pool.history {
            self.habits.known[known].history.arrived(pool.in_use, now, &self.limits.terms());
        }
    }

    /// A call that had entered a pool has ended, was refused later, or left the queue.
    pub(super) fn left(&mut self, row: Row<Pool>, now: Tick) {
        let pool = &mut self.pools[row];
        self.admission.leave(pool.function);
        if let Some(known) = pool.history {
            self.habits.known[known].history.left(pool.in_use, now);
        }
        pool.in_use -= 1;
    }

    /// Has a pool looked at not later than at `at`.
    pub(super) fn arm(&mut self, row: Row<Pool>, at: Tick) {
        let pool = &mut self.pools[row];
        if pool.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = pool.due.replace(at) {
            self.agenda.0.remove(&(due, Due::Pool(row)));
        }
        self.agenda.0.insert((at, Due::Pool(row)));
    }

    /// A pool is about to go.
    pub(super) fn disarm(&mut self, row: Row<Pool>) {
        if let Some(due) = self.pools[row].due.take() {
            self.agenda.0.remove(&(due, Due::Pool(row)));
        }
    }

    /// Looks at everything whose time has come.
    pub(super) fn look(&mut self, now: Tick, out: &mut Vec<Effect>) {
        while let Some(&(at, due)) = self.agenda.0.first()
            && at <= now
        {
            self.agenda.0.remove(&(at, due));
            match due {
                Due::Pool(row) => {
                    self.pools[row].due = None;
                    self.review(row, now, out);
                }
                Due::Habits(known) => self.forget(known, now),
            }
        }
    }

    /// An environment has become idle, and nobody waits for it: sees to it that the pool is looked at in time.
    pub(super) fn rest(&mut self, row: Row<Pool>, now: Tick) {
        let pool = &self.pools[row];
        let look_us = match (pool.history, pool.keep) {
            (None, Keep::Fixed(keep_us)) => keep_us,
            (None, Keep::Learned) => self.limits.keep_us,
            (Some(_), _) if pool.expected.is_some() => 0,
            (Some(known), _) => {
                let history = &self.habits.known[known].history;
                let calls = history.calls();
                // What is known changes ever less with each call.
                let still = (calls / 8).clamp(1, 32);
                if pool.judged.is_none_or(|judged| calls.wrapping_sub(judged) >= still) {
                    let advice = history.advise(pool.in_use + 1, now, now, &self.limits.terms());
                    let pool = &mut self.pools[row];
                    (pool.judged, pool.look_us) = (Some(calls), advice.keep_until.since(now));
                }
                self.pools[row].look_us
            }
        };
        self.arm(row, now.plus(look_us));
    }

    /// Ends what has been idle for long enough, plans and begins starts ahead of calls, and computes when to look again.
    pub(super) fn review(&mut self, row: Row<Pool>, now: Tick, out: &mut Vec<Effect>) {
        if let Some((at, floor)) = self.pools[row].floor_later
            && at <= now
        {
            self.pools[row].floor_later = None;
            self.set_floor(row, floor);
            if floor > 0 {
                self.starts.want(row, &mut self.pools[row]);
            }
        }
        let verdict = self.judge(row, now);
        for _ in 0..verdict.ending {
            let Some(&id) = self.pools[row].idle.front() else { break };
            self.totals.expired += 1;
            self.stop(id, Transition::Stop, now, out);
        }
        let ahead = self.look_ahead(row, now, out);
        let renewal = self.renew_prepared(row, now, out);
        let later = self.pools[row].floor_later.map(|(at, _)| at);
        for at in [verdict.look, ahead, renewal, later].into_iter().flatten() {
            self.arm(row, at.max(now.plus(1)));
        }
        self.remove_pool_if_unused(row, now);
    }

    fn judge(&self, row: Row<Pool>, now: Tick) -> Verdict {
        let pool = &self.pools[row];
        let mut verdict = Verdict { ending: 0, look: None };
        for (place, &id) in pool.idle.iter().enumerate() {
            let advice = self.advice(pool, place, id, now);
            if advice.keep_until <= now {
                verdict.ending += 1;
            } else {
                verdict.look = Some(verdict.look.map_or(advice.keep_until, |at| at.min(advice.keep_until)));
                if pool.history.is_none() {
                    // The rest of this pool was used later.
                    break;
                }
            }
        }
        verdict.ending = verdict.ending.min(pool.dispensable());
        verdict
    }

    /// About the idle environment at a place of its pool's list.
    fn advice(&self, pool: &Pool, place: usize, id: EnvironmentId, now: Tick) -> Advice {
        let (since, unused) = self.idle_since(id);
        let fixed = |keep_us: u64| {
            let why = Why::Setting { keep_us };
            Advice { keep_until: since.plus(keep_us), why, next: None }
        };
        let known = match (pool.history, pool.keep) {
            (Some(known), _) => known,
            (None, Keep::Fixed(keep_us)) => return fixed(keep_us),
            (None, Keep::Learned) => return fixed(self.limits.keep_us),
        };
        if let Some(Expected { until, why, .. }) = pool.expected
            && unused
        {
            return Advice { keep_until: until, why, next: None };
        }
        let level = pool.in_use + super::count(pool.idle.len() - place);
        let history = &self.habits.known[known].history;
        // One that was started ahead waits for what those before it waited for.
        let since = history.last_left(level).filter(|_| unused).unwrap_or(since);
        history.advise(level, since, now, &self.limits.terms())
    }

    /// Since when an environment has been idle, and whether it waits for the first of the calls for which it was started
    /// ahead.
    pub(super) fn idle_since(&self, id: EnvironmentId) -> (Tick, bool) {
        match self.members.get(&id) {
            Some(&Member { state: Environment::Idle { since, used }, origin, .. }) => {
                (since, origin == Origin::Foreseen && !used)
            }
            Some(_) | None => unreachable!("the idle list holds idle environments"),
        }
    }

    /// Plans the next start ahead of calls where nothing is there any more, and begins what is planned for now. Returns
    /// when to look again.
    fn look_ahead(&mut self, row: Row<Pool>, now: Tick, out: &mut Vec<Effect>) -> Option<Tick> {
        let pool = &self.pools[row];
        let known = pool.history?;
        if pool.floor > 0
            || pool.prepare > 0
            || pool.serving() > 0
            || pool.in_use > 0
            || pool.retired
            || self.draining
        {
            return None;
        }
        let planned = pool.expected.filter(|expected| now < expected.until);
        let expected = planned.or_else(|| {
            let history = &mut self.habits.known[known].history;
            let left = history.last_left(1)?;
            let next = history.advise(1, left, now, &self.limits.terms()).next;
            next.filter(|_| !history.skips())
        });
        self.pools[row].expected = expected;
        let expected = expected?;
        if now < expected.from {
            return Some(expected.from);
        }
        let wanted = self.habits.known[known].history.ahead();
        for _ in 0..wanted {
            if !self.has_room_ahead(row, now) {
                break;
            }
            self.begin(row, None, Origin::Foreseen, now, out);
        }
        let begun = self.pools[row].serving() > 0;
        Some(if begun { expected.until } else { now.plus(ROOM_RETRY_US).min(expected.until) })
    }

    /// Whether a start ahead of calls takes nothing from anybody: nobody waits for a start, and a slot, room and
    /// concurrency are free.
    fn has_room_ahead(&mut self, row: Row<Pool>, now: Tick) -> bool {
        self.starts.expire_slots(&self.limits, now);
        let pool = &self.pools[row];
        let function = pool.function;
        !self.anybody_waits()
            && self.starts.slots_used() < self.limits.starts_parallel
            && (self.memory.used + pool.room()).fits(self.room_max())
            && self.admission.starts_available(function, &self.limits, now) > 0
            && self.admission.has_room(function, super::count(pool.serving()), &self.limits)
    }

    /// Why each ready environment is there.
    pub(crate) fn kept(&self, now: Tick) -> HashMap<EnvironmentId, Kept> {
        let mut kept = HashMap::new();
        for (_, pool) in self.pools.iter() {
            let dispensable = pool.dispensable();
            for (place, &id) in pool.idle.iter().enumerate() {
                let waiting = || {
                    let advice = self.advice(pool, place, id, now);
                    let (_, prestarted) = self.idle_since(id);
                    Kept::Waiting { ends_in_us: advice.keep_until.since(now), why: advice.why, prestarted }
                };
                kept.insert(id, if place < dispensable { waiting() } else { Kept::Provisioned });
            }
            for &id in &pool.prepared {
                let (since, _) = self.idle_since(id);
                let renewed_in_us = since.plus(self.limits.prepared_us_max).since(now);
                kept.insert(id, Kept::Prepared { renewed_in_us });
            }
        }
        for (&id, member) in &self.members {
            match member.state {
                Environment::Busy { .. } if self.pools[member.pool].retired => kept.insert(id, Kept::Last),
                Environment::Draining { .. } => kept.insert(id, Kept::Last),
                Environment::Busy { .. } => kept.insert(id, Kept::Busy),
                Environment::Booting { .. }
                | Environment::Idle { .. }
                | Environment::Stopping { .. }
                | Environment::Gone => None,
            };
        }
        kept
    }

    /// What is planned for a pool.
    pub(super) fn prestart(&self, pool: &Pool, now: Tick) -> Option<Prestart> {
        let scheduled = pool.floor_later.map(|(at, count)| Prestart {
            in_us: at.since(now),
            ends_in_us: None,
            count,
            why: Why::Schedule,
        });
        let expected = pool.expected.zip(pool.history).map(|(expected, known)| Prestart {
            in_us: expected.from.since(now),
            ends_in_us: Some(expected.until.since(now)),
            count: self.habits.known[known].history.ahead(),
            why: expected.why,
        });
        expected.or(scheduled)
    }

    /// The idle environment with the largest product of memory and of the time until it will be used: the less is known
    /// of its function, the more the time for which it has been idle stands for that.
    pub(super) fn least_valuable(&self, now: Tick) -> Option<EnvironmentId> {
        let candidates = self.pools.iter().filter(|(_, pool)| pool.dispensable() > 0);
        let candidates = candidates.filter_map(|(_, pool)| {
            let &id = pool.idle.front()?;
            let (since, unused) = self.idle_since(id);
            let wait_us = match pool.history {
                Some(known) => {
                    let history = &self.habits.known[known].history;
                    let level = pool.in_use + super::count(pool.idle.len());
                    let since = history.last_left(level).filter(|_| unused).unwrap_or(since);
                    1.0 / history.rate(level, since, now)
                }
                None => (now.since(since) + 1) as f64,
            };
            Some((wait_us * f64::from(pool.memory.0), id))
        });
        let worst = candidates.max_by(|(one, a), (other, b)| one.total_cmp(other).then(b.cmp(a)));
        worst.map(|(_, id)| id)
    }
}
