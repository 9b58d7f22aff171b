//! Background work: flushing logs and usage, and clearing away what is expired or deleted.
//!
//! Each loop sleeps until there is something to do: an idle node is not woken. Every step may be repeated, and may run on
//! several nodes at once.

use crate::{
    Inner,
    buffer::Taken,
    chunk::{self, Packer},
    data,
    logic::DAY_MS,
    model::{NewChunk, StreamKey},
};
use base::Timestamp;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{Commit, Error, Tx};
use tokio::time;

/// Waits after a failed flush: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(10);
/// Rows removed in one transaction, so that nobody waits long behind it.
const CLEAR_ROWS: i64 = 200;
/// Expired events are searched this often; they are hidden at once.
const CLEAR_EVERY: Duration = Duration::from_secs(60);
/// Small chunks of one stream that are merged at least, and at most in one transaction.
const SMALL_MIN: usize = 32;
const SMALL_MAX: i64 = 256;
/// Fragmented streams merged in one round.
const FRAGMENTED_MAX: i64 = 500;
/// Rounds of clearing between searches for fragmented streams: the first at start, then every half hour.
const FRAGMENTED_EVERY: u64 = 30;
/// An instance that has not flushed for so long has no batch on its way.
pub(crate) const FORGET_INSTANCES_MS: i64 = 30 * DAY_MS;
/// A batch up to this size is compressed where it is, in about a millisecond.
const PACK_INLINE_BYTES: usize = 128 * 1024;
/// Flushes tried at shutdown.
const LAST_ATTEMPTS: u32 = 3;

/// Log events on their way to the store, kept until they are known to be there.
#[derive(Clone, Debug)]
pub(crate) enum LogBatch {
    /// As they came.
    Taken(Arc<Taken>),
    /// Compressed, and perhaps already stored by an attempt whose outcome is unknown.
    Packed(Arc<Taken>, Arc<Packed>),
}

/// Chunks by stream.
pub(crate) type Packed = Vec<(StreamKey, Vec<NewChunk>)>;

/// What is flushed.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Logs,
    Usage,
    Metrics,
}

