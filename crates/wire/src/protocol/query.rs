//! Query: flattened form members in, XML out.

use crate::{Context, Error, RawRequest, RawResponse, error::Rendered};
use base::RequestId;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn decode<T: DeserializeOwned>(_context: &Context, _request: &RawRequest) -> Result<T, Error> {
    Err(Error::MissingAction)
}

pub(crate) fn encode<T: Serialize>(
    _context: &Context,
    _namespace: &str,
    _value: &T,
) -> Result<RawResponse, Error> {
    Err(Error::MissingAction)
}

pub(crate) fn render_error(error: &Rendered<'_>, _namespace: &str, _request_id: RequestId) -> RawResponse {
    RawResponse::text(error.status, error.message.clone())
}
