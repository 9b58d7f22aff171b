//! A function's answer in pieces, whatever the form in which it gave it.

use base::{Answer, Chunk, ChunkStream, Executed, FunctionError, FunctionErrorKind};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes of a piece of an answer that was given whole.
const PIECE: usize = 64 * 1024;

/// The pieces of one answer. The function runs on when this is dropped before the end; that is counted.
pub(crate) struct Pieces {
    /// As the runtime named it; `None` where the answer was given whole.
    pub(crate) content_type: Option<String>,
    chunks: ChunkStream,
    ended: bool,
    abandoned: Arc<AtomicU64>,
}

impl Pieces {
    /// Of an answer that has begun. `abandoned` counts those whose reader left.
    pub(crate) fn of(executed: Executed, abandoned: Arc<AtomicU64>) -> Pieces {
        let (content_type, chunks): (_, ChunkStream) = match executed.answer {
            Answer::Streamed { content_type, chunks } => (content_type, chunks),
            Answer::Failed(error) => {
                let end = Chunk::End { error: Some(error), tail: executed.tail };
                (None, Box::pin(futures_util::stream::iter([end])))
            }
            Answer::Buffered(mut body) => {
                let pieces = std::iter::from_fn(move || {
                    let piece = body.split_to(body.len().min(PIECE));
                    (!piece.is_empty()).then_some(Chunk::Data(piece))
                });
                let end = Chunk::End { error: None, tail: executed.tail };
                (None, Box::pin(futures_util::stream::iter(pieces.chain([end]))))
            }
        };
        Pieces { content_type, chunks, ended: false, abandoned }
    }

    /// The next piece; `None` after the end.
    pub(crate) async fn next(&mut self) -> Option<Chunk> {
        if self.ended {
            return None;
        }
        let chunk =
            self.chunks.next().await.unwrap_or_else(|| Chunk::End { error: Some(cut_off()), tail: None });
        self.ended = matches!(chunk, Chunk::End { .. });
        Some(chunk)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if !self.ended {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The last piece never came: whatever made the stream is gone.
pub(crate) fn cut_off() -> FunctionError {
    let payload = r#"{"errorMessage":"the response stream was cut off","errorType":"Runtime.StreamCut"}"#;
    FunctionError { kind: FunctionErrorKind::Unhandled, payload: Bytes::from_static(payload.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut pieces: Pieces) -> (Vec<u8>, Option<String>) {
        let mut data = Vec::new();
        while let Some(chunk) = pieces.next().await {
            match chunk {
                Chunk::Data(piece) => data.extend_from_slice(&piece),
                Chunk::End { error, .. } => {
                    let told = error.map(|error| String::from_utf8_lossy(&error.payload).into_owned());
                    assert!(pieces.next().await.is_none());
                    return (data, told);
                }
            }
        }
        panic!("no end")
    }

    #[tokio::test]
    async fn every_form_of_answer_ends_once_and_readers_that_leave_are_counted() {
        let left = Arc::new(AtomicU64::new(0));
        let pieces = |answer| Pieces::of(Executed { answer, tail: None }, left.clone());
        let body = Bytes::from((0..200_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        assert_eq!(all(pieces(Answer::Buffered(body.clone()))).await, (body.to_vec(), None));
        assert_eq!(all(pieces(Answer::Buffered(Bytes::new()))).await, (Vec::new(), None));
        let (data, told) = all(pieces(Answer::Failed(cut_off()))).await;
        assert!(data.is_empty() && told.unwrap().contains("cut off"));
        let streamed = || {
            let open = futures_util::stream::iter([Chunk::Data("ab".into())]);
            Answer::Streamed { content_type: None, chunks: Box::pin(open) }
        };
        assert_eq!(all(pieces(streamed())).await.0, b"ab");
        assert_eq!(left.load(Ordering::Relaxed), 0);
        drop(pieces(streamed()));
        assert_eq!(left.load(Ordering::Relaxed), 1);
    }
}
