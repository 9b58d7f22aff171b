//! Invocations that go on when nobody waits for them any more, and answers that arrive in pieces.

use base::{Chunk, ChunkStream, Detached};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Runs on by itself when it is dropped before its end.
pub fn detached<T: Send + 'static>(
    work: impl std::future::Future<Output = T> + Send + 'static,
) -> Detached<T> {
    Detached::new(work, |rest| {
        // Without one nothing runs any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(rest);
        }
    })
}

/// What arrives as a stream.
pub fn pieces_of(receiver: mpsc::Receiver<Chunk>) -> ChunkStream {
    Box::pin(Pieces(receiver))
}

/// The pieces of a streamed answer.
struct Pieces(mpsc::Receiver<Chunk>);

impl futures_core::Stream for Pieces {
    type Item = Chunk;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_dropped_invocation_runs_on() {
        let (told, heard) = tokio::sync::oneshot::channel();
        let gate = Arc::new(Notify::new());
        let waits = gate.clone();
        let mut future = detached(async move {
            waits.notified().await;
            let _ = told.send(());
        });
        tokio::select! {
            biased;
            () = &mut future => panic!("too early"),
            () = std::future::ready(()) => {}
        }
        drop(future);
        gate.notify_one();
        heard.await.unwrap();
    }
}
