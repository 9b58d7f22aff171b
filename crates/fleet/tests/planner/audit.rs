//! Keeps its own books from the events told to the planner and the effects that come back, and asserts after each
//! event what the planner promises.

use base::{AccountId, EnvironmentId, MemoryMib, RequestId, ThrottleReason, Version, VersionKey};
use fleet::{
    Environment, Illegal, KeepAlive, Limits, keepalive,
    planner::{CallId, Demand, Effect, Event, Planner, Refusal, Tick},
};
use std::collections::{BTreeMap, VecDeque};

/// A function of the test: its current revision and what its specification says.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) revision: u8,
    pub(crate) memory: u32,
    pub(crate) reserved: Option<u32>,
}

impl Function {
    pub(crate) fn key(&self) -> VersionKey {
        VersionKey {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: self.name.parse().unwrap(),
            version: Version::Latest,
            revision: RequestId::from_random([self.revision; 16]),
            tenant: None,
        }
    }
}

#[derive(Clone, Debug)]
struct Call {
    key: VersionKey,
    since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Booting { since: Tick },
    Idle { since: Tick },
    Busy { call: CallId },
    Stopping { call: Option<CallId> },
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) key: VersionKey,
    pub(crate) memory: u32,
    pub(crate) phase: Phase,
    pub(crate) served: u64,
    /// Whether its end was asked for.
    pub(crate) told: bool,
    /// Whether it ended by itself.
    pub(crate) broken: bool,
    /// Whether it was started ahead of a call that was expected.
    pub(crate) foreseen: bool,
}

/// How a call was answered without being run, or where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Runs(EnvironmentId),
    Refused(Refusal),
}

pub(crate) struct Audit {
    pub(crate) planner: Planner,
    pub(crate) limits: Limits,
    pub(crate) now: Tick,
    next_call: u64,
    queued: BTreeMap<CallId, Call>,
    running: BTreeMap<CallId, VersionKey>,
    pub(crate) machines: BTreeMap<EnvironmentId, Machine>,
    /// Idle machines of each pool, most recently used last.
    idle: BTreeMap<VersionKey, Vec<EnvironmentId>>,
    /// Newest reservation told for each function name that has a pool.
    reserved: BTreeMap<String, Option<u32>>,
    /// What all functions have reserved together, invoked or not.
    reserved_total: u32,
    retired: Vec<VersionKey>,
    /// Environments that are to be there without calls.
    floors: BTreeMap<VersionKey, u32>,
    /// Starts of each function.
    starts: BTreeMap<String, VecDeque<Tick>>,
    draining: bool,
    pub(crate) events: u64,
    pub(crate) calls: u64,
    pub(crate) cold: u64,
    pub(crate) wait_us_max: u64,
    /// Configured memory times time, in MB·µs.
    pub(crate) memory_us: u128,
    trace: VecDeque<String>,
}

impl Audit {
    pub(crate) fn new(limits: Limits) -> Audit {
        Audit {
            planner: Planner::new(limits.clone()),
            limits,
            now: Tick(0),
            next_call: 0,
            queued: BTreeMap::new(),
            running: BTreeMap::new(),
            machines: BTreeMap::new(),
            idle: BTreeMap::new(),
            reserved: BTreeMap::new(),
            reserved_total: 0,
            retired: Vec::new(),
            floors: BTreeMap::new(),
            starts: BTreeMap::new(),
            draining: false,
            events: 0,
            calls: 0,
            cold: 0,
            wait_us_max: 0,
            memory_us: 0,
            trace: VecDeque::new(),
        }
    }

    pub(crate) fn advance(&mut self, to: Tick) {
        assert!(to >= self.now, "time goes forward");
        let used: u32 = self.machines.values().map(|machine| machine.memory).sum();
        self.memory_us += u128::from(used) * u128::from(to.since(self.now));
        self.now = to;
    }

