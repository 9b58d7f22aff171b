//! Work that goes on when nobody waits for it any more.

use crate::Future;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Handed to a function when it is dropped before its end, which is to see to the rest.
pub struct Detached<T: Send + 'static> {
    work: Option<Future<'static, T>>,
    finish: fn(Future<'static, T>),
}

impl<T: Send + 'static> Detached<T> {
    /// Begins when it is first polled.
    pub fn new(
        work: impl std::future::Future<Output = T> + Send + 'static,
        finish: fn(Future<'static, T>),
    ) -> Detached<T> {
        Detached { work: Some(Box::pin(work)), finish }
    }
}

impl<T: Send + 'static> std::future::Future for Detached<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken away meanwhile: what panics is not polled again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(rest) = self.work.take() {
            (self.finish)(rest);
        }
    }
}
