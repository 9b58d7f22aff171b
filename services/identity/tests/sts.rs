//! STS behind a gateway, as clients see it.
#![allow(clippy::unwrap_used)] // clippy takes only test functions themselves for tests

use base::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use identity::{Identity, Mode};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use wire::Gateway;

struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_219_200_000)
    }
}

struct Counter(AtomicU64);
impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.0.fetch_add(7, Ordering::Relaxed) as u8;
        }
    }
}

struct Node {
    identity: Arc<Identity>,
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

fn node() -> Node {
    let folder = tempfile::tempdir().unwrap();
    let (clock, entropy) = (Arc::new(Fixed), Arc::new(Counter(AtomicU64::new(1))));
    let identity = Identity::open(folder.path(), Mode::Dev, clock.clone(), entropy.clone()).unwrap();
    let ports = wire::Ports { credentials: identity.clone(), authorize: identity.clone(), clock, entropy };
    let gateway = Gateway::new(ports, wire::Settings::new(false, "us-east-1".parse().unwrap()));
    Node { gateway: gateway.service(identity.clone()), identity, _folder: folder }
}

impl Node {
    /// Signed with `key` and `token`, in form only: `neap dev` verifies nothing.
    async fn call(&self, key: &str, token: Option<&str>, form: &str) -> (u16, String) {
        let mut request = http::Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-date", "20261121T000000Z")
            .header(
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential={key}/20261121/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
                ),
            );
        if let Some(token) = token {
            request = request.header("x-amz-security-token", token);
        }
        let request = request.body(Full::new(Bytes::from(format!("Version=2011-06-15&{form}")))).unwrap();
        let response = self.gateway.handle(request, wire::Connection::default()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// The text of the first element `name`.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap();
    rest.split_once('<').unwrap().0
}

const ASSUME: &str =
    "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fteam%2Fworker&RoleSessionName=me";

#[tokio::test]
async fn the_caller_is_told_who_it_is() {
    let (status, xml) = node().call("123456789012", None, "Action=GetCallerIdentity").await;
    assert_eq!(status, 200, "{xml}");
    assert_eq!(element(&xml, "Account"), "123456789012");
    assert_eq!(element(&xml, "Arn"), "arn:aws:iam::123456789012:root");
    assert_eq!(element(&xml, "UserId"), "123456789012");
}

#[tokio::test]
async fn an_assumed_roles_credentials_are_its_session() {
    let node = node();
    let (status, xml) = node.call("test", None, ASSUME).await;
    assert_eq!(status, 200, "{xml}");
    assert_eq!(element(&xml, "Expiration"), "2026-11-21T01:00:00Z");
    assert!(element(&xml, "AssumedRoleId").ends_with(":me"));
    let (key, token) = (element(&xml, "AccessKeyId"), element(&xml, "SessionToken"));
    let (status, who) = node.call(key, Some(token), "Action=GetCallerIdentity").await;
    assert_eq!(status, 200, "{who}");
    assert_eq!(element(&who, "Arn"), "arn:aws:sts::000000000000:assumed-role/worker/me");
    assert_eq!(element(&who, "UserId"), element(&xml, "AssumedRoleId"));
    // Chained sessions last an hour at most.
    let (status, refused) = node.call(key, Some(token), &format!("{ASSUME}&DurationSeconds=3601")).await;
    assert_eq!((status, element(&refused, "Code")), (400, "ValidationError"));
    let (status, refused) = node.call(key, Some(token), "Action=GetSessionToken").await;
    assert_eq!((status, element(&refused, "Code")), (403, "AccessDenied"));
    assert_eq!(node.identity.mode(), Mode::Dev);
}

#[tokio::test]
async fn what_is_wrong_or_without_effect_is_refused_by_name() {
    let node = node();
    for (more, word) in [
        ("&DurationSeconds=899", "durationSeconds"),
        ("&DurationSeconds=43201", "durationSeconds"),
        ("&Policy=%7B%7D", "Policy"),
        ("&PolicyArns.member.1.arn=x", "PolicyArns"),
        ("&Tags.member.1.Key=a&Tags.member.1.Value=b", "Tags"),
        ("&ExternalId=abc", "ExternalId"),
        ("&SerialNumber=arn:x&TokenCode=123456", "SerialNumber"),
        ("&SourceIdentity=me", "SourceIdentity"),
    ] {
        let (status, xml) = node.call("test", None, &format!("{ASSUME}{more}")).await;
        assert_eq!((status, element(&xml, "Code")), (400, "ValidationError"), "{more}: {xml}");
        assert!(element(&xml, "Message").contains(word), "{more}: {xml}");
    }
    for (form, status) in [
        ("Action=AssumeRole&RoleArn=arn:aws:iam::000000000000:role/r", 400),
        ("Action=AssumeRole&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=a", 400),
        ("Action=AssumeRole&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=a%20b", 400),
        ("Action=AssumeRole&RoleArn=arn:aws:iam::000000000000:user/r&RoleSessionName=ab", 400),
        ("Action=AssumeRole&RoleArn=arn:aws:iam::999999999999:role/r&RoleSessionName=ab", 403),
        ("Action=GetFederationToken&Name=x", 400),
    ] {
        let (found, xml) = node.call("test", None, form).await;
        assert_eq!(found, status, "{form}: {xml}");
    }
}

#[tokio::test]
async fn a_session_of_the_owner_is_the_owner() {
    let node = node();
    let (status, xml) = node.call("test", None, "Action=GetSessionToken&DurationSeconds=129600").await;
    assert_eq!(status, 200, "{xml}");
    assert_eq!(element(&xml, "Expiration"), "2026-11-21T01:00:00Z");
    let (key, token) = (element(&xml, "AccessKeyId"), element(&xml, "SessionToken"));
    let (_, who) = node.call(key, Some(token), "Action=GetCallerIdentity").await;
    assert_eq!(element(&who, "Arn"), "arn:aws:iam::000000000000:root");
}
