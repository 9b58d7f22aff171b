//! One program in its sandbox with everything that the daemon holds of it, from its start until it is ready.

mod waits;

use self::waits::Waits;
use crate::{
    Ports, Settings, api,
    cells::{Begun, Booted, Cells, Wanted},
    extensions::{self, Extensions, Reason},
    failure::{self, Failure, RESPONSE_MAX},
    families::{Plan, Waiting},
    frames::Frames,
    journal::{Entry, InitFailed, Journal, Scribe},
    link::{Link, Said, Signal},
    output::Output,
    share::Share,
    telemetry::Hub,
    variables::{self, Start},
    zygotes,
};
use base::{
    Clock, FunctionSpec, Initialization, LaunchError, MemoryMib, Micros, Phases, RequestId, Timestamp,
};
use sandbox::{Attachment, CpuQuota, CpuWeight, Sandbox, Sandboxes, Spec, Template};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

/// How long a runtime may take to end after SIGTERM: beside programs of extensions, and with internal extensions only.
/// Without any extension it is killed at once. Source: Lambda's guide, Shutdown phase.
const RUNTIME_BESIDE: Duration = Duration::from_millis(300);
const RUNTIME_ALONE: Duration = Duration::from_millis(500);
/// How long runtime and programs of extensions may take together. Source: as above.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// Programs of extensions. Source: Lambda quotas.
const EXTENSIONS_MAX: usize = 10;
/// Where layers are inside.
const LAYERS: &str = "/opt";
/// How long a process may take to end after it has closed its channel.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long what a process said before its end may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long a program that has told a failure is watched for whether it goes on or ends.
const SECOND_THOUGHTS: Duration = Duration::from_millis(500);

/// What all processes of one function version are started from.
pub(crate) struct Recipe {
    pub(crate) spec: Arc<FunctionSpec>,
    pub(crate) how: Initialization,
    pub(crate) plan: Arc<Plan>,
    pub(crate) template: Template,
    /// The unpacked package.
    pub(crate) code: PathBuf,
    /// What is shown at `/opt`.
    pub(crate) layers: Option<PathBuf>,
    /// Files of [`extensions::FOLDER`].
    pub(crate) extensions: Vec<String>,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) ports: Ports,
    pub(crate) settings: Arc<Settings>,
    /// The runtime's zygote, where it can have one.
    pub(crate) zygote: Option<Arc<zygotes::Keeper>>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) scribe: Arc<Scribe>,
}

/// A running program.
pub(crate) struct Process {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) link: Link,
    pub(crate) output: Arc<Output>,
    pub(crate) extensions: Arc<Extensions>,
    /// What programs of extensions print.
    beside: Option<Arc<Beside>>,
    journal: Arc<Journal>,
    /// What it gets of the processors.
    share: Share,
    waits: Waits,
    tasks: Vec<AbortHandle>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Listeners and connections go with it: only then is its network namespace reused.
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Some(hub) = self.journal.hub() {
            hub.end();
        }
        self.journal.watch(None);
    }
}

/// When a process came as far.
struct Moments {
    /// Its sandbox was there, with all files.
    spawned: Instant,
    /// It was about to load user code, where that is known already.
    booted: Option<Instant>,
}

/// Why a process did not become ready.
pub(crate) enum NotReady {
    /// It could not be started: says nothing about the user's code.
    Launch(LaunchError),
    /// Its initialisation failed.
    Failed(Failure),
}

impl Process {
    /// An invocation begins.
    pub(crate) fn begin_invocation(&mut self, now: Instant) {
        self.share.begin(&self.sandbox, now);
    }

    /// A task that ends with the process.
    pub(crate) fn attach(&mut self, task: AbortHandle) {
        self.tasks.push(task);
    }

