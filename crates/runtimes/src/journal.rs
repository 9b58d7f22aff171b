//! An environment's log stream: what the platform writes around the function's own lines, and the tail of one invocation.
//!
//! Entries are kept as values and formatted when they leave: for an invocation whose caller does not want the tail that is
//! off its reply's path, together with others.
//!
//! Formats: as Lambda writes them. One field is ours: the `REPORT` line of the first invocation ends with
//! `Start Phases: queue 0.00 ms, sandbox 1.21 ms, boot 8.90 ms, init 0.40 ms`, a field like its others (parsers that look
//! for Lambda's fields find them unchanged); in JSON it is `startPhasesMs` in the metrics of `platform.report`.

mod records;
mod scribe;
mod told;

pub(crate) use scribe::Scribe;

use crate::{extensions::Described, telemetry::Hub};
use base::{
    Arn, FunctionSpec, Initialization, InvocationSpan, LogEvent, LogFormat, LogSink, Micros, Millis, Phases,
    RequestId, SystemLogLevel, Timestamp, Within,
};
use bytes::Bytes;
use records::{extension_record, init_report_record, restore_report_record, runtime_done_record};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries that wait at most; then they leave at once.
const WAITING_MAX: usize = 512;
/// Entries that there is room for all the time.
const ROOM_KEPT: usize = 64;
/// Bytes of a line that begins or ends an invocation, about; a report has twice as many.
const LINE_ROOM: usize = 80;

/// One entry, in order.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The environment starts.
    InitStart {
        /// When.
        at: Timestamp,
        /// How.
        how: Initialization,
    },
    /// The function's own.
    Line(LogEvent),
    /// Its initialisation is over; in text only failures are shown.
    InitReport {
        /// When.
        at: Timestamp,
        /// How.
        how: Initialization,
        /// `init` or `invoke`.
        phase: &'static str,
        /// How long it took.
        took: Micros,
        /// What went wrong.
        failed: Option<InitFailed>,
    },
    /// An environment that was initialised for SnapStart is restored.
    RestoreStart {
        /// When.
        at: Timestamp,
    },
    /// Its restore is over.
    RestoreReport {
        /// When.
        at: Timestamp,
        /// How long it took.
        took: Micros,
        /// What went wrong.
        failed: Option<InitFailed>,
    },
    /// An extension, as it is at the end of the initialisation.
    Extension {
        /// When.
        at: Timestamp,
        /// Which.
        extension: Described,
    },
    /// An invocation begins.
    Start {
        /// When.
        at: Timestamp,
        /// Which.
        id: RequestId,
        /// How it is recorded.
        span: Option<InvocationSpan>,
        /// Whether its caller wants its log: [`Journal::take_tail`] is called at its end.
        tail: bool,
    },
    /// A line of the platform's within an invocation.
    Note {
        /// When.
        at: Timestamp,
        /// Text; a line break may be inside.
        text: String,
        /// Whether the time goes in front.
        stamped: bool,
    },
    /// An invocation is over.
    End(Ended),
}

/// A failed initialisation.
#[derive(Debug)]
pub(crate) struct InitFailed {
    pub(crate) timed_out: bool,
    pub(crate) kind: String,
}

/// Figures of an invocation that is over.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) id: RequestId,
    pub(crate) run: Micros,
    pub(crate) billed: Millis,
    pub(crate) memory_used_mb: u64,
    /// On the environment's first invocation; boxed, as what is rare.
    pub(crate) start: Option<Box<Phases>>,
    /// The same, where it was restored for it: how long that took.
    pub(crate) restored: Option<Micros>,
    /// Bytes of the answer.
    pub(crate) produced: usize,
    pub(crate) status: Status,
}

/// As it stands in reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    Timeout,
    /// With its type; `shown`: by a text report, too, as Lambda does for failures of the runtime, not of the handler.
    Error {
        kind: Box<str>,
        shown: bool,
    },
}

impl Status {
    fn name(&self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Timeout => "timeout",
            Status::Error { .. } => "error",
        }
    }
}

