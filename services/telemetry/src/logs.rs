//! What the operations of CloudWatch Logs do.

use crate::{
    Error,
    api::logs::*,
    chunk,
    cloudwatch::{
        self, embedded,
        logic::Place,
        model::{Points, gather},
    },
    data::{self, Scope},
    logic::{self, Direction, Range, Token},
    model::{Event, Group, Position, Stream},
    pattern::Pattern,
    search::{self, Page, Query, Streams},
};
use base::{AccountId, Region};
use std::{collections::BTreeMap, sync::Arc};
use store::Tx;
use wire::Context;

/// The greatest character: `prefix` followed by it is above all names that begin with `prefix`.
const ABOVE: char = char::MAX;
/// Old clients want a sequence token; nobody checks it.
const SEQUENCE_TOKEN: &str = "49000000000000000000000000000000000000000000000000000000";

pub(crate) fn find(tx: &mut Tx<'_>, account: AccountId, region: &Region, name: &str) -> Result<Group, Error> {
    data::group_find(tx, account, region, name)?.ok_or(Error::NoSuchGroup)
}

/// The group that exactly one of name and identifier names.
fn named(context: &Context, name: Option<&str>, identifier: Option<&str>) -> Result<String, Error> {
    match (name, identifier) {
        (Some(name), None) if logic::is_group_name(name) => Ok(name.to_owned()),
        (Some(identifier), None) | (None, Some(identifier)) => {
            logic::group_name(identifier, context.account, &context.region)
        }
        (Some(_), Some(_)) => {
            Err(Error::Invalid("LogGroupName and LogGroupIdentifier cannot both be given".to_owned()))
        }
        (None, None) => {
            Err(Error::Invalid("Either LogGroupName or LogGroupIdentifier is required".to_owned()))
        }
    }
}

pub(crate) fn arn(context: &Context, group: &str) -> String {
    context.arn("logs", &format!("log-group:{group}"))
}

fn limit(asked: Option<i64>, most: usize) -> usize {
    asked.and_then(|limit| usize::try_from(limit).ok()).map_or(most, |limit| limit.clamp(1, most))
}

