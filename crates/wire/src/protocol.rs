//! The protocol families: how inputs are read, outputs and errors written.

pub(crate) mod json;
pub(crate) mod members;
pub(crate) mod query;
pub(crate) mod rest_json;

use crate::{Context, Error, RawRequest, RawResponse, error::Rendered};
use base::RequestId;
use serde::{Serialize, de::DeserializeOwned};

/// One of a service's protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Routes by method and path; input in labels, query, headers and a JSON body.
    RestJson,
    /// `X-Amz-Target: {target}.{Operation}`, `application/x-amz-json-1.0`.
    Json10 {
        /// Prefix of `X-Amz-Target`.
        target: &'static str,
        /// Prefix of `__type` in errors, e.g. `com.amazonaws.dynamodb.v20120810`.
        namespace: &'static str,
    },
    /// `X-Amz-Target: {target}.{Operation}`, `application/x-amz-json-1.1`.
    Json11 {
        /// Prefix of `X-Amz-Target`.
        target: &'static str,
    },
    /// `Action=…&Version=…` in a form or the query string; XML out.
    Query {
        /// `Version`.
        version: &'static str,
        /// XML namespace of responses.
        namespace: &'static str,
    },
}

/// REST-JSON.
pub const fn rest_json() -> Protocol {
    Protocol::RestJson
}

/// JSON 1.0 with the prefix of `X-Amz-Target` and the namespace of error types.
pub const fn json10(target: &'static str, namespace: &'static str) -> Protocol {
    Protocol::Json10 { target, namespace }
}

/// JSON 1.1 with the prefix of `X-Amz-Target`.
pub const fn json11(target: &'static str) -> Protocol {
    Protocol::Json11 { target }
}

/// Query with its `Version` and the XML namespace of responses.
pub const fn query(version: &'static str, namespace: &'static str) -> Protocol {
    Protocol::Query { version, namespace }
}

impl Protocol {
    /// For people.
    pub const fn title(&self) -> &'static str {
        match self {
            Protocol::RestJson => "REST-JSON",
            Protocol::Json10 { .. } => "JSON 1.0",
            Protocol::Json11 { .. } => "JSON 1.1",
            Protocol::Query { .. } => "query",
        }
    }

    /// Prefix of `X-Amz-Target`.
    pub(crate) const fn target(&self) -> Option<&'static str> {
        match self {
            Protocol::Json10 { target, .. } | Protocol::Json11 { target } => Some(target),
            Protocol::RestJson | Protocol::Query { .. } => None,
        }
    }

    /// How an operation is addressed, for the published list.
    pub(crate) fn route_of(&self, operation: &str) -> String {
        match self {
            Protocol::RestJson => String::new(),
            Protocol::Json10 { target, .. } | Protocol::Json11 { target } => {
                format!("X-Amz-Target: {target}.{operation}")
            }
            Protocol::Query { version, .. } => format!("Action={operation}&Version={version}"),
        }
    }

    /// Code of the error for an operation that is not there.
    pub const fn unknown_operation(&self) -> &'static str {
        match self {
            Protocol::RestJson | Protocol::Json10 { .. } | Protocol::Json11 { .. } => {
                "UnknownOperationException"
            }
            Protocol::Query { .. } => "InvalidAction",
        }
    }

    /// `Content-Type` of responses.
    pub const fn content_type(&self) -> &'static str {
        match self {
            Protocol::RestJson => "application/json",
            Protocol::Json10 { .. } => "application/x-amz-json-1.0",
            Protocol::Json11 { .. } => "application/x-amz-json-1.1",
            Protocol::Query { .. } => "text/xml",
        }
    }
}

pub(crate) fn decode<T: DeserializeOwned>(context: &Context, request: &mut RawRequest) -> Result<T, Error> {
    match context.protocol {
        Protocol::RestJson => rest_json::decode(context, request),
        Protocol::Json10 { .. } | Protocol::Json11 { .. } => json::decode(context, request),
        Protocol::Query { .. } => query::decode(context, request),
    }
}

pub(crate) fn encode<T: Serialize>(context: &Context, value: &T) -> Result<RawResponse, Error> {
    match context.protocol {
        Protocol::RestJson => rest_json::encode(context, value),
        Protocol::Json10 { .. } | Protocol::Json11 { .. } => json::encode(context, value),
        Protocol::Query { namespace, .. } => query::encode(context, namespace, value),
    }
}

pub(crate) fn render_error(protocol: &Protocol, error: &Rendered<'_>, request_id: RequestId) -> RawResponse {
    let response = match protocol {
        Protocol::RestJson => rest_json::render_error(error),
        Protocol::Json10 { namespace, .. } => json::render_error(error, Some(namespace)),
        Protocol::Json11 { .. } => json::render_error(error, None),
        Protocol::Query { namespace, .. } => query::render_error(error, namespace, request_id),
    };
    let mut response = response.header("content-type", protocol.content_type());
    *response.0.status_mut() = error.status;
    response
}
