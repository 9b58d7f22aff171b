//! The records of entries as JSON, for logs in that format and for the Telemetry API. Source: Lambda's guide, Telemetry API event schemas.

use super::{Ended, InitFailed, Journal, Status, init_duration, initialization_name};
use crate::extensions::Described;
use base::{Initialization, Micros, RequestId};
use serde_json::{Map, Value, json};

impl Journal {
    pub(super) fn init_start_record(&self, how: Initialization) -> Value {
        let key = &self.spec.key;
        json!({
            "initializationType": initialization_name(how, &self.spec), "phase": "init",
            "runtimeVersion": self.runtime_version, "runtimeVersionArn": self.runtime_arn(),
            "functionName": key.name.as_str(), "functionVersion": key.version.to_string(),
            "instanceMaxMemory": self.spec.memory.bytes().0,
        })
    }

    /// The same of a restore, whose type says the rest.
    pub(super) fn restore_start_record(&self) -> Value {
        let mut record = self.init_start_record(Initialization::SnapStart);
        if let Some(record) = record.as_object_mut() {
            record.remove("phase");
            record.remove("initializationType");
        }
        record
    }

    pub(super) fn start_record(&self, id: RequestId) -> Value {
        let version = self.spec.key.version.to_string();
        json!({ "requestId": id.to_string(), "functionArn": self.function_arn(), "version": version })
    }

    pub(super) fn report_record(&self, ended: &Ended) -> Value {
        with_status(ended.id, &ended.status, self.metrics(ended))
    }

    pub(super) fn metrics(&self, ended: &Ended) -> Value {
        let mut metrics = json!({
            "durationMs": rounded(ended.run), "billedDurationMs": ended.billed.0,
            "memorySizeMB": self.spec.memory.0, "maxMemoryUsedMB": ended.memory_used_mb,
        });
        if let (Some(phases), Some(metrics)) = (&ended.start, metrics.as_object_mut()) {
            metrics.insert("initDurationMs".into(), rounded(init_duration(phases)).into());
            metrics.insert(
                "startPhasesMs".into(),
                json!({
                    "queue": rounded(phases.queue), "sandbox": rounded(phases.sandbox),
                    "boot": rounded(phases.boot), "init": rounded(phases.init),
                }),
            );
        }
        if let (Some(took), Some(metrics)) = (ended.restored, metrics.as_object_mut()) {
            metrics.insert("restoreDurationMs".into(), rounded(took).into());
            metrics.insert("billedRestoreDurationMs".into(), took.ceil_ms().0.into());
        }
        metrics
    }
}

pub(super) fn init_report_record(
    kind: &str,
    phase: &str,
    took: Micros,
    failed: Option<&InitFailed>,
) -> Value {
    let mut record = restore_report_record(took, failed);
    if let Some(record) = record.as_object_mut() {
        record.insert("initializationType".into(), kind.into());
        record.insert("phase".into(), phase.into());
    }
    record
}

pub(super) fn restore_report_record(took: Micros, failed: Option<&InitFailed>) -> Value {
    let mut record = phase_done_record(failed);
    if let Some(record) = record.as_object_mut() {
        record.insert("metrics".into(), json!({ "durationMs": rounded(took) }));
    }
    record
}

/// How a phase ended.
pub(super) fn phase_done_record(failed: Option<&InitFailed>) -> Value {
    let status = failed.map_or("success", |f| if f.timed_out { "timeout" } else { "error" });
    let mut record = json!({ "status": status });
    if let (Some(failed), Some(record)) = (failed, record.as_object_mut())
        && !failed.timed_out
    {
        record.insert("errorType".into(), failed.kind.as_str().into());
    }
    record
}

pub(super) fn extension_record(extension: &Described) -> Value {
    let Described { name, state, events, error } = extension;
    let mut record = json!({ "name": name, "state": state, "events": events });
    if let (Some(kind), Some(record)) = (error, record.as_object_mut()) {
        record.insert("errorType".into(), kind.as_str().into());
    }
    record
}

pub(super) fn runtime_done_record(ended: &Ended) -> Value {
    let metrics = json!({ "durationMs": rounded(ended.run), "producedBytes": ended.produced });
    with_status(ended.id, &ended.status, metrics)
}

pub(super) fn with_status(id: RequestId, status: &Status, metrics: Value) -> Value {
    let mut record = Map::new();
    record.insert("requestId".into(), id.to_string().into());
    record.insert("metrics".into(), metrics);
    record.insert("status".into(), status.name().into());
    if let Status::Error { kind, .. } = status {
        record.insert("errorType".into(), (**kind).into());
    }
    Value::Object(record)
}

/// Milliseconds with three decimals.
pub(super) fn rounded(span: Micros) -> f64 {
    span.as_ms()
}
