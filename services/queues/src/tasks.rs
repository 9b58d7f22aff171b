//! Background work: retention, purges, what is left of deleted queues, moves from dead-letter queues.
//!
//! Every step may be repeated and may run on several nodes; between steps others have their turn. With nothing to do it sleeps until
//! the next message is too old.

use crate::{Error, Queues, data, model::Queue};
use base::Timestamp;
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use store::Commit;
use tokio::sync::Notify;

/// Messages a second that a move task moves at most. Source: SQS API reference, `StartMessageMoveTask`.
pub(crate) const MOVE_RATE_MAX: u32 = 500;
/// Messages of one step of a move, and with it how often a rate is looked at.
const MOVE_STEP: u32 = 50;
/// Queues read at once.
const PAGE: i64 = 500;
/// Between looks for what is too old, at least.
const SWEEP_MS: i64 = 60_000;
/// Where other nodes start work too: how long to wait before looking for theirs.
const SHARED_MS: i64 = 10_000;
/// After an error of the store.
const RETRY: Duration = Duration::from_secs(1);

/// When the next round of upkeep is due.
#[derive(Debug)]
pub(crate) struct UpkeepAt {
    at: AtomicI64,
    /// Told when it has become earlier.
    earlier: Notify,
}

impl UpkeepAt {
    pub(crate) fn new() -> UpkeepAt {
        UpkeepAt { at: AtomicI64::new(i64::MAX), earlier: Notify::new() }
    }

    fn forget(&self) {
        self.at.store(i64::MAX, Ordering::SeqCst);
    }

    fn get(&self) -> Timestamp {
        Timestamp(self.at.load(Ordering::SeqCst))
    }

    /// Makes it `at` if that is earlier; whether it was.
    fn lower(&self, at: Timestamp) -> bool {
        // Mostly it is not, and then nothing is written that others read.
        self.get() > at && self.at.fetch_min(at.0, Ordering::SeqCst) > at.0
    }
}

/// A task that moves messages from a dead-letter queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MoveTask {
    pub(crate) handle: String,
    /// [`Queue::id`] of the source.
    pub(crate) queue: i64,
    /// Its ARN.
    pub(crate) source: String,
    /// ARN; `None`: back to where each message came from.
    pub(crate) target: Option<String>,
    /// Messages a second.
    pub(crate) rate: Option<u32>,
    pub(crate) status: MoveStatus,
    pub(crate) moved: u64,
    /// Messages when it began.
    pub(crate) total: u64,
    pub(crate) failure: Option<String>,
    pub(crate) started: Timestamp,
}

/// `Status` of a move task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveStatus {
    Running,
    Completed,
    Cancelled,
    Failed,
}

