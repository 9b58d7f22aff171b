//! Queries of the API: started, run page by page in the background, remembered for a while.
//!
//! Their answers are in memory only. At most [`RUNNING_MAX`] run at once; each may take [`TIME_MAX`]; the last [`KEPT_MAX`] answers
//! are kept, and fewer if they are large ([`KEPT_BYTES`]).

use super::{
    Plan, ROWS_MAX, Row,
    pipeline::{Finished, Pipeline},
    record::Source,
};
use crate::{
    Error, Inner,
    api::{insights::*, logs::Logs},
    data::Scope,
    logic::{self, Direction, Range},
    logs::{arn, find},
    pattern::Pattern,
    search::{self, Page, Query, Streams},
};
use base::{AccountId, Region, RequestId};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use wire::Context;

/// Queries that run at once. Source: CloudWatch Logs quotas, of an account.
const RUNNING_MAX: usize = 30;
/// The longest run; then its status is `Timeout`.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// Answers kept.
const KEPT_MAX: usize = 200;
/// Bytes of answers kept.
const KEPT_BYTES: usize = 128 * 1024 * 1024;
/// Log groups of one query. Source: API reference, `StartQuery`.
const GROUPS_MAX: usize = 50;
/// Events read at once.
const PAGE_EVENTS: usize = 10_000;

/// Status of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Running,
    Complete,
    Failed,
    Cancelled,
    Timeout,
}

impl Status {
    const NAMES: [&'static str; 7] =
        ["Scheduled", "Running", "Complete", "Failed", "Cancelled", "Timeout", "Unknown"];

    const fn as_str(self) -> &'static str {
        match self {
            Status::Running => "Running",
            Status::Complete => "Complete",
            Status::Failed => "Failed",
            Status::Cancelled => "Cancelled",
            Status::Timeout => "Timeout",
        }
    }
}

/// One query, for whoever asks about it.
struct Known {
    account: AccountId,
    region: Region,
    text: String,
    groups: Vec<String>,
    created: i64,
    stop: Arc<AtomicBool>,
    status: Status,
    statistics: QueryStatistics,
    rows: Arc<Vec<Row>>,
    bytes: usize,
}

/// All queries of this node.
#[derive(Default)]
pub(crate) struct Queries(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    queries: BTreeMap<String, Known>,
    /// Those that have ended, the oldest first.
    ended: VecDeque<String>,
    bytes: usize,
}

impl Queries {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops and forgets all.
    pub(crate) fn forget(&self) {
        let mut remembered = self.lock();
        for known in remembered.queries.values() {
            known.stop.store(true, Ordering::Relaxed);
        }
        *remembered = Remembered::default();
    }

    fn end(&self, id: &str, status: Status, statistics: QueryStatistics, rows: Vec<Row>) {
        let mut remembered = self.lock();
        let Remembered { queries, ended, bytes } = &mut *remembered;
        let Some(known) = queries.get_mut(id) else { return };
        // What was stopped stays so.
        if known.status == Status::Running {
            known.status = status;
        }
        known.statistics = statistics;
        let fields = rows.iter().flatten();
        known.bytes = fields.map(|(name, value)| name.len() + value.len() + 48).sum();
        *bytes += known.bytes;
        known.rows = Arc::new(rows);
        ended.push_back(id.to_owned());
        while ended.len() > KEPT_MAX || *bytes > KEPT_BYTES && ended.len() > 1 {
            let Some(oldest) = ended.pop_front() else { break };
            *bytes -= queries.remove(&oldest).map_or(0, |known| known.bytes);
        }
    }
}

