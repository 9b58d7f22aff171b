//! REST-JSON: input from labels, query, headers and body; errors in `x-amzn-ErrorType`.

use crate::{
    Body, Context, Error, RawRequest, RawResponse, Route, Violations,
    error::Rendered,
    protocol::{
        json,
        members::{Failure, Members, Source},
    },
};
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

pub(crate) fn decode<T: DeserializeOwned>(context: &Context, request: &RawRequest) -> Result<T, Error> {
    // Clients may send a body where the operation has none; AWS ignores it.
    let body: &[u8] = match request.method {
        Method::GET | Method::HEAD => b"",
        _ => &request.body,
    };
    let route = context.operation.http.as_ref();
    let failure = match read(route, request, body) {
        Ok(input) => return Ok(input),
        Err(failure) => failure,
    };
    // A member that is null counts as absent, as AWS has it.
    match json::without_nulls(body) {
        Some(body) => read(route, request, &body).map_err(|failure| refuse(context, failure)),
        None => Err(refuse(context, failure)),
    }
}

/// Reads an input from all its places.
pub(crate) fn read<T: DeserializeOwned>(
    route: Option<&Route>,
    request: &RawRequest,
    body: &[u8],
) -> Result<T, Failure> {
    T::deserialize(Members(gather(route, request, body)?))
}

/// A member that is missing is a constraint's violation; the others have codes of their own.
pub(crate) fn refuse(context: &Context, failure: Failure) -> Error {
    match failure {
        Failure::Missing(member) => {
            let mut violations = Violations::default();
            violations.missing(&lower_first(&member));
            Error::Invalid { code: context.api.invalid, violations: violations.to_string() }
        }
        Failure::Unreadable(text) => Error::Unreadable {
            code: context.api.unreadable,
            text: format!("Could not parse request body into json: {text}"),
        },
        Failure::Other(text) => Error::Serialization(text),
    }
}

/// AWS lists members in lower camel case.
fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// All members: a label wins over a query parameter, that over a header, that over the body.
fn gather<'a>(
    route: Option<&Route>,
    request: &'a RawRequest,
    body: &'a [u8],
) -> Result<Vec<(Cow<'a, str>, Source<'a>)>, Failure> {
    let mut members: Vec<(Cow<'a, str>, Source<'a>)> = request
        .labels
        .iter()
        .map(|(name, value)| (Cow::Borrowed(*name), Source::Text(vec![Cow::Borrowed(value.as_str())])))
        .collect();
    if let Some(route) = route {
        if let (Some(query), false) = (request.uri.query(), route.query.is_empty()) {
            let bound = members.len();
            for (key, value) in form_urlencoded::parse(query.as_bytes()) {
                let Some((_, member)) = route.query.iter().find(|(param, _)| *param == key) else { continue };
                match members.iter_mut().skip(bound).find(|(name, _)| name == member) {
                    Some((_, Source::Text(texts))) => texts.push(value),
                    _ => members.push((Cow::Borrowed(*member), Source::Text(vec![value]))),
                }
            }
        }
        for (header, member) in route.headers {
            let texts: Vec<Cow<'a, str>> = request
                .headers
                .get_all(*header)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .map(Cow::Borrowed)
                .collect();
            if !texts.is_empty() {
                members.push((Cow::Borrowed(*member), Source::Text(texts)));
            }
        }
    }
    if !body.is_empty() {
        let body: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_slice(body)?;
        for (name, raw) in body {
            if !members.iter().any(|(bound, _)| *bound == name) {
                members.push((name, Source::Json(raw)));
            }
        }
    }
    Ok(members)
}

pub(crate) fn encode<T: Serialize>(context: &Context, value: &T) -> Result<RawResponse, Error> {
    let status = context.operation.http.as_ref().map_or(200, |route| route.status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let body = serde_json::to_vec(value).map_err(|error| Error::Internal(error.into()))?;
    if body == b"null" || status == StatusCode::NO_CONTENT {
        return Ok(RawResponse::new(status, Body::Empty));
    }
    Ok(RawResponse::new(status, body).header("content-type", "application/json"))
}

pub(crate) fn render_error(error: &Rendered<'_>) -> RawResponse {
    let mut body = serde_json::Map::new();
    body.insert("Type".into(), if error.ours { "Service" } else { "User" }.into());
    let message = if error.message_capital { "Message" } else { "message" };
    body.insert(message.into(), error.message.as_str().into());
    for (name, value) in &error.members {
        body.insert((*name).into(), value.as_str().into());
    }
    let response = RawResponse::json(error.status, &body).header("x-amzn-errortype", error.code);
    if error.retry_after { response.header("retry-after", "1") } else { response }
}
