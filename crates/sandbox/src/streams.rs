//! Standard output and error of a program.

use rustix::pipe::PipeFlags;
use std::{io, os::fd::OwnedFd};

/// Both ends of both.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdout: OwnedFd,
    pub(crate) stdout_inside: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) stderr_inside: OwnedFd,
}

impl Streams {
    /// Pipes, owned by the sandbox's user so that it can open them again by name (`/dev/stdout`). The outer ends do not
    /// block.
    pub(crate) fn make(uid: u32) -> io::Result<Streams> {
        let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (outside, inside) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&outside, true)?;
            rustix::fs::fchown(&inside, Some(rustix::fs::Uid::from_raw(uid)), None)?;
            Ok((outside, inside))
        };
        let ((stdout, stdout_inside), (stderr, stderr_inside)) = (pipe()?, pipe()?);
        Ok(Streams { stdout, stdout_inside, stderr, stderr_inside })
    }

    /// The daemon's ends; the others are closed.
    pub(crate) fn outside(self) -> (OwnedFd, OwnedFd) {
        (self.stdout, self.stderr)
    }
}
