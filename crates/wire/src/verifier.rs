//! Authentication and authorisation for mounted handlers, which the gateway does not do for them.

use crate::{
    Error, Ports, RawRequest, Settings,
    auth::{self, Authenticator, Proof},
};
use base::{Authorize, Clock, Denied, Principal};
use http::Request;
use std::sync::Arc;

/// Proves who made a request, as the gateway does for operations.
pub struct Verifier {
    authenticator: Authenticator,
    authorize: Arc<dyn Authorize>,
    clock: Arc<dyn Clock>,
}

/// Who made a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// The access key that signed; `None` for a request without authentication where signatures are not verified.
    pub access_key: Option<Box<str>>,
}

impl Verifier {
    /// With the gateway's ports and settings.
    pub fn new(ports: &Ports, settings: &Settings) -> Verifier {
        Verifier {
            authenticator: Authenticator::new(Arc::clone(&ports.credentials), settings),
            authorize: Arc::clone(&ports.authorize),
            clock: Arc::clone(&ports.clock),
        }
    }

    /// Who signed `request` for `service`.
    pub fn verify(&self, request: &RawRequest, service: &str) -> Result<Caller, Error> {
        let mut head = Request::new(());
        *head.method_mut() = request.method.clone();
        *head.uri_mut() = request.uri.clone();
        *head.headers_mut() = request.headers.clone();
        let (parts, ()) = head.into_parts();
        let claim = auth::claim(&parts);
        let authority = request.authority();
        let (pending, _) =
            self.authenticator.begin(&claim, Some(service), &parts, authority, self.clock.now())?;
        let Proof { principal, access_key } =
            self.authenticator.finish(pending, &claim, &parts, authority, &request.body)?;
        Ok(Caller { principal, access_key })
    }

    /// Whether a caller may do something.
    pub fn authorize(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), Denied> {
        self.authorize.authorize(&caller.principal, action, resource)
    }
}
