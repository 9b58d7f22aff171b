//! Reading a request's body within bounds of size, time and of the memory that all bodies take together.

use crate::{BoxError, Error, RawResponse, coding::Coding, error::render_own, protocol};
use base::RequestId;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Body as _;
use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Bodies up to this many bytes are not counted against the memory of all: connections bound them well enough.
const SMALL: usize = 256 * 1024;
/// Longest time from a request's head to the end of its body.
const TOTAL_MAX: Duration = Duration::from_secs(15 * 60);

/// What is read and thrown away of a body that is too large: a client that sends all before it listens would see its
/// connection reset instead of the answer.
const DISCARD_MAX: usize = 64 * 1024 * 1024;
/// Longest wait for the next piece to throw away.
const DISCARD_IDLE: Duration = Duration::from_millis(500);

/// Reads bodies.
#[derive(Clone)]
pub(crate) struct Reader {
    /// Longest wait for the next piece.
    idle: Duration,
    /// In KiB.
    memory: Arc<Semaphore>,
    memory_kib: u32,
}

/// A body, and its part of the memory for all while it is held.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Replaces the body by what it unpacks to, and gives back memory that this does not need.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        if let Some(permit) = &mut self.permit {
            let spare = permit.num_permits().saturating_sub(bytes.len() / 1024 + 1);
            drop(permit.split(spare));
        }
        self.bytes = bytes;
    }
}

/// Bound of a body, and what its refusal says.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// In bytes.
    pub(crate) max: usize,
    pub(crate) operation: &'a str,
    pub(crate) code: Option<&'static str>,
    /// How the body is packed: one that grows takes its memory before it is read, since waiting for more while
    /// holding some could be for ever.
    pub(crate) coding: Coding,
}

impl<'a> Bound<'a> {
    /// Of what has no entry in a table.
    pub(crate) fn plain(max: usize, operation: &'a str) -> Bound<'a> {
        Bound { max, operation, code: None, coding: Coding::Identity }
    }

    pub(crate) fn exceeded(&self) -> Error {
        Error::TooLarge { max: self.max, operation: self.operation.to_owned(), code: self.code }
    }
}

impl Reader {
    /// `memory_max` in bytes bounds all large bodies together; further ones wait.
    pub(crate) fn new(idle: Duration, memory_max: usize) -> Reader {
        let kib = u32::try_from(memory_max / 1024).unwrap_or(u32::MAX).max(1);
        // A semaphore counts at most usize::MAX / 8.
        let kib = kib.min(u32::MAX >> 3);
        Reader { idle, memory: Arc::new(Semaphore::new(kib as usize)), memory_kib: kib }
    }

    /// Reads a body within its bound; a single piece is not copied.
    pub(crate) async fn read<B>(&self, body: B, headers: &HeaderMap, bound: Bound<'_>) -> Result<Held, Error>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let max = bound.max;
        let declared: Option<usize> =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length| length > max) {
            // Whoever asks first has not sent it yet.
            if !headers.contains_key(header::EXPECT) && declared.is_some_and(|length| length <= DISCARD_MAX) {
                discard(pin!(body)).await;
            }
            return Err(bound.exceeded());
        }
        if body.is_end_stream() {
            return Ok(Held { bytes: Bytes::new(), permit: None });
        }
        let sent = declared.unwrap_or(max);
        let permit = match bound.coding {
            Coding::Identity => self.reserve(sent).await?,
            Coding::Gzip => self.reserve(sent.saturating_add(max)).await?,
        };
        let mut end = None;
        let mut body = pin!(body);
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            // Most bodies came with their heads: no timer for these.
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    let now = Instant::now();
                    let late = *end.get_or_insert(now + TOTAL_MAX);
                    let frame = tokio::time::timeout_at(late.min(now + self.idle), body.frame()).await;
                    frame.map_err(|late| Error::Body(late.into()))?
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Error::Body(error.into()))?;
            // Trailers say nothing to any operation.
            let Ok(piece) = frame.into_data() else { continue };
            if first.len() + rest.len() + piece.len() > max {
                discard(body).await;
                return Err(bound.exceeded());
            }
            if first.is_empty() && rest.is_empty() {
                first = piece;
                continue;
            }
            if rest.is_empty() {
                // What is declared is within the bound, see above.
                rest.reserve(declared.unwrap_or_default().max(first.len() + piece.len()));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&piece);
        }
        Ok(Held { bytes: if rest.is_empty() { first } else { rest.freeze() }, permit })
    }

    async fn reserve(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Error> {
        if bytes <= SMALL {
            return Ok(None);
        }
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let permit = Arc::clone(&self.memory).acquire_many_owned(kib).await;
        // The semaphore is never closed.
        Ok(Some(permit.map_err(|error| Error::Internal(error.into()))?))
    }
}

/// A request's body that nobody has read yet, within the bounds of where it is mounted.
pub struct Arriving {
    body: UnsyncBoxBody<Bytes, BoxError>,
    /// Those that tell of the body.
    headers: HeaderMap,
    max: usize,
    path: String,
    reader: Reader,
    request_id: RequestId,
}

