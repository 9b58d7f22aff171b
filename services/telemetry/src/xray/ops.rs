//! What the operations of X-Ray do.

use super::{Kept, data, filter, graph::Graph, matching, segment, summary};
use crate::api::{graph::Service, tracing::*};
use base::Timestamp;
use serde_json::Value;
use wire::{Context, Time};

/// Documents of one request, traces of one request, and segments read of one trace. The last two as in X-Ray.
const DOCUMENTS_MAX: usize = 500;
const TRACES_MAX: usize = 5;
const SEGMENTS_READ: i64 = 1_000;
/// Summaries of a page, and traces of a graph's.
const PAGE: i64 = 50;
const GRAPH_PAGE: i64 = 500;
/// The longest range of summaries.
const RANGE_MAX_MS: i64 = 6 * 3_600_000;
/// The one sampling rule, and how often clients ask about it.
const DEFAULT_RULE: &str = "Default";
const DEFAULT_RATE: f64 = 0.05;
const TARGET_S: i64 = 10;
const TELEMETRY_RECORDS_MAX: usize = 100;

impl Tracing {
    pub(crate) async fn put_trace_segments(
        &self,
        context: &Context,
        input: PutTraceSegmentsRequest,
    ) -> Result<PutTraceSegmentsResponse, Error> {
        let documents = input.trace_segment_documents;
        if documents.len() > DOCUMENTS_MAX {
            return Err(Error::invalid(format!("{} documents exceed {DOCUMENTS_MAX}", documents.len())));
        }
        let (mut kept, mut unprocessed) = (Vec::new(), Vec::new());
        for document in documents {
            match segment::parse(&document) {
                Ok(segment) => {
                    self.0.export_segment(context.account, &context.region, None, &document);
                    let region = context.region.clone();
                    kept.push(Kept { account: context.account, region, segment, document });
                }
                Err(refused) => unprocessed.push(UnprocessedTraceSegment {
                    id: id_of(&document),
                    error_code: refused.code().to_owned(),
                    message: refused.to_string(),
                }),
            }
        }
        let now = context.now;
        if !kept.is_empty() {
            self.0
                .db
                .write::<_, store::Error, _>(move |tx| {
                    kept.iter().try_for_each(|kept| data::put(tx, kept, now))
                })
                .await?;
        }
        Ok(PutTraceSegmentsResponse { unprocessed_trace_segments: unprocessed })
    }

    pub(crate) async fn batch_get_traces(
        &self,
        context: &Context,
        input: BatchGetTracesRequest,
    ) -> Result<BatchGetTracesResponse, Error> {
        if input.next_token.is_some() {
            return Err(Error::invalid("NextToken is not one that was given out".to_owned()));
        }
        if input.trace_ids.len() > TRACES_MAX {
            return Err(Error::invalid(format!("{} trace IDs exceed {TRACES_MAX}", input.trace_ids.len())));
        }
        self.0.flush_segments().await?;
        let (mut traces, mut unprocessed) = (Vec::new(), Vec::new());
        for id in input.trace_ids {
            let Some(trace) = segment::trace_id(&id) else {
                unprocessed.push(id);
                continue;
            };
            let (segments, more) = self.segments(context, &trace).await?;
            let values = values(&segments);
            let Some((begin, end)) = summary::extent(&values.iter().collect::<Vec<_>>()) else { continue };
            let segments = segments.into_iter().map(|(id, document)| SegmentShown { id, document }).collect();
            traces.push(Trace { id: trace, duration: end - begin, limit_exceeded: more, segments });
        }
        Ok(BatchGetTracesResponse { traces, unprocessed_trace_ids: unprocessed })
    }

