//! Invoke. The path of a warm call: parse the name, look the version up in memory, hand the payload over; no store.

use super::read::find;
use crate::{
    Error, Functions, asking,
    cache::Served,
    data,
    logic::{
        aliases::Route,
        names::{self, Form},
        states::state_word,
    },
    model::{Event, Qualifier, Target},
};
use base::{
    Answer, Chunk, ExecuteError, Executed, FunctionError, FunctionErrorKind, Invocation, LaunchError, Micros,
    QueueStep, RequestId, Version, limits,
};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::StatusCode;
use serde::de::IgnoredAny;
use std::{collections::BTreeMap, sync::Arc};
use wire::{Context, RawRequest, RawResponse, Violations};

/// `InvocationType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

/// An Invoke request, checked.
#[derive(Debug)]
struct Wanted {
    target: Target,
    kind: Kind,
    tail: bool,
    client_context: Option<String>,
    trace: Option<String>,
    payload: Bytes,
}

/// One call of a version, synchronous or not.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    pub(crate) payload: Bytes,
    pub(crate) invoked_arn: String,
    pub(crate) client_context: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) tail: bool,
}

/// A call's outcome, wholly read.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Result<Bytes, FunctionError>,
    pub(crate) tail: Option<Bytes>,
}

impl Functions {
    pub(crate) async fn invoke(&self, context: &Context, request: RawRequest) -> Result<RawResponse, Error> {
        let wanted = read(context, request)?;
        let version = self.chosen(&wanted.target).await?;
        let served = self.served(&wanted.target, version).await?;
        let trace = wanted.trace.unwrap_or_else(|| trace(context.request_id, context.now.0));
        let call = Call {
            request_id: context.request_id,
            payload: wanted.payload,
            invoked_arn: wanted.target.arn(),
            client_context: wanted.client_context,
            trace: Some(trace),
            tail: wanted.tail,
        };
        match wanted.kind {
            Kind::DryRun => Ok(RawResponse::new(StatusCode::NO_CONTENT, Bytes::new())
                .header("x-amz-executed-version", version.to_string())),
            Kind::Event => {
                self.accept(wanted.target, version, call).await?;
                Ok(RawResponse::new(StatusCode::ACCEPTED, Bytes::new()))
            }
            Kind::RequestResponse => {
                let outcome = run(self, &served, call).await?;
                Ok(render(version, outcome))
            }
        }
    }

    /// The version for one invocation: that which is named, or one of those that an alias splits invocations among.
    async fn chosen(&self, target: &Target) -> Result<Version, Error> {
        let alias = match &target.qualifier {
            None => return Ok(Version::Latest),
            Some(Qualifier::Version(version)) => return Ok(*version),
            Some(Qualifier::Alias(alias)) => alias,
        };
        let route = match self.specs.route(&target.id, alias) {
            Some(route) => route,
            None => {
                let epoch = self.specs.epoch();
                let (id, name) = (target.id.clone(), alias.clone());
                let found = self.db.read(move |tx| data::alias(tx, &id, &name)).await?;
                let route = Route::of(&found.ok_or_else(|| Error::NotFound(target.arn()))?);
                self.specs.keep_route(target.id.clone(), alias.clone(), route, epoch);
                route
            }
        };
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        Ok(route.version(u64::from_le_bytes(random)))
    }

    /// What serves invocations of a version, from memory.
    pub(crate) async fn served(&self, target: &Target, version: Version) -> Result<Arc<Served>, Error> {
        if let Some(served) = self.specs.get(&target.id, version) {
            return Ok(served);
        }
        self.reservations_known().await?;
        let epoch = self.specs.epoch();
        let named = match target.version() {
            Some(_) => target.clone(),
            None => Target { id: target.id.clone(), qualifier: Some(Qualifier::Version(version)) },
        };
        let ((function, record), configs) = self
            .db
            .read(move |tx| {
                Ok::<_, Error>((find(tx, &named)?, data::list_event_configs(tx, &named.id, "", i64::MAX)?))
            })
            .await?;
        let Some(serving) = record.serving() else {
            return Err(Error::NotActive(state_word(&record.condition)));
        };
        let spec = Arc::new(record.spec(serving, function.reserved_concurrency));
        let policies =
            configs.into_iter().map(|config| (config.qualifier.clone(), config.policy())).collect();
        let served = Arc::new(Served { spec, policies });
        self.specs.keep(record.id, version, Arc::clone(&served), epoch);
        Ok(served)
    }

    /// Puts an asynchronous invocation on disk.
    async fn accept(&self, target: Target, version: Version, call: Call) -> Result<(), Error> {
        let max = self.settings.events.backlog_max;
        if self.events.backlog() >= max {
            return Err(Error::BacklogFull { max });
        }
        let accepted = self.now();
        let event = Event {
            request_id: call.request_id,
            id: target.id.clone(),
            version,
            invoked_arn: call.invoked_arn,
            payload: call.payload,
            client_context: call.client_context,
            trace: call.trace,
            accepted,
            failures: 0,
            refusals: 0,
        };
        let invoked_arn = event.invoked_arn.clone();
        self.db.write(move |tx| data::insert_event(tx, &event)).await?;
        self.meter(&target.id, &invoked_arn, QueueStep::Received);
        self.events.accepted(target.id, accepted);
        Ok(())
    }
}

