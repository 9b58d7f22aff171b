//! Messages: sent, received, given back, deleted, moved to dead-letter queues.

use super::{json, text};
use crate::{
    Error,
    logic::messages::sequence,
    model::{Outgoing, Queue, Sent, Stored},
};
use base::{MessageAttribute, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use store::{Row, Tx, params};

/// How long a deduplication id counts. Source: SQS developer guide, "Exactly-once processing".
pub(crate) const DEDUPLICATION_MS: i64 = 5 * 60_000;
/// Rows of a count where transactions run at once.
const SLOTS: i64 = 8;
/// No more messages of a group than this are in flight: a receive takes no more, and no other comes between.
const LANE_LOOK: i64 = 10;

/// Messages that a group of a standard queue may have before further ones are its backlog: those are received after everything
/// else, so that a group with much to do does not make the others wait. Neap's own measure of what SQS calls a noisy neighbour.
pub(crate) const QUIET_MAX: i64 = 10;
const MESSAGE: &str =
    "seq, id, body, body_md5, attributes, attributes_md5, trace, sender, sent_ms, first_ms, receives,
    due_ms, receipt, lane, deduplication, origin, tier";

/// Messages that a move may take: visible, there when it began, and with somewhere to go.
pub(crate) const MESSAGES_OF_MOVE: &str = "SELECT seq, origin FROM message
    WHERE queue = ?1 AND due_ms <= ?2 AND sent_ms <= ?3 AND (origin IS NOT NULL OR ?4 = 1)
    ORDER BY tier, due_ms, seq LIMIT ?5";

fn read_message(row: &Row<'_>) -> Result<Stored, store::Error> {
    let attributes = match row.get::<Option<String>>(4)? {
        None => Vec::new(),
        Some(text) => {
            let rows: Vec<(String, String, String)> = json("attributes", &text)?;
            let value = |(name, data_type, value): (String, String, String)| {
                let value =
                    BASE64.decode(value).map_err(|error| store::Error::decode("attributes", error))?;
                Ok((name, MessageAttribute { data_type, value: value.into() }))
            };
            rows.into_iter().map(value).collect::<Result<_, store::Error>>()?
        }
    };
    Ok(Stored {
        seq: row.get(0)?,
        id: row.get(1)?,
        body: row.get(2)?,
        body_md5: row.get(3)?,
        attributes,
        attributes_md5: row.get(5)?,
        trace: row.get(6)?,
        sender: row.get(7)?,
        sent: Timestamp(row.get(8)?),
        first: row.get::<Option<i64>>(9)?.map(Timestamp),
        receives: row.get(10)?,
        due: Timestamp(row.get(11)?),
        receipt: row.get(12)?,
        group: row.get(13)?,
        deduplication: row.get(14)?,
        origin: row.get(15)?,
        tier: row.get(16)?,
    })
}

/// Adds messages; those that repeat an earlier one are told as that one.
pub(crate) fn send(
    tx: &mut Tx<'_>,
    queue: &Queue,
    messages: &[Outgoing],
    now: Timestamp,
) -> Result<Vec<Sent>, Error> {
    let mut sent = Vec::with_capacity(messages.len());
    let (mut tally, mut lanes) = (Tally::default(), Vec::new());
    for message in messages {
        let key = queue.settings.fifo.and_then(|fifo| {
            let id = message.deduplication.as_deref()?;
            // No group has a space in its name.
            let group = message.group.as_deref().filter(|_| fifo.scope_group).unwrap_or_default();
            Some(format!("{group} {id}"))
        });
        if let Some(key) = &key
            && let Some(earlier) = earlier(tx, queue, key, now)?
        {
            sent.push(earlier);
            continue;
        }
        let (seq, tier) = insert(tx, queue, message, now)?;
        tally.add(seq, tier, 1);
        if let Some(key) = key {
            tx.execute(
                "INSERT INTO deduplication (queue, key, until_ms, id, seq) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (queue, key) DO UPDATE SET until_ms = ?3, id = ?4, seq = ?5",
                params![queue.id, key, now.0 + DEDUPLICATION_MS, message.id.to_string(), seq],
            )?;
        }
        if let Some(group) = &message.group
            && queue.settings.fifo.is_some()
            && !lanes.contains(group)
        {
            lanes.push(group.clone());
        }
        sent.push(Sent {
            id: message.id.to_string(),
            sequence: queue.settings.fifo.map(|_| sequence(seq)),
            repeated: false,
        });
    }
    for lane in &lanes {
        refresh_lane(tx, queue.id, lane, now)?;
    }
    tally.write(tx, queue.id)?;
    Ok(sent)
}

fn earlier(tx: &mut Tx<'_>, queue: &Queue, key: &str, now: Timestamp) -> Result<Option<Sent>, Error> {
    Ok(tx.query_opt(
        "SELECT id, seq FROM deduplication WHERE queue = ?1 AND key = ?2 AND until_ms > ?3",
        params![queue.id, key, now.0],
        |row| Ok(Sent { id: row.get(0)?, sequence: Some(sequence(row.get(1)?)), repeated: true }),
    )?)
}

fn insert(tx: &mut Tx<'_>, queue: &Queue, message: &Outgoing, now: Timestamp) -> Result<(i64, i64), Error> {
    let attributes = match message.attributes.as_slice() {
        [] => None,
        attributes => {
            let rows: Vec<_> = attributes
                .iter()
                .map(|(name, value)| (name, &value.data_type, BASE64.encode(&value.value)))
                .collect();
            Some(text("attributes", &rows)?)
        }
    };
    let tier = match &message.group {
        Some(group) if queue.settings.fifo.is_none() => tier(tx, queue.id, group)?,
        Some(_) | None => 0,
    };
    let seq = tx.query_opt(
        "INSERT INTO message (queue, id, body, body_md5, attributes, attributes_md5, trace, sender, sent_ms, receives,
             due_ms, lane, deduplication, tier)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12, ?13) RETURNING seq",
        params![
            queue.id,
            message.id.to_string(),
            message.body.as_str(),
            message.body_md5.as_str(),
            attributes,
            message.attributes_md5.clone(),
            message.trace.clone(),
            message.sender.as_str(),
            now.0,
            now.0 + i64::from(message.delay.0) * 1_000,
            message.group.clone(),
            message.deduplication.clone(),
            tier
        ],
        |row| row.get::<i64>(0),
    )?;
    Ok((seq.ok_or(Error::Stale)?, tier))
}