impl Logs {
    /// Makes what functions have logged so far visible to the reads that follow.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        Ok(self.0.flush_logs().await?)
    }

    pub(crate) async fn create_log_group(
        &self,
        context: &Context,
        input: CreateLogGroupRequest,
    ) -> Result<(), Error> {
        if let Some(refusal) = input.unsupported() {
            return Err(refusal);
        }
        self.settle().await?;
        let (account, region, now) = (context.account, context.region.clone(), context.now);
        let tags = input.tags.unwrap_or_default();
        self.0
            .db
            .write(move |tx| {
                if !data::group_insert(tx, account, &region, &input.log_group_name, now)? {
                    return Err(Error::GroupExists);
                }
                let group = find(tx, account, &region, &input.log_group_name)?;
                tags.iter().try_for_each(|(name, value)| Ok(data::tag_set(tx, group.id, name, value)?))
            })
            .await
    }

    pub(crate) async fn delete_log_group(&self, context: &Context, input: GroupRequest) -> Result<(), Error> {
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        self.0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &input.log_group_name)?;
                data::group_delete(tx, group.id)?;
                Ok(data::trash_add(tx, group.id, 0)?)
            })
            .await
    }

    pub(crate) async fn describe_log_groups(
        &self,
        context: &Context,
        input: DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, Error> {
        if input.include_linked_accounts == Some(true)
            || input.account_identifiers.is_some_and(|a| !a.is_empty())
        {
            let reason = "accounts are not linked";
            return Err(Error::Unsupported { member: "includeLinkedAccounts", reason });
        }
        if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
            let reason = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.";
            return Err(Error::Invalid(reason.to_owned()));
        }
        let other_filter = input.log_group_name_prefix.is_some()
            || input.log_group_name_pattern.is_some()
            || input.log_group_class.is_some();
        if input.log_group_identifiers.is_some() && other_filter {
            let reason = "logGroupIdentifiers cannot be combined with other filters.";
            return Err(Error::Invalid(reason.to_owned()));
        }
        if input.log_group_class.is_some_and(|class| class != "STANDARD") {
            return Ok(DescribeLogGroupsResponse { log_groups: Vec::new(), next_token: None });
        }
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        let names = match input.log_group_identifiers {
            None => None,
            Some(identifiers) => {
                let named = |identifier: &String| logic::group_name(identifier, account, &region);
                Some(identifiers.iter().map(named).collect::<Result<Vec<_>, _>>()?)
            }
        };
        let most = limit(input.limit, 50);
        let from = input.log_group_name_prefix.unwrap_or_default();
        let below = format!("{from}{ABOVE}");
        let like = like(input.log_group_name_pattern.as_deref().unwrap_or_default());
        let after = input.next_token.unwrap_or_default();
        if !after.is_empty() && !logic::is_group_name(&after) {
            return Err(logic::bad_token());
        }
        let (groups, more) = self
            .0
            .db
            .read(move |tx| {
                let mut groups = Vec::new();
                match &names {
                    Some(names) => {
                        for name in names {
                            groups.extend(data::group_find(tx, account, &region, name)?);
                        }
                    }
                    None => {
                        groups = data::groups(
                            tx,
                            account,
                            &region,
                            &after,
                            &from,
                            &below,
                            &like,
                            most as i64 + 1,
                        )?;
                    }
                }
                let more = groups.len() > most;
                groups.truncate(most);
                let with_bytes = groups
                    .into_iter()
                    .map(|group| {
                        let bytes = data::group_bytes(tx, group.id)?;
                        Ok((group, bytes))
                    })
                    .collect::<Result<Vec<_>, Error>>()?;
                Ok::<_, Error>((with_bytes, more))
            })
            .await?;
        let next_token = groups.last().filter(|_| more).map(|(group, _)| group.name.clone());
        let log_groups = groups
            .into_iter()
            .map(|(group, stored_bytes)| LogGroup {
                creation_time: group.created.0,
                retention_in_days: group.retention_days,
                metric_filter_count: 0,
                arn: format!("{}:*", arn(context, &group.name)),
                stored_bytes,
                log_group_class: "STANDARD",
                log_group_arn: arn(context, &group.name),
                log_group_name: group.name,
            })
            .collect();
        Ok(DescribeLogGroupsResponse { log_groups, next_token })
    }

    pub(crate) async fn create_log_stream(
        &self,
        context: &Context,
        input: StreamRequest,
    ) -> Result<(), Error> {
        self.settle().await?;
        let (account, region, now) = (context.account, context.region.clone(), context.now);
        self.0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &input.log_group_name)?;
                if data::stream_insert(tx, group.id, &input.log_stream_name, false, now)? {
                    Ok(())
                } else {
                    Err(Error::StreamExists)
                }
            })
            .await
    }

    pub(crate) async fn delete_log_stream(
        &self,
        context: &Context,
        input: StreamRequest,
    ) -> Result<(), Error> {
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        self.0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &input.log_group_name)?;
                let stream =
                    data::stream_id(tx, group.id, &input.log_stream_name)?.ok_or(Error::NoSuchStream)?;
                data::stream_delete(tx, stream)?;
                Ok(data::trash_add(tx, group.id, stream)?)
            })
            .await
    }

    pub(crate) async fn describe_log_streams(
        &self,
        context: &Context,
        input: DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, Error> {
        let name = named(context, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
        let by_last = input.order_by.as_deref() == Some("LastEventTime");
        if by_last && input.log_stream_name_prefix.is_some() {
            let reason = "Cannot order by LastEventTime with a logStreamNamePrefix.";
            return Err(Error::Invalid(reason.to_owned()));
        }
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        let most = limit(input.limit, 50);
        let descending = input.descending == Some(true);
        let from = input.log_stream_name_prefix.unwrap_or_default();
        let below = format!("{from}{ABOVE}");
        let beyond = match &input.next_token {
            None => None,
            Some(token) => Some(stream_token(token, by_last)?),
        };
        let group_name = name.clone();
        let mut streams = self
            .0
            .db
            .read(move |tx| {
                let group = find(tx, account, &region, &group_name)?.id;
                let beyond = beyond.as_ref().map(|(last, name)| (*last, name.as_str()));
                let rows = most as i64 + 1;
                Ok::<_, Error>(if by_last {
                    data::streams_by_last(tx, group, descending, beyond, rows)?
                } else {
                    let beyond = beyond.map(|(_, name)| name);
                    data::streams_by_name(tx, group, descending, beyond, &from, &below, rows)?
                })
            })
            .await?;
        let more = streams.len() > most;
        streams.truncate(most);
        let next_token = streams.last().filter(|_| more).map(|last| stream_token_text(last, by_last));
        let log_streams = streams.into_iter().map(|stream| shown(context, &name, stream)).collect();
        Ok(DescribeLogStreamsResponse { log_streams, next_token })
    }

    pub(crate) async fn put_log_events(
        &self,
        context: &Context,
        input: PutLogEventsRequest,
    ) -> Result<PutLogEventsResponse, Error> {
        if input.entity.is_some() {
            return Err(Error::Unsupported {
                member: "entity",
                reason: "events are not related to entities",
            });
        }
        let (account, region, now) = (context.account, context.region.clone(), context.now);
        let PutLogEventsRequest { log_group_name: group, log_stream_name: stream, log_events, .. } = input;
        let events: Vec<(i64, String)> = log_events.into_iter().map(|e| (e.timestamp, e.message)).collect();
        self.settle().await?;
        let cutoff = {
            let (region, group, stream) = (region.clone(), group.clone(), stream.clone());
            self.0
                .db
                .read(move |tx| {
                    let group = find(tx, account, &region, &group)?;
                    data::stream_id(tx, group.id, &stream)?.ok_or(Error::NoSuchStream)?;
                    Ok::<_, Error>(group.cutoff(now))
                })
                .await?
        };
        let (accepted, rejected) = logic::admit(&events, cutoff, now)?;
        let sequences = self.0.buffer.sequences(now, events.len());
        let accepted: Vec<Event> = events
            .into_iter()
            .zip(sequences)
            .skip(accepted.start)
            .take(accepted.len())
            .map(|((at, message), seq)| Event { position: Position { at, seq }, ingested: now.0, message })
            .collect();
        let place = Place { account, region: region.clone() };
        let mut points = Points::new();
        for found in accepted.iter().filter_map(|event| embedded::points(&place, &event.message, now)) {
            for (key, slots) in found {
                slots.into_iter().for_each(|(slot, one)| gather(&mut points, key.clone(), slot, one));
            }
        }
        let metrics_max = self.0.settings.metrics_max;
        let chunks = chunk::pack(&accepted).map_err(|error| store::Error::decode("log events", error))?;
        let left_out = self
            .0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &group)?;
                let stream = data::stream_id(tx, group.id, &stream)?.ok_or(Error::NoSuchStream)?;
                chunks
                    .iter()
                    .try_for_each(|chunk| Ok::<_, Error>(data::chunk_insert(tx, group.id, stream, chunk)?))?;
                // Embedded metrics are as durable as the events that they are part of.
                Ok::<_, Error>(cloudwatch::data::points_add(tx, &points, metrics_max)?)
            })
            .await?;
        self.0.metrics.metric_points_dropped.inc_by(left_out as u64);
        let refused = rejected != logic::Rejected::default();
        Ok(PutLogEventsResponse {
            next_sequence_token: SEQUENCE_TOKEN,
            rejected_log_events_info: refused.then_some(RejectedLogEventsInfo {
                too_new_log_event_start_index: rejected.too_new_from,
                too_old_log_event_end_index: rejected.too_old_until,
                expired_log_event_end_index: rejected.expired_until,
            }),
        })
    }

    /// Nothing is masked, so `unmask` changes nothing but the permission that is needed.
    fn permit_unmask(&self, context: &Context, unmask: Option<bool>, group: &str) -> Result<(), Error> {
        if unmask == Some(true) {
            context.authorize("logs:Unmask", &format!("{}:*", arn(context, group)))?;
        }
        Ok(())
    }

    pub(crate) async fn get_log_events(
        &self,
        context: &Context,
        input: GetLogEventsRequest,
    ) -> Result<GetLogEventsResponse, Error> {
        let name = named(context, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
        self.permit_unmask(context, input.unmask, &name)?;
        let asked = input.next_token.as_deref().map(Token::parse).transpose()?;
        let direction = match (asked, input.start_from_head) {
            (Some(token), _) => token.direction,
            (None, Some(true)) => Direction::Forward,
            (None, Some(false) | None) => Direction::Backward,
        };
        self.settle().await?;
        let (account, region, now) = (context.account, context.region.clone(), context.now);
        let most = limit(input.limit, logic::EVENTS_MAX);
        let (start, end, stream_name) = (input.start_time, input.end_time, input.log_stream_name);
        let (Page { mut events, reached }, range) = self
            .0
            .db
            .read(move |tx| {
                let group = find(tx, account, &region, &name)?;
                let stream = data::stream_id(tx, group.id, &stream_name)?.ok_or(Error::NoSuchStream)?;
                let range = Range::of(start, end, group.cutoff(now));
                let query = Query {
                    group: group.id,
                    scope: Scope::Stream(stream),
                    streams: Streams::All,
                    range: asked.map_or(range, |token| range.beyond(token.position, direction)),
                    direction,
                    limit: most,
                    pattern: Arc::new(Pattern::ALL),
                };
                Ok::<_, Error>((search::page(tx, &query)?, range))
            })
            .await?;
        if direction == Direction::Backward {
            events.reverse();
        }
        let first = events.first().map(|found| found.event.position);
        let last = events.last().map(|found| found.event.position);
        let (forward, backward) = logic::page_tokens(first, last, reached, asked, range);
        let events = events.into_iter().map(|found| OutputLogEvent {
            timestamp: found.event.position.at,
            message: found.event.message,
            ingestion_time: found.event.ingested,
        });
        Ok(GetLogEventsResponse {
            events: events.collect(),
            next_forward_token: forward.text(),
            next_backward_token: backward.text(),
        })
    }

    pub(crate) async fn filter_log_events(
        &self,
        context: &Context,
        input: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, Error> {
        let name = named(context, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
        self.permit_unmask(context, input.unmask, &name)?;
        let streams = match (input.log_stream_names, input.log_stream_name_prefix) {
            (Some(_), Some(_)) => {
                let reason = "logStreamNames and logStreamNamePrefix cannot both be given.";
                return Err(Error::Invalid(reason.to_owned()));
            }
            (Some(names), None) => Streams::Named(names.into_iter().collect()),
            (None, Some(prefix)) => Streams::Prefix(prefix),
            (None, None) => Streams::All,
        };
        let pattern = Arc::new(Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())?);
        let after = match &input.next_token {
            None => None,
            Some(token) => Some(logic::parse_position(token).ok_or_else(logic::bad_token)?),
        };
        self.settle().await?;
        let (account, region, now) = (context.account, context.region.clone(), context.now);
        let most = limit(input.limit, logic::EVENTS_MAX);
        // The end is included here, unlike in GetLogEvents.
        let (start, end) = (input.start_time, input.end_time.map(|end| end.saturating_add(1)));
        let page = self
            .0
            .db
            .read(move |tx| {
                let group = find(tx, account, &region, &name)?;
                let range = Range::of(start, end, group.cutoff(now));
                let query = Query {
                    group: group.id,
                    scope: scope(tx, group.id, &streams)?,
                    streams: streams.clone(),
                    range: after.map_or(range, |position| range.beyond(position, Direction::Forward)),
                    direction: Direction::Forward,
                    limit: most,
                    pattern: Arc::clone(&pattern),
                };
                search::page(tx, &query)
            })
            .await?;
        let events = page.events.into_iter().map(|found| FilteredLogEvent {
            event_id: logic::event_id(found.stream, found.event.position),
            log_stream_name: found.stream_name.to_string(),
            timestamp: found.event.position.at,
            message: found.event.message,
            ingestion_time: found.event.ingested,
        });
        Ok(FilterLogEventsResponse {
            events: events.collect(),
            searched_log_streams: [],
            next_token: page.reached.map(logic::position_text),
        })
    }

    async fn retain(&self, context: &Context, group: String, days: Option<u32>) -> Result<(), Error> {
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        self.0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &group)?;
                Ok(data::group_retain(tx, group.id, days)?)
            })
            .await
    }

    pub(crate) async fn put_retention_policy(
        &self,
        context: &Context,
        input: PutRetentionPolicyRequest,
    ) -> Result<(), Error> {
        let days = u32::try_from(input.retention_in_days).ok();
        self.retain(context, input.log_group_name, days).await
    }

    pub(crate) async fn delete_retention_policy(
        &self,
        context: &Context,
        input: GroupRequest,
    ) -> Result<(), Error> {
        self.retain(context, input.log_group_name, None).await
    }

    async fn tag(
        &self,
        context: &Context,
        group: String,
        tags: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        self.0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &group)?.id;
                let mut all = data::tags(tx, group)?;
                all.extend(tags.clone());
                if all.len() > logic::TAGS_MAX {
                    return Err(Error::TooManyTags { got: all.len(), max: logic::TAGS_MAX });
                }
                tags.iter().try_for_each(|(name, value)| Ok(data::tag_set(tx, group, name, value)?))
            })
            .await
    }

    async fn untag(&self, context: &Context, group: String, names: Vec<String>) -> Result<(), Error> {
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        self.0
            .db
            .write(move |tx| {
                let group = find(tx, account, &region, &group)?.id;
                names.iter().try_for_each(|name| Ok(data::tag_delete(tx, group, name)?))
            })
            .await
    }

    async fn tags_of(&self, context: &Context, group: String) -> Result<TagsResponse, Error> {
        self.settle().await?;
        let (account, region) = (context.account, context.region.clone());
        let tags = self
            .0
            .db
            .read(move |tx| {
                let group = find(tx, account, &region, &group)?.id;
                Ok::<_, Error>(data::tags(tx, group)?)
            })
            .await?;
        Ok(TagsResponse { tags })
    }

    pub(crate) async fn tag_resource(
        &self,
        context: &Context,
        input: TagResourceRequest,
    ) -> Result<(), Error> {
        let group = named(context, None, Some(&input.resource_arn))?;
        self.tag(context, group, input.tags).await
    }

    pub(crate) async fn untag_resource(
        &self,
        context: &Context,
        input: UntagResourceRequest,
    ) -> Result<(), Error> {
        let group = named(context, None, Some(&input.resource_arn))?;
        self.untag(context, group, input.tag_keys).await
    }

    pub(crate) async fn list_tags_for_resource(
        &self,
        context: &Context,
        input: ListTagsForResourceRequest,
    ) -> Result<TagsResponse, Error> {
        let group = named(context, None, Some(&input.resource_arn))?;
        self.tags_of(context, group).await
    }

    pub(crate) async fn tag_log_group(
        &self,
        context: &Context,
        input: TagLogGroupRequest,
    ) -> Result<(), Error> {
        self.tag(context, input.log_group_name, input.tags).await
    }

    pub(crate) async fn untag_log_group(
        &self,
        context: &Context,
        input: UntagLogGroupRequest,
    ) -> Result<(), Error> {
        self.untag(context, input.log_group_name, input.tags).await
    }

    pub(crate) async fn list_tags_log_group(
        &self,
        context: &Context,
        input: GroupRequest,
    ) -> Result<TagsResponse, Error> {
        self.tags_of(context, input.log_group_name).await
    }
}

