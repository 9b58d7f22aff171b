//! From a request to a response: recognise, authenticate, authorise, dispatch.

use crate::{
    BoxError, Call, Connection, Context, Error, HostRoute, RawRequest, RawResponse, Service, TooLarge,
    aside::{aside, begun_aside},
    auth::{self, Authenticator, Proof},
    body::{Arriving, Bound, Reader},
    coding::Coding,
    error,
    error::Lack,
    names,
    protocol::Protocol,
    route::{self, Recognised, Router},
};
use base::{Authorize, Clock, Credentials, Detached, Entropy, Region, RequestId, Timestamp};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, request::Parts};
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::Instrument;

/// Largest body of a mounted handler's request and of a query-protocol request, in bytes.
const PLAIN_BODY_MAX: usize = 1024 * 1024;

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
    /// Largest difference between a signature's time and ours, both ways. AWS: 15 minutes.
    pub skew_max: Duration,
    /// Longest wait for the next piece of a request's body. 60 s; a whole body may take 15 minutes.
    pub body_idle_max: Duration,
    /// Memory in bytes for all bodies above 256 KiB together; requests beyond it wait. 512 MiB.
    pub body_memory_max: usize,
}

impl Settings {
    /// With the defaults.
    pub fn new(verify: bool, region: Region) -> Settings {
        let (skew_max, body_idle_max) = (Duration::from_secs(15 * 60), Duration::from_secs(60));
        Settings { verify, region, skew_max, body_idle_max, body_memory_max: 512 * 1024 * 1024 }
    }
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

/// Serves a path beside the services, and reads bodies itself: whole, or while they arrive.
pub trait ArrivingHandler: Send + Sync + 'static {
    /// Answers; not authenticated by the gateway. The request's own body is empty.
    fn handle(
        &self,
        request: RawRequest,
        body: Arriving,
    ) -> Pin<Box<dyn Future<Output = RawResponse> + Send>>;
}

impl<F, R> ArrivingHandler for F
where
    F: Fn(RawRequest, Arriving) -> R + Send + Sync + 'static,
    R: Future<Output = RawResponse> + Send + 'static,
{
    fn handle(
        &self,
        request: RawRequest,
        body: Arriving,
    ) -> Pin<Box<dyn Future<Output = RawResponse> + Send>> {
        Box::pin(self(request, body))
    }
}

/// How a handler takes bodies.
#[derive(Clone)]
enum Handling {
    Whole(Arc<dyn Handler>),
    Arriving(Arc<dyn ArrivingHandler>),
}

/// A handler of a path.
struct Mounted {
    path: String,
    body_max: usize,
    handler: Handling,
}

/// A handler of the resources of one service label.
struct Hosted {
    service: &'static str,
    body_max: usize,
    handler: Handling,
}

/// All services behind one endpoint. Built once, then shared.
pub struct Gateway {
    ports: Ports,
    settings: Settings,
    authenticator: Authenticator,
    reader: Reader,
    router: Router,
    services: Vec<Arc<dyn Service>>,
    /// Longest path first.
    mounts: Vec<Mounted>,
    hosts: Vec<Hosted>,
    observer: Option<Arc<dyn Observe>>,
}

impl Gateway {
    /// Without services.
    pub fn new(ports: Ports, settings: Settings) -> Gateway {
        Gateway {
            authenticator: Authenticator::new(Arc::clone(&ports.credentials), &settings),
            reader: Reader::new(settings.body_idle_max, settings.body_memory_max),
            ports,
            settings,
            router: Router::default(),
            services: Vec::new(),
            mounts: Vec::new(),
            hosts: Vec::new(),
            observer: None,
        }
    }

    /// Adds a service.
    pub fn service(mut self, service: Arc<impl Service>) -> Gateway {
        self.router.add(service.api());
        self.services.push(service);
        self
    }

    /// Mounts a handler at a path: exactly that path, or everything below it if it ends in `/`. Mounts go before
    /// services; the longest wins. Bodies are bound to 1 MiB.
    pub fn mount(self, path: &str, handler: impl Handler) -> Gateway {
        self.mount_bounded(path, PLAIN_BODY_MAX, handler)
    }

