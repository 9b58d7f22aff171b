//! One mapping at work: when to receive, how batches are gathered, when they are sent, and when to rest.
//!
//! Nothing is received that could not be invoked now, since a message that waits here counts down its visibility timeout. The
//! exception is a batching window, in which messages are kept hidden for as long as they wait.
//!
//! A batch that the platform refuses (throttled, no memory) is tried again while its messages are hidden anyway: received
//! again they would come nearer to the dead-letter queue without having been tried.

use super::{
    event::{Record, envelope_size},
    limit::Limit,
};
use crate::logic::retry::Waits;
use base::{Millis, Timestamp};
use std::collections::VecDeque;

/// Batches asked for in one receive.
const RECEIVED_BATCHES_MAX: u32 = 10;
/// The longest rest after errors of the queue or refusals.
const REST_MAX: Millis = Millis(60_000);
/// Messages asked for in one receive.
const RECEIVED_MAX: u32 = 10_000;

/// What a poller goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Messages of a batch.
    pub batch_max: u32,
    /// Bytes of an event.
    pub bytes_max: usize,
    /// How long a batch may wait for more.
    pub window: Millis,
    /// For how long received messages are hidden.
    pub visibility: Millis,
    /// How long the function may run.
    pub timeout: Millis,
    /// Whether order counts: then a batch is what was received together.
    pub fifo: bool,
    /// Whether the function tells which messages failed: then a failed batch slows nothing down.
    pub reports_failures: bool,
}

/// Messages of one invocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// At least one.
    pub records: Vec<Record>,
    bytes: usize,
    /// Since when the function or others may not see them.
    hidden: Timestamp,
    opened: Timestamp,
    refusals: u32,
    due: Timestamp,
}

impl Batch {
    fn empty(now: Timestamp) -> Batch {
        Batch { records: Vec::new(), bytes: envelope_size(), hidden: now, opened: now, refusals: 0, due: now }
    }

    /// Bytes of its records.
    pub fn size(&self) -> u64 {
        self.bytes.saturating_sub(envelope_size()) as u64
    }

    /// What its messages are deleted or given back by.
    pub fn receipts(&self) -> Vec<String> {
        self.records.iter().map(|record| record.receipt.clone()).collect()
    }
}

/// How an invocation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The function answered.
    Answered,
    /// The function failed with the whole batch.
    Failed,
    /// The platform could not run it.
    Refused(Batch),
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Receive up to `max` messages of up to `bytes` together; answered by [`Poller::received`] or [`Poller::not_received`].
    Receive {
        /// At least 1.
        max: u32,
        /// At most.
        bytes: usize,
    },
    /// Invoke the function; answered by [`Poller::finished`].
    Invoke(Batch),
    /// Hide these for another visibility timeout: they wait for more.
    Hide(Vec<String>),
    /// The messages are not hidden any more, or soon will not be: they are the queue's again.
    Abandon(Batch),
    /// Nothing before a moment, the end of an invocation or, with `messages`, a message.
    Wait {
        /// Whether a message would be something to do.
        messages: bool,
        /// Not before, if there is such a moment.
        until: Option<Timestamp>,
    },
}

/// Where a mapping stands.
#[derive(Clone, Debug)]
pub struct Poller {
    rules: Rules,
    limit: Limit,
    open: Option<Batch>,
    full: VecDeque<Batch>,
    refused: Vec<Batch>,
    running: u32,
    /// Whether the last receive brought nothing.
    empty: bool,
    /// Errors of the queue in a row.
    errors: u32,
    rest_until: Option<Timestamp>,
}

impl Poller {
    /// At its beginning.
    pub fn new(rules: Rules, limit: Limit) -> Poller {
        Poller {
            rules,
            limit,
            open: None,
            full: VecDeque::new(),
            refused: Vec::new(),
            running: 0,
            empty: false,
            errors: 0,
            rest_until: None,
        }
    }

