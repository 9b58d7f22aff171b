//! An execution environment: a log stream, variables, scratch space, and a new instance for each invocation.

use crate::{
    body,
    engine::{Machine, Running},
    outbound::{Outbound, Reach},
    output::Output,
    program::{Kind, Program},
    request::{self, Told, Wanted},
    response,
    run::{Conversation, Instance, Origin, Work, failure, late, panicked, share_time},
    state::{Bounds, ModuleState, State, Watch},
};
use base::{
    After, Answer, Chunk, Executed, Exit, Future, Invocation, Phases, Release, limits::PAYLOAD_STREAM_MAX,
};
use bytes::{Bytes, BytesMut};
use http::response::Parts;
use runtimes::{Begun, Ended, Hosted, HostedError, detached, pieces_of};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::{OwnedMutexGuard, mpsc, watch};
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, p2::pipe::MemoryInputPipe};
use wasmtime_wasi_http::p2::{bindings::ProxyPre, body::HyperOutgoingBody};

/// Pieces of a streamed answer that wait for its reader; then the function waits.
const PIECES_MAX: usize = 16;
/// The trace of an invocation, for libraries that look for it. Source: Lambda's developer guide.
const TRACE_VARIABLE: &str = "_X_AMZN_TRACE_ID";

/// What the fleet holds.
pub(crate) struct Environment {
    pub(crate) hosted: Arc<Hosted>,
    pub(crate) program: Arc<Program>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) phases: Phases,
    pub(crate) scratch: Option<Scratch>,
    pub(crate) reach: Arc<Reach>,
    /// Whether an instance serves more than one invocation.
    pub(crate) reuse: bool,
    pub(crate) state: Shared,
}

/// Scratch space: where it is for the host, as long as it is kept.
pub(crate) struct Scratch {
    pub(crate) path: std::path::PathBuf,
    pub(crate) _kept: sandbox::ScratchSpace,
}

/// What changes while it lives.
pub(crate) struct Shared {
    /// Whether it has served an invocation.
    served: AtomicBool,
    kept: Mutex<Option<Box<Instance>>>,
    /// Held by the invocation that runs.
    busy: Arc<tokio::sync::Mutex<()>>,
    stop: watch::Sender<bool>,
    ended: watch::Sender<Option<Exit>>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            served: AtomicBool::new(false),
            kept: Mutex::default(),
            busy: Arc::default(),
            stop: watch::Sender::new(false),
            ended: watch::Sender::new(None),
        }
    }
}

/// One invocation under way.
struct Turn {
    call: Invocation,
    begun: Begun,
    release: Release,
    watch: Arc<Watch>,
    log: Output,
    stop: watch::Receiver<bool>,
    _running: Running,
    _busy: OwnedMutexGuard<()>,
}

impl base::Environment for Environment {
    fn invoke(self: Arc<Self>, call: Invocation, release: Release) -> Future<'static, Executed> {
        Box::pin(detached(self.run(call, release)))
    }

    fn phases(&self) -> Phases {
        self.phases
    }

    fn memory_bytes(&self) -> u64 {
        let kept = self.state.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = kept.as_ref().map(|instance| instance.store.data().bounds.watch().clone());
        watch.map_or(0, |watch| watch.peak.load(Ordering::Relaxed))
    }

    fn ended(&self) -> Future<'static, Exit> {
        let mut ended = self.state.ended.subscribe();
        Box::pin(async move {
            // A sender that is gone is an environment that was dropped.
            ended.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Stopped)
        })
    }

    fn stop(self: Arc<Self>) -> Future<'static, ()> {
        Box::pin(detached(async move {
            self.state.stop.send_replace(true);
            let busy = self.state.busy.lock().await;
            self.state.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(busy);
            self.hosted.flush();
            self.state.ended.send_replace(Some(Exit::Stopped));
        }))
    }
}

impl Environment {
    async fn run(self: Arc<Self>, call: Invocation, release: Release) -> Executed {
        let busy = self.state.busy.clone().lock_owned().await;
        let first = !self.state.served.swap(true, Ordering::Relaxed);
        let begun = self.hosted.begin(&call, first.then_some(self.phases));
        let turn = Turn {
            call,
            begun,
            release,
            watch: Arc::default(),
            log: Output::log(self.hosted.printer()),
            stop: self.state.stop.subscribe(),
            _running: self.machine.running(),
            _busy: busy,
        };
        match &self.program.kind {
            Kind::Component(pre) => self.clone().component(pre.clone(), turn).await,
            Kind::Module(pre) => self.module(pre, turn).await,
        }
    }

