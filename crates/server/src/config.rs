//! Configuration: read once from one file and the command line into typed structs; an unknown key is an error.
//!
//! Every key carries its unit in its name and has a default, so that an empty or missing file is a working node.

use crate::collector::HttpCollector;
use base::Region;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
};

/// Whom the node trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody: each request is signed by a known key, each operation authorised.
    Serve,
    /// Everybody who reaches the loopback address: any credentials are taken. Bound to loopback only.
    Dev,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom the node trusts.
    pub mode: Mode,
    /// Listening address; overrides the file. Default 127.0.0.1:4566; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Folder of everything the node keeps.
    pub data: PathBuf,
    /// Configuration file; default `<data>/neap.toml` if it exists.
    pub config: Option<PathBuf>,
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The node.
    pub node: Node,
    /// Databases.
    pub store: Store,
    /// Code packages.
    pub blobs: Blobs,
    /// Isolation.
    pub sandbox: Sandbox,
    /// What functions reach.
    pub network: Network,
    /// Managed runtimes.
    pub runtimes: Runtimes,
    /// WebAssembly functions.
    pub wasm: Wasm,
    /// Scaling.
    pub fleet: Fleet,
    /// Asynchronous invocations.
    pub asynchronous: Asynchronous,
    /// Export to an OpenTelemetry collector.
    pub otlp: Otlp,
}

/// `[node]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Listening address. Default 127.0.0.1:4566.
    pub listen: SocketAddr,
    /// Region of requests that name none; a signature names one, and each region is a namespace of its own.
    /// Default us-east-1.
    pub region: Region,
    /// How long running invocations may take to end after a stop is asked for. Default 30 s.
    pub drain_s: u32,
    /// Threads that serve requests. Default: half of the processors, at least one.
    pub workers: Option<NonZeroU16>,
}

impl Node {
    /// Threads that serve requests. Functions need the other half of the processors; and the fewer threads share the work, the
    /// less of it is waking each other (`docs/performance.md`).
    pub(crate) fn workers(&self) -> usize {
        let half = || std::thread::available_parallelism().map_or(1, |all| usize::from(all) / 2).max(1);
        self.workers.map_or_else(half, |workers| usize::from(workers.get()))
    }
}

impl Default for Node {
    fn default() -> Self {
        Node {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4566)),
            region: DEFAULT_REGION.parse().unwrap_or_else(|_| unreachable!("a constant of the grammar")),
            drain_s: 30,
            workers: None,
        }
    }
}

const DEFAULT_REGION: &str = "us-east-1";

/// `[store]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `postgres://…`: the databases are schemas there instead of SQLite files under `<data>/db`. Default: SQLite.
    pub postgres_url: Option<String>,
    /// `full` (default): a success is on disk before it is answered. `relaxed`: it survives a crash of Neap, but a
    /// power failure may lose the last moments.
    pub durability: Durability,
}

/// `durability`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// fsync before the answer.
    #[default]
    Full,
    /// No fsync.
    Relaxed,
}

/// `[blobs]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Blobs {
    /// An S3-compatible store. Default: `<data>/blobs` on the local disk.
    pub s3: Option<S3>,
}

/// `[blobs.s3]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// e.g. `http://10.0.0.5:9000`.
    pub endpoint: String,
    /// Bucket; must exist.
    pub bucket: String,
    /// Region for signatures. Default us-east-1.
    #[serde(default = "default_region")]
    pub region: String,
    /// Access key.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
}

fn default_region() -> String {
    DEFAULT_REGION.to_owned()
}

/// `[wasm]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wasm {
    /// WebAssembly instances that exist at once, up to 10,000; an invocation beyond fails. 0: no WebAssembly. Default 1,000.
    pub instances: u32,
    /// Processor time that compiling a program may take, in seconds, from 1; beyond it the function is Failed. Default 300.
    pub compile_max_s: u32,
    /// Memory that it may take, in MiB, from 256. Default 2,048.
    pub compile_memory_mib: u32,
}

impl Default for Wasm {
    fn default() -> Self {
        Wasm { instances: 1_000, compile_max_s: 300, compile_memory_mib: 2_048 }
    }
}

