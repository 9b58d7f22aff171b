//! Who gets in, and what the others are told.

use crate::{
    client::{Ask, SIGNER, ask},
    toy::{NOW, Toy, toy},
};
use std::sync::atomic::Ordering;
use wire::sign::{Payload, Signer};

const MINUTE_MS: i64 = 60_000;

fn list() -> Ask {
    ask("GET", "/2025-01-01/things")
}

fn who() -> Ask {
    ask("POST", "/").form("Action=GetCallerIdentity&Version=2011-06-15")
}

fn at(toy: &Toy, ms: i64) {
    toy.clock.0.store(NOW.0 + ms, Ordering::Relaxed);
}

#[tokio::test]
async fn unsigned_requests_are_refused() {
    let toy = toy(true);
    let rest = list().to(&toy).await;
    assert_eq!(rest.error(), (403, "MissingAuthenticationTokenException".into()));
    assert_eq!(rest.json()["message"], "Missing Authentication Token");
    let json = ask("POST", "/").target("Notes_20250101.PutNote", "{}").to(&toy).await;
    assert_eq!(json.error(), (400, "MissingAuthenticationTokenException".into()));
    let query = who().to(&toy).await;
    assert_eq!(query.error(), (403, "MissingAuthenticationToken".into()));
    let old = ask("POST", "/").target("Old.Notes.PutNote", "{}").to(&toy).await;
    assert_eq!(old.error(), (400, "com.amazon.coral.service#MissingAuthenticationTokenException".into()));
}

#[tokio::test]
async fn malformed_claims_are_incomplete_signatures() {
    let toy = toy(true);
    let whole = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-west-1/things/aws4_request, SignedHeaders=host, Signature=00";
    let cases = [
        ("", "Unsupported AWS 'algorithm': ''."),
        ("Basic dXNlcjpwYXNz", "Unsupported AWS 'algorithm': 'Basic'."),
        ("AWS AKID:sig", "Unsupported AWS 'algorithm': 'AWS'."),
        (
            "AWS4-HMAC-SHA256",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
             Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-west-1/things/aws4_request, Signature=00",
            "Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-west-1, SignedHeaders=host, Signature=00",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
             'AKIDEXAMPLE/20261121/eu-west-1'",
        ),
        (
            "AWS4-HMAC-SHA256 nonsense",
            "'nonsense' not a valid key=value pair (missing equal-sign) in Authorization header.",
        ),
    ];
    for (authorization, message) in cases {
        let ask = list().header("authorization", authorization).header("x-amz-date", "20261121T100000Z");
        let answer = ask.to(&toy).await;
        assert_eq!(answer.error(), (403, "IncompleteSignatureException".into()), "{authorization}");
        assert_eq!(answer.json()["message"], message, "{authorization}");
    }
    for (name, value) in [("x-amz-date", "yesterday"), ("date", "yesterday"), ("x-other", "1")] {
        let answer = list().header("authorization", whole).header(name, value).to(&toy).await;
        assert_eq!(answer.error(), (403, "IncompleteSignatureException".into()), "{name}");
    }
    let query = who().header("authorization", "AWS4-HMAC-SHA256 x=y").to(&toy).await;
    assert_eq!(query.error(), (400, "IncompleteSignature".into()));
}

