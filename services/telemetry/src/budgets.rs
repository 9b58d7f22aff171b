//! Budgets.

pub(crate) mod data;
