//! Reserved time of provisioned concurrency.
//!
//! An allocation is a number of environments that are reserved for one version. It is charged in steps of five minutes, each
//! when it begins; a changed number is a new allocation. So the time from the first reservation to its end is rounded up to five
//! minutes for each change. Source: Lambda's price list. A node that is not running does not end an allocation: its function has
//! it until it is taken away, and what has passed meanwhile is charged at the next start.
//!
//! What is allocated and until when it is charged is one row, changed in the transaction that adds to the usage: whoever
//! charges, and however often, a step is charged once. Steps that have begun are charged within a minute, or when usage is read.

pub(crate) mod data;

use crate::{Inner, logic::DAY_MS, meter::UsageKey, prices::Processor};
use base::{AccountId, FunctionName, Region, Reserved, Timestamp, Version};
use std::collections::BTreeMap;
use store::{Error, Tx};

/// One step.
pub(crate) const STEP_MS: i64 = 5 * 60 * 1_000;
/// Changes that wait while the store cannot be written; beyond them only the latest is kept.
pub(crate) const CHANGES_MAX: usize = 1_000;

/// What is reserved together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) function: FunctionName,
    pub(crate) version: Version,
    pub(crate) memory_mib: u32,
    pub(crate) processor: Processor,
}

/// Environments of each version that are reserved.
pub(crate) type Allocations = BTreeMap<Holder, u32>;

/// All that is reserved from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Timestamp,
    pub(crate) all: Allocations,
}

/// Environments of a version, and until when they are charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub(crate) holder: Holder,
    pub(crate) count: u32,
    pub(crate) charged_until: Timestamp,
}

impl Holder {
    fn key(&self, day: i64) -> UsageKey {
        UsageKey {
            account: self.account,
            region: self.region.clone(),
            function: self.function.clone(),
            version: self.version,
            memory_mib: self.memory_mib,
            processor: self.processor,
            day,
        }
    }
}

/// From what the port tells.
pub(crate) fn allocations(all: Vec<Reserved>) -> Allocations {
    let mut allocations = Allocations::new();
    for Reserved { key, architecture, memory, count } in all {
        let holder = Holder {
            account: key.account,
            region: key.region,
            function: key.name,
            version: key.version,
            memory_mib: memory.0,
            processor: Processor::named(&architecture),
        };
        *allocations.entry(holder).or_default() += count;
    }
    allocations
}

/// The steps that begin before `end`, by day (of their beginning), and the end of the last.
fn steps(from: Timestamp, end: Timestamp) -> (Vec<(i64, u64)>, Timestamp) {
    let (mut start, mut days) = (from.0, Vec::new());
    while start < end.0 {
        let day = start.div_euclid(DAY_MS);
        let until = end.0.min((day + 1) * DAY_MS);
        let count = (until - start + STEP_MS - 1) / STEP_MS;
        days.push((day, count.unsigned_abs()));
        start += count * STEP_MS;
    }
    (days, Timestamp(start))
}

/// Charges an allocation for the steps that begin before `end`; until when it is charged then.
fn charge(tx: &mut Tx<'_>, allocation: &Allocation, end: Timestamp) -> Result<Timestamp, Error> {
    let (days, until) = steps(allocation.charged_until, end);
    for (day, steps) in days {
        let ms = steps.saturating_mul(STEP_MS.unsigned_abs()).saturating_mul(u64::from(allocation.count));
        data::add_reserved(tx, &allocation.holder.key(day), ms)?;
    }
    Ok(until)
}

/// Ends what has changed, charged to its end, and begins what is new.
pub(crate) fn change(tx: &mut Tx<'_>, change: &Change) -> Result<(), Error> {
    let Change { at, all } = change;
    let mut missing = all.clone();
    for allocation in data::allocations(tx)? {
        if missing.get(&allocation.holder) == Some(&allocation.count) {
            missing.remove(&allocation.holder);
            continue;
        }
        charge(tx, &allocation, *at)?;
        data::remove(tx, &allocation.holder)?;
    }
    for (holder, count) in missing.into_iter().filter(|(_, count)| *count > 0) {
        data::put(tx, &Allocation { holder, count, charged_until: *at })?;
    }
    // The first step of what is new has begun.
    charge_begun(tx, *at)
}

/// Charges every step that has begun.
fn charge_begun(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Error> {
    for allocation in data::allocations(tx)? {
        if allocation.charged_until <= now {
            let charged_until = charge(tx, &allocation, now.plus_ms(1))?;
            data::put(tx, &Allocation { charged_until, ..allocation })?;
        }
    }
    Ok(())
}

impl Inner {
    /// Charges every step that has begun. Idempotent.
    pub(crate) async fn charge_reserved(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if self.db.read(move |tx| data::due(tx, now)).await? {
            self.db.write(move |tx| charge_begun(tx, now)).await?;
            self.budgets.usage_stored();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_step_belongs_to_the_day_on_which_it_begins() {
        let midnight = 3 * DAY_MS;
        let (days, until) = steps(Timestamp(midnight - STEP_MS - 1), Timestamp(midnight + 1));
        assert_eq!((days, until), (vec![(2, 2)], Timestamp(midnight + STEP_MS - 1)));
        assert_eq!(steps(Timestamp(5), Timestamp(5)), (vec![], Timestamp(5)));
        assert_eq!(steps(Timestamp(5), Timestamp(6)), (vec![(0, 1)], Timestamp(5 + STEP_MS)));
    }

    proptest! {
        #[test]
        fn steps_cover_the_time_and_no_step_more(from in 0i64..DAY_MS, ms in 0i64..40 * DAY_MS) {
            let (days, until) = steps(Timestamp(from), Timestamp(from + ms));
            let all: u64 = days.iter().map(|(_, steps)| steps).sum();
            prop_assert_eq!(all, (ms as u64).div_ceil(STEP_MS as u64));
            prop_assert_eq!(until.0, from + all as i64 * STEP_MS);
            prop_assert!(days.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
        }
    }
}
