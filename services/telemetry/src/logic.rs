//! The rules of CloudWatch Logs: names, limits, tokens, the order of events. Pure.

use crate::{
    Error,
    chunk::EVENT_OVERHEAD,
    model::{Event, Position},
};
use base::{AccountId, Arn, Region, Timestamp};
use std::collections::BTreeMap;

/// A day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// Days that a retention policy may name. Source: API reference, `PutRetentionPolicy`.
pub(crate) const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288,
    3_653,
];
/// Events in one `PutLogEvents` and in one page.
pub(crate) const EVENTS_MAX: usize = 10_000;
/// Bytes in one `PutLogEvents` and in one page, [`EVENT_OVERHEAD`] for each event included.
pub(crate) const EVENTS_BYTES_MAX: usize = 1_048_576;
/// How old an event may be.
const PAST_MAX_MS: i64 = 14 * DAY_MS;
/// How far in the future an event may be.
const FUTURE_MAX_MS: i64 = 2 * 3_600_000;
/// From the first to the last event of one `PutLogEvents`.
const BATCH_SPAN_MAX_MS: i64 = DAY_MS;
/// Tags of one log group.
pub(crate) const TAGS_MAX: usize = 50;

/// Numbers events in the order of their arrival: 43 bits of milliseconds (until the year 2248), 12 bits of a counter, 8 bits that
/// tell apart nodes and runs whose clock was set back. Numbers given later are always larger.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    last: i64,
    tag: u8,
}

impl Sequence {
    /// `tag` is random.
    pub(crate) fn new(tag: u8) -> Sequence {
        Sequence { last: 0, tag }
    }

    pub(crate) fn next(&mut self, now: Timestamp) -> i64 {
        let by_clock = (now.0.clamp(0, (1 << 43) - 1) << 20) | i64::from(self.tag);
        self.last = by_clock.max(self.last + (1 << 8));
        self.last
    }
}

/// 1 to 512 of `[.\-_/#A-Za-z0-9]`.
pub(crate) fn is_group_name(name: &str) -> bool {
    (1..=512).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/#".contains(&b))
}

/// 1 to 512 characters without `:`, `*` and control characters.
pub(crate) fn is_stream_name(name: &str) -> bool {
    (1..=512).contains(&name.chars().count()) && !name.chars().any(|c| c == ':' || c == '*' || c.is_control())
}

/// The group that a name or ARN (`arn:aws:logs:REGION:ACCOUNT:log-group:NAME`, with or without `:*`) means in this account and
/// region.
pub(crate) fn group_name(identifier: &str, account: AccountId, region: &Region) -> Result<String, Error> {
    let name = match identifier.parse::<Arn>() {
        Err(_) => identifier,
        Ok(arn) => {
            let here = arn.account == Some(account) && arn.region.as_ref() == Some(region);
            let resource = arn.resource.strip_prefix("log-group:").filter(|_| &*arn.service == "logs");
            let Some(name) = resource else {
                return Err(Error::Invalid(format!("'{identifier}' is not the ARN of a log group")));
            };
            if !here {
                return Err(Error::NoSuchGroup);
            }
            return group_name(name.strip_suffix(":*").unwrap_or(name), account, region);
        }
    };
    if is_group_name(name) {
        Ok(name.to_owned())
    } else {
        Err(Error::Invalid(format!(
            "1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
        )))
    }
}

/// Which events of a batch are refused, by index. Source: API reference, `RejectedLogEventsInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// From this one on: too far in the future.
    pub(crate) too_new_from: Option<usize>,
    /// Before this one: older than 14 days.
    pub(crate) too_old_until: Option<usize>,
    /// Before this one: older than the group's retention.
    pub(crate) expired_until: Option<usize>,
}

