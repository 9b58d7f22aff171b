//! Merging points that are too old for their period into coarser ones, and removing the oldest.

use super::{
    data,
    model::{Point, Slot},
};
use crate::Inner;
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
    /// Stores what functions have measured so far.
    pub(crate) async fn flush_metrics(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Idempotent; each step is a transaction that moves points, so that they count once whatever happens.
    pub(crate) async fn age_metrics(&self) -> Result<(), Error> {
        let now = self.clock.now().0.div_euclid(1_000);
        for (period, kept, into) in TIERS {
            let before = now - kept;
            while self.db.write_at(Commit::Written, move |tx| age(tx, period, before, into)).await? {}
        }
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
