//! Runs accepted asynchronous invocations: claims batches of rows, runs each, and deletes or reschedules it.
//!
//! Rows carry their lease: `due_ms` of a claimed row is when others may take it. Claims, deletions and retries are
//! bookkeeping: losing them repeats an attempt, which at-least-once permits, so they do not wait for the disk.

use super::{add, destinations};
use crate::{
    Error, Functions,
    cache::Served,
    data,
    logic::{
        dispatch::{Claim, Dispatcher},
        event_config,
        retry::{self, Ended, Fate, GivenUp},
    },
    model::{Event, EventConfig, EventPolicy, FunctionId, Qualifier, Target},
    ops::{Call, Outcome as CallOutcome, run as run_call},
};
use base::{Attempt, Millis, QueueStep, RequestId, Timestamp, TraceHeader};
use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};
use store::Commit;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::Instant,
};

/// Rows read at once.
const PAGE: i64 = 500;
/// After an error of the store.
const RETRY_MS: i64 = 1_000;

/// The driver of one node.
struct Driver {
    functions: Arc<Functions>,
    dispatcher: Dispatcher,
    running: JoinSet<Finished>,
    /// Which function a task runs, for those that end without saying.
    tasks: HashMap<Id, FunctionId>,
    rescan_at: Instant,
    /// By the clock that leases are measured with: when it is moved on, they are renewed before others could be claimed.
    renew_at: Timestamp,
}

/// How a claimed event ended.
struct Finished {
    id: FunctionId,
    refused: bool,
    again: Option<Timestamp>,
    /// When: waits begin here, not when the driver hears of it.
    at: Timestamp,
}

pub(super) async fn run(functions: Arc<Functions>, stop: impl Future<Output = ()> + Send) {
    let mut stop = pin!(stop);
    let mut driver = Driver {
        dispatcher: Dispatcher::new(functions.settings.events.bounds),
        running: JoinSet::new(),
        tasks: HashMap::new(),
        rescan_at: Instant::now(),
        renew_at: Timestamp::default(),
        functions,
    };
    tokio::select! {
        () = &mut stop => return,
        () = driver.begin() => {}
    }
    loop {
        let round = async {
            driver.hear().await;
            driver.renew().await;
            driver.claim().await;
            driver.wait().await;
        };
        tokio::select! {
            () = &mut stop => break,
            () = round => {}
        }
    }
    while let Some(ended) = driver.running.join_next_with_id().await {
        driver.note(ended);
    }
}

impl Driver {
    /// Takes up what earlier lives of this node held.
    async fn begin(&mut self) {
        loop {
            let functions = Arc::clone(&self.functions);
            let (node, holder, now) =
                (functions.settings.node.clone(), functions.events.holder.clone(), functions.now());
            let begun = functions
                .db
                .write(move |tx| {
                    data::void_leases(tx, &node, &holder, now)?;
                    data::count_events(tx)
                })
                .await;
            match begun {
                Ok(backlog) => {
                    return functions.events.counters.backlog.store(backlog, super::Ordering::Relaxed);
                }
                Err(error) => self.complain(&error).await,
            }
        }
    }

    /// Tells the dispatcher what there is: what was signalled, and from time to time what the store has.
    async fn hear(&mut self) {
        let told = self.functions.events.take();
        let now = self.functions.now();
        for (id, at) in told.due {
            self.dispatcher.due(&id, at, now);
        }
        if told.rescan || Instant::now() >= self.rescan_at {
            self.rescan_at = Instant::now() + self.functions.settings.upkeep_every.duration();
            if let Err(error) = self.rescan(now).await {
                self.rescan_at = Instant::now() + Duration::from_millis(RETRY_MS as u64);
                self.complain(&error).await;
            }
        }
    }

    async fn rescan(&mut self, now: Timestamp) -> Result<(), Error> {
        let mut after: Option<FunctionId> = None;
        loop {
            let from = after.clone();
            let found = self
                .functions
                .db
                .read(move |tx| data::functions_with_events(tx, from.as_ref(), now, PAGE))
                .await?;
            for (id, due) in &found {
                self.dispatcher.due(id, *due, now);
            }
            match found.last() {
                Some((id, _)) => after = Some(id.clone()),
                None => return Ok(()),
            }
        }
    }

