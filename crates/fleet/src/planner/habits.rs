//! What is known of functions: whose it is, when it is forgotten, and how it outlives the node.

use super::{
    Demand, Effect, Planner, Tick,
    keeping::Due,
    pool::{Keep, Pool},
    table::{Row, Table},
};
use crate::{KeepAlive, keepalive::History};
use base::{Habit, HabitKey, Timestamp, VersionKey};
use std::collections::HashMap;

/// Habits of a version of which one revision was retired are forgotten unless another is called within an hour.
const FORGET_RETIRED_US: u64 = 3_600_000_000;
/// Histories that are looked at in one step for what is to be kept, and the most that it tells: some hundred microseconds.
const LOOKED_AT_ONCE: usize = 4_096;
const WRITTEN_AT_ONCE: usize = 256;

/// What is remembered of a version.
#[derive(Debug)]
pub(super) struct Remembered {
    key: HabitKey,
    pub(super) history: History,
    /// Pools of its revisions that learn.
    pools: u32,
    /// Whether its last pool went with its revision.
    retired: bool,
    /// When it is next asked whether it is to be forgotten.
    due: Tick,
    /// When it was last used as far as what is kept of it tells.
    kept: Tick,
}

/// The habits of all versions.
#[derive(Debug)]
pub(super) struct Habits {
    pub(super) known: Table<Remembered>,
    rows: HashMap<HabitKey, Row<Remembered>>,
}

