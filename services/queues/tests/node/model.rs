//! What SQS promises of a queue and its dead-letter queue, as lists: nothing is looked up, each question walks all messages.
//!
//! Where a promise leaves a choice (which messages a receive takes, whether one that was received too often lies in the
//! dead-letter queue already), the model takes any choice that keeps the promise, and from then on holds the node to it.

use crate::harness::Depth;
use std::collections::HashMap;

/// Source: SQS developer guide, "Exactly-once processing".
const DEDUPLICATION_MS: i64 = 300_000;

/// How the queues of a run are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) fifo: bool,
    pub(crate) by_content: bool,
    /// Deduplication ids are of a group.
    pub(crate) scope_group: bool,
    pub(crate) delay_s: i64,
    pub(crate) retention_s: i64,
    /// `maxReceiveCount`.
    pub(crate) receives_max: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Unknown if the answer to the send was lost.
    id: Option<String>,
    body: String,
    group: Option<String>,
    /// Between these.
    sent: (i64, i64),
    due: i64,
    /// Between these.
    receives: (u32, u32),
    receipt: Option<String>,
    /// Received too often, and seen by a receive since: where it lies is not known yet.
    perhaps_buried: bool,
}

impl Message {
    fn is_in_flight(&self, now: i64) -> bool {
        self.receipt.is_some() && self.due > now
    }
}

/// One message of a send.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) body: String,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
    pub(crate) delay_s: Option<i64>,
}

/// One message of an answered receive.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) group: Option<String>,
    pub(crate) sent: i64,
    pub(crate) receives: u32,
    pub(crate) receipt: String,
    pub(crate) from_dead_letters: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    Source,
    Dead,
}

/// What a receive asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) which: Which,
    pub(crate) max: usize,
    pub(crate) visibility_s: i64,
    pub(crate) attempt: Option<String>,
}

/// An id that counts until then, and the answer to its send if it is known.
#[derive(Clone, Debug)]
struct Known {
    until: i64,
    id: Option<String>,
}

/// Until when an attempt id counts, and what it was given: ids and receipts.
type Attempt = (i64, Vec<(String, String)>);

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) shape: Shape,
    source: Vec<Message>,
    dead: Vec<Message>,
    deduplication: HashMap<String, Known>,
    /// Until when each counts, with ids and receipts.
    attempts: HashMap<(Which, String), Attempt>,
    last_sequence: String,
}

pub(crate) type Checked<T = ()> = Result<T, String>;

