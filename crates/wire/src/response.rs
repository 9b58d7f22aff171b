//! Responses: bodies of bytes or streams, and how operations give their output.

use crate::{Context, Error, protocol};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;
use std::{
    pin::Pin,
    task::{Poll, ready},
};

/// Any error, sendable.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// Piece by piece; an error ends the connection so that the client sees the answer as cut off.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
}

impl Body {
    /// From a stream of pieces.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
        Body::Stream(Box::pin(stream))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::Empty } else { Body::Bytes(bytes) }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this {
            Body::Empty => Poll::Ready(None),
            Body::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Stream(stream) => {
                let next = ready!(stream.as_mut().poll_next(cx));
                if !matches!(next, Some(Ok(_))) {
                    *this = Body::Empty;
                }
                Poll::Ready(next.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// A response that the operation made itself; the gateway adds `x-amzn-RequestId`.
#[derive(Debug)]
pub struct RawResponse(pub http::Response<Body>);

impl RawResponse {
    /// With a status and a body.
    pub fn new(status: StatusCode, body: impl Into<Body>) -> RawResponse {
        let mut response = http::Response::new(body.into());
        *response.status_mut() = status;
        RawResponse(response)
    }

    /// With a JSON body, `content-type: application/json`.
    pub fn json(status: StatusCode, value: &impl Serialize) -> RawResponse {
        match serde_json::to_vec(value) {
            Ok(body) => RawResponse::new(status, body).header("content-type", "application/json"),
            Err(_) => RawResponse::new(StatusCode::INTERNAL_SERVER_ERROR, Body::Empty),
        }
    }

    /// With a text body, `content-type: text/plain; charset=utf-8`.
    pub fn text(status: StatusCode, text: impl Into<String>) -> RawResponse {
        RawResponse::new(status, text.into()).header("content-type", "text/plain; charset=utf-8")
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> RawResponse {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// Adds a header; one whose name or value HTTP cannot carry is left out.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> RawResponse {
        insert(self.0.headers_mut(), name, value.as_ref());
        self
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// An output with its own status or headers.
#[derive(Debug)]
pub struct Reply<T> {
    /// The body.
    pub value: T,
    /// Instead of the table's.
    pub status: Option<StatusCode>,
    /// Added to the response.
    pub headers: HeaderMap,
}

impl<T> Reply<T> {
    /// As the table says.
    pub fn new(value: T) -> Reply<T> {
        Reply { value, status: None, headers: HeaderMap::new() }
    }

    /// With another status.
    pub fn status(mut self, status: StatusCode) -> Reply<T> {
        self.status = Some(status);
        self
    }

    /// With a header; one whose name or value HTTP cannot carry is left out.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Reply<T> {
        insert(&mut self.headers, name, value.as_ref());
        self
    }
}

/// What an operation can give: any serialisable type (`()` for an empty body), [`Reply`] or [`RawResponse`].
pub trait Output {
    /// Renders it in the request's protocol.
    fn encode(self, context: &Context) -> Result<RawResponse, Error>;
}

impl<T: Serialize> Output for T {
    fn encode(self, context: &Context) -> Result<RawResponse, Error> {
        protocol::encode(context, &self)
    }
}

impl<T: Serialize> Output for Reply<T> {
    fn encode(self, context: &Context) -> Result<RawResponse, Error> {
        let mut response = protocol::encode(context, &self.value)?;
        if let Some(status) = self.status {
            *response.0.status_mut() = status;
        }
        response.0.headers_mut().extend(self.headers);
        Ok(response)
    }
}

impl Output for RawResponse {
    fn encode(self, _: &Context) -> Result<RawResponse, Error> {
        Ok(self)
    }
}
