//! The real clock and the real randomness.

use base::{Clock, Entropy, Future, Millis, Timer, Timestamp};
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Sleepers look again after at most this: the wall clock may have been set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The machine's wall clock, ahead by what [`SystemClock::advance`] was told: never, on a production server.
pub(crate) struct SystemClock {
    ahead_ms: watch::Sender<i64>,
    /// The same, for who only asks: that is done several times a request.
    ahead_now: AtomicI64,
}

impl SystemClock {
    pub(crate) fn new() -> Arc<SystemClock> {
        Arc::new(SystemClock { ahead_ms: watch::Sender::new(0), ahead_now: AtomicI64::new(0) })
    }

    /// Moves the clock on, waking who waits for it; answers how far it is ahead now.
    pub(crate) fn advance(&self, by: Millis) -> Millis {
        let by = i64::try_from(by.0).unwrap_or(i64::MAX);
        self.ahead_ms.send_modify(|ahead| {
            *ahead = ahead.saturating_add(by);
            self.ahead_now.store(*ahead, Ordering::Release);
        });
        self.ahead()
    }

    /// How far it is ahead of the machine's.
    pub(crate) fn ahead(&self) -> Millis {
        Millis(u64::try_from(self.ahead_now.load(Ordering::Acquire)).unwrap_or_default())
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall().plus_ms(self.ahead_now.load(Ordering::Acquire))
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

/// What a thread takes of the kernel at once: every request needs some, and asking costs a system call.
const STORE: usize = 512;
/// More than this is asked for by itself.
const SMALL: usize = 32;

thread_local! {
    /// Numbers that nobody has had yet, and how many are left of them, at the end.
    static STORED: RefCell<([u8; STORE], usize)> = const { RefCell::new(([0; STORE], 0)) };
}

fn from_kernel(buffer: &mut [u8]) {
    // The call fails only on kernels without getrandom and without /dev/urandom: nothing secure can run there.
    #[allow(clippy::expect_used)]
    getrandom::fill(buffer).expect("the kernel gives random numbers");
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() > SMALL {
            return from_kernel(buffer);
        }
        STORED.with_borrow_mut(|(stored, left)| {
            if *left < buffer.len() {
                from_kernel(stored);
                *left = STORE;
            }
            let from = STORE - *left;
            let taken = &mut stored[from..from + buffer.len()];
            buffer.copy_from_slice(taken);
            // Some become secrets: nothing else remembers them.
            taken.fill(0);
            *left -= buffer.len();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_numbers_are_given_twice() {
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let (mut small, mut odd, mut large) = ([0; 16], [0; 29], [0; SMALL + 1]);
            SystemEntropy.fill(&mut small);
            SystemEntropy.fill(&mut odd);
            SystemEntropy.fill(&mut large);
            for numbers in [&small[..], &odd[..16], &odd[13..], &large[..16], &large[17..]] {
                assert!(seen.insert(numbers.to_vec()), "{numbers:?}");
            }
        }
    }
}
