//! What the operations on alarms do.

use super::{
    data::{self, Alarm, Change, History, Wanted},
    definition,
    evaluation::State,
    tags, tasks,
};
use crate::{
    api::{alarms::*, monitoring::Monitoring},
    cloudwatch::{
        error::Error,
        logic::{self, Place},
        ops::place,
    },
};
use serde_json::json;
use wire::{Context, Time};

/// Alarms of one account and region. Source: CloudWatch service quotas.
const ALARMS_MAX: i64 = 5_000;
/// Names in one request.
const NAMES_MAX: usize = 100;
/// Items of a page: at most, and by default.
const RECORDS_MAX: i64 = 100;
const RECORDS: i64 = 50;
/// Alarms looked through at once.
const ROWS: i64 = 200;
const KINDS: [&str; 3] = ["ConfigurationUpdate", "StateUpdate", "Action"];

pub(super) fn arn(place: &Place, name: &str) -> String {
    format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", place.region, place.account)
}

fn names(given: Vec<String>) -> Result<Vec<String>, Error> {
    if given.is_empty() || given.len() > NAMES_MAX {
        return Err(Error::Validation(format!(
            "AlarmNames must have 1 to {NAMES_MAX} members: {}",
            given.len()
        )));
    }
    for name in &given {
        definition::name("AlarmNames", Some(name))?;
    }
    Ok(given)
}

fn records(given: Option<i64>) -> Result<usize, Error> {
    let records = given.unwrap_or(RECORDS);
    match usize::try_from(records) {
        Ok(count) if (1..=RECORDS_MAX).contains(&records) => Ok(count),
        _ => Err(Error::Validation(format!("MaxRecords must be between 1 and {RECORDS_MAX}: {records}"))),
    }
}

fn only_metric_alarms(types: &[String]) -> Result<bool, Error> {
    let known = ["MetricAlarm", "CompositeAlarm", "LogAlarm"];
    if let Some(other) = types.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(Error::Validation(format!("AlarmTypes must be of {}: {other}", known.join(", "))));
    }
    Ok(types.is_empty() || types.iter().any(|kind| kind == "MetricAlarm"))
}

impl Monitoring {
    pub(crate) fn put_alarm(&self, context: &Context, input: &MetricAlarm) -> String {
        arn(&place(context), input.alarm_name.as_deref().unwrap_or_default())
    }

    pub(crate) fn set_alarm(&self, context: &Context, input: &SetAlarmStateRequest) -> String {
        arn(&place(context), input.alarm_name.as_deref().unwrap_or_default())
    }

    pub(crate) async fn put_metric_alarm(&self, context: &Context, input: MetricAlarm) -> Result<(), Error> {
        let place = place(context);
        let checked = definition::check(&place, &input)?;
        let name = definition::name("AlarmName", input.alarm_name.as_deref())?.to_owned();
        let enabled = input.actions_enabled.unwrap_or(true);
        let labels = tags::check(input.tags.as_deref().unwrap_or_default())?;
        if !labels.is_empty() {
            context.authorize("cloudwatch:TagResource", &arn(&place, &name))?;
        }
        let stored = MetricAlarm { actions_enabled: None, ..input };
        let stored = serde_json::to_string(&stored)
            .map_err(|error| store::Error::decode("alarm definition", error))?;
        let (every, now) = (tasks::every(checked.period), context.now);
        let (at, named) = (place.clone(), name.clone());
        self.0
            .db
            .write(move |tx| {
                let change = match data::find(tx, &at, &named)? {
                    Some(_) => {
                        data::redefine(tx, &at, &named, &stored, enabled, every, now)?;
                        "updated"
                    }
                    None if data::count(tx, &at)? >= ALARMS_MAX => {
                        return Err(Error::Limit(format!(
                            "There are {ALARMS_MAX} alarms already, the most of a region."
                        )));
                    }
                    None => {
                        let reason = "Unchecked: Initial alarm creation";
                        data::insert(tx, &at, &named, &stored, enabled, every, reason, now)?;
                        for (name, value) in &labels {
                            data::tag_set(tx, &at, &named, name, value)?;
                        }
                        "created"
                    }
                };
                configured(tx, &at, &named, change, now)
            })
            .await?;
        self.0.alarms_wait.notify_one();
        // At once, so that whoever asks next sees what it is; the background goes on with it.
        let found = self.0.db.read(move |tx| data::find(tx, &place, &name)).await?;
        self.0.flush_metrics().await?;
        if let Some(alarm) = found
            && let Err(error) = self.0.evaluate_alarm(&alarm).await
        {
            tracing::warn!(%error, alarm = alarm.name, "a new alarm could not be evaluated, tried again later");
        }
        Ok(())
    }