    async fn component(self: Arc<Self>, pre: ProxyPre<State>, turn: Turn) -> Executed {
        let spec = self.hosted.spec();
        let Wanted { request, http } = request::request(
            &turn.call,
            &Told {
                at: self.hosted.ports().clock.now(),
                deadline_at: turn.begun.deadline_at,
                trace: &turn.begun.trace,
                tenant: spec.key.tenant.as_ref(),
                handler: &spec.handler,
            },
        );
        let arriving = turn.call.body.take();
        let request = request.map(|whole| body::of(whole, arriving));
        let origin = match self.origin(pre, &turn) {
            Ok(origin) => origin,
            Err(error) => return self.answered(turn, Err(error)),
        };
        let elsewhere = self.machine.heavy(self.hosted.spec().memory);
        let (watch, stop) = (turn.watch.clone(), turn.stop.clone());
        let mut conversation =
            Conversation::begin(origin, request, watch, turn.begun.deadline, stop, elsewhere);
        let (parts, body) = match conversation.head().await {
            Ok(response) => response.into_parts(),
            Err(error) => return self.answered(turn, Err(error)),
        };
        if turn.call.streamed && (http || parts.status.is_success()) {
            return self.stream(turn, conversation, parts, body, http);
        }
        let outcome = self.collect(conversation, body).await.and_then(|body| match http {
            true => Ok(response::described(&parts, &body)),
            false => response::answer(parts.status, body),
        });
        let outcome = outcome.and_then(|body| match body.len() > HostedError::RESPONSE_MAX {
            true => Err(HostedError::TooLarge),
            false => Ok(body),
        });
        self.answered(turn, outcome)
    }

