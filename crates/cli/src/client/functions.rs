//! The operations of the Lambda API that the commands use.

use super::{Call, Client, encode, header_text};
use crate::error::Error;
use base64::Engine;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

const SERVICE: &str = "lambda";
const ROOT: &str = "/2015-03-31/functions";
/// What a path component or a query value may hold unescaped.
pub(super) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// How long a change may take until the function is ready.
const READY_MAX: Duration = Duration::from_secs(120);
/// First pause between two looks at a function's state; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A function as the API shows it; what is not listed here is ignored.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Function {
    pub(crate) function_name: String,
    pub(crate) function_arn: String,
    pub(crate) runtime: Option<String>,
    pub(crate) handler: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) memory_size: Option<u32>,
    pub(crate) timeout: Option<u32>,
    pub(crate) version: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) code_size: u64,
    pub(crate) code_sha256: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) state_reason: Option<String>,
    pub(crate) last_update_status: Option<String>,
    pub(crate) last_update_status_reason: Option<String>,
    pub(crate) environment: Option<Environment>,
    pub(crate) ephemeral_storage: Option<EphemeralStorage>,
    pub(crate) architectures: Option<Vec<String>>,
}

/// Environment variables on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<String, String>,
}

/// Size of `/tmp` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EphemeralStorage {
    pub(crate) size: u32,
}

/// Settings of a function to set; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Configuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<Environment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ephemeral_storage: Option<EphemeralStorage>,
}

impl Configuration {
    /// Whether `function` already has all that this sets.
    pub(crate) fn holds_for(&self, function: &Function) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, present: &Option<T>) -> bool {
            wanted.is_none() || wanted == present
        }
        let no_variables = || Some(Environment::default());
        same(&self.runtime, &function.runtime)
            && same(&self.handler, &function.handler)
            && same(&self.role, &function.role)
            && same(&self.description, &function.description)
            && same(&self.memory_size, &function.memory_size)
            && same(&self.timeout, &function.timeout)
            && same(&self.ephemeral_storage, &function.ephemeral_storage)
            && same(&self.environment, &function.environment.clone().or_else(no_variables))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput<'a> {
    function_name: &'a str,
    code: CodeInput,
    architectures: [&'a str; 1],
    #[serde(flatten)]
    configuration: &'a Configuration,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CodeInput {
    zip_file: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateCodeInput<'a> {
    zip_file: String,
    architectures: [&'a str; 1],
}

/// How to call a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Wait for the answer.
    Synchronous,
    /// The same, with the end of the log.
    WithTail,
    /// Queue it.
    Asynchronous,
}

/// What came of an invocation.
#[derive(Debug)]
pub(crate) struct Invoked {
    /// 200 or 202.
    pub(crate) status: u16,
    /// `Unhandled` or `Handled` when the function failed.
    pub(crate) function_error: Option<String>,
    /// Which version ran.
    pub(crate) executed_version: Option<String>,
    /// Request id of the invocation.
    pub(crate) request_id: Option<String>,
    /// The end of its log.
    pub(crate) log_tail: Option<String>,
    /// The answer.
    pub(crate) payload: Bytes,
}

fn path(name: &str, rest: &str) -> String {
    format!("{ROOT}/{}{rest}", utf8_percent_encode(name, COMPONENT))
}

fn rest<'a>(operation: &'a str, method: Method, path: String, body: Bytes) -> Call<'a> {
    let headers = match body.is_empty() {
        true => Vec::new(),
        false => vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
    };
    Call { service: SERVICE, operation, method, path, headers, body }
}

impl Client {
    /// The function of that name.
    pub(crate) async fn function(&self, name: &str) -> Result<Function, Error> {
        let call = rest("GetFunctionConfiguration", Method::GET, path(name, "/configuration"), Bytes::new());
        self.json(call).await
    }

    /// A function's configuration and the link to its package, as the API says them.
    pub(crate) async fn whole_function(&self, name: &str) -> Result<serde_json::Value, Error> {
        self.json(rest("GetFunction", Method::GET, path(name, ""), Bytes::new())).await
    }

    /// Creates a function from a whole request.
    pub(crate) async fn create_from(&self, input: &serde_json::Value) -> Result<Function, Error> {
        let operation = "CreateFunction";
        self.json(rest(operation, Method::POST, ROOT.to_owned(), encode(operation, input)?)).await
    }

    /// All functions, page by page.
    pub(crate) async fn functions(&self) -> Result<Vec<Function>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Page {
            functions: Vec<Function>,
            next_marker: Option<String>,
        }
        let mut all = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let query = marker.map_or(String::new(), |marker| {
                format!("?Marker={}", utf8_percent_encode(&marker, COMPONENT))
            });
            let page: Page =
                self.json(rest("ListFunctions", Method::GET, format!("{ROOT}{query}"), Bytes::new())).await?;
            all.extend(page.functions);
            match page.next_marker.filter(|next| !next.is_empty()) {
                Some(next) => marker = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Creates a function.
    pub(crate) async fn create_function(
        &self,
        name: &str,
        zip: &[u8],
        architecture: &str,
        configuration: &Configuration,
    ) -> Result<Function, Error> {
        let operation = "CreateFunction";
        let input = CreateInput {
            function_name: name,
            code: CodeInput { zip_file: base64(zip) },
            architectures: [architecture],
            configuration,
        };
        self.json(rest(operation, Method::POST, ROOT.to_owned(), encode(operation, &input)?)).await
    }

    /// Replaces a function's code.
    pub(crate) async fn update_code(
        &self,
        name: &str,
        zip: &[u8],
        architecture: &str,
    ) -> Result<Function, Error> {
        let operation = "UpdateFunctionCode";
        let input = UpdateCodeInput { zip_file: base64(zip), architectures: [architecture] };
        self.json(rest(operation, Method::PUT, path(name, "/code"), encode(operation, &input)?)).await
    }

    /// Changes a function's settings.
    pub(crate) async fn update_configuration(
        &self,
        name: &str,
        configuration: &Configuration,
    ) -> Result<Function, Error> {
        let operation = "UpdateFunctionConfiguration";
        let body = encode(operation, configuration)?;
        self.json(rest(operation, Method::PUT, path(name, "/configuration"), body)).await
    }

    /// The tags of the function with this ARN.
    pub(crate) async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Output {
            #[serde(default)]
            tags: BTreeMap<String, String>,
        }
        let path = format!("/2017-03-31/tags/{}", utf8_percent_encode(arn, COMPONENT));
        let output: Output = self.json(rest("ListTags", Method::GET, path, Bytes::new())).await?;
        Ok(output.tags)
    }

