//! Execution environments per runtime: what is inside a sandbox so that a Lambda function runs in it.
//!
//! Owns: the table of runtimes, packages on disk, roots and managed libraries, boot programs and the two ways in which the
//! platform talks to a runtime (private frames, HTTP Runtime API), what an invocation may take, its log and its metering
//! record. Must never know: scheduling, accounts' limits, SQL, the public API.

mod settings;

pub use settings::Settings;

use base::{
    Clock, CodeSha256, Entropy, Environment, FunctionSpec, Future, Initialization, Launch, LaunchError,
    LogSink, Meter, Micros, PackageError, Packages, RuntimeCatalog, RuntimeRefused, RuntimeSupport, Sessions,
    Unpacked,
};
use bytes::Bytes;
use sandbox::Sandboxes;
use std::sync::Arc;

/// Serves the platform's own API to functions: what they reach at [`sandbox::PLATFORM`].
pub trait Platform: Send + Sync {
    /// Serves one connection of the function until it closes. The future is dropped when the environment ends.
    fn serve(&self, connection: tokio::net::TcpStream, spec: Arc<FunctionSpec>) -> Future<'static, ()>;
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
pub struct Runtimes {
    _settings: Settings,
    _sandboxes: Sandboxes,
    _ports: Ports,
}

impl Runtimes {
    /// Prepares the folders, removes what an earlier run left half-done, finds interpreters. Blocks: some milliseconds,
    /// the first time on a host some hundred.
    pub fn new(settings: Settings, sandboxes: Sandboxes, ports: Ports) -> std::io::Result<Arc<Runtimes>> {
        Ok(Arc::new(Runtimes { _settings: settings, _sandboxes: sandboxes, _ports: ports }))
    }

    /// Installs the managed libraries (boto3, the `@aws-sdk` clients) of every runtime found on this host, unless they are
    /// installed. Takes a minute the first time: run it in the background. Errors are remembered and shown as warnings of
    /// [`RuntimeCatalog::check`]; functions run without the libraries then.
    pub async fn install(&self) {}
}

impl Launch for Runtimes {
    fn launch(
        &self,
        spec: Arc<FunctionSpec>,
        _how: Initialization,
        _queued: Micros,
    ) -> Future<'_, Result<Arc<dyn Environment>, LaunchError>> {
        Box::pin(async move {
            Err(LaunchError::RuntimeUnavailable { runtime: spec.runtime.clone(), reason: "not yet".into() })
        })
    }
}

impl Packages for Runtimes {
    fn unpack(&self, _zip: Bytes) -> Future<'_, Result<Unpacked, PackageError>> {
        Box::pin(async { Err(PackageError::Empty) })
    }
    fn has(&self, _code: &CodeSha256) -> bool {
        false
    }
    fn remove(&self, _code: &CodeSha256) -> Future<'_, ()> {
        Box::pin(async {})
    }
}

impl RuntimeCatalog for Runtimes {
    fn check(
        &self,
        runtime: &str,
        _architecture: &str,
        _handler: &str,
    ) -> Result<RuntimeSupport, RuntimeRefused> {
        Err(RuntimeRefused::Unavailable { runtime: runtime.into(), reason: "not yet".into() })
    }
}
