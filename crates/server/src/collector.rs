//! The connection to an OpenTelemetry collector: OTLP by HTTP/1.1 or by gRPC, in the clear or by TLS.

use crate::{
    config::{Otlp, OtlpCompression, OtlpError, OtlpProtocol},
    tls,
};
use base::Future;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{io::Write as _, sync::Arc, time::Duration};
use telemetry::otlp::{Answer, Collector, Signal, grpc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// Time for a whole exchange. Source: the default of OpenTelemetry's exporters.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// Of an answer, so much is read.
const ANSWER_MAX: usize = 64 * 1024;
/// Headers that the protocols need for themselves.
const OWN_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::UPGRADE,
];

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream of bytes to the collector.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A collector, by its address. A connection for each batch: there are few, and none is kept open to nobody.
pub(crate) struct HttpCollector {
    authority: String,
    address: (String, u16),
    /// Scheme and authority, and the path before that of a signal.
    base: String,
    path: String,
    headers: HeaderMap,
    protocol: OtlpProtocol,
    compression: OtlpCompression,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for HttpCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpCollector({}{})", self.base, self.path)
    }
}

impl HttpCollector {
    /// Of an endpoint like `http://127.0.0.1:4318`, to whose path that of a signal is added.
    pub(crate) fn new(endpoint: &str, settings: &Otlp) -> Result<HttpCollector, OtlpError> {
        let refused = |reason| OtlpError::Endpoint { endpoint: endpoint.to_owned(), reason };
        let uri: Uri = endpoint.parse().map_err(|_| refused("it is no URL"))?;
        let authority = uri.authority().ok_or_else(|| refused("it must begin with http:// or https://"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(refused("credentials belong into otlp.headers, and there is no query"));
        }
        let path = uri.path().trim_end_matches('/');
        if settings.protocol == OtlpProtocol::Grpc && !path.is_empty() {
            return Err(refused("gRPC has no path besides its own"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (scheme, tls) = match uri.scheme_str() {
            Some("http") => ("http", None),
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| refused("it names no host"))?;
                ("https", Some((tls::connector(alpn(settings.protocol))?, name)))
            }
            Some(_) | None => return Err(refused("it must begin with http:// or https://")),
        };
        let port = authority.port_u16().unwrap_or(match (&tls, settings.protocol) {
            (_, OtlpProtocol::Grpc) => 4317,
            (Some(_), OtlpProtocol::HttpJson | OtlpProtocol::HttpProtobuf) => 443,
            (None, OtlpProtocol::HttpJson | OtlpProtocol::HttpProtobuf) => 80,
        });
        Ok(HttpCollector {
            authority: authority.to_string(),
            address: (host, port),
            base: format!("{scheme}://{authority}"),
            path: path.to_owned(),
            headers: headers(settings)?,
            protocol: settings.protocol,
            compression: settings.compression,
            tls,
        })
    }

    async fn exchange(&self, signal: Signal, message: Arc<Vec<u8>>) -> Result<Answer, BoxError> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        let stream: Box<dyn Io> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        };
        match self.protocol {
            OtlpProtocol::Grpc => self.call(stream, signal, &message).await,
            OtlpProtocol::HttpJson | OtlpProtocol::HttpProtobuf => self.post(stream, signal, message).await,
        }
    }

