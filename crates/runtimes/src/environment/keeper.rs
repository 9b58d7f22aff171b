//! What is done for an environment beside its invocations: its output is passed on, its journal sent off; it is frozen when
//! idle, and its end is noticed.

use super::{Room, Seat};
use crate::{extensions::Reason, journal::Entry, output::Output, process::Process};
use base::Exit;
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How long what an invocation wrote may wait for company on its way to the log.
const FLUSH_AFTER: Duration = Duration::from_millis(30);
/// The same for lines of an invocation that is still running.
const FLUSH_LINES_AFTER: Duration = Duration::from_millis(200);

impl Room {
    /// Sees to it that the keeper flushes and freezes soon.
    pub(super) fn arm(&self) {
        if !self.armed.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// The keeper's work when its timer fires; when to come again.
    fn settle(&self) -> Option<Instant> {
        self.armed.store(false, Ordering::Release);
        // Its texts are made beside the invocations, not between them.
        self.recipe.scribe.send_off(self.journal.clone());
        let mut seat = self.lock(&self.seat);
        let (process, frozen, since) = match &mut *seat {
            Seat::Idle { process, frozen, since, .. } => (process, frozen, since),
            Seat::Unrestored { process } => {
                // Who waited for it may have left.
                if let Err(error) = process.sandbox.freeze() {
                    tracing::debug!(%error, "an environment that waits runs on");
                }
                return None;
            }
            Seat::Unready | Seat::Busy | Seat::Gone => return None,
        };
        if *frozen {
            return None;
        }
        let due = *since + self.recipe.settings.freeze_after.duration();
        if due > Instant::now() {
            self.armed.store(true, Ordering::Release);
            return Some(due);
        }
        match process.sandbox.freeze() {
            Ok(()) => *frozen = true,
            Err(error) => tracing::debug!(%error, "idle environment runs on"),
        }
        None
    }

    /// Takes lines that an invocation has just written; those of an idle environment wait for its next invocation.
    fn collect(&self, output: &Output) -> bool {
        if !matches!(*self.lock(&self.seat), Seat::Busy) {
            return false;
        }
        let mut lines = Vec::new();
        output.take(&mut lines);
        self.journal.add_lines(&mut lines);
        true
    }

    /// A program of an extension ended by itself. While an invocation runs, that one handles it.
    fn companion_left(self: &Arc<Self>, index: usize, exit: sandbox::Exit) {
        let Some(process) = self.take_idle() else { return };
        let at = self.now();
        let name = self.recipe.extensions.get(index).map_or("", String::as_str);
        let how = crate::failure::extension_ended(exit);
        let text = format!("Extension {name} ended: {how}\nExtension.Crash");
        self.journal.add(Entry::Note { at, text, stamped: false });
        self.close(process, Exit::Crashed);
    }

    /// Ends a process that nothing runs in.
    pub(super) fn close(self: &Arc<Self>, process: Box<Process>, exit: Exit) {
        let room = self.clone();
        tokio::spawn(async move {
            process.shut_down(Reason::Failure, room.now()).await;
            room.lock(&room.sandbox).take();
            room.journal.flush();
            room.ended.send_replace(Some(exit));
        });
    }

    /// The process, if it is idle; the seat is empty then.
    pub(super) fn take_idle(&self) -> Option<Box<Process>> {
        let mut seat = self.lock(&self.seat);
        match std::mem::replace(&mut *seat, Seat::Gone) {
            Seat::Idle { process, .. } | Seat::Unrestored { process } => Some(process),
            other @ (Seat::Unready | Seat::Busy | Seat::Gone) => {
                *seat = other;
                None
            }
        }
    }

    /// The process ended by itself. While an invocation runs, that one handles it.
    fn left(self: &Arc<Self>, exited: sandbox::Exited) {
        let Some(process) = self.take_idle() else { return };
        let mut lines = Vec::new();
        process.output.finish(self.now(), &mut lines);
        self.journal.add_lines(&mut lines);
        self.close(process, if exited.oom { Exit::OutOfMemory } else { Exit::Crashed });
    }
}

/// Watches one process: passes its output on, sends the journal off, freezes it when idle, notices its end. It does not keep
/// the room: when the fleet lets go of an environment, that ends its process, and the process's end ends this.
pub(super) async fn keep(room: Weak<Room>, sandbox: Arc<sandbox::Sandbox>, output: Arc<Output>) {
    let Some(known) = room.upgrade() else { return };
    let (clock, wake) = (known.recipe.ports.clock.clone(), known.wake.clone());
    let mut accompanied = !known.recipe.extensions.is_empty();
    drop(known);
    let mut next: Option<Instant> = None;
    loop {
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exited = sandbox.exited() => {
                if let Some(room) = room.upgrade() {
                    room.left(exited);
                }
                return;
            }
            (index, exit) = sandbox.companion_exited(), if accompanied => {
                accompanied = false;
                if let Some(room) = room.upgrade() {
                    room.companion_left(index, exit);
                }
            }
            () = output.readable(|| clock.now()) => {
                let Some(room) = room.upgrade() else { return };
                if room.collect(&output) && next.is_none() {
                    next = Some(Instant::now() + FLUSH_LINES_AFTER);
                }
            }
            () = wake.notified() => next = Some(Instant::now() + FLUSH_AFTER),
            () = timer => {
                let Some(room) = room.upgrade() else { return };
                next = room.settle();
            }
        }
    }
}
