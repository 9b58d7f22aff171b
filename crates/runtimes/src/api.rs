//! The HTTP Runtime API, version 2018-06-01: how any other program serves a function.
//!
//! Source: Lambda's documentation of the API; status codes and bodies of refusals as its runtime interface emulator
//! answers them. One [`Api`] per environment; it is served on any listener and turns requests into [`Said`].

use crate::{
    extensions::{self, Extensions},
    frames::Event,
    journal::Journal,
    link::{Report, Said, Signal},
    telemetry::Hub,
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyStream, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinSet,
};

const PREFIX: &str = "/2018-06-01/runtime/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
/// Pieces of a streamed response that wait for the reader; then the runtime waits.
const WAITING_MAX: usize = 16;
/// Longest report of an error.
const REPORT_MAX: usize = 1024 * 1024;
/// Connections of one environment at once.
const CONNECTIONS_MAX: usize = 64;

/// The server's side, shared by all connections of one environment.
pub(crate) struct Api {
    state: Mutex<State>,
    /// An event waits.
    event: Notify,
    said: mpsc::Sender<Said>,
    response_max: usize,
}

struct State {
    /// The event that the next `next` takes.
    waiting: Option<(Response<Full<Bytes>>, String)>,
    /// Where the runtime is.
    at: At,
    /// How often it has asked for an event.
    asked: u64,
}

/// Life of the conversation: `Starting → Idle ⇄ Running → Answered → Idle`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Starting,
    Idle,
    Running(String),
    Answered(String),
    Failed,
}

/// The environment's end of an [`Api`].
pub(crate) struct ApiLink {
    api: Arc<Api>,
    said: mpsc::Receiver<Said>,
}

impl ApiLink {
    pub(crate) fn new(response_max: usize) -> ApiLink {
        let (sender, said) = mpsc::channel(WAITING_MAX);
        let state = Mutex::new(State { waiting: None, at: At::Starting, asked: 0 });
        ApiLink { api: Arc::new(Api { state, event: Notify::new(), said: sender, response_max }), said }
    }

    /// One that nobody serves.
    pub(crate) fn closed() -> ApiLink {
        ApiLink::new(0)
    }

    /// For [`serve`].
    pub(crate) fn api(&self) -> Arc<Api> {
        self.api.clone()
    }

    /// Offers an event to the runtime's next `next`.
    pub(crate) fn send(&self, event: &Event<'_>) {
        let response = event_response(event);
        self.api.lock().waiting = Some((response, event.request_id.to_owned()));
        self.api.event.notify_waiters();
    }

    /// Resolves when the runtime asks for another event after an answer. Cancel-safe.
    pub(crate) async fn asked_again(&self) {
        loop {
            let notified = self.api.event.notified();
            if !matches!(self.api.lock().at, At::Running(_) | At::Answered(_)) {
                return;
            }
            notified.await;
        }
    }

    /// The next thing said. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        // The sender lives in `self.api`, so the channel does not close; the process's exit is noticed elsewhere.
        self.said.recv().await.map_or(Signal::Closed, Signal::Said)
    }
}

/// What is served at one address inside.
#[derive(Default)]
pub(crate) struct Doors {
    /// Where the runtime speaks HTTP.
    pub(crate) runtime: Option<Arc<Api>>,
    pub(crate) extensions: Option<Arc<Extensions>>,
    pub(crate) telemetry: Option<Telemetry>,
}

/// Where extensions subscribe to what happens.
pub(crate) struct Telemetry {
    pub(crate) journal: Arc<Journal>,
    /// Who hears of it from the first subscription on, where nobody listens from the start.
    pub(crate) fresh: Box<dyn Fn() -> Arc<Hub> + Send + Sync>,
}

impl Doors {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(extensions) = &self.extensions
            && let Some(path) = request.uri().path().strip_prefix(extensions::PREFIX).map(str::to_owned)
        {
            return extensions.answer(&path, request).await;
        }
        if let (Some(extensions), Some(telemetry)) = (&self.extensions, &self.telemetry) {
            let family = match request.uri().path().trim_end_matches('/') {
                "/2022-07-01/telemetry" => Some(true),
                "/2020-08-15/logs" => Some(false),
                _ => None,
            };
            if let Some(is_telemetry) = family {
                return telemetry.answer(is_telemetry, extensions, request).await;
            }
        }
        match &self.runtime {
            Some(runtime) => runtime.answer(request).await,
            None => not_found(),
        }
    }
}

