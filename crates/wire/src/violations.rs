//! Constraints on members, reported together in AWS's words.

use crate::Error;
use std::{fmt, ops::RangeInclusive};

/// Collects what is wrong with an input.
#[derive(Debug, Default)]
pub struct Violations(Vec<String>);

impl Violations {
    /// `value` at `member` breaks `constraint`, e.g. `Member must not be null`.
    pub fn add(&mut self, value: impl fmt::Display, member: &str, constraint: &str) {
        self.0.push(format!("Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// A required member is missing.
    pub fn missing(&mut self, member: &str) {
        self.0
            .push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
    }

    /// Length in characters.
    pub fn length(&mut self, member: &str, value: &str, bounds: RangeInclusive<usize>) {
        let length = value.chars().count();
        if length < *bounds.start() {
            let min = bounds.start();
            self.add(value, member, &format!("Member must have length greater than or equal to {min}"));
        } else if length > *bounds.end() {
            let max = bounds.end();
            self.add(value, member, &format!("Member must have length less than or equal to {max}"));
        }
    }

    /// A number between bounds.
    pub fn range<N: PartialOrd + fmt::Display>(&mut self, member: &str, value: N, bounds: RangeInclusive<N>) {
        if value < *bounds.start() {
            let constraint = format!("Member must have value greater than or equal to {}", bounds.start());
            self.add(value, member, &constraint);
        } else if value > *bounds.end() {
            let constraint = format!("Member must have value less than or equal to {}", bounds.end());
            self.add(value, member, &constraint);
        }
    }

    /// A text that `fits` the grammar whose published pattern is `pattern`.
    pub fn pattern(&mut self, member: &str, value: &str, pattern: &str, fits: bool) {
        if !fits {
            self.add(value, member, &format!("Member must satisfy regular expression pattern: {pattern}"));
        }
    }

    /// One of a set of words.
    pub fn one_of(&mut self, member: &str, value: &str, words: &[&str]) {
        if !words.contains(&value) {
            let constraint = format!("Member must satisfy enum value set: [{}]", words.join(", "));
            self.add(value, member, &constraint);
        }
    }

    /// Whether all is well so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Err` if anything is wrong; `code` names it on the wire.
    pub fn into_result(self, code: &'static str) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid { code, violations: self.to_string() })
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, plural) = (self.0.len(), if self.0.len() == 1 { "" } else { "s" });
        write!(f, "{count} validation error{plural} detected: {}", self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_listed_in_the_words_of_aws() {
        let mut found = Violations::default();
        found.length("functionName", "", 1..=64);
        found.range("timeout", 901, 1..=900);
        found.missing("role");
        assert_eq!(
            found.to_string(),
            "3 validation errors detected: Value '' at 'functionName' failed to satisfy constraint: Member must have \
             length greater than or equal to 1; Value '901' at 'timeout' failed to satisfy constraint: Member must \
             have value less than or equal to 900; Value null at 'role' failed to satisfy constraint: Member must \
             not be null"
        );
        let mut fine = Violations::default();
        fine.length("a", "ok", 1..=2);
        fine.one_of("b", "x", &["x", "y"]);
        assert!(fine.into_result("ValidationException").is_ok());
    }
}