/// Checks a batch of `PutLogEvents`: what is wrong as a whole is an error; events out of the accepted time are refused one by
/// one. Answers the range of accepted events.
pub(crate) fn admit(
    events: &[(i64, String)],
    cutoff: Option<i64>,
    now: Timestamp,
) -> Result<(std::ops::Range<usize>, Rejected), Error> {
    let bytes: usize = events.iter().map(|(_, message)| message.len() + EVENT_OVERHEAD).sum();
    if bytes > EVENTS_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {EVENTS_BYTES_MAX}"
        )));
    }
    if events.windows(2).any(|pair| pair[0].0 > pair[1].0) {
        let reason = "Log events in a single PutLogEvents request must be in chronological order.";
        return Err(Error::Invalid(reason.to_owned()));
    }
    let before = |time: i64| events.partition_point(|(at, _)| *at < time);
    let old = before(now.0 - PAST_MAX_MS);
    let expired = cutoff.map_or(0, before);
    let new = before(now.0 + FUTURE_MAX_MS + 1);
    let accepted = old.max(expired).min(new)..new;
    if let (Some((first, _)), Some((last, _))) =
        (events[accepted.clone()].first(), events[accepted.clone()].last())
        && last - first > BATCH_SPAN_MAX_MS
    {
        let reason =
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.";
        return Err(Error::Invalid(reason.to_owned()));
    }
    let rejected = Rejected {
        too_new_from: (new < events.len()).then_some(new),
        too_old_until: (old > 0).then_some(old),
        expired_until: (expired > old).then_some(expired),
    };
    Ok((accepted, rejected))
}

/// Which way a page reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// Events strictly between two positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) after: Position,
    pub(crate) before: Position,
}

impl Range {
    /// From `start` (included) to `end` (excluded), in ms; nothing before `cutoff`.
    pub(crate) fn of(start: Option<i64>, end: Option<i64>, cutoff: Option<i64>) -> Range {
        let start = start.unwrap_or(0).max(cutoff.unwrap_or(0)).max(0);
        Range { after: edge(start), before: end.map_or(Position { at: i64::MAX, seq: i64::MAX }, edge) }
    }

    /// What is left of it after, or before, `position`.
    pub(crate) fn beyond(self, position: Position, direction: Direction) -> Range {
        match direction {
            Direction::Forward => Range { after: self.after.max(position), ..self },
            Direction::Backward => Range { before: self.before.min(position), ..self },
        }
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.after < position && position < self.before
    }
}

/// The edge before all events of `at`.
pub(crate) fn edge(at: i64) -> Position {
    Position { at, seq: i64::MIN }
}

/// Where a page of `GetLogEvents` goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) direction: Direction,
    /// Not included.
    pub(crate) position: Position,
}

impl Token {
    /// `f/AT.SEQ` or `b/AT.SEQ`.
    pub(crate) fn parse(text: &str) -> Result<Token, Error> {
        let parsed = match text.split_once('/') {
            Some(("f", position)) => parse_position(position).map(|position| (Direction::Forward, position)),
            Some(("b", position)) => parse_position(position).map(|position| (Direction::Backward, position)),
            _ => None,
        };
        let (direction, position) = parsed.ok_or_else(bad_token)?;
        Ok(Token { direction, position })
    }

    pub(crate) fn text(&self) -> String {
        let way = match self.direction {
            Direction::Forward => 'f',
            Direction::Backward => 'b',
        };
        format!("{way}/{}", position_text(self.position))
    }
}

/// The tokens of a page: (forward, backward). At an end the token of its direction stays the one that was passed.
pub(crate) fn page_tokens(
    first: Option<Position>,
    last: Option<Position>,
    reached: Option<Position>,
    asked: Option<Token>,
    range: Range,
) -> (Token, Token) {
    let forward = |position| Token { direction: Direction::Forward, position };
    let backward = |position| Token { direction: Direction::Backward, position };
    if let (Some(first), Some(last)) = (first, last) {
        return (forward(last), backward(first));
    }
    // An empty page, perhaps with more beyond what could be searched at once.
    match (asked, reached) {
        (Some(Token { direction: Direction::Forward, position }), reached) => {
            let position = reached.unwrap_or(position);
            (forward(position), backward(after(position)))
        }
        (Some(Token { direction: Direction::Backward, position }), reached) => {
            let position = reached.unwrap_or(position);
            (forward(until(position)), backward(position))
        }
        (None, Some(reached)) => (forward(reached), backward(reached)),
        (None, None) => (forward(range.after), backward(after(range.after))),
    }
}

