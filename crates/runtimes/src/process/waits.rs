//! What each invocation waits for beside its answer, and hardly ever comes: the end of the program, and deadlines. Both are
//! kept from one invocation to the next; to register and remove them costs more than to leave them.

use sandbox::{Exited, Sandbox};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Of one process.
pub(super) struct Waits {
    pub(super) exited: End,
    pub(super) alarm: Alarm,
}

impl Waits {
    pub(super) fn new(sandbox: &Arc<Sandbox>) -> Waits {
        let sandbox = Arc::clone(sandbox);
        let waiting = Box::pin(async move { sandbox.exited().await });
        Waits { exited: End { waiting, known: None }, alarm: Alarm::default() }
    }
}

/// The end of the program.
pub(super) struct End {
    waiting: Pin<Box<dyn Future<Output = Exited> + Send + Sync>>,
    known: Option<Exited>,
}

impl End {
    /// How it ended. Cancel-safe.
    pub(super) async fn known(&mut self) -> Exited {
        match self.known {
            Some(exited) => exited,
            None => *self.known.insert(self.waiting.as_mut().await),
        }
    }
}

/// A timer for one deadline after the other; it is set anew only when it has rung, or is to ring earlier.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Resolves then. Cancel-safe.
    pub(super) async fn at(&mut self, until: Instant) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        poll_fn(|cx| rings(sleep, until, cx)).await;
    }
}

fn rings(sleep: &mut Pin<Box<Sleep>>, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if sleep.deadline() > until {
        sleep.as_mut().reset(until);
    }
    loop {
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() >= until {
            return Poll::Ready(());
        }
        sleep.as_mut().reset(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout_at;

    #[tokio::test]
    async fn one_timer_rings_for_one_deadline_after_the_other() {
        let mut alarm = Alarm::default();
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        // Given up, as most are; then a later one than it is set for, and earlier ones.
        assert!(timeout_at(at(5), alarm.at(at(50))).await.is_err());
        assert!(timeout_at(at(80), alarm.at(at(60_000))).await.is_err(), "it rang for another");
        alarm.at(at(100)).await;
        assert!(Instant::now() >= at(100));
        // One that has passed, and the one after it.
        alarm.at(at(50)).await;
        alarm.at(at(120)).await;
        assert!(Instant::now() >= at(120));
    }
}