/// Where a further message of a standard queue's group goes.
fn tier(tx: &mut Tx<'_>, queue: i64, group: &str) -> Result<i64, Error> {
    let enough = tx.query_opt(
        "SELECT COUNT(*) FROM (SELECT 1 FROM message WHERE queue = ?1 AND lane = ?2 LIMIT ?3) AS present",
        params![queue, group, QUIET_MAX],
        |row| row.get::<i64>(0),
    )?;
    Ok(i64::from(enough.unwrap_or_default() >= QUIET_MAX))
}

/// How a transaction changes the counts of a queue: of backlogs (tier 1) and of all else.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Of one of the messages. Transactions that run at once mostly change different rows, if these differ.
    seq: i64,
    by: [i64; 2],
}

impl Tally {
    pub(crate) fn add(&mut self, seq: i64, tier: i64, by: i64) {
        self.seq = seq;
        self.by[usize::from(tier > 0)] += by;
    }

    pub(crate) fn write(self, tx: &mut Tx<'_>, queue: i64) -> Result<(), Error> {
        let slot = if tx.is_serial() { 0 } else { self.seq.rem_euclid(SLOTS) };
        for (slot, by) in [(slot, self.by[0]), (slot + SLOTS, self.by[1])] {
            if by != 0 {
                tx.execute(
                    "INSERT INTO tally (queue, slot, messages) VALUES (?1, ?2, ?3)
                     ON CONFLICT (queue, slot) DO UPDATE SET messages = tally.messages + ?3",
                    params![queue, slot, by],
                )?;
            }
        }
        Ok(())
    }