/// The least position above: a backward token there includes `position`.
fn after(position: Position) -> Position {
    Position { seq: position.seq.saturating_add(1), ..position }
}

/// The greatest position below: a forward token there includes `position`.
fn until(position: Position) -> Position {
    Position { seq: position.seq.saturating_sub(1), ..position }
}

pub(crate) fn position_text(position: Position) -> String {
    format!("{}.{}", position.at, position.seq)
}

pub(crate) fn parse_position(text: &str) -> Option<Position> {
    let (at, seq) = text.split_once('.')?;
    Some(Position { at: at.parse().ok()?, seq: seq.parse().ok()? })
}

pub(crate) fn bad_token() -> Error {
    Error::Invalid("The specified nextToken is invalid.".to_owned())
}

/// The identity of an event: 56 digits that sort as the events do, like AWS's.
pub(crate) fn event_id(stream: i64, position: Position) -> String {
    format!("{:016}{:020}{:020}", position.at, position.seq, stream)
}

/// Merges events of overlapping chunks into one order. Chunks must be shown in the order of their beginning (as the direction
/// sees it); an event is given out only when no chunk that is still to come can hold an earlier one.
#[derive(Debug)]
pub(crate) struct Merge {
    direction: Direction,
    held: BTreeMap<(i64, i64, i64), Event>,
}

impl Merge {
    pub(crate) fn new(direction: Direction) -> Merge {
        Merge { direction, held: BTreeMap::new() }
    }

    pub(crate) fn hold(&mut self, stream: i64, event: Event) {
        let Position { at, seq } = event.position;
        let key = match self.direction {
            Direction::Forward => (at, seq, stream),
            // `!` turns the order round, as minus does, and cannot overflow.
            Direction::Backward => (!at, !seq, stream),
        };
        self.held.insert(key, event);
    }