    pub(crate) fn queued(&self) -> impl Iterator<Item = CallId> {
        self.queued.keys().copied()
    }

    pub(crate) fn oldest_wait_us(&self) -> u64 {
        self.queued.values().map(|call| self.now.since(call.since)).max().unwrap_or(0)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        let none = self.queued.is_empty() && self.running.is_empty() && self.machines.is_empty();
        none && self.floors.is_empty()
    }

    /// Sets how many environments of `function` are to be there without calls.
    pub(crate) fn provision(&mut self, function: &Function, count: u32) -> Vec<Effect> {
        let key = function.key();
        let memory = MemoryMib(function.memory);
        let demand = Demand { key: &key, memory, reserved: function.reserved, keep_us: None };
        self.tell(Event::Provision { demand, count, from: Tick(0) })
    }

    fn floor(&self, key: &VersionKey) -> usize {
        self.floors.get(key).map_or(0, |count| *count as usize)
    }

    fn serving(&self, key: &VersionKey) -> usize {
        self.count(key, |phase| !matches!(phase, Phase::Stopping { .. }))
    }

    /// Asks for a call of `function`; returns it, and everything that the planner wants done.
    pub(crate) fn request(&mut self, function: &Function) -> (CallId, Vec<Effect>) {
        let call = CallId(self.next_call);
        self.next_call += 1;
        let key = function.key();
        let expected = self.expected(function, &key);
        self.queued.insert(call, Call { key: key.clone(), since: self.now });
        let demand = Demand {
            key: &key,
            memory: MemoryMib(function.memory),
            reserved: function.reserved,
            keep_us: None,
        };
        let effects = self.raw(Event::Request { call, demand });
        let own = effects.first().and_then(|effect| match *effect {
            Effect::Assign { call: own, environment, .. } if own == call => Some(Answer::Runs(environment)),
            Effect::Refuse { call: own, why } if own == call => Some(Answer::Refused(why)),
            Effect::Assign { .. } | Effect::Refuse { .. } | Effect::Launch { .. } | Effect::Stop(_) => None,
        });
        match expected {
            Expected::Exactly(answer) => {
                assert_eq!(own, answer, "request of {}\n{}", function.name, self.dump())
            }
            Expected::QueuedOrScaled => assert!(
                matches!(
                    own,
                    None | Some(Answer::Refused(Refusal::Throttled(
                        ThrottleReason::ConcurrentInvocationLimitExceeded
                    )))
                ),
                "{own:?}\n{}",
                self.dump()
            ),
        }
        self.reserved.insert(function.name.to_owned(), function.reserved);
        self.settle(Event::Request { call, demand }, &effects, None);
        (call, effects)
    }

