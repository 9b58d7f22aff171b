//! Merging points that are too old for their period into coarser ones, and removing the oldest.

use super::{
    data,
    model::{Point, Slot},
};
use crate::{Inner, tasks::FORGET_INSTANCES_MS};
use std::sync::Arc;
use store::{Commit, Error, Tx};

/// Points moved in one transaction, so that nobody waits long behind it.
const ROWS: i64 = 500;
/// Seconds: period, how long its points are kept, and the period they are merged into then.
/// Source: API reference, "Metrics retention"; the last is removed.
const TIERS: [(i64, i64, Option<i64>); 4] = [
    (1, 3 * 3_600, Some(60)),
    (60, 15 * 86_400, Some(300)),
    (300, 63 * 86_400, Some(3_600)),
    (3_600, 455 * 86_400, None),
];
/// The longest that any point is kept, in seconds.
pub(crate) const KEPT_S: i64 = 455 * 86_400;

impl Inner {
    /// Stores what has been gathered before the call, durably and exactly once.
    ///
    /// Cancel-safe: a batch whose outcome is unknown is kept and stored again, and its number tells whether it has been.
    pub(crate) async fn flush_metrics(&self) -> Result<(), Error> {
        let mut kept = self.metrics_kept.lock().await;
        self.count();
        // A batch left over from a failed attempt first, then what has come since; but not what comes meanwhile.
        for left_over in [true, false] {
            let batch = if left_over { kept.clone() } else { self.gathering.take() };
            let Some(batch) = batch else { continue };
            *kept = Some(Arc::clone(&batch));
            let (now, max, writing) = (self.clock.now(), self.settings.metrics_max, Arc::clone(&batch));
            let store =
                move |tx: &mut Tx<'_>| match data::flush_note(tx, writing.instance, writing.sequence, now)? {
                    true => data::points_add(tx, &writing.points, max),
                    false => Ok(0),
                };
            let left_out = self.db.write(store).await? as u64 + batch.left_out;
            if left_out > 0 {
                self.metrics.metric_points_dropped.inc_by(left_out);
                tracing::warn!(
                    left_out,
                    max,
                    "points of metrics left out: too many at once, or too many metrics"
                );
            }
            *kept = None;
        }
        Ok(())
    }

    /// Notes how many invocations run, once a minute.
    pub(crate) fn observe_concurrency(&self) {
        self.count();
        if self.gathering.observe(self.clock.now()) {
            self.metrics_wait.notify_one();
        }
    }

    /// Idempotent; each step is a transaction that moves points, so that they count once whatever happens.
    pub(crate) async fn age_metrics(&self) -> Result<(), Error> {
        let now = self.clock.now().0.div_euclid(1_000);
        for (period, kept, into) in TIERS {
            let before = now - kept;
            while self.db.write_at(Commit::Written, move |tx| age(tx, period, before, into)).await? {}
        }
        let own = self.counting.instance();
        let forgotten = self.clock.now().plus_ms(-FORGET_INSTANCES_MS);
        self.db.write_at(Commit::Written, move |tx| data::flushes_forget(tx, own, forgotten)).await?;
        let before = now - KEPT_S;
        let expire =
            move |tx: &mut Tx<'_>| Ok::<_, Error>(data::series_expire(tx, before, ROWS)? == ROWS as u64);
        while self.db.write_at(Commit::Written, expire).await? {}
        Ok(())
    }
}

/// Whether there may be more.
fn age(tx: &mut Tx<'_>, period: i64, before: i64, into: Option<i64>) -> Result<bool, Error> {
    let aged = data::points_aged(tx, period, before, ROWS)?;
    for (series, point) in &aged {
        match into {
            Some(period) => data::point_move(tx, *series, point, &coarser(point, period))?,
            None => data::point_delete(tx, *series, &point.slot)?,
        }
    }
    Ok(aged.len() as i64 == ROWS)
}

fn coarser(point: &Point, period: i64) -> Slot {
    let Slot { at, unit, .. } = point.slot;
    Slot { at: at - at.rem_euclid(period), period, unit }
}
