//! Alarms on metrics: kept in the database with their state and history, evaluated in the background.
//!
//! A change of state, its line of history and the actions that follow are one transaction; actions wait in a table until the
//! function that they name has accepted them, so that none is lost and each is tried until then. Several nodes may evaluate the
//! same alarm: the one that finds the state unchanged since it looked makes the change.
//!
//! Alarms of one metric and of metric math are carried out, with the actions of Lambda functions of the same account and region.
//! Composite alarms, log alarms, anomaly detection, evaluation windows by wall clock and every other action are refused by name.

pub(crate) mod data;
pub(crate) mod definition;
pub(crate) mod evaluation;
mod ops;
mod tags;
mod tasks;