#[tokio::test]
async fn unknown_and_expired_credentials_are_told_apart() {
    let toy = toy(true);
    let unknown = Signer { access_key: "AKIANOBODY", ..SIGNER };
    let expired = Signer { access_key: "ASIAEXPIRED", token: Some("t"), ..SIGNER };
    let cases = [
        (
            &unknown,
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        ),
        (
            &expired,
            "ExpiredTokenException",
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
    ];
    for (signer, code, in_query, message) in cases {
        let rest = list().signed_by(signer).to(&toy).await;
        assert_eq!(rest.error(), (403, code.into()));
        assert_eq!(rest.json()["message"], message);
        let note = ask("POST", "/").target("Notes_20250101.PutNote", "{}");
        let json = note.signed_by(&Signer { service: "notes", ..signer.clone() }).to(&toy).await;
        assert_eq!(json.error(), (400, code.into()));
        let query = who().signed_by(&Signer { service: "sts", ..signer.clone() }).to(&toy).await;
        assert_eq!(query.error(), (403, in_query.into()));
    }
}

#[tokio::test]
async fn anything_altered_after_signing_is_a_wrong_signature() {
    let toy = toy(true);
    let put =
        || ask("PUT", "/2025-01-01/things/x?Dry=true").body(r#"{"Size":3}"#).header("x-amz-revision", "1");
    assert_eq!(put().signed().to(&toy).await.status, 201);

    let mut body = put().signed();
    body.body = r#"{"Size":4}"#.into();
    let mut path = put().signed();
    path.uri = "http://localhost:4566/2025-01-01/things/y?Dry=true".parse().unwrap();
    let mut query = put().signed();
    query.uri = "http://localhost:4566/2025-01-01/things/x?Dry=false".parse().unwrap();
    let header = put().signed().header("x-amz-revision", "2");
    let host = put().signed().header("host", "localhost:4567");
    let secret = put().signed_by(&Signer { secret: "another", ..SIGNER });
    let mut method = put().signed();
    method.method = http::Method::POST;
    method.uri = "http://localhost:4566/2025-01-01/things/x/runs?Dry=true".parse().unwrap();
    for (what, altered) in [
        ("body", body),
        ("path", path),
        ("query", query),
        ("header", header),
        ("host", host),
        ("secret", secret),
        ("method", method),
    ] {
        let answer = altered.to(&toy).await;
        assert_eq!(answer.error(), (403, "InvalidSignatureException".into()), "{what}");
        assert!(answer.text().contains("does not match the signature you provided"), "{what}");
    }
    let query = who().signed_by(&Signer { secret: "another", service: "sts", ..SIGNER }).to(&toy).await;
    assert_eq!(query.error(), (403, "SignatureDoesNotMatch".into()));
}

#[tokio::test]
async fn a_declared_payload_hash_must_be_signed_and_true() {
    let toy = toy(true);
    let sign = |mut ask: Ask, payload| {
        SIGNER.sign(&ask.method, &ask.uri, &mut ask.headers, payload, NOW).unwrap();
        ask
    };
    let upload = || ask("POST", "/2025-01-01/uploads").body("hello");
    assert_eq!(sign(upload(), Payload::Unsigned).to(&toy).await.text(), "5");

    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let declared = |body: &'static str| {
        let ask =
            ask("POST", "/2025-01-01/uploads").body("hello").header("x-amz-content-sha256", hash).signed();
        ask.body(body)
    };
    assert_eq!(declared("hello").to(&toy).await.text(), "5");
    assert_eq!(declared("jello").to(&toy).await.error(), (403, "InvalidSignatureException".into()));

    let mut late = upload().signed();
    late = late.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").body("other");
    assert_eq!(late.to(&toy).await.error(), (403, "InvalidSignatureException".into()));

    let chunked =
        upload().header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD").signed().to(&toy).await;
    assert_eq!(chunked.error(), (403, "InvalidSignatureException".into()));
    assert_eq!(
        chunked.json()["message"],
        "x-amz-content-sha256 STREAMING-AWS4-HMAC-SHA256-PAYLOAD is not implemented"
    );
}

#[tokio::test]
async fn signatures_count_for_fifteen_minutes_both_ways() {
    let toy = toy(true);
    for (ms, fine) in [
        (0, true),
        (15 * MINUTE_MS, true),
        (-15 * MINUTE_MS, true),
        (15 * MINUTE_MS + 1, false),
        (-15 * MINUTE_MS - 1, false),
        (24 * 60 * MINUTE_MS, false),
    ] {
        at(&toy, ms);
        assert_eq!(list().signed().to(&toy).await.status.is_success(), fine, "{ms}");
    }
    at(&toy, 16 * MINUTE_MS);
    let late = list().signed().to(&toy).await;
    assert_eq!(late.error(), (403, "InvalidSignatureException".into()));
    assert_eq!(
        late.json()["message"],
        "Signature expired: 20261121T100000Z is now earlier than 20261121T100100Z (20261121T101600Z - 15 min.)"
    );
    let query = who().signed_for("sts").to(&toy).await;
    assert_eq!(query.error(), (403, "SignatureDoesNotMatch".into()));
    at(&toy, -16 * MINUTE_MS);
    let early = list().signed().to(&toy).await;
    assert_eq!(
        early.json()["message"],
        "Signature not yet current: 20261121T100000Z is still later than 20261121T095900Z (20261121T094400Z + 15 min.)"
    );
}

#[tokio::test]
async fn scopes_must_name_the_service_the_day_and_a_region() {
    let toy = toy(true);
    let service = ask("POST", "/").target("Notes_20250101.PutNote", "{}").signed_for("things").to(&toy).await;
    assert_eq!(service.error(), (400, "InvalidSignatureException".into()));
    assert_eq!(service.json()["message"], "Credential should be scoped to correct service: 'notes'.");

    let region = list().signed_by(&Signer { region: "Mars!", ..SIGNER }).to(&toy).await;
    assert_eq!(region.json()["message"], "Credential should be scoped to a valid region, not 'Mars!'.");

    let replace = |from: &str, to: &str| {
        let ask = list().signed();
        let changed = ask.headers["authorization"].to_str().unwrap().replace(from, to);
        ask.header("authorization", &changed)
    };
    let terminator = replace("aws4_request", "aws5_request").to(&toy).await;
    assert_eq!(
        terminator.json()["message"],
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
    );
    let day = replace("/20261121/", "/20261120/").to(&toy).await;
    assert_eq!(
        day.json()["message"],
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261120' != \
         '20261121', from '20261121T100000Z'."
    );
    let host = replace("SignedHeaders=host;", "SignedHeaders=").to(&toy).await;
    assert_eq!(
        host.json()["message"],
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    );
    let mut target = ask("POST", "/").body("{}").signed_for("notes");
    target = target.header("x-amz-target", "Notes_20250101.DropNote");
    assert_eq!(target.to(&toy).await.error(), (400, "InvalidSignatureException".into()));
}

#[tokio::test]
async fn presigned_urls_count_until_they_expire() {
    let toy = toy(true);
    let get = |seconds| ask("GET", "/2025-01-01/things?x=a%20b").presigned(seconds);
    assert_eq!(get(60).to(&toy).await.status, 200);
    at(&toy, 60_000);
    assert_eq!(get(60).to(&toy).await.status, 200);
    at(&toy, 60_001);
    let late = get(60).to(&toy).await;
    assert_eq!(late.error(), (403, "InvalidSignatureException".into()));
    assert_eq!(
        late.json()["message"],
        "Signature expired: 20261121T100100Z is now earlier than 20261121T100100Z"
    );
    at(&toy, 7 * 24 * 60 * MINUTE_MS);
    assert_eq!(get(604_800).to(&toy).await.status, 200);
    at(&toy, -16 * MINUTE_MS);
    assert_eq!(get(604_800).to(&toy).await.status, 403);

    at(&toy, 0);
    let alter = |from: &str, to: &str| {
        let mut ask = get(60);
        ask.uri = ask.uri.to_string().replace(from, to).parse().unwrap();
        ask
    };
    for (from, to, code) in [
        ("x=a", "x=b", "InvalidSignatureException"),
        ("X-Amz-Expires=60", "X-Amz-Expires=600", "InvalidSignatureException"),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", "IncompleteSignatureException"),
        ("X-Amz-Expires=60", "X-Amz-Expires=0", "IncompleteSignatureException"),
        ("X-Amz-Expires=60", "X-Amz-Expires=-1", "IncompleteSignatureException"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS9", "IncompleteSignatureException"),
        ("X-Amz-SignedHeaders=host&", "", "IncompleteSignatureException"),
        ("X-Amz-Signature=", "X-Amz-Signature=0", "InvalidSignatureException"),
    ] {
        assert_eq!(alter(from, to).to(&toy).await.error(), (403, code.into()), "{from} -> {to}");
    }
    assert!(
        SIGNER
            .presign(
                &http::Method::GET,
                &"http://x/".parse().unwrap(),
                &Default::default(),
                Payload::Signed(b""),
                604_801,
                NOW
            )
            .is_err()
    );
}

#[tokio::test]
async fn sessions_need_their_token_and_get_no_more_than_they_may() {
    let toy = toy(true);
    let session = Signer { access_key: "ASIASESSION", token: Some("to/ken+=="), ..SIGNER };
    assert_eq!(list().signed_by(&session).to(&toy).await.status, 200);
    let without = list().signed_by(&Signer { token: None, ..session.clone() }).to(&toy).await;
    assert_eq!(without.error(), (403, "UnrecognizedClientException".into()));
    let other = list().signed_by(&Signer { token: Some("other"), ..session.clone() }).to(&toy).await;
    assert_eq!(other.error(), (403, "UnrecognizedClientException".into()));

    let message = |action: &str, resource: &str| {
        format!(
            "User: arn:aws:sts::123456789012:assumed-role/limited/s is not authorized to perform: {action} on resource: \
             {resource} because no identity-based policy allows it"
        )
    };
    let rest = ask("PUT", "/2025-01-01/things/x").body(r#"{"Size":3}"#).signed_by(&session).to(&toy).await;
    assert_eq!(rest.error(), (403, "AccessDeniedException".into()));
    assert_eq!(
        rest.json()["Message"],
        message("things:PutThing", "arn:aws:things:eu-west-1:123456789012:thing:x")
    );
    let json = ask("POST", "/").target("Notes_20250101.PutNote", r#"{"groupName":"g"}"#);
    let json = json.signed_by(&Signer { service: "notes", ..session.clone() }).to(&toy).await;
    assert_eq!(json.error(), (400, "AccessDeniedException".into()));
    let query = ask("POST", "/").form("Action=AssumeRole&RoleArn=x");
    let query = query.signed_by(&Signer { service: "sts", ..session.clone() }).to(&toy).await;
    assert_eq!(query.error(), (403, "AccessDenied".into()));
    assert!(query.text().contains(&message("sts:AssumeRole", "*")));

    let mut url = list();
    url.uri = session.presign(&url.method, &url.uri, &url.headers, Payload::Signed(b""), 60, NOW).unwrap();
    assert_eq!(url.to(&toy).await.status, 200);
}

#[tokio::test]
async fn a_signature_cannot_be_moved_to_another_operation() {
    let toy = toy(true);
    let mut moved = ask("GET", "/2025-01-01/things/there").signed();
    moved.uri = "http://localhost:4566/2025-01-01/things/broken".parse().unwrap();
    assert_eq!(moved.to(&toy).await.error(), (403, "InvalidSignatureException".into()));
    let form = ask("POST", "/").form("Action=Nothing").signed_for("sts").body("Action=Fail");
    assert_eq!(form.to(&toy).await.error(), (403, "SignatureDoesNotMatch".into()));
}