/// Runs a call to its end; a package missing on this node is fetched once.
pub(crate) async fn run(functions: &Functions, served: &Served, call: Call) -> Result<Outcome, Error> {
    let invocation = Invocation {
        request_id: call.request_id,
        payload: call.payload,
        invoked_arn: call.invoked_arn,
        client_context: call.client_context,
        trace: call.trace,
        tail: call.tail,
        waited: Micros(0),
        cold: false,
    };
    let first = functions.execute.execute(Arc::clone(&served.spec), invocation.clone()).await;
    let executed = match first {
        Err(ExecuteError::Launch(cause)) if matches!(*cause, LaunchError::CodeMissing(_)) => {
            if let Err(error) = functions.code.ensure(served.spec.code).await {
                tracing::error!(code = %served.spec.code, %error, "a package is missing on this node");
                return Err(Error::Launch(cause));
            }
            functions.execute.execute(Arc::clone(&served.spec), invocation).await?
        }
        other => other?,
    };
    Ok(collect(executed).await)
}

/// Reads a streamed answer to its end.
async fn collect(executed: Executed) -> Outcome {
    let (mut chunks, mut body) = match executed.answer {
        Answer::Buffered(body) => return Outcome { answer: Ok(body), tail: executed.tail },
        Answer::Failed(error) => return Outcome { answer: Err(error), tail: executed.tail },
        Answer::Streamed { chunks, .. } => (chunks, BytesMut::new()),
    };
    let max = limits::PAYLOAD_SYNC_MAX.0;
    let mut too_large = false;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Chunk::Data(piece) if too_large || (body.len() + piece.len()) as u64 > max => too_large = true,
            Chunk::Data(piece) => body.extend_from_slice(&piece),
            Chunk::End { error: Some(error), tail } => return Outcome { answer: Err(error), tail },
            Chunk::End { error: None, tail } if too_large => {
                return Outcome { answer: Err(response_too_large(max)), tail };
            }
            Chunk::End { error: None, tail } => return Outcome { answer: Ok(body.freeze()), tail },
        }
    }
    // The last chunk never came: whatever made the stream is gone.
    let payload = r#"{"errorMessage":"the response stream was cut off","errorType":"Runtime.StreamCut"}"#;
    let error =
        FunctionError { kind: FunctionErrorKind::Unhandled, payload: Bytes::from_static(payload.as_bytes()) };
    Outcome { answer: Err(error), tail: None }
}

fn response_too_large(max: u64) -> FunctionError {
    let payload = format!(
        r#"{{"errorMessage":"Response payload size exceeded maximum allowed payload size ({max} bytes).","errorType":"Function.ResponseSizeTooLarge"}}"#
    );
    FunctionError { kind: FunctionErrorKind::Unhandled, payload: payload.into() }
}

fn render(version: Version, outcome: Outcome) -> RawResponse {
    let (body, error) = match outcome.answer {
        Ok(body) => (body, None),
        Err(error) => (error.payload, Some(error.kind)),
    };
    let mut response = RawResponse::new(StatusCode::OK, body).header("content-type", "application/json");
    response = match version {
        Version::Latest => response.header("x-amz-executed-version", "$LATEST"),
        Version::Published(number) => response.header("x-amz-executed-version", number.to_string()),
    };
    if let Some(kind) = error {
        response = response.header("x-amz-function-error", kind.as_str());
    }
    if let Some(tail) = outcome.tail {
        response =
            response.header("x-amz-log-result", base64::engine::general_purpose::STANDARD.encode(tail));
    }
    response
}

/// Takes a request apart and checks it, cheapest first.
fn read(context: &Context, mut request: RawRequest) -> Result<Wanted, Error> {
    let mut violations = Violations::default();
    let kind = match request.header("x-amz-invocation-type") {
        None | Some("RequestResponse") => Kind::RequestResponse,
        Some("Event") => Kind::Event,
        Some("DryRun") => Kind::DryRun,
        Some(other) => {
            violations.one_of("invocationType", other, &["Event", "RequestResponse", "DryRun"]);
            Kind::DryRun
        }
    };
    let tail = match request.header("x-amz-log-type") {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(other) => {
            violations.one_of("logType", other, &["None", "Tail"]);
            false
        }
    };
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    for (header, member) in
        [("x-amz-durable-execution-name", "DurableExecutionName"), ("x-amz-tenant-id", "TenantId")]
    {
        if request.headers.contains_key(header) {
            return Err(Error::Unsupported { member, reason: "leave it out" });
        }
    }
    let text = request.label("FunctionName").unwrap_or_default();
    let qualifier = request.query("Qualifier");
    let target = asking(context, "lambda:InvokeFunction", |asker| {
        names::target(asker, text, qualifier.as_deref(), Form::Namespaced)
    })?;
    let client_context = request.header("x-amz-client-context").map(client_context).transpose()?;
    let trace = request.header("x-amzn-trace-id").map(str::to_owned);
    let payload = payload(std::mem::take(&mut request.body), kind)?;
    Ok(Wanted { target, kind, tail: tail && kind == Kind::RequestResponse, client_context, trace, payload })
}