    /// Goes by other facts about its queue and function from now on.
    pub fn adapt(&mut self, visibility: Millis, timeout: Millis) {
        self.rules.visibility = visibility;
        self.rules.timeout = timeout;
    }

    /// For how long received messages are hidden, as last told.
    pub fn visibility(&self) -> Millis {
        self.rules.visibility
    }

    /// How long the function may run, as last told.
    pub fn timeout(&self) -> Millis {
        self.rules.timeout
    }

    /// Invocations under way.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// The next thing to do.
    pub fn next(&mut self, now: Timestamp) -> Step {
        if let Some(batch) = self.take_refused(|rules, batch| now >= rules.deadline(batch)) {
            return Step::Abandon(batch);
        }
        if let Some(batch) = self.take_visible(now) {
            return Step::Abandon(batch);
        }
        let free = self.limit.current().saturating_sub(self.running);
        if free > 0 {
            if self.full.is_empty() && self.open_closes_at().is_some_and(|at| at <= now) {
                self.close();
            }
            let due = self.take_refused(|_, batch| batch.due <= now);
            if let Some(batch) = due.or_else(|| self.full.pop_front()) {
                return self.invoke(batch, now);
            }
        }
        if let Some(receipts) = self.hide_again(now) {
            return Step::Hide(receipts);
        }
        let rests = self.rest_until.filter(|until| *until > now);
        let waiting = u32::try_from(self.full.len() + self.refused.len()).unwrap_or(u32::MAX);
        let places = free.saturating_sub(waiting);
        if places == 0 && !self.empty && rests.is_none() {
            self.limit.full(now);
            if self.limit.current() > self.running + waiting {
                return self.next(now);
            }
        } else {
            self.limit.enough();
        }
        if !self.empty && rests.is_none() && places > 0 {
            return self.receive(places);
        }
        if self.empty && self.running == 0 && waiting == 0 && rests.is_none() {
            self.limit.idle();
        }
        let moments = [
            rests,
            self.open_closes_at().filter(|_| free > 0),
            self.open.as_ref().map(|open| self.rules.hide_at(open)),
            self.limit.grows_at(),
        ];
        let refused = self.refused.iter().map(|batch| {
            let deadline = self.rules.deadline(batch);
            if free > 0 { batch.due.min(deadline) } else { deadline }
        });
        let until = moments.into_iter().flatten().chain(refused).min();
        Step::Wait { messages: self.empty && rests.is_none() && places > 0, until }
    }

    /// What was received and is wanted; `got` counts what is not wanted too. Tells what must be given back.
    pub fn received(&mut self, got: usize, records: Vec<Record>, now: Timestamp) -> Vec<Record> {
        self.errors = 0;
        self.empty = got == 0;
        let mut back = Vec::new();
        for record in records {
            let size = record.size();
            let over = self
                .open
                .as_ref()
                .is_some_and(|open| !open.records.is_empty() && open.bytes + size > self.rules.bytes_max);
            if over && self.rules.fifo {
                // In another batch it could overtake what it follows.
                back.push(record);
                continue;
            }
            if over {
                self.close();
            }
            let open = self.open.get_or_insert_with(|| Batch::empty(now));
            open.bytes += size;
            open.records.push(record);
            if open.records.len() >= self.rules.batch_max as usize {
                self.close();
            }
        }
        if self.rules.window.0 == 0 {
            self.close();
        }
        back
    }

    /// A message may have come.
    pub fn awake(&mut self) {
        self.empty = false;
    }

    /// The queue did not answer.
    pub fn not_received(&mut self, waits: &Waits, now: Timestamp) {
        self.errors = self.errors.saturating_add(1);
        self.rest(waits.refusal(self.errors).min(REST_MAX), now);
    }