/// A body that was read; its part of the memory for bodies is given back when it is dropped.
pub struct Whole {
    /// The body.
    pub bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Arriving {
    pub(crate) fn new<B>(body: B, parts: &Parts, max: usize, reader: &Reader, id: RequestId) -> Arriving
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut headers = HeaderMap::new();
        for name in [header::CONTENT_LENGTH, header::EXPECT] {
            headers.extend(parts.headers.get(&name).map(|value| (name, value.clone())));
        }
        Arriving {
            body: body.map_err(Into::into).boxed_unsync(),
            headers,
            max,
            path: parts.uri.path().to_owned(),
            reader: reader.clone(),
            request_id: id,
        }
    }

    /// Reads it to its end; a refusal if it is too large or does not come.
    pub async fn whole(self) -> Result<Whole, Box<RawResponse>> {
        let read = self.reader.read(self.body, &self.headers, Bound::plain(self.max, &self.path)).await;
        match read {
            Ok(Held { bytes, permit }) => Ok(Whole { bytes, _permit: permit }),
            Err(refusal) => Err(Box::new(render_own(&protocol::rest_json(), &refusal, self.request_id))),
        }
    }

    /// Whether it is not known to exceed its bound already.
    pub fn may_fit(&self) -> bool {
        self.body.size_hint().lower() <= self.max as u64
    }

    /// What a client is told whose body turns out to be too large, for when that is known.
    pub fn too_large(&self) -> impl FnOnce() -> RawResponse + Send + use<> {
        let (max, path, request_id) = (self.max, self.path.clone(), self.request_id);
        move || render_own(&protocol::rest_json(), &Bound::plain(max, &path).exceeded(), request_id)
    }

    /// Its pieces while they arrive, each within the longest wait for one. Too many bytes are the error `FileTooLarge`.
    pub fn pieces(self) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
        let (idle, end) = (self.reader.idle, Instant::now() + TOTAL_MAX);
        let body = Some((self.body, self.max));
        futures_util::stream::unfold(body, move |body| async move {
            let (mut body, mut left) = body?;
            loop {
                let late = end.min(Instant::now() + idle);
                let piece = match tokio::time::timeout_at(late, body.frame()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(frame))) => frame.into_data(),
                    Ok(Some(Err(error))) => return Some((Err(io::Error::other(error)), None)),
                    Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), None)),
                };
                // Trailers say nothing.
                let Ok(piece) = piece else { continue };
                let Some(rest) = left.checked_sub(piece.len()) else {
                    discard(pin!(body)).await;
                    return Some((Err(io::ErrorKind::FileTooLarge.into()), None));
                };
                left = rest;
                return Some((Ok(piece), Some((body, left))));
            }
        })
    }
}

/// Reads on without keeping, as far as the bounds above allow.
async fn discard<B: hyper::body::Body<Data = Bytes>>(mut body: Pin<&mut B>) {
    let mut discarded = 0;
    while discarded < DISCARD_MAX {
        match tokio::time::timeout(DISCARD_IDLE, body.frame()).await {
            Ok(Some(Ok(frame))) => discarded += frame.data_ref().map_or(0, Bytes::len),
            Ok(None | Some(Err(_))) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use std::convert::Infallible;

    fn pieces(texts: &'static [&'static str]) -> impl hyper::body::Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(stream::iter(texts.iter().map(|text| Ok(Frame::data(Bytes::from(*text))))))
    }

    fn op(max: usize) -> Bound<'static> {
        Bound::plain(max, "Op")
    }

    fn reader(memory_max: usize) -> Reader {
        Reader::new(Duration::from_millis(20), memory_max)
    }

    #[tokio::test]
    async fn pieces_are_joined_and_a_single_one_is_not_copied() {
        let (reader, headers) = (reader(1 << 20), HeaderMap::new());
        let joined = reader.read(pieces(&["a", "", "bc", "d"]), &headers, op(4)).await.unwrap();
        assert_eq!(joined.bytes, "abcd");
        let sent = Bytes::from(vec![7; 100]);
        let got = reader.read(Full::new(sent.clone()), &headers, op(100)).await.unwrap();
        assert_eq!(got.bytes.as_ptr(), sent.as_ptr());
        assert!(matches!(
            reader.read(pieces(&["ab", "cd"]), &headers, op(3)).await,
            Err(Error::TooLarge { max: 3, .. })
        ));
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up() {
        let stalled = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert!(matches!(reader(1).read(stalled, &HeaderMap::new(), op(3)).await, Err(Error::Body(_))));
    }

    #[tokio::test]
    async fn large_bodies_share_a_bound_and_small_ones_do_not_wait() {
        let reader = reader(1 << 20);
        let mut headers = HeaderMap::new();
        headers.insert("content-length", "1000000".parse().unwrap());
        let max = 10 << 20;
        let large = || Full::new(Bytes::from(vec![0; 1_000_000]));
        let first = reader.read(large(), &headers, op(max)).await.unwrap();
        let mut second = pin!(reader.read(large(), &headers, op(max)));
        assert!(second.as_mut().now_or_never().is_none());
        let mut small = HeaderMap::new();
        small.insert("content-length", "3".parse().unwrap());
        assert!(reader.read(pieces(&["abc"]), &small, op(max)).await.is_ok());
        drop(first);
        assert_eq!(second.await.unwrap().bytes.len(), 1_000_000);
    }
}
