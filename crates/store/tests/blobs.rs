//! Blobs on the disk, and in an S3-compatible store where one is given.
//!
//! `NEAP_TEST_S3` names the endpoint of a store to test on, e.g. `http://127.0.0.1:5000`, in which the bucket `neap-test`
//! is made by the test with the path-style address; keys are `test`/`test`.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

use bytes::Bytes;
use futures_util::TryStreamExt;
use store::{BlobKey, BlobLocation, Blobs, Error, S3Settings};

fn key(key: &str) -> BlobKey {
    BlobKey::new(key).unwrap()
}

async fn keeps_what_it_is_given(blobs: &Blobs) {
    let package = key("code/abc.zip");
    assert!(!blobs.exists(&package).await.unwrap());
    assert!(matches!(blobs.get(&package).await, Err(Error::NoBlob { key }) if key == "code/abc.zip"));
    blobs.put(&package, Bytes::from_static(b"first")).await.unwrap();
    blobs.put(&package, Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(blobs.get(&package).await.unwrap(), "second");
    assert!(blobs.exists(&package).await.unwrap());
    blobs.put(&key("empty"), Bytes::new()).await.unwrap();
    assert_eq!(blobs.get(&key("empty")).await.unwrap(), "");

    let big: Bytes = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    blobs.put(&key("code/big"), big.clone()).await.unwrap();
    let (size, stream) = blobs.read(&key("code/big")).await.unwrap();
    let read: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(size, 3_000_000);
    assert!(read.concat() == big);
    assert!(matches!(blobs.read(&key("nothing")).await, Err(Error::NoBlob { .. })));

    blobs.put(&key("codec"), Bytes::from_static(b"x")).await.unwrap();
    let mut under = blobs.list(Some(&key("code"))).await.unwrap();
    under.sort();
    assert_eq!(under, [key("code/abc.zip"), key("code/big")]);
    assert_eq!(blobs.list(None).await.unwrap().len(), 4);
    assert!(blobs.list(Some(&key("absent"))).await.unwrap().is_empty());

    for key in blobs.list(None).await.unwrap() {
        blobs.delete(&key).await.unwrap();
        blobs.delete(&key).await.unwrap();
    }
    assert!(blobs.list(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(BlobLocation::Disk { folder: folder.path().join("made/when/missing") }).unwrap();
    keeps_what_it_is_given(&blobs).await;
}

#[tokio::test]
async fn what_is_half_written_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(BlobLocation::Disk { folder: folder.path().to_owned() }).unwrap();
    blobs.put(&key("a/whole"), Bytes::from_static(b"x")).await.unwrap();
    std::fs::write(folder.path().join("a/half#1"), "x").unwrap();
    assert_eq!(blobs.list(None).await.unwrap(), [key("a/whole")]);
}

#[tokio::test]
async fn a_failing_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(BlobLocation::Disk { folder: folder.path().to_owned() }).unwrap();
    std::fs::write(folder.path().join("a"), "a file where a folder has to be").unwrap();
    let outcome = blobs.put(&key("a/b"), Bytes::from_static(b"x")).await;
    assert!(matches!(outcome, Err(Error::Blobs { .. })), "{outcome:?}");
}

fn settings(endpoint: String, allow_http: bool) -> S3Settings {
    S3Settings {
        endpoint: Some(endpoint),
        bucket: String::from("neap-test"),
        region: String::from("us-east-1"),
        access_key: String::from("test"),
        secret_key: String::from("test-secret"),
        allow_http,
    }
}

#[tokio::test]
async fn in_an_s3_compatible_store() {
    let Ok(endpoint) = std::env::var("NEAP_TEST_S3") else {
        println!("SKIPPED blobs in an S3-compatible store: NEAP_TEST_S3 names no endpoint");
        return;
    };
    make_bucket(&endpoint);
    let blobs = Blobs::open(BlobLocation::S3(settings(endpoint, true))).unwrap();
    keeps_what_it_is_given(&blobs).await;
}

/// `PUT /neap-test` without signature, which test servers take; it may exist.
fn make_bucket(endpoint: &str) {
    use std::io::{Read, Write};
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let request = format!(
        "PUT /neap-test HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 ") || answer.contains(" 409 "), "{answer}");
}

#[test]
fn plain_http_needs_to_be_asked_for_and_secrets_are_not_shown() {
    let refused = Blobs::open(BlobLocation::S3(settings(String::from("http://127.0.0.1:1"), false)));
    assert!(matches!(refused, Err(Error::Setting { .. })), "{refused:?}");
    let shown = format!("{:?}", settings(String::from("http://127.0.0.1:1"), false));
    assert!(!shown.contains("test-secret"), "{shown}");
}