/// Writes one log stream.
pub(crate) struct Journal {
    spec: Arc<FunctionSpec>,
    stream: String,
    runtime_version: String,
    sink: Arc<dyn LogSink>,
    /// In order.
    waiting: Mutex<Vec<Entry>>,
    sending: Mutex<Sending>,
    /// Who else hears of it, while a process runs.
    hub: Mutex<Option<Arc<Hub>>>,
}

/// What is known of the entries that have left. Who has it locked sends off what waits: so no two swap their order, and nobody
/// who adds an entry waits for their texts.
#[derive(Default)]
struct Sending {
    /// Empty, with the room of those that left before.
    room: Vec<Entry>,
    /// Collects while an invocation runs whose caller wants it.
    tail: Option<Tail>,
    /// The invocation that runs, if it is recorded as a span.
    within: Option<Within>,
}

impl Journal {
    pub(crate) fn new(
        spec: Arc<FunctionSpec>,
        stream: String,
        runtime_version: String,
        sink: Arc<dyn LogSink>,
    ) -> Journal {
        Journal {
            spec,
            stream,
            runtime_version,
            sink,
            waiting: Mutex::default(),
            sending: Mutex::default(),
            hub: Mutex::default(),
        }
    }

    /// Name of the stream.
    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry.
    pub(crate) fn add(&self, entry: Entry) {
        self.tell(&entry);
        self.waiting().push(entry);
    }

    /// Appends the function's lines; when many wait, they leave.
    pub(crate) fn add_lines(&self, lines: &mut Vec<LogEvent>) {
        if lines.is_empty() {
            return;
        }
        self.tell_lines(lines, "function");
        self.put_lines(lines);
    }

    /// The same for an extension's.
    pub(crate) fn add_lines_of_extensions(&self, lines: &mut Vec<LogEvent>) {
        self.tell_lines(lines, "extension");
        self.put_lines(lines);
    }

    fn put_lines(&self, lines: &mut Vec<LogEvent>) {
        let many = {
            let mut waiting = self.waiting();
            waiting.extend(lines.drain(..).map(Entry::Line));
            waiting.len() >= WAITING_MAX
        };
        if many {
            self.flush();
        }
    }

    /// Sends what waits to the sink.
    pub(crate) fn flush(&self) {
        drop(self.send_off());
    }

    /// The same, and the end of what was written since the last [`Entry::Start`] that wanted it.
    pub(crate) fn take_tail(&self) -> Bytes {
        self.send_off().tail.take().unwrap_or_default().into_bytes()
    }

