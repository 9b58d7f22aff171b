//! Invoke and InvokeWithResponseStream. The path of a warm call: parse the name, look the version up in memory, hand the payload over; no store.

mod request;
mod stream;
mod trace;

use super::read::find;
use crate::{
    Error, Functions,
    answer::cut_off,
    cache::Served,
    data,
    logic::{
        aliases::Route,
        recursion::{Looped, Mark, continued},
        sampling::DefaultRule,
        states::state_word,
    },
    model::{Event, EventConfig, Qualifier, Target, Tracing},
};
use base::{
    Answer, ArrivingBody, Attempt, Chunk, ExecuteError, Executed, FunctionError, FunctionErrorKind,
    Invocation, InvocationSpan, LaunchError, Micros, QueueStep, RequestId, TenantId, TraceHeader, Version,
    limits,
};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use request::{Kind, Wanted, read};
use std::sync::Arc;
use trace::Told;
use wire::{Context, RawRequest, RawResponse};

pub(crate) use trace::brought_trace;

static EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");

/// One call of a version, synchronous or not.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    pub(crate) payload: Bytes,
    /// Of the request that the event describes, where it is to come while the function runs.
    pub(crate) body: ArrivingBody,
    pub(crate) invoked_arn: Arc<str>,
    pub(crate) client_context: Option<String>,
    pub(crate) trace: TraceHeader,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) tail: bool,
    /// Which attempt at an event it is.
    pub(crate) attempt: Option<Attempt>,
    /// Whether pieces of the answer are passed on while it is written.
    pub(crate) streamed: bool,
}

impl Call {
    /// What a request asks for.
    fn of(context: &Context, wanted: Wanted, served: &Served) -> Call {
        Call {
            request_id: context.request_id,
            payload: wanted.payload,
            body: ArrivingBody::default(),
            invoked_arn: served.invoked_arn(&wanted.target),
            client_context: wanted.client_context,
            // One that is new gets its root where it is placed.
            trace: wanted.trace.unwrap_or_default(),
            tenant: wanted.tenant,
            tail: wanted.tail,
            attempt: None,
            streamed: false,
        }
    }

    /// The same for a caller that takes pieces.
    pub(crate) fn streamed(mut self) -> Call {
        self.streamed = true;
        self
    }

    /// The same as a link of the chain of invocations that it belongs to; refused and metered if that is a loop.
    pub(crate) fn chained(mut self, functions: &Functions, served: &Served) -> Result<Call, Error> {
        if let Err(Looped) = continued(&mut self.trace, &served.mark, served.recursion) {
            functions.meter_loop(served, &self.invoked_arn);
            return Err(Error::Recursive);
        }
        Ok(self)
    }
}

/// A call's outcome, wholly read.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Result<Bytes, FunctionError>,
    pub(crate) tail: Option<Bytes>,
}

impl Functions {
    pub(crate) async fn invoke(&self, context: &Context, request: RawRequest) -> Result<RawResponse, Error> {
        let wanted = read(context, request, &Kind::ALL)?;
        let version = self.admitted(context, &wanted.target).await?;
        let served = self.served(&wanted.target, version).await?;
        served.spec_for(wanted.tenant.as_ref())?;
        match wanted.kind {
            Kind::DryRun => Ok(RawResponse::new(StatusCode::NO_CONTENT, Bytes::new())
                .header("x-amz-executed-version", version.to_string())),
            Kind::Event => {
                let target = wanted.target.clone();
                let call = Call::of(context, wanted, &served).chained(self, &served)?;
                self.affordable(&served.spec.key, &call.invoked_arn)?;
                Box::pin(self.accept(target, version, &served, call)).await?;
                Ok(RawResponse::new(StatusCode::ACCEPTED, Bytes::new()))
            }
            Kind::RequestResponse => {
                let call = Call::of(context, wanted, &served).chained(self, &served)?;
                let outcome = run(self, &served, call).await?;
                // An error of the operation, not of the function. Source: Lambda API reference, Invoke.
                if let Err(error) = &outcome.answer
                    && let FunctionErrorKind::Restore { timed_out } = error.kind
                {
                    let reason = String::from_utf8_lossy(&error.payload).into_owned();
                    return Err(Error::NotRestored { timed_out, reason });
                }
                Ok(render(version, outcome))
            }
        }
    }

    /// The version for one invocation by a caller who may invoke the target.
    async fn admitted(&self, context: &Context, target: &Target) -> Result<Version, Error> {
        if target.id.account != context.account {
            Box::pin(self.allowed_from_outside(context, target)).await?;
        }
        self.chosen(target).await
    }

    /// The version for one invocation: that which is named, or one of those that an alias splits invocations among.
    pub(crate) async fn chosen(&self, target: &Target) -> Result<Version, Error> {
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
                let found = Box::pin(self.db.read(move |tx| data::alias(tx, &id, &name))).await?;
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
        // Boxed, as all that is rare: the future of a warm call is made and moved with each of them.
        Box::pin(async {
            self.reservations_known().await?;
            self.load(target, version).await
        })
        .await
    }

