//! Comparisons with one value.

use serde_json::{Number, Value};
use std::{cmp::Ordering, net::IpAddr};

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    Range {
        low: Option<Bound>,
        high: Option<Bound>,
    },
    Cidr {
        network: IpAddr,
        bits: u8,
    },
    Exists,
    /// None of these, whatever else.
    But(Vec<Test>),
}

/// A comparison of strings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Text {
    Equal(String),
    Prefix(String),
    Suffix(String),
    /// In lower case, as the next two.
    EqualFolded(String),
    PrefixFolded(String),
    SuffixFolded(String),
    /// The pieces between the asterisks; one piece: no asterisk.
    Wildcard(Vec<String>),
}

/// An end of a range of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) at: Number,
    /// Whether the end itself belongs to it.
    pub(crate) inclusive: bool,
}

impl Test {
    /// Whether a leaf is it.
    pub(crate) fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Test::Exists, _) => true,
            (Test::But(tests), value) => !tests.iter().any(|test| test.matches(value)),
            (Test::Null, Value::Null) => true,
            (Test::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Test::Number(wanted), Value::Number(value)) => compare(value, wanted) == Some(Ordering::Equal),
            (Test::Range { low, high }, Value::Number(value)) => {
                let fits = |bound: &Bound, beyond| match compare(value, &bound.at) {
                    Some(Ordering::Equal) => bound.inclusive,
                    order => order == Some(beyond),
                };
                low.as_ref().is_none_or(|low| fits(low, Ordering::Greater))
                    && high.as_ref().is_none_or(|high| fits(high, Ordering::Less))
            }
            (Test::Text(wanted), Value::String(value)) => wanted.matches(value),
            (Test::Cidr { network, bits }, Value::String(value)) => {
                value.parse().is_ok_and(|address| contains(*network, *bits, address))
            }
            (
                Test::Null
                | Test::Bool(_)
                | Test::Number(_)
                | Test::Range { .. }
                | Test::Text(_)
                | Test::Cidr { .. },
                _,
            ) => false,
        }
    }
}

impl Text {
    fn matches(&self, value: &str) -> bool {
        match self {
            Text::Equal(wanted) => value == wanted,
            Text::Prefix(wanted) => value.starts_with(wanted.as_str()),
            Text::Suffix(wanted) => value.ends_with(wanted.as_str()),
            Text::EqualFolded(wanted) => value.to_lowercase() == *wanted,
            Text::PrefixFolded(wanted) => value.to_lowercase().starts_with(wanted.as_str()),
            Text::SuffixFolded(wanted) => value.to_lowercase().ends_with(wanted.as_str()),
            Text::Wildcard(pieces) => wildcard(pieces, value),
        }
    }
}

/// Integers exactly, others as floating point numbers.
pub(crate) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// The first piece at the beginning, the last at the end, those between each at the earliest place after the one before:
/// an earlier place never leaves less room.
fn wildcard(pieces: &[String], value: &str) -> bool {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    if pieces.len() == 1 {
        return value == first;
    }
    let Some(mut rest) = value.strip_prefix(first.as_str()) else { return false };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last.as_str())
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let same = |a: &[u8], b: &[u8]| {
        let (whole, part) = (usize::from(bits / 8), bits % 8);
        let mask = !(0xff_u8.checked_shr(part.into()).unwrap_or(0));
        a.iter().zip(b).take(whole).all(|(a, b)| a == b)
            && (part == 0 || a.get(whole).zip(b.get(whole)).is_some_and(|(a, b)| a & mask == b & mask))
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => same(&network.octets(), &address.octets()),
        (IpAddr::V6(network), IpAddr::V6(address)) => same(&network.octets(), &address.octets()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
