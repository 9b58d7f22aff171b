//! Whose processes sandboxes are: an own uid each where the daemon may give uids away, else the daemon's own, in a user
//! namespace.

use crate::{Error, sys};
use rustix::{
    fd::AsFd,
    fs::{CWD, Mode, OFlags},
    mount::MountPropagationFlags,
    process::{getegid, geteuid},
};
use std::{
    io,
    ops::Range,
    os::fd::{BorrowedFd, OwnedFd},
};

/// Makes a daemon that is not root the root of a user namespace of its own, with a mount namespace of its own, so that it
/// can make sandboxes; for root it does nothing. Sandboxes then share the daemon's uid
/// ([`Weakness::NoOwnUid`](crate::Weakness::NoOwnUid)).
///
/// Call it before there is any thread: the kernel refuses it afterwards.
pub fn enter_user_namespace() -> Result<(), Error> {
    let uid = geteuid();
    if uid.is_root() {
        return Ok(());
    }
    let entered = || {
        let own = this_process()?;
        sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
        map(own.as_fd(), Ids { uid: 0, gid: 0 }, Ids { uid: uid.as_raw(), gid: getegid().as_raw() })?;
        // What is mounted on the host later is seen, and not the other way round.
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
        Ok(())
    };
    entered().map_err(|source| Error::NoUserNamespace { uid: uid.as_raw(), source })
}

/// What `check`, which must not allocate, says where [`enter_user_namespace`] would lead; false where that is refused.
/// Leaves this process as it is.
pub(crate) fn holds_in_user_namespace(check: fn() -> bool) -> bool {
    match sys::fork() {
        Ok(sys::Forked::Child) => {
            let entered = sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
            sys::exit_now(i32::from(entered.is_err() || !check()))
        }
        Ok(sys::Forked::Parent(child)) => sys::wait_for(child).is_ok_and(|status| status == 0),
        Err(_) => false,
    }
}

/// Whether these uids cannot be given to processes: this user namespace does not have them.
pub(crate) fn are_missing(uids: &Range<u32>) -> bool {
    !std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| covers(&map, uids))
}

/// Grammar of each line: `INSIDE OUTSIDE COUNT`. Source: user_namespaces(7).
fn covers(map: &str, uids: &Range<u32>) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        first <= u64::from(uids.start) && u64::from(uids.end) <= first + count
    })
}

/// User and group, as numbers.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The calling process's folder in `/proc`.
pub(crate) fn this_process() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, "/proc/self", flags, Mode::empty())?)
}

/// Says who `outside` is inside of the user namespace that the calling process has just made; its groups are given up.
pub(crate) fn map(own: BorrowedFd<'_>, inside: Ids, outside: Ids) -> io::Result<()> {
    let write = |file: &str, text: String| {
        let file = rustix::fs::openat(own, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        let written = rustix::io::write(&file, text.as_bytes())?;
        if written == text.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    };
    // Without this an ordinary user may not map groups. Source: user_namespaces(7).
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{} {} 1", inside.uid, outside.uid))?;
    write("gid_map", format!("{} {} 1", inside.gid, outside.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_which_uids_a_namespace_has() {
        assert!(covers("         0          0 4294967295\n", &(100_000..165_536)));
        assert!(!covers("         0       1000          1\n", &(100_000..165_536)));
        assert!(covers("0 1000 1\n100000 200000 65536\n", &(100_000..165_536)));
        assert!(!covers("0 1000 1\n100000 200000 65535\n", &(100_000..165_536)));
        assert!(!covers("", &(1..2)));
    }
}
