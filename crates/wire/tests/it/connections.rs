//! The listener: protocols, bounds, shutdown.

use crate::{
    client::{Ask, ask},
    toy::{Toy, toy},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use wire::{Limits, serve};

struct Served {
    toy: Toy,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn served(verify: bool, limits: Limits) -> Served {
    let toy = toy(verify);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(listener, Arc::clone(&toy.gateway), limits, stopped));
    Served { toy, address, stop, task }
}

impl Served {
    async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Sends bytes and reads until the server ends the connection.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw(bytes).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn h1(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn h2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn stopped(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }
}

/// Origin form with a `host` header, as clients of HTTP/1 send it.
fn plain(ask: Ask) -> http::Request<Full<Bytes>> {
    let mut request = ask.request();
    *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
    if !request.headers().contains_key("host") {
        request.headers_mut().insert("host", "localhost:4566".parse().unwrap());
    }
    request
}

async fn text(response: http::Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn http1_and_http2_are_served_on_one_port() {
    let served = served(true, Limits::default()).await;
    let mut h1 = served.h1().await;
    for _ in 0..3 {
        let response = h1.send_request(plain(ask("GET", "/2025-01-01/things").signed())).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_11);
        assert_eq!(text(response).await.0, 200);
    }
    let mut h2 = served.h2().await;
    let run = ask("POST", "/2025-01-01/things/x/runs").body("payload");
    // Under HTTP/2 the authority stands in for `host`.
    let mut request = run.signed().request();
    request.headers_mut().remove("host");
    *request.version_mut() = http::Version::HTTP_2;
    let response = h2.send_request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(text(response).await, (200, "payload".into()));
    let wrong = h2.send_request(ask("GET", "/2025-01-01/things").request()).await.unwrap();
    assert_eq!(wrong.headers()["x-amzn-errortype"], "MissingAuthenticationTokenException");
    drop((h1, h2));
    served.stopped().await;
}

#[tokio::test]
async fn responses_stream() {
    let served = served(false, Limits::default()).await;
    let answer =
        served.exchange(b"GET /2025-01-01/stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(answer.ends_with("3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"), "{answer}");
    served.stopped().await;
}

#[tokio::test]
async fn bodies_beyond_the_bound_are_refused_without_being_read() {
    let served = served(false, Limits::default()).await;
    let code = "x-amzn-errortype: RequestTooLargeException";
    // Declared: refused at once, and no `100 Continue` either.
    let declared = served
        .exchange(b"POST /2025-01-01/things/x/runs HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 999999999999\r\n\r\n")
        .await;
    assert!(declared.starts_with("HTTP/1.1 413 "), "{declared}");
    assert!(declared.contains(code), "{declared}");
    assert!(declared.contains("Request must be smaller than 1000 bytes for the Run operation"), "{declared}");
    // In the words that the table has for it.
    let own = served
        .exchange(b"POST /2025-01-01/uploads HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 8388609\r\n\r\n")
        .await;
    assert!(own.starts_with("HTTP/1.1 413 "), "{own}");
    assert!(own.contains("x-amzn-errortype: UploadTooLargeException"), "{own}");
    assert!(
        own.contains("Request must be smaller than 8388608 bytes for the UploadThing operation"),
        "{own}"
    );
    // Chunked: refused as soon as it is too much.
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    let chunked = served
        .exchange(format!("POST /2025-01-01/things/x/runs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}").as_bytes())
        .await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    // Sent whole before the answer is read: the client still gets the answer, and keeps its connection.
    let mut h1 = served.h1().await;
    for size in [1001, 3_000_000] {
        let large = plain(ask("POST", "/2025-01-01/things/x/runs").body(vec![7; size]));
        assert_eq!(text(h1.send_request(large).await.unwrap()).await.0, 413);
        h1.ready().await.unwrap();
    }
    // At the bound.
    let fits = plain(ask("POST", "/2025-01-01/things/x/runs").body("x".repeat(1000)));
    assert_eq!(text(h1.send_request(fits).await.unwrap()).await.0, 200);
    let large = plain(ask("POST", "/2025-01-01/uploads").body(vec![7; 5_000_000]));
    assert_eq!(text(h1.send_request(large).await.unwrap()).await, (200, "5000000".into()));
    drop(h1);
    served.stopped().await;
}

#[tokio::test]
async fn continue_is_said_when_the_body_is_wanted() {
    let served = served(false, Limits::default()).await;
    let head = b"POST /2025-01-01/uploads HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    let mut stream = served.raw(head).await;
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("\r\n\r\n5"), "{rest}");
    served.stopped().await;
}

#[tokio::test]
async fn what_is_not_http_ends_the_connection_and_nothing_else() {
    let served = served(false, Limits::default()).await;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(100_000));
    for nonsense in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense nonsense nonsense",
        b"POST /2025-01-01/uploads HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        head.as_bytes(),
    ] {
        let answer = served.exchange(nonsense).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4") || !answer.starts_with("HTTP/1.1 2");
        assert!(refused, "{answer}");
    }
    let mut h1 = served.h1().await;
    assert_eq!(text(h1.send_request(plain(ask("GET", "/"))).await.unwrap()).await.0, 200);
    drop(h1);
    served.stopped().await;
}