    /// The same with another bound on bodies, in bytes.
    pub fn mount_bounded(self, path: &str, body_max: usize, handler: impl Handler) -> Gateway {
        self.mounted_at(path, body_max, Handling::Whole(Arc::new(handler)))
    }

    /// The same for a handler that reads bodies itself.
    pub fn mount_arriving(self, path: &str, body_max: usize, handler: impl ArrivingHandler) -> Gateway {
        self.mounted_at(path, body_max, Handling::Arriving(Arc::new(handler)))
    }

    fn mounted_at(mut self, path: &str, body_max: usize, handler: Handling) -> Gateway {
        self.mounts.push(Mounted { path: path.to_owned(), body_max, handler });
        self.mounts.sort_by_key(|mounted| std::cmp::Reverse(mounted.path.len()));
        self
    }

    /// Gives a handler every request whose host name has this service label and a resource before it
    /// ([`HostRoute`]): `lambda-url`, `execute-api`, `s3-website`. Bodies are bound to `body_max` bytes. Such requests
    /// are not AWS calls and are not authenticated by the gateway; without a handler they are refused.
    pub fn mount_host(mut self, service: &'static str, body_max: usize, handler: impl Handler) -> Gateway {
        self.hosts.push(Hosted { service, body_max, handler: Handling::Whole(Arc::new(handler)) });
        self
    }

