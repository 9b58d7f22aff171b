//! From a request to a response: recognise, authenticate, authorise, dispatch.

use crate::{BoxError, Connection, RawRequest, RawResponse, Service};
use base::{Authorize, Clock, Credentials, Entropy, Region};
use bytes::Bytes;
use http::{Request, Response};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// The ports that the gateway needs.
#[derive(Clone)]
pub struct Ports {
    /// Secrets behind access keys.
    pub credentials: Arc<dyn Credentials>,
    /// Who may do what.
    pub authorize: Arc<dyn Authorize>,
    /// Wall clock, against which signatures expire.
    pub clock: Arc<dyn Clock>,
    /// Makes request ids.
    pub entropy: Arc<dyn Entropy>,
}

/// How the gateway behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether signatures are verified. `false` is for `neap dev` only: the access key is still looked up, so a
    /// 12-digit one can name an account, but nothing is proved.
    pub verify: bool,
    /// Region of requests that name none. Default `us-east-1`.
    pub region: Region,
    /// Largest difference between a signature's time and ours, both ways. Default 15 minutes, as AWS.
    pub skew_max: Duration,
}

/// Told about each finished request: for metrics and access logs. Never blocks.
pub trait Observe: Send + Sync {
    /// A response is about to be sent.
    fn finished(&self, request: &Finished<'_>);
}

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// Signing name; empty if not recognised.
    pub service: &'a str,
    /// Wire name of the operation; empty if not recognised.
    pub operation: &'a str,
    /// Status sent.
    pub status: u16,
    /// From the request's head until the response's head.
    pub took: Duration,
}

/// Serves a path beside the services.
pub trait Handler: Send + Sync + 'static {
    /// Answers; not authenticated by the gateway.
    fn handle(&self, request: RawRequest) -> Pin<Box<dyn Future<Output = RawResponse> + Send>>;
}

impl<F, R> Handler for F
where
    F: Fn(RawRequest) -> R + Send + Sync + 'static,
    R: Future<Output = RawResponse> + Send + 'static,
{
    fn handle(&self, request: RawRequest) -> Pin<Box<dyn Future<Output = RawResponse> + Send>> {
        Box::pin(self(request))
    }
}

/// All services behind one endpoint. Built once, then shared.
pub struct Gateway {
    ports: Ports,
    settings: Settings,
    services: Vec<Arc<dyn Service>>,
    mounts: Vec<(String, Arc<dyn Handler>)>,
    observer: Option<Arc<dyn Observe>>,
}

impl Gateway {
    /// Without services.
    pub fn new(ports: Ports, settings: Settings) -> Gateway {
        Gateway { ports, settings, services: Vec::new(), mounts: Vec::new(), observer: None }
    }

    /// Adds a service.
    pub fn service(mut self, service: Arc<impl Service>) -> Gateway {
        self.services.push(service);
        self
    }

    /// Mounts a handler at a path: exactly that path, or everything below it if it ends in `/`. Mounts go before
    /// services; the longest wins.
    pub fn mount(mut self, path: &str, handler: impl Handler) -> Gateway {
        self.mounts.push((path.to_owned(), Arc::new(handler)));
        self
    }

    /// Tells `observer` about each request.
    pub fn observe(mut self, observer: Arc<dyn Observe>) -> Gateway {
        self.observer = Some(observer);
        self
    }

    /// The tables of all services: what is published as the list of operations.
    pub fn apis(&self) -> impl Iterator<Item = &'static crate::Api> + '_ {
        self.services.iter().map(|service| service.api())
    }

    /// Answers one request. Never fails: what is wrong becomes a response.
    pub async fn handle<B>(&self, _request: Request<B>, _connection: Connection) -> Response<crate::Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let _ = (&self.ports, &self.settings, &self.observer);
        RawResponse::text(http::StatusCode::NOT_IMPLEMENTED, "not yet").0
    }
}
