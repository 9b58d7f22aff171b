//! Slots: what a sandbox needs that takes long to make (network namespace, cgroup) or must be unique (uid), kept ready by
//! a thread of its own, cleaned after use and given out again.

use crate::{Error, Settings, cgroup, network, scratch::Scratch, streams::Streams};
use cgroup::{Group, Run};
use network::{Kind, Network, Nursery};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec},
    fd::AsFd,
};
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// One slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    /// uid and gid inside.
    pub(crate) uid: u32,
    /// The same as the daemon sees it.
    pub(crate) owner: u32,
    pub(crate) network: Network,
    pub(crate) group: Group,
    /// Made ahead; taken by the start.
    pub(crate) streams: Option<Streams>,
    /// Of the sandbox that uses the slot.
    pub(crate) scratch: Option<Scratch>,
}

/// The slots of a node.
#[derive(Debug)]
pub(crate) struct Slots {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Readable when the thread has something to look at.
    wake: OwnedFd,
    uid_first: u32,
    /// Whether all sandboxes have the daemon's uid.
    shared_uid: bool,
    slots_max: usize,
    prepared: usize,
    prepared_max: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Slot>,
    waiting: VecDeque<oneshot::Sender<Result<Slot, Error>>>,
    returned: Vec<Returned>,
    /// Indices of slots that exist.
    taken: BTreeSet<u32>,
    stop: bool,
}

/// A slot whose sandbox has ended, or is being killed.
#[derive(Debug)]
struct Returned {
    slot: Slot,
    /// Readable when nothing of the sandbox is left; `None`: it never had a process.
    process: Option<OwnedFd>,
}

/// How long after the last start new slots are prepared, so that preparing does not compete with a burst of starts.
const QUIET: Duration = Duration::from_millis(20);

impl Slots {
    /// Starts the thread and begins to prepare.
    pub(crate) fn start(settings: &Settings, run: Run, shared_uid: bool, kind: Kind) -> io::Result<Slots> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            uid_first: settings.uids.start,
            shared_uid,
            slots_max: settings.live_max,
            prepared: settings.prepared,
            prepared_max: settings.prepared_max.max(settings.prepared),
        });
        let thread = std::thread::Builder::new().name("neap-slots".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let nursery = Nursery::make();
                Keeper { shared, run, kind, nursery, pending: Vec::new() }.work();
            }
        })?;
        Ok(Slots { shared, thread: Mutex::new(Some(thread)) })
    }

    /// A slot, at once when one is ready. Cancel-safe: an unclaimed slot is kept for the next.
    pub(crate) async fn take(&self) -> Result<Slot, Error> {
        let (give, given) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if let Some(slot) = state.ready.pop() {
                // The thread would compete with this start: it is woken only when slots become few.
                let wake = state.ready.len() < self.shared.prepared.div_ceil(2);
                drop(state);
                if wake {
                    self.shared.wake();
                }
                return Ok(slot);
            }
            if state.stop {
                return Err(Error::SpawnerGone);
            }
            state.waiting.push_back(give);
        }
        self.shared.wake();
        given.await.unwrap_or(Err(Error::SpawnerGone))
    }

    /// Takes a slot back; `process` is the pidfd of its sandbox, which has ended or was killed.
    pub(crate) fn put_back(&self, slot: Slot, process: Option<OwnedFd>) {
        let mut state = self.shared.lock();
        if !state.stop {
            state.returned.push(Returned { slot, process });
            drop(state);
            self.shared.wake();
        }
    }

    /// Ends the thread and drops every slot that is not in use.
    pub(crate) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that prepares sandboxes panicked");
        }
        let mut state = self.shared.lock();
        state.ready.clear();
        state.returned.clear();
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Fails only when the counter is full: then it is readable anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The thread's own state.
struct Keeper {
    shared: Arc<Shared>,
    run: Run,
    kind: Kind,
    nursery: io::Result<Nursery>,
    pending: Vec<Returned>,
}

impl Keeper {
    fn work(mut self) {
        let mut refill = true;
        loop {
            {
                let mut state = self.shared.lock();
                if state.stop {
                    for waiting in state.waiting.drain(..) {
                        let _ = waiting.send(Err(Error::SpawnerGone));
                    }
                    return;
                }
                self.pending.append(&mut state.returned);
            }
            self.recycle();
            self.serve();
            if refill && self.prepare_one() {
                // More may be missing: look for other work, then go on.
                refill = self.wait(Some(Duration::ZERO)).is_none();
                continue;
            }
            let short = {
                let state = self.shared.lock();
                state.ready.len() < self.shared.prepared && state.taken.len() < self.shared.slots_max
            };
            refill = self.wait(short.then_some(QUIET)).is_none();
        }
    }

