//! JSON 1.0 and 1.1: one JSON object in, one out; errors in `__type`.

use crate::{
    Body, Context, Error, RawRequest, RawResponse,
    error::Rendered,
    protocol::{members::Failure, rest_json},
};
use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Namespace of the framework's own errors under JSON 1.0. Source: observed answers of DynamoDB.
const FRAMEWORK: &str = "com.amazon.coral.service";

pub(crate) fn decode<T: DeserializeOwned>(context: &Context, request: &RawRequest) -> Result<T, Error> {
    let body: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    read(body).map_err(|failure| rest_json::refuse(context, failure))
}

/// Reads a JSON object. A member that is null counts as absent, as AWS has it.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let error = match serde_json::from_slice(body) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match without_nulls(body) {
        Some(body) => Ok(serde_json::from_slice(&body)?),
        None => Err(error.into()),
    }
}

/// The same JSON without members that are null; `None` if it has none. Only bodies that failed to decode come here.
pub(crate) fn without_nulls(body: &[u8]) -> Option<Vec<u8>> {
    if !body.windows(4).any(|word| word == b"null") {
        return None;
    }
    let mut value: Value = serde_json::from_slice(body).ok()?;
    strip(&mut value);
    serde_json::to_vec(&value).ok()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(crate) fn encode<T: Serialize>(context: &Context, value: &T) -> Result<RawResponse, Error> {
    let body = serde_json::to_vec(value).map_err(|error| Error::Internal(error.into()))?;
    let body = if body == b"null" { Body::Empty } else { Body::Bytes(body.into()) };
    Ok(RawResponse::new(StatusCode::OK, body).header("content-type", context.protocol.content_type()))
}

pub(crate) fn render_error(error: &Rendered<'_>, namespace: Option<&str>) -> RawResponse {
    let kind = match namespace {
        Some(_) if error.own => format!("{FRAMEWORK}#{}", error.code),
        Some(namespace) => format!("{namespace}#{}", error.code),
        None => error.code.to_owned(),
    };
    let mut body = serde_json::Map::new();
    body.insert("__type".into(), kind.into());
    let message = if error.message_capital { "Message" } else { "message" };
    body.insert(message.into(), error.message.as_str().into());
    for (name, value) in &error.members {
        body.insert((*name).into(), value.as_str().into());
    }
    RawResponse::json(error.status, &body)
}