    /// What a naive reading of the rules says about a request.
    fn expected(&self, function: &Function, key: &VersionKey) -> Expected {
        let refused = |why| Expected::Exactly(Some(Answer::Refused(why)));
        let throttled = |reason| refused(Refusal::Throttled(reason));
        if self.draining {
            return refused(Refusal::ShuttingDown);
        }
        if function.memory > self.limits.memory_max().0 {
            return refused(Refusal::NodeFull { wanted: MemoryMib(function.memory) });
        }
        // Whether a function's calls are among the unreserved is known of functions that have a pool.
        let planned = self.planned();
        let has_pool = |name: &String| {
            if planned.contains(name) {
                return true;
            }
            let keys = self.queued.values().map(|call| &call.key).chain(self.floors.keys());
            keys.chain(self.machines.values().map(|machine| &machine.key))
                .any(|key| key.name.as_str() == name)
        };
        let mut reservations = self.reserved.clone();
        reservations.retain(|name, _| has_pool(name));
        reservations.insert(function.name.to_owned(), function.reserved);
        let in_use = |wanted: &dyn Fn(&str) -> bool| {
            let count = self.in_flight().filter(|key| wanted(key.name.as_str())).count();
            u32::try_from(count).unwrap()
        };
        if let Some(reserved) = function.reserved {
            if in_use(&|name| name == function.name) >= reserved {
                return throttled(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded);
            }
        } else {
            let open = self.limits.account_concurrency.saturating_sub(self.reserved_total);
            let open = open.max(self.limits.unreserved_concurrency_min);
            let floor = |wanted: &str| -> u32 {
                self.floors
                    .iter()
                    .filter(|(key, _)| key.name.as_str() == wanted)
                    .map(|(_, count)| count)
                    .sum()
            };
            let names: std::collections::BTreeSet<&str> =
                self.in_flight().map(|key| key.name.as_str()).collect();
            let unreserved =
                names.into_iter().filter(|name| reservations.get(*name).copied().flatten().is_none());
            let taken: u32 =
                unreserved.map(|name| in_use(&|other| other == name).saturating_sub(floor(name))).sum();
            let own = in_use(&|name| name == function.name) < floor(function.name);
            if !own && taken >= open {
                return throttled(ThrottleReason::ConcurrentInvocationLimitExceeded);
            }
        }
        if in_use(&|_| true) >= self.limits.account_concurrency {
            return throttled(ThrottleReason::ConcurrentInvocationLimitExceeded);
        }
        match self.idle.get(key).and_then(|idle| idle.last()) {
            Some(&id) => Expected::Exactly(Some(Answer::Runs(id))),
            None => Expected::QueuedOrScaled,
        }
    }

    /// Functions for which something is to be started later.
    fn planned(&self) -> Vec<String> {
        let pools = self.planner.snapshot(self.now).pools;
        pools.iter().filter(|pool| pool.prestart.is_some()).map(|pool| pool.key.name.to_string()).collect()
    }

    /// Calls that count against concurrency: queued, or occupying an environment.
    fn in_flight(&self) -> impl Iterator<Item = &VersionKey> {
        self.queued.values().map(|call| &call.key).chain(self.running.values())
    }

    /// Tells the planner what the functions of the account have reserved together.
    pub(crate) fn reserve(&mut self, total: u32) {
        let region = "us-east-1".parse().unwrap();
        let effects = self.tell(Event::Reserve { account: AccountId::DEFAULT, region: &region, total });
        assert_eq!(effects, [], "a reservation concerns later calls");
    }

    /// Tells the planner any other event.
    pub(crate) fn tell(&mut self, event: Event<'_>) -> Vec<Effect> {
        let before = self.before(event);
        let effects = self.raw(event);
        self.settle(event, &effects, before);
        if let Event::Released { environment, reusable: true } = event {
            self.check_yield(environment);
        }
        effects
    }

    /// A released environment that does not serve its own queue makes room for a function that has none.
    fn check_yield(&self, id: EnvironmentId) {
        let own = &self.machines[&id].key;
        let waiting = self.queued.values().any(|call| call.key == *own);
        let drained = self.draining || self.machines[&id].broken;
        if !waiting || drained || !matches!(self.phase(id), Phase::Stopping { .. }) {
            return;
        }
        let starved = self.queued.values().any(|call| {
            let serving = |phase| !matches!(phase, Phase::Stopping { .. });
            self.now.since(call.since) >= self.limits.yield_after_us && self.count(&call.key, serving) == 0
        });
        assert!(starved, "an environment ended while its pool has a queue\n{}", self.dump());
    }