impl Habits {
    pub(super) fn new() -> Habits {
        Habits { known: Table::new(), rows: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn remove(&mut self, row: Row<Remembered>) {
        if let Some(gone) = self.known.remove(row) {
            self.rows.remove(&gone.key);
        }
    }
}

impl Planner {
    /// What is known of a pool's function.
    pub(super) fn history(&mut self, row: Row<Pool>) -> Option<&mut History> {
        let known = self.pools[row].history?;
        Some(&mut self.habits.known[known].history)
    }

    /// Gives a pool the habits of its version; none if there is no place for them.
    pub(super) fn remember(&mut self, row: Row<Pool>, now: Tick) {
        let key = habit_key(&self.pools[row].key);
        let found = self.habits.rows.get(&key).copied();
        let Some(known) = found.or_else(|| self.add_history(key, History::default(), now)) else { return };
        let remembered = &mut self.habits.known[known];
        remembered.pools += 1;
        remembered.retired = false;
        self.pools[row].history = Some(known);
        self.pools[row].judged = None;
    }

    fn add_history(&mut self, key: HabitKey, history: History, now: Tick) -> Option<Row<Remembered>> {
        if self.habits.len() >= self.limits.histories_max {
            self.forget_oldest();
        }
        if self.habits.len() >= self.limits.histories_max {
            return None;
        }
        let (due, kept) = (now.plus(self.limits.forget_us), history.last_used());
        let remembered = Remembered { key: key.clone(), history, pools: 0, retired: false, due, kept };
        let known = self.habits.known.insert(remembered);
        self.habits.rows.insert(key, known);
        self.agenda.0.insert((due, Due::Habits(known)));
        Some(known)
    }

    /// Makes place for new habits: the quarter that was not used for longest goes, where no pool has it.
    fn forget_oldest(&mut self) {
        let unused = self.habits.known.iter().filter(|(_, remembered)| remembered.pools == 0);
        let mut unused: Vec<(Tick, u32, Row<Remembered>)> =
            unused.map(|(row, one)| (one.history.last_used(), row.number(), row)).collect();
        unused.sort_unstable_by_key(|&(used, number, _)| (used, number));
        let share = (self.limits.histories_max / 4).max(1);
        for (_, _, row) in unused.into_iter().take(share) {
            self.agenda.0.remove(&(self.habits.known[row].due, Due::Habits(row)));
            self.habits.remove(row);
        }
    }

    /// A pool no longer learns: its function has another setting, its revision is retired, or it goes.
    pub(super) fn detach(&mut self, row: Row<Pool>, now: Tick) {
        let pool = &mut self.pools[row];
        (pool.expected, pool.judged) = (None, None);
        let Some(known) = pool.history.take() else { return };
        let retired = pool.retired;
        let remembered = &mut self.habits.known[known];
        remembered.pools -= 1;
        if retired && remembered.pools == 0 {
            remembered.retired = true;
            self.agenda.0.remove(&(remembered.due, Due::Habits(known)));
            remembered.due = now.plus(FORGET_RETIRED_US.min(self.limits.forget_us));
            self.agenda.0.insert((remembered.due, Due::Habits(known)));
        }
    }

    /// Forgets all habits: the node ends.
    pub(super) fn forget_all(&mut self) {
        for row in self.pools.iter().map(|(row, _)| row).collect::<Vec<_>>() {
            let pool = &mut self.pools[row];
            (pool.history, pool.expected, pool.floor_later, pool.due) = (None, None, None, None);
        }
        self.habits = Habits::new();
        self.agenda.0.clear();
    }

    /// Forgets habits whose time has come.
    pub(super) fn forget(&mut self, known: Row<Remembered>, now: Tick) {
        let remembered = &mut self.habits.known[known];
        let after = if remembered.retired { FORGET_RETIRED_US } else { self.limits.forget_us };
        let due = match remembered.pools {
            0 => remembered.history.last_used().plus(after.min(self.limits.forget_us)),
            _ => now.plus(self.limits.forget_us),
        };
        if due <= now {
            return self.habits.remove(known);
        }
        remembered.due = due;
        self.agenda.0.insert((due, Due::Habits(known)));
    }

    /// See [`base::Habits::changed`].
    pub fn habits_changed(&self, after: Option<u32>) -> (Vec<Habit>, Option<u32>) {
        let mut changed = Vec::new();
        let mut last = None;
        for (row, one) in self.habits.known.iter_after(after).take(LOOKED_AT_ONCE) {
            let used = one.history.last_used();
            last = Some(row.number());
            if used == one.kept {
                continue;
            }
            let at = Timestamp(i64::try_from(used.0 / 1_000).unwrap_or(i64::MAX));
            let record = one.history.write();
            changed.push(Habit { key: one.key.clone(), used: at, record, mark: used.0 });
            if changed.len() == WRITTEN_AT_ONCE {
                break;
            }
        }
        (changed, last)
    }

    /// See [`base::Habits::kept`].
    pub fn habits_kept(&mut self, habits: &[Habit]) {
        for habit in habits {
            if let Some(&row) = self.habits.rows.get(&habit.key) {
                self.habits.known[row].kept = Tick(habit.mark);
            }
        }
    }

    /// See [`base::Habits::recall`].
    pub fn recall(&mut self, habit: &Habit, now: Tick) -> bool {
        if self.draining
            || self.limits.keep_alive != KeepAlive::Learned
            || self.habits.rows.contains_key(&habit.key)
        {
            return false;
        }
        let Some(history) = History::read(&habit.record, now) else { return false };
        if now.since(history.last_used()) >= self.limits.forget_us {
            return false;
        }
        let left = history.last_left(1).unwrap_or_default();
        let expected = history.advise(1, left, now, &self.limits.terms()).next.is_some();
        self.add_history(habit.key.clone(), history, now).is_some() && expected
    }

    /// Makes a pool for what is known of a function of an earlier life, if a call of it is expected.
    pub(super) fn expect(&mut self, demand: &Demand<'_>, now: Tick, out: &mut Vec<Effect>) {
        let known = self.habits.rows.contains_key(&habit_key(demand.key));
        if self.draining
            || !known
            || self.rows.contains_key(demand.key)
            || demand.memory > self.limits.memory_max()
            || self.keep_of(demand) != Keep::Learned
        {
            return;
        }
        let function = self.admission.function(demand.key);
        let row = self.add_pool(demand, function);
        self.remember(row, now);
        // If nothing is expected any more, the pool goes at once.
        self.review(row, now, out);
    }
}

/// A version whatever its revision: what has habits.
fn habit_key(key: &VersionKey) -> HabitKey {
    HabitKey {
        account: key.account,
        region: key.region.clone(),
        name: key.name.clone(),
        version: key.version,
        tenant: key.tenant.clone(),
    }
}