    /// A queue's counts.
    pub(super) fn read(tx: &mut Tx<'_>, queue: i64) -> Result<[i64; 2], Error> {
        // Not as a sum, which is a decimal on PostgreSQL.
        let rows = tx.query("SELECT slot, messages FROM tally WHERE queue = ?1", params![queue], |row| {
            Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))
        })?;
        let mut counts = [0; 2];
        rows.iter().for_each(|(slot, messages)| counts[usize::from(*slot >= SLOTS)] += messages);
        Ok(counts)
    }
}

/// Computes anew when a group may be received from; forgets a group without messages.
pub(crate) fn refresh_lane(tx: &mut Tx<'_>, queue: i64, lane: &str, now: Timestamp) -> Result<(), Error> {
    let heads = tx.query(
        "SELECT due_ms, receipt FROM message WHERE queue = ?1 AND lane = ?2 AND tier = 0 ORDER BY seq LIMIT ?3",
        params![queue, lane, LANE_LOOK],
        |row| Ok((row.get::<i64>(0)?, row.get::<Option<i64>>(1)?)),
    )?;
    let in_flight = heads.iter().filter(|(due, receipt)| receipt.is_some() && *due > now.0);
    let locked = in_flight.map(|(due, _)| *due).max();
    match locked.or(heads.first().map(|(due, _)| *due)) {
        None => tx.execute("DELETE FROM lane WHERE queue = ?1 AND name = ?2", params![queue, lane])?,
        Some(due) => tx.execute(
            "INSERT INTO lane (queue, name, due_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (queue, name) DO UPDATE SET due_ms = ?3",
            params![queue, lane, due],
        )?,
    };
    Ok(())
}

/// What a receive wants.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Messages at most.
    pub(crate) max: usize,
    /// Bytes of bodies and attributes at most; one message always fits.
    pub(crate) bytes_max: usize,
    /// When what is received becomes visible again.
    pub(crate) until: Timestamp,
    /// The receipts' number; each message's handle has it with its own place.
    pub(crate) nonce: i64,
    /// `ReceiveRequestAttemptId` of a FIFO queue.
    pub(crate) attempt: Option<String>,
    /// Whether the backlogs of groups are looked at first, on a standard queue.
    pub(crate) backlogs_first: bool,
    /// Where messages go that were received too often, with how often is allowed.
    pub(crate) dead_letters: Option<(Queue, u32)>,
}

/// What a receive did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) messages: Vec<Stored>,
    /// Messages that were moved to the dead-letter queue.
    pub(crate) moved: usize,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// Hides visible messages and gives them; moves those to the dead-letter queue that were received too often.
pub(crate) fn receive(tx: &mut Tx<'_>, queue: &Queue, wish: &Wish, now: Timestamp) -> Result<Taken, Error> {
    if let Some(again) = repeated(tx, queue, wish, now)? {
        return Ok(Taken { messages: again, ..Taken::default() });
    }
    let mut taken = Taken::default();
    let mut bytes = 0;
    let mut full = false;
    while !full && taken.messages.len() < wish.max {
        let left = wish.max - taken.messages.len();
        let lane = match queue.settings.fifo {
            None => None,
            Some(_) => match next_lane(tx, queue.id, now)? {
                None => break,
                lane => lane,
            },
        };
        let found = match &lane {
            None => visible(tx, queue.id, now, left, wish.backlogs_first)?,
            Some(lane) => heads(tx, queue.id, lane, now, left)?,
        };
        if found.is_empty() && lane.is_none() {
            break;
        }
        for message in found {
            if message.sent.plus_ms(i64::from(queue.settings.retention.0) * 1_000) <= now {
                remove(tx, queue.id, &message)?;
                continue;
            }
            if let Some((target, max)) = &wish.dead_letters
                && message.receives >= *max
            {
                bury(tx, queue, target, &message, now)?;
                taken.moved += 1;
                continue;
            }
            let size = size(&message);
            if !taken.messages.is_empty() && bytes + size > wish.bytes_max {
                full = true;
                break;
            }
            bytes += size;
            taken.messages.push(hide(tx, message, wish, now)?);
        }
        if let Some(lane) = lane {
            // A group that gave messages is locked now, one without visible ones is not due: the next look finds another.
            refresh_lane(tx, queue.id, &lane, now)?;
        }
        // With a visibility timeout of zero nothing is hidden, and the next look would find the same.
        if wish.until <= now {
            break;
        }
    }
    taken.more = taken.messages.len() == wish.max || full;
    if let (Some(attempt), false) = (&wish.attempt, taken.messages.is_empty()) {
        let given: Vec<(i64, i64)> = taken.messages.iter().map(|message| (message.seq, wish.nonce)).collect();
        tx.execute(
            "INSERT INTO attempt (queue, id, until_ms, seqs) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (queue, id) DO UPDATE SET until_ms = ?3, seqs = ?4",
            params![queue.id, attempt.as_str(), now.0 + DEDUPLICATION_MS, text("seqs", &given)?],
        )?;
    }
    Ok(taken)
}

