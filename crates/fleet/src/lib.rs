//! Scaling, pools, admission: which call runs where, what is started, what is ended.
//!
//! Owns: one pool of execution environments per [`base::VersionKey`], the queue in front of it, concurrency and rate
//! bounds, the node's memory budget. Must never know: the sandbox, a runtime, storage, the network, a service.
//!
//! - [`planner`] decides. It is a pure state machine: (state, event, now) → effects, without `await`, clock,
//!   randomness or input and output; everything it promises is checked by the simulation in `tests/`.
//! - [`keepalive`] learns from each function's calls how long to keep what is idle and when to start ahead of a call.
//! - [`Fleet`] performs. It implements [`base::Execute`] over [`base::Launch`]: one short lock to acquire an
//!   environment, one to give it back, and one task per environment for its whole life.
//!
//! An event's way: [`base::Execute::execute`] asks the planner. An idle environment (most recently used first) takes
//! the call at once; otherwise the call queues and a start begins as soon as the bounds allow. Binding is late: the
//! first environment of the pool that becomes free takes the oldest queued call, whether it was just started or
//! released by another call; a start that nobody needs any more is not begun, and one that is under way ends idle.

mod driver;
mod environment;
pub mod keepalive;
mod limits;
pub mod planner;
mod processors;
mod snapshot;

pub use driver::Fleet;
pub use environment::{Environment, Illegal, Transition};
pub use limits::{KeepAlive, Limits, Settings};
pub use processors::ProcessorTime;
pub use snapshot::{EnvironmentStatus, Kept, PoolSnapshot, Prestart, Snapshot, Totals};