    /// Books the event itself, before the planner's reaction. Returns the call that must be served next, if binding
    /// is late.
    fn before(&mut self, event: Event<'_>) -> Option<(EnvironmentId, CallId)> {
        match event {
            Event::Request { .. } => unreachable!("requests have their own way"),
            Event::Cancelled(call) => {
                self.queued.remove(&call).expect("cancelled calls are queued");
                None
            }
            Event::Ready(id) => {
                if self.phase(id) == (Phase::Stopping { call: None }) {
                    return None;
                }
                self.rest(id);
                self.oldest(id)
            }
            Event::Released { environment: id, reusable } => match self.phase(id) {
                Phase::Busy { call } => {
                    self.running.remove(&call);
                    let draining = matches!(self.planner.environment(id), Some(Environment::Draining { .. }));
                    if !reusable || draining {
                        self.set(id, Phase::Stopping { call: None });
                        return None;
                    }
                    self.rest(id);
                    // An environment may have to make room for a starved function instead.
                    None
                }
                Phase::Stopping { call: Some(call) } => {
                    self.running.remove(&call);
                    self.set(id, Phase::Stopping { call: None });
                    None
                }
                other => panic!("released while {other:?}"),
            },
            Event::LaunchFailed { environment: id, .. } | Event::Ended(id) => {
                if let Phase::Stopping { call: Some(call) } = self.phase(id) {
                    self.running.remove(&call);
                }
                self.machines.remove(&id);
                None
            }
            Event::Broken(id) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.broken = true;
                }
                None
            }
            Event::Tick | Event::Expect { .. } => None,
            Event::Reserve { total, .. } => {
                self.reserved_total = total;
                None
            }
            Event::Provision { demand, count, .. } => {
                let possible = demand.memory <= self.limits.memory_max() && !self.draining;
                if possible && !self.retired.contains(demand.key) {
                    self.floors.insert(demand.key.clone(), count);
                    self.floors.retain(|_, count| *count > 0);
                    self.reserved.insert(demand.key.name.to_string(), demand.reserved);
                }
                None
            }
            Event::Prepare { .. } => unreachable!("has tests of its own"),
            Event::Retire(key) => {
                self.retired.push(key.clone());
                self.floors.remove(key);
                None
            }
            Event::Drain | Event::Kill => {
                self.draining = true;
                self.floors.clear();
                None
            }
        }
    }

    fn raw(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.events += 1;
        let mut effects = Vec::new();
        let told = self.planner.on(event, self.now, &mut effects);
        if self.trace.len() == 60 {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>12} {event:?} -> {effects:?}", self.now.0));
        assert_eq!(told, Ok::<(), Illegal>(()), "legal events are accepted\n{}", self.dump());
        effects
    }

    /// Books the effects and asserts every promise.
    fn settle(&mut self, event: Event<'_>, effects: &[Effect], must_serve: Option<(EnvironmentId, CallId)>) {
        if let Some((environment, call)) = must_serve {
            let served = effects.iter().any(|effect| {
                matches!(*effect, Effect::Assign { call: c, environment: e, .. } if (c, e) == (call, environment))
            });
            assert!(served, "{environment:?} serves the oldest call {call:?} of its pool\n{}", self.dump());
        }
        for effect in effects {
            self.book(event, *effect);
        }
        self.check_sums();
    }

    fn book(&mut self, event: Event<'_>, effect: Effect) {
        match effect {
            Effect::Assign { call, environment, waited_us, cold } => {
                let Some(queued) = self.queued.remove(&call) else {
                    panic!("{call:?} is answered once\n{}", self.dump())
                };
                let machine = &self.machines[&environment];
                assert!(matches!(machine.phase, Phase::Idle { .. }), "one call at a time\n{}", self.dump());
                assert_eq!(machine.key, queued.key, "calls run on their own version");
                assert_eq!(waited_us, self.now.since(queued.since));
                assert_eq!(
                    cold,
                    machine.served == 0 && waited_us > 0,
                    "the first is cold unless it waited for nothing"
                );
                let older =
                    self.queued.values().any(|other| other.key == queued.key && other.since < queued.since);
                assert!(!older, "the oldest call is served first\n{}", self.dump());
                self.unrest(environment);
                self.set(environment, Phase::Busy { call });
                self.running.insert(call, queued.key);
                self.calls += 1;
                self.cold += u64::from(cold);
                self.wait_us_max = self.wait_us_max.max(waited_us);
                if let Some(machine) = self.machines.get_mut(&environment) {
                    machine.served += 1;
                }
            }
            Effect::Refuse { call, why } => {
                let Some(queued) = self.queued.remove(&call) else {
                    panic!("{call:?} is answered once\n{}", self.dump())
                };
                let waited = self.now.since(queued.since);
                self.wait_us_max = self.wait_us_max.max(waited);
                if matches!(why, Refusal::NodeFull { .. }) && waited > 0 {
                    assert!(waited >= self.limits.full_wait_us_max, "refused too early\n{}", self.dump());
                }
            }
            Effect::Launch { environment, call, queued_us } => {
                let key = self.planner.key_of(environment).expect("a live environment").clone();
                let waiting = self.queued.values().filter(|call| call.key == key).count();
                match call {
                    Some(call) => {
                        let Some(queued) = self.queued.get(&call) else {
                            panic!("starts are for queued calls\n{}", self.dump())
                        };
                        assert_eq!(queued_us, self.now.since(queued.since));
                        assert_eq!(queued.key, key);
                        let idle = self.idle.get(&key).is_some_and(|idle| !idle.is_empty());
                        assert!(!idle, "a start beside an idle environment");
                    }
                    None if self.planner.is_foreseen(environment) => self.check_foreseen(event, &key),
                    None => {
                        let below = self.serving(&key) < self.floor(&key);
                        assert!(below, "a start that nobody needs\n{}", self.dump());
                    }
                }
                let foreseen = self.planner.is_foreseen(environment);
                let memory = self.memory_of(&key);
                self.starts.entry(key.name.to_string()).or_default().push_back(self.now);
                let phase = Phase::Booting { since: self.now };
                let machine = Machine {
                    key: key.clone(),
                    memory,
                    phase,
                    served: 0,
                    told: false,
                    broken: false,
                    foreseen,
                };
                assert!(self.machines.insert(environment, machine).is_none(), "ids are not reused");
                if foreseen {
                    return;
                }
                let booting = self.machines.values().filter(|machine| {
                    machine.key == key && !machine.foreseen && matches!(machine.phase, Phase::Booting { .. })
                });
                let booting = booting.count();
                let needed = waiting.max((self.floor(&key) + booting).saturating_sub(self.serving(&key)));
                assert!(booting <= needed, "a start that no queued call needs\n{}", self.dump());
            }
            Effect::Stop(id) => {
                let phase = self.phase(id);
                let after = match phase {
                    Phase::Idle { since } => {
                        self.check_end(event, id, since);
                        self.unrest(id);
                        None
                    }
                    Phase::Busy { call } => {
                        assert!(self.draining, "only the end of the node ends a running call");
                        Some(call)
                    }
                    Phase::Booting { .. } => {
                        let waiting = self.queued.values().any(|call| call.key == self.machines[&id].key);
                        let retired = self.retired.contains(&self.machines[&id].key);
                        let foreseen = self.machines[&id].foreseen;
                        assert!(
                            foreseen || retired || self.draining,
                            "a start is given up for others\n{}",
                            self.dump()
                        );
                        assert!(!waiting, "a start that is needed is not given up");
                        None
                    }
                    Phase::Stopping { call } => call,
                };
                self.set(id, Phase::Stopping { call: after });
                if let Some(machine) = self.machines.get_mut(&id) {
                    assert!(!machine.told, "an end is asked for once");
                    machine.told = true;
                }
            }
        }
    }

    /// An idle environment ends for one of these reasons only.
    fn check_end(&self, event: Event<'_>, id: EnvironmentId, since: Tick) {
        let machine = &self.machines[&id];
        let learned = self.limits.keep_alive == KeepAlive::Learned;
        let expired =
            matches!(event, Event::Tick) && (learned || self.now.since(since) >= self.limits.keep_us);
        let retired = self.retired.contains(&machine.key);
        let used: u32 = self.machines.values().map(|machine| machine.memory).sum();
        let room = self.queued.values().any(|call| {
            call.key != machine.key
                && (used + self.memory_of(&call.key) > self.limits.memory_max().0 || self.places_taken())
        });
        let reason =
            expired || retired || machine.broken || self.draining || room || self.wants_room(&machine.key);
        assert!(reason, "{id:?} ended without reason\n{}", self.dump());
        let forced = retired || machine.broken || self.draining;
        let spare = self.serving(&machine.key) > self.floor(&machine.key);
        assert!(forced || spare, "{id:?} belongs to the floor\n{}", self.dump());
    }

    /// A start ahead of calls is for a call that is expected now, of a revision that is not retired, takes nothing from
    /// anybody, and comes neither twice nor in numbers.
    fn check_foreseen(&self, event: Event<'_>, key: &VersionKey) {
        assert!(matches!(event, Event::Tick), "time brings it\n{}", self.dump());
        assert_eq!(self.limits.keep_alive, KeepAlive::Learned);
        assert!(!self.retired.contains(key) && !self.draining, "for nobody\n{}", self.dump());
        let snapshot = self.planner.snapshot(self.now);
        let pool = snapshot.pools.iter().find(|pool| pool.key == *key).expect("a pool that starts");
        let planned = pool.prestart.expect("it was planned");
        assert!(planned.in_us == 0 && planned.ends_in_us > Some(0), "{planned:?} at another time");
        assert!(self.serving(key) < planned.count.min(keepalive::AHEAD_MAX) as usize);
        assert!(!self.queued.values().any(|call| call.key == *key), "calls have starts of their own");
    }

    /// No environment is idle for longer than any policy allows, once time has been told.
    pub(crate) fn check_idle(&self) {
        let learned = self.limits.keep_alive == KeepAlive::Learned;
        let max = if learned { self.limits.keep_us.max(keepalive::KEEP_US_MAX) } else { self.limits.keep_us };
        for (id, machine) in &self.machines {
            if let Phase::Idle { since } = machine.phase {
                let needed = self.floor(&machine.key) > 0;
                assert!(needed || self.now.since(since) <= max, "{id:?} is kept\n{}", self.dump());
            }
        }
    }

    /// Whether the floor of another pool lacks memory.
    fn wants_room(&self, own: &VersionKey) -> bool {
        let used: u32 = self.machines.values().map(|machine| machine.memory).sum();
        self.floors.keys().filter(|key| *key != own).any(|key| {
            self.serving(key) < self.floor(key)
                && (used + self.memory_of(key) > self.limits.memory_max().0 || self.places_taken())
        })
    }

    fn places_taken(&self) -> bool {
        self.machines.len() >= self.limits.environments_max as usize
    }

    fn check_sums(&self) {
        let used: u32 = self.machines.values().map(|machine| machine.memory).sum();
        assert!(used <= self.limits.memory_max().0, "memory bound: {used}\n{}", self.dump());
        assert!(self.machines.len() <= self.limits.environments_max as usize, "places: {}", self.dump());
        let in_flight = self.queued.len() + self.running.len();
        assert!(
            in_flight <= self.limits.account_concurrency as usize,
            "account's concurrency\n{}",
            self.dump()
        );
        let young = self.machines.values().filter(|machine| match machine.phase {
            Phase::Booting { since } => self.now.since(since) < self.limits.start_slot_us_max,
            Phase::Idle { .. } | Phase::Busy { .. } | Phase::Stopping { .. } => false,
        });
        assert!(young.count() <= self.limits.starts_parallel as usize, "parallel starts\n{}", self.dump());
        let period = self.limits.scaling_period_us;
        for starts in self.starts.values() {
            let recent = starts.iter().rev().take_while(|at| self.now.since(**at) < period).count();
            let most = 2 * self.limits.scaling_starts as usize;
            assert!(recent <= most, "scaling rate: {recent} in one period\n{}", self.dump());
        }
        for (key, idle) in &self.idle {
            let waiting = self.queued.values().any(|call| call.key == *key);
            assert!(idle.is_empty() || !waiting, "a call waits beside an idle environment\n{}", self.dump());
        }
    }

    /// What the planner believes, against the books; slower, so not after every event.
    pub(crate) fn compare(&self) {
        let snapshot = self.planner.snapshot(self.now);
        let used: u32 = self.machines.values().map(|machine| machine.memory).sum();
        assert_eq!(snapshot.memory_used.0, used);
        let mut seen = 0;
        for pool in &snapshot.pools {
            let count = |wanted: fn(Phase) -> bool| self.count(&pool.key, wanted) as u32;
            assert_eq!(pool.idle, count(|phase| matches!(phase, Phase::Idle { .. })), "idle");
            assert_eq!(pool.busy, count(|phase| matches!(phase, Phase::Busy { .. })), "busy");
            assert_eq!(pool.starting, count(|phase| matches!(phase, Phase::Booting { .. })), "starting");
            assert_eq!(pool.stopping, count(|phase| matches!(phase, Phase::Stopping { .. })), "stopping");
            assert_eq!(
                pool.queued as usize,
                self.queued.values().filter(|call| call.key == pool.key).count()
            );
            seen += pool.idle + pool.busy + pool.starting + pool.stopping;
            let pressure = self.planner.pressure(&pool.key);
            let of_function = self.in_flight().filter(|key| key.name == pool.key.name).count();
            assert_eq!(pressure.function as usize, of_function, "function's pressure");
            assert_eq!(pressure.account as usize, self.in_flight().count(), "account's pressure");
        }
        assert_eq!(seen as usize, self.machines.len(), "every environment belongs to a pool");
        assert_eq!(self.planner.is_quiet(), self.is_quiet(), "everything returns to zero\n{}", self.dump());
    }

    fn memory_of(&self, key: &VersionKey) -> u32 {
        let snapshot = self.planner.snapshot(self.now);
        snapshot
            .pools
            .iter()
            .find(|pool| pool.key == *key)
            .map(|pool| pool.memory.0)
            .expect("a pool that starts")
    }

    fn count(&self, key: &VersionKey, wanted: impl Fn(Phase) -> bool) -> usize {
        self.machines.values().filter(|machine| machine.key == *key && wanted(machine.phase)).count()
    }

    fn phase(&self, id: EnvironmentId) -> Phase {
        match self.machines.get(&id) {
            Some(machine) => machine.phase,
            None => panic!("{id:?} is not alive\n{}", self.dump()),
        }
    }

    fn set(&mut self, id: EnvironmentId, phase: Phase) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.phase = phase;
        }
    }

    fn rest(&mut self, id: EnvironmentId) {
        self.set(id, Phase::Idle { since: self.now });
        self.idle.entry(self.machines[&id].key.clone()).or_default().push(id);
    }

    fn unrest(&mut self, id: EnvironmentId) {
        if let Some(idle) = self.idle.get_mut(&self.machines[&id].key) {
            idle.retain(|other| *other != id);
        }
    }

    fn oldest(&self, id: EnvironmentId) -> Option<(EnvironmentId, CallId)> {
        let key = &self.machines[&id].key;
        let calls = self.queued.iter().filter(|(_, call)| call.key == *key);
        calls.min_by_key(|(id, call)| (call.since, **id)).map(|(&call, _)| (id, call))
    }

    /// The last decisions, for a failure's message.
    pub(crate) fn dump(&self) -> String {
        let mut text = self.trace.iter().cloned().collect::<Vec<_>>().join("\n");
        text.push_str(&format!("\nqueued {:?}\nmachines {:#?}", self.queued, self.machines));
        text
    }
}

enum Expected {
    Exactly(Option<Answer>),
    /// No idle environment: it queues, or the scaling rate refuses it.
    QueuedOrScaled,
}