    /// Lets runtime and extensions end by themselves where there are extensions, for as long as Lambda does, then kills
    /// everything inside; resolves when nothing is left.
    pub(crate) async fn shut_down(self, reason: Reason, now: Timestamp) {
        if self.extensions.any() {
            let began = Instant::now();
            let external = self.extensions.any_external();
            let (runtime, whole) =
                if external { (RUNTIME_BESIDE, SHUTDOWN) } else { (RUNTIME_ALONE, RUNTIME_ALONE) };
            // What has ended already cannot be told so.
            let _ = self.sandbox.terminate();
            let hub = self.journal.hub();
            let flushed = async {
                if let Some(hub) = hub {
                    hub.flush().await;
                }
            };
            let _ = timeout_at(began + runtime, flushed).await;
            let _ = timeout_at(began + runtime, self.sandbox.exited()).await;
            if external {
                let told = self.extensions.shut_down(reason, now.plus_ms(whole.as_millis() as i64));
                let _ = timeout_at(began + whole, self.sandbox.companions_gone(&told)).await;
            }
        }
        let beside = self.beside.clone();
        self.end().await;
        if let Some(beside) = beside {
            beside.finish();
        }
    }

    /// Resolves when every extension waits for its next event, or to why that will not be.
    pub(crate) async fn until_idle(&self, deadline: Instant) -> Result<(), Failure> {
        if self.extensions.idle() {
            return Ok(());
        }
        tokio::select! {
            biased;
            failure = trouble(&self.extensions, &self.sandbox) => Err(failure),
            exited = self.sandbox.exited() => Err(Failure::Exited(exited)),
            () = self.extensions.until_idle() => Ok(()),
            () = tokio::time::sleep_until(deadline) => Err(Failure::TimedOut),
        }
    }

    /// Kills everything inside; resolves when nothing is left.
    pub(crate) async fn end(self) {
        let sandbox = self.sandbox.clone();
        drop(self);
        sandbox.kill().await;
    }

    /// The next thing that the runtime says, or why there is none any more.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Said, Failure> {
        let accompanied = self.extensions.any();
        let signal = loop {
            let settles = self.share.until().filter(|until| *until < deadline);
            let Waits { exited, alarm } = &mut self.waits;
            break tokio::select! {
                biased;
                signal = self.link.next() => signal,
                failure = trouble(&self.extensions, &self.sandbox), if accompanied => return Err(failure),
                exited = exited.known() => {
                    // What it said before is still on its way.
                    match timeout(LAST_WORDS, self.link.next()).await {
                        Ok(Signal::Said(said)) => return Ok(said),
                        Ok(Signal::Closed | Signal::Broken(_)) | Err(_) => return Err(Failure::Exited(exited)),
                    }
                }
                // One timer for both: most invocations need neither.
                () = alarm.at(settles.unwrap_or(deadline)) => match settles {
                    Some(_) => {
                        self.share.settle(&self.sandbox);
                        continue;
                    }
                    None => return Err(Failure::TimedOut),
                },
            };
        };
        match signal {
            Signal::Said(said) => Ok(said),
            Signal::Broken(reason) => Err(Failure::Misbehaved(reason)),
            Signal::Closed => match timeout(FAREWELL, self.sandbox.exited()).await {
                Ok(exited) => Err(Failure::Exited(exited)),
                Err(_) => Err(Failure::Misbehaved("the runtime closed its channel")),
            },
        }
    }

    /// Whether the runtime ends after the failure that it has just told, instead of asking for another event: as programs do
    /// after a panic (`aws-lambda-go`). An event that was handed to it meanwhile would be lost.
    pub(crate) async fn gives_up(&self) -> bool {
        let Link::Api(api) = &self.link else { return false };
        tokio::select! {
            biased;
            () = api.asked_again() => false,
            _ = self.sandbox.exited() => true,
            () = tokio::time::sleep(SECOND_THOUGHTS) => false,
        }
    }
}

