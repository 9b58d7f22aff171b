//! Execution environments per runtime: what is inside a sandbox so that a Lambda function runs in it.
//!
//! Owns: the table of runtimes, packages on disk, roots and managed libraries, boot programs and the two ways in which the
//! platform talks to a runtime (private frames, HTTP Runtime API), what an invocation may take, its log and its metering
//! record. Must never know: scheduling, accounts' limits, SQL, the public API.

mod api;
mod bytecode;
mod cells;
mod conclusion;
mod detached;
mod environment;
mod extensions;
mod failure;
mod families;
mod frames;
mod host;
mod hosted;
mod journal;
mod jvm;
mod layers;
mod libraries;
mod link;
mod output;
mod packages;
mod process;
mod root;
mod settings;
mod share;
mod snapstart;
mod telemetry;
mod variables;
mod zygotes;

pub use cells::{KindSnapshot, Settings as CellSettings, Snapshot as CellSnapshot};
pub use detached::{detached, pieces_of};
pub use families::{JAVA_SOURCES, java_versions};
pub use hosted::{Begun, Ended, Hosted, HostedError, Printer};
pub use journal::rfc3339;
pub use packages::{Limits, unpack_into};
pub use settings::Settings;
pub use variables::RESERVED as RESERVED_VARIABLES;
pub use zygotes::{Why as ZygoteEnd, ZygoteCounts};

use base::{
    ByteCount, Clock, CodeSha256, Entropy, Environment, FunctionSpec, Future, Initialization, Launch,
    LaunchError, LogSink, Meter, Micros, Millis, PackageError, Packages, RuntimeCatalog, RuntimeRefused,
    RuntimeSupport, Sessions, Unpacked,
};
use bytes::Bytes;
use families::{Family, Files, Plan};
use libraries::{Libraries, Library};
use sandbox::{Sandboxes, Template};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// This host's, as functions name it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };

/// Serves the platform's own API to functions: what they reach at [`sandbox::PLATFORM`].
pub trait Platform: Send + Sync {
    /// Serves one connection of the function until it closes. The future is dropped when the environment ends.
    fn serve(&self, connection: tokio::net::TcpStream, spec: Arc<FunctionSpec>) -> Future<'static, ()>;
    /// The same for code that the daemon runs itself: its connection is a pipe within the daemon.
    fn serve_pipe(&self, connection: tokio::io::DuplexStream, spec: Arc<FunctionSpec>)
    -> Future<'static, ()>;
    /// Takes a datagram that the function sent to the X-Ray daemon ([`sandbox::TRACES`]). Must not block.
    fn trace(&self, datagram: &[u8], spec: &FunctionSpec) {
        let _ = (datagram, spec);
    }
}

/// The ports that environments use.
#[derive(Clone)]
pub struct Ports {
    /// Takes the functions' logs.
    pub logs: Arc<dyn LogSink>,
    /// Takes the metering records.
    pub meter: Arc<dyn Meter>,
    /// Makes the functions' credentials.
    pub sessions: Arc<dyn Sessions>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Names of log streams.
    pub entropy: Arc<dyn Entropy>,
    /// Serves what functions ask of Neap.
    pub platform: Arc<dyn Platform>,
}

/// Starts environments, unpacks packages, knows the runtimes. One per node.
///
/// At shutdown, environments are stopped before [`Sandboxes::shutdown`]: they freeze themselves when idle.
pub struct Runtimes {
    settings: Arc<Settings>,
    sandboxes: Sandboxes,
    ports: Ports,
    store: Arc<packages::Store>,
    layers: Arc<layers::Layers>,
    families: Arc<Found>,
    libraries: Arc<Libraries>,
    cells: Arc<cells::Cells>,
    scribe: Arc<journal::Scribe>,
    roots: Arc<root::Roots>,
    /// By runtime and by where its library is.
    templates: RwLock<HashMap<(String, Option<PathBuf>), Prepared>>,
    zygotes: Arc<zygotes::Counters>,
    /// Packages whose bytecode was looked after since the start, with the compiler's tag.
    compiled: Mutex<HashSet<(CodeSha256, String)>>,
    /// Held while a template is made, so that it is made once.
    making: tokio::sync::Mutex<()>,
    /// Whether [`Runtimes::prepare_all`] has come to its end.
    prepared: AtomicBool,
}

/// The families with the interpreters of this host, which are looked for while the node starts.
struct Found {
    /// Where answers are remembered.
    memory: PathBuf,
    search: Vec<PathBuf>,
    families: OnceLock<Vec<Box<dyn Family>>>,
}