    /// An invocation has ended.
    pub fn finished(&mut self, ended: Ended, waits: &Waits, now: Timestamp) {
        self.running = self.running.saturating_sub(1);
        match ended {
            Ended::Answered => {
                self.limit.ran();
                self.rest_until = None;
            }
            Ended::Failed if self.rules.reports_failures => self.limit.ran(),
            Ended::Failed => self.limit.failed(),
            Ended::Refused(mut batch) => {
                self.limit.refused();
                batch.refusals = batch.refusals.saturating_add(1);
                let wait = waits.refusal(batch.refusals).min(REST_MAX);
                batch.due = now.plus_ms(ms(wait));
                self.rest(wait, now);
                self.refused.push(batch);
            }
        }
    }

    /// Everything that was received and is not being worked on.
    pub fn give_up(&mut self) -> Vec<Record> {
        let open = self.open.take();
        let batches = open.into_iter().chain(self.full.drain(..)).chain(self.refused.drain(..));
        batches.flat_map(|batch| batch.records).collect()
    }

    fn rest(&mut self, wait: Millis, now: Timestamp) {
        let until = now.plus_ms(ms(wait));
        self.rest_until = Some(self.rest_until.map_or(until, |known| known.max(until)));
    }

    fn receive(&self, places: u32) -> Step {
        let open = self.open.as_ref();
        let gathered = open.map_or(0, |open| u32::try_from(open.records.len()).unwrap_or(u32::MAX));
        let batches = if self.rules.fifo || gathered > 0 { 1 } else { places.min(RECEIVED_BATCHES_MAX) };
        let max = self.rules.batch_max.saturating_mul(batches).min(RECEIVED_MAX).saturating_sub(gathered);
        let bytes = self.rules.bytes_max.saturating_sub(open.map_or(envelope_size(), |open| open.bytes));
        Step::Receive { max: max.max(1), bytes: bytes.max(1) }
    }

    fn invoke(&mut self, mut batch: Batch, now: Timestamp) -> Step {
        let waited = batch.refusals == 0 && now.0 - batch.hidden.0 > ms(self.rules.visibility) / 4;
        if waited {
            // The function is to have the whole timeout.
            batch.hidden = now;
            let receipts = batch.receipts();
            self.full.push_front(batch);
            return Step::Hide(receipts);
        }
        self.running += 1;
        Step::Invoke(batch)
    }

    fn take_refused(&mut self, which: impl Fn(&Rules, &Batch) -> bool) -> Option<Batch> {
        let place = self.refused.iter().position(|batch| which(&self.rules, batch))?;
        Some(self.refused.remove(place))
    }

    /// A waiting batch that was not hidden again in time, after the clock jumped or the node stood still: its messages are
    /// received anew.
    fn take_visible(&mut self, now: Timestamp) -> Option<Batch> {
        let gone = |batch: &Batch| now >= batch.hidden.plus_ms(ms(self.rules.visibility));
        if self.open.as_ref().is_some_and(gone) {
            return self.open.take();
        }
        let place = self.full.iter().position(gone)?;
        self.full.remove(place)
    }

    fn open_closes_at(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.opened.plus_ms(ms(self.rules.window)))
    }

    fn close(&mut self) {
        self.full.extend(self.open.take());
    }

    /// Keeps what waits for more from becoming visible meanwhile.
    fn hide_again(&mut self, now: Timestamp) -> Option<Vec<String>> {
        let open = self.open.as_mut()?;
        if self.rules.hide_at(open) > now {
            return None;
        }
        open.hidden = now;
        Some(open.receipts())
    }
}

impl Rules {
    /// When the messages of an open batch must be hidden anew.
    fn hide_at(&self, batch: &Batch) -> Timestamp {
        batch.hidden.plus_ms((ms(self.visibility) / 2).max(1))
    }

    /// When a refused batch is given up: the function could not end before its messages are visible; but not before half of
    /// the visibility timeout.
    fn deadline(&self, batch: &Batch) -> Timestamp {
        let visibility = ms(self.visibility);
        batch.hidden.plus_ms((visibility - ms(self.timeout)).max(visibility / 2))
    }
}

fn ms(span: Millis) -> i64 {
    i64::try_from(span.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
