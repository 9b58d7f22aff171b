//! PutScalingPolicy, DescribeScalingPolicies, DeleteScalingPolicy.

use super::{
    DIMENSION, NAMESPACE, listed, named, not_registered, page, page_size, place, required, resource_id,
};
use crate::{
    Error, Scaling,
    api::{
        DeleteScalingPolicyRequest, DescribeScalingPoliciesRequest, DescribeScalingPoliciesResponse,
        MetricShown, Nothing, PutScalingPolicyRequest, PutScalingPolicyResponse, ScalingPolicy,
        TrackingRequest, TrackingShown,
    },
    data::{self, Items},
    logic::tracking::Tracking,
    model::{Policy, Rule},
};
use wire::Context;

/// Policies of a target. Source: Application Auto Scaling quotas.
const POLICIES_MAX: usize = 50;
/// Characters of a name.
const NAME_MAX: usize = 256;
/// Policies of a page. Source: API reference, `MaxResults`.
const PAGE: i64 = 10;
/// What is tracked.
const METRIC: &str = "LambdaProvisionedConcurrencyUtilization";
const KIND: &str = "TargetTrackingScaling";
/// Share of what is provisioned that can be tracked.
const TARGETS: std::ops::RangeInclusive<f64> = 0.1..=0.9;
/// A day.
const COOLDOWN_MAX: i64 = 86_400;

