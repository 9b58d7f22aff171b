//! Performs what the planner decides: an [`Execute`] over a [`Launch`].

mod keeper;
mod turn;
mod turns;

use crate::{
    Settings, Snapshot,
    environment::Environment as State,
    planner::{CallId, Demand, Effect, Event, Planner, ProvisionedUse, Refusal, Tick},
    snapshot::EnvironmentStatus,
};
use base::{
    AccountId, After, ByteCount, Environment, EnvironmentId, Execute, ExecuteError, Executed, FunctionSpec,
    Future, Habit, Habits, Initialization, Invocation, Launch, LaunchError, Meter, Micros, PrepareError,
    Pressure, Provisioned, ProvisionedCall, Region, Release, Timestamp, VersionKey,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot, watch},
    time::{Instant, timeout},
};
use turn::Turn;
use turns::Turns;

/// Runs invocations on environments that it starts and ends as needed.
///
/// A clone is another handle of the same fleet. When the last handle is dropped and no call runs, the environments
/// end by themselves; [`Fleet::drain`] waits for that.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

/// What the handles and the running calls share; environments' tasks and the timer hold it weakly.
struct Shared {
    core: Mutex<Core>,
    turns: Mutex<Turns>,
    launch: Arc<dyn Launch>,
    meter: Arc<dyn Meter>,
    settings: Settings,
    runtime: Handle,
    began: Instant,
    /// What [`Shared::began`] was by the wall clock.
    origin: Tick,
    /// Rung when the planner wants to be woken earlier than the timer expects, and when this is dropped.
    alarm: Arc<Notify>,
    /// Number of live environments, starting and ending ones included.
    population: watch::Sender<usize>,
}

/// Behind one lock that is held for microseconds: never across an `await` or a call into another crate.
struct Core {
    planner: Planner,
    effects: Vec<Effect>,
    /// Callers of queued calls.
    waiting: HashMap<CallId, Waiting>,
    live: HashMap<EnvironmentId, Live>,
    /// What is kept ready ahead of calls.
    floors: HashMap<VersionKey, Floor>,
    /// What waits initialised for its first call.
    prepared: HashMap<VersionKey, Prepared>,
    /// What environments of pools are started from ahead of calls that are expected.
    specs: HashMap<VersionKey, Arc<FunctionSpec>>,
    /// What [`Shared::population`] was last told.
    published: usize,
    next_call: u64,
    /// When the timer is set to ring.
    armed: Option<Tick>,
    /// Of the latest event.
    latest: Tick,
}

/// A caller in the queue.
struct Waiting {
    answer: oneshot::Sender<Answer>,
    spec: Arc<FunctionSpec>,
}

/// Provisioned concurrency of one version.
struct Floor {
    spec: Arc<FunctionSpec>,
    /// Why the last start ahead of calls failed, until one succeeds.
    failure: Option<String>,
}

/// A version with SnapStart.
struct Prepared {
    spec: Arc<FunctionSpec>,
    /// Who waits for the first environment.
    waiting: Vec<oneshot::Sender<Result<(), PrepareError>>>,
}

type Answer = Result<Grant, ExecuteError>;

/// An environment that is being started, is ready, or is being ended.
struct Live {
    /// Present once it is ready.
    handle: Option<Arc<dyn Environment>>,
    /// Tells its task to end it; taken when told.
    stop: Option<oneshot::Sender<()>>,
}

/// The right to run one call in one environment; gives the environment back if dropped unused.
struct Grant {
    shared: Arc<Shared>,
    environment: EnvironmentId,
    /// Taken when used.
    handle: Option<Arc<dyn Environment>>,
    waited: Micros,
    cold: bool,
    /// Where its version has provisioned concurrency.
    provisioned: Option<ProvisionedUse>,
}

/// What is left to do when the lock has been given back.
#[derive(Default)]
struct Later {
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    launches: Vec<keeper::Order>,
    stops: Vec<oneshot::Sender<()>>,
}

