//! Evaluating alarms, changing their states, and doing what follows.

use super::{
    data::{self, Action, Alarm, Change},
    definition::{self, Definition},
    evaluation::State,
    ops::{arn, clip},
};
use crate::{
    Inner,
    api::alarms::MetricAlarm,
    cloudwatch::{error::Error, ops::What},
};
use base::{NotInvoked, RequestId, ServiceCaller, Timestamp};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use store::{Commit, Tx};
use tokio::time;

/// Between evaluations of alarms with periods shorter than a minute, in seconds; of all others, a minute.
const FAST_S: i64 = 10;
const SLOW_S: i64 = 60;
/// Alarms and actions read at once.
const ROWS: i64 = 100;
/// An action that could not be done for so long is given up, which the history tells.
const ACTION_MAX_MS: i64 = 3_600_000;
/// History is kept for so long. Source: user guide, "alarm history".
const HISTORY_MS: i64 = 30 * 86_400_000;

/// How often an alarm with this period is evaluated, in seconds.
pub(crate) fn every(period: i64) -> i64 {
    if period < SLOW_S { FAST_S } else { SLOW_S }
}

/// The definition as it was given.
pub(crate) fn definition(alarm: &Alarm) -> Result<MetricAlarm, Error> {
    serde_json::from_str(&alarm.definition)
        .map_err(|error| store::Error::decode("alarm definition", error).into())
}

impl Inner {
    /// Evaluates alarms and does their actions for ever; with neither, it sleeps.
    pub(crate) async fn watch_alarms(&self) {
        for round in 0_i64.. {
            let every = if round % (SLOW_S / FAST_S) == 0 { SLOW_S } else { FAST_S };
            let any = match self.evaluate_alarms(every).await {
                Ok(any) => any,
                Err(error) => {
                    tracing::warn!(%error, "alarms could not be evaluated, tried again later");
                    true
                }
            };
            if every == SLOW_S
                && let Err(error) = self.expire_history().await
            {
                tracing::warn!(%error, "old history of alarms could not be removed, tried again later");
            }
            let waiting = self.do_actions_until_none_can_be().await;
            let tick = Duration::from_secs(FAST_S as u64);
            if any || waiting || every == FAST_S {
                tokio::select! {
                    () = time::sleep(tick) => {}
                    () = self.actions_wait.notified() => {
                        self.do_actions_until_none_can_be().await;
                        time::sleep(tick).await;
                    }
                }
            } else {
                self.alarms_wait.notified().await;
            }
        }
    }

    /// Evaluates all alarms that are evaluated at least every `every_s` seconds; whether there is any.
    pub(crate) async fn evaluate_alarms(&self, every_s: i64) -> Result<bool, Error> {
        let mut after = (String::new(), String::new(), String::new());
        let mut any = false;
        loop {
            let from = after.clone();
            let alarms =
                self.db.read(move |tx| data::due(tx, every_s, (&from.0, &from.1, &from.2), ROWS)).await?;
            let Some(last) = alarms.last() else { return Ok(any) };
            if !any {
                self.flush_metrics().await?;
            }
            any = true;
            after = (last.place.account.to_string(), last.place.region.to_string(), last.name.clone());
            for alarm in &alarms {
                if let Err(error) = self.evaluate_alarm(alarm).await {
                    tracing::warn!(%error, alarm = alarm.name, "an alarm could not be evaluated, tried again later");
                }
            }
        }
    }

    /// Evaluates one alarm; another change of it meanwhile wins.
    pub(crate) async fn evaluate_alarm(&self, alarm: &Alarm) -> Result<(), Error> {
        let Definition { queries, period, rule } = definition::check(&alarm.place, &definition(alarm)?)?;
        let now = self.clock.now();
        let seconds = now.0.div_euclid(1_000);
        // The last period ends with the last whole minute, or its own last end if it is shorter.
        let until = seconds - seconds.rem_euclid(period.min(SLOW_S));
        let range = i64::try_from(rule.range()).unwrap_or(i64::MAX);
        let from = until.saturating_sub(period.saturating_mul(range));
        let found = self.evaluate(&queries, (from * 1_000, until * 1_000), seconds, Some(until)).await?;
        let series = found.into_iter().next().map(|(_, series)| series).unwrap_or_default();
        let values: Vec<Option<f64>> =
            (1..=range).map(|back| series.points.get(&(until - back * period)).copied()).collect();
        let state = rule.state(&values, alarm.state);
        if state == alarm.state {
            return Ok(());
        }
        let recent: Vec<f64> = values.iter().take(rule.periods).copied().flatten().collect();
        let (count, words) = (recent.len(), rule.comparison.words());
        let (threshold, periods) = (rule.threshold, rule.periods);
        let reason = match state {
            State::Insufficient => format!("Insufficient Data: {periods} datapoints were unknown."),
            State::Alarm => format!(
                "Threshold Crossed: {count} of the last {periods} datapoints are known, {recent:?}, of which {} at least had to be \
                 {words} the threshold ({threshold:?}).",
                rule.to_alarm
            ),
            State::Ok => format!(
                "Threshold Crossed: {count} of the last {periods} datapoints are known, {recent:?}, of which fewer than {} were \
                 {words} the threshold ({threshold:?}).",
                rule.to_alarm
            ),
        };
        let evaluated: Vec<Value> = (1..=range)
            .zip(&values)
            .take(periods)
            .filter_map(|(back, value)| {
                Some(json!({"timestamp": text(Timestamp((until - back * period) * 1_000)), "value": (*value)?}))
            })
            .collect();
        let reason_data = json!({
            "version": "1.0", "queryDate": text(now), "startDate": text(Timestamp(from * 1_000)), "period": period,
            "recentDatapoints": recent, "threshold": threshold, "evaluatedDatapoints": evaluated,
        });
        let reason_data = Some(reason_data.to_string()).filter(|data| data.chars().count() <= 4_000);
        let reason = reason.chars().take(1_023).collect();
        self.change_state(alarm, Change { state, reason, reason_data }, now).await?;
        Ok(())
    }

