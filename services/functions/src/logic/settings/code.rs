//! What a request says about its code: the package, and the architecture that it is for.

use super::finish;
use crate::{Error, api::FunctionCode};
use base::{PackageError, limits};
use wire::Violations;

/// The first is the default.
pub(super) const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];

/// The package in a request, and nothing else.
pub fn source(code: FunctionCode) -> Result<bytes::Bytes, Error> {
    let elsewhere = code.s3_bucket.is_some() || code.s3_key.is_some() || code.s3_object_version.is_some();
    if code.image_uri.is_some() {
        return Err(Error::Unsupported { member: "ImageUri", reason: "upload a zip package as ZipFile" });
    }
    if code.source_kms_key_arn.is_some_and(|arn| !arn.is_empty()) {
        return Err(Error::Unsupported { member: "SourceKMSKeyArn", reason: "leave it out" });
    }
    match code.zip_file {
        Some(_) if elsewhere => Err(Error::invalid(
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        )),
        Some(zip) if zip.0.is_empty() => Err(Error::Package(PackageError::Empty)),
        Some(zip) if zip.0.len() as u64 > limits::PACKAGE_ZIPPED_MAX.0 => {
            Err(Error::ZipTooLarge { max_bytes: limits::PACKAGE_ZIPPED_MAX.0 })
        }
        Some(zip) => Ok(zip.0),
        None if elsewhere => {
            Err(Error::Unsupported { member: "S3Bucket", reason: "upload the package itself as ZipFile" })
        }
        None => Err(Error::invalid("Please provide a source for function code.")),
    }
}

/// The architecture that UpdateFunctionCode wants; `None` leaves it.
pub fn architecture(wanted: Option<&[String]>) -> Result<Option<String>, Error> {
    let mut violations = Violations::default();
    if let Some(architectures) = wanted {
        check_architectures(architectures, &mut violations);
    }
    finish(violations)?;
    Ok(wanted.and_then(<[String]>::first).cloned())
}

pub(super) fn check_architectures(architectures: &[String], violations: &mut Violations) {
    let shown = format!("[{}]", architectures.join(", "));
    match architectures {
        [] => violations.add(shown, "architectures", "Member must have length greater than or equal to 1"),
        [one] if ARCHITECTURES.contains(&one.as_str()) => {}
        [_] => violations.add(
            shown,
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
        [_, _, ..] => violations.add(shown, "architectures", "Member must have length less than or equal to 1"),
    }
}
