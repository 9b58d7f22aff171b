//! Resource policies: who else may invoke a function, version or alias, and who else may use a layer version.
//!
//! A policy is a list of statements that allow one action to one principal, under conditions. Principals of the
//! resource's own account need none: identity decides on them. Services always need one, of whichever account the resource is
//! that they act for.

use crate::{
    Error,
    api::AddPermissionRequest,
    data::QualifierConfig,
    model::{FunctionId, Qualifier, Target},
};
use base::{AccountId, Principal, RequestId, ServiceCaller, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::Violations;

/// A policy's JSON, in bytes. Source: Lambda quotas.
const POLICY_MAX: usize = 20_480;
/// The actions that a policy can allow here: nothing else is asked for by anyone outside of the account.
const ACTIONS: [&str; 2] = [INVOKE, INVOKE_URL];
/// Invoking by the API.
pub const INVOKE: &str = "lambda:InvokeFunction";
/// Invoking by the function URL.
pub const INVOKE_URL: &str = "lambda:InvokeFunctionUrl";

const URL_AUTH: &str = "lambda:FunctionUrlAuthType";
const VIA_URL: &str = "lambda:InvokedViaFunctionUrl";
const SOURCE_ARN: &str = "AWS:SourceArn";
const SOURCE_ACCOUNT: &str = "AWS:SourceAccount";

/// The policy of a function, version or alias, or of a layer version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `RevisionId`: new with every change.
    pub revision: RequestId,
    /// In the order in which they were added; never empty.
    pub statements: Vec<Statement>,
}

impl QualifierConfig for Policy {
    const KIND: &'static str = "policy";
}

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// `StatementId`.
    pub sid: String,
    /// `Allow`.
    pub effect: String,
    /// Whom.
    pub principal: Grantee,
    /// What.
    pub action: String,
    /// ARN of what the policy belongs to.
    pub resource: String,
    /// Operator → key → value; all must hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub condition: BTreeMap<String, BTreeMap<String, String>>,
}

/// Whom a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Grantee {
    /// `*`.
    Everyone(String),
    /// ARN of an account's root, a role or a role's session.
    Aws {
        /// The ARN.
        #[serde(rename = "AWS")]
        arn: String,
    },
    /// A service, e.g. `s3.amazonaws.com`.
    Service {
        /// Its name.
        #[serde(rename = "Service")]
        name: String,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// Somebody who did not say who they are.
    Anyone,
    /// Somebody who signed.
    Principal(&'a Principal),
    /// A service, for one of its resources.
    Service(&'a ServiceCaller),
}

/// A request that a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks.
    pub who: Who<'a>,
    /// IAM name.
    pub action: &'a str,
    /// `AuthType` of the function URL by which it came.
    pub url_auth: Option<&'a str>,
}

impl Policy {
    /// Whether a statement allows it.
    pub fn allows(&self, asked: Asked<'_>) -> bool {
        self.statements.iter().any(|statement| statement.allows(asked))
    }

    /// The policy's JSON.
    pub fn document(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Document<'a> {
            version: &'static str,
            id: &'static str,
            statement: &'a [Statement],
        }
        let document = Document { version: "2012-10-17", id: "default", statement: &self.statements };
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// Refuses a policy that has become too long.
    pub fn check_size(&self) -> Result<(), Error> {
        let got = self.document().len();
        if got > POLICY_MAX { Err(Error::PolicyTooLong { got, max: POLICY_MAX }) } else { Ok(()) }
    }
}

impl Statement {
    /// One without conditions.
    pub fn allow(sid: &str, principal: Grantee, action: &str, resource: String) -> Statement {
        Statement {
            sid: sid.to_owned(),
            effect: "Allow".to_owned(),
            principal,
            action: action.to_owned(),
            resource,
            condition: BTreeMap::new(),
        }
    }

    /// The statement's JSON.
    pub fn document(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn allows(&self, asked: Asked<'_>) -> bool {
        self.action == asked.action && self.principal.covers(asked.who) && self.conditions_hold(asked)
    }

    /// A key that the request does not have fails its condition: nobody who signs has a source, and nobody at all has an
    /// organisation or an event source token.
    fn conditions_hold(&self, asked: Asked<'_>) -> bool {
        let source = match asked.who {
            Who::Service(caller) => Some(caller),
            Who::Anyone | Who::Principal(_) => None,
        };
        self.condition.iter().all(|(operator, keys)| {
            keys.iter().all(|(key, value)| match (operator.as_str(), key.as_str()) {
                ("StringEquals", URL_AUTH) => asked.url_auth == Some(value),
                ("Bool", VIA_URL) => asked.url_auth.is_some() == (value == "true"),
                ("ArnLike", SOURCE_ARN) => source.is_some_and(|source| arn_like(value, &source.source_arn)),
                ("StringEquals", SOURCE_ACCOUNT) => {
                    source.is_some_and(|source| source.source_account.as_str() == value)
                }
                (_, _) => false,
            })
        })
    }
}

/// Whether an ARN is like a pattern: `*` stands for any text and `?` for any character within one of its six parts.
/// Source: IAM user guide, "Amazon Resource Name (ARN) condition operators".
fn arn_like(pattern: &str, arn: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if is_like(pattern.as_bytes(), part.as_bytes()) => {}
            (_, _) => return false,
        }
    }
}