/// Why an environment cannot go on, when it cannot: an extension failed.
async fn trouble(extensions: &Extensions, sandbox: &Sandbox) -> Failure {
    tokio::select! {
        biased;
        failure = extensions.failed() => failure,
        (index, exit) = sandbox.companion_exited() => {
            extensions.lost(index);
            let name = extensions.described().get(index).map(|one| one.name.clone()).unwrap_or_default();
            let reason = format!("extension {name} ended: {}", failure::extension_ended(exit));
            Failure::Extension { kind: "Extension.Crash", reason }
        }
    }
}

/// Output of the programs of extensions, on its way to the log of the function.
struct Beside {
    output: Output,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
}

impl Beside {
    /// Passes on what is printed, until dropped.
    async fn pass_on(self: Arc<Self>) {
        let mut lines = Vec::new();
        loop {
            self.output.readable(|| self.clock.now()).await;
            self.output.take(&mut lines);
            self.journal.add_lines_of_extensions(&mut lines);
            // They may be the last for long: nobody else flushes for them.
            self.journal.flush();
        }
    }

    /// Passes the rest on.
    fn finish(&self) {
        let mut lines = Vec::new();
        self.output.finish(self.clock.now(), &mut lines);
        self.journal.add_lines_of_extensions(&mut lines);
        self.journal.flush();
    }
}

impl Recipe {
    /// Starts a process and waits until it takes events, at most until `deadline`. Writes its initialisation's output, and
    /// on failure the report, into the journal; the process is gone then.
    pub(crate) async fn start(
        &self,
        journal: &Arc<Journal>,
        phase: &'static str,
        deadline: Instant,
    ) -> Result<(Process, Phases), NotReady> {
        let began = Instant::now();
        let at = self.ports.clock.now();
        let _starting = self.cells.starting();
        let (mut process, Moments { spawned, booted }) = match self.spawn(journal, at).await {
            Ok(spawned) => spawned,
            Err(not_ready) => {
                if let NotReady::Failed(failure) = &not_ready {
                    self.report(journal, phase, began, Some(failure));
                }
                return Err(not_ready);
            }
        };
        let mut outcome = self.begin(&mut process, deadline).await;
        if outcome.is_ok() {
            outcome = self.await_ready(&mut process, booted, journal, phase, deadline).await;
        }
        for extension in process.extensions.described() {
            journal.add(Entry::Extension { at: self.ports.clock.now(), extension });
        }
        let ready = Instant::now();
        let mut lines = Vec::new();
        process.output.drain(self.ports.clock.now(), &mut lines);
        journal.add_lines(&mut lines);
        match outcome {
            Ok(booted) => {
                let booted = booted.unwrap_or(spawned);
                let phases = Phases {
                    queue: Micros(0),
                    sandbox: Micros::of(spawned - began),
                    boot: Micros::of(booted - spawned),
                    init: Micros::of(ready - booted),
                };
                self.report(journal, phase, spawned, None);
                process.share.initialised(&process.sandbox);
                Ok((process, phases))
            }
            Err(failure) => {
                process.output.finish(self.ports.clock.now(), &mut lines);
                journal.add_lines(&mut lines);
                self.report(journal, phase, spawned, Some(&failure));
                process.shut_down(Reason::of(&failure), self.ports.clock.now()).await;
                Err(NotReady::Failed(failure))
            }
        }
    }

    fn quota(&self) -> Option<CpuQuota> {
        let thousandths = u64::from(self.spec.memory.0) * 1000 / u64::from(base::limits::MEMORY_PER_CPU.0);
        self.settings.cpu_quota.then(|| CpuQuota(u32::try_from(thousandths.max(10)).unwrap_or(u32::MAX)))
    }

    fn report(&self, journal: &Journal, phase: &'static str, since: Instant, failure: Option<&Failure>) {
        let failed = failure.map(|failure| InitFailed {
            timed_out: matches!(failure, Failure::TimedOut),
            kind: failure.kind().to_owned(),
        });
        let took = Micros::of(since.elapsed());
        journal.add(Entry::InitReport { at: self.ports.clock.now(), how: self.how, phase, took, failed });
    }