impl Wasm {
    fn check(&self) -> Result<(), Error> {
        if !INSTANCES.contains(&self.instances) {
            return Err(Error::Instances(self.instances));
        }
        if self.compile_max_s == 0 {
            return Err(Error::CompileTime);
        }
        if self.compile_memory_mib < COMPILE_MEMORY_MIN_MIB {
            return Err(Error::CompileMemory(self.compile_memory_mib));
        }
        Ok(())
    }
}

/// What the compiler needs before it has seen a program, its code included.
const COMPILE_MEMORY_MIN_MIB: u32 = 256;

/// Each instance reserves 4 GiB of addresses, of which a process has 128 TiB.
const INSTANCES: std::ops::RangeInclusive<u32> = 0..=10_000;

/// `[sandbox]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// Names of weaknesses that are accepted on a host that cannot isolate fully, as `neap doctor` prints them.
    /// Default none: such a host is refused.
    pub allow_weaker: Vec<String>,
    /// Whether CPU is capped at the share that the memory size buys even when the machine is idle. Default false:
    /// the share is a guaranteed weight, and idle CPU may be used.
    pub hard_cpu_quota: bool,
}

/// `[network]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// What functions reach. Default `internet`; where the host cannot give that, `platform-only`, which the node says
    /// when it starts. What is asked for by name is given, or the node does not start.
    pub egress: Option<Egress>,
    /// Private ranges that they may reach besides, e.g. `10.20.0.0/16`: parts of 10.0.0.0/8, 100.64.0.0/10,
    /// 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 198.18.0.0/15. With `internet` only. Default none.
    pub allow: Vec<String>,
    /// Ranges that they may not reach; these win over `allow`. With `internet` only. Default none.
    pub refuse: Vec<String>,
}

/// `egress`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// Neap and every public IPv4 address, names included; never the host, private ranges or other environments.
    Internet,
    /// Neap's own API only.
    PlatformOnly,
    /// Nothing but the Runtime API.
    None,
}

impl Network {
    /// Whether nothing was asked for by name.
    pub fn is_default(&self) -> bool {
        self.egress.is_none() && self.allow.is_empty() && self.refuse.is_empty()
    }

    /// For the sandboxes. A range that cannot be meant, or that would have no effect, is an error that names it.
    pub fn parse(&self) -> Result<sandbox::Network, Error> {
        let egress = self.egress.unwrap_or(Egress::Internet);
        let unused = |name| Err(Error::WithoutInternet { name, egress });
        match egress {
            Egress::Internet => {
                let ranges = sandbox::Ranges::new(&self.allow, &self.refuse).map_err(Error::Ranges)?;
                Ok(sandbox::Network::Internet(ranges))
            }
            Egress::PlatformOnly | Egress::None if !self.allow.is_empty() => unused("allow"),
            Egress::PlatformOnly | Egress::None if !self.refuse.is_empty() => unused("refuse"),
            Egress::PlatformOnly => Ok(sandbox::Network::PlatformOnly),
            Egress::None => Ok(sandbox::Network::Nothing),
        }
    }
}

/// `[runtimes]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtimes {
    /// Folder of the managed runtimes' libraries; may be shared by nodes. Default `<data>/runtimes`.
    pub folder: Option<PathBuf>,
    /// Whether boto3 and the AWS SDK for JavaScript are installed into that folder where missing. Default true.
    pub install_sdks: bool,
    /// How long the zygote of a Python runtime is kept after the last start by it. Default 3,600 s; 0: there are none.
    pub zygote_idle_s: u32,
    /// Modules that zygotes load. Default: common modules of the standard library.
    pub preload: Option<Vec<String>>,
    /// Most stem cells, interpreters and empty sandboxes that wait for functions, at once; at most 250, a quarter of the environments that
    /// a node has at once; 0 turns them off. Default: eight per CPU, but
    /// no more than fit into a sixteenth of the machine's memory at 64 MiB each.
    pub stem_cells_max: Option<u32>,
    /// How long stem cells of a kind are kept after the last start of that kind; at least 1. Default 600 s.
    pub stem_cells_idle_s: u32,
}

impl Default for Runtimes {
    fn default() -> Self {
        Runtimes {
            folder: None,
            install_sdks: true,
            zygote_idle_s: 3_600,
            preload: None,
            stem_cells_max: None,
            stem_cells_idle_s: 600,
        }
    }
}

