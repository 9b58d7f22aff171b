//! Reading a request's body within bounds.

use crate::{BoxError, Error};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use std::{pin::pin, time::Duration};

/// Reads a body of at most `max` bytes; a single piece is not copied. `idle` bounds the wait for each piece.
pub(crate) async fn read<B>(
    body: B,
    headers: &HeaderMap,
    max: usize,
    idle: Duration,
    operation: &str,
) -> Result<Bytes, Error>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let too_large = || Error::TooLarge { max, operation: operation.to_owned() };
    let declared: Option<u64> =
        headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(idle, body.frame()).await {
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(|error| Error::Body(error.into()))?,
            Err(late) => return Err(Error::Body(late.into())),
        };
        // Trailers say nothing to any operation.
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + rest.len() + piece.len() > max {
            return Err(too_large());
        }
        if first.is_empty() && rest.is_empty() {
            first = piece;
            continue;
        }
        if rest.is_empty() {
            // What is declared is allocated only as far as it is also allowed.
            let expected = declared.map_or(0, |length| usize::try_from(length).unwrap_or(max).min(max));
            rest.reserve(expected.max(first.len() + piece.len()));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&piece);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
