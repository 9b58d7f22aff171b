//! Programs that begin later than their sandbox: beside others that run already, or named only now.

use super::{
    Sandbox, Shared,
    attach::{check, encode, refused},
};
use crate::{
    Attachment, Error,
    sandboxes::{absolute, control, failed, next_report, program},
    spawner::protocol::{self, Report, Step},
};
use rustix::process::Signal;
use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, PoisonError},
};
use tokio::io::unix::AsyncFd;

/// Whether a sandbox's init is still to be told which program it executes.
#[derive(Debug)]
pub(super) enum Orders {
    /// It was told at the start.
    Named,
    /// It waits behind this socket.
    Awaited(Arc<AsyncFd<OwnedFd>>),
    /// It was told later, or nothing is left of it.
    Told,
}

impl Sandbox {
    /// Starts the program where [`crate::Spec::companions`] run already; resolves when its image is loaded. Once. Not where
    /// the sandbox is [`crate::Spec::waiting`]. Cancel-safe: it may be started all the same.
    pub async fn begin(&self) -> Result<(), Error> {
        if !matches!(*self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner), Orders::Named) {
            let reason = "is set: the program is to be named".into();
            return Err(Error::Setting { name: "waiting", reason });
        }
        match rustix::process::pidfd_send_signal(&self.shared.process, Signal::USR1) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Err(Error::Ended),
            Err(error) => return Err(Error::step("signalling")(error)),
        }
        self.begun(&self.program, Path::new("")).await
    }

    /// Executes a program in a sandbox that is [`crate::Spec::waiting`]: `argv`, `env` and `cwd` are as those of
    /// [`crate::Spec`], and are no longer than 128 KiB together with the paths of `attachments`. These are shown first, as
    /// [`Sandbox::attach`] does, in the same step: what is attached can be executed. Resolves when the image is loaded. A frozen
    /// sandbox begins when it is thawed, which may be done meanwhile.
    ///
    /// Once: a second call is an [`Error::Setting`], as is one for a sandbox that does not wait. Arguments that are wrong in
    /// themselves are refused before anything is done; after any other error, such as the [`Error::Step`] of a program that
    /// cannot be executed, which is the one of a start, kill the sandbox. [`Error::Ended`] when it has ended.
    /// The working folder is entered with the program's rights. Cancel-safe: it may begin all the same.
    pub async fn begin_as(
        &self,
        attachments: &[Attachment],
        argv: &[OsString],
        env: &[(OsString, OsString)],
        cwd: &Path,
    ) -> Result<(), Error> {
        check(attachments)?;
        absolute("program", argv.iter().take(1).map(Path::new))?;
        let Some(path) = argv.first() else {
            return Err(Error::Setting { name: "argv", reason: "is empty".into() });
        };
        let order = program(argv, env, cwd).encode().ok_or_else(|| Error::Setting {
            name: "argv, env or cwd",
            reason: "one contains a zero byte".into(),
        })?;
        let request = encode(attachments, Some(&order))?;
        if request.len() > protocol::REQUEST_MAX {
            return Err(Error::TooLong { got: request.len(), max: protocol::REQUEST_MAX });
        }
        if self.has_ended() {
            return Err(Error::Ended);
        }
        let mounts = if attachments.is_empty() { None } else { Some(self.shared.mounts()?) };
        let init = self.shared.take_orders()?;
        let begun = self.begun(Path::new(path), cwd);
        let Some(mounts) = mounts else {
            tell(&init, &order)?;
            return begun.await;
        };
        let (ours, theirs) = control().map_err(Error::step("making a socket"))?;
        self.shared.node.request(&request, &[theirs.as_fd(), mounts.as_fd(), init.get_ref().as_fd()]).await?;
        drop((theirs, mounts, init));
        // The worker says that it has attached, and passes the order on: only its failure is news.
        let failure = async {
            loop {
                match next_report(&ours).await {
                    Ok(Some((Report::Failed { step, errno, index }, _))) => {
                        return refused(attachments, step, errno, index);
                    }
                    Ok(Some(_)) => {}
                    // With the worker everything ends.
                    Ok(None) => return std::future::pending().await,
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            biased;
            begun = begun => begun,
            error = failure => Err(error),
        }
    }

    /// Resolves when the program's image is loaded.
    async fn begun(&self, path: &Path, cwd: &Path) -> Result<(), Error> {
        let mut news = self.news.clone();
        // An error means that the watching task has ended with the sandbox.
        let begun = news.wait_for(|news| news.begun.is_some()).await.map(|news| news.begun);
        match begun {
            Ok(Some(Err((step, errno)))) => Err(failed(
                step,
                errno,
                match step {
                    Step::Exec => Some(path),
                    Step::WorkingFolder => Some(cwd),
                    _ => None,
                },
            )),
            Ok(Some(Ok(())) | None) => Ok(()),
            Err(_) => Err(Error::Ended),
        }
    }
}

/// Tells an init its program.
fn tell(init: &AsyncFd<OwnedFd>, order: &[u8]) -> Result<(), Error> {
    // It is the first that the socket carries, and smaller than its buffer: it never waits.
    protocol::send(init.get_ref().as_fd(), order, &[]).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Ended,
        _ => Error::step("naming the program")(error),
    })
}

impl Shared {
    /// Where to name the program. Once.
    fn take_orders(&self) -> Result<Arc<AsyncFd<OwnedFd>>, Error> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        match &*orders {
            Orders::Awaited(init) => {
                let init = Arc::clone(init);
                *orders = Orders::Told;
                Ok(init)
            }
            Orders::Named => Err(Error::Setting { name: "waiting", reason: "is not set".into() }),
            Orders::Told => {
                Err(Error::Setting { name: "waiting", reason: "is over: the program was named".into() })
            }
        }
    }

    /// Lets go of the socket.
    pub(super) fn forget_orders(&self) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Orders::Awaited(_) = &*orders {
            *orders = Orders::Told;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exit, Spec, need_root, support};

    #[tokio::test]
    async fn an_order_that_makes_no_sense_executes_nothing() {
        need_root!();
        let node = support::node();
        let template = node.template(support::root()).await.unwrap();
        let argv = ["/bin/sh", "-c", "exit 0"].map(OsString::from);
        let good = program(&argv, &[], Path::new("/")).encode().unwrap();
        let too_long = vec![protocol::BEGIN; protocol::REQUEST_MAX + 100];
        for bytes in [&good[..good.len() - 1], &good[1..], &[good.as_slice(), b"x"].concat(), &too_long] {
            let sandbox = node.spawn(Spec::waiting(template.clone())).await.unwrap();
            let init = sandbox.shared.take_orders().unwrap();
            protocol::send(init.get_ref().as_fd(), bytes, &[]).unwrap();
            let error = sandbox.begun(Path::new("/bin/sh"), Path::new("/")).await.unwrap_err();
            let Error::Step { step, source } = error else { panic!("{error}") };
            assert_eq!((step.as_str(), source.raw_os_error()), ("reading the request", Some(libc::EINVAL)));
            assert_eq!(sandbox.exited().await.exit, Exit::Signal(9));
            sandbox.kill().await;
            assert_eq!(support::processes_of(sandbox.uid()), 0);
        }
        node.shutdown().await;
    }
}
