//! The operation of the CloudWatch Logs API that the commands use, and following a group with it.

use super::Client;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far back a follower looks again, in ms: events of several environments arrive a little out of order.
const OVERLAP_MS: i64 = 5_000;

/// One logged line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    /// Text.
    pub(crate) message: String,
    /// Stream: one per environment.
    #[serde(default)]
    pub(crate) log_stream_name: String,
    /// Unique in the group.
    #[serde(default)]
    pub(crate) event_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input<'a> {
    log_group_name: &'a str,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_pattern: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    events: Vec<Event>,
    next_token: Option<String>,
}

impl Client {
    /// Deletes a log group; that there is none is not an error.
    pub(crate) async fn delete_log_group(&self, name: &str) -> Result<(), Error> {
        let input = serde_json::json!({ "logGroupName": name });
        let deleted = self.json11_bare("logs", "Logs_20140328", "DeleteLogGroup", &input).await;
        deleted.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    }
}

/// Reads a log group from a time on, each event once.
#[derive(Debug)]
pub(crate) struct Follower {
    group: String,
    filter: Option<String>,
    /// Where the next look begins.
    from: i64,
    /// Events seen since `from`, with their times.
    seen: BTreeMap<String, i64>,
}

impl Follower {
    /// Reads `group` from `from` (ms since the epoch) on, only what matches `filter`.
    pub(crate) fn new(group: String, from: i64, filter: Option<String>) -> Follower {
        Follower { group, filter, from, seen: BTreeMap::new() }
    }

    /// What came since the last look, in order of time.
    pub(crate) async fn next(&mut self, client: &Client) -> Result<Vec<Event>, Error> {
        let mut found = Vec::new();
        let mut next_token = None;
        loop {
            let input = Input {
                log_group_name: &self.group,
                start_time: self.from,
                filter_pattern: self.filter.as_deref(),
                next_token,
            };
            let page: Page = client.json11("logs", "Logs_20140328", "FilterLogEvents", &input).await?;
            found.extend(page.events);
            match page.next_token.filter(|token| !token.is_empty()) {
                Some(token) => next_token = Some(token),
                None => break,
            }
        }
        Ok(self.unseen(found))
    }

    /// Keeps what was not seen before and moves on.
    fn unseen(&mut self, mut found: Vec<Event>) -> Vec<Event> {
        found.retain(|event| self.seen.insert(event.event_id.clone(), event.timestamp).is_none());
        found.sort_by_key(|event| event.timestamp);
        if let Some(last) = found.last() {
            self.from = self.from.max(last.timestamp - OVERLAP_MS);
            let from = self.from;
            self.seen.retain(|_, at| *at >= from);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, timestamp: i64) -> Event {
        Event { timestamp, message: id.into(), log_stream_name: String::new(), event_id: id.into() }
    }

    #[test]
    fn each_event_is_given_once_even_when_late() {
        let mut follower = Follower::new("g".into(), 0, None);
        let ids = |events: Vec<Event>| events.into_iter().map(|event| event.event_id).collect::<Vec<_>>();
        assert_eq!(ids(follower.unseen(vec![event("b", 20_000), event("a", 10_000)])), ["a", "b"]);
        assert_eq!(follower.from, 15_000);
        assert_eq!(ids(follower.unseen(vec![event("b", 20_000), event("late", 19_000)])), ["late"]);
        assert_eq!(follower.seen.len(), 2, "what lies before the window is forgotten");
    }
}
