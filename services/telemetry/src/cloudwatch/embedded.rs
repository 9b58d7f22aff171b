//! Embedded metric format: log lines that are metrics too. Source: user guide, "Specification: Embedded metric format".
//!
//! A line is a JSON object whose member `_aws` has a `Timestamp` in milliseconds and `CloudWatchMetrics`: directives, each with a
//! `Namespace`, sets of names of `Dimensions`, and `Metrics` by name with `Unit` and `StorageResolution`. Values are the members
//! of the object with these names. What breaks the format is a log line and nothing more: a directive is carried out whole or
//! not at all, except that a metric whose value is missing is left out.

use super::{
    logic::{self, Place},
    model::{Aggregate, Dimensions, Points, Unit, gather},
};
use base::Timestamp;
use serde_json::{Map, Value};

/// Metrics of one directive.
const METRICS_MAX: usize = 100;
/// Values of one metric.
const VALUES_MAX: usize = 100;
/// Points of one line: metrics times sets of dimensions, of all directives. A bound of our own.
const POINTS_MAX: usize = 3_000;
/// How far a line's time may be from now. Source: as for `PutMetricData`.
const PAST_MAX_MS: i64 = 14 * 86_400_000;
const FUTURE_MAX_MS: i64 = 2 * 3_600_000;

/// The points of a log line; `None` if it is only a log line.
pub(crate) fn points(place: &Place, message: &str, now: Timestamp) -> Option<Points> {
    // Spares parsing other documents.
    if !message.trim_start().starts_with('{') || !message.contains("\"CloudWatchMetrics\"") {
        return None;
    }
    let root: Map<String, Value> = serde_json::from_str(message).ok()?;
    let about = root.get("_aws")?.as_object()?;
    let at = about.get("Timestamp")?.as_i64()?;
    if at < now.0.saturating_sub(PAST_MAX_MS) || at > now.0.saturating_add(FUTURE_MAX_MS) {
        return None;
    }
    let mut points = Points::new();
    let mut room = POINTS_MAX;
    for directive in about.get("CloudWatchMetrics")?.as_array()? {
        if let Some(found) = carry_out(place, directive, &root, (at, now), &mut room) {
            for (key, slots) in found {
                for (slot, aggregate) in slots {
                    gather(&mut points, key.clone(), slot, aggregate);
                }
            }
        }
    }
    (!points.is_empty()).then_some(points)
}

fn carry_out(
    place: &Place,
    directive: &Value,
    root: &Map<String, Value>,
    (at, now): (i64, Timestamp),
    room: &mut usize,
) -> Option<Points> {
    let namespace = logic::namespace(Some(directive.get("Namespace")?.as_str()?)).ok()?;
    if namespace.starts_with(logic::RESERVED) {
        return None;
    }
    let metrics = directive.get("Metrics")?.as_array()?;
    let sets = directive.get("Dimensions")?.as_array()?;
    if metrics.len() > METRICS_MAX || sets.is_empty() {
        return None;
    }
    *room = room.checked_sub(metrics.len().checked_mul(sets.len())?)?;
    let sets = sets.iter().map(|names| dimensions(names, root)).collect::<Option<Vec<_>>>()?;
    let mut points = Points::new();
    for metric in metrics {
        let name = logic::metric_name("Name", Some(metric.get("Name")?.as_str()?)).ok()?;
        let unit = match metric.get("Unit") {
            None => Unit::None,
            Some(unit) => Unit::parse(unit.as_str()?)?,
        };
        let resolution = match metric.get("StorageResolution").map(Value::as_i64) {
            None | Some(Some(60)) => 60,
            Some(Some(1)) => 1,
            Some(_) => return None,
        };
        let Some(target) = root.get(name) else { continue };
        let aggregate = measured(target)?;
        let slot = logic::slot(at, resolution, unit, now);
        for dimensions in &sets {
            gather(
                &mut points,
                place.key(namespace, name, dimensions.clone()),
                slot.clone(),
                aggregate.clone(),
            );
        }
    }
    Some(points)
}

/// The dimensions that a set names, with their values.
fn dimensions(names: &Value, root: &Map<String, Value>) -> Option<Dimensions> {
    let names = names.as_array()?;
    let pair = |name: &Value| {
        let name = name.as_str()?;
        let value = root.get(name)?.as_str()?;
        let dimension =
            crate::api::monitoring::Dimension { name: Some(name.to_owned()), value: Some(value.to_owned()) };
        Some(dimension)
    };
    let given = names.iter().map(pair).collect::<Option<Vec<_>>>()?;
    logic::dimensions("Dimensions", &given).ok()
}

