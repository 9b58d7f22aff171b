//! X-Ray: segments that functions and clients send, and those of invocations themselves, kept by trace.
//!
//! They come by `PutTraceSegments`, which answers when they are on disk, and as datagrams from functions, to which nobody answers:
//! those wait in a bounded buffer, as log lines do. A segment that is sent again replaces what was there, unless that was
//! complete and the new one is not.

pub(crate) mod daemons;
pub(crate) mod data;
pub mod filter;
mod graph;
mod matching;
mod ops;
pub mod segment;
mod service;
mod summary;

use crate::{Inner, otlp::segments::Exported};
use base::{AccountId, InvocationRecord, Region, TracedRequest, VersionKey};
use segment::Segment;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::Commit;
use tokio::{sync::Notify, time};

/// How long a trace is kept. Source: X-Ray's quotas.
const KEPT_MS: i64 = 30 * crate::logic::DAY_MS;
/// Bytes of datagrams that wait to be stored.
const WAITING_MAX: usize = 8 * 1024 * 1024;
/// How long they wait.
const FLUSH: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(2);
/// Segments stored, and rows removed, in one transaction.
const BATCH: usize = 500;
const CLEAR_ROWS: i64 = 500;

/// A segment and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) segment: Segment,
    pub(crate) document: String,
}

/// What came by datagrams and is not stored yet.
#[derive(Default)]
pub(crate) struct Arrivals {
    waiting: Mutex<Waiting>,
    /// One flush at a time: each removes what it has stored from the front.
    flushing: tokio::sync::Mutex<()>,
    wait: Notify,
    /// Lost: the buffer was full, or it was no segment.
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    segments: Vec<Kept>,
    bytes: usize,
}

impl Inner {
    /// Takes a datagram of a function's.
    pub(crate) fn datagram(&self, account: AccountId, region: &Region, function: &str, datagram: &[u8]) {
        let Some(document) = segment::of_datagram(datagram) else { return self.segment_lost("no segment") };
        let segment = match segment::parse(document) {
            Ok(segment) => segment,
            Err(refused) => return self.segment_lost(&refused.to_string()),
        };
        self.export_segment(account, region, Some(function), document);
        let document = document.to_owned();
        self.arrive(Kept { account, region: region.clone(), segment, document });
    }

    fn arrive(&self, kept: Kept) {
        let mut waiting = self.arrivals.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes + kept.document.len() > WAITING_MAX {
            drop(waiting);
            return self.segment_lost("too many wait");
        }
        waiting.bytes += kept.document.len();
        waiting.segments.push(kept);
        self.arrivals.wait.notify_one();
    }

    /// Keeps the segments of an invocation that X-Ray shows. Never blocks.
    pub(crate) fn show_invocation(&self, record: &InvocationRecord) {
        if record.traced.is_some_and(|times| times.span.shown) {
            self.show(&record.key, service::of_invocation(record));
        }
    }

    /// The same of a request that had no run.
    pub(crate) fn show_request(&self, request: &TracedRequest<'_>) {
        self.show(request.key, service::of_request(request));
    }

    /// A collector is told of the same by spans, so these are not exported.
    fn show(&self, key: &VersionKey, documents: Vec<serde_json::Value>) {
        for document in documents.iter().map(ToString::to_string) {
            match segment::parse(&document) {
                Ok(segment) => {
                    self.arrive(Kept { account: key.account, region: key.region.clone(), segment, document });
                }
                Err(refused) => self.segment_lost(&refused.to_string()),
            }
        }
    }

    /// Tells the collector too, if there is one.
    pub(crate) fn export_segment(
        &self,
        account: AccountId,
        region: &Region,
        function: Option<&str>,
        document: &str,
    ) {
        if let Some(exporter) = self.exporter.get() {
            exporter.segment(document.len(), || Exported {
                account,
                region: region.clone(),
                service: function.map(str::to_owned),
                document: document.to_owned(),
            });
        }
    }

    fn segment_lost(&self, reason: &str) {
        self.arrivals.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(reason, "a function's trace segment dropped");
    }

    /// Datagrams dropped since the start.
    pub(crate) fn segments_dropped(&self) -> u64 {
        self.arrivals.dropped.load(Ordering::Relaxed)
    }

    /// Stores datagrams as they come, for ever.
    pub(crate) async fn flush_segments_when_woken(&self) {
        loop {
            self.arrivals.wait.notified().await;
            time::sleep(FLUSH).await;
            while let Err(error) = self.flush_segments().await {
                tracing::error!(%error, "trace segments could not be stored and are kept for another attempt");
                time::sleep(RETRY).await;
            }
        }
    }

    /// Stores now what waits. What could not be stored waits on; what was may be stored again, with the same outcome.
    pub(crate) async fn flush_segments(&self) -> Result<(), store::Error> {
        let _flushing = self.arrivals.flushing.lock().await;
        self.count();
        loop {
            let batch: Vec<Kept> = {
                let waiting = self.arrivals.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.segments.iter().take(BATCH).cloned().collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            let (count, bytes) = (batch.len(), batch.iter().map(|kept| kept.document.len()).sum::<usize>());
            let now = self.clock.now();
            let store =
                move |tx: &mut store::Tx<'_>| batch.iter().try_for_each(|kept| data::put(tx, kept, now));
            self.db.write_at::<_, store::Error, _>(Commit::Written, store).await?;
            let mut waiting = self.arrivals.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = count.min(waiting.segments.len());
            waiting.segments.drain(..count);
            waiting.bytes = waiting.bytes.saturating_sub(bytes);
        }
    }

    /// Removes traces that are too old or too many. Idempotent.
    pub(crate) async fn clear_segments(&self) -> Result<(), store::Error> {
        let before = self.clock.now().plus_ms(-KEPT_MS);
        let expire = move |tx: &mut store::Tx<'_>| data::expire(tx, before, CLEAR_ROWS);
        while self.db.write_at::<_, store::Error, _>(Commit::Written, expire).await? as i64 == CLEAR_ROWS {}
        for (account, region, count) in self.db.read(data::counts).await? {
            let mut excess = count - self.settings.segments_max;
            while excess > 0 {
                let (account, region, rows) = (account.clone(), region.clone(), excess.min(CLEAR_ROWS));
                let shorten = move |tx: &mut store::Tx<'_>| data::shorten(tx, &account, &region, rows);
                self.db.write_at::<_, store::Error, _>(Commit::Written, shorten).await?;
                excess -= rows;
            }
        }
        Ok(())
    }
}