fn size(message: &Stored) -> usize {
    let attributes = message.attributes.iter();
    message.body.len() + attributes.map(|(n, v)| n.len() + v.data_type.len() + v.value.len()).sum::<usize>()
}

/// The first visible messages of a standard queue: of groups that have little to do and of none, then of backlogs; or the other way
/// round.
fn visible(
    tx: &mut Tx<'_>,
    queue: i64,
    now: Timestamp,
    max: usize,
    backlogs_first: bool,
) -> Result<Vec<Stored>, Error> {
    let tiers = if backlogs_first { [1, 0] } else { [0, 1] };
    let mut found = Vec::new();
    for tier in tiers {
        let left = i64::try_from(max - found.len()).unwrap_or(i64::MAX);
        if left > 0 {
            found.extend(tx.query(
                &format!(
                    "SELECT {MESSAGE} FROM message WHERE queue = ?1 AND tier = ?2 AND due_ms <= ?3
                     ORDER BY due_ms, seq LIMIT ?4"
                ),
                params![queue, tier, now.0, left],
                read_message,
            )?);
        }
    }
    Ok(found)
}

fn next_lane(tx: &mut Tx<'_>, queue: i64, now: Timestamp) -> Result<Option<String>, Error> {
    Ok(tx.query_opt(
        "SELECT name FROM lane WHERE queue = ?1 AND due_ms <= ?2 ORDER BY due_ms, name LIMIT 1",
        params![queue, now.0],
        |row| row.get(0),
    )?)
}

/// The first group that may be received from whose name is after `after`.
pub(super) fn lane_after(
    tx: &mut Tx<'_>,
    queue: i64,
    after: &str,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    Ok(tx.query_opt(
        "SELECT name FROM lane WHERE queue = ?1 AND name > ?3 AND due_ms <= ?2 ORDER BY name LIMIT 1",
        params![queue, now.0, after],
        |row| row.get(0),
    )?)
}

/// The first messages of a group, up to one that is not visible yet.
pub(super) fn heads(
    tx: &mut Tx<'_>,
    queue: i64,
    lane: &str,
    now: Timestamp,
    max: usize,
) -> Result<Vec<Stored>, Error> {
    let max = i64::try_from(max).unwrap_or(i64::MAX).min(LANE_LOOK);
    let found = tx.query(
        &format!(
            "SELECT {MESSAGE} FROM message WHERE queue = ?1 AND lane = ?2 AND tier = 0 ORDER BY seq LIMIT ?3"
        ),
        params![queue, lane, max],
        read_message,
    )?;
    Ok(found.into_iter().take_while(|message| message.due <= now).collect())
}

fn hide(tx: &mut Tx<'_>, mut message: Stored, wish: &Wish, now: Timestamp) -> Result<Stored, Error> {
    message.receives += 1;
    message.first.get_or_insert(now);
    (message.due, message.receipt) = (wish.until, Some(wish.nonce));
    tx.execute(
        "UPDATE message SET receives = ?2, first_ms = ?3, due_ms = ?4, receipt = ?5 WHERE seq = ?1",
        params![message.seq, message.receives, message.first.map(|at| at.0), message.due.0, wish.nonce],
    )?;
    Ok(message)
}

