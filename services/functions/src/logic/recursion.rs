//! Loops of functions that invoke each other: counted in the trace header, stopped after a while.
//!
//! ```text
//! header  = Root=…;Parent=…;Sampled=…;Lineage=entries
//! entries = entry | entry "|" entries
//! entry   = invocations of the function in this chain, ":", 8 hexadecimal digits of a hash of its ARN, ":0"
//! ```
//! SDKs inside a function send the header on with each request. Source: Lambda's documentation of recursive loop
//! detection; the form of `Lineage` as observed in trace headers.

use crate::{data::QualifierConfig, model::FunctionId};
use base::TraceHeader;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Invocations of one function in one chain; the next is refused. Source: Lambda developer guide.
const CHAIN_MAX: u32 = 16;
/// Functions that a header tells of; the oldest are forgotten beyond.
const ENTRIES_MAX: usize = 16;
const KEY: &str = "Lineage=";
/// Bytes of an entry: its count, the hash, the rest.
const ENTRY_MAX: usize = 10 + 9 + 2;

/// `RecursiveLoop` of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecursiveLoop {
    /// A chain that comes back too often is stopped.
    #[default]
    Terminate,
    /// It goes on.
    Allow,
}

impl RecursiveLoop {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecursiveLoop::Terminate => "Terminate",
            RecursiveLoop::Allow => "Allow",
        }
    }
}

impl QualifierConfig for RecursiveLoop {
    const KIND: &'static str = "recursion";
}

/// A function in a chain: the hash of its ARN, 8 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    digits: String,
    /// What a chain that begins with it has in its header.
    begun: String,
}

impl Mark {
    /// Of a function. Hashes: to be kept, not made for each invocation.
    pub fn of(id: &FunctionId) -> Mark {
        let digest = Sha256::digest(id.arn());
        let digits = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Mark { begun: format!("{KEY}1:{digits}:0"), digits }
    }
}

/// The chain has come back to a function too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looped;

/// Makes the trace header that came with an invocation of the function with the mark `own` the function's.
pub fn continued(trace: &mut TraceHeader, own: &Mark, rule: RecursiveLoop) -> Result<(), Looped> {
    if trace.rest.is_empty() {
        trace.rest.clone_from(&own.begun);
        return Ok(());
    }
    let own = own.digits.as_str();
    let parts = || trace.rest.split(';').filter(|part| !part.is_empty());
    let before = entries(parts()).find(|(_, hash)| *hash == own).map_or(0, |(count, _)| count);
    if before >= CHAIN_MAX && rule == RecursiveLoop::Terminate {
        return Err(Looped);
    }
    let others = || entries(parts()).filter(|(_, hash)| *hash != own);
    let oldest = (others().count() + 1).saturating_sub(ENTRIES_MAX);
    let mut rest = String::with_capacity(trace.rest.len() + KEY.len() + ENTRY_MAX);
    for part in parts().filter(|part| !part.starts_with(KEY)) {
        rest.push_str(part);
        rest.push(';');
    }
    rest.push_str(KEY);
    for (count, hash) in others().skip(oldest) {
        // Texts take everything.
        let _ = write!(rest, "{count}:{hash}:0|");
    }
    let _ = write!(rest, "{}:{own}:0", before.saturating_add(1));
    trace.rest = rest;
    Ok(())
}

/// How often the chain has come to the function with the mark `own` already.
pub fn depth(trace: &str, own: &Mark) -> u32 {
    let mut entries = entries(trace.split(';').map(str::trim));
    entries.find(|(_, hash)| *hash == own.digits).map(|(count, _)| count).unwrap_or_default()
}

/// Those of all lineages among the parts of a header.
fn entries<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (u32, &'a str)> {
    parts.filter_map(|part| part.strip_prefix(KEY)).flat_map(|lineage| lineage.split('|').filter_map(entry))
}

fn entry(text: &str) -> Option<(u32, &str)> {
    let (count, rest) = text.split_once(':')?;
    let hash = rest.split(':').next()?;
    let fits = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then_some((count.parse().ok()?, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(name: &str) -> Mark {
        Mark::of(&FunctionId {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
        })
    }

    #[test]
    fn a_chain_is_stopped_when_it_has_come_back_sixteen_times() {
        let (a, b) = (mark("a"), mark("b"));
        let given = "Root=1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea;Parent=53995c3f42cd8ad8;Sampled=1";
        let mut trace = TraceHeader::parse(given);
        for _ in 0..16 {
            continued(&mut trace, &a, RecursiveLoop::Terminate).unwrap();
            continued(&mut trace, &b, RecursiveLoop::Terminate).unwrap();
        }
        let told = trace.to_string();
        assert!(told.starts_with(&format!("{given};Lineage=16:")), "{told}");
        assert_eq!(continued(&mut trace, &a, RecursiveLoop::Terminate), Err(Looped));
        assert_eq!(trace.to_string(), told);
        assert_eq!((depth(&told, &b), depth(&told, &mark("c"))), (16, 0));
        assert!(continued(&mut trace.clone(), &mark("c"), RecursiveLoop::Terminate).is_ok());
        continued(&mut trace, &a, RecursiveLoop::Allow).unwrap();
        assert!(trace.rest.contains("17:"), "{trace}");
    }

    proptest! {
        #[test]
        fn any_header_is_continued_and_stays_bounded(trace in ".{0,200}", lineage in "[0-9:|a-f=]{0,600}") {
            let mut told = TraceHeader::parse(&format!("{trace};Lineage={lineage}"));
            prop_assert!(continued(&mut told, &mark("a"), RecursiveLoop::Allow).is_ok());
            prop_assert!(told.rest.matches('|').count() < ENTRIES_MAX + trace.len());
            let before = depth(&told.to_string(), &mark("a"));
            prop_assert!(continued(&mut told, &mark("a"), RecursiveLoop::Allow).is_ok());
            prop_assert_eq!(depth(&told.to_string(), &mark("a")), before.saturating_add(1));
        }
    }
}