    /// The same, from the store.
    pub(crate) async fn load(&self, target: &Target, version: Version) -> Result<Arc<Served>, Error> {
        let epoch = self.specs.epoch();
        let named = match target.version() {
            Some(_) => target.clone(),
            None => Target { id: target.id.clone(), qualifier: Some(Qualifier::Version(version)) },
        };
        let ((function, record), configs, recursion) = self
            .db
            .read(move |tx| {
                Ok::<_, Error>((
                    find(tx, &named)?,
                    data::list_configs::<EventConfig>(tx, &named.id, "", i64::MAX)?,
                    data::config(tx, &named.id, &Version::Latest.to_string())?.unwrap_or_default(),
                ))
            })
            .await?;
        let Some(serving) = record.serving() else {
            return Err(Error::NotActive(state_word(&record.condition)));
        };
        let spec = Arc::new(record.spec(serving, &function));
        let policies = configs.into_iter().collect();
        let configuration = &serving.configuration;
        let sampling = (configuration.tracing == Tracing::Active).then(DefaultRule::default);
        let (per_tenant, mark) = (configuration.per_tenant, Mark::of(&record.id));
        let dead_letters = configuration.dead_letters.clone();
        let arn = record.id.arn().into();
        let served =
            Arc::new(Served { spec, arn, per_tenant, policies, dead_letters, recursion, sampling, mark });
        self.specs.keep(record.id, version, Arc::clone(&served), epoch);
        Ok(served)
    }

    /// Puts an asynchronous invocation on disk.
    pub(super) async fn accept(
        &self,
        target: Target,
        version: Version,
        served: &Served,
        call: Call,
    ) -> Result<(), Error> {
        let max = self.settings.events.backlog_max;
        if self.events.backlog() >= max {
            return Err(Error::BacklogFull { max });
        }
        let accepted = self.now();
        let request_id = call.request_id;
        let (trace, span) = self.accepted_in(served, call.trace, request_id);
        let event = Event {
            request_id: call.request_id,
            id: target.id.clone(),
            version,
            invoked_arn: call.invoked_arn.to_string(),
            payload: call.payload,
            client_context: call.client_context,
            trace: Some(trace.to_string()),
            tenant: call.tenant,
            accepted,
            failures: 0,
            refusals: 0,
            outcome: None,
        };
        let invoked_arn = event.invoked_arn.clone();
        self.db.write(move |tx| data::insert_event(tx, &event)).await?;
        self.meter(&target.id, &invoked_arn, QueueStep::Received);
        if let Some(span) = span {
            let invoked_arn = invoked_arn.into();
            self.tell_accepted(&Told { span, served, invoked_arn, request_id, began: accepted });
        }
        self.events.accepted(target.id, accepted);
        Ok(())
    }
}

/// Runs a call to its end.
pub(crate) async fn run(functions: &Functions, served: &Served, call: Call) -> Result<Outcome, Error> {
    Ok(collect(begin(functions, served, call).await?).await)
}

/// Runs a call until its answer begins; a package missing on this node is fetched once.
pub(crate) async fn begin(functions: &Functions, served: &Served, mut call: Call) -> Result<Executed, Error> {
    let (request_id, attempt) = (call.request_id, call.attempt);
    let span = functions.placed(served, &mut call.trace, request_id, attempt);
    let told = span.map(|span| {
        let (invoked_arn, began) = (Arc::clone(&call.invoked_arn), functions.now());
        Told { span, served, invoked_arn, request_id, began }
    });
    let begun = execute(functions, served, call, span).await;
    if let (Err(error), Some(told)) = (&begun, &told) {
        functions.tell_refused(told, error);
    }
    begun
}

async fn execute(
    functions: &Functions,
    served: &Served,
    call: Call,
    span: Option<InvocationSpan>,
) -> Result<Executed, Error> {
    functions.affordable(&served.spec.key, &call.invoked_arn)?;
    let invocation = || Invocation {
        request_id: call.request_id,
        payload: call.payload.clone(),
        body: call.body.clone(),
        invoked_arn: Arc::clone(&call.invoked_arn),
        client_context: call.client_context.clone(),
        trace: Some(call.trace.text()),
        span,
        tail: call.tail,
        streamed: call.streamed,
        waited: Micros(0),
        cold: false,
        provisioned: false,
    };
    let spec = served.spec_for(call.tenant.as_ref())?;
    let first = functions.execute.execute(Arc::clone(&spec), invocation()).await;
    match first {
        Err(ExecuteError::Launch(cause)) if matches!(*cause, LaunchError::CodeMissing(_)) => {
            if let Err(error) = Box::pin(functions.code.ensure_all(&served.spec)).await {
                tracing::error!(code = %served.spec.code, %error, "a package is missing on this node");
                return Err(Error::Launch(cause));
            }
            Ok(functions.execute.execute(spec, invocation()).await?)
        }
        other => Ok(other?),
    }
}

/// Reads a streamed answer to its end.
pub(crate) async fn collect(executed: Executed) -> Outcome {
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
    Outcome { answer: Err(cut_off()), tail: None }
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
    let executed = match version {
        Version::Latest => HeaderValue::from_static("$LATEST"),
        Version::Published(number) => HeaderValue::from(number),
    };
    let mut response = RawResponse::new(StatusCode::OK, body)
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(EXECUTED_VERSION.clone(), executed);
    if let Some(kind) = error {
        response = response.header("x-amz-function-error", kind.as_str());
    }
    if let Some(tail) = outcome.tail {
        response =
            response.header("x-amz-log-result", base64::engine::general_purpose::STANDARD.encode(tail));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