    /// The same for a handler that reads bodies itself.
    pub fn mount_host_arriving(
        mut self,
        service: &'static str,
        body_max: usize,
        handler: impl ArrivingHandler,
    ) -> Gateway {
        self.hosts.push(Hosted { service, body_max, handler: Handling::Arriving(Arc::new(handler)) });
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
    pub async fn handle<B>(&self, request: Request<B>, connection: Connection) -> Response<crate::Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let mut seen = Seen::new(RequestId::new(self.ports.entropy.as_ref()), self.ports.clock.now());
        let (parts, body) = request.into_parts();
        // A panic in one operation is that request's 500, nothing more.
        let outcome = AssertUnwindSafe(self.answer(&mut seen, parts, body, connection)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::Internal("the operation panicked".into())));
        let mut response = outcome.unwrap_or_else(|refusal| {
            if let Error::Internal(source) = &refusal {
                let (service, operation) = (seen.service, seen.operation);
                tracing::error!(service, operation, request_id = %seen.request_id, error = %source, "request failed");
            }
            error::render_own(seen.protocol, &refusal, seen.request_id)
        });
        if let Ok(id) = HeaderValue::from_str(seen.request_id.encode(&mut [0; 36])) {
            response.0.headers_mut().insert(names::X_AMZN_REQUESTID.clone(), id);
        }
        if let Some(observer) = &self.observer {
            observer.finished(&Finished {
                service: seen.service,
                operation: seen.operation,
                status: response.0.status().as_u16(),
                took: started.elapsed(),
            });
        }
        response.0
    }

    async fn answer<B>(
        &self,
        seen: &mut Seen,
        mut parts: Parts,
        body: B,
        connection: Connection,
    ) -> Result<RawResponse, Error>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let authority = auth::authority(&parts.headers, &parts.uri).to_owned();
        let host = HostRoute::parse(&authority);
        if let Some((handler, body_max)) = self.mounted(parts.uri.path(), &host) {
            let request = |parts, bytes| raw(parts, bytes, Vec::new(), host, connection, seen.request_id);
            return Ok(match handler {
                Handling::Whole(handler) => {
                    let bound = Bound::plain(body_max, parts.uri.path());
                    let held = self.reader.read(body, &parts.headers, bound).await?;
                    begun_aside(held.bytes.len(), handler.handle(request(parts, held.bytes))).await
                }
                Handling::Arriving(handler) => {
                    let body = Arriving::new(body, &parts, body_max, &self.reader, seen.request_id);
                    handler.handle(request(parts, Bytes::new()), body).await
                }
            });
        }

        let claim = auth::claim(&parts);
        let recognised = self.router.recognise(&route::Head {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            host: &host,
            scope: claim.scope_service(),
        });
        seen.note(&recognised, &self.services);
        let service_name = match &recognised {
            Recognised::NoService { .. } | Recognised::Form { service: None } => None,
            _ => Some(seen.service),
        };
        let (proof, region) = self.authenticator.begin(&claim, service_name, &parts, &authority, seen.now)?;

        let coding = Coding::of(&parts.headers)?;
        let bound = Bound { coding, ..self.bound(&recognised, seen.operation) };
        // Its memory is held until the operation is done with the body.
        let mut held = self.reader.read(body, &parts.headers, bound).await?;
        let (recognised, form) = match recognised {
            Recognised::Form { service } => {
                let form = coding.decode(held.bytes.clone(), bound).await?;
                let recognised = self.by_form(service, &form, claim.scope_service())?;
                seen.note(&recognised, &self.services);
                (recognised, Some(form))
            }
            recognised => (recognised, None),
        };
        let Proof { principal, access_key } = aside(held.bytes.len(), || {
            self.authenticator.finish(proof, &claim, &parts, &authority, &held.bytes)
        })?;

        let (service, operation, protocol, labels) = self.found(recognised)?;
        let api = service.api();
        let Some(entry) = api.operations.get(operation) else {
            return Err(Error::unknown_operation(api, operation));
        };
        let region = region.or_else(|| host.region.clone()).unwrap_or_else(|| self.settings.region.clone());
        let span = tracing::debug_span!(
            "request",
            account = %principal.account(),
            service = api.name,
            operation = entry.name,
            request_id = %seen.request_id
        );
        drop(claim);
        if coding != Coding::Identity {
            let unpacked = match form {
                Some(form) => form,
                None => coding.decode(std::mem::take(&mut held.bytes), bound).await?,
            };
            held.replace(unpacked);
            parts.headers.remove("content-encoding");
            parts.headers.remove("content-length");
        }
        let context = Context {
            api,
            operation: entry,
            protocol,
            account: principal.account(),
            principal,
            region,
            request_id: seen.request_id,
            now: seen.now,
            authority: authority.into(),
            path: parts.uri.path().into(),
            trace: trace(&parts.headers),
            host: host.clone(),
            access_key,
            connection: connection.clone(),
            authorizer: Arc::clone(&self.ports.authorize),
        };
        let bytes = held.bytes.len();
        let call = Call {
            context,
            request: raw(parts, std::mem::take(&mut held.bytes), labels, host, connection, seen.request_id),
        };
        let called = begun_aside(bytes, service.call(operation, call).instrument(span));
        if entry.abandon {
            return called.await;
        }
        // What the client began is finished when the client leaves.
        Detached::new(called, finish).await
    }

    /// A handler for the path or the host name, and its bound on bodies.
    fn mounted(&self, path: &str, host: &HostRoute) -> Option<(Handling, usize)> {
        if host.resource.is_some()
            && let Some(service) = host.service
            && let Some(hosted) = self.hosts.iter().find(|hosted| hosted.service == service)
        {
            return Some((hosted.handler.clone(), hosted.body_max));
        }
        let found = self.mounts.iter().find(|mounted| match mounted.path.ends_with('/') {
            true => path.starts_with(mounted.path.as_str()),
            false => path == mounted.path,
        });
        found.map(|mounted| (mounted.handler.clone(), mounted.body_max))
    }

    fn by_form(&self, service: Option<usize>, body: &[u8], scope: Option<&str>) -> Result<Recognised, Error> {
        let field =
            |name: &str| form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value);
        let action = field("Action").ok_or(Error::MissingAction)?;
        Ok(self.router.action(service, &action, field("Version").as_deref(), scope))
    }

    fn bound<'a>(&self, recognised: &Recognised, name: &'a str) -> Bound<'a> {
        let entry = match recognised {
            Recognised::Operation { service, operation, .. } => {
                self.services.get(*service).and_then(|service| service.api().operations.get(*operation))
            }
            Recognised::Form { .. } => return Bound::plain(PLAIN_BODY_MAX, "query"),
            Recognised::Missing { .. } | Recognised::NoOperation { .. } | Recognised::NoService { .. } => {
                None
            }
        };
        entry.map_or(Bound::plain(PLAIN_BODY_MAX, name), |entry| {
            let TooLarge { code, operation } = entry.too_large;
            Bound { max: entry.body_max, operation, code, coding: Coding::Identity }
        })
    }

    #[allow(clippy::type_complexity)]
    fn found(
        &self,
        recognised: Recognised,
    ) -> Result<(Arc<dyn Service>, usize, &'static Protocol, Vec<(&'static str, String)>), Error> {
        let name = |service: usize| self.services.get(service).map(|service| service.api().name.into());
        let (service, operation, lack) = match recognised {
            Recognised::Operation { service, operation, protocol, labels } => {
                match self.services.get(service) {
                    Some(found) => return Ok((Arc::clone(found), operation, protocol, labels)),
                    None => (None, operation.to_string(), Lack::NoService),
                }
            }
            Recognised::Form { .. } => return Err(Error::MissingAction),
            Recognised::Missing { service, operation, .. } => {
                (name(service), operation.to_owned(), Lack::NotImplemented)
            }
            Recognised::NoOperation { service, operation, .. } => {
                (name(service), operation, Lack::NoOperation)
            }
            Recognised::NoService { service, operation, .. } => {
                (service.map(Into::into), operation, Lack::NoService)
            }
        };
        Err(Error::UnknownOperation { service, operation, lack })
    }
}