/// In time of the product of the lengths: the last `*` is the only one that is gone back to.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read, mut star) = (0, 0, None);
    while let Some(&byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                at += 1;
                read += 1;
            }
            Some(_) | None => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    at = after + 1;
                    read = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|&byte| byte == b'*')
}

impl Grantee {
    fn covers(&self, who: Who<'_>) -> bool {
        match (self, who) {
            (Grantee::Everyone(_), _) => true,
            (Grantee::Aws { arn }, Who::Principal(who)) => {
                *arn == root_arn(&who.account())
                    || *arn == who.arn()
                    || matches!(who, Principal::Session { account, role, .. }
                        if *arn == format!("arn:aws:iam::{account}:role/{role}"))
            }
            (Grantee::Service { name }, Who::Service(caller)) => name == caller.service,
            (Grantee::Aws { .. }, Who::Anyone | Who::Service(_))
            | (Grantee::Service { .. }, Who::Anyone | Who::Principal(_)) => false,
        }
    }

    /// Everyone.
    pub fn everyone() -> Grantee {
        Grantee::Everyone("*".to_owned())
    }

    /// Everyone in an account.
    pub fn account(account: &AccountId) -> Grantee {
        Grantee::Aws { arn: root_arn(account) }
    }

    /// From `Principal` of a request.
    fn of(word: &str) -> Option<Grantee> {
        if word == "*" {
            return Some(Grantee::everyone());
        }
        if let Ok(account) = word.parse::<AccountId>() {
            return Some(Grantee::account(&account));
        }
        if let Some(rest) = word.strip_prefix("arn:aws:") {
            return known_arn(rest).then(|| Grantee::Aws { arn: word.to_owned() });
        }
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let service =
            word.strip_suffix(".amazonaws.com").is_some_and(|labels| labels.split('.').all(is_label));
        service.then(|| Grantee::Service { name: word.to_owned() })
    }
}