/// What an earlier receive with the same attempt id gave, if all of it is still as it gave it; hidden anew.
fn repeated(
    tx: &mut Tx<'_>,
    queue: &Queue,
    wish: &Wish,
    now: Timestamp,
) -> Result<Option<Vec<Stored>>, Error> {
    let Some(attempt) = &wish.attempt else { return Ok(None) };
    let seqs = tx.query_opt(
        "SELECT seqs FROM attempt WHERE queue = ?1 AND id = ?2 AND until_ms > ?3",
        params![queue.id, attempt.as_str(), now.0],
        |row| row.get::<String>(0),
    )?;
    let Some(seqs) = seqs else { return Ok(None) };
    let given: Vec<(i64, i64)> = json("seqs", &seqs)?;
    let mut messages = Vec::new();
    for (seq, nonce) in given {
        // What somebody else has received since is theirs.
        let found =
            message(tx, queue.id, seq)?.filter(|message| message.due > now && message.receipt == Some(nonce));
        let Some(found) = found else { return Ok(None) };
        messages.push(found);
    }
    let mut again = Vec::new();
    for mut message in messages {
        // The same receive, told once more: it does not count again.
        (message.due, message.receipt) = (wish.until, Some(wish.nonce));
        tx.execute(
            "UPDATE message SET due_ms = ?2, receipt = ?3 WHERE seq = ?1",
            params![message.seq, message.due.0, wish.nonce],
        )?;
        if let Some(lane) = &message.group {
            refresh_lane(tx, queue.id, lane, now)?;
        }
        again.push(message);
    }
    let given: Vec<(i64, i64)> = again.iter().map(|message| (message.seq, wish.nonce)).collect();
    tx.execute(
        "UPDATE attempt SET seqs = ?3 WHERE queue = ?1 AND id = ?2",
        params![queue.id, attempt.as_str(), text("seqs", &given)?],
    )?;
    Ok(Some(again))
}

/// A message by its place.
pub(crate) fn message(tx: &mut Tx<'_>, queue: i64, seq: i64) -> Result<Option<Stored>, Error> {
    Ok(tx.query_opt(
        &format!("SELECT {MESSAGE} FROM message WHERE seq = ?1 AND queue = ?2"),
        params![seq, queue],
        read_message,
    )?)
}

/// Removes a message and counts it out; its group is the caller's to refresh.
fn remove(tx: &mut Tx<'_>, queue: i64, message: &Stored) -> Result<(), Error> {
    let removed = tx.execute("DELETE FROM message WHERE seq = ?1", params![message.seq])?;
    let mut tally = Tally::default();
    if removed > 0 {
        tally.add(message.seq, message.tier, -1);
    }
    tally.write(tx, queue)
}

/// Moves a message to a dead-letter queue. A standard queue's message keeps when it was sent; that of a FIFO queue goes to the end
/// of its group, as sent now. Source: SQS developer guide, "Dead-letter queues".
fn bury(
    tx: &mut Tx<'_>,
    queue: &Queue,
    target: &Queue,
    message: &Stored,
    now: Timestamp,
) -> Result<(), Error> {
    put_into(tx, queue.id, target, message, Some(&queue.key.arn().to_string()), now)
}

/// Moves a message to another queue, where it is visible at once and as if never received.
pub(crate) fn put_into(
    tx: &mut Tx<'_>,
    from: i64,
    target: &Queue,
    message: &Stored,
    origin: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    if target.settings.fifo.is_none() {
        tx.execute(
            "UPDATE message SET queue = ?2, tier = 0, due_ms = ?3, receives = 0, first_ms = NULL, receipt = NULL, origin = ?4
             WHERE seq = ?1",
            params![message.seq, target.id, now.0, origin],
        )?;
    } else {
        tx.execute(
            "INSERT INTO message (queue, id, body, body_md5, attributes, attributes_md5, trace, sender, sent_ms,
                 receives, due_ms, lane, deduplication, origin, tier)
             SELECT ?2, id, body, body_md5, attributes, attributes_md5, trace, sender, ?3, 0, ?3, lane, deduplication, ?4, 0
             FROM message WHERE seq = ?1",
            params![message.seq, target.id, now.0, origin],
        )?;
        tx.execute("DELETE FROM message WHERE seq = ?1", params![message.seq])?;
        if let Some(lane) = &message.group {
            refresh_lane(tx, target.id, lane, now)?;
        }
    }
    for (queue, tier, by) in [(from, message.tier, -1), (target.id, 0, 1)] {
        let mut tally = Tally::default();
        tally.add(message.seq, tier, by);
        tally.write(tx, queue)?;
    }
    Ok(())
}

