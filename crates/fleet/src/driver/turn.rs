//! A call's turn: how the driver waits for it, and when it ends.

use super::{
    Shared,
    turns::{self, Arrival, Turns},
};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use tokio::time::Instant;

/// A call's turn; it ends with this.
pub(super) struct Turn {
    shared: Arc<Shared>,
    /// Taken at its end.
    number: Option<u64>,
}

impl Shared {
    /// Waits until a call may begin: its turn, if it got one, and when that was.
    pub(super) async fn turn(self: &Arc<Self>, arrived: Instant) -> (Option<Turn>, Instant) {
        let arrival = self.turns().arrive(arrived);
        let (number, begun) = match arrival {
            Arrival::Free => (None, arrived),
            Arrival::Turn(number) => (Some(number), arrived),
            Arrival::Wait { told, look } => {
                if look {
                    self.runtime.spawn(look_after(Arc::downgrade(self)));
                }
                // Whoever tells is gone only with the fleet.
                (told.await.ok().flatten(), Instant::now())
            }
        };
        (number.map(|number| Turn { shared: Arc::clone(self), number: Some(number) }), begun)
    }

    pub(super) fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(number) = self.number.take() {
            self.shared.turns().end(number, now);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.end(Instant::now());
        }
    }
}

/// Sees to it that no call waits for its turn for too long; ends when none waits.
async fn look_after(shared: Weak<Shared>) {
    let mut next = Instant::now() + turns::PATIENCE;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(shared) = shared.upgrade() else { return };
        let now = Instant::now();
        if !shared.turns().look(now) {
            return;
        }
        // From one time to the next without what the timer is late, which can be as much again.
        next = (next + turns::PATIENCE).max(now);
    }
}