impl Inner {
    /// Runs until `stop`, then flushes what is left.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.flush_logs_when_woken() => {}
            () = self.flush_usage_when_woken() => {}
            () = self.flush_metrics_when_woken() => {}
            () = self.flush_segments_when_woken() => {}
            () = self.clear_forever() => {}
            () = self.watch_alarms() => {}
        }
        for attempt in 1..=LAST_ATTEMPTS {
            let (logs, usage) = (self.flush_logs().await, self.flush_usage().await);
            match logs.and(usage).and(self.flush_metrics().await).and(self.flush_segments().await) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, attempt, "final flush of logs, usage and metrics failed")
                }
            }
        }
    }

    async fn flush_logs_when_woken(&self) {
        loop {
            self.logs_wait.notified().await;
            tokio::select! {
                () = time::sleep(self.settings.log_flush) => {}
                () = self.logs_urgent.notified() => {}
            }
            self.until_done(Kind::Logs).await;
        }
    }

    async fn flush_usage_when_woken(&self) {
        loop {
            self.usage_wait.notified().await;
            time::sleep(self.settings.usage_flush).await;
            self.until_done(Kind::Usage).await;
        }
    }

    async fn flush_metrics_when_woken(&self) {
        loop {
            self.metrics_wait.notified().await;
            time::sleep(self.settings.metrics_flush).await;
            self.until_done(Kind::Metrics).await;
        }
    }

    async fn until_done(&self, what: Kind) {
        let mut wait = RETRY_FIRST;
        loop {
            let flushed = match what {
                Kind::Logs => self.flush_logs().await,
                Kind::Usage => self.flush_usage().await,
                Kind::Metrics => self.flush_metrics().await,
            };
            let Err(error) = flushed else { return };
            self.metrics.flush_failures.inc();
            tracing::error!(%error, ?what, retry_ms = wait.as_millis() as u64, "flush failed, kept for another attempt");
            time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_LAST);
        }
    }

    /// Stores all log events that have been appended before the call, at level Written: they survive kill -9 from then on.
    ///
    /// Cancel-safe: a batch that has been taken is kept until its commit is known; storing it twice adds nothing.
    pub(crate) async fn flush_logs(&self) -> Result<(), Error> {
        let mut kept = self.logs_kept.lock().await;
        // A batch left over from a failed attempt first, then what has come since; but not what comes meanwhile.
        let mut taken_all = false;
        loop {
            let (taken, packed) = match kept.clone() {
                Some(LogBatch::Packed(taken, packed)) => (taken, packed),
                Some(LogBatch::Taken(taken)) => {
                    let packed = Arc::new(self.pack(&taken).await);
                    *kept = Some(LogBatch::Packed(Arc::clone(&taken), Arc::clone(&packed)));
                    (taken, packed)
                }
                None if taken_all || self.buffer.is_empty() => return Ok(()),
                None => {
                    taken_all = true;
                    *kept = Some(LogBatch::Taken(Arc::new(self.buffer.take(self.clock.now()))));
                    continue;
                }
            };
            let now = self.clock.now();
            self.db.write_at(Commit::Written, move |tx| store_logs(tx, &packed, now)).await?;
            self.buffer.settle(&taken);
            *kept = None;
        }
    }

    /// Compresses a batch; a large one on a thread where it keeps nobody waiting.
    async fn pack(&self, taken: &Arc<Taken>) -> Packed {
        if taken.bytes > PACK_INLINE_BYTES {
            let (taken, packer) = (Arc::clone(taken), Arc::clone(&self.packer));
            if let Ok(packed) = tokio::task::spawn_blocking(move || pack(&taken, &packer)).await {
                return packed;
            }
        }
        pack(taken, &self.packer)
    }

    /// Stores all invocations recorded before the call, durably and exactly once.
    ///
    /// Cancel-safe, as [`Inner::flush_logs`].
    pub(crate) async fn flush_usage(&self) -> Result<(), Error> {
        let mut kept = self.usage_kept.lock().await;
        self.count();
        // A batch left over from a failed attempt first, then what has come since; but not what comes meanwhile.
        for left_over in [true, false] {
            let batch = if left_over { kept.clone() } else { self.counting.take() };
            let Some(batch) = batch else { continue };
            *kept = Some(Arc::clone(&batch));
            let now = self.clock.now();
            let writing = Arc::clone(&batch);
            self.db.write(move |tx| data::usage_add(tx, &writing, now)).await?;
            self.budgets.usage_stored();
            *kept = None;
        }
        Ok(())
    }

    async fn clear_forever(&self) {
        for round in 0.. {
            if let Err(error) = self.clear().await {
                tracing::warn!(%error, "clearing expired logs failed, tried again later");
            }
            self.observe_concurrency();
            if let Err(error) = self.age_metrics().await {
                tracing::warn!(%error, "merging old points of metrics failed, tried again later");
            }
            if let Err(error) = self.charge_reserved().await {
                tracing::warn!(%error, "reserved time could not be charged, tried again later");
            }
            if let Err(error) = self.clear_segments().await {
                tracing::warn!(%error, "clearing old traces failed, tried again later");
            }
            if round % FRAGMENTED_EVERY == 0
                && let Err(error) = self.merge().await
            {
                tracing::warn!(%error, "merging small log chunks failed, tried again later");
            }
            time::sleep(CLEAR_EVERY).await;
        }
    }

    /// Merges small chunks, which flushing every 200 ms leaves behind, into larger ones: fewer rows, better compression, faster
    /// searches. What clients see, tokens and event ids included, stays the same. Idempotent.
    pub(crate) async fn merge(&self) -> Result<(), Error> {
        let streams = |tx: &mut Tx<'_>| data::streams_fragmented(tx, SMALL_MIN as i64, FRAGMENTED_MAX);
        for stream in self.db.read(streams).await? {
            // A batch whose outcome is unknown is recognised by its chunks: they must not be merged before it is settled.
            let kept = self.logs_kept.lock().await;
            if kept.is_some() {
                return Ok(());
            }
            while self.db.write_at(Commit::Written, move |tx| merge_stream(tx, stream)).await? {}
        }
        Ok(())
    }

    /// Removes what is expired or deleted. Idempotent.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        let now = self.clock.now();
        while self.db.write_at(Commit::Written, clear_trash).await? {}
        let mut after = 0;
        loop {
            let groups = self.db.read(move |tx| data::groups_with_retention(tx, after, CLEAR_ROWS)).await?;
            let Some((last, _)) = groups.last() else { break };
            after = *last;
            for (group, days) in groups {
                let cutoff = now.0 - days * DAY_MS;
                while self.db.write_at(Commit::Written, move |tx| expire(tx, group, cutoff)).await? {}
            }
        }
        let own = self.counting.instance();
        let before = now.plus_ms(-FORGET_INSTANCES_MS);
        self.db.write_at(Commit::Written, move |tx| data::flushes_forget(tx, own, before)).await?;
        Ok(())
    }
}

fn pack(taken: &Taken, packer: &Mutex<Packer>) -> Packed {
    let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
    let packed = taken.streams.iter().filter_map(|(key, events)| match packer.pack(events) {
        Ok(chunks) => Some((key.clone(), chunks)),
        Err(error) => {
            // Compression into memory does not fail; if it does, these events are lost and that is said.
            tracing::error!(%error, group = key.group, stream = key.stream, "log events cannot be packed");
            None
        }
    });
    packed.collect()
}

