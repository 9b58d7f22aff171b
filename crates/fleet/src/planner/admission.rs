//! Concurrency and rates: what accounts and functions may use.

use super::{Demand, Tick, table::Row, table::Table};
use crate::Limits;
use base::{AccountId, FunctionName, Pressure, Region, ThrottleReason, VersionKey};
use std::collections::HashMap;

/// Allows `capacity` events at once and `capacity` per `period_us` in the long run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Events still allowed, in millionths.
    level: u64,
    at: Tick,
}

const MILLION: u64 = 1_000_000;

impl Bucket {
    /// Full for any capacity.
    const FULL: Bucket = Bucket { level: u64::MAX, at: Tick(0) };

    /// Whether it was never asked.
    const fn untouched(&self) -> bool {
        self.level == u64::MAX
    }

    fn refill(&mut self, capacity: u32, period_us: u64, now: Tick) {
        let max = u64::from(capacity) * MILLION;
        let gained = u128::from(now.since(self.at)) * u128::from(max) / u128::from(period_us.max(1));
        self.level = self.level.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(max);
        self.at = now;
    }

    /// Whole events allowed now.
    fn available(&mut self, capacity: u32, period_us: u64, now: Tick) -> u64 {
        self.refill(capacity, period_us, now);
        self.level / MILLION
    }

    /// Uses one up; the caller has seen that it is available.
    fn spend(&mut self) {
        self.level = self.level.saturating_sub(MILLION);
    }
}

/// One account in one region.
#[derive(Debug)]
pub(super) struct Account {
    key: (AccountId, Region),
    /// Calls queued or running.
    in_use: u32,
    /// Those that take from what is left to all.
    unreserved_in_use: u32,
    /// Sum of what its functions have for themselves, reserved or provisioned, as told: most of them may not be known
    /// here.
    reserved: u32,
    /// Known functions.
    functions: u32,
    rate: Bucket,
}

/// One function: all its versions.
#[derive(Debug)]
pub(super) struct Function {
    key: (AccountId, Region, FunctionName),
    account: Row<Account>,
    reserved: Option<u32>,
    /// Environments kept for it ahead of calls; as much of the account's concurrency is its own.
    floor: u32,
    /// Calls queued or running.
    in_use: u32,
    /// Pools of its versions.
    pools: u32,
    rate: Bucket,
    starts: Bucket,
    /// Set while it has no pool but its buckets are not full again.
    forget_at: Option<Tick>,
}

/// All functions with a pool, and accounts with such functions or reservations.
#[derive(Debug)]
pub(super) struct Admission {
    accounts: Table<Account>,
    functions: Table<Function>,
    account_rows: HashMap<(AccountId, Region), Row<Account>>,
    function_rows: HashMap<(AccountId, Region, FunctionName), Row<Function>>,
}

impl Function {
    /// Calls that take from what is left to all.
    fn shared(&self) -> u32 {
        if self.reserved.is_some() { 0 } else { self.in_use.saturating_sub(self.floor) }
    }
}

impl Admission {
    pub(super) fn new() -> Admission {
        Admission {
            accounts: Table::new(),
            functions: Table::new(),
            account_rows: HashMap::new(),
            function_rows: HashMap::new(),
        }
    }

    /// The row of a function, made if there is none; [`Admission::forget_unused`] must follow.
    pub(super) fn function(&mut self, key: &VersionKey) -> Row<Function> {
        let name = (key.account, key.region.clone(), key.name.clone());
        if let Some(&row) = self.function_rows.get(&name) {
            return row;
        }
        let account = self.account((key.account, key.region.clone()));
        self.accounts[account].functions += 1;
        let row = self.functions.insert(Function {
            key: name.clone(),
            account,
            reserved: None,
            floor: 0,
            in_use: 0,
            pools: 0,
            rate: Bucket::FULL,
            starts: Bucket::FULL,
            forget_at: None,
        });
        self.function_rows.insert(name, row);
        row
    }

    fn account(&mut self, key: (AccountId, Region)) -> Row<Account> {
        if let Some(&row) = self.account_rows.get(&key) {
            return row;
        }
        let row = self.accounts.insert(Account {
            key: key.clone(),
            in_use: 0,
            unreserved_in_use: 0,
            reserved: 0,
            functions: 0,
            rate: Bucket::FULL,
        });
        self.account_rows.insert(key, row);
        row
    }

    /// Keeps what an account's functions have reserved together.
    pub(super) fn reserve_total(&mut self, account: AccountId, region: &Region, total: u32) {
        let row = self.account((account, region.clone()));
        self.accounts[row].reserved = total;
        self.forget_unused_account(row);
    }

    /// Counts a new call, or says which bound forbids it. The newest configuration seen decides what is reserved for
    /// its function.
    pub(super) fn enter(
        &mut self,
        row: Row<Function>,
        demand: &Demand<'_>,
        limits: &Limits,
        now: Tick,
    ) -> Result<(), ThrottleReason> {
        self.reserve(row, demand.reserved);
        let function = &mut self.functions[row];
        let account = &mut self.accounts[function.account];
        match function.reserved {
            Some(reserved) if function.in_use >= reserved => {
                return Err(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded);
            }
            Some(_) => {}
            None if function.in_use < function.floor => {}
            None => {
                let unreserved = limits.account_concurrency.saturating_sub(account.reserved);
                let unreserved = unreserved.max(limits.unreserved_concurrency_min);
                if account.unreserved_in_use >= unreserved {
                    return Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
                }
            }
        }
        if account.in_use >= limits.account_concurrency {
            return Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
        }
        let per_second = |units: u32, rate: u32| units.saturating_mul(rate);
        let function_rate = function.reserved.zip(limits.reserved_rate_per_concurrency);
        let function_rate = function_rate.map(|(reserved, rate)| per_second(reserved, rate));
        let account_rate = limits.account_rate_per_concurrency;
        let account_rate = account_rate.map(|rate| per_second(limits.account_concurrency, rate));
        if function_rate.is_some_and(|rate| function.rate.available(rate, MILLION, now) == 0) {
            return Err(ThrottleReason::ReservedFunctionInvocationRateLimitExceeded);
        }
        if account_rate.is_some_and(|rate| account.rate.available(rate, MILLION, now) == 0) {
            return Err(ThrottleReason::FunctionInvocationRateLimitExceeded);
        }
        if function_rate.is_some() {
            function.rate.spend();
        }
        if account_rate.is_some() {
            account.rate.spend();
        }
        account.in_use += 1;
        self.update(row, |function| function.in_use += 1);
        Ok(())
    }

