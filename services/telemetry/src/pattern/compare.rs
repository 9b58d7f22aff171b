//! Comparisons of one value, shared by JSON and field patterns.

use super::{Refused, cursor::Cursor};
use regex::Regex;
use serde_json::Number;
use std::cmp::Ordering;

/// An operator with its right side.
#[derive(Debug)]
pub(super) enum Test {
    Equal(Operand),
    Unequal(Operand),
    Order { accepts: fn(Ordering) -> bool, than: Number },
}

/// The right side of `=` and `!=`.
#[derive(Debug)]
pub(super) enum Operand {
    /// `"…"`: compares with texts only.
    Quoted(Glob),
    /// Without quotes: compares with the text of anything, and as a number where both are numbers.
    Bare(Glob, Option<Number>),
    /// `%…%`
    Regex(Regex),
}

/// The left side.
#[derive(Clone, Copy)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Number(&'a Number),
    Bool(bool),
    Null,
}

impl Test {
    /// Reads an operator and its right side; `ends` are characters that end a value without quotes, besides space.
    pub(super) fn parse(cursor: &mut Cursor<'_>, ends: &[char]) -> Result<Test, Refused> {
        cursor.space();
        let order: fn(Ordering) -> bool = if cursor.eat("!=") {
            return Ok(Test::Unequal(Operand::parse(cursor, ends)?));
        } else if cursor.eat("<=") {
            Ordering::is_le
        } else if cursor.eat(">=") {
            Ordering::is_ge
        } else if cursor.eat("<") {
            Ordering::is_lt
        } else if cursor.eat(">") {
            Ordering::is_gt
        } else if cursor.eat("=") {
            return Ok(Test::Equal(Operand::parse(cursor, ends)?));
        } else {
            return Err(Refused::new(format!(
                "an operator is missing before '{}'",
                shortened(cursor.rest())
            )));
        };
        match Operand::parse(cursor, ends)? {
            Operand::Bare(_, Some(than)) => Ok(Test::Order { accepts: order, than }),
            Operand::Bare(_, None) | Operand::Quoted(_) | Operand::Regex(_) => {
                Err(Refused::new("<, <=, > and >= take a number"))
            }
        }
    }

    pub(super) fn holds(&self, value: Scalar<'_>) -> bool {
        match self {
            Test::Equal(operand) => operand.equals(value),
            Test::Unequal(operand) => !operand.equals(value),
            Test::Order { accepts, than } => {
                value.number().is_some_and(|number| accepts(compare(&number, than)))
            }
        }
    }
}

impl Operand {
    fn parse(cursor: &mut Cursor<'_>, ends: &[char]) -> Result<Operand, Refused> {
        cursor.space();
        if cursor.eat("\"") {
            return Ok(Operand::Quoted(Glob::new(&cursor.quoted('"')?)));
        }
        if cursor.eat("%") {
            return Ok(Operand::Regex(cursor.regex()?));
        }
        let text =
            cursor.take_while(|c| !c.is_whitespace() && !ends.contains(&c) && !"\"%=<>!&|(){}".contains(c));
        if text.is_empty() {
            return Err(Refused::new(format!("a value is missing before '{}'", shortened(cursor.rest()))));
        }
        Ok(Operand::Bare(Glob::new(text), number(text)))
    }

    fn equals(&self, value: Scalar<'_>) -> bool {
        match (self, value) {
            (Operand::Bare(_, Some(own)), Scalar::Number(_))
                if value.number().is_some_and(|n| compare(&n, own).is_eq()) =>
            {
                true
            }
            (Operand::Bare(glob, _), value) => value.with_text(|text| glob.matches(text)),
            (Operand::Quoted(glob), Scalar::Text(text)) => glob.matches(text),
            (Operand::Quoted(_), Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null) => false,
            (Operand::Regex(regex), value) => value.with_text(|text| regex.is_match(text)),
        }
    }
}

impl Scalar<'_> {
    fn number(self) -> Option<Number> {
        match self {
            Scalar::Number(number) => Some(number.clone()),
            Scalar::Text(text) => number(text),
            Scalar::Bool(_) | Scalar::Null => None,
        }
    }

    /// Null has no text: it equals nothing.
    fn with_text(self, test: impl Fn(&str) -> bool) -> bool {
        match self {
            Scalar::Text(text) => test(text),
            Scalar::Number(number) => test(&number.to_string()),
            Scalar::Bool(truth) => test(if truth { "true" } else { "false" }),
            Scalar::Null => false,
        }
    }
}

/// A decimal number: an integer of 64 bits, else a finite float.
fn number(text: &str) -> Option<Number> {
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    // `parse` also takes "inf" and "nan".
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if numeric { Number::from_f64(text.parse().ok()?) } else { None }
}

/// Integers exactly, everything else as floats.
fn compare(a: &Number, b: &Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Less),
    }
}

/// A text with `*` for any characters, split at the stars. Matching is linear in the message for each piece.
#[derive(Debug)]
pub(super) struct Glob(Vec<String>);

impl Glob {
    pub(super) fn new(text: &str) -> Glob {
        Glob(text.split('*').map(str::to_owned).collect())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            // No star.
            return self.0.first().is_some_and(|whole| whole == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

/// The beginning of `text`, for messages.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (glob, text, hit) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "a", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "x", true),
            ("a*bc*c", "abc", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), hit, "{glob} {text}");
        }
    }
}