/// Deletes a message if the receipt is of its last receive. Whether it did.
pub(crate) fn delete(
    tx: &mut Tx<'_>,
    queue: &Queue,
    (seq, nonce): (i64, i64),
    now: Timestamp,
    tally: &mut Tally,
) -> Result<bool, Error> {
    let deleted = tx.query_opt(
        "DELETE FROM message WHERE seq = ?1 AND queue = ?2 AND receipt = ?3 RETURNING lane, tier",
        params![seq, queue.id, nonce],
        |row| Ok((row.get::<Option<String>>(0)?, row.get::<i64>(1)?)),
    )?;
    let Some((lane, tier)) = deleted else { return Ok(false) };
    tally.add(seq, tier, -1);
    if let (Some(lane), Some(_)) = (lane, queue.settings.fifo) {
        refresh_lane(tx, queue.id, &lane, now)?;
    }
    Ok(true)
}

/// Hides a received message until `until`, if it is in flight by this receipt. Whether it was.
pub(crate) fn hide_until(
    tx: &mut Tx<'_>,
    queue: &Queue,
    (seq, nonce): (i64, i64),
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, Error> {
    let changed = tx.query_opt(
        "UPDATE message SET due_ms = ?4 WHERE seq = ?1 AND queue = ?2 AND receipt = ?3 AND due_ms > ?5 RETURNING lane",
        params![seq, queue.id, nonce, until.0, now.0],
        |row| row.get::<Option<String>>(0),
    )?;
    let Some(lane) = changed else { return Ok(false) };
    if let (Some(lane), Some(_)) = (lane, queue.settings.fifo) {
        refresh_lane(tx, queue.id, &lane, now)?;
    }
    Ok(true)
}

/// When something of a queue becomes visible next; in the past if something is.
pub(crate) fn next_due(tx: &mut Tx<'_>, queue: &Queue) -> Result<Option<Timestamp>, Error> {
    let sql = match queue.settings.fifo {
        None => {
            "SELECT MIN(due_ms) FROM (SELECT MIN(due_ms) AS due_ms FROM message WHERE queue = ?1 AND tier = 0
             UNION ALL SELECT MIN(due_ms) AS due_ms FROM message WHERE queue = ?1 AND tier = 1) AS tiers"
        }
        Some(_) => "SELECT MIN(due_ms) FROM lane WHERE queue = ?1",
    };
    let due = tx.query_opt(sql, params![queue.id], |row| row.get::<Option<i64>>(0))?;
    Ok(due.flatten().map(Timestamp))
}

/// Whether at least `max` messages of a queue are hidden.
pub(crate) fn is_crowded(
    tx: &mut Tx<'_>,
    queue: i64,
    now: Timestamp,
    max: u64,
) -> Result<(bool, u64), Error> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let hidden = tx.query_opt(
        "SELECT COUNT(*) FROM (SELECT 1 FROM message WHERE queue = ?1 AND tier IN (0, 1) AND due_ms > ?2 AND receipt IS NOT NULL LIMIT ?3)
         AS hidden",
        params![queue, now.0, max],
        |row| row.get::<i64>(0),
    )?;
    let hidden = hidden.unwrap_or_default();
    Ok((hidden >= max, u64::try_from(hidden).unwrap_or_default()))
}

/// The first messages of a queue, without receiving them.
pub(crate) fn peek(tx: &mut Tx<'_>, queue: i64, max: i64) -> Result<Vec<Stored>, Error> {
    Ok(tx.query(
        &format!("SELECT {MESSAGE} FROM message WHERE queue = ?1 ORDER BY sent_ms, seq LIMIT ?2"),
        params![queue, max],
        read_message,
    )?)
}
