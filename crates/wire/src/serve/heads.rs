//! How long the heads of a connection's requests are waited for: by one timer that looks, when it ends, at which head is
//! waited for now. A timer for each head would be made, registered and removed for every request, and never end.

use hyper::rt::{Sleep, Timer};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// What hyper takes for a timer: of one connection of HTTP/1, and only for its heads.
#[derive(Clone, Default)]
pub(super) struct Heads(Arc<Mutex<Awaited>>);

#[derive(Default)]
struct Awaited {
    /// When the head that is awaited now is late; `None` while a request is answered.
    until: Option<Instant>,
    late: bool,
}

impl Heads {
    /// Whether a head is awaited.
    pub(super) fn are_awaited(&self) -> bool {
        self.lock().until.is_some()
    }

    /// Resolves when the head that is awaited is late, and after `pause` where none is. Whoever waits for this polls the
    /// connection then: [`Head`] itself wakes nobody.
    pub(super) fn late(&self, pause: Duration) -> impl Future<Output = ()> + Send + use<> {
        let heads = self.clone();
        async move {
            tokio::time::sleep(pause).await;
            loop {
                let until = match &mut *heads.lock() {
                    Awaited { until: None, .. } => return,
                    Awaited { until: Some(until), late } if *until <= tokio::time::Instant::now().into() => {
                        *late = true;
                        return;
                    }
                    Awaited { until: Some(until), .. } => *until,
                };
                tokio::time::sleep_until(until.into()).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for Heads {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        *self.lock() = Awaited { until: Some(deadline), late: false };
        Box::pin(Head(self.clone()))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        *self.lock() = Awaited { until: Some(deadline), late: false };
    }
}

/// One head that is awaited, until this is dropped; resolves when it is late.
struct Head(Heads);

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.lock().late { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Sleep for Head {}

impl Drop for Head {
    fn drop(&mut self) {
        *self.0.lock() = Awaited::default();
    }
}
