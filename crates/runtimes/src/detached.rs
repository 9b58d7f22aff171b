//! Invocations that go on when nobody waits for them any more, and answers that arrive in pieces.

use base::{Chunk, ChunkStream};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Runs on by itself when it is dropped before its end.
pub struct Detached<T: Send + 'static>(Option<Pin<Box<dyn std::future::Future<Output = T> + Send>>>);

impl<T: Send + 'static> Detached<T> {
    /// Begins when it is first polled.
    pub fn new(work: impl std::future::Future<Output = T> + Send + 'static) -> Detached<T> {
        Detached(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> std::future::Future for Detached<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(inner) = self.0.as_mut() else { return Poll::Pending };
        let ready = inner.as_mut().poll(cx);
        if ready.is_ready() {
            self.0 = None;
        }
        ready
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
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
        let mut future = Detached::new(async move {
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
