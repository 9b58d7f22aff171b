//! Function URLs: HTTP requests as invocations, answers as HTTP responses.
//!
//! Source: Lambda's documentation of function URLs. A request is answered in this order: a preflight by the URL's rules for
//! other origins; who calls, and whether they may; the function.

use crate::{
    Error, Functions,
    answer::Pieces,
    cache::Served,
    data,
    logic::{
        cors::Cors,
        http_answer::{self, BadAnswer, Head, PRELUDE_TYPE, Prelude},
        http_event::{Incoming, Signer},
        policy::{Asked, INVOKE, INVOKE_URL, Policy, Who},
        url::{AuthType, FunctionUrl, InvokeMode, URL_PATH},
    },
    model::Target,
    ops::{Call, begin, brought_trace, collect, of_word},
};
use base::{Answer, ArrivingBody, Chunk, ServiceError as _, TraceHeader};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use wire::{Arriving, Body, BoxError, Caller, RawRequest, RawResponse, Verifier, Whole};

/// What a caller must be allowed, each by identity or by the function's policy: Lambda's rule since October 2025.
const ACTIONS: [&str; 2] = [INVOKE_URL, INVOKE];

/// A function URL, in memory.
#[derive(Debug)]
pub(crate) struct ServedUrl {
    pub(crate) target: Target,
    url: FunctionUrl,
    policy: Option<Policy>,
}

impl Functions {
    /// Serves requests to function URLs, by host name (`ID.lambda-url.REGION.…`) and below [`crate::URL_PATH`].
    pub async fn serve_url(
        self: Arc<Self>,
        verifier: Arc<Verifier>,
        request: RawRequest,
        body: Arriving,
    ) -> RawResponse {
        let (id, path) = match request.uri.path().strip_prefix(URL_PATH) {
            Some(rest) => {
                let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
                (id.to_owned(), format!("/{path}"))
            }
            None => {
                let id = request.host.resource.as_deref().unwrap_or_default();
                (id.to_owned(), request.uri.path().to_owned())
            }
        };
        let served = match self.served_url(&id).await {
            Ok(Some(served)) => served,
            Ok(None) => {
                let text = "no function has this URL";
                return unread(Some(body), refused(StatusCode::NOT_FOUND, "ResourceNotFoundException", text))
                    .await;
            }
            Err(error) => return unread(Some(body), failed(&error)).await,
        };
        let cors = served.url.cors.as_ref();
        if let Some(cors) = cors
            && Cors::is_preflight(&request.method, &request.headers)
        {
            let mut response = RawResponse::new(StatusCode::OK, Bytes::new());
            response.0.headers_mut().extend(cors.preflight(&request.headers));
            return unread(Some(body), response).await;
        }
        let asked = request.headers.clone();
        let mut response = self.invoke_url(&served, &verifier, request, body, &path).await;
        if let Some(cors) = cors {
            cors.answer(&asked, response.0.headers_mut());
        }
        response
    }

    async fn served_url(&self, id: &str) -> Result<Option<Arc<ServedUrl>>, Error> {
        if let Some(served) = self.specs.url(id) {
            return Ok(Some(served));
        }
        let (epoch, key) = (self.specs.epoch(), id.to_owned());
        let found = self
            .db
            .read(move |tx| {
                let Some((id, word, url)) = data::config_by_key::<FunctionUrl>(tx, &key)? else {
                    return Ok(None);
                };
                let policy = data::config::<Policy>(tx, &id, &word)?;
                Ok::<_, Error>(Some(ServedUrl { target: of_word(&id, &word), url, policy }))
            })
            .await?;
        let Some(served) = found.map(Arc::new) else { return Ok(None) };
        self.specs.keep_url(id.to_owned(), Arc::clone(&served), epoch);
        Ok(Some(served))
    }

