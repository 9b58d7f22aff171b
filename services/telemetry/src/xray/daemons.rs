//! What X-Ray daemons outside of functions tell of themselves, summed up since the start of the process.

use crate::{Metric, MetricKind, api::tracing::TelemetryRecord};
use std::sync::atomic::{AtomicU64, Ordering};

const SEGMENTS: &str = "neap_xray_daemon_segments";
const SEGMENTS_HELP: &str = "Segments that X-Ray daemons say they received, sent, spilled or had rejected";
const ERRORS: &str = "neap_xray_daemon_connection_errors";
const ERRORS_HELP: &str = "Failures of X-Ray daemons to reach their endpoint, as they tell them";

const SEGMENT_KINDS: [&str; 4] = ["received", "sent", "spillover", "rejected"];
const ERROR_KINDS: [&str; 6] =
    ["timeout", "connection_refused", "http_4xx", "http_5xx", "unknown_host", "other"];

/// Sums of all daemons.
#[derive(Default)]
pub(crate) struct Daemons {
    segments: [AtomicU64; 4],
    errors: [AtomicU64; 6],
}

impl Daemons {
    pub(crate) fn add(&self, records: &[TelemetryRecord]) {
        for record in records {
            let segments = [
                record.segments_received_count,
                record.segments_sent_count,
                record.segments_spillover_count,
                record.segments_rejected_count,
            ];
            let errors = &record.backend_connection_errors;
            let errors = [
                errors.timeout_count,
                errors.connection_refused_count,
                errors.http_code_4xx_count,
                errors.http_code_5xx_count,
                errors.unknown_host_count,
                errors.other_count,
            ];
            for (sum, count) in self.segments.iter().zip(segments).chain(self.errors.iter().zip(errors)) {
                sum.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
    }

    /// For `/_neap/metrics`; nothing until a daemon has told something.
    pub(crate) fn shown(&self) -> Vec<Metric> {
        let one = |name, help, label: &'static str, kind: &str, sum: &AtomicU64| Metric {
            kind: MetricKind::Counter,
            name,
            help,
            labels: vec![(label, kind.to_owned())],
            value: sum.load(Ordering::Relaxed) as f64,
        };
        let segments = SEGMENT_KINDS.iter().zip(&self.segments);
        let errors = ERROR_KINDS.iter().zip(&self.errors);
        let mut all: Vec<Metric> =
            segments.map(|(kind, sum)| one(SEGMENTS, SEGMENTS_HELP, "kind", kind, sum)).collect();
        all.extend(errors.map(|(kind, sum)| one(ERRORS, ERRORS_HELP, "kind", kind, sum)));
        all.retain(|metric| metric.value > 0.0);
        all
    }
}
