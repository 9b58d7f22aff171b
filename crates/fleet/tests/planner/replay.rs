//! Replays a trace through the planner in virtual time, on a node with memory for everything, and adds up what a
//! keep-alive policy costs.

use crate::traces::{HOUR_US, Traced};
use base::{AccountId, EnvironmentId, MemoryMib, RequestId, Version, VersionKey};
use fleet::{
    KeepAlive, Limits,
    planner::{CallId, Demand, Effect, Event, Planner, Tick},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

/// What a policy did with a trace.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) cold: u64,
    /// Calls and cold starts of each function that was called.
    pub(crate) functions: Vec<(u64, u64)>,
    /// Memory of environments without a call, times time.
    pub(crate) idle_mib_us: u128,
    /// Starts, and those of them ahead of calls, and those that a call used.
    pub(crate) starts: (u64, u64, u64),
}

impl Outcome {
    /// Of all calls, in percent.
    pub(crate) fn cold_percent(&self) -> f64 {
        100.0 * self.cold as f64 / self.calls.max(1) as f64
    }

    /// The share of cold starts that so many percent of the functions do not exceed, in percent.
    pub(crate) fn cold_percentile(&self, percent: usize) -> f64 {
        let mut shares: Vec<f64> =
            self.functions.iter().map(|&(calls, cold)| 100.0 * cold as f64 / calls as f64).collect();
        shares.sort_unstable_by(f64::total_cmp);
        shares.get((shares.len() * percent / 100).min(shares.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    /// Mean of the functions' shares of cold starts, in percent.
    pub(crate) fn cold_percent_by_function(&self) -> f64 {
        let sum: f64 = self.functions.iter().map(|&(calls, cold)| 100.0 * cold as f64 / calls as f64).sum();
        sum / self.functions.len().max(1) as f64
    }

    pub(crate) fn idle_gib_hours(&self) -> f64 {
        self.idle_mib_us as f64 / 1024.0 / HOUR_US as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Call(usize, usize),
    Ready(EnvironmentId),
    Done(EnvironmentId),
    Ended(EnvironmentId),
    Tick,
}

struct World<'a> {
    trace: &'a [Traced],
    keys: Vec<VersionKey>,
    planner: Planner,
    agenda: BinaryHeap<Reverse<(Tick, Happening)>>,
    armed: Option<Tick>,
    /// Function of each environment, and since when it costs memory without a call.
    live: HashMap<EnvironmentId, (usize, Option<Tick>)>,
    functions: HashMap<VersionKey, usize>,
    /// Function of each call, and how long it runs.
    waiting: HashMap<CallId, (usize, u64)>,
    outcome: Outcome,
}

/// Keeps idle environments for a fixed time, or as is learned.
pub(crate) fn limits(keep_alive: KeepAlive, keep_us: u64) -> Limits {
    let mut limits = Limits::new(MemoryMib(u32::MAX / 2), 1_000);
    (limits.keep_alive, limits.keep_us) = (keep_alive, keep_us);
    (limits.account_concurrency, limits.scaling_starts) = (u32::MAX, u32::MAX);
    limits
}

/// What a policy does with a trace of so many hours.
pub(crate) fn replay(trace: &[Traced], hours: u64, limits: Limits) -> Outcome {
    let key = |number: usize| VersionKey {
        account: AccountId::DEFAULT,
        region: "us-east-1".parse().expect("a region"),
        name: format!("f{number}").parse().expect("a name"),
        version: Version::Latest,
        revision: RequestId::from_random([1; 16]),
        tenant: None,
    };
    let keys: Vec<VersionKey> = (0..trace.len()).map(key).collect();
    let mut world = World {
        trace,
        planner: Planner::new(limits),
        agenda: BinaryHeap::new(),
        armed: None,
        live: HashMap::new(),
        functions: keys.iter().cloned().zip(0..).collect(),
        keys,
        waiting: HashMap::new(),
        outcome: Outcome { functions: vec![(0, 0); trace.len()], ..Outcome::default() },
    };
    for (number, function) in trace.iter().enumerate() {
        if let Some(&(at, _)) = function.calls.first() {
            world.agenda.push(Reverse((Tick(at), Happening::Call(number, 0))));
        }
    }
    world.run(Tick(hours * HOUR_US))
}

impl World<'_> {
    fn run(mut self, end: Tick) -> Outcome {
        let mut effects = Vec::new();
        let mut number = 0;
        while let Some(Reverse((now, happening))) = self.agenda.pop() {
            if now >= end {
                break;
            }
            let keys = std::mem::take(&mut self.keys);
            let event = match happening {
                Happening::Call(function, at) => {
                    number += 1;
                    let call = CallId(number);
                    self.waiting.insert(call, (function, self.trace[function].calls[at].1));
                    if let Some(&(next, _)) = self.trace[function].calls.get(at + 1) {
                        self.agenda.push(Reverse((Tick(next), Happening::Call(function, at + 1))));
                    }
                    let memory = MemoryMib(self.trace[function].memory_mib);
                    let demand = Demand { key: &keys[function], memory, reserved: None, keep_us: None };
                    Event::Request { call, demand }
                }
                Happening::Ready(id) if self.planner.environment(id).is_none() => {
                    self.keys = keys;
                    continue;
                }
                Happening::Ready(id) => {
                    self.live.get_mut(&id).expect("it is alive").1.get_or_insert(now);
                    Event::Ready(id)
                }
                Happening::Done(environment) => {
                    self.live.get_mut(&environment).expect("it is alive").1 = Some(now);
                    Event::Released { environment, reusable: true }
                }
                Happening::Ended(id) => Event::Ended(id),
                Happening::Tick => {
                    // One that was armed before an earlier one changes nothing.
                    self.armed = self.armed.filter(|armed| *armed > now);
                    Event::Tick
                }
            };
            self.planner.on(event, now, &mut effects).expect("legal");
            self.keys = keys;
            for effect in effects.drain(..) {
                self.perform(effect, now);
            }
            if let Some(wake) = self.planner.wake()
                && self.armed.is_none_or(|armed| wake < armed)
            {
                self.armed = Some(wake);
                self.agenda.push(Reverse((wake.max(now), Happening::Tick)));
            }
        }
        self.finish(end)
    }

    fn perform(&mut self, effect: Effect, now: Tick) {
        match effect {
            Effect::Assign { call, environment, cold, .. } => {
                let (function, run_us) = self.waiting.remove(&call).expect("it waits");
                self.idle_ends(environment, now);
                self.outcome.calls += 1;
                self.outcome.cold += u64::from(cold);
                self.outcome.functions[function].0 += 1;
                self.outcome.functions[function].1 += u64::from(cold);
                self.agenda.push(Reverse((now.plus(run_us), Happening::Done(environment))));
            }
            Effect::Launch { environment, call, .. } => {
                let key = self.planner.key_of(environment).expect("it is alive");
                let function = self.functions[key];
                // A start ahead of calls costs memory from its beginning.
                self.live.insert(environment, (function, call.is_none().then_some(now)));
                let ready = now.plus(self.trace[function].launch_us);
                self.agenda.push(Reverse((ready, Happening::Ready(environment))));
            }
            Effect::Stop(environment) => {
                self.idle_ends(environment, now);
                self.agenda.push(Reverse((now, Happening::Ended(environment))));
            }
            Effect::Refuse { why, .. } => panic!("there is room for everything: {why:?}"),
        }
    }

    fn idle_ends(&mut self, environment: EnvironmentId, now: Tick) {
        let (function, since) = self.live.get_mut(&environment).expect("it is alive");
        if let Some(since) = since.take() {
            let mib = self.trace[*function].memory_mib;
            self.outcome.idle_mib_us += u128::from(mib) * u128::from(now.since(since));
        }
    }

    fn finish(mut self, end: Tick) -> Outcome {
        let alive: Vec<EnvironmentId> = self.planner.environments().map(|(id, ..)| id).collect();
        alive.into_iter().for_each(|id| self.idle_ends(id, end));
        let totals = self.planner.snapshot(end).totals;
        self.outcome.starts = (totals.starts, totals.foreseen, totals.foreseen_used);
        self.outcome.functions.retain(|(calls, _)| *calls > 0);
        self.outcome
    }
}
