//! The command line: what can be said, with its defaults. No effects.

use base::{FunctionName, MemoryMib, Seconds};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// A serverless cloud in one binary, speaking the AWS protocols.
#[derive(Debug, Parser)]
#[command(name = "neap", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Start here: `neap dev examples/hello-python`, then `neap invoke hello-python` in another \
                        terminal.\nAWS tools work too: point them at http://127.0.0.1:4566 (see `neap credentials`)."
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print JSON for programs instead of tables for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// One thing to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node: every request is signed, data is kept, policies are enforced.
    Serve(Node),
    /// Run a node for development on this machine: any credentials are accepted; folders given are deployed and
    /// deployed again on every save.
    Dev(Dev),
    /// Package a folder and create or update its function.
    Deploy(Deploy),
    /// Call a function and print its answer.
    Invoke(Invoke),
    /// Print what a function logs.
    Logs(Logs),
    /// List functions.
    #[command(visible_alias = "list")]
    Ls(List),
    /// List the execution environments of the node, and why each is kept.
    Ps(List),
    /// Delete functions.
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// What the functions cost this month, by a provider's prices.
    Cost(Cost),
    /// Amounts that the account or a function may cost in a month: told, and kept to if wanted.
    Budget(Budget),
    /// Queues with what is in them; look at messages, move dead letters back, purge.
    Queues(Queues),
    /// Run a function at several memory sizes and show its cost against its latency.
    Tune(Tune),
    /// Say what this machine offers to functions, what is missing and what that costs.
    Doctor(Doctor),
    /// Print the node's access key, secret, region and endpoint.
    Credentials(Credentials),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the list of AWS operations that work, as Markdown.
    Operations,
    /// Compile WebAssembly from standard input to standard output: a node's own process, not for people.
    #[command(name = server::COMPILER_COMMAND, hide = true)]
    CompileWasm(CompileWasm),
}

/// `neap compile-wasm`, as a node calls it.
#[derive(Debug, Args)]
pub(crate) struct CompileWasm {
    /// Processor time, in seconds.
    pub(crate) processor_s: u32,
    /// Memory, in bytes.
    pub(crate) memory: u64,
    /// Whether system calls are filtered: 0 or 1.
    #[arg(value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) filtered: u8,
}

/// Where a node listens and keeps its data.
#[derive(Debug, Args, Clone)]
pub(crate) struct Node {
    /// Address and port of the endpoint; port 0 takes a free one [default: 127.0.0.1:4566].
    #[arg(long, value_name = "ADDRESS:PORT", env = "NEAP_LISTEN", value_parser = listen_address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder that keeps everything [default: /var/lib/neap as root, else ~/.local/share/neap].
    #[arg(long, value_name = "FOLDER", env = "NEAP_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file [default: neap.toml in the data folder, if it is there].
    #[arg(long, value_name = "FILE", env = "NEAP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// `neap dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Folders to deploy and watch.
    #[arg(value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) node: Node,
}

/// Which node a client command talks to, and as whom.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct Connection {
    /// The node's endpoint [default: http://127.0.0.1:4566].
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    pub(crate) endpoint_url: Option<String>,
    /// Region [default: $AWS_REGION, $AWS_DEFAULT_REGION, the profile's, us-east-1].
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Profile of ~/.aws/credentials and ~/.aws/config.
    #[arg(long, env = "AWS_PROFILE")]
    pub(crate) profile: Option<String>,
    /// The node's data folder, where its credentials are read when the environment names none
    /// [default: /var/lib/neap as root, else ~/.local/share/neap].
    #[arg(long, value_name = "FOLDER", env = "NEAP_DATA")]
    pub(crate) data: Option<PathBuf>,
}

/// What stays out of packages, for help.
const LEFT_OUT: &str = "Left out of packages: version control (.git …), caches (__pycache__ …), virtual environments, \
                        .env, .npmrc, target, neap.toml, and what `exclude` in neap.toml names. Settings in neap.toml: \
                        name, description, runtime, handler, memory, timeout, scratch, role, binary, exclude, and the \
                        table [environment].";

