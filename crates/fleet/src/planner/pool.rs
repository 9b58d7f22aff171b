//! One pool: the environments of one function version and the calls that wait for them.

use super::{CallId, Tick, admission::Function, habits::Remembered, room::Room, table::Row};
use crate::keepalive::Expected;
use base::{EnvironmentId, MemoryMib, VersionKey};
use std::collections::VecDeque;

/// A call in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) call: CallId,
    pub(super) since: Tick,
    /// Failed starts that it was charged with.
    pub(super) failures: u8,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) key: VersionKey,
    pub(super) memory: MemoryMib,
    pub(super) function: Row<Function>,
    /// Least recently used first.
    pub(super) idle: VecDeque<EnvironmentId>,
    /// Oldest first. Empty while anything is idle.
    pub(super) queue: VecDeque<Queued>,
    pub(super) booting: u32,
    /// Busy or draining.
    pub(super) busy: u32,
    pub(super) stopping: u32,
    /// Environments that become idle end.
    pub(super) retired: bool,
    /// Failed starts in a row.
    pub(super) failures: u32,
    /// No start before this.
    pub(super) not_before: Tick,
    /// Whether it is in the ring of pools that want a start.
    pub(super) wanting: bool,
    /// Whether, when last looked at, no memory could be had for a start.
    pub(super) starved: bool,
    /// Environments that are to be there whether or not anybody calls.
    pub(super) floor: u32,
    /// Failed starts in a row of those ahead of calls, and when the next may be.
    pub(super) floor_failures: u32,
    pub(super) floor_not_before: Tick,
    /// The floor from a moment in the future on.
    pub(super) floor_later: Option<(Tick, u32)>,
    /// How long an environment beyond the floor may be idle.
    pub(super) keep: Keep,
    /// Calls queued or running.
    pub(super) in_use: u32,
    /// What is known of its function's habits, while [`Keep::Learned`].
    pub(super) history: Option<Row<Remembered>>,
    /// When calls are expected for which environments are started ahead.
    pub(super) expected: Option<Expected>,
    /// Starts under way for expected calls that no call has claimed.
    pub(super) foreseen: Vec<EnvironmentId>,
    /// SnapStart: so many environments are to wait initialised that have served nobody, and those that do, oldest first.
    pub(super) prepare: u32,
    pub(super) prepared: VecDeque<EnvironmentId>,
    /// Starts under way for them.
    pub(super) preparing: Vec<EnvironmentId>,
    /// Whether somebody waits for the first of them: then others give way to its start.
    pub(super) prepare_urgent: bool,
    /// When a call last took one, or found none: the pool that this is longest ago for gives way.
    pub(super) prepare_used: Tick,
    /// When the pool is next to be looked at.
    pub(super) due: Option<Tick>,
    /// How long after becoming idle that is to be, as last judged, and after how many calls that was.
    pub(super) look_us: u64,
    pub(super) judged: Option<u32>,
}

/// How long environments beyond a pool's floor may be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// So many microseconds.
    Fixed(u64),
    /// As its history suggests.
    Learned,
}

impl Pool {
    pub(super) fn new(key: VersionKey, memory: MemoryMib, function: Row<Function>, keep: Keep) -> Pool {
        Pool {
            key,
            memory,
            function,
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            booting: 0,
            busy: 0,
            stopping: 0,
            retired: false,
            failures: 0,
            not_before: Tick(0),
            wanting: false,
            starved: false,
            floor: 0,
            floor_failures: 0,
            floor_not_before: Tick(0),
            floor_later: None,
            keep,
            in_use: 0,
            history: None,
            expected: None,
            foreseen: Vec::new(),
            prepare: 0,
            prepared: VecDeque::new(),
            preparing: Vec::new(),
            prepare_urgent: false,
            prepare_used: Tick(0),
            due: None,
            look_us: 0,
            judged: None,
        }
    }

    /// What one of its environments takes.
    pub(super) fn room(&self) -> Room {
        Room::of_one(u64::from(self.memory.0))
    }

    /// Starts that its queued calls need beyond those under way.
    pub(super) fn wanted(&self) -> usize {
        self.queue.len().saturating_sub(self.booting as usize)
    }

    /// The oldest queued call that no start under way covers.
    pub(super) fn uncovered(&self) -> Option<&Queued> {
        self.queue.get(self.booting as usize)
    }

    /// Environments that serve now or soon.
    pub(super) fn serving(&self) -> usize {
        self.idle.len() + self.prepared.len() + self.booting as usize + self.busy as usize
    }

    /// Environments that are missing from the floor.
    pub(super) fn below_floor(&self) -> usize {
        (self.floor as usize).saturating_sub(self.serving())
    }

    /// Environments that are missing of those that are to wait initialised.
    pub(super) fn below_prepared(&self) -> usize {
        (self.prepare as usize).saturating_sub(self.prepared.len() + self.preparing.len())
    }

    /// Environments that the floor does not need.
    fn spare(&self) -> usize {
        self.serving().saturating_sub(self.floor as usize)
    }

    /// Idle environments that may end: the floor needs the others.
    pub(super) fn dispensable(&self) -> usize {
        self.spare().min(self.idle.len())
    }

    /// Environments that can make room for others: idle, waiting for a first call, or being started for an expected one.
    pub(super) fn reclaimable(&self) -> usize {
        self.spare().min(self.idle.len() + self.prepared.len() + self.foreseen.len())
    }

    /// Whether nothing is there and nobody waits, though something may be planned.
    pub(super) fn is_quiet(&self) -> bool {
        self.floor == 0
            && self.prepare == 0
            && self.serving() == 0
            && self.stopping == 0
            && self.queue.is_empty()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.is_quiet() && self.expected.is_none() && self.floor_later.is_none()
    }

    /// The idle environment that a call takes: the one used last, or else one that was initialised ahead.
    pub(super) fn next_idle(&self) -> Option<EnvironmentId> {
        self.idle.back().or(self.prepared.front()).copied()
    }

    /// Removes `id` from the lists of idle ones: at either end in the common cases.
    pub(super) fn forget_idle(&mut self, id: EnvironmentId) {
        self.prepared.retain(|&other| other != id);
        if self.idle.back() == Some(&id) {
            self.idle.pop_back();
        } else if let Some(at) = self.idle.iter().position(|&other| other == id) {
            self.idle.remove(at);
        }
    }
}
