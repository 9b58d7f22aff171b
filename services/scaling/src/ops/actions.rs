//! PutScheduledAction, DescribeScheduledActions, DeleteScheduledAction.

use super::{
    DIMENSION, NAMESPACE, PAGE_MAX, count, listed, named, not_registered, page, page_size, place, required,
    resource_id, targets::ordered,
};
use crate::{
    Error, Scaling,
    api::{
        DeleteScheduledActionRequest, DescribeScheduledActionsRequest, DescribeScheduledActionsResponse,
        Nothing, PutScheduledActionRequest, ScalableTargetAction, ScheduledAction,
    },
    data::{self, Items},
    logic::schedule::Schedule,
    model::{self, Action, Plan},
};
use base::Timestamp;
use wire::{Context, Time};

/// Scheduled actions of a target. Source: Application Auto Scaling quotas.
const ACTIONS_MAX: usize = 200;
/// Characters of a name.
const NAME_MAX: usize = 256;

impl Scaling {
    pub(crate) async fn put_scheduled_action(
        &self,
        context: &Context,
        input: PutScheduledActionRequest,
    ) -> Result<Nothing, Error> {
        let of = named(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let [name] = required([("scheduledActionName", input.scheduled_action_name.as_ref())])?;
        check_name(name)?;
        let (name, id, now) = (name.to_owned(), self.fresh_id(), self.now());
        let bounds = input.scalable_target_action;
        let min =
            bounds.and_then(|bounds| bounds.min_capacity).map(|min| count("minCapacity", min)).transpose()?;
        let max =
            bounds.and_then(|bounds| bounds.max_capacity).map(|max| count("maxCapacity", max)).transpose()?;
        let (schedule, zone) = (input.schedule, input.timezone);
        let (start, end) = (input.start_time.map(|time| time.0), input.end_time.map(|time| time.0));
        self.db
            .write(move |tx| {
                data::target(tx, &of)?.ok_or_else(|| not_registered(&of))?;
                if data::count_others(tx, Items::Actions, &of, &name)? >= ACTIONS_MAX as i64 {
                    return Err(Error::TooMany { what: "scheduled actions of a target", max: ACTIONS_MAX });
                }
                let known = data::action(tx, &of, &name)?.map(|action| action.plan);
                let missing = || Error::invalid("Schedule is required for a new scheduled action");
                let before = known.as_ref();
                let schedule =
                    schedule.clone().or(before.map(|plan| plan.schedule.clone())).ok_or_else(missing)?;
                // A new action's bounds replace both old ones.
                let (min, max) = match (bounds, before) {
                    (None, Some(before)) => (before.min, before.max),
                    (_, _) => (min, max),
                };
                let plan = Plan {
                    id: before.map_or(id.clone(), |plan| plan.id.clone()),
                    schedule,
                    zone: zone.clone().or(before.and_then(|plan| plan.zone.clone())),
                    start,
                    end,
                    min,
                    max,
                    created: before.map_or(now, |plan| plan.created),
                    begun: now,
                };
                let next = checked(&plan, now)?;
                data::put_action(tx, &Action { of: of.clone(), name: name.clone(), plan, next: Some(next) })
            })
            .await?;
        self.work.notify_one();
        Ok(Nothing {})
    }

    pub(crate) async fn describe_scheduled_actions(
        &self,
        context: &Context,
        input: DescribeScheduledActionsRequest,
    ) -> Result<DescribeScheduledActionsResponse, Error> {
        let only = listed(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let names = input.scheduled_action_names.unwrap_or_default();
        let size = page_size(input.max_results, PAGE_MAX)?;
        let (account, region) = (context.account, context.region.clone());
        let read = |after| {
            let region = region.clone();
            self.db.read(move |tx| data::actions(tx, account, &region, &after, PAGE_MAX + 1))
        };
        let place_of =
            |action: &Action| (action.of.name.to_string(), action.of.qualifier.clone(), action.name.clone());
        let wanted = |action: &Action| {
            only.as_ref().is_none_or(|only| *only == action.of)
                && (names.is_empty() || names.contains(&action.name))
        };
        let first = place(input.next_token.as_deref())?;
        let (actions, next_token) = page(first, size, read, place_of, wanted).await?;
        Ok(DescribeScheduledActionsResponse {
            scheduled_actions: actions.into_iter().map(shown).collect(),
            next_token,
        })
    }

    pub(crate) async fn delete_scheduled_action(
        &self,
        context: &Context,
        input: DeleteScheduledActionRequest,
    ) -> Result<Nothing, Error> {
        let of = named(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let [name] = required([("scheduledActionName", input.scheduled_action_name.as_ref())])?;
        let (name, resource) = (name.to_owned(), resource_id(&of));
        let gone = name.clone();
        match self.db.write(move |tx| data::delete_item(tx, Items::Actions, &of, &gone)).await? {
            true => Ok(Nothing {}),
            false => Err(Error::NoObject(format!(
                "No scheduled action found for service namespace: {NAMESPACE}, resource ID: {resource}, scheduled action name: {name}"
            ))),
        }
    }
}

/// When a plan runs first, or why it cannot be one.
fn checked(plan: &Plan, now: Timestamp) -> Result<Timestamp, Error> {
    let schedule: Schedule = (plan.schedule.parse())
        .map_err(|error| Error::invalid(format!("Schedule {:?} is not valid: {error}", plan.schedule)))?;
    if let Some(zone) = plan.zone.as_deref() {
        if !schedule.is_zoned() {
            return Err(Error::invalid("Timezone means nothing to a rate; it is for at and cron"));
        }
        model::zone(zone)
            .ok_or_else(|| Error::invalid(format!("Timezone {zone:?} is none of the IANA's database")))?;
    }
    if matches!(schedule, Schedule::At(_)) && (plan.start.is_some() || plan.end.is_some()) {
        return Err(Error::invalid(
            "StartTime and EndTime are for schedules that come again, which at does not",
        ));
    }
    if plan.min.is_none() && plan.max.is_none() {
        return Err(Error::invalid("ScalableTargetAction must have MinCapacity, MaxCapacity or both"));
    }
    if let (Some(min), Some(max)) = (plan.min, plan.max) {
        ordered(min, max)?;
    }
    if plan.end.is_some_and(|end| end <= now || plan.start.is_some_and(|start| end <= start)) {
        return Err(Error::invalid("EndTime must be in the future and after StartTime"));
    }
    plan.next(now).ok_or_else(|| {
        Error::invalid(format!(
            "Schedule {:?} has no time in the future within its start and end",
            plan.schedule
        ))
    })
}

/// Letters, no control characters, no `:`, `/` or `|`, no space at either end. Source: API model.
fn check_name(name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    let odd = |c: char| c.is_control() || matches!(c, ':' | '/' | '|');
    if length == 0 || length > NAME_MAX || name.contains(odd) || name.starts_with(' ') || name.ends_with(' ')
    {
        return Err(Error::invalid(format!(
            "ScheduledActionName must have 1 to {NAME_MAX} characters, no control characters, ':', '/' or '|', and no space at its ends"
        )));
    }
    Ok(())
}

fn shown(action: Action) -> ScheduledAction {
    let Action { of, name, plan, .. } = action;
    let resource = resource_id(&of);
    ScheduledAction {
        scheduled_action_arn: format!(
            "arn:aws:autoscaling:{}:{}:scheduledAction:{}:resource/{NAMESPACE}/{resource}:scheduledActionName/{name}",
            of.region, of.account, plan.id
        ),
        scheduled_action_name: name,
        service_namespace: NAMESPACE,
        schedule: plan.schedule,
        timezone: plan.zone,
        resource_id: resource,
        scalable_dimension: DIMENSION,
        start_time: plan.start.map(Time),
        end_time: plan.end.map(Time),
        scalable_target_action: ScalableTargetAction {
            min_capacity: plan.min.map(i64::from),
            max_capacity: plan.max.map(i64::from),
        },
        creation_time: Time(plan.created),
    }
}