    /// Gives slots to those who wait for them: ready ones, else new ones.
    fn serve(&mut self) {
        loop {
            let (waiting, ready) = {
                let mut state = self.shared.lock();
                let Some(waiting) = state.waiting.pop_front() else { return };
                (waiting, state.ready.pop())
            };
            if waiting.is_closed() {
                self.shared.lock().ready.extend(ready);
                continue;
            }
            let slot = ready.map_or_else(|| self.make(), Ok);
            if let Err(Ok(slot)) = waiting.send(slot) {
                self.shared.lock().ready.push(slot);
            }
        }
    }

    /// Makes one slot more if there are too few; whether it did.
    fn prepare_one(&mut self) -> bool {
        {
            let state = self.shared.lock();
            if state.ready.len() >= self.shared.prepared || state.taken.len() >= self.shared.slots_max {
                return false;
            }
        }
        match self.make() {
            Ok(slot) => {
                self.shared.lock().ready.push(slot);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no sandbox could be prepared");
                false
            }
        }
    }

    fn make(&mut self) -> Result<Slot, Error> {
        let index = {
            let mut state = self.shared.lock();
            let index = (0..).zip(&state.taken).find(|(free, taken)| free != *taken).map(|(free, _)| free);
            let index = index.unwrap_or(u32::try_from(state.taken.len()).unwrap_or(u32::MAX));
            if index as usize >= self.shared.slots_max {
                return Err(Error::Exhausted { max: self.shared.slots_max });
            }
            state.taken.insert(index);
            index
        };
        let made = (|| {
            let group = Group::make(&self.run, index).map_err(Error::step("making a cgroup"))?;
            let network = self.network().map_err(Error::step("making a network namespace"))?;
            let uid = self.shared.uid_first + index;
            let owner = if self.shared.shared_uid { 0 } else { uid };
            let streams = Streams::make(owner).map_err(Error::step("making pipes"))?;
            Ok(Slot { index, uid, owner, network, group, streams: Some(streams), scratch: None })
        })();
        if made.is_err() {
            self.shared.lock().taken.remove(&index);
        }
        made
    }

    fn network(&self) -> io::Result<Network> {
        match &self.nursery {
            Ok(nursery) => Network::make(nursery, &self.kind),
            Err(error) => Err(error.kind().into()),
        }
    }

    /// Cleans the slots whose sandboxes are gone; those that cannot be cleaned are dropped.
    fn recycle(&mut self) {
        let mut index = 0;
        while let Some(returned) = self.pending.get(index) {
            if !returned.process.as_ref().is_none_or(is_readable) {
                index += 1;
                continue;
            }
            let mut slot = self.pending.swap_remove(index).slot;
            slot.scratch = None;
            let keep = self.shared.lock().ready.len() < self.shared.prepared_max && self.clean(&mut slot);
            let number = slot.index;
            if keep {
                self.shared.lock().ready.push(slot);
            } else {
                drop(slot);
                self.shared.lock().taken.remove(&number);
            }
        }
    }

    /// Makes a slot like new; whether that worked.
    fn clean(&self, slot: &mut Slot) -> bool {
        match slot.network.is_clean() {
            Ok(true) => {}
            Ok(false) => {
                tracing::debug!(slot = slot.index, "a network namespace still has sockets and is given up");
                match self.network() {
                    Ok(network) => slot.network = network,
                    Err(error) => {
                        tracing::warn!(%error, "no new network namespace");
                        return false;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a network namespace could not be looked at");
                return false;
            }
        }
        slot.group
            .renew()
            .inspect_err(|error| tracing::warn!(%error, "a cgroup could not be renewed"))
            .is_ok()
    }

    /// Waits until there is something to do or the time has passed. `None`: it has passed.
    fn wait(&self, longest: Option<Duration>) -> Option<()> {
        let mut polled = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        polled.extend(
            self.pending
                .iter()
                .filter_map(|returned| Some(PollFd::new(returned.process.as_ref()?, PollFlags::IN))),
        );
        let timeout = longest.and_then(|longest| Timespec::try_from(longest).ok());
        let ready = rustix::event::poll(&mut polled, timeout.as_ref()).unwrap_or(1);
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut counter);
        (ready > 0).then_some(())
    }
}

/// Whether a pidfd's process is gone.
fn is_readable(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}