    /// Reads a whole answer, and lets the handler come to its end.
    async fn collect(
        &self,
        mut conversation: Conversation,
        mut body: HyperOutgoingBody,
    ) -> Result<Bytes, HostedError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = conversation.piece(&mut body).await {
            let piece = piece?;
            if whole.len() + piece.len() > HostedError::RESPONSE_MAX {
                return Err(HostedError::TooLarge);
            }
            whole.extend_from_slice(&piece);
        }
        drop(body);
        self.keep(conversation.end().await?);
        Ok(whole.freeze())
    }

    /// Passes an answer on while it is written.
    fn stream(
        self: Arc<Self>,
        turn: Turn,
        mut conversation: Conversation,
        parts: Parts,
        mut body: HyperOutgoingBody,
        http: bool,
    ) -> Executed {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let content_type = match http {
            true => Some(response::PRELUDE_TYPE.to_owned()),
            false => {
                let named = parts.headers.get(http::header::CONTENT_TYPE);
                named.and_then(|value| value.to_str().ok()).map(str::to_owned)
            }
        };
        tokio::spawn(async move {
            let mut produced = 0;
            if http {
                let _ = pieces.send(Chunk::Data(response::prelude(&parts))).await;
            }
            let outcome = loop {
                match conversation.piece(&mut body).await {
                    Some(Ok(data)) => {
                        produced += data.len();
                        if produced as u64 > PAYLOAD_STREAM_MAX.0 {
                            break Err(HostedError::StreamTooLarge);
                        }
                        let mut stop = turn.stop.clone();
                        tokio::select! {
                            // Nobody reads any more: the function runs on all the same.
                            _ = pieces.send(Chunk::Data(data)) => {}
                            failure = late(turn.begun.deadline, &mut stop) => break Err(failure),
                        }
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            };
            drop(body);
            let outcome = match outcome {
                Ok(()) => conversation.end().await.map(|instance| self.keep(instance)),
                Err(error) => {
                    drop(conversation);
                    Err(error)
                }
            };
            let Ended { error, tail, .. } = self.finish(turn, outcome.map(|()| produced));
            let _ = pieces.send(Chunk::End { error, tail }).await;
        });
        Executed { answer: Answer::Streamed { content_type, chunks: pieces_of(receiver) }, tail: None }
    }

    async fn module(&self, pre: &InstancePre<ModuleState>, turn: Turn) -> Executed {
        let answer = Output::answer(HostedError::RESPONSE_MAX);
        let mut builder = match self.builder(&turn) {
            Ok(builder) => builder,
            Err(error) => return self.answered(turn, Err(error)),
        };
        builder.stdin(MemoryInputPipe::new(turn.call.payload.clone())).stdout(answer.clone());
        let state = ModuleState { wasi: builder.build_p1(), bounds: self.bounds(&turn) };
        let (pre, watch) = (pre.clone(), turn.watch.clone());
        let mut store = Store::new(&self.machine.engine, state);
        let work = async move {
            store.limiter(|state| &mut state.bounds);
            share_time(&mut store, &watch);
            let instance = pre.instantiate_async(&mut store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call_async(&mut store, ()).await
        };
        let mut work = Work::new(work, turn.watch.clone(), self.machine.heavy(self.hosted.spec().memory));
        let mut stop = turn.stop.clone();
        let outcome = tokio::select! {
            biased;
            over = &mut work => match over {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => match failure(&error, &turn.watch) {
                    HostedError::Exited(0) => Ok(()),
                    failure => Err(failure),
                },
                None => Err(panicked()),
            },
            failure = late(turn.begun.deadline, &mut stop) => Err(failure),
        };
        drop(work);
        // What it was cut off at says more than that it trapped there.
        let outcome = match answer.take_answer() {
            None => Err(HostedError::TooLarge),
            Some(body) => outcome.map(|()| body),
        };
        self.answered(turn, outcome)
    }

    fn origin(&self, pre: ProxyPre<State>, turn: &Turn) -> Result<Origin, HostedError> {
        let kept = self.state.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept {
            return Ok(Origin::Kept(kept));
        }
        let wasi = self.builder(turn)?.build();
        let state = State::new(wasi, Outbound::new(self.reach.clone()), self.bounds(turn));
        Ok(Origin::New(Box::new(Store::new(&self.machine.engine, state)), pre))
    }

    /// What an instance has of the system.
    fn builder(&self, turn: &Turn) -> Result<WasiCtxBuilder, HostedError> {
        let mut builder = WasiCtxBuilder::new();
        builder.arg(crate::program::FILE).envs(self.hosted.variables()).stderr(turn.log.clone());
        if !self.reuse {
            builder.env(TRACE_VARIABLE, &turn.begun.trace);
        }
        if matches!(self.program.kind, Kind::Component(_)) {
            builder.stdout(turn.log.clone());
        }
        if let Some(scratch) = &self.scratch {
            builder
                .preopened_dir(&scratch.path, sandbox::SCRATCH, FsPerms::ReadWrite)
                .map_err(|error| HostedError::Unrunnable(format!("/tmp cannot be opened: {error}")))?;
        }
        Ok(builder)
    }

    fn bounds(&self, turn: &Turn) -> Bounds {
        Bounds::new(self.hosted.spec().memory.bytes(), turn.watch.clone())
    }

    /// An instance has come to the end of an invocation.
    fn keep(&self, instance: Instance) {
        if self.reuse && !*self.state.stop.borrow() {
            *self.state.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(instance));
        }
    }

    /// Ends an invocation with a whole answer.
    fn answered(&self, turn: Turn, outcome: Result<Bytes, HostedError>) -> Executed {
        let produced = outcome.as_ref().map(Bytes::len).map_err(Clone::clone);
        let ended = self.finish(turn, produced);
        let answer = match (outcome, ended.error) {
            (Ok(body), None) => Answer::Buffered(body),
            (_, Some(error)) => Answer::Failed(error),
            (Err(_), None) => Answer::Buffered(Bytes::new()),
        };
        Executed { answer, tail: ended.tail }
    }

    /// Writes the end of an invocation and tells the fleet.
    fn finish(&self, turn: Turn, outcome: Result<usize, HostedError>) -> Ended {
        let Turn { call, begun, release, watch, log, .. } = turn;
        log.finish();
        let ended = self.hosted.end(&call, &begun, watch.peak.load(Ordering::Relaxed), outcome);
        match ended.exit {
            None => release.tell(After::Reusable),
            Some(exit) => {
                release.tell(After::Gone(exit));
                self.state.ended.send_replace(Some(exit));
            }
        }
        ended
    }
}
