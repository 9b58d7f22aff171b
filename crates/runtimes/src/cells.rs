//! Stem cells: sandboxes that wait for a function, each with a booted interpreter, which is frozen, or without a program.
//!
//! One with an interpreter is started with the command line of its function's normal start (that depends on the memory size) and a neutral
//! environment; it holds no secret and no user code. When it is chosen it is thawed and told its environment while the function's files
//! are attached to its sandbox; when they are, it is told where it works, and from there on it is a process as any other. In one
//! without a program, that of the function is executed. What a cell cannot become is started normally, as is whatever finds no cell: see [`crate::families::Waiting`] and
//! [`crate::process`].
//!
//! Where their runtime has a zygote, cells are forked from it, and end with it: what replaces a zygote replaces them.
//!
//! Nothing waits on an idle node: cells are made by [`Cells::run`] after the first start of their kind, one after the other
//! while nothing else is being started, as many as `demand.rs` says, and ended after [`Settings::idle`] without a start.

mod demand;

use crate::{
    families::{Plan, Waiting},
    frames::Frames,
    link::{Said, Signal},
    zygotes::{Keeper, Standing},
};
use base::{ByteCount, MemoryMib, Millis};
use demand::Demand;
use sandbox::{Attachment, CpuWeight, Sandbox, Sandboxes, Spec, Template, Zygote};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{sleep, timeout},
};

/// How many may wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most cells at once, of all kinds together; 0 turns them off. Default: eight per CPU, twice as many as are started at
    /// once, but no more than fit into a sixteenth of the machine's memory at 64 MiB each.
    pub max: u32,
    /// Cells of a kind end when none of that kind was started for so long. Default 600 s, as long as idle environments are
    /// kept: a function called more often is not started again, one called less often is not worth the memory.
    pub idle: Millis,
}

impl Default for Settings {
    fn default() -> Settings {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let fitting = machine_memory("MemTotal:").unwrap_or(0) / 16 / CELL_BYTES;
        let most = u64::try_from(cpus * 8).unwrap_or(u64::MAX).min(fitting);
        Settings { max: u32::try_from(most).unwrap_or(u32::MAX), idle: Millis(600_000) }
    }
}

/// What a cell takes at most, for [`Settings::max`]. A waiting Node.js measures 8 MB of its own; its program and libraries,
/// which all share, another 40.
const CELL_BYTES: u64 = 64 << 20;
/// No cell is made while less than this share of the machine's memory is available.
const AVAILABLE_SHARE: u64 = 8;
/// How long after the last start cells are made, so that they do not compete with a burst of starts.
const QUIET: Duration = Duration::from_millis(100);
/// Where there is no such pause, one is made after so long all the same, at [`FILLING`].
const LATE: Duration = Duration::from_secs(1);
/// Share of CPU time of a cell that is being made.
const FILLING: CpuWeight = CpuWeight::new(10);
/// Longest boot.
const BOOT_MAX: Duration = Duration::from_secs(20);
/// What one that has said that it waits may take to come to rest, before it is frozen: what is left of its work would be part of
/// the start.
const REST: Duration = Duration::from_millis(5);
/// Pause after one could not be made.
const RETRY: Duration = Duration::from_secs(30);
/// Pause while the zygote is being loaded that they are to be forked from.
const LOADING: Duration = Duration::from_millis(100);
/// How long a chosen cell may take to answer before another way is tried.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Cells that can stand in for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    /// Where the plan is, which its cells keep alive.
    plan: usize,
    memory: MemoryMib,
}

/// What a start wants a cell for.
pub(crate) struct Wanted<'a> {
    pub(crate) runtime: &'a str,
    pub(crate) plan: &'a Arc<Plan>,
    pub(crate) template: &'a Template,
    pub(crate) memory: MemoryMib,
    pub(crate) attachments: &'a [Attachment],
    pub(crate) folder: &'a Path,
    pub(crate) env: &'a [(OsString, OsString)],
    pub(crate) keeper: Option<&'a Arc<Keeper>>,
    /// The runtime's zygote, where a fork of it does.
    pub(crate) zygote: Option<&'a Arc<Zygote>>,
}

