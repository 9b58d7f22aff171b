//! Landlock: a second wall behind mounts and permissions, as far as the kernel has it.

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope,
};
use std::io;

/// The newest version whose effect on programs inside was considered; older kernels enforce what they know.
const CONSIDERED: ABI = ABI::V7;

/// Restricts this process and its children for good: reading and executing anywhere below the root, writing in `/tmp` and
/// to the devices only; no signals and no abstract sockets to outside.
pub(crate) fn restrict() -> io::Result<()> {
    apply().map_err(io::Error::other).and_then(|status| match status {
        RulesetStatus::NotEnforced => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Ok(()),
    })
}

fn apply() -> Result<RulesetStatus, Box<dyn std::error::Error + Send + Sync>> {
    let all = AccessFs::from_all(CONSIDERED);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let status = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::from_all(CONSIDERED))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::from_read(CONSIDERED)))?
        .add_rule(PathBeneath::new(PathFd::new("/dev")?, devices))?
        .add_rule(PathBeneath::new(PathFd::new("/tmp")?, all))?
        .restrict_self()?;
    Ok(status.ruleset)
}