    fn send_off(&self) -> MutexGuard<'_, Sending> {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let Sending { room, tail, within } = &mut *sending;
        std::mem::swap(room, &mut *self.waiting());
        let mut events = Vec::with_capacity(room.len() + 2);
        // Empty as long as nothing is recorded as a span.
        let mut origins: Vec<Option<Within>> = Vec::new();
        for entry in room.drain(..) {
            let from = events.len();
            if let Entry::Start { id, span, tail: wanted, .. } = &entry {
                *tail = wanted.then(Tail::default);
                *within = span.map(|span| Within { request_id: *id, span });
            }
            let over = matches!(entry, Entry::End(_));
            self.format(entry, &mut events);
            if within.is_some() || !origins.is_empty() {
                origins.resize(from, None);
                origins.resize(events.len(), *within);
            }
            if over {
                *within = None;
            }
            if let Some(tail) = tail {
                events[from..].iter().for_each(|event| tail.push(&event.message));
            }
        }
        room.shrink_to(ROOM_KEPT);
        self.append(events, &origins);
        sending
    }

    fn append(&self, events: Vec<LogEvent>, origins: &[Option<Within>]) {
        if !events.is_empty() {
            let key = &self.spec.key;
            let (group, stream) = (&self.spec.logs.group, &self.stream);
            self.sink.append_within(key.account, &key.region, group, stream, events, origins);
        }
    }

    fn format(&self, entry: Entry, out: &mut Vec<LogEvent>) {
        match (entry, self.spec.logs.format) {
            (Entry::Line(event), _) => out.push(event),
            (entry, LogFormat::Text) => self.format_text(entry, out),
            (entry, LogFormat::Json { system, .. }) => self.format_json(entry, system, out),
        }
    }

    fn format_text(&self, entry: Entry, out: &mut Vec<LogEvent>) {
        let mut push = |at, message| out.push(LogEvent { at, message });
        match entry {
            Entry::InitStart { at, .. } => push(
                at,
                format!(
                    "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
                    self.runtime_version,
                    self.runtime_arn()
                ),
            ),
            Entry::RestoreStart { at } => push(
                at,
                format!(
                    "RESTORE_START Runtime Version: {}\tRuntime Version ARN: {}",
                    self.runtime_version,
                    self.runtime_arn()
                ),
            ),
            Entry::RestoreReport { at, took, failed } => {
                let status = failed.as_ref().map(status_text).unwrap_or_default();
                push(at, format!("RESTORE_REPORT Restore Duration: {} ms{status}", took.in_ms()));
            }
            Entry::InitReport { at, phase, took, failed: None, how: Initialization::SnapStart } => {
                push(at, format!("INIT_REPORT Init Duration: {} ms\tPhase: {phase}", took.in_ms()));
            }
            Entry::InitReport { failed: None, .. } => {}
            Entry::InitReport { at, phase, took, failed: Some(failed), .. } => {
                let status = status_text(&failed);
                push(at, format!("INIT_REPORT Init Duration: {} ms\tPhase: {phase}{status}", took.in_ms()));
            }
            Entry::Extension { at, extension } => {
                let Described { name, state, events, error } = extension;
                let error = error.map(|kind| format!("\tError Type: {kind}")).unwrap_or_default();
                push(
                    at,
                    format!("EXTENSION\tName: {name}\tState: {state}\tEvents: [{}]{error}", events.join(",")),
                );
            }
            Entry::Start { at, id, .. } => {
                let version = self.spec.key.version;
                push(at, written(LINE_ROOM, format_args!("START RequestId: {id} Version: {version}")));
            }
            Entry::Note { at, text, stamped: true } => push(at, format!("{} {text}\n", rfc3339(at))),
            Entry::Note { at, text, stamped: false } => push(at, text),
            Entry::End(ended) => {
                push(ended.at, written(LINE_ROOM, format_args!("END RequestId: {}", ended.id)));
                push(ended.at, self.report_text(&ended));
            }
            Entry::Line(event) => out.push(event),
        }
    }

    fn report_text(&self, ended: &Ended) -> String {
        use std::fmt::Write;
        let mut line = written(
            LINE_ROOM * 2,
            format_args!(
                "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB",
                ended.id,
                ended.run.in_ms(),
                ended.billed.0,
                self.spec.memory.0,
                ended.memory_used_mb,
            ),
        );
        if let Some(phases) = &ended.start {
            let _ = write!(line, "\tInit Duration: {} ms", init_duration(phases).in_ms());
        }
        if let Some(took) = ended.restored {
            let (took, billed) = (took.in_ms(), took.ceil_ms().0);
            let _ = write!(line, "\tRestore Duration: {took} ms\tBilled Restore Duration: {billed} ms");
        }
        match &ended.status {
            Status::Timeout => line.push_str("\tStatus: timeout"),
            Status::Error { kind, shown: true } => {
                let _ = write!(line, "\tStatus: error\tError Type: {kind}");
            }
            Status::Success | Status::Error { shown: false, .. } => {}
        }
        if let Some(phases) = &ended.start {
            let _ = write!(
                line,
                "\tStart Phases: queue {} ms, sandbox {} ms, boot {} ms, init {} ms",
                phases.queue.in_ms(),
                phases.sandbox.in_ms(),
                phases.boot.in_ms(),
                phases.init.in_ms()
            );
        }
        line.push('\t');
        line
    }

    fn format_json(&self, entry: Entry, least: SystemLogLevel, out: &mut Vec<LogEvent>) {
        let mut push = |at: Timestamp, level: SystemLogLevel, kind: &str, record: Value| {
            if level >= least {
                let message = json!({ "time": rfc3339(at), "type": kind, "record": record }).to_string();
                out.push(LogEvent { at, message });
            }
        };
        let good = |good: bool, then| if good { then } else { SystemLogLevel::Warn };
        match entry {
            Entry::InitStart { at, how } => {
                push(at, SystemLogLevel::Info, "platform.initStart", self.init_start_record(how));
            }
            Entry::InitReport { at, how, phase, took, failed } => {
                let level = good(failed.is_none(), SystemLogLevel::Debug);
                let kind = initialization_name(how, &self.spec);
                let record = init_report_record(kind, phase, took, failed.as_ref());
                push(at, level, "platform.initReport", record);
            }
            Entry::RestoreStart { at } => {
                push(at, SystemLogLevel::Info, "platform.restoreStart", self.restore_start_record());
            }
            Entry::RestoreReport { at, took, failed } => {
                let level = good(failed.is_none(), SystemLogLevel::Info);
                push(at, level, "platform.restoreReport", restore_report_record(took, failed.as_ref()));
            }
            Entry::Extension { at, extension } => {
                let level = good(extension.error.is_none(), SystemLogLevel::Info);
                push(at, level, "platform.extension", extension_record(&extension));
            }
            Entry::Start { at, id, .. } => {
                push(at, SystemLogLevel::Info, "platform.start", self.start_record(id));
            }
            // Never filtered: it says why an invocation failed.
            Entry::Note { at, text, .. } => {
                let message =
                    json!({ "timestamp": rfc3339(at), "level": "ERROR", "message": text }).to_string();
                out.push(LogEvent { at, message });
            }
            Entry::End(ended) => {
                let success = ended.status == Status::Success;
                let level = good(success, SystemLogLevel::Debug);
                push(ended.at, level, "platform.runtimeDone", runtime_done_record(&ended));
                let level = good(success, SystemLogLevel::Info);
                push(ended.at, level, "platform.report", self.report_record(&ended));
            }
            Entry::Line(event) => out.push(event),
        }
    }

    fn function_arn(&self) -> String {
        let key = &self.spec.key;
        let resource = match key.version {
            base::Version::Latest => format!("function:{}", key.name),
            base::Version::Published(number) => format!("function:{}:{number}", key.name),
        };
        Arn::new("lambda", Some(&key.region), key.account, &resource).to_string()
    }

    fn runtime_arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}::runtime:{}",
            self.spec.key.region,
            self.runtime_version.replace([':', ' '], "-")
        )
    }
}

