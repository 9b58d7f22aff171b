//! Where an invocation stands in a trace, and the two headers that say so.
//!
//! ```text
//! X-Amzn-Trace-Id = "Root=1-" 8 hex "-" 24 hex [";Parent=" 16 hex] [";Sampled=" ("0" | "1")] {";" other}
//! traceparent     = "00-" 32 hex "-" 16 hex "-" 2 hex
//! ```
//! The 32 digits of a root are a trace's identifier in both. Sources: X-Ray developer guide, "tracing header"; W3C Trace Context.

use crate::{Timestamp, ids::write_hex};
use std::fmt::{self, Write as _};

/// A trace; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceId(u128);

/// A span of a trace; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanId(u64);

impl TraceId {
    /// `None` for zero, which stands for no trace.
    pub fn new(value: u128) -> Option<TraceId> {
        (value != 0).then_some(TraceId(value))
    }

    /// As it is in binary protocols.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// As `Root` of `X-Amzn-Trace-Id` and as `trace_id` of segments have it.
    pub fn root(self) -> String {
        format!("1-{:08x}-{:024x}", self.0 >> 96, self.0 & (u128::MAX >> 32))
    }

    /// Whether it is one of the share, from 0 to 1, of all traces: everyone who asks is told the same.
    /// Its last 56 bits decide, which are random in both forms.
    pub fn is_within(self, share: f64) -> bool {
        let random = (self.0 & ((1 << 56) - 1)) as f64;
        random < share * (1_u64 << 56) as f64
    }
}

impl SpanId {
    /// Of eight random bytes.
    pub fn from_random(random: [u8; 8]) -> SpanId {
        SpanId(u64::from_be_bytes(random).max(1))
    }

    /// As it is in binary protocols.
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// A part of this span: another identifier for each `number`, always the same.
    pub fn part(self, number: u8) -> SpanId {
        // A permutation (SplitMix64), so that parts of one span differ.
        let mut mixed =
            self.0.wrapping_add(u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        SpanId((mixed ^ (mixed >> 31)).max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An invocation as a span that is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvocationSpan {
    /// Its trace.
    pub trace: TraceId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Its own.
    pub id: SpanId,
    /// Whether X-Ray shows it: a header or the function's own tracing decided so, not an export alone.
    pub shown: bool,
    /// Present when it is an attempt at an asynchronous event; then `parent` is where the event was accepted.
    pub attempt: Option<Attempt>,
}

/// An attempt at an asynchronous event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// From 1; attempts that were refused are not counted.
    pub number: u32,
    /// When the event was accepted.
    pub since: Timestamp,
}

impl InvocationSpan {
    /// The span of the function's run: what the function itself records belongs below it.
    pub fn run(&self) -> SpanId {
        self.id.part(0)
    }
}

/// A trace header taken apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TraceHeader {
    /// `Root`.
    pub trace: Option<TraceId>,
    /// `Parent`.
    pub parent: Option<SpanId>,
    /// `Sampled`; `None`: whoever is asked decides.
    pub sampled: Option<bool>,
    /// Everything else in order, separated by semicolons.
    pub rest: String,
}

impl TraceHeader {
    /// Reads `X-Amzn-Trace-Id`. What is not of the grammar is kept as it is, or left out where it stands for a known field.
    pub fn parse(text: &str) -> TraceHeader {
        let mut header = TraceHeader::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("Root", root)) => header.trace = header.trace.or_else(|| trace_of_root(root)),
                Some(("Parent", parent)) => header.parent = header.parent.or_else(|| span(parent)),
                Some(("Sampled", "0")) => header.sampled = Some(false),
                Some(("Sampled", "1")) => header.sampled = Some(true),
                Some(("Sampled", _)) => {}
                Some(_) | None => {
                    if !header.rest.is_empty() {
                        header.rest.push(';');
                    }
                    header.rest.push_str(part);
                }
            }
        }
        header
    }

    /// Reads `traceparent`; `None` where it is invalid, and so to be ignored.
    pub fn parse_w3c(text: &str) -> Option<TraceHeader> {
        let mut parts = text.trim().split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
        // Later versions may say more behind; this one may not.
        if version == "ff" || (version == "00" && parts.next().is_some()) || !lower(text) {
            return None;
        }
        digits(version, 2)?;
        Some(TraceHeader {
            trace: Some(TraceId::new(digits(trace, 32)?)?),
            parent: Some(span(parent)?),
            sampled: Some(digits(flags, 2)? & 1 == 1),
            rest: String::new(),
        })
    }

    /// As `traceparent`, if it names a trace and a span; without a decision as not sampled.
    pub fn to_w3c(&self) -> Option<String> {
        let flags = u8::from(self.sampled == Some(true));
        Some(format!("00-{}-{}-{flags:02x}", self.trace?, self.parent?))
    }
}

impl TraceHeader {
    /// As `X-Amzn-Trace-Id`, in memory that is taken once: each warm invocation writes one.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(KNOWN_MAX + self.rest.len());
        // Texts take everything.
        let _ = write!(text, "{self}");
        text
    }
}

