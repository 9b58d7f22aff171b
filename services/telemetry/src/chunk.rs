//! The stored form of log events: many of one stream, compressed together. Pure.
//!
//! Format 1: the byte 1, then zlib over the events, ordered by position; each event is its time (difference to the event
//! before, zigzag), sequence (difference), time of arrival (difference to its time, zigzag), and length as variable-length
//! integers, then the message.

use crate::model::{Event, NewChunk, Position};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use std::io::{self, Read, Write};

/// Message bytes after which a chunk is closed; a single larger message makes a chunk of its own.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Events after which a chunk is closed.
pub(crate) const CHUNK_EVENTS: usize = 10_000;
/// Longest time between the first and the last event of a chunk, so that a search by time need look only this far back.
pub(crate) const CHUNK_SPAN_MS: i64 = 3_600_000;
/// A chunk's content is never larger: a message of 1 MiB, or [`CHUNK_BYTES`] with overhead.
const CONTENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
const FORMAT: u8 = 1;
/// What an event counts besides its message. Source: `PutLogEvents` in the API reference.
pub(crate) const EVENT_OVERHEAD: usize = 26;

/// A stored chunk that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Corrupt {
    #[error("unknown format")]
    Format,
    #[error("content: {0}")]
    Content(#[from] io::Error),
    #[error("events end early or are malformed")]
    Events,
}

/// Packs `events`, in any order, into chunks.
pub(crate) fn pack(events: &[Event]) -> io::Result<Vec<NewChunk>> {
    Packer::default().pack(events)
}

/// Packs again and again, with the same memory. Where an encoder was made for each chunk, the node's memory grew for as long as
/// it ran.
#[derive(Default)]
pub(crate) struct Packer {
    /// With the beginning of the next chunk written to its output.
    encoder: Option<ZlibEncoder<Vec<u8>>>,
    plain: Vec<u8>,
}

impl Packer {
    /// The same as [`pack`].
    pub(crate) fn pack(&mut self, events: &[Event]) -> io::Result<Vec<NewChunk>> {
        let mut events: Vec<&Event> = events.iter().collect();
        events.sort_by_key(|event| event.position);
        let mut chunks = Vec::new();
        let mut rest = events.as_slice();
        while let Some(first) = rest.first() {
            let mut bytes = 0;
            let count = rest
                .iter()
                .take(CHUNK_EVENTS)
                .take_while(|event| {
                    bytes += event.message.len();
                    bytes <= CHUNK_BYTES && event.position.at - first.position.at <= CHUNK_SPAN_MS
                })
                .count()
                .max(1);
            let (taken, after) = rest.split_at(count);
            chunks.push(self.encode(taken)?);
            rest = after;
        }
        // One large message must not hold memory for good.
        self.plain.shrink_to(2 * CHUNK_BYTES);
        Ok(chunks)
    }

    fn encode(&mut self, events: &[&Event]) -> io::Result<NewChunk> {
        let plain = &mut self.plain;
        plain.clear();
        let mut before = Position::default();
        let mut bytes = 0;
        for event in events {
            put(plain, zigzag(event.position.at.wrapping_sub(before.at)));
            put(plain, zigzag(event.position.seq.wrapping_sub(before.seq)));
            put(plain, zigzag(event.ingested.wrapping_sub(event.position.at)));
            put(plain, event.message.len() as u64);
            plain.extend_from_slice(event.message.as_bytes());
            before = event.position;
            bytes += event.message.len() + EVENT_OVERHEAD;
        }
        // One that has failed is not used again.
        let encoder = self.encoder.take();
        let mut encoder = encoder.unwrap_or_else(|| ZlibEncoder::new(vec![FORMAT], Compression::fast()));
        // At once: each call has the encoder clear its buffer.
        encoder.write_all(plain)?;
        let body = encoder.reset(vec![FORMAT])?;
        self.encoder = Some(encoder);
        Ok(NewChunk {
            first: events.first().map_or(before, |event| event.position),
            last: before.at,
            ingested: events.iter().map(|event| event.ingested).max().unwrap_or_default(),
            events: u32::try_from(events.len()).unwrap_or(u32::MAX),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            body,
        })
    }
}

/// Unpacks what [`pack`] made.
pub(crate) fn unpack(body: &[u8]) -> Result<Vec<Event>, Corrupt> {
    let Some((&FORMAT, compressed)) = body.split_first() else { return Err(Corrupt::Format) };
    let mut content = Vec::new();
    ZlibDecoder::new(compressed).take(CONTENT_BYTES_MAX).read_to_end(&mut content)?;
    let mut rest = content.as_slice();
    let mut events = Vec::new();
    let mut before = Position::default();
    while !rest.is_empty() {
        let at = before.at.wrapping_add(unzigzag(take(&mut rest)?));
        let seq = before.seq.wrapping_add(unzigzag(take(&mut rest)?));
        let ingested = at.wrapping_add(unzigzag(take(&mut rest)?));
        let length = usize::try_from(take(&mut rest)?).map_err(|_| Corrupt::Events)?;
        let (message, after) = rest.split_at_checked(length).ok_or(Corrupt::Events)?;
        let message = String::from_utf8(message.to_vec()).map_err(|_| Corrupt::Events)?;
        before = Position { at, seq };
        events.push(Event { position: before, ingested, message });
        rest = after;
    }
    Ok(events)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    ((number >> 1) as i64) ^ -((number & 1) as i64)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, Corrupt> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Corrupt::Events)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Corrupt::Events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(at: i64, seq: i64, message: &str) -> Event {
        Event { position: Position { at, seq }, ingested: at + 5, message: message.to_owned() }
    }

    #[test]
    fn chunks_are_closed_by_size_and_span() {
        let long = "x".repeat(CHUNK_BYTES / 2 + 1);
        let chunks = pack(&[event(1, 1, &long), event(2, 2, &long), event(3, 3, "y")]).unwrap();
        assert_eq!(chunks.iter().map(|chunk| chunk.events).collect::<Vec<_>>(), [1, 2]);
        let chunks = pack(&[event(CHUNK_SPAN_MS + 1, 2, "b"), event(0, 1, "a")]).unwrap();
        assert_eq!(
            chunks.iter().map(|chunk| (chunk.first.at, chunk.last)).collect::<Vec<_>>(),
            [(0, 0), (3_600_001, 3_600_001)]
        );
        let huge = "z".repeat(CHUNK_BYTES * 4);
        assert_eq!(unpack(&pack(&[event(1, 1, &huge)]).unwrap()[0].body).unwrap()[0].message, huge);
        assert!(pack(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn events_come_back_in_order(
            mut events in prop::collection::vec((any::<i32>(), any::<i64>(), any::<i32>(), ".{0,20}"), 0..50)
                .prop_map(|events| events.into_iter().map(|(at, seq, late, message)| Event {
                    position: Position { at: i64::from(at), seq },
                    ingested: i64::from(at) + i64::from(late),
                    message,
                }).collect::<Vec<_>>()),
        ) {
            let mut packer = Packer::default();
            let first = packer.pack(&events).unwrap();
            let again = packer.pack(&events).unwrap();
            events.sort_by_key(|event| event.position);
            for chunks in [first, again] {
                let back: Vec<Event> = chunks.iter().flat_map(|chunk| unpack(&chunk.body).unwrap()).collect();
                prop_assert_eq!(&back, &events);
            }
        }

        #[test]
        fn no_bytes_make_unpacking_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = unpack(&body);
            let mut body = body;
            body.insert(0, FORMAT);
            let _ = unpack(&body);
        }
    }
}
