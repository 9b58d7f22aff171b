//! SnapStart: environments of published versions that wait initialised.

use crate::{Error, model::Configuration};
use base::limits;
use serde::Deserialize;

/// `SnapStart`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SnapStart {
    /// `None` or `PublishedVersions`.
    pub apply_on: Option<String>,
}

/// What goes together with SnapStart. Source: Lambda's guide, SnapStart, supported features and limitations.
pub(super) fn check(configuration: &Configuration) -> Result<(), Error> {
    // Lambda begins with Java 11 and Python 3.12; what runs here at all is initialised ahead as well.
    const SERVED: [&str; 2] = ["java", "python3."];
    let runtime = configuration.runtime.as_str();
    if !configuration.snap_start {
        return Ok(());
    }
    if !SERVED.iter().any(|one| runtime.starts_with(one)) {
        return Err(Error::InvalidParameter(format!(
            "{runtime} is not supported for SnapStart enabled functions."
        )));
    }
    if configuration.scratch > *limits::SCRATCH.start() {
        return Err(Error::invalid(
            "Ephemeral storage of more than 512 MB is not supported for SnapStart enabled functions.",
        ));
    }
    if configuration.per_tenant {
        return Err(Error::invalid("SnapStart is not supported for functions with tenancy configuration."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::settings::{
        EphemeralStorage, TenancyConfig, Wanted,
        tests::{made, wanted},
    };

    #[test]
    fn snap_start_goes_with_what_lambda_says() {
        let with = |change: fn(&mut Wanted)| {
            let mut wanted = wanted();
            wanted.features.snap_start = Some(SnapStart { apply_on: Some("PublishedVersions".into()) });
            change(&mut wanted);
            made(&wanted)
        };
        assert!(with(|_| {}).unwrap().snap_start);
        for runtime in ["java17", "java21", "python3.11", "python3.13"] {
            let mut wanted = wanted();
            wanted.runtime = Some(runtime.to_owned());
            wanted.features.snap_start = Some(SnapStart { apply_on: Some("PublishedVersions".into()) });
            assert!(made(&wanted).unwrap().snap_start, "{runtime}");
        }
        for (change, told) in [
            ((|w| w.runtime = Some("nodejs22.x".into())) as fn(&mut Wanted), "nodejs22.x is not supported"),
            (|w| w.runtime = Some("provided.al2023".into()), "provided.al2023 is not supported"),
            (|w| w.scratch = Some(EphemeralStorage { size: Some(1024) }), "Ephemeral storage"),
            (
                |w| w.tenancy = Some(TenancyConfig { tenant_isolation_mode: Some("PER_TENANT".into()) }),
                "tenancy configuration",
            ),
        ] {
            let refused = with(change).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
    }
}
