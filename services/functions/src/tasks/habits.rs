//! Writes down what the fleet has learned of functions, and has it learn that again after a start.
//!
//! None of it is on an invocation's path: changed habits are collected every [`WRITE_EVERY`] in steps of microseconds and
//! written without waiting for the disk. What is lost is at most the last minute.

use crate::{
    Error, Functions, data,
    model::{FunctionId, Qualifier, Target},
};
use base::{HABIT_AGE_MAX, Habit, Habits, Millis, Timestamp};
use std::{
    pin::pin,
    sync::{Arc, PoisonError, atomic::Ordering},
};
use store::Commit;

/// Between two writes.
const WRITE_EVERY: Millis = Millis(60_000);
/// Rows read at once.
const PAGE: i64 = 1_000;

pub(super) async fn run(functions: Arc<Functions>, stop: impl Future<Output = ()> + Send) {
    let Some(habits) = functions.habits.get().cloned() else { return stop.await };
    let mut stop = pin!(stop);
    let mut stopped = tokio::select! {
        () = &mut stop => true,
        () = functions.expect_calls(&*habits) => false,
    };
    loop {
        let next = functions.now().plus_ms(i64::try_from(WRITE_EVERY.0).unwrap_or(i64::MAX));
        if !stopped {
            stopped = tokio::select! {
                () = &mut stop => true,
                () = functions.clock.sleep_until(next) => false,
            };
        }
        if let Err(error) = write(&functions, &*habits).await {
            tracing::error!(%error, "habits of functions could not be written; tried again");
        }
        if stopped {
            return;
        }
    }
}

async fn write(functions: &Functions, habits: &dyn Habits) -> Result<(), Error> {
    let mut after = None;
    loop {
        let (changed, next) = habits.changed(after);
        let before = Timestamp(functions.now().0.saturating_sub_unsigned(HABIT_AGE_MAX.0));
        if !changed.is_empty() {
            let changed = Arc::new(changed);
            let rows = Arc::clone(&changed);
            let written = functions.db.write_at(Commit::Written, move |tx| {
                rows.iter().try_for_each(|habit| data::put_habit(tx, habit))?;
                data::forget_habits(tx, before)
            });
            written.await?;
            habits.kept(&changed);
            functions.habits_written.fetch_add(changed.len() as u64, Ordering::Relaxed);
        }
        let Some(_) = next else { return Ok(()) };
        after = next;
    }
}

impl Functions {
    /// Has the fleet learn again what earlier lives knew; before anything is invoked. A row that cannot be used is left out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn recall_habits(&self) -> Result<(), Error> {
        let Some(habits) = self.habits.get() else { return Ok(()) };
        let mut last: Option<Habit> = None;
        let mut expected = Vec::new();
        loop {
            let after = last.map(|habit| habit.key);
            let mut rows = self.db.read(move |tx| data::habits(tx, after.as_ref(), PAGE)).await?;
            expected.extend(rows.iter().filter(|habit| habits.recall(habit)).map(|habit| habit.key.clone()));
            last = rows.pop();
            if last.is_none() {
                break;
            }
        }
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = expected;
        Ok(())
    }

    /// Habits written down since this process began.
    pub fn habits_written(&self) -> u64 {
        self.habits_written.load(Ordering::Relaxed)
    }

    /// Tells the fleet how to start environments of functions that are about to be called as they always were.
    async fn expect_calls(&self, habits: &dyn Habits) {
        let expected = std::mem::take(&mut *self.expected.lock().unwrap_or_else(PoisonError::into_inner));
        for key in expected {
            let id = FunctionId { account: key.account, region: key.region, name: key.name };
            let target = Target { id, qualifier: Some(Qualifier::Version(key.version)) };
            let spec = match self.load(&target, key.version).await {
                Ok(served) => served.spec_for(key.tenant.as_ref()),
                Err(error) => Err(error),
            };
            match spec {
                Ok(spec) => match self.code.ensure_all(&spec).await {
                    Ok(()) => habits.expect(spec),
                    Err(error) => {
                        tracing::error!(function = %target.arn(), %error, "a package is missing on this node");
                    }
                },
                // It is not what it was, or is being made ready: its next call is cold.
                Err(error) => tracing::debug!(function = %target.arn(), %error, "no call is expected"),
            }
        }
    }
}
