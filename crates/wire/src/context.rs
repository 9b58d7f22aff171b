//! What an operation knows about the request it serves.

use crate::{Api, HostRoute, Operation, protocol::Protocol};
use base::{AccountId, Authorize, Denied, Principal, Region, RequestId, Timestamp};
use std::{any::Any, net::SocketAddr, sync::Arc};

/// Who asks for what, where and when. Made by the gateway for each request.
pub struct Context {
    /// The service's table.
    pub api: &'static Api,
    /// The operation's entry.
    pub operation: &'static Operation,
    /// How the request is encoded, and the response will be.
    pub protocol: &'static Protocol,
    /// Who asks.
    pub principal: Principal,
    /// The principal's account: the one whose resources are named.
    pub account: AccountId,
    /// From the credential scope, else from the host name, else the node's default.
    pub region: Region,
    /// Sent back in `x-amzn-RequestId`.
    pub request_id: RequestId,
    /// When the request arrived.
    pub now: Timestamp,
    /// The `Host` (or `:authority`) as sent, with port; what URLs in answers should be built from.
    pub authority: Box<str>,
    /// The path as sent.
    pub path: Box<str>,
    /// The trace that the request belongs to, in the form of `X-Amzn-Trace-Id`, if it brings one.
    pub trace: Option<Box<str>>,
    /// What the host name says.
    pub host: HostRoute,
    /// The access key that signed; `None` for a request without authentication under `verify: false`.
    pub access_key: Option<Box<str>>,
    /// The connection.
    pub connection: Connection,
    pub(crate) authorizer: Arc<dyn Authorize>,
}

impl Context {
    /// Asks for a permission beyond the one in the table.
    pub fn authorize(&self, action: &str, resource: &str) -> Result<(), Denied> {
        self.authorizer.authorize(&self.principal, action, resource)
    }

    /// An ARN of the caller's account and region: `arn:aws:{service}:{region}:{account}:{resource}`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }
}

/// Where a request came from.
#[derive(Clone, Default)]
pub struct Connection {
    /// The peer's address, if it has one.
    pub peer: Option<SocketAddr>,
    /// What [`crate::serve_connection`]'s caller attached, e.g. which function's environment is at the other end.
    pub extra: Option<Arc<dyn Any + Send + Sync>>,
}

impl Connection {
    /// The attached value, if it is a `T`.
    pub fn extra<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extra.as_deref()?.downcast_ref()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({:?})", self.peer)
    }
}
