//! Failures that the platform itself reports, in Lambda's words.

use crate::link::Report;
use base::{FunctionError, FunctionErrorKind, RequestId, Seconds};
use bytes::Bytes;
use sandbox::{Exit, Exited};

/// Largest response of a buffered invocation, in bytes: Lambda's documented 6 MB and the 100 bytes that it grants beyond.
/// Source: the text of its error.
pub(crate) const RESPONSE_MAX: usize = base::limits::PAYLOAD_SYNC_MAX.0 as usize + 100;

/// `{"errorType": …, "errorMessage": …}`.
pub(crate) fn payload(kind: &str, message: &str) -> Bytes {
    #[derive(serde::Serialize)]
    struct Shape<'a> {
        #[serde(rename = "errorType")]
        kind: &'a str,
        #[serde(rename = "errorMessage")]
        message: &'a str,
    }
    serde_json::to_vec(&Shape { kind, message }).unwrap_or_default().into()
}

/// Why an invocation or initialisation failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The runtime told it.
    Reported(Report),
    /// It took too long.
    TimedOut,
    /// The process ended.
    Exited(Exited),
    /// It broke the protocol.
    Misbehaved(&'static str),
    /// The answer is larger than [`RESPONSE_MAX`].
    TooLarge,
    /// A streamed answer is larger than [`base::limits::PAYLOAD_STREAM_MAX`].
    StreamTooLarge,
    /// The program could not be executed.
    NoEntrypoint(String),
    /// WebAssembly code trapped.
    Trapped(String),
    /// An extension failed: Lambda's error type, and what is known of it.
    Extension { kind: &'static str, reason: String },
}

impl Failure {
    /// Lambda's error type.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Failure::Reported(report) => &report.kind,
            Failure::TimedOut => "Sandbox.Timedout",
            Failure::Exited(Exited { oom: true, .. }) => "Runtime.OutOfMemory",
            Failure::Exited(_) | Failure::Trapped(_) => "Runtime.ExitError",
            Failure::Misbehaved(_) => "Runtime.Unknown",
            Failure::TooLarge | Failure::StreamTooLarge => "Function.ResponseSizeTooLarge",
            Failure::NoEntrypoint(_) => "Runtime.InvalidEntrypoint",
            Failure::Extension { kind, .. } => kind,
        }
    }

    /// What the log says about it after the function's own lines, if the runtime has not said it.
    pub(crate) fn log_line(&self, id: RequestId, timeout: Seconds) -> Option<String> {
        match self {
            Failure::Reported(_) => None,
            // The time in front is the journal's.
            Failure::TimedOut => Some(format!("{id} {}", timed_out(timeout))),
            Failure::Exited(_)
            | Failure::Trapped(_)
            | Failure::NoEntrypoint(_)
            | Failure::Misbehaved(_)
            | Failure::Extension { .. } => {
                Some(format!("RequestId: {id} Error: {}\n{}", self.reason(timeout), self.kind()))
            }
            Failure::TooLarge | Failure::StreamTooLarge => {
                Some(format!("RequestId: {id} Error: {}", self.reason(timeout)))
            }
        }
    }

    /// What the caller gets.
    pub(crate) fn error(&self, id: RequestId, timeout: Seconds) -> FunctionError {
        let payload = match self {
            Failure::Reported(report) => with_request_id(&report.payload, id),
            Failure::TooLarge | Failure::StreamTooLarge => payload(self.kind(), &self.reason(timeout)),
            Failure::TimedOut
            | Failure::Exited(_)
            | Failure::Trapped(_)
            | Failure::Misbehaved(_)
            | Failure::NoEntrypoint(_)
            | Failure::Extension { .. } => {
                payload(self.kind(), &format!("RequestId: {id} Error: {}", self.reason(timeout)))
            }
        };
        FunctionError { kind: FunctionErrorKind::Unhandled, payload }
    }

    /// The error type and what is known of it.
    pub(crate) fn summary(&self, timeout: Seconds) -> String {
        match self {
            Failure::Reported(report) => {
                let told: Option<serde_json::Value> = serde_json::from_slice(&report.payload).ok();
                let message = told.as_ref().and_then(|told| told.get("errorMessage")?.as_str());
                format!("{}: {}", report.kind, message.unwrap_or_default())
            }
            Failure::TimedOut => format!("{}: the initialisation took too long", self.kind()),
            _ => format!("{}: {}", self.kind(), self.reason(timeout)),
        }
    }

    fn reason(&self, timeout: Seconds) -> String {
        match self {
            Failure::Reported(report) => report.kind.clone(),
            Failure::TimedOut => timed_out(timeout),
            Failure::Exited(exited) => exit_reason(exited),
            Failure::Misbehaved(how) => format!("Runtime broke the protocol: {how}"),
            Failure::TooLarge => {
                format!("Response payload size exceeded maximum allowed payload size ({RESPONSE_MAX} bytes).")
            }
            Failure::StreamTooLarge => format!(
                "Response payload size exceeded maximum allowed payload size ({} bytes).",
                base::limits::PAYLOAD_STREAM_MAX.0
            ),
            Failure::Trapped(reason) => format!("Runtime exited with error: {reason}"),
            Failure::NoEntrypoint(reason) | Failure::Extension { reason, .. } => reason.clone(),
        }
    }

    /// What becomes of an environment in which this happened during an invocation; `None`: it serves on.
    pub(crate) fn ends(&self) -> Option<base::Exit> {
        match self {
            Failure::Reported(_) | Failure::TooLarge | Failure::StreamTooLarge => None,
            Failure::TimedOut => Some(base::Exit::TimedOut),
            Failure::Exited(Exited { oom: true, .. }) => Some(base::Exit::OutOfMemory),
            Failure::Exited(_) | Failure::Trapped(_) | Failure::Extension { .. } => Some(base::Exit::Crashed),
            Failure::Misbehaved(_) => Some(base::Exit::Misbehaved),
            Failure::NoEntrypoint(_) => Some(base::Exit::InitFailed),
        }
    }

    /// How it is metered.
    pub(crate) fn outcome(&self) -> base::Outcome {
        match self {
            Failure::TimedOut => base::Outcome::Timeout,
            Failure::Exited(Exited { oom: true, .. }) => base::Outcome::OutOfMemory,
            _ => base::Outcome::Error,
        }
    }
}

