//! A request with its body read, and how operations take their input from it.

use crate::{Connection, Context, Error, HostRoute, auth, protocol};
use base::RequestId;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header::AsHeaderName};
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// A request whose body has been read (within the operation's bound). The input type of operations that decode for
/// themselves, such as Invoke, and of mounted handlers.
pub struct RawRequest {
    /// Request method.
    pub method: Method,
    /// Path and query as sent.
    pub uri: Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; shared, never copied.
    pub body: Bytes,
    /// Path labels by name, percent-decoded. Empty for mounted handlers.
    pub labels: Vec<(&'static str, String)>,
    /// What the host name says.
    pub host: HostRoute,
    /// Where it came from.
    pub connection: Connection,
    /// Sent back in `x-amzn-RequestId`.
    pub request_id: RequestId,
}

impl RawRequest {
    /// A path label, percent-decoded.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str())
    }

    /// The first query parameter of this name, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let query = self.uri.query()?;
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// `Host` (or `:authority`) as sent, with port.
    pub fn authority(&self) -> &str {
        auth::authority(&self.headers, &self.uri)
    }

    /// A header, if present and visible ASCII.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What an operation can take: any deserialisable type, or [`RawRequest`].
pub trait Input: Sized {
    /// Takes the input from the request.
    fn decode(context: &Context, request: &mut RawRequest) -> Result<Self, Error>;
}

impl<T: DeserializeOwned> Input for T {
    fn decode(context: &Context, request: &mut RawRequest) -> Result<T, Error> {
        protocol::decode(context, request)
    }
}

impl Input for RawRequest {
    fn decode(_: &Context, request: &mut RawRequest) -> Result<RawRequest, Error> {
        Ok(RawRequest {
            method: request.method.clone(),
            uri: std::mem::take(&mut request.uri),
            headers: std::mem::take(&mut request.headers),
            body: std::mem::take(&mut request.body),
            labels: std::mem::take(&mut request.labels),
            host: request.host.clone(),
            connection: request.connection.clone(),
            request_id: request.request_id,
        })
    }
}
