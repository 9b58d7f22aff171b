//! Event source mappings: what may be set, which messages are wanted, what the function is told and what its answer means, and
//! when to receive, gather, invoke and rest.

pub mod event;
pub mod filter;
pub mod limit;
pub mod poller;
pub mod response;
pub mod settings;
