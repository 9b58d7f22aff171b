//! The real clock and the real randomness.

use base::{Clock, Entropy, Future, Millis, Timer, Timestamp};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Sleepers look again after at most this: the wall clock may have been set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The machine's wall clock, ahead by what [`SystemClock::advance`] was told: never, on a production server.
pub(crate) struct SystemClock {
    ahead_ms: watch::Sender<i64>,
}

impl SystemClock {
    pub(crate) fn new() -> Arc<SystemClock> {
        Arc::new(SystemClock { ahead_ms: watch::Sender::new(0) })
    }

    /// Moves the clock on, waking who waits for it; answers how far it is ahead now.
    pub(crate) fn advance(&self, by: Millis) -> Millis {
        let by = i64::try_from(by.0).unwrap_or(i64::MAX);
        self.ahead_ms.send_modify(|ahead| *ahead = ahead.saturating_add(by));
        self.ahead()
    }

    /// How far it is ahead of the machine's.
    pub(crate) fn ahead(&self) -> Millis {
        Millis(u64::try_from(*self.ahead_ms.borrow()).unwrap_or_default())
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall().plus_ms(*self.ahead_ms.borrow())
    }
}

impl Timer for SystemClock {
    fn sleep_until(&self, at: Timestamp) -> Future<'static, ()> {
        let mut ahead = self.ahead_ms.subscribe();
        Box::pin(async move {
            loop {
                let now = wall().plus_ms(*ahead.borrow_and_update());
                let Ok(left @ 1..) = u64::try_from(at.0.saturating_sub(now.0)) else { return };
                let nap = tokio::time::sleep(Duration::from_millis(left).min(LOOK_EVERY));
                tokio::select! {
                    () = nap => {}
                    // Without a sender the clock only goes on as the machine's does.
                    Ok(()) = ahead.changed() => {}
                }
            }
        })
    }
}

/// The kernel's random numbers.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // The call fails only on kernels without getrandom and without /dev/urandom: nothing secure can run there.
        #[allow(clippy::expect_used)]
        getrandom::fill(buffer).expect("the kernel gives random numbers");
    }
}
