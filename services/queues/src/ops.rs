//! One method for each operation.

mod attributes;
mod moves;
mod queues;
mod receive;
mod send;
mod settle;

pub(crate) use receive::{Order, receipt_of, system_of};
pub(crate) use settle::Settle;

use crate::{BATCH_MAX, Error, api::FailedEntry};
use base::{Fault, ServiceError as _};
use std::collections::HashSet;
use wire::Flat;

/// Checks the ids of a batch.
fn check_batch<'a>(kind: &'static str, ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Error> {
    match ids.len() {
        0 => return Err(Error::EmptyBatch(kind)),
        got if got > BATCH_MAX => return Err(Error::LargeBatch { got, max: BATCH_MAX }),
        _ => {}
    }
    let mut seen = HashSet::new();
    for id in ids {
        let letters = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if id.is_empty() || id.len() > 80 || !letters {
            return Err(Error::EntryId);
        }
        if !seen.insert(id) {
            return Err(Error::RepeatedId(id.to_owned()));
        }
    }
    Ok(())
}

/// How the failure of one entry of a batch is told.
fn failed(id: String, error: &Error) -> FailedEntry {
    let ours = matches!(error.fault(), Fault::Us | Fault::Dependency | Fault::Unavailable);
    FailedEntry { id, sender_fault: !ours, code: error.query_code().to_owned(), message: error.to_string() }
}

fn failures(entries: Vec<FailedEntry>) -> Option<Flat<Vec<FailedEntry>>> {
    (!entries.is_empty()).then_some(Flat("flat:BatchResultErrorEntry", entries))
}
