//! Requests signed by others.

use crate::{
    client::{Ask, SIGNER},
    toy::toy,
};
use http::{HeaderName, Method};
use serde::Deserialize;
use std::collections::BTreeMap;
use wire::sign::{Payload, Signer};

#[derive(Deserialize)]
struct Vector {
    name: String,
    method: String,
    uri: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What `vectors.py` wrote.
#[tokio::test]
async fn requests_signed_by_botocore_are_accepted_and_altered_ones_are_not() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert!(vectors.len() > 20);
    let toy = toy(true);
    for vector in vectors {
        let ask = || Ask {
            method: vector.method.parse().unwrap(),
            uri: vector.uri.parse().unwrap(),
            headers: vector
                .headers
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect(),
            body: vector.body.clone().into(),
        };
        let answer = ask().to(&toy).await;
        assert_eq!(answer.status, 200, "{}: {}", vector.name, answer.text());
        let altered = ask().header("host", "localhost:9999").to(&toy).await;
        assert_eq!(altered.status, 403, "{}", vector.name);
    }
}

/// Two cases of the suite that AWS published with the algorithm.
#[test]
fn our_signatures_are_those_of_the_published_suite() {
    let signer = Signer { region: "us-east-1", service: "service", ..SIGNER };
    // 2015-08-30T12:36:00Z
    let at = base::Timestamp(1_440_938_160_000);
    let cases = [
        ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ];
    for (path, signature) in cases {
        let uri = format!("https://example.amazonaws.com{path}").parse().unwrap();
        let mut headers = http::HeaderMap::new();
        signer.sign(&Method::GET, &uri, &mut headers, Payload::Signed(b""), at).unwrap();
        assert_eq!(
            headers["authorization"].to_str().unwrap(),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            )
        );
    }
}