impl Telemetry {
    async fn answer(
        &self,
        is_telemetry: bool,
        extensions: &Extensions,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let who = match extensions.identify(request.headers()) {
            Ok(who) => who,
            Err(refused) => return *refused,
        };
        let hub = match self.journal.hub() {
            Some(hub) => hub,
            None if extensions.closed() => {
                let kind =
                    if is_telemetry { "Telemetry.SubscriptionClosed" } else { "Logs.SubscriptionClosed" };
                let text = "extensions subscribe before the runtime takes its first event";
                return refusal(StatusCode::FORBIDDEN, kind, text);
            }
            None => (self.fresh)(),
        };
        hub.answer(is_telemetry, who, request).await
    }
}

/// Serves `listener` until dropped; then every connection is closed.
pub(crate) async fn serve(listener: TcpListener, doors: Doors) {
    let doors = Arc::new(doors);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        // A reply must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let doors = doors.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let doors = doors.clone();
                async move { Ok::<_, Infallible>(doors.answer(request).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                // Pieces of a streamed response are at most this long.
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "runtime API connection ended");
            }
        });
    }
}

impl Api {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix(PREFIX) else { return not_found() };
        let parts: Vec<&str> = rest.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => self.response(id, request).await,
            (&Method::POST, ["invocation", id, "error"]) => self.error(id, request).await,
            (&Method::POST, ["init", "error"]) => self.init_error(request).await,
            (_, ["invocation", "next"] | ["invocation", _, "response" | "error"] | ["init", "error"]) => {
                refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed")
            }
            _ => not_found(),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let (first, asked) = {
            let mut state = self.lock();
            state.asked += 1;
            let first = state.at == At::Starting;
            // A runtime that asks again without having answered gets nothing new before the invocation's end.
            if !matches!(state.at, At::Running(_)) {
                state.at = At::Idle;
            }
            (first, state.asked)
        };
        // Whoever asked before has gone, or will not be heard: a runtime takes one event at a time.
        self.event.notify_waiters();
        if first && self.said.send(Said::Ready).await.is_err() {
            return gone();
        }
        loop {
            let notified = self.event.notified();
            {
                let mut state = self.lock();
                if state.asked != asked {
                    return refusal(
                        StatusCode::FORBIDDEN,
                        "InvalidStateTransition",
                        "a later request for the next invocation has taken the place of this one",
                    );
                }
                if let Some((response, id)) = state.waiting.take() {
                    state.at = At::Running(id);
                    return response;
                }
            }
            notified.await;
        }
    }

    /// Moves to [`At::Answered`] if `id` is running, else says why not.
    fn take(&self, id: &str) -> Result<(), Box<Response<Full<Bytes>>>> {
        let mut state = self.lock();
        match &state.at {
            At::Running(running) if running == id => {
                state.at = At::Answered(id.to_owned());
                Ok(())
            }
            At::Answered(answered) if answered == id => Err(Box::new(refusal(
                StatusCode::FORBIDDEN,
                "InvalidStateTransition",
                "State transition from InvocationResponse to InvocationResponse failed for runtime. Error: State transition is not allowed",
            ))),
            At::Starting | At::Idle | At::Running(_) | At::Answered(_) | At::Failed => {
                Err(Box::new(refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")))
            }
        }
    }

    async fn response(&self, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Err(refused) = self.take(id) {
            return *refused;
        }
        let mode = request.headers().get(RESPONSE_MODE).map(HeaderValue::as_bytes);
        if mode.is_some_and(|mode| mode.eq_ignore_ascii_case(b"streaming")) {
            return self.stream(request).await;
        }
        match collect(request.into_body(), self.response_max).await {
            Collected::All(body) => self.tell(Said::Response(body)).await,
            Collected::TooLarge => {
                self.tell(Said::TooLarge).await;
                let text = format!("Exceeded maximum allowed payload size ({} bytes).", self.response_max);
                refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &text)
            }
            Collected::Broken => {
                let report = own_report("Runtime.TruncatedResponse", "the response was cut off");
                self.tell(Said::Error { report, last: false }).await
            }
        }
    }

    /// Passes a streamed body on while it arrives.
    async fn stream(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        if self.said.send(Said::StreamStart { content_type }).await.is_err() {
            return gone();
        }
        let mut body = BodyStream::new(request.into_body());
        let mut trailers = None;
        while let Some(frame) = body.next().await {
            let Ok(frame) = frame else {
                let report = own_report("Runtime.TruncatedResponse", "the response stream was cut off");
                return self.tell(Said::StreamError(report)).await;
            };
            match frame.into_data() {
                Ok(data) => {
                    if self.said.send(Said::StreamData(data)).await.is_err() {
                        return gone();
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        match trailers.as_ref().and_then(trailer_report) {
            Some(report) => self.tell(Said::StreamError(report)).await,
            None => self.tell(Said::StreamEnd).await,
        }
    }

    async fn error(&self, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Err(refused) = self.take(id) {
            return *refused;
        }
        match read_report(request).await {
            Some(report) => self.tell(Said::Error { report, last: false }).await,
            None => {
                let report = own_report("Runtime.Unknown", "the error report is too long or cut off");
                self.tell(Said::Error { report, last: false }).await
            }
        }
    }

    async fn init_error(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        {
            let mut state = self.lock();
            if state.at != At::Starting {
                return refusal(
                    StatusCode::FORBIDDEN,
                    "InvalidStateTransition",
                    "State transition to InitError failed for runtime. Error: State transition is not allowed",
                );
            }
            state.at = At::Failed;
        }
        let report = read_report(request)
            .await
            .unwrap_or_else(|| own_report("Runtime.Unknown", "the error report is too long or cut off"));
        self.tell(Said::InitError(report)).await
    }

    async fn tell(&self, said: Said) -> Response<Full<Bytes>> {
        match self.said.send(said).await {
            Ok(()) => json(StatusCode::ACCEPTED, Bytes::from_static(br#"{"status":"OK"}"#)),
            Err(_) => gone(),
        }
    }
}

fn event_response(event: &Event<'_>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(event.payload.clone()));
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        // What a header cannot carry (a line break in a client context) is left out.
        if !value.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
        {
            headers.insert(name, value);
        }
    };
    set("content-type", "application/json");
    set("lambda-runtime-aws-request-id", event.request_id);
    set("lambda-runtime-deadline-ms", &event.deadline_ms.to_string());
    set("lambda-runtime-invoked-function-arn", event.arn);
    set("lambda-runtime-trace-id", event.trace);
    set("lambda-runtime-client-context", event.client_context);
    set("lambda-runtime-aws-tenant-id", event.tenant);
    response
}

pub(crate) enum Collected {
    All(Bytes),
    TooLarge,
    Broken,
}

/// Reads a body; what is longer than `max` is read and thrown away, so that the client can take the answer.
pub(crate) async fn collect(body: Incoming, max: usize) -> Collected {
    let mut body = BodyStream::new(body);
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    let mut length = 0usize;
    while let Some(frame) = body.next().await {
        let Ok(frame) = frame else { return Collected::Broken };
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > max {
            (first, all) = (Bytes::new(), Vec::new());
        } else if all.is_empty() && first.is_empty() {
            // Most bodies are one piece: kept without a copy.
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    if length > max {
        Collected::TooLarge
    } else if all.is_empty() {
        Collected::All(first)
    } else {
        Collected::All(all.into())
    }
}

async fn read_report(request: Request<Incoming>) -> Option<Report> {
    let kind = header_text(request.headers(), ERROR_TYPE);
    match collect(request.into_body(), REPORT_MAX).await {
        Collected::All(payload) => {
            let kind = kind.or_else(|| type_of(&payload)).unwrap_or_else(|| "Runtime.Unknown".to_owned());
            Some(Report { kind, payload })
        }
        Collected::TooLarge | Collected::Broken => None,
    }
}

/// The error type of a report that names it in its body only.
fn type_of(payload: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Shape {
        #[serde(rename = "errorType")]
        kind: String,
    }
    Some(serde_json::from_slice::<Shape>(payload).ok()?.kind)
}

fn trailer_report(trailers: &HeaderMap) -> Option<Report> {
    use base64::Engine;
    let kind = header_text(trailers, ERROR_TYPE)?;
    let payload = trailers
        .get(ERROR_BODY)
        .and_then(|body| base64::engine::general_purpose::STANDARD.decode(body.as_bytes()).ok())
        .map_or_else(|| own_report(&kind, "").payload, Bytes::from);
    Some(Report { kind, payload })
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (!text.is_empty()).then(|| text.chars().take(256).collect())
}

fn own_report(kind: &str, message: &str) -> Report {
    Report { kind: kind.to_owned(), payload: crate::failure::payload(kind, message) }
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    json(status, crate::failure::payload(kind, message))
}

fn gone() -> Response<Full<Bytes>> {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "ContainerError", "the environment is ending")
}

pub(crate) fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"404 page not found\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    const ID: &str = "ffffffff-ffff-4fff-bfff-ffffffffffff";

    struct Served {
        link: ApiLink,
        address: std::net::SocketAddr,
        task: tokio::task::JoinHandle<()>,
    }

    async fn served() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let link = ApiLink::new(10);
        let task = tokio::spawn(serve(listener, Doors { runtime: Some(link.api()), ..Doors::default() }));
        Served { link, address, task }
    }

    impl Served {
        /// Sends a request on a connection of its own; resolves to status and body.
        fn ask(&self, head: &str, body: &str) -> tokio::task::JoinHandle<String> {
            let request = format!("{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{body}");
            let address = self.address;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            })
        }

        fn post(&self, path: &str, headers: &str, body: &str) -> tokio::task::JoinHandle<String> {
            let head = format!("POST /2018-06-01/runtime/{path}");
            self.ask(&head, &format!("{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
        }

        fn next(&self) -> tokio::task::JoinHandle<String> {
            self.ask("GET /2018-06-01/runtime/invocation/next", "\r\n")
        }

        /// An event that the runtime has taken.
        async fn running(&mut self) {
            let next = self.next();
            if self.link.api.lock().at == At::Starting {
                assert!(matches!(self.link.next().await, Signal::Said(Said::Ready)));
            }
            self.offer("{}");
            assert!(next.await.unwrap().starts_with("HTTP/1.1 200"));
        }

        fn offer(&self, payload: &str) {
            let payload = Bytes::copy_from_slice(payload.as_bytes());
            let event = Event {
                deadline_ms: 77,
                request_id: ID,
                arn: "arn:x",
                trace: "Root=1",
                client_context: "{\"custom\":{}}",
                tenant: "t",
                payload: &payload,
            };
            self.link.send(&event);
        }

        async fn said(&mut self) -> Said {
            match self.link.next().await {
                Signal::Said(said) => said,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn next_waits_and_brings_lambdas_headers() {
        let mut served = served().await;
        let next = served.next();
        assert!(matches!(served.said().await, Said::Ready));
        assert!(!next.is_finished());
        served.offer("[1]");
        let answer = next.await.unwrap();
        for line in [
            "content-type: application/json",
            "lambda-runtime-aws-request-id: ffffffff-ffff-4fff-bfff-ffffffffffff",
            "lambda-runtime-deadline-ms: 77",
            "lambda-runtime-invoked-function-arn: arn:x",
            "lambda-runtime-trace-id: Root=1",
            "lambda-runtime-client-context: {\"custom\":{}}",
        ] {
            assert!(answer.contains(line), "{line} in {answer}");
        }
        assert!(answer.ends_with("\r\n\r\n[1]"));
        served.task.abort();
    }

    #[tokio::test]
    async fn a_runtime_that_asks_again_after_an_answer_is_noticed() {
        let mut served = served().await;
        served.running().await;
        let answer = served.post(&format!("invocation/{ID}/error"), "", "{}");
        assert!(matches!(served.said().await, Said::Error { .. }));
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 202"));
        tokio::select! {
            biased;
            () = served.link.asked_again() => panic!("it has not asked"),
            () = async {} => {}
        }
        let next = served.next();
        served.link.asked_again().await;
        next.abort();
        served.task.abort();
    }

    #[tokio::test]
    async fn answers_are_taken_once_and_for_the_right_request() {
        let mut served = served().await;
        served.running().await;
        let wrong = served.post("invocation/other/response", "", "1").await.unwrap();
        assert!(wrong.starts_with("HTTP/1.1 400") && wrong.contains("InvalidRequestID"), "{wrong}");
        let good = served.post(&format!("invocation/{ID}/response"), "", "\"ok\"");
        assert!(matches!(served.said().await, Said::Response(body) if body == "\"ok\""));
        assert!(good.await.unwrap().starts_with("HTTP/1.1 202"));
        let twice = served.post(&format!("invocation/{ID}/response"), "", "1").await.unwrap();
        assert!(twice.starts_with("HTTP/1.1 403") && twice.contains("InvalidStateTransition"), "{twice}");
        let late = served.post("init/error", "", "{}").await.unwrap();
        assert!(late.starts_with("HTTP/1.1 403"), "{late}");
        assert!(
            served.ask("GET /2018-06-01/runtime/nothing", "\r\n").await.unwrap().starts_with("HTTP/1.1 404")
        );
        assert!(served.ask("GET /", "\r\n").await.unwrap().starts_with("HTTP/1.1 404"));
        assert!(served.post("invocation/next", "", "").await.unwrap().starts_with("HTTP/1.1 405"));
        served.task.abort();
    }

    #[tokio::test]
    async fn answers_that_are_too_large_are_refused() {
        let mut served = served().await;
        served.running().await;
        let answer = served.post(&format!("invocation/{ID}/response"), "", "12345678901");
        assert!(matches!(served.said().await, Said::TooLarge));
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("(10 bytes)"), "{answer}");
        served.running().await;
        let answer = served.post(&format!("invocation/{ID}/response"), "", "1234567890");
        assert!(matches!(served.said().await, Said::Response(body) if body.len() == 10));
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 202"));
        served.task.abort();
    }

    #[tokio::test]
    async fn errors_bring_their_type_by_header_or_body() {
        let mut served = served().await;
        for (headers, body, expected) in [
            ("Lambda-Runtime-Function-Error-Type: Own.Kind\r\n", "{}", "Own.Kind"),
            ("", r#"{"errorType":"Inner"}"#, "Inner"),
            ("", "nonsense", "Runtime.Unknown"),
        ] {
            served.running().await;
            let answer = served.post(&format!("invocation/{ID}/error"), headers, body);
            match served.said().await {
                Said::Error { report, last: false } => {
                    assert_eq!((report.kind.as_str(), &report.payload[..]), (expected, body.as_bytes()))
                }
                other => panic!("{other:?}"),
            }
            assert!(answer.await.unwrap().starts_with("HTTP/1.1 202"));
        }
        served.task.abort();
    }

    #[tokio::test]
    async fn initialisation_errors_are_told() {
        let mut served = served().await;
        let answer = served.post("init/error", "Lambda-Runtime-Function-Error-Type: Own.Init\r\n", "{}");
        assert!(matches!(served.said().await, Said::InitError(report) if report.kind == "Own.Init"));
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 202"));
        served.task.abort();
    }

    #[tokio::test]
    async fn streamed_answers_pass_through_with_error_trailers() {
        let mut served = served().await;
        let path = format!("POST /2018-06-01/runtime/invocation/{ID}/response");
        let headers = "Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n";
        served.running().await;
        let answer = served.ask(&path, &format!("{headers}\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"));
        assert!(
            matches!(served.said().await, Said::StreamStart { content_type: Some(kind) } if kind == "text/x")
        );
        let mut body = Vec::new();
        loop {
            match served.said().await {
                Said::StreamData(data) => body.extend(data),
                Said::StreamEnd => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(body, b"abc");
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 202"));

        served.running().await;
        let trailers = "Lambda-Runtime-Function-Error-Type: Midway\r\nLambda-Runtime-Function-Error-Body: eyJhIjoxfQ==\r\n";
        let names = "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n";
        let answer = served.ask(&path, &format!("{headers}{names}\r\n1\r\na\r\n0\r\n{trailers}\r\n"));
        assert!(matches!(served.said().await, Said::StreamStart { .. }));
        assert!(matches!(served.said().await, Said::StreamData(data) if data == "a"));
        match served.said().await {
            Said::StreamError(report) => {
                assert_eq!((report.kind.as_str(), &report.payload[..]), ("Midway", &b"{\"a\":1}"[..]))
            }
            other => panic!("{other:?}"),
        }
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 202"));
        served.task.abort();
    }
}
