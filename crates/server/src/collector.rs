//! The HTTP connection to an OpenTelemetry collector.

use crate::config::{Otlp, OtlpError};
use base::Future;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use telemetry::otlp::{Answer, Collector};
use tokio::{net::TcpStream, time::timeout};

/// Time for a whole exchange. Source: the default of OpenTelemetry's exporters.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// Of an answer, so much is read.
const ANSWER_MAX: usize = 64 * 1024;

/// A collector, by its address. A connection for each batch: there are few, and none is kept open to nobody.
#[derive(Debug)]
pub(crate) struct HttpCollector {
    authority: String,
    address: (String, u16),
    base: String,
    headers: HeaderMap,
}

impl HttpCollector {
    /// Of an endpoint like `http://127.0.0.1:4318`, to whose path that of a signal is added.
    pub(crate) fn new(endpoint: &str, settings: &Otlp) -> Result<HttpCollector, OtlpError> {
        let refused = |reason| OtlpError::Endpoint { endpoint: endpoint.to_owned(), reason };
        let uri: Uri = endpoint.parse().map_err(|_| refused("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(refused("https is not supported; use a collector nearby over http")),
            Some(_) | None => return Err(refused("it must begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| refused("it names no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(refused("credentials belong into otlp.headers, and there is no query"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let bad = || OtlpError::Header(name.clone());
            let parsed: HeaderName = name.parse().map_err(|_| bad())?;
            if [header::HOST, header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
                .contains(&parsed)
            {
                return Err(bad());
            }
            let mut value: HeaderValue = value.parse().map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(HttpCollector {
            authority: authority.to_string(),
            address: (host, authority.port_u16().unwrap_or(80)),
            base: uri.path().trim_end_matches('/').to_owned(),
            headers,
        })
    }

    async fn exchange(
        &self,
        path: &str,
        body: Arc<Vec<u8>>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("neap/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from_owner(Shared(body))))?;
        request.headers_mut().extend(self.headers.clone());
        let talk = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            let seconds =
                head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Answer {
                status: head.status.as_u16(),
                retry_after: seconds.map(Duration::from_secs),
                body: body.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
            })
        };
        // Both end here: a connection never outlives its exchange.
        tokio::pin!(connection, talk);
        tokio::select! {
            biased;
            answer = &mut talk => answer,
            ended = &mut connection => {
                ended?;
                talk.await
            }
        }
    }
}

struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Collector for HttpCollector {
    fn post(&self, path: &'static str, body: Arc<Vec<u8>>) -> Future<'_, Result<Answer, String>> {
        Box::pin(async move {
            match timeout(EXCHANGE_MAX, self.exchange(path, body)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} s", EXCHANGE_MAX.as_secs())),
            }
        })
    }
}