/// One stream is read by itself; all named streams must be there, as in AWS.
fn scope(tx: &mut Tx<'_>, group: i64, streams: &Streams) -> Result<Scope, Error> {
    let Streams::Named(names) = streams else { return Ok(Scope::Group(group)) };
    let mut ids = Vec::new();
    for name in names {
        ids.push(data::stream_id(tx, group, name)?.ok_or(Error::NoSuchStream)?);
    }
    Ok(match ids[..] {
        [only] => Scope::Stream(only),
        _ => Scope::Group(group),
    })
}

/// A `LIKE` pattern for texts that contain `text`.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if "%_\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// `n/NAME`, or `t/LAST/NAME` where streams are ordered by their last event.
fn stream_token_text(last: &Stream, by_last: bool) -> String {
    if by_last { format!("t/{}/{}", last.last, last.name) } else { format!("n/{}", last.name) }
}

fn stream_token(token: &str, by_last: bool) -> Result<(i64, String), Error> {
    let parsed = match (token.split_once('/'), by_last) {
        (Some(("n", name)), false) => Some((0, name.to_owned())),
        (Some(("t", rest)), true) => {
            rest.split_once('/').and_then(|(last, name)| Some((last.parse().ok()?, name.to_owned())))
        }
        _ => None,
    };
    parsed.filter(|(_, name)| logic::is_stream_name(name)).ok_or_else(logic::bad_token)
}

fn shown(context: &Context, group: &str, stream: Stream) -> LogStream {
    let when = |time: i64| (time > 0).then_some(time);
    LogStream {
        creation_time: stream.created.0,
        first_event_timestamp: when(stream.first),
        last_event_timestamp: when(stream.last),
        last_ingestion_time: when(stream.ingested),
        upload_sequence_token: SEQUENCE_TOKEN,
        arn: format!("{}:log-stream:{}", arn(context, group), stream.name),
        stored_bytes: stream.bytes,
        log_stream_name: stream.name,
    }
}
