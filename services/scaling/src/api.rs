//! Application Auto Scaling's operations and wire types. Source of shapes and limits: Application Auto Scaling API reference,
//! 2016-02-06. Members that AWS requires are optional here: what is missing is refused in its words.

use crate::{Scaling, model::Suspended};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::collections::BTreeMap;
use wire::{Context, Time};

wire::api! {
    /// Application Auto Scaling: schedules and target tracking of functions' provisioned concurrency.
    impl Scaling;
    name: "application-autoscaling";
    protocol: json11("AnyScaleFrontendService");

    operations {
        /// Registers a version or an alias whose provisioned concurrency is to be scaled, or changes its bounds. Other services' resources
        /// are refused.
        RegisterScalableTarget => register_scalable_target(RegisterScalableTargetRequest) -> RegisterScalableTargetResponse {
            allow: "application-autoscaling:RegisterScalableTarget" on "*",
            errors: [ConcurrentUpdateException, InternalServiceException, LimitExceededException, ValidationException],
        }
        /// Lists what is registered.
        DescribeScalableTargets => describe_scalable_targets(DescribeScalableTargetsRequest) -> DescribeScalableTargetsResponse {
            allow: "application-autoscaling:DescribeScalableTargets" on "*",
            errors: [InternalServiceException, InvalidNextTokenException, ValidationException],
        }
        /// Removes a target with its scheduled actions and policies; its provisioned concurrency stays as it is.
        DeregisterScalableTarget => deregister_scalable_target(TargetRequest) -> Nothing {
            allow: "application-autoscaling:DeregisterScalableTarget" on "*",
            errors: [InternalServiceException, ObjectNotFoundException, ValidationException],
        }
        /// Changes a target's bounds at a time, at an interval or by a calendar.
        PutScheduledAction => put_scheduled_action(PutScheduledActionRequest) -> Nothing {
            allow: "application-autoscaling:PutScheduledAction" on "*",
            errors: [InternalServiceException, LimitExceededException, ObjectNotFoundException, ValidationException],
        }
        /// Lists scheduled actions.
        DescribeScheduledActions => describe_scheduled_actions(DescribeScheduledActionsRequest) -> DescribeScheduledActionsResponse {
            allow: "application-autoscaling:DescribeScheduledActions" on "*",
            errors: [InternalServiceException, InvalidNextTokenException, ValidationException],
        }
        /// Removes a scheduled action.
        DeleteScheduledAction => delete_scheduled_action(DeleteScheduledActionRequest) -> Nothing {
            allow: "application-autoscaling:DeleteScheduledAction" on "*",
            errors: [InternalServiceException, ObjectNotFoundException, ValidationException],
        }
        /// Has a target track its utilization. Other policies and metrics are refused.
        PutScalingPolicy => put_scaling_policy(PutScalingPolicyRequest) -> PutScalingPolicyResponse {
            allow: "application-autoscaling:PutScalingPolicy" on "*",
            errors: [InternalServiceException, LimitExceededException, ObjectNotFoundException, ValidationException],
        }
        /// Lists policies.
        DescribeScalingPolicies => describe_scaling_policies(DescribeScalingPoliciesRequest) -> DescribeScalingPoliciesResponse {
            allow: "application-autoscaling:DescribeScalingPolicies" on "*",
            errors: [InternalServiceException, InvalidNextTokenException, ValidationException],
        }
        /// Removes a policy.
        DeleteScalingPolicy => delete_scaling_policy(DeleteScalingPolicyRequest) -> Nothing {
            allow: "application-autoscaling:DeleteScalingPolicy" on "*",
            errors: [InternalServiceException, ObjectNotFoundException, ValidationException],
        }
        /// Lists what was done in the last six weeks, latest first. Activities that did not scale are not kept.
        DescribeScalingActivities => describe_scaling_activities(DescribeScalingActivitiesRequest) -> DescribeScalingActivitiesResponse {
            allow: "application-autoscaling:DescribeScalingActivities" on "*",
            errors: [InternalServiceException, InvalidNextTokenException, ValidationException],
        }
        /// Adds tags to a target.
        TagResource => tag_resource(TagResourceRequest) -> Nothing {
            allow: "application-autoscaling:TagResource" on tagged,
            errors: [ResourceNotFoundException, TooManyTagsException, ValidationException],
        }
        /// Lists the tags of a target.
        ListTagsForResource => list_tags_for_resource(ListTagsForResourceRequest) -> ListTagsForResourceResponse {
            allow: "application-autoscaling:ListTagsForResource" on tagged,
            errors: [ResourceNotFoundException, ValidationException],
        }
        /// Removes tags from a target.
        UntagResource => untag_resource(UntagResourceRequest) -> Nothing {
            allow: "application-autoscaling:UntagResource" on tagged,
            errors: [ResourceNotFoundException, ValidationException],
        }
    }
    missing: [GetPredictiveScalingForecast];
}