/// `neap deploy`.
#[derive(Debug, Args)]
#[command(after_help = LEFT_OUT)]
pub(crate) struct Deploy {
    /// Folder with the function's source; settings may stand in its neap.toml.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Function name [default: neap.toml, else the folder's name].
    #[arg(long)]
    pub(crate) name: Option<FunctionName>,
    /// Runtime, e.g. python3.12, nodejs22.x, provided.al2023 [default: found].
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// Entry point, e.g. app.handler [default: found].
    #[arg(long)]
    pub(crate) handler: Option<String>,
    /// Memory in MB, 128 to 10240 [default of the platform: 128].
    #[arg(long, value_name = "MB", value_parser = memory)]
    pub(crate) memory: Option<MemoryMib>,
    /// Longest run time of one invocation in seconds, 1 to 900 [default of the platform: 3].
    #[arg(long, value_name = "SECONDS", value_parser = timeout)]
    pub(crate) timeout: Option<Seconds>,
    /// An environment variable; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// ARN of the role that the function runs as [default: a role of the account named neap-function].
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Option<String>,
    /// Install dependencies anew even if the same ones were installed before.
    #[arg(long)]
    pub(crate) fresh: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap queues`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Queues {
    /// What to do; without it, the list.
    #[command(subcommand)]
    pub(crate) command: Option<QueuesCommand>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) list: List,
}

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// List queues: messages visible, in flight and delayed, the age of the oldest, where dead letters go.
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show the oldest messages of a queue without receiving them.
    Peek(Peek),
    /// Move the messages of a dead-letter queue back to where they came from, or to another queue.
    Redrive(Redrive),
    /// Delete all messages of queues.
    Purge(Remove),
}

/// `neap queues peek`.
#[derive(Debug, Args)]
pub(crate) struct Peek {
    /// The queue.
    pub(crate) name: String,
    /// Messages at most, 1 to 100.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) max: u8,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap queues redrive`.
#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// The dead-letter queue.
    pub(crate) name: String,
    /// Another queue to move them to.
    #[arg(long, value_name = "QUEUE")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap invoke`.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// Function name or ARN.
    pub(crate) name: String,
    /// The event as JSON, @FILE, or - for standard input.
    #[arg(value_name = "PAYLOAD|@FILE|-", default_value = "{}")]
    pub(crate) payload: String,
    /// Queue the event and return at once.
    #[arg(long = "async", conflicts_with = "tail")]
    pub(crate) asynchronous: bool,
    /// Print the end of the invocation's log (4 KB) to standard error.
    #[arg(long)]
    pub(crate) tail: bool,
    /// Version or alias.
    #[arg(long)]
    pub(crate) qualifier: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Function name, or a log group that begins with a slash.
    pub(crate) name: String,
    /// Go on printing as lines come.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How far back to begin: a span (90s, 10m, 2h, 1d) or a time (2026-01-31T12:00:00Z).
    #[arg(long, value_name = "SPAN|TIME", default_value = "1h")]
    pub(crate) since: String,
    /// Only events that match this CloudWatch Logs filter pattern.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap ls`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Function names.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// How costs are added up, for help.
const COST_HELP: &str = "Free tiers are those of one account and month; what is charged is shared by functions, days and \
                         tags in proportion to their use. The reserved time of provisioned concurrency is rounded up to \
                         five minutes for each change; only AWS has prices for it.";

/// `neap cost`.
#[derive(Debug, Args)]
#[command(after_help = COST_HELP)]
pub(crate) struct Cost {
    /// Calendar month in UTC [default: the present one].
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    pub(crate) month: Option<String>,
    /// Whose prices.
    #[arg(long, value_enum, default_value_t = Book::Aws)]
    pub(crate) book: Book,
    /// Rounding of each run time by the prices of AWS [default: 1ms].
    #[arg(long, value_enum)]
    pub(crate) increment: Option<Increment>,
    /// What to add up.
    #[arg(long, value_enum, default_value_t = CostBy::Function)]
    pub(crate) by: CostBy,
    /// Months shown by `--by month`, up to the one named by --month.
    #[arg(long, value_name = "COUNT", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub(crate) months: u32,
    /// Add up by the values that the functions now have of this tag.
    #[arg(long, value_name = "KEY", conflicts_with = "by")]
    pub(crate) tag: Option<String>,
    /// What the same usage would cost by every list of prices.
    #[arg(long, conflicts_with_all = ["tag", "by"])]
    pub(crate) what_if: bool,
    /// Compare with a machine that is always on, at this many US dollars a month.
    #[arg(long, value_name = "USD", conflicts_with_all = ["tag", "by"])]
    pub(crate) machine_price: Option<String>,
    /// Which functions have too much or too little memory, by what they used.
    #[arg(long, conflicts_with_all = ["tag", "by", "what_if", "machine_price"])]
    pub(crate) advice: bool,
    /// Price a month of invocations that never ran, instead of what was used; may be given several times.
    #[arg(long, value_name = "REQUESTS,MS,MB", value_parser = workload,
          conflicts_with_all = ["tag", "by", "advice", "month", "increment"])]
    pub(crate) estimate: Vec<Workload>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// What costs are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CostBy {
    /// Functions.
    Function,
    /// Days of the month, UTC.
    Day,
    /// Months.
    Month,
}

