//! The Extensions API, version 2020-01-01: programs beside the runtime that follow the life of their environment.
//!
//! Source: Lambda's documentation of the API; error types and status codes as its runtime interface emulator answers them.
//! One [`Extensions`] per process of a runtime. An *external* extension is a program of `/opt/extensions` that was started
//! before the runtime; an *internal* one is a part of the runtime's process. Both are known by the name with which they
//! register, and from then on by the identifier that they get for it.

mod registry;

use crate::{
    api::{Collected, collect, json},
    failure::{Failure, payload},
};
use base::{AccountId, FunctionSpec, RequestId, Timestamp};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
pub(crate) use registry::{Described, Kinds};
use registry::{Refusal, Registry};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Paths that begin so are ours.
pub(crate) const PREFIX: &str = "/2020-01-01/extension/";
/// Where programs are started from; inside.
pub(crate) const FOLDER: &str = "/opt/extensions";
/// Longest request.
const BODY_MAX: usize = 64 * 1024;
const IDENTIFIER: &str = "lambda-extension-identifier";

/// The extensions of one process.
pub(crate) struct Extensions {
    registry: Mutex<Registry>,
    /// Changes with every change of the registry.
    changed: watch::Sender<()>,
    /// An event waits for some extension.
    event: Notify,
    told: Told,
    fresh: Box<dyn Fn() -> RequestId + Send + Sync>,
}

/// What extensions are told of their function.
struct Told {
    name: String,
    version: String,
    handler: String,
    account: AccountId,
}

/// Why an environment is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is no longer needed.
    Spindown,
    /// An invocation took too long.
    Timeout,
    /// Something in it has failed.
    Failure,
}

impl Reason {
    /// After a failure.
    pub(crate) fn of(failure: &Failure) -> Reason {
        match failure {
            Failure::TimedOut => Reason::Timeout,
            _ => Reason::Failure,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Reason::Spindown => "spindown",
            Reason::Timeout => "timeout",
            Reason::Failure => "failure",
        }
    }
}

/// An invocation, as extensions see it.
pub(crate) struct Invoked<'a> {
    pub(crate) deadline_ms: i64,
    pub(crate) request_id: &'a str,
    pub(crate) arn: &'a str,
    pub(crate) trace: &'a str,
}

impl Extensions {
    /// `external`: file names in [`FOLDER`] that are being started.
    pub(crate) fn new(
        spec: &FunctionSpec,
        external: &[String],
        fresh: impl Fn() -> RequestId + Send + Sync + 'static,
    ) -> Arc<Extensions> {
        Arc::new(Extensions {
            registry: Mutex::new(Registry::new(external)),
            changed: watch::Sender::new(()),
            event: Notify::new(),
            told: Told {
                name: spec.key.name.to_string(),
                version: spec.key.version.to_string(),
                handler: spec.handler.clone(),
                account: spec.key.account,
            },
            fresh: Box::new(fresh),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Registry) -> T) -> T {
        let done = act(&mut self.lock());
        self.changed.send_replace(());
        done
    }

    /// Resolves when `holds` does.
    async fn until(&self, holds: impl Fn(&Registry) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(&self.lock()) {
            // The sender is in `self`.
            let _ = changed.changed().await;
        }
    }

    /// Resolves when every program that was started has registered. Cancel-safe, as all that follow.
    pub(crate) async fn registered(&self) {
        self.until(Registry::all_registered).await;
    }

    /// The runtime's process is being started: parts of it may register from now on.
    pub(crate) fn begin(&self) {
        self.change(Registry::begin);
    }

    /// The runtime takes events: nobody registers from now on.
    pub(crate) fn close(&self) {
        self.change(Registry::close);
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self.lock().any()
    }

    /// Whether there are any external ones.
    pub(crate) fn any_external(&self) -> bool {
        self.lock().any_external()
    }

    /// Whether all have asked for their next event since the last one.
    pub(crate) fn idle(&self) -> bool {
        self.lock().all_idle()
    }

    /// Resolves when that is so.
    pub(crate) async fn until_idle(&self) {
        self.until(Registry::all_idle).await;
    }

    /// Resolves when one has reported that it failed: how.
    pub(crate) async fn failed(&self) -> Failure {
        self.until(|registry| registry.failure().is_some()).await;
        let (kind, reason) = self.lock().failure().unwrap_or_default();
        Failure::Extension { kind, reason }
    }

    /// The program with this number has ended.
    pub(crate) fn lost(&self, index: usize) {
        self.change(|registry| registry.lost(index));
    }

    /// Offers an invocation to all that want to know of it.
    pub(crate) fn invoke(&self, invoked: &Invoked<'_>) {
        if !self.any() {
            return;
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Event<'a> {
            event_type: &'a str,
            deadline_ms: i64,
            request_id: &'a str,
            invoked_function_arn: &'a str,
            tracing: Tracing<'a>,
        }
        #[derive(Serialize)]
        struct Tracing<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            value: &'a str,
        }
        let event = Event {
            event_type: "INVOKE",
            deadline_ms: invoked.deadline_ms,
            request_id: invoked.request_id,
            invoked_function_arn: invoked.arn,
            tracing: Tracing { kind: "X-Amzn-Trace-Id", value: invoked.trace },
        };
        let body: Bytes = serde_json::to_vec(&event).unwrap_or_default().into();
        self.change(|registry| registry.offer(&body, |kinds| kinds.invoke));
        self.event.notify_waiters();
    }