    async fn post(
        &self,
        stream: Box<dyn Io>,
        signal: Signal,
        message: Arc<Vec<u8>>,
    ) -> Result<Answer, BoxError> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let content_type = match self.protocol {
            OtlpProtocol::HttpJson => "application/json",
            OtlpProtocol::HttpProtobuf | OtlpProtocol::Grpc => "application/x-protobuf",
        };
        let mut request = self.request(format!("{}{}", self.path, signal.path()), content_type);
        request = request.header(header::HOST, &self.authority);
        let body = match self.compression {
            OtlpCompression::None => Bytes::from_owner(Shared(message)),
            OtlpCompression::Gzip => {
                request = request.header(header::CONTENT_ENCODING, "gzip");
                Bytes::from(gzip(&message)?)
            }
        };
        let mut request = request.body(Full::new(body))?;
        request.headers_mut().extend(self.headers.clone());
        let talk = async {
            let (head, body) = read(sender.send_request(request).await?).await;
            Ok(told(&head, body.map(|body| body.to_bytes()).unwrap_or_default()))
        };
        along(connection, talk).await
    }

    async fn call(&self, stream: Box<dyn Io>, signal: Signal, message: &[u8]) -> Result<Answer, BoxError> {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let mut request = self
            .request(format!("{}{}", self.base, signal.method()), grpc::CONTENT_TYPE)
            .version(Version::HTTP_2)
            .header(header::TE, "trailers")
            .header("grpc-timeout", format!("{}S", EXCHANGE_MAX.as_secs()));
        let body = match self.compression {
            OtlpCompression::None => grpc::frame(message, false),
            OtlpCompression::Gzip => {
                request = request.header("grpc-encoding", "gzip");
                grpc::frame(&gzip(message)?, true)
            }
        };
        let mut request = request.body(Full::new(Bytes::from(body)))?;
        request.headers_mut().extend(self.headers.clone());
        let talk = async {
            let (head, body) = read(sender.send_request(request).await?).await;
            let trailers = body.as_ref().and_then(|body| body.trailers().cloned());
            // An answer without a message says everything in its headers.
            let trailers = trailers.unwrap_or_else(|| head.headers.clone());
            let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
            let trailers = grpc::Trailers {
                status: text("grpc-status"),
                message: text("grpc-message"),
                details: text("grpc-status-details-bin"),
            };
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Ok(grpc::answer(head.status.as_u16(), trailers, &body))
        };
        along(connection, talk).await
    }

    fn request(&self, uri: String, content_type: &str) -> http::request::Builder {
        Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, concat!("neap/", env!("CARGO_PKG_VERSION")))
    }
}

/// What is spoken over TLS.
fn alpn(protocol: OtlpProtocol) -> &'static [u8] {
    match protocol {
        OtlpProtocol::Grpc => b"h2",
        OtlpProtocol::HttpJson | OtlpProtocol::HttpProtobuf => b"http/1.1",
    }
}

/// What is configured to be sent with each batch.
fn headers(settings: &Otlp) -> Result<HeaderMap, OtlpError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let bad = || OtlpError::Header(name.clone());
        let parsed: HeaderName = name.parse().map_err(|_| bad())?;
        if OWN_HEADERS.contains(&parsed) || parsed.as_str().starts_with("grpc-") {
            return Err(bad());
        }
        let mut value: HeaderValue = value.parse().map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

/// An answer's head, and its body and trailers where these came whole.
async fn read(response: Response<Incoming>) -> (http::response::Parts, Option<Collected<Bytes>>) {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await;
    (head, body.ok())
}

/// What an answer over HTTP means. Source: OpenTelemetry Protocol, "OTLP/HTTP response".
fn told(head: &http::response::Parts, body: Bytes) -> Answer {
    let text = || String::from_utf8_lossy(&body).into_owned();
    match head.status.as_u16() {
        200..=299 => Answer::Taken(body.to_vec()),
        status @ (429 | 502 | 503 | 504) => {
            let seconds = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            Answer::Later { after, why: format!("status {status}") }
        }
        status => Answer::Refused(format!("status {status}: {}", text())),
    }
}

/// Both end here: a connection never outlives its exchange.
async fn along<E: Into<BoxError>>(
    connection: impl std::future::Future<Output = Result<(), E>>,
    talk: impl std::future::Future<Output = Result<Answer, BoxError>>,
) -> Result<Answer, BoxError> {
    tokio::pin!(connection, talk);
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        ended = &mut connection => {
            ended.map_err(Into::into)?;
            talk.await
        }
    }
}

struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn gzip(message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Compression::fast());
    encoder.write_all(message)?;
    encoder.finish()
}

impl Collector for HttpCollector {
    fn export(&self, signal: Signal, body: Arc<Vec<u8>>) -> Future<'_, Result<Answer, String>> {
        Box::pin(async move {
            match timeout(EXCHANGE_MAX, self.exchange(signal, body)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} s", EXCHANGE_MAX.as_secs())),
            }
        })
    }
}