    async fn invoke_url(
        &self,
        served: &ServedUrl,
        verifier: &Verifier,
        mut request: RawRequest,
        body: Arriving,
        path: &str,
    ) -> RawResponse {
        let (mut body, mut whole) = (Some(body), None);
        if served.url.auth == AuthType::AwsIam {
            // What is signed is the whole.
            whole = match read(&mut request, body.take()).await {
                Ok(whole) => whole,
                Err(refusal) => return *refusal,
            };
        }
        let (caller, version) = match self.admit(served, verifier, &request).await {
            Ok(admitted) => admitted,
            Err(refusal) => return unread(body, *refusal).await,
        };
        let arrives = body.take_if(|body| body.may_fit() && self.takes_arriving(&version));
        if body.is_some() {
            whole = match read(&mut request, body).await {
                Ok(whole) => whole,
                Err(refusal) => return *refusal,
            };
        }
        let mut call = served.call(self, &request, path, caller.as_ref());
        let exceeded = Arc::new(AtomicBool::new(false));
        let too_large = arrives.as_ref().map(Arriving::too_large);
        if let Some(body) = arrives {
            let seen = Arc::clone(&exceeded);
            let pieces = body.pieces().inspect(move |piece| {
                if piece.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::FileTooLarge) {
                    seen.store(true, Ordering::Relaxed);
                }
            });
            call.body = ArrivingBody::new(Box::pin(pieces));
        }
        let begun = async { begin(self, &version, call.chained(self, &version)?).await };
        let executed = match begun.await {
            Ok(executed) => executed,
            Err(error) => return failed(&error),
        };
        let answer = match served.url.mode {
            InvokeMode::Buffered => {
                let content_type = match &executed.answer {
                    Answer::Streamed { content_type, .. } => content_type.clone(),
                    Answer::Buffered(_) | Answer::Failed(_) => None,
                };
                buffered(collect(executed).await.answer.ok(), content_type.as_deref())
            }
            InvokeMode::ResponseStream => {
                streamed(Pieces::of(executed, self.abandoned_streams.clone())).await
            }
        };
        drop(whole);
        // Whatever the function made of the part that it got.
        if let Some(too_large) = too_large.filter(|_| exceeded.load(Ordering::Relaxed)) {
            return too_large();
        }
        answer.unwrap_or_else(|reason| {
            if let Some(reason) = reason {
                tracing::debug!(function = %served.target.arn(), %reason, "an answer is no HTTP response");
            }
            RawResponse::text(StatusCode::BAD_GATEWAY, "Internal Server Error")
                .header("x-amzn-errortype", "InternalServerErrorException")
        })
    }
}

impl Functions {
    /// Who calls, and the version that answers; else what they are told.
    async fn admit(
        &self,
        served: &ServedUrl,
        verifier: &Verifier,
        request: &RawRequest,
    ) -> Result<(Option<Caller>, Arc<Served>), Box<RawResponse>> {
        let caller = served
            .admit(verifier, request)
            .map_err(|text| Box::new(refused(StatusCode::FORBIDDEN, "AccessDeniedException", &text)))?;
        let version = async {
            let version = self.chosen(&served.target).await?;
            self.served(&served.target, version).await
        };
        Ok((caller, version.await.map_err(|error| Box::new(failed(&error)))?))
    }

    /// Whether a version reads bodies while they arrive.
    fn takes_arriving(&self, version: &Served) -> bool {
        self.code.takes_arriving(&version.spec.code, &version.spec.runtime)
    }
}

/// Reads a request's body, if it has not been.
async fn read(request: &mut RawRequest, body: Option<Arriving>) -> Result<Option<Whole>, Box<RawResponse>> {
    let Some(body) = body else { return Ok(None) };
    let whole = body.whole().await?;
    request.body = whole.bytes.clone();
    Ok(Some(whole))
}

/// An answer to a request whose body is of no interest: it is read all the same, since a client that sends all before it listens
/// would see its connection reset.
async fn unread(body: Option<Arriving>, response: RawResponse) -> RawResponse {
    if let Some(body) = body {
        let _ = body.whole().await;
    }
    response
}

impl ServedUrl {
    /// Who calls, if they may; else what they are told.
    fn admit(&self, verifier: &Verifier, request: &RawRequest) -> Result<Option<Caller>, String> {
        let allowed = |who, action| {
            let asked = Asked { who, action, url_auth: Some(self.url.auth.as_str()) };
            self.policy.as_ref().is_some_and(|policy| policy.allows(asked))
        };
        match self.url.auth {
            AuthType::None => match ACTIONS.into_iter().find(|action| !allowed(Who::Anyone, action)) {
                None => Ok(None),
                Some(action) => Err(format!(
                    "Forbidden: no statement of the function's policy allows everyone {action} by a function URL with \
                     FunctionUrlAuthType NONE"
                )),
            },
            AuthType::AwsIam => {
                let caller = verifier.verify(request, "lambda").map_err(|error| error.to_string())?;
                let at_home = caller.principal.account() == self.target.id.account;
                let denied = |action| match at_home {
                    true => {
                        verifier.authorize(&caller, action, &self.target.arn()).err().map(|d| d.to_string())
                    }
                    false => Some("Forbidden".to_owned()),
                };
                let refusal = ACTIONS.into_iter().find_map(|action| {
                    denied(action).filter(|_| !allowed(Who::Principal(&caller.principal), action))
                });
                match refusal {
                    Some(text) => Err(text),
                    None => Ok(Some(caller)),
                }
            }
        }
    }