    /// Offers the end to all that want to know of it: the numbers of those programs.
    pub(crate) fn shut_down(&self, reason: Reason, deadline: Timestamp) -> Vec<usize> {
        let body = serde_json::json!({
            "eventType": "SHUTDOWN", "shutdownReason": reason.word(), "deadlineMs": deadline.0,
        });
        let body: Bytes = body.to_string().into();
        let told = self.change(|registry| {
            registry.offer(&body, |kinds| kinds.shutdown);
            registry.external(|kinds| kinds.shutdown)
        });
        self.event.notify_waiters();
        told
    }

    /// Everyone, for the log.
    pub(crate) fn described(&self) -> Vec<Described> {
        self.lock().described()
    }

    /// Whether nobody registers, or subscribes, any more.
    pub(crate) fn closed(&self) -> bool {
        self.lock().closed()
    }

    /// Which extension a request is of.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
    ) -> Result<(RequestId, String), Box<Response<Full<Bytes>>>> {
        let known = || {
            let id = identifier(headers)?;
            Ok((id, self.lock().name_of(id).map_err(Refused)?))
        };
        known().map_err(Refused::boxed)
    }

    /// Answers a request whose path follows [`PREFIX`].
    pub(crate) async fn answer(&self, path: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = match (request.method(), path) {
            (&Method::POST, "register") => self.register(request).await,
            (&Method::GET, "event/next") => self.next(request.headers()).await,
            (&Method::POST, "init/error") => self.failure(request, "Extension.InitError").await,
            (&Method::POST, "exit/error") => self.failure(request, "Extension.ExitError").await,
            (_, "register" | "event/next" | "init/error" | "exit/error") => {
                return refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Method not allowed");
            }
            _ => return crate::api::not_found(),
        };
        answered.unwrap_or_else(|refused| *refused.boxed())
    }

    async fn register(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refused> {
        #[derive(Deserialize)]
        struct Wanted {
            events: Option<Vec<String>>,
        }
        let headers = request.headers().clone();
        let name = text(&headers, "lambda-extension-name").unwrap_or_default();
        let Collected::All(body) = collect(request.into_body(), BODY_MAX).await else {
            return Err(Refused(Refusal::Unreadable));
        };
        let wanted: Wanted = serde_json::from_slice(&body).map_err(|_| Refused(Refusal::Unreadable))?;
        let kinds = Kinds::parse(&wanted.events.unwrap_or_default()).map_err(Refused)?;
        let id = (self.fresh)();
        self.change(|registry| registry.register(name, kinds, id)).map_err(Refused)?;
        let mut answer = serde_json::json!({
            "functionName": self.told.name, "functionVersion": self.told.version, "handler": self.told.handler,
        });
        let features = text(&headers, "lambda-extension-accept-feature").unwrap_or_default();
        if features.split(',').any(|feature| feature.trim() == "accountId")
            && let Some(answer) = answer.as_object_mut()
        {
            answer.insert("accountId".into(), self.told.account.as_str().into());
        }
        let mut response = json(StatusCode::OK, answer.to_string().into());
        set(&mut response, "lambda-extension-identifier", &id.to_string());
        Ok(response)
    }

    async fn next(&self, headers: &HeaderMap) -> Result<Response<Full<Bytes>>, Refused> {
        let id = identifier(headers)?;
        self.change(|registry| registry.ask(id)).map_err(Refused)?;
        loop {
            let notified = self.event.notified();
            tokio::pin!(notified);
            // Before looking, so that what is offered in between wakes it.
            notified.as_mut().enable();
            let taken = self.lock().take(id).map_err(Refused)?;
            if let Some(body) = taken {
                self.changed.send_replace(());
                let mut response = json(StatusCode::OK, body);
                set(&mut response, "lambda-extension-event-identifier", &(self.fresh)().to_string());
                return Ok(response);
            }
            notified.await;
        }
    }

    async fn failure(
        &self,
        request: Request<Incoming>,
        kind: &'static str,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let id = identifier(request.headers())?;
        let reason = text(request.headers(), "lambda-extension-function-error-type")
            .filter(|reason| !reason.is_empty())
            .ok_or(Refused(Refusal::NoErrorType))?
            .to_owned();
        // Its text is the extension's own, and of no use to the caller of the function.
        let _ = collect(request.into_body(), BODY_MAX).await;
        self.change(|registry| registry.fail(id, kind, reason)).map_err(Refused)?;
        Ok(json(StatusCode::ACCEPTED, Bytes::from_static(br#"{"status":"OK"}"#)))
    }
}

/// A refusal on its way out.
struct Refused(Refusal);

impl Refused {
    fn boxed(self) -> Box<Response<Full<Bytes>>> {
        let status = match self.0 {
            Refusal::Unreadable => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Box::new(refusal(status, self.0.kind(), &self.0.to_string()))
    }
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    json(status, payload(kind, message))
}

fn identifier(headers: &HeaderMap) -> Result<RequestId, Refused> {
    let id = text(headers, IDENTIFIER).ok_or(Refused(Refusal::NoIdentifier))?;
    id.parse().map_err(|_| Refused(Refusal::NotAnIdentifier))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn set(response: &mut Response<Full<Bytes>>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
