//! Zygotes of managed runtimes: when one runs, which starts are its, and everything that ends it.
//!
//! `Absent → Loading → Ready → Absent`. It is loaded in the background when an environment of its runtime is first started;
//! starts that find it absent or loading execute the interpreter. It ends when
//! - no start used it for [`crate::Settings::zygote_idle`] ([`Why::Idle`]);
//! - its process ends ([`Why::Crash`]) or a start by it fails ([`Why::Failure`]): it is loaded again, later and later if that
//!   repeats;
//! - its own memory has grown by [`GROWTH_MAX`] ([`Why::Growth`]), or the interpreter or its standard library were replaced on
//!   the host ([`Why::Update`]): it is loaded again;
//! - another release of the runtime's library is installed, whose template has a zygote of its own ([`Why::Replaced`]);
//! - the node ends, in whatever way: it is a child of the spawner's.
//!
//! A change of a function's code ends no zygote, since none holds code.

use crate::{families::Plan, variables};
use base::ByteCount;
use sandbox::{Sandbox, Sandboxes, Template, Zygote, ZygoteSpec};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{task::AbortHandle, time::Instant};

/// How far the memory that is a zygote's alone may grow after it is loaded: it forks and forgets.
const GROWTH_MAX: ByteCount = ByteCount(8 << 20);
/// Longest time between looks at its memory and idleness; else a tenth of how long it may idle.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);
/// A zygote that has lived for so long was no failure.
const SOUND_AFTER: Duration = Duration::from_secs(60);
/// Wait before it is loaded again after a failure; doubled with each further one.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(300);
/// Packages of which it is known whether they bring a preloaded module.
const KNOWN_MAX: usize = 1_000;

/// How a runtime's zygote is started.
#[derive(Clone, Debug)]
pub(crate) struct Forking {
    /// Program and arguments; names of modules to load are added.
    pub(crate) argv: Vec<OsString>,
    /// Files of the host; when one changes, the zygote is of yesterday.
    pub(crate) watched: Vec<PathBuf>,
    /// Folders of a layer, besides its own, in which modules are looked for.
    pub(crate) layer_folders: Vec<PathBuf>,
    /// Whether a variable acts when the interpreter starts, by its name.
    pub(crate) acts_at_start: fn(&str) -> bool,
}

/// Why a zygote ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No start used it.
    Idle,
    /// Its process ended by itself.
    Crash,
    /// A start by it failed.
    Failure,
    /// It could not be loaded.
    Load,
    /// Its memory grew.
    Growth,
    /// The interpreter was replaced on the host.
    Update,
    /// The runtime's library was.
    Replaced,
}

impl Why {
    /// Lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Idle => "idle",
            Why::Crash => "crash",
            Why::Failure => "failure",
            Why::Load => "load",
            Why::Growth => "growth",
            Why::Update => "update",
            Why::Replaced => "replaced",
        }
    }
}

/// What became of zygotes and of the starts that could have been theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZygoteCounts {
    /// Those that take starts now.
    pub ready: u64,
    /// Starts forked from one.
    pub forked: u64,
    /// Starts of their runtimes that executed the interpreter.
    pub executed: u64,
    /// Ends, by reason.
    pub ended: BTreeMap<Why, u64>,
}

/// The counts of a node.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<ZygoteCounts>);

