//! Which services called which, by the segments of traces. Pure.
//!
//! A node is a service by its name and type: one that has sent segments, or one that was only called (a subsegment of the
//! namespace `remote` or `aws` that no segment continues). Who sent the first segment of a trace was called by a client.

use super::{segment::seconds, summary::is_flagged};
use crate::api::graph::{Edge, ErrorStatistics, FaultStatistics, HistogramEntry, Service, Statistics};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Response times of a histogram are rounded to so many seconds, so that it stays short.
const HISTOGRAM_STEP_S: f64 = 0.001;

/// Name and type; neither for the client.
type Node = (Option<String>, Option<String>);

/// What is known of a node or of an edge.
#[derive(Default)]
struct Calls {
    extent: Option<(f64, f64)>,
    ok: i64,
    throttled: i64,
    errors: i64,
    faults: i64,
    seconds: f64,
    /// By response time in steps.
    histogram: BTreeMap<u64, i64>,
}

/// The graph of some traces.
#[derive(Default)]
pub(super) struct Graph {
    nodes: BTreeMap<Node, Calls>,
    edges: BTreeMap<(Node, Node), Calls>,
    /// Where traces came in.
    roots: HashSet<Node>,
}

impl Calls {
    fn add(&mut self, one: &Value) {
        let time = |name: &str| one.get(name).and_then(seconds);
        let Some(begin) = time("start_time") else { return };
        let end = time("end_time").unwrap_or(begin).max(begin);
        let (first, last) = self.extent.unwrap_or((begin, end));
        self.extent = Some((first.min(begin), last.max(end)));
        // What runs on is neither well nor ill yet.
        if time("end_time").is_none() {
            return;
        }
        match () {
            () if is_flagged(one, "fault") => self.faults += 1,
            () if is_flagged(one, "throttle") => self.throttled += 1,
            () if is_flagged(one, "error") => self.errors += 1,
            () => self.ok += 1,
        }
        self.seconds += end - begin;
        *self.histogram.entry(((end - begin) / HISTOGRAM_STEP_S).round() as u64).or_default() += 1;
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            ok_count: self.ok,
            error_statistics: ErrorStatistics {
                throttle_count: self.throttled,
                other_count: self.errors,
                total_count: self.throttled + self.errors,
            },
            fault_statistics: FaultStatistics { other_count: self.faults, total_count: self.faults },
            total_count: self.ok + self.throttled + self.errors + self.faults,
            total_response_time: self.seconds,
        }
    }

    fn histogram(&self) -> Vec<HistogramEntry> {
        let one = |(steps, count): (&u64, &i64)| HistogramEntry {
            value: *steps as f64 * HISTOGRAM_STEP_S,
            count: *count,
        };
        self.histogram.iter().map(one).collect()
    }
}

impl Graph {
    /// Adds one trace: its segments, and subsegments that were sent by themselves.
    pub(super) fn add(&mut self, documents: &[Value]) {
        let (segments, owners) = (segments(documents), owners(documents));
        let mut continued = HashSet::new();
        for segment in &segments {
            let node = node(segment);
            self.nodes.entry(node.clone()).or_default().add(segment);
            let parent = text(segment, "parent_id");
            continued.extend(parent);
            let caller = parent.and_then(|parent| owners.get(parent)).map(|owner| self::node(owner));
            if caller.is_none() {
                self.roots.insert(node.clone());
                self.nodes.entry((None, None)).or_default().add(segment);
            }
            self.edges.entry((caller.unwrap_or_default(), node)).or_default().add(segment);
        }
        for (call, owner) in calls(documents, &owners) {
            if text(call, "id").is_some_and(|id| continued.contains(id)) {
                continue;
            }
            let called = called(call);
            self.nodes.entry(called.clone()).or_default().add(call);
            self.edges.entry((node(owner), called)).or_default().add(call);
        }
    }

    /// As it is shown; references are its own.
    pub(super) fn services(&self, account: &str) -> Vec<Service> {
        let references: BTreeMap<&Node, i64> = self.nodes.keys().zip(0..).collect();
        let one = |(node, calls): (&Node, &Calls)| {
            let (start_time, end_time) = calls.extent?;
            let (name, kind) = node.clone();
            let is_client = name.is_none();
            let from = self.edges.iter().filter(|((from, _), _)| from == node);
            let edges = from.filter_map(|((_, to), calls)| {
                let (start_time, end_time) = calls.extent?;
                Some(Edge {
                    reference_id: *references.get(to)?,
                    start_time,
                    end_time,
                    summary_statistics: calls.statistics(),
                    response_time_histogram: calls.histogram(),
                    aliases: [],
                })
            });
            Some(Service {
                reference_id: *references.get(node)?,
                names: name.clone().into_iter().collect(),
                name,
                root: self.roots.contains(node),
                account_id: (!is_client).then(|| account.to_owned()),
                r#type: if is_client { Some("client".to_owned()) } else { kind },
                state: "active",
                start_time,
                end_time,
                edges: edges.collect(),
                summary_statistics: (!is_client).then(|| calls.statistics()),
                response_time_histogram: if is_client { Vec::new() } else { calls.histogram() },
                duration_histogram: if is_client { Vec::new() } else { calls.histogram() },
            })
        };
        self.nodes.iter().filter_map(one).collect()
    }
}