impl Found {
    /// Blocks until they are found: some milliseconds after the start, the first time on a host some hundred.
    fn get(&self) -> &[Box<dyn Family>] {
        self.families.get_or_init(|| {
            let mut prober = host::Prober::open(self.memory.clone());
            let families = families::all(&mut prober, &self.search);
            prober.close();
            families
        })
    }

    fn named(&self, runtime: &str) -> Option<&dyn Family> {
        let found = self.get().iter().find(|family| family.identifiers().contains(&runtime));
        found.map(|family| family.as_ref())
    }
}

/// What environments of one runtime are started from.
#[derive(Clone)]
struct Prepared {
    plan: Arc<Plan>,
    template: Template,
    zygote: Option<Arc<zygotes::Keeper>>,
}

impl Runtimes {
    /// Prepares the folders, removes what an earlier run left half-done, begins to look for interpreters. Blocks for some
    /// milliseconds.
    pub fn new(settings: Settings, sandboxes: Sandboxes, ports: Ports) -> io::Result<Arc<Runtimes>> {
        let store = Arc::new(packages::Store::open(settings.code.clone())?);
        let layers = layers::Layers::open(settings.code.join("layers"), store.clone())?;
        let folder = settings.runtimes.clone();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for inner in ["boot", "empty"] {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(folder.join(inner))?;
        }
        let libraries = Libraries::open(folder.join("libraries"))?;
        let families = Arc::new(Found {
            memory: folder.join("interpreters.json"),
            search: settings.search.clone(),
            families: OnceLock::new(),
        });
        let looking = families.clone();
        // If it cannot be started, whoever needs them first looks for them.
        let _ = std::thread::Builder::new().name("interpreters".to_owned()).spawn(move || {
            looking.get();
        });
        let cells = cells::Cells::new(settings.stem_cells, sandboxes.clone(), settings.endpoint.clone());
        Ok(Arc::new(Runtimes {
            cells: Arc::new(cells),
            scribe: journal::Scribe::new(),
            settings: Arc::new(settings),
            sandboxes,
            ports,
            store,
            layers: Arc::new(layers),
            families,
            libraries: Arc::new(libraries),
            roots: Arc::new(root::Roots::open(folder.join("roots"))?),
            templates: RwLock::default(),
            zygotes: Arc::default(),
            compiled: Mutex::default(),
            prepared: AtomicBool::new(false),
            making: tokio::sync::Mutex::default(),
        }))
    }