fn root_arn(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// `iam::ACCOUNT:root`, `iam::ACCOUNT:role/NAME` or `sts::ACCOUNT:assumed-role/ROLE/SESSION`: there are no other
/// principals.
fn known_arn(rest: &str) -> bool {
    let mut parts = rest.splitn(4, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (service, region, account, name) = (next(), next(), next(), next());
    let named = |prefix: &str| name.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    region.is_empty()
        && account.parse::<AccountId>().is_ok()
        && match service {
            "iam" => name == "root" || named("role/"),
            "sts" => named("assumed-role/"),
            _ => false,
        }
}

/// The statement that a request asks for, on `target`.
pub fn statement(input: &AddPermissionRequest, target: &Target) -> Result<Statement, Error> {
    check(input)?;
    if !ACTIONS.contains(&input.action.as_str()) {
        return Err(Error::Unsupported {
            member: "Action",
            reason: "a function's policy can allow lambda:InvokeFunction and lambda:InvokeFunctionUrl",
        });
    }
    if input.function_url_auth_type.is_some() && input.action != INVOKE_URL {
        return Err(Error::invalid(
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ));
    }
    if input.invoked_via_function_url.is_some() && input.action != INVOKE {
        return Err(Error::invalid(
            "InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action",
        ));
    }
    let principal = Grantee::of(&input.principal).ok_or_else(|| {
        Error::invalid("The provided principal was invalid. Please check the principal and try again.")
    })?;
    let mut condition: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut when = |operator: &str, key: &str, value: Option<String>| {
        if let Some(value) = value {
            condition.entry(operator.to_owned()).or_default().insert(key.to_owned(), value);
        }
    };
    when("ArnLike", SOURCE_ARN, input.source_arn.clone());
    when("StringEquals", SOURCE_ACCOUNT, input.source_account.clone());
    when("StringEquals", "lambda:EventSourceToken", input.event_source_token.clone());
    when("StringEquals", "aws:PrincipalOrgID", input.principal_org_id.clone());
    when("StringEquals", URL_AUTH, input.function_url_auth_type.clone());
    when("Bool", VIA_URL, input.invoked_via_function_url.map(|via| via.to_string()));
    Ok(Statement {
        condition,
        ..Statement::allow(&input.statement_id, principal, &input.action, target.arn())
    })
}

fn check(input: &AddPermissionRequest) -> Result<(), Error> {
    let mut violations = Violations::default();
    let sid = &input.statement_id;
    violations.length("statementId", sid, 1..=100);
    violations.pattern("statementId", sid, "([a-zA-Z0-9-_]+)", is_sid(sid));
    let action = &input.action;
    let fits = action == "*"
        || action.strip_prefix("lambda:").is_some_and(|verb| {
            verb == "*" || (!verb.is_empty() && verb.bytes().all(|b| b.is_ascii_alphabetic()))
        });
    violations.pattern("action", action, "(lambda:[*]|lambda:[a-zA-Z]+|[*])", fits);
    let principal = &input.principal;
    violations.length("principal", principal, 0..=2048);
    let visible = !principal.is_empty() && !principal.contains(char::is_whitespace);
    violations.pattern("principal", principal, r"[^\s]+", visible);
    if let Some(account) = &input.source_account {
        violations.pattern("sourceAccount", account, r"\d{12}", account.parse::<AccountId>().is_ok());
    }
    if let Some(arn) = &input.source_arn {
        let fits = arn.starts_with("arn:aws") && arn.splitn(6, ':').count() == 6;
        violations.pattern(
            "sourceArn",
            arn,
            r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:(…)?:(\d{12})?:(.*)",
            fits,
        );
    }
    if let Some(token) = &input.event_source_token {
        violations.length("eventSourceToken", token, 0..=256);
    }
    if let Some(auth) = &input.function_url_auth_type {
        violations.one_of("functionUrlAuthType", auth, &["NONE", "AWS_IAM"]);
    }
    if let Some(org) = &input.principal_org_id {
        violations.length("principalOrgID", org, 12..=34);
    }
    if violations.is_empty() { Ok(()) } else { Err(Error::Constraints(violations.to_string())) }
}

fn is_sid(sid: &str) -> bool {
    !sid.is_empty() && sid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Adds a statement.
pub fn add(policy: Option<Policy>, statement: Statement, revision: RequestId) -> Result<Policy, Error> {
    let mut policy = policy.unwrap_or(Policy { revision, statements: Vec::new() });
    if policy.statements.iter().any(|known| known.sid == statement.sid) {
        return Err(Error::StatementExists(statement.sid));
    }
    policy.statements.push(statement);
    policy.revision = revision;
    policy.check_size()?;
    Ok(policy)
}

/// Removes a statement; `None` when none is left.
pub fn remove(mut policy: Policy, sid: &str, revision: RequestId) -> Result<Option<Policy>, Error> {
    let before = policy.statements.len();
    policy.statements.retain(|statement| statement.sid != sid);
    if policy.statements.len() == before {
        return Err(Error::NoStatement(sid.to_owned()));
    }
    policy.revision = revision;
    Ok((!policy.statements.is_empty()).then_some(policy))
}

/// `RevisionId` of conditional requests; `read_by` is the operation that shows it.
pub fn check_revision(
    policy: Option<&Policy>,
    wanted: Option<&str>,
    read_by: &'static str,
) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    match policy {
        Some(policy) if policy.revision.to_string() == wanted => Ok(()),
        Some(_) | None => Err(Error::StalePolicy(read_by)),
    }
}

/// A function's policies belong to the function itself, a published version or an alias.
pub fn check_place(target: &Target) -> Result<(), Error> {
    match target.qualifier {
        Some(Qualifier::Version(Version::Latest)) => {
            Err(Error::invalid("We currently do not support adding policies for $LATEST."))
        }
        Some(Qualifier::Version(Version::Published(_)) | Qualifier::Alias(_)) | None => Ok(()),
    }
}

/// Where the policy of an invoked target is; `None` where there can be none.
pub fn place(target: &Target) -> Option<(&FunctionId, String)> {
    check_place(target).ok().map(|()| (&target.id, target.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: &str, principal: &str) -> AddPermissionRequest {
        AddPermissionRequest {
            function_name: "f".into(),
            statement_id: "s".into(),
            action: action.into(),
            principal: principal.into(),
            source_arn: None,
            function_url_auth_type: None,
            invoked_via_function_url: None,
            source_account: None,
            event_source_token: None,
            qualifier: None,
            revision_id: None,
            principal_org_id: None,
        }
    }

    fn target() -> Target {
        let id = FunctionId {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        };
        Target { id, qualifier: None }
    }

    fn allows(
        input: &AddPermissionRequest,
        who: Option<&Principal>,
        action: &str,
        url: Option<&str>,
    ) -> bool {
        let who = who.map_or(Who::Anyone, Who::Principal);
        statement(input, &target()).unwrap().allows(Asked { who, action, url_auth: url })
    }

    #[test]
    fn statements_allow_their_principal_and_action_and_nothing_else() {
        let account: AccountId = "123456789012".parse().unwrap();
        let root = Principal::Root { account };
        let session = Principal::Session { account, role: "team/worker".into(), session: "x".into() };
        let other = Principal::Root { account: AccountId::DEFAULT };
        for (principal, covers_root, covers_session) in [
            ("*", true, true),
            ("123456789012", true, true),
            ("arn:aws:iam::123456789012:root", true, true),
            ("arn:aws:iam::123456789012:role/team/worker", false, true),
            ("arn:aws:iam::123456789012:role/worker", false, false),
            ("arn:aws:sts::123456789012:assumed-role/worker/x", false, true),
            ("s3.amazonaws.com", false, false),
        ] {
            let input = request(INVOKE, principal);
            assert_eq!(allows(&input, Some(&root), INVOKE, None), covers_root, "{principal}");
            assert_eq!(allows(&input, Some(&session), INVOKE, None), covers_session, "{principal}");
            assert_eq!(allows(&input, Some(&other), INVOKE, None), principal == "*", "{principal}");
            assert_eq!(allows(&input, None, INVOKE, None), principal == "*", "{principal}");
            assert!(!allows(&input, Some(&root), INVOKE_URL, Some("NONE")), "{principal}");
        }
        for bad in
            ["arn:aws:iam::123456789012:user/x", "someone", "1234", "arn:aws:iam::1:root", ".amazonaws.com"]
        {
            assert!(statement(&request(INVOKE, bad), &target()).is_err(), "{bad}");
        }
    }

    #[test]
    fn conditions_must_hold_and_unknown_ones_never_do() {
        let mut input = request(INVOKE_URL, "*");
        input.function_url_auth_type = Some("NONE".into());
        assert!(allows(&input, None, INVOKE_URL, Some("NONE")));
        assert!(!allows(&input, None, INVOKE_URL, Some("AWS_IAM")));
        let mut via = request(INVOKE, "*");
        via.invoked_via_function_url = Some(true);
        assert!(allows(&via, None, INVOKE, Some("NONE")) && !allows(&via, None, INVOKE, None));
        for narrow in [
            |input: &mut AddPermissionRequest| input.source_arn = Some("arn:aws:s3:::bucket".into()),
            |input: &mut AddPermissionRequest| input.source_account = Some("123456789012".into()),
            |input: &mut AddPermissionRequest| input.event_source_token = Some("t".into()),
            |input: &mut AddPermissionRequest| input.principal_org_id = Some("o-1234567890".into()),
        ] {
            let mut input = request(INVOKE, "*");
            narrow(&mut input);
            assert!(!allows(&input, None, INVOKE, None), "{input:?}");
        }
    }

    #[test]
    fn a_service_needs_a_statement_for_itself_and_its_source() {
        let arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:too:much";
        let caller = ServiceCaller {
            service: "lambda.alarms.cloudwatch.amazonaws.com",
            source_arn: arn.into(),
            source_account: "123456789012".parse().unwrap(),
        };
        let allows = |principal: &str, source_arn: Option<&str>, source_account: Option<&str>| {
            let mut input = request(INVOKE, principal);
            input.source_arn = source_arn.map(str::to_owned);
            input.source_account = source_account.map(str::to_owned);
            let asked = Asked { who: Who::Service(&caller), action: INVOKE, url_auth: None };
            statement(&input, &target()).unwrap().allows(asked)
        };
        assert!(allows(caller.service, None, None) && allows("*", None, None));
        assert!(!allows("cloudwatch.amazonaws.com", None, None) && !allows("123456789012", None, None));
        assert!(allows(caller.service, None, Some("123456789012")));
        assert!(!allows(caller.service, None, Some("000000000000")));
        for (pattern, holds) in [
            (arn, true),
            ("arn:aws:cloudwatch:*:*:alarm:*", true),
            ("arn:aws:cloudwatch:us-east-?:123456789012:alarm:t*o:*ch", true),
            ("arn:aws:*:alarm:too:much:x", false),
            ("arn:aws:cloudwatch:us-east-1:123456789012:alarm:too", false),
            ("arn:aws:cloudwatch:us-east-1:123456789012:alarm:too:much?", false),
            ("arn:aws:s3:::*", false),
        ] {
            assert_eq!(allows(caller.service, Some(pattern), Some("123456789012")), holds, "{pattern}");
        }
    }

    #[test]
    fn policies_are_bounded_and_their_statements_have_different_names() {
        let revision = RequestId::from_random([1; 16]);
        let mut policy = add(None, statement(&request(INVOKE, "*"), &target()).unwrap(), revision).unwrap();
        let again = statement(&request(INVOKE, "*"), &target()).unwrap();
        assert!(matches!(add(Some(policy.clone()), again, revision), Err(Error::StatementExists(_))));
        let mut added = 1;
        let refused = loop {
            let mut input = request(INVOKE, "*");
            input.statement_id = format!("s{added}");
            match add(Some(policy.clone()), statement(&input, &target()).unwrap(), revision) {
                Ok(longer) => policy = longer,
                Err(error) => break error,
            }
            added += 1;
        };
        assert!(matches!(refused, Error::PolicyTooLong { got, max: 20_480 } if got > 20_480));
        assert!(policy.document().len() <= 20_480 && added > 50);
        assert!(matches!(remove(policy.clone(), "x", revision), Err(Error::NoStatement(_))));
        assert_eq!(remove(policy, "s", revision).unwrap().unwrap().statements.len(), added - 1);
    }
}