    /// Starts the runtime where extensions come before it, when they have registered.
    async fn begin(&self, process: &mut Process, deadline: Instant) -> Result<Option<Instant>, Failure> {
        if self.extensions.is_empty() {
            return Ok(None);
        }
        tokio::select! {
            biased;
            failure = trouble(&process.extensions, &process.sandbox) => return Err(failure),
            // It is killed as a whole for its memory.
            exited = process.sandbox.exited() => return Err(Failure::Exited(exited)),
            () = process.extensions.registered() => {}
            () = tokio::time::sleep_until(deadline) => return Err(Failure::TimedOut),
        }
        process.extensions.begin();
        match process.sandbox.begin().await {
            Ok(()) => Ok(None),
            Err(error) => match self.refused(error) {
                NotReady::Failed(failure) => Err(failure),
                NotReady::Launch(error) => Err(Failure::NoEntrypoint(error.to_string())),
            },
        }
    }

    /// Waits for the runtime's word that it is ready; resolves to when it began to load user code, if it tells.
    async fn await_ready(
        &self,
        process: &mut Process,
        mut booted: Option<Instant>,
        journal: &Journal,
        phase: &str,
        deadline: Instant,
    ) -> Result<Option<Instant>, Failure> {
        let output = process.output.clone();
        let clock = &self.ports.clock;
        loop {
            let said = tokio::select! {
                biased;
                said = process.next(deadline) => said?,
                () = output.readable(|| clock.now()) => {
                    let mut lines = Vec::new();
                    output.take(&mut lines);
                    journal.add_lines(&mut lines);
                    continue;
                }
            };
            match said {
                Said::Booted => booted = Some(Instant::now()),
                Said::Ready => {
                    let mut lines = Vec::new();
                    output.drain(clock.now(), &mut lines);
                    journal.add_lines(&mut lines);
                    journal.init_runtime_done(clock.now(), self.how, phase, true);
                    process.extensions.close();
                    if let Some(hub) = journal.hub() {
                        hub.close();
                    }
                    process.until_idle(deadline).await?;
                    return Ok(booted);
                }
                Said::InitError(report) => {
                    journal.init_runtime_done(clock.now(), self.how, phase, false);
                    // It exits by itself, which is of no interest any more.
                    return Err(Failure::Reported(report));
                }
                Said::Waiting
                | Said::Response(_)
                | Said::TooLarge
                | Said::Error { .. }
                | Said::StreamStart { .. }
                | Said::StreamData(_)
                | Said::StreamEnd
                | Said::StreamError(_)
                | Said::Restored
                | Said::RestoreError(_) => return Err(Failure::Misbehaved("an answer before any event")),
            }
        }
    }