    /// Installs the managed libraries (boto3, the `@aws-sdk` clients) of every runtime found on this host, unless they are
    /// installed. Takes a minute the first time: run it in the background. While it runs, starts of environments wait for
    /// it ([`Settings::install_wait`]). Errors are remembered and shown as warnings of [`RuntimeCatalog::check`]; functions
    /// run without the libraries then. Cancel-safe: what was begun is finished in the background.
    pub async fn install(&self) {
        self.found().await;
        let mut wanted: Vec<Library> = Vec::new();
        for family in self.families.get() {
            for runtime in family.identifiers() {
                if let Some(library) =
                    family.library(runtime).filter(|library| self.libraries.path(library).is_none())
                    && wanted.iter().all(|one| one.name != library.name)
                {
                    wanted.push(library);
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        let libraries = self.libraries.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _running = libraries.begin();
            // Newest first: more functions use them.
            for library in wanted.iter().rev() {
                libraries.install(library);
            }
        });
        if let Err(error) = work.await {
            tracing::error!(%error, "installation of libraries ended");
        }
    }

    /// Makes what environments of the runtimes found on this host are started from, newest runtime first, so that no start
    /// waits for it. Takes up to a second for each the first time on a host: run it in the background. Runtimes that another
    /// version serves are left to their first start.
    pub async fn prepare_all(&self) {
        self.found().await;
        let families = self.families.get();
        let most = families.iter().map(|family| family.identifiers().len()).max().unwrap_or(0);
        for age in 0..most {
            for family in families {
                let Some(runtime) = family.identifiers().iter().rev().nth(age) else { continue };
                if !family.check(runtime, ARCHITECTURE).is_ok_and(|support| support.warning.is_none()) {
                    continue;
                }
                if let Err(error) = self.prepare(runtime, ARCHITECTURE).await {
                    tracing::warn!(%error, runtime, "runtime could not be prepared");
                }
            }
        }
        self.prepared.store(true, Ordering::Relaxed);
    }

    /// Whether [`Runtimes::prepare_all`] is done: no start waits for a runtime any more.
    pub fn prepared(&self) -> bool {
        self.prepared.load(Ordering::Relaxed)
    }

    /// The folder of an unpacked package.
    pub fn package(&self, code: &CodeSha256) -> Option<PathBuf> {
        self.store.path(code)
    }

    /// Ports and settings, for environments that others make ([`Hosted`]).
    pub fn shared(&self) -> (Ports, Arc<Settings>, Sandboxes) {
        (self.ports.clone(), self.settings.clone(), self.sandboxes.clone())
    }

    /// Begins to load the zygote of a runtime for which a function is being deployed, if there is none.
    fn warm(&self, runtime: &str) {
        let templates = self.templates.read().unwrap_or_else(PoisonError::into_inner);
        for (_, prepared) in templates.iter().filter(|((name, _), _)| name == runtime) {
            if let Some(zygote) = &prepared.zygote {
                zygote.warm();
            }
        }
    }

    /// What became of zygotes.
    pub fn zygotes(&self) -> ZygoteCounts {
        self.zygotes.now()
    }

    /// Keeps stem cells ready ([`Settings::stem_cells`]) until `stop`, then ends them; without it there are none. Once.
    pub async fn run_cells(&self, stop: impl std::future::Future<Output = ()>) {
        self.cells.run(stop).await;
    }

    /// The stem cells of now. Blocks for microseconds for each.
    pub fn cells(&self) -> CellSnapshot {
        self.cells.snapshot()
    }

    /// Resolves when the interpreters are found.
    async fn found(&self) {
        if self.families.families.get().is_none() {
            let families = self.families.clone();
            let looked = tokio::task::spawn_blocking(move || {
                families.get();
            });
            if let Err(error) = looked.await {
                tracing::error!(%error, "search for interpreters ended");
            }
        }
    }

    /// Begins to make bytecode of a package when it is first started, for its later starts.
    fn compile_once(&self, code: &CodeSha256, folder: &std::path::Path, prepared: &Prepared) {
        let Some(compiler) = &prepared.plan.bytecode else { return };
        let begun = (*code, compiler.tag.clone());
        if !self.compiled.lock().unwrap_or_else(PoisonError::into_inner).insert(begun)
            || bytecode::marker(folder, compiler).exists()
        {
            return;
        }
        let Prepared { plan, template, .. } = prepared.clone();
        tokio::spawn(bytecode::compile(self.sandboxes.clone(), template, plan, folder.to_path_buf(), *code));
    }

    fn family(&self, runtime: &str) -> Option<&dyn Family> {
        self.families.named(runtime)
    }

    /// Template and plan of a runtime, made when it is first used.
    async fn prepare(&self, runtime: &str, architecture: &str) -> Result<Prepared, LaunchError> {
        self.found().await;
        let unavailable =
            |reason: String| LaunchError::RuntimeUnavailable { runtime: runtime.to_owned(), reason };
        let family = self.family(runtime).ok_or_else(|| unavailable("it is not known".to_owned()))?;
        let library = family.library(runtime);
        if let Some(missing) = library.as_ref().filter(|library| self.libraries.path(library).is_none()) {
            // Late is better than without; but not for ever.
            let settled = self.libraries.settled(missing);
            let _ = tokio::time::timeout(self.settings.install_wait.duration(), settled).await;
        }
        let library = library.and_then(|library| self.libraries.path(&library));
        let key = (runtime.to_owned(), library.clone());
        let known = || self.templates.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(prepared) = known() {
            return Ok(prepared);
        }
        family.check(runtime, architecture).map_err(|error| unavailable(error.to_string()))?;
        let boot = self.settings.runtimes.join("boot");
        let (families, name, folder) = (self.families.clone(), runtime.to_owned(), boot.clone());
        let built = tokio::task::spawn_blocking(move || {
            families.named(&name).ok_or(io::ErrorKind::NotFound)?.build(&name, &folder)
        });
        built
            .await
            .map_err(|error| unavailable(error.to_string()))?
            .map_err(|error| unavailable(error.to_string()))?;
        let _making = self.making.lock().await;
        if let Some(prepared) = known() {
            return Ok(prepared);
        }
        let (families, name) = (self.families.clone(), runtime.to_owned());
        let files =
            Files { roots: self.roots.clone(), boot, empty: self.settings.runtimes.join("empty"), library };
        let planned = tokio::task::spawn_blocking(move || {
            families.named(&name).ok_or(io::ErrorKind::NotFound)?.plan(&name, &files)
        });
        let plan = planned
            .await
            .map_err(|error| unavailable(error.to_string()))?
            .map_err(|error| unavailable(format!("its root could not be built: {error}")))?;
        let template = self
            .sandboxes
            .template(plan.template.clone())
            .await
            .map_err(|error| LaunchError::Sandbox(Box::new(error)))?;
        let zygote = zygotes::Keeper::new(&self.sandboxes, &template, &plan, &self.settings, &self.zygotes);
        let prepared = Prepared { plan: Arc::new(plan), template, zygote };
        if prepared.plan.jvm.is_some() {
            let (sandboxes, template) = (self.sandboxes.clone(), prepared.template.clone());
            tokio::spawn(jvm::make_archive(sandboxes, template, prepared.plan.clone()));
        }
        let mut templates = self.templates.write().unwrap_or_else(PoisonError::into_inner);
        // That with another release of the library, or without it, starts nothing any more.
        templates.retain(|(other, _), old| {
            let stays = other != runtime;
            if let Some(zygote) = old.zygote.as_ref().filter(|_| !stays) {
                zygote.retire();
            }
            stays
        });
        templates.insert(key, prepared.clone());
        Ok(prepared)
    }
}

impl Launch for Runtimes {
    fn launch(
        &self,
        spec: Arc<FunctionSpec>,
        how: Initialization,
        queued: Micros,
    ) -> Future<'_, Result<Arc<dyn Environment>, LaunchError>> {
        Box::pin(async move {
            let code = self.store.path(&spec.code).ok_or(LaunchError::CodeMissing(spec.code))?;
            let prepared = self.prepare(&spec.runtime, &spec.architecture).await?;
            self.compile_once(&spec.code, &code, &prepared);
            let layers = self.layers.ensure(&spec.layers).await?;
            if let Some(layers) = &layers {
                self.compile_once(&layers.code, &layers.folder, &prepared);
            }
            let recipe = process::Recipe {
                spec,
                how,
                plan: prepared.plan,
                template: prepared.template,
                code,
                extensions: layers.as_ref().map(|layers| programs(&layers.folder)).unwrap_or_default(),
                layers: layers.map(|layers| layers.folder),
                sandboxes: self.sandboxes.clone(),
                ports: self.ports.clone(),
                settings: self.settings.clone(),
                zygote: prepared.zygote,
                cells: self.cells.clone(),
                scribe: self.scribe.clone(),
            };
            environment::launch(recipe, queued).await
        })
    }
}