/// As `X-Amzn-Trace-Id`.
impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one piece: each warm invocation writes one.
        let (mut text, mut end) = ([0; KNOWN_MAX], 0);
        let mut add = |bytes: &[u8]| {
            text[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        if let Some(trace) = self.trace {
            let mut digits = [0; 32];
            write_hex(&trace.bytes(), &mut digits);
            add(b"Root=1-");
            add(&digits[..8]);
            add(b"-");
            add(&digits[8..]);
            add(b";");
        }
        if let Some(parent) = self.parent {
            let mut digits = [0; 16];
            write_hex(&parent.bytes(), &mut digits);
            add(b"Parent=");
            add(&digits);
            add(b";");
        }
        match self.sampled {
            Some(true) => add(b"Sampled=1;"),
            Some(false) => add(b"Sampled=0;"),
            None => {}
        }
        let known = std::str::from_utf8(&text[..end]).unwrap_or_default();
        if self.rest.is_empty() {
            return f.write_str(known.trim_end_matches(';'));
        }
        f.write_str(known)?;
        f.write_str(&self.rest)
    }
}

/// Bytes of the known fields, with their semicolons: 41, 24 and 10.
const KNOWN_MAX: usize = 75;

fn trace_of_root(text: &str) -> Option<TraceId> {
    let (seconds, unique) = text.strip_prefix("1-")?.split_once('-')?;
    TraceId::new(digits(seconds, 8)? << 96 | digits(unique, 24)?)
}

fn span(text: &str) -> Option<SpanId> {
    let value = u64::try_from(digits(text, 16)?).ok()?;
    (value != 0).then_some(SpanId(value))
}

/// Exactly `count` hexadecimal digits.
fn digits(text: &str, count: usize) -> Option<u128> {
    let fits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const XRAY: &str = "Root=1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea;Parent=53995c3f42cd8ad8;Sampled=1";
    const W3C: &str = "00-5e1b41515ac6c58f3dd4d01f9a1ab2ea-53995c3f42cd8ad8-01";

    #[test]
    fn both_headers_say_the_same() {
        let header = TraceHeader::parse(XRAY);
        assert_eq!(header.trace.unwrap().to_string(), "5e1b41515ac6c58f3dd4d01f9a1ab2ea");
        assert_eq!(header.to_w3c().unwrap(), W3C);
        assert_eq!(TraceHeader::parse_w3c(W3C).unwrap().to_string(), XRAY);
        assert_eq!(TraceHeader::parse_w3c(W3C).unwrap(), header);
    }

    #[test]
    fn what_is_not_known_is_kept_and_what_is_wrong_is_left_out() {
        let kept = format!("{XRAY};Lineage=1:0123abcd:0;Self=x");
        assert_eq!(TraceHeader::parse(&kept).to_string(), kept);
        let header = TraceHeader::parse("Root=1-5e1b4151;Parent=zz;Sampled=?;;a");
        assert_eq!((header.trace, header.parent, header.sampled), (None, None, None));
        assert_eq!(header.to_string(), "a");
        assert_eq!(TraceHeader::parse("Root=1-00000000-000000000000000000000000").trace, None);
    }

    #[test]
    fn invalid_parents_are_ignored() {
        for bad in [
            "",
            "00",
            "ff-5e1b41515ac6c58f3dd4d01f9a1ab2ea-53995c3f42cd8ad8-01",
            "00-5e1b41515ac6c58f3dd4d01f9a1ab2ea-53995c3f42cd8ad8-01-more",
            "00-5E1B41515ac6c58f3dd4d01f9a1ab2ea-53995c3f42cd8ad8-01",
            "00-00000000000000000000000000000000-53995c3f42cd8ad8-01",
            "00-5e1b41515ac6c58f3dd4d01f9a1ab2ea-0000000000000000-01",
            "00-5e1b41515ac6c58f3dd4d01f9a1ab2e+-53995c3f42cd8ad8-01",
        ] {
            assert_eq!(TraceHeader::parse_w3c(bad), None, "{bad}");
        }
        assert!(
            TraceHeader::parse_w3c("01-5e1b41515ac6c58f3dd4d01f9a1ab2ea-53995c3f42cd8ad8-00-more").is_some()
        );
    }

    #[test]
    fn shares_of_traces_are_about_as_large_as_asked_for() {
        let traces: Vec<TraceId> = (1..=1_000_u64)
            .map(|n| TraceId::new(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1 << 100).unwrap())
            .collect();
        let count = |share| traces.iter().filter(|trace| trace.is_within(share)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 1_000));
        assert!((200..300).contains(&count(0.25)), "{}", count(0.25));
    }

    #[test]
    fn parts_of_a_span_differ() {
        let span = SpanId::from_random([7; 8]);
        let parts: std::collections::HashSet<SpanId> = (0..=255).map(|number| span.part(number)).collect();
        assert!(parts.len() == 256 && !parts.contains(&span));
    }
}
