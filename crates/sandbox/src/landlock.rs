//! Landlock: a second wall behind mounts and permissions, as far as the kernel has it.

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    Scope,
};
use std::{io, os::fd::OwnedFd};

/// The newest version whose effect on programs inside was considered; older kernels enforce what they know.
const CONSIDERED: ABI = ABI::V7;

/// What processes inside may do with files, and whom they may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No signals and no abstract sockets to outside: of programs, and of an init whose program inherits them.
    Inside,
    /// Signals too: of an init beside whose own the program has a domain of the same rules, and which is to end it.
    Signals,
}

/// A ruleset by which a process restricts itself and its children for good: reading and executing anywhere below the root,
/// writing in `/tmp` and to the devices only. Of the caller's root as it is now.
pub(crate) fn ruleset(reach: Reach) -> io::Result<OwnedFd> {
    let made: Option<OwnedFd> = make(reach).map_err(io::Error::other)?.into();
    made.ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

fn make(reach: Reach) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
    let all = AccessFs::from_all(CONSIDERED);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let scope = match reach {
        Reach::Inside => Scope::from_all(CONSIDERED),
        Reach::Signals => Scope::from_all(CONSIDERED) & !Scope::Signal,
    };
    Ok(Ruleset::default()
        .handle_access(all)?
        .scope(scope)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::from_read(CONSIDERED)))?
        .add_rule(PathBeneath::new(PathFd::new("/dev")?, devices))?
        .add_rule(PathBeneath::new(PathFd::new("/tmp")?, all))?)
}