impl Wanted<'_> {
    fn kind(&self) -> Kind {
        Kind { plan: Arc::as_ptr(self.plan) as usize, memory: self.memory }
    }
}

/// A cell that is a function's from now on.
pub(crate) enum Begun {
    /// Its process.
    Booted(Booted),
    /// A sandbox, in which the program is to be executed.
    Empty(Sandbox),
}

/// An interpreter that was told its function.
pub(crate) struct Booted {
    pub(crate) sandbox: Sandbox,
    pub(crate) frames: Frames,
    /// When its files were attached.
    pub(crate) attached: Instant,
    /// When it was about to load user code.
    pub(crate) booted: Instant,
}

/// The cells of a node.
pub(crate) struct Cells {
    settings: Settings,
    sandboxes: Sandboxes,
    endpoint: String,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    pools: HashMap<Kind, Pool>,
    /// Starts of any environment under way.
    starting: u32,
    /// When the last of them ended.
    quiet_since: Option<Instant>,
    /// Since when there are too few, or when one was made since.
    short_since: Option<Instant>,
    counts: Counts,
    /// While [`Cells::run`] runs.
    open: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    made: u64,
    used: u64,
    missed: u64,
    lost: u64,
}

struct Pool {
    runtime: String,
    plan: Arc<Plan>,
    template: Template,
    keeper: Option<Arc<Keeper>>,
    demand: Demand,
    ready: Vec<Cell>,
    filling: bool,
    /// None are made before.
    not_before: Option<Instant>,
}

/// One that waits.
struct Cell {
    sandbox: Sandbox,
    /// The channel to its interpreter, if it has one.
    frames: Option<Frames>,
    /// What it was forked from, if it was.
    zygote: Option<Weak<Zygote>>,
    /// Looks out for its end.
    _watch: Watch,
}

impl Cell {
    /// Whether it is of no use any more.
    fn is_over(&self) -> bool {
        self.sandbox.has_ended() || self.zygote.as_ref().is_some_and(|zygote| zygote.strong_count() == 0)
    }

    fn suits(&self, wanted: &Wanted<'_>) -> bool {
        let is_of =
            |own: &Weak<Zygote>| wanted.zygote.is_some_and(|zygote| own.as_ptr() == Arc::as_ptr(zygote));
        self.zygote.as_ref().is_none_or(is_of)
    }
}

/// A task that ends with it.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The cells of now, and what became of those before.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Kinds of which there are some, or soon will be.
    pub kinds: Vec<KindSnapshot>,
    /// Cells made since the node began.
    pub made: u64,
    /// Of these, those that became a function's process.
    pub used: u64,
    /// Starts that found no cell and could have used one.
    pub missed: u64,
    /// Cells that ended while they waited, or did not answer when they were chosen.
    pub lost: u64,
}

/// Cells that can stand in for each other.
#[derive(Clone, Debug)]
pub struct KindSnapshot {
    /// Runtime identifier.
    pub runtime: String,
    /// Memory size of the functions that they can become.
    pub memory: MemoryMib,
    /// Waiting.
    pub ready: u32,
    /// Booting.
    pub starting: u32,
    /// Memory in use by those waiting.
    pub resident: ByteCount,
}

/// A start under way.
pub(crate) struct Starting<'a>(&'a Cells);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.starting = state.starting.saturating_sub(1);
        state.quiet_since = Some(Instant::now());
        let wake = !state.pools.is_empty();
        drop(state);
        if wake {
            self.0.wake.notify_one();
        }
    }
}

/// What [`Cells::run`] does next.
enum Next {
    Fill(Kind),
    End(Vec<Cell>),
    Wait(Option<Instant>),
}

