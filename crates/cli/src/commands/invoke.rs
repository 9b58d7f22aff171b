//! `neap invoke`: the answer to standard output, everything else to standard error.

use super::{Ending, client};
use crate::{
    args,
    client::functions::{Invoked, Mode},
    error::Error,
    output::Output,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::Read;

/// Runs the command. A function error is [`Ending::Failure`].
pub(crate) async fn run(arguments: args::Invoke, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    let payload = payload(&arguments.payload)?;
    let mode = match (arguments.asynchronous, arguments.tail || output.json) {
        (true, _) => Mode::Asynchronous,
        (false, true) => Mode::WithTail,
        (false, false) => Mode::Synchronous,
    };
    let invoked = client.invoke(&arguments.name, arguments.qualifier.as_deref(), mode, payload).await?;
    if output.json {
        output.json_document(&Report::new(&invoked));
    } else {
        show(&arguments.name, mode, &invoked, output);
    }
    Ok(if invoked.function_error.is_some() { Ending::Failure } else { Ending::Success })
}

/// The event: JSON as given, the content of a file, or standard input. It must be JSON, as the service demands.
pub(crate) fn payload(given: &str) -> Result<Bytes, Error> {
    let unusable = |reason: String| Error::Payload { from: given.chars().take(60).collect(), reason };
    let bytes = if given == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
        bytes
    } else if let Some(file) = given.strip_prefix('@') {
        std::fs::read(file).map_err(|error| unusable(error.to_string()))?
    } else {
        given.as_bytes().to_vec()
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        .map_err(|error| unusable(format!("not JSON: {error}")))?;
    Ok(Bytes::from(bytes))
}

fn show(name: &str, mode: Mode, invoked: &Invoked, output: Output) {
    let paint = output.paint_err();
    if let Some(tail) = &invoked.log_tail {
        output.note(&paint.dim(tail.trim_end()));
    }
    if mode == Mode::Asynchronous {
        let id = invoked.request_id.as_deref().unwrap_or("unknown");
        output.note(&format!("accepted as request {id}; its log: neap logs {name}"));
        return;
    }
    let text = String::from_utf8_lossy(&invoked.payload);
    match &invoked.function_error {
        None => output.line(&text),
        Some(_) => output.note(&failure(name, &text, paint)),
    }
}

/// What a failed function said, for people: type and message first, then the trace as it came.
fn failure(name: &str, payload: &str, paint: crate::output::Paint) -> String {
    let json: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
    let member = |name: &str| json.get(name).and_then(|value| value.as_str());
    let mut text = match (member("errorType"), member("errorMessage")) {
        (Some(kind), Some(message)) => paint.red(&format!("{kind}: {message}")),
        (None, Some(message)) => paint.red(message),
        (_, None) => paint.red(payload),
    };
    for line in ["stackTrace", "trace"].iter().filter_map(|key| json.get(key)?.as_array()).flatten() {
        if let Some(line) = line.as_str() {
            text.push_str(&format!("\n  {}", line.trim_end()));
        }
    }
    format!("{text}\n{}", paint.dim(&format!("function {name} failed; its log: neap logs {name}")))
}

/// The JSON form.
#[derive(Serialize)]
struct Report<'a> {
    status: u16,
    request_id: Option<&'a str>,
    executed_version: Option<&'a str>,
    function_error: Option<&'a str>,
    log_tail: Option<&'a str>,
    /// As the function wrote it; a text where it is not JSON.
    payload: Box<RawValue>,
}

impl<'a> Report<'a> {
    fn new(invoked: &'a Invoked) -> Report<'a> {
        let text = String::from_utf8_lossy(&invoked.payload);
        let payload = RawValue::from_string(text.clone().into_owned())
            .or_else(|_| serde_json::value::to_raw_value(&text))
            .unwrap_or_default();
        Report {
            status: invoked.status,
            request_id: invoked.request_id.as_deref(),
            executed_version: invoked.executed_version.as_deref(),
            function_error: invoked.function_error.as_deref(),
            log_tail: invoked.log_tail.as_deref(),
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_inline_or_from_a_file() {
        assert_eq!(payload("{\"a\": 1}").unwrap(), "{\"a\": 1}");
        assert_eq!(payload("[]").unwrap(), "[]");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\"x\"").unwrap();
        assert_eq!(payload(&format!("@{}", file.path().display())).unwrap(), "\"x\"");
        for bad in ["hello", "", "{", "@/no/such/file"] {
            assert!(matches!(payload(bad), Err(Error::Payload { .. })), "{bad}");
        }
    }

    #[test]
    fn a_failure_shows_type_message_and_trace() {
        let output = Output { json: false, colour_out: false, colour_err: false, live: false };
        let text = failure(
            "f",
            r#"{"errorType": "ValueError", "errorMessage": "no way", "stackTrace": ["  File \"a\", line 1\n"]}"#,
            output.paint_err(),
        );
        assert!(text.starts_with("ValueError: no way\n    File \"a\", line 1\n"), "{text}");
        assert!(failure("f", "plain", output.paint_err()).starts_with("plain\n"));
    }
}