impl Logs {
    pub(crate) async fn start_query(
        &self,
        context: &Context,
        input: StartQueryRequest,
    ) -> Result<StartQueryResponse, Error> {
        if let Some(language) = input.query_language.filter(|language| language != "CWLI") {
            return Err(Error::Invalid(format!(
                "queryLanguage {language} is not supported by Neap: queries are in CWLI"
            )));
        }
        let groups =
            groups(context, input.log_group_name, input.log_group_names, input.log_group_identifiers)?;
        for group in &groups {
            context.authorize("logs:StartQuery", &arn(context, group))?;
        }
        let limit = match input.limit {
            None => ROWS_MAX,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=ROWS_MAX).contains(limit))
                .ok_or_else(|| Error::Invalid(format!("limit must be between 1 and {ROWS_MAX}: {limit}")))?,
        };
        let (start, end) = (input.start_time, input.end_time);
        if start < 0 || end < start {
            return Err(Error::Invalid(format!(
                "endTime must not be before startTime, nor startTime negative: {start} and {end}"
            )));
        }
        let plan = Plan::parse(&input.query_string)?;
        self.settle().await?;
        let (account, region, now) = (context.account, context.region.clone(), context.now);
        // To the end of the last second, which is included.
        let (from, until) = (start.saturating_mul(1_000), end.saturating_mul(1_000).saturating_add(1_000));
        let names = groups.clone();
        let scanned = self
            .0
            .db
            .read(move |tx| {
                names
                    .iter()
                    .map(|name| {
                        let group = find(tx, account, &region, name)?;
                        let range = Range::of(Some(from), Some(until), group.cutoff(now));
                        Ok::<_, Error>(Group { id: group.id, log: format!("{account}:{name}").into(), range })
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let id = RequestId::new(&*self.0.entropy).to_string();
        let stop = Arc::new(AtomicBool::new(false));
        {
            let mut remembered = self.0.queries.lock();
            let running = remembered.queries.values().filter(|known| known.status == Status::Running).count();
            if running >= RUNNING_MAX {
                return Err(Error::TooManyQueries { max: RUNNING_MAX });
            }
            let known = Known {
                account,
                region: context.region.clone(),
                text: input.query_string,
                groups,
                created: now.0,
                stop: Arc::clone(&stop),
                status: Status::Running,
                statistics: QueryStatistics::default(),
                rows: Arc::default(),
                bytes: 0,
            };
            remembered.queries.insert(id.clone(), known);
        }
        let (inner, own) = (Arc::clone(&self.0), id.clone());
        tokio::spawn(async move {
            let mut statistics =
                QueryStatistics { log_groups_scanned: scanned.len() as f64, ..QueryStatistics::default() };
            let ran = inner.run_query(Pipeline::new(&plan, limit), scanned, &stop, &mut statistics).await;
            let (status, rows) = match ran {
                Ok(Ran::Answer(rows)) => (Status::Complete, rows),
                Ok(Ran::Stopped) => (Status::Cancelled, Vec::new()),
                Ok(Ran::TooLong) => (Status::Timeout, Vec::new()),
                Err(why) => {
                    tracing::warn!(query = own, why, "a query failed");
                    (Status::Failed, Vec::new())
                }
            };
            inner.queries.end(&own, status, statistics, rows);
        });
        Ok(StartQueryResponse { query_id: id })
    }

    pub(crate) async fn get_query_results(
        &self,
        context: &Context,
        input: GetQueryResultsRequest,
    ) -> Result<GetQueryResultsResponse, Error> {
        let most = match input.max_items {
            None => usize::MAX,
            Some(most) => {
                usize::try_from(most).ok().filter(|most| (1..=ROWS_MAX).contains(most)).ok_or_else(|| {
                    Error::Invalid(format!("maxItems must be between 1 and {ROWS_MAX}: {most}"))
                })?
            }
        };
        let skip: usize = match &input.next_token {
            None => 0,
            Some(token) => token.parse().map_err(|_| logic::bad_token())?,
        };
        let (rows, statistics, status) = {
            let remembered = self.0.queries.lock();
            let known = remembered.of(context, &input.query_id)?;
            (Arc::clone(&known.rows), known.statistics, known.status)
        };
        let shown = |row: &Row| {
            row.iter()
                .map(|(field, value)| ResultField { field: field.clone(), value: value.clone() })
                .collect()
        };
        let results: Vec<_> = rows.iter().skip(skip).take(most).map(shown).collect();
        let reached = skip.saturating_add(results.len());
        let next_token = (reached < rows.len()).then(|| reached.to_string());
        Ok(GetQueryResultsResponse {
            query_language: "CWLI",
            results,
            statistics,
            status: status.as_str(),
            next_token,
        })
    }

    pub(crate) async fn stop_query(
        &self,
        context: &Context,
        input: StopQueryRequest,
    ) -> Result<StopQueryResponse, Error> {
        let mut remembered = self.0.queries.lock();
        remembered.of(context, &input.query_id)?;
        let Some(known) = remembered.queries.get_mut(&input.query_id) else { return Err(Error::NoSuchQuery) };
        let success = known.status == Status::Running;
        if success {
            known.stop.store(true, Ordering::Relaxed);
            known.status = Status::Cancelled;
        }
        Ok(StopQueryResponse { success })
    }

    pub(crate) async fn describe_queries(
        &self,
        context: &Context,
        input: DescribeQueriesRequest,
    ) -> Result<DescribeQueriesResponse, Error> {
        if let Some(status) = input.status.as_deref().filter(|status| !Status::NAMES.contains(status)) {
            return Err(Error::Invalid(format!("status must be of {}: {status}", Status::NAMES.join(", "))));
        }
        let most = input.max_results.unwrap_or(1_000);
        if !(1..=1_000).contains(&most) {
            return Err(Error::Invalid(format!("maxResults must be between 1 and 1000: {most}")));
        }
        let skip: usize = match &input.next_token {
            None => 0,
            Some(token) => token.parse().map_err(|_| logic::bad_token())?,
        };
        let most = most as usize;
        let remembered = self.0.queries.lock();
        let mut found: Vec<(&String, &Known)> = remembered
            .queries
            .iter()
            .filter(|(_, known)| known.account == context.account && known.region == context.region)
            .filter(|_| input.query_language.as_deref().is_none_or(|language| language == "CWLI"))
            .filter(|(_, known)| input.log_group_name.as_ref().is_none_or(|name| known.groups.contains(name)))
            .filter(|(_, known)| input.status.as_deref().is_none_or(|status| status == known.status.as_str()))
            .collect();
        found.sort_by_key(|(id, known)| (std::cmp::Reverse(known.created), *id));
        let next_token = (found.len() > skip.saturating_add(most)).then(|| (skip + most).to_string());
        let queries = found
            .into_iter()
            .skip(skip)
            .take(most)
            .map(|(id, known)| QueryInfo {
                query_language: "CWLI",
                query_id: id.clone(),
                query_string: known.text.clone(),
                status: known.status.as_str(),
                create_time: known.created,
                log_group_name: known.groups.join(","),
            })
            .collect();
        Ok(DescribeQueriesResponse { queries, next_token })
    }
}

impl Remembered {
    fn of(&self, context: &Context, id: &str) -> Result<&Known, Error> {
        self.queries
            .get(id)
            .filter(|known| known.account == context.account && known.region == context.region)
            .ok_or(Error::NoSuchQuery)
    }
}

/// The names of a query's groups, each once.
fn groups(
    context: &Context,
    name: Option<String>,
    names: Option<Vec<String>>,
    identifiers: Option<Vec<String>>,
) -> Result<Vec<String>, Error> {
    let given = match (name, names, identifiers) {
        (Some(name), None, None) => vec![name],
        (None, Some(names), None) => names,
        (None, None, Some(identifiers)) => identifiers,
        _ => {
            let reason = "Exactly one of logGroupName, logGroupNames and logGroupIdentifiers is required";
            return Err(Error::Invalid(reason.to_owned()));
        }
    };
    if given.is_empty() || given.len() > GROUPS_MAX {
        return Err(Error::Invalid(format!("a query is over 1 to {GROUPS_MAX} log groups: {}", given.len())));
    }
    let mut names: Vec<String> = given
        .iter()
        .map(|given| logic::group_name(given, context.account, &context.region))
        .collect::<Result<_, _>>()?;
    names.sort();
    names.dedup();
    Ok(names)
}

/// A group to be read.
struct Group {
    id: i64,
    log: Arc<str>,
    /// What is not read yet.
    range: Range,
}

enum Ran {
    Answer(Vec<Row>),
    Stopped,
    TooLong,
}

impl Inner {
    /// Reads events newest first; of several groups page by page, always the one whose next event may be the newest.
    async fn run_query(
        &self,
        mut pipeline: Pipeline,
        mut groups: Vec<Group>,
        stop: &AtomicBool,
        statistics: &mut QueryStatistics,
    ) -> Result<Ran, String> {
        let began = Instant::now();
        let mut waiting: VecDeque<Source> = VecDeque::new();
        let several = groups.len() > 1;
        while !groups.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return Ok(Ran::Stopped);
            }
            if began.elapsed() > TIME_MAX {
                return Ok(Ran::TooLong);
            }
            groups.sort_by_key(|group| group.range.before);
            let Some(group) = groups.last_mut() else { break };
            let query = Query {
                group: group.id,
                scope: Scope::Group(group.id),
                streams: Streams::All,
                range: group.range,
                direction: Direction::Backward,
                limit: PAGE_EVENTS,
                pattern: Arc::new(Pattern::ALL),
            };
            let Page { events, reached } = self
                .db
                .read(move |tx| search::page(tx, &query))
                .await
                .map_err(|error: Error| error.to_string())?;
            let log = Arc::clone(&group.log);
            match reached {
                Some(position) => group.range = group.range.beyond(position, Direction::Backward),
                None => drop(groups.pop()),
            }
            let sources = events.into_iter().map(|found| Source {
                at: found.event.position.at,
                ingested: found.event.ingested,
                message: found.event.message,
                stream: found.stream_name,
                log: Arc::clone(&log),
            });
            waiting.extend(sources);
            if several {
                waiting.make_contiguous().sort_by_key(|source| std::cmp::Reverse(source.at));
            }
            // What no group can still precede.
            let edge = groups.iter().map(|group| group.range.before.at).max();
            let clear = match edge {
                Some(edge) if several => waiting.partition_point(|source| source.at > edge),
                Some(_) | None => waiting.len(),
            };
            let ready: Vec<Source> = waiting.drain(..clear).collect();
            statistics.records_scanned += ready.len() as f64;
            statistics.bytes_scanned += ready.iter().map(|source| source.message.len()).sum::<usize>() as f64;
            // Off the threads that serve requests.
            let step = move || {
                let mut finished = Finished::No;
                for source in ready {
                    finished = pipeline.push(source)?;
                    if finished == Finished::Yes {
                        break;
                    }
                }
                Ok::<_, String>((pipeline, finished))
            };
            let stepped = tokio::task::spawn_blocking(step).await.map_err(|error| error.to_string())??;
            pipeline = stepped.0;
            statistics.records_matched = pipeline.matched as f64;
            if stepped.1 == Finished::Yes {
                break;
            }
        }
        let finish = tokio::task::spawn_blocking(move || pipeline.finish());
        Ok(Ran::Answer(finish.await.map_err(|error| error.to_string())??))
    }
}
