//! Log events on their way to the store: appended by functions, taken by the flush. Never blocks on anything but its own
//! short lock.

use crate::{
    Settings,
    logic::Sequence,
    model::{Event, Position, StreamKey},
};
use base::{LogEvent, Timestamp};
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What an event costs in memory besides its message.
const EVENT_BYTES: usize = 64;
/// Longer messages are cut into several events, as Lambda does.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Events waiting for the next flush.
pub(crate) struct Buffer {
    /// Of everything here and in a flush under way.
    bytes_max: usize,
    /// Of one stream: no function can take the whole buffer from the others.
    stream_bytes_max: usize,
    /// From here on the flush is woken instead of waiting for its timer.
    flush_bytes: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    streams: HashMap<StreamKey, Lane>,
    /// Bytes in `streams` and in batches not yet settled.
    bytes: usize,
    sequence: Sequence,
}

#[derive(Default)]
struct Lane {
    events: Vec<Event>,
    bytes: usize,
    dropped: Dropped,
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: Dropped,
    /// Nothing waited before.
    pub(crate) first: bool,
    /// The flush should not wait for its timer.
    pub(crate) flush: bool,
}

/// Everything that waited, by stream.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) streams: Vec<(StreamKey, Vec<Event>)>,
    pub(crate) bytes: usize,
}

impl Buffer {
    pub(crate) fn new(settings: &Settings, tag: u8) -> Buffer {
        Buffer {
            bytes_max: settings.log_buffer_bytes,
            stream_bytes_max: settings.log_buffer_bytes / 4,
            flush_bytes: settings.log_buffer_bytes / 16,
            waiting: Mutex::new(Waiting { sequence: Sequence::new(tag), ..Waiting::default() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves counts at worst too high; logging goes on.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn append(&self, key: StreamKey, events: Vec<LogEvent>, now: Timestamp) -> Appended {
        let mut appended = Appended::default();
        let mut waiting = self.lock();
        let Waiting { streams, bytes, sequence } = &mut *waiting;
        let before = *bytes;
        appended.first = streams.is_empty();
        let lane = streams.entry(key).or_default();
        for event in events.into_iter().flat_map(cut) {
            let cost = event.message.len() + EVENT_BYTES;
            if *bytes + cost > self.bytes_max || lane.bytes + cost > self.stream_bytes_max {
                lane.dropped.events += 1;
                lane.dropped.bytes += event.message.len() as u64;
                appended.dropped.events += 1;
                appended.dropped.bytes += event.message.len() as u64;
                continue;
            }
            appended.events += 1;
            appended.bytes += event.message.len() as u64;
            *bytes += cost;
            lane.bytes += cost;
            let position = Position { at: event.at.0.max(0), seq: sequence.next(now) };
            lane.events.push(Event { position, ingested: now.0, message: event.message });
        }
        appended.flush = before < self.flush_bytes && *bytes >= self.flush_bytes;
        appended
    }

    /// Sequence numbers for `count` events that do not pass through the buffer.
    pub(crate) fn sequences(&self, now: Timestamp, count: usize) -> Vec<i64> {
        let mut waiting = self.lock();
        (0..count).map(|_| waiting.sequence.next(now)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().streams.is_empty()
    }

    /// Takes everything; the bytes stay counted until [`Buffer::settle`]. Where events were dropped, one that says so is added.
    pub(crate) fn take(&self, now: Timestamp) -> Taken {
        let mut waiting = self.lock();
        let streams = mem::take(&mut waiting.streams);
        let mut taken = Taken::default();
        for (key, mut lane) in streams {
            taken.bytes += lane.bytes;
            if lane.dropped != Dropped::default() {
                let Dropped { events, bytes } = lane.dropped;
                let message = format!(
                    "[neap] {events} log events ({bytes} bytes) were dropped here: they came faster than they could be stored"
                );
                let position = Position { at: now.0, seq: waiting.sequence.next(now) };
                lane.events.push(Event { position, ingested: now.0, message });
            }
            taken.streams.push((key, lane.events));
        }
        taken
    }

    /// The batch has been stored: its room is free.
    pub(crate) fn settle(&self, taken: &Taken) {
        let mut waiting = self.lock();
        waiting.bytes = waiting.bytes.saturating_sub(taken.bytes);
    }
}

/// Cuts a long message at character boundaries.
fn cut(event: LogEvent) -> impl Iterator<Item = LogEvent> {
    let (whole, long) = match event.message.len() <= MESSAGE_BYTES_MAX {
        true => (Some(event), None),
        false => (None, Some(event)),
    };
    whole.into_iter().chain(long.map(parts).into_iter().flatten())
}

fn parts(event: LogEvent) -> Vec<LogEvent> {
    let mut parts = Vec::new();
    let mut rest = event.message.as_str();
    while !rest.is_empty() {
        let mut end = rest.len().min(MESSAGE_BYTES_MAX);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (part, after) = rest.split_at(end);
        parts.push(LogEvent { at: event.at, message: part.to_owned() });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str) -> StreamKey {
        StreamKey {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            group: "g".into(),
            stream: stream.into(),
        }
    }

    fn line(message: &str) -> LogEvent {
        LogEvent { at: Timestamp(7), message: message.into() }
    }

    fn buffer(bytes: usize) -> Buffer {
        Buffer::new(&Settings { log_buffer_bytes: bytes, ..Settings::default() }, 1)
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_in_the_stream() {
        let buffer = buffer(4_000);
        let lines = (0..20).map(|_| line("0123456789")).collect();
        let appended = buffer.append(key("a"), lines, Timestamp(100));
        // A quarter of the buffer, at 74 bytes each.
        assert_eq!((appended.events, appended.dropped), (13, Dropped { events: 7, bytes: 70 }));
        assert!(appended.flush);
        // Others still have room.
        assert_eq!(buffer.append(key("b"), vec![line("x")], Timestamp(100)).dropped, Dropped::default());

        let taken = buffer.take(Timestamp(200));
        let (_, events) = taken.streams.iter().find(|(key, _)| key.stream == "a").unwrap();
        assert_eq!(events.len(), 14);
        assert!(events[13].message.contains("7 log events (70 bytes) were dropped"));
        assert!(buffer.is_empty());
    }

    #[test]
    fn room_is_free_again_only_when_a_batch_is_stored() {
        let buffer = buffer(1_200);
        for stream in ["a", "b", "c"] {
            buffer.append(key(stream), vec![line(&"x".repeat(230))], Timestamp(1));
        }
        let taken = buffer.take(Timestamp(1));
        for stream in ["d", "e"] {
            buffer.append(key(stream), vec![line(&"x".repeat(230))], Timestamp(1));
        }
        assert_eq!(buffer.append(key("f"), vec![line(&"x".repeat(230))], Timestamp(1)).dropped.events, 1);
        buffer.settle(&taken);
        assert_eq!(buffer.append(key("f"), vec![line(&"x".repeat(230))], Timestamp(1)).dropped.events, 0);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let parts: Vec<LogEvent> = cut(line(&"é".repeat(MESSAGE_BYTES_MAX))).collect();
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.message.len() == MESSAGE_BYTES_MAX));
        let odd: Vec<LogEvent> = cut(line(&format!("a{}", "é".repeat(MESSAGE_BYTES_MAX / 2)))).collect();
        assert_eq!(odd.iter().map(|part| part.message.len()).collect::<Vec<_>>(), [MESSAGE_BYTES_MAX - 1, 2]);
    }
}