/// What is known of a request so far: for rendering its refusal and for the observer.
pub(crate) struct Seen {
    pub(crate) request_id: RequestId,
    pub(crate) now: Timestamp,
    pub(crate) protocol: &'static Protocol,
    pub(crate) service: &'static str,
    pub(crate) operation: &'static str,
}

impl Seen {
    fn new(request_id: RequestId, now: Timestamp) -> Seen {
        Seen { request_id, now, protocol: &route::REST_JSON, service: "", operation: "" }
    }

    fn note(&mut self, recognised: &Recognised, services: &[Arc<dyn Service>]) {
        let api = |service: &usize| services.get(*service).map(|service| service.api());
        match recognised {
            Recognised::Operation { service, operation, protocol, .. } => {
                self.protocol = protocol;
                if let Some(api) = api(service) {
                    self.service = api.name;
                    self.operation = api.operations.get(*operation).map_or("", |operation| operation.name);
                }
            }
            Recognised::Missing { service, protocol, operation } => {
                self.protocol = protocol;
                self.service = api(service).map_or("", |api| api.name);
                self.operation = operation;
            }
            Recognised::NoOperation { service, protocol, .. } => {
                self.protocol = protocol;
                self.service = api(service).map_or("", |api| api.name);
            }
            Recognised::NoService { protocol, .. } => self.protocol = protocol,
            Recognised::Form { service } => {
                self.protocol = &route::QUERY;
                if let Some(api) = service.as_ref().and_then(api) {
                    self.service = api.name;
                    let query = |protocol: &&Protocol| matches!(protocol, Protocol::Query { .. });
                    self.protocol = api.protocols.iter().find(query).unwrap_or(&route::QUERY);
                }
            }
        }
    }
}

/// Goes on with a call whose client has left; at the end of the node nothing does.
fn finish(rest: base::Future<'static, Result<RawResponse, Error>>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(rest);
    }
}

fn raw(
    parts: Parts,
    body: Bytes,
    labels: Vec<(&'static str, String)>,
    host: HostRoute,
    connection: Connection,
    request_id: RequestId,
) -> RawRequest {
    let Parts { method, uri, headers, .. } = parts;
    RawRequest { method, uri, headers, body, labels, host, connection, request_id }
}

/// Longest trace header that is passed on, in bytes.
const TRACE_MAX: usize = 2_048;

/// `X-Amzn-Trace-Id`, or else `traceparent` in that form.
fn trace(headers: &http::HeaderMap) -> Option<Box<str>> {
    let header = |name: &http::HeaderName| {
        headers.get(name)?.to_str().ok().filter(|text: &&str| text.len() <= TRACE_MAX)
    };
    let own = header(&names::X_AMZN_TRACE_ID).map(Box::from);
    own.or_else(|| Some(base::TraceHeader::parse_w3c(header(&names::TRACEPARENT)?)?.to_string().into()))
}
