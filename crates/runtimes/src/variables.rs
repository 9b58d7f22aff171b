//! The environment variables of a function. Source: Lambda's developer guide, "defined runtime environment variables".

use base::{ApplicationLogLevel, FunctionSpec, Initialization, LogFormat, SessionCredentials};
use std::{collections::BTreeMap, ffi::OsString};

/// Variables that the user's cannot replace.
pub const RESERVED: [&str; 22] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "_LAMBDA_TELEMETRY_LOG_FD",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "AWS_LAMBDA_DEADLINE_MS",
];

/// Libraries of the runtime, of layers and of the function. Source: as seen on Lambda.
pub(crate) const LIBRARY_PATH: &str =
    "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib";
/// Programs of the runtime, the system and layers.
pub(crate) const PATH: &str = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin";

/// Of every process.
const DEFAULTS: [(&str, &str); 4] =
    [("LANG", "en_US.UTF-8"), ("PATH", PATH), ("LD_LIBRARY_PATH", LIBRARY_PATH), ("TZ", ":UTC")];

/// The environment of a process that is no function's: nothing but defaults, and those of the runtime.
pub(crate) fn bare(runtime: &[(&'static str, String)]) -> Vec<(OsString, OsString)> {
    let runtime = runtime.iter().map(|(name, value)| (*name, value.as_str()));
    DEFAULTS.into_iter().chain(runtime).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What differs from start to start.
pub(crate) struct Start<'a> {
    pub(crate) spec: &'a FunctionSpec,
    pub(crate) how: Initialization,
    pub(crate) log_stream: &'a str,
    pub(crate) credentials: &'a SessionCredentials,
    pub(crate) endpoint: &'a str,
    /// Defaults of the runtime, which the user's variables replace.
    pub(crate) runtime: &'a [(&'static str, String)],
    /// Whether the runtime is one that Lambda manages (not `provided`).
    pub(crate) managed: bool,
}

/// What is the same for every function that does not change it.
fn common<'a>(endpoint: &'a str, runtime: &'a [(&'static str, String)]) -> BTreeMap<&'a str, &'a str> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::from(DEFAULTS);
    all.extend([
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
        ("AWS_ENDPOINT_URL", endpoint),
    ]);
    all.extend(runtime.iter().map(|(name, value)| (*name, value.as_str())));
    all
}

fn owned(all: BTreeMap<&str, &str>) -> Vec<(OsString, OsString)> {
    all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The environment of a process that waits for its function: nothing of any function is in it.
pub(crate) fn neutral(endpoint: &str, runtime: &[(&'static str, String)]) -> Vec<(OsString, OsString)> {
    let mut all = common(endpoint, runtime);
    // For our boot programs, which take it away; no variable of a user begins like this.
    all.insert("_NEAP_STEM_CELL", "1");
    owned(all)
}

/// The whole environment of a new process.
pub(crate) fn assemble(start: &Start<'_>) -> Vec<(OsString, OsString)> {
    let spec = start.spec;
    let mut all = common(start.endpoint, start.runtime);
    all.extend(
        spec.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| !RESERVED.contains(name) && passable(name) && !value.contains('\0')),
    );
    let execution = format!("AWS_Lambda_{}", spec.runtime);
    let memory = spec.memory.0.to_string();
    let version = spec.key.version.to_string();
    let runtime_api = sandbox::RUNTIME_API.to_string();
    let region = spec.key.region.as_str();
    all.extend([
        ("_HANDLER", spec.handler.as_str()),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_REGION", region),
        ("AWS_LAMBDA_FUNCTION_NAME", spec.key.name.as_str()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_VERSION", &version),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", crate::journal::initialization_name(start.how, spec)),
        ("AWS_LAMBDA_LOG_GROUP_NAME", spec.logs.group.as_str()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", start.log_stream),
        ("AWS_ACCESS_KEY_ID", &start.credentials.access_key),
        ("AWS_SECRET_ACCESS_KEY", &start.credentials.secret),
        ("AWS_SESSION_TOKEN", &start.credentials.token),
        ("AWS_LAMBDA_RUNTIME_API", &runtime_api),
        ("LAMBDA_TASK_ROOT", sandbox::TASK),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ]);
    if start.managed {
        // Standard output carries log frames too, see `output.rs`; stock runtime clients of Lambda use it as well.
        all.extend([("AWS_EXECUTION_ENV", execution.as_str()), ("_LAMBDA_TELEMETRY_LOG_FD", "1")]);
    }
    if start.managed
        && let Some(tenant) = &spec.key.tenant
    {
        // For our boot programs, which take it away; others are told with each event.
        all.insert("_NEAP_TENANT_ID", tenant.as_str());
    }
    match spec.logs.format {
        LogFormat::Text => {
            all.insert("AWS_LAMBDA_LOG_FORMAT", "Text");
        }
        LogFormat::Json { application, .. } => {
            all.insert("AWS_LAMBDA_LOG_FORMAT", "JSON");
            all.insert("AWS_LAMBDA_LOG_LEVEL", level_name(application));
        }
    }
    owned(all)
}

/// Variables that programs of extensions do not get. Source: Lambda's guide, environment variables of extensions.
const OF_RUNTIMES: [&str; 11] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_HANDLER",
    "_LAMBDA_TELEMETRY_LOG_FD",
];

/// Of the environment of a runtime, that of extensions beside it.
pub(crate) fn for_extensions(all: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    all.iter().filter(|(name, _)| !OF_RUNTIMES.iter().any(|one| name == one)).cloned().collect()
}

/// Names that an environment can hold.
fn passable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn level_name(level: ApplicationLogLevel) -> &'static str {
    match level {
        ApplicationLogLevel::Trace => "TRACE",
        ApplicationLogLevel::Debug => "DEBUG",
        ApplicationLogLevel::Info => "INFO",
        ApplicationLogLevel::Warn => "WARN",
        ApplicationLogLevel::Error => "ERROR",
        ApplicationLogLevel::Fatal => "FATAL",
    }
}
