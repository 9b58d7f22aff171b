//! Queue policies: who else may do what with a queue, and who may not.
//!
//! Principals of the queue's own account may what identity says; a policy can only forbid them something. Others, and services,
//! may what it allows. What a policy says and Neap cannot judge is refused when the policy is set.

use crate::Error;
use base::{AccountId, Principal, ServiceCaller};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A policy's JSON, in bytes. Source: SQS quotas.
const POLICY_MAX: usize = 20_480;
/// Statements of a policy. Source: SQS quotas.
const STATEMENTS_MAX: usize = 20;

/// A queue's policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    deny: bool,
    who: Vec<Grantee>,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Grantee {
    Everyone,
    /// An account, or an ARN of a principal.
    Aws(String),
    Service(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    test: Test,
    /// Holds where the request has no such key.
    if_exists: bool,
    negated: bool,
    key: Key,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Test {
    Equals,
    EqualsFolded,
    Like,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    SourceArn,
    SourceAccount,
    PrincipalArn,
    PrincipalAccount,
    SecureTransport,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// A principal, by a request.
    Principal(&'a Principal),
    /// A service, for a resource of somebody.
    Service(&'a ServiceCaller),
}

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not, whatever else says.
    Deny,
    /// Nothing.
    Silent,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Written {
    #[allow(dead_code)] // Both versions of the language mean the same here: there are no policy variables.
    version: Option<String>,
    #[allow(dead_code)]
    id: Option<String>,
    statement: Many<WrittenStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct WrittenStatement {
    #[allow(dead_code)]
    sid: Option<String>,
    effect: String,
    principal: WrittenPrincipal,
    action: Many<String>,
    resource: Many<String>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, Many<Scalar>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenPrincipal {
    Everyone(String),
    Some(BTreeMap<String, Many<String>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Many<T> {
    One(T),
    All(Vec<T>),
}

impl<T> Many<T> {
    fn all(self) -> Vec<T> {
        match self {
            Many::One(one) => vec![one],
            Many::All(all) => all,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Truth(bool),
    Number(i64),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Scalar::Text(text) => text,
            Scalar::Truth(truth) => truth.to_string(),
            Scalar::Number(number) => number.to_string(),
        }
    }
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &str) -> Result<Policy, Error> {
        let bad = |why: String| Error::attribute(super::attributes::POLICY, why);
        if text.contains("${") {
            return Err(bad("policy variables are not judged by Neap".to_owned()));
        }
        if text.len() > POLICY_MAX {
            return Err(bad(format!("{} bytes exceed {POLICY_MAX}", text.len())));
        }
        let written: Written = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        let written = written.statement.all();
        if written.len() > STATEMENTS_MAX {
            return Err(bad(format!("{} statements exceed {STATEMENTS_MAX}", written.len())));
        }
        let statements = written.into_iter().map(statement).collect::<Result<_, _>>().map_err(bad)?;
        Ok(Policy { statements })
    }

    /// What it says of `action` (e.g. `sqs:SendMessage`) on the queue `resource`.
    pub fn verdict(&self, who: Who<'_>, action: &str, resource: &str) -> Verdict {
        let applies = |statement: &&Statement| {
            statement.who.iter().any(|grantee| grantee.is(who))
                && statement.actions.iter().any(|wanted| like(&wanted.to_lowercase(), &action.to_lowercase()))
                && statement.resources.iter().any(|wanted| like(wanted, resource))
                && statement.conditions.iter().all(|condition| condition.holds(who))
        };
        let mut verdict = Verdict::Silent;
        for statement in self.statements.iter().filter(applies) {
            if statement.deny {
                return Verdict::Deny;
            }
            verdict = Verdict::Allow;
        }
        verdict
    }
}

fn statement(written: WrittenStatement) -> Result<Statement, String> {
    let WrittenStatement { effect, principal, action, resource, condition, sid: _ } = written;
    let deny = match effect.as_str() {
        "Allow" => false,
        "Deny" => true,
        other => return Err(format!("the effect {other} is neither Allow nor Deny")),
    };
    let mut who = Vec::new();
    match principal {
        WrittenPrincipal::Everyone(star) if star == "*" => who.push(Grantee::Everyone),
        WrittenPrincipal::Everyone(other) => return Err(format!("the principal {other} is not *")),
        WrittenPrincipal::Some(kinds) => {
            for (kind, names) in kinds {
                for name in names.all() {
                    who.push(match (kind.as_str(), name.as_str()) {
                        ("AWS", "*") => Grantee::Everyone,
                        ("AWS", _) => Grantee::Aws(name),
                        ("Service", _) => Grantee::Service(name),
                        (kind, _) => return Err(format!("principals of kind {kind} are not judged by Neap")),
                    });
                }
            }
        }
    }
    let actions = action.all();
    if let Some(other) =
        actions.iter().find(|action| *action != "*" && !action.to_lowercase().starts_with("sqs:"))
    {
        return Err(format!("the action {other} is none of SQS"));
    }
    let mut conditions = Vec::new();
    for (operator, keys) in condition {
        for (key, values) in keys {
            let values = values.all().into_iter().map(Scalar::text).collect();
            conditions.push(self::condition(&operator, &key, values)?);
        }
    }
    Ok(Statement { deny, who, actions, resources: resource.all(), conditions })
}

fn condition(operator: &str, key: &str, values: Vec<String>) -> Result<Condition, String> {
    let (name, if_exists) = match operator.strip_suffix("IfExists") {
        Some(name) => (name, true),
        None => (operator, false),
    };
    let (test, negated) = match name {
        "StringEquals" | "Bool" => (Test::Equals, false),
        "StringNotEquals" => (Test::Equals, true),
        "StringEqualsIgnoreCase" => (Test::EqualsFolded, false),
        "StringNotEqualsIgnoreCase" => (Test::EqualsFolded, true),
        "StringLike" | "ArnEquals" | "ArnLike" => (Test::Like, false),
        "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => (Test::Like, true),
        _ => return Err(format!("the condition {operator} is not judged by Neap")),
    };
    let key = match key.to_lowercase().as_str() {
        "aws:sourcearn" => Key::SourceArn,
        "aws:sourceaccount" => Key::SourceAccount,
        "aws:principalarn" => Key::PrincipalArn,
        "aws:principalaccount" => Key::PrincipalAccount,
        "aws:securetransport" => Key::SecureTransport,
        _ => return Err(format!("the condition key {key} is not judged by Neap")),
    };
    Ok(Condition { test, if_exists, negated, key, values })
}

impl Grantee {
    fn is(&self, who: Who<'_>) -> bool {
        match (self, who) {
            (Grantee::Everyone, _) => true,
            (Grantee::Service(name), Who::Service(caller)) => name == caller.service,
            (Grantee::Aws(name), Who::Principal(principal)) => {
                let account = principal.account();
                *name == account.to_string()
                    || *name == format!("arn:aws:iam::{account}:root")
                    || *name == principal.arn()
                    || role(principal).as_deref() == Some(name)
            }
            (Grantee::Service(_), Who::Principal(_)) | (Grantee::Aws(_), Who::Service(_)) => false,
        }
    }
}

/// ARN of the role that a session is of.
fn role(principal: &Principal) -> Option<String> {
    match principal {
        Principal::Root { .. } => None,
        Principal::Session { account, role, .. } => Some(format!("arn:aws:iam::{account}:role/{role}")),
    }
}

impl Condition {
    fn holds(&self, who: Who<'_>) -> bool {
        let Some(found) = self.key.of(who) else { return self.if_exists || self.negated };
        let fits = |wanted: &String| match self.test {
            Test::Equals => *wanted == found,
            Test::EqualsFolded => wanted.to_lowercase() == found.to_lowercase(),
            Test::Like => like(wanted, &found),
        };
        self.values.iter().any(fits) != self.negated
    }
}

impl Key {
    fn of(self, who: Who<'_>) -> Option<String> {
        let account = |account: AccountId| Some(account.to_string());
        match (self, who) {
            (Key::SourceArn, Who::Service(caller)) => Some(caller.source_arn.clone()),
            (Key::SourceAccount, Who::Service(caller)) => account(caller.source_account),
            (Key::PrincipalArn, Who::Principal(principal)) => {
                role(principal).or_else(|| Some(principal.arn()))
            }
            (Key::PrincipalAccount, Who::Principal(principal)) => account(principal.account()),
            // Requests come without TLS; what a service of the node does crosses no network.
            (Key::SecureTransport, Who::Principal(_)) => Some("false".to_owned()),
            (Key::SecureTransport, Who::Service(_)) => Some("true".to_owned()),
            (Key::SourceArn | Key::SourceAccount, Who::Principal(_))
            | (Key::PrincipalArn | Key::PrincipalAccount, Who::Service(_)) => None,
        }
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters and `?` for one. In time of their product at most.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || Some(wanted) == text.get(t) => (p, t) = (p + 1, t + 1),
            _ => match star {
                // The last star takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// The text of a policy with a statement added that allows `actions` on `resource` to accounts; for `AddPermission`.
pub fn with_permission(
    policy: Option<&str>,
    label: &str,
    accounts: &[String],
    actions: &[String],
    resource: &str,
) -> Result<String, Error> {
    let mut document = document(policy, resource)?;
    let taken = |statement: &serde_json::Value| statement["Sid"] == label;
    let statements = statements(&mut document)?;
    if statements.iter().any(taken) {
        return Err(Error::value(label, "Label", "Already exists."));
    }
    let principals: Vec<String> =
        accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    let actions: Vec<String> = actions.iter().map(|action| format!("SQS:{action}")).collect();
    statements.push(serde_json::json!({
        "Sid": label, "Effect": "Allow", "Principal": { "AWS": principals }, "Action": actions, "Resource": resource,
    }));
    Ok(document.to_string())
}

/// The text without the statement of a label; `None` if nothing is left. For `RemovePermission`.
pub fn without_permission(
    policy: Option<&str>,
    label: &str,
    resource: &str,
) -> Result<Option<String>, Error> {
    let mut document = document(policy, resource)?;
    let statements = statements(&mut document)?;
    let before = statements.len();
    statements.retain(|statement| statement["Sid"] != label);
    match statements.len() {
        after if after == before => Err(Error::value(label, "Label", "can't find label on existing policy.")),
        0 => Ok(None),
        _ => Ok(Some(document.to_string())),
    }
}

fn document(policy: Option<&str>, resource: &str) -> Result<serde_json::Value, Error> {
    match policy {
        None => Ok(serde_json::json!({
            "Version": "2012-10-17", "Id": format!("{resource}/SQSDefaultPolicy"), "Statement": [],
        })),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| Error::attribute(super::attributes::POLICY, error.to_string())),
    }
}

fn statements(document: &mut serde_json::Value) -> Result<&mut Vec<serde_json::Value>, Error> {
    let statement = document["Statement"].take();
    document["Statement"] = match statement {
        serde_json::Value::Array(all) => serde_json::Value::Array(all),
        one => serde_json::Value::Array(vec![one]),
    };
    document["Statement"]
        .as_array_mut()
        .ok_or_else(|| Error::attribute(super::attributes::POLICY, "Statement is no list"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn root(account: &str) -> Principal {
        Principal::Root { account: account.parse().unwrap() }
    }

    fn verdict(policy: serde_json::Value, who: Who<'_>, action: &str) -> Verdict {
        Policy::parse(&policy.to_string()).unwrap().verdict(who, action, QUEUE)
    }

    #[test]
    fn statements_allow_and_deny() {
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "AWS": ["111111111111"] }, "Action": "SQS:Send*", "Resource": QUEUE },
            { "Effect": "Deny", "Principal": "*", "Action": ["sqs:PurgeQueue"], "Resource": "*" },
            { "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" }, "Action": "sqs:SendMessage",
              "Resource": "arn:aws:sqs:*:*:q", "Condition": { "ArnLike": { "aws:SourceArn": "arn:aws:sns:*:*:t*" } } },
        ]});
        let (one, two) = (root("111111111111"), root("222222222222"));
        let says = |who: Who<'_>, action: &str| verdict(policy.clone(), who, action);
        assert_eq!(says(Who::Principal(&one), "sqs:SendMessage"), Verdict::Allow);
        assert_eq!(says(Who::Principal(&one), "sqs:ReceiveMessage"), Verdict::Silent);
        assert_eq!(says(Who::Principal(&two), "sqs:SendMessage"), Verdict::Silent);
        assert_eq!(says(Who::Principal(&two), "sqs:PurgeQueue"), Verdict::Deny);
        let topic = |name: &str| ServiceCaller {
            service: "sns.amazonaws.com",
            source_arn: format!("arn:aws:sns:us-east-1:000000000000:{name}"),
            source_account: AccountId::DEFAULT,
        };
        assert_eq!(says(Who::Service(&topic("topic")), "sqs:SendMessage"), Verdict::Allow);
        assert_eq!(says(Who::Service(&topic("other")), "sqs:SendMessage"), Verdict::Silent);
        let role = Principal::Session {
            account: "111111111111".parse().unwrap(),
            role: "r".into(),
            session: "s".into(),
        };
        let to_role = serde_json::json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*",
            "Principal": { "AWS": "arn:aws:iam::111111111111:role/r" } } });
        assert_eq!(verdict(to_role.clone(), Who::Principal(&role), "sqs:SendMessage"), Verdict::Allow);
        assert_eq!(verdict(to_role, Who::Principal(&one), "sqs:SendMessage"), Verdict::Silent);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let base =
            serde_json::json!({ "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*" });
        let with = |name: &str, value: serde_json::Value| {
            let mut statement = base.clone();
            statement[name] = value;
            Policy::parse(&serde_json::json!({ "Statement": [statement] }).to_string())
        };
        with("Sid", "x".into()).unwrap();
        for (name, value) in [
            ("Effect", "Maybe".into()),
            ("Principal", "me".into()),
            ("Principal", serde_json::json!({ "Federated": "x" })),
            ("Action", "s3:GetObject".into()),
            ("Resource", "arn:aws:sqs:*:${aws:PrincipalAccount}:*".into()),
            ("NotAction", "sqs:*".into()),
            ("Condition", serde_json::json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } })),
            ("Condition", serde_json::json!({ "StringEquals": { "aws:RequestedRegion": "x" } })),
        ] {
            with(name, value.clone()).expect_err(&format!("{name} {value}"));
        }
        Policy::parse("{").unwrap_err();
        Policy::parse(&format!("{{\"Statement\": [], \"Id\": \"{}\"}}", "x".repeat(POLICY_MAX))).unwrap_err();
    }

    #[test]
    fn permissions_are_added_and_removed() {
        let (accounts, actions) = (["111111111111".to_owned()], ["SendMessage".to_owned()]);
        let policy = with_permission(None, "l", &accounts, &actions, QUEUE).unwrap();
        let one = root("111111111111");
        assert_eq!(
            Policy::parse(&policy).unwrap().verdict(Who::Principal(&one), "sqs:SendMessage", QUEUE),
            Verdict::Allow
        );
        with_permission(Some(&policy), "l", &accounts, &actions, QUEUE).unwrap_err();
        without_permission(Some(&policy), "m", QUEUE).unwrap_err();
        assert_eq!(without_permission(Some(&policy), "l", QUEUE).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\":,A-Za-z* ]{0,80}") {
            let _ = Policy::parse(&text);
        }

        #[test]
        fn patterns_agree_with_a_simple_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn simple(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.first(), text.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => {
                        simple(&pattern[1..], text) || (!text.is_empty() && simple(pattern, &text[1..]))
                    }
                    (Some(b'?'), Some(_)) => simple(&pattern[1..], &text[1..]),
                    (Some(a), Some(b)) if a == b => simple(&pattern[1..], &text[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(like(&pattern, &text), simple(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