/// A month's invocations of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Workload {
    pub(crate) requests: u64,
    pub(crate) duration_ms: u64,
    pub(crate) memory_mb: u32,
}

/// A provider's price list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Book {
    /// AWS Lambda.
    Aws,
    /// Azure Functions.
    Azure,
    /// Google Cloud Functions.
    Google,
}

impl Book {
    /// The name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Book::Aws => "aws",
            Book::Azure => "azure",
            Book::Google => "google",
        }
    }
}

/// Up to what each run time is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Increment {
    /// 1 ms.
    #[value(name = "1ms")]
    Ms1,
    /// 100 ms, as it was until December 2020.
    #[value(name = "100ms")]
    Ms100,
}

impl Increment {
    /// The name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Increment::Ms1 => "1ms",
            Increment::Ms100 => "100ms",
        }
    }
}

/// `neap budget`.
#[derive(Debug, Args)]
pub(crate) struct Budget {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: BudgetCommand,
}

/// How budgets work, for help.
const BUDGET_HELP: &str = "An alert is a line in the node's log, an event in the log group /neap/budgets, and an invocation of the \
                           function named by --notify, once a month for each percentage. A cap refuses further invocations with \
                           status 429 from about half a second after the invocation that spent the amount; what runs then \
                           runs on. Setting a budget again replaces it.";

/// One thing to do with budgets.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Create or replace a budget.
    Set(BudgetSet),
    /// List budgets and how far they are spent this month.
    #[command(visible_alias = "list")]
    Ls(List),
    /// Remove budgets.
    #[command(visible_alias = "remove")]
    Rm(Remove),
}

/// `neap budget set`.
#[derive(Debug, Args)]
#[command(after_help = BUDGET_HELP)]
pub(crate) struct BudgetSet {
    /// Name: letters, digits, - and _.
    pub(crate) name: String,
    /// US dollars a month.
    #[arg(long, value_name = "USD")]
    pub(crate) amount: String,
    /// Only this function, in the region of the request [default: the whole account].
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<FunctionName>,
    /// Whose prices.
    #[arg(long, value_enum, default_value_t = Book::Aws)]
    pub(crate) book: Book,
    /// As if the free tier were used up by something else.
    #[arg(long)]
    pub(crate) no_free_tier: bool,
    /// Percentages of the amount at which to tell.
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', default_value = "80,100",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) alert: Vec<u32>,
    /// Refuse further invocations when the amount is spent.
    #[arg(long)]
    pub(crate) cap: bool,
    /// ARN of a function to invoke with each alert; a cap does not stop it.
    #[arg(long, value_name = "ARN")]
    pub(crate) notify: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// How tuning works, for help.
const TUNE_HELP: &str = "The calls are made on a temporary copy of the function, named NAME-tune-…, which is removed at the \
                         end, on failure and on Ctrl-C; the function itself is not touched. They are real: what the \
                         function does, it does that often, and they count in `neap cost`.";

/// `neap tune`.
#[derive(Debug, Args)]
#[command(after_help = TUNE_HELP)]
pub(crate) struct Tune {
    /// Function name or ARN.
    pub(crate) name: String,
    /// The event as JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "PAYLOAD|@FILE|-", default_value = "{}")]
    pub(crate) payload: String,
    /// Memory sizes in MB, 128 to 10240.
    #[arg(long, value_name = "MB,…", value_delimiter = ',', value_parser = memory,
          default_value = "128,256,512,1024,1769,3008")]
    pub(crate) memory: Vec<MemoryMib>,
    /// Calls at each size, after one that starts the environment; 1 to 100.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) calls: u32,
    /// Whose prices.
    #[arg(long, value_enum, default_value_t = Book::Aws)]
    pub(crate) book: Book,
    /// Write the curves to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) node: Node,
}

