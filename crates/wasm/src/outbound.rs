//! What a component may ask of others over HTTP: Neap itself by a pipe, others where `network.egress` lets functions.
//!
//! The judgement is that of sandboxes ([`sandbox::Sandboxes::connect`]), asked for each address that a name has; the daemon connects
//! to the address that was judged and to no other. A redirect is an answer like any: what the component makes of it is a request of
//! its own. Everything ends with the instance, which holds it.

mod way;

pub(crate) use way::{Reach, Ways};

use bytes::Bytes;
use http::{Method, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, timeout, timeout_at},
};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};
use way::{Connection, Target};

/// Requests of one instance at once, each with a connection of its own; more are told `connection-limit-reached`.
const REQUESTS_MAX: usize = 64;
/// Longest time for a connection, its name and TLS included, whatever the component asks for. As that of sandboxes.
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the head of an answer, and for each piece of its body, unless the component asks for less. The function's
/// timeout is never longer than 900 s.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Bytes of an answer that are read ahead, and longest head of one.
const BUFFER: usize = 64 * 1024;
/// Bytes that a component writes before it waits for whom it writes to.
const PIECE: usize = 64 * 1024;

/// Of one instance.
pub(crate) struct Outbound {
    reach: Arc<Reach>,
    places: Arc<Semaphore>,
}

type Driver = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<()>> + Send>)>;

impl Outbound {
    pub(crate) fn new(reach: Arc<Reach>) -> Outbound {
        Outbound { reach, places: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _written: Box<dyn Future<Output = Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let place = self.places.clone().try_acquire_owned();
        let reach = self.reach.clone();
        Box::new(async move {
            let place = place.map_err(|_| Error::ConnectionLimitReached)?;
            let (response, driver) = exchange(&reach, request, options.unwrap_or_default(), place).await?;
            Ok((response, Box::new(driver) as Box<dyn Future<Output = Result<()>> + Send>))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

/// One request, to the head of its answer; what comes later comes while the second is polled.
async fn exchange(
    reach: &Reach,
    mut request: Request<WasiBody>,
    options: RequestOptions,
    place: OwnedSemaphorePermit,
) -> Result<(Response<WasiBody>, Driver)> {
    if request.method() == Method::CONNECT {
        return Err(Error::HttpRequestMethodInvalid);
    }
    let target = Target::of(request.uri())?;
    let deadline = Instant::now() + options.connect_timeout.unwrap_or(CONNECT_MAX).min(CONNECT_MAX);
    let connected = timeout_at(deadline, reach.connect(&target)).await;
    let Connection { stream, held } = connected.map_err(|_| Error::ConnectionTimeout)??;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(BUFFER);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let mut driver: Driver = Box::pin(async move {
        let _held = (held, place);
        connection.await.map_err(Error::from)
    });
    // Scheme and authority are for proxies; whom the request is for is in its `host` header.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let silence = |wanted: Option<Duration>| wanted.unwrap_or(SILENCE_MAX).min(SILENCE_MAX);
    let sent = sender.send_request(request);
    let answered = async {
        tokio::pin!(sent);
        tokio::select! {
            biased;
            answered = &mut sent => answered.map_err(Error::from),
            ended = &mut driver => {
                driver = Box::pin(std::future::ready(Ok(())));
                ended?;
                sent.await.map_err(Error::from)
            }
        }
    };
    let answered = timeout(silence(options.first_byte_timeout), answered).await;
    let response = answered.map_err(|_| Error::ConnectionReadTimeout)??;
    let between = silence(options.between_bytes_timeout);
    Ok((response.map(|body| Answered::new(body, between).boxed_unsync()), driver))
}

/// The body of an answer, with an end to each silence.
struct Answered {
    body: Incoming,
    between: Duration,
    /// Armed while a piece is awaited.
    until: Option<Pin<Box<Sleep>>>,
}

impl Answered {
    fn new(body: Incoming, between: Duration) -> Answered {
        Answered { body, between, until: None }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.until = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let between = self.between;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a request goes by TLS.
fn secure(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}
