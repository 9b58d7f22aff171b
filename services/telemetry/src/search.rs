//! Reading events of one stream or group in order, page by page, inside one transaction.

use crate::{
    Error,
    chunk::{self, EVENT_OVERHEAD},
    data::{self, Scope},
    logic::{Direction, EVENTS_BYTES_MAX, Merge, Range, edge},
    model::{ChunkHead, Event, Position},
    pattern::Pattern,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};
use store::Tx;

/// Chunk heads listed at once.
const HEADS: i64 = 256;
/// Chunks unpacked for one page; after that the page ends early with a token, so that a search for something rare does not
/// hold a reader for long.
const CHUNKS_MAX: usize = 1_000;

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) group: i64,
    pub(crate) scope: Scope,
    pub(crate) streams: Streams,
    pub(crate) range: Range,
    pub(crate) direction: Direction,
    /// Events of a page.
    pub(crate) limit: usize,
    pub(crate) pattern: Arc<Pattern>,
}

/// Which streams of the group.
#[derive(Clone, Debug)]
pub(crate) enum Streams {
    All,
    Named(HashSet<String>),
    Prefix(String),
}

impl Streams {
    fn contains(&self, name: &str) -> bool {
        match self {
            Streams::All => true,
            Streams::Named(names) => names.contains(name),
            Streams::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// One event found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) stream: i64,
    pub(crate) stream_name: Arc<str>,
    pub(crate) event: Event,
}

/// A page, in the order of the direction.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) events: Vec<Found>,
    /// Where the next page begins; `None`: nothing is left.
    pub(crate) reached: Option<Position>,
}

/// The beginning of a chunk as the direction sees it.
fn start(head: &ChunkHead, direction: Direction) -> i64 {
    match direction {
        Direction::Forward => head.first,
        Direction::Backward => head.last,
    }
}

/// Reads a page.
pub(crate) fn page(tx: &mut Tx<'_>, query: &Query) -> Result<Page, Error> {
    let Query { range, direction, .. } = query;
    let mut reader = Reader::new(query);
    let mut merge = Merge::new(*direction);
    let mut page = Page::default();
    let mut bytes = 0;
    let mut unpacked = 0;
    loop {
        let bound = reader.peek(tx)?.map(|head| start(head, *direction));
        while let Some((stream, event)) = merge.next(bound) {
            let size = event.message.len() + EVENT_OVERHEAD;
            let full = page.events.len() >= query.limit || bytes + size > EVENTS_BYTES_MAX;
            if let Some(last) = page.events.last()
                && full
            {
                page.reached = Some(last.event.position);
                return Ok(page);
            }
            bytes += size;
            let stream_name = reader.names.get(&stream).cloned().flatten().unwrap_or_default();
            page.events.push(Found { stream, stream_name, event });
        }
        let Some(bound) = bound else { return Ok(page) };
        if let Some(last) = page.events.last()
            && page.events.len() >= query.limit
        {
            page.reached = Some(last.event.position);
            return Ok(page);
        }
        let begun = match direction {
            Direction::Forward => edge(bound),
            Direction::Backward => edge(bound.saturating_add(1)),
        };
        if unpacked >= CHUNKS_MAX && range.contains(begun) {
            page.reached = Some(begun);
            return Ok(page);
        }
        let Some(head) = reader.take() else { return Ok(page) };
        if reader.name(tx, head.stream)?.is_none() {
            continue;
        }
        // Gone since it was listed: only possible where reads are not snapshots.
        let Some(body) = data::chunk_body(tx, head.id)? else { continue };
        unpacked += 1;
        let events = chunk::unpack(&body).map_err(|error| store::Error::decode("log chunk", error))?;
        for event in events {
            if range.contains(event.position) && query.pattern.matches(&event.message) {
                merge.hold(head.stream, event);
            }
        }
    }
}

/// Lists chunk heads as needed and knows the names of streams.
struct Reader<'q> {
    query: &'q Query,
    heads: VecDeque<ChunkHead>,
    beyond: Option<(i64, i64)>,
    exhausted: bool,
    /// `None`: deleted, or not asked for.
    names: HashMap<i64, Option<Arc<str>>>,
}

impl<'q> Reader<'q> {
    fn new(query: &'q Query) -> Reader<'q> {
        Reader { query, heads: VecDeque::new(), beyond: None, exhausted: false, names: HashMap::new() }
    }

    fn peek(&mut self, tx: &mut Tx<'_>) -> Result<Option<&ChunkHead>, Error> {
        if self.heads.is_empty() && !self.exhausted {
            let Query { scope, direction, range, .. } = self.query;
            let (from, until) = (range.after.at, range.before.at);
            let heads = data::chunk_heads(tx, *scope, *direction, from, until, self.beyond, HEADS)?;
            self.exhausted = (heads.len() as i64) < HEADS;
            self.beyond = heads.last().map(|head| (start(head, *direction), head.id)).or(self.beyond);
            self.heads = heads.into();
        }
        Ok(self.heads.front())
    }

    fn take(&mut self) -> Option<ChunkHead> {
        self.heads.pop_front()
    }

    fn name(&mut self, tx: &mut Tx<'_>, stream: i64) -> Result<Option<Arc<str>>, Error> {
        if let Some(known) = self.names.get(&stream) {
            return Ok(known.clone());
        }
        let name = data::stream_name(tx, self.query.group, stream)?
            .filter(|name| self.query.streams.contains(name))
            .map(Arc::from);
        self.names.insert(stream, name.clone());
        Ok(name)
    }
}
