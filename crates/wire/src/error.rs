//! The wire's own refusals, and the one place where an error becomes a status, headers and a body.

use crate::{Api, Context, RawResponse, protocol, protocol::Protocol};
use base::{CredentialError, Denied, Fault, RequestId, Retry, ServiceError};
use http::StatusCode;
use std::borrow::Cow;

/// Why the wire itself refuses a request. The wire name of some depends on the protocol, as in AWS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither an `Authorization` header nor presigned parameters.
    #[error("Missing Authentication Token")]
    MissingAuthentication,
    /// The `Authorization` header or the presigned parameters cannot be read.
    #[error("{0}")]
    IncompleteSignature(String),
    /// The access key or its session token proves nothing.
    #[error("The security token included in the request is {}", match .0 {
        CredentialError::Unknown => "invalid.",
        CredentialError::Expired => "expired",
    })]
    Credential(CredentialError),
    /// The signature is another than ours.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    SignatureMismatch,
    /// The signature is of another time, region or service.
    #[error("{0}")]
    SignatureScope(String),
    /// A way of signing payloads that is not implemented.
    #[error("x-amz-content-sha256 {0} is not implemented")]
    PayloadSigning(String),
    /// The principal may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No such operation, or none that Neap has.
    #[error("{}", unknown_operation_text(.service, .operation, *.lack))]
    UnknownOperation {
        /// Signing name, if recognised.
        service: Option<Cow<'static, str>>,
        /// What was asked for.
        operation: String,
        /// What is missing.
        lack: Lack,
    },
    /// No `Action` in a query-protocol request.
    #[error("Missing Action")]
    MissingAction,
    /// The body is compressed in a way that is not implemented.
    #[error("Content-Encoding {0} is not implemented by Neap: send gzip, or no encoding")]
    Coding(String),
    /// A member has the wrong type.
    #[error("{0}")]
    Serialization(String),
    /// The body is not the protocol's format; `code` is the service's.
    #[error("{text}")]
    Unreadable {
        /// [`Api::unreadable`].
        code: &'static str,
        /// What the parser says.
        text: String,
    },
    /// Constraints on members do not hold; `code` is the service's.
    #[error("{violations}")]
    Invalid {
        /// [`Api::invalid`].
        code: &'static str,
        /// AWS's text that lists them.
        violations: String,
    },
    /// The body is larger than the operation takes.
    #[error("Request must be smaller than {max} bytes for the {operation} operation")]
    TooLarge {
        /// Bound in bytes.
        max: usize,
        /// What to call the operation.
        operation: String,
        /// [`crate::TooLarge::code`].
        code: Option<&'static str>,
    },
    /// The client ended or broke the request before its end.
    #[error("the request body could not be read")]
    Body(#[source] crate::BoxError),
    /// Neap's own failure; the source is logged, not sent.
    #[error("internal failure")]
    Internal(#[source] crate::BoxError),
}

/// What Neap lacks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The service has the operation elsewhere, but not here.
    NotImplemented,
    /// The service has no such operation.
    NoOperation,
    /// No service here takes such a request.
    NoService,
}

fn unknown_operation_text(service: &Option<Cow<'static, str>>, operation: &str, lack: Lack) -> String {
    let service = service.as_deref();
    match (lack, service) {
        (Lack::NotImplemented, _) => {
            let service = service.unwrap_or("the service");
            format!("The operation {operation} of {service} is not implemented by Neap.")
        }
        (Lack::NoOperation, _) => {
            format!("The service {} has no operation {operation}.", service.unwrap_or_default())
        }
        (Lack::NoService, Some(service)) => {
            format!("The service {service} is not implemented by Neap ({operation}).")
        }
        (Lack::NoService, None) => format!("No service of Neap recognises the request {operation}."),
    }
}

impl Error {
    /// Used by [`api!`](crate::api!) for an index outside its table.
    pub fn unknown_operation(api: &'static Api, index: usize) -> Error {
        Error::UnknownOperation {
            service: Some(api.name.into()),
            operation: index.to_string(),
            lack: Lack::NoOperation,
        }
    }

    /// The wire name under `protocol`.
    pub fn code(&self, protocol: &Protocol) -> &str {
        let query = matches!(protocol, Protocol::Query { .. });
        let by = |json: &'static str, in_query: &'static str| if query { in_query } else { json };
        match self {
            Error::MissingAuthentication => {
                by("MissingAuthenticationTokenException", "MissingAuthenticationToken")
            }
            Error::IncompleteSignature(_) => by("IncompleteSignatureException", "IncompleteSignature"),
            Error::Credential(CredentialError::Unknown) => {
                by("UnrecognizedClientException", "InvalidClientTokenId")
            }
            Error::Credential(CredentialError::Expired) => by("ExpiredTokenException", "ExpiredToken"),
            Error::SignatureMismatch | Error::SignatureScope(_) => {
                by("InvalidSignatureException", "SignatureDoesNotMatch")
            }
            Error::PayloadSigning(_) => by("InvalidSignatureException", "SignatureDoesNotMatch"),
            Error::Denied(_) => by("AccessDeniedException", "AccessDenied"),
            Error::UnknownOperation { .. } => protocol.unknown_operation(),
            Error::MissingAction => "MissingAction",
            Error::Coding(_) => by("UnsupportedMediaTypeException", "UnsupportedMediaType"),
            Error::Serialization(_) => by("SerializationException", "MalformedInput"),
            Error::Invalid { code, .. } | Error::Unreadable { code, .. } => code,
            Error::TooLarge { code: Some(code), .. } => code,
            Error::TooLarge { code: None, .. } => by("RequestTooLargeException", "RequestEntityTooLarge"),
            Error::Body(_) => by("RequestTimeoutException", "RequestTimeout"),
            Error::Internal(_) => by("ServiceException", "InternalFailure"),
        }
    }