/// JSON within the bound; nothing stands for an empty object.
fn payload(body: Bytes, kind: Kind) -> Result<Bytes, Error> {
    let max_bytes = match kind {
        Kind::Event => limits::PAYLOAD_ASYNC_MAX.0,
        Kind::RequestResponse | Kind::DryRun => limits::PAYLOAD_SYNC_MAX.0,
    };
    if body.len() as u64 > max_bytes {
        return Err(Error::PayloadTooLarge { max_bytes });
    }
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let text = std::str::from_utf8(&body).map_err(|error| Error::PayloadNotJson(error.to_string()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| Error::PayloadNotJson(error.to_string()))?;
    Ok(body)
}

/// Base64 of a JSON object.
fn client_context(header: &str) -> Result<String, Error> {
    if header.len() as u64 > limits::CLIENT_CONTEXT_MAX.0 {
        return Err(Error::ClientContext);
    }
    let decoded =
        base64::engine::general_purpose::STANDARD.decode(header).map_err(|_| Error::ClientContext)?;
    let text = String::from_utf8(decoded).map_err(|_| Error::ClientContext)?;
    serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&text).map_err(|_| Error::ClientContext)?;
    Ok(text)
}

/// A trace for a call that brings none: begun now, named after the request, not sampled.
fn trace(request_id: RequestId, now_ms: i64) -> String {
    let hex: String = request_id.to_string().chars().filter(char::is_ascii_hexdigit).collect();
    let (root, parent) = (hex.get(..24).unwrap_or_default(), hex.get(16..).unwrap_or_default());
    format!("Root=1-{:08x}-{root};Parent={parent};Sampled=0", now_ms / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payloads_are_json_within_their_bound() {
        for good in ["{}", "null", " [1, 2]\n", r#""x""#, "1e3"] {
            assert_eq!(payload(good.into(), Kind::Event).unwrap(), good);
        }
        for bad in ["{", "{} {}", "nul", "{'a': 1}", "\u{1}"] {
            let told = payload(bad.into(), Kind::Event).unwrap_err().to_string();
            assert!(told.starts_with("Could not parse request body into json: "), "{told}");
        }
        assert!(payload(Bytes::from_static(b"\"\xff\""), Kind::Event).is_err());
        assert_eq!(payload(Bytes::new(), Kind::RequestResponse).unwrap(), "{}");
        let large = Bytes::from(format!("\"{}\"", "x".repeat(1024 * 1024)));
        assert_eq!(
            payload(large.clone(), Kind::Event).unwrap_err().to_string(),
            "Request must be smaller than 1048576 bytes for the InvokeFunction operation"
        );
        assert!(payload(large, Kind::RequestResponse).is_ok());
        // Nesting needs no stack.
        assert!(payload("[".repeat(500_000).into(), Kind::Event).is_err());
    }

    #[test]
    fn client_contexts_are_objects() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(client_context(&encode(r#"{"custom": {"a": 1}}"#)).unwrap(), r#"{"custom": {"a": 1}}"#);
        for bad in [
            encode("[]"),
            encode("x"),
            "%".to_owned(),
            encode(&format!("{{\"a\":\"{}\"}}", "x".repeat(4000))),
        ] {
            assert!(client_context(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn traces_have_the_form_that_daemons_read() {
        let trace = trace(RequestId::from_random([0xab; 16]), 1_763_721_060_123);
        let root = format!("{}4b{}", "ab".repeat(6), "ab".repeat(5));
        assert_eq!(trace, format!("Root=1-69203f64-{root};Parent={};Sampled=0", "ab".repeat(8)));
    }

    #[tokio::test]
    async fn streams_are_read_to_their_end() {
        let stream = |chunks: Vec<Chunk>| Executed {
            answer: Answer::Streamed {
                content_type: None,
                chunks: Box::pin(futures_util::stream::iter(chunks)),
            },
            tail: None,
        };
        let data = |text: &'static str| Chunk::Data(Bytes::from_static(text.as_bytes()));
        let whole = collect(stream(vec![
            data("ab"),
            data("c"),
            Chunk::End { error: None, tail: Some("log".into()) },
        ]))
        .await;
        assert_eq!((whole.answer.unwrap(), whole.tail), (Bytes::from("abc"), Some(Bytes::from("log"))));
        assert!(collect(stream(vec![data("ab")])).await.answer.is_err());
        let large = Chunk::Data(vec![0; 6 * 1024 * 1024].into());
        let large = collect(stream(vec![large, data("x"), Chunk::End { error: None, tail: None }])).await;
        assert!(
            String::from_utf8_lossy(&large.answer.unwrap_err().payload)
                .contains("Function.ResponseSizeTooLarge")
        );
    }

    proptest! {
        #[test]
        fn any_payload_and_context_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = payload(Bytes::from(bytes), Kind::Event);
            let _ = client_context(&text);
        }
    }
}
