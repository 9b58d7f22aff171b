//! STS: who am I, and sessions of roles. Source of shapes and limits: STS API reference, 2011-06-15.

use crate::{
    Error, Identity,
    logic::{self, RoleName},
};
use base::{Arn, Principal, SessionCredentials};
use serde::{Deserialize, Serialize};
use wire::{Context, Violations};

/// Life of an assumed role's session in seconds. Default 3,600.
const ASSUME_SECONDS: std::ops::RangeInclusive<i64> = 900..=43_200;
const ASSUME_SECONDS_DEFAULT: u32 = 3_600;
/// Longest life of a session that another session assumed ("role chaining").
const CHAINED_SECONDS_MAX: u32 = 3_600;
/// What `GetSessionToken` may ask for.
const SESSION_TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 900..=129_600;
/// What the account's owner gets at most, silently, as in AWS.
const SESSION_TOKEN_SECONDS_OWNER_MAX: u32 = 3_600;

wire::api! {
    /// AWS Security Token Service.
    impl Identity;
    name: "sts";
    protocol: query("2011-06-15", "https://sts.amazonaws.com/doc/2011-06-15/");
    invalid: "ValidationError";

    operations {
        /// Tells who signed the request. No permission is needed.
        GetCallerIdentity => get_caller_identity(GetCallerIdentityRequest) -> GetCallerIdentityResponse {
            allow: everyone,
            errors: [],
        }
        /// Credentials of a session of a role of the caller's account. Roles are names: there are no policies yet.
        AssumeRole => assume_role(AssumeRoleRequest) -> AssumeRoleResponse {
            check: AssumeRoleRequest::check,
            allow: "sts:AssumeRole" on role_resource,
            errors: [ValidationError, AccessDenied],
        }
        /// Short-lived credentials of the account's owner: at most an hour, as in AWS.
        GetSessionToken => get_session_token(GetSessionTokenRequest) -> GetSessionTokenResponse {
            check: GetSessionTokenRequest::check,
            allow: "sts:GetSessionToken" on "*",
            errors: [ValidationError, AccessDenied],
        }
    }
    missing: [AssumeRoleWithSAML, AssumeRoleWithWebIdentity, AssumeRoot, DecodeAuthorizationMessage,
        GetAccessKeyInfo, GetDelegatedAccessToken, GetFederationToken, GetWebIdentityToken];
}

/// No parameters.
#[derive(Debug, Deserialize)]
pub struct GetCallerIdentityRequest {}

/// Who signed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetCallerIdentityResponse {
    arn: String,
    user_id: String,
    account: String,
}

/// Which role, as which session, for how long.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRoleRequest {
    role_arn: String,
    role_session_name: String,
    duration_seconds: Option<i64>,
    // Not carried out, hence refused by name:
    policy: Option<serde::de::IgnoredAny>,
    policy_arns: Option<serde::de::IgnoredAny>,
    tags: Option<serde::de::IgnoredAny>,
    transitive_tag_keys: Option<serde::de::IgnoredAny>,
    external_id: Option<serde::de::IgnoredAny>,
    serial_number: Option<serde::de::IgnoredAny>,
    token_code: Option<serde::de::IgnoredAny>,
    source_identity: Option<serde::de::IgnoredAny>,
    provided_contexts: Option<serde::de::IgnoredAny>,
}

impl AssumeRoleRequest {
    fn check(&self, found: &mut Violations) {
        found.length("roleArn", &self.role_arn, 20..=2048);
        let role = self.role();
        if found.is_empty() && role.is_none() {
            found.add(&self.role_arn, "roleArn", "Member must be the ARN of a role");
        }
        found.length("roleSessionName", &self.role_session_name, 2..=64);
        let fits = logic::is_name(&self.role_session_name, 0) || self.role_session_name.len() > 64;
        found.pattern("roleSessionName", &self.role_session_name, "[\\w+=,.@-]*", fits);
        if let Some(seconds) = self.duration_seconds {
            found.range("durationSeconds", seconds, ASSUME_SECONDS);
        }
    }

    fn role(&self) -> Option<RoleName> {
        RoleName::of(&self.role_arn.parse::<Arn>().ok()?).ok()
    }

    /// The first parameter that would have no effect.
    fn unsupported(&self) -> Option<Error> {
        const POLICIES: &str = "sessions are not restricted by policies yet";
        const TAGS: &str = "no policy reads session tags yet";
        const MFA: &str = "there are no MFA devices";
        let given = [
            ("Policy", POLICIES, self.policy.is_some()),
            ("PolicyArns", POLICIES, self.policy_arns.is_some()),
            ("Tags", TAGS, self.tags.is_some()),
            ("TransitiveTagKeys", TAGS, self.transitive_tag_keys.is_some()),
            ("ExternalId", "roles have no trust policy that would check it", self.external_id.is_some()),
            ("SerialNumber", MFA, self.serial_number.is_some()),
            ("TokenCode", MFA, self.token_code.is_some()),
            ("SourceIdentity", "no policy and no trail reads it yet", self.source_identity.is_some()),
            ("ProvidedContexts", "there are no context providers", self.provided_contexts.is_some()),
        ];
        given
            .into_iter()
            .find_map(|(parameter, reason, given)| given.then_some(Error::Unsupported { parameter, reason }))
    }
}