    fn call(&self, functions: &Functions, request: &RawRequest, path: &str, caller: Option<&Caller>) -> Call {
        let brought = brought_trace(request);
        let w3c = brought.as_ref().and_then(TraceHeader::to_w3c);
        let trace = brought.unwrap_or_else(|| functions.fresh_trace(request.request_id));
        let authority = request.authority();
        let domain = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let source_ip =
            request.connection.peer.map_or_else(|| "127.0.0.1".to_owned(), |peer| peer.ip().to_string());
        let arn = caller.map(|caller| caller.principal.arn());
        let signer = caller.zip(arn.as_deref()).map(|(caller, arn)| Signer {
            account: caller.principal.account(),
            access_key: caller.access_key.as_deref().unwrap_or_default(),
            arn,
        });
        let payload = Incoming {
            method: &request.method,
            path,
            query: request.uri.query().unwrap_or_default(),
            headers: &request.headers,
            body: &request.body,
            api_id: &self.url.id,
            domain,
            source_ip: &source_ip,
            request_id: request.request_id,
            at: functions.now(),
            trace: &trace.to_string(),
            w3c: w3c.as_deref(),
            signer,
        }
        .event();
        Call {
            request_id: request.request_id,
            payload,
            invoked_arn: self.target.arn().into(),
            body: ArrivingBody::default(),
            client_context: None,
            trace,
            tenant: None,
            tail: false,
            attempt: None,
            streamed: self.url.mode == InvokeMode::ResponseStream,
        }
    }
}

/// A whole answer; no payload if the function failed. What a streaming handler wrote is the body as it is.
fn buffered(payload: Option<Bytes>, content_type: Option<&str>) -> Result<RawResponse, Option<BadAnswer>> {
    let payload = payload.ok_or(None)?;
    let (head, body) = match content_type {
        None => http_answer::buffered(&payload).map_err(Some)?,
        Some(PRELUDE_TYPE) => {
            let whole = Prelude::default().feed(&payload).map_err(Some)?;
            whole.ok_or(Some(BadAnswer::LongPrelude))?
        }
        Some(other) => (Head::ok(other), payload),
    };
    Ok(response(head, body))
}

/// An answer that leaves while it is written. Its head waits for the prelude, if the runtime announces one.
async fn streamed(mut pieces: Pieces) -> Result<RawResponse, Option<BadAnswer>> {
    let content_type = pieces.content_type.clone();
    let mut prelude = (content_type.as_deref() == Some(PRELUDE_TYPE)).then(Prelude::default);
    let mut head = Head::ok(content_type.as_deref().unwrap_or("application/json"));
    let mut first = Bytes::new();
    loop {
        match pieces.next().await {
            Some(Chunk::Data(piece)) => match &mut prelude {
                None => first = piece,
                Some(held) => match held.feed(&piece).map_err(Some)? {
                    None => continue,
                    Some((told, rest)) => (head, first) = (told, rest),
                },
            },
            Some(Chunk::End { error: None, .. }) if prelude.is_none() => {}
            // It failed before it had said anything, or within its prelude.
            Some(Chunk::End { error: Some(_), .. }) | None => return Err(None),
            Some(Chunk::End { error: None, .. }) => return Err(Some(BadAnswer::LongPrelude)),
        }
        break;
    }
    let rest = futures_util::stream::unfold(pieces, |mut pieces| async {
        let piece = match pieces.next().await? {
            Chunk::Data(piece) => Ok(piece),
            Chunk::End { error: None, .. } => return None,
            // The status is sent: only a connection that breaks off tells the client.
            Chunk::End { error: Some(error), .. } => {
                Err(BoxError::from(String::from_utf8_lossy(&error.payload).into_owned()))
            }
        };
        Some((piece, pieces))
    });
    let first = futures_util::stream::iter((!first.is_empty()).then_some(Ok(first)));
    Ok(response(head, Body::stream(first.chain(rest))))
}

fn response(head: Head, body: impl Into<Body>) -> RawResponse {
    let mut response = RawResponse::new(head.status, body);
    *response.0.headers_mut() = head.headers;
    response
}

/// What Lambda answers instead of the function.
fn refused(status: StatusCode, kind: &str, text: &str) -> RawResponse {
    RawResponse::json(status, &json!({ "Message": text })).header("x-amzn-errortype", kind)
}

/// The invocation did not begin.
fn failed(error: &Error) -> RawResponse {
    let status = wire::status(error.fault(), &wire::protocol::rest_json());
    if let [(_, reason)] = &error.members()[..]
        && let Error::Throttled(_) | Error::BudgetSpent(_) = error
    {
        let told = json!({ "Reason": reason, "Type": "User", "message": error.to_string() });
        return RawResponse::json(status, &told).header("x-amzn-errortype", error.code());
    }
    if status.is_server_error() {
        tracing::error!(%error, "a function URL failed");
        let mut response = refused(status, error.code(), "Internal Server Error");
        response.0.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    refused(status, error.code(), &error.to_string())
}
