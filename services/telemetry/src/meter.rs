//! Counting invocations: sums by function version, memory size, processor and day, waiting to be stored, and the last
//! invocations for display.

use crate::{
    prices::{Line, Meters, Processor},
    reserved::{CHANGES_MAX, Change},
};
use base::{AccountId, FunctionName, InvocationRecord, Outcome, Region, RequestId, Version};
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// What is summed up together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UsageKey {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) function: FunctionName,
    pub(crate) version: Version,
    pub(crate) memory_mib: u32,
    pub(crate) processor: Processor,
    /// Days since 1970-01-01, UTC.
    pub(crate) day: i64,
}

impl UsageKey {
    /// What a bill is made from.
    pub(crate) fn line(&self, usage: &Usage) -> Line {
        Line { memory_mib: self.memory_mib, processor: self.processor, meters: usage.meters }
    }
}

/// The sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) meters: Meters,
    /// Errors of the function, timeouts and exceeded memory included.
    pub(crate) errors: u64,
    pub(crate) timeouts: u64,
    pub(crate) cold_starts: u64,
    pub(crate) init_us: u64,
    pub(crate) run_us: u64,
    /// Most memory that an invocation used, in bytes; 0: not measured.
    pub(crate) memory_used_max: u64,
}

impl Usage {
    pub(crate) fn of(record: &InvocationRecord) -> Usage {
        let billed = base::Micros(record.billed.0.saturating_mul(1_000));
        Usage {
            meters: match record.provisioned {
                true => Meters::one(billed, record.scratch.0).provisioned(),
                false => Meters::one(billed, record.scratch.0),
            },
            errors: u64::from(record.outcome != Outcome::Success),
            timeouts: u64::from(record.outcome == Outcome::Timeout),
            cold_starts: u64::from(record.cold.is_some()),
            init_us: record.init.0,
            run_us: record.run.0,
            memory_used_max: record.memory_used_bytes,
        }
    }

    pub(crate) fn add(&mut self, other: &Usage) {
        let Usage { meters, errors, timeouts, cold_starts, init_us, run_us, memory_used_max } = other;
        self.meters.add(meters);
        self.errors = self.errors.saturating_add(*errors);
        self.timeouts = self.timeouts.saturating_add(*timeouts);
        self.cold_starts = self.cold_starts.saturating_add(*cold_starts);
        self.init_us = self.init_us.saturating_add(*init_us);
        self.run_us = self.run_us.saturating_add(*run_us);
        self.memory_used_max = self.memory_used_max.max(*memory_used_max);
    }
}

/// Sums to be added to the stored ones, exactly once: the store remembers the last sequence of each instance.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The run of this node.
    pub(crate) instance: RequestId,
    /// From 1, without gaps.
    pub(crate) sequence: i64,
    pub(crate) rows: Vec<(UsageKey, Usage)>,
    /// What is reserved, in order.
    pub(crate) reserved: Vec<Change>,
}

pub(crate) struct Counting {
    instance: RequestId,
    waiting: Mutex<Waiting>,
    records_max: usize,
    records: Mutex<VecDeque<InvocationRecord>>,
}

#[derive(Default)]
struct Waiting {
    sums: HashMap<UsageKey, Usage>,
    reserved: Vec<Change>,
    sequence: i64,
}

impl Counting {
    pub(crate) fn new(instance: RequestId, records_max: usize) -> Counting {
        Counting { instance, waiting: Mutex::default(), records_max, records: Mutex::default() }
    }

    /// Adds invocations of one sum; whether nothing waited before.
    pub(crate) fn add(&self, of_one: &[InvocationRecord]) -> bool {
        let Some(record) = of_one.first() else { return false };
        let key = UsageKey {
            account: record.key.account,
            region: record.key.region.clone(),
            function: record.key.name.clone(),
            version: record.key.version,
            memory_mib: record.memory.0,
            processor: Processor::named(&record.architecture),
            day: record.at.0.div_euclid(crate::logic::DAY_MS),
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.sums.is_empty();
        let sum = waiting.sums.entry(key).or_default();
        of_one.iter().for_each(|record| sum.add(&Usage::of(record)));
        first
    }

    /// Keeps the last invocations for display.
    pub(crate) fn keep(&self, invocations: impl ExactSizeIterator<Item = InvocationRecord>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let over = (records.len() + invocations.len()).saturating_sub(self.records_max);
        let gone = over.min(records.len());
        records.drain(..gone);
        records.extend(invocations.skip(over - gone));
    }

    /// What is reserved from now on.
    pub(crate) fn reserved(&self, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.reserved.len() >= CHANGES_MAX {
            waiting.reserved.pop();
        }
        waiting.reserved.push(change);
    }

    /// The run of this node.
    pub(crate) fn instance(&self) -> RequestId {
        self.instance
    }

    /// What has been counted since the last time.
    pub(crate) fn take(&self) -> Option<Arc<Batch>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.sums.is_empty() && waiting.reserved.is_empty() {
            return None;
        }
        waiting.sequence += 1;
        let rows = mem::take(&mut waiting.sums).into_iter().collect();
        let reserved = mem::take(&mut waiting.reserved);
        Some(Arc::new(Batch { instance: self.instance, sequence: waiting.sequence, rows, reserved }))
    }

    /// The last invocations that `wanted`, newest first.
    pub(crate) fn records(
        &self,
        limit: usize,
        wanted: impl Fn(&InvocationRecord) -> bool,
    ) -> Vec<InvocationRecord> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().rev().filter(|record| wanted(record)).take(limit).cloned().collect()
    }
}
