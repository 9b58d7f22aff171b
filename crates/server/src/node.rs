//! One node: made from its configuration, started, stopped.

use crate::{
    Error,
    config::{self, Config, Durability, Mode, Options, OtlpProtocol, OtlpSignal},
    endpoints,
    environments::Environments,
    ports::{Exported, OwnGateway, Targets},
    scope::Scope,
    system::{SystemClock, SystemEntropy},
    tls,
};
use base::{Clock, Entropy, LogSink, Meter};
use fleet::Fleet;
use functions::Functions;
use identity::Identity;
use queues::Queues;
use sandbox::Sandboxes;
use scaling::Scaling;
use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
    sync::Arc,
    time::Duration,
};
use telemetry::{
    Telemetry,
    otlp::{self, Exporter},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// A node that has its configuration, its data folder and its spawner, and no thread yet.
pub struct Prepared {
    options: Options,
    config: Config,
    sandboxes: Sandboxes,
    lock: File,
}

/// Reads the configuration, takes the data folder and forks the sandboxes' spawner.
///
/// Call it before any thread exists. Blocks for some milliseconds.
pub fn prepare(options: Options) -> Result<Prepared, Error> {
    let config = Config::load(&options)?;
    sandbox::enter_user_namespace()?;
    let lock = take(&options.data)?;
    let sandboxes = start_sandboxes(sandbox_settings(&options.data, &config)?, config.network.is_default())?;
    Ok(Prepared { options, config, sandboxes, lock })
}

/// Starts the spawner. Where nobody asked for the internet by name, a host that cannot give it is told about and used.
fn start_sandboxes(mut settings: sandbox::Settings, by_default: bool) -> Result<Sandboxes, Error> {
    match Sandboxes::start(settings.clone()) {
        Err(sandbox::Error::NoEgress { source }) if by_default => {
            tracing::warn!(%source, "functions reach Neap only: this host cannot carry them to the internet, see `neap doctor`; set network.egress to \"platform-only\" if that is meant");
            settings.network = sandbox::Network::PlatformOnly;
            Ok(Sandboxes::start(settings)?)
        }
        started => Ok(started?),
    }
}

/// Makes the data folder, readable by its owner only, and locks it; the lock ends with the process.
fn take(data: &Path) -> Result<File, Error> {
    let failed = |source| Error::Data { path: data.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    let lock = File::create(data.join("neap.lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn sandbox_settings(data: &Path, config: &Config) -> Result<sandbox::Settings, Error> {
    // Device and inode name the folder however it is reached, and survive a restart.
    let folder = std::fs::metadata(data).map_err(|source| Error::Data { path: data.to_owned(), source })?;
    let mut settings = sandbox::Settings::new(format!("{:x}x{:x}", folder.dev(), folder.ino()));
    // Half of what all functions together have: a third of every processor whatever they do, which is more than it needs.
    // With more it would interrupt them at each answer, and both would spend their time on switches.
    settings.daemon_cpu_weight = Some(500);
    settings.scratch = sandbox::Scratch::Disk(data.join("scratch"));
    settings.network = config.network.parse()?;
    let weaker = config.sandbox.allow_weaker.iter().map(|name| name.parse());
    settings.allow_weaker = weaker.collect::<Result<_, String>>().map_err(Error::Weakness)?;
    Ok(settings)
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    identity: Arc<Identity>,
    fleet: Arc<Fleet>,
    sandboxes: Sandboxes,
    front: Scope,
    back: Scope,
    drain: Duration,
    _lock: File,
}

impl Prepared {
    /// Threads that the node is to serve requests with.
    pub fn workers(&self) -> usize {
        self.config.node.workers()
    }

    /// Opens the stores, connects the parts and listens. On return requests are answered.
    pub async fn start(self) -> Result<Node, Error> {
        let Prepared { options, config, sandboxes, lock } = self;
        let data = options.data.as_path();
        let system = SystemClock::new();
        let clock: Arc<dyn Clock> = system.clone();
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        // Each waits for the disk, so they wait together.
        let (identity, telemetry_data, functions_data, queues_data, scaling_data) =
            std::thread::scope(|scope| {
                let open = |name, migrations, limits| {
                    let config = &config;
                    scope.spawn(move || open_database(name, data, config, migrations, limits))
                };
                let plain = store::Limits::default();
                let telemetry = open("telemetry", telemetry::MIGRATIONS, telemetry::limits());
                let functions = open("functions", functions::MIGRATIONS, plain);
                let queues = open("queues", queues::MIGRATIONS, plain);
                let scaling = open("scaling", scaling::MIGRATIONS, plain);
                let identity = Identity::open(data, trust(options.mode), clock.clone(), entropy.clone());
                (identity, joined(telemetry), joined(functions), joined(queues), joined(scaling))
            });
        let identity = identity?;
        let blobs = open_blobs(data, &config)?;
        let telemetry =
            Telemetry::new(telemetry_data?, clock.clone(), entropy.clone(), telemetry::Settings::default());
        let exporter = exporter(&config, &clock)?;
        let (logs, meter) = observers(&telemetry, exporter.as_ref());

        let own_gateway = Arc::new(OwnGateway::new(telemetry.clone()));
        let runtimes = runtimes::Runtimes::new(
            runtimes_settings(data, &config),
            sandboxes.clone(),
            runtimes::Ports {
                logs,
                meter: meter.clone(),
                sessions: identity.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
                platform: own_gateway.clone(),
            },
        )
        .map_err(Error::Runtimes)?;
        let wasm =
            wasm::Wasm::new(wasm_settings(data, &config), runtimes.clone()).map_err(Error::Runtimes)?;
        let fleet = Arc::new(Fleet::new(
            fleet_settings(&config, sandboxes.live_max()),
            wasm.clone(),
            meter.clone(),
            clock.now(),
        ));
        let functions = Functions::new(
            functions_data?,
            blobs.clone(),
            fleet.clone(),
            wasm,
            runtimes.clone(),
            system.clone(),
            entropy.clone(),
            functions_settings(&config),
        );
        functions.meter_events(meter.clone());
        let queues = Queues::new(
            queues_data?,
            system.clone(),
            entropy.clone(),
            identity.clone(),
            queues::Settings { shared: config.store.postgres_url.is_some() },
        );
        queues.meter_messages(meter);
        functions.poll_queues(queues.clone());
        functions.remember(fleet.clone());
        if let Err(error) = functions.recall_habits().await {
            tracing::error!(%error, "what was known of functions' calls could not be read and is learned anew");
        }
        let scaling = Scaling::new(
            scaling_data?,
            system.clone(),
            entropy.clone(),
            functions.clone(),
            Arc::new(telemetry.clone()),
            scaling::Settings { shared: config.store.postgres_url.is_some() },
        );
        telemetry.invoke_through(functions.clone());
        functions.capped_by(Arc::new(telemetry.clone()));
        // What is spent stays spent over a restart.
        let looked = telemetry.look_at_budgets().await;
        looked.map_err(|source| Error::Service { name: "telemetry", source: source.into() })?;

        functions.deliver_through(Arc::new(Targets {
            queues: queues.clone(),
            functions: Arc::downgrade(&functions),
            authorize: identity.clone(),
        }));

        let metrics: endpoints::Metrics = {
            let (fleet, functions, telemetry) = (fleet.clone(), functions.clone(), telemetry.clone());
            let (exporter, runtimes, queues) = (exporter.clone(), runtimes.clone(), queues.clone());
            Arc::new(move || {
                let mut shown = endpoints::shown(&fleet, &functions, &telemetry);
                shown.extend(endpoints::messages(queues.totals()));
                shown.extend(endpoints::depths(&queues.measured()));
                shown.extend(endpoints::zygotes(&runtimes));
                shown.extend(endpoints::stem_cells(&runtimes.cells()));
                shown.extend(exporter.iter().flat_map(|exporter| exporter.counts()));
                telemetry.prometheus(&shown)
            })
        };
        let ports =
            wire::Ports { credentials: identity.clone(), authorize: identity.clone(), clock, entropy };
        let settings = wire::Settings::new(options.mode == Mode::Serve, config.node.region.clone());
        let verifier = wire::Verifier::new(&ports, &settings);
        let gateway = wire::Gateway::new(ports, settings)
            .service(functions.clone())
            .service(identity.clone())
            .service(queues.clone())
            .service(queues.inspection())
            .service(scaling.clone())
            .service(telemetry.logs())
            .service(telemetry.monitoring())
            .service(telemetry.tracing())
            .service(telemetry.usage())
            .service(Arc::new(Environments {
                fleet: fleet.clone(),
                runtimes: runtimes.clone(),
                scaling: scaling.clone(),
            }));
        let parts = endpoints::Parts {
            functions: &functions,
            queues: &queues,
            scaling: &scaling,
            telemetry: &telemetry,
            metrics: &metrics,
            runtimes: &runtimes,
            clock: &system,
        };
        let gateway = endpoints::mount(gateway, options.mode, parts, verifier);
        let gateway = Arc::new(gateway);
        own_gateway.set(gateway.clone());

        let wanted = config.node.listen;
        let listener =
            TcpListener::bind(wanted).await.map_err(|source| Error::Listen { address: wanted, source })?;
        let address = listener.local_addr().map_err(|source| Error::Listen { address: wanted, source })?;

        let mut back = Scope::new();
        back.spawn("telemetry", |stop| telemetry.run(stop.asked()));
        if let Some(exporter) = exporter {
            back.spawn("export", |stop| async move { exporter.run(|| metrics(), stop.asked()).await });
        }
        let mut front = Scope::new();
        let leftovers = blobs.clone();
        front.spawn("blobs sweep", |stop| async move {
            tokio::select! {
                swept = leftovers.sweep() => {
                    if let Err(error) = swept {
                        tracing::warn!(%error, "uploads that an earlier run left unfinished could not be removed");
                    }
                }
                () = stop.asked() => (),
            }
        });
        front.spawn("asynchronous events", |stop| functions.clone().run_events(stop.asked()));
        front.spawn("event source mappings", |stop| functions.clone().run_mappings(stop.asked()));
        front.spawn("queues", |stop| queues.clone().run(stop.asked()));
        front.spawn("habits of functions", |stop| functions.clone().run_habits(stop.asked()));
        front.spawn("scaling", |stop| scaling.clone().run(stop.asked()));
        front.spawn("functions upkeep", |stop| functions.clone().run_upkeep(stop.asked()));
        front.spawn("changes of functions", |stop| functions.clone().run_changes(stop.asked()));
        let cells = runtimes.clone();
        front.spawn("stem cells", |stop| async move { cells.run_cells(stop.asked()).await });
        let install = config.runtimes.install_sdks;
        front.spawn("runtimes preparation", |stop| async move {
            let work = async {
                if install {
                    runtimes.install().await;
                }
                runtimes.prepare_all().await;
                if let Err(error) = sandbox::forget_the_start() {
                    tracing::debug!(%error, "what only the start needed stays in memory");
                }
            };
            tokio::select! { () = work => (), () = stop.asked() => () }
        });
        let drain = Duration::from_secs(config.node.drain_s.into());
        let limits = wire::Limits { drain_max: drain, ..wire::Limits::default() };
        front.spawn("listener", |stop| {
            let gateway = gateway.clone();
            async move {
                if let Err(error) = wire::serve(listener, gateway, limits, stop.asked()).await {
                    tracing::error!(%error, "the listener failed");
                }
            }
        });
        tracing::info!(%address, mode = ?options.mode, "ready");
        Ok(Node { address, identity, fleet, sandboxes, front, back, drain, _lock: lock })
    }
}

impl Node {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root credentials.
    pub fn root_credentials(&self) -> &identity::RootCredentials {
        self.identity.root()
    }

    /// Serves until the process is asked to end (SIGTERM or SIGINT), then [`Node::stop`]s.
    pub async fn run(self) -> Result<(), Error> {
        let (mut terminate, mut interrupt) =
            match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
                (Err(source), _) | (_, Err(source)) => return Err(Error::Signals(source)),
            };
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        tracing::info!("stopping");
        self.stop().await;
        Ok(())
    }

    /// Ends in order: no new requests, running invocations end or are ended, then logs and meters are written, then
    /// nothing of any sandbox is left.
    pub async fn stop(self) {
        let grace = Duration::from_secs(5);
        self.front.close(self.drain + grace).await;
        self.fleet.drain(self.drain).await;
        self.back.close(grace).await;
        self.sandboxes.shutdown().await;
    }
}

/// What exports to the collector that the configuration names, if it does.
fn exporter(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Exporter>>, Error> {
    let collector = config.otlp.collector().map_err(config::Error::Otlp)?;
    let Some(collector) = collector else { return Ok(None) };
    let settings = otlp::Settings {
        interval: Duration::from_millis(config.otlp.interval_ms),
        traces: config.otlp.exports(OtlpSignal::Traces),
        metrics: config.otlp.exports(OtlpSignal::Metrics),
        logs: config.otlp.exports(OtlpSignal::Logs),
        encoding: match config.otlp.protocol {
            OtlpProtocol::HttpJson => otlp::Encoding::Json,
            OtlpProtocol::HttpProtobuf | OtlpProtocol::Grpc => otlp::Encoding::Protobuf,
        },
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(Some(Arc::new(Exporter::new(settings, Arc::new(collector), clock.clone()))))
}

/// Whom functions' lines and invocations are told to.
fn observers(telemetry: &Telemetry, exporter: Option<&Arc<Exporter>>) -> (Arc<dyn LogSink>, Arc<dyn Meter>) {
    match exporter {
        None => (Arc::new(telemetry.clone()), Arc::new(telemetry.clone())),
        Some(exporter) => {
            telemetry.export_through(exporter.clone());
            let both = || Arc::new(Exported { telemetry: telemetry.clone(), exporter: exporter.clone() });
            (both(), both())
        }
    }
}

/// The result of a thread; its panic goes on here.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn trust(mode: Mode) -> identity::Mode {
    match mode {
        Mode::Serve => identity::Mode::Serve,
        Mode::Dev => identity::Mode::Dev,
    }
}

fn open_database(
    name: &'static str,
    data: &Path,
    config: &Config,
    migrations: &'static [store::Migration],
    limits: store::Limits,
) -> Result<store::Database, Error> {
    let location = match &config.store.postgres_url {
        Some(url) => store::Location::Postgres { url: url.clone(), schema: format!("neap_{name}") },
        None => store::Location::Sqlite {
            path: data.join("db").join(name).with_extension("sqlite"),
            durability: match config.store.durability {
                Durability::Full => store::Durability::Full,
                Durability::Relaxed => store::Durability::Relaxed,
            },
        },
    };
    store::Database::open_with(location, migrations, limits).map_err(|source| Error::Store { name, source })
}

fn open_blobs(data: &Path, config: &Config) -> Result<store::Blobs, Error> {
    let location = match &config.blobs.s3 {
        Some(s3) => store::BlobLocation::S3(store::S3Settings {
            endpoint: Some(s3.endpoint.clone()),
            bucket: s3.bucket.clone(),
            region: s3.region.clone(),
            access_key: s3.access_key.clone(),
            secret_key: s3.secret_key.clone(),
            // The endpoint is the operator's own choice, scheme included.
            allow_http: true,
        }),
        None => store::BlobLocation::Disk { folder: data.join("blobs") },
    };
    store::Blobs::open(location).map_err(Error::Blobs)
}

fn runtimes_settings(data: &Path, config: &Config) -> runtimes::Settings {
    let folder = config.runtimes.folder.clone().unwrap_or_else(|| data.join("runtimes"));
    let mut settings = runtimes::Settings::new(data.join("code"), folder);
    settings.cpu_quota = config.sandbox.hard_cpu_quota;
    settings.zygote_idle = base::Millis(u64::from(config.runtimes.zygote_idle_s) * 1000);
    if let Some(modules) = &config.runtimes.preload {
        settings.preload.clone_from(modules);
    }
    if let Some(most) = config.runtimes.stem_cells_max {
        settings.stem_cells.max = most;
    }
    settings.stem_cells.idle = base::Millis(u64::from(config.runtimes.stem_cells_idle_s) * 1000);
    settings
}

/// The command of this program that compiles WebAssembly in a process of its own; see [`crate::compile_wasm`].
pub const COMPILER_COMMAND: &str = "compile-wasm";

fn wasm_settings(data: &Path, config: &Config) -> wasm::Settings {
    // This program, also where its file has been replaced since.
    let compiler = ["/proc/self/exe", COMPILER_COMMAND].map(Into::into).to_vec();
    let mut settings = wasm::Settings::new(data.join("code").join("wasm"), compiler);
    settings.instances = config.wasm.instances;
    settings.compiler.bounds = wasm::Bounds {
        processor: base::Seconds(config.wasm.compile_max_s),
        memory: base::ByteCount(u64::from(config.wasm.compile_memory_mib) << 20),
        filtered: !config.sandbox.allow_weaker.iter().any(|name| name == sandbox::Weakness::NoSeccomp.name()),
    };
    settings.tls = || tls::connector(b"http/1.1").map_err(|error| error.to_string());
    settings
}

/// How soon a node sees what another on the same database has changed of a function.
const CHANGES_EVERY: base::Millis = base::Millis(1_000);

fn functions_settings(config: &Config) -> functions::Settings {
    let mut settings =
        functions::Settings { span_share: config.otlp.span_share(), ..functions::Settings::default() };
    settings.shared_every = config.store.postgres_url.is_some().then_some(CHANGES_EVERY);
    settings.events.waits.after_failure = config.asynchronous.retry_waits_ms.map(base::Millis).to_vec();
    if let Some(calls) = config.fleet.account_concurrency {
        settings.account_concurrency = calls;
    }
    settings
}

/// Sandboxes beside those of functions and stem cells: zygotes, one for each runtime, and ended ones that are cleaned.
const PLACES_KEPT: u32 = 16;

/// `sandboxes` is how many of them there can be at once.
fn fleet_settings(config: &Config, sandboxes: usize) -> fleet::Settings {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut settings = fleet::Settings::for_host(host_memory(), cpus);
    let limits = &mut settings.limits;
    // Interpreters that wait for functions or are forked from have places too, and an ended sandbox has its for a moment.
    let waiting = config.runtimes.stem_cells_max.unwrap_or_else(|| runtimes::CellSettings::default().max);
    let places = u32::try_from(sandboxes).unwrap_or(u32::MAX);
    limits.environments_max =
        places.saturating_sub(waiting.saturating_add(PLACES_KEPT)).max(places / 2).max(1);
    if let Some(mib) = config.fleet.memory_budget_mib {
        limits.memory_budget = base::MemoryMib(mib);
    }
    if let Some(seconds) = config.fleet.idle_keep_s {
        limits.keep_us = u64::from(seconds) * 1_000_000;
    }
    limits.keep_alive = match config.fleet.kept() {
        config::KeepAlive::Learned => fleet::KeepAlive::Learned,
        config::KeepAlive::Fixed => fleet::KeepAlive::Fixed,
    };
    if let Some(ms) = config.fleet.pause_min_ms {
        limits.pause_us = u64::from(ms) * 1_000;
    }
    if let Some(waiting) = config.fleet.snapstart_waiting {
        limits.prepared_per_version = waiting.get();
    }
    if let Some(starts) = config.fleet.parallel_starts {
        limits.starts_parallel = starts;
    }
    if let Some(calls) = config.fleet.account_concurrency {
        limits.account_concurrency = calls;
    }
    settings
}

/// Memory of the machine; 1 GiB where it cannot be told.
fn host_memory() -> base::ByteCount {
    let table = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = table
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    base::ByteCount(kib.unwrap_or(1024 * 1024_u64) * 1024)
}