fn check(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Model {
    pub(crate) fn new(shape: Shape) -> Model {
        Model {
            shape,
            source: Vec::new(),
            dead: Vec::new(),
            deduplication: HashMap::new(),
            attempts: HashMap::new(),
            last_sequence: String::new(),
        }
    }

    pub(crate) fn total(&self, which: Which) -> usize {
        self.list(which).len()
    }

    fn list(&self, which: Which) -> &Vec<Message> {
        match which {
            Which::Source => &self.source,
            Which::Dead => &self.dead,
        }
    }

    fn list_mut(&mut self, which: Which) -> &mut Vec<Message> {
        match which {
            Which::Source => &mut self.source,
            Which::Dead => &mut self.dead,
        }
    }

    fn receives_max(&self, which: Which) -> u32 {
        match which {
            Which::Source => self.shape.receives_max.unwrap_or(u32::MAX),
            Which::Dead => u32::MAX,
        }
    }

    fn key(&self, sending: &Sending) -> Option<String> {
        if !self.shape.fifo {
            return None;
        }
        let id = match &sending.deduplication {
            Some(id) => format!("given {id}"),
            None => format!("content {}", sending.body),
        };
        let group = sending.group.as_deref().filter(|_| self.shape.scope_group).unwrap_or_default();
        Some(format!("{group} {id}"))
    }

    /// Messages that a send adds; with `ids`, each is told as that.
    pub(crate) fn send(
        &mut self,
        all: &[Sending],
        ids: Option<&[(String, Option<String>)]>,
        now: i64,
    ) -> Checked {
        for (at, sending) in all.iter().enumerate() {
            let told = ids.map(|ids| &ids[at]);
            let key = self.key(sending);
            if let Some(known) = key.as_ref().and_then(|key| self.deduplication.get_mut(key))
                && known.until > now
            {
                let (Some(first), Some((id, _))) = (&known.id, told) else { continue };
                check(first == id, || format!("{sending:?} repeats {first}, and was told as {id}"))?;
                continue;
            }
            let id = told.map(|(id, _)| id.clone());
            if let Some((_, sequence)) = told {
                check(sequence.is_some() == self.shape.fifo, || format!("SequenceNumber {sequence:?}"))?;
                let sequence = sequence.clone().unwrap_or_default();
                check(!self.shape.fifo || sequence > self.last_sequence, || {
                    format!("{sequence} is not after {}", self.last_sequence)
                })?;
                self.last_sequence = sequence;
            }
            if let Some(key) = key {
                self.deduplication.insert(key, Known { until: now + DEDUPLICATION_MS, id: id.clone() });
            }
            self.source.push(Message {
                id,
                body: sending.body.clone(),
                group: sending.group.clone(),
                sent: (now, now),
                due: now + 1_000 * sending.delay_s.unwrap_or(self.shape.delay_s),
                receives: (0, 0),
                receipt: None,
                perhaps_buried: false,
            });
        }
        Ok(())
    }

    /// How many messages a send would add.
    pub(crate) fn added_by(&self, all: &[Sending], now: i64) -> usize {
        let mut seen = Vec::new();
        let fresh = all.iter().filter(|sending| {
            let Some(key) = self.key(sending) else { return true };
            let known = self.deduplication.get(&key).is_some_and(|known| known.until > now);
            let fresh = !known && !seen.contains(&key);
            seen.push(key);
            fresh
        });
        fresh.count()
    }

    pub(crate) fn receive(&mut self, asked: &Asked, got: &[Received], now: i64) -> Checked {
        if self.repeats(asked, got, now)? {
            return Ok(());
        }
        if asked.which == Which::Dead {
            self.settle_buried(got, now);
        }
        let (least, most) = self.takeable(asked.which, now);
        let perhaps = self.source.iter().filter(|message| message.perhaps_buried).count();
        let most = if asked.which == Which::Dead { most + perhaps } else { most };
        // What is not hidden need not be looked for further.
        let least = if asked.visibility_s == 0 { 0 } else { least.min(asked.max) };
        check((least..=most.min(asked.max)).contains(&got.len()), || {
            format!("{} received, of {least} to {most}, {} asked", got.len(), asked.max)
        })?;
        for one in got {
            self.take(asked, one, now)?;
        }
        self.doubt(asked.which, now);
        if let Some(attempt) = asked.attempt.clone().filter(|_| !got.is_empty()) {
            let gave = got.iter().map(|one| (one.id.clone(), one.receipt.clone())).collect();
            self.attempts.insert((asked.which, attempt), (now + DEDUPLICATION_MS, gave));
        }
        Ok(())
    }

    /// Whether a receive is the retry of one whose messages are still as it gave them; they are given once more then.
    fn repeats(&mut self, asked: &Asked, got: &[Received], now: i64) -> Checked<bool> {
        let Some(attempt) = &asked.attempt else { return Ok(false) };
        let key = (asked.which, attempt.clone());
        let Some((until, gave)) = self.attempts.get(&key).cloned() else { return Ok(false) };
        let list = self.list(asked.which);
        let whole = gave.iter().all(|(_, receipt)| {
            list.iter().any(|message| message.receipt.as_ref() == Some(receipt) && message.due > now)
        });
        if until <= now || !whole {
            return Ok(false);
        }
        let same = gave.iter().map(|(id, _)| id).eq(got.iter().map(|one| &one.id));
        check(same, || format!("the retry of a receive that gave {gave:?} gave {got:?}"))?;
        for ((_, receipt), one) in gave.iter().zip(got) {
            let list = self.list_mut(asked.which);
            let message = list.iter_mut().find(|message| message.receipt.as_ref() == Some(receipt));
            let message = message.ok_or("found before")?;
            check((message.receives.0..=message.receives.1).contains(&one.receives), || {
                format!("a retry counts: {one:?} for {message:?}")
            })?;
            message.receipt = Some(one.receipt.clone());
            message.due = now + 1_000 * asked.visibility_s;
        }
        let gave = got.iter().map(|one| (one.id.clone(), one.receipt.clone())).collect();
        self.attempts.insert(key, (until, gave));
        Ok(true)
    }

    /// What is received from the dead-letter queue was buried, and with it what came before in its group.
    fn settle_buried(&mut self, got: &[Received], now: i64) {
        for one in got {
            let found = |message: &&Message| message.perhaps_buried && message.id.as_ref() == Some(&one.id);
            let lost = |message: &&Message| {
                message.perhaps_buried && message.id.is_none() && message.body == one.body
            };
            let source = &self.source;
            let Some(found) = source.iter().find(found).or_else(|| source.iter().find(lost)) else {
                continue;
            };
            let at = source.iter().position(|message| std::ptr::eq(message, found)).unwrap_or_default();
            let with_it = |place: &usize| {
                let same_group = self.shape.fifo && source[*place].group == found.group;
                *place == at || same_group && source[*place].perhaps_buried
            };
            let places: Vec<usize> = (0..=at).filter(with_it).collect();
            self.bury(&places, now);
        }
    }

    /// How many messages a receive of all could take, at least and at most.
    fn takeable(&self, which: Which, now: i64) -> (usize, usize) {
        let max = self.receives_max(which);
        let list = self.list(which);
        let certain = |message: &&Message| message.receives.1 < max;
        let possible = |message: &&Message| message.receives.0 < max;
        if !self.shape.fifo {
            let visible: Vec<_> = list.iter().filter(|message| message.due <= now).collect();
            return (
                visible.iter().copied().filter(certain).count(),
                visible.iter().copied().filter(possible).count(),
            );
        }
        let mut sums = (0, 0);
        for (group, locked) in self.groups(which, now) {
            if locked {
                continue;
            }
            let of_group = list.iter().filter(|message| message.group == group);
            let visible: Vec<_> = of_group.take_while(|message| message.due <= now).collect();
            let (least, most) = (
                visible.iter().copied().filter(certain).count(),
                visible.iter().copied().filter(possible).count(),
            );
            // A look at a group may end in the midst of what is to be buried; what it gave until then locks the group.
            sums.0 += if least == visible.len() { least } else { least.min(1) };
            sums.1 += most;
        }
        sums
    }

    /// Groups with messages, and whether each is locked.
    fn groups(&self, which: Which, now: i64) -> Vec<(Option<String>, bool)> {
        let mut groups: Vec<(Option<String>, bool)> = Vec::new();
        for message in self.list(which) {
            let locks = message.is_in_flight(now);
            match groups.iter_mut().find(|(group, _)| *group == message.group) {
                Some((_, locked)) => *locked |= locks,
                None => groups.push((message.group.clone(), locks)),
            }
        }
        groups
    }

    /// One message is received.
    fn take(&mut self, asked: &Asked, one: &Received, now: i64) -> Checked {
        let max = self.receives_max(asked.which);
        let list = self.list(asked.which);
        let known = list.iter().position(|message| message.id.as_ref() == Some(&one.id));
        let lost = |message: &Message| {
            message.id.is_none() && message.body == one.body && message.group == one.group
        };
        let unknown = || list.iter().position(lost);
        let at = known.or_else(unknown).ok_or_else(|| format!("{one:?} is not in the queue"))?;
        let message = list[at].clone();
        check(message.due <= now, || format!("{one:?} is hidden: {message:?}"))?;
        check(message.receives.0 < max, || format!("{one:?} was received too often: {message:?}"))?;
        check((message.receives.0 + 1..=message.receives.1 + 1).contains(&one.receives), || {
            format!("{one:?} has a wrong count: {message:?}")
        })?;
        check(message.body == one.body && message.group == one.group, || format!("{one:?}: {message:?}"))?;
        check((message.sent.0..=message.sent.1).contains(&one.sent), || {
            format!("{one:?} was sent at another time: {message:?}")
        })?;
        check(one.from_dead_letters == (asked.which == Which::Dead), || {
            format!("{one:?} has another origin")
        })?;
        let mut skipped = Vec::new();
        if self.shape.fifo {
            let before = |(place, other): &(usize, &Message)| *place < at && other.group == message.group;
            for (place, other) in list.iter().enumerate().filter(before) {
                // Those of this same receive are in flight by now.
                let with_it = other.due == now + 1_000 * asked.visibility_s && asked.visibility_s > 0
                    || asked.visibility_s == 0 && other.due == now && other.receipt.is_some();
                if with_it {
                    continue;
                }
                check(other.due <= now && other.receives.1 >= max, || {
                    format!("{one:?} comes before {other:?}")
                })?;
                skipped.push(place);
            }
        }
        let taken = &mut self.list_mut(asked.which)[at];
        taken.id = Some(one.id.clone());
        taken.receives = (one.receives, one.receives);
        taken.due = now + 1_000 * asked.visibility_s;
        taken.receipt = Some(one.receipt.clone());
        taken.perhaps_buried = false;
        self.bury(&skipped, now);
        Ok(())
    }

    /// Moves messages of the source, by their places in order, to the dead-letter queue.
    fn bury(&mut self, places: &[usize], now: i64) {
        let fifo = self.shape.fifo;
        for (gone, place) in places.iter().enumerate() {
            let mut message = self.source.remove(place - gone);
            message.sent = if fifo { (message.sent.0, now) } else { message.sent };
            (message.due, message.receives) = (now, (0, 0));
            (message.receipt, message.perhaps_buried) = (None, false);
            self.dead.push(message);
        }
    }

    /// After a receive: what it may have met and buried.
    fn doubt(&mut self, which: Which, now: i64) {
        let max = self.receives_max(which);
        for message in self.list_mut(which).iter_mut() {
            message.perhaps_buried |= message.due <= now && message.receives.1 >= max;
        }
    }

    /// A receive whose answer was lost, after everything that it may have hidden is visible again.
    pub(crate) fn receive_unanswered(&mut self, which: Which, began: i64) {
        for message in self.list_mut(which).iter_mut().filter(|message| message.due <= began) {
            message.receives.1 += 1;
            message.receipt = None;
        }
        let max = self.receives_max(which);
        for message in self.list_mut(which).iter_mut().filter(|message| message.due <= began) {
            message.perhaps_buried |= message.receives.1 > max;
        }
        self.attempts.retain(|(of, _), _| *of != which);
    }

    /// Whether what becomes of this receipt's message is foreseeable.
    pub(crate) fn is_clear(&self, receipt: &str) -> bool {
        !self
            .source
            .iter()
            .any(|message| message.perhaps_buried && message.receipt.as_deref() == Some(receipt))
    }

    /// Whether a receipt is one of the last.
    pub(crate) fn knows(&self, which: Which, receipt: &str) -> bool {
        self.list(which).iter().any(|message| message.receipt.as_deref() == Some(receipt))
    }

    /// Deletes by a receipt; whether there was something to delete.
    pub(crate) fn delete(&mut self, which: Which, receipt: &str) -> bool {
        let list = self.list_mut(which);
        let before = list.len();
        list.retain(|message| message.receipt.as_deref() != Some(receipt));
        list.len() < before
    }

    /// Hides by a receipt; whether its message was in flight.
    pub(crate) fn hide(&mut self, which: Which, receipt: &str, seconds: i64, now: i64) -> bool {
        let found =
            self.list_mut(which).iter_mut().find(|message| message.receipt.as_deref() == Some(receipt));
        match found.filter(|message| message.due > now) {
            Some(message) => {
                message.due = now + 1_000 * seconds;
                true
            }
            None => false,
        }
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: i64) {
        let keep = self.shape.retention_s * 1_000;
        self.source.retain(|message| message.sent.0 + keep > now);
    }

    pub(crate) fn purge(&mut self) {
        self.source.clear();
    }

    /// Everything of the dead-letter queue was moved back.
    pub(crate) fn redrive(&mut self, now: i64) {
        let fifo = self.shape.fifo;
        for mut message in std::mem::take(&mut self.dead) {
            message.sent = if fifo { (message.sent.0, now) } else { message.sent };
            (message.due, message.receives, message.receipt) = (now, (0, 0), None);
            self.source.push(message);
        }
    }

    /// Holds the counts of both queues against the model; they may tell what is buried.
    pub(crate) fn counts(&mut self, source: Depth, dead: Depth, now: i64) -> Checked {
        let all = self.source.len() + self.dead.len();
        check(source.total() + dead.total() == all, || format!("{source:?} and {dead:?} are not {all}"))?;
        let perhaps = self.source.iter().filter(|message| message.perhaps_buried).count();
        let most = self.source.len();
        check((most - perhaps..=most).contains(&source.total()), || {
            format!("{source:?} is not {most} with {perhaps} perhaps buried")
        })?;
        if source.total() == most - perhaps {
            let places = self.source.iter().enumerate().filter(|(_, message)| message.perhaps_buried);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            self.bury(&places, now);
        } else if source.total() == most {
            self.source.iter_mut().for_each(|message| message.perhaps_buried = false);
        }
        for (which, depth) in [(Which::Source, source), (Which::Dead, dead)] {
            let hidden = self.list(which).iter().filter(|message| message.due > now);
            let (in_flight, delayed): (Vec<_>, Vec<_>) =
                hidden.partition(|message| message.receipt.is_some());
            check((depth.in_flight, depth.delayed) == (in_flight.len(), delayed.len()), || {
                format!("{which:?}: {depth:?}, and {} in flight, {} delayed", in_flight.len(), delayed.len())
            })?;
        }
        Ok(())
    }

    /// Whether it is known where each message lies.
    pub(crate) fn is_certain(&self) -> bool {
        !self.source.iter().any(|message| message.perhaps_buried)
    }
}