fn store_logs(tx: &mut Tx<'_>, packed: &Packed, now: Timestamp) -> Result<(), Error> {
    let mut groups = HashMap::new();
    for (key, chunks) in packed {
        let place = (key.account, &key.region, key.group.as_str());
        let group = match groups.get(&place) {
            Some(group) => *group,
            None => {
                let group = ensure_group(tx, key, now)?;
                groups.insert(place, group);
                group
            }
        };
        let stream = match data::stream_id(tx, group, &key.stream)? {
            Some(stream) => stream,
            None => {
                data::stream_insert(tx, group, &key.stream, true, now)?;
                data::stream_id(tx, group, &key.stream)?.ok_or_else(vanished)?
            }
        };
        for chunk in chunks {
            data::chunk_insert(tx, group, stream, chunk)?;
        }
    }
    Ok(())
}

fn ensure_group(tx: &mut Tx<'_>, key: &StreamKey, now: Timestamp) -> Result<i64, Error> {
    if let Some(group) = data::group_find(tx, key.account, &key.region, &key.group)? {
        return Ok(group.id);
    }
    data::group_insert(tx, key.account, &key.region, &key.group, now)?;
    let group = data::group_find(tx, key.account, &key.region, &key.group)?;
    group.map(|group| group.id).ok_or_else(vanished)
}

/// A row that was inserted in this very transaction is there.
fn vanished() -> Error {
    Error::decode("log group or stream", std::io::Error::other("row inserted and not found"))
}

/// Whether there may be more to merge.
fn merge_stream(tx: &mut Tx<'_>, stream: i64) -> Result<bool, Error> {
    let small = data::chunks_small(tx, stream, SMALL_MAX)?;
    if small.len() < SMALL_MIN {
        return Ok(false);
    }
    let mut events = Vec::new();
    for chunk in &small {
        events.extend(chunk::unpack(&chunk.body).map_err(|error| Error::decode("log chunk", error))?);
    }
    let merged = chunk::pack(&events).map_err(|error| Error::decode("log events", error))?;
    // Spread over so much time that nothing can be merged: leave it, or it would be tried for ever.
    if merged.len() > small.len() / 2 {
        return Ok(false);
    }
    data::chunks_replace(tx, stream, &small, &merged)?;
    Ok(true)
}

/// Whether there may be more to clear.
fn clear_trash(tx: &mut Tx<'_>) -> Result<bool, Error> {
    match data::trash_first(tx)? {
        None => Ok(false),
        Some((group, stream)) => {
            data::trash_clear(tx, group, stream, CLEAR_ROWS)?;
            Ok(true)
        }
    }
}

/// Whether there may be more to remove.
fn expire(tx: &mut Tx<'_>, group: i64, cutoff: i64) -> Result<bool, Error> {
    let chunks = data::chunks_expire(tx, group, cutoff, CLEAR_ROWS)?;
    if chunks as i64 == CLEAR_ROWS {
        return Ok(true);
    }
    let streams = data::streams_expire(tx, group, cutoff, CLEAR_ROWS)?;
    Ok(streams as i64 == CLEAR_ROWS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        meter::{Batch, Usage, UsageKey},
        prices::{Meters, Processor},
    };
    use base::RequestId;
    use store::{Database, Durability, Location};

    fn batch(instance: u8, sequence: i64) -> Arc<Batch> {
        let key = UsageKey {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            function: "f".parse().unwrap(),
            version: base::Version::Latest,
            memory_mib: 128,
            processor: Processor::Arm,
            day: 5,
        };
        let usage = Usage { meters: Meters { requests: 10, ..Meters::default() }, ..Usage::default() };
        Arc::new(Batch {
            instance: RequestId::from_random([instance; 16]),
            sequence,
            rows: vec![(key, usage)],
            reserved: Vec::new(),
        })
    }

    /// What a commit whose outcome is unknown leads to: the same batch again.
    #[tokio::test]
    async fn a_batch_stored_twice_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let location =
            Location::Sqlite { path: folder.path().join("t.sqlite"), durability: Durability::Relaxed };
        let db = Database::open(location, data::MIGRATIONS).unwrap();
        for (instance, sequence, added) in
            [(1, 1, true), (1, 1, false), (1, 2, true), (1, 1, false), (2, 1, true), (2, 1, false)]
        {
            let batch = batch(instance, sequence);
            let stored = db.write(move |tx| data::usage_add(tx, &batch, Timestamp(9))).await;
            assert_eq!(stored.unwrap(), added, "{instance} {sequence}");
        }
        let rows = db.read(|tx| data::usage_between(tx, base::AccountId::DEFAULT, 0, 5)).await.unwrap();
        let [(key, usage)] = &rows[..] else { panic!("one row") };
        assert_eq!((key.processor, usage.meters.requests), (Processor::Arm, 30));
    }
}
