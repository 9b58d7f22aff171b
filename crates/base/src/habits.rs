//! The port by which what is learned of functions outlives the node.

use crate::{AccountId, FunctionName, FunctionSpec, Millis, Region, TenantId, Timestamp, Version};
use std::sync::Arc;

/// Which version something is known of, whatever its revision.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HabitKey {
    /// Owner.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Function.
    pub name: FunctionName,
    /// Version.
    pub version: Version,
    /// For whom, where its function isolates tenants.
    pub tenant: Option<TenantId>,
}

/// What is known of one version's calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Habit {
    /// Whose.
    pub key: HabitKey,
    /// When it was last called, or a call of it ended.
    pub used: Timestamp,
    /// What is known: at most [`HABIT_BYTES_MAX`] bytes that only who has learned it reads.
    pub record: Vec<u8>,
    /// State of the knowledge, for [`Habits::kept`].
    pub mark: u64,
}

/// Bound of [`Habit::record`].
pub const HABIT_BYTES_MAX: usize = 1_024;

/// What is known of a function that was not called for so long is forgotten: 8 days, so that a weekly call is met.
pub const HABIT_AGE_MAX: Millis = Millis(8 * 24 * 3_600_000);

/// What an executor has learned of functions. It is kept by who keeps functions: nothing of it is needed to run them, and what
/// is lost is learned again.
pub trait Habits: Send + Sync {
    /// Of the versions after `after`, such whose habits were not [`Habits::kept`] as they are, and where to go on; `None`:
    /// that were all. Each step takes microseconds, so that nobody waits.
    fn changed(&self, after: Option<u32>) -> (Vec<Habit>, Option<u32>);
    /// These are kept.
    fn kept(&self, habits: &[Habit]);
    /// Learns again what was kept by an earlier life, unless more is known already or it is too old or unreadable. Whether
    /// a call is expected for which [`Habits::expect`] should be told how to start environments.
    fn recall(&self, habit: &Habit) -> bool;
    /// Starts environments of `spec` when calls are expected, though none has come in this life.
    fn expect(&self, spec: Arc<FunctionSpec>);
}
