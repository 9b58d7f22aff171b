//! Host paths shown in a sandbox that runs already.

use super::{Life, Sandbox, Shared};
use crate::{
    Attachment, Error, SCRATCH,
    sandboxes::{control, failed, next_report},
    spawner::{
        attach::Order,
        protocol::{Report, Step},
    },
};
use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, PoisonError},
};

/// Where nothing is attached: the program could change what is there, or the kernel makes it.
const NOWHERE: [&str; 3] = [SCRATCH, "/proc", "/dev"];

impl Sandbox {
    /// Shows host paths in the running sandbox as [`crate::Spec::attachments`] does at a start, in this order: read-only,
    /// without devices and set-uid, above what was there; the rules of Landlock that hold for the root hold for them. About a
    /// hundred microseconds. Works while it is frozen, and wants [`crate::Spec::attachable`].
    ///
    /// Each path inside must exist, be without `..`, and lie outside of `/tmp`, `/proc` and `/dev`. [`Error::Ended`] when
    /// the program has ended. After another error some of them may be attached: kill it. Cancel-safe: they may be attached
    /// all the same.
    pub async fn attach(&self, attachments: &[Attachment]) -> Result<(), Error> {
        check(attachments)?;
        if self.has_ended() {
            return Err(Error::Ended);
        }
        let mounts = self.shared.mounts()?;
        let request = encode(attachments, None)?;
        let (ours, theirs) = control().map_err(Error::step("making a socket"))?;
        self.shared.node.request(&request, &[theirs.as_fd(), mounts.as_fd()]).await?;
        drop((theirs, mounts));
        match next_report(&ours).await? {
            Some((Report::Attached, _)) => Ok(()),
            Some((Report::Failed { step, errno, index }, _)) => Err(refused(attachments, step, errno, index)),
            Some(_) | None => Err(Error::SpawnerGone),
        }
    }

    /// [`Sandbox::exited`], for whoever does not hold the sandbox; resolves too when it is dropped.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut life = self.life.clone();
        async move {
            // An error means that the watching task is gone, and the sandbox with it.
            let _ = life.wait_for(|life| *life != Life::Running).await;
        }
    }

    /// Whether the program has ended, as far as is known: then [`Sandbox::exited`] does not wait.
    pub fn has_ended(&self) -> bool {
        *self.life.borrow() != Life::Running
    }
}

impl Shared {
    /// The mount namespace, for one attachment.
    pub(super) fn mounts(&self) -> Result<Arc<OwnedFd>, Error> {
        match &*self.mounts.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(mounts) => Ok(Arc::clone(mounts)),
            None if self.slot().is_none() => Err(Error::Ended),
            None => Err(Error::Setting { name: "attachable", reason: "is not set".into() }),
        }
    }

    /// Lets go of the mount namespace.
    pub(super) fn forget_mounts(&self) {
        drop(self.mounts.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The worker's request to attach these, and to tell the sandbox's init something afterwards.
pub(super) fn encode(attachments: &[Attachment], then: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let pairs: Vec<_> = attachments
        .iter()
        .map(|one| (one.host.as_os_str().as_bytes(), one.inside.as_os_str().as_bytes()))
        .collect();
    let reason = || "one contains a zero byte".into();
    Order::encode(&pairs, then).ok_or_else(|| Error::Setting { name: "attachments", reason: reason() })
}

/// The error for a step that the worker reported.
pub(super) fn refused(attachments: &[Attachment], step: Step, errno: i32, index: u32) -> Error {
    let one = attachments.get(index as usize);
    let about = match step {
        Step::OpenAttachment => one.map(|one| one.host.as_path()),
        Step::Attach => one.map(|one| one.inside.as_path()),
        _ => None,
    };
    failed(step, errno, about)
}

pub(super) fn check(attachments: &[Attachment]) -> Result<(), Error> {
    let wrong =
        |what, path: &Path, reason: &'static str| Err(Error::Path { what, path: path.to_owned(), reason });
    for Attachment { host, inside } in attachments {
        if !host.is_absolute() {
            return wrong("attached host path", host, "is not absolute");
        }
        let plain: PathBuf = inside.components().collect();
        let upward = inside.components().any(|part| part == Component::ParentDir);
        if !inside.is_absolute() || upward || plain == Path::new("/") {
            return wrong("path inside", inside, "is not an absolute path below / without ..");
        }
        if NOWHERE.iter().any(|folder| plain.starts_with(folder)) {
            return wrong("path inside", inside, "is where nothing can be attached to a running program");
        }
    }
    Ok(())
}
