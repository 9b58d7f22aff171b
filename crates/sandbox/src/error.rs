//! Why a sandbox could not be made.

use crate::Weakness;
use std::path::PathBuf;

/// A failure of the sandbox, never of the program inside it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host cannot give a part of the isolation and the settings do not accept that.
    #[error(
        "this host cannot give {missing}: {reason}; accept it by naming it in `allow_weaker`, or fix the host"
    )]
    Weaker {
        /// What is missing.
        missing: Weakness,
        /// What was tried and how the host answered.
        reason: String,
    },
    /// Neap is not root, and this host does not let it become the root of a user namespace.
    #[error(
        "sandboxes need root (effective uid {uid}) or unprivileged user namespaces, which this host refuses: {source}"
    )]
    NoUserNamespace {
        /// The daemon's effective uid.
        uid: u32,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// This host cannot connect sandboxes with the internet, and the settings want it.
    #[error(
        "functions cannot reach the internet on this host, as `network.egress` wants: {source}; set it to \"platform-only\" or \"none\", or fix the host"
    )]
    NoEgress {
        /// What is missing.
        source: std::io::Error,
    },
    /// A setting is out of its range.
    #[error("setting {name}: {reason}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What is wrong with it, with value and limit.
        reason: String,
    },
    /// The template's or program's description is not usable.
    #[error("{what} {path}: {reason}", path = path.display())]
    Path {
        /// Which part of the description.
        what: &'static str,
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Arguments and environment together are too long.
    #[error("arguments, environment and paths of {got} bytes exceed {max}")]
    TooLong {
        /// Their size.
        got: usize,
        /// Limit.
        max: usize,
    },
    /// More sandboxes are live than uids are configured.
    #[error("all {max} sandboxes of this node are in use")]
    Exhausted {
        /// The limit, [`crate::Settings::live_max`].
        max: usize,
    },
    /// The kernel refused a step.
    #[error("{step}: {source}")]
    Step {
        /// The step, e.g. `clone`, `exec`.
        step: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// No program can be had of a zygote, now or at all; it can be executed instead.
    #[error("zygote: {reason}")]
    Zygote {
        /// What happened.
        reason: String,
    },
    /// The sandbox has ended, and its counters with it.
    #[error("the sandbox has ended")]
    Ended,
    /// The spawner process is gone: nothing can be started any more by these [`crate::Sandboxes`].
    #[error("the spawner process ended")]
    SpawnerGone,
}

impl Error {
    /// Wraps the error of the kernel's refusal of `step`; for use with `map_err`.
    pub(crate) fn step<E: Into<std::io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Error {
        let step = step.into();
        move |source| Error::Step { step, source: source.into() }
    }
}