/// Of [`Runtimes::stem_cells_max`].
const STEM_CELLS_MAX: u32 = 250;

impl Runtimes {
    fn check(&self) -> Result<(), Error> {
        match (self.stem_cells_max, self.stem_cells_idle_s) {
            (Some(most), _) if most > STEM_CELLS_MAX => Err(Error::StemCellsMax(most)),
            (_, 0) => Err(Error::StemCellsIdle),
            (_, _) => Ok(()),
        }
    }
}

/// `[fleet]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// Memory that environments may use together. Default: four fifths of the machine's.
    pub memory_budget_mib: Option<u32>,
    /// Whether idle environments are kept for a fixed time or as each function's calls suggest. Default: learned, unless
    /// [`Fleet::idle_keep_s`] is set.
    pub keep_alive: Option<KeepAlive>,
    /// How long an idle environment is kept; while a function's calls are not known, with [`KeepAlive::Learned`].
    /// Default 600 s.
    pub idle_keep_s: Option<u32>,
    /// With [`KeepAlive::Learned`]: an environment is not ended for a shorter pause, to be started again after it.
    /// Default 10,000 ms.
    pub pause_min_ms: Option<u32>,
    /// Environments that wait initialised for each version with SnapStart. Default 1.
    pub snapstart_waiting: Option<std::num::NonZeroU32>,
    /// Environments that may be starting at once. Default: four per CPU.
    pub parallel_starts: Option<u32>,
    /// Concurrent invocations of one account. Default 1,000.
    pub account_concurrency: Option<u32>,
}

impl Fleet {
    /// What counts of [`Fleet::keep_alive`] and [`Fleet::idle_keep_s`].
    pub fn kept(&self) -> KeepAlive {
        let set = self.idle_keep_s.map(|_| KeepAlive::Fixed);
        self.keep_alive.or(set).unwrap_or(KeepAlive::Learned)
    }

    /// Refuses what would have no effect.
    fn check(&self) -> Result<(), Error> {
        match (self.kept(), self.pause_min_ms) {
            (KeepAlive::Fixed, Some(_)) => Err(Error::PauseOfFixed),
            (KeepAlive::Fixed, None) | (KeepAlive::Learned, _) => Ok(()),
        }
    }
}

/// `fleet.keep_alive`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepAlive {
    /// As each function's calls suggest.
    Learned,
    /// For [`Fleet::idle_keep_s`].
    Fixed,
}

/// `[asynchronous]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asynchronous {
    /// Wait before the first and before the second retry of a failed event. Default 60 s and 120 s.
    pub retry_waits_ms: [u64; 2],
}

impl Default for Asynchronous {
    fn default() -> Self {
        Asynchronous { retry_waits_ms: [60_000, 120_000] }
    }
}

/// `[otlp]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// The collector, e.g. `http://127.0.0.1:4318`. Default none: nothing is exported.
    pub endpoint: Option<String>,
    /// How it is spoken to. Default `http/json`.
    pub protocol: OtlpProtocol,
    /// How batches are compressed. Default `none`.
    pub compression: OtlpCompression,
    /// What is exported. Default all.
    pub export: Vec<OtlpSignal>,
    /// Between batches; at least 10. Default 5,000 ms.
    pub interval_ms: u64,
    /// The share of traces, from 0 to 1, that are exported where nobody has decided about them. Default 1.
    pub sample_ratio: f64,
    /// Sent with each batch, e.g. `authorization`. Default none.
    pub headers: BTreeMap<String, String>,
}

impl Default for Otlp {
    fn default() -> Self {
        Otlp {
            endpoint: None,
            protocol: OtlpProtocol::HttpJson,
            compression: OtlpCompression::None,
            export: vec![OtlpSignal::Traces, OtlpSignal::Metrics, OtlpSignal::Logs],
            interval_ms: 5_000,
            sample_ratio: 1.0,
            headers: BTreeMap::new(),
        }
    }
}

const OTLP_INTERVAL_MS: std::ops::RangeInclusive<u64> = 10..=3_600_000;

/// `protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// JSON by HTTP/1.1.
    #[serde(rename = "http/json")]
    HttpJson,
    /// Protocol Buffers by HTTP/1.1.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// Protocol Buffers by gRPC.
    #[serde(rename = "grpc")]
    Grpc,
}

