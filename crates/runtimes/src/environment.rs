//! One execution environment: a process, its log stream, and the invocations that it serves one after the other.

mod keeper;

use crate::{
    conclusion::{Conclusion, First, Moment, charged, credentials_end, status, trace_of},
    detached::{detached, pieces_of},
    extensions::{Invoked, Reason},
    failure::Failure,
    frames::Event,
    journal::{self, Entry, Journal},
    link::Said,
    process::{NotReady, Process, Recipe},
    snapstart,
};
use base::{
    After, Answer, Chunk, Environment, Executed, Exit, FunctionError, FunctionErrorKind, Future,
    Initialization, Invocation, LaunchError, LogEvent, Micros, Phases, Release, TenantId, Timestamp,
};
use bytes::Bytes;
use futures_util::future::poll_immediate;
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

/// A figure of memory use this old is taken again; a younger one only after an invocation that ran long enough to matter.
const MEMORY_AGE: Duration = Duration::from_millis(250);
const MEMORY_RUN: Duration = Duration::from_millis(5);
/// Pieces of a streamed answer that wait for its reader; then the function waits.
const PIECES_MAX: usize = 16;

/// Shared by the fleet's handle, the invocation that runs, and the keeper.
pub(crate) struct Room {
    recipe: Recipe,
    journal: Arc<Journal>,
    seat: Mutex<Seat>,
    /// The live sandbox, for questions and for the end.
    sandbox: Mutex<Option<Arc<sandbox::Sandbox>>>,
    phases: Mutex<Phases>,
    started: Instant,
    started_at: Timestamp,
    ended: watch::Sender<Option<Exit>>,
    /// Whether the keeper has its timer set.
    armed: AtomicBool,
    wake: Arc<Notify>,
}

/// Who has the process. `Idle ⇄ Busy`; `Unready → Busy`; `Unrestored → Busy`; any → `Gone`.
enum Seat {
    /// Its initialisation failed: it is done again inside the first invocation.
    Unready,
    /// SnapStart: its first invocation restores it.
    Unrestored {
        process: Box<Process>,
    },
    Idle {
        process: Box<Process>,
        frozen: bool,
        since: Instant,
        memory: Memory,
    },
    Busy,
    Gone,
}

/// The most memory used, as of some instant.
#[derive(Clone, Copy)]
struct Memory {
    bytes: u64,
    taken: Option<Instant>,
}

const UNKNOWN: Memory = Memory { bytes: 0, taken: None };

/// What the fleet holds.
pub(crate) struct Handle(Arc<Room>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.journal.flush();
    }
}

/// An environment that has begun to start, before anybody is served by it.
pub(crate) struct Opening {
    pub(crate) journal: Arc<Journal>,
    started: Instant,
    started_at: Timestamp,
}

impl Opening {
    /// With a log stream of its own.
    pub(crate) fn new(recipe: &Recipe) -> Opening {
        let clock = recipe.ports.clock.clone();
        let mut random = [0; 16];
        recipe.ports.entropy.fill(&mut random);
        let stream = journal::stream_name(clock.now(), recipe.spec.key.version, random);
        let journal = Arc::new(Journal::new(
            recipe.spec.clone(),
            stream,
            recipe.plan.version.clone(),
            recipe.ports.logs.clone(),
        ));
        let started_at = clock.now();
        journal.add(Entry::InitStart { at: started_at, how: recipe.how });
        Opening { journal, started: Instant::now(), started_at }
    }

    /// What the fleet holds; without a process, the first invocation starts one.
    pub(crate) fn open(
        self,
        recipe: Recipe,
        process: Option<Process>,
        phases: Phases,
    ) -> Arc<dyn Environment> {
        let room = Arc::new(Room {
            recipe,
            journal: self.journal,
            seat: Mutex::new(Seat::Unready),
            sandbox: Mutex::new(None),
            phases: Mutex::new(phases),
            started: self.started,
            started_at: self.started_at,
            ended: watch::Sender::new(None),
            armed: AtomicBool::new(false),
            wake: Arc::default(),
        });
        if let Some(process) = process {
            let process = Box::new(room.move_in(process));
            let since = Instant::now();
            *room.lock(&room.seat) = match room.recipe.spec.snap_start {
                true => Seat::Unrestored { process },
                false => Seat::Idle { process, frozen: false, since, memory: UNKNOWN },
            };
            room.arm();
        }
        Arc::new(Handle(room))
    }
}

