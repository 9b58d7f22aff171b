//! Function URLs: what is set about one, and where it is.

use crate::{
    Error,
    data::QualifierConfig,
    logic::cors::Cors,
    model::{Qualifier, Target},
};
use base::{Entropy, Region, Timestamp};
use serde::{Deserialize, Serialize};
use wire::Violations;

/// Path below which function URLs are served too, by id: for clients that cannot choose a host name.
pub const URL_PATH: &str = "/_neap/url/";
/// Letters and digits of an id.
const ID_LENGTH: usize = 32;

/// A function URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionUrl {
    /// 32 letters and digits; no two functions of any account have the same.
    pub id: String,
    /// Who may call it.
    pub auth: AuthType,
    /// How answers leave.
    pub mode: InvokeMode,
    /// Rules for pages of other origins.
    pub cors: Option<Cors>,
    /// `CreationTime`.
    pub created: Timestamp,
    /// `LastModifiedTime`.
    pub modified: Timestamp,
}

impl QualifierConfig for FunctionUrl {
    const KIND: &'static str = "url";

    fn key(&self) -> Option<&str> {
        Some(&self.id)
    }
}

/// `AuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthType {
    /// `NONE`: everyone whom the function's policy allows.
    None,
    /// `AWS_IAM`: signed requests.
    AwsIam,
}

impl AuthType {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuthType::None => "NONE",
            AuthType::AwsIam => "AWS_IAM",
        }
    }
}

/// `InvokeMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvokeMode {
    /// `BUFFERED`: the answer is read to its end, then sent.
    Buffered,
    /// `RESPONSE_STREAM`: sent while the function writes it.
    ResponseStream,
}

impl InvokeMode {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            InvokeMode::Buffered => "BUFFERED",
            InvokeMode::ResponseStream => "RESPONSE_STREAM",
        }
    }
}

/// What a request sets; `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `AuthType`.
    pub auth: Option<AuthType>,
    /// `InvokeMode`.
    pub mode: Option<InvokeMode>,
    /// `Cors`.
    pub cors: Option<Cors>,
}

/// Checks the members of a request.
pub fn wanted(auth: Option<&str>, mode: Option<&str>, cors: Option<Cors>) -> Result<Wanted, Error> {
    let mut violations = Violations::default();
    let auth = auth.and_then(|word| {
        let found = [AuthType::None, AuthType::AwsIam].into_iter().find(|auth| auth.as_str() == word);
        if found.is_none() {
            violations.one_of("authType", word, &["NONE", "AWS_IAM"]);
        }
        found
    });
    let mode = mode.and_then(|word| {
        let modes = [InvokeMode::Buffered, InvokeMode::ResponseStream];
        let found = modes.into_iter().find(|mode| mode.as_str() == word);
        if found.is_none() {
            violations.one_of("invokeMode", word, &["BUFFERED", "RESPONSE_STREAM"]);
        }
        found
    });
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    cors.as_ref().map_or(Ok(()), Cors::check)?;
    Ok(Wanted { auth, mode, cors })
}

/// URLs belong to a function itself or to an alias.
pub fn check_place(target: &Target) -> Result<(), Error> {
    match &target.qualifier {
        None | Some(Qualifier::Alias(_)) => Ok(()),
        Some(Qualifier::Version(version)) => {
            let mut violations = Violations::default();
            violations.pattern("qualifier", &version.to_string(), r"((?!^\d+$)^[0-9a-zA-Z-_]+$)", false);
            Err(Error::Constraints(violations.to_string()))
        }
    }
}

/// A new id.
pub fn new_id(entropy: &dyn Entropy) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = [0; ID_LENGTH];
    entropy.fill(&mut random);
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}

/// The address of the URL `id`, for a client that reached us as `authority`.
///
/// Beside an address of loopback or a name under a domain whose labels we understand it is a host name of its own, as
/// on AWS; elsewhere no such name leads here, and it is a path.
pub fn address(id: &str, region: &Region, authority: &str) -> String {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        Some(_) | None => (authority, ""),
    };
    let colon = if port.is_empty() { "" } else { ":" };
    let local = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let under =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let domain = if local || under("localhost") {
        "localhost"
    } else if under("localhost.localstack.cloud") {
        "localhost.localstack.cloud"
    } else if under("amazonaws.com") {
        "on.aws"
    } else {
        return format!("http://{authority}{URL_PATH}{id}/");
    };
    format!("http://{id}.lambda-url.{region}.{domain}{colon}{port}/")
}

/// As `CreationTime` shows it: `2022-04-01T12:00:00.000Z`.
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_back_to_where_the_client_came_from() {
        let region: Region = "eu-west-1".parse().unwrap();
        for (authority, expected) in [
            ("127.0.0.1:4566", "http://x.lambda-url.eu-west-1.localhost:4566/"),
            ("[::1]:4566", "http://x.lambda-url.eu-west-1.localhost:4566/"),
            ("localhost", "http://x.lambda-url.eu-west-1.localhost/"),
            ("lambda.us-east-1.localhost:99", "http://x.lambda-url.eu-west-1.localhost:99/"),
            (
                "localhost.localstack.cloud:4566",
                "http://x.lambda-url.eu-west-1.localhost.localstack.cloud:4566/",
            ),
            ("lambda.eu-west-1.amazonaws.com", "http://x.lambda-url.eu-west-1.on.aws/"),
            ("10.0.0.5:4566", "http://10.0.0.5:4566/_neap/url/x/"),
            ("neap.example", "http://neap.example/_neap/url/x/"),
            ("notlocalhost:1", "http://notlocalhost:1/_neap/url/x/"),
        ] {
            assert_eq!(address("x", &region, authority), expected, "{authority}");
        }
    }

    #[test]
    fn words_outside_of_the_model_are_refused() {
        assert!(wanted(Some("NONE"), Some("BUFFERED"), None).is_ok());
        let told = wanted(Some("none"), Some("STREAM"), None).unwrap_err().to_string();
        assert!(told.contains("authType") && told.contains("invokeMode"), "{told}");
    }
}