    async fn spawn(&self, journal: &Arc<Journal>, at: Timestamp) -> Result<(Process, Moments), NotReady> {
        if self.extensions.len() > EXTENSIONS_MAX {
            let reason = format!("{} extensions, and {EXTENSIONS_MAX} are allowed", self.extensions.len());
            return Err(NotReady::Failed(Failure::Extension { kind: "Extension.TooManyExtensions", reason }));
        }
        let launch =
            |error: Box<dyn std::error::Error + Send + Sync>| NotReady::Launch(LaunchError::Sandbox(error));
        let spec = &self.spec;
        let credentials = self
            .ports
            .sessions
            .issue(&spec.role, spec.key.name.as_str(), self.settings.credentials_seconds)
            .await
            .map_err(|error| launch(error.into()))?;
        let wrapper = spec
            .variables
            .get("AWS_LAMBDA_EXEC_WRAPPER")
            .filter(|path| self.plan.managed && !path.is_empty());
        let api = (!self.plan.frames || wrapper.is_some()).then(|| api::ApiLink::new(RESPONSE_MAX));

        let mut argv = self.plan.command(spec.memory, &spec.variables);
        if !self.plan.managed
            && let Some(program) = self.bootstrap_of_layers()
        {
            argv = vec![program];
        }
        if let Some(wrapper) = wrapper {
            // Lambda's rule: the wrapper gets the runtime's own command line as its arguments.
            argv.insert(0, wrapper.into());
        }
        let mut wanted = Spec::new(self.template.clone(), argv);
        wanted.task = Some(self.code.clone());
        wanted.attachments.extend(self.layers.iter().map(|folder| Attachment::new(folder, LAYERS)));
        wanted.scratch = spec.scratch;
        wanted.memory = MemoryMib(spec.memory.0);
        wanted.processes = base::limits::PROCESSES_MAX;
        wanted.descriptors = u32::try_from(base::limits::DESCRIPTORS_MAX).unwrap_or(u32::MAX);
        wanted.cpu_weight = CpuWeight::MAX;
        wanted.cwd = sandbox::TASK.into();
        wanted.env = variables::assemble(&Start {
            spec,
            how: self.how,
            log_stream: journal.stream(),
            credentials: &credentials,
            endpoint: &self.settings.endpoint,
            runtime: &self.plan.variables,
            managed: self.plan.managed,
        });
        if !self.extensions.is_empty() {
            let folder = Path::new(extensions::FOLDER);
            wanted.companions = self.extensions.iter().map(|name| folder.join(name)).collect();
            wanted.companion_env = variables::for_extensions(&wanted.env);
        }
        // A wrapper is a program of its own, and programs of extensions come before the runtime.
        let plain = wrapper.is_none() && self.extensions.is_empty();
        let keeper = self.zygote.as_ref();
        wanted.zygote = keeper
            .filter(|_| plain)
            .and_then(|keeper| keeper.get(&self.code, self.layers.as_deref(), &wanted.env));
        let shown: Vec<Attachment> = {
            let task = wanted.task.iter().map(|task| Attachment::new(task, sandbox::TASK));
            task.chain(wanted.attachments.iter().cloned()).collect()
        };
        let begun = match plain && self.can_wait() {
            true => self.begin_cell(&wanted, &shown).await,
            false => None,
        };
        let mut program = None;
        let (mut sandbox, frames, mut moments) = match begun {
            Some(Begun::Booted(Booted { sandbox, frames, attached, booted })) => {
                let moments = Moments { spawned: attached.into(), booted: Some(booted.into()) };
                (sandbox, Some(frames), moments)
            }
            Some(Begun::Empty(sandbox)) => {
                program = Some(wanted);
                (sandbox, None, Moments { spawned: Instant::now(), booted: None })
            }
            None => {
                let mut frames = None;
                if self.plan.frames {
                    let (ours, theirs) = Frames::pair(RESPONSE_MAX).map_err(|error| launch(error.into()))?;
                    (frames, wanted.channel) = (Some(ours), Some(theirs));
                }
                let sandbox = self.sandboxes.spawn(wanted).await.map_err(|error| self.refused(error))?;
                (sandbox, frames, Moments { spawned: Instant::now(), booted: None })
            }
        };

        if let Some(keeper) = keeper {
            keeper.count(&sandbox);
        }
        let output = match (sandbox.take_stdout(), sandbox.take_stderr()) {
            (Some(out), Some(err)) => Output::new(out, err).map_err(|error| launch(error.into()))?,
            (_, None) | (None, _) => return Err(launch("the sandbox has no output".into())),
        };
        let beside = match sandbox.take_companion_output() {
            Some((out, err)) => {
                let output = Output::new(out, err).map_err(|error| launch(error.into()))?;
                Some(Arc::new(Beside { output, journal: journal.clone(), clock: self.ports.clock.clone() }))
            }
            None => None,
        };
        let runtime_api = sandbox.take_runtime_api();
        let platform = sandbox.take_platform();
        let traces = sandbox.take_traces();
        let entropy = self.ports.entropy.clone();
        let extensions = Extensions::new(spec, &self.extensions, move || RequestId::new(&*entropy));
        if self.extensions.is_empty() {
            // The runtime runs already.
            extensions.begin();
        }
        let sandbox = Arc::new(sandbox);
        let fresh = self.hubs(journal, &sandbox, at);
        if !self.extensions.is_empty() {
            fresh();
        }
        let telemetry = Some(api::Telemetry { journal: journal.clone(), fresh });
        let mut doors = api::Doors { runtime: None, extensions: Some(extensions.clone()), telemetry };
        let link = match (frames, api) {
            (Some(frames), None) => Link::Frames(frames),
            (Some(frames), Some(api)) => {
                doors.runtime = Some(api.api());
                Link::Either(frames, api)
            }
            (None, api) => {
                let api = api.unwrap_or_else(api::ApiLink::closed);
                doors.runtime = Some(api.api());
                Link::Api(api)
            }
        };
        let output = Arc::new(output);
        let mut process = Process {
            waits: Waits::new(&sandbox),
            sandbox,
            link,
            output,
            extensions,
            beside,
            journal: journal.clone(),
            share: Share::new(CpuWeight::of_memory(spec.memory), self.quota()),
            tasks: Vec::new(),
        };
        if let Some(listener) = runtime_api {
            let listener = TcpListener::from_std(listener).map_err(|error| launch(error.into()))?;
            process.attach(tokio::spawn(api::serve(listener, doors)).abort_handle());
        }
        if let Some(beside) = process.beside.clone() {
            process.attach(tokio::spawn(beside.pass_on()).abort_handle());
        }
        if let Some(listener) = platform {
            let listener = TcpListener::from_std(listener).map_err(|error| launch(error.into()))?;
            let task = serve_platform(listener, self.ports.clone(), self.spec.clone());
            process.attach(tokio::spawn(task).abort_handle());
        }
        if let Some(socket) = traces {
            let socket = UdpSocket::from_std(socket).map_err(|error| launch(error.into()))?;
            let task = take_traces(socket, self.ports.clone(), self.spec.clone());
            process.attach(tokio::spawn(task).abort_handle());
        }
        if let Some(Spec { argv, env, cwd, .. }) = program {
            // Last, so that everything is there that it will ask for.
            match process.sandbox.begin_as(&shown, &argv, &env, &cwd).await {
                Ok(()) => moments.spawned = Instant::now(),
                Err(sandbox::Error::Ended) => {
                    self.cells.lost(&self.spec.runtime, "it had ended");
                    return Box::pin(self.spawn(journal, at)).await;
                }
                Err(error) => return Err(self.refused(error)),
            }
        }
        Ok((process, moments))
    }