/// `neap credentials`.
#[derive(Debug, Args)]
pub(crate) struct Credentials {
    /// Print lines for a shell: eval "$(neap credentials --export)".
    #[arg(long, conflicts_with = "json")]
    pub(crate) export: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub(crate) connection: Connection,
}

/// `neap completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that completions exist for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

/// An address and port; `localhost` and a bare port mean the loopback address.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse()
        .map_err(|_| "an address and port such as 127.0.0.1:4566 or [::1]:4566 is expected".to_owned())
}

fn memory(text: &str) -> Result<MemoryMib, String> {
    let (min, max) = (base::limits::MEMORY.start(), base::limits::MEMORY.end());
    match text.parse().map(MemoryMib) {
        Ok(memory) if base::limits::MEMORY.contains(&memory) => Ok(memory),
        _ => Err(format!("memory is a whole number of MB from {} to {}", min.0, max.0)),
    }
}

fn timeout(text: &str) -> Result<Seconds, String> {
    let (min, max) = (base::limits::TIMEOUT.start(), base::limits::TIMEOUT.end());
    match text.parse().map(Seconds) {
        Ok(timeout) if base::limits::TIMEOUT.contains(&timeout) => Ok(timeout),
        _ => Err(format!("timeout is a whole number of seconds from {} to {}", min.0, max.0)),
    }
}

/// `KEY=VALUE`; the value may be empty and may hold further equals signs.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is expected".to_owned()),
    }
}

/// `REQUESTS,MS,MB`; the node knows the bounds.
fn workload(text: &str) -> Result<Workload, String> {
    let malformed = || "three whole numbers are expected: requests a month, milliseconds, MB".to_owned();
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [requests, duration_ms, memory_mb] = parts[..] else { return Err(malformed()) };
    Ok(Workload {
        requests: requests.parse().map_err(|_| malformed())?,
        duration_ms: duration_ms.parse().map_err(|_| malformed())?,
        memory_mb: memory_mb.parse().map_err(|_| malformed())?,
    })
}

/// `YYYY-MM`.
fn month(text: &str) -> Result<String, String> {
    let well_formed = text.len() == 7 && format!("{text}-01").parse::<jiff::civil::Date>().is_ok();
    if well_formed { Ok(text.to_owned()) } else { Err("a month such as 2026-01 is expected".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_names_every_command() {
        let help = Arguments::command().render_help().to_string();
        for name in [
            "serve",
            "dev",
            "deploy",
            "invoke",
            "logs",
            "ls",
            "rm",
            "cost",
            "budget",
            "tune",
            "doctor",
            "credentials",
            "completions",
            "operations",
        ] {
            assert!(
                help.lines().any(|line| line.trim_start().starts_with(name)),
                "{name} missing in\n{help}"
            );
        }
    }

    #[test]
    fn a_port_alone_listens_on_loopback() {
        for text in ["4566", ":4566", "localhost:4566", "127.0.0.1:4566"] {
            assert_eq!(listen_address(text).unwrap().to_string(), "127.0.0.1:4566", "{text}");
        }
        assert_eq!(listen_address("[::]:80").unwrap().to_string(), "[::]:80");
        assert!(listen_address("example").is_err());
    }

    #[test]
    fn quantities_outside_their_limits_are_refused() {
        assert!(parse("neap deploy . --memory 128 --timeout 900").is_ok());
        for bad in
            ["--memory 127", "--memory 10241", "--timeout 0", "--timeout 901", "--memory 1GB", "--env =x"]
        {
            assert!(parse(&format!("neap deploy . {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_environment_variable_keeps_its_further_equals_signs() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(variable("A=").unwrap(), ("A".into(), String::new()));
    }

    #[test]
    fn workloads_are_three_numbers() {
        assert_eq!(
            workload("1000000, 100, 128"),
            Ok(Workload { requests: 1_000_000, duration_ms: 100, memory_mb: 128 })
        );
        for bad in ["", "1,2", "1,2,3,4", "a,1,1", "-1,1,1", "1.5,1,1"] {
            assert!(workload(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn months_are_calendar_months() {
        assert!(month("2026-12").is_ok());
        for bad in ["2026-13", "2026-1", "26-01", "2026-01-01"] {
            assert!(month(bad).is_err(), "{bad}");
        }
    }
}