    /// Whether one more environment of a function, beyond `serving`, could run a call at all.
    pub(super) fn has_room(&self, row: Row<Function>, serving: u32, limits: &Limits) -> bool {
        let function = &self.functions[row];
        function.reserved.is_none_or(|reserved| serving < reserved)
            && self.accounts[function.account].in_use < limits.account_concurrency
    }

    /// Changes a function and keeps the sum of what is taken from what is left to all.
    fn update(&mut self, row: Row<Function>, change: impl FnOnce(&mut Function)) {
        let function = &mut self.functions[row];
        let before = function.shared();
        change(function);
        let account = &mut self.accounts[function.account];
        account.unreserved_in_use = account.unreserved_in_use - before + function.shared();
    }

    /// The floor of one of a function's pools has changed.
    pub(super) fn set_floor(&mut self, row: Row<Function>, before: u32, after: u32) {
        self.update(row, |function| function.floor = function.floor - before + after);
    }

    /// A call that had entered has ended, was refused later, or left the queue.
    pub(super) fn leave(&mut self, row: Row<Function>) {
        let function = &mut self.functions[row];
        let account = &mut self.accounts[function.account];
        assert!(function.in_use > 0, "a call left that had not entered");
        account.in_use -= 1;
        self.update(row, |function| function.in_use -= 1);
    }

    fn reserve(&mut self, row: Row<Function>, reserved: Option<u32>) {
        self.update(row, |function| function.reserved = reserved);
    }

    /// Starts that the scaling rate still allows.
    pub(super) fn starts_available(&mut self, row: Row<Function>, limits: &Limits, now: Tick) -> u64 {
        let starts = &mut self.functions[row].starts;
        starts.available(limits.scaling_starts, limits.scaling_period_us, now)
    }

    /// Counts a start against the scaling rate.
    pub(super) fn start(&mut self, row: Row<Function>) {
        self.functions[row].starts.spend();
    }

    pub(super) fn pool_added(&mut self, row: Row<Function>) {
        self.functions[row].pools += 1;
        self.functions[row].forget_at = None;
    }

    /// A pool is gone; see [`Admission::forget_unused`].
    pub(super) fn pool_removed(&mut self, row: Row<Function>, limits: &Limits, now: Tick) -> Option<Tick> {
        self.functions[row].pools -= 1;
        self.forget_unused(row, limits, now)
    }

    /// Forgets a function without pools, unless its rates must be remembered: then returns for how long, and
    /// [`Admission::forget_expired`] is due.
    pub(super) fn forget_unused(&mut self, row: Row<Function>, limits: &Limits, now: Tick) -> Option<Tick> {
        let function = &mut self.functions[row];
        if function.pools > 0 {
            return None;
        }
        let untouched = function.starts.untouched() && function.rate.untouched();
        if !untouched && function.forget_at.is_none() {
            // Both buckets are full after their periods; the other's is a second.
            function.forget_at = Some(now.plus(limits.scaling_period_us.max(MILLION)));
        }
        let until = function.forget_at;
        self.reserve(row, None);
        if until.is_none() {
            self.forget(row);
        }
        until
    }

    /// Forgets functions whose time has come; returns when the next is due.
    pub(super) fn forget_expired(&mut self, now: Tick) -> Option<Tick> {
        let lingering = self.functions.iter().filter_map(|(row, function)| Some((row, function.forget_at?)));
        let (due, later): (Vec<_>, Vec<_>) = lingering.partition(|&(_, at)| at <= now);
        for (row, _) in due {
            self.forget(row);
        }
        later.into_iter().map(|(_, at)| at).min()
    }

    fn forget(&mut self, row: Row<Function>) {
        let Some(function) = self.functions.remove(row) else { return };
        assert!(function.in_use == 0, "calls belong to pools, and there is none");
        self.function_rows.remove(&function.key);
        self.accounts[function.account].functions -= 1;
        self.forget_unused_account(function.account);
    }

    fn forget_unused_account(&mut self, row: Row<Account>) {
        let account = &self.accounts[row];
        if account.functions == 0 && account.reserved == 0 {
            self.account_rows.remove(&account.key);
            self.accounts.remove(row);
        }
    }

    pub(super) fn pressure(&self, key: &VersionKey) -> Pressure {
        let function = self.function_rows.get(&(key.account, key.region.clone(), key.name.clone()));
        let account = self.account_rows.get(&(key.account, key.region.clone()));
        Pressure {
            function: function.map_or(0, |&row| self.functions[row].in_use),
            account: account.map_or(0, |&row| self.accounts[row].in_use),
        }
    }

    pub(super) fn functions(&self) -> usize {
        self.functions.len()
    }
}
