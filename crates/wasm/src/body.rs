//! The body of a request to a component: what the event brought, or what arrives while the component runs.

use base::BodyStream;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use wasmtime_wasi_http::{Error, WasiBody};

/// A body as components read it.
pub(crate) fn of(whole: Bytes, arriving: Option<BodyStream>) -> WasiBody {
    match arriving {
        Some(pieces) => Pieces(pieces).boxed_unsync(),
        None => Full::new(whole).map_err(|never| match never {}).boxed_unsync(),
    }
}

struct Pieces(BodyStream);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(broken)))
    }
}

fn broken(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Error::HttpRequestBodySize(None),
        io::ErrorKind::TimedOut => Error::ConnectionReadTimeout,
        _ => Error::ConnectionTerminated,
    }
}
