//! Every bound of the fleet, with its unit, default and reason.

use crate::{ProcessorTime, keepalive::Terms};
use base::{ByteCount, MemoryMib, limits};
use std::time::Duration;

/// Bounds that the planner keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory that environments of this node may be configured for together, before [`Limits::overcommit_percent`].
    /// No default: the server gives what the host has, less its own share.
    pub memory_budget: MemoryMib,
    /// Factor on the budget, in percent: functions are configured for their peak and use far less on average, and
    /// each is held to its own size by its cgroup. Default 200.
    pub overcommit_percent: u32,
    /// Environments that are not gone, at once: each takes descriptors and processes of the host, whatever its memory.
    /// Calls that find no place wait and are refused as those that find no memory. Default: no bound; the server gives
    /// what the daemon's limit of open descriptors allows.
    pub environments_max: u32,
    /// Starts under way at once on the whole node. A start is work for a CPU: more of them in parallel than the
    /// CPUs can feed makes each later, the first included. Default 4 per CPU.
    pub starts_parallel: u32,
    /// A start older than this no longer counts against [`Limits::starts_parallel`]: it waits for something other
    /// than this node's CPUs, and must not hold up other functions. Default 1 s.
    pub start_slot_us_max: u64,
    /// Whether environments beyond what is provisioned are kept as their function's calls suggest. Default
    /// [`KeepAlive::Learned`].
    pub keep_alive: KeepAlive,
    /// An environment idle for longer ends, where nothing is learned or little known. Default 10 min: about half of all
    /// functions are invoked again within that time (Shahrad et al., "Serverless in the Wild", 2020), and hosted
    /// platforms keep as long.
    pub keep_us: u64,
    /// How long an idle environment would be kept to save one cold start. Default 30 min: with it the learned policy has
    /// a third fewer cold starts and a fifth less idle memory than a fixed window of 10 minutes (`cargo xtask bench
    /// policy`); with 60 min it has half the cold starts for the same memory.
    pub cold_worth_us: u64,
    /// An environment is not ended for a shorter pause, to be started again after it. Default 10 s.
    pub pause_us: u64,
    /// Environments that wait initialised for the first call, for each version with SnapStart. Default 1: calls that come
    /// while the next is made start as those of other functions.
    pub prepared_per_version: u32,
    /// Share of the memory and places of the node that all of these may take, in percent of [`Limits::memory_max`]. Default
    /// 50: they speed up starts, and what serves needs room as well. Beyond it, the version whose environments were used
    /// longest ago gives way.
    pub prepared_percent: u32,
    /// One that has waited for longer is replaced: its credentials end, and connections that it opened are closed by the
    /// other side. Default 4 h.
    pub prepared_us_max: u64,
    /// How long after a call took one the next is begun, so that it does not compete with that call. Default 100 ms.
    pub prepare_after_us: u64,
    /// Functions whose habits are remembered; beyond it those not called for longest are forgotten. Default 65,536, of
    /// less than 1 KiB each.
    pub histories_max: usize,
    /// A function's habits are forgotten when it has not been called for so long. Default [`base::HABIT_AGE_MAX`].
    pub forget_us: u64,
    /// A call for which the node has no memory, and nothing idle to end, is refused after waiting so long.
    /// Default 5 s: calls that run meanwhile mostly end within that, and a longer wait is the caller's to choose.
    pub full_wait_us_max: u64,
    /// A function without any environment whose call has waited so long for memory gets the next environment
    /// released by another function, even one whose own queue is not empty. Default 1 s.
    pub yield_after_us: u64,
    /// Failed starts that one call survives before it fails. Only failures that can pass count; permanent ones fail
    /// at once. Default 2.
    pub launch_retries: u8,
    /// Wait before a pool starts again after a failed start; doubles with each failure in a row, up to 32 times.
    /// Default 20 ms.
    pub launch_backoff_us: u64,
    /// Concurrent calls of one account and region. Default [`limits::ACCOUNT_CONCURRENCY`].
    pub account_concurrency: u32,
    /// What reservations always leave to functions without one. Default [`limits::UNRESERVED_CONCURRENCY_MIN`].
    pub unreserved_concurrency_min: u32,
    /// Requests per second for each unit of a function's reserved concurrency. Default 10. Source: Lambda quotas.
    pub reserved_rate_per_concurrency: Option<u32>,
    /// Requests per second for each unit of the account's concurrency. Lambda's value is 10, which is 10,000
    /// requests per second; the default is `None`, since one node serves several times as many and no caller
    /// relies on being refused.
    pub account_rate_per_concurrency: Option<u32>,
    /// Starts per function in any [`Limits::scaling_period_us`], beyond which calls that need another are refused.
    /// Default 1,000. Source: Lambda developer guide, "scaling rate".
    pub scaling_starts: u32,
    /// Period of [`Limits::scaling_starts`]. Default 10 s.
    pub scaling_period_us: u64,
}