/// Starts an environment, see [`base::Launch::launch`].
pub(crate) async fn launch(recipe: Recipe, queued: Micros) -> Result<Arc<dyn Environment>, LaunchError> {
    let opening = Opening::new(&recipe);
    let init_max = match recipe.spec.snap_start {
        true => snapstart::init_max(&recipe.spec),
        false => recipe.settings.init_max,
    };
    let deadline = opening.started + init_max.duration();
    match recipe.start(&opening.journal, "init", deadline).await {
        Ok((process, phases)) => {
            if recipe.how == Initialization::SnapStart {
                opening.journal.flush();
                if let Err(error) = process.sandbox.freeze() {
                    tracing::debug!(%error, "an environment for SnapStart runs on");
                }
            }
            Ok(opening.open(recipe, Some(process), Phases { queue: queued, ..phases }))
        }
        Err(NotReady::Launch(error)) => Err(error),
        Err(NotReady::Failed(failure)) => {
            opening.journal.flush();
            if recipe.how != Initialization::OnDemand {
                let timed_out = matches!(failure, Failure::TimedOut);
                let reason = match recipe.how {
                    Initialization::SnapStart => failure.summary(recipe.spec.timeout),
                    Initialization::OnDemand | Initialization::Provisioned | Initialization::Proactive => {
                        failure.kind().to_owned()
                    }
                };
                return Err(LaunchError::Initialisation { reason, timed_out });
            }
            Ok(opening.open(recipe, None, Phases { queue: queued, ..Phases::default() }))
        }
    }
}

impl Environment for Handle {
    fn invoke(self: Arc<Self>, call: Invocation, release: Release) -> Future<'static, Executed> {
        let room = self.0.clone();
        Box::pin(detached(async move {
            let executed = room.invoke(call, release).await;
            drop(self);
            executed
        }))
    }

    fn phases(&self) -> Phases {
        *self.0.lock(&self.0.phases)
    }

    fn memory_bytes(&self) -> u64 {
        let sandbox = self.0.lock(&self.0.sandbox).clone();
        sandbox.and_then(|sandbox| sandbox.memory_now().ok()).map_or(0, |bytes| bytes.0)
    }

    fn ended(&self) -> Future<'static, Exit> {
        let mut ended = self.0.ended.subscribe();
        Box::pin(async move {
            // A sender that is gone is an environment that was dropped.
            ended.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Stopped)
        })
    }

    fn stop(self: Arc<Self>) -> Future<'static, ()> {
        let room = self.0.clone();
        Box::pin(detached(async move {
            room.stop().await;
            drop(self);
        }))
    }
}

/// One invocation under way.
struct Turn {
    call: Invocation,
    release: Release,
    began: Moment,
    deadline: Instant,
    deadline_at: Timestamp,
    /// On the first invocation: how the start went, and what of it is charged.
    first: Option<First>,
    /// How long the runtime's part took, once its end was told.
    told: Option<Micros>,
}

/// How the runtime's part of an invocation went.
enum Reply {
    Answer(Bytes),
    Failed(Failure),
    /// It failed, reported it, and ends.
    FailedLast(Failure),
    Stream(Option<String>),
}