impl Scaling {
    fn tagged(&self, _: &Context, input: &impl Tagged) -> String {
        input.arn().unwrap_or("*").to_owned()
    }
}

/// Requests that name a target by its ARN.
pub(crate) trait Tagged {
    fn arn(&self) -> Option<&str>;
}

/// Defines types of requests and answers: PascalCase members.
macro_rules! shapes {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident { $($member:ident: $type:ty $(= $wire:literal)?),* $(,)? })*) => {
        $(shapes!(@$kind $(#[doc = $doc])+ $name { $($member: $type $(= $wire)?),* });)*
    };
    (@request $(#[doc = $doc:literal])+ $name:ident { $($member:ident: $type:ty $(= $wire:literal)?),* }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        #[allow(missing_docs)]
        pub struct $name { $($(#[serde(rename = $wire)])? pub $member: Option<$type>),* }
    };
    (@answer $(#[doc = $doc:literal])+ $name:ident { $($member:ident: $type:ty $(= $wire:literal)?),* }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Serialize)]
        #[serde(rename_all = "PascalCase")]
        #[allow(missing_docs)]
        pub struct $name { $($(#[serde(rename = $wire)])? pub $member: $type),* }
    };
}

/// Left out where there is none.
type Maybe<T> = Option<T>;

/// An answer without members.
#[derive(Debug, Serialize)]
pub struct Nothing {}

shapes! {
    /// RegisterScalableTarget.
    request RegisterScalableTargetRequest {
        service_namespace: String, resource_id: String, scalable_dimension: String, min_capacity: i64, max_capacity: i64,
        role_arn: String = "RoleARN", suspended_state: Suspended, tags: BTreeMap<String, String>,
    }
    /// Its answer.
    answer RegisterScalableTargetResponse { scalable_target_arn: String = "ScalableTargetARN" }
    /// DeregisterScalableTarget.
    request TargetRequest { service_namespace: String, resource_id: String, scalable_dimension: String }
    /// DescribeScalableTargets.
    request DescribeScalableTargetsRequest {
        service_namespace: String, resource_ids: Vec<String>, scalable_dimension: String, max_results: i64, next_token: String,
    }
    /// PutScheduledAction.
    request PutScheduledActionRequest {
        service_namespace: String, schedule: String, timezone: String, scheduled_action_name: String, resource_id: String,
        scalable_dimension: String, start_time: Time, end_time: Time, scalable_target_action: ScalableTargetAction,
    }
    /// DescribeScheduledActions.
    request DescribeScheduledActionsRequest {
        scheduled_action_names: Vec<String>, service_namespace: String, resource_id: String, scalable_dimension: String,
        max_results: i64, next_token: String,
    }
    /// DeleteScheduledAction.
    request DeleteScheduledActionRequest {
        service_namespace: String, scheduled_action_name: String, resource_id: String, scalable_dimension: String,
    }
    /// PutScalingPolicy.
    request PutScalingPolicyRequest {
        policy_name: String, service_namespace: String, resource_id: String, scalable_dimension: String, policy_type: String,
        step_scaling_policy_configuration: IgnoredAny, predictive_scaling_policy_configuration: IgnoredAny,
        target_tracking_scaling_policy_configuration: TrackingRequest,
    }
    /// Configuration of target tracking.
    request TrackingRequest {
        target_value: f64, predefined_metric_specification: MetricRequest, customized_metric_specification: IgnoredAny,
        scale_out_cooldown: i64, scale_in_cooldown: i64, disable_scale_in: bool,
    }
    /// A predefined metric.
    request MetricRequest { predefined_metric_type: String, resource_label: String }
    /// PutScalingPolicy's answer: there are no alarms to be seen.
    answer PutScalingPolicyResponse { policy_arn: String = "PolicyARN", alarms: Vec<()> }
    /// DescribeScalingPolicies.
    request DescribeScalingPoliciesRequest {
        policy_names: Vec<String>, service_namespace: String, resource_id: String, scalable_dimension: String, max_results: i64,
        next_token: String,
    }
    /// DeleteScalingPolicy.
    request DeleteScalingPolicyRequest {
        policy_name: String, service_namespace: String, resource_id: String, scalable_dimension: String,
    }
    /// DescribeScalingActivities.
    request DescribeScalingActivitiesRequest {
        service_namespace: String, resource_id: String, scalable_dimension: String, max_results: i64, next_token: String,
        include_not_scaled_activities: bool,
    }
    /// TagResource.
    request TagResourceRequest { resource_arn: String = "ResourceARN", tags: BTreeMap<String, String> }
    /// ListTagsForResource.
    request ListTagsForResourceRequest { resource_arn: String = "ResourceARN" }
    /// UntagResource.
    request UntagResourceRequest { resource_arn: String = "ResourceARN", tag_keys: Vec<String> }
    /// ListTagsForResource's answer.
    answer ListTagsForResourceResponse { tags: BTreeMap<String, String> }
}

/// New bounds of a target.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ScalableTargetAction {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_capacity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_capacity: Option<i64>,
}

macro_rules! tagged {
    ($($name:ident),*) => {$(impl Tagged for $name {
        fn arn(&self) -> Option<&str> { self.resource_arn.as_deref() }
    })*};
}
tagged!(TagResourceRequest, ListTagsForResourceRequest, UntagResourceRequest);

/// DescribeScalableTargets' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DescribeScalableTargetsResponse {
    pub scalable_targets: Vec<ScalableTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Maybe<String>,
}

/// A target as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ScalableTarget {
    pub service_namespace: &'static str,
    pub resource_id: String,
    pub scalable_dimension: &'static str,
    pub min_capacity: u32,
    pub max_capacity: u32,
    #[serde(rename = "RoleARN")]
    pub role_arn: String,
    pub creation_time: Time,
    pub suspended_state: Suspended,
    #[serde(rename = "ScalableTargetARN")]
    pub scalable_target_arn: String,
}

/// DescribeScheduledActions' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DescribeScheduledActionsResponse {
    pub scheduled_actions: Vec<ScheduledAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Maybe<String>,
}

/// A scheduled action as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ScheduledAction {
    pub scheduled_action_name: String,
    #[serde(rename = "ScheduledActionARN")]
    pub scheduled_action_arn: String,
    pub service_namespace: &'static str,
    pub schedule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Maybe<String>,
    pub resource_id: String,
    pub scalable_dimension: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Maybe<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Maybe<Time>,
    pub scalable_target_action: ScalableTargetAction,
    pub creation_time: Time,
}

/// DescribeScalingPolicies' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DescribeScalingPoliciesResponse {
    pub scaling_policies: Vec<ScalingPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Maybe<String>,
}

/// A policy as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ScalingPolicy {
    #[serde(rename = "PolicyARN")]
    pub policy_arn: String,
    pub policy_name: String,
    pub service_namespace: &'static str,
    pub resource_id: String,
    pub scalable_dimension: &'static str,
    pub policy_type: &'static str,
    pub target_tracking_scaling_policy_configuration: TrackingShown,
    pub alarms: Vec<()>,
    pub creation_time: Time,
}

/// Configuration of target tracking as it is shown: what was given.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct TrackingShown {
    pub target_value: f64,
    pub predefined_metric_specification: MetricShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_out_cooldown: Maybe<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_in_cooldown: Maybe<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_scale_in: Maybe<bool>,
}

/// The predefined metric.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct MetricShown {
    pub predefined_metric_type: &'static str,
}

/// DescribeScalingActivities' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct DescribeScalingActivitiesResponse {
    pub scaling_activities: Vec<ScalingActivity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Maybe<String>,
}

/// An activity as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ScalingActivity {
    pub activity_id: String,
    pub service_namespace: &'static str,
    pub resource_id: String,
    pub scalable_dimension: &'static str,
    pub description: String,
    pub cause: String,
    pub start_time: Time,
    pub end_time: Time,
    pub status_code: &'static str,
    pub status_message: String,
}