/// `compression`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtlpCompression {
    /// As they are.
    None,
    /// By gzip.
    Gzip,
}

/// A part of `export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtlpSignal {
    /// Spans of invocations and of the parts of their starts.
    Traces,
    /// What `/_neap/metrics` shows.
    Metrics,
    /// Lines that functions log.
    Logs,
}

/// Settings of `[otlp]` that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// Everything else needs it.
    #[error("otlp.endpoint is missing, without which nothing else of [otlp] has an effect")]
    NoEndpoint,
    /// It cannot be used.
    #[error("otlp.endpoint {endpoint:?}: {reason}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// Why.
        reason: &'static str,
    },
    /// TLS cannot be used.
    #[error("otlp.endpoint is https, which cannot be used: {0}")]
    Tls(#[from] crate::tls::Error),
    /// Out of bounds.
    #[error("otlp.sample_ratio of {0} is not within 0 and 1")]
    Ratio(f64),
    /// It decides about traces.
    #[error("otlp.sample_ratio has no effect where otlp.export has no \"traces\"")]
    RatioWithoutTraces,
    /// Nothing is left to do, or a part is named twice.
    #[error("otlp.export names each of \"traces\", \"metrics\" and \"logs\" at most once, and at least one")]
    Export,
    /// Out of bounds.
    #[error("otlp.interval_ms of {0} is not within 10 and 3600000")]
    Interval(u64),
    /// Not a header, or one that is Neap's own.
    #[error("otlp.headers.{0} cannot be sent")]
    Header(String),
}

impl Otlp {
    /// The collector, if there is one.
    pub(crate) fn collector(&self) -> Result<Option<HttpCollector>, OtlpError> {
        let Some(endpoint) = &self.endpoint else {
            return if *self == Otlp::default() { Ok(None) } else { Err(OtlpError::NoEndpoint) };
        };
        let times = |signal: &OtlpSignal| self.export.iter().filter(|one| *one == signal).count();
        if self.export.is_empty() || self.export.iter().any(|signal| times(signal) > 1) {
            return Err(OtlpError::Export);
        }
        if !OTLP_INTERVAL_MS.contains(&self.interval_ms) {
            return Err(OtlpError::Interval(self.interval_ms));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(OtlpError::Ratio(self.sample_ratio));
        }
        if self.sample_ratio < 1.0 && !self.export.contains(&OtlpSignal::Traces) {
            return Err(OtlpError::RatioWithoutTraces);
        }
        HttpCollector::new(endpoint, self).map(Some)
    }

    /// The share of traces that is exported though no header decides so.
    pub(crate) fn span_share(&self) -> f64 {
        if self.exports(OtlpSignal::Traces) { self.sample_ratio } else { 0.0 }
    }

    /// Whether a part is exported.
    pub(crate) fn exports(&self, signal: OtlpSignal) -> bool {
        self.endpoint.is_some() && self.export.contains(&signal)
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("configuration file {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the message names the key and the line.
    #[error("configuration file {path}: {source}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Ranges of addresses that cannot be what is meant.
    #[error("configuration: {0}")]
    Ranges(#[source] sandbox::Error),
    /// Ranges where they would have no effect.
    #[error("configuration: network.{name} needs network.egress = \"internet\", not {egress:?}")]
    WithoutInternet {
        /// The key.
        name: &'static str,
        /// What is configured.
        egress: Egress,
    },
    /// A pause where nothing is learned.
    #[error("configuration: fleet.pause_min_ms needs fleet.keep_alive = \"learned\"")]
    PauseOfFixed,
    /// More than a node can spare.
    #[error("configuration: runtimes.stem_cells_max of {0} exceeds {STEM_CELLS_MAX}")]
    StemCellsMax(u32),
    /// None would ever wait.
    #[error(
        "configuration: runtimes.stem_cells_idle_s of 0 is below 1; stem_cells_max = 0 turns stem cells off"
    )]
    StemCellsIdle,
    /// An export that cannot be carried out.
    #[error("configuration: {0}")]
    Otlp(#[from] OtlpError),
    /// Out of bounds.
    #[error("configuration: wasm.instances of {0} exceeds 10000")]
    Instances(u32),
    /// Nothing could be compiled.
    #[error("configuration: wasm.compile_max_s of 0 is below 1; wasm.instances = 0 turns WebAssembly off")]
    CompileTime,
    /// Nothing could be compiled.
    #[error("configuration: wasm.compile_memory_mib of {0} is below {COMPILE_MEMORY_MIN_MIB}")]
    CompileMemory(u32),
    /// `neap dev` outside of loopback would let anybody run code.
    #[error(
        "neap dev takes any credentials and therefore listens on loopback only, not on {0}; use neap serve"
    )]
    DevBeyondLoopback(SocketAddr),
}