impl Room {
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.recipe.ports.clock.now()
    }

    fn moment(&self) -> Moment {
        Moment::now(&*self.recipe.ports.clock)
    }

    /// What is rare is boxed: the future of a warm call is made and moved with each of them.
    async fn invoke(self: Arc<Self>, call: Invocation, release: Release) -> Executed {
        let seat = std::mem::replace(&mut *self.lock(&self.seat), Seat::Busy);
        // Before the invocation's own time begins.
        let (seat, restored) = match seat {
            Seat::Unrestored { process } => Box::pin(self.restore(process)).await,
            Seat::Unready | Seat::Idle { .. } | Seat::Busy | Seat::Gone => (seat, None),
        };
        let timeout = self.recipe.spec.timeout.millis();
        let began = self.moment();
        let Moment { at, instant } = began;
        let mut turn = Turn {
            call,
            release,
            began,
            deadline: instant + timeout.duration(),
            deadline_at: at.plus_ms(timeout.0 as i64),
            first: None,
            told: None,
        };
        let Invocation { request_id: id, span, tail, .. } = turn.call;
        self.journal.add(Entry::Start { at, id, span, tail });
        let (mut process, memory) = match seat {
            Seat::Unrestored { process } => {
                turn.first = Some(self.first_charge(None));
                let failure = restored.and_then(Result::err);
                return self.fail_unrestored(turn, process, failure);
            }
            Seat::Idle { process, frozen, memory, .. } => {
                if frozen && let Err(error) = process.sandbox.thaw() {
                    tracing::warn!(%error, "environment could not be thawed");
                }
                let mut lines = Vec::new();
                process.output.take(&mut lines);
                self.journal.add_lines(&mut lines);
                if memory.taken.is_none() {
                    turn.first = Some(self.first_charge(restored.and_then(Result::ok)));
                }
                (process, memory)
            }
            // Busy: the caller broke its promise; Gone: it died while idle. Both are served by a new process.
            Seat::Unready | Seat::Gone | Seat::Busy => {
                match Box::pin(self.start_again(turn.deadline)).await {
                    Ok(process) => (process, UNKNOWN),
                    Err(NotReady::Failed(failure)) => return self.fail_without_process(turn, failure),
                    Err(NotReady::Launch(error)) => {
                        let reason = format!("the environment could not be started: {error}");
                        return self.fail_without_process(turn, Failure::NoEntrypoint(reason));
                    }
                }
            }
        };
        process.begin_invocation(instant);
        let reply = self.converse(&mut process, &turn.call, turn.deadline, turn.deadline_at).await;
        match reply {
            Reply::Stream(content_type) => self.stream(turn, process, memory, content_type),
            Reply::Answer(body) => {
                let tail = self.conclude_when_idle(turn, process, memory, Ok(body.len())).await;
                Executed { answer: Answer::Buffered(body), tail }
            }
            Reply::Failed(failure) if failure.ends().is_none() => {
                if Box::pin(process.gives_up()).await {
                    return self.finish_failed(turn, process, memory, failure, true);
                }
                let error = failure.error(turn.call.request_id, self.recipe.spec.timeout);
                let tail = self.conclude_when_idle(turn, process, memory, Err(failure)).await;
                Executed { answer: Answer::Failed(error), tail }
            }
            Reply::Failed(failure) => self.finish_failed(turn, process, memory, failure, false),
            Reply::FailedLast(failure) => self.finish_failed(turn, process, memory, failure, true),
        }
    }

    /// A process in place of one that never was, or is gone.
    async fn start_again(self: &Arc<Self>, deadline: Instant) -> Result<Box<Process>, NotReady> {
        let (process, _) = self.recipe.start(&self.journal, "invoke", deadline).await?;
        let mut process = Box::new(self.move_in(process));
        if self.recipe.spec.snap_start
            && let Err(failure) =
                snapstart::restore(&*self.recipe.ports.clock, &self.journal, &mut process).await
        {
            process.end().await;
            return Err(NotReady::Failed(failure));
        }
        Ok(process)
    }

    /// Restores what was initialised for SnapStart; how long that took, or why it failed.
    async fn restore(&self, mut process: Box<Process>) -> (Seat, Option<Result<Micros, Failure>>) {
        let outcome = snapstart::restore(&*self.recipe.ports.clock, &self.journal, &mut process).await;
        let seat = match outcome {
            Ok(_) => Seat::Idle { process, frozen: false, since: Instant::now(), memory: UNKNOWN },
            Err(_) => Seat::Unrestored { process },
        };
        (seat, Some(outcome))
    }

    /// Ends the invocation for which the environment could not be restored, and the environment.
    fn fail_unrestored(
        self: &Arc<Self>,
        turn: Turn,
        process: Box<Process>,
        failure: Option<Failure>,
    ) -> Executed {
        let failure = failure.unwrap_or(Failure::Misbehaved("it was not restored"));
        let timed_out = snapstart::took_too_long(&failure);
        let mut executed = self.finish_failed(turn, process, UNKNOWN, failure, true);
        if let Answer::Failed(error) = &mut executed.answer {
            error.kind = FunctionErrorKind::Restore { timed_out };
        }
        executed
    }

    /// Ends an invocation that the runtime is done with. Extensions may not be: then the caller has the answer before the
    /// end, unless it wants the log, which only the end makes complete.
    async fn conclude_when_idle(
        self: &Arc<Self>,
        turn: Turn,
        process: Box<Process>,
        memory: Memory,
        outcome: Result<usize, Failure>,
    ) -> Option<Bytes> {
        if process.extensions.idle() {
            return self.finish(turn, process, memory, outcome, false);
        }
        let mut lines = Vec::new();
        let now = self.moment();
        process.output.drain(now.at, &mut lines);
        self.journal.add_lines(&mut lines);
        let told = Some(self.runtime_done(&turn, outcome.as_ref().map(|produced| *produced), now));
        let (room, wanted) = (self.clone(), turn.call.tail);
        let rest = async move {
            let idle = process.until_idle(turn.deadline).await;
            let outcome = idle.and(outcome);
            let turn = Turn { told, ..turn };
            room.finish(turn, process, memory, outcome, false)
        };
        if wanted {
            return Box::pin(rest).await;
        }
        tokio::spawn(rest);
        None
    }

    /// How the start went, and what of it the first invocation is charged: nothing where it was begun ahead of it.
    /// `restored`: how long its restore took, where there was one.
    fn first_charge(&self, restored: Option<Micros>) -> First {
        let (how, phases) = (self.recipe.how, *self.lock(&self.phases));
        let hooks = restored.unwrap_or(Micros(0));
        let charged = charged(how, &phases) + hooks;
        match how {
            // What happened before anybody waited is told by its own report.
            Initialization::SnapStart => {
                First { phases: Phases { init: hooks, ..Phases::default() }, charged, restored, ahead: true }
            }
            Initialization::OnDemand | Initialization::Provisioned | Initialization::Proactive => {
                First { phases, charged, restored, ahead: false }
            }
        }
    }

    /// Hands the event over and waits for the answer.
    async fn converse(
        &self,
        process: &mut Process,
        call: &Invocation,
        deadline: Instant,
        deadline_at: Timestamp,
    ) -> Reply {
        let mut id = [0; 36];
        let id = call.request_id.encode(&mut id);
        let made;
        let trace = match &call.trace {
            Some(trace) => trace.as_str(),
            None => {
                made = trace_of(id, self.now());
                &made
            }
        };
        let event = Event {
            deadline_ms: deadline_at.0,
            request_id: id,
            arn: &call.invoked_arn,
            trace,
            client_context: call.client_context.as_deref().unwrap_or(""),
            tenant: self.recipe.spec.key.tenant.as_ref().map_or("", TenantId::as_str),
            payload: &call.payload,
        };
        process.extensions.invoke(&Invoked {
            deadline_ms: deadline_at.0,
            request_id: id,
            arn: &call.invoked_arn,
            trace,
        });
        // An error here is the process's end, and is told as that below.
        {
            let mut sending = pin!(process.link.send(&event));
            if poll_immediate(sending.as_mut()).await.is_none()
                && Box::pin(crate::process::until(deadline, sending)).await.is_none()
            {
                return Reply::Failed(Failure::TimedOut);
            }
        }
        match process.next(deadline).await {
            Err(failure) => Reply::Failed(failure),
            Ok(Said::Response(body)) => Reply::Answer(body),
            Ok(Said::TooLarge) => Reply::Failed(Failure::TooLarge),
            Ok(Said::Error { report, last: false }) => Reply::Failed(Failure::Reported(report)),
            Ok(Said::Error { report, last: true }) => Reply::FailedLast(Failure::Reported(report)),
            Ok(Said::StreamStart { content_type }) => Reply::Stream(content_type),
            Ok(
                Said::Waiting
                | Said::Booted
                | Said::Ready
                | Said::InitError(_)
                | Said::StreamData(_)
                | Said::StreamEnd
                | Said::StreamError(_)
                | Said::Restored
                | Said::RestoreError(_),
            ) => Reply::Failed(Failure::Misbehaved("not an answer")),
        }
    }

    fn finish_failed(
        self: &Arc<Self>,
        turn: Turn,
        process: Box<Process>,
        memory: Memory,
        failure: Failure,
        last: bool,
    ) -> Executed {
        let error = failure.error(turn.call.request_id, self.recipe.spec.timeout);
        let tail = self.finish(turn, process, memory, Err(failure), last);
        Executed { answer: Answer::Failed(error), tail }
    }

    /// Passes a streamed answer on while it arrives, then ends the invocation.
    fn stream(
        self: Arc<Self>,
        turn: Turn,
        mut process: Box<Process>,
        memory: Memory,
        content_type: Option<String>,
    ) -> Executed {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let room = self;
        tokio::spawn(async move {
            let mut produced = 0usize;
            let (outcome, last) = loop {
                match process.next(turn.deadline).await {
                    Ok(Said::StreamData(data)) => {
                        produced = produced.saturating_add(data.len());
                        if produced as u64 > base::limits::PAYLOAD_STREAM_MAX.0 {
                            // The rest would still come: only ending it stops it.
                            break (Err(Failure::StreamTooLarge), true);
                        }
                        // Nobody reads any more: the function runs on all the same.
                        let _ = crate::process::until(turn.deadline, pieces.send(Chunk::Data(data))).await;
                    }
                    Ok(Said::StreamEnd) => break (Ok(produced), false),
                    Ok(Said::StreamError(report)) => break (Err(Failure::Reported(report)), false),
                    Ok(Said::TooLarge) => break (Err(Failure::StreamTooLarge), true),
                    Ok(
                        Said::Waiting
                        | Said::Booted
                        | Said::Ready
                        | Said::InitError(_)
                        | Said::Response(_)
                        | Said::Error { .. }
                        | Said::StreamStart { .. }
                        | Said::Restored
                        | Said::RestoreError(_),
                    ) => break (Err(Failure::Misbehaved("not a part of a stream")), true),
                    Err(failure) => break (Err(failure), false),
                }
            };
            let id = turn.call.request_id;
            let error = outcome.as_ref().err().map(|failure| failure.error(id, room.recipe.spec.timeout));
            let over = last || outcome.as_ref().is_err_and(|failure| failure.ends().is_some());
            let tail = if over {
                room.finish(turn, process, memory, outcome, last)
            } else {
                room.conclude_when_idle(turn, process, memory, outcome).await
            };
            let _ = pieces.send(Chunk::End { error, tail }).await;
        });
        let chunks = pieces_of(receiver);
        Executed { answer: Answer::Streamed { content_type, chunks }, tail: None }
    }

    /// Ends an invocation whose process never became ready.
    fn fail_without_process(self: &Arc<Self>, turn: Turn, failure: Failure) -> Executed {
        *self.lock(&self.seat) = Seat::Gone;
        let error: FunctionError = failure.error(turn.call.request_id, self.recipe.spec.timeout);
        let exit = match failure {
            Failure::TimedOut => Exit::TimedOut,
            _ => Exit::InitFailed,
        };
        let tail = self.conclude(&turn, 0, Err(&failure), self.moment());
        turn.release.tell(After::Gone(exit));
        self.ended.send_replace(Some(exit));
        Executed { answer: Answer::Failed(error), tail }
    }

    /// Ends an invocation: its log, its record, and what becomes of the process. `last`: the process must not serve on.
    fn finish(
        self: &Arc<Self>,
        turn: Turn,
        process: Box<Process>,
        memory: Memory,
        outcome: Result<usize, Failure>,
        last: bool,
    ) -> Option<Bytes> {
        let spec = &self.recipe.spec;
        let mut ends = outcome.as_ref().err().and_then(Failure::ends);
        if last && ends.is_none() {
            ends = Some(Exit::Crashed);
        }
        if ends.is_none() && credentials_end(&self.recipe.settings, spec, self.started, turn.began.instant) {
            ends = Some(Exit::Stopped);
        }
        let now = self.moment();
        let mut lines: Vec<LogEvent> = Vec::new();
        match ends {
            None if process.link.told_in_order() => process.output.drain_known(now.at, &mut lines),
            None => process.output.drain(now.at, &mut lines),
            Some(_) => process.output.finish(now.at, &mut lines),
        }
        self.journal.add_lines(&mut lines);
        let memory = sample(&process, memory, &turn, now);
        let tail = self.conclude(&turn, memory.bytes, outcome.as_ref().map(|produced| *produced), now);
        match ends {
            None => {
                let since = now.instant;
                *self.lock(&self.seat) = Seat::Idle { process, frozen: false, since, memory };
                self.arm();
                turn.release.tell(After::Reusable);
            }
            Some(exit) => {
                *self.lock(&self.seat) = Seat::Gone;
                let room = self.clone();
                tokio::spawn(async move {
                    let reason = match exit {
                        Exit::Stopped => Reason::Spindown,
                        Exit::TimedOut => Reason::Timeout,
                        Exit::Crashed | Exit::OutOfMemory | Exit::InitFailed | Exit::Misbehaved => {
                            Reason::Failure
                        }
                    };
                    process.shut_down(reason, room.now()).await;
                    room.lock(&room.sandbox).take();
                    room.journal.flush();
                    turn.release.tell(After::Gone(exit));
                    room.ended.send_replace(Some(exit));
                });
            }
        }
        tail
    }

    /// Tells extensions that the runtime is done; after how long.
    fn runtime_done(&self, turn: &Turn, outcome: Result<usize, &Failure>, now: Moment) -> Micros {
        let run = Micros::of(now.since(turn.began));
        let produced = outcome.unwrap_or(0);
        self.journal.runtime_done(now.at, turn.call.request_id, run, produced, &status(outcome));
        run
    }

    /// Writes the end of an invocation and its record; the tail if it is wanted.
    fn conclude(
        &self,
        turn: &Turn,
        memory_bytes: u64,
        outcome: Result<usize, &Failure>,
        now: Moment,
    ) -> Option<Bytes> {
        let answered = turn.told.unwrap_or_else(|| self.runtime_done(turn, outcome, now));
        // What was done ahead is no part of what the caller waited for.
        let started_at = match turn.first {
            Some(First { ahead: true, restored, .. }) => {
                turn.began.at.plus_ms(-(restored.unwrap_or(Micros(0)).ceil_ms().0 as i64))
            }
            Some(First { ahead: false, .. }) | None => self.started_at,
        };
        let conclusion = Conclusion {
            call: &turn.call,
            how: self.recipe.how,
            began: turn.began,
            ended: now,
            started_at,
            first: turn.first,
            answered,
            memory_bytes,
            outcome,
        };
        conclusion.write(&self.recipe.spec, &self.journal, &self.recipe.ports)
    }

    /// Ends the environment, whatever it does.
    async fn stop(self: Arc<Self>) {
        let seat = std::mem::replace(&mut *self.lock(&self.seat), Seat::Gone);
        match seat {
            Seat::Idle { process, .. } | Seat::Unrestored { process } => {
                let mut lines = Vec::new();
                process.output.finish(self.now(), &mut lines);
                self.journal.add_lines(&mut lines);
                let output = process.output.clone();
                process.shut_down(Reason::Spindown, self.now()).await;
                // What it printed when it was asked to end.
                output.finish(self.now(), &mut lines);
                self.journal.add_lines(&mut lines);
            }
            Seat::Busy => {
                // The invocation sees the end of its process and reports it.
                let sandbox = self.lock(&self.sandbox).clone();
                if let Some(sandbox) = sandbox {
                    sandbox.kill().await;
                }
            }
            Seat::Unready | Seat::Gone => {}
        }
        self.lock(&self.sandbox).take();
        self.journal.flush();
        self.ended.send_replace(Some(Exit::Stopped));
    }

    /// Notes a new process and starts its keeper.
    fn move_in(self: &Arc<Self>, mut process: Process) -> Process {
        *self.lock(&self.sandbox) = Some(process.sandbox.clone());
        let keeper = keeper::keep(Arc::downgrade(self), process.sandbox.clone(), process.output.clone());
        process.attach(tokio::spawn(keeper).abort_handle());
        process
    }
}

fn sample(process: &Process, known: Memory, turn: &Turn, now: Moment) -> Memory {
    let fresh = known.taken.is_some_and(|taken| now.instant.duration_since(taken) < MEMORY_AGE);
    if fresh && now.since(turn.began) < MEMORY_RUN {
        return known;
    }
    let bytes = process.sandbox.memory_peak().map_or(known.bytes, |bytes| bytes.0);
    Memory { bytes, taken: Some(now.instant) }
}