#[tokio::test]
async fn silent_and_idle_connections_are_ended() {
    let limits = Limits { header_read_max: Duration::from_millis(100), ..Limits::default() };
    let served = served(false, limits).await;
    // Nothing at all; half a head; idle after an answer.
    for begin in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let answer = tokio::time::timeout(Duration::from_secs(10), served.exchange(begin.as_bytes())).await;
        assert!(answer.is_ok(), "{begin:?} was left open");
    }
    served.stopped().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let served = served(false, Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = served.h1().await;
    assert_eq!(text(first.send_request(plain(ask("GET", "/"))).await.unwrap()).await.0, 200);
    let mut second = served.h1().await;
    let waiting = second.send_request(plain(ask("GET", "/")));
    let mut waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    drop(first);
    assert_eq!(text(waiting.await.unwrap()).await.0, 200);
    drop(second);
    served.stopped().await;
}

#[tokio::test]
async fn requests_in_flight_are_answered_at_shutdown() {
    let served = served(false, Limits::default()).await;
    let mut h1 = served.h1().await;
    let mut idle = served.h1().await;
    assert_eq!(text(idle.send_request(plain(ask("GET", "/"))).await.unwrap()).await.0, 200);
    let waiting = tokio::spawn(async move {
        text(h1.send_request(plain(ask("GET", "/2025-01-01/wait"))).await.unwrap()).await
    });
    served.toy.things.begun.notified().await;
    let Served { toy, address, stop, task } = served;
    stop.send(()).unwrap();
    // The listener is closed first.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    toy.things.proceed.notify_one();
    assert_eq!(waiting.await.unwrap(), (200, "waited".into()));
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_within_the_drain_is_dropped() {
    let served = served(false, Limits { drain_max: Duration::from_millis(50), ..Limits::default() }).await;
    let mut h1 = served.h1().await;
    let waiting =
        tokio::spawn(async move { h1.send_request(plain(ask("GET", "/2025-01-01/wait"))).await.is_err() });
    served.toy.things.begun.notified().await;
    served.stopped().await;
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn what_a_client_began_is_finished_when_it_leaves() {
    let served = served(false, Limits::default()).await;
    let things = served.toy.things.clone();
    for (path, finished) in [("/2025-01-01/wait", 1), ("/2025-01-01/wait-in-vain", 0)] {
        let mut leaving = served.h1().await;
        let asked = tokio::spawn(async move { leaving.send_request(plain(ask("GET", path))).await.is_ok() });
        things.begun.notified().await;
        asked.abort();
        assert!(asked.await.is_err());
        if finished == 0 {
            // It ends by itself: nothing tells it to proceed.
            things.ended.notified().await;
        } else {
            // The next connection is served, so that the end of the first is known.
            text(served.h1().await.send_request(plain(ask("GET", "/"))).await.unwrap()).await;
            things.proceed.notify_one();
            things.ended.notified().await;
        }
        assert_eq!(things.waited.swap(0, std::sync::atomic::Ordering::Relaxed), finished, "{path}");
    }
    served.stopped().await;
}
