//! Scratch space on disk: `/tmp` of a sandbox as a file system of its own in an image file, behind a loop device.
//!
//! Making one takes about a millisecond on an idle machine, far more on a busy one (each block read or written passes
//! through a worker of the kernel), and so does unmounting. A thread of its own does both, and keeps a pool ready. Nothing
//! has to be removed later: the image has no name from the moment it is open, the loop device lets go of it with its last
//! mount, and the mount ends with the last descriptor and sandbox. All of this holds when the daemon is killed, too.
//!
//! A scratch space that a sandbox never changed is given out again; every other one is dropped with its content.

mod image;

pub(crate) use image::host_lack;

use base::{ByteCount, MemoryMib};
use image::{Image, Mounted};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Size that is kept ready. Source: Lambda's default `EphemeralStorage`.
pub(crate) const SIZE_DEFAULT: MemoryMib = MemoryMib(512);
/// Sizes whose empty image is kept in memory; about 0.2 MB each.
const IMAGES_MAX: usize = 16;
/// How long after the last start new ones are prepared, unless they have become few: preparing competes with starts, and a
/// burst of starts takes the processors for some hundred milliseconds after the last was asked for.
const QUIET: Duration = Duration::from_millis(250);
/// The thread's priority beneath that of starts. Source: nice(1).
const NICE: i32 = 15;
/// Pause after one could not be made.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait at the end for sandboxes that are just being taken apart.
const END: Duration = Duration::from_secs(2);

/// The scratch spaces of a node.
#[derive(Debug)]
pub(crate) struct Scratches {
    /// `None`: `/tmp` is in memory.
    shared: Option<Arc<Shared>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// A sandbox's scratch space. Dropped when nothing of the sandbox is left; the work of that is done elsewhere.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Taken by the drop.
    mounted: Option<Mounted>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Kept ready.
    prepared: usize,
    state: Mutex<State>,
    /// Told of each change of the state that somebody waits for.
    changed: Condvar,
    /// Empty images by size. Held while one is made: others would need it too.
    images: Mutex<BTreeMap<u64, Arc<Image>>>,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Mounted>,
    returned: Vec<Mounted>,
    /// Given out and not returned.
    live: usize,
    taken_at: Option<Instant>,
    /// The host cannot make any.
    lacking: bool,
    stop: bool,
}

impl Scratches {
    /// All in memory: makes nothing.
    pub(crate) fn in_memory() -> Scratches {
        Scratches { shared: None, thread: Mutex::default() }
    }

    /// Starts the thread, which finds out whether the host can do it and begins to prepare. Makes the folder, and removes
    /// from it what a run left that ended while it made an image.
    pub(crate) fn on_disk(folder: PathBuf, prepared: usize) -> io::Result<Scratches> {
        image::prepare_folder(&folder)?;
        let shared = Arc::new(Shared {
            folder,
            prepared,
            state: Mutex::default(),
            changed: Condvar::new(),
            images: Mutex::default(),
        });
        let thread = std::thread::Builder::new().name("neap-scratch".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        })?;
        Ok(Scratches { shared: Some(shared), thread: Mutex::new(Some(thread)) })
    }

    /// A scratch space for this user, at once when one is ready. `None`: `/tmp` has to be in memory. Cancel-safe.
    pub(crate) async fn take(&self, size: MemoryMib, uid: u32) -> Option<Scratch> {
        let shared = self.shared.as_ref()?;
        let ready = shared.pop(size.bytes())?;
        let taken = match ready {
            Some(scratch) => scratch.give(uid),
            None => {
                let shared = Arc::clone(shared);
                let made = tokio::task::spawn_blocking(move || {
                    let mounted = shared.make(size.bytes())?;
                    shared.lock().live += 1;
                    Scratch { mounted: Some(mounted), shared }.give(uid)
                });
                made.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
            }
        };
        taken
            .inspect_err(|error| tracing::warn!(%error, "no scratch space on disk: it is in memory instead"))
            .ok()
    }

    /// Ends the thread and drops everything; waits a little for what is in use.
    pub(crate) fn stop(&self) {
        let Some(shared) = &self.shared else { return };
        shared.lock().stop = true;
        shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that prepares scratch space panicked");
        }
        let state = shared.lock();
        let waited = shared.changed.wait_timeout_while(state, END, |state| state.live > 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let left = (std::mem::take(&mut state.ready), std::mem::take(&mut state.returned));
        drop(state);
        drop(left);
    }
}