    pub(crate) async fn get_trace_summaries(
        &self,
        context: &Context,
        input: GetTraceSummariesRequest,
    ) -> Result<GetTraceSummariesResponse, Error> {
        let range = range(input.start_time, input.end_time)?;
        if !matches!(input.time_range_type.as_deref(), None | Some("TraceId")) {
            return Err(Error::unsupported("TimeRangeType", "only TraceId is"));
        }
        let filter = match input.filter_expression.as_deref().filter(|text| !text.trim().is_empty()) {
            None => None,
            Some(text) => Some(filter::parse(text).map_err(Error::Filter)?),
        };
        if input.sampling == Some(true) || input.sampling_strategy.is_some() {
            return Err(Error::unsupported("Sampling", "all summaries are answered"));
        }
        let (found, next_token) = self.traces(context, range, input.next_token.as_deref(), PAGE).await?;
        let mut summaries = Vec::with_capacity(found.len());
        for trace in &found {
            let (segments, _) = self.segments(context, trace).await?;
            let (account, segments) = (context.account.to_string(), values(&segments));
            if filter.as_ref().is_none_or(|filter| matching::matches(filter, &account, &segments)) {
                summaries.extend(summary::summary(trace, &account, &segments));
            }
        }
        Ok(GetTraceSummariesResponse {
            traces_processed_count: found.len() as i64,
            trace_summaries: summaries,
            approximate_time: context.now.epoch_seconds(),
            next_token,
        })
    }

    pub(crate) async fn get_service_graph(
        &self,
        context: &Context,
        input: GetServiceGraphRequest,
    ) -> Result<GetServiceGraphResponse, Error> {
        let range = range(input.start_time, input.end_time)?;
        let is_group = |name: &Option<String>| name.as_deref().is_some_and(|name| name != "Default");
        if is_group(&input.group_name) || input.group_arn.is_some() {
            return Err(Error::unsupported("GroupName", "there is only Default, which is every trace"));
        }
        let (found, next_token) =
            self.traces(context, range, input.next_token.as_deref(), GRAPH_PAGE).await?;
        Ok(GetServiceGraphResponse {
            start_time: range.0.epoch_seconds(),
            end_time: range.1.epoch_seconds(),
            services: self.graph(context, &found).await?,
            contains_old_group_versions: false,
            next_token,
        })
    }

    pub(crate) async fn get_trace_graph(
        &self,
        context: &Context,
        input: GetTraceGraphRequest,
    ) -> Result<GetTraceGraphResponse, Error> {
        if input.next_token.is_some() {
            return Err(Error::invalid("NextToken is not one that was given out".to_owned()));
        }
        if input.trace_ids.len() > TRACES_MAX {
            return Err(Error::invalid(format!("{} trace IDs exceed {TRACES_MAX}", input.trace_ids.len())));
        }
        let known =
            |id: &String| segment::trace_id(id).ok_or_else(|| Error::invalid(format!("{id} is no trace ID")));
        let traces = input.trace_ids.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        self.0.flush_segments().await?;
        Ok(GetTraceGraphResponse { services: self.graph(context, &traces).await? })
    }

    async fn graph(&self, context: &Context, traces: &[String]) -> Result<Vec<Service>, Error> {
        let mut graph = Graph::default();
        for trace in traces {
            graph.add(&values(&self.segments(context, trace).await?.0));
        }
        Ok(graph.services(&context.account.to_string()))
    }

    /// A page of the traces that began within a range, everything that waits included, and where the next begins.
    async fn traces(
        &self,
        context: &Context,
        (start, end): (Timestamp, Timestamp),
        token: Option<&str>,
        page: i64,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let after = match token {
            None => (i64::MIN, String::new()),
            Some(token) => position(token)
                .ok_or_else(|| Error::invalid("NextToken is not one that was given out".to_owned()))?,
        };
        self.0.flush_segments().await?;
        let (account, region) = (context.account, context.region.clone());
        let range = (start.0.div_euclid(1_000), end.0.div_euclid(1_000));
        let mut found = self
            .0
            .db
            .read(move |tx| data::traces(tx, account, &region, range, (after.0, &after.1), page + 1))
            .await?;
        let more = found.len() as i64 > page;
        found.truncate(usize::try_from(page).unwrap_or_default());
        let next = found.last().filter(|_| more).map(|(began, trace)| format!("{began} {trace}"));
        Ok((found.into_iter().map(|(_, trace)| trace).collect(), next))
    }

    /// Counts what a daemon tells of itself.
    pub(crate) async fn put_telemetry_records(
        &self,
        _: &Context,
        input: PutTelemetryRecordsRequest,
    ) -> Result<PutTelemetryRecordsResponse, Error> {
        if input.telemetry_records.len() > TELEMETRY_RECORDS_MAX {
            let count = input.telemetry_records.len();
            return Err(Error::invalid(format!("{count} telemetry records exceed {TELEMETRY_RECORDS_MAX}")));
        }
        self.0.daemons.add(&input.telemetry_records);
        Ok(PutTelemetryRecordsResponse {})
    }

