//! What environment variables may be. Source: Lambda developer guide, "Working with environment variables".

use crate::Error;
use base::limits;
use std::collections::BTreeMap;
use wire::Violations;

/// Names that the runtime sets itself and that a function may not change.
pub const RESERVED: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Names begin with a letter and have two or more letters, digits and underscores. The values are secrets: no
/// message shows them.
pub(crate) fn names(variables: &BTreeMap<String, String>, violations: &mut Violations) {
    let fits = |name: &String| {
        name.len() >= 2
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    // A reserved name is told as such, whatever its form.
    let odd: Vec<&str> = variables
        .keys()
        .filter(|name| !fits(name) && !RESERVED.contains(&name.as_str()))
        .map(String::as_str)
        .collect();
    if !odd.is_empty() {
        violations.add(
            format_args!("[{}]", odd.join(", ")),
            "environment.variables",
            "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
        );
    }
}

/// Reserved names, the size of all together, and values that no process can be given.
pub(crate) fn values(variables: &BTreeMap<String, String>) -> Result<(), Error> {
    const UNABLE: &str = "Lambda was unable to configure your environment variables because the environment variables you have provided";
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|name| RESERVED.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(Error::InvalidParameter(format!(
            "{UNABLE} contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    // Lambda measures them as a JSON object (observed).
    let measured = serde_json::to_vec(variables).map_or(usize::MAX, |text| text.len());
    if measured as u64 > limits::ENVIRONMENT_MAX.0 {
        return Err(Error::InvalidParameter(format!(
            "{UNABLE} exceeded the 4KB limit. Bytes measured: {measured}"
        )));
    }
    if let Some((name, _)) = variables.iter().find(|(_, value)| value.contains('\0')) {
        return Err(Error::InvalidParameter(format!(
            "{UNABLE} contains a NUL character in the value of {name}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn names_follow_the_models_pattern() {
        for (name, fits) in [
            ("AB", true),
            ("a_1", true),
            ("A", false),
            ("1A", false),
            ("_A", false),
            ("A-B", false),
            ("", false),
        ] {
            let mut violations = Violations::default();
            names(&one(name, "secret"), &mut violations);
            assert_eq!(violations.is_empty(), fits, "{name}");
            assert!(!violations.to_string().contains("secret"));
        }
    }

    #[test]
    fn reserved_names_are_told() {
        let error = values(&one("AWS_REGION", "x")).unwrap_err().to_string();
        assert!(
            error.ends_with("not supported for modification. Reserved keys used in this request: AWS_REGION"),
            "{error}"
        );
        assert!(values(&one("AWS_ENDPOINT_URL", "x")).is_ok());
    }

    #[test]
    fn all_together_fit_four_kilobytes_of_json() {
        assert!(values(&one("NAME", &"x".repeat(4096 - r#"{"NAME":""}"#.len()))).is_ok());
        let error = values(&one("NAME", &"x".repeat(4097 - r#"{"NAME":""}"#.len()))).unwrap_err();
        assert!(error.to_string().contains("exceeded the 4KB limit"));
        assert!(values(&one("NAME", "a\0b")).is_err());
    }
}
