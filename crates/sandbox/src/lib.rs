//! Isolated processes: namespaces, cgroups, seccomp, Landlock, read-only roots, private scratch space.
//!
//! Owns: how a program is started so that it can reach nothing but what it is given, what it may consume, and that
//! nothing of it is left afterwards. Must never know: languages, runtimes, HTTP, SQL, scheduling.
//!
//! # The parts
//! - [`Sandboxes`]: one per node. Starts the *spawner* (a small single-threaded process that does every clone), sweeps
//!   what an earlier run of the same instance left, keeps prepared *slots* (network namespace with listeners, cgroup,
//!   uid) so that a start does not wait for them.
//! - [`Template`]: a mount namespace built once per runtime; starts enter a copy of it.
//! - [`Sandbox`]: one running program. Its first process is an init of ours (it reaps, relays SIGTERM, reports the
//!   exit); when the program ends, or the init is killed, the kernel ends everything in the pid namespace.
//!   [`Sandbox::attach`] shows it further host paths while it runs; [`Sandbox::begin_as`] names the program of one that
//!   waits without.
//! - [`only_compute`]: what a process of ours that compiles strangers' programs takes from itself.
//! - [`doctor`]: what this host gives, what is missing and what that costs.
//!
//! # What a program inside sees
//! A read-only root of exactly the template's paths, `/var/task` read-only, `/tmp` private and limited, `/proc` of its
//! own processes read-only, a minimal `/dev` and `/etc`, a loopback interface of its own on which the daemon listens at
//! [`RUNTIME_API`] and [`PLATFORM`] and behind which, if [`Settings::network`] says so, it carries connections to the
//! internet, descriptors 0–2 (null, pipe, pipe) and, when given, 3 (the channel). It has an own
//! uid, no capabilities, no way to gain privileges, and the system calls of `seccomp/table.rs`.
//!
//! # Scratch space
//! `/tmp` is a file system of [`Spec::scratch`]'s size, the sandbox's alone. With [`Scratch::Disk`] it is an image file behind
//! a loop device, and what is kept there does not count against [`Spec::memory`], as on Lambda (cached pages of it do, but the
//! kernel drops them before it would kill). With [`Scratch::Memory`], and where the host lacks loop devices, ext4 or
//! `mkfs.ext4`, it is in memory and counts: a function that fills it beyond its memory is killed for its memory. Either way
//! one that stays below gets "no space left" at the size. Images are sparse, so together they can promise more than the
//! host's disk has: when that is full, functions that write get errors.
//!
//! # What is not hidden
//! `/proc` shows the machine's figures (`/proc/meminfo`, `/proc/cpuinfo`, `/proc/stat`), as in most containers; what tells
//! more about its kernel than runtimes need (symbols, modules, command line, keys and the like) is an empty file. Time is the machine's. User namespaces are not used: the daemon is root, and each sandbox has a uid
//! that exists nowhere else and no capability in any namespace.
//!
//! # Weaker isolation
//! Never silent: what the host cannot give is an [`Error::Weaker`] unless [`Settings::allow_weaker`] names it.
#![allow(unsafe_code)] // the only crate that has it: one block per operation, each with a SAFETY note
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]

mod cgroup;
mod compute;
pub mod doctor;
mod egress;
mod error;
mod handle;
mod landlock;
mod network;
mod resident;
mod sandboxes;
mod scratch;
mod seccomp;
mod settings;
mod slots;
mod spawner;
mod spec;
mod streams;
mod sys;
mod users;
mod zygote;

#[cfg(feature = "fuzzing")]
pub use egress::fuzzing;

// What the tests of `tests/` share, for tests that see more than they do.
#[cfg(test)]
extern crate self as sandbox;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use compute::{Computing, only_compute};
pub use doctor::{Check, Report, Status, doctor};
pub use egress::{Network, NotConnected, Place, Ranges};
pub use error::Error;
pub use handle::{Exit, Exited, Sandbox, Timing};
pub use resident::forget_the_start;
pub use sandboxes::Sandboxes;
pub use scratch::ScratchSpace;
pub use settings::{Scratch, Settings, Weakness};
pub use spec::{Attachment, CpuQuota, CpuWeight, Spec, Template, TemplateFile, TemplateLink, TemplateSpec};
pub use users::enter_user_namespace;
pub use zygote::{Zygote, ZygoteSpec};

use std::net::{Ipv4Addr, SocketAddrV4};

/// Where the daemon accepts Runtime API connections inside each sandbox. Source: Lambda's `AWS_LAMBDA_RUNTIME_API`.
pub const RUNTIME_API: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001);
/// Where the daemon takes trace segments as datagrams inside each sandbox that has [`PLATFORM`]: the X-Ray daemon's port.
pub const TRACES: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2000);
/// Where the daemon accepts the platform's own API inside each sandbox.
pub const PLATFORM: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4566);
/// Where [`Spec::task`] is mounted inside.
pub const TASK: &str = "/var/task";
/// Where the private scratch space is mounted inside.
pub const SCRATCH: &str = "/tmp";