/// What a request leads to at once.
enum Admitted {
    Run(Grant),
    Queued(QueuedCall, oneshot::Receiver<Answer>),
    Refused(ExecuteError),
}

/// A caller's place in the queue; leaves it if dropped unanswered.
struct QueuedCall {
    shared: Arc<Shared>,
    call: CallId,
}

impl Fleet {
    /// A fleet without environments. `meter` learns of throttled calls. It is `now` by the wall clock, which is not asked again.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the environments' tasks and the timer run there.
    pub fn new(settings: Settings, launch: Arc<dyn Launch>, meter: Arc<dyn Meter>, now: Timestamp) -> Fleet {
        let began = Instant::now();
        let shared = Arc::new(Shared {
            turns: Mutex::new(Turns::new(
                settings.turns,
                settings.processors,
                settings.processor_time,
                began,
            )),
            core: Mutex::new(Core {
                planner: Planner::new(settings.limits.clone()),
                effects: Vec::new(),
                waiting: HashMap::new(),
                live: HashMap::new(),
                floors: HashMap::new(),
                prepared: HashMap::new(),
                specs: HashMap::new(),
                published: 0,
                next_call: 0,
                latest: Tick(0),
                armed: None,
            }),
            launch,
            meter,
            settings,
            runtime: Handle::current(),
            began,
            origin: Tick(u64::try_from(now.0).unwrap_or_default().saturating_mul(1_000)),
            alarm: Arc::new(Notify::new()),
            population: watch::Sender::new(0),
        });
        shared.runtime.spawn(ring(Arc::downgrade(&shared), Arc::clone(&shared.alarm)));
        Fleet { shared }
    }

    /// Ends the fleet's work: new and queued calls are refused, running ones may take up to `deadline`, then they
    /// are ended by force. Resolves with the number of environments that could not be ended within
    /// [`Settings::stop_max`] after that: zero, unless the sandbox fails. Cancel-safe: what was begun goes on.
    pub async fn drain(&self, deadline: Duration) -> usize {
        let mut population = self.shared.population.subscribe();
        self.shared.report(Event::Drain);
        if timeout(deadline, population.wait_for(|&live| live == 0)).await.is_err() {
            tracing::warn!(live = *population.borrow(), "calls did not end in time and are ended by force");
            self.shared.report(Event::Kill);
            let stop_max = self.shared.settings.stop_max.saturating_mul(2);
            // What is left is the result.
            let _ = timeout(stop_max, population.wait_for(|&live| live == 0)).await;
        }
        *population.borrow()
    }

    /// What the fleet is doing now.
    pub fn snapshot(&self) -> Snapshot {
        let mut members = Vec::new();
        let mut snapshot = {
            let core = self.shared.lock();
            let now = self.shared.now();
            let kept = core.planner.kept(now);
            for (id, state, key) in core.planner.environments() {
                let idle_us = match state {
                    State::Idle { since, .. } => Some(now.since(since)),
                    State::Busy { .. } | State::Draining { .. } => None,
                    State::Booting { .. } | State::Stopping { .. } | State::Gone => continue,
                };
                if let Some(handle) = core.live.get(&id).and_then(|live| live.handle.clone())
                    && let Some(&kept) = kept.get(&id)
                {
                    members.push((key.clone(), id, idle_us, kept, handle));
                }
            }
            core.planner.snapshot(now)
        };
        let mut pools: HashMap<_, _> =
            snapshot.pools.iter_mut().map(|pool| (pool.key.clone(), pool)).collect();
        for (key, id, idle_us, kept, handle) in members {
            let Some(pool) = pools.get_mut(&key) else { continue };
            let resident = ByteCount(handle.memory_bytes());
            pool.resident.0 += resident.0;
            let (busy, phases) = (idle_us.is_none(), handle.phases());
            pool.environments.push(EnvironmentStatus { id, busy, idle_us, kept, resident, phases });
        }
        let turns = self.shared.turns();
        snapshot.totals.turns_waited = turns.waited;
        snapshot.totals.turns_in_vain = turns.in_vain;
        snapshot
    }
}