impl Drop for Scratches {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Scratch {
    /// The detached mount.
    pub(crate) fn tree(&self) -> Option<BorrowedFd<'_>> {
        self.mounted.as_ref().map(|mounted| mounted.tree().as_fd())
    }

    /// Gives it to a user.
    fn give(mut self, uid: u32) -> io::Result<Scratch> {
        match &mut self.mounted {
            Some(mounted) => mounted.give(uid)?,
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(self)
    }
}

/// A private file system of a limited size, which vanishes with this. It is mounted nowhere.
#[derive(Debug)]
pub struct ScratchSpace(pub(crate) Scratch);

impl ScratchSpace {
    /// Where this process finds it.
    pub fn path(&self) -> Option<PathBuf> {
        let tree = self.0.tree()?;
        Some(PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.live = state.live.saturating_sub(1);
        // After the end nobody is left to do it.
        let here = if state.stop { self.mounted.take() } else { None };
        state.returned.extend(self.mounted.take());
        drop(state);
        drop(here);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `Some(None)`: none of that size is ready. `None`: there will be none.
    fn pop(self: &Arc<Shared>, size: ByteCount) -> Option<Option<Scratch>> {
        let mut state = self.lock();
        if state.lacking || state.stop {
            return None;
        }
        state.taken_at = Some(Instant::now());
        if size != SIZE_DEFAULT.bytes() {
            return Some(None);
        }
        let Some(mounted) = state.ready.pop() else { return Some(None) };
        state.live += 1;
        // The thread would compete with this start: it is woken only when they become few.
        let wake = state.ready.len() < self.prepared.div_ceil(2);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        Some(Some(Scratch { mounted: Some(mounted), shared: Arc::clone(self) }))
    }

    fn make(&self, size: ByteCount) -> io::Result<Mounted> {
        self.image(size)?.mount(&self.folder)
    }

    /// The empty image of that size.
    fn image(&self, size: ByteCount) -> io::Result<Arc<Image>> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = images.get(&size.0) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(Image::make(&self.folder, size)?);
        if images.len() >= IMAGES_MAX {
            // Which one does not matter: it is made again in milliseconds.
            images.retain(|kept, _| *kept == SIZE_DEFAULT.bytes().0);
        }
        images.insert(size.0, Arc::clone(&image));
        Ok(image)
    }

    fn work(&self) {
        // On Linux this is the calling thread's alone; without it preparing is only more in the way.
        let _ = rustix::process::setpriority_process(None, NICE);
        if let Err(error) = self.image(SIZE_DEFAULT.bytes()) {
            self.lock().lacking = true;
            let reason = host_lack().unwrap_or_default();
            tracing::warn!(%error, reason, "no scratch space on disk: /tmp of functions counts against their memory");
        }
        while let Some(job) = self.next_job() {
            match job {
                Job::Return(mounted) => self.clean(mounted),
                Job::Prepare => match self.make(SIZE_DEFAULT.bytes()) {
                    Ok(mounted) => self.lock().ready.push(mounted),
                    Err(error) => {
                        tracing::warn!(%error, "no scratch space could be prepared");
                        let state = self.lock();
                        let waited = self.changed.wait_timeout_while(state, RETRY, |state| !state.stop);
                        drop(waited);
                    }
                },
            }
        }
    }

    /// Waits for something to do; `None` at the end.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if let Some(mounted) = state.returned.pop() {
                return Some(Job::Return(mounted));
            }
            if state.lacking || state.ready.len() >= self.prepared {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if state.ready.len() < self.prepared / 8 {
                return Some(Job::Prepare);
            }
            let since = state.taken_at.map_or(QUIET, |taken| taken.elapsed());
            let Some(rest) = QUIET.checked_sub(since).filter(|rest| !rest.is_zero()) else {
                return Some(Job::Prepare);
            };
            let waited = self.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Keeps one that is as new; drops any other.
    fn clean(&self, mut mounted: Mounted) {
        let wanted = mounted.size == SIZE_DEFAULT.bytes() && self.lock().ready.len() < self.prepared;
        if wanted && mounted.is_untouched() {
            match mounted.detach_again() {
                Ok(()) => self.lock().ready.push(mounted),
                Err(error) => tracing::warn!(%error, "an unused scratch space could not be used again"),
            }
        }
    }
}

/// What the thread does next.
enum Job {
    Return(Mounted),
    Prepare,
}