impl Cells {
    pub(crate) fn new(settings: Settings, sandboxes: Sandboxes, endpoint: String) -> Cells {
        Cells { settings, sandboxes, endpoint, state: Mutex::default(), wake: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that an environment is being started, until dropped: no cell is made meanwhile.
    pub(crate) fn starting(&self) -> Starting<'_> {
        self.lock().starting += 1;
        Starting(self)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let Counts { made, used, missed, lost } = state.counts;
        let resident = |cell: &Cell| cell.sandbox.memory_now().map_or(0, |bytes| bytes.0);
        let mut kinds: Vec<KindSnapshot> = state
            .pools
            .iter()
            .map(|(kind, pool)| KindSnapshot {
                runtime: pool.runtime.clone(),
                memory: kind.memory,
                ready: u32::try_from(pool.ready.len()).unwrap_or(u32::MAX),
                starting: pool.filling.into(),
                resident: ByteCount(pool.ready.iter().map(resident).sum()),
            })
            .filter(|kind| kind.ready + kind.starting > 0)
            .collect();
        kinds.sort_by(|one, other| (&one.runtime, one.memory).cmp(&(&other.runtime, other.memory)));
        Snapshot { kinds, made, used, missed, lost }
    }

    /// Gives a function a cell. `None` where none is ready; one that does not answer is ended, and counts as none.
    pub(crate) async fn begin(&self, wanted: &Wanted<'_>) -> Option<Begun> {
        self.demand(wanted);
        while let Some(Cell { sandbox, frames, .. }) = self.take(wanted) {
            let begun = match frames {
                None => Ok(Begun::Empty(sandbox)),
                Some(frames) => choose(sandbox, frames, wanted).await.map(Begun::Booted),
            };
            match begun {
                Ok(begun) => {
                    self.lock().counts.used += 1;
                    return Some(begun);
                }
                Err(reason) => self.lost(wanted.runtime, &reason),
            }
        }
        None
    }

    /// Notes that a cell was of no use.
    pub(crate) fn lost(&self, runtime: &str, reason: &str) {
        tracing::warn!(runtime, reason, "a stem cell was lost");
        self.lock().counts.lost += 1;
    }

    /// Remembers that something is started.
    fn demand(&self, wanted: &Wanted<'_>) {
        let mut state = self.lock();
        if !state.open {
            return;
        }
        let pool = state.pools.entry(wanted.kind()).or_insert_with(|| Pool {
            runtime: wanted.runtime.to_owned(),
            plan: wanted.plan.clone(),
            template: wanted.template.clone(),
            keeper: wanted.keeper.cloned(),
            demand: Demand::default(),
            ready: Vec::new(),
            filling: false,
            not_before: None,
        });
        pool.demand.started(Instant::now(), self.settings.max);
    }

    /// A cell that is ready.
    fn take(&self, wanted: &Wanted<'_>) -> Option<Cell> {
        let mut state = self.lock();
        let cell = state.pools.get_mut(&wanted.kind()).and_then(|pool| {
            let last = pool.ready.iter().rposition(|cell| cell.suits(wanted))?;
            Some(pool.ready.remove(last))
        });
        state.counts.missed += u64::from(state.open && cell.is_none());
        cell
    }

    /// Makes and ends cells until `stop`, then ends them all.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) {
        if self.settings.max == 0 {
            return stop.await;
        }
        self.lock().open = true;
        tokio::select! {
            () = stop => {}
            () = self.keep() => {}
        }
        let pools = {
            let mut state = self.lock();
            state.open = false;
            std::mem::take(&mut state.pools)
        };
        end(pools.into_values().flat_map(|mut pool| std::mem::take(&mut pool.ready))).await;
    }