/// `Task timed out after 3.00 seconds`.
pub(crate) fn timed_out(timeout: Seconds) -> String {
    format!("Task timed out after {:.2} seconds", f64::from(timeout.0))
}

fn exit_reason(exited: &Exited) -> String {
    match exited.exit {
        _ if exited.oom => "Runtime exited with error: signal: killed".to_owned(),
        Exit::Code(0) => "Runtime exited without providing a reason".to_owned(),
        Exit::Code(code) => format!("Runtime exited with error: exit status {code}"),
        Exit::Signal(signal) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
    }
}

/// How an extension ended.
pub(crate) fn extension_ended(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit status {code}"),
        Exit::Signal(signal) => format!("signal: {}", signal_name(signal)),
    }
}

/// As the standard library in which Lambda's agent is written names signals.
fn signal_name(signal: u8) -> String {
    let known = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    known.to_owned()
}

/// A runtime that fails while it initialises does not know which invocation it fails for.
fn with_request_id(payload: &Bytes, id: RequestId) -> Bytes {
    const EMPTY: &[u8] = br#""requestId": """#;
    match payload.windows(EMPTY.len()).position(|window| window == EMPTY) {
        None => payload.clone(),
        Some(at) => {
            let mut out = payload[..at].to_vec();
            out.extend_from_slice(format!(r#""requestId": "{id}""#).as_bytes());
            out.extend_from_slice(&payload[at + EMPTY.len()..]);
            out.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: &Failure) -> String {
        let error = failure.error(RequestId::from_random([0; 16]), Seconds(3));
        String::from_utf8(error.payload.to_vec()).unwrap()
    }

    #[test]
    fn failures_are_worded_as_on_lambda() {
        let id = "00000000-0000-4000-8000-000000000000";
        assert_eq!(
            text(&Failure::TimedOut),
            format!(
                r#"{{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {id} Error: Task timed out after 3.00 seconds"}}"#
            )
        );
        let killed = Failure::Exited(Exited { exit: Exit::Signal(9), oom: true });
        assert_eq!(
            text(&killed),
            format!(
                r#"{{"errorType":"Runtime.OutOfMemory","errorMessage":"RequestId: {id} Error: Runtime exited with error: signal: killed"}}"#
            )
        );
        let code = Failure::Exited(Exited { exit: Exit::Code(2), oom: false });
        assert!(text(&code).contains("Runtime exited with error: exit status 2"));
        let quiet = Failure::Exited(Exited { exit: Exit::Code(0), oom: false });
        assert!(text(&quiet).contains("Runtime exited without providing a reason"));
        assert!(text(&Failure::TooLarge).contains("(6291556 bytes)"));
    }

    #[test]
    fn initialisation_errors_learn_their_request_id() {
        let report = Report {
            kind: "Runtime.X".into(),
            payload: Bytes::from_static(
                br#"{"errorMessage": "\"requestId\": \"\"", "requestId": "", "stackTrace": []}"#,
            ),
        };
        assert_eq!(
            text(&Failure::Reported(report)),
            r#"{"errorMessage": "\"requestId\": \"\"", "requestId": "00000000-0000-4000-8000-000000000000", "stackTrace": []}"#
        );
    }
}