    /// Whose fault.
    pub fn fault(&self) -> Fault {
        match self {
            Error::MissingAuthentication
            | Error::IncompleteSignature(_)
            | Error::Credential(_)
            | Error::SignatureMismatch
            | Error::SignatureScope(_)
            | Error::PayloadSigning(_) => Fault::Unauthenticated,
            Error::Denied(_) => Fault::Denied,
            Error::UnknownOperation { .. } => Fault::NotFound,
            Error::MissingAction
            | Error::Serialization(_)
            | Error::Unreadable { .. }
            | Error::Invalid { .. }
            | Error::Body(_) => Fault::Invalid,
            Error::TooLarge { .. } => Fault::TooLarge,
            Error::Coding(_) => Fault::Unsupported,
            Error::Internal(_) => Fault::Us,
        }
    }
}

/// HTTP status of a fault under a protocol: REST-JSON says it exactly; the others say 400 for whatever the caller
/// can mend, query with 403 for what concerns identity. Source: observed answers of Lambda, CloudWatch Logs and STS.
pub fn status(fault: Fault, protocol: &Protocol) -> StatusCode {
    let exact = match fault {
        Fault::Invalid => StatusCode::BAD_REQUEST,
        Fault::Unauthenticated | Fault::Denied => StatusCode::FORBIDDEN,
        Fault::NotFound => StatusCode::NOT_FOUND,
        Fault::Conflict => StatusCode::CONFLICT,
        Fault::Precondition => StatusCode::PRECONDITION_FAILED,
        Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Fault::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Fault::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Fault::Us => StatusCode::INTERNAL_SERVER_ERROR,
        Fault::Dependency => StatusCode::BAD_GATEWAY,
        Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    match protocol {
        Protocol::RestJson => exact,
        Protocol::Query { .. } if exact == StatusCode::FORBIDDEN => exact,
        Protocol::Json10 { .. } | Protocol::Json11 { .. } | Protocol::Query { .. } => {
            match exact.is_client_error() && exact != StatusCode::PAYLOAD_TOO_LARGE {
                true => StatusCode::BAD_REQUEST,
                false => exact,
            }
        }
    }
}

/// An error in the form that every protocol renders.
pub(crate) struct Rendered<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: String,
    pub(crate) status: StatusCode,
    pub(crate) members: Vec<(&'static str, String)>,
    /// Text in `Message` instead of `message`.
    pub(crate) message_capital: bool,
    /// The gateway's own error: under JSON 1.0 these have the framework's namespace, not the service's.
    pub(crate) own: bool,
    pub(crate) ours: bool,
    pub(crate) retry_after: bool,
}

/// Renders a service's error.
pub(crate) fn render_service(context: &Context, error: &dyn ServiceError) -> RawResponse {
    let query = |protocol: &Protocol| matches!(protocol, Protocol::Query { .. });
    let rendered = Rendered {
        code: if query(context.protocol) { error.query_code() } else { error.code() },
        message: error.to_string(),
        status: status(error.fault(), context.protocol),
        members: error.members(),
        message_capital: context.api.message_capital.contains(&error.code()),
        own: false,
        ours: matches!(error.fault(), Fault::Us | Fault::Dependency | Fault::Unavailable),
        retry_after: error.fault() == Fault::Throttled && error.retry() == Retry::Later,
    };
    let response = protocol::render_error(context.protocol, &rendered, context.request_id);
    // Clients of a service that once spoke query only know its errors by those names.
    if matches!(context.protocol, Protocol::Json10 { .. }) && context.api.protocols.iter().any(query) {
        let side = if rendered.ours { "Receiver" } else { "Sender" };
        return response.header("x-amzn-query-error", format!("{};{side}", error.query_code()));
    }
    response
}

/// Renders the wire's own refusal.
pub(crate) fn render_own(protocol: &Protocol, error: &Error, request_id: RequestId) -> RawResponse {
    let rendered = Rendered {
        code: error.code(protocol),
        message: error.to_string(),
        status: match (error, protocol) {
            (Error::IncompleteSignature(_), Protocol::Query { .. }) => StatusCode::BAD_REQUEST,
            _ => status(error.fault(), protocol),
        },
        members: Vec::new(),
        message_capital: matches!(error, Error::Denied(_)),
        own: true,
        ours: matches!(error, Error::Internal(_)),
        retry_after: false,
    };
    protocol::render_error(protocol, &rendered, request_id)
}
