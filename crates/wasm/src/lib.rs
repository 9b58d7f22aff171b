//! WebAssembly functions: components for `wasi:http` and WASI preview 1 modules, run inside the daemon.
//!
//! Owns: having programs compiled when they are deployed, the pool of instances, what an instance is given and what it may use, and
//! how events become requests and responses become answers. Must never know: scheduling, accounts, SQL, other languages'
//! processes; log, record and variables of an environment are those of `runtimes`.
//!
//! # Where it stands
//! [`Wasm`] stands before [`Runtimes`]: it takes what is WebAssembly and passes everything else on. A package is WebAssembly
//! if it has `bootstrap.wasm` and no `bootstrap` at its root; a function of it, if its runtime is `provided.*`.
//!
//! # What isolates
//! The engine's sandbox: an instance addresses its own memory only, calls only what it is given, and is given no path, no
//! socket, no process. There is no kernel boundary around it as there is around processes; see `docs/security.md`.

mod artefacts;
mod body;
mod compiler;
mod engine;
mod environment;
mod outbound;
mod output;
mod program;
mod request;
mod response;
mod run;
mod share;
mod state;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use compiler::{Bounds, Compiler, compile};

use artefacts::Artefacts;
use base::{
    ByteCount, CodeSha256, FunctionSpec, Future, Initialization, Launch, LaunchError, Micros, Millis,
    PackageError, Packages, Phases, Unpacked,
};
use bytes::Bytes;
use engine::Machine;
use environment::{Environment, Scratch, Shared};
use outbound::{Reach, Ways};
use program::{FILE, Kind, Program};
use runtimes::{Hosted, Runtimes};
use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, oneshot},
    time::Instant,
};

/// The engine that compiles and runs every program of a node, with room for so many instances. Errors: this host cannot give
/// that room. For what measures beside Neap; [`Wasm`] has its own.
pub fn engine(instances: u32) -> Result<wasmtime::Engine, String> {
    engine::new(instances)
}

/// A variable of a function that wants an instance to serve many invocations.
pub const REUSE_VARIABLE: &str = "NEAP_WASM_REUSE";
/// What runs it, as logs name it.
const VERSION: &str = "wasm:48";
/// Programs kept in memory, of which most is a mapped file.
const PROGRAMS_MAX: usize = 1_000;

/// Configuration of [`Wasm`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of compiled programs; made when missing. Nobody else may be able to write there.
    pub folder: PathBuf,
    /// Instances that exist at once, at most; 0: WebAssembly is refused. Default 1,000. Each reserves 4 GiB of addresses, not of
    /// memory.
    pub instances: u32,
    /// Programs that are compiled at once. Default: half of the processors.
    pub compilers: usize,
    /// What compiles.
    pub compiler: Compiler,
    /// Makes what functions speak TLS with to others; called once, when one does. Default: they are refused.
    pub tls: fn() -> Result<tokio_rustls::TlsConnector, String>,
}

impl Settings {
    /// Defaults, with the folder and the command of the compiler.
    pub fn new(folder: impl Into<PathBuf>, compiler: Vec<OsString>) -> Settings {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            folder: folder.into(),
            instances: 1_000,
            compilers: (processors / 2).max(1),
            compiler: Compiler { command: compiler, bounds: Bounds::default() },
            tls: || Err("this node speaks no TLS".to_owned()),
        }
    }
}

/// Runs WebAssembly functions, and has [`Runtimes`] run the others. One per node.
pub struct Wasm {
    runtimes: Arc<Runtimes>,
    work: Arc<Compiling>,
    ways: Arc<Ways>,
    programs: Mutex<HashMap<CodeSha256, Arc<Kept>>>,
    /// Of packages whose program is being made.
    making: Mutex<HashMap<CodeSha256, Weak<AsyncMutex<()>>>>,
    permits: Arc<Semaphore>,
}

/// What threads that have programs compiled share.
struct Compiling {
    settings: Settings,
    artefacts: Artefacts,
    /// Started by the first WebAssembly function: a node without any pays nothing.
    machine: OnceLock<Result<Arc<Machine>, String>>,
}

/// A program in memory.
struct Kept {
    program: Arc<Program>,
    used: Mutex<Instant>,
}