impl Config {
    /// Reads the file that `options` name, or `<data>/neap.toml` if it exists, and applies the command line.
    pub fn load(options: &Options) -> Result<Config, Error> {
        let mut config = match &options.config {
            Some(path) => Self::read(path)?,
            None => {
                let usual = options.data.join("neap.toml");
                if usual.exists() { Self::read(&usual)? } else { Config::default() }
            }
        };
        if let Some(listen) = options.listen {
            config.node.listen = listen;
        }
        if options.mode == Mode::Dev && !config.node.listen.ip().is_loopback() {
            return Err(Error::DevBeyondLoopback(config.node.listen));
        }
        config.network.parse()?;
        config.wasm.check()?;
        config.otlp.collector()?;
        config.fleet.check()?;
        config.runtimes.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Config, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| Error::Invalid { path: path.to_owned(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(mode: Mode, listen: Option<&str>) -> Options {
        Options {
            mode,
            listen: listen.map(|text| text.parse().unwrap()),
            data: "/nonexistent".into(),
            config: None,
        }
    }

    #[test]
    fn an_empty_file_is_a_working_node() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config.node.listen.to_string(), "127.0.0.1:4566");
        assert_eq!(config.store.durability, Durability::Full);
    }

    #[test]
    fn the_documented_file_is_the_default() {
        let page = include_str!("../../../docs/configuration.md");
        let file = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        let documented: Config = toml::from_str(file).unwrap();
        assert_eq!(format!("{documented:?}"), format!("{:?}", Config::default()));
        // Every key that is shown as a comment exists too.
        let all: String = file
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .fold(String::new(), |all, line| all + line + "\n");
        toml::from_str::<Config>(&all).unwrap();
    }

    #[test]
    fn unknown_keys_are_errors_that_name_them() {
        let error = toml::from_str::<Config>("[node]\nlisten_on = 1\n").unwrap_err();
        assert!(error.to_string().contains("listen_on"), "{error}");
    }

    #[test]
    fn ranges_of_addresses_have_an_effect_or_are_refused() {
        let parse =
            |text: &str| toml::from_str::<Config>(text).map(|config| config.network.parse().map(drop));
        assert!(parse("[network]\nallow = [\"10.0.0.0/8\"]").unwrap().is_ok());
        let refused = parse("[network]\nallow = [\"127.0.0.1\"]").unwrap().unwrap_err().to_string();
        assert!(refused.contains("network.allow") && refused.contains("127.0.0.1"), "{refused}");
        for egress in ["platform-only", "none"] {
            let text = format!("[network]\negress = \"{egress}\"\nrefuse = [\"8.8.8.8\"]");
            let refused = parse(&text).unwrap().unwrap_err().to_string();
            assert!(refused.contains("network.refuse needs network.egress = \"internet\""), "{refused}");
            assert!(parse(&format!("[network]\negress = \"{egress}\"")).unwrap().is_ok());
        }
        assert!(parse("[network]\negress = \"everything\"").unwrap_err().to_string().contains("egress"));
    }

    #[test]
    fn there_is_always_a_thread_that_serves() {
        let workers = |text: &str| Ok::<_, toml::de::Error>(toml::from_str::<Config>(text)?.node.workers());
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(workers(""), Ok((processors / 2).max(1)));
        assert_eq!(workers("[node]\nworkers = 3"), Ok(3));
        assert!(workers("[node]\nworkers = 0").unwrap_err().to_string().contains("nonzero"));
    }

    #[test]
    fn stem_cells_are_kept_within_bounds_or_refused() {
        let check = |text: &str| {
            let config: Config = toml::from_str(&format!("[runtimes]\n{text}")).unwrap();
            config.runtimes.check().map_err(|error| error.to_string())
        };
        for good in ["", "stem_cells_max = 0", "stem_cells_max = 250", "stem_cells_idle_s = 1"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert!(check("stem_cells_max = 251").unwrap_err().contains("of 251 exceeds 250"));
        assert!(check("stem_cells_idle_s = 0").unwrap_err().contains("below 1"));
    }

    #[test]
    fn an_export_has_an_effect_or_is_refused() {
        let parse = |text: &str| {
            let config: Config = toml::from_str(&format!("[otlp]\n{text}")).map_err(|e| e.to_string())?;
            config.otlp.collector().map(|found| found.is_some()).map_err(|error| error.to_string())
        };
        let to = r#"endpoint = "http://127.0.0.1:4318/base""#;
        assert_eq!(parse(""), Ok(false));
        assert_eq!(parse(to), Ok(true));
        assert_eq!(
            parse(&format!("{to}\nexport = [\"logs\"]\nheaders = {{ authorization = \"x\" }}")),
            Ok(true)
        );
        for (bad, told) in [
            ("interval_ms = 7", "otlp.endpoint is missing"),
            ("headers = { a = \"b\" }", "otlp.endpoint is missing"),
            ("protocol = \"grpc\"", "otlp.endpoint is missing"),
            ("compression = \"gzip\"", "otlp.endpoint is missing"),
            (&format!("{to}\nprotocol = \"grpc\""), "gRPC has no path"),
            (&format!("{to}\nprotocol = \"udp\""), "udp"),
            (&format!("{to}\ncompression = \"zstd\""), "zstd"),
            (&format!("{to}\nsample_ratio = 1.5"), "otlp.sample_ratio of 1.5"),
            (&format!("{to}\nsample_ratio = nan"), "otlp.sample_ratio of NaN"),
            (&format!("{to}\nsample_ratio = 0.5\nexport = [\"logs\"]"), "otlp.sample_ratio has no effect"),
            (&format!("{to}\nheaders = {{ grpc-timeout = \"1S\" }}"), "otlp.headers.grpc-timeout"),
            ("endpoint = \"ftp://collector\"", "must begin with http:// or https://"),
            ("endpoint = \"127.0.0.1:4318\"", "must begin with http://"),
            ("endpoint = \"http://a:b@c\"", "otlp.headers"),
            (&format!("{to}\nexport = []"), "otlp.export"),
            (&format!("{to}\nexport = [\"logs\", \"logs\"]"), "otlp.export"),
            (&format!("{to}\nexport = [\"profiles\"]"), "profiles"),
            (&format!("{to}\ninterval_ms = 9"), "otlp.interval_ms of 9"),
            (&format!("{to}\nheaders = {{ \"a b\" = \"c\" }}"), "otlp.headers.a b"),
            (&format!("{to}\nheaders = {{ host = \"c\" }}"), "otlp.headers.host"),
            (&format!("{to}\nurl = \"x\""), "url"),
        ] {
            let refused = parse(bad).unwrap_err();
            assert!(refused.contains(told), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_fixed_time_wins_over_what_is_learned_unless_both_are_asked_for() {
        let kept = |text: &str| {
            let config: Config = toml::from_str(&format!("[fleet]\n{text}")).unwrap();
            config.fleet.check().map(|()| config.fleet.kept()).map_err(|error| error.to_string())
        };
        assert_eq!(kept(""), Ok(KeepAlive::Learned));
        assert_eq!(kept("idle_keep_s = 5"), Ok(KeepAlive::Fixed));
        assert_eq!(
            kept("idle_keep_s = 5\nkeep_alive = \"learned\"\npause_min_ms = 1"),
            Ok(KeepAlive::Learned)
        );
        assert_eq!(kept("keep_alive = \"fixed\""), Ok(KeepAlive::Fixed));
        assert!(kept("idle_keep_s = 5\npause_min_ms = 1").unwrap_err().contains("fleet.pause_min_ms"));
        assert!(toml::from_str::<Config>("[fleet]\nkeep_alive = \"always\"").is_err());
    }

    #[test]
    fn dev_mode_refuses_to_listen_beyond_loopback() {
        assert!(matches!(
            Config::load(&options(Mode::Dev, Some("0.0.0.0:4566"))),
            Err(Error::DevBeyondLoopback(_))
        ));
        assert!(Config::load(&options(Mode::Serve, Some("0.0.0.0:4566"))).is_ok());
    }
}
