//! The poller of one mapping: carries out what [`Poller`] wants.

use super::add;
use crate::{
    Error, Functions,
    cache::Served,
    data,
    logic::{
        mappings::{
            event::{self, Record},
            filter::{self, Filter},
            limit::Limit,
            poller::{Batch, Ended, Poller, Rules, Step},
            response, settings,
        },
        recursion::{Looped, continued, depth},
    },
    model::Mapping,
    ops::{Call, principal, run as run_call},
};
use base::{
    Millis, Principal, QueueFacts, QueueSource, Seconds, SourceError, Timestamp, TraceHeader, limits,
};
use std::sync::{Arc, atomic::Ordering};
use store::Commit;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

/// How long what is known of a queue is taken for true.
const FACTS_MS: i64 = 60_000;
/// Bytes of messages that pollers of this node hold together; beyond it they rest.
const HELD_MAX: u64 = 256 * 1024 * 1024;
/// Attempts to delete what was worked on, a second apart: what is not deleted is worked on again.
const DELETIONS: u32 = 3;

struct Poll {
    functions: Arc<Functions>,
    queues: Arc<dyn QueueSource>,
    mapping: Arc<Mapping>,
    filters: Vec<Filter>,
    poller: Poller,
    /// Invocations, with the bytes of their messages.
    running: JoinSet<(Ended, u64)>,
    /// Bytes of messages that are here, part of [`super::Mappings`]'s count.
    held: u64,
    /// As whom the queue is asked, and what is known of it since when.
    known: Option<(Principal, Timestamp)>,
    /// As it is stored.
    problem: Option<String>,
}

/// Polls until the sender of `stopped` is dropped; then gives back what it has not begun and finishes the rest.
pub(super) async fn run(
    functions: Arc<Functions>,
    queues: Arc<dyn QueueSource>,
    mapping: Arc<Mapping>,
    mut stopped: watch::Receiver<()>,
) {
    let settings = &mapping.settings;
    let rules = Rules {
        batch_max: settings.batch_max,
        bytes_max: usize::try_from(limits::PAYLOAD_SYNC_MAX.0).unwrap_or(usize::MAX),
        window: settings.window.millis(),
        visibility: Millis(0),
        timeout: Millis(0),
        fifo: event::is_fifo(&mapping.source),
        reports_failures: settings.reports_failures,
    };
    // They were read before they were stored.
    let filters = settings.filters.iter().filter_map(|text| Filter::parse(text).ok()).collect();
    let mut poll = Poll {
        poller: Poller::new(rules, Limit::of(settings)),
        problem: mapping.problem.clone(),
        running: JoinSet::new(),
        held: 0,
        known: None,
        filters,
        functions,
        queues,
        mapping,
    };
    loop {
        // Only waiting is broken off: a receive that has begun must not lose what it brings.
        poll.hear();
        let wait = poll.step().await;
        if stopped.has_changed().is_err() {
            break;
        }
        if let Some((messages, until)) = wait {
            tokio::select! {
                () = poll.wait(messages, until) => {}
                _ = stopped.changed() => break,
            }
        }
    }
    poll.end().await;
}

impl Poll {
    /// Carries out one step; tells what to wait for, if anything.
    async fn step(&mut self) -> Option<(bool, Option<Timestamp>)> {
        match self.poller.next(self.functions.now()) {
            Step::Receive { max, bytes } => self.receive(max, bytes).await,
            Step::Invoke(batch) => {
                let (functions, queues, mapping) =
                    (Arc::clone(&self.functions), Arc::clone(&self.queues), Arc::clone(&self.mapping));
                let size = batch.size();
                self.running
                    .spawn(async move { (invoke(&functions, &*queues, &mapping, batch).await, size) });
            }
            Step::Hide(receipts) => {
                if let Some((who, visibility)) = self.facts().await {
                    let (queues, source) = (&self.queues, self.mapping.source.clone());
                    if let Err(error) = queues.hide(who, source, receipts, visibility).await {
                        tracing::warn!(mapping = %self.mapping.id, %error, "waiting messages could not be hidden longer");
                    }
                }
            }
            Step::Abandon(batch) => {
                add(&self.functions.mappings.failed, batch.records.len() as u64);
                self.let_go(batch.size());
                tracing::debug!(mapping = %self.mapping.id, "messages are the queue's again");
            }
            Step::Wait { messages, until } => return Some((messages, until)),
        }
        None
    }

