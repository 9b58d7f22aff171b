//! The Telemetry API, version 2022-07-01, and the Logs API, version 2020-08-15: what happens in an environment, told to the
//! extensions that subscribe, by requests to a port of theirs.
//!
//! Source: Lambda's references of both. One [`Hub`] per process of a runtime; the journal tells it everything, so that
//! extensions and logs have the same figures. Before the runtime is ready everything is kept for who subscribes later.

mod queue;
mod subscription;

use crate::{
    api::{Collected, collect, json},
    failure::payload,
    journal::rfc3339,
};
use base::{Clock, RequestId, Timestamp};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use queue::Queue;
use sandbox::Sandbox;
use serde_json::{Value, json as value};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use subscription::{Destination, Dialect, Subscription, Types};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::AbortHandle};

/// Longest subscription.
const BODY_MAX: usize = 64 * 1024;
/// Events kept for who subscribes later, at most.
const BACKLOG_MAX: usize = 1_000;
/// A listener that is not there yet is looked for this often, at this distance.
const CONNECTS_MAX: u32 = 20;
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Both,
    Telemetry,
    Logs,
}

/// One event, as it is sent.
#[derive(Debug)]
pub(crate) struct Event {
    /// `type`, e.g. `platform.start`, `function`.
    kind: &'static str,
    audience: Audience,
    /// The whole JSON object.
    text: String,
}

impl Event {
    pub(crate) fn new(at: Timestamp, kind: &'static str, audience: Audience, record: &Value) -> Event {
        let text = value!({ "time": rfc3339(at), "type": kind, "record": record }).to_string();
        Event { kind, audience, text }
    }

    fn wanted(&self, dialect: Dialect, types: Types) -> bool {
        let stream = match self.kind {
            "function" => types.function,
            "extension" => types.extension,
            _ => types.platform,
        };
        let told = match (dialect, self.audience) {
            (_, Audience::Both)
            | (Dialect::Telemetry, Audience::Telemetry)
            | (Dialect::Logs { .. }, Audience::Logs) => true,
            (Dialect::Telemetry, Audience::Logs) | (Dialect::Logs { .. }, Audience::Telemetry) => false,
        };
        let late = dialect == Dialect::Logs { runtime_done: false } && self.kind == "platform.runtimeDone";
        stream && told && !late
    }
}

/// Who hears what of one process.
pub(crate) struct Hub {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// Where its subscribers are.
    sandbox: Weak<Sandbox>,
}

#[derive(Default)]
struct State {
    /// What has happened, while somebody may still subscribe.
    backlog: Option<VecDeque<Arc<Event>>>,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    extension: RequestId,
    dialect: Dialect,
    types: Types,
    queue: Arc<Queue>,
    task: AbortHandle,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

impl Hub {
    pub(crate) fn new(clock: Arc<dyn Clock>, sandbox: Weak<Sandbox>) -> Arc<Hub> {
        let state = State { backlog: Some(VecDeque::new()), subscribers: Vec::new() };
        Arc::new(Hub { state: Mutex::new(state), clock, sandbox })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event would be heard, now or later.
    pub(crate) fn listens(&self) -> bool {
        let state = self.lock();
        state.backlog.is_some() || !state.subscribers.is_empty()
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: Event) {
        let event = Arc::new(event);
        let mut state = self.lock();
        for subscriber in &state.subscribers {
            if event.wanted(subscriber.dialect, subscriber.types) {
                subscriber.queue.push(event.clone());
            }
        }
        if let Some(backlog) = &mut state.backlog {
            if backlog.len() >= BACKLOG_MAX {
                backlog.pop_front();
            }
            backlog.push_back(event);
        }
    }

    /// Nobody subscribes from now on.
    pub(crate) fn close(&self) {
        self.lock().backlog = None;
    }

    /// Sends what waits at once; resolves when it has arrived, or is lost. Cancel-safe.
    pub(crate) async fn flush(&self) {
        let queues: Vec<_> =
            self.lock().subscribers.iter().map(|subscriber| subscriber.queue.clone()).collect();
        queues.iter().for_each(|queue| queue.flush());
        for queue in queues {
            queue.drained().await;
        }
    }

    /// Sends nothing more.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.backlog = None;
        state.subscribers.drain(..).for_each(|subscriber| subscriber.task.abort());
    }

