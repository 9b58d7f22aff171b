//! Bounds that users can see, in one place. Source: Lambda quotas page and API reference unless said otherwise.

use crate::{ByteCount, MemoryMib, Millis, Seconds};
use std::ops::RangeInclusive;

/// Memory of a function. Default 128 MB.
pub const MEMORY: RangeInclusive<MemoryMib> = MemoryMib(128)..=MemoryMib(10_240);
/// Run time of one invocation. Default 3 s.
pub const TIMEOUT: RangeInclusive<Seconds> = Seconds(1)..=Seconds(900);
/// Size of `/tmp`. Default 512 MB.
pub const SCRATCH: RangeInclusive<MemoryMib> = MemoryMib(512)..=MemoryMib(10_240);
/// All environment variables of a function together, names and values.
pub const ENVIRONMENT_MAX: ByteCount = ByteCount(4 * 1024);
/// A zip package inside a request, after base64.
pub const PACKAGE_ZIPPED_MAX: ByteCount = ByteCount(50 * 1024 * 1024);
/// A package unpacked.
pub const PACKAGE_UNPACKED_MAX: ByteCount = ByteCount(250 * 1024 * 1024);
/// Layers of one function. Their sizes unpacked and its own together are bounded by [`PACKAGE_UNPACKED_MAX`].
pub const LAYERS_MAX: usize = 5;
/// Files and folders in one package; Neap's own bound against archives of empty entries.
pub const PACKAGE_ENTRIES_MAX: usize = 100_000;
/// All code of one account and region.
pub const CODE_STORAGE_MAX: ByteCount = ByteCount(75 * 1024 * 1024 * 1024);
/// Request or response of a synchronous invocation.
pub const PAYLOAD_SYNC_MAX: ByteCount = ByteCount(6 * 1024 * 1024);
/// Request of an asynchronous invocation.
pub const PAYLOAD_ASYNC_MAX: ByteCount = ByteCount(1024 * 1024);
/// A streamed response.
pub const PAYLOAD_STREAM_MAX: ByteCount = ByteCount(200 * 1024 * 1024);
/// Concurrent invocations of one account and region.
pub const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// Concurrency that reservations must leave to functions without one.
pub const UNRESERVED_CONCURRENCY_MIN: u32 = 100;
/// Initialisation before the first invocation; after that it is done once more inside the invocation.
pub const INIT_MAX: Millis = Millis(10_000);
/// The same of a version with SnapStart whose timeout is not longer.
pub const SNAPSTART_INIT_MAX: Millis = Millis(130_000);
/// Restore of a version with SnapStart, with its hooks.
pub const SNAPSTART_RESTORE_MAX: Millis = Millis(10_000);
/// Open file descriptors of one environment.
pub const DESCRIPTORS_MAX: u64 = 1_024;
/// Processes and threads of one environment.
pub const PROCESSES_MAX: u32 = 1_024;
/// The end of the log that an invocation with `LogType: Tail` returns.
pub const LOG_TAIL_MAX: ByteCount = ByteCount(4 * 1024);
/// Memory that buys one full virtual CPU.
pub const MEMORY_PER_CPU: MemoryMib = MemoryMib(1_769);
/// `ClientContext`, base64-encoded.
pub const CLIENT_CONTEXT_MAX: ByteCount = ByteCount(3_583);