fn text<'a>(one: &'a Value, name: &str) -> Option<&'a str> {
    one.get(name).and_then(Value::as_str)
}

fn node(segment: &Value) -> Node {
    (text(segment, "name").map(str::to_owned), text(segment, "origin").map(str::to_owned))
}

/// A service that is only known by its calls.
fn called(call: &Value) -> Node {
    let name = text(call, "name").unwrap_or_default();
    let kind = match text(call, "namespace") {
        Some("aws") => format!("AWS::{name}"),
        Some(_) | None => "remote".to_owned(),
    };
    (Some(name.to_owned()), Some(kind))
}

fn segments(documents: &[Value]) -> Vec<&Value> {
    documents.iter().filter(|one| text(one, "type") != Some("subsegment")).collect()
}

/// The segment that each segment or subsegment belongs to, by its identifier.
fn owners(documents: &[Value]) -> HashMap<&str, &Value> {
    let mut owners = HashMap::new();
    for segment in segments(documents) {
        own(segment, segment, &mut owners);
    }
    // Subsegments that were sent by themselves may be below each other, in any order.
    let mut alone: Vec<&Value> =
        documents.iter().filter(|one| text(one, "type") == Some("subsegment")).collect();
    loop {
        let before = alone.len();
        alone.retain(|one| {
            let owner = text(one, "parent_id").and_then(|parent| owners.get(parent).copied());
            if let Some(owner) = owner {
                own(one, owner, &mut owners);
            }
            owner.is_none()
        });
        if alone.len() == before {
            return owners;
        }
    }
}

/// Documents are at most as deep as their parser allows.
fn own<'a>(one: &'a Value, owner: &'a Value, owners: &mut HashMap<&'a str, &'a Value>) {
    if let Some(id) = text(one, "id") {
        owners.insert(id, owner);
    }
    for below in one.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
        own(below, owner, owners);
    }
}

/// Calls of other services, and the segments that they were made in.
fn calls<'a>(documents: &'a [Value], owners: &HashMap<&str, &'a Value>) -> Vec<(&'a Value, &'a Value)> {
    let mut found = Vec::new();
    for one in documents {
        let Some(owner) = text(one, "id").and_then(|id| owners.get(id).copied()) else { continue };
        let alone = text(one, "type") == Some("subsegment");
        collect(one, owner, alone, &mut found);
    }
    found
}

fn collect<'a>(one: &'a Value, owner: &'a Value, is_part: bool, found: &mut Vec<(&'a Value, &'a Value)>) {
    if is_part && matches!(text(one, "namespace"), Some("remote" | "aws")) {
        found.push((one, owner));
    }
    for below in one.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
        collect(below, owner, true, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_are_joined_by_their_calls() {
        let id = |n: u64| format!("{n:016x}");
        let trace = [
            json!({ "id": id(1), "name": "f", "origin": "AWS::Lambda", "start_time": 1, "end_time": 4 }),
            json!({ "id": id(2), "name": "f", "origin": "AWS::Lambda::Function", "parent_id": id(1), "start_time": 1, "end_time": 4,
                "subsegments": [{ "id": id(3), "name": "Invocation", "start_time": 1, "end_time": 4 }] }),
            // Below a subsegment that comes later in the list.
            json!({ "id": id(5), "type": "subsegment", "name": "shop", "namespace": "remote", "parent_id": id(4),
                "start_time": 2, "end_time": 3 }),
            json!({ "id": id(4), "type": "subsegment", "name": "work", "parent_id": id(3), "start_time": 1, "end_time": 3,
                "subsegments": [{ "id": id(6), "name": "sts", "namespace": "aws", "start_time": 1, "end_time": 2, "fault": true }] }),
            json!({ "id": id(7), "name": "shop", "parent_id": id(5), "start_time": 2, "end_time": 3, "error": true, "throttle": true }),
            json!({ "id": id(8), "type": "subsegment", "name": "lost", "namespace": "aws", "parent_id": id(99), "start_time": 1, "end_time": 2 }),
        ];
        let mut graph = Graph::default();
        graph.add(&trace);
        graph.add(&trace);
        let services = graph.services("000000000000");
        let name = |one: &Service| {
            format!("{} {}", one.name.clone().unwrap_or_default(), one.r#type.clone().unwrap_or_default())
        };
        let of = |reference| services.iter().find(|one| one.reference_id == reference).map(name).unwrap();
        let mut shown: Vec<String> = services
            .iter()
            .flat_map(|one| one.edges.iter().map(move |edge| (one, edge)))
            .map(|(one, edge)| {
                format!("{} -> {} {}", name(one), of(edge.reference_id), edge.summary_statistics.total_count)
            })
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                " client -> f AWS::Lambda 2",
                "f AWS::Lambda -> f AWS::Lambda::Function 2",
                "f AWS::Lambda::Function -> shop  2",
                "f AWS::Lambda::Function -> sts AWS::sts 2",
            ]
        );
        let shop = services.iter().find(|one| one.name.as_deref() == Some("shop")).unwrap();
        let told = shop.summary_statistics.as_ref().unwrap();
        assert_eq!(
            (told.error_statistics.throttle_count, told.ok_count, told.total_response_time),
            (2, 0, 2.0)
        );
        assert_eq!(services.iter().filter(|one| one.root).map(name).collect::<Vec<_>>(), ["f AWS::Lambda"]);
    }
}