    /// Whether what has waited without knowing the function does for it. Not where something acts while it begins:
    /// programs beside it, and, where it has booted, variables and libraries whose folders the dynamic linker has looked for in
    /// vain.
    fn can_wait(&self) -> bool {
        const LIBRARIES_OF_CODE: [&str; 2] = ["glibc-hwcaps", "lib/glibc-hwcaps"];
        if !self.extensions.is_empty() || self.spec.scratch != *base::limits::SCRATCH.start() {
            return false;
        }
        match self.plan.waiting {
            None => false,
            Some(Waiting::Empty) => true,
            Some(Waiting::Booted { acts_at_start }) => {
                !self
                    .spec
                    .variables
                    .keys()
                    .any(|name| acts_at_start(name) && !variables::RESERVED.contains(&name.as_str()))
                    && !self.layers.as_ref().is_some_and(|layers| layers.join("lib").exists())
                    && !LIBRARIES_OF_CODE.iter().any(|folder| self.code.join(folder).exists())
            }
        }
    }

    /// The start that `wanted` describes by a cell, if one is ready.
    async fn begin_cell(&self, wanted: &Spec, shown: &[Attachment]) -> Option<Begun> {
        let order = Wanted {
            runtime: &self.spec.runtime,
            plan: &self.plan,
            template: &self.template,
            memory: self.spec.memory,
            attachments: shown,
            folder: &wanted.cwd,
            env: &wanted.env,
            keeper: self.zygote.as_ref(),
            zygote: wanted.zygote.as_ref(),
        };
        self.cells.begin(&order).await
    }