    /// Sets a state, notes it and what is to be done, unless the alarm has changed since `seen` was read; whether it did.
    pub(crate) async fn change_state(
        &self,
        seen: &Alarm,
        change: Change,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let defined = definition(seen)?;
        let actions = match change.state {
            State::Ok => &defined.ok_actions,
            State::Alarm => &defined.alarm_actions,
            State::Insufficient => &defined.insufficient_data_actions,
        };
        let act = seen.actions_enabled && change.state != seen.state;
        let actions: Vec<(String, RequestId)> = match act {
            true => actions.iter().map(|action| (action.clone(), RequestId::new(&*self.entropy))).collect(),
            false => Vec::new(),
        };
        let payload = payload(seen, &defined, &change, now).to_string();
        let seen = seen.clone();
        let done = self
            .db
            .write(move |tx| {
                if !data::change(tx, &seen, &change, now)? {
                    return Ok::<_, Error>((false, false));
                }
                if change.state != seen.state {
                    note_change(tx, &seen, &change, now)?;
                }
                for (action, id) in &actions {
                    data::action_add(tx, &seen, action, *id, &payload, now)?;
                }
                Ok((true, !actions.is_empty()))
            })
            .await?;
        if done.1 {
            self.actions_wait.notify_one();
        }
        Ok(done.0)
    }

    /// Does what waits; whether something still does.
    async fn do_actions_until_none_can_be(&self) -> bool {
        match self.do_actions().await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%error, "actions of alarms could not be done, tried again later");
                true
            }
        }
    }

    /// Tries every action that waits once; whether any is left.
    pub(crate) async fn do_actions(&self) -> Result<bool, Error> {
        let Some(invoke) = self.invoke.get().map(Arc::clone) else { return Ok(false) };
        let (mut after, mut left) = (0, false);
        loop {
            let actions = self.db.read(move |tx| data::actions(tx, after, ROWS)).await?;
            let Some(last) = actions.last() else { return Ok(left) };
            after = last.id;
            for action in actions {
                let now = self.clock.now();
                let outcome = match definition::function(&action.place, &action.action) {
                    Some(function) => {
                        let payload = action.payload.clone().into_bytes().into();
                        invoke
                            .invoke_later(Some(caller(&action)), function, action.request_id, payload, None)
                            .await
                    }
                    None => Err(NotInvoked::Never("not a function of this account and region".to_owned())),
                };
                match outcome {
                    Err(NotInvoked::NotNow(why)) if now.0 - action.created.0 < ACTION_MAX_MS => {
                        tracing::warn!(
                            why,
                            alarm = action.name,
                            action = action.action,
                            "an action of an alarm waits"
                        );
                        left = true;
                    }
                    outcome => {
                        let failure = outcome.err().map(|why| why.to_string());
                        self.db.write(move |tx| finish(tx, &action, failure.as_deref(), now)).await?;
                    }
                }
            }
        }
    }

    pub(crate) async fn expire_history(&self) -> Result<(), store::Error> {
        let before = self.clock.now().plus_ms(-HISTORY_MS);
        let expire = move |tx: &mut Tx<'_>| {
            Ok::<_, store::Error>(data::history_expire(tx, before, ROWS)? == ROWS as u64)
        };
        while self.db.write_at(Commit::Written, expire).await? {}
        Ok(())
    }
}

