//! The Prometheus text of this node as OTLP metrics. Pure.
//!
//! The text is the one list of what is measured, so whatever is shown there is exported. Counters and histograms are sums since
//! the start of the process.

use super::{
    message::{
        Data, ExportMetrics, Gauge, Histogram, HistogramDataPoint, KeyValue, Metric, Number, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum,
    },
    tree::{Attributes, nanos, scope},
};
use crate::timeline::micros;
use base::Timestamp;
use std::collections::BTreeMap;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;

/// `ExportMetricsServiceRequest`.
pub(super) fn export(text: &str, version: &str, since: Timestamp, now: Timestamp) -> ExportMetrics {
    let metrics: Vec<Metric> = families(text).iter().filter_map(|family| family.metric(since, now)).collect();
    let resource = Attributes::default().text("service.name", "neap").text("service.version", version);
    ExportMetrics {
        resource_metrics: vec![ResourceMetrics {
            resource: resource.resource(),
            scope_metrics: vec![ScopeMetrics { scope: scope(version), metrics }],
        }],
    }
}

#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    samples: Vec<Sample<'a>>,
}

struct Sample<'a> {
    /// What comes behind the family's name: `_total`, `_bucket`, `_sum`, `_count` or nothing.
    part: &'a str,
    labels: Labels,
    value: f64,
}

type Labels = Vec<(String, String)>;

fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
            let Some(name) = name else { continue };
            if families.last().is_none_or(|family| family.name != name) {
                families.push(Family { name, ..Family::default() });
            }
            match (what, families.last_mut()) {
                (Some("HELP"), Some(family)) => family.help = rest,
                (Some("TYPE"), Some(family)) => family.kind = rest,
                _ => {}
            }
        } else if let Some(family) = families.last_mut() {
            family.samples.extend(sample(family.name, line));
        }
    }
    families
}

fn sample<'a>(family: &str, line: &'a str) -> Option<Sample<'a>> {
    let rest = line.strip_prefix(family)?;
    let end = rest.find(['{', ' '])?;
    let (part, rest) = rest.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.trim_start().split(' ').next()?.parse().ok()?;
    Some(Sample { part, labels, value })
}

/// What is between braces, and what comes behind.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (index, letter) in quoted.char_indices() {
            match (escaped, letter) {
                (false, '"') => {
                    end = Some(index + 1);
                    break;
                }
                (false, '\\') => escaped = true,
                (false, other) => value.push(other),
                (true, other) => {
                    value.push(if other == 'n' { '\n' } else { other });
                    escaped = false;
                }
            }
        }
        labels.push((name.to_owned(), value));
        rest = quoted.get(end?..)?;
    }
}

impl Family<'_> {
    fn metric(&self, since: Timestamp, now: Timestamp) -> Option<Metric> {
        if self.samples.is_empty() {
            return None;
        }
        let (start, now) = (nanos(micros(since)), nanos(micros(now)));
        let point = |sample: &Sample<'_>| NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(Number::AsDouble(sample.value)),
        };
        let points = || self.samples.iter().map(point).collect();
        let data = match self.kind {
            "counter" => Data::Sum(Sum {
                data_points: points(),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(start, now),
                aggregation_temporality: CUMULATIVE,
            }),
            _ => Data::Gauge(Gauge { data_points: points() }),
        };
        Some(Metric { name: self.name.to_owned(), description: self.help.to_owned(), data: Some(data) })
    }

    fn histograms(&self, start: u64, now: u64) -> Vec<HistogramDataPoint> {
        let mut by_labels: BTreeMap<Labels, Counted> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
            let counted = by_labels.entry(labels).or_default();
            match sample.part {
                "_sum" => counted.sum = sample.value,
                "_count" => counted.count = sample.value,
                "_bucket" => counted.buckets.push((bound.unwrap_or_default(), sample.value)),
                _ => {}
            }
        }
        let point = |(labels, counted): (&Labels, &Counted)| {
            let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0.0);
            for (bound, upto) in &counted.buckets {
                counts.push(whole(upto - below));
                below = *upto;
                bounds.extend(bound.parse::<f64>().ok().filter(|bound| bound.is_finite()));
            }
            HistogramDataPoint {
                attributes: attributes(labels),
                start_time_unix_nano: start,
                time_unix_nano: now,
                count: whole(counted.count),
                sum: Some(counted.sum),
                bucket_counts: counts,
                explicit_bounds: bounds,
            }
        };
        by_labels.iter().map(point).collect()
    }
}

#[derive(Default)]
struct Counted {
    sum: f64,
    count: f64,
    /// Upper bound, and how many are not above it.
    buckets: Vec<(String, f64)>,
}

/// A count; it is one in the text too.
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let all = labels.iter().fold(Attributes::default(), |all, (name, value)| all.text(name, value));
    all.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const TEXT: &str = r#"# HELP a Some.
# TYPE a counter
a_total{function="f\"\\\n,}=",x=""} 3
# HELP d How long.
# TYPE d histogram
d_sum{f="1"} 0.5
d_count{f="1"} 4
d_bucket{le="0.1",f="1"} 1
d_bucket{le="1.0",f="1"} 3
d_bucket{le="+Inf",f="1"} 4
# HELP g Now.
# TYPE g gauge
g 2.5
# HELP empty None.
# TYPE empty counter
# EOF
"#;

    #[test]
    fn every_kind_is_told() {
        let told = serde_json::to_value(export(TEXT, "1", Timestamp(1), Timestamp(2))).unwrap();
        let metrics = &told["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(metrics.as_array().unwrap().len(), 3);
        assert_eq!((&metrics[0]["name"], &metrics[0]["description"]), (&json!("a"), &json!("Some.")));
        let point = &metrics[0]["sum"]["dataPoints"][0];
        assert_eq!((&point["asDouble"], &point["startTimeUnixNano"]), (&json!(3.0), &json!("1000000")));
        let labels = json!([
            { "key": "function", "value": { "stringValue": "f\"\\\n,}=" } },
            { "key": "x", "value": { "stringValue": "" } },
        ]);
        assert_eq!(point["attributes"], labels);
        let point = &metrics[1]["histogram"]["dataPoints"][0];
        assert_eq!(point["bucketCounts"], json!(["1", "2", "1"]));
        assert_eq!(point["explicitBounds"], json!([0.1, 1.0]));
        assert_eq!((&point["count"], &point["sum"]), (&json!("4"), &json!(0.5)));
        assert_eq!(metrics[2]["gauge"]["dataPoints"][0]["asDouble"], 2.5);
    }

    #[test]
    fn what_this_node_shows_is_told() {
        let metrics = crate::metrics::Metrics::new();
        metrics.log_events.inc_by(7);
        let told = export(&metrics.text(&[]).unwrap(), "1", Timestamp(0), Timestamp(0));
        let told = serde_json::to_string(&told).unwrap();
        assert!(told.contains(r#""name":"neap_log_events""#) && told.contains("\"asDouble\":7.0"), "{told}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left_out(text in "(# (HELP|TYPE) a ?.{0,9}\n|a[_a-z]{0,7}[{]?.{0,20}[}]? ?[0-9.]{0,3}\n){0,9}") {
            let _ = export(&text, "1", Timestamp(0), Timestamp(0));
        }
    }
}