    pub(crate) async fn describe_alarms(
        &self,
        context: &Context,
        input: DescribeAlarmsRequest,
    ) -> Result<DescribeAlarmsResponse, Error> {
        if input.children_of_alarm_name.is_some() || input.parents_of_alarm_name.is_some() {
            return Err(Error::unsupported(
                "ChildrenOfAlarmName and ParentsOfAlarmName",
                "there are no composite alarms",
            ));
        }
        let most = records(input.max_records)?;
        let state = match input.state_value.as_deref() {
            None => None,
            Some(name) => Some(state(name)?),
        };
        if input.alarm_names.len() > NAMES_MAX {
            return Err(Error::Validation(format!("AlarmNames must have at most {NAMES_MAX} members")));
        }
        if !input.alarm_names.is_empty() && input.alarm_name_prefix.is_some() {
            return Err(Error::Validation("AlarmNames and AlarmNamePrefix cannot both be given".to_owned()));
        }
        let wanted = only_metric_alarms(&input.alarm_types)?;
        let (names, prefix) = (input.alarm_names, input.alarm_name_prefix.unwrap_or_default());
        let action = input.action_prefix;
        let place = place(context);
        let mut after = input.next_token.unwrap_or_default();
        if !after.is_empty() && definition::name("NextToken", Some(&after)).is_err() {
            return Err(Error::Token(after.chars().take(64).collect()));
        }
        let mut found = self
            .0
            .db
            .read(move |tx| {
                let mut found = Vec::new();
                loop {
                    let rows = data::list(tx, &place, &after, ROWS)?;
                    let end = (rows.len() as i64) < ROWS;
                    after = rows.last().map(|row| row.name.clone()).unwrap_or_default();
                    let rows = rows.into_iter().filter(|row| {
                        (names.is_empty() || names.contains(&row.name))
                            && row.name.starts_with(&prefix)
                            && state.is_none_or(|state| state == row.state)
                    });
                    for row in rows {
                        let shown = shown(&row)?;
                        if action.as_ref().is_none_or(|prefix| has_action(&shown, prefix)) {
                            found.push(shown);
                        }
                    }
                    if end || !wanted || found.len() > most {
                        return Ok::<_, Error>(found);
                    }
                }
            })
            .await?;
        if !wanted {
            found.clear();
        }
        let more = found.len() > most;
        found.truncate(most);
        let next_token = found.last().filter(|_| more).and_then(|last| last.alarm_name.clone());
        Ok(DescribeAlarmsResponse { metric_alarms: found, composite_alarms: [], next_token })
    }

    pub(crate) async fn describe_alarms_for_metric(
        &self,
        context: &Context,
        input: DescribeAlarmsForMetricRequest,
    ) -> Result<DescribeAlarmsForMetricResponse, Error> {
        logic::namespace(input.namespace.as_deref())?;
        logic::metric_name("MetricName", input.metric_name.as_deref())?;
        let dimensions = logic::dimensions("Dimensions", &input.dimensions)?;
        let place = place(context);
        let metric_alarms = self
            .0
            .db
            .read(move |tx| {
                let mut found = Vec::new();
                let mut after = String::new();
                loop {
                    let rows = data::list(tx, &place, &after, ROWS)?;
                    for row in &rows {
                        let shown = shown(row)?;
                        let asked =
                            |given: &Option<String>, own: &Option<String>| given.is_none() || given == own;
                        let same = shown.metric_name == input.metric_name
                            && shown.namespace == input.namespace
                            && logic::dimensions("Dimensions", &shown.dimensions)? == dimensions
                            && asked(&input.statistic, &shown.statistic)
                            && asked(&input.extended_statistic, &shown.extended_statistic)
                            && asked(&input.unit, &shown.unit)
                            && (input.period.is_none() || input.period == shown.period);
                        if same {
                            found.push(shown);
                        }
                    }
                    match rows.last() {
                        Some(last) if rows.len() as i64 == ROWS => after = last.name.clone(),
                        _ => return Ok::<_, Error>(found),
                    }
                }
            })
            .await?;
        Ok(DescribeAlarmsForMetricResponse { metric_alarms })
    }