impl MoveStatus {
    const ALL: [MoveStatus; 4] =
        [MoveStatus::Running, MoveStatus::Completed, MoveStatus::Cancelled, MoveStatus::Failed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            MoveStatus::Running => "RUNNING",
            MoveStatus::Completed => "COMPLETED",
            MoveStatus::Cancelled => "CANCELLED",
            MoveStatus::Failed => "FAILED",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<MoveStatus> {
        MoveStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl Queues {
    /// Does the background work until `stop` resolves. Abort-safe.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        tokio::select! {
            () = stop => {}
            () = self.upkeep() => {}
            () = self.measure() => {}
        }
    }

    async fn upkeep(&self) {
        loop {
            // What is sent while the round looks is noted for the next one.
            self.upkeep_at.forget();
            match self.round().await {
                Ok(next) => {
                    self.upkeep_at.lower(next.unwrap_or(Timestamp(i64::MAX)));
                    tokio::select! { () = self.upkeep_due() => {}, () = self.work.notified() => {} }
                }
                Err(error) => {
                    tracing::error!(%error, "the upkeep of queues waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Resolves when the next round is due, which what is sent meanwhile may make earlier.
    async fn upkeep_due(&self) {
        loop {
            let mut earlier = pin!(self.upkeep_at.earlier.notified());
            earlier.as_mut().enable();
            let at = self.upkeep_at.get();
            if at <= self.now() {
                return;
            }
            tokio::select! { () = self.clock.sleep_until(at) => return, () = earlier => {} }
        }
    }

    /// Notes that messages were sent to a queue: they, and their deduplication ids, become too old one day.
    pub(crate) fn to_be_removed(&self, queue: &Queue, sent: Timestamp) {
        let kept_ms = i64::from(queue.settings.retention.0) * 1_000;
        let forgotten_ms = if queue.settings.fifo.is_some() { data::DEDUPLICATION_MS } else { kept_ms };
        if self.upkeep_at.lower(sent.plus_ms(kept_ms.min(forgotten_ms))) {
            self.upkeep_at.earlier.notify_one();
        }
    }

    /// Does what there is to do; when there will be more.
    async fn round(&self) -> Result<Option<Timestamp>, Error> {
        while !self.db.write_at(Commit::Written, data::deleted_step).await? {}
        while let Some(purge) = self.db.read(data::next_purge).await? {
            let now = self.now();
            self.db.write_at(Commit::Written, move |tx| data::purge_step(tx, purge, now)).await?;
        }
        let now = self.now();
        while !self.db.write_at(Commit::Written, move |tx| data::forget(tx, now)).await? {}
        let moves = self.move_some().await?;
        let expiry = self.expire().await?;
        let forgotten = self.db.read(data::next_forgotten).await?;
        let swept = [expiry, forgotten].into_iter().flatten().min().map(|at| at.max(now.plus_ms(SWEEP_MS)));
        let shared = self.settings.shared.then(|| self.now().plus_ms(SHARED_MS));
        Ok([moves, swept, shared].into_iter().flatten().min())
    }

    /// Removes messages that are too old; when the next will be.
    async fn expire(&self) -> Result<Option<Timestamp>, Error> {
        let (mut after, mut next) = (0, None);
        loop {
            let queues = self.db.read(move |tx| data::queues_after(tx, after, PAGE)).await?;
            let Some(last) = queues.last() else { return Ok(next) };
            after = last.id;
            for queue in &queues {
                next = [next, self.expire_of(queue).await?].into_iter().flatten().min();
            }
        }
    }

    async fn expire_of(&self, queue: &Queue) -> Result<Option<Timestamp>, Error> {
        let (id, keep) = (queue.id, i64::from(queue.settings.retention.0) * 1_000);
        loop {
            let now = self.now();
            let oldest = self.db.read(move |tx| data::oldest(tx, id)).await?;
            let Some(due) = oldest.map(|sent| sent.plus_ms(keep)) else { return Ok(None) };
            if due > now {
                return Ok(Some(due));
            }
            self.db
                .write_at(Commit::Written, move |tx| data::expire(tx, id, now.plus_ms(-keep), now))
                .await?;
        }
    }

    /// Goes on with all moves; when to go on again.
    async fn move_some(&self) -> Result<Option<Timestamp>, Error> {
        let tasks = self.db.read(data::running_tasks).await?;
        let mut again = None;
        for task in tasks {
            let rate = task.rate.unwrap_or(MOVE_RATE_MAX);
            let step = rate.min(MOVE_STEP);
            let now = self.now();
            let (handle, running) = (task.handle.clone(), task.clone());
            let (targets, moved) = self
                .db
                .write(move |tx| {
                    // It may have been cancelled.
                    match data::task(tx, &running.handle)? {
                        Some(task) if task.status == MoveStatus::Running => {
                            data::move_step(tx, &task, i64::from(step), now)
                        }
                        Some(_) | None => Ok((Vec::new(), 0)),
                    }
                })
                .await?;
            for target in targets {
                self.signals.of(target.id).wake(moved);
            }
            if moved == 0 {
                let ended = move |tx: &mut store::Tx<'_>| match data::task(tx, &handle)? {
                    Some(task) if task.status == MoveStatus::Running => {
                        data::set_task(tx, &handle, MoveStatus::Completed, None)
                    }
                    Some(_) | None => Ok(()),
                };
                self.db.write(ended).await?;
                continue;
            }
            let pause = i64::from(step) * 1_000 / i64::from(rate.max(1));
            again = [again, Some(now.plus_ms(pause))].into_iter().flatten().min();
        }
        Ok(again)
    }
}
