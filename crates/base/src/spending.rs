//! The port by which budgets stop invocations.

use crate::VersionKey;

/// Hard caps of budgets, asked before each invocation. Never blocks and reads no store.
pub trait Spending: Send + Sync {
    /// Why no further invocation of the function may begin now, naming the budget; `None`: it may.
    fn refusal(&self, key: &VersionKey) -> Option<String>;
}