    /// Answers a request of `extension`.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        telemetry: bool,
        (extension, name): (RequestId, String),
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let family = if telemetry { "Telemetry" } else { "Logs" };
        if request.method() != Method::PUT {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed");
        }
        let Collected::All(body) = collect(request.into_body(), BODY_MAX).await else {
            return refusal(
                StatusCode::BAD_REQUEST,
                "ValidationError",
                "the subscription is too long or cut off",
            );
        };
        let wanted = match Subscription::parse(&body, telemetry) {
            Ok(wanted) => wanted,
            Err(reason) => return refusal(StatusCode::BAD_REQUEST, "ValidationError", &reason),
        };
        let words = wanted.types.words();
        if !self.subscribe(extension, wanted) {
            let kind = format!("{family}.SubscriptionClosed");
            let text = "extensions subscribe before the runtime takes its first event";
            return refusal(StatusCode::FORBIDDEN, &kind, text);
        }
        let record = value!({ "name": name, "state": "Subscribed", "types": words });
        let (kind, audience) = match telemetry {
            true => ("platform.telemetrySubscription", Audience::Telemetry),
            false => ("platform.logsSubscription", Audience::Logs),
        };
        self.tell(Event::new(self.clock.now(), kind, audience, &record));
        json(StatusCode::OK, Bytes::from_static(b"\"OK\""))
    }

    /// Takes a subscriber in, in place of its earlier subscription; false if it is too late.
    fn subscribe(self: &Arc<Self>, extension: RequestId, wanted: Subscription) -> bool {
        let mut state = self.lock();
        let Some(backlog) = &state.backlog else { return false };
        let queue = Arc::new(Queue::new(wanted.items_max, wanted.bytes_max));
        let (dialect, types) = (wanted.dialect, wanted.types);
        backlog
            .iter()
            .filter(|event| event.wanted(dialect, types))
            .for_each(|event| queue.push(event.clone()));
        let work = dispatch(self.sandbox.clone(), self.clock.clone(), queue.clone(), wanted);
        let task = tokio::spawn(work).abort_handle();
        state.subscribers.retain(|known| {
            let again = known.extension == extension;
            if again {
                known.task.abort();
            }
            !again
        });
        state.subscribers.push(Subscriber { extension, dialect, types, queue, task });
        true
    }
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    json(status, payload(kind, message))
}

/// Sends what comes into a queue, until aborted.
async fn dispatch(sandbox: Weak<Sandbox>, clock: Arc<dyn Clock>, queue: Arc<Queue>, wanted: Subscription) {
    let mut kept = None;
    loop {
        queue.something().await;
        let _ = tokio::time::timeout(wanted.timeout, queue.enough()).await;
        let batch = queue.take(Some(clock.now()));
        if batch.is_empty() {
            continue;
        }
        let sent = match &wanted.destination {
            Destination::Http { port, authority, path, put } => {
                let method = if *put { Method::PUT } else { Method::POST };
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", authority)
                    .header("content-type", "application/json")
                    .body(Full::new(array(&batch)));
                match request {
                    Ok(request) => post(&sandbox, *port, request).await,
                    Err(error) => Err(io::Error::other(error)),
                }
            }
            Destination::Tcp { port } => write(&sandbox, *port, &mut kept, &lines(&batch)).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, events = batch.len(), "telemetry could not be delivered to an extension");
            queue.lost(&batch);
        }
        queue.done();
    }
}

fn array(batch: &[Arc<Event>]) -> Bytes {
    let mut body = Vec::with_capacity(batch.iter().map(|event| event.text.len() + 1).sum::<usize>() + 2);
    for (index, event) in batch.iter().enumerate() {
        body.push(if index == 0 { b'[' } else { b',' });
        body.extend_from_slice(event.text.as_bytes());
    }
    body.push(b']');
    body.into()
}

fn lines(batch: &[Arc<Event>]) -> Vec<u8> {
    batch.iter().flat_map(|event| event.text.bytes().chain([b'\n'])).collect()
}

/// A connection to a port inside; the listener may be about to open it.
async fn connect(sandbox: &Weak<Sandbox>, port: u16) -> io::Result<TcpStream> {
    let mut tries = 0;
    loop {
        // Not held while waiting: its last owner ends the sandbox.
        let socket = {
            let sandbox = sandbox.upgrade().ok_or(io::ErrorKind::NotConnected)?;
            sandbox.socket().await.map_err(io::Error::other)?
        };
        match socket.connect((std::net::Ipv4Addr::LOCALHOST, port).into()).await {
            Ok(stream) => return Ok(stream),
            Err(error) if tries >= CONNECTS_MAX => return Err(error),
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
        tries += 1;
    }
}

async fn post(sandbox: &Weak<Sandbox>, port: u16, request: Request<Full<Bytes>>) -> io::Result<()> {
    let stream = connect(sandbox, port).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        // Read, so that the extension is not interrupted; nothing of it matters.
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        if status.is_success() { Ok(()) } else { Err(io::Error::other(format!("answered {status}"))) }
    };
    tokio::pin!(answered);
    tokio::pin!(connection);
    tokio::select! {
        answered = &mut answered => answered,
        _ = &mut connection => answered.await,
    }
}

async fn write(
    sandbox: &Weak<Sandbox>,
    port: u16,
    kept: &mut Option<TcpStream>,
    bytes: &[u8],
) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => connect(sandbox, port).await?,
    };
    stream.write_all(bytes).await?;
    *kept = Some(stream);
    Ok(())
}