    pub(crate) async fn delete_alarms(
        &self,
        context: &Context,
        input: AlarmNamesRequest,
    ) -> Result<(), Error> {
        let (place, now, names) = (place(context), context.now, names(input.alarm_names)?);
        self.0
            .db
            .write(move |tx| {
                for name in &names {
                    if data::delete(tx, &place, name)? {
                        configured(tx, &place, name, "deleted", now)?;
                    }
                }
                Ok(())
            })
            .await
    }

    pub(crate) async fn enable_alarm_actions(
        &self,
        context: &Context,
        input: AlarmNamesRequest,
    ) -> Result<(), Error> {
        self.enable(context, input, true).await
    }

    pub(crate) async fn disable_alarm_actions(
        &self,
        context: &Context,
        input: AlarmNamesRequest,
    ) -> Result<(), Error> {
        self.enable(context, input, false).await
    }

    async fn enable(&self, context: &Context, input: AlarmNamesRequest, enabled: bool) -> Result<(), Error> {
        let (place, now, names) = (place(context), context.now, names(input.alarm_names)?);
        self.0
            .db
            .write(move |tx| {
                for name in &names {
                    if data::enable(tx, &place, name, enabled, now)? {
                        configured(tx, &place, name, "updated", now)?;
                    }
                }
                Ok(())
            })
            .await
    }

    pub(crate) async fn set_alarm_state(
        &self,
        context: &Context,
        input: SetAlarmStateRequest,
    ) -> Result<(), Error> {
        let name = definition::name("AlarmName", input.alarm_name.as_deref())?.to_owned();
        let state = state(&input.state_value.ok_or_else(|| logic::missing("StateValue"))?)?;
        let reason = input.state_reason.ok_or_else(|| logic::missing("StateReason"))?;
        if reason.chars().count() > 1_023 || reason.contains('\0') {
            return Err(Error::Validation("StateReason must have at most 1023 characters".to_owned()));
        }
        if let Some(data) = &input.state_reason_data {
            if data.chars().count() > 4_000 {
                return Err(Error::Validation(
                    "StateReasonData must have at most 4000 characters".to_owned(),
                ));
            }
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(data) {
                return Err(Error::Format(format!("StateReasonData is not JSON: {error}")));
            }
        }
        let change = Change { state, reason, reason_data: input.state_reason_data };
        let (place, now) = (place(context), context.now);
        // A state that is set meanwhile by the evaluation is overwritten by a second attempt.
        loop {
            let (at, named) = (place.clone(), name.clone());
            let found = self.0.db.read(move |tx| data::find(tx, &at, &named)).await?;
            let alarm = found.ok_or_else(|| Error::NotFound(format!("Unknown alarm: {name}")))?;
            if self.0.change_state(&alarm, change.clone(), now).await? {
                return Ok(());
            }
        }
    }