impl Scaling {
    pub(crate) async fn put_scaling_policy(
        &self,
        context: &Context,
        input: PutScalingPolicyRequest,
    ) -> Result<PutScalingPolicyResponse, Error> {
        let of = named(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let [name] = required([("policyName", input.policy_name.as_ref())])?;
        let length = name.chars().count();
        if length == 0 || length > NAME_MAX || name.contains(char::is_control) {
            return Err(Error::invalid(format!("PolicyName must have 1 to {NAME_MAX} printable characters")));
        }
        refuse_others(&input)?;
        let configuration = input.target_tracking_scaling_policy_configuration;
        let missing = || Error::invalid("TargetTrackingScalingPolicyConfiguration is required");
        let (tracking, shown) = tracking(&configuration.ok_or_else(missing)?)?;
        let (name, id, now) = (name.to_owned(), self.fresh_id(), self.now());
        let policy = self
            .db
            .write(move |tx| {
                data::target(tx, &of)?.ok_or_else(|| not_registered(&of))?;
                if data::count_others(tx, Items::Policies, &of, &name)? >= POLICIES_MAX as i64 {
                    return Err(Error::TooMany { what: "policies of a target", max: POLICIES_MAX });
                }
                let known = data::policy(tx, &of, &name)?;
                let (id, created) =
                    known.map_or((id.clone(), now), |known| (known.rule.id, known.rule.created));
                let rule = Rule { id, created, modified: now, tracking: tracking.clone(), shown };
                let policy = Policy { of: of.clone(), name: name.clone(), rule };
                data::put_policy(tx, &policy)?;
                Ok::<_, Error>(policy)
            })
            .await?;
        self.work.notify_one();
        Ok(PutScalingPolicyResponse { policy_arn: arn(&policy), alarms: Vec::new() })
    }

    pub(crate) async fn describe_scaling_policies(
        &self,
        context: &Context,
        input: DescribeScalingPoliciesRequest,
    ) -> Result<DescribeScalingPoliciesResponse, Error> {
        let only = listed(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let names = input.policy_names.unwrap_or_default();
        let size = page_size(input.max_results, PAGE)?;
        let (account, region) = (context.account, context.region.clone());
        let read = |after| {
            let region = region.clone();
            self.db.read(move |tx| data::policies(tx, account, &region, &after, PAGE + 1))
        };
        let place_of =
            |policy: &Policy| (policy.of.name.to_string(), policy.of.qualifier.clone(), policy.name.clone());
        let wanted = |policy: &Policy| {
            only.as_ref().is_none_or(|only| *only == policy.of)
                && (names.is_empty() || names.contains(&policy.name))
        };
        let first = place(input.next_token.as_deref())?;
        let (policies, next_token) = page(first, size, read, place_of, wanted).await?;
        Ok(DescribeScalingPoliciesResponse {
            scaling_policies: policies.into_iter().map(shown).collect(),
            next_token,
        })
    }

    pub(crate) async fn delete_scaling_policy(
        &self,
        context: &Context,
        input: DeleteScalingPolicyRequest,
    ) -> Result<Nothing, Error> {
        let of = named(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let [name] = required([("policyName", input.policy_name.as_ref())])?;
        let (name, resource) = (name.to_owned(), resource_id(&of));
        let gone = name.clone();
        match self.db.write(move |tx| data::delete_item(tx, Items::Policies, &of, &gone)).await? {
            true => Ok(Nothing {}),
            false => Err(Error::NoObject(format!(
                "No scaling policy found for service namespace: {NAMESPACE}, resource ID: {resource}, policy name: {name}"
            ))),
        }
    }
}

fn refuse_others(input: &PutScalingPolicyRequest) -> Result<(), Error> {
    const INSTEAD: &str = "policies are of the type TargetTrackingScaling";
    match input.policy_type.as_deref() {
        Some(KIND) => {}
        Some(other @ ("StepScaling" | "PredictiveScaling")) => {
            return Err(Error::unsupported(format!("PolicyType {other}"), INSTEAD));
        }
        // As AWS has it, for services that have no step scaling.
        None => return Err(Error::invalid(format!("PolicyType is required and must be {KIND}"))),
        Some(other) => return Err(Error::invalid(format!("PolicyType {other} is not valid: {INSTEAD}"))),
    }
    if input.step_scaling_policy_configuration.is_some() {
        return Err(Error::unsupported("StepScalingPolicyConfiguration", INSTEAD));
    }
    if input.predictive_scaling_policy_configuration.is_some() {
        return Err(Error::unsupported("PredictiveScalingPolicyConfiguration", INSTEAD));
    }
    Ok(())
}

/// What a configuration says, and which of its members were given.
fn tracking(given: &TrackingRequest) -> Result<(Tracking, (bool, bool, bool)), Error> {
    if given.customized_metric_specification.is_some() {
        return Err(Error::unsupported(
            "CustomizedMetricSpecification",
            "what is tracked is LambdaProvisionedConcurrencyUtilization",
        ));
    }
    let metric = given.predefined_metric_specification.as_ref();
    match metric.and_then(|metric| metric.predefined_metric_type.as_deref()) {
        Some(METRIC) => {}
        Some(other) => {
            return Err(Error::invalid(format!("the metric {other} is none of functions: it is {METRIC}")));
        }
        None => return Err(Error::invalid("PredefinedMetricSpecification.PredefinedMetricType is required")),
    }
    if metric.is_some_and(|metric| metric.resource_label.is_some()) {
        return Err(Error::invalid(format!("ResourceLabel means nothing to {METRIC}")));
    }
    let target = given.target_value.ok_or_else(|| Error::invalid("TargetValue is required"))?;
    if !TARGETS.contains(&target) {
        return Err(Error::invalid(format!(
            "TargetValue of {target} is not within {} and {}, as shares of what is provisioned",
            TARGETS.start(),
            TARGETS.end()
        )));
    }
    let cooldown = |member: &str, seconds: Option<i64>| match seconds.unwrap_or(0) {
        seconds if (0..=COOLDOWN_MAX).contains(&seconds) => Ok(seconds),
        seconds => Err(Error::invalid(format!("{member} of {seconds} s is not within 0 and {COOLDOWN_MAX}"))),
    };
    let tracking = Tracking {
        target,
        out_cooldown_s: cooldown("ScaleOutCooldown", given.scale_out_cooldown)?,
        in_cooldown_s: cooldown("ScaleInCooldown", given.scale_in_cooldown)?,
        no_scale_in: given.disable_scale_in.unwrap_or_default(),
    };
    let shown = (
        given.scale_out_cooldown.is_some(),
        given.scale_in_cooldown.is_some(),
        given.disable_scale_in.is_some(),
    );
    Ok((tracking, shown))
}

fn arn(policy: &Policy) -> String {
    let Policy { of, name, rule } = policy;
    format!(
        "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:resource/{NAMESPACE}/{}:policyName/{name}",
        of.region,
        of.account,
        rule.id,
        resource_id(of)
    )
}

fn shown(policy: Policy) -> ScalingPolicy {
    let Tracking { target, out_cooldown_s, in_cooldown_s, no_scale_in } = policy.rule.tracking;
    let (out_given, in_given, disable_given) = policy.rule.shown;
    ScalingPolicy {
        policy_arn: arn(&policy),
        resource_id: resource_id(&policy.of),
        policy_name: policy.name,
        service_namespace: NAMESPACE,
        scalable_dimension: DIMENSION,
        policy_type: KIND,
        target_tracking_scaling_policy_configuration: TrackingShown {
            target_value: target,
            predefined_metric_specification: MetricShown { predefined_metric_type: METRIC },
            scale_out_cooldown: out_given.then_some(out_cooldown_s),
            scale_in_cooldown: in_given.then_some(in_cooldown_s),
            disable_scale_in: disable_given.then_some(no_scale_in),
        },
        alarms: Vec::new(),
        creation_time: wire::Time(policy.rule.created),
    }
}