    /// Makes who hears of what happens in a sandbox.
    fn hubs(
        &self,
        journal: &Arc<Journal>,
        sandbox: &Arc<Sandbox>,
        at: Timestamp,
    ) -> Box<dyn Fn() -> Arc<Hub> + Send + Sync> {
        let (journal, clock, how) = (journal.clone(), self.ports.clock.clone(), self.how);
        // Its last owner ends the sandbox.
        let sandbox = Arc::downgrade(sandbox);
        Box::new(move || {
            let hub = Hub::new(clock.clone(), sandbox.clone());
            journal.watch(Some((hub.clone(), at, how)));
            hub
        })
    }

    /// The program of a function whose own package brings none. Source: Lambda's guide, custom runtimes.
    fn bootstrap_of_layers(&self) -> Option<OsString> {
        const NAME: &str = "bootstrap";
        let beside = !self.code.join(NAME).exists() && self.layers.as_ref()?.join(NAME).exists();
        beside.then(|| Path::new(LAYERS).join(NAME).into())
    }

    /// An error of spawning: the package's fault when its own program could not be executed.
    fn refused(&self, error: sandbox::Error) -> NotReady {
        let own = !self.plan.managed || self.spec.variables.contains_key("AWS_LAMBDA_EXEC_WRAPPER");
        match &error {
            sandbox::Error::Step { step, source } if step.contains("accompanying") => {
                let reason = format!("{step}: {source}");
                NotReady::Failed(Failure::Extension { kind: "Extension.LaunchError", reason })
            }
            sandbox::Error::Step { step, source } if own && step.starts_with("exec") => {
                let program = match self.spec.variables.get("AWS_LAMBDA_EXEC_WRAPPER") {
                    Some(wrapper) if self.plan.managed => wrapper.clone(),
                    Some(_) | None => match self.bootstrap_of_layers() {
                        Some(program) => program.to_string_lossy().into_owned(),
                        None => "/var/task/bootstrap".to_owned(),
                    },
                };
                let reason = match source.raw_os_error() {
                    Some(2) if !self.plan.managed => {
                        "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned()
                    }
                    Some(2) => format!("fork/exec {program}: no such file or directory"),
                    Some(8) => format!("fork/exec {program}: exec format error"),
                    Some(13) => format!("fork/exec {program}: permission denied"),
                    _ => format!("fork/exec {program}: {source}"),
                };
                NotReady::Failed(Failure::NoEntrypoint(reason))
            }
            _ => NotReady::Launch(LaunchError::Sandbox(Box::new(error))),
        }
    }
}

/// Serves what the function asks of Neap, until dropped.
async fn serve_platform(listener: TcpListener, ports: Ports, spec: Arc<FunctionSpec>) {
    const CONNECTIONS_MAX: usize = 256;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                if let Ok((connection, _)) = accepted {
                    connections.spawn(ports.platform.serve(connection, spec.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes on what the function sends to the X-Ray daemon, until dropped.
async fn take_traces(socket: UdpSocket, ports: Ports, spec: Arc<FunctionSpec>) {
    // Room for one datagram, and only while there is one: most functions send none.
    const LENGTH_MAX: usize = 65_535;
    while socket.readable().await.is_ok() {
        let mut buffer = vec![0; LENGTH_MAX];
        // One that is lost is the sender's to expect.
        while let Ok(length) = socket.try_recv(&mut buffer) {
            ports.platform.trace(buffer.get(..length).unwrap_or_default(), &spec);
        }
    }
}

/// Waits for `future` until `deadline`.
pub(crate) async fn until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, future).await.ok()
}