    async fn keep(&self) {
        loop {
            match self.next(Instant::now()) {
                Next::Fill(kind) => self.fill(kind).await,
                Next::End(cells) => end(cells).await,
                Next::Wait(until) => {
                    let slept = async {
                        match until {
                            Some(until) => tokio::time::sleep_until(until.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! { () = self.wake.notified() => {}, () = slept => {} }
                }
            }
        }
    }

    fn next(&self, now: Instant) -> Next {
        let mut state = self.lock();
        let mut over = Vec::new();
        for pool in state.pools.values_mut() {
            // In place of those that have ended others are made.
            let (ended, ready) = pool.ready.drain(..).partition(Cell::is_over);
            pool.ready = ready;
            over.extend::<Vec<Cell>>(ended);
        }
        state.counts.lost += over.len() as u64;
        let shares = self.shares(&mut state, now);
        for (kind, wanted) in &shares {
            let Some(pool) = state.pools.get_mut(kind) else { continue };
            if pool.ready.len() > *wanted {
                over.extend(pool.ready.split_off(*wanted));
            }
        }
        state.pools.retain(|kind, pool| {
            pool.filling
                || !pool.ready.is_empty()
                || shares.iter().any(|(one, wanted)| one == kind && *wanted > 0)
        });
        if !over.is_empty() {
            return Next::End(over);
        }
        self.fill_or_wait(&mut state, &shares, now)
    }

    /// How many of each kind are wanted, those started last first, together at most [`Settings::max`].
    fn shares(&self, state: &mut State, now: Instant) -> Vec<(Kind, usize)> {
        let idle = self.settings.idle.duration();
        let mut demands: Vec<(Option<Instant>, Kind, u32)> = state
            .pools
            .iter_mut()
            .map(|(kind, pool)| (pool.demand.last(), *kind, pool.demand.wanted(now, idle)))
            .collect();
        demands.sort_unstable_by(|one, other| other.cmp(one));
        let mut left = self.settings.max;
        let mut share = |wanted: u32| {
            let given = wanted.min(left);
            left -= given;
            given as usize
        };
        demands.into_iter().map(|(_, kind, wanted)| (kind, share(wanted))).collect()
    }

    /// What to do where there is nothing too much.
    fn fill_or_wait(&self, state: &mut State, shares: &[(Kind, usize)], now: Instant) -> Next {
        let idle = self.settings.idle.duration();
        let mut wake = state.pools.values().filter_map(|pool| pool.demand.changes(idle)).min();
        let mut until = |instant: Instant| wake = Some(wake.map_or(instant, |wake| wake.min(instant)));
        let missing = shares.iter().find_map(|(kind, wanted)| {
            let pool = state.pools.get(kind)?;
            if pool.ready.len() >= *wanted {
                return None;
            }
            match pool.not_before.filter(|not_before| now < *not_before) {
                Some(not_before) => {
                    until(not_before);
                    None
                }
                None => Some(*kind),
            }
        });
        let Some(kind) = missing else {
            state.short_since = None;
            return Next::Wait(wake);
        };
        let late = *state.short_since.get_or_insert(now) + LATE;
        let quiet = state.quiet_since.filter(|_| state.starting == 0).map(|since| since + QUIET);
        let when = quiet.map_or(late, |quiet| quiet.min(late));
        if when > now {
            until(when);
            return Next::Wait(wake);
        }
        Next::Fill(kind)
    }

    /// Makes one cell.
    async fn fill(&self, kind: Kind) {
        let (runtime, plan, template, zygote) = {
            let mut state = self.lock();
            let Some(pool) = state.pools.get_mut(&kind) else { return };
            let zygote = match pool.keeper.as_ref().map(Keeper::state) {
                Some(Standing::Ready(zygote)) => Some(zygote),
                Some(Standing::Loading) => {
                    pool.not_before = Some(Instant::now() + LOADING);
                    return;
                }
                Some(Standing::None) | None => None,
            };
            pool.filling = true;
            (pool.runtime.clone(), pool.plan.clone(), pool.template.clone(), zygote)
        };
        let made = if memory_is_short() {
            Err("the machine's memory is short".to_owned())
        } else {
            timeout(BOOT_MAX, self.make(&plan, template, kind.memory, zygote))
                .await
                .unwrap_or_else(|_| Err("it did not boot in time".to_owned()))
        };
        let now = Instant::now();
        let mut state = self.lock();
        state.short_since = Some(now);
        state.counts.made += u64::from(made.is_ok());
        let Some(pool) = state.pools.get_mut(&kind) else { return };
        pool.filling = false;
        match made {
            Ok(cell) => pool.ready.push(cell),
            Err(reason) => {
                tracing::warn!(runtime, reason, "no stem cell could be made: starts take the normal way");
                pool.not_before = Some(now + RETRY);
            }
        }
    }

    async fn make(
        &self,
        plan: &Plan,
        template: Template,
        memory: MemoryMib,
        zygote: Option<Arc<Zygote>>,
    ) -> Result<Cell, String> {
        let booted = matches!(plan.waiting, Some(Waiting::Booted { .. }));
        let mut spec = Spec::waiting(template);
        spec.memory = memory;
        spec.processes = base::limits::PROCESSES_MAX;
        spec.descriptors = u32::try_from(base::limits::DESCRIPTORS_MAX).unwrap_or(u32::MAX);
        let mut frames = None;
        if booted {
            let (ours, theirs) =
                Frames::pair(crate::failure::RESPONSE_MAX).map_err(|error| error.to_string())?;
            spec.waiting = false;
            spec.argv = plan.command(memory, &BTreeMap::new());
            spec.cwd = sandbox::TASK.into();
            spec.env = crate::variables::neutral(&self.endpoint, &plan.variables);
            spec.cpu_weight = FILLING;
            spec.zygote.clone_from(&zygote);
            (frames, spec.channel) = (Some(ours), Some(theirs));
        }
        let sandbox = self.sandboxes.spawn(spec).await.map_err(|error| error.to_string())?;
        if let Some(frames) = &mut frames {
            match frames.next().await {
                Signal::Said(Said::Waiting) => {}
                Signal::Said(_) | Signal::Closed | Signal::Broken(_) => {
                    return Err("it ended, or does not wait".to_owned());
                }
            }
            sleep(REST).await;
            let at_rest = sandbox.freeze().and_then(|()| sandbox.set_cpu(CpuWeight::MAX, None));
            at_rest.map_err(|error| error.to_string())?;
        }
        let (ended, wake) = (sandbox.ended(), self.wake.clone());
        let watch = tokio::spawn(async move {
            ended.await;
            wake.notify_one();
        });
        let zygote = zygote.filter(|_| sandbox.is_forked()).map(|zygote| Arc::downgrade(&zygote));
        Ok(Cell { sandbox, frames, zygote, _watch: Watch(watch.abort_handle()) })
    }
}

/// Turns this cell into the process of a function.
async fn choose(sandbox: Sandbox, mut frames: Frames, wanted: &Wanted<'_>) -> Result<Booted, String> {
    // It comes to itself and takes its environment, which takes longer, while its files are attached: it touches none before it
    // is told.
    let told = async {
        sandbox.thaw().map_err(|error| error.to_string())?;
        frames.begin(wanted.env).await.map_err(|error| error.to_string())
    };
    let (told, attached) = tokio::join!(told, sandbox.attach(wanted.attachments));
    attached.map_err(|error| error.to_string()).and(told)?;
    let attached = Instant::now();
    let answered = async {
        frames.attached(wanted.folder).await.map_err(|error| error.to_string())?;
        match frames.next().await {
            Signal::Said(Said::Booted) => Ok(()),
            Signal::Said(_) | Signal::Closed | Signal::Broken(_) => Err("it had ended".to_owned()),
        }
    };
    timeout(ANSWER_MAX, answered).await.unwrap_or_else(|_| Err("it did not answer".to_owned()))?;
    Ok(Booted { sandbox, frames, attached, booted: Instant::now() })
}

async fn end(cells: impl IntoIterator<Item = Cell>) {
    for cell in cells {
        cell.sandbox.kill().await;
    }
}

fn memory_is_short() -> bool {
    let (Some(available), Some(total)) = (machine_memory("MemAvailable:"), machine_memory("MemTotal:"))
    else {
        return false;
    };
    available < total / AVAILABLE_SHARE
}

/// Bytes that `/proc/meminfo` has in the line of that name.
fn machine_memory(name: &str) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        table.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok())?;
    Some(kib * 1024)
}