    /// Carries out the claims that the dispatcher wants.
    async fn claim(&mut self) {
        while let Some(claim) = self.dispatcher.next(self.functions.now()) {
            let now = self.functions.now();
            match lease(&self.functions, &claim, now).await {
                Ok((events, next_due)) => {
                    let got = u32::try_from(events.len()).unwrap_or(u32::MAX);
                    self.dispatcher.claimed(&claim.id, got, next_due, now);
                    for event in events {
                        let task = self.running.spawn(attempt(Arc::clone(&self.functions), event));
                        self.tasks.insert(task.id(), claim.id.clone());
                    }
                }
                Err(error) => {
                    self.dispatcher.claimed(&claim.id, 0, Some(now.plus_ms(RETRY_MS)), now);
                    self.complain(&error).await;
                }
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        let functions = Arc::clone(&self.functions);
        let busy = !self.running.is_empty();
        let next = [self.dispatcher.wake_at(), busy.then_some(self.renew_at)].into_iter().flatten().min();
        let due = async {
            match next {
                Some(at) => functions.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = functions.events.notify.notified() => {}
            Some(ended) = self.running.join_next_with_id(), if busy => {
                self.note(ended);
                while let Some(ended) = self.running.try_join_next_with_id() {
                    self.note(ended);
                }
            }
            () = due => {}
            () = tokio::time::sleep_until(self.rescan_at) => {}
        }
    }

    /// Keeps what runs from other nodes, when it is time to.
    async fn renew(&mut self) {
        let now = self.functions.now();
        if self.running.is_empty() || now < self.renew_at {
            return;
        }
        let lease = i64::try_from(self.functions.settings.events.lease.0).unwrap_or(i64::MAX);
        self.renew_at = now.plus_ms(lease / 3);
        let holder = self.functions.events.holder.clone();
        let until = now.plus_ms(lease);
        let renewed = self
            .functions
            .db
            .write_at(Commit::Written, move |tx| data::renew_events(tx, &holder, until))
            .await;
        if let Err(error) = renewed {
            self.complain(&error).await;
        }
    }

    /// Tells the dispatcher that a task has ended.
    fn note(&mut self, ended: Result<(Id, Finished), JoinError>) {
        let functions = Arc::clone(&self.functions);
        let finished = match ended {
            Ok((task, finished)) => {
                self.tasks.remove(&task);
                finished
            }
            Err(error) => {
                tracing::error!(%error, "an attempt at an asynchronous invocation broke off");
                let Some(id) = self.tasks.remove(&error.id()) else { return };
                Finished { id, refused: true, again: None, at: functions.now() }
            }
        };
        let rest = |refusals| functions.settings.events.waits.refusal(refusals);
        self.dispatcher.finished(&finished.id, finished.refused, finished.again, rest, finished.at);
    }

    /// The store failed: nothing is lost, everything is tried again.
    async fn complain(&self, error: &Error) {
        tracing::error!(%error, "asynchronous invocations wait for the store");
        tokio::time::sleep(Duration::from_millis(RETRY_MS as u64)).await;
    }
}

/// Leases a batch, and tells when the earliest event left over is due.
async fn lease(
    functions: &Functions,
    claim: &Claim,
    now: Timestamp,
) -> Result<(Vec<Event>, Option<Timestamp>), Error> {
    let (id, max) = (claim.id.clone(), i64::from(claim.max));
    let (node, holder) = (functions.settings.node.clone(), functions.events.holder.clone());
    let until = now.plus_ms(i64::try_from(functions.settings.events.lease.0).unwrap_or(i64::MAX));
    functions
        .db
        .write_at(Commit::Written, move |tx| {
            let events = data::due_events(tx, &id, now, max)?;
            for event in &events {
                data::lease_event(tx, event.request_id, (&node, &holder), until)?;
            }
            Ok((events, data::next_due(tx, &id)?))
        })
        .await
}

/// One attempt at one event, from claim to its row's end or next time.
async fn attempt(functions: Arc<Functions>, mut event: Event) -> Finished {
    let (id, request_id, invoked_arn) = (event.id.clone(), event.request_id, event.invoked_arn.clone());
    // It has ended before, and is not run again.
    if let Some(outcome) = event.outcome.take() {
        let again = destinations::hand_in(&functions, &event, outcome).await;
        return Finished { id, refused: false, again, at: functions.now() };
    }
    let facts = (event.accepted, (event.failures, event.refusals));
    let Run { ended, policy, outcome, served } = try_once(&functions, &event).await;
    let now = functions.now();
    let fate = match ended {
        Tried::Expired => Fate::Drop(GivenUp::EventAgeExceeded),
        // Not this event's fault and not a moment to judge by: it is as it was before the claim.
        Tried::Interrupted => {
            let (failures, refusals) = facts.1;
            Fate::Again { due: now, failures, refusals }
        }
        Tried::Ended(ended) => {
            retry::fate(ended, facts.0, facts.1, policy, &functions.settings.events.waits, now)
        }
    };
    let mut again = match fate {
        Fate::Again { due, .. } => Some(due),
        Fate::Done | Fate::Drop(_) => None,
    };
    if let Fate::Drop(why) = fate {
        tracing::warn!(function = %id.arn(), %request_id, ?why, "an asynchronous invocation is given up");
    }
    let told = served.as_deref().and_then(|served| {
        destinations::outcome(&event, served, fate, outcome.as_ref().map(|outcome| &outcome.answer), now)
    });
    let settled = match told {
        None => settle(&functions, request_id, fate).await,
        Some(outcome) => match destinations::keep(&functions, request_id, &outcome).await {
            Ok(()) => {
                again = destinations::hand_in(&functions, &event, outcome).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    match settled {
        Ok(()) if matches!(fate, Fate::Drop(_)) => functions.meter(&id, &invoked_arn, QueueStep::Dropped),
        Ok(()) => {}
        // The row keeps its lease and is tried again after it.
        Err(error) => tracing::error!(%request_id, %error, "the end of an attempt could not be written"),
    }
    // Not before: whoever sees the count may rely on the row.
    count(&functions, ended, fate);
    let refused = matches!(ended, Tried::Ended(Ended::Refused) | Tried::Interrupted);
    Finished { id, refused, again, at: now }
}

/// What an attempt came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// It was not begun: too old.
    Expired,
    /// The node is shutting down.
    Interrupted,
    Ended(Ended),
}

/// An attempt and what is known of it.
struct Run {
    ended: Tried,
    policy: EventPolicy,
    outcome: Option<CallOutcome>,
    served: Option<Arc<Served>>,
}

async fn try_once(functions: &Functions, event: &Event) -> Run {
    let target = Target { id: event.id.clone(), qualifier: Some(Qualifier::Version(event.version)) };
    let served = match functions.served(&target, event.version).await {
        Ok(served) => served,
        Err(error) => {
            let ended = match error {
                Error::NotFound(_) | Error::NotActive("Failed") => Ended::Impossible,
                _ => Ended::Refused,
            };
            let policy = EventPolicy::default();
            return Run { ended: Tried::Ended(ended), policy, outcome: None, served: None };
        }
    };
    let config = served.policies.get(event_config::qualifier(&event.invoked_arn));
    let policy = config.map(EventConfig::policy).unwrap_or_default();
    let run = |ended, outcome| Run { ended, policy, outcome, served: Some(Arc::clone(&served)) };
    if retry::expired(event.accepted, policy, functions.now()) {
        return run(Tried::Expired, None);
    }
    // Reserved concurrency 0 switches a function off: as on Lambda its events are not kept for later.
    if served.spec.reserved_concurrency == Some(0) {
        return run(Tried::Ended(Ended::Impossible), None);
    }
    let age = functions.now().0.saturating_sub(event.accepted.0);
    let age = QueueStep::Attempted(Millis(u64::try_from(age).unwrap_or_default()));
    functions.meter(&target.id, &event.invoked_arn, age);
    let call = Call {
        request_id: event.request_id,
        payload: event.payload.clone(),
        invoked_arn: event.invoked_arn.as_str().into(),
        client_context: event.client_context.clone(),
        trace: event.trace.as_deref().map(TraceHeader::parse).unwrap_or_default(),
        tenant: event.tenant.clone(),
        body: base::ArrivingBody::default(),
        tail: false,
        attempt: Some(Attempt { number: event.failures + 1, since: event.accepted }),
        streamed: false,
    };
    match run_call(functions, &served, call).await {
        Ok(outcome) => {
            let ended = if outcome.answer.is_ok() { Ended::Answered } else { Ended::Failed };
            run(Tried::Ended(ended), Some(outcome))
        }
        Err(Error::ShuttingDown) => run(Tried::Interrupted, None),
        Err(_) => run(Tried::Ended(Ended::Refused), None),
    }
}

async fn settle(functions: &Functions, request_id: RequestId, fate: Fate) -> Result<(), Error> {
    let holder = functions.events.holder.clone();
    let held = functions
        .db
        .write_at(Commit::Written, move |tx| match fate {
            Fate::Done | Fate::Drop(_) => data::delete_event(tx, request_id, &holder),
            Fate::Again { due, failures, refusals } => {
                data::reschedule_event(tx, request_id, &holder, due, (failures, refusals))
            }
        })
        .await?;
    if held && !matches!(fate, Fate::Again { .. }) {
        functions.events.left(1);
    }
    Ok(())
}

fn count(functions: &Functions, tried: Tried, fate: Fate) {
    let counters = &functions.events.counters;
    match tried {
        Tried::Ended(Ended::Answered) => add(&counters.succeeded, 1),
        Tried::Ended(Ended::Failed) => add(&counters.failed, 1),
        Tried::Ended(Ended::Refused) => add(&counters.refused, 1),
        Tried::Ended(Ended::Impossible) | Tried::Expired | Tried::Interrupted => {}
    }
    match fate {
        Fate::Drop(GivenUp::RetriesExhausted) => add(&counters.dropped_exhausted, 1),
        Fate::Drop(GivenUp::EventAgeExceeded) => add(&counters.dropped_aged, 1),
        Fate::Drop(GivenUp::NoFunction) => add(&counters.dropped_unrunnable, 1),
        Fate::Done | Fate::Again { .. } => {}
    }
}