    /// The next event, if it comes before every event of a chunk that begins at `bound`; with `None`, no chunk is left.
    pub(crate) fn next(&mut self, bound: Option<i64>) -> Option<(i64, Event)> {
        let first = self.held.first_entry()?;
        let clear = match (self.direction, bound) {
            (_, None) => true,
            (Direction::Forward, Some(bound)) => first.get().position.at < bound,
            (Direction::Backward, Some(bound)) => first.get().position.at > bound,
        };
        clear.then(|| {
            let ((_, _, stream), event) = first.remove_entry();
            (stream, event)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequences_only_grow() {
        let mut sequence = Sequence::new(7);
        let mut last = 0;
        for now in [5, 5, 5, 3, 6, 0, 1_800_000_000_000, -1] {
            let next = sequence.next(Timestamp(now));
            assert!(next > last);
            assert_eq!(next & 0xff, 7);
            last = next;
        }
    }

    #[test]
    fn groups_are_named_by_name_or_arn() {
        let account = "123456789012".parse().unwrap();
        let region: Region = "us-east-1".parse().unwrap();
        let name = |identifier: &str| group_name(identifier, account, &region);
        assert_eq!(name("/aws/lambda/f").unwrap(), "/aws/lambda/f");
        assert_eq!(name("arn:aws:logs:us-east-1:123456789012:log-group:/a/b").unwrap(), "/a/b");
        assert_eq!(name("arn:aws:logs:us-east-1:123456789012:log-group:/a/b:*").unwrap(), "/a/b");
        assert!(matches!(name("arn:aws:logs:eu-west-1:123456789012:log-group:a"), Err(Error::NoSuchGroup)));
        assert!(matches!(name("arn:aws:sqs:us-east-1:123456789012:log-group:a"), Err(Error::Invalid(_))));
        assert!(matches!(name("a b"), Err(Error::Invalid(_))));
        assert!(matches!(name(""), Err(Error::Invalid(_))));
    }

    fn batch(times: &[i64]) -> Vec<(i64, String)> {
        times.iter().map(|at| (*at, "m".to_owned())).collect()
    }

    #[test]
    fn events_out_of_time_are_refused_by_index() {
        let now = Timestamp(100 * DAY_MS);
        let day = DAY_MS;
        let (accepted, rejected) =
            admit(&batch(&[80 * day, 85 * day, 99 * day, 100 * day, 101 * day]), Some(90 * day), now)
                .unwrap();
        assert_eq!(accepted, 2..4);
        assert_eq!(rejected, Rejected { too_new_from: Some(4), too_old_until: Some(2), expired_until: None });
        let (accepted, rejected) = admit(&batch(&[95 * day, 99 * day]), Some(98 * day), now).unwrap();
        assert_eq!((accepted, rejected.expired_until), (1..2, Some(1)));
        assert!(admit(&batch(&[now.0, now.0 - 1]), None, now).is_err());
        assert!(admit(&batch(&[now.0 - day - 1, now.0]), None, now).is_err());
        assert!(admit(&[(now.0, "x".repeat(EVENTS_BYTES_MAX - EVENT_OVERHEAD))], None, now).is_ok());
        assert!(admit(&[(now.0, "x".repeat(EVENTS_BYTES_MAX))], None, now).is_err());
        let (accepted, rejected) = admit(&batch(&[0]), None, now).unwrap();
        assert_eq!((accepted, rejected.too_old_until), (1..1, Some(1)));
    }

    #[test]
    fn tokens_print_as_they_were_read() {
        for text in ["f/5.7", "b/0.-9223372036854775808"] {
            assert_eq!(Token::parse(text).unwrap().text(), text);
        }
        for bad in ["", "f", "f/", "x/1.2", "f/1", "f/1.x", "f/99999999999999999999.1"] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_page_repeats_its_token() {
        let range = Range::of(None, None, None);
        for text in ["f/5.7", "b/5.7"] {
            let token = Token::parse(text).unwrap();
            let (forward, backward) = page_tokens(None, None, None, Some(token), range);
            let same = if token.direction == Direction::Forward { forward } else { backward };
            assert_eq!(same.text(), text);
        }
    }

    #[test]
    fn event_ids_have_56_digits() {
        let id = event_id(3, Position { at: 1_800_000_000_000, seq: i64::MAX });
        assert_eq!(id.len(), 56);
        assert!(id.bytes().all(|b| b.is_ascii_digit()));
    }

    proptest! {
        /// However events are spread over chunks, merging them gives their order.
        #[test]
        fn merging_restores_the_order(
            chunks in prop::collection::vec(prop::collection::vec(0i64..50, 1..6), 0..8),
            backward in any::<bool>(),
        ) {
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let mut seq = 0;
            let mut chunks: Vec<Vec<Position>> = chunks
                .into_iter()
                .map(|times| times.into_iter().map(|at| { seq += 1; Position { at, seq } }).collect())
                .collect();
            let start = |chunk: &[Position]| {
                let times = chunk.iter().map(|position| position.at);
                if backward { times.max() } else { times.min() }.unwrap_or_default()
            };
            chunks.sort_by_key(|chunk| if backward { -start(chunk) } else { start(chunk) });
            let mut merge = Merge::new(direction);
            let mut merged = Vec::new();
            for (i, chunk) in chunks.iter().enumerate() {
                for position in chunk {
                    merge.hold(0, Event { position: *position, ingested: 0, message: String::new() });
                }
                let bound = chunks.get(i + 1).map(|chunk| start(chunk));
                while let Some((_, event)) = merge.next(bound) {
                    merged.push(event.position);
                }
            }
            let mut expected: Vec<Position> = chunks.concat();
            expected.sort();
            if backward {
                expected.reverse();
            }
            prop_assert_eq!(merged, expected);
        }
    }
}
