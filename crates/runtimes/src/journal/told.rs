//! The same entries as events of the Telemetry API and the Logs API.

use super::{
    Ended, Entry, InitFailed, Journal, Status, initialization_name,
    records::{
        extension_record, init_report_record, phase_done_record, restore_report_record, rounded, with_status,
    },
};
use crate::telemetry::{Audience, Event, Hub};
use base::{Initialization, LogEvent, LogFormat, Micros, RequestId, Timestamp};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};

impl Journal {
    /// Has `hub` hear of everything from now on; `None`: nobody. It begins with the start of the environment.
    pub(crate) fn watch(&self, hub: Option<(Arc<Hub>, Timestamp, Initialization)>) {
        let hub = hub.map(|(hub, at, how)| {
            let record = self.init_start_record(how);
            hub.tell(Event::new(at, "platform.initStart", Audience::Telemetry, &record));
            hub
        });
        *self.hub.lock().unwrap_or_else(PoisonError::into_inner) = hub;
    }

    /// Who hears of it.
    pub(crate) fn hub(&self) -> Option<Arc<Hub>> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listening(&self) -> Option<Arc<Hub>> {
        self.hub().filter(|hub| hub.listens())
    }

    pub(super) fn tell_lines(&self, lines: &[LogEvent], kind: &'static str) {
        let Some(hub) = self.listening() else { return };
        let structured = matches!(self.spec.logs.format, LogFormat::Json { .. });
        for line in lines {
            let parsed = || serde_json::from_str::<Value>(&line.message).ok().filter(Value::is_object);
            let record = structured.then(parsed).flatten().unwrap_or_else(|| line.message.as_str().into());
            hub.tell(Event::new(line.at, kind, Audience::Both, &record));
        }
    }

    /// Tells an entry; lines are told by [`Journal::tell_lines`], the end of the runtime's part by
    /// [`Journal::runtime_done`].
    pub(super) fn tell(&self, entry: &Entry) {
        let Some(hub) = self.listening() else { return };
        let tell = |at, kind, audience, record: Value| hub.tell(Event::new(at, kind, audience, &record));
        match entry {
            Entry::InitStart { .. } | Entry::Line(_) => {}
            Entry::InitReport { at, how, phase, took, failed } => {
                let kind = initialization_name(*how, &self.spec);
                let record = init_report_record(kind, phase, *took, failed.as_ref());
                tell(*at, "platform.initReport", Audience::Telemetry, record);
            }
            Entry::RestoreStart { at } => {
                tell(*at, "platform.restoreStart", Audience::Telemetry, self.restore_start_record());
            }
            Entry::RestoreReport { at, took, failed } => {
                let record = restore_report_record(*took, failed.as_ref());
                tell(*at, "platform.restoreReport", Audience::Telemetry, record);
            }
            Entry::Extension { at, extension } => {
                tell(*at, "platform.extension", Audience::Both, extension_record(extension));
            }
            Entry::Start { at, id, .. } => {
                tell(*at, "platform.start", Audience::Both, self.start_record(*id))
            }
            Entry::Note { at, text, .. } => {
                tell(*at, "platform.fault", Audience::Logs, text.as_str().into());
            }
            Entry::End(ended) => {
                let Ended { at, id, .. } = ended;
                tell(*at, "platform.end", Audience::Logs, json!({ "requestId": id.to_string() }));
                tell(*at, "platform.report", Audience::Both, self.report_record(ended));
            }
        }
    }

    /// Tells that the runtime takes events, or does not.
    pub(crate) fn init_runtime_done(&self, at: Timestamp, how: Initialization, phase: &str, good: bool) {
        let Some(hub) = self.listening() else { return };
        let status = if good { "success" } else { "error" };
        let record = json!({ "initializationType": initialization_name(how, &self.spec), "phase": phase, "status": status });
        hub.tell(Event::new(at, "platform.initRuntimeDone", Audience::Telemetry, &record));
    }

    /// Tells that the runtime has run its hooks after the restore, or how that failed.
    pub(crate) fn restore_runtime_done(&self, at: Timestamp, failed: Option<&InitFailed>) {
        let Some(hub) = self.listening() else { return };
        let record = phase_done_record(failed);
        hub.tell(Event::new(at, "platform.restoreRuntimeDone", Audience::Telemetry, &record));
    }

    /// Tells that the runtime is done with an invocation; extensions may not be.
    pub(crate) fn runtime_done(
        &self,
        at: Timestamp,
        id: RequestId,
        run: Micros,
        produced: usize,
        status: &Status,
    ) {
        let Some(hub) = self.listening() else { return };
        let metrics = json!({ "durationMs": rounded(run), "producedBytes": produced });
        hub.tell(Event::new(at, "platform.runtimeDone", Audience::Both, &with_status(id, status, metrics)));
    }
}