impl Compiling {
    fn machine(&self) -> Result<&Arc<Machine>, String> {
        let start = || match self.settings.instances {
            0 => Err("this node runs no WebAssembly (wasm.instances is 0)".to_owned()),
            instances => Machine::start(instances).map(Arc::new),
        };
        self.machine.get_or_init(start).as_ref().map_err(Clone::clone)
    }
}

impl Wasm {
    /// Prepares the folder. Nothing of the engine is started before it is needed.
    pub fn new(settings: Settings, runtimes: Arc<Runtimes>) -> io::Result<Arc<Wasm>> {
        let artefacts = Artefacts::open(settings.folder.clone(), |code| runtimes.package(code).is_none())?;
        let permits = Arc::new(Semaphore::new(settings.compilers.max(1)));
        let (ports, _, sandboxes) = runtimes.shared();
        let ways = Arc::new(Ways::new(sandboxes, ports.platform, settings.tls));
        Ok(Arc::new(Wasm {
            runtimes,
            ways,
            work: Arc::new(Compiling { settings, artefacts, machine: OnceLock::new() }),
            programs: Mutex::default(),
            making: Mutex::default(),
            permits,
        }))
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<CodeSha256, Arc<Kept>>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unpacked package, if it is one of WebAssembly.
    fn package(&self, code: &CodeSha256) -> Option<PathBuf> {
        self.runtimes.package(code).filter(|folder| is_wasm(folder))
    }

    fn known(&self, code: &CodeSha256) -> Option<Arc<Program>> {
        let kept = self.programs().get(code).cloned()?;
        *kept.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(kept.program.clone())
    }

    /// The program of a package, compiled if it has not been. Cancel-safe: what was begun is finished.
    async fn program(&self, code: CodeSha256, package: PathBuf) -> Result<Arc<Program>, PackageError> {
        if let Some(program) = self.known(&code) {
            return Ok(program);
        }
        let making = self.making(code);
        let _making = making.lock().await;
        if let Some(program) = self.known(&code) {
            return Ok(program);
        }
        let (give, made) = oneshot::channel();
        let work = self.work.clone();
        let gone = |error: String| PackageError::Storage(io::Error::other(error));
        // Loading what is compiled takes no turn of a compiler.
        let permit = match self.work.machine() {
            Ok(machine) if !self.work.artefacts.has(&machine.engine, &code) => {
                let permit = self.permits.clone().acquire_owned().await;
                Some(permit.map_err(|error| gone(error.to_string()))?)
            }
            Ok(_) | Err(_) => None,
        };
        let begun = std::thread::Builder::new().name("neap-compile".into()).spawn(move || {
            let refused = |reason| PackageError::BadProgram { file: FILE, reason };
            let compiler = &work.settings.compiler;
            let made = work
                .machine()
                .map_err(refused)
                .and_then(|machine| work.artefacts.program(machine, compiler, &code, &package));
            drop(permit);
            let _ = give.send(made);
        });
        begun?;
        let failed = |_| PackageError::BadProgram { file: FILE, reason: "it could not be loaded".to_owned() };
        let program = Arc::new(made.await.map_err(failed)??);
        self.remember(code, &program);
        Ok(program)
    }

    fn making(&self, code: CodeSha256) -> Arc<AsyncMutex<()>> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        making.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = making.get(&code).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(AsyncMutex::new(()));
        making.insert(code, Arc::downgrade(&lock));
        lock
    }

    fn remember(&self, code: CodeSha256, program: &Arc<Program>) {
        let mut programs = self.programs();
        if programs.len() >= PROGRAMS_MAX {
            let used = |kept: &Kept| *kept.used.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest = programs.iter().min_by_key(|(_, kept)| used(kept)).map(|(code, _)| *code);
            if let Some(oldest) = oldest {
                programs.remove(&oldest);
            }
        }
        let used = Mutex::new(Instant::now());
        programs.insert(code, Arc::new(Kept { program: program.clone(), used }));
    }