impl Counters {
    pub(crate) fn now(&self) -> ZygoteCounts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ZygoteCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The zygote of one template.
pub(crate) struct Keeper {
    name: String,
    sandboxes: Sandboxes,
    template: Template,
    forking: Forking,
    /// The whole of its environment.
    env: Vec<(OsString, OsString)>,
    preload: Vec<OsString>,
    idle: Duration,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// Whether package and layers bring a module that it has loaded.
    shadowed: Mutex<HashMap<(PathBuf, Option<PathBuf>), bool>>,
}

struct State {
    life: Life,
    /// One after the other, without a sound one between.
    failures: u32,
}

enum Life {
    /// Not to be loaded before.
    Absent(Instant),
    Loading,
    Ready(Ready),
    /// Another template has taken the place of its own.
    Retired,
}

struct Ready {
    zygote: Arc<Zygote>,
    since: Instant,
    used: Instant,
    prints: Vec<Option<Print>>,
    /// Names of modules.
    loaded: Vec<String>,
    watcher: AbortHandle,
}

/// Whether there is a zygote.
pub(crate) enum Standing {
    Ready(Arc<Zygote>),
    /// There soon will be.
    Loading,
    None,
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// What tells a replaced file: device, inode, size, change time.
type Print = (u64, u64, u64, i64, i64);

fn print(path: &PathBuf) -> Option<Print> {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

impl Keeper {
    /// The zygote of `template`, not loaded yet; `None` where it has none: its runtime cannot be forked, the settings or the
    /// host refuse it.
    pub(crate) fn new(
        sandboxes: &Sandboxes,
        template: &Template,
        plan: &Plan,
        settings: &crate::Settings,
        counters: &Arc<Counters>,
    ) -> Option<Arc<Keeper>> {
        let forking = plan.forking.clone()?;
        let idle = settings.zygote_idle.duration();
        if idle.is_zero() {
            return None;
        }
        if let Some(reason) = sandboxes.zygotes_refused() {
            tracing::info!(
                runtime = template.name(),
                reason,
                "each start executes the interpreter: no zygote"
            );
            return None;
        }
        Some(Arc::new(Keeper {
            name: template.name().to_owned(),
            sandboxes: sandboxes.clone(),
            template: template.clone(),
            env: variables::bare(&plan.variables),
            preload: settings.preload.iter().map(OsString::from).collect(),
            forking,
            idle,
            counters: counters.clone(),
            state: Mutex::new(State { life: Life::Absent(Instant::now()), failures: 0 }),
            shadowed: Mutex::default(),
        }))
    }

    /// The zygote for a start of this package with these layers and this environment; `None`: it is to be executed. Loads it
    /// in the background where it is absent.
    pub(crate) fn get(
        self: &Arc<Keeper>,
        code: &Path,
        layers: Option<&Path>,
        env: &[(OsString, OsString)],
    ) -> Option<Arc<Zygote>> {
        let (zygote, loaded) = {
            let mut state = self.lock();
            if let Life::Ready(ready) = &state.life {
                let why = if ready.zygote.failure().is_some() {
                    Some(Why::Failure)
                } else if ready.prints != self.prints() {
                    Some(Why::Update)
                } else {
                    None
                };
                if let Some(why) = why {
                    self.end(&mut state, why);
                }
            }
            match &mut state.life {
                Life::Absent(from) if *from <= Instant::now() => {
                    self.load(&mut state);
                    return None;
                }
                Life::Absent(_) | Life::Loading | Life::Retired => return None,
                Life::Ready(ready) => {
                    ready.used = Instant::now();
                    (ready.zygote.clone(), ready.loaded.clone())
                }
            }
        };
        (self.starts_alike(env) && !self.shadows(&loaded, code, layers)).then_some(zygote)
    }

    /// What a program of nobody is started by.
    pub(crate) fn state(self: &Arc<Keeper>) -> Standing {
        let state = self.lock();
        match &state.life {
            Life::Ready(ready) if ready.zygote.failure().is_none() => Standing::Ready(ready.zygote.clone()),
            Life::Ready(_) | Life::Loading => Standing::Loading,
            Life::Absent(_) | Life::Retired => Standing::None,
        }
    }

    /// Loads it in the background where it is absent. Called by a task of tokio's, else it does nothing.
    pub(crate) fn warm(self: &Arc<Keeper>) {
        let mut state = self.lock();
        if matches!(state.life, Life::Absent(from) if from <= Instant::now())
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.load(&mut state);
        }
    }

    /// Counts a start that could have been its.
    pub(crate) fn count(&self, sandbox: &Sandbox) {
        let mut counts = self.counters.lock();
        if sandbox.is_forked() { counts.forked += 1 } else { counts.executed += 1 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prints(&self) -> Vec<Option<Print>> {
        self.forking.watched.iter().map(print).collect()
    }

    /// Whether the variables that act when an interpreter starts are those that the zygote was started with.
    fn starts_alike(&self, env: &[(OsString, OsString)]) -> bool {
        let acting = |(name, _): &&(OsString, OsString)| {
            name.to_str().is_none_or(|name| (self.forking.acts_at_start)(name))
        };
        let acts: Vec<_> = env.iter().filter(acting).collect();
        let own: Vec<_> = self.env.iter().filter(acting).collect();
        acts.len() == own.len() && acts.iter().all(|one| own.contains(one))
    }

    /// Whether the package or a layer brings a module of the name of one that is loaded: the function's own must win.
    fn shadows(&self, loaded: &[String], code: &Path, layers: Option<&Path>) -> bool {
        let key = (code.to_path_buf(), layers.map(Path::to_path_buf));
        let mut known = self.shadowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shadowed) = known.get(&key) {
            return *shadowed;
        }
        let of_layers = layers
            .into_iter()
            .flat_map(|layers| self.forking.layer_folders.iter().map(move |folder| layers.join(folder)));
        let shadowed = std::iter::once(code.to_path_buf())
            .chain(of_layers)
            .any(|folder| brings(&folder, |name| loaded.iter().any(|one| one == name)));
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, shadowed);
        shadowed
    }

    fn load(self: &Arc<Keeper>, state: &mut State) {
        state.life = Life::Loading;
        let keeper = Arc::downgrade(self);
        let mut argv = self.forking.argv.clone();
        argv.extend(self.preload.iter().cloned());
        let spec = ZygoteSpec { template: self.template.clone(), argv, env: self.env.clone() };
        let (sandboxes, prints) = (self.sandboxes.clone(), self.prints());
        tokio::spawn(async move {
            let loaded = sandboxes.zygote(spec).await;
            // Without the keeper nobody needs it any more.
            let Some(keeper) = keeper.upgrade() else { return };
            let mut state = keeper.lock();
            match loaded {
                _ if !matches!(state.life, Life::Loading) => {}
                Ok(zygote) => keeper.begin(&mut state, Arc::new(zygote), prints),
                Err(error) => {
                    tracing::warn!(runtime = keeper.name, %error, "no zygote: starts execute the interpreter");
                    keeper.settle(&mut state, Why::Load);
                }
            }
        });
    }

    fn begin(self: &Arc<Keeper>, state: &mut State, zygote: Arc<Zygote>, prints: Vec<Option<Print>>) {
        tracing::info!(runtime = self.name, pid = zygote.pid(), "a zygote takes starts");
        let now = Instant::now();
        let loaded = zygote.said().split(' ').map(str::to_owned).collect();
        let watcher = tokio::spawn(watch(Arc::downgrade(self), zygote.clone())).abort_handle();
        self.shadowed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.counters.lock().ready += 1;
        state.life = Life::Ready(Ready { zygote, since: now, used: now, prints, loaded, watcher });
    }

    /// Ends a zygote that is ready, and loads the next one if it is not idleness that ends it.
    fn end(self: &Arc<Keeper>, state: &mut State, why: Why) {
        let Life::Ready(ready) = &state.life else { return };
        if ready.since.elapsed() >= SOUND_AFTER {
            state.failures = 0;
        }
        match ready.zygote.failure() {
            Some(failure) => {
                tracing::warn!(runtime = self.name, reason = why.as_str(), failure, "a zygote is ended");
            }
            None => tracing::info!(runtime = self.name, reason = why.as_str(), "a zygote is ended"),
        }
        self.counters.lock().ready -= 1;
        self.settle(state, why);
        match state.life {
            Life::Absent(_) if why == Why::Idle => {}
            Life::Absent(from) if from <= Instant::now() => self.load(state),
            Life::Absent(from) => {
                let keeper = Arc::downgrade(self);
                tokio::spawn(async move {
                    tokio::time::sleep_until(from).await;
                    if let Some(keeper) = keeper.upgrade() {
                        keeper.warm();
                    }
                });
            }
            Life::Loading | Life::Ready(_) | Life::Retired => {}
        }
    }

    /// Notes why there is none, and from when on there may be.
    fn settle(&self, state: &mut State, why: Why) {
        *self.counters.lock().ended.entry(why).or_default() += 1;
        let mut from = Instant::now();
        match why {
            Why::Crash | Why::Failure | Why::Load => {
                // The first is followed by another one at once.
                if state.failures > 0 || why == Why::Load {
                    let doubled = AGAIN_AFTER.saturating_mul(1 << state.failures.min(16));
                    from += doubled.min(AGAIN_AFTER_MAX);
                }
                state.failures += 1;
            }
            Why::Idle | Why::Growth | Why::Update | Why::Replaced => {}
        }
        state.life = Life::Absent(from);
    }

    /// Ends it for good: another template has taken the place of its own.
    pub(crate) fn retire(&self) {
        let mut state = self.lock();
        if let Life::Ready(_) = state.life {
            tracing::info!(runtime = self.name, reason = Why::Replaced.as_str(), "a zygote is ended");
            let mut counts = self.counters.lock();
            counts.ready -= 1;
            *counts.ended.entry(Why::Replaced).or_default() += 1;
        }
        state.life = Life::Retired;
    }

    /// What a look at it, `memory` of its own after it was loaded, finds to end it.
    fn look(&self, ready: &Ready, memory: ByteCount) -> Option<Why> {
        if ready.used.elapsed() >= self.idle {
            return Some(Why::Idle);
        }
        let grown = |now: ByteCount| now.0 > memory.0 + GROWTH_MAX.0;
        ready.zygote.memory().is_ok_and(grown).then_some(Why::Growth)
    }
}

/// Looks after a zygote until it ends or is to end.
async fn watch(keeper: Weak<Keeper>, zygote: Arc<Zygote>) {
    let memory = zygote.memory().unwrap_or(ByteCount(u64::MAX / 2));
    let Some(idle) = keeper.upgrade().map(|keeper| keeper.idle) else { return };
    loop {
        let why = tokio::select! {
            () = zygote.ended() => Some(Why::Crash),
            () = tokio::time::sleep(LOOK_EVERY_MAX.min(idle / 10)) => None,
        };
        let Some(keeper) = keeper.upgrade() else { return };
        let mut state = keeper.lock();
        let Life::Ready(ready) = &state.life else { return };
        if !Arc::ptr_eq(&ready.zygote, &zygote) {
            return;
        }
        if let Some(why) = why.or_else(|| keeper.look(ready, memory)) {
            keeper.end(&mut state, why);
            return;
        }
    }
}

/// Variables that act when a process or its interpreter starts, and so cannot be given to one that runs: the loader's, the C
/// library's (allocator, tunables, locale, where it finds those), and that of OpenSSL, which is read when it is loaded.
pub(crate) fn acts_at_start(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["LD_", "MALLOC_", "GLIBC_", "LC_", "OPENSSL_"];
    const NAMES: [&str; 5] = ["LANG", "LANGUAGE", "LOCPATH", "NLSPATH", "GCONV_PATH"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the folder has a module or package (file or folder, whatever its ending) with such a name.
fn brings(folder: &Path, named: impl Fn(&str) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).any(|name| {
        let stem = name.split('.').next().unwrap_or(&name);
        named(stem)
    })
}
