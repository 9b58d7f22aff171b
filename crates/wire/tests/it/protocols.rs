//! Inputs, outputs and errors of each protocol.

use crate::{
    client::ask,
    toy::{Things, toy},
};
use serde_json::json;
use wire::{Service, operations, operations_page};

#[tokio::test]
async fn rest_json_takes_members_from_labels_query_headers_and_body() {
    let toy = toy(true);
    let body = r#"{"Size": 3, "Name": "ignored", "Memo": null, "Unknown": {"a": [1]}, "Nested": {"k": "v", "gone": null}}"#;
    let answer =
        ask("PUT", "/2025-01-01/things/arn%3Aaws%3Athings%3Ax?tagKeys=a&tagKeys=b%20c&Dry=true&Other=1")
            .body(body)
            .header("x-amz-revision", "-7")
            .signed()
            .to(&toy)
            .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({
            "Name": "arn:aws:things:x", "Size": 3, "Memo": null, "TagKeys": ["a", "b c"], "Dry": true,
            "Revision": -7, "Nested": { "k": "v" }
        })
    );
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-who"), "arn:aws:iam::123456789012:root");
    assert_eq!(answer.header("x-region"), "eu-west-1");
    assert_eq!(answer.header("x-amzn-requestid").len(), 36);
}

#[tokio::test]
async fn rest_json_labels_take_names_and_arns_plain_and_encoded() {
    let toy = toy(true);
    for (path, name) in [
        ("hello", "hello"),
        ("hello:1", "hello:1"),
        (
            "arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST",
            "arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST",
        ),
        (
            "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello",
            "arn:aws:lambda:us-east-1:000000000000:function:hello",
        ),
        ("000000000000:function:hello", "000000000000:function:hello"),
    ] {
        let answer =
            ask("POST", &format!("/2025-01-01/things/{path}/runs")).body("x").signed().to(&toy).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-name"), answer.text()),
            (200, name, "x"),
            "{path}"
        );
    }
    let answer = ask("GET", "/v/a/b%2Fc/d").signed().to(&toy).await;
    assert_eq!(answer.json(), json!("a/b/c/d"));
}

#[tokio::test]
async fn rest_json_statuses_and_empty_bodies() {
    let toy = toy(true);
    let gone = ask("DELETE", "/2025-01-01/things/x/memory").signed().to(&toy).await;
    assert_eq!((gone.status.as_u16(), gone.body.len(), gone.header("content-type")), (204, 0, ""));
    let empty = ask("GET", "/2025-01-01/things/there").signed().to(&toy).await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
    // With and without the trailing slash.
    for path in ["/2025-01-01/things", "/2025-01-01/things/"] {
        let list = ask("GET", path).signed().to(&toy).await;
        assert_eq!(list.json(), json!(["123456789012", "eu-west-1", "localhost:4566"]));
    }
}

#[tokio::test]
async fn rest_json_errors_have_their_type_in_a_header() {
    let toy = toy(true);
    let missing = ask("GET", "/2025-01-01/things/nope").signed().to(&toy).await;
    assert_eq!(missing.error(), (404, "ResourceNotFoundException".into()));
    assert_eq!(missing.json(), json!({ "Type": "User", "Message": "Thing not found: nope" }));
    assert_eq!(missing.header("x-amzn-requestid").len(), 36);

    let throttled = ask("GET", "/2025-01-01/things/throttled").signed().to(&toy).await;
    assert_eq!(throttled.error(), (429, "TooManyRequestsException".into()));
    assert_eq!(throttled.header("retry-after"), "1");
    assert_eq!(
        throttled.json(),
        json!({ "Type": "User", "message": "Rate Exceeded.", "Reason": "CallerRateLimitExceeded" })
    );

    let broken = ask("GET", "/2025-01-01/things/broken").signed().to(&toy).await;
    assert_eq!(broken.error(), (500, "ServiceException".into()));
    assert_eq!(broken.json()["Type"], "Service");

    let panicked = ask("GET", "/2025-01-01/panic").signed().to(&toy).await;
    assert_eq!(panicked.error(), (500, "ServiceException".into()));
    assert_eq!(panicked.json()["message"], "internal failure");
}

