//! Provisioned concurrency: how it is divided among versions, and what is shown of it.

use crate::data::QualifierConfig;
use base::{Provisioned, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// Environments that are to be ready for a version or an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedConcurrency {
    /// `RequestedProvisionedConcurrentExecutions`; at least 1.
    pub requested: u32,
    /// `LastModified`.
    pub modified: Timestamp,
}

impl QualifierConfig for ProvisionedConcurrency {
    const KIND: &'static str = "provisioned";
}

/// Divides an alias's environments between its two versions as it divides its invocations; a version that gets any
/// invocations gets at least one.
pub fn shares(requested: u32, first: Version, other: Option<(Version, f64)>) -> Vec<(Version, u32)> {
    let Some((other, weight)) = other.filter(|(_, weight)| *weight > 0.0) else {
        return vec![(first, requested)];
    };
    if weight >= 1.0 {
        return vec![(other, requested)];
    }
    let theirs = ((f64::from(requested) * weight).round() as u32).clamp(1, requested.max(2) - 1);
    vec![(first, requested.saturating_sub(theirs).max(1)), (other, theirs)]
}

/// `Status` and its reason.
pub fn status(requested: u32, ready: u32, failure: Option<&str>) -> (&'static str, Option<String>) {
    match failure {
        _ if ready >= requested => ("READY", None),
        Some(reason) => ("FAILED", Some(reason.to_owned())),
        None => ("IN_PROGRESS", None),
    }
}

/// What is ready for several versions together.
pub fn total(parts: impl IntoIterator<Item = (u32, Provisioned)>) -> Provisioned {
    parts.into_iter().fold(Provisioned::default(), |sum, (share, part)| Provisioned {
        // More may be ready than was asked for: calls bring their own.
        ready: sum.ready + part.ready.min(share),
        failure: sum.failure.or(part.failure),
    })
}

/// As `LastModified` shows it: `2019-11-21T19:32:12+0000`.
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_follow_the_weights(requested in 1u32..1000, weight in 0.0..=1.0f64) {
            let (first, other) = (Version::Published(1), Version::Published(2));
            let shares = shares(requested, first, Some((other, weight)));
            let sum: u32 = shares.iter().map(|(_, share)| share).sum();
            // With one environment for two versions each gets one.
            prop_assert!(sum == requested || (requested == 1 && sum == 2), "{:?}", shares);
            prop_assert!(shares.iter().all(|(_, share)| *share > 0));
            if let [_, (version, theirs)] = shares[..] {
                prop_assert_eq!(version, other);
                prop_assert!((f64::from(theirs) - f64::from(requested) * weight).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn a_status_tells_what_is_missing() {
        assert_eq!(status(2, 2, Some("x")), ("READY", None));
        assert_eq!(status(2, 1, None), ("IN_PROGRESS", None));
        assert_eq!(status(2, 1, Some("x")), ("FAILED", Some("x".to_owned())));
        let part = |ready| Provisioned { ready, failure: None };
        assert_eq!(total([(2, part(5)), (3, part(1))]).ready, 3);
    }
}