/// Who the function's policy must allow to invoke it.
/// Source: user guide, "Invoke a Lambda function from an alarm".
fn caller(action: &Action) -> ServiceCaller {
    ServiceCaller {
        service: "lambda.alarms.cloudwatch.amazonaws.com",
        source_arn: arn(&action.place, &action.name),
        source_account: action.place.account,
    }
}

fn finish(tx: &mut Tx<'_>, action: &Action, failure: Option<&str>, now: Timestamp) -> Result<(), Error> {
    if !data::action_delete(tx, action.id)? {
        // Another node was faster: its line of history is there.
        return Ok(());
    }
    let (summary, state) = match failure {
        None => (format!("Successfully executed action {}", action.action), "Succeeded"),
        Some(why) => {
            (format!("Failed to execute action {}. Received error: \"{why}\"", action.action), "Failed")
        }
    };
    let data = json!({
        "version": "1.0", "actionState": state, "notificationResource": action.action,
        "publishedMessage": serde_json::from_str::<Value>(&action.payload).unwrap_or_default(), "error": failure,
    });
    let data = data.to_string().chars().take(4_095).collect::<String>();
    Ok(data::history_add(tx, &action.place, &action.name, "Action", &clip(&summary), &data, now)?)
}

fn note_change(tx: &mut Tx<'_>, seen: &Alarm, change: &Change, now: Timestamp) -> Result<(), Error> {
    let reason_data = |text: &Option<String>| {
        text.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default()
    };
    let full = json!({
        "version": "1.0",
        "oldState": {"stateValue": seen.state.as_str(), "stateReason": seen.reason,
            "stateReasonData": reason_data(&seen.reason_data)},
        "newState": {"stateValue": change.state.as_str(), "stateReason": change.reason,
            "stateReasonData": reason_data(&change.reason_data)},
    });
    let mut data = full.to_string();
    if data.chars().count() > 4_095 {
        let short = json!({"version": "1.0", "oldState": {"stateValue": seen.state.as_str()},
            "newState": {"stateValue": change.state.as_str()}});
        data = short.to_string();
    }
    let summary = format!("Alarm updated from {} to {}", seen.state.as_str(), change.state.as_str());
    Ok(data::history_add(tx, &seen.place, &seen.name, "StateUpdate", &summary, &data, now)?)
}

/// ISO 8601 with milliseconds, as events of alarms have it.
fn text(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
        Err(_) => time.0.to_string(),
    }
}

/// What a function is told. Source: user guide, "Invoke a Lambda function from an alarm".
fn payload(alarm: &Alarm, defined: &MetricAlarm, change: &Change, now: Timestamp) -> Value {
    let place = &alarm.place;
    let state = |value: State, reason: &str, data: &Option<String>, at: Timestamp| {
        let mut state = json!({"value": value.as_str(), "reason": reason, "timestamp": text(at)});
        if let (Some(data), Some(members)) = (data, state.as_object_mut()) {
            members.insert("reasonData".to_owned(), data.as_str().into());
        }
        state
    };
    let queries = definition::check(place, defined).map(|definition| definition.queries).unwrap_or_default();
    let given = |id: &str| defined.metrics.iter().find(|query| query.id.as_deref() == Some(id));
    let metrics: Vec<Value> = queries
        .iter()
        .map(|query| match &query.what {
            What::Measure(measure) => {
                let dimensions: serde_json::Map<String, Value> = measure
                    .key
                    .dimensions
                    .pairs()
                    .iter()
                    .map(|(name, value)| (name.clone(), value.as_str().into()))
                    .collect();
                let stat = given(&query.id)
                    .and_then(|query| query.metric_stat.as_ref()?.stat.clone())
                    .or_else(|| defined.statistic.clone())
                    .or_else(|| defined.extended_statistic.clone());
                json!({"id": query.id, "returnData": query.returned, "metricStat": {
                    "metric": {"namespace": measure.key.namespace, "name": measure.key.name, "dimensions": dimensions},
                    "period": measure.period, "stat": stat}})
            }
            What::Expression(_) => {
                let text = given(&query.id).and_then(|query| query.expression.clone());
                json!({"id": query.id, "returnData": query.returned, "expression": text})
            }
        })
        .collect();
    let mut configuration = json!({"metrics": metrics});
    if let (Some(text), Some(members)) = (&defined.alarm_description, configuration.as_object_mut()) {
        members.insert("description".to_owned(), text.as_str().into());
    }
    json!({
        "source": "aws.cloudwatch",
        "alarmArn": arn(place, &alarm.name),
        "accountId": place.account.to_string(),
        "time": text(now),
        "region": place.region.to_string(),
        "alarmData": {
            "alarmName": alarm.name,
            "state": state(change.state, &change.reason, &change.reason_data, now),
            "previousState": state(alarm.state, &alarm.reason, &alarm.reason_data, alarm.updated),
            "configuration": configuration,
        },
    })
}