    pub(crate) async fn get_sampling_rules(
        &self,
        context: &Context,
        _: GetSamplingRulesRequest,
    ) -> Result<GetSamplingRulesResponse, Error> {
        let arn = base::Arn::new("xray", Some(&context.region), context.account, "sampling-rule/Default");
        let rule = SamplingRule {
            rule_name: DEFAULT_RULE,
            rule_arn: arn.to_string(),
            resource_arn: "*",
            priority: 10_000,
            fixed_rate: DEFAULT_RATE,
            reservoir_size: 1,
            service_name: "*",
            service_type: "*",
            host: "*",
            http_method: "*",
            url_path: "*",
            version: 1,
            attributes: Default::default(),
        };
        let record = SamplingRuleRecord { sampling_rule: rule, created_at: 0.0, modified_at: 0.0 };
        Ok(GetSamplingRulesResponse { sampling_rule_records: vec![record] })
    }

    pub(crate) async fn get_sampling_targets(
        &self,
        context: &Context,
        input: GetSamplingTargetsRequest,
    ) -> Result<GetSamplingTargetsResponse, Error> {
        if input.sampling_boost_statistics_documents.is_some_and(|all| !all.is_empty()) {
            return Err(Error::unsupported("SamplingBoostStatisticsDocuments", "no rule boosts sampling"));
        }
        let (known, unknown): (Vec<_>, Vec<_>) = input
            .sampling_statistics_documents
            .into_iter()
            .partition(|document| document.rule_name == DEFAULT_RULE);
        let target = |_| SamplingTarget {
            rule_name: DEFAULT_RULE,
            fixed_rate: DEFAULT_RATE,
            reservoir_quota: 1,
            reservoir_quota_ttl: context.now.plus_ms(TARGET_S * 1_000).epoch_seconds(),
            interval: TARGET_S,
        };
        let refused = |document: SamplingStatistics| UnprocessedStatistics {
            rule_name: document.rule_name,
            error_code: "400".to_owned(),
            message: "no such sampling rule; there is only Default".to_owned(),
        };
        Ok(GetSamplingTargetsResponse {
            sampling_target_documents: known.into_iter().take(1).map(target).collect(),
            last_rule_modification: 0.0,
            unprocessed_statistics: unknown.into_iter().map(refused).collect(),
        })
    }

    /// Segments of a trace, and whether there are more.
    async fn segments(&self, context: &Context, trace: &str) -> Result<(Vec<(String, String)>, bool), Error> {
        let (account, region, trace) = (context.account, context.region.clone(), trace.to_owned());
        let mut found =
            self.0.db.read(move |tx| data::segments(tx, account, &region, &trace, SEGMENTS_READ + 1)).await?;
        let more = found.len() as i64 > SEGMENTS_READ;
        found.truncate(SEGMENTS_READ as usize);
        Ok((found, more))
    }
}

/// Both ends, which requests must name.
fn range(start: Option<Time>, end: Option<Time>) -> Result<(Timestamp, Timestamp), Error> {
    let (Some(Time(start)), Some(Time(end))) = (start, end) else {
        return Err(Error::invalid("StartTime and EndTime are required".to_owned()));
    };
    if !(0..=RANGE_MAX_MS).contains(&end.0.saturating_sub(start.0)) {
        return Err(Error::invalid("EndTime must be after StartTime by at most 6 hours".to_owned()));
    }
    Ok((start, end))
}

fn values(segments: &[(String, String)]) -> Vec<Value> {
    segments.iter().filter_map(|(_, document)| serde_json::from_str(document).ok()).collect()
}

fn id_of(document: &str) -> Option<String> {
    let value: Value = serde_json::from_str(document).ok()?;
    Some(value.get("id")?.as_str()?.to_owned())
}

fn position(token: &str) -> Option<(i64, String)> {
    let (began, trace) = token.split_once(' ')?;
    Some((began.parse().ok()?, segment::trace_id(trace)?))
}