/// Names of the extensions that layers bring, in order: every file of their folder, but not its folders.
fn programs(layers: &Path) -> Vec<String> {
    let folder = layers.join("extensions");
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    // A link leads to a file inside, see `unpack.rs`; one that leads nowhere cannot be started, which is told then.
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !folder.join(name).is_dir())
        .collect();
    names.sort_unstable();
    names
}

impl Packages for Runtimes {
    fn unpack(&self, zip: Bytes) -> Future<'_, Result<Unpacked, PackageError>> {
        let store = self.store.clone();
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || store.unpack(&zip));
            work.await.unwrap_or_else(|error| Err(PackageError::Storage(io::Error::other(error))))
        })
    }

    fn has(&self, code: &CodeSha256) -> bool {
        self.store.path(code).is_some()
    }

    fn remove(&self, code: &CodeSha256) -> Future<'_, ()> {
        let (store, code) = (self.store.clone(), *code);
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(compiled, _)| *compiled != code);
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || store.remove(&code));
            match work.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, %code, "package could not be removed"),
                Err(error) => tracing::error!(%error, %code, "package could not be removed"),
            }
        })
    }

    fn size(&self, code: &CodeSha256) -> Future<'_, Result<ByteCount, PackageError>> {
        let (store, code) = (self.store.clone(), *code);
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || store.size(&code));
            work.await.unwrap_or_else(|error| Err(PackageError::Storage(io::Error::other(error))))
        })
    }

    fn retain_layers(&self, used: Vec<Vec<CodeSha256>>, grace: Millis) -> Future<'_, ()> {
        Box::pin(self.layers.retain(used, grace))
    }
}

impl RuntimeCatalog for Runtimes {
    fn check(
        &self,
        runtime: &str,
        architecture: &str,
        _handler: &str,
    ) -> Result<RuntimeSupport, RuntimeRefused> {
        let Some(family) = self.family(runtime) else {
            let mut known: Vec<&str> =
                self.families.get().iter().flat_map(|family| family.identifiers()).copied().collect();
            known.sort_unstable();
            return Err(RuntimeRefused::Unknown { runtime: runtime.to_owned(), known: known.join(", ") });
        };
        let mut support = family.check(runtime, architecture)?;
        self.warm(runtime);
        if let Some(library) = family.library(runtime)
            && let Some(reason) = self.libraries.failure(&library)
        {
            let missing = format!("{} could not be installed and is missing: {reason}", library.what);
            support.warning = Some(match support.warning.take() {
                Some(warning) => format!("{warning}; {missing}"),
                None => missing,
            });
        }
        Ok(support)
    }
}