/// What is made for each invocation: in room for all of it, which would otherwise grow piece by piece.
fn written(room: usize, text: std::fmt::Arguments<'_>) -> String {
    let mut line = String::with_capacity(room);
    // Texts do not fail.
    let _ = std::fmt::Write::write_fmt(&mut line, text);
    line
}

/// How a phase failed, behind its duration.
fn status_text(failed: &InitFailed) -> String {
    match failed.timed_out {
        true => "\tStatus: timeout".to_owned(),
        false => format!("\tStatus: error\tError Type: {}", failed.kind),
    }
}

/// What Lambda calls the initialisation: from the start of the runtime until it takes events.
pub(crate) fn init_duration(phases: &Phases) -> Micros {
    phases.boot + phases.init
}

/// `AWS_LAMBDA_INITIALIZATION_TYPE`.
pub(crate) fn initialization_name(how: Initialization, spec: &FunctionSpec) -> &'static str {
    match how {
        // Also where none waited: the hooks run all the same.
        _ if spec.snap_start => "snap-start",
        Initialization::OnDemand | Initialization::Proactive => "on-demand",
        Initialization::SnapStart => "snap-start",
        Initialization::Provisioned => "provisioned-concurrency",
    }
}

/// `2026-11-21T10:31:00.123Z`.
pub fn rfc3339(at: Timestamp) -> String {
    civil(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// Name of a new stream: `2026/11/21/[VERSION]` and 32 hexadecimal digits.
pub(crate) fn stream_name(at: Timestamp, version: base::Version, random: [u8; 16]) -> String {
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}/[{version}]{digits}", civil(at, "%Y/%m/%d"))
}

fn civil(at: Timestamp, format: &str) -> String {
    let instant = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    instant.strftime(format).to_string()
}

/// The last [`base::limits::LOG_TAIL_MAX`] of what is pushed, cut at a line's start where possible.
#[derive(Default)]
struct Tail {
    text: Vec<u8>,
}

impl Tail {
    const MAX: usize = base::limits::LOG_TAIL_MAX.0 as usize;

    fn push(&mut self, message: &str) {
        self.text.extend_from_slice(message.as_bytes());
        self.text.push(b'\n');
        if self.text.len() > 4 * Tail::MAX {
            self.text.drain(..self.text.len() - Tail::MAX);
        }
    }

    fn into_bytes(mut self) -> Bytes {
        if self.text.len() > Tail::MAX {
            self.text.drain(..self.text.len() - Tail::MAX);
            // Not in the middle of a character.
            let start = self.text.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
            self.text.drain(..start);
        }
        self.text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{
        AccountId, ApplicationLogLevel, CodeSha256, LogSettings, MemoryMib, Region, Seconds, Version,
        VersionKey,
    };

    #[derive(Default)]
    struct Memory(Mutex<Vec<String>>);

    impl LogSink for Memory {
        fn append(&self, _: AccountId, _: &Region, group: &str, stream: &str, events: Vec<LogEvent>) {
            assert_eq!((group, stream), ("/aws/lambda/f", "s"));
            self.0.lock().unwrap().extend(events.into_iter().map(|event| event.message));
        }
    }

    fn spec(format: LogFormat) -> Arc<FunctionSpec> {
        let id = RequestId::from_random([0; 16]);
        Arc::new(FunctionSpec {
            key: VersionKey {
                account: AccountId::DEFAULT,
                region: "us-east-1".parse().unwrap(),
                name: "f".parse().unwrap(),
                version: Version::Latest,
                revision: id,
                tenant: None,
            },
            runtime: "python3.12".into(),
            architecture: "x86_64".into(),
            handler: "app.handler".into(),
            code: CodeSha256([0; 32]),
            layers: Vec::new(),
            memory: MemoryMib(128),
            timeout: Seconds(3),
            scratch: MemoryMib(512),
            variables: Default::default(),
            role: "arn:aws:iam::000000000000:role/r".into(),
            logs: LogSettings { group: "/aws/lambda/f".into(), format },
            reserved_concurrency: None,
            idle_keep: None,
            snap_start: false,
        })
    }

    fn ended(status: Status, cold: bool) -> Entry {
        Entry::End(Ended {
            at: Timestamp(1_000),
            id: RequestId::from_random([0; 16]),
            run: Micros(1_234),
            billed: Millis(12),
            memory_used_mb: 31,
            start: cold.then(|| {
                Box::new(Phases {
                    queue: Micros(0),
                    sandbox: Micros(1_210),
                    boot: Micros(8_900),
                    init: Micros(400),
                })
            }),
            restored: None,
            produced: 2,
            status,
        })
    }

    /// Of a function that writes text.
    pub(super) fn journal(sink: Arc<dyn LogSink>) -> Journal {
        Journal::new(spec(LogFormat::Text), "s".into(), "python:3.12".into(), sink)
    }

    fn written(format: LogFormat, entries: Vec<Entry>) -> (Vec<String>, String) {
        let sink = Arc::new(Memory::default());
        let journal = Journal::new(spec(format), "s".into(), "python:3.12".into(), sink.clone());
        for entry in entries {
            journal.add(entry);
            // When entries leave does not matter.
            journal.flush();
        }
        let tail = journal.take_tail();
        let lines = sink.0.lock().unwrap().clone();
        (lines, String::from_utf8(tail.to_vec()).unwrap())
    }

    fn story() -> Vec<Entry> {
        let at = Timestamp(1_000);
        vec![
            Entry::InitStart { at, how: Initialization::OnDemand },
            Entry::Start { at, id: RequestId::from_random([0; 16]), span: None, tail: true },
            Entry::Line(LogEvent { at, message: "hello".into() }),
            ended(Status::Success, true),
        ]
    }

    #[test]
    fn text_lines_are_lambdas() {
        let (lines, tail) = written(LogFormat::Text, story());
        let id = "00000000-0000-4000-8000-000000000000";
        assert_eq!(
            lines,
            [
                "INIT_START Runtime Version: python:3.12\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:python-3.12".to_owned(),
                format!("START RequestId: {id} Version: $LATEST"),
                "hello".to_owned(),
                format!("END RequestId: {id}"),
                format!(
                    "REPORT RequestId: {id}\tDuration: 1.23 ms\tBilled Duration: 12 ms\tMemory Size: 128 MB\tMax Memory Used: 31 MB\tInit Duration: 9.30 ms\tStart Phases: queue 0.00 ms, sandbox 1.21 ms, boot 8.90 ms, init 0.40 ms\t"
                ),
            ]
        );
        assert_eq!(tail, lines[1..].join("\n") + "\n");
    }

    #[test]
    fn json_records_follow_the_system_level() {
        let format = |system| LogFormat::Json { application: ApplicationLogLevel::Info, system };
        let kinds = |level, entries| {
            let (lines, _) = written(format(level), entries);
            lines
                .iter()
                .map(|line| match serde_json::from_str::<Value>(line) {
                    Ok(value) => value["type"].as_str().unwrap_or("?").to_owned(),
                    Err(_) => line.clone(),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            kinds(SystemLogLevel::Info, story()),
            ["platform.initStart", "platform.start", "hello", "platform.report"]
        );
        assert_eq!(kinds(SystemLogLevel::Warn, story()), ["hello"]);
        assert_eq!(
            kinds(SystemLogLevel::Debug, vec![ended(Status::Success, false)]),
            ["platform.runtimeDone", "platform.report"]
        );
        assert_eq!(
            kinds(SystemLogLevel::Warn, vec![ended(Status::Timeout, false)]),
            ["platform.runtimeDone", "platform.report"]
        );
        let (lines, _) = written(format(SystemLogLevel::Info), vec![ended(Status::Success, true)]);
        let report: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(report["record"]["metrics"]["billedDurationMs"], 12);
        assert_eq!(report["record"]["metrics"]["initDurationMs"], 9.3);
        assert_eq!(report["time"], "1970-01-01T00:00:01.000Z");
    }

    #[test]
    fn the_tail_is_the_end_and_no_character_is_cut() {
        let mut tail = Tail::default();
        for _ in 0..5_000 {
            tail.push("aé");
        }
        let bytes = tail.into_bytes();
        assert!(bytes.len() <= Tail::MAX && bytes.len() > Tail::MAX - 4);
        assert!(std::str::from_utf8(&bytes).is_ok());
    }

    #[test]
    fn stream_names_have_date_version_and_digits() {
        assert_eq!(
            stream_name(Timestamp(1_795_257_060_000), Version::Published(3), [0xab; 16]),
            format!("2026/11/21/[3]{}", "ab".repeat(16))
        );
    }

    #[test]
    fn a_restore_is_told_beside_or_instead_of_the_initialisation() {
        let restored = |cold| {
            let mut end = ended(Status::Success, cold);
            if let Entry::End(ended) = &mut end {
                ended.restored = Some(Micros(2_100));
            }
            vec![
                Entry::RestoreStart { at: Timestamp(1) },
                Entry::RestoreReport { at: Timestamp(2), took: Micros(2_100), failed: None },
                end,
            ]
        };
        let (lines, _) = written(LogFormat::Text, restored(false));
        assert!(lines[0].starts_with("RESTORE_START Runtime Version: python:3.12"), "{lines:?}");
        assert_eq!(lines[1].trim_end(), "RESTORE_REPORT Restore Duration: 2.10 ms");
        let report = lines.last().unwrap().trim_end();
        assert!(report.contains("\tRestore Duration: 2.10 ms\tBilled Restore Duration: 3 ms"), "{report}");
        assert!(!report.contains("Init Duration"), "{report}");
        let (lines, _) = written(LogFormat::Text, restored(true));
        let report = lines.last().unwrap();
        assert!(report.contains("\tInit Duration: ") && report.contains("\tRestore Duration: "), "{report}");
    }
}
