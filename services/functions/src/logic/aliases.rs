//! Aliases: their names, what they may point to, and which of two versions an invocation gets.

use crate::{
    Error,
    api::RoutingConfig,
    model::{Alias, FunctionId},
};
use base::Version;
use std::collections::BTreeMap;
use wire::Violations;

/// The pattern as messages show it.
const NAME_PATTERN: &str = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)";
const VERSION_PATTERN: &str = r"(\$LATEST|[0-9]+)";
/// Longest alias name. Source: Lambda API reference.
const NAME_LENGTH_MAX: usize = 128;
/// Longest version number as a text. Source: Lambda API reference.
const VERSION_LENGTH_MAX: usize = 1024;

/// Refuses names that are version numbers or not of letters, digits, hyphens and underscores.
pub fn check_name(name: &str) -> Result<(), Error> {
    let mut violations = Violations::default();
    violations.length("name", name, 1..=NAME_LENGTH_MAX);
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let number = name.bytes().all(|byte| byte.is_ascii_digit());
    violations.pattern("name", name, NAME_PATTERN, letters && !number);
    if violations.is_empty() { Ok(()) } else { Err(Error::Constraints(violations.to_string())) }
}

/// The version that a request names for a function.
pub fn version(id: &FunctionId, word: &str) -> Result<Version, Error> {
    let mut violations = Violations::default();
    violations.length("functionVersion", word, 1..=VERSION_LENGTH_MAX);
    let fits = word == "$LATEST" || is_number(word);
    violations.pattern("functionVersion", word, VERSION_PATTERN, fits);
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    word.parse().map_err(|_| Error::NotFound(id.qualified_arn(word)))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The weights of a routing configuration, checked for an alias that points to `version`.
pub fn weights(routing: Option<&RoutingConfig>, version: &str) -> Result<BTreeMap<String, f64>, Error> {
    let weights = routing.and_then(|routing| routing.additional_version_weights.clone()).unwrap_or_default();
    check_weights(&weights, version)?;
    Ok(weights)
}

/// At most one further version, published, not `version` itself, with a share between 0 and 1.
pub fn check_weights(weights: &BTreeMap<String, f64>, version: &str) -> Result<(), Error> {
    if weights.len() > 1 {
        return Err(Error::invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"));
    }
    let Some((other, weight)) = weights.first_key_value() else { return Ok(()) };
    let broken = |what: &str| {
        Error::Constraints(format!(
            "1 validation error detected: Value '{{{other}={weight}}}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: {what}"
        ))
    };
    if !(0.0..=1.0).contains(weight) {
        return Err(broken(
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]",
        ));
    }
    if version == "$LATEST" {
        return Err(Error::invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
    }
    if other == version {
        return Err(Error::invalid(format!(
            "Invalid function version {other}. Function version {other} is already included in routing configuration."
        )));
    }
    // A number that no version has is refused as any missing version; one too large to be any, here.
    if !is_number(other) || other.parse::<Version>().is_err() {
        return Err(broken(
            "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]",
        ));
    }
    Ok(())
}

/// Where an alias leads.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Route {
    version: Version,
    /// The other version and its share of the invocations.
    other: Option<(Version, f64)>,
}

impl Route {
    /// Of an alias.
    pub fn of(alias: &Alias) -> Route {
        let other = alias.weights.first_key_value();
        Route {
            version: alias.version,
            other: other.and_then(|(word, weight)| Some((word.parse().ok()?, *weight))),
        }
    }

    /// The first version, and the other with its share.
    pub fn parts(&self) -> (Version, Option<(Version, f64)>) {
        (self.version, self.other)
    }

    /// The version for an invocation that drew `random`, any number with equal chance.
    pub fn version(&self, random: u64) -> Version {
        // The 53 bits that a double holds exactly: in 0..1.
        let drawn = (random >> 11) as f64 / (1_u64 << 53) as f64;
        match self.other {
            Some((other, weight)) if drawn < weight => other,
            Some(_) | None => self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routing(weights: &[(&str, f64)]) -> RoutingConfig {
        let weights = weights.iter().map(|(version, weight)| ((*version).to_owned(), *weight)).collect();
        RoutingConfig { additional_version_weights: Some(weights) }
    }

    #[test]
    fn names_are_words_and_no_numbers() {
        for good in ["live", "PROD-2", "1a", "_"] {
            check_name(good).unwrap();
        }
        for bad in ["", "12", "a.b", "$LATEST", "a b", &"x".repeat(129)] {
            assert!(check_name(bad).unwrap_err().to_string().contains("'name' failed to satisfy"), "{bad}");
        }
    }

    #[test]
    fn weights_are_refused_in_lambdas_words() {
        let told = |weights: &[(&str, f64)], version| {
            super::weights(Some(&routing(weights)), version).unwrap_err().to_string()
        };
        assert!(told(&[("1", 0.1), ("2", 0.1)], "3").starts_with("Number of items in"));
        assert!(told(&[("1", 1.1)], "3").contains("Value '{1=1.1}' at"));
        assert!(told(&[("1", f64::NAN)], "3").contains("Map value"));
        assert!(told(&[("1", 0.5)], "1").starts_with("Invalid function version 1."));
        assert!(told(&[("1", 0.5)], "$LATEST").starts_with("$LATEST is not supported"));
        for bad in ["$LATEST", "x", "", "99999999999999999999999"] {
            assert!(told(&[(bad, 0.5)], "3").contains("Map keys"), "{bad}");
        }
        assert_eq!(super::weights(Some(&routing(&[])), "$LATEST").unwrap().len(), 0);
        assert_eq!(super::weights(None, "1").unwrap().len(), 0);
    }

    proptest! {
        /// The share of the other version comes near its weight: within six standard deviations of a fair draw, and ten
        /// draws where it is rare.
        #[test]
        fn a_split_converges_to_its_weight(weight in 0.0f64..=1.0, seed in any::<u64>()) {
            let route = Route { version: Version::Published(1), other: Some((Version::Published(2), weight)) };
            let (draws, mut state, mut others) = (20_000u32, seed, 0u32);
            for _ in 0..draws {
                // SplitMix64, so that the test needs no source of its own.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                others += u32::from(route.version(mixed ^ (mixed >> 31)) == Version::Published(2));
            }
            let (share, deviation) = (f64::from(others) / f64::from(draws), (weight * (1.0 - weight) / f64::from(draws)).sqrt());
            prop_assert!((share - weight).abs() <= 6.0 * deviation + 10.0 / f64::from(draws), "{share} for {weight}");
        }

        #[test]
        fn extremes_are_exact(random in any::<u64>()) {
            let route = |weight| Route { version: Version::Published(1), other: Some((Version::Published(2), weight)) };
            prop_assert_eq!(route(0.0).version(random), Version::Published(1));
            prop_assert_eq!(route(1.0).version(random), Version::Published(2));
            prop_assert_eq!(Route { version: Version::Latest, other: None }.version(random), Version::Latest);
        }
    }
}