#[tokio::test]
async fn rest_json_refuses_wrong_types_missing_members_and_broken_bodies() {
    let toy = toy(true);
    let cases = [
        (r#"{"Size": "three"}"#, "SerializationException", "STRING_VALUE can not be converted to an Integer"),
        (r#"{"Size": [3]}"#, "SerializationException", "Start of list found where not expected."),
        (
            r#"{"Size": 3, "Memo": {}}"#,
            "SerializationException",
            "Start of structure or map found where not expected.",
        ),
        (
            r#"{"Size": 3, "Memo": 4}"#,
            "SerializationException",
            "NUMBER_VALUE can not be converted to a String",
        ),
        (r#"[]"#, "SerializationException", "Start of list found where not expected."),
        (
            "{}",
            "ValidationException",
            "1 validation error detected: Value null at 'size' failed to satisfy constraint: Member must not be null",
        ),
        (
            r#"{"Size": null}"#,
            "ValidationException",
            "1 validation error detected: Value null at 'size' failed to satisfy constraint: Member must not be null",
        ),
        (
            r#"{"Size": 1000}"#,
            "ValidationException",
            "1 validation error detected: Value '1000' at 'size' failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
    ];
    for (body, code, message) in cases {
        let answer = ask("PUT", "/2025-01-01/things/x").body(body).signed().to(&toy).await;
        assert_eq!(answer.error(), (400, code.into()), "{body}");
        assert_eq!(answer.json()["message"], message, "{body}");
    }
    for body in ["{", "\u{0}", "{\"Size\": 3} x", "nonsense"] {
        let answer = ask("PUT", "/2025-01-01/things/x").body(body).signed().to(&toy).await;
        assert_eq!(answer.error(), (400, "SerializationException".into()), "{body}");
        assert!(answer.text().contains("Could not parse request body into json"), "{body}");
    }
    let answer = ask("PUT", "/2025-01-01/things/x?Dry=perhaps").body(r#"{"Size":3}"#).signed().to(&toy).await;
    assert_eq!(answer.json()["message"], "STRING_VALUE can not be converted to a Boolean");
}

#[tokio::test]
async fn json_protocols_route_by_target_and_type_their_errors() {
    let toy = toy(true);
    let put =
        ask("POST", "/").target("Notes_20250101.PutNote", r#"{"groupName":"g","lines":["a"],"limit":null}"#);
    let answer = put.signed_for("notes").to(&toy).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(answer.json(), json!({ "groupName": "g", "lines": ["a"], "limit": null }));

    let none = ask("POST", "/").target("Notes_20250101.DropNote", r#"{"groupName":"there"}"#);
    let answer = none.signed_for("notes").to(&toy).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));

    let gone = |target| ask("POST", "/").target(target, r#"{"groupName":"x"}"#).signed_for("notes").to(&toy);
    let answer = gone("Notes_20250101.DropNote").await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json(),
        json!({ "__type": "ResourceNotFoundException", "message": "Thing not found: x" })
    );
    let answer = gone("Old.Notes.DropNote").await;
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.0");
    assert_eq!(answer.error(), (400, "com.amazonaws.notes#ResourceNotFoundException".into()));

    let cases = [
        (r#"{"groupName": 1}"#, "SerializationException"),
        ("", "InvalidParameterException"),
        ("{", "SerializationException"),
    ];
    for (body, code) in cases {
        let answer =
            ask("POST", "/").target("Notes_20250101.PutNote", body).signed_for("notes").to(&toy).await;
        assert_eq!(answer.error(), (400, code.into()), "{body}");
    }
}

#[tokio::test]
async fn query_takes_forms_and_query_strings_and_answers_xml() {
    let toy = toy(true);
    let form = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx%26y&DurationSeconds=900\
        &PolicyArns.member.1=p&PolicyArns.member.2=q";
    let answer = ask("POST", "/").form(form).signed_for("sts").to(&toy).await;
    assert_eq!(answer.header("content-type"), "text/xml");
    let id = answer.header("x-amzn-requestid");
    assert_eq!(
        answer.text(),
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <Arn>arn:aws:iam::1:role/x&amp;y</Arn><Account>123456789012</Account><Seconds>900</Seconds>\
             <Policies><member>p</member><member>q</member></Policies></AssumeRoleResult>\
             <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></AssumeRoleResponse>\n"
        )
    );
    let got = ask("GET", "/?Action=GetCallerIdentity&Version=2011-06-15").signed_for("sts").to(&toy).await;
    assert!(got.text().contains("<Arn>arn:aws:iam::123456789012:root</Arn>"), "{got:?}");
    let nothing = ask("POST", "/").form("Action=Nothing&Version=2011-06-15").signed_for("sts").to(&toy).await;
    assert!(nothing.text().contains("2011-06-15/\"><ResponseMetadata>"), "{nothing:?}");
}

#[tokio::test]
async fn query_errors_are_xml() {
    let toy = toy(true);
    let answer = ask("POST", "/").form("Action=Fail&Version=2011-06-15").signed_for("sts").to(&toy).await;
    let id = answer.header("x-amzn-requestid");
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.text(),
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Receiver</Type>\
             <Code>ServiceException</Code><Message>the function &lt;failed&gt; &amp; &quot;broke&quot;</Message></Error>\
             <RequestId>{id}</RequestId></ErrorResponse>\n"
        )
    );
    let cases = [
        ("Action=AssumeRole&Version=2011-06-15", (400, "ValidationError")),
        ("Action=AssumeRole&RoleArn=x&DurationSeconds=y", (400, "MalformedInput")),
        ("Version=2011-06-15", (400, "MissingAction")),
        ("Action=Nope&Version=2011-06-15", (400, "InvalidAction")),
        ("Action=GetFederationToken&Version=2011-06-15", (400, "InvalidAction")),
    ];
    for (form, (status, code)) in cases {
        let answer = ask("POST", "/").form(form).signed_for("sts").to(&toy).await;
        assert_eq!(answer.error(), (status, code.into()), "{form}");
    }
}

#[tokio::test]
async fn unknown_operations_get_an_error_that_names_them() {
    let toy = toy(true);
    let rest = ask("POST", "/2025-01-01/things/x/name").signed().to(&toy).await;
    assert_eq!(rest.error(), (404, "UnknownOperationException".into()));
    assert_eq!(rest.json()["message"], "The operation RenameThing of things is not implemented by Neap.");
    let path = ask("PATCH", "/2025-01-01/nowhere").signed().to(&toy).await;
    assert_eq!(path.error(), (404, "UnknownOperationException".into()));
    assert_eq!(path.json()["message"], "The service things has no operation PATCH /2025-01-01/nowhere.");

    for (target, message) in [
        ("Notes_20250101.TailNote", "The operation TailNote of notes is not implemented by Neap."),
        ("Notes_20250101.Nope", "The service notes has no operation Nope."),
    ] {
        let answer = ask("POST", "/").target(target, "{}").signed_for("notes").to(&toy).await;
        assert_eq!(answer.error(), (400, "UnknownOperationException".into()));
        assert_eq!(answer.json()["message"], message);
    }
    let other =
        ask("POST", "/").target("DynamoDB_20120810.PutItem", "{}").signed_for("dynamodb").to(&toy).await;
    assert_eq!(other.error(), (400, "UnknownOperationException".into()));
    assert_eq!(
        other.json()["message"],
        "The service dynamodb is not implemented by Neap (DynamoDB_20120810.PutItem)."
    );
    let rest = ask("GET", "/2025-01-01/things").signed_for("apigateway").to(&toy).await;
    assert_eq!(rest.error(), (404, "UnknownOperationException".into()));
    assert_eq!(
        rest.json()["message"],
        "The service apigateway is not implemented by Neap (GET /2025-01-01/things)."
    );
    let action = ask("POST", "/").form("Action=CreateStack&Version=2010-05-15").signed_for("cloudformation");
    let answer = action.to(&toy).await;
    assert_eq!(answer.error(), (400, "InvalidAction".into()));
    let message = "<Message>The service cloudformation is not implemented by Neap (CreateStack).</Message>";
    assert!(answer.text().contains(message), "{answer:?}");
    // Its clients read XML only.
    let zones = ask("GET", "/2013-04-01/hostedzone").signed_for("route53").to(&toy).await;
    assert_eq!(zones.error(), (400, "InvalidAction".into()));
}

#[tokio::test]
async fn unsigned_requests_are_recognised_by_path_target_action_and_host() {
    let toy = toy(false);
    let list = ask("GET", "/2025-01-01/things").to(&toy).await;
    assert_eq!(list.json(), json!(["000000000000", "us-east-1", "localhost:4566"]));
    let note = ask("POST", "/").target("Notes_20250101.PutNote", r#"{"groupName":"g"}"#).to(&toy).await;
    assert_eq!(note.status, 200);
    let who = ask("POST", "/").form("Action=GetCallerIdentity&Version=2011-06-15").to(&toy).await;
    assert!(who.text().contains("<Account>000000000000</Account>"), "{who:?}");
    let host = ask("GET", "/2025-01-01/things")
        .header("host", "things.eu-central-1.localhost.localstack.cloud:4566");
    // Not a service label that exists in AWS: the path decides, and the region of an unknown label is not taken.
    assert_eq!(host.to(&toy).await.status, 200);
    let sts = ask("POST", "/")
        .form("Action=GetCallerIdentity")
        .header("host", "sts.eu-central-1.localhost")
        .to(&toy)
        .await;
    assert_eq!(sts.status, 200, "{sts:?}");
}

#[tokio::test]
async fn twelve_digit_access_keys_name_the_account_where_nothing_is_verified() {
    let toy = toy(false);
    for (key, account) in
        [("111122223333", "111122223333"), ("test", "000000000000"), (crate::toy::KEY, "123456789012")]
    {
        let signer = wire::sign::Signer { access_key: key, secret: "whatever", ..crate::client::SIGNER };
        let list = ask("GET", "/2025-01-01/things").signed_by(&signer).to(&toy).await;
        assert_eq!(list.json()[0], account, "{key}");
        assert_eq!(list.json()[1], "eu-west-1");
    }
    let broken = ask("GET", "/2025-01-01/things").header("authorization", "Bearer x").to(&toy).await;
    assert_eq!(broken.json()[0], "000000000000");
}

#[tokio::test]
async fn mounted_handlers_answer_beside_the_services() {
    let toy = toy(true);
    let health = ask("GET", "/_neap/health").to(&toy).await;
    assert_eq!(health.json(), json!({ "status": "running" }));
    let below = ask("GET", "/_neap/other/deep?x=1").to(&toy).await;
    assert_eq!((below.status.as_u16(), below.text()), (404, "/_neap/other/deep"));
}

#[tokio::test]
async fn resources_with_host_names_of_their_own_are_no_endpoints() {
    let toy = toy(true);
    let url = |host| ask("POST", "/2025-01-01/things").body("x").header("host", host);
    let answer = url("abc.lambda-url.us-east-1.localhost.localstack.cloud:4566").to(&toy).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "abc POST /2025-01-01/things x"));
    let other = url("api.execute-api.localhost").signed().to(&toy).await;
    assert_eq!(other.status, 404);
}

#[test]
fn the_published_list_names_what_works_and_what_does_not() {
    let list = operations(Service::api(&Things::default()));
    let put = list.iter().find(|row| row.operation == "PutThing").unwrap();
    assert_eq!(
        (put.route.as_str(), put.permission),
        ("PUT /2025-01-01/things/{Name}", Some("things:PutThing"))
    );
    let rename = list.iter().find(|row| row.operation == "RenameThing").unwrap();
    assert_eq!((rename.works, rename.refusal), (false, Some("UnknownOperationException")));
    let page = operations_page([Service::api(&Things::default()), Service::api(&crate::toy::Notes)]);
    assert!(page.contains(
        "| PutThing | `PUT /2025-01-01/things/{Name}` | `things:PutThing` | TooManyRequestsException |"
    ));
    assert!(
        page.contains("| PutNote | `X-Amz-Target: Notes_20250101.PutNote` | `notes:PutNote` |  |"),
        "{page}"
    );
    assert!(page.contains("Not implemented (UnknownOperationException): RenameThing."));
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, data).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn gzip_bodies_are_unpacked_after_their_signature_is_proved() {
    for toy in [toy(true), toy(false)] {
        let packed = |path: &str, body: &[u8]| {
            ask(if path.ends_with('x') { "PUT" } else { "POST" }, path)
                .body(gzip(body))
                .header("content-encoding", "gzip")
        };
        let put = packed("/2025-01-01/things/x", br#"{"Size": 3}"#).signed().to(&toy).await;
        assert_eq!((put.status.as_u16(), &put.json()["Size"]), (201, &json!(3)), "{put:?}");
        let run = packed("/2025-01-01/things/x/runs", b"as it was").signed().to(&toy).await;
        assert_eq!((run.status.as_u16(), run.text()), (200, "as it was"));
        let note = ask("POST", "/")
            .header("x-amz-target", "Notes_20250101.PutNote")
            .header("content-encoding", "amz-1.0,gzip")
            .body(gzip(br#"{"groupName":"g"}"#))
            .signed_for("notes")
            .to(&toy)
            .await;
        assert_eq!(note.json()["groupName"], "g", "{note:?}");
        let form = gzip(b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn");
        let form = ask("POST", "/").form("").body(form).header("content-encoding", "gzip");
        let assumed = form.signed_for("sts").to(&toy).await;
        assert!(assumed.text().contains("<Arn>arn</Arn>"), "{assumed:?}");

        // A bomb: 8 MiB and a byte in 8 KiB.
        let bomb = packed("/2025-01-01/uploads", &vec![0; 8 * 1024 * 1024 + 1]).signed().to(&toy).await;
        assert_eq!(bomb.error(), (413, "UploadTooLargeException".into()));
        let fits = packed("/2025-01-01/uploads", &vec![0; 8 * 1024 * 1024]).signed().to(&toy).await;
        assert_eq!(fits.text(), "8388608");
        let broken =
            ask("POST", "/2025-01-01/things/x/runs").body("plain").header("content-encoding", "gzip");
        let broken = broken.signed().to(&toy).await;
        assert_eq!(broken.error(), (400, "SerializationException".into()));
        let other = ask("POST", "/2025-01-01/things/x/runs").body("x").header("content-encoding", "zstd");
        let other = other.signed().to(&toy).await;
        assert_eq!(other.error(), (415, "UnsupportedMediaTypeException".into()));
        assert!(other.text().contains("Content-Encoding zstd is not implemented"), "{other:?}");
    }
    let mut forged = ask("POST", "/2025-01-01/things/x/runs")
        .body(gzip(b"one"))
        .header("content-encoding", "gzip")
        .signed();
    forged.body = gzip(b"two").into();
    assert_eq!(forged.to(&toy(true)).await.error(), (403, "InvalidSignatureException".into()));
}