impl Execute for Fleet {
    fn execute(
        &self,
        spec: Arc<FunctionSpec>,
        call: Invocation,
    ) -> Future<'static, Result<Executed, ExecuteError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let arrived = Instant::now();
            let (turn, begun) = shared.turn(arrived).await;
            let mut grant = match shared.request(&spec, begun) {
                Admitted::Run(grant) => grant,
                Admitted::Refused(error) => {
                    if let ExecuteError::Throttled(_) = error {
                        shared.meter.throttled(&spec.key, &call.invoked_arn);
                    }
                    return Err(error);
                }
                Admitted::Queued(place, answer) => {
                    let answer = answer.await;
                    drop(place);
                    // Unanswered only if the fleet itself is gone.
                    answer.unwrap_or(Err(ExecuteError::ShuttingDown))?
                }
            };
            let running = Running::begin(Arc::clone(&shared.meter), spec);
            drop(shared);
            grant.waited.0 += u64::try_from((begun - arrived).as_micros()).unwrap_or(u64::MAX);
            Ok(grant.run(call, running, turn).await)
        })
    }

    fn provision(&self, spec: Arc<FunctionSpec>, count: u32) {
        {
            let mut core = self.shared.lock();
            match count {
                0 => {
                    // Its environments may still be wanted ahead of calls that are expected.
                    if let Some(floor) = core.floors.remove(&spec.key) {
                        core.specs.insert(spec.key.clone(), floor.spec);
                    }
                }
                _ => {
                    core.floors
                        .entry(spec.key.clone())
                        .or_insert(Floor { spec: Arc::clone(&spec), failure: None })
                        .spec = Arc::clone(&spec)
                }
            }
        }
        self.shared.report(Event::Provision { demand: demand(&spec), count, from: Tick(0) });
    }

    fn provisioned(&self, key: &VersionKey) -> Provisioned {
        let core = self.shared.lock();
        let Some(floor) = core.floors.get(key) else { return Provisioned::default() };
        let (wanted, max) = (floor.spec.memory, self.shared.settings.limits.memory_max());
        let full = core.planner.starved(key) || wanted > max;
        let full = full.then(|| ExecuteError::NodeFull { wanted }.to_string());
        Provisioned { ready: core.planner.ready_of(key), failure: full.or_else(|| floor.failure.clone()) }
    }

    fn prepare(&self, spec: Arc<FunctionSpec>) -> Future<'static, Result<(), PrepareError>> {
        let (wanted, max) = (spec.memory, self.shared.settings.limits.memory_max());
        if wanted > max {
            let full = PrepareError::Node(ExecuteError::NodeFull { wanted }.to_string());
            return Box::pin(std::future::ready(Err(full)));
        }
        let (told, outcome) = oneshot::channel();
        let is_there = {
            let mut core = self.shared.lock();
            let is_there = core.planner.prepared_of(&spec.key) > 0;
            let known = core.prepared.entry(spec.key.clone());
            let known = known.or_insert_with(|| Prepared { spec: Arc::clone(&spec), waiting: Vec::new() });
            known.spec = Arc::clone(&spec);
            if !is_there {
                known.waiting.retain(|waiting| !waiting.is_closed());
                known.waiting.push(told);
            }
            is_there
        };
        let count = self.shared.settings.limits.prepared_per_version;
        self.shared.report(Event::Prepare { demand: demand(&spec), count, urgent: false });
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if is_there {
                return Ok(());
            }
            // Somebody does wait.
            if shared.lock().prepared.contains_key(&spec.key) {
                shared.report(Event::Prepare { demand: demand(&spec), count, urgent: true });
            }
            drop(shared);
            let gone = || PrepareError::Node("the version is gone, or the node ends".to_owned());
            outcome.await.unwrap_or_else(|_| Err(gone()))
        })
    }

    fn retire(&self, key: &VersionKey) {
        {
            let mut core = self.shared.lock();
            core.floors.retain(|known, _| !known.same_revision(key));
            core.prepared.retain(|known, _| !known.same_revision(key));
        }
        self.shared.report(Event::Retire(key));
    }

    fn reserve(&self, account: AccountId, region: &Region, total: u32) {
        self.shared.report(Event::Reserve { account, region, total });
    }

    fn pressure(&self, key: &VersionKey) -> Pressure {
        self.shared.lock().planner.pressure(key)
    }
}