    pub(crate) async fn describe_alarm_history(
        &self,
        context: &Context,
        input: DescribeAlarmHistoryRequest,
    ) -> Result<DescribeAlarmHistoryResponse, Error> {
        if input.alarm_contributor_id.is_some() {
            return Err(Error::unsupported("AlarmContributorId", "alarms have no contributors"));
        }
        let most = records(input.max_records)?;
        if let Some(name) = &input.alarm_name {
            definition::name("AlarmName", Some(name))?;
        }
        if let Some(kind) = &input.history_item_type
            && !KINDS.contains(&kind.as_str())
        {
            return Err(Error::Validation(format!(
                "HistoryItemType must be of {}: {kind}",
                KINDS.join(", ")
            )));
        }
        let ascending = match input.scan_by.as_deref() {
            None | Some("TimestampDescending") => false,
            Some("TimestampAscending") => true,
            Some(other) => {
                return Err(Error::Validation(format!(
                    "ScanBy must be TimestampDescending or TimestampAscending: {other}"
                )));
            }
        };
        if !only_metric_alarms(&input.alarm_types)? {
            return Ok(DescribeAlarmHistoryResponse { alarm_history_items: Vec::new(), next_token: None });
        }
        let beyond = match &input.next_token {
            None if ascending => (i64::MIN, i64::MIN),
            None => (i64::MAX, i64::MAX),
            Some(token) => token
                .split_once('.')
                .and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)))
                .ok_or_else(|| Error::Token(token.chars().take(64).collect()))?,
        };
        let wanted = Wanted {
            name: input.alarm_name,
            kind: input.history_item_type,
            from: input.start_date.map_or(i64::MIN, |time| time.0.0),
            until: input.end_date.map_or(i64::MAX, |time| time.0.0),
            ascending,
        };
        let place = place(context);
        let mut found: Vec<History> =
            self.0.db.read(move |tx| data::history(tx, &place, &wanted, beyond, most as i64 + 1)).await?;
        let more = found.len() > most;
        found.truncate(most);
        let next_token = found.last().filter(|_| more).map(|last| format!("{}.{}", last.at.0, last.id));
        let alarm_history_items = found
            .into_iter()
            .map(|line| AlarmHistoryItem {
                alarm_name: line.name,
                alarm_type: "MetricAlarm",
                timestamp: Time(line.at),
                history_item_type: line.kind,
                history_summary: line.summary,
                history_data: line.data,
            })
            .collect();
        Ok(DescribeAlarmHistoryResponse { alarm_history_items, next_token })
    }
}

fn state(name: &str) -> Result<State, Error> {
    State::parse(name).ok_or_else(|| {
        Error::Validation(format!("StateValue must be of {}: {name}", State::NAMES.join(", ")))
    })
}

/// Notes in the history that an alarm was created, updated or deleted.
fn configured(
    tx: &mut store::Tx<'_>,
    place: &Place,
    name: &str,
    change: &str,
    now: base::Timestamp,
) -> Result<(), Error> {
    let kind = match change {
        "created" => "Create",
        "deleted" => "Delete",
        _ => "Update",
    };
    let data = json!({"version": "1.0", "type": kind}).to_string();
    let summary = format!("Alarm \"{name}\" {change}");
    Ok(data::history_add(tx, place, name, "ConfigurationUpdate", &clip(&summary), &data, now)?)
}

/// A summary of history has at most 255 characters.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(255).collect()
}

fn has_action(alarm: &MetricAlarm, prefix: &str) -> bool {
    let MetricAlarm { alarm_actions, ok_actions, insufficient_data_actions, .. } = alarm;
    [alarm_actions, ok_actions, insufficient_data_actions]
        .into_iter()
        .flatten()
        .any(|action| action.starts_with(prefix))
}

/// What clients see of an alarm.
fn shown(alarm: &Alarm) -> Result<MetricAlarm, Error> {
    let definition: MetricAlarm = tasks::definition(alarm)?;
    Ok(MetricAlarm {
        actions_enabled: Some(alarm.actions_enabled),
        alarm_arn: Some(arn(&alarm.place, &alarm.name)),
        alarm_configuration_updated_timestamp: Some(Time(alarm.configured)),
        state_value: Some(alarm.state.as_str()),
        state_reason: Some(alarm.reason.clone()),
        state_reason_data: alarm.reason_data.clone(),
        state_updated_timestamp: Some(Time(alarm.updated)),
        state_transitioned_timestamp: Some(Time(alarm.transitioned)),
        ..definition
    })
}