    async fn wait(&mut self, messages: bool, until: Option<Timestamp>) {
        let busy = !self.running.is_empty();
        let moment = async {
            match until {
                Some(at) => self.functions.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let ready = async {
            match messages {
                true => self.queues.ready(self.mapping.source.clone()).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = moment => {}
            () = ready => self.poller.awake(),
            Some(ended) = self.running.join_next(), if busy => self.finished(ended),
        }
    }

    /// Notes which invocations have ended.
    fn hear(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            self.finished(ended);
        }
    }

    fn finished(&mut self, ended: Result<(Ended, u64), JoinError>) {
        // One that broke off has deleted nothing: as if the function had failed.
        let (ended, size) = ended.unwrap_or((Ended::Failed, 0));
        if !matches!(ended, Ended::Refused(_)) {
            self.let_go(size);
        }
        self.poller.finished(ended, &self.functions.settings.events.waits, self.functions.now());
    }

    fn hold(&mut self, bytes: u64) {
        self.held = self.held.saturating_add(bytes);
        add(&self.functions.mappings.held, bytes);
    }

    fn let_go(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        self.functions.mappings.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    async fn receive(&mut self, max: u32, bytes: usize) {
        if self.functions.mappings.held.load(Ordering::Relaxed) >= HELD_MAX {
            return self.rest();
        }
        let received = match self.facts().await {
            Some((who, _)) => {
                let source = self.mapping.source.clone();
                self.queues.receive(who, source, max, bytes).await.map_err(|error| describe(&error))
            }
            None => return self.rest(),
        };
        match received {
            Ok(messages) => {
                self.note(None).await;
                self.take(messages).await;
            }
            Err(problem) => {
                self.known = None;
                self.note(Some(problem)).await;
                self.rest();
            }
        }
    }

    fn rest(&mut self) {
        self.poller.not_received(&self.functions.settings.events.waits, self.functions.now());
    }

    /// Sorts what was received.
    async fn take(&mut self, messages: Vec<base::QueueMessage>) {
        let (source, counters) = (self.mapping.source.clone(), &self.functions.mappings);
        let got = messages.len();
        add(&counters.polled, got as u64);
        let (mut wanted, mut unwanted) = (Vec::with_capacity(got), Vec::new());
        for message in messages {
            match filter::wanted(&self.filters, &message, &source) {
                true => wanted.extend(event::record(&message, &source)),
                false => unwanted.push(message.receipt),
            }
        }
        add(&counters.filtered, unwanted.len() as u64);
        self.hold(wanted.iter().map(|record| record.size() as u64).sum());
        let back = self.poller.received(got, wanted, self.functions.now());
        self.let_go(back.iter().map(|record| record.size() as u64).sum());
        let Some((who, _)) = self.facts().await else { return };
        delete(&self.functions, &*self.queues, &who, &self.mapping, unwanted).await;
        self.give_back(who, back).await;
    }

    async fn give_back(&self, who: Principal, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let receipts = records.into_iter().map(|record| record.receipt).collect();
        if let Err(error) = self.queues.hide(who, self.mapping.source.clone(), receipts, Seconds(0)).await {
            tracing::debug!(mapping = %self.mapping.id, %error, "messages come back by themselves");
        }
    }

    /// As whom to ask the queue, and its visibility timeout; `None` if that cannot be known now, which the mapping then shows.
    async fn facts(&mut self) -> Option<(Principal, Seconds)> {
        match self.ask().await {
            Ok(facts) => Some(facts),
            Err(problem) => {
                self.known = None;
                self.note(Some(problem)).await;
                None
            }
        }
    }

    async fn ask(&mut self) -> Result<(Principal, Seconds), String> {
        let served = serving(&self.functions, &self.mapping).await.map_err(|error| error.to_string())?;
        let who = principal(&served.spec.role, &self.mapping.target).map_err(|error| error.to_string())?;
        let now = self.functions.now();
        let timeout = served.spec.timeout;
        let fresh = self.known.as_ref().is_some_and(|(known, since)| {
            *known == who
                && now.0.saturating_sub(since.0) < FACTS_MS
                && self.poller.timeout() == timeout.millis()
        });
        if !fresh {
            let source = self.mapping.source.clone();
            let facts: QueueFacts =
                self.queues.describe(who.clone(), source).await.map_err(|error| describe(&error))?;
            self.poller.adapt(facts.visibility.millis(), timeout.millis());
            self.known = Some((who.clone(), now));
        }
        Ok((who, Seconds(u32::try_from(self.poller.visibility().0 / 1_000).unwrap_or(u32::MAX))))
    }

    /// Shows why the mapping does not poll, or that it does.
    async fn note(&mut self, problem: Option<String>) {
        if self.problem == problem {
            return;
        }
        if let Some(problem) = &problem {
            tracing::warn!(mapping = %self.mapping.id, source = %self.mapping.source, problem, "an event source mapping cannot poll");
        }
        let (id, noted) = (self.mapping.id, problem.clone());
        let written = self
            .functions
            .db
            .write_at(Commit::Written, move |tx| data::note_problem(tx, id, noted.as_deref()))
            .await;
        match written {
            Ok(()) => self.problem = problem,
            Err(error) => tracing::error!(%error, "the problem of a mapping could not be noted"),
        }
    }

    /// Gives back what was not begun, and waits for what was.
    async fn end(mut self) {
        let back = self.poller.give_up();
        if !back.is_empty()
            && let Some((who, _)) = self.facts().await
        {
            self.give_back(who, back).await;
        }
        while let Some(ended) = self.running.join_next().await {
            // What was refused becomes visible by itself.
            self.finished(ended);
        }
        self.let_go(self.held);
    }
}

/// The version that the next invocation is of.
async fn serving(functions: &Functions, mapping: &Mapping) -> Result<Arc<Served>, Error> {
    let version = functions.chosen(&mapping.target).await?;
    functions.served(&mapping.target, version).await
}

/// Why a queue cannot be polled, for `LastProcessingResult`.
fn describe(error: &SourceError) -> String {
    settings::unreachable(error).to_string()
}

/// One invocation and what follows from its answer.
async fn invoke(
    functions: &Functions,
    queues: &dyn QueueSource,
    mapping: &Mapping,
    mut batch: Batch,
) -> Ended {
    let counters = &functions.mappings;
    let Ok(served) = serving(functions, mapping).await else { return Ended::Refused(batch) };
    let Ok(who) = principal(&served.spec.role, &mapping.target) else { return Ended::Refused(batch) };
    let looped = take_looped(&mut batch.records, &served);
    for _ in 0..looped {
        functions.meter_loop(&served, &mapping.target.arn());
    }
    if looped > 0 {
        add(&counters.looped, looped);
        tracing::warn!(
            mapping = %mapping.id, function = %mapping.target.arn(), messages = looped,
            "messages have come back to their function too often and are left to the queue's redrive policy"
        );
    }
    if batch.records.is_empty() {
        return Ended::Answered;
    }
    let request_id = functions.fresh_id();
    let trace = batch.records.iter().filter_map(|record| record.trace.as_deref());
    // That of the message which has been around most, so that a loop is seen whatever it is batched with.
    let trace = trace.rev().max_by_key(|trace| depth(trace, &served.mark)).map(TraceHeader::parse);
    let call = Call {
        request_id,
        payload: event::event(&batch.records),
        invoked_arn: mapping.target.arn().into(),
        body: base::ArrivingBody::default(),
        client_context: None,
        trace: trace.unwrap_or_else(|| functions.fresh_trace(request_id)),
        tenant: None,
        tail: false,
        attempt: None,
        streamed: false,
    };
    let outcome = match call.chained(functions, &served) {
        Ok(call) => run_call(functions, &served, call).await,
        Err(error) => Err(error),
    };
    let (done, failed, ended) = match outcome {
        Err(error) => {
            tracing::debug!(mapping = %mapping.id, %error, "an invocation was refused");
            add(&counters.refused, 1);
            return Ended::Refused(batch);
        }
        Ok(outcome) => match outcome.answer {
            Ok(answer) if mapping.settings.reports_failures => {
                let (done, failed) = response::split(&answer, batch.records);
                (done, failed, Ended::Answered)
            }
            Ok(_) => (batch.records, Vec::new(), Ended::Answered),
            Err(_) => (Vec::new(), batch.records, Ended::Failed),
        },
    };
    add(&counters.invoked, 1);
    add(&counters.failed, failed.len() as u64);
    let receipts = done.into_iter().map(|record| record.receipt).collect();
    delete(functions, queues, &who, mapping, receipts).await;
    ended
}

/// Takes out what must not be handed to the function again, and counts it.
fn take_looped(records: &mut Vec<Record>, served: &Served) -> u64 {
    let before = records.len();
    records.retain(|record| match &record.trace {
        Some(trace) => {
            let mut trace = TraceHeader::parse(trace);
            !matches!(continued(&mut trace, &served.mark, served.recursion), Err(Looped))
        }
        None => true,
    });
    u64::try_from(before - records.len()).unwrap_or_default()
}

/// Deletes messages, if need be with several attempts.
async fn delete(
    functions: &Functions,
    queues: &dyn QueueSource,
    who: &Principal,
    mapping: &Mapping,
    receipts: Vec<String>,
) {
    if receipts.is_empty() {
        return;
    }
    let count = receipts.len() as u64;
    for attempt in 1..=DELETIONS {
        match queues.delete(who.clone(), mapping.source.clone(), receipts.clone()).await {
            Ok(()) => return add(&functions.mappings.deleted, count),
            Err(SourceError::NotNow(_)) if attempt < DELETIONS => {
                functions.clock.sleep_until(functions.now().plus_ms(1_000)).await;
            }
            Err(error) => {
                tracing::warn!(mapping = %mapping.id, %error, count, "messages could not be deleted and come again");
                return;
            }
        }
    }
}