impl Habits for Fleet {
    fn changed(&self, after: Option<u32>) -> (Vec<Habit>, Option<u32>) {
        self.shared.lock().planner.habits_changed(after)
    }

    fn kept(&self, habits: &[Habit]) {
        self.shared.lock().planner.habits_kept(habits);
    }

    fn recall(&self, habit: &Habit) -> bool {
        self.shared.lock().planner.recall(habit, self.shared.now())
    }

    fn expect(&self, spec: Arc<FunctionSpec>) {
        {
            let mut core = self.shared.lock();
            core.specs.insert(spec.key.clone(), Arc::clone(&spec));
        }
        self.shared.report(Event::Expect { demand: demand(&spec) });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic inside the lock is a broken assertion of the planner; the rest of the node lives on.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Tick {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Tick {
        self.origin.plus(u64::try_from((now - self.began).as_micros()).unwrap_or(u64::MAX))
    }

    fn request(self: &Arc<Self>, spec: &Arc<FunctionSpec>, now: Instant) -> Admitted {
        let demand = demand(spec);
        let mut later = Later::default();
        let mut core = self.lock();
        let call = CallId(core.next_call);
        core.next_call += 1;
        self.plan(&mut core, Event::Request { call, demand }, now);
        // The planner decides about the request itself first.
        let admitted = match core.effects.first().copied() {
            Some(Effect::Assign { call: own, environment, waited_us, cold }) if own == call => {
                core.effects.remove(0);
                match self.grant(&core, environment, waited_us, cold) {
                    Some(grant) => Admitted::Run(grant),
                    None => Admitted::Refused(ExecuteError::ShuttingDown),
                }
            }
            Some(Effect::Refuse { call: own, why }) if own == call => {
                core.effects.remove(0);
                Admitted::Refused(why.error(None))
            }
            _ => {
                let (answer, receiver) = oneshot::channel();
                core.waiting.insert(call, Waiting { answer, spec: Arc::clone(spec) });
                Admitted::Queued(QueuedCall { shared: Arc::clone(self), call }, receiver)
            }
        };
        self.perform(&mut core, None, &mut later);
        drop(core);
        self.finish(later);
        admitted
    }

    /// Tells the planner what has happened and performs what follows.
    fn report(self: &Arc<Self>, event: Event<'_>) {
        self.report_because(event, Instant::now(), None);
    }

    /// The same, with the failure that refused calls are to be told.
    fn report_because(self: &Arc<Self>, event: Event<'_>, now: Instant, cause: Option<&Arc<LaunchError>>) {
        let mut later = Later::default();
        let mut core = self.lock();
        self.plan(&mut core, event, now);
        self.perform(&mut core, cause, &mut later);
        drop(core);
        self.finish(later);
    }

    fn cancel(self: &Arc<Self>, call: CallId) {
        let mut later = Later::default();
        let mut core = self.lock();
        if core.waiting.remove(&call).is_some() {
            self.plan(&mut core, Event::Cancelled(call), Instant::now());
            self.perform(&mut core, None, &mut later);
        }
        drop(core);
        self.finish(later);
    }

    /// The start of an environment has failed, and nothing is left of it.
    fn launch_failed(self: &Arc<Self>, id: EnvironmentId, error: LaunchError) {
        let transient = match error {
            LaunchError::Sandbox(_) | LaunchError::Initialisation { .. } => true,
            LaunchError::RuntimeUnavailable { .. } | LaunchError::CodeMissing(_) => false,
        };
        {
            let mut core = self.lock();
            core.live.remove(&id);
            core.note(id, Some(&error));
        }
        let failed = Event::LaunchFailed { environment: id, transient };
        self.report_because(failed, Instant::now(), Some(&Arc::new(error)));
    }

    /// Nothing is left of an environment.
    fn ended(self: &Arc<Self>, id: EnvironmentId) {
        self.lock().live.remove(&id);
        self.report(Event::Ended(id));
        self.lock().forget_specs();
    }

    /// The task of an environment has died.
    fn lost(self: &Arc<Self>, id: EnvironmentId) {
        let state = {
            let mut core = self.lock();
            core.live.remove(&id);
            core.planner.environment(id)
        };
        tracing::error!(environment = id.0, ?state, "the task of an environment died");
        match state {
            Some(State::Booting { .. }) => {
                self.launch_failed(id, LaunchError::Sandbox("the start panicked".into()));
            }
            Some(State::Idle { .. } | State::Busy { .. } | State::Draining { .. }) => {
                self.report(Event::Broken(id))
            }
            Some(State::Stopping { .. }) => self.report(Event::Ended(id)),
            Some(State::Gone) | None => {}
        }
    }

    /// An environment is ready.
    fn ready(self: &Arc<Self>, id: EnvironmentId, handle: Arc<dyn Environment>) {
        {
            let mut core = self.lock();
            if let Some(live) = core.live.get_mut(&id) {
                live.handle = Some(handle);
            }
            core.note(id, None);
        }
        self.report(Event::Ready(id));
    }

    fn plan(&self, core: &mut Core, event: Event<'_>, now: Instant) {
        // Who asked the clock first need not have come first.
        let now = self.at(now).max(core.latest);
        core.latest = now;
        let Core { planner, effects, .. } = core;
        if let Err(illegal) = planner.on(event, now, effects) {
            tracing::error!(%illegal, "the fleet was told something impossible");
        }
        if let Some(wake) = planner.wake()
            && core.armed.is_none_or(|armed| wake < armed)
        {
            core.armed = Some(wake);
            self.alarm.notify_one();
        }
    }

    /// Turns effects into what is to do after the lock.
    fn perform(self: &Arc<Self>, core: &mut Core, cause: Option<&Arc<LaunchError>>, later: &mut Later) {
        while !core.effects.is_empty() {
            let (mut orphans, mut unknown) = (Vec::new(), Vec::new());
            for effect in std::mem::take(&mut core.effects) {
                match effect {
                    Effect::Assign { call, environment, waited_us, cold } => {
                        let Some(waiting) = core.waiting.remove(&call) else { continue };
                        let grant = self.grant(core, environment, waited_us, cold);
                        later.answers.push((waiting.answer, grant.ok_or(ExecuteError::ShuttingDown)));
                    }
                    Effect::Refuse { call, why } => {
                        let Some(waiting) = core.waiting.remove(&call) else { continue };
                        later.answers.push((waiting.answer, Err(why.error(cause))));
                    }
                    Effect::Launch { environment, call, queued_us } => {
                        let Some((spec, how)) = core.order_of(environment, call) else {
                            unknown.push(environment);
                            continue;
                        };
                        let (stop, stopped) = oneshot::channel();
                        core.live.insert(environment, Live { handle: None, stop: Some(stop) });
                        let queued = Micros(queued_us);
                        later.launches.push(keeper::Order { id: environment, spec, how, queued, stopped });
                    }
                    Effect::Stop(id) => match core.live.get_mut(&id).and_then(|live| live.stop.take()) {
                        Some(stop) if !stop.is_closed() => later.stops.push(stop),
                        // Its task is gone (it panicked): nobody else will report the end.
                        Some(_) | None => orphans.push(id),
                    },
                }
            }
            for id in orphans {
                core.live.remove(&id);
                self.plan(core, Event::Ended(id), Instant::now());
            }
            for environment in unknown {
                self.plan(core, Event::LaunchFailed { environment, transient: true }, Instant::now());
            }
        }
        if core.published != core.live.len() {
            core.published = core.live.len();
            self.population.send_replace(core.published);
        }
    }

    fn finish(self: &Arc<Self>, later: Later) {
        for order in later.launches {
            self.runtime.spawn(keeper::keep(Arc::downgrade(self), order, &self.launch, &self.settings));
        }
        for stop in later.stops {
            // Without receiver the environment's task is ending already.
            let _ = stop.send(());
        }
        for (sender, answer) in later.answers {
            // A caller that has left meanwhile drops the grant, which gives the environment back.
            let _ = sender.send(answer);
        }
    }

    fn grant(
        self: &Arc<Self>,
        core: &Core,
        environment: EnvironmentId,
        waited_us: u64,
        cold: bool,
    ) -> Option<Grant> {
        let handle = core.live.get(&environment).and_then(|live| live.handle.clone());
        debug_assert!(handle.is_some(), "assigned environments are ready");
        let shared = Arc::clone(self);
        handle.map(|handle| Grant {
            shared,
            environment,
            handle: Some(handle),
            waited: Micros(waited_us),
            cold,
            provisioned: core.planner.provisioned_use(environment, cold),
        })
    }
}

impl Core {
    /// What an environment is to be started from, and why.
    fn order_of(
        &mut self,
        id: EnvironmentId,
        call: Option<CallId>,
    ) -> Option<(Arc<FunctionSpec>, Initialization)> {
        match call {
            Some(call) => {
                let spec = &self.waiting.get(&call)?.spec;
                if !self.specs.contains_key(&spec.key) {
                    self.specs.insert(spec.key.clone(), Arc::clone(spec));
                }
                Some((Arc::clone(spec), Initialization::OnDemand))
            }
            None if self.planner.is_foreseen(id) => {
                let spec = self.specs.get(self.planner.key_of(id)?)?;
                Some((Arc::clone(spec), Initialization::Proactive))
            }
            None if self.planner.is_prepared(id) => {
                let prepared = self.prepared.get(self.planner.key_of(id)?)?;
                Some((Arc::clone(&prepared.spec), Initialization::SnapStart))
            }
            None => {
                let floor = self.floors.get(self.planner.key_of(id)?)?;
                Some((Arc::clone(&floor.spec), Initialization::Provisioned))
            }
        }
    }

    /// Drops what no pool can be started from any more, when that has become a large part.
    fn forget_specs(&mut self) {
        if self.specs.len() > 2 * self.planner.pools() + 16 {
            let planner = &self.planner;
            self.specs.retain(|key, _| planner.has_pool(key));
        }
    }

    /// How the last start of a pool that is kept ready went.
    fn note(&mut self, id: EnvironmentId, failure: Option<&LaunchError>) {
        let Some(key) = self.planner.key_of(id) else { return };
        if let Some(floor) = self.floors.get_mut(key) {
            floor.failure = failure.map(ToString::to_string);
        }
        if let Some(prepared) = self.prepared.get_mut(key).filter(|_| self.planner.is_prepared(id)) {
            let outcome = failure.map_or(Ok(()), |failure| Err(not_prepared(failure)));
            for waiting in prepared.waiting.drain(..) {
                // Nobody may wait any more.
                let _ = waiting.send(outcome.clone());
            }
        }
    }
}

fn not_prepared(failure: &LaunchError) -> PrepareError {
    match failure {
        LaunchError::Initialisation { reason, timed_out } => {
            PrepareError::Function { reason: reason.clone(), timed_out: *timed_out }
        }
        LaunchError::RuntimeUnavailable { .. } | LaunchError::CodeMissing(_) | LaunchError::Sandbox(_) => {
            PrepareError::Node(failure.to_string())
        }
    }
}

/// What an environment of `spec` needs.
fn demand(spec: &FunctionSpec) -> Demand<'_> {
    Demand {
        key: &spec.key,
        memory: spec.memory,
        reserved: spec.reserved_concurrency,
        keep_us: spec.idle_keep.map(|keep| u64::from(keep.0) * 1_000_000),
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The timer sees that it is not needed any more.
        self.alarm.notify_one();
    }
}

impl Grant {
    /// Runs `call`; from the first poll on, dropping this does not stop it.
    async fn run(mut self, mut call: Invocation, running: Running, turn: Option<Turn>) -> Executed {
        call.waited = self.waited;
        call.cold = self.cold;
        if let Some(ProvisionedUse { within, running: count, floor }) = self.provisioned {
            call.provisioned = within;
            running.meter.provisioned(ProvisionedCall {
                key: &running.spec.key,
                invoked_arn: &call.invoked_arn,
                within,
                running: count,
                provisioned: floor,
            });
        }
        let (shared, environment) = (Arc::clone(&self.shared), self.environment);
        let release = Release::new(move |after| {
            drop(running);
            let reusable = match after {
                After::Reusable => true,
                After::Gone(exit) => {
                    tracing::debug!(environment = environment.0, ?exit, "environment is not reused");
                    false
                }
            };
            let now = Instant::now();
            shared.report_because(Event::Released { environment, reusable }, now, None);
            if let Some(mut turn) = turn {
                turn.end(now);
            }
        });
        let Some(handle) = self.handle.take() else { unreachable!("a grant is used once") };
        drop(self);
        handle.invoke(call, release).await
    }
}

/// Metered as running for as long as it exists.
struct Running {
    meter: Arc<dyn Meter>,
    spec: Arc<FunctionSpec>,
}

impl Running {
    fn begin(meter: Arc<dyn Meter>, spec: Arc<FunctionSpec>) -> Running {
        meter.began(&spec.key, spec.reserved_concurrency.is_some());
        Running { meter, spec }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.meter.ended(&self.spec.key, self.spec.reserved_concurrency.is_some());
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.handle.is_some() {
            self.shared.report(Event::Released { environment: self.environment, reusable: true });
        }
    }
}

impl Drop for QueuedCall {
    fn drop(&mut self) {
        self.shared.cancel(self.call);
    }
}

/// Tells the planner when time has passed; ends with the fleet.
async fn ring(shared: Weak<Shared>, alarm: Arc<Notify>) {
    loop {
        let armed = {
            let Some(shared) = shared.upgrade() else { return };
            let mut core = shared.lock();
            core.armed = core.planner.wake();
            core.armed.map(|tick| shared.began + Duration::from_micros(tick.since(shared.origin)))
        };
        let due = async {
            match armed {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = alarm.notified() => continue,
            () = due => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.report(Event::Tick);
    }
}

impl Refusal {
    /// The error that the caller gets; `cause` is the failed start that was just reported.
    fn error(self, cause: Option<&Arc<LaunchError>>) -> ExecuteError {
        match self {
            Refusal::Throttled(reason) => ExecuteError::Throttled(reason),
            Refusal::NodeFull { wanted } => ExecuteError::NodeFull { wanted },
            Refusal::LaunchFailed => match cause {
                Some(cause) => ExecuteError::Launch(Arc::clone(cause)),
                None => unreachable!(
                    "only a failed start refuses calls so, and the driver reports it with its cause"
                ),
            },
            Refusal::ShuttingDown => ExecuteError::ShuttingDown,
        }
    }
}