    /// Deletes a function with all its versions.
    pub(crate) async fn delete_function(&self, name: &str) -> Result<(), Error> {
        self.call(rest("DeleteFunction", Method::DELETE, path(name, ""), Bytes::new())).await.map(drop)
    }

    /// Calls a function.
    pub(crate) async fn invoke(
        &self,
        name: &str,
        qualifier: Option<&str>,
        mode: Mode,
        payload: Bytes,
    ) -> Result<Invoked, Error> {
        let query = qualifier.map_or(String::new(), |qualifier| {
            format!("?Qualifier={}", utf8_percent_encode(qualifier, COMPONENT))
        });
        let mut call = rest("Invoke", Method::POST, path(name, &format!("/invocations{query}")), payload);
        let kind = if mode == Mode::Asynchronous { "Event" } else { "RequestResponse" };
        call.headers.push((HeaderName::from_static("x-amz-invocation-type"), HeaderValue::from_static(kind)));
        if mode == Mode::WithTail {
            call.headers.push((HeaderName::from_static("x-amz-log-type"), HeaderValue::from_static("Tail")));
        }
        let answer = self.call(call).await?;
        let text = |name: &str| header_text(answer.headers(), name).map(str::to_owned);
        let log_tail = text("x-amz-log-result")
            .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Invoked {
            status: answer.status().as_u16(),
            function_error: text("x-amz-function-error"),
            executed_version: text("x-amz-executed-version"),
            request_id: text("x-amzn-requestid"),
            log_tail,
            payload: answer.into_body(),
        })
    }

    /// Waits until a function is active and its last update is done.
    pub(crate) async fn ready(&self, mut function: Function) -> Result<Function, Error> {
        let begun = tokio::time::Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            match readiness(&function) {
                Readiness::Ready => return Ok(function),
                Readiness::Failed { state, reason } => {
                    return Err(Error::NotReady { name: function.function_name, state, reason });
                }
                Readiness::Pending if begun.elapsed() > READY_MAX => {
                    return Err(Error::StillPending {
                        name: function.function_name,
                        waited_s: READY_MAX.as_secs(),
                    });
                }
                Readiness::Pending => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    function = self.function(&function.function_name).await?;
                }
            }
        }
    }
}

/// How far a function is.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    Pending,
    Failed { state: String, reason: String },
}

fn readiness(function: &Function) -> Readiness {
    let failed = |state: &str, reason: &Option<String>| Readiness::Failed {
        state: state.to_owned(),
        reason: reason.clone().unwrap_or_else(|| "no reason given".to_owned()),
    };
    match (function.state.as_deref(), function.last_update_status.as_deref()) {
        (Some(state @ "Failed"), _) => failed(state, &function.state_reason),
        (_, Some("Failed")) => failed("not updated", &function.last_update_status_reason),
        (Some("Pending"), _) | (_, Some("InProgress")) => Readiness::Pending,
        _ => Readiness::Ready,
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns_are_escaped_in_paths() {
        assert_eq!(path("a-b_1", ""), "/2015-03-31/functions/a-b_1");
        assert_eq!(path("a:1", "/code"), "/2015-03-31/functions/a%3A1/code");
    }

    #[test]
    fn readiness_follows_state_and_update() {
        let function = |state: &str, update: &str| Function {
            state: Some(state.into()),
            last_update_status: Some(update.into()),
            ..Function::default()
        };
        assert_eq!(readiness(&function("Active", "Successful")), Readiness::Ready);
        assert_eq!(readiness(&function("Pending", "InProgress")), Readiness::Pending);
        assert_eq!(readiness(&function("Active", "InProgress")), Readiness::Pending);
        assert!(matches!(readiness(&function("Failed", "Failed")), Readiness::Failed { .. }));
        assert!(matches!(readiness(&function("Active", "Failed")), Readiness::Failed { .. }));
        assert_eq!(readiness(&Function::default()), Readiness::Ready);
    }

    #[test]
    fn only_what_is_set_is_compared() {
        let function = Function { memory_size: Some(128), timeout: Some(3), ..Function::default() };
        assert!(Configuration::default().holds_for(&function));
        assert!(Configuration { memory_size: Some(128), ..Configuration::default() }.holds_for(&function));
        assert!(!Configuration { memory_size: Some(256), ..Configuration::default() }.holds_for(&function));
        let none = Configuration { environment: Some(Environment::default()), ..Configuration::default() };
        assert!(none.holds_for(&function), "no variables are the same as an absent table");
    }

    #[test]
    fn absent_settings_are_not_sent() {
        let sent =
            serde_json::to_string(&Configuration { timeout: Some(3), ..Configuration::default() }).unwrap();
        assert_eq!(sent, r#"{"Timeout":3}"#);
    }
}
