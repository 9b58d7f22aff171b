//! The ports of identity: who asks, whether they may, and credentials for functions.

use crate::{AccountId, Future, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// The account's owner.
    Root {
        /// The account.
        account: AccountId,
    },
    /// A session of an assumed role.
    Session {
        /// The role's account.
        account: AccountId,
        /// The role's name (with path).
        role: String,
        /// `RoleSessionName`.
        session: String,
    },
}

impl Principal {
    /// The account that requests of this principal act in.
    pub fn account(&self) -> AccountId {
        match self {
            Principal::Root { account } | Principal::Session { account, .. } => *account,
        }
    }

    /// Its ARN, as STS shows it.
    pub fn arn(&self) -> String {
        match self {
            Principal::Root { account } => format!("arn:aws:iam::{account}:root"),
            Principal::Session { account, role, session } => {
                let name = role.rsplit('/').next().unwrap_or(role);
                format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")
            }
        }
    }
}

/// Decides whether a principal may do something.
pub trait Authorize: Send + Sync {
    /// `action` is the IAM name (`lambda:InvokeFunction`), `resource` an ARN or `*`. Synchronous: on every hot path.
    fn authorize(&self, who: &Principal, action: &str, resource: &str) -> Result<(), Denied>;
}

/// The answer no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("User: {who} is not authorized to perform: {action} on resource: {resource} because {reason}")]
pub struct Denied {
    /// ARN of the principal.
    pub who: String,
    /// IAM name of the action.
    pub action: String,
    /// ARN of the resource.
    pub resource: String,
    /// Which rule decided.
    pub reason: &'static str,
}

/// Finds the secret behind an access key. Synchronous: on every hot path.
pub trait Credentials: Send + Sync {
    /// The credential of `access_key`, if it is valid at `now`.
    fn lookup(
        &self,
        access_key: &str,
        session_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Credential, CredentialError>;
}

/// A secret and whom it proves.
#[derive(Clone)]
pub struct Credential {
    /// Secret access key; `None` where signatures are not verified (`neap dev`).
    pub secret: Option<String>,
    /// Who.
    pub principal: Principal,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.principal.arn())
    }
}

/// Why an access key proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// No such key, or its session token is missing or altered.
    #[error("the security token included in the request is invalid")]
    Unknown,
    /// The session is over.
    #[error("the security token included in the request is expired")]
    Expired,
}

/// Makes short-lived credentials.
pub trait Sessions: Send + Sync {
    /// Credentials of a session `session` of the role `role_arn`, valid for `seconds` from now. Local and quick: a
    /// cold start waits for it.
    fn issue(
        &self,
        role_arn: &str,
        session: &str,
        seconds: u32,
    ) -> Future<'_, Result<SessionCredentials, crate::BadArn>>;
}

/// Short-lived credentials.
#[derive(Clone)]
pub struct SessionCredentials {
    /// `ASIA…`.
    pub access_key: String,
    /// Secret access key.
    pub secret: String,
    /// Session token.
    pub token: String,
    /// End of validity.
    pub expires: Timestamp,
}

impl fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionCredentials({} until {})", self.access_key, self.expires.0)
    }
}