/// A number, or up to 100 numbers.
fn measured(target: &Value) -> Option<Aggregate> {
    let values = match target {
        Value::Array(values) if (1..=VALUES_MAX).contains(&values.len()) => values.as_slice(),
        Value::Number(_) => std::slice::from_ref(target),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => return None,
    };
    let mut all: Option<Aggregate> = None;
    for value in values {
        let one = Aggregate::of(value.as_f64().filter(|value| logic::is_value(*value))?, 1.0);
        match &mut all {
            None => all = Some(one),
            Some(all) => all.merge(&one),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::AccountId;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_795_219_230_000);

    fn place() -> Place {
        Place { account: AccountId::DEFAULT, region: "us-east-1".parse().unwrap() }
    }

    fn line() -> Value {
        json!({
            "_aws": {"Timestamp": NOW.0, "CloudWatchMetrics": [{
                "Namespace": "app",
                "Dimensions": [["service"], ["service", "stage"], []],
                "Metrics": [{"Name": "time", "Unit": "Milliseconds"}, {"Name": "sizes", "StorageResolution": 1}, {"Name": "absent"}],
            }]},
            "service": "mail", "stage": "prod", "time": 12.5, "sizes": [1, 2, 3], "message": "sent",
        })
    }

    fn read(line: &Value) -> Option<Points> {
        points(&place(), &line.to_string(), NOW)
    }

    #[test]
    fn a_line_becomes_a_metric_for_each_set_of_dimensions() {
        let points = read(&line()).unwrap();
        assert_eq!(points.len(), 6);
        let of = |name: &str, dimensions: &str| {
            let (_, slots) = points
                .iter()
                .find(|(key, _)| key.name == name && key.dimensions.text() == dimensions)
                .unwrap();
            let (slot, all) = slots.iter().next().unwrap();
            (slot.period, slot.unit, all.count, all.sum)
        };
        assert_eq!(of("time", r#"["service","mail"]"#), (60, Unit::Milliseconds, 1.0, 12.5));
        assert_eq!(of("sizes", r#"["service","mail","stage","prod"]"#), (1, Unit::None, 3.0, 6.0));
        assert_eq!(of("sizes", "[]"), (1, Unit::None, 3.0, 6.0));
    }

    #[test]
    fn what_breaks_the_format_is_only_a_log_line() {
        assert_eq!(points(&place(), "plain", NOW), None);
        assert_eq!(points(&place(), "{\"CloudWatchMetrics\"", NOW), None);
        let broken = |pointer: &str, value: Value| {
            let mut line = line();
            *line.pointer_mut(pointer).unwrap() = value;
            read(&line)
        };
        let directive = "/_aws/CloudWatchMetrics/0";
        for (pointer, value) in [
            ("/_aws", json!(1)),
            ("/_aws/Timestamp", json!("now")),
            ("/_aws/Timestamp", json!(NOW.0 - PAST_MAX_MS - 1)),
            ("/_aws/Timestamp", json!(NOW.0 + FUTURE_MAX_MS + 1)),
            ("/_aws/Timestamp", json!(i64::MIN)),
            ("/_aws/CloudWatchMetrics", json!({})),
            (&format!("{directive}/Namespace"), json!("AWS/Lambda")),
            (&format!("{directive}/Namespace"), json!("")),
            (&format!("{directive}/Dimensions"), json!([])),
            (&format!("{directive}/Dimensions"), json!([["nobody"]])),
            (&format!("{directive}/Dimensions"), json!([["time"]])),
            (&format!("{directive}/Dimensions"), json!([["service", "service"]])),
            (&format!("{directive}/Dimensions"), json!(vec![json!(["service"]); 2_000])),
            (&format!("{directive}/Metrics"), json!(vec![json!({"Name": "time"}); 101])),
            (&format!("{directive}/Metrics/0/Unit"), json!("Parsecs")),
            (&format!("{directive}/Metrics/1/StorageResolution"), json!(5)),
            (&format!("{directive}/Metrics/0/Name"), json!("")),
            ("/time", json!("12")),
            ("/time", json!(1e300)),
            ("/sizes", json!(vec![1; 101])),
        ] {
            assert_eq!(broken(pointer, value.clone()), None, "{pointer} {value}");
        }
        assert_eq!(broken("/sizes", json!([])), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_left(text in ".{0,60}") {
            points(&place(), &format!("{{\"_aws\": {{\"Timestamp\": 1, \"CloudWatchMetrics\": {text}"), NOW);
        }
    }
}