/// A session of a role.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRoleResponse {
    credentials: IssuedCredentials,
    assumed_role_user: AssumedRoleUser,
}

/// Who the session is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumedRoleUser {
    assumed_role_id: String,
    arn: String,
}

/// For how long.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSessionTokenRequest {
    duration_seconds: Option<i64>,
    serial_number: Option<serde::de::IgnoredAny>,
    token_code: Option<serde::de::IgnoredAny>,
}

impl GetSessionTokenRequest {
    fn check(&self, found: &mut Violations) {
        if let Some(seconds) = self.duration_seconds {
            found.range("durationSeconds", seconds, SESSION_TOKEN_SECONDS);
        }
    }
}

/// A session of the account's owner.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSessionTokenResponse {
    credentials: IssuedCredentials,
}

/// Short-lived credentials on the wire.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IssuedCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl std::fmt::Debug for IssuedCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IssuedCredentials({} until {})", self.access_key_id, self.expiration)
    }
}

impl From<SessionCredentials> for IssuedCredentials {
    fn from(issued: SessionCredentials) -> IssuedCredentials {
        IssuedCredentials {
            // Whole seconds: the form that all SDKs parse.
            expiration: jiff::Timestamp::from_second(issued.expires.0 / 1000).unwrap_or_default().to_string(),
            access_key_id: issued.access_key,
            secret_access_key: issued.secret,
            session_token: issued.token,
        }
    }
}

fn seconds(asked: Option<i64>, default: u32) -> u32 {
    asked.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(default)
}

/// `AROA…:SESSION` for a session, the account for its owner.
fn user_id(principal: &Principal) -> String {
    match principal {
        Principal::Root { account } => account.to_string(),
        Principal::Session { account, role, session } => {
            format!("{}:{session}", logic::role_id(*account, role))
        }
    }
}

impl Identity {
    fn role_resource(&self, _: &Context, input: &AssumeRoleRequest) -> String {
        input.role_arn.clone()
    }

    async fn get_caller_identity(
        &self,
        context: &Context,
        _: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, Error> {
        Ok(GetCallerIdentityResponse {
            arn: context.principal.arn(),
            user_id: user_id(&context.principal),
            account: context.account.to_string(),
        })
    }

    async fn assume_role(
        &self,
        context: &Context,
        input: AssumeRoleRequest,
    ) -> Result<AssumeRoleResponse, Error> {
        if let Some(refusal) = input.unsupported() {
            return Err(refusal);
        }
        let seconds = seconds(input.duration_seconds, ASSUME_SECONDS_DEFAULT);
        let chained = matches!(context.principal, Principal::Session { .. });
        if chained && seconds > CHAINED_SECONDS_MAX {
            return Err(Error::Validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
                    .to_owned(),
            ));
        }
        let role = input.role().ok_or_else(|| Error::Validation(format!("{} is invalid", input.role_arn)))?;
        let principal = role.session(&input.role_session_name);
        Ok(AssumeRoleResponse {
            credentials: self.issue_for(&principal, seconds).into(),
            assumed_role_user: AssumedRoleUser { assumed_role_id: user_id(&principal), arn: principal.arn() },
        })
    }

    async fn get_session_token(
        &self,
        context: &Context,
        input: GetSessionTokenRequest,
    ) -> Result<GetSessionTokenResponse, Error> {
        let reason = "there are no MFA devices";
        for (parameter, given) in
            [("SerialNumber", input.serial_number.is_some()), ("TokenCode", input.token_code.is_some())]
        {
            if given {
                return Err(Error::Unsupported { parameter, reason });
            }
        }
        if matches!(context.principal, Principal::Session { .. }) || self.is_session(context) {
            return Err(Error::Denied("Cannot call GetSessionToken with session credentials".to_owned()));
        }
        let seconds = seconds(input.duration_seconds, SESSION_TOKEN_SECONDS_OWNER_MAX)
            .min(SESSION_TOKEN_SECONDS_OWNER_MAX);
        let owner = Principal::Root { account: context.account };
        Ok(GetSessionTokenResponse { credentials: self.issue_for(&owner, seconds).into() })
    }

    /// Whether the request is signed with short-lived credentials.
    fn is_session(&self, context: &Context) -> bool {
        context.access_key.as_deref().is_some_and(|key| key.starts_with("ASIA"))
    }
}