    async fn start(
        &self,
        package: PathBuf,
        spec: Arc<FunctionSpec>,
        how: Initialization,
        queued: Micros,
    ) -> Result<Arc<dyn base::Environment>, LaunchError> {
        let began = Instant::now();
        let unavailable =
            |reason: String| LaunchError::RuntimeUnavailable { runtime: spec.runtime.clone(), reason };
        let (ports, settings, sandboxes) = self.runtimes.shared();
        if !spec.layers.is_empty() {
            return Err(unavailable("WebAssembly functions have no layers".to_owned()));
        }
        if settings.cpu_quota {
            return Err(unavailable("sandbox.hard_cpu_quota cannot hold WebAssembly functions".to_owned()));
        }
        let reuse = match spec.variables.get(REUSE_VARIABLE).map_or("", String::as_str) {
            "" | "0" => false,
            "1" => true,
            other => return Err(unavailable(format!("{REUSE_VARIABLE} is {other:?}, neither 0 nor 1"))),
        };
        let program = self.program(spec.code, package).await.map_err(|error| match error {
            PackageError::Storage(error) => LaunchError::Sandbox(Box::new(error)),
            refused => unavailable(refused.to_string()),
        })?;
        let machine = self.work.machine().map_err(unavailable)?.clone();
        let hosted = Hosted::open(spec.clone(), how, VERSION, ports, settings).await?;
        let scratch = match program.files {
            true => sandboxes.scratch(spec.scratch).await,
            false => None,
        };
        let scratch = scratch.and_then(|kept| Some(Scratch { path: kept.path()?, _kept: kept }));
        if program.files && scratch.is_none() {
            tracing::warn!(function = %spec.key.name, "a WebAssembly function has no /tmp: this host cannot make scratch space on disk");
        }
        let sandbox = Micros::of(began.elapsed());
        let phases = Phases { queue: queued, sandbox, ..Phases::default() };
        hosted.initialised(None);
        let reach = Reach::new(self.ways.clone(), spec.clone());
        let state = Shared::default();
        Ok(Arc::new(Environment { hosted, program, machine, phases, scratch, reach, reuse, state }))
    }
}

/// Whether a runtime's functions are those that their packages bring.
fn is_ours(runtime: &str) -> bool {
    runtime.starts_with("provided.")
}

/// Whether a package's program is WebAssembly.
fn is_wasm(folder: &Path) -> bool {
    folder.join(FILE).is_file() && !folder.join("bootstrap").exists()
}

impl Launch for Wasm {
    fn launch(
        &self,
        spec: Arc<FunctionSpec>,
        how: Initialization,
        queued: Micros,
    ) -> Future<'_, Result<Arc<dyn base::Environment>, LaunchError>> {
        let package = is_ours(&spec.runtime).then(|| self.package(&spec.code)).flatten();
        match package {
            Some(package) => Box::pin(self.start(package, spec, how, queued)),
            None => self.runtimes.launch(spec, how, queued),
        }
    }
}

impl Packages for Wasm {
    fn unpack(&self, zip: Bytes) -> Future<'_, Result<Unpacked, PackageError>> {
        self.runtimes.unpack(zip)
    }

    fn prepare(&self, code: &CodeSha256, runtime: &str) -> Future<'_, Result<(), PackageError>> {
        let (code, ours) = (*code, is_ours(runtime));
        Box::pin(async move {
            match self.package(&code).filter(|_| ours) {
                Some(package) => self.program(code, package).await.map(drop),
                None => Ok(()),
            }
        })
    }

    fn takes_layers(&self, code: &CodeSha256, runtime: &str) -> bool {
        !is_ours(runtime) || self.package(code).is_none()
    }

    fn takes_arriving(&self, code: &CodeSha256, runtime: &str) -> bool {
        let component = |program: Arc<Program>| matches!(program.kind, Kind::Component(_));
        is_ours(runtime) && self.known(code).is_some_and(component)
    }

    fn has(&self, code: &CodeSha256) -> bool {
        self.runtimes.has(code)
    }

    fn remove(&self, code: &CodeSha256) -> Future<'_, ()> {
        let code = *code;
        Box::pin(async move {
            self.programs().remove(&code);
            let work = self.work.clone();
            let removed = tokio::task::spawn_blocking(move || work.artefacts.remove(&code)).await;
            match removed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, %code, "a compiled program could not be removed"),
                Err(error) => tracing::error!(%error, %code, "a compiled program could not be removed"),
            }
            self.runtimes.remove(&code).await;
        })
    }

    fn size(&self, code: &CodeSha256) -> Future<'_, Result<ByteCount, PackageError>> {
        self.runtimes.size(code)
    }

    fn retain_layers(&self, used: Vec<Vec<CodeSha256>>, grace: Millis) -> Future<'_, ()> {
        self.runtimes.retain_layers(used, grace)
    }
}
