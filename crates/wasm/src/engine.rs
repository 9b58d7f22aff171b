//! The one engine of a node: how code is compiled and what instances are made of.

use crate::share::{Shared, Shares};
use base::MemoryMib;
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Longest time that an instance computes before others have their turn.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// How long ticks go on when nothing runs any more: who calls again soon does not wake the thread.
const LINGER: Duration = Duration::from_secs(1);
/// Stack of a function's own calls. Deeper recursion traps.
const STACK: usize = 1024 * 1024;
/// Stack of an instance with what the host needs on it.
const STACK_WHOLE: usize = 2 * STACK;
/// Largest linear memory: all that 32 bits address.
const MEMORY_MAX: usize = 4 << 30;
/// Elements of one table; programs of scripting languages have some ten thousand.
pub(crate) const TABLE_MAX: usize = 100_000;
/// Parts of one component: modules, memories, tables.
const PARTS_MAX: u32 = 200;
const MEMORIES_MAX: u32 = 8;
const TABLES_MAX: u32 = 32;
/// Memory of a slot that is kept, zeroed, for the next instance; more is given back to the kernel.
const KEPT: usize = 128 * 1024;
/// The priority of threads on which functions compute beneath that of the rest. Source: nice(1).
const NICE: i32 = 5;

/// A pause between instances in which one client cannot have asked again, in microseconds.
const QUICK_US: u64 = 100;

/// Compiler, pool of instances and threads.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    ticker: Arc<Ticker>,
    /// Where functions run that take longer than a [`TICK`], or follow on others at once. `None` only while it is dropped.
    heavy: Option<tokio::runtime::Runtime>,
    shares: Arc<Shares>,
    pace: Arc<Pace>,
}

impl Machine {
    /// `instances`: how many can exist at once. Blocks for some milliseconds.
    pub(crate) fn start(instances: u32) -> Result<Machine, String> {
        let engine = new(instances)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let heavy = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("neap-wasm")
            .enable_all()
            .on_thread_start(|| {
                // On Linux this is the calling thread's alone; without it functions compete with the daemon.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .build()
            .map_err(|error| error.to_string())?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| error.to_string())?;
        let pace = Arc::new(Pace { since: Instant::now(), ended_us: AtomicU64::new(0) });
        Ok(Machine { engine, ticker, heavy: Some(heavy), shares: Shares::new(threads), pace })
    }

    /// Ticks go on while it exists.
    pub(crate) fn running(&self) -> Running {
        self.ticker.enter()
    }

    /// Where work of a function with so much memory goes on that is long, or one of many.
    pub(crate) fn heavy(&self, memory: MemoryMib) -> Option<Elsewhere> {
        let heavy = self.heavy.as_ref()?;
        Some(Elsewhere {
            threads: heavy.handle().clone(),
            shares: self.shares.clone(),
            weight: u64::from(memory.0),
            pace: self.pace.clone(),
        })
    }
}

/// How instances follow on each other.
pub(crate) struct Pace {
    since: Instant,
    /// When the last one ended, in microseconds.
    ended_us: AtomicU64,
}

impl Pace {
    fn now_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn ended(&self) {
        self.ended_us.store(self.now_us(), Ordering::Relaxed);
    }

    /// Whether the last one ended so lately that the thread has little time for others.
    pub(crate) fn is_quick(&self) -> bool {
        self.now_us().saturating_sub(self.ended_us.load(Ordering::Relaxed)) < QUICK_US
    }
}

/// Threads for work that is long, or one of many, and its share of them.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    threads: tokio::runtime::Handle,
    shares: Arc<Shares>,
    /// In proportion to the function's memory.
    weight: u64,
    pub(crate) pace: Arc<Pace>,
}

impl Elsewhere {
    /// Begins work there, or goes on with it.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: Shared<T>) -> JoinHandle<T> {
        self.threads.spawn(self.shares.share(self.weight, work))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ticker.stop.store(true, Ordering::Release);
        self.ticker.wake.notify_all();
        // Waiting for its threads would block whoever lets go of the machine.
        if let Some(heavy) = self.heavy.take() {
            heavy.shutdown_background();
        }
    }
}

/// An engine with a pool for so many instances.
pub(crate) fn new(instances: u32) -> Result<Engine, String> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
    Engine::new(&config).map_err(|error| format!("{error:#}"))
}

/// An engine that compiles for those with a pool, and runs nothing.
pub(crate) fn compiling() -> Result<Engine, String> {
    Engine::new(&config()).map_err(|error| format!("{error:#}"))
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(16))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
        .max_core_instances_per_component(PARTS_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memory_size(MEMORY_MAX)
        .table_elements(TABLE_MAX)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT)
        .async_stack_keep_resident(KEPT);
    pool
}

/// What machine code depends on.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(STACK_WHOLE)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .cranelift_opt_level(OptLevel::Speed);
    config
}

/// Advances the engine's epoch while something runs.
struct Ticker {
    running: AtomicUsize,
    asleep: Mutex<bool>,
    wake: Condvar,
    stop: AtomicBool,
}

/// Something that runs.
pub(crate) struct Running(Arc<Ticker>);

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Arc<Ticker>> {
        let ticker = Arc::new(Ticker {
            running: AtomicUsize::new(0),
            asleep: Mutex::new(false),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let shared = ticker.clone();
        std::thread::Builder::new().name("neap-wasm-tick".to_owned()).spawn(move || shared.tick(&engine))?;
        Ok(ticker)
    }

    fn enter(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        let asleep = *self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        if asleep {
            self.wake.notify_all();
        }
        Running(self.clone())
    }

    fn tick(&self, engine: &Engine) {
        let mut idle_since: Option<Instant> = None;
        while !self.stop.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            if self.running.load(Ordering::SeqCst) > 0 {
                idle_since = None;
            } else if idle_since.get_or_insert_with(Instant::now).elapsed() > LINGER {
                self.sleep();
                idle_since = None;
            }
        }
    }

    /// Until something runs.
    fn sleep(&self) {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep = true;
        while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::Acquire) {
            // Whoever enters or stops between the question and the wait is noticed by the timeout.
            let waited = self.wake.wait_timeout(asleep, LINGER);
            asleep = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *asleep = false;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    #[test]
    fn what_the_compiler_makes_is_for_the_engine_that_runs_it() {
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&compiling().unwrap()), hash(&new(4).unwrap()));
    }
}