/// How long idle environments are kept that are not provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// [`Limits::keep_us`].
    Fixed,
    /// As [`crate::keepalive`] says.
    Learned,
}

impl Limits {
    /// What the learned policy weighs.
    pub(crate) const fn terms(&self) -> Terms {
        Terms { window_us: self.keep_us, cold_worth_us: self.cold_worth_us, pause_us: self.pause_us }
    }

    /// The defaults for a node with `memory_budget` for environments and `cpus` processors.
    pub fn new(memory_budget: MemoryMib, cpus: usize) -> Limits {
        Limits {
            memory_budget,
            overcommit_percent: 200,
            environments_max: u32::MAX,
            starts_parallel: u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(4).max(4),
            start_slot_us_max: 1_000_000,
            keep_alive: KeepAlive::Learned,
            keep_us: 600_000_000,
            cold_worth_us: 1_800_000_000,
            pause_us: 10_000_000,
            prepared_per_version: 1,
            prepared_percent: 50,
            prepared_us_max: 4 * 3_600 * 1_000_000,
            prepare_after_us: 100_000,
            histories_max: 65_536,
            forget_us: base::HABIT_AGE_MAX.0 * 1_000,
            full_wait_us_max: 5_000_000,
            yield_after_us: 1_000_000,
            launch_retries: 2,
            launch_backoff_us: 20_000,
            account_concurrency: limits::ACCOUNT_CONCURRENCY,
            unreserved_concurrency_min: limits::UNRESERVED_CONCURRENCY_MIN,
            reserved_rate_per_concurrency: Some(10),
            account_rate_per_concurrency: None,
            scaling_starts: 1_000,
            scaling_period_us: 10_000_000,
        }
    }

    /// Memory that live environments may be configured for together.
    pub const fn memory_max(&self) -> MemoryMib {
        let mib = self.memory_budget.0 as u64 * self.overcommit_percent as u64 / 100;
        MemoryMib(if mib > u32::MAX as u64 { u32::MAX } else { mib as u32 })
    }
}

/// [`Limits`] and what only the driver needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the planner keeps.
    pub limits: Limits,
    /// A start that takes longer is given up as failed. Default 60 s: several times [`limits::INIT_MAX`], which the
    /// runtimes enforce themselves; this catches a start that hangs before its initialisation.
    pub launch_max: Duration,
    /// Ending an environment may take so long before it is reported and no longer waited for. Default 10 s.
    pub stop_max: Duration,
    /// Processors of the host.
    pub processors: usize,
    /// While these have no time left, so many calls begin together, and others wait for them for a millisecond at most.
    /// Default one more than there are processors: with more, environments push each other out of the caches; with fewer,
    /// processors wait.
    pub turns: usize,
    /// Tells whether they have. Default [`ProcessorTime::of_host`].
    pub processor_time: fn() -> Option<ProcessorTime>,
}

impl Settings {
    /// The defaults for a host with `memory` in all and `cpus` processors: four fifths of the memory are for
    /// environments.
    pub fn for_host(memory: ByteCount, cpus: usize) -> Settings {
        let mib = memory.0 / (1024 * 1024) / 5 * 4;
        Settings {
            limits: Limits::new(MemoryMib(u32::try_from(mib).unwrap_or(u32::MAX)), cpus),
            launch_max: Duration::from_secs(60),
            stop_max: Duration::from_secs(10),
            processors: cpus,
            turns: cpus + 1,
            processor_time: ProcessorTime::of_host,
        }
    }
}
